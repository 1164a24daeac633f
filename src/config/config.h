/*
 * The configuration: one TOML file, every key optional, every mistake an error "file:line:col:
 * message". A value of struct config is complete in itself; there is no global state, so the daemon
 * reads the file again beside the live configuration and keeps the old one when the new one is
 * wrong.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/span.h"
#include "model/spec.h"

#define CONFIG_FILE_BYTES_MAX 1048576
#define CONFIG_DEPTH_MAX      32  /* nesting, and parts of a dotted key; ours needs 3 */
#define CONFIG_LIST_MAX	      256 /* [[file_sync]] or [[registry]] entries */

enum config_vmm { CONFIG_VMM_AUTO, CONFIG_VMM_FIRECRACKER, CONFIG_VMM_QEMU, CONFIG_VMM_COUNT };

enum config_network {
	CONFIG_NETWORK_AUTO,
	CONFIG_NETWORK_HOST,
	CONFIG_NETWORK_ISOLATED,
	CONFIG_NETWORK_NONE,
	CONFIG_NETWORK_COUNT,
};

/* Every single-valued key, in the order of the table in docs/configuration.md. */
enum config_key {
	CONFIG_LOG_LEVEL,
	CONFIG_VMM,
	CONFIG_FIRECRACKER_BIN,
	CONFIG_JAILER_BIN,
	CONFIG_QEMU_BIN,
	CONFIG_JAILER_ENABLED,
	CONFIG_SSH_KEY_PATH,
	CONFIG_DEFAULT_IMAGE_NAME,
	CONFIG_AUTO_STOP_STALE_AFTER,
	CONFIG_STATS_POLL_INTERVAL,
	CONFIG_NETWORK,
	CONFIG_BRIDGE_NAME,
	CONFIG_BRIDGE_IP,
	CONFIG_CIDR,
	CONFIG_TAP_POOL_SIZE,
	CONFIG_DEFAULT_DNS,
	CONFIG_DNS_LISTEN,
	CONFIG_TEMPLATES,
	CONFIG_TEMPLATE_CACHE_SIZE,
	CONFIG_LIMIT_LAYER_BYTES,
	CONFIG_LIMIT_IMAGE_BYTES,
	CONFIG_LIMIT_ENTRIES,
	CONFIG_LIMIT_LAYERS,
	CONFIG_LIMIT_NAME_BYTES,
	CONFIG_LIMIT_XATTR_BYTES,
	CONFIG_LIMIT_WORKER_MEMORY,
	CONFIG_LIMIT_WORKER_CPU,
	CONFIG_LIMIT_WORKER_STALL,
	CONFIG_DEFAULT_VCPU,
	CONFIG_DEFAULT_MEMORY_MIB,
	CONFIG_DEFAULT_DISK_SIZE,
	CONFIG_DEFAULT_SYSTEM_OVERLAY_SIZE,
	CONFIG_KEY_COUNT,
};

struct config_file_sync {
	char *host;    /* owned; "~/..." or absolute */
	char *guest;   /* owned; "~/..." or below /root */
	uint32_t mode; /* 0600 unless given */
};

struct config_registry {
	char *host;    /* owned */
	char *mirror;  /* owned, NULL when none */
	char *ca_file; /* owned, absolute or "~/..."; NULL when none */
	bool insecure;
};

/* Where a key stands in the file, from 1; line 0 when it does not. */
struct config_position {
	uint32_t line;
	uint32_t column;
};

/* Strings are owned; NULL only where said. */
struct config {
	char *file;		       /* the path that was asked for */
	bool is_present;	       /* false: no such file, all defaults */
	bool is_set[CONFIG_KEY_COUNT]; /* the file has the key */
	struct config_position position[CONFIG_KEY_COUNT];

