/*
 * How this host's programs find NAME.vm. Where systemd-resolved runs and VMs have a bridge, it is
 * told, on the bridge's link, to ask us for names that end in .vm, and for nothing else; that goes
 * with the link, and is taken back when the daemon ends. Elsewhere the user does it once
 * (docs/network.md), and doctor says so.
 *
 * A thread of its own runs `resolvectl`, so that nobody waits for it: neither VMs nor the network's
 * worker. What fails is logged once and tried again each minute.
 */
#pragma once

#include <stdbool.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

struct daemon;
struct resolver;

/* `daemon` is borrowed; its network and names outlive this. */
int resolver_start(struct daemon *daemon, struct resolver **ret, struct err *err) MUST_CHECK;

/* Something may have changed. NULL is accepted, also by the next. */
void resolver_look(struct resolver *resolver);

/* Takes back what resolved was told. */
void resolver_stop(struct resolver *resolver);

enum resolver_state {
	RESOLVER_NONE,	 /* systemd-resolved does not run */
	RESOLVER_WAITS,	 /* for the bridge, or to be told in a moment */
	RESOLVER_ASKS,	 /* it asks us */
	RESOLVER_FAILED, /* it could not be told */
};

/* `ret_failure` is set with RESOLVER_FAILED only. */
enum resolver_state resolver_state(struct resolver *resolver, struct err *ret_failure);

/*
 * Whether a program of this host finds a name of ours, which exists for as long as the question
 * takes: as bridge_ip, since a resolver may keep private addresses from its clients. At most two
 * seconds.
 */
bool resolver_finds_names(struct daemon *daemon, const struct cancel *cancel);

/* Who turns names into addresses here, by the text of /etc/resolv.conf. */
enum resolver_kind {
	RESOLVER_SYSTEMD,
	RESOLVER_NETWORK_MANAGER,
	RESOLVER_LOCAL, /* another program at a loopback address: dnsmasq, unbound, ... */
	RESOLVER_PLAIN, /* servers elsewhere, which libc asks by itself */
};

enum resolver_kind resolver_kind_of(struct span resolv_conf);
