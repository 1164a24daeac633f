/* Files to and from a guest: FAULTS.md GA3 with hand-made tar streams, and agents that stop in the
 * middle. */
#include "test_guest_fake.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "guest/copy.h"
#include "guest/extract.h"
#include "wire/frame.h"
#include "wire/protocol.h"

#define BLOCK 512
#define WRONG "wrong answer from the agent: "

/* --- tar streams --- */

struct entry {
	char type; /* '0' file, '1' hard link, '2' symlink, '5' folder... */
	const char *path;
	const char *content; /* of a file, or a link's target */
	unsigned int mode;
};

static void put_octal(char *field, size_t size, uint64_t value)
{
	for (size_t i = size - 1; i > 0; i--, value /= 8)
		field[i - 1] = (char)('0' + value % 8);
}

static void add_padded(struct buf *tar, struct span bytes)
{
	static const char zeros[BLOCK];

	buf_add(tar, bytes);
	buf_add(tar, span_of(zeros, (BLOCK - bytes.len % BLOCK) % BLOCK));
}

/* One ustar header as it is on tape, checksum included. */
static void add_header(struct buf *tar, const struct entry *entry, uint64_t size)
{
	char header[BLOCK] = { 0 };
	uint64_t sum = 0;

	memcpy(header, entry->path, strnlen(entry->path, 100));
	put_octal(header + 100, 8, entry->mode);
	put_octal(header + 108, 8, 0);
	put_octal(header + 116, 8, 0);
	put_octal(header + 124, 12, size);
	put_octal(header + 136, 12, 1000000000);
	memset(header + 148, ' ', 8);
	header[156] = entry->type;
	if (entry->type == '1' || entry->type == '2')
		memcpy(header + 157, entry->content, strnlen(entry->content, 100));
	memcpy(header + 257, "ustar\00000", 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (uint8_t)header[i];
	put_octal(header + 148, 7, sum);
	buf_add(tar, span_of(header, BLOCK));
}

static void add_entry(struct buf *tar, const struct entry *entry)
{
	const bool has_content = entry->type == '0' && entry->content;
	const struct span content = span_str(has_content ? entry->content : "");

	add_header(tar, entry, content.len);
	add_padded(tar, content);
}

static void end_tar(struct buf *tar)
{
	static const char zeros[2 * BLOCK];

	buf_add(tar, span_of(zeros, sizeof(zeros)));
}

/* --- what an agent says to `get` --- */

/* The reply, the tar in frames of `piece` bytes, END. */
static void add_answer(struct buf *out, struct span tar, size_t piece)
{
	buf_add_str(out, "{\"ok\":true}\n");
	while (tar.len > 0) {
		const size_t len = tar.len < piece ? tar.len : piece;

		wire_add_frame(out, WIRE_DATA, span_of(tar.ptr, len));
		tar = span_skip(tar, len);
	}
}

static void add_end(struct buf *out)
{
	wire_add_frame(out, WIRE_END, span_str("{\"entries\":1,\"bytes\":1}"));
}

struct place {
	char path[32];
	int fd;
};

static struct place make_place(void)
{
	struct place place = { .path = "/tmp/test-guest-XXXXXX" };

	assert_non_null(mkdtemp(place.path));
	place.fd = dir_open(place.path);
	assert_true(place.fd >= 0);
	return place;
}

static void remove_place(const struct place *place)
{
	fd_close(place->fd);
	assert_int_equal(dir_remove_tree(AT_FDCWD, place->path), 0);
}

static int count_name(void *context, const char *name)
{
	(void)name;
	++*(size_t *)context;
	return 0;
}

static size_t names_in(int dir_fd)
{
	size_t count = 0;

	assert_int_equal(dir_each(dir_fd, count_name, &count), 0);
	return count;
}

/* Runs guest_get() for "/srv/top" as "out" against these bytes. */
static int get(const struct place *place, struct span answer, uint64_t bytes_max,
	       struct guest_copied *ret, struct err *err)
{
	int peer;
	const int fd = prepared_stream(answer, true, &peer);
	const struct guest_copy copy = { .fd = fd, .deadline_ns = patience() };
	const struct guest_get request = {
		.path = "/srv/top", .dest_fd = place->fd, .dest_name = "out", .bytes_max = bytes_max
	};
	char sent[64] = "";
	int r;

	r = guest_get(&copy, &request, ret, err);
	CHECK_INT(recv(peer, sent, sizeof(sent) - 1, 0), 31);
	CHECK_STR(sent, "{\"op\":\"get\",\"path\":\"/srv/top\"}\n");
	fd_close(fd);
	fd_close(peer);
	return r;
}

static void expect_file(int dir_fd, const char *path, const char *content, unsigned int mode)
{
	AUTO_BUF got = BUF_INIT;
	struct stat status;

	assert_int_equal(file_read(dir_fd, path, 1 << 20, &got), 0);
	CHECK_STR(got.ptr, content);
	assert_int_equal(fstatat(dir_fd, path, &status, AT_SYMLINK_NOFOLLOW), 0);
	CHECK_INT(status.st_mode & 07777, mode);
	CHECK_INT(status.st_mtim.tv_sec, 1000000000);
}

static void test_get_a_file(void **state)
{
	static const size_t pieces[] = { 1, 511, 513, 65536 };
	const struct entry entry = { '0', "top", "hello", 04755 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		const struct place place = make_place();
		AUTO_BUF tar = BUF_INIT;
		AUTO_BUF answer = BUF_INIT;
		struct guest_copied copied = { 0 };
		struct err err = ERR_INIT;

		add_entry(&tar, &entry);
		end_tar(&tar);
		add_answer(&answer, buf_span(&tar), pieces[i]);
		add_end(&answer);
		/* Twice: the second replaces the first. */
		for (size_t k = 0; k < 2; k++) {
			if (get(&place, buf_span(&answer), 5, &copied, &err) < 0)
				fail_msg("%s", err.message);
			CHECK_INT(copied.entries, 1);
			CHECK_INT(copied.bytes, 5);
			expect_file(place.fd, "out", "hello", 0755);
			CHECK_INT(names_in(place.fd), 1);
		}
		remove_place(&place);
	}
}

static void test_get_a_tree(void **state)
{
	static const struct entry entries[] = {
		{ '5', "top/", NULL, 0500 },
		{ '5', "top/sub", NULL, 0777 },
		{ '0', "top/sub/file", "content", 0640 },
		{ '0', "top/sub/empty", "", 0600 },
		{ '1', "top/hard", "top/sub/file", 0640 },
		{ '2', "top/sub/link", "../hard", 0777 },
		{ '2', "top/here", "./sub/file", 0777 },
		{ '0', "top/sub/\xff\n\\", "odd", 0600 },
	};
	const struct place place = make_place();
	AUTO_BUF tar = BUF_INIT;
	AUTO_BUF answer = BUF_INIT;
	struct guest_copied copied = { 0 };
	struct err err = ERR_INIT;
	struct stat status, other;
	char target[32] = "";

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(entries); i++)
		add_entry(&tar, &entries[i]);
	end_tar(&tar);
	add_answer(&answer, buf_span(&tar), 10000);
	add_end(&answer);
	if (get(&place, buf_span(&answer), 0, &copied, &err) < 0)
		fail_msg("%s", err.message);
	CHECK_INT(copied.entries, ARRAY_LEN(entries));
	CHECK_INT(copied.bytes, 10);
	expect_file(place.fd, "out/sub/file", "content", 0640);
	expect_file(place.fd, "out/sub/empty", "", 0600);
	expect_file(place.fd, "out/sub/\xff\n\\", "odd", 0600);
	assert_int_equal(fstatat(place.fd, "out", &status, 0), 0);
	CHECK_INT(status.st_mode & 07777, 0700);
	assert_int_equal(fstatat(place.fd, "out/sub", &status, 0), 0);
	CHECK_INT(status.st_mode & 07777, 0777);
	assert_int_equal(fstatat(place.fd, "out/hard", &status, 0), 0);
	assert_int_equal(fstatat(place.fd, "out/sub/link", &other, 0), 0);
	CHECK_INT(status.st_ino, other.st_ino);
	CHECK_INT(status.st_nlink, 2);
	CHECK_INT(readlinkat(place.fd, "out/here", target, sizeof(target) - 1), 10);
	CHECK_STR(target, "./sub/file");

	/* A folder does not replace a folder, and says so without touching it. */
	assert_true(get(&place, buf_span(&answer), 0, &copied, &err) < 0);
	CHECK_INT(err.kind, ERR_EXISTS);
	CHECK_STR(err.message, "get '/srv/top': 'out' exists already");
	expect_file(place.fd, "out/sub/file", "content", 0640);
	CHECK_INT(names_in(place.fd), 1);
	remove_place(&place);
}

