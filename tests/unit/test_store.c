/* The database: what is stored comes back, what must not be stored is refused. */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "store/private.h"

#define GIB (1ULL << 30)

static char folder[] = "/tmp/banger-test-store-XXXXXX";
static char *path;
static char *reserve;

static int make_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	path = mem_printf("%s/state/state.db", folder);
	reserve = mem_printf("%s/state/reserve", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	mem_free(path);
	mem_free(reserve);
	return dir_remove_tree(AT_FDCWD, folder);
}

static struct store *reopen(struct store *store)
{
	struct err err = ERR_INIT;

	store_close(store);
	if (store_open(path, reserve, &store, &err) < 0)
		fail_msg("%s", err.message);
	return store;
}

static void put_image(struct store *store, const char *name)
{
	struct err err = ERR_INIT;
	AUTO_IMAGE_RECORD image;

	image_record_init(&image);
	image.name = mem_strdup(name);
	image.state = ARTIFACT_READY;
	image.kind = mem_strdup("managed");
	image.recipe = mem_strdup("debian-bookworm");
	image.kernel = mem_strdup("debian-cloud");
	image.source = mem_strdup("docker.io/library/x:1");
	image.digest = mem_strdup("sha256:abc");
	image.size_bytes = 2 * GIB;
	image.used_bytes = GIB / 2;
	image.has_init = true;
	image.built_at = 1700000000;
	if (store_image_put(store, &image, &err) < 0)
		fail_msg("%s", err.message);
}

static void put_kernel(struct store *store, const char *name)
{
	struct err err = ERR_INIT;
	AUTO_KERNEL_RECORD kernel;

	kernel_record_init(&kernel);
	kernel.name = mem_strdup(name);
	kernel.state = ARTIFACT_READY;
	kernel.kind = mem_strdup("package");
	kernel.release = mem_strdup("6.1.0-1-cloud-amd64");
	kernel.has_elf = true;
	kernel.module_count = 1234;
	kernel.size_bytes = 99;
	kernel.pulled_at = 1700000001;
	if (store_kernel_put(store, &kernel, &err) < 0)
		fail_msg("%s", err.message);
}

/* A fresh database with an image and a kernel that VMs can refer to. */
static struct store *fresh(void)
{
	AUTO_FREE char *state = mem_printf("%s/state", folder);
	struct store *store;

	CHECK_INT(dir_remove_tree(AT_FDCWD, state), 0);
	CHECK_INT(mkdir(state, 0700), 0);
	store = reopen(NULL);
	put_image(store, "img");
	put_kernel(store, "krn");
	return store;
}

static void fill_vm(struct vm *vm, unsigned int number)
{
	vm_init(vm);
	(void)snprintf(vm->id, sizeof(vm->id), "%032x", number);
	vm->name = mem_printf("vm-%u", number);
	vm->spec = (struct vm_spec){ .vcpu = 2,
				     .memory_bytes = GIB,
				     .disk_bytes = 8 * GIB,
				     .system_overlay_bytes = 9 * GIB,
				     .image = mem_strdup("img"),
				     .kernel = mem_strdup("krn") };
	vm->created_at = 1700000000 + number;
}

static void insert_vm(struct store *store, unsigned int number)
{
	struct err err = ERR_INIT;
	AUTO_VM vm;

	fill_vm(&vm, number);
	if (store_vm_insert(store, &vm, &err) < 0)
		fail_msg("%s", err.message);
}

static void check_text(const char *got, const char *wanted)
{
	if (!str_eq(got, wanted))
		fail_msg("got '%s', wanted '%s'", got ? got : "(null)", wanted ? wanted : "(null)");
}

