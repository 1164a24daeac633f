/* Headers that are looked at once more, wherever they lie in the window on the stream. */
#include <string.h>

#include "check.h"
#include "ext4/tar_header.h"

#define BLOCK 512U

/* Appends to the stream, in as many pieces as the ring wants. */
static void add(struct tar_window *window, const void *bytes, size_t size)
{
	const uint8_t *from = bytes;

	while (size > 0) {
		size_t room;
		uint8_t *to = tar_window_room(window, &room);

		if (room > size)
			room = size;
		memcpy(to, from, room);
		window->end += room;
		from += room;
		size -= room;
	}
}

static void add_zeros(struct tar_window *window, uint64_t size)
{
	static const uint8_t zeros[1 << 16];

	while (size > 0) {
		const size_t piece = size < sizeof(zeros) ? (size_t)size : sizeof(zeros);

		add(window, zeros, piece);
		size -= piece;
	}
}

/* A header with its content, filled up to whole blocks. */
static void add_header(struct tar_window *window, char type, const char *size_text,
		       const void *content, size_t size)
{
	char block[BLOCK] = { 0 };

	memcpy(block + 124, size_text, strlen(size_text));
	block[156] = type;
	add(window, block, sizeof(block));
	if (size > 0)
		add(window, content, size);
	add_zeros(window, (BLOCK - size % BLOCK) % BLOCK);
}

#define PAX(text) "00000000023", text, 19

static void test_types(void **state)
{
	static const char known[] = { '\0', '0', '1', '2', '3', '4', '5', '6', '7', 'D', 'S' };

	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		const bool is_known = memchr(known, (int)type, sizeof(known)) != NULL;
		struct err err = ERR_INIT;
		int r;

		if (type != 0 && strchr("xXgLKAV", (int)type))
			continue;
		CLEANUP(tar_window_done) struct tar_window window;
		tar_window_init(&window);
		add_header(&window, (char)type, "", NULL, 0);
		r = tar_header_check(&window, 0, &err);
		CHECK_ROW(type, (r == 0) == is_known);
		CHECK_INT(err.kind, is_known ? ERR_NONE : ERR_INVALID);
	}
}

/* The ring's end lies in each place of a pax header, its content, and the entry's own header. */
static void test_around_the_end(void **state)
{
	size_t before;

	(void)state;
	for (before = 0; before <= 3 * BLOCK; before += 64) {
		CLEANUP(tar_window_done) struct tar_window window;
		const uint64_t from = TAR_WINDOW_SIZE - before;
		struct err err = ERR_INIT;

		tar_window_init(&window);
		add_zeros(&window, from);
		add_header(&window, 'x', PAX("19 path=good\0evil!\n"));
		add_header(&window, '0', "", NULL, 0);
		CHECK_ROW(before, tar_header_check(&window, from, &err) < 0);
		CHECK_STR(err.message, "its name or target has a zero byte");
		tar_window_done(&window);

		tar_window_init(&window);
		err = ERR_INIT;
		add_zeros(&window, from);
		add_header(&window, 'x', PAX("19 path=good_evil!\n"));
		add_header(&window, 'Q', "", NULL, 0);
		CHECK_ROW(before, tar_header_check(&window, from, &err) < 0);
		CHECK_STR(err.message, "its type 'Q' is unknown");
	}
}

/* What is not there any more, or not yet; sizes that are none; headers without end. */
static void test_damaged(void **state)
{
	static const char *const sizes[] = { "00000000x", "-1", "77777777777", "\x80" };
	CLEANUP(tar_window_done) struct tar_window window;
	struct err err = ERR_INIT;
	size_t i;

	(void)state;
	tar_window_init(&window);
	add_header(&window, '0', "", NULL, 0);
	assert_true(tar_header_check(&window, 1, &err) < 0);
	CHECK_INT(err.kind, ERR_PROTOCOL);
	add_zeros(&window, TAR_WINDOW_SIZE - BLOCK);
	assert_int_equal(tar_header_check(&window, 0, &err), 0);
	add_zeros(&window, 1);
	assert_true(tar_header_check(&window, 0, &err) < 0);
	assert_true(tar_header_check(&window, UINT64_MAX, &err) < 0);
	for (i = 0; i < ARRAY_LEN(sizes); i++) {
		const uint64_t from = window.end;

		add_header(&window, 'L', sizes[i], NULL, 0);
		add_header(&window, '0', "", NULL, 0);
		CHECK_ROW(i, tar_header_check(&window, from, &err) < 0);
		CHECK_INT(err.kind, ERR_PROTOCOL);
	}
	for (i = 32; i <= 33; i++) {
		const uint64_t from = window.end;

		for (size_t n = 0; n < i; n++)
			add_header(&window, 'g', "0", NULL, 0);
		add_header(&window, '0', "", NULL, 0);
		CHECK_ROW(i, (tar_header_check(&window, from, &err) == 0) == (i == 32));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_around_the_end),
		cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
