/* image pull, register and promote, and image cache prune. */
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/host_path.h"
#include "cli/image_view.h"
#include "cli/spec_args.h"
#include "model/names.h"

/* --- pull --- */

struct pull_args {
	const char *name;
	struct opt_number size;
};

static const struct opt pull_opts[] = {
	{ .type = OPT_STRING,
	  .letter = 'n',
	  .name = "name",
	  .offset = offsetof(struct pull_args, name),
	  .metavar = "NAME",
	  .help = "name of the image (default: from the reference, alpine-3.20)",
	  .check = name_check_image },
	{ .type = OPT_SIZE,
	  .name = "size",
	  .offset = offsetof(struct pull_args, size),
	  .metavar = "SIZE",
	  .help = "size of its file system (default: content times 1.5, at least 1 GiB)",
	  .min = LIMIT_DISK_MIN_BYTES,
	  .max = LIMIT_DISK_MAX_BYTES },
};

static int run_pull(struct cli *cli, const struct invocation *invocation)
{
	const struct pull_args *args = invocation->args;
	const char *given = invocation->parsed->operands[0];
	AUTO_FREE char *reference = host_path_reference(given);
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;
	json_t *params;

	if (spec_args_check_image(given, &err) < 0)
		return cli_usage(cli, invocation->command, &err);
	params = json_new_object();
	json_put_str(params, "reference", reference);
	if (args->name)
		json_put_str(params, "name", args->name);
	if (args->size.is_set)
		json_put_u64(params, "size_bytes", args->size.value);
	if (ask(cli, "image.pull", params, &result, &err) < 0) {
		ask_context(&err, "cannot pull image", given);
		return cli_fail(cli, &err);
	}
	return image_view_print(cli, result);
}

const struct command image_pull_command = {
	.noun = "image",
	.verb = "pull",
	.operands = "REFERENCE",
	.operands_min = 1,
	.operands_max = 1,
	.completes = COMPLETES_IMAGE,
	.summary = "make an image of a catalog's entry or of any OCI image",
	.description =
		"REFERENCE is a name of the catalog, an image of a registry "
		"(docker.io/library/alpine:3.20, ghcr.io/org/image@sha256:..., "
		"127.0.0.1:5000/x:y), "
		"a folder with an OCI layout (oci:DIR[:TAG]), or a file as from 'docker save' "
		"(docker-archive:FILE). Credentials are those of docker and podman.\n"
		"An image that is there already is replaced, unless VMs use it; one of the same "
		"digest stays as it is.",
	.opts = pull_opts,
	.opt_count = ARRAY_LEN(pull_opts),
	.args_size = sizeof(struct pull_args),
	.run = run_pull,
};

/* --- register and promote --- */

struct register_args {
	const char *rootfs;
	const char *kernel_ref;
	const char *kernel;
	const char *initrd;
	const char *modules;
	const char *work_seed;
};

static const struct opt register_opts[] = {
	{ .type = OPT_STRING,
	  .name = "rootfs",
	  .offset = offsetof(struct register_args, rootfs),
	  .metavar = "FILE",
	  .completes = COMPLETES_FILE,
	  .help = "an ext4 file system, not partitioned; it is used where it is" },
	{ .type = OPT_STRING,
	  .name = "kernel-ref",
	  .offset = offsetof(struct register_args, kernel_ref),
	  .metavar = "KERNEL",
	  .help = "its kernel, one of 'kernel list' (default: debian-cloud)",
	  .check = spec_args_check_kernel,
	  .completes = COMPLETES_KERNEL },
	{ .type = OPT_STRING,
	  .name = "kernel",
	  .offset = offsetof(struct register_args, kernel),
	  .metavar = "FILE",
	  .completes = COMPLETES_FILE,
	  .help = "its kernel as a file, imported under the image's name" },
	{ .type = OPT_STRING,
	  .name = "initrd",
	  .offset = offsetof(struct register_args, initrd),
	  .metavar = "FILE",
	  .completes = COMPLETES_FILE,
	  .help = "the kernel's initrd, kept with it" },
	{ .type = OPT_STRING,
	  .name = "modules",
	  .offset = offsetof(struct register_args, modules),
	  .metavar = "DIR",
	  .completes = COMPLETES_FOLDER,
	  .help = "the kernel's modules (lib/modules/RELEASE)" },
	{ .type = OPT_STRING,
	  .name = "work-seed",
	  .offset = offsetof(struct register_args, work_seed),
	  .metavar = "FILE",
	  .completes = COMPLETES_FILE,
	  .help = "what work disks begin as, an ext4 file system (default: empty)" },
};

