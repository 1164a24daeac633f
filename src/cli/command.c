#include "cli/command.h"

#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/commands.h"

#define CANDIDATES_MAX 64

const struct command *const commands[] = {
	&vm_run_command,
	&vm_create_command,
	&vm_list_command,
	&vm_show_command,
	&vm_start_command,
	&vm_stop_command,
	&vm_restart_command,
	&vm_kill_command,
	&vm_delete_command,
	&vm_pause_command,
	&vm_resume_command,
	&vm_fork_command,
	&vm_set_command,
	&vm_snapshot_create_command,
	&vm_snapshot_list_command,
	&vm_snapshot_show_command,
	&vm_snapshot_delete_command,
	&vm_snapshot_restore_command,
	&vm_ssh_command,
	&vm_shell_command,
	&vm_exec_command,
	&vm_cp_command,
	&vm_workspace_prepare_command,
	&vm_workspace_export_command,
	&vm_logs_command,
	&vm_stats_command,
	&vm_health_command,
	&vm_ping_command,
	&vm_ports_command,
	&vm_prune_command,
	&image_list_command,
	&image_show_command,
	&image_pull_command,
	&image_delete_command,
	&image_catalog_command,
	&image_register_command,
	&image_promote_command,
	&image_cache_prune_command,
	&kernel_list_command,
	&kernel_show_command,
	&kernel_pull_command,
	&kernel_import_command,
	&kernel_rm_command,
	&template_list_command,
	&template_build_command,
	&template_delete_command,
	&daemon_status_command,
	&daemon_stop_command,
	&daemon_logs_command,
	&daemon_operations_list_command,
	&daemon_operations_cancel_command,
	&doctor_command,
	&ssh_config_command,
	&ssh_proxy_command,
	&completion_command,
	&version_command,
	&help_command_row,
};
const size_t command_count = ARRAY_LEN(commands);

const struct command_alias command_aliases[] = {
	{ "ps", NULL, &vm_list_command },
	{ "vm", "ps", &vm_list_command },
};
const size_t command_alias_count = ARRAY_LEN(command_aliases);

const struct opt global_opts[] = {
	{ .type = OPT_FLAG,
	  .name = "json",
	  .offset = offsetof(struct global_args, json),
	  .help = "results and errors as JSON" },
	{ .type = OPT_FLAG,
	  .name = "quiet",
	  .offset = offsetof(struct global_args, quiet),
	  .help = "no progress and no notes" },
	{ .type = OPT_FLAG,
	  .letter = 'h',
	  .name = "help",
	  .offset = offsetof(struct global_args, help),
	  .help = "explain the command" },
	{ .type = OPT_FLAG,
	  .name = "version",
	  .offset = offsetof(struct global_args, version),
	  .help = "print the version" },
};
const size_t global_opt_count = ARRAY_LEN(global_opts);

bool command_has_noun(const char *noun)
{
	for (size_t i = 0; i < command_count; i++) {
		if (str_eq(commands[i]->noun, noun))
			return true;
	}
	for (size_t i = 0; i < command_alias_count; i++) {
		if (str_eq(command_aliases[i].noun, noun))
			return true;
	}
	return false;
}

bool command_has_verbs(const char *noun)
{
	for (size_t i = 0; i < command_count; i++) {
		if (commands[i]->verb && str_eq(commands[i]->noun, noun))
			return true;
	}
	return false;
}

bool command_verb_goes_on(const char *noun, const char *word)
{
	const size_t length = strlen(word);

	for (size_t i = 0; i < command_count; i++) {
		const char *verb = commands[i]->verb;

		if (verb && str_eq(commands[i]->noun, noun) && str_starts(verb, word) &&
		    verb[length] == ' ')
			return true;
	}
	return false;
}

const struct command *command_find(const char *noun, const char *verb)
{
	for (size_t i = 0; i < command_count; i++) {
		if (str_eq(commands[i]->noun, noun) && str_eq(commands[i]->verb, verb))
			return commands[i];
	}
	for (size_t i = 0; i < command_alias_count; i++) {
		const struct command_alias *alias = &command_aliases[i];

		if (str_eq(alias->noun, noun) && str_eq(alias->verb, verb))
			return alias->command;
	}
	return NULL;
}

/* The nearest of the nouns, or with `noun` of its verbs; NULL when none is near. */
static const char *nearest_name(const char *noun, const char *word)
{
	const char *names[CANDIDATES_MAX];
	size_t count = 0;

	for (size_t i = 0; i < command_count + command_alias_count && count < CANDIDATES_MAX; i++) {
		const bool is_alias = i >= command_count;
		const char *its_noun =
			is_alias ? command_aliases[i - command_count].noun : commands[i]->noun;
		const char *its_verb =
			is_alias ? command_aliases[i - command_count].verb : commands[i]->verb;
		const char *name = noun ? its_verb : its_noun;

		if (name && (!noun || str_eq(its_noun, noun)))
			names[count++] = name;
	}
	return text_nearest(word, names, count);
}

/* The word that a verb begins with, if it is one of two words. */
static bool first_word_is(const char *two, const char *begin, size_t length)
{
	return strncmp(two, begin, length) == 0 && two[length] == ' ';
}

/* The verb of `noun` that begins as `verb` does, up to the blank, and is nearest in what follows.
 */
