/* The configuration: every key, every mistake with its place, files that are not what they should
 * be. */
#include "check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "config/config.h"

#define GIB	    (1ULL << 30)
#define TEST_FOLDER "/tmp/banger-test-config-XXXXXX"

static const struct vm_defaults no_defaults;

static void test_defaults(void **state)
{
	struct err err = ERR_INIT;
	AUTO_CONFIG config;

	(void)state;
	CHECK_INT(config_parse("c", span_str(""), &config, &err), 0);
	assert_true(config.is_present);
	CHECK_INT(config.log_level, LOG_LEVEL_INFO);
	CHECK_INT(config.vmm, CONFIG_VMM_AUTO);
	assert_null(config.firecracker_bin);
	assert_null(config.ssh_key_path);
	assert_true(config.jailer_enabled && config.templates);
	CHECK_STR(config.default_image_name, "debian-bookworm");
	CHECK_INT(config.auto_stop_stale_after_ms, 0);
	CHECK_INT(config.stats_poll_interval_ms, 10000);
	CHECK_INT(config.network, CONFIG_NETWORK_AUTO);
	CHECK_STR(config.bridge_ip, "172.16.0.1");
	CHECK_INT(config.bridge_address, 0xac100001);
	CHECK_INT(config.cidr, 24);
	CHECK_INT(config.tap_pool_size, 4);
	CHECK_INT(config.template_cache_bytes, 8 * GIB);
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
		CHECK_ROW(i, !config.is_set[i]);
}

static void test_every_key(void **state)
{
	static const char text[] =
		"\xef\xbb\xbf# with a BOM and CRLF\r\n"
		"log_level = \"debug\"\r\nvmm = 'qemu'\r\nfirecracker_bin = \"/opt/fc\"\n"
		"jailer_bin = \"/opt/jailer\"\nqemu_bin = \"/opt/qemu\"\njailer_enabled = false\n"
		"ssh_key_path = \"~/.ssh/id\"\ndefault_image_name = \"alpine\"\n"
		"auto_stop_stale_after = \"1h30m\"\nstats_poll_interval = \"1s\"\n"
		"network = \"none\"\nbridge_name = \"br-fc-0\"\nbridge_ip = \"10.9.8.6\"\n"
		"cidr = 30\ntap_pool_size = 0\ndefault_dns = \"::1\"\ndns_listen = \"[::1]:53\"\n"
		"templates = false\ntemplate_cache_size = 0\n"
		"limits.layer_bytes = \"1MiB\"\nlimits.image_bytes = 1048576\n"
		"limits.entries = 0x3e8\nlimits.layers = 1000\nlimits.name_bytes = \"2GiB\"\n"
		"limits.xattr_bytes = 1048576\nlimits.worker_memory = \"256MiB\"\n"
		"limits.worker_cpu = \"1s\"\nlimits.worker_stall = \"1d\"\n"
		"[vm_defaults]\nvcpu = 32\nmemory_mib = 128\ndisk_size = \"1.5G\"\n"
		"system_overlay_size = \"64MiB\"\n"
		"[[file_sync]]\nhost = \"~/a\"\nguest = \"/root/a\"\n"
		"[[file_sync]]\nhost = \"/etc/b\"\nguest = \"~/b\"\nmode = \"755\"\n"
		"[[registry]]\nhost = \"127.0.0.1:5000\"\ninsecure = true\n"
		"[[registry]]\nhost = \"ghcr.io\"\nmirror = \"https://mirror.example/x\"\n"
		"ca = \"~/ca.pem\"\n";
	struct err err = ERR_INIT;
	AUTO_CONFIG config;

	(void)state;
	if (config_parse("c", span_str(text), &config, &err) < 0)
		fail_msg("%s", err.message);
	CHECK_INT(config.log_level, LOG_LEVEL_DEBUG);
	CHECK_INT(config.vmm, CONFIG_VMM_QEMU);
	CHECK_STR(config.firecracker_bin, "/opt/fc");
	CHECK_STR(config.jailer_bin, "/opt/jailer");
	CHECK_STR(config.qemu_bin, "/opt/qemu");
	assert_false(config.jailer_enabled || config.templates);
	CHECK_STR(config.ssh_key_path, "~/.ssh/id");
	CHECK_STR(config.default_image_name, "alpine");
	CHECK_INT(config.auto_stop_stale_after_ms, 5400000);
	CHECK_INT(config.stats_poll_interval_ms, 1000);
	CHECK_INT(config.network, CONFIG_NETWORK_NONE);
	CHECK_STR(config.bridge_name, "br-fc-0");
	CHECK_INT(config.bridge_address, 0x0a090806);
	CHECK_INT(config.cidr, 30);
	CHECK_INT(config.tap_pool_size, 0);
	CHECK_STR(config.default_dns, "::1");
	CHECK_STR(config.dns_listen, "[::1]:53");
	CHECK_INT(config.template_cache_bytes, 0);
	CHECK_INT(config.limit_layer_bytes, 1 << 20);
	CHECK_INT(config.limit_image_bytes, 1 << 20);
	CHECK_INT(config.limit_entries, 1000);
	CHECK_INT(config.limit_layers, 1000);
	CHECK_INT(config.limit_name_bytes, 2 * GIB);
	CHECK_INT(config.limit_xattr_bytes, 1 << 20);
	CHECK_INT(config.limit_worker_memory_bytes, 256 << 20);
	CHECK_INT(config.limit_worker_cpu_ms, 1000);
	CHECK_INT(config.limit_worker_stall_ms, 86400000);
	CHECK_INT(config.default_vcpu, 32);
	CHECK_INT(config.default_memory_mib, 128);
	CHECK_INT(config.default_disk_bytes, 3 * GIB / 2);
	CHECK_INT(config.default_system_overlay_bytes, 64 << 20);
	CHECK_INT(config.file_sync_count, 2);
	CHECK_STR(config.file_sync[0].host, "~/a");
	CHECK_INT(config.file_sync[0].mode, 0600);
	CHECK_STR(config.file_sync[1].guest, "~/b");
	CHECK_INT(config.file_sync[1].mode, 0755);
	CHECK_INT(config.registry_count, 2);
	assert_true(config.registries[0].insecure);
	assert_null(config.registries[0].mirror);
	CHECK_STR(config.registries[1].mirror, "https://mirror.example/x");
	assert_null(config.registries[0].ca_file);
	CHECK_STR(config.registries[1].ca_file, "~/ca.pem");
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
		CHECK_ROW(i, config.is_set[i] && config.position[i].line > 1);
}

