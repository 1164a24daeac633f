#include "agent/new_root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "agent/console.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"

static bool is_executable(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static const char *find_here(const char *wanted)
{
	static const char *const usual[] = { "/sbin/init", "/etc/init", "/lib/systemd/systemd",
					     "/bin/init" };

	if (wanted[0] != '\0' && is_executable(wanted))
		return wanted;
	if (wanted[0] != '\0')
		console_print("banger.init=%s cannot be executed, looking for the usual ones",
			      wanted);
	for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
		if (is_executable(usual[i]))
			return usual[i];
	}
	return NULL;
}

const char *new_root_find_init(const char *wanted)
{
	/* /sbin/init is a link to an absolute path, which means the image's: looked up from inside.
	 */
	AUTO_CLOSE int outside = dir_open("/");
	const char *found = NULL;

	if (outside < 0 || chroot(NEW_ROOT) < 0)
		return NULL;
	found = find_here(wanted);
	if (fchdir(outside) < 0 || chroot(".") < 0) {
		struct err err = ERR_INIT;

		(void)err_sys(&err, -errno, "return to the initramfs");
		console_fatal(&err);
	}
	return found;
}

struct filesystem {
	const char *type;
	const char *folder;
	unsigned long flags;
	const char *options;
};

/* systemd finds /dev/pts mounted as it would mount it, and leaves it. */
static const struct filesystem terminals = { "devpts", NEW_ROOT "/dev/pts", MS_NOSUID | MS_NOEXEC,
					     "mode=0620,gid=5,ptmxmode=0666" };

static const struct filesystem without_init[] = {
	{ "tmpfs", NEW_ROOT "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777" },
	{ "tmpfs", NEW_ROOT "/run", MS_NOSUID | MS_NODEV, "mode=0755,size=20%" },
	{ "cgroup2", NEW_ROOT "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC,
	  "nsdelegate,memory_recursiveprot" },
};

/* Needed by some programs, not by the VM: what cannot be had is said, and that is all. */
static void mount_one(const struct filesystem *fs)
{
	(void)mkdir(fs->folder, 0755);
	if (mount(fs->type, fs->folder, fs->type, fs->flags, fs->options) < 0)
		console_print("mount %s: %s", fs->folder + strlen(NEW_ROOT),
			      strerrordesc_np(errno));
}

/* What the kernel leaves to user space; a shell's <(...) needs the first, many scripts the others.
 */
static void link_descriptors(void)
{
	static const struct {
		const char *target;
		const char *path;
	} links[] = {
		{ "/proc/self/fd", NEW_ROOT "/dev/fd" },
		{ "/proc/self/fd/0", NEW_ROOT "/dev/stdin" },
		{ "/proc/self/fd/1", NEW_ROOT "/dev/stdout" },
		{ "/proc/self/fd/2", NEW_ROOT "/dev/stderr" },
	};

	for (size_t i = 0; i < ARRAY_LEN(links); i++) {
		if (symlink(links[i].target, links[i].path) < 0 && errno != EEXIST)
			console_print("link %s: %s", links[i].path + strlen(NEW_ROOT),
				      strerrordesc_np(errno));
	}
}

static void move_in(const char *folder, const char *target)
{
	(void)mkdir(target, 0755); /* an image may lack it */
	if (mount(folder, target, NULL, MS_MOVE, NULL) < 0) {
		struct err err = ERR_INIT;

		(void)err_sys(&err, -errno, "move %s into the root", folder);
		console_fatal(&err);
	}
}

void new_root_mount(bool is_without_init)
{
	move_in("/dev", NEW_ROOT "/dev");
	move_in("/proc", NEW_ROOT "/proc");
	move_in("/sys", NEW_ROOT "/sys");
	mount_one(&terminals);
	link_descriptors();
	if (!is_without_init)
		return;
	for (size_t i = 0; i < ARRAY_LEN(without_init); i++)
		mount_one(&without_init[i]);
}

struct sweep {
	int root;
	dev_t device;
};

static int sweep_one(void *context, const char *name)
{
	const struct sweep *sweep = context;
	struct stat st;

	/* Never into a mounted file system: that is the VM's disk. */
	if (fstatat(sweep->root, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    st.st_dev != sweep->device || str_eq(name, &NEW_ROOT[1]))
		return 0;
	IGNORE_RESULT(
		dir_remove_tree(sweep->root, name)); /* what stays costs memory, nothing else */
	return 0;
}

static void sweep_initramfs(void)
{
	AUTO_CLOSE int root = dir_open("/");
	struct statfs fs;
	struct stat st;

	if (root < 0 || fstatfs(root, &fs) < 0 || fstat(root, &st) < 0)
		return;
	/* Should this ever run on a real disk, it must not be emptied. */
	if (fs.f_type != RAMFS_MAGIC && fs.f_type != TMPFS_MAGIC)
		return;

	struct sweep sweep = { .root = root, .device = st.st_dev };

	IGNORE_RESULT(dir_each(root, sweep_one, &sweep));
}

void new_root_switch(void)
{
	sweep_initramfs();
	if (chdir(NEW_ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0) {
		struct err err = ERR_INIT;

		(void)err_sys(&err, -errno, "switch to the root");
		console_fatal(&err);
	}
}
