// SPDX-License-Identifier: GPL-2.0
/*
 * I3, no straggler, one at a time: a fork is held after it got its PID, until
 * init is dead. Its child must not run a single instruction.
 *
 * clone3() stores the pidfd of the child after alloc_pid() and before the child
 * is attached (copy_process() in kernel/fork.c). The page that it stores to is
 * that of a FUSE file, and comes when the daemon likes.
 */
#include "pidns_fuse.h"

struct held {
	atomic_int ran;		/* the child did something */
	int pid, error;		/* what clone3() returned */
	int status;		/* of the child, if there was one */
};

FIXTURE(straggler) {
	struct box box;
	struct held *held;
};

FIXTURE_SETUP(straggler)
{
	if (access("/dev/fuse", F_OK))
		SKIP(return, "no /dev/fuse");
	self->held = mmap(NULL, sizeof(*self->held), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->held);
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(straggler)
{
	leave();
	EXPECT_EQ(0, fuse_box_close(&self->box));
}

static void init_waits(struct box *b, void *arg __maybe_unused)
{
	announce(b, READY);
	forever();
}

static void init_over_inner(struct box *b, void *arg __maybe_unused)
{
	if (unshare(CLONE_NEWPID))
		_exit(1);
	member(b, "inner init");
	forever();
}

/*
 * The one whose fork is held; outside, so that its own death is no matter. @how
 * says what is to be stored to the page: CLONE_PIDFD or CLONE_PARENT_SETTID.
 */
static void fork_held(struct box *b, struct held *held, int mnt, int nsfd, int how)
{
	struct clone_args args = {
		.flags = how | CLONE_INTO_CGROUP,
		.exit_signal = SIGCHLD,
		.cgroup = b->in,
	};
	void *page = MAP_FAILED;
	pid_t pid;
	int fd;

	if (setns(mnt, CLONE_NEWNS))
		_exit(1);
	fd = open(FUSE_FILE, O_RDONLY);
	if (fd >= 0)
		page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (page == MAP_FAILED || setns(nsfd, CLONE_NEWPID))
		_exit(2);
	*(how == CLONE_PIDFD ? &args.pidfd : &args.parent_tid) = (uintptr_t)page;
	pid = syscall(__NR_clone3, &args, sizeof(args));
	if (!pid) {
		atomic_store(&held->ran, 1);
		_exit(0);
	}
	held->pid = pid;
	held->error = errno;
	if (pid > 0)
		waitpid(pid, &held->status, 0);
	announce(b, READY);
	_exit(0);
}

/* Has a fork into @nsfd held while the box's init dies. */
static int fork_across_death(struct box *b, struct held *held, int mnt, int nsfd, int how)
{
	int fd = -1;
	pid_t pid;

	pid = fork_into(b->out, 0, &fd);
	if (!pid)
		fork_held(b, held, mnt, nsfd, how);
	close(fd);
	/* The daemon has got the read: the fork has got its PID. */
	if (pid < 0 || box_collect(b, 1))
		return -1;
	if (kill(b->init, SIGKILL) || box_wait_zap(b) || readable(b->initfd, 0))
		return -1;
	order(b, 'a');
	/* The fork has returned, and its child is reaped. */
	return box_collect(b, 1);
}

/*
 * I3: the second check of PIDNS_ADDING in copy_process() (kernel/fork.c), or
 * SIGKILL before the child is woken.
 */
TEST_F_TIMEOUT(straggler, never_runs, TEST_SECONDS)
{
	struct held *held = self->held;
	struct box *b = &self->box;
	int mnt;

	mnt = fuse_outside(b);
	ASSERT_GE(mnt, 0);
	ASSERT_EQ(0, box_spawn(b, 0, init_waits, NULL));
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(0, fork_across_death(b, held, mnt, b->nsfd, CLONE_PIDFD));
	EXPECT_EQ(0, atomic_load(&held->ran));
	/* One way or the other: refused, or killed. */
	EXPECT_TRUE(held->pid < 0 ? held->error == ENOMEM : held->status == SIGKILL);
	EXPECT_EQ(0, box_wait_init(b));
	close(mnt);
}

/*
 * I2 for one that exists and has never been woken: kernel_clone() in
 * kernel/fork.c stores its number in between. The fork was there in time, its
 * child is a member like others, and is killed before it runs.
 */
TEST_F_TIMEOUT(straggler, never_woken, TEST_SECONDS)
{
	struct held *held = self->held;
	struct box *b = &self->box;
	int mnt;

	mnt = fuse_outside(b);
	ASSERT_GE(mnt, 0);
	ASSERT_EQ(0, box_spawn(b, 0, init_waits, NULL));
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(0, fork_across_death(b, held, mnt, b->nsfd, CLONE_PARENT_SETTID));
	EXPECT_EQ(0, atomic_load(&held->ran));
	EXPECT_GT(held->pid, 0);
	EXPECT_EQ(SIGKILL, held->status);
	EXPECT_EQ(0, box_wait_init(b));
	close(mnt);
}

/*
 * I3 below a dead namespace: the outer init dies during a fork into the inner
 * one. copy_process() looks at the inner namespace only, where nothing has
 * happened yet if the inner init is held (see guard.inner_still_there).
 */
TEST_F_TIMEOUT(straggler, never_runs_below, TEST_SECONDS)
{
	struct held *held = self->held;
	struct box *b = &self->box;
	int mnt, inner;

	mnt = fuse_outside(b);
	ASSERT_GE(mnt, 0);
	ASSERT_EQ(0, box_spawn(b, 0, init_over_inner, NULL));
	ASSERT_EQ(0, box_collect(b, 1));
	inner = open_pidns(b->m[0].pid);
	ASSERT_GE(inner, 0);
	ASSERT_EQ(0, ptrace(PTRACE_SEIZE, b->m[0].pid, NULL, PTRACE_O_TRACEEXIT));
	ASSERT_EQ(0, fork_across_death(b, held, mnt, inner, CLONE_PIDFD));
	EXPECT_EQ(0, atomic_load(&held->ran));
	/* One way or the other: refused, or killed. */
	EXPECT_TRUE(held->pid < 0 ? held->error == ENOMEM : held->status == SIGKILL);
	close(inner);
	close(mnt);
}

/* The other side: with init alive, a held fork is like any other. */
TEST_F_TIMEOUT(straggler, alive_runs, TEST_SECONDS)
{
	struct held *held = self->held;
	struct box *b = &self->box;
	int mnt, fd = -1;
	pid_t pid;

	mnt = fuse_outside(b);
	ASSERT_GE(mnt, 0);
	ASSERT_EQ(0, box_spawn(b, 0, init_waits, NULL));
	ASSERT_EQ(0, box_collect(b, 1));
	pid = fork_into(b->out, 0, &fd);
	ASSERT_GE(pid, 0);
	if (!pid)
		fork_held(b, held, mnt, b->nsfd, CLONE_PIDFD);
	close(fd);
	ASSERT_EQ(0, box_collect(b, 1));
	order(b, 'a');
	ASSERT_EQ(0, box_collect(b, 1));
	EXPECT_GT(held->pid, 0);
	EXPECT_EQ(1, atomic_load(&held->ran));
	EXPECT_EQ(0, held->status);
	close(mnt);
}

TEST_HARNESS_MAIN
