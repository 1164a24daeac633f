/* The RPC methods: their table is sound, and docs/rpc.md is what it says (BANGER_UPDATE=1 writes it
 * anew). */
#include "check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/api.h"

static void document_method(const struct rpc_method *method, struct buf *out)
{
	buf_addf(out, "\n### `%s`\n\n%s.%s%s\n", method->name, method->summary,
		 method->flags & RPC_MUTATES ? " Changes something." : "",
		 method->flags & RPC_PASSES_FD ? " A descriptor rides on the reply." : "");
	if (method->field_count > 0)
		buf_add_str(out, "\n| parameter | type | meaning |\n|---|---|---|\n");
	for (size_t i = 0; i < method->field_count; i++)
		buf_addf(out, "| `%s` | %s%s | %s |\n", method->fields[i].name,
			 json_field_type_name(method->fields[i].type),
			 method->fields[i].required ? ", required" : "", method->fields[i].meaning);
	if (method->result_count > 0)
		buf_add_str(out, "\n| result | type | meaning |\n|---|---|---|\n");
	for (size_t i = 0; i < method->result_count; i++)
		buf_addf(out, "| `%s` | %s | %s |\n", method->results[i].name,
			 method->results[i].type, method->results[i].meaning);
}

#define MARK "<!-- generated from the method tables; BANGER_UPDATE=1 test_api writes it anew -->\n"

/* What is above the mark is written by hand and kept. */
static void test_document(void **state)
{
	AUTO_FREE struct rpc_method *methods = NULL;
	AUTO_BUF wanted = BUF_INIT;
	AUTO_BUF text = BUF_INIT;
	const char *mark;
	size_t count;

	(void)state;
	methods = api_methods(&count);
	assert_int_equal(file_read(AT_FDCWD, RPC_MD, 1 << 20, &text), 0);
	mark = strstr(text.ptr, MARK);
	assert_non_null(mark);
	for (size_t i = 0; i < count; i++)
		document_method(&methods[i], &wanted);
	if (getenv("BANGER_UPDATE")) {
		AUTO_CLOSE int fd = open(RPC_MD, O_WRONLY | O_TRUNC | O_CLOEXEC);

		buf_truncate(&text, (size_t)(mark - text.ptr) + strlen(MARK));
		buf_add(&text, buf_span(&wanted));
		assert_int_equal(fd_write_all(fd, buf_span(&text)), 0);
		return;
	}
	CHECK_STR(mark + strlen(MARK), wanted.ptr);
}

static void test_table(void **state)
{
	AUTO_FREE struct rpc_method *methods = NULL;
	size_t count;

	(void)state;
	methods = api_methods(&count);
	for (size_t i = 0; i < count; i++) {
		CHECK_ROW(i, methods[i].handler && !str_empty(methods[i].summary));
		CHECK_ROW(i, (methods[i].field_count > 0) == (methods[i].params_size > 0));
		for (size_t k = 0; k < methods[i].field_count; k++)
			CHECK_ROW(i, methods[i].fields[k].offset < methods[i].params_size);
		for (size_t k = 0; k < i; k++)
			CHECK_ROW(i, !str_eq(methods[i].name, methods[k].name));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_document),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
