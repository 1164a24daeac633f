/*
 * A `put` of which the guest has all or nothing: the stream is extracted in a folder of its own
 * inside the target, and moved to where it goes when the last byte has come. A folder that is there
 * is merged with the one that comes and keeps its mode; a file or link takes the place of a file or
 * link, never of a folder.
 */
#pragma once

#include "base/err.h"
#include "base/macros.h"

#define STAGE_PREFIX ".banger-staged." /* and the number of the process that serves the put */

/* An empty folder for the stream in `top_fd`; what processes left there that have died goes. */
int stage_begin(int top_fd, int *ret_fd, struct err *err) MUST_CHECK;

/*
 * Moves what is in the stage to where it goes. Before anything is moved it is made sure that
 * nothing is in the way; links that stand in `top_fd` are followed as long as they stay in it.
 */
int stage_commit(int top_fd, int stage_fd, struct err *err) MUST_CHECK;

/* Removes this process's stage with what is still in it. */
void stage_end(int top_fd);
