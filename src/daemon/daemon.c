#include "daemon/daemon.h"

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "base/version.h"
#include "daemon/api.h"
#include "daemon/autostop.h"
#include "daemon/engine.h"
#include "daemon/known_hosts.h"
#include "daemon/lease.h"
#include "daemon/listing.h"
#include "daemon/names.h"
#include "daemon/network.h"
#include "daemon/operations.h"
#include "daemon/private.h"
#include "daemon/publish.h"
#include "daemon/reconcile.h"
#include "daemon/resolver.h"
#include "daemon/ssh_config.h"
#include "daemon/ssh_key.h"
#include "daemon/stats.h"
#include "daemon/storage.h"
#include "daemon/template_builder.h"
#include "daemon/templates.h"
#include "daemon/vm_table.h"
#include "daemon/watch.h"
#include "oci/blobs.h"
#include "priv/priv.h"
#include "rpc/server.h"

#define BACKLOG LIMIT_RPC_CLIENTS /* as many may come at the same moment */

void daemon_done(struct daemon *daemon)
{
	vm_table_free(daemon->table);
	operations_free(daemon->operations);
	keylock_free(daemon->locks);
	leases_free(daemon->leases);
	publish_free(daemon->publish);
	oci_blobs_free(daemon->blobs);
	stats_free(daemon->stats);
	names_free(daemon->names);
	listing_free(daemon->listing);
	templates_free(daemon->templates);
	engine_free(daemon->engine);
	network_close(daemon->network);
	priv_close(daemon->priv);
	store_close(daemon->store);
	cancel_done(&daemon->stop);
	cancel_done(&daemon->released);
	mem_free(daemon->images_dir);
	mem_free(daemon->kernels_dir);
	mem_free(daemon->vms_dir);
	mem_free(daemon->templates_dir);
	mem_free(daemon->agent_path);
	mem_free(daemon->ssh_key_path);
	config_done(&daemon->config);
	paths_done(&daemon->paths);
}

int daemon_open_network(struct daemon *daemon, struct err *err)
{
	const struct network_parts parts = { .config = &daemon->config,
					     .priv = daemon->priv,
					     .store = daemon->store,
					     .table = daemon->table,
					     .runtime_dir = daemon->paths.runtime_dir };

	return network_open(&parts, &daemon->network, err);
}

static int make_folder(const char *parent, const char *name, char **ret, struct err *err)
{
	AUTO_FREE char *path = mem_printf("%s/%s", parent, name);
	const int r = dir_make_path(path, 0700);

	if (r < 0)
		return err_sys(err, r, "make '%s'", path);
	*ret = TAKE_PTR(path);
	return 0;
}

/* Beside this program, or where `make install` puts what users do not call. */
static int find_agent(char **ret, struct err *err)
{
	static const char *const places[] = { "", "/../libexec/banger" };
	AUTO_FREE char *own = NULL;
	const int r = process_own_folder(&own);

	if (r < 0)
		return err_sys(err, r, "find the running program");
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		mem_free(*ret);
		*ret = mem_printf("%s%s/banger-vsock-agent", own, places[i]);
		if (access(*ret, R_OK) == 0)
			break;
	}
	return 0; /* a missing one is said by doctor and by the first start */
}

/*
 * The key that the user's ssh will use: made at the first start if it is absent, never replaced.
 * One of the user's own without its public half is said by doctor.
 */
static int ensure_user_key(const struct daemon *daemon, struct err *err)
{
	const char *name = strrchr(daemon->ssh_key_path, '/') + 1;
	AUTO_FREE char *folder =
		mem_strndup(daemon->ssh_key_path, (size_t)(name - 1 - daemon->ssh_key_path));
	AUTO_FREE char *public_name = mem_printf("%s.pub", name);
	AUTO_CLOSE int dir_fd = -1;
	AUTO_BUF private_pem = BUF_INIT;
	AUTO_BUF public_line = BUF_INIT;
	int r;

	r = dir_make_path(folder, 0700);
	dir_fd = r < 0 ? r : dir_open(folder);
	if (dir_fd < 0)
		return err_sys(err, dir_fd, "make '%s'", folder);
	if (faccessat(dir_fd, public_name, F_OK, 0) == 0)
		return 0;
	/* Ours without its public half is what a crash left: the public half is written last. */
	if (daemon->config.ssh_key_path && faccessat(dir_fd, name, F_OK, 0) == 0)
		return 0;
	r = ssh_key_generate("banger", &private_pem, &public_line, err);
	if (r < 0)
		return r;
	buf_add_byte(&public_line, '\n');
	r = file_replace(dir_fd, name, buf_span(&private_pem), 0600);
	if (r == 0)
		r = file_replace(dir_fd, public_name, buf_span(&public_line), 0644);
	ssh_key_wipe(&private_pem);
	return r < 0 ? err_sys(err, r, "write '%s'", daemon->ssh_key_path) : 0;
}

