/* The user's files: who may read them, where they are kept, how much room there is. */
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "config/exposed.h"
#include "daemon/doctor_private.h"
#include "daemon/private.h"
#include "daemon/storage.h"

#define SPACE_WARN_BYTES (4ULL << 30)	/* an image and a few VMs */
#define SPACE_FAIL_BYTES (256ULL << 20) /* not even a VM's first writes */
#define EXPOSED_SHOWN	 3

/* Whether anybody but its owner may do something with it; ret_mode is set then. */
static bool is_open_to_others(const char *path, mode_t *ret_mode)
{
	struct stat status;

	if (stat(path, &status) < 0 || (status.st_mode & (S_IRWXG | S_IRWXO)) == 0)
		return false;
	*ret_mode = status.st_mode & 07777U;
	return true;
}

struct exposed {
	struct buf text;
	size_t count;
};

static int note_exposed(void *context, const char *path, mode_t mode)
{
	struct exposed *exposed = context;

	exposed->count++;
	if (exposed->count <= EXPOSED_SHOWN)
		buf_addf(&exposed->text, "%s'%s' has mode %04o", exposed->text.len > 0 ? ", " : "",
			 path, mode & 07777U);
	return 0;
}

static void add_permissions(struct exposed *exposed, json_t *checks)
{
	if (exposed->count > EXPOSED_SHOWN)
		buf_addf(&exposed->text, ", and %zu more", exposed->count - EXPOSED_SHOWN);
	if (exposed->count > 0)
		doctor_add(checks, "permissions", WARN, exposed->text.ptr,
			   "others have no business there: 'banger doctor --fix', or chmod go-rwx; "
			   "a VM's memory and disks have its secrets");
	else
		doctor_add(checks, "permissions", PASS,
			   "state, cache and runtime folder are yours alone", NULL);
}

/* The folders come first; behind that, what is in them has modes of its own. */
void doctor_check_permissions(const struct daemon *daemon, json_t *checks)
{
	const char *const folders[] = { daemon->paths.state_dir, daemon->paths.cache_dir,
					daemon->paths.runtime_dir };
	struct exposed exposed = { .text = BUF_INIT };
	struct err err = ERR_INIT;
	int r;

	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		mode_t mode;

		if (is_open_to_others(folders[i], &mode))
			IGNORE_RESULT(note_exposed(&exposed, folders[i], mode));
	}
	r = exposed_each(daemon->paths.state_dir, note_exposed, &exposed);
	if (r < 0) {
		IGNORE_RESULT(err_sys(&err, r, "look at all of '%s'", daemon->paths.state_dir));
		doctor_add_err(checks, "permissions", WARN, &err);
	}
	if (r == 0 || exposed.count > 0)
		add_permissions(&exposed, checks);
	buf_done(&exposed.text);
}

void doctor_check_user_key(const struct daemon *daemon, json_t *checks)
{
	AUTO_FREE char *public_path = mem_printf("%s.pub", daemon->ssh_key_path);
	AUTO_FREE char *is_open = NULL;
	mode_t mode;

	if (access(public_path, R_OK) < 0) {
		doctor_add(
			checks, "ssh key", WARN, public_path,
			daemon->config.ssh_key_path
				? "it cannot be read, so new VMs authorise no key: ssh-keygen -y "
				  "writes it"
				: "it cannot be read, so new VMs authorise no key: 'banger doctor "
				  "--fix' makes it again");
	} else if (is_open_to_others(daemon->ssh_key_path, &mode)) {
		is_open = mem_printf("'%s' has mode %04o, with which ssh refuses to use it",
				     daemon->ssh_key_path, mode);
		doctor_add(checks, "ssh key", WARN, is_open,
			   daemon->config.ssh_key_path ? "chmod 600"
						       : "'banger doctor --fix', or chmod 600");
	} else {
		doctor_add(checks, "ssh key", PASS, public_path, NULL);
	}
}

void doctor_check_storage(const struct daemon *daemon, json_t *checks)
{
	AUTO_BUF text = BUF_INIT;

	if (storage_describe(daemon, &text))
		doctor_add(checks, "storage", WARN, text.ptr, STORAGE_HINT);
	else if (text.len > 0)
		doctor_add(checks, "storage", PASS, text.ptr, NULL);
}

void doctor_check_space(const struct daemon *daemon, json_t *checks)
{
	AUTO_BUF text = BUF_INIT;
	struct statvfs status;
	uint64_t free_bytes;

	if (statvfs(daemon->paths.state_dir, &status) < 0) {
		struct err err = ERR_INIT;

		IGNORE_RESULT(err_sys(&err, -errno, "look at '%s'", daemon->paths.state_dir));
		doctor_add_err(checks, "space", FAIL, &err);
		return;
	}
	free_bytes = (uint64_t)status.f_bavail * status.f_frsize;
	text_size(&text, free_bytes);
	buf_addf(&text, " free in %s", daemon->paths.state_dir);
	doctor_add(checks, "space",
		   free_bytes < SPACE_FAIL_BYTES   ? FAIL
		   : free_bytes < SPACE_WARN_BYTES ? WARN
						   : PASS,
		   text.ptr,
		   free_bytes < SPACE_WARN_BYTES ? "delete VMs or images that are no longer needed"
						 : NULL);
}
