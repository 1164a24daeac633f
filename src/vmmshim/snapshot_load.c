#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "vmmshim/host.h"
#include "vmmshim/journal.h"
#include "vmmshim/snapshot.h"
#include "vmmshim/vmm_state.h"

#define TSC_PARTS     100 /* one part more or less is another clock */
#define FROM_FILE     "Failed to get snapshot state from file"
#define INVALID_STATE "Invalid snapshot state"
#define FROM_MEMORY   "Failed to load guest memory: Error creating guest memory from file"
#define BUILD	      "Failed to build microVM from snapshot"

int snapshot_check_load(const struct snapshot_load_body *body, struct err *err)
{
	const char *backend = json_get_str(body->mem_backend, "backend_type");

	if (str_eq(backend, "Uffd"))
		return config_unsupported(err, "a memory backend of type Uffd");
	if (body->enable_diff_snapshots || body->track_dirty_pages)
		return config_unsupported(err, "dirty page tracking");
	if (body->clock_realtime)
		return config_unsupported(err, "clock_realtime");
	if (body->huge_pages == LOAD_HUGE_2M)
		return err_set(err, ERR_INVALID,
			       "Load snapshot error: Failed to restore from snapshot: " FROM_MEMORY
			       ": Cannot restore hugetlbfs backed snapshot by mapping the memory "
			       "file. Please use uffd.");
	return 0;
}

/* --- what the file says --- */

static int read_snapshot(const char *path, struct buf *bytes, struct snapshot_file *ret,
			 struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct stat status;
	int r;

	fd = host_open_file(path, false, false, err);
	if (fd < 0)
		return err_context(err, fd, FROM_FILE ": Failed to open snapshot file");
	if (fstat(fd, &status) < 0)
		return err_sys(err, -errno, FROM_FILE ": Failed to read snapshot file metadata");
	if ((uint64_t)status.st_size > SNAPSHOT_FILE_MAX)
		return err_set(err, ERR_LIMIT,
			       FROM_FILE ": Failed to load snapshot state from file: the file has "
					 "%" PRIu64 " bytes, at most %" PRIu64 " are taken",
			       (uint64_t)status.st_size, (uint64_t)SNAPSHOT_FILE_MAX);
	buf_reserve(bytes, (size_t)status.st_size);
	r = fd_read_exact(fd, bytes->ptr, (size_t)status.st_size);
	if (r < 0)
		return err_sys(err, r, FROM_FILE ": Failed to load snapshot state from file");
	buf_advance(bytes, (size_t)status.st_size);
	r = snapshot_file_read(buf_span(bytes), ret, err);
	return r < 0 ? err_context(err, r, FROM_FILE ": Failed to load snapshot state from file")
		     : 0;
}

/* Device state is for one kind of machine only. */
static int check_host(const struct vmm *vmm, const struct snapshot_facts *facts, struct err *err)
{
	AUTO_FREE char *cpu = machine_describe_cpu(vmm->accel);

	if (!str_eq(facts->accel, machine_accel_name(vmm->accel)))
		return err_set(err, ERR_INVALID, INVALID_STATE ": it was made with %s, this is %s",
			       facts->accel, machine_accel_name(vmm->accel));
	if (!str_eq(facts->cpu, cpu))
		return err_set(err, ERR_INVALID,
			       INVALID_STATE ": it was made on a processor '%s', this is '%s'",
			       facts->cpu, cpu);
	return 0;
}

static json_t *find_net(const json_t *config, const char *iface_id)
{
	json_t *item;
	size_t index;

	json_array_foreach(json_object_get(config, "network-interfaces"), index, item) {
		if (str_eq(json_get_str(item, "iface_id"), iface_id))
			return item;
	}
	return NULL;
}

/* Puts the names of this host's devices in the place of those of the source. */
static int override_names(const struct snapshot_load_body *body, const json_t *config,
			  struct err *err)
{
	json_t *vsock = json_object_get(config, "vsock");
	json_t *item;
	size_t index;

