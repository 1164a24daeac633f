/* The catalog: what is shipped, what a user's file may say, and where its errors point. */
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
#include "check.h"
#include "image/catalog.h"
#include "kernel/catalog.h"
#include "model/names.h"

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_shipped(void **state)
{
	AUTO_KERNEL_CATALOG kernels = { .items = NULL };
	AUTO_IMAGE_CATALOG images = { .items = NULL };
	struct err err = ERR_INIT;
	size_t defaults = 0;

	(void)state;
	CHECK_INT(kernel_catalog_load(NULL, &kernels, &err), 0);
	CHECK_INT(kernels.count >= 1, true);
	CHECK_STR(kernel_catalog_find(&kernels, "debian-cloud")->package,
		  "linux-image-cloud-amd64");
	CHECK_INT(kernel_catalog_find(&kernels, "debian") == NULL, true);

	CHECK_INT(image_catalog_load("/nonexistent", &images, &err), 0);
	for (size_t i = 0; i < images.count; i++) {
		const struct image_source *source = &images.items[i];

		CHECK_ROW(i, i == 0 || strcmp(images.items[i - 1].name, source->name) < 0);
		CHECK_ROW(i, name_is_artifact(source->name) && source->description[0] != '\0');
		CHECK_ROW(i, kernel_catalog_find(&kernels, source->kernel) != NULL);
		CHECK_ROW(i, !source->is_users);
		defaults += source->is_default;
	}
	CHECK_INT(defaults, 1);
	CHECK_INT(image_catalog_find(&images, "debian-bookworm")->kind, IMAGE_SOURCE_RECIPE);
	CHECK_STR(image_catalog_find(&images, "debian-bookworm")->recipe->name, "debian-bookworm");
	CHECK_STR(image_catalog_find(&images, "alpine-3.20")->reference,
		  "docker.io/library/alpine:3.20");
	CHECK_INT(image_catalog_find(&images, "alpine") == NULL, true);
}

/* A configuration folder with this catalog.json, and what is left of it in the end. */
static char *make_config(const char *text)
{
	char path[] = "/tmp/test-catalog-XXXXXX";
	AUTO_CLOSE int fd = -1;

	assert_non_null(mkdtemp(path));
	fd = dir_open(path);
	assert_int_equal(file_replace(fd, "catalog.json", span_str(text), 0600), 0);
	return mem_strdup(path);
}

static const char users[] =
	"{ \"kernels\": [\n"
	"  { \"name\": \"mine\", \"kind\": \"bundle\", \"url\": "
	"\"https://example.org/k.tar.zst\",\n"
	"    \"sha256\": \"" SHA "\", \"size_bytes\": 4711 },\n"
	"  { \"name\": \"debian-cloud\", \"kind\": \"package\", \"package\": "
	"\"linux-image-amd64\",\n"
	"    \"suite\": \"trixie\", \"description\": \"another\" } ],\n"
	"\"images\": [\n"
	"  { \"name\": \"work\", \"kind\": \"oci\", \"reference\": \"127.0.0.1:5000/x:y\",\n"
	"    \"kernel\": \"mine\" },\n"
	"  { \"name\": \"debian-bookworm\", \"kind\": \"bundle\", \"url\": "
	"\"http://127.0.0.1:1/x\",\n"
	"    \"sha256\": \"" SHA "\", \"size_bytes\": 1 } ] }\n";

static void test_users(void **state)
{
	AUTO_FREE char *config = make_config(users);
	AUTO_KERNEL_CATALOG kernels = { .items = NULL };
	AUTO_IMAGE_CATALOG images = { .items = NULL };
	AUTO_JSON *json = NULL;
	AUTO_BUF text = BUF_INIT;
	const struct kernel_source *kernel;
	const struct image_source *image;
	struct err err = ERR_INIT;

	(void)state;
	CHECK_INT(kernel_catalog_load(config, &kernels, &err), 0);
	kernel = kernel_catalog_find(&kernels, "mine");
	CHECK_INT(kernel->kind, KERNEL_SOURCE_BUNDLE);
	CHECK_STR(kernel->url, "https://example.org/k.tar.zst");
	CHECK_STR(kernel->sha256, SHA);
	CHECK_INT(kernel->size_bytes, 4711);
	CHECK_STR(kernel->description, "");
	CHECK_INT(kernel->is_users, true);
	kernel = kernel_catalog_find(&kernels, "debian-cloud");
	CHECK_STR(kernel->suite, "trixie");
	CHECK_INT(kernel->is_users, true);
	CHECK_INT(kernel->is_default, true);

	CHECK_INT(image_catalog_load(config, &images, &err), 0);
	image = image_catalog_find(&images, "work");
	CHECK_STR(image->kernel, "mine");
	CHECK_STR(image->reference, "127.0.0.1:5000/x:y");
	json = image_source_json(image);
	json_write(json, &text);
	CHECK_STR(text.ptr, "{\"name\":\"work\",\"kind\":\"oci\",\"description\":\"\",\"kernel\":"
			    "\"mine\",\"default\":false,\"users\":true,\"reference\":"
			    "\"127.0.0.1:5000/x:y\"}");
	image = image_catalog_find(&images, "debian-bookworm");
	CHECK_INT(image->kind, IMAGE_SOURCE_BUNDLE);
	CHECK_STR(image->sha256, SHA);
	CHECK_STR(image->kernel, "debian-cloud");
	CHECK_INT(image->is_default, true);
	CHECK_INT(image->recipe == NULL, true);
	CHECK_INT(image_catalog_find(&images, "debian-bookworm-slim") != NULL, true);
	CHECK_INT(dir_remove_tree(AT_FDCWD, config), 0);
}

