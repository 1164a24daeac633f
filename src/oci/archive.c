#include "oci/archive.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "oci/tar_index.h"

#define COPY_CHUNK_BYTES 131072
#define SHOWN_NAME_MAX	 160

/* Where a layer's bytes are. */
struct range {
	struct oci_digest digest;
	uint64_t offset;
	uint64_t size;
};

struct oci_archive {
	char *path; /* owned */
	int fd;	    /* owned */
	struct tar_index index;
	struct range *ranges; /* owned; made by oci_archive_image() */
	size_t range_count;
};

static const struct {
	const char *name;
	const char *command;
	uint8_t magic[6];
	size_t size;
} compressions[] = {
	{ "gzip", "gzip -d", { 0x1f, 0x8b }, 2 },
	{ "zstd", "zstd -d", { 0x28, 0xb5, 0x2f, 0xfd }, 4 },
	{ "xz", "xz -d", { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6 },
	{ "bzip2", "bzip2 -d", { 'B', 'Z', 'h' }, 3 },
};

/* Index in `compressions` of what begins like this, or -1. */
static int find_compression(struct span beginning)
{
	for (size_t i = 0; i < ARRAY_LEN(compressions); i++) {
		if (beginning.len >= compressions[i].size &&
		    memcmp(beginning.ptr, compressions[i].magic, compressions[i].size) == 0)
			return (int)i;
	}
	return -1;
}

/* At most `size` bytes at an offset: less at the end of the file. */
static ssize_t read_at(int fd, void *into, size_t size, uint64_t offset)
{
	ssize_t n;

	do
		n = pread(fd, into, size, (off_t)offset);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int open_file(struct oci_archive *archive, struct err *err)
{
	uint8_t beginning[sizeof(compressions[0].magic)];
	struct stat status;
	ssize_t n;
	int found;

	/* Non-blocking, so that a FIFO cannot hold us up before fstat() has seen it. */
	archive->fd = open(archive->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (archive->fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return err_set(err, ERR_NOT_FOUND, "there is no file '%s'", archive->path);
	if (archive->fd < 0 || fstat(archive->fd, &status) < 0)
		return err_sys(err, -errno, "open '%s'", archive->path);
	if (!S_ISREG(status.st_mode))
		return err_set(err, ERR_INVALID, "'%s' is not a file", archive->path);
	n = read_at(archive->fd, beginning, sizeof(beginning), 0);
	if (n < 0)
		return err_sys(err, (int)n, "read '%s'", archive->path);
	found = find_compression(span_of(beginning, (size_t)n));
	if (found < 0)
		return 0;
	n = err_set(err, ERR_UNSUPPORTED, "'%s' is compressed with %s", archive->path,
		    compressions[found].name);
	err_hint(err, "decompress it first: %s", compressions[found].command);
	return (int)n;
}

int oci_archive_open(const char *path, const struct cancel *cancel, struct oci_archive **ret,
		     struct err *err)
{
	CLEANUP(oci_archive_freep) struct oci_archive *archive = mem_alloc(1, sizeof(*archive));
	int r;

	archive->path = mem_strdup(path);
	archive->fd = -1;
	r = open_file(archive, err);
	if (r < 0)
		return r;
	r = tar_index_read(archive->fd, cancel, &archive->index, err);
	if (r < 0)
		return err_context(err, r, "'%s'", path);
	*ret = TAKE_PTR(archive);
	return 0;
}

void oci_archive_free(struct oci_archive *archive)
{
	if (!archive)
		return;
	fd_close(archive->fd);
	tar_index_done(&archive->index);
	mem_free(archive->path);
	mem_free(archive->ranges);
	mem_free(archive);
}

/* Gives the bytes of a range to a sink. */
static int send_range(const struct oci_archive *archive, const struct range *range, uint64_t done,
		      const struct cancel *cancel, const struct fetch_sink *sink, struct err *err)
{
	AUTO_FREE uint8_t *chunk = mem_alloc(COPY_CHUNK_BYTES, 1);

	while (done < range->size) {
		const uint64_t left = range->size - done;
		const ssize_t n = read_at(archive->fd, chunk,
					  left < COPY_CHUNK_BYTES ? (size_t)left : COPY_CHUNK_BYTES,
					  range->offset + done);
		int r;

		if (n < 0)
			return err_sys(err, (int)n, "read '%s'", archive->path);
		if (n == 0)
			return err_set(err, ERR_PROTOCOL, "'%s' became shorter", archive->path);
		r = cancel_check(cancel, err);
		if (r == 0)
			r = sink->take(sink->context, span_of(chunk, (size_t)n), err);
		if (r < 0)
			return r;
		done += (uint64_t)n;
	}
	return 0;
}

static int append(void *context, struct span bytes, struct err *err)
{
	(void)err;
	buf_add(context, bytes);
	return 0;
}

/* Appends a whole member of at most `size_max` bytes. */
static int read_small(const struct oci_archive *archive, const char *name, uint64_t size_max,
		      struct buf *ret, struct err *err)
{
	const struct tar_member *member = NULL;
	const struct fetch_sink sink = { .take = append, .context = ret };
	struct range range = { .size = 0 };
	int r = tar_index_find(&archive->index, name, &member, err);

	if (r < 0)
		return r;
	if (member->size > size_max)
		return err_set(err, ERR_LIMIT, "'%.*s' has more than %llu bytes", SHOWN_NAME_MAX,
			       name, (unsigned long long)size_max);
	range.offset = member->offset;
	range.size = member->size;
	return send_range(archive, &range, 0, NULL, &sink, err);
}

static int hash(void *context, struct span bytes, struct err *err)
{
	return oci_hasher_add(context, bytes, err);
}

/*
 * What a layer is: an uncompressed one has its diff_id for a digest (which is verified when it is
 * copied), for a compressed one it is made here.
 */
static int describe_layer(const struct oci_archive *archive, const struct oci_digest *diff_id,
			  const struct cancel *cancel, struct range *range, struct oci_layer *ret,
			  struct err *err)
{
	uint8_t beginning[sizeof(compressions[0].magic)];
	AUTO_OCI_HASHER hasher = OCI_HASHER_INIT;
	const struct fetch_sink sink = { .take = hash, .context = &hasher };
	const size_t wanted =
		range->size < sizeof(beginning) ? (size_t)range->size : sizeof(beginning);
	const ssize_t n = read_at(archive->fd, beginning, wanted, range->offset);
	int found, r;

	if (n < 0)
		return err_sys(err, (int)n, "read");
	found = find_compression(span_of(beginning, (size_t)n));
	if (found > 1)
		return err_set(err, ERR_UNSUPPORTED, "a layer compressed with %s is not read",
			       compressions[found].name);
	range->digest = *diff_id;
	ret->compression = OCI_COMPRESSION_NONE;
	if (found >= 0) {
		ret->compression = found == 0 ? OCI_COMPRESSION_GZIP : OCI_COMPRESSION_ZSTD;
		r = oci_hasher_begin(&hasher, OCI_SHA256, err);
		if (r == 0)
			r = send_range(archive, range, 0, cancel, &sink, err);
		if (r == 0)
			r = oci_hasher_finish(&hasher, &range->digest, err);
		if (r < 0)
			return r;
	}
	ret->descriptor = (struct oci_descriptor){ .digest = range->digest, .size = range->size };
	return 0;
}

static int find_layers(struct oci_archive *archive, const struct oci_archive_manifest *names,
		       const struct oci_config *config, const struct cancel *cancel,
		       struct oci_manifest *manifest, struct err *err)
{
	const size_t count = names->layers.count;

	if (config->diff_id_count != count)
		return err_set(err, ERR_PROTOCOL, "there are %zu layers, but %zu diff_ids", count,
			       config->diff_id_count);
	mem_free(archive->ranges);
	archive->ranges = mem_alloc(count, sizeof(*archive->ranges));
	archive->range_count = count;
	manifest->layers = mem_alloc(count, sizeof(*manifest->layers));
	manifest->layer_count = count;
	for (size_t i = 0; i < count; i++) {
		const struct tar_member *member = NULL;
		struct range *range = &archive->ranges[i];
		int r = tar_index_find(&archive->index, names->layers.items[i], &member, err);

		if (r == 0 && member->size == 0)
			r = err_set(err, ERR_PROTOCOL, "it is empty");
		if (r == 0) {
			*range = (struct range){ .offset = member->offset, .size = member->size };
			r = describe_layer(archive, &config->diff_ids[i], cancel, range,
					   &manifest->layers[i], err);
		}
		if (r < 0)
			return err_context(err, r, "layer %zu", i + 1);
	}
	return 0;
}

/* Docker names a config by its digest; where that is so, it must be true. */
static int check_config_name(const char *name, const struct oci_digest *digest, struct err *err)
{
	const char *slash = strrchr(name, '/');
	const char *base = slash ? slash + 1 : name;
	const size_t len = strcspn(base, ".");
	AUTO_FREE char *text = mem_printf("sha256:%.*s", (int)len, base);
	struct oci_digest named;

	if (len > OCI_DIGEST_TEXT_SIZE || !oci_digest_parse(span_str(text), &named) ||
	    oci_digest_eq(&named, digest))
		return 0;
	return err_set(err, ERR_PROTOCOL, "the config '%.*s' has the digest %s", SHOWN_NAME_MAX,
		       name, digest->text);
}

static int read_image(struct oci_archive *archive, const struct cancel *cancel,
		      struct oci_manifest *manifest, struct buf *config_text, struct err *err)
{
	AUTO_OCI_ARCHIVE_MANIFEST names = OCI_ARCHIVE_MANIFEST_INIT;
	AUTO_OCI_CONFIG config = OCI_CONFIG_INIT;
	AUTO_BUF text = BUF_INIT;
	int r = read_small(archive, "manifest.json", OCI_ARCHIVE_MANIFEST_BYTES_MAX, &text, err);

	if (r < 0)
		return r;
	r = oci_archive_manifest_parse(buf_span(&text), &names, err);
	if (r < 0)
		return err_context(err, r, "manifest.json");
	r = read_small(archive, names.config, OCI_CONFIG_BYTES_MAX, config_text, err);
	if (r == 0)
		r = oci_digest_of(OCI_SHA256, buf_span(config_text), &manifest->config.digest, err);
	if (r == 0)
		r = check_config_name(names.config, &manifest->config.digest, err);
	if (r < 0)
		return r;
	manifest->config.size = config_text->len;
	r = oci_config_parse(buf_span(config_text), &config, err);
	if (r < 0)
		return err_context(err, r, "the config '%.*s'", SHOWN_NAME_MAX, names.config);
	return find_layers(archive, &names, &config, cancel, manifest, err);
}

int oci_archive_image(struct oci_archive *archive, const struct cancel *cancel,
		      struct oci_manifest *ret_manifest, struct buf *ret_config, struct err *err)
{
	AUTO_OCI_MANIFEST manifest = OCI_MANIFEST_INIT;
	AUTO_BUF config = BUF_INIT;
	const int r = read_image(archive, cancel, &manifest, &config, err);

	if (r < 0)
		return err_context(err, r, "'%s'", archive->path);
	buf_add(ret_config, buf_span(&config));
	*ret_manifest = manifest;
	manifest = OCI_MANIFEST_INIT;
	return 0;
}

static int fetch_layer(void *context, const struct oci_fetch *fetch, const struct fetch_sink *sink,
		       struct err *err)
{
	const struct oci_archive *archive = context;

	for (size_t i = 0; i < archive->range_count; i++) {
		const struct range *range = &archive->ranges[i];

		if (oci_digest_eq(&range->digest, &fetch->blob->digest))
			return send_range(archive, range, fetch->offset, fetch->cancel, sink, err);
	}
	return err_set(err, ERR_NOT_FOUND, "'%s' has no layer %s", archive->path,
		       fetch->blob->digest.text);
}

struct oci_blob_source oci_archive_source(struct oci_archive *archive)
{
	return (struct oci_blob_source){ .fetch = fetch_layer, .context = archive };
}
