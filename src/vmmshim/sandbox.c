/*
 * Theory of operation. banger-vmm stands between the daemon, which it trusts, and a guest, which
 * may own QEMU. What comes from the guest's side are bytes on four channels (QMP, serial console,
 * agent, standard error), each with a bounded parser of its own. So:
 *
 * 1. Here, before the command line is read: descriptors inherited by accident are closed, files are
 *    made for the owner only, no core dump and no ptrace() by others (guest memory and keys pass
 *    through), no privileges through exec, and writing to a closed or full file is an error, not a
 *    signal.
 * 2. While configuring, files, TAP devices and sockets are opened with the caller's own rights:
 * that is what the API is for, and only its owner can connect (socket mode 0600).
 * 3. QEMU is started with descriptors only, without environment, dies with us, and has a seccomp
 * filter of its own (qemu.h, qemu_args.c). It gets no descriptor of the API or the log.
 *
 * A seccomp filter for banger-vmm itself would have to allow execve() and open() until the start,
 * which is when there is no guest yet; afterwards nothing here touches guest memory.
 */
#include "vmmshim/sandbox.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/close_range.h>

int sandbox_begin(struct err *err)
{
	const struct rlimit none = { 0, 0 };

	/* Linux 5.9 and newer; older ones keep what was inherited, which close-on-exec contains. */
	if (close_range(STDERR_FILENO + 1, ~0U, 0) < 0 && errno != ENOSYS)
		return err_sys(err, -errno, "close inherited descriptors");
	(void)umask(S_IRWXG | S_IRWXO);
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return err_sys(err, -errno, "forbid core dumps");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, -errno, "confine banger-vmm");
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
		return err_sys(err, -errno, "ignore signals");
	return 0;
}
