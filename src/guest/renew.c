#include "guest/renew.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "guest/ask.h"
#include "wire/protocol.h"

#define AT(member) offsetof(struct guest_machine, member)

static const struct json_field machine_fields[] = {
	{ "hostname", JSON_FIELD_STRING, true, AT(hostname), 0, NULL },
	{ "machine_id", JSON_FIELD_STRING, true, AT(machine_id), 0, NULL },
	{ "boot_id", JSON_FIELD_STRING, true, AT(boot_id), 0, NULL },
	{ "boot_token", JSON_FIELD_STRING, false, AT(boot_token), 0, NULL },
	{ "mac", JSON_FIELD_STRING, false, AT(mac), 0, NULL },
	{ "address", JSON_FIELD_STRING, false, AT(address), 0, NULL },
	{ "gateway", JSON_FIELD_STRING, false, AT(gateway), 0, NULL },
	{ "prefix", JSON_FIELD_U64, false, AT(prefix), 32, NULL },
	{ "addresses", JSON_FIELD_U64, false, AT(addresses), 0, NULL },
	{ "ssh_host_key_pub", JSON_FIELD_STRING, true, AT(ssh_host_key_pub), 0, NULL },
	{ "random", JSON_FIELD_STRING, true, AT(random), 64, NULL },
	{ "wall_ms", JSON_FIELD_U64, true, AT(wall_ms), 0, NULL },
	{ "took_us", JSON_FIELD_U64, true, AT(took_us), 0, NULL },
};

void guest_machine_done(struct guest_machine *machine)
{
	json_fields_done(machine_fields, ARRAY_LEN(machine_fields), machine);
	*machine = (struct guest_machine){ .hostname = NULL };
}

/* --- what it must say --- */

static int check_text(const char *name, const char *said, const char *wanted, struct err *err)
{
	AUTO_BUF safe = BUF_INIT;

	if (str_eq(said, wanted) || (!wanted && str_empty(said)))
		return 0;
	if (said)
		text_escape(&safe, span_str(said), GUEST_TEXT_MAX);
	return err_set(err, ERR_PROTOCOL, "the guest's %s is '%s' and not '%s'", name, safe.ptr,
		       wanted ? wanted : "");
}

static int check_number(const char *name, uint64_t said, uint64_t wanted, struct err *err)
{
	if (said == wanted)
		return 0;
	return err_set(err, ERR_PROTOCOL, "the guest's %s is %llu and not %llu", name,
		       (unsigned long long)said, (unsigned long long)wanted);
}

static int check_network(const struct guest_machine *machine, const json_t *network,
			 struct err *err)
{
	const bool has_network = json_is_object(network);
	int r = 0;

	if (has_network)
		r = check_text("MAC address", machine->mac, json_get_str(network, "mac"), err);
	if (r == 0)
		r = check_text("address", machine->address, json_get_str(network, "address"), err);
	if (r == 0)
		r = check_text("gateway", machine->gateway, json_get_str(network, "gateway"), err);
	if (r == 0)
		r = check_number("network prefix", machine->prefix, json_get_u64(network, "prefix"),
				 err);
	if (r == 0)
		r = check_number("number of addresses", machine->addresses, has_network ? 1 : 0,
				 err);
	return r;
}

/* It was set and read at some time between question and answer. */
static int check_clock(uint64_t said_ms, const json_t *identity, uint64_t took_ms, struct err *err)
{
	const uint64_t asked_ms = json_get_u64(identity, "wall_seconds") * 1000;
	const uint64_t now_ms = asked_ms + took_ms;
	const uint64_t apart_ms = said_ms > now_ms     ? said_ms - now_ms
				  : said_ms < asked_ms ? asked_ms - said_ms
						       : 0;

	if (apart_ms <= GUEST_CLOCK_APART_MS)
		return 0;
	return err_set(err, ERR_PROTOCOL, "the guest's clock is %llu ms off",
		       (unsigned long long)apart_ms);
}

static int check_machine(const struct guest_machine *machine, const json_t *identity,
			 uint64_t took_ms, struct err *err)
{
	AUTO_FREE char *key = mem_strdup(json_get_str(identity, "ssh_host_key_pub")
						 ? json_get_str(identity, "ssh_host_key_pub")
						 : "");
	const size_t len = strlen(key);
	int r;

	if (len > 0 && key[len - 1] == '\n')
		key[len - 1] = '\0';
	r = check_text("hostname", machine->hostname, json_get_str(identity, "hostname"), err);
	if (r == 0)
		r = check_text("machine-id", machine->machine_id,
			       json_get_str(identity, "machine_id"), err);
	if (r == 0)
		r = check_text("boot token", machine->boot_token,
			       json_get_str(identity, "boot_token"), err);
	if (r == 0)
		r = check_text("SSH host key", machine->ssh_host_key_pub, key, err);
	if (r == 0)
		r = check_network(machine, json_object_get(identity, "network"), err);
	if (r == 0)
		r = check_clock(machine->wall_ms, identity, took_ms, err);
	return r;
}

/* Judged as it came; what is kept may be shown. */
static void make_safe(struct guest_machine *machine)
{
	char **const texts[] = {
		&machine->hostname, &machine->machine_id,
		&machine->boot_id,  &machine->boot_token,
		&machine->mac,	    &machine->address,
		&machine->gateway,  &machine->ssh_host_key_pub,
		&machine->random,
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		char **const text = texts[i];
		AUTO_BUF safe = BUF_INIT;

		if (!*text)
			continue;
		text_escape(&safe, span_str(*text), GUEST_TEXT_MAX);
		mem_free(*text);
		*text = buf_detach(&safe);
	}
}