#define KERNEL(members) "{\"kernels\":[{\"name\":\"x\"," members "}]}"
#define IMAGE(members)	"{\"images\":[{\"name\":\"x\"," members "}]}"
#define BUNDLE		"\"kind\":\"bundle\",\"url\":\"https://h/x\",\"sha256\":\"" SHA "\",\"size_bytes\":1"

static const struct {
	const char *text;
	const char *message;
} wrong_files[] = {
	{ "", ":1:0: " },
	{ "{\n\"images\": [\n  { \"name\" \"x\" }\n] }", ":3:14: " },
	{ "{\"images\":[]}x", ":1:14: " },
	{ "{\"images\":[],\n\"images\":[]}", ":2:8: duplicate object key" },
	{ "[]", ": must be an object" },
	{ "{\"image\":[]}", ": unknown field 'image'" },
	{ "{\"images\":{}}", ": images: must be an array" },
	{ "{\"kernels\":1}", ": kernels: must be an array" },
	{ "{\"kernels\":[1]}", ": kernels[0]: must be an object" },
	{ "{\"images\":[{}]}", ": images[0]: " },
	{ "{\"kernels\":[{\"name\":\"x\"}]}", ": kernels[0]: " },
	{ KERNEL(BUNDLE ",\"more\":1"), ": kernels[0]: unknown field 'more'" },
	{ KERNEL("\"kind\":\"oci\""),
	  ": kernels[0]: kind: 'oci' is neither 'package' nor 'bundle'" },
	{ IMAGE("\"kind\":\"recipe\""),
	  ": images[0]: kind: 'recipe' is neither 'oci' nor 'bundle'" },
	{ IMAGE("\"kind\":\"oci\""), ": images[0]: kind 'oci' needs 'reference'" },
	{ IMAGE(BUNDLE ",\"reference\":\"x\""), ": images[0]: kind 'bundle' has no 'reference'" },
	{ IMAGE("\"kind\":\"bundle\""), ": images[0]: kind 'bundle' needs 'url'" },
	{ KERNEL("\"kind\":\"bundle\",\"url\":\"https://h/\""),
	  ": kernels[0]: kind 'bundle' needs 'sha256'" },
	{ KERNEL("\"kind\":\"bundle\",\"url\":\"https://h/\",\"sha256\":\"" SHA "\""),
	  ": kernels[0]: kind 'bundle' needs 'size_bytes'" },
	{ KERNEL("\"kind\":\"package\",\"package\":\"a\""),
	  ": kernels[0]: kind 'package' needs 'suite'" },
	{ KERNEL("\"kind\":\"package\",\"package\":\"a\",\"suite\":\"b\",\"url\":\"x\""),
	  ": kernels[0]: kind 'package' has no 'url'" },
	{ KERNEL("\"kind\":\"package\",\"package\":\"-o\",\"suite\":\"b\""),
	  ": kernels[0]: package: '-o' is no name" },
	{ KERNEL("\"kind\":\"package\",\"package\":\"a b\",\"suite\":\"b\""), "package: 'a b'" },
	{ KERNEL("\"kind\":\"package\",\"package\":\"a,b\",\"suite\":\"b\""), "package: 'a,b'" },
	{ KERNEL("\"kind\":\"package\",\"package\":\"\",\"suite\":\"b\""), "package: ''" },
	{ KERNEL("\"kind\":\"package\",\"package\":\"a\",\"suite\":\"--x\""), "suite: '--x'" },
	{ IMAGE(BUNDLE ",\"kernel\":\"../k\""), ": images[0]: kernel: " },
	{ IMAGE(BUNDLE ",\"description\":\"a\\nb\""), ": images[0]: description: " },
	{ IMAGE("\"kind\":\"oci\",\"reference\":\"A/B\""), ": images[0]: reference: " },
	{ IMAGE("\"kind\":\"oci\",\"reference\":\"oci:/x\""),
	  ": images[0]: reference: 'oci:/x' is not in a registry" },
	{ IMAGE("\"kind\":\"bundle\",\"url\":\"ftp://h/x\",\"sha256\":\"" SHA
		"\",\"size_bytes\":1"),
	  ": images[0]: url: " },
	{ IMAGE("\"kind\":\"bundle\",\"url\":\"http://example.org/x\",\"sha256\":\"" SHA
		"\",\"size_bytes\":1"),
	  ": images[0]: url: " },
	{ IMAGE("\"kind\":\"bundle\",\"url\":\"file:///etc/passwd\",\"sha256\":\"" SHA
		"\",\"size_bytes\":1"),
	  ": images[0]: url: " },
	{ IMAGE("\"kind\":\"bundle\",\"url\":\"https://h/\",\"sha256\":\"0\",\"size_bytes\":1"),
	  ": images[0]: sha256: '0' is not 64 hexadecimal digits" },
	{ IMAGE("\"kind\":\"bundle\",\"url\":\"https://h/\",\"sha256\":\"0" SHA
		"\",\"size_bytes\":1"),
	  ": images[0]: sha256: " },
	{ IMAGE("\"kind\":\"bundle\",\"url\":\"https://h/"
		"\",\"sha256\":\"0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"
		"\",\"size_bytes\":1"),
	  ": images[0]: sha256: " },
	{ IMAGE("\"kind\":\"bundle\",\"url\":\"https://h/\",\"sha256\":\"" SHA
		"\",\"size_bytes\":0"),
	  ": images[0]: field 'size_bytes'" },
	{ IMAGE("\"kind\":\"bundle\",\"url\":\"https://h/\",\"sha256\":\"" SHA
		"\",\"size_bytes\":1099511627777"),
	  ": images[0]: size_bytes: more than 1099511627776" },
	{ "{\"images\":[{\"name\":\".x\"," BUNDLE "}]}", ": images[0]: name: " },
	{ "{\"kernels\":[{\"name\":\"a/b\"," BUNDLE "}]}", ": kernels[0]: name: " },
	{ "{\"images\":[{\"name\":\"x\"," BUNDLE "},{\"name\":\"x\"," BUNDLE "}]}",
	  ": images[1]: name: 'x' is there twice" },
	{ "{\"kernels\":[{\"name\":\"x\"," BUNDLE "},{\"name\":\"x\"," BUNDLE "}]}",
	  ": kernels[1]: name: 'x' is there twice" },
};

