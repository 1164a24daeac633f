#include "daemon/vmm_search.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "daemon/private.h"
#include "daemon/vm_files.h"

#define PROC_BYTES_MAX 16384

void vmm_sightings_done(struct vmm_sightings *list)
{
	mem_free(list->items);
	*list = (struct vmm_sightings){ 0 };
}

/* The next word; NULL at the end. */
static const char *take_word(struct span *cmdline)
{
	struct span word;

	return parse_until(cmdline, '\0', &word) ? (const char *)word.ptr : NULL;
}

static bool is_id(const char *text)
{
	return strlen(text) == VM_ID_LENGTH && strspn(text, "0123456789abcdef") == VM_ID_LENGTH;
}

bool vmm_sighting_parse(struct span cmdline, struct vmm_sighting *ret, const char **ret_api_socket)
{
	/* In their places, so that a debugger that was given the same words is not taken for it. */
	const char *binary = take_word(&cmdline);
	const char *id_option = take_word(&cmdline);
	const char *id = take_word(&cmdline);
	const char *socket_option = take_word(&cmdline);
	const char *api_socket = take_word(&cmdline);
	struct vmm_sighting found = {
		.handles = { .engine = VMM_ENGINE_FIRECRACKER, .accelerator = VMM_ACCELERATOR_KVM },
	};
	const char *previous = NULL;
	const char *word;

	if (!binary || !id || !api_socket || !str_eq(id_option, "--id") ||
	    !str_eq(socket_option, "--api-sock") || !is_id(id))
		return false;
	while ((word = take_word(&cmdline))) {
		if (str_eq(word, "--qemu"))
			found.handles.engine = VMM_ENGINE_QEMU;
		if (str_eq(previous, "--accel") &&
		    str_eq(word, vmm_accelerator_name(VMM_ACCELERATOR_TCG)))
			found.handles.accelerator = VMM_ACCELERATOR_TCG;
		previous = word;
	}
	memcpy(found.id, id, VM_ID_SIZE);
	*ret = found;
	*ret_api_socket = api_socket;
	return true;
}

struct search {
	const struct daemon *daemon;
	int proc_fd;
	struct vmm_sightings *found;
};

/* The real user in the text of /proc/PID/status. */
static bool read_uid(struct span status, uint64_t *ret)
{
	struct span line;

	while (parse_until(&status, '\n', &line)) {
		if (parse_literal(&line, "Uid:\t"))
			return parse_u64(&line, UINT32_MAX, ret);
	}
	return false;
}

/* 0 when somebody cannot be looked at for another reason than that we want for something. */
static int unless_shortage(int r)
{
	return handles_is_shortage(-r) ? r : 0;
}

/* 1, or 0, also when it has ended meanwhile. Others may call their processes as they like. The
 * folder's owner would not do: what must not dump core, as banger-vmm, is root's there. */
static int is_ours(int process_fd)
{
	AUTO_BUF status = BUF_INIT;
	uint64_t uid;
	int r;

	r = file_read(process_fd, "status", PROC_BYTES_MAX, &status);
	if (r < 0)
		return unless_shortage(r);
	return read_uid(buf_span(&status), &uid) && uid == geteuid();
}

/* One process: 1 a VMM of this daemon, 0 something else, or ended; -errno when it cannot be told.
 */
static int look_at_process(const struct daemon *daemon, int process_fd, struct vmm_sighting *ret)
{
	AUTO_FREE char *wanted = NULL;
	AUTO_BUF cmdline = BUF_INIT;
	const char *api_socket;
	int r;

	r = file_read(process_fd, "cmdline", PROC_BYTES_MAX, &cmdline);
	if (r < 0)
		return r == -ENOENT || r == -ESRCH || r == -EFBIG ? 0 : r;
	if (!vmm_sighting_parse(buf_span(&cmdline), ret, &api_socket))
		return 0;
	r = is_ours(process_fd);
	if (r <= 0)
		return r;
	/* Another daemon's VM may have any id, but never a socket in our folder. */
	wanted = vm_file(daemon, ret->id, VM_FILE_API_SOCKET);
	return str_eq(api_socket, wanted);
}

int vmm_search_is(const struct daemon *daemon, const char *id, pid_t pid, uint64_t start_time)
{
	AUTO_FREE char *path = mem_printf("/proc/%d", (int)pid);
	AUTO_CLOSE int process_fd = dir_open(path);
	AUTO_CLOSE int pidfd = -1;
	struct vmm_sighting sighting;
	int r;

	if (process_fd < 0)
		return process_fd == -ENOENT ? 0 : process_fd;
	/* What is open now is that very process's, or gone with it. */
	pidfd = process_open(pid, start_time);
	if (pidfd < 0)
		return pidfd == -ESRCH ? 0 : pidfd;
	r = look_at_process(daemon, process_fd, &sighting);
	return r > 0 ? str_eq(sighting.id, id) : r;
}

const struct vmm_sighting *vmm_sightings_find(const struct vmm_sightings *list, const char *id)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct vmm_sighting *found = &list->items[i];
		int pidfd;

		if (!str_eq(found->id, id))
			continue;
		pidfd = process_open(found->handles.pid, found->handles.start_time);
		fd_close(pidfd);
		if (pidfd != -ESRCH)
			return found;
	}
	return NULL;
}

static int look_at(void *context, const char *name)
{
	const struct search *search = context;
	struct vmm_sightings *found = search->found;
	AUTO_CLOSE int process_fd = -1;
	struct vmm_sighting sighting;
	uint64_t pid, start_time = 0;
	int r;

	if (!parse_u64_text(name, INT32_MAX, &pid))
		return 0;
	/* The start time first: should the number become another's meanwhile, it does not fit. */
	r = process_start_time((pid_t)pid, &start_time);
	if (r < 0)
		return unless_shortage(r);
	process_fd = dir_open_at(search->proc_fd, name);
	r = process_fd < 0 ? process_fd : look_at_process(search->daemon, process_fd, &sighting);
	if (r <= 0)
		return unless_shortage(r); /* a VMM that is not seen would be taken for ended */
	sighting.handles.pid = (pid_t)pid;
	sighting.handles.start_time = start_time;
	memcpy(sighting.handles.boot_id, search->daemon->boot_id, BOOT_ID_SIZE);
	found->items = mem_grow(found->items, found->count + 1, sizeof(*found->items));
	found->items[found->count++] = sighting;
	return 0;
}

static int stop_at_first(void *context, const char *name)
{
	(void)context;
	(void)name;
	return -EEXIST;
}

int vmm_search(const struct daemon *daemon, struct vmm_sightings *ret, struct err *err)
{
	AUTO_FREE char *sockets = mem_printf("%s/vm", daemon->paths.runtime_dir);
	AUTO_CLOSE int sockets_fd = dir_open(sockets);
	AUTO_CLOSE int proc_fd = -1;
	struct search search = { .daemon = daemon, .found = ret };
	int r;

	r = sockets_fd < 0 ? sockets_fd : dir_each(sockets_fd, stop_at_first, NULL);
	if (r == 0 || r == -ENOENT)
		return 0;
	if (r != -EEXIST)
		return err_sys(err, r, "look into '%s'", sockets);
	proc_fd = dir_open("/proc");
	search.proc_fd = proc_fd;
	r = proc_fd < 0 ? proc_fd : dir_each(proc_fd, look_at, &search);
	return r < 0 ? err_sys(err, r, "look for VMMs in /proc") : 0;
}
