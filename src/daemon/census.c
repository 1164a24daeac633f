#include "daemon/census.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "daemon/census_private.h"
#include "daemon/look.h"
#include "daemon/network.h"
#include "daemon/private.h"
#include "disk/disk.h"
#include "priv/priv.h"

#define STAT_BLOCK_BYTES    512
#define SOCKET_FOLDER_CHARS 12

json_t *census_add_foreign(const struct census *census, const char *kind, const char *name)
{
	json_t *object = json_new_object();

	json_put_str(object, "kind", kind);
	json_put_str(object, "name", name);
	json_put_str(object, "owner", "foreign");
	json_add(census->objects, object);
	return object;
}

json_t *census_add(const struct census *census, const char *kind, const char *name,
		   const char *vm_id)
{
	const struct vm *vm = vm_id ? look_find_vm(census->vms, vm_id) : NULL;
	json_t *object = census_add_foreign(census, kind, name);

	json_put_str(object, "owner", vm ? "vm" : vm_id ? "none" : "banger");
	if (vm_id)
		json_put_str(object, "vm", vm_id);
	if (vm)
		json_put_str(object, "vm_name", vm->name);
	return object;
}

/* --- rows --- */

static int add_rows(const struct census *census, struct err *err)
{
	AUTO_IMAGE_RECORD_LIST images = { 0 };
	AUTO_KERNEL_RECORD_LIST kernels = { 0 };
	AUTO_TEMPLATE_RECORD_LIST templates = { 0 };
	AUTO_SNAPSHOT_RECORD_LIST snapshots = { 0 };
	struct store *store = census->daemon->store;
	int r;

	for (size_t i = 0; i < census->vms->count; i++) {
		const struct vm *vm = &census->vms->items[i];

		json_put_str(census_add(census, "row", vm->name, vm->id), "detail",
			     vm->intent != VM_INTENT_NONE ? vm_intent_name(vm->intent)
							  : vm_state_name(vm->state));
	}
	if (!store)
		return 0;
	r = store_image_list(store, &images, err);
	for (size_t i = 0; i < images.count && r == 0; i++)
		json_put_str(census_add(census, "row", images.items[i].name, NULL), "detail",
			     "image");
	if (r == 0)
		r = store_kernel_list(store, &kernels, err);
	for (size_t i = 0; i < kernels.count && r == 0; i++)
		json_put_str(census_add(census, "row", kernels.items[i].name, NULL), "detail",
			     "kernel");
	if (r == 0)
		r = store_template_list(store, &templates, err);
	for (size_t i = 0; i < templates.count && r == 0; i++)
		json_put_str(census_add(census, "row", templates.items[i].id, NULL), "detail",
			     "template");
	if (r == 0)
		r = store_snapshot_list(store, NULL, &snapshots, err);
	for (size_t i = 0; i < snapshots.count && r == 0; i++)
		json_put_str(census_add(census, "row", snapshots.items[i].name,
					snapshots.items[i].vm_id),
			     "detail", "snapshot");
	return r;
}

/* --- files --- */

static int note_name(void *context, const char *name)
{
	strv_add(context, name);
	return 0;
}

/* The names in a folder, sorted; none of one that is not there. */
static int list(const char *path, struct strv *names, struct err *err)
{
	AUTO_CLOSE int fd = dir_open(path);
	const int r = fd < 0 ? fd : dir_each(fd, note_name, names);

	strv_sort(names);
	return r < 0 && r != -ENOENT ? err_sys(err, r, "list '%s'", path) : 0;
}

static void put_size(json_t *object, const struct stat *status)
{
	json_put_u64(object, "bytes", (uint64_t)status->st_size);
	json_put_u64(object, "used_bytes", (uint64_t)status->st_blocks * STAT_BLOCK_BYTES);
}

/* The files of a VM's folder, within the object of that. */
static int put_files(json_t *folder, const char *path, struct err *err)
{
	AUTO_CLOSE int fd = dir_open(path);
	AUTO_STRV names = { 0 };
	json_t *files;
	int r;

	r = list(path, &names, err);
	if (r < 0)
		return r;
	files = json_new_array();
	for (size_t i = 0; i < names.count; i++) {
		json_t *file = json_new_object();
		struct stat status;

		json_put_str(file, "name", names.items[i]);
		if (fstatat(fd, names.items[i], &status, AT_SYMLINK_NOFOLLOW) == 0)
			put_size(file, &status);
		json_add(files, file);
	}
	json_put(folder, "files", files);
	return 0;
}

