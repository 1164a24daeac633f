#include "check.h"

#include <elf.h>
#include <stdio.h>

#include "base/mem.h"
#include "kernel/modules.h"
#include "kernel_fixture.h"

static void test_modinfo(void **state)
{
	static const char text[] = "license=GPL\0depends=virtio,virtio-ring\0\0\0name=virtio_blk\0";
	CLEANUP(modinfo_done) struct modinfo info = { .name = "" };
	CLEANUP(modinfo_done) struct modinfo bare = { .name = "" };
	AUTO_BUF ko = BUF_INIT;
	AUTO_BUF plain = BUF_INIT;
	struct err err = ERR_INIT;

	(void)state;
	fixture_module(span_of(text, sizeof(text) - 1), &ko);
	CHECK_INT(modinfo_read(buf_span(&ko), &info, &err), 0);
	CHECK_STR(info.name, "virtio_blk");
	CHECK_INT(info.depends.count, 2);
	CHECK_STR(info.depends.items[0], "virtio");
	CHECK_STR(info.depends.items[1], "virtio_ring");

	fixture_module(span_of("depends=", 9), &plain);
	CHECK_INT(modinfo_read(buf_span(&plain), &bare, &err), 0);
	CHECK_STR(bare.name, "");
	CHECK_INT(bare.depends.count, 0);

	for (size_t len = 0; len < ko.len; len++) {
		struct modinfo cut = { .name = "" };

		CHECK_ROW(len, modinfo_read(span_of(ko.ptr, len), &cut, &err) < 0);
		CHECK_INT(err.kind, ERR_INVALID);
	}
}

#define HEADER(field) offsetof(Elf64_Ehdr, field)

