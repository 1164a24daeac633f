/*
 * What libarchive does not say of an entry: the type that its header has, of which it takes every
 * unknown one for a file, and that a name had a zero byte in it, where it cuts names off. So the
 * last bytes of the stream are kept, and an entry's headers are looked at once more.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"

/*
 * How much of the stream is kept. libarchive takes three headers of 1 MiB each (a pax header, a
 * long name and a long link) before the entry's own, and what it was given last may end far behind
 * that.
 */
#define TAR_WINDOW_SIZE ((size_t)4 * 1024 * 1024)

struct tar_window {
	uint8_t *ring;	    /* owned: byte N of the stream is at N % TAR_WINDOW_SIZE */
	uint64_t end;	    /* how much of the stream there has been */
	struct buf scratch; /* a header's content in one piece */
};

void tar_window_init(struct tar_window *window);
void tar_window_done(struct tar_window *window);

/* Where the stream's next bytes go, and how many at most; not 0. `end` is then the caller's to
 * advance. */
uint8_t *tar_window_room(struct tar_window *window, size_t *ret_size);

/*
 * Looks at the headers of one entry, which begin at byte `from`. ERR_INVALID: the type is unknown,
 * or a zero byte in a name. ERR_PROTOCOL: not what libarchive has read there.
 */
int tar_header_check(struct tar_window *window, uint64_t from, struct err *err) MUST_CHECK;
