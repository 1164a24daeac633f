/*
 * What fetch.bats drives src/fetch with:
 *
 *     fetch_tool get URL [KEY=VALUE...]      the body to stdout, as it comes
 *     fetch_tool bytes URL [KEY=VALUE...]    the same through fetch_bytes()
 *     fetch_tool file URL OUT SIZE SHA256 [KEY=VALUE...]
 *
 * The last line of stderr tells what came of it: "status=200 place=loopback" and headers, or
 * "error KIND: MESSAGE". Waits are short unless a KEY says otherwise.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/strv.h"
#include "base/text.h"
#include "fetch/fetch.h"

struct tool {
	struct fetch_policy policy;
	struct fetch_request request;
	struct strv headers;
	struct cancel cancel;
	uint64_t cancel_after_ms; /* 0: never */
	uint64_t stop_after;	  /* the sink refuses to take more; 0: never */
	uint64_t taken;
	uint64_t progress_done;
};

static uint64_t number(const char *text)
{
	uint64_t value = 0;

	if (!parse_u64_text(text, UINT64_MAX, &value)) {
		(void)fprintf(stderr, "'%s' is no number\n", text);
		exit(2);
	}
	return value;
}

static const char *const place_names[FETCH_PLACE_COUNT] = { "none", "public", "private",
							    "link-local", "loopback" };

static enum fetch_place place_from_name(const char *name)
{
	for (unsigned int i = 0; i < FETCH_PLACE_COUNT; i++)
		if (str_eq(name, place_names[i]))
			return (enum fetch_place)i;
	exit(2);
}

static bool set_number(struct tool *tool, const char *key, const char *value)
{
	const struct {
		const char *key;
		uint64_t *slot;
	} rows[] = {
		{ "connect_ms", &tool->policy.connect_ms },
		{ "stall_ms", &tool->policy.stall_ms },
		{ "rate", &tool->policy.stall_bytes_per_second },
		{ "backoff_ms", &tool->policy.backoff_ms },
		{ "wait_max_ms", &tool->policy.wait_max_ms },
		{ "offset", &tool->request.offset },
		{ "size", &tool->request.size },
		{ "size_max", &tool->request.size_max },
		{ "cancel_after_ms", &tool->cancel_after_ms },
		{ "stop_after", &tool->stop_after },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!str_eq(key, rows[i].key))
			continue;
		*rows[i].slot = number(value);
		return true;
	}
	return false;
}

static void set(struct tool *tool, const char *key, const char *value)
{
	if (set_number(tool, key, value))
		return;
	if (str_eq(key, "retries"))
		tool->policy.retries_max = (unsigned int)number(value);
	else if (str_eq(key, "redirects"))
		tool->policy.redirects_max = (unsigned int)number(value);
	else if (str_eq(key, "ca"))
		tool->policy.ca_file = value;
	else if (str_eq(key, "insecure"))
		tool->policy.is_insecure_allowed = str_eq(value, "yes");
	else if (str_eq(key, "authorization"))
		tool->request.authorization = value;
	else if (str_eq(key, "form"))
		tool->request.form = value;
	else if (str_eq(key, "led_from"))
		tool->request.led_from = place_from_name(value);
	else if (str_eq(key, "header"))
		strv_add(&tool->headers, value);
	else
		exit(2);
}

static void read_options(struct tool *tool, char **arguments)
{
	for (; *arguments; arguments++) {
		char *equals = strchr(*arguments, '=');

		if (!equals)
			exit(2);
		*equals = '\0';
		set(tool, *arguments, equals + 1);
	}
	if (tool->headers.count > 0)
		tool->request.headers = (const char *const *)strv_argv(&tool->headers);
}

static void *cancel_later(void *context)
{
	struct tool *tool = context;

	IGNORE_RESULT(
		cancel_poll(NULL, -1, 0, clock_now_ns() + tool->cancel_after_ms * NSEC_PER_MSEC));
	cancel_fire(&tool->cancel);
	return NULL;
}

