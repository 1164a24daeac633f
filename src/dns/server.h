/*
 * The .vm server: one thread that answers over UDP and TCP (RFC 1035, 4.2) what dns/answer.h says.
 * Nothing that a peer does makes it grow: its memory is had when it starts, and a connection more
 * than DNS_TCP_CLIENTS_MAX waits in the kernel's queue until one ends. A TCP client has
 * DNS_TCP_IDLE_SECONDS for each query.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "dns/zone.h"

#define DNS_LISTENERS_MAX    4
#define DNS_TCP_CLIENTS_MAX  32
#define DNS_TCP_IDLE_SECONDS 5
#define DNS_TCP_QUERY_BYTES_MAX \
	1232 /* far over what a question with options needs; a longer one ends its connection */

struct dns_server;

/*
 * Listens on `count` addresses ("127.0.0.1:42069", "[::1]:53"), UDP and TCP each; port 0 takes a
 * free one, the same for both. All of them or none: ERR_EXISTS-like errors name the address that is
 * taken. `zone` is borrowed until dns_server_stop().
 */
int dns_server_start(struct dns_zone *zone, const char *const *addresses, size_t count,
		     struct dns_server **ret, struct err *err) MUST_CHECK;

/* Ends the thread and the connections. NULL is accepted. */
void dns_server_stop(struct dns_server *server);

/* The port of listener `index`, for addresses that left it open. */
uint16_t dns_server_port(const struct dns_server *server, size_t index) MUST_CHECK;

/* Queries answered since the start. Any thread. */
uint64_t dns_server_answers(const struct dns_server *server) MUST_CHECK;
