/* Starting the process of net_holder.h. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/spawn.h"
#include "priv/net_message.h"

struct net_start {
	struct net_settings settings;
	const char *socket_path; /* where it listens */
	uid_t uid;		 /* with has_user: whom it becomes */
	bool has_user;
	const struct priv_net_spaces *spaces; /* with a count of 2: the namespaces to enter again */
};

/*
 * Starts it, and waits until it serves. It outlives us; while we are there, we are its parent.
 * ERR_BUSY when another one has the socket's lock.
 */
int net_holder_start(const struct net_start *start, struct process *ret, struct err *err)
	MUST_CHECK;

/* Waits for the end of the one that has the socket, and removes that. */
int net_holder_gone(const char *socket_path, struct err *err) MUST_CHECK;
