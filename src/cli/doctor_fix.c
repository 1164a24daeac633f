#include "cli/doctor_fix.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/strv.h"
#include "cli/link.h"
#include "config/exposed.h"

#define KEY_BYTES_MAX  16384
#define KEYGEN_TIME_MS 10000

/* What others may not do with a thing of ours. */
struct private_thing {
	const char *name; /* of the check */
	const char *what;
	const char *path;
	mode_t kind;	  /* S_IFDIR or S_IFREG */
	mode_t forbidden; /* bits of the mode */
};

static void add_fixed(json_t *fixed, const char *name, const char *message)
{
	json_t *item = json_new_object();

	json_put_str(item, "name", name);
	json_put_str(item, "message", message);
	json_add(fixed, item);
}

/*
 * Takes the bits away. What is not there, not ours, or something else than expected is left for the
 * checks to tell: it is looked at through a descriptor, so that it cannot become another thing
 * meanwhile.
 */
static int close_to_others(const struct private_thing *thing, json_t *fixed, struct err *err)
{
	AUTO_CLOSE int fd = open(thing->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	AUTO_FREE char *message = NULL;
	struct stat status;
	mode_t mode;

	if (fd < 0 || fstat(fd, &status) < 0 || (status.st_mode & S_IFMT) != thing->kind ||
	    status.st_uid != geteuid() || (status.st_mode & thing->forbidden) == 0)
		return 0;
	mode = status.st_mode & 07777U & ~thing->forbidden;
	if (fchmod(fd, mode) < 0)
		return err_sys(err, -errno, "change the mode of '%s'", thing->path);
	message = mem_printf("%s '%s' had mode %04o and has %04o now", thing->what, thing->path,
			     status.st_mode & 07777U, mode);
	add_fixed(fixed, thing->name, message);
	return 0;
}

struct closing {
	json_t *fixed;
	struct err *err;
};

static int close_exposed(void *context, const char *path, mode_t mode)
{
	const struct closing *closing = context;
	const struct private_thing thing = {
		"permissions", S_ISDIR(mode) ? "the folder" : "the file", path, mode & S_IFMT, 077,
	};

	return close_to_others(&thing, closing->fixed, closing->err);
}

/* Memory, disks and the rest of VMs and templates. */
static int close_files(const char *state_dir, json_t *fixed, struct err *err)
{
	struct closing closing = { .fixed = fixed, .err = err };
	const int r = exposed_each(state_dir, close_exposed, &closing);

	return r < 0 && err->kind == ERR_NONE ? err_sys(err, r, "look at all of '%s'", state_dir)
					      : r;
}

/* The public half of banger's own key, from the private one: without it VMs let nobody in. */
static int restore_public_key(const char *folder, json_t *fixed, struct err *err)
{
	AUTO_FREE char *key = mem_printf("%s/id_ed25519", folder);
	AUTO_FREE char *public_key = mem_printf("%s.pub", key);
	AUTO_FREE char *message = mem_printf("made '%s' from the private key", public_key);
	AUTO_STRV argv = { .items = NULL };
	AUTO_BUF line = BUF_INIT;
	AUTO_CLOSE int dir_fd = -1;
	int r;

	if (access(key, R_OK) < 0 || access(public_key, F_OK) == 0)
		return 0;
	strv_add(&argv, "ssh-keygen");
	strv_add(&argv, "-y");
	strv_add(&argv, "-P"); /* it has no passphrase, and nobody is to be asked for one */
	strv_add(&argv, "");
	strv_add(&argv, "-f");
	strv_add(&argv, key);
	struct spawn spawn = { .path = "ssh-keygen", .argv = strv_argv(&argv) };

	r = spawn_run(&spawn, NULL, KEYGEN_TIME_MS, KEY_BYTES_MAX, &line, err);
	if (r < 0)
		return err_context(err, r, "cannot make '%s'", public_key);
	dir_fd = dir_open(folder);
	r = dir_fd < 0 ? dir_fd : file_replace(dir_fd, "id_ed25519.pub", buf_span(&line), 0644);
	if (r < 0)
		return err_sys(err, r, "write '%s'", public_key);
	add_fixed(fixed, "ssh key", message);
	return 0;
}

int doctor_fix(json_t *fixed, struct err *err)
{
	AUTO_PATHS paths = { .socket = NULL };
	AUTO_FREE char *ssh = NULL;
	AUTO_FREE char *key = NULL;
	int r;

	r = link_paths(&paths, err);
	if (r < 0)
		return r;
	ssh = mem_printf("%s/ssh", paths.state_dir);
	key = mem_printf("%s/id_ed25519", ssh);
	const struct private_thing things[] = {
		{ "permissions", "the state folder", paths.state_dir, S_IFDIR, 077 },
		{ "permissions", "the cache folder", paths.cache_dir, S_IFDIR, 077 },
		{ "permissions", "the runtime folder", paths.runtime_dir, S_IFDIR, 077 },
		{ "config", "the configuration", paths.config_file, S_IFREG, S_IWGRP | S_IWOTH },
		{ "ssh key", "banger's folder for ssh", ssh, S_IFDIR, 077 },
		{ "ssh key", "banger's ssh key", key, S_IFREG, 077 },
	};

	for (size_t i = 0; i < ARRAY_LEN(things); i++) {
		r = close_to_others(&things[i], fixed, err);
		if (r < 0)
			return r;
	}
	r = close_files(paths.state_dir, fixed, err);
	if (r < 0)
		return r;
	return restore_public_key(ssh, fixed, err);
}
