#include "vmmshim_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "check.h"

static int count_logger(void *context, const struct logger_body *logger, struct err *err)
{
	(void)logger;
	(void)err;
	((struct shim *)context)->logger_calls++;
	return 0;
}

static int count_metrics(void *context, const struct metrics_body *metrics, struct err *err)
{
	(void)metrics;
	(void)err;
	((struct shim *)context)->metrics_calls++;
	return 0;
}

static int count_flush(void *context, struct err *err)
{
	(void)err;
	((struct shim *)context)->flush_calls++;
	return 0;
}

static const struct api_ops counting_ops = { count_logger, count_metrics, count_flush };

void shim_init(struct shim *shim)
{
	static const char *const files[] = { "kernel", "initrd", "disk", "other" };

	*shim = (struct shim){ .folder = "/tmp/banger-shim-XXXXXX" };
	assert_non_null(mkdtemp(shim->folder));
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		AUTO_CLOSE int fd =
			open(shim_path(shim, files[i]), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

		assert_true(fd >= 0);
	}
	assert_int_equal(mkdir(shim_path(shim, "folder"), 0700), 0);
	api_init(&shim->api, "test", &counting_ops, shim);
}

void shim_done(struct shim *shim)
{
	api_done(&shim->api);
	assert_int_equal(dir_remove_tree(AT_FDCWD, shim->folder), 0);
}

const char *shim_path(const struct shim *shim, const char *name)
{
	static char paths[4][128];
	static size_t next;
	char *path = paths[next++ % ARRAY_LEN(paths)];

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", shim->folder, name);
	return path;
}

enum api_action shim_send(struct shim *shim, const char *method, const char *path, const char *body,
			  unsigned *ret_status, char **ret_text)
{
	struct api_request request = { .method = method, .path = path };
	AUTO_BUF text = BUF_INIT;
	struct api_reply reply;
	uint64_t number = 0;
	enum api_action action;

	for (const char *c = body; c && *c; c++) {
		if (*c == '@')
			buf_add_str(&text, shim->folder);
		else
			buf_add_byte(&text, (uint8_t)*c);
	}
	request.body = buf_span(&text);
	action = api_handle(&shim->api, &request, &reply, &number);
	*ret_status = reply.status;
	*ret_text = buf_detach(&reply.body);
	return action;
}

void shim_expect(struct shim *shim, const char *method, const char *path, const char *body,
		 unsigned status, const char *text)
{
	AUTO_FREE char *got = NULL;
	unsigned got_status = 0;

	(void)shim_send(shim, method, path, body, &got_status, &got);
	if (got_status != status || !strstr(got, text)) {
		print_error("%s %s %s\n  got    %u %s\n  wanted %u %s\n", method, path,
			    body ? body : "", got_status, got, status, text);
		fail();
	}
}

static const struct {
	const char *method;
	const char *path;
	const char *body;
} good_bodies[] = {
	{ "PUT", "/actions", "{\"action_type\":\"FlushMetrics\"}" },
	{ "PUT", "/balloon", "{\"amount_mib\":1,\"deflate_on_oom\":true}" },
	{ "PUT", "/boot-source", "{\"kernel_image_path\":\"@/kernel\"}" },
	{ "PUT", "/cpu-config", "{\"kvm_capabilities\":[\"121\"]}" },
	{ "PUT", "/drives/{id}",
	  "{\"drive_id\":\"one\",\"path_on_host\":\"@/disk\",\"is_root_device\":false,"
	  "\"is_read_only\":false}" },
	{ "PUT", "/entropy", "{}" },
	{ "PUT", "/hotplug/memory", "{\"total_size_mib\":1024}" },
	{ "PUT", "/logger", "{\"level\":\"Info\"}" },
	{ "PUT", "/machine-config", "{\"vcpu_count\":1,\"mem_size_mib\":128}" },
	{ "PUT", "/metrics", "{\"metrics_path\":\"@/metrics\"}" },
	{ "PUT", "/mmds", "{\"a\":1}" },
	{ "PUT", "/mmds/config", "{\"network_interfaces\":[\"one\"]}" },
	{ "PUT", "/network-interfaces/{id}",
	  "{\"iface_id\":\"one\",\"host_dev_name\":\"name-of-16-bytes\"}" },
	{ "PUT", "/pmem/{id}", "{\"id\":\"one\",\"path_on_host\":\"@/disk\"}" },
	{ "PUT", "/serial", "{\"serial_out_path\":\"@/serial\"}" },
	{ "PUT", "/snapshot/create", "{\"snapshot_path\":\"@/s\",\"mem_file_path\":\"@/m\"}" },
	{ "PUT", "/snapshot/load", "{\"snapshot_path\":\"@/s\",\"mem_file_path\":\"@/m\"}" },
	{ "PUT", "/vsock", "{\"guest_cid\":3,\"uds_path\":\"@/vsock\"}" },
	{ "PATCH", "/balloon", "{\"amount_mib\":1}" },
	{ "PATCH", "/balloon/statistics", "{\"stats_polling_interval_s\":1}" },
	{ "PATCH", "/balloon/hinting/start", "{\"acknowledge_on_stop\":true}" },
	{ "PATCH", "/drives/{id}", "{\"drive_id\":\"one\",\"path_on_host\":\"@/other\"}" },
	{ "PATCH", "/hotplug/memory", "{\"requested_size_mib\":1}" },
	{ "PATCH", "/machine-config", "{\"vcpu_count\":2}" },
	{ "PATCH", "/mmds", "{}" },
	{ "PATCH", "/network-interfaces/{id}", "{\"iface_id\":\"one\"}" },
	{ "PATCH", "/pmem/{id}", "{\"id\":\"one\"}" },
	{ "PATCH", "/vm", "{\"state\":\"Paused\"}" },
};

const char *shim_good_body(const char *method, const char *path)
{
	for (size_t i = 0; i < ARRAY_LEN(good_bodies); i++) {
		if (str_eq(good_bodies[i].method, method) && str_eq(good_bodies[i].path, path))
			return good_bodies[i].body;
	}
	return NULL;
}

void shim_route_path(const char *path, char *into, size_t size)
{
	const char *brace = strchr(path, '{');

	(void)snprintf(into, size, "%.*s%s", brace ? (int)(brace - path) : (int)strlen(path), path,
		       brace ? "one" : "");
}
