#include "cli/vm_view.h"

#include <stdio.h>
#include <time.h>

#include "base/json.h"
#include "base/parse.h"
#include "base/text.h"
#include "cli/wrap.h"

#define HEAD_SHOWN	12
#define ID_SHOWN	12 /* digits: unique among any number of VMs that a host can have */
#define VALUE_BYTES_MAX 4096
#define KEY_COLUMN	20

static const struct table_column vm_columns[] = {
	{ .title = "ID" },
	{ .title = "NAME", .may_shrink = true },
	{ .title = "STATE" },
	{ .title = "IMAGE", .may_shrink = true },
	{ .title = "IP", .may_go = true, .worth = 5 },
	{ .title = "VCPU", .is_right = true, .may_go = true, .worth = 1 },
	{ .title = "MEM", .is_right = true, .may_go = true, .worth = 2 },
	{ .title = "DISK", .is_right = true, .may_go = true },
	{ .title = "WORKSPACE", .may_shrink = true, .may_go = true, .worth = 4 },
	{ .title = "CREATED", .may_go = true, .worth = 3 },
};

enum colour vm_view_state_colour(const char *state)
{
	static const struct {
		const char *state;
		enum colour colour;
	} rows[] = {
		{ "running", COLOUR_GREEN },
		{ "paused", COLOUR_MAGENTA },
		{ "error", COLOUR_RED },
		{ "created", COLOUR_MAGENTA },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (str_eq(state, rows[i].state))
			return rows[i].colour;
	}
	return COLOUR_NONE;
}

/* Takes `digits` digits as one number; leading zeros are what the format has. */
static bool take_digits(struct span *cursor, size_t digits, int *ret)
{
	int value = 0;

	if (cursor->len < digits)
		return false;
	for (size_t i = 0; i < digits; i++) {
		const uint8_t byte = cursor->ptr[i];

		if (byte < '0' || byte > '9')
			return false;
		value = value * 10 + (byte - '0');
	}
	*cursor = span_skip(*cursor, digits);
	*ret = value;
	return true;
}

/* "2026-11-22T03:00:00Z", what our daemon writes. */
static bool parse_time(const char *text, int64_t *ret)
{
	struct span cursor = span_str(text);
	struct tm tm = { .tm_isdst = 0 };

	if (!take_digits(&cursor, 4, &tm.tm_year) || !parse_byte(&cursor, '-') ||
	    !take_digits(&cursor, 2, &tm.tm_mon) || !parse_byte(&cursor, '-') ||
	    !take_digits(&cursor, 2, &tm.tm_mday) || !parse_byte(&cursor, 'T') ||
	    !take_digits(&cursor, 2, &tm.tm_hour) || !parse_byte(&cursor, ':') ||
	    !take_digits(&cursor, 2, &tm.tm_min) || !parse_byte(&cursor, ':') ||
	    !take_digits(&cursor, 2, &tm.tm_sec) || !parse_byte(&cursor, 'Z') ||
	    !parse_end(&cursor))
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	*ret = timegm(&tm);
	return true;
}

void vm_view_age(const char *time, int64_t now, struct buf *out)
{
	static const struct {
		int64_t seconds;
		const char *name;
	} units[] = {
		{ 365LL * 86400, "year" },
		{ 30LL * 86400, "month" },
		{ 7LL * 86400, "week" },
		{ 86400, "day" },
		{ 3600, "h" },
		{ 60, "min" },
		{ 1, "s" },
	};
	int64_t then;
	int64_t age;

	if (str_empty(time)) {
		buf_add_byte(out, '-');
		return;
	}
	if (!parse_time(time, &then)) {
		text_escape(out, span_str(time), VALUE_BYTES_MAX);
		return;
	}
	age = now - then;
	if (age < 1) { /* also when a clock was set back */
		buf_add_str(out, "just now");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		const int64_t count = age / units[i].seconds;
		const bool is_word = units[i].seconds >= 86400;

		if (count == 0)
			continue;
		buf_addf(out, "%lld %s%s ago", (long long)count, units[i].name,
			 is_word && count > 1 ? "s" : "");
		return;
	}
}

static void add_age(struct table *table, const char *time, int64_t now)
{
	AUTO_BUF text = BUF_INIT;

	vm_view_age(time, now, &text);
	table_add(table, text.ptr);
}

