/*
 * What an earlier daemon has left is taken over: the TAPs that there are, before VMs are looked at,
 * and afterwards bridge and rules for those that run. Where that cannot be had at the start (the
 * isolated network's process hangs, say) the daemon serves all the same, and the worker tries
 * again; until then no VM is connected, since the rules would be made without those that are not
 * known.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "config/config.h"
#include "daemon/look.h"
#include "daemon/network_private.h"
#include "daemon/vm_table.h"
#include "store/store.h"

bool network_has_guests(const struct network *network)
{
	for (size_t i = 0; i < network->tap_count; i++) {
		if (network->taps[i].is_joined)
			return true;
	}
	return false;
}

/* --- TAPs --- */

static int adopt(struct network *network, struct err *err)
{
	AUTO_PRIV_NET_STATE state = { 0 };
	int r;

	r = priv_net_look(network->net, &state, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < state.tap_count; i++) {
		struct network_tap *tap = network_tap_add(network, state.taps[i].index);

		(void)snprintf(tap->vm_id, sizeof(tap->vm_id), "%s", state.taps[i].vm_id);
		tap->is_joined = tap->vm_id[0] != '\0';
	}
	network->is_left = state.has_bridge || state.has_rules || state.tap_count > 0;
	network->is_adopted = true;
	return 0;
}

void network_adopt(struct network *network)
{
	struct err err = ERR_INIT;
	int r;

	if (!network->net)
		return;
	(void)pthread_mutex_lock(&network->lock);
	r = adopt(network, &err);
	(void)pthread_mutex_unlock(&network->lock);
	if (r < 0)
		log_write(LOG_LEVEL_ERROR, &(struct log_fields){ .err = &err },
			  "cannot look at the VMs' network, retrying");
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
	const char *reason = network_tap_is_stray(vm);
	int r;

	/* One that is about to end has looked for it already, and one that starts comes later. */
	if (!reason && network->is_late && vm->intent != VM_INTENT_NONE &&
	    !vm_table_get(network->table, vm->id, NULL, NULL))
		reason = "its VM was stopped while it was not known";
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
	if (network_has_guests(network)) {
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
	int r = 0;

	(void)pthread_mutex_lock(&network->lock);
	clear_other(network);
	if (network->net && network->is_adopted)
		r = settle(network, vms, err);
	network_set_settled(network, r == 0 && (!network->net || network->is_adopted));
	network->is_late = true;
	(void)pthread_mutex_unlock(&network->lock);
	return r;
}

int network_take_over(struct network *network, struct err *err)
{
	AUTO_VM_LIST vms = { 0 };
	int r = 0;

	if (network->is_settled)
		return 0;
	if (!network->is_adopted)
		r = adopt(network, err);
	if (r == 0)
		r = store_vm_list(network->store, &vms, err);
	if (r == 0)
		r = settle(network, &vms, err);
	if (r < 0)
		return r;
	network_set_settled(network, true);
	log_info("the VMs' network is taken over");
	return 0;
}
