/* The network's worker, its pool of TAPs, and the daemon's beginning and end. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "config/config.h"
#include "daemon/network_private.h"
#include "store/store.h"

#define RETRY_MS  2000
#define SETTLE_MS 300 /* changes come in bursts, our own ones too: one look after each */

void network_wake(struct network *network)
{
	cancel_fire(&network->wake);
}

/* --- the pool --- */

/* The lowest index that neither a VM nor a TAP has; 0 when there is none. */
static int next_index(struct network *network, uint32_t *ret, struct err *err)
{
	AUTO_FREE uint32_t *used = NULL;
	uint32_t index = 0;
	size_t count;
	int r;

	r = store_vm_net_indexes(network->store, &used, &count, err);
	if (r < 0)
		return r;
	/* Few TAPs are in the way: each is passed over once. */
	for (size_t i = 0; i <= network->tap_count; i++) {
		index = net_index_first_free(&network->subnet, used, count);
		if (index == 0 || !network_tap_of_index(network, index))
			break;
		used = mem_grow(used, count + 1, sizeof(*used));
		for (size_t at = count++;; at--) {
			if (at > 0 && used[at - 1] > index) {
				used[at] = used[at - 1];
				continue;
			}
			used[at] = index;
			break;
		}
	}
	*ret = index;
	return 0;
}

/* One more idle TAP: 1 made, 0 none is wanted. */
static int refill_one(struct network *network, struct err *err)
{
	uint32_t index;
	int r;

	if (!network->is_on || !network->is_up || network->is_ending ||
	    network_count_idle(network) >= network->config->tap_pool_size)
		return 0;
	r = next_index(network, &index, err);
	if (r < 0 || index == 0)
		return r;
	r = priv_tap_make(network->net, index, geteuid(), err);
	if (r < 0)
		return r;
	(void)network_tap_add(network, index);
	return 1;
}

/* One idle TAP less, the highest: 1 removed, 0 there are not too many. */
static int trim_one(struct network *network, struct err *err)
{
	struct network_tap *highest = NULL;
	int r;

	if (network_count_idle(network) <= network->config->tap_pool_size)
		return 0;
	for (size_t i = 0; i < network->tap_count; i++) {
		if (network->taps[i].vm_id[0] == '\0' &&
		    (!highest || network->taps[i].index > highest->index))
			highest = &network->taps[i];
	}
	if (!highest)
		return 0;
	r = priv_tap_delete(network->net, highest->index, err);
	if (r < 0)
		return r;
	network_tap_drop(network, highest);
	return 1;
}

/* The lock is free between any two, so that no start waits for more than one. */
static void tend_pool(struct network *network)
{
	struct err err = ERR_INIT;
	int r;

	do {
		(void)pthread_mutex_lock(&network->lock);
		r = refill_one(network, &err);
		if (r == 0)
			r = trim_one(network, &err);
		(void)pthread_mutex_unlock(&network->lock);
	} while (r > 0 && !cancel_is_fired(&network->stop));
	if (r < 0)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .err = &err },
			  "cannot keep TAP devices ready, retrying");
}

/* --- the thread --- */

static void clear_wake(const struct network *network)
{
	uint64_t count;

	IGNORE_RESULT(fd_read_some(network->wake.fd, &count, sizeof(count)));
}

static void *work(void *context)
{
	struct network *network = context;
	uint64_t look_ns = UINT64_MAX; /* when to look whether somebody has changed something */

	for (;;) {
		/* Who hangs says nothing of what changes, nor that it answers again. */
		if (look_ns == UINT64_MAX && !network_answers(network))
			look_ns = clock_now_ns() + RETRY_MS * NSEC_PER_MSEC;

		struct pollfd waits[] = {
			{ .fd = network->stop.fd, .events = POLLIN },
			{ .fd = network->wake.fd, .events = POLLIN },
			{ .fd = priv_net_watch_fd(network->net), .events = POLLIN },
		};

		if (poll(waits, ARRAY_LEN(waits),
			 look_ns == UINT64_MAX ? -1 : clock_poll_ms(look_ns)) < 0 &&
		    errno != EINTR)
			log_error("the network worker's poll failed: errno %d", errno);
		if (waits[0].revents)
			return NULL;
		if (waits[1].revents) {
			clear_wake(network);
			tend_pool(network);
		}
		if (waits[2].revents && priv_net_watch_read(network->net) && look_ns == UINT64_MAX)
			look_ns = clock_now_ns() + SETTLE_MS * NSEC_PER_MSEC;
		if (clock_now_ns() >= look_ns) {
			look_ns = network_repair(network)
					  ? UINT64_MAX
					  : clock_now_ns() + RETRY_MS * NSEC_PER_MSEC;
		}
	}
}

