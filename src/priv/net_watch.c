/*
 * Notices that somebody else has changed what is ours: rules that were flushed, a bridge that was
 * removed, forwarding that was switched. The kernel tells of our own changes, too, so what is
 * noticed is only a reason to look.
 */
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <netlink/attr.h>

#include "base/fd.h"
#include "base/text.h"
#include "priv/net_private.h"

#define READ_SIZE    8192
#define FIRST_NAME   1 /* of every message of nftables: the attribute with the table's name */
#define RULES_GROUPS (1U << (NFNLGRP_NFTABLES - 1))
#define ROUTE_GROUPS ((unsigned)RTMGRP_LINK | (unsigned)RTMGRP_IPV4_IFADDR)

int net_watch_socket(int protocol, unsigned groups)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = groups };
	AUTO_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int join_epoll(int epoll_fd, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	if (fd < 0)
		return fd;
	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void net_watch_open(struct net_direct *net)
{
	const int netconf = RTNLGRP_IPV4_NETCONF;

	net->nft_watch_fd = net_watch_socket(NETLINK_NETFILTER, RULES_GROUPS);
	net->route_watch_fd = net_watch_socket(NETLINK_ROUTE, ROUTE_GROUPS);
	net->watch_fd = epoll_create1(EPOLL_CLOEXEC);
	if (net->route_watch_fd < 0 || net->watch_fd < 0 ||
	    setsockopt(net->route_watch_fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &netconf,
		       sizeof(netconf)) < 0 ||
	    join_epoll(net->watch_fd, net->nft_watch_fd) < 0 ||
	    join_epoll(net->watch_fd, net->route_watch_fd) < 0)
		net_watch_close(net);
}

void net_watch_close(struct net_direct *net)
{
	fd_closep(&net->nft_watch_fd);
	fd_closep(&net->route_watch_fd);
	fd_closep(&net->watch_fd);
}

/* Whether the attributes behind `head_size` bytes have this text as number `type`. */
static bool names(struct nlmsghdr *header, size_t head_size, int type, const char *text)
{
	const struct nlattr *attribute = nlmsg_find_attr(header, (int)head_size, type);
	const size_t len = strlen(text);

	return attribute && (size_t)nla_len(attribute) > len &&
	       memcmp(nla_data(attribute), text, len + 1) == 0;
}

/* The bridge, or a TAP: of one that leaves the bridge only itself tells. */
static bool is_our_link(const struct net_direct *net, struct nlmsghdr *header)
{
	const struct nlattr *attribute =
		nlmsg_find_attr(header, sizeof(struct ifinfomsg), IFLA_IFNAME);
	char taps[NET_NAME_SIZE];

	net_tap_prefix(net->policy.bridge_name, taps);
	return names(header, sizeof(struct ifinfomsg), IFLA_IFNAME, net->policy.bridge_name) ||
	       (attribute && (size_t)nla_len(attribute) > strlen(taps) &&
		memcmp(nla_data(attribute), taps, strlen(taps)) == 0);
}

/* A link with the name of one of our TAPs. */
static bool is_tap(const struct net_direct *net, struct nlmsghdr *header)
{
	const struct nlattr *name =
		nlmsg_find_attr(header, (int)sizeof(struct ifinfomsg), IFLA_IFNAME);
	char text[NET_NAME_SIZE] = "";
	uint32_t index;

	if (!name || (size_t)nla_len(name) > sizeof(text))
		return false;
	memcpy(text, nla_data(name), (size_t)nla_len(name));
	text[sizeof(text) - 1] = '\0';
	return net_tap_index(net->policy.bridge_name, text, &index);
}

static bool is_ours(const struct net_direct *net, int fd, struct nlmsghdr *header)
{
	char table[NET_TABLE_SIZE];

	if (fd == net->nft_watch_fd) {
		net_table_name(net->policy.bridge_name, table);
		return names(header, sizeof(struct nfgenmsg), FIRST_NAME, table);
	}
	if (header->nlmsg_type == RTM_DELLINK && is_tap(net, header))
		return true;
	if (header->nlmsg_type == RTM_NEWLINK || header->nlmsg_type == RTM_DELLINK)
		return is_our_link(net, header);
	if (header->nlmsg_type == RTM_NEWADDR || header->nlmsg_type == RTM_DELADDR)
		return names(header, sizeof(struct ifaddrmsg), IFA_LABEL, net->policy.bridge_name);
	return true; /* forwarding */
}

/* Reads all there is; what came too fast to be kept may have been about us. */
static bool read_all(const struct net_direct *net, int fd)
{
	bool is_about_us = false;

	for (;;) {
		union {
			struct nlmsghdr header;
			char bytes[READ_SIZE];
		} in;
		struct nlmsghdr *header = &in.header;
		ssize_t n = recv(fd, &in, sizeof(in), MSG_DONTWAIT);
		int left = (int)n;

		if (n < 0 && errno == ENOBUFS)
			is_about_us = true;
		else if (n <= 0)
			return is_about_us;
		for (; n > 0 && nlmsg_ok(header, left); header = nlmsg_next(header, &left))
			is_about_us |= is_ours(net, fd, header);
	}
}

bool net_direct_watch_read(struct priv_net *base)
{
	struct net_direct *net = net_direct_of(base);
	const bool rules = net->nft_watch_fd >= 0 && read_all(net, net->nft_watch_fd);
	const bool links = net->route_watch_fd >= 0 && read_all(net, net->route_watch_fd);

	return rules || links;
}
