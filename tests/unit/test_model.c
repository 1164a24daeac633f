/* Names, specs, states and references: the rules of the model. */
#include "check.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "model/artifact.h"
#include "model/names.h"
#include "model/reference.h"
#include "model/spec.h"
#include "model/vm.h"

#define A63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A64 A63 "a"
#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

static void test_vm_names(void **state)
{
	static const struct {
		const char *name;
		bool good;
	} rows[] = {
		{ "a", true },	   { "7", true },	  { "a-b", true },   { "a--b", true },
		{ "0-0", true },   { A63, true },	  { "web1", true },  { "deadbeef", true },
		{ "", false },	   { A64, false },	  { "-x", false },   { "x-", false },
		{ "-", false },	   { "a..b", false },	  { "../x", false }, { "A", false },
		{ "x.vm", false }, { "\xc3\xa9", false }, { "a\nb", false }, { "a\x1b[2J", false },
		{ "a_b", false },  { "a b", false },	  { "a/b", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;

		CHECK_ROW(i, name_is_vm(rows[i].name) == rows[i].good);
		CHECK_ROW(i, (name_check_vm(rows[i].name, &err) == 0) == rows[i].good);
		CHECK_INT(err.kind, rows[i].good ? ERR_NONE : ERR_INVALID);
		if (rows[i].good)
			continue;
		CHECK_HAS(err.message, "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?");
		CHECK_ROW(i, strpbrk(err.message, "\n\x1b") == NULL);
	}
	assert_false(name_is_vm(NULL));
}

static void test_artifact_names(void **state)
{
	static const struct {
		const char *name;
		bool good;
	} rows[] = {
		{ "debian-bookworm", true },
		{ "Debian_12.1", true },
		{ "a..b", true },
		{ "-", true },
		{ A64 A64, true },
		{ A64 A64 "a", false },
		{ "", false },
		{ ".", false },
		{ "..", false },
		{ ".new-x", false },
		{ "a/b", false },
		{ "a b", false },
		{ "a\n", false },
		{ "\xff", false },
		{ "a:b", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err image = ERR_INIT, kernel = ERR_INIT;
		const bool good = rows[i].good;

		CHECK_ROW(i, name_is_artifact(rows[i].name) == good);
		CHECK_ROW(i, (name_check_image(rows[i].name, &image) == 0) == good);
		CHECK_ROW(i, (name_check_kernel(rows[i].name, &kernel) == 0) == good);
		if (good)
			continue;
		CHECK_HAS(image.message, "is no image name: it must be 1 to 128 letters");
		CHECK_HAS(kernel.message, "is no kernel name: it must be 1 to 128 letters");
	}
}

static void test_ids(void **state)
{
	char first[VM_ID_SIZE], second[VM_ID_SIZE];

	(void)state;
	CHECK_INT(model_new_id(first), 0);
	CHECK_INT(model_new_id(second), 0);
	assert_true(name_is_vm_id(first) && name_is_vm_id(second));
	assert_string_not_equal(first, second);
	assert_false(name_is_vm_id("0123456789abcdef0123456789abcde"));
	assert_false(name_is_vm_id("0123456789abcdef0123456789abcdef0"));
	assert_false(name_is_vm_id("0123456789ABCDEF0123456789abcdef"));
	assert_false(name_is_vm_id("0123456789abcdeg0123456789abcdef"));
	assert_false(name_is_vm_id(NULL));
}

/* Says taken the first `left` times. */
static bool taken_for_a_while(void *context, const char *name)
{
	unsigned int *left = context;

	assert_true(name_is_vm(name));
	if (*left == 0)
		return false;
	(*left)--;
	return true;
}

static void test_generated_names(void **state)
{
	char name[VM_NAME_SIZE] = "untouched";
	struct err err = ERR_INIT;
	unsigned int left = 0;

	(void)state;
	for (int i = 0; i < 200; i++) {
		CHECK_INT(name_generate(NULL, NULL, name, &err), 0);
		assert_true(name_is_vm(name));
		assert_non_null(strchr(name, '-'));
	}
	left = 20;
	CHECK_INT(name_generate(taken_for_a_while, &left, name, &err), 0);
	CHECK_INT(left, 0);
	assert_true(name_is_vm(name) && strpbrk(name, "0123456789") != NULL);

	left = 1000;
	(void)snprintf(name, sizeof(name), "untouched");
	assert_true(name_generate(taken_for_a_while, &left, name, &err) < 0);
	CHECK_INT(err.kind, ERR_LIMIT);
	CHECK_STR(name, "untouched");
}

static void test_spec_numbers(void **state)
{
	static const struct spec_host small = { .cpus = 2, .memory_bytes = 4 * GIB },
				      unknown = { 0 };
	static const struct {
		uint64_t vcpu;
		const struct spec_host *host;
		const char *message; /* NULL: good */
	} vcpus[] = {
		{ 1, &small, NULL },
		{ LIMIT_VCPUS, &small, NULL },
		{ 0, &small, "vcpu is 0: it must be 1 to 32 (the host has 2)" },
		{ 33, &small, "vcpu is 33: it must be 1 to 32 (the host has 2)" },
		{ UINT64_MAX, &unknown, "vcpu is 18446744073709551615: it must be 1 to 32" },
	};
	static const struct {
		uint64_t bytes;
		const struct spec_host *host;
		const char *message;
	} memories[] = {
		{ 128 * MIB, &small, NULL },
		{ 4 * GIB, &small, NULL },
		{ 1024 * GIB, &unknown, NULL },
		{ 0, &small, "memory is 0 bytes: it must be 128 MiB to 4 GiB (the host's memory)" },
		{ MIB, &small, "memory is 1 MiB: it must be 128 MiB to 4 GiB (the host's memory)" },
		{ 4 * GIB + MIB, &small,
		  "memory is 4097 MiB: it must be 128 MiB to 4 GiB (the host's memory)" },
		{ 8ULL << 60, &small,
		  "memory is 8388608 TiB: it must be 128 MiB to 4 GiB (the host's memory)" },
		{ UINT64_MAX, &unknown,
		  "memory is 18446744073709551615 bytes: it must be 128 MiB to 1 TiB" },
		{ 128 * MIB + 1, &small,
		  "memory is 134217729 bytes: it must be a whole number of MiB" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vcpus); i++) {
		struct err err = ERR_INIT;
		const int r = spec_check_vcpu(vcpus[i].vcpu, vcpus[i].host, &err);

		CHECK_ROW(i, (r == 0) == !vcpus[i].message);
		CHECK_STR(err.message, vcpus[i].message ? vcpus[i].message : "");
	}
	for (size_t i = 0; i < ARRAY_LEN(memories); i++) {
		struct err err = ERR_INIT;
		const int r = spec_check_memory(memories[i].bytes, memories[i].host, &err);

		CHECK_ROW(i, (r == 0) == !memories[i].message);
		CHECK_STR(err.message, memories[i].message ? memories[i].message : "");
	}
}

static void test_spec_disks(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *message;
	} rows[] = {
		{ LIMIT_DISK_MIN_BYTES, NULL },
		{ LIMIT_DISK_MAX_BYTES, NULL },
		{ 0, " is 0 bytes: it must be 64 MiB to 16 TiB" },
		{ LIMIT_DISK_MIN_BYTES - 4096, " is 65532 KiB: it must be 64 MiB to 16 TiB" },
		{ LIMIT_DISK_MAX_BYTES + 4096, "it must be 64 MiB to 16 TiB" },
		{ GIB + 512, " is 1073742336 bytes: it must be a whole number of 4 KiB blocks" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err disk = ERR_INIT, overlay = ERR_INIT;

		CHECK_ROW(i, (spec_check_disk(rows[i].bytes, &disk) == 0) == !rows[i].message);
		CHECK_ROW(i, (spec_check_system_overlay(rows[i].bytes, &overlay) == 0) ==
				     !rows[i].message);
		if (!rows[i].message)
			continue;
		CHECK_HAS(disk.message, rows[i].message);
		assert_true(str_starts(disk.message, "disk size is "));
		CHECK_HAS(overlay.message, rows[i].message);
		assert_true(str_starts(overlay.message, "system overlay size is "));
	}
}

static void fill_vm(struct vm *vm)
{
	vm_init(vm);
	(void)snprintf(vm->id, sizeof(vm->id), "0123456789abcdef0123456789abcdef");
	vm_set_text(&vm->name, "web");
	vm->spec.vcpu = 2;
	vm->spec.memory_bytes = 512 * MIB;
	vm->spec.disk_bytes = 8 * GIB;
	vm->spec.system_overlay_bytes = 9 * GIB;
	vm_set_text(&vm->spec.image, "debian-bookworm");
	vm_set_text(&vm->spec.kernel, "debian-cloud");
	vm->created_at = 1000000000;
}

static void test_spec_whole(void **state)
{
	static const struct spec_host host = { .cpus = 2, .memory_bytes = 4 * GIB };
	struct err err = ERR_INIT;
	AUTO_VM vm;

	(void)state;
	fill_vm(&vm);
	CHECK_INT(vm_spec_check(&vm.spec, &host, &err), 0);
	vm_set_text(&vm.spec.kernel, NULL);
	assert_true(vm_spec_check(&vm.spec, &host, &err) < 0);
	CHECK_HAS(err.message, "'' is no kernel name");
	vm_set_text(&vm.spec.image, "../x");
	assert_true(vm_spec_check(&vm.spec, &host, &err) < 0);
	CHECK_HAS(err.message, "'../x' is no image name");
	vm.spec.disk_bytes = 1;
	assert_true(vm_spec_check(&vm.spec, &host, &err) < 0);
	CHECK_HAS(err.message, "disk size is 1 bytes");
}

static void test_states(void **state)
{
	enum vm_state got_state = VM_ERROR;
	enum vm_intent got_intent = VM_INTENT_STOP;

	(void)state;
	for (int i = 0; i < VM_STATE_COUNT; i++) {
		assert_true(vm_state_from_name(vm_state_name((enum vm_state)i), &got_state));
		CHECK_INT(got_state, i);
	}
	for (int i = 0; i < VM_INTENT_COUNT; i++) {
		assert_true(vm_intent_from_name(vm_intent_name((enum vm_intent)i), &got_intent));
		CHECK_INT(got_intent, i);
	}
	assert_false(vm_state_from_name("Running", &got_state));
	assert_false(vm_state_from_name(NULL, &got_state));
	CHECK_INT(got_state, VM_ERROR);
	assert_false(vm_intent_from_name("", &got_intent));
	CHECK_INT(got_intent, VM_INTENT_RESTORE);
}

/* One row a verb: a letter for each state in which it works, in the order of the enumeration. */
static void test_verbs(void **state)
{
	static const struct {
		const char *name;
		const char *allowed;
		enum vm_state from_running;
	} rows[] = {
		[VM_VERB_START] = { "start", "c--se", VM_RUNNING },
		[VM_VERB_STOP] = { "stop", "-rp--", VM_STOPPED },
		[VM_VERB_RESTART] = { "restart", "crpse", VM_RUNNING },
		[VM_VERB_KILL] = { "kill", "-rp--", VM_STOPPED },
		[VM_VERB_PAUSE] = { "pause", "-r---", VM_PAUSED },
		[VM_VERB_RESUME] = { "resume", "--p--", VM_RUNNING },
		[VM_VERB_DELETE] = { "delete", "crpse", VM_RUNNING },
		[VM_VERB_SET] = { "set", "c--se", VM_RUNNING },
		[VM_VERB_EXEC] = { "exec", "-r---", VM_RUNNING },
		[VM_VERB_SHELL] = { "shell", "-r---", VM_RUNNING },
		[VM_VERB_SSH] = { "ssh", "-r---", VM_RUNNING },
		[VM_VERB_CP] = { "cp", "-r---", VM_RUNNING },
		[VM_VERB_PORTS] = { "ports", "-r---", VM_RUNNING },
		[VM_VERB_PING] = { "ping", "-r---", VM_RUNNING },
		[VM_VERB_SNAPSHOT] = { "snapshot", "-rp--", VM_RUNNING },
		[VM_VERB_FORK] = { "fork", "-rp--", VM_RUNNING },
		[VM_VERB_HEALTH] = { "health", "-r---", VM_RUNNING },
	};
	_Static_assert(ARRAY_LEN(rows) == VM_VERB_COUNT, "every verb has a row");
	AUTO_VM vm;

	(void)state;
	fill_vm(&vm);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CHECK_STR(vm_verb_name((enum vm_verb)i), rows[i].name);
		CHECK_INT(vm_verb_result((enum vm_verb)i, VM_RUNNING), rows[i].from_running);
		for (int s = 0; s < VM_STATE_COUNT; s++) {
			const bool wanted = rows[i].allowed[s] != '-';
			struct err err = ERR_INIT;

			vm.state = (enum vm_state)s;
			CHECK_ROW(i, vm_verb_allowed((enum vm_verb)i, vm.state) == wanted);
			CHECK_ROW(i, (vm_check_verb(&vm, (enum vm_verb)i, &err) == 0) == wanted);
			CHECK_INT(err.kind, wanted ? ERR_NONE : ERR_BAD_STATE);
		}
	}
}

static void test_verb_messages(void **state)
{
	static const struct {
		enum vm_verb verb;
		enum vm_state state;
		const char *message;
		const char *hint;
	} rows[] = {
		{ VM_VERB_PAUSE, VM_STOPPED, "cannot pause 'web': it is stopped",
		  "'banger vm start web' starts it" },
		{ VM_VERB_START, VM_RUNNING, "cannot start 'web': it is running", "" },
		{ VM_VERB_START, VM_PAUSED, "cannot start 'web': it is paused",
		  "'banger vm resume web' lets it go on" },
		{ VM_VERB_STOP, VM_STOPPED, "cannot stop 'web': it is stopped", "" },
		{ VM_VERB_EXEC, VM_CREATED, "cannot run a command in 'web': it was never started",
		  "'banger vm start web' starts it" },
		{ VM_VERB_SHELL, VM_PAUSED, "cannot open a shell in 'web': it is paused",
		  "'banger vm resume web' lets it go on" },
		{ VM_VERB_RESUME, VM_RUNNING, "cannot resume 'web': it is running", "" },
		{ VM_VERB_RESUME, VM_STOPPED, "cannot resume 'web': it is stopped",
		  "'banger vm start web' starts it" },
		{ VM_VERB_SET, VM_PAUSED, "cannot change 'web': it is paused",
		  "'banger vm stop web' stops it" },
		{ VM_VERB_KILL, VM_ERROR, "cannot kill 'web': it is in error (no kernel)", "" },
	};
	AUTO_VM vm;

	(void)state;
	fill_vm(&vm);
	vm_set_text(&vm.last_error, "no kernel");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;

		vm.state = rows[i].state;
		CHECK_ROW(i, vm_check_verb(&vm, rows[i].verb, &err) < 0);
		CHECK_STR(err.message, rows[i].message);
		CHECK_STR(err.hint, rows[i].hint);
	}
}

