#include "agent/quiet.h"

#include <fcntl.h>
#include <poll.h>

#include "agent/power.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/parse.h"
#include "base/text.h"

#define PROC_FILE_MAX (1U << 20)

static void skip_blanks(struct span *cursor)
{
	while (parse_byte(cursor, ' '))
		;
}

/* The numbers that follow, as many as there are and fit. */
static size_t take_numbers(struct span line, uint64_t *numbers, size_t count)
{
	size_t taken = 0;

	for (; taken < count; taken++) {
		skip_blanks(&line);
		if (!parse_u64(&line, INT64_MAX, &numbers[taken]))
			break;
	}
	return taken;
}

bool quiet_parse_stat(struct span text, struct quiet_sample *sample)
{
	/* user nice system idle iowait irq softirq steal */
	enum { IDLE = 3, IOWAIT = 4, FIELDS = 8 };
	uint64_t ticks[FIELDS] = { 0 };
	bool has_cpu = false;
	bool has_blocked = false;
	struct span line;

	while (parse_until(&text, '\n', &line)) {
		if (parse_literal(&line, "cpu ")) {
			has_cpu = take_numbers(line, ticks, FIELDS) > IDLE;
			for (size_t i = 0; i < FIELDS; i++) {
				sample->all_ticks += ticks[i];
				if (i != IDLE && i != IOWAIT)
					sample->busy_ticks += ticks[i];
			}
		} else if (parse_literal(&line, "procs_blocked ")) {
			has_blocked = take_numbers(line, &sample->blocked, 1) == 1;
		}
	}
	return has_cpu && has_blocked;
}

bool quiet_parse_disks(struct span text, struct quiet_sample *sample)
{
	/* After the name: reads, merged, sectors, ms, writes, merged, sectors, ms, in flight */
	enum { READS = 0, WRITES = 4, IN_FLIGHT = 8, FIELDS = 9 };
	struct span line;

	while (parse_until(&text, '\n', &line)) {
		uint64_t device[2];
		uint64_t numbers[FIELDS];
		struct span name;

		for (size_t i = 0; i < ARRAY_LEN(device); i++) {
			skip_blanks(&line);
			if (!parse_u64(&line, UINT32_MAX, &device[i]))
				return false;
		}
		skip_blanks(&line);
		if (!parse_until(&line, ' ', &name) || take_numbers(line, numbers, FIELDS) < FIELDS)
			return false;
		sample->transfers += numbers[READS] + numbers[WRITES];
		sample->in_flight += numbers[IN_FLIGHT];
	}
	return parse_end(&text);
}

void quiet_compare(const struct quiet_sample *first, const struct quiet_sample *second,
		   struct buf *why)
{
	const uint64_t all = second->all_ticks - first->all_ticks;
	const uint64_t busy = second->busy_ticks - first->busy_ticks;

	if (all == 0)
		buf_add_str(why, "no time has passed");
	else if (busy * 1000 / all > QUIET_BUSY_PERMILLE)
		buf_addf(why, "the processors are busy for %llu of 1000 parts of the time",
			 (unsigned long long)(busy * 1000 / all));
	else if (first->blocked > 0 || second->blocked > 0)
		buf_addf(why, "%llu processes wait for a disk",
			 (unsigned long long)(first->blocked > second->blocked ? first->blocked
									       : second->blocked));
	else if (first->in_flight > 0 || second->in_flight > 0 ||
		 first->transfers != second->transfers)
		buf_add_str(why, "a disk is at work");
}

void quiet_judge_systemd(const struct bus_value *system_state, const struct bus_value *jobs,
			 struct buf *why)
{
	if (system_state->type != 's' || jobs->type != 'u')
		buf_add_str(why, "systemd does not say what it is doing");
	else if (!str_eq(system_state->text, "running") && !str_eq(system_state->text, "degraded"))
		buf_addf(why, "systemd is %s", system_state->text);
	else if (jobs->number > 0)
		buf_addf(why, "systemd has %u jobs to do", jobs->number);
}

/* --- asking --- */

static int get_property(int bus, const char *name, struct bus_value *ret, struct err *err)
{
	const struct bus_call get = {
		.path = "/org/freedesktop/systemd1",
		.interface = "org.freedesktop.DBus.Properties",
		.member = "Get",
		.arguments = { "org.freedesktop.systemd1.Manager", name },
	};

	return bus_call(bus, &get, ret, err);
}

/* A systemd that cannot be asked yet is one that is still starting. */
static void ask_systemd(struct buf *why)
{
	struct bus_value state;
	struct bus_value jobs;
	struct err err = ERR_INIT;
	AUTO_CLOSE int bus = bus_connect(BUS_SOCKET_SYSTEMD, &err);

	if (bus < 0 || get_property(bus, "SystemState", &state, &err) < 0 ||
	    get_property(bus, "NJobs", &jobs, &err) < 0)
		buf_addf(why, "systemd: %s", err.message);
	else
		quiet_judge_systemd(&state, &jobs, why);
}

static int take_sample(struct quiet_sample *sample, struct err *err)
{
	AUTO_BUF stat = BUF_INIT;
	AUTO_BUF disks = BUF_INIT;
	int r = file_read(AT_FDCWD, "/proc/stat", PROC_FILE_MAX, &stat);

	if (r == 0)
		r = file_read(AT_FDCWD, "/proc/diskstats", PROC_FILE_MAX, &disks);
	if (r < 0)
		return err_sys(err, r, "read what the guest is doing");
	if (!quiet_parse_stat(buf_span(&stat), sample) ||
	    !quiet_parse_disks(buf_span(&disks), sample))
		return err_set(err, ERR_UNSUPPORTED,
			       "the kernel does not say what the guest is doing");
	return 0;
}

static int watch(struct buf *why, struct err *err)
{
	struct quiet_sample first = { .blocked = 0 };
	struct quiet_sample second = { .blocked = 0 };
	int r = take_sample(&first, err);

	if (r < 0)
		return r;
	(void)poll(NULL, 0, QUIET_WINDOW_MS);
	r = take_sample(&second, err);
	if (r == 0)
		quiet_compare(&first, &second, why);
	return r;
}

int quiet_serve(struct conn *conn, const struct request *request, struct err *err)
{
	AUTO_BUF why = BUF_INIT;
	json_t *answer;
	int r = 0;

	(void)request;
	if (conn->state->is_booted && !state_has_reached(conn->state, STAGE_INIT))
		buf_add_str(&why, "init has not begun");
	else if (conn->state->is_booted && power_init_is_systemd())
		ask_systemd(&why);
	if (why.len == 0)
		r = watch(&why, err);
	if (r < 0)
		return r;
	answer = json_new_object();
	json_put_bool(answer, "quiet", why.len == 0);
	if (why.len > 0)
		json_put_str(answer, "why", why.ptr);
	return conn_reply(conn, answer, err);
}
