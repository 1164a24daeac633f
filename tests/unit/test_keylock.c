/* Locks by name: order, cancellation, and nobody alone with a key that two want. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/keylock.h"

static void test_try_and_release(void **state)
{
	struct keylock *locks = keylock_new(-1);
	struct keyhold first = KEYHOLD_INIT, second = KEYHOLD_INIT;

	(void)state;
	assert_true(keylock_try(locks, "a", &first));
	assert_false(keylock_try(locks, "a", &second));
	assert_true(keylock_try(locks, "b", &second));
	keylock_release(&first);
	keylock_release(&first);
	keylock_release(&second);
	assert_true(keylock_try(locks, "a", &first));
	keylock_release(&first);
	keylock_free(locks);
}

static void test_cancelled_waiter(void **state)
{
	struct keylock *locks = keylock_new(-1);
	struct keyhold held = KEYHOLD_INIT, wanted = KEYHOLD_INIT;
	struct cancel cancel = CANCEL_INIT;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(cancel_init(&cancel), 0);
	cancel_fire(&cancel);
	assert_true(keylock_try(locks, "a", &held));
	CHECK_INT(keylock_acquire(locks, "a", &cancel, &wanted, &err), -ECANCELED);
	CHECK_INT(err.kind, ERR_CANCELLED);
	assert_null(wanted.locks);
	keylock_release(&held);
	/* The cancelled one has left the queue: the key is free. */
	assert_true(keylock_try(locks, "a", &held));
	keylock_release(&held);
	cancel_done(&cancel);
	keylock_free(locks);
}

#define WORKERS 8
#define TURNS	500

struct contest {
	struct keylock *locks;
	_Atomic int inside;
	_Atomic int overlaps;
	int counter; /* guarded by the key */
};

static void *compete(void *context)
{
	struct contest *contest = context;
	struct err err = ERR_INIT;

	for (int i = 0; i < TURNS; i++) {
		AUTO_KEYHOLD hold = KEYHOLD_INIT;

		if (keylock_acquire(contest->locks, "vm", NULL, &hold, &err) < 0)
			return NULL;
		if (atomic_fetch_add(&contest->inside, 1) != 0)
			atomic_fetch_add(&contest->overlaps, 1);
		contest->counter++;
		atomic_fetch_sub(&contest->inside, 1);
	}
	return NULL;
}

static void test_contest(void **state)
{
	struct contest contest = { .locks = keylock_new(-1) };
	pthread_t threads[WORKERS];

	(void)state;
	for (int i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, compete, &contest), 0);
	for (int i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	CHECK_INT(contest.overlaps, 0);
	CHECK_INT(contest.counter, WORKERS * TURNS);
	keylock_free(contest.locks);
}

static void test_notifies(void **state)
{
	const int notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct keylock *locks = keylock_new(notify_fd);
	struct keyhold hold = KEYHOLD_INIT;
	uint64_t count = 0;

	(void)state;
	assert_true(keylock_try(locks, "a", &hold));
	CHECK_INT(fd_read_some(notify_fd, &count, sizeof(count)), -EAGAIN);
	keylock_release(&hold);
	CHECK_INT(fd_read_some(notify_fd, &count, sizeof(count)), sizeof(count));
	CHECK_INT(count, 1);
	keylock_free(locks);
	fd_close(notify_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_try_and_release),
		cmocka_unit_test(test_cancelled_waiter),
		cmocka_unit_test(test_contest),
		cmocka_unit_test(test_notifies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
