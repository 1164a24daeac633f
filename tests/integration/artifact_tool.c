/*
 * Catalogs, bundles, imports and registered images as a command, for tests:
 *
 *     artifact_tool kernels CONFIG_DIR                      the kernels' catalog, a line each
 *                   images CONFIG_DIR                       the images' catalog, as JSON lines
 *                   pull-kernel KERNELS_DIR CONFIG_DIR NAME
 *                   import KERNELS_DIR NAME FROM
 *                   pull-image IMAGES_DIR CONFIG_DIR NAME
 *                   register IMAGES_DIR NAME ROOTFS SEED    ("-": none)
 *                   promote IMAGES_DIR NAME
 *                   locate IMAGES_DIR NAME
 *                   sweep DIR                               what killed ones left
 *                   --worker KIND
 *
 * Exits with 0, 1 after an error (its kind and message on standard error), or 2 for wrong usage.
 */
#include <signal.h>
#include <stdio.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "fetch/fetch.h"
#include "image/bundle.h"
#include "image/catalog.h"
#include "image/register.h"
#include "image/worker.h"
#include "kernel/bundle.h"
#include "kernel/catalog.h"
#include "kernel/import.h"
#include "kernel/unpack.h"

static struct cancel cancel = { .fd = -1 };

static void on_signal(int number)
{
	(void)number;
	cancel_fire(&cancel);
}

static void print_progress(void *context, const struct progress_event *event)
{
	(void)context;
	(void)fprintf(stderr, "%s: %s %llu of %llu\n", event->stage,
		      event->detail ? event->detail : "", (unsigned long long)event->done,
		      (unsigned long long)event->total);
}

static const struct progress progress = { .report = print_progress };

/* Tests do not wait for long. */
static struct fetch_policy test_policy(void)
{
	struct fetch_policy policy = FETCH_POLICY_INIT;

	policy.retries_max = 5;
	policy.backoff_ms = 10;
	policy.wait_max_ms = 100;
	return policy;
}

static void print_json(json_t *given)
{
	AUTO_JSON *object = given;
	AUTO_BUF text = BUF_INIT;

	json_write(object, &text);
	(void)puts(text.ptr);
}

static void print_image(const struct image_record *image)
{
	(void)printf("%s kind=%s kernel=%s source=%s digest=%s size=%llu init=%d\n", image->name,
		     image->kind, image->kernel ? image->kernel : "-",
		     image->source ? image->source : "-", image->digest ? image->digest : "-",
		     (unsigned long long)image->size_bytes, image->has_init);
}

static int run_kernels(char **argv, struct err *err)
{
	AUTO_KERNEL_CATALOG catalog = { .items = NULL };
	const int r = kernel_catalog_load(argv[0], &catalog, err);

	for (size_t i = 0; r == 0 && i < catalog.count; i++)
		(void)printf("%s %s%s%s\n", catalog.items[i].name,
			     kernel_source_kind_name(catalog.items[i].kind),
			     catalog.items[i].is_default ? " default" : "",
			     catalog.items[i].is_users ? " users" : "");
	return r;
}

static int run_images(char **argv, struct err *err)
{
	AUTO_IMAGE_CATALOG catalog = { .items = NULL };
	const int r = image_catalog_load(argv[0], &catalog, err);

	for (size_t i = 0; r == 0 && i < catalog.count; i++)
		print_json(image_source_json(&catalog.items[i]));
	return r;
}

static int fetch(const struct bundle_origin *origin, const char *dir, int *ret_fd, struct err *err)
{
	const struct fetch_policy policy = test_policy();
	struct bundle_origin tried = *origin;

	tried.policy = &policy;
	tried.cancel = &cancel;
	tried.progress = &progress;
	return bundle_fetch(&tried, dir, "mine", ret_fd, err);
}

static int run_pull_kernel(char **argv, struct err *err)
{
	AUTO_KERNEL_CATALOG catalog = { .items = NULL };
	struct kernel_bundle_request request = { .kernels_dir = argv[0], .name = argv[2] };
	const struct kernel_source *source;
	AUTO_CLOSE int fd = -1;
	AUTO_KERNEL kernel;
	int r;

	kernel_init(&kernel);
	r = kernel_catalog_load(argv[1], &catalog, err);
	if (r < 0)
		return r;
	source = kernel_catalog_find(&catalog, argv[2]);
	if (!source || source->kind != KERNEL_SOURCE_BUNDLE)
		return err_set(err, ERR_NOT_FOUND, "no '%s'", argv[2]);
	r = fetch(&(struct bundle_origin){ .url = source->url,
					   .sha256 = source->sha256,
					   .size_bytes = source->size_bytes },
		  argv[0], &fd, err);
	request.fd = fd;
	request.source = source->url;
	if (r == 0)
		r = kernel_bundle_install(&request, &cancel, &progress, &kernel, err);
	if (r == 0)
		print_json(kernel_json(&kernel));
	return r;
}

