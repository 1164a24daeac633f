#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "vmmshim/journal.h"
#include "vmmshim/vmm.h"
#include "vmmshim/vmm_state.h"

#define MIB (1024ULL * 1024)

static void next_request(struct vmm *vmm);

/* --- what happens at once --- */

static int set_logger(void *context, const struct logger_body *logger, struct err *err)
{
	const struct journal_settings settings = {
		.path = logger->log_path,
		.level = logger->level,
		.show_level =
			field_given(logger->given, LOGGER_SHOW_LEVEL) ? &logger->show_level : NULL,
		.show_origin = field_given(logger->given, LOGGER_SHOW_ORIGIN)
				       ? &logger->show_log_origin
				       : NULL,
		.module = logger->module,
	};
	enum journal_level level;
	int r;

	(void)context;
	r = journal_configure(&settings, err);
	if (r == 0)
		return 0;
	if (logger->level && !journal_level_parse(logger->level, &level)) {
		const struct err reason = *err;

		return err_set(
			err, ERR_INVALID,
			"An error occurred when deserializing the json body of a request: %s.",
			reason.message);
	}
	return err_context(err, r, "Logger error: Failed to open target file");
}

static int set_metrics(void *context, const struct metrics_body *metrics, struct err *err)
{
	struct vmm *vmm = context;
	const int r =
		metrics_open(&vmm->metrics, metrics->metrics_path,
			     metrics->emit_id ? vmm->options.id : NULL, metrics->properties, err);

	if (r < 0)
		return err_context(err, r,
				   "Metrics error: Cannot initialize the metrics system due to bad "
				   "user input");
	vmm->metrics_due_ns = clock_now_ns() + METRICS_PERIOD_MS * NSEC_PER_MSEC;
	return 0;
}

static int flush_metrics(void *context, struct err *err)
{
	struct vmm *vmm = context;

	(void)err;
	metrics_write(&vmm->metrics);
	return 0;
}

const struct api_ops requests_api_ops = {
	.set_logger = set_logger,
	.set_metrics = set_metrics,
	.flush_metrics = flush_metrics,
};

/* --- answers --- */

static void log_answer(const struct api_request *request, const struct api_reply *reply)
{
	AUTO_BUF path = BUF_INIT;
	AUTO_BUF text = BUF_INIT;

	text_escape(&path, span_str(request->path), 128);
	if (reply->status < 400) {
		journal_info("%s %s: %u", request->method, path.ptr, reply->status);
		return;
	}
	text_escape(&text, buf_span(&reply->body), 512);
	journal_error("%s %s: %u %s", request->method, path.ptr, reply->status, text.ptr);
}

/* The action under way is done: its answer goes out and the next request gets its turn. */
void requests_finish(struct vmm *vmm, json_t *result, const struct err *failure)
{
	struct http_exchange *exchange = TAKE_PTR(vmm->exchange);
	struct api_reply reply = { .body = BUF_INIT };

	vmm->action = API_ANSWERED;
	json_decref(vmm->action_result);
	vmm->action_result = NULL;
	api_complete(&reply, result, failure);
	if (failure)
		journal_error("%s", failure->message);
	metrics_count(&vmm->metrics, vmm->action_method, reply.status);
	if (exchange)
		http_answer(exchange, &reply);
	buf_done(&reply.body);
	next_request(vmm);
}

static void fail_action(struct vmm *vmm, const char *what, const struct err *err)
{
	struct err failure = *err;

	(void)err_prefix(&failure, -EIO, "%s", what);
	requests_finish(vmm, NULL, &failure);
}

static uint64_t elapsed_us(const struct vmm *vmm)
{
	return (clock_now_ns() - vmm->action_began_ns) / 1000;
}

/* --- actions through QMP --- */

static void on_paused(void *context, const json_t *result, const struct err *err)
{
	struct vmm *vmm = context;

	(void)result;
	if (err) {
		fail_action(vmm, "Internal VMM error", err);
		return;
	}
	vmm->api.phase = API_PAUSED;
	vmm->metrics.pause_us = elapsed_us(vmm);
	requests_finish(vmm, NULL, NULL);
}

static void on_resumed(void *context, const json_t *result, const struct err *err)
{
	struct vmm *vmm = context;

	(void)result;
	if (err) {
		fail_action(vmm, "Internal VMM error", err);
		return;
	}
	vmm->api.phase = API_RUNNING;
	vmm->metrics.resume_us = elapsed_us(vmm);
	requests_finish(vmm, NULL, NULL);
}

