#include "priv/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <netlink/attr.h>
#include <netlink/errno.h>

/*
 * What is for the switch itself (LLDP and the like) would pass our rules by, and go to whoever
 * listens on the host. "Forwarded" it goes through them. The three lowest addresses cannot be.
 */
#define GROUP_FORWARD_MASK 0xfff8U
#define DUMP_ATTEMPTS	   5 /* a list that changes while it is read is read again */

int netlink_open(struct nl_sock **ret, struct err *err)
{
	struct nl_sock *sock = nl_socket_alloc();
	int r;

	if (!sock)
		return err_sys(err, -ENOMEM, "open a netlink socket");
	r = nl_connect(sock, NETLINK_ROUTE);
	if (r < 0) {
		nl_socket_free(sock);
		return err_set(err, ERR_SYSTEM, "open a netlink socket: %s", nl_geterror(r));
	}
	*ret = sock;
	return 0;
}

/* --- asking --- */

struct exchange {
	void (*visit)(void *context, struct nlmsghdr *header);
	void *context;
	int result;
	bool is_over;
	bool is_torn; /* what was listed changed meanwhile */
};

static int on_valid(struct nl_msg *msg, void *context)
{
	struct exchange *exchange = context;

	if (exchange->visit)
		exchange->visit(exchange->context, nlmsg_hdr(msg));
	return NL_OK;
}

static int on_end(struct nl_msg *msg, void *context)
{
	struct exchange *exchange = context;

	(void)msg;
	exchange->is_over = true;
	return NL_STOP;
}

static int on_torn(struct nl_msg *msg, void *context)
{
	struct exchange *exchange = context;

	(void)msg;
	exchange->is_torn = true;
	return NL_OK;
}

static int on_error(struct sockaddr_nl *address, struct nlmsgerr *error, void *context)
{
	struct exchange *exchange = context;

	(void)address;
	exchange->result = error->error;
	exchange->is_over = true;
	return NL_STOP;
}

static int receive(struct nl_sock *sock, struct exchange *exchange)
{
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int r = 0;

	if (!cb)
		return -ENOMEM;
	(void)nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_valid, exchange);
	(void)nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_end, exchange);
	(void)nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_end, exchange);
	(void)nl_cb_set(cb, NL_CB_DUMP_INTR, NL_CB_CUSTOM, on_torn, exchange);
	(void)nl_cb_err(cb, NL_CB_CUSTOM, on_error, exchange);
	while (!exchange->is_over && r >= 0)
		r = nl_recvmsgs(sock, cb);
	nl_cb_put(cb);
	return exchange->is_over ? exchange->result : -EIO;
}

int netlink_ask(struct nl_sock *sock, struct nl_msg *msg,
		void (*visit)(void *context, struct nlmsghdr *header), void *context)
{
	struct exchange exchange = { .visit = visit, .context = context };
	int r;

	if (!msg)
		return -ENOMEM;
	r = nl_send_auto(sock, msg);
	nlmsg_free(msg);
	if (r < 0)
		return -EIO;
	r = receive(sock, &exchange);
	return r == 0 && exchange.is_torn ? -EAGAIN : r;
}

struct nl_msg *netlink_link_msg(int type, int flags, int index)
{
	struct ifinfomsg info = { .ifi_family = AF_UNSPEC, .ifi_index = index };
	struct nl_msg *msg = nlmsg_alloc_simple(type, NLM_F_REQUEST | flags);

