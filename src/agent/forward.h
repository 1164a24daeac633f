/* The `forward` request: a raw stream between the host and a socket in the guest. */
#pragma once

#include <stdint.h>

#include "agent/conn.h"
#include "agent/request.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

/* Connects to a TCP port of the guest's own loopback: a descriptor, or -errno. */
int forward_connect_tcp(uint16_t port) MUST_CHECK;

int forward_serve(struct conn *conn, const struct request *request, struct err *err) MUST_CHECK;

/*
 * Moves bytes both ways between two connected stream sockets until both directions have ended, or
 * one socket breaks; an end of input at one is a half-close of the other. `first` goes to `b`
 * before anything else.
 */
void relay_run(int a, int b, struct span first);