static void test_get_file_over_folder(void **state)
{
	const struct entry entry = { '0', "top", "x", 0600 };
	const struct place place = make_place();
	AUTO_BUF tar = BUF_INIT;
	AUTO_BUF answer = BUF_INIT;
	struct guest_copied copied = { .entries = 77 };
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(mkdirat(place.fd, "out", 0700), 0);
	add_entry(&tar, &entry);
	end_tar(&tar);
	add_answer(&answer, buf_span(&tar), 10000);
	add_end(&answer);
	assert_true(get(&place, buf_span(&answer), 0, &copied, &err) < 0);
	CHECK_INT(err.kind, ERR_EXISTS);
	CHECK_INT(copied.entries, 77);
	CHECK_INT(names_in(place.fd), 1);
	remove_place(&place);
}

#define REFUSED(name, why) "get '/srv/top': the agent sent the entry '" name "', which " why

struct left_out {
	unsigned int count;
	char text[128];
};

static void note_left_out(void *context, const char *path, const char *target)
{
	struct left_out *left_out = context;

	left_out->count++;
	(void)snprintf(left_out->text, sizeof(left_out->text), "%s -> %s", path, target);
}

/* Who would rather do without links that lead out gets the rest; the top itself is no such link. */
static void test_links_left_out(void **state)
{
	static const struct entry entries[] = {
		{ '5', "top", NULL, 0700 },	      { '2', "top/in", "file", 0777 },
		{ '2', "top/up", "../canary", 0777 }, { '2', "top/out", "/etc/passwd", 0777 },
		{ '0', "top/file", "content", 0600 },
	};
	static const struct entry top = { '2', "top", "/etc/passwd", 0777 };
	const struct place place = make_place();
	struct left_out left_out = { .count = 0 };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		AUTO_BUF tar = BUF_INIT;
		AUTO_BUF answer = BUF_INIT;
		struct guest_copied copied = { 0 };
		struct err err = ERR_INIT;
		int peer, fd, r;

		for (size_t k = 0; i == 0 && k < ARRAY_LEN(entries); k++)
			add_entry(&tar, &entries[k]);
		if (i == 1)
			add_entry(&tar, &top);
		end_tar(&tar);
		add_answer(&answer, buf_span(&tar), 10000);
		add_end(&answer);
		fd = prepared_stream(buf_span(&answer), true, &peer);
		const struct guest_copy copy = { .fd = fd, .deadline_ns = patience() };
		const struct guest_get request = { .path = "/srv/top",
						   .dest_fd = place.fd,
						   .dest_name = i == 0 ? "out" : "other",
						   .left_out = note_left_out,
						   .context = &left_out };

		r = guest_get(&copy, &request, &copied, &err);
		fd_close(fd);
		fd_close(peer);
		if (i == 1) {
			CHECK_ROW(i, r < 0);
			CHECK_HAS(err.message, "is a link that leads out");
			break;
		}
		if (r < 0)
			fail_msg("%s", err.message);
		CHECK_INT(left_out.count, 2);
		CHECK_STR(left_out.text, "top/out -> /etc/passwd");
		expect_file(place.fd, "out/file", "content", 0600);
		assert_int_equal(faccessat(place.fd, "out/in", R_OK, 0), 0);
		assert_int_equal(faccessat(place.fd, "out/up", F_OK, AT_SYMLINK_NOFOLLOW), -1);
		assert_int_equal(faccessat(place.fd, "out/out", F_OK, AT_SYMLINK_NOFOLLOW), -1);
	}
	CHECK_INT(names_in(place.fd), 1);
	remove_place(&place);
}

