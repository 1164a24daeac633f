/* git on the host: which repository a folder has, and that nothing named in one ever runs. */
#include "check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "workspace/git.h"

/* A folder of its own for each test, in which `sh` runs. */
struct place {
	char path[64];
};

static void place_done(struct place *place)
{
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(dir_remove_tree(AT_FDCWD, place->path), 0);
}

#define AUTO_PLACE CLEANUP(place_done) struct place

static struct place place_new(void)
{
	struct place place = { .path = "/tmp/banger-git-XXXXXX" };

	assert_non_null(mkdtemp(place.path));
	return place;
}

/* Made with git itself, under nobody's configuration. */
static void make(const struct place *place, const char *script)
{
	AUTO_STRV env = { 0 };
	AUTO_FREE char *whole = mem_printf(
		"set -e\n"
		"repo() { git init -q -b main \"$@\"; for d; do :; done; echo 1 >\"$d/file\";"
		" git -C \"$d\" add file; git -C \"$d\" commit -q -m one; }\n"
		"%s",
		script);
	char *const argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, whole, NULL };
	struct err err = ERR_INIT;
	struct spawn spawn = { .path = "sh", .argv = argv, .cwd = place->path };

	strv_addf(&env, "PATH=%s", getenv("PATH"));
	strv_add(&env, "HOME=/dev/null");
	strv_add(&env, "GIT_CONFIG_NOSYSTEM=1");
	strv_add(&env, "GIT_AUTHOR_NAME=a");
	strv_add(&env, "GIT_AUTHOR_EMAIL=a@b");
	strv_add(&env, "GIT_COMMITTER_NAME=a");
	strv_add(&env, "GIT_COMMITTER_EMAIL=a@b");
	spawn.envp = strv_argv(&env);
	if (spawn_run(&spawn, NULL, 60000, 1 << 20, NULL, &err) < 0)
		fail_msg("%s: %s", script, err.message);
}

static const struct {
	const char *script;
	const char *path; /* below the place */
	const char *root; /* NULL: refused */
	const char *message;
	enum err_kind kind;
} repositories[] = {
	{ "repo r", "r", "r", NULL, ERR_NONE },
	{ "repo r; mkdir -p r/a/b", "r/a/b", "r", NULL, ERR_NONE },
	{ "git init -q r", "r", "r", NULL, ERR_NONE },
	{ "repo r; ln -s r l", "l", "r", NULL, ERR_NONE },
	{ "repo --object-format=sha256 r", "r", "r", NULL, ERR_NONE },
	{ "repo r; git -C r worktree add -q ../w", "w", "w", NULL, ERR_NONE },
	{ "repo s; repo r; git -C r -c protocol.file.allow=always submodule --quiet add ../s m",
	  "r/m", "r/m", NULL, ERR_NONE },
	{ "mkdir d", "d", NULL, "is not in a git repository", ERR_NOT_FOUND },
	{ ":", "nothing", NULL, "there is no folder '", ERR_NOT_FOUND },
	{ "repo r", "r/file", NULL, "is no folder", ERR_INVALID },
	{ "git init -q --bare r", "r", NULL, "is a bare repository", ERR_INVALID },
	{ "repo r; git -C r config core.bare true", "r", NULL, "is a bare repository",
	  ERR_INVALID },
	{ "repo r; git init -q --bare r/b; mkdir r/b/x", "r/b/x", "r", NULL, ERR_NONE },
	{ "mkdir r; mkdir r/.git", "r", NULL, "is no repository that git can use", ERR_SYSTEM },
	{ "repo victim; mkdir r; echo gitdir: ../victim/.git >r/.git", "r", NULL,
	  "does not say that this is its working tree", ERR_INVALID },
	{ "repo victim; mkdir r; ln -s ../victim/.git r/.git", "r", NULL,
	  "does not say that this is its working tree", ERR_INVALID },
	{ "repo victim; repo r; echo ../../victim/.git >r/.git/commondir", "r", NULL,
	  "does not say that this is its working tree", ERR_INVALID },
	{ "repo victim; repo r; git -C r config core.worktree ../../victim", "r", "r", NULL,
	  ERR_NONE },
	{ "repo victim; mkdir -p r/fake; echo ../../victim/.git >r/fake/commondir;"
	  " echo ref: refs/heads/main >r/fake/HEAD; realpath r >r/fake/gitdir; echo gitdir: fake "
	  ">r/.git",
	  "r", NULL, "does not say that this is its working tree", ERR_INVALID },
};

