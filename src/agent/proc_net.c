#include "agent/proc_net.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/parse.h"
#include "base/text.h"

#define PROC_NET_BYTES_MAX (8U << 20) /* over 50000 sockets in one table */
#define PROCESS_NAME_MAX   64  /* the kernel's TASK_COMM_LEN is 16; its threads have longer ones */
#define COMMAND_MAX	   120 /* bytes shown of a process's arguments */
#define COMMANDS_MAX	   (64U << 10) /* of all of them together: the answer has its limit */
#define TCP_STATE_LISTEN   10	       /* TCP_LISTEN and TCP_CLOSE of net/tcp_states.h */
#define TCP_STATE_CLOSE	   7

struct protocol {
	const char *path;
	const char *name;
	bool is_ipv6;
	uint32_t listens_in; /* the state in which a socket of it waits for peers */
};

static const struct protocol protocols[NET_PROTOCOL_COUNT] = {
	[NET_TCP] = { "/proc/net/tcp", "tcp", false, TCP_STATE_LISTEN },
	[NET_TCP6] = { "/proc/net/tcp6", "tcp6", true, TCP_STATE_LISTEN },
	[NET_UDP] = { "/proc/net/udp", "udp", false, TCP_STATE_CLOSE },
	[NET_UDP6] = { "/proc/net/udp6", "udp6", true, TCP_STATE_CLOSE },
};

static bool hex_value(uint8_t byte, uint32_t *ret)
{
	if (byte >= '0' && byte <= '9')
		*ret = (uint32_t)(byte - '0');
	else if (byte >= 'A' && byte <= 'F')
		*ret = (uint32_t)(byte - 'A' + 10);
	else if (byte >= 'a' && byte <= 'f')
		*ret = (uint32_t)(byte - 'a' + 10);
	else
		return false;
	return true;
}

/* Exactly `digits` (at most 8) hexadecimal digits. */
static bool parse_hex(struct span *cursor, size_t digits, uint32_t *ret)
{
	uint32_t value = 0;

	if (cursor->len < digits)
		return false;
	for (size_t i = 0; i < digits; i++) {
		uint32_t digit;

		if (!hex_value(cursor->ptr[i], &digit))
			return false;
		value = value << 4 | digit;
	}
	*cursor = span_skip(*cursor, digits);
	*ret = value;
	return true;
}

/* "0100007F:1F90": 32-bit words in the machine's order, as the kernel prints them. */
static bool parse_endpoint(struct span *cursor, bool is_ipv6, uint8_t address[static 16],
			   uint16_t *ret_port)
{
	const size_t words = is_ipv6 ? 4 : 1;
	uint32_t port;

	memset(address, 0, 16);
	for (size_t i = 0; i < words; i++) {
		uint32_t word;

		if (!parse_hex(cursor, 8, &word))
			return false;
		memcpy(address + 4 * i, &word, sizeof(word));
	}
	if (!parse_byte(cursor, ':') || !parse_hex(cursor, 4, &port))
		return false;
	*ret_port = (uint16_t)port;
	return true;
}

static void skip_blanks(struct span *cursor)
{
	while (cursor->len > 0 && cursor->ptr[0] == ' ')
		*cursor = span_skip(*cursor, 1);
}

static void skip_word(struct span *cursor)
{
	skip_blanks(cursor);
	while (cursor->len > 0 && cursor->ptr[0] != ' ')
		*cursor = span_skip(*cursor, 1);
	skip_blanks(cursor);
}

bool net_socket_parse(struct span line, enum net_protocol protocol, struct net_socket *ret)
{
	const bool is_ipv6 = protocols[protocol].is_ipv6;
	struct net_socket found = { .protocol = protocol };
	uint8_t remote[16];
	uint16_t remote_port;
	uint64_t slot, uid, inode;

	skip_blanks(&line);
	if (!parse_u64(&line, UINT32_MAX, &slot) || !parse_byte(&line, ':'))
		return false;
	skip_blanks(&line);
	if (!parse_endpoint(&line, is_ipv6, found.address, &found.port))
		return false;
	skip_blanks(&line);
	if (!parse_endpoint(&line, is_ipv6, remote, &remote_port))
		return false;
	skip_blanks(&line);
	if (!parse_hex(&line, 2, &found.state))
		return false;
	skip_word(&line); /* queues */
	skip_word(&line); /* timer */
	skip_word(&line); /* retransmits */
	if (!parse_u64(&line, UINT32_MAX, &uid))
		return false;
	skip_word(&line); /* timeout */
	if (!parse_u64(&line, INT64_MAX, &inode))
		return false;

	found.inode = inode;
	*ret = found;
	return true;
}

bool net_socket_listens(const struct net_socket *socket)
{
	return socket->state == protocols[socket->protocol].listens_in && socket->port != 0;
}

void net_socket_address(const struct net_socket *socket, char ret[static 46])
{
	const int family = protocols[socket->protocol].is_ipv6 ? AF_INET6 : AF_INET;

	if (!inet_ntop(family, socket->address, ret, 46))
		ret[0] = '\0';
}

struct socket_table {
	struct net_socket sockets[PROC_NET_SOCKETS_MAX];
	json_t *rows[PROC_NET_SOCKETS_MAX]; /* borrowed from the answer */
	size_t count;
	size_t commands_size;
};

