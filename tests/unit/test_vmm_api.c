/* The Firecracker API client: the requests that it makes, and answers that are good, bad and
 * hostile. */
#include "vmm_fixture.h"

#include <stdlib.h>

#include "vmm/blame.h"
#include "vmm/fc_http.h"

#define OK_204 "HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n"
#define BODY(status, body) \
	"HTTP/1.1 " status " \r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" body

/* --- requests --------------------------------------------------------------------------------- */

static int put_machine(const struct vmm_api *api, struct err *err)
{
	const struct vmm_machine_config config = { .vcpu_count = 2, .memory_mib = 512 };

	return vmm_put_machine_config(api, &config, err);
}

static int put_boot(const struct vmm_api *api, struct err *err)
{
	const struct vmm_boot_source source = { .kernel_path = "/k",
						.initrd_path = "/i",
						.boot_args = "a=\"b\"" };

	return vmm_put_boot_source(api, &source, err);
}

static int put_bare_boot(const struct vmm_api *api, struct err *err)
{
	const struct vmm_boot_source source = { .kernel_path = "/k" };

	return vmm_put_boot_source(api, &source, err);
}

static int put_root(const struct vmm_api *api, struct err *err)
{
	const struct vmm_drive drive = {
		.id = "root", .path = "/r", .is_root = true, .is_writeback = true
	};

	return vmm_put_drive(api, &drive, err);
}

static int put_read_only(const struct vmm_api *api, struct err *err)
{
	const struct vmm_drive drive = { .id = "b_2", .path = "/r", .is_read_only = true };

	return vmm_put_drive(api, &drive, err);
}

static int put_vsock(const struct vmm_api *api, struct err *err)
{
	return vmm_put_vsock(api, VMM_VSOCK_GUEST_CID, "/v.sock", err);
}

static int put_serial(const struct vmm_api *api, struct err *err)
{
	bool is_supported = false;
	const int r = vmm_put_serial(api, "/console", &is_supported, err);

	CHECK_INT(is_supported, r == 0);
	return r;
}

static int create_snapshot(const struct vmm_api *api, struct err *err)
{
	return vmm_create_snapshot(
		api, &(struct vmm_snapshot){ .state_path = "/s", .memory_path = "/m" }, err);
}

static int load_snapshot(const struct vmm_api *api, struct err *err)
{
	return vmm_load_snapshot(api,
				 &(struct vmm_snapshot_load){
					 .snapshot = { .state_path = "/s", .memory_path = "/m" },
					 .network_id = "eth0",
					 .tap = "tap7",
					 .vsock_path = "/v.sock",
					 .is_resumed = true },
				 err);
}

static int load_without_network(const struct vmm_api *api, struct err *err)
{
	return vmm_load_snapshot(api,
				 &(struct vmm_snapshot_load){
					 .snapshot = { .state_path = "/s", .memory_path = "/m" },
					 .vsock_path = "/v.sock" },
				 err);
}

static int refresh_drive(const struct vmm_api *api, struct err *err)
{
	return vmm_refresh_drive(api, "work", "work.raw", err);
}

