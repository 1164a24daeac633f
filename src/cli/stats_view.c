#include "cli/stats_view.h"

#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "cli/table.h"
#include "cli/vm_view.h"
#include "cli/wrap.h"

#define BAR_CELLS 10
#define TEXT_MAX  256

#define NET_WHOLE_MIN (1U << 20) /* bytes a second that fill a bar, when nobody has more */

static const struct table_column columns[] = {
	{ .title = "NAME", .may_shrink = true },
	{ .title = "STATE" },
	{ .title = "CPU", .is_right = true },
	{ .title = "MEMORY", .is_right = true },
	{ .title = "NET IN", .is_right = true, .may_go = true },
	{ .title = "NET OUT", .is_right = true, .may_go = true },
	{ .title = "IN GUEST", .may_go = true },
	{ .title = "DISK IN GUEST", .may_go = true },
	{ .title = "READ", .is_right = true, .may_go = true },
	{ .title = "WRITTEN", .is_right = true, .may_go = true },
};

void stats_view_bar(uint64_t part, uint64_t whole, struct buf *out)
{
	/* Divided before it is multiplied: both may be near the largest number. */
	uint64_t full = whole == 0	    ? 0
			: whole < BAR_CELLS ? part * BAR_CELLS / whole
					    : part / (whole / BAR_CELLS);

	if (full > BAR_CELLS)
		full = BAR_CELLS;
	buf_add_byte(out, '[');
	for (uint64_t i = 0; i < BAR_CELLS; i++)
		buf_add_byte(out, i < full ? '=' : ' ');
	buf_add_byte(out, ']');
}

static bool is_known(const json_t *vm, const char *key)
{
	return json_is_integer(json_object_get(vm, key));
}

static void add_percent(struct buf *out, uint64_t milli)
{
	buf_addf(out, "%llu.%llu%%", (unsigned long long)(milli / 10),
		 (unsigned long long)(milli % 10));
}

static const char *state_of(const json_t *vm)
{
	return json_get_bool(vm, "frozen") ? "frozen" : json_get_str(vm, "state");
}

static void add_cpu(struct table *table, const json_t *vm, bool has_bar)
{
	const uint64_t milli = json_get_u64(vm, "cpu_milli");
	AUTO_BUF text = BUF_INIT;

	if (!is_known(vm, "cpu_milli")) {
		table_add(table, NULL);
		return;
	}
	if (has_bar) {
		stats_view_bar(milli, 1000 * json_get_u64(vm, "vcpu"), &text);
		buf_add_byte(&text, ' ');
	}
	add_percent(&text, milli);
	table_add(table, text.ptr);
}

static void add_size(struct table *table, const json_t *vm, const char *key)
{
	if (is_known(vm, key))
		table_add_size(table, json_get_u64(vm, key));
	else
		table_add(table, NULL);
}

/* "120 MiB of 512 MiB", behind a bar. */
static void add_part(struct table *table, const json_t *vm, const char *used_key,
		     const char *total_key, bool has_bar)
{
	const uint64_t used = json_get_u64(vm, used_key), total = json_get_u64(vm, total_key);
	AUTO_BUF text = BUF_INIT;

	if (!is_known(vm, used_key) || !is_known(vm, total_key)) {
		table_add(table, NULL);
		return;
	}
	if (has_bar) {
		stats_view_bar(used, total, &text);
		buf_add_byte(&text, ' ');
	}
	text_size(&text, used);
	buf_add_str(&text, " of ");
	text_size(&text, total);
	table_add(table, text.ptr);
}

static void add_rate(struct buf *out, uint64_t rate)
{
	text_size(out, rate);
	buf_add_str(out, "/s");
}

/* "1.2 MiB/s", behind a bar. */
static void add_net_rate(struct table *table, const json_t *vm, const char *key, uint64_t whole)
{
	const uint64_t rate = json_get_u64(vm, key);
	AUTO_BUF text = BUF_INIT;

	if (!is_known(vm, key)) {
		table_add(table, NULL);
		return;
	}
	stats_view_bar(rate, whole, &text);
	buf_add_byte(&text, ' ');
	add_rate(&text, rate);
	table_add(table, text.ptr);
}

/* The rate that fills a bar: that of the busiest VM. */
static uint64_t busiest_rate(const json_t *vms)
{
	uint64_t busiest = NET_WHOLE_MIN;

	for (size_t i = 0; i < json_array_size(vms); i++) {
		const json_t *vm = json_array_get(vms, i);
		const uint64_t in = json_get_u64(vm, "net_in_rate");
		const uint64_t out = json_get_u64(vm, "net_out_rate");

		busiest = in > busiest ? in : busiest;
		busiest = out > busiest ? out : busiest;
	}
	return busiest;
}

