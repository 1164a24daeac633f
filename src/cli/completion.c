#include "cli/completion.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/link.h"
#include "cli/request.h"

static const char bash_script[] = "_banger()\n"
				  "{\n"
				  "\tlocal IFS=$'\\n'\n"
				  "\tCOMPREPLY=($(banger completion words -- "
				  "\"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null))\n"
				  "}\n"
				  "complete -o default -F _banger banger\n";

static const char zsh_script[] = "#compdef banger\n"
				 "_banger()\n"
				 "{\n"
				 "\tlocal -a candidates\n"
				 "\tcandidates=(\"${(@f)$(banger completion words -- "
				 "\"${(@)words[2,CURRENT]}\" 2>/dev/null)}\")\n"
				 "\tcompadd -a candidates\n"
				 "}\n"
				 "compdef _banger banger\n";

static const char fish_script[] = "function __banger_words\n"
				  "\tset -l words (commandline -opc) (commandline -ct)\n"
				  "\tbanger completion words -- $words[2..-1] 2>/dev/null\n"
				  "end\n"
				  "complete -c banger -f -a '(__banger_words)'\n";

static const struct {
	const char *shell;
	const char *script;
} scripts[] = {
	{ "bash", bash_script },
	{ "zsh", zsh_script },
	{ "fish", fish_script },
};

/* What is known of the line before its last word. */
struct context {
	const char *noun;
	struct buf verb; /* its words so far; ptr is NULL without one */
	const struct command *command;
	const struct opt *wants_value; /* the word before is an option that takes one */
	bool is_after_dashes;	       /* the words are a command for the guest */
	size_t operand_count;
};

static void context_done(struct context *at)
{
	buf_done(&at->verb);
}

static void add(struct strv *ret, const char *prefix, const char *word)
{
	if (str_starts(word, prefix) && !strv_has(ret, word))
		strv_add(ret, word);
}

static const struct opt *find_in(const struct opt *opts, size_t count, const char *word)
{
	for (size_t i = 0; i < count; i++) {
		const struct opt *opt = &opts[i];

		if (!opt->metavar)
			continue;
		if (word[1] == '-' ? str_eq(word + 2, opt->name)
				   : opt->letter && word[1] == opt->letter && word[2] == '\0')
			return opt;
	}
	return NULL;
}

static void take_name(struct context *at, const char *word)
{
	if (!at->noun) {
		at->noun = word;
		at->command = command_find(word, NULL);
	} else if (!at->command &&
		   (!at->verb.ptr || command_verb_goes_on(at->noun, at->verb.ptr))) {
		buf_addf(&at->verb, "%s%s", at->verb.len > 0 ? " " : "", word);
		at->command = command_find(at->noun, at->verb.ptr);
	} else {
		at->operand_count++;
	}
}

static void read_words(const char *const *words, size_t count, struct context *at)
{
	for (size_t i = 0; i < count; i++) {
		const char *word = words[i];

		if (at->wants_value) {
			at->wants_value = NULL;
		} else if (str_eq(word, "--")) {
			at->is_after_dashes = true;
			return;
		} else if (word[0] == '-') {
			at->wants_value = at->command ? find_in(at->command->opts,
								at->command->opt_count, word)
						      : NULL;
		} else {
			take_name(at, word);
		}
	}
}

static void add_options(const struct opt *opts, size_t count, const char *prefix, struct strv *ret)
{
	for (size_t i = 0; i < count; i++) {
		AUTO_BUF word = BUF_INIT;

		buf_addf(&word, "--%s%s", opts[i].type == OPT_FLAG_ON ? "no-" : "", opts[i].name);
		add(ret, prefix, word.ptr);
		if (opts[i].type != OPT_MAYBE)
			continue;
		buf_clear(&word);
		buf_addf(&word, "--no-%s", opts[i].name);
		add(ret, prefix, word.ptr);
	}
}

/* The verb's next word: its first, or its second when the first is there. */
static void add_verb(const struct context *at, const char *prefix, const char *verb,
		     struct strv *ret)
{
	AUTO_FREE char *word = NULL;
	const char *rest = verb;

	if (at->verb.len > 0) {
		if (!str_starts(verb, at->verb.ptr) || verb[at->verb.len] != ' ')
			return;
		rest = verb + at->verb.len + 1;
	}
	word = mem_strndup(rest, strcspn(rest, " "));
	add(ret, prefix, word);
}

