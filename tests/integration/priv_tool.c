/*
 * Drives src/priv for cgroups.bats and, as one static program, inside a guest:
 *
 *     priv_tool report STATE              what doctor says
 *     priv_tool run STATE ID MIB PROGRAM [ARGUMENT...]
 *                                         a program in the VM's cgroups, then what they counted;
 * they are removed priv_tool make STATE ID MIB         as bangerd leaves them when it is killed
 *     priv_tool end STATE ID
 *     priv_tool sweep STATE [ID...]       all but these
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/parse.h"
#include "base/spawn.h"
#include "base/strv.h"
#include "base/text.h"
#include "priv/priv.h"

struct known {
	char *const *ids;
	int count;
};

static bool is_known(void *context, const char *id)
{
	const struct known *known = context;

	for (int i = 0; i < known->count; i++) {
		if (str_eq(known->ids[i], id))
			return true;
	}
	return false;
}

static int report(const struct priv *priv)
{
	AUTO_BUF text = BUF_INIT;
	const struct priv_cgroup_report found = priv_cgroup_report(priv, &text);

	(void)printf("%s\ncpu=%d memory=%d processes=%d\n", text.ptr, found.limits_cpu,
		     found.limits_memory, found.limits_processes);
	return 0;
}

static void print_usage(const struct priv_usage *usage)
{
	if (usage->has_cpu)
		(void)printf("cpu_ms %" PRIu64 "\n", usage->cpu_us / 1000);
	if (usage->has_memory)
		(void)printf("memory_max %" PRIu64 "\noom_kills %" PRIu64 "\n",
			     usage->memory_max_bytes, usage->oom_kills);
	if (usage->has_processes)
		(void)printf("processes %" PRIu64 "\n", usage->processes);
}

static int run(const struct priv *priv, const char *id, const struct priv_limits *limits,
	       char *const *argv, struct err *err)
{
	AUTO_PRIV_ENTRY entry = { .count = 0 };
	CLEANUP(process_kill) struct process process = PROCESS_INIT;
	struct priv_usage usage;
	int status = 0, r;

	r = priv_cgroup_make(priv, id, limits, &entry, err);
	if (r < 0)
		return r;
	struct spawn spawn = {
		.path = argv[0], .argv = argv, .entries = entry.fds, .entry_count = entry.count
	};
	spawn_add_fd(&spawn, STDOUT_FILENO, STDOUT_FILENO);
	spawn_add_fd(&spawn, STDERR_FILENO, STDERR_FILENO);
	r = spawn_start(&spawn, &process, err);
	if (r == 0) {
		r = process_wait(&process, NULL, UINT64_MAX, &status);
		if (r < 0)
			return err_sys(err, r, "wait");
		if (WIFSIGNALED(status))
			(void)printf("signal %d\n", WTERMSIG(status));
		else
			(void)printf("status %d\n", WEXITSTATUS(status));
		r = priv_cgroup_usage(priv, id, &usage);
		if (r < 0)
			return err_sys(err, r, "count");
		print_usage(&usage);
	}
	(void)fflush(stdout);
	if (r < 0)
		return r;
	return priv_cgroup_end(priv, id, err);
}

/* Removes the empty cgroups of all VMs but those given. */
static int sweep(const struct priv *priv, char *const *ids, int count, struct err *err)
{
	struct known known = { .ids = ids, .count = count };
	size_t removed = 0, busy = 0;
	AUTO_STRV found = { 0 };
	int r;

	r = priv_cgroup_ids(priv, &found, err);
	for (size_t i = 0; i < found.count && r == 0; i++) {
		if (is_known(&known, found.items[i]))
			continue;
		if (priv_cgroup_drop(priv, found.items[i]) == 0)
			removed++;
		else
			busy++;
	}
	if (r == 0)
		(void)printf("removed %zu busy %zu\n", removed, busy);
	return r;
}

static int act(const struct priv *priv, int argc, char **argv, struct err *err)
{
	struct priv_limits limits = { .vcpu = 1 };
	uint64_t mib = 0;

	if (argc >= 5 && parse_u64_text(argv[4], 1U << 20, &mib))
		limits.memory_bytes = mib << 20;
	if (str_eq(argv[1], "report"))
		return report(priv);
	if (str_eq(argv[1], "run") && argc >= 6)
		return run(priv, argv[3], &limits, argv + 5, err);
	if (str_eq(argv[1], "make") && argc == 5) {
		AUTO_PRIV_ENTRY entry = { .count = 0 };

		return priv_cgroup_make(priv, argv[3], &limits, &entry, err);
	}
	if (str_eq(argv[1], "end") && argc == 4)
		return priv_cgroup_end(priv, argv[3], err);
	if (str_eq(argv[1], "sweep"))
		return sweep(priv, argv + 3, argc - 3, err);
	return err_set(err, ERR_INVALID, "unknown command");
}

int main(int argc, char **argv)
{
	CLEANUP(priv_closep) struct priv *priv = NULL;
	struct err err = ERR_INIT;
	int r;

	if (argc < 3)
		return 2;
	r = priv_open(argv[2], &priv, &err);
	if (r == 0)
		r = act(priv, argc, argv, &err);
	if (r < 0)
		(void)fprintf(stderr, "%s: %s\n", err_kind_name(err.kind), err.message);
	return r < 0 ? 1 : 0;
}