/* BANGER_LOG_LEVEL wins over the file (SPEC 4). */
static int choose_log_level(const struct config *config, struct err *err)
{
	const char *name = getenv("BANGER_LOG_LEVEL"); // NOLINT(concurrency-mt-unsafe)
	enum log_level level = config->log_level;

	if (!str_empty(name) && log_level_parse(name, &level) < 0)
		return err_set(err, ERR_INVALID,
			       "BANGER_LOG_LEVEL is '%s': it must be debug, info, warn or error",
			       name);
	log_set_level(level);
	return 0;
}

static int load_config(struct daemon *daemon, struct err *err)
{
	struct config loaded;
	int r;

	r = config_load(daemon->paths.config_file, &loaded, err);
	if (r < 0)
		return r;
	config_done(&daemon->config);
	daemon->config = loaded;
	r = choose_log_level(&daemon->config, err);
	if (r < 0)
		return r;
	daemon->ssh_key_path = loaded.ssh_key_path
				       ? paths_expand(&daemon->paths, loaded.ssh_key_path, err)
				       : mem_printf("%s/ssh/id_ed25519", daemon->paths.state_dir);
	if (!daemon->ssh_key_path)
		return -EINVAL;
	config_read_host(&daemon->host);
	config_vm_defaults(&daemon->config, &daemon->host, &daemon->defaults);
	return 0;
}

/* Files that ssh reads by itself: they follow from the rest, and who needs them is told if they are
 * amiss. */
static void prepare_ssh(struct daemon *daemon)
{
	struct err err = ERR_INIT;
	AUTO_BUF config = BUF_INIT;

	if (known_hosts_rewrite(daemon, &err) < 0)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .err = &err },
			  "cannot write known_hosts, ignoring");
	err = ERR_INIT;
	if (ssh_config_write(daemon, &config, &err) < 0)
		log_write(LOG_LEVEL_WARN, &(struct log_fields){ .err = &err },
			  "cannot write ssh's configuration, ignoring");
}

/* Everything up to the point where clients can be served. */
static int daemon_open(struct daemon *daemon, struct err *err)
{
	AUTO_FREE char *sockets = NULL;
	int r;

	r = load_config(daemon, err);
	if (r < 0)
		return r;
	r = make_folder(daemon->paths.state_dir, "images", &daemon->images_dir, err);
	if (r == 0)
		r = make_folder(daemon->paths.state_dir, "kernels", &daemon->kernels_dir, err);
	if (r == 0)
		r = make_folder(daemon->paths.state_dir, "vms", &daemon->vms_dir, err);
	if (r == 0)
		r = make_folder(daemon->paths.state_dir, "templates", &daemon->templates_dir, err);
	if (r == 0)
		r = make_folder(daemon->paths.runtime_dir, "vm", &sockets, err);
	if (r == 0)
		r = find_agent(&daemon->agent_path, err);
	if (r == 0)
		r = ensure_user_key(daemon, err);
	if (r == 0)
		r = store_open(daemon->paths.database, daemon->paths.reserve, &daemon->store, err);
	if (r == 0)
		r = vm_table_new(&daemon->table, err);
	if (r == 0)
		r = priv_open(daemon->paths.state_dir, &daemon->priv, err);
	if (r == 0)
		r = daemon_open_network(daemon, err);
	if (r == 0)
		r = oci_blobs_open(daemon->paths.cache_dir, &daemon->blobs, err);
	if (r < 0)
		return r;
	r = process_boot_id(daemon->boot_id);
	if (r == 0)
		r = cancel_init(&daemon->stop);
	if (r == 0)
		r = cancel_init(&daemon->released);
	if (r < 0)
		return err_sys(err, r, "prepare the daemon");
	daemon->locks = keylock_new(daemon->released.fd);
	daemon->operations = operations_new();
	daemon->engine = engine_new(&daemon->config, daemon->paths.state_dir);
	daemon->leases = leases_new();
	daemon->stats = stats_new();
	daemon->listing = listing_new();
	daemon->templates = templates_new();
	r = publish_new(PUBLISH_ANSWER_MS, &daemon->publish, err);
	if (r < 0)
		return r;
	daemon->started_ns = clock_now_ns();
	r = reconcile_all(daemon, err);
	if (r == 0)
		r = names_new(daemon->store, !network_is_isolated(daemon->network), &daemon->names,
			      err);
	if (r < 0)
		return r;
	names_listen(daemon->names, daemon->config.dns_listen);
	prepare_ssh(daemon);
	storage_warn(daemon);
	return 0;
}

