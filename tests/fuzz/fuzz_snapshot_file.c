/*
 * The file of a snapshot. The CRC would keep a fuzzer out, so the input's last eight bytes are
 * replaced by the right one. Properties: what is refused leaves the result alone and has a message;
 * what is accepted is written as a file that is read back as the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "fuzz.h"
#include "vmmshim/snapshot_file.h"

#define CRC_SIZE 8

/* Bit by bit: slow, and not the reader's own. */
static void seal(uint8_t *bytes, size_t size)
{
	uint64_t crc = 0;

	for (size_t i = 0; i + CRC_SIZE < size; i++) {
		crc ^= (uint64_t)bytes[i] << 56;
		for (int bit = 0; bit < 8; bit++)
			crc = crc << 1 ^ (crc >> 63 != 0 ? 0x42F0E1EBA9EA3693ULL : 0);
	}
	for (size_t i = 0; i < CRC_SIZE; i++)
		bytes[size - 1 - i] = (uint8_t)(crc >> 8 * i & 0xFF);
}

static void check_round_trip(const struct snapshot_file *file)
{
	struct snapshot_file again;
	struct err err = ERR_INIT;
	AUTO_BUF bytes = BUF_INIT;

	if (snapshot_file_write(file, &bytes, &err) < 0 ||
	    snapshot_file_read(buf_span(&bytes), &again, &err) < 0)
		abort();
	if (again.memory_size != file->memory_size || !span_eq(again.state, file->state) ||
	    !str_eq(again.facts.qemu, file->facts.qemu) ||
	    !str_eq(again.facts.accel, file->facts.accel) ||
	    !str_eq(again.facts.cpu, file->facts.cpu) ||
	    again.facts.tsc_khz != file->facts.tsc_khz ||
	    again.facts.overlays.count != file->facts.overlays.count ||
	    !json_equal(again.facts.drive_bytes, file->facts.drive_bytes) ||
	    !json_equal(again.facts.config, file->facts.config))
		abort();
	snapshot_file_done(&again);
}

static void try(struct span bytes)
{
	struct snapshot_file file = { .memory_size = 7 };
	struct err err = ERR_INIT;

	if (snapshot_file_read(bytes, &file, &err) < 0) {
		if (err.kind != ERR_INVALID || err.message[0] == '\0' || file.memory_size != 7)
			abort();
		return;
	}
	if (file.memory_size == 0 || !json_is_object(file.facts.config))
		abort();
	check_round_trip(&file);
	snapshot_file_done(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy;

	try(span_of(data, size));
	if (size < CRC_SIZE || size > SNAPSHOT_FACTS_MAX)
		return 0;
	copy = mem_alloc(1, size);
	memcpy(copy, data, size);
	seal(copy, size);
	try(span_of(copy, size));
	mem_free(copy);
	return 0;
}
