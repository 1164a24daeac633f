/*
 * Stopping VMs that nobody has used for `auto_stop_stale_after`. Used is a VM that is started,
 * resumed or reached into (exec, shell, ssh, cp, ports), and as long as a stream to its agent is
 * open: that is looked for in the system, as streams outlive the daemon that passed them. So is a
 * guest that talks to somebody over its network device. Asking how it is (list, show, health, ping,
 * stats) is no use. Paused VMs are kept, as are those that live for a client.
 *
 * The clock stands still while the host sleeps, and does not know the date, so no jump of either
 * makes all VMs stale at once. What it says is stored with the VM, so that a daemon's end is no use
 * either; coarsely, since each time costs a write to the disk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "model/names.h"

struct autostop;
struct daemon;

/* Starts the worker, if the configuration wants it: otherwise *ret is NULL. */
int autostop_start(struct daemon *daemon, struct autostop **ret, struct err *err) MUST_CHECK;

/* Ends it; a stop that it was waiting for is taken back. NULL is accepted. */
void autostop_stop(struct autostop *autostop);

/* A VM is used now. From any thread; NULL is accepted. */
void autostop_touch(struct autostop *autostop, const char *id);

/* --- the decisions; pure --- */

/* When VM was used last as far as both memory and the database know; never later than now. */
uint64_t autostop_last_use(uint64_t known_ms, uint64_t stored_ms, uint64_t now_ms);

/* Whether it has been unused for long enough. */
bool autostop_is_stale(uint64_t last_use_ms, uint64_t now_ms, uint64_t stale_after_ms);

/* Whether what is stored is so old that the present use must be stored, too. */
bool autostop_must_store(uint64_t stored_ms, uint64_t last_use_ms, uint64_t stale_after_ms);

/* How long the worker may sleep. */
uint64_t autostop_interval_ms(uint64_t stale_after_ms);

/*
 * What a guest has said and been told lately: two leaky buckets. A talk is several packets both
 * ways, soon after one another. Packets one way are what a guest sends to nobody (or what our rules
 * drop), or somebody's broadcasts; a few, now and then, are ARP, a clock that is set, a connection
 * that is kept alive.
 */
struct autostop_talk {
	uint64_t at_ms; /* 0: never seen */
	uint64_t in_packets;
	uint64_t out_packets;
	uint64_t in_milli; /* in the buckets, in thousandths of packets */
	uint64_t out_milli;
};

#define AUTOSTOP_TALK_PACKETS	UINT64_C(4)
#define AUTOSTOP_TALK_WINDOW_MS 10000 /* in which so many leak away */

/* Takes what its device has counted by now; whether the guest talks. */
bool autostop_talks(struct autostop_talk *talk, uint64_t in_packets, uint64_t out_packets,
		    uint64_t now_ms);

/*
 * How many connections there are to the listening socket `path`, by a table as /proc/net/unix has
 * it; *ret_is_there: whether the listener is in it at all.
 */
uint64_t autostop_count_streams(struct span table, const char *path, bool *ret_is_there);