static void on_done(void *context, const json_t *result, const struct err *err)
{
	struct vmm *vmm = context;

	(void)result;
	if (err) {
		fail_action(vmm, "Internal VMM error", err);
		return;
	}
	if (vmm->action == API_SET_BALLOON)
		vmm->api.config.balloon.amount_mib = vmm->action_number;
	else if (vmm->action == API_SET_BALLOON_INTERVAL)
		vmm->api.config.balloon.stats_polling_interval_s = vmm->action_number;
	requests_finish(vmm, NULL, NULL);
}

static void send_ctrl_alt_del(struct vmm *vmm)
{
	static const char *const codes[] = { "ctrl", "alt", "delete" };
	json_t *arguments = json_new_object();
	json_t *keys = json_new_array();

	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		json_t *key = json_new_object();

		json_put_str(key, "type", "qcode");
		json_put_str(key, "data", codes[i]);
		json_add(keys, key);
	}
	json_put(arguments, "keys", keys);
	qmp_command(&vmm->qmp, "send-key", arguments, on_done, vmm);
}

/* QEMU wants the memory that is left, Firecracker names the balloon's size. */
static void send_balloon(struct vmm *vmm, uint64_t amount_mib, qmp_reply_fn reply)
{
	json_t *arguments = json_new_object();

	json_put_u64(arguments, "value", (vmm->api.config.machine.mem_size_mib - amount_mib) * MIB);
	qmp_command(&vmm->qmp, "balloon", arguments, reply, vmm);
}

static json_t *balloon_property(const char *name)
{
	json_t *arguments = json_new_object();

	json_put_str(arguments, "path", "/machine/peripheral/balloon0");
	json_put_str(arguments, "property", name);
	return arguments;
}

static void send_balloon_interval(struct vmm *vmm, uint64_t seconds, qmp_reply_fn reply)
{
	json_t *arguments = balloon_property("guest-stats-polling-interval");

	json_put_u64(arguments, "value", seconds);
	qmp_command(&vmm->qmp, "qom-set", arguments, reply, vmm);
}

/* QEMU's names for Firecracker's figures; one that the guest does not report is -1 or missing. */
static void add_guest_stats(json_t *into, const json_t *stats)
{
	static const struct {
		const char *theirs;
		const char *ours;
	} names[] = {
		{ "stat-swap-in", "swap_in" },
		{ "stat-swap-out", "swap_out" },
		{ "stat-major-faults", "major_faults" },
		{ "stat-minor-faults", "minor_faults" },
		{ "stat-free-memory", "free_memory" },
		{ "stat-total-memory", "total_memory" },
		{ "stat-available-memory", "available_memory" },
		{ "stat-disk-caches", "disk_caches" },
		{ "stat-htlb-pgalloc", "hugetlb_allocations" },
		{ "stat-htlb-pgfail", "hugetlb_failures" },
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		uint64_t value = 0;

		/* What the guest did not say is 2^64-1. */
		if (qmp_number(json_object_get(stats, names[i].theirs), &value))
			json_put_u64(into, names[i].ours, value);
	}
}

static void on_balloon_size(void *context, const json_t *result, const struct err *err)
{
	struct vmm *vmm = context;
	const uint64_t memory_mib = vmm->api.config.machine.mem_size_mib;
	const uint64_t target = vmm->api.config.balloon.amount_mib;
	json_t *answer = TAKE_PTR(vmm->action_result);
	uint64_t left = 0;
	uint64_t actual;

	if (err) {
		json_decref(answer);
		fail_action(vmm, "Internal VMM error", err);
		return;
	}
	if (!qmp_number(json_object_get(result, "actual"), &left) || left / MIB > memory_mib)
		left = memory_mib * MIB;
	actual = memory_mib - left / MIB;
	json_put_u64(answer, "target_pages", target * 256);
	json_put_u64(answer, "actual_pages", actual * 256);
	json_put_u64(answer, "target_mib", target);
	json_put_u64(answer, "actual_mib", actual);
	requests_finish(vmm, answer, NULL);
}

static void on_guest_stats(void *context, const json_t *result, const struct err *err)
{
	struct vmm *vmm = context;

	if (err) {
		fail_action(vmm, "Internal VMM error", err);
		return;
	}
	vmm->action_result = json_new_object();
	add_guest_stats(vmm->action_result, json_object_get(result, "stats"));
	qmp_command(&vmm->qmp, "query-balloon", NULL, on_balloon_size, vmm);
}

