#include "agent/user.h"

#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
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

/* By name or, with `name` NULL, by number. */
static bool find_in_passwd(const char *name, uid_t uid, struct user *user)
{
	CLEANUP(file_closep) FILE *file = fopen("/etc/passwd", "re");
	const struct passwd *entry;

	if (!file)
		return false;
	// NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
	while ((entry = fgetpwent(file))) {
		if (name ? !str_eq(entry->pw_name, name) : entry->pw_uid != uid)
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

static bool find_in_group(const char *name, gid_t *ret)
{
	CLEANUP(file_closep) FILE *file = fopen("/etc/group", "re");
	const struct group *entry;

	if (!file)
		return false;
	// NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
	while ((entry = fgetgrent(file))) {
		if (str_eq(entry->gr_name, name)) {
			*ret = entry->gr_gid;
			return true;
		}
	}
	return false;
}

/* -1 as an id means "leave it" to the kernel's calls, so it is none. */
static bool read_id(const char *text, uint32_t *ret)
{
	uint64_t number;

	if (!parse_u64_text(text, UINT32_MAX - 1, &number))
		return false;
	*ret = (uint32_t)number;
	return true;
}

static int find_user(const char *name, struct user *user, struct err *err)
{
	uint32_t uid = 0;

	if (find_in_passwd(name, 0, user))
		return 0;
	if (read_id(name, &uid)) {
		if (find_in_passwd(NULL, uid, user))
			return 0;
		user->name = mem_strdup(name);
		user->home = mem_strdup(uid == 0 ? "/root" : "/");
		user->shell = mem_strdup("/bin/sh");
		user->uid = uid;
		return 0;
	}
	if (!str_eq(name, "root"))
		return err_set(err, ERR_NOT_FOUND, "user '%s': no such user", name);
	user->name = mem_strdup("root");
	user->home = mem_strdup("/root");
	user->shell = mem_strdup("/bin/sh");
	return 0;
}

static int find_group(const char *name, struct user *user, struct err *err)
{
	uint32_t gid = 0;

	if (!find_in_group(name, &user->gid)) {
		if (!read_id(name, &gid))
			return err_set(err, ERR_NOT_FOUND, "group '%s': no such group", name);
		user->gid = gid;
	}
	user->groups[user->group_count++] = user->gid;
	return 0;
}

int user_find(const char *text, struct user *ret, struct err *err)
{
	const char *colon = strchr(text, ':');
	AUTO_FREE char *name = mem_strndup(text, colon ? (size_t)(colon - text) : strlen(text));
	CLEANUP(user_done) struct user user = { .name = NULL };
	int r = 0;

	/* ":GROUP" and "USER:" leave the other to what it is without them. */
	r = find_user(name[0] ? name : "root", &user, err);
	if (r == 0 && colon && colon[1])
		r = find_group(colon + 1, &user, err);
	else if (r == 0)
		find_groups(&user);
	if (r < 0)
		return r;
	*ret = user;
	user = (struct user){ .name = NULL };
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
