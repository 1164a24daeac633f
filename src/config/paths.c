#include "config/paths.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

/* The longest socket path below the runtime folder: a VM's, named by the first 12 digits of its id.
 */
#define LONGEST_SOCKET "/vm/0123456789ab/vsock.sock"
#define SOCKET_MAX     (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

void path_environment_read(struct path_environment *ret)
{
	/* NOLINTBEGIN(concurrency-mt-unsafe): read once, before there are threads */
	*ret = (struct path_environment){
		.uid = geteuid(),
		.home = getenv("HOME"),
		.xdg_config_home = getenv("XDG_CONFIG_HOME"),
		.xdg_state_home = getenv("XDG_STATE_HOME"),
		.xdg_cache_home = getenv("XDG_CACHE_HOME"),
		.xdg_runtime_dir = getenv("XDG_RUNTIME_DIR"),
		.banger_config_dir = getenv("BANGER_CONFIG_DIR"),
		.banger_state_dir = getenv("BANGER_STATE_DIR"),
		.banger_cache_dir = getenv("BANGER_CACHE_DIR"),
		.banger_runtime_dir = getenv("BANGER_RUNTIME_DIR"),
		.run_dir = "/run",
	};
	/* NOLINTEND(concurrency-mt-unsafe) */
}

/* An absolute path without slashes at its end, or ERR_INVALID naming the variable. */
static int absolute(const char *variable, const char *value, char **ret, struct err *err)
{
	size_t len;

	if (value[0] != '/')
		return err_set(err, ERR_INVALID, "%s is '%s': it must be an absolute path",
			       variable, value);

	len = strlen(value);
	while (len > 1 && value[len - 1] == '/')
		len--;
	*ret = mem_strndup(value, len);
	return 0;
}

static int want_folder(const char *variable, const char *path, uid_t uid, struct err *err)
{
	struct stat status;

	if (stat(path, &status) < 0)
		return err_sys(err, -errno, "look at %s '%s'", variable, path);
	if (!S_ISDIR(status.st_mode))
		return err_set(err, ERR_INVALID, "%s '%s' is not a folder", variable, path);
	if (status.st_uid != uid)
		return err_set(err, ERR_INVALID, "%s '%s' belongs to user %u, not to you (%u)",
			       variable, path, status.st_uid, uid);
	return 0;
}

/* HOME as far as it can be used; the error is kept for whoever needs it. */
static int read_home(const struct path_environment *env, char **ret, struct err *err)
{
	AUTO_FREE char *home = NULL;
	int r;

	if (str_empty(env->home))
		return err_set(err, ERR_INVALID, "HOME is not set");

	r = absolute("HOME", env->home, &home, err);
	if (r < 0)
		return r;
	r = want_folder("HOME", home, env->uid, err);
	if (r < 0)
		return r;

	*ret = TAKE_PTR(home);
	return 0;
}

/*
 * Whether the folder is ours, or can be made where only we or root could have put something: the
 * nearest part that exists must be ours or root's. `allow_root` accepts root's folder itself.
 */
static int check_place(const char *what, const char *path, uid_t uid, bool allow_root,
		       struct err *err)
{
	AUTO_FREE char *at = mem_strdup(path);
	bool is_itself = true;
	struct stat status;

	while (stat(at, &status) < 0) {
		char *slash = strrchr(at, '/');

		if (errno != ENOENT)
			return err_sys(err, -errno, "look at the %s folder '%s'", what, path);
		if (slash == at)
			slash++;
		*slash = '\0';
		is_itself = false;
	}

	if (!S_ISDIR(status.st_mode))
		return err_set(err, ERR_INVALID,
			       "the %s folder '%s' cannot be: '%s' is not a folder", what, path,
			       at);
	if (status.st_uid == uid || (status.st_uid == 0 && (allow_root || !is_itself)))
		return 0;
	return err_set(
		err, ERR_INVALID,
		"the %s folder '%s' cannot be used: '%s' belongs to user %u, not to you (%u)", what,
		path, at, status.st_uid, uid);
}

/* One of the folders that XDG names: BANGER_X_DIR, else XDG_X_HOME/banger, else
 * HOME/fallback/banger. */
struct folder {
	const char *what;
	const char *own_variable;
	const char *own_value;
	const char *xdg_variable;
	const char *xdg_value;
	const char *fallback;
	bool allow_root;
};

static int resolve_folder(const struct folder *folder, const char *home, const struct err *home_err,
			  uid_t uid, char **ret, struct err *err)
{
	AUTO_FREE char *base = NULL;
	AUTO_FREE char *path = NULL;
	int r = 0;

	if (!str_empty(folder->own_value)) {
		r = absolute(folder->own_variable, folder->own_value, &path, err);
	} else if (!str_empty(folder->xdg_value)) {
		r = absolute(folder->xdg_variable, folder->xdg_value, &base, err);
		if (r == 0)
			path = mem_printf("%s/banger", base);
	} else if (home) {
		path = mem_printf("%s/%s/banger", home, folder->fallback);
	} else {
		*err = *home_err;
		r = err_context(err, home_err->errnum ? -home_err->errnum : -EINVAL,
				"find the %s folder", folder->what);
	}
	if (r < 0)
		return r;

	r = check_place(folder->what, path, uid, folder->allow_root, err);
	if (r < 0)
		return r;

	*ret = TAKE_PTR(path);
	return 0;
}

