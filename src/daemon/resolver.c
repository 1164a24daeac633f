#include "daemon/resolver.h"

#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/strv.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "daemon/names.h"
#include "daemon/network.h"
#include "daemon/private.h"
#include "dns/answer.h"

#define RESOLVED_SOCKET "/run/systemd/resolve/io.systemd.Resolve" /* for nss-resolve */
#define CONNECT_MS	1000
#define COMMAND_MS	10000 /* resolved may be busy, and so may be the host */
#define REVERT_MS	5000  /* somebody waits for our end */
#define OUTPUT_MAX	65536

/* Which link, and which run of resolved: either may be another one later. */
struct target {
	unsigned link; /* 0: none */
	struct stat socket;
};

struct resolver {
	struct daemon *daemon; /* borrowed */
	struct cancel stop;
	struct cancel wake;
	pthread_t thread;
	struct target told;   /* the thread's, as the next */
	unsigned touched;     /* the link that has settings of ours; 0: none */
	pthread_mutex_t lock; /* around the members below */
	enum resolver_state state;
	struct err failure;
};

/* --- resolvectl --- */

/* No shell, nothing in its environment, and it goes when we are killed. */
static int run_resolvectl(const char *const *words, const struct cancel *cancel,
			  uint64_t timeout_ms, struct err *err)
{
	AUTO_STRV argv = { 0 };

	strv_add(&argv, "resolvectl");
	for (; *words; words++)
		strv_add(&argv, *words);
	struct spawn spawn = { .path = "resolvectl",
			       .argv = strv_argv(&argv),
			       .dies_with_parent = true };

	return spawn_run(&spawn, cancel, timeout_ms, OUTPUT_MAX, NULL, err);
}

/* The servers come last: before it has any, resolved asks nobody on that link. */
static int tell(struct resolver *resolver, struct err *err)
{
	const struct config *config = &resolver->daemon->config;
	const char *link = config->bridge_name;
	const char *const commands[][4] = {
		{ "default-route", link, "no" },
		{ "domain", link, "~" DNS_DOMAIN },
		/* The root zone knows no .vm and says so, signed. */
		{ "dnssec", link, "no" },
		{ "dnsovertls", link, "no" },
		{ "llmnr", link, "no" },
		{ "mdns", link, "no" },
		{ "dns", link, config->dns_listen },
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(commands) && r == 0; i++)
		r = run_resolvectl(commands[i], &resolver->stop, COMMAND_MS, err);
	return r;
}

static bool resolved_runs(struct stat *ret)
{
	AUTO_CLOSE int fd = -1;
	struct err ignored = ERR_INIT;

	/* resolvectl would start it where it does not run, and its socket outlives it. */
	return unix_connect_until(RESOLVED_SOCKET, NULL,
				  clock_now_ns() + CONNECT_MS * NSEC_PER_MSEC, &fd,
				  &ignored) == 0 &&
	       stat(RESOLVED_SOCKET, ret) == 0;
}

/* --- the thread --- */

static void set_state(struct resolver *resolver, enum resolver_state state,
		      const struct err *failure)
{
	bool is_news;

	(void)pthread_mutex_lock(&resolver->lock);
	is_news = resolver->state != state ||
		  (failure && !str_eq(failure->message, resolver->failure.message));
	resolver->state = state;
	if (failure)
		resolver->failure = *failure;
	(void)pthread_mutex_unlock(&resolver->lock);
	if (is_news && failure)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .err = failure },
			  "systemd-resolved does not ask for names of VMs, trying again each "
			  "minute");
	else if (is_news && state == RESOLVER_ASKS)
		log_info("systemd-resolved asks for names of VMs on link '%s'",
			 resolver->daemon->config.bridge_name);
}

static bool is_same(const struct target *a, const struct target *b)
{
	return a->link == b->link && a->socket.st_dev == b->socket.st_dev &&
	       a->socket.st_ino == b->socket.st_ino &&
	       a->socket.st_ctim.tv_sec == b->socket.st_ctim.tv_sec &&
	       a->socket.st_ctim.tv_nsec == b->socket.st_ctim.tv_nsec;
}

/* Who has taken our port must not be asked in our place. */
static bool is_answering(const struct resolver *resolver)
{
	bool is_listening;

	IGNORE_RESULT(names_answers(resolver->daemon->names, &is_listening));
	return is_listening;
}

