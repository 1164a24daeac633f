#include "vmmshim/config.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "vmmshim/host.h"

#define MEMORY_DEFAULT_MIB 128
#define GUEST_CID_MIN	   3
#define MTU_MIN		   68
#define VSOCK_BACKLOG	   64
#define QCOW2_SIZE_AT	   24 /* of the virtual size, big endian */

void config_init(struct vm_config *config)
{
	*config = (struct vm_config){
		.machine = { .vcpu_count = 1, .mem_size_mib = MEMORY_DEFAULT_MIB },
		.kernel_fd = -1,
		.initrd_fd = -1,
		.vsock_listener = UNIX_LISTENER_INIT,
	};
}

static void drive_done(struct config_drive *drive)
{
	shape_done(&drive_shape, &drive->body);
	fd_closep(&drive->fd);
	fd_closep(&drive->base_fd);
}

static void net_done(struct config_net *net)
{
	shape_done(&net_shape, &net->body);
	fd_closep(&net->fd);
}

void config_clear_machine(struct vm_config *config, bool keeps_serial)
{
	struct vm_config clear;

	shape_done(&boot_shape, &config->boot);
	fd_closep(&config->kernel_fd);
	fd_closep(&config->initrd_fd);
	for (size_t i = 0; i < config->drive_count; i++)
		drive_done(&config->drives[i]);
	for (size_t i = 0; i < config->net_count; i++)
		net_done(&config->nets[i]);
	shape_done(&vsock_shape, &config->vsock);
	host_listener_done(&config->vsock_listener);
	shape_done(&balloon_shape, &config->balloon);
	if (!keeps_serial)
		shape_done(&serial_shape, &config->serial);
	config_init(&clear);
	if (keeps_serial)
		clear.serial = config->serial;
	clear.logger = config->logger;
	clear.metrics = config->metrics;
	memcpy(clear.overlays, config->overlays, sizeof(clear.overlays));
	clear.overlay_count = config->overlay_count;
	*config = clear;
}

void config_done(struct vm_config *config)
{
	config_clear_machine(config, false);
	shape_done(&logger_shape, &config->logger);
	shape_done(&metrics_shape, &config->metrics);
	for (size_t i = 0; i < config->overlay_count; i++) {
		mem_free(config->overlays[i].drive_id);
		mem_free(config->overlays[i].base_path);
	}
	config_init(config);
}

int config_unsupported(struct err *err, const char *what)
{
	return err_set(err, ERR_UNSUPPORTED,
		       "The requested operation is not supported: %s is not supported by "
		       "banger-vmm.",
		       what);
}

static const char *overlay_base(const struct vm_config *config, const char *drive_id)
{
	for (size_t i = 0; i < config->overlay_count; i++) {
		if (str_eq(config->overlays[i].drive_id, drive_id))
			return config->overlays[i].base_path;
	}
	return NULL;
}

int config_add_overlay(struct vm_config *config, const char *text, struct err *err)
{
	const char *equals = strchr(text, '=');
	AUTO_FREE char *drive_id = NULL;

	if (!equals || equals == text || equals[1] == '\0')
		return err_set(err, ERR_INVALID, "'%s' is not DRIVE_ID=BASE_PATH", text);
	drive_id = mem_strndup(text, (size_t)(equals - text));
	if (overlay_base(config, drive_id))
		return err_set(err, ERR_INVALID, "drive '%s' has two bases", drive_id);
	if (config->overlay_count == ARRAY_LEN(config->overlays))
		return err_set(err, ERR_LIMIT, "more than %d overlays", CONFIG_DRIVES_MAX);
	config->overlays[config->overlay_count++] = (struct config_overlay){
		.drive_id = TAKE_PTR(drive_id),
		.base_path = mem_strdup(equals + 1),
	};
	return 0;
}

/* --- boot source --- */

static int check_boot_args(const char *args, struct err *err)
{
	const char *problem = NULL;

	for (const char *c = args; c && *c; c++) {
		if (*c < ' ' || *c > '~')
			problem = "String contains a non-printable ASCII character.";
	}
	if (args && strlen(args) > CONFIG_BOOT_ARGS_MAX)
		problem = "Inserting string would make command line too long.";
	if (problem)
		return err_set(err, ERR_INVALID,
			       "Boot source error: The kernel command line is invalid: %s",
			       problem);
	return 0;
}

