#include "workspace/git_open.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"

#define ERRORS_SHOWN 300
#define WORDS_MAX    64 /* of one call */

/* Settings that name programs, reach out, or write on the side. */
static const char *const overrides[][2] = {
	{ "core.fsmonitor", "false" },
	{ "core.untrackedCache", "false" },
	{ "core.hooksPath", "/dev/null" },
	{ "core.sshCommand", "false" },
	{ "core.gitProxy", "none" },
	{ "core.askPass", "" },
	{ "core.editor", "false" },
	{ "core.pager", "cat" },
	{ "core.alternateRefsCommand", "false" },
	{ "core.quotePath", "false" },
	{ "core.splitIndex", "false" },
	{ "credential.helper", "" },
	{ "diff.external", "" },
	{ "diff.ignoreSubmodules", "none" },
	{ "gc.auto", "0" },
	{ "gpg.program", "false" },
	{ "interactive.diffFilter", "" },
	{ "log.showSignature", "false" },
	{ "maintenance.auto", "false" },
	{ "protocol.allow", "never" },
	{ "safe.bareRepository", "explicit" },
	{ "submodule.recurse", "false" },
	{ "trace2.normalTarget", "" },
	{ "trace2.eventTarget", "" },
	{ "trace2.perfTarget", "" },
};

/* What a filter's programs are called. */
static const char *const filter_keys[][2] = {
	{ "clean", "" },
	{ "smudge", "" },
	{ "process", "" },
	{ "required", "false" },
};

/* As environment: a filter's name may have a '=', which "-c" would take for the end of the key. */
static void add_setting(struct strv *env, size_t *count, const char *key, const char *value)
{
	strv_addf(env, "GIT_CONFIG_KEY_%zu=%s", *count, key);
	strv_addf(env, "GIT_CONFIG_VALUE_%zu=%s", *count, value);
	(*count)++;
}

static void add_settings(const struct git *git, bool is_trusted, struct strv *env)
{
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_LEN(overrides); i++)
		add_setting(env, &count, overrides[i][0], overrides[i][1]);
	for (size_t i = 0; git && i < git->filters.count; i++) {
		for (size_t k = 0; k < ARRAY_LEN(filter_keys); k++) {
			AUTO_FREE char *key = mem_printf("filter.%s.%s", git->filters.items[i],
							 filter_keys[k][0]);

			add_setting(env, &count, key, filter_keys[k][1]);
		}
	}
	/* git_open() has asked whose it is, with the user's own list of exceptions. */
	if (is_trusted)
		add_setting(env, &count, "safe.directory", "*");
	strv_addf(env, "GIT_CONFIG_COUNT=%zu", count);
}

static void pass_variable(struct strv *env, const char *name)
{
	const char *value = getenv(name); // NOLINT(concurrency-mt-unsafe): nobody calls setenv()

	if (value)
		strv_addf(env, "%s=%s", name, value);
}

static void add_environment(const struct git *git, bool is_trusted, bool reads_user_config,
			    struct strv *env)
{
	static const char *const fixed[] = {
		"LC_ALL=C",
		"GIT_NO_LAZY_FETCH=1",
		"GIT_ALLOW_PROTOCOL=none",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_OPTIONAL_LOCKS=0",
		"GIT_NO_REPLACE_OBJECTS=1",
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_LITERAL_PATHSPECS=1",
		"GIT_PAGER=cat",
		"GIT_EDITOR=false",
		"GIT_ASKPASS=false",
	};

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		strv_add(env, fixed[i]);
	pass_variable(env, "PATH");
	if (reads_user_config) {
		pass_variable(env, "HOME");
		pass_variable(env, "XDG_CONFIG_HOME");
		pass_variable(env, "GIT_CONFIG_GLOBAL");
		pass_variable(env, "GIT_CONFIG_SYSTEM");
		pass_variable(env, "GIT_CONFIG_NOSYSTEM");
		/* git lets root work for whom sudo was called by. */
		pass_variable(env, "SUDO_UID");
	} else {
		strv_add(env, "HOME=/dev/null");
		strv_add(env, "GIT_CONFIG_NOSYSTEM=1");
		strv_add(env, "GIT_CONFIG_GLOBAL=/dev/null");
	}
	add_settings(git, is_trusted, env);
}