static void put_used(json_t *folder, const char *path)
{
	struct err ignored = ERR_INIT;
	uint64_t bytes;

	if (disk_used_bytes(path, &bytes, &ignored) == 0)
		json_put_u64(folder, "used_bytes", bytes);
}

static bool is_hex(const char *name, size_t length)
{
	return strlen(name) == length && strspn(name, "0123456789abcdef") == length;
}

/* Of a VM: a folder each, and what operations have not finished. */
static int add_snapshots(const struct census *census, const char *folder, const char *id,
			 struct err *err)
{
	AUTO_FREE char *dir = mem_printf("%s/snapshots", folder);
	AUTO_STRV names = { 0 };
	int r;

	r = list(dir, &names, err);
	for (size_t i = 0; i < names.count && r == 0; i++) {
		AUTO_FREE char *path = mem_printf("%s/%s", dir, names.items[i]);
		json_t *object;

		if (!is_hex(names.items[i], VM_ID_LENGTH) && !str_starts(names.items[i], ".new-")) {
			(void)census_add_foreign(census, "file", path);
			continue;
		}
		object = census_add(census, "folder", path, id);
		put_used(object, path);
		r = put_files(object, path, err);
	}
	return r;
}

static int add_vm_folders(const struct census *census, struct err *err)
{
	const char *dir = census->daemon->vms_dir;
	AUTO_STRV names = { 0 };
	int r;

	r = list(dir, &names, err);
	for (size_t i = 0; i < names.count && r == 0; i++) {
		const char *id = names.items[i];
		AUTO_FREE char *path = mem_printf("%s/%s", dir, id);
		json_t *folder;

		if (!is_hex(id, VM_ID_LENGTH)) {
			(void)census_add_foreign(census, "file", path);
			continue;
		}
		folder = census_add(census, "folder", path, id);
		put_used(folder, path);
		r = put_files(folder, path, err);
		if (r == 0)
			r = add_snapshots(census, path, id, err);
	}
	return r;
}

/* The VM whose id begins so; else the beginning itself, which is no VM's. */
static const char *id_of_beginning(const struct vm_list *vms, const char *beginning)
{
	for (size_t i = 0; i < vms->count; i++) {
		if (str_starts(vms->items[i].id, beginning))
			return vms->items[i].id;
	}
	return beginning;
}

static int add_sockets_of_vm(const struct census *census, const char *dir, const char *id,
			     struct err *err)
{
	AUTO_CLOSE int fd = dir_open(dir);
	AUTO_STRV names = { 0 };
	int r;

	(void)census_add(census, "folder", dir, id);
	r = list(dir, &names, err);
	for (size_t i = 0; i < names.count && r == 0; i++) {
		AUTO_FREE char *path = mem_printf("%s/%s", dir, names.items[i]);
		struct stat status;
		const bool is_socket =
			fstatat(fd, names.items[i], &status, AT_SYMLINK_NOFOLLOW) == 0 &&
			S_ISSOCK(status.st_mode);

		(void)census_add(census, is_socket ? "socket" : "file", path, id);
	}
	return r;
}

static int add_sockets(const struct census *census, struct err *err)
{
	AUTO_FREE char *dir = mem_printf("%s/vm", census->daemon->paths.runtime_dir);
	AUTO_STRV names = { 0 };
	int r;

	if (access(census->daemon->paths.socket, F_OK) == 0)
		(void)census_add(census, "socket", census->daemon->paths.socket, NULL);
	r = list(dir, &names, err);
	for (size_t i = 0; i < names.count && r == 0; i++) {
		const char *name = names.items[i];
		AUTO_FREE char *path = mem_printf("%s/%s", dir, name);

		if (is_hex(name, SOCKET_FOLDER_CHARS))
			r = add_sockets_of_vm(census, path, id_of_beginning(census->vms, name),
					      err);
		else
			(void)census_add_foreign(census, "file", path);
	}
	return r;
}