int config_put_boot(struct vm_config *config, struct boot_body *body, struct err *err)
{
	AUTO_CLOSE int kernel_fd = -1;
	AUTO_CLOSE int initrd_fd = -1;
	int r;

	kernel_fd = host_open_file(body->kernel_image_path, false, false, err);
	if (kernel_fd < 0)
		return err_context(err, kernel_fd,
				   "Boot source error: The kernel file cannot be opened");
	if (field_given(body->given, BOOT_INITRD)) {
		initrd_fd = host_open_file(body->initrd_path, false, false, err);
		if (initrd_fd < 0) {
			struct err reason = *err;

			return err_set(err, ERR_INVALID,
				       "Boot source error: The initrd file cannot be opened due to "
				       "invalid path or invalid permissions. %s",
				       reason.message);
		}
	}
	r = check_boot_args(body->boot_args, err);
	if (r < 0)
		return r;

	shape_done(&boot_shape, &config->boot);
	config->boot = *body;
	*body = (struct boot_body){ 0 };
	fd_assign(&config->kernel_fd, TAKE_FD(kernel_fd));
	fd_assign(&config->initrd_fd, TAKE_FD(initrd_fd));
	return 0;
}

/* --- drives --- */

static int find_drive(const struct vm_config *config, const char *drive_id)
{
	for (size_t i = 0; i < config->drive_count; i++) {
		if (str_eq(config->drives[i].body.drive_id, drive_id))
			return (int)i;
	}
	return -1;
}

static bool has_root(const struct vm_config *config)
{
	return config->drive_count > 0 && config->drives[0].body.is_root_device;
}

static int check_drive(const struct vm_config *config, const struct drive_body *body, int position,
		       struct err *err)
{
	if (body->is_root_device && has_root(config) && position != 0)
		return err_set(err, ERR_INVALID,
			       "Drive config error: A root block device already exists!");
	if (field_given(body->given, DRIVE_SOCKET))
		return config_unsupported(err, "a vhost-user drive");
	if (field_given(body->given, DRIVE_RATE_LIMITER))
		return config_unsupported(err, "a rate limiter");
	if (!field_given(body->given, DRIVE_PATH) || !field_given(body->given, DRIVE_READ_ONLY))
		return err_set(err, ERR_INVALID,
			       "Drive config error: Unable to create the virtio block device: "
			       "Invalid block config.");
	if (position < 0 && config->drive_count == CONFIG_DRIVES_MAX)
		return err_set(err, ERR_LIMIT,
			       "Drive config error: banger-vmm takes at most %d drives",
			       CONFIG_DRIVES_MAX);
	/* The name stands on the kernel's command line. */
	for (const char *c = body->partuuid; c && *c; c++) {
		if (*c <= ' ' || *c > '~')
			return err_set(err, ERR_INVALID,
				       "Drive config error: the partuuid is invalid");
	}
	return 0;
}

static int backing_error(struct err *err, const char *path)
{
	const struct err reason = *err;

	return err_set(
		err, ERR_INVALID,
		"Drive config error: Unable to create the virtio block device: Virtio backend "
		"error: Error manipulating the backing file: %s %s",
		reason.message, path);
}

/* Puts the drive at its place: the root device is always the first. */
static void place_drive(struct vm_config *config, struct config_drive *drive, int position)
{
	struct config_drive moved;

	if (position < 0)
		position = (int)config->drive_count++;
	else
		drive_done(&config->drives[position]);
	config->drives[position] = *drive;
	if (position == 0 || !drive->body.is_root_device)
		return;
	/* As Firecracker: a new one pushes the others back, an old one changes places. */
	moved = config->drives[position];
	if (position == (int)config->drive_count - 1)
		memmove(&config->drives[1], &config->drives[0], sizeof(moved) * (size_t)position);
	else
		config->drives[position] = config->drives[0];
	config->drives[0] = moved;
}

int config_put_drive(struct vm_config *config, struct drive_body *body, struct err *err)
{
	const int position = find_drive(config, body->drive_id);
	const char *base = overlay_base(config, body->drive_id);
	struct config_drive drive;
	AUTO_CLOSE int fd = -1;
	AUTO_CLOSE int base_fd = -1;
	int r;

	r = check_drive(config, body, position, err);
	if (r < 0)
		return r;
	fd = host_open_file(body->path_on_host, !body->is_read_only, true, err);
	if (fd < 0)
		return backing_error(err, body->path_on_host);
	if (base) {
		base_fd = host_open_file(base, false, true, err);
		if (base_fd < 0)
			return backing_error(err, base);
	}
	drive = (struct config_drive){ .body = *body,
				       .is_block = host_is_block(fd),
				       .base_is_block = host_is_block(base_fd) };
	drive.fd = TAKE_FD(fd);
	drive.base_fd = TAKE_FD(base_fd);
	*body = (struct drive_body){ 0 };
	place_drive(config, &drive, position);
	return 0;
}

