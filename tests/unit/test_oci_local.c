/* Layouts and docker-archives: what tools write, and what nobody should. */
#include "check.h"
#include "oci_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "oci/archive.h"
#include "oci/layout.h"
#include "oci/tar_index.h"

#define A8  "aaaaaaaa"
#define A64 A8 A8 A8 A8 A8 A8 A8 A8
#define B64 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void test_layout_files(void **state)
{
	static const struct {
		const char *version, *index;
		enum err_kind error;
		const char *message;
	} rows[] = {
		{ "{'imageLayoutVersion':'1.0.0'}", "{'schemaVersion':2,'manifests':[]}", ERR_NONE,
		  NULL },
		{ NULL, "{'schemaVersion':2,'manifests':[]}", ERR_INVALID, "no 'oci-layout'" },
		{ "{'imageLayoutVersion':'1.0.0'}", NULL, ERR_INVALID, "no 'index.json'" },
		{ "{'imageLayoutVersion':'2.0.0'}", "{}", ERR_UNSUPPORTED, "imageLayoutVersion" },
		{ "{}", "{}", ERR_PROTOCOL, "'imageLayoutVersion' is missing" },
		{ "x", "{}", ERR_PROTOCOL, "/oci-layout': JSON" },
		{ "{'imageLayoutVersion':'1.0.0'}", "{'schemaVersion':2}", ERR_PROTOCOL,
		  "/index.json': field 'manifests'" },
	};
	const struct oci_fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(oci_layout_freep) struct oci_layout *layout = NULL;
		struct err err = ERR_INIT;

		assert_int_equal(dir_remove_tree(AT_FDCWD, f->dir), 0);
		assert_int_equal(mkdir(f->dir, 0700), 0);
		if (rows[i].version)
			oci_fixture_put(f, "oci-layout", rows[i].version);
		if (rows[i].index)
			oci_fixture_put(f, "index.json", rows[i].index);
		CHECK_ROW(i, (oci_layout_open(f->dir, &layout, &err) == 0) == !rows[i].message);
		CHECK_INT(err.kind, rows[i].error);
		if (rows[i].message)
			CHECK_HAS(err.message, rows[i].message);
	}
}

#define TYPE	   "'mediaType':'application/vnd.oci.image.manifest.v1+json'"
#define REF(name)  ",'annotations':{'org.opencontainers.image.ref.name':'" name "'}"
#define FOR(arch)  ",'platform':{'os':'linux','architecture':'" arch "'}"
#define IN_A(more) "{" TYPE ",'digest':'sha256:" A64 "','size':7" more "}"
#define IN_B(more) "{" TYPE ",'digest':'sha256:" B64 "','size':8" more "}"

static void test_layout_tags(void **state)
{
	static const struct {
		const char *entries, *tag;
		uint64_t size; /* of the one that is found; 0: none */
		enum err_kind error;
		const char *message;
	} rows[] = {
		{ IN_A(REF("x")), "x", 7, ERR_NONE, NULL },
		{ IN_A(REF("x")), NULL, 7, ERR_NONE, NULL },
		{ IN_A(""), NULL, 7, ERR_NONE, NULL },
		{ IN_A(REF("x")) "," IN_B(REF("y")), "y", 8, ERR_NONE, NULL },
		{ IN_A(REF("x")) "," IN_B(REF("y")), NULL, 0, ERR_INVALID,
		  "several images, say which tag of: 'x', 'y'" },
		{ IN_A(REF("x")) "," IN_A(REF("y") FOR("amd64")), NULL, 7, ERR_NONE, NULL },
		{ IN_A(REF("x")), "z", 0, ERR_NOT_FOUND, "no tag 'z'; its tags: 'x'" },
		{ IN_A(""), "z", 0, ERR_NOT_FOUND, "its tags: none" },
		{ "", NULL, 0, ERR_NOT_FOUND, "has no image" },
		{ IN_A(FOR("amd64")) "," IN_B(FOR("arm64")), NULL, 7, ERR_NONE, NULL },
		{ IN_A(REF("x") FOR("arm64")) "," IN_B(REF("x") FOR("amd64")), "x", 8, ERR_NONE,
		  NULL },
		{ IN_A(REF("x") FOR("arm64")) "," IN_B(REF("x") FOR("riscv64")), "x", 0,
		  ERR_NOT_FOUND, "no image for linux/amd64" },
		{ "{'mediaType':'application/x','digest':'sha256:" A64 "','size':9}," IN_B(""),
		  NULL, 8, ERR_NONE, NULL },
	};
	const struct oci_fixture *f = *state;
	struct oci_platform platform;

	assert_true(oci_platform_parse(span_str("linux/amd64"), &platform));
	oci_fixture_make_layout(f);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *index =
			mem_printf("{'schemaVersion':2,'manifests':[%s]}", rows[i].entries);
		CLEANUP(oci_layout_freep) struct oci_layout *layout = NULL;
		const struct oci_index_entry *entry = NULL;
		struct err err = ERR_INIT;

		oci_fixture_put(f, "index.json", index);
		CHECK_ROW(i, oci_layout_open(f->dir, &layout, &err) == 0);
		CHECK_ROW(i, (oci_layout_find(layout, rows[i].tag, &platform, &entry, &err) == 0) ==
				     (rows[i].size > 0));
		CHECK_INT(err.kind, rows[i].error);
		CHECK_INT(entry ? entry->descriptor.size : 0, rows[i].size);
		if (rows[i].message)
			CHECK_HAS(err.message, rows[i].message);
	}
}

