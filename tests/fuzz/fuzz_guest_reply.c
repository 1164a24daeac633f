/*
 * What a guest answers. The first byte chooses: the CONNECT reply, an HTTP answer with the health,
 * a JSON reply line, names in a tar stream, or what a renewed machine says that it is. What is
 * accepted must be harmless to show and to use.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "fuzz.h"
#include "guest/agent.h"
#include "guest/connect.h"
#include "guest/extract.h"
#include "guest/http.h"
#include "guest/ports.h"
#include "guest/renew.h"

#define REQUIRE(condition)        \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

static void check_connect(struct span reply)
{
	struct span digits = span_skip(reply, 3);
	char again[GUEST_CONNECT_REPLY_MAX];
	uint64_t number;
	int n;

	if (reply.len > GUEST_CONNECT_REPLY_MAX)
		reply.len = GUEST_CONNECT_REPLY_MAX;
	if (guest_connect_reply(reply) != 1)
		return;
	/* What was accepted prints back to the same bytes, and every beginning of it only wants
	 * more. */
	REQUIRE(parse_u64(&digits, UINT32_MAX, &number));
	n = snprintf(again, sizeof(again), "OK %llu\n", (unsigned long long)number);
	REQUIRE(n > 0 && span_eq(reply, span_of(again, (size_t)n)));
	for (size_t len = 0; len < reply.len; len++)
		REQUIRE(guest_connect_reply(span_of(reply.ptr, len)) == 0);
}

/* As it may be written to a terminal: printable, escaped, cut. */
static void check_text(const char *text)
{
	AUTO_BUF again = BUF_INIT;

	if (!text)
		return;
	text_escape(&again, span_str(text), SIZE_MAX);
	REQUIRE(strcmp(again.ptr, text) == 0);
	REQUIRE(strlen(text) <= GUEST_TEXT_MAX * 8 + 3);
}

static void check_ports(struct span answer)
{
	AUTO_GUEST_PORTS ports = { .items = NULL };
	struct err err = ERR_INIT;

	if (guest_read_ports(answer, &ports, &err) < 0) {
		/* An agent that says nothing at all is not ready yet; anything else breaks the
		 * protocol. */
		REQUIRE(err.kind == (answer.len == 0 ? ERR_BAD_STATE : ERR_PROTOCOL));
		REQUIRE(err.message[0] != '\0');
		return;
	}
	REQUIRE(ports.count <= GUEST_PORTS_MAX);
	for (size_t i = 0; i < ports.count; i++) {
		REQUIRE(ports.items[i].port != 0 && ports.items[i].address[0] != '\0');
		check_text(ports.items[i].address);
		check_text(ports.items[i].process);
		check_text(ports.items[i].command);
	}
}

static void check_health(struct span answer)
{
	struct guest_health health = { 0 };
	struct err err = ERR_INIT;
	struct span body;
	const int whole = guest_http_read(answer, true, &body, &err);

	check_ports(answer);

	/* The end of the stream decides what was open; nothing is open after it. */
	REQUIRE(whole == 1 || whole < 0);
	if (whole == 1)
		REQUIRE(guest_http_read(answer, false, &body, &err) >= 0);
	if (guest_read_health(answer, &health, &err) < 0) {
		REQUIRE(err.kind != ERR_NONE && err.message[0] != '\0');
		return;
	}
	check_text(health.version);
	check_text(health.hostname);
	check_text(health.boot_token);
	REQUIRE(health.stages.count <= GUEST_STAGES_MAX);
	for (size_t i = 0; i < health.stages.count; i++)
		check_text(health.stages.items[i]);
	guest_health_done(&health);
}

static void check_reply(struct span line)
{
	AUTO_JSON *reply = NULL;
	struct err err = ERR_INIT;

	if (guest_read_reply(line, &reply, &err) == 0)
		REQUIRE(json_is_true(json_object_get(reply, "ok")));
	else
		REQUIRE(err.kind != ERR_NONE);
	check_text(err.message);
}

/* Whatever it says, it is the machine that was asked for, or it is refused. */
static void check_machine(struct span text)
{
	AUTO_JSON *object = NULL;
	AUTO_JSON *identity = NULL;
	struct guest_machine machine;
	struct err err = ERR_INIT;

	if (json_read(text, &object, &err) < 0)
		return;
	/* One that agrees, so that more than the first difference is reached. */
	identity = json_deep_copy(object);
	if (!json_is_object(identity))
		return;
	json_put_i64(identity, "wall_seconds", (int64_t)(json_get_u64(object, "wall_ms") / 1000));
	if (json_get_str(object, "address") && json_get_str(object, "mac"))
		json_put(identity, "network", json_deep_copy(object));
	if (guest_read_machine(object, identity, 0, &machine, &err) < 0) {
		REQUIRE(err.kind == ERR_PROTOCOL && err.message[0] != '\0');
		check_text(err.message);
		return;
	}
	REQUIRE(machine.addresses <= 1 && machine.prefix <= 32);
	check_text(machine.hostname);
	check_text(machine.machine_id);
	check_text(machine.ssh_host_key_pub);
	check_text(machine.random);
	guest_machine_done(&machine);
}

/* Follows a target from the folder of `path` and says whether it ever leaves "top". */
static bool leaves_top(const char *path, const char *target)
{
	long depth = -1; /* of the link's folder; "top" itself is 0 */

	for (const char *p = path; *p; p++)
		depth += *p == '/' && p[1] != '\0' ? 1 : 0;
	while (*target) {
		const size_t len = strcspn(target, "/");

		if (len == 2 && memcmp(target, "..", 2) == 0)
			depth--;
		else if (len > 0 && !(len == 1 && target[0] == '.'))
			depth++;
		if (depth < 0)
			return true;
		target += len + (target[len] == '/' ? 1 : 0);
	}
	return false;
}

static void check_names(struct span bytes)
{
	AUTO_FREE char *path = mem_strndup((const char *)bytes.ptr, bytes.len);
	const size_t len = strlen(path);
	const char *target = len < bytes.len ? (const char *)bytes.ptr + len + 1 : "";
	AUTO_FREE char *copy = mem_strndup(target, len < bytes.len ? bytes.len - len - 1 : 0);

	if (!extract_path_is_safe(path, "top"))
		return;
	REQUIRE(str_starts(path, "top") && (path[3] == '\0' || path[3] == '/'));
	REQUIRE(!strstr(path, "/../") && !str_ends(path, "/..") && !strstr(path, "//"));
	if (extract_link_is_safe(path, copy))
		REQUIRE(copy[0] != '/' && !leaves_top(path, copy));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const checks[])(struct span) = { check_connect, check_health, check_reply,
						       check_names, check_machine };

	if (size > 0)
		checks[data[0] % ARRAY_LEN(checks)](span_of(data + 1, size - 1));
	return 0;
}
