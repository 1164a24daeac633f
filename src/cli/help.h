/* Help from the tables: the overview, a noun's verbs, one command. Text of at most 80 columns. */
#pragma once

#include "base/buf.h"
#include "cli/command.h"

struct cli;

void help_overview(struct buf *out);
/* The verbs of a noun; with `group` (NULL without) those of two words that begin with it. */
void help_noun(const char *noun, const char *group, struct buf *out);
/* `cli` may be NULL: then what depends on the host is left out. */
void help_command(struct cli *cli, const struct command *command, struct buf *out);

/* "banger vm run [flags] [-- CMD...]". */
void help_synopsis(const struct command *command, struct buf *out);

/* "-n, --name NAME": an option as help and man page show it. */
void help_option(const struct opt *opt, struct buf *out);
