#include "daemon/network.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "config/config.h"
#include "daemon/network_private.h"
#include "daemon/vm_table.h"
#include "priv/net_holder.h"
#include "store/store.h"

/* --- TAPs --- */

struct network_tap *network_tap_of_index(struct network *network, uint32_t index)
{
	for (size_t i = 0; i < network->tap_count; i++) {
		if (network->taps[i].index == index)
			return &network->taps[i];
	}
	return NULL;
}

static struct network_tap *tap_of_vm(struct network *network, const char *vm_id)
{
	for (size_t i = 0; i < network->tap_count; i++) {
		if (str_eq(network->taps[i].vm_id, vm_id))
			return &network->taps[i];
	}
	return NULL;
}

struct network_tap *network_tap_add(struct network *network, uint32_t index)
{
	struct network_tap *tap;

	network->taps = mem_grow(network->taps, network->tap_count + 1, sizeof(*network->taps));
	tap = &network->taps[network->tap_count++];
	*tap = (struct network_tap){ .index = index };
	return tap;
}

void network_tap_drop(struct network *network, struct network_tap *tap)
{
	const bool was_lost = tap->is_lost;

	*tap = network->taps[--network->tap_count];
	if (was_lost)
		network_note_lost(network);
}

size_t network_count_idle(const struct network *network)
{
	size_t count = 0;

	for (size_t i = 0; i < network->tap_count; i++)
		count += network->taps[i].vm_id[0] == '\0';
	return count;
}

struct net_guest *network_guests(const struct network *network, size_t *ret_count)
{
	struct net_guest *guests = mem_alloc(network->tap_count + 1, sizeof(*guests));
	size_t count = 0;

	for (size_t i = 0; i < network->tap_count; i++) {
		if (network->taps[i].is_joined)
			guests[count++] = (struct net_guest){ .index = network->taps[i].index,
							      .vm_id = network->taps[i].vm_id,
							      .has_nat = network->taps[i].has_nat };
	}
	*ret_count = count;
	return guests;
}

static bool any_has_nat(const struct network *network)
{
	for (size_t i = 0; i < network->tap_count; i++) {
		if (network->taps[i].is_joined && network->taps[i].has_nat)
			return true;
	}
	return false;
}

static void tell_change(const struct network *network)
{
	if (network->on_change)
		network->on_change(network->on_change_context);
}

int network_raise(struct network *network, struct err *err)
{
	AUTO_FREE struct net_guest *guests = NULL;
	size_t count;
	int r;

	guests = network_guests(network, &count);
	r = priv_net_raise(network->net, guests, count, err);
	/* What was up once stays the worker's to put right. */
	network->is_up |= r == 0;
	tell_change(network);
	return r;
}

/* Whether nobody answers for the network: said when that begins and when it ends. */
static bool note_silence(struct network *network)
{
	const bool is_silent = priv_net_silences(network->net) % 2 != 0;

	if (is_silent && !network->is_silent)
		log_error("the process of the VMs' network, " NET_HOLDER_NAME
			  ", does not answer: VMs go on, retrying");
	else if (!is_silent && network->is_silent)
		log_info("the process of the VMs' network answers again");
	network->is_silent = is_silent;
	return is_silent;
}

bool network_repair(struct network *network)
{
	AUTO_FREE struct net_guest *guests = NULL;
	struct err err = ERR_INIT;
	size_t count;
	int r = 0;

	(void)pthread_mutex_lock(&network->lock);
	r = network_take_over(network, &err);
	guests = network_guests(network, &count);
	if (network->is_up && !priv_net_is_whole(network->net, guests, count)) {
		r = priv_net_raise(network->net, guests, count, &err);
		tell_change(network);
		if (!note_silence(network))
			log_write(r < 0 ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN,
				  &(struct log_fields){ .err = r < 0 ? &err : NULL },
				  r < 0 ? "somebody has changed the VMs' network, and it cannot "
					  "be put right, retrying"
					: "somebody has changed the VMs' network: put right");
	} else if (network->is_up && any_has_nat(network)) {
		/* A way out that has come meanwhile. */
		r = priv_net_set_forwarding(network->net, true, &err);
		if (r < 0)
			log_write(LOG_LEVEL_WARN, &(struct log_fields){ .err = &err },
				  "cannot forward for VMs with NAT, retrying");
	}
	/* With a bridge to be ports of. */
	if (network->is_up && r >= 0)
		network_mend(network);
	if (!note_silence(network) && network->is_up)
		network_note_way_out(network);
	(void)pthread_mutex_unlock(&network->lock);
	return r >= 0;
}