	enum log_level log_level;
	enum config_vmm vmm;
	char *firecracker_bin; /* NULL: found on PATH */
	char *jailer_bin;
	char *qemu_bin;
	bool jailer_enabled;
	char *ssh_key_path; /* NULL: state folder/ssh/id_ed25519; may begin with "~/" */
	char *default_image_name;
	uint64_t auto_stop_stale_after_ms; /* 0: never */
	uint64_t stats_poll_interval_ms;
	enum config_network network;
	char *bridge_name;
	char *bridge_ip;
	uint32_t bridge_address; /* the same in host byte order */
	uint64_t cidr;
	uint64_t tap_pool_size;
	char *default_dns;
	char *dns_listen;
	bool templates;
	uint64_t template_cache_bytes;
	uint64_t limit_layer_bytes;
	uint64_t limit_image_bytes;
	uint64_t limit_entries;
	uint64_t limit_layers;
	uint64_t limit_name_bytes;
	uint64_t limit_xattr_bytes;
	uint64_t limit_worker_memory_bytes;
	uint64_t limit_worker_cpu_ms;
	uint64_t limit_worker_stall_ms;
	uint64_t default_vcpu; /* 0: from the host, as the next three */
	uint64_t default_memory_mib;
	uint64_t default_disk_bytes;
	uint64_t default_system_overlay_bytes;

	struct config_file_sync *file_sync; /* owned array */
	size_t file_sync_count;
	struct config_registry *registries; /* owned array */
	size_t registry_count;
};

/* All defaults. */
void config_init(struct config *config);
void config_done(struct config *config);
#define AUTO_CONFIG CLEANUP(config_done) struct config

/*
 * Reads and checks the file; an absent one gives the defaults. ERR_INVALID for everything that is
 * wrong in it, and for a file that is no regular file, not ours (nor root's) or writable by others;
 * never blocks on a FIFO. When bridge_ip or cidr is set and the bridge would be in the host's
 * network, also for an overlap with a route of the host. `ret` is uninitialised storage, filled
 * only on success.
 */
int config_load(const char *path, struct config *ret, struct err *err) MUST_CHECK;

/* The same from memory, without looking at the host; `file` is what messages call it. */
int config_parse(const char *file, struct span text, struct config *ret, struct err *err)
	MUST_CHECK;

/*
 * Refuses (ERR_INVALID, naming the route) a bridge network that overlaps a route in `table`, the
 * text of /proc/net/route; default routes and the bridge's own are no conflict.
 */
int config_check_routes(const struct config *config, struct span table, struct err *err) MUST_CHECK;

/* The port of dns_listen when its address is the bridge's; 0 otherwise. */
uint16_t config_dns_port_on_bridge(const struct config *config) MUST_CHECK;

/* The host's share of the answer: cpus and memory. 0 for what cannot be read. */
void config_read_host(struct spec_host *ret);

/* What `vm create` uses where the user says nothing, and where each number came from. */
struct vm_defaults {
	uint32_t vcpu;
	uint64_t memory_bytes;
	uint64_t disk_bytes;
	uint64_t system_overlay_bytes;
	char vcpu_source[64]; /* "config" or "host: 2 CPUs / 4" */
	char memory_source[64];
	char disk_source[64];
	char system_overlay_source[64];
};

void config_vm_defaults(const struct config *config, const struct spec_host *host,
			struct vm_defaults *ret);

/* One row of the key table, for doctor and the documents. */
struct config_key_row {
	const char *name;	  /* "limits.entries" */
	const char *type;	  /* "duration", "\"auto\", \"host\", ..." */
	const char *default_text; /* as one would write it in TOML, or words in parentheses */
	const char *meaning;
	const char *without_effect; /* what this version lacks for the key to matter; NULL when it
				       works */
};

const struct config_key_row *config_key_row(enum config_key key);

/* The rows for the two lists: "file_sync" and "registry". */
const struct config_key_row *config_list_rows(size_t *ret_count);

/*
 * Calls `visit` for each key that the file sets although this version lacks what it is for (doctor
 * warns of them).
 */
void config_each_without_effect(const struct config *config,
				void (*visit)(void *context, const struct config_key_row *row),
				void *context);

/* Everything as one object: name -> {"value", "source": "config" | "default"}; owned by the caller.
 */
json_t *config_to_json(const struct config *config) MUST_CHECK;

/* Appends the table of keys as docs/configuration.md has it. */
void config_document(struct buf *out);
