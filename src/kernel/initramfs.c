#include "kernel/initramfs.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/cpio.h"
#include "kernel/digest.h"
#include "kernel/kernel.h"
#include "kernel/modules.h"
#include "kernel/staging.h"

#define STAGE	       "initramfs"
#define KEY_FILE       "initramfs.json"
#define KEY_SIZE_MAX   4096
#define LAYOUT_VERSION 2	     /* a change of what is in it makes older ones be built anew */
#define DEP_SIZE_MAX   (16ULL << 20) /* modules.dep and modules.builtin */
#define ZSTD_LEVEL     19  /* a second once per kernel; unpacking costs the same at each level */
#define ALIGNMENT      512 /* the kernel wants 4 */

/* Without these a VM cannot reach its disks, console, agent or network, on either VMM. */
static const char *const needed_modules[] = {
	"virtio_mmio", "virtio_pci",	 "virtio_blk",
	"virtio_net",  "virtio_console", "vmw_vsock_virtio_transport",
};

/* Taken when the kernel has them: entropy, and the keyboard on which the VMM presses Ctrl-Alt-Del.
 */
static const char *const wanted_modules[] = { "virtio_rng", "virtio_input" };

/* --- Packing --- */

static int pack_members(struct cpio *cpio, struct span agent,
			const struct initramfs_module *modules, size_t count, struct err *err)
{
	AUTO_BUF list = BUF_INIT;
	int r;

	for (size_t i = 0; i < count; i++)
		buf_addf(&list, "%s\n", modules[i].file_name);

	r = cpio_add_file(cpio, "init", 0755, agent, err);
	if (r == 0)
		r = cpio_add_dir(cpio, "banger", 0755, err);
	if (r == 0)
		r = cpio_add_file(cpio, "banger/modules.list", 0644, buf_span(&list), err);
	if (r == 0)
		r = cpio_add_dir(cpio, "banger/modules", 0755, err);
	for (size_t i = 0; r == 0 && i < count; i++) {
		AUTO_FREE char *path = mem_printf("banger/modules/%s", modules[i].file_name);

		r = cpio_add_file(cpio, path, 0644, buf_span(&modules[i].bytes), err);
	}
	return r == 0 ? cpio_finish(cpio, err) : r;
}

static int compress(struct span bytes, struct buf *out, struct err *err)
{
	const size_t bound = ZSTD_compressBound(bytes.len);
	size_t size;

	buf_reserve(out, bound);
	size = ZSTD_compress(out->ptr + out->len, bound, bytes.ptr, bytes.len, ZSTD_LEVEL);
	if (ZSTD_isError(size))
		return err_set(err, ERR_SYSTEM, "compress the initramfs: %s",
			       ZSTD_getErrorName(size));
	buf_advance(out, size);
	return 0;
}

int initramfs_pack(struct span agent, const struct initramfs_module *modules, size_t count,
		   struct buf *out, struct err *err)
{
	AUTO_BUF plain = BUF_INIT;
	CLEANUP(cpio_freep) struct cpio *cpio = NULL;
	int r;

	r = cpio_new(&plain, &cpio, err);
	if (r == 0)
		r = pack_members(cpio, agent, modules, count, err);
	return r == 0 ? compress(buf_span(&plain), out, err) : r;
}

int initramfs_pack_identity(struct span identity_json, struct buf *out, struct err *err)
{
	CLEANUP(cpio_freep) struct cpio *cpio = NULL;
	int r;

	if (identity_json.len > INITRAMFS_IDENTITY_MAX)
		return err_set(err, ERR_LIMIT, "a VM's identity has %zu bytes; at most %u",
			       identity_json.len, INITRAMFS_IDENTITY_MAX);
	r = cpio_new(out, &cpio, err);
	/* The folder once more, so that the archive stands on its own: an existing one stays. */
	if (r == 0)
		r = cpio_add_dir(cpio, "banger", 0755, err);
	if (r == 0)
		r = cpio_add_file(cpio, "banger/identity.json", 0600, identity_json, err);
	return r == 0 ? cpio_finish(cpio, err) : r;
}

