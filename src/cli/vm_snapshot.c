/* vm snapshot create, list, show, delete and restore. */
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/link.h"
#include "cli/request.h"
#include "cli/table.h"
#include "cli/vm_view.h"
#include "model/names.h"

#define USEC_PER_MSEC 1000

/* Two words of which the first is a VM, and what is to be done there. */
static json_t *params_of(const char *vm, const char *key, const char *value)
{
	json_t *params = json_new_object();

	json_put_str(params, "vm", vm);
	if (value)
		json_put_str(params, key, value);
	return params;
}

/* --- create --- */

static int run_create(struct cli *cli, const struct invocation *invocation)
{
	const struct opt_parsed *parsed = invocation->parsed;
	const char *vm = parsed->operands[0];
	const char *name = parsed->operand_count > 1 ? parsed->operands[1] : NULL;
	AUTO_JSON *result = NULL;
	const json_t *snapshot;
	struct err err = ERR_INIT;

	if (name && name_check_snapshot(name, &err) < 0)
		return cli_usage(cli, invocation->command, &err);
	if (ask(cli, "vm.snapshot.create", params_of(vm, "name", name), &result, &err) < 0) {
		ask_context(&err, "cannot take a snapshot of", vm);
		return cli_fail(cli, &err);
	}
	snapshot = json_object_get(result, "snapshot");
	if (cli->out.is_json) {
		out_json(&cli->out, result);
		return 0;
	}
	out_note(&cli->out, "it stood still for %llu ms",
		 (unsigned long long)json_get_u64(snapshot, "pause_us") / USEC_PER_MSEC);
	out_addf(&cli->out, "%s: snapshot %s\n", json_get_str(snapshot, "vm_name"),
		 json_get_str(snapshot, "name"));
	return 0;
}

const struct command vm_snapshot_create_command = {
	.noun = "vm",
	.verb = "snapshot create",
	.operands = "VM [NAME]",
	.operands_min = 1,
	.operands_max = 2,
	.completes = COMPLETES_VM,
	.completes_second = COMPLETES_NEW_NAME,
	.summary = "keep a VM as it is now, memory and disks",
	.description =
		"The VM must run or be paused. It stands still while its memory is written, then "
		"it "
		"goes on; commands and sessions in it notice nothing. Without a NAME it is the "
		"first of snap0, snap1 and so on that is free. A snapshot takes as much room as "
		"the VM's memory and what its disks have of their own, belongs to its VM, and goes "
		"with it.",
	.run = run_create,
};

/* --- list --- */

static const struct table_column columns[] = {
	{ .title = "VM", .may_shrink = true },
	{ .title = "NAME", .may_shrink = true },
	{ .title = "ID", .may_go = true },
	{ .title = "VCPU", .is_right = true, .may_go = true },
	{ .title = "MEMORY", .is_right = true },
	{ .title = "DISK", .is_right = true },
	{ .title = "SIZE", .is_right = true },
	{ .title = "CREATED" },
};

#define ID_CHARS 12 /* as `ps` shows the ids of VMs */

static void add_snapshot(struct table *table, const json_t *snapshot, int64_t now)
{
	const char *id = json_get_str(snapshot, "id");
	AUTO_BUF age = BUF_INIT;

	vm_view_age(json_get_str(snapshot, "created_at"), now, &age);
	table_add(table, json_get_str(snapshot, "vm_name"));
	table_add(table, json_get_str(snapshot, "name"));
	table_addf(table, "%.*s", ID_CHARS, id ? id : "");
	table_addf(table, "%llu", (unsigned long long)json_get_u64(snapshot, "vcpu"));
	table_add_size(table, json_get_u64(snapshot, "memory_bytes"));
	table_add_size(table, json_get_u64(snapshot, "disk_bytes"));
	table_add_size(table, json_get_u64(snapshot, "used_bytes"));
	table_add(table, age.ptr);
}

