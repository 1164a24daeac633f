/*
 * What the agent reads as text: the first line of a connection, identities, the kernel's command
 * line, /proc/net, files that it edits, names in a tar. What was accepted keeps its promises.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/bus.h"
#include "agent/cmdline.h"
#include "agent/files.h"
#include "agent/freeze.h"
#include "agent/hosts.h"
#include "agent/identity.h"
#include "agent/netif.h"
#include "agent/proc_net.h"
#include "agent/programs.h"
#include "agent/quiet.h"
#include "agent/request.h"
#include "base/buf.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void want(bool condition)
{
	if (!condition)
		abort();
}

static void check_request(struct span line)
{
	struct request request;
	struct err err = ERR_INIT;
	enum http_target target = HTTP_BAD_METHOD;

	if (request_parse(line, &request, &err) == 0) {
		want(str_eq(request.op_name, wire_op_name(request.op)));
		want(!request.cwd || request.cwd[0] == '/');
		want(!request.path || request.path[0] == '/');
		want(request.op != WIRE_OP_FORWARD ||
		     (request.tcp != 0) == (request.unix_path == NULL));
		want(request.rows <= UINT16_MAX && request.cols <= UINT16_MAX);
		request_done(&request);
	} else {
		want(err.kind != ERR_NONE && text_is_utf8(span_str(err.message)));
	}
	if (request_parse_http(line, &target))
		want(memchr(line.ptr, ' ', line.len) != NULL);
}

static void check_identity(struct span text)
{
	struct identity identity;
	struct err err = ERR_INIT;

	if (identity_parse_text(text, &identity, &err) < 0)
		return;
	want(strlen(identity.hostname) >= 1 && strlen(identity.hostname) <= 63);
	want(!strpbrk(identity.hostname, "\n /."));
	for (size_t i = 0; i < identity.authorized_keys.count; i++)
		want(!strchr(identity.authorized_keys.items[i], '\n'));
	want(!identity.machine_id || strspn(identity.machine_id, "0123456789abcdef") == 32);
	want(identity.wall_nanoseconds < 1000000000);
	want(identity_check_whole(&identity, &err) < 0 ||
	     (identity.machine_id && identity.entropy_base64 && identity.ssh_host_key));
	want(!identity.has_network ||
	     (identity.network.prefix >= 1 && identity.network.prefix <= 32));
	identity_done(&identity);
}

/* Editing what was edited changes nothing more. */
static void check_files(struct span text)
{
	AUTO_STRV keys = { .items = NULL };
	AUTO_BUF once = BUF_INIT;
	AUTO_BUF twice = BUF_INIT;

	hosts_edit(text, "box", &once);
	hosts_edit(buf_span(&once), "box", &twice);
	want(span_eq(buf_span(&once), buf_span(&twice)));

	strv_add(&keys, "ssh-ed25519 key");
	buf_clear(&once);
	buf_clear(&twice);
	authorized_keys_edit(text, &keys, &once);
	authorized_keys_edit(buf_span(&once), &keys, &twice);
	want(span_eq(buf_span(&once), buf_span(&twice)));
}

static void check_tar_name(struct span text)
{
	AUTO_BUF name = BUF_INIT;
	AUTO_BUF again = BUF_INIT;

	if (!files_clean_name(text, &name) || name.len == 0)
		return;
	want(name.ptr[0] != '/' && name.ptr[name.len - 1] != '/' && !strstr(name.ptr, "//"));
	want(!str_starts(name.ptr, "../") && !str_ends(name.ptr, "/..") &&
	     !strstr(name.ptr, "/../") && !str_eq(name.ptr, ".."));
	want(files_clean_name(buf_span(&name), &again) && str_eq(again.ptr, name.ptr));
}

/* What comes from the kernel and from systemd. */
static void check_system(struct span text)
{
	struct bus_message message;
	struct quiet_sample sample = { .blocked = 0 };
	struct freeze_mount mount;
	uint8_t gateway[4];
	uint64_t value;

	if (bus_read_message(text, &message) == 1) {
		const struct bus_value found = bus_read_value(message.body);

		want(message.size <= text.len && message.body.len <= message.size);
		want(found.type == 's' || found.text[0] == '\0');
		want(memchr(found.text, '\0', sizeof(found.text)) != NULL);
	}
	if (freeze_parse_mount(text, &mount)) {
		want(mount.path.len <= text.len);
		buf_done(&mount.path);
	}
	want(quiet_parse_stat(text, &sample) ? sample.all_ticks >= sample.busy_ticks : true);
	(void)!quiet_parse_disks(text, &sample);
	(void)!netif_route_parse(text, "eth0", gateway);
	(void)!programs_sshd_listens(text);
	(void)!programs_stat_field(text, 28, &value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct span text = span_of(data, size);
	struct boot_options options;
	struct net_socket socket;
	struct err err = ERR_INIT;

	check_request(text);
	check_identity(text);
	check_files(text);
	check_tar_name(text);
	check_system(text);
	if (boot_options_parse(text, &options, &err) == 0)
		want(str_starts(options.root, "/dev/") && !strstr(options.root, ".."));
	for (int protocol = 0; protocol < NET_PROTOCOL_COUNT; protocol++) {
		char address[46];

		if (!net_socket_parse(text, (enum net_protocol)protocol, &socket))
			continue;
		net_socket_address(&socket, address);
		want(address[0] != '\0');
	}
	return 0;
}
