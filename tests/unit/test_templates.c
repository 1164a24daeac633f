/* Templates: which go and when, whom they wait for, and which are built unasked. */
#include "check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "daemon/template_private.h"
#include "daemon/template_wanted.h"
#include "daemon/vm_capture.h"

#define ID_A "aa000000000000000000000000000000"
#define ID_B "ab000000000000000000000000000000"

struct fixture {
	char path[64];
	struct daemon daemon;
};

static void add_artifacts(struct store *store)
{
	AUTO_IMAGE_RECORD image;
	AUTO_KERNEL_RECORD kernel;
	struct err err = ERR_INIT;

	image_record_init(&image);
	kernel_record_init(&kernel);
	image.name = mem_strdup("image");
	image.state = ARTIFACT_READY;
	kernel.name = mem_strdup("kernel");
	kernel.state = ARTIFACT_READY;
	assert_int_equal(store_image_put(store, &image, &err), 0);
	assert_int_equal(store_kernel_put(store, &kernel, &err), 0);
}

static int setup(void **state)
{
	struct fixture *fixture = mem_alloc(1, sizeof(*fixture));
	struct daemon *daemon = &fixture->daemon;
	AUTO_FREE char *database = NULL;
	AUTO_FREE char *reserve = NULL;
	struct err err = ERR_INIT;

	(void)snprintf(fixture->path, sizeof(fixture->path), "/tmp/test-templates-XXXXXX");
	assert_non_null(mkdtemp(fixture->path));
	database = mem_printf("%s/state.db", fixture->path);
	reserve = mem_printf("%s/reserve", fixture->path);
	daemon->templates_dir = mem_printf("%s/templates", fixture->path);
	daemon->images_dir = mem_printf("%s/images", fixture->path);
	daemon->kernels_dir = mem_printf("%s/kernels", fixture->path);
	daemon->templates = templates_new();
	assert_int_equal(store_open(database, reserve, &daemon->store, &err), 0);
	add_artifacts(daemon->store);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	int r;

	store_close(fixture->daemon.store);
	templates_free(fixture->daemon.templates);
	r = dir_remove_tree(AT_FDCWD, fixture->path);
	mem_free(fixture->daemon.templates_dir);
	mem_free(fixture->daemon.images_dir);
	mem_free(fixture->daemon.kernels_dir);
	mem_free(fixture);
	return r;
}

static void add(struct fixture *fixture, const char *id, int64_t used_at)
{
	AUTO_FREE char *folder = template_folder(&fixture->daemon, id);
	AUTO_CLOSE int dir_fd = -1;
	AUTO_TEMPLATE_RECORD record = { .image = mem_strdup("image"),
					.kernel = mem_strdup("kernel"),
					.vcpu = 1,
					.memory_bytes = 512 << 20,
					.system_bytes = 1 << 30,
					.work_bytes = 1 << 30,
					.used_bytes = 70 << 20,
					.used_at = used_at };
	struct err err = ERR_INIT;

	(void)snprintf(record.id, sizeof(record.id), "%s", id);
	(void)snprintf(record.key, sizeof(record.key), "%s%s", id, id);
	assert_int_equal(dir_make_path(folder, 0700), 0);
	dir_fd = dir_open(folder);
	assert_int_equal(file_replace(dir_fd, VM_CAPTURE_MEMORY, span_str("x"), 0600), 0);
	assert_int_equal(file_replace(dir_fd, VM_CAPTURE_STATE, span_str("x"), 0600), 0);
	assert_int_equal(store_template_insert(fixture->daemon.store, &record, &err), 0);
}

/* Row and folder, or neither. */
static bool is_there(struct fixture *fixture, const char *id)
{
	AUTO_FREE char *folder = template_folder(&fixture->daemon, id);
	AUTO_FREE char *key = mem_printf("%s%s", id, id);
	AUTO_TEMPLATE_RECORD record = { .image = NULL };
	struct err err = ERR_INIT;
	const bool has_row = store_template_find(fixture->daemon.store, key, &record, &err) == 0;

	CHECK_INT(access(folder, F_OK) == 0, has_row);
	return has_row;
}

static void give_up(struct fixture *fixture, enum err_kind kind)
{
	struct err why = ERR_INIT;

	IGNORE_RESULT(err_set(&why, kind, "so"));
	template_give_up(&fixture->daemon, ID_A, &why);
}

