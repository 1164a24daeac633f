/* kernel list, show, pull, import and rm. */
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/host_path.h"
#include "cli/spec_args.h"
#include "cli/vm_view.h"

static const struct table_column columns[] = {
	{ .title = "NAME" },
	{ .title = "KIND", .may_go = true },
	{ .title = "PRESENT" },
	{ .title = "RELEASE", .may_shrink = true },
	{ .title = "FORMATS", .may_go = true },
	{ .title = "MODULES", .is_right = true, .may_go = true },
	{ .title = "SIZE", .is_right = true },
	{ .title = "VMS", .is_right = true, .may_go = true },
	{ .title = "PULLED", .may_go = true },
};

static void join_formats(const json_t *kernel, struct buf *out)
{
	const json_t *format;
	size_t i;

	json_array_foreach(json_object_get(kernel, "formats"), i, format) {
		if (json_is_string(format))
			buf_addf(out, "%s%s", i ? "," : "", json_string_value(format));
	}
}

/* What is not here has no size yet: that is not 0. */
static void add_if_present(struct table *table, const json_t *kernel, const char *key)
{
	if (!json_get_bool(kernel, "present"))
		table_add(table, NULL);
	else if (str_ends(key, "_bytes"))
		table_add_size(table, json_get_u64(kernel, key));
	else
		table_addf(table, "%llu", (unsigned long long)json_get_u64(kernel, key));
}

static void add_kernel(struct table *table, const json_t *kernel, int64_t now)
{
	AUTO_BUF formats = BUF_INIT;
	AUTO_BUF age = BUF_INIT;

	join_formats(kernel, &formats);
	vm_view_age(json_get_str(kernel, "pulled_at"), now, &age);
	table_add(table, json_get_str(kernel, "name"));
	table_add(table, json_get_str(kernel, "kind"));
	table_add(table, json_get_bool(kernel, "present") ? "yes" : "no");
	table_add(table, json_get_str(kernel, "release"));
	table_add(table, formats.ptr);
	add_if_present(table, kernel, "modules");
	add_if_present(table, kernel, "size_bytes");
	table_addf(table, "%llu", (unsigned long long)json_get_u64(kernel, "in_use"));
	table_add(table, age.ptr);
}

struct list_args {
	bool available;
};

static const struct opt list_opts[] = {
	{ .type = OPT_FLAG,
	  .letter = 'a',
	  .name = "available",
	  .offset = offsetof(struct list_args, available),
	  .help = "those that can be pulled, too" },
};

static int run_list(struct cli *cli, const struct invocation *invocation)
{
	const struct list_args *args = invocation->args;
	struct out *out = &cli->out;
	AUTO_TABLE table = { .columns = NULL };
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;
	json_t *params = json_new_object();
	const json_t *kernel;
	size_t i;

	json_put_bool(params, "available", args->available);
	if (ask(cli, "kernel.list", params, &result, &err) < 0)
		return cli_fail(cli, &err);
	if (out->is_json) {
		out_json(out, result);
		return 0;
	}
	table_init(&table, columns, ARRAY_LEN(columns));
	json_array_foreach(json_object_get(result, "kernels"), i, kernel) {
		add_kernel(&table, kernel, clock_wall_seconds());
	}
	table_render(&table, out->out_width, out->out_has_colour, &out->pending);
	return 0;
}

const struct command kernel_list_command = {
	.noun = "kernel",
	.verb = "list",
	.summary = "list the kernels",
	.opts = list_opts,
	.opt_count = ARRAY_LEN(list_opts),
	.args_size = sizeof(struct list_args),
	.run = run_list,
};

/* As sha256sum prints it, to be found and compared. */
static void add_digest(struct buf *out, const char *file, const char *sha256)
{
	AUTO_FREE char *line = sha256 ? mem_printf("%s  %s", sha256, file) : NULL;

	if (line)
		view_pair(out, "sha256", line);
}