static void tell_ready(int *ready_fd, const struct err *failure)
{
	AUTO_BUF line = BUF_INIT;

	if (*ready_fd < 0)
		return;
	if (failure) {
		AUTO_JSON *json = json_new_object();

		json_put_str(json, "kind", err_kind_name(failure->kind));
		json_put_str(json, "message", failure->message);
		json_put_str(json, "hint", failure->hint[0] ? failure->hint : NULL);
		json_write(json, &line);
	} else {
		buf_add_byte(&line, 'r');
	}
	buf_add_byte(&line, '\n');
	/* Whoever waited may be gone; that changes nothing for us. */
	IGNORE_RESULT(fd_write_all(*ready_fd, buf_span(&line)));
	fd_closep(ready_fd);
}

static void on_event(void *context, enum rpc_event event, const char *text)
{
	(void)context;
	log_write(event == RPC_EVENT_NO_RESOURCES ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, NULL, "%s",
		  text);
}

/* Until a signal or daemon.stop. */
static void wait_for_end(const struct daemon *daemon, int signal_fd)
{
	struct pollfd waits[] = {
		{ .fd = signal_fd, .events = POLLIN },
		{ .fd = daemon->stop.fd, .events = POLLIN },
	};

	while (poll(waits, ARRAY_LEN(waits), -1) < 0 && errno == EINTR)
		;
}

static int serve(struct daemon *daemon, int listen_fd, int signal_fd, int *ready_fd,
		 struct err *err)
{
	AUTO_FREE struct rpc_method *methods = NULL;
	CLEANUP(rpc_server_freep) struct rpc_server *server = NULL;
	struct stats_worker *stats_worker = NULL;
	struct watcher *watcher = NULL;
	size_t method_count;
	int r;

	methods = api_methods(&method_count);
	const struct rpc_server_config config = {
		.listen_fd = listen_fd,
		.owner_uid = geteuid(),
		.methods = methods,
		.method_count = method_count,
		.context = daemon,
		.around = api_around,
		.on_event = on_event,
	};

	r = network_start(daemon->network, err);
	if (r == 0)
		r = resolver_start(daemon, &daemon->resolver, err);
	if (r == 0)
		r = autostop_start(daemon, &daemon->autostop, err);
	if (r == 0)
		r = template_builder_start(daemon, &daemon->template_builder, err);
	if (r == 0)
		r = watcher_start(daemon, &watcher, err);
	if (r < 0) {
		template_builder_stop(TAKE_PTR(daemon->template_builder));
		autostop_stop(TAKE_PTR(daemon->autostop));
		resolver_stop(TAKE_PTR(daemon->resolver));
		network_stop(daemon->network);
		return r;
	}
	r = stats_worker_start(daemon, &stats_worker, err);
	if (r == 0)
		r = rpc_server_start(&config, &server, err);
	if (r == 0) {
		log_info("bangerd %s (%s) listens on %s", banger_version.version,
			 banger_version.commit, daemon->paths.socket);
		tell_ready(ready_fd, NULL);
		wait_for_end(daemon, signal_fd);
		log_info("ending; running VMs go on");
		rpc_server_stop(server);
	}
	stats_worker_stop(stats_worker);
	template_builder_stop(TAKE_PTR(daemon->template_builder));
	autostop_stop(TAKE_PTR(daemon->autostop));
	watcher_stop(watcher);
	resolver_stop(TAKE_PTR(daemon->resolver));
	network_stop(daemon->network);
	return r;
}

