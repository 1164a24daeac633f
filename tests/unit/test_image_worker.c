/* Worker processes that run out of what they may have: this program is the worker, too. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/text.h"
#include "check.h"
#include "ext4_fixture.h"
#include "image/unpack.h"
#include "image/worker.h"

#define BLOCK_SIZE    512
#define MANY	      4000000U /* entries: far more than the memory is enough for */
#define STALL_MS      300U
#define FOREVER_BYTES (1ULL << 40)

/* The header of an empty file, whose name has the number in it. */
static void fill_header(char block[static BLOCK_SIZE], unsigned number)
{
	unsigned sum = 0;
	size_t i;

	memset(block, 0, BLOCK_SIZE);
	(void)snprintf(block, 100, "folder/%u", number);
	(void)snprintf(block + 100, 8, "0000644");
	(void)snprintf(block + 108, 8, "0000000");
	(void)snprintf(block + 116, 8, "0000000");
	(void)snprintf(block + 124, 12, "00000000000");
	(void)snprintf(block + 136, 12, "00000000000");
	memset(block + 148, ' ', 8);
	block[156] = '0';
	memcpy(block + 257, "ustar\00000", 8);
	for (i = 0; i < BLOCK_SIZE; i++)
		sum += (unsigned char)block[i];
	(void)snprintf(block + 148, 8, "%06o", sum);
}

static void start(const struct image_limits *limits, int image_fd, struct image_worker *ret)
{
	const struct image_worker_setup setup = { .image_fd = image_fd,
						  .seed_fd = -1,
						  .limits = *limits };
	const struct ext4_options options = EXT4_OPTIONS_INIT;
	struct err err = ERR_INIT;

	if (image_worker_start(&setup, &options, ret, &err) < 0)
		fail_msg("%s", err.message);
}

/* Until it has stopped listening: what image_worker_send() says then. */
static int send_entries(struct image_worker *worker)
{
	static char piece[1000][BLOCK_SIZE];
	unsigned number = 0;
	int r = 0;

	while (r == 0 && number < MANY) {
		for (size_t i = 0; i < ARRAY_LEN(piece); i++)
			fill_header(piece[i], number++);
		r = image_worker_send(worker, piece, sizeof(piece), NULL);
	}
	return r;
}

/* The address sanitizer cannot run with so little. */
#ifndef __SANITIZE_ADDRESS__
#define MEMORY_BYTES (256ULL << 20)

static void test_out_of_memory(void **state)
{
	const struct image_limits limits = { .worker_memory_bytes = MEMORY_BYTES };
	CLEANUP(image_worker_done) struct image_worker worker = IMAGE_WORKER_INIT;
	AUTO_CLOSE int image = new_image();
	struct ext4_summary summary;
	struct err err = ERR_INIT;

	(void)state;
	start(&limits, image, &worker);
	CHECK_INT(send_entries(&worker), -EPIPE);
	assert_true(image_worker_finish(&worker, NULL, &summary, &err) < 0);
	CHECK_STR(err.message,
		  "the image worker needs more than 256 MiB of memory (limits.worker_memory)");
	CHECK_INT(err.kind, ERR_LIMIT);
	CHECK_STR(
		err.hint,
		"if that is meant to be so, raise worker_memory in [limits] of the configuration");
}
#endif

static void test_hangs(void **state)
{
	const struct image_limits limits = { .worker_stall_ms = STALL_MS };
	struct ext4_summary summary;

	(void)state;
	/* While it is sent the tar, and while it is waited for. */
	for (int i = 0; i < 2; i++) {
		CLEANUP(image_worker_done) struct image_worker worker = IMAGE_WORKER_INIT;
		AUTO_CLOSE int image = new_image();
		struct err err = ERR_INIT;

		start(&limits, image, &worker);
		assert_int_equal(process_signal(&worker.process.process, SIGSTOP), 0);
		if (i == 0) {
			CHECK_INT(send_entries(&worker), -ETIMEDOUT);
			assert_true(image_worker_stalled(&worker, &err) < 0);
		} else {
			assert_true(image_worker_finish(&worker, NULL, &summary, &err) < 0);
		}
		CHECK_STR(err.message,
			  "the image worker has not gone on for 300 ms (limits.worker_stall)");
		CHECK_INT(err.kind, ERR_TIMEOUT);
	}
}

static void test_out_of_time(void **state)
{
	const struct unpack_orders orders = { .bytes_max = UINT64_MAX / 2 };
	CLEANUP(worker_process_done) struct worker_process worker = WORKER_PROCESS_INIT;
	AUTO_CLOSE int blob = new_image();
	const struct unpack_setup setup = { .blob_fd = blob, .limits = { .cpu_seconds = 1 } };
	AUTO_CLOSE int tar = -1;
	struct err err = ERR_INIT;
	ssize_t n;

	(void)state;
	/* A hole, which it computes the digest of for minutes. */
	assert_int_equal(ftruncate(blob, (off_t)FOREVER_BYTES), 0);
	if (unpack_worker_start(&setup, &orders, &worker, &tar, &err) < 0)
		fail_msg("%s", err.message);
	do {
		static char bytes[1 << 20];

		n = fd_read_some(tar, bytes, sizeof(bytes));
	} while (n > 0);
	assert_true(worker_process_finish(&worker, NULL, UINT64_MAX, &err) < 0);
	CHECK_STR(err.message,
		  "the unpack worker needs more than 1 s of processor time (limits.worker_cpu)");
	CHECK_INT(err.kind, ERR_LIMIT);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#ifndef __SANITIZE_ADDRESS__
		cmocka_unit_test(test_out_of_memory),
#endif
		cmocka_unit_test(test_hangs),
		cmocka_unit_test(test_out_of_time),
	};

	if (argc == 3 && str_eq(argv[1], "--worker"))
		return image_worker_main(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
