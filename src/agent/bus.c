#include "agent/bus.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"
#include "base/unix_socket.h"

#define LITTLE_ENDIAN_MARK 'l'
#define METHOD_CALL	   1
#define PROTOCOL_VERSION   1
#define HEADER_SIZE	   16 /* with the length of the fields */
#define SERIAL		   1  /* an answer is told by its type: there is one call at a time */
#define READ_SIZE	   4096
#define LINE_MAX_BYTES	   256

enum field {
	FIELD_PATH = 1,
	FIELD_INTERFACE = 2,
	FIELD_MEMBER = 3,
	FIELD_DESTINATION = 6,
	FIELD_SIGNATURE = 8
};

/* --- writing --- */

static void add_padding(struct buf *out, size_t begin, size_t alignment)
{
	while ((out->len - begin) % alignment != 0)
		buf_add_byte(out, 0);
}

static void add_u32(struct buf *out, uint32_t value)
{
	for (unsigned int shift = 0; shift < 32; shift += 8)
		buf_add_byte(out, (uint8_t)(value >> shift));
}

static void put_u32(struct buf *out, size_t at, uint32_t value)
{
	for (unsigned int i = 0; i < 4; i++)
		out->ptr[at + i] = (char)(uint8_t)(value >> 8 * i);
}

static void add_text(struct buf *out, const char *text)
{
	add_u32(out, (uint32_t)strlen(text));
	buf_add_str(out, text);
	buf_add_byte(out, 0);
}

static void add_field(struct buf *out, enum field code, char type, const char *text)
{
	if (!text)
		return;
	add_padding(out, 0, 8);
	buf_add_byte(out, (uint8_t)code);
	buf_add_byte(out, 1); /* a signature of one type */
	buf_add_byte(out, (uint8_t)type);
	buf_add_byte(out, 0);
	if (type == 'g') {
		buf_add_byte(out, (uint8_t)strlen(text));
		buf_add_str(out, text);
		buf_add_byte(out, 0);
	} else {
		add_text(out, text);
	}
}

static void write_call(const struct bus_call *call, struct buf *out)
{
	static const char *const signatures[] = { NULL, "s", "ss" };
	size_t count = 0;
	size_t begin;

	while (count < ARRAY_LEN(call->arguments) && call->arguments[count])
		count++;
	buf_add_byte(out, LITTLE_ENDIAN_MARK);
	buf_add_byte(out, METHOD_CALL);
	buf_add_byte(out, 0);
	buf_add_byte(out, PROTOCOL_VERSION);
	add_u32(out, 0); /* size of the body: below */
	add_u32(out, SERIAL);
	add_u32(out, 0); /* size of the fields: below */
	add_field(out, FIELD_PATH, 'o', call->path);
	add_field(out, FIELD_INTERFACE, 's', call->interface);
	add_field(out, FIELD_MEMBER, 's', call->member);
	add_field(out, FIELD_DESTINATION, 's', call->destination);
	add_field(out, FIELD_SIGNATURE, 'g', signatures[count]);
	put_u32(out, 12, (uint32_t)(out->len - HEADER_SIZE));
	add_padding(out, 0, 8);
	begin = out->len;
	for (size_t i = 0; i < count; i++) {
		add_padding(out, begin, 4);
		add_text(out, call->arguments[i]);
	}
	put_u32(out, 4, (uint32_t)(out->len - begin));
}

/* --- reading --- */

static uint32_t get_u32(const uint8_t *at)
{
	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
	       (uint32_t)at[3] << 24;
}

int bus_read_message(struct span bytes, struct bus_message *ret)
{
	uint64_t fields_end, size;

	if (bytes.len > 0 && bytes.ptr[0] != LITTLE_ENDIAN_MARK)
		return -1;
	if (bytes.len < HEADER_SIZE)
		return 0;
	fields_end = HEADER_SIZE + (((uint64_t)get_u32(bytes.ptr + 12) + 7) & ~UINT64_C(7));
	size = fields_end + get_u32(bytes.ptr + 4);
	if (size > BUS_MESSAGE_MAX)
		return -1;
	if (bytes.len < size)
		return 0;
	ret->type = bytes.ptr[1];
	ret->size = (size_t)size;
	ret->body = span_of(bytes.ptr + fields_end, (size_t)(size - fields_end));
	return 1;
}

struct bus_value bus_read_value(struct span body)
{
	struct bus_value value = { .type = '\0' };
	uint32_t word;

