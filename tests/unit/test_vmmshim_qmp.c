/* The QMP client: handshake, replies by id, events first, bounds, and what happens when QEMU goes.
 */
#include "check.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "vmmshim/qmp.h"

#define GREETING                                                                                   \
	"{\"QMP\":{\"version\":{\"qemu\":{\"major\":7,\"minor\":2,\"micro\":1},\"package\":\"\"}," \
	"\"capabilities\":[]}}\r\n"
#define CAPABLE "{\"return\":{},\"id\":1}\n"

struct peer {
	struct qmp qmp;
	unsigned ready;
	unsigned events;
	char last_event[32];
	unsigned replies[32];
	bool failed[32];
	char message[ERR_MESSAGE_SIZE];
	bool sends_more; /* from a reply */
};

struct slot {
	struct peer *peer;
	unsigned index;
};

static void on_ready(void *context, const struct qmp_version *version)
{
	struct peer *peer = context;

	CHECK_INT(version->major, 7);
	CHECK_INT(version->minor, 2);
	peer->ready++;
}

static void on_event(void *context, const char *name, const json_t *details)
{
	struct peer *peer = context;

	(void)details;
	peer->events++;
	(void)snprintf(peer->last_event, sizeof(peer->last_event), "%s", name);
}

static const struct qmp_ops ops = { on_ready, on_event };

static void on_reply(void *context, const json_t *result, const struct err *err)
{
	const struct slot *slot = context;
	struct peer *peer = slot->peer;

	assert_true(!result == !!err);
	peer->replies[slot->index]++;
	peer->failed[slot->index] = err != NULL;
	if (err)
		(void)snprintf(peer->message, sizeof(peer->message), "%s", err->message);
	if (peer->sends_more) {
		peer->sends_more = false;
		qmp_command(&peer->qmp, "again", NULL, NULL, NULL);
	}
}

static void peer_init(struct peer *peer)
{
	*peer = (struct peer){ 0 };
	qmp_init(&peer->qmp, &ops, peer);
}

static int feed(struct peer *peer, const char *text)
{
	struct err err = ERR_INIT;
	const int r = qmp_feed(&peer->qmp, span_str(text), &err);

	if (r < 0)
		(void)snprintf(peer->message, sizeof(peer->message), "%s", err.message);
	return r;
}

/* Takes what would be sent. */
static void sent(struct peer *peer, char *into, size_t size)
{
	const struct span output = qmp_output(&peer->qmp);

	assert_true(output.len < size);
	memcpy(into, output.ptr, output.len);
	into[output.len] = '\0';
	qmp_sent(&peer->qmp, output.len);
}

static void test_handshake(void **state)
{
	struct peer peer;
	struct slot slot = { &peer, 0 };
	char text[256];

	(void)state;
	peer_init(&peer);
	/* Commands wait for the handshake; events do not. */
	qmp_command(&peer.qmp, "query-status", NULL, on_reply, &slot);
	sent(&peer, text, sizeof(text));
	CHECK_STR(text, "");
	assert_int_equal(feed(&peer, "{\"event\":\"EARLY\",\"timestamp\":{}}\n"), 0);
	CHECK_INT(peer.events, 1);
	assert_int_equal(feed(&peer, GREETING), 0);
	CHECK_INT(peer.qmp.state, QMP_CAPABILITIES);
	sent(&peer, text, sizeof(text));
	CHECK_STR(text, "{\"execute\":\"qmp_capabilities\",\"id\":2}\n");
	assert_int_equal(feed(&peer, "{\"event\":\"MIDDLE\"}\n{\"return\":{},\"id\":2}\n"), 0);
	CHECK_INT(peer.ready, 1);
	CHECK_INT(peer.events, 2);
	CHECK_STR(peer.last_event, "MIDDLE");
	sent(&peer, text, sizeof(text));
	CHECK_STR(text, "{\"execute\":\"query-status\",\"id\":1}\n");
	assert_int_equal(feed(&peer, "{\"return\":{\"status\":\"running\"},\"id\":1}\n"), 0);
	CHECK_INT(peer.replies[0], 1);
	assert_false(peer.failed[0]);
	qmp_done(&peer.qmp);
	CHECK_INT(peer.replies[0], 1);
}