static void test_ports(void **state)
{
	static const char *const bad[] = {
		":",	  "80",	    "80:",	   "0:80",   "80:0",   "65536:1", "1:65536",
		"80:80,", ",80:80", "80:80,80:81", " 80:80", "80:80 ", "080:80",  "-1:80",
	};
	struct vm_port ports[VM_PORTS_MAX] = { { 0 } };
	size_t count = 7;
	AUTO_BUF text = BUF_INIT;
	AUTO_BUF again = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CHECK_ROW(i, !vm_ports_parse(bad[i], ports, &count));
		CHECK_ROW(i, count == 7 && ports[0].host == 0);
	}
	assert_true(vm_ports_parse("", ports, &count));
	CHECK_INT(count, 0);
	assert_true(vm_ports_parse("8080:80,2222:22,65535:1", ports, &count));
	CHECK_INT(count, 3);
	CHECK_INT(ports[1].host, 2222);
	CHECK_INT(ports[1].guest, 22);

	/* At the limit and one over it. */
	for (unsigned int i = 0; i < VM_PORTS_MAX; i++)
		buf_addf(&text, "%s%u:80", i ? "," : "", 1000 + i);
	assert_true(vm_ports_parse(text.ptr, ports, &count));
	CHECK_INT(count, VM_PORTS_MAX);
	vm_ports_format(&again, ports, count);
	CHECK_STR(again.ptr, text.ptr);
	buf_add_str(&text, ",9999:80");
	assert_false(vm_ports_parse(text.ptr, ports, &count));
}