	/* One type's signature takes three bytes, and the value begins at the next multiple of 4.
	 */
	if (body.len < 8 || body.ptr[0] != 1 || body.ptr[2] != '\0')
		return value;
	word = get_u32(body.ptr + 4);
	if (body.ptr[1] == 'u') {
		value.type = 'u';
		value.number = word;
	} else if (body.ptr[1] == 's' && word < body.len - 8) {
		const size_t len = word < sizeof(value.text) - 1 ? word : sizeof(value.text) - 1;

		value.type = 's';
		memcpy(value.text, body.ptr + 8, len);
	}
	return value;
}

/* --- the connection --- */

/* Appends what comes next; 0 or -errno. */
static int receive(int fd, uint64_t deadline_ns, struct buf *input)
{
	const int r = cancel_poll(NULL, fd, POLLIN, deadline_ns);
	ssize_t n;

	if (r < 0)
		return r;
	buf_reserve(input, READ_SIZE);
	n = fd_read_some(fd, input->ptr + input->len, READ_SIZE);
	if (n < 0)
		return (int)n;
	if (n == 0)
		return -ECONNRESET;
	buf_advance(input, (size_t)n);
	return 0;
}

/*
 * systemd forgets what it has read together with the end of the login until more comes: it must
 * have taken that before the first call is sent.
 */
static int wait_until_taken(int fd, uint64_t deadline_ns)
{
	int left = 0;

	while (ioctl(fd, SIOCOUTQ, &left) == 0 && left > 0) {
		if (clock_now_ns() >= deadline_ns)
			return -ETIMEDOUT;
		(void)poll(NULL, 0, 1);
	}
	return 0;
}

/* Root proves who it is by the socket's credentials alone. */
static int authenticate(int fd, uint64_t deadline_ns)
{
	static const char hello[] = "\0AUTH EXTERNAL 30\r\n"; /* "0" in hexadecimal */
	AUTO_BUF line = BUF_INIT;
	int r = fd_write_all(fd, span_of(hello, sizeof(hello) - 1));

	while (r == 0 && !memchr(line.ptr, '\n', line.len)) {
		if (line.len >= LINE_MAX_BYTES)
			return -EPROTO;
		r = receive(fd, deadline_ns, &line);
	}
	if (r < 0)
		return r;
	if (!str_starts(line.ptr, "OK "))
		return -EACCES;
	r = fd_write_all(fd, span_str("BEGIN\r\n"));
	return r < 0 ? r : wait_until_taken(fd, deadline_ns);
}

int bus_connect(const char *socket_path, struct err *err)
{
	static const struct bus_call hello = {
		.destination = "org.freedesktop.DBus",
		.path = "/org/freedesktop/DBus",
		.interface = "org.freedesktop.DBus",
		.member = "Hello",
	};
	const uint64_t deadline_ns = clock_now_ns() + BUS_TIMEOUT_MS * NSEC_PER_MSEC;
	AUTO_CLOSE int fd = -1;
	struct bus_value name;
	int r = unix_connect(socket_path, &fd, err);

	if (r < 0)
		return r;
	r = authenticate(fd, deadline_ns);
	if (r < 0)
		return err_sys(err, r, "log in at '%s'", socket_path);
	if (!str_eq(socket_path, BUS_SOCKET_SYSTEMD)) {
		r = bus_call(fd, &hello, &name, err);
		if (r < 0)
			return r;
	}
	return TAKE_FD(fd);
}

int bus_call(int fd, const struct bus_call *call, struct bus_value *ret, struct err *err)
{
	const uint64_t deadline_ns = clock_now_ns() + BUS_TIMEOUT_MS * NSEC_PER_MSEC;
	AUTO_BUF output = BUF_INIT;
	AUTO_BUF input = BUF_INIT;
	struct bus_message message;
	int r, found;

	write_call(call, &output);
	r = fd_write_all(fd, buf_span(&output));
	while (r == 0) {
		found = bus_read_message(buf_span(&input), &message);
		if (found < 0)
			return err_set(err, ERR_PROTOCOL, "%s: the answer is no D-Bus message",
				       call->member);
		if (found == 0) {
			r = receive(fd, deadline_ns, &input);
			continue;
		}
		if (message.type == BUS_ERROR)
			return err_set(err, ERR_UNSUPPORTED, "%s was refused", call->member);
		if (message.type == BUS_RETURN) {
			*ret = bus_read_value(message.body);
			return 0;
		}
		buf_consume(&input, message.size); /* a signal to whom it may concern */
	}
	return err_sys(err, r, "%s", call->member);
}
