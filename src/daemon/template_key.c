#include "daemon/template_key.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include <openssl/evp.h>

#include "base/buf.h"
#include "base/mem.h"
#include "daemon/network.h"
#include "daemon/private.h"
#include "daemon/vm_service.h"
#include "image/register.h"
#include "kernel/initramfs.h"
#include "kernel/kernel.h"
#include "vmm/engine.h"

/* Counted up when what VMs are begun from changes in a way that nothing else here shows. */
#define FORM 1

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void template_disk_sizes(const struct daemon *daemon, const struct vm_spec *spec,
			 uint64_t *ret_system, uint64_t *ret_work)
{
	*ret_system = smaller(spec->system_overlay_bytes, daemon->defaults.system_overlay_bytes);
	*ret_work = smaller(spec->disk_bytes, daemon->defaults.disk_bytes);
}

int key_add_file(struct buf *text, const char *path, struct err *err)
{
	struct stat status;

	if (stat(path, &status) < 0)
		return err_sys(err, -errno, "look at '%s'", path);
	buf_addf(text, "%ju %ju %jd %jd.%09ld\n", (uintmax_t)status.st_dev,
		 (uintmax_t)status.st_ino, (intmax_t)status.st_size,
		 (intmax_t)status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
	return 0;
}

/* Those that there are: no emulator with Firecracker. */
static int add_files(const char *const *paths, size_t count, struct buf *text, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		if (paths[i])
			r = key_add_file(text, paths[i], err);
	}
	return r;
}

static int make_key(const struct buf *text, char ret[static TEMPLATE_KEY_SIZE], struct err *err)
{
	uint8_t digest[(TEMPLATE_KEY_SIZE - 1) / 2];

	if (EVP_Digest(text->ptr, text->len, digest, NULL, EVP_sha256(), NULL) != 1)
		return err_set(err, ERR_SYSTEM, "make a key: OpenSSL refused");
	for (size_t i = 0; i < sizeof(digest); i++)
		(void)snprintf(ret + 2 * i, 3, "%02x", digest[i]);
	return 0;
}

int template_key(const struct daemon *daemon, const struct vm *vm,
		 const struct vmm_decision *decision, char ret[static TEMPLATE_KEY_SIZE],
		 struct err *err)
{
	AUTO_FREE char *kernel =
		mem_printf("%s/%s/%s", daemon->kernels_dir, vm->spec.kernel, KERNEL_ELF_FILE);
	AUTO_FREE char *initramfs =
		mem_printf("%s/%s/%s", daemon->kernels_dir, vm->spec.kernel, INITRAMFS_FILE);
	AUTO_FREE char *args = vm_kernel_args(daemon);
	AUTO_IMAGE_PATHS image = { 0 };
	AUTO_BUF text = BUF_INIT;
	uint64_t system_bytes, work_bytes;
	struct utsname host;
	int r;

	template_disk_sizes(daemon, &vm->spec, &system_bytes, &work_bytes);
	buf_addf(&text, "banger template %d\n%s\n%s\n%s\n%s\n", FORM, vm->spec.image,
		 vm->spec.kernel, vmm_engine_name(decision->engine),
		 vmm_accelerator_name(decision->accelerator));
	buf_addf(&text, "%" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %d\n%s\n", vm->spec.vcpu,
		 vm->spec.memory_bytes, system_bytes, work_bytes, network_is_on(daemon->network),
		 args);
	/* An emulated one is QEMU's own. */
	if (decision->processor && uname(&host) == 0)
		buf_addf(&text, "%s%s\n", decision->processor, host.release);
	r = image_locate(daemon->images_dir, vm->spec.image, &image, err);
	if (r < 0)
		return r;
	const char *const paths[] = { image.root, image.seed,	    kernel,
				      initramfs,  decision->binary, decision->qemu_path };

	r = add_files(paths, ARRAY_LEN(paths), &text, err);
	return r < 0 ? r : make_key(&text, ret, err);
}
