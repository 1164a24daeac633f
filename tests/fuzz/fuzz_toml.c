/*
 * The configuration file: whatever the bytes, config_parse() accepts or refuses with a message that
 * says where, never both, and what it accepts keeps the limits that the rest relies on. The same
 * bytes as a routing table must not do harm either.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/text.h"
#include "config/config.h"
#include "model/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void want(bool condition)
{
	if (!condition)
		abort();
}

static void check(const struct config *config)
{
	want(config->is_present && str_eq(config->file, "f"));
	want(config->vmm < CONFIG_VMM_COUNT && config->network < CONFIG_NETWORK_COUNT);
	want(config->log_level < LOG_LEVEL_COUNT);
	want(name_is_artifact(config->default_image_name));
	want(config->cidr >= 8 && config->cidr <= 30 && config->tap_pool_size <= 64);
	want(config->default_vcpu <= LIMIT_VCPUS);
	want(config->default_memory_mib <= LIMIT_MEMORY_MAX_MIB);
	want(config->default_disk_bytes <= LIMIT_DISK_MAX_BYTES);
	want(str_starts(config->bridge_name, "br-fc") && strlen(config->bridge_name) <= 15);
	want(config->file_sync_count <= CONFIG_LIST_MAX);
	want(config->registry_count <= CONFIG_LIST_MAX);
	for (size_t i = 0; i < config->file_sync_count; i++) {
		want(config->file_sync[i].mode <= 0777);
		want(!strstr(config->file_sync[i].guest, "/../"));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = ERR_INIT;
	struct err route_err = ERR_INIT;
	AUTO_CONFIG config;

	config_init(&config);
	if (size > 0)
		(void)!config_check_routes(&config, span_of(data, size), &route_err);

	struct config parsed;

	if (config_parse("f", span_of(data, size), &parsed, &err) < 0) {
		want(err.kind == ERR_INVALID && str_starts(err.message, "f:"));
		want(text_is_utf8(span_str(err.message)));
		return 0;
	}

	want(err.kind == ERR_NONE);
	check(&parsed);
	json_decref(config_to_json(&parsed));
	config_done(&parsed);
	return 0;
}
