/* vm stats: what VMs and the host use, once or as a live table. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/request.h"
#include "cli/stats_view.h"
#include "cli/vm_many.h"

#define INTERVAL_MS_DEFAULT 2000
#define ROWS_DEFAULT	    24

struct stats_args {
	bool watch;
	struct opt_number interval;
};

static const struct opt stats_opts[] = {
	{ .type = OPT_FLAG,
	  .letter = 'w',
	  .name = "watch",
	  .offset = offsetof(struct stats_args, watch),
	  .help = "go on until Ctrl-C: a live table on a terminal, lines in a pipe" },
	{ .type = OPT_DURATION,
	  .name = "interval",
	  .offset = offsetof(struct stats_args, interval),
	  .metavar = "TIME",
	  .min = 1000,
	  .max = 3600000,
	  .help = "with --watch: how often (default 2s)" },
};

static json_t *make_params(const struct strv *ids)
{
	json_t *params = json_new_object();
	json_t *vms = json_new_array();

	for (size_t i = 0; i < ids->count; i++)
		json_add(vms, json_new_str(ids->items[i]));
	json_put(params, "vms", vms);
	return params;
}

static size_t terminal_rows(int fd)
{
	struct winsize size = { 0 };

	return ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 ? ROWS_DEFAULT : size.ws_row;
}

/* Writes over what was shown before, *lines lines of it. */
static void redraw(struct out *out, const json_t *result, size_t *lines)
{
	const size_t rows = terminal_rows(out->out_fd);
	AUTO_BUF text = BUF_INIT;

	/* One column and one line stay free: writing there makes terminals scroll. */
	stats_view_table(result,
			 &(struct stats_look){ .width = out_terminal_width(out->out_fd) - 1,
					       .rows = rows - 1,
					       .has_colour = out->out_has_colour,
					       .has_bars = true },
			 &text);
	if (*lines > 0)
		out_addf(out, "\033[%zuF", *lines);
	out_addf(out, "\033[J");
	buf_add(&out->pending, buf_span(&text));
	*lines = 0;
	for (size_t i = 0; i < text.len; i++)
		*lines += text.ptr[i] == '\n';
}

static void show(struct cli *cli, const json_t *result, bool watches, size_t *lines)
{
	struct out *out = &cli->out;

	if (out->is_json)
		out_json(out, result);
	else if (watches && out->out_is_terminal)
		redraw(out, result, lines);
	else if (watches)
		stats_view_lines(result, &out->pending);
	else
		stats_view_table(result,
				 &(struct stats_look){ .width = out->out_width,
						       .has_colour = out->out_has_colour },
				 &out->pending);
}

static int run_stats(struct cli *cli, const struct invocation *invocation)
{
	const struct stats_args *args = invocation->args;
	const uint64_t interval_ms =
		args->interval.is_set ? args->interval.value : INTERVAL_MS_DEFAULT;
	struct err err = ERR_INIT;
	AUTO_STRV ids = { 0 };
	size_t lines = 0;
	int status = 0;

	if (args->interval.is_set && !args->watch) {
		(void)err_set(&err, ERR_INVALID, "--interval needs --watch");
		return cli_usage(cli, invocation->command, &err);
	}
	if (invocation->parsed->operand_count > 0) {
		status = many_find(cli, invocation->parsed, &ids);
		if (ids.count == 0)
			return cli_status(cli, status);
	}
	for (;;) {
		const uint64_t next_ns = clock_now_ns() + interval_ms * NSEC_PER_MSEC;
		AUTO_JSON *result = NULL;
		int written;

		/* Each time anew: a daemon may be replaced meanwhile. */
		if (ask(cli, "vm.stats", make_params(&ids), &result, &err) < 0)
			return cli_fail(cli, &err);
		show(cli, result, args->watch, &lines);
		if (!args->watch)
			return status;
		written = out_flush(&cli->out, 0);
		if (written != 0)
			return written;
		if (cancel_poll(&cli->cancel, -1, 0, next_ns) != -ETIMEDOUT)
			return cli_status(cli, status);
	}
}

const struct command vm_stats_command = {
	.noun = "vm",
	.verb = "stats",
	.operands = "VM...",
	.operands_max = 1024,
	.completes = COMPLETES_VM,
	.summary = "show what VMs and the host use",
	.description =
		"CPU is in percent of one processor, since the measurement before (the daemon\n"
		"measures every stats_poll_interval). MEMORY is what the VM takes of the host,\n"
		"IN GUEST what the guest says of its own memory and disks. NET is what its "
		"network\n"
		"device received and sent since it was started; with --watch, a second, with bars\n"
		"beside the busiest VM (at least 1 MiB/s). With --json and --watch there is one\n"
		"object a line. Without a VM, all that run.",
	.opts = stats_opts,
	.opt_count = ARRAY_LEN(stats_opts),
	.args_size = sizeof(struct stats_args),
	.run = run_stats,
};
