/*
 * The server's own thread: one epoll loop that accepts, watches connections for hang-ups, and joins
 * the threads of those that ended. Events carry a slot and its generation, never a pointer, so a
 * late event for a connection that is gone is told from one for its successor.
 *
 * Connections are registered for nothing but EPOLLHUP (always on), edge-triggered: bytes are their
 * own threads' business, and a hang-up is told once. A request that begins later looks for itself.
 */
#include "rpc/server.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "rpc/private.h"

#define EVENTS_AT_ONCE	32
#define ACCEPT_AT_ONCE	16  /* then the other events get their turn */
#define ACCEPT_PAUSE_MS 100 /* without descriptors or threads */
#define OVERFLOW_UID	65534

enum source { SOURCE_STOP, SOURCE_LISTENER, SOURCE_ENDED, SOURCE_CONNECTION };

union event_ref {
	struct {
		uint32_t source : 8;
		uint32_t slot : 24;
		uint32_t generation;
	};
	uint64_t word;
};
_Static_assert(sizeof(union event_ref) == sizeof(((struct epoll_event *)0)->data.u64),
	       "an event reference must fit in epoll's data word");

bool rpc_peer_is_allowed(uid_t uid, uid_t owner_uid)
{
	return uid != OVERFLOW_UID && (uid == owner_uid || uid == 0);
}

void rpc_server_tell(const struct rpc_server *server, enum rpc_event event, const char *format, ...)
{
	AUTO_BUF text = BUF_INIT;
	va_list args;

	if (!server->config.on_event)
		return;

	va_start(args, format);
	buf_vaddf(&text, format, args);
	va_end(args);
	server->config.on_event(server->config.context, event, text.ptr);
}

static int watch(const struct rpc_server *server, int operation, int fd, uint32_t events,
		 union event_ref ref)
{
	struct epoll_event event = { .events = events, .data.u64 = ref.word };

	return epoll_ctl(server->epoll_fd, operation, fd, &event) < 0 ? -errno : 0;
}

/* --- connections ------------------------------------------------------------------------------ */

int rpc_server_begin_call(struct rpc_connection *connection, struct cancel *cancel)
{
	struct rpc_server *server = connection->server;

	pthread_mutex_lock(&server->lock);
	connection->running = cancel;
	/* Stopping fires what it finds under this lock, so what comes later must look for itself.
	 */
	if (cancel_is_fired(&server->stop))
		cancel_fire(cancel);
	pthread_mutex_unlock(&server->lock);

	/* A hang-up from now on is the watcher's; this is for one that it saw while nothing ran. */
	if (!rpc_connection_peer_is_gone(connection))
		return 0;
	rpc_server_end_call(connection);
	return -ECANCELED;
}

void rpc_server_end_call(struct rpc_connection *connection)
{
	struct rpc_server *server = connection->server;

	pthread_mutex_lock(&server->lock);
	connection->running = NULL;
	pthread_mutex_unlock(&server->lock);
}

void rpc_server_connection_ended(struct rpc_connection *connection)
{
	struct rpc_server *server = connection->server;
	const uint64_t one = 1;
	ssize_t n;

	/* The peer must not wait for somebody to join us. */
	(void)epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL);
	fd_closep(&connection->fd);

	pthread_mutex_lock(&server->lock);
	server->slots[connection->slot].state = RPC_SLOT_ENDED;
	pthread_mutex_unlock(&server->lock);
	/* The server outlives its threads, so this is safe although the connection may be gone now.
	 */
	n = write(server->ended_fd, &one, sizeof(one));
	(void)n; /* it fails only when the counter is full, and then the loop is told already */
}

/* A peer closed both directions: its request, if one runs, is cancelled. */
static void hang_up(struct rpc_server *server, union event_ref ref)
{
	const struct rpc_slot *slot;

	pthread_mutex_lock(&server->lock);
	slot = &server->slots[ref.slot];
	if (slot->state == RPC_SLOT_RUNNING && slot->generation == ref.generation &&
	    slot->connection->running)
		cancel_fire(slot->connection->running);
	pthread_mutex_unlock(&server->lock);
}

