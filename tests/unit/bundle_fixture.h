/* Tars and bundles made by the tests, right ones and wrong ones. */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

/* Appends a header; the checksum is right. `type` is '0' for a file. */
void fixture_tar_header(struct buf *out, const char *name, char type, uint64_t size);

/* Appends a file: header, content, padding. */
void fixture_tar_file(struct buf *out, const char *name, struct span content);

/* The two blocks at the end. */
void fixture_tar_end(struct buf *out);

/* Makes the checksum of the last header right again, after a change to its 512 bytes. */
void fixture_tar_seal(uint8_t *header);

/* Appends a line of SHA256SUMS. */
void fixture_sum(struct buf *sums, const char *name, struct span content);

/* Appends `bytes` as one zstd frame; window_log 0 is the compressor's choice. */
void fixture_zstd(struct buf *out, struct span bytes, int window_log);

/* Members of a whole bundle. `type` 0 is a regular file. */
struct fixture_member {
	const char *name;
	struct span content;
	char type;
};

/* SHA256SUMS of all members, the members, the end. */
void fixture_bundle_tar(struct buf *out, const struct fixture_member *members, size_t count);

/* A file with these bytes, at its start, that has no name any more. */
int fixture_file(struct span bytes);
