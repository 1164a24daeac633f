#include "store/private.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/mem.h"

#define BUSY_TIMEOUT_MS 2000

/*
 * Small caches: rows are few and the daemon shall stay small. The log is folded back after 64
 * pages, a quarter of the reserve, and kept at its size: on a full disk the reserve is then enough
 * for any number of changes.
 */
static const char settings[] = "PRAGMA foreign_keys = ON;"
			       "PRAGMA synchronous = FULL;"
			       "PRAGMA cache_size = -256;"
			       "PRAGMA temp_store = MEMORY;"
			       "PRAGMA wal_autocheckpoint = 64;"
			       "PRAGMA trusted_schema = OFF;"
			       "PRAGMA cell_size_check = ON;";

int connection_open(struct connection *connection, const char *path, int flags, struct err *err)
{
	int code;

	*connection = (struct connection){ .path = mem_strdup(path) };
	code = pthread_mutex_init(&connection->lock, NULL);
	assert(code == 0);

	/* Our lock keeps threads apart, SQLite's own is not needed. */
	code = sqlite3_open_v2(path, &connection->db,
			       flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
	if (code != SQLITE_OK) {
		const int r = connection_fail(connection, code, err, "open it");

		connection_close(connection);
		return r;
	}

	(void)sqlite3_busy_timeout(connection->db, BUSY_TIMEOUT_MS);
	(void)sqlite3_db_config(connection->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	if (connection_exec(connection, settings, err, "set it up") < 0) {
		connection_close(connection);
		return err_negative(-EIO);
	}
	return 0;
}

void connection_close(struct connection *connection)
{
	if (!connection->path)
		return;

	for (size_t i = 0; i < QUERY_COUNT; i++)
		(void)sqlite3_finalize(connection->statements[i]);
	(void)sqlite3_close(connection->db);
	(void)pthread_mutex_destroy(&connection->lock);
	mem_free(connection->path);
	*connection = (struct connection){ .db = NULL };
}

static int fail_busy(const struct connection *connection, struct err *err, const char *doing)
{
	const int64_t pid = lock_holder(connection->path);

	if (pid > 0)
		return err_set(err, ERR_BUSY,
			       "%s: the state database '%s' is locked by process %" PRId64, doing,
			       connection->path, pid);
	return err_set(err, ERR_BUSY, "%s: the state database '%s' is locked by another process",
		       doing, connection->path);
}

static bool is_no_space(int errnum)
{
	return errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG;
}

/*
 * When SQLite cannot make a file it tries to open it for reading, and that it is not there is what
 * it tells.
 */
static bool is_out_of_inodes(const struct connection *connection, int code)
{
	struct statvfs status;

	return (code & 0xff) == SQLITE_CANTOPEN && statvfs(connection->path, &status) == 0 &&
	       status.f_files > 0 && status.f_favail == 0;
}

int connection_fail(struct connection *connection, int code, struct err *err, const char *doing)
{
	const char *path = connection->path;
	int errnum = connection->db ? sqlite3_system_errno(connection->db) : 0;

	connection->last_code = code;
	connection->is_full = false;
	switch (code & 0xff) {
	case SQLITE_FULL:
		connection->is_full = true;
		return err_sys(err, is_no_space(errnum) ? -errnum : -ENOSPC,
			       "%s in the state database '%s'", doing, path);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return fail_busy(connection, err, doing);
	case SQLITE_READONLY:
		return err_set(err, ERR_INVALID, "%s: the state database '%s' is read-only", doing,
			       path);
	case SQLITE_NOTADB:
	case SQLITE_CORRUPT:
		return err_set(err, ERR_INVALID, "%s: the state database '%s' is damaged: %s",
			       doing, path, sqlite3_errstr(code));
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		if (is_out_of_inodes(connection, code))
			errnum = ENOSPC;
		connection->is_full = is_no_space(errnum);
		return err_sys(err, errnum > 0 ? -errnum : -EIO,
			       "%s in the state database '%s' (%s)", doing, path,
			       sqlite3_errstr(code));
	default:
		return err_set(err, ERR_SYSTEM, "%s in the state database '%s': %s", doing, path,
			       connection->db ? sqlite3_errmsg(connection->db)
					      : sqlite3_errstr(code));
	}
}

int connection_exec(struct connection *connection, const char *sql, struct err *err,
		    const char *doing)
{
	const int code = sqlite3_exec(connection->db, sql, NULL, NULL, NULL);

	return code == SQLITE_OK ? 0 : connection_fail(connection, code, err, doing);
}

int connection_number(struct connection *connection, const char *sql, int64_t *ret, struct err *err,
		      const char *doing)
{
	sqlite3_stmt *statement = NULL;
	int code, r = 0;

	code = sqlite3_prepare_v2(connection->db, sql, -1, &statement, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	if (code == SQLITE_ROW)
		*ret = sqlite3_column_int64(statement, 0);
	else
		r = connection_fail(connection, code == SQLITE_DONE ? SQLITE_CORRUPT : code, err,
				    doing);
	(void)sqlite3_finalize(statement);
	return r;
}

int connection_prepare(struct connection *connection, enum query query, sqlite3_stmt **ret,
		       struct err *err)
{
	sqlite3_stmt **slot = &connection->statements[query];

	if (!*slot) {
		const int code = sqlite3_prepare_v3(connection->db, store_sql[query], -1,
						    SQLITE_PREPARE_PERSISTENT, slot, NULL);

		if (code != SQLITE_OK)
			return connection_fail(connection, code, err, "prepare a statement");
	}
	*ret = *slot;
	return 0;
}

void statement_done(sqlite3_stmt **statement)
{
	if (!*statement)
		return;

	/* The result only repeats the last step's; the statement stays in the connection. */
	(void)sqlite3_reset(*statement);
	(void)sqlite3_clear_bindings(*statement);
	*statement = NULL;
}

int statement_step(struct connection *connection, sqlite3_stmt *statement, struct err *err,
		   const char *doing)
{
	const int code = sqlite3_step(statement);

	if (code == SQLITE_ROW)
		return 1;
	if (code == SQLITE_DONE)
		return 0;
	return connection_fail(connection, code, err, doing);
}

void statement_bind_text(sqlite3_stmt *statement, int index, const char *text)
{
	const int code = sqlite3_bind_text(statement, index, text, -1, SQLITE_TRANSIENT);

	assert(code == SQLITE_OK);
	(void)code;
}

void statement_bind_number(sqlite3_stmt *statement, int index, int64_t value)
{
	const int code = sqlite3_bind_int64(statement, index, value);

	assert(code == SQLITE_OK);
	(void)code;
}

char *statement_text(sqlite3_stmt *statement, int column)
{
	return mem_strdup((const char *)sqlite3_column_text(statement, column));
}
