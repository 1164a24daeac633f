/*
 * The `ssh` request: a raw stream to the guest's sshd. One that listens on port 22 gets it as a
 * connection; where none does (there is no network, or the image's services are not up yet) one is
 * started for this stream alone, as inetd would, with the host key that the host made.
 */
#pragma once

#include "agent/conn.h"
#include "agent/request.h"
#include "base/err.h"
#include "base/macros.h"

/* ERR_NOT_FOUND: the image has no sshd. Does not return once an sshd of its own has the stream. */
int ssh_serve(struct conn *conn, const struct request *request, struct err *err) MUST_CHECK;
