#include "priv/net_local.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include <netlink/attr.h>

#include "base/mem.h"
#include "priv/net_message.h"
#include "priv/net_private.h"

#define ATTEMPTS 5 /* a list that changes while it is read is read again */

struct list {
	struct net_range *ranges;
	size_t count;
};

static void note_route(void *context, struct nlmsghdr *header)
{
	struct list *list = context;
	const struct rtmsg *route = nlmsg_data(header);
	const struct nlattr *destination;
	struct net_range range = { .address = 0 };

	if (header->nlmsg_type != RTM_NEWROUTE || nlmsg_datalen(header) < (int)sizeof(*route) ||
	    route->rtm_type != RTN_LOCAL || route->rtm_dst_len > 32)
		return;
	range.prefix = route->rtm_dst_len;
	destination = nlmsg_find_attr(header, sizeof(*route), RTA_DST);
	if (destination && nla_len(destination) == sizeof(range.address)) {
		memcpy(&range.address, nla_data(destination), sizeof(range.address));
		range.address = ntohl(range.address);
	}
	list->ranges = mem_grow(list->ranges, list->count + 1, sizeof(*list->ranges));
	list->ranges[list->count++] = range;
}

static int list_once(struct nl_sock *sock, struct list *list)
{
	struct rtmsg route = { .rtm_family = AF_INET };
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP);

	list->count = 0;
	if (msg && nlmsg_append(msg, &route, sizeof(route), NLMSG_ALIGNTO) < 0) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	return netlink_ask(sock, msg, note_route, list);
}

int net_local_list(struct net_range **ret, size_t *ret_count, struct err *err)
{
	struct list list = { .count = 0 };
	struct nl_sock *sock;
	int r;

	r = netlink_open(&sock, err);
	if (r < 0)
		return r;
	r = -EAGAIN;
	for (int attempt = 0; attempt < ATTEMPTS && r == -EAGAIN; attempt++)
		r = list_once(sock, &list);
	nl_socket_free(sock);
	if (r < 0)
		r = err_sys(err, r, "list the host's addresses");
	else if (list.count > NET_RANGES_MAX)
		r = err_set(err, ERR_LIMIT, "the host has more than %d addresses", NET_RANGES_MAX);
	if (r < 0) {
		mem_free(list.ranges);
		return r;
	}
	*ret = list.ranges;
	*ret_count = list.count;
	return 0;
}

int net_local_watch(void)
{
	return net_watch_socket(NETLINK_ROUTE, RTMGRP_IPV4_ROUTE);
}
