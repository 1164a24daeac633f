/* An address that is listened on, over UDP and TCP. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

struct dns_listener {
	int udp_fd; /* owned, as the next; both do not block */
	int tcp_fd;
	uint16_t port;
};

/* `text` is "127.0.0.1:42069" or "[::1]:0": port 0 takes one that is free for both. No interface
 * needs to have an IPv4 address yet that is no loopback address. `ret` is untouched on failure. */
int dns_listener_open(const char *text, struct dns_listener *ret, struct err *err) MUST_CHECK;
void dns_listener_done(struct dns_listener *listener);
