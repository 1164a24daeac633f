#include "agent/identity.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/hosts.h"
#include "agent/machine_id.h"
#include "agent/root.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/text.h"

/* Every file is tried; the first failure is kept. */
struct outcome {
	int result;
	struct err *err;
};

static void outcome_add(struct outcome *outcome, int r, const char *what)
{
	if (r < 0 && outcome->result == 0)
		outcome->result = err_sys(outcome->err, r, "write %s", what);
}

/* `mode_if_made` is for the folder; 0 means "only where the image has that folder". */
static int write_in_folder(int root_fd, const char *folder, mode_t mode_if_made, const char *name,
			   struct span content, mode_t mode)
{
	AUTO_CLOSE int fd = root_open_folder(root_fd, folder, mode_if_made);

	if (fd < 0)
		return fd == -ENOENT && mode_if_made == 0 ? 0 : fd;
	return root_replace_ours(fd, name, content, mode);
}

static int write_hostname(int etc, const struct identity *identity)
{
	AUTO_BUF text = BUF_INIT;

	buf_addf(&text, "%s\n", identity->hostname);
	return root_replace_ours(etc, "hostname", buf_span(&text), 0644);
}

static int write_hosts(int etc, const struct identity *identity)
{
	AUTO_BUF before = BUF_INIT;
	AUTO_BUF after = BUF_INIT;
	const int r = root_read(etc, "hosts", &before);

	if (r < 0)
		return r;
	hosts_edit(buf_span(&before), identity->hostname, &after);
	return root_replace(etc, "hosts", buf_span(&after), 0644);
}

static int write_resolv_conf(int etc, const struct identity *identity)
{
	AUTO_BUF text = BUF_INIT;

	if (!identity->has_network || identity->network.dns.count == 0)
		return 0;
	for (size_t i = 0; i < identity->network.dns.count; i++)
		buf_addf(&text, "nameserver %s\n", identity->network.dns.items[i]);
	return root_replace_ours(etc, "resolv.conf", buf_span(&text), 0644);
}

static void address_text(const uint8_t address[static 4], char ret[static INET_ADDRSTRLEN])
{
	if (!inet_ntop(AF_INET, address, ret, INET_ADDRSTRLEN))
		ret[0] = '\0';
}

/* systemd-networkd would otherwise run DHCP on, or take down, what init has configured. */
static int write_networkd(int root_fd, const struct identity_network *network)
{
	AUTO_BUF text = BUF_INIT;
	char address[INET_ADDRSTRLEN];
	const uint8_t *mac = network->mac;

	buf_add_str(&text, "[Match]\n");
	if (network->has_mac)
		buf_addf(&text, "MACAddress=%02x:%02x:%02x:%02x:%02x:%02x\n", mac[0], mac[1],
			 mac[2], mac[3], mac[4], mac[5]);
	else
		buf_add_str(&text, "Name=eth0\n");
	address_text(network->address, address);
	buf_addf(&text, "\n[Network]\nKeepConfiguration=static\nAddress=%s/%u\n", address,
		 (unsigned)network->prefix);
	if (network->has_gateway) {
		address_text(network->gateway, address);
		buf_addf(&text, "Gateway=%s\n", address);
	}
	for (size_t i = 0; i < network->dns.count; i++)
		buf_addf(&text, "DNS=%s\n", network->dns.items[i]);
	return write_in_folder(root_fd, "/etc/systemd/network", 0, "10-banger.network",
			       buf_span(&text), 0644);
}

static int write_ifupdown(int root_fd, const struct identity_network *network)
{
	AUTO_BUF text = BUF_INIT;
	char address[INET_ADDRSTRLEN];

	address_text(network->address, address);
	buf_addf(&text, "auto eth0\niface eth0 inet static\n\taddress %s/%u\n", address,
		 (unsigned)network->prefix);
	if (network->has_gateway) {
		address_text(network->gateway, address);
		buf_addf(&text, "\tgateway %s\n", address);
	}
	return write_in_folder(root_fd, "/etc/network/interfaces.d", 0, "banger", buf_span(&text),
			       0644);
}

