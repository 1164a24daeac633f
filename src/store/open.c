/* Finding out what is at the database's place, making a new one beside it, opening it. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "store/migrations.h"
#include "store/private.h"

#define MAGIC "SQLite format 3" /* with its NUL: the first 16 bytes */

static int damaged(const char *path, const char *what, struct err *err)
{
	int r;

	r = err_set(err, ERR_INVALID, "the state database '%s' %s", path, what);
	err_hint(err, "move it and its -wal file away to start anew, or put a backup in its place");
	return r;
}

/* A log without its database would be taken for the new one's, and spoil it. */
static int check_no_log(const char *path, struct err *err)
{
	AUTO_FREE char *wal = mem_printf("%s-wal", path);
	struct stat status;

	if (lstat(wal, &status) == 0 && status.st_size > 0)
		return damaged(path, "is missing, but its log (-wal) is there", err);
	return 0;
}

/*
 * Looks at the file without SQLite, which would write to what it does not know: 1 when it may be
 * opened, 0 when there is none.
 */
static int look_at(const char *path, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	char head[sizeof(MAGIC)];
	struct stat status;
	int r;

	/* Closed again before SQLite opens it: closing later would drop its locks. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT) {
		r = check_no_log(path, err);
		return r < 0 ? r : 0;
	}
	if (fd < 0)
		return err_sys(err, -errno, "open the state database '%s'", path);
	if (fstat(fd, &status) < 0)
		return err_sys(err, -errno, "look at the state database '%s'", path);

	if (!S_ISREG(status.st_mode))
		return damaged(path, "is no regular file", err);
	if (status.st_size == 0)
		return damaged(path, "is empty", err);
	if ((status.st_mode & S_IWUSR) == 0)
		return err_set(err, ERR_INVALID, "the state database '%s' is read-only (mode %04o)",
			       path, status.st_mode & 07777U);
	r = fd_read_exact(fd, head, sizeof(head));
	if (r < 0 && r != -ENODATA)
		return err_sys(err, r, "read the state database '%s'", path);
	if (r < 0 || memcmp(head, MAGIC, sizeof(MAGIC)) != 0)
		return damaged(path, "is no SQLite database", err);
	return 1;
}

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return mem_strdup(".");
	return slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
}

static int sync_folder_of(const char *path)
{
	AUTO_FREE char *folder = folder_of(path);
	AUTO_CLOSE int fd = dir_open(folder);

	if (fd < 0)
		return fd;
	return fsync(fd) < 0 ? -errno : 0;
}

/*
 * Two daemons may both write through SQLite, but what each does with the VMs is wrong to the other.
 * The lock is the folder's, so that it holds whatever becomes of the file.
 */
static int lock_folder_of(const char *path, int *ret_fd, struct err *err)
{
	AUTO_FREE char *folder = folder_of(path);
	AUTO_CLOSE int fd = dir_open(folder);
	int64_t pid;
	int r;

	if (fd < 0)
		return err_sys(err, fd, "open the state folder '%s'", folder);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
	if (errno != EWOULDBLOCK)
		return err_sys(err, -errno, "lock the state folder '%s'", folder);
	pid = folder_lock_holder(folder);
	if (pid > 0)
		r = err_set(err, ERR_BAD_STATE,
			    "the state folder '%s' is in use by process %" PRId64, folder, pid);
	else
		r = err_set(err, ERR_BAD_STATE,
			    "the state folder '%s' is in use by another process", folder);
	err_hint(err, "another bangerd, with another runtime folder: stop it, or give this one a "
		      "state folder of its own");
	return r;
}

static void remove_new(const char *path)
{
	static const char *const endings[] = { "", "-journal", "-wal", "-shm" };

	for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
		AUTO_FREE char *file = mem_printf("%s%s", path, endings[i]);

		(void)unlink(file); /* what is not there need not go */
	}
}

