/*
 * What is wrong with the network of VMs that run.
 *
 * TAPs that somebody has removed under them: their VMMs hold a descriptor without a device,
 * which QEMU reads without end. A new TAP is made and given to that descriptor; where that cannot
 * be, the VM has no network until it is started again, and that is said.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/network_private.h"
#include "daemon/sample.h"
#include "daemon/vm_table.h"
#include "priv/net_holder.h"

/* An attempt makes and removes a TAP, which is reason enough for the next look: less than a pass.
 */
#define PAUSE_NS (50 * NSEC_PER_SEC)

static bool has_index(const struct priv_net_state *state, uint32_t index)
{
	for (size_t i = 0; i < state->tap_count; i++) {
		if (state->taps[i].index == index)
			return true;
	}
	return false;
}

static bool is_there(const struct priv_net_state *state, const struct network_tap *tap)
{
	for (size_t i = 0; i < state->tap_count; i++) {
		if (state->taps[i].index == tap->index && str_eq(state->taps[i].vm_id, tap->vm_id))
			return true;
	}
	return false;
}

/* Gives it to whoever of the VM's processes has lost it. */
static int reattach(struct network *network, const struct network_tap *tap, struct err *err)
{
	pid_t pids[SAMPLE_PROCESSES_MAX];
	struct handles handles;
	size_t count;
	int r = -ENOENT;

	if (!vm_table_get(network->table, tap->vm_id, &handles, NULL))
		return err_set(err, ERR_NOT_FOUND, "it does not run");
	count = sample_processes(handles.pid, pids);
	for (size_t i = 0; i < count && r == -ENOENT; i++) {
		*err = ERR_INIT;
		r = priv_tap_reattach(network->net, tap->index, pids[i], err);
	}
	return r;
}

static int restore(struct network *network, const struct network_tap *tap, struct err *err)
{
	const struct net_guest guest = { .index = tap->index,
					 .vm_id = tap->vm_id,
					 .has_nat = tap->has_nat };
	struct err ignored = ERR_INIT;
	int r;

	r = priv_tap_make(network->net, tap->index, geteuid(), err);
	if (r < 0)
		return r;
	r = priv_guest_join(network->net, &guest, err);
	if (r == 0)
		r = reattach(network, tap, err);
	if (r < 0)
		IGNORE_RESULT(priv_tap_delete(network->net, tap->index, &ignored));
	return r;
}

/* One attempt a minute, said once. */
static void mend(struct network *network, struct network_tap *tap)
{
	const struct log_fields fields = { .vm = tap->vm_id };
	struct err err = ERR_INIT;

	if (tap->is_lost && clock_now_ns() < tap->mend_ns)
		return;
	tap->mend_ns = clock_now_ns() + PAUSE_NS;
	if (restore(network, tap, &err) == 0) {
		tap->is_lost = false;
		network_note_lost(network);
		log_write(LOG_LEVEL_WARN, &fields,
			  "somebody has removed its TAP device: made anew");
		return;
	}
	if (!tap->is_lost)
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .vm = tap->vm_id, .err = &err },
			  "somebody has removed its TAP device: it has no network until it is "
			  "restarted");
	tap->is_lost = true;
	network_note_lost(network);
}

/* A start would be promised one of those; the worker makes others. */
static void forget_idle(struct network *network, const struct priv_net_state *state)
{
	for (size_t i = network->tap_count; i-- > 0;) {
		struct network_tap *tap = &network->taps[i];

		if (tap->vm_id[0] != '\0' || has_index(state, tap->index))
			continue;
		network_tap_drop(network, tap);
		network_wake(network);
	}
}

/*
 * What a process that hung has done when nobody waited for it any more: a TAP that was asked for,
 * and that of a VM whose start has failed.
 */
static void take_in(struct network *network, const struct priv_net_state *state)
{
	for (size_t i = 0; i < state->tap_count; i++) {
		const struct priv_tap *found = &state->taps[i];
		const struct net_guest guest = { .index = found->index, .vm_id = found->vm_id };
		struct err ignored = ERR_INIT;

		if (network_tap_of_index(network, found->index))
			continue;
		if (found->vm_id[0] == '\0')
			(void)network_tap_add(network, found->index);
		else
			IGNORE_RESULT(priv_guest_leave(network->net, &guest, &ignored));
		network_wake(network);
	}
}

