/*
 * What can be done with VMs. Each function does one verb from start to end under the VM's lock: it
 * checks, stores the intent, does the steps with an undo for each, and stores the result. `ret` is
 * uninitialised, ended with vm_done().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "base/macros.h"
#include "base/strv.h"
#include "daemon/lease.h"
#include "daemon/private.h"
#include "daemon/rollback.h"
#include "model/vm.h"
#include "vmm/fc_client.h"

#define VM_STOP_TIMEOUT_MS 10000 /* for a guest that was asked to stop; SPEC 3 */
#define VM_AGENT_TIMEOUT_MS \
	120000 /* from power-on to the agent; 3 s under TCG when nothing is wrong */

struct vm_origin;

/* What the user asked for; 0 and NULL stand for the default. */
struct vm_create_request {
	const char *name;
	const char *image;
	const char *kernel;
	uint64_t vcpu;
	uint64_t memory_bytes;
	uint64_t disk_bytes;
	uint64_t system_overlay_bytes;
	const struct strv *publish; /* as vm_port_read() has it; may be NULL */
	bool nat;
	bool start;
	bool ephemeral;
	bool is_cold; /* not from a template */
	/* NULL, or what it goes on from, and from nothing else; of the same image, kernel, vcpus
	 * and memory, with disks that are no larger. Borrowed, as the next. */
	const struct vm_origin *origin;
	const struct vm_workspace *workspace; /* what is in it already; may be NULL */
	struct lease lease;		      /* whom an ephemeral VM lives for */
};

/*
 * Fills in the spec of the VM that a request would make, and makes or fetches its image and kernel.
 * `ret` is initialised, ended with vm_done() in any case.
 */
int vm_resolve(const struct job *job, const struct vm_create_request *request, struct vm *ret,
	       struct err *err) MUST_CHECK;

/* Makes a VM and, if asked, starts it; when either fails nothing of it is left. */
int vm_create(const struct job *job, const struct vm_create_request *request, struct vm *ret,
	      struct strv *warnings, struct err *err) MUST_CHECK;

int vm_start(const struct job *job, const char *reference, struct vm *ret, struct strv *warnings,
	     struct err *err) MUST_CHECK;

/* Asks the guest (agent, else Ctrl-Alt-Del), waits, then ends the VMM. *ret_forced says which. */
int vm_stop(const struct job *job, const char *reference, uint64_t timeout_ms, struct vm *ret,
	    bool *ret_forced, struct err *err) MUST_CHECK;
int vm_restart(const struct job *job, const char *reference, uint64_t timeout_ms, struct vm *ret,
	       struct strv *warnings, struct err *err) MUST_CHECK;

/* Signals the VMM. For SIGKILL and SIGTERM it waits until the VM has ended and has been tidied up.
 */
int vm_kill(const struct job *job, const char *reference, int signal, struct vm *ret,
	    struct err *err) MUST_CHECK;
int vm_pause(const struct job *job, const char *reference, struct vm *ret, struct err *err)
	MUST_CHECK;
int vm_resume(const struct job *job, const char *reference, struct vm *ret, struct err *err)
	MUST_CHECK;

/* What is to be different; 0 and NULL leave it as it is. */
struct vm_set_request {
	const char *name;
	uint64_t vcpu;
	uint64_t memory_bytes;
	uint64_t disk_bytes; /* of the work disk, which only grows */
	struct json_maybe_bool nat;
};

/*
 * Changes a VM that does not run; of one that does only the name, which its guest is told, and NAT.
 * All of it or nothing.
 */
int vm_set(const struct job *job, const char *reference, const struct vm_set_request *request,
	   struct vm *ret, struct strv *warnings, struct err *err) MUST_CHECK;

/* Ends it if it runs and removes everything of it. `ret` is what it was. */
int vm_delete(const struct job *job, const char *reference, struct vm *ret, struct err *err)
	MUST_CHECK;

/* The same for one that does not run: *ret_deleted is false when it does by now, or is gone. */
int vm_delete_idle(const struct job *job, const char *id, bool *ret_deleted, struct err *err)
	MUST_CHECK;

/* A stream to the agent of a running VM, past CONNECT; the fd is the caller's. */
int vm_connect(const struct job *job, const char *reference, enum vm_verb verb, struct vm *ret,
	       int *ret_fd, struct err *err) MUST_CHECK;

