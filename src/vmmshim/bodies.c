#include "vmmshim/bodies.h"

#include <stddef.h>

#include "base/macros.h"

#define AT(type, member) .offset = offsetof(struct type, member)
#define REQUIRED	 .flags = FIELD_REQUIRED
#define OPTIONAL	 .flags = FIELD_NULLABLE
#define SHAPE(text, list)                                                          \
	{                                                                          \
		.name = "struct " text, .fields = (list), .count = ARRAY_LEN(list) \
	}

/* What is only checked because this VMM refuses it. */
#define RATE_LIMITER(field_name)                                                                   \
	{                                                                                          \
		.name = (field_name), .type = FIELD_OBJECT, OPTIONAL, .shape = &rate_limiter_shape \
	}

#define CHECKED(field_name, kind, more)                                               \
	{                                                                             \
		.name = (field_name), .type = (kind), .flags = FIELD_CHECKED | (more) \
	}
#define CHECKED_UINT(field_name, largest, more)                                            \
	{                                                                                  \
		.name = (field_name), .type = FIELD_UINT, .flags = FIELD_CHECKED | (more), \
		.max = (largest)                                                           \
	}
#define CHECKED_WORD(field_name, list, more)                                               \
	{                                                                                  \
		.name = (field_name), .type = FIELD_WORD, .flags = FIELD_CHECKED | (more), \
		.words = (list)                                                            \
	}
#define CHECKED_LIST(field_name, of)                                                  \
	{                                                                             \
		.name = (field_name), .type = FIELD_OBJECTS, OPTIONAL, .shape = &(of) \
	}

static const struct field bucket_fields[] = {
	CHECKED_UINT("size", INT64_MAX, FIELD_REQUIRED),
	CHECKED_UINT("one_time_burst", INT64_MAX, FIELD_NULLABLE),
	CHECKED_UINT("refill_time", INT64_MAX, FIELD_REQUIRED),
};
static const struct shape bucket_shape = {
	.name = "struct TokenBucketConfig",
	.fields = bucket_fields,
	.count = ARRAY_LEN(bucket_fields),
	.is_open = true,
};

static const struct field rate_limiter_fields[] = {
	{ .name = "bandwidth", .type = FIELD_OBJECT, OPTIONAL, .shape = &bucket_shape },
	{ .name = "ops", .type = FIELD_OBJECT, OPTIONAL, .shape = &bucket_shape },
};
static const struct shape rate_limiter_shape = SHAPE("RateLimiterConfig", rate_limiter_fields);

static const char *const action_words[] = { "FlushMetrics", "InstanceStart", "SendCtrlAltDel",
					    NULL };
static const struct field action_fields[] = {
	{ .name = "action_type",
	  .type = FIELD_WORD,
	  REQUIRED,
	  .words = action_words,
	  AT(action_body, action_type) },
};
const struct shape action_shape = SHAPE("ActionBody", action_fields);

static const struct field boot_fields[] = {
	[BOOT_KERNEL] = { .name = "kernel_image_path",
			  .type = FIELD_STRING,
			  REQUIRED,
			  AT(boot_body, kernel_image_path) },
	[BOOT_INITRD] = { .name = "initrd_path",
			  .type = FIELD_STRING,
			  OPTIONAL,
			  AT(boot_body, initrd_path) },
	[BOOT_ARGS] = { .name = "boot_args",
			.type = FIELD_STRING,
			OPTIONAL,
			AT(boot_body, boot_args) },
};
const struct shape boot_shape = SHAPE("BootSourceConfig", boot_fields);

