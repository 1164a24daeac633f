/*
 * The members of an uncompressed tar: names and where their bytes are. For archives of images, of
 * which little but this is wanted, and which are too hostile for a large library in the daemon.
 *
 * Known are ustar, GNU's long names and large sizes, and pax (path, linkpath, size). Only files,
 * symbolic and hard links are kept; of all others there is a name. Nothing is read but headers.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define TAR_INDEX_MEMBERS_MAX 4096 /* an image of OCI_LAYERS_MAX has some 3000 */
#define TAR_INDEX_NAME_MAX    1024
#define TAR_BLOCK_BYTES	      512

enum tar_member_type { TAR_MEMBER_FILE, TAR_MEMBER_LINK, TAR_MEMBER_OTHER };

struct tar_member {
	enum tar_member_type type;
	char *name;	 /* owned; as written, without "./" before it and "/" behind it */
	char *target;	 /* owned: of a link, from the archive's root; NULL otherwise */
	uint64_t offset; /* of its bytes in the archive */
	uint64_t size;
};

struct tar_index {
	struct tar_member *members; /* owned */
	size_t count;
	size_t cap;
};

#define TAR_INDEX_INIT ((struct tar_index){ .members = NULL })

/* Reads all headers of the regular file `fd`. ERR_PROTOCOL: no tar, or a damaged one; ERR_LIMIT. */
int tar_index_read(int fd, const struct cancel *cancel, struct tar_index *ret, struct err *err)
	MUST_CHECK;
void tar_index_done(struct tar_index *index);
#define AUTO_TAR_INDEX CLEANUP(tar_index_done) struct tar_index

/*
 * The file with that name; one link is followed. ERR_PROTOCOL when there is none, when two members
 * have the name, when it is no file, or a link to what is none.
 */
int tar_index_find(const struct tar_index *index, const char *name, const struct tar_member **ret,
		   struct err *err) MUST_CHECK;
