#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "vmmshim/api.h"
#include "vmmshim/handlers.h"

/* The sections of a configuration file in the order in which they are applied. */
struct section {
	const char *name;
	const struct shape *shape;
	bool is_list;
	bool is_required;
	int (*handle)(struct api *api, union any_body *body, struct api_outcome *ret,
		      struct err *err);
	const char *unsupported;
};

static const struct section sections[] = {
	{ .name = "logger", .shape = &logger_shape, .handle = handle_put_logger },
	{ .name = "metrics", .shape = &metrics_shape, .handle = handle_put_metrics },
	{ .name = "machine-config", .shape = &machine_shape, .handle = handle_put_machine },
	{ .name = "cpu-config", .unsupported = "a custom CPU template" },
	{ .name = "boot-source",
	  .shape = &boot_shape,
	  .is_required = true,
	  .handle = handle_put_boot },
	{ .name = "drives",
	  .shape = &drive_shape,
	  .is_list = true,
	  .is_required = true,
	  .handle = handle_put_drive },
	{ .name = "network-interfaces",
	  .shape = &net_shape,
	  .is_list = true,
	  .handle = handle_put_net },
	{ .name = "vsock", .shape = &vsock_shape, .handle = handle_put_vsock },
	{ .name = "balloon", .shape = &balloon_shape, .handle = handle_put_balloon },
	{ .name = "mmds-config", .unsupported = "MMDS" },
	{ .name = "entropy", .shape = &entropy_shape, .handle = handle_put_entropy },
	{ .name = "pmem", .is_list = true, .unsupported = "a pmem device" },
	{ .name = "memory-hotplug", .unsupported = "memory hotplug" },
};

/* What a snapshot has of it: its kernel runs already, and logs and figures are this process's. */
static bool is_restored(const struct section *section)
{
	return section->shape != &boot_shape && section->shape != &logger_shape &&
	       section->shape != &metrics_shape;
}

static int check_names(json_t *root, struct err *err)
{
	const char *key;
	json_t *value;

	json_object_foreach(root, key, value) {
		bool is_known = false;

		for (size_t i = 0; i < ARRAY_LEN(sections) && !is_known; i++)
			is_known = str_eq(sections[i].name, key);
		if (!is_known)
			return err_set(err, ERR_INVALID, "unknown section '%s'", key);
	}
	return 0;
}

static int apply_one(struct api *api, const struct section *section, json_t *value, struct err *err)
{
	union any_body body;
	struct api_outcome outcome = { .action = API_ANSWERED };
	int r;

	memset(&body, 0, sizeof(body));
	r = shape_read_json(section->shape, value, &body, err);
	if (r < 0)
		return r;
	r = section->handle(api, &body, &outcome, err);
	shape_done(section->shape, &body);
	json_decref(outcome.result);
	return r;
}

static int apply_section(struct api *api, const struct section *section, json_t *value,
			 struct err *err)
{
	json_t *item;
	size_t index;

	if (!value || json_is_null(value)) {
		if (section->is_required)
			return err_set(err, ERR_INVALID, "missing field `%s`", section->name);
		return 0;
	}
	if (section->is_list && !json_is_array(value))
		return err_set(err, ERR_INVALID, "'%s' is no list", section->name);
	if (section->unsupported)
		return section->is_list && json_array_size(value) == 0
			       ? 0
			       : config_unsupported(err, section->unsupported);
	if (!section->is_list)
		return apply_one(api, section, value, err);
	json_array_foreach(value, index, item) {
		int r = apply_one(api, section, item, err);

		if (r < 0)
			return r;
	}
	return 0;
}

int api_load_config(struct api *api, struct span text, struct err *err)
{
	AUTO_JSON *root = NULL;
	int r;

	r = json_read(text, &root, err);
	if (r < 0)
		return r;
	if (!json_is_object(root))
		return err_set(err, ERR_INVALID, "the configuration is no object");
	r = check_names(root, err);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(sections); i++)
		r = apply_section(api, &sections[i], json_object_get(root, sections[i].name), err);
	return r;
}

static int apply_restored(struct api *api, const json_t *config, struct err *err)
{
	json_t *serial = json_object_get(config, "serial");
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(sections); i++) {
		if (is_restored(&sections[i]))
			r = apply_section(api, &sections[i],
					  json_object_get(config, sections[i].name), err);
	}
	if (r == 0 && serial && api->config.serial.given == 0) {
		static const struct section section = { .name = "serial",
							.shape = &serial_shape,
							.handle = handle_put_serial };

		r = apply_section(api, &section, serial, err);
	}
	return r;
}

int api_restore_config(struct api *api, const json_t *config, struct err *err)
{
	const bool had_serial = api->config.serial.given != 0;
	const int r = apply_restored(api, config, err);

	if (r < 0)
		config_clear_machine(&api->config, had_serial);
	return r;
}
