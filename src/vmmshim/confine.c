#include "vmmshim/confine.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"

#define KVM_NODE "/dev/kvm" /* QEMU knows no other */

/* Where sockets, people's files and what others may write are. */
static const char *const covered[] = {
	"/dev/mqueue", "/dev/shm", "/home", "/media", "/mnt",
	"/root",       "/run",	   "/srv",  "/tmp",   "/var",
};
_Static_assert(ARRAY_LEN(covered) <= CONFINE_COVERS_MAX, "every folder must fit");

static bool is_below(const char *path, const char *folder)
{
	return str_starts(path, folder) && path[strlen(folder)] == '/';
}

/* Before Linux 5.8 all mounts of /proc had their options together: the host's would change. */
static bool has_own_proc_options(void)
{
	struct utsname name;
	struct span text;
	uint64_t major, minor;

	if (uname(&name) < 0)
		return false;
	text = span_str(name.release);
	return parse_u64(&text, UINT32_MAX, &major) && parse_byte(&text, '.') &&
	       parse_u64(&text, UINT32_MAX, &minor) && (major > 5 || (major == 5 && minor >= 8));
}

void confine_plan(const char *program, struct confinement *confinement, struct spawn *spawn)
{
	char real[PATH_MAX];
	const char *path = realpath(program, real) ? real : program;

	for (size_t i = 0; i < ARRAY_LEN(covered); i++) {
		if (!is_below(path, covered[i]) && !is_below(program, covered[i]))
			confinement->covers[confinement->cover_count++] = covered[i];
	}
	spawn->namespaces = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
	spawn->covers = confinement->covers;
	spawn->new_proc = has_own_proc_options();
}

static bool may_read(const struct stat *status, uid_t uid)
{
	return status->st_uid == uid ? (status->st_mode & S_IRUSR) != 0
				     : (status->st_mode & S_IROTH) != 0;
}

int confine_readable(int *fd, uid_t uid, const char *what, struct err *err)
{
	AUTO_CLOSE int copy = -1;
	struct stat status;
	bool is_reflink;
	int r;

	if (fstat(*fd, &status) < 0)
		return err_sys(err, -errno, "look at the %s", what);
	if (may_read(&status, uid))
		return 0;
	copy = memfd_create(what, MFD_CLOEXEC);
	if (copy < 0)
		return err_sys(err, -errno, "copy the %s", what);
	r = file_clone(*fd, copy, NULL, &is_reflink);
	if (r < 0)
		return err_sys(err, r, "copy the %s", what);
	fd_assign(fd, TAKE_FD(copy));
	return 0;
}

struct confine_kvm confine_kvm_of(uid_t uid, mode_t mode, gid_t group)
{
	const mode_t others = S_IROTH | S_IWOTH, members = S_IRGRP | S_IWGRP;

	if ((mode & others) == others)
		return (struct confine_kvm){ .gid = uid };
	if ((mode & members) == members && group != 0)
		return (struct confine_kvm){ .gid = group };
	return (struct confine_kvm){ .gid = uid, .device = KVM_NODE };
}

struct confine_kvm confine_kvm(uid_t uid, enum qemu_accel accel)
{
	struct stat status;

	if (accel == QEMU_ACCEL_KVM && stat(KVM_NODE, &status) == 0)
		return confine_kvm_of(uid, status.st_mode, status.st_gid);
	return (struct confine_kvm){ .gid = uid };
}
