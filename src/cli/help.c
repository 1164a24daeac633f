#include "cli/help.h"

#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/width.h"
#include "cli/wrap.h"

#define HELP_WIDTH    80
#define OPTION_COLUMN 34 /* where the texts of options begin */
#define VERB_COLUMN   21

/* "  left   right", the right one on the next line when the left is too wide. */
static void add_entry(struct buf *out, const char *left, const char *right, size_t column)
{
	const size_t used = 2 + width_of_text(left);

	buf_addf(out, "  %s", left);
	if (used + 2 > column) {
		buf_add_byte(out, '\n');
		wrap_pad(out, 0, column);
	} else {
		wrap_pad(out, used, column);
	}
	wrap_text(out, right, column, HELP_WIDTH);
}

void help_option(const struct opt *opt, struct buf *out)
{
	if (opt->letter)
		buf_addf(out, "-%c, ", opt->letter);
	buf_addf(out, "--%s%s", opt->type == OPT_FLAG_ON ? "no-" : "", opt->name);
	if (opt->type == OPT_MAYBE)
		buf_addf(out, ", --no-%s", opt->name);
	if (opt->metavar)
		buf_addf(out, " %s", opt->metavar);
}

static void add_options(const char *title, const struct opt *opts, size_t count, struct buf *out)
{
	buf_addf(out, "\n%s\n", title);
	for (size_t i = 0; i < count; i++) {
		AUTO_BUF left = BUF_INIT;

		if (!opts[i].letter)
			buf_add_str(&left, "    ");
		help_option(&opts[i], &left);
		add_entry(out, left.ptr, opts[i].help, OPTION_COLUMN);
	}
}

void help_synopsis(const struct command *command, struct buf *out)
{
	buf_add_str(out, "banger ");
	command_name(command, out);
	if (command->opt_count)
		buf_add_str(out, " [flags]");
	if (command->operands)
		buf_addf(out, command->operands_min ? " %s" : " [%s]", command->operands);
	if (command->takes_command)
		buf_add_str(out, command->needs_command ? " -- CMD..." : " [-- CMD...]");
}

static void add_aliases(const struct command *command, struct buf *out)
{
	for (size_t i = 0; i < command_alias_count; i++) {
		const struct command_alias *alias = &command_aliases[i];

		if (alias->command == command)
			buf_addf(out, "       banger %s%s%s (the same)\n", alias->noun,
				 alias->verb ? " " : "", alias->verb ? alias->verb : "");
	}
}

void help_command(struct cli *cli, const struct command *command, struct buf *out)
{
	buf_add_str(out, "usage: ");
	help_synopsis(command, out);
	buf_add_byte(out, '\n');
	add_aliases(command, out);
	buf_add_byte(out, '\n');
	wrap_text(out, command->summary, 0, HELP_WIDTH);
	if (command->description) {
		buf_add_byte(out, '\n');
		wrap_text(out, command->description, 0, HELP_WIDTH);
	}
	if (command->opt_count)
		add_options("flags:", command->opts, command->opt_count, out);
	add_options("flags of every command:", global_opts, global_opt_count, out);
	if (cli && command->help_tail)
		command->help_tail(cli, out);
}

void help_noun(const char *noun, const char *group, struct buf *out)
{
	AUTO_FREE char *above = group ? mem_printf("%s %s", noun, group) : mem_strdup(noun);
	AUTO_FREE char *before = group ? mem_printf("%s ", group) : mem_strdup("");

	buf_addf(out, "usage: banger %s VERB\n\n", above);
	for (size_t i = 0; i < command_count; i++) {
		const struct command *command = commands[i];

		if (str_eq(command->noun, noun) && str_starts(command->verb, before))
			add_entry(out, command->verb + strlen(before), command->summary,
				  VERB_COLUMN);
	}
	buf_addf(out, "\n'banger %s VERB --help' explains each.\n", above);
}

void help_overview(struct buf *out)
{
	buf_add_str(out,
		    "usage: banger [--json] [--quiet] NOUN VERB [flags] [operands]\n\n"
		    "Disposable Linux machines: microVMs with their own kernel, root file system\n"
		    "and home disk.\n\n"
		    "  banger vm run                   a fresh VM and a shell in it\n"
		    "  banger vm run --rm -- CMD...    run one command, then delete the VM\n"
		    "  banger ps                       the VMs there are\n\n");
	for (size_t i = 0; i < command_count; i++) {
		AUTO_BUF name = BUF_INIT;

		if (commands[i]->is_hidden)
			continue;
		command_name(commands[i], &name);
		add_entry(out, name.ptr, commands[i]->summary, VERB_COLUMN);
	}
	buf_add_str(out, "\n'banger NOUN VERB --help' explains each.\n");
}

/* The help that a noun and a verb (NULL without) stand for; false when there is no such thing. */
static bool add_help(struct cli *cli, const char *noun, const char *verb, struct buf *out)
{
	const struct command *command = command_find(noun, verb);

	if (command)
		help_command(cli, command, out);
	else if (verb ? command_verb_goes_on(noun, verb) : command_has_verbs(noun))
		help_noun(noun, verb, out);
	else
		return false;
	return true;
}

static int run_help(struct cli *cli, const struct invocation *invocation)
{
	const struct opt_parsed *parsed = invocation->parsed;
	const char *noun = parsed->operand_count > 0 ? parsed->operands[0] : NULL;
	AUTO_BUF words = BUF_INIT;
	const char *verb;
	struct err err = ERR_INIT;

	if (!noun) {
		help_overview(&cli->out.pending);
		return 0;
	}
	for (size_t i = 1; i < parsed->operand_count; i++)
		buf_addf(&words, "%s%s", i > 1 ? " " : "", parsed->operands[i]);
	verb = words.len > 0 ? words.ptr : NULL;
	if (add_help(cli, noun, verb, &cli->out.pending))
		return 0;
	(void)command_unknown(noun, verb, &err);
	return cli_usage(cli, NULL, &err);
}

const struct command help_command_row = {
	.noun = "help",
	.operands = "NOUN [VERB]",
	.operands_max = 3,
	.completes = COMPLETES_COMMAND,
	.summary = "explain a command",
	.run = run_help,
};
