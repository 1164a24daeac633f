#include <inttypes.h>
#include <pthread.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "store/private.h"
#include "store/rows.h"

static int no_such_vm(const char *id, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "there is no VM with the id '%.64s'", id);
}

/* ERR_EXISTS when another VM than `id` has the name. */
static int check_name_free(struct connection *writer, const char *name, const char *id,
			   struct err *err)
{
	AUTO_STATEMENT *statement = NULL;
	int r;

	r = connection_prepare(writer, QUERY_VM_ID_OF_NAME, &statement, err);
	if (r < 0)
		return r;

	statement_bind_text(statement, 1, name);
	r = statement_step(writer, statement, err, "look for the VM's name");
	if (r <= 0)
		return r;
	if (str_eq((const char *)sqlite3_column_text(statement, 0), id))
		return 0;
	return err_set(err, ERR_EXISTS, "a VM named '%s' exists already", name);
}

static int check_id_free(struct connection *writer, const char *id, struct err *err)
{
	AUTO_STATEMENT *statement = NULL;
	int r;

	r = connection_prepare(writer, QUERY_VM_EXISTS, &statement, err);
	if (r < 0)
		return r;

	statement_bind_text(statement, 1, id);
	r = statement_step(writer, statement, err, "look for the VM's id");
	if (r <= 0)
		return r;
	return err_set(err, ERR_EXISTS, "a VM with the id '%s' exists already", id);
}

static int check_count(struct connection *writer, struct err *err)
{
	AUTO_STATEMENT *statement = NULL;
	int r;

	r = connection_prepare(writer, QUERY_VM_COUNT, &statement, err);
	if (r == 0)
		r = statement_step(writer, statement, err, "count VMs");
	if (r < 0)
		return r;
	if (sqlite3_column_int64(statement, 0) >= LIMIT_VMS)
		return err_set(err, ERR_LIMIT, "there are %d VMs: that is the limit", LIMIT_VMS);
	return 0;
}

/* The image or kernel must have a record; for a new VM one that is ready. */
static int check_artifact(struct connection *writer, enum query query, const char *noun,
			  const char *name, bool must_be_ready, struct err *err)
{
	enum artifact_state state = ARTIFACT_PULLING;
	AUTO_STATEMENT *statement = NULL;
	int r;

	r = connection_prepare(writer, query, &statement, err);
	if (r < 0)
		return r;

	statement_bind_text(statement, 1, name);
	r = statement_step(writer, statement, err, "look for the VM's image and kernel");
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "there is no %s '%s'", noun, name ? name : "");

	if (!must_be_ready)
		return 0;
	if (!artifact_state_from_name((const char *)sqlite3_column_text(statement, 0), &state) ||
	    state != ARTIFACT_READY)
		return err_set(err, ERR_BUSY, "the %s '%s' is %s", noun, name,
			       state == ARTIFACT_DELETING ? "being deleted" : "not complete yet");
	return 0;
}

static int check_artifacts(struct connection *writer, const struct vm *vm, bool must_be_ready,
			   struct err *err)
{
	int r;

	r = check_artifact(writer, QUERY_IMAGE_STATE, "image", vm->spec.image, must_be_ready, err);
	if (r < 0)
		return r;
	return check_artifact(writer, QUERY_KERNEL_STATE, "kernel", vm->spec.kernel, must_be_ready,
			      err);
}

static int insert(struct connection *writer, const void *context, struct err *err)
{
	const struct vm *vm = context;
	AUTO_STATEMENT *statement = NULL;
	int r;

	r = check_name_free(writer, vm->name, vm->id, err);
	if (r == 0)
		r = check_id_free(writer, vm->id, err);
	if (r == 0)
		r = check_count(writer, err);
	if (r == 0)
		r = check_artifacts(writer, vm, true, err);
	if (r == 0)
		r = connection_prepare(writer, QUERY_VM_INSERT, &statement, err);
	if (r == 0)
		r = row_bind(&vm_layout, vm, statement, err);
	return r < 0 ? r : statement_step(writer, statement, err, "store the VM");
}

