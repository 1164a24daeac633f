/* banger-vmm's API without HTTP and QEMU: paths, bodies, phases, and Firecracker's texts. */
#include "check.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "vmmshim_fixture.h"

#define BEFORE_TEXT "The requested operation is not supported before starting the microVM."
#define AFTER_TEXT  "The requested operation is not supported after starting the microVM."
#define DESERIALIZE "An error occurred when deserializing the json body of a request: "

/* Every route in every phase: allowed by the table, or refused with the text for its phase. */
static void check_route(const struct api_route *route, enum api_phase phase)
{
	const bool is_allowed = (route->when >> phase & 1U) != 0;
	const char *wanted = phase == API_NOT_STARTED ? BEFORE_TEXT : AFTER_TEXT;
	AUTO_FREE char *text = NULL;
	struct shim shim;
	char path[64];
	unsigned status = 0;

	shim_init(&shim);
	shim.api.phase = phase;
	shim_route_path(route->path, path, sizeof(path));
	(void)shim_send(&shim, route->method, path, shim_good_body(route->method, route->path),
			&status, &text);
	if (!is_allowed && (status != 400 || !strstr(text, wanted)))
		fail_msg("%s %s in phase %d: %u %s", route->method, path, (int)phase, status, text);
	if (is_allowed && route->unsupported &&
	    (status != 400 || !strstr(text, "is not supported by banger-vmm.")))
		fail_msg("%s %s in phase %d: %u %s", route->method, path, (int)phase, status, text);
	if (is_allowed && !route->unsupported && strstr(text, wanted) &&
	    !str_eq(route->path, "/actions") && !str_eq(route->path, "/snapshot/load"))
		fail_msg("%s %s in phase %d: %u %s", route->method, path, (int)phase, status, text);
	shim_done(&shim);
}

static void test_every_route_in_every_phase(void **state)
{
	(void)state;
	for (size_t i = 0; i < api_route_count; i++) {
		for (unsigned phase = 0; phase < API_PHASE_COUNT; phase++)
			check_route(&api_routes[i], (enum api_phase)phase);
	}
}

/* The 38 operations of the swagger file and the three DELETEs that Firecracker has beside it. */
static void test_count_of_routes(void **state)
{
	(void)state;
	CHECK_INT(api_route_count, 41);
}

