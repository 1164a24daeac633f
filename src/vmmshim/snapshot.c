#include "vmmshim/snapshot.h"

#include <inttypes.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "vmmshim/journal.h"
#include "vmmshim/vmm_state.h"

#define MIB	       ((uint64_t)1024 * 1024)
#define SETTLED_ROUNDS 2 /* of QEMU's loop in which nothing moved */
#define SAVE	       "Cannot save the microVM state"
#define ASKED_MAX      4096 /* far more than what the guest's buffers can take needs */

void snapshot_done(struct snapshot *snapshot)
{
	shape_done(&snapshot_create_shape, &snapshot->create);
	shape_done(&snapshot_load_shape, &snapshot->load);
	snapshot_facts_done(&snapshot->facts);
	new_file_done(&snapshot->memory_file);
	new_file_done(&snapshot->state_file);
	guest_memory_done(&snapshot->memory);
	buf_done(&snapshot->state);
	*snapshot = SNAPSHOT_INIT;
}

/* --- what is asked for --- */

int snapshot_check_create(const struct snapshot_create_body *body, bool is_paused, struct err *err)
{
	if (body->snapshot_type == SNAPSHOT_DIFF)
		return config_unsupported(err, "a diff snapshot");
	if (!is_paused)
		return err_set(err, ERR_BAD_STATE,
			       "Create snapshot error: Cannot save the microVM state: Operation "
			       "not allowed: save/restore unavailable while running");
	if (str_eq(body->snapshot_path, body->mem_file_path))
		return err_set(err, ERR_INVALID,
			       "Create snapshot error: snapshot_path and mem_file_path are the "
			       "same file");
	return 0;
}

bool snapshot_parse_address(const char *text, uint64_t *ret)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = strstr(text, " is 0x");
	uint64_t value = 0;
	size_t count = 0;

	if (!at)
		return false;
	for (at += strlen(" is 0x"); *at != '\0' && strchr(digits, *at); at++, count++)
		value = value << 4 | (uint64_t)(strchr(digits, *at) - digits);
	if (count == 0 || count > 16 || value == 0 || (*at != '\0' && *at != '\r' && *at != '\n'))
		return false;
	*ret = value;
	return true;
}

/* --- create --- */

static void fail_create(struct vmm *vmm, const char *what, const struct err *err)
{
	struct err failure = *err;

	(void)err_prefix(&failure, -EIO, "Create snapshot error: %s", what);
	snapshot_done(&vmm->snapshot);
	requests_finish(vmm, NULL, &failure);
}

void snapshot_abort(struct vmm *vmm, const struct err *err)
{
	if (vmm->snapshot.is_writing)
		fail_create(vmm, "Cannot write memory file", err);
}

static int open_one(const char *path, const char *what, struct new_file *ret, struct err *err)
{
	const int r = new_file_open(path, ret);

	if (r < 0)
		return err_set(err, ERR_SYSTEM,
			       "Cannot perform open on the %s backing file: %s (os error %d)", what,
			       strerrordesc_np(-r), -r);
	return 0;
}

char *snapshot_describe_qemu(const struct qmp_version *version)
{
	return mem_printf("%u.%u.%u (%s)", version->major, version->minor, version->micro,
			  version->package);
}

/* The configuration as it is told to clients, and the console's file. */
static json_t *describe_config(const struct vm_config *config)
{
	json_t *json = config_write(config);

	if (config->serial.given != 0)
		json_put(json, "serial", shape_write(&serial_shape, &config->serial));
	return json;
}

/* A size that cannot be told is 0: any other will do at the load. */
static json_t *describe_sizes(const struct vm_config *config)
{
	json_t *json = json_new_object();

	for (size_t i = 0; i < config->drive_count; i++) {
		uint64_t size = 0;

		if (config_drive_size(&config->drives[i], &size) < 0)
			size = 0;
		json_put_u64(json, config->drives[i].body.drive_id, size);
	}
	return json;
}

