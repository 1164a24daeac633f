/*
 * Records of templates: what the database knows of the folders templates/ID. A template is a booted
 * machine at rest; the VMs that are begun from it have its image, kernel, vcpus and memory. A
 * record is there as soon as its folder is complete, and goes before it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "model/names.h"

#define TEMPLATE_KEY_SIZE 65 /* SHA-256 in hexadecimal digits, and the end */

/* Strings are owned and never NULL in a stored one. */
struct template_record {
	char id[VM_ID_SIZE];
	char key[TEMPLATE_KEY_SIZE]; /* of everything that a VM must have in common with it */
	char *image;
	char *kernel;
	uint32_t vcpu;
	uint64_t memory_bytes;
	uint64_t system_bytes; /* sizes of its disks: VMs have at least these */
	uint64_t work_bytes;
	uint64_t used_bytes; /* what the folder occupies */
	int64_t created_at;  /* seconds since 1970 */
	int64_t used_at;     /* when a VM was begun from it last */
	uint64_t build_ms;   /* how long it took */
};

void template_record_init(struct template_record *record);
void template_record_done(struct template_record *record);
#define AUTO_TEMPLATE_RECORD CLEANUP(template_record_done) struct template_record

struct template_record_list {
	struct template_record *items;
	size_t count;
	size_t cap;
};

void template_record_list_done(struct template_record_list *list);
#define AUTO_TEMPLATE_RECORD_LIST CLEANUP(template_record_list_done) struct template_record_list
struct template_record *template_record_list_add(struct template_record_list *list);
