/* Which IPv4 addresses the host has itself: the local routes of this network namespace. */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "base/macros.h"
#include "net/rules.h"

/* ERR_LIMIT for more than NET_RANGES_MAX. */
int net_local_list(struct net_range **ret, size_t *ret_count, struct err *err) MUST_CHECK;

/* A socket that is readable when routes change; -errno. */
int net_local_watch(void) MUST_CHECK;