static void add_vm(struct table *table, const json_t *vm, int64_t now)
{
	const char *state = json_get_str(vm, "state");
	const char *id = json_get_str(vm, "id");

	table_addf(table, "%.*s", ID_SHOWN, id ? id : "");
	table_add(table, json_get_str(vm, "name"));
	table_add_colour(table, state, vm_view_state_colour(state));
	table_add(table, json_get_str(vm, "image"));
	table_add(table, json_get_str(vm, "ip"));
	table_addf(table, "%llu", (unsigned long long)json_get_u64(vm, "vcpu"));
	table_add_size(table, json_get_u64(vm, "memory_bytes"));
	table_add_size(table, json_get_u64(vm, "disk_bytes"));
	table_add(table, json_get_str(json_object_get(vm, "workspace"), "host_path"));
	add_age(table, json_get_str(vm, "created_at"), now);
}

void vm_view_table(const json_t *vms, int64_t now, size_t width, bool has_colour, struct buf *out)
{
	AUTO_TABLE table = { .columns = NULL };
	const json_t *vm;
	size_t i;

	table_init(&table, vm_columns, ARRAY_LEN(vm_columns));
	json_array_foreach(vms, i, vm) {
		add_vm(&table, vm, now);
	}
	table_render(&table, width, has_colour, out);
}

void vm_view_ids(const json_t *vms, struct buf *out)
{
	const json_t *vm;
	size_t i;

	json_array_foreach(vms, i, vm) {
		const char *id = json_get_str(vm, "id");

		buf_addf(out, "%s\n", id ? id : "");
	}
}

void view_pair(struct buf *out, const char *key, const char *value)
{
	buf_addf(out, "%-*s", KEY_COLUMN, key);
	if (str_empty(value))
		buf_add_byte(out, '-');
	else
		text_escape(out, span_str(value), VALUE_BYTES_MAX);
	buf_add_byte(out, '\n');
}

void view_pair_prose(struct buf *out, const char *key, const char *value, size_t width)
{
	AUTO_BUF text = BUF_INIT;

	text_escape(&text, span_str(str_empty(value) ? "-" : value), VALUE_BYTES_MAX);
	buf_addf(out, "%-*s", KEY_COLUMN, key);
	wrap_text(out, text.ptr, KEY_COLUMN, width);
}

void view_pair_size(struct buf *out, const char *key, uint64_t bytes)
{
	AUTO_BUF text = BUF_INIT;

	text_size(&text, bytes);
	view_pair(out, key, text.ptr);
}

void view_pair_number(struct buf *out, const char *key, uint64_t number)
{
	buf_addf(out, "%-*s%llu\n", KEY_COLUMN, key, (unsigned long long)number);
}

static void pair_time(struct buf *out, const char *key, const char *time, int64_t now)
{
	AUTO_BUF text = BUF_INIT;

	if (!str_empty(time)) {
		buf_addf(&text, "%s (", time);
		vm_view_age(time, now, &text);
		buf_add_byte(&text, ')');
	}
	view_pair(out, key, text.ptr);
}

void vm_view_port(const json_t *port, struct buf *out)
{
	const char *address = json_get_str(port, "address");

	text_escape(out, span_str(address ? address : "?"), VALUE_BYTES_MAX);
	buf_addf(out, ":%u -> %u", (unsigned)json_get_u64(port, "host"),
		 (unsigned)json_get_u64(port, "guest"));
}

static void pair_ports(struct buf *out, const json_t *vm)
{
	const bool is_running = str_eq(json_get_str(vm, "state"), "running");
	const json_t *list = json_object_get(vm, "ports");
	const json_t *port;
	size_t i;

	if (json_array_size(list) == 0)
		view_pair(out, "published", NULL);
	json_array_foreach(list, i, port) {
		AUTO_BUF text = BUF_INIT;

		vm_view_port(port, &text);
		if (is_running && !json_get_bool(port, "open"))
			buf_add_str(&text, " (in use on the host)");
		view_pair(out, i == 0 ? "published" : "", text.ptr);
	}
}

