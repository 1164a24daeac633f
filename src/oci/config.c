/* An image's config: what it says about running is kept as it is. */
#include "base/mem.h"
#include "base/text.h"
#include "oci/document.h"

/* Copies a string field; NULL when it is absent. */
static int take_string(const json_t *object, const char *field, size_t max, char **ret,
		       struct err *err)
{
	const char *text = NULL;
	const int r = document_string(object, field, max, &text, err);

	if (r == 0)
		*ret = mem_strdup(text);
	return r;
}

static int read_diff_ids(const json_t *json, struct oci_config *config, struct err *err)
{
	const json_t *rootfs = NULL, *ids = NULL, *item;
	const char *type = NULL;
	size_t i;
	int r = document_object(json, "rootfs", &rootfs, err);

	if (r == 0)
		r = document_need(rootfs, "rootfs", err);
	if (r == 0)
		r = document_string(rootfs, "type", OCI_SHORT_BYTES_MAX, &type, err);
	if (r < 0)
		return r;
	if (!str_eq(type, "layers"))
		return err_set(err, ERR_UNSUPPORTED, "field 'rootfs.type' is not 'layers'");
	r = document_array(rootfs, "diff_ids", OCI_LAYERS_MAX, &ids, err);
	if (r == 0)
		r = document_need(ids, "rootfs.diff_ids", err);
	if (r < 0)
		return r;
	config->diff_ids = mem_alloc(json_array_size(ids) + 1, sizeof(*config->diff_ids));
	config->diff_id_count = json_array_size(ids);
	json_array_foreach(ids, i, item) {
		if (!json_is_string(item))
			return err_set(err, ERR_PROTOCOL,
				       "field 'rootfs.diff_ids' must be an array of strings");
		r = oci_digest_read(json_string_value(item), "field 'rootfs.diff_ids'",
				    &config->diff_ids[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_run(const json_t *json, struct oci_config *config, struct err *err)
{
	const json_t *run = NULL;
	int r = document_object(json, "config", &run, err);

	if (r < 0 || !run)
		return r;
	r = take_string(run, "User", OCI_STRING_BYTES_MAX, &config->user, err);
	if (r == 0)
		r = take_string(run, "WorkingDir", OCI_STRING_BYTES_MAX, &config->working_dir, err);
	if (r == 0)
		r = document_strings(run, "Entrypoint", &config->entrypoint, err);
	if (r == 0)
		r = document_strings(run, "Cmd", &config->cmd, err);
	if (r == 0)
		r = document_strings(run, "Env", &config->env, err);
	return r < 0 ? err_context(err, r, "field 'config'") : 0;
}

int oci_config_parse(struct span text, struct oci_config *ret, struct err *err)
{
	AUTO_OCI_CONFIG config = OCI_CONFIG_INIT;
	AUTO_JSON *json = NULL;
	int r = document_read_object(text, OCI_CONFIG_BYTES_MAX, &json, err);

	if (r == 0)
		r = take_string(json, "os", OCI_SHORT_BYTES_MAX, &config.os, err);
	if (r == 0)
		r = document_need(config.os, "os", err);
	if (r == 0)
		r = take_string(json, "architecture", OCI_SHORT_BYTES_MAX, &config.architecture,
				err);
	if (r == 0)
		r = document_need(config.architecture, "architecture", err);
	if (r == 0)
		r = take_string(json, "variant", OCI_SHORT_BYTES_MAX, &config.variant, err);
	if (r == 0)
		r = take_string(json, "created", OCI_SHORT_BYTES_MAX, &config.created, err);
	if (r == 0)
		r = read_diff_ids(json, &config, err);
	if (r == 0)
		r = read_run(json, &config, err);
	if (r < 0)
		return r;
	*ret = config;
	config = OCI_CONFIG_INIT;
	return 0;
}

void oci_config_done(struct oci_config *config)
{
	mem_free(config->os);
	mem_free(config->architecture);
	mem_free(config->variant);
	mem_free(config->created);
	mem_free(config->user);
	mem_free(config->working_dir);
	strv_done(&config->entrypoint);
	strv_done(&config->cmd);
	strv_done(&config->env);
	mem_free(config->diff_ids);
	*config = OCI_CONFIG_INIT;
}

int oci_config_check_platform(const struct oci_config *config, const struct oci_platform *platform,
			      struct err *err)
{
	char wanted[OCI_PLATFORM_TEXT_SIZE];

	if (str_eq(config->os, platform->os) &&
	    str_eq(config->architecture, platform->architecture))
		return 0;
	oci_platform_text(platform, wanted);
	return err_set(err, ERR_UNSUPPORTED, "the image is for %.64s/%.64s, not for %s", config->os,
		       config->architecture, wanted);
}