static void test_ports_at_addresses(void **state)
{
	static const char *const bad[] = {
		"127.0.0.1:8080:80",   "1.2.3:80:80",	      "1.2.3.256:80:80", "1.2.3.04:80:80",
		"0.0.0.0:0:80",	       "0.0.0.0:80:0",	      "0.0.0.0::80",	 "0.0.0.0:80",
		"80:80,0.0.0.0:80:81", "0.0.0.0:80:80,80:81",
	};
	static const char good[] = "8080:80,10.0.0.1:8080:80,0.0.0.0:9090:80,10.0.0.2:8080:81";
	struct vm_port ports[VM_PORTS_MAX];
	AUTO_BUF text = BUF_INIT;
	size_t count = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK_ROW(i, !vm_ports_parse(bad[i], ports, &count) && count == 7);
	assert_true(vm_ports_parse(good, ports, &count));
	CHECK_INT(count, 4);
	CHECK_INT(ports[0].address, VM_PORT_LOOPBACK);
	CHECK_INT(ports[1].address, 0x0a000001);
	CHECK_INT(ports[2].address, 0);
	vm_ports_format(&text, ports, count);
	CHECK_STR(text.ptr, good);
}

static void test_ports_as_written(void **state)
{
	static const struct {
		const char *text;
		struct vm_port port;
		const char *message; /* NULL: it is one */
	} rows[] = {
		{ "8080:80", { 8080, 80, VM_PORT_LOOPBACK }, NULL },
		{ "65535:65535/tcp", { 65535, 65535, VM_PORT_LOOPBACK }, NULL },
		{ "0:80", { 0, 80, VM_PORT_LOOPBACK }, NULL },
		{ ":80", { 0, 80, VM_PORT_LOOPBACK }, NULL },
		{ "80", { 0, 80, VM_PORT_LOOPBACK }, NULL },
		{ "0.0.0.0:8080:80", { 8080, 80, 0 }, NULL },
		{ "127.0.0.1::80", { 0, 80, VM_PORT_LOOPBACK }, NULL },
		{ "", { 0 }, "'': '' is no port: it must be 1 to 65535" },
		{ "8080:", { 0 }, "'8080:': '' is no port: it must be 1 to 65535" },
		{ "8080:0", { 0 }, "'8080:0': '0' is no port: it must be 1 to 65535" },
		{ "8080:65536", { 0 }, "'8080:65536': '65536' is no port: it must be 1 to 65535" },
		{ "65536:80", { 0 }, "'65536:80': '65536' is no port: it must be 0 to 65535" },
		{ "http:80", { 0 }, "'http:80': 'http' is no port: it must be 0 to 65535" },
		{ "-1:80", { 0 }, "'-1:80': '-1' is no port: it must be 0 to 65535" },
		{ " 8080:80", { 0 }, "' 8080:80': ' 8080' is no port: it must be 0 to 65535" },
		{ "8080:80 ", { 0 }, "'8080:80 ': '80 ' is no port: it must be 1 to 65535" },
		{ "8080:080", { 0 }, "'8080:080': '080' is no port: it must be 1 to 65535" },
		{ "localhost:8080:80",
		  { 0 },
		  "'localhost:8080:80': 'localhost' is no IPv4 address" },
		{ "1.2.3.4.5:1:1", { 0 }, "'1.2.3.4.5:1:1': '1.2.3.4.5' is no IPv4 address" },
		{ "::1:8080:80", { 0 }, "'::1:8080:80' is not [IP:]HOST:GUEST" },
		{ "53:53/udp", { 0 }, "'53:53/udp': only tcp can be published" },
		{ "53:53/", { 0 }, "'53:53/': only tcp can be published" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct vm_port port = { 7, 7, 7 };
		struct err err = ERR_INIT;

		CHECK_ROW(i, (vm_port_read(rows[i].text, &port, &err) == 0) == !rows[i].message);
		CHECK_STR(err.message, rows[i].message ? rows[i].message : "");
		if (rows[i].message)
			CHECK_ROW(i, port.host == 7 && port.guest == 7 && port.address == 7);
		else
			CHECK_ROW(i, memcmp(&port, &rows[i].port, sizeof(port)) == 0);
	}
}

static void test_ports_in_one_anothers_way(void **state)
{
	static const struct {
		struct vm_port ports[2];
		bool fits;
	} rows[] = {
		{ { { 80, 1, VM_PORT_LOOPBACK }, { 81, 1, VM_PORT_LOOPBACK } }, true },
		{ { { 80, 1, VM_PORT_LOOPBACK }, { 80, 2, VM_PORT_LOOPBACK } }, false },
		{ { { 80, 1, VM_PORT_LOOPBACK }, { 80, 2, 0x0a000001 } }, true },
		{ { { 80, 1, VM_PORT_LOOPBACK }, { 80, 2, 0 } }, false },
		{ { { 80, 1, 0 }, { 80, 2, VM_PORT_LOOPBACK } }, false },
		{ { { 0, 1, VM_PORT_LOOPBACK }, { 0, 1, VM_PORT_LOOPBACK } }, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;

		CHECK_ROW(i, (vm_ports_check(rows[i].ports, 2, &err) == 0) == rows[i].fits);
		CHECK_STR(err.message,
			  rows[i].fits ? "" : "port 80 of the host is published twice");
	}
}

static void test_copies(void **state)
{
	AUTO_VM vm;
	AUTO_VM copy;
	AUTO_VM_LIST list = { .items = NULL };

	(void)state;
	fill_vm(&vm);
	vm_set_text(&vm.workspace.guest_path, "/root/repo");
	vm_copy(&copy, &vm);
	CHECK_STR(copy.name, "web");
	assert_ptr_not_equal(copy.name, vm.name);
	CHECK_STR(copy.workspace.guest_path, "/root/repo");
	assert_ptr_not_equal(copy.workspace.guest_path, vm.workspace.guest_path);
	assert_ptr_not_equal(copy.spec.image, vm.spec.image);
	assert_null(copy.ip);
	vm_set_text(&copy.name, copy.name);
	CHECK_STR(copy.name, "web");

	for (int i = 0; i < 20; i++)
		fill_vm(vm_list_add(&list));
	CHECK_INT(list.count, 20);
	CHECK_STR(list.items[19].name, "web");
}

static void test_json_of_ports(void **state)
{
	const struct vm_runtime runtime = { .ports_open = 2 };
	AUTO_JSON *json = NULL;
	AUTO_BUF text = BUF_INIT;
	AUTO_VM vm;

	(void)state;
	vm_init(&vm);
	vm.spec.ports[0] = (struct vm_port){ 8080, 80, VM_PORT_LOOPBACK };
	vm.spec.ports[1] = (struct vm_port){ 65535, 1, 0 };
	vm.spec.port_count = 2;
	json = vm_to_json(&vm, &runtime);
	json_write(json_object_get(json, "ports"), &text);
	CHECK_STR(text.ptr,
		  "[{\"address\":\"127.0.0.1\",\"host\":8080,\"guest\":80,\"open\":false},"
		  "{\"address\":\"0.0.0.0\",\"host\":65535,\"guest\":1,\"open\":true}]");
}

static void test_json(void **state)
{
	static const char wanted[] =
		"{\"id\":\"0123456789abcdef0123456789abcdef\",\"name\":\"web\",\"state\":"
		"\"created\","
		"\"image\":\"debian-bookworm\",\"kernel\":\"debian-cloud\",\"vcpu\":2,"
		"\"memory_bytes\":536870912,\"disk_bytes\":8589934592,"
		"\"system_overlay_bytes\":9663676416,\"nat\":false,\"ports\":[],\"ip\":null,"
		"\"ephemeral\":false,"
		"\"created_at\":\"2001-09-09T01:46:40Z\",\"started_at\":null,\"last_error\":null,"
		"\"workspace\":null,\"engine\":null,\"accelerator\":null,\"pid\":null,"
		"\"disk_used_bytes\":null,\"snapshots\":null,\"directory\":null,\"console_log\":"
		"null,\"vmm_log\":"
		"null}";
	AUTO_STRV snapshots = { .items = NULL };
	const struct vm_runtime runtime = {
		.engine = "qemu",
		.accelerator = "tcg",
		.pid = 42,
		.has_disk_used = true,
		.disk_used_bytes = 4096,
		.snapshots = &snapshots,
		.directory = "/d",
		.console_log = "/d/console.log",
		.vmm_log = "/d/vmm.log",
	};
	AUTO_BUF text = BUF_INIT;
	AUTO_VM vm;

	(void)state;
	strv_add(&snapshots, "snap0");
	fill_vm(&vm);
	{
		AUTO_JSON *json = vm_to_json(&vm, NULL);

		json_write(json, &text);
		CHECK_STR(text.ptr, wanted);
	}
	vm_set_text(&vm.workspace.guest_path, "/root/repo");
	vm_set_text(&vm.last_error, "it broke");
	vm.started_at = 1000000001;
	{
		AUTO_JSON *json = vm_to_json(&vm, &runtime);

		CHECK_STR(json_get_str(json, "engine"), "qemu");
		CHECK_INT(json_get_u64(json, "pid"), 42);
		CHECK_STR(json_get_str(json, "console_log"), "/d/console.log");
		CHECK_STR(json_get_str(json, "last_error"), "it broke");
		CHECK_INT(json_array_size(json_object_get(json, "snapshots")), 1);
		CHECK_STR(json_get_str(json, "started_at"), "2001-09-09T01:46:41Z");
		CHECK_STR(json_get_str(json_object_get(json, "workspace"), "guest_path"),
			  "/root/repo");
	}
}

static void test_references(void **state)
{
	static const struct reference_target targets[] = {
		{ "aaaa0000000000000000000000000000", "web" },
		{ "aaab0000000000000000000000000000", "web-2" },
		{ "bbbb0000000000000000000000000000", "database" },
		{ "cafe0000000000000000000000000000", "aaaa" },
	};
	static const struct {
		const char *reference;
		enum err_kind kind;
		size_t index;
		const char *message;
		const char *hint;
	} rows[] = {
		{ "web", ERR_NONE, 0, "", "" },
		{ "web-2", ERR_NONE, 1, "", "" },
		{ "web-", ERR_NONE, 1, "", "" },
		{ "d", ERR_NONE, 2, "", "" },
		{ "bb", ERR_NONE, 2, "", "" },
		{ "cafe0000000000000000000000000000", ERR_NONE, 3, "", "" },
		/* An exact name wins over a prefix of an id. */
		{ "aaaa", ERR_NONE, 3, "", "" },
		{ "we", ERR_INVALID, 99,
		  "'we' could be any of 2 VMs: 'web' (aaaa00000000), 'web-2' (aaab00000000)", "" },
		{ "a", ERR_INVALID, 99, "'aaaa' (cafe00000000)", "" },
		{ "", ERR_INVALID, 99, "a VM must be named", "" },
		{ "databsae", ERR_NOT_FOUND, 99, "there is no VM 'databsae'",
		  "did you mean 'database'?" },
		{ "zzzzzzzzz", ERR_NOT_FOUND, 99, "there is no VM 'zzzzzzzzz'", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		size_t index = 99;
		const int r = reference_resolve(rows[i].reference, targets, ARRAY_LEN(targets),
						&index, &err);

		CHECK_ROW(i, (r == 0) == (rows[i].kind == ERR_NONE));
		CHECK_INT(err.kind, rows[i].kind);
		CHECK_INT(index, rows[i].index);
		CHECK_HAS(err.message, rows[i].message);
		CHECK_STR(err.hint, rows[i].hint);
	}
}

static void test_reference_many(void **state)
{
	struct reference_target targets[8];
	struct err err = ERR_INIT;
	size_t index = 99;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(targets); i++)
		targets[i] =
			(struct reference_target){ "ffff0000000000000000000000000000", "vm-x" };
	assert_true(reference_resolve("vm", targets, ARRAY_LEN(targets), &index, &err) < 0);
	CHECK_HAS(err.message, "'vm' could be any of 8 VMs: ");
	CHECK_HAS(err.message, ", ...");
	assert_true(reference_resolve("vm", targets, 0, &index, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	CHECK_INT(index, 99);
}

static void test_artifacts(void **state)
{
	AUTO_IMAGE_RECORD_LIST images = { .items = NULL };
	AUTO_KERNEL_RECORD_LIST kernels = { .items = NULL };
	enum artifact_state got = ARTIFACT_READY;

	(void)state;
	for (int i = 0; i < ARTIFACT_STATE_COUNT; i++) {
		assert_true(artifact_state_from_name(artifact_state_name((enum artifact_state)i),
						     &got));
		CHECK_INT(got, i);
	}
	assert_false(artifact_state_from_name("gone", &got));
	CHECK_INT(got, ARTIFACT_DELETING);
	for (int i = 0; i < 10; i++) {
		image_record_list_add(&images)->name = mem_strdup("i");
		kernel_record_list_add(&kernels)->release = mem_strdup("6.1");
	}
	CHECK_INT(images.count, 10);
	CHECK_STR(kernels.items[9].release, "6.1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vm_names),
		cmocka_unit_test(test_artifact_names),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_generated_names),
		cmocka_unit_test(test_spec_numbers),
		cmocka_unit_test(test_spec_disks),
		cmocka_unit_test(test_spec_whole),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_verbs),
		cmocka_unit_test(test_verb_messages),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_ports_at_addresses),
		cmocka_unit_test(test_ports_as_written),
		cmocka_unit_test(test_ports_in_one_anothers_way),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_json_of_ports),
		cmocka_unit_test(test_references),
		cmocka_unit_test(test_reference_many),
		cmocka_unit_test(test_artifacts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
