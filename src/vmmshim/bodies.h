/*
 * The bodies of Firecracker's API as structs, and the shape that reads and writes each. The enums
 * are the indexes in the shape's table, for field_given().
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmmshim/fields.h"

enum action_type { ACTION_FLUSH_METRICS, ACTION_INSTANCE_START, ACTION_SEND_CTRL_ALT_DEL };

struct action_body {
	uint64_t given;
	unsigned action_type; /* enum action_type */
};

enum { BOOT_KERNEL, BOOT_INITRD, BOOT_ARGS };

struct boot_body {
	uint64_t given;
	char *kernel_image_path;
	char *initrd_path;
	char *boot_args;
};

enum {
	DRIVE_ID,
	DRIVE_PARTUUID,
	DRIVE_IS_ROOT,
	DRIVE_CACHE,
	DRIVE_READ_ONLY,
	DRIVE_PATH,
	DRIVE_RATE_LIMITER,
	DRIVE_IO_ENGINE,
	DRIVE_SOCKET
};
enum drive_cache { CACHE_UNSAFE, CACHE_WRITEBACK };
enum drive_engine { ENGINE_SYNC, ENGINE_ASYNC };

struct drive_body {
	uint64_t given;
	char *drive_id;
	char *partuuid;
	bool is_root_device;
	unsigned cache_type; /* enum drive_cache */
	bool is_read_only;
	char *path_on_host;
	unsigned io_engine; /* enum drive_engine */
	char *socket;
};

enum { DRIVE_PATCH_ID, DRIVE_PATCH_PATH, DRIVE_PATCH_RATE_LIMITER };

struct drive_patch {
	uint64_t given;
	char *drive_id;
	char *path_on_host;
};

enum {
	MACHINE_VCPUS,
	MACHINE_MEMORY,
	MACHINE_SMT,
	MACHINE_CPU_TEMPLATE,
	MACHINE_DIRTY_PAGES,
	MACHINE_HUGE_PAGES
};
enum huge_pages { HUGE_NONE, HUGE_TRANSPARENT, HUGE_2M };
#define CPU_TEMPLATE_NONE 0U /* in the table of words */

struct machine_body {
	uint64_t given;
	uint64_t vcpu_count;
	uint64_t mem_size_mib;
	bool smt;
	unsigned cpu_template;
	bool track_dirty_pages;
	unsigned huge_pages; /* enum huge_pages */
};

enum { NET_ID, NET_HOST_NAME, NET_MAC, NET_MTU, NET_RX_LIMITER, NET_TX_LIMITER };

struct net_body {
	uint64_t given;
	char *iface_id;
	char *host_dev_name;
	char *guest_mac;
	uint64_t mtu;
};

enum { NET_PATCH_ID, NET_PATCH_RX_LIMITER, NET_PATCH_TX_LIMITER };

struct net_patch {
	uint64_t given;
	char *iface_id;
};

enum { VSOCK_CID, VSOCK_PATH, VSOCK_ID };

struct vsock_body {
	uint64_t given;
	uint64_t guest_cid;
	char *uds_path;
	char *vsock_id;
};

enum {
	BALLOON_AMOUNT,
	BALLOON_DEFLATE,
	BALLOON_STATS_INTERVAL,
	BALLOON_HINTING,
	BALLOON_REPORTING
};

struct balloon_body {
	uint64_t given;
	uint64_t amount_mib;
	bool deflate_on_oom;
	uint64_t stats_polling_interval_s;
	bool free_page_hinting;
	bool free_page_reporting;
};

struct balloon_patch {
	uint64_t given;
	uint64_t amount_mib;
};

struct balloon_stats_patch {
	uint64_t given;
	uint64_t stats_polling_interval_s;
};

enum { LOGGER_LEVEL, LOGGER_PATH, LOGGER_SHOW_LEVEL, LOGGER_SHOW_ORIGIN, LOGGER_MODULE };

struct logger_body {
	uint64_t given;
	char *level;
	char *log_path;
	bool show_level;
	bool show_log_origin;
	char *module;
};