/* A complete, empty database at `path`, which is no database's final place. */
static int make_at(const char *path, struct err *err)
{
	struct connection connection;
	int fd, r;

	/* SQLite takes the mode for its other files from here. */
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(err, -errno, "make the state database '%s'", path);
	fd_close(fd);

	r = connection_open(&connection, path, SQLITE_OPEN_READWRITE, err);
	if (r < 0)
		return r;

	r = connection_exec(&connection,
			    "PRAGMA application_id = 0x62616e67;"
			    "PRAGMA journal_mode = WAL;",
			    err, "make it");
	if (r == 0)
		r = migrations_apply(&connection, store_migrations, store_migration_count, err);
	/* The last one to close folds the log back, so that the file alone is the database. */
	connection_close(&connection);
	return r;
}

static int make_new(const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	const size_t folder_len = slash ? (size_t)(slash - path) + 1 : 0;
	AUTO_FREE char *new_path =
		mem_printf("%.*s.new-%s", (int)folder_len, path, path + folder_len);
	int r;

	remove_new(new_path);
	r = make_at(new_path, err);
	failpoint("store.open.made");
	if (r == 0) {
		r = file_rename_new(AT_FDCWD, new_path, AT_FDCWD, path);
		if (r < 0)
			r = err_sys(err, r, "put the state database '%s' in place", path);
	}
	failpoint("store.open.renamed");
	if (r == 0 && sync_folder_of(path) < 0)
		r = err_sys(err, -errno, "store the folder of '%s'", path);
	if (r < 0)
		remove_new(new_path);
	return r;
}

/* Whether the file is ours and whole. */
static int check_content(struct connection *connection, struct err *err)
{
	static const char doing[] = "check it";
	int64_t id = 0, is_whole = 0;
	int r;

	r = connection_number(connection, "PRAGMA application_id", &id, err, doing);
	if (r < 0)
		return r;
	if (id != STORE_APPLICATION_ID)
		return damaged(connection->path, "is a database, but not banger's", err);

	r = connection_number(connection, "SELECT quick_check = 'ok' FROM pragma_quick_check(1)",
			      &is_whole, err, doing);
	if (r < 0)
		return r;
	return is_whole ? 0 : damaged(connection->path, "is damaged", err);
}

static int open_existing(const char *path, struct connection *ret, struct err *err)
{
	int r;

	r = connection_open(ret, path, SQLITE_OPEN_READWRITE, err);
	if (r < 0)
		return r;

	if (sqlite3_db_readonly(ret->db, "main") == 1)
		r = err_set(err, ERR_INVALID, "the state database '%s' is read-only", path);
	else
		r = check_content(ret, err);
	if (r < 0)
		connection_close(ret);
	return r;
}

/* The settings that only the first connection makes, and the schema. */
static int prepare_writer(struct connection *writer, struct err *err)
{
	int64_t version = 0, is_wal = 0;
	int r;

	/* Before anything is written, so that a newer version's file stays as it is. */
	r = migrations_version(writer, &version, err);
	if (r < 0)
		return r;
	if (version <= (int64_t)store_migration_count) {
		r = connection_exec(writer, "PRAGMA journal_mode = WAL", err, "set it up");
		if (r == 0)
			r = connection_number(
				writer, "SELECT journal_mode = 'wal' FROM pragma_journal_mode",
				&is_wal, err, "set it up");
		if (r < 0)
			return r;
		if (!is_wal)
			return err_set(err, ERR_UNSUPPORTED,
				       "the file system of the state database '%s' cannot do "
				       "shared memory",
				       writer->path);
	}
	return migrations_apply(writer, store_migrations, store_migration_count, err);
}

static int open_both(struct store *store, const char *path, struct err *err)
{
	int r;

	r = open_existing(path, &store->writer, err);
	if (r == 0)
		r = prepare_writer(&store->writer, err);
	if (r == 0)
		r = connection_open(&store->reader, path, SQLITE_OPEN_READWRITE, err);
	if (r == 0)
		r = connection_exec(&store->reader, "PRAGMA query_only = ON", err, "set it up");
	if (r < 0) {
		connection_close(&store->reader);
		connection_close(&store->writer);
	}
	return r;
}

static bool is_no_space(const struct err *err)
{
	return err->errnum == ENOSPC || err->errnum == EDQUOT;
}

