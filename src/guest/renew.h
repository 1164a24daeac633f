/*
 * What a snapshot and its clones ask of a guest: to be at rest, to stand still for a moment, and to
 * be another machine from now on. Answers are validated as in guest/agent.h.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "guest/agent.h"

#define GUEST_QUIET_TIMES    2	   /* in succession: then a guest counts as being at rest */
#define GUEST_QUIET_PAUSE_MS 200   /* after an answer that it is not */
#define GUEST_CLOCK_APART_MS 10000 /* the guest's clock from the host's meanwhile */

/* What a guest says that it is, read back after its renewal. Texts are owned and escaped. */
struct guest_machine {
	char *hostname;
	char *machine_id;
	char *boot_id;
	char *boot_token;	/* NULL when the identity had none */
	char *mac;		/* NULL: there is no interface; as the next two */
	char *address;		/* NULL: it has none */
	char *gateway;		/* NULL: it has none */
	char *ssh_host_key_pub; /* without a newline */
	char *random;		/* 16 bytes of the guest's kernel, in hexadecimal */
	uint64_t prefix;
	uint64_t addresses; /* how many IPv4 addresses the interface has */
	uint64_t wall_ms;   /* since 1970, by the guest's clock */
	uint64_t took_us;   /* by the guest's clock, from the request to the answer */
};

void guest_machine_done(struct guest_machine *machine);

/*
 * Makes a guest whose memory is another one's the machine of `identity` (borrowed), which must have
 * all that two must not share: `machine_id`, `ssh_host_key`, `entropy`, `wall_seconds`, and
 * `network` with its `mac` or as null. 0 means that the guest has confirmed each value; then it may
 * be reached. ERR_PROTOCOL: it says that it is something else. May be asked again after a failure,
 * and changes nothing in a guest that is that machine already. `ret` may be NULL.
 */
int guest_renew(const struct guest_target *target, const json_t *identity,
		struct guest_machine *ret, struct err *err) MUST_CHECK;

/* Reads and judges a guest's word about itself, which came after `took_ms`. Pure; for guest_renew()
 * and its fuzzer. */
int guest_read_machine(const json_t *object, const json_t *identity, uint64_t took_ms,
		       struct guest_machine *ret, struct err *err) MUST_CHECK;

/* Gives an identity the host's time, to be sent at once. */
void guest_put_clock(json_t *identity);

/*
 * Waits until the guest is at rest: its init has finished, its processors and disks idle. On
 * ERR_TIMEOUT the message says what it was still doing.
 */
int guest_wait_quiet(const struct guest_target *target, struct err *err) MUST_CHECK;

/*
 * Lets the guest's file systems stand still, clean on their disks, until guest_thaw() or, should
 * nobody call that, for `timeout_ms` (1 to 60000). A renewal of a clone thaws, too.
 */
int guest_freeze(const struct guest_target *target, uint64_t timeout_ms, struct err *err)
	MUST_CHECK;

/* *ret_held (may be NULL): they have stood still until now, so what was copied meanwhile is clean.
 */
int guest_thaw(const struct guest_target *target, bool *ret_held, struct err *err) MUST_CHECK;

/*
 * Grows the guest's file systems once its devices are that large (0: that one stays). Those that
 * are already stay as they are.
 */
int guest_grow(const struct guest_target *target, uint64_t system_bytes, uint64_t work_bytes,
	       struct err *err) MUST_CHECK;
