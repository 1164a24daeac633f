/* The machine-id(5) of the guest: /etc/machine-id, and D-Bus's copy of it. */
#pragma once

#include <stdint.h>

#include "base/macros.h"

#define MACHINE_ID_SIZE 33 /* 32 hexadecimal digits and a terminator */

/* Reads the id below `root_fd`; "" where there is none yet. 0 or -errno. */
int machine_id_read(int root_fd, char ret[static MACHINE_ID_SIZE]) MUST_CHECK;

/* Replaces what is there, also where systemd has mounted an id of this boot over it. 0 or -errno.
 */
int machine_id_write(int root_fd, const char *id) MUST_CHECK;

/*
 * Makes a random one where there is none. With one in place systemd also skips its "first boot",
 * which would enable units by preset.
 */
int machine_id_ensure(int root_fd) MUST_CHECK;

/* Makes random bytes a version 4 UUID. */
void uuid_mark_random(uint8_t bytes[static 16]);
