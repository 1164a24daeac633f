/* What a snapshot needs outside of its folder: each part changed shows in the key, and is named. */
#include "check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "daemon/machine_key.h"
#include "image/register.h"
#include "vmm/engine.h"

static char processor[] = "flags: a b\n";
static char folder[] = "/tmp/banger-test-machine-key-XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	return dir_remove_tree(AT_FDCWD, folder);
}

enum file { SHIM, QEMU, ROOT, SEED, FILE_COUNT };

/* All that a key is made of; the paths are the test's own. */
struct world {
	char path[FILE_COUNT][sizeof(folder) + 2];
	struct vmm_decision decision;
	struct image_paths image;
	bool has_network;
};

static void write_file(const char *path, const char *text)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	CHECK_INT(fd_write_all(fd, span_str(text)), 0);
}

static void world_init(struct world *world)
{
	*world = (struct world){ .has_network = true };
	for (size_t i = 0; i < FILE_COUNT; i++) {
		(void)snprintf(world->path[i], sizeof(world->path[i]), "%s/%zu", folder, i);
		write_file(world->path[i], "x");
	}
	world->decision.engine = VMM_ENGINE_QEMU;
	world->decision.accelerator = VMM_ACCELERATOR_KVM;
	world->decision.binary = world->path[SHIM];
	world->decision.qemu_path = world->path[QEMU];
	world->decision.processor = processor;
	world->image = (struct image_paths){ .root = world->path[ROOT], .seed = world->path[SEED] };
}

static void key_of(const struct world *world, char ret[static MACHINE_KEY_SIZE])
{
	struct err err = ERR_INIT;

	if (machine_key(&world->decision, &world->image, world->has_network, ret, &err) < 0)
		fail_msg("%s", err.message);
}

static void check_difference(const char *then, const char *now, const char *wanted)
{
	AUTO_BUF got = BUF_INIT;

	machine_key_compare(then, now, &got);
	CHECK_STR(got.ptr, wanted);
}

static void test_parts(void **state)
{
	static const struct {
		const char *wanted;
		const char *processor;
		enum file file; /* that is changed, or FILE_COUNT */
		enum vmm_engine engine;
		enum vmm_accelerator accelerator;
		bool has_network;
	} rows[] = {
		{ "", "flags: a b\n", FILE_COUNT, VMM_ENGINE_QEMU, VMM_ACCELERATOR_KVM, true },
		{ "another VMM", "flags: a b\n", SHIM, VMM_ENGINE_QEMU, VMM_ACCELERATOR_KVM, true },
		{ "another VMM", "flags: a b\n", FILE_COUNT, VMM_ENGINE_FIRECRACKER,
		  VMM_ACCELERATOR_KVM, true },
		{ "another QEMU", "flags: a b\n", QEMU, VMM_ENGINE_QEMU, VMM_ACCELERATOR_KVM,
		  true },
		{ "other files of the image", "flags: a b\n", ROOT, VMM_ENGINE_QEMU,
		  VMM_ACCELERATOR_KVM, true },
		{ "other files of the image", "flags: a b\n", SEED, VMM_ENGINE_QEMU,
		  VMM_ACCELERATOR_KVM, true },
		{ "another processor", "flags: a\n", FILE_COUNT, VMM_ENGINE_QEMU,
		  VMM_ACCELERATOR_KVM, true },
		{ "another accelerator (KVM or emulation), another processor", NULL, FILE_COUNT,
		  VMM_ENGINE_QEMU, VMM_ACCELERATOR_TCG, true },
		{ "another QEMU, another kind of network", "flags: a b\n", QEMU, VMM_ENGINE_QEMU,
		  VMM_ACCELERATOR_KVM, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *other = mem_strdup(rows[i].processor);
		char then[MACHINE_KEY_SIZE], now[MACHINE_KEY_SIZE];
		struct world world;

		world_init(&world);
		key_of(&world, then);
		if (rows[i].file != FILE_COUNT)
			write_file(world.path[rows[i].file], "changed");
		world.decision.engine = rows[i].engine;
		world.decision.accelerator = rows[i].accelerator;
		world.decision.processor = other;
		world.has_network = rows[i].has_network;
		key_of(&world, now);
		check_difference(then, now, rows[i].wanted);
	}
}

/* Keys that are not of this version, or not whole. */
static void test_old_keys(void **state)
{
	static const struct {
		const char *then;
		const char *wanted;
	} rows[] = {
		{ NULL, "another version of banger" },
		{ "", "another version of banger" },
		{ "form:1 vmm:00", "another version of banger" },
		{ "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		  "another version of banger" },
		{ "form:2",
		  "another VMM, another QEMU, another accelerator (KVM or emulation), "
		  "another processor, other files of the image, another kind of network" },
	};
	char now[MACHINE_KEY_SIZE];
	struct world world;

	(void)state;
	world_init(&world);
	key_of(&world, now);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check_difference(rows[i].then, now, rows[i].wanted);
}

/* What cannot be looked at is an error; there is no emulator with Firecracker. */
static void test_missing(void **state)
{
	char key[MACHINE_KEY_SIZE] = "";
	struct err err = ERR_INIT;
	struct world world;

	(void)state;
	world_init(&world);
	CHECK_INT(unlink(world.path[QEMU]), 0);
	assert_true(machine_key(&world.decision, &world.image, true, key, &err) < 0);
	CHECK_HAS(err.message, world.path[QEMU]);
	CHECK_STR(key, "");
	world.decision.qemu_path = NULL;
	key_of(&world, key);
	CHECK_HAS(key, "form:2 vmm:");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_old_keys),
		cmocka_unit_test(test_missing),
	};

	return cmocka_run_group_tests_name("machine_key", tests, make_folder, remove_folder);
}
