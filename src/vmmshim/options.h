/*
 * banger-vmm's command line: Firecracker's options and a few of its own, one row each. What cannot
 * be done here is refused in words, with Firecracker's exit status for bad arguments.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/strv.h"

#define OPTIONS_PAYLOAD_DEFAULT 51200 /* Firecracker's limit of a request's body */

struct options {
	const char *api_sock;
	const char *id;
	const char *config_file;
	const char *log_path;
	const char *level;
	const char *module;
	const char *metrics_path;
	const char *qemu;
	const char *accel;
	struct strv drive_overlays; /* owned */
	uint64_t uid;		    /* of QEMU; 0: ours */
	uint64_t start_time_us;
	uint64_t start_time_cpu_us;
	uint64_t parent_cpu_time_us;
	uint64_t payload_max;
	bool is_without_api;
	bool is_without_seccomp;
	bool shows_level;
	bool shows_origin;
	bool wants_help;
	bool wants_version;
};

/* Fills `ret` (defaults included); strings are borrowed from argv. ERR_INVALID or ERR_UNSUPPORTED.
 */
int options_parse(int argc, char *const *argv, struct options *ret, struct err *err) MUST_CHECK;
void options_done(struct options *options);

/* The text of --help. */
void options_help(struct buf *out);
