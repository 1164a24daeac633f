/* The daemon's own parts: handles, operations, the table of VMs, keys, rollback, names of files. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/strv.h"
#include "base/text.h"
#include "daemon/handles.h"
#include "daemon/last_words.h"
#include "daemon/operations.h"
#include "daemon/private.h"
#include "daemon/rollback.h"
#include "daemon/ssh_key.h"
#include "daemon/vm_files.h"
#include "daemon/vm_table.h"
#include "daemon/vmm_search.h"

#define ID_A "0123456789abcdef0123456789abcdef"
#define ID_B "fedcba98765432100123456789abcdef"
#define BOOT "11111111-2222-3333-4444-555555555555"

static void test_handles_round_trip(void **state)
{
	const struct handles rows[] = {
		{ .pid = 42,
		  .start_time = 12345678901ULL,
		  .boot_id = BOOT,
		  .engine = VMM_ENGINE_QEMU,
		  .accelerator = VMM_ACCELERATOR_TCG },
		{ .pid = 1,
		  .start_time = 0,
		  .boot_id = BOOT,
		  .engine = VMM_ENGINE_FIRECRACKER,
		  .accelerator = VMM_ACCELERATOR_KVM,
		  .has_network = true,
		  .address = "172.16.255.254",
		  .machine_key = "form:2 vmm:0123456789abcdef",
		  .lease_pid = 77,
		  .lease_start_time = 99 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF text = BUF_INIT;
		struct handles got = { 0 };
		struct err err = ERR_INIT;

		handles_format(&rows[i], &text);
		assert_int_equal(handles_parse(buf_span(&text), &got, &err), 0);
		CHECK_ROW(i, got.pid == rows[i].pid && got.start_time == rows[i].start_time);
		CHECK_ROW(i,
			  got.engine == rows[i].engine && got.accelerator == rows[i].accelerator);
		CHECK_ROW(i, got.has_network == rows[i].has_network);
		CHECK_STR(got.address, rows[i].address);
		CHECK_STR(got.machine_key, rows[i].machine_key);
		CHECK_ROW(i, got.lease_pid == rows[i].lease_pid);
		CHECK_ROW(i, got.lease_start_time == rows[i].lease_start_time);
		CHECK_STR(got.boot_id, BOOT);
	}
}

static void test_handles_bad(void **state)
{
	static const struct {
		const char *text;
		const char *part;
	} rows[] = {
		{ "", "JSON" },
		{ "[]", "must be an object" },
		{ "{}", "field 'pid' is missing" },
		{ "{\"pid\":0,\"start_time\":1,\"boot_id\":\"" BOOT
		  "\",\"engine\":\"qemu\",\"accelerator\":\"tcg\"}",
		  "process id of 0" },
		{ "{\"pid\":-1,\"start_time\":1,\"boot_id\":\"" BOOT
		  "\",\"engine\":\"qemu\",\"accelerator\":\"tcg\"}",
		  "field 'pid' must be" },
		{ "{\"pid\":5,\"start_time\":1,\"boot_id\":\"x\",\"engine\":\"qemu\","
		  "\"accelerator\":\"tcg\"}",
		  "boot id of 'x'" },
		{ "{\"pid\":5,\"start_time\":1,\"boot_id\":\"" BOOT
		  "\",\"engine\":\"bochs\",\"accelerator\":\"tcg\"}",
		  "engine 'bochs'" },
		{ "{\"pid\":5,\"start_time\":1,\"boot_id\":\"" BOOT
		  "\",\"engine\":\"qemu\",\"accelerator\":\"tcg\",\"more\":1}",
		  "unknown field 'more'" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct handles got = { .pid = 7 };
		struct err err = ERR_INIT;

		CHECK_ROW(i, handles_parse(span_str(rows[i].text), &got, &err) < 0);
		CHECK_HAS(err.message, rows[i].part);
		CHECK_INT(got.pid, 7);
	}
}

static void test_operations(void **state)
{
	struct operations *operations = operations_new();
	struct cancel cancel = CANCEL_INIT;
	struct err err = ERR_INIT;
	AUTO_JSON *list = NULL;
	uint64_t first, second;

	(void)state;
	assert_int_equal(cancel_init(&cancel), 0);
	first = operations_begin(operations, "vm.create", NULL, &cancel);
	second = operations_begin(operations, "vm.stop", "box", &cancel);
	assert_true(first != second);
	operations_stage(operations, second, "ask");
	list = operations_json(operations);
	CHECK_INT(json_array_size(list), 2);
	CHECK_STR(json_get_str(json_array_get(list, 0), "method"), "vm.create");
	CHECK_STR(json_get_str(json_array_get(list, 1), "vm"), "box");
	CHECK_STR(json_get_str(json_array_get(list, 1), "stage"), "ask");
	operations_end(operations, first);
	CHECK_INT(operations_count(operations), 1);
	assert_true(operations_cancel(operations, first, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	assert_false(cancel_is_fired(&cancel));
	assert_int_equal(operations_cancel(operations, second, &err), 0);
	assert_true(cancel_is_fired(&cancel));
	operations_end(operations, second);
	operations_free(operations);
	cancel_done(&cancel);
}

/* A child that ends when it is told to. */
static pid_t start_child(int *ret_pidfd)
{
	struct process process = PROCESS_INIT;
	struct err err = ERR_INIT;
	AUTO_STRV argv = { 0 };

	strv_add(&argv, "sleep");
	strv_add(&argv, "600");
	const struct spawn spawn = { .path = "sleep", .argv = strv_argv(&argv) };

	assert_int_equal(spawn_start(&spawn, &process, &err), 0);
	*ret_pidfd = process.pidfd;
	return process.pid;
}