	json_array_foreach(body->network_overrides, index, item) {
		json_t *net = find_net(config, json_get_str(item, "iface_id"));

		if (!json_is_object(net))
			return err_set(err, ERR_NOT_FOUND, FROM_FILE ": Unknown Network Device.");
		json_put_str(net, "host_dev_name", json_get_str(item, "host_dev_name"));
	}
	if (!body->vsock_override)
		return 0;
	if (!json_is_object(vsock))
		return err_set(err, ERR_NOT_FOUND, FROM_FILE ": Unknown Vsock Device.");
	json_put_str(vsock, "uds_path", json_get_str(body->vsock_override, "uds_path"));
	return 0;
}

/* The overlays' bases are no part of the API, so they cannot be remembered by name. */
static int check_overlays(const struct vm_config *config, const struct strv *overlays,
			  struct err *err)
{
	for (size_t i = 0; i < config->drive_count; i++) {
		const char *id = config->drives[i].body.drive_id;
		bool was_overlay = false;

		for (size_t k = 0; k < overlays->count && !was_overlay; k++)
			was_overlay = str_eq(overlays->items[k], id);
		if (was_overlay != (config->drives[i].base_fd >= 0))
			return err_set(err, ERR_INVALID,
				       INVALID_STATE ": drive '%s' was %s, --drive-overlay says "
						     "otherwise",
				       id, was_overlay ? "an overlay" : "no overlay");
	}
	return 0;
}

/* A disk that has shrunk under a mounted file system cannot be meant. */
static int check_sizes(const struct vm_config *config, const json_t *sizes, struct err *err)
{
	for (size_t i = 0; i < config->drive_count; i++) {
		const char *id = config->drives[i].body.drive_id;
		const uint64_t was = json_get_u64(sizes, id);
		uint64_t size = 0;
		const int r = config_drive_size(&config->drives[i], &size);

		if (r < 0)
			return err_sys(err, r, BUILD ": look at drive '%s'", id);
		if (size < was)
			return err_set(err, ERR_INVALID,
				       INVALID_STATE ": drive '%s' had %" PRIu64
						     " bytes, its file has %" PRIu64,
				       id, was, size);
	}
	return 0;
}

static int open_memory(const struct snapshot_load_body *body, uint64_t size, int *ret,
		       struct err *err)
{
	const char *path = body->mem_backend ? json_get_str(body->mem_backend, "backend_path")
					     : body->mem_file_path;
	AUTO_CLOSE int fd = -1;
	struct stat status;

	fd = host_open_file(path, false, false, err);
	if (fd < 0)
		return err_context(err, fd, FROM_MEMORY ": Failed to load guest memory");
	if (fstat(fd, &status) < 0)
		return err_sys(err, -errno, FROM_MEMORY ": Failed to load guest memory");
	if ((uint64_t)status.st_size != size)
		return err_set(err, ERR_INVALID,
			       FROM_MEMORY ": Failed to restore guest memory: the file has %" PRIu64
					   " bytes, the snapshot has %" PRIu64,
			       (uint64_t)status.st_size, size);
	*ret = TAKE_FD(fd);
	return 0;
}