/* Images, kernels, templates: one folder each, and what operations have not finished. */
static int add_artifacts(const struct census *census, const char *dir, struct err *err)
{
	AUTO_STRV names = { 0 };
	int r;

	r = list(dir, &names, err);
	for (size_t i = 0; i < names.count && r == 0; i++) {
		AUTO_FREE char *path = mem_printf("%s/%s", dir, names.items[i]);
		json_t *folder = census_add(census, "folder", path, NULL);

		put_used(folder, path);
		if (str_starts(names.items[i], ".new-") || str_starts(names.items[i], ".old-"))
			json_put_str(folder, "detail", "not finished");
	}
	return r;
}

static bool is_ours_in_state(const char *name)
{
	static const char *const known[] = { "state.db", "state.db-wal",  "state.db-shm",
					     "reserve",	 "reserve.inode", "bangerd.log",
					     "kvm.json", "ssh",		  "images",
					     "kernels",	 "vms",		  "templates" };

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (str_eq(name, known[i]))
			return true;
	}
	/* What is written beside its place first. */
	return str_starts(name, ".new-") || (name[0] == '.' && str_ends(name, ".new"));
}

static int add_state(const struct census *census, struct err *err)
{
	const char *dir = census->daemon->paths.state_dir;
	AUTO_CLOSE int fd = dir_open(dir);
	AUTO_STRV names = { 0 };
	int r;

	r = list(dir, &names, err);
	for (size_t i = 0; i < names.count && r == 0; i++) {
		const char *name = names.items[i];
		AUTO_FREE char *path = mem_printf("%s/%s", dir, name);
		struct stat status;
		json_t *object;

		if (fstatat(fd, name, &status, 0) < 0)
			continue; /* gone by now */
		object = is_ours_in_state(name)
				 ? census_add(census, S_ISDIR(status.st_mode) ? "folder" : "file",
					      path, NULL)
				 : census_add_foreign(census, "file", path);
		if (!S_ISDIR(status.st_mode))
			put_size(object, &status);
	}
	return r;
}

/* --- the kernel's --- */

static int add_cgroups(const struct census *census, struct err *err)
{
	const struct priv *priv = census->daemon->priv;
	AUTO_STRV ids = { 0 };
	AUTO_STRV others = { 0 };
	int r;

	r = priv_cgroup_ids(priv, &ids, err);
	if (r < 0)
		return r;
	strv_sort(&ids);
	for (size_t i = 0; i < ids.count; i++) {
		AUTO_FREE char *name = mem_printf("banger-%s/%s", priv_tag(priv), ids.items[i]);
		struct priv_cgroup_view view;

		priv_cgroup_look(priv, ids.items[i], &view);
		json_put_u64(census_add(census, "cgroup", name, ids.items[i]), "processes",
			     view.processes);
	}
	priv_cgroup_others(priv, &others);
	for (size_t i = 0; i < others.count; i++)
		(void)census_add_foreign(census, "cgroup", others.items[i]);
	return 0;
}

static void add_device(void *context, const char *kind, const char *name, bool is_ours,
		       const char *vm_id)
{
	const struct census *census = context;

	if (!is_ours)
		(void)census_add_foreign(census, kind, name);
	else
		(void)census_add(census, kind, name, vm_id);
}

int census_take(struct daemon *daemon, pid_t pid, json_t **ret, struct err *err)
{
	AUTO_VM_LIST vms = { 0 };
	AUTO_JSON *objects = json_new_array();
	struct census census = { .daemon = daemon, .pid = pid, .vms = &vms, .objects = objects };
	int r = 0;

	if (daemon->store)
		r = store_vm_list(daemon->store, &vms, err);
	if (r == 0)
		r = census_processes(&census, err);
	if (r == 0)
		r = add_sockets(&census, err);
	if (r == 0)
		r = add_cgroups(&census, err);
	if (r == 0)
		r = network_census(daemon->network, add_device, &census, err);
	if (r == 0)
		r = add_rows(&census, err);
	if (r == 0)
		r = add_vm_folders(&census, err);
	if (r == 0)
		r = add_artifacts(&census, daemon->images_dir, err);
	if (r == 0)
		r = add_artifacts(&census, daemon->kernels_dir, err);
	if (r == 0)
		r = add_artifacts(&census, daemon->templates_dir, err);
	if (r == 0)
		r = add_state(&census, err);
	if (r < 0)
		return r;
	*ret = json_incref(objects);
	return 0;
}
