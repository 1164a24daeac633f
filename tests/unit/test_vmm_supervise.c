/*
 * VMM processes: started detached, found again, watched and ended. The VMM is this program itself,
 * which acts as one when it gets a VMM's command line; the id says how it behaves.
 */
#include "vmm_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/spawn.h"
#include "base/strv.h"
#include "vmm/supervise.h"

/* --- the VMM ---------------------------------------------------------------------------------- */

/* What it inherited, on its stdout, for the test to read in the console file. */
static void tell_surroundings(void)
{
	struct rlimit core;
	char cwd[256] = "";
	size_t fds = 0;

	for (int fd = 0; fd < 1024; fd++)
		fds += fcntl(fd, F_GETFD) >= 0;
	(void)getrlimit(RLIMIT_CORE, &core);
	(void)!getcwd(cwd, sizeof(cwd));
	(void)printf("session %d environment %d fds %zu core %d cwd %s\n", getsid(0) == getpid(),
		     environ[0] != NULL, fds, (int)core.rlim_cur, cwd);
	(void)fflush(stdout);
}

static NORETURN void answer_for_ever(const char *id, const char *socket_path)
{
	struct unix_listener listener;
	struct err err = ERR_INIT;
	AUTO_FREE char *answer = mem_printf(
		"HTTP/1.1 200 \r\nConnection: close\r\n\r\n{\"id\":\"%s\",\"state\":\"Running\","
		"\"app_name\":\"fake\",\"vmm_version\":\"1.0\"}",
		id);

	if (unix_listen(socket_path, 8, &listener, &err) < 0)
		_exit(9);
	for (;;) {
		AUTO_BUF request = BUF_INIT;
		AUTO_CLOSE int fd = accept(listener.fd, NULL, NULL);

		vmm_fixture_read_request(fd, &request);
		(void)send(fd, answer, strlen(answer), MSG_NOSIGNAL);
	}
}

static NORETURN void act_as_vmm(char **argv)
{
	const char *const id = argv[2];

	if (str_eq(id, "dies")) {
		(void)fprintf(stderr, "one\ntwo\nthree\x1b[31m\nfour\n\n");
		_exit(3);
	}
	if (str_eq(id, "killed"))
		(void)raise(SIGKILL);
	if (str_eq(id, "serves")) {
		tell_surroundings();
		answer_for_ever(id, argv[4]);
	}
	for (;;)
		(void)pause();
}

/* --- fixture ---------------------------------------------------------------------------------- */

struct place {
	struct vmm_fixture fixture;
	char *binary;
	char *api_sock;
	char *console;
	char *log;
	struct vmm_launch launch;
};

static void place_init(struct place *place, const char *id)
{
	*place = (struct place){ .binary = realpath("/proc/self/exe", NULL) };
	vmm_fixture_init(&place->fixture);
	place->api_sock = mem_printf("%s/api.sock", place->fixture.folder);
	place->console = mem_printf("%s/console.log", place->fixture.folder);
	place->log = mem_printf("%s/vmm.log", place->fixture.folder);
	place->launch = (struct vmm_launch){
		.engine = VMM_ENGINE_FIRECRACKER,
		.binary = place->binary,
		.id = id,
		.api_sock = place->api_sock,
		.console_path = place->console,
		.log_path = place->log,
	};
}

static void place_done(struct place *place)
{
	free(place->binary); // NOLINT: realpath()'s own
	mem_free(place->api_sock);
	mem_free(place->console);
	mem_free(place->log);
	vmm_fixture_done(&place->fixture);
}

static void end_vmm(struct vmm_process *process)
{
	struct vmm_exit exit = { 0 };

	assert_int_equal(vmm_kill(process->pidfd, SIGKILL), 0);
	assert_int_equal(
		vmm_wait_exit(process->pidfd, clock_now_ns() + PATIENCE_MS * NSEC_PER_MSEC, NULL),
		0);
	assert_int_equal(vmm_reap(process->pidfd, &exit), 1);
	CHECK_INT(exit.code, CLD_KILLED);
	CHECK_INT(exit.status, SIGKILL);
	CHECK_INT(vmm_reap(process->pidfd, &exit), -ECHILD);
	CHECK_INT(vmm_kill(process->pidfd, SIGKILL), -ESRCH);
	vmm_process_done(process);
}

/* --- command lines ---------------------------------------------------------------------------- */

