/*
 * Request bodies of banger-vmm's API. The first byte chooses the shape. Properties: what is refused
 * has a message and owns nothing; what is accepted is written as JSON that is read back as the same
 * (what is only checked is not written, so shapes of those are only read).
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "fuzz.h"
#include "vmmshim/bodies.h"

static const struct shape *const shapes[] = {
	&action_shape,
	&boot_shape,
	&drive_shape,
	&drive_patch_shape,
	&machine_shape,
	&machine_patch_shape,
	&net_shape,
	&net_patch_shape,
	&vsock_shape,
	&balloon_shape,
	&balloon_patch_shape,
	&balloon_stats_patch_shape,
	&logger_shape,
	&metrics_shape,
	&serial_shape,
	&entropy_shape,
	&vm_shape,
	&pmem_shape,
	&pmem_patch_shape,
	&mmds_config_shape,
	&cpu_config_shape,
	&memory_hotplug_shape,
	&memory_hotplug_patch_shape,
	&snapshot_create_shape,
	&snapshot_load_shape,
	&balloon_hinting_shape,
};

/* Whether all that a body of this shape can hold is stored. */
static bool is_stored(const struct shape *shape)
{
	for (size_t i = 0; i < shape->count; i++) {
		const struct field *field = &shape->fields[i];

		if ((field->flags & FIELD_CHECKED) != 0 || field->type == FIELD_OBJECT ||
		    field->type == FIELD_OBJECTS || field->type == FIELD_STRINGS)
			return false;
	}
	return true;
}

static void check_round_trip(const struct shape *shape, const union any_body *body)
{
	AUTO_JSON *json = shape_write(shape, body);
	AUTO_JSON *second = NULL;
	union any_body again;
	struct err err = ERR_INIT;

	/* Fields that were not given are written with their defaults, which count as given now. */
	memset(&again, 0, sizeof(again));
	if (shape_read_json(shape, json, &again, &err) < 0)
		abort();
	second = shape_write(shape, &again);
	if (!json_equal(json, second))
		abort();
	shape_done(shape, &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct shape *shape;
	union any_body body;
	struct err err = ERR_INIT;

	if (size == 0)
		return 0;
	/* Letters, so that seeds are text: 'A' is the first. */
	shape = shapes[(size_t)(data[0] - 'A') % ARRAY_LEN(shapes)];
	memset(&body, 0, sizeof(body));
	if (shape_read(shape, span_of(data + 1, size - 1), &body, &err) < 0) {
		if (err.kind != ERR_INVALID || err.message[0] == '\0' || body.given != 0)
			abort();
		return 0;
	}
	if (is_stored(shape))
		check_round_trip(shape, &body);
	shape_done(shape, &body);
	return 0;
}
