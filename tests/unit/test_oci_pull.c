/* Pulling from layouts: following indexes, layers in order, what is refused, stopping. */
#include "check.h"
#include "oci_fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "oci/pull.h"
#include "oci/reference.h"

#define OCI "application/vnd.oci.image."

/* What the layout's image is made of; zero means the ordinary. */
struct recipe {
	size_t layers;		  /* 0: 3 */
	size_t indexes;		  /* that lead to the manifest, beside index.json */
	const char *architecture; /* NULL: amd64 */
	bool has_fewer_ids;	  /* one diff_id less than layers */
	bool calls_it_index;	  /* index.json says so of the manifest */
	int size_lie;		  /* what index.json adds to the size of what it leads to */
	size_t damaged;		  /* the number of the layer with another byte; 0: none */
	bool are_same;		  /* all layers are */
};

struct made {
	struct oci_descriptor manifest;
	struct oci_descriptor config;
};

static void add_descriptor(struct buf *out, const char *type, const struct oci_descriptor *blob,
			   const char *more)
{
	buf_addf(out, "{'mediaType':'" OCI "%s','digest':'%s','size':%" PRIu64 "%s}", type,
		 blob->digest.text, blob->size, more);
}

static char *layer_text(const struct recipe *recipe, size_t i)
{
	return mem_printf("the bytes of layer %zu", recipe->are_same ? 0 : i);
}

static void damage(const struct oci_fixture *f, const struct oci_descriptor *blob)
{
	AUTO_FREE char *name = mem_printf("blobs/sha256/%s", oci_digest_hex(&blob->digest));
	AUTO_BUF bytes = BUF_INIT;

	while (bytes.len < blob->size)
		buf_add_byte(&bytes, 'x');
	oci_fixture_put_bytes(f, name, buf_span(&bytes));
}

static void make(const struct oci_fixture *f, const struct recipe *recipe, struct made *ret)
{
	const size_t count = recipe->layers ? recipe->layers : 3;
	AUTO_BUF ids = BUF_INIT, layers = BUF_INIT, text = BUF_INIT;
	struct oci_descriptor at;

	oci_fixture_make_layout(f);
	for (size_t i = 0; i < count; i++) {
		AUTO_FREE char *bytes = layer_text(recipe, i);
		const struct oci_descriptor layer = oci_fixture_put_blob(f, span_str(bytes));

		if (i + 1 < count || !recipe->has_fewer_ids)
			buf_addf(&ids, "%s'%s'", ids.len ? "," : "", layer.digest.text);
		buf_add_str(&layers, layers.len ? "," : "");
		add_descriptor(&layers, "layer.v1.tar", &layer, "");
		if (recipe->damaged == i + 1)
			damage(f, &layer);
	}
	buf_addf(&text,
		 "{'os':'linux','architecture':'%s','config':{'Cmd':['sh']},"
		 "'rootfs':{'type':'layers','diff_ids':[%s]}}",
		 recipe->architecture ? recipe->architecture : "amd64", ids.ptr);
	ret->config = oci_fixture_put_json(f, text.ptr);
	buf_clear(&text);
	buf_add_str(&text, "{'schemaVersion':2,'config':");
	add_descriptor(&text, "config.v1+json", &ret->config, "");
	buf_addf(&text, ",'layers':[%s]}", layers.ptr);
	at = ret->manifest = oci_fixture_put_json(f, text.ptr);
	for (size_t i = 0; i <= recipe->indexes; i++) {
		if (i == recipe->indexes)
			at.size += (uint64_t)recipe->size_lie;
		buf_clear(&text);
		buf_add_str(&text, "{'schemaVersion':2,'manifests':[");
		add_descriptor(&text,
			       i > 0 || recipe->calls_it_index ? "index.v1+json"
							       : "manifest.v1+json",
			       &at, "");
		buf_add_str(&text, "]}");
		if (i < recipe->indexes)
			at = oci_fixture_put_json(f, text.ptr);
	}
	oci_fixture_put(f, "index.json", text.ptr);
}

/* What a test pulls with. */
struct puller {
	struct oci_reference reference;
	struct oci_platform platform;
	struct oci_blobs *blobs;
	struct oci_pull_request request;
};

