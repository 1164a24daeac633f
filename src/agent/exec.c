#include "agent/exec.h"

#include <string.h>

#include "agent/mise.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "wire/args.h"

#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define ROWS_DEFAULT 24
#define COLS_DEFAULT 80

/* The first of `env` from `from` on that sets `name`, which may be followed by '='; NULL if none.
 */
static const char *env_find(const struct strv *env, size_t from, const char *name)
{
	const size_t len = strcspn(name, "=");

	for (size_t i = from; i < env->count; i++) {
		if (strncmp(env->items[i], name, len) == 0 && env->items[i][len] == '=')
			return env->items[i];
	}
	return NULL;
}

void exec_build_env(const struct user *user, const struct strv *given, bool has_tty,
		    struct strv *ret)
{
	const struct {
		const char *name;
		const char *value;
	} defaults[] = {
		{ "PATH", PATH_DEFAULT },  { "HOME", user->home },   { "USER", user->name },
		{ "LOGNAME", user->name }, { "SHELL", user->shell }, { "LANG", "C.UTF-8" },
		{ "TERM", "xterm" },
	};

	/* Of a name that is given twice the last counts; programs that see both take either. */
	for (size_t i = 0; i < given->count; i++) {
		if (!env_find(given, i + 1, given->items[i]))
			strv_add(ret, given->items[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(defaults); i++) {
		if (str_eq(defaults[i].name, "TERM") && !has_tty)
			continue;
		if (!env_find(given, 0, defaults[i].name))
			strv_addf(ret, "%s=%s", defaults[i].name, defaults[i].value);
	}
}

/* Takes frames up to START. No argument at all asks for the user's login shell. */
static int read_args(struct conn *conn, struct wire_reader *reader, struct wire_args *args,
		     struct err *err)
{
	while (!args->is_complete) {
		struct wire_frame frame;
		int r = conn_read_frame(conn, reader, &frame, err);

		if (r < 0)
			return r;
		if (r == 0)
			return err_set(err, ERR_PROTOCOL, "the stream ended before START");
		if (frame.type == WIRE_START && args->argv.count == 0 && args->part.len == 0)
			return 0;
		r = wire_args_take(args, &frame, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static struct wire_winsize window_of(const struct request *request)
{
	return (struct wire_winsize){
		.rows = request->rows ? (uint16_t)request->rows : ROWS_DEFAULT,
		.cols = request->cols ? (uint16_t)request->cols : COLS_DEFAULT,
	};
}

/* "-bash" for "/bin/bash": how a shell knows that it is a login shell. */
static char *login_name(const char *shell)
{
	const char *slash = strrchr(shell, '/');

	return mem_printf("-%s", slash ? slash + 1 : shell);
}

static int start(const struct request *request, struct wire_args *args, struct user *user,
		 struct exec_process *ret, struct err *err)
{
	AUTO_STRV env = { .items = NULL };
	const bool is_login = args->argv.count == 0;

	if (is_login)
		strv_take(&args->argv, login_name(user->shell));
	exec_build_env(user, &args->env, request->has_tty, &env);
	if (request->has_mise && !is_login)
		mise_wrap(request->cwd ? request->cwd : user->home, user->home, &args->argv, &env);

	const struct exec_command command = {
		.user = user,
		.cwd = request->cwd,
		.program = is_login ? user->shell : args->argv.items[0],
		.argv = strv_argv(&args->argv),
		.env = strv_argv(&env),
		.bytes = args->bytes,
		.has_tty = request->has_tty,
		.size = window_of(request),
	};

	return exec_spawn(&command, ret, err);
}

static int serve_with(struct conn *conn, const struct request *request, struct wire_args *args,
		      struct user *user, struct err *err)
{
	/* A frame large; this process serves one request and ends. */
	static struct wire_reader reader;
	CLEANUP(exec_process_done) struct exec_process process = EXEC_PROCESS_INIT;
	json_t *answer;
	int r;

	conn_begin_frames(conn, &reader);
	r = read_args(conn, &reader, args, err);
	if (r < 0)
		return r;
	r = user_find(request->user ? request->user : "root", user, err);
	if (r < 0)
		return r;
	r = start(request, args, user, &process, err);
	if (r < 0)
		return r;

	answer = json_new_object();
	json_put_u64(answer, "pid", (uint64_t)process.pid);
	r = conn_reply(conn, answer, err);
	if (r < 0) {
		exec_hang_up(&process);
		return r;
	}
	return exec_run(conn, &reader, &process, request->has_tty, err);
}

int exec_serve(struct conn *conn, const struct request *request, struct err *err)
{
	struct wire_args args;
	struct user user = { .name = NULL };
	int r;

	wire_args_init(&args);
	r = serve_with(conn, request, &args, &user, err);
	user_done(&user);
	wire_args_done(&args);
	return r;
}
