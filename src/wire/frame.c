#include "wire/frame.h"

#include <assert.h>
#include <string.h>

#include "wire/protocol.h"

#define SIGNAL_MAX 64

enum { BY_HOST = 1, BY_GUEST = 2 };

/* What may come from whom, and how long it may be. Types without a name do not exist. */
static const struct {
	const char *name;
	uint8_t senders;
	uint32_t len_min;
	uint32_t len_max;
} types[] = {
	[WIRE_PART] = { "PART", BY_HOST, 1, WIRE_PAYLOAD_MAX },
	[WIRE_ARG] = { "ARG", BY_HOST, 0, WIRE_PAYLOAD_MAX },
	[WIRE_ENV] = { "ENV", BY_HOST, 0, WIRE_PAYLOAD_MAX },
	[WIRE_START] = { "START", BY_HOST, 0, 0 },
	[WIRE_STDIN] = { "STDIN", BY_HOST, 1, WIRE_PAYLOAD_MAX },
	[WIRE_STDIN_EOF] = { "STDIN_EOF", BY_HOST, 0, 0 },
	[WIRE_SIGNAL] = { "SIGNAL", BY_HOST, 1, 1 },
	[WIRE_WINSIZE] = { "WINSIZE", BY_HOST, 8, 8 },
	[WIRE_STDOUT] = { "STDOUT", BY_GUEST, 1, WIRE_PAYLOAD_MAX },
	[WIRE_STDERR] = { "STDERR", BY_GUEST, 1, WIRE_PAYLOAD_MAX },
	[WIRE_EXIT] = { "EXIT", BY_GUEST, 8, 8 },
	[WIRE_STDIN_TAKEN] = { "STDIN_TAKEN", BY_GUEST, 4, 4 },
	[WIRE_DATA] = { "DATA", BY_HOST | BY_GUEST, 1, WIRE_PAYLOAD_MAX },
	[WIRE_END] = { "END", BY_HOST | BY_GUEST, 0, WIRE_MESSAGE_MAX },
	[WIRE_ERROR] = { "ERROR", BY_GUEST, 0, WIRE_MESSAGE_MAX },
};

static uint32_t get_be32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

static uint16_t get_be16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static bool type_is_known(size_t type)
{
	return type < ARRAY_LEN(types) && types[type].name;
}

const char *wire_type_name(enum wire_type type)
{
	return type_is_known(type) ? types[type].name : "unknown";
}

void wire_put_header(uint8_t header[static WIRE_HEADER_SIZE], enum wire_type type, size_t len)
{
	assert(type_is_known(type) && len >= types[type].len_min && len <= types[type].len_max);
	header[0] = (uint8_t)type;
	memset(header + 1, 0, 3);
	header[4] = (uint8_t)(len >> 24 & 0xFF);
	header[5] = (uint8_t)(len >> 16 & 0xFF);
	header[6] = (uint8_t)(len >> 8 & 0xFF);
	header[7] = (uint8_t)(len & 0xFF);
}

void wire_add_frame(struct buf *out, enum wire_type type, struct span payload)
{
	uint8_t header[WIRE_HEADER_SIZE];

	wire_put_header(header, type, payload.len);
	buf_add(out, span_of(header, sizeof(header)));
	buf_add(out, payload);
}

void wire_add_string(struct buf *out, enum wire_type type, struct span text)
{
	while (text.len > WIRE_PAYLOAD_MAX) {
		wire_add_frame(out, WIRE_PART, span_of(text.ptr, WIRE_PAYLOAD_MAX));
		text = span_skip(text, WIRE_PAYLOAD_MAX);
	}
	wire_add_frame(out, type, text);
}

void wire_add_signal(struct buf *out, uint8_t number)
{
	wire_add_frame(out, WIRE_SIGNAL, span_of(&number, 1));
}

void wire_add_winsize(struct buf *out, struct wire_winsize size)
{
	uint8_t header[WIRE_HEADER_SIZE];

	wire_put_header(header, WIRE_WINSIZE, 8);
	buf_add(out, span_of(header, sizeof(header)));
	buf_add_be16(out, size.rows);
	buf_add_be16(out, size.cols);
	buf_add_be16(out, size.width);
	buf_add_be16(out, size.height);
}

void wire_add_exit(struct buf *out, struct wire_exit status)
{
	uint8_t header[WIRE_HEADER_SIZE];

	wire_put_header(header, WIRE_EXIT, 8);
	buf_add(out, span_of(header, sizeof(header)));
	buf_add_be32(out, (uint32_t)status.kind << 24);
	buf_add_be32(out, status.code);
}

