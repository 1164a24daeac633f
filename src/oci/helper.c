/* Credential helpers: programs that docker and podman keep passwords in. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/strv.h"
#include "base/text.h"
#include "oci/credentials.h"
#include "oci/secret.h"

#define TIMEOUT_MS     30000
#define NAME_BYTES_MAX 128
#define PROGRAM	       "docker-credential-"
#define IDENTITY_USER  "<token>" /* then the secret is an identity token */

/* What helpers print, all of it, when they have nothing. */
#define NOT_FOUND "credentials not found"

static bool is_name(const char *name)
{
	static const char *const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					   "0123456789._-";
	const size_t len = strlen(name);

	return len > 0 && len <= NAME_BYTES_MAX && strspn(name, allowed) == len;
}

/* A pipe that has the server's name and then ends. It fits into any pipe. */
static int open_question(const char *server, int *ret_fd)
{
	int ends[2], r;

	r = fd_pipe(ends);
	if (r < 0)
		return r;
	r = fd_write_all(ends[1], span_str(server));
	fd_close(ends[1]);
	if (r < 0)
		fd_close(ends[0]);
	else
		*ret_fd = ends[0];
	return r;
}

static int read_answer(const char *program, const struct buf *answer, struct oci_credentials *ret,
		       struct err *err)
{
	struct err ignored = ERR_INIT; /* it may quote what is secret */
	AUTO_JSON *document = NULL;
	const char *username, *secret;

	if (json_read(buf_span(answer), &document, &ignored) < 0 || !json_is_object(document))
		return err_set(err, ERR_PROTOCOL, "'%s' did not print a JSON object", program);
	username = json_get_str(document, "Username");
	secret = json_get_str(document, "Secret");
	if (!username || str_empty(secret))
		return err_set(err, ERR_PROTOCOL, "'%s' did not print Username and Secret",
			       program);

	if (str_eq(username, IDENTITY_USER)) {
		ret->identity_token = mem_strdup(secret);
	} else {
		ret->username = mem_strdup(username);
		ret->password = mem_strdup(secret);
	}
	return 0;
}

static int fail(const char *program, const char *server, const struct cancel *cancel, int r,
		struct err *err)
{
	if (cancel_is_fired(cancel))
		return err_set(err, ERR_CANCELLED, "asking '%s' was cancelled", program);
	if (r == -ETIMEDOUT)
		return err_set(err, ERR_TIMEOUT, "'%s' did not answer within %d s", program,
			       TIMEOUT_MS / 1000);
	if (r == -ENOENT)
		err_hint(err, "it is looked for in the PATH that bangerd was started with; after a "
			      "change: 'banger daemon stop'");
	return err_context(err, r, "ask for the credentials of '%s'", server);
}

int helper_ask(const struct oci_auth *auth, const char *name, const char *server,
	       const struct cancel *cancel, struct oci_credentials *ret, struct err *err)
{
	AUTO_FREE char *program = NULL;
	AUTO_SECRET_BUF answer = BUF_INIT;
	AUTO_CLOSE int question = -1;
	AUTO_STRV argv = { .items = NULL };
	struct spawn spawn = { .envp = auth->environment, .dies_with_parent = true };
	int r;

	if (!is_name(name))
		return err_set(err, ERR_INVALID, "'%.100s' is no name of a credential helper",
			       name);
	program = mem_printf(PROGRAM "%s", name);
	r = open_question(server, &question);
	if (r < 0)
		return err_sys(err, r, "ask '%s'", program);

	strv_add(&argv, program);
	strv_add(&argv, "get");
	spawn.path = program;
	spawn.argv = strv_argv(&argv);
	spawn_add_fd(&spawn, question, STDIN_FILENO);
	/* A buffer that never grows leaves no copies of what is in it. */
	buf_reserve(&answer, OCI_HELPER_BYTES_MAX);
	r = spawn_run(&spawn, cancel, TIMEOUT_MS, OCI_HELPER_BYTES_MAX, &answer, err);
	if (r < 0 && strstr(answer.ptr, NOT_FOUND)) {
		*err = ERR_INIT;
		return 0;
	}
	if (r < 0)
		return fail(program, server, cancel, r, err);
	return read_answer(program, &answer, ret, err);
}
