/*
 * Databases that are not what they should be, and disks that fail. Full disks and I/O errors come
 * from a VFS of SQLite's that passes everything on to the real one until it is told to fail.
 */
#include "check.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "store/migrations.h"
#include "store/private.h"
#include "store/store.h"

static char folder[] = "/tmp/banger-test-faults-XXXXXX";
static char *path;
static char *reserve;

/* --- the failing VFS --- */

static enum { DISK_WORKS, DISK_IS_FULL, DISK_FULL_WHILE_RESERVED, SYNC_FAILS } disk_state;

/* SQLite has several sets of methods, one for each way of locking: each gets its failing twin. */
struct twin {
	sqlite3_io_methods methods; /* first: a file points here */
	const sqlite3_io_methods *real;
};

static struct twin twins[8];
static sqlite3_vfs failing_vfs;
static int (*real_open)(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
			int *out_flags);

static const sqlite3_io_methods *real_of(const sqlite3_file *file)
{
	return ((const struct twin *)(const void *)file->pMethods)->real;
}

static bool is_full(void)
{
	return disk_state == DISK_IS_FULL ||
	       (disk_state == DISK_FULL_WHILE_RESERVED && access(reserve, F_OK) == 0);
}

static int failing_write(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset)
{
	return is_full() ? SQLITE_FULL : real_of(file)->xWrite(file, bytes, count, offset);
}

static int failing_sync(sqlite3_file *file, int flags)
{
	return disk_state == SYNC_FAILS ? SQLITE_IOERR_FSYNC : real_of(file)->xSync(file, flags);
}

static int failing_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
			int *out_flags)
{
	const int code = real_open(vfs, name, file, flags, out_flags);
	size_t i = 0;

	if (code != SQLITE_OK || !file->pMethods)
		return code;

	while (twins[i].real && twins[i].real != file->pMethods)
		i++;
	assert_true(i < ARRAY_LEN(twins) - 1);
	twins[i].real = file->pMethods;
	twins[i].methods = *file->pMethods;
	twins[i].methods.xWrite = failing_write;
	twins[i].methods.xSync = failing_sync;
	file->pMethods = &twins[i].methods;
	return code;
}

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	path = mem_printf("%s/state/state.db", folder);
	reserve = mem_printf("%s/state/reserve", folder);

	failing_vfs = *sqlite3_vfs_find(NULL);
	real_open = failing_vfs.xOpen;
	failing_vfs.zName = "failing";
	failing_vfs.xOpen = failing_open;
	return sqlite3_vfs_register(&failing_vfs, 1) == SQLITE_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	mem_free(path);
	mem_free(reserve);
	return dir_remove_tree(AT_FDCWD, folder);
}

/* --- helpers --- */

static void empty_folder(void)
{
	AUTO_FREE char *state = mem_printf("%s/state", folder);

	disk_state = DISK_WORKS;
	CHECK_INT(dir_remove_tree(AT_FDCWD, state), 0);
	CHECK_INT(mkdir(state, 0700), 0);
}

static struct store *open_good(void)
{
	struct store *store = NULL;
	struct err err = ERR_INIT;

	if (store_open(path, reserve, &store, &err) < 0)
		fail_msg("%s", err.message);
	return store;
}

static void insert_vm(struct store *store, unsigned int number, const char *wanted_error)
{
	struct err err = ERR_INIT;
	AUTO_IMAGE_RECORD image;
	AUTO_KERNEL_RECORD kernel;
	AUTO_VM vm;

	image_record_init(&image);
	kernel_record_init(&kernel);
	image.name = mem_strdup("img");
	kernel.name = mem_strdup("krn");
	image.state = kernel.state = ARTIFACT_READY;
	if (!wanted_error) {
		CHECK_INT(store_image_put(store, &image, &err), 0);
		CHECK_INT(store_kernel_put(store, &kernel, &err), 0);
	}
	vm_init(&vm);
	(void)snprintf(vm.id, sizeof(vm.id), "%032x", number);
	vm.name = mem_printf("vm-%u", number);
	vm.spec = (struct vm_spec){ .vcpu = 1,
				    .memory_bytes = 1,
				    .disk_bytes = 1,
				    .system_overlay_bytes = 1,
				    .image = mem_strdup("img"),
				    .kernel = mem_strdup("krn") };
	if (wanted_error) {
		assert_true(store_vm_insert(store, &vm, &err) < 0);
		CHECK_HAS(err.message, wanted_error);
	} else if (store_vm_insert(store, &vm, &err) < 0) {
		fail_msg("%s", err.message);
	}
}