static int write_state(struct vmm *vmm, struct err *err)
{
	struct snapshot *snapshot = &vmm->snapshot;
	const struct vm_config *config = &vmm->api.config;
	struct snapshot_file file = {
		.memory_size = snapshot->memory.size,
		.facts = {
			.qemu = snapshot_describe_qemu(&vmm->qmp.version),
			.accel = mem_strdup(machine_accel_name(vmm->accel)),
			.cpu = machine_describe_cpu(vmm->accel),
			.tsc_khz = vmm->tsc_khz,
			.config = describe_config(config),
			.drive_bytes = describe_sizes(config),
		},
		.state = buf_span(&snapshot->state),
	};
	AUTO_BUF bytes = BUF_INIT;
	int r;

	for (size_t i = 0; i < config->drive_count; i++) {
		if (config->drives[i].base_fd >= 0)
			strv_add(&file.facts.overlays, config->drives[i].body.drive_id);
	}
	r = snapshot_file_write(&file, &bytes, err);
	snapshot_file_done(&file);
	if (r < 0)
		return r;
	r = fd_write_all(snapshot->state_file.fd, buf_span(&bytes));
	return r < 0 ? err_sys(err, r, "write the snapshot file") : 0;
}

/* The memory first: a state file says that there is all of it. */
static int publish(struct snapshot *snapshot, struct err *err)
{
	int r;

	failpoint("vmm.snapshot.written");
	r = new_file_publish(&snapshot->memory_file);
	if (r < 0)
		return err_sys(err, r, "name the memory file");
	failpoint("vmm.snapshot.memory");
	r = new_file_publish(&snapshot->state_file);
	if (r < 0) {
		(void)unlink(snapshot->memory_file.path);
		return err_sys(err, r, "name the snapshot file");
	}
	failpoint("vmm.snapshot.published");
	return 0;
}

/* Writing may take minutes, in which the guest stands still: not for nobody. */
static int check_wanted(const struct vmm *vmm, struct err *err)
{
	if (vmm->exchange && http_is_deserted(vmm->exchange))
		return err_set(err, ERR_CANCELLED, "given up: its client has gone");
	if (requests_want_resume(vmm))
		return err_set(err, ERR_CANCELLED, "given up: the guest is to go on");
	return 0;
}

void snapshot_step(struct vmm *vmm)
{
	struct snapshot *snapshot = &vmm->snapshot;
	struct err err = ERR_INIT;
	uint64_t written_ns, now_ns;
	int r;

	r = check_wanted(vmm, &err);
	if (r == 0)
		r = guest_memory_step(&snapshot->memory, &err);
	failpoint("vmm.snapshot.chunk");
	if (r > 0)
		return;
	if (r < 0) {
		fail_create(vmm, "Cannot write memory file", &err);
		return;
	}
	written_ns = clock_now_ns();
	r = write_state(vmm, &err);
	if (r == 0)
		r = publish(snapshot, &err);
	if (r < 0) {
		fail_create(vmm, "Cannot serialize the microVM state", &err);
		return;
	}
	now_ns = clock_now_ns();
	vmm->metrics.create_us = (now_ns - snapshot->began_ns) / 1000;
	journal_info("snapshot: at rest %" PRIu64
		     " ms (asked %u times), device state of %zu bytes %" PRIu64
		     " ms, memory %" PRIu64 " ms (%" PRIu64 " of %" PRIu64
		     " MiB read%s), files %" PRIu64 " ms",
		     snapshot_ms(snapshot->began_ns, snapshot->asked_ns), snapshot->asked,
		     snapshot->state.len, snapshot_ms(snapshot->asked_ns, snapshot->saved_ns),
		     snapshot_ms(snapshot->saved_ns, written_ns), snapshot->memory.read / MIB,
		     snapshot->memory.size / MIB,
		     snapshot->memory.is_reflinked ? ", the rest reflinked" : "",
		     snapshot_ms(written_ns, now_ns));
	snapshot_done(snapshot);
	requests_finish(vmm, NULL, NULL);
}

/* Takes what QEMU has saved. */
static int read_state(int fd, struct buf *ret, struct err *err)
{
	struct stat status;
	ssize_t n = 0;

	if (fstat(fd, &status) < 0)
		return err_sys(err, -errno, "read the device state");
	if (status.st_size == 0 || (uint64_t)status.st_size > SNAPSHOT_STATE_MAX)
		return err_set(err, ERR_LIMIT, "QEMU saved %" PRIu64 " bytes of device state",
			       (uint64_t)status.st_size);
	buf_reserve(ret, (size_t)status.st_size);
	n = pread(fd, ret->ptr + ret->len, (size_t)status.st_size, 0);
	if (n != (ssize_t)status.st_size)
		return err_sys(err, n < 0 ? -errno : -ENODATA, "read the device state");
	buf_advance(ret, (size_t)n);
	return 0;
}

