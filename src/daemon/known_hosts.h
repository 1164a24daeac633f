/*
 * The known_hosts file of banger's own: what each VM's sshd must show, pinned before anybody
 * connects (DESIGN, rule 6). A VM has one line, "NAME.vm ssh-ed25519 AAAA...". Its key belongs to
 * the VM for as long as that lives, so a line is found by its key as well as by its name: a VM that
 * was renamed or deleted leaves nothing behind, and a new one of an old name is never taken for it.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

struct daemon;
struct vm;

#define KNOWN_HOSTS_SUFFIX ".vm" /* what a VM is called on the way of ssh: NAME.vm */

/* state/ssh/known_hosts; owned by the caller. */
char *known_hosts_path(const struct daemon *daemon) MUST_CHECK;

/* Makes sure that the file has the VM's line, and no other for its name or its key. */
int known_hosts_pin(struct daemon *daemon, const struct vm *vm, struct err *err) MUST_CHECK;

/*
 * Removes the line of a VM whose folder is about to go. A VM without a key has none; a failure is
 * put right by the next start.
 */
int known_hosts_unpin(struct daemon *daemon, const char *id, struct err *err) MUST_CHECK;

/* Writes the file anew from all VMs: for the start. */
int known_hosts_rewrite(struct daemon *daemon, struct err *err) MUST_CHECK;

/*
 * Appends `before` without the lines that have the host `host` (NULL: only the key counts) or the
 * key `key`, and with one for both at its end if there is a host. Pure.
 */
void known_hosts_edit(struct span before, const char *host, const char *key, struct buf *after);

/* Appends type and key, "ssh-ed25519 AAAA...", of a public key's line; false when it is none. Pure.
 */
bool known_hosts_read_key(struct span line, struct buf *out) MUST_CHECK;