static void test_argv(void **state)
{
	static const char *const wanted[] = {
		"/b",	      "--id",
		"abc",	      "--api-sock",
		"/a",	      "--log-path",
		"/l",	      "--level",
		"Info",	      "--qemu",
		"/q",	      "--accel",
		"tcg",	      "--drive-overlay",
		"root=/base",
	};
	struct vmm_launch launch = {
		.engine = VMM_ENGINE_QEMU,
		.accelerator = VMM_ACCELERATOR_TCG,
		.binary = "/b",
		.qemu_path = "/q",
		.id = "abc",
		.api_sock = "/a",
		.console_path = "/c",
		.log_path = "/l",
		.overlays = { { .drive_id = "root", .base_path = "/base" } },
		.overlay_count = 1,
	};

	(void)state;
	for (size_t count = ARRAY_LEN(wanted);; count = 9) {
		AUTO_STRV argv = { 0 };

		vmm_launch_argv(&launch, &argv);
		CHECK_INT(argv.count, count);
		for (size_t i = 0; i < count; i++)
			CHECK_STR(argv.items[i], wanted[i]);
		if (launch.engine == VMM_ENGINE_FIRECRACKER)
			return;
		launch.engine = VMM_ENGINE_FIRECRACKER;
	}
}

/* --- starts that fail ------------------------------------------------------------------------- */

static const struct {
	const char *id;
	uint64_t timeout_ms;
	enum err_kind kind;
	const char *message;
} failures[] = {
	{ "dies", PATIENCE_MS, ERR_SYSTEM,
	  "the VMM exited with status 3 before it took requests: two | three\\x1b[31m | four" },
	{ "killed", PATIENCE_MS, ERR_SYSTEM, "the VMM was killed by signal 9 (Killed) before" },
	{ "silent", 60, ERR_TIMEOUT, "the VMM did not open its API socket within 60 ms" },
};

static void test_failed_starts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
		CLEANUP(place_done) struct place place;
		struct vmm_process process = VMM_PROCESS_INIT;
		struct err err = ERR_INIT;

		place_init(&place, failures[i].id);
		place.launch.timeout_ms = failures[i].timeout_ms;
		CHECK_ROW(i, vmm_spawn(&place.launch, NULL, &process, &err) < 0);
		CHECK_ROW(i, err.kind == failures[i].kind);
		CHECK_HAS(err.message, failures[i].message);
		CHECK_HAS(err.hint, place.log);
		CHECK_INT(process.pid, 0);
		CHECK_INT(process.pidfd, -1);
	}
}

static void test_starts_that_cannot_begin(void **state)
{
	CLEANUP(place_done) struct place place;
	CLEANUP(cancel_done) struct cancel cancel = CANCEL_INIT;
	struct vmm_process process = VMM_PROCESS_INIT;
	AUTO_FREE char *long_path = NULL;
	struct err err = ERR_INIT;

	(void)state;
	place_init(&place, "silent");
	assert_int_equal(cancel_init(&cancel), 0);
	cancel_fire(&cancel);
	assert_true(vmm_spawn(&place.launch, &cancel, &process, &err) < 0);
	CHECK_INT(err.kind, ERR_CANCELLED);

	place.launch.api_sock = place.fixture.socket_path; /* somebody's */
	assert_true(vmm_spawn(&place.launch, NULL, &process, &err) < 0);
	CHECK_INT(err.kind, ERR_EXISTS);

	long_path = mem_printf("%s/%0100d", place.fixture.folder, 0);
	place.launch.api_sock = long_path;
	assert_true(vmm_spawn(&place.launch, NULL, &process, &err) < 0);
	CHECK_INT(err.kind, ERR_LIMIT);

	place.launch.api_sock = place.api_sock;
	place.launch.binary = "/no/such/vmm";
	assert_true(vmm_spawn(&place.launch, NULL, &process, &err) < 0);
	CHECK_HAS(err.message, "'/no/such/vmm': No such file");

	place.launch.binary = place.binary;
	place.launch.log_path = "/no/such/folder/log";
	assert_true(vmm_spawn(&place.launch, NULL, &process, &err) < 0);
	CHECK_HAS(err.message, "open '/no/such/folder/log'");
	CHECK_INT(process.pid, 0);
}

/* --- a VMM's life ----------------------------------------------------------------------------- */