	if (msg && nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

/* --- looking --- */

/* Attributes of the kernel end with a NUL; one that does not fit says nothing that we wrote. */
static void copy_text(const struct nlattr *attribute, char *ret, size_t size)
{
	if (attribute && (size_t)nla_len(attribute) <= size)
		(void)snprintf(ret, size, "%.*s", nla_len(attribute),
			       (const char *)nla_data(attribute));
}

static void read_kind(struct nlattr *linkinfo, struct link *ret)
{
	struct nlattr *attributes[IFLA_INFO_MAX + 1];

	if (linkinfo && nla_parse_nested(attributes, IFLA_INFO_MAX, linkinfo, NULL) >= 0)
		copy_text(attributes[IFLA_INFO_KIND], ret->kind, sizeof(ret->kind));
}

/* Attributes are aligned to four bytes only; a newer kernel's are longer. */
static void read_counters(const struct nlattr *attribute, struct link_counters *ret)
{
	struct rtnl_link_stats64 stats = { .rx_packets = 0 };
	const size_t size = attribute ? (size_t)nla_len(attribute) : 0;

	if (attribute)
		memcpy(&stats, nla_data(attribute), size < sizeof(stats) ? size : sizeof(stats));
	*ret = (struct link_counters){ .received_bytes = stats.rx_bytes,
				       .received_packets = stats.rx_packets,
				       .sent_bytes = stats.tx_bytes,
				       .sent_packets = stats.tx_packets };
}

static bool read_link(struct nlmsghdr *header, struct link *ret)
{
	const struct ifinfomsg *info = nlmsg_data(header);
	struct nlattr *attributes[IFLA_MAX + 1];

	if (header->nlmsg_type != RTM_NEWLINK ||
	    nlmsg_parse(header, sizeof(*info), attributes, IFLA_MAX, NULL) < 0 ||
	    !attributes[IFLA_IFNAME])
		return false;
	*ret = (struct link){ .index = info->ifi_index, .flags = info->ifi_flags };
	copy_text(attributes[IFLA_IFNAME], ret->name, sizeof(ret->name));
	copy_text(attributes[IFLA_IFALIAS], ret->alias, sizeof(ret->alias));
	read_kind(attributes[IFLA_LINKINFO], ret);
	read_counters(attributes[IFLA_STATS64], &ret->counters);
	if (attributes[IFLA_MASTER])
		ret->master = (int)nla_get_u32(attributes[IFLA_MASTER]);
	if (attributes[IFLA_ADDRESS] && nla_len(attributes[IFLA_ADDRESS]) == NET_MAC_SIZE)
		memcpy(ret->mac, nla_data(attributes[IFLA_ADDRESS]), NET_MAC_SIZE);
	return true;
}

struct search {
	struct link *found;
	bool is_found;
};

static void take_found(void *context, struct nlmsghdr *header)
{
	struct search *search = context;

	if (read_link(header, search->found))
		search->is_found = true;
}

int link_find(struct nl_sock *sock, const char *name, struct link *ret)
{
	struct nl_msg *msg = netlink_link_msg(RTM_GETLINK, 0, 0);
	struct search search = { .found = ret };
	int r;

	if (!msg)
		return -ENOMEM;
	if (nla_put_string(msg, IFLA_IFNAME, name) < 0) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	r = netlink_ask(sock, msg, take_found, &search);
	if (r < 0)
		return r;
	return search.is_found ? 0 : -ENODEV;
}

struct walk {
	void (*visit)(void *context, const struct link *link);
	void *context;
};

static void take_each(void *context, struct nlmsghdr *header)
{
	const struct walk *walk = context;
	struct link link;

	if (read_link(header, &link))
		walk->visit(walk->context, &link);
}

int link_each(struct nl_sock *sock, void (*visit)(void *context, const struct link *link),
	      void *context)
{
	struct walk walk = { .visit = visit, .context = context };
	int r = -EAGAIN;

	for (int i = 0; i < DUMP_ATTEMPTS && r == -EAGAIN; i++)
		r = netlink_ask(sock, netlink_link_msg(RTM_GETLINK, NLM_F_DUMP, 0), take_each,
				&walk);
	return r;
}

/* --- changing --- */

int link_set_alias(struct nl_sock *sock, int index, const char *alias)
{
	struct nl_msg *msg = netlink_link_msg(RTM_NEWLINK, 0, index);

	if (msg && nla_put(msg, IFLA_IFALIAS, (int)strlen(alias), alias) < 0) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	return netlink_ask(sock, msg, NULL, NULL);
}

int link_set_up(struct nl_sock *sock, int index)
{
	struct ifinfomsg info = { .ifi_family = AF_UNSPEC,
				  .ifi_index = index,
				  .ifi_flags = IFF_UP,
				  .ifi_change = IFF_UP };
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWLINK, NLM_F_REQUEST);

	if (msg && nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	return netlink_ask(sock, msg, NULL, NULL);
}

int link_delete(struct nl_sock *sock, int index)
{
	return netlink_ask(sock, netlink_link_msg(RTM_DELLINK, 0, index), NULL, NULL);
}

/* No waiting before a port forwards, no spanning tree, no look into multicast. */
static int put_bridge_options(struct nl_msg *msg)
{
	struct nlattr *info = nla_nest_start(msg, IFLA_LINKINFO);
	struct nlattr *options;

	if (!info || nla_put_string(msg, IFLA_INFO_KIND, "bridge") < 0)
		return -ENOMEM;
	options = nla_nest_start(msg, IFLA_INFO_DATA);
	if (!options || nla_put_u32(msg, IFLA_BR_FORWARD_DELAY, 0) < 0 ||
	    nla_put_u32(msg, IFLA_BR_STP_STATE, 0) < 0 ||
	    nla_put_u8(msg, IFLA_BR_MCAST_SNOOPING, 0) < 0 ||
	    nla_put_u16(msg, IFLA_BR_GROUP_FWD_MASK, GROUP_FORWARD_MASK) < 0)
		return -ENOMEM;
	(void)nla_nest_end(msg, options);
	(void)nla_nest_end(msg, info);
	return 0;
}

int link_make_bridge(struct nl_sock *sock, const char *name, const uint8_t mac[static NET_MAC_SIZE])
{
	struct nl_msg *msg = netlink_link_msg(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);

	/* Without an address of its own it would have that of a port, and another one tomorrow. */
	if (msg &&
	    (nla_put_string(msg, IFLA_IFNAME, name) < 0 ||
	     nla_put(msg, IFLA_ADDRESS, NET_MAC_SIZE, mac) < 0 || put_bridge_options(msg) < 0)) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	return netlink_ask(sock, msg, NULL, NULL);
}

int link_add_address(struct nl_sock *sock, int index, const struct net_subnet *subnet)
{
	struct ifaddrmsg info = { .ifa_family = AF_INET,
				  .ifa_prefixlen = (uint8_t)subnet->prefix,
				  .ifa_index = (uint32_t)index };
	const uint32_t address = htonl(subnet->bridge);
	const uint32_t broadcast = htonl(subnet->bridge | ~net_subnet_mask(subnet));
	struct nl_msg *msg =
		nlmsg_alloc_simple(RTM_NEWADDR, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE);

	if (msg && (nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO) < 0 ||
		    nla_put_u32(msg, IFA_LOCAL, address) < 0 ||
		    nla_put_u32(msg, IFA_ADDRESS, address) < 0 ||
		    nla_put_u32(msg, IFA_BROADCAST, broadcast) < 0)) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	return netlink_ask(sock, msg, NULL, NULL);
}

static int put_port_options(struct nl_msg *msg)
{
	struct nlattr *info = nla_nest_start(msg, IFLA_LINKINFO);
	struct nlattr *options;

	if (!info || nla_put_string(msg, IFLA_INFO_SLAVE_KIND, "bridge") < 0)
		return -ENOMEM;
	options = nla_nest_start(msg, IFLA_INFO_SLAVE_DATA);
	if (!options || nla_put_u8(msg, IFLA_BRPORT_ISOLATED, 1) < 0 ||
	    nla_put_u8(msg, IFLA_BRPORT_LEARNING, 0) < 0 ||
	    nla_put_u8(msg, IFLA_BRPORT_UNICAST_FLOOD, 0) < 0 ||
	    nla_put_u8(msg, IFLA_BRPORT_MCAST_FLOOD, 0) < 0)
		return -ENOMEM;
	(void)nla_nest_end(msg, options);
	(void)nla_nest_end(msg, info);
	return 0;
}

int link_join_bridge(struct nl_sock *sock, int index, int bridge)
{
	struct nl_msg *msg = netlink_link_msg(RTM_NEWLINK, 0, index);
	int r;

	if (msg && nla_put_u32(msg, IFLA_MASTER, (uint32_t)bridge) < 0) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	r = netlink_ask(sock, msg, NULL, NULL);
	if (r < 0)
		return r;
	msg = netlink_link_msg(RTM_NEWLINK, 0, index);
	if (msg && put_port_options(msg) < 0) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	return netlink_ask(sock, msg, NULL, NULL);
}

int link_add_station(struct nl_sock *sock, int index, const uint8_t mac[static NET_MAC_SIZE])
{
	struct ndmsg station = { .ndm_family = PF_BRIDGE,
				 .ndm_ifindex = index,
				 .ndm_state = NUD_NOARP, /* it does not age */
				 .ndm_flags = NTF_MASTER };
	struct nl_msg *msg =
		nlmsg_alloc_simple(RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE);

	if (msg && (nlmsg_append(msg, &station, sizeof(station), NLMSG_ALIGNTO) < 0 ||
		    nla_put(msg, NDA_LLADDR, NET_MAC_SIZE, mac) < 0)) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	return netlink_ask(sock, msg, NULL, NULL);
}
