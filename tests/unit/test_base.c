/* The foundation: errors, buffers, parsers, text, files, processes, sockets, JSON tables. */
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <seccomp.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/spawn.h"
#include "base/strv.h"
#include "base/text.h"
#include "base/unix_socket.h"

static void test_err(void **state)
{
	struct err err = ERR_INIT, other = ERR_INIT;

	(void)state;
	CHECK_INT(err_sys(&err, -ENOENT, "open '%s'", "/x\x1b[2J"), -ENOENT);
	CHECK_STR(err.message, "open '/x\\x1b[2J': No such file or directory");
	CHECK_INT(err.kind, ERR_SYSTEM);
	CHECK_INT(err_context(&err, -ENOENT, "start 'web'"), -ENOENT);
	CHECK_STR(err.message, "start 'web': open '/x\\x1b[2J': No such file or directory");
	assert_true(err_set(&other, ERR_NOT_FOUND, "no VM '%s'", "a") < 0);
	err_append(&err, &other);
	CHECK_HAS(err.message, "; then: no VM 'a'");
	for (int kind = 0; kind < ERR_KIND_COUNT; kind++)
		CHECK_INT(err_kind_from_name(err_kind_name((enum err_kind)kind)), kind);
	CHECK_INT(err_kind_from_name("nonsense"), ERR_SYSTEM);
}

static void test_err_cut(void **state)
{
	struct err err = ERR_INIT;
	char text[2 * ERR_MESSAGE_SIZE + 1];

	(void)state;
	/* Two-byte characters that the end of the message would cut in two. */
	for (size_t i = 0; i + 1 < sizeof(text); i += 2) {
		text[i] = '\xc3';
		text[i + 1] = '\xa9';
	}
	text[sizeof(text) - 1] = '\0';
	assert_true(err_set(&err, ERR_INVALID, "a%s", text) < 0);
	assert_true(text_is_utf8(span_str(err.message)));
	assert_true(strlen(err.message) >= ERR_MESSAGE_SIZE - 3);
}

static void test_buf(void **state)
{
	AUTO_BUF buf = BUF_INIT;

	(void)state;
	CHECK_STR(buf.ptr, "");
	for (int i = 0; i < 1000; i++)
		buf_addf(&buf, "%d,", i);
	CHECK_INT(buf.ptr[buf.len], 0);
	CHECK_INT(buf.len, 10 * 2 + 90 * 3 + 900 * 4);
	buf_consume(&buf, buf.len - 4);
	CHECK_STR(buf.ptr, "999,");
	buf_clear(&buf);
	buf_add_be32(&buf, 0x01020304);
	assert_memory_equal(buf.ptr, "\1\2\3\4", 5);
}

static void test_parse_u64(void **state)
{
	static const char *const bad[] = {
		"", "-1", "+1", " 1", "01", "1 ", "0x1", "1e3", "18446744073709551616", "\xd9\xa3"
	};
	uint64_t got = 7;
	int64_t signed_got = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CHECK_ROW(i, !parse_u64_text(bad[i], UINT64_MAX, &got));
		CHECK_ROW(i, got == 7);
	}
	assert_true(parse_u64_text("18446744073709551615", UINT64_MAX, &got));
	assert_true(got == UINT64_MAX);
	assert_true(parse_u64_text("0", 0, &got));
	assert_false(parse_u64_text("33", 32, &got));
	assert_true(parse_i64_text("-9223372036854775808", INT64_MIN, INT64_MAX, &signed_got));
	assert_true(signed_got == INT64_MIN);
	assert_false(parse_i64_text("9223372036854775808", INT64_MIN, INT64_MAX, &signed_got));
	assert_false(parse_i64_text("-0", INT64_MIN, INT64_MAX, &signed_got));
}

