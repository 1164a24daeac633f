/* What git_open() needs of git.c and nobody else. */
#pragma once

#include "workspace/git.h"

/* git_line() in a folder whose repository is not known yet: whether it is one that the user trusts
 * is for git and the user's own configuration to say. */
int git_ask(const char *folder, const struct git_call *call, char **ret, struct err *err)
	MUST_CHECK;

/*
 * ERR_INVALID where one of the files that git reads in `dir`, or `dir` itself, is none, so that git
 * could wait there for ever. What is not there, or is another kind of folder, is git's to judge.
 */
int git_check_kinds(const char *dir, struct err *err) MUST_CHECK;

/*
 * ERR_INVALID where a link could make another repository's references, index or commits this one's.
 */
int git_check_links(const char *dir, struct err *err) MUST_CHECK;
