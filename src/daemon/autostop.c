#include "daemon/autostop.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "daemon/lease.h"
#include "daemon/network.h"
#include "daemon/operations.h"
#include "daemon/private.h"
#include "daemon/vm_files.h"
#include "daemon/vm_service.h"
#include "daemon/vm_table.h"

#define SOCKETS_BYTES_MAX (16UL << 20) /* of /proc/net/unix: over 100000 sockets */
#define INTERVAL_MIN_MS	  200
#define INTERVAL_MAX_MS	  AUTOSTOP_TALK_WINDOW_MS /* else every talk would be too old */
#define PARTS		  16 /* of the time: what is stored may lag by one of them */

/* One VM that was used since this daemon began. */
struct use {
	char id[VM_ID_SIZE];
	uint64_t used_ms; /* 0: not by now */
	struct autostop_talk talk;
	struct use *next;
};

struct autostop {
	struct daemon *daemon; /* borrowed */
	uint64_t stale_after_ms;
	struct cancel stop;
	pthread_t thread;
	pthread_mutex_t mutex;
	/* Behind the mutex: */
	struct use *first;	 /* as many as VMs that ran */
	struct cancel operation; /* of the stop under way; fired from outside, too */
	bool has_operation;
};

/* --- the decisions --- */

uint64_t autostop_last_use(uint64_t known_ms, uint64_t stored_ms, uint64_t now_ms)
{
	const uint64_t last = known_ms > stored_ms ? known_ms : stored_ms;

	/* Nobody knows: then this is the first time that anybody looks. A time to come was stored
	 * under another clock. */
	return last == 0 || last > now_ms ? now_ms : last;
}

bool autostop_is_stale(uint64_t last_use_ms, uint64_t now_ms, uint64_t stale_after_ms)
{
	return now_ms >= last_use_ms && now_ms - last_use_ms >= stale_after_ms;
}

bool autostop_must_store(uint64_t stored_ms, uint64_t last_use_ms, uint64_t stale_after_ms)
{
	return stored_ms == 0 || stored_ms > last_use_ms ||
	       last_use_ms - stored_ms >= stale_after_ms / PARTS;
}

uint64_t autostop_interval_ms(uint64_t stale_after_ms)
{
	const uint64_t part = stale_after_ms / PARTS;

	if (part < INTERVAL_MIN_MS)
		return INTERVAL_MIN_MS;
	return part < INTERVAL_MAX_MS ? part : INTERVAL_MAX_MS;
}

/* What leaks away in `elapsed_ms`, and then comes in. */
static uint64_t pour(uint64_t level_milli, uint64_t elapsed_ms, uint64_t packets)
{
	const uint64_t full = AUTOSTOP_TALK_PACKETS * 1000;
	const uint64_t leaked = elapsed_ms < AUTOSTOP_TALK_WINDOW_MS
					? elapsed_ms * full / AUTOSTOP_TALK_WINDOW_MS
					: full;
	const uint64_t left = level_milli > leaked ? level_milli - leaked : 0;

	return packets >= AUTOSTOP_TALK_PACKETS || left + packets * 1000 > full
		       ? full
		       : left + packets * 1000;
}

bool autostop_talks(struct autostop_talk *talk, uint64_t in_packets, uint64_t out_packets,
		    uint64_t now_ms)
{
	/* Fewer than before: it is another device. */
	const bool is_same = talk->at_ms != 0 && now_ms >= talk->at_ms &&
			     in_packets >= talk->in_packets && out_packets >= talk->out_packets;

	if (is_same) {
		const uint64_t elapsed_ms = now_ms - talk->at_ms;

		talk->in_milli = pour(talk->in_milli, elapsed_ms, in_packets - talk->in_packets);
		talk->out_milli =
			pour(talk->out_milli, elapsed_ms, out_packets - talk->out_packets);
	}
	talk->at_ms = now_ms;
	talk->in_packets = in_packets;
	talk->out_packets = out_packets;
	return is_same && talk->in_milli >= AUTOSTOP_TALK_PACKETS * 1000 &&
	       talk->out_milli >= AUTOSTOP_TALK_PACKETS * 1000;
}