static void test_layout_blobs(void **state)
{
	const struct oci_fixture *f = *state;
	CLEANUP(oci_layout_freep) struct oci_layout *layout = NULL;
	struct oci_descriptor good, wrong;
	AUTO_BUF bytes = BUF_INIT;
	AUTO_CLOSE int fd = -1;
	struct err err;
	char byte;

	oci_fixture_make_layout(f);
	assert_int_equal(oci_layout_open(f->dir, &layout, &err), 0);
	good = oci_fixture_put_blob(f, span_str("content"));
	CHECK_INT(oci_layout_read(layout, &good, 7, &bytes, &err), 0);
	CHECK_STR(bytes.ptr, "content");
	CHECK_INT(oci_layout_open_blob(layout, &good, NULL, NULL, &fd, &err), 0);
	CHECK_INT(fd_read_some(fd, &byte, 1), 1);
	CHECK_INT(byte, 'c');
	assert_true(oci_layout_read(layout, &good, 6, &bytes, &err) < 0);
	CHECK_INT(err.kind, ERR_LIMIT);
	for (int more = -1; more <= 1; more += 2) {
		wrong = good;
		wrong.size = (uint64_t)(7 + more);
		fd_assign(&fd, -1);
		assert_true(oci_layout_open_blob(layout, &wrong, NULL, NULL, &fd, &err) < 0);
		CHECK_INT(err.kind, ERR_PROTOCOL);
		CHECK_HAS(err.message, "has 7 bytes, not");
		CHECK_INT(fd, -1);
	}
	{
		/* Right size, wrong bytes. */
		AUTO_FREE char *name = mem_printf("blobs/sha256/%s", oci_digest_hex(&good.digest));

		oci_fixture_put_bytes(f, name, span_str("Content"));
	}
	assert_true(oci_layout_open_blob(layout, &good, NULL, NULL, &fd, &err) < 0);
	CHECK_INT(err.kind, ERR_PROTOCOL);
	CHECK_HAS(err.message, "has the digest");
	assert_true(oci_layout_read(layout, &good, 100, &bytes, &err) < 0);
	CHECK_INT(err.kind, ERR_PROTOCOL);
	CHECK_STR(bytes.ptr, "content");
	assert_true(oci_digest_parse(span_str("sha256:" A64), &wrong.digest));
	assert_true(oci_layout_open_blob(layout, &wrong, NULL, NULL, &fd, &err) < 0);
	CHECK_INT(err.errnum, ENOENT);
}