/* A VM without a network must not wait for the one that an earlier start had. */
static int remove_in_folder(int root_fd, const char *folder, const char *name)
{
	AUTO_CLOSE int fd = root_open_folder(root_fd, folder, 0);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	return unlinkat(fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static void write_network(struct outcome *outcome, int root_fd, const struct identity *identity)
{
	if (identity->has_network) {
		outcome_add(outcome, write_networkd(root_fd, &identity->network),
			    "/etc/systemd/network/10-banger.network");
		outcome_add(outcome, write_ifupdown(root_fd, &identity->network),
			    "/etc/network/interfaces.d/banger");
	} else if (identity->is_without_network) {
		outcome_add(outcome,
			    remove_in_folder(root_fd, "/etc/systemd/network", "10-banger.network"),
			    "/etc/systemd/network/10-banger.network");
		outcome_add(outcome,
			    remove_in_folder(root_fd, "/etc/network/interfaces.d", "banger"),
			    "/etc/network/interfaces.d/banger");
	}
}

static int write_authorized_keys(int root_fd, const struct identity *identity)
{
	AUTO_CLOSE int home = -1;
	AUTO_CLOSE int folder = -1;
	AUTO_BUF before = BUF_INIT;
	AUTO_BUF after = BUF_INIT;
	int r;

	home = root_open_folder(root_fd, "/root", 0700);
	if (home < 0)
		return home;
	folder = root_open_folder(root_fd, "/root/.ssh", 0700);
	if (folder < 0)
		return folder;
	/* sshd ignores the keys when others can write the folder. */
	if (fchmod(folder, 0700) < 0)
		return -errno;
	r = root_read(folder, "authorized_keys", &before);
	if (r < 0)
		return r;
	authorized_keys_edit(buf_span(&before), &identity->authorized_keys, &after);
	return root_replace(folder, "authorized_keys", buf_span(&after), 0600);
}

static int write_host_key(int root_fd, const struct identity *identity)
{
	AUTO_CLOSE int folder = -1;
	AUTO_BUF public_line = BUF_INIT;
	int r;

	if (!identity->ssh_host_key)
		return 0;
	folder = root_open_folder(root_fd, "/etc/ssh", 0755);
	if (folder < 0)
		return folder;
	r = root_replace_ours(folder, "ssh_host_ed25519_key", span_str(identity->ssh_host_key),
			      0600);
	if (r < 0)
		return r;
	buf_add_str(&public_line, identity->ssh_host_key_pub);
	if (!str_ends(public_line.ptr, "\n"))
		buf_add_byte(&public_line, '\n');
	return root_replace_ours(folder, "ssh_host_ed25519_key.pub", buf_span(&public_line), 0644);
}

static int write_machine_id(int root_fd, const struct identity *identity)
{
	return identity->machine_id ? machine_id_write(root_fd, identity->machine_id)
				    : machine_id_ensure(root_fd);
}

int identity_write_files(const struct identity *identity, enum identity_occasion occasion,
			 int root_fd, struct err *err)
{
	struct outcome outcome = { .err = err };
	AUTO_CLOSE int etc = root_open_folder(root_fd, "/etc", 0755);

	if (etc < 0)
		return err_sys(err, etc, "open /etc");
	outcome_add(&outcome, write_hostname(etc, identity), "/etc/hostname");
	outcome_add(&outcome, write_hosts(etc, identity), "/etc/hosts");
	outcome_add(&outcome, write_resolv_conf(etc, identity), "/etc/resolv.conf");
	write_network(&outcome, root_fd, identity);
	if (identity->authorized_keys.count > 0 || occasion == IDENTITY_RENEWAL)
		outcome_add(&outcome, write_authorized_keys(root_fd, identity),
			    "/root/.ssh/authorized_keys");
	outcome_add(&outcome, write_host_key(root_fd, identity), "/etc/ssh/ssh_host_ed25519_key");
	outcome_add(&outcome, write_machine_id(root_fd, identity), "/etc/machine-id");
	return outcome.result;
}