/* Waits for the slot's thread, which has ended or is about to, and frees the slot. */
static void join_slot(struct rpc_server *server, struct rpc_slot *slot)
{
	(void)pthread_join(slot->thread, NULL);
	rpc_connection_free(slot->connection);

	pthread_mutex_lock(&server->lock);
	slot->connection = NULL;
	slot->generation++;
	slot->state = RPC_SLOT_FREE;
	pthread_mutex_unlock(&server->lock);
}

static enum rpc_slot_state slot_state(struct rpc_server *server, const struct rpc_slot *slot)
{
	enum rpc_slot_state state;

	pthread_mutex_lock(&server->lock);
	state = slot->state;
	pthread_mutex_unlock(&server->lock);
	return state;
}

static void join_ended(struct rpc_server *server)
{
	uint64_t count;
	const ssize_t n = read(server->ended_fd, &count, sizeof(count));

	(void)n;
	for (size_t i = 0; i < server->config.clients_max; i++) {
		if (slot_state(server, &server->slots[i]) == RPC_SLOT_ENDED)
			join_slot(server, &server->slots[i]);
	}
}

/* A thread of ours takes no signals: they are the program's. */
static int start_thread(pthread_t *thread, void *(*main)(void *), void *argument)
{
	sigset_t all, before;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(thread, NULL, main, argument);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

/* Index of a free slot, or clients_max. */
static size_t find_free_slot(struct rpc_server *server)
{
	size_t i = 0;

	while (i < server->config.clients_max &&
	       slot_state(server, &server->slots[i]) != RPC_SLOT_FREE)
		i++;
	return i;
}

/* Puts a connection (given) into the slot and starts its thread. */
/* `connection` is given only when it succeeds. */
static int start_connection(struct rpc_server *server, size_t index,
			    struct rpc_connection *connection)
{
	struct rpc_slot *slot = &server->slots[index];
	const union event_ref ref = { .source = SOURCE_CONNECTION,
				      .slot = (uint32_t)index & 0xFFFFFF,
				      .generation = slot->generation };
	int r;

	connection->slot = (uint32_t)index;
	connection->id = ++server->connections_made;

	/* Before its thread begins, so that no hang-up is missed. */
	pthread_mutex_lock(&server->lock);
	slot->connection = connection;
	slot->state = RPC_SLOT_RUNNING;
	pthread_mutex_unlock(&server->lock);

	r = watch(server, EPOLL_CTL_ADD, connection->fd, EPOLLET, ref);
	if (r == 0)
		r = start_thread(&slot->thread, rpc_connection_main, connection);
	if (r == 0)
		return 0;

	pthread_mutex_lock(&server->lock);
	slot->connection = NULL;
	slot->generation++;
	slot->state = RPC_SLOT_FREE;
	pthread_mutex_unlock(&server->lock);
	return r;
}

/* --- accepting -------------------------------------------------------------------------------- */

/* Says why, as far as the socket takes it at once (a fresh one does), and leaves the closing to the
 * caller. */
static void send_refusal(int fd, const struct err *err)
{
	AUTO_BUF line = BUF_INIT;
	ssize_t n;

	rpc_error_write(NULL, rpc_code_of(err), err, &line);
	n = send(fd, line.ptr, line.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)n;
}

static void pause_accepting(struct rpc_server *server, bool on)
{
	const union event_ref ref = { .source = SOURCE_LISTENER };

	(void)watch(server, EPOLL_CTL_MOD, server->config.listen_fd, on ? 0 : EPOLLIN, ref);
	server->is_paused = on;
}

/* Takes over an accepted connection, or refuses it in words. */
static void admit(struct rpc_server *server, int accepted)
{
	AUTO_CLOSE int fd = accepted;
	struct err err = ERR_INIT;
	struct rpc_connection *connection;
	struct unix_peer peer;
	size_t index;
	int r;

	r = unix_peer_of(fd, &peer);
	if (r < 0)
		return;
	if (!rpc_peer_is_allowed(peer.uid, server->config.owner_uid)) {
		(void)err_sys(&err, -EACCES, "user %u may not use this daemon", peer.uid);
		rpc_server_tell(server, RPC_EVENT_REFUSED_PEER, "client %d of user %u refused",
				(int)peer.pid, peer.uid);
		send_refusal(fd, &err);
		return;
	}

	join_ended(server);
	index = find_free_slot(server);
	if (index == server->config.clients_max) {
		(void)err_set(&err, ERR_LIMIT, "all %zu connections are in use",
			      server->config.clients_max);
		rpc_server_tell(server, RPC_EVENT_REFUSED_FULL, "client %d: %s", (int)peer.pid,
				err.message);
		send_refusal(fd, &err);
		return;
	}

	connection = rpc_connection_new(server, TAKE_FD(fd), &peer);
	r = start_connection(server, index, connection);
	if (r < 0) {
		(void)err_sys(&err, r, "serve client %d", (int)peer.pid);
		rpc_server_tell(server, RPC_EVENT_NO_RESOURCES, "%s", err.message);
		send_refusal(connection->fd, &err);
		rpc_connection_free(connection);
		pause_accepting(server, true);
	}
}

/*
 * No descriptor is left to accept with. One is kept for this: giving it up lets one peer be told
 * and closed, so that it does not wait. Then a pause, or the loop would spin on a listener that
 * stays ready.
 */
static void refuse_one(struct rpc_server *server, int reason)
{
	struct err err = ERR_INIT;
	int fd;

	(void)err_sys(&err, reason, "accept a connection");
	rpc_server_tell(server, RPC_EVENT_NO_RESOURCES, "%s", err.message);

	fd_closep(&server->reserve_fd);
	/* cppcheck-suppress nullPointer; accept4() may be told not to say who it is */
	fd = accept4(server->config.listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		send_refusal(fd, &err);
	fd_close(fd);
	server->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pause_accepting(server, true);
}

static void accept_some(struct rpc_server *server)
{
	for (size_t i = 0; i < ACCEPT_AT_ONCE && !server->is_paused; i++) {
		/* cppcheck-suppress nullPointer; as above */
		const int fd = accept4(server->config.listen_fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0)
			admit(server, fd);
		else if (errno == EAGAIN)
			return;
		else if (errno != EINTR && errno != ECONNABORTED)
			refuse_one(server, -errno);
	}
}

/* --- the loop --------------------------------------------------------------------------------- */

static void handle_event(struct rpc_server *server, union event_ref ref)
{
	switch ((enum source)ref.source) {
	case SOURCE_STOP:
		return; /* the loop's condition sees it */
	case SOURCE_LISTENER:
		accept_some(server);
		return;
	case SOURCE_ENDED:
		join_ended(server);
		return;
	case SOURCE_CONNECTION:
		hang_up(server, ref);
		return;
	}
}

static void *loop_main(void *argument)
{
	struct rpc_server *server = argument;
	struct epoll_event events[EVENTS_AT_ONCE];

	while (!cancel_is_fired(&server->stop)) {
		const int n = epoll_wait(server->epoll_fd, events, EVENTS_AT_ONCE,
					 server->is_paused ? ACCEPT_PAUSE_MS : -1);

		if (server->is_paused && n == 0)
			pause_accepting(server, false);
		for (int i = 0; i < n; i++)
			handle_event(server, (union event_ref){ .word = events[i].data.u64 });
	}
	return NULL;
}

static void check_methods(const struct rpc_server_config *config)
{
	for (size_t i = 0; i < config->method_count; i++) {
		const struct rpc_method *method = &config->methods[i];

		assert(method->name && method->summary && method->handler);
		assert(method->field_count == 0 || method->params_size > 0);
		for (size_t j = 0; j < i; j++)
			assert(!str_eq(config->methods[j].name, method->name));
	}
}

/* Everything that the loop needs; what was made so far is released by the caller on failure. */
static int prepare(struct rpc_server *server)
{
	const union event_ref stop = { .source = SOURCE_STOP };
	const union event_ref ended = { .source = SOURCE_ENDED };
	const union event_ref listener = { .source = SOURCE_LISTENER };
	int r;

	r = cancel_init(&server->stop);
	if (r < 0)
		return r;
	server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	server->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	server->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (server->epoll_fd < 0 || server->ended_fd < 0 || server->reserve_fd < 0)
		return -errno;

	r = fd_set_nonblocking(server->config.listen_fd, true);
	if (r == 0)
		r = watch(server, EPOLL_CTL_ADD, server->stop.fd, EPOLLIN, stop);
	if (r == 0)
		r = watch(server, EPOLL_CTL_ADD, server->ended_fd, EPOLLIN, ended);
	if (r == 0)
		r = watch(server, EPOLL_CTL_ADD, server->config.listen_fd, EPOLLIN, listener);
	return r;
}

int rpc_server_start(const struct rpc_server_config *config, struct rpc_server **ret,
		     struct err *err)
{
	CLEANUP(rpc_server_freep) struct rpc_server *server = NULL;
	int r;

	check_methods(config);
	server = mem_alloc(1, sizeof(*server));
	server->config = *config;
	if (server->config.clients_max == 0)
		server->config.clients_max = LIMIT_RPC_CLIENTS;
	server->stop = CANCEL_INIT;
	server->epoll_fd = -1;
	server->ended_fd = -1;
	server->reserve_fd = -1;
	server->slots = mem_alloc(server->config.clients_max, sizeof(*server->slots));
	pthread_mutex_init(&server->lock, NULL);

	r = prepare(server);
	if (r == 0)
		r = start_thread(&server->loop, loop_main, server);
	if (r < 0)
		return err_sys(err, r, "start the RPC server");
	server->has_loop = true;

	*ret = TAKE_PTR(server);
	return 0;
}

/* Fires what runs now; what begins later sees `stop` by itself. */
static void cancel_running(struct rpc_server *server)
{
	pthread_mutex_lock(&server->lock);
	for (size_t i = 0; i < server->config.clients_max; i++) {
		const struct rpc_slot *slot = &server->slots[i];

		if (slot->state == RPC_SLOT_RUNNING && slot->connection->running)
			cancel_fire(slot->connection->running);
	}
	pthread_mutex_unlock(&server->lock);
}

void rpc_server_stop(struct rpc_server *server)
{
	if (!server->has_loop)
		return;

	cancel_fire(&server->stop);
	(void)pthread_join(server->loop, NULL);
	server->has_loop = false;

	cancel_running(server);
	for (size_t i = 0; i < server->config.clients_max; i++) {
		if (slot_state(server, &server->slots[i]) != RPC_SLOT_FREE)
			join_slot(server, &server->slots[i]);
	}
}

void rpc_server_free(struct rpc_server *server)
{
	if (!server)
		return;

	rpc_server_stop(server);
	cancel_done(&server->stop);
	fd_close(server->epoll_fd);
	fd_close(server->ended_fd);
	fd_close(server->reserve_fd);
	pthread_mutex_destroy(&server->lock);
	mem_free(server->slots);
	mem_free(server);
}

size_t rpc_server_client_count(struct rpc_server *server)
{
	size_t count = 0;

	for (size_t i = 0; i < server->config.clients_max; i++)
		count += slot_state(server, &server->slots[i]) == RPC_SLOT_RUNNING;
	return count;
}
