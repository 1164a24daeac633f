#include "daemon/reconcile.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/strv.h"
#include "base/text.h"
#include "daemon/artifacts.h"
#include "daemon/private.h"
#include "daemon/vm_files.h"
#include "daemon/vm_service.h"
#include "daemon/vm_table.h"
#include "vmm/supervise.h"

#define ADOPT_TIMEOUT_MS  1000
#define CMDLINE_BYTES_MAX 16384

/* --- VMMs that were started but not yet written down when the daemon was killed --- */

struct stray_search {
	struct strv *folders; /* of vms/ that had something begun: their ids */
	const char *runtime_dir;
};

/* The argument after `option` in a command line of NUL-terminated strings; NULL when there is none.
 */
static const char *argument_of(const struct buf *cmdline, const char *option)
{
	const char *end = cmdline->ptr + cmdline->len;

	for (const char *at = cmdline->ptr; at < end; at += strlen(at) + 1) {
		const char *next = at + strlen(at) + 1;

		if (str_eq(at, option) && next < end)
			return next;
	}
	return NULL;
}

/* Ends the process `name` of /proc if it is a VMM of ours with one of the ids. */
static int end_stray(void *context, const char *name)
{
	const struct stray_search *search = context;
	AUTO_FREE char *path = mem_printf("/proc/%s/cmdline", name);
	AUTO_CLOSE int pidfd = -1;
	AUTO_BUF cmdline = BUF_INIT;
	const char *id, *api_socket;
	uint64_t pid, start_time;
	struct vmm_exit status;

	if (!parse_u64_text(name, INT32_MAX, &pid) ||
	    process_start_time((pid_t)pid, &start_time) < 0)
		return 0;
	if (file_read(AT_FDCWD, path, CMDLINE_BYTES_MAX, &cmdline) < 0)
		return 0;
	id = argument_of(&cmdline, "--id");
	api_socket = argument_of(&cmdline, "--api-sock");
	/* Another daemon's VM may have any id, but never a socket in our folder. */
	if (!id || !api_socket || !strv_has(search->folders, id) ||
	    !str_starts(api_socket, search->runtime_dir))
		return 0;
	pidfd = process_open((pid_t)pid, start_time);
	if (pidfd < 0)
		return 0;
	log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = id },
		  "ending VMM %llu, which was started but never written down",
		  (unsigned long long)pid);
	IGNORE_RESULT(vmm_kill(pidfd, SIGKILL));
	IGNORE_RESULT(vmm_wait_exit(pidfd, clock_now_ns() + 10 * NSEC_PER_SEC, NULL));
	IGNORE_RESULT(vmm_reap(pidfd, &status));
	return 0;
}

/* Only after an operation was cut short, so the walk through /proc is rare. */
static int end_strays(struct daemon *daemon, const struct vm_list *vms, struct err *err)
{
	AUTO_CLOSE int proc_fd = -1;
	AUTO_STRV ids = { 0 };
	struct stray_search search = { .folders = &ids, .runtime_dir = daemon->paths.runtime_dir };
	int r;

	for (size_t i = 0; i < vms->count; i++) {
		if (vms->items[i].intent != VM_INTENT_NONE)
			strv_add(&ids, vms->items[i].id);
	}
	if (ids.count == 0)
		return 0;
	proc_fd = dir_open("/proc");
	r = proc_fd < 0 ? proc_fd : dir_each(proc_fd, end_stray, &search);
	return r < 0 ? err_sys(err, r, "look for VMMs in /proc") : 0;
}

/* --- one VM --- */

/* Whether the client of an ephemeral VM still lives. */
static bool has_lease(const struct handles *handles)
{
	int fd;

	if (handles->lease_pid <= 0)
		return false;
	fd = process_open(handles->lease_pid, handles->lease_start_time);
	if (fd < 0)
		return false;
	fd_close(fd);
	return true;
}

static int finish_intent(struct daemon *daemon, const struct vm *vm, struct err *err)
{
	int r;

	switch (vm->intent) {
	case VM_INTENT_CREATE:
	case VM_INTENT_DELETE:
		return vm_erase(daemon, vm->id, err);
	case VM_INTENT_START:
		r = vm_teardown(daemon, vm->id, err);
		return r < 0 ? r
			     : store_vm_set_state(daemon->store, vm->id,
						  vm->started_at ? VM_STOPPED : VM_CREATED,
						  "bangerd ended while this VM was being started",
						  err);
	case VM_INTENT_STOP:
		r = vm_teardown(daemon, vm->id, err);
		return r < 0 ? r : store_vm_set_state(daemon->store, vm->id, VM_STOPPED, NULL, err);
	case VM_INTENT_NONE:
	case VM_INTENT_COUNT:
		break;
	}
	return 0;
}

