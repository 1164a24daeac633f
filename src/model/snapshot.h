/*
 * Records of snapshots: what the database knows of the folders vms/ID/snapshots/SNAPSHOT_ID. A
 * snapshot is a VM of one instant: its memory, the state of its devices, its disks. A record is
 * there as soon as its folder is complete, goes before it, and says what its files were like, so
 * that nothing else is ever loaded.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "model/names.h"
#include "model/template.h"
#include "model/vm.h"

#define SNAPSHOTS_MAX 64 /* of one VM: each takes what its memory and its disks do */

/* The files that are known by size and time of change: reading gigabytes would take too long. */
enum snapshot_part { SNAPSHOT_MEMORY, SNAPSHOT_SYSTEM, SNAPSHOT_WORK, SNAPSHOT_PART_COUNT };

struct snapshot_file {
	char *name; /* owned, within the folder */
	uint64_t size;
	int64_t changed_ns; /* since 1970 */
};

/* Strings are owned and never NULL in a stored one, but where that is said, and the workspace's. */
struct snapshot_record {
	char id[VM_ID_SIZE];
	char vm_id[VM_ID_SIZE];
	char *name;	   /* unique among the VM's */
	char *machine_key; /* of what it needs outside of its folder; NULL: not known */
	char state_sha256[TEMPLATE_KEY_SIZE];
	struct snapshot_file files[SNAPSHOT_PART_COUNT];
	uint32_t vcpu; /* the VM's spec, then */
	uint64_t memory_bytes;
	uint64_t system_bytes;
	uint64_t work_bytes;
	struct vm_workspace workspace; /* what the guest had then */
	uint64_t used_bytes;	       /* what the folder occupies */
	uint64_t pause_us;	       /* how long the VM stood still for it */
	int64_t created_at;	       /* seconds since 1970 */
};

void snapshot_record_init(struct snapshot_record *record);
void snapshot_record_done(struct snapshot_record *record);
#define AUTO_SNAPSHOT_RECORD CLEANUP(snapshot_record_done) struct snapshot_record

/* A growing array, owned. */
struct snapshot_record_list {
	struct snapshot_record *items;
	size_t count;
	size_t cap;
};

void snapshot_record_list_done(struct snapshot_record_list *list);
#define AUTO_SNAPSHOT_RECORD_LIST CLEANUP(snapshot_record_list_done) struct snapshot_record_list

/* Room for one more, initialised; valid until the next call. */
struct snapshot_record *snapshot_record_list_add(struct snapshot_record_list *list) MUST_CHECK;

/*
 * Among those of one VM, named `vm_name` in messages: the one with that name or id, else the only
 * one whose id begins so. ERR_NOT_FOUND with a hint, ERR_INVALID when there are several.
 */
int snapshot_resolve(const struct snapshot_record_list *list, const char *vm_name,
		     const char *reference, size_t *ret_index, struct err *err) MUST_CHECK;

/*
 * The name that another snapshot of the VM gets: `name`, or when that is NULL the first of "snap0",
 * "snap1", ... that is free. Owned by the caller. ERR_INVALID, ERR_EXISTS; ERR_LIMIT at
 * SNAPSHOTS_MAX.
 */
int snapshot_choose_name(const struct snapshot_record_list *list, const char *vm_name,
			 const char *name, char **ret, struct err *err) MUST_CHECK;

/* The snapshot object of the RPC interface; owned by the caller. */
json_t *snapshot_to_json(const struct snapshot_record *record, const char *vm_name,
			 const char *directory) MUST_CHECK;
