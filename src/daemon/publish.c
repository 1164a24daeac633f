#include "daemon/publish.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/publish_private.h"

#define BACKLOG	    128
#define EVENTS_MAX  64
#define ACCEPTS_MAX 16	 /* of one listener in a turn */
#define TICK_MS	    50	 /* while something waits for time to pass */
#define NO_FDS_MS   1000 /* accept() found no descriptors: not before this */

static struct publish_group *find_group(const struct publish *publish, const char *id)
{
	for (size_t i = 0; i < publish->group_count; i++) {
		if (str_eq(publish->groups[i]->id, id))
			return publish->groups[i];
	}
	return NULL;
}

static struct publish_listener *find_listener(struct publish_group *group,
					      const struct vm_port *port)
{
	for (size_t i = 0; group && i < group->listener_count; i++) {
		struct publish_listener *listener = &group->listeners[i];

		if (listener->port.host == port->host && listener->port.address == port->address)
			return listener;
	}
	return NULL;
}

/* --- the worker --- */

static void watch_listener(struct publish *publish, struct publish_listener *listener, bool on)
{
	const union publish_event ref = { .kind = PUBLISH_LISTENER,
					  .generation = listener->generation };
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = ref.word };

	if (listener->is_watched == on)
		return;
	if (epoll_ctl(publish->epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listener->fd,
		      &event) == 0)
		listener->is_watched = on;
}

static bool has_room(const struct publish *publish, const struct publish_group *group)
{
	return publish->accept_again_ns == 0 &&
	       publish->connection_count < PUBLISH_CONNECTIONS_MAX &&
	       group->connection_count < PUBLISH_VM_CONNECTIONS_MAX;
}

/* Whoever may accept is watched; the others' clients wait. */
static void watch_listeners(struct publish *publish)
{
	publish->is_room_changed = false;
	for (size_t i = 0; i < publish->group_count; i++) {
		struct publish_group *group = publish->groups[i];
		const bool on = group->socket && has_room(publish, group);

		for (size_t k = 0; k < group->listener_count; k++)
			watch_listener(publish, &group->listeners[k], on);
	}
}

static void wait_for_fds(struct publish *publish)
{
	publish->accept_again_ns = clock_now_ns() + NO_FDS_MS * NSEC_PER_MSEC;
	publish->is_room_changed = true;
}

static void accept_some(struct publish *publish, uint32_t generation)
{
	struct publish_group *group = NULL;
	struct publish_listener *listener = NULL;

	for (size_t i = 0; i < publish->group_count && !listener; i++) {
		group = publish->groups[i];
		for (size_t k = 0; k < group->listener_count && !listener; k++) {
			if (group->listeners[k].generation == generation)
				listener = &group->listeners[k];
		}
	}
	for (int i = 0; listener && i < ACCEPTS_MAX && has_room(publish, group); i++) {
		/* Who it is does not matter. */
		// cppcheck-suppress nullPointer
		const int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
			connection_begin(publish, group, listener->port.guest, fd);
		else if (errno == EAGAIN)
			return;
		else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			wait_for_fds(publish);
	}
}

static void serve_event(struct publish *publish, union publish_event event)
{
	struct publish_connection *connection;

	if (event.kind == PUBLISH_WAKE)
		return;
	if (event.kind == PUBLISH_LISTENER) {
		accept_some(publish, event.generation);
		return;
	}
	connection = event.slot < PUBLISH_CONNECTIONS_MAX ? publish->connections[event.slot] : NULL;
	if (connection && connection->generation == event.generation)
		connection_step(connection);
}

/* What time does: guests that do not answer, VMMs that had no room, descriptors that are back. */
static void serve_time(struct publish *publish)
{
	const uint64_t now_ns = clock_now_ns();

	if (publish->accept_again_ns > 0 && publish->accept_again_ns <= now_ns) {
		publish->accept_again_ns = 0;
		publish->is_room_changed = true;
	}
	for (size_t i = 0; publish->opening_count > 0 && i < PUBLISH_CONNECTIONS_MAX; i++) {
		struct publish_connection *connection = publish->connections[i];

		if (!connection || connection->is_open)
			continue;
		if (connection->deadline_ns <= now_ns)
			connection_end(connection, true);
		else if (!connection->is_connected)
			connection_step(connection);
	}
}

