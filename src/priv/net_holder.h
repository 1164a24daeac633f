/*
 * The process that keeps an isolated network: `bangerd --network-holder`, started by
 * priv_net_raise() of an isolated network and by nobody else.
 *
 * Theory of operation. bangerd has threads, so it can enter no user namespace; and what it makes
 * there must outlive it, as VMs do. So two small processes of one thread each do it:
 *
 * - the outer one stays in the host's network. It takes in clients (bangerd's user and root, by
 *   SO_PEERCRED; inside, other users are not told apart) from the listening socket that it was
 *   given, hands them inwards, and runs pasta, the way out, while that is wanted;
 * - the inner one, its child, makes a user and a network namespace, keeps CAP_NET_ADMIN in there
 *   and nothing else, and does what clients ask (net_message.h) with the very code that bangerd
 *   runs itself for a network on the host.
 *
 * Where bangerd is root, both run as a user of their own that owns nothing.
 *
 * Ends: inner and pasta die with the outer one, by the kernel's word, and the outer one ends when
 * the inner one has; so whoever is killed, nothing stays but the namespace, and that as long as
 * somebody holds it. bangerd does, and so does each VM's open TAP: a new holder that bangerd starts
 * enters the namespaces of the last one, and all is there again. Only when bangerd and holder are
 * both gone the way back in is lost; then VMs that run have no network until they are started
 * again. A holder that nobody is connected to, and that has no VM's TAP, ends by itself.
 *
 * The lock of the listening socket is held by the outer process, so there is one at a time.
 */
#pragma once

/* Descriptors that it is started with. */
enum net_holder_fd {
	NET_HOLDER_LISTEN = 3,
	NET_HOLDER_LOCK,
	NET_HOLDER_REPORT, /* gets a struct err: whether it serves */
	NET_HOLDER_USER,   /* the namespaces to enter again, as the next */
	NET_HOLDER_NET,
};

#define NET_HOLDER_OPTION "--network-holder"

/* The name that it has in lists of processes; not the daemon's. */
#define NET_HOLDER_NAME "banger-network"

/*
 * bangerd NET_HOLDER_OPTION TAG BRIDGE IP PREFIX DNS_PORT UID new|again: numbers are decimal; UID
 * is who it becomes, or "-".
 */
int net_holder_main(int argc, char **argv);
