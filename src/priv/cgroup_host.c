/* Opening the cgroup hierarchies of this host that VMs can be put into. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/magic.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "priv/private.h"

#define TEXT_MAX  (1U << 20)
#define LEAF_NAME "bangerd" /* where we are when our own cgroup was given to us */

int kernel_file_read(int dir_fd, const char *name, struct buf *ret)
{
	AUTO_CLOSE int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return -errno;
	do {
		buf_reserve(ret, 4096);
		n = fd_read_some(fd, ret->ptr + ret->len, 4096);
		if (n > 0)
			buf_advance(ret, (size_t)n);
	} while (n > 0 && ret->len < TEXT_MAX);
	return n < 0 ? (int)n : 0;
}

int kernel_file_write(int dir_fd, const char *name, const char *value)
{
	AUTO_CLOSE int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	/* In one write: that is what these files want. */
	return fd < 0 ? -errno : write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

static bool has_word(struct span text, const char *word)
{
	struct span found;

	while (text.len > 0 && text.ptr[text.len - 1] == '\n')
		text.len--;
	while (text.len > 0) {
		if (!parse_until(&text, ' ', &found)) {
			found = text;
			text = span_skip(text, text.len);
		}
		if (span_eq(found, span_str(word)))
			return true;
	}
	return false;
}

/*
 * Lets the children of a v2 cgroup have those of our controllers that it has itself. Those that
 * they have by then.
 */
static unsigned enable_controllers(int dir_fd, unsigned wanted, int *ret_error)
{
	AUTO_BUF available = BUF_INIT;
	AUTO_BUF enabled = BUF_INIT;
	unsigned got = 0;
	int r;

	r = kernel_file_read(dir_fd, "cgroup.controllers", &available);
	if (r == 0)
		r = kernel_file_read(dir_fd, "cgroup.subtree_control", &enabled);
	for (unsigned i = 0; i < CONTROLLER_COUNT && r == 0; i++) {
		char value[32];
		int failed = 0;

		if ((wanted & CONTROLLER_BIT(i)) == 0 ||
		    !has_word(buf_span(&available), controller_names[i]))
			continue;
		(void)snprintf(value, sizeof(value), "+%s", controller_names[i]);
		if (!has_word(buf_span(&enabled), controller_names[i]))
			failed = kernel_file_write(dir_fd, "cgroup.subtree_control", value);
		if (failed < 0)
			*ret_error = failed;
		else
			got |= CONTROLLER_BIT(i);
	}
	if (r < 0)
		*ret_error = r;
	return got;
}

/* systemd marks the cgroups that it has given away. */
static bool is_delegated(int fd)
{
	static const char *const names[] = { "trusted.delegate", "user.delegate" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char value[4];

		if (fgetxattr(fd, names[i], value, sizeof(value)) == 1 && value[0] == '1')
			return true;
	}
	return false;
}

static int open_cgroup(const struct hierarchy *hierarchy, const char *path)
{
	AUTO_FREE char *full = mem_printf("%s%s", hierarchy->mount_point, path);
	AUTO_CLOSE int fd = dir_open(full);
	struct statfs status;

	if (fd < 0)
		return fd;
	/* Something else may have been mounted over it. */
	if (fstatfs(fd, &status) < 0)
		return -errno;
	if (status.f_type != (hierarchy->is_v2 ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC))
		return -ENOTDIR;
	return TAKE_FD(fd);
}

/* Out of our own cgroup, into a leaf of it: only one without processes can share controllers out.
 */
static int move_to_leaf(int own_fd)
{
	if (mkdirat(own_fd, LEAF_NAME, 0755) < 0 && errno != EEXIST)
		return -errno;
	return kernel_file_write(own_fd, LEAF_NAME "/cgroup.procs", "0");
}

static void refuse(struct hierarchy *hierarchy, const char *what, int r)
{
	hierarchy->reason =
		r < 0 ? mem_printf("%s: %s", what, strerrordesc_np(-r)) : mem_strdup(what);
}

/* Whether we are in the leaf of a cgroup that was given to us (DelegateSubgroup=bangerd). */
static char *given_above(const struct hierarchy *hierarchy)
{
	AUTO_FREE char *above = NULL;
	AUTO_CLOSE int fd = -1;

	if (!str_ends(hierarchy->own, "/" LEAF_NAME))
		return NULL;
	above = mem_strndup(hierarchy->own, strlen(hierarchy->own) - strlen("/" LEAF_NAME));
	fd = open_cgroup(hierarchy, above);
	return fd >= 0 && is_delegated(fd) ? TAKE_PTR(above) : NULL;
}

/* Where ours go; *ret_moves: we have to make room in our own first. NULL: nowhere. */
static char *find_base(const struct hierarchy *hierarchy, bool *ret_moves, int *ret_error)
{
	AUTO_FREE char *above = given_above(hierarchy);
	AUTO_CLOSE int own_fd = -1;
	const char *base;
	bool is_given;

	*ret_moves = false;
	*ret_error = 0;
	if (above)
		return TAKE_PTR(above);
	own_fd = open_cgroup(hierarchy, hierarchy->own);
	if (own_fd < 0) {
		*ret_error = own_fd;
		return NULL;
	}
	is_given = is_delegated(own_fd);
	base = hierarchy_base(hierarchy->own, is_given, geteuid() == 0);
	*ret_moves = is_given && hierarchy->is_v2;
	return mem_strdup(base);
}

int cgroup_folder_make(const struct hierarchy *hierarchy, const char *folder)
{
	AUTO_CLOSE int fd = -1;
	int error = 0;

	if (mkdirat(hierarchy->base_fd, folder, 0755) < 0)
		return errno == EEXIST ? 0 : -errno;
	if (!hierarchy->is_v2)
		return 0;
	fd = dir_open_at(hierarchy->base_fd, folder);
	if (fd < 0)
		return fd;
	(void)enable_controllers(fd, hierarchy->controllers, &error);
	return error;
}

/* Shares our controllers out, and makes the folder of our VMs' cgroups. */
static int prepare_base(struct hierarchy *hierarchy, int base_fd, const char *folder,
			int *ret_missing)
{
	const unsigned all = (1U << CONTROLLER_COUNT) - 1;
	int r;

	hierarchy->base_fd = base_fd;
	if (hierarchy->is_v2)
		hierarchy->controllers = enable_controllers(base_fd, all, ret_missing);
	r = cgroup_folder_make(hierarchy, folder);
	hierarchy->base_fd = -1;
	return r;
}

static void open_hierarchy(struct hierarchy *hierarchy, const char *folder, bool only_looks)
{
	AUTO_FREE char *base = NULL;
	AUTO_CLOSE int base_fd = -1;
	int error = 0, r;
	bool moves;

	if (!hierarchy->own) {
		refuse(hierarchy, "bangerd's own cgroup is not below what is mounted here", 0);
		return;
	}
	base = find_base(hierarchy, &moves, &r);
	if (!base) {
		AUTO_FREE char *text = mem_printf("bangerd is in cgroup '%s', which was not "
						  "delegated to it",
						  hierarchy->own);

		refuse(hierarchy, text, r);
		return;
	}
	base_fd = open_cgroup(hierarchy, base);
	r = base_fd < 0 ? base_fd : 0;
	if (r == 0 && moves && !only_looks)
		r = move_to_leaf(base_fd);
	if (r < 0) {
		refuse(hierarchy, "bangerd cannot move into a leaf of its cgroup", r);
		return;
	}
	if (!only_looks)
		r = prepare_base(hierarchy, base_fd, folder, &error);
	if (r < 0) {
		refuse(hierarchy, "a cgroup cannot be made here", r);
		return;
	}
	if (error < 0)
		refuse(hierarchy, "controllers cannot be handed on", error);
	hierarchy->base = TAKE_PTR(base);
	hierarchy->base_fd = TAKE_FD(base_fd);
}

int cgroups_open(struct priv *priv, struct err *err)
{
	AUTO_BUF mounts = BUF_INIT;
	AUTO_BUF own = BUF_INIT;
	int r;

	r = kernel_file_read(AT_FDCWD, "/proc/self/mountinfo", &mounts);
	if (r == 0)
		r = kernel_file_read(AT_FDCWD, "/proc/self/cgroup", &own);
	if (r == -ENOENT)
		return 0; /* a kernel without cgroups */
	if (r < 0)
		return err_sys(err, r, "look for cgroups in /proc/self");
	(void)snprintf(priv->folder, sizeof(priv->folder), "banger-%s", priv->tag);
	priv->hierarchy_count =
		hierarchies_parse(buf_span(&mounts), buf_span(&own), priv->hierarchies);
	for (size_t i = 0; i < priv->hierarchy_count; i++)
		open_hierarchy(&priv->hierarchies[i], priv->folder, priv->only_looks);
	return 0;
}

void hierarchies_done(struct hierarchy *hierarchies, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		fd_close(hierarchies[i].base_fd);
		mem_free(hierarchies[i].mount_point);
		mem_free(hierarchies[i].own);
		mem_free(hierarchies[i].base);
		mem_free(hierarchies[i].reason);
	}
}

