/*
 * Commands as rows: "banger NOUN VERB", or "banger NOUN" for the few without verbs. From the rows
 * come dispatch, help, suggestions, completion and the check of the man page.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "cli/opt.h"

struct cli;
struct command;

/* What a command was given; all borrowed for the time of the call. */
struct invocation {
	const struct command *command;
	const struct opt_parsed *parsed;
	const void *args; /* the struct that command->opts fill */
};

struct command {
	const char *noun;
	const char *verb;     /* NULL: the noun is the command; may be two words, "cache prune" */
	const char *operands; /* as shown: "VM..."; NULL for none */
	size_t operands_min;
	size_t operands_max;
	enum opt_completes completes;	     /* the operands */
	enum opt_completes completes_second; /* the second, where it is of another kind */
	bool takes_command;		     /* may be followed by "-- CMD..." */
	bool needs_command;
	bool is_hidden;		 /* for programs: neither offered nor in the overview */
	const char *summary;	 /* one line, no full stop */
	const char *description; /* paragraphs for the command's own help; may be NULL */
	const struct opt *opts;
	size_t opt_count;
	size_t args_size;
	/* Adds what only this host knows (resolved defaults) to the help; may be NULL. */
	void (*help_tail)(struct cli *cli, struct buf *out);
	/* Does it, and returns the exit status. */
	int (*run)(struct cli *cli, const struct invocation *invocation);
};

/* "ps" for "vm list"; verb NULL as in struct command. */
struct command_alias {
	const char *noun;
	const char *verb;
	const struct command *command;
};

extern const struct command *const commands[];
extern const size_t command_count;
extern const struct command_alias command_aliases[];
extern const size_t command_alias_count;
extern const struct opt global_opts[];
extern const size_t global_opt_count;

/* What global_opts fill. */
struct global_args {
	bool json;
	bool quiet;
	bool help;
	bool version;
};

/* Whether some command or alias has this noun; and whether the noun has verbs. */
bool command_has_noun(const char *noun);
bool command_has_verbs(const char *noun);

/* Whether `word` is the first of a verb of two words. */
bool command_verb_goes_on(const char *noun, const char *word);

/* NULL when there is none. */
const struct command *command_find(const char *noun, const char *verb);

/* Always ERR_INVALID, with the nearest name: "unknown command 'vm strat'; did you mean 'vm start'?"
 */
int command_unknown(const char *noun, const char *verb, struct err *err);

/* "vm run" or "doctor". */
void command_name(const struct command *command, struct buf *out);

/* Checks the number of operands and the presence of "-- CMD". */
int command_check_operands(const struct command *command, const struct opt_parsed *parsed,
			   struct err *err) MUST_CHECK;
