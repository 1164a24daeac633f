/*
 * What the client has configured: Firecracker's rules for each resource and the descriptors that
 * belong to it. Files, TAP devices and the vsock socket are opened when they are configured, as
 * Firecracker does, so a mistake is told at once, and what QEMU gets later is what was checked.
 *
 * Each config_put_*() takes over `body` on success and leaves it and the configuration untouched on
 * failure. Failures are ERR_INVALID with Firecracker's wording, or ERR_UNSUPPORTED.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/unix_socket.h"
#include "vmmshim/bodies.h"

#define CONFIG_DRIVES_MAX    10 /* two descriptors each, and SPAWN_FDS_MAX in all */
#define CONFIG_NETS_MAX	     2
#define CONFIG_BOOT_ARGS_MAX 2047 /* x86's COMMAND_LINE_SIZE less its terminator */

struct config_drive {
	struct drive_body body; /* owned */
	int fd;			/* owned */
	int base_fd;		/* owned; the raw file below a qcow2 overlay, else -1 */
	bool is_block;		/* fd is a block device */
	bool base_is_block;
};

struct config_net {
	struct net_body body; /* owned */
	int fd;		      /* owned; the TAP device */
};

/* From the command line: drive `drive_id` is a qcow2 overlay over the raw file `base_path`. */
struct config_overlay {
	char *drive_id;	 /* owned */
	char *base_path; /* owned */
};

struct vm_config {
	struct machine_body machine;
	struct boot_body boot; /* given is 0 while there is none */
	int kernel_fd;
	int initrd_fd;
	struct config_drive drives[CONFIG_DRIVES_MAX]; /* the root device first */
	size_t drive_count;
	struct config_net nets[CONFIG_NETS_MAX];
	size_t net_count;
	struct vsock_body vsock; /* given is 0 while there is none */
	struct unix_listener vsock_listener;
	struct balloon_body balloon; /* given is 0 while there is none */
	struct entropy_body entropy;
	bool has_entropy;
	struct serial_body serial;
	struct logger_body logger;   /* as last given, for GET /vm/config */
	struct metrics_body metrics; /* the same */
	struct config_overlay overlays[CONFIG_DRIVES_MAX];
	size_t overlay_count;
};

void config_init(struct vm_config *config);
void config_done(struct vm_config *config);

/* Forgets the machine and its devices, but neither logger, metrics nor overlays. */
void config_clear_machine(struct vm_config *config, bool keeps_serial);

/* "ID=BASE" of --drive-overlay. */
int config_add_overlay(struct vm_config *config, const char *text, struct err *err) MUST_CHECK;

int config_put_boot(struct vm_config *config, struct boot_body *body, struct err *err) MUST_CHECK;
int config_put_drive(struct vm_config *config, struct drive_body *body, struct err *err) MUST_CHECK;
int config_put_net(struct vm_config *config, struct net_body *body, struct err *err) MUST_CHECK;
int config_put_vsock(struct vm_config *config, struct vsock_body *body, struct err *err) MUST_CHECK;
int config_put_balloon(struct vm_config *config, struct balloon_body *body, struct err *err)
	MUST_CHECK;
int config_put_entropy(struct vm_config *config, struct entropy_body *body, struct err *err)
	MUST_CHECK;
int config_put_serial(struct vm_config *config, struct serial_body *body, struct err *err)
	MUST_CHECK;

/* PUT and PATCH: fields that are not given keep the value that they have. */
int config_update_machine(struct vm_config *config, const struct machine_body *update,
			  struct err *err) MUST_CHECK;

/* The rules for a running VM's drive and interface; nothing of them can be changed. */
int config_check_drive_patch(const struct vm_config *config, const struct drive_patch *patch,
			     struct err *err) MUST_CHECK;
int config_check_net_patch(const struct vm_config *config, const struct net_patch *patch,
			   struct err *err) MUST_CHECK;

/* The size that the guest sees: of the file, or what a qcow2 overlay's header says. 0 or -errno. */
int config_drive_size(const struct config_drive *drive, uint64_t *ret) MUST_CHECK;

/* The answers to GET /vm/config and GET /machine-config. */
json_t *config_write(const struct vm_config *config) MUST_CHECK;
json_t *config_write_machine(const struct vm_config *config) MUST_CHECK;

/* "The requested operation is not supported: WHAT is not supported by banger-vmm" */
int config_unsupported(struct err *err, const char *what) MUST_CHECK;
