#include "image/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define NOBODY 65534

/* Sanitizers map, ask and signal as they like: there, a call that is not listed fails instead of
 * killing. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ACTION_DEFAULT SCMP_ACT_ERRNO(EPERM)
#else
#define ACTION_DEFAULT SCMP_ACT_KILL_PROCESS
#endif

/* On descriptors that it has, on its own memory, and on itself. */
static const int allowed[] = {
	SCMP_SYS(read),		  SCMP_SYS(write),	  SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),	  SCMP_SYS(lseek),	  SCMP_SYS(ftruncate),
	SCMP_SYS(fallocate),	  SCMP_SYS(fsync),	  SCMP_SYS(fstat),
	SCMP_SYS(close),	  SCMP_SYS(poll),	  SCMP_SYS(ppoll),
	SCMP_SYS(munmap),	  SCMP_SYS(mremap),	  SCMP_SYS(brk),
	SCMP_SYS(madvise),	  SCMP_SYS(futex),	  SCMP_SYS(getrandom),
	SCMP_SYS(clock_gettime),  SCMP_SYS(gettimeofday), SCMP_SYS(restart_syscall),
	SCMP_SYS(exit),		  SCMP_SYS(exit_group),	  SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(getpid),	  SCMP_SYS(gettid),
	SCMP_SYS(recvmsg), /* further descriptors, by the socket that it has */
	SCMP_SYS(tgkill),  /* abort(): only at itself, and nobody's processes are its own */
};

/* A library that looks for a file finds that it may not; there is no need to die of it. */
static const int refused[] = {
	SCMP_SYS(open),	    SCMP_SYS(openat), SCMP_SYS(access),	 SCMP_SYS(faccessat),
	SCMP_SYS(readlink), SCMP_SYS(stat),   SCMP_SYS(sysinfo), SCMP_SYS(ioctl),
};

static const struct scmp_arg_cmp not_executable = {
	.arg = 2, .op = SCMP_CMP_MASKED_EQ, .datum_a = PROT_EXEC, .datum_b = 0
};

static const struct scmp_arg_cmp empty_path = {
	.arg = 3, .op = SCMP_CMP_EQ, .datum_a = AT_EMPTY_PATH, .datum_b = 0
};

static int add_rules(scmp_filter_ctx filter)
{
	size_t i;
	int r;

	for (i = 0; i < ARRAY_LEN(allowed); i++) {
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
		if (r < 0)
			return r;
	}
	for (i = 0; i < ARRAY_LEN(refused); i++) {
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), refused[i], 0);
		if (r < 0)
			return r;
	}
	/* Memory is never executable, whatever is mapped. */
	r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, &not_executable);
	if (r == 0)
		r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
					   &not_executable);
	/* glibc's fstat(): a descriptor and an empty path. */
	if (r == 0)
		r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
					   &empty_path);
	return r;
}

static int enter_filter(struct err *err)
{
	scmp_filter_ctx filter = seccomp_init(ACTION_DEFAULT);
	int r;

	if (!filter)
		return err_sys(err, -ENOMEM, "make the system call filter");
	r = add_rules(filter);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r < 0 ? err_sys(err, r, "load the system call filter") : 0;
}

/*
 * Root has more to lose than it needs here. In a user namespace where nobody does not exist it
 * stays what it is there; the filter below holds in any case.
 */
static int drop_user(struct err *err)
{
	if (geteuid() != 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
	    setresuid(NOBODY, NOBODY, NOBODY) < 0) {
		if (errno != EPERM && errno != EINVAL)
			return err_sys(err, -errno, "become nobody");
	}
	return 0;
}

int sandbox_enter(struct err *err)
{
	const pid_t parent = getppid();
	int r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, -errno, "give up gaining privileges");
	r = drop_user(err);
	if (r < 0)
		return r;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, -errno, "give up being traced");
	/* Changing the user has cleared this. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent)
		return err_sys(err, -ESRCH, "follow the parent");
	return enter_filter(err);
}