static void check_same(const struct vm *got, const struct vm *wanted)
{
	CHECK_STR(got->id, wanted->id);
	check_text(got->name, wanted->name);
	CHECK_INT(got->state, wanted->state);
	CHECK_INT(got->intent, wanted->intent);
	check_text(got->intent_step, wanted->intent_step);
	check_text(got->last_error, wanted->last_error);
	check_text(got->ip, wanted->ip);
	check_text(got->boot_id, wanted->boot_id);
	check_text(got->tap_name, wanted->tap_name);
	check_text(got->dm_name, wanted->dm_name);
	check_text(got->loop_names, wanted->loop_names);
	CHECK_INT(got->ephemeral, wanted->ephemeral);
	check_text(got->workspace.guest_path, wanted->workspace.guest_path);
	check_text(got->workspace.host_path, wanted->workspace.host_path);
	check_text(got->workspace.head, wanted->workspace.head);
	check_text(got->workspace.fingerprint, wanted->workspace.fingerprint);
	check_text(got->workspace.branch, wanted->workspace.branch);
	check_text(got->workspace.from, wanted->workspace.from);
	check_text(got->workspace.mode, wanted->workspace.mode);
	CHECK_INT(got->workspace.has_untracked, wanted->workspace.has_untracked);
	CHECK_INT(got->workspace.is_pending, wanted->workspace.is_pending);
	CHECK_INT(got->created_at, wanted->created_at);
	CHECK_INT(got->started_at, wanted->started_at);
	CHECK_INT(got->used_at_ms, wanted->used_at_ms);
	CHECK_INT(got->spec.vcpu, wanted->spec.vcpu);
	CHECK_INT(got->spec.memory_bytes, wanted->spec.memory_bytes);
	CHECK_INT(got->spec.disk_bytes, wanted->spec.disk_bytes);
	CHECK_INT(got->spec.system_overlay_bytes, wanted->spec.system_overlay_bytes);
	check_text(got->spec.image, wanted->spec.image);
	check_text(got->spec.kernel, wanted->spec.kernel);
	CHECK_INT(got->spec.nat, wanted->spec.nat);
	CHECK_INT(got->spec.port_count, wanted->spec.port_count);
	assert_memory_equal(got->spec.ports, wanted->spec.ports,
			    wanted->spec.port_count * sizeof(struct vm_port) + 1);
}

static void fill_everything(struct vm *vm)
{
	fill_vm(vm, 1);
	vm->state = VM_PAUSED;
	vm->intent = VM_INTENT_STOP;
	vm_set_text(&vm->intent_step, "ask");
	vm_set_text(&vm->last_error, "it \"broke\"; '); DROP TABLE vms; --\xc3\xa9");
	vm_set_text(&vm->ip, "172.16.0.2");
	vm_set_text(&vm->boot_id, "11111111-2222-3333-4444-555555555555");
	vm_set_text(&vm->tap_name, "tap-1");
	vm_set_text(&vm->dm_name, "banger-1");
	vm_set_text(&vm->loop_names, "loop1 loop2");
	vm_set_text(&vm->workspace.guest_path, "/root/repo");
	vm_set_text(&vm->workspace.host_path, "/home/me/repo");
	vm_set_text(&vm->workspace.head, "0123456789abcdef0123456789abcdef01234567");
	vm_set_text(&vm->workspace.fingerprint, "0123456789abcdef");
	vm_set_text(&vm->workspace.branch, "try/x");
	vm_set_text(&vm->workspace.from, "89abcdef0123456789abcdef0123456789abcdef");
	vm_set_text(&vm->workspace.mode, "full_copy");
	vm->workspace.has_untracked = true;
	vm->workspace.is_pending = true;
	vm->ephemeral = true;
	vm->started_at = 1700000500;
	vm->used_at_ms = 12345678;
	vm->spec.nat = true;
	vm->spec.ports[0] = (struct vm_port){ 8080, 80, VM_PORT_LOOPBACK };
	vm->spec.ports[1] = (struct vm_port){ 65535, 1, 0 };
	vm->spec.port_count = 2;
	vm->spec.disk_bytes = INT64_MAX;
}

