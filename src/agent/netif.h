/* Network interfaces of the guest, through ioctl(): enough for loopback and one IPv4 address. */
#pragma once

#include "base/err.h"
#include "base/macros.h"

struct identity_network;

/* Brings up "lo". 0 or -errno. */
int netif_up_loopback(void) MUST_CHECK;

/*
 * Gives the first interface that is not loopback the MAC, address and default route of `network`,
 * replacing what it had: after a restore it still has the template's. ERR_NOT_FOUND when there is
 * no interface.
 */
int netif_configure(const struct identity_network *network, struct err *err) MUST_CHECK;
