/* Text files that the guest owns and we add to: /etc/hosts and authorized_keys. Pure. */
#pragma once

#include "base/buf.h"
#include "base/span.h"
#include "base/strv.h"

/*
 * Appends what /etc/hosts becomes: every line that was there stays, except that the line for
 * 127.0.1.1 (where Debian keeps a machine's own name) now has `hostname`, and localhost gets lines
 * if it had none.
 */
void hosts_edit(struct span existing, const char *hostname, struct buf *out);

/*
 * Appends what authorized_keys becomes: the lines that are not ours stay; ours are a marked block
 * at the end, replaced as a whole, so that a key that was taken away is gone.
 */
void authorized_keys_edit(struct span existing, const struct strv *keys, struct buf *out);
