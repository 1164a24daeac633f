/* Starting a VM's process and waiting for its guest. */
#include "daemon/vm_boot_private.h"

#include <poll.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/engine.h"
#include "daemon/file_sync.h"
#include "daemon/publish.h"
#include "daemon/vm_capture.h"
#include "daemon/vm_files.h"
#include "daemon/vm_machine.h"
#include "daemon/vm_service.h"
#include "daemon/vm_table.h"
#include "guest/agent.h"
#include "priv/priv.h"
#include "vmm/blame.h"

#define HEALTH_SLICE_MS 500 /* how often a VMM that died while its guest boots is noticed */
#define ENDING_MS	20  /* its sockets are closed before it is gone */
#define CONSOLE_LINES	20
#define ROOM_MIN_BYTES	(1ULL << 20) /* with less a write of the guest may have found none */

const char *const boot_drive_ids[] = { [VM_DISK_SYSTEM] = "rootfs", [VM_DISK_WORK] = "work" };

struct vmm_api boot_api(const struct boot *boot)
{
	return (struct vmm_api){ .socket_path = boot->api_socket, .cancel = boot->job->cancel };
}

const char *boot_own_name(const char *path)
{
	return strrchr(path, '/') + 1;
}

static void boot_done(struct boot *boot)
{
	vmm_decision_done(&boot->decision);
	for (size_t i = 0; i < VM_DISK_COUNT; i++)
		disk_overlay_done(&boot->disks[i]);
	vmm_process_done(&boot->process);
	mem_free(boot->api_socket);
	mem_free(boot->vsock_socket);
	mem_free(boot->initrd);
	mem_free(boot->folder);
	mem_free(boot->console);
	mem_free(boot->vmm_log);
}

/* --- the VMM --- */

/*
 * What it is about to be started with. Before that: should a program be exchanged in between, the
 * old one is noted, and a copy of the VM is refused that could have been loaded, never the reverse.
 */
static void note_machine(struct boot *boot)
{
	struct err err = ERR_INIT;

	if (vm_machine_key(boot->daemon, boot->vm, &boot->decision, boot->has_network,
			   boot->machine_key, &err) < 0)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = boot->vm->id, .err = &err },
			  "cannot tell what a VM is started with: it can be neither forked nor "
			  "kept in snapshots");
}

static int spawn_vmm(struct boot *boot, struct err *err)
{
	const struct priv_limits limits = {
		.vcpu = boot->vm->spec.vcpu,
		.memory_bytes = boot->vm->spec.memory_bytes,
		.is_emulated = boot->decision.accelerator == VMM_ACCELERATOR_TCG,
		.is_background = boot->job->is_background,
	};
	AUTO_PRIV_ENTRY entry = { .count = 0 };
	AUTO_PRIV_NET_SPACES spaces = { .count = 0 };
	struct vmm_launch launch = {
		.engine = boot->decision.engine,
		.accelerator = boot->decision.accelerator,
		.binary = boot->decision.binary,
		.qemu_path = boot->decision.qemu_path,
		.id = boot->vm->id,
		.folder = boot->folder,
		.api_sock = boot->api_socket,
		.console_path = boot->console,
		.log_path = boot->vmm_log,
	};
	int r;

	if (boot->decision.engine == VMM_ENGINE_QEMU)
		(void)priv_vm_user(boot->daemon->priv, boot->vm->id, &launch.uid);
	r = priv_cgroup_make(boot->daemon->priv, boot->vm->id, &limits, &entry, err);
	if (r < 0)
		return r;
	failpoint("vm.start.cgroup");
	if (boot->has_network)
		r = network_enter(boot->daemon->network, &spaces, err);
	if (r < 0)
		return r;
	launch.spaces = spaces.fds;
	launch.space_count = spaces.count;
	launch.cgroups = entry.fds;
	launch.cgroup_count = entry.count;
	for (size_t i = 0; i < VM_DISK_COUNT; i++) {
		if (disk_kind_is_raw(boot->disks[i].kind))
			continue;
		launch.overlays[launch.overlay_count++] =
			(struct vmm_drive_overlay){ .drive_id = boot_drive_ids[i],
						    .base_path = boot->disks[i].base };
	}
	return vmm_spawn(&launch, boot->job->cancel, &boot->process, err);
}

