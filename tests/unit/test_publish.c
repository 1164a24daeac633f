/* Published ports, with a VMM that is played: it answers as a guest's agent does, or as it should
 * not. */
#include "check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "daemon/publish.h"

#define ANSWER_MS  300
#define ECHO_BYTES 65536
#define BIG	   (3UL * 1024 * 1024)

/* What the played guest does with a connection, by its port. */
enum guest_port {
	PORT_ECHO = 80, /* sends back what comes, and half-closes after it */
	PORT_REFUSED,	/* nobody listens */
	PORT_SILENT,	/* no answer at all */
	PORT_HALF,	/* the VMM answers, the agent does not */
	PORT_GARBAGE,	/* no protocol */
	PORT_LONG,	/* a VMM's answer without an end */
	PORT_CLOSED,	/* the VMM closes: no agent */
	PORT_GREETS,	/* answer and greeting in one piece, then the end */
};

static char folder[] = "/tmp/banger-test-publish-XXXXXX";
static char *vmm_path;
static int vmm_fd;

static void say(int fd, const char *text)
{
	IGNORE_RESULT(fd_write_all(fd, span_str(text)));
}

static void echo(int fd)
{
	AUTO_FREE uint8_t *bytes = mem_alloc(1, ECHO_BYTES);
	ssize_t n;

	while ((n = fd_read_some(fd, bytes, ECHO_BYTES)) > 0)
		IGNORE_RESULT(fd_write_all(fd, span_of(bytes, (size_t)n)));
}

static void *serve(void *context)
{
	const int fd = (int)(intptr_t)context;
	char request[128] = "";
	size_t length = 0;
	unsigned port = 0;

	while (length < sizeof(request) - 1 && strchr(request, '}') == NULL &&
	       read(fd, request + length, 1) == 1)
		request[++length] = '\0';
	IGNORE_RESULT(fd_read_some(fd, request + length, 1)); /* the newline */
	if (sscanf(request, "CONNECT 1024\n{\"op\":\"forward\",\"tcp\":%u}", &port) != 1)
		port = PORT_CLOSED;
	switch ((enum guest_port)port) {
	case PORT_ECHO:
		say(fd, "OK 7\n");
		say(fd, "{\"ok\":true}\n");
		echo(fd);
		break;
	case PORT_REFUSED:
		say(fd,
		    "OK 7\n{\"ok\":false,\"error\":{\"kind\":\"not_found\",\"message\":\"no\"}}\n");
		break;
	case PORT_SILENT:
		(void)poll(NULL, 0, 10 * ANSWER_MS);
		break;
	case PORT_HALF:
		say(fd, "OK 7\n{\"ok\":tr");
		(void)poll(NULL, 0, 10 * ANSWER_MS);
		break;
	case PORT_GARBAGE:
		say(fd, "NO 7\n{\"ok\":true}\nhello");
		break;
	case PORT_LONG:
		say(fd, "OK 7777777777777777777777777777777777777777777777777777");
		(void)poll(NULL, 0, 10 * ANSWER_MS);
		break;
	case PORT_CLOSED:
		break;
	case PORT_GREETS:
		say(fd, "OK 7\n{\"ok\":true}\nhello");
		break;
	}
	(void)close(fd);
	return NULL;
}

static void *play_vmm(void *context)
{
	(void)context;
	for (;;) {
		const int fd = accept4(vmm_fd, NULL, NULL, SOCK_CLOEXEC);
		pthread_t thread;

		if (fd < 0)
			return NULL;
		if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) == 0)
			(void)pthread_detach(thread);
	}
}

static pthread_t vmm_thread;

