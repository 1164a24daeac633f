#include "cli/completion.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/link.h"
#include "cli/request.h"

/*
 * What `completion words` prints is a line a candidate: the word, and where there is something to
 * say about it, a tab and a description. ":files" and ":folders" stand for what only the shell can
 * offer. A word that ends in ":" goes on.
 */
#define FILES	"files"
#define FOLDERS "folders"

static const char bash_script[] = "# bash completion for banger\n"
				  "_banger()\n"
				  "{\n"
				  "\tlocal line cur=${COMP_WORDS[COMP_CWORD]}\n"
				  "\tCOMPREPLY=()\n"
				  "\twhile IFS= read -r line; do\n"
				  "\t\tcase $line in\n"
				  "\t\t:" FILES ")\n"
				  "\t\t\twhile IFS= read -r line; do\n"
				  "\t\t\t\tCOMPREPLY+=(\"$line\")\n"
				  "\t\t\t\tcompopt -o filenames 2>/dev/null\n"
				  "\t\t\tdone < <(compgen -f -- \"$cur\")\n"
				  "\t\t\t;;\n"
				  "\t\t:" FOLDERS ")\n"
				  "\t\t\twhile IFS= read -r line; do\n"
				  "\t\t\t\tCOMPREPLY+=(\"$line\")\n"
				  "\t\t\t\tcompopt -o filenames 2>/dev/null\n"
				  "\t\t\tdone < <(compgen -d -- \"$cur\")\n"
				  "\t\t\t;;\n"
				  "\t\t*:)\n"
				  "\t\t\tCOMPREPLY+=(\"$line\")\n"
				  "\t\t\tcompopt -o nospace 2>/dev/null\n"
				  "\t\t\t;;\n"
				  "\t\t*) COMPREPLY+=(\"${line%%$'\\t'*}\") ;;\n"
				  "\t\tesac\n"
				  "\tdone < <(\"${1:-banger}\" completion words -- "
				  "\"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
				  "}\n"
				  "complete -F _banger banger\n";

static const char zsh_script[] =
	"#compdef banger\n"
	"_banger()\n"
	"{\n"
	"\tlocal line\n"
	"\tlocal -a plain open described shown\n"
	"\tfor line in \"${(@f)$($words[1] completion words -- "
	"\"${(@)words[2,CURRENT]}\" 2>/dev/null)}\"; do\n"
	"\t\tcase $line in\n"
	"\t\t'') ;;\n"
	"\t\t:" FILES ") _files ;;\n"
	"\t\t:" FOLDERS ") _files -/ ;;\n"
	"\t\t*:) open+=(\"$line\") ;;\n"
	"\t\t*$'\\t'*)\n"
	"\t\t\tdescribed+=(\"${line%%$'\\t'*}\")\n"
	"\t\t\tshown+=(\"${(r:20:)line%%$'\\t'*}  ${line#*$'\\t'}\")\n"
	"\t\t\t;;\n"
	"\t\t*) plain+=(\"$line\") ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\t(( $#open )) && compadd -S '' -a open\n"
	"\t(( $#plain )) && compadd -a plain\n"
	"\t(( $#described )) && compadd -l -d shown -a described\n"
	"\treturn 0\n"
	"}\n"
	"if [ \"$funcstack[1]\" = _banger ]; then\n" /* autoloaded from a folder of $fpath */
	"\t_banger \"$@\"\n"
	"else\n"
	"\tcompdef _banger banger\n"
	"fi\n";

static const char fish_script[] =
	"# fish completion for banger\n"
	"function __banger_words\n"
	"\tset -l words (commandline -opc) (commandline -ct)\n"
	"\tfor line in ($words[1] completion words -- $words[2..-1] 2>/dev/null)\n"
	"\t\tswitch $line\n"
	"\t\t\tcase :" FILES "\n"
	"\t\t\t\t__fish_complete_path (commandline -ct)\n"
	"\t\t\tcase :" FOLDERS "\n"
	"\t\t\t\t__fish_complete_directories (commandline -ct) ''\n"
	"\t\t\tcase '*'\n"
	"\t\t\t\tprintf '%s\\n' $line\n"
	"\t\tend\n"
	"\tend\n"
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
	struct strv operands;
};

/* Where candidates go. */
struct offer {
	const char *prefix; /* of what is to be completed */
	const char *before; /* "--name=" in front of it, which the word has, too; "" without */
	completion_source *source;
	void *context;
	struct strv *ret;
};

static void context_done(struct context *at)
{
	buf_done(&at->verb);
	strv_done(&at->operands);
}

static void add(const struct offer *offer, const char *word, const char *description)
{
	AUTO_BUF line = BUF_INIT;

	if (!str_starts(word, offer->prefix))
		return;
	buf_addf(&line, "%s%s", offer->before, word);
	if (description)
		buf_addf(&line, "\t%s", description);
	if (!strv_has(offer->ret, line.ptr))
		strv_add(offer->ret, line.ptr);
}