static void test_wrong_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong_files); i++) {
		AUTO_FREE char *config = make_config(wrong_files[i].text);
		AUTO_KERNEL_CATALOG kernels = { .items = NULL };
		AUTO_IMAGE_CATALOG images = { .items = NULL };
		struct err err = ERR_INIT;
		int r;

		/* Each reads its own part, but both refuse what is no catalog. */
		r = kernel_catalog_load(config, &kernels, &err);
		if (r == 0)
			r = image_catalog_load(config, &images, &err);
		CHECK_ROW(i, r < 0);
		CHECK_HAS(err.message, wrong_files[i].message);
		CHECK_ROW(i, str_starts(err.message, config));
		CHECK_ROW(i, images.items == NULL);
		CHECK_INT(dir_remove_tree(AT_FDCWD, config), 0);
	}
}

static void test_file_kinds(void **state)
{
	AUTO_FREE char *config = make_config("{}");
	AUTO_FREE char *path = mem_printf("%s/catalog.json", config);
	AUTO_KERNEL_CATALOG kernels = { .items = NULL };
	struct err err = ERR_INIT;

	(void)state;
	CHECK_INT(kernel_catalog_load(config, &kernels, &err), 0);
	kernel_catalog_done(&kernels);
	assert_int_equal(truncate(path, CATALOG_SIZE_MAX + 1), 0);
	CHECK_INT(kernel_catalog_load(config, &kernels, &err) < 0, true);
	CHECK_HAS(err.message, "catalog.json': ");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	CHECK_INT(kernel_catalog_load(config, &kernels, &err) < 0, true);
	CHECK_INT(kernels.items == NULL, true);
	CHECK_INT(dir_remove_tree(AT_FDCWD, config), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shipped),
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_wrong_files),
		cmocka_unit_test(test_file_kinds),
	};

	return cmocka_run_group_tests_name("catalog", tests, NULL, NULL);
}