/* "Num RefCount Protocol Flags Type St Inode Path": the fields before the path have no blanks. */
static bool read_socket(struct span line, struct span *ret_state, struct span *ret_path)
{
	for (int i = 0; i < 7; i++) {
		struct span field;

		while (parse_byte(&line, ' '))
			;
		if (!parse_until(&line, ' ', &field))
			return false;
		if (i == 5)
			*ret_state = field;
	}
	*ret_path = line;
	return true;
}

uint64_t autostop_count_streams(struct span table, const char *path, bool *ret_is_there)
{
	uint64_t count = 0;
	struct span line;

	*ret_is_there = false;
	while (parse_until(&table, '\n', &line)) {
		struct span state = span_of("", 0), found = span_of("", 0);

		if (!read_socket(line, &state, &found) || !span_eq(found, span_str(path)))
			continue;
		/* SS_CONNECTED; an accepted socket has the name of the one that it was accepted
		 * from. */
		if (span_eq(state, span_str("03")))
			count++;
		else
			*ret_is_there = true;
	}
	return count;
}

/* --- who was used when --- */

static struct use *find_use(struct autostop *autostop, const char *id)
{
	struct use *use = autostop->first;

	while (use && !str_eq(use->id, id))
		use = use->next;
	return use;
}

static struct use *find_or_add_use(struct autostop *autostop, const char *id)
{
	struct use *use = find_use(autostop, id);

	if (use)
		return use;
	use = mem_alloc(1, sizeof(*use));
	(void)memcpy(use->id, id, sizeof(use->id));
	use->next = autostop->first;
	autostop->first = use;
	return use;
}

void autostop_touch(struct autostop *autostop, const char *id)
{
	const uint64_t now_ms = clock_awake_ms();

	if (!autostop)
		return;
	(void)pthread_mutex_lock(&autostop->mutex);
	find_or_add_use(autostop, id)->used_ms = now_ms;
	(void)pthread_mutex_unlock(&autostop->mutex);
}

static void note_traffic(struct autostop *autostop, const struct priv_traffic *passed)
{
	const uint64_t now_ms = clock_awake_ms();
	struct use *use;

	(void)pthread_mutex_lock(&autostop->mutex);
	use = find_or_add_use(autostop, passed->vm_id);
	if (autostop_talks(&use->talk, passed->in_packets, passed->out_packets, now_ms))
		use->used_ms = now_ms;
	(void)pthread_mutex_unlock(&autostop->mutex);
}

static uint64_t known_use(struct autostop *autostop, const char *id)
{
	const struct use *use;
	uint64_t used_ms;

	(void)pthread_mutex_lock(&autostop->mutex);
	use = find_use(autostop, id);
	used_ms = use ? use->used_ms : 0;
	(void)pthread_mutex_unlock(&autostop->mutex);
	return used_ms;
}

/* Those of VMs that do not run any more: their next start is a use. */
static void forget_others(struct autostop *autostop, const struct vm_list *vms)
{
	struct use **at = &autostop->first;

	(void)pthread_mutex_lock(&autostop->mutex);
	while (*at) {
		struct use *use = *at;
		bool is_alive = false;

		for (size_t i = 0; i < vms->count && !is_alive; i++)
			is_alive = str_eq(vms->items[i].id, use->id) &&
				   (vm_state_is_alive(vms->items[i].state) ||
				    vms->items[i].intent != VM_INTENT_NONE);
		if (is_alive) {
			at = &use->next;
			continue;
		}
		*at = use->next;
		mem_free(use);
	}
	(void)pthread_mutex_unlock(&autostop->mutex);
}

/* --- looking --- */

/* What there is to be seen of all VMs at one moment. */
struct sight {
	struct buf sockets; /* /proc/net/unix */
	struct network_traffic traffic;
};

static void sight_done(struct sight *sight)
{
	buf_done(&sight->sockets);
	network_traffic_done(&sight->traffic);
}

static int see(struct autostop *autostop, struct sight *ret, struct err *err)
{
	const int r = file_read(AT_FDCWD, "/proc/self/net/unix", SOCKETS_BYTES_MAX, &ret->sockets);

	if (r < 0)
		return err_sys(err, r, "read /proc/self/net/unix");
	return network_count_traffic(autostop->daemon->network, &ret->traffic, err);
}

/* Whether a stream to its agent is open. `table` is of our network namespace, a VMM may have its
 * own. */
