/*
 * Figures about one microVM, written as a JSON line to the file or FIFO that was asked for: on
 * FlushMetrics, every METRICS_PERIOD_MS and at the end. Names are Firecracker's where the figure is
 * the same.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "vmmshim/sink.h"

#define METRICS_PERIOD_MS (60ULL * 1000)

struct metrics {
	struct sink sink;
	const char *id;	     /* borrowed; NULL: not shown */
	json_t *properties;  /* owned, or NULL */
	uint64_t startup_us; /* until the API answers */
	uint64_t startup_cpu_us;
	uint64_t requests[3]; /* GET, PUT, PATCH */
	uint64_t failures[3];
	uint64_t start_us; /* from InstanceStart to running */
	uint64_t pause_us;
	uint64_t resume_us;
	uint64_t create_us; /* of the last snapshot */
	uint64_t load_us;
	uint64_t console_bytes;
	uint64_t vsock_connections;
	uint64_t vsock_refused;
};

#define METRICS_INIT ((struct metrics){ .sink = { .fd = -1 } })

/* `properties` is borrowed, an object or NULL. Fails (ERR_SYSTEM) with only the reason. */
int metrics_open(struct metrics *metrics, const char *path, const char *id,
		 const json_t *properties, struct err *err) MUST_CHECK;
void metrics_count(struct metrics *metrics, const char *method, unsigned status);

/* Does nothing while there is no file. */
void metrics_write(struct metrics *metrics);
void metrics_done(struct metrics *metrics);
