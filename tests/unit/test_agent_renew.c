/* Becoming another machine, being at rest, standing still: what is pure of them, and the files. */
#include "check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/bus.h"
#include "agent/freeze.h"
#include "agent/identity.h"
#include "agent/machine_id.h"
#include "agent/netif.h"
#include "agent/programs.h"
#include "agent/quiet.h"
#include "agent/renew.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#define OLD_ID	   "0123456789abcdef0123456789abcdef"
#define NEW_ID	   "fedcba9876543210fedcba9876543210"
#define ENTROPY_32 "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="

struct place {
	char path[64];
	int root; /* owned */
};

static int place_set_up(void **state)
{
	struct place *place = mem_alloc(1, sizeof(*place));

	(void)snprintf(place->path, sizeof(place->path), "/tmp/banger-test-XXXXXX");
	assert_non_null(mkdtemp(place->path));
	place->root = dir_open(place->path);
	assert_true(place->root >= 0);
	*state = place;
	return 0;
}

static int place_tear_down(void **state)
{
	struct place *place = *state;

	fd_close(place->root);
	assert_int_equal(dir_remove_tree(AT_FDCWD, place->path), 0);
	mem_free(place);
	return 0;
}

static void make_folder(const struct place *place, const char *path)
{
	AUTO_FREE char *whole = mem_printf("%s/%s", place->path, path);

	assert_int_equal(dir_make_path(whole, 0755), 0);
}

static void write_file(const struct place *place, const char *path, const char *content)
{
	AUTO_CLOSE int fd =
		openat(place->root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, span_str(content)), 0);
}

