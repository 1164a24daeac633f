/*
 * The isolated network as bangerd sees it: each operation is a message to the process of
 * net_holder.h. Which of them start it: priv_net_raise(), and whatever else needs the namespaces
 * that we still hold when their process has gone.
 */
#include <cap-ng.h>
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "priv/net_local.h"
#include "priv/net_remote.h"
#include "priv/priv.h"
#include "priv/private.h"

static struct net_remote *remote_of(struct priv_net *base)
{
	return (struct net_remote *)(void *)base; /* its first member */
}

/* --- operations --- */

/* Something that only can be done where there is a network. */
static int change(struct priv_net *base, const struct net_request *request, struct err *err)
{
	struct net_reply reply;
	enum presence presence;
	const int r = net_remote_ask(remote_of(base), request, &reply, NULL, &presence, err);

	if (r < 0 || presence == THERE)
		return r;
	return err_set(err, ERR_BAD_STATE, "the isolated network is gone");
}

/* Something that needs not be done where there is none. */
static int undo(struct priv_net *base, const struct net_request *request, struct err *err)
{
	struct net_reply reply;
	enum presence presence;

	return net_remote_ask(remote_of(base), request, &reply, NULL, &presence, err);
}

static struct span record_at(const struct buf *records, size_t i, size_t size)
{
	return span_of(records->ptr + i * size, size);
}

static int remote_look(struct priv_net *base, struct priv_net_state *ret, struct err *err)
{
	AUTO_PRIV_NET_STATE state = { 0 };
	struct net_reply reply = { .value = 0 };
	AUTO_BUF records = BUF_INIT;
	enum presence presence;
	int r;

	r = net_remote_ask(remote_of(base), &(struct net_request){ .op = NET_OP_LOOK }, &reply,
			   &records, &presence, err);
	if (r < 0)
		return r;
	state.taps = mem_alloc((size_t)reply.count + 1, sizeof(*state.taps));
	for (uint32_t i = 0; i < reply.count && r == 0; i++)
		r = net_tap_parse(record_at(&records, i, NET_TAP_SIZE), &state.taps[i], err);
	if (r < 0)
		return r;
	ret->taps = TAKE_PTR(state.taps);
	ret->tap_count = reply.count;
	/* A process without a bridge is a rest, too. */
	ret->has_bridge = presence == THERE;
	return 0;
}

static int remote_traffic(struct priv_net *base, struct priv_traffic **ret, size_t *ret_count,
			  struct err *err)
{
	AUTO_FREE struct priv_traffic *items = NULL;
	struct net_reply reply = { .value = 0 };
	AUTO_BUF records = BUF_INIT;
	enum presence presence;
	int r;

	r = net_remote_ask(remote_of(base), &(struct net_request){ .op = NET_OP_TRAFFIC }, &reply,
			   &records, &presence, err);
	if (r < 0)
		return r;
	items = mem_alloc((size_t)reply.count + 1, sizeof(*items));
	for (uint32_t i = 0; i < reply.count && r == 0; i++)
		r = net_traffic_parse(record_at(&records, i, NET_TRAFFIC_SIZE), &items[i], err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(items);
	*ret_count = reply.count;
	return 0;
}

static int remote_census(struct priv_net *base, priv_net_visit *visit, void *context,
			 struct err *err)
{
	struct net_reply reply = { .value = 0 };
	AUTO_BUF records = BUF_INIT;
	enum presence presence;
	int r;

	r = net_remote_ask(remote_of(base), &(struct net_request){ .op = NET_OP_CENSUS }, &reply,
			   &records, &presence, err);
	for (uint32_t i = 0; i < reply.count && r == 0; i++) {
		struct net_sighting found = { .is_ours = false };

		r = net_sighting_parse(record_at(&records, i, NET_SIGHTING_SIZE), &found, err);
		if (r == 0)
			visit(context, found.kind, found.name, found.is_ours,
			      found.vm_id[0] ? found.vm_id : NULL);
	}
	return r;
}

static struct net_request of_guests(enum net_op op, const struct net_guest *guests, size_t count)
{
	return (struct net_request){
		.op = op,
		.guests =
			(struct net_guest *)(uintptr_t)guests, // NOLINT(performance-no-int-to-ptr)
		.guest_count = count,
	};
}

static int remote_raise(struct priv_net *base, const struct net_guest *guests, size_t count,
			struct err *err)
{
	const struct net_request request = of_guests(NET_OP_RAISE, guests, count);