static void test_mistakes(void **state)
{
	static const struct {
		const char *text;
		const char *message;
	} rows[] = {
		/* TOML itself */
		{ "vmm = ", "c:1:7: " },
		{ "\n\n  vmm == 1\n", "c:3:" },
		{ "vmm = \"qemu\"\nvmm = \"auto\"\n", "c:2:" },
		{ "[limits]\n[limits]\n", "c:2:" },
		{ "vmm = \"\x01\"\n", "c:1:8: " },
		{ "vmm = \"\xff\"\n", "invalid utf-8" },
		{ "vmm = \"a\\u0000b\"\n", "c:1:1: a text with a NUL character" },
		{ "\"a\\u0000b\" = 1\n", "NUL character" },
		{ "cidr = 9223372036854775808\n", "c:1:" },
		{ "\n [[=", "c:2:2: '[[' must be followed by a key" },
		{ "[[ {", "c:1:1: '[[' must be followed by a key" },
		{ "[[", "c:1:" },
		{ "[[]]", "c:1:" },
		{ "vmm = 5\xc3\xa9\n", "c:1:" },
		{ "vmm = \"\"\"\\\n\xc3\xa9\"\"\"\n", "c:1:7: vmm is '\xc3\xa9'" },
		{ "a = [\n[[=", "c:2:3: " },
		/* unknown keys */
		{ "vmmm = \"qemu\"\n", "c:1:1: unknown key 'vmmm': did you mean 'vmm'?" },
		{ "[limits]\n  entires = 5\n",
		  "c:2:3: unknown key 'limits.entires': did you mean 'limits.entries'?" },
		{ "memory_mib = 512\n",
		  "c:1:1: unknown key 'memory_mib': did you mean 'vm_defaults.memory_mib'?" },
		{ "ports = [0, 65536]\n", "c:1:1: unknown key 'ports'" },
		{ "[limit]\nx = 1\n", "c:1:2: unknown key 'limit': did you mean 'limits'?" },
		{ "zzzzzzzz = 1\n", "c:1:1: unknown key 'zzzzzzzz'" },
		{ "\"\" = 1\n", "c:1:1: unknown key ''" },
		{ "\"\\u001b[2J\" = 1\n", "c:1:1: unknown key '\\x1b[2J'" },
		/* types */
		{ "vmm = 1\n", "c:1:7: 'vmm' must be a string, not an integer" },
		{ "cidr = \"24\"\n", "c:1:8: 'cidr' must be an integer, not a string" },
		{ "cidr = 24.0\n", "'cidr' must be an integer, not a floating-point number" },
		{ "cidr = inf\n", "'cidr' must be an integer, not a floating-point number" },
		{ "cidr = nan\n", "'cidr' must be an integer, not a floating-point number" },
		{ "cidr = 1979-05-27\n", "'cidr' must be an integer, not a date or time" },
		{ "templates = \"yes\"\n", "'templates' must be a boolean, not a string" },
		{ "templates = 1\n", "'templates' must be a boolean, not an integer" },
		{ "limits = 1\n", "'limits' must be a table, not an integer" },
		{ "[[limits]]\n", "'limits' must be a table, not an array" },
		{ "network = [\"auto\"]\n", "'network' must be a string, not an array" },
		{ "stats_poll_interval = 10\n", "must be a string, not an integer" },
		{ "template_cache_size = true\n", "must be a string, not a boolean" },
		{ "file_sync = 1\n",
		  "c:1:1: 'file_sync' must be an array of tables: [[file_sync]]" },
		{ "registry = [1]\n",
		  "c:1:13: 'registry' must be an array of tables: [[registry]]" },
		/* values */
		{ "vmm = \"kvm\"\n",
		  "c:1:7: vmm is 'kvm': it must be \"auto\", \"firecracker\" or \"qemu\"" },
		{ "log_level = \"INFO\"\n", "log_level is 'INFO': it must be " },
		{ "cidr = 33\n", "c:1:8: cidr is 33: it must be an integer, 8 to 30" },
		{ "cidr = -1\n", "cidr is -1: it must be " },
		{ "cidr = 9223372036854775807\n", "cidr is 9223372036854775807: it must be " },
		{ "tap_pool_size = 65\n", "tap_pool_size is 65" },
		{ "template_cache_size = -1\n", "template_cache_size is -1" },
		{ "template_cache_size = \"-1\"\n", "it must be a size such as \"8GiB\"" },
		{ "template_cache_size = \"17TiB\"\n",
		  "is '17TiB': it must be a size, up to 16TiB" },
		{ "vm_defaults.disk_size = 8\n", "vm_defaults.disk_size is 8: it must be " },
		{ "vm_defaults.disk_size = \"67108865\"\n", "is '67108865': it must be " },
		{ "vm_defaults.vcpu = 0\n",
		  "vm_defaults.vcpu is 0: it must be an integer, 1 to 32" },
		{ "vm_defaults.memory_mib = 127\n",
		  "is 127: it must be an integer, 128 to 1048576" },
		{ "stats_poll_interval = \"500ms\"\n",
		  "is '500ms': it must be a duration, 1s to 1h" },
		{ "stats_poll_interval = \"10\"\n", "it must be a duration such as" },
		{ "qemu_bin = \"qemu\"\n", "qemu_bin is 'qemu': it must be an absolute path" },
		{ "qemu_bin = \"/a\\nb\"\n", "qemu_bin is '/a\\x0ab'" },
		{ "ssh_key_path = \"key\"\n", "ssh_key_path is 'key'" },
		{ "default_image_name = \"../x\"\n", "is '../x': it must be an image name" },
		{ "default_image_name = \"\"\n", "is '': it must be an image name" },
		{ "bridge_name = \"br0\"\n", "bridge_name is 'br0'" },
		{ "bridge_name = \"br-fc-0123456789\"\n", "bridge_name is 'br-fc-0123456789'" },
		{ "bridge_name = \"br-fc-\"\n", "bridge_name is 'br-fc-'" },
		{ "bridge_name = \"br-fc-a/b\"\n", "bridge_name is 'br-fc-a/b'" },
		{ "bridge_ip = \"172.16.0\"\n", "bridge_ip is '172.16.0'" },
		{ "bridge_ip = \"172.16.0.0\"\n",
		  "c:1:1: bridge_ip 172.16.0.0/24 is the first address of its network" },
		{ "bridge_ip = \"172.16.0.255\"\n", "is the last address of its network" },
		{ "\ncidr = 30\nbridge_ip = \"10.0.0.3\"\n",
		  "c:3:1: bridge_ip 10.0.0.3/30 is the last" },
		{ "bridge_ip = \"127.0.0.1\"\n",
		  "is no address that a network interface can have" },
		{ "bridge_ip = \"224.0.0.1\"\n",
		  "is no address that a network interface can have" },
		{ "default_dns = \"dns\"\n", "default_dns is 'dns'" },
		{ "dns_listen = \"127.0.0.1\"\n", "dns_listen is '127.0.0.1'" },
		{ "dns_listen = \"127.0.0.1:0\"\n", "dns_listen is " },
		{ "dns_listen = \"0.0.0.0:53\"\n",
		  "it must be a loopback address or bridge_ip (172.16.0.1)" },
		{ "dns_listen = \"[::]:53\"\n", "it must be a loopback address" },
		{ "dns_listen = \"172.16.0.2:53\"\n", "it must be a loopback address" },
		{ "dns_listen = \"[::2]:53\"\n", "dns_listen is '[::2]:53'" },
		{ "dns_listen = \"127.0.0.1:65536\"\n", "dns_listen is " },
		{ "dns_listen = \"::1:53\"\n", "dns_listen is " },
		{ "limits.entries = 999\n", "limits.entries is 999" },
		{ "limits.layers = 0\n", "limits.layers is 0" },
		{ "limits.layers = 1001\n", "limits.layers is 1001" },
		{ "limits.name_bytes = \"3GiB\"\n", "limits.name_bytes is '3GiB'" },
		{ "limits.xattr_bytes = 1048575\n", "limits.xattr_bytes is 1048575" },
		{ "limits.worker_memory = \"255MiB\"\n", "limits.worker_memory is '255MiB'" },
		{ "limits.worker_cpu = \"999ms\"\n", "limits.worker_cpu is '999ms'" },
		{ "limits.worker_stall = \"0\"\n", "limits.worker_stall is '0'" },
		/* lists */
		{ "[[file_sync]]\nhost = \"~/a\"\n", "c:1:1: the entry lacks 'guest'" },
		{ "[[file_sync]]\nhost = \"a\"\nguest = \"~/a\"\n", "c:2:8: host is 'a'" },
		{ "[[file_sync]]\nhost = \"~/../a\"\nguest = \"~/a\"\n", "without '..'" },
		{ "[[file_sync]]\nhost = \"~/a\"\nguest = \"/etc/a\"\n", "guest is '/etc/a'" },
		{ "[[file_sync]]\nhost = \"~/a\"\nguest = \"/root/..\"\n", "guest is '/root/..'" },
		{ "[[file_sync]]\nhost = \"~/a\"\nguest = \"~/\"\n",
		  "c:3:9: guest is '~/': it must name something below the home" },
		{ "[[file_sync]]\nhost = \"~/a\"\nguest = \"/root//.//\"\n",
		  "it must name something below the home" },
		{ "[[file_sync]]\nhost = \"~/a\"\nguest = \"~/a\"\nmode = \"4755\"\n",
		  "mode is '4755'" },
		{ "[[file_sync]]\nhost = \"~/a\"\nguest = \"~/a\"\nmode = 0o600\n",
		  "'mode' must be a string" },
		{ "[[file_sync]]\nhots = \"~/a\"\n",
		  "c:2:1: unknown key 'file_sync.hots': did you mean 'file_sync.host'?" },
		{ "[[registry]]\nhost = \"a/b\"\n", "host is 'a/b'" },
		{ "[[registry]]\nhost = \":5000\"\n", "host is ':5000'" },
		{ "[[registry]]\nhost = \"a\"\nmirror = \"ftp://x\"\n", "mirror is 'ftp://x'" },
		{ "[[registry]]\nhost = \"a\"\nmirror = \"https://u:p@x\"\n", "without a user" },
		{ "[[registry]]\nhost = \"a\"\nca = \"ca.pem\"\n", "ca is 'ca.pem'" },
		{ "[[registry]]\nhost = \"a\"\n[[registry]]\nhost = \"a\"\n",
		  "c:3:1: registry 'a' has an entry already" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		struct config config = { .cidr = 77 };

		if (config_parse("c", span_str(rows[i].text), &config, &err) == 0) {
			print_error("row %zu was accepted: %s\n", i, rows[i].text);
			fail();
		}
		CHECK_INT(err.kind, ERR_INVALID);
		CHECK_HAS(err.message, rows[i].message);
		assert_true(str_starts(err.message, "c:"));
		CHECK_ROW(i, config.cidr == 77);
	}
}

static void refuse(const struct buf *text, const char *wanted)
{
	struct err err = ERR_INIT;
	struct config config;

	assert_true(config_parse("c", buf_span(text), &config, &err) < 0);
	CHECK_INT(err.kind, ERR_INVALID);
	CHECK_HAS(err.message, wanted);
}

static void repeat(struct buf *text, const char *piece, size_t count)
{
	for (size_t i = 0; i < count; i++)
		buf_add_str(text, piece);
}

static void test_depth(void **state)
{
	static const struct {
		const char *before;
		const char *piece;
		size_t count;
		const char *wanted;
	} rows[] = {
		{ "a = ", "[", 10000, "c:1:37: brackets are nested too deeply" },
		{ "a = ", "[", 500000, "brackets are nested too deeply" },
		{ "a = ", "{a=", 10000, "brackets are nested too deeply" },
		{ "a", ".a", 500000, "a dotted key has too many parts" },
		{ "[a", ".a", 500000, "a dotted key has too many parts" },
		{ "[[a", " . 'a.b'", 10000, "a dotted key has too many parts" },
		{ "x = \"\"\"\n\\\"\"\"\"\"\na", ".a", 10000, "a dotted key has too many parts" },
		{ "x = '''\n''''' # it's\na", ".a", 10000, "a dotted key has too many parts" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF text = BUF_INIT;

		buf_add_str(&text, rows[i].before);
		repeat(&text, rows[i].piece, rows[i].count);
		refuse(&text, rows[i].wanted);
	}
	{
		/* As deep as allowed: what is wrong then is the key. */
		AUTO_BUF text = BUF_INIT;

		buf_add_str(&text, "a = ");
		repeat(&text, "[", CONFIG_DEPTH_MAX);
		repeat(&text, "]", CONFIG_DEPTH_MAX);
		refuse(&text, "unknown key 'a'");
		buf_clear(&text);
		buf_add_str(&text, "a");
		repeat(&text, ".a", CONFIG_DEPTH_MAX - 1);
		buf_add_str(&text, " = 1");
		refuse(&text, "unknown key 'a'");
	}
	{
		/* Brackets and dots in texts and comments are no depth. */
		struct err err = ERR_INIT;
		AUTO_BUF text = BUF_INIT;
		AUTO_CONFIG config;

		buf_add_str(&text, "# ");
		repeat(&text, "[.", 1000);
		buf_add_str(&text, "\nqemu_bin = \"/");
		repeat(&text, "[.", 1000);
		buf_add_str(&text, "\"\njailer_bin = '''/");
		repeat(&text, "[.", 1000);
		buf_add_str(&text, "'''\n");
		CHECK_INT(config_parse("c", buf_span(&text), &config, &err), 0);
	}
}

static void test_sizes(void **state)
{
	struct err err = ERR_INIT;
	AUTO_BUF text = BUF_INIT;
	AUTO_CONFIG config;

	(void)state;
	repeat(&text, "#", CONFIG_FILE_BYTES_MAX);
	CHECK_INT(config_parse("c", buf_span(&text), &config, &err), 0);
	buf_add_str(&text, "#");
	refuse(&text, "c: it is larger than 1048576 bytes");

	buf_clear(&text);
	for (int i = 0; i < CONFIG_LIST_MAX; i++)
		buf_addf(&text, "[[registry]]\nhost = \"h%d\"\n", i);
	{
		AUTO_CONFIG full;

		CHECK_INT(config_parse("c", buf_span(&text), &full, &err), 0);
		CHECK_INT(full.registry_count, CONFIG_LIST_MAX);
	}
	buf_add_str(&text, "[[registry]]\nhost = \"one-more\"\n");
	refuse(&text, "'registry' has 257 entries: at most 256 are allowed");

	buf_clear(&text);
	buf_add(&text, span_of("vmm = \"qemu\"\n\0", 14));
	refuse(&text, "c:2:");
}

/* Every default that the table words as TOML is the value that holds without the key. */
static void test_table_defaults(void **state)
{
	struct err err = ERR_INIT;
	AUTO_BUF text = BUF_INIT;
	AUTO_CONFIG plain;
	AUTO_CONFIG spelled;

	(void)state;
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
		const struct config_key_row *row = config_key_row((enum config_key)i);

		assert_true(row->name && row->type && row->default_text && row->meaning);
		if (row->default_text[0] != '(')
			buf_addf(&text, "%s = %s\n", row->name, row->default_text);
	}
	config_init(&plain);
	if (config_parse("c", buf_span(&text), &spelled, &err) < 0)
		fail_msg("%s", err.message);

	AUTO_JSON *before = config_to_json(&plain);
	AUTO_JSON *after = config_to_json(&spelled);

	CHECK_INT(json_object_size(before), CONFIG_KEY_COUNT + 2);
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
		const char *name = config_key_row((enum config_key)i)->name;
		const bool is_spelled = config_key_row((enum config_key)i)->default_text[0] != '(';
		const json_t *a = json_object_get(before, name);
		const json_t *b = json_object_get(after, name);

		CHECK_ROW(i, json_equal(json_object_get(a, "value"), json_object_get(b, "value")));
		CHECK_STR(json_get_str(a, "source"), "default");
		CHECK_STR(json_get_str(b, "source"), is_spelled ? "config" : "default");
	}
}

