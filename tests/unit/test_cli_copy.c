/* What `vm cp` is given, and the tar that it makes of files of the host. */
#include "check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/copy_place.h"
#include "guest/extract.h"
#include "guest/pack.h"

static void check_text(const char *got, const char *wanted)
{
	if (!str_eq(got, wanted))
		fail_msg("got '%s', wanted '%s'", got ? got : "(null)", wanted ? wanted : "(null)");
}

static void test_places(void **state)
{
	static const struct {
		const char *text;
		const char *vm;
		const char *path;
		const char *flags; /* s stream, f folder, c content */
	} rows[] = {
		{ "-", NULL, NULL, "s" },
		{ "file", NULL, "file", "" },
		{ "dir/", NULL, "dir/", "f" },
		{ "dir/.", NULL, "dir/.", "fc" },
		{ ".", NULL, ".", "fc" },
		{ "./a:b", NULL, "./a:b", "" },
		{ "/a:b", NULL, "/a:b", "" },
		{ "..", NULL, "..", "" },
		{ "box:/etc/hosts", "box", "/etc/hosts", "" },
		{ "box:", "box", "/root", "" },
		{ "box:~", "box", "/root", "" },
		{ "box:~/x", "box", "/root/x", "" },
		{ "box:~me/x", "box", "/root/~me/x", "" },
		{ "box:x/y", "box", "/root/x/y", "" },
		{ "box:/", "box", "/", "f" },
		{ "box:/srv/", "box", "/srv", "f" },
		{ "box:/srv/.", "box", "/srv", "fc" },
		{ "box:.", "box", "/root", "fc" },
		{ "box://a///./b//", "box", "/a/b", "f" },
		{ "box:/a/../b", "box", "/a/../b", "" },
		{ "box:a:b", "box", "/root/a:b", "" },
		{ "box:-", "box", "/root/-", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		AUTO_COPY_PLACE place = { .vm = NULL };

		CHECK_ROW(i, copy_place_read(rows[i].text, &place, &err) == 0);
		check_text(place.vm, rows[i].vm);
		check_text(place.path, rows[i].path);
		CHECK_ROW(i, place.is_stream == (strchr(rows[i].flags, 's') != NULL));
		CHECK_ROW(i, place.is_folder == (strchr(rows[i].flags, 'f') != NULL));
		CHECK_ROW(i, place.is_content == (strchr(rows[i].flags, 'c') != NULL));
	}
	for (size_t i = 0; i < 2; i++) {
		struct copy_place place;
		struct err err = ERR_INIT;

		CHECK_ROW(i, copy_place_read(i == 0 ? "" : ":/x", &place, &err) < 0);
		CHECK_INT(err.kind, ERR_INVALID);
	}
}

static void test_leaves(void **state)
{
	static const struct {
		const char *path;
		const char *leaf;
		const char *above;
	} rows[] = {
		{ "a", "a", "." },	  { "a/", "a", "." },	   { "a/b", "b", "a" },
		{ "/a", "a", "/" },	  { "/a/b//", "b", "/a" }, { "/", "", "/" },
		{ "//a//b", "b", "//a" }, { "./a", "a", "." },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *leaf = copy_place_leaf(rows[i].path);
		AUTO_FREE char *above = copy_place_above(rows[i].path);

		CHECK_STR(leaf, rows[i].leaf);
		CHECK_STR(above, rows[i].above);
	}
}

/* --- packing: what comes out is what the extractor makes of it --- */

struct tree {
	char path[32];
	int fd;
};

static struct tree make_tree(void)
{
	struct tree tree = { .path = "/tmp/test-pack-XXXXXX" };

	assert_non_null(mkdtemp(tree.path));
	tree.fd = dir_open(tree.path);
	assert_true(tree.fd >= 0);
	return tree;
}

static void remove_tree(const struct tree *tree)
{
	fd_close(tree->fd);
	assert_int_equal(dir_remove_tree(AT_FDCWD, tree->path), 0);
}

static void write_at(const struct tree *tree, const char *name, const char *text, mode_t mode)
{
	AUTO_CLOSE int fd = openat(tree->fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, span_str(text)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
}

struct reading {
	struct guest_tar tar;
	uint8_t piece[777]; /* no divisor of anything */
	uint64_t total;
};

static int read_piece(void *context, struct span *ret, struct err *err)
{
	struct reading *reading = context;
	const ssize_t n = reading->tar.read(reading->tar.context, reading->piece,
					    sizeof(reading->piece), err);

	if (n < 0)
		return (int)n;
	reading->total += (uint64_t)n;
	*ret = span_of(reading->piece, (size_t)n);
	return 0;
}

static struct guest_copied unpack(const struct tree *to, const char *path, const char *as,
				  uint64_t *ret_left_out, uint64_t *ret_total)
{
	CLEANUP(pack_freep) struct pack *pack = NULL;
	struct reading reading = { .total = 0 };
	struct guest_copied copied = { .entries = 0 };
	struct err err = ERR_INIT;
	const struct extract extract = {
		.dir_fd = to->fd, .wanted = as, .read = read_piece, .context = &reading
	};

	if (pack_new(path, as, &pack, &err) < 0)
		fail_msg("%s", err.message);
	reading.tar = pack_tar(pack);
	if (extract_tar(&extract, &copied, &err) < 0)
		fail_msg("%s", err.message);
	*ret_left_out = pack_left_out(pack);
	*ret_total = reading.total;
	return copied;
}

static void check_file(const struct tree *tree, const char *name, const char *wanted, mode_t mode)
{
	AUTO_BUF text = BUF_INIT;
	struct stat status;

	assert_int_equal(file_read(tree->fd, name, 1 << 20, &text), 0);
	CHECK_STR(text.ptr, wanted);
	assert_int_equal(fstatat(tree->fd, name, &status, 0), 0);
	CHECK_INT(status.st_mode & 07777, mode);
}

static void test_pack_a_tree(void **state)
{
	const struct tree from = make_tree();
	const struct tree to = make_tree();
	const struct timespec times[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };
	AUTO_FREE char *path = mem_printf("%s/src", from.path);
	char target[64] = "";
	struct guest_copied copied;
	struct stat one, two;
	uint64_t left_out, total;

	(void)state;
	assert_int_equal(mkdirat(from.fd, "src", 0750), 0);
	assert_int_equal(mkdirat(from.fd, "src/empty", 0500), 0);
	write_at(&from, "src/file", "content", 0640);
	write_at(&from, "src/run", "#!", 06755);
	write_at(&from, "src/a\xff\nb", "odd", 0600);
	assert_int_equal(linkat(from.fd, "src/file", from.fd, "src/again", 0), 0);
	assert_int_equal(symlinkat("file", from.fd, "src/link"), 0);
	assert_int_equal(mkfifoat(from.fd, "src/fifo", 0600), 0);
	assert_int_equal(utimensat(from.fd, "src/run", times, 0), 0);

	copied = unpack(&to, path, "dst", &left_out, &total);
	CHECK_INT(copied.entries, 7);
	CHECK_INT(left_out, 1);
	check_file(&to, "dst/file", "content", 0640);
	check_file(&to, "dst/run", "#!", 0755);
	check_file(&to, "dst/a\xff\nb", "odd", 0600);
	CHECK_INT(readlinkat(to.fd, "dst/link", target, sizeof(target)), 4);
	CHECK_STR(target, "file");
	assert_int_equal(fstatat(to.fd, "dst/file", &one, 0), 0);
	assert_int_equal(fstatat(to.fd, "dst/again", &two, 0), 0);
	CHECK_INT(one.st_ino, two.st_ino);
	assert_int_equal(fstatat(to.fd, "dst/run", &one, 0), 0);
	CHECK_INT(one.st_mtime, 1000000000);
	remove_tree(&from);
	remove_tree(&to);
}

/* A named link is followed; a hole of a gigabyte is no gigabyte of stream and stays a hole. */
static void test_pack_a_file(void **state)
{
	const struct tree from = make_tree();
	const struct tree to = make_tree();
	AUTO_FREE char *path = mem_printf("%s/link", from.path);
	const off_t size = 1 << 30;
	struct stat status;
	uint64_t left_out, total;

	(void)state;
	write_at(&from, "big", "begin", 0600);
	{
		AUTO_CLOSE int fd = openat(from.fd, "big", O_WRONLY | O_CLOEXEC);

		assert_int_equal(pwrite(fd, "end", 3, size - 3), 3);
	}
	assert_int_equal(symlinkat("big", from.fd, "link"), 0);
	CHECK_INT(unpack(&to, path, "other", &left_out, &total).entries, 1);
	assert_int_equal(fstatat(to.fd, "other", &status, 0), 0);
	CHECK_INT(status.st_size, size);
	CHECK_ROW(0, status.st_blocks < 1000);
	CHECK_ROW(0, total < 100000);
	remove_tree(&from);
	remove_tree(&to);
}

static void test_pack_refuses(void **state)
{
	const struct tree from = make_tree();
	AUTO_FREE char *fifo = mem_printf("%s/fifo", from.path);
	AUTO_FREE char *deep = mem_printf("%s/deep", from.path);
	struct err err = ERR_INIT;
	struct pack *pack = NULL;
	uint8_t piece[4096];
	int at = from.fd;
	ssize_t n;

	(void)state;
	assert_int_equal(mkfifoat(from.fd, "fifo", 0600), 0);
	assert_true(pack_new(fifo, "x", &pack, &err) < 0);
	CHECK_HAS(err.message, "is neither a file nor a folder");
	assert_true(pack_new("/nowhere/at/all", "x", &pack, &err) < 0);
	CHECK_HAS(err.message, "open '/nowhere/at/all': No such file");

	for (int i = 0; i <= PACK_DEPTH_MAX; i++) {
		int next;

		assert_int_equal(mkdirat(at, i == 0 ? "deep" : "d", 0700), 0);
		next = dir_open_at(at, i == 0 ? "deep" : "d");
		if (at != from.fd)
			fd_close(at);
		at = next;
	}
	fd_close(at);
	assert_int_equal(pack_new(deep, "x", &pack, &err), 0);
	do {
		const struct guest_tar tar = pack_tar(pack);

		n = tar.read(tar.context, piece, sizeof(piece), &err);
	} while (n > 0);
	assert_true(n < 0);
	CHECK_INT(err.kind, ERR_LIMIT);
	pack_free(pack);
	remove_tree(&from);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),	     cmocka_unit_test(test_leaves),
		cmocka_unit_test(test_pack_a_tree),  cmocka_unit_test(test_pack_a_file),
		cmocka_unit_test(test_pack_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
