#include "cli/doctor_look.h"

#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/link.h"
#include "cli/request.h"
#include "cli/table.h"

#define SHORT_ID_CHARS 12

static int look(struct cli *cli, const char *method, const char *option, json_t **ret,
		struct err *err)
{
	const int r = link_open_running(cli, NULL, err);

	if (r == 0)
		return request_call(cli, method, NULL, NULL, ret, err);
	if (err->kind != ERR_NOT_FOUND)
		return r;
	*err = ERR_INIT;
	return link_read_view(cli, option, ret, err);
}

/* The VM's name, else the beginning of the id that no VM has. */
static void add_vm_cell(struct table *table, const json_t *json, const char *name_key)
{
	const char *name = json_get_str(json, name_key);
	const char *id = json_get_str(json, "vm");

	if (name || !id)
		table_add(table, name);
	else
		table_addf(table, "%.*s", SHORT_ID_CHARS, id);
}

/* --- the plan --- */

static const struct table_column plan_columns[] = {
	{ .title = "ACTION" },
	{ .title = "VM", .may_shrink = true },
	{ .title = "OBJECT", .may_shrink = true },
	{ .title = "REASON", .may_shrink = true },
};

static void add_plan_rows(struct table *table, const json_t *actions, enum colour colour)
{
	const json_t *action;
	size_t i;

	json_array_foreach(actions, i, action) {
		table_add_colour(table, json_get_str(action, "action"), colour);
		add_vm_cell(table, action, "name");
		table_add(table, json_get_str(action, "object"));
		table_add(table, json_get_str(action, "reason"));
	}
}

static void print_plan(struct out *out, const json_t *result)
{
	const json_t *actions = json_object_get(result, "actions");
	const json_t *left = json_object_get(result, "left");
	AUTO_TABLE table;

	table_init(&table, plan_columns, ARRAY_LEN(plan_columns));
	add_plan_rows(&table, actions, COLOUR_NONE);
	add_plan_rows(&table, left, COLOUR_MAGENTA);
	if (json_array_size(actions) == 0)
		out_addf(out, "nothing to do%s\n", json_array_size(left) > 0 ? ", but:" : "");
	if (json_array_size(actions) + json_array_size(left) > 0)
		table_render(&table, out->out_width, out->out_has_colour, &out->pending);
}

int doctor_print_plan(struct cli *cli)
{
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;

	if (look(cli, "doctor.plan", "--plan", &result, &err) < 0)
		return cli_fail(cli, &err);
	if (cli->out.is_json) {
		out_json(&cli->out, result);
		return 0;
	}
	if (!json_get_bool(result, "daemon_runs"))
		out_note(&cli->out, "note: bangerd is not running; when it starts it does this:");
	print_plan(&cli->out, result);
	return 0;
}

/* --- the census --- */

static const struct table_column census_columns[] = {
	{ .title = "KIND" },
	{ .title = "OWNER", .may_shrink = true },
	{ .title = "NAME", .may_shrink = true },
	{ .title = "PID", .is_right = true },
	{ .title = "ON DISK", .is_right = true },
	{ .title = "DETAIL", .may_shrink = true, .may_go = true },
};

/* A VM's name, "banger", or why it is nobody's. */
static void add_owner(struct table *table, const json_t *object)
{
	const char *owner = json_get_str(object, "owner");

	if (str_eq(owner, "vm"))
		add_vm_cell(table, object, "vm_name");
	else if (str_eq(owner, "none"))
		table_add_colour(table, "(no VM)", COLOUR_MAGENTA);
	else if (str_eq(owner, "foreign"))
		table_add_colour(table, "(foreign)", COLOUR_MAGENTA);
	else
		table_add(table, owner);
}

static void add_size(struct table *table, const json_t *object)
{
	if (json_is_integer(json_object_get(object, "used_bytes")))
		table_add_size(table, json_get_u64(object, "used_bytes"));
	else
		table_add(table, NULL);
}

static void add_object(struct table *table, const json_t *object)
{
	const json_t *files = json_object_get(object, "files");
	const json_t *file;
	size_t i;

	table_add(table, json_get_str(object, "kind"));
	add_owner(table, object);
	table_add(table, json_get_str(object, "name"));
	if (json_is_integer(json_object_get(object, "pid")))
		table_addf(table, "%llu", (unsigned long long)json_get_u64(object, "pid"));
	else
		table_add(table, NULL);
	add_size(table, object);
	if (json_is_integer(json_object_get(object, "processes")))
		table_addf(table, "%llu processes",
			   (unsigned long long)json_get_u64(object, "processes"));
	else
		table_add(table, json_get_str(object, "detail"));
	json_array_foreach(files, i, file) {
		table_add(table, "file");
		add_owner(table, object);
		table_addf(table, "  %s", json_get_str(file, "name"));
		table_add(table, NULL);
		add_size(table, file);
		table_add(table, NULL);
	}
}

/* Where the next answer begins; 0: there is none. */
static uint64_t next_of(const json_t *result)
{
	return json_is_integer(json_object_get(result, "next")) ? json_get_u64(result, "next") : 0;
}

/* The rest of what does not fit in one answer, behind what is there already. */
static int add_rest(struct cli *cli, json_t *result, struct err *err)
{
	json_t *objects = json_object_get(result, "objects");
	uint64_t next = next_of(result);
	int r = 0;

	while (next > 0 && r == 0) {
		AUTO_JSON *more = NULL;
		json_t *params = json_new_object();

		json_put_u64(params, "from", next);
		r = request_call(cli, "doctor.census", params, NULL, &more, err);
		if (r == 0) {
			(void)json_array_extend(objects, json_object_get(more, "objects"));
			next = next_of(more);
		}
	}
	(void)json_object_del(result, "next"); /* not there without a daemon */
	return r;
}

int doctor_print_census(struct cli *cli)
{
	struct out *out = &cli->out;
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;
	const json_t *object;
	AUTO_TABLE table;
	size_t i;

	table_init(&table, census_columns, ARRAY_LEN(census_columns));
	if (look(cli, "doctor.census", "--census", &result, &err) < 0 ||
	    add_rest(cli, result, &err) < 0)
		return cli_fail(cli, &err);
	if (out->is_json) {
		out_json(out, result);
		return 0;
	}
	json_array_foreach(json_object_get(result, "objects"), i, object) {
		add_object(&table, object);
	}
	table_render(&table, out->out_width, out->out_has_colour, &out->pending);
	return 0;
}