/* Whatever is no plain file in plain folders is refused, without waiting for a FIFO's writer. */
static void test_layout_links(void **state)
{
	const struct oci_fixture *f = *state;
	AUTO_FREE char *blobs = mem_printf("%s/blobs", f->dir);
	AUTO_FREE char *moved = mem_printf("%s/moved", f->dir);
	AUTO_FREE char *index = mem_printf("%s/index.json", f->dir);
	AUTO_FREE char *blob_path = NULL;
	CLEANUP(oci_layout_freep) struct oci_layout *layout = NULL, *none = NULL;
	struct oci_descriptor blob;
	struct err err;
	int fd = -1;

	oci_fixture_make_layout(f);
	assert_int_equal(oci_layout_open(f->dir, &layout, &err), 0);
	blob = oci_fixture_put_blob(f, span_str("content"));
	blob_path = mem_printf("%s/blobs/sha256/%s", f->dir, oci_digest_hex(&blob.digest));
	/* A folder on the way is a link. */
	assert_int_equal(rename(blobs, moved), 0);
	assert_int_equal(symlink("moved", blobs), 0);
	assert_true(oci_layout_open_blob(layout, &blob, NULL, NULL, &fd, &err) < 0);
	assert_true(err.errnum == ENOTDIR || err.errnum == ELOOP);
	assert_int_equal(unlink(blobs), 0);
	assert_int_equal(rename(moved, blobs), 0);
	/* The file itself is. */
	oci_fixture_put_bytes(f, "outside", span_str("content"));
	assert_int_equal(unlink(blob_path), 0);
	assert_int_equal(symlink("../../outside", blob_path), 0);
	assert_true(oci_layout_open_blob(layout, &blob, NULL, NULL, &fd, &err) < 0);
	CHECK_INT(err.errnum, ELOOP);
	assert_int_equal(unlink(blob_path), 0);
	assert_int_equal(mkfifo(blob_path, 0600), 0);
	assert_true(oci_layout_open_blob(layout, &blob, NULL, NULL, &fd, &err) < 0);
	CHECK_INT(err.errnum, EINVAL);
	assert_int_equal(unlink(index), 0);
	assert_int_equal(symlink("/etc/hostname", index), 0);
	assert_true(oci_layout_open(f->dir, &none, &err) < 0);
	CHECK_INT(err.errnum, ELOOP);
	assert_true(oci_layout_open(index, &none, &err) < 0);
	CHECK_INT(err.kind, ERR_INVALID);
	assert_true(oci_layout_open(blob_path, &none, &err) < 0);
	CHECK_INT(err.kind, ERR_INVALID);
	assert_int_equal(unlink(blob_path), 0);
	assert_true(oci_layout_open(blob_path, &none, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
}

/* --- tar --- */

static void add_number(char *field, size_t size, uint64_t value)
{
	AUTO_FREE char *digits = mem_printf("%0*llo", (int)size - 1, (unsigned long long)value);

	assert_int_equal(strlen(digits), size - 1);
	memcpy(field, digits, size);
}

/* A header and data; `size` may lie. */
static void add_raw(struct buf *tar, const char *name, char type, const char *link, uint64_t size,
		    struct span data)
{
	char block[512] = "";
	unsigned int sum = 0;

	(void)snprintf(block, 101, "%s", name);
	add_number(block + 100, 8, 0644);
	add_number(block + 124, 12, size);
	memset(block + 148, ' ', 8);
	block[156] = type;
	(void)snprintf(block + 157, 101, "%s", link);
	memcpy(block + 257,
	       "ustar\0"
	       "00",
	       8);
	for (size_t i = 0; i < sizeof(block); i++)
		sum += (unsigned char)block[i];
	add_number(block + 148, 7, sum);
	buf_add(tar, span_of(block, sizeof(block)));
	buf_add(tar, data);
	while (tar->len % 512 != 0)
		buf_add_byte(tar, 0);
}

static void add_file(struct buf *tar, const char *name, const char *text)
{
	AUTO_FREE char *json = oci_fixture_quoted(text);

	add_raw(tar, name, '0', "", strlen(text), span_str(json));
}

static void add_link(struct buf *tar, const char *name, char type, const char *target)
{
	add_raw(tar, name, type, target, 0, span_str(""));
}

static void end(struct buf *tar)
{
	const char zeros[1024] = "";

	buf_add(tar, span_of(zeros, sizeof(zeros)));
}

static int read_index(const struct oci_fixture *f, const struct buf *tar, struct tar_index *ret,
		      struct err *err)
{
	AUTO_FREE char *path = mem_printf("%s/tar", f->dir);
	AUTO_CLOSE int fd = -1;

	oci_fixture_put_bytes(f, "tar", buf_span(tar));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return tar_index_read(fd, NULL, ret, err);
}

static void test_tar_members(void **state)
{
	static const struct {
		const char *name;
		uint64_t size; /* of what is found; 0: refused */
		const char *message;
	} rows[] = {
		{ "a", 1, NULL },
		{ "./a", 1, NULL },
		{ "dir/b", 2, NULL },
		{ "dir//b", 2, NULL },
		{ "link", 2, NULL },
		{ "dir/up", 1, NULL },
		{ "dir/hard", 1, NULL },
		{ "long/" A64 A64 "/c", 3, NULL },
		{ "gnu-" A64 A64, 4, NULL },
		{ "pax-size", 5, NULL },
		{ "none", 0, "there is no 'none'" },
		{ "", 0, "there is no ''" },
		{ "dir", 0, "'dir' is not a file" },
		{ "device", 0, "'device' is not a file" },
		{ "twice", 0, "two members have the name 'twice'" },
		{ "link2", 0, "'link2' is not a file" },
		{ "loop", 0, "'loop' is not a file" },
		{ "leaves", 0, "'leaves' is not a file" },
		{ "dangling", 0, "there is no 'none'" },
		{ "../a", 0, "leaves the archive" },
		{ "dir/../../a", 0, "leaves the archive" },
	};
	const struct oci_fixture *f = *state;
	AUTO_TAR_INDEX index = TAR_INDEX_INIT;
	AUTO_BUF tar = BUF_INIT;
	struct err err = ERR_INIT;

	add_file(&tar, "./a", "1");
	add_link(&tar, "dir/", '5', "");
	add_file(&tar, "dir/b", "22");
	add_link(&tar, "link", '2', "dir/b");
	add_link(&tar, "dir/up", '2', "../a");
	add_link(&tar, "dir/hard", '1', "a");
	add_raw(&tar, "g", 'g', "", 5, span_str("7 a=b\n"));
	add_raw(&tar, "x", 'x', "", 145, span_str("145 path=long/" A64 A64 "/c\n"));
	add_file(&tar, "ignored", "333");
	add_raw(&tar, "L", 'L', "", 133, span_of("gnu-" A64 A64, 133));
	add_file(&tar, "ignored", "4444");
	add_raw(&tar, "x", 'x', "", 17, span_str("8 mtime\n9 size=5\n"));
	end(&tar);
	/* A record without '=' is malformed. */
	assert_true(read_index(f, &tar, &index, &err) < 0);
	CHECK_HAS(err.message, "malformed pax header");
	buf_truncate(&tar, tar.len - 1024 - 1024);
	add_raw(&tar, "x", 'x', "", 9, span_str("9 size=5\n"));
	add_raw(&tar, "pax-size", '0', "", 0, span_str("55555"));
	add_link(&tar, "device", '3', "");
	add_file(&tar, "twice", "x");
	add_file(&tar, "twice", "y");
	add_link(&tar, "link2", '2', "link");
	add_link(&tar, "loop", '2', "loop");
	add_link(&tar, "leaves", '2', "../../a");
	add_link(&tar, "dangling", '2', "none");
	end(&tar);
	err = ERR_INIT;
	CHECK_INT(read_index(f, &tar, &index, &err), 0);
	CHECK_STR(err.message, "");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct tar_member *member = NULL;

		err = ERR_INIT;
		CHECK_ROW(i, (tar_index_find(&index, rows[i].name, &member, &err) == 0) ==
				     (rows[i].size > 0));
		CHECK_INT(member ? member->size : 0, rows[i].size);
		CHECK_INT(err.kind, rows[i].size ? ERR_NONE : ERR_PROTOCOL);
		if (rows[i].message)
			CHECK_HAS(err.message, rows[i].message);
	}
}

static void test_damaged_tars(void **state)
{
	const struct oci_fixture *f = *state;
	AUTO_BUF good = BUF_INIT;
	static const size_t cuts[] = { 0, 1, 511, 512, 600, 1023 };
	struct err err;

	add_file(&good, "a", "1");
	for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
		AUTO_TAR_INDEX index = TAR_INDEX_INIT;
		AUTO_BUF tar = BUF_INIT;

		buf_add(&tar, span_of(good.ptr, cuts[i]));
		CHECK_ROW(i, read_index(f, &tar, &index, &err) == -EPROTO);
		CHECK_HAS(err.message, "no tar, or a damaged one");
	}
	for (size_t i = 0; i < 4; i++) {
		static const uint64_t sizes[] = { 513, 1ULL << 20, 077777777777, 1025 };
		AUTO_TAR_INDEX index = TAR_INDEX_INIT;
		AUTO_BUF tar = BUF_INIT;

		add_raw(&tar, "a", i == 3 ? 'x' : '0', "", sizes[i], span_str("1"));
		CHECK_ROW(i, read_index(f, &tar, &index, &err) == -EPROTO);
		CHECK_HAS(err.message, "beyond the end");
	}
	{
		AUTO_TAR_INDEX index = TAR_INDEX_INIT;

		good.ptr[3] ^= 1;
		end(&good);
		assert_true(read_index(f, &good, &index, &err) < 0);
		CHECK_HAS(err.message, "no header at byte 0");
	}
}