void network_mend(struct network *network)
{
	AUTO_PRIV_NET_STATE state = { 0 };
	struct err err = ERR_INIT;

	if (priv_net_look(network->net, &state, &err) < 0)
		return; /* the rules cannot be looked at either, and that is said */
	network->silences = priv_net_silences(network->net);
	forget_idle(network, &state);
	take_in(network, &state);
	for (size_t i = 0; i < network->tap_count; i++) {
		struct network_tap *tap = &network->taps[i];

		/* One that does not run yet, or no more, is about to have one or to lose it. */
		if (tap->is_joined && !is_there(&state, tap) &&
		    vm_table_get(network->table, tap->vm_id, NULL, NULL))
			mend(network, tap);
	}
}

void network_expect(struct network *network, const struct vm *vm)
{
	struct network_tap *tap = network_tap_of_index(network, vm->net_index);
	struct handles handles;

	if (tap || vm->net_index == 0 || !vm_table_get(network->table, vm->id, &handles, NULL) ||
	    !handles.has_network)
		return;
	tap = network_tap_add(network, vm->net_index);
	(void)snprintf(tap->vm_id, sizeof(tap->vm_id), "%s", vm->id);
	tap->has_nat = vm->spec.nat;
	tap->is_joined = true;
}

/* --- trouble --- */

void network_note_lost(struct network *network)
{
	AUTO_STRV lost = { 0 };
	struct strv before;

	for (size_t i = 0; i < network->tap_count; i++) {
		if (network->taps[i].is_lost)
			strv_add(&lost, network->taps[i].vm_id);
	}
	(void)pthread_mutex_lock(&network->lost_lock);
	before = network->lost;
	network->lost = lost;
	(void)pthread_mutex_unlock(&network->lost_lock);
	lost = before;
	atomic_fetch_add(&network->changes, 1);
}

void network_set_settled(struct network *network, bool is_settled)
{
	atomic_store(&network->is_settled, is_settled);
	atomic_fetch_add(&network->changes, 1);
}

bool network_answers(const struct network *network)
{
	return !network->net ||
	       (atomic_load(&network->is_settled) && priv_net_silences(network->net) % 2 == 0);
}

uint64_t network_changes(const struct network *network)
{
	/* Both only grow. */
	return atomic_load(&network->changes) +
	       (network->net ? priv_net_silences(network->net) : 0);
}

static bool has_lost(struct network *network, const char *vm_id)
{
	bool has;

	(void)pthread_mutex_lock(&network->lost_lock);
	has = strv_has(&network->lost, vm_id);
	(void)pthread_mutex_unlock(&network->lost_lock);
	return has;
}

/* The rules are those of its present address, and the guest has another. */
static bool has_moved(struct network *network, const struct vm *vm)
{
	struct handles handles;

	return network->is_on && vm_table_get(network->table, vm->id, &handles, NULL) &&
	       handles.address[0] != '\0' && !str_empty(vm->ip) && !str_eq(handles.address, vm->ip);
}

static bool is_connected(struct network *network, const struct vm *vm)
{
	struct handles handles;

	return vm_table_get(network->table, vm->id, &handles, NULL) && handles.has_network;
}

const char *network_trouble(struct network *network, const struct vm *vm)
{
	if (!vm_state_is_alive(vm->state))
		return NULL;
	if (has_lost(network, vm->id))
		return "somebody has removed its TAP device: it has no network until it is "
		       "restarted";
	if (has_moved(network, vm))
		return "bridge_ip or cidr has changed since it was started: it has no network "
		       "until it is restarted";
	if (!network_answers(network) && is_connected(network, vm))
		return priv_net_silences(network->net) % 2 != 0
			       ? "the process of its network, " NET_HOLDER_NAME
				 ", does not answer: it is as it was, and cannot be changed"
			       : "bangerd could not take over its network yet, and tries again";
	return NULL;
}
