/*
 * The JSON-RPC 2.0 server: one JSON object a line over a Unix stream socket (SPEC 4).
 *
 * One thread per connection reads requests and runs them in order, so a handler is straight-line
 * blocking code. One more thread accepts, joins finished threads and watches every connection for a
 * hang-up: a peer that closed both directions fires the cancel of the request that it left behind.
 * A half-closed peer (shutdown for writing) only means that no further request comes; it still gets
 * its answer.
 *
 * What a peer can make grow is bounded: frames (LIMIT_RPC_FRAME_BYTES), values in a frame, depth,
 * connections (LIMIT_RPC_CLIENTS), close hooks, and the time that a started frame may take. Frames
 * that break a rule get a JSON-RPC error; those after which the stream cannot be trusted
 * (over-long, slow, carrying descriptors) also end the connection.
 *
 * Batches and notifications are refused with -32600: every request has an id, a string of at most
 * RPC_ID_BYTES_MAX bytes or an integer that fits int64, and gets exactly one answer with that id.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/json.h"
#include "base/macros.h"
#include "base/progress.h"
#include "rpc/frame.h"

#define RPC_CLOSE_HOOKS_MAX 8 /* per connection: one for each kind of thing that depends on it */

struct rpc_call;

/*
 * Handles one request, in its connection's thread. `params` is the struct that the method's fields
 * describe (zeroed where optional members are missing), borrowed until the handler returns;
 * `result` is an empty object to fill. 0, or a negative number with `err` filled: then `result` and
 * a passed descriptor are dropped.
 */
typedef int rpc_handler(struct rpc_call *call, const void *params, json_t *result, struct err *err);

/* One member of a result, for rpc.discover and the documents. */
struct rpc_result_field {
	const char *name;
	const char *type; /* "string", "integer", "boolean", "object", "array", ... */
	const char *meaning;
};

enum rpc_method_flags {
	RPC_MUTATES = 1U << 0,	 /* changes something; told by rpc.discover */
	RPC_PASSES_FD = 1U << 1, /* a descriptor rides on the reply */
};

struct rpc_method {
	const char *name;		 /* "vm.start" */
	const char *summary;		 /* one line for people */
	const struct json_field *fields; /* parameters; unknown ones are refused */
	size_t field_count;
	size_t params_size; /* of the struct that `fields` fill; 0 without fields */
	rpc_handler *handler;
	const struct rpc_result_field *results;
	size_t result_count;
	unsigned flags; /* enum rpc_method_flags */
};

/* What the server tells its owner about, for the log. */
enum rpc_event {
	RPC_EVENT_REFUSED_PEER, /* wrong uid */
	RPC_EVENT_REFUSED_FULL, /* over the connection limit */
	RPC_EVENT_DROPPED,	/* a peer broke the framing, was too slow, or sent descriptors */
	RPC_EVENT_NO_RESOURCES, /* out of descriptors or threads; accepting pauses */
};

struct rpc_server_config {
	int listen_fd;	 /* borrowed: a listening Unix stream socket; outlives the server */
	uid_t owner_uid; /* who may connect besides root */
	const struct rpc_method *methods; /* borrowed; rpc.discover is added by the server */
	size_t method_count;
	void *context; /* borrowed: rpc_call_context(), and the callbacks' first argument */

	/*
	 * Runs around every request when set (operation table, logging): it must call
	 * method->handler(call, params, result, err) and return what that returned. Not used for
	 * rpc.discover, nor for requests that are refused before they reach a handler.
	 */
	int (*around)(void *context, struct rpc_call *call, const struct rpc_method *method,
		      const void *params, json_t *result, struct err *err);

	/* Called from any of the server's threads; may be NULL. `text` is safe to print. */
	void (*on_event)(void *context, enum rpc_event event, const char *text);

