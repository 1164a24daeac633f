/*
 * Layers on top of one another: what the OCI image specification says of whiteouts, in rows of a
 * small language. A layer is words: "a/" a folder ("a/:700" with a mode), "a=x" a file with a
 * letter in it, "a>b" a symlink, "a~b" a hard link; what is made of them is written in the same
 * way, sorted, with "=x2" for a file with two names.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "check.h"
#include "ext4/whiteout.h"
#include "ext4_fixture.h"

#define LAYERS_MAX 4

/* --- from words to layers --- */

static void put_folder(struct tar_maker *tar, char *word)
{
	char *mode = strchr(word, ':');
	struct archive_entry *entry;
	unsigned bits = 0755;

	if (mode) {
		*mode++ = '\0';
		bits = 0;
		for (; *mode; mode++)
			bits = bits * 8 + (unsigned)(*mode - '0');
	}
	entry = tar_new(word, AE_IFDIR);
	archive_entry_set_perm(entry, bits);
	tar_put(tar, entry, NULL, 0);
}

static void put_word(struct tar_maker *tar, const char *text)
{
	AUTO_FREE char *word = mem_strdup(text);
	char *at = strpbrk(word, "=>~:");

	if (at && *at != ':') {
		const char kind = *at;

		*at++ = '\0';
		if (kind == '=')
			tar_file(tar, word, at);
		else if (kind == '>')
			tar_symlink(tar, word, at);
		else
			tar_link(tar, word, at);
	} else if (strchr(word, '/') && (at || str_ends(word, "/"))) {
		put_folder(tar, word);
	} else {
		tar_file(tar, word, "");
	}
}