static const char *const cache_words[] = { "Unsafe", "Writeback", NULL };
static const char *const engine_words[] = { "Sync", "Async", NULL };
static const struct field drive_fields[] = {
	[DRIVE_ID] = { .name = "drive_id",
		       .type = FIELD_STRING,
		       REQUIRED,
		       AT(drive_body, drive_id) },
	[DRIVE_PARTUUID] = { .name = "partuuid",
			     .type = FIELD_STRING,
			     OPTIONAL,
			     AT(drive_body, partuuid) },
	[DRIVE_IS_ROOT] = { .name = "is_root_device",
			    .type = FIELD_BOOL,
			    REQUIRED,
			    AT(drive_body, is_root_device) },
	[DRIVE_CACHE] = { .name = "cache_type",
			  .type = FIELD_WORD,
			  .words = cache_words,
			  AT(drive_body, cache_type) },
	[DRIVE_READ_ONLY] = { .name = "is_read_only",
			      .type = FIELD_BOOL,
			      OPTIONAL,
			      AT(drive_body, is_read_only) },
	[DRIVE_PATH] = { .name = "path_on_host",
			 .type = FIELD_STRING,
			 OPTIONAL,
			 AT(drive_body, path_on_host) },
	[DRIVE_RATE_LIMITER] = RATE_LIMITER("rate_limiter"),
	[DRIVE_IO_ENGINE] = { .name = "io_engine",
			      .type = FIELD_WORD,
			      OPTIONAL,
			      .words = engine_words,
			      AT(drive_body, io_engine) },
	[DRIVE_SOCKET] = { .name = "socket",
			   .type = FIELD_STRING,
			   OPTIONAL,
			   AT(drive_body, socket) },
};
const struct shape drive_shape = SHAPE("BlockDeviceConfig", drive_fields);

static const struct field drive_patch_fields[] = {
	[DRIVE_PATCH_ID] = { .name = "drive_id",
			     .type = FIELD_STRING,
			     REQUIRED,
			     AT(drive_patch, drive_id) },
	[DRIVE_PATCH_PATH] = { .name = "path_on_host",
			       .type = FIELD_STRING,
			       OPTIONAL,
			       AT(drive_patch, path_on_host) },
	[DRIVE_PATCH_RATE_LIMITER] = RATE_LIMITER("rate_limiter"),
};
const struct shape drive_patch_shape = SHAPE("BlockDeviceUpdateConfig", drive_patch_fields);

static const char *const template_words[] = {
	"None", "C3", "T2", "T2S", "T2CL", "T2A", "V1N1", NULL
};
static const char *const huge_words[] = { "None", "Transparent", "2M", NULL };

/* PUT and PATCH differ in what must be there and in what may be null. */
#define MACHINE_FIELDS(needed, may)                                              \
	{                                                                        \
		[MACHINE_VCPUS] = { .name = "vcpu_count",                        \
				    .type = FIELD_UINT,                          \
				    .flags = (needed),                           \
				    .max = UINT8_MAX,                            \
				    AT(machine_body, vcpu_count) },              \
		[MACHINE_MEMORY] = { .name = "mem_size_mib",                     \
				     .type = FIELD_UINT,                         \
				     .flags = (needed),                          \
				     .max = INT64_MAX,                           \
				     AT(machine_body, mem_size_mib) },           \
		[MACHINE_SMT] = { .name = "smt",                                 \
				  .type = FIELD_BOOL,                            \
				  .flags = (may),                                \
				  AT(machine_body, smt) },                       \
		[MACHINE_CPU_TEMPLATE] = { .name = "cpu_template",               \
					   .type = FIELD_WORD,                   \
					   OPTIONAL,                             \
					   .words = template_words,              \
					   AT(machine_body, cpu_template) },     \
		[MACHINE_DIRTY_PAGES] = { .name = "track_dirty_pages",           \
					  .type = FIELD_BOOL,                    \
					  .flags = (may),                        \
					  AT(machine_body, track_dirty_pages) }, \
		[MACHINE_HUGE_PAGES] = { .name = "huge_pages",                   \
					 .type = FIELD_WORD,                     \
					 .flags = (may),                         \
					 .words = huge_words,                    \
					 AT(machine_body, huge_pages) },         \
	}

