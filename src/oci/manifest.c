/* Manifests: an image's config and layers. */
#include "oci/manifest.h"

#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "oci/document.h"

#define SHOWN_TYPE_MAX 120

static const struct {
	const char *media_type;
	enum oci_compression compression;
} layer_types[] = {
	{ "application/vnd.oci.image.layer.v1.tar", OCI_COMPRESSION_NONE },
	{ "application/vnd.oci.image.layer.v1.tar+gzip", OCI_COMPRESSION_GZIP },
	{ "application/vnd.oci.image.layer.v1.tar+zstd", OCI_COMPRESSION_ZSTD },
	{ "application/vnd.docker.image.rootfs.diff.tar", OCI_COMPRESSION_NONE },
	{ "application/vnd.docker.image.rootfs.diff.tar.gzip", OCI_COMPRESSION_GZIP },
	{ "application/vnd.docker.image.rootfs.diff.tar.zstd", OCI_COMPRESSION_ZSTD },
};

static const char *const config_types[] = {
	"application/vnd.oci.image.config.v1+json",
	"application/vnd.docker.container.image.v1+json",
};

/* Layers whose owner does not let registries have them: the manifest says which host to ask. */
static const char *const foreign_parts[] = { ".nondistributable.", ".foreign." };

const char *oci_compression_name(enum oci_compression compression)
{
	switch (compression) {
	case OCI_COMPRESSION_NONE:
		return "none";
	case OCI_COMPRESSION_GZIP:
		return "gzip";
	case OCI_COMPRESSION_ZSTD:
		return "zstd";
	}
	return "none";
}

static int read_layer_type(const char *media_type, enum oci_compression *ret, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(layer_types); i++) {
		if (str_eq(media_type, layer_types[i].media_type)) {
			*ret = layer_types[i].compression;
			return 0;
		}
	}
	for (size_t i = 0; i < ARRAY_LEN(foreign_parts); i++) {
		if (strstr(media_type, foreign_parts[i]))
			return err_set(err, ERR_UNSUPPORTED,
				       "field 'mediaType': '%.*s' is not distributed by registries",
				       SHOWN_TYPE_MAX, media_type);
	}
	return err_set(err, ERR_UNSUPPORTED, "field 'mediaType': '%.*s' is not a layer we can read",
		       SHOWN_TYPE_MAX, media_type);
}

/* Bytes come from the registry that was asked for and from nowhere else (CVE-2020-15157). */
static int refuse_urls(const json_t *object, struct err *err)
{
	const json_t *urls;
	const int r = document_array(object, "urls", SIZE_MAX, &urls, err);

	if (r < 0 || json_array_size(urls) == 0)
		return r;
	return err_set(err, ERR_UNSUPPORTED,
		       "field 'urls': content from other hosts than the registry is not fetched");
}

static int read_layer(const json_t *object, struct oci_layer *ret, struct err *err)
{
	const char *media_type = NULL;
	int r = document_descriptor(object, OCI_BLOB_BYTES_MAX, &ret->descriptor, &media_type, err);

	if (r == 0)
		r = read_layer_type(media_type, &ret->compression, err);
	if (r == 0)
		r = refuse_urls(object, err);
	if (r < 0)
		return r;
	if (ret->descriptor.size == 0)
		return err_set(err, ERR_PROTOCOL, "field 'size' is 0");
	return 0;
}

static int read_layers(const json_t *json, struct oci_manifest *manifest, struct err *err)
{
	const json_t *layers = NULL, *item;
	size_t i;
	int r = document_array(json, "layers", OCI_LAYERS_MAX, &layers, err);

	if (r < 0)
		return r;
	if (json_array_size(layers) == 0)
		return err_set(err, ERR_UNSUPPORTED, "field 'layers': the image has none");
	manifest->layers = mem_alloc(json_array_size(layers), sizeof(*manifest->layers));
	manifest->layer_count = json_array_size(layers);
	json_array_foreach(layers, i, item) {
		r = read_layer(item, &manifest->layers[i], err);
		if (r < 0)
			return err_context(err, r, "layers[%zu]", i);
	}
	return 0;
}

static int read_config(const json_t *json, struct oci_manifest *manifest, struct err *err)
{
	const json_t *config = NULL;
	const char *media_type = NULL;
	bool is_known = false;
	int r = document_object(json, "config", &config, err);

	if (r == 0)
		r = document_need(config, "config", err);
	if (r < 0)
		return r;
	r = document_descriptor(config, OCI_CONFIG_BYTES_MAX, &manifest->config, &media_type, err);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(config_types); i++)
		is_known = is_known || str_eq(media_type, config_types[i]);
	if (r == 0 && !is_known)
		r = err_set(err, ERR_UNSUPPORTED, "'%.*s' is not the config of an image",
			    SHOWN_TYPE_MAX, media_type);
	if (r == 0)
		r = refuse_urls(config, err);
	return r < 0 ? err_context(err, r, "field 'config'") : 0;
}

int oci_manifest_parse(struct span text, struct oci_manifest *ret, struct err *err)
{
	AUTO_OCI_MANIFEST manifest = OCI_MANIFEST_INIT;
	AUTO_JSON *json = NULL;
	int r = document_read_object(text, OCI_MANIFEST_BYTES_MAX, &json, err);

	if (r == 0)
		r = document_check_kind(json, OCI_KIND_MANIFEST, err);
	if (r == 0)
		r = read_config(json, &manifest, err);
	if (r == 0)
		r = read_layers(json, &manifest, err);
	if (r < 0)
		return r;
	*ret = manifest;
	manifest = OCI_MANIFEST_INIT;
	return 0;
}

void oci_manifest_done(struct oci_manifest *manifest)
{
	mem_free(manifest->layers);
	*manifest = OCI_MANIFEST_INIT;
}
