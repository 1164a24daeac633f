/*
 * The processes of the census. One is a VM's when it is in that VM's cgroup, is its VMM by its
 * command line, or comes of such a one; it is banger's when it is the daemon, comes of that, or
 * belongs to the VMs' network.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "daemon/census_private.h"
#include "daemon/private.h"
#include "daemon/vmm_search.h"
#include "priv/priv.h"

#define PROC_BYTES_MAX 16384
#define NAME_BYTES     16 /* the kernel's TASK_COMM_LEN */

struct seen {
	pid_t pid;
	pid_t parent;
	char name[NAME_BYTES];
	char vm_id[VM_ID_SIZE]; /* "" when it is no VM's */
	bool is_ours;		/* banger's or a VM's */
};

struct scan {
	const struct census *census;
	int proc_fd;
	struct seen *items; /* owned */
	size_t count;
};

/* The value of "KEY:\tVALUE" in /proc/PID/status. */
static bool find_value(struct span status, const char *key, struct span *ret)
{
	struct span line;

	while (parse_until(&status, '\n', &line)) {
		if (parse_literal(&line, key) && parse_literal(&line, ":\t")) {
			*ret = line;
			return true;
		}
	}
	return false;
}

static bool read_status(int process_fd, struct seen *ret)
{
	AUTO_BUF text = BUF_INIT;
	struct span name, parent;
	uint64_t number;

	if (file_read(process_fd, "status", PROC_BYTES_MAX, &text) < 0 ||
	    !find_value(buf_span(&text), "Name", &name) ||
	    !find_value(buf_span(&text), "PPid", &parent) ||
	    !parse_u64(&parent, INT32_MAX, &number))
		return false;
	ret->parent = (pid_t)number;
	if (name.len >= sizeof(ret->name))
		name.len = sizeof(ret->name) - 1;
	memcpy(ret->name, name.ptr, name.len);
	ret->name[name.len] = '\0';
	return true;
}

/* Those that keep the isolated network outlive the daemon: their command line has our tag. */
static bool keeps_our_network(const struct scan *scan, int process_fd)
{
	AUTO_BUF text = BUF_INIT;
	struct span line, program, mode, tag;

	if (file_read(process_fd, "cmdline", PROC_BYTES_MAX, &text) < 0)
		return false;
	line = buf_span(&text);
	return parse_until(&line, '\0', &program) && parse_until(&line, '\0', &mode) &&
	       parse_until(&line, '\0', &tag) && span_eq(mode, span_str("--network-holder")) &&
	       span_eq(tag, span_str(priv_tag(scan->census->daemon->priv)));
}

static int note_process(void *context, const char *name)
{
	struct scan *scan = context;
	AUTO_CLOSE int process_fd = -1;
	AUTO_BUF cgroup = BUF_INIT;
	struct seen seen = { .pid = 0 };
	uint64_t pid;

	if (!parse_u64_text(name, INT32_MAX, &pid))
		return 0;
	process_fd = dir_open_at(scan->proc_fd, name);
	if (process_fd < 0 || !read_status(process_fd, &seen))
		return 0; /* gone by now */
	seen.pid = (pid_t)pid;
	seen.is_ours = seen.pid == scan->census->pid || keeps_our_network(scan, process_fd);
	if (file_read(process_fd, "cgroup", PROC_BYTES_MAX, &cgroup) == 0 &&
	    priv_cgroup_vm(scan->census->daemon->priv, buf_span(&cgroup), seen.vm_id))
		seen.is_ours = true;
	scan->items = mem_grow(scan->items, scan->count + 1, sizeof(*scan->items));
	scan->items[scan->count++] = seen;
	return 0;
}

static struct seen *find(const struct scan *scan, pid_t pid)
{
	for (size_t i = 0; i < scan->count; i++) {
		if (scan->items[i].pid == pid)
			return &scan->items[i];
	}
	return NULL;
}

static int mark_vmms(const struct scan *scan, struct err *err)
{
	AUTO_VMM_SIGHTINGS vmms = { 0 };
	int r;

	r = vmm_search(scan->census->daemon, &vmms, err);
	for (size_t i = 0; i < vmms.count && r == 0; i++) {
		struct seen *seen = find(scan, vmms.items[i].handles.pid);

		if (!seen)
			continue;
		memcpy(seen->vm_id, vmms.items[i].id, VM_ID_SIZE);
		seen->is_ours = true;
	}
	return r;
}

/* What comes of ours is ours, however far down. */
static void mark_children(const struct scan *scan)
{
	bool has_changed;

	do {
		has_changed = false;
		for (size_t i = 0; i < scan->count; i++) {
			struct seen *seen = &scan->items[i];
			const struct seen *parent = seen->is_ours ? NULL : find(scan, seen->parent);

			if (!parent || !parent->is_ours)
				continue;
			seen->is_ours = has_changed = true;
			memcpy(seen->vm_id, parent->vm_id, VM_ID_SIZE);
		}
	} while (has_changed);
}

static bool has_our_name(const struct seen *seen)
{
	return str_eq(seen->name, "bangerd") || str_starts(seen->name, "banger-");
}

int census_processes(const struct census *census, struct err *err)
{
	AUTO_CLOSE int proc_fd = dir_open("/proc");
	struct scan scan = { .census = census, .proc_fd = proc_fd };
	int r;

	r = proc_fd < 0 ? proc_fd : dir_each(proc_fd, note_process, &scan);
	if (r < 0)
		r = err_sys(err, r, "list processes");
	else
		r = mark_vmms(&scan, err);
	if (r == 0)
		mark_children(&scan);
	for (size_t i = 0; i < scan.count && r == 0; i++) {
		const struct seen *seen = &scan.items[i];
		json_t *object;

		/* The one that looks is not what there is to see. */
		if (seen->pid == getpid() && census->pid == 0)
			continue;
		if (seen->is_ours)
			object = census_add(census, "process", seen->name,
					    seen->vm_id[0] ? seen->vm_id : NULL);
		else if (has_our_name(seen))
			object = census_add_foreign(census, "process", seen->name);
		else
			continue;
		json_put_i64(object, "pid", seen->pid);
	}
	mem_free(scan.items);
	return r;
}
