/* The two ways in which the operations of priv/net.h are done. For the files of this folder. */
#pragma once

#include "priv/net.h"

/* As the functions of priv/net.h with these names. */
struct net_backend {
	void (*close)(struct priv_net *net);
	int (*look)(struct priv_net *net, struct priv_net_state *ret, struct err *err);
	int (*traffic)(struct priv_net *net, struct priv_traffic **ret, size_t *ret_count,
		       struct err *err);
	int (*census)(struct priv_net *net, priv_net_visit *visit, void *context, struct err *err);
	int (*raise)(struct priv_net *net, const struct net_guest *guests, size_t count,
		     struct err *err);
	bool (*is_whole)(struct priv_net *net, const struct net_guest *guests, size_t count);
	int (*clear)(struct priv_net *net, struct err *err);
	int (*tap_make)(struct priv_net *net, uint32_t index, uid_t owner, struct err *err);
	int (*tap_delete)(struct priv_net *net, uint32_t index, struct err *err);
	int (*join)(struct priv_net *net, const struct net_guest *guest, struct err *err);
	int (*leave)(struct priv_net *net, const struct net_guest *guest, struct err *err);
	int (*set_nat)(struct priv_net *net, const struct net_guest *guest, struct err *err);
	int (*set_forwarding)(struct priv_net *net, bool is_on, struct err *err);
	int (*tap_reattach)(struct priv_net *net, uint32_t index, pid_t pid, struct err *err);
	int (*watch_fd)(struct priv_net *net);
	bool (*watch_read)(struct priv_net *net);
	int (*enter)(struct priv_net *net, struct priv_net_spaces *ret, struct err *err);
	uint64_t (*silences)(const struct priv_net *net); /* NULL: never */
	bool (*way_out)(struct priv_net *net, struct err *ret);
};

/*
 * As priv_tap_reattach(): a TAP's descriptor belongs to its network namespace wherever it is used.
 * `net_fd` is the one that the bridge is in.
 */
int net_reattach(const char *bridge_name, int net_fd, uint32_t index, pid_t pid, struct err *err)
	MUST_CHECK;

/* The beginning of either backend's own structure. */
struct priv_net {
	const struct net_backend *backend;
};
