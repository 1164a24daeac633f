/* banger-vmm's small parts: command line, bounded files, the CONNECT line, the log's lines. */
#include "check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "vmmshim/confine.h"
#include "vmmshim/journal.h"
#include "vmmshim/options.h"
#include "vmmshim/sink.h"
#include "vmmshim/vsock.h"

static void test_kvm_node(void **state)
{
	static const struct {
		mode_t mode;
		gid_t group, gid;
		bool has_own;
	} rows[] = {
		{ S_IFCHR | 0666, 0, 1000, false },  { S_IFCHR | 0660, 104, 104, false },
		{ S_IFCHR | 0600, 104, 1000, true }, { S_IFCHR | 0660, 0, 1000, true },
		{ S_IFCHR | 0644, 104, 1000, true }, { S_IFCHR | 0664, 104, 104, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct confine_kvm kvm = confine_kvm_of(1000, rows[i].mode, rows[i].group);

		assert_int_equal(kvm.gid, rows[i].gid);
		assert_int_equal(kvm.device != NULL, rows[i].has_own);
	}
}

static void test_options(void **state)
{
	static const struct {
		const char *argv[8];
		const char *problem; /* NULL: good */
	} rows[] = {
		{ { "x" }, NULL },
		{ { "x", "--id", "abc-1", "--api-sock=/s", "--level", "Debug" }, NULL },
		{ { "x", "--drive-overlay", "a=b", "--drive-overlay", "c=d" }, NULL },
		{ { "x", "--", "anything" }, NULL },
		{ { "x", "--no-api", "--config-file", "f" }, NULL },
		{ { "x", "--no-api" }, "Argument 'config-file' required, but not found." },
		{ { "x", "--id" }, "The argument 'id' requires a value, but none was supplied." },
		{ { "x", "--id", "--no-api" }, "The argument 'id' requires a value" },
		{ { "x", "--id", "a", "--id", "b" },
		  "The argument 'id' was provided more than once." },
		{ { "x", "--foo" }, "Found argument '--foo' which wasn't expected" },
		{ { "x", "foo" }, "Found argument 'foo' which wasn't expected" },
		{ { "x", "-h" }, "Found argument '-h' which wasn't expected" },
		{ { "x", "--version=1" }, "Found argument '--version=1' which wasn't expected" },
		{ { "x", "--id", "" }, "Invalid instance ID" },
		{ { "x", "--id", "a_b" }, "Invalid char (_) at position 1" },
		{ { "x", "--id",
		    "0123456789012345678901234567890123456789012345678901234567890123" },
		  NULL },
		{ { "x", "--id",
		    "01234567890123456789012345678901234567890123456789012345678901234" },
		  "Invalid len (65)" },
		{ { "x", "--http-api-max-payload-size", "1x" },
		  "'http-api-max-payload-size' parameter expected to be a number" },
		{ { "x", "--accel", "xen" }, "'accel' is tcg, kvm or auto, not 'xen'" },
		{ { "x", "--enable-pci" }, "PCI is not supported by banger-vmm" },
		{ { "x", "--boot-timer" }, "the boot timer device is not supported by banger-vmm" },
		{ { "x", "--metadata", "f" }, "MMDS is not supported by banger-vmm" },
		{ { "x", "--mmds-size-limit", "1" }, "MMDS is not supported by banger-vmm" },
		{ { "x", "--seccomp-filter", "f" },
		  "a custom seccomp filter is not supported by banger-vmm" },
		{ { "x", "--snapshot-version" }, "not supported by banger-vmm" },
		{ { "x", "--describe-snapshot", "f" }, "not supported by banger-vmm" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct options options = { .id = NULL };
		struct err err = ERR_INIT;
		char *argv[8];
		int argc = 0;
		int r;

		while (argc < 8 && rows[i].argv[argc]) {
			argv[argc] = mem_strdup(rows[i].argv[argc]);
			argc++;
		}
		r = options_parse(argc, argv, &options, &err);
		CHECK_ROW(i, (r == 0) == (rows[i].problem == NULL));
		if (rows[i].problem)
			CHECK_HAS(err.message, rows[i].problem);
		options_done(&options);
		while (argc > 0)
			mem_free(argv[--argc]);
	}
}

static void test_help_names_every_option(void **state)
{
	AUTO_BUF text = BUF_INIT;

	(void)state;
	options_help(&text);
	CHECK_HAS(text.ptr, "--api-sock PATH");
	CHECK_HAS(text.ptr, "--enable-pci");
	CHECK_HAS(text.ptr, "refused: PCI");
}

static void test_connect_line(void **state)
{
	static const struct {
		const char *line;
		bool is_good;
		uint32_t port;
	} rows[] = {
		{ "CONNECT 1024", true, 1024 },
		{ "CONNECT 0", true, 0 },
		{ "CONNECT 4294967295", true, UINT32_MAX },
		{ "CONNECT 4294967296", false, 7 },
		{ "CONNECT -1", false, 7 },
		{ "CONNECT 01", false, 7 },
		{ "CONNECT  1", false, 7 },
		{ "CONNECT 1 ", false, 7 },
		{ "CONNECT 1\r", false, 7 },
		{ "CONNECT", false, 7 },
		{ "connect 1", false, 7 },
		{ "", false, 7 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint32_t port = 7;

		CHECK_ROW(i, vsock_parse_connect(span_str(rows[i].line), &port) == rows[i].is_good);
		CHECK_ROW(i, port == rows[i].port);
	}
}

static uint64_t size_of(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 ? (uint64_t)status.st_size : UINT64_MAX;
}

static void test_sink_rotates(void **state)
{
	char folder[] = "/tmp/banger-sink-XXXXXX";
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *old = NULL;
	struct sink sink = SINK_INIT;
	char block[4096];

	(void)state;
	assert_non_null(mkdtemp(folder));
	path = mem_printf("%s/console.log", folder);
	old = mem_printf("%s.1", path);
	memset(block, 'x', sizeof(block));
	assert_int_equal(sink_open(path, &sink), 0);
	for (size_t i = 0; i < SINK_FILE_MAX / 4096; i++)
		sink_write(&sink, span_of(block, sizeof(block)));
	CHECK_INT(size_of(path), SINK_FILE_MAX);
	CHECK_INT(size_of(old), UINT64_MAX);
	sink_write(&sink, span_str("y"));
	CHECK_INT(size_of(path), 1);
	CHECK_INT(size_of(old), SINK_FILE_MAX);
	for (size_t i = 0; i < 3 * SINK_FILE_MAX / 4096; i++)
		sink_write(&sink, span_of(block, sizeof(block)));
	assert_true(size_of(path) <= SINK_FILE_MAX && size_of(old) == SINK_FILE_MAX);
	CHECK_INT(sink.lost, 0);
	sink_done(&sink);
	/* A second life goes on where the first ended. */
	assert_int_equal(sink_open(path, &sink), 0);
	CHECK_INT(sink.size, size_of(path));
	sink_done(&sink);
	assert_int_equal(dir_remove_tree(AT_FDCWD, folder), 0);
}

static void test_sink_never_blocks(void **state)
{
	struct sink sink = SINK_INIT;
	char block[4096];
	int ends[2];

	(void)state;
	memset(block, 'x', sizeof(block));
	assert_int_equal(fd_pipe(ends), 0);
	sink_borrow(&sink, ends[1]);
	for (int i = 0; i < 100; i++)
		sink_write(&sink, span_of(block, sizeof(block)));
	assert_true(sink.lost > 0 && sink.size > 0);
	CHECK_INT(sink.size + sink.lost, 100 * sizeof(block));
	sink_done(&sink);
	fd_close(ends[0]);
	fd_close(ends[1]);
	assert_int_equal(sink_open("/nonexistent/x", &sink), -ENOENT);
}

static void test_journal(void **state)
{
	char folder[] = "/tmp/banger-log-XXXXXX";
	AUTO_FREE char *path = NULL;
	const bool yes = true;
	struct journal_settings settings = { .level = "warning",
					     .show_level = &yes,
					     .show_origin = &yes };
	struct err err = ERR_INIT;
	AUTO_BUF text = BUF_INIT;

	(void)state;
	assert_non_null(mkdtemp(folder));
	path = mem_printf("%s/log", folder);
	settings.path = path;
	journal_init("vm-7");
	assert_int_equal(journal_configure(&settings, &err), 0);
	journal_info("not shown");
	journal_error("shown %d", 1);
	settings = (struct journal_settings){ .module = "other", .level = "Info" };
	assert_int_equal(journal_configure(&settings, &err), 0);
	journal_error("of another file");
	settings = (struct journal_settings){ .level = "loud" };
	assert_true(journal_configure(&settings, &err) < 0);
	CHECK_HAS(err.message, "unknown variant `loud`");
	journal_done();
	assert_int_equal(file_read(AT_FDCWD, path, 4096, &text), 0);
	CHECK_HAS(text.ptr, " [vm-7:main:ERROR:test_vmmshim_parts.c:");
	CHECK_HAS(text.ptr, "] shown 1\n");
	assert_null(strstr(text.ptr, "not shown"));
	assert_null(strstr(text.ptr, "another"));
	assert_int_equal(dir_remove_tree(AT_FDCWD, folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kvm_node),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_help_names_every_option),
		cmocka_unit_test(test_connect_line),
		cmocka_unit_test(test_sink_rotates),
		cmocka_unit_test(test_sink_never_blocks),
		cmocka_unit_test(test_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
