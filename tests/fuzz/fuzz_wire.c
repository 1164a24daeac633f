/*
 * The first byte chooses the sender and the size of the pieces. Frames that are accepted encode
 * back to the very bytes they came from, whole or in pieces, and a collector of arguments keeps
 * within its limits.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "fuzz.h"
#include "wire/args.h"
#include "wire/protocol.h"

#define REQUIRE(condition)        \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

static void read_payload(const struct wire_frame *frame)
{
	AUTO_BUF again = BUF_INIT;
	struct wire_winsize size;
	struct wire_exit status;
	uint32_t taken;
	uint8_t number;

	if (frame->type == WIRE_SIGNAL && wire_read_signal(frame, &number))
		wire_add_signal(&again, number);
	if (frame->type == WIRE_WINSIZE && wire_read_winsize(frame, &size))
		wire_add_winsize(&again, size);
	if (frame->type == WIRE_EXIT && wire_read_exit(frame, &status))
		wire_add_exit(&again, status);
	if (frame->type == WIRE_STDIN_TAKEN && wire_read_taken(frame, &taken))
		wire_add_taken(&again, taken);
	if (again.len > 0)
		REQUIRE(span_eq(span_skip(buf_span(&again), WIRE_HEADER_SIZE), frame->payload));
}

/* Decodes all at once, and encodes again; how many bytes were good. */
static size_t decode_whole(struct span bytes, enum wire_sender sender, size_t *ret_frames,
			   bool *ret_bad)
{
	struct span cursor = bytes;
	AUTO_BUF again = BUF_INIT;
	struct wire_args args;
	struct wire_frame frame;
	struct err err = ERR_INIT;
	bool is_collecting = sender == WIRE_FROM_HOST;
	int r;

	wire_args_init(&args);
	*ret_frames = 0;
	while ((r = wire_decode(&cursor, sender, &frame, &err)) == 1) {
		++*ret_frames;
		wire_add_frame(&again, frame.type, frame.payload);
		read_payload(&frame);
		if (is_collecting && wire_args_take(&args, &frame, &err) < 0)
			is_collecting = false;
		REQUIRE(args.bytes <= WIRE_ARGS_BYTES_MAX);
		REQUIRE(args.argv.count + args.env.count <= WIRE_ARGS_COUNT_MAX);
	}
	*ret_bad = r < 0;
	if (r < 0)
		REQUIRE(err.kind == ERR_PROTOCOL && err.message[0] != '\0');
	wire_args_done(&args);
	REQUIRE(span_eq(buf_span(&again), span_of(bytes.ptr, bytes.len - cursor.len)));
	return bytes.len - cursor.len;
}

static void decode_pieces(struct span bytes, enum wire_sender sender, size_t piece, size_t frames,
			  bool is_bad)
{
	struct wire_reader *reader = mem_alloc(1, sizeof(*reader));
	struct wire_frame frame;
	struct err err = ERR_INIT;
	size_t seen = 0;
	int r = 0;

	wire_reader_init(reader);
	while (r == 0 && bytes.len > 0) {
		size_t room;
		uint8_t *into = wire_reader_room(reader, &room);
		size_t len = piece < bytes.len ? piece : bytes.len;

		REQUIRE(room > 0);
		len = len < room ? len : room;
		memcpy(into, bytes.ptr, len);
		wire_reader_advance(reader, len);
		bytes = span_skip(bytes, len);
		while ((r = wire_reader_next(reader, sender, &frame, &err)) == 1)
			seen++;
	}
	REQUIRE(seen == frames && (r < 0) == is_bad);
	mem_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum wire_sender sender;
	size_t frames;
	bool is_bad;

	if (size == 0)
		return 0;
	sender = data[0] % 2 ? WIRE_FROM_GUEST : WIRE_FROM_HOST;
	(void)decode_whole(span_of(data + 1, size - 1), sender, &frames, &is_bad);
	decode_pieces(span_of(data + 1, size - 1), sender, 1 + data[0] / 2U, frames, is_bad);
	return 0;
}
