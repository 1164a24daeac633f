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
#include "base/strv.h"
#include "base/text.h"
#include "config/config.h"
#include "daemon/look.h"
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

static bool has_guests(const struct network *network)
{
	for (size_t i = 0; i < network->tap_count; i++) {
		if (network->taps[i].is_joined)
			return true;
	}
	return false;
}

/* Idle TAPs are for starts to come. Without guests nobody needs anything. */
static int end(struct network *network, struct err *err)
{
	int r = 0;

	network->is_ending = true;
	for (size_t i = network->tap_count; i-- > 0 && r == 0;) {
		if (network->taps[i].is_joined)
			continue;
		r = priv_tap_delete(network->net, network->taps[i].index, err);
		if (r == 0)
			network_tap_drop(network, &network->taps[i]);
	}
	if (r < 0 || has_guests(network) || !network->is_up)
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

/* --- after an earlier daemon --- */

int network_adopt(struct network *network, struct err *err)
{
	AUTO_PRIV_NET_STATE state = { 0 };
	int r;

	if (!network->net)
		return 0;
	(void)pthread_mutex_lock(&network->lock);
	r = priv_net_look(network->net, &state, err);
	for (size_t i = 0; i < state.tap_count && r == 0; i++) {
		struct network_tap *tap = network_tap_add(network, state.taps[i].index);

		(void)snprintf(tap->vm_id, sizeof(tap->vm_id), "%s", state.taps[i].vm_id);
		tap->is_joined = tap->vm_id[0] != '\0';
	}
	network->is_left = r == 0 && (state.has_bridge || state.has_rules || state.tap_count > 0);
	(void)pthread_mutex_unlock(&network->lock);
	return r;
}

/* Where an earlier configuration had the network; VMs that run in there keep none of it. */
static void clear_other(struct network *network)
{
	AUTO_PRIV_NET_STATE state = { 0 };
	struct err err = ERR_INIT;
	int r;

	if (!network->other)
		return;
	/* That none can be had now is no word against the one that VMs are in. */
	if (!network->is_on && network->config->network != CONFIG_NETWORK_NONE)
		return;
	r = priv_net_look(network->other, &state, &err);
	for (size_t i = 0; i < state.tap_count && r == 0; i++) {
		const struct net_guest guest = { .index = state.taps[i].index,
						 .vm_id = state.taps[i].vm_id };

		r = guest.vm_id[0] == '\0' ? priv_tap_delete(network->other, guest.index, &err)
					   : priv_guest_leave(network->other, &guest, &err);
	}
	if (r == 0 && (state.has_bridge || state.tap_count > 0)) {
		r = priv_net_clear(network->other, &err);
		if (r == 0)
			log_warn("the VMs' network is another one than before: the earlier one is "
				 "removed");
	}
	if (r < 0)
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &err },
			  "cannot remove the VMs' earlier network, ignoring");
}

/* Of a VM that neither runs nor is half way to it nothing is left. */
static int settle_tap(struct network *network, struct network_tap *tap, const struct vm *vm,
		      struct err *err)
{
	const struct net_guest guest = { .index = tap->index, .vm_id = tap->vm_id };
	int r;

	const char *reason = network_tap_is_stray(vm);

	if (!reason) {
		tap->has_nat = vm->spec.nat;
		return 0;
	}
	log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = tap->vm_id },
		  "removing its TAP device: %s", reason);
	r = priv_guest_leave(network->net, &guest, err);
	if (r == 0)
		network_tap_drop(network, tap);
	return r;
}

/* Guests have the addresses of their TAPs, whatever the rows say. */
static int correct_addresses(struct network *network, const struct vm_list *vms,
			     bool *ret_corrected, struct err *err)
{
	AUTO_FREE struct store_address *wrong = NULL;
	AUTO_PRIV_NET_STATE state = { 0 };
	AUTO_STRV texts = { 0 };
	size_t count = 0;
	int r;

	r = priv_net_look(network->net, &state, err);
	if (r < 0)
		return r;
	wrong = network_wrong_addresses(network, &state, vms, &texts, &count);
	for (size_t i = 0; i < count; i++)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = wrong[i].vm_id },
			  "its row had a wrong address: %s is right",
			  wrong[i].ip ? wrong[i].ip : "none");
	*ret_corrected = count > 0;
	return count > 0 ? store_vm_set_addresses(network->store, wrong, count, err) : 0;
}

static int settle(struct network *network, const struct vm_list *vms, struct err *err)
{
	AUTO_VM_LIST corrected = { 0 };
	bool has_corrected = false;
	int r;

	r = correct_addresses(network, vms, &has_corrected, err);
	if (r == 0 && has_corrected) {
		r = store_vm_list(network->store, &corrected, err);
		vms = &corrected;
	}
	for (size_t i = network->tap_count; i-- > 0 && r == 0;) {
		struct network_tap *tap = &network->taps[i];

		if (tap->is_joined)
			r = settle_tap(network, tap, look_find_vm(vms, tap->vm_id), err);
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < vms->count && network->is_on; i++)
		network_expect(network, &vms->items[i]);
	if (has_guests(network)) {
		r = network_raise(network, err);
		network_mend(network);
		return r;
	}
	/* Raised by now when a VM was reconciled that has gone since. */
	if (!network->is_left && !network->is_up)
		return 0;
	network->is_left = false;
	network->is_up = false;
	network->tap_count = 0; /* idle ones, which go with the bridge */
	return priv_net_clear(network->net, err);
}

int network_settle(struct network *network, const struct vm_list *vms, struct err *err)
{
	int r;

	(void)pthread_mutex_lock(&network->lock);
	clear_other(network);
	r = network->net ? settle(network, vms, err) : 0;
	(void)pthread_mutex_unlock(&network->lock);
	return r;
}

bool network_has_bridge(struct network *network)
{
	bool has;

	(void)pthread_mutex_lock(&network->lock);
	has = network->is_up && !network->is_isolated;
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
	(void)pthread_mutex_unlock(&network->lock);
}
