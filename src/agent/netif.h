/* Network interfaces of the guest, through ioctl(): enough for loopback and one IPv4 address. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

struct identity_network;

/* What an interface is and has; zeros for what it has not. */
struct netif_settings {
	uint8_t mac[6];
	uint8_t address[4]; /* the first; IPv4, network order */
	uint8_t gateway[4]; /* of the default route that leads over it */
	uint8_t prefix;
	bool is_up;
	size_t address_count;
};

/* Brings up "lo". 0 or -errno. */
int netif_up_loopback(void) MUST_CHECK;

/*
 * Gives the first interface that is not loopback the MAC, address and default route of `network`.
 * Where it had others it is taken down for it: all its addresses, routes and neighbours are gone
 * then. One that is right already is left alone. ERR_NOT_FOUND when there is no interface.
 */
int netif_configure(const struct identity_network *network, struct err *err) MUST_CHECK;

/* Takes it down, without addresses; no interface is no failure. */
int netif_clear(struct err *err) MUST_CHECK;

/* Reads what it has: 1, or 0 where there is no interface. */
int netif_read(struct netif_settings *ret, struct err *err) MUST_CHECK;

/*
 * The gateway of a line of /proc/net/route (without its newline) that is the default route over
 * `name`. False, with `ret` untouched, for every other line. Pure.
 */
bool netif_route_parse(struct span line, const char *name, uint8_t ret[static 4]) MUST_CHECK;
