/* The configuration as JSON for doctor, and the table of keys for the documents. */
#include "base/json.h"
#include "config/private.h"

static json_t *value_to_json(const struct config *config, const struct config_key_def *def)
{
	const void *slot = config_slot_const(config, def);

	if (config_type_is_text(def->type)) {
		const char *text = *(char *const *)slot;

		return text ? json_new_str(text) : json_null();
	}
	if (def->type == VALUE_CHOICE)
		return json_new_str(def->choices[*(const unsigned int *)slot]);
	if (def->type == VALUE_BOOL)
		return json_boolean(*(const bool *)slot);
	return json_integer((json_int_t) * (const uint64_t *)slot);
}

static json_t *file_sync_to_json(const struct config *config)
{
	json_t *array = json_new_array();

	for (size_t i = 0; i < config->file_sync_count; i++) {
		const struct config_file_sync *sync = &config->file_sync[i];
		json_t *entry = json_new_object();

		json_put_str(entry, "host", sync->host);
		json_put_str(entry, "guest", sync->guest);
		json_put_u64(entry, "mode", sync->mode);
		json_add(array, entry);
	}
	return array;
}

static json_t *registries_to_json(const struct config *config)
{
	json_t *array = json_new_array();

	for (size_t i = 0; i < config->registry_count; i++) {
		const struct config_registry *registry = &config->registries[i];
		json_t *entry = json_new_object();

		json_put_str(entry, "host", registry->host);
		json_put_str(entry, "mirror", registry->mirror);
		json_put_str(entry, "ca", registry->ca_file);
		json_put_bool(entry, "insecure", registry->insecure);
		json_add(array, entry);
	}
	return array;
}

static void put_entry(json_t *object, const char *name, json_t *value, bool is_set)
{
	json_t *entry = json_new_object();

	json_put(entry, "value", value);
	json_put_str(entry, "source", is_set ? "config" : "default");
	json_put(object, name, entry);
}

json_t *config_to_json(const struct config *config)
{
	json_t *object = json_new_object();

	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
		put_entry(object, config_keys[i].row.name, value_to_json(config, &config_keys[i]),
			  config->is_set[i]);
	put_entry(object, "file_sync", file_sync_to_json(config), config->file_sync_count > 0);
	put_entry(object, "registry", registries_to_json(config), config->registry_count > 0);
	return object;
}

static void add_row(struct buf *out, const struct config_key_row *row)
{
	buf_addf(out, "| `%s` | %s | `%s` | %s%s%s |\n", row->name, row->type, row->default_text,
		 row->meaning, row->without_effect ? "; without effect yet: " : "",
		 row->without_effect ? row->without_effect : "");
}

void config_document(struct buf *out)
{
	size_t count;
	const struct config_key_row *lists = config_list_rows(&count);

	buf_add_str(out, "| key | type | default | meaning |\n|---|---|---|---|\n");
	for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
		add_row(out, &config_keys[i].row);
	for (size_t i = 0; i < count; i++)
		add_row(out, &lists[i]);
}
