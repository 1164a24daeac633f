/* What listens in the guest, from /proc/net and /proc/PID/fd: the answer to `GET /ports`. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define PROC_NET_SOCKETS_MAX 1024 /* listed; of a guest with more, the first ones */

enum net_protocol { NET_TCP, NET_TCP6, NET_UDP, NET_UDP6, NET_PROTOCOL_COUNT };

struct net_socket {
	enum net_protocol protocol;
	uint8_t address[16]; /* network order; 4 bytes used by TCP and UDP */
	uint16_t port;
	uint32_t state; /* the kernel's TCP_* number */
	uint64_t inode;
};

/*
 * One line of /proc/net/{tcp,tcp6,udp,udp6} without its newline. False for the heading and anything
 * else; `ret` is untouched then. Pure.
 */
bool net_socket_parse(struct span line, enum net_protocol protocol, struct net_socket *ret)
	MUST_CHECK;

/* TCP that listens, or UDP that is bound and not connected. */
bool net_socket_listens(const struct net_socket *socket);

/* "127.0.0.1", "::1". */
void net_socket_address(const struct net_socket *socket, char ret[static 46]);

/*
 * The answer to `GET /ports`: {"ports":[{"protocol","address","port","pid","process","command"}]};
 * pid is 0 and process and command "" where no process of the guest holds the socket.
 */
json_t *proc_net_ports(void) MUST_CHECK;