/* `net_whole` 0: without bars. */
static void add_vm(struct table *table, const json_t *vm, uint64_t net_whole)
{
	const bool has_bars = net_whole > 0;
	const char *state = state_of(vm);

	table_add(table, json_get_str(vm, "name"));
	table_add_colour(table, state,
			 str_eq(state, "frozen") ? COLOUR_MAGENTA : vm_view_state_colour(state));
	add_cpu(table, vm, has_bars);
	add_size(table, vm, "memory_bytes");
	if (has_bars) {
		add_net_rate(table, vm, "net_in_rate", net_whole);
		add_net_rate(table, vm, "net_out_rate", net_whole);
	} else {
		add_size(table, vm, "net_in_bytes");
		add_size(table, vm, "net_out_bytes");
	}
	add_part(table, vm, "guest_memory_used_bytes", "guest_memory_total_bytes", has_bars);
	add_part(table, vm, "guest_disk_used_bytes", "guest_disk_total_bytes", has_bars);
	add_size(table, vm, "disk_read_bytes");
	add_size(table, vm, "disk_written_bytes");
}

/* "host: 35.0% of 200% CPU, load 0.71, memory 3.1 GiB of 23.5 GiB, 2 VMs, their network ..." */
static void add_host(const json_t *host, struct buf *out)
{
	const uint64_t running = json_get_u64(host, "vms_running");

	buf_add_str(out, "host: ");
	if (is_known(host, "cpu_milli")) {
		add_percent(out, json_get_u64(host, "cpu_milli"));
		buf_add_str(out, " of ");
	}
	buf_addf(out, "%llu00%% CPU, load %llu.%02llu, memory ",
		 (unsigned long long)json_get_u64(host, "cpus"),
		 (unsigned long long)(json_get_u64(host, "load_milli") / 1000),
		 (unsigned long long)(json_get_u64(host, "load_milli") % 1000 / 10));
	text_size(out, json_get_u64(host, "memory_used_bytes"));
	buf_add_str(out, " of ");
	text_size(out, json_get_u64(host, "memory_total_bytes"));
	buf_addf(out, ", %llu VM%s", (unsigned long long)running, running == 1 ? "" : "s");
	if (is_known(host, "vms_net_in_rate")) {
		buf_add_str(out, ", network ");
		add_rate(out, json_get_u64(host, "vms_net_in_rate"));
		buf_add_str(out, " in, ");
		add_rate(out, json_get_u64(host, "vms_net_out_rate"));
		buf_add_str(out, " out");
	}
}

/* Cuts to a width in columns: what is here is ASCII. */
static void add_cut(struct buf *out, const struct buf *line, size_t width)
{
	buf_add(out, span_of(line->ptr, width > 0 && line->len > width ? width : line->len));
	buf_add_byte(out, '\n');
}

void stats_view_table(const json_t *result, const struct stats_look *look, struct buf *out)
{
	const json_t *vms = json_object_get(result, "vms");
	const size_t count = json_array_size(vms);
	/* Title, host, and a line for the others. */
	const size_t room = look->rows == 0 ? count : look->rows > 3 ? look->rows - 3 : 1;
	const size_t shown = count <= room ? count : room;
	const uint64_t net_whole = look->has_bars ? busiest_rate(vms) : 0;
	AUTO_BUF host = BUF_INIT;
	AUTO_TABLE table;

	table_init(&table, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < shown; i++)
		add_vm(&table, json_array_get(vms, i), net_whole);
	table_render(&table, look->width, look->has_colour, out);
	if (shown < count)
		buf_addf(out, "and %zu more\n", count - shown);
	add_host(json_object_get(result, "host"), &host);
	/* Over a table that is drawn anew a line is a line. */
	if (look->rows == 0)
		wrap_hanging(out, host.ptr, 0, look->width);
	else
		add_cut(out, &host, look->width);
}

static void add_field(struct buf *out, const char *name, const json_t *vm, const char *key)
{
	if (!is_known(vm, key))
		return;
	buf_addf(out, " %s=%llu", name, (unsigned long long)json_get_u64(vm, key));
}

void stats_view_lines(const json_t *result, struct buf *out)
{
	static const struct {
		const char *name;
		const char *key;
	} fields[] = {
		{ "memory", "memory_bytes" },
		{ "guest_memory", "guest_memory_used_bytes" },
		{ "guest_disk", "guest_disk_used_bytes" },
		{ "read", "disk_read_bytes" },
		{ "written", "disk_written_bytes" },
		{ "net_in", "net_in_bytes" },
		{ "net_out", "net_out_bytes" },
		{ "net_in_rate", "net_in_rate" },
		{ "net_out_rate", "net_out_rate" },
	};
	const json_t *vms = json_object_get(result, "vms");
	const char *time = json_get_str(result, "time");

	for (size_t i = 0; i < json_array_size(vms); i++) {
		const json_t *vm = json_array_get(vms, i);

		text_escape(out, span_str(time ? time : "-"), TEXT_MAX);
		buf_add_byte(out, ' ');
		text_escape(out, span_str(json_get_str(vm, "name")), TEXT_MAX);
		buf_add_byte(out, ' ');
		text_escape(out, span_str(state_of(vm)), TEXT_MAX);
		if (is_known(vm, "cpu_milli")) {
			buf_add_str(out, " cpu=");
			add_percent(out, json_get_u64(vm, "cpu_milli"));
		}
		for (size_t k = 0; k < ARRAY_LEN(fields); k++)
			add_field(out, fields[k].name, vm, fields[k].key);
		buf_add_byte(out, '\n');
	}
}