void store_watch_vms(struct store *store, void (*changed)(void *context, const char *id),
		     void *context)
{
	store->vm_changed = changed;
	store->vm_context = context;
}

/* Passes `r` on. */
static int tell(const struct store *store, const char *id, int r)
{
	if (r == 0 && store->vm_changed)
		store->vm_changed(store->vm_context, id);
	return r;
}

int store_vm_insert(struct store *store, const struct vm *vm, struct err *err)
{
	return tell(store, vm->id,
		    store_write(store, KEEP_RESERVE, "store the VM", insert, vm, err));
}

static int update(struct connection *writer, const void *context, struct err *err)
{
	const struct vm *vm = context;
	AUTO_STATEMENT *statement = NULL;
	bool changed = false;
	int r;

	r = check_name_free(writer, vm->name, vm->id, err);
	if (r == 0)
		r = check_artifacts(writer, vm, false, err);
	if (r == 0)
		r = connection_prepare(writer, QUERY_VM_UPDATE, &statement, err);
	if (r == 0)
		r = row_bind(&vm_layout, vm, statement, err);
	if (r == 0)
		r = statement_change(writer, statement, &changed, err, "update the VM");
	if (r < 0)
		return r;
	return changed ? 0 : no_such_vm(vm->id, err);
}

int store_vm_update(struct store *store, const struct vm *vm, struct err *err)
{
	return tell(store, vm->id,
		    store_write(store, USE_RESERVE, "update the VM", update, vm, err));
}

/* The small changes of one VM: a statement with the id first, then one or two values. */
struct change {
	enum query query;
	const char *doing;
	const char *id;
	const char *texts[2]; /* bound at 2 and 3 */
	bool has_number;      /* then `number` is bound at 2 instead */
	int64_t number;
};

static int change(struct connection *writer, const void *context, struct err *err)
{
	const struct change *c = context;
	AUTO_STATEMENT *statement = NULL;
	bool changed = false;
	int r;

	r = connection_prepare(writer, c->query, &statement, err);
	if (r < 0)
		return r;

	statement_bind_text(statement, 1, c->id);
	if (c->query != QUERY_VM_DELETE) {
		if (c->has_number)
			statement_bind_number(statement, 2, c->number);
		else
			statement_bind_text(statement, 2, c->texts[0]);
		if (c->query != QUERY_VM_SET_USED)
			statement_bind_text(statement, 3, c->texts[1]);
	}
	r = statement_change(writer, statement, &changed, err, c->doing);
	if (r < 0)
		return r;
	return changed ? 0 : no_such_vm(c->id, err);
}

int store_vm_set_state(struct store *store, const char *id, enum vm_state state,
		       const char *last_error, struct err *err)
{
	const struct change c = { .query = QUERY_VM_SET_STATE,
				  .doing = "store the VM's state",
				  .id = id,
				  .texts = { vm_state_name(state), last_error } };

	return tell(store, id, store_write(store, USE_RESERVE, c.doing, change, &c, err));
}

int store_vm_set_started(struct store *store, const char *id, int64_t started_at,
			 const char *boot_id, struct err *err)
{
	const struct change c = { .query = QUERY_VM_SET_STARTED,
				  .doing = "store the VM's start",
				  .id = id,
				  .has_number = true,
				  .number = started_at,
				  .texts = { NULL, boot_id } };

	return tell(store, id, store_write(store, USE_RESERVE, c.doing, change, &c, err));
}

int store_vm_set_intent(struct store *store, const char *id, enum vm_intent intent,
			const char *step, struct err *err)
{
	const bool makes_room = intent == VM_INTENT_STOP || intent == VM_INTENT_DELETE;
	const struct change c = { .query = QUERY_VM_SET_INTENT,
				  .doing = "store what is to be done with the VM",
				  .id = id,
				  .texts = { vm_intent_name(intent), step } };

	return store_write(store, makes_room ? USE_RESERVE : KEEP_RESERVE, c.doing, change, &c,
			   err);
}