/* The document with the table of keys between its two marks as it should be. */
static void put_table(const char *document, struct buf *out)
{
	const char *start = strstr(document, "<!-- keys: ");
	const char *end = strstr(document, "<!-- end of keys -->");

	assert_true(start && end && start < end);
	start = strchr(start, '\n') + 1;
	buf_add(out, span_of(document, (size_t)(start - document)));
	config_document(out);
	buf_add_str(out, end);
}

/* BANGER_UPDATE_GOLDEN=1 writes the table into the document instead of comparing. */
static void test_document(void **state)
{
	AUTO_BUF wanted = BUF_INIT;
	AUTO_BUF have = BUF_INIT;

	(void)state;
	CHECK_INT(file_read(AT_FDCWD, CONFIGURATION_MD, 1 << 20, &have), 0);
	put_table(have.ptr, &wanted);
	if (getenv("BANGER_UPDATE_GOLDEN")) {
		AUTO_CLOSE int fd = open(CONFIGURATION_MD, O_WRONLY | O_TRUNC | O_CLOEXEC);

		assert_true(fd >= 0);
		CHECK_INT(fd_write_all(fd, buf_span(&wanted)), 0);
		return;
	}
	if (!str_eq(have.ptr, wanted.ptr))
		fail_msg("docs/configuration.md is behind the table of keys: run this test with "
			 "BANGER_UPDATE_GOLDEN=1");
}