/* The option that the word is, if it takes a value: "--name" or "-n"; of `len` bytes. */
static const struct opt *find_in(const struct opt *opts, size_t count, const char *word, size_t len)
{
	for (size_t i = 0; i < count; i++) {
		const struct opt *opt = &opts[i];

		if (!opt->metavar)
			continue;
		if (word[1] == '-' ? strlen(opt->name) == len - 2 &&
					     memcmp(word + 2, opt->name, len - 2) == 0
				   : opt->letter && len == 2 && word[1] == opt->letter)
			return opt;
	}
	return NULL;
}

static const struct opt *option_of(const struct context *at, const char *word, size_t len)
{
	if (!at->command || len < 2 || word[0] != '-')
		return NULL;
	return find_in(at->command->opts, at->command->opt_count, word, len);
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
		strv_add(&at->operands, word);
	}
}

static void read_words(const char *const *words, size_t count, struct context *at)
{
	for (size_t i = 0; i < count; i++) {
		const char *word = words[i];

		if (at->wants_value && str_eq(word, "=")) {
			continue; /* bash makes three words of --name=value */
		}
		if (at->wants_value) {
			at->wants_value = NULL;
		} else if (str_eq(word, "--")) {
			at->is_after_dashes = true;
			return;
		} else if (word[0] == '-') {
			at->wants_value = option_of(at, word, strlen(word));
		} else {
			take_name(at, word);
		}
	}
}

static void add_options(const struct opt *opts, size_t count, const struct offer *offer)
{
	for (size_t i = 0; i < count; i++) {
		AUTO_BUF word = BUF_INIT;

		buf_addf(&word, "--%s%s", opts[i].type == OPT_FLAG_ON ? "no-" : "", opts[i].name);
		add(offer, word.ptr, opts[i].help);
		if (opts[i].type != OPT_MAYBE)
			continue;
		buf_clear(&word);
		buf_addf(&word, "--no-%s", opts[i].name);
		add(offer, word.ptr, opts[i].help);
	}
}

/* The verb's next word: its first, or its second when the first is there. */
static void add_verb(const struct context *at, const char *verb, const struct command *command,
		     const struct offer *offer)
{
	AUTO_FREE char *word = NULL;
	const char *rest = verb;

	if (at->verb.len > 0) {
		if (!str_starts(verb, at->verb.ptr) || verb[at->verb.len] != ' ')
			return;
		rest = verb + at->verb.len + 1;
	}
	word = mem_strndup(rest, strcspn(rest, " "));
	add(offer, word, strchr(rest, ' ') ? NULL : command->summary);
}

static void add_name(const struct context *at, const char *noun, const char *verb,
		     const struct command *command, const struct offer *offer)
{
	if (!at->noun)
		add(offer, noun, verb ? NULL : command->summary);
	else if (verb && str_eq(noun, at->noun))
		add_verb(at, verb, command, offer);
}

static void add_names(const struct context *at, const struct offer *offer)
{
	for (size_t i = 0; i < command_count; i++) {
		if (!commands[i]->is_hidden)
			add_name(at, commands[i]->noun, commands[i]->verb, commands[i], offer);
	}
	for (size_t i = 0; i < command_alias_count; i++)
		add_name(at, command_aliases[i].noun, command_aliases[i].verb,
			 command_aliases[i].command, offer);
}

/* Names of the daemon's, but for those that the line has already; `after` follows each. */
static void add_live(enum opt_completes kind, const struct context *at, const char *after,
		     const struct offer *offer)
{
	AUTO_STRV names = { .items = NULL };

	if (!offer->source)
		return;
	offer->source(offer->context, kind,
		      at && at->operands.count > 0 ? at->operands.items[0] : "", &names);
	for (size_t i = 0; i < names.count; i++) {
		AUTO_FREE char *word = mem_printf("%s%s", names.items[i], after);

		if (!at || !strv_has(&at->operands, names.items[i]))
			add(offer, word, NULL);
	}
}

/* What only the shell can offer is one line, whatever the prefix. */
static void add_shells_own(const char *what, const struct offer *offer)
{
	AUTO_FREE char *line = mem_printf(":%s", what);

	strv_add(offer->ret, line);
}

/* What help's next word may be. */
static void add_explained(const struct strv *words, const struct offer *offer)
{
	CLEANUP(context_done) struct context of = { .noun = NULL };

	for (size_t i = 0; i < words->count; i++)
		take_name(&of, words->items[i]);
	if (!of.command)
		add_names(&of, offer);
}

