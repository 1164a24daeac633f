#include <errno.h>
#include <fcntl.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "priv/net_private.h"

/* --- looking --- */

struct look {
	const struct net_direct *net;
	struct priv_net_state *state;
	int bridge;
	int *strays; /* owned: numbers of TAPs that are not the bridge's ports */
	size_t stray_count;
};

static void note_tap(struct look *look, const struct link *link, uint32_t index, const char *words)
{
	const char *vm_id = net_vm_of_words(words);
	struct priv_net_state *state = look->state;
	struct priv_tap *tap;

	state->taps = mem_grow(state->taps, state->tap_count + 1, sizeof(*state->taps));
	tap = &state->taps[state->tap_count++];
	*tap = (struct priv_tap){ .index = index };
	if (vm_id)
		(void)snprintf(tap->vm_id, sizeof(tap->vm_id), "%s", vm_id);
	if (look->bridge != 0 && link->master == look->bridge)
		return;
	look->strays = mem_grow(look->strays, look->stray_count + 1, sizeof(*look->strays));
	look->strays[look->stray_count++] = link->index;
}

static void note_link(void *context, const struct link *link)
{
	struct look *look = context;
	const char *words = net_owner_words(look->net, link->alias);
	uint32_t index;

	if (words && str_eq(link->kind, "tun") &&
	    net_tap_index(look->net->policy.bridge_name, link->name, &index))
		note_tap(look, link, index, words);
}

static int look_at_taps(struct net_direct *net, struct look *look, struct err *err)
{
	const int r = link_each(net->route, note_link, look);

	return r < 0 ? err_sys(err, r, "list network devices") : 0;
}

static int direct_look(struct priv_net *base, struct priv_net_state *ret, struct err *err)
{
	struct net_direct *net = net_direct_of(base);
	struct priv_net_state state = { 0 };
	struct look look = { .net = net, .state = &state };
	struct err foreign = ERR_INIT;
	struct link bridge;
	int r;

	(void)pthread_mutex_lock(&net->lock);
	/* Somebody else's bridge is none of ours. */
	state.has_bridge = net_find_bridge(net, &bridge, &foreign) == 1;
	state.has_rules = net_nft_is_there(net);
	r = look_at_taps(net, &look, err);
	(void)pthread_mutex_unlock(&net->lock);
	mem_free(look.strays);
	if (r < 0)
		priv_net_state_done(&state);
	else
		*ret = state;
	return r;
}

/* --- the bridge --- */

static int make_bridge(struct net_direct *net, struct link *ret, struct err *err)
{
	const char *name = net->policy.bridge_name;
	uint8_t mac[NET_MAC_SIZE];
	int r;

	net_bridge_mac(net, mac);
	r = link_make_bridge(net->route, name, mac);
	if (r < 0)
		return err_sys(err, r, "make the bridge '%s'", name);
	failpoint("net.bridge.made");
	r = net_find_bridge(net, ret, err);
	if (r == 0)
		return err_set(err, ERR_SYSTEM, "the bridge '%s' was removed at once", name);
	return r < 0 ? r : 0;
}

/* Guests learn nothing of the host's other addresses, and nothing forwards that is not asked to. */
static int configure_bridge(struct net_direct *net, const struct link *bridge, struct err *err)
{
	static const struct {
		const char *key;
		bool value;
	} settings[] = { { "arp_ignore", true },
			 { "accept_redirects", false },
			 { "send_redirects", false },
			 { "proxy_arp", false } };
	AUTO_FREE char *alias = mem_printf("banger %s", net->policy.tag);
	int r = 0;

	if (bridge->alias[0] == '\0')
		r = link_set_alias(net->route, bridge->index, alias);
	if (r == 0)
		r = link_add_address(net->route, bridge->index, &net->policy.subnet);
	if (r < 0)
		return err_sys(err, r, "configure the bridge '%s'", bridge->name);
	r = net_quieten(bridge->name, err);
	for (size_t i = 0; i < ARRAY_LEN(settings) && r == 0; i++) {
		r = net_setting_write("ipv4", bridge->name, settings[i].key, settings[i].value);
		if (r < 0)
			r = err_sys(err, r, "set %s of '%s'", settings[i].key, bridge->name);
	}
	if (r < 0)
		return r;
	r = link_set_up(net->route, bridge->index);
	return r < 0 ? err_sys(err, r, "bring up the bridge '%s'", bridge->name) : 0;
}

