/* What a guest says that it is after its renewal, against what it was asked to be. Pure. */
#include "check.h"

#include "base/json.h"
#include "base/text.h"
#include "guest/renew.h"

#define TOOK_MS 15000
#define ID	"0123456789abcdef0123456789abcdef"

static const char identity_text[] =
	"{\"hostname\":\"box\",\"machine_id\":\"" ID "\",\"ssh_host_key\":\"k\","
	"\"ssh_host_key_pub\":\"ssh-ed25519 A\\n\",\"wall_seconds\":1790000000,"
	"\"boot_token\":\"t\",\"network\":{\"mac\":\"02:00:00:00:00:01\",\"address\":\"10.0.0.2\","
	"\"prefix\":24,\"gateway\":\"10.0.0.1\",\"dns\":[]}}";

static const char machine_text[] =
	"{\"hostname\":\"box\",\"machine_id\":\"" ID "\",\"boot_id\":\"b\",\"boot_token\":\"t\","
	"\"mac\":\"02:00:00:00:00:01\",\"address\":\"10.0.0.2\",\"prefix\":24,"
	"\"gateway\":\"10.0.0.1\",\"addresses\":1,\"ssh_host_key_pub\":\"ssh-ed25519 A\","
	"\"random\":\"00\",\"wall_ms\":1790000000250,\"took_us\":9}";

static json_t *read_json(const char *text)
{
	json_t *object = NULL;
	struct err err = ERR_INIT;

	if (json_read(span_str(text), &object, &err) < 0)
		fail_msg("%s: %s", text, err.message);
	return object;
}

/* `change` replaces members of an object, null removes them. */
static void merge(json_t *object, const char *change)
{
	AUTO_JSON *changes = read_json(change);
	const char *key;
	json_t *value;

	json_object_foreach(changes, key, value) {
		if (json_is_null(value))
			(void)json_object_del(object, key);
		else
			json_put(object, key, json_incref(value));
	}
}

static void test_what_was_asked_for(void **state)
{
	AUTO_JSON *identity = read_json(identity_text);
	AUTO_JSON *object = read_json(machine_text);
	struct guest_machine machine;
	struct err err = ERR_INIT;

	(void)state;
	if (guest_read_machine(object, identity, TOOK_MS, &machine, &err) < 0)
		fail_msg("%s", err.message);
	CHECK_STR(machine.hostname, "box");
	CHECK_STR(machine.machine_id, ID);
	CHECK_STR(machine.address, "10.0.0.2");
	CHECK_INT(machine.prefix, 24);
	CHECK_INT(machine.wall_ms, 1790000000250);
	guest_machine_done(&machine);
	assert_null(machine.hostname);
	guest_machine_done(&machine);
}

static void test_anything_else_is_refused(void **state)
{
	static const struct {
		const char *change;
		const char *message;
	} rows[] = {
		{ "{\"hostname\":\"other\"}", "hostname is 'other' and not 'box'" },
		{ "{\"hostname\":\"\\u001b]0;\"}", "hostname is '\\x1b]0;' and not 'box'" },
		{ "{\"machine_id\":\"\"}", "machine-id is '' and not '" ID "'" },
		{ "{\"boot_token\":null}", "boot token is '' and not 't'" },
		{ "{\"mac\":\"02:00:00:00:00:02\"}", "MAC address is '02:00:00:00:00:02' and not" },
		{ "{\"mac\":null}", "MAC address is '' and not" },
		{ "{\"address\":\"10.0.0.3\"}", "address is '10.0.0.3' and not '10.0.0.2'" },
		{ "{\"prefix\":23}", "network prefix is 23 and not 24" },
		{ "{\"prefix\":33}", "'prefix'" },
		{ "{\"gateway\":\"10.0.0.9\"}", "gateway is '10.0.0.9' and not '10.0.0.1'" },
		{ "{\"addresses\":2}", "number of addresses is 2 and not 1" },
		{ "{\"ssh_host_key_pub\":\"ssh-ed25519 B\"}", "SSH host key is 'ssh-ed25519 B'" },
		{ "{\"wall_ms\":1790000025001}", "clock is 10001 ms off" },
		{ "{\"wall_ms\":1789999989999}", "clock is 10001 ms off" },
		{ "{\"random\":null}", "'random' is missing" },
		{ "{\"boot_id\":null}", "'boot_id' is missing" },
		{ "{\"took_us\":null}", "'took_us' is missing" },
		{ "{\"more\":1}", "unknown field 'more'" },
		{ "{\"wall_ms\":\"now\"}", "'wall_ms'" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_JSON *identity = read_json(identity_text);
		AUTO_JSON *object = read_json(machine_text);
		struct guest_machine machine;
		struct err err = ERR_INIT;

		merge(object, rows[i].change);
		CHECK_ROW(i, guest_read_machine(object, identity, TOOK_MS, &machine, &err) < 0);
		CHECK_INT(err.kind, ERR_PROTOCOL);
		CHECK_HAS(err.message, rows[i].message);
	}
}

/* Clocks at the very limit, and guests that were given less. */
static void test_what_else_is_right(void **state)
{
	static const struct {
		const char *identity;
		const char *machine;
	} rows[] = {
		{ "{}", "{\"wall_ms\":1790000025000}" },
		{ "{}", "{\"wall_ms\":1789999990000}" },
		{ "{\"boot_token\":null}", "{\"boot_token\":null}" },
		{ "{\"network\":null}", "{\"mac\":null,\"address\":null,\"gateway\":null,"
					"\"prefix\":null,\"addresses\":null}" },
		/* A device that nothing is given to. */
		{ "{\"network\":null}", "{\"address\":null,\"gateway\":null,\"prefix\":null,"
					"\"addresses\":0}" },
		{ "{\"network\":{\"mac\":\"02:00:00:00:00:01\",\"address\":\"10.0.0.2\","
		  "\"prefix\":24}}",
		  "{\"gateway\":null}" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_JSON *identity = read_json(identity_text);
		AUTO_JSON *object = read_json(machine_text);
		struct guest_machine machine;
		struct err err = ERR_INIT;

		merge(identity, rows[i].identity);
		merge(object, rows[i].machine);
		if (guest_read_machine(object, identity, TOOK_MS, &machine, &err) < 0)
			fail_msg("row %zu: %s", i, err.message);
		guest_machine_done(&machine);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_asked_for),
		cmocka_unit_test(test_anything_else_is_refused),
		cmocka_unit_test(test_what_else_is_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
