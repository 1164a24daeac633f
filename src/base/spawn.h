/*
 * Starting processes. Never a shell; argv is a vector from start to finish; the environment is
 * explicit; every descriptor not in the map is closed; signals are reset; the child reports why it
 * could not exec through a close-on-exec pipe (the step and errno), so the error says "exec 'x': no
 * such file" instead of "exited 127".
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"

#define SPAWN_FDS_MAX	  32
#define SPAWN_RLIMITS_MAX 8

struct sock_fprog;

struct spawn_fd {
	int from; /* borrowed: a descriptor of ours */
	int to;	  /* its number in the child */
};

struct spawn_rlimit {
	int resource;
	uint64_t soft;
	uint64_t hard;
};

struct spawn {
	const char *path;  /* program; absolute, or a name to look up in our PATH */
	char *const *argv; /* NULL-terminated */
	char *const *envp; /* NULL-terminated; NULL means an empty environment */
	const char *cwd;   /* NULL: "/" */
	struct spawn_fd fds[SPAWN_FDS_MAX]; /* 0, 1 and 2 become /dev/null when not listed */
	size_t fd_count;
	struct spawn_rlimit rlimits[SPAWN_RLIMITS_MAX];
	size_t rlimit_count;
	bool new_session;	/* setsid(): outlives us */
	bool new_process_group; /* setpgid(0, 0) */
	bool dies_with_parent;	/* PR_SET_PDEATHSIG SIGKILL, with the check that we still live */
	bool no_new_privs;
	int namespaces; /* CLONE_NEW* that it is to have of its own, but neither PID nor user */
	const char *const *covers; /* NULL-terminated: with CLONE_NEWNS, folders that are empty and
				      read-only for it; missing ones are fine; NULL: none */
	bool new_proc;		   /* with CLONE_NEWNS: /proc shows it nobody else's processes */
	const char *own_device; /* with CLONE_NEWNS: a device node that is its user's alone, where
				   we may do that; NULL: none */
	const int *spaces; /* borrowed: namespaces that it enters, a user namespace first; without
			      privileges there, even as its root */
	size_t space_count;
	const int *entries; /* borrowed: cgroup.procs files of the cgroups that it is born into */
	size_t entry_count;
	uid_t uid; /* used when has_user: setgroups(0), setgid, setuid */
	gid_t gid;
	bool has_user;
	int *ret_status; /* spawn_run(): as from waitpid(), once it has ended; may be NULL */
	/*
	 * With no_new_privs: a seccomp filter that asks us (SECCOMP_RET_USER_NOTIF) from exec on.
	 * The descriptor to answer with comes through `filter_fd`, the number in the child of a
	 * Unix socket among `fds`, which is closed there: unix_recv_fd() has it at the other end.
	 */
	const struct sock_fprog *filter; /* borrowed; NULL: none */
	int filter_fd;
};

struct process {
	pid_t pid; /* 0 when there is none */
	int pidfd; /* owned, -1 when there is none */
};

#define PROCESS_INIT ((struct process){ .pid = 0, .pidfd = -1 })

void spawn_add_fd(struct spawn *spawn, int from, int to);
/* Both soft and hard. */
void spawn_add_rlimit(struct spawn *spawn, int resource, uint64_t value);

/*
 * Seconds of processor time, after which it gets SIGXCPU. (With a hard limit that is the same, the
 * kernel would send SIGKILL, which tells nobody why.)
 */
void spawn_limit_cpu(struct spawn *spawn, uint64_t seconds);

/* Starts it; on success the caller owns `ret` and must reap it. */
int spawn_start(const struct spawn *spawn, struct process *ret, struct err *err) MUST_CHECK;

/* Closes the pidfd; does not kill or reap. */
void process_done(struct process *process);

/* Kills with SIGKILL and reaps, whatever its state. For CLEANUP(): nothing is left behind. */
void process_kill(struct process *process);

/*
 * Waits for the end of our child. *ret_status is as from waitpid(): use WIFEXITED and so on.
 * -ETIMEDOUT, -ECANCELED or another -errno leave it running.
 */
int process_wait(struct process *process, const struct cancel *cancel, uint64_t deadline_ns,
		 int *ret_status) MUST_CHECK;

/*
 * Raises this process's own limit of open descriptors as far as it may go. Children that
 * spawn_start() makes get the limit back that was there before. Call it while there is one thread.
 */
void process_raise_files_limit(void);

/* Gives every signal its default action back and unblocks all, in a child just before exec.
 * Async-signal-safe. */
void process_reset_signals(void);

int process_signal(const struct process *process, int signal) MUST_CHECK;

/*
 * Starts, feeds nothing, collects stdout (at most `output_max` bytes, ERR_LIMIT beyond) and waits;
 * a status other than 0 is an error that quotes the end of stderr, escaped. `ret_output` may be
 * NULL.
 */
struct buf;
int spawn_run(struct spawn *spawn, const struct cancel *cancel, uint64_t timeout_ms,
	      size_t output_max, struct buf *ret_output, struct err *err) MUST_CHECK;

/* The process's start time in clock ticks since boot (/proc/PID/stat field 22); -ESRCH if gone. */
int process_start_time(pid_t pid, uint64_t *ret) MUST_CHECK;

/*
 * A process is (pid, start time, boot id) together, never a bare pid. Opens a pidfd for it when it
 * is still that process and no zombie: the fd, or -ESRCH.
 */
int process_open(pid_t pid, uint64_t start_time) MUST_CHECK;

#define BOOT_ID_SIZE 37 /* a UUID's text and its terminator */
int process_boot_id(char ret[static BOOT_ID_SIZE]) MUST_CHECK;

/* Where PATH has a program; NULL when it does not. Owned by the caller. */
char *spawn_find(const char *name) MUST_CHECK;

/* The folder of the running program's file, from /proc/self/exe. */
int process_own_folder(char **ret) MUST_CHECK;