/* QEMU gets a copy: what was checked is what it reads. */
static int copy_state(struct span state, int *ret, struct err *err)
{
	AUTO_CLOSE int fd = memfd_create("state", MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return err_sys(err, -errno, BUILD);
	r = fd_pwrite_all(fd, state, 0);
	if (r < 0)
		return err_sys(err, r, BUILD);
	*ret = TAKE_FD(fd);
	return 0;
}

static int prepare(struct vmm *vmm, int *ret_state_fd, struct err *err)
{
	struct snapshot *snapshot = &vmm->snapshot;
	CLEANUP(snapshot_file_done) struct snapshot_file file = { .memory_size = 0 };
	AUTO_CLOSE int memory_fd = -1;
	AUTO_CLOSE int state_fd = -1;
	AUTO_BUF bytes = BUF_INIT;
	int r;

	r = read_snapshot(snapshot->load.snapshot_path, &bytes, &file, err);
	if (r == 0)
		r = check_host(vmm, &file.facts, err);
	if (r == 0)
		r = override_names(&snapshot->load, file.facts.config, err);
	if (r == 0)
		r = open_memory(&snapshot->load, file.memory_size, &memory_fd, err);
	if (r == 0)
		r = copy_state(file.state, &state_fd, err);
	if (r < 0)
		return r;
	r = api_restore_config(&vmm->api, file.facts.config, err);
	if (r < 0)
		return err_context(err, r, BUILD);
	if (vmm->api.config.machine.huge_pages == HUGE_2M)
		r = err_set(err, ERR_INVALID,
			    FROM_MEMORY ": Cannot restore hugetlbfs backed snapshot by mapping "
					"the memory file. Please use uffd.");
	else
		r = check_overlays(&vmm->api.config, &file.facts.overlays, err);
	if (r == 0)
		r = check_sizes(&vmm->api.config, file.facts.drive_bytes, err);
	if (r < 0)
		return r;
	fd_assign(&vmm->memory_fd, TAKE_FD(memory_fd));
	*ret_state_fd = TAKE_FD(state_fd);
	snapshot->facts = file.facts;
	file.facts = (struct snapshot_facts){ .qemu = NULL };
	return 0;
}

/* --- loading it --- */

static void fail_load(struct vmm *vmm, const struct err *err)
{
	struct err failure = *err;

	(void)err_prefix(&failure, -EIO, "Load snapshot error: Failed to restore from snapshot");
	config_clear_machine(&vmm->api.config, vmm->snapshot.had_serial);
	fd_assign(&vmm->memory_fd, -1);
	vmm->tsc_khz = 0;
	snapshot_done(&vmm->snapshot);
	requests_finish(vmm, NULL, &failure);
}

void snapshot_start_failed(struct vmm *vmm, const struct err *err)
{
	struct err failure = *err;

	/* What was found wrong here says so itself; the rest is QEMU's end. */
	if (err->kind != ERR_INVALID)
		(void)err_prefix(&failure, -EIO, BUILD);
	fail_load(vmm, &failure);
}

void snapshot_load(struct vmm *vmm)
{
	struct snapshot *snapshot = &vmm->snapshot;
	AUTO_CLOSE int state_fd = -1;
	struct err err = ERR_INIT;
	int r;

	snapshot_done(snapshot);
	snapshot->began_ns = clock_now_ns();
	snapshot->load = vmm->api.snapshot_load;
	snapshot->had_serial = vmm->api.config.serial.given != 0;
	vmm->api.snapshot_load = (struct snapshot_load_body){ .given = 0 };
	vmm->accel = machine_choose_accel(&vmm->options);
	r = prepare(vmm, &state_fd, &err);
	if (r < 0) {
		fail_load(vmm, &err);
		return;
	}
	vmm->tsc_khz = snapshot->facts.tsc_khz;
	snapshot->asked_ns = clock_now_ns();
	failpoint("vmm.load.prepared");
	machine_start(vmm, state_fd);
}

static void on_step(void *context, const json_t *result, const struct err *err)
{
	struct vmm *vmm = context;

	(void)result;
	/* QEMU's end tells the client, unless it is what has happened. */
	if (err && vmm->step == VMM_STARTING)
		machine_give_up(vmm, err);
}

/* The guest counts time in this host's counter, at the rate that it was told when it started. */
static int check_clock(const struct vmm *vmm, uint64_t khz, struct err *err)
{
	const uint64_t here = khz == 0 ? 0 : machine_measure_tsc_khz(vmm);
	const uint64_t off = here > khz ? here - khz : khz - here;

	if (here == 0 || off <= khz / TSC_PARTS)
		return 0;
	return err_set(err, ERR_INVALID,
		       INVALID_STATE ": the guest counts %" PRIu64
				     " kHz of the time stamp counter, this host has %" PRIu64,
		       khz, here);
}

void snapshot_load_ready(struct vmm *vmm)
{
	const struct snapshot_facts *facts = &vmm->snapshot.facts;
	AUTO_FREE char *qemu = snapshot_describe_qemu(&vmm->qmp.version);
	json_t *capability = json_new_object();
	json_t *list = json_new_array();
	json_t *arguments = json_new_object();
	struct err err = ERR_INIT;
	char uri[32];
	int r = 0;

	vmm->snapshot.saved_ns = clock_now_ns();
	json_put_str(capability, "capability", "events");
	json_put_bool(capability, "state", true);
	json_add(list, capability);
	json_put(arguments, "capabilities", list);
	if (!str_eq(facts->qemu, qemu))
		r = err_set(&err, ERR_INVALID,
			    INVALID_STATE ": it was made with QEMU %s, this is %s", facts->qemu,
			    qemu);
	if (r == 0)
		r = check_clock(vmm, facts->tsc_khz, &err);
	if (r < 0) {
		json_decref(arguments);
		machine_give_up(vmm, &err);
		return;
	}
	qmp_command(&vmm->qmp, "migrate-set-capabilities", arguments, on_step, vmm);
	/* The guest's address is still another's: it must not be announced. */
	arguments = json_new_object();
	json_put_u64(arguments, "announce-rounds", 0);
	qmp_command(&vmm->qmp, "migrate-set-parameters", arguments, on_step, vmm);
	(void)snprintf(uri, sizeof(uri), "fd:%d", vmm->qemu.state_number);
	arguments = json_new_object();
	json_put_str(arguments, "uri", uri);
	qmp_command(&vmm->qmp, "migrate-incoming", arguments, on_step, vmm);
}

/* The disk works in its old size. */
static void on_size(void *context, const json_t *result, const struct err *err)
{
	(void)context;
	(void)result;
	if (err)
		journal_warn("the size of a drive: %s, ignoring", err->message);
}

static void finish_load(struct vmm *vmm, const struct err *failure)
{
	const struct snapshot *snapshot = &vmm->snapshot;
	const uint64_t now_ns = clock_now_ns();
	struct err err = ERR_INIT;

	vmm->metrics.load_us = (now_ns - snapshot->began_ns) / 1000;
	journal_info("snapshot loaded: checked %" PRIu64 " ms, QEMU started %" PRIu64
		     " ms, device state %" PRIu64 " ms",
		     snapshot_ms(snapshot->began_ns, snapshot->asked_ns),
		     snapshot_ms(snapshot->asked_ns, snapshot->saved_ns),
		     snapshot_ms(snapshot->saved_ns, now_ns));
	snapshot_done(&vmm->snapshot);
	if (failure) {
		err = *failure;
		(void)err_prefix(&err, -EIO, "Load snapshot error: Failed to resume microVM");
	}
	requests_finish(vmm, NULL, failure ? &err : NULL);
}

/* The guest learns of disks that have grown since. */
static void announce_sizes(struct vmm *vmm)
{
	const struct vm_config *config = &vmm->api.config;

	for (size_t i = 0; i < config->drive_count; i++) {
		const char *id = config->drives[i].body.drive_id;
		json_t *arguments;
		uint64_t size = 0;
		char node[32];

		if (config->drives[i].body.is_read_only ||
		    config_drive_size(&config->drives[i], &size) < 0 ||
		    size == json_get_u64(vmm->snapshot.facts.drive_bytes, id))
			continue;
		(void)snprintf(node, sizeof(node), "drive%zu", i);
		arguments = json_new_object();
		json_put_str(arguments, "node-name", node);
		json_put_u64(arguments, "size", size);
		qmp_command(&vmm->qmp, "block_resize", arguments, on_size, NULL);
	}
}

static void on_resumed(void *context, const json_t *result, const struct err *err)
{
	struct vmm *vmm = context;

	(void)result;
	if (!err)
		vmm->api.phase = API_RUNNING;
	finish_load(vmm, err);
}

void snapshot_load_event(struct vmm *vmm, const char *status)
{
	if (!str_eq(status, "completed"))
		return; /* a failure is followed by QEMU's end */
	failpoint("vmm.load.loaded");
	machine_is_up(vmm);
	vmm->api.phase = API_PAUSED;
	vmm->api.is_configured = true;
	announce_sizes(vmm);
	if (vmm->snapshot.load.resume_vm)
		qmp_command(&vmm->qmp, "cont", NULL, on_resumed, vmm);
	else
		finish_load(vmm, NULL);
}
