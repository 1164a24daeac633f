#include "check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "kernel/kernel.h"

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const char good_record[] = "{\"name\":\"one\",\"kind\":\"package\",\"package\":\"linux-"
				  "image-test\",\"version\":\"6.1.2-3\","
				  "\"release\":\"6.1.0-1-test\",\"formats\":[\"elf\",\"bzimage\"],"
				  "\"modules\":3,\"size_bytes\":4711,"
				  "\"pulled_at\":\"2026-11-22T03:00:00Z\",\"vmlinux_sha256\":\"" SHA
				  "\",\"vmlinuz_sha256\":\"" SHA "\"}";

struct folder {
	char path[64];
	int fd;
};

static int setup(void **state)
{
	struct folder *folder = mem_alloc(1, sizeof(*folder));

	(void)snprintf(folder->path, sizeof(folder->path), "/tmp/test-kernels-XXXXXX");
	CHECK_INT(mkdtemp(folder->path) != NULL, true);
	folder->fd = dir_open(folder->path);
	*state = folder;
	return folder->fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct folder *folder = *state;
	const int r = dir_remove_tree(AT_FDCWD, folder->path);

	fd_close(folder->fd);
	mem_free(folder);
	return r;
}

static void make_kernel(const struct folder *folder, const char *name, const char *record)
{
	AUTO_CLOSE int fd = -1;

	CHECK_INT(mkdirat(folder->fd, name, 0700), 0);
	fd = dir_open_at(folder->fd, name);
	CHECK_INT(file_replace(fd, "kernel.json", span_str(record), 0600), 0);
}

static void test_record(void **state)
{
	const struct folder *folder = *state;
	AUTO_KERNEL kernel;
	AUTO_JSON *object = NULL;
	AUTO_BUF text = BUF_INIT;
	struct err err = ERR_INIT;

	make_kernel(folder, "one", good_record);
	kernel_init(&kernel);
	CHECK_INT(kernel_load(folder->path, "one", &kernel, &err), 0);
	CHECK_STR(kernel.record.package, "linux-image-test");
	CHECK_INT(kernel.record.state, ARTIFACT_READY);
	CHECK_INT(kernel.record.has_elf, true);
	CHECK_INT(kernel.record.has_bzimage, true);
	CHECK_INT(kernel.record.module_count, 3);
	CHECK_INT(kernel.record.pulled_at, 1795316400);
	CHECK_STR(kernel.vmlinux_sha256, SHA);
	object = kernel_json(&kernel);
	json_write(object, &text);
	CHECK_STR(text.ptr, good_record);
}

static void test_damaged_records(void **state)
{
	static const struct {
		const char *record;
		const char *message;
	} rows[] = {
		{ "", "the record of kernel 'one': " },
		{ "{}", "the record of kernel 'one': " },
		{ "{\"name\":\"one\"", "the record of kernel 'one': " },
		{ "[]", "the record of kernel 'one': " },
	};
	const struct folder *folder = *state;
	struct err err = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_KERNEL kernel;
		struct kernel_record_list list = { .items = NULL };

		kernel_init(&kernel);
		make_kernel(folder, "one", rows[i].record);
		CHECK_ROW(i, kernel_load(folder->path, "one", &kernel, &err) < 0);
		CHECK_HAS(err.message, rows[i].message);
		CHECK_ROW(i, kernel.record.name == NULL);
		CHECK_ROW(i, kernel_list(folder->path, &list, &err) == 0);
		CHECK_INT(list.count, 0);
		CHECK_INT(dir_remove_tree(folder->fd, "one"), 0);
	}
}

/* One value of the good record at a time is replaced. */
static void test_wrong_values(void **state)
{
	static const struct {
		const char *from;
		const char *to;
		const char *message;
	} rows[] = {
		{ "\"one\"", "\"two\"", "it is the record of 'two'" },
		{ "2026-11-22T03:00:00Z", "yesterday", "pulled_at is no time: 'yesterday'" },
		{ "\"vmlinux_sha256\":\"0", "\"vmlinux_sha256\":\"", "a sha256 is damaged" },
		{ "\"modules\":3", "\"modules\":-3", "modules" },
	};
	const struct folder *folder = *state;
	struct err err = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *at = strstr(good_record, rows[i].from);
		AUTO_FREE char *record =
			mem_printf("%.*s%s%s", (int)(at - good_record), good_record, rows[i].to,
				   at + strlen(rows[i].from));
		AUTO_KERNEL kernel;

		kernel_init(&kernel);
		make_kernel(folder, "one", record);
		CHECK_ROW(i, kernel_load(folder->path, "one", &kernel, &err) < 0);
		CHECK_HAS(err.message, rows[i].message);
		CHECK_INT(dir_remove_tree(folder->fd, "one"), 0);
	}
}