	/* For tests; 0 gives the documented values. */
	uint64_t frame_timeout_ms; /* from a frame's first byte to its newline: 10 s */
	uint64_t send_timeout_ms;  /* for a peer to take an answer: 30 s */
	size_t clients_max;	   /* LIMIT_RPC_CLIENTS */
};

struct rpc_server;

/*
 * Starts serving with a thread of its own and returns at once. The table is checked (names unique,
 * handlers present): a mistake in it is an abort. ERR_SYSTEM when threads or descriptors are gone.
 */
int rpc_server_start(const struct rpc_server_config *config, struct rpc_server **ret,
		     struct err *err) MUST_CHECK;

/*
 * Accepts nothing more, fires the cancel of every running request, waits until the handlers have
 * returned and their answers are sent (2 s for a peer that does not read), runs the close hooks and
 * joins all threads. Not from a handler (it would wait for itself): daemon.stop tells the main
 * thread instead.
 */
void rpc_server_stop(struct rpc_server *server);

/* Stops if that was not done, and releases. NULL is accepted. */
void rpc_server_free(struct rpc_server *server);
DEFINE_FREEP(rpc_server, rpc_server_free);

/* Connections at this moment. */
size_t rpc_server_client_count(struct rpc_server *server);

/*
 * Whether a peer with `uid` may talk to a server of `owner_uid`: the owner and root. 65534 is what
 * the kernel shows for a user who does not exist in our user namespace, so it is nobody in
 * particular and always refused.
 */
bool rpc_peer_is_allowed(uid_t uid, uid_t owner_uid);

/* --- what a handler may ask of its call ------------------------------------------------------- */

/* The config's context. */
void *rpc_call_context(const struct rpc_call *call);

/* The method's name; lives as long as the table. */
const char *rpc_call_method(const struct rpc_call *call);

/* Unique per connection, from 1; requests of one connection share it. */
uint64_t rpc_call_connection(const struct rpc_call *call);

/* The peer's process id at the time it connected. */
pid_t rpc_call_peer_pid(const struct rpc_call *call);

/*
 * Fires when the client has gone or the server stops; others may fire it too
 * (daemon.operations.cancel). Valid until the handler, and `around`, have returned.
 */
struct cancel *rpc_call_cancel(struct rpc_call *call);

/*
 * Sends progress notifications to this request's client. At most ten a second, but always those
 * that begin a new stage or complete one (done == total, not 0). Never blocks: a client that does
 * not read misses notifications. May be used from other threads until the handler returns.
 */
const struct progress *rpc_call_progress(struct rpc_call *call);

/* `observer` (borrowed until the handler returns) also sees every report, before the rate limit. */
void rpc_call_observe(struct rpc_call *call, const struct progress *observer);

/*
 * Gives `fd` to the client: it rides on the reply's first byte, and the result gets
 * "descriptor": true. Closed here in any case. At most one per call; a second replaces the first.
 */
void rpc_call_pass_fd(struct rpc_call *call, int fd);

/*
 * Answers with `text`, one JSON object, in place of the result: for what is kept ready. The bytes
 * are taken and `text` is empty afterwards; also with a passed descriptor, of which the object then
 * has to tell by itself.
 */
void rpc_call_set_result_text(struct rpc_call *call, struct buf *text);

/*
 * Runs `hook` in the connection's thread once this client is gone (or the server stops:
 * `is_stopping`), after the request in progress; several run in reverse order. It runs also when
 * the present handler fails afterwards. The same hook with the same context is kept once, however
 * often it is asked for. A half-closed connection with hooks stays open until the peer is gone.
 * `connection` is as from rpc_call_connection(). ERR_LIMIT past RPC_CLOSE_HOOKS_MAX.
 */
typedef void rpc_close_hook(void *hook_context, uint64_t connection, bool is_stopping);
int rpc_call_on_close(struct rpc_call *call, rpc_close_hook *hook, void *hook_context,
		      struct err *err) MUST_CHECK;