/* Records the process where the next daemon finds it, then where this one watches it. */
static int note_process(struct boot *boot, struct err *err)
{
	struct handles handles = {
		.pid = boot->process.pid,
		.start_time = boot->process.start_time,
		.engine = boot->decision.engine,
		.accelerator = boot->decision.accelerator,
		.has_network = boot->has_network,
	};
	struct lease lease;
	int pidfd, r;

	memcpy(handles.boot_id, boot->process.boot_id, sizeof(handles.boot_id));
	memcpy(handles.machine_key, boot->machine_key, sizeof(handles.machine_key));
	if (lease_get(boot->daemon->leases, boot->vm->id, &lease)) {
		handles.lease_pid = lease.pid;
		handles.lease_start_time = lease.start_time;
	}
	if (boot->has_network && boot->vm->ip)
		(void)snprintf(handles.address, sizeof(handles.address), "%s", boot->vm->ip);
	r = handles_save(boot->daemon, boot->vm->id, &handles, err);
	if (r < 0)
		return r;
	pidfd = fd_clone(boot->process.pidfd);
	if (pidfd < 0)
		return err_sys(err, pidfd, "watch the VMM");
	return vm_table_add(boot->daemon->table, boot->vm->id, &handles, pidfd, err);
}

/* --- the guest --- */

/* Of one that was to go on from elsewhere: ERR_BAD_STATE when that is what it ended of. */
static int explain_death(const struct boot *boot, struct err *err)
{
	enum err_kind kind = ERR_SYSTEM;
	AUTO_BUF console = BUF_INIT;
	AUTO_BUF log = BUF_INIT;
	int r;

	vmm_log_tail(boot->vmm_log, 3, &log);
	vmm_log_tail(boot->console, CONSOLE_LINES, &console);
	if (boot->origin && vmm_blame(buf_span(&log)) == VMM_BLAME_VM)
		kind = ERR_BAD_STATE;
	/* The end of either says most, and a message has room for both ends only. */
	if (console.len > 300)
		buf_consume(&console, console.len - 300);
	if (log.len > 120)
		buf_consume(&log, log.len - 120);
	r = err_set(err, kind, "the VM ended while it booted; log: %s; console: %s",
		    log.len ? log.ptr : "(empty)", console.len ? console.ptr : "(empty)");
	err_hint(err, "with log_level = \"debug\" the kernel tells more on its console");
	return r;
}

static bool has_ended(const struct boot *boot)
{
	struct pollfd wait = { .fd = boot->process.pidfd, .events = POLLIN };

	return poll(&wait, 1, ENDING_MS) > 0;
}

/* A guest that finds no room for what it writes stands still: no more can be known of it. */
static int explain_silence(const struct boot *boot, int r, struct err *err)
{
	struct statvfs status;

	if (statvfs(boot->folder, &status) == 0 &&
	    (uint64_t)status.f_bavail * status.f_frsize < ROOM_MIN_BYTES)
		return err_sys(err, -ENOSPC, "write to its disks in '%s'", boot->folder);
	err_hint(err, "the console is in '%s' while the VM exists", boot->console);
	return r;
}

/* Until the work disk is there: then commands can run, though the image's services are still
 * starting. */
static int wait_for_agent(const struct boot *boot, struct err *err)
{
	const uint64_t deadline = clock_now_ns() + (uint64_t)VM_AGENT_TIMEOUT_MS * NSEC_PER_MSEC;
	int r;

	for (;;) {
		struct guest_health health = { 0 };
		const uint64_t slice = clock_now_ns() + HEALTH_SLICE_MS * NSEC_PER_MSEC;
		const struct guest_target target = {
			.socket_path = boot->vsock_socket,
			.cancel = boot->job->cancel,
			.deadline_ns = slice < deadline ? slice : deadline,
		};

		r = guest_wait_healthy(&target, "work", &health, err);
		guest_health_done(&health);
		if (r == 0)
			return 0;
		if (has_ended(boot))
			return explain_death(boot, err);
		if (err->kind != ERR_TIMEOUT || clock_now_ns() >= deadline)
			break;
	}
	if (err->kind == ERR_TIMEOUT)
		r = explain_silence(boot, r, err);
	return err_context(err, r, "wait for the guest's agent");
}

static void warn_of_tcg(const struct boot *boot, struct strv *warnings)
{
	if (boot->decision.accelerator == VMM_ACCELERATOR_TCG)
		strv_add(warnings, "no usable KVM on this host: VMs run under emulation (TCG), "
				   "which is slower "
				   "and no security boundary");
}

