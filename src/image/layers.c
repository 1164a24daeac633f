#include "image/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "ext4/limit.h"
#include "image/folder.h"
#include "image/staging.h"
#include "image/unpack.h"
#include "image/watch.h"
#include "image/worker.h"
#include "model/names.h"

#define STAGE	  "image"
#define UNITS_MAX 3U /* unpack workers at a time */

/* One layer on its way. */
struct unit {
	struct worker_process process;
	int tar_path_fd; /* owned: the pipe, opened for neither end */
	size_t layer;
	const char *diff_id; /* borrowed */
	bool is_running;
};

#define UNIT_INIT ((struct unit){ .process = WORKER_PROCESS_INIT, .tar_path_fd = -1 })

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
		p->units[i] = UNIT_INIT;
}

static void unit_done(struct unit *unit)
{
	worker_process_done(&unit->process);
	fd_close(unit->tar_path_fd);
	*unit = UNIT_INIT;
}

static void pipeline_done(struct pipeline *p)
{
	size_t i;

	watch_done(&p->watch);
	for (i = 0; i < UNITS_MAX; i++)
		unit_done(&p->units[i]);
	image_worker_done(&p->writer);
	staging_done(&p->staging);
}

/* Something went on. */
static void set_deadline(struct pipeline *p)
{
	p->deadline_ns = clock_now_ns() + p->writer.stall_ms * NSEC_PER_MSEC;
}

/* --- workers that hang --- */

/* Where the writer is, if it is at a layer; it need not tell the truth. */
static int at_layer(const struct pipeline *p, int r, struct err *err)
{
	const uint64_t layer = p->writer.process.progress.layer;

	if (layer == 0 || layer > p->request->layer_count)
		return err_negative(r);
	return err_context(err, r, "layer %llu", (unsigned long long)layer);
}

/* Whether there is something in the pipe between the two, which the writer has not read. */
static bool is_waiting_for_writer(const struct unit *unit)
{
	char path[32];
	AUTO_CLOSE int fd = -1;
	int size = 0;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", unit->tar_path_fd);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 || ioctl(fd, FIONREAD, &size) < 0 || size > 0;
}

/* Nobody has said anything for long: who was to? The tars are read one after another. */
static int stalled(const struct pipeline *p, struct err *err)
{
	const struct unit *first = NULL;
	size_t i;
	int r;

	for (i = 0; i < UNITS_MAX; i++) {
		const struct unit *unit = &p->units[i];

		if (unit->is_running && (!first || unit->layer < first->layer))
			first = unit;
	}
	if (!first || is_waiting_for_writer(first)) {
		r = image_worker_stalled(&p->writer, err);
		return at_layer(p, r, err);
	}
	r = worker_process_stalled(&first->process, p->writer.stall_ms, err);
	return err_context(err, r, "layer %zu", first->layer + 1);
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

	const size_t layer = unit->layer;

	r = worker_process_finish(&unit->process, p->cancel, p->deadline_ns, err);
	if (r < 0 && err->kind == ERR_TIMEOUT)
		r = worker_process_stalled(&unit->process, p->writer.stall_ms, err);
	if (r == 0) {
		r = unpack_read_answer(buf_span(&unit->process.answer), &result, err);
		if (r < 0)
			r = worker_process_failed(&unit->process, r, err);
	}
	if (r == 0)
		r = check_digest(unit, &result, err);
	unit_done(unit);
	p->running--;
	if (r == 0 || err->kind == ERR_CANCELLED)
		return r;
	/* Nobody reads the tar any more. The reason is the other side's. */
	if (err->kind == ERR_SYSTEM && err->errnum == EPIPE) {
		*err = ERR_INIT;
		p->is_cut = true;
		return 0;
	}
	return err_context(err, r, "layer %zu", layer + 1);
}

static int read_answer(struct pipeline *p, struct err *err)
{
	const struct worker_process *process = &p->writer.process;
	int r = worker_read_answer(buf_span(&process->answer), &p->summary, err);
	const bool is_out_of_memory = r < 0 && err->errnum == ENOMEM;

	if (r < 0)
		r = worker_process_failed(process, r, err);
	/* What it has to say about an entry names the layer already. */
	return is_out_of_memory ? at_layer(p, r, err) : r;
}

static int end_writer(struct pipeline *p, struct err *err)
{
	int r;

	/* Its process is reaped here, so it cannot be watched any more. */
	watch_stop(&p->watch);
	r = worker_process_finish(&p->writer.process, p->cancel, p->deadline_ns, err);
	if (r < 0 && err->kind == ERR_TIMEOUT)
		r = image_worker_stalled(&p->writer, err);
	if (r < 0 && err->kind != ERR_CANCELLED)
		r = at_layer(p, r, err);
	if (r == 0)
		r = read_answer(p, err);
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
	if (p->writer.process.progress.done > p->reported) {
		p->reported = p->writer.process.progress.done;
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
		return stalled(p, err);
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

/* Without it (no /proc), the writer will be blamed for what hangs. */
static int open_path(int fd)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_PATH | O_CLOEXEC);
}

static int start_unit(struct pipeline *p, size_t index, const struct image_layer *layer,
		      struct err *err)
{
	const struct image_limits *limits = &p->request->limits;
	const struct unpack_orders orders = {
		.compression = layer->compression,
		.bytes_max =
			limits->layer_bytes > 0 ? limits->layer_bytes : EXT4_LAYER_BYTES_DEFAULT,
	};
	const struct unpack_setup setup = { .program = p->request->worker_program,
					    .blob_fd = layer->blob_fd,
					    .limits = image_worker_limits(limits) };
	struct unit *unit = p->units;
	AUTO_CLOSE int tar_fd = -1;
	int r;

	r = check_diff_id(layer->diff_id, err);
	if (r < 0)
		return r;
	while (unit->is_running)
		unit++;
	r = unpack_worker_start(&setup, &orders, &unit->process, &tar_fd, err);
	if (r < 0)
		return r;
	unit->tar_path_fd = open_path(tar_fd);
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
	const struct image_worker_setup setup = { .program = request->worker_program,
						  .image_fd = p->staging.root_fd,
						  .seed_fd = p->staging.seed_fd,
						  .limits = request->limits };
	struct ext4_options options = EXT4_OPTIONS_INIT;
	int r;

	options.size_bytes = request->size_bytes;
	r = staging_read_epoch(&options, err);
	if (r == 0)
		r = image_worker_start_layers(&setup, &options, request->layer_count, &p->writer,
					      err);
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
	const uint64_t most =
		request->limits.layers > 0 ? request->limits.layers : IMAGE_LAYERS_DEFAULT;
	int r;

	r = name_check_image(request->name, err);
	if (r < 0)
		return r;
	if (request->layer_count == 0)
		return err_set(err, ERR_INVALID, "the image has no layers");
	if (request->layer_count > most)
		return limit_reached(err, "layers", most, "layers in the image");
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
