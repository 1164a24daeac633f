/* The catalog, what the daemon and its image worker say to one another, and images as folders. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/text.h"
#include "check.h"
#include "image/folder.h"
#include "image/image.h"
#include "image/recipe.h"
#include "image/worker_message.h"
#include "model/names.h"

static void test_catalog(void **state)
{
	size_t count = 0;
	const struct image_recipe *recipes = image_recipes(&count);
	size_t defaults = 0;
	size_t i, n;

	(void)state;
	assert_true(count >= 2);
	for (i = 0; i < count; i++) {
		AUTO_STRV options = { .count = 0 };
		bool has_systemd = false;

		assert_true(name_is_artifact(recipes[i].name));
		assert_true(image_recipe_find(recipes[i].name) == &recipes[i]);
		defaults += recipes[i].is_default;
		for (n = 0; recipes[i].packages[n]; n++)
			has_systemd = has_systemd || str_eq(recipes[i].packages[n], "systemd-sysv");
		CHECK_ROW(i, has_systemd == recipes[i].has_init);
		recipe_options(&recipes[i], &options);
		assert_true(options.count > 5);
		for (n = 0; n < options.count; n++)
			CHECK_ROW(n, str_starts(options.items[n], "--"));
	}
	CHECK_INT(defaults, 1);
	assert_null(image_recipe_find("nothing"));
}

static void test_orders(void **state)
{
	const struct worker_orders orders = {
		.options = { .size_bytes = 1ULL << 40,
			     .seed_size_bytes = 5,
			     .limits = { .entries = 7,
					 .bytes = 8,
					 .layer_bytes = 9,
					 .name_bytes = 10,
					 .xattr_bytes = 11 },
			     .has_epoch = true,
			     .epoch = -9 },
		.has_seed = true,
		.layers = 3,
	};
	struct worker_orders got = { .layers = 77 };
	struct err err = ERR_INIT;
	AUTO_BUF line = BUF_INIT;

	(void)state;
	worker_write_orders(&orders, &line);
	assert_int_equal(worker_read_orders(buf_span(&line), &got, &err), 0);
	assert_true(got.has_seed && got.options.has_epoch);
	CHECK_INT(got.layers, 3);
	CHECK_INT(got.options.size_bytes, orders.options.size_bytes);
	CHECK_INT(got.options.seed_size_bytes, 5);
	CHECK_INT(got.options.limits.entries, 7);
	CHECK_INT(got.options.limits.bytes, 8);
	CHECK_INT(got.options.limits.layer_bytes, 9);
	CHECK_INT(got.options.limits.name_bytes, 10);
	CHECK_INT(got.options.limits.xattr_bytes, 11);
	CHECK_INT(got.options.epoch, -9);
	CHECK_INT(got.options.seed_fd, -1);
	assert_true(worker_read_orders(span_str("{}"), &got, &err) < 0);
}

static void test_answers(void **state)
{
	const struct ext4_summary summary = { .size_bytes = 1,
					      .used_bytes = 2,
					      .content_bytes = 3,
					      .entries = 4,
					      .inodes = 5,
					      .seed_size_bytes = 6,
					      .has_init = true };
	struct ext4_summary got = { 0 };
	struct err failure = ERR_INIT;
	struct err err = ERR_INIT;
	AUTO_BUF line = BUF_INIT;

	(void)state;
	worker_write_answer(0, &summary, &failure, &line);
	assert_int_equal(worker_read_answer(buf_span(&line), &got, &err), 0);
	CHECK_INT(got.size_bytes, 1);
	CHECK_INT(got.seed_size_bytes, 6);
	CHECK_INT(got.has_init, 1);

	(void)err_sys(&failure, -ENOSPC, "write the image");
	err_hint(&failure, "buy a disk");
	buf_clear(&line);
	worker_write_answer(-ENOSPC, &summary, &failure, &line);
	assert_true(worker_read_answer(buf_span(&line), &got, &err) < 0);
	CHECK_STR(err.message, failure.message);
	CHECK_STR(err.hint, "buy a disk");
	CHECK_INT(err.kind, ERR_SYSTEM);
	CHECK_INT(err.errnum, ENOSPC);
}

static void test_unpack_messages(void **state)
{
	const struct unpack_orders orders = { .compression = IMAGE_COMPRESSION_ZSTD,
					      .bytes_max = 1ULL << 40 };
	const struct unpack_result result = { .bytes = 9, .digest = "sha256:00ff" };
	struct unpack_orders got_orders = { .bytes_max = 77 };
	struct unpack_result got = { .bytes = 77 };
	struct err failure = ERR_INIT;
	struct err err = ERR_INIT;
	AUTO_BUF line = BUF_INIT;
	struct worker_progress progress = { .done = 77 };

	(void)state;
	unpack_write_orders(&orders, &line);
	assert_int_equal(unpack_read_orders(buf_span(&line), &got_orders, &err), 0);
	CHECK_INT(got_orders.compression, IMAGE_COMPRESSION_ZSTD);
	CHECK_INT(got_orders.bytes_max, orders.bytes_max);
	assert_true(unpack_read_orders(span_str("{\"compression\":\"xz\",\"bytes_max\":1}"),
				       &got_orders, &err) < 0);
	CHECK_STR(err.message, "compression 'xz' is unknown");

	buf_clear(&line);
	unpack_write_answer(0, &result, &failure, &line);
	assert_int_equal(unpack_read_answer(buf_span(&line), &got, &err), 0);
	CHECK_INT(got.bytes, 9);
	CHECK_STR(got.digest, "sha256:00ff");
	(void)err_sys(&failure, -EPIPE, "write the tar stream");
	buf_clear(&line);
	unpack_write_answer(-EPIPE, &result, &failure, &line);
	assert_true(unpack_read_answer(buf_span(&line), &got, &err) < 0);
	CHECK_INT(err.kind, ERR_SYSTEM);
	CHECK_INT(err.errnum, EPIPE);

	buf_clear(&line);
	worker_write_progress(&(struct worker_progress){ .done = 5, .layer = 6 }, &line);
	assert_true(worker_read_progress(buf_span(&line), &progress));
	assert_false(worker_read_progress(span_str("{\"progress\":-1,\"layer\":1}\n"), &progress));
	assert_false(worker_read_progress(span_str("{\"progress\":1}\n"), &progress));
	assert_false(worker_read_progress(span_str("{\"ok\":true}\n"), &progress));
	CHECK_INT(progress.done, 5);
	CHECK_INT(progress.layer, 6);
}

static void test_hostile_unpack_answers(void **state)
{
	static const struct {
		const char *line;
		const char *text;
	} rows[] = {
		{ "", "the unpack worker's answer: " },
		{ "{}", "the unpack worker's answer: " },
		{ "{\"ok\":true}", "has no digest" },
		{ "{\"ok\":true,\"digest\":5}", "the unpack worker's answer: " },
		{ "{\"ok\":true,\"digest\":\"sha256:"
		  "00000000000000000000000000000000000000000000000000000000000000000\"}",
		  "has no digest" },
		{ "{\"ok\":true,\"digest\":\"\",\"size_bytes\":1}",
		  "the unpack worker's answer: " },
		{ "{\"ok\":false}", "the worker failed" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		struct unpack_result got = { .bytes = 77 };
		struct err err = ERR_INIT;

		CHECK_ROW(i, unpack_read_answer(span_str(rows[i].line), &got, &err) < 0);
		CHECK_HAS(err.message, rows[i].text);
		CHECK_INT(got.bytes, 77);
	}
}

/* A worker that has been taken over may say anything. */
static void test_hostile_answers(void **state)
{
	static const struct {
		const char *line;
		enum err_kind kind;
		const char *text;
	} rows[] = {
		{ "", ERR_PROTOCOL, "the image worker's answer: " },
		{ "nothing", ERR_PROTOCOL, "the image worker's answer: " },
		{ "[]", ERR_PROTOCOL, "the image worker's answer: " },
		{ "{\"ok\":1}", ERR_PROTOCOL, "the image worker's answer: " },
		{ "{\"ok\":true,\"size_bytes\":-1}", ERR_PROTOCOL, "the image worker's answer: " },
		{ "{\"ok\":true,\"more\":1}", ERR_PROTOCOL, "the image worker's answer: " },
		{ "{\"ok\":true}{\"ok\":true}", ERR_PROTOCOL, "the image worker's answer: " },
		{ "{\"ok\":false}", ERR_SYSTEM, "the worker failed" },
		{ "{\"ok\":false,\"kind\":\"none\",\"message\":\"m\"}", ERR_PROTOCOL, "m" },
		{ "{\"ok\":false,\"kind\":\"limit\",\"message\":\"a\\u001b[2Jb\"}", ERR_LIMIT,
		  "a\\x1b[2Jb" },
		{ "{\"ok\":false,\"kind\":\"limit\",\"message\":\"%s%n\",\"errnum\":99999999}",
		  ERR_LIMIT, "%s%n" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(rows); i++) {
		struct ext4_summary got = { .entries = 77 };
		struct err err = ERR_INIT;

		CHECK_ROW(i, worker_read_answer(span_str(rows[i].line), &got, &err) < 0);
		CHECK_STR(err_kind_name(err.kind), err_kind_name(rows[i].kind));
		CHECK_HAS(err.message, rows[i].text);
		CHECK_INT(got.entries, 77);
	}
}

/* --- folders --- */

static char *make_folder(void)
{
	char path[] = "/tmp/banger-test-image-XXXXXX";

	assert_non_null(mkdtemp(path));
	return mem_strdup(path);
}

static void put_file(int dir_fd, const char *folder, const char *name, const char *text)
{
	AUTO_FREE char *path = mem_printf("%s/%s", folder, name);
	AUTO_CLOSE int fd = openat(dir_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, span_str(text)), 0);
}

