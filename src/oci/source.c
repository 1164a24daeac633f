#include "oci/source.h"

#include <assert.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "oci/archive.h"
#include "oci/layout.h"
#include "oci/reference.h"
#include "oci/registry.h"

/* Exactly one of the three is there, as the reference's kind says. */
struct oci_source {
	const struct oci_pull_request *request; /* borrowed */
	struct oci_registry *registry;		/* owned, as all here */
	struct oci_layout *layout;
	struct oci_archive *archive;
};

void oci_image_done(struct oci_image *image)
{
	oci_manifest_done(&image->manifest);
	buf_done(&image->config);
}

int oci_source_open(const struct oci_pull_request *request, const struct cancel *cancel,
		    struct oci_source **ret, struct err *err)
{
	CLEANUP(oci_source_freep) struct oci_source *source = mem_alloc(1, sizeof(*source));
	const struct oci_reference *reference = request->reference;
	int r = -EINVAL;

	source->request = request;
	switch (reference->kind) {
	case OCI_REFERENCE_REGISTRY:
		r = oci_registry_open(reference->registry, request->registry, request->auth,
				      &source->registry, err);
		break;
	case OCI_REFERENCE_LAYOUT:
		r = oci_layout_open(reference->path, &source->layout, err);
		break;
	case OCI_REFERENCE_ARCHIVE:
		r = oci_archive_open(reference->path, cancel, &source->archive, err);
		break;
	case OCI_REFERENCE_KIND_COUNT:
		assert(false);
	}
	if (r == 0)
		*ret = TAKE_PTR(source);
	return r;
}

void oci_source_free(struct oci_source *source)
{
	if (!source)
		return;
	oci_registry_free(source->registry);
	oci_layout_free(source->layout);
	oci_archive_free(source->archive);
	mem_free(source);
}

static int fetch_from_registry(void *context, const struct oci_fetch *fetch,
			       const struct fetch_sink *sink, struct err *err)
{
	const struct oci_source *source = context;
	const struct oci_blob_request request = {
		.repository = source->request->reference->repository,
		.digest = fetch->blob->digest.text,
		.size = fetch->blob->size,
		.offset = fetch->offset,
		.is_origin_only = fetch->is_origin_only,
		.mirror = fetch->mirror,
		.cancel = fetch->cancel,
	};

	return oci_registry_blob(source->registry, &request, sink, err);
}

static int get_from_registry(struct oci_source *source, const struct oci_descriptor *blob,
			     const struct cancel *cancel, const struct progress *progress,
			     int *ret_fd, struct err *err)
{
	const struct oci_blob_source from = { .fetch = fetch_from_registry,
					      .context = source,
					      .origin = source->request->reference->registry,
					      .cancel = cancel,
					      .progress = progress };

	return oci_blobs_get(source->request->blobs, blob, &from, ret_fd, err);
}

/* A document and what it was sent as. */
struct document {
	struct buf bytes;
	char *media_type; /* owned; NULL when nothing was said */
};

static void document_done(struct document *document)
{
	buf_done(&document->bytes);
	mem_free(document->media_type);
}

static int read_from_registry(struct oci_source *source, const struct oci_descriptor *wanted,
			      const struct cancel *cancel, struct document *ret, struct err *err)
{
	const struct oci_reference *reference = source->request->reference;
	AUTO_OCI_RAW_MANIFEST raw = OCI_RAW_MANIFEST_INIT;
	const int r = oci_registry_manifest(
		source->registry, reference->repository,
		wanted ? wanted->digest.text : oci_reference_wanted(reference), cancel, &raw, err);

	if (r < 0)
		return r;
	if (wanted && raw.bytes.len != wanted->size)
		return err_set(err, ERR_PROTOCOL, "%s has %zu bytes, not %llu", wanted->digest.text,
			       raw.bytes.len, (unsigned long long)wanted->size);
	buf_add(&ret->bytes, buf_span(&raw.bytes));
	ret->media_type = TAKE_PTR(raw.media_type);
	return 0;
}

/* Reads what an index calls `entry`, or what the reference itself means (NULL). */
static int read_document(struct oci_source *source, const struct oci_index_entry *entry,
			 const struct cancel *cancel, struct document *ret, struct err *err)
{
	const struct oci_descriptor *wanted = entry ? &entry->descriptor : NULL;

	if (wanted && wanted->size > OCI_MANIFEST_BYTES_MAX)
		return err_set(err, ERR_LIMIT, "%s has more than %llu bytes", wanted->digest.text,
			       OCI_MANIFEST_BYTES_MAX);
	if (source->registry)
		return read_from_registry(source, wanted, cancel, ret, err);
	assert(wanted);
	return oci_layout_read(source->layout, wanted, OCI_MANIFEST_BYTES_MAX, &ret->bytes, err);
}

static const char *kind_name(enum oci_kind kind)
{
	return kind == OCI_KIND_INDEX ? "an index" : "a manifest";
}

/* The manifest's digest: as the index has it, as the user asked for it, or made. */
static int set_digest(const struct oci_source *source, const struct oci_index_entry *entry,
		      struct span bytes, struct oci_digest *ret, struct err *err)
{
	const char *asked = source->request->reference->digest;

