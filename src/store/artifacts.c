/* Images and kernels: the same few operations on two tables. */
#include <inttypes.h>
#include <pthread.h>

#include "store/private.h"
#include "store/rows.h"

/* What differs between the two. */
struct artifact_kind {
	const char *noun;
	const struct row_layout *layout;
	enum query put;
	enum query set_state;
	enum query remove;
	enum query get;
	enum query list;
	enum query count_vms;
};

static const struct artifact_kind images = {
	.noun = "image",
	.layout = &image_layout,
	.put = QUERY_IMAGE_PUT,
	.set_state = QUERY_IMAGE_SET_STATE,
	.remove = QUERY_IMAGE_DELETE,
	.get = QUERY_IMAGE_GET,
	.list = QUERY_IMAGE_LIST,
	.count_vms = QUERY_VM_COUNT_OF_IMAGE,
};

static const struct artifact_kind kernels = {
	.noun = "kernel",
	.layout = &kernel_layout,
	.put = QUERY_KERNEL_PUT,
	.set_state = QUERY_KERNEL_SET_STATE,
	.remove = QUERY_KERNEL_DELETE,
	.get = QUERY_KERNEL_GET,
	.list = QUERY_KERNEL_LIST,
	.count_vms = QUERY_VM_COUNT_OF_KERNEL,
};

struct artifact_change {
	const struct artifact_kind *kind;
	const char *name;
	const void *record; /* for put */
	enum artifact_state state;
};

static int no_such(const struct artifact_change *c, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "there is no %s '%.128s'", c->kind->noun, c->name);
}

/* ERR_BUSY when VMs refer to it. */
static int check_unused(struct connection *writer, const struct artifact_change *c, struct err *err)
{
	AUTO_STATEMENT *statement = NULL;
	int64_t count;
	int r;

	r = connection_prepare(writer, c->kind->count_vms, &statement, err);
	if (r < 0)
		return r;

	statement_bind_text(statement, 1, c->name);
	r = statement_step(writer, statement, err, "count the VMs that use it");
	if (r < 0)
		return r;
	count = sqlite3_column_int64(statement, 0);
	if (count == 0)
		return 0;
	r = err_set(err, ERR_BUSY, "the %s '%.128s' is in use by %" PRId64 " VM%s", c->kind->noun,
		    c->name, count, count == 1 ? "" : "s");
	err_hint(err, "'banger vm list' shows the VMs");
	return r;
}

static int put(struct connection *writer, const void *context, struct err *err)
{
	const struct artifact_change *c = context;
	AUTO_STATEMENT *statement = NULL;
	int r = 0;

	if (c->state == ARTIFACT_PULLING)
		r = check_unused(writer, c, err);
	if (r == 0)
		r = connection_prepare(writer, c->kind->put, &statement, err);
	if (r == 0)
		r = row_bind(c->kind->layout, c->record, statement, err);
	return r < 0 ? r : statement_step(writer, statement, err, "store the record");
}

static int set_state(struct connection *writer, const void *context, struct err *err)
{
	const struct artifact_change *c = context;
	AUTO_STATEMENT *statement = NULL;
	bool changed = false;
	int r = 0;

	if (c->state == ARTIFACT_DELETING)
		r = check_unused(writer, c, err);
	if (r == 0)
		r = connection_prepare(writer, c->kind->set_state, &statement, err);
	if (r < 0)
		return r;

	statement_bind_text(statement, 1, c->name);
	statement_bind_text(statement, 2, artifact_state_name(c->state));
	r = statement_change(writer, statement, &changed, err, "store the record's state");
	if (r < 0)
		return r;
	return changed ? 0 : no_such(c, err);
}

static int remove_record(struct connection *writer, const void *context, struct err *err)
{
	const struct artifact_change *c = context;
	AUTO_STATEMENT *statement = NULL;
	bool changed = false;
	int r;

	r = check_unused(writer, c, err);
	if (r == 0)
		r = connection_prepare(writer, c->kind->remove, &statement, err);
	if (r < 0)
		return r;

	statement_bind_text(statement, 1, c->name);
	r = statement_change(writer, statement, &changed, err, "delete the record");
	if (r < 0)
		return r;
	return changed ? 0 : no_such(c, err);
}

static int put_record(struct store *store, const struct artifact_change *change, struct err *err)
{
	/* Saying what there is must work on a full disk, beginning something new must not. */
	const enum urgency urgency = change->state == ARTIFACT_READY ? USE_RESERVE : KEEP_RESERVE;

	return store_write(store, urgency, "store the record", put, change, err);
}

static int change_state(struct store *store, const struct artifact_kind *kind, const char *name,
			enum artifact_state state, struct err *err)
{
	const struct artifact_change c = { .kind = kind, .name = name, .state = state };