int config_drive_size(const struct config_drive *drive, uint64_t *ret)
{
	uint8_t field[8];
	uint64_t size = 0;
	off_t end;

	if (drive->base_fd >= 0) {
		const ssize_t n = pread(drive->fd, field, sizeof(field), QCOW2_SIZE_AT);

		if (n != (ssize_t)sizeof(field))
			return n < 0 ? -errno : -ENODATA;
		for (size_t i = 0; i < sizeof(field); i++)
			size = size << 8 | field[i];
		if (size > INT64_MAX)
			return -ERANGE;
		*ret = size;
		return 0;
	}
	/* Nobody reads through this descriptor's offset: it is QEMU's, which names offsets. */
	end = lseek(drive->fd, 0, SEEK_END);
	if (end < 0)
		return -errno;
	*ret = (uint64_t)end;
	return 0;
}

int config_check_drive_patch(const struct vm_config *config, const struct drive_patch *patch,
			     struct err *err)
{
	if (find_drive(config, patch->drive_id) < 0)
		return err_set(err, ERR_NOT_FOUND,
			       "Drive config error: Unable to patch the block device: no drive has "
			       "the id '%s'. Please verify the request arguments.",
			       patch->drive_id);
	if (field_given(patch->given, DRIVE_PATCH_RATE_LIMITER))
		return config_unsupported(err, "a rate limiter");
	if (field_given(patch->given, DRIVE_PATCH_PATH))
		return config_unsupported(err, "a new path_on_host for a running microVM");
	return err_set(
		err, ERR_INVALID,
		"Drive config error: Unable to patch the block device: Block: Running method "
		"expected different backend. Please verify the request arguments.");
}

/* --- network interfaces --- */

static int find_net(const struct vm_config *config, const char *iface_id)
{
	for (size_t i = 0; i < config->net_count; i++) {
		if (str_eq(config->nets[i].body.iface_id, iface_id))
			return (int)i;
	}
	return -1;
}

static int check_net(const struct vm_config *config, const struct net_body *body, int position,
		     struct err *err)
{
	for (size_t i = 0; i < config->net_count; i++) {
		if ((int)i != position && body->guest_mac &&
		    str_eq(config->nets[i].body.guest_mac, body->guest_mac))
			return err_set(
				err, ERR_INVALID,
				"Network config error: The MAC address is already in use: %s",
				body->guest_mac);
	}
	if (field_given(body->given, NET_RX_LIMITER) || field_given(body->given, NET_TX_LIMITER))
		return config_unsupported(err, "a rate limiter");
	if (field_given(body->given, NET_MTU) && body->mtu < MTU_MIN)
		return err_set(err, ERR_INVALID,
			       "Network config error: Could not create the network device: MTU %u "
			       "is out of range [68, 65535]",
			       (unsigned)body->mtu);
	if (position < 0 && config->net_count == CONFIG_NETS_MAX)
		return err_set(
			err, ERR_LIMIT,
			"Network config error: banger-vmm takes at most %d network interfaces",
			CONFIG_NETS_MAX);
	return 0;
}

int config_put_net(struct vm_config *config, struct net_body *body, struct err *err)
{
	const int position = find_net(config, body->iface_id);
	const size_t place = position < 0 ? config->net_count : (size_t)position;
	struct config_net *slot = &config->nets[place];
	struct config_net net = { .fd = -1 };
	int r;

	r = check_net(config, body, position, err);
	if (r < 0)
		return r;
	/* A TAP device has one opener: the same one for the same interface is kept open. */
	if (position >= 0 && str_eq(slot->body.host_dev_name, body->host_dev_name)) {
		net.fd = TAKE_FD(slot->fd);
	} else {
		net.fd = host_open_tap(body->host_dev_name, err);
		if (net.fd < 0)
			return err_context(err, net.fd,
					   "Network config error: Could not create the network "
					   "device: Open tap device failed");
	}
	net.body = *body;
	*body = (struct net_body){ 0 };
	if (position >= 0)
		net_done(slot);
	else
		config->net_count++;
	*slot = net;
	return 0;
}

int config_check_net_patch(const struct vm_config *config, const struct net_patch *patch,
			   struct err *err)
{
	if (find_net(config, patch->iface_id) < 0)
		return err_set(
			err, ERR_NOT_FOUND,
			"Network config error: Unable to update the net device: no interface "
			"has the id '%s'",
			patch->iface_id);
	if (field_given(patch->given, NET_PATCH_RX_LIMITER) ||
	    field_given(patch->given, NET_PATCH_TX_LIMITER))
		return config_unsupported(err, "a rate limiter");
	return 0;
}

