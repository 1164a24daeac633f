/*
 * The way to a guest's agent: the VMM's vsock socket, `CONNECT <port>\n`, `OK <number>\n`, then the
 * stream. Everything that comes back is hostile: each call has a deadline (CLOCK_BOOTTIME
 * nanoseconds, UINT64_MAX for none) and a byte cap, and no text of the guest reaches a message
 * unescaped.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define GUEST_CONNECT_REPLY_MAX 32 /* "OK 4294967295\n" is 14; the reader never takes more */

/*
 * Connects to `port` in the guest; *ret_fd is a blocking stream socket at the first byte of the
 * agent. ERR_NOT_FOUND when nothing listens on the socket or, as the VMM says by closing, in the
 * guest (yet); ERR_TIMEOUT, ERR_CANCELLED; ERR_PROTOCOL when the reply is not exactly OK, a number
 * and a newline.
 */
int guest_connect(const char *socket_path, uint32_t port, const struct cancel *cancel,
		  uint64_t deadline_ns, int *ret_fd, struct err *err) MUST_CHECK;

/*
 * Judges what came so far of the CONNECT reply: 1 it is complete, 0 more is needed, -1 it is wrong.
 * Pure; for guest_connect() and its fuzzer. `reply` is at most GUEST_CONNECT_REPLY_MAX bytes.
 */
int guest_connect_reply(struct span reply) MUST_CHECK;

/*
 * Sends `request` as one line on `fd` and reads the reply line, not one byte more. On
 * {"ok":true,...} the object is *ret_reply (NULL to drop it); on {"ok":false} `err` has the agent's
 * kind and escaped message.
 */
int guest_call(int fd, const json_t *request, const struct cancel *cancel, uint64_t deadline_ns,
	       json_t **ret_reply, struct err *err) MUST_CHECK;

/* Judges a reply line (without its newline) in the same way. Pure; for guest_call() and its fuzzer.
 */
int guest_read_reply(struct span line, json_t **ret_reply, struct err *err) MUST_CHECK;
