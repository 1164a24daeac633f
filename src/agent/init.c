#include "agent/init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/cmdline.h"
#include "agent/console.h"
#include "agent/disks.h"
#include "agent/identity.h"
#include "agent/modules.h"
#include "agent/netif.h"
#include "agent/new_root.h"
#include "agent/own_init.h"
#include "agent/server.h"
#include "agent/state.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"

#define IDENTITY_FILE "/banger/identity.json"
#define CMDLINE_MAX   4096
#define DISK_WAIT_MS  20000
/*
 * systemd's last killing spree spares processes of root whose command line begins with '@': whoever
 * serves the file systems must outlive them, and so must we.
 */
#define AGENT_TITLE "@banger-agent"

struct boot {
	int argc;
	char **argv;
	uint64_t begun_ns;
	struct boot_options options;
	struct agent_state *state;
	struct identity identity;
	bool has_identity;
	bool is_root_switched;
	const char *init; /* of the image, or NULL */
};

static void say_stage(const struct boot *boot, const char *what)
{
	if (boot->options.is_debug)
		console_print(
			"%llu ms: %s",
			(unsigned long long)((clock_now_ns() - boot->begun_ns) / NSEC_PER_MSEC),
			what);
}

static void mount_basics(void)
{
	static const struct {
		const char *type;
		const char *folder;
	} mounts[] = { { "devtmpfs", "/dev" }, { "proc", "/proc" }, { "sysfs", "/sys" } };

	for (size_t i = 0; i < ARRAY_LEN(mounts); i++) {
		(void)mkdir(mounts[i].folder, 0755); /* there already in some initramfs */
		if (mount(mounts[i].type, mounts[i].folder, mounts[i].type, MS_NOSUID, NULL) < 0 &&
		    errno != EBUSY) {
			struct err err = ERR_INIT;

			(void)err_sys(&err, -errno, "mount %s", mounts[i].folder);
			console_fatal(&err);
		}
	}
}

static void read_options(struct boot *boot)
{
	AUTO_BUF text = BUF_INIT;
	struct err err = ERR_INIT;
	int r = file_read(AT_FDCWD, "/proc/cmdline", CMDLINE_MAX, &text);

	if (r < 0)
		r = err_sys(&err, r, "read /proc/cmdline");
	else
		r = boot_options_parse(buf_span(&text), &boot->options, &err);
	if (r < 0)
		console_fatal(&err);
}

static void load_modules(struct buf *failures)
{
	const int r = modules_load(failures);

	/* A kernel with everything built in has no list. */
	if (r < 0 && r != -ENOENT)
		buf_addf(failures, "%s: %s", MODULES_LIST, strerrordesc_np(-r));
	if (failures->len > 0)
		console_print("modules: %s", failures->ptr);
}

static void mount_disk(const struct boot *boot, const char *device, const char *folder,
		       int watch_fd)
{
	const uint64_t deadline_ns = clock_now_ns() + DISK_WAIT_MS * NSEC_PER_MSEC;
	struct err err = ERR_INIT;
	int grow_error = 0;
	int r = disk_wait(device, watch_fd, deadline_ns, &err);

	if (r == 0)
		r = disk_mount(device, folder,
			       boot->options.is_read_only && str_eq(device, boot->options.root),
			       &grow_error, &err);
	if (r < 0)
		console_fatal(&err);
	if (grow_error < 0)
		console_print("%s: the file system could not be grown: %s", device,
			      strerrordesc_np(-grow_error));
}

static void mount_disks(struct boot *boot)
{
	AUTO_BUF failures = BUF_INIT;
	AUTO_CLOSE int watch_fd = disk_watch();

	load_modules(&failures);
	say_stage(boot, "modules are loaded");
	(void)mkdir(NEW_ROOT, 0755);
	mount_disk(boot, boot->options.root, NEW_ROOT, watch_fd);
	state_reach(boot->state, STAGE_ROOT);
	say_stage(boot, "the root is mounted");
	if (boot->options.work[0] != '\0') {
		(void)mkdir(NEW_ROOT "/root", 0700); /* an image may lack it */
		mount_disk(boot, boot->options.work, NEW_ROOT "/root", watch_fd);
		boot->state->has_work = true;
		say_stage(boot, "the work disk is mounted");
	}
	state_reach(boot->state, STAGE_WORK);
}

static void read_identity(struct boot *boot)
{
	AUTO_BUF text = BUF_INIT;
	struct err err = ERR_INIT;
	int r = file_read(AT_FDCWD, IDENTITY_FILE, IDENTITY_BYTES_MAX, &text);

	if (r == -ENOENT)
		return;
	if (r < 0)
		r = err_sys(&err, r, "read %s", IDENTITY_FILE);
	else
		r = identity_parse_text(buf_span(&text), &boot->identity, &err);
	explicit_bzero(text.ptr, text.len);
	/* A VM that the host can reach without its name is better than none. */
	if (r < 0)
		console_print("%s", err.message);
	boot->has_identity = r == 0;
}

static void apply_identity(struct boot *boot)
{
	struct err err = ERR_INIT;
	AUTO_CLOSE int root = dir_open("/");
	int r = identity_set_kernel(&boot->identity, IDENTITY_BOOT, &err);

	if (r < 0)
		console_print("identity: %s", err.message);
	if (identity_write_files(&boot->identity, IDENTITY_BOOT, root, &err) < 0) {
		console_print("identity: %s", err.message);
		r = -EIO;
	}
	if (boot->identity.boot_token)
		state_set_token(boot->state, boot->identity.boot_token);
	if (r == 0)
		state_reach(boot->state, STAGE_IDENTITY);
}

