#include "store/rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "store/private.h"

#define VM(column_type, member)                          \
	{                                                \
		column_type, offsetof(struct vm, member) \
	}
#define IMAGE(column_type, member)                                 \
	{                                                          \
		column_type, offsetof(struct image_record, member) \
	}
#define KERNEL(column_type, member)                                 \
	{                                                           \
		column_type, offsetof(struct kernel_record, member) \
	}
#define TEMPLATE(column_type, member)                                 \
	{                                                             \
		column_type, offsetof(struct template_record, member) \
	}

#define SNAPSHOT(column_type, member)                                 \
	{                                                             \
		column_type, offsetof(struct snapshot_record, member) \
	}
#define SNAPSHOT_FILE(part)                                                              \
	SNAPSHOT(COLUMN_TEXT, files[part].name), SNAPSHOT(COLUMN_U64, files[part].size), \
		SNAPSHOT(COLUMN_I64, files[part].changed_ns)

static const struct column vm_columns[] = {
	VM(COLUMN_VM_ID, id),
	VM(COLUMN_TEXT, name),
	VM(COLUMN_VM_STATE, state),
	VM(COLUMN_VM_INTENT, intent),
	VM(COLUMN_TEXT, intent_step),
	VM(COLUMN_TEXT, spec.image),
	VM(COLUMN_TEXT, spec.kernel),
	VM(COLUMN_U32, spec.vcpu),
	VM(COLUMN_U64, spec.memory_bytes),
	VM(COLUMN_U64, spec.disk_bytes),
	VM(COLUMN_U64, spec.system_overlay_bytes),
	VM(COLUMN_BOOL, spec.nat),
	VM(COLUMN_PORTS, spec),
	VM(COLUMN_BOOL, ephemeral),
	VM(COLUMN_TEXT, ip),
	VM(COLUMN_TEXT, boot_id),
	VM(COLUMN_TEXT, tap_name),
	VM(COLUMN_TEXT, dm_name),
	VM(COLUMN_TEXT, loop_names),
	VM(COLUMN_TEXT, last_error),
	VM(COLUMN_TEXT, workspace.guest_path),
	VM(COLUMN_TEXT, workspace.host_path),
	VM(COLUMN_TEXT, workspace.head),
	VM(COLUMN_I64, created_at),
	VM(COLUMN_I64, started_at),
	VM(COLUMN_U64, used_at_ms),
	VM(COLUMN_U32, net_index),
	VM(COLUMN_TEXT, workspace.fingerprint),
	VM(COLUMN_TEXT, workspace.branch),
	VM(COLUMN_TEXT, workspace.from),
	VM(COLUMN_TEXT, workspace.mode),
	VM(COLUMN_BOOL, workspace.has_untracked),
	VM(COLUMN_BOOL, workspace.is_pending),
};

static const struct column image_columns[] = {
	IMAGE(COLUMN_TEXT, name),      IMAGE(COLUMN_ARTIFACT_STATE, state),
	IMAGE(COLUMN_TEXT, kind),      IMAGE(COLUMN_TEXT, recipe),
	IMAGE(COLUMN_TEXT, kernel),    IMAGE(COLUMN_TEXT, source),
	IMAGE(COLUMN_TEXT, digest),    IMAGE(COLUMN_U64, size_bytes),
	IMAGE(COLUMN_U64, used_bytes), IMAGE(COLUMN_BOOL, has_init),
	IMAGE(COLUMN_I64, built_at),   IMAGE(COLUMN_U64, in_use),
};

static const struct column kernel_columns[] = {
	KERNEL(COLUMN_TEXT, name),	  KERNEL(COLUMN_ARTIFACT_STATE, state),
	KERNEL(COLUMN_TEXT, kind),	  KERNEL(COLUMN_TEXT, package),
	KERNEL(COLUMN_TEXT, version),	  KERNEL(COLUMN_TEXT, release),
	KERNEL(COLUMN_BOOL, has_elf),	  KERNEL(COLUMN_BOOL, has_bzimage),
	KERNEL(COLUMN_U64, module_count), KERNEL(COLUMN_U64, size_bytes),
	KERNEL(COLUMN_I64, pulled_at),	  KERNEL(COLUMN_U64, in_use),
};