static void pair_engine(struct buf *out, const json_t *vm)
{
	const char *engine = json_get_str(vm, "engine");
	const char *accelerator = json_get_str(vm, "accelerator");
	AUTO_BUF text = BUF_INIT;

	if (engine)
		buf_addf(&text, "%s%s%s", engine, accelerator ? " with " : "",
			 accelerator ? accelerator : "");
	view_pair(out, "engine", text.ptr);
}

static void pair_state(struct buf *out, const json_t *vm, bool has_colour)
{
	const char *state = json_get_str(vm, "state");

	buf_addf(out, "%-*s", KEY_COLUMN, "state");
	out_colour(out, has_colour, vm_view_state_colour(state), state ? state : "-");
	buf_add_byte(out, '\n');
}

/* "/root/repo, from /home/me/repo at 0123456789ab". */
static void pair_workspace(struct buf *out, const json_t *workspace)
{
	const char *head = json_get_str(workspace, "head");
	AUTO_BUF text = BUF_INIT;

	if (json_is_object(workspace)) {
		buf_addf(&text, "%s, from %s", json_get_str(workspace, "guest_path"),
			 json_get_str(workspace, "host_path"));
		if (head)
			buf_addf(&text, " at %.*s", HEAD_SHOWN, head);
		if (json_get_bool(workspace, "pending"))
			buf_add_str(&text, ", not all of it");
	}
	view_pair(out, "workspace", text.ptr);
}

/* Only of a VM that has some. */
static void pair_snapshots(struct buf *out, const json_t *snapshots, size_t width)
{
	AUTO_BUF text = BUF_INIT;
	const json_t *name;
	size_t i;

	json_array_foreach(snapshots, i, name) {
		buf_addf(&text, "%s%s", i ? ", " : "", json_string_value(name));
	}
	if (text.len > 0)
		view_pair_prose(out, "snapshots", text.ptr, width);
}

void vm_view_details(const json_t *vm, int64_t now, size_t width, bool has_colour, struct buf *out)
{
	const uint64_t pid = json_get_u64(vm, "pid");

	view_pair(out, "name", json_get_str(vm, "name"));
	view_pair(out, "id", json_get_str(vm, "id"));
	pair_state(out, vm, has_colour);
	if (json_get_str(vm, "last_error"))
		view_pair_prose(out, "last error", json_get_str(vm, "last_error"), width);
	view_pair(out, "image", json_get_str(vm, "image"));
	view_pair(out, "kernel", json_get_str(vm, "kernel"));
	view_pair_number(out, "vcpus", json_get_u64(vm, "vcpu"));
	view_pair_size(out, "memory", json_get_u64(vm, "memory_bytes"));
	view_pair_size(out, "work disk", json_get_u64(vm, "disk_bytes"));
	view_pair_size(out, "system overlay", json_get_u64(vm, "system_overlay_bytes"));
	view_pair_size(out, "used on the host", json_get_u64(vm, "disk_used_bytes"));
	view_pair(out, "ip", json_get_str(vm, "ip"));
	view_pair(out, "nat", json_get_bool(vm, "nat") ? "yes" : "no");
	pair_ports(out, vm);
	view_pair(out, "deleted at the end", json_get_bool(vm, "ephemeral") ? "yes" : "no");
	pair_workspace(out, json_object_get(vm, "workspace"));
	pair_snapshots(out, json_object_get(vm, "snapshots"), width);
	pair_time(out, "created", json_get_str(vm, "created_at"), now);
	pair_time(out, "started", json_get_str(vm, "started_at"), now);
	pair_engine(out, vm);
	if (pid)
		view_pair_number(out, "vmm process", pid);
	else
		view_pair(out, "vmm process", NULL);
	view_pair(out, "folder", json_get_str(vm, "directory"));
	view_pair(out, "console log", json_get_str(vm, "console_log"));
	view_pair(out, "vmm log", json_get_str(vm, "vmm_log"));
}

void vm_view_spec(uint64_t vcpu, uint64_t memory_bytes, uint64_t disk_bytes, const char *image,
		  struct buf *out)
{
	buf_addf(out, "%llu vcpu · %llu MiB · ", (unsigned long long)vcpu,
		 (unsigned long long)(memory_bytes >> 20));
	text_size(out, disk_bytes);
	buf_add_str(out, " disk · ");
	text_escape(out, span_str(image ? image : "?"), VALUE_BYTES_MAX);
}
