#include "daemon/stats.h"

#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/private.h"
#include "daemon/vm_files.h"
#include "daemon/vm_table.h"
#include "priv/priv.h"

#define GUEST_ROUND_NS (2 * NSEC_PER_SEC) /* for all guests of one round of the worker */
#define GUEST_ONE_NS   (500 * NSEC_PER_MSEC)

struct moment {
	uint64_t taken_ns; /* 0: none */
	uint64_t cpu_us;
	bool has_network;
	uint64_t in_bytes;
	uint64_t out_bytes;
};

/* The last two moments, STATS_WINDOW_NS or more apart. */
struct window {
	struct moment before;
	struct moment last;
};

struct entry {
	char id[VM_ID_SIZE];
	pid_t pid; /* of the process that was measured: a VM that was restarted begins anew */
	struct window window;
	uint64_t guest_asked_ns; /* 0: never */
	bool has_guest;
	struct guest_stats guest;
};

struct stats {
	pthread_mutex_t mutex;
	struct entry *entries; /* owned; the VMs that ran at the last round, and younger ones */
	size_t count;
	struct window host;
};

struct stats *stats_new(void)
{
	struct stats *stats = mem_alloc(1, sizeof(*stats));

	(void)pthread_mutex_init(&stats->mutex, NULL);
	return stats;
}

void stats_free(struct stats *stats)
{
	if (!stats)
		return;
	(void)pthread_mutex_destroy(&stats->mutex);
	mem_free(stats->entries);
	mem_free(stats);
}

/* --- with the mutex held --- */

static void window_add(struct window *window, const struct moment *now)
{
	if (now->taken_ns - window->last.taken_ns < STATS_WINDOW_NS)
		return;
	window->before = window->last;
	window->last = *now;
}

static uint64_t elapsed_us(const struct window *window)
{
	return (window->last.taken_ns - window->before.taken_ns) / (NSEC_PER_MSEC / 1000);
}

/* Thousandths of a processor between the two moments. */
static bool window_load(const struct window *window, uint64_t *ret_milli)
{
	const uint64_t elapsed = elapsed_us(window);

	if (window->before.taken_ns == 0 || elapsed == 0 ||
	    window->last.cpu_us < window->before.cpu_us)
		return false;
	*ret_milli = (window->last.cpu_us - window->before.cpu_us) * 1000 / elapsed;
	return true;
}

static uint64_t per_second(uint64_t bytes, uint64_t elapsed)
{
	return (uint64_t)((double)bytes * 1000000 / (double)elapsed);
}

/* Bytes a second between the two moments; unknown when the device was another one then. */
static bool window_rates(const struct window *window, uint64_t *ret_in, uint64_t *ret_out)
{
	const struct moment *before = &window->before, *last = &window->last;
	const uint64_t elapsed = elapsed_us(window);

	if (before->taken_ns == 0 || elapsed == 0 || !before->has_network || !last->has_network ||
	    last->in_bytes < before->in_bytes || last->out_bytes < before->out_bytes)
		return false;
	*ret_in = per_second(last->in_bytes - before->in_bytes, elapsed);
	*ret_out = per_second(last->out_bytes - before->out_bytes, elapsed);
	return true;
}

static struct entry *find(struct stats *stats, const char *id)
{
	for (size_t i = 0; i < stats->count; i++) {
		if (str_eq(stats->entries[i].id, id))
			return &stats->entries[i];
	}
	return NULL;
}

static struct entry *find_or_add(struct stats *stats, const char *id, pid_t pid)
{
	struct entry *entry = find(stats, id);

	if (!entry) {
		stats->entries =
			mem_grow(stats->entries, stats->count + 1, sizeof(*stats->entries));
		entry = &stats->entries[stats->count++];
		*entry = (struct entry){ .pid = 0 };
		memcpy(entry->id, id, VM_ID_SIZE);
	}
	if (entry->pid != pid) {
		*entry = (struct entry){ .pid = pid };
		memcpy(entry->id, id, VM_ID_SIZE);
	}
	return entry;
}

/* --- measuring --- */