/* The same bytes, cut at every place. */
static void test_cut_anywhere(void **state)
{
	static const char text[] = GREETING CAPABLE "{\"event\":\"STOP\",\"data\":{}}\n";

	(void)state;
	for (size_t cut = 0; cut < sizeof(text); cut++) {
		struct err err = ERR_INIT;
		struct peer peer;

		peer_init(&peer);
		assert_int_equal(qmp_feed(&peer.qmp, span_of(text, cut), &err), 0);
		assert_int_equal(
			qmp_feed(&peer.qmp, span_of(text + cut, sizeof(text) - 1 - cut), &err), 0);
		CHECK_ROW(cut, peer.ready == 1 && peer.events == 1);
		qmp_done(&peer.qmp);
	}
}

static void test_replies_in_any_order(void **state)
{
	struct peer peer;
	struct slot slots[3] = { { &peer, 0 }, { &peer, 1 }, { &peer, 2 } };

	(void)state;
	peer_init(&peer);
	assert_int_equal(feed(&peer, GREETING CAPABLE), 0);
	for (unsigned i = 0; i < 3; i++)
		qmp_command(&peer.qmp, "x", NULL, on_reply, &slots[i]);
	peer.sends_more = true;
	assert_int_equal(feed(&peer, "{\"return\":{},\"id\":4}\n"
				     "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"},"
				     "\"id\":2}\n"),
			 0);
	CHECK_INT(peer.replies[0] + peer.replies[2], 2);
	assert_true(peer.failed[0] && !peer.failed[2]);
	CHECK_STR(peer.message, "no");
	qmp_done(&peer.qmp);
	CHECK_INT(peer.replies[1], 1);
	assert_true(peer.failed[1]);
}

/* Numbers that are larger than jansson's integers come from guests. */
static void test_large_numbers(void **state)
{
	struct peer peer;
	struct slot slot = { &peer, 0 };
	AUTO_JSON *json = NULL;
	struct err err = ERR_INIT;
	uint64_t number = 7;

	(void)state;
	peer_init(&peer);
	assert_int_equal(feed(&peer, GREETING CAPABLE), 0);
	qmp_command(&peer.qmp, "qom-get", NULL, on_reply, &slot);
	assert_int_equal(feed(&peer, "{\"return\":{\"a\":18446744073709551615},\"id\":2}\n"), 0);
	CHECK_INT(peer.replies[0], 1);
	assert_false(peer.failed[0]);
	qmp_done(&peer.qmp);
	assert_int_equal(
		json_read(span_str("[1,-1,1.5,9223372036854775807,1e300,\"1\"]"), &json, &err), 0);
	assert_true(qmp_number(json_array_get(json, 0), &number) && number == 1);
	assert_true(qmp_number(json_array_get(json, 3), &number) && number == INT64_MAX);
	assert_false(qmp_number(json_array_get(json, 1), &number));
	assert_false(qmp_number(json_array_get(json, 4), &number));
	assert_false(qmp_number(json_array_get(json, 5), &number));
	assert_false(qmp_number(NULL, &number));
}