static void test_surroundings(void **state)
{
	CLEANUP(place_done) struct place place;
	struct vmm_process process = VMM_PROCESS_INIT;
	AUTO_BUF console = BUF_INIT;
	struct err err = ERR_INIT;
	struct stat status;

	(void)state;
	place_init(&place, "serves");
	assert_int_equal(vmm_spawn(&place.launch, NULL, &process, &err), 0);
	assert_int_equal(file_read(AT_FDCWD, place.console, 4096, &console), 0);
	CHECK_STR(console.ptr, "session 1 environment 0 fds 3 core 0 cwd /\n");
	assert_int_equal(stat(place.log, &status), 0);
	CHECK_INT(status.st_mode & 0777, 0600);
	end_vmm(&process);
}

static void test_adoption(void **state)
{
	CLEANUP(place_done) struct place place;
	struct vmm_process started = VMM_PROCESS_INIT;
	struct vmm_process found = VMM_PROCESS_INIT;
	struct vmm_process other;
	struct vmm_description description;
	struct vmm_api api = { .timeout_ms = PATIENCE_MS };
	struct err err = ERR_INIT;

	(void)state;
	place_init(&place, "serves");
	api.socket_path = place.api_sock;
	assert_int_equal(vmm_spawn(&place.launch, NULL, &started, &err), 0);

	assert_int_equal(vmm_adopt(&started, &api, "serves", &found, &description, &err), 0);
	CHECK_INT(found.pid, started.pid);
	CHECK_INT(found.start_time, started.start_time);
	CHECK_STR(description.app_name, "fake");
	vmm_process_done(&found);

	assert_true(vmm_adopt(&started, &api, "another", &found, &description, &err) < 0);
	CHECK_INT(err.kind, ERR_PROTOCOL);
	CHECK_INT(found.pid, started.pid); /* it lives: the caller decides */
	vmm_process_done(&found);

	other = started;
	other.start_time++;
	assert_true(vmm_adopt(&other, &api, "serves", &found, &description, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	CHECK_INT(found.pid, 0);
	other = started;
	other.boot_id[0] = 'x';
	assert_true(vmm_adopt(&other, &api, "serves", &found, &description, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);

	/* Stopped, it lives and says nothing; without its socket, too. */
	assert_int_equal(vmm_kill(started.pidfd, SIGSTOP), 0);
	api.timeout_ms = 50;
	assert_true(vmm_adopt(&started, &api, "serves", &found, &description, &err) < 0);
	CHECK_INT(err.kind, ERR_TIMEOUT);
	CHECK_INT(found.pid, started.pid);
	vmm_process_done(&found);
	assert_int_equal(unlink(place.api_sock), 0);
	assert_true(vmm_adopt(&started, &api, "serves", &found, &description, &err) < 0);
	CHECK_INT(err.kind, ERR_BAD_STATE);
	CHECK_INT(found.pid, started.pid);
	vmm_process_done(&found);

	other = started;
	end_vmm(&started);
	assert_true(vmm_adopt(&other, &api, "serves", &found, &description, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
}

static void test_waiting(void **state)
{
	CLEANUP(place_done) struct place place;
	CLEANUP(cancel_done) struct cancel cancel = CANCEL_INIT;
	struct vmm_process process = VMM_PROCESS_INIT;
	struct vmm_exit exit;
	struct err err = ERR_INIT;

	(void)state;
	place_init(&place, "serves");
	assert_int_equal(cancel_init(&cancel), 0);
	cancel_fire(&cancel);
	assert_int_equal(vmm_spawn(&place.launch, NULL, &process, &err), 0);
	CHECK_INT(vmm_wait_exit(process.pidfd, clock_now_ns(), NULL), -ETIMEDOUT);
	CHECK_INT(vmm_wait_exit(process.pidfd, UINT64_MAX, &cancel), -ECANCELED);
	CHECK_INT(vmm_reap(process.pidfd, &exit), 0);
	end_vmm(&process);
}

/* A VMM that an earlier daemon started is no child of ours: it can be waited for, and not reaped.
 */
static void test_not_our_child(void **state)
{
	struct vmm_exit exit;
	int ends[2], pidfd;
	pid_t middle, far = 0;

	(void)state;
	assert_int_equal(fd_pipe(ends), 0);
	middle = fork();
	assert_true(middle >= 0);
	if (middle == 0) {
		far = fork();
		if (far == 0) {
			for (;;)
				(void)pause();
		}
		_exit(write(ends[1], &far, sizeof(far)) == sizeof(far) ? 0 : 1);
	}
	fd_close(ends[1]);
	assert_int_equal(fd_read_exact(ends[0], &far, sizeof(far)), 0);
	fd_close(ends[0]);
	assert_int_equal(waitpid(middle, NULL, 0), middle);

	pidfd = (int)syscall(SYS_pidfd_open, far, 0);
	assert_true(pidfd >= 0);
	CHECK_INT(vmm_reap(pidfd, &exit), -ECHILD);
	assert_int_equal(vmm_kill(pidfd, SIGTERM), 0);
	CHECK_INT(vmm_wait_exit(pidfd, clock_now_ns() + PATIENCE_MS * NSEC_PER_MSEC, NULL), 0);
	CHECK_INT(vmm_reap(pidfd, &exit), -ECHILD);
	fd_close(pidfd);
}

/* --- words ------------------------------------------------------------------------------------ */

static void test_exit_texts(void **state)
{
	static const struct {
		struct vmm_exit exit;
		const char *text;
	} rows[] = {
		{ { CLD_EXITED, 0 }, "exited with status 0" },
		{ { CLD_EXITED, 148 }, "exited with status 148" },
		{ { CLD_KILLED, SIGTERM }, "was killed by signal 15 (Terminated)" },
		{ { CLD_DUMPED, SIGSEGV }, "was killed by signal 11 (Segmentation fault)" },
		{ { CLD_KILLED, 200 }, "was killed by signal 200 (unknown)" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF text = BUF_INIT;

		vmm_exit_text(&rows[i].exit, &text);
		CHECK_STR(text.ptr, rows[i].text);
	}
}

static void test_log_tails(void **state)
{
	static const struct {
		const char *log;
		size_t lines;
		const char *tail;
	} rows[] = {
		{ "", 3, "" },
		{ "\n\n\n", 3, "" },
		{ "one", 3, "one" },
		{ "one\n", 1, "one" },
		{ "one\r\ntwo\r\n\r\n", 2, "one | two" },
		{ "one\ntwo\nthree\nfour\n", 2, "three | four" },
		{ "a\x1b[2J\xff\n", 1, "a\\x1b[2J\\xff" },
		{ "one\n", 0, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(vmm_fixture_done) struct vmm_fixture fixture;
		AUTO_FREE char *path = NULL;
		AUTO_CLOSE int dir_fd = -1;
		AUTO_BUF tail = BUF_INIT;

		vmm_fixture_init(&fixture);
		path = mem_printf("%s/log", fixture.folder);
		dir_fd = dir_open(fixture.folder);
		assert_int_equal(file_replace(dir_fd, "log", span_str(rows[i].log), 0600), 0);
		vmm_log_tail(path, rows[i].lines, &tail);
		CHECK_STR(tail.ptr, rows[i].tail);
	}
}

/* Only the end of a long log is read, and each line is cut. */
static void test_long_log(void **state)
{
	CLEANUP(vmm_fixture_done) struct vmm_fixture fixture;
	AUTO_FREE char *path = NULL;
	AUTO_CLOSE int dir_fd = -1;
	AUTO_BUF log = BUF_INIT;
	AUTO_BUF tail = BUF_INIT;

	(void)state;
	vmm_fixture_init(&fixture);
	path = mem_printf("%s/log", fixture.folder);
	for (size_t i = 0; i < 100000; i++)
		buf_add_byte(&log, 'x');
	buf_add_str(&log, "\nlast\n");
	dir_fd = dir_open(fixture.folder);
	assert_int_equal(file_replace(dir_fd, "log", buf_span(&log), 0600), 0);
	vmm_log_tail(path, 3, &tail);
	assert_true(tail.len < 300);
	CHECK_ROW(0, str_ends(tail.ptr, "... | last"));
	vmm_log_tail("/no/log", 3, &tail);
	assert_true(tail.len < 300);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_argv),
		cmocka_unit_test(test_failed_starts),
		cmocka_unit_test(test_starts_that_cannot_begin),
		cmocka_unit_test(test_surroundings),
		cmocka_unit_test(test_adoption),
		cmocka_unit_test(test_waiting),
		cmocka_unit_test(test_not_our_child),
		cmocka_unit_test(test_exit_texts),
		cmocka_unit_test(test_log_tails),
		cmocka_unit_test(test_long_log),
	};

	if (argc > 4 && str_eq(argv[1], "--id"))
		act_as_vmm(argv);
	return cmocka_run_group_tests_name("vmm_supervise", tests, NULL, NULL);
}
