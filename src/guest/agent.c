#include "guest/agent.h"

#include <errno.h>
#include <poll.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "guest/ask.h"
#include "guest/connect.h"
#include "guest/http.h"
#include "guest/io.h"
#include "wire/protocol.h"

#define AT(type, member) offsetof(struct type, member)

static const struct json_field health_fields[] = {
	{ "protocol", JSON_FIELD_U64, true, AT(guest_health, protocol), 0, NULL },
	{ "version", JSON_FIELD_STRING, true, AT(guest_health, version), 0, NULL },
	{ "hostname", JSON_FIELD_STRING, true, AT(guest_health, hostname), 0, NULL },
	{ "boot_token", JSON_FIELD_STRING, false, AT(guest_health, boot_token), 0, NULL },
	{ "uptime_ms", JSON_FIELD_U64, true, AT(guest_health, uptime_ms), 0, NULL },
	{ "stages", JSON_FIELD_STRINGS, true, AT(guest_health, stages), GUEST_STAGES_MAX, NULL },
};

static const struct json_field stats_fields[] = {
	{ "uptime_ms", JSON_FIELD_U64, true, AT(guest_stats, uptime_ms), 0, NULL },
	{ "memory_total_bytes", JSON_FIELD_U64, true, AT(guest_stats, memory_total_bytes), 0,
	  NULL },
	{ "memory_available_bytes", JSON_FIELD_U64, true, AT(guest_stats, memory_available_bytes),
	  0, NULL },
	{ "root_total_bytes", JSON_FIELD_U64, true, AT(guest_stats, root_total_bytes), 0, NULL },
	{ "root_free_bytes", JSON_FIELD_U64, true, AT(guest_stats, root_free_bytes), 0, NULL },
	{ "work_total_bytes", JSON_FIELD_U64, true, AT(guest_stats, work_total_bytes), 0, NULL },
	{ "work_free_bytes", JSON_FIELD_U64, true, AT(guest_stats, work_free_bytes), 0, NULL },
	{ "processes", JSON_FIELD_U64, true, AT(guest_stats, processes), 0, NULL },
	{ "load_milli", JSON_FIELD_U64, true, AT(guest_stats, load_milli), 0, NULL },
	{ "cpu_busy_ms", JSON_FIELD_U64, true, AT(guest_stats, cpu_busy_ms), 0, NULL },
};

void guest_health_done(struct guest_health *health)
{
	json_fields_done(health_fields, ARRAY_LEN(health_fields), health);
	*health = (struct guest_health){ .version = NULL };
}

bool guest_health_has_stage(const struct guest_health *health, const char *stage)
{
	return strv_has(&health->stages, stage);
}

/* Replaces a text of the guest by what may be shown of it. */
static void make_safe(char **text)
{
	AUTO_BUF safe = BUF_INIT;

	if (!*text)
		return;
	text_escape(&safe, span_str(*text), GUEST_TEXT_MAX);
	mem_free(*text);
	*text = buf_detach(&safe);
}

int guest_wrong_answer(struct err *err)
{
	err->kind = ERR_PROTOCOL;
	return err_context(err, -EPROTO, "wrong answer from the agent");
}

int guest_read_health(struct span answer, struct guest_health *ret, struct err *err)
{
	struct guest_health health = { .version = NULL };
	AUTO_JSON *object = NULL;
	struct span body;
	int r;

	r = guest_http_read(answer, true, &body, err);
	if (r < 0)
		return r;
	r = json_read(body, &object, err);
	if (r < 0)
		return guest_wrong_answer(err);
	if (!str_eq(json_get_str(object, "status"), "ok"))
		return err_set(err, ERR_PROTOCOL,
			       "wrong answer from the agent: 'status' is not ok");
	if (json_object_del(object, "status") < 0 ||
	    json_read_fields(object, health_fields, ARRAY_LEN(health_fields), &health, err) < 0)
		return guest_wrong_answer(err);

	make_safe(&health.version);
	make_safe(&health.hostname);
	make_safe(&health.boot_token);
	for (size_t i = 0; i < health.stages.count; i++)
		make_safe(&health.stages.items[i]);
	*ret = health;
	return 0;
}

int guest_health(const struct guest_target *target, struct guest_health *ret, struct err *err)
{
	static const char doing[] = "ask the agent for its health";
	AUTO_BUF answer = BUF_INIT;
	uint64_t round_trip_us = 0;
	int r;

	r = guest_http_get(target, WIRE_HTTP_HEALTH, doing, &answer, &round_trip_us, err);
	if (r < 0)
		return r;
	r = guest_read_health(buf_span(&answer), ret, err);
	if (r < 0)
		return err_context(err, r, "%s", doing);
	ret->round_trip_us = round_trip_us;
	return 0;
}

/* One attempt with a deadline of its own: a boot may swallow a connection. */
static int attempt(const struct guest_target *target, const char *stage, struct guest_health *ret,
		   struct err *err)
{
	const uint64_t own_ns = clock_now_ns() + GUEST_ATTEMPT_MS * NSEC_PER_MSEC;
	const struct guest_target once = {
		.socket_path = target->socket_path,
		.cancel = target->cancel,
		.deadline_ns = own_ns < target->deadline_ns ? own_ns : target->deadline_ns,
	};
	struct guest_health health = { .version = NULL };
	int r;

