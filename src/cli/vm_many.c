/* vm start, stop, restart, kill, delete, pause and resume, and what else does many VMs at once. */
#include "cli/vm_many.h"

#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/link.h"
#include "cli/request.h"
#include "cli/vm_view.h"

#define TIMEOUT_MAX_MS 3600000U /* an hour: a guest that needs more is stuck */

/* What the verbs' options fill; each verb uses what its table offers. */
struct many_args {
	struct opt_number timeout;
	const char *signal;
};

struct target {
	const char *reference; /* borrowed from argv */
	char *id;	       /* owned; NULL while unresolved */
	char *name;	       /* owned */
	struct err err;	       /* when resolving failed */
	bool is_repeat;
	struct request *request; /* borrowed; NULL when there is nothing to do */
};

struct targets {
	struct target *items; /* owned */
	size_t count;
};

static void targets_done(struct targets *targets)
{
	for (size_t i = 0; i < targets->count; i++) {
		mem_free(targets->items[i].id);
		mem_free(targets->items[i].name);
	}
	mem_free(targets->items);
}

static void targets_init(struct targets *targets, const struct opt_parsed *parsed)
{
	targets->items = mem_alloc(parsed->operand_count, sizeof(*targets->items));
	targets->count = parsed->operand_count;
	for (size_t i = 0; i < targets->count; i++)
		targets->items[i].reference = parsed->operands[i];
}

/* The same word or the same VM as an earlier one. */
static void mark_repeats(struct targets *targets)
{
	for (size_t i = 0; i < targets->count; i++) {
		struct target *target = &targets->items[i];

		for (size_t j = 0; j < i && !target->is_repeat; j++) {
			const struct target *earlier = &targets->items[j];

			target->is_repeat = str_eq(target->reference, earlier->reference) ||
					    (target->id && str_eq(target->id, earlier->id));
		}
	}
}

static void resolve(struct cli *cli, struct targets *targets)
{
	struct request *requests = mem_alloc(targets->count, sizeof(*requests));

	for (size_t i = 0; i < targets->count; i++) {
		requests[i].method = "vm.show";
		requests[i].params = json_new_object();
		json_put_str(requests[i].params, "vm", targets->items[i].reference);
	}
	requests_run(cli, requests, targets->count);

	for (size_t i = 0; i < targets->count; i++) {
		const json_t *vm = json_object_get(requests[i].result, "vm");
		struct target *target = &targets->items[i];

		target->err = requests[i].err;
		if (requests[i].r < 0)
			continue;
		target->id = mem_strdup(json_get_str(vm, "id"));
		target->name = mem_strdup(json_get_str(vm, "name"));
	}
	requests_done(requests, targets->count);
	mem_free(requests);
}

static json_t *target_params(const struct target *target, const struct many *many, const void *args)
{
	json_t *params = json_new_object();

	json_put_str(params, "vm", target->id);
	if (many->put_params)
		many->put_params(args, params);
	return params;
}

/* Runs the verb on every resolved target; the requests are the caller's to release. */
static void act(struct cli *cli, struct targets *targets, const struct many *many, const void *args,
		struct request *requests)
{
	size_t count = 0;

	for (size_t i = 0; i < targets->count; i++) {
		struct target *target = &targets->items[i];

		if (!target->id || target->is_repeat)
			continue;
		target->request = &requests[count++];
		target->request->method = many->method;
		target->request->params = target_params(target, many, args);
		target->request->label = targets->count > 1 ? target->name : NULL;
	}
	requests_run(cli, requests, count);
}

static const struct err *target_error(const struct target *target)
{
	if (!target->request)
		return &target->err;
	return target->request->r < 0 ? &target->request->err : NULL;
}

static json_t *target_json(const struct target *target)
{
	const struct err *err = target_error(target);
	json_t *json = json_new_object();

	json_put_str(json, "reference", target->reference);
	if (err)
		json_put(json, "error", out_error_json(err));
	else
		json_put(json, "result", json_incref(target->request->result));
	return json;
}

/* The status of writing: what comes before an error is written before it, to keep the order. */
static int print_target(struct cli *cli, const struct many *many, const struct target *target)
{
	const json_t *result = target->request ? target->request->result : NULL;
	const struct err *failure = target_error(target);

	if (failure) {
		AUTO_FREE char *refusal = mem_printf("cannot %s '", many->phrase);
		struct err err = *failure;
		const int status = out_flush(&cli->out, EXIT_FAILED);

		/* bangerd says it too, once it has found the VM. */
		if (!str_starts(err.message, refusal))
			(void)err_context(&err, -EIO, "%s%s'", refusal, target->reference);
		out_error(&cli->out, &err);
		return status;
	}
	cli_print_warnings(cli, result);
	out_addf(&cli->out, "%s: ", target->name);
	many->describe(target->name, result, &cli->out.pending);
	out_addf(&cli->out, "\n");
	return 0;
}

static int print_targets(struct cli *cli, const struct many *many, const struct targets *targets)
{
	AUTO_JSON *json = json_new_object();
	json_t *results = json_new_array();
	int status = 0;

	json_put(json, "results", results);
	for (size_t i = 0; i < targets->count; i++) {
		const struct target *target = &targets->items[i];
		int r = 0;

		if (target->is_repeat)
			continue;
		if (!cli->out.is_json)
			r = print_target(cli, many, target);
		else
			json_add(results, target_json(target));
		if (r > status)
			status = r;
		if (target_error(target) && status == 0)
			status = EXIT_FAILED;
	}
	if (cli->out.is_json)
		out_json(&cli->out, json);
	return cli_status(cli, status);
}