/* `root` alone is a folder in which git looks for its repository by itself. */
static void add_words(const struct git *git, const char *const *args, struct strv *words)
{
	strv_add(words, "git");
	strv_add(words, "-C");
	strv_add(words, git->root);
	if (git->dir) {
		strv_addf(words, "--git-dir=%s", git->dir);
		strv_addf(words, "--work-tree=%s", git->root);
	}
	for (size_t i = 0; i < WORDS_MAX && args[i]; i++)
		strv_add(words, args[i]);
}

static int open_input(struct span input, int *ret, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r = 0;

	fd = memfd_create("git-input", MFD_CLOEXEC);
	if (fd < 0)
		r = -errno;
	if (r == 0)
		r = fd_write_all(fd, input);
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	if (r < 0)
		return err_sys(err, r, "keep what git is to read");
	*ret = TAKE_FD(fd);
	return 0;
}

/* Names the failed call by git's command, not by the programs that it consists of. */
static int explain(const struct git_call *call, int r, struct err *err)
{
	if (cancel_is_fired(call->cancel))
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (err->errnum == ENOENT) {
		r = err_set(err, ERR_UNSUPPORTED, "git is not installed");
		err_hint(err, "'vm run PATH' and 'vm workspace' need it on this host: apt-get "
			      "install git");
		return r;
	}
	return err_context(err, r, "git %s", call->args[0]);
}

static int run(const struct git *git, bool is_trusted, const struct git_call *call, struct buf *ret,
	       struct err *err)
{
	AUTO_STRV words = { 0 };
	AUTO_STRV env = { 0 };
	AUTO_CLOSE int input_fd = -1;
	const size_t before = ret ? ret->len : 0;
	int status = 0, r = 0;
	struct spawn spawn = { .path = "git", .dies_with_parent = true, .ret_status = &status };

	add_words(git, call->args, &words);
	add_environment(git, is_trusted, call->reads_user_config, &env);
	spawn.argv = strv_argv(&words);
	spawn.envp = strv_argv(&env);
	if (call->input.len > 0)
		r = open_input(call->input, &input_fd, err);
	if (r < 0)
		return r;
	if (input_fd >= 0)
		spawn_add_fd(&spawn, input_fd, STDIN_FILENO);
	r = spawn_run(&spawn, call->cancel, call->timeout_ms ? call->timeout_ms : GIT_TIMEOUT_MS,
		      call->output_max ? call->output_max : GIT_OUTPUT_MAX, ret, err);
	if (r == 0)
		return 0;
	if (call->may_say_no && WIFEXITED(status) && WEXITSTATUS(status) == 1) {
		*err = ERR_INIT;
		if (ret)
			buf_truncate(ret, before);
		return 0;
	}
	return explain(call, r, err);
}

int git_run(const struct git *git, const struct git_call *call, struct buf *ret, struct err *err)
{
	return run(git, true, call, ret, err);
}

int git_version(const struct cancel *cancel, struct buf *ret, struct err *err)
{
	static const char *const args[] = { "version", NULL };
	const struct git_call call = { .args = args, .cancel = cancel };
	AUTO_GIT nowhere = { .root = mem_strdup("/") };
	int r;

	r = run(&nowhere, false, &call, ret, err);
	if (r == 0 && ret->len > 0 && ret->ptr[ret->len - 1] == '\n')
		buf_truncate(ret, ret->len - 1);
	return r;
}

