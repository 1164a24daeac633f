/*
 * Checking a VM's spec: every number in its range, every name by its rule. The CLI checks single
 * values before it sends them, the daemon checks the whole spec again by itself.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

struct vm_spec;

/* What the host has; 0 means unknown, then only the fixed limits hold. */
struct spec_host {
	uint32_t cpus;
	uint64_t memory_bytes;
};

/*
 * Each is 0, or ERR_INVALID naming the value, the smallest and largest that are allowed, and what
 * the host has. More vcpus than the host has cpus are allowed, more memory than it has is not.
 */
int spec_check_vcpu(uint64_t vcpu, const struct spec_host *host, struct err *err) MUST_CHECK;
int spec_check_memory(uint64_t bytes, const struct spec_host *host, struct err *err) MUST_CHECK;
int spec_check_disk(uint64_t bytes, struct err *err) MUST_CHECK;
int spec_check_system_overlay(uint64_t bytes, struct err *err) MUST_CHECK;

/* All of the above, the published ports, and the names of image and kernel (which must be set). */
int vm_spec_check(const struct vm_spec *spec, const struct spec_host *host, struct err *err)
	MUST_CHECK;
