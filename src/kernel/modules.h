/*
 * Kernel modules: what a .ko says about itself, the modules.dep made from that, and the order in
 * which to load some of them.
 *
 * The package's modules.dep would come from depmod, which its install script runs; we run no
 * scripts, so it is made here, from the "depends=" of each module's .modinfo section, in depmod's
 * own format: a line "path: path path ..." with all that a module needs, what it needs most
 * directly first.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "base/strv.h"

#define MODULE_SIZE_MAX                                                                     \
	(64ULL << 20)		 /* one .ko, uncompressed; amdgpu with debug data is 30 MiB \
				  */
#define MODULE_NAME_MAX	   63	 /* the kernel's MODULE_NAME_LEN is 56 */
#define MODULE_DEPENDS_MAX 64	 /* direct dependencies of one module */
#define MODULES_MAX	   16384 /* Debian's biggest kernel has about 4 500 */

struct modinfo {
	char name[MODULE_NAME_MAX + 1]; /* "virtio_ring", or "" when the file does not say */
	struct strv depends;		/* owned: names as the file has them */
};

void modinfo_done(struct modinfo *info);

/* From the bytes of an uncompressed .ko. ERR_INVALID says what is wrong with them. */
int modinfo_read(struct span ko, struct modinfo *ret, struct err *err) MUST_CHECK;

/*
 * The module's name for a file: "kernel/drivers/virtio/virtio-ring.ko.xz" gives "virtio_ring".
 * False when it is no module's file name.
 */
bool module_name_of_path(const char *path, char ret[static MODULE_NAME_MAX + 1]) MUST_CHECK;

struct module_set;

void module_set_free(struct module_set *set);
struct module_set *module_set_new(void) MUST_CHECK OWNED_BY(module_set_free);
DEFINE_FREEP(module_set, module_set_free);
/* How many there are to load, without the built-in ones. */
size_t module_set_count(const struct module_set *set);

/* Whether it is there, built in or not. */
bool module_set_has(const struct module_set *set, const char *name);

/* Adds a module. ERR_EXISTS when its name is there already, ERR_LIMIT beyond MODULES_MAX. */
int module_set_add(struct module_set *set, const char *path, const struct strv *depends,
		   struct err *err) MUST_CHECK;

/*
 * Takes note of the modules that are built into the kernel: the lines of modules.builtin. They need
 * no loading, so a dependency on one is satisfied, and asking for one is fine.
 */
int module_set_add_builtin(struct module_set *set, struct span text, struct err *err) MUST_CHECK;

/* Reads what module_set_write_dep() wrote. */
int module_set_parse_dep(struct module_set *set, struct span text, struct err *err) MUST_CHECK;

/*
 * Appends modules.dep, sorted by path. ERR_INVALID when a module depends on one that does not
 * exist, or, in the end, on itself.
 */
int module_set_write_dep(const struct module_set *set, struct buf *out, struct err *err) MUST_CHECK;

/*
 * Appends the paths to load for `names`, each after what it needs, none twice. A name that is built
 * in adds nothing. ERR_NOT_FOUND names a missing one.
 */
int module_set_order(const struct module_set *set, const char *const *names, size_t count,
		     struct strv *paths, struct err *err) MUST_CHECK;

/* Appends the bytes of a module's file, uncompressed when it is .xz, .zst or .gz; at most
 * MODULE_SIZE_MAX. */
int module_uncompress(struct span file, struct buf *into, struct err *err) MUST_CHECK;
