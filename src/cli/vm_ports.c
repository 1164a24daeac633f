/* vm ports and vm ping. */
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/link.h"
#include "cli/request.h"
#include "cli/signals.h"
#include "cli/table.h"

/* --- ports --- */

static const struct table_column port_columns[] = {
	{ .title = "PROTO" },
	{ .title = "ENDPOINT" },
	{ .title = "PROCESS", .may_shrink = true },
	{ .title = "COMMAND", .may_shrink = true, .may_go = true },
};

static int run_ports(struct cli *cli, const struct invocation *invocation)
{
	const char *vm = invocation->parsed->operands[0];
	struct out *out = &cli->out;
	AUTO_TABLE table = { .columns = NULL };
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;
	const json_t *port;
	size_t i;

	if (ask_about(cli, "vm.ports", "vm", vm, &result, &err) < 0) {
		ask_context(&err, "cannot list the ports of", vm);
		return cli_fail(cli, &err);
	}
	if (out->is_json) {
		out_json(out, result);
		return 0;
	}
	table_init(&table, port_columns, ARRAY_LEN(port_columns));
	json_array_foreach(json_object_get(result, "ports"), i, port) {
		table_add(&table, json_get_str(port, "protocol"));
		table_add(&table, json_get_str(port, "endpoint"));
		table_add(&table, json_get_str(port, "process"));
		table_add(&table, json_get_str(port, "command"));
	}
	table_render(&table, out->out_width, out->out_has_colour, &out->pending);
	return 0;
}

const struct command vm_ports_command = {
	.noun = "vm",
	.verb = "ports",
	.operands = "VM",
	.operands_min = 1,
	.operands_max = 1,
	.completes = COMPLETES_VM,
	.summary = "list what listens in a VM",
	.description = "What listens on all addresses of IPv4 and IPv6 is shown once, as '*:PORT'. "
		       "Each TCP port is tried: https if it speaks TLS, http if it answers that, "
		       "tcp otherwise.",
	.run = run_ports,
};

/* --- ping --- */

#define PING_COUNT	 4
#define PING_COUNT_MAX	 1000000
#define PING_INTERVAL_MS 1000
#define PING_TIMEOUT_MS	 2000

struct ping_args {
	struct opt_number count;
	struct opt_number interval;
	struct opt_number timeout;
};

static const struct opt ping_opts[] = {
	{ .type = OPT_NUMBER,
	  .letter = 'c',
	  .name = "count",
	  .offset = offsetof(struct ping_args, count),
	  .metavar = "N",
	  .help = "how many questions; 0: until Ctrl-C (default: 4)",
	  .max = PING_COUNT_MAX },
	{ .type = OPT_DURATION,
	  .letter = 'i',
	  .name = "interval",
	  .offset = offsetof(struct ping_args, interval),
	  .metavar = "TIME",
	  .help = "from one question to the next (default: 1s)",
	  .max = 3600000 },
	{ .type = OPT_DURATION,
	  .letter = 'W',
	  .name = "timeout",
	  .offset = offsetof(struct ping_args, timeout),
	  .metavar = "TIME",
	  .help = "how long to wait for each answer (default: 2s)",
	  .min = 1,
	  .max = 3600000 },
};

struct pings {
	const char *vm;
	uint64_t sent;
	uint64_t answered;
	uint64_t min_us;
	uint64_t max_us;
	uint64_t sum_us;
	json_t *samples; /* owned; a number or null each, with --json */
};

static void add_ms(struct buf *out, uint64_t us)
{
	buf_addf(out, "%llu.%03llu", (unsigned long long)(us / 1000),
		 (unsigned long long)(us % 1000));
}

/* Each line at once: who watches wants to see it now. */
static int say(struct cli *cli, const struct buf *line)
{
	if (cli->out.is_json)
		return 0;
	out_addf(&cli->out, "%s\n", line->ptr);
	return out_flush(&cli->out, 0);
}

static int note_answer(struct cli *cli, struct pings *pings, uint64_t us)
{
	AUTO_BUF line = BUF_INIT;

	pings->min_us = pings->answered == 0 || us < pings->min_us ? us : pings->min_us;
	pings->max_us = us > pings->max_us ? us : pings->max_us;
	pings->sum_us += us;
	pings->answered++;
	json_add(pings->samples, json_integer((json_int_t)us));
	buf_addf(&line, "%s: seq=%llu time=", pings->vm, (unsigned long long)pings->sent);
	add_ms(&line, us);
	buf_add_str(&line, " ms");
	return say(cli, &line);
}

static int note_silence(struct cli *cli, struct pings *pings, const struct err *err)
{
	AUTO_BUF line = BUF_INIT;

	json_add(pings->samples, json_null());
	buf_addf(&line, "%s: seq=%llu %s", pings->vm, (unsigned long long)pings->sent,
		 err->kind == ERR_TIMEOUT ? "no answer in time" : err->message);
	return say(cli, &line);
}

/* A VM that does not run, or is none, will not answer the next question either. */
static bool is_final(const struct err *err)
{
	return err->kind == ERR_BAD_STATE || err->kind == ERR_INVALID || err->kind == ERR_CANCELLED;
}