static const struct {
	int (*call)(const struct vmm_api *api, struct err *err);
	const char *line;
	const char *body;
} requests[] = {
	{ put_machine, "PUT /machine-config HTTP/1.1\r\n",
	  "{\"vcpu_count\":2,\"mem_size_mib\":512}" },
	{ put_boot, "PUT /boot-source HTTP/1.1\r\n",
	  "{\"kernel_image_path\":\"/k\",\"initrd_path\":\"/i\",\"boot_args\":\"a=\\\"b\\\"\"}" },
	{ put_bare_boot, "PUT /boot-source HTTP/1.1\r\n", "{\"kernel_image_path\":\"/k\"}" },
	{ put_root, "PUT /drives/root HTTP/1.1\r\n",
	  "{\"drive_id\":\"root\",\"path_on_host\":\"/r\",\"is_root_device\":true,"
	  "\"is_read_only\":false,\"cache_type\":\"Writeback\"}" },
	{ put_read_only, "PUT /drives/b_2 HTTP/1.1\r\n",
	  "{\"drive_id\":\"b_2\",\"path_on_host\":\"/r\",\"is_root_device\":false,"
	  "\"is_read_only\":true,\"cache_type\":\"Unsafe\"}" },
	{ put_vsock, "PUT /vsock HTTP/1.1\r\n", "{\"guest_cid\":3,\"uds_path\":\"/v.sock\"}" },
	{ put_serial, "PUT /serial HTTP/1.1\r\n", "{\"serial_out_path\":\"/console\"}" },
	{ vmm_put_entropy, "PUT /entropy HTTP/1.1\r\n", "{}" },
	{ vmm_start_instance, "PUT /actions HTTP/1.1\r\n", "{\"action_type\":\"InstanceStart\"}" },
	{ vmm_send_ctrl_alt_del, "PUT /actions HTTP/1.1\r\n",
	  "{\"action_type\":\"SendCtrlAltDel\"}" },
	{ vmm_pause, "PATCH /vm HTTP/1.1\r\n", "{\"state\":\"Paused\"}" },
	{ vmm_resume, "PATCH /vm HTTP/1.1\r\n", "{\"state\":\"Resumed\"}" },
	{ create_snapshot, "PUT /snapshot/create HTTP/1.1\r\n",
	  "{\"snapshot_type\":\"Full\",\"snapshot_path\":\"/s\",\"mem_file_path\":\"/m\"}" },
	{ load_snapshot, "PUT /snapshot/load HTTP/1.1\r\n",
	  "{\"snapshot_path\":\"/s\",\"mem_backend\":{\"backend_type\":\"File\","
	  "\"backend_path\":\"/m\"},\"resume_vm\":true,\"network_overrides\":"
	  "[{\"iface_id\":\"eth0\",\"host_dev_name\":\"tap7\"}],"
	  "\"vsock_override\":{\"uds_path\":\"/v.sock\"}}" },
	{ load_without_network, "PUT /snapshot/load HTTP/1.1\r\n",
	  "{\"snapshot_path\":\"/s\",\"mem_backend\":{\"backend_type\":\"File\","
	  "\"backend_path\":\"/m\"},\"resume_vm\":false,"
	  "\"vsock_override\":{\"uds_path\":\"/v.sock\"}}" },
	{ refresh_drive, "PATCH /drives/work HTTP/1.1\r\n",
	  "{\"drive_id\":\"work\",\"path_on_host\":\"work.raw\"}" },
};

static void test_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
		CLEANUP(vmm_fixture_done) struct vmm_fixture fixture;
		struct vmm_api api = { 0 };
		AUTO_FREE char *request = NULL;
		struct err err = ERR_INIT;
		int request_fd = -1;
		pid_t server;

		vmm_fixture_init(&fixture);
		api.socket_path = fixture.socket_path;
		server = vmm_fixture_serve(&fixture, OK_204, NULL, true, &request_fd);
		CHECK_INT(requests[i].call(&api, &err), 0);
		request = vmm_fixture_end(server, request_fd);
		CHECK_ROW(i, str_starts(request, requests[i].line));
		CHECK_HAS(request, "\r\nContent-Type: application/json\r\n");
		CHECK_ROW(i, !strstr(request, "Expect"));
		CHECK_STR(strstr(request, "\r\n\r\n") + 4, requests[i].body);
	}
}

/* --- answers ---------------------------------------------------------------------------------- */

