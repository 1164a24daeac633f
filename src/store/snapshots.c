/* Snapshots: a row for each, written once. */
#include <pthread.h>

#include "store/private.h"
#include "store/rows.h"

static int no_such(struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "there is no such snapshot");
}

static int insert(struct connection *writer, const void *context, struct err *err)
{
	const struct snapshot_record *record = context;
	AUTO_STATEMENT *statement = NULL;
	int r;

	r = connection_prepare(writer, QUERY_SNAPSHOT_INSERT, &statement, err);
	if (r == 0)
		r = row_bind(&snapshot_layout, record, statement, err);
	if (r < 0)
		return r;
	r = statement_step(writer, statement, err, "store the snapshot");
	if (r < 0 && writer->last_code == SQLITE_CONSTRAINT_UNIQUE)
		return err_set(err, ERR_EXISTS, "there is a snapshot named '%s' already",
			       record->name);
	return r;
}

int store_snapshot_insert(struct store *store, const struct snapshot_record *record,
			  struct err *err)
{
	return store_write(store, KEEP_RESERVE, "store the snapshot", insert, record, err);
}

static int delete (struct connection *writer, const void *context, struct err *err)
{
	AUTO_STATEMENT *statement = NULL;
	bool changed = false;
	int r;

	r = connection_prepare(writer, QUERY_SNAPSHOT_DELETE, &statement, err);
	if (r < 0)
		return r;

	statement_bind_text(statement, 1, context);
	r = statement_change(writer, statement, &changed, err, "delete the snapshot");
	if (r < 0)
		return r;
	return changed ? 0 : no_such(err);
}

int store_snapshot_delete(struct store *store, const char *id, struct err *err)
{
	const int r = store_write(store, USE_RESERVE, "delete the snapshot", delete, id, err);

	if (r == 0)
		store_restore_reserve(store);
	return r;
}

static int get(struct connection *reader, const char *id, struct snapshot_record *record,
	       struct err *err)
{
	AUTO_STATEMENT *statement = NULL;
	int r;

	r = connection_prepare(reader, QUERY_SNAPSHOT_GET, &statement, err);
	if (r < 0)
		return r;

	statement_bind_text(statement, 1, id);
	r = statement_step(reader, statement, err, "look for a snapshot");
	if (r == 0)
		return no_such(err);
	return r < 0 ? r : row_read(&snapshot_layout, reader, statement, record, err);
}

int store_snapshot_get(struct store *store, const char *id, struct snapshot_record *ret,
		       struct err *err)
{
	AUTO_SNAPSHOT_RECORD record;
	int r;

	snapshot_record_init(&record);
	(void)pthread_mutex_lock(&store->reader.lock);
	r = get(&store->reader, id, &record, err);
	(void)pthread_mutex_unlock(&store->reader.lock);
	if (r < 0)
		return r;

	*ret = record;
	snapshot_record_init(&record);
	return 0;
}

static int list_of(struct connection *reader, const char *vm_id, struct snapshot_record_list *list,
		   struct err *err)
{
	AUTO_STATEMENT *statement = NULL;
	int r;

	r = connection_prepare(reader, vm_id ? QUERY_SNAPSHOT_LIST_OF : QUERY_SNAPSHOT_LIST,
			       &statement, err);
	if (r < 0)
		return r;

	if (vm_id)
		statement_bind_text(statement, 1, vm_id);
	while ((r = statement_step(reader, statement, err, "list snapshots")) > 0) {
		r = row_read(&snapshot_layout, reader, statement, snapshot_record_list_add(list),
			     err);
		if (r < 0)
			return r;
	}
	return r;
}

int store_snapshot_list(struct store *store, const char *vm_id, struct snapshot_record_list *ret,
			struct err *err)
{
	AUTO_SNAPSHOT_RECORD_LIST list = { .items = NULL };
	int r;

	(void)pthread_mutex_lock(&store->reader.lock);
	r = list_of(&store->reader, vm_id, &list, err);
	(void)pthread_mutex_unlock(&store->reader.lock);
	if (r < 0)
		return r;

	*ret = list;
	list = (struct snapshot_record_list){ .items = NULL };
	return 0;
}