/* --- vsock --- */

int config_put_vsock(struct vm_config *config, struct vsock_body *body, struct err *err)
{
	if (body->guest_cid < GUEST_CID_MIN)
		return err_set(
			err, ERR_INVALID,
			"Vsock config error: Cannot create vsock device: guest_cid %u is out "
			"of range [3, 4294967295]",
			(unsigned)body->guest_cid);
	if (!str_eq(config->vsock.uds_path, body->uds_path)) {
		struct unix_listener listener = UNIX_LISTENER_INIT;
		const int r = host_listen(body->uds_path, VSOCK_BACKLOG, &listener, err);

		if (r < 0)
			return err_context(err, r,
					   "Vsock config error: Cannot create backend for vsock "
					   "device: Error binding to the host-side Unix socket");
		host_listener_done(&config->vsock_listener);
		config->vsock_listener = listener;
	}
	shape_done(&vsock_shape, &config->vsock);
	config->vsock = *body;
	*body = (struct vsock_body){ 0 };
	return 0;
}

/* --- the rest --- */

int config_put_balloon(struct vm_config *config, struct balloon_body *body, struct err *err)
{
	if (body->amount_mib > config->machine.mem_size_mib)
		return err_set(err, ERR_INVALID,
			       "Balloon config error: Amount of pages requested is too large.");
	if (body->free_page_hinting)
		return config_unsupported(err, "free page hinting");
	config->balloon = *body;
	return 0;
}

int config_put_entropy(struct vm_config *config, struct entropy_body *body, struct err *err)
{
	if (field_given(body->given, ENTROPY_RATE_LIMITER))
		return config_unsupported(err, "a rate limiter");
	config->entropy = *body;
	config->has_entropy = true;
	return 0;
}

int config_put_serial(struct vm_config *config, struct serial_body *body, struct err *err)
{
	if (field_given(body->given, SERIAL_RATE_LIMITER))
		return config_unsupported(err, "a rate limiter");
	shape_done(&serial_shape, &config->serial);
	config->serial = *body;
	*body = (struct serial_body){ 0 };
	return 0;
}

static int check_machine(const struct vm_config *config, const struct machine_body *machine,
			 struct err *err)
{
	const uint64_t divisor = machine->huge_pages == HUGE_NONE ? 1 : 2;

	if (machine->vcpu_count == 0 || machine->vcpu_count > LIMIT_VCPUS ||
	    (machine->smt && machine->vcpu_count > 1 && machine->vcpu_count % 2 == 1))
		return err_set(err, ERR_INVALID,
			       "Machine config error: The number of vCPUs must be greater than 0, "
			       "less than %d and must be 1 or an even number if SMT is enabled.",
			       LIMIT_VCPUS);
	if (machine->mem_size_mib == 0 || machine->mem_size_mib % divisor != 0 ||
	    machine->mem_size_mib > (uint64_t)LIMIT_MEMORY_MAX_MIB)
		return err_set(err, ERR_INVALID,
			       "Machine config error: The memory size (MiB) is either 0, or not a "
			       "multiple of the configured page size.");
	if (machine->mem_size_mib < config->balloon.amount_mib)
		return err_set(err, ERR_INVALID,
			       "Machine config error: The memory size (MiB) is smaller than the "
			       "previously set balloon device target size.");
	if (machine->cpu_template != CPU_TEMPLATE_NONE)
		return config_unsupported(err, "a CPU template");
	if (machine->track_dirty_pages)
		return config_unsupported(err, "dirty page tracking");
	return 0;
}

int config_update_machine(struct vm_config *config, const struct machine_body *update,
			  struct err *err)
{
	struct machine_body machine = config->machine;
	int r;

	if (field_given(update->given, MACHINE_VCPUS))
		machine.vcpu_count = update->vcpu_count;
	if (field_given(update->given, MACHINE_MEMORY))
		machine.mem_size_mib = update->mem_size_mib;
	if (field_given(update->given, MACHINE_SMT))
		machine.smt = update->smt;
	if (field_given(update->given, MACHINE_CPU_TEMPLATE))
		machine.cpu_template = update->cpu_template;
	if (field_given(update->given, MACHINE_DIRTY_PAGES))
		machine.track_dirty_pages = update->track_dirty_pages;
	if (field_given(update->given, MACHINE_HUGE_PAGES))
		machine.huge_pages = update->huge_pages;
	r = check_machine(config, &machine, err);
	if (r < 0)
		return r;
	config->machine = machine;
	return 0;
}
