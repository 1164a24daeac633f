/* Identities: reading them, and writing them into a root folder that is not ours to trust. */
#include "check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/identity.h"
#include "agent/root.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#define ENTROPY_32 "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
#define ENTROPY_31 "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQQ=="

struct place {
	char path[64];
	int root; /* owned: path/root; beside it lies path/outside */
};

static int place_set_up(void **state)
{
	struct place *place = mem_alloc(1, sizeof(*place));
	char sub[80];

	(void)snprintf(place->path, sizeof(place->path), "/tmp/banger-test-XXXXXX");
	assert_non_null(mkdtemp(place->path));
	(void)snprintf(sub, sizeof(sub), "%s/outside", place->path);
	assert_int_equal(mkdir(sub, 0755), 0);
	(void)snprintf(sub, sizeof(sub), "%s/root", place->path);
	assert_int_equal(mkdir(sub, 0755), 0);
	place->root = dir_open(sub);
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

static void check_file(const struct place *place, const char *path, const char *content,
		       mode_t mode)
{
	AUTO_BUF text = BUF_INIT;
	struct stat st;

	if (file_read(place->root, path, 1 << 20, &text) < 0)
		fail_msg("%s cannot be read", path);
	CHECK_STR(text.ptr, content);
	assert_int_equal(fstatat(place->root, path, &st, AT_SYMLINK_NOFOLLOW), 0);
	CHECK_INT(st.st_mode, S_IFREG | mode);
}

static void write_file(const struct place *place, const char *path, const char *content)
{
	AUTO_CLOSE int fd =
		openat(place->root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, span_str(content)), 0);
}

static void apply(const struct place *place, const char *json)
{
	struct identity identity;
	struct err err = ERR_INIT;

	if (identity_parse_text(span_str(json), &identity, &err) < 0 ||
	    identity_write_files(&identity, IDENTITY_BOOT, place->root, &err) < 0)
		fail_msg("%s", err.message);
	identity_done(&identity);
}

static void check_network(const struct identity_network *network)
{
	assert_true(network->has_mac && network->has_gateway);
	assert_memory_equal(network->mac, "\x02\xab\0\0\0\x0f", 6);
	assert_memory_equal(network->address, "\xac\x10\0\x09", 4);
	assert_memory_equal(network->gateway, "\xac\x10\0\x01", 4);
	CHECK_INT(network->prefix, 16);
	CHECK_INT(network->dns.count, 2);
}

static void test_parse(void **state)
{
	struct identity identity;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(
		identity_parse_text(
			span_str("{\"hostname\":\"box-1\",\"authorized_keys\":[\"a b\",\"c\"],"
				 "\"ssh_host_key\":\"K\\nK\\n\",\"ssh_host_key_pub\":\"P\","
				 "\"network\":{\"mac\":\"02:aB:00:00:00:0f\",\"address\":\"172.16."
				 "0.9\","
				 "\"prefix\":16,\"gateway\":\"172.16.0.1\",\"dns\":[\"1.1.1.1\","
				 "\"fe80::1\"]},"
				 "\"wall_seconds\":1790000000,\"entropy\":\"" ENTROPY_32
				 "\",\"boot_token\":\"t\"}"),
			&identity, &err),
		0);
	CHECK_STR(identity.hostname, "box-1");
	CHECK_INT(identity.authorized_keys.count, 2);
	CHECK_STR(identity.ssh_host_key, "K\nK\n");
	CHECK_INT(identity.wall_seconds, 1790000000);
	CHECK_STR(identity.boot_token, "t");
	assert_true(identity.has_network);
	check_network(&identity.network);
	identity_done(&identity);
}

static void test_parse_null_network(void **state)
{
	struct identity identity;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(identity_parse_text(span_str("{\"hostname\":\"b\",\"network\":null}"),
					     &identity, &err),
			 0);
	assert_false(identity.has_network);
	assert_true(identity.is_without_network);
	identity_done(&identity);
}

