/* template list, build and delete. */
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/spec_args.h"
#include "cli/table.h"
#include "cli/vm_view.h"

#define ID_CHARS 12 /* as `ps` shows the ids of VMs */

static const struct table_column columns[] = {
	{ .title = "ID" },
	{ .title = "IMAGE", .may_shrink = true },
	{ .title = "KERNEL", .may_go = true },
	{ .title = "VCPU", .is_right = true },
	{ .title = "MEMORY", .is_right = true },
	{ .title = "SIZE", .is_right = true },
	{ .title = "BUILT", .may_go = true },
	{ .title = "USED", .may_go = true },
};

static void add_age(struct table *table, const char *time, int64_t now)
{
	AUTO_BUF age = BUF_INIT;

	vm_view_age(time, now, &age);
	table_add(table, age.ptr);
}

static void add_short_id(struct buf *out, const json_t *template)
{
	const char *id = json_get_str(template, "id");

	buf_addf(out, "%.*s", ID_CHARS, id ? id : "");
}

static void add_template(struct table *table, const json_t *template, int64_t now)
{
	AUTO_BUF id = BUF_INIT;

	add_short_id(&id, template);
	table_add(table, id.ptr);
	table_add(table, json_get_str(template, "image"));
	table_add(table, json_get_str(template, "kernel"));
	table_addf(table, "%llu", (unsigned long long)json_get_u64(template, "vcpu"));
	table_add_size(table, json_get_u64(template, "memory_bytes"));
	table_add_size(table, json_get_u64(template, "used_bytes"));
	add_age(table, json_get_str(template, "created_at"), now);
	add_age(table, json_get_str(template, "used_at"), now);
}

static void print_templates(struct cli *cli, const json_t *templates)
{
	AUTO_TABLE table = { .columns = NULL };
	const json_t *template;
	size_t i;

	table_init(&table, columns, ARRAY_LEN(columns));
	json_array_foreach(templates, i, template) {
		add_template(&table, template, clock_wall_seconds());
	}
	table_render(&table, cli->out.out_width, cli->out.out_has_colour, &cli->out.pending);
}

static int run_list(struct cli *cli, const struct invocation *invocation)
{
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;

	(void)invocation;
	if (ask(cli, "template.list", json_new_object(), &result, &err) < 0)
		return cli_fail(cli, &err);
	if (cli->out.is_json)
		out_json(&cli->out, result);
	else
		print_templates(cli, json_object_get(result, "templates"));
	return 0;
}

const struct command template_list_command = {
	.noun = "template",
	.verb = "list",
	.summary = "list the machines that VMs begin from",
	.run = run_list,
};

struct build_args {
	const char *kernel;
	struct opt_number vcpu;
	struct opt_number memory;
};

static const struct opt build_opts[] = {
	{ .type = OPT_STRING,
	  .name = "kernel",
	  .offset = offsetof(struct build_args, kernel),
	  .metavar = "KERNEL",
	  .help = "kernel (default: the image's)",
	  .check = spec_args_check_kernel,
	  .completes = COMPLETES_KERNEL },
	{ .type = OPT_NUMBER,
	  .name = "vcpu",
	  .offset = offsetof(struct build_args, vcpu),
	  .metavar = "N",
	  .help = "number of virtual cpus",
	  .min = 1,
	  .max = LIMIT_VCPUS,
	  .check_number = spec_args_check_vcpu,
	  .note = spec_args_note_cpus },
	{ .type = OPT_SIZE,
	  .letter = 'm',
	  .name = "memory",
	  .offset = offsetof(struct build_args, memory),
	  .metavar = "SIZE",
	  .help = "memory, in MiB or with a unit",
	  .min = (uint64_t)LIMIT_MEMORY_MIN_MIB << 20,
	  .max = (uint64_t)LIMIT_MEMORY_MAX_MIB << 20,
	  .unit = 1 << 20,
	  .check_number = spec_args_check_memory,
	  .note = spec_args_note_memory },
};

static int run_build(struct cli *cli, const struct invocation *invocation)
{
	const struct build_args *args = invocation->args;
	const char *image =
		invocation->parsed->operand_count > 0 ? invocation->parsed->operands[0] : NULL;
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;
	json_t *params;

	if (image && spec_args_check_image(image, &err) < 0)
		return cli_usage(cli, invocation->command, &err);
	params = json_new_object();
	if (image)
		json_put_str(params, "image", image);
	if (args->kernel)
		json_put_str(params, "kernel", args->kernel);
	if (args->vcpu.is_set)
		json_put_u64(params, "vcpu", args->vcpu.value);
	if (args->memory.is_set)
		json_put_u64(params, "memory_bytes", args->memory.value);
	if (ask(cli, "template.build", params, &result, &err) < 0)
		return cli_fail(cli, &err);
	if (!json_get_bool(result, "built"))
		out_note(&cli->out, "there is one already");
	if (cli->out.is_json) {
		out_json(&cli->out, result);
	} else {
		AUTO_JSON *templates = json_new_array();

		json_add(templates, json_incref(json_object_get(result, "template")));
		print_templates(cli, templates);
	}
	return 0;
}

const struct command template_build_command = {
	.noun = "template",
	.verb = "build",
	.operands = "IMAGE",
	.operands_max = 1,
	.completes = COMPLETES_IMAGE,
	.summary = "boot a machine and keep it for VMs to begin from",
	.description =
		"VMs with the same image, kernel, cpus and memory begin where it stands "
		"instead of booting. The image and the kernel are built first when they are "
		"not there yet. The first VM of a kind that boots has one built, too, in the "
		"background.",
	.opts = build_opts,
	.opt_count = ARRAY_LEN(build_opts),
	.args_size = sizeof(struct build_args),
	.run = run_build,
};

static int run_delete(struct cli *cli, const struct invocation *invocation)
{
	const char *id = invocation->parsed->operands[0];
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;

	if (ask_about(cli, "template.delete", "template", id, &result, &err) < 0) {
		ask_context(&err, "cannot delete template", id);
		return cli_fail(cli, &err);
	}
	if (cli->out.is_json) {
		out_json(&cli->out, result);
	} else {
		add_short_id(&cli->out.pending, json_object_get(result, "template"));
		out_addf(&cli->out, ": deleted\n");
	}
	return 0;
}

const struct command template_delete_command = {
	.noun = "template",
	.verb = "delete",
	.operands = "TEMPLATE",
	.operands_min = 1,
	.operands_max = 1,
	.completes = COMPLETES_TEMPLATE,
	.summary = "delete a template; VMs that began from it go on",
	.run = run_delete,
};