enum { METRICS_PATH, METRICS_EMIT_ID, METRICS_PROPERTIES };

struct metrics_body {
	uint64_t given;
	char *metrics_path;
	bool emit_id;
	json_t *properties;
};

enum { SERIAL_PATH, SERIAL_RATE_LIMITER };

struct serial_body {
	uint64_t given;
	char *serial_out_path;
};

enum { ENTROPY_RATE_LIMITER };

struct entropy_body {
	uint64_t given;
};

enum vm_state_word { STATE_PAUSED, STATE_RESUMED };

struct vm_body {
	uint64_t given;
	unsigned state; /* enum vm_state_word */
};

enum { CREATE_TYPE, CREATE_PATH, CREATE_MEM_FILE };
enum snapshot_type { SNAPSHOT_FULL, SNAPSHOT_DIFF };

struct snapshot_create_body {
	uint64_t given;
	unsigned snapshot_type; /* enum snapshot_type */
	char *snapshot_path;
	char *mem_file_path;
};

enum {
	LOAD_PATH,
	LOAD_MEM_FILE,
	LOAD_MEM_BACKEND,
	LOAD_DIFF,
	LOAD_DIRTY_PAGES,
	LOAD_RESUME,
	LOAD_NETS,
	LOAD_VSOCK,
	LOAD_CLOCK,
	LOAD_HUGE_PAGES
};
enum load_huge_pages { LOAD_HUGE_SNAPSHOT, LOAD_HUGE_NONE, LOAD_HUGE_TRANSPARENT, LOAD_HUGE_2M };

struct snapshot_load_body {
	uint64_t given;
	char *snapshot_path;
	char *mem_file_path;
	json_t *mem_backend; /* backend_path, backend_type */
	bool enable_diff_snapshots;
	bool track_dirty_pages;
	bool resume_vm;
	json_t *network_overrides; /* iface_id, host_dev_name */
	json_t *vsock_override;	   /* uds_path */
	bool clock_realtime;
	unsigned huge_pages; /* enum load_huge_pages */
};

/* Of what is not supported only what the checks need. */
struct checked_body {
	uint64_t given;
	char *id;
};

/* Any of them: what a request handler fills. */
union any_body {
	uint64_t given;
	struct action_body action;
	struct boot_body boot;
	struct drive_body drive;
	struct drive_patch drive_patch;
	struct machine_body machine;
	struct net_body net;
	struct net_patch net_patch;
	struct vsock_body vsock;
	struct balloon_body balloon;
	struct balloon_patch balloon_patch;
	struct balloon_stats_patch balloon_stats_patch;
	struct logger_body logger;
	struct metrics_body metrics;
	struct serial_body serial;
	struct entropy_body entropy;
	struct vm_body vm;
	struct snapshot_create_body snapshot_create;
	struct snapshot_load_body snapshot_load;
	struct checked_body checked;
};

extern const struct shape action_shape;
extern const struct shape boot_shape;
extern const struct shape drive_shape;
extern const struct shape drive_patch_shape;
extern const struct shape machine_shape;       /* PUT: vcpu_count and mem_size_mib are needed */
extern const struct shape machine_patch_shape; /* PATCH: nothing is */
extern const struct shape net_shape;
extern const struct shape net_patch_shape;
extern const struct shape vsock_shape;
extern const struct shape balloon_shape;
extern const struct shape balloon_patch_shape;
extern const struct shape balloon_stats_patch_shape;
extern const struct shape balloon_hinting_shape;
extern const struct shape logger_shape;
extern const struct shape metrics_shape;
extern const struct shape serial_shape;
extern const struct shape entropy_shape;
extern const struct shape vm_shape;
extern const struct shape pmem_shape;
extern const struct shape pmem_patch_shape;
extern const struct shape mmds_config_shape;
extern const struct shape cpu_config_shape;
extern const struct shape memory_hotplug_shape;
extern const struct shape memory_hotplug_patch_shape;
extern const struct shape snapshot_create_shape;
extern const struct shape snapshot_load_shape;