static uint64_t count_vms(struct store *store)
{
	uint64_t total = 99, running = 99;
	struct err err = ERR_INIT;

	CHECK_INT(store_vm_count(store, &total, &running, &err), 0);
	return total;
}

static void write_file(const char *file, struct span bytes, mode_t mode)
{
	AUTO_CLOSE int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	CHECK_INT(fd_write_all(fd, bytes), 0);
	CHECK_INT(fchmod(fd, mode), 0);
}

/* Opening is refused with these words, and the file is byte for byte what it was. */
static void refuse(const char *wanted, enum err_kind kind)
{
	struct store *store = NULL;
	struct err err = ERR_INIT;
	AUTO_BUF before = BUF_INIT;
	AUTO_BUF after = BUF_INIT;
	enum store_schema schema = STORE_SCHEMA_CURRENT;

	CHECK_INT(file_read(AT_FDCWD, path, 1 << 24, &before), 0);
	assert_true(store_open(path, reserve, &store, &err) < 0);
	assert_null(store);
	CHECK_HAS(err.message, wanted);
	CHECK_INT(err.kind, kind);
	CHECK_HAS(err.message, path);
	if (kind != ERR_UNSUPPORTED)
		assert_true(store_check_migrations(path, &schema, &err) < 0);
	CHECK_INT(file_read(AT_FDCWD, path, 1 << 24, &after), 0);
	assert_true(span_eq(buf_span(&before), buf_span(&after)));
	assert_int_equal(access(reserve, F_OK), -1);
}