static int run_import(char **argv, struct err *err)
{
	const struct kernel_import_request request = { .kernels_dir = argv[0],
						       .name = argv[1],
						       .from = argv[2] };
	AUTO_KERNEL kernel;
	int r;

	kernel_init(&kernel);
	r = kernel_import(&request, &cancel, &progress, &kernel, err);
	if (r == 0)
		print_json(kernel_json(&kernel));
	return r;
}

static int run_pull_image(char **argv, struct err *err)
{
	AUTO_IMAGE_CATALOG catalog = { .items = NULL };
	struct image_bundle_request request = { .images_dir = argv[0], .name = argv[2] };
	const struct image_source *source;
	AUTO_CLOSE int fd = -1;
	AUTO_IMAGE_RECORD image;
	int r;

	image_record_init(&image);
	r = image_catalog_load(argv[1], &catalog, err);
	if (r < 0)
		return r;
	source = image_catalog_find(&catalog, argv[2]);
	if (!source || source->kind != IMAGE_SOURCE_BUNDLE)
		return err_set(err, ERR_NOT_FOUND, "no '%s'", argv[2]);
	r = fetch(&(struct bundle_origin){ .url = source->url,
					   .sha256 = source->sha256,
					   .size_bytes = source->size_bytes },
		  argv[0], &fd, err);
	request.fd = fd;
	request.source = source->url;
	request.kernel = source->kernel;
	if (r == 0)
		r = image_bundle_install(&request, &cancel, &progress, &image, err);
	if (r == 0)
		print_image(&image);
	return r;
}

static int run_sweep(char **argv, struct err *err)
{
	const int r = kernel_sweep(argv[0], err);

	return r == 0 ? image_sweep(argv[0], err) : r;
}

static int run_register(char **argv, struct err *err)
{
	const struct image_register_request request = {
		.images_dir = argv[0],
		.name = argv[1],
		.rootfs = argv[2],
		.work_seed = str_eq(argv[3], "-") ? NULL : argv[3],
	};
	AUTO_IMAGE_RECORD image;
	int r;

	image_record_init(&image);
	r = image_register(&request, &cancel, &image, err);
	if (r == 0)
		print_image(&image);
	return r;
}

static int run_promote(char **argv, struct err *err)
{
	const struct image_promote_request request = { .images_dir = argv[0], .name = argv[1] };
	AUTO_IMAGE_RECORD image;
	int r;

	image_record_init(&image);
	r = image_promote(&request, &cancel, &progress, &image, err);
	if (r == 0)
		print_image(&image);
	return r;
}

static int run_locate(char **argv, struct err *err)
{
	AUTO_IMAGE_PATHS paths = { .root = NULL };
	const int r = image_locate(argv[0], argv[1], &paths, err);

	if (r == 0)
		(void)printf("%s\n%s\n", paths.root, paths.seed);
	return r;
}

static const struct {
	const char *name;
	int arguments;
	int (*run)(char **argv, struct err *err);
} commands[] = {
	{ "kernels", 1, run_kernels },	       { "images", 1, run_images },
	{ "pull-kernel", 3, run_pull_kernel }, { "import", 3, run_import },
	{ "pull-image", 3, run_pull_image },   { "register", 4, run_register },
	{ "promote", 2, run_promote },	       { "sweep", 1, run_sweep },
	{ "locate", 2, run_locate },
};

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	size_t i;

	if (argc == 3 && str_eq(argv[1], "--worker"))
		return image_worker_main(argc, argv);
	if (cancel_init(&cancel) < 0)
		return 2;
	(void)signal(SIGTERM, on_signal);
	for (i = 0; argc > 1 && i < ARRAY_LEN(commands); i++) {
		if (argc != commands[i].arguments + 2 || !str_eq(argv[1], commands[i].name))
			continue;
		if (commands[i].run(argv + 2, &err) == 0)
			return 0;
		(void)fprintf(stderr, "%s: %s\n", err_kind_name(err.kind), err.message);
		if (err.hint[0] != '\0')
			(void)fprintf(stderr, "hint: %s\n", err.hint);
		return 1;
	}
	return 2;
}
