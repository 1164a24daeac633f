/* vm set. */
#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/spec_args.h"
#include "cli/vm_many.h"
#include "cli/vm_view.h"
#include "model/names.h"

struct set_args {
	const char *name;
	struct opt_number vcpu;
	struct opt_number memory;
	struct opt_number disk;
	struct opt_maybe nat;
};

static const struct opt set_opts[] = {
	{ .type = OPT_STRING,
	  .letter = 'n',
	  .name = "name",
	  .offset = offsetof(struct set_args, name),
	  .metavar = "NAME",
	  .help = "another name; of one VM, also while it runs",
	  .check = spec_args_check_name },
	{ .type = OPT_NUMBER,
	  .name = "vcpu",
	  .offset = offsetof(struct set_args, vcpu),
	  .metavar = "N",
	  .help = "number of virtual cpus",
	  .min = 1,
	  .max = LIMIT_VCPUS,
	  .check_number = spec_args_check_vcpu,
	  .note = spec_args_note_cpus },
	{ .type = OPT_SIZE,
	  .letter = 'm',
	  .name = "memory",
	  .offset = offsetof(struct set_args, memory),
	  .metavar = "SIZE",
	  .help = "memory, in MiB or with a unit",
	  .min = (uint64_t)LIMIT_MEMORY_MIN_MIB << 20,
	  .max = (uint64_t)LIMIT_MEMORY_MAX_MIB << 20,
	  .unit = 1 << 20,
	  .check_number = spec_args_check_memory,
	  .note = spec_args_note_memory },
	{ .type = OPT_SIZE,
	  .name = "disk-size",
	  .offset = offsetof(struct set_args, disk),
	  .metavar = "SIZE",
	  .help = "size of the work disk, which only grows",
	  .min = LIMIT_DISK_MIN_BYTES,
	  .max = LIMIT_DISK_MAX_BYTES,
	  .check_number = spec_args_check_disk },
	{ .type = OPT_MAYBE,
	  .name = "nat",
	  .offset = offsetof(struct set_args, nat),
	  .help = "reach the network through the host; also while it runs" },
};

static void put_number(json_t *params, const char *key, const struct opt_number *number)
{
	if (number->is_set)
		json_put_u64(params, key, number->value);
}

static void put_params(const void *context, json_t *params)
{
	const struct set_args *args = context;

	if (args->name)
		json_put_str(params, "name", args->name);
	put_number(params, "vcpu", &args->vcpu);
	put_number(params, "memory_bytes", &args->memory);
	put_number(params, "disk_bytes", &args->disk);
	if (args->nat.is_set)
		json_put_bool(params, "nat", args->nat.value);
}

static void describe(const char *name, const json_t *result, struct buf *out)
{
	const json_t *vm = json_object_get(result, "vm");
	const char *now = json_get_str(vm, "name");

	if (now && !str_eq(now, name)) {
		buf_add_str(out, "now '");
		text_escape(out, span_str(now), VM_NAME_MAX);
		buf_add_str(out, "', ");
	}
	vm_view_spec(json_get_u64(vm, "vcpu"), json_get_u64(vm, "memory_bytes"),
		     json_get_u64(vm, "disk_bytes"), json_get_str(vm, "image"), out);
	if (json_get_bool(vm, "nat"))
		buf_add_str(out, " · NAT");
}

static const struct many set_many = {
	.method = "vm.set",
	.phrase = "change",
	.put_params = put_params,
	.describe = describe,
};

static int run_set(struct cli *cli, const struct invocation *invocation)
{
	const struct set_args *args = invocation->args;
	struct err err = ERR_INIT;

	if (!args->name && !args->vcpu.is_set && !args->memory.is_set && !args->disk.is_set &&
	    !args->nat.is_set)
		(void)err_set(&err, ERR_INVALID, "nothing is to be changed");
	else if (args->name && invocation->parsed->operand_count > 1)
		(void)err_set(&err, ERR_INVALID, "several VMs cannot all be named '%s'",
			      args->name);
	else
		return many_run(cli, invocation, &set_many);
	return cli_usage(cli, invocation->command, &err);
}

const struct command vm_set_command = {
	.noun = "vm",
	.verb = "set",
	.operands = "VM...",
	.operands_min = 1,
	.operands_max = SIZE_MAX,
	.completes = COMPLETES_VM,
	.summary = "change the name, vcpus, memory, disk size or NAT of VMs",
	.description = "A VM must be stopped for all but its name and NAT. The guest grows the "
		       "file system "
		       "on a larger disk at its next start. " MANY_DESCRIPTION,
	.opts = set_opts,
	.opt_count = ARRAY_LEN(set_opts),
	.args_size = sizeof(struct set_args),
	.run = run_set,
};
