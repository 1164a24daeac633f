#include "image/watch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>

static void *run(void *context)
{
	struct watch *watch = context;
	struct pollfd waits[] = {
		{ .fd = watch->stop.fd, .events = POLLIN },
		{ .fd = watch->pidfd, .events = POLLIN },
		{ .fd = watch->outer ? watch->outer->fd : -1, .events = POLLIN },
	};
	int n;

	do {
		n = poll(waits, ARRAY_LEN(waits), -1);
	} while (n < 0 && errno == EINTR);
	if (waits[0].revents == 0)
		cancel_fire(&watch->fired);
	return NULL;
}

/* Signals are for the threads that were there before. */
static int start_thread(struct watch *watch)
{
	sigset_t all, before;
	int r;

	(void)sigfillset(&all);
	r = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (r != 0)
		return -r;
	r = pthread_create(&watch->thread, NULL, run, watch);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

int watch_start(struct watch *watch, const struct cancel *outer, int pidfd, struct err *err)
{
	int r;

	watch->outer = outer;
	watch->pidfd = pidfd;
	r = cancel_init(&watch->fired);
	if (r == 0)
		r = cancel_init(&watch->stop);
	if (r == 0)
		r = start_thread(watch);
	if (r < 0)
		return err_sys(err, r, "watch the image worker");
	watch->is_running = true;
	return 0;
}

void watch_stop(struct watch *watch)
{
	if (!watch->is_running)
		return;
	cancel_fire(&watch->stop);
	(void)pthread_join(watch->thread, NULL);
	watch->is_running = false;
}

void watch_done(struct watch *watch)
{
	watch_stop(watch);
	cancel_done(&watch->fired);
	cancel_done(&watch->stop);
}