static int write_rules(struct net_direct *net, const struct link *bridge,
		       const struct net_guest *guests, size_t count, struct err *err)
{
	AUTO_BUF rules = BUF_INIT;
	AUTO_BUF listing = BUF_INIT;
	AUTO_STRV opened = { 0 };
	int r;

	if (net_nft_is_foreign(net))
		return err_set(
			err, ERR_EXISTS,
			"there are packet rules of the name of bridge '%s' that are not this "
			"bangerd's",
			bridge->name);
	net_forwarding_opened(bridge->alias, &opened);
	net_rules_make(&net->policy, guests, count, &opened, &rules);
	r = net_nft_run(net, rules.ptr, err);
	if (r < 0)
		err_hint(err, "the kernel must have nf_tables for bridges, NAT and numbers of "
			      "connections (nft_masq, nft_connlimit)");
	else
		r = net_nft_list(net, true, &listing, err);
	if (r < 0)
		return err_context(err, r, "make the rules of the bridge '%s'", bridge->name);
	mem_free(net->baseline);
	net->baseline = buf_detach(&listing);
	return 0;
}

static bool any_has_nat(const struct net_guest *guests, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (guests[i].has_nat)
			return true;
	}
	return false;
}

/* TAPs of a bridge that somebody has removed, or taken out of it. */
static int join_strays(struct net_direct *net, const struct link *bridge, struct err *err)
{
	CLEANUP(priv_net_state_done) struct priv_net_state state = { 0 };
	struct look look = { .net = net, .state = &state, .bridge = bridge->index };
	int r;

	r = look_at_taps(net, &look, err);
	for (size_t i = 0; i < look.stray_count && r == 0; i++) {
		r = link_join_bridge(net->route, look.strays[i], bridge->index);
		if (r == -ENODEV)
			r = 0; /* gone by now */
		if (r < 0)
			r = err_sys(err, r, "join a TAP device to '%s'", bridge->name);
	}
	mem_free(look.strays);
	return r;
}

static int add_stations(struct net_direct *net, const struct net_guest *guests, size_t count,
			struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		struct err foreign = ERR_INIT;
		const char *words;
		struct link tap;

		/* A VM whose TAP somebody has removed has no network until it is started again. */
		if (net_find_tap(net, guests[i].index, &tap, &words, &foreign) == 1)
			r = net_add_station(net, &guests[i], tap.index, err);
	}
	return r;
}

static int raise_locked(struct net_direct *net, const struct net_guest *guests, size_t count,
			struct err *err)
{
	struct link bridge;
	int r;

	r = net_find_bridge(net, &bridge, err);
	if (r < 0)
		return r;
	if (r == 0)
		r = make_bridge(net, &bridge, err);
	else
		r = 0;
	/* The rules before anything can pass. */
	if (r == 0)
		r = write_rules(net, &bridge, guests, count, err);
	if (r == 0)
		r = configure_bridge(net, &bridge, err);
	if (r == 0)
		r = join_strays(net, &bridge, err);
	if (r == 0)
		r = add_stations(net, guests, count, err);
	if (r == 0)
		r = net_forwarding_set(net, &bridge, any_has_nat(guests, count), err);
	return r;
}

static int direct_raise(struct priv_net *base, const struct net_guest *guests, size_t count,
			struct err *err)
{
	struct net_direct *net = net_direct_of(base);
	int r;

	(void)pthread_mutex_lock(&net->lock);
	r = raise_locked(net, guests, count, err);
	(void)pthread_mutex_unlock(&net->lock);
	return r;
}

static bool links_are_whole(struct net_direct *net, struct strv *ret_opened)
{
	CLEANUP(priv_net_state_done) struct priv_net_state state = { 0 };
	struct look look = { .net = net, .state = &state };
	struct err ignored = ERR_INIT;
	struct link bridge;
	bool is_whole;

	if (net_find_bridge(net, &bridge, &ignored) != 1 || (bridge.flags & IFF_UP) == 0)
		return false;
	look.bridge = bridge.index;
	is_whole = look_at_taps(net, &look, &ignored) == 0 && look.stray_count == 0;
	mem_free(look.strays);
	net_forwarding_opened(bridge.alias, ret_opened);
	return is_whole;
}

