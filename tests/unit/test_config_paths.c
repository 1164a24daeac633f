/* Where things are kept: variables, fallbacks, and folders that must not be used. */
#include "check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "config/paths.h"

static char folder[] = "/tmp/banger-test-paths-XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	return dir_remove_tree(AT_FDCWD, folder);
}

static char *below(const char *name)
{
	return mem_printf("%s/%s", folder, name);
}

static char *make(const char *name, mode_t mode)
{
	char *path = below(name);

	CHECK_INT(dir_make_path(path, 0700), 0);
	CHECK_INT(chmod(path, mode), 0);
	return path;
}

static void test_home(void **state)
{
	AUTO_FREE char *home = make("home", 0755);
	AUTO_FREE char *home_slash = mem_printf("%s//", home);
	AUTO_FREE char *wanted = mem_printf("%s/.local/state/banger", home);
	AUTO_FREE char *wanted_run = mem_printf("%s/run", wanted);
	AUTO_FREE char *key = NULL;
	const struct path_environment env = {
		.uid = geteuid(), .home = home_slash, .xdg_state_home = "", .run_dir = "/nowhere"
	};
	struct err err = ERR_INIT;
	struct stat status;
	AUTO_PATHS paths = { .home = NULL };

	(void)state;
	if (paths_resolve(&env, &paths, &err) < 0)
		fail_msg("%s", err.message);
	CHECK_STR(paths.home, home);
	CHECK_STR(paths.state_dir, wanted);
	CHECK_STR(paths.runtime_dir, wanted_run);
	assert_true(str_ends(paths.config_file, "/home/.config/banger/config.toml"));
	assert_true(str_ends(paths.cache_dir, "/home/.cache/banger"));
	assert_true(str_ends(paths.database, "/banger/state.db"));
	assert_true(str_ends(paths.socket, "/banger/run/bangerd.sock"));
	assert_int_equal(stat(paths.state_dir, &status), -1);

	CHECK_INT(paths_make(&paths, &err), 0);
	CHECK_INT(paths_make(&paths, &err), 0);
	CHECK_INT(stat(paths.state_dir, &status), 0);
	CHECK_INT(status.st_mode & 0777, 0700);
	CHECK_INT(stat(paths.runtime_dir, &status), 0);
	assert_int_equal(stat(paths.config_dir, &status), -1);

	key = paths_expand(&paths, "~/.ssh/id", &err);
	assert_true(str_ends(key, "/home/.ssh/id") && str_starts(key, "/tmp/"));
}

static void test_variables(void **state)
{
	AUTO_FREE char *xdg = make("xdg", 0700);
	AUTO_FREE char *own = make("own", 0700);
	AUTO_FREE char *wanted = mem_printf("%s/banger", xdg);
	struct path_environment env = {
		.uid = geteuid(),
		.run_dir = "/nowhere",
		.xdg_config_home = xdg,
		.xdg_state_home = xdg,
		.xdg_cache_home = xdg,
		.xdg_runtime_dir = xdg,
	};
	struct err err = ERR_INIT;
	AUTO_PATHS from_xdg = { .home = NULL };
	AUTO_PATHS from_own = { .home = NULL };

	(void)state;
	/* HOME is not needed when nothing depends on it. */
	CHECK_INT(paths_resolve(&env, &from_xdg, &err), 0);
	CHECK_STR(from_xdg.config_dir, wanted);
	CHECK_STR(from_xdg.state_dir, wanted);
	CHECK_STR(from_xdg.cache_dir, wanted);
	CHECK_STR(from_xdg.runtime_dir, wanted);
	assert_null(from_xdg.home);
	assert_null(paths_expand(&from_xdg, "~/x", &err));
	CHECK_HAS(err.message, "'~/x' lies in a HOME that is not set");

	env.banger_config_dir = own;
	env.banger_state_dir = own;
	env.banger_cache_dir = own;
	env.banger_runtime_dir = own;
	CHECK_INT(paths_resolve(&env, &from_own, &err), 0);
	CHECK_STR(from_own.config_dir, own);
	CHECK_STR(from_own.state_dir, own);
	CHECK_STR(from_own.cache_dir, own);
	CHECK_STR(from_own.runtime_dir, own);
}

