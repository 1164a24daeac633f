#include "agent/mise.h"

#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "wire/mise.h"

static const char *env_value(const struct strv *env, const char *name)
{
	const size_t len = strlen(name);

	for (size_t i = 0; i < env->count; i++) {
		if (strncmp(env->items[i], name, len) == 0 && env->items[i][len] == '=')
			return env->items[i] + len + 1;
	}
	return NULL;
}

static bool has_file(const char *folder)
{
	for (size_t i = 0; i < WIRE_MISE_FILE_COUNT; i++) {
		AUTO_FREE char *path = mem_printf("%s/%s", folder, wire_mise_files[i]);

		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

/* The program's path, which the caller frees; NULL when there is none. */
static char *find_program(const char *path, const char *home)
{
	char *own = mem_printf("%s/.local/bin/mise", home);

	while (path && *path) {
		const size_t len = strcspn(path, ":");
		char *candidate = mem_printf("%.*s/mise", (int)len, path);

		if (candidate[0] == '/' && access(candidate, X_OK) == 0) {
			mem_free(own);
			return candidate;
		}
		mem_free(candidate);
		path += len;
		path += *path == ':' ? 1 : 0;
	}
	if (access(own, X_OK) == 0)
		return own;
	mem_free(own);
	return NULL;
}

static bool is_mise(const char *program)
{
	return str_eq(program, "mise") || str_ends(program, "/mise");
}

bool mise_wrap(const char *folder, const char *home, struct strv *argv, struct strv *env)
{
	AUTO_FREE char *program = NULL;
	struct strv wrapped = { .items = NULL };

	if (argv->count == 0 || is_mise(argv->items[0]) || !has_file(folder))
		return false;
	program = find_program(env_value(env, "PATH"), home);
	if (!program)
		return false;

	strv_add(&wrapped, program);
	strv_add(&wrapped, "exec");
	strv_add(&wrapped, "--");
	for (size_t i = 0; i < argv->count; i++)
		strv_add(&wrapped, argv->items[i]);
	strv_done(argv);
	*argv = wrapped;
	if (!env_value(env, "MISE_TRUSTED_CONFIG_PATHS"))
		strv_addf(env, "MISE_TRUSTED_CONFIG_PATHS=%s", folder);
	if (!env_value(env, "MISE_YES"))
		strv_add(env, "MISE_YES=1");
	return true;
}