static void test_actions_in_every_phase(void **state)
{
	static const struct {
		const char *action;
		enum api_phase phase;
		enum api_action wanted;
		unsigned status;
		const char *text;
	} rows[] = {
		{ "InstanceStart", API_NOT_STARTED, API_ANSWERED, 400,
		  "Start microvm error: Cannot start microvm without kernel configuration." },
		{ "InstanceStart", API_RUNNING, API_ANSWERED, 400, AFTER_TEXT },
		{ "InstanceStart", API_PAUSED, API_ANSWERED, 400, AFTER_TEXT },
		{ "FlushMetrics", API_NOT_STARTED, API_ANSWERED, 400, BEFORE_TEXT },
		{ "FlushMetrics", API_RUNNING, API_ANSWERED, 204, "" },
		{ "FlushMetrics", API_PAUSED, API_ANSWERED, 204, "" },
		{ "SendCtrlAltDel", API_NOT_STARTED, API_ANSWERED, 400, BEFORE_TEXT },
		{ "SendCtrlAltDel", API_RUNNING, API_CTRL_ALT_DEL, 0, "" },
		{ "SendCtrlAltDel", API_PAUSED, API_CTRL_ALT_DEL, 0, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *text = NULL;
		struct shim shim;
		char body[64];
		unsigned status = 0;
		enum api_action action;

		shim_init(&shim);
		shim.api.phase = rows[i].phase;
		(void)snprintf(body, sizeof(body), "{\"action_type\":\"%s\"}", rows[i].action);
		action = shim_send(&shim, "PUT", "/actions", body, &status, &text);
		CHECK_ROW(i, action == rows[i].wanted && status == rows[i].status);
		CHECK_HAS(text, rows[i].text);
		shim_done(&shim);
	}
}

static void test_start_needs_a_kernel_only(void **state)
{
	AUTO_FREE char *text = NULL;
	struct shim shim;
	unsigned status;

	(void)state;
	shim_init(&shim);
	shim_expect(&shim, "PUT", "/boot-source", "{\"kernel_image_path\":\"@/kernel\"}", 204, "");
	assert_int_equal(shim_send(&shim, "PUT", "/actions", "{\"action_type\":\"InstanceStart\"}",
				   &status, &text),
			 API_START);
	shim_done(&shim);
}

/* FAULTS VMM1 and the paths that have words of their own. */
static void test_paths_and_verbs(void **state)
{
	static const struct {
		const char *method;
		const char *path;
		const char *body;
		const char *text;
	} rows[] = {
		{ "GET", "/", "{}", "GET request cannot have a body." },
		{ "GET", "/nothing", "{}", "GET request cannot have a body." },
		{ "PUT", "/machine-config", NULL, "Empty PUT request." },
		{ "PUT", "/nothing", NULL, "Empty PUT request." },
		{ "PATCH", "/vm", NULL, "Empty PATCH request." },
		{ "PATCH", "/machine-config", "{}", "Empty PATCH request." },
		{ "DELETE", "/drives/one", "{}", "Empty Delete request." },
		{ "GET", "/nothing", NULL, "Invalid request method and/or path: GET nothing." },
		{ "GET", "/actions", NULL, "Invalid request method and/or path: GET actions." },
		{ "PUT", "/version", "{}", "Invalid request method and/or path: PUT version." },
		{ "PATCH", "/boot-source", "{}",
		  "Invalid request method and/or path: PATCH boot-source." },
		{ "POST", "/vm", "{}", "Invalid request method and/or path: POST vm." },
		{ "DELETE", "/vm", NULL, "Invalid request method and/or path: DELETE vm." },
		{ "GET", "/vm", NULL, "Invalid request method and/or path: GET vm." },
		{ "GET", "/vm/other", NULL, "Invalid request method and/or path: GET vm." },
		{ "GET", "/version/more", NULL,
		  "Invalid request method and/or path: GET version." },
		{ "PUT", "/drives/a/b", "{}", "Invalid request method and/or path: PUT drives." },
		{ "GET", "/balloon/other", NULL, "Unrecognized GET request path `other`." },
		{ "GET", "/balloon/hinting", NULL, "Unrecognized GET request path `/hinting/`." },
		{ "PATCH", "/balloon/hinting/x", "{}",
		  "Unrecognized PATCH request path `/hinting/x`." },
		{ "PUT", "/mmds/other", "{}", "Unrecognized PUT request path `other`." },
		{ "PUT", "/snapshot", "{}", "Missing snapshot operation type." },
		{ "PUT", "/snapshot/x", "{}",
		  "Invalid request method and/or path: PUT /snapshot/x." },
		{ "GET", "/\x1b[31m", NULL,
		  "Invalid request method and/or path: GET \\\\x1b[31m." },
	};
	struct shim shim;

	(void)state;
	shim_init(&shim);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		shim_expect(&shim, rows[i].method, rows[i].path, rows[i].body, 400, rows[i].text);
	shim_expect(&shim, "GET", "//", NULL, 200, "\"Not started\"");
	shim_expect(&shim, "GET", "/version/", NULL, 200, "firecracker_version");
	shim_done(&shim);
}

static void test_long_paths(void **state)
{
	struct shim shim;
	char path[1024];

	(void)state;
	shim_init(&shim);
	for (size_t len = 250; len <= 262; len++) {
		memset(path, 'x', sizeof(path));
		memcpy(path, "/drives/", 8);
		path[len] = '\0';
		/* Either it is no path there is, or the ids differ; nothing is cut off in silence.
		 */
		shim_expect(&shim, "PUT", path, "{\"drive_id\":\"x\",\"is_root_device\":true}", 400,
			    len < 257 ? "does not match" : "Invalid request method and/or path");
	}
	shim_done(&shim);
}

/* FAULTS VMM2. */
static void test_ids_and_bodies(void **state)
{
	static const struct {
		const char *method;
		const char *path;
		const char *body;
		const char *text;
	} rows[] = {
		{ "PUT", "/drives", "{}", "The ID cannot be empty." },
		{ "PUT", "/drives/", "{}", "The ID cannot be empty." },
		{ "PUT", "/drives//x", "{}", "Invalid request method and/or path: PUT drives." },
		{ "PUT", "/drives/a-b", "{}",
		  "API Resource IDs can only contain alphanumeric characters and underscores." },
		{ "PUT", "/drives/\xc3\xa9", "{}",
		  "API Resource IDs can only contain alphanumeric characters and underscores." },
		{ "DELETE", "/pmem/a.b", NULL,
		  "API Resource IDs can only contain alphanumeric characters and underscores." },
		{ "PUT", "/drives/a", "{\"drive_id\":\"b\",\"is_root_device\":true}",
		  "The id from the path does not match the id from the body!" },
		{ "PUT", "/network-interfaces/a", "{\"iface_id\":\"b\",\"host_dev_name\":\"t\"}",
		  "The id from the path [a] does not match the id from the body [b]!" },
		{ "PATCH", "/pmem/a", "{\"id\":\"b\"}",
		  "The id from the path does not match the id from the body!" },
		{ "PUT", "/machine-config", "{\"mem_size_mib\":128}",
		  DESERIALIZE "missing field `vcpu_count`." },
		{ "PUT", "/machine-config", "{\"vcpu_count\":1,\"mem_size_mib\":128,\"foo\":1}",
		  DESERIALIZE "unknown field `foo`, expected one of `vcpu_count`, `mem_size_mib`, "
			      "`smt`, `cpu_template`, `track_dirty_pages`, `huge_pages`." },
		{ "PUT", "/machine-config", "{\"vcpu_count\":\"1\",\"mem_size_mib\":128}",
		  DESERIALIZE "invalid type: string \\\"1\\\", expected u8." },
		{ "PUT", "/machine-config", "{\"vcpu_count\":-1,\"mem_size_mib\":128}",
		  DESERIALIZE "invalid value: integer `-1`, expected u8." },
		{ "PUT", "/machine-config", "{\"vcpu_count\":256,\"mem_size_mib\":128}",
		  DESERIALIZE "invalid value: integer `256`, expected u8." },
		{ "PUT", "/machine-config", "{\"vcpu_count\":1.5,\"mem_size_mib\":128}",
		  DESERIALIZE "invalid type: floating point `1.5`, expected u8." },
		{ "PUT", "/machine-config", "{\"vcpu_count\":null,\"mem_size_mib\":128}",
		  DESERIALIZE "invalid type: null, expected u8." },
		{ "PUT", "/machine-config", "{\"vcpu_count\":1,\"mem_size_mib\":128,\"smt\":1}",
		  DESERIALIZE "invalid type: integer `1`, expected a boolean." },
		{ "PUT", "/machine-config",
		  "{\"vcpu_count\":1,\"mem_size_mib\":128,\"huge_pages\":\"1G\"}",
		  DESERIALIZE
		  "unknown variant `1G`, expected one of `None`, `Transparent`, `2M`." },
		{ "PUT", "/actions", "{\"action_type\":\"x\"}",
		  DESERIALIZE "unknown variant `x`, expected one of `FlushMetrics`, "
			      "`InstanceStart`, `SendCtrlAltDel`." },
		{ "PUT", "/actions", "[]",
		  DESERIALIZE "invalid type: sequence, expected struct ActionBody." },
		{ "PUT", "/actions", "{\"action_type\":\"x\"", DESERIALIZE },
		{ "PUT", "/actions", "{\"action_type\":\"FlushMetrics\"} x", DESERIALIZE },
		{ "PUT", "/actions",
		  "{\"action_type\":\"FlushMetrics\",\"action_type\":\"FlushMetrics\"}",
		  DESERIALIZE },
		{ "PUT", "/mmds", "{", DESERIALIZE },
		{ "PUT", "/entropy", "{\"x\":1}",
		  DESERIALIZE "unknown field `x`, expected `rate_limiter`." },
		{ "PUT", "/entropy", "{\"rate_limiter\":{\"x\":1}}",
		  DESERIALIZE "unknown field `x`, expected `bandwidth` or `ops`." },
		{ "PUT", "/entropy", "{\"rate_limiter\":{\"ops\":{\"size\":1}}}",
		  DESERIALIZE "missing field `refill_time`." },
		{ "PUT", "/metrics", "{\"metrics_path\":\"m\",\"properties\":{\"a\":1}}",
		  DESERIALIZE "invalid type: integer `1`, expected a string." },
		{ "PUT", "/snapshot/load", "{\"snapshot_path\":\"s\"}",
		  DESERIALIZE
		  "missing field: either `mem_backend` or `mem_file_path` is required." },
		{ "PUT", "/snapshot/load",
		  "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\",\"mem_backend\":"
		  "{\"backend_type\":\"File\",\"backend_path\":\"m\"}}",
		  DESERIALIZE
		  "too many fields: either `mem_backend` or `mem_file_path` exclusively "
		  "is required." },
		{ "PUT", "/snapshot/load",
		  "{\"snapshot_path\":\"s\",\"mem_backend\":{\"backend_type\":\"foo\","
		  "\"backend_path\":\"m\"}}",
		  DESERIALIZE "unknown variant `foo`, expected `File` or `Uffd`." },
	};
	struct shim shim;

	(void)state;
	shim_init(&shim);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		shim_expect(&shim, rows[i].method, rows[i].path, rows[i].body, 400, rows[i].text);
	shim_done(&shim);
}

static void test_null_is_absent_where_it_may_be(void **state)
{
	struct shim shim;

	(void)state;
	shim_init(&shim);
	shim_expect(&shim, "PUT", "/boot-source",
		    "{\"kernel_image_path\":\"@/kernel\",\"initrd_path\":null,\"boot_args\":null}",
		    204, "");
	shim_expect(&shim, "PUT", "/entropy", "{\"rate_limiter\":null}", 204, "");
	shim_expect(&shim, "PUT", "/metrics", "{\"metrics_path\":\"@/m\",\"unknown\":1}", 204, "");
	shim_expect(&shim, "PUT", "/metrics", "{\"metrics_path\":\"@/m\"}", 400,
		    "already initialized");
	shim_done(&shim);
	CHECK_INT(shim.metrics_calls, 1);
}

static void test_deprecated_fields_are_flagged(void **state)
{
	static const struct {
		const char *path;
		const char *body;
		bool wanted;
	} rows[] = {
		{ "/machine-config", "{\"vcpu_count\":1,\"mem_size_mib\":9}", false },
		{ "/machine-config",
		  "{\"vcpu_count\":1,\"mem_size_mib\":9,\"cpu_template\":\"None\"}", true },
	};
	struct shim shim;

	(void)state;
	shim_init(&shim);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct api_request request = { .method = "PUT",
						     .path = rows[i].path,
						     .body = span_str(rows[i].body) };
		struct api_reply reply;
		uint64_t number;

		assert_int_equal(api_handle(&shim.api, &request, &reply, &number), API_ANSWERED);
		CHECK_ROW(i, reply.status == 204 && reply.is_deprecated == rows[i].wanted);
		buf_done(&reply.body);
	}
	shim_done(&shim);
}

