#include "guest/ports.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "guest/http.h"
#include "wire/protocol.h"

#define PROTOCOL_MAX 8
#define ADDRESS_MAX  45
#define PROCESS_MAX  256 /* U+FFFD for each byte of a name that is no UTF-8, and room */
#define COMMAND_MAX  1024

/* A row as the guest sends it. */
struct row {
	char *protocol;
	char *address;
	uint64_t port;
	uint64_t pid;
	char *process;
	char *command;
};

static const struct json_field row_fields[] = {
	{ "protocol", JSON_FIELD_STRING, true, offsetof(struct row, protocol), PROTOCOL_MAX, NULL },
	{ "address", JSON_FIELD_STRING, true, offsetof(struct row, address), ADDRESS_MAX, NULL },
	{ "port", JSON_FIELD_POSITIVE, true, offsetof(struct row, port), UINT16_MAX, NULL },
	{ "pid", JSON_FIELD_U64, true, offsetof(struct row, pid), INT32_MAX, NULL },
	{ "process", JSON_FIELD_STRING, true, offsetof(struct row, process), PROCESS_MAX, NULL },
	{ "command", JSON_FIELD_STRING, false, offsetof(struct row, command), COMMAND_MAX, NULL },
};

void guest_ports_done(struct guest_ports *ports)
{
	if (!ports)
		return;
	for (size_t i = 0; i < ports->count; i++) {
		mem_free(ports->items[i].process);
		mem_free(ports->items[i].command);
	}
	mem_free(ports->items);
	*ports = (struct guest_ports){ .items = NULL };
}

static char *safe(const char *text)
{
	AUTO_BUF out = BUF_INIT;

	text_escape(&out, span_str(text ? text : ""), GUEST_TEXT_MAX);
	return buf_detach(&out);
}

/* The address in its one spelling. */
static bool read_address(const char *text, bool is_ipv6, char ret[static 46])
{
	const int family = is_ipv6 ? AF_INET6 : AF_INET;
	uint8_t bytes[16];

	return inet_pton(family, text, bytes) == 1 && inet_ntop(family, bytes, ret, 46);
}

static int take_row(const struct row *row, struct guest_port *ret, struct err *err)
{
	static const struct {
		const char *name;
		bool is_udp;
		bool is_ipv6;
	} protocols[] = {
		{ "tcp", false, false },
		{ "tcp6", false, true },
		{ "udp", true, false },
		{ "udp6", true, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(protocols); i++) {
		if (!str_eq(row->protocol, protocols[i].name))
			continue;
		*ret = (struct guest_port){
			.is_udp = protocols[i].is_udp,
			.is_ipv6 = protocols[i].is_ipv6,
			.port = (uint16_t)row->port,
			.pid = (uint32_t)row->pid,
		};
		if (!read_address(row->address, ret->is_ipv6, ret->address))
			return err_set(err, ERR_PROTOCOL, "'address' is none");
		ret->process = safe(row->process);
		ret->command = safe(row->command);
		return 0;
	}
	return err_set(err, ERR_PROTOCOL, "'protocol' is none of its words");
}

static int read_rows(const json_t *rows, struct guest_ports *ports, struct err *err)
{
	const json_t *object;
	size_t i;

	if (!json_is_array(rows) || json_array_size(rows) > GUEST_PORTS_MAX)
		return err_set(err, ERR_PROTOCOL, "'ports' is no list of at most %d",
			       GUEST_PORTS_MAX);
	ports->items = mem_alloc(json_array_size(rows) + 1, sizeof(*ports->items));
	json_array_foreach(rows, i, object) {
		struct row row = { .protocol = NULL };
		int r;

		r = json_read_fields(object, row_fields, ARRAY_LEN(row_fields), &row, err);
		if (r < 0)
			return r;
		r = take_row(&row, &ports->items[ports->count], err);
		json_fields_done(row_fields, ARRAY_LEN(row_fields), &row);
		if (r < 0)
			return r;
		ports->count++;
	}
	return 0;
}

int guest_read_ports(struct span answer, struct guest_ports *ret, struct err *err)
{
	AUTO_GUEST_PORTS ports = { .items = NULL };
	AUTO_JSON *object = NULL;
	struct span body;
	int r;

	r = guest_http_read(answer, true, &body, err);
	if (r < 0)
		return r;
	r = json_read(body, &object, err);
	if (r == 0 && json_object_size(object) != 1)
		r = err_set(err, ERR_PROTOCOL, "it has %zu members", json_object_size(object));
	if (r == 0)
		r = read_rows(json_object_get(object, "ports"), &ports, err);
	if (r < 0) {
		err->kind = ERR_PROTOCOL;
		return err_context(err, r, "wrong answer from the agent");
	}
	*ret = ports;
	ports = (struct guest_ports){ .items = NULL };
	return 0;
}

int guest_ports(const struct guest_target *target, struct guest_ports *ret, struct err *err)
{
	static const char doing[] = "ask the agent what listens";
	AUTO_BUF answer = BUF_INIT;
	int r;

	r = guest_http_get(target, WIRE_HTTP_PORTS, doing, &answer, NULL, err);
	if (r < 0)
		return r;
	r = guest_read_ports(buf_span(&answer), ret, err);
	return r < 0 ? err_context(err, r, "%s", doing) : 0;
}
