#include "kernel/banner.h"

#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

#define PIECE_SIZE   ((size_t)1024 * 1024)
#define BANNER	     "Linux version "
#define OVERLAP_SIZE (sizeof(BANNER) + KERNEL_RELEASE_MAX + 1) /* a banner across two pieces */

static bool is_release_byte(uint8_t byte)
{
	return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
	       (byte >= 'A' && byte <= 'Z') || (byte != '\0' && strchr(".-+~_", byte));
}

bool kernel_banner_find(struct span bytes, char ret[static KERNEL_RELEASE_MAX + 1])
{
	const size_t word = sizeof(BANNER) - 1;

	for (;;) {
		const uint8_t *at = memmem(bytes.ptr, bytes.len, BANNER, word);
		size_t len = 0;

		if (!at)
			return false;
		bytes = span_skip(bytes, (size_t)(at - bytes.ptr) + word);
		while (len < bytes.len && len <= KERNEL_RELEASE_MAX &&
		       is_release_byte(bytes.ptr[len]))
			len++;
		/* A release begins with a digit and ends with a blank. */
		if (len == 0 || len > KERNEL_RELEASE_MAX || len == bytes.len ||
		    bytes.ptr[len] != ' ' || bytes.ptr[0] < '0' || bytes.ptr[0] > '9')
			continue;
		memcpy(ret, bytes.ptr, len);
		ret[len] = '\0';
		return true;
	}
}

int kernel_banner_read(int fd, const struct cancel *cancel, char ret[static KERNEL_RELEASE_MAX + 1],
		       struct err *err)
{
	AUTO_FREE uint8_t *piece = mem_alloc(1, OVERLAP_SIZE + PIECE_SIZE);
	size_t kept = 0;
	off_t offset = 0;

	for (;;) {
		const ssize_t n = pread(fd, piece + kept, PIECE_SIZE, offset);
		size_t len;
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, -errno, "look for the kernel's version");
		r = cancel_check(cancel, err);
		if (r < 0)
			return r;
		len = kept + (size_t)n;
		if (n == 0)
			ret[0] = '\0';
		if (n == 0 || kernel_banner_find(span_of(piece, len), ret))
			return 0;
		kept = len < OVERLAP_SIZE ? len : OVERLAP_SIZE;
		memmove(piece, piece + len - kept, kept);
		offset += n;
	}
}
