/*
 * Ed25519 keys in OpenSSH's own formats (openssh-portable: PROTOCOL.key "openssh-key-v1"; RFC 8709
 * section 4 for the public blob), which ssh and sshd read and OpenSSL does not write. The key
 * itself comes from OpenSSL.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"

/*
 * Makes a new key. `private_pem` gets the unencrypted private key file's text (wipe it after use),
 * `public_line` "ssh-ed25519 AAAA... comment" without a newline. The comment is ASCII without
 * blanks.
 */
int ssh_key_generate(const char *comment, struct buf *private_pem, struct buf *public_line,
		     struct err *err) MUST_CHECK;

/* Overwrites the bytes before they are released. */
void ssh_key_wipe(struct buf *secret);
