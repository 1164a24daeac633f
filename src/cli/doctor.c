/* doctor and version. */
#include "base/json.h"
#include "base/text.h"
#include "base/version.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/link.h"
#include "cli/vm_view.h"

#define NAME_COLUMN    20
#define TEXT_BYTES_MAX 4096

struct verdict {
	const char *status; /* as RPC has it */
	const char *shown;
	enum colour colour;
};

static const struct verdict verdicts[] = {
	{ "pass", "PASS", COLOUR_GREEN },
	{ "warn", "WARN", COLOUR_YELLOW },
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

static void add_check(const json_t *check, bool has_colour, struct buf *out)
{
	const struct verdict *verdict = find_verdict(json_get_str(check, "status"));
	const char *name = json_get_str(check, "name");
	const char *message = json_get_str(check, "message");
	const char *hint = json_get_str(check, "hint");

	out_colour(out, has_colour, verdict->colour, verdict->shown);
	buf_addf(out, "  %-*s ", NAME_COLUMN, name ? name : "?");
	text_escape(out, span_str(message ? message : ""), TEXT_BYTES_MAX);
	buf_add_byte(out, '\n');
	if (str_empty(hint))
		return;
	buf_addf(out, "%*s", 6 + NAME_COLUMN + 1, "");
	text_escape(out, span_str(hint), TEXT_BYTES_MAX);
	buf_add_byte(out, '\n');
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

static void add_checks(const json_t *checks, bool has_colour, struct buf *out)
{
	const json_t *check;
	size_t i;

	json_array_foreach(checks, i, check) {
		add_check(check, has_colour, out);
	}
}

static int run_doctor(struct cli *cli, const struct invocation *invocation)
{
	struct out *out = &cli->out;
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;

	(void)invocation;
	if (ask(cli, "doctor", NULL, &result, &err) < 0) {
		if (err.kind == ERR_CANCELLED)
			return cli_fail(cli, &err);
		result = without_daemon(&err);
	}
	if (out->is_json)
		out_json(out, result);
	else
		add_checks(json_object_get(result, "checks"), out->out_has_colour, &out->pending);
	return json_get_bool(result, "ok") ? 0 : EXIT_FAILED;
}

const struct command doctor_command = {
	.noun = "doctor",
	.summary = "check every prerequisite",
	.description = "Each check is PASS, WARN or FAIL, with what to do. Exits with 1 when one "
		       "failed.",
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