static void *worker_run(void *context)
{
	struct publish *publish = context;
	struct epoll_event events[EVENTS_MAX];
	int timeout_ms = -1;

	for (;;) {
		const int count = epoll_wait(publish->epoll_fd, events, EVENTS_MAX, timeout_ms);

		(void)pthread_mutex_lock(&publish->lock);
		if (publish->is_ending)
			break;
		for (int i = 0; i < count; i++)
			serve_event(publish, (union publish_event){ .word = events[i].data.u64 });
		serve_time(publish);
		if (publish->is_room_changed)
			watch_listeners(publish);
		timeout_ms =
			publish->opening_count > 0 || publish->accept_again_ns > 0 ? TICK_MS : -1;
		(void)pthread_mutex_unlock(&publish->lock);
	}
	(void)pthread_mutex_unlock(&publish->lock);
	return NULL;
}

int publish_new(uint64_t answer_ms, struct publish **ret, struct err *err)
{
	struct publish *publish = mem_alloc(1, sizeof(*publish));
	struct epoll_event event = { .events = EPOLLIN };
	int r = 0;

	publish->answer_ms = answer_ms;
	(void)pthread_mutex_init(&publish->lock, NULL);
	publish->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	publish->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	event.data.u64 = (union publish_event){ .kind = PUBLISH_WAKE }.word;
	if (publish->epoll_fd < 0 || publish->wake_fd < 0 ||
	    epoll_ctl(publish->epoll_fd, EPOLL_CTL_ADD, publish->wake_fd, &event) < 0)
		r = -errno;
	if (r == 0)
		r = -pthread_create(&publish->thread, NULL, worker_run, publish);
	if (r < 0) {
		fd_close(publish->epoll_fd);
		fd_close(publish->wake_fd);
		(void)pthread_mutex_destroy(&publish->lock);
		mem_free(publish);
		return err_sys(err, r, "start the worker of published ports");
	}
	*ret = publish;
	return 0;
}

/* --- groups; the lock is held --- */

static void drop_group(struct publish *publish, struct publish_group *group)
{
	size_t at = 0;

	publish->changes++;
	for (size_t i = 0; group->connection_count > 0 && i < PUBLISH_CONNECTIONS_MAX; i++) {
		if (publish->connections[i] && publish->connections[i]->group == group)
			connection_end(publish->connections[i], true);
	}
	for (size_t i = 0; i < group->listener_count; i++)
		fd_close(group->listeners[i].fd);
	while (publish->groups[at] != group)
		at++;
	publish->groups[at] = publish->groups[--publish->group_count];
	mem_free(group->name);
	mem_free(group->socket);
	mem_free(group);
}

static struct publish_group *ensure_group(struct publish *publish, const struct vm *vm)
{
	struct publish_group *group = find_group(publish, vm->id);

	if (group)
		return group;
	group = mem_alloc(1, sizeof(*group));
	memcpy(group->id, vm->id, sizeof(group->id));
	group->name = mem_strdup(vm->name ? vm->name : vm->id);
	publish->groups =
		mem_grow(publish->groups, publish->group_count + 1, sizeof(struct publish_group *));
	publish->groups[publish->group_count++] = group;
	return group;
}

/* Another VM's, if it is known to be. */
static const char *find_user(const struct publish *publish, const struct vm_port *port)
{
	for (size_t i = 0; i < publish->group_count; i++) {
		const struct publish_group *group = publish->groups[i];

		for (size_t k = 0; k < group->listener_count; k++) {
			if (group->listeners[k].port.host == port->host)
				return group->name;
		}
	}
	return NULL;
}

static int fail_open(const struct publish *publish, const struct vm_port *port, int r,
		     struct err *err)
{
	const char *user = find_user(publish, port);
	AUTO_BUF place = BUF_INIT;

	vm_port_format_host(&place, port);
	switch (-r) {
	case EADDRINUSE:
		r = user ? err_set(err, ERR_BUSY, "%s is in use by VM '%s'", place.ptr, user)
			 : err_set(err, ERR_BUSY, "%s is in use", place.ptr);
		err_hint(err, "publish at another port; port 0 is any that is free");
		return r;
	case EACCES:
		r = err_set(err, ERR_UNSUPPORTED, "%s is a privileged port", place.ptr);
		err_hint(err, "publish at one from 1024 on; port 0 is any that is free");
		return r;
	case EADDRNOTAVAIL:
		r = err_set(err, ERR_INVALID, "%s: this host has no such address", place.ptr);
		err_hint(err, "without an address it is 127.0.0.1; 0.0.0.0 is all that it has");
		return r;
	default:
		return err_sys(err, r, "listen at %s", place.ptr);
	}
}

