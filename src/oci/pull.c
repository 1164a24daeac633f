#include "oci/pull.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "oci/reference.h"
#include "oci/source.h"

#define REPORT_MS 200 /* between reports of progress while waiting */

struct download {
	const struct oci_layer *layer; /* borrowed from the manifest */
	_Atomic uint64_t done;	       /* bytes */
	/* Guarded by the pull's mutex. */
	int fd; /* owned; -1 until it is verified */
};

struct oci_pull {
	struct oci_pull_request request;
	const struct progress *progress; /* borrowed; may be NULL */
	struct oci_source *source;	 /* owned */
	struct oci_image image;
	struct oci_config config;
	struct download *downloads; /* owned; one for each layer */
	uint64_t bytes;

	pthread_mutex_t mutex;
	size_t next;  /* the first layer that no thread has taken */
	size_t ready; /* layers that are there */
	bool has_failed;
	struct err failure; /* the first */
	int failure_result; /* the negative number that goes with it */

	struct cancel stop;    /* ends the threads */
	struct cancel changed; /* fired after each download; the one who waits resets it */
	pthread_t threads[OCI_PARALLEL_MAX];
	size_t thread_count; /* 0 before the first layer is asked for */
	bool is_all_reported;
};

static void note_progress(void *context, const struct progress_event *event)
{
	struct download *download = context;

	atomic_store(&download->done, event->done);
}

/* The next layer for a thread, or NULL when there is nothing more to do. */
static struct download *take_next(struct oci_pull *pull)
{
	struct download *download = NULL;

	(void)pthread_mutex_lock(&pull->mutex);
	if (!pull->has_failed && !cancel_is_fired(&pull->stop) &&
	    pull->next < pull->image.manifest.layer_count)
		download = &pull->downloads[pull->next++];
	(void)pthread_mutex_unlock(&pull->mutex);
	return download;
}

/* `fd` is given; or `r` is negative, and `err` says why. */
static void finish(struct oci_pull *pull, struct download *download, int r, int fd,
		   const struct err *err)
{
	(void)pthread_mutex_lock(&pull->mutex);
	download->fd = fd;
	pull->ready += r < 0 ? 0 : 1;
	if (r < 0 && !pull->has_failed) {
		pull->has_failed = true;
		pull->failure_result = r;
		pull->failure = *err;
		cancel_fire(&pull->stop);
	}
	(void)pthread_mutex_unlock(&pull->mutex);
	cancel_fire(&pull->changed);
}

static void *download_layers(void *context)
{
	struct oci_pull *pull = context;
	struct download *download;

	while ((download = take_next(pull))) {
		const struct progress progress = { .report = note_progress, .context = download };
		struct err err = ERR_INIT;
		int fd = -1;
		int r = oci_source_layer(pull->source, download->layer, &pull->stop, &progress, &fd,
					 &err);

		if (r < 0)
			r = err_context(&err, r, "layer %zu",
					(size_t)(download - pull->downloads) + 1);
		finish(pull, download, r, fd, &err);
	}
	return NULL;
}

static int start_threads(struct oci_pull *pull, struct err *err)
{
	const size_t layers = pull->image.manifest.layer_count;
	size_t wanted = pull->request.parallel ? pull->request.parallel : OCI_PARALLEL_DEFAULT;

	if (wanted > OCI_PARALLEL_MAX)
		wanted = OCI_PARALLEL_MAX;
	if (wanted > layers)
		wanted = layers;
	while (pull->thread_count < wanted) {
		const int problem = pthread_create(&pull->threads[pull->thread_count], NULL,
						   download_layers, pull);

		/* Fewer do as well. */
		if (problem != 0 && pull->thread_count > 0)
			break;
		if (problem != 0)
			return err_sys(err, -problem, "start a thread");
		pull->thread_count++;
	}
	return 0;
}

static int check_layers(struct oci_pull *pull, struct err *err)
{
	const struct oci_manifest *manifest = &pull->image.manifest;
	const uint64_t most =
		pull->request.layer_bytes_max ? pull->request.layer_bytes_max : OCI_BLOB_BYTES_MAX;

	const uint64_t layers =
		pull->request.layers_max ? pull->request.layers_max : OCI_LAYERS_DEFAULT;

	if (manifest->layer_count > layers) {
		const int r =
			err_set(err, ERR_LIMIT,
				"there are more than %llu layers in the image (limits.layers)",
				(unsigned long long)layers);

		err_hint(
			err,
			"if that is meant to be so, raise layers in [limits] of the configuration");
		return r;
	}
	if (pull->config.diff_id_count != manifest->layer_count)
		return err_set(err, ERR_PROTOCOL, "the config has %zu diff_ids for %zu layers",
			       pull->config.diff_id_count, manifest->layer_count);
	for (size_t i = 0; i < manifest->layer_count; i++) {
		const uint64_t size = manifest->layers[i].descriptor.size;

		if (size > most)
			return err_set(err, ERR_LIMIT,
				       "layer %zu is sent with %llu bytes, more than [limits] "
				       "layer_bytes = %llu",
				       i + 1, (unsigned long long)size, (unsigned long long)most);
		pull->bytes += size;
	}
	return 0;
}

