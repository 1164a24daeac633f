/* One VM's cgroups: made with its limits, counted, emptied and removed. */
#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"
#include "model/names.h"
#include "priv/private.h"

#define CPU_PERIOD_US	  100000
#define CPUS_EXTRA	  1   /* for I/O threads and banger-vmm */
#define PROCESSES_EXTRA	  256 /* QEMU's workers are at most 64 a disk, and only when it is busy */
#define MEMORY_EXTRA	  (192ULL << 20) /* QEMU and banger-vmm themselves, buffers */
#define MEMORY_EXTRA_PART 64		 /* of the guest's: page tables, dirty bitmaps */
#define MEMORY_EMULATION  (1ULL << 30)	 /* QEMU's most for translated code */
#define REMOVE_TIMEOUT_NS (2 * NSEC_PER_SEC)
#define REMOVE_PAUSE_NS	  (2 * NSEC_PER_MSEC)
#define KILL_ROUNDS_MAX	  16
#define NAME_SIZE	  (sizeof(((struct priv *)NULL)->folder) + 1 + VM_ID_SIZE)

uint64_t priv_memory_max(const struct priv_limits *limits)
{
	return limits->memory_bytes + limits->memory_bytes / MEMORY_EXTRA_PART + MEMORY_EXTRA +
	       (limits->is_emulated ? MEMORY_EMULATION : 0);
}

uint64_t priv_processes_max(const struct priv_limits *limits)
{
	return limits->vcpu + PROCESSES_EXTRA;
}

uint64_t priv_cpus_max(const struct priv_limits *limits)
{
	return limits->vcpu + CPUS_EXTRA;
}

void priv_entry_done(struct priv_entry *entry)
{
	for (size_t i = 0; i < entry->count; i++)
		fd_close(entry->fds[i]);
	entry->count = 0;
}

/* "banger-TAG/ID", below a hierarchy's base. */
static void vm_path(const struct priv *priv, const char *id, char ret[static NAME_SIZE])
{
	(void)snprintf(ret, NAME_SIZE, "%s/%s", priv->folder, id);
}

static bool has_controller(const struct hierarchy *hierarchy, enum controller controller)
{
	return (hierarchy->controllers & CONTROLLER_BIT(controller)) != 0;
}

static int write_number(int fd, const char *name, uint64_t value)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%" PRIu64, value);
	return kernel_file_write(fd, name, text);
}

/* --- making --- */

static int write_cpu(const struct hierarchy *hierarchy, int fd, const struct priv_limits *limits)
{
	const uint64_t quota_us = priv_cpus_max(limits) * CPU_PERIOD_US;
	char text[64];
	int r = 0;

	/* The smallest that there is of each. */
	if (limits->is_background)
		r = write_number(fd, hierarchy->is_v2 ? "cpu.weight" : "cpu.shares",
				 hierarchy->is_v2 ? 1 : 2);
	if (r < 0)
		return r;
	if (hierarchy->is_v2) {
		(void)snprintf(text, sizeof(text), "%" PRIu64 " %d", quota_us, CPU_PERIOD_US);
		return kernel_file_write(fd, "cpu.max", text);
	}
	r = write_number(fd, "cpu.cfs_period_us", CPU_PERIOD_US);
	return r < 0 ? r : write_number(fd, "cpu.cfs_quota_us", quota_us);
}

static int write_memory(const struct hierarchy *hierarchy, int fd, const struct priv_limits *limits)
{
	const uint64_t max = priv_memory_max(limits);
	int r;

	if (!hierarchy->is_v2)
		return write_number(fd, "memory.limit_in_bytes", max);
	r = write_number(fd, "memory.max", max);
	/* QEMU without banger-vmm is nothing, nor the other way round. */
	return r < 0 ? r : kernel_file_write(fd, "memory.oom.group", "1");
}

static int write_limits(const struct hierarchy *hierarchy, int fd, const struct priv_limits *limits,
			struct err *err)
{
	int r = 0;

	if (has_controller(hierarchy, CONTROLLER_CPU))
		r = write_cpu(hierarchy, fd, limits);
	if (r < 0)
		return err_sys(err, r, "limit the VM's processor time");
	if (has_controller(hierarchy, CONTROLLER_MEMORY))
		r = write_memory(hierarchy, fd, limits);
	if (r < 0)
		return err_sys(err, r, "limit the VM's memory");
	if (has_controller(hierarchy, CONTROLLER_PIDS))
		r = write_number(fd, "pids.max", priv_processes_max(limits));
	return r < 0 ? err_sys(err, r, "limit the VM's processes") : 0;
}

