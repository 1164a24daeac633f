/*
 * vm cp: files and folders between host and guest, over streams that bangerd passes. Names and
 * links mean what they do in cp, scp and docker cp; what comes out of a guest is extracted by
 * guest/copy.h's rules, under the one name asked for.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/copy_place.h"
#include "cli/link.h"
#include "cli/progress_view.h"
#include "cli/request.h"
#include "guest/copy.h"
#include "guest/pack.h"

#define LOOK_TIMEOUT_MS	   30000
#define SILENT_MS	   2000 /* what takes no longer is not worth a word */
#define LEFT_OUT_NAMED_MAX 5	/* links that are named; the others are counted */
#define PATH_SHOWN_MAX	   200

struct copy {
	struct cli *cli;
	struct copy_place from;
	struct copy_place to;
	const char *vm; /* whichever of the two has one */
	uint64_t total; /* bytes to be moved, 0 when unknown */
	uint64_t began_ms;
	struct progress_view view;
	struct progress progress; /* into the view */
	struct guest_copied done;
	uint64_t left_out;
};

static void note_moved(void *context, uint64_t bytes)
{
	struct copy *copy = context;
	AUTO_BUF detail = BUF_INIT;

	if (clock_now_ms() - copy->began_ms < SILENT_MS)
		return;
	if (copy->total == 0)
		text_size(&detail, bytes);
	progress_report(&copy->progress, "copy", copy->total ? NULL : detail.ptr,
			copy->total && bytes > copy->total ? copy->total : bytes, copy->total);
	progress_view_tick(&copy->view);
}

/* A stream to the agent; it serves one request. */
static int open_stream(struct copy *copy, uint64_t timeout_ms, struct guest_copy *ret, int *ret_fd,
		       struct err *err)
{
	json_t *params = json_new_object();
	AUTO_JSON *result = NULL;
	AUTO_CLOSE int fd = -1;
	int r;

	json_put_str(params, "vm", copy->vm);
	r = request_call(copy->cli, "vm.cp", params, &fd, &result, err);
	if (r < 0)
		return r;
	if (fd < 0)
		return err_set(err, ERR_PROTOCOL, "bangerd gave no stream to '%s'", copy->vm);
	*ret = (struct guest_copy){
		.fd = fd,
		.cancel = &copy->cli->cancel,
		.deadline_ns =
			timeout_ms ? clock_now_ns() + timeout_ms * NSEC_PER_MSEC : UINT64_MAX,
		.moved = note_moved,
		.context = copy,
	};
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int look(struct copy *copy, const char *path, enum guest_file *ret, uint64_t *ret_size,
		struct err *err)
{
	struct guest_copy stream;
	AUTO_CLOSE int fd = -1;
	int r;

	r = open_stream(copy, LOOK_TIMEOUT_MS, &stream, &fd, err);
	if (r < 0)
		return r;
	r = guest_look(&stream, path, ret, ret_size, err);
	if (r < 0 && err->kind == ERR_UNSUPPORTED)
		err_hint(err, "its agent is of an older version: 'banger vm restart %s' renews it",
			 copy->vm);
	return r;
}

static int fail_missing(const char *path, const char *vm, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "there is no '%s' in '%s'", path, vm);
}

/* --- into a guest --- */

/* Where in the guest, and under what name. */
struct target {
	char *folder; /* owned */
	char *name;   /* owned; "." for a folder's content */
};

static void target_done(struct target *target)
{
	mem_free(target->folder);
	mem_free(target->name);
}

/* The name that a file of the host has, also where it was given as ".." or the like. */
static char *host_leaf(const char *path)
{
	AUTO_FREE char *leaf = copy_place_leaf(path);
	char real[PATH_MAX];

	if (!str_empty(leaf) && !str_eq(leaf, ".") && !str_eq(leaf, ".."))
		return TAKE_PTR(leaf);
	return copy_place_leaf(realpath(path, real) ? real : path);
}

