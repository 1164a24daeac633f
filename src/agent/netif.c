#include "agent/netif.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "agent/identity.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/parse.h"

#define ADDRESSES_MAX 64
#define ROUNDS_MAX    16
#define ROUTES_MAX    (256UL * 1024)

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

	request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(request.ifr_hwaddr.sa_data, mac, 6);
	return ioctl(fd, SIOCSIFHWADDR, &request) < 0 ? -errno : 0;
}

/* Fills `ret` with the addresses that bear the interface's name, or "NAME:LABEL". */
static int list_addresses(int fd, const char *name, struct ifreq ret[static ADDRESSES_MAX],
			  size_t *ret_count)
{
	const size_t len = strlen(name);
	struct ifconf list = {
		.ifc_len = (int)(ADDRESSES_MAX * sizeof(struct ifreq)),
		.ifc_req = ret,
	};
	size_t count = 0;

	if (ioctl(fd, SIOCGIFCONF, &list) < 0)
		return -errno;
	for (size_t i = 0; i < (size_t)list.ifc_len / sizeof(struct ifreq); i++) {
		const char *label = ret[i].ifr_name;

		if (strncmp(label, name, len) == 0 && (label[len] == '\0' || label[len] == ':'))
			ret[count++] = ret[i];
	}
	*ret_count = count;
	return 0;
}

/* One round for each that the list had no room for, or that became another's first. */
static int remove_addresses(int fd, const char *name)
{
	const struct sockaddr_in none = { .sin_family = AF_INET };
	struct ifreq addresses[ADDRESSES_MAX];
	size_t count = 0;

	for (int round = 0; round < ROUNDS_MAX; round++) {
		const int r = list_addresses(fd, name, addresses, &count);

		if (r < 0 || count == 0)
			return r;
		for (size_t i = 0; i < count; i++) {
			memcpy(&addresses[i].ifr_addr, &none, sizeof(none));
			/* Its first may have taken it along. */
			if (ioctl(fd, SIOCSIFADDR, &addresses[i]) < 0 && errno != EADDRNOTAVAIL)
				return -errno;
		}
	}
	return -E2BIG;
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

/* --- what it has --- */

static bool is_blank(uint8_t byte)
{
	return byte == ' ' || byte == '\t';
}

static struct span column_next(struct span *line)
{
	size_t len = 0;
	struct span column;

	while (line->len > 0 && is_blank(line->ptr[0]))
		*line = span_skip(*line, 1);
	while (len < line->len && !is_blank(line->ptr[len]))
		len++;
	column = span_of(line->ptr, len);
	*line = span_skip(*line, len);
	return column;
}

/* Eight hexadecimal digits, as the kernel prints a number whose bytes lie in network order. */
static bool parse_address_number(struct span text, uint8_t ret[static 4])
{
	uint32_t number = 0;

	if (text.len != 8)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		const char *digits = "0123456789ABCDEF";
		const char *digit = strchr(digits, text.ptr[i]);

		if (!digit || *digit == '\0')
			return false;
		number = number << 4 | (uint32_t)(digit - digits);
	}
	memcpy(ret, &number, sizeof(number));
	return true;
}

bool netif_route_parse(struct span line, const char *name, uint8_t ret[static 4])
{
	uint8_t destination[4];
	uint8_t gateway[4];
	uint8_t mask[4];

	if (!span_eq(column_next(&line), span_str(name)) ||
	    !parse_address_number(column_next(&line), destination) ||
	    !parse_address_number(column_next(&line), gateway))
		return false;
	for (int skipped = 0; skipped < 4; skipped++) /* flags, references, uses, metric */
		(void)column_next(&line);
	if (!parse_address_number(column_next(&line), mask) ||
	    memcmp(destination, "\0\0\0", 4) != 0 || memcmp(mask, "\0\0\0", 4) != 0)
		return false;
	memcpy(ret, gateway, 4);
	return true;
}

static int read_gateway(const char *name, uint8_t ret[static 4])
{
	AUTO_BUF text = BUF_INIT;
	const int r = file_read(AT_FDCWD, "/proc/net/route", ROUTES_MAX, &text);
	struct span rest = buf_span(&text);
	struct span line;

	if (r < 0)
		return r;
	while (parse_until(&rest, '\n', &line)) {
		if (netif_route_parse(line, name, ret))
			break;
	}
	return 0;
}

