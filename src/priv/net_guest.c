/* TAPs and the guests behind them. */
#include <errno.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "priv/net_private.h"

int net_quieten(const char *name, struct err *err)
{
	const int r = net_setting_write("ipv6", name, "disable_ipv6", true);

	return r < 0 && r != -ENOENT ? err_sys(err, r, "switch IPv6 off for '%s'", name) : 0;
}

/* --- TAPs --- */

/* Everything that it needs before it may outlive us: then it has a mark to be found by. */
static int furnish(struct net_direct *net, const char *name, struct err *err)
{
	AUTO_FREE char *alias = mem_printf("banger %s idle", net->policy.tag);
	struct link bridge, tap;
	int r;

	r = net_find_bridge(net, &bridge, err);
	if (r == 0)
		return err_set(err, ERR_BAD_STATE, "the bridge '%s' is gone",
			       net->policy.bridge_name);
	if (r < 0)
		return r;
	r = net_quieten(name, err);
	if (r < 0)
		return r;
	r = link_find(net->route, name, &tap);
	if (r == 0)
		r = link_set_alias(net->route, tap.index, alias);
	if (r == 0)
		r = link_join_bridge(net->route, tap.index, bridge.index);
	return r < 0 ? err_sys(err, r, "join the TAP device '%s' to '%s'", name, bridge.name) : 0;
}

static int make_tap(struct net_direct *net, uint32_t index, uid_t owner, struct err *err)
{
	char name[NET_NAME_SIZE];
	AUTO_CLOSE int fd = -1;
	int r;

	net_tap_name(net->policy.bridge_name, index, name);
	fd = net_tap_open(name, owner, err);
	if (fd < 0)
		return fd;
	r = furnish(net, name, err);
	failpoint("net.tap.furnished");
	return r < 0 ? r : net_tap_keep(fd, err);
}

int net_direct_tap_make(struct priv_net *base, uint32_t index, uid_t owner, struct err *err)
{
	struct net_direct *net = net_direct_of(base);
	int r;

	(void)pthread_mutex_lock(&net->lock);
	r = make_tap(net, index, owner, err);
	(void)pthread_mutex_unlock(&net->lock);
	return r;
}

int net_remove_tap(struct net_direct *net, uint32_t index, struct err *err)
{
	const char *words;
	struct link tap;
	int r;

	r = net_find_tap(net, index, &tap, &words, err);
	if (r <= 0)
		return r;
	r = link_delete(net->route, tap.index);
	return r < 0 && r != -ENODEV ? err_sys(err, r, "remove the TAP device '%s'", tap.name) : 0;
}

int net_direct_tap_delete(struct priv_net *base, uint32_t index, struct err *err)
{
	struct net_direct *net = net_direct_of(base);
	int r;

	(void)pthread_mutex_lock(&net->lock);
	r = net_remove_tap(net, index, err);
	(void)pthread_mutex_unlock(&net->lock);
	return r;
}

/* --- guests --- */

int net_add_station(struct net_direct *net, const struct net_guest *guest, int tap, struct err *err)
{
	uint8_t mac[NET_MAC_SIZE];
	int r;

	net_address_mac(net_index_address(&net->policy.subnet, guest->index), mac);
	r = link_add_station(net->route, tap, mac);
	return r < 0 ? err_sys(err, r, "tell the bridge where the VM is") : 0;
}

static int join(struct net_direct *net, const struct net_guest *guest, struct err *err)
{
	AUTO_FREE char *alias = mem_printf("banger %s vm %s", net->policy.tag, guest->vm_id);
	AUTO_BUF rules = BUF_INIT;
	const char *words;
	struct link tap;
	int r;

	r = net_find_tap(net, guest->index, &tap, &words, err);
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "the VM's TAP device is gone");
	if (r < 0)
		return r;
	/* Its own: a VM whose joining was cut short. */
	if (!str_eq(words, " idle") &&
	    !(str_starts(words, " vm ") && str_eq(words + strlen(" vm "), guest->vm_id)))
		return err_set(err, ERR_BUSY, "the TAP device '%s' is another VM's", tap.name);
	r = link_set_alias(net->route, tap.index, alias);
	if (r < 0)
		return err_sys(err, r, "mark the TAP device '%s'", tap.name);
	failpoint("net.guest.marked");
	r = net_add_station(net, guest, tap.index, err);
	if (r < 0)
		return r;
	net_rules_add_guest(&net->policy, guest, &rules);
	r = net_nft_run(net, rules.ptr, err);
	if (r < 0)
		return err_context(err, r, "let the VM's packets pass");
	failpoint("net.guest.rules");
	r = link_set_up(net->route, tap.index);
	return r < 0 ? err_sys(err, r, "bring up the TAP device '%s'", tap.name) : 0;
}

static int leave(struct net_direct *net, const struct net_guest *guest, struct err *err)
{
	AUTO_BUF rules = BUF_INIT;
	struct err rules_err = ERR_INIT;
	int r;

	net_rules_remove_guest(&net->policy, guest, &rules);
	/* Of tables that somebody has removed nothing is left to take back. */
	if (net->baseline && net_nft_run(net, rules.ptr, &rules_err) < 0)
		mem_free(TAKE_PTR(net->baseline));
	failpoint("net.guest.left");
	r = net_remove_tap(net, guest->index, err);
	if (r >= 0 || err->kind != ERR_EXISTS)
		return r < 0 ? r : 0;
	*err = ERR_INIT; /* ours is gone, and somebody else has its name */
	return 0;
}

static int set_nat(struct net_direct *net, const struct net_guest *guest, struct err *err)
{
	AUTO_BUF rules = BUF_INIT;

	net_rules_set_nat(&net->policy, guest, &rules);
	return net_nft_run(net, rules.ptr, err);
}

typedef int change_guest(struct net_direct *net, const struct net_guest *guest, struct err *err);

static int change(struct priv_net *base, change_guest *how, const struct net_guest *guest,
		  struct err *err)
{
	struct net_direct *net = net_direct_of(base);
	int r;

	r = priv_check_id(guest->vm_id, err);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&net->lock);
	r = how(net, guest, err);
	(void)pthread_mutex_unlock(&net->lock);
	return r;
}

int net_direct_join(struct priv_net *base, const struct net_guest *guest, struct err *err)
{
	return change(base, join, guest, err);
}

int net_direct_leave(struct priv_net *base, const struct net_guest *guest, struct err *err)
{
	return change(base, leave, guest, err);
}

int net_direct_set_nat(struct priv_net *base, const struct net_guest *guest, struct err *err)
{
	return change(base, set_nat, guest, err);
}
