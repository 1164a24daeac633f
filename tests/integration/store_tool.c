/*
 * The database on a disk that is really full: store_tool FOLDER, where FOLDER is on a small file
 * system. Stores VMs, fills the disk to its last byte, opens the database again as a daemon that
 * starts would, and deletes every VM. Each step says what came of it; store.bats reads that.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "store/store.h"

#define VM_COUNT 200

struct places {
	char *database;
	char *reserve;
	char *filler;
};

static int insert_vm(struct store *store, unsigned int number, struct err *err)
{
	AUTO_VM vm;

	vm_init(&vm);
	(void)snprintf(vm.id, sizeof(vm.id), "%032x", number);
	vm.name = mem_printf("vm-%u", number);
	vm.spec = (struct vm_spec){ .vcpu = 1,
				    .memory_bytes = 1,
				    .disk_bytes = 1,
				    .system_overlay_bytes = 1,
				    .image = mem_strdup("img"),
				    .kernel = mem_strdup("krn") };
	return store_vm_insert(store, &vm, err);
}

static int store_vms(const struct places *places, struct err *err)
{
	CLEANUP(store_closep) struct store *store = NULL;
	AUTO_IMAGE_RECORD image;
	AUTO_KERNEL_RECORD kernel;
	int r;

	image_record_init(&image);
	kernel_record_init(&kernel);
	image.name = mem_strdup("img");
	kernel.name = mem_strdup("krn");
	image.state = ARTIFACT_READY;
	kernel.state = ARTIFACT_READY;
	r = store_open(places->database, places->reserve, &store, err);
	if (r == 0)
		r = store_image_put(store, &image, err);
	if (r == 0)
		r = store_kernel_put(store, &kernel, err);
	for (unsigned int i = 0; r == 0 && i < VM_COUNT; i++)
		r = insert_vm(store, i, err);
	return r;
}

/* Until not one byte more goes in. */
static int fill_disk(const struct places *places)
{
	AUTO_CLOSE int fd = open(places->filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	static const char zeros[4096];
	size_t size = sizeof(zeros);

	if (fd < 0)
		return -errno;
	while (size > 0) {
		const ssize_t n = fd_write_some(fd, span_of(zeros, size));

		if (n == -ENOSPC)
			size = size > 1 ? 1 : 0;
		else if (n < 0)
			return (int)n;
	}
	return 0;
}

static int delete_vms(struct store *store, struct err *err)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < VM_COUNT; i++) {
		char id[VM_ID_SIZE];

		(void)snprintf(id, sizeof(id), "%032x", i);
		r = store_vm_set_intent(store, id, VM_INTENT_STOP, NULL, err);
		if (r == 0)
			r = store_vm_set_state(store, id, VM_STOPPED, NULL, err);
		if (r == 0)
			r = store_vm_set_intent(store, id, VM_INTENT_DELETE, NULL, err);
		if (r == 0)
			r = store_vm_delete(store, id, err);
	}
	return r;
}

static int work_on_full_disk(const struct places *places, struct err *err)
{
	CLEANUP(store_closep) struct store *store = NULL;
	struct err refusal = ERR_INIT;
	uint64_t total = 0, running = 0;
	int r;

	r = store_open(places->database, places->reserve, &store, err);
	if (r < 0)
		return r;
	printf("opened\n");

	printf("create: %s\n",
	       insert_vm(store, VM_COUNT, &refusal) < 0 ? refusal.message : "stored");
	r = delete_vms(store, err);
	if (r == 0)
		r = store_check_health(store, err);
	if (r == 0)
		r = store_vm_count(store, &total, &running, err);
	if (r < 0)
		return r;
	printf("left: %" PRIu64 "\n", total);

	if (unlink(places->filler) < 0)
		return err_sys(err, -errno, "make room");
	r = insert_vm(store, VM_COUNT, err);
	if (r == 0)
		printf("create with room: stored\n");
	return r;
}

int main(int argc, char **argv)
{
	struct places places = { .database = NULL };
	struct err err = ERR_INIT;
	int r;

	if (argc != 2)
		return 2;

	places.database = mem_printf("%s/state.db", argv[1]);
	places.reserve = mem_printf("%s/reserve", argv[1]);
	places.filler = mem_printf("%s/filler", argv[1]);
	r = store_vms(&places, &err);
	if (r == 0 && fill_disk(&places) < 0)
		r = err_set(&err, ERR_SYSTEM, "fill the disk");
	if (r == 0)
		r = work_on_full_disk(&places, &err);
	if (r < 0)
		printf("failed: %s\n", err.message);
	mem_free(places.database);
	mem_free(places.reserve);
	mem_free(places.filler);
	return r < 0 ? 1 : 0;
}