static int read_prefix(int fd, const struct ifreq *first, uint8_t *ret)
{
	struct ifreq request = *first;
	struct sockaddr_in mask;

	if (ioctl(fd, SIOCGIFNETMASK, &request) < 0)
		return -errno;
	memcpy(&mask, &request.ifr_netmask, sizeof(mask));
	*ret = (uint8_t)__builtin_popcount(mask.sin_addr.s_addr);
	return 0;
}

static int read_settings(int fd, const char *name, struct netif_settings *ret)
{
	struct netif_settings settings = { .prefix = 0 };
	struct ifreq request = request_for(name);
	struct ifreq addresses[ADDRESSES_MAX];
	int r;

	if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		return -errno;
	memcpy(settings.mac, request.ifr_hwaddr.sa_data, 6);
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return -errno;
	settings.is_up = (request.ifr_flags & IFF_UP) != 0;
	r = list_addresses(fd, name, addresses, &settings.address_count);
	if (r == 0 && settings.address_count > 0) {
		struct sockaddr_in address;

		memcpy(&address, &addresses[0].ifr_addr, sizeof(address));
		memcpy(settings.address, &address.sin_addr, 4);
		r = read_prefix(fd, &addresses[0], &settings.prefix);
	}
	if (r == 0)
		r = read_gateway(name, settings.gateway);
	if (r == 0)
		*ret = settings;
	return r;
}

static bool is_as_wanted(const struct netif_settings *settings,
			 const struct identity_network *network)
{
	return settings->is_up &&
	       (!network->has_mac || memcmp(settings->mac, network->mac, 6) == 0) &&
	       settings->address_count == 1 && settings->prefix == network->prefix &&
	       memcmp(settings->address, network->address, 4) == 0 &&
	       memcmp(settings->gateway, network->gateway, 4) == 0;
}

/* --- changing it --- */

/* Without an address and down: that ends its routes and neighbours, too. */
static int take_down(int fd, const char *name, struct err *err)
{
	int r = remove_addresses(fd, name);

	if (r < 0)
		return err_sys(err, r, "remove the addresses of %s", name);
	r = set_up(fd, name, false);
	return r < 0 ? err_sys(err, r, "take down %s", name) : 0;
}

static int put_up(int fd, const char *name, const struct identity_network *network, struct err *err)
{
	int r = 0;

	if (network->has_mac)
		r = set_mac(fd, name, network->mac);
	if (r < 0)
		return err_sys(err, r, "set the MAC address of %s", name);
	r = set_address(fd, name, network);
	if (r < 0)
		return err_sys(err, r, "set the address of %s", name);
	r = set_up(fd, name, true);
	if (r < 0)
		return err_sys(err, r, "bring up %s", name);
	if (network->has_gateway)
		r = set_default_route(fd, network->gateway);
	return r < 0 ? err_sys(err, r, "set the default route over %s", name) : 0;
}

int netif_configure(const struct identity_network *network, struct err *err)
{
	AUTO_CLOSE int fd = control_socket();
	struct netif_settings settings = { .prefix = 0 };
	char name[IFNAMSIZ];
	int r;

	if (fd < 0)
		return err_sys(err, fd, "open a socket for network settings");
	if (!first_interface(fd, name))
		return err_set(err, ERR_NOT_FOUND, "there is no network interface");
	/* A look that fails, where /proc is not there yet, says that it is to be set. */
	if (read_settings(fd, name, &settings) == 0 && is_as_wanted(&settings, network))
		return 0;
	r = take_down(fd, name, err);
	return r < 0 ? r : put_up(fd, name, network, err);
}

int netif_clear(struct err *err)
{
	AUTO_CLOSE int fd = control_socket();
	char name[IFNAMSIZ];

	if (fd < 0)
		return err_sys(err, fd, "open a socket for network settings");
	return first_interface(fd, name) ? take_down(fd, name, err) : 0;
}

int netif_read(struct netif_settings *ret, struct err *err)
{
	AUTO_CLOSE int fd = control_socket();
	char name[IFNAMSIZ];
	int r;

	if (fd < 0)
		return err_sys(err, fd, "open a socket for network settings");
	if (!first_interface(fd, name))
		return 0;
	r = read_settings(fd, name, ret);
	return r < 0 ? err_sys(err, r, "read the settings of %s", name) : 1;
}
