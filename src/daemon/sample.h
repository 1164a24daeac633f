/*
 * Figures of processes and of the host, from /proc. The parsers are pure: they take the text of one
 * file and say false when it is not what proc(5) says.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macros.h"
#include "base/span.h"

/* What a process, or several together, has used since its start. */
struct process_sample {
	uint64_t cpu_us;
	uint64_t memory_bytes; /* resident */
	uint64_t read_bytes;   /* from disks */
	uint64_t written_bytes;
	bool is_frozen; /* one of them is stopped by a signal */
};

struct host_sample {
	uint64_t cpu_busy_us; /* of all processors since boot */
	uint64_t memory_total_bytes;
	uint64_t memory_available_bytes;
	uint64_t load_milli; /* of the last minute, in thousandths */
	uint64_t cpus;
};

/* Add what the text of /proc/PID/stat, and of /proc/PID/io, says. */
bool sample_add_stat(struct span text, struct process_sample *into) MUST_CHECK;
bool sample_add_io(struct span text, struct process_sample *into) MUST_CHECK;

/* From /proc/stat, /proc/meminfo and /proc/loadavg. */
bool sample_parse_cpu(struct span text, struct host_sample *into) MUST_CHECK;
bool sample_parse_memory(struct span text, struct host_sample *into) MUST_CHECK;
bool sample_parse_load(struct span text, struct host_sample *into) MUST_CHECK;

#define SAMPLE_PROCESSES_MAX 65 /* a VMM has one child */

/* The process and its children, as many as there are. */
size_t sample_processes(pid_t pid, pid_t ret[static SAMPLE_PROCESSES_MAX]);

/* What they have used together. 0, -ESRCH when it is gone, or another -errno. */
int sample_process(pid_t pid, struct process_sample *ret) MUST_CHECK;

/* What cannot be read is 0. */
void sample_host(struct host_sample *ret);
