/* What a VM gets when nothing is said, and where that comes from. */
#include "base/buf.h"
#include "base/json.h"
#include "base/text.h"
#include "config/config.h"
#include "daemon/doctor_private.h"
#include "daemon/private.h"
#include "kernel/kernel.h"

static void add_key(struct buf *text, const char *what, const json_t *settings, const char *key)
{
	const json_t *entry = json_object_get(settings, key);
	const char *value = json_get_str(entry, "value");

	buf_addf(text, "%s %s (%s), ", what, value ? value : "",
		 str_eq(json_get_str(entry, "source"), "config") ? "config" : "built in");
}

static void add_size(struct buf *text, const char *what, uint64_t bytes, const char *source)
{
	buf_addf(text, ", %s ", what);
	text_size(text, bytes);
	buf_addf(text, " (%s)", source);
}

void doctor_check_defaults(const struct daemon *daemon, json_t *checks)
{
	const struct vm_defaults *defaults = &daemon->defaults;
	AUTO_JSON *settings = config_to_json(&daemon->config);
	AUTO_BUF text = BUF_INIT;

	add_key(&text, "vmm", settings, "vmm");
	add_key(&text, "network", settings, "network");
	add_key(&text, "image", settings, "default_image_name");
	buf_add_str(&text,
		    "kernel " KERNEL_DEFAULT_NAME " (built in) unless the image names one, ");
	buf_addf(&text, "vcpu %u (%s)", defaults->vcpu, defaults->vcpu_source);
	add_size(&text, "memory", defaults->memory_bytes, defaults->memory_source);
	add_size(&text, "disk", defaults->disk_bytes, defaults->disk_source);
	add_size(&text, "root file system", defaults->system_overlay_bytes,
		 defaults->system_overlay_source);
	doctor_add(checks, "defaults", PASS, text.ptr, NULL);
}
