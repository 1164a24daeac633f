#include "vmmshim/memory_gate.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/fd.h"

#define DATA(member) ((uint32_t)offsetof(struct seccomp_data, member))
#define ARGUMENT(i)  ((uint32_t)(offsetof(struct seccomp_data, args) + 8UL * (i))) /* lower half */

/* Newer kernels may write more than our headers know. */
#define NOTICE_SIZE 512

/* The number alone decides, not the architecture: there is nothing to get around here. */
static struct sock_filter gate_code[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, DATA(nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 4),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(2)),
	BPF_STMT(BPF_ALU | BPF_AND | BPF_K, O_ACCMODE),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, O_RDWR, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

const struct sock_fprog gate_filter = { .len = ARRAY_LEN(gate_code), .filter = gate_code };

void gate_init(struct gate *gate, int listener_fd, int memory_fd, int number)
{
	*gate = (struct gate){ .listener_fd = listener_fd, .memory_fd = memory_fd };
	(void)snprintf(gate->path, sizeof(gate->path), "/proc/self/fd/%d", number);
}

void gate_done(struct gate *gate)
{
	fd_closep(&gate->listener_fd);
}

/* Whether the text at `address` of the caller is the memory's path; -errno when it hides that. */
static int names_memory(const struct gate *gate, const struct seccomp_notif *notice)
{
	char text[GATE_PATH_SIZE] = { 0 };
	const size_t size = strlen(gate->path) + 1;
	const struct iovec local = { .iov_base = text, .iov_len = size };
	const struct iovec remote = {
		/* NOLINTNEXTLINE(performance-no-int-to-ptr): an address in the other process */
		.iov_base = (void *)(uintptr_t)notice->data.args[1],
		.iov_len = size,
	};
	const ssize_t n = process_vm_readv((pid_t)notice->pid, &local, 1, &remote, 1, 0);

	if (n < 0 && errno != EFAULT)
		return -errno;
	return n == (ssize_t)size && memcmp(text, gate->path, size) == 0 ? 1 : 0;
}

/* Gives the caller our descriptor; its number there, or -errno. */
static int pass_memory(const struct gate *gate, uint64_t id)
{
	struct seccomp_notif_addfd addition = {
		.id = id,
		.srcfd = (uint32_t)gate->memory_fd,
		.newfd_flags = O_CLOEXEC,
	};
	const int number = ioctl(gate->listener_fd, SECCOMP_IOCTL_NOTIF_ADDFD, &addition);

	return number < 0 ? -errno : number;
}

int gate_step(struct gate *gate, struct err *err)
{
	union {
		struct seccomp_notif notice;
		uint8_t room[NOTICE_SIZE];
	} from;
	union {
		struct seccomp_notif_resp answer;
		uint8_t room[NOTICE_SIZE];
	} to;
	int r;

	memset(&from, 0, sizeof(from));
	memset(&to, 0, sizeof(to));
	if (ioctl(gate->listener_fd, SECCOMP_IOCTL_NOTIF_RECV, &from) < 0)
		/* ENOENT: whoever asked is gone. */
		return errno == ENOENT || errno == EINTR
			       ? 0
			       : err_sys(err, -errno, "watch QEMU's files");
	to.answer.id = from.notice.id;
	r = names_memory(gate, &from.notice);
	if (r == 1) {
		r = pass_memory(gate, from.notice.id);
		to.answer.val = r;
	} else if (r == 0) {
		to.answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	}
	if (r < 0) {
		to.answer.val = 0;
		to.answer.error = r;
	}
	if (ioctl(gate->listener_fd, SECCOMP_IOCTL_NOTIF_SEND, &to) < 0 && errno != ENOENT)
		return err_sys(err, -errno, "answer QEMU's open()");
	return r < 0 ? err_sys(err, r, "give QEMU its memory file") : 0;
}