/* A VM that should run: takes it over, or notes that it does not run any more. */
static int adopt(struct daemon *daemon, const struct vm *vm, struct err *err)
{
	AUTO_FREE char *socket = vm_file(daemon, vm->id, VM_FILE_API_SOCKET);
	const struct vmm_api api = { .socket_path = socket, .timeout_ms = ADOPT_TIMEOUT_MS };
	struct vmm_process known = VMM_PROCESS_INIT, found = VMM_PROCESS_INIT;
	struct vmm_description description;
	struct handles handles = { 0 };
	struct err adopt_err = ERR_INIT;
	const char *reason = "its VMM was gone when bangerd started";
	int r;

	if (vm->boot_id && !str_eq(vm->boot_id, daemon->boot_id))
		reason = "the host was rebooted";
	r = handles_load(daemon, vm->id, &handles, &adopt_err);
	if (r == 0) {
		known.pid = handles.pid;
		known.start_time = handles.start_time;
		memcpy(known.boot_id, handles.boot_id, sizeof(known.boot_id));
		r = vmm_adopt(&known, &api, vm->id, &found, &description, &adopt_err);
	}
	/* A process that lives but does not answer is watched, not killed: what is wrong is not
	 * known. */
	if (found.pid != 0) {
		if (r < 0)
			log_write(LOG_LEVEL_WARN,
				  &(struct log_fields){ .vm = vm->id, .err = &adopt_err },
				  "the VMM lives but does not answer, leaving it alone");
		return vm_table_add(daemon->table, vm->id, &handles, TAKE_FD(found.pidfd), err);
	}
	log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = vm->id, .err = &adopt_err }, "%s",
		  reason);
	r = vm_teardown(daemon, vm->id, err);
	return r < 0 ? r : store_vm_set_state(daemon->store, vm->id, VM_STOPPED, reason, err);
}

static int reconcile_vm(struct daemon *daemon, const struct vm *vm, struct err *err)
{
	const bool should_run = vm->state == VM_RUNNING || vm->state == VM_PAUSED;
	struct handles handles;
	int r;

	if (vm->intent != VM_INTENT_NONE) {
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = vm->id },
			  "finishing or undoing '%s'", vm_intent_name(vm->intent));
		return finish_intent(daemon, vm, err);
	}
	r = should_run && !vm_table_get(daemon->table, vm->id, NULL, NULL) ? adopt(daemon, vm, err)
									   : 0;
	if (r < 0)
		return r;
	if (vm->ephemeral &&
	    (!vm_table_get(daemon->table, vm->id, &handles, NULL) || !has_lease(&handles))) {
		log_write(LOG_LEVEL_INFO, &(struct log_fields){ .vm = vm->id },
			  "deleting: it was to live as long as its client");
		return vm_erase(daemon, vm->id, err);
	}
	return 0;
}

/* --- folders that belong to no VM --- */

struct sweep {
	int dir_fd; /* borrowed */
	const struct vm_list *vms;
	size_t name_len; /* how much of an id the folder's name is */
};

static int sweep_folder(void *context, const char *name)
{
	const struct sweep *sweep = context;
	int r;

	/* What is not named as we name things is not ours. */
	if (strlen(name) != sweep->name_len || strspn(name, "0123456789abcdef") != sweep->name_len)
		return 0;
	for (size_t i = 0; i < sweep->vms->count; i++) {
		if (strncmp(sweep->vms->items[i].id, name, sweep->name_len) == 0)
			return 0;
	}
	r = dir_remove_tree(sweep->dir_fd, name);
	log_write(r < 0 ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, NULL, "folder '%s' belongs to no VM, %s",
		  name, r < 0 ? "and cannot be removed, ignoring" : "removed");
	return 0;
}

static int sweep_folders(const char *path, const struct vm_list *vms, size_t name_len,
			 struct err *err)
{
	AUTO_CLOSE int dir_fd = dir_open(path);
	struct sweep sweep = { .dir_fd = dir_fd, .vms = vms, .name_len = name_len };
	const int r = dir_fd < 0 ? dir_fd : dir_each(dir_fd, sweep_folder, &sweep);

	return r < 0 ? err_sys(err, r, "sweep '%s'", path) : 0;
}

int reconcile_all(struct daemon *daemon, struct err *err)
{
	AUTO_FREE char *sockets = mem_printf("%s/vm", daemon->paths.runtime_dir);
	AUTO_VM_LIST before = { 0 };
	AUTO_VM_LIST after = { 0 };
	int r;

	r = artifact_reconcile(daemon, err);
	if (r == 0)
		r = store_vm_list(daemon->store, &before, err);
	if (r == 0)
		r = end_strays(daemon, &before, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < before.count; i++) {
		struct err vm_err = ERR_INIT;

		/* One VM that cannot be put right must not keep the others from being served. */
		if (reconcile_vm(daemon, &before.items[i], &vm_err) < 0)
			log_write(LOG_LEVEL_ERROR,
				  &(struct log_fields){ .vm = before.items[i].id, .err = &vm_err },
				  "cannot reconcile, leaving it as it is");
	}
	r = store_vm_list(daemon->store, &after, err);
	if (r == 0)
		r = sweep_folders(daemon->vms_dir, &after, VM_ID_LENGTH, err);
	if (r == 0)
		r = sweep_folders(sockets, &after, 12, err);
	return r;
}

void reconcile_pass(struct daemon *daemon)
{
	AUTO_VM_LIST list = { 0 };
	struct err err = ERR_INIT;

	if (store_vm_list(daemon->store, &list, &err) < 0) {
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &err },
			  "cannot list VMs, retrying");
		return;
	}
	for (size_t i = 0; i < list.count; i++) {
		AUTO_KEYHOLD hold = KEYHOLD_INIT;
		AUTO_FREE char *key = mem_printf("vm:%s", list.items[i].id);
		AUTO_VM vm = { 0 };

		if (!keylock_try(daemon->locks, key, &hold))
			continue; /* somebody is at it: then it is not forgotten */
		if (store_vm_get(daemon->store, list.items[i].id, &vm, &err) < 0)
			continue;
		if (vm_table_get(daemon->table, vm.id, NULL, NULL) && vm.intent == VM_INTENT_NONE &&
		    !vm.ephemeral)
			continue;
		if (reconcile_vm(daemon, &vm, &err) < 0)
			log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .vm = vm.id, .err = &err },
				  "cannot reconcile, retrying");
	}
}
