/*
 * The privileged operations of the VMs' network: one bridge, a TAP for each VM that runs, the rules
 * of net/rules.h. As with all of src/priv, callers give indexes and VM ids, and every name follows
 * from them; what the kernel has under such a name, but without our tag in its alias, is foreign:
 * it is never touched, and in our way it is an error.
 *
 * Aliases: the bridge has "banger TAG", and behind it "forwarding" and the interfaces whose
 * forwarding was switched on for the guests' sake; a TAP has "banger TAG idle" or "banger TAG vm
 * ID".
 *
 * Nothing is kept here of which guests there are: the caller knows that. Any thread may call; each
 * call holds a lock of its own for the milliseconds that it takes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/macros.h"
#include "model/names.h"
#include "net/rules.h"
#include "priv/priv.h"

struct priv_net;

struct priv_net_config {
	const char *bridge_name; /* copied; "br-fc" or "br-fc-*" */
	struct net_subnet subnet;
	uint16_t dns_port; /* as in struct net_policy */
};

/* Whether this process may change the network that it is in. */
bool priv_net_may(void);

/*
 * In the network namespace of this process. Makes nothing yet; `priv` is borrowed. Wants
 * priv_net_may().
 */
int priv_net_open(const struct priv *priv, const struct priv_net_config *config,
		  struct priv_net **ret, struct err *err) MUST_CHECK;

/*
 * The same in a network namespace of banger's own, which needs no privileges: net_holder.h has the
 * process that keeps it. It is started by priv_net_raise(), found again by the next bangerd through
 * the socket "network.sock" in `runtime_dir`, and ended by priv_net_clear(). Who opened a VM's TAP
 * is not asked for: it belongs to the namespace's user.
 *
 * A holder with other settings than `config` is ended at the first call that finds it: VMs that are
 * running then have no network until they are started again.
 */
int priv_net_open_isolated(const struct priv *priv, const struct priv_net_config *config,
			   const char *runtime_dir, struct priv_net **ret, struct err *err)
	MUST_CHECK;

/* Whether that can work here: tries it in a child. Call it while there is one thread. */
int priv_net_check_isolated(const struct priv *priv, struct err *err) MUST_CHECK;

/* Whether there is a program for the way out of it; the hint names the package. */
int priv_net_check_way_out(struct err *err) MUST_CHECK;

void priv_net_close(struct priv_net *net); /* bridge and guests stay */
DEFINE_FREEP(priv_net, priv_net_close);

/* What there is of ours. */
struct priv_tap {
	uint32_t index;
	char vm_id[VM_ID_SIZE]; /* "" for an idle one */
};

struct priv_net_state {
	bool has_bridge;
	bool has_rules;
	struct priv_tap *taps; /* owned */
	size_t tap_count;
};

int priv_net_look(struct priv_net *net, struct priv_net_state *ret, struct err *err) MUST_CHECK;
void priv_net_state_done(struct priv_net_state *state);
#define AUTO_PRIV_NET_STATE CLEANUP(priv_net_state_done) struct priv_net_state

/* What a guest has received (in) and sent (out) since its TAP was made, dropped or not. */
struct priv_traffic {
	char vm_id[VM_ID_SIZE];
	uint64_t in_bytes;
	uint64_t in_packets;
	uint64_t out_bytes;
	uint64_t out_packets;
};

/*
 * That of all guests that have a TAP now, in an array of the caller's: one question to the kernel,
 * however many there are.
 */
int priv_net_traffic(struct priv_net *net, struct priv_traffic **ret, size_t *ret_count,
		     struct err *err) MUST_CHECK;

/*
 * Calls `visit` with each link and table whose name is as ours are: "bridge", "tap" or "rules", and
 * whether it is ours; `vm_id` is the VM that a TAP belongs to, or NULL. For looking only.
 */
typedef void priv_net_visit(void *context, const char *kind, const char *name, bool is_ours,
			    const char *vm_id);
int priv_net_census(struct priv_net *net, priv_net_visit *visit, void *context, struct err *err)
	MUST_CHECK;

/*
 * Makes it so that the bridge is up, our TAPs are its ports, and the rules are exactly those of
 * these guests. May be called at any time, and puts right what somebody else has changed.
 * ERR_EXISTS when the bridge's name is somebody else's.
 */
int priv_net_raise(struct priv_net *net, const struct net_guest *guests, size_t count,
		   struct err *err) MUST_CHECK;

/* Whether priv_net_raise() would find something to put right. */
bool priv_net_is_whole(struct priv_net *net, const struct net_guest *guests, size_t count);

/* Removes rules, bridge and idle TAPs, and gives back the host's forwarding. Nothing there is fine.
 */
int priv_net_clear(struct priv_net *net, struct err *err) MUST_CHECK;

/* An idle TAP that only `owner` may open; the bridge must be there. ERR_EXISTS when its name is
 * taken.
 */
int priv_tap_make(struct priv_net *net, uint32_t index, uid_t owner, struct err *err) MUST_CHECK;

/* Whoever it belongs to. A missing one is fine. */
int priv_tap_delete(struct priv_net *net, uint32_t index, struct err *err) MUST_CHECK;

/* Gives an idle TAP to a VM, and lets its packets pass. */
int priv_guest_join(struct priv_net *net, const struct net_guest *guest, struct err *err)
	MUST_CHECK;

/* Takes back the rules, and removes the TAP. What is gone already is fine. */
int priv_guest_leave(struct priv_net *net, const struct net_guest *guest, struct err *err)
	MUST_CHECK;

/*
 * Gives the TAP to a process (a VMM, or its QEMU) that has lost its own, which somebody has removed
 * under it. The guest has joined. -ENOENT: it has lost none.
 */
int priv_tap_reattach(struct priv_net *net, uint32_t index, pid_t pid, struct err *err) MUST_CHECK;

int priv_guest_set_nat(struct priv_net *net, const struct net_guest *guest, struct err *err)
	MUST_CHECK;

/*
 * Forwarding between the bridge and the interfaces that the host's routes lead to, as long as
 * guests have NAT. Called again, it sees to interfaces that have come meanwhile.
 */
int priv_net_set_forwarding(struct priv_net *net, bool is_on, struct err *err) MUST_CHECK;

/* Readable when the rules, the bridge or forwarding may have been changed, also by ourselves; -1
 * when that cannot be watched. Borrowed. */
int priv_net_watch_fd(struct priv_net *net);

/* Takes what is there to read; whether any of it is about what is ours. */
bool priv_net_watch_read(struct priv_net *net);

/* What a process has to enter, in this order, to find the VMs' TAPs. */
struct priv_net_spaces {
	int fds[2]; /* owned */
	size_t count;
};

int priv_net_enter(struct priv_net *net, struct priv_net_spaces *ret, struct err *err) MUST_CHECK;
void priv_net_spaces_done(struct priv_net_spaces *spaces);
#define AUTO_PRIV_NET_SPACES CLEANUP(priv_net_spaces_done) struct priv_net_spaces

/*
 * Whether whoever does the operations hangs: each then fails with ERR_TIMEOUT, most of them at
 * once, and one a second after a moment, until it answers again. Counted: an odd number while it
 * hangs, even otherwise. Takes no lock.
 */
uint64_t priv_net_silences(const struct priv_net *net);

/* Whether the way out is as it should be, by what was last heard of it; `ret` says why not. */
bool priv_net_way_out(struct priv_net *net, struct err *ret);
