#include "vmm_fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/parse.h"

void vmm_fixture_init(struct vmm_fixture *fixture)
{
	struct err err = ERR_INIT;

	*fixture = (struct vmm_fixture){ .listener = UNIX_LISTENER_INIT };
	(void)snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/test-vmm-XXXXXX");
	assert_non_null(mkdtemp(fixture->folder));
	(void)snprintf(fixture->socket_path, sizeof(fixture->socket_path), "%s/sock",
		       fixture->folder);
	assert_int_equal(unix_listen(fixture->socket_path, 8, &fixture->listener, &err), 0);
}

void vmm_fixture_done(struct vmm_fixture *fixture)
{
	unix_listener_done(&fixture->listener);
	assert_int_equal(dir_remove_tree(AT_FDCWD, fixture->folder), 0);
	errno = 0;
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

/* How many bytes of body the headers announce. */
static size_t content_length(const char *headers)
{
	const char *line = strstr(headers, "\r\nContent-Length: ");
	struct span rest;
	uint64_t length = 0;

	if (!line)
		return 0;
	rest = span_str(line + strlen("\r\nContent-Length: "));
	return parse_u64(&rest, 1 << 20, &length) ? length : 0;
}

void vmm_fixture_read_request(int fd, struct buf *ret)
{
	for (;;) {
		const char *end = strstr(ret->ptr, "\r\n\r\n");
		ssize_t n;

		if (end && ret->len >= (size_t)(end - ret->ptr) + 4 + content_length(ret->ptr))
			return;
		buf_reserve(ret, 4096);
		n = fd_read_some(fd, ret->ptr + ret->len, 4096);
		if (n <= 0)
			return;
		buf_advance(ret, (size_t)n);
	}
}

static void serve(const struct vmm_fixture *fixture, const char *answer, const char *filler,
		  bool stays_open, int request_fd)
{
	AUTO_BUF request = BUF_INIT;
	const int fd = accept(fixture->listener.fd, NULL, NULL);
	char byte;

	vmm_fixture_read_request(fd, &request);
	if (fd_write_all(request_fd, buf_span(&request)) < 0)
		_exit(1);
	fd_close(request_fd);
	if (answer[0] != '\0')
		(void)send(fd, answer, strlen(answer), MSG_NOSIGNAL);
	while (filler && send(fd, filler, strlen(filler), MSG_NOSIGNAL) > 0)
		;
	if (stays_open)
		while (fd_read_some(fd, &byte, 1) > 0)
			;
	_exit(0);
}

pid_t vmm_fixture_serve(const struct vmm_fixture *fixture, const char *answer, const char *filler,
			bool stays_open, int *ret_request_fd)
{
	int ends[2];
	pid_t server;

	assert_int_equal(fd_pipe(ends), 0);
	server = fork();
	assert_true(server >= 0);
	if (server == 0) {
		fd_close(ends[0]);
		serve(fixture, answer, filler, stays_open, ends[1]);
	}
	fd_close(ends[1]);
	*ret_request_fd = ends[0];
	return server;
}

char *vmm_fixture_end(pid_t server, int request_fd)
{
	AUTO_BUF request = BUF_INIT;

	for (;;) {
		ssize_t n;

		buf_reserve(&request, 4096);
		n = fd_read_some(request_fd, request.ptr + request.len, 4096);
		if (n <= 0)
			break;
		buf_advance(&request, (size_t)n);
	}
	fd_close(request_fd);
	assert_int_equal(waitpid(server, NULL, 0), server);
	return buf_detach(&request);
}
