/*
 * Pulling as a command, for tests:
 *
 *     pull_tool pull CACHE REFERENCE OUT [parallel=N] [platform=P] [layer-bytes=N] [threads=N]
 *                    [mirror=URL] [layers=no]
 *     pull_tool prune CACHE [dry]
 *
 * A pull prints the manifest's digest and each layer, and writes config.json and layer-N to the
 * folder OUT; with threads=N so many pull the same at once, and only the first writes; with
 * layers=no nobody asks for the layers. Credentials come from the environment. SIGTERM cancels.
 * Exits with 0, 1 after an error (its kind and message on standard error), or 2 for wrong usage.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "oci/auth.h"
#include "oci/pull.h"
#include "oci/reference.h"
#include "oci/registry.h"

#define THREADS_MAX 64

static struct cancel cancel = { .fd = -1 };

static void on_signal(int number)
{
	(void)number;
	cancel_fire(&cancel);
}

struct job {
	struct oci_pull_request request;
	const char *out; /* NULL: nothing is written */
	bool wants_no_layers;
	pthread_t thread;
	struct err err;
	int r;
};

static int write_file(const char *folder, const char *name, struct span bytes)
{
	AUTO_CLOSE int fd = dir_open(folder);

	return fd < 0 ? fd : file_replace(fd, name, bytes, 0600);
}

static int write_layer(const struct job *job, size_t index, int from)
{
	AUTO_FREE char *path = mem_printf("%s/layer-%zu", job->out, index + 1);
	AUTO_CLOSE int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool is_reflinked;

	return to < 0 ? -errno : file_clone(from, to, &cancel, &is_reflinked);
}

static int take_layers(const struct job *job, struct oci_pull *pull, struct err *err)
{
	for (size_t i = 0; i < oci_pull_layer_count(pull); i++) {
		const struct oci_layer *layer = oci_pull_layer_at(pull, i);
		int fd = -1;
		int r = oci_pull_layer(pull, i, &cancel, &fd, err);

		if (r < 0)
			return r;
		if (!job->out)
			continue;
		r = write_layer(job, i, fd);
		if (r < 0)
			return err_sys(err, r, "write layer %zu", i + 1);
		(void)printf("layer %s %llu %s\n", layer->descriptor.digest.text,
			     (unsigned long long)layer->descriptor.size,
			     oci_compression_name(layer->compression));
	}
	return 0;
}

static int pull_image(const struct job *job, struct err *err)
{
	CLEANUP(oci_pull_freep) struct oci_pull *pull = NULL;
	int r = oci_pull_begin(&job->request, &cancel, NULL, &pull, err);

	if (r == 0 && job->out) {
		(void)printf("manifest %s\n", oci_pull_digest(pull)->text);
		r = write_file(job->out, "config.json", oci_pull_config_json(pull));
		if (r < 0)
			return err_sys(err, r, "write config.json");
	}
	return r < 0 || job->wants_no_layers ? r : take_layers(job, pull, err);
}

static void *run_job(void *context)
{
	struct job *job = context;

	job->r = pull_image(job, &job->err);
	return NULL;
}

/* The same job, so many times at once; the first failure counts. */
static int run_jobs(const struct job *job, uint64_t count, struct err *err)
{
	static struct job jobs[THREADS_MAX];
	int r = 0;

	for (uint64_t i = 0; i < count; i++) {
		jobs[i] = *job;
		if (i > 0)
			jobs[i].out = NULL;
		if (pthread_create(&jobs[i].thread, NULL, run_job, &jobs[i]) != 0)
			return err_set(err, ERR_SYSTEM, "start a thread");
	}
	for (uint64_t i = 0; i < count; i++) {
		(void)pthread_join(jobs[i].thread, NULL);
		if (jobs[i].r < 0 && r == 0) {
			*err = jobs[i].err;
			r = jobs[i].r;
		}
	}
	return r;
}

/* "NAME=VALUE" with this name: the value, else NULL. */
static const char *value_of(const char *argument, const char *name)
{
	const size_t len = strlen(name);

	return str_starts(argument, name) && argument[len] == '=' ? argument + len + 1 : NULL;
}

struct options {
	uint64_t parallel;
	uint64_t threads;
	uint64_t layer_bytes;
	struct oci_registry_config registry;
	bool wants_no_layers;
	struct oci_platform platform;
};

static bool read_option(const char *argument, struct options *options)
{
	const char *value = value_of(argument, "parallel");

	if (value)
		return parse_u64_text(value, OCI_PARALLEL_MAX, &options->parallel);
	value = value_of(argument, "threads");
	if (value)
		return parse_u64_text(value, THREADS_MAX, &options->threads);
	value = value_of(argument, "layer-bytes");
	if (value)
		return parse_u64_text(value, UINT64_MAX, &options->layer_bytes);
	value = value_of(argument, "mirror");
	if (value) {
		options->registry.mirror = value;
		return true;
	}
	if (str_eq(argument, "layers=no")) {
		options->wants_no_layers = true;
		return true;
	}
	value = value_of(argument, "platform");
	return value && oci_platform_parse(span_str(value), &options->platform);
}

static int run_pull(char **argv, const struct options *options, struct err *err)
{
	CLEANUP(oci_blobs_freep) struct oci_blobs *blobs = NULL;
	AUTO_OCI_REFERENCE reference = OCI_REFERENCE_INIT;
	struct oci_auth auth = { .environment = environ };
	struct job job = { .out = argv[2], .wants_no_layers = options->wants_no_layers };
	int r = oci_reference_parse(argv[1], &reference, err);

	if (r == 0)
		r = oci_blobs_open(argv[0], &blobs, err);
	if (r < 0)
		return r;
	job.request = (struct oci_pull_request){ .reference = &reference,
						 .platform = &options->platform,
						 .blobs = blobs,
						 .registry = &options->registry,
						 .auth = &auth,
						 .parallel = (unsigned int)options->parallel,
						 .layer_bytes_max = options->layer_bytes };
	return run_jobs(&job, options->threads, err);
}

static int run_prune(const char *cache, bool dry_run, struct err *err)
{
	CLEANUP(oci_blobs_freep) struct oci_blobs *blobs = NULL;
	struct oci_blobs_usage usage;
	int r = oci_blobs_open(cache, &blobs, err);

	if (r == 0)
		r = oci_blobs_prune(blobs, dry_run, &usage, err);
	if (r == 0)
		(void)printf("%llu files\n", (unsigned long long)usage.files);
	return r;
}

int main(int argc, char **argv)
{
	const struct sigaction action = { .sa_handler = on_signal };
	struct options options = { .threads = 1 };
	struct err err = ERR_INIT;
	int r;

	if (cancel_init(&cancel) < 0 || sigaction(SIGTERM, &action, NULL) < 0)
		return 1;
	oci_platform_host(&options.platform);
	if (argc >= 5 && str_eq(argv[1], "pull")) {
		for (int i = 5; i < argc; i++) {
			if (!read_option(argv[i], &options))
				return 2;
		}
		r = run_pull(argv + 2, &options, &err);
	} else if (argc >= 3 && str_eq(argv[1], "prune")) {
		r = run_prune(argv[2], argc > 3, &err);
	} else {
		return 2;
	}
	cancel_done(&cancel);
	if (r < 0) {
		(void)fprintf(stderr, "%s: %s\n%s%s", err_kind_name(err.kind), err.message,
			      err.hint, err.hint[0] ? "\n" : "");
		return 1;
	}
	return 0;
}
