/* The host's IPv4 routes, from the text of /proc/net/route. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "config/private.h"

#define ROUTE_UP       0x0001U /* RTF_UP */
#define INTERFACE_SIZE 16

struct route {
	char interface[INTERFACE_SIZE];
	uint32_t destination; /* host byte order */
	uint32_t mask;
	uint32_t flags;
};

/* The next field of a line: fields are separated by tabs, the last ones padded with blanks. */
static struct span next_field(struct span *line)
{
	size_t len = 0;
	struct span field;

	while (line->len > 0 && (line->ptr[0] == ' ' || line->ptr[0] == '\t'))
		*line = span_skip(*line, 1);
	while (len < line->len && line->ptr[len] != ' ' && line->ptr[len] != '\t')
		len++;
	field = span_of(line->ptr, len);
	*line = span_skip(*line, len);
	return field;
}

static bool parse_hex(struct span field, uint32_t *ret)
{
	uint32_t value = 0;

	if (field.len == 0 || field.len > 8)
		return false;

	for (size_t i = 0; i < field.len; i++) {
		const uint8_t c = field.ptr[i];
		uint32_t digit;

		if (c >= '0' && c <= '9')
			digit = (uint32_t)(c - '0');
		else if (c >= 'A' && c <= 'F')
			digit = (uint32_t)(c - 'A') + 10;
		else if (c >= 'a' && c <= 'f')
			digit = (uint32_t)(c - 'a') + 10;
		else
			return false;
		value = value << 4 | digit;
	}
	*ret = value;
	return true;
}

/* Interface, destination, gateway, flags, refcount, use, metric, mask, ...; false for other lines.
 */
static bool parse_route(struct span line, struct route *ret)
{
	struct route route = { .flags = 0 };
	struct span name = next_field(&line);
	uint32_t destination, mask;

	if (name.len == 0 || name.len >= sizeof(route.interface))
		return false;
	memcpy(route.interface, name.ptr, name.len);
	if (!parse_hex(next_field(&line), &destination))
		return false;
	(void)next_field(&line);
	if (!parse_hex(next_field(&line), &route.flags))
		return false;
	for (int i = 0; i < 3; i++)
		(void)next_field(&line);
	if (!parse_hex(next_field(&line), &mask))
		return false;

	/* The kernel prints the addresses' bytes as if they were a number of this machine. */
	route.destination = ntohl(destination);
	route.mask = ntohl(mask);
	*ret = route;
	return true;
}

static bool overlaps(const struct config *config, const struct route *route)
{
	const uint32_t ours = UINT32_MAX << (32U - (unsigned int)config->cidr);

	if ((route->flags & ROUTE_UP) == 0 || route->mask == 0 ||
	    str_eq(route->interface, config->bridge_name))
		return false;
	return ((config->bridge_address ^ route->destination) & ours & route->mask) == 0;
}

int config_check_routes(const struct config *config, struct span table, struct err *err)
{
	const enum config_key key =
		config->is_set[CONFIG_BRIDGE_IP] ? CONFIG_BRIDGE_IP : CONFIG_CIDR;

	while (table.len > 0) {
		const uint8_t *newline = memchr(table.ptr, '\n', table.len);
		const size_t len = newline ? (size_t)(newline - table.ptr) : table.len;
		struct in_addr address;
		struct route route;

		if (parse_route(span_of(table.ptr, len), &route) && overlaps(config, &route)) {
			char text[INET_ADDRSTRLEN];

			address.s_addr = htonl(route.destination);
			return config_fail(
				config->file, config->position[key].line,
				config->position[key].column, err,
				"the bridge's network %s/%u overlaps the host's route %s/%d on %s",
				config->bridge_ip, (unsigned int)config->cidr,
				inet_ntop(AF_INET, &address, text, sizeof(text)),
				__builtin_popcount(route.mask), route.interface);
		}
		table = span_skip(table, len + 1);
	}
	return 0;
}