static void test_configuration_file(void **state)
{
	static const struct {
		const char *text;
		const char *problem; /* NULL: good */
	} rows[] = {
		{ "{\"boot-source\":{\"kernel_image_path\":\"/dev/null\"},\"drives\":[]}",
		  "The kernel file cannot be opened: Invalid argument" },
		{ "{\"drives\":[]}", "missing field `boot-source`" },
		{ "{\"boot-source\":{}, \"drives\":[]}", "missing field `kernel_image_path`" },
		{ "{\"boot-surce\":{}}", "unknown section 'boot-surce'" },
		{ "[]", "the configuration is no object" },
		{ "{", "JSON" },
		{ "{\"machine-config\":{\"vcpu_count\":33,\"mem_size_mib\":1}}",
		  "The number of vCPUs must be" },
		{ "{\"mmds-config\":{\"network_interfaces\":[]}, \"boot-source\":null}",
		  "missing" },
		{ "{\"cpu-config\":{}}", "a custom CPU template is not supported by banger-vmm" },
	};
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct shim shim;

		shim_init(&shim);
		CHECK_ROW(i, api_load_config(&shim.api, span_str(rows[i].text), &err) < 0);
		CHECK_HAS(err.message, rows[i].problem);
		err = ERR_INIT;
		shim_done(&shim);
	}
}

