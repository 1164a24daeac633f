/* Queries and answers over UDP, many with one system call. */
#pragma once

#include "base/macros.h"
#include "dns/zone.h"

struct dns_udp;

void dns_udp_free(struct dns_udp *udp);
struct dns_udp *dns_udp_new(void) MUST_CHECK;

/*
 * Answers what has come to `fd`, at most one batch, and says how many. An answer that the kernel
 * has no room for is dropped, as UDP may: the client asks again.
 */
size_t dns_udp_serve(struct dns_udp *udp, int fd, struct dns_zone *zone);
