/* Transactions: begun, committed or undone in one place. */
#include "store/private.h"

static int run(struct connection *writer, enum query query, struct err *err, const char *doing)
{
	AUTO_STATEMENT *statement = NULL;
	int r;

	r = connection_prepare(writer, query, &statement, err);
	return r < 0 ? r : statement_step(writer, statement, err, doing);
}

/* Whether the code leaves in doubt what is on the disk: then nothing more may be said to be stored.
 */
static bool is_in_doubt(int code)
{
	switch (code) {
	case SQLITE_IOERR_FSYNC:
	case SQLITE_IOERR_DIR_FSYNC:
	case SQLITE_IOERR_READ:
	case SQLITE_IOERR_SHORT_READ:
	case SQLITE_IOERR_CORRUPTFS:
		return true;
	default:
		return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
	}
}

static int attempt(struct store *store, const char *doing,
		   int (*work)(struct connection *writer, const void *context, struct err *err),
		   const void *context, struct err *err)
{
	struct connection *writer = &store->writer;
	struct err ignored = ERR_INIT;
	int r;

	writer->last_code = SQLITE_OK;
	writer->is_full = false;
	r = run(writer, QUERY_BEGIN, err, doing);
	if (r == 0)
		r = work(writer, context, err);
	if (r == 0)
		r = run(writer, QUERY_COMMIT, err, doing);
	if (r == 0) {
		store->changes++;
		return 0;
	}

	if (is_in_doubt(writer->last_code))
		store->failure = *err;
	/* SQLite may have rolled back by itself; asking again then is an error without meaning. */
	if (!sqlite3_get_autocommit(writer->db)) {
		const int code = writer->last_code;
		const bool is_full = writer->is_full;

		(void)!run(writer, QUERY_ROLLBACK, &ignored, doing);
		writer->last_code = code;
		writer->is_full = is_full;
	}
	return r;
}

static int refuse(const struct store *store, const char *doing, struct err *err)
{
	int r;

	r = err_set(err, ERR_SYSTEM, "%s: the state database is not written any more after: %.300s",
		    doing, store->failure.message);
	err_hint(err, "check the disk and restart bangerd");
	return r;
}

/* What makes nothing smaller may not live on the room that a freed reserve left. */
static int check_reserve(struct store *store, enum urgency urgency, const char *doing,
			 struct err *err)
{
	if (urgency == USE_RESERVE || !store->reserve_path)
		return 0;

	reserve_make(store);
	if (store->has_reserve)
		return 0;
	return err_sys(err, -ENOSPC, "%s: keep the reserve '%s'", doing, store->reserve_path);
}

int store_write(struct store *store, enum urgency urgency, const char *doing,
		int (*work)(struct connection *writer, const void *context, struct err *err),
		const void *context, struct err *err)
{
	struct err first = ERR_INIT;
	int r;

	(void)pthread_mutex_lock(&store->writer.lock);
	if (store->failure.kind != ERR_NONE)
		r = refuse(store, doing, &first);
	else
		r = check_reserve(store, urgency, doing, &first);
	if (r == 0) {
		r = attempt(store, doing, work, context, &first);
		if (r < 0 && store->writer.is_full && urgency == USE_RESERVE &&
		    reserve_free(store)) {
			first = ERR_INIT;
			r = attempt(store, doing, work, context, &first);
		}
	}
	if (r < 0)
		*err = first;
	(void)pthread_mutex_unlock(&store->writer.lock);
	return r;
}

int statement_change(struct connection *writer, sqlite3_stmt *statement, bool *ret_changed,
		     struct err *err, const char *doing)
{
	const int r = statement_step(writer, statement, err, doing);

	if (r < 0)
		return r;
	*ret_changed = sqlite3_changes(writer->db) > 0;
	return 0;
}

uint64_t store_changes(const struct store *store)
{
	return store->changes;
}

int store_check_health(struct store *store, struct err *err)
{
	int r = 0;

	(void)pthread_mutex_lock(&store->writer.lock);
	if (store->failure.kind != ERR_NONE)
		r = refuse(store, "check the state database", err);
	(void)pthread_mutex_unlock(&store->writer.lock);
	return r;
}
