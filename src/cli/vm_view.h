/* How VM objects (the RPC interface's) look to people. Pure but for the buffers. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"
#include "cli/out.h"
#include "cli/table.h"

/* The table of `ps`; `now` is seconds since 1970. */
void vm_view_table(const json_t *vms, int64_t now, size_t width, bool has_colour, struct buf *out);

/* The ids, one a line. */
void vm_view_ids(const json_t *vms, struct buf *out);

/* All that is known of one VM, a line each; prose in lines of `width` columns (0: one). */
void vm_view_details(const json_t *vm, int64_t now, size_t width, bool has_colour, struct buf *out);

enum colour vm_view_state_colour(const char *state);

/* "4 vcpu · 8192 MiB · 8 GiB disk · debian-bookworm". */
void vm_view_spec(uint64_t vcpu, uint64_t memory_bytes, uint64_t disk_bytes, const char *image,
		  struct buf *out);

/* "3 min ago" for an RFC 3339 time in UTC; the text itself when it is none, "-" for NULL. */
void vm_view_age(const char *time, int64_t now, struct buf *out);

/* "key          value" for detail views; the value is escaped, NULL and "" are "-". */
void view_pair(struct buf *out, const char *key, const char *value);
/* The same for prose, in lines of `width` columns (0: one). */
void view_pair_prose(struct buf *out, const char *key, const char *value, size_t width);
void view_pair_size(struct buf *out, const char *key, uint64_t bytes);
void view_pair_number(struct buf *out, const char *key, uint64_t number);

/* "127.0.0.1:8080 -> 80", one of a VM's "ports". */
void vm_view_port(const json_t *port, struct buf *out);
