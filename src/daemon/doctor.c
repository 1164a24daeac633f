#include "daemon/doctor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/strv.h"
#include "base/text.h"
#include "base/version.h"
#include "daemon/artifacts.h"
#include "daemon/doctor_private.h"
#include "daemon/engine.h"
#include "daemon/known_hosts.h"
#include "daemon/names.h"
#include "daemon/network.h"
#include "daemon/private.h"
#include "daemon/resolver.h"
#include "daemon/ssh_config.h"
#include "daemon/vm_disks.h"
#include "priv/priv.h"
#include "vmm/engine.h"

#define RESOLV_CONF_BYTES_MAX 65536

static const char *const verdict_names[] = { [PASS] = "pass", [WARN] = "warn", [FAIL] = "fail" };

void doctor_add(json_t *checks, const char *name, enum verdict verdict, const char *message,
		const char *hint)
{
	json_t *check = json_new_object();

	json_put_str(check, "name", name);
	json_put_str(check, "status", verdict_names[verdict]);
	json_put_str(check, "message", message);
	json_put_str(check, "hint", hint && hint[0] ? hint : NULL);
	json_add(checks, check);
}

void doctor_add_err(json_t *checks, const char *name, enum verdict verdict, const struct err *err)
{
	doctor_add(checks, name, verdict, err->message, err->hint);
}

static void check_daemon(json_t *checks)
{
	AUTO_FREE char *text =
		mem_printf("bangerd %s (%s)", banger_version.version, banger_version.commit);

	doctor_add(checks, "daemon", PASS, text, NULL);
}

static void add_without_effect(void *context, const struct config_key_row *row)
{
	AUTO_FREE char *text = mem_printf("'%s' is set, but this version has no %s", row->name,
					  row->without_effect);

	doctor_add(context, "config", WARN, text, "the key is accepted and does nothing yet");
}

/* The file as it is now: the daemon goes on with what it read at its start. */
static void check_config(const struct daemon *daemon, json_t *checks)
{
	struct err err = ERR_INIT;
	AUTO_CONFIG now = { 0 };

	if (config_load(daemon->paths.config_file, &now, &err) < 0) {
		err_hint(&err, "the daemon goes on with the configuration that it started with");
		doctor_add_err(checks, "config", FAIL, &err);
		return;
	}
	AUTO_FREE char *text = mem_printf("%s%s", daemon->paths.config_file,
					  now.is_present ? "" : " is absent: all defaults");

	doctor_add(checks, "config", PASS, text, NULL);
	config_each_without_effect(&now, add_without_effect, checks);
}

static void check_names(const struct daemon *daemon, json_t *checks)
{
	struct err err = ERR_INIT;

	if (names_check(daemon->names, &err) < 0) {
		doctor_add_err(checks, "dns", WARN, &err);
		return;
	}
	AUTO_BUF text = BUF_INIT;

	buf_addf(&text, "NAME.vm is answered on %s", daemon->config.dns_listen);
	if (config_dns_port_on_bridge(&daemon->config) == 0) {
		doctor_add(checks, "dns", PASS, text.ptr, NULL);
	} else if (network_is_on(daemon->network) && !network_is_isolated(daemon->network)) {
		buf_add_str(&text, network_has_bridge(daemon->network)
					   ? ", for guests, too"
					   : ", once the first VM brings the bridge");
		doctor_add(checks, "dns", PASS, text.ptr, NULL);
	} else {
		buf_add_str(&text, ", the address of a bridge that this host does not get");
		doctor_add(checks, "dns", WARN, text.ptr, "set dns_listen to a loopback address");
	}
}

static const char *recipe(void)
{
	static const char *const recipes[] = {
		[RESOLVER_SYSTEMD] = "docs/network.md has a recipe for systemd-resolved",
		[RESOLVER_NETWORK_MANAGER] = "docs/network.md has a recipe for NetworkManager",
		[RESOLVER_LOCAL] = "docs/network.md has a recipe for dnsmasq",
		[RESOLVER_PLAIN] = "docs/network.md has a recipe for a plain resolv.conf",
	};
	AUTO_BUF text = BUF_INIT;

	/* Without the file, libc asks this host. */
	IGNORE_RESULT(file_read(AT_FDCWD, "/etc/resolv.conf", RESOLV_CONF_BYTES_MAX, &text));
	return recipes[resolver_kind_of(buf_span(&text))];
}

/* How programs of this host find the names that "dns" tells of; without a network on this
 * host, names have no addresses. */
static void check_resolver(struct daemon *daemon, const struct job *job, json_t *checks)
{
	struct network_summary summary;
	struct err err = ERR_INIT;
	enum resolver_state state;

	if (!network_is_on(daemon->network) || network_is_isolated(daemon->network) ||
	    names_check(daemon->names, &err) < 0)
		return;
	network_summarise(daemon->network, &summary);
	state = resolver_state(daemon->resolver, &err);
	if (state == RESOLVER_FAILED)
		doctor_add_err(checks, "names", WARN, &err);
	else if (state != RESOLVER_NONE && summary.guests == 0)
		doctor_add(checks, "names", PASS, "systemd-resolved asks for NAME.vm while VMs run",
			   NULL);
	else if (resolver_finds_names(daemon, job->cancel))
		doctor_add(checks, "names", PASS,
			   state == RESOLVER_ASKS
				   ? "programs of this host find NAME.vm, through systemd-resolved"
				   : "programs of this host find NAME.vm",
			   NULL);
	else
		doctor_add(checks, "names", WARN, "programs of this host do not find NAME.vm",
			   recipe());
}

