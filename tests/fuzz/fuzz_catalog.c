/* A user's catalog. What is accepted keeps every rule, and the shipped entries stay findable. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/macros.h"
#include "base/text.h"
#include "fuzz.h"
#include "image/catalog.h"
#include "kernel/catalog.h"
#include "model/names.h"

static void must(bool property)
{
	if (!property)
		abort();
}

static void check_kernels(const json_t *file)
{
	AUTO_KERNEL_CATALOG catalog = { .items = NULL };
	struct err err = ERR_INIT;

	if (kernel_catalog_parse(file, "f", true, &catalog, &err) < 0) {
		must(str_starts(err.message, "f: kernels"));
		return;
	}
	must(catalog.count == json_array_size(json_object_get(file, "kernels")));
	for (size_t i = 0; i < catalog.count; i++) {
		const struct kernel_source *source = &catalog.items[i];
		const bool is_bundle = source->kind == KERNEL_SOURCE_BUNDLE;

		must(kernel_catalog_find(&catalog, source->name) == source);
		must(name_is_artifact(source->name) && source->description && source->is_users);
		must(is_bundle == (source->url != NULL) && is_bundle == (source->sha256 != NULL));
		must(is_bundle == (source->size_bytes > 0) &&
		     is_bundle != (source->package != NULL));
		must(is_bundle || (source->package[0] != '-' && source->suite[0] != '-'));
	}
}

static void check_images(const json_t *file)
{
	AUTO_IMAGE_CATALOG catalog = { .items = NULL };
	struct err err = ERR_INIT;

	if (image_catalog_parse(file, "f", true, &catalog, &err) < 0) {
		must(str_starts(err.message, "f: images"));
		return;
	}
	must(catalog.count == json_array_size(json_object_get(file, "images")));
	for (size_t i = 0; i < catalog.count; i++) {
		const struct image_source *source = &catalog.items[i];
		const bool is_bundle = source->kind == IMAGE_SOURCE_BUNDLE;
		AUTO_JSON *json = image_source_json(source);

		must(json && source->kind != IMAGE_SOURCE_RECIPE && !source->recipe);
		must(image_catalog_find(&catalog, source->name) == source);
		must(name_is_artifact(source->name) && name_is_artifact(source->kernel));
		must(is_bundle == (source->url != NULL) &&
		     is_bundle != (source->reference != NULL));
		must(strlen(source->sha256) == (is_bundle ? SHA256_TEXT_SIZE - 1 : 0));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_JSON *file = NULL;
	struct err err = ERR_INIT;

	if (catalog_parse(span_of(data, size), "f", &file, &err) < 0) {
		must(!file && str_starts(err.message, "f:"));
		return 0;
	}
	check_kernels(file);
	check_images(file);
	return 0;
}
