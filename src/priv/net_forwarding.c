/*
 * Forwarding for guests with NAT, on hosts that do not forward. Linux decides it for each interface
 * by the packet that comes in, so beside the bridge those need it that answers come back through:
 * the ones that the host's routes lead to. Which of them we have switched on is written in the
 * bridge's alias, where it lives as long as the bridge does, also when bangerd does not; and in the
 * rules, which keep such an interface from forwarding to anything but the bridge.
 *
 * Who switches forwarding on for the whole host meanwhile (as Docker does) wants all of it: then
 * the record is forgotten, and nothing is switched off later.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/span.h"
#include "base/text.h"
#include "priv/net_private.h"
#include "priv/priv.h"

#define FORWARDING_MARK	 " forwarding"
#define ROUTES_BYTES_MAX (4UL << 20)

static char *setting_path(const char *family, const char *interface, const char *key)
{
	return mem_printf("/proc/sys/net/%s/conf/%s/%s", family, interface, key);
}

int net_setting_write(const char *family, const char *interface, const char *key, bool is_on)
{
	AUTO_FREE char *path = setting_path(family, interface, key);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	const int r = fd < 0 ? -errno : 0;

	return r < 0 ? r : fd_write_all(fd, span_str(is_on ? "1\n" : "0\n"));
}

/* Whether `interface` ("all" for the host) forwards; not, when it has gone. */
static bool does_forward(const char *interface)
{
	AUTO_FREE char *path = setting_path("ipv4", interface, "forwarding");
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	char byte = '0';

	return fd >= 0 && fd_read_some(fd, &byte, 1) == 1 && byte != '0';
}

/* "banger TAG forwarding eth0 wlan0" */
void net_forwarding_opened(const char *alias, struct strv *ret)
{
	const char *at = strstr(alias, FORWARDING_MARK);

	if (!at)
		return;
	at += strlen(FORWARDING_MARK);
	while (*at == ' ') {
		size_t len = strcspn(++at, " ");
		AUTO_FREE char *name = mem_strndup(at, len);

		if (net_rules_can_name(name))
			strv_add(ret, name);
		at += len;
	}
}

static void write_alias(const struct net_direct *net, const struct strv *opened, struct buf *ret)
{
	buf_addf(ret, "banger %s", net->policy.tag);
	if (opened->count > 0)
		buf_add_str(ret, FORWARDING_MARK);
	for (size_t i = 0; i < opened->count; i++)
		buf_addf(ret, " %s", opened->items[i]);
}

/* The interfaces that IPv4 routes lead to, and that do not forward by themselves. */
static int find_ways_out(const struct net_direct *net, struct strv *ret, struct err *err)
{
	AUTO_BUF text = BUF_INIT;
	const char *line;
	int r;

	r = file_read(AT_FDCWD, "/proc/net/route", ROUTES_BYTES_MAX, &text);
	if (r < 0)
		return err_sys(err, r, "read '/proc/net/route'");
	/* The first line has the columns' names, the first column the interfaces'. */
	for (line = strchr(text.ptr, '\n'); line && line[1]; line = strchr(line + 1, '\n')) {
		AUTO_FREE char *name = mem_strndup(line + 1, strcspn(line + 1, "\t \n"));

		if (net_rules_can_name(name) && !str_eq(name, net->policy.bridge_name) &&
		    !str_eq(name, "lo") && !strv_has(ret, name) && !does_forward(name))
			strv_add(ret, name);
	}
	return 0;
}

/* Only what is new: the kernel tells everybody of a change, ourselves included. */
static int record(struct net_direct *net, const struct link *bridge, const struct strv *opened,
		  struct err *err)
{
	AUTO_BUF alias = BUF_INIT;
	AUTO_BUF rules = BUF_INIT;
	int r;

	write_alias(net, opened, &alias);
	if (str_eq(alias.ptr, bridge->alias))
		return 0;
	if (alias.len >= LINK_ALIAS_SIZE)
		return err_set(err, ERR_LIMIT, "too many interfaces to forward from");
	r = link_set_alias(net->route, bridge->index, alias.ptr);
	if (r < 0)
		return err_sys(err, r, "mark the bridge '%s'", bridge->name);
	net_rules_set_opened(&net->policy, opened, &rules);
	return net_nft_run(net, rules.ptr, err);
}

static int set_forwarding(const char *interface, bool is_on, struct err *err)
{
	const int r = does_forward(interface) == is_on
			      ? 0
			      : net_setting_write("ipv4", interface, "forwarding", is_on);

	/* It has gone, and its setting with it. */
	if (r == -ENOENT || r == 0)
		return 0;
	return err_sys(err, r, "switch forwarding %s for '%s'", is_on ? "on" : "off", interface);
}

static void add_names(struct strv *to, const struct strv *names)
{
	for (size_t i = 0; i < names->count; i++) {
		if (!strv_has(to, names->items[i]))
			strv_add(to, names->items[i]);
	}
}

/* What was switched on: by the alias, and by what we remember of a bridge that is gone. */
static void find_opened(const struct net_direct *net, const struct link *bridge, struct strv *ret)
{
	net_forwarding_opened(bridge->alias, ret);
	add_names(ret, &net->opened);
}

static int switch_on(struct net_direct *net, const struct link *bridge, struct err *err)
{
	AUTO_STRV opened = { 0 };
	AUTO_STRV ways_out = { 0 };
	int r = 0;

	/* Kept, though it forwards by now: it was we who did that. */
	if (!does_forward("all")) {
		find_opened(net, bridge, &opened);
		r = find_ways_out(net, &ways_out, err);
	}
	if (r < 0)
		return r;
	add_names(&opened, &ways_out);
	/* Written down before it is done. */
	r = record(net, bridge, &opened, err);
	strv_done(&net->opened);
	add_names(&net->opened, &opened);
	failpoint("net.forwarding.recorded");
	for (size_t i = 0; i < opened.count && r == 0; i++)
		r = set_forwarding(opened.items[i], true, err);
	return r < 0 ? r : set_forwarding(bridge->name, true, err);
}

static int switch_off(struct net_direct *net, const struct link *bridge, struct err *err)
{
	static const struct strv none = { 0 };
	AUTO_STRV opened = { 0 };
	int r = 0;

	if (!does_forward("all"))
		find_opened(net, bridge, &opened);
	for (size_t i = 0; i < opened.count && r == 0; i++)
		r = set_forwarding(opened.items[i], false, err);
	if (r == 0 && !does_forward("all"))
		r = set_forwarding(bridge->name, false, err);
	if (r < 0)
		return r;
	strv_done(&net->opened);
	return record(net, bridge, &none, err);
}

int net_forwarding_set(struct net_direct *net, const struct link *bridge, bool is_on,
		       struct err *err)
{
	return is_on ? switch_on(net, bridge, err) : switch_off(net, bridge, err);
}
