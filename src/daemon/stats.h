/*
 * The load of VMs and of the host. A worker measures the running ones every `stats_poll_interval`
 * and keeps the last two samples of each in memory, so that a question is answered with what was
 * used between two moments; it does nothing while no VM runs. Questions measure anew, what the host
 * knows always and what only a guest knows when the last answer is old.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/macros.h"
#include "daemon/network.h"
#include "daemon/sample.h"
#include "guest/agent.h"
#include "model/vm.h"

#define STATS_WINDOW_NS (500 * NSEC_PER_MSEC) /* moments nearer to one another say little */

struct daemon;
struct stats;

/* What is known of a VM now. */
struct vm_load {
	bool is_measured; /* it has a process; otherwise nothing else counts */
	bool is_frozen;	  /* VMM or QEMU stopped by a signal */
	bool has_load;	  /* two moments are known: cpu_milli */
	bool has_network; /* traffic */
	bool has_rate;	  /* in_rate and out_rate */
	bool has_guest;
	uint64_t cpu_us;    /* since it was started */
	uint64_t cpu_milli; /* thousandths of a processor, between them */
	uint64_t memory_bytes;
	uint64_t memory_max_bytes; /* of its cgroup; 0: not limited */
	uint64_t read_bytes;
	uint64_t written_bytes;
	struct priv_traffic traffic; /* since it was started */
	uint64_t in_rate;	     /* bytes a second */
	uint64_t out_rate;
	struct guest_stats guest;
};

struct host_load {
	struct host_sample sample;
	bool has_load;
	uint64_t cpu_milli;
};

struct stats *stats_new(void) MUST_CHECK;
void stats_free(struct stats *stats);
DEFINE_FREEP(stats, stats_free);

/* For stats_measure(); a network that cannot be asked is logged, and leaves its figures out. *ret
 * is zeroed by the caller. */
void stats_count_traffic(struct daemon *daemon, struct network_traffic *ret);

/*
 * Measures one VM. A guest that is to be asked has until `guest_deadline_ns`; it is not asked when
 * that has passed, when the VM stands still, or when it has been asked within the interval.
 * `traffic` is that of all VMs, counted just now.
 */
void stats_measure(struct daemon *daemon, const struct vm *vm,
		   const struct network_traffic *traffic, const struct cancel *cancel,
		   uint64_t guest_deadline_ns, struct vm_load *ret);

void stats_measure_host(struct daemon *daemon, struct host_load *ret);

struct stats_worker;
int stats_worker_start(struct daemon *daemon, struct stats_worker **ret, struct err *err)
	MUST_CHECK;
void stats_worker_stop(struct stats_worker *worker);
