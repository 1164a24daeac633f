/*
 * The first byte chooses: arbitrary bytes into one mux whose owner reacts to every event; or two
 * muxes that are driven by the bytes, where each stream must deliver exactly what was written to
 * it.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "mux/mux.h"

#define HOST_SESSION  0x1111222233334444ULL
#define GUEST_SESSION 0x5555666677778888ULL
#define PAIRS_MAX     8
#define TURNS_MAX     100000

#define REQUIRE(condition)        \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

struct input {
	const uint8_t *ptr;
	size_t len;
};

static uint8_t next_byte(struct input *input)
{
	if (input->len == 0)
		return 0;
	input->len--;
	return *input->ptr++;
}

/* Accepts, refuses, consumes and answers as the bytes of the stream say, so that all states are
 * reached. */
static void react(struct mux *mux, const struct mux_event *event)
{
	struct span bytes;

	switch (event->kind) {
	case MUX_EVENT_OPEN:
		if (event->port % 4 == 3)
			mux_refuse(mux, event->stream, MUX_REFUSED_NOBODY);
		else
			mux_accept(mux, event->stream);
		break;
	case MUX_EVENT_READABLE:
		bytes = mux_peek(mux, event->stream);
		(void)!mux_write(mux, event->stream, bytes);
		mux_consume(mux, event->stream, mux_peek(mux, event->stream).len / 2);
		if (mux_peer_ended(mux, event->stream) || event->port % 4 == 2) {
			mux_end(mux, event->stream);
			mux_close(mux, event->stream);
		}
		break;
	case MUX_EVENT_REFUSED:
	case MUX_EVENT_RESET:
		REQUIRE(mux_room(mux, event->stream) == 0);
		mux_close(mux, event->stream);
		break;
	case MUX_EVENT_UP:
	case MUX_EVENT_DOWN:
	case MUX_EVENT_ACCEPTED:
	case MUX_EVENT_WRITABLE:
		break;
	}
}

static void react_to_all(struct mux *mux)
{
	struct mux_event event;

	while (mux_next_event(mux, &event))
		react(mux, &event);
	REQUIRE(mux_stream_count(mux) <= MUX_STREAMS_MAX);
}

static void feed_anything(struct input input)
{
	static const char hello[] = "\1\1\0\0\0\0\0\0\0\0\0\x18"
				    "BNGRMUX\n"
				    "fuzz.mux"
				    "\x11\x11\x22\x22\x33\x33\x44\x44";
	struct mux *mux = mux_new(MUX_HOST, HOST_SESSION);
	struct err err = ERR_INIT;
	uint32_t stream;

	REQUIRE(mux_feed(mux, span_of(hello, sizeof(hello) - 1), &err) == 0);
	REQUIRE(mux_is_up(mux) && mux_open(mux, 1, &stream) == 0);
	while (input.len > 0) {
		const size_t piece = (size_t)next_byte(&input) + 1;
		const size_t len = piece < input.len ? piece : input.len;
		const int r = mux_feed(mux, span_of(input.ptr, len), &err);

		input.ptr += len;
		input.len -= len;
		react_to_all(mux);
		mux_sent(mux, mux_output(mux).len);
		if (r < 0) {
			/* What was wrong is said, again when asked again, and a restart cures it.
			 */
			struct err again = ERR_INIT;

			REQUIRE(err.kind == ERR_PROTOCOL && err.message[0] != '\0');
			REQUIRE(mux_feed(mux, span_of("x", 1), &again) < 0);
			REQUIRE(strcmp(err.message, again.message) == 0);
			mux_restart(mux, HOST_SESSION + 1);
			break;
		}
	}
	mux_free(mux);
}

/* A stream between the two, and how far each direction has come: byte i of a direction is i modulo
 * 251. */
struct flow {
	uint32_t number[2];
	size_t written[2];
	size_t taken[2];
	bool is_open;
};

struct world {
	struct mux *mux[2];
	struct flow flows[PAIRS_MAX];
	size_t flow_count;
};