static void test_give_up(void **state)
{
	static const struct {
		enum err_kind kind;
		bool is_its_fault;
	} rows[] = {
		{ ERR_SYSTEM, false },	 { ERR_BUSY, false },	 { ERR_CANCELLED, false },
		{ ERR_LIMIT, false },	 { ERR_TIMEOUT, false }, { ERR_BAD_STATE, true },
		{ ERR_NOT_FOUND, true }, { ERR_PROTOCOL, true },
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (i == 0 || rows[i - 1].is_its_fault)
			add(fixture, ID_A, 100);
		give_up(fixture, rows[i].kind);
		CHECK_ROW(i, is_there(fixture, ID_A) == !rows[i].is_its_fault);
	}
}

/* A host that is too busy looks like that once, a guest that hangs each time. */
static void test_late_twice(void **state)
{
	struct fixture *fixture = *state;
	struct template_hold hold = { .templates = NULL };

	add(fixture, ID_A, 100);
	(void)snprintf(hold.record.id, sizeof(hold.record.id), ID_A);
	give_up(fixture, ERR_TIMEOUT);
	template_note_use(&fixture->daemon, &hold);
	give_up(fixture, ERR_TIMEOUT);
	CHECK_INT(is_there(fixture, ID_A), true);
	give_up(fixture, ERR_SYSTEM);
	CHECK_INT(is_there(fixture, ID_A), true);
	give_up(fixture, ERR_TIMEOUT);
	CHECK_INT(is_there(fixture, ID_A), false);
}

/* It is not deleted while a VM is being made from it, and afterwards it is. */
static void test_delete_in_use(void **state)
{
	struct fixture *fixture = *state;
	struct templates *templates = fixture->daemon.templates;
	struct template_hold hold = { .templates = templates };
	AUTO_TEMPLATE_RECORD record = { .image = NULL };
	struct err err = ERR_INIT;

	add(fixture, ID_A, 100);
	(void)snprintf(hold.record.id, sizeof(hold.record.id), ID_A);
	templates->pins = mem_alloc(1, sizeof(*templates->pins));
	templates->pin_count = 1;
	templates->pins[0] = (struct template_pin){ .id = ID_A, .count = 1 };
	assert_true(templates_delete(&fixture->daemon, "aa", &record, &err) < 0);
	CHECK_INT(err.kind, ERR_BUSY);
	CHECK_STR(err.message, "a VM is being made from the template 'aa0000000000'");
	CHECK_INT(is_there(fixture, ID_A), true);
	template_release(&hold);
	assert_int_equal(templates_delete(&fixture->daemon, "aa", &record, &err), 0);
	CHECK_STR(record.id, ID_A);
	CHECK_INT(is_there(fixture, ID_A), false);
}

static void test_references(void **state)
{
	static const struct {
		const char *reference;
		enum err_kind kind;
		const char *message;
	} rows[] = {
		{ "a", ERR_INVALID, "'a' is the beginning of more than one template's id" },
		{ "b", ERR_NOT_FOUND, "there is no template 'b'" },
		{ "", ERR_NOT_FOUND, "there is no template ''" },
	};
	struct fixture *fixture = *state;

	add(fixture, ID_A, 100);
	add(fixture, ID_B, 100);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_TEMPLATE_RECORD record = { .image = NULL };
		struct err err = ERR_INIT;

		CHECK_ROW(i,
			  templates_delete(&fixture->daemon, rows[i].reference, &record, &err) < 0);
		CHECK_ROW(i, err.kind == rows[i].kind);
		CHECK_STR(err.message, rows[i].message);
	}
}

/* However little room there is: else it would be built, and go, and be built again. */
static void test_last_used_stays(void **state)
{
	struct fixture *fixture = *state;

	fixture->daemon.config.template_cache_bytes = 1 << 20;
	add(fixture, ID_A, 200);
	add(fixture, ID_B, 100);
	templates_pass(&fixture->daemon);
	CHECK_INT(is_there(fixture, ID_A), true);
	CHECK_INT(is_there(fixture, ID_B), false);
	templates_pass(&fixture->daemon);
	CHECK_INT(is_there(fixture, ID_A), true);
}

/* --- what is wanted of the background --- */

#define SECOND NSEC_PER_SEC

static struct template_request request_of(const char *image)
{
	return (struct template_request){ .image = image, .kernel = "kernel", .vcpu = 1 };
}