static void look(struct resolver *resolver)
{
	struct target target = { 0 };
	struct err err = ERR_INIT;

	if (!resolved_runs(&target.socket)) {
		set_state(resolver, RESOLVER_NONE, NULL);
		return;
	}
	if (network_has_bridge(resolver->daemon->network) && is_answering(resolver))
		target.link = if_nametoindex(resolver->daemon->config.bridge_name);
	if (target.link == 0) {
		set_state(resolver, RESOLVER_WAITS, NULL);
		return;
	}
	if (is_same(&target, &resolver->told))
		return;
	resolver->touched = target.link;
	if (tell(resolver, &err) < 0) {
		if (cancel_is_fired(&resolver->stop))
			return;
		err_hint(&err, "docs/network.md says how to tell it by hand");
		set_state(resolver, RESOLVER_FAILED, &err);
		return;
	}
	resolver->told = target;
	set_state(resolver, RESOLVER_ASKS, NULL);
}

/* Settings go with their link. */
static void take_back(struct resolver *resolver)
{
	const char *const words[] = { "revert", resolver->daemon->config.bridge_name, NULL };
	struct stat socket;
	struct err err = ERR_INIT;

	if (resolver->touched == 0 || if_nametoindex(words[1]) != resolver->touched ||
	    !resolved_runs(&socket))
		return;
	if (run_resolvectl(words, NULL, REVERT_MS, &err) < 0)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .err = &err },
			  "cannot take back what systemd-resolved was told of link '%s', ignoring",
			  words[1]);
}

static void *resolver_run(void *context)
{
	struct resolver *resolver = context;
	uint64_t count;

	while (!cancel_is_fired(&resolver->stop)) {
		struct pollfd waits[] = {
			{ .fd = resolver->stop.fd, .events = POLLIN },
			{ .fd = resolver->wake.fd, .events = POLLIN },
		};

		if (poll(waits, ARRAY_LEN(waits), -1) < 0 || waits[1].revents == 0)
			continue;
		IGNORE_RESULT(fd_read_some(resolver->wake.fd, &count, sizeof(count)));
		look(resolver);
	}
	take_back(resolver);
	return NULL;
}

static void wake(void *context)
{
	struct resolver *resolver = context;

	cancel_fire(&resolver->wake);
}

static void resolver_free(struct resolver *resolver)
{
	cancel_done(&resolver->stop);
	cancel_done(&resolver->wake);
	(void)pthread_mutex_destroy(&resolver->lock);
	mem_free(resolver);
}

int resolver_start(struct daemon *daemon, struct resolver **ret, struct err *err)
{
	struct resolver *resolver = mem_alloc(1, sizeof(*resolver));
	int r;

	*resolver = (struct resolver){ .daemon = daemon,
				       .stop = CANCEL_INIT,
				       .wake = CANCEL_INIT,
				       .lock = PTHREAD_MUTEX_INITIALIZER };
	r = cancel_init(&resolver->stop);
	if (r == 0)
		r = cancel_init(&resolver->wake);
	if (r == 0)
		r = -pthread_create(&resolver->thread, NULL, resolver_run, resolver);
	if (r < 0) {
		resolver_free(resolver);
		return err_sys(err, r, "start the resolver's thread");
	}
	network_watch_bridge(daemon->network, wake, resolver);
	wake(resolver);
	*ret = resolver;
	return 0;
}

void resolver_look(struct resolver *resolver)
{
	if (resolver)
		wake(resolver);
}

void resolver_stop(struct resolver *resolver)
{
	if (!resolver)
		return;
	network_watch_bridge(resolver->daemon->network, NULL, NULL);
	cancel_fire(&resolver->stop);
	(void)pthread_join(resolver->thread, NULL);
	resolver_free(resolver);
}

enum resolver_state resolver_state(struct resolver *resolver, struct err *ret_failure)
{
	enum resolver_state state;

	(void)pthread_mutex_lock(&resolver->lock);
	state = resolver->state;
	if (state == RESOLVER_FAILED)
		*ret_failure = resolver->failure;
	(void)pthread_mutex_unlock(&resolver->lock);
	return state;
}