static void put_image(int dir_fd, const char *name)
{
	AUTO_FREE char *record = mem_printf(
		"{\"name\":\"%s\",\"kind\":\"managed\",\"recipe\":\"r\",\"kernel\":\"k\","
		"\"built_at\":\"2026-11-22T03:00:00Z\",\"size_bytes\":4,\"used_bytes\":5,"
		"\"content_bytes\":1,\"seed_size_bytes\":2,\"entries\":3,\"has_init\":true}",
		name);

	assert_int_equal(mkdirat(dir_fd, name, 0700), 0);
	put_file(dir_fd, name, IMAGE_ROOT_FILE, "root");
	put_file(dir_fd, name, IMAGE_SEED_FILE, "seed");
	put_file(dir_fd, name, IMAGE_RECORD_FILE, record);
}

static void test_folders(void **state)
{
	AUTO_FREE char *dir = make_folder();
	AUTO_CLOSE int dir_fd = dir_open(dir);
	AUTO_IMAGE_RECORD_LIST list = { .count = 0 };
	AUTO_IMAGE_RECORD image;
	struct err err = ERR_INIT;

	(void)state;
	image_record_init(&image);
	put_image(dir_fd, "two");
	put_image(dir_fd, "one");
	put_image(dir_fd, "three");
	put_image(dir_fd, ".new-four-0123");
	put_image(dir_fd, ".old-five-0123");
	put_file(dir_fd, "three", IMAGE_RECORD_FILE, "{\"name\":\"four\"}");
	put_file(dir_fd, ".", "file", "no image");

	assert_int_equal(image_load_all(dir, &list, &err), 0);
	CHECK_INT(list.count, 2);
	CHECK_STR(list.items[0].name, "one");
	CHECK_STR(list.items[1].name, "two");
	CHECK_STR(list.items[1].kernel, "k");
	CHECK_INT(list.items[1].built_at, 1795316400);
	CHECK_INT(list.items[1].has_init, 1);

	assert_true(image_load(dir, "three", &image, &err) < 0);
	CHECK_HAS(err.message, "image 'three': 'image.json'");
	assert_true(image_load(dir, "file", &image, &err) < 0);
	assert_true(image_load(dir, "none", &image, &err) < 0);
	CHECK_STR(err.message, "there is no image 'none'");
	assert_int_equal(unlinkat(dir_fd, "two/" IMAGE_SEED_FILE, 0), 0);
	assert_true(image_load(dir, "two", &image, &err) < 0);
	CHECK_HAS(err.message, "image 'two': examine 'work-seed.ext4': ");

	assert_int_equal(image_sweep(dir, &err), 0);
	assert_true(faccessat(dir_fd, ".new-four-0123", F_OK, 0) < 0);
	assert_true(faccessat(dir_fd, ".old-five-0123", F_OK, 0) < 0);
	assert_int_equal(faccessat(dir_fd, "one", F_OK, 0), 0);
	assert_int_equal(image_remove(dir, "one", &err), 0);
	assert_true(faccessat(dir_fd, "one", F_OK, 0) < 0);
	assert_true(image_remove(dir, "one", &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	assert_int_equal(dir_remove_tree(AT_FDCWD, dir), 0);
}

static void fill_config(struct image_config *config)
{
	strv_add(&config->entrypoint, "/bin/sh");
	strv_add(&config->entrypoint, "-c");
	strv_add(&config->cmd, "echo \"$A\"\n");
	strv_add(&config->env, "LD_PRELOAD=/evil.so");
	strv_add(&config->env, "no-equals");
	config->user = mem_strdup("root:x y");
	config->working_dir = mem_strdup("../..");
}

/* It comes back as it was, whatever it says: nothing of it is interpreted. */
static void test_config(void **state)
{
	char dir[] = "/tmp/test-image-XXXXXX";
	const struct ext4_summary summary = { .entries = 1 };
	AUTO_IMAGE_CONFIG config = IMAGE_CONFIG_INIT;
	AUTO_IMAGE_CONFIG got = IMAGE_CONFIG_INIT;
	AUTO_IMAGE_RECORD image;
	struct err err = ERR_INIT;
	AUTO_CLOSE int dir_fd = -1;
	AUTO_CLOSE int with_fd = -1;
	AUTO_CLOSE int without_fd = -1;

	(void)state;
	image_record_init(&image);
	image.name = mem_strdup("with");
	image.kind = mem_strdup("managed");
	image.source = mem_strdup("a/b:c");
	assert_non_null(mkdtemp(dir));
	dir_fd = dir_open(dir);
	assert_int_equal(mkdirat(dir_fd, "with", 0700), 0);
	assert_int_equal(mkdirat(dir_fd, "without", 0700), 0);
	with_fd = dir_open_at(dir_fd, "with");
	without_fd = dir_open_at(dir_fd, "without");
	fill_config(&config);
	assert_int_equal(folder_write_record(with_fd, &image, &summary, &config, &err), 0);
	assert_int_equal(folder_write_record(without_fd, &image, &summary, NULL, &err), 0);

	assert_int_equal(image_config_load(dir, "without", &got, &err), 0);
	CHECK_INT(got.entrypoint.count + got.cmd.count + got.env.count, 0);
	assert_null(got.user);
	assert_int_equal(image_config_load(dir, "with", &got, &err), 0);
	CHECK_INT(got.entrypoint.count, 2);
	CHECK_STR(got.entrypoint.items[1], "-c");
	CHECK_STR(got.cmd.items[0], "echo \"$A\"\n");
	CHECK_STR(got.env.items[0], "LD_PRELOAD=/evil.so");
	CHECK_STR(got.env.items[1], "no-equals");
	CHECK_STR(got.user, "root:x y");
	CHECK_STR(got.working_dir, "../..");
	image_config_done(&got);
	assert_true(image_config_load(dir, "nothing", &got, &err) < 0);
	CHECK_STR(err.message, "there is no image 'nothing'");
	assert_true(image_config_load(dir, "../x", &got, &err) < 0);
	assert_int_equal(dir_remove_tree(AT_FDCWD, dir), 0);
}

static void test_config_limits(void **state)
{
	AUTO_IMAGE_CONFIG config = IMAGE_CONFIG_INIT;
	AUTO_FREE char *large = mem_alloc(IMAGE_CONFIG_BYTES_MAX + 1, 1);
	struct err err = ERR_INIT;
	size_t i;

	(void)state;
	for (i = 0; i < IMAGE_CONFIG_ITEMS_MAX; i++)
		strv_add(&config.cmd, "");
	assert_int_equal(folder_check_config(&config, &err), 0);
	strv_add(&config.cmd, "");
	assert_true(folder_check_config(&config, &err) < 0);
	CHECK_HAS(err.message, "a list of more than 4096 texts");
	image_config_done(&config);

	memset(large, 'x', IMAGE_CONFIG_BYTES_MAX);
	config.user = mem_strdup(large);
	assert_int_equal(folder_check_config(&config, &err), 0);
	config.working_dir = mem_strdup("x");
	assert_true(folder_check_config(&config, &err) < 0);
	CHECK_HAS(err.message, "more than 1048576 bytes");
	CHECK_INT(err.kind, ERR_LIMIT);
}

static void test_no_folder(void **state)
{
	AUTO_IMAGE_RECORD_LIST list = { .count = 0 };
	AUTO_IMAGE_RECORD image;
	struct err err = ERR_INIT;

	(void)state;
	image_record_init(&image);
	assert_int_equal(image_load_all("/nowhere/at/all", &list, &err), 0);
	CHECK_INT(list.count, 0);
	assert_int_equal(image_sweep("/nowhere/at/all", &err), 0);
	assert_true(image_load("/nowhere/at/all", "x", &image, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	assert_true(image_remove("/nowhere/at/all", "x", &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_catalog),
		cmocka_unit_test(test_orders),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_hostile_answers),
		cmocka_unit_test(test_unpack_messages),
		cmocka_unit_test(test_hostile_unpack_answers),
		cmocka_unit_test(test_folders),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_config_limits),
		cmocka_unit_test(test_no_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
