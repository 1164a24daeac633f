/* Snapshots without QEMU: the file, the rules, names, and memory of a process of our own. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "vmmshim/guest_memory.h"
#include "vmmshim/memory_gate.h"
#include "vmmshim/new_file.h"
#include "vmmshim/snapshot.h"
#include "vmmshim/snapshot_file.h"
#include "vmmshim_fixture.h"

#define MIB	   ((uint64_t)1024 * 1024)
#define PAGE	   4096UL
#define HEADER_LEN 32
#define CONFIG	   "{\"machine-config\":{\"mem_size_mib\":3,\"vcpu_count\":1}}"

static void make_file(const char *state_text, struct buf *out)
{
	struct snapshot_file file = {
		.memory_size = 3 * MIB,
		.facts = { .qemu = mem_strdup("7.2.22 (x)"),
			   .accel = mem_strdup("tcg"),
			   .cpu = mem_strdup("max"),
			   .tsc_khz = 2500000 },
		.state = span_str(state_text),
	};
	struct err err = ERR_INIT;

	assert_int_equal(json_read(span_str(CONFIG), &file.facts.config, &err), 0);
	strv_add(&file.facts.overlays, "root");
	file.facts.drive_bytes = json_new_object();
	json_put_u64(file.facts.drive_bytes, "root", 512);
	assert_int_equal(snapshot_file_write(&file, out, &err), 0);
	snapshot_file_done(&file);
}

static void test_file_round_trip(void **state)
{
	struct snapshot_file file;
	struct err err = ERR_INIT;
	AUTO_BUF bytes = BUF_INIT;

	(void)state;
	make_file("device state", &bytes);
	assert_int_equal(snapshot_file_read(buf_span(&bytes), &file, &err), 0);
	CHECK_INT(file.memory_size, 3 * MIB);
	CHECK_STR(file.facts.qemu, "7.2.22 (x)");
	CHECK_STR(file.facts.accel, "tcg");
	CHECK_STR(file.facts.cpu, "max");
	assert_true(file.facts.tsc_khz == 2500000 && file.facts.overlays.count == 1 &&
		    json_get_u64(file.facts.drive_bytes, "root") == 512);
	assert_true(span_eq(file.state, span_str("device state")));
	snapshot_file_done(&file);
}

/* CRC-64 of "123456789" after ECMA-182 is known: the format's own reader is not its only proof. */
static void test_file_crc_is_the_standard_one(void **state)
{
	uint64_t crc = 0;
	AUTO_BUF bytes = BUF_INIT;
	uint64_t stored = 0;

	(void)state;
	make_file("", &bytes);
	for (size_t i = 0; i < bytes.len - 8; i++) {
		crc ^= (uint64_t)(uint8_t)bytes.ptr[i] << 56;
		for (int bit = 0; bit < 8; bit++)
			crc = crc << 1 ^ (crc >> 63 != 0 ? 0x42F0E1EBA9EA3693ULL : 0);
	}
	for (size_t i = bytes.len - 8; i < bytes.len; i++)
		stored = stored << 8 | (uint8_t)bytes.ptr[i];
	assert_true(crc == stored);
}

/* FAULTS VMM7: each byte that is changed, and each length that is not the whole, is found. */
static void test_file_damage(void **state)
{
	AUTO_BUF bytes = BUF_INIT;

	(void)state;
	make_file("device state", &bytes);
	for (size_t i = 0; i < bytes.len; i++) {
		struct snapshot_file file = { .memory_size = 7 };
		struct err err = ERR_INIT;

		bytes.ptr[i] ^= 0x10;
		CHECK_ROW(i, snapshot_file_read(buf_span(&bytes), &file, &err) < 0 &&
				     err.kind == ERR_INVALID && file.memory_size == 7);
		bytes.ptr[i] ^= 0x10;
	}
	for (size_t len = 0; len < bytes.len; len++) {
		struct snapshot_file file = { .memory_size = 7 };
		struct err err = ERR_INIT;

		CHECK_ROW(len, snapshot_file_read(span_of(bytes.ptr, len), &file, &err) < 0 &&
				       file.memory_size == 7);
	}
	buf_add_byte(&bytes, 0);
	for (int once = 0; once < 1; once++) {
		struct snapshot_file file;
		struct err err = ERR_INIT;

		assert_true(snapshot_file_read(buf_span(&bytes), &file, &err) < 0);
		CHECK_HAS(err.message, "which is not what its header says");
	}
}

