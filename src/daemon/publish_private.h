/* What the files of publish share. All of it is behind the lock of struct publish. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "daemon/publish.h"
#include "model/names.h"

#define FLOW_BYTES 32768 /* on their way in one direction of a connection */

/* What epoll gives back. An event of a connection that is gone meanwhile has an old generation. */
union publish_event {
	struct {
		uint32_t kind : 8; /* enum publish_kind */
		uint32_t slot : 24;
		uint32_t generation;
	};
	uint64_t word;
};

enum publish_kind { PUBLISH_WAKE, PUBLISH_LISTENER, PUBLISH_CLIENT, PUBLISH_GUEST };

struct publish_listener {
	struct vm_port port;
	int fd; /* owned */
	uint32_t generation;
	bool is_watched; /* accepting: epoll has it */
};

/* The published ports of one VM. */
struct publish_group {
	char id[VM_ID_SIZE];
	char *name;   /* owned: for messages */
	char *socket; /* owned: NULL while they are only reserved */
	struct publish_listener listeners[VM_PORTS_MAX];
	size_t listener_count;
	size_t connection_count;
};

struct flow {
	size_t start; /* of what was read and not written */
	size_t end;
	bool has_ended; /* no more comes */
	bool is_done;	/* and the other side knows */
	uint8_t bytes[FLOW_BYTES];
};

enum { SIDE_CLIENT, SIDE_GUEST, SIDE_COUNT };

struct publish_connection {
	struct publish *publish;     /* borrowed */
	struct publish_group *group; /* borrowed: outlives it */
	uint32_t slot;
	uint32_t generation;
	int fds[SIDE_COUNT]; /* owned */
	uint32_t interest[SIDE_COUNT];
	uint16_t guest_port;
	bool is_connected;    /* to the VMM's socket */
	bool is_open;	      /* the guest has agreed: what comes from now on is its own */
	uint64_t deadline_ns; /* for that */
	struct flow there;    /* client to guest; before, our request */
	struct flow back;     /* guest to client; before, the answer */
};

struct publish {
	pthread_mutex_t lock;
	pthread_t thread;
	int epoll_fd; /* owned, as the next */
	int wake_fd;
	bool is_ending;
	uint64_t answer_ms;
	uint64_t accept_again_ns; /* 0: at once; otherwise accept() found no descriptors */
	bool is_room_changed;	  /* who may accept has to be looked at again */
	uint32_t generation;
	_Atomic uint64_t changes;
	struct publish_group **groups; /* owned, as what they point to; `group_count` */
	size_t group_count;
	struct publish_connection *connections[PUBLISH_CONNECTIONS_MAX]; /* owned; NULL: free */
	size_t connection_count;
	size_t opening_count; /* of them those that the guest has not agreed to */
};

/* --- publish_connection.c --- */

/* Takes a client in; `fd` is given. There must be room. */
void connection_begin(struct publish *publish, struct publish_group *group, uint16_t guest_port,
		      int fd);

/* Does what can be done now; the connection may be gone afterwards. */
void connection_step(struct publish_connection *connection);

/* Ends it: the client sees a reset when it is broken. */
void connection_end(struct publish_connection *connection, bool is_broken);