static int line_of(struct buf *text, char **ret)
{
	if (text->len > 0 && text->ptr[text->len - 1] == '\n')
		buf_truncate(text, text->len - 1);
	*ret = text->len > 0 && strlen(text->ptr) == text->len ? buf_detach(text) : NULL;
	return 0;
}

int git_line(const struct git *git, const struct git_call *call, char **ret, struct err *err)
{
	AUTO_BUF text = BUF_INIT;
	const int r = run(git, true, call, &text, err);

	return r < 0 ? r : line_of(&text, ret);
}

/* --- streams --- */

int git_start(const struct git *git, const struct git_call *call, struct git_stream *ret,
	      struct err *err)
{
	AUTO_GIT_STREAM stream = GIT_STREAM_INIT;
	AUTO_STRV words = { 0 };
	AUTO_STRV env = { 0 };
	AUTO_CLOSE int input_fd = -1;
	AUTO_CLOSE int write_fd = -1;
	struct spawn spawn = { .path = "git", .dies_with_parent = true };
	int ends[2], r;

	r = fd_pipe(ends);
	if (r < 0)
		return err_sys(err, r, "start git");
	stream.out_fd = ends[0];
	write_fd = ends[1];
	r = open_input(call->input, &input_fd, err);
	if (r == 0)
		r = open_input(span_of("", 0), &stream.errors_fd, err);
	if (r < 0)
		return r;
	add_words(git, call->args, &words);
	add_environment(git, true, call->reads_user_config, &env);
	spawn.argv = strv_argv(&words);
	spawn.envp = strv_argv(&env);
	spawn_add_fd(&spawn, input_fd, STDIN_FILENO);
	spawn_add_fd(&spawn, write_fd, STDOUT_FILENO);
	spawn_add_fd(&spawn, stream.errors_fd, STDERR_FILENO);
	r = spawn_start(&spawn, &stream.process, err);
	if (r < 0)
		return explain(call, r, err);
	*ret = stream;
	// NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): its cleanup reads it
	stream = GIT_STREAM_INIT;
	return 0;
}

static int stream_failed(struct git_stream *stream, int status, struct err *err)
{
	AUTO_BUF said = BUF_INIT;
	uint8_t text[ERRORS_SHOWN];
	ssize_t n;

	n = pread(stream->errors_fd, text, sizeof(text), 0);
	while (n > 0 && text[n - 1] == '\n')
		n--;
	text_escape(&said, span_of(text, n > 0 ? (size_t)n : 0), ERRORS_SHOWN);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE)
		return err_sys(err, -EPIPE, "read what git prints");
	return err_set(err, ERR_SYSTEM, "git ended with status %d%s%s",
		       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
		       said.len ? ": " : "", said.ptr);
}

int git_end(struct git_stream *stream, const struct cancel *cancel, struct err *err)
{
	const uint64_t deadline_ns = clock_now_ns() + GIT_TIMEOUT_MS * NSEC_PER_MSEC;
	int status = 0;
	const int r = process_wait(&stream->process, cancel, deadline_ns, &status);

	if (r == -ECANCELED)
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (r < 0)
		return err_sys(err, r, "wait for git");
	return status == 0 ? 0 : stream_failed(stream, status, err);
}

void git_stream_done(struct git_stream *stream)
{
	if (!stream)
		return;
	process_kill(&stream->process);
	fd_closep(&stream->out_fd);
	fd_closep(&stream->errors_fd);
}

/* --- asking before a repository is trusted; workspace/git_open.c --- */

int git_ask(const char *folder, const struct git_call *call, char **ret, struct err *err)
{
	AUTO_FREE char *root = mem_strdup(folder);
	const struct git git = { .root = root };
	AUTO_BUF text = BUF_INIT;
	const int r = run(&git, false, call, &text, err);

	return r < 0 ? r : line_of(&text, ret);
}

bool git_is_oid(struct span text)
{
	if (text.len != GIT_OID_HEX_MAX && text.len != 40)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		const uint8_t c = text.ptr[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
			return false;
	}
	return true;
}