static void test_names(void **state)
{
	static const char *const bad[] = { "../x", "", ".", "..", ".new-x", "a/b", "a b", "a\nb" };
	const struct folder *folder = *state;
	struct kernel_source source = *kernel_source_find(KERNEL_DEFAULT_NAME);

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO_KERNEL kernel;
		struct err err = ERR_INIT;

		kernel_init(&kernel);
		CHECK_ROW(i, kernel_load(folder->path, bad[i], &kernel, &err) < 0);
		CHECK_INT(err.kind, ERR_INVALID);
		CHECK_ROW(i, kernel_remove(folder->path, bad[i], &err) < 0);
		CHECK_INT(err.kind, ERR_INVALID);
		source.name = bad[i];
		CHECK_ROW(i, kernel_pull_package(folder->path, &source, NULL, NULL, &kernel, &err) <
				     0);
		CHECK_INT(err.kind, ERR_INVALID);
	}
}

static void test_missing(void **state)
{
	const struct folder *folder = *state;
	struct kernel_record_list list = { .items = NULL };
	AUTO_KERNEL kernel;
	struct err err = ERR_INIT;

	kernel_init(&kernel);
	CHECK_INT(kernel_load(folder->path, KERNEL_DEFAULT_NAME, &kernel, &err) < 0, true);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	CHECK_STR(err.message, "there is no kernel 'debian-cloud'");
	CHECK_STR(err.hint, "banger kernel pull debian-cloud");
	CHECK_INT(kernel_remove(folder->path, "own", &err) < 0, true);
	CHECK_STR(err.message, "there is no kernel 'own'");
	CHECK_STR(err.hint, "");
	CHECK_INT(kernel_load("/tmp/no-such-folder-of-kernels", "own", &kernel, &err) < 0, true);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	CHECK_INT(kernel_list("/tmp/no-such-folder-of-kernels", &list, &err), 0);
	CHECK_INT(list.count, 0);
	CHECK_INT(kernel_sweep("/tmp/no-such-folder-of-kernels", &err), 0);
}

static int count_name(void *context, const char *name)
{
	int *count = context;

	(void)name;
	(*count)++;
	return 0;
}

static void test_remove_and_sweep(void **state)
{
	const struct folder *folder = *state;
	struct kernel_record_list list = { .items = NULL };
	struct err err = ERR_INIT;
	int count = 0;

	make_kernel(folder, "one", good_record);
	make_kernel(folder, ".new-one-00ff", "half");
	make_kernel(folder, ".old-one-00ff", good_record);
	CHECK_INT(file_replace(folder->fd, ".new-file", span_str("x"), 0600), 0);
	CHECK_INT(kernel_list(folder->path, &list, &err), 0);
	CHECK_INT(list.count, 1);
	CHECK_STR(list.items[0].name, "one");
	kernel_record_list_done(&list);

	CHECK_INT(kernel_sweep(folder->path, &err), 0);
	CHECK_INT(dir_each(folder->fd, count_name, &count), 0);
	CHECK_INT(count, 1);
	CHECK_INT(kernel_sweep(folder->path, &err), 0); /* the second finds nothing */

	CHECK_INT(kernel_remove(folder->path, "one", &err), 0);
	count = 0;
	CHECK_INT(dir_each(folder->fd, count_name, &count), 0);
	CHECK_INT(count, 0);
	CHECK_INT(kernel_remove(folder->path, "one", &err) < 0, true);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
}

static void test_catalog(void **state)
{
	size_t count = 0;
	const struct kernel_source *sources = kernel_sources(&count);

	(void)state;
	CHECK_INT(count >= 1, true);
	CHECK_STR(sources[0].name, "debian-cloud");
	CHECK_STR(sources[0].package, "linux-image-cloud-amd64");
	CHECK_INT(kernel_source_find("debian-cloud") == &sources[0], true);
	CHECK_INT(kernel_source_find("debian") == NULL, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_record, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_records, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_values, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remove_and_sweep, setup, teardown),
		cmocka_unit_test(test_catalog),
	};

	return cmocka_run_group_tests_name("kernel_store", tests, NULL, NULL);
}