static void test_vm_table(void **state)
{
	struct vm_table *table = NULL;
	struct handles handles = { .pid = 1, .boot_id = BOOT }, got = { 0 };
	struct err err = ERR_INIT;
	AUTO_STRV ended = { 0 };
	pid_t first, second;
	int pidfd, copy = -1;

	(void)state;
	assert_int_equal(vm_table_new(&table, &err), 0);
	first = start_child(&pidfd);
	handles.pid = first;
	assert_int_equal(vm_table_add(table, ID_A, &handles, pidfd, &err), 0);
	second = start_child(&pidfd);
	handles.pid = second;
	assert_int_equal(vm_table_add(table, ID_B, &handles, pidfd, &err), 0);
	CHECK_INT(vm_table_count(table), 2);
	assert_true(vm_table_get(table, ID_A, &got, &copy));
	CHECK_INT(got.pid, first);
	assert_true(copy >= 0);
	assert_false(vm_table_get(table, BOOT, NULL, NULL));
	vm_table_ended(table, &ended);
	CHECK_INT(ended.count, 0);

	assert_int_equal(kill(first, SIGKILL), 0);
	assert_true(cancel_poll(NULL, vm_table_watch_fd(table), 1,
				clock_now_ns() + 10 * NSEC_PER_SEC) > 0);
	vm_table_ended(table, &ended);
	CHECK_INT(ended.count, 1);
	CHECK_STR(ended.items[0], ID_A);
	/* Said once. */
	vm_table_ended(table, &ended);
	CHECK_INT(ended.count, 1);

	/* Taken out before its end: it is nobody's event, though somebody holds a copy of the
	 * pidfd. */
	fd_close(copy);
	assert_true(vm_table_get(table, ID_B, NULL, &copy));
	vm_table_remove(table, ID_B);
	vm_table_remove(table, ID_B);
	assert_int_equal(kill(second, SIGKILL), 0);
	assert_int_equal(waitpid(second, NULL, 0), second);
	vm_table_ended(table, &ended);
	CHECK_INT(ended.count, 1);
	fd_close(copy);
	assert_int_equal(waitpid(first, NULL, 0), first);
	vm_table_free(table);
}