int store_vm_set_used(struct store *store, const char *id, uint64_t used_at_ms, struct err *err)
{
	const struct change c = { .query = QUERY_VM_SET_USED,
				  .doing = "store when the VM was used",
				  .id = id,
				  .has_number = true,
				  .number = (int64_t)used_at_ms };

	return store_write(store, KEEP_RESERVE, c.doing, change, &c, err);
}

int store_vm_set_address(struct store *store, const char *id, uint32_t net_index, const char *ip,
			 struct err *err)
{
	const struct change c = { .query = QUERY_VM_SET_ADDRESS,
				  .doing = "store the VM's address",
				  .id = id,
				  .has_number = true,
				  .number = net_index,
				  .texts = { NULL, ip } };

	return store_write(store, KEEP_RESERVE, c.doing, change, &c, err);
}

struct workspace_change {
	const char *id;
	const struct vm_workspace *workspace;
};

static const char setting_workspace[] = "store the VM's workspace";

static int set_workspace(struct connection *writer, const void *context, struct err *err)
{
	const struct workspace_change *c = context;
	const struct vm_workspace *workspace = c->workspace;
	const char *const texts[] = { c->id,	       workspace->guest_path,  workspace->host_path,
				      workspace->head, workspace->fingerprint, workspace->branch,
				      workspace->from, workspace->mode };
	AUTO_STATEMENT *statement = NULL;
	bool changed = false;
	int r;

	r = connection_prepare(writer, QUERY_VM_SET_WORKSPACE, &statement, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		statement_bind_text(statement, (int)i + 1, texts[i]);
	statement_bind_number(statement, ARRAY_LEN(texts) + 1, workspace->has_untracked);
	statement_bind_number(statement, ARRAY_LEN(texts) + 2, workspace->is_pending);
	r = statement_change(writer, statement, &changed, err, setting_workspace);
	if (r < 0)
		return r;
	return changed ? 0 : no_such_vm(c->id, err);
}

int store_vm_set_workspace(struct store *store, const char *id,
			   const struct vm_workspace *workspace, struct err *err)
{
	const struct workspace_change c = { .id = id, .workspace = workspace };

	return store_write(store, KEEP_RESERVE, setting_workspace, set_workspace, &c, err);
}

int store_vm_delete(struct store *store, const char *id, struct err *err)
{
	const struct change c = { .query = QUERY_VM_DELETE, .doing = "delete the VM", .id = id };
	int r;

	r = store_write(store, USE_RESERVE, c.doing, change, &c, err);
	if (r == 0)
		store_restore_reserve(store);
	return tell(store, id, r);
}

static int get(struct connection *reader, const char *id, struct vm *ret, struct err *err)
{
	AUTO_STATEMENT *statement = NULL;
	AUTO_VM vm;
	int r;

	vm_init(&vm);
	r = connection_prepare(reader, QUERY_VM_GET, &statement, err);
	if (r < 0)
		return r;

	statement_bind_text(statement, 1, id);
	r = statement_step(reader, statement, err, "read a VM");
	if (r == 0)
		return no_such_vm(id, err);
	if (r > 0)
		r = row_read(&vm_layout, reader, statement, &vm, err);
	if (r < 0)
		return r;

	*ret = vm;
	vm_init(&vm);
	return 0;
}

int store_vm_get(struct store *store, const char *id, struct vm *ret, struct err *err)
{
	int r;

	(void)pthread_mutex_lock(&store->reader.lock);
	r = get(&store->reader, id, ret, err);
	(void)pthread_mutex_unlock(&store->reader.lock);
	return r;
}

/* 1 with the id, which is borrowed from `statement`; 0 when there is none. */
static int id_of_name(struct connection *reader, const char *name, sqlite3_stmt **statement,
		      const char **ret, struct err *err)
{
	int r;

	r = connection_prepare(reader, QUERY_VM_ID_OF_NAME, statement, err);
	if (r < 0)
		return r;

	statement_bind_text(*statement, 1, name);
	r = statement_step(reader, *statement, err, "look for a VM's name");
	if (r > 0)
		*ret = (const char *)sqlite3_column_text(*statement, 0);
	return r;
}

static int get_named(struct connection *reader, const char *name, struct vm *ret, struct err *err)
{
	AUTO_STATEMENT *statement = NULL;
	const char *id = NULL;
	const int r = id_of_name(reader, name, &statement, &id, err);

	if (r < 0)
		return r;
	if (r == 0 || !id)
		return err_set(err, ERR_NOT_FOUND, "there is no VM '%s'", name);
	return get(reader, id, ret, err);
}

int store_vm_get_named(struct store *store, const char *name, struct vm *ret, struct err *err)
{
	int r;

	(void)pthread_mutex_lock(&store->reader.lock);
	r = get_named(&store->reader, name, ret, err);
	(void)pthread_mutex_unlock(&store->reader.lock);
	return r;
}

static int name_taken(struct connection *reader, const char *name, bool *ret, struct err *err)
{
	AUTO_STATEMENT *statement = NULL;
	const char *id = NULL;
	const int r = id_of_name(reader, name, &statement, &id, err);

	if (r < 0)
		return r;
	*ret = r > 0;
	return 0;
}

int store_vm_name_taken(struct store *store, const char *name, bool *ret, struct err *err)
{
	int r;

	(void)pthread_mutex_lock(&store->reader.lock);
	r = name_taken(&store->reader, name, ret, err);
	(void)pthread_mutex_unlock(&store->reader.lock);
	return r;
}

static int list_all(struct connection *reader, struct vm_list *ret, struct err *err)
{
	AUTO_VM_LIST list = { .items = NULL };
	AUTO_STATEMENT *statement = NULL;
	int r;

	r = connection_prepare(reader, QUERY_VM_LIST, &statement, err);
	if (r < 0)
		return r;

	while ((r = statement_step(reader, statement, err, "list VMs")) > 0) {
		r = row_read(&vm_layout, reader, statement, vm_list_add(&list), err);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;

	*ret = list;
	list = (struct vm_list){ .items = NULL };
	return 0;
}

int store_vm_list(struct store *store, struct vm_list *ret, struct err *err)
{
	int r;

	(void)pthread_mutex_lock(&store->reader.lock);
	r = list_all(&store->reader, ret, err);
	(void)pthread_mutex_unlock(&store->reader.lock);
	return r;
}

static int count_all(struct connection *reader, uint64_t *ret_total, uint64_t *ret_running,
		     struct err *err)
{
	AUTO_STATEMENT *statement = NULL;
	int r;

	r = connection_prepare(reader, QUERY_VM_COUNT, &statement, err);
	if (r == 0)
		r = statement_step(reader, statement, err, "count VMs");
	if (r < 0)
		return r;

	*ret_total = (uint64_t)sqlite3_column_int64(statement, 0);
	*ret_running = (uint64_t)sqlite3_column_int64(statement, 1);
	return 0;
}

int store_vm_count(struct store *store, uint64_t *ret_total, uint64_t *ret_running, struct err *err)
{
	int r;

	(void)pthread_mutex_lock(&store->reader.lock);
	r = count_all(&store->reader, ret_total, ret_running, err);
	(void)pthread_mutex_unlock(&store->reader.lock);
	return r;
}

static int net_indexes(struct connection *reader, uint32_t **ret, size_t *ret_count,
		       struct err *err)
{
	AUTO_FREE uint32_t *indexes = NULL;
	AUTO_STATEMENT *statement = NULL;
	size_t count = 0;
	int r;

	r = connection_prepare(reader, QUERY_VM_NET_INDEXES, &statement, err);
	if (r < 0)
		return r;
	while ((r = statement_step(reader, statement, err, "list addresses")) > 0) {
		indexes = mem_grow(indexes, count + 1, sizeof(*indexes));
		indexes[count++] = (uint32_t)sqlite3_column_int64(statement, 0);
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(indexes);
	*ret_count = count;
	return 0;
}

int store_vm_net_indexes(struct store *store, uint32_t **ret, size_t *ret_count, struct err *err)
{
	int r;

	(void)pthread_mutex_lock(&store->reader.lock);
	r = net_indexes(&store->reader, ret, ret_count, err);
	(void)pthread_mutex_unlock(&store->reader.lock);
	return r;
}
