/* Where a VM's files are. Each result is owned by the caller; nothing is made or looked at. */
#pragma once

#include "base/err.h"
#include "base/macros.h"

struct daemon;

enum vm_file {
	VM_FILE_FOLDER,	 /* state/vms/ID */
	VM_FILE_HANDLES, /* handles.json */
	VM_FILE_INITRD,	 /* initramfs of the kernel and the identity */
	VM_FILE_CONSOLE, /* serial console */
	VM_FILE_VMM_LOG,
	VM_FILE_HOST_KEY,  /* the guest's ssh host key, made by us */
	VM_FILE_SNAPSHOTS, /* daemon/snapshots.h, as the next two */
	VM_FILE_NEW_RESTORE,
	VM_FILE_RESTORE,
	VM_FILE_RUNTIME, /* runtime/vm/first 12 of the id: sockets, whose paths must be short */
	VM_FILE_API_SOCKET,
	VM_FILE_VSOCK_SOCKET,
	VM_FILE_COUNT,
};

char *vm_file(const struct daemon *daemon, const char *id, enum vm_file file) MUST_CHECK;

/* Makes the folder (mode 0700). */
int vm_folder_make(const struct daemon *daemon, const char *id, struct err *err) MUST_CHECK;
int vm_runtime_make(const struct daemon *daemon, const char *id, struct err *err) MUST_CHECK;

/* Remove them with all their content; missing ones are fine. */
int vm_folder_remove(const struct daemon *daemon, const char *id, struct err *err) MUST_CHECK;
int vm_runtime_remove(const struct daemon *daemon, const char *id, struct err *err) MUST_CHECK;