static int target_beside(struct copy *copy, struct target *ret, struct err *err)
{
	AUTO_FREE char *above = copy_place_above(copy->to.path);
	enum guest_file type = GUEST_NOTHING;
	uint64_t size;
	int r;

	r = look(copy, above, &type, &size, err);
	if (r == 0 && type != GUEST_FOLDER)
		r = err_set(err, ERR_NOT_FOUND, "there is no folder '%s' in '%s'", above, copy->vm);
	if (r < 0)
		return r;
	*ret = (struct target){ .folder = TAKE_PTR(above), .name = copy_place_leaf(copy->to.path) };
	return 0;
}

static int find_target(struct copy *copy, bool is_folder, struct target *ret, struct err *err)
{
	const struct copy_place *to = &copy->to;
	enum guest_file type = GUEST_NOTHING;
	uint64_t size;
	int r;

	r = look(copy, to->path, &type, &size, err);
	if (r < 0)
		return r;
	if (type == GUEST_FOLDER) {
		*ret = (struct target){ .folder = mem_strdup(to->path),
					.name = copy->from.is_content
							? mem_strdup(".")
							: host_leaf(copy->from.path) };
		return 0;
	}
	if (type == GUEST_NOTHING && to->is_folder && !is_folder)
		return err_set(err, ERR_NOT_FOUND, "there is no folder '%s' in '%s'", to->path,
			       copy->vm);
	if (type != GUEST_NOTHING && (is_folder || to->is_folder || type == GUEST_OTHER))
		return err_set(err, ERR_EXISTS, "'%s' in '%s' is no %s", to->path, copy->vm,
			       is_folder || to->is_folder ? "folder" : "file");
	return target_beside(copy, ret, err);
}

static int put_files(struct copy *copy, struct err *err)
{
	CLEANUP(target_done) struct target target = { .folder = NULL };
	CLEANUP(pack_freep) struct pack *pack = NULL;
	const char *path = copy->from.path;
	struct guest_copy stream;
	AUTO_CLOSE int fd = -1;
	struct guest_tar tar;
	struct stat st;
	int r;

	r = stat(path, &st) < 0 ? -errno : 0;
	if ((r == -ENOTDIR || r == 0) && copy->from.is_folder && (r < 0 || !S_ISDIR(st.st_mode)))
		return err_set(err, ERR_INVALID, "'%s' is no folder", path);
	if (r < 0)
		return err_sys(err, r, "look at '%s'", path);
	r = find_target(copy, S_ISDIR(st.st_mode), &target, err);
	if (r == 0)
		r = pack_new(path, target.name, &pack, err);
	if (r == 0)
		r = open_stream(copy, 0, &stream, &fd, err);
	if (r < 0)
		return r;
	copy->total = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	tar = pack_tar(pack);
	r = guest_put(&stream, target.folder, &tar, &copy->done, err);
	copy->left_out = pack_left_out(pack);
	return r;
}

static int put_stream(struct copy *copy, struct err *err)
{
	const struct guest_tar tar = { .fd = copy->cli->in_fd };
	enum guest_file type = GUEST_NOTHING;
	struct guest_copy stream;
	AUTO_CLOSE int fd = -1;
	uint64_t size;
	int r;

	if (isatty(tar.fd))
		return err_set(err, ERR_INVALID, "standard input is a terminal, not a tar");
	r = look(copy, copy->to.path, &type, &size, err);
	if (r == 0 && type != GUEST_FOLDER)
		r = err_set(err, ERR_NOT_FOUND, "there is no folder '%s' in '%s'", copy->to.path,
			    copy->vm);
	if (r == 0)
		r = open_stream(copy, 0, &stream, &fd, err);
	return r < 0 ? r : guest_put(&stream, copy->to.path, &tar, &copy->done, err);
}

/* --- out of a guest --- */

static void note_left_out(void *context, const char *path, const char *target)
{
	struct copy *copy = context;
	AUTO_BUF text = BUF_INIT;

	if (copy->left_out++ >= LEFT_OUT_NAMED_MAX)
		return;
	text_escape(&text, span_str(path), PATH_SHOWN_MAX);
	buf_add_str(&text, " -> ");
	text_escape(&text, span_str(target), PATH_SHOWN_MAX);
	out_note(&copy->cli->out, "warning: left out, as it leads out of what is copied: %s",
		 text.ptr);
}