static void test_runtime(void **state)
{
	AUTO_FREE char *home = make("home2", 0700);
	AUTO_FREE char *run = make("run", 0755);
	AUTO_FREE char *user = mem_printf("%s/user/%u", run, geteuid());
	AUTO_FREE char *wanted_user = mem_printf("%s/banger", user);
	AUTO_FREE char *wanted_root = mem_printf("%s/banger", run);
	AUTO_FREE char *wanted_state = mem_printf("%s/.local/state/banger/run", home);
	const struct path_environment env = { .uid = geteuid(), .home = home, .run_dir = run };
	struct err err = ERR_INIT;
	AUTO_PATHS without = { .home = NULL };
	AUTO_PATHS with = { .home = NULL };

	(void)state;
	CHECK_INT(paths_resolve(&env, &without, &err), 0);
	CHECK_STR(without.runtime_dir, geteuid() == 0 ? wanted_root : wanted_state);
	CHECK_INT(dir_make_path(user, 0700), 0);
	CHECK_INT(paths_resolve(&env, &with, &err), 0);
	CHECK_STR(with.runtime_dir, wanted_user);
}

/* One row a mistake; `other` is a uid that is not ours. */
static void test_refusals(void **state)
{
	AUTO_FREE char *good = make("good", 0700);
	AUTO_FREE char *file = below("file");
	AUTO_FREE char *nowhere = below("nowhere");
	AUTO_FREE char *in_file = below("file/x");
	const uid_t me = geteuid(), other = me + 7;
	const struct {
		struct path_environment env;
		enum err_kind kind;
		const char *message;
	} rows[] = {
		{ { .uid = me }, ERR_INVALID, "find the configuration folder: HOME is not set" },
		{ { .uid = me, .home = "" }, ERR_INVALID, "HOME is not set" },
		{ { .uid = me, .home = "home" },
		  ERR_INVALID,
		  "HOME is 'home': it must be an absolute path" },
		{ { .uid = me, .home = nowhere }, ERR_SYSTEM, "look at HOME '" },
		{ { .uid = me, .home = file }, ERR_INVALID, "/file' is not a folder" },
		{ { .uid = other, .home = good }, ERR_INVALID, "/good' belongs to user " },
		{ { .uid = me, .home = good, .xdg_state_home = "state" },
		  ERR_INVALID,
		  "XDG_STATE_HOME is 'state': it must be an absolute path" },
		{ { .uid = me, .home = good, .banger_cache_dir = "./c" },
		  ERR_INVALID,
		  "BANGER_CACHE_DIR is './c': it must be an absolute path" },
		{ { .uid = me, .home = good, .banger_state_dir = file },
		  ERR_INVALID,
		  "the state folder '" },
		{ { .uid = me, .home = good, .banger_state_dir = in_file },
		  ERR_SYSTEM,
		  "Not a directory" },
		{ { .uid = me, .home = good, .xdg_runtime_dir = "run" },
		  ERR_INVALID,
		  "XDG_RUNTIME_DIR is 'run': it must be an absolute path" },
		{ { .uid = me, .home = good, .xdg_runtime_dir = nowhere },
		  ERR_SYSTEM,
		  "look at XDG_RUNTIME_DIR '" },
	};

	(void)state;
	CHECK_INT(close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct path_environment env = rows[i].env;
		struct paths paths = { .state_dir = NULL };
		struct err err = ERR_INIT;

		env.run_dir = "/nowhere";
		CHECK_ROW(i, paths_resolve(&env, &paths, &err) < 0);
		CHECK_INT(err.kind, rows[i].kind);
		CHECK_HAS(err.message, rows[i].message);
		CHECK_ROW(i, paths.state_dir == NULL && !strchr(err.message, '\n'));
	}
}

