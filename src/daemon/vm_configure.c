/* What a VM boots, and what its VMM is told for that. */
#include "daemon/vm_boot_private.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "daemon/ssh_key.h"
#include "daemon/vm_service.h"
#include "kernel/args.h"
#include "kernel/initramfs.h"
#include "kernel/kernel.h"

int boot_write_initrd(const struct boot *boot, struct err *err)
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
		r = vm_make_identity(daemon, boot->vm, &identity, err);
	if (r < 0)
		return r;
	base_fd = open(base, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (base_fd < 0)
		return err_sys(err, -errno, "open '%s'", base);
	out_fd = open(boot->initrd, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (out_fd < 0)
		return err_sys(err, -errno, "open '%s'", boot->initrd);
	buf_reserve(&text, VM_SECRET_BYTES_MAX);
	json_write(identity, &text);
	r = initramfs_write_vm(base_fd, out_fd, buf_span(&text), err);
	ssh_key_wipe(&text);
	return r;
}

static int configure_drives(const struct boot *boot, const struct vmm_api *api, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < VM_DISK_COUNT && r == 0; i++) {
		const struct vmm_drive drive = {
			.id = boot_drive_ids[i],
			.path = boot_own_name(boot->disks[i].path),
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

int boot_configure(const struct boot *boot, struct err *err)
{
	const struct vmm_api api = boot_api(boot);
	AUTO_FREE char *kernel = mem_printf("%s/%s/%s", boot->daemon->kernels_dir,
					    boot->vm->spec.kernel, KERNEL_ELF_FILE);
	AUTO_FREE char *args = vm_kernel_args(boot->daemon);
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
		r = vmm_put_serial(&api, boot_own_name(boot->console), &has_serial, err);
	if (r < 0)
		return err_context(err, r, "configure the VMM");
	failpoint("vm.start.configured");
	r = vmm_start_instance(&api, err);
	return r < 0 ? err_context(err, r, "boot the VM") : 0;
}