static bool rules_are_whole(struct net_direct *net, const struct net_guest *guests, size_t count,
			    size_t opened_count)
{
	struct err ignored = ERR_INIT;
	AUTO_BUF terse = BUF_INIT;
	AUTO_BUF full = BUF_INIT;

	return net->baseline && net_nft_list(net, true, &terse, &ignored) == 0 &&
	       str_eq(terse.ptr, net->baseline) && net_nft_list(net, false, &full, &ignored) == 0 &&
	       net_rules_have(&net->policy, guests, count, opened_count, full.ptr);
}

static bool direct_is_whole(struct priv_net *base, const struct net_guest *guests, size_t count)
{
	struct net_direct *net = net_direct_of(base);
	AUTO_STRV opened = { 0 };
	bool is_whole;

	(void)pthread_mutex_lock(&net->lock);
	is_whole =
		links_are_whole(net, &opened) && rules_are_whole(net, guests, count, opened.count);
	(void)pthread_mutex_unlock(&net->lock);
	return is_whole;
}

/* --- the host's addresses, in a namespace of our own --- */

int net_direct_set_host(struct priv_net *base, const struct net_range *ranges, size_t count,
			struct err *err)
{
	struct net_direct *net = net_direct_of(base);
	AUTO_BUF rules = BUF_INIT;
	AUTO_BUF listing = BUF_INIT;
	int r = 0;

	*err = ERR_INIT;
	(void)pthread_mutex_lock(&net->lock);
	mem_free(net->host);
	net->host = mem_alloc(count + 1, sizeof(*ranges));
	if (count > 0)
		memcpy(net->host, ranges, count * sizeof(*ranges));
	net->policy.host = net->host;
	net->policy.host_count = count;
	/* Rules that are not as we made them are made anew, and so are those that fail here. */
	if (net->baseline &&
	    (net_nft_list(net, true, &listing, err) < 0 || !str_eq(listing.ptr, net->baseline)))
		mem_free(TAKE_PTR(net->baseline));
	if (net->baseline) {
		buf_clear(&listing);
		net_rules_set_host(&net->policy, &rules);
		r = net_nft_run(net, rules.ptr, err);
		if (r == 0)
			r = net_nft_list(net, true, &listing, err);
		mem_free(net->baseline);
		net->baseline = r == 0 ? buf_detach(&listing) : NULL;
	}
	(void)pthread_mutex_unlock(&net->lock);
	return r;
}

/* --- its end --- */

static int remove_idle_taps(struct net_direct *net, struct err *err)
{
	CLEANUP(priv_net_state_done) struct priv_net_state state = { 0 };
	struct look look = { .net = net, .state = &state };
	int r;

	r = look_at_taps(net, &look, err);
	mem_free(look.strays);
	for (size_t i = 0; i < state.tap_count && r == 0; i++) {
		if (state.taps[i].vm_id[0] == '\0')
			r = net_remove_tap(net, state.taps[i].index, err);
	}
	return r;
}

static int clear_locked(struct net_direct *net, struct err *err)
{
	AUTO_BUF rules = BUF_INIT;
	struct link bridge;
	int is_there, r;

	r = remove_idle_taps(net, err);
	if (r < 0)
		return r;
	is_there = net_find_bridge(net, &bridge, err);
	if (is_there < 0 && err->kind != ERR_EXISTS)
		return is_there;
	*err = ERR_INIT; /* somebody else's is none of ours */
	/* What counts is done first; then come the rules, which may be gone. */
	if (is_there > 0 && net_forwarding_set(net, &bridge, false, err) < 0)
		*err = ERR_INIT;
	if (!net_nft_is_foreign(net))
		net_rules_remove(&net->policy, &rules);
	r = net_nft_run(net, rules.ptr, err);
	if (r < 0)
		return r;
	mem_free(TAKE_PTR(net->baseline));
	failpoint("net.rules.removed");
	r = is_there > 0 ? link_delete(net->route, bridge.index) : 0;
	return r < 0 && r != -ENODEV ? err_sys(err, r, "remove the bridge '%s'", bridge.name) : 0;
}

