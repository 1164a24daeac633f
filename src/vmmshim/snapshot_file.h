/*
 * The file of PUT /snapshot/create's snapshot_path: everything of a microVM but its memory, whose
 * pages are a file of their own (mem_file_path: guest-physical order, exactly the guest's size).
 *
 * Big endian: 8 bytes magic "BNGRSNAP", u32 format version, u32 length of the facts, u64 length of
 * the device state, u64 size of the memory file; the facts, a JSON object; the device state as QEMU
 * wrote it; u64 CRC-64 (ECMA-182) of everything before. Nothing follows.
 *
 * The facts say what the file can be loaded into: the same QEMU build, accelerator and processor
 * (device state is nothing else's), and the configuration as GET /vm/config shows it, from which
 * the same machine is made again. A CRC finds damage, not malice: whoever may write the file may
 * as well start the VM.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "base/strv.h"

#define SNAPSHOT_FORMAT	   1
#define SNAPSHOT_FACTS_MAX (256UL * 1024) /* the API's bodies have 50 KiB at most each */
#define SNAPSHOT_STATE_MAX                                                    \
	(64ULL * 1024 * 1024) /* 48 KiB to 1 MiB; a guest cannot make it grow \
			       */
#define SNAPSHOT_FILE_MAX (SNAPSHOT_STATE_MAX + SNAPSHOT_FACTS_MAX + 64)

struct snapshot_facts {
	char *qemu;	      /* its version and package, as QMP greets */
	char *accel;	      /* "tcg" or "kvm" */
	char *cpu;	      /* the model that the guest sees: a host's own with KVM, else "max" */
	uint64_t tsc_khz;     /* of the host with TCG, which the guest counts on; 0: unknown */
	json_t *config;	      /* an object */
	json_t *drive_bytes;  /* an object: sizes that the guest sees, by drive id */
	struct strv overlays; /* ids of the drives that are qcow2 over a base (--drive-overlay) */
};

struct snapshot_file {
	uint64_t memory_size;
	struct snapshot_facts facts; /* owned */
	struct span state;	     /* borrowed from the bytes */
};

/* Fails with ERR_INVALID, in Firecracker's words where it has any; `ret` is untouched then. */
int snapshot_file_read(struct span bytes, struct snapshot_file *ret, struct err *err) MUST_CHECK;
void snapshot_file_done(struct snapshot_file *file);
void snapshot_facts_done(struct snapshot_facts *facts);

/* Appends the whole file. ERR_LIMIT when a part is longer than can be read again. */
int snapshot_file_write(const struct snapshot_file *file, struct buf *out, struct err *err)
	MUST_CHECK;