static bool sample_vm(struct daemon *daemon, const char *id, pid_t pid, struct vm_load *ret)
{
	struct process_sample process = { 0 };
	struct priv_usage usage;

	if (sample_process(pid, &process) < 0)
		return false;
	if (priv_cgroup_usage(daemon->priv, id, &usage) < 0)
		usage = (struct priv_usage){ 0 };
	*ret = (struct vm_load){
		.is_measured = true,
		.is_frozen = process.is_frozen,
		.cpu_us = usage.has_cpu ? usage.cpu_us : process.cpu_us,
		.memory_bytes = usage.has_memory ? usage.memory_bytes : process.memory_bytes,
		.memory_max_bytes = usage.has_memory ? usage.memory_max_bytes : 0,
		.read_bytes = process.read_bytes,
		.written_bytes = process.written_bytes,
	};
	return true;
}

/* Whether the guest is to be asked; if so, nobody else asks it before the interval is over. */
static bool claim_guest(struct stats *stats, const char *id, uint64_t interval_ns)
{
	const uint64_t now_ns = clock_now_ns();
	struct entry *entry;
	bool is_due = false;

	(void)pthread_mutex_lock(&stats->mutex);
	entry = find(stats, id);
	if (entry &&
	    (entry->guest_asked_ns == 0 || now_ns - entry->guest_asked_ns >= interval_ns)) {
		entry->guest_asked_ns = now_ns;
		is_due = true;
	}
	(void)pthread_mutex_unlock(&stats->mutex);
	return is_due;
}

static void ask_guest(struct daemon *daemon, const char *id, const struct cancel *cancel,
		      uint64_t deadline_ns)
{
	AUTO_FREE char *socket = vm_file(daemon, id, VM_FILE_VSOCK_SOCKET);
	const uint64_t own_ns = clock_now_ns() + GUEST_ONE_NS;
	const struct guest_target target = {
		.socket_path = socket,
		.cancel = cancel,
		.deadline_ns = own_ns < deadline_ns ? own_ns : deadline_ns,
	};
	struct guest_stats guest = { 0 };
	struct err ignored = ERR_INIT;
	const bool has_answered = guest_stats(&target, &guest, &ignored) == 0;
	struct entry *entry;

	(void)pthread_mutex_lock(&daemon->stats->mutex);
	entry = find(daemon->stats, id);
	if (entry) {
		entry->has_guest = has_answered;
		entry->guest = guest;
	}
	(void)pthread_mutex_unlock(&daemon->stats->mutex);
}

void stats_count_traffic(struct daemon *daemon, struct network_traffic *ret)
{
	struct err err = ERR_INIT;

	/* One that hangs is told of by whoever waits for it. */
	if (network_count_traffic(daemon->network, ret, &err) < 0 && err.kind != ERR_TIMEOUT)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .err = &err },
			  "cannot count what passes VMs' network devices, retrying");
}

void stats_measure(struct daemon *daemon, const struct vm *vm,
		   const struct network_traffic *traffic, const struct cancel *cancel,
		   uint64_t guest_deadline_ns, struct vm_load *ret)
{
	const struct priv_traffic *passed = network_traffic_of(traffic, vm->id);
	struct stats *stats = daemon->stats;
	struct handles handles;
	struct moment now;
	struct entry *entry;

	*ret = (struct vm_load){ 0 };
	if (!vm_table_get(daemon->table, vm->id, &handles, NULL) ||
	    !sample_vm(daemon, vm->id, handles.pid, ret))
		return;
	ret->has_network = passed != NULL;
	if (passed)
		ret->traffic = *passed;
	now = (struct moment){ .taken_ns = clock_now_ns(),
			       .cpu_us = ret->cpu_us,
			       .has_network = ret->has_network,
			       .in_bytes = ret->traffic.in_bytes,
			       .out_bytes = ret->traffic.out_bytes };
	(void)pthread_mutex_lock(&stats->mutex);
	entry = find_or_add(stats, vm->id, handles.pid);
	window_add(&entry->window, &now);
	ret->has_load = window_load(&entry->window, &ret->cpu_milli);
	ret->has_rate =
		ret->has_network && window_rates(&entry->window, &ret->in_rate, &ret->out_rate);
	(void)pthread_mutex_unlock(&stats->mutex);

	if (vm->state != VM_RUNNING || ret->is_frozen)
		return;
	if (clock_now_ns() < guest_deadline_ns &&
	    claim_guest(stats, vm->id, daemon->config.stats_poll_interval_ms * NSEC_PER_MSEC))
		ask_guest(daemon, vm->id, cancel, guest_deadline_ns);
	(void)pthread_mutex_lock(&stats->mutex);
	entry = find(stats, vm->id);
	ret->has_guest = entry && entry->has_guest;
	if (ret->has_guest)
		ret->guest = entry->guest;
	(void)pthread_mutex_unlock(&stats->mutex);
}

