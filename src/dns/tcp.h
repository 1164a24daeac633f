/*
 * Clients over TCP (RFC 7766): any number of queries on a connection, each behind its length,
 * answered in order. A fixed number of seats; the caller waits for the descriptors.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"
#include "dns/zone.h"

struct dns_tcp;

void dns_tcp_free(struct dns_tcp *tcp);
struct dns_tcp *dns_tcp_new(void) MUST_CHECK;

/* Takes a client in. Its descriptor, borrowed, and its seat; -EBUSY: every seat is taken; or
 * another -errno. */
int dns_tcp_accept(struct dns_tcp *tcp, int listener_fd, size_t *ret_seat) MUST_CHECK;

/*
 * Reads, answers and writes what can be without waiting, and closes the seat when the client left
 * or broke the protocol. Says how many answers there were, and in `ret_events` what to wait for
 * (EPOLLIN, EPOLLOUT).
 */
size_t dns_tcp_serve(struct dns_tcp *tcp, size_t seat, struct dns_zone *zone,
		     unsigned int *ret_events) MUST_CHECK;

/* Of the client in that seat; -1 when it is free. */
int dns_tcp_fd(const struct dns_tcp *tcp, size_t seat) MUST_CHECK;
void dns_tcp_close(struct dns_tcp *tcp, size_t seat);

/* Until the next client's time is over; -1: never. */
int dns_tcp_wait_ms(const struct dns_tcp *tcp) MUST_CHECK;

/* Closes the clients whose time is over; whether there was one. */
bool dns_tcp_close_idle(struct dns_tcp *tcp) MUST_CHECK;
