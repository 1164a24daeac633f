#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "priv/net_private.h"

const char *net_owner_words(const struct net_direct *net, const char *alias)
{
	AUTO_FREE char *mark = mem_printf("banger %s", net->policy.tag);
	const size_t len = strlen(mark);

	if (!str_starts(alias, mark) || (alias[len] != '\0' && alias[len] != ' '))
		return NULL;
	return alias + len;
}

const char *net_vm_of_words(const char *words)
{
	static const char vm_mark[] = " vm ";

	return str_starts(words, vm_mark) && name_is_vm_id(words + strlen(vm_mark))
		       ? words + strlen(vm_mark)
		       : NULL;
}

void net_bridge_mac(const struct net_direct *net, uint8_t ret[static NET_MAC_SIZE])
{
	net_address_mac(net->policy.subnet.bridge, ret);
}

/*
 * A bridge without an alias, but with the MAC that we give ours: we were killed before it had one,
 * as the kernel takes no alias with a new link.
 */
static bool is_our_bridge(const struct net_direct *net, const struct link *link)
{
	uint8_t mac[NET_MAC_SIZE];

	net_bridge_mac(net, mac);
	return str_eq(link->kind, "bridge") &&
	       (net_owner_words(net, link->alias) ||
		(link->alias[0] == '\0' && memcmp(link->mac, mac, NET_MAC_SIZE) == 0));
}

int net_find_bridge(struct net_direct *net, struct link *ret, struct err *err)
{
	const char *name = net->policy.bridge_name;
	int r;

	r = link_find(net->route, name, ret);
	if (r == -ENODEV)
		return 0;
	if (r < 0)
		return err_sys(err, r, "look for the bridge '%s'", name);
	if (is_our_bridge(net, ret))
		return 1;
	r = err_set(err, ERR_EXISTS, "there is a network device '%s' that is not this bangerd's",
		    name);
	err_hint(err, "set bridge_name and bridge_ip in the configuration to a name and a network "
		      "that are free");
	return r;
}

int net_find_tap(struct net_direct *net, uint32_t index, struct link *ret, const char **ret_words,
		 struct err *err)
{
	char name[NET_NAME_SIZE];
	int r;

	net_tap_name(net->policy.bridge_name, index, name);
	r = link_find(net->route, name, ret);
	if (r == -ENODEV)
		return 0;
	if (r < 0)
		return err_sys(err, r, "look for the TAP device '%s'", name);
	*ret_words = net_owner_words(net, ret->alias);
	if (*ret_words && str_eq(ret->kind, "tun"))
		return 1;
	return err_set(err, ERR_EXISTS, "there is a network device '%s' that is not this bangerd's",
		       name);
}