static void test_round_trip(void **state)
{
	CLEANUP(store_closep) struct store *store = fresh();
	struct err err = ERR_INIT;
	AUTO_VM full;
	AUTO_VM plain;
	AUTO_VM got_full;
	AUTO_VM got_plain;

	(void)state;
	vm_init(&got_full);
	vm_init(&got_plain);
	fill_everything(&full);
	fill_vm(&plain, 2);
	CHECK_INT(store_vm_insert(store, &full, &err), 0);
	CHECK_INT(store_vm_insert(store, &plain, &err), 0);

	store = reopen(store);
	CHECK_INT(store_vm_get(store, full.id, &got_full, &err), 0);
	CHECK_INT(store_vm_get(store, plain.id, &got_plain, &err), 0);
	check_same(&got_full, &full);
	check_same(&got_plain, &plain);
}

static void test_insert_refusals(void **state)
{
	CLEANUP(store_closep) struct store *store = fresh();
	uint64_t total = 0, running = 0;
	struct err err = ERR_INIT;
	AUTO_VM vm;

	(void)state;
	insert_vm(store, 1);
	fill_vm(&vm, 2);
	vm_set_text(&vm.name, "vm-1");
	assert_true(store_vm_insert(store, &vm, &err) < 0);
	CHECK_INT(err.kind, ERR_EXISTS);
	CHECK_STR(err.message, "a VM named 'vm-1' exists already");

	vm_set_text(&vm.name, "other");
	(void)snprintf(vm.id, sizeof(vm.id), "%032x", 1U);
	assert_true(store_vm_insert(store, &vm, &err) < 0);
	CHECK_INT(err.kind, ERR_EXISTS);
	CHECK_HAS(err.message,
		  "a VM with the id '00000000000000000000000000000001' exists already");

	(void)snprintf(vm.id, sizeof(vm.id), "%032x", 2U);
	vm_set_text(&vm.spec.image, "nothing");
	assert_true(store_vm_insert(store, &vm, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	CHECK_STR(err.message, "there is no image 'nothing'");
	vm_set_text(&vm.spec.image, "img");
	vm_set_text(&vm.spec.kernel, NULL);
	assert_true(store_vm_insert(store, &vm, &err) < 0);
	CHECK_STR(err.message, "there is no kernel ''");
	vm_set_text(&vm.spec.kernel, "krn");
	vm.spec.memory_bytes = UINT64_MAX;
	assert_true(store_vm_insert(store, &vm, &err) < 0);
	CHECK_INT(err.kind, ERR_INVALID);
	vm.spec.memory_bytes = 0;
	assert_true(store_vm_insert(store, &vm, &err) < 0);
	CHECK_HAS(err.message, "CHECK constraint failed");

	/* None of it left anything, and the store goes on. */
	CHECK_INT(store_vm_count(store, &total, &running, &err), 0);
	CHECK_INT(total, 1);
	vm.spec.memory_bytes = GIB;
	CHECK_INT(store_vm_insert(store, &vm, &err), 0);
	CHECK_INT(store_check_health(store, &err), 0);
}

static void test_update(void **state)
{
	CLEANUP(store_closep) struct store *store = fresh();
	struct err err = ERR_INIT;
	AUTO_VM vm;
	AUTO_VM got;

	(void)state;
	vm_init(&got);
	insert_vm(store, 1);
	insert_vm(store, 2);
	fill_everything(&vm);
	vm_set_text(&vm.name, "renamed");
	CHECK_INT(store_vm_update(store, &vm, &err), 0);
	CHECK_INT(store_vm_get(store, vm.id, &got, &err), 0);
	check_same(&got, &vm);

	vm_set_text(&vm.name, "vm-2");
	assert_true(store_vm_update(store, &vm, &err) < 0);
	CHECK_STR(err.message, "a VM named 'vm-2' exists already");
	vm_set_text(&vm.name, "new");
	(void)snprintf(vm.id, sizeof(vm.id), "%032x", 77U);
	assert_true(store_vm_update(store, &vm, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
}

static void test_states(void **state)
{
	CLEANUP(store_closep) struct store *store = fresh();
	static const char id[] = "00000000000000000000000000000001";
	static const char nobody[] = "ffffffffffffffffffffffffffffffff";
	struct err err = ERR_INIT;

	(void)state;
	insert_vm(store, 1);
	CHECK_INT(store_vm_set_intent(store, id, VM_INTENT_START, "disks", &err), 0);
	{
		AUTO_VM vm;

		CHECK_INT(store_vm_get(store, id, &vm, &err), 0);
		CHECK_INT(vm.intent, VM_INTENT_START);
		CHECK_STR(vm.intent_step, "disks");
		CHECK_INT(vm.state, VM_CREATED);
	}
	CHECK_INT(store_vm_set_used(store, id, 4711, &err), 0);
	{
		AUTO_VM vm;

		CHECK_INT(store_vm_get(store, id, &vm, &err), 0);
		CHECK_INT(vm.used_at_ms, 4711);
		CHECK_INT(vm.intent, VM_INTENT_START);
	}
	const struct vm_workspace workspace = { .guest_path = (char[]){ "/root/r" },
						.host_path = (char[]){ "/home/me/r" },
						.head = (char[]){ "abc" },
						.fingerprint = (char[]){ "f" },
						.branch = (char[]){ "b" },
						.from = (char[]){ "def" },
						.mode = (char[]){ "m" },
						.has_untracked = true,
						.is_pending = true };

	CHECK_INT(store_vm_set_workspace(store, id, &workspace, &err), 0);
	{
		AUTO_VM vm;

		CHECK_INT(store_vm_get(store, id, &vm, &err), 0);
		CHECK_STR(vm.workspace.guest_path, "/root/r");
		CHECK_STR(vm.workspace.host_path, "/home/me/r");
		CHECK_STR(vm.workspace.head, "abc");
		CHECK_STR(vm.workspace.fingerprint, "f");
		CHECK_STR(vm.workspace.branch, "b");
		CHECK_STR(vm.workspace.from, "def");
		CHECK_STR(vm.workspace.mode, "m");
		CHECK_INT(vm.workspace.has_untracked, true);
		CHECK_INT(vm.workspace.is_pending, true);
		CHECK_INT(vm.used_at_ms, 4711);
	}
	CHECK_INT(store_vm_set_started(store, id, 1700001000, "boot", &err), 0);
	{
		AUTO_VM vm;

		CHECK_INT(store_vm_get(store, id, &vm, &err), 0);
		CHECK_INT(vm.intent, VM_INTENT_NONE);
		assert_null(vm.intent_step);
		CHECK_INT(vm.state, VM_RUNNING);
		CHECK_INT(vm.started_at, 1700001000);
		CHECK_STR(vm.boot_id, "boot");
		CHECK_INT(vm.used_at_ms, 0);
	}
	CHECK_INT(store_vm_set_intent(store, id, VM_INTENT_STOP, NULL, &err), 0);
	CHECK_INT(store_vm_set_state(store, id, VM_ERROR, "the VMM died", &err), 0);
	{
		AUTO_VM vm;

		CHECK_INT(store_vm_get(store, id, &vm, &err), 0);
		CHECK_INT(vm.intent, VM_INTENT_NONE);
		CHECK_INT(vm.state, VM_ERROR);
		CHECK_STR(vm.last_error, "the VMM died");
		CHECK_INT(vm.started_at, 1700001000);
	}
	CHECK_INT(store_vm_set_state(store, id, VM_STOPPED, NULL, &err), 0);
	{
		AUTO_VM vm;

		CHECK_INT(store_vm_get(store, id, &vm, &err), 0);
		assert_null(vm.last_error);
	}

	assert_true(store_vm_set_state(store, nobody, VM_STOPPED, NULL, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	CHECK_HAS(err.message, "there is no VM with the id 'ffff");
	assert_true(store_vm_set_started(store, nobody, 1, "b", &err) < 0);
	assert_true(store_vm_set_intent(store, nobody, VM_INTENT_STOP, NULL, &err) < 0);
	assert_true(store_vm_set_used(store, nobody, 1, &err) < 0);
	assert_true(store_vm_set_workspace(store, nobody, &workspace, &err) < 0);
	assert_true(store_vm_delete(store, nobody, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);

	CHECK_INT(store_vm_delete(store, id, &err), 0);
	assert_true(store_vm_delete(store, id, &err) < 0);
}

static void test_list(void **state)
{
	CLEANUP(store_closep) struct store *store = fresh();
	struct err err = ERR_INIT;
	uint64_t total = 7, running = 7;
	bool taken = true;
	AUTO_VM_LIST none = { .items = NULL };
	AUTO_VM_LIST list = { .items = NULL };

	(void)state;
	CHECK_INT(store_vm_list(store, &none, &err), 0);
	CHECK_INT(none.count, 0);
	CHECK_INT(store_vm_count(store, &total, &running, &err), 0);
	CHECK_INT(total + running, 0);
	CHECK_INT(store_vm_name_taken(store, "vm-9", &taken, &err), 0);
	assert_false(taken);

	/* The order is that of creation, not of ids. */
	insert_vm(store, 9);
	insert_vm(store, 3);
	insert_vm(store, 5);
	CHECK_INT(store_vm_set_started(store, "00000000000000000000000000000003", 1, "b", &err), 0);
	CHECK_INT(store_vm_set_state(store, "00000000000000000000000000000005", VM_PAUSED, NULL,
				     &err),
		  0);
	CHECK_INT(store_vm_list(store, &list, &err), 0);
	CHECK_INT(list.count, 3);
	CHECK_STR(list.items[0].name, "vm-9");
	CHECK_STR(list.items[1].name, "vm-3");
	CHECK_STR(list.items[2].name, "vm-5");
	CHECK_INT(store_vm_count(store, &total, &running, &err), 0);
	CHECK_INT(total, 3);
	CHECK_INT(running, 2);
	CHECK_INT(store_vm_name_taken(store, "vm-9", &taken, &err), 0);
	assert_true(taken);
}

static void test_named(void **state)
{
	CLEANUP(store_closep) struct store *store = fresh();
	struct err err = ERR_INIT;
	AUTO_VM vm;

	(void)state;
	insert_vm(store, 12);
	vm_init(&vm);
	CHECK_INT(store_vm_get_named(store, "vm-12", &vm, &err), 0);
	CHECK_STR(vm.id, "0000000000000000000000000000000c");
	assert_true(store_vm_get_named(store, "vm-1", &(struct vm){ 0 }, &err) < 0);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
}

static void note_id(void *context, const char *id)
{
	buf_addf(context, "%c ", id[31]);
}

/* Every change of a row counts, and who watches hears of those that can be seen; failed ones are
 * none. */
static void test_changes(void **state)
{
	CLEANUP(store_closep) struct store *store = fresh();
	const char *id = "00000000000000000000000000000003";
	struct err err = ERR_INIT;
	AUTO_BUF heard = BUF_INIT;
	uint64_t before;

	(void)state;
	store_watch_vms(store, note_id, &heard);
	before = store_changes(store);
	insert_vm(store, 3);
	CHECK_INT(store_vm_set_state(store, id, VM_STOPPED, NULL, &err), 0);
	CHECK_INT(store_vm_set_started(store, id, 1, "b", &err), 0);
	CHECK_INT(store_vm_set_intent(store, id, VM_INTENT_STOP, NULL, &err), 0);
	CHECK_INT(store_vm_delete(store, id, &err), 0);
	CHECK_INT(store_changes(store) - before, 5);
	assert_true(store_vm_delete(store, id, &err) < 0);
	CHECK_INT(store_changes(store) - before, 5);
	CHECK_STR(heard.ptr, "3 3 3 3 ");
}

static void test_images(void **state)
{
	CLEANUP(store_closep) struct store *store = fresh();
	struct err err = ERR_INIT;
	AUTO_IMAGE_RECORD_LIST list = { .items = NULL };
	AUTO_IMAGE_RECORD image;
	AUTO_VM vm;

	(void)state;
	image_record_init(&image);
	CHECK_INT(store_image_get(store, "img", &image, &err), 0);
	CHECK_STR(image.kernel, "debian-cloud");
	CHECK_STR(image.source, "docker.io/library/x:1");
	CHECK_STR(image.digest, "sha256:abc");
	CHECK_INT(image.size_bytes, 2 * GIB);
	assert_true(image.has_init && image.state == ARTIFACT_READY);
	CHECK_INT(image.in_use, 0);

	insert_vm(store, 1);
	insert_vm(store, 2);
	put_image(store, "another");
	CHECK_INT(store_image_list(store, &list, &err), 0);
	CHECK_INT(list.count, 2);
	CHECK_STR(list.items[0].name, "another");
	CHECK_INT(list.items[0].in_use, 0);
	CHECK_INT(list.items[1].in_use, 2);

	/* In use: neither marked nor deleted, nor about to be replaced; replaced, the VMs stay. */
	image.state = ARTIFACT_PULLING;
	assert_true(store_image_put(store, &image, &err) < 0);
	CHECK_INT(err.kind, ERR_BUSY);
	CHECK_STR(err.message, "the image 'img' is in use by 2 VMs");
	assert_true(store_image_set_state(store, "img", ARTIFACT_DELETING, &err) < 0);
	CHECK_INT(err.kind, ERR_BUSY);
	CHECK_STR(err.message, "the image 'img' is in use by 2 VMs");
	assert_true(store_image_delete(store, "img", &err) < 0);
	CHECK_STR(err.message, "the image 'img' is in use by 2 VMs");
	put_image(store, "img");
	CHECK_INT(store_vm_delete(store, "00000000000000000000000000000002", &err), 0);
	assert_true(store_image_delete(store, "img", &err) < 0);
	CHECK_STR(err.message, "the image 'img' is in use by 1 VM");

	/* Marked first: then no VM can come to use it. */
	CHECK_INT(store_image_set_state(store, "another", ARTIFACT_DELETING, &err), 0);
	fill_vm(&vm, 3);
	vm_set_text(&vm.spec.image, "another");
	assert_true(store_vm_insert(store, &vm, &err) < 0);
	CHECK_INT(err.kind, ERR_BUSY);
	CHECK_STR(err.message, "the image 'another' is being deleted");
	CHECK_INT(store_image_delete(store, "another", &err), 0);
	assert_true(store_image_delete(store, "another", &err) < 0);
	CHECK_STR(err.message, "there is no image 'another'");
	assert_true(store_image_set_state(store, "another", ARTIFACT_READY, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	assert_true(store_image_get(store, "another", &image, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
}

static void test_kernels(void **state)
{
	CLEANUP(store_closep) struct store *store = fresh();
	struct err err = ERR_INIT;
	AUTO_KERNEL_RECORD_LIST list = { .items = NULL };
	AUTO_KERNEL_RECORD pulling;
	AUTO_VM vm;

	(void)state;
	kernel_record_init(&pulling);
	pulling.name = mem_strdup("half");
	CHECK_INT(store_kernel_put(store, &pulling, &err), 0);
	fill_vm(&vm, 1);
	vm_set_text(&vm.spec.kernel, "half");
	assert_true(store_vm_insert(store, &vm, &err) < 0);
	CHECK_STR(err.message, "the kernel 'half' is not complete yet");
	CHECK_INT(store_kernel_set_state(store, "half", ARTIFACT_READY, &err), 0);
	CHECK_INT(store_vm_insert(store, &vm, &err), 0);

	CHECK_INT(store_kernel_list(store, &list, &err), 0);
	CHECK_INT(list.count, 2);
	CHECK_STR(list.items[0].name, "half");
	CHECK_INT(list.items[0].in_use, 1);
	assert_null(list.items[0].release);
	CHECK_STR(list.items[1].release, "6.1.0-1-cloud-amd64");
	CHECK_INT(list.items[1].module_count, 1234);
	assert_true(list.items[1].has_elf && !list.items[1].has_bzimage);

	assert_true(store_kernel_delete(store, "half", &err) < 0);
	CHECK_STR(err.message, "the kernel 'half' is in use by 1 VM");
	CHECK_INT(store_kernel_delete(store, "krn", &err), 0);
	{
		AUTO_KERNEL_RECORD got;

		CHECK_INT(store_kernel_get(store, "half", &got, &err), 0);
		CHECK_INT(got.state, ARTIFACT_READY);
	}
}

static void *insert_many(void *context)
{
	struct store *store = context;
	static unsigned int next = 100;

	for (int i = 0; i < 25; i++)
		insert_vm(store, __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED));
	return NULL;
}

static void *list_many(void *context)
{
	struct store *store = context;
	size_t last = 0;

	for (int i = 0; i < 100; i++) {
		struct err err = ERR_INIT;
		AUTO_VM_LIST list = { .items = NULL };

		CHECK_INT(store_vm_list(store, &list, &err), 0);
		assert_true(list.count >= last);
		last = list.count;
	}
	return NULL;
}

static void fill_template(struct template_record *record, unsigned int number)
{
	template_record_init(record);
	(void)snprintf(record->id, sizeof(record->id), "%032x", number);
	(void)snprintf(record->key, sizeof(record->key), "%064x", number + 1);
	record->image = mem_strdup("img");
	record->kernel = mem_strdup("krn");
	record->vcpu = 2;
	record->memory_bytes = GIB;
	record->system_bytes = 3 * GIB;
	record->work_bytes = 64 << 20;
	record->used_bytes = 300 << 20;
	record->created_at = 1700000000;
	record->used_at = 1700000000 + number;
	record->build_ms = 12345;
}

static void insert_template(struct store *store, unsigned int number)
{
	struct err err = ERR_INIT;
	AUTO_TEMPLATE_RECORD record;

	fill_template(&record, number);
	if (store_template_insert(store, &record, &err) < 0)
		fail_msg("%s", err.message);
}

static size_t count_templates(struct store *store)
{
	AUTO_TEMPLATE_RECORD_LIST list = { .items = NULL };
	struct err err = ERR_INIT;

	CHECK_INT(store_template_list(store, &list, &err), 0);
	return list.count;
}

static void test_templates(void **state)
{
	struct store *store = fresh();
	AUTO_TEMPLATE_RECORD_LIST list = { .items = NULL };
	AUTO_TEMPLATE_RECORD wanted, got, other;
	struct err err = ERR_INIT;
	char key[TEMPLATE_KEY_SIZE];

	(void)state;
	CHECK_INT(count_templates(store), 0);
	insert_template(store, 1);
	insert_template(store, 3);
	insert_template(store, 2);
	store = reopen(store);
	fill_template(&wanted, 2);
	CHECK_INT(store_template_find(store, wanted.key, &got, &err), 0);
	CHECK_STR(got.id, wanted.id);
	CHECK_STR(got.key, wanted.key);
	check_text(got.image, "img");
	check_text(got.kernel, "krn");
	CHECK_INT(got.vcpu, wanted.vcpu);
	CHECK_INT(got.memory_bytes, wanted.memory_bytes);
	CHECK_INT(got.system_bytes, wanted.system_bytes);
	CHECK_INT(got.work_bytes, wanted.work_bytes);
	CHECK_INT(got.used_bytes, wanted.used_bytes);
	CHECK_INT(got.created_at, wanted.created_at);
	CHECK_INT(got.used_at, wanted.used_at);
	CHECK_INT(got.build_ms, wanted.build_ms);

	/* One for each key. */
	fill_template(&other, 4);
	memcpy(other.key, wanted.key, sizeof(other.key));
	assert_true(store_template_insert(store, &other, &err) < 0);
	err = ERR_INIT;

	/* Used last, listed first. */
	CHECK_INT(store_template_set_used(store, wanted.id, 1800000000, &err), 0);
	CHECK_INT(store_template_list(store, &list, &err), 0);
	CHECK_INT(list.count, 3);
	CHECK_STR(list.items[0].id, wanted.id);
	CHECK_INT(list.items[1].used_at, 1700000003);
	CHECK_INT(list.items[2].used_at, 1700000001);

	CHECK_INT(store_template_delete(store, wanted.id, &err), 0);
	assert_true(store_template_delete(store, wanted.id, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	assert_true(store_template_set_used(store, wanted.id, 1, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	(void)snprintf(key, sizeof(key), "%064x", 77U);
	template_record_done(&got);
	assert_true(store_template_find(store, key, &got, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	CHECK_INT(count_templates(store), 2);

	/* They keep neither image nor kernel, and go with them. */
	err = ERR_INIT;
	CHECK_INT(store_image_delete(store, "img", &err), 0);
	CHECK_INT(count_templates(store), 0);
	put_image(store, "img");
	insert_template(store, 5);
	CHECK_INT(store_kernel_delete(store, "krn", &err), 0);
	CHECK_INT(count_templates(store), 0);
	fill_template(&got, 6);
	assert_true(store_template_insert(store, &got, &err) < 0);
	store_close(store);
}

static void test_threads(void **state)
{
	CLEANUP(store_closep) struct store *store = fresh();
	pthread_t threads[4];
	uint64_t total = 0, running = 0;
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		CHECK_INT(pthread_create(&threads[i], NULL, i < 2 ? insert_many : list_many, store),
			  0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		CHECK_INT(pthread_join(threads[i], NULL), 0);
	CHECK_INT(store_vm_count(store, &total, &running, &err), 0);
	CHECK_INT(total, 50);
}

static void test_files(void **state)
{
	CLEANUP(store_closep) struct store *store = fresh();
	AUTO_FREE char *wal = mem_printf("%s-wal", path);
	struct err err = ERR_INIT;
	struct stat status;

	(void)state;
	CHECK_INT(stat(path, &status), 0);
	CHECK_INT(status.st_mode & 07777, 0600);
	CHECK_INT(stat(wal, &status), 0);
	CHECK_INT(status.st_mode & 07777, 0600);
	CHECK_INT(stat(reserve, &status), 0);
	assert_true(status.st_blocks * 512 >= STORE_RESERVE_BYTES);
	CHECK_INT(status.st_mode & 07777, 0600);

	assert_true(reserve_free(store));
	assert_int_equal(stat(reserve, &status), -1);
	assert_false(reserve_free(store));
	insert_vm(store, 1);
	CHECK_INT(stat(reserve, &status), 0);
	assert_true(reserve_free(store));
	CHECK_INT(store_vm_delete(store, "00000000000000000000000000000001", &err), 0);
	CHECK_INT(stat(reserve, &status), 0);
	assert_true(reserve_free(store));
	store_restore_reserve(store);
	CHECK_INT(stat(reserve, &status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_insert_refusals),
		cmocka_unit_test(test_update),	   cmocka_unit_test(test_states),
		cmocka_unit_test(test_list),	   cmocka_unit_test(test_named),
		cmocka_unit_test(test_changes),	   cmocka_unit_test(test_images),
		cmocka_unit_test(test_kernels),	   cmocka_unit_test(test_templates),
		cmocka_unit_test(test_threads),	   cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