static bool is_own_folder(const char *path, uid_t uid)
{
	struct stat status;

	return stat(path, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == uid;
}

static int resolve_runtime(const struct path_environment *env, const char *state_dir, char **ret,
			   struct err *err)
{
	AUTO_FREE char *base = NULL;
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *user = mem_printf("%s/user/%u", env->run_dir, env->uid);
	int r;

	if (!str_empty(env->banger_runtime_dir)) {
		r = absolute("BANGER_RUNTIME_DIR", env->banger_runtime_dir, &path, err);
		if (r < 0)
			return r;
	} else if (!str_empty(env->xdg_runtime_dir)) {
		r = absolute("XDG_RUNTIME_DIR", env->xdg_runtime_dir, &base, err);
		if (r == 0)
			r = want_folder("XDG_RUNTIME_DIR", base, env->uid, err);
		if (r < 0)
			return r;
		path = mem_printf("%s/banger", base);
	} else if (is_own_folder(user, env->uid)) {
		path = mem_printf("%s/banger", user);
	} else if (env->uid == 0 && is_own_folder(env->run_dir, 0)) {
		path = mem_printf("%s/banger", env->run_dir);
	} else {
		path = mem_printf("%s/run", state_dir);
	}

	r = check_place("runtime", path, env->uid, false, err);
	if (r < 0)
		return r;
	if (strlen(path) + strlen(LONGEST_SOCKET) > SOCKET_MAX) {
		r = err_set(err, ERR_LIMIT,
			    "the runtime folder '%.200s' has %zu characters: sockets in it need at "
			    "most %zu",
			    path, strlen(path), SOCKET_MAX - strlen(LONGEST_SOCKET));
		err_hint(err, "set BANGER_RUNTIME_DIR to a shorter path");
		return r;
	}

	*ret = TAKE_PTR(path);
	return 0;
}

static void give_away(struct paths *from, struct paths *to)
{
	*to = *from;
	*from = (struct paths){ .home = NULL };
}

int paths_resolve(const struct path_environment *env, struct paths *ret, struct err *err)
{
	const struct folder config = { "configuration",
				       "BANGER_CONFIG_DIR",
				       env->banger_config_dir,
				       "XDG_CONFIG_HOME",
				       env->xdg_config_home,
				       ".config",
				       true };
	const struct folder state = { "state",
				      "BANGER_STATE_DIR",
				      env->banger_state_dir,
				      "XDG_STATE_HOME",
				      env->xdg_state_home,
				      ".local/state",
				      false };
	const struct folder cache = { "cache",
				      "BANGER_CACHE_DIR",
				      env->banger_cache_dir,
				      "XDG_CACHE_HOME",
				      env->xdg_cache_home,
				      ".cache",
				      false };
	struct err home_err = ERR_INIT;
	AUTO_PATHS paths = { .home = NULL };
	int r;

	/* Its error only counts once a folder has nothing but HOME to go by. */
	(void)!read_home(env, &paths.home, &home_err);

	r = resolve_folder(&config, paths.home, &home_err, env->uid, &paths.config_dir, err);
	if (r == 0)
		r = resolve_folder(&state, paths.home, &home_err, env->uid, &paths.state_dir, err);
	if (r == 0)
		r = resolve_folder(&cache, paths.home, &home_err, env->uid, &paths.cache_dir, err);
	if (r == 0)
		r = resolve_runtime(env, paths.state_dir, &paths.runtime_dir, err);
	if (r < 0)
		return r;

	paths.config_file = mem_printf("%s/config.toml", paths.config_dir);
	paths.socket = mem_printf("%s/bangerd.sock", paths.runtime_dir);
	paths.lock = mem_printf("%s/bangerd.lock", paths.runtime_dir);
	paths.database = mem_printf("%s/state.db", paths.state_dir);
	paths.reserve = mem_printf("%s/reserve", paths.state_dir);
	paths.log = mem_printf("%s/bangerd.log", paths.state_dir);

	give_away(&paths, ret);
	return 0;
}

static int make_folder(const char *what, const char *path, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct stat status;
	int r;

	r = dir_make_path(path, 0700);
	if (r < 0)
		return err_sys(err, r, "make the %s folder '%s'", what, path);

	fd = dir_open(path);
	if (fd < 0)
		return err_sys(err, fd, "open the %s folder '%s'", what, path);
	if (fstat(fd, &status) < 0)
		return err_sys(err, -errno, "look at the %s folder '%s'", what, path);
	if (status.st_uid != geteuid())
		return err_set(err, ERR_INVALID,
			       "the %s folder '%s' belongs to user %u, not to you (%u)", what, path,
			       status.st_uid, geteuid());
	if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		r = err_set(err, ERR_INVALID, "others may write the %s folder '%s' (mode %04o)",
			    what, path, status.st_mode & 07777U);
		err_hint(err, "chmod go-w '%s', or 'banger doctor --fix'", path);
		return r;
	}
	return 0;
}

int paths_make(const struct paths *paths, struct err *err)
{
	int r;

	r = make_folder("state", paths->state_dir, err);
	if (r == 0)
		r = make_folder("cache", paths->cache_dir, err);
	if (r == 0)
		r = make_folder("runtime", paths->runtime_dir, err);
	return r;
}

char *paths_expand(const struct paths *paths, const char *path, struct err *err)
{
	if (!str_starts(path, "~/"))
		return mem_strdup(path);
	if (!paths->home) {
		(void)err_set(err, ERR_INVALID, "'%s' lies in a HOME that is not set or not yours",
			      path);
		return NULL;
	}
	return mem_printf("%s/%s", paths->home, path + 2);
}

void paths_done(struct paths *paths)
{
	if (!paths)
		return;

	mem_free(paths->home);
	mem_free(paths->config_dir);
	mem_free(paths->config_file);
	mem_free(paths->state_dir);
	mem_free(paths->cache_dir);
	mem_free(paths->runtime_dir);
	mem_free(paths->socket);
	mem_free(paths->lock);
	mem_free(paths->database);
	mem_free(paths->reserve);
	mem_free(paths->log);
	*paths = (struct paths){ .home = NULL };
}