static bool has_streams(struct autostop *autostop, const char *id, struct span table)
{
	AUTO_FREE char *path = vm_file(autostop->daemon, id, VM_FILE_VSOCK_SOCKET);
	AUTO_FREE char *its_table = NULL;
	AUTO_BUF text = BUF_INIT;
	struct handles handles;
	bool is_there;
	uint64_t count = autostop_count_streams(table, path, &is_there);

	if (is_there || count > 0)
		return count > 0;
	if (!vm_table_get(autostop->daemon->table, id, &handles, NULL))
		return false;
	its_table = mem_printf("/proc/%d/net/unix", (int)handles.pid);
	if (file_read(AT_FDCWD, its_table, SOCKETS_BYTES_MAX, &text) < 0)
		return true; /* what cannot be told must not end anything */
	return autostop_count_streams(buf_span(&text), path, &is_there) > 0;
}

static bool is_watched(const struct autostop *autostop, const struct vm *vm)
{
	return vm->state == VM_RUNNING && vm->intent == VM_INTENT_NONE &&
	       !(vm->ephemeral && lease_is_held(autostop->daemon->leases, vm->id));
}

static void store_use(struct autostop *autostop, const struct vm *vm, uint64_t last_ms)
{
	struct err err = ERR_INIT;

	if (!autostop_must_store(vm->used_at_ms, last_ms, autostop->stale_after_ms))
		return;
	if (store_vm_set_used(autostop->daemon->store, vm->id, last_ms, &err) < 0 &&
	    err.kind != ERR_NOT_FOUND)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = vm->id, .err = &err },
			  "cannot store when it was used, retrying");
}

/* Looks at one VM; whether it is to be stopped. */
static bool look(struct autostop *autostop, const struct vm *vm, const struct sight *sight)
{
	const struct priv_traffic *passed = network_traffic_of(&sight->traffic, vm->id);
	uint64_t now_ms, last_ms;

	if (has_streams(autostop, vm->id, buf_span(&sight->sockets)))
		autostop_touch(autostop, vm->id);
	if (passed)
		note_traffic(autostop, passed);
	now_ms = clock_awake_ms();
	last_ms = autostop_last_use(known_use(autostop, vm->id), vm->used_at_ms, now_ms);
	store_use(autostop, vm, last_ms);
	if (known_use(autostop, vm->id) == 0 && vm->used_at_ms == 0)
		autostop_touch(autostop, vm->id);
	return autostop_is_stale(last_ms, now_ms, autostop->stale_after_ms);
}

/* --- stopping --- */

static int stop_claimed(struct autostop *autostop, struct vm *vm, const struct job *job,
			struct err *err)
{
	struct daemon *daemon = autostop->daemon;
	AUTO_BUF reason = BUF_INIT;
	bool is_forced = false;
	int r;

	r = vm_stop_locked(daemon, vm, VM_STOP_TIMEOUT_MS, job, &is_forced, err);
	if (r < 0)
		return r;
	buf_add_str(&reason, "nobody used it for ");
	text_duration(&reason, autostop->stale_after_ms);
	buf_add_str(&reason, " (auto_stop_stale_after)");
	log_write(LOG_LEVEL_INFO, &(struct log_fields){ .vm = vm->id }, "stopped: %s", reason.ptr);
	return store_vm_set_state(daemon->store, vm->id, VM_STOPPED, reason.ptr, err);
}

/* Claims it and looks again: it may have been used while others were stopped. */
static int stop_stale(struct autostop *autostop, const struct vm *found, const struct job *job,
		      struct err *err)
{
	struct daemon *daemon = autostop->daemon;
	AUTO_KEYHOLD hold = KEYHOLD_INIT;
	CLEANUP(sight_done) struct sight sight = { .sockets = BUF_INIT };
	AUTO_VM vm = { 0 };
	int r;

	r = daemon_claim_vm(daemon, found->id, job->cancel, &hold, &vm, err);
	if (r == 0)
		r = see(autostop, &sight, err);
	if (r < 0)
		return r;
	if (!is_watched(autostop, &vm) || !look(autostop, &vm, &sight))
		return 0;
	return stop_claimed(autostop, &vm, job, err);
}

