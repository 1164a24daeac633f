/* Snapshots: their names, what a user means by one, and what is stored of them. */
#include "check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "model/snapshot.h"
#include "store/store.h"

static char folder[] = "/tmp/banger-test-snapshots-XXXXXX";

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

static void add(struct snapshot_record_list *list, const char *id, const char *name)
{
	struct snapshot_record *record = snapshot_record_list_add(list);

	(void)snprintf(record->id, sizeof(record->id), "%s", id);
	record->name = mem_strdup(name);
}

static void test_resolve(void **state)
{
	static const struct {
		const char *reference;
		const char *wanted; /* the name, or what is wrong */
		const char *hint;
	} rows[] = {
		{ "first", "first", NULL },
		{ "ab12", "second", NULL },
		{ "ab120000000000000000000000000000", "second", NULL },
		{ "ac", "third", NULL },
		/* A name comes before the beginning of an id. */
		{ "ab1", "ab1", NULL },
		{ "a", "'a' is the beginning of more than one snapshot's id", NULL },
		{ "", "a snapshot must be named: its name, or the beginning of its id", NULL },
		{ "secnd", "'box' has no snapshot 'secnd'", "did you mean 'second'?" },
		{ "zzzzzzzz", "'box' has no snapshot 'zzzzzzzz'",
		  "'banger vm snapshot list box' shows those that there are" },
		/* Names are said whole. */
		{ "fir", "'box' has no snapshot 'fir'", NULL },
	};
	AUTO_SNAPSHOT_RECORD_LIST list = { .items = NULL };

	(void)state;
	add(&list, "ff000000000000000000000000000000", "first");
	add(&list, "ab120000000000000000000000000000", "second");
	add(&list, "ac000000000000000000000000000000", "third");
	add(&list, "0b000000000000000000000000000000", "ab1");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		size_t index = 99;
		const int r = snapshot_resolve(&list, "box", rows[i].reference, &index, &err);

		CHECK_STR(r < 0 ? err.message : list.items[index].name, rows[i].wanted);
		if (rows[i].hint)
			CHECK_STR(err.hint, rows[i].hint);
	}
}

static void test_names(void **state)
{
	AUTO_SNAPSHOT_RECORD_LIST list = { .items = NULL };
	struct err err = ERR_INIT;
	AUTO_FREE char *name = NULL;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		mem_free(name);
		name = NULL;
		CHECK_INT(snapshot_choose_name(&list, "box", NULL, &name, &err), 0);
		CHECK_INT(name[4] - '0', i);
		add(&list, "ff000000000000000000000000000000", name);
	}
	/* The first that is free. */
	vm_set_text(&list.items[1].name, "other");
	mem_free(name);
	CHECK_INT(snapshot_choose_name(&list, "box", NULL, &name, &err), 0);
	CHECK_STR(name, "snap1");
	mem_free(name);
	CHECK_INT(snapshot_choose_name(&list, "box", "mine", &name, &err), 0);
	CHECK_STR(name, "mine");
	assert_true(snapshot_choose_name(&list, "box", "other", &name, &err) < 0);
	CHECK_INT(err.kind, ERR_EXISTS);
	CHECK_STR(err.message, "'box' has a snapshot named 'other' already");
	assert_true(snapshot_choose_name(&list, "box", "Not one", &name, &err) < 0);
	CHECK_INT(err.kind, ERR_INVALID);
	CHECK_HAS(err.message, "'Not one' is no snapshot name: it must be");
	assert_true(snapshot_choose_name(&list, "box", "", &name, &err) < 0);
	CHECK_INT(err.kind, ERR_INVALID);
	/* One is the last, and then there is no more. */
	while (list.count < SNAPSHOTS_MAX - 1)
		add(&list, "ff000000000000000000000000000000", "x");
	mem_free(name);
	name = NULL;
	CHECK_INT(snapshot_choose_name(&list, "box", "last", &name, &err), 0);
	add(&list, "ff000000000000000000000000000000", "last");
	assert_true(snapshot_choose_name(&list, "box", "more", &name, &err) < 0);
	CHECK_INT(err.kind, ERR_LIMIT);
	CHECK_STR(err.message, "'box' has 64 snapshots, which is the limit");
	CHECK_STR(name, "last");
}

static void fill(struct snapshot_record *record, unsigned int number, const char *vm_id)
{
	snapshot_record_init(record);
	(void)snprintf(record->id, sizeof(record->id), "%032x", number);
	(void)snprintf(record->vm_id, sizeof(record->vm_id), "%s", vm_id);
	record->machine_key = mem_printf("form:2 vmm:%016x", number + 1);
	(void)snprintf(record->state_sha256, sizeof(record->state_sha256), "%064x", number + 2);
	record->name = mem_printf("snap%u", number);
	for (size_t i = 0; i < SNAPSHOT_PART_COUNT; i++)
		record->files[i] =
			(struct snapshot_file){ .name = mem_printf("file%zu", i),
						.size = 1000 + i,
						.changed_ns = 1700000000123456789 + (int64_t)i };
	record->vcpu = 2;
	record->memory_bytes = 512 << 20;
	record->system_bytes = 3ULL << 30;
	record->work_bytes = 64 << 20;
	vm_set_text(&record->workspace.guest_path, "/root/x");
	record->workspace.has_untracked = true;
	record->used_bytes = 600 << 20;
	record->pause_us = 4711;
	record->created_at = 1700000000 + number;
}

static void insert(struct store *store, unsigned int number, const char *vm_id)
{
	struct err err = ERR_INIT;
	AUTO_SNAPSHOT_RECORD record;

	fill(&record, number, vm_id);
	if (store_snapshot_insert(store, &record, &err) < 0)
		fail_msg("%s", err.message);
}