static const struct {
	const char *answer;
	const char *filler;
	enum err_kind kind;
	const char *message;
} answers[] = {
	{ OK_204, NULL, ERR_NONE, "" },
	{ BODY("400", "{\"fault_message\":\"The kernel is \\u001b[31mred\"}"), NULL, ERR_BAD_STATE,
	  "the VMM refused PUT /actions: The kernel is \\x1b[31mred" },
	{ BODY("413", "{\"fault_message\":\"too big\"}"), NULL, ERR_BAD_STATE, "too big" },
	{ BODY("400", "{}"), NULL, ERR_PROTOCOL, "with status 400" },
	{ BODY("400", "no json"), NULL, ERR_PROTOCOL, "with status 400" },
	{ BODY("400", "{\"fault_message\":7}"), NULL, ERR_PROTOCOL, "with status 400" },
	{ BODY("400", ""), NULL, ERR_PROTOCOL, "with status 400" },
	{ BODY("200", "{}"), NULL, ERR_PROTOCOL, "with status 200" },
	{ BODY("500", "{\"fault_message\":\"x\"}"), NULL, ERR_PROTOCOL, "with status 500" },
	{ "HTTP/1.1 302 \r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", NULL,
	  ERR_PROTOCOL, "with status 302" },
	{ "", NULL, ERR_PROTOCOL, "PUT /actions" },
	{ "garbage\r\n\r\n", NULL, ERR_PROTOCOL, "PUT /actions" },
	{ "HTTP/0.9 hello", NULL, ERR_PROTOCOL, "PUT /actions" },
	{ "HTTP/1.1 400 \r\nContent-Length: 100\r\n\r\nshort", NULL, ERR_PROTOCOL, "PUT /actions" },
	{ "HTTP/1.1 400 \r\nContent-Length: -5\r\n\r\n", NULL, ERR_PROTOCOL, "PUT /actions" },
	/* without an end */
	{ "HTTP/1.1 400 \r\n\r\n",
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", ERR_PROTOCOL,
	  "is too long" },
	{ "HTTP/1.1 400 \r\n", "X-Header: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
	  ERR_PROTOCOL, "is too long" },
	{ "HTTP/1.1 100 \r\n\r\n", "HTTP/1.1 100 \r\n\r\n", ERR_PROTOCOL, "is too long" },
};

static void test_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		CLEANUP(vmm_fixture_done) struct vmm_fixture fixture;
		struct vmm_api api = { .timeout_ms = PATIENCE_MS };
		AUTO_FREE char *request = NULL;
		struct err err = ERR_INIT;
		int request_fd = -1, r;
		pid_t server;

		vmm_fixture_init(&fixture);
		api.socket_path = fixture.socket_path;
		server = vmm_fixture_serve(&fixture, answers[i].answer, answers[i].filler, false,
					   &request_fd);
		r = vmm_start_instance(&api, &err);
		request = vmm_fixture_end(server, request_fd);
		CHECK_ROW(i, (r == 0) == (answers[i].kind == ERR_NONE));
		CHECK_ROW(i, err.kind == answers[i].kind);
		CHECK_HAS(err.message, answers[i].message);
	}
}

/* A body at the limit is read, one byte more is not. */
static void test_answer_limit(void **state)
{
	static const char *const frame = "{\"fault_message\":\"\"}";

	(void)state;
	for (size_t extra = 0; extra <= 1; extra++) {
		CLEANUP(vmm_fixture_done) struct vmm_fixture fixture;
		struct vmm_api api = { .timeout_ms = PATIENCE_MS };
		AUTO_FREE char *request = NULL;
		AUTO_FREE char *fault = NULL;
		AUTO_FREE char *answer = NULL;
		struct err err = ERR_INIT;
		int request_fd = -1;
		pid_t server;

		fault = mem_alloc(VMM_ANSWER_BYTES_MAX + 1, 1);
		memset(fault, 'f', VMM_ANSWER_BYTES_MAX - strlen(frame) + extra);
		answer = mem_printf(BODY("400", "{\"fault_message\":\"%s\"}"), fault);
		vmm_fixture_init(&fixture);
		api.socket_path = fixture.socket_path;
		server = vmm_fixture_serve(&fixture, answer, NULL, false, &request_fd);
		assert_true(vmm_pause(&api, &err) < 0);
		request = vmm_fixture_end(server, request_fd);
		CHECK_INT(err.kind, extra == 0 ? ERR_BAD_STATE : ERR_PROTOCOL);
	}
}

/* Ends a server that nobody may have connected to. */
static void poke(const struct vmm_fixture *fixture)
{
	struct err err = ERR_INIT;
	int fd = -1;

	assert_int_equal(unix_connect(fixture->socket_path, &fd, &err), 0);
	fd_close(fd);
}