static bool is_there(const struct place *place, const char *path)
{
	return faccessat(place->root, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void check_file(const struct place *place, const char *path, const char *content)
{
	AUTO_BUF text = BUF_INIT;

	if (file_read(place->root, path, 4096, &text) < 0)
		fail_msg("%s cannot be read", path);
	CHECK_STR(text.ptr, content);
}

/* --- the machine-id --- */

static void test_machine_id_is_read(void **state)
{
	static const struct {
		const char *content;
		const char *id;
	} rows[] = {
		{ OLD_ID "\n", OLD_ID },
		{ OLD_ID, OLD_ID },
		{ "", "" },
		{ "uninitialized\n", "" },
		{ "0123456789abcdef0123456789abcde\n", "" },
		{ "0123456789ABCDEF0123456789ABCDEF\n", "" },
		{ OLD_ID "0\n", "" },
		{ "zz23456789abcdef0123456789abcdef\n", "" },
	};
	const struct place *place = *state;
	char id[MACHINE_ID_SIZE];

	assert_int_equal(machine_id_read(place->root, id), 0);
	CHECK_STR(id, "");
	make_folder(place, "etc");
	assert_int_equal(machine_id_read(place->root, id), 0);
	CHECK_STR(id, "");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		write_file(place, "etc/machine-id", rows[i].content);
		assert_int_equal(machine_id_read(place->root, id), 0);
		CHECK_STR(id, rows[i].id);
	}
}

static void test_machine_id_and_its_copies(void **state)
{
	const struct place *place = *state;
	char id[MACHINE_ID_SIZE];

	assert_int_equal(machine_id_write(place->root, OLD_ID), 0);
	check_file(place, "etc/machine-id", OLD_ID "\n");
	/* One that a program of the image has is changed, none is made, a link stays one. */
	assert_false(is_there(place, "var/lib/dbus"));
	make_folder(place, "var/lib/dbus");
	assert_int_equal(machine_id_write(place->root, NEW_ID), 0);
	assert_false(is_there(place, "var/lib/dbus/machine-id"));
	write_file(place, "var/lib/dbus/machine-id", OLD_ID "\n");
	assert_int_equal(machine_id_write(place->root, NEW_ID), 0);
	check_file(place, "var/lib/dbus/machine-id", NEW_ID "\n");
	check_file(place, "etc/machine-id", NEW_ID "\n");
	assert_int_equal(unlinkat(place->root, "var/lib/dbus/machine-id", 0), 0);
	assert_int_equal(
		symlinkat("../../../etc/machine-id", place->root, "var/lib/dbus/machine-id"), 0);
	assert_int_equal(machine_id_write(place->root, OLD_ID), 0);
	assert_int_equal(readlinkat(place->root, "var/lib/dbus/machine-id", id, sizeof(id)), 23);
	/* One that is there is kept, unless another is given. */
	assert_int_equal(machine_id_ensure(place->root), 0);
	check_file(place, "etc/machine-id", OLD_ID "\n");
}

/* --- files that two machines must not share --- */

static void renew(const struct place *place, const char *old_id)
{
	struct err err = ERR_INIT;

	if (renew_files(place->root, old_id, NEW_ID, &err) < 0)
		fail_msg("%s", err.message);
}

static void test_renewal_of_an_empty_root(void **state)
{
	const struct place *place = *state;

	renew(place, OLD_ID);
	renew(place, "");
	assert_false(is_there(place, "etc"));
	assert_false(is_there(place, "var"));
}

static void test_renewal_of_files(void **state)
{
	static const struct {
		const char *path;
		bool stays;
	} rows[] = {
		{ "etc/ssh/ssh_host_ed25519_key", true },
		{ "etc/ssh/ssh_host_ed25519_key.pub", true },
		{ "etc/ssh/ssh_host_ed25519_key-cert.pub", false },
		{ "etc/ssh/ssh_host_rsa_key", false },
		{ "etc/ssh/ssh_host_rsa_key.pub", false },
		{ "etc/ssh/ssh_host_ecdsa_key-cert.pub", false },
		{ "etc/ssh/ssh_host_notes", true },
		{ "etc/ssh/sshd_config", true },
		{ "etc/ssh/my_key", true },
		{ "etc/dhcpcd.duid", false },
		{ "etc/dhcpcd.conf", true },
		{ "var/lib/systemd/credential.secret", false },
		{ "var/lib/systemd/timers", true },
		{ "var/lib/NetworkManager/secret_key", false },
		{ "var/lib/NetworkManager/internal-1-eth0.lease", false },
		{ "var/lib/NetworkManager/NetworkManager.state", true },
		{ "var/lib/dhcp/dhclient.eth0.leases", false },
		{ "var/lib/dhclient/dhclient.leases", false },
		{ "var/lib/dhcpcd/eth0.lease", false },
		{ "var/lib/dhcpcd/duid", false },
		{ "run/log/journal/" OLD_ID "/system.journal", false },
		{ "run/log/journal/" NEW_ID "/system.journal", true },
		{ "var/log/journal/" NEW_ID "/user.journal", true },
		{ "var/log/journal/" OLD_ID "/user.journal", true },
	};
	const struct place *place = *state;

	make_folder(place, "etc/ssh");
	make_folder(place, "var/lib/systemd");
	make_folder(place, "var/lib/NetworkManager");
	make_folder(place, "var/lib/dhcp");
	make_folder(place, "var/lib/dhclient");
	make_folder(place, "var/lib/dhcpcd");
	make_folder(place, "run/log/journal/" OLD_ID);
	make_folder(place, "var/log/journal/" OLD_ID);
	make_folder(place, "var/log/journal/" NEW_ID); /* there already: both stay */
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!str_eq(rows[i].path, "run/log/journal/" NEW_ID "/system.journal"))
			write_file(place, rows[i].path, rows[i].path);
	}
	renew(place, OLD_ID);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i, is_there(place, rows[i].path) == rows[i].stays);
	check_file(place, "run/log/journal/" NEW_ID "/system.journal",
		   "run/log/journal/" OLD_ID "/system.journal");
}

static void test_renewal_of_seeds(void **state)
{
	static const char *const rows[] = { "var/lib/systemd/random-seed",
					    "var/lib/urandom/random-seed",
					    "var/lib/misc/random-seed",
					    "var/lib/seedrng/seed.credit",
					    "var/lib/seedrng/seed.no-credit" };
	const struct place *place = *state;

	make_folder(place, "var/lib/systemd");
	make_folder(place, "var/lib/urandom");
	make_folder(place, "var/lib/misc");
	make_folder(place, "var/lib/seedrng");
	renew(place, OLD_ID);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i, !is_there(place, rows[i])); /* none is made */
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		write_file(place, rows[i], "old");
	for (int times = 0; times < 2; times++) {
		AUTO_BUF all = BUF_INIT;

		renew(place, OLD_ID);
		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			struct stat st;

			assert_int_equal(fstatat(place->root, rows[i], &st, 0), 0);
			CHECK_INT(st.st_mode & 07777, 0600);
			assert_int_equal(file_read(place->root, rows[i], 4096, &all), 0);
			CHECK_INT(all.len, 512 * (i + 1));
		}
		assert_memory_not_equal(all.ptr, all.ptr + 512, 512);
	}
}