static void check_program(json_t *checks, const char *name, const struct vmm_program *program,
			  enum verdict if_missing, const char *hint)
{
	doctor_add(checks, name, program->is_usable ? PASS : if_missing, program->reason,
		   program->is_usable ? NULL : hint);
}

static void check_engine(struct daemon *daemon, const struct job *job, json_t *checks)
{
	struct vmm_host host = { 0 };
	struct vmm_decision decision = { 0 };
	struct err err = ERR_INIT;

	if (engine_look(daemon->engine, job->cancel, &host, &err) < 0) {
		doctor_add_err(checks, "engine", FAIL, &err);
		return;
	}
	doctor_add(
		checks, "kvm", kvm_is_usable(&host.kvm) ? PASS : WARN, host.kvm.reason,
		kvm_is_usable(&host.kvm)
			? NULL
			: "VMs run under QEMU's emulation (TCG): slower, and no security boundary");
	check_program(checks, "qemu", &host.qemu, host.firecracker.is_usable ? WARN : FAIL,
		      "install it: apt-get install qemu-system-x86 qemu-utils");
	check_program(checks, "banger-vmm", &host.shim, host.firecracker.is_usable ? WARN : FAIL,
		      "it belongs beside bangerd: install banger again");
	check_program(checks, "firecracker", &host.firecracker,
		      engine_choice(daemon->engine) == VMM_CHOICE_FIRECRACKER ? FAIL : WARN,
		      "only needed with vmm = \"firecracker\", or to be used where KVM is");
	if (vmm_choose(engine_choice(daemon->engine), &host, &decision, &err) < 0)
		doctor_add_err(checks, "engine", FAIL, &err);
	else
		doctor_add(checks, "engine", PASS, decision.reason, NULL);
	vmm_decision_done(&decision);
	vmm_host_done(&host);
}

static void check_disks(struct daemon *daemon, const struct job *job, json_t *checks)
{
	struct vmm_decision decision = { 0 };
	char reason[DISK_REASON_SIZE];
	struct err err = ERR_INIT;
	enum disk_kind kind;
	int r;

	if (engine_get(daemon->engine, job->cancel, &decision, &err) < 0)
		return; /* said by check_engine() */
	r = vm_disks_explain(daemon,
			     decision.engine == VMM_ENGINE_QEMU ? DISK_ENGINE_QEMU
								: DISK_ENGINE_FIRECRACKER,
			     reason, &kind, &err);
	vmm_decision_done(&decision);
	if (r < 0)
		doctor_add_err(checks, "disks", FAIL, &err);
	else
		doctor_add(checks, "disks", kind == DISK_COPY ? WARN : PASS, reason,
			   kind == DISK_COPY
				   ? "put the state folder on btrfs or XFS: copies are slow"
				   : NULL);
}

static void check_store(struct daemon *daemon, json_t *checks)
{
	struct err err = ERR_INIT;

	if (store_check_health(daemon->store, &err) < 0)
		doctor_add_err(checks, "database", FAIL, &err);
	else
		doctor_add(checks, "database", PASS, daemon->paths.database, NULL);
}

struct lost_folders {
	struct daemon *daemon;
	int vms_fd; /* borrowed */
	struct strv names;
};

static int note_lost_folder(void *context, const char *name)
{
	struct lost_folders *lost = context;
	struct err err = ERR_INIT;
	AUTO_VM vm = { 0 };

	if (vm_disks_are_in(lost->vms_fd, name) &&
	    store_vm_get(lost->daemon->store, name, &vm, &err) < 0 && err.kind == ERR_NOT_FOUND)
		strv_add(&lost->names, name);
	return 0;
}

/* Reconcile does not remove disks that the database knows nothing of; only the user can tell. */
static void check_folders(struct daemon *daemon, json_t *checks)
{
	AUTO_CLOSE int vms_fd = dir_open(daemon->vms_dir);
	struct lost_folders lost = { .daemon = daemon, .vms_fd = vms_fd };
	AUTO_BUF text = BUF_INIT;

	if (vms_fd >= 0 && dir_each(vms_fd, note_lost_folder, &lost) == 0 && lost.names.count > 0) {
		buf_addf(&text,
			 "in '%s', disks of no VM that the database knows: ", daemon->vms_dir);
		for (size_t i = 0; i < lost.names.count; i++)
			buf_addf(&text, "%s%s", i > 0 ? ", " : "", lost.names.items[i]);
		doctor_add(checks, "folders", WARN, text.ptr,
			   "remove them by hand, or put back the database that they belong to");
	}
	strv_done(&lost.names);
}

