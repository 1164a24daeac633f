/* Published ports as text: "8080:80,0.0.0.0:2222:22" as stored, and what users write. */
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "model/vm.h"

#define PARTS_MAX 3 /* IP, HOST, GUEST */

_Static_assert(VM_PORTS_MAX <= 64, "a word has a bit for each port of a VM");

static bool parse_port(struct span *cursor, uint16_t *ret)
{
	uint64_t port;

	if (!parse_u64(cursor, UINT16_MAX, &port) || port == 0)
		return false;

	*ret = (uint16_t)port;
	return true;
}

static bool parse_address(struct span *cursor, uint32_t *ret)
{
	struct span at = *cursor;
	uint32_t address = 0;

	for (int i = 0; i < 4; i++) {
		uint64_t part;

		if ((i > 0 && !parse_byte(&at, '.')) || !parse_u64(&at, UINT8_MAX, &part))
			return false;
		address = address << 8 | (uint32_t)part;
	}
	*cursor = at;
	*ret = address;
	return true;
}

/* Whether one listener would be in the other's way: 0.0.0.0 is every address. */
static bool is_same_place(const struct vm_port *a, const struct vm_port *b)
{
	return a->host != 0 && a->host == b->host &&
	       (a->address == b->address || a->address == 0 || b->address == 0);
}

static bool is_taken(const struct vm_port *ports, size_t count, const struct vm_port *port)
{
	for (size_t i = 0; i < count; i++)
		if (is_same_place(&ports[i], port))
			return true;
	return false;
}

/* "8080:80", or "10.0.0.1:8080:80" with another address than the loopback's. */
static bool parse_stored(struct span *cursor, struct vm_port *ret)
{
	struct vm_port port = { .address = VM_PORT_LOOPBACK };
	struct span at = *cursor;

	if (parse_address(&at, &port.address) &&
	    (!parse_byte(&at, ':') || port.address == VM_PORT_LOOPBACK))
		return false;
	if (!parse_port(&at, &port.host) || !parse_byte(&at, ':') || !parse_port(&at, &port.guest))
		return false;
	*cursor = at;
	*ret = port;
	return true;
}

bool vm_ports_parse(const char *text, struct vm_port ret_ports[static VM_PORTS_MAX],
		    size_t *ret_count)
{
	struct vm_port ports[VM_PORTS_MAX] = { { .host = 0 } };
	struct span cursor = span_str(text);
	size_t count = 0;

	while (!parse_end(&cursor)) {
		if (count == VM_PORTS_MAX || (count > 0 && !parse_byte(&cursor, ',')))
			return false;
		if (!parse_stored(&cursor, &ports[count]) || is_taken(ports, count, &ports[count]))
			return false;
		count++;
	}

	for (size_t i = 0; i < count; i++)
		ret_ports[i] = ports[i];
	*ret_count = count;
	return true;
}

void vm_address_format(struct buf *out, uint32_t address)
{
	buf_addf(out, "%u.%u.%u.%u", address >> 24, address >> 16 & 0xff, address >> 8 & 0xff,
		 address & 0xff);
}

void vm_port_format_host(struct buf *out, const struct vm_port *port)
{
	vm_address_format(out, port->address);
	buf_addf(out, ":%u", (unsigned int)port->host);
}

void vm_ports_format(struct buf *out, const struct vm_port *ports, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct vm_port *port = &ports[i];

		buf_add_str(out, i ? "," : "");
		if (port->address != VM_PORT_LOOPBACK) {
			vm_address_format(out, port->address);
			buf_add_byte(out, ':');
		}
		buf_addf(out, "%u:%u", (unsigned int)port->host, (unsigned int)port->guest);
	}
}

/* --- what users write --- */

static int read_number(struct span part, uint16_t min, uint16_t *ret, struct err *err)
{
	struct span at = part;
	uint64_t port;

	if (!parse_u64(&at, UINT16_MAX, &port) || !parse_end(&at) || port < min)
		return err_set(err, ERR_INVALID, "'%.*s' is no port: it must be %u to %d",
			       (int)(part.len < 32 ? part.len : 32), (const char *)part.ptr,
			       (unsigned int)min, UINT16_MAX);
	*ret = (uint16_t)port;
	return 0;
}

/* Splits at colons; more parts than there may be count as one too many. */
static size_t split(struct span text, struct span ret[static PARTS_MAX])
{
	size_t count = 0;
	struct span part;

	while (count < PARTS_MAX && parse_until(&text, ':', &part))
		ret[count++] = part;
	if (count < PARTS_MAX)
		ret[count] = text;
	return count + 1;
}

static int read_parts(const struct span *parts, size_t count, struct vm_port *port, struct err *err)
{
	const struct span guest = parts[count - 1];
	int r;

	if (count == PARTS_MAX) {
		struct span at = parts[0];

		if (!parse_address(&at, &port->address) || !parse_end(&at))
			return err_set(err, ERR_INVALID, "'%.*s' is no IPv4 address",
				       (int)(parts[0].len < 64 ? parts[0].len : 64),
				       (const char *)parts[0].ptr);
	}
	if (count > 1 && parts[count - 2].len > 0) {
		r = read_number(parts[count - 2], 0, &port->host, err);
		if (r < 0)
			return r;
	}
	return read_number(guest, 1, &port->guest, err);
}

int vm_port_read(const char *text, struct vm_port *ret, struct err *err)
{
	struct vm_port port = { .address = VM_PORT_LOOPBACK };
	const char *slash = strchr(text, '/');
	struct span parts[PARTS_MAX];
	size_t count;
	int r;

	if (slash && !str_eq(slash, "/tcp"))
		return err_set(err, ERR_INVALID, "'%s': only tcp can be published", text);
	count = split(span_of(text, slash ? (size_t)(slash - text) : strlen(text)), parts);
	if (count > PARTS_MAX)
		return err_set(err, ERR_INVALID, "'%s' is not [IP:]HOST:GUEST", text);
	r = read_parts(parts, count, &port, err);
	if (r < 0)
		return err_context(err, r, "'%s'", text);
	*ret = port;
	return 0;
}

int vm_ports_check(const struct vm_port *ports, size_t count, struct err *err)
{
	if (count > VM_PORTS_MAX)
		return err_set(err, ERR_LIMIT, "%zu published ports: at most %d are possible",
			       count, VM_PORTS_MAX);
	for (size_t i = 1; i < count; i++) {
		if (is_taken(ports, i, &ports[i]))
			return err_set(err, ERR_INVALID, "port %u of the host is published twice",
				       (unsigned int)ports[i].host);
	}
	return 0;
}
