/* How near an address is, and whom a server may lead us to. Pure. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "fetch/fetch.h"

/* AF_INET and AF_INET6, also IPv4 in IPv6's clothes; others are NONE. */
enum fetch_place place_of_address(const struct sockaddr *address);

/* Of an address written in a URL, or localhost; NONE for other names. */
enum fetch_place place_of_host(const char *host);

/*
 * Whether a server at `from` may send us to `to`: outward or among its like, never inward. NONE as
 * `from` is the user, who may ask for anything.
 */
bool place_may_lead(enum fetch_place from, enum fetch_place to);

/* Whether an address begins with the first `bits` of a prefix. */
bool place_has_prefix(const uint8_t *address, const uint8_t *prefix, unsigned int bits);

/* "a loopback address" */
const char *place_name(enum fetch_place place);