static const char *nearest_second_word(const char *noun, const char *verb)
{
	const size_t length = strcspn(verb, " ");
	const char *names[CANDIDATES_MAX];
	size_t count = 0;
	const char *nearest;

	for (size_t i = 0; i < command_count && count < CANDIDATES_MAX; i++) {
		const char *each = commands[i]->verb;

		if (each && str_eq(commands[i]->noun, noun) && first_word_is(each, verb, length))
			names[count++] = each + length + 1;
	}
	nearest = text_nearest(verb + length + 1, names, count);
	return nearest ? nearest - length - 1 : NULL;
}

/* A verb of two words whose first is misspelt. */
static const char *nearest_first_word(const char *noun, const char *word)
{
	for (size_t i = 0; i < command_count; i++) {
		const char *verb = commands[i]->verb;
		const char *blank = verb ? strchr(verb, ' ') : NULL;

		if (blank && str_eq(commands[i]->noun, noun)) {
			AUTO_FREE char *first = mem_strndup(verb, (size_t)(blank - verb));
			const char *const names[] = { first };

			if (text_nearest(word, names, ARRAY_LEN(names)))
				return verb;
		}
	}
	return NULL;
}

static const char *nearest_verb(const char *noun, const char *verb)
{
	const char *nearest;

	if (strchr(verb, ' '))
		return nearest_second_word(noun, verb);
	nearest = nearest_name(noun, verb);
	return nearest ? nearest : nearest_first_word(noun, verb);
}

/* "vm start" is what somebody means who types "banger start". */
static bool find_by_verb(const char *verb, const struct command **ret)
{
	for (size_t i = 0; i < command_count; i++) {
		const char *each = commands[i]->verb;

		if (each && (str_eq(each, verb) || first_word_is(each, verb, strlen(verb)))) {
			*ret = commands[i];
			return true;
		}
	}
	return false;
}

/* A verb without its noun, then a misspelt noun, then a misspelt verb without its noun. */
static int fail_unknown_noun(const char *noun, struct err *err)
{
	const struct command *command;
	const char *nearest;

	if (find_by_verb(noun, &command))
		return err_set(err, ERR_INVALID, "unknown command '%s'; did you mean '%s %s'?",
			       noun, command->noun, command->verb);
	nearest = nearest_name(NULL, noun);
	if (nearest)
		return err_set(err, ERR_INVALID, "unknown command '%s'; did you mean '%s'?", noun,
			       nearest);
	nearest = nearest_name("vm", noun);
	if (nearest)
		return err_set(err, ERR_INVALID, "unknown command '%s'; did you mean 'vm %s'?",
			       noun, nearest);
	return err_set(err, ERR_INVALID, "unknown command '%s'", noun);
}

/* What other tools, or other nouns of ours, call the same thing. */
static const char *synonym(const char *noun, const char *verb)
{
	static const char *const same[][2] = {
		{ "rm", "delete" },   { "delete", "rm" },    { "remove", "delete" },
		{ "remove", "rm" },   { "ls", "list" },	     { "inspect", "show" },
		{ "load", "import" }, { "add", "register" }, { "download", "pull" },
	};

	for (size_t i = 0; i < ARRAY_LEN(same); i++)
		if (str_eq(same[i][0], verb) && command_find(noun, same[i][1]))
			return same[i][1];
	return NULL;
}

int command_unknown(const char *noun, const char *verb, struct err *err)
{
	const char *nearest;

	if (!command_has_noun(noun))
		return fail_unknown_noun(noun, err);
	if (!verb)
		return err_set(err, ERR_INVALID, "'%s' needs a verb", noun);
	if (command_verb_goes_on(noun, verb))
		return err_set(err, ERR_INVALID, "'%s %s' needs a verb", noun, verb);
	nearest = synonym(noun, verb);
	if (!nearest)
		nearest = nearest_verb(noun, verb);
	if (nearest)
		return err_set(err, ERR_INVALID, "unknown command '%s %s'; did you mean '%s %s'?",
			       noun, verb, noun, nearest);
	return err_set(err, ERR_INVALID, "unknown command '%s %s'", noun, verb);
}

void command_name(const struct command *command, struct buf *out)
{
	buf_add_str(out, command->noun);
	if (command->verb)
		buf_addf(out, " %s", command->verb);
}

int command_check_operands(const struct command *command, const struct opt_parsed *parsed,
			   struct err *err)
{
	AUTO_BUF name = BUF_INIT;

	command_name(command, &name);
	if (parsed->command && !command->takes_command)
		return err_set(err, ERR_INVALID, "'%s' takes no command after '--'", name.ptr);
	if (parsed->command && parsed->command_count == 0)
		return err_set(err, ERR_INVALID, "there is no command after '--'");
	if (parsed->operand_count < command->operands_min)
		return err_set(err, ERR_INVALID, "'%s' needs %s", name.ptr, command->operands);
	if (parsed->operand_count > command->operands_max) {
		const char *surplus = parsed->operands[command->operands_max];

		if (command->takes_command)
			return err_set(err, ERR_INVALID,
				       "unexpected '%s'; a command for the guest goes after '--'",
				       surplus);
		return err_set(err, ERR_INVALID, "unexpected '%s'", surplus);
	}
	if (command->needs_command && !parsed->command)
		return err_set(err, ERR_INVALID, "'%s' needs a command after '--'", name.ptr);
	return 0;
}
