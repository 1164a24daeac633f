/* The agent's pure readers: kernel command line, requests, /proc/net, text files, tar names,
 * superblock. */
#include "check.h"

#include "agent/cmdline.h"
#include "agent/disks.h"
#include "agent/exec.h"
#include "agent/files.h"
#include "agent/hosts.h"
#include "agent/proc_net.h"
#include "agent/request.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"

static void test_cmdline(void **state)
{
	static const struct {
		const char *text;
		const char *root;
		const char *work;
		const char *init;
		bool is_read_only;
		bool is_debug;
	} rows[] = {
		{ "root=/dev/vda", "/dev/vda", "", "", false, false },
		{ "quiet root=/dev/vda rw banger.work=/dev/vdb\n", "/dev/vda", "/dev/vdb", "",
		  false, false },
		{ "  root=/dev/vda\tro ", "/dev/vda", "", "", true, false },
		{ "ro root=/dev/vda rw", "/dev/vda", "", "", false, false },
		{ "root=/dev/vda root=/dev/vdc", "/dev/vdc", "", "", false, false },
		{ "root=/dev/vda banger.debug debug", "/dev/vda", "", "", false, true },
		{ "root=/dev/vda debug", "/dev/vda", "", "", false, false },
		{ "root=/dev/vda banger.init=/opt/my/init", "/dev/vda", "", "/opt/my/init", false,
		  false },
		{ "banger.init=\"/opt/a b\" \"root=/dev/vda\"", "/dev/vda", "", "/opt/a b", false,
		  false },
		{ "root=/dev/vda -- ro root=/dev/vdz", "/dev/vda", "", "", false, false },
		{ "xroot=/dev/vdb root=/dev/vda rootwait", "/dev/vda", "", "", false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct boot_options got;
		struct err err = ERR_INIT;

		CHECK_ROW(i, boot_options_parse(span_str(rows[i].text), &got, &err) == 0);
		CHECK_STR(got.root, rows[i].root);
		CHECK_STR(got.work, rows[i].work);
		CHECK_STR(got.init, rows[i].init);
		CHECK_ROW(i, got.is_read_only == rows[i].is_read_only);
		CHECK_ROW(i, got.is_debug == rows[i].is_debug);
	}
}

static void test_cmdline_refused(void **state)
{
	static const struct {
		const char *text;
		enum err_kind kind;
		const char *message;
	} rows[] = {
		{ "", ERR_NOT_FOUND, "there is no root=" },
		{ "quiet rw -- root=/dev/vda", ERR_NOT_FOUND, "there is no root=" },
		{ "root=vda", ERR_INVALID, "'root=vda' does not name a device" },
		{ "root=UUID=77", ERR_INVALID, "does not name a device" },
		{ "root=/dev/", ERR_INVALID, "does not name a device" },
		{ "root=/dev/../etc/passwd", ERR_INVALID, "does not name a device" },
		{ "root=/dev/vda banger.work=/etc/x", ERR_INVALID, "'banger.work=/etc/x'" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct boot_options got = { .root = "untouched" };
		struct err err = ERR_INIT;

		CHECK_ROW(i, boot_options_parse(span_str(rows[i].text), &got, &err) < 0);
		CHECK_INT(err.kind, rows[i].kind);
		CHECK_HAS(err.message, rows[i].message);
		CHECK_STR(got.root, "untouched");
	}
}

/* A device's name at its limit and one byte over; an init's path too. */
static void test_cmdline_limits(void **state)
{
	(void)state;
	for (size_t extra = 0; extra < 2; extra++) {
		AUTO_BUF text = BUF_INIT;
		struct boot_options got;
		struct err err = ERR_INIT;

		buf_add_str(&text, "root=/dev/");
		while (text.len < strlen("root=") + BOOT_DEVICE_SIZE - 1 + extra)
			buf_add_byte(&text, 'a');
		CHECK_ROW(extra, (boot_options_parse(buf_span(&text), &got, &err) == 0) == !extra);

		buf_clear(&text);
		buf_add_str(&text, "root=/dev/vda banger.init=/");
		for (size_t i = 1; i < BOOT_PATH_SIZE - 1 + extra; i++)
			buf_add_byte(&text, 'a');
		CHECK_ROW(extra, (boot_options_parse(buf_span(&text), &got, &err) == 0) == !extra);
	}
}

static void test_net_socket(void **state)
{
	static const struct {
		const char *line;
		const char *address;
		uint64_t inode;
		enum net_protocol protocol;
		uint16_t port;
		bool listens;
	} rows[] = {
		{ "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     "
		  "0        0 12345 1 0000000000000000 100 0 0 10 0",
		  "127.0.0.1", 12345, NET_TCP, 8080, true },
		{ "  17: 0F02000A:0016 0202000A:C5D2 01 00000000:00000000 02:000A7B0B 00000000  "
		  "1000        0 99 2 0000000000000000 20 4 30 10 -1",
		  "10.0.2.15", 99, NET_TCP, 22, false },
		{ "   1: 00000000000000000000000001000000:0050 "
		  "00000000000000000000000000000000:0000 "
		  "0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0 100 0 0 10 0",
		  "::1", 777, NET_TCP6, 80, true },
		{ "  300: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000   "
		  "101        0 5 2 0000000000000000 0",
		  "0.0.0.0", 5, NET_UDP, 68, true },
		{ "  300: 00000000:0044 01010101:0035 01 00000000:00000000 00:00000000 00000000   "
		  "101        0 5 2 0000000000000000 0",
		  "0.0.0.0", 5, NET_UDP, 68, false },
		{ "12: 000080FE00000000FF00000001000000:14E9 00000000000000000000000000000000:0000 "
		  "07 "
		  "00000000:00000000 00:00000000 00000000 0 0 18446744",
		  "fe80::ff:0:1", 18446744, NET_UDP6, 5353, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct net_socket got;
		char address[46];

		CHECK_ROW(i, net_socket_parse(span_str(rows[i].line), rows[i].protocol, &got));
		net_socket_address(&got, address);
		CHECK_STR(address, rows[i].address);
		CHECK_INT(got.port, rows[i].port);
		CHECK_INT(got.inode, rows[i].inode);
		CHECK_ROW(i, net_socket_listens(&got) == rows[i].listens);
	}
}

static void test_net_socket_refused(void **state)
{
	static const char *const rows[] = {
		"",
		"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid",
		"   0: 0100007F:1F90",
		"   0: 0100007G:1F90 00000000:0000 0A 0:0 0:0 0 0 0 1",
		"   0: 0100007F 1F90 00000000:0000 0A 0:0 0:0 0 0 0 1",
		"   0 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0 1",
		"   0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0 x",
		"   0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0",
		"   0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 4294967296 0 1",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct net_socket got = { .port = 7 };

		CHECK_ROW(i, !net_socket_parse(span_str(rows[i]), NET_TCP, &got));
		CHECK_INT(got.port, 7);
	}
}

static void test_hosts(void **state)
{
	static const struct {
		const char *before;
		const char *after;
	} rows[] = {
		{ "", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
		      "127.0.1.1\tbox\n" },
		{ "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 old.example old\n10.0.0.1 db # "
		  "x\n",
		  "127.0.0.1 localhost\n::1 localhost\n127.0.1.1\tbox\n10.0.0.1 db # x\n" },
		{ "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 a\n127.0.1.1 b\n",
		  "127.0.0.1 localhost\n::1 localhost\n127.0.1.1\tbox\n" },
		{ "# 127.0.0.1 localhost\n127.0.0.1 name # localhost\n::1 x",
		  "# 127.0.0.1 localhost\n127.0.0.1 name # localhost\n::1 x\n"
		  "127.0.0.1\tlocalhost\n127.0.1.1\tbox\n" },
		{ "127.0.0.1\tlocalhost\r\n\n::1 l\n",
		  "127.0.0.1\tlocalhost\r\n\n::1 l\n127.0.1.1\tbox\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF once = BUF_INIT;
		AUTO_BUF twice = BUF_INIT;

		hosts_edit(span_str(rows[i].before), "box", &once);
		CHECK_STR(once.ptr, rows[i].after);
		hosts_edit(buf_span(&once), "box", &twice);
		CHECK_STR(twice.ptr, rows[i].after);
	}
}

static void test_authorized_keys(void **state)
{
	AUTO_STRV keys = { .items = NULL };
	AUTO_STRV none = { .items = NULL };
	AUTO_BUF first = BUF_INIT;
	AUTO_BUF second = BUF_INIT;
	AUTO_BUF third = BUF_INIT;
	AUTO_BUF cut = BUF_INIT;

	(void)state;
	strv_add(&keys, "ssh-ed25519 AAAA one");
	strv_add(&keys, "ssh-ed25519 BBBB two");
	authorized_keys_edit(span_str("ssh-rsa mine"), &keys, &first);
	CHECK_STR(first.ptr, "ssh-rsa mine\n# banger: keys below are replaced at every start\n"
			     "ssh-ed25519 AAAA one\nssh-ed25519 BBBB two\n# banger: end\n");
	authorized_keys_edit(buf_span(&first), &keys, &second);
	CHECK_STR(second.ptr, first.ptr);
	authorized_keys_edit(buf_span(&first), &none, &third);
	CHECK_STR(third.ptr, "ssh-rsa mine\n");

	/* Somebody removed the end mark: his own keys behind it must stay. */
	authorized_keys_edit(
		span_str("# banger: keys below are replaced at every start\nssh-rsa mine\n"), &none,
		&cut);
	CHECK_STR(cut.ptr, "ssh-rsa mine\n");
}

static void test_base64(void **state)
{
	static const struct {
		const char *text;
		const char *bytes; /* NULL: refused */
	} rows[] = {
		{ "", "" },
		{ "Zg==", "f" },
		{ "Zm8=", "fo" },
		{ "Zm9v", "foo" },
		{ "Zm9vYmFy", "foobar" },
		{ "//79", "\xff\xfe\xfd" },
		{ "++++", "\xfb\xef\xbe" },
		{ "Z", NULL },
		{ "Zg=", NULL },
		{ "Zg", NULL },
		{ "Zh==", NULL },
		{ "Zm9=", NULL },
		{ "Zg==Zg==", NULL },
		{ "Z===", NULL },
		{ "====", NULL },
		{ "Zm9\n", NULL },
		{ "Zm-v", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF out = BUF_INIT;

		buf_add_str(&out, "x");
		CHECK_ROW(i,
			  base64_decode(span_str(rows[i].text), &out) == (rows[i].bytes != NULL));
		CHECK_STR(out.ptr + 1, rows[i].bytes ? rows[i].bytes : "");
		if (rows[i].bytes) {
			AUTO_BUF text = BUF_INIT;

			base64_encode(&text, span_str(rows[i].bytes));
			CHECK_STR(text.ptr, rows[i].text);
		}
	}
}

static void test_requests(void **state)
{
	static const struct {
		const char *line;
		enum wire_op op;
	} rows[] = {
		{ "{\"op\":\"ping\"}", WIRE_OP_PING },
		{ "{\"op\":\"stats\"}", WIRE_OP_STATS },
		{ "{\"op\":\"ssh\"}", WIRE_OP_SSH },
		{ "{\"op\":\"exec\"}", WIRE_OP_EXEC },
		{ "{\"op\":\"exec\",\"cwd\":\"/srv\",\"user\":\"me\",\"tty\":true,\"rows\":65535,"
		  "\"cols\":1}",
		  WIRE_OP_EXEC },
		{ "{\"op\":\"put\",\"path\":\"/srv/\"}", WIRE_OP_PUT },
		{ "{\"op\":\"get\",\"path\":\"/srv\"}", WIRE_OP_GET },
		{ "{\"op\":\"identity\",\"identity\":{\"hostname\":\"x\"}}", WIRE_OP_IDENTITY },
		{ "{\"op\":\"shutdown\",\"mode\":\"reboot\"}", WIRE_OP_SHUTDOWN },
		{ "{\"op\":\"forward\",\"tcp\":65535}", WIRE_OP_FORWARD },
		{ "{\"op\":\"forward\",\"unix\":\"/run/x\"}", WIRE_OP_FORWARD },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct request request;
		struct err err = ERR_INIT;

		CHECK_ROW(i, request_parse(span_str(rows[i].line), &request, &err) == 0);
		CHECK_INT(request.op, rows[i].op);
		request_done(&request);
	}
}

static void test_request_members(void **state)
{
	struct request request;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(request_parse(span_str("{\"op\":\"exec\",\"cwd\":\"/srv\",\"user\":\"me\","
						"\"tty\":true,\"rows\":40,\"cols\":120}"),
				       &request, &err),
			 0);
	CHECK_STR(request.cwd, "/srv");
	CHECK_STR(request.user, "me");
	assert_true(request.has_tty);
	CHECK_INT(request.rows, 40);
	CHECK_INT(request.cols, 120);
	request_done(&request);
	assert_int_equal(request_parse(span_str("{\"op\":\"shutdown\",\"mode\":\"poweroff\"}"),
				       &request, &err),
			 0);
	assert_false(request.is_reboot);
	request_done(&request);
}

static void test_requests_refused(void **state)
{
	static const struct {
		const char *line;
		enum err_kind kind;
	} rows[] = {
		{ "", ERR_PROTOCOL },
		{ "{", ERR_PROTOCOL },
		{ "[]", ERR_PROTOCOL },
		{ "{\"op\":\"ping\"} x", ERR_PROTOCOL },
		{ "{\"op\":\"ping\",\"op\":\"ping\"}", ERR_PROTOCOL },
		{ "{}", ERR_INVALID },
		{ "{\"op\":7}", ERR_INVALID },
		{ "{\"op\":\"nosuch\"}", ERR_UNSUPPORTED },
		{ "{\"op\":\"ping\",\"x\":1}", ERR_INVALID },
		{ "{\"op\":\"exec\",\"cwd\":\"srv\"}", ERR_INVALID },
		{ "{\"op\":\"exec\",\"user\":\"\"}", ERR_INVALID },
		{ "{\"op\":\"exec\",\"tty\":1}", ERR_INVALID },
		{ "{\"op\":\"exec\",\"rows\":24,\"cols\":80}", ERR_INVALID },
		{ "{\"op\":\"exec\",\"tty\":true,\"rows\":0}", ERR_INVALID },
		{ "{\"op\":\"exec\",\"tty\":true,\"cols\":65536}", ERR_INVALID },
		{ "{\"op\":\"exec\",\"tty\":true,\"cols\":-1}", ERR_INVALID },
		{ "{\"op\":\"exec\",\"cwd\":\"/a\\u0000b\"}", ERR_PROTOCOL },
		{ "{\"op\":\"put\"}", ERR_INVALID },
		{ "{\"op\":\"put\",\"path\":\"a\"}", ERR_INVALID },
		{ "{\"op\":\"get\",\"path\":\"/\"}", ERR_INVALID },
		{ "{\"op\":\"get\",\"path\":\"/a/\"}", ERR_INVALID },
		{ "{\"op\":\"get\",\"path\":\"/a/.\"}", ERR_INVALID },
		{ "{\"op\":\"get\",\"path\":\"/a/..\"}", ERR_INVALID },
		{ "{\"op\":\"get\",\"path\":\"a/b\"}", ERR_INVALID },
		{ "{\"op\":\"identity\"}", ERR_INVALID },
		{ "{\"op\":\"shutdown\",\"mode\":\"halt\"}", ERR_INVALID },
		{ "{\"op\":\"forward\"}", ERR_INVALID },
		{ "{\"op\":\"forward\",\"tcp\":0}", ERR_INVALID },
		{ "{\"op\":\"forward\",\"tcp\":65536}", ERR_INVALID },
		{ "{\"op\":\"forward\",\"tcp\":80,\"unix\":\"/x\"}", ERR_INVALID },
		{ "{\"op\":\"forward\",\"unix\":\"x\"}", ERR_INVALID },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct request request = { .op = WIRE_OP_PING };
		struct err err = ERR_INIT;

		CHECK_ROW(i, request_parse(span_str(rows[i].line), &request, &err) < 0);
		CHECK_ROW(i, err.kind == rows[i].kind);
		assert_null(request.op_name);
	}
}

static void test_http(void **state)
{
	static const struct {
		const char *line;
		bool is_http;
		enum http_target target;
	} rows[] = {
		{ "GET /healthz HTTP/1.1\r", true, HTTP_HEALTH },
		{ "GET /healthz HTTP/1.0", true, HTTP_HEALTH },
		{ "GET /ports HTTP/1.1\r", true, HTTP_PORTS },
		{ "GET / HTTP/1.1\r", true, HTTP_NOT_FOUND },
		{ "GET /healthz/ HTTP/1.1\r", true, HTTP_NOT_FOUND },
		{ "POST /healthz HTTP/1.1\r", true, HTTP_BAD_METHOD },
		{ "get /healthz HTTP/1.1\r", false, HTTP_HEALTH },
		{ "GET /healthz", false, HTTP_HEALTH },
		{ "GET /healthz HTTP/2.0\r", false, HTTP_HEALTH },
		{ "GET healthz HTTP/1.1\r", false, HTTP_HEALTH },
		{ "GET  /healthz HTTP/1.1\r", false, HTTP_HEALTH },
		{ "{\"op\":\"ping\"}", false, HTTP_HEALTH },
		{ "", false, HTTP_HEALTH },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		enum http_target target = HTTP_HEALTH;

		CHECK_ROW(i,
			  request_parse_http(span_str(rows[i].line), &target) == rows[i].is_http);
		CHECK_ROW(i, target == rows[i].target);
	}
}

static void test_tar_names(void **state)
{
	static const struct {
		const char *name;
		const char *clean; /* NULL: refused */
	} rows[] = {
		{ "a", "a" },	{ "./a", "a" }, { "a/b/", "a/b" },	  { "a//b/./c", "a/b/c" },
		{ ".", "" },	{ "./", "" },	{ "..a/b..", "..a/b.." }, { "", NULL },
		{ "/a", NULL }, { "..", NULL }, { "a/../b", NULL },	  { "a/..", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF out = BUF_INIT;

		CHECK_ROW(i, files_clean_name(span_str(rows[i].name), &out) ==
				     (rows[i].clean != NULL));
		CHECK_STR(out.ptr, rows[i].clean ? rows[i].clean : "");
	}
}

static void test_tar_name_limits(void **state)
{
	AUTO_BUF name = BUF_INIT;
	AUTO_BUF out = BUF_INIT;

	(void)state;
	while (name.len < 255)
		buf_add_byte(&name, 'n');
	assert_true(files_clean_name(buf_span(&name), &out));
	buf_add_byte(&name, 'n');
	assert_false(files_clean_name(buf_span(&name), &out));

	buf_clear(&name);
	while (name.len < 4095)
		buf_add_str(&name, name.len % 2 ? "/" : "d");
	assert_true(files_clean_name(buf_span(&name), &out));
	buf_add_byte(&name, '/');
	assert_false(files_clean_name(buf_span(&name), &out));
	assert_false(files_clean_name(span_of("a\0b", 3), &out));
}

static void test_superblock(void **state)
{
	uint8_t block[EXT4_SUPER_SIZE] = { 0 };
	struct ext4_size got = { .blocks = 7 };

	(void)state;
	assert_false(ext4_size_parse(span_of(block, sizeof(block)), &got));
	block[56] = 0x53;
	block[57] = 0xef;
	block[4] = 0x01; /* blocks, low */
	block[7] = 0x80;
	block[24] = 2;	   /* 4 KiB */
	block[336] = 0x03; /* blocks, high: counts only with the 64-bit feature */
	assert_false(ext4_size_parse(span_of(block, sizeof(block) - 1), &got));
	CHECK_INT(got.blocks, 7);
	assert_true(ext4_size_parse(span_of(block, sizeof(block)), &got));
	CHECK_INT(got.blocks, 0x80000001);
	CHECK_INT(got.block_bytes, 4096);
	block[96] = 0x80;
	assert_true(ext4_size_parse(span_of(block, sizeof(block)), &got));
	CHECK_INT(got.blocks, 0x380000001);
	block[24] = 6;
	assert_true(ext4_size_parse(span_of(block, sizeof(block)), &got));
	block[24] = 7;
	assert_false(ext4_size_parse(span_of(block, sizeof(block)), &got));
}

static void test_environment(void **state)
{
	char name[] = "me", home[] = "/home/me", shell[] = "/bin/zsh";
	const struct user user = { .name = name, .home = home, .shell = shell };
	AUTO_STRV given = { .items = NULL };
	AUTO_STRV plain = { .items = NULL };
	AUTO_STRV tty = { .items = NULL };

	(void)state;
	strv_add(&given, "PATH=/opt");
	strv_add(&given, "A=\xff=b");
	strv_add(&given, "HOMER=first");
	strv_add(&given, "HOMER=x");
	exec_build_env(&user, &given, false, &plain);
	CHECK_INT(plain.count, 8);
	CHECK_STR(plain.items[0], "PATH=/opt");
	CHECK_STR(plain.items[1], "A=\xff=b");
	CHECK_STR(plain.items[2], "HOMER=x");
	assert_true(strv_has(&plain, "HOME=/home/me"));
	assert_true(strv_has(&plain, "USER=me"));
	assert_true(strv_has(&plain, "LOGNAME=me"));
	assert_true(strv_has(&plain, "SHELL=/bin/zsh"));
	assert_true(strv_has(&plain, "LANG=C.UTF-8"));
	exec_build_env(&user, &given, true, &tty);
	assert_true(strv_has(&tty, "TERM=xterm"));
	CHECK_INT(tty.count, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cmdline),
		cmocka_unit_test(test_cmdline_refused),
		cmocka_unit_test(test_cmdline_limits),
		cmocka_unit_test(test_net_socket),
		cmocka_unit_test(test_net_socket_refused),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_authorized_keys),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_request_members),
		cmocka_unit_test(test_requests_refused),
		cmocka_unit_test(test_http),
		cmocka_unit_test(test_tar_names),
		cmocka_unit_test(test_tar_name_limits),
		cmocka_unit_test(test_superblock),
		cmocka_unit_test(test_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
