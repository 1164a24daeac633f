/* Looking at the VMs' cgroups, and removing empty ones. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/strv.h"
#include "base/text.h"
#include "model/names.h"
#include "priv/private.h"

_Static_assert(PRIV_ID_SIZE == VM_ID_SIZE, "an id is an id");

static int note_id(void *context, const char *name)
{
	struct strv *ids = context;

	/* The kernel's own files have other names. */
	if (name_is_vm_id(name) && !strv_has(ids, name))
		strv_add(ids, name);
	return 0;
}

static int list_ids(const struct priv *priv, const struct hierarchy *hierarchy, struct strv *ret)
{
	AUTO_CLOSE int fd = -1;

	if (hierarchy->base_fd < 0)
		return 0;
	fd = dir_open_at(hierarchy->base_fd, priv->folder);
	if (fd == -ENOENT)
		return 0;
	return fd < 0 ? fd : dir_each(fd, note_id, ret);
}

int priv_cgroup_ids(const struct priv *priv, struct strv *ret, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < priv->hierarchy_count && r == 0; i++)
		r = list_ids(priv, &priv->hierarchies[i], ret);
	return r < 0 ? err_sys(err, r, "list cgroup '%s'", priv->folder) : 0;
}

struct others {
	const char *own;
	struct strv *names;
};

static int note_other(void *context, const char *name)
{
	const struct others *others = context;

	if (str_starts(name, "banger-") && !str_eq(name, others->own) &&
	    !strv_has(others->names, name))
		strv_add(others->names, name);
	return 0;
}

void priv_cgroup_others(const struct priv *priv, struct strv *ret)
{
	struct others others = { .own = priv->folder, .names = ret };

	for (size_t i = 0; i < priv->hierarchy_count; i++) {
		AUTO_CLOSE int fd = -1;

		if (priv->hierarchies[i].base_fd < 0)
			continue;
		fd = dir_open_at(priv->hierarchies[i].base_fd, ".");
		/* What cannot be listed has nothing that could be told. */
		if (fd >= 0)
			IGNORE_RESULT(dir_each(fd, note_other, &others));
	}
}

static void look_at(int fd, struct priv_cgroup_view *ret)
{
	AUTO_BUF text = BUF_INIT;
	struct stat status;
	size_t processes = 0;

	ret->exists = true;
	/* A folder of cgroups has two links, and one more for each below it. */
	if (fstat(fd, &status) == 0 && status.st_nlink > 2)
		ret->has_others = true;
	if (kernel_file_read(fd, "cgroup.procs", &text) < 0)
		return;
	for (size_t i = 0; i < text.len; i++)
		processes += text.ptr[i] == '\n';
	if (processes > ret->processes)
		ret->processes = processes;
}

void priv_cgroup_look(const struct priv *priv, const char *id, struct priv_cgroup_view *ret)
{
	AUTO_FREE char *path = mem_printf("%s/%s", priv->folder, id);

	*ret = (struct priv_cgroup_view){ 0 };
	if (!name_is_vm_id(id))
		return;
	for (size_t i = 0; i < priv->hierarchy_count; i++) {
		AUTO_CLOSE int fd = -1;

		if (priv->hierarchies[i].base_fd < 0)
			continue;
		fd = dir_open_at(priv->hierarchies[i].base_fd, path);
		if (fd >= 0)
			look_at(fd, ret);
	}
}

int priv_cgroup_drop(const struct priv *priv, const char *id)
{
	AUTO_FREE char *path = mem_printf("%s/%s", priv->folder, id);
	int r = 0;

	if (!name_is_vm_id(id))
		return -EINVAL;
	for (size_t i = 0; i < priv->hierarchy_count; i++) {
		if (priv->hierarchies[i].base_fd >= 0 &&
		    unlinkat(priv->hierarchies[i].base_fd, path, AT_REMOVEDIR) < 0 &&
		    errno != ENOENT)
			r = -errno;
	}
	return r;
}

bool priv_cgroup_vm(const struct priv *priv, struct span text, char ret[static PRIV_ID_SIZE])
{
	AUTO_FREE char *mark = mem_printf("/%s/", priv->folder);
	const size_t mark_len = strlen(mark);
	const uint8_t *at = text.len == 0 ? NULL : memmem(text.ptr, text.len, mark, mark_len);
	const size_t used = at ? (size_t)(at - text.ptr) + mark_len : 0;

	if (!at || text.len - used < PRIV_ID_SIZE - 1)
		return false;
	memcpy(ret, at + mark_len, PRIV_ID_SIZE - 1);
	ret[PRIV_ID_SIZE - 1] = '\0';
	return name_is_vm_id(ret);
}
