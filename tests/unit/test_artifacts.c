/*
 * What an operation on an image or a kernel left half done, because even undoing it failed, is put
 * right by the next pass, without a restart: the rows below, and what must be there afterwards.
 */
#include "check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/keylock.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/artifacts.h"
#include "daemon/lease.h"
#include "ext4/ext4.h"
#include "image/register.h"
#include "image/worker.h"

struct fixture {
	char path[64];
	char *root; /* owned: a file system */
	struct daemon daemon;
};

static void make_file_system(const char *path)
{
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct ext4_options options = EXT4_OPTIONS_INIT;
	struct ext4_summary summary;
	struct err err = ERR_INIT;

	options.size_bytes = EXT4_SIZE_MIN;
	assert_true(fd >= 0);
	assert_int_equal(ext4_seed(fd, &options, &summary, &err), 0);
}

static int setup(void **state)
{
	struct fixture *fixture = mem_alloc(1, sizeof(*fixture));
	struct daemon *daemon = &fixture->daemon;
	AUTO_FREE char *database = NULL;
	AUTO_FREE char *reserve = NULL;
	struct err err = ERR_INIT;

	(void)snprintf(fixture->path, sizeof(fixture->path), "/tmp/test-artifacts-XXXXXX");
	assert_non_null(mkdtemp(fixture->path));
	fixture->root = mem_printf("%s/root.img", fixture->path);
	make_file_system(fixture->root);
	database = mem_printf("%s/state.db", fixture->path);
	reserve = mem_printf("%s/reserve", fixture->path);
	daemon->images_dir = mem_printf("%s/images", fixture->path);
	daemon->kernels_dir = mem_printf("%s/kernels", fixture->path);
	assert_int_equal(dir_make_path(daemon->images_dir, 0700), 0);
	assert_int_equal(dir_make_path(daemon->kernels_dir, 0700), 0);
	daemon->locks = keylock_new(-1);
	daemon->leases = leases_new();
	daemon->paths.config_dir = mem_strdup(fixture->path);
	assert_int_equal(store_open(database, reserve, &daemon->store, &err), 0);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	int r;

	store_close(fixture->daemon.store);
	keylock_free(fixture->daemon.locks);
	leases_free(fixture->daemon.leases);
	mem_free(fixture->daemon.paths.config_dir);
	r = dir_remove_tree(AT_FDCWD, fixture->path);
	mem_free(fixture->daemon.images_dir);
	mem_free(fixture->daemon.kernels_dir);
	mem_free(fixture->root);
	mem_free(fixture);
	return r;
}

/* Files of the image "own", with the kernel `kernel`; no row. */
static void make_image(struct fixture *fixture, const char *kernel)
{
	const struct image_register_request request = { .images_dir = fixture->daemon.images_dir,
							.name = "own",
							.rootfs = fixture->root,
							.kernel = kernel };
	AUTO_IMAGE_RECORD image;
	struct err err = ERR_INIT;

	image_record_init(&image);
	assert_int_equal(image_register(&request, NULL, &image, &err), 0);
}

static void put_image(struct fixture *fixture, enum artifact_state state, const char *kind,
		      const char *kernel)
{
	AUTO_IMAGE_RECORD image;
	struct err err = ERR_INIT;

	image_record_init(&image);
	image.name = mem_strdup("own");
	image.kind = mem_strdup(kind);
	image.kernel = mem_strdup(kernel);
	image.state = state;
	assert_int_equal(store_image_put(fixture->daemon.store, &image, &err), 0);
}

static void put_kernel(struct fixture *fixture, enum artifact_state state)
{
	AUTO_FREE char *folder = mem_printf("%s/mine", fixture->daemon.kernels_dir);
	AUTO_KERNEL_RECORD kernel;
	struct err err = ERR_INIT;

	kernel_record_init(&kernel);
	kernel.name = mem_strdup("mine");
	kernel.state = state;
	assert_int_equal(store_kernel_put(fixture->daemon.store, &kernel, &err), 0);
	assert_int_equal(mkdir(folder, 0700), 0);
}

/* "ready registered", or "" when there is no row. */
static void check_image(struct fixture *fixture, const char *wanted)
{
	AUTO_FREE char *got = NULL;
	AUTO_IMAGE_RECORD image = { 0 };
	struct err err = ERR_INIT;

	if (store_image_get(fixture->daemon.store, "own", &image, &err) < 0)
		got = mem_strdup("");
	else
		got = mem_printf("%s %s", artifact_state_name(image.state),
				 image.kind ? image.kind : "-");
	CHECK_STR(got, wanted);
}

