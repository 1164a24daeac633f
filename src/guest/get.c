/*
 * Fetching. Extraction goes into a new folder beside the target; only a stream that came whole, END
 * included, is renamed into place. What was there before is seen until then, and nothing is left of
 * a failure.
 */
#include "guest/copy.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "guest/extract.h"
#include "guest/io.h"
#include "guest/transfer.h"
#include "wire/protocol.h"

#define STAGING_NAME_SIZE 32

struct download {
	struct guest_io io;
	struct wire_reader reader;
	const struct guest_copy *copy; /* borrowed */
	uint64_t moved;
	bool is_ended; /* END has come */
	struct guest_copied summary;
};

/* The next piece of the tar stream. */
static int next_piece(void *context, struct span *ret, struct err *err)
{
	struct download *download = context;
	struct wire_frame frame;
	int r;

	*ret = span_of("", 0);
	if (download->is_ended)
		return 0;
	/* A guest that sends faster than we write is never waited for. */
	r = cancel_check(download->io.cancel, err);
	if (r < 0)
		return r;
	r = guest_io_recv_frame(&download->io, &download->reader, &frame, err);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(err, ERR_PROTOCOL,
			       "the agent closed the connection before the end of the files");
	if (frame.type == WIRE_ERROR)
		return guest_io_agent_error(&frame, err);
	if (frame.type == WIRE_DATA) {
		*ret = frame.payload;
		download->moved += frame.payload.len;
		if (download->copy->moved)
			download->copy->moved(download->copy->context, download->moved);
		return 0;
	}
	if (frame.type != WIRE_END)
		return err_set(err, ERR_PROTOCOL,
			       "wrong answer from the agent: %s frame among files",
			       wire_type_name(frame.type));
	download->is_ended = true;
	return transfer_read_summary(frame.payload, &download->summary, err);
}

/* Tar archives end before the stream does: padding is read away up to END. */
static int drain(struct download *download, struct err *err)
{
	struct span piece;
	int r = 0;

	while (r == 0 && !download->is_ended)
		r = next_piece(download, &piece, err);
	return r;
}

static int check_path(const char *path, const char **ret_leaf, struct err *err)
{
	const char *leaf = strrchr(path, '/');

	if (path[0] != '/' || !leaf || leaf[1] == '\0' || str_eq(leaf, "/.") || str_eq(leaf, "/.."))
		return err_set(err, ERR_INVALID, "'%s' does not name a file of the guest", path);
	*ret_leaf = leaf + 1;
	return transfer_check_path(path, err);
}

static int make_staging(int dest_fd, char name[static STAGING_NAME_SIZE], int *ret_fd,
			struct err *err)
{
	uint64_t random = 0;
	int fd;
	int n;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return err_sys(err, -EIO, "get a random name");
	n = snprintf(name, STAGING_NAME_SIZE, ".new-%016llx", (unsigned long long)random);
	assert(n > 0 && n < STAGING_NAME_SIZE);
	if (mkdirat(dest_fd, name, 0700) < 0)
		return err_sys(err, -errno, "make a folder for what comes");
	fd = dir_open_at(dest_fd, name);
	if (fd < 0) {
		(void)unlinkat(dest_fd, name, AT_REMOVEDIR);
		return err_sys(err, fd, "open the folder for what comes");
	}
	*ret_fd = fd;
	return 0;
}

/* A file replaces a file in one step; nothing replaces a folder, and a folder replaces nothing. */
static int put_in_place(const struct guest_get *get, int staging_fd, const char *leaf,
			struct err *err)
{
	struct stat status;
	int r;

