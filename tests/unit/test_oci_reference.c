/* What users type to mean an image: accepted, refused, printed again, and named. */
#include "check.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "oci/reference.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define SHA   "sha256:" HEX64

static void test_accepted(void **state)
{
	static const struct {
		const char *text, *full, *wanted, *name;
	} rows[] = {
		{ "alpine", "docker.io/library/alpine:latest", "latest", "alpine-latest" },
		{ "alpine:3.20", "docker.io/library/alpine:3.20", "3.20", "alpine-3.20" },
		{ "docker.io/alpine", "docker.io/library/alpine:latest", "latest",
		  "alpine-latest" },
		{ "docker.io/library/alpine:3.20", "docker.io/library/alpine:3.20", "3.20",
		  "alpine-3.20" },
		{ "index.docker.io/a/b:c", "docker.io/a/b:c", "c", "b-c" },
		{ "Docker.IO/a", "docker.io/library/a:latest", "latest", "a-latest" },
		{ "org/img", "docker.io/org/img:latest", "latest", "img-latest" },
		{ "ghcr.io/org/img@" SHA, "ghcr.io/org/img@" SHA, SHA, "img-sha256-0123456789ab" },
		{ "ghcr.io/org/img:v1@" SHA, "ghcr.io/org/img:v1@" SHA, SHA, "img-v1" },
		{ "a@sha512:" HEX64 HEX64, "docker.io/library/a@sha512:" HEX64 HEX64,
		  "sha512:" HEX64 HEX64, "a-sha512-0123456789ab" },
		{ "127.0.0.1:5000/x:y", "127.0.0.1:5000/x:y", "y", "x-y" },
		{ "localhost/x", "localhost/x:latest", "latest", "x-latest" },
		{ "localhost:1/x", "localhost:1/x:latest", "latest", "x-latest" },
		{ "[::1]:5000/a/b/c:T_1.-", "[::1]:5000/a/b/c:T_1.-", "T_1.-", "c-T_1.-" },
		{ "[fd00::1]/a", "[fd00::1]/a:latest", "latest", "a-latest" },
		{ "REG:5000/x", "reg:5000/x:latest", "latest", "x-latest" },
		{ "a.b/a-b--c_d__e.f", "a.b/a-b--c_d__e.f:latest", "latest",
		  "a-b--c_d__e.f-latest" },
		{ "oci:/dir/img", "oci:/dir/img", NULL, "img" },
		{ "oci:dir:tag", "oci:dir:tag", "tag", "dir-tag" },
		{ "oci:/a:b/dir/:tag", "oci:/a:b/dir/:tag", "tag", "dir-tag" },
		{ "oci:..", "oci:..", NULL, NULL },
		{ "oci:/", "oci:/", NULL, NULL },
		{ "oci:/a b", "oci:/a b", NULL, NULL },
		{ "docker-archive:/a/my.tar", "docker-archive:/a/my.tar", NULL, "my" },
		{ "docker-archive:my.tar.gz", "docker-archive:my.tar.gz", NULL, "my.tar.gz" },
		{ "docker-archive:/a/.tar", "docker-archive:/a/.tar", NULL, NULL },
		{ "docker-archive:a:b", "docker-archive:a:b", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_OCI_REFERENCE reference = OCI_REFERENCE_INIT;
		AUTO_BUF full = BUF_INIT;
		AUTO_FREE char *name = NULL;
		struct err err = ERR_INIT;

		CHECK_ROW(i, oci_reference_parse(rows[i].text, &reference, &err) == 0);
		oci_reference_to_text(&reference, &full);
		CHECK_STR(full.ptr, rows[i].full);
		CHECK_ROW(i, str_eq(oci_reference_wanted(&reference), rows[i].wanted));
		if (rows[i].name) {
			CHECK_ROW(i, oci_reference_image_name(&reference, &name, &err) == 0);
			CHECK_STR(name, rows[i].name);
		} else {
			CHECK_ROW(i, oci_reference_image_name(&reference, &name, &err) < 0);
			CHECK_HAS(err.message, "makes no image name");
			assert_null(name);
		}
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ "", "it is empty" },
		{ "Alpine", "a repository is" },
		{ "a b", "a repository is" },
		{ "Host/a", "a repository is" },
		{ "a/", "a repository is" },
		{ "/a", "a repository is" },
		{ "a//b", "a repository is" },
		{ "a/../b", "a repository is" },
		{ "../a", "no HOST" },
		{ "./a", "no HOST" },
		{ "-a", "a repository is" },
		{ "a-", "a repository is" },
		{ "a..b", "a repository is" },
		{ "a___b", "a repository is" },
		{ "a._b", "a repository is" },
		{ "a\nb", "a repository is" },
		{ "\xc3\xa4", "a repository is" },
		{ ":x", "a repository is" },
		{ "@" SHA, "a repository is" },
		{ "a:", "a tag is" },
		{ "a:.b", "a tag is" },
		{ "a:-b", "a tag is" },
		{ "a:b:c", "a repository is" },
		{ "a:b/c", "no HOST" },
		{ "a:0/c", "no HOST" },
		{ "a:65536/c", "no HOST" },
		{ "a:05/c", "no HOST" },
		{ ":5/c", "no HOST" },
		{ "a.-b/c", "no HOST" },
		{ "a..b/c", "no HOST" },
		{ ".a/c", "no HOST" },
		{ "a./c", "no HOST" },
		{ "u@h.example/c", "no digest" },
		{ "[::1/c", "no HOST" },
		{ "[]/c", "no HOST" },
		{ "[::1]x/c", "no HOST" },
		{ "[::1]:/c", "no HOST" },
		{ "a@", "no digest" },
		{ "a@sha256:abc", "no digest" },
		{ "a@SHA256:" HEX64, "no digest" },
		{ "a@sha256:" HEX64 "0", "no digest" },
		{ "a@" SHA "@" SHA, "no digest" },
		{ "a@md5:0123456789abcdef0123456789abcdef", "no digest" },
		{ "Oci:50/r", "cannot be told from a transport" },
		{ "DIR:50/r", "cannot be told from a transport" },
		{ "oci:", "it names no folder" },
		{ "oci::tag", "it names no folder" },
		{ "oci:/a:", "no tag" },
		{ "oci:/a:b c", "no tag" },
		{ "oci:/a\n", "it names no folder" },
		{ "docker-archive:", "it names no file" },
		{ "docker-archive:a\x1b", "it names no file" },
		{ "docker://alpine", "write HOST/NAME:TAG" },
		{ "https://a/b", "write HOST/NAME:TAG" },
		{ "dir:/a", "write HOST/NAME:TAG" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct oci_reference reference = { .path = NULL };
		struct err err = ERR_INIT;

		CHECK_ROW(i, oci_reference_parse(rows[i].text, &reference, &err) < 0);
		CHECK_ROW(i, err.kind == ERR_INVALID);
		CHECK_HAS(err.message, rows[i].why);
		CHECK_ROW(i, !reference.repository && !reference.tag && !reference.digest);
	}
}

/* `head`, then so many 'a' that the part is `count` long, then `tail`. */
static bool accepts(const char *head, size_t count, const char *tail)
{
	AUTO_OCI_REFERENCE reference = OCI_REFERENCE_INIT;
	AUTO_BUF text = BUF_INIT;
	struct err err = ERR_INIT;

	buf_add_str(&text, head);
	while (count-- > 0)
		buf_add_byte(&text, 'a');
	buf_add_str(&text, tail);
	return oci_reference_parse(text.ptr, &reference, &err) == 0;
}

static void test_limits(void **state)
{
	(void)state;
	assert_true(accepts("a:", OCI_TAG_BYTES_MAX, ""));
	assert_false(accepts("a:", OCI_TAG_BYTES_MAX + 1, ""));
	assert_true(accepts("h.io/", OCI_REPOSITORY_BYTES_MAX, ""));
	assert_false(accepts("h.io/", OCI_REPOSITORY_BYTES_MAX + 1, ""));
	assert_true(accepts("", OCI_REPOSITORY_BYTES_MAX - 8, "")); /* "library/" is put in front */
	assert_false(accepts("", OCI_REPOSITORY_BYTES_MAX - 7, ""));
	assert_true(accepts("", 256, ":5000/x"));
	assert_false(accepts("", 257, ":5000/x"));
	assert_true(accepts("oci:/", OCI_REFERENCE_BYTES_MAX - 5, ""));
	assert_false(accepts("oci:/", OCI_REFERENCE_BYTES_MAX - 4, ""));
}

static void test_looks_like_one(void **state)
{
	static const struct {
		const char *text;
		bool wanted;
	} rows[] = {
		{ "debian-bookworm", false },
		{ "alpine", false },
		{ "alpine:3", true },
		{ "a/b", true },
		{ "a@sha256:x", true },
		{ "oci:x", true },
		{ "", false },
		{ "a.b_c-d", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i, oci_reference_looks_like_one(rows[i].text) == rows[i].wanted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_looks_like_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