static void test_tar_limits(void **state)
{
	const struct oci_fixture *f = *state;

	for (size_t more = 0; more < 2; more++) {
		AUTO_TAR_INDEX members = TAR_INDEX_INIT, names = TAR_INDEX_INIT,
			       extras = TAR_INDEX_INIT;
		AUTO_BUF tar = BUF_INIT, name = BUF_INIT;
		struct err err = ERR_INIT;

		for (size_t i = 0; i < TAR_INDEX_MEMBERS_MAX + more; i++)
			add_file(&tar, "a", "");
		end(&tar);
		CHECK_INT(read_index(f, &tar, &members, &err), more ? -EOVERFLOW : 0);
		CHECK_INT(err.kind, more ? ERR_LIMIT : ERR_NONE);
		err = ERR_INIT;
		buf_clear(&tar);
		for (size_t i = 0; i < TAR_INDEX_NAME_MAX + more; i++)
			buf_add_byte(&name, 'n');
		add_raw(&tar, "L", 'L', "", name.len, buf_span(&name));
		add_file(&tar, "a", "");
		end(&tar);
		CHECK_INT(read_index(f, &tar, &names, &err), more ? -EOVERFLOW : 0);
		CHECK_INT(err.kind, more ? ERR_LIMIT : ERR_NONE);
		err = ERR_INIT;
		buf_clear(&tar);
		buf_clear(&name);
		while (name.len < 65536 + more)
			buf_add_byte(&name, '\0');
		add_raw(&tar, "K", 'K', "", name.len, buf_span(&name));
		add_file(&tar, "a", "");
		end(&tar);
		CHECK_INT(read_index(f, &tar, &extras, &err), more ? -EOVERFLOW : 0);
		CHECK_INT(err.kind, more ? ERR_LIMIT : ERR_NONE);
	}
}