static void add_kind(enum opt_completes kind, const struct context *at, const struct offer *offer)
{
	switch (kind) {
	case COMPLETES_VM:
	case COMPLETES_IMAGE:
	case COMPLETES_IMAGE_HERE:
	case COMPLETES_KERNEL:
	case COMPLETES_TEMPLATE:
	case COMPLETES_SNAPSHOT:
		add_live(kind, at, "", offer);
		break;
	case COMPLETES_PLACE:
		if (strchr(offer->prefix, ':'))
			break; /* a path in the guest */
		add_live(COMPLETES_VM, NULL, ":", offer);
		add_shells_own(FILES, offer);
		break;
	case COMPLETES_FILE:
		add_shells_own(FILES, offer);
		break;
	case COMPLETES_FOLDER:
		add_shells_own(FOLDERS, offer);
		break;
	case COMPLETES_SHELL:
		for (size_t i = 0; i < ARRAY_LEN(scripts); i++)
			add(offer, scripts[i].shell, NULL);
		break;
	case COMPLETES_COMMAND:
		if (at)
			add_explained(&at->operands, offer);
		break;
	case COMPLETES_NEW_NAME:
	case COMPLETES_NOTHING:
		break;
	}
}

static void add_values(const struct opt *opt, const struct offer *offer)
{
	for (const char *const *choice = opt->choices; choice && *choice; choice++)
		add(offer, *choice, NULL);
	add_kind(opt->completes, NULL, offer);
}

/* "--image=de": true when there is an equals sign, and then the value's candidates are added. */
static bool add_joined(const struct context *at, const struct offer *offer)
{
	const char *equals = strchr(offer->prefix, '=');
	AUTO_FREE char *before = NULL;
	const struct opt *opt;
	struct offer value = *offer;

	if (offer->prefix[0] != '-' || !equals)
		return false;
	before = mem_strndup(offer->prefix, (size_t)(equals + 1 - offer->prefix));
	opt = option_of(at, offer->prefix, (size_t)(equals - offer->prefix));
	value.prefix = equals + 1;
	value.before = before;
	if (opt)
		add_values(opt, &value);
	return true;
}

static enum opt_completes kind_of_operand(const struct context *at)
{
	const struct command *command = at->command;

	if (at->operands.count > 0 && command->completes_second)
		return command->completes_second;
	return command->completes;
}

void completion_candidates(const char *const *words, size_t count, completion_source *source,
			   void *context, struct strv *ret)
{
	CLEANUP(context_done) struct context at = { .noun = NULL };
	struct offer offer = { .prefix = words[count - 1],
			       .before = "",
			       .source = source,
			       .context = context,
			       .ret = ret };

	read_words(words, count - 1, &at);
	if (at.is_after_dashes)
		return;
	if (at.wants_value) {
		if (str_eq(offer.prefix, "=")) /* bash: the cursor is right behind it */
			offer.prefix = "";
		add_values(at.wants_value, &offer);
	} else if (add_joined(&at, &offer)) {
		return;
	} else if (offer.prefix[0] == '-') {
		if (at.command)
			add_options(at.command->opts, at.command->opt_count, &offer);
		add_options(global_opts, global_opt_count, &offer);
	} else if (!at.command) {
		add_names(&at, &offer);
	} else if (at.operands.count < at.command->operands_max) {
		add_kind(kind_of_operand(&at), &at, &offer);
	}
}

static json_t *source_params(enum opt_completes kind, const char *first)
{
	json_t *params, *vms;

	if (kind != COMPLETES_SNAPSHOT)
		return NULL;
	params = json_new_object();
	vms = json_new_array();
	json_add(vms, json_new_str(first));
	json_put(params, "vms", vms);
	return params;
}

/* A running daemon's names; nothing, and no word about it, when there is none. */
static void names_of_daemon(void *context, enum opt_completes kind, const char *first,
			    struct strv *names)
{
	static const struct {
		enum opt_completes kind;
		const char *method;
		const char *list;
	} sources[] = {
		{ COMPLETES_VM, "vm.list", "vms" },
		{ COMPLETES_IMAGE, "image.catalog", "entries" },
		{ COMPLETES_IMAGE, "image.list", "images" },
		{ COMPLETES_IMAGE_HERE, "image.list", "images" },
		{ COMPLETES_KERNEL, "kernel.list", "kernels" },
		{ COMPLETES_TEMPLATE, "template.list", "templates" },
		{ COMPLETES_SNAPSHOT, "vm.snapshot.list", "snapshots" },
	};
	struct err ignored = ERR_INIT;

	if (link_open_running(context, NULL, &ignored) < 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		AUTO_JSON *result = NULL;
		const json_t *item;
		size_t index;

		if (sources[i].kind != kind ||
		    request_call(context, sources[i].method, source_params(kind, first), NULL,
				 &result, &ignored) < 0)
			continue;
		json_array_foreach(json_object_get(result, sources[i].list), index, item) {
			const char *name =
				json_get_str(item, kind == COMPLETES_TEMPLATE ? "id" : "name");

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
	.completes = COMPLETES_SHELL,
	.summary = "print the completion script for bash, zsh or fish",
	.description =
		"'make install' puts them where the shells look. Without it, in the shell's start "
		"file:\n"
		"bash: source <(banger completion bash)\n"
		"zsh: source <(banger completion zsh), after compinit\n"
		"fish: banger completion fish | source\n"
		"'banger completion words -- WORDS...' is what the scripts ask: it prints what "
		"the last word may become, each with what is known of it behind a tab; ':files' "
		"and ':folders' stand for the shell's own.",
	.run = run_completion,
};