int initramfs_write_vm(int initramfs_fd, int out_fd, struct span identity_json, struct err *err)
{
	AUTO_BUF archive = BUF_INIT;
	struct stat info;
	bool is_reflinked;
	uint64_t size;
	int r;

	r = initramfs_pack_identity(identity_json, &archive, err);
	if (r < 0)
		return r;
	r = file_clone(initramfs_fd, out_fd, NULL, &is_reflinked);
	if (r < 0)
		return err_sys(err, r, "copy the initramfs");
	if (fstat(out_fd, &info) < 0)
		return err_sys(err, -errno, "copy the initramfs");

	/* What is skipped reads as zeros, which the kernel passes over between archives. */
	size = ((uint64_t)info.st_size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	r = fd_pwrite_all(out_fd, buf_span(&archive), size);
	if (r < 0)
		return err_sys(err, r, "write the identity behind the initramfs");
	return 0;
}

/* --- Building for a kernel --- */

struct parts {
	struct buf agent;
	struct initramfs_module *modules; /* owned */
	size_t count;
};

static void parts_done(struct parts *parts)
{
	buf_done(&parts->agent);
	for (size_t i = 0; i < parts->count; i++) {
		mem_free(parts->modules[i].file_name);
		buf_done(&parts->modules[i].bytes);
	}
	mem_free(parts->modules);
}

static int load_set(int kernel_fd, struct module_set *set, struct err *err)
{
	AUTO_BUF dep = BUF_INIT;
	AUTO_BUF builtin = BUF_INIT;
	int r;

	r = file_read(kernel_fd, "modules.dep", DEP_SIZE_MAX, &dep);
	if (r < 0)
		return err_sys(err, r, "read 'modules.dep'");
	r = module_set_parse_dep(set, buf_span(&dep), err);
	if (r < 0)
		return r;
	r = file_read(kernel_fd, "modules/modules.builtin", DEP_SIZE_MAX, &builtin);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_sys(err, r, "read 'modules.builtin'");
	return module_set_add_builtin(set, buf_span(&builtin), err);
}

/* "kernel/drivers/virtio/virtio.ko.xz" becomes "virtio.ko": the builder uncompresses it. */
static char *plain_file_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	const char *suffix = strstr(name, ".ko");

	return mem_strndup(name, suffix ? (size_t)(suffix - name) + 3 : strlen(name));
}

static int load_module(int modules_fd, const char *path, struct initramfs_module *into,
		       struct err *err)
{
	AUTO_BUF file = BUF_INIT;
	int r;

	into->file_name = plain_file_name(path);
	into->bytes = BUF_INIT;
	r = file_read(modules_fd, path, MODULE_SIZE_MAX, &file);
	if (r < 0)
		return err_sys(err, r, "read module '%s'", path);
	r = module_uncompress(buf_span(&file), &into->bytes, err);
	return r < 0 ? err_context(err, r, "module '%s'", path) : 0;
}

static size_t choose_modules(const struct module_set *set, const char **names)
{
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_LEN(needed_modules); i++)
		names[count++] = needed_modules[i];
	for (size_t i = 0; i < ARRAY_LEN(wanted_modules); i++)
		if (module_set_has(set, wanted_modules[i]))
			names[count++] = wanted_modules[i];
	return count;
}

