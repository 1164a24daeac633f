#include "agent/user.h"

#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/text.h"

static void file_closep(FILE **file)
{
	if (*file)
		(void)fclose(*file);
}

static char *text_or(const char *text, const char *otherwise)
{
	return mem_strdup(str_empty(text) ? otherwise : text);
}

static bool find_in_passwd(const char *name, struct user *user)
{
	CLEANUP(file_closep) FILE *file = fopen("/etc/passwd", "re");
	const struct passwd *entry;

	if (!file)
		return false;
	// NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
	while ((entry = fgetpwent(file))) {
		if (!str_eq(entry->pw_name, name))
			continue;
		user->name = mem_strdup(entry->pw_name);
		user->home = text_or(entry->pw_dir, "/");
		user->shell = text_or(entry->pw_shell, "/bin/sh");
		user->uid = entry->pw_uid;
		user->gid = entry->pw_gid;
		return true;
	}
	return false;
}

static bool group_has(const struct group *group, const char *name)
{
	for (char *const *member = group->gr_mem; *member; member++) {
		if (str_eq(*member, name))
			return true;
	}
	return false;
}

static void find_groups(struct user *user)
{
	CLEANUP(file_closep) FILE *file = fopen("/etc/group", "re");
	const struct group *entry;

	user->groups[user->group_count++] = user->gid;
	if (!file)
		return;
	// NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
	while (user->group_count < USER_GROUPS_MAX && (entry = fgetgrent(file))) {
		if (entry->gr_gid != user->gid && group_has(entry, user->name))
			user->groups[user->group_count++] = entry->gr_gid;
	}
}

int user_find(const char *name, struct user *ret, struct err *err)
{
	struct user user = { .name = NULL };

	if (!find_in_passwd(name, &user)) {
		if (!str_eq(name, "root"))
			return err_set(err, ERR_NOT_FOUND, "user '%s': no such user", name);
		user.name = mem_strdup("root");
		user.home = mem_strdup("/root");
		user.shell = mem_strdup("/bin/sh");
	}
	find_groups(&user);
	*ret = user;
	return 0;
}

void user_done(struct user *user)
{
	if (!user)
		return;
	mem_freep(&user->name);
	mem_freep(&user->home);
	mem_freep(&user->shell);
	user->group_count = 0;
}
