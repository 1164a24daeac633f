#include "agent/netif.h"

#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "agent/identity.h"
#include "base/fd.h"

static int control_socket(void)
{
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static struct ifreq request_for(const char *name)
{
	struct ifreq request;

	memset(&request, 0, sizeof(request));
	memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	return request;
}

static int set_up(int fd, const char *name, bool is_up)
{
	struct ifreq request = request_for(name);

	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return -errno;
	if (is_up)
		request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
	else
		request.ifr_flags = (short)(request.ifr_flags & ~IFF_UP);
	return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

int netif_up_loopback(void)
{
	AUTO_CLOSE int fd = control_socket();

	return fd < 0 ? fd : set_up(fd, "lo", true);
}

static struct sockaddr_in address_of(const uint8_t bytes[static 4])
{
	struct sockaddr_in address = { .sin_family = AF_INET };

	memcpy(&address.sin_addr, bytes, 4);
	return address;
}

/* Interfaces are numbered from 1 in the order in which they came; Docker's bridges come later. */
static bool first_interface(int fd, char ret[static IFNAMSIZ])
{
	for (int index = 1; index < 64; index++) {
		struct ifreq request;

		memset(&request, 0, sizeof(request));
		request.ifr_ifindex = index;
		if (ioctl(fd, SIOCGIFNAME, &request) < 0 || ioctl(fd, SIOCGIFHWADDR, &request) < 0)
			continue;
		if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER)
			continue;
		memcpy(ret, request.ifr_name, IFNAMSIZ);
		return true;
	}
	return false;
}

static int set_mac(int fd, const char *name, const uint8_t mac[static 6])
{
	struct ifreq request = request_for(name);
	int r;

	if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		return -errno;
	if (memcmp(request.ifr_hwaddr.sa_data, mac, 6) == 0)
		return 0;
	/* Not every driver changes it while the interface is up. */
	r = set_up(fd, name, false);
	if (r < 0)
		return r;
	request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(request.ifr_hwaddr.sa_data, mac, 6);
	return ioctl(fd, SIOCSIFHWADDR, &request) < 0 ? -errno : 0;
}

static int set_address(int fd, const char *name, const struct identity_network *network)
{
	struct ifreq request = request_for(name);
	const struct sockaddr_in address = address_of(network->address);
	struct sockaddr_in mask = { .sin_family = AF_INET };

	mask.sin_addr.s_addr = htonl(UINT32_MAX << (32 - network->prefix));
	memcpy(&request.ifr_addr, &address, sizeof(address));
	if (ioctl(fd, SIOCSIFADDR, &request) < 0)
		return -errno;
	memcpy(&request.ifr_netmask, &mask, sizeof(mask));
	return ioctl(fd, SIOCSIFNETMASK, &request) < 0 ? -errno : 0;
}

static int set_default_route(int fd, const uint8_t gateway[static 4])
{
	const struct sockaddr_in any = { .sin_family = AF_INET };
	const struct sockaddr_in via = address_of(gateway);
	struct rtentry route;

	memset(&route, 0, sizeof(route));
	memcpy(&route.rt_dst, &any, sizeof(any));
	memcpy(&route.rt_genmask, &any, sizeof(any));
	memcpy(&route.rt_gateway, &via, sizeof(via));
	route.rt_flags = RTF_UP | RTF_GATEWAY;
	return ioctl(fd, SIOCADDRT, &route) < 0 && errno != EEXIST ? -errno : 0;
}

int netif_configure(const struct identity_network *network, struct err *err)
{
	AUTO_CLOSE int fd = control_socket();
	char name[IFNAMSIZ];
	int r;

	if (fd < 0)
		return err_sys(err, fd, "open a socket for network settings");
	if (!first_interface(fd, name))
		return err_set(err, ERR_NOT_FOUND, "there is no network interface");
	if (network->has_mac) {
		r = set_mac(fd, name, network->mac);
		if (r < 0)
			return err_sys(err, r, "set the MAC address of %s", name);
	}
	r = set_address(fd, name, network);
	if (r < 0)
		return err_sys(err, r, "set the address of %s", name);
	r = set_up(fd, name, true);
	if (r < 0)
		return err_sys(err, r, "bring up %s", name);
	if (network->has_gateway) {
		r = set_default_route(fd, network->gateway);
		if (r < 0)
			return err_sys(err, r, "set the default route over %s", name);
	}
	return 0;
}
