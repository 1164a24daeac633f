/*
 * Short questions to a guest's agent, each over a connection of its own. Results are validated:
 * texts are UTF-8 without control characters (escaped, cut), numbers are in range, unknown fields
 * are errors.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "base/strv.h"

#define GUEST_TEXT_MAX	   255 /* bytes shown of a hostname, version or stage */
#define GUEST_STAGES_MAX   32
#define GUEST_ATTEMPT_MS   2000 /* one attempt of guest_wait_healthy(), connection and answer */
#define GUEST_PAUSE_MIN_MS 5	/* between attempts; grows by half each time */
#define GUEST_PAUSE_MAX_MS 50

enum guest_stop { GUEST_POWEROFF, GUEST_REBOOT };

/* Where and for how long to ask. */
struct guest_target {
	const char *socket_path;     /* the VMM's vsock socket */
	const struct cancel *cancel; /* may be NULL */
	uint64_t deadline_ns;	     /* CLOCK_BOOTTIME, UINT64_MAX for none */
};

struct guest_health {
	char *version;	   /* owned; escaped */
	char *hostname;	   /* owned; escaped, "" when the agent has none yet */
	char *boot_token;  /* owned; escaped, NULL when the agent was given none */
	uint64_t protocol; /* WIRE_PROTOCOL of the agent */
	uint64_t uptime_ms;
	uint64_t round_trip_us; /* measured here: question to answer, without the connection */
	struct strv stages;	/* owned; escaped words that the guest has reached, in order */
};

struct guest_stats {
	uint64_t uptime_ms;
	uint64_t memory_total_bytes;
	uint64_t memory_available_bytes;
	uint64_t root_total_bytes;
	uint64_t root_free_bytes;
	uint64_t work_total_bytes; /* 0: no work disk */
	uint64_t work_free_bytes;
	uint64_t processes;
	uint64_t load_milli;  /* load average of the last minute, in thousandths */
	uint64_t cpu_busy_ms; /* time of all processors since boot that was not idle */
};

void guest_health_done(struct guest_health *health);

/* GET /healthz. `ret` is zeroed or done by the caller before. */
int guest_health(const struct guest_target *target, struct guest_health *ret, struct err *err)
	MUST_CHECK;

/*
 * Asks until the agent answers and has reached `stage` ("work"; NULL: any answer will do). Neither
 * VMM tells when a port opens, so it asks again after a pause that grows from GUEST_PAUSE_MIN_MS to
 * GUEST_PAUSE_MAX_MS. "Nobody there yet", a closed connection and an attempt that took
 * GUEST_ATTEMPT_MS are asked again; a wrong answer fails at once. On ERR_TIMEOUT the message has
 * the last attempt's reason.
 */
int guest_wait_healthy(const struct guest_target *target, const char *stage,
		       struct guest_health *ret, struct err *err) MUST_CHECK;

bool guest_health_has_stage(const struct guest_health *health, const char *stage);

/* Judges an HTTP answer, head and body. Pure; for guest_health() and its fuzzer. */
int guest_read_health(struct span answer, struct guest_health *ret, struct err *err) MUST_CHECK;

/* Gives the guest its name, keys, address, time, entropy: the `identity` object is borrowed. */
int guest_identity(const struct guest_target *target, const json_t *identity, struct err *err)
	MUST_CHECK;

/* Asks for a clean end; 0 means that the agent has agreed, not that the guest is off. */
int guest_shutdown(const struct guest_target *target, enum guest_stop mode, struct err *err)
	MUST_CHECK;

int guest_stats(const struct guest_target *target, struct guest_stats *ret, struct err *err)
	MUST_CHECK;

/* A round trip of the JSON side; *ret_us is what it took without the connection. */
int guest_ping(const struct guest_target *target, uint64_t *ret_us, struct err *err) MUST_CHECK;

/*
 * Asks for the guest's sshd on a stream past CONNECT (guest/connect.h): from the answer on it is
 * sshd's. ERR_NOT_FOUND when the image has none.
 */
int guest_ssh(int fd, const struct cancel *cancel, uint64_t deadline_ns, struct err *err)
	MUST_CHECK;
