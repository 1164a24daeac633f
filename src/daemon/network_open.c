/* Which network VMs get: the host's own, one of banger's own, or none. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "config/config.h"
#include "daemon/network_private.h"

/* Why the host's own network cannot be had; NULL when it can. */
static const char *why_not_host(void)
{
	if (!priv_net_may())
		return "bangerd may not change this host's network (CAP_NET_ADMIN is missing)";
	return access("/dev/net/tun", R_OK | W_OK) < 0 ? "'/dev/net/tun' cannot be used here"
						       : NULL;
}

static bool is_hosts_address(const struct net_subnet *subnet)
{
	return net_index_is_valid(&(struct net_subnet){ .bridge = 0, .prefix = subnet->prefix },
				  subnet->bridge & ~net_subnet_mask(subnet));
}

static int decide_isolated(struct network *network, const struct priv *priv, const char *no_host,
			   struct err *err)
{
	int r = priv_net_check_isolated(priv, err);

	network->is_isolated = r == 0;
	if (r < 0 && no_host)
		r = err_context(err, r, "%s; an isolated one", no_host);
	return r;
}

/* Tries what the configuration allows: the host's own, then one of banger's own. */
static int decide(struct network *network, const struct priv *priv, struct err *err)
{
	const enum config_network wanted = network->config->network;
	const char *no_host = wanted == CONFIG_NETWORK_ISOLATED ? NULL : why_not_host();

	if (wanted == CONFIG_NETWORK_NONE)
		return err_set(err, ERR_UNSUPPORTED, "network = \"none\" in the configuration");
	if (!is_hosts_address(&network->subnet))
		return err_set(err, ERR_INVALID, "bridge_ip is no host's address in its network");
	if (wanted == CONFIG_NETWORK_ISOLATED || (wanted == CONFIG_NETWORK_AUTO && no_host))
		return decide_isolated(network, priv, no_host, err);
	return no_host ? err_set(err, ERR_UNSUPPORTED, "%s", no_host) : 0;
}

/* Also where VMs get none: an earlier daemon may have left something, there or elsewhere. */
static int open_nets(struct network *network, const struct priv *priv, const char *runtime_dir,
		     struct err *err)
{
	const struct config *config = network->config;
	const struct priv_net_config settings = {
		.bridge_name = config->bridge_name,
		.subnet = network->subnet,
		.dns_port = network->is_isolated ? 0 : config_dns_port_on_bridge(config),
	};
	struct priv_net **host = network->is_isolated ? &network->other : &network->net;
	struct priv_net **isolated = network->is_isolated ? &network->net : &network->other;
	int r;

	r = priv_net_open_isolated(priv, &settings, runtime_dir, isolated, err);
	if (r == 0 && priv_net_may())
		r = priv_net_open(priv, &settings, host, err);
	return r;
}

int network_open(const struct network_parts *parts, struct network **ret, struct err *err)
{
	const struct config *config = parts->config;
	struct network *network = mem_alloc(1, sizeof(*network));
	int r;

	*network = (struct network){ .config = config,
				     .store = parts->store,
				     .table = parts->table,
				     .subnet = { .bridge = config->bridge_address,
						 .prefix = (uint32_t)config->cidr },
				     .stop = CANCEL_INIT,
				     .wake = CANCEL_INIT,
				     .lost_lock = PTHREAD_MUTEX_INITIALIZER,
				     .lock = PTHREAD_MUTEX_INITIALIZER };
	network->is_on = decide(network, parts->priv, &network->absence) == 0;
	r = cancel_init(&network->stop);
	if (r == 0)
		r = cancel_init(&network->wake);
	if (r < 0)
		r = err_sys(err, r, "prepare the network");
	if (r == 0)
		r = open_nets(network, parts->priv, parts->runtime_dir, err);
	if (r < 0)
		network_close(network);
	else
		*ret = network;
	return r;
}

void network_close(struct network *network)
{
	if (!network)
		return;
	priv_net_close(network->net);
	priv_net_close(network->other);
	cancel_done(&network->stop);
	cancel_done(&network->wake);
	(void)pthread_mutex_destroy(&network->lock);
	(void)pthread_mutex_destroy(&network->lost_lock);
	strv_done(&network->lost);
	mem_free(network->taps);
	mem_free(network);
}

bool network_is_on(const struct network *network)
{
	return network->is_on;
}

const struct err *network_absence(const struct network *network)
{
	return &network->absence;
}

void network_describe(const struct network *network, struct buf *out)
{
	const struct config *config = network->config;

	buf_addf(out, "%s: bridge '%s', %s/%u",
		 network->is_isolated ? "in a namespace of banger's own"
				      : "in the host's own network",
		 config->bridge_name, config->bridge_ip, network->subnet.prefix);
}

bool network_is_isolated(const struct network *network)
{
	return network->is_isolated;
}

int network_check_nat(const struct network *network, struct err *err)
{
	if (network->is_on)
		return network->is_isolated ? priv_net_check_way_out(err) : 0;
	*err = network->absence;
	err->kind = ERR_UNSUPPORTED;
	return err_context(err, -EOPNOTSUPP, "VMs have no network here, so no NAT");
}
