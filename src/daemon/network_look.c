/* What rows and the kernel's devices say of one another. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "config/config.h"
#include "daemon/look.h"
#include "daemon/network_private.h"
#include "daemon/plan.h"
#include "store/store.h"

const char *network_tap_is_stray(const struct vm *vm)
{
	if (!vm)
		return "there is no such VM";
	/* Of a VM that neither runs nor is half way to it nothing is left. */
	return vm_state_is_alive(vm->state) || vm->intent != VM_INTENT_NONE ? NULL
									    : "its VM does not run";
}

static const struct priv_tap *tap_of(const struct priv_net_state *state, const char *vm_id)
{
	for (size_t i = 0; i < state->tap_count; i++) {
		if (str_eq(state->taps[i].vm_id, vm_id))
			return &state->taps[i];
	}
	return NULL;
}

/* --- addresses --- */

/* The place that a VM must have by what there is. */
static uint32_t right_index(const struct priv_net_state *state, const struct vm_list *vms,
			    const struct vm *vm)
{
	const struct priv_tap *own = vm_state_is_alive(vm->state) ? tap_of(state, vm->id) : NULL;

	if (own)
		return own->index;
	for (size_t i = 0; i < state->tap_count; i++) {
		const struct vm *owner = look_find_vm(vms, state->taps[i].vm_id);

		if (state->taps[i].index == vm->net_index && owner && owner != vm &&
		    vm_state_is_alive(owner->state))
			return 0; /* it is given another when it is started */
	}
	return vm->net_index;
}

struct store_address *network_wrong_addresses(const struct network *network,
					      const struct priv_net_state *state,
					      const struct vm_list *vms, struct strv *texts,
					      size_t *ret_count)
{
	struct store_address *wrong = mem_alloc(vms->count + 1, sizeof(*wrong));
	size_t count = 0;

	for (size_t i = 0; i < vms->count && network->is_on; i++) {
		const struct vm *vm = &vms->items[i];
		const uint32_t index = right_index(state, vms, vm);
		char text[NET_ADDRESS_TEXT_SIZE];
		const char *ip = NULL;

		/* A place that the network has no more is for the next start to complain of. */
		if (index != 0 && !net_index_is_valid(&network->subnet, index))
			continue;
		if (index != 0) {
			net_address_text(net_index_address(&network->subnet, index), text);
			ip = text;
		}
		if (index == vm->net_index && (str_eq(ip, vm->ip) || (!ip && !vm->ip)))
			continue;
		if (ip)
			strv_add(texts, ip);
		wrong[count++] = (struct store_address){
			.vm_id = vm->id,
			.net_index = index,
			.ip = ip ? texts->items[texts->count - 1] : NULL,
		};
	}
	*ret_count = count;
	return wrong;
}

/* --- the plan --- */

static void add_addresses(const struct network *network, const struct priv_net_state *state,
			  const struct vm_list *vms, struct plan *plan)
{
	AUTO_FREE struct store_address *wrong = NULL;
	AUTO_STRV texts = { 0 };
	size_t count;

	wrong = network_wrong_addresses(network, state, vms, &texts, &count);
	for (size_t i = 0; i < count; i++)
		plan_add_vm(plan, PLAN_SET_ADDRESS, look_find_vm(vms, wrong[i].vm_id),
			    wrong[i].ip ? wrong[i].ip : "no address",
			    wrong[i].ip ? "its row has another"
					: "its row has one that another VM uses");
}

static void add_tap(const struct network *network, const struct priv_tap *tap,
		    const struct vm_list *vms, struct plan *plan)
{
	const struct vm *vm = look_find_vm(vms, tap->vm_id);
	const char *reason = network_tap_is_stray(vm);
	char name[NET_NAME_SIZE];

	if (!reason)
		return;
	net_tap_name(network->config->bridge_name, tap->index, name);
	if (vm)
		plan_add_vm(plan, PLAN_REMOVE, vm, name, reason);
	else
		plan_add(plan, PLAN_REMOVE, tap->vm_id, name, reason);
}

static bool cannot_mend(const struct network *network, const struct vm *vm)
{
	for (size_t i = 0; i < network->tap_count; i++) {
		if (network->taps[i].is_lost && str_eq(network->taps[i].vm_id, vm->id))
			return true;
	}
	return false;
}

/* A TAP that somebody has removed under a VM that runs. */
static void add_lost(const struct network *network, const struct vm *vm, struct plan *plan)
{
	char name[NET_NAME_SIZE];

	net_tap_name(network->config->bridge_name, vm->net_index, name);
	if (cannot_mend(network, vm))
		plan_add_vm(plan, PLAN_LEAVE, vm, name,
			    "somebody has removed it, and the VM cannot be given another: it has "
			    "no network until it is started again");
	else
		plan_add_vm(plan, PLAN_RESTORE, vm, name, "somebody has removed it");
}

static size_t add_guests(const struct network *network, const struct priv_net_state *state,
			 const struct vm_list *vms, const struct strv *connected, bool is_start,
			 struct plan *plan)
{
	size_t guests = 0;

	for (size_t i = 0; i < vms->count; i++) {
		const struct vm *vm = &vms->items[i];

		if (!vm_state_is_alive(vm->state))
			continue;
		if (tap_of(state, vm->id)) {
			guests++;
		} else if (network->is_on && vm->net_index != 0 && strv_has(connected, vm->id)) {
			guests++;
			add_lost(network, vm, plan);
		}
	}
	/* A daemon that runs knows its own, and nobody else makes any. */
	for (size_t i = 0; i < state->tap_count && is_start; i++) {
		if (state->taps[i].vm_id[0] != '\0')
			add_tap(network, &state->taps[i], vms, plan);
	}
	return guests;
}

static void add_bridge(struct network *network, const struct priv_net_state *state, size_t guests,
		       bool is_start, struct plan *plan)
{
	AUTO_FREE struct net_guest *known = NULL;
	size_t count;

	if (is_start && guests > 0) {
		plan_add(plan, PLAN_RESTORE, NULL, network->config->bridge_name,
			 "a daemon that starts makes bridge and rules anew");
	} else if (is_start && (state->has_bridge || state->has_rules || state->tap_count > 0)) {
		plan_add(plan, PLAN_REMOVE, NULL, network->config->bridge_name,
			 "bridge, rules and idle TAP devices are for VMs that run");
	} else if (!is_start && network->is_up) {
		known = network_guests(network, &count);
		if (!priv_net_is_whole(network->net, known, count))
			plan_add(plan, PLAN_RESTORE, NULL, network->config->bridge_name,
				 "somebody has changed rules or links");
	}
}

int network_look(struct network *network, const struct vm_list *vms, const struct strv *connected,
		 bool is_start, struct plan *plan, struct err *err)
{
	AUTO_PRIV_NET_STATE state = { 0 };
	int r;

	if (!network->net)
		return 0;
	(void)pthread_mutex_lock(&network->lock);
	r = priv_net_look(network->net, &state, err);
	if (r == 0) {
		assert(state.taps || state.tap_count == 0);
		if (is_start)
			add_addresses(network, &state, vms, plan);
		add_bridge(network, &state,
			   add_guests(network, &state, vms, connected, is_start, plan), is_start,
			   plan);
	}
	(void)pthread_mutex_unlock(&network->lock);
	return r;
}

int network_census(struct network *network,
		   void (*visit)(void *context, const char *kind, const char *name, bool is_ours,
				 const char *vm_id),
		   void *context, struct err *err)
{
	return network->net ? priv_net_census(network->net, visit, context, err) : 0;
}
