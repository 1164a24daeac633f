/* Links over rtnetlink: questions and changes, one message each. For the files of this folder. */
#pragma once

#include <linux/if.h>
#include <linux/if_link.h>
#include <stdbool.h>
#include <stdint.h>

#include <netlink/msg.h>
#include <netlink/netlink.h>

#include "base/err.h"
#include "base/macros.h"
#include "net/address.h"

#define LINK_ALIAS_SIZE 256 /* the kernel's IFALIASZ */

/* What the host has received from a link and sent to it since it was made. */
struct link_counters {
	uint64_t received_bytes;
	uint64_t received_packets;
	uint64_t sent_bytes;
	uint64_t sent_packets;
};

struct link {
	int index; /* the kernel's number */
	int master;
	unsigned flags;		   /* IFF_* */
	uint8_t mac[NET_MAC_SIZE]; /* zeroes when it has none of that size */
	char name[NET_NAME_SIZE];
	char alias[LINK_ALIAS_SIZE];
	char kind[NET_NAME_SIZE]; /* "bridge", "tun", ... or "" */
	struct link_counters counters;
};

int netlink_open(struct nl_sock **ret, struct err *err) MUST_CHECK;

/*
 * Sends a message, which is given, and waits for its end: -errno as the kernel answered. `visit`
 * (may be NULL) gets each message that comes back.
 */
int netlink_ask(struct nl_sock *sock, struct nl_msg *msg,
		void (*visit)(void *context, struct nlmsghdr *header), void *context) MUST_CHECK;

/* A message about a link; `index` 0: by its name. */
struct nl_msg *netlink_link_msg(int type, int flags, int index) MUST_CHECK;

/* -ENODEV when there is none. */
int link_find(struct nl_sock *sock, const char *name, struct link *ret) MUST_CHECK;

/* Calls `visit` with each link of this network namespace. */
int link_each(struct nl_sock *sock, void (*visit)(void *context, const struct link *link),
	      void *context) MUST_CHECK;

int link_set_alias(struct nl_sock *sock, int index, const char *alias) MUST_CHECK;
int link_set_up(struct nl_sock *sock, int index) MUST_CHECK;
int link_delete(struct nl_sock *sock, int index) MUST_CHECK;

int link_make_bridge(struct nl_sock *sock, const char *name, const uint8_t mac[static NET_MAC_SIZE])
	MUST_CHECK;
int link_add_address(struct nl_sock *sock, int index, const struct net_subnet *subnet) MUST_CHECK;

/* Makes it a port of the bridge that sends and receives nothing but what is addressed to it:
 * isolated from other ports, learning nothing, not flooded to. */
int link_join_bridge(struct nl_sock *sock, int index, int bridge) MUST_CHECK;

/* The bridge sends frames for `mac` to this port. */
int link_add_station(struct nl_sock *sock, int index, const uint8_t mac[static NET_MAC_SIZE])
	MUST_CHECK;