/* Text for mdoc: a line does not begin with a control character, and a backslash is written so. */
static void put_mdoc(const char *text, struct buf *out)
{
	if (text[0] == '.' || text[0] == '\'')
		buf_add_str(out, "\\&");
	for (; *text; text++)
		buf_addf(out, *text == '\\' ? "\\e" : "%c", *text);
}

static void put_man_row(const struct config_key_row *row, struct buf *out)
{
	AUTO_BUF meaning = BUF_INIT;

	put_mdoc(row->meaning, &meaning);
	if (meaning.ptr[0] >= 'a' && meaning.ptr[0] <= 'z')
		meaning.ptr[0] = (char)(meaning.ptr[0] - 'a' + 'A');
	buf_addf(out, ".It Ic %s\n%s", row->name, meaning.ptr);
	buf_add_str(out, ".\nIt is ");
	put_mdoc(row->type, out);
	buf_add_str(out, "; default: ");
	put_mdoc(row->default_text, out);
	buf_add_str(out, ".\n");
	if (row->without_effect) {
		buf_add_str(out, "Without effect yet: ");
		put_mdoc(row->without_effect, out);
		buf_add_str(out, ".\n");
	}
}

/* The man page's keys, between its two marks, as they should be. */
static void put_man_keys(const char *page, struct buf *out)
{
	const char *start = strstr(page, ".\\\" keys: ");
	const char *end = strstr(page, ".\\\" end of keys");
	const struct config_key_row *rows;
	size_t count;

	assert_true(start && end && start < end);
	start = strchr(start, '\n') + 1;
	buf_add(out, span_of(page, (size_t)(start - page)));
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
		put_man_row(config_key_row((enum config_key)i), out);
	rows = config_list_rows(&count);
	for (size_t i = 0; i < count; i++)
		put_man_row(&rows[i], out);
	buf_add_str(out, end);
}