static int load_modules(int kernel_fd, struct parts *parts, struct err *err)
{
	CLEANUP(module_set_freep) struct module_set *set = module_set_new();
	AUTO_CLOSE int modules_fd = -1;
	AUTO_STRV paths = { 0 };
	const char *names[ARRAY_LEN(needed_modules) + ARRAY_LEN(wanted_modules)];
	size_t count;
	int r;

	/* A kernel that came without modules has everything built in, or does not start. */
	if (faccessat(kernel_fd, "modules", F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	r = load_set(kernel_fd, set, err);
	count = choose_modules(set, names);
	if (r == 0)
		r = module_set_order(set, names, count, &paths, err);
	if (r < 0)
		return r;
	/* Everything may be built in; then there is nothing to load. */
	if (paths.count == 0)
		return 0;

	modules_fd = dir_open_at(kernel_fd, "modules");
	if (modules_fd < 0)
		return err_sys(err, modules_fd, "open 'modules'");
	parts->modules = mem_alloc(paths.count, sizeof(struct initramfs_module));
	for (size_t i = 0; i < paths.count; i++) {
		parts->count = i + 1;
		r = load_module(modules_fd, paths.items[i], &parts->modules[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What the file was made from, as JSON text; equal text means an equal file. */
static int make_key(const struct kernel *kernel, struct span agent, struct buf *out,
		    struct err *err)
{
	AUTO_JSON *object = json_new_object();
	char agent_sha256[SHA256_TEXT_SIZE];
	int r;

	r = digest_bytes(agent, agent_sha256, err);
	if (r < 0)
		return r;
	json_put_u64(object, "layout", LAYOUT_VERSION);
	json_put_str(object, "vmlinux_sha256", kernel->vmlinux_sha256);
	json_put_str(object, "agent_sha256", agent_sha256);
	json_write(object, out);
	buf_add_byte(out, '\n');
	return 0;
}

static bool is_current(int kernel_fd, const struct buf *key)
{
	AUTO_BUF old = BUF_INIT;

	return faccessat(kernel_fd, INITRAMFS_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
	       file_read(kernel_fd, KEY_FILE, KEY_SIZE_MAX, &old) == 0 &&
	       span_eq(buf_span(&old), buf_span(key));
}

static int build(int kernel_fd, struct parts *parts, const struct buf *key,
		 const struct cancel *cancel, struct err *err)
{
	AUTO_BUF image = BUF_INIT;
	int r;

	r = load_modules(kernel_fd, parts, err);
	if (r < 0)
		return r;
	r = cancel_check(cancel, err);
	if (r < 0)
		return r;
	r = initramfs_pack(buf_span(&parts->agent), parts->modules, parts->count, &image, err);
	if (r < 0)
		return r;

	/* The old key goes first: whatever happens, no key stands beside an image that it is not
	 * of. */
	if (unlinkat(kernel_fd, KEY_FILE, 0) < 0 && errno != ENOENT)
		return err_sys(err, -errno, "remove '%s'", KEY_FILE);
	r = file_replace(kernel_fd, INITRAMFS_FILE, buf_span(&image), 0600);
	if (r < 0)
		return err_sys(err, r, "write '%s'", INITRAMFS_FILE);
	r = file_replace(kernel_fd, KEY_FILE, buf_span(key), 0600);
	return r < 0 ? err_sys(err, r, "write '%s'", KEY_FILE) : 0;
}

/* The agent, and the key of the image that it makes with this kernel. */
static int read_agent(const struct kernel *kernel, const char *agent_path, struct buf *agent,
		      struct buf *key, struct err *err)
{
	const int r = file_read(AT_FDCWD, agent_path, INITRAMFS_AGENT_MAX, agent);

	if (r < 0)
		return err_sys(err, r, "read the guest agent '%s'", agent_path);
	return make_key(kernel, buf_span(agent), key, err);
}

static int ensure(int kernel_fd, const struct kernel *kernel, const char *agent_path,
		  const struct cancel *cancel, const struct progress *progress, struct err *err)
{
	CLEANUP(parts_done) struct parts parts = { .agent = BUF_INIT };
	AUTO_BUF key = BUF_INIT;
	int r;

	r = read_agent(kernel, agent_path, &parts.agent, &key, err);
	if (r < 0)
		return r;
	if (is_current(kernel_fd, &key))
		return 0;
	progress_report(progress, STAGE, "packing the guest agent and modules", 0, 0);
	return build(kernel_fd, &parts, &key, cancel, err);
}

static int open_kernel(const char *kernels_dir, const char *name, struct kernel *kernel,
		       int *ret_fd, struct err *err)
{
	const int r = kernel_load(kernels_dir, name, kernel, err);

	return r < 0 ? r : kernel_open_dir(kernels_dir, name, ret_fd, err);
}

int initramfs_check(const char *kernels_dir, const char *name, const char *agent_path,
		    struct err *err)
{
	AUTO_CLOSE int kernel_fd = -1;
	AUTO_BUF agent = BUF_INIT;
	AUTO_BUF key = BUF_INIT;
	AUTO_KERNEL kernel;
	int r;

	kernel_init(&kernel);
	r = open_kernel(kernels_dir, name, &kernel, &kernel_fd, err);
	if (r == 0)
		r = read_agent(&kernel, agent_path, &agent, &key, err);
	return r < 0 ? r : is_current(kernel_fd, &key);
}

int initramfs_ensure(const char *kernels_dir, const char *name, const char *agent_path,
		     const struct cancel *cancel, const struct progress *progress, struct err *err)
{
	AUTO_CLOSE int kernel_fd = -1;
	AUTO_KERNEL kernel;
	int r;

	kernel_init(&kernel);
	r = open_kernel(kernels_dir, name, &kernel, &kernel_fd, err);
	if (r < 0)
		return r;
	/* One builder at a time; the lock ends with the descriptor. The work takes about a second.
	 */
	if (flock(kernel_fd, LOCK_EX) < 0)
		return err_sys(err, -errno, "lock kernel '%s'", name);
	r = ensure(kernel_fd, &kernel, agent_path, cancel, progress, err);
	if (r < 0)
		return err_context(err, r, "the initramfs of kernel '%s'", name);
	return 0;
}
