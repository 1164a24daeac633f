/* What the files behind priv/net.h share. */
#pragma once

#include <pthread.h>

#include "base/buf.h"
#include "base/strv.h"
#include "priv/net.h"
#include "priv/net_backend.h"
#include "priv/netlink.h"

struct nft_ctx;

/* The operations in this process, on the network namespace that it is in. */
struct net_direct {
	struct priv_net base;
	struct net_policy policy; /* its strings are owned */
	pthread_mutex_t lock;	  /* around the members below, and around each change */
	struct nl_sock *route;
	struct nft_ctx *nft;
	struct net_range *host; /* owned: the policy's */
	char *baseline; /* owned: the rules' listing without elements, as raised; NULL before */
	struct strv
		opened; /* owned: as the bridge's alias has it, should somebody remove the bridge */
	int route_watch_fd;
	int nft_watch_fd;
	int watch_fd; /* an epoll of both; -1 when they cannot be had */
};

static inline struct net_direct *net_direct_of(struct priv_net *base)
{
	return (struct net_direct *)(void *)base; /* its first member */
}

/* --- net_direct.c --- */

/* As priv_net_open(); `is_isolated`: in a namespace of our own, see net_direct_set_host(). */
int net_direct_open(const char *tag, const struct priv_net_config *config, bool is_isolated,
		    struct priv_net **ret, struct err *err) MUST_CHECK;

/* The addresses that the host has itself, which guests do not reach. Before the first call they
 * reach nothing. */
int net_direct_set_host(struct priv_net *base, const struct net_range *ranges, size_t count,
			struct err *err) MUST_CHECK;

/* --- net_nft.c --- */

/* Runs commands as one transaction. */
int net_nft_run(struct net_direct *net, const char *commands, struct err *err) MUST_CHECK;

/* What our tables have, without counters; without elements when `is_terse`. */
int net_nft_list(struct net_direct *net, bool is_terse, struct buf *ret, struct err *err)
	MUST_CHECK;

/* One line for each table of this network namespace. */
int net_nft_tables(struct net_direct *net, struct buf *ret, struct err *err) MUST_CHECK;

/* Whether there are tables of ours. */
bool net_nft_is_there(struct net_direct *net) MUST_CHECK;

/* Whether somebody else has tables of our names. */
bool net_nft_is_foreign(struct net_direct *net) MUST_CHECK;

/* --- net_tap.c --- */

/* A TAP that goes when the descriptor is closed, unless net_tap_keep() has been called. */
int net_tap_open(const char *name, uid_t owner, struct err *err) MUST_CHECK;
int net_tap_keep(int fd, struct err *err) MUST_CHECK;

/* --- net_forwarding.c --- */

/* As priv_net_set_forwarding(), with the lock held. `bridge` is ours. */
int net_forwarding_set(struct net_direct *net, const struct link *bridge, bool is_on,
		       struct err *err) MUST_CHECK;

/* The interfaces that the bridge's alias names. */
void net_forwarding_opened(const char *alias, struct strv *ret);

/* Writes /proc/sys/net/FAMILY/conf/INTERFACE/KEY. -ENOENT when there is no such setting. */
int net_setting_write(const char *family, const char *interface, const char *key, bool is_on)
	MUST_CHECK;

/* --- net_find.c --- */

/* What an alias says behind "banger TAG", or NULL when it is not ours. */
const char *net_owner_words(const struct net_direct *net, const char *alias);

/* The VM's id in the words of a TAP's alias; NULL for an idle one. */
const char *net_vm_of_words(const char *words);

void net_bridge_mac(const struct net_direct *net, uint8_t ret[static NET_MAC_SIZE]);

/* 1 when it is there and ours, 0 when there is no such link; ERR_EXISTS when it is not ours. */
int net_find_bridge(struct net_direct *net, struct link *ret, struct err *err) MUST_CHECK;

/* The same for a TAP; *ret_words are what its alias says. */
int net_find_tap(struct net_direct *net, uint32_t index, struct link *ret, const char **ret_words,
		 struct err *err) MUST_CHECK;

/* --- net_guest.c: as the functions of net.h --- */

int net_direct_tap_make(struct priv_net *base, uint32_t index, uid_t owner, struct err *err)
	MUST_CHECK;
int net_direct_tap_delete(struct priv_net *base, uint32_t index, struct err *err) MUST_CHECK;
int net_direct_join(struct priv_net *base, const struct net_guest *guest, struct err *err)
	MUST_CHECK;
int net_direct_leave(struct priv_net *base, const struct net_guest *guest, struct err *err)
	MUST_CHECK;
int net_direct_set_nat(struct priv_net *base, const struct net_guest *guest, struct err *err)
	MUST_CHECK;

/* What an interface of ours must not do by itself; a kernel without IPv6 has less to forbid. */
int net_quieten(const char *name, struct err *err) MUST_CHECK;

int net_remove_tap(struct net_direct *net, uint32_t index, struct err *err) MUST_CHECK;

/* A port that leaves its bridge takes along what the bridge knew of its station. */
int net_add_station(struct net_direct *net, const struct net_guest *guest, int tap, struct err *err)
	MUST_CHECK;

/* --- net_census.c: as priv_net_census() --- */

int net_direct_census(struct priv_net *base, priv_net_visit *visit, void *context, struct err *err)
	MUST_CHECK;

/* --- net_traffic.c: as priv_net_traffic() --- */

int net_direct_traffic(struct priv_net *base, struct priv_traffic **ret, size_t *ret_count,
		       struct err *err) MUST_CHECK;

/* --- net_watch.c --- */

/* A netlink socket that hears of these groups, not blocking; -errno. */
int net_watch_socket(int protocol, unsigned groups) MUST_CHECK;

void net_watch_open(struct net_direct *net);
void net_watch_close(struct net_direct *net);
bool net_direct_watch_read(struct priv_net *base);
