#include "cli/spec_args.h"

#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/host_path.h"
#include "cli/link.h"
#include "cli/request.h"
#include "cli/vm_view.h"
#include "model/names.h"
#include "model/spec.h"
#include "model/vm.h"

/* What this host has; 0 for what it will not say. */
static void read_host(struct spec_host *ret)
{
	const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	const long pages = sysconf(_SC_PHYS_PAGES);
	const long page_size = sysconf(_SC_PAGESIZE);

	*ret = (struct spec_host){ .cpus = cpus > 0 ? (uint32_t)cpus : 0 };
	if (pages > 0 && page_size > 0)
		ret->memory_bytes = (uint64_t)pages * (uint64_t)page_size;
}

int spec_args_check_name(const char *text, struct err *err)
{
	return name_check_vm(text, err);
}

int spec_args_check_image(const char *text, struct err *err)
{
	const bool is_path = strchr(text, '/') && (text[0] == '.' || text[0] == '/');
	int r;

	/* A reference is checked by the daemon, which knows their grammar. */
	if (strpbrk(text, "/:@") && text[0] != '.' && !is_path)
		return 0;
	r = name_check_image(text, err);
	if (r < 0 && is_path)
		err_hint(err, "a folder with an OCI layout is oci:%s, an archive docker-archive:%s",
			 text, text);
	return r;
}

int spec_args_check_kernel(const char *text, struct err *err)
{
	return name_check_kernel(text, err);
}

int spec_args_check_vcpu(uint64_t value, struct err *err)
{
	struct spec_host host;

	read_host(&host);
	return spec_check_vcpu(value, &host, err);
}

int spec_args_check_memory(uint64_t value, struct err *err)
{
	struct spec_host host;

	read_host(&host);
	return spec_check_memory(value, &host, err);
}

int spec_args_check_disk(uint64_t value, struct err *err)
{
	return spec_check_disk(value, err);
}

int spec_args_check_overlay(uint64_t value, struct err *err)
{
	return spec_check_system_overlay(value, err);
}

void spec_args_note_cpus(struct buf *out)
{
	struct spec_host host;

	read_host(&host);
	if (host.cpus > 0)
		buf_addf(out, "this host has %u", (unsigned)host.cpus);
}

void spec_args_note_memory(struct buf *out)
{
	struct spec_host host;

	read_host(&host);
	if (host.memory_bytes == 0)
		return;
	buf_add_str(out, "this host has ");
	text_size(out, host.memory_bytes);
}

int spec_args_check_publish(const char *text, struct err *err)
{
	struct vm_port port;

	return vm_port_read(text, &port, err);
}

static void put_number(json_t *params, const char *key, const struct opt_number *number)
{
	if (number->is_set)
		json_put_u64(params, key, number->value);
}

static void put_reference(json_t *params, const char *image)
{
	AUTO_FREE char *reference = host_path_reference(image);

	json_put_str(params, "image", reference);
}

json_t *spec_args_params(const struct spec_args *args)
{
	json_t *params = json_new_object();

	if (args->name)
		json_put_str(params, "name", args->name);
	if (args->image)
		put_reference(params, args->image);
	if (args->kernel)
		json_put_str(params, "kernel", args->kernel);
	if (args->nat)
		json_put_bool(params, "nat", true);
	if (args->cold)
		json_put_bool(params, "cold", true);
	put_number(params, "vcpu", &args->vcpu);
	put_number(params, "memory_bytes", &args->memory);
	put_number(params, "disk_bytes", &args->disk);
	put_number(params, "system_overlay_bytes", &args->system_overlay);
	if (args->publish.count > 0) {
		json_t *publish = json_new_array();

		for (size_t i = 0; i < args->publish.count; i++)
			json_add(publish, json_new_str(args->publish.items[i]));
		json_put(params, "publish", publish);
	}
	return params;
}

void spec_args_tell_ports(struct cli *cli, const json_t *result)
{
	const json_t *port;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(result, "vm"), "ports"), i, port) {
		AUTO_BUF text = BUF_INIT;

		vm_view_port(port, &text);
		out_note(&cli->out, "published: %s", text.ptr);
	}
}

static uint64_t number_or(const struct opt_number *number, const json_t *defaults, const char *key)
{
	return number->is_set ? number->value : json_get_u64(defaults, key);
}

int spec_args_announce(struct cli *cli, const struct spec_args *args, struct err *err)
{
	AUTO_JSON *status = NULL;
	AUTO_BUF spec = BUF_INIT;
	const json_t *defaults;
	const char *image;
	int r;

	r = request_call(cli, "daemon.status", NULL, NULL, &status, err);
	if (r < 0)
		return r;
	defaults = json_object_get(status, "defaults");
	image = args->image ? args->image : json_get_str(status, "default_image");
	vm_view_spec(number_or(&args->vcpu, defaults, "vcpu"),
		     number_or(&args->memory, defaults, "memory_bytes"),
		     number_or(&args->disk, defaults, "disk_bytes"), image, &spec);
	out_note(&cli->out, "spec: %s", spec.ptr);
	return 0;
}

static void add_default(struct buf *out, const json_t *defaults, const char *what, const char *key,
			const char *source_key)
{
	const char *source = json_get_str(defaults, source_key);
	const uint64_t value = json_get_u64(defaults, key);
	AUTO_BUF text = BUF_INIT;

	if (str_ends(key, "_bytes"))
		text_size(&text, value);
	else
		buf_addf(&text, "%llu", (unsigned long long)value);
	buf_addf(out, "  %-30s  %s", what, text.ptr);
	if (source)
		buf_addf(out, " (%s)", source);
	buf_add_byte(out, '\n');
}

/*
 * The running daemon's answer, else what a daemon would say that was started now: asking for help
 * starts none.
 */
static int read_defaults(struct cli *cli, json_t **ret, struct err *err)
{
	struct err ignored = ERR_INIT;

	if (link_open_running(cli, NULL, &ignored) == 0 &&
	    request_call(cli, "daemon.status", NULL, NULL, ret, &ignored) == 0)
		return 0;
	return link_read_defaults(cli, ret, err);
}

void spec_args_help_tail(struct cli *cli, struct buf *out)
{
	AUTO_JSON *status = NULL;
	struct err ignored = ERR_INIT;
	const json_t *defaults;
	const char *image;

	if (read_defaults(cli, &status, &ignored) < 0) {
		buf_addf(out, "\nWhat holds here where nothing is given: unknown (%s).\n",
			 ignored.message);
		return;
	}
	defaults = json_object_get(status, "defaults");
	image = json_get_str(status, "default_image");
	buf_add_str(out, "\nwhat holds here where nothing is given:\n  spec: ");
	vm_view_spec(json_get_u64(defaults, "vcpu"), json_get_u64(defaults, "memory_bytes"),
		     json_get_u64(defaults, "disk_bytes"), image, out);
	buf_add_byte(out, '\n');
	buf_addf(out, "  %-30s  %s\n", "--image", image ? image : "-");
	add_default(out, defaults, "--vcpu", "vcpu", "vcpu_source");
	add_default(out, defaults, "--memory", "memory_bytes", "memory_source");
	add_default(out, defaults, "--disk-size", "disk_bytes", "disk_source");
	add_default(out, defaults, "--system-overlay-size", "system_overlay_bytes",
		    "system_overlay_source");
}
