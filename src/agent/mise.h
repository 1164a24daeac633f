/* Commands through mise (https://mise.jdx.dev), which gives a project the tools that it names. */
#pragma once

#include <stdbool.h>

#include "base/macros.h"
#include "base/strv.h"

/*
 * Puts "mise exec --" in front of `argv` where the folder has a mise file and the guest has mise
 * (in the PATH of `env`, or where its installer puts it, in `home`); whether it did. `env` then
 * says that the folder's files are trusted: the whole sandbox is there to run what is in it. A
 * command that is mise itself stays as it is.
 */
bool mise_wrap(const char *folder, const char *home, struct strv *argv, struct strv *env);