static void test_silence_and_cancel(void **state)
{
	(void)state;
	for (int is_cancelled = 0; is_cancelled <= 1; is_cancelled++) {
		CLEANUP(vmm_fixture_done) struct vmm_fixture fixture;
		CLEANUP(cancel_done) struct cancel cancel = CANCEL_INIT;
		struct vmm_api api = { .timeout_ms = is_cancelled ? PATIENCE_MS : 50 };
		struct vmm_description description;
		AUTO_FREE char *request = NULL;
		struct err err = ERR_INIT;
		int request_fd = -1;
		pid_t server;

		assert_int_equal(cancel_init(&cancel), 0);
		if (is_cancelled)
			cancel_fire(&cancel);
		vmm_fixture_init(&fixture);
		api.socket_path = fixture.socket_path;
		api.cancel = &cancel;
		server = vmm_fixture_serve(&fixture, "", NULL, true, &request_fd);
		assert_true(vmm_describe(&api, &description, &err) < 0);
		CHECK_INT(err.kind, is_cancelled ? ERR_CANCELLED : ERR_TIMEOUT);
		if (is_cancelled)
			poke(&fixture);
		request = vmm_fixture_end(server, request_fd);
	}
}

static void test_nobody_listens(void **state)
{
	CLEANUP(vmm_fixture_done) struct vmm_fixture fixture;
	struct vmm_api api = { 0 };
	struct err err = ERR_INIT;

	(void)state;
	vmm_fixture_init(&fixture);
	api.socket_path = fixture.socket_path;
	fd_closep(&fixture.listener.fd);
	assert_true(vmm_resume(&api, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	api.socket_path = "/nowhere/at/all";
	assert_true(vmm_resume(&api, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
}

/* A console request that old Firecrackers do not know is no failure; another refusal is. */
static void test_serial_support(void **state)
{
	static const struct {
		const char *answer;
		bool is_ok;
		bool is_supported;
	} rows[] = {
		{ OK_204, true, true },
		{ BODY("400", "{\"fault_message\":\"Invalid request method and/or path: PUT "
			      "serial.\"}"),
		  true, false },
		{ BODY("400", "{\"fault_message\":\"No such folder\"}"), false, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(vmm_fixture_done) struct vmm_fixture fixture;
		struct vmm_api api = { 0 };
		AUTO_FREE char *request = NULL;
		struct err err = ERR_INIT;
		bool is_supported = true;
		int request_fd = -1, r;
		pid_t server;

		vmm_fixture_init(&fixture);
		api.socket_path = fixture.socket_path;
		server = vmm_fixture_serve(&fixture, rows[i].answer, NULL, false, &request_fd);
		r = vmm_put_serial(&api, "/c", &is_supported, &err);
		request = vmm_fixture_end(server, request_fd);
		CHECK_ROW(i, (r == 0) == rows[i].is_ok);
		CHECK_ROW(i, is_supported == rows[i].is_supported);
		CHECK_ROW(i, (err.kind == ERR_NONE) == rows[i].is_ok);
	}
}

/* --- GET / ------------------------------------------------------------------------------------ */

#define REST	",\"app_name\":\"Firecracker\",\"vmm_version\":\"1.7.0\"}"
#define LONG_64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void test_descriptions(void **state)
{
	static const struct {
		const char *body;
		enum vmm_state state; /* VMM_STATE_COUNT: refused */
	} rows[] = {
		{ "{\"id\":\"a1\",\"state\":\"Not started\"" REST, VMM_NOT_STARTED },
		{ "{\"id\":\"a1\",\"state\":\"Running\"" REST, VMM_RUNNING },
		{ "{\"more\":[],\"id\":\"" LONG_64 "\",\"state\":\"Paused\"" REST, VMM_PAUSED },
		{ "{\"id\":\"a" LONG_64 "\",\"state\":\"Paused\"" REST, VMM_STATE_COUNT },
		{ "{\"id\":\"a1\",\"state\":\"Stopped\"" REST, VMM_STATE_COUNT },
		{ "{\"id\":\"a1\",\"state\":1" REST, VMM_STATE_COUNT },
		{ "{\"id\":\"a\\n\",\"state\":\"Running\"" REST, VMM_STATE_COUNT },
		{ "{\"id\":\"\xc3\xa9\",\"state\":\"Running\"" REST, VMM_STATE_COUNT },
		{ "{\"id\":\"a1\",\"state\":\"Running\",\"app_name\":\"F\"}", VMM_STATE_COUNT },
		{ "{\"state\":\"Running\"" REST, VMM_STATE_COUNT },
		{ "[]", VMM_STATE_COUNT },
		{ "", VMM_STATE_COUNT },
		{ "{\"id\":\"a1\",\"id\":\"a1\",\"state\":\"Running\"" REST, VMM_STATE_COUNT },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct vmm_description got = { .state = VMM_STATE_COUNT };
		struct err err = ERR_INIT;
		const int r = fc_description_read(span_str(rows[i].body), &got, &err);

		CHECK_ROW(i, (r == 0) == (rows[i].state != VMM_STATE_COUNT));
		CHECK_ROW(i, got.state == rows[i].state); /* untouched on failure */
		CHECK_ROW(i, (err.kind == ERR_PROTOCOL) == (r < 0));
	}
}

static void test_describe(void **state)
{
	CLEANUP(vmm_fixture_done) struct vmm_fixture fixture;
	struct vmm_api api = { 0 };
	struct vmm_description description;
	AUTO_FREE char *request = NULL;
	struct err err = ERR_INIT;
	int request_fd = -1;
	pid_t server;

	(void)state;
	vmm_fixture_init(&fixture);
	api.socket_path = fixture.socket_path;
	server = vmm_fixture_serve(&fixture,
				   BODY("200", "{\"id\":\"a1\",\"state\":\"Running\"" REST), NULL,
				   false, &request_fd);
	assert_int_equal(vmm_describe(&api, &description, &err), 0);
	request = vmm_fixture_end(server, request_fd);
	CHECK_STR(description.id, "a1");
	CHECK_STR(description.app_name, "Firecracker");
	CHECK_STR(description.vmm_version, "1.7.0");
	CHECK_ROW(0, str_starts(request, "GET / HTTP/1.1\r\n"));
	CHECK_ROW(0, str_ends(request, "\r\n\r\n"));
	CHECK_ROW(0, !strstr(request, "Content-"));
}

/* --- whose fault it was ----------------------------------------------------------------------- */

static void test_blame(void **state)
{
	static const struct {
		const char *words;
		enum vmm_blame wanted;
	} rows[] = {
		{ "", VMM_BLAME_UNKNOWN },
		{ "[x:main] snapshot loaded: checked 4 ms", VMM_BLAME_UNKNOWN },
		{ "Load snapshot error: Invalid snapshot state: it was made with kvm, this is tcg",
		  VMM_BLAME_UNKNOWN },
		{ "the guest ends: guest-reset | QEMU ended | banger-vmm ends, exit status 0",
		  VMM_BLAME_VM },
		{ "QEMU ended with status 1: load of migration failed: Invalid argument",
		  VMM_BLAME_VM },
		{ "QEMU was killed by signal 11", VMM_BLAME_VM },
		{ "QEMU was killed by signal 7: Guest moved used index", VMM_BLAME_VM },
		{ "QEMU was killed by signal 9", VMM_BLAME_HOST },
		{ "QEMU was killed by signal 11 | QEMU was killed by signal 9", VMM_BLAME_HOST },
		{ "QEMU was killed by signal ", VMM_BLAME_HOST },
		{ "QEMU ended with status 1: cannot set up guest memory 'ram0': Cannot allocate "
		  "memory",
		  VMM_BLAME_HOST },
		{ "Failed to open snapshot file: Too many open files", VMM_BLAME_HOST },
		{ "QEMU: terminating on signal 15 from pid 7 (sh) | QEMU ended", VMM_BLAME_HOST },
		{ "the guest ends: host-signal | QEMU ended", VMM_BLAME_HOST },
		{ "[x:main] signal 15: ending | QEMU ended", VMM_BLAME_HOST },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (vmm_blame(span_str(rows[i].words)) != rows[i].wanted)
			fail_msg("'%s' is not judged as it should be", rows[i].words);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),       cmocka_unit_test(test_answers),
		cmocka_unit_test(test_answer_limit),   cmocka_unit_test(test_silence_and_cancel),
		cmocka_unit_test(test_nobody_listens), cmocka_unit_test(test_serial_support),
		cmocka_unit_test(test_descriptions),   cmocka_unit_test(test_describe),
		cmocka_unit_test(test_blame),
	};

	/* Neither may lead the requests elsewhere. */
	(void)setenv("http_proxy", "http://127.0.0.1:1", 1);
	(void)setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	return cmocka_run_group_tests_name("vmm_api", tests, NULL, NULL);
}