int store_open(const char *path, const char *reserve_path, struct store **ret, struct err *err)
{
	CLEANUP(store_closep) struct store *store = NULL;
	struct err first = ERR_INIT;
	int r;

	store = mem_alloc(1, sizeof(*store));
	store->folder_fd = -1;
	r = lock_folder_of(path, &store->folder_fd, err);
	if (r < 0)
		return r;
	r = look_at(path, err);
	if (r == 0)
		r = make_new(path, err);
	if (r < 0)
		return r;

	r = open_both(store, path, &first);
	/* Opening wants a few pages of its own; VMs that are to be deleted must not fail for them.
	 */
	if (r < 0 && is_no_space(&first) && reserve_path && reserve_remove(reserve_path)) {
		first = ERR_INIT;
		r = open_both(store, path, &first);
	}
	if (r < 0) {
		*err = first;
		return r;
	}

	store->reserve_path = mem_strdup(reserve_path);
	reserve_make(store);
	*ret = TAKE_PTR(store);
	return 0;
}

/* Whether a daemon that was killed has left a log, which is part of the database. */
static bool has_log(const char *path)
{
	AUTO_FREE char *wal = mem_printf("%s-wal", path);
	struct stat status;

	return lstat(wal, &status) == 0;
}

static int open_reader(struct connection *reader, const char *path, struct err *err)
{
	const bool keeps_log = has_log(path);
	int64_t version = 0;
	int r;

	r = open_existing(path, reader, err);
	if (r < 0)
		return r;
	/* Closing would fold it back: that is for the daemon to do. */
	if (keeps_log)
		(void)sqlite3_db_config(reader->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	r = connection_exec(reader, "PRAGMA query_only = ON", err, "set it up");
	if (r == 0)
		r = migrations_version(reader, &version, err);
	if (r == 0 && version != (int64_t)store_migration_count) {
		r = err_set(err, ERR_UNSUPPORTED,
			    "the state database '%s' is of schema %" PRId64
			    ", this version reads %zu",
			    path, version, store_migration_count);
		err_hint(err, "start bangerd, which migrates an older one");
	}
	return r;
}

int store_open_to_look(const char *path, struct store **ret, struct err *err)
{
	CLEANUP(store_closep) struct store *store = NULL;
	AUTO_FREE char *folder = folder_of(path);
	int64_t pid;
	int r;

	r = look_at(path, err);
	if (r <= 0) {
		*ret = NULL;
		return r < 0 ? r : 0;
	}
	/* Not locked ourselves: that would keep a daemon from starting. */
	pid = folder_lock_holder(folder);
	if (pid > 0)
		return err_set(err, ERR_BAD_STATE,
			       "the state folder '%s' is in use by process %" PRId64, folder, pid);
	store = mem_alloc(1, sizeof(*store));
	store->folder_fd = -1;
	/* What writes finds no connection to do it with: it is refused before. */
	IGNORE_RESULT(err_set(&store->failure, ERR_BAD_STATE, "it was opened for reading only"));
	r = open_reader(&store->reader, path, err);
	if (r == 0)
		*ret = TAKE_PTR(store);
	return r;
}

void store_close(struct store *store)
{
	if (!store)
		return;

	connection_close(&store->reader);
	connection_close(&store->writer);
	mem_free(store->reserve_path);
	fd_close(store->folder_fd);
	mem_free(store);
}

int store_check_migrations(const char *path, enum store_schema *ret, struct err *err)
{
	struct connection connection;
	int64_t version = 0;
	int r;

	r = look_at(path, err);
	if (r < 0)
		return r;
	if (r == 0) {
		*ret = STORE_SCHEMA_OLDER;
		return 0;
	}

	r = open_existing(path, &connection, err);
	if (r < 0)
		return r;
	r = connection_exec(&connection, "PRAGMA query_only = ON", err, "set it up");
	if (r == 0)
		r = migrations_version(&connection, &version, err);
	connection_close(&connection);
	if (r < 0)
		return r;

	if (version == (int64_t)store_migration_count)
		*ret = STORE_SCHEMA_CURRENT;
	else
		*ret = version < (int64_t)store_migration_count ? STORE_SCHEMA_OLDER
								: STORE_SCHEMA_NEWER;
	return 0;
}