static size_t count(struct store *store, const char *vm_id)
{
	AUTO_SNAPSHOT_RECORD_LIST list = { .items = NULL };
	struct err err = ERR_INIT;

	CHECK_INT(store_snapshot_list(store, vm_id, &list, &err), 0);
	return list.count;
}

static void insert_vm(struct store *store, const char *id, const char *name)
{
	struct err err = ERR_INIT;
	AUTO_VM vm;

	vm_init(&vm);
	(void)snprintf(vm.id, sizeof(vm.id), "%s", id);
	vm.name = mem_strdup(name);
	vm.spec = (struct vm_spec){ .vcpu = 1,
				    .memory_bytes = 1,
				    .disk_bytes = 1,
				    .system_overlay_bytes = 1,
				    .image = mem_strdup("img"),
				    .kernel = mem_strdup("krn") };
	if (store_vm_insert(store, &vm, &err) < 0)
		fail_msg("%s", err.message);
}

static struct store *open_store(void)
{
	AUTO_FREE char *path = mem_printf("%s/state.db", folder);
	struct store *store = NULL;
	struct err err = ERR_INIT;

	if (store_open(path, NULL, &store, &err) < 0)
		fail_msg("%s", err.message);
	return store;
}

static void put_artifacts(struct store *store)
{
	struct image_record image = { .name = (char[]){ "img" },
				      .state = ARTIFACT_READY,
				      .kind = (char[]){ "managed" } };
	struct kernel_record kernel = { .name = (char[]){ "krn" },
					.state = ARTIFACT_READY,
					.kind = (char[]){ "package" } };
	struct err err = ERR_INIT;

	if (store_image_put(store, &image, &err) < 0 || store_kernel_put(store, &kernel, &err) < 0)
		fail_msg("%s", err.message);
}

static void check_record(const struct snapshot_record *got, const struct snapshot_record *wanted)
{
	CHECK_STR(got->id, wanted->id);
	CHECK_STR(got->vm_id, wanted->vm_id);
	CHECK_STR(got->name, wanted->name);
	CHECK_STR(got->machine_key, wanted->machine_key);
	CHECK_STR(got->state_sha256, wanted->state_sha256);
	for (size_t i = 0; i < SNAPSHOT_PART_COUNT; i++) {
		CHECK_STR(got->files[i].name, wanted->files[i].name);
		CHECK_INT(got->files[i].size, wanted->files[i].size);
		CHECK_INT(got->files[i].changed_ns, wanted->files[i].changed_ns);
	}
	CHECK_INT(got->vcpu, wanted->vcpu);
	CHECK_INT(got->memory_bytes, wanted->memory_bytes);
	CHECK_INT(got->system_bytes, wanted->system_bytes);
	CHECK_INT(got->work_bytes, wanted->work_bytes);
	CHECK_STR(got->workspace.guest_path, wanted->workspace.guest_path);
	CHECK_INT(got->workspace.has_untracked, wanted->workspace.has_untracked);
	assert_null(got->workspace.head);
	CHECK_INT(got->used_bytes, wanted->used_bytes);
	CHECK_INT(got->pause_us, wanted->pause_us);
	CHECK_INT(got->created_at, wanted->created_at);
}

static void test_store(void **state)
{
	static const char a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	static const char b[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
	CLEANUP(store_closep) struct store *store = open_store();
	AUTO_SNAPSHOT_RECORD wanted, got, other;
	struct err err = ERR_INIT;

	(void)state;
	put_artifacts(store);
	insert_vm(store, a, "a");
	insert_vm(store, b, "b");
	insert(store, 3, a);
	insert(store, 1, a);
	insert(store, 2, b);
	CHECK_INT(count(store, NULL), 3);
	CHECK_INT(count(store, a), 2);
	fill(&wanted, 3, a);
	CHECK_INT(store_snapshot_get(store, wanted.id, &got, &err), 0);
	check_record(&got, &wanted);

	/* Each VM has a name once, and others have it, too. */
	fill(&other, 4, b);
	vm_set_text(&other.name, "snap3");
	CHECK_INT(store_snapshot_insert(store, &other, &err), 0);
	(void)snprintf(other.id, sizeof(other.id), "%032x", 5U);
	assert_true(store_snapshot_insert(store, &other, &err) < 0);
	CHECK_INT(err.kind, ERR_EXISTS);
	err = ERR_INIT;

	CHECK_INT(store_snapshot_delete(store, wanted.id, &err), 0);
	assert_true(store_snapshot_delete(store, wanted.id, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	snapshot_record_done(&got);
	assert_true(store_snapshot_get(store, wanted.id, &got, &err) < 0);
	CHECK_INT(err.kind, ERR_NOT_FOUND);
	err = ERR_INIT;

	/* They go with their VM, and there is none without. */
	CHECK_INT(count(store, b), 2);
	CHECK_INT(store_vm_delete(store, b, &err), 0);
	CHECK_INT(count(store, b), 0);
	CHECK_INT(count(store, NULL), 1);
	assert_true(store_snapshot_insert(store, &other, &err) < 0);
}

static void test_json(void **state)
{
	AUTO_SNAPSHOT_RECORD record;
	AUTO_JSON *json = NULL;

	(void)state;
	fill(&record, 7, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	json = snapshot_to_json(&record, "box", "/x");
	CHECK_STR(json_get_str(json, "name"), "snap7");
	CHECK_STR(json_get_str(json, "vm_name"), "box");
	CHECK_STR(json_get_str(json, "created_at"), "2023-11-14T22:13:27Z");
	CHECK_INT(json_get_u64(json, "pause_us"), 4711);
	CHECK_STR(json_get_str(json, "directory"), "/x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resolve),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_store),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
