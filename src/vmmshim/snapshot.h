/*
 * PUT /snapshot/create and /snapshot/load.
 *
 * Create, with the guest paused: streams to the guest's agent stand still; QEMU is asked where the
 * memory is, until what is on its way in the agent's channel moves no more (a paused guest's QEMU
 * still fills the buffers that the guest had offered, and a ring in memory that is ahead of the
 * saved device could not be loaded); it saves the state of its devices into a
 * file in memory; the guest's memory is written chunk by chunk, between which requests wait (but
 * GET /) and signals are heard; then both files get their names, the state last: where it is, the
 * memory is whole. Whatever fails before that leaves no file and a guest that can be resumed.
 * Nothing is synced to the disk, which would keep the guest stopped: whoever relies on the files
 * after a power cut syncs them once the guest runs again. It is given up when the client hangs up,
 * or somebody asks for the guest to go on.
 *
 * Load: everything that can be wrong is found before QEMU starts, and what has been configured is
 * undone when something is. QEMU maps the memory's file copy-on-write without being able to write
 * it (memory_gate.h), reads the device state and waits; the multiplexer on the agent's channel
 * greets with a new session, which resets the streams that the guest remembers.
 *
 * Drives, the vsock socket, TAP devices and the serial console's file are opened by the names that
 * the snapshot remembers, relative ones from the folder in which banger-vmm was started, as in
 * Firecracker: a clone that is started in a folder of its own with names like "system.qcow2" has
 * its own disks. network_overrides and vsock_override replace names; --drive-overlay is given again
 * (a clone may have another base); PUT /serial before the load replaces the console's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "vmmshim/bodies.h"
#include "vmmshim/guest_memory.h"
#include "vmmshim/new_file.h"
#include "vmmshim/snapshot_file.h"

struct qmp_version;
struct vmm;

struct snapshot {
	struct snapshot_create_body create; /* owned; given is 0 while none is made */
	struct snapshot_load_body load;	    /* owned; given is 0 while none is loaded */
	bool is_writing;		    /* snapshot_step() is due */
	struct new_file memory_file;
	struct new_file state_file;
	struct guest_memory memory;
	struct buf state;	     /* owned; QEMU's device state */
	struct snapshot_facts facts; /* owned; of the snapshot that is loaded */
	bool had_serial;	     /* PUT /serial came before the load */
	int queued[2];	 /* bytes in the agent's channel, to QEMU and from it, when seen last */
	unsigned stable; /* how often in a row they were the same */
	unsigned asked;	 /* how often QEMU was */
	uint64_t began_ns;
	uint64_t asked_ns; /* where the memory is was answered */
	uint64_t saved_ns; /* the device state was there */
};

#define SNAPSHOT_INIT                                     \
	((struct snapshot){ .memory_file = NEW_FILE_INIT, \
			    .state_file = NEW_FILE_INIT,  \
			    .memory = GUEST_MEMORY_INIT,  \
			    .state = BUF_INIT })

void snapshot_done(struct snapshot *snapshot);

/* The actions; requests_finish() follows. */
void snapshot_create(struct vmm *vmm);
void snapshot_load(struct vmm *vmm);

/* In the loop, while is_writing: the next chunk of memory. */
void snapshot_step(struct vmm *vmm);

/* QEMU is gone, because of `err`: what was being written is given up. */
void snapshot_abort(struct vmm *vmm, const struct err *err);

/* While loading: QEMU answers; how its loading goes on; that QEMU did not start. */
void snapshot_load_ready(struct vmm *vmm);
void snapshot_load_event(struct vmm *vmm, const char *status);
void snapshot_start_failed(struct vmm *vmm, const struct err *err);

/*
 * Whether the body asks for what can be: ERR_INVALID with Firecracker's words, or ERR_UNSUPPORTED.
 */
int snapshot_check_create(const struct snapshot_create_body *body, bool is_paused, struct err *err)
	MUST_CHECK;
int snapshot_check_load(const struct snapshot_load_body *body, struct err *err) MUST_CHECK;

/* As QMP greets: "7.2.22 (Debian 1:7.2+dfsg-7)". Owned by the caller. */
char *snapshot_describe_qemu(const struct qmp_version *version) MUST_CHECK;

/* The address in "Host virtual address for 0x0 (ram0) is 0x7f7af3e00000"; false: no such text. */
bool snapshot_parse_address(const char *text, uint64_t *ret) MUST_CHECK;

/* For the log. */
static inline uint64_t snapshot_ms(uint64_t from_ns, uint64_t to_ns)
{
	return (to_ns - from_ns) / 1000000;
}