static int find_parts(struct boot *boot, struct err *err)
{
	struct daemon *daemon = boot->daemon;
	const char *id = boot->vm->id;
	enum disk_engine engine;
	int r;

	r = engine_get(daemon->engine, boot->job->cancel, &boot->decision, err);
	if (r < 0)
		return r;
	engine = boot->decision.engine == VMM_ENGINE_QEMU ? DISK_ENGINE_QEMU
							  : DISK_ENGINE_FIRECRACKER;
	for (size_t i = 0; i < VM_DISK_COUNT; i++) {
		r = vm_disk_find(daemon, boot->vm, (enum vm_disk)i, engine, &boot->disks[i], err);
		if (r < 0)
			return r;
	}
	boot->api_socket = vm_file(daemon, id, VM_FILE_API_SOCKET);
	boot->vsock_socket = vm_file(daemon, id, VM_FILE_VSOCK_SOCKET);
	boot->initrd = vm_file(daemon, id, VM_FILE_INITRD);
	boot->folder = vm_file(daemon, id, VM_FILE_FOLDER);
	boot->console = vm_file(daemon, id, VM_FILE_CONSOLE);
	boot->vmm_log = vm_file(daemon, id, VM_FILE_VMM_LOG);
	return 0;
}

static int run_steps(struct boot *boot, struct err *err)
{
	const struct progress *progress = boot->job->progress;
	int r;

	progress_report(progress, "prepare", NULL, 0, 0);
	r = find_parts(boot, err);
	if (r == 0 && !boot->origin)
		r = boot_write_initrd(boot, err);
	if (r < 0)
		return r;
	failpoint("vm.start.initrd");
	/* What a VMM that died left there: sockets. */
	r = vm_teardown(boot->daemon, boot->vm->id, err);
	if (r == 0)
		r = vm_runtime_make(boot->daemon, boot->vm->id, err);
	if (r < 0)
		return r;
	failpoint("vm.start.folder");
	boot->has_network = network_is_on(boot->daemon->network);
	if (boot->has_network)
		r = network_prepare(boot->daemon->network, boot->vm, &boot->device, err);
	if (r == 0 && boot->has_network && !boot->origin)
		r = network_join(boot->daemon->network, boot->vm, err);
	if (r < 0)
		return r;
	failpoint("vm.start.network");
	progress_report(progress, "vmm", vmm_engine_name(boot->decision.engine), 0, 0);
	note_machine(boot);
	r = spawn_vmm(boot, err);
	if (r < 0)
		return r;
	failpoint("vm.start.spawned");
	r = note_process(boot, err);
	if (r < 0) {
		struct err end_err = ERR_INIT;

		/* Neither written down nor in the table, perhaps: a teardown would not find it. */
		if (vm_end_process(boot->process.pidfd, &end_err) < 0)
			err_append(err, &end_err);
		return r;
	}
	failpoint("vm.start.noted");
	r = boot->origin ? boot_load_origin(boot, err) : boot_configure(boot, err);
	if (r < 0)
		return has_ended(boot) ? explain_death(boot, err) : r;
	failpoint("vm.start.booted");
	progress_report(progress, boot->origin ? "identity" : "boot", NULL, 0, 0);
	r = wait_for_agent(boot, err);
	if (r == 0 && boot->origin) {
		r = boot_introduce(boot, err);
		if (r < 0 && err->kind != ERR_CANCELLED && has_ended(boot))
			return explain_death(boot, err);
	}
	if (r == 0)
		failpoint("vm.start.healthy");
	return r;
}

int vm_boot(struct daemon *daemon, const struct vm *vm, const struct vm_origin *origin,
	    const struct job *job, struct strv *warnings, struct err *err)
{
	struct boot boot = { .daemon = daemon,
			     .vm = vm,
			     .origin = origin,
			     .job = job,
			     .process = VMM_PROCESS_INIT };
	int r;

	r = run_steps(&boot, err);
	/* Before anybody can run a command in it. One that goes on has them as it left them. */
	if (r == 0 && !job->is_for_copies && (!origin || origin->is_template))
		r = file_sync_run(job, vm, boot.vsock_socket, warnings, err);
	if (r == 0) {
		failpoint("vm.start.files");
		publish_serve(daemon->publish, vm, boot.vsock_socket);
		warn_of_tcg(&boot, warnings);
	}
	boot_done(&boot);
	return r;
}