static void test_parse_refused(void **state)
{
	static const struct {
		const char *json;
		const char *message;
	} rows[] = {
		{ "{}", "'hostname' is missing" },
		{ "{\"hostname\":\"\"}", "is not a DNS label" },
		{ "{\"hostname\":\"-a\"}", "is not a DNS label" },
		{ "{\"hostname\":\"a-\"}", "is not a DNS label" },
		{ "{\"hostname\":\"A\"}", "is not a DNS label" },
		{ "{\"hostname\":\"a.b\"}", "is not a DNS label" },
		{ "{\"hostname\":\"a\\nb\"}", "is not a DNS label" },
		{ "{\"hostname\":\"a\",\"other\":1}", "unknown field 'other'" },
		{ "{\"hostname\":\"a\",\"authorized_keys\":[\"a\\nb\"]}", "authorized_keys[0]" },
		{ "{\"hostname\":\"a\",\"authorized_keys\":[\"\"]}", "authorized_keys[0]" },
		{ "{\"hostname\":\"a\",\"ssh_host_key\":\"x\"}", "go together" },
		{ "{\"hostname\":\"a\",\"ssh_host_key_pub\":\"x\"}", "go together" },
		{ "{\"hostname\":\"a\",\"wall_seconds\":-1}", "wall_seconds" },
		{ "{\"hostname\":\"a\",\"wall_seconds\":4102444801}", "wall_seconds" },
		{ "{\"hostname\":\"a\",\"entropy\":\"!\"}", "entropy is not base64" },
		{ "{\"hostname\":\"a\",\"entropy\":\"" ENTROPY_31 "\"}",
		  "31 bytes, not 32 to 512" },
		{ "{\"hostname\":\"a\",\"network\":{}}", "network: field 'address' is missing" },
		{ "{\"hostname\":\"a\",\"network\":{\"address\":\"1.2.3\",\"prefix\":8}}",
		  "'1.2.3' is not an IPv4 address" },
		{ "{\"hostname\":\"a\",\"network\":{\"address\":\"1.2.3.4\",\"prefix\":0}}",
		  "prefix 0" },
		{ "{\"hostname\":\"a\",\"network\":{\"address\":\"1.2.3.4\",\"prefix\":33}}",
		  "prefix" },
		{ "{\"hostname\":\"a\",\"network\":{\"address\":\"1.2.3.4\",\"prefix\":8,\"mac\":"
		  "\"0\"}}",
		  "is not a MAC address" },
		{ "{\"hostname\":\"a\",\"network\":{\"address\":\"1.2.3.4\",\"prefix\":8,"
		  "\"gateway\":\"x\"}}",
		  "'x' is not an IPv4 address" },
		{ "{\"hostname\":\"a\",\"network\":{\"address\":\"1.2.3.4\",\"prefix\":8,"
		  "\"dns\":[\"x\"]}}",
		  "'x' is not an address" },
		{ "{\"hostname\":\"a\",\"network\":{\"address\":\"1.2.3.4\",\"prefix\":8,"
		  "\"dns\":[\"1.1.1.1\",\"1.1.1.1\",\"1.1.1.1\",\"1.1.1.1\"]}}",
		  "more than 3 items" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct identity identity = { .hostname = NULL };
		struct err err = ERR_INIT;

		CHECK_ROW(i, identity_parse_text(span_str(rows[i].json), &identity, &err) < 0);
		CHECK_HAS(err.message, rows[i].message);
		assert_null(identity.hostname);
	}
}

static void test_hostname_limit(void **state)
{
	(void)state;
	for (size_t len = 63; len <= 64; len++) {
		AUTO_BUF json = BUF_INIT;
		struct identity identity = { .hostname = NULL };
		struct err err = ERR_INIT;

		buf_add_str(&json, "{\"hostname\":\"");
		for (size_t i = 0; i < len; i++)
			buf_add_byte(&json, 'h');
		buf_add_str(&json, "\"}");
		CHECK_ROW(len, (identity_parse_text(buf_span(&json), &identity, &err) == 0) ==
				       (len == 63));
		identity_done(&identity);
	}
}

static void test_files_in_an_empty_root(void **state)
{
	const struct place *place = *state;
	AUTO_BUF id = BUF_INIT;
	struct stat st;

	apply(place, "{\"hostname\":\"box\",\"authorized_keys\":[\"ssh-ed25519 A\"],"
		     "\"ssh_host_key\":\"secret\\n\",\"ssh_host_key_pub\":\"public\","
		     "\"network\":{\"address\":\"10.1.2.3\",\"prefix\":8,\"dns\":[\"9.9.9.9\"]}}");
	check_file(place, "etc/hostname", "box\n", 0644);
	check_file(place, "etc/hosts",
		   "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
		   "127.0.1.1\tbox\n",
		   0644);
	check_file(place, "etc/resolv.conf", "nameserver 9.9.9.9\n", 0644);
	check_file(place, "etc/ssh/ssh_host_ed25519_key", "secret\n", 0600);
	check_file(place, "etc/ssh/ssh_host_ed25519_key.pub", "public\n", 0644);
	check_file(
		place, "root/.ssh/authorized_keys",
		"# banger: keys below are replaced at every start\nssh-ed25519 A\n# banger: end\n",
		0600);
	assert_int_equal(fstatat(place->root, "root/.ssh", &st, 0), 0);
	CHECK_INT(st.st_mode, S_IFDIR | 0700);
	/* Folders of programs that the image does not have are not made. */
	CHECK_INT(faccessat(place->root, "etc/systemd", F_OK, 0), -1);
	CHECK_INT(faccessat(place->root, "etc/network", F_OK, 0), -1);
	assert_int_equal(file_read(place->root, "etc/machine-id", 100, &id), 0);
	CHECK_INT(id.len, 33);
	CHECK_INT(strspn(id.ptr, "0123456789abcdef"), 32);
}

static void test_files_stay_and_change(void **state)
{
	const struct place *place = *state;
	struct stat before, after;

	assert_int_equal(mkdirat(place->root, "etc", 0755), 0);
	write_file(place, "etc/machine-id", "0123456789abcdef0123456789abcdef\n");
	write_file(place, "etc/hosts", "10.0.0.1 db\n");
	write_file(place, "etc/resolv.conf", "nameserver 8.8.8.8\n");
	apply(place, "{\"hostname\":\"one\"}");
	check_file(place, "etc/machine-id", "0123456789abcdef0123456789abcdef\n", 0644);
	check_file(place, "etc/resolv.conf", "nameserver 8.8.8.8\n", 0644);
	assert_int_equal(fstatat(place->root, "etc/hostname", &before, 0), 0);
	apply(place, "{\"hostname\":\"one\"}");
	assert_int_equal(fstatat(place->root, "etc/hostname", &after, 0), 0);
	CHECK_INT(after.st_ino, before.st_ino); /* what is right already is not written */
	apply(place, "{\"hostname\":\"two\"}");
	check_file(place, "etc/hostname", "two\n", 0644);
	check_file(place, "etc/hosts",
		   "10.0.0.1 db\n127.0.0.1\tlocalhost\n"
		   "::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\ttwo\n",
		   0644);
}

static void test_machine_id_is_new(void **state)
{
	static const char *const rows[] = { "", "uninitialized\n" };
	const struct place *place = *state;
	AUTO_BUF ids = BUF_INIT;

	assert_int_equal(mkdirat(place->root, "etc", 0755), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		write_file(place, "etc/machine-id", rows[i]);
		apply(place, "{\"hostname\":\"a\"}");
		assert_int_equal(file_read(place->root, "etc/machine-id", 100, &ids), 0);
		assert_int_equal(unlinkat(place->root, "etc/machine-id", 0), 0);
	}
	CHECK_INT(ids.len, 66);
	assert_memory_not_equal(ids.ptr, ids.ptr + 33, 33);
}

static void test_network_files(void **state)
{
	const struct place *place = *state;

	assert_int_equal(mkdirat(place->root, "etc", 0755), 0);
	assert_int_equal(mkdirat(place->root, "etc/systemd", 0755), 0);
	assert_int_equal(mkdirat(place->root, "etc/systemd/network", 0755), 0);
	assert_int_equal(mkdirat(place->root, "etc/network", 0755), 0);
	assert_int_equal(mkdirat(place->root, "etc/network/interfaces.d", 0755), 0);
	apply(place, "{\"hostname\":\"a\",\"network\":{\"mac\":\"02:00:00:00:00:0a\","
		     "\"address\":\"10.1.2.3\",\"prefix\":24,\"gateway\":\"10.1.2.1\","
		     "\"dns\":[\"10.1.2.1\"]}}");
	check_file(
		place, "etc/systemd/network/10-banger.network",
		"[Match]\nMACAddress=02:00:00:00:00:0a\n\n[Network]\n"
		"KeepConfiguration=static\nAddress=10.1.2.3/24\nGateway=10.1.2.1\nDNS=10.1.2.1\n",
		0644);
	check_file(place, "etc/network/interfaces.d/banger",
		   "auto eth0\niface eth0 inet static\n\taddress 10.1.2.3/24\n\tgateway 10.1.2.1\n",
		   0644);
	apply(place, "{\"hostname\":\"a\"}");
	CHECK_INT(faccessat(place->root, "etc/network/interfaces.d/banger", F_OK, 0), 0);
	apply(place, "{\"hostname\":\"a\",\"network\":null}");
	CHECK_INT(faccessat(place->root, "etc/network/interfaces.d/banger", F_OK, 0), -1);
	CHECK_INT(faccessat(place->root, "etc/systemd/network/10-banger.network", F_OK, 0), -1);
}

/* Links that an image or a user put in the way: nothing beside the root may change. */
static void test_links_do_not_lead_out(void **state)
{
	const struct place *place = *state;
	char outside[96];
	AUTO_CLOSE int beside = -1;
	struct identity identity;
	struct err err = ERR_INIT;

	(void)snprintf(outside, sizeof(outside), "%s/outside", place->path);
	beside = dir_open(outside);
	assert_int_equal(mkdirat(place->root, "etc", 0755), 0);
	(void)snprintf(outside, sizeof(outside), "%s/outside/hosts", place->path);
	assert_int_equal(symlinkat(outside, place->root, "etc/hosts"), 0);
	assert_int_equal(symlinkat("../../outside/resolv", place->root, "etc/resolv.conf"), 0);
	(void)snprintf(outside, sizeof(outside), "%s/outside", place->path);
	assert_int_equal(symlinkat(outside, place->root, "root"), 0);
	assert_int_equal(symlinkat("../../outside", place->root, "etc/ssh"), 0);

	assert_int_equal(
		identity_parse_text(
			span_str("{\"hostname\":\"a\",\"authorized_keys\":[\"k\"],"
				 "\"ssh_host_key\":\"s\",\"ssh_host_key_pub\":\"p\",\"network\":"
				 "{\"address\":\"10.1.2.3\",\"prefix\":24,\"dns\":[\"1.1.1.1\"]}}"),
			&identity, &err),
		0);
	/* The folders lead nowhere inside the root: said, and everything else is written. */
	assert_true(identity_write_files(&identity, IDENTITY_BOOT, place->root, &err) < 0);
	CHECK_HAS(err.message, "authorized_keys");
	identity_done(&identity);
	check_file(place, "etc/hostname", "a\n", 0644);
	check_file(place, "etc/resolv.conf", "nameserver 1.1.1.1\n", 0644);
	CHECK_INT(faccessat(beside, "hosts", F_OK, 0), -1);
	CHECK_INT(faccessat(beside, "resolv", F_OK, 0), -1);
	CHECK_INT(faccessat(beside, ".ssh", F_OK, 0), -1);
	CHECK_INT(faccessat(beside, "ssh_host_ed25519_key", F_OK, 0), -1);
}

static void test_open_beneath(void **state)
{
	const struct place *place = *state;
	AUTO_CLOSE int made = root_open_beneath(place->root, "a/b/c", true);

	assert_true(made >= 0);
	CHECK_INT(faccessat(place->root, "a/b/c", F_OK, 0), 0);
	CHECK_INT(root_open_beneath(place->root, "a/x", false), -ENOENT);
	CHECK_INT(root_open_beneath(place->root, "..", true), -EXDEV);
	assert_int_equal(symlinkat("../outside", place->root, "out"), 0);
	assert_true(root_open_beneath(place->root, "out", true) < 0);
	assert_true(root_open_beneath(place->root, "out/x", true) < 0);
	assert_int_equal(symlinkat("nowhere", place->root, "dangling"), 0);
	assert_true(root_open_beneath(place->root, "dangling/x", true) < 0);
	CHECK_INT(faccessat(place->root, "nowhere", F_OK, 0), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_null_network),
		cmocka_unit_test(test_parse_refused),
		cmocka_unit_test(test_hostname_limit),
		cmocka_unit_test_setup_teardown(test_files_in_an_empty_root, place_set_up,
						place_tear_down),
		cmocka_unit_test_setup_teardown(test_files_stay_and_change, place_set_up,
						place_tear_down),
		cmocka_unit_test_setup_teardown(test_machine_id_is_new, place_set_up,
						place_tear_down),
		cmocka_unit_test_setup_teardown(test_network_files, place_set_up, place_tear_down),
		cmocka_unit_test_setup_teardown(test_links_do_not_lead_out, place_set_up,
						place_tear_down),
		cmocka_unit_test_setup_teardown(test_open_beneath, place_set_up, place_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