static int fail_exists(const char *path, struct err *err)
{
	const int r = err_set(err, ERR_EXISTS, "'%s' exists already", path);

	err_hint(err, "folders out of a guest are not merged: give a name that is not there yet");
	return r;
}

/* The folder of the host that it goes into, and the name there. */
static int find_place(const struct copy *copy, bool is_folder, struct target *ret, struct err *err)
{
	const struct copy_place *to = &copy->to;
	struct stat st;

	if (stat(to->path, &st) < 0) {
		if (errno != ENOENT)
			return err_sys(err, -errno, "look at '%s'", to->path);
		if (to->is_folder && !is_folder)
			return err_set(err, ERR_NOT_FOUND, "there is no folder '%s'", to->path);
	} else if (S_ISDIR(st.st_mode)) {
		if (copy->from.is_content)
			return fail_exists(to->path, err);
		*ret = (struct target){ .folder = mem_strdup(to->path),
					.name = copy_place_leaf(copy->from.path) };
		return 0;
	} else if (is_folder || to->is_folder) {
		return err_set(err, ERR_EXISTS, "'%s' is no folder", to->path);
	} else if (!S_ISREG(st.st_mode)) {
		/* A file would take its place, as renaming does. */
		return err_set(err, ERR_EXISTS, "'%s' is no regular file", to->path);
	}
	*ret = (struct target){ .folder = copy_place_above(to->path),
				.name = copy_place_leaf(to->path) };
	return 0;
}

/* What is to be fetched, and that it can be. */
static int find_source(struct copy *copy, enum guest_file *ret, struct err *err)
{
	const struct copy_place *from = &copy->from;
	uint64_t size = 0;
	int r;

	if (str_eq(from->path, "/"))
		return err_set(err, ERR_INVALID, "a whole guest cannot be copied: name a folder");
	if (str_ends(from->path, "/.."))
		return err_set(err, ERR_INVALID, "'%s' does not end in a name", from->path);
	r = look(copy, from->path, ret, &size, err);
	if (r < 0)
		return r;
	if (*ret == GUEST_NOTHING)
		return fail_missing(from->path, copy->vm, err);
	if (from->is_folder && *ret != GUEST_FOLDER)
		return err_set(err, ERR_INVALID, "'%s' in '%s' is no folder", from->path, copy->vm);
	copy->total = *ret == GUEST_FILE ? size : 0;
	return 0;
}

static int get_files(struct copy *copy, struct err *err)
{
	CLEANUP(target_done) struct target target = { .folder = NULL };
	enum guest_file type = GUEST_NOTHING;
	struct guest_copy stream;
	AUTO_CLOSE int dest_fd = -1;
	AUTO_CLOSE int fd = -1;
	int r;

	r = find_source(copy, &type, err);
	if (r == 0)
		r = find_place(copy, type == GUEST_FOLDER, &target, err);
	if (r < 0)
		return r;
	dest_fd = dir_open(target.folder);
	if (dest_fd < 0)
		return err_sys(err, dest_fd, "open '%s'", target.folder);
	r = open_stream(copy, 0, &stream, &fd, err);
	if (r < 0)
		return r;
	const struct guest_get get = {
		.path = copy->from.path,
		.dest_fd = dest_fd,
		.dest_name = target.name,
		.follows = true,
		.left_out = note_left_out,
		.context = copy,
	};

	r = guest_get(&stream, &get, &copy->done, err);
	if (r < 0 && err->kind == ERR_EXISTS) {
		AUTO_FREE char *path = mem_printf("%s/%s", target.folder, target.name);

		*err = ERR_INIT;
		r = fail_exists(path, err);
	}
	return r;
}

static int get_stream(struct copy *copy, struct err *err)
{
	enum guest_file type = GUEST_NOTHING;
	struct guest_copy stream;
	AUTO_CLOSE int fd = -1;
	int r;

	if (copy->cli->out.out_is_terminal)
		return err_set(err, ERR_INVALID,
			       "standard output is a terminal, which a tar would garble");
	r = find_source(copy, &type, err);
	if (r == 0)
		r = open_stream(copy, 0, &stream, &fd, err);
	return r < 0 ? r
		     : guest_get_tar(&stream, copy->from.path, copy->cli->out.out_fd, &copy->done,
				     err);
}

/* --- the command --- */

