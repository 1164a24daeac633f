/*
 * As much of D-Bus as it takes to ask systemd a question: one call at a time over a Unix socket,
 * with texts as arguments, and a text or a number as the answer. PID 1 answers root on a socket of
 * its own, also while the bus is not there yet; other services are behind the system's bus.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define BUS_SOCKET_SYSTEMD "/run/systemd/private"
#define BUS_SOCKET_SYSTEM  "/run/dbus/system_bus_socket"

#define BUS_MESSAGE_MAX 65536 /* ours and theirs; what is asked here is short */
#define BUS_TEXT_SIZE	128
#define BUS_TIMEOUT_MS	2000 /* for a connection and for each call */

struct bus_call {
	const char *destination; /* NULL on systemd's own socket */
	const char *path;
	const char *interface;
	const char *member;
	const char *arguments[2]; /* texts; NULL ends them */
};

/* What came back: the body's first value, where it is a variant of a text or a u32. */
struct bus_value {
	char type; /* 's', 'u', or '\0' for anything else */
	uint32_t number;
	char text[BUS_TEXT_SIZE]; /* cut to what fits */
};

/* A connection that has been let in, on the system's bus with a name; an fd, or < 0. */
int bus_connect(const char *socket_path, struct err *err) MUST_CHECK;

/* Asks and waits for the answer; the peer's own error is ERR_UNSUPPORTED. */
int bus_call(int fd, const struct bus_call *call, struct bus_value *ret, struct err *err)
	MUST_CHECK;

/* --- for the above and its tests: pure --- */

enum bus_type { BUS_RETURN = 2, BUS_ERROR = 3 };

struct bus_message {
	uint8_t type;
	size_t size;	  /* all of it */
	struct span body; /* borrowed from the bytes */
};

/* The message that `bytes` begin with: 1, 0 while more must come, -1 when it is none. */
int bus_read_message(struct span bytes, struct bus_message *ret) MUST_CHECK;

/* The value that a body begins with. */
struct bus_value bus_read_value(struct span body);