static void test_bad_modules(void **state)
{
	static const struct {
		size_t at;
		uint16_t value;
		const char *modinfo;
		const char *message;
	} rows[] = {
		{ 0, 0, "x=y", "this is no kernel module for x86-64: not an ELF file" },
		{ HEADER(e_machine), EM_AARCH64, "x=y", "an ELF file for another machine" },
		{ HEADER(e_type), ET_EXEC, "x=y", "an ELF file that is no object file" },
		{ HEADER(e_shnum), 65535, "x=y", "its section headers are damaged" },
		{ HEADER(e_shentsize), 63, "x=y", "its section headers are damaged" },
		{ HEADER(e_shstrndx), 3, "x=y", "its section headers are damaged" },
		{ HEADER(e_shstrndx), 1, "x=y", "it has no .modinfo" },
		{ HEADER(e_type), ET_REL, "depends=../x", "a bad name in 'depends='" },
		{ HEADER(e_type), ET_REL, "depends=a,,b", "a bad name in 'depends='" },
		{ HEADER(e_type), ET_REL, "name=a b", "a bad 'name='" },
		{ HEADER(e_type), ET_REL, "name=", "a bad 'name='" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct modinfo info = { .name = "" };
		AUTO_BUF ko = BUF_INIT;
		struct err err = ERR_INIT;

		fixture_module(span_of(rows[i].modinfo, strlen(rows[i].modinfo) + 1), &ko);
		put16(&ko, rows[i].at, rows[i].value);
		CHECK_ROW(i, modinfo_read(buf_span(&ko), &info, &err) < 0);
		CHECK_HAS(err.message, rows[i].message);
	}
}

static void test_depends_limit(void **state)
{
	AUTO_BUF text = BUF_INIT;
	struct err err = ERR_INIT;

	(void)state;
	buf_add_str(&text, "depends=m0");
	for (int count = 1; count <= MODULE_DEPENDS_MAX; count++) {
		CLEANUP(modinfo_done) struct modinfo info = { .name = "" };
		AUTO_BUF ko = BUF_INIT;

		if (count == 1 || count == MODULE_DEPENDS_MAX) {
			fixture_module(buf_span(&text), &ko);
			CHECK_INT(modinfo_read(buf_span(&ko), &info, &err), 0);
			CHECK_INT(info.depends.count, count);
		}
		buf_addf(&text, ",m%d", count);
	}

	struct modinfo info = { .name = "" };
	AUTO_BUF ko = BUF_INIT;

	fixture_module(buf_span(&text), &ko);
	CHECK_INT(modinfo_read(buf_span(&ko), &info, &err) < 0, true);
	CHECK_INT(err.kind, ERR_LIMIT);
	CHECK_STR(err.message, "a kernel module depends on more than 64 others");
}

static void test_names(void **state)
{
	static const struct {
		const char *path;
		const char *name;
	} rows[] = {
		{ "kernel/drivers/char/hw_random/virtio-rng.ko", "virtio_rng" },
		{ "a.ko", "a" },
		{ "x/a.ko.xz", "a" },
		{ "x/a.ko.zst", "a" },
		{ "x/a.ko.gz", "a" },
		{ "x/a.ko.bz2", NULL },
		{ "x/.ko", NULL },
		{ "x/a b.ko", NULL },
		{ "x/a.o", NULL },
		{ "", NULL },
		{ "a.ko/", NULL },
		{ "x/a.b.ko", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char name[MODULE_NAME_MAX + 1] = "untouched";

		CHECK_ROW(i, module_name_of_path(rows[i].path, name) == (rows[i].name != NULL));
		CHECK_STR(name, rows[i].name ? rows[i].name : "untouched");
	}
}

static int add(struct module_set *set, const char *path, const char *depends, struct err *err)
{
	AUTO_STRV list = { 0 };
	AUTO_FREE char *copy = mem_strdup(depends);
	char *word = copy;

	while (*word != '\0') {
		char *end = strchrnul(word, ',');
		const bool is_last = *end == '\0';

		*end = '\0';
		strv_add(&list, word);
		word = is_last ? end : end + 1;
	}
	return module_set_add(set, path, &list, err);
}

static void join(const struct strv *list, struct buf *out)
{
	for (size_t i = 0; i < list->count; i++)
		buf_addf(out, "%s%s", i > 0 ? " " : "", list->items[i]);
}

static struct module_set *virtio_set(void)
{
	struct module_set *set = module_set_new();
	struct err err = ERR_INIT;

	CHECK_INT(add(set, "d/virtio_net.ko", "net_failover,virtio,virtio_ring", &err), 0);
	CHECK_INT(add(set, "d/virtio.ko", "virtio_ring", &err), 0);
	CHECK_INT(add(set, "d/virtio_ring.ko", "", &err), 0);
	CHECK_INT(add(set, "n/net_failover.ko.xz", "failover,built_in", &err), 0);
	CHECK_INT(add(set, "n/failover.ko", "", &err), 0);
	CHECK_INT(
		module_set_add_builtin(set, span_str("kernel/built-in.ko\nk/virtio_pci.ko"), &err),
		0);
	return set;
}

static const char virtio_dep[] =
	"d/virtio.ko: d/virtio_ring.ko\n"
	"d/virtio_net.ko: d/virtio.ko d/virtio_ring.ko n/net_failover.ko.xz n/failover.ko\n"
	"d/virtio_ring.ko:\n"
	"n/failover.ko:\n"
	"n/net_failover.ko.xz: n/failover.ko\n";

static void test_order(void **state)
{
	CLEANUP(module_set_freep) struct module_set *set = virtio_set();
	static const char *const names[] = { "virtio_pci", "virtio_net", "virtio", "failover" };
	static const char *const missing[] = { "virtio", "virtio_blk" };
	AUTO_STRV paths = { 0 };
	AUTO_BUF text = BUF_INIT;
	struct err err = ERR_INIT;

	(void)state;
	CHECK_INT(module_set_count(set), 5);
	CHECK_INT(module_set_has(set, "virtio_pci"), true);
	CHECK_INT(module_set_has(set, "virtio_blk"), false);
	CHECK_INT(module_set_order(set, names, ARRAY_LEN(names), &paths, &err), 0);
	join(&paths, &text);
	CHECK_STR(text.ptr, "n/failover.ko n/net_failover.ko.xz d/virtio_ring.ko d/virtio.ko "
			    "d/virtio_net.ko");

	CHECK_INT(module_set_order(set, missing, ARRAY_LEN(missing), &paths, &err) < 0, true);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	CHECK_STR(err.message, "the kernel has no module 'virtio_blk'");
}

static void test_dep_file(void **state)
{
	CLEANUP(module_set_freep) struct module_set *set = virtio_set();
	CLEANUP(module_set_freep) struct module_set *again = module_set_new();
	static const char *const names[] = { "virtio_net" };
	AUTO_BUF text = BUF_INIT;
	AUTO_BUF order = BUF_INIT;
	AUTO_STRV paths = { 0 };
	struct err err = ERR_INIT;

	(void)state;
	CHECK_INT(module_set_write_dep(set, &text, &err), 0);
	CHECK_STR(text.ptr, virtio_dep);

	/* Read back it gives an order in which each comes after what it needs.
	 */
	CHECK_INT(module_set_parse_dep(again, buf_span(&text), &err), 0);
	CHECK_INT(module_set_order(again, names, 1, &paths, &err), 0);
	join(&paths, &order);
	CHECK_STR(order.ptr, "d/virtio_ring.ko d/virtio.ko n/failover.ko n/net_failover.ko.xz "
			     "d/virtio_net.ko");
}

static void test_bad_sets(void **state)
{
	static const struct {
		const char *dep;
		const char *message;
	} rows[] = {
		{ "a.ko", "modules.dep has a line without ':'" },
		{ "/a.ko:", "'/a.ko' is no path of a kernel module" },
		{ "../a.ko:", "'../a.ko' is no path of a kernel module" },
		{ "x/../../a.ko:", "is no path of a kernel module" },
		{ "a.txt:", "'a.txt' is no path of a kernel module" },
		{ "a.ko: b", "'b' in modules.dep is no kernel module" },
		{ "a.ko:\nx/a.ko:", "two kernel modules are called 'a'" },
	};
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(module_set_freep) struct module_set *set = module_set_new();

		CHECK_ROW(i, module_set_parse_dep(set, span_str(rows[i].dep), &err) < 0);
		CHECK_HAS(err.message, rows[i].message);
	}
}

static void test_bad_dependencies(void **state)
{
	static const struct {
		const char *dep;
		const char *message;
	} rows[] = {
		{ "a.ko: b.ko", "kernel module 'a' depends on 'b', which is not there" },
		{ "a.ko: a.ko", "kernel module 'a' depends on itself" },
		{ "a.ko: b.ko\nb.ko: c.ko\nc.ko: b.ko", "kernel module 'b' depends on itself" },
	};
	static const char *const names[] = { "a" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(module_set_freep) struct module_set *set = module_set_new();
		AUTO_STRV paths = { 0 };
		AUTO_BUF text = BUF_INIT;
		struct err err = ERR_INIT;

		CHECK_ROW(i, module_set_parse_dep(set, span_str(rows[i].dep), &err) == 0);
		CHECK_ROW(i, module_set_order(set, names, 1, &paths, &err) < 0);
		CHECK_STR(err.message, rows[i].message);
		CHECK_INT(err.kind, ERR_INVALID);
		CHECK_ROW(i, module_set_write_dep(set, &text, &err) < 0);
		CHECK_STR(err.message, rows[i].message);
	}
}

/* A chain as long as a set may be: depth costs no stack. */
static void test_set_limit(void **state)
{
	CLEANUP(module_set_freep) struct module_set *set = module_set_new();
	static const char *const names[] = { "m0" };
	AUTO_STRV paths = { 0 };
	struct err err = ERR_INIT;

	(void)state;
	for (int i = 0; i < MODULES_MAX; i++) {
		AUTO_FREE char *path = mem_printf("m%d.ko", i);
		AUTO_FREE char *next = mem_printf("m%d", i + 1);

		CHECK_INT(add(set, path, i + 1 < MODULES_MAX ? next : "", &err), 0);
	}
	CHECK_INT(add(set, "more.ko", "", &err) < 0, true);
	CHECK_INT(err.kind, ERR_LIMIT);
	CHECK_STR(err.message, "more than 16384 kernel modules");
	CHECK_INT(module_set_order(set, names, 1, &paths, &err), 0);
	CHECK_INT(paths.count, MODULES_MAX);
	CHECK_STR(paths.items[MODULES_MAX - 1], "m0.ko");
}

static void test_uncompress(void **state)
{
	static const enum kernel_compression all[] = { KERNEL_COMPRESSION_NONE,
						       KERNEL_COMPRESSION_XZ,
						       KERNEL_COMPRESSION_ZSTD,
						       KERNEL_COMPRESSION_GZIP };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		AUTO_BUF ko = BUF_INIT;
		AUTO_BUF file = BUF_INIT;
		AUTO_BUF out = BUF_INIT;
		struct err err = ERR_INIT;

		fixture_module(span_of("name=a", 7), &ko);
		fixture_compress(all[i], buf_span(&ko), &file);
		CHECK_ROW(i, module_uncompress(buf_span(&file), &out, &err) == 0);
		CHECK_ROW(i, span_eq(buf_span(&out), buf_span(&ko)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_modinfo),	      cmocka_unit_test(test_bad_modules),
		cmocka_unit_test(test_depends_limit), cmocka_unit_test(test_names),
		cmocka_unit_test(test_order),	      cmocka_unit_test(test_dep_file),
		cmocka_unit_test(test_bad_sets),      cmocka_unit_test(test_bad_dependencies),
		cmocka_unit_test(test_set_limit),     cmocka_unit_test(test_uncompress),
	};

	return cmocka_run_group_tests_name("modules", tests, NULL, NULL);
}
