/*
 * vm workspace export: a guest's work as a patch or a bundle. What comes is gathered in a file that
 * has no name until all of it is there and has been judged: a command that is cut off leaves
 * nothing, a file that exists is never touched, and a pipe is given the whole or nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/link.h"
#include "cli/request.h"
#include "cli/session.h"
#include "workspace/export.h"

#define BYTES_MAX_DEFAULT (4ULL << 30)
#define PIECE_SIZE	  65536

struct export_args {
	const char *base;
	const char *output;
	const char *guest_path;
	struct opt_number bytes_max;
	bool bundle;
};

static int check_base(const char *text, struct err *err)
{
	return export_base_is_fit(text) ? 0
					: err_set(err, ERR_INVALID, "'%s' names no commit", text);
}

static const struct opt export_opts[] = {
	{ .type = OPT_STRING,
	  .name = "base-commit",
	  .offset = offsetof(struct export_args, base),
	  .metavar = "COMMIT",
	  .help = "since this commit of the guest's (default: what 'prepare' brought)",
	  .check = check_base },
	{ .type = OPT_STRING,
	  .letter = 'o',
	  .name = "output",
	  .offset = offsetof(struct export_args, output),
	  .metavar = "FILE",
	  .help = "write to a new file (default: standard output)",
	  .completes = COMPLETES_FILE },
	{ .type = OPT_FLAG,
	  .name = "bundle",
	  .offset = offsetof(struct export_args, bundle),
	  .help = "a git bundle with the commits instead of a patch with everything" },
	{ .type = OPT_STRING,
	  .letter = 'w',
	  .name = "guest-path",
	  .offset = offsetof(struct export_args, guest_path),
	  .metavar = "DIR",
	  .help = "the repository in the guest (default: the workspace)",
	  .check = session_check_path },
	{ .type = OPT_SIZE,
	  .name = "max-size",
	  .offset = offsetof(struct export_args, bytes_max),
	  .metavar = "SIZE",
	  .help = "give up beyond this size (default: 4 GiB)",
	  .min = 1 },
};

struct export
{
	struct cli *cli;
	const struct export_args *args;
	const char *vm;
	bool is_to_file;
	char *folder;	 /* owned: of the file that is to be */
	char *name;	 /* owned: of that file */
	char *temporary; /* owned: its name until then, on a file system that needs one */
	int folder_fd;	 /* owned */
	int fd;		 /* owned: what came */
	json_t *answer;	 /* owned: the daemon's */
	struct export_result result;
};

static void export_done(struct export *export)
{
	if (export->temporary)
		(void)unlinkat(export->folder_fd, export->temporary, 0);
	mem_free(export->temporary);
	mem_free(export->folder);
	mem_free(export->name);
	fd_close(export->folder_fd);
	fd_close(export->fd);
	json_decref(export->answer);
	export_result_done(&export->result);
}

/* --- files of the host --- */

static int fail_exists(const struct export *export, struct err *err)
{
	const int r = err_set(err, ERR_EXISTS, "'%s' exists already", export->args->output);

	err_hint(err, "nothing on the host is overwritten: name a new file");
	return r;
}