static void test_file_texts(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		const char *text;
	} rows[] = {
		{ 0, 'x', "Magic value does not match arch: " },
		{ 11, 2, "Invalid data version: 2" },
		{ 12, 0xFF, "which is not what its header says" },
		{ 16, 0xFF, "which is not what its header says" },
		{ 24, 1, "CRC64 validation failed" },
		{ HEADER_LEN + 3, 'y', "CRC64 validation failed" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct snapshot_file file;
		struct err err = ERR_INIT;
		AUTO_BUF bytes = BUF_INIT;

		make_file("device state", &bytes);
		bytes.ptr[rows[i].at] = (char)rows[i].value;
		CHECK_ROW(i, snapshot_file_read(buf_span(&bytes), &file, &err) < 0);
		CHECK_HAS(err.message, rows[i].text);
	}
}

/* Facts that are well protected and wrong all the same. */
static void test_file_facts(void **state)
{
	static const struct {
		uint64_t memory_size;
		const char *config;
	} rows[] = {
		{ 3 * MIB + 1, CONFIG },
		{ 2 * MIB, CONFIG },
		{ 0, "{\"machine-config\":{\"mem_size_mib\":0}}" },
		{ 3 * MIB, "{}" },
		{ 3 * MIB, "[]" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct snapshot_file file = {
			.memory_size = rows[i].memory_size,
			.facts = { .qemu = mem_strdup("q"),
				   .accel = mem_strdup("a"),
				   .cpu = mem_strdup("c"),
				   .drive_bytes = json_new_object() },
		};
		struct snapshot_file got;
		struct err err = ERR_INIT;
		AUTO_BUF bytes = BUF_INIT;

		assert_int_equal(json_read(span_str(rows[i].config), &file.facts.config, &err), 0);
		assert_int_equal(snapshot_file_write(&file, &bytes, &err), 0);
		CHECK_ROW(i, snapshot_file_read(buf_span(&bytes), &got, &err) < 0);
		CHECK_HAS(err.message, "An error occurred during deserialization: ");
		snapshot_file_done(&file);
	}
}

static void test_file_limits(void **state)
{
	AUTO_FREE char *name = mem_alloc(1, SNAPSHOT_FACTS_MAX + 1);
	struct snapshot_file file = { .memory_size = MIB };
	struct err err = ERR_INIT;
	AUTO_BUF bytes = BUF_INIT;

	(void)state;
	memset(name, 'a', SNAPSHOT_FACTS_MAX);
	file.facts.qemu = TAKE_PTR(name);
	file.facts.config = json_new_object();
	file.facts.drive_bytes = json_new_object();
	assert_true(snapshot_file_write(&file, &bytes, &err) < 0);
	CHECK_INT(err.kind, ERR_LIMIT);
	snapshot_file_done(&file);
}

static void test_address(void **state)
{
	static const struct {
		const char *text;
		uint64_t wanted; /* 0: none */
	} rows[] = {
		{ "Host virtual address for 0x0 (ram0) is 0x7f7af3e00000\r\n", 0x7f7af3e00000 },
		{ "Host virtual address for 0x0 (ram0) is 0x1", 1 },
		{ "Host virtual address for 0x0 (ram0) is 0xffffffffffffffff\n", UINT64_MAX },
		{ "Host virtual address for 0x0 (ram0) is 0x10000000000000000", 0 },
		{ "Host virtual address for 0x0 (ram0) is 0x0", 0 },
		{ "Host virtual address for 0x0 (ram0) is 0x", 0 },
		{ "Host virtual address for 0x0 (ram0) is 0x12 or so", 0 },
		{ "No memory is mapped at address 0x0\r\n", 0 },
		{ "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t got = 77;
		const bool is_good = snapshot_parse_address(rows[i].text, &got);

		CHECK_ROW(i, is_good == (rows[i].wanted != 0) &&
				     got == (is_good ? rows[i].wanted : 77));
	}
}

#define PATHS "\"snapshot_path\":\"@/s\",\"mem_file_path\":\"@/m\""

static void test_create_in_every_phase(void **state)
{
	static const struct {
		enum api_phase phase;
		enum api_action wanted;
		const char *body;
		const char *text;
	} rows[] = {
		{ API_NOT_STARTED, API_ANSWERED, "{" PATHS "}",
		  "not supported before starting the microVM." },
		{ API_RUNNING, API_ANSWERED, "{" PATHS "}",
		  "Create snapshot error: Cannot save the microVM state: Operation not allowed: "
		  "save/restore unavailable while running" },
		{ API_PAUSED, API_CREATE_SNAPSHOT, "{" PATHS "}", "" },
		{ API_PAUSED, API_CREATE_SNAPSHOT, "{" PATHS ",\"snapshot_type\":\"Full\"}", "" },
		{ API_PAUSED, API_ANSWERED, "{" PATHS ",\"snapshot_type\":\"Diff\"}",
		  "a diff snapshot is not supported by banger-vmm." },
		{ API_PAUSED, API_ANSWERED, "{\"snapshot_path\":\"s\",\"mem_file_path\":\"s\"}",
		  "snapshot_path and mem_file_path are the same file" },
		{ API_PAUSED, API_ANSWERED, "{" PATHS ",\"snapshot_type\":\"full\"}",
		  "unknown variant `full`, expected `Full` or `Diff`." },
		{ API_PAUSED, API_ANSWERED, "{" PATHS ",\"version\":\"1\"}",
		  "unknown field `version`, expected one of `snapshot_type`, `snapshot_path`, "
		  "`mem_file_path`." },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *text = NULL;
		struct shim shim;
		unsigned status = 0;

		shim_init(&shim);
		shim.api.phase = rows[i].phase;
		CHECK_ROW(i, shim_send(&shim, "PUT", "/snapshot/create", rows[i].body, &status,
				       &text) == rows[i].wanted);
		CHECK_HAS(text, rows[i].text);
		CHECK_ROW(i, (shim.api.snapshot_create.given != 0) ==
				     (rows[i].wanted == API_CREATE_SNAPSHOT));
		shim_done(&shim);
	}
}

static void test_load_bodies(void **state)
{
	static const struct {
		const char *more;
		const char *text; /* NULL: it is done */
	} rows[] = {
		{ "", NULL },
		{ ",\"resume_vm\":true", NULL },
		{ ",\"network_overrides\":null,\"vsock_override\":null", NULL },
		{ ",\"network_overrides\":[],\"vsock_override\":{\"uds_path\":\"v\"}", NULL },
		{ ",\"network_overrides\":[{\"iface_id\":\"a\",\"host_dev_name\":\"b\"}]", NULL },
		{ ",\"track_dirty_pages\":false,\"enable_diff_snapshots\":false", NULL },
		{ ",\"huge_pages\":\"Transparent\"", NULL },
		{ ",\"track_dirty_pages\":true", "dirty page tracking is not supported" },
		{ ",\"enable_diff_snapshots\":true", "dirty page tracking is not supported" },
		{ ",\"clock_realtime\":true", "clock_realtime is not supported" },
		{ ",\"huge_pages\":\"2M\"",
		  "Cannot restore hugetlbfs backed snapshot by mapping the memory file. Please use "
		  "uffd." },
		{ ",\"resume_vm\":1", "invalid type: integer `1`, expected a boolean." },
		{ ",\"network_overrides\":{}", "invalid type: map, expected a sequence." },
		{ ",\"network_overrides\":[{\"iface_id\":\"a\"}]",
		  "missing field `host_dev_name`." },
		{ ",\"vsock_override\":{}", "missing field `uds_path`." },
		{ ",\"vsock_override\":\"v\"",
		  "invalid type: string \\\"v\\\", expected struct VsockOverride." },
		{ ",\"resume\":true", "unknown field `resume`" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *text = NULL;
		AUTO_FREE char *body = mem_printf("{" PATHS "%s}", rows[i].more);
		struct shim shim;
		unsigned status = 0;
		enum api_action action;

		shim_init(&shim);
		action = shim_send(&shim, "PUT", "/snapshot/load", body, &status, &text);
		CHECK_ROW(i, action == (rows[i].text ? API_ANSWERED : API_LOAD_SNAPSHOT));
		CHECK_HAS(text, rows[i].text ? rows[i].text : "");
		shim_done(&shim);
	}
}

static void test_load_backend(void **state)
{
	AUTO_FREE char *text = NULL;
	struct shim shim;
	unsigned status = 0;

	(void)state;
	shim_init(&shim);
	shim_expect(&shim, "PUT", "/snapshot/load",
		    "{\"snapshot_path\":\"s\",\"mem_backend\":{\"backend_type\":\"Uffd\","
		    "\"backend_path\":\"m\"}}",
		    400, "a memory backend of type Uffd is not supported by banger-vmm.");
	assert_int_equal(shim_send(&shim, "PUT", "/snapshot/load",
				   "{\"snapshot_path\":\"s\",\"mem_backend\":{\"backend_type\":"
				   "\"File\",\"backend_path\":\"m\"}}",
				   &status, &text),
			 API_LOAD_SNAPSHOT);
	CHECK_STR(json_get_str(shim.api.snapshot_load.mem_backend, "backend_path"), "m");
	shim_done(&shim);
}

/* Only before the first configuration of anything that a snapshot has, too. */
static void test_load_after_each_configuration(void **state)
{
	(void)state;
	for (size_t i = 0; i < api_route_count; i++) {
		const struct api_route *route = &api_routes[i];
		const bool is_harmless =
			route->when != API_WHEN_BEFORE || str_eq(route->path, "/logger") ||
			str_eq(route->path, "/metrics") || str_eq(route->path, "/serial");
		AUTO_FREE char *text = NULL;
		AUTO_FREE char *answer = NULL;
		struct shim shim;
		char path[64];
		unsigned status = 0;
		enum api_action action;

		if (str_eq(route->path, "/snapshot/load") || str_eq(route->path, "/actions"))
			continue;
		shim_init(&shim);
		shim_route_path(route->path, path, sizeof(path));
		(void)shim_send(&shim, route->method, path,
				shim_good_body(route->method, route->path), &status, &answer);
		action = shim_send(&shim, "PUT", "/snapshot/load", "{" PATHS "}", &status, &text);
		CHECK_ROW(i, action == (is_harmless ? API_LOAD_SNAPSHOT : API_ANSWERED));
		CHECK_HAS(text, is_harmless ? ""
					    : "Load snapshot error: Loading a microVM snapshot not "
					      "allowed after configuring boot-specific resources.");
		shim_done(&shim);
	}
}

/* All or nothing, and what is this process's own stays. */
static void test_restore_config(void **state)
{
	static const struct {
		const char *config;
		const char *problem; /* NULL: good */
	} rows[] = {
		{ "{\"drives\":[{\"drive_id\":\"a\",\"path_on_host\":\"%s\",\"is_root_device\":"
		  "true,"
		  "\"is_read_only\":false}],\"machine-config\":{\"vcpu_count\":2,\"mem_size_mib\":"
		  "9},"
		  "\"entropy\":{},\"serial\":{\"serial_out_path\":\"theirs\"},"
		  "\"boot-source\":{\"kernel_image_path\":\"/gone\"},\"logger\":{\"log_path\":\"/"
		  "x\"}}",
		  NULL },
		{ "{\"machine-config\":{\"vcpu_count\":2,\"mem_size_mib\":9},\"entropy\":{},"
		  "\"drives\":[{\"drive_id\":\"a\",\"path_on_host\":\"%s.gone\","
		  "\"is_root_device\":true,\"is_read_only\":false}]}",
		  "No such file or directory" },
		{ "{\"machine-config\":{\"vcpu_count\":2,\"mem_size_mib\":9},\"drives\":[]}",
		  "none" },
		{ "{\"machine-config\":{\"vcpu_count\":2},\"drives\":[]}",
		  "missing field `mem_size_mib`" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const bool is_good = !rows[i].problem || str_eq(rows[i].problem, "none");
		AUTO_BUF text = BUF_INIT;
		AUTO_JSON *config = NULL;
		struct err err = ERR_INIT;
		struct shim shim;

		shim_init(&shim);
		shim_expect(&shim, "PUT", "/serial", "{\"serial_out_path\":\"mine\"}", 204, "");
		for (const char *c = rows[i].config; *c; c++) {
			if (c[0] == '%' && c[1] == 's') {
				buf_add_str(&text, shim_path(&shim, "disk"));
				c++;
			} else {
				buf_add_byte(&text, (uint8_t)*c);
			}
		}
		assert_int_equal(json_read(buf_span(&text), &config, &err), 0);
		CHECK_ROW(i, (api_restore_config(&shim.api, config, &err) == 0) == is_good);
		if (!is_good)
			CHECK_HAS(err.message, rows[i].problem);
		CHECK_ROW(i, shim.api.config.machine.vcpu_count == (is_good ? 2 : 1));
		CHECK_ROW(i, shim.api.config.drive_count == (i == 0 ? 1 : 0));
		CHECK_ROW(i, shim.api.config.has_entropy == (i == 0));
		CHECK_ROW(i, shim.api.config.boot.given == 0);
		CHECK_STR(shim.api.config.serial.serial_out_path, "mine");
		shim_done(&shim);
	}
}

static void test_new_file(void **state)
{
	struct new_file file = NEW_FILE_INIT;
	struct stat status;
	struct shim shim;
	const char *path;

	(void)state;
	shim_init(&shim);
	path = shim_path(&shim, "made");
	assert_int_equal(new_file_open(path, &file), 0);
	assert_int_equal(fd_write_all(file.fd, span_str("new")), 0);
	assert_int_equal(stat(path, &status), -1);
	new_file_done(&file);
	assert_int_equal(stat(path, &status), -1);
	shim_done(&shim);
}

static void test_new_file_replaces(void **state)
{
	struct new_file file = NEW_FILE_INIT;
	struct stat status;
	struct shim shim;
	const char *path;

	(void)state;
	shim_init(&shim);
	path = shim_path(&shim, "disk");
	assert_int_equal(new_file_open(path, &file), 0);
	assert_int_equal(fd_write_all(file.fd, span_str("new")), 0);
	assert_int_equal(stat(path, &status), 0);
	CHECK_INT(status.st_size, 0);
	assert_int_equal(new_file_publish(&file), 0);
	new_file_done(&file);
	assert_int_equal(stat(path, &status), 0);
	CHECK_INT(status.st_size, 3);
	CHECK_INT(status.st_mode & 0777, 0600);
	shim_done(&shim);
}

static void test_new_file_failures(void **state)
{
	struct new_file file = NEW_FILE_INIT;
	struct stat status;
	struct shim shim;

	(void)state;
	shim_init(&shim);
	CHECK_INT(new_file_open(shim_path(&shim, "nowhere/x"), &file), -ENOENT);
	CHECK_INT(new_file_open("/tmp/", &file), -EISDIR);
	/* A folder stays, and the file is given up. */
	assert_int_equal(new_file_open(shim_path(&shim, "folder"), &file), 0);
	CHECK_INT(new_file_publish(&file), -EISDIR);
	new_file_done(&file);
	assert_int_equal(stat(shim_path(&shim, ".new-folder"), &status), -1);
	shim_done(&shim);
}

static int temp_file(const struct shim *shim, const char *name)
{
	const int fd = open(shim_path(shim, name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

static void write_memory(struct guest_memory *memory)
{
	struct err err = ERR_INIT;
	int r;

	memory->pid = getpid();
	memory->size = 5 * MIB;
	assert_int_equal(guest_memory_begin(memory, &err), 0);
	do {
		r = guest_memory_step(memory, &err);
		if (r < 0)
			fail_msg("%s", err.message);
	} while (r > 0);
	guest_memory_done(memory);
}

static void check_same(int fd, const uint8_t *memory, uint64_t size)
{
	uint8_t page[PAGE];

	for (uint64_t at = 0; at < size; at += PAGE) {
		assert_int_equal(pread(fd, page, PAGE, (off_t)at), (ssize_t)PAGE);
		CHECK_ROW(at / PAGE, memcmp(page, memory + at, PAGE) == 0);
	}
}

/* Memory of its own: what was touched is copied, and zeros become holes. */
static void test_memory_of_its_own(void **state)
{
	struct guest_memory memory = GUEST_MEMORY_INIT;
	AUTO_CLOSE int out = -1;
	struct stat status;
	struct shim shim;
	uint8_t *bytes;

	(void)state;
	shim_init(&shim);
	out = temp_file(&shim, "out");
	bytes = mmap(NULL, 5 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(bytes != MAP_FAILED);
	bytes[0] = 1;
	bytes[3 * PAGE - 1] = 2;
	bytes[2 * MIB] = 3;
	bytes[2 * MIB + PAGE] = 0; /* touched, and zero */
	bytes[5 * MIB - 1] = 4;
	memory.address = (uintptr_t)bytes;
	memory.out_fd = out;
	write_memory(&memory);
	check_same(out, bytes, 5 * MIB);
	assert_int_equal(fstat(out, &status), 0);
	CHECK_INT(status.st_size, 5 * MIB);
	assert_true(status.st_blocks * 512 < (off_t)MIB);
	assert_int_equal(munmap(bytes, 5 * MIB), 0);
	shim_done(&shim);
}

/* What a shell opens for reading and writing is opened for reading, if it is the memory. */
static void test_gate(void **state)
{
	CLEANUP(gate_done) struct gate gate = GATE_INIT;
	CLEANUP(process_kill) struct process process = PROCESS_INIT;
	char *const argv[] = {
		(char[]){ "sh" }, (char[]){ "-c" },
		(char[]){ "echo fine 1<>$0; echo changed 1<>/proc/self/fd/9; : <>/nonexistent/x" },
		(char[]){ "other" }, NULL
	};
	struct spawn spawn = { .path = "/bin/sh",
			       .argv = argv,
			       .no_new_privs = true,
			       .filter = &gate_filter,
			       .filter_fd = 8 };
	AUTO_CLOSE int memory = -1;
	struct err err = ERR_INIT;
	struct shim shim;
	char text[16] = "";
	int ends[2], status = 0, opens = 0;
	int listener = -1;

	(void)state;
	shim_init(&shim);
	spawn.cwd = shim.folder;
	memory = open(shim_path(&shim, "kernel"), O_RDONLY | O_CLOEXEC);
	assert_true(memory >= 0);
	assert_int_equal(fd_socketpair(ends), 0);
	spawn_add_fd(&spawn, ends[1], spawn.filter_fd);
	spawn_add_fd(&spawn, memory, 9);
	if (spawn_start(&spawn, &process, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(unix_recv_fd(ends[0], text, sizeof(text), &listener), 1);
	assert_true(listener >= 0);
	gate_init(&gate, listener, memory, 9);
	/* Three opens, and then the end. */
	while (process_wait(&process, NULL, 0, &status) == -ETIMEDOUT) {
		struct pollfd fds[2] = { { .fd = listener, .events = POLLIN },
					 { .fd = process.pidfd, .events = POLLIN } };

		assert_true(poll(fds, 2, 10000) > 0);
		if ((fds[0].revents & POLLIN) != 0) {
			assert_int_equal(gate_step(&gate, &err), 0);
			opens++;
		}
	}
	CHECK_INT(opens, 3);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 0);
	fd_close(ends[0]);
	fd_close(ends[1]);
	assert_int_equal(lseek(memory, 0, SEEK_END), 0);
	fd_assign(&memory, open(shim_path(&shim, "other"), O_RDONLY | O_CLOEXEC));
	assert_int_equal(read(memory, text, sizeof(text)), 5);
	assert_memory_equal(text, "fine\n", 5);
	shim_done(&shim);
}

/* Disks are as large as the guest sees them. */
static void test_drive_size(void **state)
{
	static const uint8_t head[] = { 'Q', 'F', 'I', 0xFB, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0,
					0,   0,	  0,   16,   0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0 };
	struct config_drive drive = { .base_fd = -1 };
	uint64_t size = 0;
	struct shim shim;

	(void)state;
	shim_init(&shim);
	drive.fd = open(shim_path(&shim, "disk"), O_RDWR | O_CLOEXEC);
	assert_int_equal(fd_pwrite_all(drive.fd, span_of(head, sizeof(head)), 0), 0);
	assert_int_equal(config_drive_size(&drive, &size), 0);
	CHECK_INT(size, sizeof(head));
	drive.base_fd = drive.fd;
	assert_int_equal(config_drive_size(&drive, &size), 0);
	CHECK_INT(size, 0x102000000);
	assert_int_equal(fd_pwrite_all(drive.fd, span_str("\xFF"), 24), 0);
	CHECK_INT(config_drive_size(&drive, &size), -ERANGE);
	assert_int_equal(ftruncate(drive.fd, 30), 0);
	CHECK_INT(config_drive_size(&drive, &size), -ENODATA);
	fd_close(drive.fd);
	shim_done(&shim);
}

/* A clone's: pages that were written to, zeros among them, and the file's for the rest. */
static void test_memory_over_a_file(void **state)
{
	struct guest_memory memory = GUEST_MEMORY_INIT;
	AUTO_CLOSE int base = -1;
	AUTO_CLOSE int out = -1;
	struct stat status;
	struct shim shim;
	uint8_t *bytes;

	(void)state;
	shim_init(&shim);
	base = temp_file(&shim, "base");
	out = temp_file(&shim, "out");
	assert_int_equal(ftruncate(base, 5 * (off_t)MIB), 0);
	for (uint64_t at = 0; at < 64 * PAGE; at += PAGE)
		assert_int_equal(fd_pwrite_all(base, span_str("template"), at), 0);
	assert_int_equal(fd_pwrite_all(base, span_str("end"), 5 * MIB - 3), 0);
	bytes = mmap(NULL, 5 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE, base, 0);
	assert_true(bytes != MAP_FAILED);
	memory.address = (uintptr_t)bytes;
	memory.base_fd = base;
	memory.out_fd = out;
	bytes[0] = 'X';
	memset(bytes + 2 * PAGE, 0, PAGE);
	bytes[3 * MIB] = 9;
	assert_true(bytes[5 * PAGE] == 't'); /* read, so it is mapped, and the file's */
	write_memory(&memory);
	check_same(out, bytes, 5 * MIB);
	CHECK_INT(memory.read, 3 * PAGE);
	assert_int_equal(fstat(out, &status), 0);
	assert_true(status.st_blocks * 512 < (off_t)MIB);
	assert_int_equal(munmap(bytes, 5 * MIB), 0);
	shim_done(&shim);
}

static void test_memory_of_nobody(void **state)
{
	struct guest_memory memory = GUEST_MEMORY_INIT;
	struct err err = ERR_INIT;

	(void)state;
	memory.pid = INT32_MAX;
	assert_true(guest_memory_begin(&memory, &err) < 0);
	CHECK_HAS(err.message, "look into QEMU's memory: No such file or directory");
	guest_memory_done(&memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file_round_trip),
		cmocka_unit_test(test_file_crc_is_the_standard_one),
		cmocka_unit_test(test_file_damage),
		cmocka_unit_test(test_file_texts),
		cmocka_unit_test(test_file_facts),
		cmocka_unit_test(test_file_limits),
		cmocka_unit_test(test_address),
		cmocka_unit_test(test_create_in_every_phase),
		cmocka_unit_test(test_load_bodies),
		cmocka_unit_test(test_load_backend),
		cmocka_unit_test(test_load_after_each_configuration),
		cmocka_unit_test(test_restore_config),
		cmocka_unit_test(test_new_file),
		cmocka_unit_test(test_new_file_replaces),
		cmocka_unit_test(test_new_file_failures),
		cmocka_unit_test(test_memory_of_its_own),
		cmocka_unit_test(test_memory_over_a_file),
		cmocka_unit_test(test_memory_of_nobody),
		cmocka_unit_test(test_gate),
		cmocka_unit_test(test_drive_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
