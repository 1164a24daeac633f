/*
 * Errors as values on the caller's stack (STYLE 3.6).
 *
 * Primitives return >= 0 or -errno. Operations (anything done for a user or a peer) return the same
 * and fill a struct err exactly on failure; `r < 0` is the only test. No allocation, so reporting
 * works when memory is gone. Each failure reaches the user once: callers pass it on unchanged or
 * put context in front with err_context().
 */
#pragma once

#include <errno.h>

#include "base/macros.h"

#define ERR_MESSAGE_SIZE 512
#define ERR_HINT_SIZE	 256

enum err_kind {
	ERR_NONE = 0,
	ERR_SYSTEM,	 /* a system call failed; errnum says how */
	ERR_INVALID,	 /* the request itself is wrong */
	ERR_NOT_FOUND,	 /* the thing named does not exist */
	ERR_EXISTS,	 /* the thing named exists already */
	ERR_BAD_STATE,	 /* the thing exists, but not in a state that allows this */
	ERR_BUSY,	 /* somebody else is at it; trying again later helps */
	ERR_LIMIT,	 /* a documented limit was reached */
	ERR_PROTOCOL,	 /* a peer broke its protocol */
	ERR_TIMEOUT,	 /* a peer or process did not answer in time */
	ERR_CANCELLED,	 /* the client went away or cancelled */
	ERR_UNSUPPORTED, /* this build, host or engine cannot do it */
	ERR_KIND_COUNT,
};

struct err {
	enum err_kind kind;
	int errnum;			/* positive errno, or 0 */
	char message[ERR_MESSAGE_SIZE]; /* what was attempted, then why; no full stop */
	char hint[ERR_HINT_SIZE];	/* what to do, or "" */
};

#define ERR_INIT ((struct err){ .kind = ERR_NONE })

/* Shows the optimiser and the analysers that a failure path cannot report success. */
static inline int err_negative(int r)
{
	return r < 0 ? r : -EIO;
}

/* Each fills `err` and yields the negative number to return. `err` is never NULL. */
#define err_set(err, kind, ...) err_negative(err_fill((err), (kind), 0, __VA_ARGS__))
#define err_sys(err, r, ...)	err_negative(err_fill((err), ERR_SYSTEM, (r), __VA_ARGS__))
/* Puts "text: " in front of the message that `err` already has; `r` is passed on. */
#define err_context(err, r, ...) err_negative(err_prefix((err), (r), __VA_ARGS__))

/*
 * Fills `err`. For ERR_SYSTEM, `r` is a -errno and ": strerror" is appended; otherwise `r` is 0 and
 * the return value is the kind's own negative errno (ERR_NOT_FOUND gives -ENOENT and so on).
 * Control characters in the text are escaped, so that hostile text may be quoted in a message.
 */
int err_fill(struct err *err, enum err_kind kind, int r, const char *format, ...) PRINTF_LIKE(4, 5);
int err_prefix(struct err *err, int r, const char *format, ...) PRINTF_LIKE(3, 4);

/* Adds the cure that the user is told on a line of its own. Replaces an earlier one. */
void err_hint(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

/*
 * Appends `other` to `err` ("first; then: second"): for rollbacks that fail too. When `err` is
 * empty it becomes `other`.
 */
void err_append(struct err *err, const struct err *other);

/* The stable word for a kind ("not_found"), used in JSON. */
const char *err_kind_name(enum err_kind kind);

/* The kind for a stable word, or ERR_SYSTEM when unknown. */
enum err_kind err_kind_from_name(const char *name);