static void print_snapshots(struct cli *cli, const json_t *snapshots)
{
	AUTO_TABLE table = { .columns = NULL };
	const json_t *snapshot;
	size_t i;

	table_init(&table, columns, ARRAY_LEN(columns));
	json_array_foreach(snapshots, i, snapshot) {
		add_snapshot(&table, snapshot, clock_wall_seconds());
	}
	table_render(&table, cli->out.out_width, cli->out.out_has_colour, &cli->out.pending);
}

static int run_list(struct cli *cli, const struct invocation *invocation)
{
	const struct opt_parsed *parsed = invocation->parsed;
	json_t *params = json_new_object();
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;

	if (parsed->operand_count > 0) {
		json_t *vms = json_new_array();

		for (size_t i = 0; i < parsed->operand_count; i++)
			json_add(vms, json_new_str(parsed->operands[i]));
		json_put(params, "vms", vms);
	}
	if (ask(cli, "vm.snapshot.list", params, &result, &err) < 0)
		return cli_fail(cli, &err);
	if (cli->out.is_json)
		out_json(&cli->out, result);
	else
		print_snapshots(cli, json_object_get(result, "snapshots"));
	return 0;
}

const struct command vm_snapshot_list_command = {
	.noun = "vm",
	.verb = "snapshot list",
	.operands = "VM...",
	.operands_max = SIZE_MAX,
	.completes = COMPLETES_VM,
	.summary = "list snapshots, of these VMs or of all",
	.run = run_list,
};

/* --- show --- */

static void print_details(struct cli *cli, const json_t *result)
{
	const json_t *snapshot = json_object_get(result, "snapshot");
	const char *problem = json_get_str(result, "problem");
	struct buf *out = &cli->out.pending;
	AUTO_BUF age = BUF_INIT;

	vm_view_age(json_get_str(snapshot, "created_at"), clock_wall_seconds(), &age);
	view_pair(out, "name", json_get_str(snapshot, "name"));
	view_pair(out, "id", json_get_str(snapshot, "id"));
	view_pair(out, "VM", json_get_str(snapshot, "vm_name"));
	view_pair(out, "created", age.ptr);
	view_pair_number(out, "vcpu", json_get_u64(snapshot, "vcpu"));
	view_pair_size(out, "memory", json_get_u64(snapshot, "memory_bytes"));
	view_pair_size(out, "work disk", json_get_u64(snapshot, "disk_bytes"));
	view_pair_size(out, "root disk", json_get_u64(snapshot, "system_overlay_bytes"));
	view_pair_size(out, "used on the host", json_get_u64(snapshot, "used_bytes"));
	view_pair(out, "directory", json_get_str(snapshot, "directory"));
	view_pair_prose(out, "can be restored", problem ? problem : "yes", cli->out.out_width);
}

static int run_show(struct cli *cli, const struct invocation *invocation)
{
	const char *const *operands = invocation->parsed->operands;
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;

	if (ask(cli, "vm.snapshot.show", params_of(operands[0], "snapshot", operands[1]), &result,
		&err) < 0)
		return cli_fail(cli, &err);
	if (cli->out.is_json)
		out_json(&cli->out, result);
	else
		print_details(cli, result);
	return 0;
}

#define SNAPSHOT_DESCRIPTION \
	"A snapshot is given by its name, its id, or a unique beginning of the id."

const struct command vm_snapshot_show_command = {
	.noun = "vm",
	.verb = "snapshot show",
	.operands = "VM SNAPSHOT",
	.operands_min = 2,
	.operands_max = 2,
	.completes = COMPLETES_VM,
	.completes_second = COMPLETES_SNAPSHOT,
	.summary = "show a snapshot, and whether it can be restored",
	.description = SNAPSHOT_DESCRIPTION,
	.run = run_show,
};

/* --- delete --- */

