/* What the files that start a VM share. */
#pragma once

#include <stdbool.h>

#include "daemon/machine_key.h"
#include "daemon/network.h"
#include "daemon/private.h"
#include "daemon/vm_disks.h"
#include "disk/disk.h"
#include "vmm/engine.h"
#include "vmm/fc_client.h"
#include "vmm/supervise.h"

struct vm_origin;

/* One boot: what its steps hand to one another. Paths are owned. */
struct boot {
	struct daemon *daemon;
	const struct vm *vm;
	const struct vm_origin *origin; /* NULL: from power-on */
	const struct job *job;
	struct vmm_decision decision;
	struct disk_overlay disks[VM_DISK_COUNT];
	struct vmm_process process;
	char *api_socket;
	char *vsock_socket;
	char *initrd;
	char *folder;
	char *console;
	char *vmm_log;
	bool has_network;
	char machine_key[MACHINE_KEY_SIZE];
	struct network_device device;
};

/* Their ids in the VMM. */
extern const char *const boot_drive_ids[VM_DISK_COUNT];

struct vmm_api boot_api(const struct boot *boot);

/*
 * A file of the VM's folder, in which its VMM works, by its name alone: a snapshot remembers that,
 * and in another VM's folder it means that VM's file.
 */
const char *boot_own_name(const char *path);

/* --- vm_configure.c: from power-on --- */

/* The kernel's initramfs with this VM's identity behind it, mode 0600: it has the host key. */
int boot_write_initrd(const struct boot *boot, struct err *err) MUST_CHECK;

/* Tells the VMM everything, and starts the guest. */
int boot_configure(const struct boot *boot, struct err *err) MUST_CHECK;

/* --- vm_restore.c: going on from a captured machine --- */

int boot_load_origin(const struct boot *boot, struct err *err) MUST_CHECK;

/* Once its agent answers: tells the guest who it is now; then it may be reached. */
int boot_introduce(const struct boot *boot, struct err *err) MUST_CHECK;
