#include "daemon/handles.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/private.h"
#include "daemon/vm_files.h"

#define HANDLES_BYTES_MAX 4096

struct record {
	uint64_t pid;
	uint64_t start_time;
	char *boot_id;
	char *engine;
	char *accelerator;
	bool has_network;
	char *address;
	char *machine_key;
	uint64_t lease_pid;
	uint64_t lease_start_time;
};

static const struct json_field fields[] = {
	{ "pid", JSON_FIELD_U64, true, offsetof(struct record, pid), INT_MAX, "the VMM's process" },
	{ "start_time", JSON_FIELD_U64, true, offsetof(struct record, start_time), 0,
	  "clock ticks since boot" },
	{ "boot_id", JSON_FIELD_STRING, true, offsetof(struct record, boot_id), BOOT_ID_SIZE - 1,
	  "the host's boot" },
	{ "engine", JSON_FIELD_STRING, true, offsetof(struct record, engine), 32,
	  "qemu, firecracker" },
	{ "accelerator", JSON_FIELD_STRING, true, offsetof(struct record, accelerator), 32,
	  "kvm, tcg" },
	{ "network", JSON_FIELD_BOOL, false, offsetof(struct record, has_network), 0,
	  "whether it was started with a network device" },
	{ "address", JSON_FIELD_STRING, false, offsetof(struct record, address),
	  NET_ADDRESS_TEXT_SIZE - 1, "the guest's on that device" },
	{ "machine_key", JSON_FIELD_STRING, false, offsetof(struct record, machine_key),
	  MACHINE_KEY_SIZE - 1, "what it was started with" },
	{ "lease_pid", JSON_FIELD_U64, false, offsetof(struct record, lease_pid), INT_MAX,
	  "the client of an ephemeral VM" },
	{ "lease_start_time", JSON_FIELD_U64, false, offsetof(struct record, lease_start_time), 0,
	  "clock ticks since boot" },
};

static int convert(const struct record *record, struct handles *ret, struct err *err)
{
	struct handles handles = {
		.pid = (pid_t)record->pid,
		.start_time = record->start_time,
		.has_network = record->has_network,
		.lease_pid = (pid_t)record->lease_pid,
		.lease_start_time = record->lease_start_time,
		.accelerator =
			str_eq(record->accelerator, vmm_accelerator_name(VMM_ACCELERATOR_KVM))
				? VMM_ACCELERATOR_KVM
				: VMM_ACCELERATOR_TCG,
	};

	if (handles.pid <= 0)
		return err_set(err, ERR_PROTOCOL, "a process id of %d", (int)handles.pid);
	if (strlen(record->boot_id) != BOOT_ID_SIZE - 1)
		return err_set(err, ERR_PROTOCOL, "a boot id of '%s'", record->boot_id);
	if (vmm_engine_parse(record->engine, &handles.engine) < 0)
		return err_set(err, ERR_PROTOCOL, "an engine '%s'", record->engine);
	memcpy(handles.boot_id, record->boot_id, BOOT_ID_SIZE);
	if (record->address)
		(void)snprintf(handles.address, sizeof(handles.address), "%s", record->address);
	if (record->machine_key)
		(void)snprintf(handles.machine_key, sizeof(handles.machine_key), "%s",
			       record->machine_key);
	*ret = handles;
	return 0;
}

int handles_parse(struct span text, struct handles *ret, struct err *err)
{
	struct record record = { 0 };
	AUTO_JSON *json = NULL;
	int r;

	r = json_read(text, &json, err);
	if (r == 0)
		r = json_read_fields(json, fields, ARRAY_LEN(fields), &record, err);
	if (r < 0)
		return r;
	r = convert(&record, ret, err);
	json_fields_done(fields, ARRAY_LEN(fields), &record);
	return r;
}

void handles_format(const struct handles *handles, struct buf *out)
{
	AUTO_JSON *json = json_new_object();

	json_put_i64(json, "pid", handles->pid);
	json_put_u64(json, "start_time", handles->start_time);
	json_put_str(json, "boot_id", handles->boot_id);
	json_put_str(json, "engine", vmm_engine_name(handles->engine));
	json_put_str(json, "accelerator", vmm_accelerator_name(handles->accelerator));
	json_put_bool(json, "network", handles->has_network);
	if (handles->address[0] != '\0')
		json_put_str(json, "address", handles->address);
	if (handles->machine_key[0] != '\0')
		json_put_str(json, "machine_key", handles->machine_key);
	if (handles->lease_pid > 0) {
		json_put_i64(json, "lease_pid", handles->lease_pid);
		json_put_u64(json, "lease_start_time", handles->lease_start_time);
	}
	json_write(json, out);
	buf_add_byte(out, '\n');
}

int handles_load(const struct daemon *daemon, const char *id, struct handles *ret, struct err *err)
{
	AUTO_FREE char *path = vm_file(daemon, id, VM_FILE_HANDLES);
	AUTO_BUF text = BUF_INIT;
	int r;

	r = file_read(AT_FDCWD, path, HANDLES_BYTES_MAX, &text);
	if (r == -ENOENT)
		return err_set(err, ERR_NOT_FOUND, "no '%s'", path);
	if (r < 0)
		return err_sys(err, r, "read '%s'", path);
	r = handles_parse(buf_span(&text), ret, err);
	return r < 0 ? err_context(err, r, "read '%s'", path) : 0;
}

bool handles_is_shortage(int errnum)
{
	return errnum == EMFILE || errnum == ENFILE || errnum == ENOMEM || errnum == EIO;
}

int handles_save(const struct daemon *daemon, const char *id, const struct handles *handles,
		 struct err *err)
{
	AUTO_FREE char *folder = vm_file(daemon, id, VM_FILE_FOLDER);
	AUTO_CLOSE int dir_fd = dir_open(folder);
	AUTO_BUF text = BUF_INIT;
	int r;

	if (dir_fd < 0)
		return err_sys(err, dir_fd, "open '%s'", folder);
	handles_format(handles, &text);
	r = file_replace(dir_fd, "handles.json", buf_span(&text), 0600);
	/* Somebody has put a folder there. */
	if (r == -EISDIR && dir_remove_tree(dir_fd, "handles.json") == 0)
		r = file_replace(dir_fd, "handles.json", buf_span(&text), 0600);
	return r < 0 ? err_sys(err, r, "write '%s/handles.json'", folder) : 0;
}

int handles_remove(const struct daemon *daemon, const char *id, struct err *err)
{
	AUTO_FREE char *path = vm_file(daemon, id, VM_FILE_HANDLES);
	int r = unlink(path) < 0 ? -errno : 0;

	if (r == -EISDIR)
		r = dir_remove_tree(AT_FDCWD, path);
	return r < 0 && r != -ENOENT && r != -ENOTDIR ? err_sys(err, r, "remove '%s'", path) : 0;
}
