#include "oci_fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "check.h"

static int count_one(void *context, const char *name)
{
	size_t *count = context;

	(void)name;
	(*count)++;
	return 0;
}

static size_t count_fds(void)
{
	AUTO_CLOSE int fd = dir_open("/proc/self/fd");
	size_t count = 0;

	assert_int_equal(dir_each(fd, count_one, &count), 0);
	return count;
}

int oci_fixture_setup(void **state)
{
	struct oci_fixture *f = mem_alloc(1, sizeof(*f));
	char name[] = "/tmp/oci-XXXXXX";

	assert_non_null(mkdtemp(name));
	f->dir = mem_strdup(name);
	f->fd_count = count_fds();
	*state = f;
	return 0;
}

int oci_fixture_teardown(void **state)
{
	struct oci_fixture *f = *state;

	CHECK_INT(count_fds(), f->fd_count);
	assert_int_equal(dir_remove_tree(AT_FDCWD, f->dir), 0);
	mem_free(f->dir);
	mem_free(f);
	return 0;
}

char *oci_fixture_quoted(const char *text)
{
	char *copy = mem_strdup(text);

	for (char *at = copy; *at != '\0'; at++)
		*at = *at == '\'' ? '"' : *at;
	return copy;
}

void oci_fixture_put_bytes(const struct oci_fixture *f, const char *name, struct span bytes)
{
	AUTO_FREE char *path = mem_printf("%s/%s", f->dir, name);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, bytes), 0);
}

void oci_fixture_put(const struct oci_fixture *f, const char *name, const char *text)
{
	AUTO_FREE char *json = oci_fixture_quoted(text);

	oci_fixture_put_bytes(f, name, span_str(json));
}

void oci_fixture_make_layout(const struct oci_fixture *f)
{
	AUTO_FREE char *path = mem_printf("%s/blobs/sha256", f->dir);

	assert_int_equal(dir_make_path(path, 0700), 0);
	oci_fixture_put(f, "oci-layout", "{'imageLayoutVersion':'1.0.0'}");
	oci_fixture_put(f, "index.json", "{'schemaVersion':2,'manifests':[]}");
}

struct oci_descriptor oci_fixture_put_blob(const struct oci_fixture *f, struct span bytes)
{
	struct oci_descriptor blob = { .size = bytes.len };
	AUTO_FREE char *name = NULL;
	struct err err;

	assert_int_equal(oci_digest_of(OCI_SHA256, bytes, &blob.digest, &err), 0);
	name = mem_printf("blobs/sha256/%s", oci_digest_hex(&blob.digest));
	oci_fixture_put_bytes(f, name, bytes);
	return blob;
}

struct oci_descriptor oci_fixture_put_json(const struct oci_fixture *f, const char *text)
{
	AUTO_FREE char *json = oci_fixture_quoted(text);

	return oci_fixture_put_blob(f, span_str(json));
}