	if (fstatat(staging_fd, leaf, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? err_set(err, ERR_PROTOCOL, "the agent sent no files")
				       : err_sys(err, -errno, "look at what came");
	if (S_ISDIR(status.st_mode))
		r = file_rename_new(staging_fd, leaf, get->dest_fd, get->dest_name);
	else
		r = renameat(staging_fd, leaf, get->dest_fd, get->dest_name) < 0 ? -errno : 0;
	if (r == -EEXIST || r == -EISDIR || r == -ENOTDIR || r == -ENOTEMPTY)
		return err_set(err, ERR_EXISTS, "'%s' exists already", get->dest_name);
	if (r < 0)
		return err_sys(err, r, "rename what came to '%s'", get->dest_name);
	return 0;
}

static int fetch_into(struct download *download, const struct guest_get *get, const char *leaf,
		      int staging_fd, struct guest_copied *ret, struct err *err)
{
	const struct extract extract = {
		.dir_fd = staging_fd,
		.wanted = leaf,
		.bytes_max = get->bytes_max,
		.read = next_piece,
		.context = download,
		.left_out = get->left_out,
		.left_out_context = get->context,
	};
	int r;

	r = extract_tar(&extract, ret, err);
	if (r == 0)
		r = drain(download, err);
	if (r == 0)
		r = put_in_place(get, staging_fd, leaf, err);
	return r;
}

static int request_get(const struct download *download, const char *path, bool follows,
		       struct err *err)
{
	AUTO_JSON *request = json_new_object();

	json_put_str(request, "op", wire_op_name(WIRE_OP_GET));
	json_put_str(request, "path", path);
	if (follows)
		json_put_bool(request, "follow", true);
	return transfer_request(&download->io, request, err);
}

static struct download *begin(const struct guest_copy *copy)
{
	struct download *download = mem_alloc(1, sizeof(*download));

	download->io = transfer_io(copy);
	download->copy = copy;
	wire_reader_init(&download->reader);
	return download;
}

int guest_get(const struct guest_copy *copy, const struct guest_get *get, struct guest_copied *ret,
	      struct err *err)
{
	AUTO_FREE struct download *download = begin(copy);
	char staging[STAGING_NAME_SIZE];
	AUTO_CLOSE int staging_fd = -1;
	struct guest_copied done;
	const char *leaf;
	int r, removed;

	r = check_path(get->path, &leaf, err);
	if (r < 0)
		return r;
	r = request_get(download, get->path, get->follows, err);
	if (r == 0)
		r = make_staging(get->dest_fd, staging, &staging_fd, err);
	if (r < 0)
		return err_context(err, r, "get '%s'", get->path);

	r = fetch_into(download, get, leaf, staging_fd, &done, err);
	removed = dir_remove_tree(get->dest_fd, staging);
	if (r == 0 && removed < 0)
		r = err_sys(err, removed, "remove the folder '%s'", staging);
	if (r < 0)
		return err_context(err, r, "get '%s'", get->path);
	*ret = done;
	return 0;
}

/* As much as a pipe surely takes at a time, so that a reader that stands still can be left. */
static int write_piece(const struct download *download, int out_fd, struct span piece,
		       struct err *err)
{
	while (piece.len > 0) {
		const size_t len = piece.len < PIPE_BUF ? piece.len : PIPE_BUF;
		ssize_t n;
		int r;

		r = cancel_poll(download->io.cancel, out_fd, POLLOUT, download->io.deadline_ns);
		if (r == -ECANCELED)
			return err_set(err, ERR_CANCELLED, "cancelled");
		n = r < 0 ? r : fd_write_some(out_fd, span_of(piece.ptr, len));
		if (n < 0 && n != -EAGAIN) {
			(void)err_sys(err, (int)n, "write the tar");
			return (int)n;
		}
		piece = span_skip(piece, n > 0 ? (size_t)n : 0);
	}
	return 0;
}

int guest_get_tar(const struct guest_copy *copy, const char *path, int out_fd,
		  struct guest_copied *ret, struct err *err)
{
	AUTO_FREE struct download *download = begin(copy);
	struct span piece;
	const char *leaf;
	int r;

	r = check_path(path, &leaf, err);
	if (r == 0)
		r = request_get(download, path, true, err);
	while (r == 0 && !download->is_ended) {
		r = next_piece(download, &piece, err);
		if (r == 0)
			r = write_piece(download, out_fd, piece, err);
	}
	if (r < 0) {
		(void)err_context(err, r, "get '%s'", path);
		return r;
	}
	*ret = download->summary;
	return 0;
}