	r = guest_health(&once, &health, err);
	if (r < 0)
		return r;
	if (stage && !guest_health_has_stage(&health, stage)) {
		guest_health_done(&health);
		return err_set(err, ERR_BAD_STATE, "the guest has not reached the stage '%s'",
			       stage);
	}
	*ret = health;
	return 0;
}

/* Whether asking again may help: nobody there, no answer, an answer that is not the last word. */
static bool is_worth_another(const struct err *err)
{
	return err->kind == ERR_NOT_FOUND || err->kind == ERR_TIMEOUT || err->kind == ERR_BAD_STATE;
}

int guest_wait_healthy(const struct guest_target *target, const char *stage,
		       struct guest_health *ret, struct err *err)
{
	uint64_t pause_ms = GUEST_PAUSE_MIN_MS;
	struct err told = ERR_INIT;
	int r;

	for (;;) {
		r = attempt(target, stage, ret, err);
		if (r == 0 || !is_worth_another(err))
			return r;
		/* What an earlier one was told says more than that the last was cut off by our own
		 * deadline. */
		if (err->kind == ERR_TIMEOUT && told.kind != ERR_NONE)
			*err = told;
		told = *err;
		if (clock_now_ns() + pause_ms * NSEC_PER_MSEC >= target->deadline_ns)
			break;
		r = cancel_poll(target->cancel, -1, 0, clock_now_ns() + pause_ms * NSEC_PER_MSEC);
		if (r != -ETIMEDOUT)
			return err_sys(err, r, "wait for the agent");
		pause_ms += pause_ms / 2;
		if (pause_ms > GUEST_PAUSE_MAX_MS)
			pause_ms = GUEST_PAUSE_MAX_MS;
	}
	err->kind = ERR_TIMEOUT;
	return err_context(err, -ETIMEDOUT, "the guest was not ready in time");
}

int guest_ask(const struct guest_target *target, enum wire_op op, json_t *request, size_t members,
	      json_t **ret_reply, struct err *err)
{
	AUTO_JSON *reply = NULL;
	AUTO_CLOSE int fd = -1;
	int r;

	json_put_str(request, "op", wire_op_name(op));
	r = guest_connect(target->socket_path, WIRE_PORT, target->cancel, target->deadline_ns, &fd,
			  err);
	if (r < 0)
		return r;
	r = guest_call(fd, request, target->cancel, target->deadline_ns, &reply, err);
	if (r == 0 && members != GUEST_MEMBERS_ANY && json_object_size(reply) != members)
		r = err_set(err, ERR_PROTOCOL, "wrong answer from the agent: it has %zu members",
			    json_object_size(reply));
	if (r < 0)
		return err_context(err, r, "ask the agent for '%s'", wire_op_name(op));
	if (ret_reply)
		*ret_reply = TAKE_PTR(reply);
	return 0;
}

int guest_identity(const struct guest_target *target, const json_t *identity, struct err *err)
{
	AUTO_JSON *request = json_new_object();

	json_put(request, "identity", json_deep_copy(identity));
	return guest_ask(target, WIRE_OP_IDENTITY, request, 1, NULL, err);
}

int guest_shutdown(const struct guest_target *target, enum guest_stop mode, struct err *err)
{
	AUTO_JSON *request = json_new_object();

	json_put_str(request, "mode", mode == GUEST_REBOOT ? "reboot" : "poweroff");
	return guest_ask(target, WIRE_OP_SHUTDOWN, request, 1, NULL, err);
}

int guest_stats(const struct guest_target *target, struct guest_stats *ret, struct err *err)
{
	AUTO_JSON *request = json_new_object();
	AUTO_JSON *reply = NULL;
	struct guest_stats stats = { .uptime_ms = 0 };
	int r;

	r = guest_ask(target, WIRE_OP_STATS, request, 2, &reply, err);
	if (r < 0)
		return r;
	r = json_read_fields(json_object_get(reply, "stats"), stats_fields, ARRAY_LEN(stats_fields),
			     &stats, err);
	if (r < 0)
		return guest_wrong_answer(err);
	*ret = stats;
	return 0;
}

int guest_ping(const struct guest_target *target, uint64_t *ret_us, struct err *err)
{
	AUTO_JSON *request = json_new_object();
	AUTO_CLOSE int fd = -1;
	uint64_t asked_ns;
	int r;

	json_put_str(request, "op", wire_op_name(WIRE_OP_PING));
	r = guest_connect(target->socket_path, WIRE_PORT, target->cancel, target->deadline_ns, &fd,
			  err);
	if (r < 0)
		return r;
	asked_ns = clock_now_ns();
	r = guest_call(fd, request, target->cancel, target->deadline_ns, NULL, err);
	if (r < 0)
		return err_context(err, r, "ask the agent for 'ping'");
	*ret_us = (clock_now_ns() - asked_ns) / 1000;
	return 0;
}

int guest_ssh(int fd, const struct cancel *cancel, uint64_t deadline_ns, struct err *err)
{
	AUTO_JSON *request = json_new_object();

	json_put_str(request, "op", wire_op_name(WIRE_OP_SSH));
	return guest_call(fd, request, cancel, deadline_ns, NULL, err);
}