static const struct column template_columns[] = {
	TEMPLATE(COLUMN_VM_ID, id),	    TEMPLATE(COLUMN_KEY, key),
	TEMPLATE(COLUMN_TEXT, image),	    TEMPLATE(COLUMN_TEXT, kernel),
	TEMPLATE(COLUMN_U32, vcpu),	    TEMPLATE(COLUMN_U64, memory_bytes),
	TEMPLATE(COLUMN_U64, system_bytes), TEMPLATE(COLUMN_U64, work_bytes),
	TEMPLATE(COLUMN_U64, used_bytes),   TEMPLATE(COLUMN_I64, created_at),
	TEMPLATE(COLUMN_I64, used_at),	    TEMPLATE(COLUMN_U64, build_ms),
};

static const struct column snapshot_columns[] = {
	SNAPSHOT(COLUMN_VM_ID, id),
	SNAPSHOT(COLUMN_VM_ID, vm_id),
	SNAPSHOT(COLUMN_TEXT, name),
	SNAPSHOT(COLUMN_TEXT, machine_key),
	SNAPSHOT(COLUMN_KEY, state_sha256),
	SNAPSHOT_FILE(SNAPSHOT_MEMORY),
	SNAPSHOT_FILE(SNAPSHOT_SYSTEM),
	SNAPSHOT_FILE(SNAPSHOT_WORK),
	SNAPSHOT(COLUMN_U32, vcpu),
	SNAPSHOT(COLUMN_U64, memory_bytes),
	SNAPSHOT(COLUMN_U64, system_bytes),
	SNAPSHOT(COLUMN_U64, work_bytes),
	SNAPSHOT(COLUMN_TEXT, workspace.guest_path),
	SNAPSHOT(COLUMN_TEXT, workspace.host_path),
	SNAPSHOT(COLUMN_TEXT, workspace.head),
	SNAPSHOT(COLUMN_TEXT, workspace.fingerprint),
	SNAPSHOT(COLUMN_TEXT, workspace.branch),
	SNAPSHOT(COLUMN_TEXT, workspace.from),
	SNAPSHOT(COLUMN_TEXT, workspace.mode),
	SNAPSHOT(COLUMN_BOOL, workspace.has_untracked),
	SNAPSHOT(COLUMN_BOOL, workspace.is_pending),
	SNAPSHOT(COLUMN_U64, used_bytes),
	SNAPSHOT(COLUMN_U64, pause_us),
	SNAPSHOT(COLUMN_I64, created_at),
};

const struct row_layout vm_layout = { vm_columns, ARRAY_LEN(vm_columns), ARRAY_LEN(vm_columns) };
const struct row_layout image_layout = { image_columns, ARRAY_LEN(image_columns),
					 ARRAY_LEN(image_columns) - 1 };
const struct row_layout kernel_layout = { kernel_columns, ARRAY_LEN(kernel_columns),
					  ARRAY_LEN(kernel_columns) - 1 };

const struct row_layout template_layout = { template_columns, ARRAY_LEN(template_columns),
					    ARRAY_LEN(template_columns) };
const struct row_layout snapshot_layout = { snapshot_columns, ARRAY_LEN(snapshot_columns),
					    ARRAY_LEN(snapshot_columns) };

static void bind_ports(sqlite3_stmt *statement, int index, const struct vm_spec *spec)
{
	AUTO_BUF text = BUF_INIT;

	vm_ports_format(&text, spec->ports, spec->port_count);
	statement_bind_text(statement, index, text.ptr);
}

static void bind_number(sqlite3_stmt *statement, int index, enum column_type type, const void *slot)
{
	int64_t value;

	if (type == COLUMN_U32)
		value = *(const uint32_t *)slot;
	else if (type == COLUMN_U64)
		value = (int64_t) * (const uint64_t *)slot;
	else if (type == COLUMN_I64)
		value = *(const int64_t *)slot;
	else
		value = *(const bool *)slot;
	statement_bind_number(statement, index, value);
}

