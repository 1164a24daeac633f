/* Users and groups from the guest's /etc/passwd and /etc/group, without NSS: a static program has
 * none. */
#pragma once

#include <sys/types.h>

#include "base/err.h"
#include "base/macros.h"

#define USER_GROUPS_MAX 256

struct user {
	char *name;  /* owned */
	char *home;  /* owned; "/" when it has none */
	char *shell; /* owned; "/bin/sh" when it has none */
	uid_t uid;
	gid_t gid;
	gid_t groups[USER_GROUPS_MAX]; /* `gid` is the first */
	size_t group_count;
};

/*
 * ERR_NOT_FOUND when passwd has no such name. root is always there, with /root and /bin/sh where
 * the image has no passwd.
 */
int user_find(const char *name, struct user *ret, struct err *err) MUST_CHECK;
void user_done(struct user *user);
