#include "vmmshim/config.h"

#include "base/json.h"

json_t *config_write_machine(const struct vm_config *config)
{
	json_t *json = shape_write(&machine_shape, &config->machine);

	/* Firecracker leaves it out while there is none, and here there never is one. */
	(void)json_object_del(json, "cpu_template");
	return json;
}

static json_t *write_drives(const struct vm_config *config)
{
	json_t *list = json_new_array();

	for (size_t i = 0; i < config->drive_count; i++)
		json_add(list, shape_write(&drive_shape, &config->drives[i].body));
	return list;
}

static json_t *write_nets(const struct vm_config *config)
{
	json_t *list = json_new_array();

	for (size_t i = 0; i < config->net_count; i++)
		json_add(list, shape_write(&net_shape, &config->nets[i].body));
	return list;
}

/* The object, or null while `given` says that it was never configured. */
static json_t *write_optional(const struct shape *shape, const void *from)
{
	return *(const uint64_t *)from != 0 ? shape_write(shape, from) : json_null();
}

json_t *config_write(const struct vm_config *config)
{
	json_t *json = json_new_object();
	json_t *vsock = write_optional(&vsock_shape, &config->vsock);

	if (json_is_null(json_object_get(vsock, "vsock_id")))
		(void)json_object_del(vsock, "vsock_id");
	json_put(json, "balloon", write_optional(&balloon_shape, &config->balloon));
	json_put(json, "drives", write_drives(config));
	json_put(json, "boot-source", shape_write(&boot_shape, &config->boot));
	json_put(json, "cpu-config", json_null());
	json_put(json, "logger", write_optional(&logger_shape, &config->logger));
	json_put(json, "machine-config", config_write_machine(config));
	json_put(json, "metrics", write_optional(&metrics_shape, &config->metrics));
	json_put(json, "mmds-config", json_null());
	json_put(json, "network-interfaces", write_nets(config));
	json_put(json, "vsock", vsock);
	json_put(json, "entropy",
		 config->has_entropy ? shape_write(&entropy_shape, &config->entropy) : json_null());
	json_put(json, "pmem", json_new_array());
	json_put(json, "memory-hotplug", json_null());
	return json;
}
