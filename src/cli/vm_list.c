/* vm list, show and health: questions about VMs. */
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/vm_view.h"

#define TROUBLE_BYTES_MAX 1024

struct list_args {
	bool ids_only;
};

static const struct opt list_opts[] = {
	{ .type = OPT_FLAG,
	  .letter = 'q',
	  .name = "ids",
	  .offset = offsetof(struct list_args, ids_only),
	  .help = "only the ids, in full" },
};

/* The last error of one that is alive is what is wrong with it now. */
static const char *trouble_of(const json_t *vm)
{
	const char *state = json_get_str(vm, "state");

	return str_eq(state, "running") || str_eq(state, "paused") ? json_get_str(vm, "last_error")
								   : NULL;
}

/* How many of the first `count` VMs have this trouble. */
static size_t count_troubled(const json_t *vms, size_t count, const char *trouble)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++)
		found += str_eq(trouble_of(json_array_get(vms, i)), trouble);
	return found;
}

/* Each trouble once, however many have it. */
static void warn_of_trouble(struct cli *cli, const json_t *vms)
{
	const size_t count = json_array_size(vms);

	for (size_t i = 0; i < count; i++) {
		const json_t *vm = json_array_get(vms, i);
		const char *trouble = trouble_of(vm);
		AUTO_BUF text = BUF_INIT;
		size_t others;

		if (!trouble || count_troubled(vms, i, trouble) > 0)
			continue;
		others = count_troubled(vms, count, trouble) - 1;
		text_escape(&text, span_str(trouble), TROUBLE_BYTES_MAX);
		if (others == 0)
			out_note(&cli->out, "warning: '%s': %s", json_get_str(vm, "name"),
				 text.ptr);
		else
			out_note(&cli->out, "warning: '%s' and %zu more: %s",
				 json_get_str(vm, "name"), others, text.ptr);
	}
}

static void print_ids(struct out *out, const json_t *vms)
{
	AUTO_JSON *result = json_new_object();
	json_t *ids = json_new_array();
	const json_t *vm;
	size_t i;

	json_array_foreach(vms, i, vm) {
		json_add(ids, json_incref(json_object_get(vm, "id")));
	}
	json_put(result, "ids", ids);
	out_json(out, result);
}

static int run_list(struct cli *cli, const struct invocation *invocation)
{
	const struct list_args *args = invocation->args;
	struct out *out = &cli->out;
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;
	json_t *params = json_new_object();
	const json_t *vms;

	if (args->ids_only || !out->is_json)
		json_put_bool(params, "brief", true);
	if (ask(cli, "vm.list", params, &result, &err) < 0)
		return cli_fail(cli, &err);
	vms = json_object_get(result, "vms");
	if (args->ids_only && out->is_json)
		print_ids(out, vms);
	else if (args->ids_only)
		vm_view_ids(vms, &out->pending);
	else if (out->is_json)
		out_json(out, result);
	else
		vm_view_table(vms, clock_wall_seconds(), out->out_width, out->out_has_colour,
			      &out->pending);
	if (!args->ids_only && !out->is_json)
		warn_of_trouble(cli, vms);
	return 0;
}

const struct command vm_list_command = {
	.noun = "vm",
	.verb = "list",
	.summary = "list the VMs",
	.opts = list_opts,
	.opt_count = ARRAY_LEN(list_opts),
	.args_size = sizeof(struct list_args),
	.run = run_list,
};

static int run_show(struct cli *cli, const struct invocation *invocation)
{
	const char *vm = invocation->parsed->operands[0];
	struct out *out = &cli->out;
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;

	if (ask_about(cli, "vm.show", "vm", vm, &result, &err) < 0)
		return cli_fail(cli, &err);
	if (out->is_json)
		out_json(out, result);
	else
		vm_view_details(json_object_get(result, "vm"), clock_wall_seconds(), out->out_width,
				out->out_has_colour, &out->pending);
	return 0;
}

const struct command vm_show_command = {
	.noun = "vm",
	.verb = "show",
	.operands = "VM",
	.operands_min = 1,
	.operands_max = 1,
	.completes = COMPLETES_VM,
	.summary = "show everything known about a VM",
	.run = run_show,
};

static int run_health(struct cli *cli, const struct invocation *invocation)
{
	const char *vm = invocation->parsed->operands[0];
	struct out *out = &cli->out;
	AUTO_JSON *result = NULL;
	AUTO_BUF uptime = BUF_INIT;
	struct err err = ERR_INIT;
	bool is_healthy;

	if (ask_about(cli, "vm.health", "vm", vm, &result, &err) < 0)
		return cli_fail(cli, &err);
	is_healthy = json_get_bool(result, "healthy");
	if (out->is_json) {
		out_json(out, result);
		return is_healthy ? 0 : EXIT_FAILED;
	}
	text_duration(&uptime, json_get_u64(result, "uptime_ms"));
	view_pair(&out->pending, "healthy", is_healthy ? "yes" : "no");
	if (!is_healthy)
		view_pair_prose(&out->pending, "because", json_get_str(result, "message"),
				out->out_width);
	view_pair(&out->pending, "hostname", json_get_str(result, "hostname"));
	view_pair(&out->pending, "agent", json_get_str(result, "agent_version"));
	view_pair(&out->pending, "guest uptime", uptime.ptr);
	out_addf(out, "%-20s%llu.%03llu ms\n", "round trip",
		 (unsigned long long)(json_get_u64(result, "round_trip_us") / 1000),
		 (unsigned long long)(json_get_u64(result, "round_trip_us") % 1000));
	return is_healthy ? 0 : EXIT_FAILED;
}

const struct command vm_health_command = {
	.noun = "vm",
	.verb = "health",
	.operands = "VM",
	.operands_min = 1,
	.operands_max = 1,
	.completes = COMPLETES_VM,
	.summary = "ask the guest's agent, and time its answer",
	.description = "Exits with 1 when the agent does not answer.",
	.run = run_health,
};
