#include "fetch/proxy.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "base/text.h"
#include "fetch/place.h"

#define SEPARATORS ", \t\r\n"

struct address {
	int family; /* AF_UNSPEC: it is none */
	uint8_t bytes[16];
};

/* IPv6 with or without brackets. */
static struct address parse_address(struct span text)
{
	struct address address = { .family = AF_UNSPEC };
	char terminated[INET6_ADDRSTRLEN];

	if (text.len >= 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
		text = span_of(text.ptr + 1, text.len - 2);
	if (text.len >= sizeof(terminated))
		return address;
	(void)snprintf(terminated, sizeof(terminated), "%.*s", (int)text.len,
		       (const char *)text.ptr);
	if (inet_pton(AF_INET, terminated, address.bytes) == 1)
		address.family = AF_INET;
	else if (inet_pton(AF_INET6, terminated, address.bytes) == 1)
		address.family = AF_INET6;
	return address;
}

/* "10.0.0.0/8", or one address. */
static bool has_address(struct span network, const struct address *address)
{
	const uint64_t bits_max = address->family == AF_INET ? 32 : 128;
	struct span rest = network, text;
	uint64_t bits = bits_max;
	struct address prefix;

	if (parse_until(&rest, '/', &text)) {
		if (!parse_u64(&rest, bits_max, &bits) || !parse_end(&rest))
			return false;
		network = text;
	}
	prefix = parse_address(network);
	return prefix.family == address->family &&
	       place_has_prefix(address->bytes, prefix.bytes, (unsigned int)bits);
}

static struct span without_last_dot(struct span name)
{
	if (name.len > 0 && name.ptr[name.len - 1] == '.')
		name.len--;
	return name;
}

/* The name itself, or one below it. */
static bool has_name(struct span name, struct span host)
{
	if (name.len > 0 && name.ptr[0] == '.')
		name = span_skip(name, 1);
	name = without_last_dot(name);
	host = without_last_dot(host);
	if (name.len == 0 || name.len > host.len ||
	    strncasecmp((const char *)host.ptr + (host.len - name.len), (const char *)name.ptr,
			name.len) != 0)
		return false;
	return name.len == host.len || host.ptr[host.len - name.len - 1] == '.';
}

bool proxy_is_excepted(const char *no_proxy, const char *host)
{
	const struct address address = parse_address(span_str(host));

	for (;;) {
		struct span part;

		no_proxy += strspn(no_proxy, SEPARATORS);
		part = span_of(no_proxy, strcspn(no_proxy, SEPARATORS));
		if (part.len == 0)
			return false;
		if ((part.len == 1 && part.ptr[0] == '*') ||
		    (address.family == AF_UNSPEC ? has_name(part, span_str(host))
						 : has_address(part, &address)))
			return true;
		no_proxy += part.len;
	}
}

/* The first that is set and not empty. The daemon changes no variable while threads run. */
static const char *first_of(const char *const *names)
{
	for (; *names; names++) {
		const char *value = getenv(*names); /* NOLINT(concurrency-mt-unsafe) */

		if (!str_empty(value))
			return value;
	}
	return NULL;
}

const char *proxy_of_url(const struct url *url)
{
	static const char *const of_https[] = { "https_proxy", "HTTPS_PROXY", "all_proxy",
						"ALL_PROXY", NULL };
	/* HTTP_PROXY is what a header "Proxy:" becomes in CGI programs. */
	static const char *const of_http[] = { "http_proxy", "all_proxy", "ALL_PROXY", NULL };
	static const char *const exceptions[] = { "no_proxy", "NO_PROXY", NULL };
	const char *proxy, *no_proxy;

	if (fetch_host_is_loopback(url->host))
		return NULL;
	proxy = first_of(url->is_https ? of_https : of_http);
	no_proxy = first_of(exceptions);
	return proxy && no_proxy && proxy_is_excepted(no_proxy, url->host) ? NULL : proxy;
}
