/* doctor and version. */
#include "cli/doctor_fix.h"

#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "base/version.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/doctor_look.h"
#include "cli/link.h"
#include "cli/vm_view.h"
#include "cli/wrap.h"
#include "workspace/git.h"

#define NAME_COLUMN    6
#define TEXT_COLUMN    21
#define TEXT_BYTES_MAX 4096

struct verdict {
	const char *status; /* as RPC has it */
	const char *shown;
	enum colour colour;
};

static const struct verdict verdicts[] = {
	{ "pass", "PASS", COLOUR_GREEN },
	{ "warn", "WARN", COLOUR_MAGENTA },
	{ "fail", "FAIL", COLOUR_RED },
};

static const struct verdict *find_verdict(const char *status)
{
	for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
		if (str_eq(verdicts[i].status, status))
			return &verdicts[i];
	}
	return &verdicts[ARRAY_LEN(verdicts) - 1]; /* what we do not know is not good */
}

static void add_text(struct out *out, const char *text)
{
	AUTO_BUF escaped = BUF_INIT;

	text_escape(&escaped, span_str(text), TEXT_BYTES_MAX);
	wrap_text(&out->pending, escaped.ptr, TEXT_COLUMN, out->out_width);
}

/* "PASS  name           what was found", and below it what to do. */
static void add_line(struct out *out, const char *shown, enum colour colour, const json_t *item)
{
	const char *name = json_get_str(item, "name");
	const char *message = json_get_str(item, "message");
	const char *hint = json_get_str(item, "hint");

	out_colour(&out->pending, out->out_has_colour, colour, shown);
	wrap_pad(&out->pending, strlen(shown), NAME_COLUMN);
	buf_addf(&out->pending, "%-*s", TEXT_COLUMN - NAME_COLUMN, name ? name : "?");
	add_text(out, message ? message : "");
	if (str_empty(hint))
		return;
	wrap_pad(&out->pending, 0, TEXT_COLUMN);
	add_text(out, hint);
}

/* A daemon that cannot start is the first thing that a doctor should name. */
static json_t *without_daemon(const struct err *err)
{
	json_t *result = json_new_object();
	json_t *checks = json_new_array();
	json_t *check = json_new_object();

	json_put_str(check, "name", "daemon");
	json_put_str(check, "status", "fail");
	json_put_str(check, "message", err->message);
	json_put_str(check, "hint", err->hint);
	json_add(checks, check);
	json_put(result, "checks", checks);
	json_put_bool(result, "ok", false);
	return result;
}

/* Which git there is: that of whoever asks, who runs it, and not of bangerd. */
static void add_git(const struct cli *cli, json_t *checks)
{
	json_t *check = json_new_object();
	AUTO_BUF version = BUF_INIT;
	struct err err = ERR_INIT;
	const int r = git_version(&cli->cancel, &version, &err);

	json_put_str(check, "name", "git");
	json_put_str(check, "status", r < 0 ? "warn" : "pass");
	json_put_str(check, "message", r < 0 ? err.message : version.ptr);
	json_put_str(check, "hint", r < 0 && err.hint[0] ? err.hint : NULL);
	json_add(checks, check);
}

static void add_report(const json_t *result, struct out *out)
{
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(result, "fixed"), i, item) {
		add_line(out, "FIXED", COLOUR_MAGENTA, item);
	}
	json_array_foreach(json_object_get(result, "checks"), i, item) {
		const struct verdict *verdict = find_verdict(json_get_str(item, "status"));

		add_line(out, verdict->shown, verdict->colour, item);
	}
}

struct doctor_args {
	bool fix;
	bool plan;
	bool census;
};

