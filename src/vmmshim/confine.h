/*
 * What QEMU gets besides a user of its own: namespaces in which there is nothing to reach. No
 * network but what is passed by descriptor, no System V or POSIX queues of others, and a file
 * system without the folders in which sockets and people's files are; /proc shows it no other
 * process.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/spawn.h"
#include "vmmshim/qemu_args.h"

#define CONFINE_COVERS_MAX 16

struct confinement {
	const char *covers[CONFINE_COVERS_MAX + 1];
	size_t cover_count;
};

/* Adds namespaces to `spawn`, which borrows `confinement`; the program's own folder stays in view.
 */
void confine_plan(const char *program, struct confinement *confinement, struct spawn *spawn);

/*
 * QEMU opens the kernel and the initrd once more, as its own user. A file that this user may not
 * read is replaced by a copy in memory.
 */
int confine_readable(int *fd, uid_t uid, const char *what, struct err *err) MUST_CHECK;

/* How QEMU, as a user of its own, may open /dev/kvm. */
struct confine_kvm {
	gid_t gid;	    /* the node's group where that may, else `uid` as a number */
	const char *device; /* the node where only root, or root's group, may; else NULL */
};

/* `mode` and `group` are the node's. Pure. */
struct confine_kvm confine_kvm_of(uid_t uid, mode_t mode, gid_t group);

/* The same of this host's node; without KVM nothing is needed. */
struct confine_kvm confine_kvm(uid_t uid, enum qemu_accel accel);
