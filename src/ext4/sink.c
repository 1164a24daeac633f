#include "ext4/sink.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"

#define SINK_BUFFER_SIZE ((size_t)1024 * 1024)
#define SINK_DIRECT_MIN	 ((size_t)256 * 1024) /* from here on copying costs more than a call */

void sink_init(struct sink *sink, int fd, uint64_t end)
{
	*sink = (struct sink){ .fd = fd, .end = end };
	sink->buf = mem_alloc(1, SINK_BUFFER_SIZE);
}

void sink_done(struct sink *sink)
{
	mem_free(sink->buf);
	sink->buf = NULL;
}

static int write_out(struct sink *sink, uint64_t offset, struct span bytes)
{
	int r;

	if (sink->error < 0)
		return sink->error;
	if (bytes.len == 0 || offset >= sink->end || bytes.len > sink->end - offset)
		return 0;
	r = fd_pwrite_all(sink->fd, bytes, offset);
	if (r == 0)
		sink->written += bytes.len;
	sink->error = r;
	return r;
}

int sink_flush(struct sink *sink)
{
	int r = write_out(sink, sink->at, span_of(sink->buf, sink->used));

	sink->used = 0;
	return r;
}

int sink_write(struct sink *sink, uint64_t offset, struct span bytes)
{
	if (sink->used > 0 &&
	    (offset != sink->at + sink->used || bytes.len > SINK_BUFFER_SIZE - sink->used)) {
		int r = sink_flush(sink);

		if (r < 0)
			return r;
	}
	if (sink->used == 0 && bytes.len >= SINK_DIRECT_MIN)
		return write_out(sink, offset, bytes);
	if (sink->used == 0)
		sink->at = offset;
	memcpy(sink->buf + sink->used, bytes.ptr, bytes.len);
	sink->used += bytes.len;
	return 0;
}