/* OpenSSH itself judges: it derives the public line from the private file. */
static void test_ssh_key(void **state)
{
	char folder[] = "/tmp/banger-test-XXXXXX";
	AUTO_BUF private_pem = BUF_INIT;
	AUTO_BUF public_line = BUF_INIT;
	AUTO_BUF derived = BUF_INIT;
	struct err err = ERR_INIT;
	AUTO_STRV argv = { 0 };
	int dir_fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	dir_fd = dir_open(folder);
	assert_int_equal(ssh_key_generate("root@box", &private_pem, &public_line, &err), 0);
	assert_int_equal(file_replace(dir_fd, "key", buf_span(&private_pem), 0600), 0);
	strv_add(&argv, "ssh-keygen");
	strv_add(&argv, "-y");
	strv_add(&argv, "-f");
	strv_addf(&argv, "%s/key", folder);
	struct spawn spawn = { .path = "ssh-keygen", .argv = strv_argv(&argv) };

	if (spawn_run(&spawn, NULL, 20000, 4096, &derived, &err) < 0)
		fail_msg("%s", err.message);
	buf_add_byte(&public_line, '\n');
	CHECK_STR(derived.ptr, public_line.ptr);
	ssh_key_wipe(&private_pem);
	CHECK_INT(private_pem.len, 0);
	fd_close(dir_fd);
	assert_int_equal(dir_remove_tree(AT_FDCWD, folder), 0);
}

static int undo_log[4];
static size_t undo_count;

static int undo_one(struct daemon *daemon, const char *id, struct err *err)
{
	(void)daemon;
	(void)id;
	(void)err;
	undo_log[undo_count++] = 1;
	return 0;
}

static int undo_two(struct daemon *daemon, const char *id, struct err *err)
{
	(void)daemon;
	undo_log[undo_count++] = 2;
	return err_set(err, ERR_BUSY, "'%s' is stuck", id);
}

static void test_rollback(void **state)
{
	struct rollback rollback = { .id = "box" };
	struct err err = ERR_INIT;

	(void)state;
	assert_true(err_set(&err, ERR_LIMIT, "no room") < 0);
	rollback_push(&rollback, undo_one);
	rollback_push(&rollback, undo_two);
	assert_false(rollback_run(&rollback, &err));
	assert_true(rollback_run(&rollback, &err)); /* nothing is left to undo */
	CHECK_INT(undo_count, 2);
	CHECK_INT(undo_log[0], 2);
	CHECK_INT(undo_log[1], 1);
	CHECK_STR(err.message, "no room; then: 'box' is stuck");
	CHECK_INT(err.kind, ERR_LIMIT);
}

static void test_vm_files(void **state)
{
	char vms_dir[] = "/state/vms", runtime_dir[] = "/run/b";
	const struct daemon daemon = { .vms_dir = vms_dir,
				       .paths = { .runtime_dir = runtime_dir } };
	AUTO_FREE char *folder = vm_file(&daemon, ID_A, VM_FILE_FOLDER);
	AUTO_FREE char *handles = vm_file(&daemon, ID_A, VM_FILE_HANDLES);
	AUTO_FREE char *api = vm_file(&daemon, ID_A, VM_FILE_API_SOCKET);

	(void)state;
	CHECK_STR(folder, "/state/vms/" ID_A);
	CHECK_STR(handles, "/state/vms/" ID_A "/handles.json");
	CHECK_STR(api, "/run/b/vm/0123456789ab/api.sock");
}

/* Words as in /proc/PID/cmdline; the array's own NUL ends the last one. */
#define CMDLINE(words)                \
	{                             \
		words, sizeof(words), \
	}
#define BEGIN "/bin/banger-vmm\0--id\0" ID_A "\0--api-sock\0/run/a"

