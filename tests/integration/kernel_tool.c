/* Calls src/kernel from the shell, for kernel.bats: one verb a function. Prints results on standard
 * output. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "kernel/extract.h"
#include "kernel/image.h"
#include "kernel/initramfs.h"
#include "kernel/kernel.h"

struct verb {
	const char *name;
	int arguments;
	int (*run)(char **arguments, struct err *err);
};

static void print_progress(void *context, const struct progress_event *event)
{
	(void)context;
	(void)fprintf(stderr, "%s: %s\n", event->stage, event->detail);
}

static const struct progress progress = { .report = print_progress };

static void print_kernel(const struct kernel *kernel)
{
	AUTO_JSON *object = kernel_json(kernel);
	AUTO_BUF text = BUF_INIT;

	json_write(object, &text);
	(void)puts(text.ptr);
}

static int pull(char **arguments, const struct cancel *cancel, const struct progress *told,
		struct kernel *ret, struct err *err)
{
	const struct kernel_source *source = kernel_source_find(arguments[1]);

	if (!source)
		return err_set(err, ERR_NOT_FOUND, "the kernel catalog has no '%s'", arguments[1]);
	return kernel_pull_package(arguments[0], source, cancel, told, ret, err);
}

static int verb_pull(char **arguments, struct err *err)
{
	AUTO_KERNEL kernel;
	int r;

	kernel_init(&kernel);
	r = pull(arguments, NULL, &progress, &kernel, err);
	if (r == 0)
		print_kernel(&kernel);
	return r;
}

/* The same, cancelled when the first step is reported. */
static void fire(void *context, const struct progress_event *event)
{
	print_progress(NULL, event);
	cancel_fire(context);
}

static int verb_pull_cancelled(char **arguments, struct err *err)
{
	CLEANUP(cancel_done) struct cancel cancel = CANCEL_INIT;
	const struct progress cancelling = { .report = fire, .context = &cancel };
	AUTO_KERNEL kernel;
	int r;

	kernel_init(&kernel);
	r = cancel_init(&cancel);
	if (r < 0)
		return err_sys(err, r, "make an eventfd");
	return pull(arguments, &cancel, &cancelling, &kernel, err);
}

static int verb_show(char **arguments, struct err *err)
{
	AUTO_KERNEL kernel;
	int r;

	kernel_init(&kernel);
	r = kernel_load(arguments[0], arguments[1], &kernel, err);
	if (r == 0)
		print_kernel(&kernel);
	return r;
}

static int verb_list(char **arguments, struct err *err)
{
	struct kernel_record_list list = { .items = NULL };
	int r;

	r = kernel_list(arguments[0], &list, err);
	for (size_t i = 0; i < list.count; i++)
		(void)puts(list.items[i].name);
	kernel_record_list_done(&list);
	return r;
}

static int verb_remove(char **arguments, struct err *err)
{
	return kernel_remove(arguments[0], arguments[1], err);
}

static int verb_sweep(char **arguments, struct err *err)
{
	return kernel_sweep(arguments[0], err);
}

static int verb_initramfs(char **arguments, struct err *err)
{
	return initramfs_ensure(arguments[0], arguments[1], arguments[2], NULL, &progress, err);
}

static int verb_write_vm(char **arguments, struct err *err)
{
	AUTO_CLOSE int from = open(arguments[0], O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int to = open(arguments[1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (from < 0 || to < 0)
		return err_sys(err, -errno, "open the initramfs files");
	return initramfs_write_vm(from, to, span_str(arguments[2]), err);
}

static int verb_inspect(char **arguments, struct err *err)
{
	AUTO_CLOSE int fd = open(arguments[0], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct kernel_image image;
	int r;

	if (fd < 0)
		return err_sys(err, -errno, "open '%s'", arguments[0]);
	r = kernel_image_read(fd, &image, err);
	if (r == 0)
		(void)printf("%s pvh=%d release=%s version=%s\n", kernel_format_name(image.format),
			     image.has_pvh, image.release, image.version);
	return r;
}

static int verb_extract(char **arguments, struct err *err)
{
	AUTO_CLOSE int from = open(arguments[0], O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int to = open(arguments[1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (from < 0 || to < 0)
		return err_sys(err, -errno, "open the kernel files");
	return kernel_extract_vmlinux(from, to, NULL, err);
}

static const struct verb verbs[] = {
	{ "pull", 2, verb_pull },	    { "pull-cancelled", 2, verb_pull_cancelled },
	{ "show", 2, verb_show },	    { "list", 1, verb_list },
	{ "remove", 2, verb_remove },	    { "sweep", 1, verb_sweep },
	{ "initramfs", 3, verb_initramfs }, { "write-vm", 3, verb_write_vm },
	{ "inspect", 1, verb_inspect },	    { "extract", 2, verb_extract },
};

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;

	for (size_t i = 0; argc > 1 && i < ARRAY_LEN(verbs); i++) {
		if (!str_eq(argv[1], verbs[i].name) || argc != verbs[i].arguments + 2)
			continue;
		if (verbs[i].run(argv + 2, &err) >= 0)
			return EXIT_SUCCESS;
		(void)fprintf(stderr, "%s: %s\n", err_kind_name(err.kind), err.message);
		if (err.hint[0] != '\0')
			(void)fprintf(stderr, "hint: %s\n", err.hint);
		return EXIT_FAILURE;
	}
	(void)fprintf(stderr, "usage: kernel_tool VERB ARGUMENT...\n");
	return 2;
}