static int resolve(struct oci_pull *pull, const struct cancel *cancel, struct err *err)
{
	struct oci_platform platform;
	int r = oci_source_open(&pull->request, cancel, &pull->source, err);

	if (pull->request.platform)
		platform = *pull->request.platform;
	else
		oci_platform_host(&platform);
	if (r == 0)
		r = oci_source_resolve(pull->source, &platform, cancel, &pull->image, err);
	if (r < 0)
		return r;
	r = oci_config_parse(buf_span(&pull->image.config), &pull->config, err);
	if (r < 0)
		return err_context(err, r, "the config");
	r = oci_config_check_platform(&pull->config, &platform, err);
	return r < 0 ? r : check_layers(pull, err);
}

static int begin(struct oci_pull *pull, const struct cancel *cancel, struct err *err)
{
	size_t count;
	int r = resolve(pull, cancel, err);

	if (r < 0)
		return r;
	count = pull->image.manifest.layer_count;
	pull->downloads = mem_alloc(count, sizeof(*pull->downloads));
	for (size_t i = 0; i < count; i++) {
		pull->downloads[i].layer = &pull->image.manifest.layers[i];
		pull->downloads[i].fd = -1;
	}
	r = cancel_init(&pull->stop);
	if (r == 0)
		r = cancel_init(&pull->changed);
	return r < 0 ? err_sys(err, r, "begin to download") : 0;
}

int oci_pull_begin(const struct oci_pull_request *request, const struct cancel *cancel,
		   const struct progress *progress, struct oci_pull **ret, struct err *err)
{
	CLEANUP(oci_pull_freep) struct oci_pull *pull = mem_alloc(1, sizeof(*pull));
	AUTO_BUF text = BUF_INIT;
	int r;

	pull->request = *request;
	pull->progress = progress;
	pull->image = OCI_IMAGE_INIT;
	pull->stop = CANCEL_INIT;
	pull->changed = CANCEL_INIT;
	(void)pthread_mutex_init(&pull->mutex, NULL);
	r = begin(pull, cancel, err);
	if (r < 0) {
		oci_reference_to_text(request->reference, &text);
		return err_context(err, r, "pull '%s'", text.ptr);
	}
	*ret = TAKE_PTR(pull);
	return 0;
}

void oci_pull_free(struct oci_pull *pull)
{
	if (!pull)
		return;
	if (pull->thread_count > 0)
		cancel_fire(&pull->stop);
	for (size_t i = 0; i < pull->thread_count; i++)
		(void)pthread_join(pull->threads[i], NULL);
	for (size_t i = 0; pull->downloads && i < pull->image.manifest.layer_count; i++)
		fd_close(pull->downloads[i].fd);
	mem_free(pull->downloads);
	cancel_done(&pull->stop);
	cancel_done(&pull->changed);
	(void)pthread_mutex_destroy(&pull->mutex);
	oci_source_free(pull->source);
	oci_image_done(&pull->image);
	oci_config_done(&pull->config);
	mem_free(pull);
}

const struct oci_digest *oci_pull_digest(const struct oci_pull *pull)
{
	return &pull->image.digest;
}

const struct oci_config *oci_pull_config(const struct oci_pull *pull)
{
	return &pull->config;
}

struct span oci_pull_config_json(const struct oci_pull *pull)
{
	return buf_span(&pull->image.config);
}

size_t oci_pull_layer_count(const struct oci_pull *pull)
{
	return pull->image.manifest.layer_count;
}

const struct oci_layer *oci_pull_layer_at(const struct oci_pull *pull, size_t index)
{
	return &pull->image.manifest.layers[index];
}

uint64_t oci_pull_bytes(const struct oci_pull *pull)
{
	return pull->bytes;
}

bool oci_pull_report(struct oci_pull *pull)
{
	const size_t count = pull->image.manifest.layer_count;
	uint64_t done = 0;
	bool is_all;

	if (pull->is_all_reported)
		return false;
	(void)pthread_mutex_lock(&pull->mutex);
	is_all = pull->ready == count;
	(void)pthread_mutex_unlock(&pull->mutex);
	for (size_t i = 0; i < count; i++)
		done += atomic_load(&pull->downloads[i].done);
	progress_report(pull->progress, "download", NULL, done, pull->bytes);
	pull->is_all_reported = is_all;
	return !is_all;
}

/* 1 when the layer is there, 0 when it is still to come. */
static int look(struct oci_pull *pull, size_t index, int *ret_fd, struct err *err)
{
	int r = 0;

	(void)pthread_mutex_lock(&pull->mutex);
	if (pull->downloads[index].fd >= 0) {
		*ret_fd = pull->downloads[index].fd;
		r = 1;
	} else if (pull->has_failed) {
		*err = pull->failure;
		r = err_negative(pull->failure_result);
	}
	(void)pthread_mutex_unlock(&pull->mutex);
	return r;
}

int oci_pull_layer(struct oci_pull *pull, size_t index, const struct cancel *cancel, int *ret_fd,
		   struct err *err)
{
	if (pull->thread_count == 0) {
		const int r = start_threads(pull, err);

		if (r < 0)
			return r;
	}
	for (;;) {
		uint64_t count;
		int r = look(pull, index, ret_fd, err);

		(void)oci_pull_report(pull);
		if (r != 0)
			return r < 0 ? r : 0;
		r = cancel_poll(cancel, pull->changed.fd, POLLIN,
				clock_now_ns() + REPORT_MS * NSEC_PER_MSEC);
		if (r < 0 && r != -ETIMEDOUT)
			return err_sys(err, r, "wait for layer %zu", index + 1);
		/* Before the next look, so that nothing is missed. It may be reset already. */
		if (r > 0)
			IGNORE_RESULT(fd_read_some(pull->changed.fd, &count, sizeof(count)));
	}
}
