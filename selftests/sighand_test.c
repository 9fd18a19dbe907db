// SPDX-License-Identifier: GPL-2.0
/*
 * What an init does at SIGCHLD once it is dead, and who shares that with it. From
 * zap_pid_ns_processes() on it ignores SIGCHLD, so that its children reap
 * themselves; with the module it does so from its death on. But its handlers may be
 * those of a process outside, too: clone(CLONE_VM | CLONE_SIGHAND | CLONE_NEWPID).
 *
 * The init is held between its death and zap_pid_ns_processes(), in exit_files(), by
 * the flush of a FUSE file whose daemon does not answer.
 */
#include "pidns_fuse.h"

FIXTURE(sighand) {
	struct box box;
};

FIXTURE_SETUP(sighand)
{
	if (access("/dev/fuse", F_OK))
		SKIP(return, "no /dev/fuse");
	fuse_silent = FUSE_FLUSH;
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(sighand)
{
	leave();
	EXPECT_EQ(0, fuse_box_close(&self->box));
}

/* Whether a process ignores SIGCHLD; -1 if that cannot be seen. */
static int ignores_sigchld(pid_t pid)
{
	char path[64], buf[4096], *p;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (read_file(path, buf, sizeof(buf)) <= 0)
		return -1;
	p = strstr(buf, "\nSigIgn:");
	if (!p)
		return -1;
	return strtoull(p + 8, NULL, 16) >> (SIGCHLD - 1) & 1;
}

static void *sleeps(void *arg __maybe_unused)
{
	forever();
}

/*
 * Its file is flushed when it dies, and not before. The member, which does not have
 * it open, is forked on an order, when init is in the cgroup of the test.
 */
static int init_with_file(void *arg)
{
	struct box *b = arg;

	announce(b, READY);
	await_order(b);
	member(b, "member");
	if (open(FUSE_FILE, O_RDONLY) < 0)
		_exit(91);
	announce(b, READY);
	forever();
}

/* How many threads init has besides its leader, and whether that one has left. */
struct threads {
	int mnt, nr;
	bool leader_leaves;
};

static void init_with_threads(struct box *b, void *arg)
{
	struct threads *t = arg;
	pthread_t thread;
	int i;

	if (setns(t->mnt, CLONE_NEWNS))
		_exit(92);
	for (i = 0; i < t->nr; i++)
		if (pthread_create(&thread, NULL, sleeps, NULL))
			_exit(93);
	if (open(FUSE_FILE, O_RDONLY) < 0)
		_exit(91);
	announce(b, READY);
	if (t->leader_leaves)
		syscall(__NR_exit, 0);
	forever();
}

/*
 * A process outside, whose handlers init has as well, and its memory. init is a
 * child of the test.
 */
static pid_t start_sharing(struct box *b, int mnt)
{
	static char stack[65536] __attribute__((aligned(16)));
	pid_t outside;
	int fd = -1;

	outside = fork_into(b->out, 0, &fd);
	if (!outside) {
		if (setns(mnt, CLONE_NEWNS))
			_exit(92);
		if (clone(init_with_file, stack + sizeof(stack),
			  CLONE_VM | CLONE_SIGHAND | CLONE_NEWPID | CLONE_PARENT | SIGCHLD, b) < 0)
			_exit(93);
		forever();
	}
	close(fd);
	return outside;
}

/* The init that has announced itself. */
static int find_init(struct box *b)
{
	struct announcement a;
	char buf[16];

	if (!readable(b->join[0], patience_ms) || read(b->join[0], &a, sizeof(a)) != sizeof(a))
		return -1;
	b->init = a.pid;
	b->reaped = false;
	b->initfd = sys_pidfd_open(b->init);
	b->nsfd = open_pidns(b->init);
	snprintf(buf, sizeof(buf), "%d", b->init);
	return b->initfd < 0 || b->nsfd < 0 || write_at(b->in, "cgroup.procs", buf) ? -1 : 0;
}

/* The process outside does not lose its zombies, and init's children are reaped. */
TEST_F_TIMEOUT(sighand, outside_keeps_sigchld, TEST_SECONDS)
{
	struct box *b = &self->box;
	pid_t outside;
	int mnt;

	mnt = fuse_outside(b);
	ASSERT_GE(mnt, 0);
	outside = start_sharing(b, mnt);
	close(mnt);
	ASSERT_GT(outside, 0);
	ASSERT_EQ(0, find_init(b));
	order(b, 'm');
	ASSERT_EQ(0, box_collect(b, 2));
	ASSERT_EQ(1, box_alive(b));
	ASSERT_EQ(0, ignores_sigchld(outside));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	/* The daemon has got the flush: init is dead. */
	ASSERT_EQ(0, box_collect(b, 1));
	EXPECT_FALSE(readable(b->initfd, 0));
	EXPECT_EQ(0, ignores_sigchld(outside));
	order(b, 'a');
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
	EXPECT_EQ(SIGKILL, b->status);
}

static bool is_early(void)
{
	char buf[8];

	return read_file("/sys/module/pidns_guard/parameters/early", buf, sizeof(buf)) > 0 &&
	       buf[0] == 'Y';
}

FIXTURE(sighand_own) {
	struct box box;
	struct threads threads;
};

FIXTURE_VARIANT(sighand_own) {
	struct threads threads;
};

FIXTURE_VARIANT_ADD(sighand_own, alone) {};
FIXTURE_VARIANT_ADD(sighand_own, threads) {
	.threads = { .nr = 3 },
};

FIXTURE_VARIANT_ADD(sighand_own, leader_left) {
	.threads = { .nr = 3, .leader_leaves = true },
};

FIXTURE_SETUP(sighand_own)
{
	if (access("/dev/fuse", F_OK))
		SKIP(return, "no /dev/fuse");
	if (!is_early())
		SKIP(return, "no module that acts at the death of init");
	fuse_silent = FUSE_FLUSH;
	self->threads = variant->threads;
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(sighand_own)
{
	if (access("/dev/fuse", F_OK) || !is_early())
		return;
	EXPECT_EQ(0, fuse_box_close(&self->box));
}

/* Threads of its own are nobody else: it is spared its zombies. */
TEST_F_TIMEOUT(sighand_own, ignored_from_death_on, TEST_SECONDS)
{
	struct box *b = &self->box;

	self->threads.mnt = fuse_outside(b);
	ASSERT_GE(self->threads.mnt, 0);
	ASSERT_EQ(0, box_spawn(b, 0, init_with_threads, &self->threads));
	close(self->threads.mnt);
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(0, ignores_sigchld(b->init));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_collect(b, 1));
	EXPECT_FALSE(readable(b->initfd, 0));
	EXPECT_EQ(1, ignores_sigchld(b->init));
	order(b, 'a');
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
}

TEST_HARNESS_MAIN
