#include "daemon/sample.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"

#define PROC_FILE_MAX (1U << 20)

/* proc(5) counts the fields of stat from 1; the name before the third may hold anything. */
enum { STAT_STATE = 3, STAT_USER_TICKS = 14, STAT_SYSTEM_TICKS = 15, STAT_RESIDENT_PAGES = 24 };

static uint64_t ticks_to_us(uint64_t ticks)
{
	return ticks * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

bool sample_add_stat(struct span text, struct process_sample *into)
{
	const uint8_t *end = memrchr(text.ptr, ')', text.len);
	struct process_sample sum = *into;
	struct span rest, field;
	uint64_t number;

	if (!end)
		return false;
	rest = span_skip(text, (size_t)(end - text.ptr) + 2);
	for (int i = STAT_STATE; i <= STAT_RESIDENT_PAGES; i++) {
		if (!parse_until(&rest, ' ', &field))
			return false;
		if (i == STAT_STATE)
			sum.is_frozen = sum.is_frozen || span_eq(field, span_str("T"));
		if (i != STAT_USER_TICKS && i != STAT_SYSTEM_TICKS && i != STAT_RESIDENT_PAGES)
			continue;
		if (!parse_u64(&field, INT64_MAX / 1000000, &number))
			return false;
		if (i == STAT_RESIDENT_PAGES)
			sum.memory_bytes += number * (uint64_t)sysconf(_SC_PAGESIZE);
		else
			sum.cpu_us += ticks_to_us(number);
	}
	*into = sum;
	return true;
}

/* The number in a line "NAME  123", at its beginning but for blanks. */
static bool find_number(struct span text, const char *name, uint64_t *ret)
{
	struct span line;

	while (parse_until(&text, '\n', &line)) {
		if (!parse_literal(&line, name))
			continue;
		while (parse_byte(&line, ' '))
			;
		return parse_u64(&line, INT64_MAX / 1024, ret);
	}
	return false;
}

bool sample_add_io(struct span text, struct process_sample *into)
{
	uint64_t read_bytes, written_bytes;

	if (!find_number(text, "read_bytes:", &read_bytes) ||
	    !find_number(text, "write_bytes:", &written_bytes))
		return false;
	into->read_bytes += read_bytes;
	into->written_bytes += written_bytes;
	return true;
}

bool sample_parse_cpu(struct span text, struct host_sample *into)
{
	/* user nice system idle iowait irq softirq steal; guests' time is in user's. */
	enum { IDLE = 3, IOWAIT = 4, FIELDS = 8 };
	uint64_t busy = 0, cpus = 0;
	struct span line;

	if (!parse_literal(&text, "cpu "))
		return false;
	for (int i = 0; i < FIELDS; i++) {
		uint64_t ticks;

		while (parse_byte(&text, ' '))
			;
		if (!parse_u64(&text, INT64_MAX / 1000000 / FIELDS, &ticks))
			return false;
		if (i != IDLE && i != IOWAIT)
			busy += ticks;
	}
	while (parse_until(&text, '\n', &line)) {
		if (parse_literal(&line, "cpu"))
			cpus++;
	}
	into->cpu_busy_us = ticks_to_us(busy);
	into->cpus = cpus;
	return true;
}

bool sample_parse_memory(struct span text, struct host_sample *into)
{
	uint64_t total, available;

	if (!find_number(text, "MemTotal:", &total) ||
	    !find_number(text, "MemAvailable:", &available))
		return false;
	into->memory_total_bytes = total * 1024;
	into->memory_available_bytes = available * 1024;
	return true;
}

bool sample_parse_load(struct span text, struct host_sample *into)
{
	struct span whole;
	uint64_t number, hundredths = 0;

	if (!parse_until(&text, '.', &whole) || !parse_u64(&whole, UINT32_MAX, &number) ||
	    text.len < 2)
		return false;
	for (int i = 0; i < 2; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return false;
		hundredths = hundredths * 10 + (uint64_t)(text.ptr[i] - '0');
	}
	into->load_milli = number * 1000 + hundredths * 10;
	return true;
}

static int add_process(uint64_t pid, struct process_sample *into)
{
	AUTO_FREE char *stat_path = mem_printf("/proc/%llu/stat", (unsigned long long)pid);
	AUTO_FREE char *io_path = mem_printf("/proc/%llu/io", (unsigned long long)pid);
	AUTO_BUF text = BUF_INIT;
	int r;

	r = file_read(AT_FDCWD, stat_path, PROC_FILE_MAX, &text);
	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	if (!sample_add_stat(buf_span(&text), into))
		return -EPROTO;
	buf_clear(&text);
	/* Not everybody may read that of a process that must not dump core. */
	if (file_read(AT_FDCWD, io_path, PROC_FILE_MAX, &text) == 0 &&
	    !sample_add_io(buf_span(&text), into))
		return -EPROTO;
	return 0;
}

size_t sample_processes(pid_t pid, pid_t ret[static SAMPLE_PROCESSES_MAX])
{
	AUTO_FREE char *path = mem_printf("/proc/%d/task/%d/children", pid, pid);
	AUTO_BUF children = BUF_INIT;
	struct span rest;
	size_t count = 0;
	uint64_t child;

	ret[count++] = pid;
	/* A kernel may be built without. */
	if (file_read(AT_FDCWD, path, PROC_FILE_MAX, &children) < 0)
		return count;
	rest = buf_span(&children);
	while (count < SAMPLE_PROCESSES_MAX && parse_u64(&rest, INT32_MAX, &child)) {
		ret[count++] = (pid_t)child;
		if (!parse_byte(&rest, ' '))
			break;
	}
	return count;
}

int sample_process(pid_t pid, struct process_sample *ret)
{
	struct process_sample sum = { 0 };
	pid_t pids[SAMPLE_PROCESSES_MAX];
	const size_t count = sample_processes(pid, pids);
	int r;

	for (size_t i = 0; i < count; i++) {
		r = add_process((uint64_t)pids[i], &sum);
		/* A child that ends meanwhile is as good as never seen. */
		if (r < 0 && (i == 0 || r != -ESRCH))
			return r;
	}
	*ret = sum;
	return 0;
}

void sample_host(struct host_sample *ret)
{
	static const struct {
		const char *path;
		bool (*parse)(struct span text, struct host_sample *into);
	} files[] = {
		{ "/proc/stat", sample_parse_cpu },
		{ "/proc/meminfo", sample_parse_memory },
		{ "/proc/loadavg", sample_parse_load },
	};

	*ret = (struct host_sample){ 0 };
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		AUTO_BUF text = BUF_INIT;

		if (file_read(AT_FDCWD, files[i].path, PROC_FILE_MAX, &text) == 0)
			IGNORE_RESULT(files[i].parse(buf_span(&text), ret));
	}
}
