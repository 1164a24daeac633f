/*
 * Kernel files: headers, notes and compressed payloads. Properties: what is refused has a kind and
 * a message and leaves the result alone; what is accepted points only into the file, and its names
 * are harmless; no more comes out of a payload than is allowed.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "kernel/args.h"
#include "kernel/extract.h"
#include "kernel/image.h"

#define OUTPUT_MAX (1 << 20)

static int count(void *context, struct span bytes, struct err *err)
{
	uint64_t *total = context;

	(void)err;
	*total += bytes.len;
	return 0;
}

static void check_err(const struct err *err)
{
	if (err->kind == ERR_NONE || err->message[0] == '\0')
		abort();
}

static void check_uncompress(struct span bytes)
{
	uint64_t total = 0;
	const struct kernel_sink sink = { .write = count,
					  .context = &total,
					  .size_max = OUTPUT_MAX };
	struct err err = ERR_INIT;

	if (kernel_uncompress(bytes, &sink, &err) < 0)
		check_err(&err);
	if (total > OUTPUT_MAX)
		abort();
}

static void check_word(const char *word)
{
	if (strlen(word) > KERNEL_RELEASE_MAX || strpbrk(word, "/ \n\x1b"))
		abort();
}

static void check_image(struct span file)
{
	struct kernel_image image = { .boot_protocol = 4711 };
	struct err err = ERR_INIT;

	if (kernel_image_parse(file, file.len, &image, &err) < 0) {
		check_err(&err);
		if (image.boot_protocol != 4711)
			abort();
		return;
	}
	check_word(image.release);
	check_word(image.version);
	if (image.format == KERNEL_FORMAT_BZIMAGE) {
		if (image.payload_size == 0 || image.payload_offset > file.len ||
		    image.payload_size > file.len - image.payload_offset)
			abort();
		check_uncompress(
			span_of(file.ptr + image.payload_offset, (size_t)image.payload_size));
		return;
	}
	if (image.note_offset > file.len || image.note_size > file.len - image.note_offset)
		abort();
	kernel_image_notes(span_of(file.ptr + image.note_offset, (size_t)image.note_size), &image);
}

static void check_args(struct span bytes)
{
	struct err err = ERR_INIT;

	if (kernel_args_check(bytes, &err) < 0)
		check_err(&err);
	else if (bytes.len > 0 &&
		 (memchr(bytes.ptr, '\n', bytes.len) || memchr(bytes.ptr, 0, bytes.len)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kernel_image image = { .format = KERNEL_FORMAT_ELF };

	check_image(span_of(data, size));
	check_uncompress(span_of(data, size));
	check_args(span_of(data, size));
	kernel_image_notes(span_of(data, size), &image);
	return 0;
}
