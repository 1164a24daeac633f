/*
 * The binary frames that follow the JSON lines of the agent protocol. Big endian: u8 type, three
 * zero bytes, u32 payload length, payload of at most WIRE_PAYLOAD_MAX bytes. Pure functions, no
 * allocation but the caller's buffer. A decoder is told whose frames it reads, and refuses those of
 * the other direction.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"

#define WIRE_HEADER_SIZE 8
#define WIRE_PAYLOAD_MAX 65536
#define WIRE_FRAME_MAX	 (WIRE_HEADER_SIZE + WIRE_PAYLOAD_MAX)

enum wire_type {
	/* host to guest */
	WIRE_PART = 1,	/* bytes of a string that is too long for one frame; ARG or ENV ends it */
	WIRE_ARG = 2,	/* one argument, without NUL */
	WIRE_ENV = 3,	/* one NAME=VALUE, without NUL */
	WIRE_START = 4, /* empty: argv and env are complete */
	WIRE_STDIN = 5, /* 1 byte or more */
	WIRE_STDIN_EOF = 6, /* empty */
	WIRE_SIGNAL = 7,    /* u8 signal number */
	WIRE_WINSIZE = 8,   /* u16 rows, u16 columns, u16 width and u16 height in pixels or 0 */

	/* guest to host */
	WIRE_STDOUT = 16, /* 1 byte or more */
	WIRE_STDERR = 17, /* 1 byte or more; never with a tty */
	WIRE_EXIT = 18,	  /* u8 enum wire_exit_kind, three zero bytes, u32 code; the last frame */
	WIRE_STDIN_TAKEN = 19, /* u32 bytes of STDIN that the command took, or will never take */

	/* both */
	WIRE_DATA = 32,	 /* a piece of the tar stream, 1 byte or more */
	WIRE_END = 33,	 /* the tar stream is complete; from the guest, a short JSON summary */
	WIRE_ERROR = 34, /* guest to host: UTF-8 text; the operation failed; the last frame */
};

enum wire_sender { WIRE_FROM_HOST, WIRE_FROM_GUEST };

enum wire_exit_kind {
	WIRE_EXITED = 1,   /* code: exit status, 0 to 255 */
	WIRE_SIGNALED = 2, /* code: signal number, 1 to 64 */
};

struct wire_frame {
	enum wire_type type;
	struct span payload; /* borrowed from the decoder's bytes */
};

struct wire_winsize {
	uint16_t rows;
	uint16_t cols;
	uint16_t width; /* pixels */
	uint16_t height;
};

struct wire_exit {
	enum wire_exit_kind kind;
	uint32_t code;
};

/* The stable word for a type ("STDOUT"), for messages. */
const char *wire_type_name(enum wire_type type);

/* Writes the header of a frame; `len` must be possible for the type: see the table in frame.c. */
void wire_put_header(uint8_t header[static WIRE_HEADER_SIZE], enum wire_type type, size_t len);

/* Appends one frame; END and ERROR take at most WIRE_MESSAGE_MAX bytes, others WIRE_PAYLOAD_MAX. */
void wire_add_frame(struct buf *out, enum wire_type type, struct span payload);

/* Appends a string as PART... and one final `type` frame (WIRE_ARG or WIRE_ENV). */
void wire_add_string(struct buf *out, enum wire_type type, struct span text);

void wire_add_signal(struct buf *out, uint8_t number);
void wire_add_winsize(struct buf *out, struct wire_winsize size);
void wire_add_exit(struct buf *out, struct wire_exit status);
void wire_add_taken(struct buf *out, uint32_t bytes);

/*
 * Takes one frame from `cursor`: 1 and *ret, or 0 when more bytes are needed (cursor untouched), or
 * < 0 with ERR_PROTOCOL: unknown type, not of that sender, reserved bytes not zero, length over the
 * maximum or not possible for the type. The header is judged as soon as it is there.
 */
int wire_decode(struct span *cursor, enum wire_sender sender, struct wire_frame *ret,
		struct err *err) MUST_CHECK;

/* Payload readers; the frame must be of that type. false when a value makes no sense. */
bool wire_read_signal(const struct wire_frame *frame, uint8_t *ret) MUST_CHECK; /* 1 to 64 */
bool wire_read_winsize(const struct wire_frame *frame, struct wire_winsize *ret) MUST_CHECK;

/* `code` is returned as it came: judging it is the reader's business. false: unknown kind. */
bool wire_read_exit(const struct wire_frame *frame, struct wire_exit *ret) MUST_CHECK;

/* 1 to WIRE_STDIN_WINDOW. */
bool wire_read_taken(const struct wire_frame *frame, uint32_t *ret) MUST_CHECK;

/*
 * Bytes between a descriptor and wire_decode(): read() into the room, say how many came, take
 * frames until there is none. Holds one frame at most; WIRE_FRAME_MAX bytes large, so not for the
 * stack.
 */
struct wire_reader {
	size_t start; /* first byte that was not decoded */
	size_t end;   /* after the last byte received */
	uint8_t bytes[WIRE_FRAME_MAX];
};

void wire_reader_init(struct wire_reader *reader);

/*
 * Where to read to and how many bytes at most; at least 1 when wire_reader_next() has returned 0. A
 * frame taken before is no longer valid.
 */
uint8_t *wire_reader_room(struct wire_reader *reader, size_t *ret_size) MUST_CHECK;
void wire_reader_advance(struct wire_reader *reader, size_t count);

/* As wire_decode(); the payload is valid until wire_reader_room(). */
int wire_reader_next(struct wire_reader *reader, enum wire_sender sender, struct wire_frame *ret,
		     struct err *err) MUST_CHECK;

/* Bytes of a frame that has begun and not ended: at the end of the stream this must be 0. */
size_t wire_reader_pending(const struct wire_reader *reader);
