/*
 * VMMs of this daemon that run, found in /proc by their command lines: for those that handles.json
 * does not name, because bangerd was killed before it wrote that, or because the file was lost.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "daemon/handles.h"
#include "model/names.h"

struct daemon;

struct vmm_sighting {
	char id[VM_ID_SIZE];	/* of its VM */
	struct handles handles; /* without a lease: that is nowhere but in handles.json */
};

struct vmm_sightings {
	struct vmm_sighting *items; /* owned */
	size_t count;
};

void vmm_sightings_done(struct vmm_sightings *list);
#define AUTO_VMM_SIGHTINGS CLEANUP(vmm_sightings_done) struct vmm_sightings

/*
 * Finds all VMMs of this user whose API socket is where this daemon puts those of its VMs. Without
 * a folder for sockets there can be none, and /proc is not looked at.
 */
int vmm_search(const struct daemon *daemon, struct vmm_sightings *ret, struct err *err) MUST_CHECK;

/*
 * Whether that process is the VMM of VM `id` of this daemon: 1, else 0, also when it has ended.
 * What handles.json says is only where to look: another VM's file may be in its place. -errno when
 * it cannot be told.
 */
int vmm_search_is(const struct daemon *daemon, const char *id, pid_t pid, uint64_t start_time)
	MUST_CHECK;

/* The VMM of that VM among those found; NULL when there is none, or it has ended since. */
const struct vmm_sighting *vmm_sightings_find(const struct vmm_sightings *list, const char *id)
	MUST_CHECK;

/*
 * Reads a command line as /proc has it, each word with a NUL behind it: true when it is one that
 * vmm_spawn() makes. Fills id, engine and accelerator, and borrows the API socket's path from it.
 * Pure.
 */
bool vmm_sighting_parse(struct span cmdline, struct vmm_sighting *ret, const char **ret_api_socket);