void stats_measure_host(struct daemon *daemon, struct host_load *ret)
{
	struct stats *stats = daemon->stats;
	struct moment now;

	*ret = (struct host_load){ 0 };
	sample_host(&ret->sample);
	now = (struct moment){ .taken_ns = clock_now_ns(), .cpu_us = ret->sample.cpu_busy_us };
	(void)pthread_mutex_lock(&stats->mutex);
	window_add(&stats->host, &now);
	ret->has_load = window_load(&stats->host, &ret->cpu_milli);
	(void)pthread_mutex_unlock(&stats->mutex);
}

/* --- the worker --- */

struct stats_worker {
	struct daemon *daemon; /* borrowed */
	struct cancel stop;
	pthread_t thread;
};

/* Forgets the VMs that do not run any more. */
static void forget(struct daemon *daemon)
{
	struct stats *stats = daemon->stats;
	size_t kept = 0;

	(void)pthread_mutex_lock(&stats->mutex);
	for (size_t i = 0; i < stats->count; i++) {
		if (vm_table_get(daemon->table, stats->entries[i].id, NULL, NULL))
			stats->entries[kept++] = stats->entries[i];
	}
	stats->count = kept;
	(void)pthread_mutex_unlock(&stats->mutex);
}

static void measure_all(struct stats_worker *worker)
{
	struct daemon *daemon = worker->daemon;
	const uint64_t deadline_ns = clock_now_ns() + GUEST_ROUND_NS;
	AUTO_NETWORK_TRAFFIC traffic = { 0 };
	AUTO_VM_LIST list = { 0 };
	struct err err = ERR_INIT;
	struct host_load host;

	if (store_vm_list(daemon->store, &list, &err) < 0) {
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .err = &err },
			  "cannot measure VMs, retrying");
		return;
	}
	stats_count_traffic(daemon, &traffic);
	for (size_t i = 0; i < list.count && !cancel_is_fired(&worker->stop); i++) {
		struct vm_load load;

		if (vm_state_is_alive(list.items[i].state))
			stats_measure(daemon, &list.items[i], &traffic, &worker->stop, deadline_ns,
				      &load);
	}
	stats_measure_host(daemon, &host);
}

static void *worker_run(void *context)
{
	struct stats_worker *worker = context;
	struct daemon *daemon = worker->daemon;
	const uint64_t interval_ns = daemon->config.stats_poll_interval_ms * NSEC_PER_MSEC;

	while (cancel_poll(&worker->stop, -1, 0, clock_now_ns() + interval_ns) == -ETIMEDOUT) {
		forget(daemon);
		if (vm_table_count(daemon->table) > 0)
			measure_all(worker);
	}
	return NULL;
}

int stats_worker_start(struct daemon *daemon, struct stats_worker **ret, struct err *err)
{
	struct stats_worker *worker = mem_alloc(1, sizeof(*worker));
	int r;

	worker->daemon = daemon;
	r = cancel_init(&worker->stop);
	if (r == 0) {
		r = -pthread_create(&worker->thread, NULL, worker_run, worker);
		if (r < 0)
			cancel_done(&worker->stop);
	}
	if (r < 0) {
		mem_free(worker);
		return err_sys(err, r, "start the worker that measures VMs");
	}
	*ret = worker;
	return 0;
}

void stats_worker_stop(struct stats_worker *worker)
{
	if (!worker)
		return;
	cancel_fire(&worker->stop);
	(void)pthread_join(worker->thread, NULL);
	cancel_done(&worker->stop);
	mem_free(worker);
}