static const struct field machine_fields[] = MACHINE_FIELDS(FIELD_REQUIRED, 0);
const struct shape machine_shape = SHAPE("MachineConfig", machine_fields);

static const struct field machine_patch_fields[] = MACHINE_FIELDS(FIELD_NULLABLE, FIELD_NULLABLE);
const struct shape machine_patch_shape = SHAPE("MachineConfigUpdate", machine_patch_fields);

static const struct field net_fields[] = {
	[NET_ID] = { .name = "iface_id", .type = FIELD_STRING, REQUIRED, AT(net_body, iface_id) },
	[NET_HOST_NAME] = { .name = "host_dev_name",
			    .type = FIELD_STRING,
			    REQUIRED,
			    AT(net_body, host_dev_name) },
	[NET_MAC] = { .name = "guest_mac", .type = FIELD_MAC, OPTIONAL, AT(net_body, guest_mac) },
	[NET_MTU] = { .name = "mtu",
		      .type = FIELD_UINT,
		      OPTIONAL,
		      .max = UINT16_MAX,
		      AT(net_body, mtu) },
	[NET_RX_LIMITER] = RATE_LIMITER("rx_rate_limiter"),
	[NET_TX_LIMITER] = RATE_LIMITER("tx_rate_limiter"),
};
const struct shape net_shape = SHAPE("NetworkInterfaceConfig", net_fields);

static const struct field net_patch_fields[] = {
	[NET_PATCH_ID] = { .name = "iface_id",
			   .type = FIELD_STRING,
			   REQUIRED,
			   AT(net_patch, iface_id) },
	[NET_PATCH_RX_LIMITER] = RATE_LIMITER("rx_rate_limiter"),
	[NET_PATCH_TX_LIMITER] = RATE_LIMITER("tx_rate_limiter"),
};
const struct shape net_patch_shape = SHAPE("NetworkInterfaceUpdateConfig", net_patch_fields);

static const struct field vsock_fields[] = {
	[VSOCK_CID] = { .name = "guest_cid",
			.type = FIELD_UINT,
			REQUIRED,
			.max = UINT32_MAX,
			AT(vsock_body, guest_cid) },
	[VSOCK_PATH] = { .name = "uds_path",
			 .type = FIELD_STRING,
			 REQUIRED,
			 AT(vsock_body, uds_path) },
	[VSOCK_ID] = { .name = "vsock_id",
		       .type = FIELD_STRING,
		       OPTIONAL,
		       AT(vsock_body, vsock_id) },
};
const struct shape vsock_shape = SHAPE("VsockDeviceConfig", vsock_fields);

static const struct field balloon_fields[] = {
	[BALLOON_AMOUNT] = { .name = "amount_mib",
			     .type = FIELD_UINT,
			     REQUIRED,
			     .max = UINT32_MAX,
			     AT(balloon_body, amount_mib) },
	[BALLOON_DEFLATE] = { .name = "deflate_on_oom",
			      .type = FIELD_BOOL,
			      REQUIRED,
			      AT(balloon_body, deflate_on_oom) },
	[BALLOON_STATS_INTERVAL] = { .name = "stats_polling_interval_s",
				     .type = FIELD_UINT,
				     .max = UINT16_MAX,
				     AT(balloon_body, stats_polling_interval_s) },
	[BALLOON_HINTING] = { .name = "free_page_hinting",
			      .type = FIELD_BOOL,
			      AT(balloon_body, free_page_hinting) },
	[BALLOON_REPORTING] = { .name = "free_page_reporting",
				.type = FIELD_BOOL,
				AT(balloon_body, free_page_reporting) },
};
const struct shape balloon_shape = SHAPE("BalloonDeviceConfig", balloon_fields);

static const struct field balloon_patch_fields[] = {
	{ .name = "amount_mib",
	  .type = FIELD_UINT,
	  REQUIRED,
	  .max = UINT32_MAX,
	  AT(balloon_patch, amount_mib) },
};
const struct shape balloon_patch_shape = SHAPE("BalloonUpdateConfig", balloon_patch_fields);

