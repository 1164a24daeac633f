/* A VM that goes on from another one's memory instead of booting. */
#include "daemon/vm_boot_private.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/vm_capture.h"
#include "daemon/vm_service.h"
#include "guest/renew.h"

#define IDENTITY_TIMEOUT_NS (20 * NSEC_PER_SEC)
#define SLOW_NS		    NSEC_PER_SEC /* what it was told of the time is too old then */
#define LOAD_TIMEOUT_MS	    60000	 /* a moment, unless many begin at once */

int boot_load_origin(const struct boot *boot, struct err *err)
{
	struct vmm_api api = boot_api(boot);
	const char *folder = boot->origin->folder;
	AUTO_FREE char *state = mem_printf("%s/" VM_CAPTURE_STATE, folder);
	AUTO_FREE char *memory = mem_printf("%s/" VM_CAPTURE_MEMORY, folder);
	const struct vmm_snapshot_load load = {
		.snapshot = { .state_path = state, .memory_path = memory },
		.network_id = boot->has_network ? "eth0" : NULL,
		.tap = boot->device.tap,
		.vsock_path = boot->vsock_socket,
		.is_resumed = true,
	};
	int r;

	api.timeout_ms = LOAD_TIMEOUT_MS;
	r = vmm_load_snapshot(&api, &load, err);
	return r < 0 ? err_context(err, r, "load '%s'", folder) : 0;
}

/* Its disks are as large as was asked for; the guest has seen them as large as they were. */
static int grow_disks(const struct boot *boot, const struct guest_target *target, struct err *err)
{
	const struct vmm_api api = boot_api(boot);
	const uint64_t had[] = { [VM_DISK_SYSTEM] = boot->origin->system_bytes,
				 [VM_DISK_WORK] = boot->origin->work_bytes };
	uint64_t wanted[VM_DISK_COUNT] = { 0 };
	bool is_larger = false;
	int r = 0;

	for (size_t i = 0; i < VM_DISK_COUNT && r == 0; i++) {
		if (boot->disks[i].size_bytes == had[i])
			continue;
		wanted[i] = boot->disks[i].size_bytes;
		is_larger = true;
		/* banger-vmm has told the guest by itself. */
		if (boot->decision.engine == VMM_ENGINE_FIRECRACKER)
			r = vmm_refresh_drive(&api, boot_drive_ids[i],
					      boot_own_name(boot->disks[i].path), err);
	}
	if (r == 0 && is_larger)
		r = guest_grow(target, wanted[VM_DISK_SYSTEM], wanted[VM_DISK_WORK], err);
	return r < 0 ? err_context(err, r, "grow the disks") : 0;
}

/* Whoever heard of the time late has set a clock that is late. An agent that is down is no failure.
 */
static void set_clock_again(const struct boot *boot)
{
	struct err err = ERR_INIT;

	if (vm_refresh_guest(boot->job, boot->vm, &err) < 0)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = boot->vm->id, .err = &err },
			  "cannot set the guest's clock again, ignoring");
}

int boot_introduce(const struct boot *boot, struct err *err)
{
	const struct guest_target target = {
		.socket_path = boot->vsock_socket,
		.cancel = boot->job->cancel,
		.deadline_ns = clock_now_ns() + IDENTITY_TIMEOUT_NS,
	};
	const uint64_t asked_ns = clock_now_ns();
	AUTO_JSON *identity = NULL;
	int r;

	r = vm_make_identity(boot->daemon, boot->vm, &identity, err);
	if (r == 0)
		r = guest_renew(&target, identity, NULL, err);
	if (r < 0)
		return err_context(err, r, "tell the guest who it is");
	if (clock_now_ns() - asked_ns > SLOW_NS)
		set_clock_again(boot);
	failpoint("vm.start.introduced");
	if (boot->has_network)
		r = network_join(boot->daemon->network, boot->vm, err);
	return r < 0 ? r : grow_disks(boot, &target, err);
}