	return change(base, &request, err);
}

static int remote_clear(struct priv_net *base, struct err *err)
{
	struct net_remote *net = remote_of(base);
	int r;

	(void)pthread_mutex_lock(&net->lock);
	r = net_remote_end(net, err);
	(void)pthread_mutex_unlock(&net->lock);
	return r;
}

static int remote_tap_make(struct priv_net *base, uint32_t index, uid_t owner, struct err *err)
{
	(void)owner;
	return change(base, &(struct net_request){ .op = NET_OP_TAP_MAKE, .value = index }, err);
}

static int remote_tap_delete(struct priv_net *base, uint32_t index, struct err *err)
{
	return undo(base, &(struct net_request){ .op = NET_OP_TAP_DELETE, .value = index }, err);
}

static int remote_join(struct priv_net *base, const struct net_guest *guest, struct err *err)
{
	const struct net_request request = of_guests(NET_OP_JOIN, guest, 1);

	return change(base, &request, err);
}

static int remote_leave(struct priv_net *base, const struct net_guest *guest, struct err *err)
{
	const struct net_request request = of_guests(NET_OP_LEAVE, guest, 1);

	return undo(base, &request, err);
}

static int remote_set_nat(struct priv_net *base, const struct net_guest *guest, struct err *err)
{
	const struct net_request request = of_guests(NET_OP_SET_NAT, guest, 1);

	return change(base, &request, err);
}

static int remote_set_forwarding(struct priv_net *base, bool is_on, struct err *err)
{
	return undo(base, &(struct net_request){ .op = NET_OP_SET_FORWARDING, .value = is_on },
		    err);
}

static uint64_t remote_silences(const struct priv_net *base)
{
	return atomic_load(&((const struct net_remote *)(const void *)base)->silences);
}

static bool remote_way_out(struct priv_net *base, struct err *ret)
{
	return undo(base, &(struct net_request){ .op = NET_OP_STATUS }, ret) == 0;
}

/* --- watching --- */

static int remote_watch_fd(struct priv_net *base)
{
	return remote_of(base)->watch_fd;
}

/* Takes all that is there. 1: something was; 0: nothing; -EPIPE: nor will anything come. */
static int drain(int fd)
{
	char bytes[8192];
	int result = 0;
	ssize_t n;

	if (fd < 0)
		return 0;
	while ((n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0 ||
	       (n < 0 && errno == ENOBUFS))
		result = 1;
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) ? -EPIPE : result;
}

/* The host's addresses must be heard of: else guests could reach one that comes later. */
static int watch_routes(struct net_remote *net)
{
	struct epoll_event event = { .events = EPOLLIN };
	AUTO_CLOSE int fd = net_local_watch();

	if (fd < 0)
		return fd;
	if (epoll_ctl(net->watch_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	net->routes_fd = TAKE_FD(fd);
	return 0;
}

/* Whether the addresses may have changed. A socket of no use is replaced, now or the next time. */
static bool read_routes(struct net_remote *net)
{
	const int r = net->routes_fd < 0 ? -EPIPE : drain(net->routes_fd);

	if (r >= 0)
		return r > 0;
	fd_closep(&net->routes_fd);
	IGNORE_RESULT(watch_routes(net));
	return true;
}

/* Tells the holder of addresses that have come or gone. False: it does not listen. */
static bool heed_routes(struct net_remote *net)
{
	struct err ignored = ERR_INIT;
	int r;

	if (!read_routes(net) || net->fd < 0)
		return true;
	r = net_remote_tell_host(net, &ignored);
	/* With the next connection it is told anew. */
	return r >= 0 || net_remote_failed(net, r, &ignored) >= 0;
}

static bool remote_watch_read(struct priv_net *base)
{
	struct net_remote *net = remote_of(base);
	bool is_about_us;
	int r;

	(void)pthread_mutex_lock(&net->lock);
	r = drain(net->changes_fd);
	is_about_us = r != 0;
	if (r < 0)
		net_remote_disconnect(net); /* it has died: whoever asks next starts another one */
	is_about_us |= !heed_routes(net);
	(void)pthread_mutex_unlock(&net->lock);
	return is_about_us;
}

static bool remote_is_whole(struct priv_net *base, const struct net_guest *guests, size_t count)
{
	const struct net_request request = of_guests(NET_OP_IS_WHOLE, guests, count);
	struct net_remote *net = remote_of(base);
	struct net_reply reply = { .value = 0 };
	struct err ignored = ERR_INIT;
	enum presence presence;

	(void)pthread_mutex_lock(&net->lock);
	if (net->routes_fd < 0)
		(void)heed_routes(net); /* whoever does not listen is asked below */
	(void)pthread_mutex_unlock(&net->lock);
	return net_remote_ask(net, &request, &reply, NULL, &presence, &ignored) == 0 &&
	       presence == THERE && reply.value == 1;
}

/* --- processes that are to be in there --- */

/* Who may enter any namespace stays who he is; others become what their user is in there. */
static bool may_enter_any(void)
{
	return capng_get_caps_process() == 0 &&
	       capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN) == 1;
}

static int remote_enter(struct priv_net *base, struct priv_net_spaces *ret, struct err *err)
{
	struct net_remote *net = remote_of(base);
	int r = 0;

	ret->count = 0;
	(void)pthread_mutex_lock(&net->lock);
	if (net->spaces.count < 2)
		r = err_set(err, ERR_BAD_STATE, "the isolated network is gone");
	for (size_t i = may_enter_any() ? 1 : 0; i < 2 && r == 0; i++) {
		const int fd = fd_clone(net->spaces.fds[i]);

		if (fd < 0)
			r = err_sys(err, fd, "enter the isolated network");
		else
			ret->fds[ret->count++] = fd;
	}
	(void)pthread_mutex_unlock(&net->lock);
	if (r < 0)
		priv_net_spaces_done(ret);
	return r;
}

/* --- the backend --- */

static void remote_close(struct priv_net *base)
{
	struct net_remote *net = remote_of(base);

	net_remote_disconnect(net);
	fd_close(net->routes_fd);
	fd_close(net->watch_fd);
	priv_net_spaces_done(&net->spaces);
	process_done(&net->holder); /* it goes on as long as it is needed */
	mem_free(net->socket_path);
	(void)pthread_mutex_destroy(&net->lock);
	mem_free(net);
}

static int remote_reattach(struct priv_net *base, uint32_t index, pid_t pid, struct err *err)
{
	struct net_remote *net = remote_of(base);
	int r;

	(void)pthread_mutex_lock(&net->lock);
	if (net->spaces.count == 2)
		r = net_reattach(net->start.settings.bridge_name, net->spaces.fds[1], index, pid,
				 err);
	else
		r = err_set(err, ERR_BAD_STATE, "the isolated network is gone");
	(void)pthread_mutex_unlock(&net->lock);
	return r;
}

static const struct net_backend remote_backend = {
	.close = remote_close,
	.look = remote_look,
	.traffic = remote_traffic,
	.census = remote_census,
	.raise = remote_raise,
	.is_whole = remote_is_whole,
	.clear = remote_clear,
	.tap_make = remote_tap_make,
	.tap_delete = remote_tap_delete,
	.join = remote_join,
	.leave = remote_leave,
	.set_nat = remote_set_nat,
	.set_forwarding = remote_set_forwarding,
	.tap_reattach = remote_reattach,
	.watch_fd = remote_watch_fd,
	.watch_read = remote_watch_read,
	.enter = remote_enter,
	.silences = remote_silences,
	.way_out = remote_way_out,
};

static int open_watch(struct net_remote *net, struct err *err)
{
	int r;

	net->watch_fd = epoll_create1(EPOLL_CLOEXEC);
	if (net->watch_fd < 0)
		return err_sys(err, -errno, "watch the network");
	r = watch_routes(net);
	return r < 0 ? err_sys(err, r, "watch the host's addresses") : 0;
}

int priv_net_open_isolated(const struct priv *priv, const struct priv_net_config *config,
			   const char *runtime_dir, struct priv_net **ret, struct err *err)
{
	struct net_remote *net = mem_alloc(1, sizeof(*net));
	CLEANUP(priv_net_closep) struct priv_net *base = &net->base;
	struct net_settings *settings = &net->start.settings;
	int r;

	*net = (struct net_remote){ .base.backend = &remote_backend,
				    .lock = PTHREAD_MUTEX_INITIALIZER,
				    .only_looks = priv->only_looks,
				    .socket_path = mem_printf("%s/network.sock", runtime_dir),
				    .watch_fd = -1,
				    .changes_fd = -1,
				    .routes_fd = -1,
				    .fd = -1,
				    .holder = PROCESS_INIT };
	(void)snprintf(settings->tag, sizeof(settings->tag), "%s", priv_tag(priv));
	(void)snprintf(settings->bridge_name, sizeof(settings->bridge_name), "%s",
		       config->bridge_name);
	settings->subnet = config->subnet;
	settings->dns_port = config->dns_port;
	net->start.socket_path = net->socket_path;
	net->start.spaces = &net->spaces;
	net->start.has_user = priv_network_user(priv, &net->start.uid);
	r = open_watch(net, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(base);
	return 0;
}
