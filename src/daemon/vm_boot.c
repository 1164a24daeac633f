/* Starting a VM's process and waiting for its guest. */
#include "daemon/vm_service.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/artifacts.h"
#include "daemon/engine.h"
#include "daemon/file_sync.h"
#include "daemon/network.h"
#include "daemon/publish.h"
#include "daemon/ssh_key.h"
#include "daemon/vm_disks.h"
#include "daemon/vm_files.h"
#include "daemon/vm_table.h"
#include "guest/agent.h"
#include "guest/renew.h"
#include "kernel/args.h"
#include "kernel/initramfs.h"
#include "kernel/kernel.h"
#include "priv/priv.h"
#include "vmm/fc_client.h"
#include "vmm/supervise.h"

#define ENTROPY_BYTES	  64
#define HEALTH_SLICE_MS	  500 /* how often a VMM that died while its guest boots is noticed */
#define CONSOLE_LINES	  20
#define SECRET_FILE_BYTES 16384

static const char *const drive_ids[] = { [VM_DISK_SYSTEM] = "rootfs", [VM_DISK_WORK] = "work" };

/* One boot: what its steps hand to one another. Paths are owned. */
struct boot {
	struct daemon *daemon;
	const struct vm *vm;
	const struct job *job;
	struct vmm_decision decision;
	struct disk_overlay disks[VM_DISK_COUNT];
	struct vmm_process process;
	char *api_socket;
	char *vsock_socket;
	char *initrd;
	char *console;
	char *vmm_log;
	bool has_network;
	struct network_device device;
};

static void boot_done(struct boot *boot)
{
	vmm_decision_done(&boot->decision);
	for (size_t i = 0; i < VM_DISK_COUNT; i++)
		disk_overlay_done(&boot->disks[i]);
	vmm_process_done(&boot->process);
	mem_free(boot->api_socket);
	mem_free(boot->vsock_socket);
	mem_free(boot->initrd);
	mem_free(boot->console);
	mem_free(boot->vmm_log);
}

static struct vmm_api boot_api(const struct boot *boot)
{
	return (struct vmm_api){ .socket_path = boot->api_socket, .cancel = boot->job->cancel };
}

/* --- identity --- */

static int read_secret(const char *path, struct buf *ret, struct err *err)
{
	int r;

	buf_reserve(ret, SECRET_FILE_BYTES); /* at once: growing would leave copies behind */
	r = file_read(AT_FDCWD, path, SECRET_FILE_BYTES - 4096, ret);
	return r < 0 ? err_sys(err, r, "read '%s'", path) : 0;
}

int vm_put_entropy(json_t *identity, struct err *err)
{
	uint8_t bytes[ENTROPY_BYTES];
	char text[ENTROPY_BYTES * 2];

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return err_set(err, ERR_SYSTEM, "make random bytes: OpenSSL refused");
	(void)EVP_EncodeBlock((unsigned char *)text, bytes, sizeof(bytes));
	json_put_str(identity, "entropy", text);
	return 0;
}

/* The user's public key, if there is one yet; the guest takes it for root. */
static void put_authorized_keys(const struct daemon *daemon, json_t *identity)
{
	AUTO_FREE char *path = mem_printf("%s.pub", daemon->ssh_key_path);
	AUTO_BUF line = BUF_INIT;
	json_t *keys = json_new_array();

	if (file_read(AT_FDCWD, path, SECRET_FILE_BYTES, &line) == 0 && line.len > 0) {
		if (line.ptr[line.len - 1] == '\n')
			buf_truncate(&line, line.len - 1);
		json_add(keys, json_new_str(line.ptr));
	}
	json_put(identity, "authorized_keys", keys);
}

static int make_identity(const struct daemon *daemon, const struct vm *vm, json_t **ret,
			 struct err *err)
{
	AUTO_FREE char *key_path = vm_file(daemon, vm->id, VM_FILE_HOST_KEY);
	AUTO_FREE char *public_path = mem_printf("%s.pub", key_path);
	AUTO_BUF private_pem = BUF_INIT;
	AUTO_BUF public_line = BUF_INIT;
	AUTO_JSON *identity = json_new_object();
	int r;

