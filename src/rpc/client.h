/*
 * The client's side of JSON-RPC: one connection, one call at a time, from one thread. Several
 * connections may be served side by side in one poll loop with rpc_begin() and rpc_step().
 *
 * A call has no deadline of its own (building an image takes minutes); a daemon that dies closes
 * the socket, which ends the call at once. Cancelling a call closes the connection: by contract the
 * daemon then cancels the request and undoes what it had begun. Errors come back as the struct err
 * that the daemon's handler filled: kind, errno, message and hint.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/progress.h"

struct rpc_client;

/*
 * Connects. ERR_NOT_FOUND when no daemon listens there; ERR_LIMIT when the path is too long for a
 * socket.
 */
int rpc_connect(const char *path, struct rpc_client **ret, struct err *err) MUST_CHECK;

/* A client over a connected stream socket, which is given. */
struct rpc_client *rpc_client_of(int fd) MUST_CHECK;

/* Closes. NULL is accepted. */
void rpc_client_free(struct rpc_client *client);
DEFINE_FREEP(rpc_client, rpc_client_free);

/* The connection's descriptor (borrowed), -1 once it is closed: for polling that the daemon lives.
 */
int rpc_client_fd(const struct rpc_client *client);

/* All optional; NULL stands for all zero. */
struct rpc_options {
	const struct progress
		*progress; /* called in the caller's thread with what the daemon reports */
	const struct cancel
		*cancel;     /* ends the call with ERR_CANCELLED and closes the connection */
	uint64_t timeout_ms; /* 0: none; else ERR_TIMEOUT, and closes the connection */
	int *ret_fd; /* the descriptor that came with the reply, -1 when none did: the caller's */
};

/*
 * Calls `method` and waits for its reply. `params` is given (also on failure) and may be NULL. *ret
 * is the result object, the caller's. Failures of the daemon's handler leave the connection usable;
 * ERR_PROTOCOL, ERR_CANCELLED and transport errors close it, and later calls fail with
 * ERR_BAD_STATE. A closed connection's message says that the daemon went away. A missing method is
 * ERR_UNSUPPORTED (an older daemon).
 */
int rpc_call(struct rpc_client *client, const char *method, json_t *params,
	     const struct rpc_options *options, json_t **ret, struct err *err) MUST_CHECK;

/*
 * The halves of rpc_call(). rpc_begin() sends the request; what `options` points to must live until
 * the outcome, but cancel and timeout only count for the sending: waiting is the caller's, who
 * polls rpc_client_fd() for POLLIN and calls rpc_step(). That takes what has arrived and never
 * waits: 1 and *ret when the reply is complete, 0 when it is not, negative as rpc_call().
 */
int rpc_begin(struct rpc_client *client, const char *method, json_t *params,
	      const struct rpc_options *options, struct err *err) MUST_CHECK;
int rpc_step(struct rpc_client *client, json_t **ret, struct err *err) MUST_CHECK;

/* Closes the connection and keeps the object: an unfinished call is cancelled in the daemon. */
void rpc_client_close(struct rpc_client *client);

enum rpc_presence {
	RPC_ABSENT, /* nothing at the path */
	RPC_STALE,  /* something is there, and nobody listens: a daemon died */
	RPC_SILENT, /* somebody listens and does not answer a ping in time */
	RPC_ALIVE,  /* answered */
};

/*
 * Finds out within `timeout_ms` (1000 is what the CLI uses) who is at `path`. With RPC_ALIVE,
 * *ret_ping (may be NULL) is the result of "ping", the caller's; otherwise NULL. Negative only when
 * it cannot be found out at all: no permission (then `err` says so), a path too long, or the daemon
 * refused us.
 */
int rpc_probe(const char *path, uint64_t timeout_ms, enum rpc_presence *ret, json_t **ret_ping,
	      struct err *err) MUST_CHECK;
