/*
 * The way out of an isolated network: pasta(1), which moves the connections of a network namespace
 * to sockets of the host's. It runs while a guest has NAT, and no longer: nothing else needs it,
 * and it cannot run on a host without a network. It forwards no port in either direction, and gives
 * the namespace no name for the host; that the host's own addresses are out of reach is the rules'
 * work (net/rules.h).
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/spawn.h"
#include "base/strv.h"

/* The device in the namespace. */
#define NET_WAY_OUT_DEVICE "pasta0"
#define NET_WAY_OUT_TEXT   200

struct net_way_out {
	pid_t inside; /* a process in the namespaces that it is for */
	bool is_wanted;
	struct process process;
	int output_fd;			 /* owned: what it says */
	char said[NET_WAY_OUT_TEXT + 1]; /* its last line */
	size_t said_len;
	bool is_line_over;
	uint64_t pause_ms;
	uint64_t retry_ns; /* 0: now */
};

#define NET_WAY_OUT_INIT ((struct net_way_out){ .process = PROCESS_INIT, .output_fd = -1 })

void net_way_out_argv(pid_t inside, struct strv *ret);

/* Starts or ends it. */
void net_way_out_want(struct net_way_out *way, bool is_wanted);
void net_way_out_done(struct net_way_out *way);

/* What to poll for: its end and its output; and until when, for the next attempt. */
#define NET_WAY_OUT_POLLS 2
void net_way_out_polls(const struct net_way_out *way, struct pollfd ret[static NET_WAY_OUT_POLLS]);
uint64_t net_way_out_deadline(const struct net_way_out *way);

/*
 * Does what is due. True when it has failed just now, with `ret` saying why: it is tried again by
 * itself.
 */
bool net_way_out_tend(struct net_way_out *way, struct err *ret);