static void test_good_configuration_file(void **state)
{
	AUTO_FREE char *text = NULL;
	struct err err = ERR_INIT;
	struct shim shim;

	(void)state;
	shim_init(&shim);
	text = mem_printf("{\"boot-source\":{\"kernel_image_path\":\"%s\"},\"drives\":[{"
			  "\"drive_id\":\"a\",\"path_on_host\":\"%s\",\"is_root_device\":true,"
			  "\"is_read_only\":true}],\"entropy\":{},\"mmds-config\":null,\"pmem\":[],"
			  "\"machine-config\":{\"vcpu_count\":2,\"mem_size_mib\":256}}",
			  shim_path(&shim, "kernel"), shim_path(&shim, "disk"));
	if (api_load_config(&shim.api, span_str(text), &err) < 0)
		fail_msg("%s", err.message);
	CHECK_INT(shim.api.config.machine.vcpu_count, 2);
	CHECK_INT(shim.api.config.drive_count, 1);
	assert_true(shim.api.config.has_entropy);
	shim_done(&shim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_route_in_every_phase),
		cmocka_unit_test(test_count_of_routes),
		cmocka_unit_test(test_actions_in_every_phase),
		cmocka_unit_test(test_start_needs_a_kernel_only),
		cmocka_unit_test(test_paths_and_verbs),
		cmocka_unit_test(test_long_paths),
		cmocka_unit_test(test_ids_and_bodies),
		cmocka_unit_test(test_null_is_absent_where_it_may_be),
		cmocka_unit_test(test_deprecated_fields_are_flagged),
		cmocka_unit_test(test_configuration_file),
		cmocka_unit_test(test_good_configuration_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