static int run_copy(struct copy *copy, struct err *err)
{
	if (copy->to.vm)
		return copy->from.is_stream ? put_stream(copy, err) : put_files(copy, err);
	return copy->to.is_stream ? get_stream(copy, err) : get_files(copy, err);
}

static int read_places(const char *const *operands, struct copy *copy, struct err *err)
{
	int r;

	r = copy_place_read(operands[0], &copy->from, err);
	if (r == 0)
		r = copy_place_read(operands[1], &copy->to, err);
	if (r < 0)
		return r;
	if (copy->from.vm && copy->to.vm)
		return err_set(
			err, ERR_INVALID,
			"both are in VMs: pipe 'banger vm cp %s -' into 'banger vm cp - ...'",
			operands[0]);
	if (!copy->from.vm && !copy->to.vm)
		return err_set(err, ERR_INVALID, "neither '%s' nor '%s' is VM:PATH", operands[0],
			       operands[1]);
	copy->vm = copy->from.vm ? copy->from.vm : copy->to.vm;
	return 0;
}

static void tell(struct copy *copy)
{
	struct out *out = &copy->cli->out;
	AUTO_JSON *result = json_new_object();

	if (copy->to.vm && copy->left_out > 0)
		out_note(out, "warning: left out %llu that %s neither file, folder nor link",
			 (unsigned long long)copy->left_out, copy->left_out == 1 ? "is" : "are");
	else if (copy->left_out > LEFT_OUT_NAMED_MAX)
		out_note(out, "warning: left out %llu more links",
			 (unsigned long long)(copy->left_out - LEFT_OUT_NAMED_MAX));
	if (!out->is_json || copy->to.is_stream)
		return;
	json_put_u64(result, "entries", copy->done.entries);
	json_put_u64(result, "bytes", copy->done.bytes);
	json_put_u64(result, "left_out", copy->left_out);
	out_json(out, result);
}

static int finish(struct copy *copy, int r, const char *const *operands, struct err *err)
{
	struct cli *cli = copy->cli;

	progress_view_finish(&copy->view, r == 0);
	if (r == 0) {
		tell(copy);
		return 0;
	}
	if (r == -EPIPE && copy->to.is_stream)
		return EXIT_BROKEN_PIPE;
	if (err->kind == ERR_CANCELLED)
		(void)err_set(err, ERR_CANCELLED, "cancelled");
	else
		(void)err_context(err, r, "cannot copy '%s' to '%s'", operands[0], operands[1]);
	return cli_fail(cli, err);
}

static int run_cp(struct cli *cli, const struct invocation *invocation)
{
	const char *const *operands = invocation->parsed->operands;
	struct copy copy = { .cli = cli, .began_ms = clock_now_ms() };
	struct err err = ERR_INIT;
	int status;
	int r;

	r = read_places(operands, &copy, &err);
	if (r < 0) {
		status = cli_usage(cli, invocation->command, &err);
	} else {
		progress_view_init(&copy.view, &cli->out, NULL);
		copy.progress = progress_view_sink(&copy.view);
		r = link_open(cli, &err);
		if (r == 0)
			r = run_copy(&copy, &err);
		status = finish(&copy, r, operands, &err);
		progress_view_done(&copy.view);
	}
	copy_place_done(&copy.from);
	copy_place_done(&copy.to);
	return status;
}

const struct command vm_cp_command = {
	.noun = "vm",
	.verb = "cp",
	.operands = "SRC DST",
	.operands_min = 2,
	.operands_max = 2,
	.completes = COMPLETES_PLACE,
	.summary = "copy files and folders to and from a VM",
	.description =
		"One of the two is VM:PATH, the other a path of the host, or '-' for a tar on "
		"standard input or output. In a guest, a path that is not absolute begins in "
		"root's home. Into a folder that exists, SRC goes under its own name; SRC/. is "
		"what "
		"is in it. With a slash at its end, DST must be a folder. A link that is named is "
		"followed, those inside folders are copied as links. Permissions, times and holes "
		"are kept; in the guest all belongs to root, on the host to you. Links that lead "
		"out of a folder that comes from a guest are left out, and such a folder is never "
		"merged with one that is there.",
	.run = run_cp,
};