void network_note_way_out(struct network *network)
{
	struct err why = ERR_INIT;
	const bool is_stuck = !priv_net_way_out(network->net, &why);

	if (is_stuck && !network->is_stuck)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .err = &why },
			  "VMs with NAT have no way out, retrying");
	else if (!is_stuck && network->is_stuck)
		log_info("VMs with NAT have a way out again");
	network->is_stuck = is_stuck;
}

void network_pass(struct network *network)
{
	if (!network->net)
		return;
	IGNORE_RESULT(network_repair(network)); /* the next pass tries again */
	network_wake(network);
}

/* --- addresses --- */

static uint32_t lowest_idle(const struct network *network)
{
	uint32_t lowest = 0;

	for (size_t i = 0; i < network->tap_count; i++) {
		const struct network_tap *tap = &network->taps[i];

		if (tap->vm_id[0] == '\0' && (lowest == 0 || tap->index < lowest))
			lowest = tap->index;
	}
	return lowest;
}

static bool is_in(uint32_t index, const uint32_t *indexes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (indexes[i] == index)
			return true;
	}
	return false;
}

static int choose_index(struct network *network, const char *vm_id, bool starts, uint32_t *ret,
			struct err *err)
{
	AUTO_FREE uint32_t *used = NULL;
	struct network_tap *tap;
	uint32_t index;
	size_t count;
	int r;

	r = store_vm_net_indexes(network->store, &used, &count, err);
	if (r < 0)
		return r;
	index = starts ? lowest_idle(network) : 0;
	if (index == 0 || !net_index_is_valid(&network->subnet, index) || is_in(index, used, count))
		index = net_index_first_free(&network->subnet, used, count);
	if (index == 0) {
		r = err_set(err, ERR_LIMIT, "all %u addresses of %s/%u are taken by VMs",
			    net_subnet_capacity(&network->subnet), network->config->bridge_ip,
			    network->subnet.prefix);
		err_hint(err, "delete VMs that are no longer needed, or set a smaller cidr");
		return r;
	}
	tap = network_tap_of_index(network, index);
	if (tap && tap->vm_id[0] == '\0' && starts)
		(void)snprintf(tap->vm_id, sizeof(tap->vm_id), "%s", vm_id);
	*ret = index;
	return 0;
}

int network_assign(struct network *network, struct vm *vm, bool starts, struct err *err)
{
	char text[NET_ADDRESS_TEXT_SIZE];
	int r = 0;

	if (!network->is_on)
		return 0;
	(void)pthread_mutex_lock(&network->lock);
	if (vm->net_index == 0)
		r = choose_index(network, vm->id, starts, &vm->net_index, err);
	(void)pthread_mutex_unlock(&network->lock);
	if (r < 0)
		return r;
	if (!net_index_is_valid(&network->subnet, vm->net_index)) {
		r = err_set(err, ERR_LIMIT, "'%s' has place %u, which %s/%u does not have",
			    vm->name, vm->net_index, network->config->bridge_ip,
			    network->subnet.prefix);
		err_hint(err, "make it as large again as it was when the VM was created");
		return r;
	}
	net_address_text(net_index_address(&network->subnet, vm->net_index), text);
	vm_set_text(&vm->ip, text);
	return 0;
}

