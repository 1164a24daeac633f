/* The options that describe a new VM, shared by vm create and vm run, and their way into a request.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/macros.h"
#include "base/strv.h"
#include "cli/opt.h"

struct cli;

struct spec_args {
	const char *name;
	const char *image;
	const char *kernel;
	struct opt_number vcpu;
	struct opt_number memory;
	struct opt_number disk;
	struct opt_number system_overlay;
	struct strv publish;
	bool nat;
	bool cold;
};

int spec_args_check_name(const char *text, struct err *err) MUST_CHECK;
int spec_args_check_image(const char *text, struct err *err) MUST_CHECK;
int spec_args_check_kernel(const char *text, struct err *err) MUST_CHECK;
int spec_args_check_vcpu(uint64_t value, struct err *err) MUST_CHECK;
int spec_args_check_memory(uint64_t value, struct err *err) MUST_CHECK;
int spec_args_check_disk(uint64_t value, struct err *err) MUST_CHECK;
int spec_args_check_publish(const char *text, struct err *err) MUST_CHECK;
int spec_args_check_overlay(uint64_t value, struct err *err) MUST_CHECK;
void spec_args_note_cpus(struct buf *out);
void spec_args_note_memory(struct buf *out);

/* Rows for a table whose struct `owner` has the member `spec`. */
#define SPEC_OPT_FIELD(owner, field) offsetof(owner, spec) + offsetof(struct spec_args, field)
#define SPEC_OPTS(owner)                                                                       \
	{ .type = OPT_STRING,                                                                  \
	  .letter = 'n',                                                                       \
	  .name = "name",                                                                      \
	  .offset = SPEC_OPT_FIELD(owner, name),                                               \
	  .metavar = "NAME",                                                                   \
	  .help = "name of the VM (default: two words made up)",                               \
	  .check = spec_args_check_name },                                                     \
		{ .type = OPT_STRING,                                                          \
		  .letter = 'i',                                                               \
		  .name = "image",                                                             \
		  .offset = SPEC_OPT_FIELD(owner, image),                                      \
		  .metavar = "IMAGE",                                                          \
		  .help = "root file system; built when it is not there yet",                  \
		  .check = spec_args_check_image,                                              \
		  .completes = COMPLETES_IMAGE },                                              \
		{ .type = OPT_STRING,                                                          \
		  .name = "kernel",                                                            \
		  .offset = SPEC_OPT_FIELD(owner, kernel),                                     \
		  .metavar = "KERNEL",                                                         \
		  .help = "kernel (default: the image's)",                                     \
		  .check = spec_args_check_kernel,                                             \
		  .completes = COMPLETES_KERNEL },                                             \
		{ .type = OPT_NUMBER,                                                          \
		  .name = "vcpu",                                                              \
		  .offset = SPEC_OPT_FIELD(owner, vcpu),                                       \
		  .metavar = "N",                                                              \
		  .help = "number of virtual cpus",                                            \
		  .min = 1,                                                                    \
		  .max = LIMIT_VCPUS,                                                          \
		  .check_number = spec_args_check_vcpu,                                        \
		  .note = spec_args_note_cpus },                                               \
		{ .type = OPT_SIZE,                                                            \
		  .letter = 'm',                                                               \
		  .name = "memory",                                                            \
		  .offset = SPEC_OPT_FIELD(owner, memory),                                     \
		  .metavar = "SIZE",                                                           \
		  .help = "memory, in MiB or with a unit",                                     \
		  .min = (uint64_t)LIMIT_MEMORY_MIN_MIB << 20,                                 \
		  .max = (uint64_t)LIMIT_MEMORY_MAX_MIB << 20,                                 \
		  .unit = 1 << 20,                                                             \
		  .check_number = spec_args_check_memory,                                      \
		  .note = spec_args_note_memory },                                             \
		{ .type = OPT_SIZE,                                                            \
		  .name = "disk-size",                                                         \
		  .offset = SPEC_OPT_FIELD(owner, disk),                                       \
		  .metavar = "SIZE",                                                           \
		  .help = "size of the work disk, which is /root in the guest",                \
		  .min = LIMIT_DISK_MIN_BYTES,                                                 \
		  .max = LIMIT_DISK_MAX_BYTES,                                                 \
		  .check_number = spec_args_check_disk },                                      \
		{ .type = OPT_STRINGS,                                                         \
		  .letter = 'p',                                                               \
		  .name = "publish",                                                           \
		  .offset = SPEC_OPT_FIELD(owner, publish),                                    \
		  .metavar = "[IP:]HOST:GUEST",                                                \
		  .help = "publish a TCP port of the guest at the host's loopback, or at IP; " \
			  "HOST "                                                              \
			  "0 is any that is free; may be repeated",                            \
		  .check = spec_args_check_publish },                                          \
		{ .type = OPT_FLAG,                                                            \
		  .name = "nat",                                                               \
		  .offset = SPEC_OPT_FIELD(owner, nat),                                        \
		  .help = "let it reach the network through the host" },                       \
		{ .type = OPT_FLAG,                                                            \
		  .name = "cold",                                                              \
		  .offset = SPEC_OPT_FIELD(owner, cold),                                       \
		  .help = "boot it, also where there is a template" },                         \
	{                                                                                      \
		.type = OPT_SIZE, .name = "system-overlay-size",                               \
		.offset = SPEC_OPT_FIELD(owner, system_overlay), .metavar = "SIZE",            \
		.help = "size of the root file system, image included",                        \
		.min = LIMIT_DISK_MIN_BYTES, .max = LIMIT_DISK_MAX_BYTES,                      \
		.check_number = spec_args_check_overlay                                        \
	}

/* The parameters of vm.create that were given. */
json_t *spec_args_params(const struct spec_args *args) MUST_CHECK;

/* Prints "spec: 4 vcpu · ..." with what the daemon would use where nothing was given. */
int spec_args_announce(struct cli *cli, const struct spec_args *args, struct err *err) MUST_CHECK;

/* Tells where the ports of a new VM are, the result of vm.create. */
void spec_args_tell_ports(struct cli *cli, const json_t *result);

/* The help's tail: what a VM gets here where nothing is said. */
void spec_args_help_tail(struct cli *cli, struct buf *out);
