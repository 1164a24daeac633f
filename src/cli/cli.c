#include "cli/cli.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/signals.h"
#include "rpc/client.h"

#define WARNING_BYTES_MAX 4096

int cli_status(const struct cli *cli, int status)
{
	(void)cli;
	return signals_caught() ? EXIT_SIGNAL + signals_caught() : status;
}

int cli_fail(struct cli *cli, struct err *err)
{
	out_error(&cli->out, err);
	return cli_status(cli, EXIT_FAILED);
}

int cli_usage(struct cli *cli, const struct command *command, struct err *err)
{
	AUTO_BUF name = BUF_INIT;

	if (command)
		command_name(command, &name);
	if (!err->hint[0])
		err_hint(err, "see 'banger %s%s--help'", name.ptr, command ? " " : "");
	out_error(&cli->out, err);
	return EXIT_USAGE;
}

void cli_print_warnings(struct cli *cli, const json_t *result)
{
	const json_t *warning;
	size_t i;

	json_array_foreach(json_object_get(result, "warnings"), i, warning) {
		AUTO_BUF text = BUF_INIT;

		if (!json_is_string(warning) || strv_has(&cli->warned, json_string_value(warning)))
			continue;
		strv_add(&cli->warned, json_string_value(warning));
		text_escape(&text, span_str(json_string_value(warning)), WARNING_BYTES_MAX);
		out_note(&cli->out, "warning: %s", text.ptr);
	}
}

/* The way from argv to a command. */
struct line {
	int argc;
	char **argv;
	int index; /* of the next word */
	struct global_args globals;
};

static struct opt_group global_group(struct line *line)
{
	return (struct opt_group){ global_opts, global_opt_count, &line->globals };
}

/* The next word that is no option, or NULL. */
static int take_word(struct line *line, const char **ret, struct err *err)
{
	const struct opt_group group = global_group(line);
	int used;
	int r;

	r = opt_parse_leading(&group, 1, line->argc - line->index, &line->argv[line->index], &used,
			      err);
	if (r < 0)
		return r;
	line->index += used;
	if (line->index < line->argc && !str_eq(line->argv[line->index], "--"))
		*ret = line->argv[line->index++];
	return 0;
}

static void apply_globals(struct cli *cli, const struct global_args *globals)
{
	cli->out.is_json = globals->json;
	cli->out.is_quiet = globals->quiet;
}

/* "vm exec box ls -l": the option that we do not know was not meant for us. */
static bool lacks_dashes(const struct command *command, const struct opt_parsed *parsed)
{
	return command->takes_command && !parsed->command && parsed->has_unknown &&
	       parsed->operand_count > command->operands_min;
}

static int run_command(struct cli *cli, struct line *line, const struct command *command)
{
	AUTO_FREE void *args = mem_alloc(1, command->args_size ? command->args_size : 1);
	CLEANUP(opt_parsed_done) struct opt_parsed parsed = OPT_PARSED_INIT;
	const struct opt_group groups[] = {
		{ command->opts, command->opt_count, args },
		global_group(line),
	};
	const struct invocation invocation = { .command = command,
					       .parsed = &parsed,
					       .args = args };
	struct err err = ERR_INIT;
	int status;
	int r;

	opt_defaults(groups, ARRAY_LEN(groups));
	r = opt_parse(groups, ARRAY_LEN(groups), line->argc - line->index, &line->argv[line->index],
		      &parsed, &err);
	apply_globals(cli, &line->globals);
	if (line->globals.help && r == 0) {
		help_command(cli, command, &cli->out.pending);
		status = 0;
	} else if (r < 0 && lacks_dashes(command, &parsed)) {
		err_hint(&err, "a command for the guest, with its options, goes after '--'");
		status = cli_usage(cli, command, &err);
	} else if (r < 0 || command_check_operands(command, &parsed, &err) < 0) {
		status = cli_usage(cli, command, &err);
	} else {
		status = command->run(cli, &invocation);
	}
	opt_groups_done(groups, ARRAY_LEN(groups));
	return status;
}