void cgroups_close(struct priv *priv)
{
	/* It stays as long as VMs run. */
	for (size_t i = 0; i < priv->hierarchy_count; i++) {
		if (priv->hierarchies[i].base_fd >= 0 && !priv->only_looks)
			(void)unlinkat(priv->hierarchies[i].base_fd, priv->folder, AT_REMOVEDIR);
	}
	hierarchies_done(priv->hierarchies, priv->hierarchy_count);
	priv->hierarchy_count = 0;
}

static void add_unlimited(const struct priv *priv, enum controller controller, struct buf *out)
{
	const struct hierarchy *culprit = NULL;

	for (size_t i = 0; i < priv->hierarchy_count; i++) {
		const struct hierarchy *hierarchy = &priv->hierarchies[i];

		if (hierarchy->reason &&
		    (hierarchy->is_v2 ? !culprit
				      : (hierarchy->controllers & CONTROLLER_BIT(controller)) != 0))
			culprit = hierarchy;
	}
	buf_addf(out, "; %s is not limited: %s", controller_names[controller],
		 culprit ? culprit->reason : "no hierarchy here has it");
}

struct priv_cgroup_report priv_cgroup_report(const struct priv *priv, struct buf *out)
{
	static const enum controller limiting[] = { CONTROLLER_CPU, CONTROLLER_MEMORY,
						    CONTROLLER_PIDS };
	unsigned limited = 0;
	const char *separator = "";

	for (size_t i = 0; i < priv->hierarchy_count; i++) {
		const struct hierarchy *hierarchy = &priv->hierarchies[i];

		if (hierarchy->base_fd < 0)
			continue;
		limited |= hierarchy->controllers;
		buf_addf(out, "%s%s%s/%s%s", separator, hierarchy->mount_point,
			 str_eq(hierarchy->base, "/") ? "" : hierarchy->base, priv->folder,
			 hierarchy->is_v2 ? " (v2)" : "");
		separator = ", ";
	}
	if (separator[0] == '\0')
		buf_add_str(out, "VMs run without cgroups");
	for (size_t i = 0; i < ARRAY_LEN(limiting); i++) {
		if ((limited & CONTROLLER_BIT(limiting[i])) == 0)
			add_unlimited(priv, limiting[i], out);
	}
	return (struct priv_cgroup_report){
		.limits_cpu = (limited & CONTROLLER_BIT(CONTROLLER_CPU)) != 0,
		.limits_memory = (limited & CONTROLLER_BIT(CONTROLLER_MEMORY)) != 0,
		.limits_processes = (limited & CONTROLLER_BIT(CONTROLLER_PIDS)) != 0,
	};
}
