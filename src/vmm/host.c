/* What the host offers: programs with their versions, and KVM. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/spawn.h"
#include "base/text.h"
#include "vmm/engine.h"
#include "vmm/processor.h"

#define VERSION_TIMEOUT_MS 3000
#define VERSION_BYTES_MAX  16384

static const struct vmm_version firecracker_least = { 1, 5, 0 };
static const struct vmm_version qemu_least = { 7, 0, 0 };
static const struct vmm_version any_version = { 0, 0, 0 };

/* The absolute path of a program in PATH, or NULL. */
static char *find_in_path(const char *name)
{
	const char *path = getenv("PATH"); // NOLINT(concurrency-mt-unsafe): nobody calls setenv()
	struct span rest = span_str(path ? path : "/usr/local/bin:/usr/bin:/bin");

	while (rest.len > 0) {
		struct span folder = rest;

		if (!parse_until(&rest, ':', &folder))
			rest.len = 0;
		/* A relative entry means something else in every folder: not for a daemon. */
		if (folder.len == 0 || folder.ptr[0] != '/')
			continue;
		AUTO_FREE char *candidate =
			mem_printf("%.*s/%s", (int)folder.len, (const char *)folder.ptr, name);

		if (access(candidate, X_OK) == 0)
			return TAKE_PTR(candidate);
	}
	return NULL;
}

/* banger-vmm beside the running program, or where `make install` puts helpers. */
static char *find_shim(void)
{
	AUTO_FREE char *folder = NULL;
	AUTO_FREE char *beside = NULL;
	AUTO_FREE char *installed = NULL;

	if (process_own_folder(&folder) < 0)
		return NULL;
	beside = mem_printf("%s/banger-vmm", folder);
	if (access(beside, X_OK) == 0)
		return TAKE_PTR(beside);
	installed = mem_printf("%s/../libexec/banger/banger-vmm", folder);
	if (access(installed, X_OK) == 0)
		return TAKE_PTR(installed);
	return NULL;
}

static void find_program(struct vmm_program *program, const char *configured, const char *name)
{
	if (str_empty(configured))
		program->path = find_in_path(name);
	else if (strchr(configured, '/'))
		program->path = mem_strdup(configured);
	else
		program->path = find_in_path(configured);

	if (!program->path)
		(void)snprintf(program->reason, sizeof(program->reason), "%s is not installed",
			       str_empty(configured) ? name : configured);
}

/* Asks the program for its version and judges it. Fails only when cancelled. */
static int judge_program(struct vmm_program *program, const struct vmm_version *least,
			 const struct cancel *cancel, struct err *err)
{
	char *const argv[] = { program->path, (char[]){ "--version" }, NULL };
	struct spawn spawn = { .path = program->path, .argv = argv, .no_new_privs = true };
	const size_t size = sizeof(program->reason);
	struct vmm_version *version = &program->version;
	struct err problem = ERR_INIT;
	AUTO_BUF output = BUF_INIT;
	int r;

	if (!program->path)
		return 0;
	r = spawn_run(&spawn, cancel, VERSION_TIMEOUT_MS, VERSION_BYTES_MAX, &output, &problem);
	if (r < 0 && problem.kind == ERR_CANCELLED) {
		*err = problem;
		return err_negative(r);
	}
	if (r < 0) {
		(void)snprintf(program->reason, size, "%.250s", problem.message);
		return 0;
	}
	if (!vmm_version_parse(output.ptr, version)) {
		(void)snprintf(program->reason, size, "'%s --version' names no version",
			       program->path);
		return 0;
	}

	program->is_usable = vmm_version_at_least(version, least);
	if (program->is_usable)
		(void)snprintf(program->reason, size, "%s %u.%u.%u", program->path, version->major,
			       version->minor, version->patch);
	else
		(void)snprintf(program->reason, size, "%s %u.%u.%u is older than %u.%u",
			       program->path, version->major, version->minor, version->patch,
			       least->major, least->minor);
	return 0;
}

/* Gives away what `from` owns. */
static void move_host(struct vmm_host *from, struct vmm_host *to)
{
	*to = *from;
	from->firecracker.path = NULL;
	from->qemu.path = NULL;
	from->shim.path = NULL;
	from->processor = NULL;
}

static int look_at_kvm(const struct vmm_host_options *options, struct vmm_host *host,
		       struct err *err)
{
	const char *node = options->kvm_node ? options->kvm_node : KVM_NODE;
	AUTO_BUF processor = BUF_INIT;
	int r;

	if (options->probe_kvm_anew)
		kvm_probe_anew(options->state_dir_fd, node, &host->kvm);
	else
		kvm_probe(options->state_dir_fd, node, &host->kvm);
	if (!kvm_is_usable(&host->kvm))
		return 0;
	r = processor_read(&processor, err);
	if (r == 0)
		host->processor = buf_detach(&processor);
	return r;
}

int vmm_host_gather(const struct vmm_host_options *options, const struct cancel *cancel,
		    struct vmm_host *ret, struct err *err)
{
	CLEANUP(vmm_host_done) struct vmm_host host = { .kvm = { .finding = KVM_MISSING } };
	int r;

	find_program(&host.firecracker, options->firecracker_bin, "firecracker");
	find_program(&host.qemu, options->qemu_bin, "qemu-system-x86_64");
	if (str_empty(options->shim_bin))
		host.shim.path = find_shim();
	else
		host.shim.path = mem_strdup(options->shim_bin);
	if (!host.shim.path)
		(void)snprintf(host.shim.reason, sizeof(host.shim.reason),
			       "banger-vmm is not beside this program");

	r = judge_program(&host.firecracker, &firecracker_least, cancel, err);
	if (r == 0)
		r = judge_program(&host.qemu, &qemu_least, cancel, err);
	if (r == 0)
		r = judge_program(&host.shim, &any_version, cancel, err);
	if (r == 0)
		r = cancel_check(cancel, err);
	if (r == 0)
		r = look_at_kvm(options, &host, err);
	if (r < 0)
		return r;

	move_host(&host, ret);
	return 0;
}
