#include "image/layers.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "image/folder.h"
#include "image/staging.h"
#include "image/unpack.h"
#include "image/watch.h"
#include "image/worker.h"
#include "model/names.h"

#define STAGE		 "image"
#define UNITS_MAX	 3U	 /* unpack workers at a time */
#define STALL_MS_DEFAULT 600000U /* also a sync of much to a slow disk takes no longer */

/* One layer on its way. */
struct unit {
	struct worker_process process;
	size_t layer;
	const char *diff_id; /* borrowed */
	bool is_running;
};

struct pipeline {
	const struct image_layers_request *request; /* borrowed, as the next two */
	const struct cancel *cancel;
	const struct progress *progress;
	struct staging staging;
	struct image_worker writer;
	struct watch watch;
	struct unit units[UNITS_MAX];
	size_t running;
	bool is_cut;	/* the writer has stopped listening: it will say why */
	bool has_ended; /* it has said that all is written */
	uint64_t reported;
	uint64_t deadline_ns;
	struct ext4_summary summary;
};

static void pipeline_init(struct pipeline *p, const struct image_layers_request *request,
			  const struct cancel *cancel, const struct progress *progress)
{
	size_t i;

	*p = (struct pipeline){ .request = request,
				.cancel = cancel,
				.progress = progress,
				.staging = STAGING_INIT,
				.writer = IMAGE_WORKER_INIT,
				.watch = WATCH_INIT };
	for (i = 0; i < UNITS_MAX; i++)
		p->units[i].process = WORKER_PROCESS_INIT;
}

static void pipeline_done(struct pipeline *p)
{
	size_t i;

	watch_done(&p->watch);
	for (i = 0; i < UNITS_MAX; i++)
		worker_process_done(&p->units[i].process);
	image_worker_done(&p->writer);
	staging_done(&p->staging);
}

static uint64_t stall_ms(const struct pipeline *p)
{
	return p->request->stall_ms > 0 ? p->request->stall_ms : STALL_MS_DEFAULT;
}

/* Something went on. */
static void set_deadline(struct pipeline *p)
{
	p->deadline_ns = clock_now_ns() + stall_ms(p) * NSEC_PER_MSEC;
}

static void report(const struct pipeline *p)
{
	progress_report(p->progress, STAGE, "writing the image", p->reported, 0);
}

/* --- what workers say --- */

static int check_digest(const struct unit *unit, const struct unpack_result *result,
			struct err *err)
{
	if (str_eq(result->digest, unit->diff_id))
		return 0;
	return err_set(err, ERR_PROTOCOL,
		       "its content has the digest %s, but the image's configuration says %s",
		       result->digest, unit->diff_id);
}

static int end_unit(struct pipeline *p, struct unit *unit, struct err *err)
{
	struct unpack_result result = { .bytes = 0 };
	int r;

	r = worker_process_finish(&unit->process, p->cancel, p->deadline_ns, err);
	if (r == 0)
		r = unpack_read_answer(buf_span(&unit->process.answer), &result, err);
	if (r == 0)
		r = check_digest(unit, &result, err);
	worker_process_done(&unit->process);
	unit->process = WORKER_PROCESS_INIT;
	unit->is_running = false;
	p->running--;
	if (r == 0 || err->kind == ERR_CANCELLED)
		return r;
	/* Nobody reads the tar any more. The reason is the other side's. */
	if (err->kind == ERR_SYSTEM && err->errnum == EPIPE) {
		*err = ERR_INIT;
		p->is_cut = true;
		return 0;
	}
	return err_context(err, r, "layer %zu", unit->layer + 1);
}

static int end_writer(struct pipeline *p, struct err *err)
{
	int r;

	/* Its process is reaped here, so it cannot be watched any more. */
	watch_stop(&p->watch);
	r = worker_process_finish(&p->writer.process, p->cancel, p->deadline_ns, err);
	if (r == 0)
		r = worker_read_answer(buf_span(&p->writer.process.answer), &p->summary, err);
	if (r == 0 && p->is_cut)
		r = err_set(err, ERR_PROTOCOL, "the image worker did not read all layers");
	p->has_ended = true;
	return r;
}