static int open_nameless(struct export *export, struct err *err)
{
	export->fd = openat(export->folder_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
	if (export->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
		AUTO_FREE char *name = mem_printf(".banger-export.%d", (int)getpid());

		export->fd = openat(export->folder_fd, name,
				    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
		if (export->fd >= 0)
			export->temporary = TAKE_PTR(name);
	}
	if (export->fd < 0)
		return err_sys(err, -errno, "make a file in '%s'", export->folder);
	return 0;
}

/* A file without a name, in the folder of the one that it is to become, or in the cache. */
static int open_place(struct export *export, struct err *err)
{
	const char *output = export->args->output;
	const char *slash = export->is_to_file ? strrchr(output, '/') : NULL;
	struct stat st;

	if (!export->is_to_file) {
		AUTO_PATHS paths = { .home = NULL };
		int r = link_paths(&paths, err);

		if (r < 0)
			return r;
		export->folder = mem_strdup(paths.cache_dir);
	} else {
		export->folder = !slash		   ? mem_strdup(".")
				 : slash == output ? mem_strdup("/")
						   : mem_strndup(output, (size_t)(slash - output));
		export->name = mem_strdup(slash ? slash + 1 : output);
	}
	export->folder_fd = dir_open(export->folder);
	if (export->folder_fd < 0)
		return err_sys(err, export->folder_fd, "open '%s'", export->folder);
	if (export->is_to_file &&
	    fstatat(export->folder_fd, export->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return fail_exists(export, err);
	return open_nameless(export, err);
}

/* Gives the file its name, unless somebody else has it by now. */
static int name_file(const struct export *export, struct err *err)
{
	AUTO_FREE char *path = mem_printf("/proc/self/fd/%d", export->fd);
	int r = 0;

	if (fsync(export->fd) < 0)
		return err_sys(err, -errno, "write '%s'", export->args->output);
	if (export->temporary)
		r = file_rename_new(export->folder_fd, export->temporary, export->folder_fd,
				    export->name);
	else if (linkat(AT_FDCWD, path, export->folder_fd, export->name, AT_SYMLINK_FOLLOW) < 0)
		r = -errno;
	if (r == -EEXIST)
		return fail_exists(export, err);
	return r < 0 ? err_sys(err, r, "name '%s'", export->args->output) : 0;
}

/* A patch on a terminal is for reading: its control characters are shown as what they are. */
static int print_escaped(struct out *out, struct buf *line, struct span bytes)
{
	int r = 0;

	while (r == 0 && bytes.len > 0) {
		const uint8_t *end = memchr(bytes.ptr, '\n', bytes.len);
		const size_t len = end ? (size_t)(end - bytes.ptr) : bytes.len;
		const uint8_t *tab;
		struct span rest = span_of(bytes.ptr, len);

		/* A tab does no harm, and without it a patch is hard to read. */
		while (rest.len > 0) {
			tab = memchr(rest.ptr, '\t', rest.len);
			text_escape(line,
				    span_of(rest.ptr, tab ? (size_t)(tab - rest.ptr) : rest.len),
				    SIZE_MAX);
			if (tab)
				buf_add_byte(line, '\t');
			rest = span_skip(rest, tab ? (size_t)(tab - rest.ptr) + 1 : rest.len);
		}
		if (end)
			buf_add_byte(line, '\n');
		bytes = span_skip(bytes, end ? len + 1 : len);
	}
	r = fd_write_all(out->out_fd, buf_span(line));
	buf_clear(line);
	return r;
}

static int print_content(const struct export *export, struct err *err)
{
	struct out *out = &export->cli->out;
	AUTO_FREE uint8_t *piece = mem_alloc(1, PIECE_SIZE);
	AUTO_BUF line = BUF_INIT;
	uint64_t at = 0;

	for (;;) {
		ssize_t n = pread(export->fd, piece, PIECE_SIZE, (off_t)at);
		int r;

		if (n < 0)
			return err_sys(err, -errno, "read what came");
		if (n == 0)
			return 0;
		/* A character that goes on in the next piece is shown with that one. */
		if (n == PIECE_SIZE)
			n -= (ssize_t)text_cut(span_of(piece, PIECE_SIZE));
		r = cancel_check(&export->cli->cancel, err);
		if (r < 0)
			return r;
		r = out->out_is_terminal ? print_escaped(out, &line, span_of(piece, (size_t)n))
					 : fd_write_all(out->out_fd, span_of(piece, (size_t)n));
		if (r == -EPIPE)
			return r;
		if (r < 0)
			return err_sys(err, r, "write to standard output");
		at += (uint64_t)n;
	}
}

/* --- the export --- */

/* Where the repository is and since when, from the options or from what was recorded. */
static int fill_job(const struct export *export, struct export_job *job, struct err *err)
{
	const struct export_args *args = export->args;
	const json_t *vm = json_object_get(export->answer, "vm");
	const json_t *workspace = json_object_get(vm, "workspace");
	int r;

	job->folder = args->guest_path ? args->guest_path : json_get_str(workspace, "guest_path");
	job->base = args->base;
	if (!job->folder) {
		r = err_set(err, ERR_BAD_STATE, "'%s' has no workspace", json_get_str(vm, "name"));
		err_hint(err,
			 "give it one with 'banger vm workspace prepare %s PATH', or name a "
			 "repository in it with --guest-path and --base-commit",
			 json_get_str(vm, "name"));
		return r;
	}
	return 0;
}

static int fetch(struct export *export, struct err *err)
{
	const struct export_args *args = export->args;
	struct export_job job = {
		.is_bundle = args->bundle,
		.bytes_max = args->bytes_max.is_set ? args->bytes_max.value : BYTES_MAX_DEFAULT,
		.out_fd = export->fd,
		.cancel = &export->cli->cancel,
	};
	json_t *params = json_new_object();
	AUTO_CLOSE int fd = -1;
	int r;

	json_put_str(params, "vm", export->vm);
	r = request_call(export->cli, "vm.workspace.export", params, &fd, &export->answer, err);
	if (r < 0)
		return r;
	if (fd < 0)
		return err_set(err, ERR_PROTOCOL, "bangerd gave no stream to '%s'", export->vm);
	job.fd = fd;
	r = fill_job(export, &job, err);
	if (r < 0)
		return r;
	r = export_run(&job, &export->result, err);
	if (r < 0 && err->kind == ERR_LIMIT)
		err_hint(err, "--max-size lets more through");
	return r;
}

static void tell_names(struct cli *cli, const struct strv *names, uint64_t count, const char *what)
{
	for (size_t i = 0; i < names->count; i++)
		out_note(&cli->out, "warning: %s: %s", what, names->items[i]);
	if (count > names->count)
		out_note(&cli->out, "warning: %s: %llu more", what,
			 (unsigned long long)(count - names->count));
}

static void tell(const struct export *export)
{
	const struct export_result *result = &export->result;
	struct cli *cli = export->cli;
	AUTO_BUF size = BUF_INIT;

	if (result->bytes == 0) {
		out_note(&cli->out,
			 export->args->bundle ? "no commits to export" : "nothing has changed");
	} else if (export->is_to_file) {
		text_size(&size, result->bytes);
		out_note(&cli->out, "wrote '%s', %s", export->args->output, size.ptr);
	}
	if (result->has_uncommitted)
		out_note(&cli->out, "warning: the guest has changes that are not committed, and "
				    "so not in the bundle; a patch would have them");
	tell_names(cli, &result->submodules, result->submodule_count,
		   "there is work in a submodule, to be exported with --guest-path and its folder");
	tell_names(cli, &result->summary.far_links, result->summary.far_link_count,
		   "the patch makes a link that leads out of the checkout");
	tell_names(cli, &result->summary.repositories, result->summary.repository_count,
		   "of a repository within the repository the patch only has the commit");
}

static json_t *strings_json(const struct strv *list)
{
	json_t *json = json_new_array();

	for (size_t i = 0; i < list->count; i++)
		json_add(json, json_new_str(list->items[i]));
	return json;
}

static void print_json(const struct export *export)
{
	const struct export_result *result = &export->result;
	AUTO_JSON *object = json_new_object();

	json_put_str(object, "file", result->bytes > 0 ? export->args->output : NULL);
	json_put_str(object, "format", export->args->bundle ? "bundle" : "patch");
	json_put_u64(object, "bytes", result->bytes);
	json_put_u64(object, "files", result->summary.files);
	json_put_u64(object, "branches", result->commits);
	json_put_bool(object, "uncommitted", result->has_uncommitted);
	json_put(object, "links_out", strings_json(&result->summary.far_links));
	json_put(object, "repositories", strings_json(&result->summary.repositories));
	json_put(object, "submodules", strings_json(&result->submodules));
	out_json(&export->cli->out, object);
}

static int run_steps(struct export *export, struct err *err)
{
	int r;

	r = link_open(export->cli, err);
	if (r == 0)
		r = open_place(export, err);
	if (r == 0)
		r = fetch(export, err);
	if (r < 0)
		return r;
	if (!export->is_to_file)
		r = print_content(export, err);
	else if (export->result.bytes > 0)
		r = name_file(export, err);
	if (r < 0)
		return r;
	tell(export);
	if (export->cli->out.is_json)
		print_json(export);
	return 0;
}

static int check_output(const struct cli *cli, const struct export_args *args, struct err *err)
{
	const bool is_to_file = args->output && !str_eq(args->output, "-");

	if (is_to_file && (str_empty(args->output) || str_ends(args->output, "/")))
		return err_set(err, ERR_INVALID, "'%s' names no file", args->output);
	if (!is_to_file && cli->out.is_json)
		return err_set(err, ERR_INVALID,
			       "--json needs a file for what is exported: -o FILE");
	if (!is_to_file && args->bundle && cli->out.out_is_terminal)
		return err_set(err, ERR_INVALID,
			       "standard output is a terminal, which a bundle would garble");
	return 0;
}

static int run_export(struct cli *cli, const struct invocation *invocation)
{
	const struct export_args *args = invocation->args;
	CLEANUP(export_done)
	struct export export = {
		.cli = cli,
		.args = args,
		.vm = invocation->parsed->operands[0],
		.is_to_file = args->output && !str_eq(args->output, "-"),
		.folder_fd = -1,
		.fd = -1,
	};
	struct err err = ERR_INIT;
	int r;

	if (check_output(cli, args, &err) < 0)
		return cli_usage(cli, invocation->command, &err);
	r = run_steps(&export, &err);
	if (r == -EPIPE && err.kind == ERR_NONE)
		return EXIT_BROKEN_PIPE;
	if (r < 0 && err.kind == ERR_CANCELLED)
		(void)err_set(&err, ERR_CANCELLED, "cancelled; nothing was written");
	else if (r < 0)
		(void)err_context(&err, r, "cannot export from '%s'", export.vm);
	return r < 0 ? cli_fail(cli, &err) : 0;
}

const struct command vm_workspace_export_command = {
	.noun = "vm",
	.verb = "workspace export",
	.operands = "VM",
	.operands_min = 1,
	.operands_max = 1,
	.completes = COMPLETES_VM,
	.summary = "print a guest's work as a patch, or save its commits",
	.description =
		"Everything that was done in the workspace since it was prepared, commits and what "
		"is not committed alike, as one patch for 'git apply': new files (but ignored "
		"ones), renames, modes and binary content too. With --bundle the commits "
		"themselves, for 'git fetch FILE'. The guest's repository stays as it is.\n"
		"Nothing on the host is overwritten, and nothing is written before all of it is "
		"there and looks as git would have written it: names that lead out of the "
		"checkout or into its .git are refused, links that do are told. On a terminal, "
		"control characters are shown and not sent.",
	.opts = export_opts,
	.opt_count = ARRAY_LEN(export_opts),
	.args_size = sizeof(struct export_args),
	.run = run_export,
};
