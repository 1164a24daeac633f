/* What the parts of the program share: the loop (vmm.c), the machine (machine.c), requests
 * (requests.c). */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/unix_socket.h"
#include "vmmshim/api.h"
#include "vmmshim/console.h"
#include "vmmshim/http.h"
#include "vmmshim/metrics.h"
#include "vmmshim/options.h"
#include "vmmshim/qemu.h"
#include "vmmshim/qmp.h"
#include "vmmshim/snapshot.h"
#include "vmmshim/stall.h"
#include "vmmshim/vsock.h"

#define VMM_START_TIMEOUT_MS 10000 /* for QEMU's QMP handshake */
#define VMM_STOP_TIMEOUT_MS  2000  /* for QEMU to end by itself; then it is killed */

enum vmm_step {
	VMM_IDLE,     /* no QEMU */
	VMM_STARTING, /* QEMU runs, QMP is not ready */
	VMM_RUNNING,
	VMM_STOPPING, /* told to end */
	VMM_ENDED,    /* exit_status is final */
};

/* A request whose turn has not come: they are done one after the other, as in Firecracker. */
struct vmm_request {
	struct http_exchange *exchange; /* borrowed until it is answered */
	struct api_request request;	/* borrowed from the exchange */
};

struct vmm {
	struct options options;
	struct api api;
	struct metrics metrics;
	struct unix_listener api_listener;
	struct http *http; /* NULL with --no-api */
	int signal_fd;
	enum vmm_step step;
	int exit_status;
	uint64_t step_deadline_ns; /* of VMM_STARTING and VMM_STOPPING, else UINT64_MAX */
	uint64_t metrics_due_ns;

	struct err start_error; /* why the start that is under way will fail, when that is known */
	struct qemu qemu;
	struct qmp qmp;
	bool has_qmp;
	struct console console;
	struct vsock vsock;
	unsigned vsock_failures;

	enum api_action action; /* under way; API_ANSWERED for none */
	uint64_t action_number;
	const char *action_method; /* of the request, for the metrics */
	uint64_t action_began_ns;
	struct http_exchange *exchange; /* whose action it is; NULL: the configuration file's */
	json_t *action_result;		/* owned; of a step before the last */
	struct vmm_request queue[HTTP_CONNECTIONS_MAX];
	size_t queue_count;

	struct snapshot snapshot;
	struct stall stall;
	int memory_fd;	       /* owned; below a clone's memory, -1: its memory is its own */
	enum qemu_accel accel; /* of the machine that was started */
	uint64_t tsc_khz;      /* that the guest was told; 0: unknown */
	uint64_t tsc_begin;
	uint64_t tsc_begin_ns;
	struct pollfd fds[9 + VSOCK_FDS_MAX];
};

/* --- machine.c --- */

/* Remembers where the time stamp counter stands, to know its rate later. */
void machine_mark_tsc(struct vmm *vmm);

/*
 * Starts QEMU with a kernel, or (state_fd >= 0, borrowed) to load that device state and the memory
 * in memory_fd. requests_start_done() follows, from here or later.
 */
void machine_start(struct vmm *vmm, int state_fd);

/* The device state is loaded: the machine is there, paused. */
void machine_is_up(struct vmm *vmm);

/* A start that cannot succeed any more: QEMU is killed, and `why` is what the client is told. */
void machine_give_up(struct vmm *vmm, const struct err *why);

enum qemu_accel machine_choose_accel(const struct options *options);
const char *machine_accel_name(enum qemu_accel accel);

/* What the guest sees of the host's processor; owned by the caller. */
char *machine_describe_cpu(enum qemu_accel accel);

/* The counter's rate over the time that the program has been running; 0 where there is none. */
uint64_t machine_measure_tsc_khz(const struct vmm *vmm);

/* Asks QEMU to end, and sees to it that it does. */
void machine_stop(struct vmm *vmm);

/* After events, in the loop. */
void machine_step_qmp(struct vmm *vmm, short revents);
void machine_step_vsock(struct vmm *vmm, const struct pollfd *fds, size_t count);
void machine_step_gate(struct vmm *vmm);
void machine_exited(struct vmm *vmm);
void machine_deadline(struct vmm *vmm);

/* --- requests.c --- */

/*
 * From HTTP: at once when nothing is under way, else in its turn. How the machine is can be asked
 * while a snapshot is made, too, which may take minutes.
 */
void requests_receive(void *context, struct http_exchange *exchange,
		      const struct api_request *request);

/* A client waits for the guest to go on. */
bool requests_want_resume(const struct vmm *vmm);

/* InstanceStart of the configuration file. */
void requests_start(struct vmm *vmm);

/* The action under way is done: its answer goes out, and the next request gets its turn. */
void requests_finish(struct vmm *vmm, json_t *result, const struct err *failure);

/* QEMU runs, or (with `err`) does not. */
void requests_start_done(struct vmm *vmm, const struct err *err);

extern const struct api_ops requests_api_ops;
