/* The isolated network as bangerd sees it, where nobody keeps one. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "priv/net.h"

#define FDS_MAX 256

static bool is_netlink(int fd)
{
	int domain = 0;
	socklen_t size = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_NETLINK;
}

/* The only one of this process; -1 when there is none. */
static int find_netlink(void)
{
	for (int fd = 3; fd < FDS_MAX; fd++) {
		if (is_netlink(fd))
			return fd;
	}
	return -1;
}

/* A descriptor can be added once, so that tells whether it is watched. */
static bool is_watched(int epoll_fd, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 && errno == EEXIST;
}

static void test_routes_are_watched_again(void **state)
{
	const struct priv_net_config config = { .bridge_name = "br-fc",
						.subnet = { .bridge = 0xac100001, .prefix = 24 } };
	struct err err = ERR_INIT;
	struct priv_net *net;
	struct priv *priv;
	int pair[2], fd;

	(void)state;
	assert_int_equal(priv_open_to_look("/nonexistent", &priv, &err), 0);
	assert_int_equal(priv_net_open_isolated(priv, &config, "/nonexistent", &net, &err), 0);
	fd = find_netlink();
	assert_true(fd >= 0 && is_watched(priv_net_watch_fd(net), fd));
	/* In its place comes what is at its end. */
	assert_int_equal(fd_socketpair(pair), 0);
	fd_closep(&pair[1]);
	assert_int_equal(dup3(pair[0], fd, O_CLOEXEC), fd);
	fd_closep(&pair[0]);
	assert_int_equal(find_netlink(), -1);
	assert_false(priv_net_watch_read(net)); /* nobody has to be told */
	fd = find_netlink();
	assert_true(fd >= 0 && is_watched(priv_net_watch_fd(net), fd));
	priv_net_close(net);
	priv_close(priv);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_routes_are_watched_again) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