static void on_saved(void *context, const json_t *result, const struct err *err)
{
	struct vmm *vmm = context;
	struct snapshot *snapshot = &vmm->snapshot;
	struct err failure = ERR_INIT;
	int r;

	(void)result;
	if (err) {
		fail_create(vmm, SAVE, err);
		return;
	}
	snapshot->saved_ns = clock_now_ns();
	failpoint("vmm.snapshot.saved");
	r = read_state(vmm->qemu.saved_fd, &snapshot->state, &failure);
	if (r == 0)
		r = guest_memory_begin(&snapshot->memory, &failure);
	if (r < 0)
		fail_create(vmm, SAVE, &failure);
	else
		snapshot->is_writing = true; /* snapshot_step() goes on */
}

static void ask_address(struct vmm *vmm);

/* Whether the agent's channel stands still: seen twice the same, with QEMU's loop in between. */
static bool is_settled(struct vmm *vmm)
{
	struct snapshot *snapshot = &vmm->snapshot;
	const int fd = vmm->vsock.channel_fd;
	int queued[2] = { 0, 0 };

	if (fd < 0)
		return true;
	(void)ioctl(fd, SIOCOUTQ, &queued[0]);
	(void)ioctl(fd, SIOCINQ, &queued[1]);
	if (memcmp(queued, snapshot->queued, sizeof(queued)) == 0)
		snapshot->stable++;
	else
		snapshot->stable = 0;
	memcpy(snapshot->queued, queued, sizeof(queued));
	return snapshot->stable >= SETTLED_ROUNDS;
}

static int save_devices(struct vmm *vmm, struct err *err)
{
	json_t *arguments;
	char path[64];

	if (ftruncate(vmm->qemu.saved_fd, 0) < 0 || lseek(vmm->qemu.saved_end_fd, 0, SEEK_SET) < 0)
		return err_sys(err, -errno, "make room for device state");
	vmm->snapshot.asked_ns = clock_now_ns();
	(void)snprintf(path, sizeof(path), "/dev/fdset/%d", vmm->qemu.saved_number);
	arguments = json_new_object();
	json_put_str(arguments, "filename", path);
	/* Disks stay ours: the guest goes on after it. */
	json_put_bool(arguments, "live", false);
	qmp_command(&vmm->qmp, "xen-save-devices-state", arguments, on_saved, vmm);
	return 0;
}

static void on_address(void *context, const json_t *result, const struct err *err)
{
	struct vmm *vmm = context;
	struct snapshot *snapshot = &vmm->snapshot;
	const char *text = json_is_string(result) ? json_string_value(result) : "";
	struct err failure = ERR_INIT;
	int r = 0;

	if (err) {
		fail_create(vmm, SAVE, err);
		return;
	}
	if (!snapshot_parse_address(text, &snapshot->memory.address))
		r = err_set(&failure, ERR_PROTOCOL, "QEMU does not say where its memory is: %s",
			    text);
	else if (is_settled(vmm))
		r = save_devices(vmm, &failure);
	else if (snapshot->asked < ASKED_MAX)
		ask_address(vmm);
	else
		r = err_set(&failure, ERR_TIMEOUT, "the agent's channel does not come to rest");
	if (r < 0)
		fail_create(vmm, SAVE, &failure);
}

static void ask_address(struct vmm *vmm)
{
	json_t *arguments = json_new_object();

	vmm->snapshot.asked++;
	json_put_str(arguments, "command-line", "gpa2hva 0");
	qmp_command(&vmm->qmp, "human-monitor-command", arguments, on_address, vmm);
}

void snapshot_create(struct vmm *vmm)
{
	struct snapshot *snapshot = &vmm->snapshot;
	struct err err = ERR_INIT;
	int r;

	snapshot_done(snapshot);
	snapshot->began_ns = clock_now_ns();
	snapshot->create = vmm->api.snapshot_create;
	vmm->api.snapshot_create = (struct snapshot_create_body){ .given = 0 };
	r = open_one(snapshot->create.mem_file_path, "memory", &snapshot->memory_file, &err);
	if (r == 0)
		r = open_one(snapshot->create.snapshot_path, "snapshot", &snapshot->state_file,
			     &err);
	if (r < 0) {
		struct err failure = err;

		(void)err_prefix(&failure, r, "Create snapshot error");
		snapshot_done(snapshot);
		requests_finish(vmm, NULL, &failure);
		return;
	}
	failpoint("vmm.snapshot.opened");
	snapshot->memory = GUEST_MEMORY_INIT;
	snapshot->memory.pid = vmm->qemu.process.pid;
	snapshot->memory.size = vmm->api.config.machine.mem_size_mib * MIB;
	snapshot->memory.base_fd = vmm->memory_fd;
	snapshot->memory.out_fd = snapshot->memory_file.fd;
	ask_address(vmm);
}
