// SPDX-License-Identifier: GPL-2.0
/*
 * The root namespace is never touched: its forks and deaths are as ever. What
 * happens when the global init dies is for a boot of its own, see kill_init.c.
 */
#include <spawn.h>

#include "pidns_test.h"

FIXTURE(root) {
	struct box box;
};

FIXTURE_SETUP(root)
{
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(root)
{
	leave();
	EXPECT_EQ(0, box_close(&self->box));
}

static void *thread_nop(void *arg)
{
	return arg;
}

/* Not I1: all ways to fork, with alloc_pid() in kernel/pid.c behind them. */
TEST_F(root, forks)
{
	char * const argv[] = { "true", NULL };
	int i, status, fd;
	pthread_t t;
	pid_t pid;

	for (i = 0; i < 20; i++) {
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid)
			_exit(i);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(i << 8, status);
	}
	pid = vfork();
	if (!pid)
		_exit(0);
	ASSERT_GT(pid, 0);
	EXPECT_EQ(pid, waitpid(pid, NULL, 0));
	pid = fork_into(self->box.out, 0, &fd);
	ASSERT_GE(pid, 0);
	if (!pid)
		_exit(0);
	EXPECT_EQ(pid, waitpid(pid, NULL, 0));
	close(fd);
	EXPECT_EQ(0, posix_spawn(&pid, "/bin/true", NULL, NULL, argv, NULL));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, pthread_create(&t, NULL, thread_nop, NULL));
	EXPECT_EQ(0, pthread_join(t, NULL));
}

/* Not I2: children outlive an ordinary parent (forget_original_parent()). */
TEST_F(root, children_outlive_parent)
{
	struct box *b = &self->box;
	int fd, i;
	pid_t pid;

	pid = fork_into(b->in, 0, &fd);
	ASSERT_GE(pid, 0);
	if (!pid) {
		setsid();
		for (i = 0; i < 3; i++)
			member(b, "child");
		forever();
	}
	ASSERT_EQ(0, box_collect(b, 3));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	close(fd);
	/* A round trip through the kernel's exit path, and they still live. */
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		_exit(0);
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_EQ(3, box_alive(b));
}

/* Not I2: an ordinary process group leader with threads dies, others live. */
TEST_F(root, leader_leaves)
{
	struct box *b = &self->box;
	int fd, status;
	pthread_t t;
	pid_t pid;

	pid = fork_into(b->in, 0, &fd);
	ASSERT_GE(pid, 0);
	if (!pid) {
		member(b, "child");
		pthread_create(&t, NULL, thread_nop, NULL);
		syscall(SYS_exit, 3);
	}
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	close(fd);
	EXPECT_EQ(1, box_alive(b));
}

static void init_waits(struct box *b, void *arg __maybe_unused)
{
	announce(b, READY);
	forever();
}

/*
 * Not I2: a process of the root namespace whose children would go into a dead
 * one is not in it itself (task_active_pid_ns() in kernel/pid.c).
 */
TEST_F_TIMEOUT(root, callers_spared, TEST_SECONDS)
{
	struct box *b = &self->box;
	int fd;
	pid_t pid;

	ASSERT_EQ(0, box_spawn(b, 0, init_waits, NULL));
	ASSERT_EQ(0, box_collect(b, 1));
	pid = fork_into(b->out, 0, &fd);
	ASSERT_GE(pid, 0);
	if (!pid) {
		if (enter(b->nsfd))
			_exit(1);
		announce(b, READY);
		forever();
	}
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_FALSE(readable(fd, 0));
	EXPECT_TRUE(lives_on(pid));
	close(fd);
}

TEST_HARNESS_MAIN