/* --- docker-archives --- */

static void test_archive_manifests(void **state)
{
	static const struct {
		const char *text;
		enum err_kind error;
		const char *message;
	} rows[] = {
		{ "[{'Config':'c.json','RepoTags':['x:y'],'Layers':['a/layer.tar','b.tar']}]",
		  ERR_NONE, NULL },
		{ "[{'Config':'c','RepoTags':null,'Layers':['a'],'LayerSources':{}}]", ERR_NONE,
		  NULL },
		{ "[]", ERR_INVALID, "holds 0 images" },
		{ "[{},{}]", ERR_INVALID, "holds 2 images" },
		{ "{}", ERR_PROTOCOL, "not an array" },
		{ "[1]", ERR_PROTOCOL, "must be an object" },
		{ "[{'Layers':['a']}]", ERR_PROTOCOL, "'Config' is missing" },
		{ "[{'Config':1,'Layers':['a']}]", ERR_PROTOCOL, "'Config' must be a string" },
		{ "[{'Config':'c'}]", ERR_UNSUPPORTED, "the image has none" },
		{ "[{'Config':'c','Layers':[]}]", ERR_UNSUPPORTED, "the image has none" },
		{ "[{'Config':'c','Layers':'a'}]", ERR_PROTOCOL, "'Layers' must be an array" },
		{ "[{'Config':'c','Layers':['a',2]}]", ERR_PROTOCOL, "'Layers'" },
		{ "[{'Config':'c','Layers':['a']}", ERR_PROTOCOL, "JSON" },
		{ "[{'Config':'c','Config':'d','Layers':['a']}]", ERR_PROTOCOL, "duplicate" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_OCI_ARCHIVE_MANIFEST manifest = OCI_ARCHIVE_MANIFEST_INIT;
		AUTO_FREE char *text = oci_fixture_quoted(rows[i].text);
		struct err err = ERR_INIT;
		const int r = oci_archive_manifest_parse(span_str(text), &manifest, &err);

		CHECK_ROW(i, (r == 0) == (rows[i].error == ERR_NONE));
		CHECK_INT(err.kind, rows[i].error);
		CHECK_ROW(i, (manifest.config != NULL) == (r == 0));
		if (rows[i].message)
			CHECK_HAS(err.message, rows[i].message);
	}
}

#define LAYER_1	 "the first layer's bytes"
#define LAYER_2	 "the second"
#define MANIFEST "[{'Config':'c.json','Layers':['one.tar','two/layer.tar']}]"

/* An archive with a config of these diff_ids (two digests) and members. */
struct parts {
	const char *manifest;
	const char *layer_1, *layer_2;
	const char *diff_1, *diff_2; /* content that the diff_ids are of */
	const char *config_name;
};

static void make_archive(const struct oci_fixture *f, const struct parts *parts)
{
	struct oci_digest first, second;
	AUTO_BUF tar = BUF_INIT;
	AUTO_FREE char *config = NULL;
	struct err err;

	assert_int_equal(oci_digest_of(OCI_SHA256, span_str(parts->diff_1), &first, &err), 0);
	assert_int_equal(oci_digest_of(OCI_SHA256, span_str(parts->diff_2), &second, &err), 0);
	config = mem_printf("{'os':'linux','architecture':'amd64','rootfs':{'type':'layers',"
			    "'diff_ids':['%s','%s']}}",
			    first.text, second.text);
	if (parts->layer_1)
		add_raw(&tar, "one.tar", '0', "", strlen(parts->layer_1), span_str(parts->layer_1));
	add_raw(&tar, "real.tar", '0', "", strlen(parts->layer_2), span_str(parts->layer_2));
	add_link(&tar, "two/layer.tar", '2', "../real.tar");
	add_file(&tar, parts->config_name, config);
	if (parts->manifest)
		add_file(&tar, "manifest.json", parts->manifest);
	end(&tar);
	oci_fixture_put_bytes(f, "archive.tar", buf_span(&tar));
}

static int read_archive(const struct oci_fixture *f, struct oci_archive **archive,
			struct oci_manifest *manifest, struct buf *config, struct err *err)
{
	AUTO_FREE char *path = mem_printf("%s/archive.tar", f->dir);
	int r = oci_archive_open(path, NULL, archive, err);

	return r < 0 ? r : oci_archive_image(*archive, NULL, manifest, config, err);
}

static const struct parts good_parts = { .manifest = MANIFEST,
					 .layer_1 = LAYER_1,
					 .layer_2 = LAYER_2,
					 .diff_1 = LAYER_1,
					 .diff_2 = LAYER_2,
					 .config_name = "c.json" };

static void test_archive(void **state)
{
	const struct oci_fixture *f = *state;
	CLEANUP(oci_archive_freep) struct oci_archive *archive = NULL;
	CLEANUP(oci_blobs_freep) struct oci_blobs *blobs = NULL;
	AUTO_FREE char *cache = mem_printf("%s/cache", f->dir);
	AUTO_OCI_MANIFEST manifest = OCI_MANIFEST_INIT;
	static const char *const contents[] = { LAYER_1, LAYER_2 };
	AUTO_BUF config = BUF_INIT;
	struct err err = ERR_INIT;

	make_archive(f, &good_parts);
	CHECK_INT(read_archive(f, &archive, &manifest, &config, &err), 0);
	CHECK_INT(manifest.layer_count, 2);
	CHECK_INT(manifest.config.size, config.len);
	CHECK_INT(oci_digest_check(&manifest.config.digest, buf_span(&config), &err), 0);
	assert_int_equal(oci_blobs_open(cache, &blobs, &err), 0);
	for (size_t i = 0; i < 2; i++) {
		const struct oci_blob_source source = oci_archive_source(archive);
		AUTO_CLOSE int fd = -1;
		char got[64] = "";

		CHECK_INT(manifest.layers[i].compression, OCI_COMPRESSION_NONE);
		CHECK_INT(manifest.layers[i].descriptor.size, strlen(contents[i]));
		CHECK_INT(oci_blobs_get(blobs, &manifest.layers[i].descriptor, &source, &fd, &err),
			  0);
		CHECK_INT(fd_read_some(fd, got, sizeof(got) - 1), strlen(contents[i]));
		CHECK_STR(got, contents[i]);
	}
}

/* Layers that docker keeps compressed: their own digest is made, their diff_id is another. */
static void test_archive_compressed_layer(void **state)
{
	const struct oci_fixture *f = *state;
	struct parts parts = good_parts;
	CLEANUP(oci_archive_freep) struct oci_archive *archive = NULL;
	AUTO_OCI_MANIFEST manifest = OCI_MANIFEST_INIT;
	AUTO_BUF config = BUF_INIT;
	struct err err = ERR_INIT;

	parts.layer_1 = "\x1f\x8b gzip, or so it begins";
	parts.layer_2 = "\x28\xb5\x2f\xfd";
	make_archive(f, &parts);
	CHECK_INT(read_archive(f, &archive, &manifest, &config, &err), 0);
	CHECK_INT(manifest.layers[0].compression, OCI_COMPRESSION_GZIP);
	CHECK_INT(manifest.layers[1].compression, OCI_COMPRESSION_ZSTD);
	CHECK_INT(oci_digest_check(&manifest.layers[0].descriptor.digest, span_str(parts.layer_1),
				   &err),
		  0);
	CHECK_INT(oci_digest_check(&manifest.layers[1].descriptor.digest, span_str(parts.layer_2),
				   &err),
		  0);
}

static void test_bad_archives(void **state)
{
	static const struct {
		struct parts parts;
		enum err_kind error;
		const char *message;
	} rows[] = {
		{ { NULL, LAYER_1, LAYER_2, LAYER_1, LAYER_2, "c.json" },
		  ERR_PROTOCOL,
		  "there is no 'manifest.json'" },
		{ { MANIFEST, LAYER_1, LAYER_2, LAYER_1, LAYER_2, "d.json" },
		  ERR_PROTOCOL,
		  "there is no 'c.json'" },
		{ { MANIFEST, NULL, LAYER_2, LAYER_1, LAYER_2, "c.json" },
		  ERR_PROTOCOL,
		  "layer 1: there is no 'one.tar'" },
		{ { MANIFEST, LAYER_1, "", LAYER_1, LAYER_2, "c.json" },
		  ERR_PROTOCOL,
		  "layer 2: it is empty" },
		{ { MANIFEST, LAYER_1, "BZh9", LAYER_1, LAYER_2, "c.json" },
		  ERR_UNSUPPORTED,
		  "layer 2: a layer compressed with bzip2" },
		{ { "[{'Config':'c.json','Layers':['one.tar']}]", LAYER_1, LAYER_2, LAYER_1,
		    LAYER_2, "c.json" },
		  ERR_PROTOCOL,
		  "there are 1 layers, but 2 diff_ids" },
		{ { "[{'Config':'" A64 ".json','Layers':['one.tar','real.tar']}]", LAYER_1, LAYER_2,
		    LAYER_1, LAYER_2, A64 ".json" },
		  ERR_PROTOCOL,
		  "has the digest sha256:" },
		{ { "[{'Config':'c.json','Layers':['../one.tar','real.tar']}]", LAYER_1, LAYER_2,
		    LAYER_1, LAYER_2, "c.json" },
		  ERR_PROTOCOL,
		  "leaves the archive" },
		{ { "[{'Config':'real.tar','Layers':['one.tar','real.tar']}]", LAYER_1, LAYER_2,
		    LAYER_1, LAYER_2, "c.json" },
		  ERR_PROTOCOL,
		  "the config 'real.tar': JSON" },
	};
	const struct oci_fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(oci_archive_freep) struct oci_archive *archive = NULL;
		AUTO_OCI_MANIFEST manifest = OCI_MANIFEST_INIT;
		AUTO_BUF config = BUF_INIT;
		struct err err = ERR_INIT;

		make_archive(f, &rows[i].parts);
		CHECK_ROW(i, (read_archive(f, &archive, &manifest, &config, &err) == 0) ==
				     (rows[i].error == ERR_NONE));
		CHECK_INT(err.kind, rows[i].error);
		if (rows[i].message)
			CHECK_HAS(err.message, rows[i].message);
	}
}