/* GA3: every way out, by its message; nothing is left, and the canary beside the target is as it
 * was. */
static void test_hostile_tars(void **state)
{
	static const struct {
		struct entry entries[4];
		const char *message;
	} rows[] = {
		{ { { '0', "../canary", "evil", 0600 } },
		  REFUSED("../canary", "was not asked for") },
		{ { { '0', "/top", "evil", 0600 } }, REFUSED("/top", "was not asked for") },
		{ { { '0', "other", "evil", 0600 } }, REFUSED("other", "was not asked for") },
		{ { { '0', "topper", "evil", 0600 } }, REFUSED("topper", "was not asked for") },
		{ { { '0', "./top", "evil", 0600 } }, REFUSED("./top", "was not asked for") },
		{ { { '0', ".", "evil", 0600 } }, REFUSED(".", "was not asked for") },
		{ { { '5', "top/..", NULL, 0700 } }, REFUSED("top/..", "was not asked for") },
		{ { { '5', "top", NULL, 0700 }, { '0', "top/../canary", "evil", 0600 } },
		  REFUSED("top/../canary", "was not asked for") },
		{ { { '5', "top", NULL, 0700 }, { '0', "top/./x", "evil", 0600 } },
		  REFUSED("top/./x", "was not asked for") },
		{ { { '5', "top", NULL, 0700 }, { '0', "top//x", "evil", 0600 } },
		  REFUSED("top//x", "was not asked for") },
		{ { { '0', "top/x", "early", 0600 } },
		  REFUSED("top/x", "is in no folder that it sent before") },
		{ { { '0', "top", "x", 0600 }, { '0', "top/x", "y", 0600 } },
		  REFUSED("top/x", "is in no folder that it sent before") },
		{ { { '0', "top", "x", 0600 }, { '0', "top", "y", 0600 } },
		  REFUSED("top", "came before") },
		{ { { '5', "top", NULL, 0700 }, { '5', "top/", NULL, 0700 } },
		  REFUSED("top", "came before") },
		{ { { '2', "top", "/etc/passwd", 0777 } },
		  REFUSED("top", "is a link that leads out") },
		{ { { '2', "top", "canary", 0777 } }, REFUSED("top", "is a link that leads out") },
		{ { { '5', "top", NULL, 0700 }, { '2', "top/l", "/etc", 0777 } },
		  REFUSED("top/l", "is a link that leads out") },
		{ { { '5', "top", NULL, 0700 }, { '2', "top/l", "..", 0777 } },
		  REFUSED("top/l", "is a link that leads out") },
		{ { { '5', "top", NULL, 0700 }, { '2', "top/l", "../../canary", 0777 } },
		  REFUSED("top/l", "is a link that leads out") },
		{ { { '5', "top", NULL, 0700 },
		    { '2', "top/here", ".", 0777 },
		    { '2', "top/l", "here/../..", 0777 } },
		  REFUSED("top/l", "is a link that leads out") },
		{ { { '5', "top", NULL, 0700 },
		    { '2', "top/here", ".", 0777 },
		    { '0', "top/here/x", "through", 0600 } },
		  REFUSED("top/here/x", "is in no folder that it sent before") },
		{ { { '5', "top", NULL, 0700 },
		    { '2', "top/l", "x", 0777 },
		    { '0', "top/l", "through", 0600 } },
		  REFUSED("top/l", "came before") },
		{ { { '1', "top", "/etc/passwd", 0600 } },
		  REFUSED("top", "is a link that leads out") },
		{ { { '1', "top", "../canary", 0600 } },
		  REFUSED("top", "is a link that leads out") },
		{ { { '5', "top", NULL, 0700 }, { '1', "top/l", "canary", 0600 } },
		  REFUSED("top/l", "is a link that leads out") },
		{ { { '5', "top", NULL, 0700 }, { '1', "top/l", "top/missing", 0600 } },
		  REFUSED("top/l", "is a hard link to no file that it sent before") },
		{ { { '5', "top", NULL, 0700 }, { '1', "top/l", "top", 0600 } },
		  REFUSED("top/l", "is a hard link to no file that it sent before") },
		{ { { '5', "top", NULL, 0700 },
		    { '2', "top/s", "x", 0777 },
		    { '1', "top/l", "top/s", 0600 } },
		  REFUSED("top/l", "is a hard link to no file that it sent before") },
		{ { { '5', "top", NULL, 0700 },
		    { '2', "top/s", ".", 0777 },
		    { '1', "top/l", "top/s/x", 0600 } },
		  REFUSED("top/s/x", "is in no folder that it sent before") },
		{ { { '3', "top", NULL, 0666 } }, REFUSED("top", "is no file, folder or link") },
		{ { { '4', "top", NULL, 0666 } }, REFUSED("top", "is no file, folder or link") },
		{ { { '6', "top", NULL, 0666 } }, REFUSED("top", "is no file, folder or link") },
		{ { { '0', "\x1b[2Jtop", "x", 0666 } },
		  REFUSED("\\x1b[2Jtop", "was not asked for") },
		{ { { '0', "", "x", 0666 } }, REFUSED("", "was not asked for") },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct place place = make_place();
		AUTO_BUF tar = BUF_INIT;
		AUTO_BUF answer = BUF_INIT;
		struct guest_copied copied = { 0 };
		struct err err = ERR_INIT;

		assert_int_equal(file_replace(place.fd, "canary", span_str("song"), 0600), 0);
		for (size_t k = 0; k < 4 && rows[i].entries[k].path; k++)
			add_entry(&tar, &rows[i].entries[k]);
		end_tar(&tar);
		add_answer(&answer, buf_span(&tar), 10000);
		add_end(&answer);
		CHECK_ROW(i, get(&place, buf_span(&answer), 0, &copied, &err) < 0);
		CHECK_STR(err.message, rows[i].message);
		CHECK_INT(err.kind, ERR_PROTOCOL);
		CHECK_INT(names_in(place.fd), 1);
		{
			AUTO_BUF canary = BUF_INIT;

			assert_int_equal(file_read(place.fd, "canary", 100, &canary), 0);
			CHECK_STR(canary.ptr, "song");
		}
		remove_place(&place);
	}
}