static void puller_init(struct puller *puller, const struct oci_fixture *f)
{
	AUTO_FREE char *text = mem_printf("oci:%s", f->dir);
	AUTO_FREE char *cache = mem_printf("%s/cache", f->dir);
	struct err err = ERR_INIT;

	puller->reference = OCI_REFERENCE_INIT;
	assert_int_equal(oci_reference_parse(text, &puller->reference, &err), 0);
	assert_true(oci_platform_parse(span_str("linux/amd64"), &puller->platform));
	assert_int_equal(oci_blobs_open(cache, &puller->blobs, &err), 0);
	puller->request = (struct oci_pull_request){ .reference = &puller->reference,
						     .platform = &puller->platform,
						     .blobs = puller->blobs };
}

static void puller_done(struct puller *puller)
{
	oci_reference_done(&puller->reference);
	oci_blobs_free(puller->blobs);
}

static void check_layer(struct oci_pull *pull, const struct recipe *recipe, size_t i)
{
	AUTO_FREE char *wanted = layer_text(recipe, i);
	struct err err = ERR_INIT;
	char got[64] = "";
	int fd = -1;

	CHECK_INT(oci_pull_layer(pull, i, NULL, &fd, &err), 0);
	CHECK_INT(lseek(fd, 0, SEEK_CUR), 0);
	CHECK_INT(fd_read_some(fd, got, sizeof(got) - 1), strlen(wanted));
	CHECK_STR(got, wanted);
}

static void note(void *context, const struct progress_event *event)
{
	struct progress_event *last = context;

	assert_true(event->done >= last->done && event->done <= event->total);
	*last = *event;
}

static void test_pull(void **state)
{
	static const struct {
		struct recipe recipe;
		unsigned int parallel;
	} rows[] = {
		{ { 0 }, 0 },
		{ { .layers = 1 }, 4 },
		{ { .layers = OCI_LAYERS_DEFAULT }, 4 },
		{ { .layers = 20 }, 1 },
		{ { .layers = 20 }, 1000 },
		{ { .are_same = true, .layers = 9 }, 4 },
		{ { .indexes = 1 }, 4 },
		{ { .indexes = OCI_INDEX_DEPTH_MAX }, 4 },
	};
	const struct oci_fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(puller_done) struct puller puller;
		CLEANUP(oci_pull_freep) struct oci_pull *pull = NULL;
		struct progress_event last = { .stage = NULL };
		const struct progress progress = { .report = note, .context = &last };
		struct err err = ERR_INIT;
		struct made made;

		make(f, &rows[i].recipe, &made);
		puller_init(&puller, f);
		puller.request.parallel = rows[i].parallel;
		CHECK_ROW(i, oci_pull_begin(&puller.request, NULL, &progress, &pull, &err) == 0);
		CHECK_STR(oci_pull_digest(pull)->text, made.manifest.digest.text);
		CHECK_INT(oci_pull_config_json(pull).len, made.config.size);
		CHECK_STR(oci_pull_config(pull)->cmd.items[0], "sh");
		CHECK_INT(oci_pull_layer_count(pull),
			  rows[i].recipe.layers ? rows[i].recipe.layers : 3);
		for (size_t j = 0; j < oci_pull_layer_count(pull); j++)
			check_layer(pull, &rows[i].recipe, j);
		CHECK_STR(last.stage, "download");
		CHECK_INT(last.total, oci_pull_bytes(pull));
		CHECK_INT(last.done, last.total);
		/* That all is there has been said; another stage may have begun. */
		last = (struct progress_event){ .stage = NULL };
		assert_false(oci_pull_report(pull));
		assert_null(last.stage);
	}
}

static void test_refused(void **state)
{
	static const struct {
		struct recipe recipe;
		enum err_kind error;
		const char *message;
	} rows[] = {
		{ { .indexes = OCI_INDEX_DEPTH_MAX + 1 }, ERR_LIMIT, "more than 4 indexes" },
		{ { .indexes = 20 }, ERR_LIMIT, "more than 4 indexes" },
		{ { .architecture = "arm64" },
		  ERR_UNSUPPORTED,
		  "the image is for linux/arm64, not for linux/amd64" },
		{ { .has_fewer_ids = true }, ERR_PROTOCOL, "2 diff_ids for 3 layers" },
		{ { .calls_it_index = true },
		  ERR_PROTOCOL,
		  "it is a manifest, but the index calls it an index" },
		{ { .size_lie = 1 }, ERR_PROTOCOL, "bytes, not " },
		{ { .size_lie = -1 }, ERR_PROTOCOL, "bytes, not " },
		{ { .size_lie = OCI_MANIFEST_BYTES_MAX }, ERR_LIMIT, "more than 4194304 bytes" },
		{ { .layers = OCI_LAYERS_DEFAULT + 1 },
		  ERR_LIMIT,
		  "there are more than 128 layers in the image (limits.layers)" },
	};
	const struct oci_fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(puller_done) struct puller puller;
		struct oci_pull *pull = NULL;
		struct err err = ERR_INIT;
		struct made made;

		make(f, &rows[i].recipe, &made);
		puller_init(&puller, f);
		CHECK_ROW(i, oci_pull_begin(&puller.request, NULL, NULL, &pull, &err) < 0);
		CHECK_INT(err.kind, rows[i].error);
		CHECK_HAS(err.message, rows[i].message);
		CHECK_HAS(err.message, "pull 'oci:");
		CHECK_ROW(i, pull == NULL);
	}
}

