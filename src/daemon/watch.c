#include "daemon/watch.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/strv.h"
#include "daemon/names.h"
#include "daemon/private.h"
#include "daemon/reconcile.h"
#include "daemon/resolver.h"
#include "daemon/vm_table.h"

#define RECONCILE_INTERVAL_NS (60 * NSEC_PER_SEC) /* SPEC 4 */

struct watcher {
	struct daemon *daemon; /* borrowed */
	struct cancel stop;
	pthread_t thread;
};

/*
 * Tidies up after one VM. False when somebody holds its lock: then that operation ends it itself,
 * or we come again when the lock is released.
 */
static bool note_end(struct daemon *daemon, const char *id)
{
	AUTO_FREE char *key = mem_printf("vm:%s", id);
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	struct err err = ERR_INIT;
	AUTO_VM vm = { 0 };
	int r;

	if (!keylock_try(daemon->locks, key, &hold))
		return false;
	if (!vm_table_get(daemon->table, id, NULL, NULL))
		return true;
	r = store_vm_get(daemon->store, id, &vm, &err);
	if (r == 0)
		r = reconcile_vm(daemon, &vm, &err);
	if (r < 0)
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .vm = id, .err = &err },
			  "cannot tidy up after a VM, leaving that to reconcile");
	return true;
}

static void note_ends(struct daemon *daemon, struct strv *pending)
{
	AUTO_STRV rest = { 0 };

	for (size_t i = 0; i < pending->count; i++) {
		if (!note_end(daemon, pending->items[i]))
			strv_add(&rest, pending->items[i]);
	}
	strv_done(pending);
	*pending = rest;
	rest = (struct strv){ 0 };
}

static void *watcher_run(void *context)
{
	struct watcher *watcher = context;
	struct daemon *daemon = watcher->daemon;
	uint64_t next_pass_ns = clock_now_ns() + RECONCILE_INTERVAL_NS;
	AUTO_STRV pending = { 0 };

	for (;;) {
		struct pollfd waits[] = {
			{ .fd = watcher->stop.fd, .events = POLLIN },
			{ .fd = vm_table_watch_fd(daemon->table), .events = POLLIN },
			/* A release matters only while somebody's lock is in our way. */
			{ .fd = pending.count > 0 ? daemon->released.fd : -1, .events = POLLIN },
		};
		uint64_t releases;

		if (poll(waits, ARRAY_LEN(waits), clock_poll_ms(next_pass_ns)) < 0 &&
		    errno != EINTR)
			log_error("the watcher's poll failed: errno %d", errno);
		if (waits[0].revents)
			return NULL;
		if (waits[2].revents)
			IGNORE_RESULT(
				fd_read_some(daemon->released.fd, &releases, sizeof(releases)));
		if (waits[1].revents)
			vm_table_ended(daemon->table, &pending);
		note_ends(daemon, &pending);
		if (clock_now_ns() >= next_pass_ns) {
			reconcile_pass(daemon);
			store_restore_reserve(daemon->store);
			names_listen(daemon->names, daemon->config.dns_listen);
			resolver_look(daemon->resolver);
			next_pass_ns = clock_now_ns() + RECONCILE_INTERVAL_NS;
		}
	}
}

int watcher_start(struct daemon *daemon, struct watcher **ret, struct err *err)
{
	struct watcher *watcher = mem_alloc(1, sizeof(*watcher));
	int r;

	watcher->daemon = daemon;
	r = cancel_init(&watcher->stop);
	if (r == 0) {
		r = -pthread_create(&watcher->thread, NULL, watcher_run, watcher);
		if (r < 0)
			cancel_done(&watcher->stop);
	}
	if (r < 0) {
		mem_free(watcher);
		return err_sys(err, r, "start the watcher");
	}
	*ret = watcher;
	return 0;
}

void watcher_stop(struct watcher *watcher)
{
	if (!watcher)
		return;
	cancel_fire(&watcher->stop);
	(void)pthread_join(watcher->thread, NULL);
	cancel_done(&watcher->stop);
	mem_free(watcher);
}