static void test_path_rules(void **state)
{
	AUTO_BUF path = BUF_INIT;

	(void)state;
	assert_true(extract_path_is_safe("top", "top"));
	assert_true(extract_path_is_safe("top/", "top"));
	assert_true(extract_path_is_safe("top/..x/.y", "top"));
	assert_false(extract_path_is_safe("", "top"));
	assert_false(extract_path_is_safe("/", "top"));
	assert_false(extract_path_is_safe("top//", "top"));

	/* Depth at the limit and over it. */
	buf_add_str(&path, "top");
	for (size_t i = 1; i < GUEST_GET_DEPTH_MAX; i++)
		buf_add_str(&path, "/d");
	assert_true(extract_path_is_safe(path.ptr, "top"));
	buf_add_str(&path, "/d");
	assert_false(extract_path_is_safe(path.ptr, "top"));

	/* A component's length, and the path's. */
	buf_clear(&path);
	buf_add_str(&path, "top/");
	for (size_t i = 0; i < 255; i++)
		buf_add_byte(&path, 'n');
	assert_true(extract_path_is_safe(path.ptr, "top"));
	buf_add_byte(&path, 'n');
	assert_false(extract_path_is_safe(path.ptr, "top"));
	buf_clear(&path);
	buf_add_str(&path, "top");
	while (path.len < GUEST_PATH_MAX - 100) {
		buf_add_byte(&path, '/');
		for (size_t i = 0; i < 99; i++)
			buf_add_byte(&path, 'n');
	}
	buf_add_byte(&path, '/');
	while (path.len < GUEST_PATH_MAX)
		buf_add_byte(&path, 'm');
	assert_true(extract_path_is_safe(path.ptr, "top"));
	buf_add_byte(&path, 'm');
	assert_false(extract_path_is_safe(path.ptr, "top"));
}