static const struct field balloon_stats_patch_fields[] = {
	{ .name = "stats_polling_interval_s",
	  .type = FIELD_UINT,
	  REQUIRED,
	  .max = UINT16_MAX,
	  AT(balloon_stats_patch, stats_polling_interval_s) },
};
const struct shape balloon_stats_patch_shape =
	SHAPE("BalloonUpdateStatsConfig", balloon_stats_patch_fields);

static const struct field balloon_hinting_fields[] = {
	CHECKED("acknowledge_on_stop", FIELD_BOOL, 0),
};
const struct shape balloon_hinting_shape = SHAPE("StartHintingCmd", balloon_hinting_fields);

static const struct field logger_fields[] = {
	[LOGGER_LEVEL] = { .name = "level",
			   .type = FIELD_STRING,
			   OPTIONAL,
			   AT(logger_body, level) },
	[LOGGER_PATH] = { .name = "log_path",
			  .type = FIELD_STRING,
			  OPTIONAL,
			  AT(logger_body, log_path) },
	[LOGGER_SHOW_LEVEL] = { .name = "show_level",
				.type = FIELD_BOOL,
				OPTIONAL,
				AT(logger_body, show_level) },
	[LOGGER_SHOW_ORIGIN] = { .name = "show_log_origin",
				 .type = FIELD_BOOL,
				 OPTIONAL,
				 AT(logger_body, show_log_origin) },
	[LOGGER_MODULE] = { .name = "module",
			    .type = FIELD_STRING,
			    OPTIONAL,
			    AT(logger_body, module) },
};
const struct shape logger_shape = SHAPE("LoggerConfig", logger_fields);

/* Firecracker ignores unknown fields here. */
static const struct field metrics_fields[] = {
	[METRICS_PATH] = { .name = "metrics_path",
			   .type = FIELD_STRING,
			   REQUIRED,
			   AT(metrics_body, metrics_path) },
	[METRICS_EMIT_ID] = { .name = "emit_id", .type = FIELD_BOOL, AT(metrics_body, emit_id) },
	[METRICS_PROPERTIES] = { .name = "properties",
				 .type = FIELD_MAP,
				 OPTIONAL,
				 AT(metrics_body, properties) },
};
const struct shape metrics_shape = {
	.name = "struct MetricsConfig",
	.fields = metrics_fields,
	.count = ARRAY_LEN(metrics_fields),
	.is_open = true,
};

static const struct field serial_fields[] = {
	[SERIAL_PATH] = { .name = "serial_out_path",
			  .type = FIELD_STRING,
			  OPTIONAL,
			  AT(serial_body, serial_out_path) },
	[SERIAL_RATE_LIMITER] = { .name = "rate_limiter",
				  .type = FIELD_OBJECT,
				  OPTIONAL,
				  .shape = &bucket_shape },
};
const struct shape serial_shape = SHAPE("SerialConfig", serial_fields);

static const struct field entropy_fields[] = {
	[ENTROPY_RATE_LIMITER] = RATE_LIMITER("rate_limiter"),
};
const struct shape entropy_shape = SHAPE("EntropyDeviceConfig", entropy_fields);

static const char *const state_words[] = { "Paused", "Resumed", NULL };
static const struct field vm_fields[] = {
	{ .name = "state", .type = FIELD_WORD, REQUIRED, .words = state_words, AT(vm_body, state) },
};
const struct shape vm_shape = SHAPE("Vm", vm_fields);

static const struct field pmem_fields[] = {
	{ .name = "id", .type = FIELD_STRING, REQUIRED, AT(checked_body, id) },
	CHECKED("path_on_host", FIELD_STRING, FIELD_REQUIRED),
	CHECKED("root_device", FIELD_BOOL, 0),
	CHECKED("read_only", FIELD_BOOL, 0),
	RATE_LIMITER("rate_limiter"),
};
const struct shape pmem_shape = SHAPE("PmemConfig", pmem_fields);

