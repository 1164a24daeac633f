/*
 * The Firecracker API as typed functions: HTTP over the VMM's Unix socket, one connection a
 * request.
 *
 * Every request has a deadline and may be cancelled; every answer is bounded (VMM_ANSWER_BYTES_MAX)
 * and believed only if it has the status and the shape that the API definition gives. A refusal's
 * fault_message goes into the error, escaped. Errors:
 *   ERR_BAD_STATE      the VMM refused (400): its words are in the message
 *   ERR_TIMEOUT    no answer in time       ERR_CANCELLED  cancelled
 *   ERR_NOT_FOUND  nobody listens on the socket
 *   ERR_PROTOCOL   an answer that is none: another status, too long, no JSON
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"

#define VMM_ANSWER_BYTES_MAX 65536
#define VMM_API_TIMEOUT_MS   10000
#define VMM_VSOCK_GUEST_CID  3 /* the socket is per VM, so every guest may have the same */

/* Whom to ask, and how long to wait. Cheap: made on the stack for each use. */
struct vmm_api {
	const char *socket_path;     /* borrowed */
	const struct cancel *cancel; /* borrowed; may be NULL */
	uint64_t timeout_ms;	     /* for each request; 0: VMM_API_TIMEOUT_MS */
};

struct vmm_machine_config {
	uint64_t vcpu_count;
	uint64_t memory_mib;
};
int vmm_put_machine_config(const struct vmm_api *api, const struct vmm_machine_config *config,
			   struct err *err) MUST_CHECK;

struct vmm_boot_source {
	const char *kernel_path;
	const char *initrd_path; /* NULL: none */
	const char *boot_args;	 /* NULL: the VMM's own */
};
int vmm_put_boot_source(const struct vmm_api *api, const struct vmm_boot_source *source,
			struct err *err) MUST_CHECK;

struct vmm_drive {
	const char *id;	  /* letters, digits and '_' */
	const char *path; /* the file; a qcow2 overlay if the launch said so, else raw */
	bool is_root;
	bool is_read_only;
	bool is_writeback; /* flushes reach the disk ("Writeback"); else "Unsafe" */
};
int vmm_put_drive(const struct vmm_api *api, const struct vmm_drive *drive, struct err *err)
	MUST_CHECK;

struct vmm_network {
	const char *id;	 /* letters, digits and '_' */
	const char *tap; /* the host's device, which this process's user may open */
	const char *mac; /* of the guest's end */
};
int vmm_put_network(const struct vmm_api *api, const struct vmm_network *network, struct err *err)
	MUST_CHECK;

/* Host programs reach guest port N by connecting to `socket_path` and sending "CONNECT N\n". */
int vmm_put_vsock(const struct vmm_api *api, uint64_t guest_cid, const char *socket_path,
		  struct err *err) MUST_CHECK;

int vmm_put_entropy(const struct vmm_api *api, struct err *err) MUST_CHECK;

/*
 * Serial console to a file. Firecracker before 1.13 does not know this request: then 0 and
 * *ret_supported false (its console is its stdout, which vmm_spawn() has put into a file).
 */
int vmm_put_serial(const struct vmm_api *api, const char *output_path, bool *ret_supported,
		   struct err *err) MUST_CHECK;

int vmm_start_instance(const struct vmm_api *api, struct err *err) MUST_CHECK;
int vmm_pause(const struct vmm_api *api, struct err *err) MUST_CHECK;
int vmm_resume(const struct vmm_api *api, struct err *err) MUST_CHECK;

/*
 * Writes a snapshot of a paused VM: two new files, of which the memory's has holes where it was
 * never used. The VM stays paused. `api->timeout_ms` must do for writing all of the memory.
 */
struct vmm_snapshot {
	const char *state_path;
	const char *memory_path;
};
int vmm_create_snapshot(const struct vmm_api *api, const struct vmm_snapshot *snapshot,
			struct err *err) MUST_CHECK;

/*
 * Instead of configuring and starting: the VM goes on from a snapshot, whose memory file must not
 * change as long as the VM runs. Its drives are found under the paths that they had, relative ones
 * from the VMM's working folder. ERR_BAD_STATE: it cannot be loaded; ERR_SYSTEM: the host was short
 * of something, or somebody ended QEMU, and another time it may.
 */
struct vmm_snapshot_load {
	struct vmm_snapshot snapshot;
	const char *network_id; /* NULL: it has no interface */
	const char *tap;	/* instead of the one that it had */
	const char *vsock_path; /* likewise */
	bool is_resumed;	/* else it is paused */
};
int vmm_load_snapshot(const struct vmm_api *api, const struct vmm_snapshot_load *load,
		      struct err *err) MUST_CHECK;

/* Tells the guest that the file of a drive has another size now. */
int vmm_refresh_drive(const struct vmm_api *api, const char *drive_id, const char *path,
		      struct err *err) MUST_CHECK;

int vmm_send_ctrl_alt_del(const struct vmm_api *api, struct err *err) MUST_CHECK;

enum vmm_state { VMM_NOT_STARTED, VMM_RUNNING, VMM_PAUSED, VMM_STATE_COUNT };

#define VMM_DESCRIPTION_SIZE 65

/* What GET / says. Text is checked: printable ASCII, and short enough. */
struct vmm_description {
	enum vmm_state state;
	char id[VMM_DESCRIPTION_SIZE];
	char app_name[VMM_DESCRIPTION_SIZE];
	char vmm_version[VMM_DESCRIPTION_SIZE];
};
int vmm_describe(const struct vmm_api *api, struct vmm_description *ret, struct err *err)
	MUST_CHECK;