static void test_man_page(void **state)
{
	AUTO_BUF wanted = BUF_INIT;
	AUTO_BUF have = BUF_INIT;

	(void)state;
	CHECK_INT(file_read(AT_FDCWD, CONFIGURATION_MAN, 1 << 20, &have), 0);
	put_man_keys(have.ptr, &wanted);
	if (getenv("BANGER_UPDATE_GOLDEN")) {
		AUTO_CLOSE int fd = open(CONFIGURATION_MAN, O_WRONLY | O_TRUNC | O_CLOEXEC);

		assert_true(fd >= 0);
		CHECK_INT(fd_write_all(fd, buf_span(&wanted)), 0);
		return;
	}
	if (!str_eq(have.ptr, wanted.ptr))
		fail_msg("man/banger-config.5 is behind the table of keys: run this test with "
			 "BANGER_UPDATE_GOLDEN=1");
}

static void count_row(void *context, const struct config_key_row *row)
{
	size_t *count = context;

	assert_non_null(row->without_effect);
	(*count)++;
}

static void test_without_effect(void **state)
{
	static const char text[] = "vmm = \"qemu\"\njailer_enabled = false\nnetwork = \"none\"\n";
	struct err err = ERR_INIT;
	AUTO_CONFIG config;
	size_t count = 0;

	(void)state;
	CHECK_INT(config_parse("c", span_str(text), &config, &err), 0);
	config_each_without_effect(&config, count_row, &count);
	CHECK_INT(count, 1); /* no network is what it says */
}

