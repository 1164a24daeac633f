/* The virtio-serial port that carries the host's streams under banger-vmm. */
#pragma once

#include <stdbool.h>

#include "base/macros.h"

#define PORT_NAME "org.banger.agent"

/* Opens /dev/vportNpM of that name, non-blocking: an fd, -ENOENT while there is none, or another
 * -errno. */
int port_open(void) MUST_CHECK;

/* Whether the host's side of it is connected: without that, reads say end and polling says hang-up
 * for ever. */
bool port_is_connected(int port_fd) MUST_CHECK;
