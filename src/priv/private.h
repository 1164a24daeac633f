/* What the files of this folder share. */
#pragma once

#include "base/span.h"
#include "priv/priv.h"

enum controller {
	CONTROLLER_CPU,
	CONTROLLER_CPUACCT, /* v1 only; part of cpu in v2 */
	CONTROLLER_MEMORY,
	CONTROLLER_PIDS,
	CONTROLLER_COUNT,
};

#define CONTROLLER_BIT(controller) (1U << (controller))

#define HIERARCHIES_MAX PRIV_ENTRIES_MAX

/* One mounted cgroup hierarchy that has something for us. */
struct hierarchy {
	bool is_v2;
	unsigned controllers; /* CONTROLLER_BIT()s; for v2 those that can be given to VMs */
	char *mount_point;    /* owned */
	char *own;	      /* owned: our own cgroup below the mount point; NULL: not below it */
	int base_fd;	      /* owned: where banger-TAG is; -1 when it cannot be used */
	char *base;	      /* owned: base_fd's path below the mount point */
	char *reason;	      /* owned: why it cannot be used */
};

struct priv {
	char tag[PRIV_TAG_SIZE];
	char folder[sizeof("banger-") + PRIV_TAG_SIZE]; /* the parent of our VMs' cgroups */
	struct hierarchy hierarchies[HIERARCHIES_MAX];
	size_t hierarchy_count;
	bool only_looks; /* makes and removes nothing */
	enum priv_user user_kind;
};

extern const char *const controller_names[CONTROLLER_COUNT];

/*
 * Finds the hierarchies in the texts of /proc/self/mountinfo and /proc/self/cgroup; each controller
 * once, and the v2 hierarchy even without any, since it can kill. Pure. The count.
 */
size_t hierarchies_parse(struct span mountinfo, struct span cgroup,
			 struct hierarchy ret[static HIERARCHIES_MAX]);
void hierarchies_done(struct hierarchy *hierarchies, size_t count);

/*
 * Where in a hierarchy our cgroups belong when our own cgroup is `own` (NULL: unknown): below it
 * when it was given to us or is the root, at the root when a login or a service manager put us
 * where we are and root may leave it, nowhere (NULL) when it is somebody else's, whose limits and
 * books we neither leave nor touch. Borrowed.
 */
const char *hierarchy_base(const char *own, bool is_delegated, bool is_root);

/* Looks at this host and opens what can be used. */
int cgroups_open(struct priv *priv, struct err *err) MUST_CHECK;
void cgroups_close(struct priv *priv);

/*
 * Makes `folder` in a hierarchy's base unless it is there, with what VMs need: again before each
 * VM, since another daemon with the same state folder may have removed it.
 */
int cgroup_folder_make(const struct hierarchy *hierarchy, const char *folder) MUST_CHECK;

/* A small file of the kernel's: whole content, or a value written. 0 or -errno. */
struct buf;
int kernel_file_read(int dir_fd, const char *name, struct buf *ret) MUST_CHECK;
int kernel_file_write(int dir_fd, const char *name, const char *value) MUST_CHECK;

/* The number after "`key` " in a file of such lines; 0 when it is not there. */
uint64_t keyed_number(struct span text, const char *key);

/* Whether `count` numbers from `first` on are all users (groups) by a map of user_namespaces(7). */
bool user_map_has(struct span map, uint64_t first, uint64_t count);
enum priv_user user_kind_of(struct span uid_map, struct span gid_map);
void users_open(struct priv *priv);
