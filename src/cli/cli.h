/* The program `banger`: what every command shares, and the way from argv to an exit status. */
#pragma once

#include <stdbool.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/strv.h"
#include "cli/command.h"
#include "cli/out.h"

struct rpc_client;

struct cli {
	struct out out;
	struct cancel cancel;	   /* fired by the first SIGINT, SIGTERM or SIGHUP */
	int in_fd;		   /* borrowed: standard input */
	struct strv warned;	   /* owned: the warnings that were printed */
	struct rpc_client *client; /* owned: the connection, from link_open() on; NULL before */
};

/* Runs argv and returns the exit status; what was to be printed has been. */
int cli_main(int argc, char **argv) MUST_CHECK;

/*
 * Prints the mistake and where help is ("see 'banger vm run --help'"); returns EXIT_USAGE.
 * `command` may be NULL.
 */
int cli_usage(struct cli *cli, const struct command *command, struct err *err) MUST_CHECK;

/* Prints the error and returns EXIT_FAILED, or 128 + n when a signal is what cancelled. */
int cli_fail(struct cli *cli, struct err *err) MUST_CHECK;

/* `status`, or 128 + n when a signal asked the program to end. */
int cli_status(const struct cli *cli, int status) MUST_CHECK;

/* Prints the "warnings" of a result, if it has any, each only once in the program's life. */
void cli_print_warnings(struct cli *cli, const json_t *result);