static int take(void *context, struct span bytes, struct err *err)
{
	struct tool *tool = context;

	tool->taken += bytes.len;
	if (tool->stop_after > 0 && tool->taken > tool->stop_after)
		return err_set(err, ERR_BUSY, "the sink is full");
	return fd_write_all(STDOUT_FILENO, bytes);
}

static void count_progress(void *context, const struct progress_event *event)
{
	struct tool *tool = context;

	if (!str_eq(event->stage, "download") || event->done < tool->progress_done)
		abort();
	tool->progress_done = event->done;
}

static void print_response(const struct fetch_response *response)
{
	static const char *const names[FETCH_HEADER_COUNT] = { "content-type",
							       "docker-content-digest", "etag",
							       "link" };

	(void)fprintf(stderr, "status=%u place=%s", response->status, place_names[response->place]);
	for (size_t i = 0; i < FETCH_HEADER_COUNT; i++)
		if (response->headers[i])
			(void)fprintf(stderr, " %s=%s", names[i], response->headers[i]);
	for (size_t i = 0; i < response->challenges.count; i++)
		(void)fprintf(stderr, " challenge=%s", response->challenges.items[i]);
	(void)fprintf(stderr, "\n");
}

static int get(struct tool *tool, bool in_memory, struct err *err)
{
	const struct fetch_sink sink = { .take = take, .context = tool };
	AUTO_FETCH_RESPONSE response = FETCH_RESPONSE_INIT;
	AUTO_BUF bytes = BUF_INIT;
	int r;

	if (in_memory)
		r = fetch_bytes(&tool->request, &bytes, &response, err);
	else
		r = fetch_get(&tool->request, &sink, &response, err);
	if (r < 0)
		return r;
	if (response.status != 200 && response.status != 206) {
		print_response(&response);
		return fetch_status_error(&response, tool->request.url, err);
	}
	r = fd_write_all(STDOUT_FILENO, buf_span(&bytes));
	print_response(&response);
	return r;
}

static int get_file(struct tool *tool, char **arguments, struct err *err)
{
	const struct progress progress = { .report = count_progress, .context = tool };
	AUTO_CLOSE int fd = open(arguments[0], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	const struct fetch_file file = {
		.url = tool->request.url,
		.fd = fd,
		.size = number(arguments[1]),
		.sha256 = arguments[2],
		.stage = "download",
		.policy = &tool->policy,
		.cancel = &tool->cancel,
		.progress = &progress,
	};
	int r;

	r = fetch_file(&file, err);
	(void)fprintf(stderr, "progress=%" PRIu64 "\n", tool->progress_done);
	return r;
}

int main(int argc, char **argv)
{
	struct tool tool = {
		.policy = FETCH_POLICY_INIT,
		.request = { .size = FETCH_SIZE_UNKNOWN },
		.cancel = CANCEL_INIT,
	};
	const bool is_file = argc >= 6 && str_eq(argv[1], "file");
	struct err err = ERR_INIT;
	pthread_t thread = { 0 };
	int r;

	if (argc < 3 || cancel_init(&tool.cancel) < 0)
		return 2;
	tool.policy.backoff_ms = 20;
	tool.policy.retries_max = 3;
	tool.request.url = argv[2];
	tool.request.policy = &tool.policy;
	tool.request.cancel = &tool.cancel;
	read_options(&tool, argv + (is_file ? 6 : 3));
	if (tool.cancel_after_ms > 0 && pthread_create(&thread, NULL, cancel_later, &tool) != 0)
		return 2;

	r = is_file ? get_file(&tool, argv + 3, &err) : get(&tool, str_eq(argv[1], "bytes"), &err);
	if (r < 0)
		(void)fprintf(stderr, "error %s: %s\n", err_kind_name(err.kind), err.message);
	if (tool.cancel_after_ms > 0)
		(void)pthread_join(thread, NULL);
	cancel_done(&tool.cancel);
	strv_done(&tool.headers);
	return r < 0 ? 1 : 0;
}
