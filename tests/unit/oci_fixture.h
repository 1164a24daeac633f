/* A folder of its own for a test, and image layouts in it. */
#pragma once

#include <stddef.h>

#include "base/span.h"
#include "oci/manifest.h"

struct oci_fixture {
	char *dir;	 /* owned */
	size_t fd_count; /* open descriptors at the beginning */
};

/* For cmocka: *state is a struct oci_fixture. The end fails when a descriptor was left open. */
int oci_fixture_setup(void **state);
int oci_fixture_teardown(void **state);

/* JSON with single quotes, so that it can be read in C, as JSON; the caller frees it. */
char *oci_fixture_quoted(const char *text);

/* Writes a file in the folder; the second turns quotes. */
void oci_fixture_put_bytes(const struct oci_fixture *f, const char *name, struct span bytes);
void oci_fixture_put(const struct oci_fixture *f, const char *name, const char *text);

/* Makes the folder a layout without images. */
void oci_fixture_make_layout(const struct oci_fixture *f);

/* Writes a blob into the layout. The second turns quotes. */
struct oci_descriptor oci_fixture_put_blob(const struct oci_fixture *f, struct span bytes);
struct oci_descriptor oci_fixture_put_json(const struct oci_fixture *f, const char *text);
