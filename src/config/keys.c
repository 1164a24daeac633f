/*
 * The table of keys: what the file may have, what each value must be, what it is without the file,
 * and what is missing for it to matter. Parsing, defaults, doctor and docs/configuration.md come
 * from here.
 */
#include "base/limits.h"
#include "config/private.h"

#define MIB    (1ULL << 20)
#define GIB    (1ULL << 30)
#define TIB    (1ULL << 40)
#define SECOND 1000ULL
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)

#define AT(member) .offset = offsetof(struct config, member)

#define NO_JAILER "this version runs Firecracker without its jailer"

static const char *const log_levels[] = { "debug", "info", "warn", "error", NULL };
static const char *const vmms[] = { "auto", "firecracker", "qemu", NULL };
static const char *const networks[] = { "auto", "host", "isolated", "none", NULL };

/* clang-format off */
const struct config_key_def config_keys[CONFIG_KEY_COUNT] = {
	[CONFIG_LOG_LEVEL] = {
		.row = { "log_level", "\"debug\", \"info\", \"warn\" or \"error\"", "\"info\"",
			 "what goes into the daemon's log; BANGER_LOG_LEVEL overrides it", NULL },
		.type = VALUE_CHOICE, .choices = log_levels, .initial = LOG_LEVEL_INFO, AT(log_level) },
	[CONFIG_VMM] = {
		.row = { "vmm", "\"auto\", \"firecracker\" or \"qemu\"", "\"auto\"",
			 "what runs VMs; auto is Firecracker where it is installed and KVM is usable, else QEMU",
			 NULL },
		.type = VALUE_CHOICE, .choices = vmms, .initial = CONFIG_VMM_AUTO, AT(vmm) },
	[CONFIG_FIRECRACKER_BIN] = {
		.row = { "firecracker_bin", "an absolute path", "(found on PATH)",
			 "the firecracker program", NULL },
		.type = VALUE_PROGRAM, AT(firecracker_bin) },
	[CONFIG_JAILER_BIN] = {
		.row = { "jailer_bin", "an absolute path", "(found on PATH)",
			 "Firecracker's jailer", NO_JAILER },
		.type = VALUE_PROGRAM, AT(jailer_bin) },
	[CONFIG_QEMU_BIN] = {
		.row = { "qemu_bin", "an absolute path", "(found on PATH)",
			 "the qemu-system-x86_64 program", NULL },
		.type = VALUE_PROGRAM, AT(qemu_bin) },
	[CONFIG_JAILER_ENABLED] = {
		.row = { "jailer_enabled", "a boolean", "true",
			 "run Firecracker in its jailer when privileged", NO_JAILER },
		.type = VALUE_BOOL, .initial = true, AT(jailer_enabled) },
	[CONFIG_SSH_KEY_PATH] = {
		.row = { "ssh_key_path", "a path, absolute or below ~/", "(state folder)/ssh/id_ed25519",
			 "the key that guests let in; made at the first start if absent", NULL },
		.type = VALUE_PATH, AT(ssh_key_path) },
	[CONFIG_DEFAULT_IMAGE_NAME] = {
		.row = { "default_image_name", "an image name", "\"debian-bookworm\"",
			 "the image of VMs that name none", NULL },
		.type = VALUE_IMAGE_NAME, .initial_text = "debian-bookworm", AT(default_image_name) },
	[CONFIG_AUTO_STOP_STALE_AFTER] = {
		.row = { "auto_stop_stale_after", "a duration, up to 3650d", "\"0\"",
			 "VMs untouched for so long are stopped; 0 is never", NULL },
		.type = VALUE_DURATION, .max = 3650 * DAY, AT(auto_stop_stale_after_ms) },
	[CONFIG_STATS_POLL_INTERVAL] = {
		.row = { "stats_poll_interval", "a duration, 1s to 1h", "\"10s\"",
			 "how often the load of running VMs is measured", NULL },
		.type = VALUE_DURATION, .min = SECOND, .max = HOUR, .initial = 10 * SECOND,
		AT(stats_poll_interval_ms) },
	[CONFIG_NETWORK] = {
		.row = { "network", "\"auto\", \"host\", \"isolated\" or \"none\"", "\"auto\"",
			 "where VMs' network is: the host's own, a namespace of banger's, or nowhere; auto is host where bangerd may, else isolated where it can, else none",
			 NULL },
		.type = VALUE_CHOICE, .choices = networks, .initial = CONFIG_NETWORK_AUTO, AT(network) },
	[CONFIG_BRIDGE_NAME] = {
		.row = { "bridge_name", "br-fc or br-fc-*, up to 15 characters", "\"br-fc\"",
			 "the bridge that VMs are joined to", NULL },
		.type = VALUE_BRIDGE_NAME, .initial_text = "br-fc", AT(bridge_name) },
	[CONFIG_BRIDGE_IP] = {
		.row = { "bridge_ip", "an IPv4 address", "\"172.16.0.1\"",
			 "the host's address on the bridge; guests get theirs from its network", NULL },
		.type = VALUE_IPV4, .initial_text = "172.16.0.1", AT(bridge_ip) },
	[CONFIG_CIDR] = {
		.row = { "cidr", "an integer, 8 to 30", "24",
			 "the length of that network's prefix", NULL },
		.type = VALUE_NUMBER, .min = 8, .max = 30, .initial = 24, AT(cidr) },
	[CONFIG_TAP_POOL_SIZE] = {
		.row = { "tap_pool_size", "an integer, 0 to 64", "4",
			 "idle TAP devices kept ready", NULL },
		.type = VALUE_NUMBER, .max = 64, .initial = 4, AT(tap_pool_size) },
	[CONFIG_DEFAULT_DNS] = {
		.row = { "default_dns", "an IPv4 or IPv6 address", "\"1.1.1.1\"",
			 "what guests resolve names with when NAT is on", NULL },
		.type = VALUE_ADDRESS, .initial_text = "1.1.1.1", AT(default_dns) },
	[CONFIG_DNS_LISTEN] = {
		.row = { "dns_listen", "ADDRESS:PORT", "\"127.0.0.1:42069\"",
			 "where the daemon answers for NAME.vm: a loopback address, or bridge_ip", NULL },
		.type = VALUE_LISTEN, .initial_text = "127.0.0.1:42069", AT(dns_listen) },
	[CONFIG_TEMPLATES] = {
		.row = { "templates", "a boolean", "true",
			 "start VMs from snapshots of booted ones", NULL },
		.type = VALUE_BOOL, .initial = true, AT(templates) },
	[CONFIG_TEMPLATE_CACHE_SIZE] = {
		.row = { "template_cache_size", "a size, up to 16TiB", "\"8GiB\"",
			 "what those snapshots may occupy; the one used last stays", NULL },
		.type = VALUE_SIZE, .max = 16 * TIB, .initial = 8 * GIB, AT(template_cache_bytes) },
	[CONFIG_LIMIT_LAYER_BYTES] = {
		.row = { "limits.layer_bytes", "a size, 1MiB to 16TiB", "\"64GiB\"",
			 "one layer of an image, unpacked", NULL },
		.type = VALUE_SIZE, .min = MIB, .max = 16 * TIB, .initial = 64 * GIB,
		AT(limit_layer_bytes) },
	[CONFIG_LIMIT_IMAGE_BYTES] = {
		.row = { "limits.image_bytes", "a size, 1MiB to 16TiB", "\"128GiB\"",
			 "all files of an image together", NULL },
		.type = VALUE_SIZE, .min = MIB, .max = 16 * TIB, .initial = 128 * GIB,
		AT(limit_image_bytes) },
	[CONFIG_LIMIT_ENTRIES] = {
		.row = { "limits.entries", "an integer, 1000 to 16000000", "5000000",
			 "files, folders and links of an image", NULL },
		.type = VALUE_NUMBER, .min = 1000, .max = 16000000, .initial = 5000000,
		AT(limit_entries) },
	[CONFIG_LIMIT_LAYERS] = {
		.row = { "limits.layers", "an integer, 1 to 1000", "128", "layers of an image", NULL },
		.type = VALUE_NUMBER, .min = 1, .max = 1000, .initial = 128, AT(limit_layers) },
	[CONFIG_LIMIT_NAME_BYTES] = {
		.row = { "limits.name_bytes", "a size, 1MiB to 2GiB", "\"1GiB\"",
			 "all names and symbolic links of an image together", NULL },
		.type = VALUE_SIZE, .min = MIB, .max = 2 * GIB, .initial = GIB, AT(limit_name_bytes) },
	[CONFIG_LIMIT_XATTR_BYTES] = {
		.row = { "limits.xattr_bytes", "a size, 1MiB to 16GiB", "\"256MiB\"",
			 "all extended attributes of an image together; the same ones count once", NULL },
		.type = VALUE_SIZE, .min = MIB, .max = 16 * GIB, .initial = 256 * MIB,
		AT(limit_xattr_bytes) },
	[CONFIG_LIMIT_WORKER_MEMORY] = {
		.row = { "limits.worker_memory", "a size, 256MiB to 1TiB", "\"4GiB\"",
			 "address space of each process that unpacks a layer or writes an image", NULL },
		.type = VALUE_SIZE, .min = 256 * MIB, .max = TIB, .initial = 4 * GIB,
		AT(limit_worker_memory_bytes) },
	[CONFIG_LIMIT_WORKER_CPU] = {
		.row = { "limits.worker_cpu", "a duration, 1s to 7d", "\"1h\"",
			 "processor time of each such process, in whole seconds", NULL },
		.type = VALUE_DURATION, .min = SECOND, .max = 7 * DAY, .initial = HOUR,
		AT(limit_worker_cpu_ms) },
	[CONFIG_LIMIT_WORKER_STALL] = {
		.row = { "limits.worker_stall", "a duration, 1s to 1d", "\"10m\"",
			 "how long such a process may do nothing before it is ended", NULL },
		.type = VALUE_DURATION, .min = SECOND, .max = DAY, .initial = 600 * SECOND,
		AT(limit_worker_stall_ms) },
	[CONFIG_DEFAULT_VCPU] = {
		.row = { "vm_defaults.vcpu", "an integer, 1 to 32", "(from the host: CPUs / 4, 1 to 4)",
			 "virtual CPUs of a VM", NULL },
		.type = VALUE_NUMBER, .min = 1, .max = LIMIT_VCPUS, AT(default_vcpu) },
	[CONFIG_DEFAULT_MEMORY_MIB] = {
		.row = { "vm_defaults.memory_mib", "an integer, 128 to 1048576",
			 "(from the host: memory / 8, 512 to 8192)", "memory of a VM", NULL },
		.type = VALUE_NUMBER, .min = LIMIT_MEMORY_MIN_MIB, .max = (uint64_t)LIMIT_MEMORY_MAX_MIB,
		AT(default_memory_mib) },
	[CONFIG_DEFAULT_DISK_SIZE] = {
		.row = { "vm_defaults.disk_size", "a size, 64MiB to 16TiB", "(8GiB)",
			 "a VM's work disk, /root", NULL },
		.type = VALUE_SIZE, .min = LIMIT_DISK_MIN_BYTES, .max = LIMIT_DISK_MAX_BYTES,
		.multiple = 4096, AT(default_disk_bytes) },
	[CONFIG_DEFAULT_SYSTEM_OVERLAY_SIZE] = {
		.row = { "vm_defaults.system_overlay_size", "a size, 64MiB to 16TiB", "(8GiB)",
			 "a VM's root file system; the image's size where that is larger", NULL },
		.type = VALUE_SIZE, .min = LIMIT_DISK_MIN_BYTES, .max = LIMIT_DISK_MAX_BYTES,
		.multiple = 4096, AT(default_system_overlay_bytes) },
};