static void test_layer_limit(void **state)
{
	static const struct recipe recipe = { 0 };
	const struct oci_fixture *f = *state;
	CLEANUP(puller_done) struct puller puller;
	struct made made;

	make(f, &recipe, &made);
	puller_init(&puller, f);
	for (uint64_t less = 0; less < 2; less++) {
		CLEANUP(oci_pull_freep) struct oci_pull *pull = NULL;
		struct err err = ERR_INIT;

		puller.request.layer_bytes_max = strlen("the bytes of layer 0") - less;
		CHECK_INT(oci_pull_begin(&puller.request, NULL, NULL, &pull, &err) < 0, less);
		CHECK_INT(err.kind, less ? ERR_LIMIT : ERR_NONE);
		if (less)
			CHECK_HAS(err.message, "[limits] layer_bytes = 19");
	}
}

/* Layers before a damaged one may be there; it and those behind it never are. */
static void test_damaged_layer(void **state)
{
	static const struct recipe recipe = { .layers = 40, .damaged = 2 };
	const struct oci_fixture *f = *state;
	CLEANUP(puller_done) struct puller puller;
	CLEANUP(oci_pull_freep) struct oci_pull *pull = NULL;
	struct err err = ERR_INIT;
	struct made made;
	int fd = -1;

	make(f, &recipe, &made);
	puller_init(&puller, f);
	puller.request.parallel = 1;
	CHECK_INT(oci_pull_begin(&puller.request, NULL, NULL, &pull, &err), 0);
	CHECK_INT(oci_pull_layer(pull, 1, NULL, &fd, &err), -EPROTO);
	CHECK_HAS(err.message, "layer 2: ");
	CHECK_HAS(err.message, "has the digest sha256:");
	check_layer(pull, &recipe, 0);
	CHECK_INT(oci_pull_layer(pull, 39, NULL, &fd, &err), -EPROTO);
	CHECK_HAS(err.message, "layer 2: ");
	CHECK_INT(fd, -1);
}

static void test_cancel(void **state)
{
	static const struct recipe recipe = { .layers = 100 };
	const struct oci_fixture *f = *state;
	CLEANUP(puller_done) struct puller puller;
	CLEANUP(cancel_done) struct cancel fired = CANCEL_INIT;
	CLEANUP(oci_pull_freep) struct oci_pull *pull = NULL;
	struct err err = ERR_INIT;
	struct made made;
	int fd = -1;

	make(f, &recipe, &made);
	puller_init(&puller, f);
	assert_int_equal(cancel_init(&fired), 0);
	cancel_fire(&fired);
	/* Freed at once, while its threads are at work. */
	for (int i = 0; i < 50; i++) {
		CHECK_INT(oci_pull_begin(&puller.request, NULL, NULL, &pull, &err), 0);
		IGNORE_RESULT(oci_pull_layer(pull, 0, &fired, &fd, &err));
		oci_pull_freep(&pull);
	}
	/* Cancelled waiting does no harm: waiting again goes on. */
	CHECK_INT(oci_pull_begin(&puller.request, NULL, NULL, &pull, &err), 0);
	while (oci_pull_layer(pull, 99, &fired, &fd, &err) < 0)
		CHECK_INT(err.kind, ERR_CANCELLED);
	check_layer(pull, &recipe, 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pull, oci_fixture_setup, oci_fixture_teardown),
		cmocka_unit_test_setup_teardown(test_refused, oci_fixture_setup,
						oci_fixture_teardown),
		cmocka_unit_test_setup_teardown(test_layer_limit, oci_fixture_setup,
						oci_fixture_teardown),
		cmocka_unit_test_setup_teardown(test_damaged_layer, oci_fixture_setup,
						oci_fixture_teardown),
		cmocka_unit_test_setup_teardown(test_cancel, oci_fixture_setup,
						oci_fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