/* "banger NOUN", or "banger NOUN GROUP": help when it was asked for. */
static int stop_before_verb(struct cli *cli, const struct line *line, const char *noun,
			    const char *group)
{
	struct err err = ERR_INIT;

	if (line->globals.help) {
		help_noun(noun, group, &cli->out.pending);
		return 0;
	}
	(void)command_unknown(noun, group, &err);
	err_hint(&err, "see 'banger %s%s%s --help'", noun, group ? " " : "", group ? group : "");
	return cli_usage(cli, NULL, &err);
}

static int fail_without_words(struct cli *cli)
{
	struct err err = ERR_INIT;

	(void)err_set(&err, ERR_INVALID, "there is no command");
	return cli_usage(cli, NULL, &err);
}

/* "banger NOUN ..." where the noun wants a verb. */
static int run_noun(struct cli *cli, struct line *line, const char *noun)
{
	AUTO_BUF both = BUF_INIT;
	const char *verb = NULL;
	const char *second = NULL;
	const struct command *command;
	struct err err = ERR_INIT;
	int r;

	r = take_word(line, &verb, &err);
	apply_globals(cli, &line->globals);
	if (r < 0)
		return cli_usage(cli, NULL, &err);
	if (!verb)
		return stop_before_verb(cli, line, noun, NULL);
	if (command_verb_goes_on(noun, verb)) {
		r = take_word(line, &second, &err);
		apply_globals(cli, &line->globals);
		if (r < 0)
			return cli_usage(cli, NULL, &err);
		if (!second)
			return stop_before_verb(cli, line, noun, verb);
		buf_addf(&both, "%s %s", verb, second);
		verb = both.ptr;
	}
	command = command_find(noun, verb);
	if (command)
		return run_command(cli, line, command);
	(void)command_unknown(noun, verb, &err);
	err_hint(&err, "see 'banger %s --help'", noun);
	return cli_usage(cli, NULL, &err);
}

static int run_line(struct cli *cli, struct line *line)
{
	const char *noun = NULL;
	const struct command *command;
	struct err err = ERR_INIT;
	int r;

	r = take_word(line, &noun, &err);
	apply_globals(cli, &line->globals);
	if (r < 0)
		return cli_usage(cli, NULL, &err);
	if (line->globals.version)
		return run_command(cli, line, &version_command);
	if (!noun && line->globals.help) {
		help_overview(&cli->out.pending);
		return 0;
	}
	if (!noun)
		return fail_without_words(cli);
	command = command_find(noun, NULL);
	if (command)
		return run_command(cli, line, command);
	if (command_has_verbs(noun))
		return run_noun(cli, line, noun);
	(void)command_unknown(noun, NULL, &err);
	return cli_usage(cli, NULL, &err);
}

/*
 * Standard descriptors that are closed would be handed out to sockets and files. They become
 * /dev/null: reading finds the end, and writing fails (it is opened for reading), which is
 * reported.
 */
static int open_standard_fds(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* The lowest free number, which is this one. */
		const int opened = open("/dev/null", O_RDONLY);

		if (opened < 0)
			return -errno;
	}
	return 0;
}

int cli_main(int argc, char **argv)
{
	struct line line = { .argc = argc, .argv = argv, .index = argc > 0 ? 1 : 0 };
	struct cli cli = { .cancel = CANCEL_INIT, .in_fd = STDIN_FILENO };
	int status;
	int r;

	r = open_standard_fds();
	if (r < 0)
		return EXIT_FAILED;
	out_init(&cli.out, STDOUT_FILENO, STDERR_FILENO);
	r = cancel_init(&cli.cancel);
	if (r == 0)
		r = signals_init(&cli.cancel);
	if (r < 0) {
		struct err err = ERR_INIT;

		(void)err_sys(&err, r, "prepare for signals");
		return out_fail(&cli.out, &err);
	}
	status = out_flush(&cli.out, run_line(&cli, &line));
	rpc_client_free(cli.client);
	strv_done(&cli.warned);
	out_done(&cli.out);
	signals_done();
	cancel_done(&cli.cancel);
	return status;
}
