/*
 * VMM processes: starting them so that they outlive the daemon, finding them again, watching and
 * ending them. A VMM is known by (pid, start time, boot id) together and held by a pidfd; never by
 * a bare pid.
 *
 * The daemon is the parent of what it started itself: when such a pidfd becomes readable,
 * vmm_reap() must be called, or a zombie stays. After a restart of the daemon VMMs belong to init:
 * then vmm_reap() says so and there is nothing to reap.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/spawn.h"
#include "vmm/engine.h"
#include "vmm/fc_client.h"

#define VMM_DRIVE_OVERLAYS_MAX 8
#define VMM_START_TIMEOUT_MS   5000 /* until the API socket answers a connect */

/* Says that drive `drive_id`'s file is a qcow2 overlay over the raw file `base_path` (QEMU engine
 * only). */
struct vmm_drive_overlay {
	const char *drive_id;
	const char *base_path;
};

/* Everything borrowed, all paths absolute. */
struct vmm_launch {
	enum vmm_engine engine;
	enum vmm_accelerator accelerator;
	const char *binary;	  /* firecracker or banger-vmm */
	const char *qemu_path;	  /* QEMU engine: the emulator that banger-vmm runs */
	const char *id;		  /* the VM's id */
	const char *folder;	  /* where it works: relative paths in its API are from there */
	const char *api_sock;	  /* must not exist; its folder must */
	const char *console_path; /* gets the VMM's stdout: the serial console, unless
				     vmm_put_serial() took it */
	const char *log_path;	  /* gets the VMM's stderr and its log (--log-path) */
	struct vmm_drive_overlay overlays[VMM_DRIVE_OVERLAYS_MAX];
	size_t overlay_count;
	const int *cgroups; /* cgroup.procs files of the cgroups that it starts in */
	size_t cgroup_count;
	const int *spaces; /* namespaces that it is to be in, as struct spawn has them */
	size_t space_count;
	uid_t uid;	     /* QEMU engine: the emulator's user; 0: ours */
	uint64_t timeout_ms; /* 0: VMM_START_TIMEOUT_MS */
};

struct vmm_process {
	pid_t pid;
	uint64_t start_time; /* clock ticks since boot, with pid and boot_id the identity */
	char boot_id[BOOT_ID_SIZE];
	int pidfd; /* owned */
};

#define VMM_PROCESS_INIT ((struct vmm_process){ .pid = 0, .pidfd = -1 })

/* Closes the pidfd; neither kills nor reaps. */
void vmm_process_done(struct vmm_process *process);

/*
 * Starts the VMM detached (session of its own, no death signal, stdin /dev/null, no
 * descriptors but the three, an empty environment, no core dumps) and waits until its API socket
 * takes connections. On failure nothing is left running, and a VMM that died by itself is quoted:
 * how it ended and the last lines of its log. Both files are appended to and made 0600.
 */
int vmm_spawn(const struct vmm_launch *launch, const struct cancel *cancel, struct vmm_process *ret,
	      struct err *err) MUST_CHECK;

/* The command line that vmm_spawn() uses; for tests and `vm show`. */
struct strv;
void vmm_launch_argv(const struct vmm_launch *launch, struct strv *ret);

/*
 * Finds a VMM that an earlier daemon started: the process is still the same one (and this is still
 * the boot `boot_id`), and GET / answers for `id` (NULL: any). ERR_NOT_FOUND when the process is
 * gone: then it is safe to clean up. Anything else (it lives and does not answer: ERR_TIMEOUT,
 * ERR_PROTOCOL, ...) leaves it alone, and *ret is set all the same if ret->pid is not 0, so that
 * the caller may decide to kill it.
 */
int vmm_adopt(const struct vmm_process *known, const struct vmm_api *api, const char *id,
	      struct vmm_process *ret, struct vmm_description *ret_description, struct err *err)
	MUST_CHECK;

/*
 * Waits until the process is gone, child or not. 0; -ETIMEDOUT (deadline on CLOCK_BOOTTIME,
 * UINT64_MAX for none), -ECANCELED or another -errno. Does not reap.
 */
int vmm_wait_exit(int pidfd, uint64_t deadline_ns, const struct cancel *cancel) MUST_CHECK;

/* Sends a signal. -ESRCH when it is gone. */
int vmm_kill(int pidfd, int signal) MUST_CHECK;

/*
 * Reaps an ended child without blocking. 1 and the waitid() code and status (CLD_EXITED with the
 * exit status, CLD_KILLED or CLD_DUMPED with the signal); 0 when it still runs; -ECHILD when it is
 * no child of ours.
 */
struct vmm_exit {
	int code; /* CLD_* */
	int status;
};
int vmm_reap(int pidfd, struct vmm_exit *ret) MUST_CHECK;

/* "exited with status 1", "was killed by signal 9 (Killed)". */
struct buf;
void vmm_exit_text(const struct vmm_exit *exit, struct buf *out);

/*
 * Appends the last `lines_max` lines of a log file, each escaped, joined by " | ": for error
 * messages. At most the last 2 KiB are looked at. Nothing when the file is missing or empty.
 */
void vmm_log_tail(const char *path, size_t lines_max, struct buf *out);
