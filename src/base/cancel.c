#include "base/cancel.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

int cancel_init(struct cancel *cancel)
{
	cancel->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return cancel->fd < 0 ? -errno : 0;
}

void cancel_done(struct cancel *cancel)
{
	fd_close(cancel->fd);
	cancel->fd = -1;
}

void cancel_fire(struct cancel *cancel)
{
	const uint64_t one = 1;
	/* It can only fail when the counter is full, and then it is fired already. */
	const ssize_t n = write(cancel->fd, &one, sizeof(one));

	(void)n;
}

bool cancel_is_fired(const struct cancel *cancel)
{
	struct pollfd wait = { .fd = cancel ? cancel->fd : -1, .events = POLLIN };

	return wait.fd >= 0 && poll(&wait, 1, 0) > 0;
}

int cancel_check(const struct cancel *cancel, struct err *err)
{
	return cancel_is_fired(cancel) ? err_set(err, ERR_CANCELLED, "cancelled") : 0;
}

int cancel_poll(const struct cancel *cancel, int fd, short events, uint64_t deadline_ns)
{
	struct pollfd waits[2] = {
		{ .fd = fd, .events = events },
		{ .fd = cancel ? cancel->fd : -1, .events = POLLIN },
	};
	int n;

	for (;;) {
		n = poll(waits, 2, clock_poll_ms(deadline_ns));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (waits[1].revents)
			return -ECANCELED;
		if (waits[0].revents & POLLNVAL)
			return -EBADF;
		if (waits[0].revents)
			return waits[0].revents;
		if (clock_now_ns() >= deadline_ns)
			return -ETIMEDOUT;
	}
}
