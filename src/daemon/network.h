/*
 * The VMs' network: which VM has which TAP, how many wait ready, and that bridge and rules stay as
 * they were made. What the kernel has under our tag says which TAP is whose, so a daemon that comes
 * after a crash finds it again; the database has each VM's index and whether it has NAT.
 *
 * The bridge comes with the first VM that is started and goes when the daemon ends, or begins,
 * without VMs that run. A worker keeps `tap_pool_size` TAPs ready for the lowest free indexes, and
 * puts back what somebody else has changed within a second of the kernel's word of it.
 *
 * Thread-safe: one lock inside, held for as long as a change takes. That is milliseconds; with an
 * isolated network it is what its process takes to answer, which is seconds when that opens a way
 * out or hangs. network_trouble() and network_changes(), which lists of VMs ask, do not wait for
 * it.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/macros.h"
#include "model/vm.h"
#include "net/address.h"
#include "priv/net.h"

struct config;
struct network;
struct priv;
struct store;
struct vm_table;

/* What it works with; all borrowed, and all outlive it. */
struct network_parts {
	const struct config *config;
	const struct priv *priv;
	struct store *store;
	struct vm_table *table;
	const char *runtime_dir;
};

/* Decides what VMs get here; makes nothing. Call it while there is one thread. */
int network_open(const struct network_parts *parts, struct network **ret, struct err *err)
	MUST_CHECK;
void network_close(struct network *network); /* NULL is accepted; bridge and TAPs stay */

/* Whether VMs get a network device, and else why not and what to do about it. Borrowed. */
bool network_is_on(const struct network *network);
const struct err *network_absence(const struct network *network);

/* Which it is, in words. */
struct buf;
void network_describe(const struct network *network, struct buf *out);

/* Whether it is a namespace of banger's own: then this host has no route to the VMs' addresses. */
bool network_is_isolated(const struct network *network);

/* ERR_UNSUPPORTED when VMs get none here, or their network has no way out. */
int network_check_nat(const struct network *network, struct err *err) MUST_CHECK;

/*
 * Gives a VM that has none an index (of a TAP that is ready, if it `starts` now), and sets its
 * address, also when the configuration has moved it. Nothing is stored. The lock of names is held.
 * ERR_LIMIT when all addresses are taken.
 */
int network_assign(struct network *network, struct vm *vm, bool starts, struct err *err) MUST_CHECK;

/* The guest's part: "network" of the identity. null without a network. */
json_t *network_identity(const struct network *network, const struct vm *vm) MUST_CHECK;

struct network_device {
	char tap[NET_NAME_SIZE];
	char mac[NET_MAC_TEXT_SIZE];
};

/*
 * Makes the VM's TAP ready to be opened by its VMM: nothing passes it yet. Then connects it. Failed
 * or not, network_detach() takes both back.
 */
int network_prepare(struct network *network, const struct vm *vm, struct network_device *ret,
		    struct err *err) MUST_CHECK;
int network_join(struct network *network, const struct vm *vm, struct err *err) MUST_CHECK;

/* What the VM's VMM has to enter to find its device. */
int network_enter(struct network *network, struct priv_net_spaces *ret, struct err *err) MUST_CHECK;

/* Whether the VM has a device now. */
bool network_has(struct network *network, const char *vm_id);

/* What is wrong with the network of a VM that runs, in words; NULL: nothing. Waits for nobody. */
const char *network_trouble(struct network *network, const struct vm *vm);

/* Changes whenever network_trouble() may say something else than before. Waits for nobody. */
uint64_t network_changes(const struct network *network);

/* Removes what a VM has while it runs. Nothing there is fine. */
int network_detach(struct network *network, const char *vm_id, struct err *err) MUST_CHECK;

/* Switches NAT of a VM that runs; of one that does not it is for the next start to see. */
int network_set_nat(struct network *network, const char *vm_id, bool has_nat, struct err *err)
	MUST_CHECK;

/*
 * At the daemon's start: takes in what there is, before VMs are looked at. Where that fails the
 * worker does both this and the next as soon as it can.
 */
void network_adopt(struct network *network);

/* ... and afterwards keeps what belongs to VMs that run, and removes the rest. */
int network_settle(struct network *network, const struct vm_list *vms, struct err *err) MUST_CHECK;

/*
 * Adds to the plan what is to be done about the network of these VMs, whose states are those that
 * they will have: by a daemon that starts (`is_start`), or by this one. `connected` are the ids of
 * those that were started with a device.
 */
struct plan;
struct strv;
int network_look(struct network *network, const struct vm_list *vms, const struct strv *connected,
		 bool is_start, struct plan *plan, struct err *err) MUST_CHECK;

/* As priv_net_census(); nothing where there can be none. */
int network_census(struct network *network,
		   void (*visit)(void *context, const char *kind, const char *name, bool is_ours,
				 const char *vm_id),
		   void *context, struct err *err) MUST_CHECK;

/* Every minute. */
void network_pass(struct network *network);

/* The worker. Stopping it also removes what no running VM needs. */
int network_start(struct network *network, struct err *err) MUST_CHECK;
void network_stop(struct network *network);

/* What has passed the devices of the VMs that have one. */
struct network_traffic {
	struct priv_traffic *items; /* owned */
	size_t count;
};

/* *ret is zeroed by the caller. One question to the kernel for all VMs. */
int network_count_traffic(struct network *network, struct network_traffic *ret, struct err *err)
	MUST_CHECK;
void network_traffic_done(struct network_traffic *traffic);
#define AUTO_NETWORK_TRAFFIC CLEANUP(network_traffic_done) struct network_traffic

/* NULL for a VM without a device. Borrowed. */
const struct priv_traffic *network_traffic_of(const struct network_traffic *traffic,
					      const char *vm_id);

struct network_summary {
	bool answers;  /* whoever has to be asked for all of this */
	bool is_up;    /* there is a bridge */
	bool is_whole; /* and everything is as we made it */
	size_t guests;
	size_t ready; /* idle TAPs */
	uint32_t capacity;
	struct err way_out; /* ERR_NONE: as it should be */
};

/* Whether there is a bridge, made by this daemon. */
bool network_has_bridge(struct network *network);

/* Calls `on_change` (NULL: nobody) whenever the bridge was made or put right and when a VM was
 * connected to it, from any thread and with the lock held: it may do no more than wake somebody. */
void network_watch_bridge(struct network *network, void (*on_change)(void *context), void *context);

/* For doctor. */
void network_summarise(struct network *network, struct network_summary *ret);
