/*
 * The privileged operations: making, counting and removing what belongs to a VM but lives in the
 * kernel, which takes more rights than the owner's. They are few and typed: they take VM ids,
 * numbers and open descriptors, never paths, names or process ids, and derive every name from the
 * id and from `tag`, so that nothing foreign can be meant. This is the implementation in process,
 * for a bangerd that root started and for one that has only its owner's rights (then what it may
 * not do is left out, and priv_cgroup_report() and priv_user_report() say so).
 *
 * A struct priv does not change once it is open: any thread may use it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/macros.h"

#define PRIV_ID_SIZE  33 /* a VM's id and the terminator */
#define PRIV_TAG_SIZE 17 /* sixteen hexadecimal digits and the terminator */

struct priv;

/*
 * `state_dir` tells this owner's objects from those of other daemons: the first half of its
 * SHA-256 is the tag, which every name and comment of ours carries. Call it while there is one
 * thread: where bangerd's own cgroup was delegated to it, it moves into a leaf of that.
 */
int priv_open(const char *state_dir, struct priv **ret, struct err *err) MUST_CHECK;
/* The same for looking only: it makes nothing, and moves nowhere. */
int priv_open_to_look(const char *state_dir, struct priv **ret, struct err *err) MUST_CHECK;
void priv_close(struct priv *priv); /* VMs and what they have stay */
DEFINE_FREEP(priv, priv_close);

/* Borrowed. */
const char *priv_tag(const struct priv *priv);

/* Whether `id` is a VM's id: 32 lower-case hexadecimal digits. Everything else is refused. */
int priv_check_id(const char *id, struct err *err) MUST_CHECK;

/* --- cgroups: banger-TAG/ID in each hierarchy that can be used --- */

struct priv_limits {
	uint64_t vcpu;
	uint64_t memory_bytes; /* the guest's */
	bool is_emulated;      /* TCG, whose translated code takes room */
	bool is_background;    /* only with the processor time that nobody else wants */
};

/* What a VMM may have in all. docs/security.md states the rule. */
uint64_t priv_memory_max(const struct priv_limits *limits);
uint64_t priv_processes_max(const struct priv_limits *limits);
uint64_t priv_cpus_max(const struct priv_limits *limits);

#define PRIV_ENTRIES_MAX 8

/* The way into a VM's cgroups: a process that writes "0" to each is in them. */
struct priv_entry {
	int fds[PRIV_ENTRIES_MAX]; /* owned */
	size_t count;		   /* 0: there are no cgroups on this host */
};

void priv_entry_done(struct priv_entry *entry);
#define AUTO_PRIV_ENTRY CLEANUP(priv_entry_done) struct priv_entry

/*
 * Makes the VM's cgroups with its limits, empty ones that an earlier run left being replaced.
 * Without usable hierarchies it makes none and succeeds. On failure nothing is left.
 */
int priv_cgroup_make(const struct priv *priv, const char *id, const struct priv_limits *limits,
		     struct priv_entry *ret, struct err *err) MUST_CHECK;

/* Kills whatever is left in the VM's cgroups and removes them. Missing ones are fine. */
int priv_cgroup_end(const struct priv *priv, const char *id, struct err *err) MUST_CHECK;

/* The VMs that have cgroups of ours, each once. */
struct strv;
int priv_cgroup_ids(const struct priv *priv, struct strv *ret, struct err *err) MUST_CHECK;

/* What is to be seen of a VM's cgroups; all zero when it has none, or an id is none. */
struct priv_cgroup_view {
	bool exists;
	bool has_others; /* cgroups below, made by somebody else */
	size_t processes;
};
void priv_cgroup_look(const struct priv *priv, const char *id, struct priv_cgroup_view *ret);

/* Cgroups beside ours whose names are as ours, but which are others': other state folders'. */
void priv_cgroup_others(const struct priv *priv, struct strv *ret);

/* Removes a VM's cgroups if they are empty: 0, -EBUSY when they are not, or -errno. */
int priv_cgroup_drop(const struct priv *priv, const char *id) MUST_CHECK;

/* Where a process's cgroup is ours: the VM's id, as the text of /proc/PID/cgroup has it. Pure. */
struct span;
bool priv_cgroup_vm(const struct priv *priv, struct span text, char ret[static PRIV_ID_SIZE]);

/* What a VM's cgroups have counted; a member whose `has_` is false is not counted here. */
struct priv_usage {
	bool has_cpu;
	uint64_t cpu_us;
	bool has_memory;
	uint64_t memory_bytes; /* without what is only cached */
	uint64_t memory_max_bytes;
	uint64_t oom_kills;
	bool has_processes;
	uint64_t processes; /* threads, too */
};

/* 0 or -errno; all false for a VM without cgroups. */
int priv_cgroup_usage(const struct priv *priv, const char *id, struct priv_usage *ret) MUST_CHECK;

/* For doctor: which controllers are used and where; then why others are not. */
struct buf;
struct priv_cgroup_report {
	bool limits_cpu;
	bool limits_memory;
	bool limits_processes;
};
struct priv_cgroup_report priv_cgroup_report(const struct priv *priv, struct buf *out);

/* --- users --- */

/*
 * The user, and the group of the same number, for a VM's emulator, which own nothing on this host:
 * derived from the id. False when bangerd has only its owner's rights: then it is the owner.
 */
bool priv_vm_user(const struct priv *priv, const char *id, uid_t *ret);

/* The same for what keeps the isolated network (net_holder.h): no VM's, unless all share one. */
bool priv_network_user(const struct priv *priv, uid_t *ret);

/* For doctor: what the emulators run as. */
enum priv_user {
	PRIV_USER_OF_VM,  /* each its own */
	PRIV_USER_SHARED, /* one for all: we are in a container without enough of them */
	PRIV_USER_OWN,	  /* bangerd's */
};
enum priv_user priv_user_report(const struct priv *priv, struct buf *out);