static void check_kernel(struct fixture *fixture, const char *wanted)
{
	AUTO_FREE char *folder = mem_printf("%s/mine", fixture->daemon.kernels_dir);
	AUTO_KERNEL_RECORD kernel = { 0 };
	struct err err = ERR_INIT;
	const int r = store_kernel_get(fixture->daemon.store, "mine", &kernel, &err);

	CHECK_STR(r < 0 ? "" : artifact_state_name(kernel.state), wanted);
	CHECK_INT(access(folder, F_OK) == 0, wanted[0] != '\0');
}

/* What a failed pull leaves when its row could not be changed any more. */
static void test_pulling(void **state)
{
	struct fixture *fixture = *state;

	put_image(fixture, ARTIFACT_PULLING, NULL, NULL);
	put_kernel(fixture, ARTIFACT_PULLING);
	artifact_settle(&fixture->daemon);
	check_image(fixture, "");
	/* Its folder is no kernel: it has no record. */
	struct err err = ERR_INIT;
	struct kernel_record kernel = { 0 };

	CHECK_INT(store_kernel_get(fixture->daemon.store, "mine", &kernel, &err) < 0, true);
}

static void test_pulling_over_an_old_one(void **state)
{
	struct fixture *fixture = *state;

	make_image(fixture, NULL);
	put_image(fixture, ARTIFACT_PULLING, NULL, NULL);
	artifact_settle(&fixture->daemon);
	check_image(fixture, "ready registered");
}

static void test_deleting(void **state)
{
	struct fixture *fixture = *state;
	AUTO_FREE char *folder = mem_printf("%s/own", fixture->daemon.images_dir);

	make_image(fixture, NULL);
	put_image(fixture, ARTIFACT_DELETING, "registered", NULL);
	put_kernel(fixture, ARTIFACT_DELETING);
	artifact_settle(&fixture->daemon);
	check_image(fixture, "");
	CHECK_INT(access(folder, F_OK) < 0, true);
	check_kernel(fixture, "");
}

/* The kernel of an image that did not come about goes with it; that of one that did stays. */
static void test_kernel_of_an_image(void **state)
{
	struct fixture *fixture = *state;

	put_image(fixture, ARTIFACT_PULLING, NULL, "mine");
	put_kernel(fixture, ARTIFACT_READY);
	artifact_settle(&fixture->daemon);
	check_image(fixture, "");
	check_kernel(fixture, "");

	make_image(fixture, "mine");
	put_image(fixture, ARTIFACT_PULLING, NULL, "mine");
	put_kernel(fixture, ARTIFACT_READY);
	artifact_settle(&fixture->daemon);
	check_image(fixture, "ready registered");
	check_kernel(fixture, "ready");

	/* What is there has another kernel, so this one was to come with what is not there. */
	put_image(fixture, ARTIFACT_PULLING, NULL, "other");
	artifact_settle(&fixture->daemon);
	check_image(fixture, "ready registered");
	check_kernel(fixture, "ready");
}

/* A promotion whose row was stored, and could not be taken back. */
static void test_promoted_in_words_only(void **state)
{
	struct fixture *fixture = *state;

	make_image(fixture, NULL);
	put_image(fixture, ARTIFACT_READY, "managed", NULL);
	artifact_settle(&fixture->daemon);
	check_image(fixture, "ready registered");
}

/* Nothing is done to what is right, to what somebody is at, and to a row whose files are gone. */
static void test_left_alone(void **state)
{
	struct fixture *fixture = *state;
	AUTO_KEYHOLD image_hold = KEYHOLD_INIT;
	AUTO_KEYHOLD kernel_hold = KEYHOLD_INIT;

	put_image(fixture, ARTIFACT_READY, "managed", NULL);
	artifact_settle(&fixture->daemon);
	check_image(fixture, "ready managed");

	assert_true(keylock_try(fixture->daemon.locks, "image:own", &image_hold));
	put_image(fixture, ARTIFACT_PULLING, NULL, NULL);
	assert_true(keylock_try(fixture->daemon.locks, "kernel:mine", &kernel_hold));
	put_kernel(fixture, ARTIFACT_PULLING);
	artifact_settle(&fixture->daemon);
	check_image(fixture, "pulling -");
	check_kernel(fixture, "pulling");

	/* A kernel that somebody is at keeps its image's intent. */
	put_image(fixture, ARTIFACT_PULLING, NULL, "mine");
	keylock_release(&image_hold);
	artifact_settle(&fixture->daemon);
	check_image(fixture, "pulling -");
	keylock_release(&kernel_hold);
	artifact_settle(&fixture->daemon);
	check_image(fixture, "");
	check_kernel(fixture, "");
}