static void test_disconnect_completes_once(void **state)
{
	struct err err = ERR_INIT;
	struct peer peer;
	struct slot slots[QMP_PENDING_MAX + 2];

	(void)state;
	peer_init(&peer);
	assert_int_equal(feed(&peer, GREETING CAPABLE), 0);
	for (unsigned i = 0; i < QMP_PENDING_MAX + 1; i++) {
		slots[i] = (struct slot){ &peer, i };
		qmp_command(&peer.qmp, "x", NULL, on_reply, &slots[i]);
	}
	/* One more than may wait fails at once. */
	CHECK_INT(peer.replies[QMP_PENDING_MAX], 1);
	(void)err_fill(&err, ERR_BAD_STATE, 0, "QEMU died");
	peer.sends_more = true;
	qmp_disconnect(&peer.qmp, &err);
	qmp_disconnect(&peer.qmp, &err);
	slots[QMP_PENDING_MAX + 1] = (struct slot){ &peer, QMP_PENDING_MAX + 1 };
	qmp_command(&peer.qmp, "late", NULL, on_reply, &slots[QMP_PENDING_MAX + 1]);
	for (unsigned i = 0; i < QMP_PENDING_MAX + 2; i++)
		CHECK_ROW(i, peer.replies[i] == 1 && peer.failed[i]);
	CHECK_STR(peer.message, "QEMU is gone");
	assert_true(feed(&peer, "{}\n") < 0);
	qmp_done(&peer.qmp);
}

static void test_violations(void **state)
{
	static const struct {
		const char *text;
		const char *problem;
	} rows[] = {
		{ "x\n", "QEMU sent a line that is no JSON" },
		{ "\n", "QEMU sent a line that is no JSON" },
		{ "[]\n", "QEMU sent a line that is no object" },
		{ "{}\n", "QEMU sent a line of an unknown form" },
		{ "{\"return\":{},\"error\":{}}\n", "QEMU sent a line of an unknown form" },
		{ CAPABLE, "QEMU answered what nobody asked" },
		{ GREETING GREETING, "QEMU greeted twice" },
		{ "{\"QMP\":{}}\n", "QEMU's greeting has no version" },
		{ "{\"QMP\":{\"version\":{\"qemu\":{\"major\":-1,\"minor\":0,\"micro\":0}}}}\n",
		  "QEMU's greeting has no version" },
		{ GREETING "{\"return\":{},\"id\":7}\n", "QEMU answered what nobody asked" },
		{ GREETING "{\"return\":{},\"id\":\"1\"}\n", "QEMU answered what nobody asked" },
		{ GREETING "{\"return\":{}}\n", "QEMU answered what nobody asked" },
		{ GREETING CAPABLE CAPABLE, "QEMU answered what nobody asked" },
		{ GREETING "{\"error\":{\"class\":\"X\",\"desc\":\"no way\"},\"id\":1}\n",
		  "QEMU refused the QMP handshake: no way" },
		{ GREETING "{\"error\":{},\"id\":1}\n", "QEMU sent a malformed error" },
		{ "{\"event\":1}\n", "QEMU sent a malformed event" },
		{ "{\"event\":\"A\",\"data\":[]}\n", "QEMU sent a malformed event" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct peer peer;

		peer_init(&peer);
		CHECK_ROW(i, feed(&peer, rows[i].text) < 0);
		CHECK_HAS(peer.message, rows[i].problem);
		qmp_done(&peer.qmp);
	}
}

static void test_line_limit(void **state)
{
	char *line = mem_alloc(1, QMP_LINE_MAX + 2);

	(void)state;
	memset(line, ' ', QMP_LINE_MAX);
	memcpy(line, "{\"event\":\"A\"}", 13);
	for (size_t extra = 0; extra < 2; extra++) {
		struct peer peer;
		int r;

		peer_init(&peer);
		memset(line + QMP_LINE_MAX, ' ', extra);
		line[QMP_LINE_MAX + extra] = '\n';
		{
			struct err err = ERR_INIT;

			r = qmp_feed(&peer.qmp, span_of(line, QMP_LINE_MAX + extra + 1), &err);
		}
		CHECK_INT(r == 0, extra == 0);
		CHECK_INT(peer.events, extra == 0 ? 1 : 0);
		qmp_done(&peer.qmp);
	}
	mem_free(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handshake),
		cmocka_unit_test(test_cut_anywhere),
		cmocka_unit_test(test_replies_in_any_order),
		cmocka_unit_test(test_large_numbers),
		cmocka_unit_test(test_disconnect_completes_once),
		cmocka_unit_test(test_violations),
		cmocka_unit_test(test_line_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