int guest_read_machine(const json_t *object, const json_t *identity, uint64_t took_ms,
		       struct guest_machine *ret, struct err *err)
{
	struct guest_machine machine = { .hostname = NULL };
	int r = json_read_fields(object, machine_fields, ARRAY_LEN(machine_fields), &machine, err);

	if (r < 0)
		return guest_wrong_answer(err);
	r = check_machine(&machine, identity, took_ms, err);
	if (r < 0) {
		guest_machine_done(&machine);
		return r;
	}
	make_safe(&machine);
	*ret = machine;
	return 0;
}

/* --- asking --- */

void guest_put_clock(json_t *identity)
{
	struct timespec now;

	/* Since there are clocks, this one is there. */
	(void)clock_gettime(CLOCK_REALTIME, &now);
	json_put_i64(identity, "wall_seconds", now.tv_sec);
	json_put_i64(identity, "wall_nanoseconds", now.tv_nsec);
}

int guest_renew(const struct guest_target *target, const json_t *identity,
		struct guest_machine *ret, struct err *err)
{
	AUTO_JSON *request = json_new_object();
	AUTO_JSON *reply = NULL;
	struct guest_machine machine = { .hostname = NULL };
	const uint64_t asked_ns = clock_now_ns();
	int r;

	json_put(request, "identity", json_deep_copy(identity));
	json_put_bool(request, "renew", true);
	r = guest_ask(target, WIRE_OP_IDENTITY, request, 2, &reply, err);
	if (r == 0)
		r = guest_read_machine(json_object_get(reply, "machine"), identity,
				       (clock_now_ns() - asked_ns) / NSEC_PER_MSEC, &machine, err);
	if (r < 0)
		return err_context(err, r, "make the guest another machine");
	if (ret)
		*ret = machine;
	else
		guest_machine_done(&machine);
	return 0;
}

/* One look: 1 it is quiet, 0 it is not, and `why` has the reason. */
static int ask_quiet(const struct guest_target *target, struct buf *why, struct err *err)
{
	AUTO_JSON *request = json_new_object();
	AUTO_JSON *reply = NULL;
	const json_t *quiet;
	const char *reason;
	int r = guest_ask(target, WIRE_OP_QUIET, request, GUEST_MEMBERS_ANY, &reply, err);

	if (r < 0)
		return r;
	quiet = json_object_get(reply, "quiet");
	reason = json_get_str(reply, "why");
	if (!json_is_boolean(quiet) || json_object_size(reply) != (reason ? 3U : 2U) ||
	    json_is_true(quiet) == (reason != NULL))
		return err_set(err, ERR_PROTOCOL,
			       "wrong answer from the agent: whether it is quiet");
	buf_clear(why);
	if (reason)
		text_escape(why, span_str(reason), GUEST_TEXT_MAX);
	return json_is_true(quiet) ? 1 : 0;
}

int guest_wait_quiet(const struct guest_target *target, struct err *err)
{
	AUTO_BUF why = BUF_INIT;
	int times = 0;
	int r;

	for (;;) {
		r = ask_quiet(target, &why, err);
		if (r < 0)
			return why.len > 0 && err->kind == ERR_TIMEOUT
				       ? err_set(err, ERR_TIMEOUT,
						 "the guest did not come to rest: %s", why.ptr)
				       : r;
		times = r == 1 ? times + 1 : 0;
		if (times == GUEST_QUIET_TIMES)
			return 0;
		if (times > 0)
			continue;
		if (clock_now_ns() + GUEST_QUIET_PAUSE_MS * NSEC_PER_MSEC >= target->deadline_ns)
			return err_set(err, ERR_TIMEOUT, "the guest did not come to rest: %s",
				       why.ptr);
		r = cancel_poll(target->cancel, -1, 0,
				clock_now_ns() + GUEST_QUIET_PAUSE_MS * NSEC_PER_MSEC);
		if (r != -ETIMEDOUT)
			return err_sys(err, r, "wait for the guest to come to rest");
	}
}

int guest_freeze(const struct guest_target *target, uint64_t timeout_ms, struct err *err)
{
	AUTO_JSON *request = json_new_object();
	AUTO_JSON *reply = NULL;
	int r;

	json_put_u64(request, "timeout_ms", timeout_ms);
	r = guest_ask(target, WIRE_OP_FREEZE, request, 2, &reply, err);
	if (r < 0)
		return r;
	if (!json_is_array(json_object_get(reply, "frozen")))
		return err_set(err, ERR_PROTOCOL, "wrong answer from the agent: what is frozen");
	return 0;
}

int guest_thaw(const struct guest_target *target, bool *ret_held, struct err *err)
{
	AUTO_JSON *request = json_new_object();
	AUTO_JSON *reply = NULL;
	const json_t *held;
	int r = guest_ask(target, WIRE_OP_THAW, request, 2, &reply, err);

	if (r < 0)
		return r;
	held = json_object_get(reply, "held");
	if (!json_is_boolean(held))
		return err_set(err, ERR_PROTOCOL, "wrong answer from the agent: whether it held");
	if (ret_held)
		*ret_held = json_is_true(held);
	return 0;
}

int guest_grow(const struct guest_target *target, uint64_t system_bytes, uint64_t work_bytes,
	       struct err *err)
{
	AUTO_JSON *request = json_new_object();

	if (system_bytes > 0)
		json_put_u64(request, "system_bytes", system_bytes);
	if (work_bytes > 0)
		json_put_u64(request, "work_bytes", work_bytes);
	return guest_ask(target, WIRE_OP_GROW, request, 1, NULL, err);
}
