#include "vmmshim/snapshot_file.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"

#define MAGIC	    "BNGRSNAP"
#define MAGIC_SIZE  8
#define HEADER_SIZE (MAGIC_SIZE + 4 + 4 + 8 + 8)
#define CRC_SIZE    8
#define CRC_POLY    0x42F0E1EBA9EA3693ULL
#define MIB	    (1024ULL * 1024)

static const struct json_field fact_fields[] = {
	{ "qemu", JSON_FIELD_STRING, true, offsetof(struct snapshot_facts, qemu), 0, NULL },
	{ "accel", JSON_FIELD_STRING, true, offsetof(struct snapshot_facts, accel), 0, NULL },
	{ "cpu", JSON_FIELD_STRING, true, offsetof(struct snapshot_facts, cpu), 0, NULL },
	{ "tsc_khz", JSON_FIELD_U64, true, offsetof(struct snapshot_facts, tsc_khz), 0, NULL },
	{ "config", JSON_FIELD_JSON, true, offsetof(struct snapshot_facts, config), 0, NULL },
	{ "drive_bytes", JSON_FIELD_JSON, true, offsetof(struct snapshot_facts, drive_bytes), 0,
	  NULL },
	{ "overlays", JSON_FIELD_STRINGS, true, offsetof(struct snapshot_facts, overlays), 0,
	  NULL },
};

static uint64_t get_be(const uint8_t *bytes, size_t count)
{
	uint64_t value = 0;

	for (size_t i = 0; i < count; i++)
		value = value << 8 | bytes[i];
	return value;
}

static void add_be64(struct buf *out, uint64_t value)
{
	buf_add_be32(out, (uint32_t)(value >> 32));
	buf_add_be32(out, (uint32_t)(value & UINT32_MAX));
}

/* Four bits at a time: a table of sixteen is quick to make, and a state is short. */
static uint64_t crc64(struct span bytes)
{
	uint64_t table[16];
	uint64_t crc = 0;

	for (uint64_t i = 0; i < ARRAY_LEN(table); i++) {
		uint64_t value = i << 60;

		for (int bit = 0; bit < 4; bit++)
			value = value << 1 ^ (value >> 63 != 0 ? CRC_POLY : 0);
		table[i] = value;
	}
	for (size_t i = 0; i < bytes.len; i++) {
		crc = crc << 4 ^ table[crc >> 60 ^ bytes.ptr[i] >> 4];
		crc = crc << 4 ^ table[crc >> 60 ^ (bytes.ptr[i] & 0xFU)];
	}
	return crc;
}

static int read_facts(struct span text, struct snapshot_file *file, struct err *err)
{
	AUTO_JSON *json = NULL;
	const json_t *machine;
	int r;

	r = json_read(text, &json, err);
	if (r == 0)
		r = json_read_fields(json, fact_fields, ARRAY_LEN(fact_fields), &file->facts, err);
	if (r < 0) {
		const struct err reason = *err;

		return err_set(err, ERR_INVALID, "An error occurred during deserialization: %s",
			       reason.message);
	}
	machine = json_object_get(file->facts.config, "machine-config");
	if (file->memory_size == 0 ||
	    json_get_u64(machine, "mem_size_mib") != file->memory_size / MIB ||
	    file->memory_size % MIB != 0) {
		snapshot_file_done(file);
		return err_set(err, ERR_INVALID,
			       "An error occurred during deserialization: the size of the memory "
			       "is not the machine's");
	}
	return 0;
}

int snapshot_file_read(struct span bytes, struct snapshot_file *ret, struct err *err)
{
	struct snapshot_file file = { .memory_size = 0 };
	uint64_t facts_len, state_len, version;
	int r;

	if (bytes.len < HEADER_SIZE + CRC_SIZE)
		return err_set(err, ERR_INVALID,
			       "Snapshot file is smaller than its header and CRC: %zu bytes",
			       bytes.len);
	if (memcmp(bytes.ptr, MAGIC, MAGIC_SIZE) != 0)
		return err_set(err, ERR_INVALID, "Magic value does not match arch: %" PRIu64,
			       get_be(bytes.ptr, MAGIC_SIZE));
	version = get_be(bytes.ptr + MAGIC_SIZE, 4);
	if (version != SNAPSHOT_FORMAT)
		return err_set(err, ERR_INVALID, "Invalid data version: %" PRIu64, version);
	facts_len = get_be(bytes.ptr + MAGIC_SIZE + 4, 4);
	state_len = get_be(bytes.ptr + MAGIC_SIZE + 8, 8);
	file.memory_size = get_be(bytes.ptr + MAGIC_SIZE + 16, 8);
	if (facts_len > SNAPSHOT_FACTS_MAX || state_len > SNAPSHOT_STATE_MAX ||
	    bytes.len != HEADER_SIZE + facts_len + state_len + CRC_SIZE)
		return err_set(err, ERR_INVALID,
			       "Snapshot file has %zu bytes, which is not what its header says",
			       bytes.len);
	if (crc64(span_of(bytes.ptr, bytes.len - CRC_SIZE)) !=
	    get_be(bytes.ptr + bytes.len - CRC_SIZE, CRC_SIZE))
		return err_set(err, ERR_INVALID, "CRC64 validation failed");
	r = read_facts(span_of(bytes.ptr + HEADER_SIZE, facts_len), &file, err);
	if (r < 0)
		return r;
	file.state = span_of(bytes.ptr + HEADER_SIZE + facts_len, state_len);
	*ret = file;
	return 0;
}

void snapshot_file_done(struct snapshot_file *file)
{
	snapshot_facts_done(&file->facts);
}

void snapshot_facts_done(struct snapshot_facts *facts)
{
	json_fields_done(fact_fields, ARRAY_LEN(fact_fields), facts);
	*facts = (struct snapshot_facts){ .qemu = NULL };
}

static void write_facts(const struct snapshot_facts *facts, struct buf *out)
{
	AUTO_JSON *json = json_new_object();
	json_t *overlays = json_new_array();

	json_put_str(json, "qemu", facts->qemu);
	json_put_str(json, "accel", facts->accel);
	json_put_str(json, "cpu", facts->cpu);
	json_put_u64(json, "tsc_khz", facts->tsc_khz);
	json_put(json, "config", json_incref(facts->config));
	json_put(json, "drive_bytes", json_incref(facts->drive_bytes));
	for (size_t i = 0; i < facts->overlays.count; i++)
		json_add(overlays, json_new_str(facts->overlays.items[i]));
	json_put(json, "overlays", overlays);
	json_write(json, out);
}

int snapshot_file_write(const struct snapshot_file *file, struct buf *out, struct err *err)
{
	AUTO_BUF facts = BUF_INIT;
	const size_t start = out->len;

	write_facts(&file->facts, &facts);
	if (facts.len > SNAPSHOT_FACTS_MAX || file->state.len > SNAPSHOT_STATE_MAX)
		return err_set(err, ERR_LIMIT,
			       "the microVM's state is too large: %zu bytes of configuration, %zu "
			       "of device state",
			       facts.len, file->state.len);
	buf_add_str(out, MAGIC);
	buf_add_be32(out, SNAPSHOT_FORMAT);
	buf_add_be32(out, (uint32_t)facts.len);
	add_be64(out, file->state.len);
	add_be64(out, file->memory_size);
	buf_add(out, buf_span(&facts));
	buf_add(out, file->state);
	add_be64(out, crc64(span_of(out->ptr + start, out->len - start)));
	return 0;
}
