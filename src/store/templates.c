/* Templates: few rows, each written once. */
#include <pthread.h>

#include "store/private.h"
#include "store/rows.h"

static int no_such(struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "there is no such template");
}

static int insert(struct connection *writer, const void *context, struct err *err)
{
	AUTO_STATEMENT *statement = NULL;
	int r;

	r = connection_prepare(writer, QUERY_TEMPLATE_INSERT, &statement, err);
	if (r == 0)
		r = row_bind(&template_layout, context, statement, err);
	return r < 0 ? r : statement_step(writer, statement, err, "store the template");
}

int store_template_insert(struct store *store, const struct template_record *record,
			  struct err *err)
{
	return store_write(store, KEEP_RESERVE, "store the template", insert, record, err);
}

struct template_change {
	enum query query;
	const char *id;
	int64_t used_at;
};

static int change(struct connection *writer, const void *context, struct err *err)
{
	const struct template_change *c = context;
	AUTO_STATEMENT *statement = NULL;
	bool changed = false;
	int r;

	r = connection_prepare(writer, c->query, &statement, err);
	if (r < 0)
		return r;

	statement_bind_text(statement, 1, c->id);
	if (c->query == QUERY_TEMPLATE_SET_USED)
		statement_bind_number(statement, 2, c->used_at);
	r = statement_change(writer, statement, &changed, err, "change the template");
	if (r < 0)
		return r;
	return changed ? 0 : no_such(err);
}

int store_template_set_used(struct store *store, const char *id, int64_t used_at, struct err *err)
{
	const struct template_change c = { .query = QUERY_TEMPLATE_SET_USED,
					   .id = id,
					   .used_at = used_at };

	return store_write(store, USE_RESERVE, "change the template", change, &c, err);
}

int store_template_delete(struct store *store, const char *id, struct err *err)
{
	const struct template_change c = { .query = QUERY_TEMPLATE_DELETE, .id = id };
	int r;

	r = store_write(store, USE_RESERVE, "delete the template", change, &c, err);
	if (r == 0)
		store_restore_reserve(store);
	return r;
}

static int find(struct connection *reader, const char *key, struct template_record *record,
		struct err *err)
{
	AUTO_STATEMENT *statement = NULL;
	int r;

	r = connection_prepare(reader, QUERY_TEMPLATE_FIND, &statement, err);
	if (r < 0)
		return r;

	statement_bind_text(statement, 1, key);
	r = statement_step(reader, statement, err, "look for a template");
	if (r == 0)
		return no_such(err);
	return r < 0 ? r : row_read(&template_layout, reader, statement, record, err);
}

int store_template_find(struct store *store, const char *key, struct template_record *ret,
			struct err *err)
{
	AUTO_TEMPLATE_RECORD record;
	int r;

	template_record_init(&record);
	(void)pthread_mutex_lock(&store->reader.lock);
	r = find(&store->reader, key, &record, err);
	(void)pthread_mutex_unlock(&store->reader.lock);
	if (r < 0)
		return r;

	*ret = record;
	template_record_init(&record);
	return 0;
}

static int list_all(struct connection *reader, struct template_record_list *list, struct err *err)
{
	AUTO_STATEMENT *statement = NULL;
	int r;

	r = connection_prepare(reader, QUERY_TEMPLATE_LIST, &statement, err);
	if (r < 0)
		return r;

	while ((r = statement_step(reader, statement, err, "list templates")) > 0) {
		r = row_read(&template_layout, reader, statement, template_record_list_add(list),
			     err);
		if (r < 0)
			return r;
	}
	return r;
}

int store_template_list(struct store *store, struct template_record_list *ret, struct err *err)
{
	AUTO_TEMPLATE_RECORD_LIST list = { .items = NULL };
	int r;

	(void)pthread_mutex_lock(&store->reader.lock);
	r = list_all(&store->reader, &list, err);
	(void)pthread_mutex_unlock(&store->reader.lock);
	if (r < 0)
		return r;

	*ret = list;
	list = (struct template_record_list){ .items = NULL };
	return 0;
}
