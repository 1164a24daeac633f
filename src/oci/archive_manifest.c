/* manifest.json of a docker-archive: a list of images, of which one is wanted. */
#include "base/mem.h"
#include "oci/archive.h"
#include "oci/document.h"

static int read_image(const json_t *image, struct oci_archive_manifest *ret, struct err *err)
{
	const json_t *layers = NULL, *item;
	const char *config = NULL;
	size_t i;
	int r;

	if (!json_is_object(image))
		return err_set(err, ERR_PROTOCOL, "an image must be an object");
	r = document_string(image, "Config", OCI_SHORT_BYTES_MAX, &config, err);
	if (r == 0)
		r = document_need(config, "Config", err);
	if (r == 0)
		r = document_array(image, "Layers", OCI_LAYERS_MAX, &layers, err);
	if (r < 0)
		return r;
	if (json_array_size(layers) == 0)
		return err_set(err, ERR_UNSUPPORTED, "field 'Layers': the image has none");
	json_array_foreach(layers, i, item) {
		if (!json_is_string(item) || json_string_length(item) > OCI_SHORT_BYTES_MAX)
			return err_set(err, ERR_PROTOCOL,
				       "field 'Layers' must be an array of short strings");
		strv_add(&ret->layers, json_string_value(item));
	}
	ret->config = mem_strdup(config);
	return 0;
}

int oci_archive_manifest_parse(struct span text, struct oci_archive_manifest *ret, struct err *err)
{
	AUTO_OCI_ARCHIVE_MANIFEST manifest = OCI_ARCHIVE_MANIFEST_INIT;
	AUTO_JSON *json = NULL;
	int r = document_read(text, OCI_ARCHIVE_MANIFEST_BYTES_MAX, &json, err);

	if (r < 0)
		return r;
	if (!json_is_array(json))
		return err_set(err, ERR_PROTOCOL, "JSON, but not an array");
	if (json_array_size(json) != 1)
		return err_set(err, ERR_INVALID, "it holds %zu images, not one",
			       json_array_size(json));
	r = read_image(json_array_get(json, 0), &manifest, err);
	if (r < 0)
		return r;
	*ret = manifest;
	manifest = OCI_ARCHIVE_MANIFEST_INIT;
	return 0;
}

void oci_archive_manifest_done(struct oci_archive_manifest *manifest)
{
	mem_free(manifest->config);
	strv_done(&manifest->layers);
	*manifest = OCI_ARCHIVE_MANIFEST_INIT;
}
