/*
 * The way to the daemon: finding it, starting it when it is not running, and agreeing on the
 * version. A daemon of another version is replaced when it is idle (running VMs go on) and left
 * alone, with both versions told, when it is not.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "config/paths.h"
#include "rpc/client.h"

struct cli;

#define LINK_ANSWER_MS 1000  /* how long a daemon may take to answer a ping */
#define LINK_START_MS  10000 /* how long it may take to begin listening */
#define LINK_STOP_MS   10000 /* how long one that was told to stop may take */

/* The folders, from the environment. */
int link_paths(struct paths *ret, struct err *err) MUST_CHECK;

/* Connects cli->client to a daemon of this very version, started or restarted where needed. */
int link_open(struct cli *cli, struct err *err) MUST_CHECK;

/* The same to whichever daemon runs; ERR_NOT_FOUND when none does. `ret_ping` may be NULL. */
int link_open_running(struct cli *cli, json_t **ret_ping, struct err *err) MUST_CHECK;

/*
 * What `bangerd --defaults` prints: {"default_image", "defaults"} as in daemon.status, from the
 * configuration and the host, without a daemon.
 */
int link_read_defaults(struct cli *cli, json_t **ret, struct err *err) MUST_CHECK;

/*
 * What `bangerd OPTION` prints as JSON ("--plan", "--census"), for when no daemon runs.
 */
int link_read_view(struct cli *cli, const char *option, json_t **ret, struct err *err) MUST_CHECK;

/* Waits until the daemon that was told to stop has gone. */
int link_wait_gone(struct cli *cli, const char *socket, struct err *err) MUST_CHECK;

/* Judges what a starting daemon said on its ready descriptor: 0 ready, else its error. Pure. */
int link_read_ready(struct span said, struct err *err) MUST_CHECK;

/* "0.1.0 (1a2b3c4)". */
void link_format_version(const char *version, const char *commit, struct buf *out);
