#include "oci/layout.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "oci/document.h"
#include "oci/verify.h"

#define VERSION_BYTES_MAX   4096 /* of the file oci-layout */
#define SHOWN_TAGS_MAX	    8
#define SHOWN_TAG_BYTES_MAX 64

struct oci_layout {
	char *path; /* owned */
	int dir_fd; /* owned */
	struct oci_index index;
};

/*
 * Opens a regular file below a folder, name by name, so that no link leads anywhere else. *ret_size
 * is its size.
 */
static int open_below(int dir_fd, const char *const *names, size_t count, uint64_t *ret_size)
{
	AUTO_CLOSE int at = -1;
	AUTO_CLOSE int fd = -1;
	struct stat status;

	for (size_t i = 0; i + 1 < count; i++) {
		const int next = dir_open_at(i == 0 ? dir_fd : at, names[i]);

		fd_assign(&at, next);
		if (next < 0)
			return next;
	}
	/* Non-blocking, so that a FIFO cannot hold us up before fstat() has seen it. */
	fd = openat(count > 1 ? at : dir_fd, names[count - 1],
		    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	*ret_size = (uint64_t)status.st_size;
	return TAKE_FD(fd);
}

/* Appends all of a file that has at most `size_max` bytes. */
static int read_all(int fd, uint64_t size_max, struct buf *ret)
{
	const size_t begin = ret->len;

	for (;;) {
		ssize_t n;

		buf_reserve(ret, 4096);
		n = fd_read_some(fd, ret->ptr + ret->len, ret->cap - ret->len - 1);
		if (n <= 0)
			return (int)n;
		buf_advance(ret, (size_t)n);
		if (ret->len - begin > size_max)
			return -EFBIG;
	}
}

static int read_file(const struct oci_layout *layout, const char *name, uint64_t size_max,
		     struct buf *ret, struct err *err)
{
	uint64_t size = 0;
	AUTO_CLOSE int fd = open_below(layout->dir_fd, &name, 1, &size);
	int r = fd < 0 ? fd : 0;

	if (r == -ENOENT)
		return err_set(err, ERR_INVALID, "'%s' is no image layout: it has no '%s'",
			       layout->path, name);
	if (r == 0)
		r = size > size_max ? -EFBIG : read_all(fd, size_max, ret);
	if (r == -EFBIG)
		return err_set(err, ERR_LIMIT, "'%s/%s' has more than %llu bytes", layout->path,
			       name, (unsigned long long)size_max);
	return r < 0 ? err_sys(err, r, "read '%s/%s'", layout->path, name) : 0;
}

static int check_version(struct span text, struct err *err)
{
	AUTO_JSON *json = NULL;
	const char *version = NULL;
	int r = document_read_object(text, VERSION_BYTES_MAX, &json, err);

	if (r == 0)
		r = document_string(json, "imageLayoutVersion", OCI_SHORT_BYTES_MAX, &version, err);
	if (r == 0)
		r = document_need(version, "imageLayoutVersion", err);
	if (r < 0)
		return r;
	return str_eq(version, "1.0.0")
		       ? 0
		       : err_set(err, ERR_UNSUPPORTED, "field 'imageLayoutVersion' is not '1.0.0'");
}

static int read_layout(struct oci_layout *layout, struct err *err)
{
	AUTO_BUF version = BUF_INIT, index = BUF_INIT;
	int r;

	layout->dir_fd = dir_open(layout->path);
	if (layout->dir_fd == -ENOENT)
		return err_set(err, ERR_NOT_FOUND, "there is no folder '%s'", layout->path);
	if (layout->dir_fd == -ENOTDIR)
		return err_set(err, ERR_INVALID, "'%s' is not a folder", layout->path);
	if (layout->dir_fd < 0)
		return err_sys(err, layout->dir_fd, "open '%s'", layout->path);
	r = read_file(layout, "oci-layout", VERSION_BYTES_MAX, &version, err);
	if (r < 0)
		return r;
	r = check_version(buf_span(&version), err);
	if (r < 0)
		return err_context(err, r, "'%s/oci-layout'", layout->path);
	r = read_file(layout, "index.json", OCI_MANIFEST_BYTES_MAX, &index, err);
	if (r < 0)
		return r;
	r = oci_index_parse(buf_span(&index), &layout->index, err);
	return r < 0 ? err_context(err, r, "'%s/index.json'", layout->path) : 0;
}

int oci_layout_open(const char *path, struct oci_layout **ret, struct err *err)
{
	CLEANUP(oci_layout_freep) struct oci_layout *layout = mem_alloc(1, sizeof(*layout));
	int r;

	layout->path = mem_strdup(path);
	layout->dir_fd = -1;
	r = read_layout(layout, err);
	if (r == 0)
		*ret = TAKE_PTR(layout);
	return r;
}

void oci_layout_free(struct oci_layout *layout)
{
	if (!layout)
		return;
	fd_close(layout->dir_fd);
	oci_index_done(&layout->index);
	mem_free(layout->path);
	mem_free(layout);
}

static void list_tags(const struct oci_layout *layout, struct buf *out)
{
	size_t shown = 0;

	for (size_t i = 0; i < layout->index.count; i++) {
		const char *tag = layout->index.entries[i].ref_name;

		if (!tag)
			continue;
		if (shown++ == SHOWN_TAGS_MAX) {
			buf_add_str(out, ", ...");
			return;
		}
		buf_addf(out, "%s'%.*s'", out->len ? ", " : "", SHOWN_TAG_BYTES_MAX, tag);
	}
	if (out->len == 0)
		buf_add_str(out, "none");
}

/* Whether an entry is of an image with this tag; without a tag (NULL) all are. */
static bool has_tag(const struct oci_index_entry *entry, const char *tag)
{
	return entry->kind != OCI_KIND_OTHER && (!tag || str_eq(entry->ref_name, tag));
}

/* Chooses among entries of one image. `found` lists them; their strings are the layout's. */
static int choose(const struct oci_layout *layout, const struct oci_index *found,
		  const size_t *places, const struct oci_platform *platform,
		  const struct oci_index_entry **ret, struct err *err)
{
	const struct oci_index_entry *entry = &found->entries[0];
	int r;

	if (found->count > 1) {
		r = oci_index_select(found, platform, &entry, err);
		if (r < 0)
			return err_context(err, r, "'%s'", layout->path);
	}
	*ret = &layout->index.entries[places[entry - found->entries]];
	return 0;
}

/* Without a tag: whether the entries could be of different images. */
static bool is_ambiguous(const struct oci_index *found)
{
	for (size_t i = 1; i < found->count; i++) {
		const struct oci_index_entry *a = &found->entries[0], *b = &found->entries[i];

		if (!str_eq(a->ref_name, b->ref_name) &&
		    !oci_digest_eq(&a->descriptor.digest, &b->descriptor.digest))
			return true;
	}
	return false;
}

int oci_layout_find(const struct oci_layout *layout, const char *tag,
		    const struct oci_platform *platform, const struct oci_index_entry **ret,
		    struct err *err)
{
	const size_t count = layout->index.count;
	AUTO_FREE struct oci_index_entry *entries = mem_alloc(count + 1, sizeof(*entries));
	AUTO_FREE size_t *places = mem_alloc(count + 1, sizeof(*places));
	struct oci_index found = { .entries = entries };
	AUTO_BUF tags = BUF_INIT;

	for (size_t i = 0; i < count; i++) {
		if (!has_tag(&layout->index.entries[i], tag))
			continue;
		places[found.count] = i;
		entries[found.count++] = layout->index.entries[i];
	}
	list_tags(layout, &tags);
	if (found.count == 0 && tag)
		return err_set(err, ERR_NOT_FOUND, "'%s' has no tag '%.*s'; its tags: %s",
			       layout->path, SHOWN_TAG_BYTES_MAX, tag, tags.ptr);
	if (found.count == 0)
		return err_set(err, ERR_NOT_FOUND, "'%s' has no image", layout->path);
	if (!tag && is_ambiguous(&found))
		return err_set(err, ERR_INVALID, "'%s' has several images, say which tag of: %s",
			       layout->path, tags.ptr);
	return choose(layout, &found, places, platform, ret, err);
}

/* Opens a blob of the right size. */
static int open_blob(const struct oci_layout *layout, const struct oci_descriptor *blob,
		     int *ret_fd, struct err *err)
{
	const char *const names[] = { "blobs", oci_algorithm_name(blob->digest.algorithm),
				      oci_digest_hex(&blob->digest) };
	uint64_t size = 0;
	const int fd = open_below(layout->dir_fd, names, ARRAY_LEN(names), &size);

	if (fd < 0)
		return err_sys(err, fd, "open %s in '%s'", blob->digest.text, layout->path);
	if (size != blob->size) {
		fd_close(fd);
		return err_set(err, ERR_PROTOCOL, "%s in '%s' has %llu bytes, not %llu",
			       blob->digest.text, layout->path, (unsigned long long)size,
			       (unsigned long long)blob->size);
	}
	*ret_fd = fd;
	return 0;
}

int oci_layout_read(const struct oci_layout *layout, const struct oci_descriptor *blob,
		    uint64_t size_max, struct buf *ret, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	AUTO_BUF bytes = BUF_INIT;
	int r;

	if (blob->size > size_max)
		return err_set(err, ERR_LIMIT, "%s in '%s' has more than %llu bytes",
			       blob->digest.text, layout->path, (unsigned long long)size_max);
	r = open_blob(layout, blob, &fd, err);
	if (r < 0)
		return r;
	r = read_all(fd, size_max, &bytes);
	if (r < 0)
		return err_sys(err, r, "read %s in '%s'", blob->digest.text, layout->path);
	r = oci_digest_check(&blob->digest, buf_span(&bytes), err);
	if (r < 0)
		return err_context(err, r, "%s in '%s'", blob->digest.text, layout->path);
	buf_add(ret, buf_span(&bytes));
	return 0;
}

int oci_layout_open_blob(const struct oci_layout *layout, const struct oci_descriptor *blob,
			 const struct cancel *cancel, const struct progress *progress, int *ret_fd,
			 struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r = open_blob(layout, blob, &fd, err);

	if (r < 0)
		return r;
	r = oci_verify_file(fd, blob, "verify", cancel, progress, err);
	if (r < 0)
		return err_context(err, r, "%s in '%s'", blob->digest.text, layout->path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
