#include "fetch/place.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

struct network {
	uint8_t prefix[16];
	unsigned int bits;
	enum fetch_place place;
};

/* The first that fits counts; an address of none is public. */
static const struct network networks4[] = {
	{ { 0 }, 8, FETCH_PLACE_LOOPBACK }, /* Linux takes 0.0.0.0 for this host */
	{ { 127 }, 8, FETCH_PLACE_LOOPBACK },
	{ { 169, 254 }, 16, FETCH_PLACE_LINK_LOCAL },
	{ { 224 }, 4, FETCH_PLACE_LINK_LOCAL }, /* multicast */
	{ { 255, 255, 255, 255 }, 32, FETCH_PLACE_LINK_LOCAL },
	{ { 10 }, 8, FETCH_PLACE_PRIVATE },
	{ { 100, 64 }, 10, FETCH_PLACE_PRIVATE },
	{ { 172, 16 }, 12, FETCH_PLACE_PRIVATE },
	{ { 192, 0, 0 }, 24, FETCH_PLACE_PRIVATE },
	{ { 192, 168 }, 16, FETCH_PLACE_PRIVATE },
	{ { 198, 18 }, 15, FETCH_PLACE_PRIVATE },
};

static const struct network networks6[] = {
	{ { 0 }, 127, FETCH_PLACE_LOOPBACK }, /* :: and ::1 */
	{ { 0xfe, 0x80 }, 10, FETCH_PLACE_LINK_LOCAL },
	{ { 0xff }, 8, FETCH_PLACE_LINK_LOCAL },
	{ { 0xfc }, 7, FETCH_PLACE_PRIVATE },
	{ { 0xfe, 0xc0 }, 10, FETCH_PLACE_PRIVATE }, /* site-local, deprecated but routed */
};

/* Prefixes that have an IPv4 address behind them, at `offset`. */
static const struct {
	uint8_t prefix[12];
	unsigned int bits;
	size_t offset;
} embedded[] = {
	{ { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff }, 96, 12 }, /* mapped */
	{ { 0x00, 0x64, 0xff, 0x9b }, 96, 12 },			  /* NAT64 */
	{ { 0x20, 0x02 }, 16, 2 },				  /* 6to4 */
};

bool place_has_prefix(const uint8_t *address, const uint8_t *prefix, unsigned int bits)
{
	const unsigned int bytes = bits / 8;
	const unsigned int rest = bits % 8;
	const unsigned int mask = rest > 0 ? 0xffU << (8 - rest) & 0xffU : 0;

	return memcmp(address, prefix, bytes) == 0 &&
	       (rest == 0 || (address[bytes] & mask) == (prefix[bytes] & mask));
}

static enum fetch_place find(const struct network *networks, size_t count, const uint8_t *address)
{
	for (size_t i = 0; i < count; i++)
		if (place_has_prefix(address, networks[i].prefix, networks[i].bits))
			return networks[i].place;
	return FETCH_PLACE_PUBLIC;
}

static enum fetch_place place_of_ipv6(const uint8_t address[static 16])
{
	for (size_t i = 0; i < ARRAY_LEN(embedded); i++)
		if (place_has_prefix(address, embedded[i].prefix, embedded[i].bits))
			return find(networks4, ARRAY_LEN(networks4), address + embedded[i].offset);
	return find(networks6, ARRAY_LEN(networks6), address);
}

enum fetch_place place_of_address(const struct sockaddr *address)
{
	struct sockaddr_in ipv4;
	struct sockaddr_in6 ipv6;

	switch (address->sa_family) {
	case AF_INET:
		memcpy(&ipv4, address, sizeof(ipv4));
		return find(networks4, ARRAY_LEN(networks4),
			    (const uint8_t *)&ipv4.sin_addr.s_addr);
	case AF_INET6:
		memcpy(&ipv6, address, sizeof(ipv6));
		return place_of_ipv6(ipv6.sin6_addr.s6_addr);
	default:
		return FETCH_PLACE_NONE;
	}
}

static bool is_localhost(const char *host)
{
	static const char suffix[] = "localhost";
	size_t len = strlen(host);

	if (len > 0 && host[len - 1] == '.')
		len--;
	if (len < sizeof(suffix) - 1 ||
	    strncasecmp(host + len - (sizeof(suffix) - 1), suffix, sizeof(suffix) - 1) != 0)
		return false;
	return len == sizeof(suffix) - 1 || host[len - sizeof(suffix)] == '.';
}

enum fetch_place place_of_host(const char *host)
{
	const size_t len = strlen(host);
	struct in_addr ipv4;
	struct in6_addr ipv6;
	char text[INET6_ADDRSTRLEN];

	if (is_localhost(host))
		return FETCH_PLACE_LOOPBACK;
	if (inet_pton(AF_INET, host, &ipv4) == 1)
		return find(networks4, ARRAY_LEN(networks4), (const uint8_t *)&ipv4.s_addr);
	if (len < 4 || len - 2 >= sizeof(text) || host[0] != '[' || host[len - 1] != ']')
		return FETCH_PLACE_NONE;

	memcpy(text, host + 1, len - 2);
	text[len - 2] = '\0';
	return inet_pton(AF_INET6, text, &ipv6) == 1 ? place_of_ipv6(ipv6.s6_addr)
						     : FETCH_PLACE_NONE;
}

bool place_may_lead(enum fetch_place from, enum fetch_place to)
{
	switch (to) {
	case FETCH_PLACE_NONE:
	case FETCH_PLACE_PUBLIC:
	case FETCH_PLACE_COUNT:
		return true;
	case FETCH_PLACE_PRIVATE:
		return from != FETCH_PLACE_PUBLIC && from != FETCH_PLACE_LINK_LOCAL;
	case FETCH_PLACE_LINK_LOCAL:
	case FETCH_PLACE_LOOPBACK:
		return from == FETCH_PLACE_NONE || from == to;
	}
	return false;
}

const char *place_name(enum fetch_place place)
{
	static const char *const names[FETCH_PLACE_COUNT] = {
		[FETCH_PLACE_NONE] = "an unknown address",
		[FETCH_PLACE_PUBLIC] = "a public address",
		[FETCH_PLACE_PRIVATE] = "a private address",
		[FETCH_PLACE_LINK_LOCAL] = "a link-local address",
		[FETCH_PLACE_LOOPBACK] = "a loopback address",
	};

	return names[place];
}

bool fetch_host_is_loopback(const char *host)
{
	return place_of_host(host) == FETCH_PLACE_LOOPBACK && !str_starts(host, "0.") &&
	       !str_eq(host, "[::]");
}