static void test_open(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(repositories); i++) {
		AUTO_PLACE place = place_new();
		AUTO_FREE char *path = mem_printf("%s/%s", place.path, repositories[i].path);
		AUTO_FREE char *root = mem_printf("%s/%s", place.path,
						  repositories[i].root ? repositories[i].root : "");
		AUTO_GIT git = GIT_INIT;
		struct err err = ERR_INIT;
		int r;

		make(&place, repositories[i].script);
		r = git_open(path, NULL, &git, &err);
		if (!repositories[i].root) {
			if (r == 0)
				fail_msg("'%s' was taken", repositories[i].script);
			CHECK_HAS(err.message, repositories[i].message);
			CHECK_INT(err.kind, repositories[i].kind);
			assert_null(git.root);
			continue;
		}
		if (r < 0)
			fail_msg("'%s': %s", repositories[i].script, err.message);
		CHECK_STR(git.root, root);
		CHECK_INT(git.is_sha256, strstr(repositories[i].script, "sha256") != NULL);
	}
}

/* Each setting names a program that makes the file "ran"; then all that we ask of git. */
static const char *const canaries[] = {
	"git -C r config core.fsmonitor \"touch $PWD/ran; false\"",
	"git -C r config core.hooksPath \"$PWD/hooks\"; mkdir hooks;"
	" for h in post-index-change pre-auto-gc reference-transaction fsmonitor-watchman; do"
	" printf '#!/bin/sh\\ntouch %s/ran\\n' \"$PWD\" >hooks/$h; chmod +x hooks/$h; done;"
	" cp hooks/* r/.git/hooks/",
	"git -C r config filter.x.clean \"touch $PWD/ran; cat\"; echo '* filter=x' "
	">r/.gitattributes;"
	" touch r/file",
	"git -C r config 'filter.a=b.c.process' \"touch $PWD/ran\"; echo '* filter=a=b.c' "
	">r/.gitattributes",
	"git -C r config filter.x.smudge \"touch $PWD/ran; cat\"; git -C r config "
	"filter.x.required true;"
	" echo '* filter=x' >r/.gitattributes; echo 2 >r/file",
	"printf '[filter \"y\"]\\n\\tclean = touch %s/ran\\n' \"$PWD\" >more;"
	" git -C r config include.path \"$PWD/more\"; echo '* filter=y' >r/.gitattributes; touch "
	"r/file",
	"git -C r config diff.external \"touch $PWD/ran\"",
	"git -C r config diff.x.textconv \"touch $PWD/ran; cat\"; echo '* diff=x' "
	">r/.gitattributes",
	"git -C r config alias.ls-files \"!touch $PWD/ran\"; git -C r config alias.rev-parse "
	"\"!touch $PWD/ran\"",
	"git -C r config core.pager \"touch $PWD/ran; cat\"; git -C r config pager.ls-files true",
	"git -C r config core.sshCommand \"touch $PWD/ran\"; git -C r config remote.o.url "
	"ssh://x/y;"
	" git -C r config remote.o.promisor true; git -C r config extensions.partialClone o;"
	" git -C r config core.repositoryFormatVersion 1",
	"git -C r config remote.o.url \"ext::touch $PWD/ran\"; git -C r config protocol.ext.allow "
	"always;"
	" git -C r config remote.o.promisor true; git -C r config extensions.partialClone o;"
	" git -C r config core.repositoryFormatVersion 1",
	"git -C r config credential.helper \"!touch $PWD/ran\"",
	"git -C r config gpg.program \"$PWD/gpg\"; printf '#!/bin/sh\\ntouch %s/ran\\n' \"$PWD\" "
	">gpg;"
	" chmod +x gpg; git -C r config log.showSignature true",
};

static const char *const questions[][8] = {
	{ "ls-files", "-z", "-t", "--stage", NULL },
	{ "ls-files", "-z", "--others", "--exclude-standard", NULL },
	{ "rev-parse", "--verify", "HEAD", NULL },
	{ "diff-tree", "-r", "-z", "--raw", "--no-renames", "HEAD", "HEAD", NULL },
	{ "diff-files", "-z", "--raw", NULL },
	{ "diff-index", "-z", "--raw", "HEAD", NULL },
	{ "status", "--porcelain=v2", "-z", NULL },
	{ "cat-file", "-e", "1234567890123456789012345678901234567890", NULL },
	{ "log", "-1", "--format=%H", NULL },
	{ "config", "--get", "remote.o.url", NULL },
	{ "rev-list", "--objects", "--no-walk", "HEAD", NULL },
};