/*
 * What listens in a running VM: an array of objects, owned by the caller. What is on all addresses
 * of both families is there once; each TCP port is tried for what it speaks.
 */
int vm_ports(const struct job *job, const char *reference, json_t **ret, struct err *err)
	MUST_CHECK;

/* The same from a guest's list. */
struct guest_ports;
struct guest_target;
int vm_ports_json(const struct guest_target *target, const struct guest_ports *ports, json_t **ret,
		  struct err *err) MUST_CHECK;

/* One question to the agent of a running VM and its answer; ERR_TIMEOUT without one. */
int vm_ping(const struct job *job, const char *reference, uint64_t timeout_ms, uint64_t *ret_us,
	    struct err *err) MUST_CHECK;

/* --- the parts that the verbs and reconcile are made of; the VM's lock is held --- */

/*
 * Boots the VM and waits for its agent. What a failure leaves is for vm_teardown(), and the row's
 * state is the caller's business too. `origin` is NULL, or what the VM goes on from instead of
 * booting: then its disks are copies of those there that nobody has written to.
 */
int vm_boot(struct daemon *daemon, const struct vm *vm, const struct vm_origin *origin,
	    const struct job *job, struct strv *warnings, struct err *err) MUST_CHECK;

/* vm_start() of a VM whose lock is held and that does not run. `origin` as for vm_boot(). */
int vm_start_locked(const struct job *job, struct vm *vm, const struct vm_origin *origin,
		    struct strv *warnings, struct err *err) MUST_CHECK;

/* Sees to it that a VM that is to be started has an address, and stores it. */
int vm_ensure_address(struct daemon *daemon, struct vm *vm, const struct job *job, struct err *err)
	MUST_CHECK;

/* Asks a VMM's process to end, then makes it, and reaps it if it is our child. Not cancellable: it
 * is how everything is undone. */
int vm_end_process(int pidfd, struct err *err) MUST_CHECK;

/* Ends the VMM, if there is one, and removes what a running VM has: handles, sockets, table entry.
 */
rollback_undo vm_teardown;

/* Removes everything: teardown, folder, row. */
rollback_undo vm_erase;

/*
 * Tidies up after a VMM that ended by itself, and stores how: stopped when the guest powered off,
 * error with the reason and the console's last lines otherwise. One that lives is left alone.
 */
int vm_note_end(struct daemon *daemon, const char *id, struct err *err) MUST_CHECK;

/* vm_stop() of a VM whose lock is held. A cancelled one is taken back as far as that goes. */
int vm_stop_locked(struct daemon *daemon, struct vm *vm, uint64_t timeout_ms, const struct job *job,
		   bool *ret_forced, struct err *err) MUST_CHECK;

/* Finishes a vm_set() whose row is stored. */
int vm_finish_set(struct daemon *daemon, const struct vm *vm, struct err *err) MUST_CHECK;

/* Tells a guest its name, address, the time, and randomness, within twenty seconds. */
int vm_refresh_guest(const struct job *job, const struct vm *vm, struct err *err) MUST_CHECK;

/* The same for one that stood still without noticing. An agent that is down is no failure. */
void vm_set_guest_clock(struct daemon *daemon, const struct vm *vm);

/* The guest's identity, as its agent takes it (docs/agent-protocol.md): it has the ssh host key in
 * it. Owned by the caller. */
int vm_make_identity(const struct daemon *daemon, const struct vm *vm, json_t **ret,
		     struct err *err) MUST_CHECK;

#define VM_SECRET_BYTES_MAX 16384 /* what an identity has as text: reserved at once */

/* The command line of its kernel; owned by the caller. */
char *vm_kernel_args(const struct daemon *daemon) MUST_CHECK;

/* Adds fresh random bytes, in base64, to what a guest is told. */
int vm_put_entropy(json_t *identity, struct err *err) MUST_CHECK;

/* The state of a VM whose VMM says `state`; `otherwise` when its guest has not been started. */
static inline enum vm_state vm_state_of_vmm(enum vmm_state state, enum vm_state otherwise)
{
	if (state == VMM_NOT_STARTED)
		return otherwise;
	return state == VMM_PAUSED ? VM_PAUSED : VM_RUNNING;
}

/* The public object with everything that is known now; in a list without what the disks occupy. */
enum vm_detail { VM_DETAIL_LIST, VM_DETAIL_ALL };
json_t *vm_describe(struct daemon *daemon, const struct vm *vm, enum vm_detail detail) MUST_CHECK;