static void check_artifacts(struct daemon *daemon, json_t *checks)
{
	const char *name = daemon->config.default_image_name;
	AUTO_FREE char *present = mem_printf("default image '%s' is here", name);
	AUTO_FREE char *absent =
		mem_printf("default image '%s' will be built when it is first used", name);
	AUTO_IMAGE_RECORD record = { 0 };
	struct err err = ERR_INIT;

	if (store_image_get(daemon->store, name, &record, &err) < 0) {
		doctor_add(checks, "image", PASS, absent, NULL);
	} else {
		doctor_add(checks, "image", PASS, present, NULL);
	}
}

static void check_tools(json_t *checks)
{
	AUTO_STRV argv = { 0 };
	AUTO_BUF output = BUF_INIT;
	struct err err = ERR_INIT;

	strv_add(&argv, "mmdebstrap");
	strv_add(&argv, "--version");
	struct spawn spawn = { .path = "mmdebstrap", .argv = strv_argv(&argv) };

	if (spawn_run(&spawn, NULL, 5000, 4096, &output, &err) < 0) {
		err_hint(&err,
			 "needed to build images and pull kernels: apt-get install mmdebstrap");
		doctor_add_err(checks, "mmdebstrap", WARN, &err);
		return;
	}
	if (output.len > 0 && output.ptr[output.len - 1] == '\n')
		buf_truncate(&output, output.len - 1);
	doctor_add(checks, "mmdebstrap", PASS, output.ptr, NULL);
}

/* Whether there is an ssh that understands what it is told of VMs. The user's own configuration is
 * left out: it may run programs. */
static void check_ssh(const struct daemon *daemon, json_t *checks)
{
	AUTO_FREE char *config = ssh_config_path(daemon);
	AUTO_STRV argv = { 0 };
	AUTO_BUF text = BUF_INIT;
	struct err err = ERR_INIT;
	int r;

	strv_add(&argv, "ssh");
	strv_add(&argv, "-G");
	strv_add(&argv, "-F");
	strv_add(&argv, config);
	strv_add(&argv, "doctor" KNOWN_HOSTS_SUFFIX);
	struct spawn spawn = { .path = "ssh", .argv = strv_argv(&argv) };

	r = ssh_config_write(daemon, &text, &err);
	if (r == 0)
		r = spawn_run(&spawn, NULL, 5000, 65536, NULL, &err);
	if (r < 0 && err.errnum == ENOENT)
		err_hint(&err, "needed for 'vm ssh' and 'ssh NAME.vm': apt-get install "
			       "openssh-client");
	if (r < 0)
		doctor_add_err(checks, "ssh", WARN, &err);
	else
		doctor_add(checks, "ssh", PASS, config, NULL);
}

static void check_agent(const struct daemon *daemon, json_t *checks)
{
	const bool is_there = access(daemon->agent_path, R_OK) == 0;

	doctor_add(checks, "agent", is_there ? PASS : FAIL, daemon->agent_path,
		   is_there ? NULL : "it belongs beside bangerd: install banger again");
}

static void check_cgroups(const struct daemon *daemon, json_t *checks)
{
	AUTO_BUF text = BUF_INIT;
	const struct priv_cgroup_report found = priv_cgroup_report(daemon->priv, &text);
	const bool is_whole = found.limits_cpu && found.limits_memory && found.limits_processes;

	doctor_add(
		checks, "cgroups", is_whole ? PASS : WARN, text.ptr,
		is_whole
			? NULL
			: "VMs run all the same; to limit them, start bangerd with a cgroup of its "
			  "own: "
			  "systemd-run --scope -p Delegate=yes bangerd (with --user unless as "
			  "root)");
}

static void check_confinement(const struct daemon *daemon, json_t *checks)
{
	AUTO_BUF text = BUF_INIT;
	const enum priv_user user = priv_user_report(daemon->priv, &text);

	doctor_add(checks, "confinement", user == PRIV_USER_OF_VM ? PASS : WARN, text.ptr,
		   user == PRIV_USER_SHARED ? "give the container more users than 65536"
		   : user == PRIV_USER_OWN
			   ? "what breaks out of QEMU has your rights: for others' code, "
			     "run bangerd as root"
			   : NULL);
}

json_t *doctor_checks(struct daemon *daemon, const struct job *job)
{
	json_t *checks = json_new_array();

	check_daemon(checks);
	check_config(daemon, checks);
	check_names(daemon, checks);
	check_resolver(daemon, job, checks);
	check_engine(daemon, job, checks);
	check_agent(daemon, checks);
	doctor_check_permissions(daemon, checks);
	doctor_check_user_key(daemon, checks);
	check_ssh(daemon, checks);
	check_disks(daemon, job, checks);
	check_cgroups(daemon, checks);
	check_confinement(daemon, checks);
	doctor_check_storage(daemon, checks);
	doctor_check_space(daemon, checks);
	check_store(daemon, checks);
	check_folders(daemon, checks);
	check_artifacts(daemon, checks);
	check_tools(checks);
	doctor_check_defaults(daemon, checks);
	doctor_check_network(daemon, checks);
	return checks;
}