static bool begin_operation(struct autostop *autostop)
{
	bool is_good;

	(void)pthread_mutex_lock(&autostop->mutex);
	is_good = cancel_init(&autostop->operation) == 0;
	autostop->has_operation = is_good;
	if (is_good && cancel_is_fired(&autostop->stop))
		cancel_fire(&autostop->operation);
	(void)pthread_mutex_unlock(&autostop->mutex);
	return is_good;
}

static void end_operation(struct autostop *autostop)
{
	(void)pthread_mutex_lock(&autostop->mutex);
	autostop->has_operation = false;
	cancel_done(&autostop->operation);
	(void)pthread_mutex_unlock(&autostop->mutex);
}

/* As an operation, so that it is listed and can be cancelled, which counts as a use. */
static void stop_one(struct autostop *autostop, const struct vm *vm)
{
	const struct job job = { .daemon = autostop->daemon, .cancel = &autostop->operation };
	struct err err = ERR_INIT;
	uint64_t operation;
	int r;

	if (!begin_operation(autostop))
		return; /* no descriptors left: the next pass tries again */
	operation = operations_begin(autostop->daemon->operations, "vm.stop", vm->name,
				     &autostop->operation);
	r = stop_stale(autostop, vm, &job, &err);
	operations_end(autostop->daemon->operations, operation);
	end_operation(autostop);
	if (r == 0 || err.kind == ERR_NOT_FOUND)
		return;
	if (err.kind == ERR_CANCELLED)
		autostop_touch(autostop, vm->id);
	log_write(LOG_LEVEL_WARN, &(struct log_fields){ .vm = vm->id, .err = &err },
		  "cannot stop a VM that nobody uses, retrying");
}

static void run_pass(struct autostop *autostop)
{
	struct daemon *daemon = autostop->daemon;
	AUTO_VM_LIST list = { 0 };
	CLEANUP(sight_done) struct sight sight = { .sockets = BUF_INIT };
	struct err err = ERR_INIT;

	if (store_vm_list(daemon->store, &list, &err) < 0 || see(autostop, &sight, &err) < 0) {
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .err = &err },
			  "cannot look which VMs are used, retrying");
		return;
	}
	forget_others(autostop, &list);
	for (size_t i = 0; i < list.count && !cancel_is_fired(&autostop->stop); i++) {
		if (is_watched(autostop, &list.items[i]) && look(autostop, &list.items[i], &sight))
			stop_one(autostop, &list.items[i]);
	}
}

static void *autostop_run(void *context)
{
	struct autostop *autostop = context;
	const uint64_t interval_ms = autostop_interval_ms(autostop->stale_after_ms);

	do {
		run_pass(autostop);
	} while (cancel_poll(&autostop->stop, -1, 0,
			     clock_now_ns() + interval_ms * NSEC_PER_MSEC) == -ETIMEDOUT);
	return NULL;
}

int autostop_start(struct daemon *daemon, struct autostop **ret, struct err *err)
{
	struct autostop *autostop;
	int r;

	*ret = NULL;
	if (daemon->config.auto_stop_stale_after_ms == 0)
		return 0;
	autostop = mem_alloc(1, sizeof(*autostop));
	autostop->daemon = daemon;
	autostop->stale_after_ms = daemon->config.auto_stop_stale_after_ms;
	autostop->operation = CANCEL_INIT;
	(void)pthread_mutex_init(&autostop->mutex, NULL);
	r = cancel_init(&autostop->stop);
	if (r == 0) {
		r = -pthread_create(&autostop->thread, NULL, autostop_run, autostop);
		if (r < 0)
			cancel_done(&autostop->stop);
	}
	if (r < 0) {
		(void)pthread_mutex_destroy(&autostop->mutex);
		mem_free(autostop);
		return err_sys(err, r, "start the thread that stops unused VMs");
	}
	*ret = autostop;
	return 0;
}

void autostop_stop(struct autostop *autostop)
{
	if (!autostop)
		return;
	(void)pthread_mutex_lock(&autostop->mutex);
	cancel_fire(&autostop->stop);
	if (autostop->has_operation)
		cancel_fire(&autostop->operation);
	(void)pthread_mutex_unlock(&autostop->mutex);
	(void)pthread_join(autostop->thread, NULL);
	while (autostop->first) {
		struct use *use = autostop->first;

		autostop->first = use->next;
		mem_free(use);
	}
	cancel_done(&autostop->stop);
	(void)pthread_mutex_destroy(&autostop->mutex);
	mem_free(autostop);
}
