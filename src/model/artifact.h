/*
 * Records of images and kernels: what the database knows of the folders images/NAME and
 * kernels/NAME. The folder's own image.json or kernel.json is the origin; the record lets VMs refer
 * to it and tells, after a crash, what had been begun.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

/* Stored before the first side effect: a pull or deletion that a crash cut short is swept by it. */
enum artifact_state {
	ARTIFACT_PULLING,
	ARTIFACT_READY,
	ARTIFACT_DELETING,
	ARTIFACT_STATE_COUNT,
};

const char *artifact_state_name(enum artifact_state state);
bool artifact_state_from_name(const char *name, enum artifact_state *ret) MUST_CHECK;

/* Strings are owned; NULL when unknown (as good as always while it is pulling). */
struct image_record {
	char *name;
	enum artifact_state state;
	char *kind;   /* "managed", "registered" */
	char *recipe; /* the catalog entry it was built from */
	char *kernel; /* its default kernel; while it is pulling: one that is made along with it */
	char *source; /* the reference it was pulled from, as text */
	char *digest; /* of the manifest or bundle that it was made of, "sha256:..." */
	uint64_t size_bytes;
	uint64_t used_bytes;
	bool has_init;
	bool is_sized;	  /* its size was asked for, not chosen; only in image.json */
	int64_t built_at; /* seconds since 1970, 0 when unknown */
	uint64_t in_use;  /* VMs that refer to it; filled by reading, ignored by writing */
};

struct kernel_record {
	char *name;
	enum artifact_state state;
	char *kind; /* "package" */
	char *package;
	char *version; /* the package's */
	char *release; /* uname -r */
	bool has_elf;
	bool has_bzimage;
	uint64_t module_count;
	uint64_t size_bytes;
	int64_t pulled_at;
	uint64_t in_use;
};

void image_record_init(struct image_record *image);
void image_record_done(struct image_record *image);
#define AUTO_IMAGE_RECORD CLEANUP(image_record_done) struct image_record
void kernel_record_init(struct kernel_record *kernel);
void kernel_record_done(struct kernel_record *kernel);
#define AUTO_KERNEL_RECORD CLEANUP(kernel_record_done) struct kernel_record

struct image_record_list {
	struct image_record *items;
	size_t count;
	size_t cap;
};

struct kernel_record_list {
	struct kernel_record *items;
	size_t count;
	size_t cap;
};

void image_record_list_done(struct image_record_list *list);
#define AUTO_IMAGE_RECORD_LIST CLEANUP(image_record_list_done) struct image_record_list
void kernel_record_list_done(struct kernel_record_list *list);
#define AUTO_KERNEL_RECORD_LIST CLEANUP(kernel_record_list_done) struct kernel_record_list
struct image_record *image_record_list_add(struct image_record_list *list);
struct kernel_record *kernel_record_list_add(struct kernel_record_list *list);