/* The image whose turn it is, or "" and when to ask again. */
static void check_due(const struct template_wanted_list *list, uint64_t now_seconds,
		      const char *image, uint64_t when_seconds)
{
	AUTO_TEMPLATE_WANTED wanted = { .image = NULL };
	uint64_t when_ns;
	const bool is_due = template_wanted_due(list, now_seconds * SECOND, &wanted, &when_ns);

	CHECK_STR(is_due ? wanted.request.image : "", image);
	if (!is_due)
		CHECK_INT(when_ns,
			  when_seconds == UINT64_MAX ? when_seconds : when_seconds * SECOND);
}

/* A guest that never comes to rest is not booted every ten minutes for ever. */
static void test_wanted_fails(void **state)
{
	const struct template_request a = request_of("a");
	struct template_wanted_list list = { .count = 0 };

	(void)state;
	check_due(&list, 0, "", UINT64_MAX);
	CHECK_INT(template_wanted_add(&list, &a, 0), true);
	CHECK_INT(template_wanted_add(&list, &a, SECOND), false);
	check_due(&list, 1, "", 2);
	check_due(&list, 2, "a", 0);
	CHECK_INT(template_wanted_note(&list, &a, TEMPLATE_FAILED, 10 * SECOND), true);
	check_due(&list, 609, "", 610);
	check_due(&list, 610, "a", 0);
	/* Who has ended it has not made it fail. */
	CHECK_INT(template_wanted_note(&list, &a, TEMPLATE_INTERRUPTED, 610 * SECOND), true);
	check_due(&list, 611, "", 612);
	CHECK_INT(template_wanted_note(&list, &a, TEMPLATE_FAILED, 620 * SECOND), true);
	CHECK_INT(template_wanted_note(&list, &a, TEMPLATE_FAILED, 1240 * SECOND), false);
	check_due(&list, 99999, "", UINT64_MAX);
	CHECK_INT(list.count, 0);
	/* Asked for again, it counts anew. */
	CHECK_INT(template_wanted_add(&list, &a, 0), true);
	for (size_t i = 0; i < 5; i++) {
		CHECK_INT(template_wanted_note(&list, &a, TEMPLATE_FAILED, 0), true);
		CHECK_INT(template_wanted_add(&list, &a, 0), false);
	}
	template_wanted_list_done(&list);
}

static void test_wanted_ends(void **state)
{
	static const enum template_outcome outcomes[] = { TEMPLATE_BUILT, TEMPLATE_UNBUILDABLE };
	const struct template_request a = request_of("a"), b = request_of("b");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
		struct template_wanted_list list = { .count = 0 };

		CHECK_ROW(i, template_wanted_add(&list, &a, 0));
		CHECK_ROW(i, template_wanted_add(&list, &b, 0));
		CHECK_ROW(i, !template_wanted_note(&list, &a, outcomes[i], 0));
		CHECK_ROW(i, list.count == 1);
		check_due(&list, 2, "b", 0);
		/* What nobody wants any more is nothing to be noted. */
		CHECK_ROW(i, !template_wanted_note(&list, &a, TEMPLATE_FAILED, 0));
		template_wanted_list_done(&list);
	}
}

static void test_wanted_is_full(void **state)
{
	struct template_request request = request_of("a");
	struct template_wanted_list list = { .count = 0 };

	(void)state;
	for (request.vcpu = 1; request.vcpu <= TEMPLATE_WANTED_MAX; request.vcpu++)
		CHECK_INT(template_wanted_add(&list, &request, 0), true);
	CHECK_INT(template_wanted_add(&list, &request, 0), false);
	request.vcpu = TEMPLATE_WANTED_MAX;
	CHECK_INT(template_wanted_note(&list, &request, TEMPLATE_BUILT, 0), false);
	request.vcpu++;
	CHECK_INT(template_wanted_add(&list, &request, 0), true);
	template_wanted_list_done(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_give_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_late_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(test_delete_in_use, setup, teardown),
		cmocka_unit_test_setup_teardown(test_references, setup, teardown),
		cmocka_unit_test_setup_teardown(test_last_used_stays, setup, teardown),
		cmocka_unit_test(test_wanted_fails),
		cmocka_unit_test(test_wanted_ends),
		cmocka_unit_test(test_wanted_is_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
