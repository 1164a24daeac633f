/* What the tests of banger-vmm share: an API with files to configure, in a folder of its own. */
#pragma once

#include "vmmshim/api.h"

struct shim {
	struct api api;
	char folder[64];
	unsigned logger_calls;
	unsigned metrics_calls;
	unsigned flush_calls;
};

/* With the files `kernel`, `initrd`, `disk`, `other` (and a folder `folder`) in it. */
void shim_init(struct shim *shim);
void shim_done(struct shim *shim);

/* "FOLDER/name"; valid until the next call but three. */
const char *shim_path(const struct shim *shim, const char *name);

/*
 * Sends a request; `body` NULL for none; every '@' in it becomes the folder. Returns the action;
 * `ret_status` and `ret_text` (owned) are the answer's.
 */
enum api_action shim_send(struct shim *shim, const char *method, const char *path, const char *body,
			  unsigned *ret_status, char **ret_text);

/* Sends, and checks status and a part of the answer (the fault's text when it is over 399). */
void shim_expect(struct shim *shim, const char *method, const char *path, const char *body,
		 unsigned status, const char *text);

/* A good body for a route ("PUT", "/drives/{id}"), or NULL. */
const char *shim_good_body(const char *method, const char *path);

/* The path with a good id in place of {id}. */
void shim_route_path(const char *path, char *into, size_t size);
