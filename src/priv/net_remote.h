/* What the files of the isolated network's client side share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "priv/net_backend.h"
#include "priv/net_message.h"
#include "priv/net_start.h"

struct net_remote {
	struct priv_net base;
	struct net_start start; /* its `spaces` are those below */
	bool only_looks;	/* ends and starts none */
	char *socket_path;	/* owned */
	int watch_fd;		/* owned: an epoll of the next two */
	int changes_fd;		/* owned: the connection that says when something has changed */
	int routes_fd;		/* owned: when the host's addresses may have */

	_Atomic uint64_t silences; /* as priv_net_silences(); changed with the lock held */

	pthread_mutex_t lock;	       /* around what follows */
	uint64_t ask_ns;	       /* while it hangs: when it is asked again */
	int fd;			       /* owned: the connection; -1 without one */
	struct priv_net_spaces spaces; /* owned: its namespaces, once it was there */
	struct process holder;	       /* when we have started it */
	struct net_range *host;	       /* owned: as it was told last */
	size_t host_count;
};

/* Where a holder is started when there is none. */
enum net_start_kind {
	NET_START_AGAIN, /* in the namespaces that we hold; without such none is started */
	NET_START_NEW,	 /* the same, but in new ones without such */
	NET_START_EMPTY, /* nothing is in those that we hold, so new ones will do as well */
};

/* These want the lock held. */

/* 1 when there is a connection, 0 when there is nothing to connect to and none is started. */
int net_remote_connect(struct net_remote *net, enum net_start_kind kind, struct err *err)
	MUST_CHECK;
void net_remote_disconnect(struct net_remote *net);

/* The same after a failure (`r`), which is returned; says in other words that it hangs. */
int net_remote_failed(struct net_remote *net, int r, struct err *err) MUST_CHECK;

/* Tells the addresses that guests are not to reach, where they are not those of the last time. */
int net_remote_tell_host(struct net_remote *net, struct err *err) MUST_CHECK;

/* Ends the holder, if there is one, and with it the whole network. */
int net_remote_end(struct net_remote *net, struct err *err) MUST_CHECK;

/* This takes the lock. Asks, and once more when the one who was asked has died. */
enum presence { NOT_THERE, THERE }; /* whether anybody is there to be asked */
int net_remote_ask(struct net_remote *net, const struct net_request *request,
		   struct net_reply *reply, struct buf *ret_records, enum presence *ret,
		   struct err *err) MUST_CHECK;