static void add_details(const json_t *kernel, struct buf *out)
{
	AUTO_BUF formats = BUF_INIT;

	join_formats(kernel, &formats);
	view_pair(out, "name", json_get_str(kernel, "name"));
	view_pair(out, "kind", json_get_str(kernel, "kind"));
	view_pair(out, "package", json_get_str(kernel, "package"));
	view_pair(out, "version", json_get_str(kernel, "version"));
	view_pair(out, "release", json_get_str(kernel, "release"));
	view_pair(out, "formats", formats.ptr);
	view_pair_number(out, "modules", json_get_u64(kernel, "modules"));
	view_pair_size(out, "size", json_get_u64(kernel, "size_bytes"));
	view_pair_number(out, "vms", json_get_u64(kernel, "in_use"));
	view_pair(out, "pulled", json_get_str(kernel, "pulled_at"));
	view_pair(out, "source", json_get_str(kernel, "source"));
	view_pair(out, "initrd", json_get_bool(kernel, "has_initrd") ? "yes" : "no");
	add_digest(out, "vmlinux", json_get_str(kernel, "vmlinux_sha256"));
	add_digest(out, "vmlinuz", json_get_str(kernel, "vmlinuz_sha256"));
	add_digest(out, "initrd", json_get_str(kernel, "initrd_sha256"));
}

static int print_kernel(struct cli *cli, const json_t *result)
{
	if (cli->out.is_json)
		out_json(&cli->out, result);
	else
		add_details(json_object_get(result, "kernel"), &cli->out.pending);
	return 0;
}

static int run_show(struct cli *cli, const struct invocation *invocation)
{
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;

	if (ask_about(cli, "kernel.show", "kernel", invocation->parsed->operands[0], &result,
		      &err) < 0)
		return cli_fail(cli, &err);
	return print_kernel(cli, result);
}

const struct command kernel_show_command = {
	.noun = "kernel",
	.verb = "show",
	.operands = "KERNEL",
	.operands_min = 1,
	.operands_max = 1,
	.completes = COMPLETES_KERNEL,
	.summary = "show everything known about a kernel",
	.run = run_show,
};

static int run_pull(struct cli *cli, const struct invocation *invocation)
{
	const char *name = invocation->parsed->operands[0];
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;

	if (spec_args_check_kernel(name, &err) < 0)
		return cli_usage(cli, invocation->command, &err);
	if (ask_about(cli, "kernel.pull", "name", name, &result, &err) < 0) {
		ask_context(&err, "cannot pull kernel", name);
		return cli_fail(cli, &err);
	}
	return print_kernel(cli, result);
}

const struct command kernel_pull_command = {
	.noun = "kernel",
	.verb = "pull",
	.operands = "NAME",
	.operands_min = 1,
	.operands_max = 1,
	.completes = COMPLETES_KERNEL,
	.summary = "fetch a kernel of the catalog",
	.run = run_pull,
};

struct import_args {
	const char *from;
};

static const struct opt import_opts[] = {
	{ .type = OPT_STRING,
	  .name = "from",
	  .offset = offsetof(struct import_args, from),
	  .metavar = "DIR",
	  .completes = COMPLETES_FOLDER,
	  .help = "where vmlinux or vmlinuz, modules and initrd are" },
};

static int run_import(struct cli *cli, const struct invocation *invocation)
{
	const struct import_args *args = invocation->args;
	const char *name = invocation->parsed->operands[0];
	AUTO_FREE char *from = args->from ? host_path_absolute(args->from) : NULL;
	json_t *params;
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;

	if (!from)
		(void)err_set(&err, ERR_INVALID, "--from is needed");
	if (!from || spec_args_check_kernel(name, &err) < 0)
		return cli_usage(cli, invocation->command, &err);
	params = json_new_object();
	json_put_str(params, "name", name);
	json_put_str(params, "from", from);
	if (ask(cli, "kernel.import", params, &result, &err) < 0) {
		ask_context(&err, "cannot import kernel", name);
		return cli_fail(cli, &err);
	}
	return print_kernel(cli, result);
}

const struct command kernel_import_command = {
	.noun = "kernel",
	.verb = "import",
	.operands = "NAME",
	.operands_min = 1,
	.operands_max = 1,
	.summary = "copy a kernel of one's own in",
	.description =
		"Files are found by their usual names, or named by a metadata.json in the folder "
		"(docs/kernels.md). A kernel of that name is replaced, unless VMs use it.",
	.opts = import_opts,
	.opt_count = ARRAY_LEN(import_opts),
	.args_size = sizeof(struct import_args),
	.run = run_import,
};

static int run_rm(struct cli *cli, const struct invocation *invocation)
{
	return ask_to_delete(cli, "kernel.rm", "kernel", invocation->parsed->operands[0]);
}

const struct command kernel_rm_command = {
	.noun = "kernel",
	.verb = "rm",
	.operands = "KERNEL",
	.operands_min = 1,
	.operands_max = 1,
	.completes = COMPLETES_KERNEL,
	.summary = "delete a kernel that no VM uses",
	.run = run_rm,
};