void wire_add_taken(struct buf *out, uint32_t bytes)
{
	uint8_t header[WIRE_HEADER_SIZE];

	wire_put_header(header, WIRE_STDIN_TAKEN, 4);
	buf_add(out, span_of(header, sizeof(header)));
	buf_add_be32(out, bytes);
}

int wire_decode(struct span *cursor, enum wire_sender sender, struct wire_frame *ret,
		struct err *err)
{
	const uint8_t *head = cursor->ptr;
	const uint8_t by = sender == WIRE_FROM_HOST ? BY_HOST : BY_GUEST;
	uint32_t len;

	if (cursor->len == 0)
		return 0;
	if (!type_is_known(head[0]))
		return err_set(err, ERR_PROTOCOL, "frame of unknown type %u", head[0]);
	if (!(types[head[0]].senders & by))
		return err_set(err, ERR_PROTOCOL, "%s frame from the %s", types[head[0]].name,
			       sender == WIRE_FROM_HOST ? "host" : "guest");
	if (cursor->len < WIRE_HEADER_SIZE)
		return 0;
	if (head[1] != 0 || head[2] != 0 || head[3] != 0)
		return err_set(err, ERR_PROTOCOL, "%s frame with reserved bits",
			       types[head[0]].name);
	len = get_be32(head + 4);
	if (len < types[head[0]].len_min || len > types[head[0]].len_max)
		return err_set(err, ERR_PROTOCOL, "%s frame of %u bytes", types[head[0]].name, len);
	if (cursor->len - WIRE_HEADER_SIZE < len)
		return 0;

	*ret = (struct wire_frame){ .type = (enum wire_type)head[0],
				    .payload = span_of(head + WIRE_HEADER_SIZE, len) };
	*cursor = span_skip(*cursor, WIRE_HEADER_SIZE + (size_t)len);
	return 1;
}

bool wire_read_signal(const struct wire_frame *frame, uint8_t *ret)
{
	assert(frame->type == WIRE_SIGNAL);
	if (frame->payload.ptr[0] < 1 || frame->payload.ptr[0] > SIGNAL_MAX)
		return false;
	*ret = frame->payload.ptr[0];
	return true;
}

bool wire_read_winsize(const struct wire_frame *frame, struct wire_winsize *ret)
{
	const uint8_t *bytes = frame->payload.ptr;

	assert(frame->type == WIRE_WINSIZE);
	if (get_be16(bytes) == 0 || get_be16(bytes + 2) == 0)
		return false;
	*ret = (struct wire_winsize){ .rows = get_be16(bytes),
				      .cols = get_be16(bytes + 2),
				      .width = get_be16(bytes + 4),
				      .height = get_be16(bytes + 6) };
	return true;
}

bool wire_read_exit(const struct wire_frame *frame, struct wire_exit *ret)
{
	const uint8_t *bytes = frame->payload.ptr;

	assert(frame->type == WIRE_EXIT);
	if ((bytes[0] != WIRE_EXITED && bytes[0] != WIRE_SIGNALED) || bytes[1] != 0 ||
	    bytes[2] != 0 || bytes[3] != 0)
		return false;
	*ret = (struct wire_exit){ .kind = (enum wire_exit_kind)bytes[0],
				   .code = get_be32(bytes + 4) };
	return true;
}

bool wire_read_taken(const struct wire_frame *frame, uint32_t *ret)
{
	const uint32_t bytes = get_be32(frame->payload.ptr);

	assert(frame->type == WIRE_STDIN_TAKEN);
	if (bytes == 0 || bytes > WIRE_STDIN_WINDOW)
		return false;
	*ret = bytes;
	return true;
}

void wire_reader_init(struct wire_reader *reader)
{
	reader->start = reader->end = 0;
}

uint8_t *wire_reader_room(struct wire_reader *reader, size_t *ret_size)
{
	const size_t len = reader->end - reader->start;

	memmove(reader->bytes, reader->bytes + reader->start, len);
	reader->start = 0;
	reader->end = len;
	*ret_size = sizeof(reader->bytes) - len;
	return reader->bytes + len;
}

void wire_reader_advance(struct wire_reader *reader, size_t count)
{
	assert(count <= sizeof(reader->bytes) - reader->end);
	reader->end += count;
}

int wire_reader_next(struct wire_reader *reader, enum wire_sender sender, struct wire_frame *ret,
		     struct err *err)
{
	struct span cursor = span_of(reader->bytes + reader->start, reader->end - reader->start);
	const int r = wire_decode(&cursor, sender, ret, err);

	reader->start = reader->end - cursor.len;
	return r;
}

size_t wire_reader_pending(const struct wire_reader *reader)
{
	return reader->end - reader->start;
}