static void test_vm_defaults(void **state)
{
	static const struct {
		struct spec_host host;
		uint32_t vcpu;
		uint64_t memory_mib;
		const char *vcpu_source;
		const char *memory_source;
	} rows[] = {
		{ { 0, 0 },
		  1,
		  512,
		  "host: 0 CPUs / 4, at least 1",
		  "host: 0 B / 8, at least 512 MiB" },
		{ { 1, GIB },
		  1,
		  512,
		  "host: 1 CPU / 4, at least 1",
		  "host: 1 GiB / 8, at least 512 MiB" },
		{ { 4, 8 * GIB }, 1, 1024, "host: 4 CPUs / 4", "host: 8 GiB / 8" },
		{ { 8, 24 * GIB }, 2, 3072, "host: 8 CPUs / 4", "host: 24 GiB / 8" },
		{ { 16, 64 * GIB }, 4, 8192, "host: 16 CPUs / 4", "host: 64 GiB / 8" },
		{ { 128, 512 * GIB },
		  4,
		  8192,
		  "host: 128 CPUs / 4, at most 4",
		  "host: 512 GiB / 8, at most 8 GiB" },
	};
	struct err err = ERR_INIT;
	struct vm_defaults got = no_defaults;
	struct spec_host host;
	AUTO_CONFIG plain;
	AUTO_CONFIG set;

	(void)state;
	config_init(&plain);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		config_vm_defaults(&plain, &rows[i].host, &got);
		CHECK_INT(got.vcpu, rows[i].vcpu);
		CHECK_INT(got.memory_bytes, rows[i].memory_mib << 20);
		CHECK_INT(got.disk_bytes, 8 * GIB);
		CHECK_INT(got.system_overlay_bytes, 8 * GIB);
		CHECK_STR(got.vcpu_source, rows[i].vcpu_source);
		CHECK_STR(got.memory_source, rows[i].memory_source);
		CHECK_STR(got.disk_source, "built in");
	}

	CHECK_INT(config_parse("c",
			       span_str("[vm_defaults]\nvcpu = 3\nmemory_mib = 300\n"
					"disk_size = \"1G\"\nsystem_overlay_size = \"2G\"\n"),
			       &set, &err),
		  0);
	config_vm_defaults(&set, &rows[5].host, &got);
	CHECK_INT(got.vcpu, 3);
	CHECK_INT(got.memory_bytes, 300 << 20);
	CHECK_INT(got.disk_bytes, GIB);
	CHECK_INT(got.system_overlay_bytes, 2 * GIB);
	CHECK_STR(got.vcpu_source, "config");
	CHECK_STR(got.system_overlay_source, "config");

	config_read_host(&host);
	assert_true(host.cpus >= 1 && host.memory_bytes > 0);
}

