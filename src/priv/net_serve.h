/*
 * The inner process of net_holder.h: does what is asked of it, in the namespaces that it is in, for
 * as long as anybody can want it.
 */
#pragma once

#include "base/err.h"
#include "priv/net_message.h"

/* What the two processes of the holder say to one another, one packet each. */
enum net_holder_word {
	NET_HOLDER_CLIENT = 'c', /* outwards in: with the descriptor of a new client */
	NET_HOLDER_FAILED = 'f', /* the way out has failed; behind it is why */
	NET_HOLDER_OPEN = 'o',	 /* inwards out: a way out is wanted */
	NET_HOLDER_CLOSE = 'n',	 /* none is */
};

/* Serves until it is told to end, or the last client has gone and no VM has a TAP. */
int net_serve(const struct net_settings *settings, int outer_fd, struct err *err) MUST_CHECK;