static void run_sql(const char *sql)
{
	sqlite3 *db = NULL;

	CHECK_INT(sqlite3_open(path, &db), SQLITE_OK);
	CHECK_INT(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

/* --- tests --- */

static void test_damaged(void **state)
{
	AUTO_BUF garbage = BUF_INIT;

	(void)state;
	empty_folder();
	for (int i = 0; i < 20000; i++)
		buf_add_byte(&garbage, (uint8_t)(i * 7));
	write_file(path, buf_span(&garbage), 0600);
	refuse("is no SQLite database", ERR_INVALID);
	write_file(path, span_str(""), 0600);
	refuse("is empty", ERR_INVALID);
	write_file(path, span_str("SQLite"), 0600);
	refuse("is no SQLite database", ERR_INVALID);
	write_file(path, buf_span(&garbage), 0400);
	refuse("is read-only (mode 0400)", ERR_INVALID);
}

static void test_cut_off(void **state)
{
	AUTO_BUF whole = BUF_INIT;
	struct stat status;

	(void)state;
	empty_folder();
	store_close(open_good());
	CHECK_INT(unlink(reserve), 0);
	CHECK_INT(file_read(AT_FDCWD, path, 1 << 24, &whole), 0);
	CHECK_INT(stat(path, &status), 0);
	assert_true(whole.len > 16384);
	write_file(path, span_of(whole.ptr, whole.len / 2), 0600);
	refuse("damaged", ERR_INVALID);
	write_file(path, span_of(whole.ptr, 4096), 0600);
	refuse("damaged", ERR_INVALID);
	write_file(path, span_of(whole.ptr, 50), 0600);
	refuse("damaged", ERR_INVALID);

	/* A page of nonsense in the middle. */
	write_file(path, buf_span(&whole), 0600);
	{
		AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
		char page[4096];

		memset(page, 0x5a, sizeof(page));
		CHECK_INT(fd_pwrite_all(fd, span_of(page, sizeof(page)), 8192), 0);
	}
	refuse("damaged", ERR_INVALID);
}

static void test_foreign(void **state)
{
	AUTO_FREE char *wal = mem_printf("%s-wal", path);
	struct store *store = NULL;
	struct err err = ERR_INIT;

	(void)state;
	empty_folder();
	run_sql("CREATE TABLE photos (name TEXT)");
	refuse("is a database, but not banger's", ERR_INVALID);
	CHECK_INT(unlink(path), 0);

	/* A log without its database is not given to a new one. */
	write_file(wal, span_str("log"), 0600);
	assert_true(store_open(path, reserve, &store, &err) < 0);
	CHECK_HAS(err.message, "is missing, but its log (-wal) is there");
	assert_int_equal(access(path, F_OK), -1);
	CHECK_INT(unlink(wal), 0);

	CHECK_INT(mkdir(path, 0700), 0);
	assert_true(store_open(path, reserve, &store, &err) < 0);
	CHECK_HAS(err.message, "is no regular file");
	CHECK_INT(rmdir(path), 0);
	CHECK_INT(symlink("elsewhere", path), 0);
	assert_true(store_open(path, reserve, &store, &err) < 0);
	CHECK_HAS(err.message, "open the state database '");
	CHECK_INT(unlink(path), 0);

	assert_true(store_open("/nowhere/state.db", NULL, &store, &err) < 0);
	CHECK_HAS(err.message, "open the state folder '/nowhere': No such file");
}

static void test_versions(void **state)
{
	enum store_schema schema = STORE_SCHEMA_NEWER;
	struct err err = ERR_INIT;

	(void)state;
	empty_folder();
	CHECK_INT(store_check_migrations(path, &schema, &err), 0);
	CHECK_INT(schema, STORE_SCHEMA_OLDER);
	assert_int_equal(access(path, F_OK), -1);

	store_close(open_good());
	CHECK_INT(store_check_migrations(path, &schema, &err), 0);
	CHECK_INT(schema, STORE_SCHEMA_CURRENT);
	{
		/* Also while a daemon has it open. */
		CLEANUP(store_closep) struct store *store = open_good();

		CHECK_INT(store_check_migrations(path, &schema, &err), 0);
		CHECK_INT(schema, STORE_SCHEMA_CURRENT);
		insert_vm(store, 1, NULL);
	}

	CHECK_INT(unlink(reserve), 0);
	run_sql("INSERT INTO schema_migrations VALUES (1000, 'from the future', '2099')");
	CHECK_INT(store_check_migrations(path, &schema, &err), 0);
	CHECK_INT(schema, STORE_SCHEMA_NEWER);
	refuse("was made by a newer version of banger (schema 1000, this one knows ",
	       ERR_UNSUPPORTED);
}

/* The mechanism, with migrations of the test's own: forward, recorded, all or nothing. */
static void test_migrations(void **state)
{
	static const struct migration table[] = {
		{ "first", "CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (1)" },
		{ "second", "ALTER TABLE a ADD COLUMN y TEXT; UPDATE a SET y = 'old'" },
		{ "broken", "CREATE TABLE b (x INTEGER) STRICT; INSERT INTO nowhere VALUES (1)" },
	};
	struct connection connection;
	struct err err = ERR_INIT;
	int64_t number = 99;

	(void)state;
	empty_folder();
	CHECK_INT(connection_open(&connection, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
				  &err),
		  0);
	CHECK_INT(migrations_version(&connection, &number, &err), 0);
	CHECK_INT(number, 0);
	CHECK_INT(migrations_apply(&connection, table, 1, &err), 0);
	CHECK_INT(migrations_apply(&connection, table, 1, &err), 0);
	CHECK_INT(migrations_version(&connection, &number, &err), 0);
	CHECK_INT(number, 1);

	/* From the previous schema: its row is still there. */
	CHECK_INT(migrations_apply(&connection, table, 2, &err), 0);
	CHECK_INT(connection_number(&connection, "SELECT count(*) FROM a WHERE x = 1 AND y = 'old'",
				    &number, &err, "count"),
		  0);
	CHECK_INT(number, 1);

	assert_true(migrations_apply(&connection, table, 3, &err) < 0);
	CHECK_HAS(err.message, "broken in the state database '");
	CHECK_INT(migrations_version(&connection, &number, &err), 0);
	CHECK_INT(number, 2);
	CHECK_INT(connection_number(&connection,
				    "SELECT count(*) FROM sqlite_schema WHERE name = 'b'", &number,
				    &err, "count"),
		  0);
	CHECK_INT(number, 0);

	assert_true(migrations_apply(&connection, table, 1, &err) < 0);
	CHECK_INT(err.kind, ERR_UNSUPPORTED);
	connection_close(&connection);
}

/* A database of the first release, with VMs: all of them come through, in their order. */
static void test_old_database(void **state)
{
	static const char rows[] =
		"PRAGMA application_id = 0x62616e67;"
		"INSERT INTO images VALUES ('img', 'ready', 'managed', NULL, 'krn', 1, 1, 1, 0, "
		"NULL,"
		"  NULL);"
		"INSERT INTO kernels VALUES ('krn', 'ready', NULL, NULL, NULL, '6', 1, 0, 0, 1, 0);"
		"INSERT INTO vms SELECT 10 - column1, printf('%032d', column1), 'vm-' || column1, "
		"'stopped',"
		"  'stop', 'ask', 'img', 'krn', 1, 2, 3, 4, 0, '80:80', 0, NULL, 'boot', NULL, "
		"NULL,"
		"  NULL, 'why', '/root/repo', '/repo', 'abc', 5, 6"
		"  FROM (VALUES (1), (2), (3));";
	CLEANUP(store_closep) struct store *store = NULL;
	struct connection connection;
	struct err err = ERR_INIT;
	AUTO_VM_LIST list = { .items = NULL };

	(void)state;
	empty_folder();
	CHECK_INT(connection_open(&connection, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
				  &err),
		  0);
	CHECK_INT(migrations_apply(&connection, store_migrations, 2, &err), 0);
	CHECK_INT(connection_exec(&connection, rows, &err, "fill it"), 0);
	connection_close(&connection);

	store = open_good();
	CHECK_INT(store_vm_list(store, &list, &err), 0);
	CHECK_INT(list.count, 3);
	CHECK_STR(list.items[0].name, "vm-3");
	CHECK_STR(list.items[2].name, "vm-1");
	CHECK_INT(list.items[1].intent, VM_INTENT_STOP);
	CHECK_INT(list.items[1].started_at, 6);
	CHECK_INT(list.items[1].used_at_ms, 0);
	CHECK_STR(list.items[1].workspace.head, "abc");
	CHECK_INT(list.items[1].spec.ports[0].guest, 80);
	/* References and unique names hold as before. */
	assert_true(store_image_delete(store, "img", &err) < 0);
	CHECK_INT(err.kind, ERR_BUSY);
	err = ERR_INIT;
	vm_set_text(&list.items[1].name, "vm-3");
	assert_true(store_vm_update(store, &list.items[1], &err) < 0);
	CHECK_INT(err.kind, ERR_EXISTS);
}

/* A snapshot of before keys had parts is still there, and has none. */
static void test_old_snapshot(void **state)
{
	static const char rows[] =
		"PRAGMA application_id = 0x62616e67;"
		"INSERT INTO images (name, state, size_bytes, used_bytes, has_init, built_at)"
		"  VALUES ('img', 'ready', 1, 1, 0, 0);"
		"INSERT INTO kernels (name, state, has_elf, has_bzimage, module_count, size_bytes,"
		"  pulled_at) VALUES ('krn', 'ready', 1, 0, 0, 1, 0);"
		"INSERT INTO vms (id, name, state, image, kernel, vcpu, memory_bytes, disk_bytes,"
		"  system_overlay_bytes, nat, ports, ephemeral, created_at, started_at)"
		"  VALUES (printf('%032d', 1), 'box', 'stopped', 'img', 'krn', 1, 2, 3, 4, 0, '', "
		"0,"
		"  5, 6);"
		"INSERT INTO snapshots (id, vm_id, name, key, state_sha256, memory_file, "
		"memory_size,"
		"  memory_changed_ns, system_file, system_size, system_changed_ns, work_file,"
		"  work_size, work_changed_ns, vcpu, memory_bytes, system_bytes, work_bytes,"
		"  workspace_untracked, workspace_pending, used_bytes, pause_us, created_at)"
		"  VALUES (printf('%032d', 2), printf('%032d', 1), 'old', printf('%064d', 3),"
		"  printf('%064d', 4), 'memory', 1, 2, 'system.raw', 3, 4, 'work.raw', 5, 6, 1, 2, "
		"3,"
		"  4, 0, 0, 5, 6, 7);";
	CLEANUP(store_closep) struct store *store = NULL;
	AUTO_SNAPSHOT_RECORD_LIST list = { .items = NULL };
	struct connection connection;
	struct err err = ERR_INIT;

	(void)state;
	empty_folder();
	CHECK_INT(connection_open(&connection, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
				  &err),
		  0);
	CHECK_INT(migrations_apply(&connection, store_migrations, 8, &err), 0);
	if (connection_exec(&connection, rows, &err, "fill it") < 0)
		fail_msg("%s", err.message);
	connection_close(&connection);

	store = open_good();
	CHECK_INT(store_snapshot_list(store, NULL, &list, &err), 0);
	CHECK_INT(list.count, 1);
	CHECK_STR(list.items[0].name, "old");
	CHECK_INT(list.items[0].created_at, 7);
	assert_null(list.items[0].machine_key);
}

/* What a crash leaves half-made is swept; a database that came in between is not overwritten. */
static void test_half_made(void **state)
{
	AUTO_FREE char *half = mem_printf("%s/state/.new-state.db", folder);
	struct store *store;

	(void)state;
	empty_folder();
	write_file(half, span_str("half a database"), 0600);
	store = open_good();
	assert_int_equal(access(half, F_OK), -1);
	insert_vm(store, 1, NULL);
	store_close(store);
	write_file(half, span_str("half a database"), 0600);
	store = open_good();
	CHECK_INT(count_vms(store), 1);
	store_close(store);
}

/* Another process holds the database: the error says which. */
static void test_locked(void **state)
{
	struct store *store = NULL;
	struct err err = ERR_INIT;
	AUTO_FREE char *process = NULL;
	int ready[2], leave[2], status = 0;
	char byte = 0;
	pid_t pid;

	(void)state;
	empty_folder();
	store_close(open_good());
	CHECK_INT(fd_pipe(ready), 0);
	CHECK_INT(fd_pipe(leave), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		sqlite3 *db = NULL;
		const bool good = sqlite3_open(path, &db) == SQLITE_OK &&
				  sqlite3_exec(db,
					       "PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE;"
					       "CREATE TABLE held (x)",
					       NULL, NULL, NULL) == SQLITE_OK;

		fd_close(leave[1]);
		(void)!write(ready[1], "r", 1);
		(void)!read(leave[0], &byte, 1);
		_exit(good ? 0 : 1);
	}
	CHECK_INT(fd_read_exact(ready[0], &byte, 1), 0);
	process = mem_printf("is locked by process %d", (int)pid);
	assert_true(store_open(path, reserve, &store, &err) < 0);
	fd_close(leave[1]);
	fd_close(leave[0]);
	fd_close(ready[0]);
	fd_close(ready[1]);
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
	CHECK_INT(err.kind, ERR_BUSY);
	CHECK_HAS(err.message, process);
	store_close(open_good());
}

/* SQLite would let both in. */
static void test_second_store(void **state)
{
	AUTO_FREE char *process = mem_printf("is in use by process %d", (int)getpid());
	struct store *first, *second = NULL;
	struct err err = ERR_INIT;
	pid_t pid;
	int status = 0;

	(void)state;
	empty_folder();
	first = open_good();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(store_open(path, reserve, &second, &err) < 0 && err.kind == ERR_BAD_STATE &&
				      strstr(err.message, process) && err.hint[0] != '\0'
			      ? 0
			      : 1);
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
	store_close(first);
	store_close(open_good());
}

static void test_full_disk(void **state)
{
	static const char id[] = "00000000000000000000000000000001";
	CLEANUP(store_closep) struct store *store = NULL;
	struct err err = ERR_INIT;

	(void)state;
	empty_folder();
	store = open_good();
	insert_vm(store, 1, NULL);

	/* Creating fails and leaves the reserve to those who need it more. */
	disk_state = DISK_FULL_WHILE_RESERVED;
	insert_vm(store, 2, "No space left on device");
	assert_true(store_vm_set_intent(store, id, VM_INTENT_START, NULL, &err) < 0);
	CHECK_INT(err.errnum, ENOSPC);
	CHECK_INT(access(reserve, F_OK), 0);
	CHECK_INT(count_vms(store), 1);

	/* Stopping and deleting free it and go through. */
	err = ERR_INIT;
	CHECK_INT(store_vm_set_intent(store, id, VM_INTENT_STOP, NULL, &err), 0);
	CHECK_INT(err.kind, ERR_NONE);
	assert_int_equal(access(reserve, F_OK), -1);
	CHECK_INT(store_vm_set_state(store, id, VM_STOPPED, NULL, &err), 0);
	CHECK_INT(store_vm_delete(store, id, &err), 0);
	CHECK_INT(access(reserve, F_OK), 0);
	CHECK_INT(count_vms(store), 0);
	disk_state = DISK_WORKS;
	insert_vm(store, 3, NULL);

	/* Full even without the reserve: said, nothing changed, and over when there is room again.
	 */
	disk_state = DISK_IS_FULL;
	assert_true(store_vm_delete(store, "00000000000000000000000000000003", &err) < 0);
	CHECK_INT(err.errnum, ENOSPC);
	CHECK_HAS(err.message, "delete the VM in the state database '");
	CHECK_INT(count_vms(store), 1);
	CHECK_INT(store_check_health(store, &err), 0);
	disk_state = DISK_WORKS;
	CHECK_INT(store_vm_delete(store, "00000000000000000000000000000003", &err), 0);
}

static void test_full_at_start(void **state)
{
	struct store *store = NULL;
	struct err err = ERR_INIT;
	AUTO_FREE char *half = mem_printf("%s/state/.new-state.db", folder);

	(void)state;
	empty_folder();
	disk_state = DISK_IS_FULL;
	assert_true(store_open(path, reserve, &store, &err) < 0);
	CHECK_INT(err.errnum, ENOSPC);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access(half, F_OK), -1);
	disk_state = DISK_WORKS;
	store_close(open_good());

	/* One that is there opens also on a full disk. */
	disk_state = DISK_IS_FULL;
	store = open_good();
	CHECK_INT(count_vms(store), 0);
	store_close(store);
	disk_state = DISK_WORKS;
}

/* After a failed fsync nobody knows what is on the disk: nothing more is said to be stored. */
static void test_failed_sync(void **state)
{
	CLEANUP(store_closep) struct store *store = NULL;
	struct err err = ERR_INIT;

	(void)state;
	empty_folder();
	store = open_good();
	insert_vm(store, 1, NULL);
	disk_state = SYNC_FAILS;
	insert_vm(store, 2, "store the VM in the state database '");
	disk_state = DISK_WORKS;
	insert_vm(store, 2, "is not written any more after: store the VM in the state database");
	assert_true(store_check_health(store, &err) < 0);
	CHECK_HAS(err.hint, "restart bangerd");
	CHECK_INT(count_vms(store), 1);

	store_close(store);
	store = open_good();
	CHECK_INT(store_check_health(store, &err), 0);
	assert_true(count_vms(store) >= 1);
	insert_vm(store, 3, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_damaged),	     cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_foreign),	     cmocka_unit_test(test_versions),
		cmocka_unit_test(test_old_database), cmocka_unit_test(test_old_snapshot),
		cmocka_unit_test(test_migrations),   cmocka_unit_test(test_half_made),
		cmocka_unit_test(test_locked),	     cmocka_unit_test(test_second_store),
		cmocka_unit_test(test_full_disk),    cmocka_unit_test(test_full_at_start),
		cmocka_unit_test(test_failed_sync),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