static void test_foreign_runtime(void **state)
{
	AUTO_FREE char *mine = make("mine", 0700);
	AUTO_FREE char *deep = below("mine/not/yet");
	/* Seen by another user, everything that is ours here is foreign. */
	const struct path_environment env = {
		.uid = geteuid() + 7,
		.run_dir = "/nowhere",
		.xdg_runtime_dir = mine,
		.banger_config_dir = "/",
		.banger_state_dir = "/nowhere/a",
		.banger_cache_dir = "/nowhere/b",
	};
	const struct path_environment nested = {
		.uid = geteuid() + 7,
		.run_dir = "/nowhere",
		.banger_runtime_dir = deep,
		.banger_config_dir = "/",
		.banger_state_dir = "/nowhere/a",
		.banger_cache_dir = "/nowhere/b",
	};
	struct paths paths = { .home = NULL };
	struct err err = ERR_INIT;

	(void)state;
	assert_true(paths_resolve(&env, &paths, &err) < 0);
	CHECK_HAS(err.message, "XDG_RUNTIME_DIR '");
	CHECK_HAS(err.message, "/mine' belongs to user ");
	if (geteuid() == 0)
		return; /* root's folder may be built below by its owner alone: no row to see */
	assert_true(paths_resolve(&nested, &paths, &err) < 0);
	CHECK_HAS(err.message, "the runtime folder '");
	CHECK_HAS(err.message, "' belongs to user ");
}

static void test_length(void **state)
{
	AUTO_FREE char *good = make("len", 0700);
	char path[128];
	struct path_environment env = {
		.uid = geteuid(), .home = good, .run_dir = "/nowhere", .banger_runtime_dir = path
	};
	const size_t base = strlen(good);
	struct err err = ERR_INIT;
	AUTO_PATHS paths = { .home = NULL };

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/", good);
	memset(path + base + 1, 'x', sizeof(path) - base - 1);
	path[80] = '\0';
	CHECK_INT(paths_resolve(&env, &paths, &err), 0);
	CHECK_INT(strlen(paths.runtime_dir), 80);

	path[80] = 'x';
	path[81] = '\0';
	assert_true(paths_resolve(&env, &paths, &err) < 0);
	CHECK_INT(err.kind, ERR_LIMIT);
	CHECK_HAS(err.message, "has 81 characters: sockets in it need at most 80");
	CHECK_HAS(err.hint, "BANGER_RUNTIME_DIR");
}

static void test_make_refusals(void **state)
{
	AUTO_FREE char *open_folder = make("open", 0777);
	AUTO_FREE char *home = make("home3", 0700);
	const struct path_environment env = { .uid = geteuid(),
					      .home = home,
					      .run_dir = "/nowhere",
					      .banger_state_dir = open_folder };
	struct err err = ERR_INIT;
	AUTO_PATHS paths = { .home = NULL };

	(void)state;
	CHECK_INT(paths_resolve(&env, &paths, &err), 0);
	assert_true(paths_make(&paths, &err) < 0);
	CHECK_INT(err.kind, ERR_INVALID);
	CHECK_HAS(err.message, "others may write the state folder '");
	CHECK_HAS(err.hint, "chmod go-w");
}

static void test_environment(void **state)
{
	struct path_environment env;

	(void)state;
	assert_int_equal(setenv("BANGER_STATE_DIR", "/some/where", 1), 0);
	path_environment_read(&env);
	CHECK_STR(env.banger_state_dir, "/some/where");
	CHECK_INT(env.uid, geteuid());
	CHECK_STR(env.run_dir, "/run");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_home),
		cmocka_unit_test(test_variables),
		cmocka_unit_test(test_runtime),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_foreign_runtime),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_make_refusals),
		cmocka_unit_test(test_environment),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