static void test_canaries(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(canaries); i++) {
		AUTO_PLACE place = place_new();
		AUTO_FREE char *script = mem_printf("repo r; %s", canaries[i]);
		AUTO_FREE char *path = mem_printf("%s/r", place.path);
		AUTO_FREE char *ran = mem_printf("%s/ran", place.path);
		AUTO_GIT git = GIT_INIT;
		struct err err = ERR_INIT;

		make(&place, script);
		(void)unlink(ran); /* git config itself may have asked fsmonitor */
		if (git_open(path, NULL, &git, &err) < 0)
			fail_msg("%s: %s", canaries[i], err.message);
		for (size_t q = 0; q < ARRAY_LEN(questions); q++) {
			const struct git_call call = { .args = questions[q], .may_say_no = true };

			if (git_run(&git, &call, NULL, &err) < 0)
				fail_msg("%s: %s: %s", canaries[i], questions[q][0], err.message);
			if (access(ran, F_OK) == 0)
				fail_msg("'git %s' ran what '%s' has set", questions[q][0],
					 canaries[i]);
		}
	}
}

static void test_calls(void **state)
{
	static const char *const log_args[] = { "log", "-1", "--format=%s", NULL };
	static const char *const bad_args[] = { "cat-file", "-t", "nonsense", NULL };
	static const char *const in_args[] = { "hash-object", "--stdin", "--no-filters", NULL };
	const struct git_call log_call = { .args = log_args };
	const struct git_call bad_call = { .args = bad_args };
	const struct git_call limited = { .args = log_args, .output_max = 2 };
	const struct git_call in_call = { .args = in_args, .input = span_str("1\n") };
	const struct git_call stream_bad = { .args = bad_args };
	AUTO_GIT_STREAM stream = GIT_STREAM_INIT;
	AUTO_PLACE place = place_new();
	AUTO_FREE char *path = mem_printf("%s/r", place.path);
	AUTO_FREE char *subject = NULL;
	AUTO_FREE char *oid = NULL;
	struct cancel cancel = CANCEL_INIT;
	AUTO_GIT git = GIT_INIT;
	struct err err = ERR_INIT;
	uint8_t text[64];

	(void)state;
	make(&place, "repo r");
	CHECK_INT(git_open(path, NULL, &git, &err), 0);
	CHECK_INT(git_line(&git, &log_call, &subject, &err), 0);
	CHECK_STR(subject, "one");
	CHECK_INT(git_line(&git, &in_call, &oid, &err), 0);
	CHECK_STR(oid, "d00491fd7e5bb6fa28c517a0bb32b8b506539d4d");
	assert_true(git_run(&git, &bad_call, NULL, &err) < 0);
	CHECK_HAS(err.message, "git cat-file: ");
	CHECK_HAS(err.message, "nonsense");
	assert_true(git_run(&git, &limited, NULL, &err) < 0);
	CHECK_INT(err.kind, ERR_LIMIT);

	CHECK_INT(git_start(&git, &in_call, &stream, &err), 0);
	CHECK_INT(fd_read_exact(stream.out_fd, text, 41), 0);
	assert_memory_equal(text, oid, 40);
	CHECK_INT(git_end(&stream, NULL, &err), 0);
	git_stream_done(&stream);
	stream = GIT_STREAM_INIT;
	CHECK_INT(git_start(&git, &stream_bad, &stream, &err), 0);
	assert_true(git_end(&stream, NULL, &err) < 0);
	CHECK_HAS(err.message, "nonsense");

	CHECK_INT(cancel_init(&cancel), 0);
	cancel_fire(&cancel);
	const struct git_call cancelled = { .args = log_args, .cancel = &cancel };

	assert_true(git_run(&git, &cancelled, NULL, &err) < 0);
	CHECK_INT(err.kind, ERR_CANCELLED);
	cancel_done(&cancel);
}

static void test_is_oid(void **state)
{
	static const struct {
		const char *text;
		bool is_oid;
	} rows[] = {
		{ "", false },
		{ "d00491fd7e5bb6fa28c517a0bb32b8b506539d4d", true },
		{ "D00491fd7e5bb6fa28c517a0bb32b8b506539d4d", false },
		{ "d00491fd7e5bb6fa28c517a0bb32b8b506539d4", false },
		{ "d00491fd7e5bb6fa28c517a0bb32b8b506539d4dd", false },
		{ "g00491fd7e5bb6fa28c517a0bb32b8b506539d4d", false },
		{ "d00491fd7e5bb6fa28c517a0bb32b8b506539d4d000000000000000000000000", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_INT(git_is_oid(span_str(rows[i].text)), rows[i].is_oid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_canaries),
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_is_oid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