static int hear_unit(struct pipeline *p, struct unit *unit, struct err *err)
{
	return worker_process_read(&unit->process) > 0 ? 0 : end_unit(p, unit, err);
}

static int hear_writer(struct pipeline *p, struct err *err)
{
	const int r = worker_process_read(&p->writer.process);

	if (r <= 0)
		return end_writer(p, err);
	if (p->writer.process.done > p->reported) {
		p->reported = p->writer.process.done;
		report(p);
	}
	return 0;
}

enum { SLOT_CANCEL, SLOT_WRITER, SLOT_UNITS, SLOT_COUNT = SLOT_UNITS + UNITS_MAX };

static int wait_for_events(struct pipeline *p, struct pollfd waits[static SLOT_COUNT],
			   struct err *err)
{
	size_t i;
	int n;

	waits[SLOT_CANCEL] =
		(struct pollfd){ .fd = p->cancel ? p->cancel->fd : -1, .events = POLLIN };
	waits[SLOT_WRITER] =
		(struct pollfd){ .fd = p->has_ended ? -1 : p->writer.process.control_fd,
				 .events = POLLIN };
	for (i = 0; i < UNITS_MAX; i++)
		waits[SLOT_UNITS + i] =
			(struct pollfd){ .fd = p->units[i].process.control_fd, .events = POLLIN };
	do {
		n = poll(waits, SLOT_COUNT, clock_poll_ms(p->deadline_ns));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, -errno, "wait for the image worker");
	if (waits[SLOT_CANCEL].revents != 0)
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (n == 0 && clock_now_ns() >= p->deadline_ns)
		return err_set(err, ERR_TIMEOUT, "the image worker has not gone on for %llu s",
			       (unsigned long long)(stall_ms(p) / 1000));
	if (n > 0)
		set_deadline(p);
	return 0;
}

/*
 * Waits until a worker says something, and hears all that do. Those that unpack come first: when
 * one of them fails, the writer finds a tar that is cut short, which is true but not the reason.
 */
static int step(struct pipeline *p, struct err *err)
{
	struct pollfd waits[SLOT_COUNT];
	size_t i;
	int r;

	r = wait_for_events(p, waits, err);
	for (i = 0; i < UNITS_MAX && r == 0; i++) {
		if (waits[SLOT_UNITS + i].revents != 0)
			r = hear_unit(p, &p->units[i], err);
	}
	if (r == 0 && waits[SLOT_WRITER].revents != 0)
		r = hear_writer(p, err);
	return r;
}

/* --- layers --- */

static int check_diff_id(const char *diff_id, struct err *err)
{
	if (diff_id && str_starts(diff_id, "sha256:"))
		return 0;
	return err_set(err, ERR_UNSUPPORTED, "its digest '%s' is none of sha256",
		       diff_id ? diff_id : "");
}

static int start_unit(struct pipeline *p, size_t index, const struct image_layer *layer,
		      struct err *err)
{
	const struct unpack_orders orders = {
		.compression = layer->compression,
		.bytes_max = p->request->layer_bytes_max > 0 ? p->request->layer_bytes_max
							     : EXT4_LAYER_BYTES_DEFAULT,
	};
	struct unit *unit = p->units;
	AUTO_CLOSE int tar_fd = -1;
	int r;

	r = check_diff_id(layer->diff_id, err);
	if (r < 0)
		return r;
	while (unit->is_running)
		unit++;
	r = unpack_worker_start(p->request->worker_program, layer->blob_fd, &orders, &unit->process,
				&tar_fd, err);
	if (r < 0)
		return r;
	unit->layer = index;
	unit->diff_id = layer->diff_id;
	unit->is_running = true;
	p->running++;
	r = image_worker_pass(&p->writer, tar_fd);
	if (r == -EPIPE) {
		p->is_cut = true;
		return 0;
	}
	return r < 0 ? err_sys(err, r, "pass it to the image worker") : 0;
}

