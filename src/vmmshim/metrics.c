#include "vmmshim/metrics.h"

#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/text.h"

static const char *const verbs[] = { "GET", "PUT", "PATCH" };
static const char *const verb_names[] = { "get_api_requests", "put_api_requests",
					  "patch_api_requests" };

int metrics_open(struct metrics *metrics, const char *path, const char *id,
		 const json_t *properties, struct err *err)
{
	struct sink sink = SINK_INIT;
	const int r = sink_open(path, &sink);

	if (r < 0)
		return err_set(err, ERR_SYSTEM, "%s (os error %d)", strerrordesc_np(-r), -r);
	sink_done(&metrics->sink);
	metrics->sink = sink;
	metrics->id = id;
	json_decref(metrics->properties);
	metrics->properties = properties ? json_deep_copy(properties) : NULL;
	return 0;
}

void metrics_count(struct metrics *metrics, const char *method, unsigned status)
{
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (str_eq(verbs[i], method)) {
			metrics->requests[i]++;
			metrics->failures[i] += status >= 400 ? 1 : 0;
		}
	}
}

static json_t *group(json_t *root, const char *name)
{
	json_t *part = json_new_object();

	json_put(root, name, part);
	return part;
}

void metrics_write(struct metrics *metrics)
{
	AUTO_JSON *root = NULL;
	AUTO_BUF line = BUF_INIT;
	struct timespec now = { 0 };
	json_t *part;

	if (metrics->sink.fd < 0)
		return;
	root = json_new_object();
	(void)clock_gettime(CLOCK_REALTIME, &now);
	json_put_u64(root, "utc_timestamp_ms",
		     (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000);
	if (metrics->id)
		json_put_str(root, "id", metrics->id);
	if (metrics->properties)
		json_put(root, "properties", json_incref(metrics->properties));
	part = group(root, "api_server");
	json_put_u64(part, "process_startup_time_us", metrics->startup_us);
	json_put_u64(part, "process_startup_time_cpu_us", metrics->startup_cpu_us);
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		part = group(root, verb_names[i]);
		json_put_u64(part, "count", metrics->requests[i]);
		json_put_u64(part, "fails", metrics->failures[i]);
	}
	part = group(root, "latencies_us");
	json_put_u64(part, "start_vm", metrics->start_us);
	json_put_u64(part, "pause_vm", metrics->pause_us);
	json_put_u64(part, "resume_vm", metrics->resume_us);
	json_put_u64(part, "full_create_snapshot", metrics->create_us);
	json_put_u64(part, "load_snapshot", metrics->load_us);
	part = group(root, "uart");
	json_put_u64(part, "write_count", metrics->console_bytes);
	part = group(root, "vsock");
	json_put_u64(part, "conns_added", metrics->vsock_connections);
	json_put_u64(part, "conns_refused", metrics->vsock_refused);
	json_write(root, &line);
	buf_add_byte(&line, '\n');
	sink_write(&metrics->sink, buf_span(&line));
}

void metrics_done(struct metrics *metrics)
{
	sink_done(&metrics->sink);
	json_decref(metrics->properties);
	metrics->properties = NULL;
}
