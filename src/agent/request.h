/* The first line of a connection as typed values (docs/agent-protocol.md). Pure. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "wire/protocol.h"

/* What the request members are; which of them an operation has is in request.c's table. */
struct request {
	enum wire_op op;
	char *op_name;	       /* owned */
	char *cwd;	       /* owned; exec; absolute, or NULL for the user's home */
	char *user;	       /* owned; exec; NULL for root */
	bool has_tty;	       /* exec */
	uint64_t rows;	       /* exec; 0 when not given */
	uint64_t cols;	       /* exec; 0 when not given */
	uint64_t timeout_ms;   /* freeze; 0 when not given */
	uint64_t system_bytes; /* grow; 0 when not given, as the next */
	uint64_t work_bytes;
	char *path;	  /* owned; put, get, look; absolute */
	bool is_staged;	  /* put: all of it, or nothing is changed */
	bool has_mise;	  /* exec: through mise where that applies */
	bool follows;	  /* get: `path` may be a link, and what it leads to is meant */
	char *mode;	  /* owned; shutdown */
	bool is_reboot;	  /* shutdown */
	uint64_t tcp;	  /* forward; 0 when `unix_path` is given */
	char *unix_path;  /* owned; forward; absolute */
	json_t *identity; /* owned; identity */
	bool is_renewal;  /* identity: the machine was another one */
};

/* A JSON request line without its newline. Release with request_done(); untouched on failure. */
int request_parse(struct span line, struct request *ret, struct err *err) MUST_CHECK;
void request_done(struct request *request);

enum http_target { HTTP_HEALTH, HTTP_PORTS, HTTP_NOT_FOUND, HTTP_BAD_METHOD };

/*
 * Whether a first line without its newline is an HTTP/1.x request line, and for what. False: it is
 * none, and `ret` is untouched.
 */
bool request_parse_http(struct span line, enum http_target *ret) MUST_CHECK;