static int start_vmm(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	(void)state;
	if (!mkdtemp(folder))
		return -1;
	vmm_path = mem_printf("%s/vsock.sock", folder);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", vmm_path);
	vmm_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (vmm_fd < 0 || bind(vmm_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(vmm_fd, 8) < 0)
		return -1;
	return pthread_create(&vmm_thread, NULL, play_vmm, NULL);
}

static int stop_vmm(void **state)
{
	(void)state;
	(void)shutdown(vmm_fd, SHUT_RDWR);
	(void)pthread_join(vmm_thread, NULL);
	(void)close(vmm_fd);
	(void)unlink(vmm_path);
	mem_free(vmm_path);
	return rmdir(folder);
}

/* --- the host's side --- */

static struct vm make_vm(char digit, const char *name, uint16_t guest)
{
	struct vm vm;

	vm_init(&vm);
	memset(vm.id, digit, VM_ID_SIZE - 1);
	vm.name = mem_strdup(name);
	vm.spec.ports[0] = (struct vm_port){ .guest = guest, .address = VM_PORT_LOOPBACK };
	vm.spec.port_count = 1;
	return vm;
}

static struct publish *begin(void)
{
	struct publish *publish = NULL;
	struct err err = ERR_INIT;

	assert_int_equal(publish_new(ANSWER_MS, &publish, &err), 0);
	return publish;
}

static void open_ports(struct publish *publish, struct vm *vm)
{
	struct err err = ERR_INIT;

	assert_int_equal(publish_open(publish, vm, vm->spec.ports, vm->spec.port_count, &err), 0);
}

static int dial(uint16_t port)
{
	const struct sockaddr_in address = { .sin_family = AF_INET,
					     .sin_port = htons(port),
					     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct timeval patience = { .tv_sec = 20 };
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

/* Everything up to the end: bytes, or -errno. */
static ssize_t read_all(int fd, char *into, size_t size)
{
	size_t length = 0;

	for (;;) {
		const ssize_t n = fd_read_some(fd, into + length, size - length);

		if (n < 0)
			return n;
		if (n == 0)
			return (ssize_t)length;
		length += (size_t)n;
	}
}

static void test_echo_and_half_close(void **state)
{
	struct publish *publish = begin();
	AUTO_VM vm = make_vm('a', "box", PORT_ECHO);
	char text[64] = "";
	int fd;

	(void)state;
	open_ports(publish, &vm);
	assert_true(vm.spec.ports[0].host != 0);
	assert_true(publish_served(publish, &vm) == 0);
	/* It waits until the guest is there. */
	fd = dial(vm.spec.ports[0].host);
	assert_true(fd >= 0);
	publish_serve(publish, &vm, vmm_path);
	assert_true(publish_served(publish, &vm) == 1);
	say(fd, "one two");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_int_equal(read_all(fd, text, sizeof(text)), 7);
	CHECK_STR(text, "one two");
	(void)close(fd);

	publish_stop(publish, vm.id);
	assert_int_equal(dial(vm.spec.ports[0].host), -1);
	publish_free(publish);
}

/* The guest's first words may come in one piece with the agent's answer. */
static void test_greeting(void **state)
{
	struct publish *publish = begin();
	AUTO_VM vm = make_vm('a', "box", PORT_GREETS);
	char text[64] = "";
	int fd;

	(void)state;
	open_ports(publish, &vm);
	publish_serve(publish, &vm, vmm_path);
	fd = dial(vm.spec.ports[0].host);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_int_equal(read_all(fd, text, sizeof(text)), 5);
	CHECK_STR(text, "hello");
	(void)close(fd);
	publish_free(publish);
}

static void test_guests_that_do_not_serve(void **state)
{
	static const enum guest_port rows[] = { PORT_REFUSED, PORT_SILENT, PORT_HALF,
						PORT_GARBAGE, PORT_LONG,   PORT_CLOSED };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct publish *publish = begin();
		AUTO_VM vm = make_vm('a', "box", (uint16_t)rows[i]);
		char text[64];
		int fd;

		open_ports(publish, &vm);
		publish_serve(publish, &vm, vmm_path);
		fd = dial(vm.spec.ports[0].host);
		CHECK_ROW(i, read_all(fd, text, sizeof(text)) == -ECONNRESET);
		(void)close(fd);
		publish_free(publish);
	}
}

static void test_no_vmm(void **state)
{
	struct publish *publish = begin();
	AUTO_VM vm = make_vm('a', "box", PORT_ECHO);
	char text[64];
	int fd;

	(void)state;
	open_ports(publish, &vm);
	publish_serve(publish, &vm, "/nowhere/vsock.sock");
	fd = dial(vm.spec.ports[0].host);
	CHECK_INT(read_all(fd, text, sizeof(text)), -ECONNRESET);
	(void)close(fd);
	publish_free(publish);
}

static void *send_big(void *context)
{
	const int fd = *(const int *)context;
	uint8_t block[4096];

	for (size_t i = 0; i < BIG / sizeof(block); i++) {
		memset(block, (int)(i & 0xff), sizeof(block));
		IGNORE_RESULT(fd_write_all(fd, span_of(block, sizeof(block))));
	}
	(void)shutdown(fd, SHUT_WR);
	return NULL;
}

/* More than any buffer on the way, with a reader that starts late. */
static void test_back_pressure(void **state)
{
	struct publish *publish = begin();
	AUTO_VM vm = make_vm('a', "box", PORT_ECHO);
	AUTO_FREE char *got = mem_alloc(1, BIG + 1);
	pthread_t sender;
	int fd;

	(void)state;
	open_ports(publish, &vm);
	publish_serve(publish, &vm, vmm_path);
	fd = dial(vm.spec.ports[0].host);
	assert_int_equal(pthread_create(&sender, NULL, send_big, &fd), 0);
	(void)poll(NULL, 0, 50);
	assert_int_equal(read_all(fd, got, BIG + 1), BIG);
	for (size_t i = 0; i < BIG; i++)
		assert_int_equal((uint8_t)got[i], i / 4096 & 0xff);
	(void)pthread_join(sender, NULL);
	(void)close(fd);
	publish_free(publish);
}

/* One over a VM's limit waits until another ends; other VMs are not held up. */
static void test_limit_of_a_vm(void **state)
{
	struct publish *publish = begin();
	AUTO_VM vm = make_vm('a', "box", PORT_ECHO);
	AUTO_VM other = make_vm('b', "other", PORT_ECHO);
	int fds[PUBLISH_VM_CONNECTIONS_MAX];
	char byte;
	int last, free_one;

	(void)state;
	open_ports(publish, &vm);
	open_ports(publish, &other);
	publish_serve(publish, &vm, vmm_path);
	publish_serve(publish, &other, vmm_path);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = dial(vm.spec.ports[0].host);
		say(fds[i], "x");
		CHECK_ROW(i, fd_read_exact(fds[i], &byte, 1) == 0 && byte == 'x');
	}
	last = dial(vm.spec.ports[0].host);
	say(last, "y");
	free_one = dial(other.spec.ports[0].host);
	say(free_one, "z");
	assert_int_equal(fd_read_exact(free_one, &byte, 1), 0);
	assert_int_equal(byte, 'z');
	assert_int_equal(recv(last, &byte, 1, MSG_DONTWAIT), -1);
	(void)close(fds[0]);
	assert_int_equal(fd_read_exact(last, &byte, 1), 0);
	assert_int_equal(byte, 'y');

	/* The VM ends: all of them are reset. */
	publish_stop(publish, vm.id);
	CHECK_INT(fd_read_exact(fds[1], &byte, 1), -ECONNRESET);
	for (size_t i = 1; i < ARRAY_LEN(fds); i++)
		(void)close(fds[i]);
	(void)close(last);
	(void)close(free_one);
	publish_free(publish);
}

static void test_ports_in_use(void **state)
{
	struct publish *publish = begin();
	AUTO_VM vm = make_vm('a', "box", PORT_ECHO);
	AUTO_VM other = make_vm('b', "other", PORT_ECHO);
	struct err err = ERR_INIT;
	int fd;

	(void)state;
	open_ports(publish, &vm);
	/* The same VM's own is no hindrance: what is open stays. */
	open_ports(publish, &vm);
	/* All or none: the free one is given back. */
	other.spec.ports[0] = (struct vm_port){ .guest = 1, .address = VM_PORT_LOOPBACK };
	other.spec.ports[1] = vm.spec.ports[0];
	other.spec.port_count = 2;
	assert_true(publish_open(publish, &other, other.spec.ports, 2, &err) < 0);
	assert_int_equal(err.kind, ERR_BUSY);
	CHECK_HAS(err.message, " is in use by VM 'box'");
	CHECK_HAS(err.hint, "port 0");
	assert_int_equal(dial(other.spec.ports[0].host), -1);
	/* A reservation outlives publish_stop(), not publish_close(). */
	publish_stop(publish, vm.id);
	fd = dial(vm.spec.ports[0].host);
	assert_true(fd >= 0);
	(void)close(fd);
	publish_close(publish, vm.id);
	assert_int_equal(dial(vm.spec.ports[0].host), -1);

	err = ERR_INIT;
	vm.spec.ports[0].address = 0xc0000201; /* 192.0.2.1, which nobody has */
	assert_true(publish_open(publish, &vm, vm.spec.ports, 1, &err) < 0);
	assert_int_equal(err.kind, ERR_INVALID);
	CHECK_HAS(err.message, "192.0.2.1:");
	CHECK_HAS(err.message, "this host has no such address");
	publish_free(publish);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_echo_and_half_close),
		cmocka_unit_test(test_greeting),
		cmocka_unit_test(test_guests_that_do_not_serve),
		cmocka_unit_test(test_no_vmm),
		cmocka_unit_test(test_back_pressure),
		cmocka_unit_test(test_limit_of_a_vm),
		cmocka_unit_test(test_ports_in_use),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, start_vmm, stop_vmm);
}
