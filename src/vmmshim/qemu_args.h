/*
 * QEMU's command line and descriptors for a configuration: a pure function, so that golden files
 * can hold it still.
 *
 * The machine is `microvm`: virtio-mmio and no firmware, as in Firecracker. What is not obvious:
 *
 * - The guest finds the transports from virtio-mmio-bus.23 downwards, so devices are placed in that
 *   order: the first drive, the root, becomes /dev/vda. Interrupts of the last two (bus 1 and 0)
 * get lost with the machine's options (seen with QEMU 7.2 and Linux 6.1), so these stay empty.
 * - The transports are told to be modern (force-legacy=off), as Firecracker's are; the keyboard
 * that Ctrl-Alt-Del needs works only so. There is no i8042: Linux finds no interrupt for it here.
 * - Everything that QEMU opens is a descriptor of ours. Formats are stated, never probed: `raw`, or
 *   `qcow2` over `raw`. Kernel and initrd are read by code that knows no descriptor sets, hence
 *   /proc/self/fd.
 * - Under TCG the guest's time stamp counter is the host's, and nothing tells the guest its rate: a
 *   wrong guess makes its clock run fast or slow. So the measured rate goes on the kernel's command
 *   line, after what the client wrote there: the last one counts.
 * - A snapshot is loaded with the same arguments but the kernel's, which only a start reads. Its
 *   device state is what `xen-save-devices-state` writes: all of it and no memory, whose pages come
 *   from their file. That command leaves out the stream's head and tail, so QEMU is told not to
 *   expect them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/spawn.h"
#include "base/strv.h"
#include "vmmshim/config.h"

enum qemu_accel { QEMU_ACCEL_TCG, QEMU_ACCEL_KVM };

struct qemu_settings {
	const char *id; /* of the instance: shown in the process list */
	enum qemu_accel accel;
	bool is_sandboxed;	/* QEMU's own seccomp filter */
	uint64_t tsc_khz;	/* the host's; 0 when unknown */
	uid_t uid;		/* QEMU's user; 0: ours, in our namespaces */
	gid_t gid;		/* with `uid` */
	const char *own_device; /* with `uid`: as in struct spawn */
	int qmp_fd;		/* borrowed, as all below */
	int console_fd;
	int agent_fd; /* -1 without a vsock device */
	int saved_fd; /* where device state is saved to; only written */
	/* To load a snapshot instead of starting a kernel; both -1 otherwise. */
	int memory_fd; /* the memory's file, mapped copy-on-write; see memory_gate.h */
	int state_fd;  /* its device state */
};

struct qemu_plan {
	struct strv argv;			/* owned; without argv[0] */
	struct spawn_fd fds[SPAWN_FDS_MAX - 3]; /* borrowed from settings and configuration */
	size_t fd_count;
	/* Numbers of settings' descriptors in QEMU; 0: there is none. */
	int saved_number;
	int memory_number;
	int state_number;
};

/* Fails (ERR_LIMIT) when the kernel's command line gets too long. */
int qemu_plan(const struct vm_config *config, const struct qemu_settings *settings,
	      struct qemu_plan *ret, struct err *err) MUST_CHECK;
void qemu_plan_done(struct qemu_plan *plan);
