/* daemon operations list and cancel: what bangerd does at the moment. */
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/link.h"
#include "cli/request.h"
#include "cli/table.h"

static const struct table_column operation_columns[] = {
	{ .title = "ID", .is_right = true },	    { .title = "METHOD" },
	{ .title = "SUBJECT", .may_shrink = true }, { .title = "STAGE" },
	{ .title = "ELAPSED", .is_right = true },
};

static void add_operation(struct table *table, const json_t *operation)
{
	AUTO_BUF elapsed = BUF_INIT;

	text_duration(&elapsed, json_get_u64(operation, "elapsed_ms"));
	table_addf(table, "%llu", (unsigned long long)json_get_u64(operation, "id"));
	table_add(table, json_get_str(operation, "method"));
	table_add(table, json_get_str(operation, "vm"));
	table_add(table, json_get_str(operation, "stage"));
	table_add(table, elapsed.ptr);
}

static int run_list(struct cli *cli, const struct invocation *invocation)
{
	struct out *out = &cli->out;
	AUTO_TABLE table = { .columns = NULL };
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;
	const json_t *operation;
	size_t i;

	(void)invocation;
	if (link_open_running(cli, NULL, &err) < 0 ||
	    request_call(cli, "daemon.operations.list", NULL, NULL, &result, &err) < 0)
		return cli_fail(cli, &err);
	if (out->is_json) {
		out_json(out, result);
		return 0;
	}
	table_init(&table, operation_columns, ARRAY_LEN(operation_columns));
	json_array_foreach(json_object_get(result, "operations"), i, operation)
		add_operation(&table, operation);
	table_render(&table, out->out_width, out->out_has_colour, &out->pending);
	return 0;
}

const struct command daemon_operations_list_command = {
	.noun = "daemon",
	.verb = "operations list",
	.summary = "list what bangerd is doing, the oldest first",
	.run = run_list,
};

/* All numbers first: a typing mistake must not leave half of them cancelled. */
static int read_ids(const struct opt_parsed *parsed, uint64_t *ret, struct err *err)
{
	for (size_t i = 0; i < parsed->operand_count; i++) {
		if (!parse_u64_text(parsed->operands[i], INT64_MAX, &ret[i]))
			return err_set(err, ERR_INVALID,
				       "'%s' is no number of an operation, as 'banger daemon "
				       "operations list' has them",
				       parsed->operands[i]);
	}
	return 0;
}

static int cancel_one(struct cli *cli, uint64_t id, json_t *results)
{
	json_t *params = json_new_object();
	json_t *json = json_new_object();
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;
	int status = 0;

	json_put_u64(params, "id", id);
	json_put_u64(json, "id", id);
	json_add(results, json);
	if (request_call(cli, "daemon.operations.cancel", params, NULL, &result, &err) < 0) {
		json_put(json, "error", out_error_json(&err));
		status = EXIT_FAILED;
	}
	if (cli->out.is_json)
		return status;
	if (status == 0) {
		out_addf(&cli->out, "%llu: asked to end\n", (unsigned long long)id);
		return 0;
	}
	status = out_flush(&cli->out, status);
	out_error(&cli->out, &err);
	return status;
}

static int run_cancel(struct cli *cli, const struct invocation *invocation)
{
	const struct opt_parsed *parsed = invocation->parsed;
	AUTO_FREE uint64_t *ids = mem_alloc(parsed->operand_count, sizeof(*ids));
	AUTO_JSON *json = json_new_object();
	json_t *results = json_new_array();
	struct err err = ERR_INIT;
	int status = 0;

	json_put(json, "results", results);
	if (read_ids(parsed, ids, &err) < 0)
		return cli_usage(cli, invocation->command, &err);
	if (link_open_running(cli, NULL, &err) < 0)
		return cli_fail(cli, &err);
	for (size_t i = 0; i < parsed->operand_count; i++) {
		const int r = cancel_one(cli, ids[i], results);

		status = r > status ? r : status;
	}
	if (cli->out.is_json)
		out_json(&cli->out, json);
	return cli_status(cli, status);
}

const struct command daemon_operations_cancel_command = {
	.noun = "daemon",
	.verb = "operations cancel",
	.operands = "ID...",
	.operands_min = 1,
	.operands_max = SIZE_MAX,
	.summary = "cancel operations, which undo what they had begun",
	.description = "Whoever asked for the operation is told that it was cancelled. One that is "
		       "past the point where it can be undone ends as if nothing had been said.",
	.run = run_cancel,
};
