/*
 * Where banger keeps things: the XDG folders and the BANGER_*_DIR variables that override each.
 * Nothing ever falls back to /tmp, nor into a folder that belongs to somebody else: such a place is
 * an error of one line that names the variable.
 */
#pragma once

#include <sys/types.h>

#include "base/err.h"
#include "base/macros.h"

/* The part of the environment that decides; strings are borrowed, NULL or "" when unset. */
struct path_environment {
	uid_t uid;
	const char *home;
	const char *xdg_config_home;
	const char *xdg_state_home;
	const char *xdg_cache_home;
	const char *xdg_runtime_dir;
	const char *banger_config_dir;
	const char *banger_state_dir;
	const char *banger_cache_dir;
	const char *banger_runtime_dir;
	const char *run_dir; /* "/run"; another in tests */
};

/* Absolute, without a trailing slash; owned. */
struct paths {
	char *home; /* NULL when nothing depends on it and it is unset or unfit */
	char *config_dir;
	char *config_file; /* config_dir/config.toml */
	char *state_dir;
	char *cache_dir;
	char *runtime_dir;
	char *socket;	/* runtime_dir/bangerd.sock */
	char *lock;	/* runtime_dir/bangerd.lock */
	char *database; /* state_dir/state.db */
	char *reserve;	/* state_dir/reserve */
	char *log;	/* state_dir/bangerd.log */
};

/* From the process's own environment and effective user. */
void path_environment_read(struct path_environment *ret);

/*
 * Decides the folders; makes nothing. HOME is only looked at when something depends on it. The
 * runtime folder without XDG_RUNTIME_DIR: /run/user/UID if that is ours, /run/banger for root, else
 * state/run. ERR_INVALID for a variable that is relative or leads to a foreign folder; ERR_LIMIT
 * when sockets in the runtime folder would not fit into a socket address.
 */
int paths_resolve(const struct path_environment *environment, struct paths *ret, struct err *err)
	MUST_CHECK;

/*
 * Makes state, cache and runtime folder (0700) where they are missing; refuses (ERR_INVALID) what
 * is no folder, is not ours or may be written by others. The configuration folder is never made.
 */
int paths_make(const struct paths *paths, struct err *err) MUST_CHECK;

/*
 * "~/x" as a path below HOME, everything else as it is; the caller owns the result. NULL with
 * ERR_INVALID when there is no HOME to put it in.
 */
char *paths_expand(const struct paths *paths, const char *path, struct err *err) MUST_CHECK;

void paths_done(struct paths *paths);
#define AUTO_PATHS CLEANUP(paths_done) struct paths
