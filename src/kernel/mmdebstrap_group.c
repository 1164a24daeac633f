#include "kernel/mmdebstrap_group.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/spawn.h"
#include "base/text.h"
#include "kernel/mmdebstrap.h"

/* In the working folder: pid, start time, boot id, shared folder. */
#define IDENTITY_FILE "process"
#define STOP_MS	      (10ULL * 1000) /* for its own cleaning up, before SIGKILL */

/*
 * In mode "unshare" the files belong to subordinate ids, which only a process in such a user
 * namespace may remove; mmdebstrap has that built in.
 */
void group_remove_shared(const char *path)
{
	char *const argv[] = { (char[]){ MMDEBSTRAP_PROGRAM },
			       (char[]){ "--unshare-helper" },
			       (char[]){ "rm" },
			       (char[]){ "-rf" },
			       (char[]){ "--" },
			       mem_strdup(path),
			       NULL };
	char *const envp[] = { (char[]){ "PATH=/usr/sbin:/usr/bin:/sbin:/bin" }, NULL };
	struct spawn spawn = { .path = MMDEBSTRAP_PROGRAM, .argv = argv, .envp = envp };
	struct err ignored = ERR_INIT;
	int r;

	/*
	 * The plain way first: most often there is nothing left, or it is ours. What resists both
	 * ways stays in /var/tmp, which the system cleans.
	 */
	r = dir_remove_tree(AT_FDCWD, path);
	if (r < 0)
		r = spawn_run(&spawn, NULL, STOP_MS, MMDEBSTRAP_TAIL_SIZE, NULL, &ignored);
	if (r == 0)
		r = dir_remove_tree(AT_FDCWD, path);
	(void)r;
	mem_free(argv[5]);
}

/* Whether the leader has ended; it stays unreaped, so that its group's number remains its own. */
static bool leader_ends(int pidfd, uint64_t timeout_ms)
{
	return cancel_poll(NULL, pidfd, POLLIN, clock_now_ns() + timeout_ms * NSEC_PER_MSEC) > 0;
}

void group_stop(pid_t leader, int pidfd)
{
	/* It removes its temporary folder after SIGTERM. A group without members answers ESRCH. */
	if (!leader_ends(pidfd, 0)) {
		(void)kill(-leader, SIGTERM);
		(void)leader_ends(pidfd, STOP_MS);
	}
	(void)kill(-leader, SIGKILL);
}

int group_write_identity(pid_t leader, const char *shared_dir, int work_dir_fd, struct err *err)
{
	AUTO_BUF text = BUF_INIT;
	char boot_id[BOOT_ID_SIZE];
	uint64_t start_time;
	int r;

	r = process_boot_id(boot_id);
	if (r < 0)
		return err_sys(err, r, "read the boot id");
	r = process_start_time(leader, &start_time);
	if (r < 0)
		return err_sys(err, r, "watch '%s'", MMDEBSTRAP_PROGRAM);
	buf_addf(&text, "%d %llu %s %s\n", leader, (unsigned long long)start_time, boot_id,
		 shared_dir ? shared_dir : "-");
	r = file_replace(work_dir_fd, IDENTITY_FILE, buf_span(&text), 0600);
	if (r < 0)
		return err_sys(err, r, "write '%s'", IDENTITY_FILE);
	return 0;
}

struct identity {
	uint64_t pid;
	uint64_t start_time;
	struct span boot_id;
	struct span shared_dir;
};

static bool parse_identity(struct span text, struct identity *ret)
{
	return parse_u64(&text, INT32_MAX, &ret->pid) && ret->pid > 1 && parse_byte(&text, ' ') &&
	       parse_u64(&text, UINT64_MAX, &ret->start_time) && parse_byte(&text, ' ') &&
	       parse_until(&text, ' ', &ret->boot_id) &&
	       parse_until(&text, '\n', &ret->shared_dir) && parse_end(&text);
}

/* Only a folder that a run could have made is removed. */
static void sweep_shared(struct span path)
{
	static const char prefix[] = GROUP_SHARED_PREFIX;
	AUTO_FREE char *text = mem_strndup((const char *)path.ptr, path.len);

	if (str_starts(text, prefix) && !strchr(text + sizeof(prefix) - 1, '/'))
		group_remove_shared(text);
}

int mmdebstrap_sweep(int work_dir_fd)
{
	AUTO_BUF text = BUF_INIT;
	char boot_id[BOOT_ID_SIZE];
	struct identity identity;
	int r;

	r = file_read(work_dir_fd, IDENTITY_FILE, 4096, &text);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (!parse_identity(buf_span(&text), &identity))
		return 0; /* written in one piece, so this is not ours to act on */

	r = process_boot_id(boot_id);
	if (r < 0)
		return r;
	if (span_eq(identity.boot_id, span_str(boot_id))) {
		AUTO_CLOSE int pidfd = process_open((pid_t)identity.pid, identity.start_time);

		if (pidfd >= 0)
			group_stop((pid_t)identity.pid, pidfd);
	}
	sweep_shared(identity.shared_dir);
	return 0;
}
