#include "priv/net_space.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "priv/net.h"
#include "priv/priv.h"

#define TUN_PATH   "/dev/net/tun"
#define TUN_FOLDER "/dev/net"

int net_space_prepare(const struct net_space *space, struct err *err)
{
	struct stat status;

	if (stat(TUN_PATH, &status) < 0)
		return err_sys(err, -errno, "look at '" TUN_PATH "'");
	if (!space->has_user || (status.st_mode & (S_IROTH | S_IWOTH)) == (S_IROTH | S_IWOTH))
		return 0;
	(void)umask(0);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", TUN_FOLDER, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755") < 0 ||
	    mknod(TUN_PATH, S_IFCHR | 0666, status.st_rdev) < 0)
		return err_sys(err, -errno, "make a '" TUN_PATH "' that others than root may open");
	(void)umask(S_IRWXG | S_IRWXO);
	return 0;
}

/* --- users --- */

static int change_user(uid_t uid)
{
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	return 0;
}

int net_space_drop(const struct net_space *space, struct err *err)
{
	const int r = change_user(space->uid);

	if (r < 0)
		return err_sys(err, r, "become user %u", space->uid);
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
		       ? err_sys(err, -errno, "give up privileges")
		       : 0;
}

/* Root becomes that user, but may still make namespaces where the host lets only root do that. */
static int become_user(const struct net_space *space, struct err *err)
{
	int r;

	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return err_sys(err, -errno, "keep capabilities");
	r = change_user(space->uid);
	if (r < 0)
		return err_sys(err, r, "become user %u", space->uid);
	capng_clear(CAPNG_SELECT_CAPS);
	(void)capng_update(CAPNG_ADD, (capng_type_t)(CAPNG_EFFECTIVE | CAPNG_PERMITTED),
			   CAP_SYS_ADMIN);
	/* A root without it has to do what others may. */
	if (capng_apply(CAPNG_SELECT_CAPS) != 0)
		capng_clear(CAPNG_SELECT_CAPS);
	return 0;
}

/* --- namespaces --- */

static int write_file(const char *path, const char *text)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd_write_all(fd, span_str(text));
}

static int hint_namespaces(struct err *err, int r)
{
	err_hint(err, "user namespaces must be allowed: sysctl user.max_user_namespaces above 0, "
		      "kernel.unprivileged_userns_clone=1 and "
		      "kernel.apparmor_restrict_unprivileged_userns=0 where there are such");
	return r;
}

static int make(const struct net_space *space, struct err *err)
{
	AUTO_FREE char *map = mem_printf("%u %u 1\n", space->uid, space->uid);
	int r;

	if (unshare(CLONE_NEWUSER) < 0)
		return hint_namespaces(err, err_sys(err, -errno, "make a user namespace"));
	r = write_file("/proc/self/setgroups", "deny");
	if (r == 0)
		r = write_file("/proc/self/uid_map", map);
	if (r == 0)
		r = write_file("/proc/self/gid_map", map);
	if (r < 0)
		return hint_namespaces(err, err_sys(err, r, "map the user of a user namespace"));
	if (unshare(CLONE_NEWNET) < 0)
		return hint_namespaces(err, err_sys(err, -errno, "make a network namespace"));
	return 0;
}

static int enter_again(const struct net_space *space, struct err *err)
{
	if (setns(space->user_fd, CLONE_NEWUSER) < 0 || setns(space->net_fd, CLONE_NEWNET) < 0)
		return err_sys(err, -errno, "enter the isolated network again");
	return 0;
}

static int keep_net_admin(struct err *err)
{
	capng_clear(CAPNG_SELECT_BOTH);
	(void)capng_update(CAPNG_ADD, (capng_type_t)(CAPNG_EFFECTIVE | CAPNG_PERMITTED),
			   CAP_NET_ADMIN);
	if (capng_apply(CAPNG_SELECT_BOTH) != 0)
		return err_set(err, ERR_SYSTEM, "give up capabilities: refused");
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
		       ? err_sys(err, -errno, "give up privileges")
		       : 0;
}

static int configure(struct err *err)
{
	static const struct {
		const char *path;
		const char *value;
	} settings[] = { { "/proc/sys/net/ipv4/ip_forward", "1" },
			 { "/proc/sys/net/ipv6/conf/all/disable_ipv6", "1" },
			 { "/proc/sys/net/ipv6/conf/default/disable_ipv6", "1" } };

	for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
		const int r = write_file(settings[i].path, settings[i].value);

		/* A kernel without IPv6 has less to forbid. */
		if (r < 0 && (i == 0 || r != -ENOENT))
			return hint_namespaces(err,
					       err_sys(err, r, "write '%s'", settings[i].path));
	}
	return 0;
}

int net_space_enter(const struct net_space *space, struct err *err)
{
	int r = space->has_user ? become_user(space, err) : 0;

	/* For our own files in /proc, and for the way out's program, which looks at them. */
	if (r == 0 && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
		r = err_sys(err, -errno, "open one's own files in /proc");
	if (r == 0)
		r = space->user_fd < 0 ? make(space, err) : enter_again(space, err);
	if (r == 0)
		r = keep_net_admin(err);
	return r < 0 ? r : configure(err);
}

/* --- whether it can work --- */

static int try(const struct net_space *space, struct err *err)
{
	struct ifreq request = { .ifr_name = "banger0", .ifr_flags = (short)(IFF_TAP | IFF_NO_PI) };
	AUTO_CLOSE int fd = -1;
	int r;

	r = net_space_prepare(space, err);
	if (r == 0)
		r = net_space_enter(space, err);
	if (r < 0)
		return r;
	fd = open(TUN_PATH, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, -errno, "open '" TUN_PATH "'");
	return ioctl(fd, TUNSETIFF, &request) < 0
		       ? hint_namespaces(err, err_sys(err, -errno, "make a TAP device"))
		       : 0;
}

int priv_net_check_isolated(const struct priv *priv, struct err *err)
{
	struct net_space space = { .uid = geteuid(), .user_fd = -1, .net_fd = -1 };
	AUTO_CLOSE int read_end = -1;
	AUTO_CLOSE int write_end = -1;
	struct err found = ERR_INIT;
	int ends[2], r;
	pid_t child;

	space.has_user = priv_network_user(priv, &space.uid);
	r = fd_pipe(ends);
	if (r < 0)
		return err_sys(err, r, "make a pipe");
	read_end = ends[0];
	write_end = ends[1];
	child = fork();
	if (child == 0) {
		/* What it finds is told through the pipe, and if that fails, by its silence. */
		IGNORE_RESULT(try(&space, &found));
		IGNORE_RESULT(fd_write_all(write_end, span_of(&found, sizeof(found))));
		_exit(0);
	}
	if (child < 0)
		return err_sys(err, -errno, "try namespaces");
	fd_closep(&write_end);
	r = fd_read_exact(read_end, &found, sizeof(found));
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return err_sys(err, r, "try namespaces");
	if (found.kind == ERR_NONE)
		return 0;
	*err = found;
	return err_negative(-found.errnum);
}
