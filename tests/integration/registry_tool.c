/*
 * What registry.bats drives src/oci's registry client with:
 *
 *     registry_tool manifest HOST REPOSITORY WANTED [KEY=VALUE...]
 *     registry_tool blob HOST REPOSITORY DIGEST SIZE [KEY=VALUE...]
 *     registry_tool credentials HOST REPOSITORY
 *
 * The bytes go to stdout; stderr says what came of it. `threads=N` asks for the same N times at
 * once, and prints nothing but what came of it.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "oci/auth.h"
#include "oci/registry.h"

#define THREADS_MAX 32

struct tool {
	struct oci_registry *registry;
	const char *repository;
	const char *wanted;
	uint64_t size;
	uint64_t offset;
	uint64_t times;		  /* one after another */
	uint64_t pause_ms;	  /* in between */
	uint64_t threads;	  /* 0: none but ours */
	uint64_t cancel_after_ms; /* 0: never */
	bool is_blob;
	struct cancel cancel;
};

static uint64_t number(const char *text)
{
	uint64_t value = 0;

	if (!parse_u64_text(text, UINT64_MAX, &value))
		exit(2);
	return value;
}

static void set(struct tool *tool, struct oci_registry_config *config, struct fetch_policy *policy,
		const char *key, const char *value)
{
	if (str_eq(key, "mirror"))
		config->mirror = value;
	else if (str_eq(key, "ca"))
		config->ca_file = value;
	else if (str_eq(key, "insecure"))
		config->is_insecure = str_eq(value, "yes");
	else if (str_eq(key, "offset"))
		tool->offset = number(value);
	else if (str_eq(key, "times"))
		tool->times = number(value);
	else if (str_eq(key, "pause_ms"))
		tool->pause_ms = number(value);
	else if (str_eq(key, "threads"))
		tool->threads = number(value);
	else if (str_eq(key, "cancel_after_ms"))
		tool->cancel_after_ms = number(value);
	else if (str_eq(key, "retries"))
		policy->retries_max = (unsigned int)number(value);
	else if (str_eq(key, "stall_ms"))
		policy->stall_ms = number(value);
	else
		exit(2);
}

static int print(void *context, struct span bytes, struct err *err)
{
	const struct tool *tool = context;

	(void)err;
	return tool->threads > 0 ? 0 : fd_write_all(STDOUT_FILENO, bytes);
}

static int get_manifest(struct tool *tool, struct err *err)
{
	AUTO_OCI_RAW_MANIFEST manifest = OCI_RAW_MANIFEST_INIT;
	int r;

	r = oci_registry_manifest(tool->registry, tool->repository, tool->wanted, &tool->cancel,
				  &manifest, err);
	if (r < 0)
		return r;
	(void)fprintf(stderr, "type=%s\n", manifest.media_type);
	return print(tool, buf_span(&manifest.bytes), err);
}

static int get_blob(struct tool *tool, struct err *err)
{
	const struct oci_blob_request request = {
		.repository = tool->repository,
		.digest = tool->wanted,
		.size = tool->size,
		.offset = tool->offset,
		.cancel = &tool->cancel,
	};
	const struct fetch_sink sink = { .take = print, .context = tool };

	return oci_registry_blob(tool->registry, &request, &sink, err);
}

static int get(struct tool *tool, struct err *err)
{
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < tool->times; i++) {
		if (i > 0)
			IGNORE_RESULT(cancel_poll(NULL, -1, 0,
						  clock_now_ns() + tool->pause_ms * NSEC_PER_MSEC));
		r = tool->is_blob ? get_blob(tool, err) : get_manifest(tool, err);
	}
	return r;
}

static int report(int r, const struct err *err)
{
	if (r < 0)
		(void)fprintf(stderr, "error %s: %s%s%s\n", err_kind_name(err->kind), err->message,
			      err->hint[0] ? "; hint: " : "", err->hint);
	return r;
}

static void *get_in_thread(void *context)
{
	struct err err = ERR_INIT;
	const int r = get(context, &err);

	return report(r, &err) < 0 ? context : NULL;
}

static void *cancel_later(void *context)
{
	struct tool *tool = context;

	IGNORE_RESULT(
		cancel_poll(NULL, -1, 0, clock_now_ns() + tool->cancel_after_ms * NSEC_PER_MSEC));
	cancel_fire(&tool->cancel);
	return NULL;
}

static int get_in_threads(struct tool *tool)
{
	pthread_t threads[THREADS_MAX];
	int failures = 0;

	if (tool->threads > THREADS_MAX)
		return 2;
	for (uint64_t i = 0; i < tool->threads; i++)
		if (pthread_create(&threads[i], NULL, get_in_thread, tool) != 0)
			return 2;
	for (uint64_t i = 0; i < tool->threads; i++) {
		void *failed = NULL;

		if (pthread_join(threads[i], &failed) != 0 || failed)
			failures++;
	}
	return failures > 0 ? 1 : 0;
}

static int find_credentials(const struct oci_auth *auth, char **argv)
{
	AUTO_OCI_CREDENTIALS found = OCI_CREDENTIALS_INIT;
	struct err err = ERR_INIT;
	const struct oci_credentials_query query = { .auth = auth,
						     .host = argv[2],
						     .repository = argv[3] };
	const int r = oci_credentials_find(&query, &found, &err);

	if (r == 0)
		(void)printf("%s\n", found.username ? found.username : "(none)");
	return report(r, &err) < 0 ? 1 : 0;
}

static int run(struct tool *tool)
{
	struct err err = ERR_INIT;
	pthread_t canceller = { 0 };
	int r;

	if (tool->cancel_after_ms > 0 && pthread_create(&canceller, NULL, cancel_later, tool) != 0)
		return 2;
	if (tool->threads > 0) {
		r = get_in_threads(tool);
	} else {
		r = get(tool, &err);
		r = report(r, &err) < 0 ? 1 : 0;
	}
	if (tool->cancel_after_ms > 0)
		(void)pthread_join(canceller, NULL);
	return r;
}

int main(int argc, char **argv)
{
	const struct oci_auth auth = { .environment = environ };
	struct tool tool = { .times = 1, .cancel = CANCEL_INIT };
	struct fetch_policy policy = FETCH_POLICY_INIT;
	struct oci_registry_config config = { .policy = &policy };
	struct err err = ERR_INIT;
	int at = 5, r;

	if (argc == 4 && str_eq(argv[1], "credentials"))
		return find_credentials(&auth, argv);
	if (argc < 5)
		return 2;
	tool.repository = argv[3];
	tool.wanted = argv[4];
	tool.is_blob = str_eq(argv[1], "blob");
	if (tool.is_blob && argc > 5)
		tool.size = number(argv[at++]);
	policy.backoff_ms = 20;
	policy.retries_max = 3;
	for (; at < argc; at++) {
		char *equals = strchr(argv[at], '=');

		if (!equals)
			return 2;
		*equals = '\0';
		set(&tool, &config, &policy, argv[at], equals + 1);
	}
	if (cancel_init(&tool.cancel) < 0)
		return 2;

	r = oci_registry_open(argv[2], &config, &auth, &tool.registry, &err);
	r = report(r, &err) < 0 ? 1 : run(&tool);
	oci_registry_free(tool.registry);
	cancel_done(&tool.cancel);
	return r;
}