/* Arguments and environment lie behind one another, and all of it is free to be written over. */
static void set_title(const struct boot *boot)
{
	char *begin = boot->argv[0];
	char *end = begin + strlen(begin) + 1;

	for (int i = 1; i < boot->argc; i++) {
		if (boot->argv[i] == end)
			end += strlen(boot->argv[i]) + 1;
	}
	for (char **variable = environ; *variable; variable++) {
		if (*variable == end)
			end += strlen(*variable) + 1;
	}
	environ = NULL;
	memset(begin, 0, (size_t)(end - begin));
	/* Cut where there is little room: the '@' is what matters. */
	(void)snprintf(begin, (size_t)(end - begin), "%s", AGENT_TITLE);
	(void)prctl(PR_SET_NAME, &AGENT_TITLE[1]);
}

/* The commands that it runs are not spared: exec_spawn() takes this back. */
static void spare_from_oom_killer(void)
{
	AUTO_CLOSE int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		IGNORE_RESULT(fd_write_all(fd, span_str("-1000")));
}

static NORETURN void agent_run(struct boot *boot, int ready_fd)
{
	const struct server_options options = {
		.state = boot->state,
		.has_vsock = true,
		.has_port = true,
	};
	AUTO_CLOSE int oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	struct err err = ERR_INIT;

	if (oom >= 0)
		IGNORE_RESULT(
			fd_write_all(oom, span_str("-1000"))); /* its commands are not spared */
	fd_assign(&oom, -1);
	set_title(boot);
	(void)setsid();
	if (!boot->is_root_switched && (chroot(NEW_ROOT) < 0 || chdir("/") < 0))
		_exit(1);
	spare_from_oom_killer();
	if (boot->has_identity && !state_has_reached(boot->state, STAGE_IDENTITY))
		apply_identity(boot);
	identity_done(&boot->identity);
	fd_close(ready_fd);
	if (server_run(&options, &err) < 0)
		console_print("agent: %s", err.message);
	_exit(1);
}

/* Starts the agent; `ready_fd` (-1 for none) is closed in it once the identity is applied. */
static pid_t agent_start(struct boot *boot, int ready_fd)
{
	const pid_t pid = fork();

	if (pid == 0)
		agent_run(boot, ready_fd);
	return pid;
}

static pid_t agent_start_again(void *context)
{
	console_print("the agent has died: starting it again");
	return agent_start(context, -1);
}

/* The agent, with the identity applied: init of the image must find its files. */
static pid_t agent_start_first(struct boot *boot)
{
	int ready[2];
	uint8_t nothing;
	struct err err = ERR_INIT;
	int r = fd_pipe(ready);
	pid_t pid;

	if (r < 0) {
		(void)err_sys(&err, r, "start the agent");
		console_fatal(&err);
	}
	pid = agent_start(boot, ready[1]);
	if (pid < 0) {
		(void)err_sys(&err, -errno, "start the agent");
		console_fatal(&err);
	}
	fd_close(ready[1]);
	IGNORE_RESULT(fd_read_some(ready[0], &nothing, 1));
	fd_close(ready[0]);
	return pid;
}

/* Gives way to the image's init; comes back only when that cannot be executed. */
static void exec_init(const struct boot *boot)
{
	char *const first = boot->argv[0];

	boot->argv[0] = (char *)(uintptr_t)boot->init; // NOLINT(performance-no-int-to-ptr)
	(void)execv(boot->init, boot->argv);
	console_print("exec %s: %s", boot->init, strerrordesc_np(errno));
	boot->argv[0] = first;
}

void init_run(int argc, char **argv)
{
	struct boot boot = { .argc = argc, .argv = argv, .begun_ns = clock_now_ns() };
	struct own_init own = { .start_agent = agent_start_again, .context = &boot };

	(void)umask(022);
	(void)signal(SIGPIPE, SIG_IGN);
	mount_basics();
	if (fcntl(STDERR_FILENO, F_GETFD) < 0)
		console_open(); /* an initramfs without /dev/console starts us without any */
	boot.state = state_new();
	if (!boot.state) {
		const struct err err = { .kind = ERR_SYSTEM, .message = "no memory" };

		console_fatal(&err);
	}
	boot.state->is_booted = true;
	read_options(&boot);
	mount_disks(&boot);
	read_identity(&boot);
	if (netif_up_loopback() < 0)
		console_print("the loopback interface cannot be brought up");
	boot.init = new_root_find_init(boot.options.init);
	boot.state->has_own_init = !boot.init;
	new_root_mount(!boot.init);
	say_stage(&boot, "the new root is ready");
	if (!boot.init)
		own_init_prepare();
	own.agent = agent_start_first(&boot);
	say_stage(&boot, "the agent is started");

	new_root_switch();
	boot.is_root_switched = true;
	boot.has_identity = false; /* the agent has it; a second one would not apply it again */
	identity_done(&boot.identity);
	state_reach(boot.state, STAGE_INIT);
	say_stage(&boot, boot.init ? boot.init : "there is no init in the image: banger's own");
	(void)signal(SIGPIPE, SIG_DFL);
	if (boot.init)
		exec_init(&boot);
	own_init_prepare();
	boot.state->has_own_init = true;
	own_init_run(&own);
}
