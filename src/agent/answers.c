#include "agent/answers.h"

#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/parse.h"
#include "base/text.h"
#include "base/version.h"
#include "wire/protocol.h"

#define PROC_FILE_MAX (1U << 20)

json_t *answer_health(const struct agent_state *state)
{
	json_t *answer = json_new_object();
	json_t *stages = json_new_array();
	struct utsname name;

	json_put_str(answer, "status", "ok");
	json_put_u64(answer, "protocol", WIRE_PROTOCOL);
	json_put_str(answer, "version", banger_version.version);
	json_put_str(answer, "hostname", uname(&name) == 0 ? name.nodename : "");
	json_put_u64(answer, "uptime_ms", clock_now_ms());
	if (!str_empty(state_token(state)))
		json_put_str(answer, "boot_token", state_token(state));
	for (size_t i = 0; i < STAGE_COUNT; i++) {
		if (state_has_reached(state, (enum boot_stage)i))
			json_add(stages, json_new_str(state_stage_name((enum boot_stage)i)));
	}
	json_put(answer, "stages", stages);
	return answer;
}

int ping_serve(struct conn *conn, const struct request *request, struct err *err)
{
	(void)request;
	return conn_reply(conn, NULL, err);
}

/* The number after `name` in a file of lines "Name:   123 kB"; 0 when it is not there. */
static uint64_t number_after(const char *text, const char *name)
{
	const char *at = strstr(text, name);
	struct span rest;
	uint64_t value = 0;

	if (!at)
		return 0;
	at += strlen(name);
	at += strspn(at, " \t");
	rest = span_str(at);
	return parse_u64(&rest, INT64_MAX / 1024, &value) ? value : 0;
}

static void put_memory(json_t *stats)
{
	AUTO_BUF text = BUF_INIT;

	if (file_read(AT_FDCWD, "/proc/meminfo", PROC_FILE_MAX, &text) < 0)
		buf_clear(&text);
	json_put_u64(stats, "memory_total_bytes", 1024 * number_after(text.ptr, "MemTotal:"));
	json_put_u64(stats, "memory_available_bytes",
		     1024 * number_after(text.ptr, "MemAvailable:"));
}

static void put_disk(json_t *stats, const char *path, const char *total, const char *free)
{
	struct statvfs disk;

	if (!path || statvfs(path, &disk) < 0)
		memset(&disk, 0, sizeof(disk));
	json_put_u64(stats, total, (uint64_t)disk.f_blocks * disk.f_frsize);
	json_put_u64(stats, free, (uint64_t)disk.f_bavail * disk.f_frsize);
}

/* The first line of /proc/stat: user nice system idle iowait irq softirq steal, in clock ticks. */
static uint64_t busy_ms(void)
{
	enum { IDLE = 3, IOWAIT = 4, FIELDS = 8 };
	AUTO_BUF text = BUF_INIT;
	struct span rest;
	uint64_t busy = 0;

	if (file_read(AT_FDCWD, "/proc/stat", PROC_FILE_MAX, &text) < 0)
		return 0;
	rest = buf_span(&text);
	if (!parse_literal(&rest, "cpu "))
		return 0;
	for (int i = 0; i < FIELDS; i++) {
		uint64_t ticks;

		while (parse_byte(&rest, ' '))
			;
		if (!parse_u64(&rest, INT64_MAX / 1000 / FIELDS, &ticks))
			break;
		if (i != IDLE && i != IOWAIT)
			busy += ticks;
	}
	return busy * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

int stats_serve(struct conn *conn, const struct request *request, struct err *err)
{
	json_t *answer = json_new_object();
	json_t *stats = json_new_object();
	struct sysinfo system;

	(void)request;
	if (sysinfo(&system) < 0)
		memset(&system, 0, sizeof(system));
	json_put_u64(stats, "uptime_ms", clock_now_ms());
	put_memory(stats);
	put_disk(stats, "/", "root_total_bytes", "root_free_bytes");
	put_disk(stats, conn->state->has_work ? "/root" : NULL, "work_total_bytes",
		 "work_free_bytes");
	json_put_u64(stats, "processes", system.procs);
	json_put_u64(stats, "load_milli", (uint64_t)system.loads[0] * 1000 >> SI_LOAD_SHIFT);
	json_put_u64(stats, "cpu_busy_ms", busy_ms());
	json_put(answer, "stats", stats);
	return conn_reply(conn, answer, err);
}