static void test_parse_size(void **state)
{
	static const struct {
		const char *text;
		uint64_t unit;
		bool ok;
		uint64_t value;
	} rows[] = {
		{ "512", 1024 * 1024, true, 512ULL << 20 },
		{ "512M", 1, true, 512ULL << 20 },
		{ "512MiB", 1, true, 512ULL << 20 },
		{ "8GB", 1, true, 8ULL << 30 },
		{ "8g", 1, true, 8ULL << 30 },
		{ "1.5G", 1, true, 3ULL << 29 },
		{ "0", 1, true, 0 },
		{ "100B", 1024, true, 100 },
		{ "16777215T", 1, true, 16777215ULL << 40 },
		{ "16777216T", 1, false, 0 },
		{ "18446744073709551616", 1, false, 0 },
		{ "18446744073709551615", 2, false, 0 },
		{ "1.3", 1, false, 0 },
		{ "1.", 1, false, 0 },
		{ ".5G", 1, false, 0 },
		{ "8E", 1, false, 0 },
		{ "8 G", 1, false, 0 },
		{ "-1", 1, false, 0 },
		{ "", 1, false, 0 },
		{ "8GiBB", 1, false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t got = 7;

		CHECK_ROW(i, parse_size_text(rows[i].text, rows[i].unit, &got) == rows[i].ok);
		CHECK_ROW(i, got == (rows[i].ok ? rows[i].value : 7));
	}
}

static void test_parse_duration(void **state)
{
	static const struct {
		const char *text;
		bool ok;
		uint64_t ms;
	} rows[] = {
		{ "0", true, 0 },
		{ "10s", true, 10000 },
		{ "1h30m", true, 5400000 },
		{ "250ms", true, 250 },
		{ "2d", true, 172800000 },
		{ "10", false, 0 },
		{ "s", false, 0 },
		{ "-1s", false, 0 },
		{ "", false, 0 },
		{ "1w", false, 0 },
		{ "99999999999999999999d", false, 0 },
		{ "213503982335d", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t got = 7;

		CHECK_ROW(i, parse_duration_text(rows[i].text, &got) == rows[i].ok);
		CHECK_ROW(i, got == (rows[i].ok ? rows[i].ms : 7));
	}
}

static void test_text_escape(void **state)
{
	static const struct {
		const char *in;
		const char *out;
	} rows[] = {
		{ "plain", "plain" },
		{ "a\nb\x7f", "a\\x0ab\\x7f" },
		{ "\x1b]52;c;x\x07", "\\x1b]52;c;x\\x07" },
		{ "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" },
		{ "\xff\xfe", "\\xff\\xfe" },
		{ "\xc0\xaf", "\\xc0\\xaf" },
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80" },
		{ "\xe2\x80\xae"
		  "abc",
		  "\\u{202e}abc" },
		{ "a\xe2\x80\x8c"
		  "b\xe2\x80\x8d\xe2\x80\x8b",
		  "a\\u{200c}b\\u{200d}\\u{200b}" },
		{ "\xc2\xad\xe2\x81\xa0\xef\xbb\xbf\xf3\xa0\x81\x81",
		  "\\u{00ad}\\u{2060}\\u{feff}\\u{e0041}" },
		{ "e\xcc\x81\xe2\x9c\x94\xef\xb8\x8f", "e\xcc\x81\xe2\x9c\x94\xef\xb8\x8f" },
		{ "\xc2\x9b"
		  "2J",
		  "\\u{009b}2J" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF out = BUF_INIT;

		text_escape(&out, span_str(rows[i].in), 100);
		CHECK_STR(out.ptr, rows[i].out);
	}
	AUTO_BUF out = BUF_INIT;

	text_escape(&out, span_str("abcdef"), 3);
	CHECK_STR(out.ptr, "abc...");
}

static void test_text_cut(void **state)
{
	static const struct {
		const char *in;
		size_t cut;
	} rows[] = {
		{ "", 0 },
		{ "a", 0 },
		{ "\xc3\xa4", 0 },
		{ "a\xc3", 1 },
		{ "\xc3", 1 },
		{ "\xe2\x82", 2 },
		{ "\xe2\x82\xac", 0 },
		{ "\xf0\x9f\x98", 3 },
		{ "x\xf0\x9f", 2 },
		{ "\xf0\x9f\x98\x80", 0 },
		{ "\xc3\xa4\xa4", 0 },	   /* nothing that could go on */
		{ "\x82\x82\x82\x82", 0 }, /* nor that has begun */
		{ "\xff", 0 },
		{ "\xc0", 0 },
		{ "\xe2", 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_INT(text_cut(span_str(rows[i].in)), rows[i].cut);
}

static void test_text_words(void **state)
{
	static const char *const names[] = { "start", "stop", "restart" };
	static const struct {
		uint64_t bytes;
		const char *text;
	} sizes[] = {
		{ 0, "0 B" },
		{ 1023, "1023 B" },
		{ 512ULL << 20, "512 MiB" },
		{ 3ULL << 29, "1.5 GiB" },
		{ (2ULL << 30) - 1, "1.9 GiB" },
		{ 8ULL << 30, "8 GiB" },
	};
	static const struct {
		const char *a;
		const char *b;
		size_t distance;
	} distances[] = {
		{ "", "", 0 },	       { "", "abc", 3 },   { "kitten", "sitting", 3 },
		{ "bxo", "box", 1 },   { "ab", "ba", 1 },  { "abcdef", "badcfe", 3 },
		{ "abdc", "abcd", 1 }, { "ca", "abc", 3 }, { "update", "create", 3 },
		{ "aab", "aba", 1 },   { "psx", "ps", 1 },
	};

	(void)state;
	CHECK_STR(text_nearest("strat", names, ARRAY_LEN(names)), "start");
	CHECK_STR(text_nearest("sotp", names, ARRAY_LEN(names)), "stop");
	assert_null(text_nearest("frobnicate", names, ARRAY_LEN(names)));
	assert_null(text_nearest("ssh", names, ARRAY_LEN(names)));
	for (size_t i = 0; i < ARRAY_LEN(distances); i++) {
		CHECK_INT(text_distance(distances[i].a, distances[i].b), distances[i].distance);
		CHECK_INT(text_distance(distances[i].b, distances[i].a), distances[i].distance);
	}
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		AUTO_BUF out = BUF_INIT;

		text_size(&out, sizes[i].bytes);
		CHECK_STR(out.ptr, sizes[i].text);
	}
}

/* A folder that is gone when the test is over. */
struct scratch {
	char path[64];
	int fd;
};

static void scratch_init(struct scratch *scratch)
{
	(void)snprintf(scratch->path, sizeof(scratch->path), "/tmp/banger-test-XXXXXX");
	assert_non_null(mkdtemp(scratch->path));
	scratch->fd = dir_open(scratch->path);
	assert_true(scratch->fd >= 0);
}

static void scratch_done(struct scratch *scratch)
{
	fd_close(scratch->fd);
	assert_int_equal(dir_remove_tree(AT_FDCWD, scratch->path), 0);
}

static void test_files(void **state)
{
	struct scratch scratch;
	AUTO_BUF content = BUF_INIT;
	AUTO_FREE char *deep = NULL;
	struct stat status;

	(void)state;
	scratch_init(&scratch);
	assert_int_equal(file_replace(scratch.fd, "a", span_str("one"), 0600), 0);
	assert_int_equal(file_replace(scratch.fd, "a", span_str("two"), 0640), 0);
	assert_int_equal(file_read(scratch.fd, "a", 3, &content), 0);
	CHECK_STR(content.ptr, "two");
	CHECK_INT(file_read(scratch.fd, "a", 2, &content), -EFBIG);
	assert_int_equal(fstatat(scratch.fd, "a", &status, 0), 0);
	CHECK_INT(status.st_mode & 0777, 0640);

	assert_int_equal(mkfifoat(scratch.fd, "fifo", 0600), 0);
	CHECK_INT(file_read(scratch.fd, "fifo", 10, &content), -EINVAL);
	CHECK_INT(file_read(scratch.fd, ".", 10, &content), -EINVAL);
	CHECK_INT(file_read(scratch.fd, "none", 10, &content), -ENOENT);

	deep = mem_printf("%s/b/c/d", scratch.path);
	assert_int_equal(dir_make_path(deep, 0700), 0);
	assert_int_equal(dir_make_path(deep, 0700), 0);
	assert_int_equal(symlinkat("/", scratch.fd, "b/link"), 0);
	assert_int_equal(dir_remove_tree(scratch.fd, "b"), 0);
	assert_int_equal(dir_remove_tree(scratch.fd, "b"), 0);
	assert_int_equal(access("/etc/passwd", F_OK), 0);
	scratch_done(&scratch);
}

/* Of a new file and a new folder, over what is there and over nothing. */
static bool renames_to_new(const struct scratch *scratch)
{
	static const char *const sources[] = { "file", "dir" };
	static const char *const takens[] = { "taken", "full", "empty", "link" };
	bool is_right = true;

	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		for (size_t j = 0; j < ARRAY_LEN(takens); j++)
			is_right = is_right && file_rename_new(scratch->fd, sources[i], scratch->fd,
							       takens[j]) == -EEXIST;
		is_right = is_right &&
			   file_rename_new(scratch->fd, sources[i], scratch->fd, "new") == 0 &&
			   faccessat(scratch->fd, sources[i], F_OK, 0) < 0 &&
			   file_rename_new(scratch->fd, "new", scratch->fd, sources[i]) == 0 &&
			   faccessat(scratch->fd, "new", F_OK, 0) < 0;
	}
	return is_right && file_rename_new(scratch->fd, "none", scratch->fd, "new") == -ENOENT;
}

/* As on NFS: no flags. */
static bool forget_rename_flags(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	const bool is_done = filter &&
			     seccomp_rule_add(filter, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(renameat2),
					      1, SCMP_A4(SCMP_CMP_NE, 0, 0)) == 0 &&
			     seccomp_load(filter) == 0;

	seccomp_release(filter);
	return is_done && renameat2(AT_FDCWD, "/", AT_FDCWD, "/", RENAME_NOREPLACE) < 0 &&
	       errno == EINVAL;
}

static void test_rename_new(void **state)
{
	struct scratch scratch;
	int status = -1;
	pid_t pid;

	(void)state;
	scratch_init(&scratch);
	assert_int_equal(file_replace(scratch.fd, "file", span_str("one"), 0600), 0);
	assert_int_equal(file_replace(scratch.fd, "taken", span_str("two"), 0600), 0);
	assert_int_equal(mkdirat(scratch.fd, "dir", 0700), 0);
	assert_int_equal(mkdirat(scratch.fd, "empty", 0700), 0);
	assert_int_equal(mkdirat(scratch.fd, "full", 0700), 0);
	assert_int_equal(mkdirat(scratch.fd, "full/x", 0700), 0);
	assert_int_equal(symlinkat("nowhere", scratch.fd, "link"), 0);
	assert_true(renames_to_new(&scratch));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(forget_rename_flags() && renames_to_new(&scratch) ? 0 : 1);
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
	scratch_done(&scratch);
}

static void test_clone_keeps_holes(void **state)
{
	struct scratch scratch;
	uint64_t allocated, size;
	bool is_reflinked;
	char byte;
	int from, to;

	(void)state;
	scratch_init(&scratch);
	from = openat(scratch.fd, "from", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	to = openat(scratch.fd, "to", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(from, 64 << 20), 0);
	assert_int_equal(fd_pwrite_all(from, span_str("x"), 32 << 20), 0);
	assert_int_equal(file_clone(from, to, NULL, &is_reflinked), 0);
	assert_int_equal(file_usage(to, &allocated, &size), 0);
	assert_true(size == 64 << 20);
	assert_true(is_reflinked || allocated < 1 << 20);
	assert_int_equal(pread(to, &byte, 1, 32 << 20), 1);
	CHECK_INT(byte, 'x');
	fd_close(from);
	fd_close(to);
	scratch_done(&scratch);
}

/* Words separated by blanks, then one more argument as it is. */
static void add_all(struct strv *list, const char *words, const char *last)
{
	struct span rest = span_str(words), word;

	while (parse_until(&rest, ' ', &word))
		strv_addf(list, "%.*s", (int)word.len, (const char *)word.ptr);
	if (rest.len > 0)
		strv_addf(list, "%.*s", (int)rest.len, (const char *)rest.ptr);
	strv_add(list, last);
}

static void test_spawn(void **state)
{
	AUTO_STRV echo = { 0 };
	AUTO_STRV env = { 0 };
	AUTO_STRV fails = { 0 };
	AUTO_STRV floods = { 0 };
	AUTO_STRV sleeps = { 0 };
	AUTO_BUF output = BUF_INIT;
	struct err err = ERR_INIT;

	(void)state;
	add_all(&echo, "sh -c", "printf '%s' \"$GREETING\"; ls /proc/self/fd >&2");
	add_all(&env, "", "GREETING=hello");
	add_all(&fails, "sh -c", "echo broken >&2; exit 3");
	add_all(&floods, "sh -c", "while :; do echo flood; done");
	add_all(&sleeps, "sleep", "60");
	struct spawn spawn = { .path = "sh", .argv = strv_argv(&echo), .envp = strv_argv(&env) };
	assert_int_equal(spawn_run(&spawn, NULL, 10000, 100, &output, &err), 0);
	CHECK_STR(output.ptr, "hello");

	spawn = (struct spawn){ .path = "sh", .argv = strv_argv(&fails) };
	assert_true(spawn_run(&spawn, NULL, 10000, 100, NULL, &err) < 0);
	CHECK_STR(err.message, "'sh' ended with status 3: broken");

	spawn = (struct spawn){ .path = "sh", .argv = strv_argv(&floods) };
	assert_true(spawn_run(&spawn, NULL, 10000, 1000, NULL, &err) < 0);
	CHECK_STR(err.message, "'sh' printed more than 1000 bytes");

	spawn = (struct spawn){ .path = "/does/not/exist", .argv = strv_argv(&fails) };
	CHECK_INT(spawn_run(&spawn, NULL, 10000, 1000, NULL, &err), -ENOENT);
	CHECK_STR(err.message, "run '/does/not/exist': No such file or directory");

	spawn = (struct spawn){ .path = "sleep", .argv = strv_argv(&sleeps) };
	CHECK_INT(spawn_run(&spawn, NULL, 50, 1000, NULL, &err), -ETIMEDOUT);
	CHECK_INT(err.kind, ERR_TIMEOUT);
}

static void test_spawned_signals(void **state)
{
	/* As glibc's posix_spawn() leaves its own two signals (32 and 33), and a parent one of the
	 * others. */
	const uint64_t ignored[4] = { (uintptr_t)SIG_IGN };
	const uint64_t standard[4] = { 0 };
	static const int numbers[] = { 32, 33, SIGUSR2 };
	AUTO_STRV grep = { 0 };
	AUTO_BUF output = BUF_INIT;
	struct err err = ERR_INIT;
	sigset_t blocked;
	sigset_t before;
	int rc;

	(void)state;
	add_all(&grep, "grep -E ^Sig(Blk|Ign)", "/proc/self/status");
	struct spawn spawn = { .path = "grep", .argv = strv_argv(&grep) };

	(void)sigemptyset(&blocked);
	(void)sigaddset(&blocked, SIGTERM);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &blocked, &before), 0);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		assert_int_equal(syscall(SYS_rt_sigaction, numbers[i], ignored, NULL, (size_t)8),
				 0);
	rc = spawn_run(&spawn, NULL, 10000, 1000, &output, &err);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		assert_int_equal(syscall(SYS_rt_sigaction, numbers[i], standard, NULL, (size_t)8),
				 0);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
	assert_int_equal(rc, 0);
	CHECK_STR(output.ptr, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

static void test_process_identity(void **state)
{
	AUTO_STRV sleeps = { 0 };
	struct process process = PROCESS_INIT;
	struct err err = ERR_INIT;
	char boot_id[BOOT_ID_SIZE];
	uint64_t start_time = 0;
	int fd, status;

	(void)state;
	add_all(&sleeps, "sleep", "60");
	const struct spawn spawn = { .path = "sleep",
				     .argv = strv_argv(&sleeps),
				     .new_session = true };
	assert_int_equal(spawn_start(&spawn, &process, &err), 0);
	assert_int_equal(process_start_time(process.pid, &start_time), 0);
	fd = process_open(process.pid, start_time);
	assert_true(fd >= 0);
	fd_close(fd);
	CHECK_INT(process_open(process.pid, start_time + 1), -ESRCH);
	assert_int_equal(process_signal(&process, SIGTERM), 0);
	/* A zombie is no process any more. */
	CHECK_INT(cancel_poll(NULL, process.pidfd, 1, UINT64_MAX) > 0, 1);
	CHECK_INT(process_open(process.pid, start_time), -ESRCH);
	assert_int_equal(process_wait(&process, NULL, UINT64_MAX, &status), 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	assert_int_equal(process_boot_id(boot_id), 0);
	CHECK_INT(strlen(boot_id), 36);
}

static void test_cancel(void **state)
{
	struct cancel cancel = CANCEL_INIT;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(cancel_init(&cancel), 0);
	assert_false(cancel_is_fired(&cancel));
	CHECK_INT(cancel_poll(&cancel, -1, 0, clock_now_ns()), -ETIMEDOUT);
	cancel_fire(&cancel);
	cancel_fire(&cancel);
	assert_true(cancel_is_fired(&cancel));
	CHECK_INT(cancel_poll(&cancel, -1, 0, UINT64_MAX), -ECANCELED);
	CHECK_INT(cancel_check(&cancel, &err), -ECANCELED);
	assert_false(cancel_is_fired(NULL));
	cancel_done(&cancel);
}

static void test_unix_socket(void **state)
{
	struct scratch scratch;
	struct unix_listener listener = UNIX_LISTENER_INIT, second = UNIX_LISTENER_INIT;
	struct err err = ERR_INIT;
	struct stat status;
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *file = NULL;
	int client = -1;

	(void)state;
	scratch_init(&scratch);
	path = mem_printf("%s/s", scratch.path);
	file = mem_printf("%s/file", scratch.path);
	assert_true(unix_connect(path, &client, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	assert_int_equal(unix_listen(path, 8, &listener, &err), 0);
	assert_int_equal(stat(path, &status), 0);
	CHECK_INT(status.st_mode & 0777, 0600);
	CHECK_INT(unix_listen(path, 8, &second, &err), -EBUSY);
	assert_int_equal(unix_connect(path, &client, &err), 0);
	fd_close(client);
	unix_listener_done(&listener);
	CHECK_INT(access(path, F_OK), -1);

	/* A socket that nobody listens on is replaced, a file in the way is not. */
	assert_int_equal(unix_listen(path, 8, &listener, &err), 0);
	fd_closep(&listener.fd);
	fd_closep(&listener.lock_fd);
	assert_int_equal(unix_listen(path, 8, &second, &err), 0);
	unix_listener_done(&listener); /* no longer its socket */
	assert_int_equal(access(path, F_OK), 0);
	unix_listener_done(&second);
	assert_int_equal(file_replace(scratch.fd, "file", span_str("mine"), 0600), 0);
	CHECK_INT(unix_listen(file, 8, &second, &err), -EEXIST);
	assert_int_equal(access(file, F_OK), 0);
	scratch_done(&scratch);
}

static void test_passing_fds(void **state)
{
	char text[8];
	int pair[2], pipe_ends[2], passed = -1;

	(void)state;
	assert_int_equal(fd_socketpair(pair), 0);
	assert_int_equal(fd_pipe(pipe_ends), 0);
	assert_int_equal(unix_send_fd(pair[0], span_str("hi"), pipe_ends[1]), 0);
	CHECK_INT(unix_recv_fd(pair[1], text, sizeof(text), &passed), 2);
	assert_int_equal(fd_write_all(passed, span_str("x")), 0);
	CHECK_INT(fd_read_some(pipe_ends[0], text, 1), 1);
	fd_close(passed);
	for (int i = 0; i < 2; i++) {
		fd_close(pair[i]);
		fd_close(pipe_ends[i]);
	}
}

/* The deadline is for all of it, not for each piece that comes or goes. */
static void test_deadlines(void **state)
{
	static char much[1 << 20];
	const struct span all = span_of(much, sizeof(much));
	char text[4];
	int pair[2];

	(void)state;
	assert_int_equal(fd_socketpair(pair), 0);
	assert_int_equal(fd_write_all(pair[0], span_str("abc")), 0);
	CHECK_INT(fd_read_exact_until(pair[1], text, 4, clock_now_ns() + NSEC_PER_MSEC),
		  -ETIMEDOUT);
	assert_int_equal(fd_write_all(pair[0], span_str("abcd")), 0);
	CHECK_INT(fd_read_exact_until(pair[1], text, 4, 0), 0); /* it is there already */
	assert_memory_equal(text, "abcd", 4);
	CHECK_INT(unix_send_fd_until(pair[0], all, -1, clock_now_ns() + NSEC_PER_MSEC), -ETIMEDOUT);
	fd_closep(&pair[1]);
	CHECK_INT(unix_send_fd_until(pair[0], all, -1, UINT64_MAX), -EPIPE);
	CHECK_INT(fd_read_exact_until(pair[0], text, 1, UINT64_MAX), -ECONNRESET);
	fd_closep(&pair[0]);
}

struct request {
	char *name;
	uint64_t count;
	bool force;
	struct json_maybe_u64 wait;
	struct json_maybe_bool start;
	struct strv words;
	json_t *rest;
};

static const struct json_field request_fields[] = {
	{ "name", JSON_FIELD_STRING, true, offsetof(struct request, name), 8, "its name" },
	{ "count", JSON_FIELD_U64, false, offsetof(struct request, count), 10, "how many" },
	{ "force", JSON_FIELD_BOOL, false, offsetof(struct request, force), 0, "even so" },
	{ "wait", JSON_FIELD_MAYBE_U64, false, offsetof(struct request, wait), 10, "how long" },
	{ "start", JSON_FIELD_MAYBE_BOOL, false, offsetof(struct request, start), 0, "or not" },
	{ "words", JSON_FIELD_STRINGS, false, offsetof(struct request, words), 2, "some" },
	{ "rest", JSON_FIELD_JSON, false, offsetof(struct request, rest), 0, "anything" },
};

static void test_json_fields(void **state)
{
	static const struct {
		const char *text;
		const char *message;
	} bad[] = {
		{ "{}", "field 'name' is missing" },
		{ "{\"name\":null}", "field 'name' must be a string, not null" },
		{ "{\"name\":1}", "field 'name' must be a string, not a whole number" },
		{ "{\"name\":\"123456789\"}", "field 'name' is longer than 8 bytes" },
		{ "{\"name\":\"a\",\"nam\":1}", "unknown field 'nam'" },
		{ "{\"name\":\"a\",\"count\":-1}", "field 'count' must be from 0 to 10, not -1" },
		{ "{\"name\":\"a\",\"count\":11}", "field 'count' must be from 0 to 10, not 11" },
		{ "{\"name\":\"a\",\"count\":1.5}",
		  "field 'count' must be a whole number, not a fraction" },
		{ "{\"name\":\"a\",\"force\":1}",
		  "field 'force' must be true or false, not a whole number" },
		{ "{\"name\":\"a\",\"wait\":11}", "field 'wait' must be from 0 to 10, not 11" },
		{ "{\"name\":\"a\",\"wait\":true}",
		  "field 'wait' must be a whole number, not a boolean" },
		{ "{\"name\":\"a\",\"wait\":1,\"start\":0}",
		  "field 'start' must be true or false, not a whole number" },
		{ "{\"name\":\"a\",\"words\":[\"a\",1]}",
		  "field 'words' must be an array of strings, not a whole number" },
		{ "{\"name\":\"a\",\"words\":[\"a\",\"b\",\"c\"]}",
		  "field 'words' has more than 2 items" },
		{ "[]", "must be an object, not an array" },
	};
	struct request request = { 0 };
	struct err err = ERR_INIT;
	json_t *json = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(json_read(span_str(bad[i].text), &json, &err), 0);
		CHECK_ROW(i, json_read_fields(json, request_fields, ARRAY_LEN(request_fields),
					      &request, &err) < 0);
		CHECK_STR(err.message, bad[i].message);
		CHECK_ROW(i, !request.name && !request.words.items && !request.rest);
		CHECK_ROW(i, !request.wait.is_given && !request.start.is_given);
		json_freep(&json);
	}
	assert_int_equal(json_read(span_str("{\"name\":\"a\",\"count\":10,\"force\":true,"
					    "\"words\":[\"x\"],\"rest\":{\"k\":[]}}"),
				   &json, &err),
			 0);
	assert_int_equal(
		json_read_fields(json, request_fields, ARRAY_LEN(request_fields), &request, &err),
		0);
	CHECK_STR(request.name, "a");
	CHECK_INT(request.count, 10);
	assert_true(request.force && json_is_object(request.rest));
	CHECK_STR(request.words.items[0], "x");
	assert_true(!request.wait.is_given && !request.start.is_given);
	json_fields_done(request_fields, ARRAY_LEN(request_fields), &request);
	json_freep(&json);

	/* Nothing said, and 0 and false said, are not the same. */
	assert_int_equal(
		json_read(span_str("{\"name\":\"a\",\"wait\":0,\"start\":false}"), &json, &err), 0);
	assert_int_equal(
		json_read_fields(json, request_fields, ARRAY_LEN(request_fields), &request, &err),
		0);
	assert_true(request.wait.is_given && request.wait.value == 0);
	assert_true(request.start.is_given && !request.start.value);
	json_fields_done(request_fields, ARRAY_LEN(request_fields), &request);
	assert_true(!request.wait.is_given && !request.start.is_given);
	json_freep(&json);
}

static void test_json_read(void **state)
{
	static const char *const bad[] = {
		"",	"{",	       "{} x",	       "{\"a\":1,\"a\":2}",
		"[1,]", "\"\\ud800\"", "\"a\\u0000\"", "1e9999",
		"nul",	"\xff",	       "[\"\x01\"]",   "99999999999999999999"
	};
	AUTO_BUF deep = BUF_INIT;
	struct err err = ERR_INIT;
	json_t *json = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK_ROW(i, json_read(span_str(bad[i]), &json, &err) < 0 && !json);
	for (int i = 0; i < JSON_DEPTH_MAX; i++)
		buf_add_byte(&deep, '[');
	for (int i = 0; i < JSON_DEPTH_MAX; i++)
		buf_add_byte(&deep, ']');
	assert_true(json_read(span_of("1\0", 2), &json, &err) < 0);
	CHECK_STR(err.message, "JSON with a zero byte");
	assert_int_equal(json_read(buf_span(&deep), &json, &err), 0);
	json_freep(&json);
	buf_clear(&deep);
	for (int i = 0; i < 100000; i++)
		buf_add_byte(&deep, '[');
	assert_true(json_read(buf_span(&deep), &json, &err) < 0);
	CHECK_STR(err.message, "JSON nested deeper than 64");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err),
		cmocka_unit_test(test_err_cut),
		cmocka_unit_test(test_buf),
		cmocka_unit_test(test_parse_u64),
		cmocka_unit_test(test_parse_size),
		cmocka_unit_test(test_parse_duration),
		cmocka_unit_test(test_text_escape),
		cmocka_unit_test(test_text_cut),
		cmocka_unit_test(test_text_words),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_rename_new),
		cmocka_unit_test(test_clone_keeps_holes),
		cmocka_unit_test(test_spawn),
		cmocka_unit_test(test_spawned_signals),
		cmocka_unit_test(test_process_identity),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_unix_socket),
		cmocka_unit_test(test_passing_fds),
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_json_fields),
		cmocka_unit_test(test_json_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
