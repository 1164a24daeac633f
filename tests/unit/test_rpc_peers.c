/* Who may use the RPC server: the user who connected decides, whoever holds the connection later.
 */
#include "rpc_fixture.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void test_peer_rule(void **state)
{
	static const struct {
		uid_t uid;
		uid_t owner;
		bool is_allowed;
	} rows[] = {
		{ 1000, 1000, true },  { 0, 1000, true },	{ 0, 0, true },
		{ 1001, 1000, false }, { 65534, 1000, false },	{ 65534, 65534, false },
		{ 1000, 0, false },    { (uid_t)-1, 0, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_ROW(i, rpc_peer_is_allowed(rows[i].uid, rows[i].owner) == rows[i].is_allowed);
}

/* A user that the daemon of this process is not for: root becomes one, others serve somebody else.
 */
static uid_t other_user(void)
{
	return getuid() == 0 ? 65533 : getuid();
}

static bool become_other_user(void)
{
	const uid_t uid = other_user();

	/* Not dumpable, what is in /proc/self would stay root's. */
	return setresuid(uid, uid, uid) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0;
}

/* Root of a user namespace of its own is, for everybody else, the user that made it. */
static bool become_root_of_namespace(void)
{
	AUTO_CLOSE int fd = -1;
	char map[32];
	const int n = snprintf(map, sizeof(map), "0 %u 1", other_user());

	if (!become_other_user() || unshare(CLONE_NEWUSER) < 0)
		return false;
	fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, map, (size_t)n) == n && getuid() == 0;
}

/* In a child: gives all that the server says to the parent, by system calls alone. */
static _Noreturn void relay(int from_fd, int to_fd)
{
	char bytes[1024];
	ssize_t n;

	while ((n = read(from_fd, bytes, sizeof(bytes))) > 0) {
		if (write(to_fd, bytes, (size_t)n) != n)
			_exit(3);
	}
	_exit(n < 0 ? 4 : 0);
}

static void expect_exit(pid_t child)
{
	int status = -1;

	assert_int_equal(waitpid(child, &status, 0), child);
	CHECK_INT(status, 0);
}

/* Connects as somebody else, who could open the socket; what comes must be a refusal and the end.
 */
static void expect_refusal(bool (*become)(void))
{
	const int refused_before = atomic_load(&fixture.events[RPC_EVENT_REFUSED_PEER]);
	AUTO_FREE char *message =
		mem_printf("user %u may not use this daemon: Permission denied", other_user());
	AUTO_FREE char *event = NULL;
	AUTO_FREE char *line = NULL;
	AUTO_JSON *answer = NULL;
	struct err err = ERR_INIT;
	int ends[2];
	pid_t child;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int fd = -1;

		if (!become() || unix_connect(fixture.path, &fd, &err) < 0)
			_exit(2);
		relay(fd, ends[1]);
	}
	fd_close(ends[1]);
	line = raw_line(ends[0]);
	assert_non_null(line);
	raw_expect_end(ends[0]);
	fd_close(ends[0]);
	expect_exit(child);

	assert_int_equal(json_read(span_str(line), &answer, &err), 0);
	CHECK_INT(json_integer_value(json_object_get(json_object_get(answer, "error"), "code")),
		  -32000 - ERR_SYSTEM);
	CHECK_STR(json_get_str(json_object_get(answer, "error"), "message"), message);
	CHECK_INT(atomic_load(&fixture.events[RPC_EVENT_REFUSED_PEER]), refused_before + 1);
	event = mem_printf("client %d of user %u refused", (int)child, other_user());
	CHECK_STR(fixture.refusal, event);
}

static void test_wrong_peer(void **state)
{
	(void)state;
	if (getuid() != 0)
		fixture.config.owner_uid = getuid() + 1;
	/* The socket's mode would do already; this is for the day when it is wrong. */
	assert_int_equal(chmod(fixture.folder, 0711), 0);
	assert_int_equal(chmod(fixture.path, 0666), 0);
	start_server();
	expect_refusal(become_other_user);
	expect_refusal(become_root_of_namespace);
	CHECK_INT(atomic_load(&fixture.done), 0);
}

/* Who connected counts, not who uses the connection: the owner may give it away. */
static void test_given_connection(void **state)
{
	static const char request[] = ADD("1", "1");
	AUTO_CLOSE int fd = -1;
	int ends[2];
	pid_t child;

	(void)state;
	fd = raw_connect();
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (!become_other_user() ||
		    write(fd, request, sizeof(request) - 1) != sizeof(request) - 1 ||
		    shutdown(fd, SHUT_WR) < 0)
			_exit(2);
		relay(fd, ends[1]);
	}
	fd_close(ends[1]);
	start_server(); /* only now, so that the child has nothing of its end of the connection */
	raw_expect(ends[0], NULL, 0);
	raw_expect_end(ends[0]);
	fd_close(ends[0]);
	expect_exit(child);
	CHECK_INT(atomic_load(&fixture.done), 1);
	CHECK_INT(atomic_load(&fixture.events[RPC_EVENT_REFUSED_PEER]), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rpc_fixture_setup, rpc_fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_peer_rule),
		TEST(test_wrong_peer),
		TEST(test_given_connection),
	};

	return cmocka_run_group_tests_name("rpc_peers", tests, NULL, NULL);
}
