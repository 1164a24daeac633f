#include "workspace/packing.h"

#include <errno.h>
#include <poll.h>

#include "base/fd.h"

/*
 * A search for deltas would take longer than sending what it saves. Those that the repository has
 * already are taken over for a history alone: without one, few are between what is sent, and whole
 * objects can be indexed while they go by.
 */
int packing_start(const struct git *git, const struct packing_wish *wish, struct packing *ret,
		  struct err *err)
{
	const char *const args[] = { "-c",
				     "pack.compression=1",
				     "pack-objects",
				     "--revs",
				     "--stdout",
				     "--thin",
				     "--delta-base-offset",
				     "--window=0",
				     "-q",
				     wish->has_deltas ? NULL : "--no-reuse-delta",
				     NULL };
	const struct git_call call = { .args = args,
				       .input = wish->revisions,
				       .cancel = wish->cancel };
	AUTO_PACKING packing = PACKING_INIT;
	int r = 0;

	packing.cancel = wish->cancel;
	if (!wish->has_deltas)
		r = pack_index_new(git->is_sha256, &packing.index, err);
	if (r == 0)
		r = git_start(git, &call, &packing.stream, err);
	if (r < 0)
		return r;
	*ret = packing;
	// NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): its cleanup reads it
	packing = PACKING_INIT;
	return 0;
}

ssize_t packing_read(void *context, void *into, size_t size, struct err *err)
{
	struct packing *packing = context;
	ssize_t n = cancel_poll(packing->cancel, packing->stream.out_fd, POLLIN, UINT64_MAX);
	int r;

	if (n == -ECANCELED)
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (n >= 0)
		n = fd_read_some(packing->stream.out_fd, into, size);
	if (n < 0)
		return err_sys(err, (int)n, "read what git packs");
	if (n == 0 || !packing->index)
		return n;
	r = pack_index_take(packing->index, span_of(into, (size_t)n), err);
	return r < 0 ? r : n;
}

int packing_end(struct packing *packing, struct buf *ret_index,
		char ret_name[static GIT_OID_HEX_MAX + 1], struct err *err)
{
	int r;

	/* Where the guest takes no more, git must not wait until it does. */
	fd_closep(&packing->stream.out_fd);
	r = git_end(&packing->stream, packing->cancel, err);
	if (r == 0 && packing->index)
		r = pack_index_finish(packing->index, ret_index, ret_name, err);
	return r;
}

void packing_done(struct packing *packing)
{
	if (!packing)
		return;
	git_stream_done(&packing->stream);
	pack_index_free(packing->index);
	packing->index = NULL;
}