static void test_link_rules(void **state)
{
	static const struct {
		const char *path;
		const char *target;
		bool is_safe;
	} rows[] = {
		{ "top/a", "b", true },		 { "top/a", "./b", true },
		{ "top/a", "sub//b/", true },	 { "top/sub/a", "../b", true },
		{ "top/sub/a", ".././b", true }, { "top/sub/deep/a", "../../b", true },
		{ "top/sub/a", "..", true },	 { "top/a", "..", false },
		{ "top/a", "../top/b", false },	 { "top/sub/a", "../..", false },
		{ "top/sub/a", "x/..", false },	 { "top/sub/a", "../x/../b", false },
		{ "top/a", "/b", false },	 { "top/a", "", false },
		{ "top", "b", false },		 { "top/", "b", false },
		{ "top/a/", "..", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i, extract_link_is_safe(rows[i].path, rows[i].target) == rows[i].is_safe);
}

/* Content over the limit; a size that is a lie; 8 EiB. */
static void test_get_limits(void **state)
{
	const struct entry entry = { '0', "top", "hello", 0600 };
	const struct place place = make_place();
	AUTO_BUF tar = BUF_INIT;
	AUTO_BUF answer = BUF_INIT;
	struct guest_copied copied = { 0 };
	struct err err = ERR_INIT;

	(void)state;
	add_entry(&tar, &entry);
	end_tar(&tar);
	add_answer(&answer, buf_span(&tar), 10000);
	add_end(&answer);
	assert_true(get(&place, buf_span(&answer), 4, &copied, &err) < 0);
	CHECK_INT(err.kind, ERR_LIMIT);
	CHECK_STR(err.message, "get '/srv/top': the agent sent more than 4 bytes");
	CHECK_INT(names_in(place.fd), 0);

	buf_clear(&tar);
	buf_clear(&answer);
	add_header(&tar, &entry, 077777777777);
	add_answer(&answer, buf_span(&tar), 10000);
	add_end(&answer);
	assert_true(get(&place, buf_span(&answer), 1 << 20, &copied, &err) < 0);
	CHECK_INT(err.kind, ERR_LIMIT);
	assert_true(get(&place, buf_span(&answer), 0, &copied, &err) < 0);
	CHECK_INT(err.kind, ERR_PROTOCOL);
	CHECK_HAS(err.message, "get '/srv/top': read the agent's tar stream: ");
	CHECK_INT(names_in(place.fd), 0);
	remove_place(&place);
}

/* What comes after the reply to `get`, by its message; nothing is left of it. */
static void test_get_breaks_off(void **state)
{
	const struct entry entry = { '0', "top", "hello", 0600 };
	static const struct {
		bool has_tar;
		const char *bytes;
		size_t len;
		enum err_kind kind;
		const char *message;
	} rows[] = {
#define ROW(text) text, sizeof(text) - 1
		{ true, ROW(""), ERR_PROTOCOL,
		  "the agent closed the connection before the end of the files" },
		{ true, ROW("\x20\0\0"), ERR_PROTOCOL,
		  "the agent closed the connection in the middle of a frame" },
		{ true, ROW("\x22\0\0\0\0\0\0\4gone"), ERR_BAD_STATE, "the agent gave up: gone" },
		{ false, ROW("\x22\0\0\0\0\0\0\2\x1b["), ERR_BAD_STATE,
		  "the agent gave up: \\x1b[" },
		{ true, ROW("\x10\0\0\0\0\0\0\1x"), ERR_PROTOCOL,
		  WRONG "STDOUT frame among files" },
		{ true, ROW("\x21\0\0\0\0\0\0\2[]"), ERR_PROTOCOL,
		  "wrong summary from the agent: must be an object, not an array" },
		{ true, ROW("\x21\0\0\0\0\0\0\0"), ERR_PROTOCOL,
		  "wrong summary from the agent: JSON at byte 0" },
		{ false, ROW("\x21\0\0\0\0\0\0\x17{\"entries\":0,\"bytes\":0}"), ERR_PROTOCOL,
		  "the agent sent no files" },
		{ false,
		  ROW("\x20\0\0\0\0\0\0\4junk\x21\0\0\0\0\0\0\x17{\"entries\":0,\"bytes\":0}"),
		  ERR_PROTOCOL, "read the agent's tar stream: " },
#undef ROW
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct place place = make_place();
		AUTO_BUF tar = BUF_INIT;
		AUTO_BUF answer = BUF_INIT;
		AUTO_BUF wanted = BUF_INIT;
		struct guest_copied copied = { 0 };
		struct err err = ERR_INIT;

		if (rows[i].has_tar) {
			add_entry(&tar, &entry);
			end_tar(&tar);
		}
		add_answer(&answer, buf_span(&tar), 10000);
		buf_add(&answer, span_of(rows[i].bytes, rows[i].len));
		CHECK_ROW(i, get(&place, buf_span(&answer), 0, &copied, &err) < 0);
		buf_addf(&wanted, "get '/srv/top': %s", rows[i].message);
		if (strncmp(err.message, wanted.ptr, wanted.len) != 0)
			fail_msg("row %zu: %s", i, err.message);
		CHECK_INT(err.kind, rows[i].kind);
		CHECK_INT(names_in(place.fd), 0);
		remove_place(&place);
	}
}

static void test_get_refused(void **state)
{
	static const char *const paths[] = {
		"", "etc", "/", "/etc/", "/etc/.", "/etc/..", "/\xff"
	};
	const struct place place = make_place();
	struct guest_copied copied = { 0 };
	struct err err = ERR_INIT;

	(void)state;
	assert_true(get(&place,
			span_str("{\"ok\":false,\"error\":{\"kind\":\"not_found\",\"message\":"
				 "\"open '/srv/top': no\"}}\n"),
			0, &copied, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	CHECK_STR(err.message, "get '/srv/top': open '/srv/top': no");
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		const struct guest_copy copy = { .fd = -1, .deadline_ns = 0 };
		const struct guest_get request = { .path = paths[i],
						   .dest_fd = place.fd,
						   .dest_name = "out" };

		CHECK_ROW(i, guest_get(&copy, &request, &copied, &err) < 0);
		CHECK_INT(err.kind, ERR_INVALID);
	}
	CHECK_INT(names_in(place.fd), 0);
	remove_place(&place);
}

/* --- put --- */

static int tar_file(size_t size)
{
	AUTO_FREE uint8_t *bytes = mem_alloc(1, size + 1);
	char path[] = "/tmp/test-guest-XXXXXX";
	const int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(unlink(path), 0);
	memset(bytes, 't', size);
	assert_int_equal(fd_write_all(fd, span_of(bytes, size)), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* Takes nothing, and stays until the host has gone. */
static void wait_for_end(int fd)
{
	struct pollfd hang_up = { .fd = fd };

	CHILD_CHECK(poll(&hang_up, 1, -1) == 1);
}

static void hear_request(int fd)
{
	static const char wanted[] = "{\"op\":\"put\",\"path\":\"/srv\"}\n";
	char line[sizeof(wanted)] = "";

	CHILD_CHECK(fd_read_exact(fd, line, sizeof(wanted) - 1) == 0);
	CHILD_CHECK(memcmp(line, wanted, sizeof(wanted) - 1) == 0);
	CHILD_CHECK(fd_write_all(fd, span_str("{\"ok\":true}\n")) == 0);
}

static void serve_put(int fd, void *context)
{
	struct wire_reader *reader = mem_alloc(1, sizeof(*reader));
	struct err err = ERR_INIT;
	struct wire_frame frame = { .type = WIRE_DATA };
	AUTO_BUF out = BUF_INIT;
	size_t total = 0;

	hear_request(fd);
	while (frame.type != WIRE_END) {
		const int r = wire_reader_next(reader, WIRE_FROM_HOST, &frame, &err);
		size_t room;
		uint8_t *into;
		ssize_t n;

		CHILD_CHECK(r >= 0);
		if (r == 1) {
			total += frame.payload.len;
			continue;
		}
		into = wire_reader_room(reader, &room);
		n = recv(fd, into, room, 0);
		CHILD_CHECK(n > 0);
		wire_reader_advance(reader, (size_t)n);
	}
	CHILD_CHECK(total == *(const size_t *)context);
	buf_addf(&out, "{\"entries\":3,\"bytes\":%zu}", total);
	{
		AUTO_BUF end = BUF_INIT;

		wire_add_frame(&end, WIRE_END, buf_span(&out));
		CHILD_CHECK(fd_write_all(fd, buf_span(&end)) == 0);
	}
	mem_free(reader);
}

static void test_put(void **state)
{
	static const size_t sizes[] = { 0, 1, 65536, 3 * 1024 * 1024 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		size_t size = sizes[i];
		const int tar_fd = tar_file(size);
		struct guest_copied copied = { 0 };
		struct err err = ERR_INIT;
		pid_t pid;
		const int fd = fork_agent(serve_put, &size, &pid);
		const struct guest_copy copy = { .fd = fd, .deadline_ns = patience() };
		const struct guest_tar tar_source = { .fd = tar_fd };

		if (guest_put(&copy, "/srv", &tar_source, &copied, &err) < 0)
			fail_msg("%s", err.message);
		CHECK_INT(copied.entries, 3);
		CHECK_INT(copied.bytes, size);
		fd_close(fd);
		fd_close(tar_fd);
		reap_agent(pid);
	}
}

/* Disk full: it says so in the middle, and takes nothing more. */
static void serve_full_disk(int fd, void *context)
{
	AUTO_BUF out = BUF_INIT;

	(void)context;
	hear_request(fd);
	wire_add_frame(&out, WIRE_ERROR, span_str("write 'x': no space left on device"));
	CHILD_CHECK(fd_write_all(fd, buf_span(&out)) == 0);
}

static void serve_early_end(int fd, void *context)
{
	AUTO_BUF out = BUF_INIT;

	(void)context;
	hear_request(fd);
	wire_add_frame(&out, WIRE_END, span_str("{\"entries\":0,\"bytes\":0}"));
	CHILD_CHECK(fd_write_all(fd, buf_span(&out)) == 0);
	wait_for_end(fd);
}

static void serve_hang_up(int fd, void *context)
{
	(void)context;
	hear_request(fd);
}

static void serve_silence(int fd, void *context)
{
	(void)context;
	hear_request(fd);
	wait_for_end(fd);
}

static void serve_output_to_put(int fd, void *context)
{
	AUTO_BUF out = BUF_INIT;

	(void)context;
	hear_request(fd);
	wire_add_frame(&out, WIRE_STDOUT, span_str("x"));
	CHILD_CHECK(fd_write_all(fd, buf_span(&out)) == 0);
	wait_for_end(fd);
}

static void test_put_fails(void **state)
{
	static const struct {
		void (*serve)(int fd, void *context);
		uint64_t deadline_ms;
		enum err_kind kind;
		const char *message;
	} rows[] = {
		{ serve_full_disk, 20000, ERR_BAD_STATE,
		  "the agent gave up: write 'x': no space left on device" },
		{ serve_early_end, 20000, ERR_PROTOCOL, WRONG "END before it was due" },
		{ serve_hang_up, 20000, ERR_PROTOCOL,
		  "the agent closed the connection before it had all files" },
		{ serve_output_to_put, 20000, ERR_PROTOCOL, WRONG "STDOUT frame to files" },
		{ serve_silence, 100, ERR_TIMEOUT, "the agent did not take the files in time" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const int tar_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
		struct guest_copied copied = { .entries = 77 };
		struct err err = ERR_INIT;
		AUTO_BUF wanted = BUF_INIT;
		pid_t pid;
		const int fd = fork_agent(rows[i].serve, NULL, &pid);
		const struct guest_copy copy = { .fd = fd,
						 .deadline_ns = in_ms(rows[i].deadline_ms) };
		const struct guest_tar tar_source = { .fd = tar_fd };

		CHECK_ROW(i, guest_put(&copy, "/srv", &tar_source, &copied, &err) < 0);
		buf_addf(&wanted, "put files in '/srv': %s", rows[i].message);
		CHECK_STR(err.message, wanted.ptr);
		CHECK_INT(err.kind, rows[i].kind);
		CHECK_INT(copied.entries, 77);
		fd_close(fd);
		fd_close(tar_fd);
		reap_agent(pid);
	}
}

/* What a guest says of a path; and what it may not say. */
static void test_look(void **state)
{
	static const struct {
		const char *reply;
		enum guest_file type;
		uint64_t size;
		const char *message; /* NULL: no failure */
	} rows[] = {
		{ "{\"ok\":true,\"type\":\"file\",\"size\":5}\n", GUEST_FILE, 5, NULL },
		{ "{\"ok\":true,\"type\":\"folder\",\"size\":0}\n", GUEST_FOLDER, 0, NULL },
		{ "{\"ok\":true,\"type\":\"other\",\"size\":0}\n", GUEST_OTHER, 0, NULL },
		{ "{\"ok\":false,\"error\":{\"kind\":\"not_found\",\"message\":\"no\"}}\n",
		  GUEST_NOTHING, 0, NULL },
		{ "{\"ok\":true}\n", GUEST_NOTHING, 0, "'type' is none of its words" },
		{ "{\"ok\":true,\"type\":\"pipe\"}\n", GUEST_NOTHING, 0,
		  "'type' is none of its words" },
		{ "{\"ok\":false,\"error\":{\"kind\":\"unsupported\",\"message\":\"what?\"}}\n",
		  GUEST_NOTHING, 0, "look at '/x': " },
		{ "nonsense\n", GUEST_NOTHING, 0, "look at '/x': " },
		{ "", GUEST_NOTHING, 0, "look at '/x': " },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int peer;
		const int fd = prepared_stream(span_str(rows[i].reply), true, &peer);
		const struct guest_copy copy = { .fd = fd, .deadline_ns = patience() };
		enum guest_file type = GUEST_OTHER;
		uint64_t size = 77;
		struct err err = ERR_INIT;
		const int r = guest_look(&copy, "/x", &type, &size, &err);

		CHECK_ROW(i, (r < 0) == (rows[i].message != NULL));
		if (rows[i].message) {
			CHECK_HAS(err.message, rows[i].message);
			CHECK_INT(size, 77);
		} else {
			CHECK_INT(type, rows[i].type);
			CHECK_INT(size, rows[i].size);
		}
		fd_close(fd);
		fd_close(peer);
	}
}

static void test_put_checks_its_path(void **state)
{
	static const char *const paths[] = { "", "srv", "/\xff" };
	const struct guest_copy copy = { .fd = -1 };
	const struct guest_tar tar_source = { .fd = -1 };
	struct guest_copied copied;
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		CHECK_ROW(i, guest_put(&copy, paths[i], &tar_source, &copied, &err) < 0);
		CHECK_INT(err.kind, ERR_INVALID);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_get_a_file),
		cmocka_unit_test(test_get_a_tree),
		cmocka_unit_test(test_links_left_out),
		cmocka_unit_test(test_look),
		cmocka_unit_test(test_get_file_over_folder),
		cmocka_unit_test(test_hostile_tars),
		cmocka_unit_test(test_path_rules),
		cmocka_unit_test(test_link_rules),
		cmocka_unit_test(test_get_limits),
		cmocka_unit_test(test_get_breaks_off),
		cmocka_unit_test(test_get_refused),
		cmocka_unit_test(test_put),
		cmocka_unit_test(test_put_fails),
		cmocka_unit_test(test_put_checks_its_path),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