json_t *network_identity(const struct network *network, const struct vm *vm)
{
	char mac_text[NET_MAC_TEXT_SIZE];
	uint8_t mac[NET_MAC_SIZE];
	json_t *object, *dns;

	if (!network->is_on || vm->net_index == 0)
		return json_null();
	object = json_new_object();
	dns = json_new_array();
	net_address_mac(net_index_address(&network->subnet, vm->net_index), mac);
	net_mac_text(mac, mac_text);
	json_put_str(object, "mac", mac_text);
	json_put_str(object, "address", vm->ip);
	json_put_u64(object, "prefix", network->subnet.prefix);
	/* Also without NAT: it can be switched on later. */
	json_put_str(object, "gateway", network->config->bridge_ip);
	/* What we refuse, resolvers ask the next one. */
	if (!network->is_isolated && config_dns_port_on_bridge(network->config) == 53)
		json_add(dns, json_new_str(network->config->bridge_ip));
	if (vm->spec.nat)
		json_add(dns, json_new_str(network->config->default_dns));
	json_put(object, "dns", dns);
	return object;
}

/* --- guests --- */

/* Somebody may have just removed the bridge, and the worker is not that fast: that is tried twice.
 */
static int make_tap(struct network *network, uint32_t index, struct err *err)
{
	struct err first = ERR_INIT;
	int r;

	r = priv_tap_make(network->net, index, geteuid(), &first);
	if (r == 0)
		return 0;
	r = network_raise(network, err);
	return r < 0 ? r : priv_tap_make(network->net, index, geteuid(), err);
}

/* The TAP of a VM's index, made now when it was not ready. */
static int take_tap(struct network *network, const struct vm *vm, struct network_tap **ret,
		    struct err *err)
{
	struct network_tap *tap = network_tap_of_index(network, vm->net_index);
	int r;

	if (tap && tap->vm_id[0] != '\0' && !str_eq(tap->vm_id, vm->id))
		return err_set(err, ERR_BUSY, "the TAP device of '%s' is in use by another VM",
			       vm->name);
	if (!tap) {
		r = make_tap(network, vm->net_index, err);
		if (r < 0)
			return r;
		tap = network_tap_add(network, vm->net_index);
	}
	(void)snprintf(tap->vm_id, sizeof(tap->vm_id), "%s", vm->id);
	tap->has_nat = vm->spec.nat;
	tap->is_taken = true;
	*ret = tap;
	return 0;
}

static int join(struct network *network, const struct network_tap *tap, struct err *err)
{
	const struct net_guest guest = { .index = tap->index,
					 .vm_id = tap->vm_id,
					 .has_nat = tap->has_nat };
	struct err first = ERR_INIT;
	struct err ignored = ERR_INIT;
	int r;

	r = priv_guest_join(network->net, &guest, &first);
	if (r < 0) {
		/* As with make_tap(): the tables may be gone, or a TAP that waited. */
		r = network_raise(network, err);
		if (r == 0 && first.kind == ERR_NOT_FOUND)
			IGNORE_RESULT(priv_tap_make(network->net, tap->index, geteuid(), &ignored));
		if (r == 0)
			r = priv_guest_join(network->net, &guest, err);
	}
	if (r == 0 && tap->has_nat)
		r = priv_net_set_forwarding(network->net, true, err);
	return r;
}

static int prepare(struct network *network, const struct vm *vm, struct err *err)
{
	struct network_tap *tap;
	int r = 0;

	if (network->is_ending)
		return err_set(err, ERR_CANCELLED, "bangerd ends");
	if (vm->spec.nat)
		r = network_check_nat(network, err);
	if (r == 0)
		r = network_take_over(network, err);
	if (r < 0)
		return r;
	if (!network->is_up)
		r = network_raise(network, err);
	if (r < 0)
		return r;
	if (priv_net_silences(network->net) != network->silences)
		network_mend(network); /* there may be more than we know of */
	failpoint("vm.start.bridge");
	r = take_tap(network, vm, &tap, err);
	if (r < 0)
		return r;
	failpoint("vm.start.tap");
	return 0;
}

int network_prepare(struct network *network, const struct vm *vm, struct network_device *ret,
		    struct err *err)
{
	uint8_t mac[NET_MAC_SIZE];
	int r;

	(void)pthread_mutex_lock(&network->lock);
	r = prepare(network, vm, err);
	(void)pthread_mutex_unlock(&network->lock);
	network_wake(network);
	if (r < 0)
		return err_context(err, r, "connect the VM to the network");
	net_tap_name(network->config->bridge_name, vm->net_index, ret->tap);
	net_address_mac(net_index_address(&network->subnet, vm->net_index), mac);
	net_mac_text(mac, ret->mac);
	return 0;
}