static int direct_clear(struct priv_net *base, struct err *err)
{
	struct net_direct *net = net_direct_of(base);
	int r;

	(void)pthread_mutex_lock(&net->lock);
	r = clear_locked(net, err);
	(void)pthread_mutex_unlock(&net->lock);
	return r;
}

static int direct_set_forwarding(struct priv_net *base, bool is_on, struct err *err)
{
	struct net_direct *net = net_direct_of(base);
	struct link bridge;
	int r;

	(void)pthread_mutex_lock(&net->lock);
	r = net_find_bridge(net, &bridge, err);
	if (r > 0)
		r = net_forwarding_set(net, &bridge, is_on, err);
	(void)pthread_mutex_unlock(&net->lock);
	return r;
}

/* --- as a backend --- */

static int direct_watch_fd(struct priv_net *base)
{
	return net_direct_of(base)->watch_fd;
}

static int direct_enter(struct priv_net *base, struct priv_net_spaces *ret, struct err *err)
{
	(void)base;
	(void)err;
	ret->count = 0;
	return 0;
}

static bool direct_way_out(struct priv_net *base, struct err *ret)
{
	(void)base;
	(void)ret;
	return true;
}

static void free_text(const char *text)
{
	mem_free((void *)(uintptr_t)text); // NOLINT(performance-no-int-to-ptr): ours, and owned
}

static void direct_close(struct priv_net *base)
{
	struct net_direct *net = net_direct_of(base);

	net_watch_close(net);
	if (net->route)
		nl_socket_free(net->route);
	if (net->nft)
		nft_ctx_free(net->nft);
	free_text(net->policy.tag);
	free_text(net->policy.bridge_name);
	mem_free(net->host);
	mem_free(net->baseline);
	strv_done(&net->opened);
	(void)pthread_mutex_destroy(&net->lock);
	mem_free(net);
}

static int direct_reattach(struct priv_net *base, uint32_t index, pid_t pid, struct err *err)
{
	AUTO_CLOSE int net_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (net_fd < 0)
		return err_sys(err, -errno, "open one's own network namespace");
	return net_reattach(net_direct_of(base)->policy.bridge_name, net_fd, index, pid, err);
}

static const struct net_backend direct_backend = {
	.close = direct_close,
	.look = direct_look,
	.traffic = net_direct_traffic,
	.census = net_direct_census,
	.raise = direct_raise,
	.is_whole = direct_is_whole,
	.clear = direct_clear,
	.tap_make = net_direct_tap_make,
	.tap_delete = net_direct_tap_delete,
	.join = net_direct_join,
	.leave = net_direct_leave,
	.set_nat = net_direct_set_nat,
	.set_forwarding = direct_set_forwarding,
	.tap_reattach = direct_reattach,
	.watch_fd = direct_watch_fd,
	.watch_read = net_direct_watch_read,
	.enter = direct_enter,
	.way_out = direct_way_out,
};

int net_direct_open(const char *tag, const struct priv_net_config *config, bool is_isolated,
		    struct priv_net **ret, struct err *err)
{
	struct net_direct *net = mem_alloc(1, sizeof(*net));
	CLEANUP(priv_net_closep) struct priv_net *base = &net->base;
	int r;

	*net = (struct net_direct){ .base.backend = &direct_backend,
				    .policy = { .tag = mem_strdup(tag),
						.bridge_name = mem_strdup(config->bridge_name),
						.subnet = config->subnet,
						.dns_port = config->dns_port,
						.is_isolated = is_isolated },
				    .lock = PTHREAD_MUTEX_INITIALIZER,
				    .route_watch_fd = -1,
				    .nft_watch_fd = -1,
				    .watch_fd = -1 };
	r = netlink_open(&net->route, err);
	if (r < 0)
		return r;
	net->nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!net->nft || nft_ctx_buffer_output(net->nft) != 0 ||
	    nft_ctx_buffer_error(net->nft) != 0)
		return err_sys(err, -ENOMEM, "prepare nftables");
	net_watch_open(net);
	*ret = TAKE_PTR(base);
	return 0;
}

int priv_net_open(const struct priv *priv, const struct priv_net_config *config,
		  struct priv_net **ret, struct err *err)
{
	return net_direct_open(priv_tag(priv), config, false, ret, err);
}