int network_start(struct network *network, struct err *err)
{
	int r;

	if (!network->net)
		return 0;
	r = -pthread_create(&network->worker, NULL, work, network);
	if (r < 0)
		return err_sys(err, r, "start the network's worker");
	network->has_worker = true;
	network_wake(network);
	return 0;
}

/* What one that has hung still has to take back, it gets a last chance to. */
static void wait_for_answer(struct network *network)
{
	const uint64_t deadline_ns = clock_now_ns() + RETRY_MS * NSEC_PER_MSEC;

	while (network->is_up && network->silences != priv_net_silences(network->net) &&
	       clock_now_ns() < deadline_ns) {
		network_mend(network);
		IGNORE_RESULT(cancel_poll(NULL, -1, 0, clock_now_ns() + SETTLE_MS * NSEC_PER_MSEC));
	}
}

/* Idle TAPs are for starts to come. Without guests nobody needs anything. */
static int end(struct network *network, struct err *err)
{
	int r = 0;

	network->is_ending = true;
	wait_for_answer(network);
	for (size_t i = network->tap_count; i-- > 0 && r == 0;) {
		if (network->taps[i].is_joined)
			continue;
		r = priv_tap_delete(network->net, network->taps[i].index, err);
		if (r == 0)
			network_tap_drop(network, &network->taps[i]);
	}
	if (r < 0 || network_has_guests(network) || !network->is_up)
		return r;
	network->is_up = false;
	return priv_net_clear(network->net, err);
}

void network_stop(struct network *network)
{
	struct err err = ERR_INIT;
	int r;

	if (!network->net)
		return;
	cancel_fire(&network->stop);
	if (network->has_worker)
		(void)pthread_join(network->worker, NULL);
	network->has_worker = false;
	(void)pthread_mutex_lock(&network->lock);
	r = end(network, &err);
	(void)pthread_mutex_unlock(&network->lock);
	if (r < 0)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .err = &err },
			  "cannot remove what VMs' network needs no more, leaving that to the next "
			  "start");
}

/* --- questions --- */

bool network_has_bridge(struct network *network)
{
	bool has;

	if (network->is_isolated)
		return false;
	(void)pthread_mutex_lock(&network->lock);
	has = network->is_up;
	(void)pthread_mutex_unlock(&network->lock);
	return has;
}

void network_watch_bridge(struct network *network, void (*on_change)(void *context), void *context)
{
	(void)pthread_mutex_lock(&network->lock);
	network->on_change = on_change;
	network->on_change_context = context;
	(void)pthread_mutex_unlock(&network->lock);
}

void network_summarise(struct network *network, struct network_summary *ret)
{
	AUTO_FREE struct net_guest *guests = NULL;

	*ret = (struct network_summary){ .capacity = net_subnet_capacity(&network->subnet) };
	(void)pthread_mutex_lock(&network->lock);
	guests = network_guests(network, &ret->guests);
	ret->is_up = network->is_up;
	ret->ready = network_count_idle(network);
	ret->is_whole = ret->is_up && priv_net_is_whole(network->net, guests, ret->guests);
	if (ret->is_up)
		IGNORE_RESULT(priv_net_way_out(network->net, &ret->way_out));
	ret->answers = network_answers(network);
	(void)pthread_mutex_unlock(&network->lock);
}