static void move(struct mux *from, struct mux *to, size_t piece)
{
	const struct span out = mux_output(from);
	const size_t len = out.len < piece ? out.len : piece;
	struct err err = ERR_INIT;

	/* A mux never violates its own protocol. */
	REQUIRE(mux_feed(to, span_of(out.ptr, len), &err) == 0);
	mux_sent(from, len);
}

static void take_events(struct world *world, size_t side)
{
	struct mux_event event;

	while (mux_next_event(world->mux[side], &event)) {
		if (event.kind == MUX_EVENT_OPEN) {
			world->flows[event.port].number[side] = event.stream;
			world->flows[event.port].is_open = true;
			mux_accept(world->mux[side], event.stream);
		}
		REQUIRE(event.kind != MUX_EVENT_RESET && event.kind != MUX_EVENT_REFUSED);
	}
}

static void write_some(struct world *world, struct flow *flow, size_t side, size_t count)
{
	uint8_t bytes[4096];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)((flow->written[side] + i) % 251);
	flow->written[side] +=
		mux_write(world->mux[side], flow->number[side],
			  span_of(bytes, count < sizeof(bytes) ? count : sizeof(bytes)));
}

static void take_some(struct world *world, struct flow *flow, size_t side, size_t count)
{
	const struct span bytes = mux_peek(world->mux[side], flow->number[side]);
	const size_t len = count < bytes.len ? count : bytes.len;

	for (size_t i = 0; i < len; i++)
		REQUIRE(bytes.ptr[i] == (uint8_t)((flow->taken[side] + i) % 251));
	mux_consume(world->mux[side], flow->number[side], len);
	flow->taken[side] += len;
	REQUIRE(flow->taken[side] <= flow->written[1 - side]);
}

static void act(struct world *world, uint8_t what, size_t amount)
{
	const size_t side = what >> 7;
	struct flow *flow = &world->flows[what % PAIRS_MAX];

	switch (what >> 4 & 7) {
	case 0:
		if (world->flow_count < PAIRS_MAX &&
		    mux_open(world->mux[side], (uint32_t)world->flow_count,
			     &world->flows[world->flow_count].number[side]) == 0)
			world->flow_count++;
		break;
	case 1:
	case 2:
	case 3:
		if (flow->is_open)
			write_some(world, flow, side, amount * 17);
		break;
	case 4:
	case 5:
		if (flow->is_open)
			take_some(world, flow, side, amount * 31);
		break;
	default:
		move(world->mux[side], world->mux[1 - side], amount * 67);
		break;
	}
}

/* Everything that was written arrives once all is moved and taken. */
static void settle(struct world *world)
{
	bool is_moving = true;

	for (size_t turn = 0; is_moving; turn++) {
		REQUIRE(turn < TURNS_MAX);
		is_moving = false;
		for (size_t side = 0; side < 2; side++) {
			is_moving = mux_output(world->mux[side]).len > 0 || is_moving;
			move(world->mux[side], world->mux[1 - side], SIZE_MAX);
			take_events(world, 1 - side);
		}
		for (size_t i = 0; i < world->flow_count; i++) {
			for (size_t side = 0; side < 2 && world->flows[i].is_open; side++)
				take_some(world, &world->flows[i], side, SIZE_MAX);
		}
	}
	for (size_t i = 0; i < world->flow_count; i++) {
		REQUIRE(world->flows[i].taken[0] == world->flows[i].written[1]);
		REQUIRE(world->flows[i].taken[1] == world->flows[i].written[0]);
	}
}

static void drive_pair(struct input input)
{
	struct world world = { .mux = { mux_new(MUX_HOST, HOST_SESSION),
					mux_new(MUX_GUEST, GUEST_SESSION) } };

	settle(&world);
	REQUIRE(mux_is_up(world.mux[0]) && mux_is_up(world.mux[1]));
	while (input.len > 0) {
		const uint8_t what = next_byte(&input);

		act(&world, what, next_byte(&input));
		take_events(&world, 0);
		take_events(&world, 1);
	}
	settle(&world);
	mux_free(world.mux[0]);
	mux_free(world.mux[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };

	if (next_byte(&input) % 2 == 0)
		feed_anything(input);
	else
		drive_pair(input);
	return 0;
}
