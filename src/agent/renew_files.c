#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/renew.h"
#include "agent/root.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"

#define SEED_BYTES 512 /* as much as the kernel's pool has ever held */
#define SSH_FOLDER "/etc/ssh"

struct place {
	const char *folder;
	const char *name;
};

/* What the next boot mixes into its randomness: systemd's, sysvinit's, OpenRC's, seedrng's. */
static const struct place seeds[] = {
	{ "/var/lib/systemd", "random-seed" },	  { "/var/lib/urandom", "random-seed" },
	{ "/var/lib/misc", "random-seed" },	  { "/var/lib/seedrng", "seed.credit" },
	{ "/var/lib/seedrng", "seed.no-credit" },
};

/* What a program makes anew where it is missing. */
static const struct place secrets[] = {
	{ "/var/lib/systemd", "credential.secret" },
	{ "/var/lib/NetworkManager", "secret_key" },
	{ "/var/lib/dhcpcd", "duid" },
	{ "/var/lib/dhcpcd", "secret" },
	{ "/etc", "dhcpcd.duid" },
	{ "/etc", "dhcpcd.secret" },
};

/* Addresses that the old machine was given, and what it called itself there. */
static const char *const lease_folders[] = {
	"/var/lib/dhcp",
	"/var/lib/dhclient",
	"/var/lib/dhcpcd",
	"/var/lib/NetworkManager",
};

static const char *const journal_folders[] = { "/run/log/journal", "/var/log/journal" };

static int remove_name(int folder_fd, const char *name)
{
	return unlinkat(folder_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int replace_seed(int root_fd, const struct place *place)
{
	AUTO_CLOSE int folder = root_open_folder(root_fd, place->folder, 0);
	uint8_t bytes[SEED_BYTES];
	struct stat st;

	if (folder < 0)
		return folder == -ENOENT ? 0 : folder;
	if (fstatat(folder, place->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return -EIO;
	return root_replace_ours(folder, place->name, span_of(bytes, sizeof(bytes)), 0600);
}

static int remove_secret(int root_fd, const struct place *place)
{
	AUTO_CLOSE int folder = root_open_folder(root_fd, place->folder, 0);

	if (folder < 0)
		return folder == -ENOENT ? 0 : folder;
	return remove_name(folder, place->name);
}

/* A visitor's context is the folder's descriptor. */
static int remove_names_in(int root_fd, const char *path,
			   int (*visit)(void *context, const char *name))
{
	AUTO_CLOSE int folder = root_open_folder(root_fd, path, 0);

	if (folder < 0)
		return folder == -ENOENT ? 0 : folder;
	return dir_each(folder, visit, &folder);
}

static int remove_lease(void *context, const char *name)
{
	const int *folder = context;

	return strstr(name, ".lease") ? remove_name(*folder, name) : 0;
}

/* The host gives an Ed25519 key; others, and certificates for any, were the old machine's. */
static int remove_host_key(void *context, const char *name)
{
	const int *folder = context;

	if (!str_starts(name, "ssh_host_") || str_starts(name, "ssh_host_ed25519_key.") ||
	    str_eq(name, "ssh_host_ed25519_key"))
		return 0;
	if (!str_ends(name, "_key") && !str_ends(name, "_key.pub") && !str_ends(name, "-cert.pub"))
		return 0;
	return remove_name(*folder, name);
}

/* journalctl reads the folder that bears the machine's id: what was logged stays in sight. */
static int move_journal(int root_fd, const char *path, const char *old_id, const char *new_id)
{
	AUTO_CLOSE int folder = root_open_folder(root_fd, path, 0);

	if (folder < 0)
		return folder == -ENOENT ? 0 : folder;
	if (renameat2(folder, old_id, folder, new_id, RENAME_NOREPLACE) == 0)
		return 0;
	/* None yet, or a journal of the new id is there already. */
	return errno == ENOENT || errno == EEXIST ? 0 : -errno;
}

int renew_files(int root_fd, const char *old_id, const char *new_id, struct err *err)
{
	int r;

	for (size_t i = 0; i < ARRAY_LEN(seeds); i++) {
		r = replace_seed(root_fd, &seeds[i]);
		if (r < 0)
			return err_sys(err, r, "replace %s/%s", seeds[i].folder, seeds[i].name);
	}
	for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
		r = remove_secret(root_fd, &secrets[i]);
		if (r < 0)
			return err_sys(err, r, "remove %s/%s", secrets[i].folder, secrets[i].name);
	}
	r = remove_names_in(root_fd, SSH_FOLDER, remove_host_key);
	if (r < 0)
		return err_sys(err, r, "remove the host keys in %s", SSH_FOLDER);
	for (size_t i = 0; i < ARRAY_LEN(lease_folders); i++) {
		r = remove_names_in(root_fd, lease_folders[i], remove_lease);
		if (r < 0)
			return err_sys(err, r, "remove the leases in %s", lease_folders[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(journal_folders) && old_id[0] != '\0'; i++) {
		r = move_journal(root_fd, journal_folders[i], old_id, new_id);
		if (r < 0)
			return err_sys(err, r, "rename the journal in %s", journal_folders[i]);
	}
	return 0;
}
