/*
 * What guests may send and receive, as nftables commands. Pure text; src/priv runs it.
 *
 * Theory of operation. Two tables, both named by net_table_name() and both of this bangerd alone:
 *
 * - family bridge: a frame from a TAP passes only when it is IPv4 or ARP, and device, MAC and IP
 *   are those of one guest (the set `guests`). That leaves no room for spoofing, IPv6 and its
 *   neighbour discovery, VLAN tags or anything else. IP has no options: a source route would name
 *   its next hop where no rule looks. ARP may only be about the bridge's own address: other guests
 *   cannot be reached anyhow, since the ports are isolated from one another.
 * - family inet: what a guest sends to the host is answers and DNS to the bridge's address. Beside
 *   the answers themselves only ICMP errors belong to what the host has begun: a connection that a
 *   helper (FTP's, say) expects would be the guest's. What it sends through the host is dropped
 *   unless it is in the set `nat`; then it is masqueraded, but never to link-local addresses
 *   (metadata services), to other guests, or to where the host forwards its own published services
 *   (`ct status dnat`). Packets that belong to no connection are not masqueraded, so they stay.
 *   Into the bridge come only answers, so that a LAN peer with a route finds nothing, nor does it
 * at the DNS server on the bridge. A TAP that somebody has taken out of the bridge reaches nothing.
 *
 * Where a guest may go it still may not fill the table of connections, which all of the host share:
 * it has so many at a time, and begins so many a second (a closed one stays in the table for a
 * while). What has begun goes on.
 *
 * A verdict of ours never overrides a drop by the user's own rules. `opened` has the interfaces
 * that forward only because our guests need the way back: from these nothing goes anywhere else.
 *
 * Elements carry the VM's id as their comment, tables the owner's tag.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/strv.h"
#include "net/address.h"

#define NET_CONNECTIONS_MAX	   4096 /* of one guest at a time; as many may begin at once */
#define NET_CONNECTIONS_PER_SECOND 200	/* that begin, in the long run */

/* Addresses that begin with the same `prefix` bits. */
struct net_range {
	uint32_t address;
	uint32_t prefix;
};

struct net_policy {
	const char *tag;	 /* borrowed: the owner's */
	const char *bridge_name; /* borrowed */
	struct net_subnet subnet;
	uint16_t dns_port; /* where DNS is on the bridge beside port 53; 0: nowhere */
	/*
	 * In a network namespace of banger's own the host's addresses are not local, so they are
	 * listed: guests reach none of them. As long as they are not known (NULL), guests get
	 * nowhere. Nothing in the namespace may begin a conversation itself.
	 */
	bool is_isolated;
	const struct net_range *host; /* borrowed */
	size_t host_count;
};

struct net_guest {
	const char *vm_id; /* borrowed */
	uint32_t index;
	bool has_nat;
};

/* Each appends commands for one transaction. */

/* Everything from scratch, whatever there was: `opened` are names of interfaces. */
void net_rules_make(const struct net_policy *policy, const struct net_guest *guests, size_t count,
		    const struct strv *opened, struct buf *out);
void net_rules_remove(const struct net_policy *policy, struct buf *out);

/* One guest more, less, or with NAT as `guest` says. Each may be done twice. */
void net_rules_add_guest(const struct net_policy *policy, const struct net_guest *guest,
			 struct buf *out);
void net_rules_remove_guest(const struct net_policy *policy, const struct net_guest *guest,
			    struct buf *out);
void net_rules_set_nat(const struct net_policy *policy, const struct net_guest *guest,
		       struct buf *out);

/* Exactly these interfaces. */
void net_rules_set_opened(const struct net_policy *policy, const struct strv *opened,
			  struct buf *out);

/* The host's addresses as the policy has them now; only where it is isolated. */
void net_rules_set_host(const struct net_policy *policy, struct buf *out);

/* Whether a listing has these guests, as many interfaces that were opened, and nothing else. */
bool net_rules_have(const struct net_policy *policy, const struct net_guest *guests, size_t count,
		    size_t opened_count, const char *listing);

/* Whether a listing of tables is by the policy's owner. */
bool net_rules_are_owned(const struct net_policy *policy, const char *listing);

/* Whether an interface's name can stand in a rule; the kernel allows more than we want to quote. */
bool net_rules_can_name(const char *interface);