/* A layer that is not what the config says is found when it is copied, and is not kept. */
static void test_archive_wrong_layer(void **state)
{
	const struct oci_fixture *f = *state;
	struct parts parts = good_parts;
	CLEANUP(oci_archive_freep) struct oci_archive *archive = NULL;
	CLEANUP(oci_blobs_freep) struct oci_blobs *blobs = NULL;
	AUTO_FREE char *cache = mem_printf("%s/cache", f->dir);
	AUTO_OCI_MANIFEST manifest = OCI_MANIFEST_INIT;
	struct oci_blob_source source;
	AUTO_BUF config = BUF_INIT;
	struct err err = ERR_INIT;
	int fd = -1;

	parts.diff_2 = "something else";
	make_archive(f, &parts);
	CHECK_INT(read_archive(f, &archive, &manifest, &config, &err), 0);
	source = oci_archive_source(archive);
	assert_int_equal(oci_blobs_open(cache, &blobs, &err), 0);
	CHECK_INT(oci_blobs_get(blobs, &manifest.layers[1].descriptor, &source, &fd, &err),
		  -EPROTO);
	CHECK_HAS(err.message, "has the digest sha256:");
	CHECK_INT(fd, -1);
}

static void test_no_archives(void **state)
{
	static const struct {
		const char *bytes, *message, *hint;
		enum err_kind error;
	} rows[] = {
		{ "\x1f\x8b\x08", "is compressed with gzip", "gzip -d", ERR_UNSUPPORTED },
		{ "\x28\xb5\x2f\xfd", "is compressed with zstd", "zstd -d", ERR_UNSUPPORTED },
		{ "\xfd"
		  "7zXZ",
		  "no tar", "", ERR_PROTOCOL },
		{ "", "no tar", "", ERR_PROTOCOL },
		{ "hello", "no tar", "", ERR_PROTOCOL },
	};
	const struct oci_fixture *f = *state;
	AUTO_FREE char *path = mem_printf("%s/archive.tar", f->dir);
	CLEANUP(oci_archive_freep) struct oci_archive *archive = NULL;
	struct err err = ERR_INIT;

	assert_true(oci_archive_open(path, NULL, &archive, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	assert_true(oci_archive_open(f->dir, NULL, &archive, &err) < 0);
	CHECK_INT(err.kind, ERR_INVALID);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		err = ERR_INIT;
		oci_fixture_put_bytes(f, "archive.tar", span_str(rows[i].bytes));
		CHECK_ROW(i, oci_archive_open(path, NULL, &archive, &err) < 0);
		CHECK_INT(err.kind, rows[i].error);
		CHECK_HAS(err.message, rows[i].message);
		CHECK_HAS(err.hint, rows[i].hint);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_layout_files, oci_fixture_setup,
						oci_fixture_teardown),
		cmocka_unit_test_setup_teardown(test_layout_tags, oci_fixture_setup,
						oci_fixture_teardown),
		cmocka_unit_test_setup_teardown(test_layout_blobs, oci_fixture_setup,
						oci_fixture_teardown),
		cmocka_unit_test_setup_teardown(test_layout_links, oci_fixture_setup,
						oci_fixture_teardown),
		cmocka_unit_test_setup_teardown(test_tar_members, oci_fixture_setup,
						oci_fixture_teardown),
		cmocka_unit_test_setup_teardown(test_damaged_tars, oci_fixture_setup,
						oci_fixture_teardown),
		cmocka_unit_test_setup_teardown(test_tar_limits, oci_fixture_setup,
						oci_fixture_teardown),
		cmocka_unit_test(test_archive_manifests),
		cmocka_unit_test_setup_teardown(test_archive, oci_fixture_setup,
						oci_fixture_teardown),
		cmocka_unit_test_setup_teardown(test_archive_compressed_layer, oci_fixture_setup,
						oci_fixture_teardown),
		cmocka_unit_test_setup_teardown(test_bad_archives, oci_fixture_setup,
						oci_fixture_teardown),
		cmocka_unit_test_setup_teardown(test_archive_wrong_layer, oci_fixture_setup,
						oci_fixture_teardown),
		cmocka_unit_test_setup_teardown(test_no_archives, oci_fixture_setup,
						oci_fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
