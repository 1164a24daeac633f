/*
 * QEMU's machine protocol, the client's side: a state machine without input or output. Bytes from
 * QEMU go in with qmp_feed(), bytes for it come out of qmp_output().
 *
 * QEMU greets, we ask for capabilities, its answer makes the client ready; commands wait until
 * then. Events are routed whenever they come, also before that. A reply belongs to the command
 * whose id it carries, whatever the order. When the connection ends, every command that is still
 * waiting completes with an error, exactly once.
 *
 * Strict and bounded: a line that is no JSON object of a known form, a reply nobody asked for, a
 * line over QMP_LINE_MAX bytes or more than QMP_PENDING_MAX commands at a time end the connection.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define QMP_LINE_MAX	 (256UL * 1024) /* the longest answers asked for have some kilobytes */
#define QMP_PENDING_MAX	 16
#define QMP_PACKAGE_SIZE 128

enum qmp_state {
	QMP_GREETING,	  /* waiting for QEMU's first line */
	QMP_CAPABILITIES, /* qmp_capabilities was sent */
	QMP_READY,
	QMP_CLOSED,
};

struct qmp_version {
	unsigned major;
	unsigned minor;
	unsigned micro;
	char package[QMP_PACKAGE_SIZE]; /* of the distributor, "" for none; cut off if longer */
};

/* `result` is borrowed and never NULL on success; on failure it is NULL and `err` says why. */
typedef void (*qmp_reply_fn)(void *context, const json_t *result, const struct err *err);

struct qmp_ops {
	void (*ready)(void *context, const struct qmp_version *version);
	/* `details` is the event's "data", borrowed, or NULL. */
	void (*event)(void *context, const char *name, const json_t *details);
};

struct qmp_pending {
	uint64_t id; /* 0: the slot is free */
	qmp_reply_fn reply;
	void *context;
};

struct qmp {
	enum qmp_state state;
	const struct qmp_ops *ops;
	void *context;
	struct qmp_version version;
	struct buf input;  /* a line that is not complete yet */
	struct buf output; /* what may be sent now */
	struct buf held;   /* commands that wait for QMP_READY */
	struct qmp_pending pending[QMP_PENDING_MAX];
	uint64_t next_id;
};

void qmp_init(struct qmp *qmp, const struct qmp_ops *ops, void *context);

/* Completes what is pending with an error, and releases everything. */
void qmp_done(struct qmp *qmp);

/* Takes received bytes. On failure (ERR_PROTOCOL) qmp_disconnect() is due. */
int qmp_feed(struct qmp *qmp, struct span bytes, struct err *err) MUST_CHECK;

/*
 * Queues a command; `arguments` is given and may be NULL. `reply` (may be NULL) is called exactly
 * once, from qmp_feed(), qmp_disconnect() or, when the connection is closed already or too many
 * commands are waiting, from here.
 */
void qmp_command(struct qmp *qmp, const char *name, json_t *arguments, qmp_reply_fn reply,
		 void *context);

/* A number in a result: false when there is none, or one that is negative or 2^63 and more. */
bool qmp_number(const json_t *value, uint64_t *ret) MUST_CHECK;

/* What is to be sent, and that the first `count` bytes of it were. */
struct span qmp_output(const struct qmp *qmp) MUST_CHECK;
void qmp_sent(struct qmp *qmp, size_t count);

/* The connection ended, because of `why`. Calling it again does nothing. */
void qmp_disconnect(struct qmp *qmp, const struct err *why);