static void test_routes(void **state)
{
	static const char head[] = "Iface\tDestination\tGateway "
				   "\tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
	static const struct {
		const char *config;
		const char *table;
		const char *message; /* NULL: no conflict */
	} rows[] = {
		{ "bridge_ip = \"10.1.2.3\"\n", "", NULL },
		/* the default route overlaps everything and says nothing */
		{ "bridge_ip = \"10.1.2.3\"\n",
		  "eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n", NULL },
		{ "bridge_ip = \"10.1.2.3\"\n",
		  "eth0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0  \n",
		  "c:1:1: the bridge's network 10.1.2.3/24 overlaps the host's route 10.0.0.0/8 on "
		  "eth0" },
		{ "bridge_ip = \"10.1.2.3\"\n",
		  "eth0\t4002010A\t00000000\t0001\t0\t0\t0\tC0FFFFFF\t0\t0\t0\n",
		  "overlaps the host's route 10.1.2.64/26 on eth0" },
		{ "bridge_ip = \"10.1.2.3\"\n",
		  "eth0\t0003010A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n", NULL },
		{ "\ncidr = 16\n",
		  "docker0\t000010AC\t00000000\t0001\t0\t0\t0\t0000F0FF\t0\t0\t0\n",
		  "c:2:1: the bridge's network 172.16.0.1/16 overlaps the host's route "
		  "172.16.0.0/12 on docker0" },
		/* the bridge itself, and a route that is down */
		{ "cidr = 16\n", "br-fc\t000010AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n",
		  NULL },
		{ "cidr = 16\n", "eth0\t000010AC\t00000000\t0000\t0\t0\t0\t0000FFFF\t0\t0\t0\n",
		  NULL },
		{ "cidr = 16\n", "eth0\tnonsense\n\n\t\t\neth0", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		AUTO_BUF table = BUF_INIT;
		AUTO_CONFIG config;

		CHECK_INT(config_parse("c", span_str(rows[i].config), &config, &err), 0);
		buf_add_str(&table, head);
		buf_add_str(&table, rows[i].table);
		CHECK_ROW(i, (config_check_routes(&config, buf_span(&table), &err) == 0) ==
				     !rows[i].message);
		if (rows[i].message)
			CHECK_HAS(err.message, rows[i].message);
	}
}

/* --- the file itself --- */

static int make_folder(void **state)
{
	char *folder = mem_strdup(TEST_FOLDER);

	assert_non_null(mkdtemp(folder));
	*state = folder;
	return 0;
}

static int remove_folder(void **state)
{
	const char *folder = *state;

	CHECK_INT(dir_remove_tree(AT_FDCWD, folder), 0);
	mem_free(*state);
	return 0;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	CHECK_INT(fd_write_all(fd, span_str(text)), 0);
	CHECK_INT(fchmod(fd, mode), 0);
}

static void test_load_good(void **state)
{
	AUTO_FREE char *path = mem_printf("%s/config.toml", (const char *)*state);
	AUTO_FREE char *link_path = mem_printf("%s/link.toml", (const char *)*state);
	struct err err = ERR_INIT;
	AUTO_CONFIG absent;
	AUTO_CONFIG present;

	CHECK_INT(config_load(path, &absent, &err), 0);
	assert_false(absent.is_present);
	CHECK_STR(absent.file, path);
	CHECK_INT(absent.bridge_address, 0xac100001);

	write_file(path, "vmm = \"qemu\"\nnetwork = \"none\"\ncidr = 8\n", 0644);
	CHECK_INT(symlink("config.toml", link_path), 0);
	CHECK_INT(config_load(link_path, &present, &err), 0);
	assert_true(present.is_present);
	CHECK_INT(present.vmm, CONFIG_VMM_QEMU);

	/* Read again when it has become wrong: the error is said, what was read before is
	 * untouched. */
	write_file(path, "vmm = \"qemu\nnetwork", 0644);
	assert_true(config_load(link_path, &present, &err) < 0);
	CHECK_HAS(err.message, "/link.toml:1:");
	CHECK_INT(present.vmm, CONFIG_VMM_QEMU);
}

static void test_load_bad(void **state)
{
	const char *folder = *state;
	AUTO_FREE char *path = mem_printf("%s/c", folder);
	struct config config;
	struct err err = ERR_INIT;

	CHECK_INT(mkfifo(path, 0600), 0);
	assert_true(config_load(path, &config, &err) < 0);
	CHECK_HAS(err.message, "/c: it must be a regular file");
	CHECK_INT(unlink(path), 0);

	assert_true(config_load(folder, &config, &err) < 0);
	CHECK_HAS(err.message, ": it must be a regular file");

	CHECK_INT(symlink("c", path), 0);
	assert_true(config_load(path, &config, &err) < 0);
	CHECK_HAS(err.message, "Too many levels of symbolic links");
	CHECK_INT(unlink(path), 0);

	CHECK_INT(symlink("nowhere", path), 0);
	assert_true(config_load(path, &config, &err) < 0);
	CHECK_HAS(err.message, "/c: it is a link that leads nowhere");
	CHECK_INT(unlink(path), 0);

	write_file(path, "", 0666);
	assert_true(config_load(path, &config, &err) < 0);
	CHECK_HAS(err.message, "/c: others may write it (mode 0666)");
	CHECK_HAS(err.hint, "chmod go-w");
	CHECK_INT(chmod(path, 0620), 0);
	assert_true(config_load(path, &config, &err) < 0);
	CHECK_HAS(err.message, "(mode 0620)");

	CHECK_INT(chmod(path, 0600), 0);
	CHECK_INT(truncate(path, 100 << 20), 0);
	assert_true(config_load(path, &config, &err) < 0);
	CHECK_HAS(err.message, "/c: it is larger than 1048576 bytes");
	CHECK_INT(truncate(path, 0), 0);

	/* Only root can give a file away, and only then is there one that is somebody else's. */
	if (geteuid() == 0) {
		CHECK_INT(chown(path, 12345, 12345), 0);
		assert_true(config_load(path, &config, &err) < 0);
		CHECK_HAS(err.message, "/c: it belongs to user 12345, not to you or root");
	}
	CHECK_INT(err.kind, ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_every_key),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_table_defaults),
		cmocka_unit_test(test_document),
		cmocka_unit_test(test_man_page),
		cmocka_unit_test(test_without_effect),
		cmocka_unit_test(test_vm_defaults),
		cmocka_unit_test(test_routes),
		cmocka_unit_test_setup_teardown(test_load_good, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_load_bad, make_folder, remove_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