static void table_read(struct socket_table *table, enum net_protocol protocol)
{
	AUTO_BUF text = BUF_INIT;
	struct span rest, line;

	/* A kernel without IPv6 has no such file; a table over the limit is no table. */
	if (file_read(AT_FDCWD, protocols[protocol].path, PROC_NET_BYTES_MAX, &text) < 0)
		return;

	rest = buf_span(&text);
	while (parse_until(&rest, '\n', &line)) {
		struct net_socket socket;

		if (!net_socket_parse(line, protocol, &socket) || !net_socket_listens(&socket))
			continue;
		if (table->count == PROC_NET_SOCKETS_MAX)
			return;
		table->sockets[table->count++] = socket;
	}
}

/* Its arguments with blanks between them, as ps shows them; a process may write over them. */
static void row_add_command(struct socket_table *table, json_t *row, int pid_folder)
{
	AUTO_CLOSE int fd = openat(pid_folder, "cmdline", O_RDONLY | O_CLOEXEC);
	char text[COMMAND_MAX + 1];
	ssize_t n;

	if (fd < 0 || table->commands_size > COMMANDS_MAX)
		return;
	n = fd_read_some(fd, text, COMMAND_MAX);
	while (n > 0 && text[n - 1] == '\0')
		n--;
	if (n <= 0)
		return;
	for (ssize_t i = 0; i < n; i++) {
		if (text[i] == '\0')
			text[i] = ' ';
	}
	text[n] = '\0';
	table->commands_size += (size_t)n;
	json_put_str(row, "command", text);
}

static void row_name_process(struct socket_table *table, json_t *row, int pid_folder, uint64_t pid)
{
	AUTO_BUF text = BUF_INIT;

	json_put_u64(row, "pid", pid);
	row_add_command(table, row, pid_folder);
	if (file_read(pid_folder, "comm", PROCESS_NAME_MAX, &text) < 0)
		return;
	if (text.len > 0 && text.ptr[text.len - 1] == '\n')
		buf_truncate(&text, text.len - 1);
	json_put_str(row, "process", text.ptr);
}

static json_t *row_of_inode(const struct socket_table *table, uint64_t inode)
{
	for (size_t i = 0; i < table->count; i++) {
		/* The first process that holds it names it: a listener's children share it. */
		if (table->sockets[i].inode == inode && json_get_u64(table->rows[i], "pid") == 0)
			return table->rows[i];
	}
	return NULL;
}

static bool parse_socket_link(struct span link, uint64_t *ret_inode)
{
	uint64_t inode;

	if (!parse_literal(&link, "socket:[") || !parse_u64(&link, INT64_MAX, &inode) ||
	    !parse_byte(&link, ']') || !parse_end(&link))
		return false;
	*ret_inode = inode;
	return true;
}

struct process_visit {
	struct socket_table *table;
	int proc;
	int pid_folder;
	int fd_folder;
	uint64_t pid;
};

static int visit_fd(void *context, const char *name)
{
	const struct process_visit *visit = context;
	char link[64];
	uint64_t inode;
	const ssize_t n = readlinkat(visit->fd_folder, name, link, sizeof(link));

	if (n <= 0 || !parse_socket_link(span_of(link, (size_t)n), &inode))
		return 0;

	json_t *row = row_of_inode(visit->table, inode);

	if (row)
		row_name_process(visit->table, row, visit->pid_folder, visit->pid);
	return 0;
}

/* A process may end at any time: then it holds no socket any more. */
static int visit_process(void *context, const char *name)
{
	struct process_visit *visit = context;
	AUTO_CLOSE int pid_folder = -1;
	AUTO_CLOSE int fd_folder = -1;

	if (!parse_u64_text(name, INT32_MAX, &visit->pid))
		return 0;
	pid_folder = dir_open_at(visit->proc, name);
	if (pid_folder < 0)
		return 0;
	fd_folder = dir_open_at(pid_folder, "fd");
	if (fd_folder < 0)
		return 0;
	visit->pid_folder = pid_folder;
	visit->fd_folder = fd_folder;
	return dir_each(fd_folder, visit_fd, visit);
}

static void table_name_processes(struct socket_table *table)
{
	AUTO_CLOSE int proc = dir_open("/proc");
	struct process_visit visit = { .table = table, .proc = proc };

	if (proc >= 0 && table->count > 0)
		IGNORE_RESULT(
			dir_each(proc, visit_process, &visit)); /* what could be named is named */
}

static json_t *socket_row(const struct net_socket *socket)
{
	char address[46];
	json_t *row = json_new_object();

	net_socket_address(socket, address);
	json_put_str(row, "protocol", protocols[socket->protocol].name);
	json_put_str(row, "address", address);
	json_put_u64(row, "port", socket->port);
	json_put_u64(row, "pid", 0);
	json_put_str(row, "process", "");
	json_put_str(row, "command", "");
	return row;
}

json_t *proc_net_ports(void)
{
	/* Too big for a stack frame; this process answers one request and ends. */
	static struct socket_table table;
	json_t *answer = json_new_object();
	json_t *rows = json_new_array();

	table.count = 0;
	table.commands_size = 0;
	for (size_t i = 0; i < NET_PROTOCOL_COUNT; i++)
		table_read(&table, (enum net_protocol)i);
	for (size_t i = 0; i < table.count; i++) {
		table.rows[i] = socket_row(&table.sockets[i]);
		json_add(rows, table.rows[i]);
	}
	table_name_processes(&table);
	json_put(answer, "ports", rows);
	return answer;
}