/* Folders that lead out of the root lead nowhere. */
static void test_renewal_stays_inside(void **state)
{
	const struct place *place = *state;
	AUTO_FREE char *outside = mem_printf("%s/outside", place->path);
	AUTO_CLOSE int root = -1;
	struct err err = ERR_INIT;
	int r;

	make_folder(place, "outside");
	make_folder(place, "root/etc");
	write_file(place, "outside/ssh_host_rsa_key", "x");
	assert_int_equal(symlinkat(outside, place->root, "root/etc/ssh"), 0);
	root = dir_open_at(place->root, "root");
	assert_true(root >= 0);
	r = renew_files(root, OLD_ID, NEW_ID, &err);
	/* Without openat2() a link is refused, wherever it leads. */
	assert_true(r == 0 || r == -ENOTDIR);
	assert_true(is_there(place, "outside/ssh_host_rsa_key"));
}

/* --- what a renewal must be given --- */

static void test_whole_identity(void **state)
{
#define WHOLE                                                                              \
	"\"hostname\":\"a\",\"machine_id\":\"" NEW_ID "\",\"entropy\":\"" ENTROPY_32 "\"," \
	"\"ssh_host_key\":\"k\",\"ssh_host_key_pub\":\"p\",\"wall_seconds\":1"
	static const struct {
		const char *json;
		const char *problem;
	} rows[] = {
		{ "{" WHOLE ",\"network\":null}", NULL },
		{ "{" WHOLE
		  ",\"network\":{\"address\":\"10.0.0.2\",\"prefix\":8,\"mac\":\"02:00:00:00:"
		  "00:01\"}}",
		  NULL },
		{ "{" WHOLE "}", "'network'" },
		{ "{" WHOLE ",\"network\":{\"address\":\"10.0.0.2\",\"prefix\":8}}",
		  "'network.mac'" },
		{ "{\"hostname\":\"a\"}", "'machine_id'" },
		{ "{\"hostname\":\"a\",\"machine_id\":\"" NEW_ID "\"}", "'ssh_host_key'" },
		{ "{\"hostname\":\"a\",\"machine_id\":\"" NEW_ID
		  "\",\"ssh_host_key\":\"k\",\"ssh_host_key_pub\":\"p\"}",
		  "'entropy'" },
		{ "{\"hostname\":\"a\",\"machine_id\":\"" NEW_ID
		  "\",\"ssh_host_key\":\"k\",\"ssh_host_key_pub\":\"p\",\"entropy\":\"" ENTROPY_32
		  "\"}",
		  "'wall_seconds'" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct identity identity;
		struct err err = ERR_INIT;

		assert_int_equal(identity_parse_text(span_str(rows[i].json), &identity, &err), 0);
		CHECK_ROW(i, (identity_check_whole(&identity, &err) == 0) == !rows[i].problem);
		if (rows[i].problem)
			CHECK_HAS(err.message, rows[i].problem);
		identity_done(&identity);
	}
}

static void test_identity_members(void **state)
{
	static const char *const refused[] = {
		"{\"hostname\":\"a\",\"machine_id\":\"0123\"}",
		"{\"hostname\":\"a\",\"machine_id\":\"00000000000000000000000000000000\"}",
		"{\"hostname\":\"a\",\"machine_id\":\"0123456789ABCDEF0123456789ABCDEF\"}",
		"{\"hostname\":\"a\",\"machine_id\":\"" OLD_ID "0\"}",
		"{\"hostname\":\"a\",\"wall_nanoseconds\":1}",
		"{\"hostname\":\"a\",\"wall_seconds\":1,\"wall_nanoseconds\":1000000000}",
		"{\"hostname\":\"a\",\"wall_seconds\":1,\"wall_nanoseconds\":-1}",
	};
	struct identity identity;
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		CHECK_ROW(i, identity_parse_text(span_str(refused[i]), &identity, &err) < 0);
	assert_int_equal(identity_parse_text(span_str("{\"hostname\":\"a\",\"machine_id\":\"" OLD_ID
						      "\",\"wall_seconds\":1,"
						      "\"wall_nanoseconds\":999999999}"),
					     &identity, &err),
			 0);
	CHECK_STR(identity.machine_id, OLD_ID);
	CHECK_INT(identity.wall_nanoseconds, 999999999);
	assert_true(identity.has_nanoseconds);
	identity_done(&identity);
}

/* --- readers --- */

static void test_default_route(void **state)
{
	static const struct {
		const char *line;
		bool is_default;
	} rows[] = {
		{ "eth0\t00000000\t014E0A0A\t0003\t0\t0\t0\t00000000\t0\t0\t0", true },
		{ "eth0\t00000000\t014E0A0A\t0003\t0\t0\t0\t000000FF\t0\t0\t0", false },
		{ "eth0\t00004E0A\t00000000\t0001\t0\t0\t0\t00F0FFFF\t0\t0\t0", false },
		{ "eth1\t00000000\t014E0A0A\t0003\t0\t0\t0\t00000000\t0\t0\t0", false },
		{ "eth00\t00000000\t014E0A0A\t0003\t0\t0\t0\t00000000\t0\t0\t0", false },
		{ "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask", false },
		{ "eth0\t00000000\t014E0A\t0003\t0\t0\t0\t00000000", false },
		{ "eth0", false },
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t gateway[4] = { 9, 9, 9, 9 };

		CHECK_ROW(i, netif_route_parse(span_str(rows[i].line), "eth0", gateway) ==
				     rows[i].is_default);
		assert_memory_equal(gateway, rows[i].is_default ? "\x0a\x0a\x4e\x01" : "\t\t\t\t",
				    4);
	}
}

static void test_mounts(void **state)
{
#define MOUNT(text, path)                    \
	{                                    \
		text, sizeof(text) - 1, path \
	}
	static const struct {
		const char *line;
		size_t len;
		const char *path; /* NULL: not one that can be frozen */
	} rows[] = {
		MOUNT("24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=x", "/"),
		MOUNT("24 1 254:0 / / ro,relatime - ext4 /dev/vda rw", "/"),
		MOUNT("24 1 254:16 / /a\\040b\\134 rw master:1 propagate_from:2 - ext4 /dev/vdb rw",
		      "/a b\\"),
		MOUNT("24 1 254:0 / / ro,relatime - ext4 /dev/vda ro", NULL),
		MOUNT("24 1 254:0 / / rw,relatime - ext4 /dev/vda rwx", NULL),
		MOUNT("25 1 0:22 / /proc rw - proc proc rw", NULL),
		MOUNT("25 1 0:22 / /mnt rw - fuse.sshfs host:/ rw", NULL),
		MOUNT("25 1 0:22 / /mnt rw ext4 /dev/vda rw", NULL),
		MOUNT("25 1 0 / /mnt rw - ext4 /dev/vda rw", NULL),
		MOUNT("25", NULL),
		MOUNT("", NULL),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct freeze_mount mount = { .id = 77 };
		const bool is_one = freeze_parse_mount(span_of(rows[i].line, rows[i].len), &mount);

		CHECK_ROW(i, is_one == (rows[i].path != NULL));
		if (is_one) {
			CHECK_STR(mount.path.ptr, rows[i].path);
			CHECK_INT(mount.id, 24);
			CHECK_INT(mount.major, 254);
			buf_done(&mount.path);
		} else {
			CHECK_INT(mount.id, 77);
		}
	}
}

static void test_sshd_listens(void **state)
{
#define ARGS(text, listens)                     \
	{                                       \
		text, sizeof(text) - 1, listens \
	}
	static const struct {
		const char *bytes;
		size_t len;
		bool listens;
	} rows[] = {
		ARGS("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups\0", true),
		ARGS("sshd: root@pts/0\0\0\0", false),
		ARGS("sshd: root [priv]", false),
		ARGS("/usr/sbin/sshd\0-D\0", true),
		ARGS("/usr/sbin/sshd\0", true),
		ARGS("/usr/sbin/sshd\0-i\0-h\0/key\0", false),
		ARGS("/usr/sbin/sshd\0-D\0-R\0", false),
		ARGS("sshd", true),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i, programs_sshd_listens(span_of(rows[i].bytes, rows[i].len)) ==
				     rows[i].listens);
}

static void test_stat_fields(void **state)
{
	static const struct {
		const char *stat;
		size_t number;
		bool is_there;
		uint64_t value;
	} rows[] = {
		{ "12 (sshd) S 1 12 12 0", 4, true, 1 },
		{ "12 (a) b (c) S 7 12 12 0", 4, true, 7 },
		{ "12 (a) S 7 12 18446744073709551615", 6, true, UINT64_MAX },
		{ "12 (a) S 7", 5, false, 0 },
		{ "12 (a) S", 3, false, 0 },
		{ "12 (a)", 4, false, 0 },
		{ "12 a", 4, false, 0 },
		{ "", 4, false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t value = 0;

		CHECK_ROW(i, programs_stat_field(span_str(rows[i].stat), rows[i].number, &value) ==
				     rows[i].is_there);
		CHECK_INT(value, rows[i].value);
	}
}

/* --- being at rest --- */

#define STAT_TEXT "cpu  10 1 20 900 30 2 3 4 5 6\ncpu0 1 2 3 4\nctxt 5\nprocs_blocked 2\n"
#define DISKS_TEXT                                                         \
	" 254       0 vda 100 4 64 20 50 23 27 46 3 21 25 0 0 0 0 23 77\n" \
	" 254      16 vdb 1 0 2 8 2 2 3 1 0 1 2\n"

static void test_samples(void **state)
{
	struct quiet_sample sample = { .blocked = 0 };

	(void)state;
	assert_true(quiet_parse_stat(span_str(STAT_TEXT), &sample));
	CHECK_INT(sample.busy_ticks, 40);
	CHECK_INT(sample.all_ticks, 970);
	CHECK_INT(sample.blocked, 2);
	assert_true(quiet_parse_disks(span_str(DISKS_TEXT), &sample));
	CHECK_INT(sample.transfers, 153);
	CHECK_INT(sample.in_flight, 3);
	assert_true(quiet_parse_disks(span_str(""), &sample)); /* a guest without disks */
	assert_false(quiet_parse_stat(span_str("cpu  1 2 3 4\n"), &sample));
	assert_false(quiet_parse_stat(span_str("procs_blocked 0\n"), &sample));
	assert_false(quiet_parse_stat(span_str("cpu  1 2 3\nprocs_blocked 0\n"), &sample));
	assert_false(quiet_parse_stat(span_str(""), &sample));
	assert_false(quiet_parse_disks(span_str("254 0 vda 1 2 3\n"), &sample));
	assert_false(quiet_parse_disks(span_str("nonsense"), &sample));
}

static void test_comparison(void **state)
{
	static const struct {
		struct quiet_sample second; /* the first is { 100, 1000, 0, 10, 0 } */
		const char *why;	    /* NULL: it was quiet */
	} rows[] = {
		{ { 100, 2000, 0, 10, 0 }, NULL },
		{ { 150, 2000, 0, 10, 0 }, NULL },
		{ { 151, 2000, 0, 10, 0 }, "busy for 51 of 1000" },
		{ { 1100, 2000, 0, 10, 0 }, "busy for 1000 of 1000" },
		{ { 100, 1000, 0, 10, 0 }, "no time" },
		{ { 100, 2000, 3, 10, 0 }, "3 processes wait" },
		{ { 100, 2000, 0, 11, 0 }, "a disk is at work" },
		{ { 100, 2000, 0, 10, 1 }, "a disk is at work" },
	};
	const struct quiet_sample first = { 100, 1000, 0, 10, 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF why = BUF_INIT;

		quiet_compare(&first, &rows[i].second, &why);
		CHECK_ROW(i, (why.len == 0) == !rows[i].why);
		if (rows[i].why)
			CHECK_HAS(why.ptr, rows[i].why);
	}
}

static void test_systemd_is_judged(void **state)
{
	static const struct {
		struct bus_value system_state;
		struct bus_value jobs;
		const char *why;
	} rows[] = {
		{ { 's', 0, "running" }, { 'u', 0, "" }, "" },
		{ { 's', 0, "degraded" }, { 'u', 0, "" }, "" },
		{ { 's', 0, "starting" }, { 'u', 0, "" }, "systemd is starting" },
		{ { 's', 0, "running" }, { 'u', 2, "" }, "systemd has 2 jobs to do" },
		{ { 'u', 0, "" }, { 'u', 0, "" }, "systemd does not say what it is doing" },
		{ { 's', 0, "running" }, { '\0', 0, "" }, "systemd does not say what it is doing" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF why = BUF_INIT;

		quiet_judge_systemd(&rows[i].system_state, &rows[i].jobs, &why);
		CHECK_STR(why.ptr, rows[i].why);
	}
}

/* --- D-Bus --- */

#define RETURN_OF_TEXT                                                                         \
	"l\x02\x01\x01\x10\0\0\0\x02\0\0\0\x0f\0\0\0\x05\x01u\0\x01\0\0\0\x08\x01g\0\x01v\0\0" \
	"\x01s\0\0\x07\0\0\0running\0"

static void test_bus_messages(void **state)
{
	static const char whole[] = RETURN_OF_TEXT "l";
	const size_t size = sizeof(whole) - 2;
	struct bus_message message;
	struct bus_value value;

	(void)state;
	for (size_t len = 0; len < size; len++)
		CHECK_ROW(len, bus_read_message(span_of(whole, len), &message) == 0);
	CHECK_INT(bus_read_message(span_of(whole, size + 1), &message), 1);
	CHECK_INT(message.type, BUS_RETURN);
	CHECK_INT(message.size, size);
	value = bus_read_value(message.body);
	CHECK_INT(value.type, 's');
	CHECK_STR(value.text, "running");
	CHECK_INT(bus_read_message(span_of("B", 1), &message), -1);
	/* Lengths up to the limit, and beyond. */
	CHECK_INT(bus_read_message(span_of("l\x02\x01\x01\xf0\xff\0\0\x02\0\0\0\0\0\0\0", 16),
				   &message),
		  0);
	CHECK_INT(bus_read_message(span_of("l\x02\x01\x01\xf1\xff\0\0\x02\0\0\0\0\0\0\0", 16),
				   &message),
		  -1);
	CHECK_INT(bus_read_message(span_of("l\x02\x01\x01\0\0\0\0\x02\0\0\0\xff\xff\xff\xff", 16),
				   &message),
		  -1);
}

static void test_bus_values(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		char type;
		uint32_t number;
		const char *text;
	} rows[] = {
		{ "\x01u\0\0\x07\x01\0\0", 8, 'u', 263, "" },
		{ "\x01s\0\0\x02\0\0\0ab\0", 11, 's', 0, "ab" },
		{ "\x01s\0\0\0\0\0\0\0", 9, 's', 0, "" },
		{ "\x01s\0\0\x03\0\0\0ab\0", 11, '\0', 0, "" }, /* longer than it is */
		{ "\x01s\0\0\xff\xff\xff\xff"
		  "ab\0",
		  11, '\0', 0, "" },
		{ "\x01i\0\0\x07\0\0\0", 8, '\0', 0, "" },
		{ "\x02ss\0\x07\0\0\0", 8, '\0', 0, "" },
		{ "\x01u\0\0\x07\0\0", 7, '\0', 0, "" },
		{ "", 0, '\0', 0, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct bus_value value = bus_read_value(span_of(rows[i].bytes, rows[i].len));

		CHECK_ROW(i, value.type == rows[i].type && value.number == rows[i].number);
		CHECK_STR(value.text, rows[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_machine_id_is_read, place_set_up,
						place_tear_down),
		cmocka_unit_test_setup_teardown(test_machine_id_and_its_copies, place_set_up,
						place_tear_down),
		cmocka_unit_test_setup_teardown(test_renewal_of_an_empty_root, place_set_up,
						place_tear_down),
		cmocka_unit_test_setup_teardown(test_renewal_of_files, place_set_up,
						place_tear_down),
		cmocka_unit_test_setup_teardown(test_renewal_of_seeds, place_set_up,
						place_tear_down),
		cmocka_unit_test_setup_teardown(test_renewal_stays_inside, place_set_up,
						place_tear_down),
		cmocka_unit_test(test_whole_identity),
		cmocka_unit_test(test_identity_members),
		cmocka_unit_test(test_default_route),
		cmocka_unit_test(test_mounts),
		cmocka_unit_test(test_sshd_listens),
		cmocka_unit_test(test_stat_fields),
		cmocka_unit_test(test_samples),
		cmocka_unit_test(test_comparison),
		cmocka_unit_test(test_systemd_is_judged),
		cmocka_unit_test(test_bus_messages),
		cmocka_unit_test(test_bus_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