static const struct opt doctor_opts[] = {
	{ .type = OPT_FLAG,
	  .name = "fix",
	  .offset = offsetof(struct doctor_args, fix),
	  .help = "first put right what is safe to: modes of banger's own folders and of what VMs "
		  "have, configuration and ssh key, and that key's public half" },
	{ .type = OPT_FLAG,
	  .name = "plan",
	  .offset = offsetof(struct doctor_args, plan),
	  .help = "print what reconcile would do now; changes nothing" },
	{ .type = OPT_FLAG,
	  .name = "census",
	  .offset = offsetof(struct doctor_args, census),
	  .help = "print everything of banger's that exists, and what has a name like it" },
};

static int run_doctor(struct cli *cli, const struct invocation *invocation)
{
	const struct doctor_args *args = invocation->args;
	struct out *out = &cli->out;
	AUTO_JSON *fixed = json_new_array();
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;

	if (args->fix + args->plan + args->census > 1) {
		IGNORE_RESULT(
			err_set(&err, ERR_INVALID,
				"of --fix, --plan and --census only one can be had at a time"));
		return cli_usage(cli, invocation->command, &err);
	}
	if (args->plan)
		return doctor_print_plan(cli);
	if (args->census)
		return doctor_print_census(cli);
	if (args->fix && doctor_fix(fixed, &err) < 0)
		return cli_fail(cli, &err);
	if (ask(cli, "doctor", NULL, &result, &err) < 0) {
		if (err.kind == ERR_CANCELLED)
			return cli_fail(cli, &err);
		result = without_daemon(&err);
	}
	add_git(cli, json_object_get(result, "checks"));
	json_put(result, "fixed", TAKE_PTR(fixed));
	if (out->is_json)
		out_json(out, result);
	else
		add_report(result, out);
	return json_get_bool(result, "ok") ? 0 : EXIT_FAILED;
}

const struct command doctor_command = {
	.noun = "doctor",
	.summary = "check every prerequisite",
	.description =
		"Each check is PASS, WARN or FAIL, with what to do. Exits with 1 when one "
		"failed.\n"
		"--fix never deletes anything, installs nothing and does not touch what is not "
		"yours or not banger's.\n"
		"With --plan or --census it looks instead, and bangerd is not started for it: what "
		"reconcile would put right (VMs that an operation is at left out), or what there "
		"is. Foreign objects are shown by the census and never touched.",
	.opts = doctor_opts,
	.opt_count = ARRAY_LEN(doctor_opts),
	.args_size = sizeof(struct doctor_args),
	.run = run_doctor,
};

static json_t *version_json(const char *version, const char *commit, const char *built)
{
	json_t *json = json_new_object();

	json_put_str(json, "version", version);
	json_put_str(json, "commit", commit);
	json_put_str(json, "built", built);
	return json;
}

static void add_version(struct buf *out, const char *program, const json_t *json)
{
	const char *version = json_get_str(json, "version");
	const char *commit = json_get_str(json, "commit");
	const char *built = json_get_str(json, "built");

	buf_addf(out, "%s %s (commit %s, built %s)\n", program, version ? version : "?",
		 commit ? commit : "unknown", built ? built : "?");
}

/* The daemon's is told when one runs; its absence is no failure. */
static int run_version(struct cli *cli, const struct invocation *invocation)
{
	AUTO_JSON *ours =
		version_json(banger_version.version, banger_version.commit, banger_version.built);
	AUTO_JSON *theirs = NULL;
	AUTO_JSON *ping = NULL;
	struct err ignored = ERR_INIT;

	(void)invocation;
	if (link_open_running(cli, &ping, &ignored) == 0)
		theirs = version_json(json_get_str(ping, "version"), json_get_str(ping, "commit"),
				      json_get_str(ping, "built"));
	if (cli->out.is_json) {
		json_put(ours, "daemon", theirs ? json_incref(theirs) : json_null());
		out_json(&cli->out, ours);
		return 0;
	}
	add_version(&cli->out.pending, "banger", ours);
	if (theirs)
		add_version(&cli->out.pending, "bangerd", theirs);
	return 0;
}

const struct command version_command = {
	.noun = "version",
	.summary = "print the versions of banger and of the running bangerd",
	.run = run_version,
};