	if (entry) {
		*ret = entry->descriptor.digest;
		return 0;
	}
	if (!asked)
		return oci_digest_of(OCI_SHA256, bytes, ret, err);
	return oci_digest_read(asked, "the digest", ret, err);
}

static int next_entry(const struct document *document, const struct oci_platform *platform,
		      struct oci_index_entry *ret, struct err *err)
{
	AUTO_OCI_INDEX index = OCI_INDEX_INIT;
	const struct oci_index_entry *entry = NULL;
	int r = oci_index_parse(buf_span(&document->bytes), &index, err);

	if (r == 0)
		r = oci_index_select(&index, platform, &entry, err);
	if (r < 0)
		return r;
	assert(entry);
	*ret = *entry;
	ret->ref_name = NULL;
	return 0;
}

/* On the way from the reference to the manifest. */
struct search {
	const struct oci_platform *platform; /* borrowed */
	const struct cancel *cancel;	     /* borrowed */
	bool has_entry;
	struct oci_index_entry entry; /* where we are; its strings are not used */
};

/* One step: 1 when it was the manifest, 0 when it was an index and the search goes on. */
static int step(struct oci_source *source, struct search *search, struct oci_image *ret,
		struct err *err)
{
	CLEANUP(document_done) struct document document = { .bytes = BUF_INIT };
	const struct oci_index_entry *at = search->has_entry ? &search->entry : NULL;
	enum oci_kind kind = OCI_KIND_OTHER;
	int r = read_document(source, at, search->cancel, &document, err);

	if (r < 0)
		return r;
	r = oci_document_kind(buf_span(&document.bytes), document.media_type, &kind, err);
	if (r == 0 && at && at->kind != kind)
		r = err_set(err, ERR_PROTOCOL, "it is %s, but the index calls it %s",
			    kind_name(kind), kind_name(at->kind));
	if (r == 0 && kind == OCI_KIND_MANIFEST) {
		r = set_digest(source, at, buf_span(&document.bytes), &ret->digest, err);
		if (r == 0)
			r = oci_manifest_parse(buf_span(&document.bytes), &ret->manifest, err);
		if (r == 0)
			return 1;
	}
	if (r == 0)
		r = next_entry(&document, search->platform, &search->entry, err);
	if (r < 0)
		return at ? err_context(err, r, "%s", at->descriptor.digest.text) : r;
	search->has_entry = true;
	return 0;
}

static int find_manifest(struct oci_source *source, const struct oci_platform *platform,
			 const struct cancel *cancel, struct oci_image *ret, struct err *err)
{
	struct search search = { .platform = platform, .cancel = cancel };
	int r = 0;

	if (source->layout) {
		const struct oci_index_entry *first = NULL;

		r = oci_layout_find(source->layout, source->request->reference->tag, platform,
				    &first, err);
		if (r < 0)
			return r;
		search.entry = *first;
		search.has_entry = true;
	}
	for (unsigned int depth = 0; depth <= OCI_INDEX_DEPTH_MAX; depth++) {
		r = step(source, &search, ret, err);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	return err_set(err, ERR_LIMIT, "more than %d indexes in one another", OCI_INDEX_DEPTH_MAX);
}

/* The config by way of the blob cache. */
static int read_cached_config(struct oci_source *source, const struct cancel *cancel,
			      struct oci_image *image, struct err *err)
{
	const struct oci_descriptor *config = &image->manifest.config;
	AUTO_CLOSE int fd = -1;
	int r = get_from_registry(source, config, cancel, NULL, &fd, err);

	if (r < 0)
		return r;
	buf_reserve(&image->config, config->size);
	r = fd_read_exact(fd, image->config.ptr, config->size);
	if (r < 0)
		return err_sys(err, r, "read %s from the cache", config->digest.text);
	buf_advance(&image->config, config->size);
	return oci_digest_check(&config->digest, buf_span(&image->config), err);
}

int oci_source_resolve(struct oci_source *source, const struct oci_platform *platform,
		       const struct cancel *cancel, struct oci_image *ret, struct err *err)
{
	int r;

	if (source->archive) {
		r = oci_archive_image(source->archive, cancel, &ret->manifest, &ret->config, err);
		ret->digest = ret->manifest.config.digest;
		return r;
	}
	r = find_manifest(source, platform, cancel, ret, err);
	if (r < 0)
		return r;
	if (source->registry)
		r = read_cached_config(source, cancel, ret, err);
	else
		r = oci_layout_read(source->layout, &ret->manifest.config, OCI_CONFIG_BYTES_MAX,
				    &ret->config, err);
	return r < 0 ? err_context(err, r, "the config") : 0;
}

int oci_source_layer(struct oci_source *source, const struct oci_layer *layer,
		     const struct cancel *cancel, const struct progress *progress, int *ret_fd,
		     struct err *err)
{
	struct oci_blob_source from;

	if (source->registry)
		return get_from_registry(source, &layer->descriptor, cancel, progress, ret_fd, err);
	if (source->layout)
		return oci_layout_open_blob(source->layout, &layer->descriptor, cancel, progress,
					    ret_fd, err);
	from = oci_archive_source(source->archive);
	from.cancel = cancel;
	from.progress = progress;
	return oci_blobs_get(source->request->blobs, &layer->descriptor, &from, ret_fd, err);
}
