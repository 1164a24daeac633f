/*
 * What a worker that has been taken over may say: a line is progress, or an answer of either kind,
 * or an error that has a kind and words. What is accepted is written and read back as the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "fuzz.h"
#include "image/worker_message.h"

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void check_summary(const struct ext4_summary *summary)
{
	struct ext4_summary again = { 0 };
	struct err err = ERR_INIT;
	AUTO_BUF line = BUF_INIT;

	worker_write_answer(0, summary, &err, &line);
	must(worker_read_answer(buf_span(&line), &again, &err) == 0);
	must(memcmp(summary, &again, sizeof(again)) == 0);
}

static void check_result(const struct unpack_result *result)
{
	struct unpack_result again = { 0 };
	struct err err = ERR_INIT;
	AUTO_BUF line = BUF_INIT;

	unpack_write_answer(0, result, &err, &line);
	must(unpack_read_answer(buf_span(&line), &again, &err) == 0);
	must(again.bytes == result->bytes && strcmp(again.digest, result->digest) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct span line = span_of(data, size);
	struct ext4_summary summary = { 0 };
	struct unpack_result result = { 0 };
	struct worker_orders orders = { 0 };
	struct unpack_orders unpack_orders = { 0 };
	struct err err = ERR_INIT;
	struct worker_progress progress = { .done = 0 };

	if (worker_read_answer(line, &summary, &err) == 0)
		check_summary(&summary);
	else
		must(err.kind != ERR_NONE && err.message[0] != '\0');
	err = ERR_INIT;
	if (unpack_read_answer(line, &result, &err) == 0)
		check_result(&result);
	else
		must(err.kind != ERR_NONE && err.message[0] != '\0');
	must(!worker_read_progress(line, &progress) ||
	     (progress.done <= INT64_MAX && progress.layer <= INT64_MAX));
	err = ERR_INIT;
	must(worker_read_orders(line, &orders, &err) == 0 || err.message[0] != '\0');
	err = ERR_INIT;
	must(unpack_read_orders(line, &unpack_orders, &err) == 0 || err.message[0] != '\0');
	return 0;
}