/* One question: 0, or < 0 with `err` when there is no sense in another; *ret_status of writing. */
static int ping_once(struct cli *cli, struct pings *pings, uint64_t timeout_ms, int *ret_status,
		     struct err *err)
{
	json_t *params = json_new_object();
	AUTO_JSON *result = NULL;
	int r;

	json_put_str(params, "vm", pings->vm);
	json_put_u64(params, "timeout_ms", timeout_ms);
	r = request_call(cli, "vm.ping", params, NULL, &result, err);
	if (r < 0 && (is_final(err) || (pings->sent == 0 && err->kind == ERR_NOT_FOUND)))
		return r;
	pings->sent++;
	*ret_status = r < 0 ? note_silence(cli, pings, err)
			    : note_answer(cli, pings, json_get_u64(result, "round_trip_us"));
	*err = ERR_INIT;
	return 0;
}

/* False when a signal came. */
static bool wait_until(struct cli *cli, uint64_t deadline_ns)
{
	return cancel_poll(&cli->cancel, -1, 0, deadline_ns) != -ECANCELED;
}

static void print_summary(struct cli *cli, const struct pings *pings)
{
	const uint64_t lost = pings->sent - pings->answered;
	AUTO_BUF line = BUF_INIT;

	buf_addf(&line, "--- %s: %llu sent, %llu answered, %llu%% lost", pings->vm,
		 (unsigned long long)pings->sent, (unsigned long long)pings->answered,
		 (unsigned long long)(pings->sent ? lost * 100 / pings->sent : 0));
	if (pings->answered > 0) {
		buf_add_str(&line, "\nround trip min/avg/max = ");
		add_ms(&line, pings->min_us);
		buf_add_byte(&line, '/');
		add_ms(&line, pings->sum_us / pings->answered);
		buf_add_byte(&line, '/');
		add_ms(&line, pings->max_us);
		buf_add_str(&line, " ms");
	}
	out_addf(&cli->out, "%s\n", line.ptr);
}

static void put_us(json_t *json, const char *key, const struct pings *pings, uint64_t us)
{
	if (pings->answered > 0)
		json_put_u64(json, key, us);
	else
		json_put_str(json, key, NULL);
}

static void print_json(struct cli *cli, const struct pings *pings)
{
	const uint64_t average = pings->answered ? pings->sum_us / pings->answered : 0;
	AUTO_JSON *json = json_new_object();

	json_put_u64(json, "sent", pings->sent);
	json_put_u64(json, "answered", pings->answered);
	put_us(json, "min_us", pings, pings->min_us);
	put_us(json, "avg_us", pings, average);
	put_us(json, "max_us", pings, pings->max_us);
	json_put(json, "round_trips_us", json_incref(pings->samples));
	out_json(&cli->out, json);
}

static uint64_t number_or(const struct opt_number *number, uint64_t otherwise)
{
	return number->is_set ? number->value : otherwise;
}

static int ping_all(struct cli *cli, const struct ping_args *args, struct pings *pings,
		    int *ret_status, struct err *err)
{
	const uint64_t count = number_or(&args->count, PING_COUNT);
	const uint64_t interval_ms = number_or(&args->interval, PING_INTERVAL_MS);
	const uint64_t timeout_ms = number_or(&args->timeout, PING_TIMEOUT_MS);
	uint64_t next_ns = clock_now_ns();
	int r;

	for (;;) {
		r = ping_once(cli, pings, timeout_ms, ret_status, err);
		if (r < 0 || *ret_status != 0 || (count > 0 && pings->sent >= count))
			return r;
		next_ns += interval_ms * NSEC_PER_MSEC;
		if (!wait_until(cli, next_ns))
			return 0;
	}
}

static int run_ping(struct cli *cli, const struct invocation *invocation)
{
	struct pings pings = { .vm = invocation->parsed->operands[0] };
	struct err err = ERR_INIT;
	int status = 0;
	int r;

	pings.samples = json_new_array();
	r = link_open(cli, &err);
	if (r == 0)
		r = ping_all(cli, invocation->args, &pings, &status, &err);
	if (r < 0 && !(err.kind == ERR_CANCELLED && pings.sent > 0)) {
		if (err.kind != ERR_CANCELLED)
			ask_context(&err, "cannot ping", pings.vm);
		status = cli_fail(cli, &err);
	} else if (status == 0) {
		if (cli->out.is_json)
			print_json(cli, &pings);
		else
			print_summary(cli, &pings);
		/* As ping(8): an answer is success, also when Ctrl-C ended it. */
		status = pings.answered > 0 ? 0 : EXIT_FAILED;
	}
	json_decref(pings.samples);
	return status;
}

const struct command vm_ping_command = {
	.noun = "vm",
	.verb = "ping",
	.operands = "VM",
	.operands_min = 1,
	.operands_max = 1,
	.completes = COMPLETES_VM,
	.summary = "time the answers of a VM's agent",
	.description = "Exits with 1 when there was no answer at all.",
	.opts = ping_opts,
	.opt_count = ARRAY_LEN(ping_opts),
	.args_size = sizeof(struct ping_args),
	.run = run_ping,
};