static void add_names(const struct context *at, const char *prefix, struct strv *ret)
{
	for (size_t i = 0; i < command_count; i++) {
		if (commands[i]->is_hidden)
			continue;
		if (!at->noun)
			add(ret, prefix, commands[i]->noun);
		else if (commands[i]->verb && str_eq(commands[i]->noun, at->noun))
			add_verb(at, prefix, commands[i]->verb, ret);
	}
	for (size_t i = 0; i < command_alias_count; i++) {
		const struct command_alias *alias = &command_aliases[i];

		if (!at->noun)
			add(ret, prefix, alias->noun);
		else if (alias->verb && str_eq(alias->noun, at->noun))
			add_verb(at, prefix, alias->verb, ret);
	}
}

static void add_kind(enum opt_completes kind, const char *prefix, completion_source *source,
		     void *context, struct strv *ret)
{
	AUTO_STRV names = { .items = NULL };

	if (kind == COMPLETES_NOTHING || kind == COMPLETES_COMMAND || !source)
		return;
	source(context, kind, &names);
	for (size_t i = 0; i < names.count; i++)
		add(ret, prefix, names.items[i]);
}

void completion_candidates(const char *const *words, size_t count, completion_source *source,
			   void *context, struct strv *ret)
{
	const char *prefix = words[count - 1];
	CLEANUP(context_done) struct context at = { .noun = NULL };

	read_words(words, count - 1, &at);
	if (at.is_after_dashes)
		return;
	if (at.wants_value) {
		add_kind(at.wants_value->completes, prefix, source, context, ret);
	} else if (prefix[0] == '-') {
		if (at.command)
			add_options(at.command->opts, at.command->opt_count, prefix, ret);
		add_options(global_opts, global_opt_count, prefix, ret);
	} else if (!at.command) {
		add_names(&at, prefix, ret);
	} else if (at.command->completes == COMPLETES_COMMAND) {
		const struct context help = { .noun = NULL };

		if (at.operand_count == 0)
			add_names(&help, prefix, ret);
	} else if (at.operand_count < at.command->operands_max) {
		add_kind(at.command->completes, prefix, source, context, ret);
	}
}

/* A running daemon's names; nothing, and no word about it, when there is none. */
static void names_of_daemon(void *context, enum opt_completes kind, struct strv *names)
{
	static const struct {
		enum opt_completes kind;
		const char *method;
		const char *list;
	} sources[] = {
		{ COMPLETES_VM, "vm.list", "vms" },
		{ COMPLETES_IMAGE, "image.catalog", "entries" },
		{ COMPLETES_IMAGE, "image.list", "images" },
		{ COMPLETES_KERNEL, "kernel.list", "kernels" },
	};
	struct err ignored = ERR_INIT;

	if (link_open_running(context, NULL, &ignored) < 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		AUTO_JSON *result = NULL;
		const json_t *item;
		size_t index;

		if (sources[i].kind != kind ||
		    request_call(context, sources[i].method, NULL, NULL, &result, &ignored) < 0)
			continue;
		json_array_foreach(json_object_get(result, sources[i].list), index, item) {
			const char *name = json_get_str(item, "name");

			if (name)
				strv_add(names, name);
		}
	}
}

static void print_words(struct cli *cli, const struct opt_parsed *parsed)
{
	AUTO_STRV candidates = { .items = NULL };
	static const char *const nothing[] = { "" };
	const char *const *words = (const char *const *)parsed->command;

	if (parsed->command_count == 0)
		completion_candidates(nothing, 1, names_of_daemon, cli, &candidates);
	else
		completion_candidates(words, parsed->command_count, names_of_daemon, cli,
				      &candidates);
	for (size_t i = 0; i < candidates.count; i++)
		out_addf(&cli->out, "%s\n", candidates.items[i]);
}

static int run_completion(struct cli *cli, const struct invocation *invocation)
{
	const char *shell = invocation->parsed->operands[0];
	struct err err = ERR_INIT;

	if (str_eq(shell, "words")) {
		print_words(cli, invocation->parsed);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
		if (str_eq(shell, scripts[i].shell)) {
			buf_add_str(&cli->out.pending, scripts[i].script);
			return 0;
		}
	}
	(void)err_set(&err, ERR_INVALID, "no completion for '%s'; there is bash, zsh and fish",
		      shell);
	return cli_usage(cli, invocation->command, &err);
}

const struct command completion_command = {
	.noun = "completion",
	.operands = "SHELL",
	.operands_min = 1,
	.operands_max = 1,
	.takes_command = true,
	.summary = "print the completion script for bash, zsh or fish",
	.description =
		"For bash: source <(banger completion bash)\n"
		"'banger completion words -- WORDS...' is what the scripts ask: it prints what "
		"the last word may become.",
	.run = run_completion,
};
