/*
 * A user namespace and in it a network namespace: where a process without rights may have links and
 * rules of its own. Only a process with one thread can enter them.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/macros.h"

struct net_space {
	uid_t uid;     /* whose it is, and the only user and group in it */
	bool has_user; /* that is not who we are: root becomes it */
	int user_fd;   /* to enter again; -1: make it */
	int net_fd;
};

/*
 * For root, in whichever process: TAPs are opened by a user that a host without udev lets open
 * nothing, so then this process and its children get a /dev/net/tun of their own.
 */
int net_space_prepare(const struct net_space *space, struct err *err) MUST_CHECK;

/*
 * Moves this process there for good: its user, nothing but CAP_NET_ADMIN, and that only there. What
 * is made has forwarding on, which the rules decide about, and no IPv6.
 */
int net_space_enter(const struct net_space *space, struct err *err) MUST_CHECK;

/* Becomes that user outside, without any rights. Root only. */
int net_space_drop(const struct net_space *space, struct err *err) MUST_CHECK;
