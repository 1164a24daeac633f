/*
 * What listens in a guest, and what it speaks. The list is the guest's word: validated, its texts
 * escaped and cut. What a port speaks is tried out through the agent's `forward`: a TLS greeting
 * first, then a question in plain HTTP.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "guest/agent.h"

#define GUEST_PORTS_MAX	    1024
#define GUEST_PROBES_MAX    128	 /* ports that are tried out; of a guest with more, the first */
#define GUEST_PROBE_WAIT_MS 1000 /* for an answer to each greeting */

enum guest_speaks { GUEST_SPEAKS_UNKNOWN, GUEST_SPEAKS_HTTPS, GUEST_SPEAKS_HTTP };

struct guest_port {
	bool is_udp;
	bool is_ipv6;
	char address[46]; /* as inet_ntop() has it */
	uint16_t port;
	uint32_t pid;  /* 0: unknown, as "" in the next two */
	char *process; /* owned; escaped */
	char *command; /* owned; escaped */
};

struct guest_ports {
	struct guest_port *items; /* owned */
	size_t count;
};

void guest_ports_done(struct guest_ports *ports);
#define AUTO_GUEST_PORTS CLEANUP(guest_ports_done) struct guest_ports

/* GET /ports. `ret` is uninitialised. */
int guest_ports(const struct guest_target *target, struct guest_ports *ret, struct err *err)
	MUST_CHECK;

/* Judges the answer, head and body. Pure; for guest_ports() and its fuzzer. */
int guest_read_ports(struct span answer, struct guest_ports *ret, struct err *err) MUST_CHECK;

/*
 * Tries the TCP ports on the guest's loopback, side by side, and fills `ret` (`count` items). A
 * port that cannot be reached, or says nothing that we know, stays unknown; only a cancellation
 * fails.
 */
int guest_probe(const struct guest_target *target, const uint16_t *ports, size_t count,
		enum guest_speaks *ret, struct err *err) MUST_CHECK;

/* What the first bytes of a server say of it: *ret_decided is false when it could still be HTTP. */
enum guest_speaks guest_judge_greeting(struct span bytes, bool *ret_decided);
