// SPDX-License-Identifier: GPL-2.0
/*
 * I1 and I2 start with the last thread of init, not with the first: as long as
 * one thread lives, a leader that left early changes nothing.
 */
#include "pidns_test.h"

FIXTURE(leader) {
	struct box box;
};

/* What the remaining thread of init does when told to. */
static void *last_thread(void *arg)
{
	struct box *b = arg;
	pid_t pid;

	for (;;) {
		switch (await_order(b)) {
		case 'f':
			/* A fork, by the thread of an init without leader. */
			member(b, "late child");
			break;
		case 'o':
			/* An orphan comes to it, and it is the one to reap it. */
			pid = fork();
			if (!pid) {
				if (!fork())
					_exit(33);
				_exit(34);
			}
			{
				int status, sum = 0, i;

				for (i = 0; i < 2; i++)
					if (wait(&status) > 0)
						sum += WEXITSTATUS(status);
				announce(b, sum == 33 + 34 ? "reaped" : "not reaped");
			}
			break;
		case 'x':
			syscall(SYS_exit, 5);
			break;
		default:
			syscall(SYS_exit_group, 6);
		}
	}
	return NULL;
}

static void init_without_leader(struct box *b, void *arg __maybe_unused)
{
	pthread_t t;

	/* These two are children of the thread that is going to leave. */
	member(b, "child");
	member(b, "child");
	pthread_create(&t, NULL, last_thread, b);
	announce(b, READY);
	syscall(SYS_exit, 4);
}

FIXTURE_SETUP(leader)
{
	long long end = now_ms() + patience_ms;
	struct box *b = &self->box;

	ASSERT_EQ(0, box_open(b));
	ASSERT_EQ(0, box_spawn(b, 0, init_without_leader, NULL));
	ASSERT_EQ(0, box_collect(b, 3));
	/* The leader is a zombie that cannot be reaped: no event tells of it. */
	while (task_state(b->init) != 'Z') {
		ASSERT_LT(now_ms(), end);
		sched_yield();
	}
	ASSERT_FALSE(readable(b->initfd, 0));
}

FIXTURE_TEARDOWN(leader)
{
	EXPECT_EQ(0, box_close(&self->box));
}

/*
 * Not I2: find_child_reaper() in kernel/exit.c hands over to find_alive_thread()
 * and does not come to zap_pid_ns_processes().
 */
TEST_F(leader, nothing_killed)
{
	struct box *b = &self->box;

	/* An answer of the last thread shows that it is past the hand-over. */
	order(b, 'o');
	ASSERT_EQ(0, box_collect(b, 1));
	b->nr--;
	EXPECT_EQ(2, box_alive(b));
	EXPECT_EQ(0, readable(b->initfd, 0));
}

/* Not I1: the namespace takes forks, from inside and by setns. alloc_pid(). */
TEST_F(leader, forks_work)
{
	struct box *b = &self->box;

	order(b, 'f');
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_GT(box_inject(b, "injected", NULL), 0);
	EXPECT_EQ(4, box_alive(b));
}

/* Orphans go to the last thread: find_new_reaper() in kernel/exit.c. */
TEST_F(leader, orphans_reaped)
{
	struct box *b = &self->box;

	order(b, 'o');
	ASSERT_EQ(0, box_collect(b, 1));
	EXPECT_STREQ("reaped", b->m[2].what);
	b->nr--;
}

/*
 * I2 when the last thread leaves, by exit(2) as much as by exit_group(2):
 * signal->live reaches 0 in do_exit(), kernel/exit.c.
 */
TEST_F_TIMEOUT(leader, last_exit_takes_all, TEST_SECONDS)
{
	struct box *b = &self->box;

	order(b, 'f');
	ASSERT_EQ(0, box_collect(b, 1));
	order(b, 'x');
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
	EXPECT_EQ(5 << 8, b->status);
}

TEST_F_TIMEOUT(leader, exit_group_takes_all, TEST_SECONDS)
{
	struct box *b = &self->box;

	order(b, 'g');
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
	EXPECT_EQ(6 << 8, b->status);
}

/* I2 when SIGKILL takes an init whose leader is gone already. */
TEST_F_TIMEOUT(leader, sigkill_takes_all, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
	EXPECT_EQ(SIGKILL, b->status);
}

/*
 * I1 when the last thread has left. Its status has been waited for, so that the
 * fork comes to a namespace which is dead and gone; alloc_pid() in kernel/pid.c.
 * Members that nobody kills are killed by the test: this is about the guard.
 */
TEST_F_TIMEOUT(leader, refused_after_last, TEST_SECONDS)
{
	struct box *b = &self->box;
	pid_t pid;
	int i;

	for (i = 0; i < b->nr; i++)
		sys_pidfd_signal(b->m[i].fd, SIGKILL);
	for (i = 0; i < b->nr; i++)
		ASSERT_TRUE(readable(b->m[i].fd, patience_ms));
	order(b, 'x');
	ASSERT_EQ(0, box_wait_init(b));
	ASSERT_EQ(0, enter(b->nsfd));
	pid = fork();
	if (!pid)
		_exit(0);
	i = errno;
	leave();
	if (pid > 0)
		waitpid(pid, NULL, 0);
	EXPECT_EQ(-1, pid);
	if (pid < 0)
		EXPECT_EQ(ENOMEM, i);
}

TEST_HARNESS_MAIN
