/* The life of one connection, in a process of its own. */
#pragma once

#include "agent/state.h"

#define SERVE_FIRST_LINE_MS 10000 /* a host that says nothing is given up */

/* Reads the request from `fd`, a connected stream socket that stays the caller's, and does it. */
void serve_connection(int fd, struct agent_state *state);
