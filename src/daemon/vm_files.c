#include "daemon/vm_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "daemon/private.h"

#define SOCKET_FOLDER_DIGITS 12

static const char *const names[] = {
	[VM_FILE_FOLDER] = "",
	[VM_FILE_HANDLES] = "/handles.json",
	[VM_FILE_INITRD] = "/initrd",
	[VM_FILE_CONSOLE] = "/console.log",
	[VM_FILE_VMM_LOG] = "/vmm.log",
	[VM_FILE_HOST_KEY] = "/host_key",
	[VM_FILE_SNAPSHOTS] = "/snapshots",
	[VM_FILE_NEW_RESTORE] = "/.new-restore",
	[VM_FILE_RESTORE] = "/.restore",
	[VM_FILE_RUNTIME] = "",
	[VM_FILE_API_SOCKET] = "/api.sock",
	[VM_FILE_VSOCK_SOCKET] = "/vsock.sock",
};
_Static_assert(ARRAY_LEN(names) == VM_FILE_COUNT, "each file needs its name");

char *vm_file(const struct daemon *daemon, const char *id, enum vm_file file)
{
	if (file >= VM_FILE_RUNTIME)
		return mem_printf("%s/vm/%.*s%s", daemon->paths.runtime_dir, SOCKET_FOLDER_DIGITS,
				  id, names[file]);
	return mem_printf("%s/%s%s", daemon->vms_dir, id, names[file]);
}

static int make(const struct daemon *daemon, const char *id, enum vm_file file, struct err *err)
{
	AUTO_FREE char *path = vm_file(daemon, id, file);
	const int r = dir_make_path(path, 0700);

	return r < 0 ? err_sys(err, r, "make '%s'", path) : 0;
}

int vm_folder_make(const struct daemon *daemon, const char *id, struct err *err)
{
	return make(daemon, id, VM_FILE_FOLDER, err);
}

int vm_runtime_make(const struct daemon *daemon, const char *id, struct err *err)
{
	return make(daemon, id, VM_FILE_RUNTIME, err);
}

static int remove_tree(const struct daemon *daemon, const char *id, enum vm_file file,
		       struct err *err)
{
	AUTO_FREE char *path = vm_file(daemon, id, file);
	const int r = dir_remove_tree(AT_FDCWD, path);

	return r < 0 ? err_sys(err, r, "remove '%s'", path) : 0;
}

int vm_folder_remove(const struct daemon *daemon, const char *id, struct err *err)
{
	return remove_tree(daemon, id, VM_FILE_FOLDER, err);
}

int vm_runtime_remove(const struct daemon *daemon, const char *id, struct err *err)
{
	return remove_tree(daemon, id, VM_FILE_RUNTIME, err);
}
