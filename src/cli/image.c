/* image list, show, delete and catalog. */
#include "base/clock.h"
#include "base/json.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/image_view.h"
#include "cli/spec_args.h"
#include "cli/vm_view.h"

static const struct table_column list_columns[] = {
	{ .title = "NAME", .may_shrink = true },
	{ .title = "KIND", .may_go = true },
	{ .title = "KERNEL", .may_shrink = true },
	{ .title = "SIZE", .is_right = true },
	{ .title = "USED", .is_right = true },
	{ .title = "INIT", .may_go = true },
	{ .title = "VMS", .is_right = true, .may_go = true },
	{ .title = "BUILT", .may_go = true },
};

static const struct table_column catalog_columns[] = {
	{ .title = "NAME" },
	{ .title = "KIND", .may_go = true },
	{ .title = "DEFAULT", .may_go = true },
	{ .title = "PRESENT" },
	{ .title = "DESCRIPTION", .may_shrink = true },
};

static void add_image(struct table *table, const json_t *image, int64_t now)
{
	AUTO_BUF age = BUF_INIT;

	vm_view_age(json_get_str(image, "built_at"), now, &age);
	table_add(table, json_get_str(image, "name"));
	table_add(table, json_get_str(image, "kind"));
	table_add(table, json_get_str(image, "kernel"));
	table_add_size(table, json_get_u64(image, "size_bytes"));
	table_add_size(table, json_get_u64(image, "used_bytes"));
	table_add(table, json_get_bool(image, "has_init") ? "yes" : "no");
	table_addf(table, "%llu", (unsigned long long)json_get_u64(image, "in_use"));
	table_add(table, age.ptr);
}

static int run_list(struct cli *cli, const struct invocation *invocation)
{
	struct out *out = &cli->out;
	AUTO_TABLE table = { .columns = NULL };
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;
	const json_t *image;
	size_t i;

	(void)invocation;
	if (ask(cli, "image.list", NULL, &result, &err) < 0)
		return cli_fail(cli, &err);
	if (out->is_json) {
		out_json(out, result);
		return 0;
	}
	table_init(&table, list_columns, ARRAY_LEN(list_columns));
	json_array_foreach(json_object_get(result, "images"), i, image) {
		add_image(&table, image, clock_wall_seconds());
	}
	table_render(&table, out->out_width, out->out_has_colour, &out->pending);
	return 0;
}

const struct command image_list_command = {
	.noun = "image",
	.verb = "list",
	.summary = "list the images",
	.run = run_list,
};

/* As JSON, which tells one item from the next. */
static void add_list(struct buf *out, const char *label, const json_t *list)
{
	AUTO_BUF text = BUF_INIT;

	if (json_array_size(list) == 0)
		return;
	json_write(list, &text);
	view_pair(out, label, text.ptr);
}

static void add_config(const json_t *config, struct buf *out)
{
	if (!json_is_object(config))
		return;
	add_list(out, "entrypoint", json_object_get(config, "entrypoint"));
	add_list(out, "cmd", json_object_get(config, "cmd"));
	add_list(out, "env", json_object_get(config, "env"));
	view_pair(out, "user", json_get_str(config, "user"));
	view_pair(out, "folder", json_get_str(config, "working_dir"));
}

static void add_details(const json_t *image, struct buf *out)
{
	view_pair(out, "name", json_get_str(image, "name"));
	view_pair(out, "kind", json_get_str(image, "kind"));
	view_pair(out, "recipe", json_get_str(image, "recipe"));
	view_pair(out, "kernel", json_get_str(image, "kernel"));
	view_pair_size(out, "size", json_get_u64(image, "size_bytes"));
	view_pair_size(out, "used", json_get_u64(image, "used_bytes"));
	view_pair(out, "own init", json_get_bool(image, "has_init") ? "yes" : "no");
	view_pair_number(out, "vms", json_get_u64(image, "in_use"));
	view_pair(out, "built", json_get_str(image, "built_at"));
	view_pair(out, "source", json_get_str(image, "source"));
	view_pair(out, "digest", json_get_str(image, "digest"));
	add_config(json_object_get(image, "config"), out);
}

int image_view_print(struct cli *cli, const json_t *result)
{
	if (cli->out.is_json)
		out_json(&cli->out, result);
	else
		add_details(json_object_get(result, "image"), &cli->out.pending);
	return 0;
}

static int run_show(struct cli *cli, const struct invocation *invocation)
{
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;

	if (ask_about(cli, "image.show", "image", invocation->parsed->operands[0], &result, &err) <
	    0)
		return cli_fail(cli, &err);
	return image_view_print(cli, result);
}

const struct command image_show_command = {
	.noun = "image",
	.verb = "show",
	.operands = "IMAGE",
	.operands_min = 1,
	.operands_max = 1,
	.completes = COMPLETES_IMAGE_HERE,
	.summary = "show everything known about an image",
	.run = run_show,
};

static int run_delete(struct cli *cli, const struct invocation *invocation)
{
	return ask_to_delete(cli, "image.delete", "image", invocation->parsed->operands[0]);
}

const struct command image_delete_command = {
	.noun = "image",
	.verb = "delete",
	.operands = "IMAGE",
	.operands_min = 1,
	.operands_max = 1,
	.completes = COMPLETES_IMAGE_HERE,
	.summary = "delete an image that no VM uses",
	.run = run_delete,
};

static void add_entry(struct table *table, const json_t *entry)
{
	table_add(table, json_get_str(entry, "name"));
	table_add(table, json_get_str(entry, "kind"));
	table_add(table, json_get_bool(entry, "default") ? "yes" : "");
	table_add(table, json_get_bool(entry, "present") ? "yes" : "");
	table_add(table, json_get_str(entry, "description"));
}

static int run_catalog(struct cli *cli, const struct invocation *invocation)
{
	struct out *out = &cli->out;
	AUTO_TABLE table = { .columns = NULL };
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;
	const json_t *entry;
	size_t i;

	(void)invocation;
	if (ask(cli, "image.catalog", NULL, &result, &err) < 0)
		return cli_fail(cli, &err);
	if (out->is_json) {
		out_json(out, result);
		return 0;
	}
	table_init(&table, catalog_columns, ARRAY_LEN(catalog_columns));
	json_array_foreach(json_object_get(result, "entries"), i, entry) {
		add_entry(&table, entry);
	}
	table_render(&table, out->out_width, out->out_has_colour, &out->pending);
	return 0;
}

const struct command image_catalog_command = {
	.noun = "image",
	.verb = "catalog",
	.summary = "list the images that can be pulled by name",
	.run = run_catalog,
};
