/*
 * Names and ids: the rules, errors that state them, and making new ones. Nothing is ever rewritten
 * to fit: a name is right or refused.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/macros.h"

#define VM_NAME_MAX	  63 /* a DNS label */
#define VM_NAME_SIZE	  (VM_NAME_MAX + 1)
#define ARTIFACT_NAME_MAX 128 /* images and kernels: one file name, with room for a suffix */
#define VM_ID_LENGTH	  32  /* hexadecimal digits, lower case */
#define VM_ID_SIZE	  (VM_ID_LENGTH + 1)

/* [a-z0-9]([a-z0-9-]{0,61}[a-z0-9])? */
bool name_is_vm(const char *name);

/* Letters, digits, '.', '-', '_'; no leading dot; 1 to ARTIFACT_NAME_MAX bytes. */
bool name_is_artifact(const char *name);

/* 32 lower-case hexadecimal digits. */
bool name_is_vm_id(const char *text);

/* The same as errors (ERR_INVALID) that quote the name and state the rule. NULL counts as empty. */
int name_check_vm(const char *name, struct err *err) MUST_CHECK;
int name_check_snapshot(const char *name, struct err *err) MUST_CHECK; /* as a VM's */
int name_check_image(const char *name, struct err *err) MUST_CHECK;
int name_check_kernel(const char *name, struct err *err) MUST_CHECK;

/* Fills `ret` with 128 random bits from the kernel as 32 hexadecimal digits. 0 or -errno. */
int model_new_id(char ret[static VM_ID_SIZE]) MUST_CHECK;

/*
 * Makes an adjective-noun name ("brisk-otter") that `is_taken` says is free; after some collisions
 * a number is appended ("brisk-otter-4711"). `is_taken` may be NULL. ERR_LIMIT when it keeps saying
 * taken.
 */
int name_generate(bool (*is_taken)(void *context, const char *name), void *context,
		  char ret[static VM_NAME_SIZE], struct err *err) MUST_CHECK;
