/* What the files of the VMs' network share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/cancel.h"
#include "base/strv.h"
#include "daemon/network.h"
#include "model/names.h"
#include "priv/net.h"

/* One TAP of ours: idle, promised to a VM, or in use by it. */
struct network_tap {
	uint32_t index;
	char vm_id[VM_ID_SIZE]; /* "" for an idle one */
	bool is_taken;		/* a VMM may have opened it */
	bool is_joined;
	bool has_nat;
	bool is_lost;	  /* somebody has removed it, and it cannot be made anew */
	uint64_t mend_ns; /* when that is tried again */
};

struct network {
	const struct config *config; /* borrowed, as the next */
	struct store *store;
	struct vm_table *table;
	struct priv_net *net;	/* owned; NULL when VMs get none, and none can have been left */
	struct priv_net *other; /* owned; NULL, or where an earlier configuration had it */
	struct net_subnet subnet;
	bool is_on;
	bool is_isolated;
	struct err absence; /* why it is not on */
	struct cancel stop;
	struct cancel wake; /* the pool may need something */
	pthread_t worker;
	bool has_worker;

	/*
	 * What network_trouble() tells, which may not wait for the lock below: who holds that may
	 * wait for the isolated network's process.
	 */
	_Atomic bool is_settled;   /* what an earlier daemon left has been taken over */
	_Atomic uint64_t changes;  /* of the above and of `lost` */
	pthread_mutex_t lost_lock; /* around the next alone */
	struct strv lost;	   /* owned: ids of VMs whose TAPs are lost */

	pthread_mutex_t lock;	  /* around what follows */
	struct network_tap *taps; /* owned */
	size_t tap_count;
	bool is_up;	 /* raised by this daemon */
	bool is_ending;	 /* no more TAPs */
	bool is_adopted; /* the TAPs that an earlier daemon left are known */
	bool is_late;	 /* and by now VMs may have started and stopped without the rest */
	bool is_left;	 /* an earlier daemon left something */
	void (*on_change)(void *context);
	void *on_change_context; /* borrowed */
	bool is_stuck;		 /* the way out has failed; said once */
	bool is_silent;		 /* nobody answers for the network; said once */
	uint64_t silences;	 /* those after which it has been looked what there is */
};

/* All of these want the lock held. */
struct network_tap *network_tap_of_index(struct network *network, uint32_t index);
struct network_tap *network_tap_add(struct network *network, uint32_t index);
void network_tap_drop(struct network *network, struct network_tap *tap);
size_t network_count_idle(const struct network *network);

/* The guests that there are, in an array of the caller's. */
struct net_guest *network_guests(const struct network *network, size_t *ret_count) MUST_CHECK;
int network_raise(struct network *network, struct err *err) MUST_CHECK;

/*
 * What rows must say: a VM that runs has the place of its TAP, nobody else may have that, and an
 * address follows from its place. Those that say something else, in an array of the caller's, whose
 * texts are in `texts`.
 */
struct strv;
struct store_address *network_wrong_addresses(const struct network *network,
					      const struct priv_net_state *state,
					      const struct vm_list *vms, struct strv *texts,
					      size_t *ret_count) MUST_CHECK;

/* Why the TAP of a VM, whose row may be NULL, is to be removed; NULL: it stays. */
const char *network_tap_is_stray(const struct vm *vm) MUST_CHECK;

/* Makes TAPs anew that somebody has removed under running VMs, and forgets idle ones. */
void network_mend(struct network *network);

/* At the daemon's start: a VM that runs, and was started with a TAP, should have one. */
void network_expect(struct network *network, const struct vm *vm);

/* Says in the log when the way out has failed or is there again. */
void network_note_way_out(struct network *network);

/* Whether any VM is connected. */
bool network_has_guests(const struct network *network);

/* Takes over what the daemon's start could not, if that is so; else does nothing. */
int network_take_over(struct network *network, struct err *err) MUST_CHECK;

/* --- for network_trouble(), without the lock --- */

/* Whether whoever does its operations answers. */
bool network_answers(const struct network *network);

/* These want the lock all the same: they write. */
void network_set_settled(struct network *network, bool is_settled);
void network_note_lost(struct network *network); /* from what the TAPs say */

/* These take the lock. */

/* Looks whether all is as it was made, and puts right what is not. False: not yet. */
bool network_repair(struct network *network) MUST_CHECK;

/* Tells the worker that TAPs were taken or have become free. */
void network_wake(struct network *network);