static bool is_empty(int fd)
{
	AUTO_BUF text = BUF_INIT;

	return kernel_file_read(fd, "cgroup.procs", &text) == 0 && text.len == 0;
}

/* One hierarchy's cgroup. An empty one that is there already is of an earlier run: its figures,
 * too. */
static int make_one(const struct priv *priv, const struct hierarchy *hierarchy, const char *path,
		    const struct priv_limits *limits, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r;

	r = cgroup_folder_make(hierarchy, priv->folder);
	if (r < 0)
		return err_sys(err, r, "make cgroup '%s'", priv->folder);
	if (unlinkat(hierarchy->base_fd, path, AT_REMOVEDIR) < 0 && errno != ENOENT &&
	    errno != EBUSY)
		return err_sys(err, -errno, "remove an earlier cgroup '%s'", path);
	if (mkdirat(hierarchy->base_fd, path, 0755) < 0 && errno != EEXIST)
		return err_sys(err, -errno, "make cgroup '%s'", path);
	fd = dir_open_at(hierarchy->base_fd, path);
	if (fd < 0)
		return err_sys(err, fd, "open cgroup '%s'", path);
	if (!is_empty(fd))
		return err_set(err, ERR_BUSY, "an earlier cgroup '%s' still has processes", path);
	r = write_limits(hierarchy, fd, limits, err);
	if (r < 0)
		return r;
	*ret_fd = openat(fd, "cgroup.procs", O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	return *ret_fd < 0 ? err_sys(err, -errno, "open cgroup '%s'", path) : 0;
}

int priv_cgroup_make(const struct priv *priv, const char *id, const struct priv_limits *limits,
		     struct priv_entry *ret, struct err *err)
{
	AUTO_PRIV_ENTRY entry = { .count = 0 };
	char path[NAME_SIZE];
	int r;

	r = priv_check_id(id, err);
	if (r < 0)
		return r;
	vm_path(priv, id, path);
	for (size_t i = 0; i < priv->hierarchy_count && r == 0; i++) {
		if (priv->hierarchies[i].base_fd < 0)
			continue;
		r = make_one(priv, &priv->hierarchies[i], path, limits, &entry.fds[entry.count],
			     err);
		if (r == 0)
			entry.count++;
		failpoint("priv.cgroup.made");
	}
	if (r < 0) {
		struct err end_err = ERR_INIT;

		if (priv_cgroup_end(priv, id, &end_err) < 0)
			err_append(err, &end_err);
		return r;
	}
	*ret = entry;
	entry.count = 0;
	return 0;
}

/* --- ending --- */

/* Whether the process is (still) in the cgroup. */
static bool has_process(int fd, pid_t pid)
{
	AUTO_BUF text = BUF_INIT;
	struct span rest, line;
	uint64_t number;

	if (kernel_file_read(fd, "cgroup.procs", &text) < 0)
		return false;
	rest = buf_span(&text);
	while (parse_until(&rest, '\n', &line)) {
		if (parse_u64(&line, INT32_MAX, &number) && (pid_t)number == pid)
			return true;
	}
	return false;
}

/* Looked up again after the open: if it is in the cgroup then, the pidfd is its. */
static void kill_process(int fd, pid_t pid)
{
	AUTO_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (pidfd >= 0 && has_process(fd, pid))
		(void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}

/* Those that fork meanwhile are met in the next round, and most were children of the dead. */
static void kill_processes(int fd)
{
	for (int round = 0; round < KILL_ROUNDS_MAX; round++) {
		AUTO_BUF text = BUF_INIT;
		struct span rest, line;
		uint64_t number;

		if (kernel_file_read(fd, "cgroup.procs", &text) < 0 || text.len == 0)
			return;
		rest = buf_span(&text);
		while (parse_until(&rest, '\n', &line)) {
			if (parse_u64(&line, INT32_MAX, &number) && number > 0)
				kill_process(fd, (pid_t)number);
		}
	}
}

/* Killed processes take a moment to leave. */
static int remove_emptied(int base_fd, const char *path)
{
	const struct timespec pause = { .tv_nsec = REMOVE_PAUSE_NS };
	const uint64_t deadline_ns = clock_now_ns() + REMOVE_TIMEOUT_NS;

	while (unlinkat(base_fd, path, AT_REMOVEDIR) < 0) {
		if (errno == ENOENT)
			return 0;
		if (errno != EBUSY || clock_now_ns() >= deadline_ns)
			return -errno;
		(void)nanosleep(&pause, NULL);
	}
	return 0;
}

static int end_one(const struct hierarchy *hierarchy, const char *path, struct err *err)
{
	AUTO_CLOSE int fd = dir_open_at(hierarchy->base_fd, path);
	int r;

	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return err_sys(err, fd, "open cgroup '%s'", path);
	/* Linux 5.14 and newer, v2. */
	if (!hierarchy->is_v2 || kernel_file_write(fd, "cgroup.kill", "1") < 0)
		kill_processes(fd);
	r = remove_emptied(hierarchy->base_fd, path);
	/* Somebody has made cgroups below: theirs to remove, and no reason to keep the VM. */
	if (r == -EBUSY && is_empty(fd))
		return 0;
	return r < 0 ? err_sys(err, r, "remove cgroup '%s'", path) : 0;
}

int priv_cgroup_end(const struct priv *priv, const char *id, struct err *err)
{
	char path[NAME_SIZE];
	int r;

	r = priv_check_id(id, err);
	if (r < 0)
		return r;
	vm_path(priv, id, path);
	for (size_t i = 0; i < priv->hierarchy_count; i++) {
		struct err one = ERR_INIT;

		if (priv->hierarchies[i].base_fd < 0 ||
		    end_one(&priv->hierarchies[i], path, &one) == 0)
			continue;
		r = -EBUSY;
		err_append(err, &one);
	}
	return r;
}

/* --- counting --- */

static bool read_number(int fd, const char *name, uint64_t *ret)
{
	AUTO_BUF text = BUF_INIT;
	struct span rest;

	if (kernel_file_read(fd, name, &text) < 0)
		return false;
	rest = buf_span(&text);
	if (parse_literal(&rest, "max")) {
		*ret = UINT64_MAX;
		return true;
	}
	return parse_u64(&rest, UINT64_MAX, ret);
}

static uint64_t read_keyed(int fd, const char *name, const char *key)
{
	AUTO_BUF text = BUF_INIT;

	return kernel_file_read(fd, name, &text) < 0 ? 0 : keyed_number(buf_span(&text), key);
}

static void count_cpu(const struct hierarchy *hierarchy, int fd, struct priv_usage *ret)
{
	if (hierarchy->is_v2) {
		ret->cpu_us = read_keyed(fd, "cpu.stat", "usage_usec");
		ret->has_cpu = true;
	} else if (read_number(fd, "cpuacct.usage", &ret->cpu_us)) {
		ret->cpu_us /= 1000;
		ret->has_cpu = true;
	}
}

static void count_memory(const struct hierarchy *hierarchy, int fd, struct priv_usage *ret)
{
	const bool is_v2 = hierarchy->is_v2;
	uint64_t cached;

	ret->has_memory = read_number(fd, is_v2 ? "memory.current" : "memory.usage_in_bytes",
				      &ret->memory_bytes) &&
			  read_number(fd, is_v2 ? "memory.max" : "memory.limit_in_bytes",
				      &ret->memory_max_bytes);
	cached = read_keyed(fd, "memory.stat", is_v2 ? "inactive_file" : "total_inactive_file");
	ret->memory_bytes -= cached < ret->memory_bytes ? cached : ret->memory_bytes;
	ret->oom_kills = read_keyed(fd, is_v2 ? "memory.events" : "memory.oom_control", "oom_kill");
}

static int count_hierarchy(const struct hierarchy *hierarchy, const char *path,
			   struct priv_usage *ret)
{
	AUTO_CLOSE int fd = dir_open_at(hierarchy->base_fd, path);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (has_controller(hierarchy, hierarchy->is_v2 ? CONTROLLER_CPU : CONTROLLER_CPUACCT))
		count_cpu(hierarchy, fd, ret);
	if (has_controller(hierarchy, CONTROLLER_MEMORY))
		count_memory(hierarchy, fd, ret);
	if (has_controller(hierarchy, CONTROLLER_PIDS))
		ret->has_processes = read_number(fd, "pids.current", &ret->processes);
	return 0;
}

int priv_cgroup_usage(const struct priv *priv, const char *id, struct priv_usage *ret)
{
	struct err ignored = ERR_INIT;
	char path[NAME_SIZE];
	int r;

	*ret = (struct priv_usage){ 0 };
	r = priv_check_id(id, &ignored);
	if (r < 0)
		return r;
	vm_path(priv, id, path);
	for (size_t i = 0; i < priv->hierarchy_count && r == 0; i++) {
		if (priv->hierarchies[i].base_fd >= 0)
			r = count_hierarchy(&priv->hierarchies[i], path, ret);
	}
	return r;
}
