/*
 * Making a running system another machine. A VM that was restored from the memory of another one
 * (a template, or a VM that was forked) has that one's name, address, keys and randomness until
 * this is done; the host lets nobody reach it before it has seen what is answered here.
 *
 * The order is fixed: what this needs is writable (file systems that stand still go on); the
 * kernel gets the new randomness, so that all that is made afterwards is drawn from it; time,
 * interface, hostname; what the old machine had made for itself is replaced; files; programs that
 * have read the old files are told. /etc/machine-id comes last of the files: a renewal that has
 * failed half-way finds the old one and does everything again, one that is asked twice finds the
 * new one and changes nothing more. No program is started: that would cost more than all of it.
 *
 * What it cannot change is in docs/templates.md.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "agent/conn.h"
#include "agent/identity.h"
#include "agent/programs.h"
#include "agent/request.h"
#include "base/err.h"
#include "base/macros.h"

/* What a renewal has begun and renew_finish() ends. */
struct renewal {
	bool is_other; /* it was another machine before */
	struct programs programs;
};

/* Does all of it but what can wait; the first failure is what `err` says. */
int renew_run(const struct identity *identity, struct renewal *ret, struct err *err) MUST_CHECK;

/* What the machine says that it is, read back after all was done; *ret is given. */
int renew_confirm(const struct identity *identity, json_t **ret, struct err *err) MUST_CHECK;

/*
 * The rest, which costs processor time that the first command would miss: to be called when the
 * host has its answer. Waits before it begins.
 */
void renew_finish(const struct renewal *renewal);

/*
 * Replaces and removes below `root_fd` what a machine makes for itself and two must not share:
 * random seeds, secrets, keys that the host does not give, leases. The journal of `old_id` becomes
 * that of `new_id`. For renew_run() and its test. 0 or < 0.
 */
int renew_files(int root_fd, const char *old_id, const char *new_id, struct err *err) MUST_CHECK;

/* The `identity` request: a renewal, or what changes for a machine that stays itself. */
int identity_serve(struct conn *conn, const struct request *request, struct err *err) MUST_CHECK;