	r = read_secret(key_path, &private_pem, err);
	if (r == 0)
		r = read_secret(public_path, &public_line, err);
	if (r == 0)
		r = vm_put_entropy(identity, err);
	if (r < 0)
		return r;
	if (public_line.len > 0 && public_line.ptr[public_line.len - 1] == '\n')
		buf_truncate(&public_line, public_line.len - 1);
	json_put_str(identity, "hostname", vm->name);
	put_authorized_keys(daemon, identity);
	json_put_str(identity, "ssh_host_key", private_pem.ptr);
	json_put_str(identity, "ssh_host_key_pub", public_line.ptr);
	guest_put_clock(identity);
	json_put_str(identity, "machine_id", vm->id);
	json_put_str(identity, "boot_token", vm->id);
	json_put(identity, "network", network_identity(daemon->network, vm));
	ssh_key_wipe(&private_pem);
	*ret = TAKE_PTR(identity);
	return 0;
}

/* The kernel's initramfs with this VM's identity behind it, mode 0600: it has the host key. */
static int write_initrd(struct boot *boot, struct err *err)
{
	struct daemon *daemon = boot->daemon;
	AUTO_FREE char *base =
		mem_printf("%s/%s/%s", daemon->kernels_dir, boot->vm->spec.kernel, INITRAMFS_FILE);
	AUTO_CLOSE int base_fd = -1;
	AUTO_CLOSE int out_fd = -1;
	AUTO_JSON *identity = NULL;
	AUTO_BUF text = BUF_INIT;
	int r;

	r = initramfs_ensure(daemon->kernels_dir, boot->vm->spec.kernel, daemon->agent_path,
			     boot->job->cancel, boot->job->progress, err);
	if (r == 0)
		r = make_identity(daemon, boot->vm, &identity, err);
	if (r < 0)
		return r;
	base_fd = open(base, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (base_fd < 0)
		return err_sys(err, -errno, "open '%s'", base);
	out_fd = open(boot->initrd, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (out_fd < 0)
		return err_sys(err, -errno, "open '%s'", boot->initrd);
	buf_reserve(&text, SECRET_FILE_BYTES);
	json_write(identity, &text);
	r = initramfs_write_vm(base_fd, out_fd, buf_span(&text), err);
	ssh_key_wipe(&text);
	return r;
}

/* --- the VMM --- */

static int spawn_vmm(struct boot *boot, struct err *err)
{
	const struct priv_limits limits = {
		.vcpu = boot->vm->spec.vcpu,
		.memory_bytes = boot->vm->spec.memory_bytes,
		.is_emulated = boot->decision.accelerator == VMM_ACCELERATOR_TCG,
	};
	AUTO_PRIV_ENTRY entry = { .count = 0 };
	AUTO_PRIV_NET_SPACES spaces = { .count = 0 };
	struct vmm_launch launch = {
		.engine = boot->decision.engine,
		.accelerator = boot->decision.accelerator,
		.binary = boot->decision.binary,
		.qemu_path = boot->decision.qemu_path,
		.id = boot->vm->id,
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
			(struct vmm_drive_overlay){ .drive_id = drive_ids[i],
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

static char *kernel_args(const struct boot *boot)
{
	const bool is_verbose = boot->daemon->config.log_level == LOG_LEVEL_DEBUG;

	/* The ciphers' self-tests cost a fifth of a boot under TCG (DESIGN, decision 1). */
	return mem_printf("console=ttyS0 reboot=k panic=1%s cryptomgr.notests random.trust_cpu=on "
			  "banger.work=/dev/vdb",
			  is_verbose ? "" : " quiet loglevel=4");
}

static int configure_drives(const struct boot *boot, const struct vmm_api *api, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < VM_DISK_COUNT && r == 0; i++) {
		const struct vmm_drive drive = {
			.id = drive_ids[i],
			.path = boot->disks[i].path,
			.is_root = i == VM_DISK_SYSTEM,
			.is_writeback = true,
		};

		r = vmm_put_drive(api, &drive, err);
	}
	return r;
}

/*
 * A kernel is no secret, and its folder lets nobody in: so QEMU, as a user of its own, can read the
 * file that it is given, instead of each VM having a copy in memory.
 */
static void share_kernel(const char *path)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat status;

	if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
	    (status.st_mode & S_IROTH) == 0)
		(void)fchmod(fd, 0644); /* then there is the copy */
}

static int configure_vmm(const struct boot *boot, struct err *err)
{
	const struct vmm_api api = boot_api(boot);
	AUTO_FREE char *kernel = mem_printf("%s/%s/%s", boot->daemon->kernels_dir,
					    boot->vm->spec.kernel, KERNEL_ELF_FILE);
	AUTO_FREE char *args = kernel_args(boot);
	const struct vmm_machine_config machine = {
		.vcpu_count = boot->vm->spec.vcpu,
		.memory_mib = boot->vm->spec.memory_bytes >> 20,
	};
	const struct vmm_boot_source source = { .kernel_path = kernel,
						.initrd_path = boot->initrd,
						.boot_args = args };
	bool has_serial;
	int r;

	share_kernel(kernel);
	r = kernel_args_check(span_str(args), err);
	if (r == 0)
		r = vmm_put_machine_config(&api, &machine, err);
	if (r == 0)
		r = vmm_put_boot_source(&api, &source, err);
	if (r == 0)
		r = configure_drives(boot, &api, err);
	if (r == 0 && boot->has_network)
		r = vmm_put_network(&api,
				    &(struct vmm_network){ .id = "eth0",
							   .tap = boot->device.tap,
							   .mac = boot->device.mac },
				    err);
	if (r == 0)
		r = vmm_put_vsock(&api, VMM_VSOCK_GUEST_CID, boot->vsock_socket, err);
	if (r == 0)
		r = vmm_put_entropy(&api, err);
	if (r == 0)
		r = vmm_put_serial(&api, boot->console, &has_serial, err);
	if (r < 0)
		return err_context(err, r, "configure the VMM");
	failpoint("vm.start.configured");
	r = vmm_start_instance(&api, err);
	return r < 0 ? err_context(err, r, "boot the VM") : 0;
}

/* --- the guest --- */

static int explain_death(const struct boot *boot, struct err *err)
{
	AUTO_BUF console = BUF_INIT;
	AUTO_BUF log = BUF_INIT;
	int r;

	vmm_log_tail(boot->vmm_log, 3, &log);
	vmm_log_tail(boot->console, CONSOLE_LINES, &console);
	/* The end of either says most, and a message has room for both ends only. */
	if (console.len > 300)
		buf_consume(&console, console.len - 300);
	if (log.len > 120)
		buf_consume(&log, log.len - 120);
	r = err_set(err, ERR_SYSTEM, "the VM ended while it booted; log: %s; console: %s",
		    log.len ? log.ptr : "(empty)", console.len ? console.ptr : "(empty)");
	err_hint(err, "with log_level = \"debug\" the kernel tells more on its console");
	return r;
}

static bool has_ended(const struct boot *boot)
{
	struct pollfd wait = { .fd = boot->process.pidfd, .events = POLLIN };

	return poll(&wait, 1, 0) > 0;
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
		err_hint(err, "the console is in '%s' while the VM exists", boot->console);
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
	if (r == 0)
		r = write_initrd(boot, err);
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
		r = network_attach(boot->daemon->network, boot->vm, &boot->device, err);
	if (r < 0)
		return r;
	failpoint("vm.start.network");
	progress_report(progress, "vmm", vmm_engine_name(boot->decision.engine), 0, 0);
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
	r = configure_vmm(boot, err);
	if (r < 0)
		return has_ended(boot) ? explain_death(boot, err) : r;
	failpoint("vm.start.booted");
	progress_report(progress, "boot", NULL, 0, 0);
	r = wait_for_agent(boot, err);
	if (r == 0)
		failpoint("vm.start.healthy");
	return r;
}

int vm_boot(struct daemon *daemon, const struct vm *vm, const struct job *job,
	    struct strv *warnings, struct err *err)
{
	struct boot boot = { .daemon = daemon, .vm = vm, .job = job, .process = VMM_PROCESS_INIT };
	int r;

	r = run_steps(&boot, err);
	/* Before anybody can run a command in it. */
	if (r == 0)
		r = file_sync_run(job, vm, boot.vsock_socket, warnings, err);
	if (r == 0) {
		failpoint("vm.start.files");
		publish_serve(daemon->publish, vm, boot.vsock_socket);
		warn_of_tcg(&boot, warnings);
	}
	boot_done(&boot);
	return r;
}
