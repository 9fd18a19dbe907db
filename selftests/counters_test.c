// SPDX-License-Identifier: GPL-2.0
/*
 * The module's own account in debugfs: each refused fork, each killed process
 * and each namespace torn down is counted once.
 */
#include "pidns_test.h"

FIXTURE(counters) {
	struct box box;
	struct counters before;
};

FIXTURE_SETUP(counters)
{
	if (!module_loaded())
		SKIP(return, "the module is not loaded");
	ASSERT_EQ(0, box_open(&self->box));
	ASSERT_EQ(0, read_counters(&self->before));
}

FIXTURE_TEARDOWN(counters)
{
	leave();
	EXPECT_EQ(0, box_close(&self->box));
}

/* I1, counted where the stand-in for alloc_pid() (kernel/pid.c) refuses. */
TEST_F(counters, refused)
{
	struct counters now;
	pid_t pid;

	ASSERT_EQ(0, unshare(CLONE_NEWPID));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		_exit(0);
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	pid = fork();
	if (!pid)
		_exit(0);
	ASSERT_EQ(-1, pid);
	ASSERT_EQ(0, read_counters(&now));
	EXPECT_EQ(self->before.refused + 1, now.refused);
	EXPECT_EQ(self->before.killed, now.killed);
	EXPECT_EQ(self->before.stragglers, now.stragglers);
}

static void init_of(struct box *b, void *arg)
{
	int i, n = *(int *)arg;

	for (i = 0; i < n; i++)
		member(b, "member");
	announce(b, READY);
	forever();
}

/*
 * I2, counted at the death of init (do_exit() in kernel/exit.c): the module is
 * there before the kernel's own kill in zap_pid_ns_processes().
 */
TEST_F_TIMEOUT(counters, killed_and_torn_down, TEST_SECONDS)
{
	long long end = now_ms() + patience_ms;
	struct box *b = &self->box;
	struct counters now;
	int three = 3;

	ASSERT_EQ(0, box_spawn(b, 0, init_of, &three));
	ASSERT_EQ(0, box_collect(b, 4));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
	do {
		ASSERT_EQ(0, read_counters(&now));
	} while (now.torn_down == self->before.torn_down && now_ms() < end);
	EXPECT_EQ(self->before.torn_down + 1, now.torn_down);
	EXPECT_EQ(self->before.killed + 3, now.killed);
	EXPECT_EQ(self->before.refused, now.refused);
}

/* The root namespace is not the module's business: nothing is counted. */
TEST_F(counters, ordinary_uncounted)
{
	struct counters now;
	pid_t pid;
	int i;

	for (i = 0; i < 20; i++) {
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid)
			forever();
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	}
	ASSERT_EQ(0, read_counters(&now));
	EXPECT_EQ(0, memcmp(&now, &self->before, sizeof(now)));
}

TEST_HARNESS_MAIN
