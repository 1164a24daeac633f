/* What git_open() needs of git.c and nobody else. */
#pragma once

#include "workspace/git.h"

/* git_line() in a folder whose repository is not known yet: whether it is one that the user trusts
 * is for git and the user's own configuration to say. */
int git_ask(const char *folder, const struct git_call *call, char **ret, struct err *err)
	MUST_CHECK;
