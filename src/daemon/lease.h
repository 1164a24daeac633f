/*
 * Leases: an ephemeral VM lives as long as the client that made it. While that client is connected
 * to this daemon its connection holds the lease; after a restart of the daemon its process does, as
 * handles.json names it. What holds no lease any more is deleted, at the latest by the next
 * reconcile. All functions may be called from any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macros.h"
#include "base/strv.h"

struct lease {
	pid_t pid;	     /* the client's process; 0 when it cannot be named */
	uint64_t start_time; /* clock ticks since boot */
	uint64_t connection; /* of this daemon's server; 0: an earlier daemon's, so the process
				alone counts */
};

struct leases;

struct leases *leases_new(void) MUST_CHECK;
void leases_free(struct leases *leases); /* NULL is accepted */

/* Notes who holds the lease of VM `id`, in place of who did. */
void lease_put(struct leases *leases, const char *id, const struct lease *lease);

/* Forgets it. A missing one is fine. */
void lease_drop(struct leases *leases, const char *id);

/* The lease of VM `id`, held or not; false when there is none. */
bool lease_get(struct leases *leases, const char *id, struct lease *ret) MUST_CHECK;

/* Whether somebody still holds it. What cannot be told (no descriptors left) counts as held. */
bool lease_is_held(struct leases *leases, const char *id) MUST_CHECK;

/* Whether this process itself holds it: the VM is no user's. */
bool lease_is_own(struct leases *leases, const char *id) MUST_CHECK;

/* Ends the leases of a connection that has closed, and appends the ids of their VMs. */
void leases_end(struct leases *leases, uint64_t connection, struct strv *ids);