static const struct field pmem_patch_fields[] = {
	{ .name = "id", .type = FIELD_STRING, REQUIRED, AT(checked_body, id) },
	RATE_LIMITER("rate_limiter"),
};
const struct shape pmem_patch_shape = SHAPE("PmemDeviceUpdateConfig", pmem_patch_fields);

static const char *const mmds_words[] = { "V1", "V2", NULL };
static const struct field mmds_config_fields[] = {
	CHECKED_WORD("version", mmds_words, 0),
	{ .name = "network_interfaces", .type = FIELD_STRINGS, REQUIRED },
	CHECKED("ipv4_address", FIELD_STRING, FIELD_NULLABLE),
	CHECKED("imds_compat", FIELD_BOOL, 0),
};
const struct shape mmds_config_shape = SHAPE("MmdsConfig", mmds_config_fields);

static const char *const register_words[] = { "eax", "ebx", "ecx", "edx", NULL };
static const struct field cpuid_register_fields[] = {
	CHECKED_WORD("register", register_words, FIELD_REQUIRED),
	CHECKED("bitmap", FIELD_STRING, FIELD_REQUIRED),
};
static const struct shape cpuid_register_shape =
	SHAPE("CpuidRegisterModifier", cpuid_register_fields);

static const struct field cpuid_leaf_fields[] = {
	CHECKED("leaf", FIELD_STRING, FIELD_REQUIRED),
	CHECKED("subleaf", FIELD_STRING, FIELD_REQUIRED),
	CHECKED_UINT("flags", UINT32_MAX, FIELD_REQUIRED),
	{ .name = "modifiers", .type = FIELD_OBJECTS, REQUIRED, .shape = &cpuid_register_shape },
};
static const struct shape cpuid_leaf_shape = SHAPE("CpuidLeafModifier", cpuid_leaf_fields);

static const struct field register_fields[] = {
	CHECKED("addr", FIELD_STRING, FIELD_REQUIRED),
	CHECKED("bitmap", FIELD_STRING, FIELD_REQUIRED),
};
static const struct shape register_shape = SHAPE("RegisterModifier", register_fields);

static const struct field feature_fields[] = {
	CHECKED_UINT("index", UINT32_MAX, FIELD_REQUIRED),
	CHECKED("bitmap", FIELD_STRING, FIELD_REQUIRED),
};
static const struct shape feature_shape = SHAPE("VcpuFeatures", feature_fields);

static const struct field cpu_config_fields[] = {
	{ .name = "kvm_capabilities", .type = FIELD_STRINGS, OPTIONAL },
	CHECKED_LIST("cpuid_modifiers", cpuid_leaf_shape),
	CHECKED_LIST("msr_modifiers", register_shape),
	CHECKED_LIST("reg_modifiers", register_shape),
	CHECKED_LIST("vcpu_features", feature_shape),
};
const struct shape cpu_config_shape = SHAPE("CustomCpuTemplate", cpu_config_fields);

static const struct field memory_hotplug_fields[] = {
	CHECKED_UINT("total_size_mib", UINT32_MAX, FIELD_REQUIRED),
	CHECKED_UINT("slot_size_mib", UINT32_MAX, 0),
	CHECKED_UINT("block_size_mib", UINT32_MAX, 0),
};
const struct shape memory_hotplug_shape = SHAPE("MemoryHotplugConfig", memory_hotplug_fields);

static const struct field memory_hotplug_patch_fields[] = {
	CHECKED_UINT("requested_size_mib", UINT32_MAX, FIELD_REQUIRED),
};
const struct shape memory_hotplug_patch_shape =
	SHAPE("MemoryHotplugSizeUpdate", memory_hotplug_patch_fields);