static void test_sightings(void **state)
{
	static const struct {
		const char *words;
		size_t size;
	} bad[] = {
		{ "", 0 },
		CMDLINE("bangerd"),
		CMDLINE("/bin/banger-vmm\0--version"),
		CMDLINE("/bin/banger-vmm\0--id\0" ID_A "\0--api-sock"),
		{ BEGIN, sizeof(BEGIN) - 1 }, /* cut off: no NUL behind the last word */
		CMDLINE("/bin/banger-vmm\0--id\0" ID_A "0\0--api-sock\0/run/a"),
		CMDLINE("/bin/banger-vmm\0--id\0../../../../../../../../../../etc\0--api-sock\0/"
			"run/a"),
		CMDLINE("strace\0/bin/banger-vmm\0--id\0" ID_A "\0--api-sock\0/run/a"),
		CMDLINE("/bin/banger-vmm\0--api-sock\0/run/a\0--id\0" ID_A),
	};
	static const struct {
		const char *words;
		size_t size;
		enum vmm_engine engine;
		enum vmm_accelerator accelerator;
	} good[] = {
		{ BEGIN, sizeof(BEGIN), VMM_ENGINE_FIRECRACKER, VMM_ACCELERATOR_KVM },
		{ BEGIN "\0--qemu\0/bin/qemu\0--accel\0tcg",
		  sizeof(BEGIN "\0--qemu\0/bin/qemu\0--accel\0tcg"), VMM_ENGINE_QEMU,
		  VMM_ACCELERATOR_TCG },
		{ BEGIN "\0--qemu\0tcg\0--accel\0kvm", sizeof(BEGIN "\0--qemu\0tcg\0--accel\0kvm"),
		  VMM_ENGINE_QEMU, VMM_ACCELERATOR_KVM },
	};
	struct vmm_sighting got = { .id = "untouched" };
	const char *socket = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CHECK_ROW(i,
			  !vmm_sighting_parse(span_of(bad[i].words, bad[i].size), &got, &socket));
		CHECK_ROW(i, str_eq(got.id, "untouched") && !socket);
	}
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		CHECK_ROW(i,
			  vmm_sighting_parse(span_of(good[i].words, good[i].size), &got, &socket));
		CHECK_STR(got.id, ID_A);
		CHECK_STR(socket, "/run/a");
		CHECK_ROW(i, got.handles.engine == good[i].engine &&
				     got.handles.accelerator == good[i].accelerator);
	}
}

static void test_last_words_of_log(void **state)
{
	static const struct {
		const char *log;
		bool is_good;
	} rows[] = {
		{ "", false },
		{ "\n\n", false },
		{ "2026 [x:main] banger-vmm ends, exit status 0\n", true },
		{ "2026 [x:main] banger-vmm ends, exit status 0", true },
		{ "2026 [x:main] banger-vmm ends, exit status 1\n", false },
		{ "2026 [x:main] banger-vmm ends, exit status 10\n", false },
		{ "a banger-vmm ends, exit status 0\nb running banger-vmm 0.1.0\n", false },
		{ "2026 [anonymous-instance:main] Firecracker exiting successfully. exit_code=0\n",
		  true },
		{ "2026 [anonymous-instance:main] Firecracker exiting with error. exit_code=1\n",
		  false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i, last_words_log_is_good(span_str(rows[i].log)) == rows[i].is_good);
}

static void test_last_words_of_console(void **state)
{
#define PANIC "[ 4.2] Kernel panic - not syncing: sysrq triggered crash"
#define TRACE "[ 4.2]  </TASK>\r\n[ 4.2] Rebooting in 1 seconds..\r\n"
	static const struct {
		const char *console;
		const char *line; /* NULL: no panic */
	} rows[] = {
		{ "", NULL },
		{ "login: ", NULL },
		{ "[ 9.1] reboot: Power down\r\n", NULL },
		{ PANIC "\r\n" TRACE, PANIC "\r" },
		{ TRACE, "" }, /* the reason is farther up than was read */
		/* A panic of an earlier boot, then one that ended well, or talks of it. */
		{ PANIC "\r\n" TRACE "[ 9.1] reboot: Power down\r\n", NULL },
		{ PANIC "\r\n", NULL },
		{ PANIC ": one\n" TRACE PANIC ": two\n" TRACE "\n", PANIC ": two" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span line = span_str("untouched");
		const bool is_panic = last_words_is_panic(span_str(rows[i].console), &line);

		CHECK_ROW(i, is_panic == (rows[i].line != NULL));
		CHECK_ROW(i, span_eq(line, span_str(rows[i].line ? rows[i].line : "untouched")));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handles_round_trip),
		cmocka_unit_test(test_handles_bad),
		cmocka_unit_test(test_operations),
		cmocka_unit_test(test_vm_table),
		cmocka_unit_test(test_ssh_key),
		cmocka_unit_test(test_rollback),
		cmocka_unit_test(test_vm_files),
		cmocka_unit_test(test_sightings),
		cmocka_unit_test(test_last_words_of_log),
		cmocka_unit_test(test_last_words_of_console),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
