/* What goes from the host's home to a guest's: FAULTS.md FS1, FS2. */
#include "check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "daemon/file_sync.h"

static void put_file(int dir_fd, const char *name, const char *content)
{
	AUTO_CLOSE int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	CHECK_INT(fd_write_all(fd, span_str(content)), 0);
}

static void test_open(void **state)
{
	char top[] = "/tmp/banger-sync-XXXXXX";
	AUTO_CLOSE int dir_fd = -1;
	AUTO_FREE char *home = NULL;

	(void)state;
	assert_non_null(mkdtemp(top));
	dir_fd = dir_open(top);
	assert_true(dir_fd >= 0);
	home = mem_printf("%s/home", top);
	CHECK_INT(mkdirat(dir_fd, "home", 0700), 0);
	CHECK_INT(mkdirat(dir_fd, "homestead", 0700), 0);
	put_file(dir_fd, "outside", "o");
	put_file(dir_fd, "homestead/file", "h");
	CHECK_INT(mkdirat(dir_fd, "home/sub", 0700), 0);
	put_file(dir_fd, "home/sub/file", "f");
	CHECK_INT(symlinkat("sub/file", dir_fd, "home/inner"), 0);
	CHECK_INT(symlinkat("../outside", dir_fd, "home/up"), 0);
	CHECK_INT(symlinkat("..", dir_fd, "home/above"), 0);
	CHECK_INT(symlinkat("/etc/passwd", dir_fd, "home/absolute"), 0);
	CHECK_INT(symlinkat("loop", dir_fd, "home/loop"), 0);
	CHECK_INT(mkfifoat(dir_fd, "home/fifo", 0600), 0);

	const struct {
		const char *path; /* %s is the home */
		const char *why;  /* NULL: it opens */
	} rows[] = {
		{ "~/sub/file", NULL },
		{ "~/sub", NULL },
		{ "~//sub//file", NULL },
		{ "~/inner", NULL },
		{ "~/fifo", NULL }, /* without waiting; what it is is looked at later */
		{ "%s/sub/file", NULL },
		{ "%s", NULL },
		{ "~/none", "there is no such file or folder" },
		{ "~/none/below", "there is no such file or folder" },
		{ "~/up", "a link leads out of your home folder" },
		{ "~/above/outside", "a link leads out of your home folder" },
		{ "~/absolute", "a link leads out of your home folder" },
		{ "~/loop", "open it: " },
		{ "~/sub/file/x", "open it: Not a directory" },
		{ "/etc/passwd", "it is not in your home folder" },
		{ "%sstead/file", "it is not in your home folder" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *rest = rows[i].path[0] == '%' ? rows[i].path + 2 : NULL;
		AUTO_FREE char *path =
			rest ? mem_printf("%s%s", home, rest) : mem_strdup(rows[i].path);
		struct err err = ERR_INIT;
		AUTO_CLOSE int fd = -1;
		const int r = file_sync_open(home, path, &fd, &err);

		CHECK_ROW(i, (r == 0) == (rows[i].why == NULL));
		CHECK_ROW(i, (fd >= 0) == (rows[i].why == NULL));
		if (rows[i].why)
			CHECK_HAS(err.message, rows[i].why);
	}
	CHECK_INT(dir_remove_tree(AT_FDCWD, top), 0);
}

static void test_guest_path(void **state)
{
	static const struct {
		const char *path;
		const char *wanted;
	} rows[] = {
		{ "~/a", "a" },
		{ "/root/a", "a" },
		{ "~/a/b/", "a/b" },
		{ "~//a/./b//c", "a/b/c" },
		{ "/root//.ssh", ".ssh" },
		{ "~/.a", ".a" },
		{ "~/...", "..." },
		{ "/root/./a", "a" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *got = file_sync_guest_path(rows[i].path);

		CHECK_STR(got, rows[i].wanted);
	}
}

#define HEAD "# The host's identity, written by banger when there was no such file.\n[user]\n"

static void test_git_identity(void **state)
{
	static char long_value[600];
	static const struct {
		const char *text; /* '|' is NUL */
		const char *wanted;
	} rows[] = {
		{ "", "" },
		{ "user.name\nA B|user.email\na@b|", HEAD "\tname = \"A B\"\n\temail = \"a@b\"\n" },
		{ "user.email\na@b|", HEAD "\temail = \"a@b\"\n" },
		/* of two, the last; and an empty last one is none */
		{ "user.name\nA|user.name\nB|", HEAD "\tname = \"B\"\n" },
		{ "user.name\nA|user.name\n|", "" },
		{ "user.name\na\"b\\c;#|", HEAD "\tname = \"a\\\"b\\\\c;#\"\n" },
		/* no key, no end, other keys */
		{ "user.name|user.email\na@b", "" },
		{ "user.signingkey\nK|user.name\nA|", HEAD "\tname = \"A\"\n" },
		/* lines of its own in the guest's file: never */
		{ "user.name\nA\n[core]\n\tpager = x|", "" },
		{ "user.name\nA\x1b[31m|user.email\na@b|", HEAD "\temail = \"a@b\"\n" },
		{ "user.name\n\xff|", "" },
		{ long_value, "" },
	};

	(void)state;
	memset(long_value, 'a', sizeof(long_value) - 1);
	memcpy(long_value, "user.name\n", 10);
	long_value[sizeof(long_value) - 2] = '|';
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *text = mem_strdup(rows[i].text);
		const size_t len = strlen(text);
		AUTO_BUF got = BUF_INIT;

		for (size_t k = 0; k < len; k++)
			text[k] = text[k] == '|' ? '\0' : text[k];
		file_sync_git_identity(span_of(text, len), &got);
		CHECK_STR(got.ptr, rows[i].wanted);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_guest_path),
		cmocka_unit_test(test_git_identity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
