/*
 * The `grow` request: the host has made disks larger under a machine that runs, as it does with the
 * copies of a template's. Waits until the devices are that large, and grows what is mounted of
 * them.
 */
#pragma once

#include "agent/conn.h"
#include "agent/request.h"
#include "base/err.h"
#include "base/macros.h"

int grow_serve(struct conn *conn, const struct request *request, struct err *err) MUST_CHECK;