/* Listens at the port; a 0 becomes the one that the kernel has chosen. */
static int listen_at(struct vm_port *port, int *ret_fd)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port->host),
		.sin_addr.s_addr = htonl(port->address),
	};
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(address);
	const int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, BACKLOG) < 0 || getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		return -errno;
	port->host = ntohs(address.sin_port);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int open_all(struct publish *publish, struct publish_group *group, struct vm_port *ports,
		    size_t count, struct err *err)
{
	const size_t before = group->listener_count;

	for (size_t i = 0; i < count; i++) {
		struct publish_listener *listener = &group->listeners[group->listener_count];
		struct vm_port port = ports[i];
		int fd = -1;
		int r = 0;

		if (port.host != 0 && find_listener(group, &port))
			continue;
		if (group->listener_count == VM_PORTS_MAX)
			r = -ENOSPC;
		if (r == 0)
			r = listen_at(&port, &fd);
		if (r < 0) {
			r = fail_open(publish, &port, r, err);
			while (group->listener_count > before)
				fd_close(group->listeners[--group->listener_count].fd);
			return r;
		}
		*listener = (struct publish_listener){ .port = port,
						       .fd = fd,
						       .generation = ++publish->generation };
		group->listener_count++;
		publish->changes++;
		ports[i] = port;
	}
	return 0;
}

/* --- from other threads --- */

static void wake(const struct publish *publish)
{
	const uint64_t one = 1;

	/* Full means that it will wake. */
	IGNORE_RESULT(fd_write_some(publish->wake_fd, span_of(&one, sizeof(one))));
}

int publish_open(struct publish *publish, const struct vm *vm, struct vm_port *ports, size_t count,
		 struct err *err)
{
	struct publish_group *group;
	int r;

	if (count == 0)
		return 0;
	(void)pthread_mutex_lock(&publish->lock);
	group = ensure_group(publish, vm);
	r = open_all(publish, group, ports, count, err);
	if (group->listener_count == 0)
		drop_group(publish, group);
	else if (group->socket)
		watch_listeners(publish);
	(void)pthread_mutex_unlock(&publish->lock);
	return r;
}

void publish_serve(struct publish *publish, const struct vm *vm, const char *socket_path)
{
	struct publish_group *group;

	(void)pthread_mutex_lock(&publish->lock);
	group = find_group(publish, vm->id);
	if (group && !str_eq(group->socket, socket_path)) {
		mem_free(group->socket);
		mem_free(group->name);
		group->socket = mem_strdup(socket_path);
		group->name = mem_strdup(vm->name);
		publish->changes++;
		watch_listeners(publish);
	}
	(void)pthread_mutex_unlock(&publish->lock);
}

static void close_ports(struct publish *publish, const char *id, bool even_reserved)
{
	struct publish_group *group;

	(void)pthread_mutex_lock(&publish->lock);
	group = find_group(publish, id);
	if (group && (even_reserved || group->socket))
		drop_group(publish, group);
	if (publish->is_room_changed)
		watch_listeners(publish);
	(void)pthread_mutex_unlock(&publish->lock);
}

void publish_stop(struct publish *publish, const char *id)
{
	close_ports(publish, id, false);
}

void publish_close(struct publish *publish, const char *id)
{
	close_ports(publish, id, true);
}

uint64_t publish_changes(const struct publish *publish)
{
	return publish->changes;
}

uint64_t publish_served(struct publish *publish, const struct vm *vm)
{
	struct publish_group *group;
	uint64_t served = 0;

	if (vm->spec.port_count == 0)
		return 0;
	(void)pthread_mutex_lock(&publish->lock);
	group = find_group(publish, vm->id);
	for (size_t i = 0; group && group->socket && i < vm->spec.port_count; i++) {
		if (find_listener(group, &vm->spec.ports[i]))
			served |= 1ULL << i;
	}
	(void)pthread_mutex_unlock(&publish->lock);
	return served;
}

void publish_free(struct publish *publish)
{
	if (!publish)
		return;
	(void)pthread_mutex_lock(&publish->lock);
	publish->is_ending = true;
	(void)pthread_mutex_unlock(&publish->lock);
	wake(publish);
	(void)pthread_join(publish->thread, NULL);
	while (publish->group_count > 0)
		drop_group(publish, publish->groups[0]);
	mem_free(publish->groups);
	fd_close(publish->epoll_fd);
	fd_close(publish->wake_fd);
	(void)pthread_mutex_destroy(&publish->lock);
	mem_free(publish);
}