static int make_layer(const char *text)
{
	AUTO_FREE char *copy = mem_strdup(text);
	struct tar_maker tar;
	char *save = NULL;
	char *word;

	tar_begin(&tar);
	for (word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		put_word(&tar, word);
	return tar_end(&tar);
}

struct stack {
	const char *const *layers;
	size_t opened;
};

static int open_layer(void *context, size_t index, int *ret_tar_fd, struct err *err)
{
	struct stack *stack = context;

	(void)err;
	CHECK_INT(index, stack->opened);
	stack->opened++;
	*ret_tar_fd = make_layer(stack->layers[index]);
	return 0;
}

static int stack_up(const char *const *layers, const struct ext4_options *options,
		    struct ext4_summary *summary, int *ret_image, struct err *err)
{
	struct stack stack = { .layers = layers };
	struct ext4_layers source = { .open = open_layer, .context = &stack };
	AUTO_CLOSE int image = new_image();
	int r;

	while (source.count < LAYERS_MAX && layers[source.count])
		source.count++;
	r = ext4_from_layers(&source, image, options, summary, err);
	if (r == 0)
		*ret_image = TAKE_FD(image);
	return r;
}

/* --- and back to words --- */

struct listing {
	ext2_filsys fs;
	struct strv words;
	struct strv folders; /* still to be visited */
	const char *at;
};

static int list_entry(ext2_ino_t folder, int entry, struct ext2_dir_entry *dirent, int offset,
		      int block_size, char *buf, void *context)
{
	struct listing *listing = context;
	AUTO_FREE char *name = mem_strndup(dirent->name, (size_t)ext2fs_dirent_name_len(dirent));
	AUTO_FREE char *path = mem_printf("%s%s", listing->at, name);
	AUTO_FREE char *rooted = mem_printf("/%s", path);
	struct ext2_inode_large inode;
	AUTO_BUF content = BUF_INIT;
	AUTO_BUF word = BUF_INIT;

	(void)folder;
	(void)offset;
	(void)block_size;
	(void)buf;
	if (entry != DIRENT_OTHER_FILE)
		return 0;
	if (str_eq(path, "lost+found")) {
		strv_add(&listing->folders, "lost+found/");
		return 0;
	}
	inode = read_inode(listing->fs, rooted);
	buf_add_str(&word, path);
	if (S_ISDIR(inode.i_mode)) {
		buf_add_byte(&word, '/');
		if ((inode.i_mode & 07777) != 0755)
			buf_addf(&word, ":%o", inode.i_mode & 07777U);
		strv_addf(&listing->folders, "%s/", path);
	} else if (S_ISREG(inode.i_mode)) {
		read_file(listing->fs, rooted, &content);
		buf_addf(&word, "=%s", content.ptr);
		if (inode.i_links_count > 1)
			buf_addf(&word, "%u", (unsigned)inode.i_links_count);
	} else {
		buf_addf(&word, ">%.*s", (int)inode.i_size, (const char *)inode.i_block);
	}
	strv_add(&listing->words, word.ptr);
	return 0;
}

static void list(int image, struct buf *ret)
{
	struct listing listing = { .fs = open_image(image) };
	struct ext2_inode_large root = read_inode(listing.fs, "/");
	size_t i;

	strv_add(&listing.folders, "");
	for (i = 0; i < listing.folders.count; i++) {
		AUTO_FREE char *rooted = mem_printf("/%s", listing.folders.items[i]);

		listing.at = listing.folders.items[i];
		assert_int_equal(ext2fs_dir_iterate2(listing.fs, find_inode(listing.fs, rooted), 0,
						     NULL, list_entry, &listing),
				 0);
	}
	if ((root.i_mode & 07777) != 0755)
		buf_addf(ret, "/:%o", root.i_mode & 07777U);
	strv_sort(&listing.words);
	for (i = 0; i < listing.words.count; i++)
		buf_addf(ret, "%s%s", ret->len > 0 ? " " : "", listing.words.items[i]);
	strv_done(&listing.words);
	strv_done(&listing.folders);
	ext2fs_free(listing.fs);
}

struct row {
	const char *layers[LAYERS_MAX];
	const char *wanted; /* the listing; for a refusal a part of the message */
};

static void check_rows(const struct row *rows, size_t count)
{
	const struct ext4_options options = { .size_bytes = EXT4_SIZE_MIN, .seed_fd = -1 };
	size_t i;

	for (i = 0; i < count; i++) {
		struct ext4_summary summary = { 0 };
		struct err err = ERR_INIT;
		AUTO_CLOSE int image = -1;
		AUTO_BUF got = BUF_INIT;

		if (stack_up(rows[i].layers, &options, &summary, &image, &err) < 0)
			fail_msg("row %zu: %s", i, err.message);
		list(image, &got);
		if (!str_eq(got.ptr, rows[i].wanted))
			fail_msg("row %zu: got \"%s\", wanted \"%s\"", i, got.ptr, rows[i].wanted);
	}
}

static void test_replacing(void **state)
{
	static const struct row rows[] = {
		{ { "a=1 b=2", "a=3" }, "a=3 b=2" },
		{ { "a=1", "a/ a/b=2" }, "a/ a/b=2" },
		{ { "a=1", "a/b=2" }, "a/ a/b=2" },
		{ { "a=1", "a/b=2 .wh.a" }, "a/ a/b=2" },
		{ { "a=1", "a/b=2 a/:700" }, "a/:700 a/b=2" },
		{ { "a/ a/b=1 a/c/ a/c/d=2", "a=3" }, "a=3" },
		{ { "a/:700 a/b=1", "a/:711" }, "a/:711 a/b=1" },
		{ { "a/:700 a/b=1", "a/c=2" }, "a/:700 a/b=1 a/c=2" },
		{ { "a/b/c=1", "a/b/d=2" }, "a/ a/b/ a/b/c=1 a/b/d=2" },
		{ { "a=1 b~a", "a=2" }, "a=2 b=1" },
		{ { "a=1", "b~a", "c~b" }, "a=13 b=13 c=13" },
		{ { "a=1 b~a", "b~a" }, "a=12 b=12" },
		{ { "l>d d/", "l/f=1" }, "d/ d/f=1 l>d" },
		{ { "l>d d/f=1", "l/ l/g=2" }, "d/ d/f=1 l/ l/g=2" },
		{ { "a=1", "" }, "a=1" },
		{ { "", "a=1" }, "a=1" },
		{ { "a=1", "./:700" }, "/:700 a=1" },
		{ { "a=1 a=2 a/ a/b=3 a=4" }, "a=4" },
	};

	(void)state;
	check_rows(rows, ARRAY_LEN(rows));
}

static void test_whiteouts(void **state)
{
	static const struct row rows[] = {
		/* What there is, what there is not, and what is as good as not there. */
		{ { "a=1 b=2", ".wh.a" }, "b=2" },
		{ { "a/b=1 a/c=2", "a/.wh.b" }, "a/ a/c=2" },
		{ { "a/b/c=1 d=2", ".wh.a" }, "d=2" },
		{ { "l>a a=1", ".wh.l" }, "a=1" },
		{ { "a=1 b~a", ".wh.a" }, "b=1" },
		{ { "a=1", ".wh.b" }, "a=1" },
		{ { "a=1", "b/.wh.c" }, "a=1" },
		{ { "a=1", "a/.wh.c" }, "a=1" },
		{ { "l>l", "l/.wh.c" }, "l>l" },
		{ { ".wh.a a=1" }, "a=1" },
		{ { "a=1", ".wh.a", "a=2" }, "a=2" },
		{ { "a=1", ".wh.a", "", "b=1" }, "b=1" },
		{ { "./a=1", "./.wh.a" }, "" },
		{ { "a=1", "/.wh.a/" }, "" },
		{ { "a/b=1", "a/./.wh.b/." }, "a/" },
		/* What the same layer has stays, wherever the whiteout stands. */
		{ { "a=1", ".wh.a a=2" }, "a=2" },
		{ { "a=1", "a=2 .wh.a" }, "a=2" },
		{ { "a=1", "a=2 .wh.a .wh.a" }, "a=2" },
		{ { "a/b=1", ".wh.a a/c=2" }, "a/ a/c=2" },
		{ { "a/b=1", "a/c=2 .wh.a" }, "a/ a/c=2" },
		{ { "a/b/c=1 a/b/d=2", "a/b/c=3 .wh.a" }, "a/ a/b/ a/b/c=3" },
		{ { "a/b/c=1 a/b/d=2", ".wh.a a/b/c=3" }, "a/ a/b/ a/b/c=3" },
		{ { "a=1 b~a", "b~a .wh.a" }, "b=1" },
		{ { "a=1 b~a", "b~a .wh.b" }, "a=12 b=12" },
		{ { "a=1", "b~a .wh.a" }, "b=1" },
		/* A folder of which only this layer's part stays does not keep its attributes. */
		{ { "a/:700 a/b=1", ".wh.a a/c=2" }, "a/ a/c=2" },
		{ { "a/:700 a/b=1", "a/c=2 .wh.a" }, "a/ a/c=2" },
		{ { "a/:700 a/b=1", ".wh.a a/:711 a/c=2" }, "a/:711 a/c=2" },
		{ { "a/:700 a/b=1", "a/:711 a/c=2 .wh.a" }, "a/:711 a/c=2" },
		{ { "a/:700 a/b=1", "a/c=2 .wh.a a/:711" }, "a/:711 a/c=2" },
		{ { "a/:700 a/b/:700 a/b/c=1", "a/b/d=2 .wh.a a/b/:701" }, "a/ a/b/:701 a/b/d=2" },
		/* Through a symlink of a lower layer; and that is data when it is hidden. */
		{ { "d/f=1 l>d", "l/.wh.f" }, "d/ l>d" },
		{ { "d/e/f=1 l>/d/e", "l/.wh.f" }, "d/ d/e/ l>/d/e" },
		{ { "d/f=1 e/ e/l>../../../d", "e/l/.wh.f" }, "d/ e/ e/l>../../../d" },
		/* lost+found is always there. */
		{ { "lost+found/:711 lost+found/a=1 b=2", ".wh.lost+found" }, "b=2" },
		{ { "lost+found/a=1", "lost+found/b=2 .wh.lost+found" }, "lost+found/b=2" },
		/* aufs's own. */
		{ { ".wh..wh.aufs .wh..wh.plnk/ .wh..wh.plnk/1.2=x .wh..wh.orph/ a=1" }, "a=1" },
		{ { "a/.wh..wh..opq/b=1 c=1" }, "c=1" },
		/* No whiteouts, but nearly. */
		{ { ".whx=1 .w=2 .wh=3 wh.a=4 a.wh.b=5" }, ".w=2 .wh=3 .whx=1 a.wh.b=5 wh.a=4" },
	};

	(void)state;
	check_rows(rows, ARRAY_LEN(rows));
}

static void test_opaque(void **state)
{
	static const struct row rows[] = {
		{ { "a/:700 a/b=1 a/c/d=2 e=3", "a/.wh..wh..opq" }, "a/:700 e=3" },
		{ { "a/b=1", "a/.wh..wh..opq a/c=2" }, "a/ a/c=2" },
		{ { "a/b=1", "a/c=2 a/.wh..wh..opq" }, "a/ a/c=2" },
		{ { "a/b=1", "a/b=2 a/.wh..wh..opq a/d=3" }, "a/ a/b=2 a/d=3" },
		{ { "a/b/:700 a/b/c=1", "a/b/d=2 a/.wh..wh..opq" }, "a/ a/b/ a/b/d=2" },
		{ { "a/b/:700 a/b/c=1", "a/.wh..wh..opq a/b/d=2" }, "a/ a/b/ a/b/d=2" },
		{ { "a/b/:700 a/b/c=1", "a/b/:700 a/b/d=2 a/.wh..wh..opq" },
		  "a/ a/b/:700 a/b/d=2" },
		{ { "a/b=1 c=2", ".wh..wh..opq" }, "" },
		{ { "./:700 a/b=1 c=2", "c=3 .wh..wh..opq" }, "/:700 c=3" },
		{ { "a=1", "a/.wh..wh..opq" }, "a=1" },
		{ { "a=1", "b/.wh..wh..opq" }, "a=1" },
		{ { "a=1", "a/.wh..wh..opq a/ a/b=2" }, "a/ a/b=2" },
		{ { "d/f=1 l>d", "l/.wh..wh..opq" }, "d/ l>d" },
		{ { "a/b=1", "a/.wh..wh..opq", "a/c=1" }, "a/ a/c=1" },
		{ { "a/b=1", "a/.wh..wh..opq a/c=1", "a/.wh..wh..opq a/d=2" }, "a/ a/d=2" },
		{ { "a/b=1", "a/.wh..wh..opq a/.wh..wh..opq a/b=2 a/.wh..wh..opq" }, "a/ a/b=2" },
		{ { "a/b=1 a/c=2", "a/.wh.b a/.wh..wh..opq a/.wh.c a/c=3" }, "a/ a/c=3" },
		{ { "lost+found/a=1", "lost+found/.wh..wh..opq" }, "" },
	};

	(void)state;
	check_rows(rows, ARRAY_LEN(rows));
}

static void test_refused(void **state)
{
	static const struct {
		const char *layers[LAYERS_MAX];
		enum err_kind kind;
		const char *text;
	} rows[] = {
		{ { NULL }, ERR_INVALID, "the image has no layers" },
		{ { "", "" }, ERR_INVALID, "the image's layers have no entries" },
		{ { "a=1", ".wh." },
		  ERR_INVALID,
		  "layer 2: entry '.wh.': the whiteout names nothing" },
		{ { "a/.wh.." },
		  ERR_INVALID,
		  "layer 1: entry 'a/.wh..': the whiteout names nothing" },
		{ { "a=1", "", "b/.wh..." },
		  ERR_INVALID,
		  "layer 3: entry 'b/.wh...': the whiteout names nothing" },
		{ { ".wh.a/b=1" },
		  ERR_INVALID,
		  "layer 1: entry '.wh.a/b': a folder's name begins with '.wh.'" },
		{ { "../.wh.a" }, ERR_INVALID, "layer 1: entry '../.wh.a': '..' is not allowed" },
		{ { "a=1", "a/../../.wh..wh..opq" }, ERR_INVALID, "'..' is not allowed" },
		{ { "a=1", "../a=1" }, ERR_INVALID, "layer 2: entry '../a': '..' is not allowed" },
		{ { "b=1", "a=1 a/b=2" },
		  ERR_INVALID,
		  "layer 2: entry 'a/b': a parent is not a folder" },
		{ { "a=1 l>a", "l/b=2" },
		  ERR_INVALID,
		  "layer 2: entry 'l/b': a parent is not a folder" },
		{ { "a=1", ".wh.a b~a" }, ERR_INVALID, "its hard link target does not exist" },
		{ { "a=1", "b~.wh.a" }, ERR_INVALID, "its hard link target does not exist" },
		{ { "a=1", "lost+found=1" }, ERR_INVALID, "/lost+found must be a folder" },
		{ { "a=1", ".>b" }, ERR_INVALID, "layer 2: entry '.': the root must be a folder" },
	};
	const struct ext4_options options = { .size_bytes = EXT4_SIZE_MIN, .seed_fd = -1 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		struct ext4_summary summary = { .entries = 77 };
		struct err err = ERR_INIT;
		AUTO_CLOSE int image = -1;

		if (stack_up(rows[i].layers, &options, &summary, &image, &err) == 0)
			fail_msg("row %zu: accepted, but should say: %s", i, rows[i].text);
		CHECK_HAS(err.message, rows[i].text);
		CHECK_INT(err.kind, rows[i].kind);
		CHECK_INT(summary.entries, 77);
	}
}

/* Each limit is for all layers but one, and names its key. */
static void test_limits(void **state)
{
	static const char *const layers[LAYERS_MAX] = { "a=1234 b=5678", "c=9", ".wh.a d=01" };
	static const struct {
		struct ext4_limits limits;
		const char *text; /* NULL: enough */
	} rows[] = {
		{ { .entries = 5 }, NULL },
		{ { .entries = 4 }, "layer 3: there are more than 4 entries (limits.entries)" },
		{ { .bytes = 11 }, NULL },
		{ { .bytes = 10 },
		  "layer 3: entry 'd': there are more than 10 bytes of content "
		  "(limits.image_bytes)" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		const struct ext4_options options = { .size_bytes = EXT4_SIZE_MIN,
						      .seed_fd = -1,
						      .limits = rows[i].limits };
		struct ext4_summary summary = { 0 };
		struct err err = ERR_INIT;
		AUTO_CLOSE int image = -1;
		const int r = stack_up(layers, &options, &summary, &image, &err);

		if (!rows[i].text) {
			CHECK_STR(err.message, "");
			CHECK_INT(r, 0);
			CHECK_INT(summary.entries, 5);
			CHECK_INT(summary.content_bytes, 11);
			continue;
		}
		CHECK_STR(err.message, rows[i].text);
		CHECK_INT(err.kind, ERR_LIMIT);
		CHECK_HAS(err.hint, "[limits]");
	}
}

/* Folders that nobody describes cost what entries do, so they count as such. */
static void test_implied_folders_count(void **state)
{
	static const char *const layers[LAYERS_MAX] = { "p/q/r/s=1 t=2" };
	struct ext4_options options = { .size_bytes = EXT4_SIZE_MIN, .seed_fd = -1 };
	struct ext4_summary summary = { 0 };
	struct err err = ERR_INIT;
	AUTO_CLOSE int image = -1;

	(void)state;
	options.limits.entries = 4;
	assert_true(stack_up(layers, &options, &summary, &image, &err) < 0);
	CHECK_STR(err.message, "layer 1: there are more than 4 entries (limits.entries)");
	options.limits.entries = 5;
	err = ERR_INIT;
	if (stack_up(layers, &options, &summary, &image, &err) < 0)
		fail_msg("%s", err.message);
}

static void test_layer_limit(void **state)
{
	static const char *const layers[LAYERS_MAX] = { "a=1", "b=1 c=2 d=3", "d=4" };
	struct ext4_options options = { .size_bytes = EXT4_SIZE_MIN, .seed_fd = -1 };
	struct ext4_summary summary = { 0 };
	struct err err = ERR_INIT;
	AUTO_CLOSE int layer = make_layer(layers[1]);
	AUTO_CLOSE int image = -1;
	struct stat st;

	(void)state;
	assert_int_equal(fstat(layer, &st), 0);
	options.limits.layer_bytes = (uint64_t)st.st_size;
	assert_int_equal(stack_up(layers, &options, &summary, &image, &err), 0);
	options.limits.layer_bytes--;
	assert_true(stack_up(layers, &options, &summary, &image, &err) < 0);
	CHECK_HAS(err.message, "layer 2: there are more than ");
	CHECK_HAS(err.message, " bytes in the tar stream (limits.layer_bytes)");
	CHECK_INT(err.kind, ERR_LIMIT);
}

/* What is hidden is given back: the host's file has no more than what is left needs. */
static void test_thrift(void **state)
{
	const struct ext4_options options = { .size_bytes = 128U << 20, .seed_fd = -1 };
	AUTO_FREE char *many = mem_alloc(1, (1U << 20) + 3);
	const char *layers[LAYERS_MAX] = { many, "b=2", ".wh.a", NULL };
	struct ext4_summary with = { 0 };
	struct ext4_summary without = { 0 };
	struct err err = ERR_INIT;
	AUTO_CLOSE int first = -1;
	AUTO_CLOSE int second = -1;
	struct stat st[2];

	(void)state;
	memset(many, 'x', (1U << 20) + 2);
	memcpy(many, "a=", 2);
	assert_int_equal(stack_up(layers, &options, &with, &first, &err), 0);
	layers[0] = "a=1";
	assert_int_equal(stack_up(layers, &options, &without, &second, &err), 0);
	assert_int_equal(fstat(first, &st[0]), 0);
	assert_int_equal(fstat(second, &st[1]), 0);
	CHECK_INT(with.used_bytes, without.used_bytes);
	CHECK_INT(st[0].st_blocks, st[1].st_blocks);
}

/* Names that a whiteout can hide may be as long as any. */
static void test_long_names(void **state)
{
	static const size_t lengths[] = { 250, 251, 252, 254, 255 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(lengths); i++) {
		AUTO_FREE char *name = mem_alloc(lengths[i] + 1, 1);
		AUTO_FREE char *first = NULL;
		AUTO_FREE char *second = NULL;

		memset(name, 'n', lengths[i]);
		first = mem_printf("a/%s=1 b=2", name);
		second = mem_printf("a/.wh.%s", name);
		const struct row row = { { first, second }, "a/ b=2" };

		check_rows(&row, 1);
	}
}

static void test_parsing(void **state)
{
	static const struct {
		const char *path;
		enum whiteout_kind kind;
		const char *folder, *name;
	} rows[] = {
		{ "a", WHITEOUT_NONE, "", "a" },
		{ "", WHITEOUT_NONE, "", "" },
		{ "..", WHITEOUT_NONE, "", ".." },
		{ ".wh.a", WHITEOUT_NAME, "", "a" },
		{ "x//y/.wh.a//", WHITEOUT_NAME, "x//y/", "a" },
		{ ".wh..wh.a", WHITEOUT_NAME, "", ".wh.a" },
		{ ".wh.a.", WHITEOUT_NAME, "", "a." },
		{ ".wh....", WHITEOUT_NAME, "", "..." },
		{ ".wh..wh..opq", WHITEOUT_OPAQUE, "", ".wh..wh..opq" },
		{ ".wh..wh..opq2", WHITEOUT_NAME, "", ".wh..opq2" },
		{ "x/.wh..wh..opq/.", WHITEOUT_OPAQUE, "x/", ".wh..wh..opq" },
		{ ".wh..wh.plnk/.wh.a", WHITEOUT_IGNORED, ".wh..wh.plnk/", ".wh.a" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		struct whiteout got = { .kind = WHITEOUT_IGNORED };
		struct err err = ERR_INIT;

		CHECK_ROW(i, whiteout_parse(span_str(rows[i].path), &got, &err) == 0);
		CHECK_ROW(i, got.kind == rows[i].kind);
		CHECK_ROW(i, span_eq(got.folder, span_str(rows[i].folder)));
		CHECK_ROW(i, span_eq(got.name, span_str(rows[i].name)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replacing),
		cmocka_unit_test(test_whiteouts),
		cmocka_unit_test(test_opaque),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_implied_folders_count),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_layer_limit),
		cmocka_unit_test(test_thrift),
		cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_parsing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