static int block_signals(struct err *err)
{
	sigset_t set;
	int fd;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	/* Ignored, so that a full disk and a lost client are errors of calls, not the end of us. */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	return fd < 0 ? err_sys(err, -errno, "watch signals") : fd;
}

static int run(struct daemon *daemon, int *ready_fd, struct err *err)
{
	struct unix_listener listener = UNIX_LISTENER_INIT;
	AUTO_CLOSE int signal_fd = block_signals(err);
	int r;

	if (signal_fd < 0)
		return signal_fd;
	/* The socket's lock is the daemon's: of two that start at once, one goes on. Nobody is
	 * answered until reconcile is done; clients wait in the backlog. */
	r = unix_listen(daemon->paths.socket, BACKLOG, &listener, err);
	if (r < 0)
		return r;
	r = daemon_open(daemon, err);
	if (r == 0)
		r = serve(daemon, listener.fd, signal_fd, ready_fd, err);
	/* Before the socket: who finds nobody there may start the next daemon at once. */
	names_stop(daemon->names);
	store_close(TAKE_PTR(daemon->store));
	unix_listener_done(&listener);
	return r;
}

int daemon_run(struct daemon_options *options, struct err *err)
{
	AUTO_CLOSE int ready_fd = TAKE_FD(options->ready_fd);
	struct path_environment environment;
	struct daemon daemon = { .stop = CANCEL_INIT, .released = CANCEL_INIT };
	const struct rlimit no_core = { 0, 0 };
	int r;

	(void)umask(077);
	/* A heap for each thread would cost more memory than their few allocations are worth. */
	(void)mallopt(M_ARENA_MAX, 1); // NOLINT(concurrency-mt-unsafe): the only thread so far
	/* Keys and tokens pass through: no core dumps, no tracing by others (FAULTS R9). */
	(void)setrlimit(RLIMIT_CORE, &no_core);
	(void)prctl(PR_SET_DUMPABLE, 0);
	process_raise_files_limit(); /* three descriptors for each VM, two for each client */
	config_init(&daemon.config);
	path_environment_read(&environment);
	r = paths_resolve(&environment, &daemon.paths, err);
	if (r == 0)
		r = paths_make(&daemon.paths, err);
	if (r == 0)
		r = run(&daemon, &ready_fd, err);
	if (r < 0)
		tell_ready(&ready_fd, err);
	daemon_done(&daemon);
	return r;
}

int daemon_check_migrations(struct err *err)
{
	struct path_environment environment;
	AUTO_PATHS paths = { 0 };
	enum store_schema schema = STORE_SCHEMA_CURRENT;
	int r;

	path_environment_read(&environment);
	r = paths_resolve(&environment, &paths, err);
	if (r == 0)
		r = store_check_migrations(paths.database, &schema, err);
	return r < 0 ? r : (int)schema;
}

int daemon_defaults(struct buf *out, struct err *err)
{
	struct path_environment environment;
	AUTO_PATHS paths = { 0 };
	AUTO_CONFIG config = { 0 };
	AUTO_JSON *json = NULL;
	struct spec_host host;
	struct vm_defaults defaults;
	int r;

	path_environment_read(&environment);
	r = paths_resolve(&environment, &paths, err);
	if (r == 0)
		r = config_load(paths.config_file, &config, err);
	if (r < 0)
		return r;
	config_read_host(&host);
	config_vm_defaults(&config, &host, &defaults);
	json = json_new_object();
	json_put_str(json, "default_image", config.default_image_name);
	json_put(json, "defaults", api_defaults_json(&defaults));
	json_write(json, out);
	buf_add_byte(out, '\n');
	return 0;
}