int many_run(struct cli *cli, const struct invocation *invocation, const struct many *many)
{
	CLEANUP(targets_done) struct targets targets = { .items = NULL };
	struct request *requests;
	struct err err = ERR_INIT;
	int status;

	if (link_open(cli, &err) < 0)
		return cli_fail(cli, &err);
	targets_init(&targets, invocation->parsed);
	resolve(cli, &targets);
	mark_repeats(&targets);

	requests = mem_alloc(targets.count, sizeof(*requests));
	act(cli, &targets, many, invocation->args, requests);
	status = print_targets(cli, many, &targets);
	requests_done(requests, targets.count);
	mem_free(requests);
	return status;
}

int many_find(struct cli *cli, const struct opt_parsed *parsed, struct strv *ret)
{
	CLEANUP(targets_done) struct targets targets = { .items = NULL };
	struct err err = ERR_INIT;
	int status = 0;

	if (link_open(cli, &err) < 0)
		return cli_fail(cli, &err);
	targets_init(&targets, parsed);
	resolve(cli, &targets);
	mark_repeats(&targets);
	for (size_t i = 0; i < targets.count; i++) {
		struct target *target = &targets.items[i];

		if (target->is_repeat)
			continue;
		if (target->id)
			strv_add(ret, target->id);
		else
			status = cli_fail(cli, &target->err);
	}
	return status;
}

/* --- the verbs that only bring VMs into another state --- */

static void put_verb_params(const void *context, json_t *params)
{
	const struct many_args *args = context;

	if (args->timeout.is_set)
		json_put_u64(params, "timeout_ms", args->timeout.value);
	if (args->signal)
		json_put_str(params, "signal", args->signal);
}

static void describe_state(const char *name, const json_t *result, struct buf *out)
{
	const char *state = json_get_str(json_object_get(result, "vm"), "state");

	(void)name;
	buf_addf(out, "%s%s", state ? state : "deleted",
		 json_get_bool(result, "forced") ? " (forced)" : "");
}

static int run_verb(struct cli *cli, const struct invocation *invocation)
{
	AUTO_FREE char *method = mem_printf("vm.%s", invocation->command->verb);
	const struct many many = {
		.method = method,
		.phrase = invocation->command->verb,
		.put_params = put_verb_params,
		.describe = describe_state,
	};

	return many_run(cli, invocation, &many);
}

static int check_signal(const char *text, struct err *err)
{
	const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
	uint64_t number;

	if (parse_u64_text(text, SIGRTMAX < 0 ? 0 : (uint64_t)SIGRTMAX, &number) && number > 0)
		return 0;
	for (int i = 1; i < SIGSYS + 1; i++) {
		const char *known = sigabbrev_np(i);

		if (known && strcasecmp(known, name) == 0)
			return 0;
	}
	return err_set(err, ERR_INVALID, "'%s' is no signal: a name such as TERM or a number",
		       text);
}

#define TIMEOUT_OPT                                                                       \
	{                                                                                 \
		.type = OPT_DURATION, .letter = 't', .name = "timeout",                   \
		.offset = offsetof(struct many_args, timeout), .metavar = "TIME",         \
		.help = "how long the guest may take before it is forced (default: 10s)", \
		.max = TIMEOUT_MAX_MS                                                     \
	}

static const struct opt stop_opts[] = { TIMEOUT_OPT };
/* The others have names, too; these are the ones that a VMM does something sensible on. */
static const char *const offered_signals[] = { "KILL", "TERM", "INT", "HUP", "STOP", "CONT", NULL };

static const struct opt kill_opts[] = {
	{ .type = OPT_STRING,
	  .letter = 's',
	  .name = "signal",
	  .offset = offsetof(struct many_args, signal),
	  .metavar = "SIGNAL",
	  .help = "what the VMM process is sent (default: KILL)",
	  .check = check_signal,
	  .choices = offered_signals },
};

/* What all of these commands have in common. */
#define MANY_COMMAND                                                                    \
	.noun = "vm", .operands = "VM...", .operands_min = 1, .operands_max = SIZE_MAX, \
	.completes = COMPLETES_VM, .args_size = sizeof(struct many_args), .run = run_verb

const struct command vm_start_command = {
	MANY_COMMAND,
	.verb = "start",
	.summary = "start VMs",
	.description = MANY_DESCRIPTION,
};

const struct command vm_stop_command = {
	MANY_COMMAND,
	.verb = "stop",
	.summary = "stop VMs: ask the guest, wait, then force",
	.description = MANY_DESCRIPTION,
	.opts = stop_opts,
	.opt_count = ARRAY_LEN(stop_opts),
};

const struct command vm_restart_command = {
	MANY_COMMAND,
	.verb = "restart",
	.summary = "stop VMs and start them again",
	.description = MANY_DESCRIPTION,
	.opts = stop_opts,
	.opt_count = ARRAY_LEN(stop_opts),
};

const struct command vm_kill_command = {
	MANY_COMMAND,
	.verb = "kill",
	.summary = "send a signal to the VMM processes of VMs",
	.description = MANY_DESCRIPTION,
	.opts = kill_opts,
	.opt_count = ARRAY_LEN(kill_opts),
};

const struct command vm_delete_command = {
	MANY_COMMAND,
	.verb = "delete",
	.summary = "stop VMs and delete them with their disks",
	.description = MANY_DESCRIPTION,
};

const struct command vm_pause_command = {
	MANY_COMMAND,
	.verb = "pause",
	.summary = "freeze VMs where they are",
	.description = MANY_DESCRIPTION,
};

const struct command vm_resume_command = {
	MANY_COMMAND,
	.verb = "resume",
	.summary = "let frozen VMs go on",
	.description = MANY_DESCRIPTION,
};