/* Waits until the layer is there, which the writer's end cuts short. */
static int next_layer(struct pipeline *p, size_t index, struct image_layer *ret, struct err *err)
{
	int r = p->request->next_layer(p->request->context, index, &p->watch.fired, ret, err);

	if (r < 0 && err->kind == ERR_CANCELLED && !cancel_is_fired(p->cancel)) {
		*err = ERR_INIT;
		p->is_cut = true;
		r = 0;
	}
	set_deadline(p);
	return r;
}

static int feed(struct pipeline *p, struct err *err)
{
	size_t i;

	for (i = 0; i < p->request->layer_count; i++) {
		struct image_layer layer = { .blob_fd = -1 };
		int r = 0;

		while (r == 0 && p->running == UNITS_MAX && !p->is_cut)
			r = step(p, err);
		if (r == 0 && !p->is_cut)
			r = next_layer(p, i, &layer, err);
		if (r < 0 || p->is_cut)
			return r;
		r = start_unit(p, i, &layer, err);
		if (r < 0)
			return err_context(err, r, "layer %zu", i + 1);
	}
	return 0;
}

static int write_image(struct pipeline *p, struct err *err)
{
	const struct image_layers_request *request = p->request;
	const struct image_worker_files files = { p->staging.root_fd, p->staging.seed_fd };
	struct ext4_options options = EXT4_OPTIONS_INIT;
	int r;

	options.size_bytes = request->size_bytes;
	options.limits = (struct ext4_limits){ .entries = request->entries_max,
					       .bytes = request->bytes_max,
					       .layer_bytes = request->layer_bytes_max };
	r = staging_read_epoch(&options, err);
	if (r == 0)
		r = image_worker_start_layers(request->worker_program, &files, &options,
					      request->layer_count, &p->writer, err);
	if (r == 0)
		r = watch_start(&p->watch, p->cancel, p->writer.process.process.pidfd, err);
	set_deadline(p);
	if (r == 0)
		r = feed(p, err);
	if (r == 0)
		report(p); /* from here on nothing else is waited for */
	while (r == 0 && (!p->has_ended || p->running > 0))
		r = step(p, err);
	/* One that was found cut only after the writer had ended. */
	if (r == 0 && p->is_cut)
		r = err_set(err, ERR_PROTOCOL, "the image worker did not read all layers");
	return r;
}

/* --- all of it --- */

static int check_request(const struct image_layers_request *request, struct err *err)
{
	int r;

	r = name_check_image(request->name, err);
	if (r < 0)
		return r;
	if (request->layer_count == 0)
		return err_set(err, ERR_INVALID, "the image has no layers");
	if (request->layer_count > IMAGE_LAYERS_MAX)
		return err_set(err, ERR_LIMIT, "the image has %zu layers, more than %u",
			       request->layer_count, IMAGE_LAYERS_MAX);
	return request->config ? folder_check_config(request->config, err) : 0;
}

static int publish(struct pipeline *p, struct image_record *ret, struct err *err)
{
	AUTO_IMAGE_RECORD image;
	int r;

	image_record_init(&image);
	image.source = mem_strdup(p->request->source);
	image.is_sized = p->request->size_bytes > 0;
	image.digest = mem_strdup(p->request->digest);
	image.kernel = mem_strdup(p->request->kernel);
	r = staging_describe(&p->staging, &p->summary, &image, err);
	if (r == 0)
		r = staging_publish(&p->staging, &image, &p->summary, p->request->config, err);
	if (r < 0)
		return r;
	*ret = image;
	image_record_init(&image);
	return 0;
}

int image_from_layers(const struct image_layers_request *request, const struct cancel *cancel,
		      const struct progress *progress, struct image_record *ret, struct err *err)
{
	CLEANUP(pipeline_done) struct pipeline pipeline;
	int r;

	pipeline_init(&pipeline, request, cancel, progress);
	r = check_request(request, err);
	if (r == 0)
		r = staging_begin(&pipeline.staging, request->images_dir, request->name, err);
	if (r == 0)
		r = write_image(&pipeline, err);
	if (r < 0)
		return r;
	failpoint("image.build.written");
	return publish(&pipeline, ret, err);
}