/* What nobody waits for is made of what is here: a deleted image stays deleted. */
static void test_background_makes_nothing(void **state)
{
	struct fixture *fixture = *state;
	const struct job job = { .daemon = &fixture->daemon, .is_background = true };
	AUTO_IMAGE_RECORD image = { 0 };
	AUTO_KERNEL_RECORD kernel = { 0 };
	struct err err = ERR_INIT;

	assert_true(artifact_ensure_image(job.daemon, "debian-bookworm", "debian-bookworm", &job,
					  &image, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	CHECK_STR(err.message, "no image 'debian-bookworm'");
	err = ERR_INIT;
	assert_true(artifact_ensure_kernel(job.daemon, "debian-cloud", &job, &kernel, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	CHECK_STR(err.message, "no kernel 'debian-cloud'");
}

static void add_vm(struct fixture *fixture, const char *id, const char *name)
{
	struct err err = ERR_INIT;
	AUTO_VM vm;

	vm_init(&vm);
	(void)snprintf(vm.id, sizeof(vm.id), "%s", id);
	vm.name = mem_strdup(name);
	vm.spec = (struct vm_spec){ .vcpu = 1,
				    .memory_bytes = 512 << 20,
				    .disk_bytes = 1 << 30,
				    .system_overlay_bytes = 1 << 30,
				    .image = mem_strdup("own"),
				    .kernel = mem_strdup("mine") };
	assert_int_equal(store_vm_insert(fixture->daemon.store, &vm, &err), 0);
}

static void check_deletions(struct fixture *fixture, const char *of_image, const char *of_kernel,
			    const char *hint)
{
	const struct job job = { .daemon = &fixture->daemon };
	struct err err = ERR_INIT;

	assert_true(artifact_delete_image(job.daemon, "own", &job, &err) < 0);
	CHECK_INT(err.kind, ERR_BUSY);
	CHECK_STR(err.message, of_image);
	CHECK_STR(err.hint, hint);
	err = ERR_INIT;
	assert_true(artifact_delete_kernel(job.daemon, "mine", &job, &err) < 0);
	CHECK_INT(err.kind, ERR_BUSY);
	CHECK_STR(err.message, of_kernel);
	CHECK_STR(err.hint, hint);
}

/* A VM that is in no list is not what the user is sent to look for. */
static void test_template_in_the_making(void **state)
{
	const struct lease own = { .pid = getpid() };
	struct fixture *fixture = *state;

	put_image(fixture, ARTIFACT_READY, "managed", NULL);
	put_kernel(fixture, ARTIFACT_READY);
	add_vm(fixture, "aa000000000000000000000000000000", "template-01234567");
	lease_put(fixture->daemon.leases, "aa000000000000000000000000000000", &own);
	check_deletions(fixture, "a template is being built from the image 'own'",
			"a template is being built from the kernel 'mine'",
			"wait for that 'banger template build', or end it");
	add_vm(fixture, "bb000000000000000000000000000000", "box");
	check_deletions(
		fixture, "the image 'own' is in use by 1 VM, and a template is being built from it",
		"the kernel 'mine' is in use by 1 VM, and a template is being built from it",
		"'banger vm list' shows the VMs");
	lease_drop(fixture->daemon.leases, "aa000000000000000000000000000000");
	check_deletions(fixture, "the image 'own' is in use by 2 VMs",
			"the kernel 'mine' is in use by 2 VMs", "'banger vm list' shows the VMs");
}

/* It takes no name or prefix from the user's own VMs, and can be had by all of its name or id. */
static void test_reference_to_a_template_in_the_making(void **state)
{
	static const struct {
		const char *reference;
		const char *wanted; /* NULL: there is none */
	} rows[] = {
		{ "t", "test" },
		{ "a", "test" },
		{ "templ", NULL },
		{ "aa", NULL },
		{ "template-01234567", "template-01234567" },
		{ "aa000000000000000000000000000000", "template-01234567" },
	};
	const struct lease own = { .pid = getpid() };
	struct fixture *fixture = *state;

	put_image(fixture, ARTIFACT_READY, "managed", NULL);
	put_kernel(fixture, ARTIFACT_READY);
	add_vm(fixture, "aa000000000000000000000000000000", "template-01234567");
	add_vm(fixture, "ab000000000000000000000000000000", "test");
	lease_put(fixture->daemon.leases, "aa000000000000000000000000000000", &own);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		AUTO_VM vm = { 0 };
		const int r = daemon_find_vm(&fixture->daemon, rows[i].reference, &vm, &err);

		CHECK_ROW(i, (r == 0) == (rows[i].wanted != NULL));
		if (r == 0)
			CHECK_STR(vm.name, rows[i].wanted);
		else
			CHECK_ROW(i, err.kind == ERR_NOT_FOUND);
	}
}

/* This program is its own worker. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pulling, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pulling_over_an_old_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deleting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kernel_of_an_image, setup, teardown),
		cmocka_unit_test_setup_teardown(test_promoted_in_words_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_background_makes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_template_in_the_making, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reference_to_a_template_in_the_making, setup,
						teardown),
	};

	if (argc == 3 && str_eq(argv[1], "--worker"))
		return image_worker_main(argc, argv);
	return cmocka_run_group_tests_name("artifacts", tests, NULL, NULL);
}