static json_t *deleted_json(const char *reference, const struct request *request)
{
	json_t *json = json_new_object();

	json_put_str(json, "reference", reference);
	if (request->r < 0)
		json_put(json, "error", out_error_json(&request->err));
	else
		json_put(json, "result", json_incref(request->result));
	return json;
}

static int print_deleted(struct cli *cli, const char *reference, struct request *request)
{
	const json_t *snapshot = json_object_get(request->result, "snapshot");

	if (request->r < 0) {
		const int status = out_flush(&cli->out, EXIT_FAILED);

		ask_context(&request->err, "cannot delete snapshot", reference);
		out_error(&cli->out, &request->err);
		return status;
	}
	out_addf(&cli->out, "%s: deleted\n", json_get_str(snapshot, "name"));
	return 0;
}

static int run_delete(struct cli *cli, const struct invocation *invocation)
{
	const struct opt_parsed *parsed = invocation->parsed;
	const size_t count = parsed->operand_count - 1;
	const char *const *references = parsed->operands + 1;
	AUTO_JSON *json = json_new_object();
	json_t *results = json_new_array();
	struct err err = ERR_INIT;
	int status = 0;

	json_put(json, "results", results);
	if (link_open(cli, &err) < 0)
		return cli_fail(cli, &err);
	/* One after the other: they wait for the same VM anyway. */
	for (size_t i = 0; i < count; i++) {
		struct request request = { .method = "vm.snapshot.delete",
					   .params = params_of(parsed->operands[0], "snapshot",
							       references[i]) };

		requests_run(cli, &request, 1);
		if (cli->out.is_json)
			json_add(results, deleted_json(references[i], &request));
		else if (print_deleted(cli, references[i], &request) != 0)
			status = EXIT_FAILED;
		if (request.r < 0)
			status = EXIT_FAILED;
		requests_done(&request, 1);
	}
	if (cli->out.is_json)
		out_json(&cli->out, json);
	return cli_status(cli, status);
}

const struct command vm_snapshot_delete_command = {
	.noun = "vm",
	.verb = "snapshot delete",
	.operands = "VM SNAPSHOT...",
	.operands_min = 2,
	.operands_max = SIZE_MAX,
	.completes = COMPLETES_VM,
	.completes_second = COMPLETES_SNAPSHOT,
	.summary = "delete snapshots; their VM goes on",
	.description = SNAPSHOT_DESCRIPTION
	" One that fails does not stop the others, and the exit status is then 1. A VM that was "
	"restored to it goes on, too.",
	.run = run_delete,
};

/* --- restore --- */

static int run_restore(struct cli *cli, const struct invocation *invocation)
{
	const char *const *operands = invocation->parsed->operands;
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;

	if (ask(cli, "vm.snapshot.restore", params_of(operands[0], "snapshot", operands[1]),
		&result, &err) < 0)
		return cli_fail(cli, &err);
	cli_print_warnings(cli, result);
	if (cli->out.is_json)
		out_json(&cli->out, result);
	else
		out_addf(&cli->out, "%s: %s, as in snapshot %s\n",
			 json_get_str(json_object_get(result, "vm"), "name"),
			 json_get_str(json_object_get(result, "vm"), "state"),
			 json_get_str(json_object_get(result, "snapshot"), "name"));
	return 0;
}

const struct command vm_snapshot_restore_command = {
	.noun = "vm",
	.verb = "snapshot restore",
	.operands = "VM SNAPSHOT",
	.operands_min = 2,
	.operands_max = 2,
	.completes = COMPLETES_VM,
	.completes_second = COMPLETES_SNAPSHOT,
	.summary = "make a VM what it was, and let it run",
	.description =
		"What the VM has now, on its disks and in its memory, is lost: take a snapshot of "
		"it "
		"first to keep it. It may run, be paused or stopped. It goes on where it was, with "
		"its present name, address and published ports, the time of today and fresh "
		"randomness; vcpus, memory and disk sizes are those of then. The snapshot's files "
		"are verified before anything is done.",
	.run = run_restore,
};