static const struct config_key_row list_rows[] = {
	{ "file_sync.host", "a path, absolute or below ~/", "(required)",
	  "the file or folder in your home that is copied into each guest when it starts", NULL },
	{ "file_sync.guest", "a path below ~/ or /root/", "(required)", "where it goes in the guest",
	  NULL },
	{ "file_sync.mode", "three or four octal digits, up to \"0777\"", "\"0600\"",
	  "the mode of a single file; files in a folder keep theirs", NULL },
	{ "registry.host", "HOST or HOST:PORT", "(required)", "the registry that the entry is about",
	  NULL },
	{ "registry.mirror", "http or https URL", "(none)", "asked before the registry itself", NULL },
	{ "registry.ca", "a path, absolute or below ~/", "(none)",
	  "certificates (PEM) that are trusted beside the system's", NULL },
	{ "registry.insecure", "a boolean", "false", "plain HTTP or an unverified certificate will do (of the mirror, if there is one)",
	  NULL },
};
/* clang-format on */

const struct config_key_row *config_key_row(enum config_key key)
{
	return &config_keys[key].row;
}

const struct config_key_row *config_list_rows(size_t *ret_count)
{
	*ret_count = ARRAY_LEN(list_rows);
	return list_rows;
}

bool config_type_is_text(enum config_value_type type)
{
	return type >= VALUE_PROGRAM;
}

void config_each_without_effect(const struct config *config,
				void (*visit)(void *context, const struct config_key_row *row),
				void *context)
{
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
		if (config->is_set[i] && config_keys[i].row.without_effect)
			visit(context, &config_keys[i].row);
}