static void begin_action(struct vmm *vmm)
{
	vmm->action_began_ns = clock_now_ns();
	switch (vmm->action) {
	case API_ANSWERED:
		return;
	case API_START:
		machine_start(vmm, -1);
		return;
	case API_PAUSE:
		qmp_command(&vmm->qmp, "stop", NULL, on_paused, vmm);
		return;
	case API_RESUME:
		qmp_command(&vmm->qmp, "cont", NULL, on_resumed, vmm);
		return;
	case API_CTRL_ALT_DEL:
		send_ctrl_alt_del(vmm);
		return;
	case API_SET_BALLOON:
		send_balloon(vmm, vmm->action_number, on_done);
		return;
	case API_SET_BALLOON_INTERVAL:
		send_balloon_interval(vmm, vmm->action_number, on_done);
		return;
	case API_GET_BALLOON_STATS:
		qmp_command(&vmm->qmp, "qom-get", balloon_property("guest-stats"), on_guest_stats,
			    vmm);
		return;
	case API_CREATE_SNAPSHOT:
		snapshot_create(vmm);
		return;
	case API_LOAD_SNAPSHOT:
		snapshot_load(vmm);
		return;
	}
}

/* --- the start --- */

/* A balloon that was configured is inflated once the guest runs; failure is not the start's. */
static void on_first_balloon(void *context, const json_t *result, const struct err *err)
{
	(void)context;
	(void)result;
	if (err)
		journal_warn("the balloon: %s, ignoring", err->message);
}

void requests_start_done(struct vmm *vmm, const struct err *err)
{
	const struct balloon_body *balloon = &vmm->api.config.balloon;

	if (err && vmm->action == API_LOAD_SNAPSHOT) {
		snapshot_start_failed(vmm, err);
		return;
	}
	if (err) {
		fail_action(vmm, "Start microvm error", err);
		return;
	}
	vmm->metrics.start_us = elapsed_us(vmm);
	if (balloon->given != 0 && balloon->stats_polling_interval_s > 0)
		send_balloon_interval(vmm, balloon->stats_polling_interval_s, on_first_balloon);
	if (balloon->given != 0 && balloon->amount_mib > 0)
		send_balloon(vmm, balloon->amount_mib, on_first_balloon);
	requests_finish(vmm, NULL, NULL);
}

void requests_start(struct vmm *vmm)
{
	vmm->action = API_START;
	vmm->action_method = "PUT";
	begin_action(vmm);
}

/* --- requests in their turn --- */

static void handle_request(struct vmm *vmm, const struct vmm_request *what)
{
	struct api_reply reply;
	uint64_t number = 0;
	const enum api_action action = api_handle(&vmm->api, &what->request, &reply, &number);

	if (action == API_ANSWERED) {
		log_answer(&what->request, &reply);
		metrics_count(&vmm->metrics, what->request.method, reply.status);
		http_answer(what->exchange, &reply);
		buf_done(&reply.body);
		return;
	}
	buf_done(&reply.body);
	vmm->action = action;
	vmm->action_number = number;
	vmm->action_method = str_eq(what->request.method, "GET")     ? "GET"
			     : str_eq(what->request.method, "PATCH") ? "PATCH"
								     : "PUT";
	vmm->exchange = what->exchange;
	journal_info("%s %s", what->request.method, what->request.path);
	begin_action(vmm);
}

static void next_request(struct vmm *vmm)
{
	while (vmm->action == API_ANSWERED && vmm->queue_count > 0) {
		const struct vmm_request first = vmm->queue[0];

		vmm->queue_count--;
		memmove(&vmm->queue[0], &vmm->queue[1], sizeof(first) * vmm->queue_count);
		handle_request(vmm, &first);
	}
}

static bool is_question(const struct vmm *vmm, const struct api_request *request)
{
	return vmm->action == API_CREATE_SNAPSHOT && str_eq(request->method, "GET") &&
	       str_eq(request->path, "/");
}

void requests_receive(void *context, struct http_exchange *exchange,
		      const struct api_request *request)
{
	struct vmm *vmm = context;
	const struct vmm_request what = { .exchange = exchange, .request = *request };

	if (vmm->action == API_ANSWERED || is_question(vmm, request)) {
		handle_request(vmm, &what);
		return;
	}
	/* One request a connection, so there is always room. */
	if (vmm->queue_count < ARRAY_LEN(vmm->queue))
		vmm->queue[vmm->queue_count++] = what;
}

bool requests_want_resume(const struct vmm *vmm)
{
	for (size_t i = 0; i < vmm->queue_count; i++) {
		const struct api_request *request = &vmm->queue[i].request;
		AUTO_JSON *body = NULL;
		struct err ignored = ERR_INIT;

		if (str_eq(request->method, "PATCH") && str_eq(request->path, "/vm") &&
		    json_read(request->body, &body, &ignored) == 0 &&
		    str_eq(json_get_str(body, "state"), "Resumed"))
			return true;
	}
	return false;
}
