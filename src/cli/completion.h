/*
 * What a shell may offer for a half-typed command line, from the same tables as parsing. The
 * scripts for bash, zsh and fish are thin: they ask `banger completion words -- WORDS...`.
 */
#pragma once

#include <stddef.h>

#include "base/macros.h"
#include "base/strv.h"
#include "cli/opt.h"

/*
 * Adds the names of what exists; adds none when they cannot be had. `first` is the line's first
 * operand, "" without one: snapshots are those of that VM.
 */
typedef void completion_source(void *context, enum opt_completes kind, const char *first,
			       struct strv *names);

/*
 * Adds the candidates for the last of `words` (without the program's name; at least one, "" for a
 * word that is just begun). `source` may be NULL.
 */
void completion_candidates(const char *const *words, size_t count, completion_source *source,
			   void *context, struct strv *ret);
