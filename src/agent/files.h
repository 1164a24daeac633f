/*
 * The `put` and `get` requests: tar streams into and out of the guest. libarchive knows the
 * formats; what touches the file system is here, by descriptors, and leaves the named folder over
 * no link.
 */
#pragma once

#include "agent/conn.h"
#include "agent/request.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define FILES_DEPTH_MAX	  128 /* folders inside one another in `get`: each holds a descriptor */
#define FILES_FOLDERS_MAX (1 << 20) /* in one `put`: their modes and times are set at its end */

/*
 * A name of a tar entry as a path below the target: no "./" in front, no "//", no slash at the end;
 * "" for the target itself. False for absolute names, ".." and names over PATH_MAX; `ret` is
 * untouched then. Pure.
 */
bool files_clean_name(struct span name, struct buf *ret) MUST_CHECK;

int put_serve(struct conn *conn, const struct request *request, struct err *err) MUST_CHECK;
int get_serve(struct conn *conn, const struct request *request, struct err *err) MUST_CHECK;

/* What is at a path, links followed: the answer to `look`. */
int look_serve(struct conn *conn, const struct request *request, struct err *err) MUST_CHECK;
