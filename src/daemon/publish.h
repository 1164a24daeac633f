/*
 * Published ports: listeners of the host whose connections go to ports of guests, each through the
 * VM's agent, so that no guest needs a network. One worker thread serves all of them with epoll.
 *
 * A VM's ports are first opened, which reserves them: connections wait. From publish_serve() on
 * they are accepted, and each gets a stream of its own to the guest ("forward" of
 * docs/agent-protocol.md). Half-closes are passed on in both directions, neither side is read
 * faster than the other takes it, and a connection whose guest refuses, breaks the protocol or does
 * not answer in PUBLISH_ANSWER_MS is reset. Limits: PUBLISH_VM_CONNECTIONS_MAX connections of one
 * VM and PUBLISH_CONNECTIONS_MAX of all; what comes beyond them waits to be accepted until another
 * ends.
 *
 * Who may connect to an address of the host may use what is published there: users of the host
 * cannot be told apart. All functions may be called from any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "model/vm.h"

#define PUBLISH_CONNECTIONS_MAX	   1024	 /* two descriptors and 64 KiB each */
#define PUBLISH_VM_CONNECTIONS_MAX 256	 /* the agent serves 512 of everything */
#define PUBLISH_ANSWER_MS	   10000 /* for a guest to answer a connection */

struct publish;

/* Starts the worker. `answer_ms`: PUBLISH_ANSWER_MS, but for tests. */
int publish_new(uint64_t answer_ms, struct publish **ret, struct err *err) MUST_CHECK;

/* Ends the worker, all listeners and all connections. NULL is accepted. */
void publish_free(struct publish *publish);
DEFINE_FREEP(publish, publish_free);

/*
 * Opens the ports of a VM that are not open yet, all or none of those, and fills in which port a 0
 * became. ERR_BUSY: one is in use, ERR_UNSUPPORTED: one is privileged, ERR_INVALID: the host has no
 * such address; with a hint.
 */
int publish_open(struct publish *publish, const struct vm *vm, struct vm_port *ports, size_t count,
		 struct err *err) MUST_CHECK;

/* From now on connections of the VM are served through its VMM's vsock socket. */
void publish_serve(struct publish *publish, const struct vm *vm, const char *socket_path);

/* Closes the VM's ports and connections: if they are served, or in any case. */
void publish_stop(struct publish *publish, const char *id);
void publish_close(struct publish *publish, const char *id);

/* A number that grows whenever some port begins or ends to be served. */
uint64_t publish_changes(const struct publish *publish);

/* Which of the VM's ports are served: a bit for each. */
uint64_t publish_served(struct publish *publish, const struct vm *vm);