	return store_write(store, USE_RESERVE, "store the record's state", set_state, &c, err);
}

static int delete_record(struct store *store, const struct artifact_kind *kind, const char *name,
			 struct err *err)
{
	const struct artifact_change c = { .kind = kind, .name = name };
	int r;

	r = store_write(store, USE_RESERVE, "delete the record", remove_record, &c, err);
	if (r == 0)
		store_restore_reserve(store);
	return r;
}

static int get_record(struct connection *reader, const struct artifact_kind *kind, const char *name,
		      void *record, struct err *err)
{
	const struct artifact_change c = { .kind = kind, .name = name };
	AUTO_STATEMENT *statement = NULL;
	int r;

	r = connection_prepare(reader, kind->get, &statement, err);
	if (r < 0)
		return r;

	statement_bind_text(statement, 1, name);
	r = statement_step(reader, statement, err, "read the record");
	if (r == 0)
		return no_such(&c, err);
	return r < 0 ? r : row_read(kind->layout, reader, statement, record, err);
}

/* Reads all records; `add` gives the place for each. */
static int list_records(struct connection *reader, const struct artifact_kind *kind,
			void *(*add)(void *list), void *list, struct err *err)
{
	AUTO_STATEMENT *statement = NULL;
	int r;

	r = connection_prepare(reader, kind->list, &statement, err);
	if (r < 0)
		return r;

	while ((r = statement_step(reader, statement, err, "list records")) > 0) {
		r = row_read(kind->layout, reader, statement, add(list), err);
		if (r < 0)
			return r;
	}
	return r;
}

int store_image_put(struct store *store, const struct image_record *image, struct err *err)
{
	const struct artifact_change change = {
		.kind = &images, .name = image->name, .record = image, .state = image->state
	};

	return put_record(store, &change, err);
}

int store_image_set_state(struct store *store, const char *name, enum artifact_state state,
			  struct err *err)
{
	return change_state(store, &images, name, state, err);
}

int store_image_delete(struct store *store, const char *name, struct err *err)
{
	return delete_record(store, &images, name, err);
}

int store_image_get(struct store *store, const char *name, struct image_record *ret,
		    struct err *err)
{
	AUTO_IMAGE_RECORD image;
	int r;

	image_record_init(&image);
	(void)pthread_mutex_lock(&store->reader.lock);
	r = get_record(&store->reader, &images, name, &image, err);
	(void)pthread_mutex_unlock(&store->reader.lock);
	if (r < 0)
		return r;

	*ret = image;
	image_record_init(&image);
	return 0;
}

static void *add_image(void *list)
{
	return image_record_list_add(list);
}

int store_image_list(struct store *store, struct image_record_list *ret, struct err *err)
{
	AUTO_IMAGE_RECORD_LIST list = { .items = NULL };
	int r;

	(void)pthread_mutex_lock(&store->reader.lock);
	r = list_records(&store->reader, &images, add_image, &list, err);
	(void)pthread_mutex_unlock(&store->reader.lock);
	if (r < 0)
		return r;

	*ret = list;
	list = (struct image_record_list){ .items = NULL };
	return 0;
}

int store_kernel_put(struct store *store, const struct kernel_record *kernel, struct err *err)
{
	const struct artifact_change change = {
		.kind = &kernels, .name = kernel->name, .record = kernel, .state = kernel->state
	};

	return put_record(store, &change, err);
}

int store_kernel_set_state(struct store *store, const char *name, enum artifact_state state,
			   struct err *err)
{
	return change_state(store, &kernels, name, state, err);
}

int store_kernel_delete(struct store *store, const char *name, struct err *err)
{
	return delete_record(store, &kernels, name, err);
}

int store_kernel_get(struct store *store, const char *name, struct kernel_record *ret,
		     struct err *err)
{
	AUTO_KERNEL_RECORD kernel;
	int r;

	kernel_record_init(&kernel);
	(void)pthread_mutex_lock(&store->reader.lock);
	r = get_record(&store->reader, &kernels, name, &kernel, err);
	(void)pthread_mutex_unlock(&store->reader.lock);
	if (r < 0)
		return r;

	*ret = kernel;
	kernel_record_init(&kernel);
	return 0;
}

static void *add_kernel(void *list)
{
	return kernel_record_list_add(list);
}

int store_kernel_list(struct store *store, struct kernel_record_list *ret, struct err *err)
{
	AUTO_KERNEL_RECORD_LIST list = { .items = NULL };
	int r;

	(void)pthread_mutex_lock(&store->reader.lock);
	r = list_records(&store->reader, &kernels, add_kernel, &list, err);
	(void)pthread_mutex_unlock(&store->reader.lock);
	if (r < 0)
		return r;

	*ret = list;
	list = (struct kernel_record_list){ .items = NULL };
	return 0;
}