static int check_register(const struct register_args *args, struct err *err)
{
	if (!args->rootfs)
		return err_set(err, ERR_INVALID, "--rootfs is needed");
	if (args->kernel && args->kernel_ref)
		return err_set(err, ERR_INVALID, "--kernel and --kernel-ref exclude each other");
	if (!args->kernel && (args->initrd || args->modules))
		return err_set(err, ERR_INVALID, "--initrd and --modules belong to --kernel");
	return 0;
}

static void put_path(json_t *params, const char *key, const char *path)
{
	AUTO_FREE char *absolute = path ? host_path_absolute(path) : NULL;

	if (absolute)
		json_put_str(params, key, absolute);
}

static int run_register(struct cli *cli, const struct invocation *invocation)
{
	const struct register_args *args = invocation->args;
	const char *name = invocation->parsed->operands[0];
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;
	json_t *params;

	if (name_check_image(name, &err) < 0 || check_register(args, &err) < 0)
		return cli_usage(cli, invocation->command, &err);
	params = json_new_object();
	json_put_str(params, "name", name);
	put_path(params, "rootfs", args->rootfs);
	put_path(params, "work_seed", args->work_seed);
	put_path(params, "kernel_file", args->kernel);
	put_path(params, "initrd_file", args->initrd);
	put_path(params, "modules_dir", args->modules);
	if (args->kernel_ref)
		json_put_str(params, "kernel", args->kernel_ref);
	if (ask(cli, "image.register", params, &result, &err) < 0) {
		ask_context(&err, "cannot register image", name);
		return cli_fail(cli, &err);
	}
	return image_view_print(cli, result);
}

const struct command image_register_command = {
	.noun = "image",
	.verb = "register",
	.operands = "NAME",
	.operands_min = 1,
	.operands_max = 1,
	.summary = "use a file system of one's own as an image, where it is",
	.description = "The files are checked and recorded, not copied. VMs can be made as long as "
		       "they are "
		       "unchanged; 'banger image promote' copies them in.",
	.opts = register_opts,
	.opt_count = ARRAY_LEN(register_opts),
	.args_size = sizeof(struct register_args),
	.run = run_register,
};

static int run_promote(struct cli *cli, const struct invocation *invocation)
{
	const char *name = invocation->parsed->operands[0];
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;

	if (ask_about(cli, "image.promote", "image", name, &result, &err) < 0) {
		ask_context(&err, "cannot promote image", name);
		return cli_fail(cli, &err);
	}
	return image_view_print(cli, result);
}

const struct command image_promote_command = {
	.noun = "image",
	.verb = "promote",
	.operands = "IMAGE",
	.operands_min = 1,
	.operands_max = 1,
	.completes = COMPLETES_IMAGE_HERE,
	.summary = "copy the files of a registered image in",
	.run = run_promote,
};

/* --- cache prune --- */

struct prune_args {
	bool dry_run;
};

static const struct opt prune_opts[] = {
	{ .type = OPT_FLAG,
	  .name = "dry-run",
	  .offset = offsetof(struct prune_args, dry_run),
	  .help = "only say what would be freed" },
};

static int run_prune(struct cli *cli, const struct invocation *invocation)
{
	const struct prune_args *args = invocation->args;
	json_t *params = json_new_object();
	AUTO_JSON *result = NULL;
	AUTO_BUF size = BUF_INIT;
	struct err err = ERR_INIT;

	json_put_bool(params, "dry_run", args->dry_run);
	if (ask(cli, "image.cache.prune", params, &result, &err) < 0) {
		(void)err_context(&err, -EIO, "cannot prune the cache");
		return cli_fail(cli, &err);
	}
	if (cli->out.is_json) {
		out_json(&cli->out, result);
		return 0;
	}
	text_size(&size, json_get_u64(result, "bytes"));
	out_addf(&cli->out,
		 args->dry_run ? "would free %s in %llu files\n" : "freed %s in %llu files\n",
		 size.ptr, (unsigned long long)json_get_u64(result, "files"));
	return 0;
}

const struct command image_cache_prune_command = {
	.noun = "image",
	.verb = "cache prune",
	.summary = "delete what was downloaded; images stay",
	.opts = prune_opts,
	.opt_count = ARRAY_LEN(prune_opts),
	.args_size = sizeof(struct prune_args),
	.run = run_prune,
};
