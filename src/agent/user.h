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
 * `text` is what the OCI image configuration has as User: "USER" or "USER:GROUP", each a name or a
 * number. A name wins over the number that it looks like. With a GROUP the user has that one alone;
 * without, the groups of passwd and group. A number need not be in passwd: then its home is "/" and
 * its group 0. ERR_NOT_FOUND when there is no such name. root is always there, with /root and
 * /bin/sh where the image has no passwd.
 */
int user_find(const char *text, struct user *ret, struct err *err) MUST_CHECK;
void user_done(struct user *user);
