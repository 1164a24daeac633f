/*
 * What the server's files share: server.c accepts, watches and joins; connection.c is the life of
 * one connection; dispatch.c runs one request.
 *
 * Two locks, each a leaf: nothing is called and no other lock is taken while one is held.
 *   server->lock           the slots, and each connection's `running`
 *   connection->out_lock   the sending side, and a call's rate limit: progress may come from other
 * threads Everything else of a connection belongs to its own thread.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/unix_socket.h"
#include "rpc/server.h"

enum rpc_slot_state {
	RPC_SLOT_FREE,
	RPC_SLOT_RUNNING,
	RPC_SLOT_ENDED, /* its thread is about to return: to be joined */
};

struct rpc_slot {
	enum rpc_slot_state state;
	uint32_t generation;		   /* stale events are told by it */
	struct rpc_connection *connection; /* owned unless free */
	pthread_t thread;		   /* unless free */
};

struct rpc_server {
	struct rpc_server_config config;
	struct cancel stop; /* fired once */
	int epoll_fd;	    /* owned */
	int ended_fd;	    /* owned eventfd: some thread is to be joined */
	int reserve_fd;	    /* owned: given up to tell a peer that descriptors are gone */
	bool is_paused;	    /* not accepting for a moment; the loop's own */
	bool has_loop;
	pthread_t loop;
	pthread_mutex_t lock;
	struct rpc_slot *slots;	   /* owned; config.clients_max of them */
	uint64_t connections_made; /* the loop's own */
};

struct rpc_hook {
	rpc_close_hook *function;
	void *context; /* borrowed */
};

struct rpc_connection {
	struct rpc_server *server; /* borrowed */
	uint32_t slot;
	uint64_t id;
	int fd; /* owned */
	struct unix_peer peer;

	struct buf in;
	size_t in_scanned; /* bytes of `in` known to hold no newline */
	uint64_t frame_deadline_ns;

	struct rpc_hook hooks[RPC_CLOSE_HOOKS_MAX];
	size_t hook_count;

	struct cancel *running; /* server->lock: the present request's, borrowed */

	pthread_mutex_t out_lock;
	struct buf out; /* out_lock: the rest of progress that did not fit into the socket */
};

struct rpc_call {
	struct rpc_connection *connection; /* borrowed */
	const struct rpc_method *method;   /* borrowed */
	json_t *id;			   /* borrowed from the request */
	struct cancel cancel;
	struct progress progress;
	const struct progress *observer; /* borrowed */
	uint64_t started_ns;
	uint64_t reported_ns;	 /* out_lock */
	char reported_stage[32]; /* out_lock */
	int passed_fd;		 /* owned */
	struct buf result_text;	 /* in place of the result when it is not empty */
};

/* connection.c: takes over a connection in its thread (`argument` is a struct rpc_connection). */
void *rpc_connection_main(void *argument);
struct rpc_connection *rpc_connection_new(struct rpc_server *server, int fd, /* given */
					  const struct unix_peer *peer);
void rpc_connection_free(struct rpc_connection *connection);

/* Sends a whole frame, `passed_fd` (borrowed, -1 for none) on its first byte. -errno: the peer is
 * lost. */
int rpc_connection_send(struct rpc_connection *connection, struct span frame, int passed_fd)
	MUST_CHECK;

/* Sends what fits now; the caller holds out_lock. May drop it when the peer does not read. */
void rpc_connection_send_lossy(struct rpc_connection *connection, struct span frame);

/* Whether the peer has left so much unread that progress would take its answer's place. */
bool rpc_connection_is_behind(const struct rpc_connection *connection);

/* Whether both directions are closed. */
bool rpc_connection_peer_is_gone(struct rpc_connection *connection);

/*
 * dispatch.c: runs the request of one frame and answers it. -errno: nothing more can be done on
 * this connection (-ECANCELED when the peer had gone before the request began).
 */
int rpc_dispatch(struct rpc_connection *connection, struct span frame) MUST_CHECK;

/* server.c: the connection's present request; -ECANCELED when the peer has gone already. */
int rpc_server_begin_call(struct rpc_connection *connection, struct cancel *cancel) MUST_CHECK;
void rpc_server_end_call(struct rpc_connection *connection);

/* server.c: the thread's last act. The connection may be gone when it returns. */
void rpc_server_connection_ended(struct rpc_connection *connection);

void rpc_server_tell(const struct rpc_server *server, enum rpc_event event, const char *format, ...)
	PRINTF_LIKE(3, 4);