static void bind_column(sqlite3_stmt *statement, int index, enum column_type type, const void *slot)
{
	switch (type) {
	case COLUMN_TEXT:
		statement_bind_text(statement, index, *(char *const *)slot);
		break;
	case COLUMN_VM_ID:
	case COLUMN_KEY:
		statement_bind_text(statement, index, slot);
		break;
	case COLUMN_U32:
	case COLUMN_U64:
	case COLUMN_I64:
	case COLUMN_BOOL:
		bind_number(statement, index, type, slot);
		break;
	case COLUMN_VM_STATE:
		statement_bind_text(statement, index, vm_state_name(*(const enum vm_state *)slot));
		break;
	case COLUMN_VM_INTENT:
		statement_bind_text(statement, index,
				    vm_intent_name(*(const enum vm_intent *)slot));
		break;
	case COLUMN_PORTS:
		bind_ports(statement, index, slot);
		break;
	case COLUMN_ARTIFACT_STATE:
		statement_bind_text(statement, index,
				    artifact_state_name(*(const enum artifact_state *)slot));
		break;
	}
}

int row_bind(const struct row_layout *layout, const void *record, sqlite3_stmt *statement,
	     struct err *err)
{
	for (int i = 0; i < layout->written; i++) {
		const struct column *column = &layout->columns[i];
		const void *slot = (const char *)record + column->offset;

		if (column->type == COLUMN_U64 && *(const uint64_t *)slot > INT64_MAX)
			return err_set(err, ERR_INVALID,
				       "%" PRIu64 " is more than the state database can hold",
				       *(const uint64_t *)slot);
		bind_column(statement, i + 1, column->type, slot);
	}
	return 0;
}

static bool read_number(sqlite3_stmt *statement, int index, enum column_type type, void *slot)
{
	const int64_t value = sqlite3_column_int64(statement, index);

	if (type == COLUMN_I64) {
		*(int64_t *)slot = value;
		return true;
	}
	if (value < 0)
		return false;
	if (type == COLUMN_U64) {
		*(uint64_t *)slot = (uint64_t)value;
		return true;
	}
	if (type == COLUMN_U32) {
		*(uint32_t *)slot = (uint32_t)value;
		return value <= UINT32_MAX;
	}
	*(bool *)slot = value != 0;
	return value <= 1;
}

static bool read_column(sqlite3_stmt *statement, int index, enum column_type type, void *slot)
{
	const char *text;

	switch (type) {
	case COLUMN_U32:
	case COLUMN_U64:
	case COLUMN_I64:
	case COLUMN_BOOL:
		return read_number(statement, index, type, slot);
	case COLUMN_TEXT:
		*(char **)slot = statement_text(statement, index);
		return true;
	case COLUMN_VM_ID:
	case COLUMN_KEY:
	case COLUMN_VM_STATE:
	case COLUMN_VM_INTENT:
	case COLUMN_PORTS:
	case COLUMN_ARTIFACT_STATE:
		break;
	}

	text = (const char *)sqlite3_column_text(statement, index);
	if (type == COLUMN_VM_INTENT)
		return vm_intent_from_name(text, slot);
	if (!text)
		return false;
	if (type == COLUMN_VM_ID) {
		(void)snprintf(slot, VM_ID_SIZE, "%s", text);
		return name_is_vm_id(text);
	}
	if (type == COLUMN_KEY) {
		(void)snprintf(slot, TEMPLATE_KEY_SIZE, "%s", text);
		return strlen(text) == TEMPLATE_KEY_SIZE - 1;
	}
	if (type == COLUMN_VM_STATE)
		return vm_state_from_name(text, slot);
	if (type == COLUMN_ARTIFACT_STATE)
		return artifact_state_from_name(text, slot);

	struct vm_spec *spec = slot;

	return vm_ports_parse(text, spec->ports, &spec->port_count);
}

int row_read(const struct row_layout *layout, const struct connection *connection,
	     sqlite3_stmt *statement, void *record, struct err *err)
{
	for (int i = 0; i < layout->count; i++) {
		const struct column *column = &layout->columns[i];

		if (!read_column(statement, i, column->type, (char *)record + column->offset))
			return err_set(
				err, ERR_INVALID,
				"the state database '%s' is damaged: '%s' has no value of ours",
				connection->path, sqlite3_column_name(statement, i));
	}
	return 0;
}
