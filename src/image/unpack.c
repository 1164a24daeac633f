#include "image/unpack.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <signal.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/text.h"
#include "ext4/limit.h"
#include "image/blob.h"
#include "image/sandbox.h"
#include "image/worker.h"

#define EXIT_DONE   0
#define EXIT_FAILED 1
#define EXIT_BROKEN 2 /* no answer could be given */

/* --- the worker's side --- */

struct unpack {
	struct unpack_orders orders;
	EVP_MD_CTX *digest; /* owned */
	uint64_t bytes;
};

static void unpack_done(struct unpack *unpack)
{
	EVP_MD_CTX_free(unpack->digest);
}

static int prepare(struct unpack *unpack, struct err *err)
{
	AUTO_BUF line = BUF_INIT;
	int r;

	r = worker_read_line(IMAGE_WORKER_CONTROL, &line);
	if (r < 0)
		return err_sys(err, r, "read the orders");
	r = unpack_read_orders(buf_span(&line), &unpack->orders, err);
	if (r < 0)
		return r;
	/* libcrypto reads its configuration now or never. */
	unpack->digest = EVP_MD_CTX_new();
	if (!unpack->digest || EVP_DigestInit_ex(unpack->digest, EVP_sha256(), NULL) != 1)
		return err_sys(err, -ENOMEM, "prepare the digest");
	return sandbox_enter(err);
}

static int take(void *context, struct span bytes, struct err *err)
{
	struct unpack *unpack = context;
	int r;

	if (bytes.len > unpack->orders.bytes_max - unpack->bytes)
		return limit_reached(err, "layer_bytes", unpack->orders.bytes_max,
				     "bytes in the tar stream");
	unpack->bytes += bytes.len;
	if (EVP_DigestUpdate(unpack->digest, bytes.ptr, bytes.len) != 1)
		return err_set(err, ERR_PROTOCOL, "the digest cannot be computed");
	r = fd_write_all(UNPACK_WORKER_TAR, bytes);
	return r < 0 ? err_sys(err, r, "write the tar stream") : 0;
}

static int finish(struct unpack *unpack, struct unpack_result *ret, struct err *err)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	AUTO_BUF text = BUF_INIT;
	unsigned size = 0;

	if (EVP_DigestFinal_ex(unpack->digest, digest, &size) != 1)
		return err_set(err, ERR_PROTOCOL, "the digest cannot be computed");
	buf_add_str(&text, "sha256:");
	text_hex(&text, span_of(digest, size));
	*ret = (struct unpack_result){ .bytes = unpack->bytes };
	memcpy(ret->digest, text.ptr, text.len);
	return 0;
}

int unpack_worker_main(void)
{
	CLEANUP(unpack_done) struct unpack unpack = { .digest = NULL };
	const struct blob_output output = { .take = take, .context = &unpack };
	struct unpack_result result = { .bytes = 0 };
	AUTO_BUF answer = BUF_INIT;
	struct err err = ERR_INIT;
	int r;

	/* A reader that is gone is an error like others, and told as such. */
	(void)signal(SIGPIPE, SIG_IGN);
	r = prepare(&unpack, &err);
	if (r == 0)
		r = blob_uncompress(UNPACK_WORKER_BLOB, unpack.orders.compression, &output, &err);
	if (r == 0)
		r = finish(&unpack, &result, &err);
	unpack_write_answer(r, &result, &err, &answer);
	if (fd_write_all(IMAGE_WORKER_CONTROL, buf_span(&answer)) < 0)
		return EXIT_BROKEN;
	return r < 0 ? EXIT_FAILED : EXIT_DONE;
}

/* --- the parent's side --- */

int unpack_worker_start(const struct unpack_setup *setup, const struct unpack_orders *orders,
			struct worker_process *ret, int *ret_tar_fd, struct err *err)
{
	AUTO_BUF line = BUF_INIT;
	AUTO_CLOSE int reader = -1;
	AUTO_CLOSE int writer = -1;
	int ends[2];
	int r;

	r = fd_pipe(ends);
	if (r < 0)
		return err_sys(err, r, "start the unpack worker");
	reader = ends[0];
	writer = ends[1];
	/* Where the user has too many pages in pipes already, it stays smaller and slower. */
	(void)fcntl(writer, F_SETPIPE_SZ, UNPACK_PIPE_BYTES);
	unpack_write_orders(orders, &line);
	const struct spawn_fd fds[] = {
		{ setup->blob_fd, UNPACK_WORKER_BLOB },
		{ writer, UNPACK_WORKER_TAR },
	};

	const struct worker_start start = { .program = setup->program,
					    .kind = "unpack",
					    .fds = fds,
					    .fd_count = ARRAY_LEN(fds),
					    .orders = buf_span(&line),
					    .limits = setup->limits };

	r = worker_process_start(&start, ret, err);
	if (r == 0)
		*ret_tar_fd = TAKE_FD(reader);
	return r;
}