int network_join(struct network *network, const struct vm *vm, struct err *err)
{
	struct network_tap *tap;
	int r;

	(void)pthread_mutex_lock(&network->lock);
	tap = tap_of_vm(network, vm->id);
	if (tap) {
		tap->is_joined = true; /* whatever happens now, there is something to take back */
		tell_change(network);
		r = join(network, tap, err);
		if (r == 0)
			network_note_way_out(network);
	} else {
		r = err_set(err, ERR_NOT_FOUND, "its TAP device is gone");
	}
	(void)pthread_mutex_unlock(&network->lock);
	return r < 0 ? err_context(err, r, "connect the VM to the network") : 0;
}

/* Of one that was never connected: promised only, or opened by a VMM that has ended. */
static int give_back(struct network *network, struct network_tap *tap, struct err *err)
{
	int r = 0;

	tap->vm_id[0] = '\0';
	if (tap->is_taken) {
		/* What came through it is none of the next guest's. */
		r = priv_tap_delete(network->net, tap->index, err);
		network_tap_drop(network, tap);
	}
	return r;
}

static int detach(struct network *network, struct network_tap *tap, struct err *err)
{
	const struct net_guest guest = { .index = tap->index, .vm_id = tap->vm_id };
	const bool had_nat = tap->has_nat;
	int r;

	if (!tap->is_joined)
		return give_back(network, tap, err);
	r = priv_guest_leave(network->net, &guest, err);
	/* Of one that hangs it is taken back when it answers again: see network_mend(). */
	if (r < 0 && err->kind != ERR_TIMEOUT)
		return err_context(err, r, "disconnect the VM from the network");
	network_tap_drop(network, tap);
	if (r < 0) {
		*err = ERR_INIT;
		return 0;
	}
	if (network->is_up && had_nat && !any_has_nat(network))
		r = priv_net_set_forwarding(network->net, false, err);
	return r < 0 ? r : 0;
}

int network_enter(struct network *network, struct priv_net_spaces *ret, struct err *err)
{
	return priv_net_enter(network->net, ret, err);
}

bool network_has(struct network *network, const char *vm_id)
{
	const struct network_tap *tap;
	bool has;

	(void)pthread_mutex_lock(&network->lock);
	tap = tap_of_vm(network, vm_id);
	has = tap && tap->is_joined;
	(void)pthread_mutex_unlock(&network->lock);
	return has;
}

int network_detach(struct network *network, const char *vm_id, struct err *err)
{
	struct network_tap *tap;
	int r = 0;

	(void)pthread_mutex_lock(&network->lock);
	tap = tap_of_vm(network, vm_id);
	if (tap)
		r = detach(network, tap, err);
	(void)pthread_mutex_unlock(&network->lock);
	if (tap)
		network_wake(network);
	return r;
}

static int set_nat(struct network *network, struct network_tap *tap, bool has_nat, struct err *err)
{
	const struct net_guest guest = { .index = tap->index,
					 .vm_id = tap->vm_id,
					 .has_nat = has_nat };
	int r;

	tap->has_nat = has_nat;
	r = priv_guest_set_nat(network->net, &guest, err);
	if (r < 0)
		r = network_raise(network, err); /* from what the taps say now */
	if (r == 0)
		r = priv_net_set_forwarding(network->net, any_has_nat(network), err);
	if (r == 0)
		network_note_way_out(network);
	return r < 0 ? r : 0;
}

int network_set_nat(struct network *network, const char *vm_id, bool has_nat, struct err *err)
{
	struct network_tap *tap;
	int r = 0;

	(void)pthread_mutex_lock(&network->lock);
	/* One that runs may be connected, which is not known yet. */
	if (network->net && !network->is_adopted && vm_table_get(network->table, vm_id, NULL, NULL))
		r = network_take_over(network, err);
	tap = tap_of_vm(network, vm_id);
	if (r == 0 && tap && tap->is_joined)
		r = set_nat(network, tap, has_nat, err);
	(void)pthread_mutex_unlock(&network->lock);
	return r < 0 ? r : 0;
}