static const char *const snapshot_words[] = { "Full", "Diff", NULL };
static const struct field snapshot_create_fields[] = {
	[CREATE_TYPE] = { .name = "snapshot_type",
			  .type = FIELD_WORD,
			  AT(snapshot_create_body, snapshot_type),
			  .words = snapshot_words },
	[CREATE_PATH] = { .name = "snapshot_path",
			  .type = FIELD_STRING,
			  REQUIRED,
			  AT(snapshot_create_body, snapshot_path) },
	[CREATE_MEM_FILE] = { .name = "mem_file_path",
			      .type = FIELD_STRING,
			      REQUIRED,
			      AT(snapshot_create_body, mem_file_path) },
};
const struct shape snapshot_create_shape = SHAPE("CreateSnapshotParams", snapshot_create_fields);

static const char *const backend_words[] = { "File", "Uffd", NULL };
static const struct field backend_fields[] = {
	CHECKED("backend_path", FIELD_STRING, FIELD_REQUIRED),
	CHECKED_WORD("backend_type", backend_words, FIELD_REQUIRED),
};
static const struct shape backend_shape = SHAPE("MemBackendConfig", backend_fields);

static const struct field net_override_fields[] = {
	CHECKED("iface_id", FIELD_STRING, FIELD_REQUIRED),
	CHECKED("host_dev_name", FIELD_STRING, FIELD_REQUIRED),
};
static const struct shape net_override_shape = {
	.name = "struct NetworkOverride",
	.fields = net_override_fields,
	.count = ARRAY_LEN(net_override_fields),
	.is_open = true,
};

static const struct field vsock_override_fields[] = {
	CHECKED("uds_path", FIELD_STRING, FIELD_REQUIRED),
};
static const struct shape vsock_override_shape = {
	.name = "struct VsockOverride",
	.fields = vsock_override_fields,
	.count = ARRAY_LEN(vsock_override_fields),
	.is_open = true,
};

static const char *const load_huge_words[] = { "Snapshot", "None", "Transparent", "2M", NULL };
static const struct field snapshot_load_fields[] = {
	[LOAD_PATH] = { .name = "snapshot_path",
			.type = FIELD_STRING,
			REQUIRED,
			AT(snapshot_load_body, snapshot_path) },
	[LOAD_MEM_FILE] = { .name = "mem_file_path",
			    .type = FIELD_STRING,
			    OPTIONAL,
			    AT(snapshot_load_body, mem_file_path) },
	[LOAD_MEM_BACKEND] = { .name = "mem_backend",
			       .type = FIELD_INNER,
			       OPTIONAL,
			       AT(snapshot_load_body, mem_backend),
			       .shape = &backend_shape },
	[LOAD_DIFF] = { .name = "enable_diff_snapshots",
			.type = FIELD_BOOL,
			AT(snapshot_load_body, enable_diff_snapshots) },
	[LOAD_DIRTY_PAGES] = { .name = "track_dirty_pages",
			       .type = FIELD_BOOL,
			       AT(snapshot_load_body, track_dirty_pages) },
	[LOAD_RESUME] = { .name = "resume_vm",
			  .type = FIELD_BOOL,
			  AT(snapshot_load_body, resume_vm) },
	[LOAD_NETS] = { .name = "network_overrides",
			.type = FIELD_INNERS,
			OPTIONAL,
			AT(snapshot_load_body, network_overrides),
			.shape = &net_override_shape },
	[LOAD_VSOCK] = { .name = "vsock_override",
			 .type = FIELD_INNER,
			 OPTIONAL,
			 AT(snapshot_load_body, vsock_override),
			 .shape = &vsock_override_shape },
	[LOAD_CLOCK] = { .name = "clock_realtime",
			 .type = FIELD_BOOL,
			 AT(snapshot_load_body, clock_realtime) },
	[LOAD_HUGE_PAGES] = { .name = "huge_pages",
			      .type = FIELD_WORD,
			      AT(snapshot_load_body, huge_pages),
			      .words = load_huge_words },
};
const struct shape snapshot_load_shape = SHAPE("LoadSnapshotConfig", snapshot_load_fields);
