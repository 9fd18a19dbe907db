// SPDX-License-Identifier: GPL-2.0
/*
 * An init that is dead but does not get to its end: it has a read in flight
 * (AIO) on a FUSE file whose daemon does not answer. It has left signal->live,
 * and waits in exit_aio(), long before it would come to zap_pid_ns_processes().
 *
 * I1 and I2 begin with the death, not with zap_pid_ns_processes(). A kernel
 * alone has nothing to offer here; and where the daemon is a member of the same
 * namespace, it never gets out of it: the wedge.
 */
#include "pidns_fuse.h"

FIXTURE(wedge) {
	struct box box;
};

FIXTURE_SETUP(wedge)
{
	if (access("/dev/fuse", F_OK))
		SKIP(return, "no /dev/fuse");
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(wedge)
{
	leave();
	EXPECT_EQ(0, fuse_box_close(&self->box));
}

static void init_over_daemon(struct box *b, void *arg __maybe_unused)
{
	int mounted[2], fd;
	char c;

	if (pipe2(mounted, O_CLOEXEC))
		_exit(92);
	if (!fork()) {
		fd = fuse_mount();
		if (fd < 0)
			_exit(93);
		announce(b, "daemon");
		if (write(mounted[1], "x", 1) == 1)
			fuse_serve(b, fd);
		_exit(92);
	}
	if (read(mounted[0], &c, 1) != 1)
		_exit(92);
	fuse_submit_read();
	announce(b, READY);
	forever();
}

/*
 * I2 at the death of init, in do_exit() before exit_mm() (kernel/exit.c), which
 * ends in exit_aio() (fs/aio.c): the daemon goes, and with it what init waits for.
 */
TEST_F_TIMEOUT(wedge, aio_on_own_fuse, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, CLONE_NEWNS, init_over_daemon, NULL));
	/* The daemon, its having got the read, and init's having submitted it. */
	ASSERT_EQ(0, box_collect(b, 3));
	ASSERT_EQ(1, box_alive(b));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
	EXPECT_EQ(SIGKILL, b->status);
}

static void init_reads(struct box *b, void *arg)
{
	if (setns(*(int *)arg, CLONE_NEWNS))
		_exit(92);
	member(b, "member");
	member(b, "member");
	fuse_submit_read();
	announce(b, READY);
	forever();
}

/* Kills an init that will hang in exit_aio(), the daemon being outside. */
static int hang(struct box *b)
{
	long long end = now_ms() + patience_ms;
	int mnt = fuse_outside(b);

	/* Two members, init's having submitted, the daemon's having got the read. */
	if (mnt < 0 || box_spawn(b, 0, init_reads, &mnt) || box_collect(b, 4))
		return -1;
	close(mnt);
	if (b->nr != 2 || box_alive(b) != 2 || kill(b->init, SIGKILL))
		return -1;
	/* Nothing but looking tells that it is there. */
	while (!sleeps_in(b->init, "exit_aio")) {
		if (now_ms() > end)
			return -1;
		sched_yield();
	}
	return 0;
}

/* I2 with the death of init, however long init itself takes to go. */
TEST_F_TIMEOUT(wedge, members_go_first, TEST_SECONDS)
{
	struct box *b = &self->box;
	long long end;
	int looks = 0;

	ASSERT_EQ(0, hang(b));
	for (end = now_ms() + patience_ms; box_alive(b);) {
		ASSERT_LT(now_ms(), end);
		readable(b->m[0].fd, LOOK_MS);
		looks = !module_loaded() && box_doomed(b) ? looks + 1 : 0;
		ASSERT_NE(LOOKS, looks) TH_LOG("members live on beside a dead init");
	}
	EXPECT_FALSE(readable(b->initfd, 0));
	/* Now the daemon answers. */
	order(b, 'a');
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
}

/*
 * I1 with the death of init: PIDNS_ADDING is still set then, as it goes in
 * zap_pid_ns_processes() only (disable_pid_allocation() in kernel/pid.c).
 */
TEST_F_TIMEOUT(wedge, refused_meanwhile, TEST_SECONDS)
{
	struct box *b = &self->box;
	int saved;
	pid_t pid;

	ASSERT_EQ(0, hang(b));
	ASSERT_EQ(0, enter(b->nsfd));
	pid = fork();
	if (!pid)
		_exit(0);
	saved = errno;
	if (pid > 0)
		waitpid(pid, NULL, 0);
	EXPECT_FALSE(readable(b->initfd, 0));
	EXPECT_EQ(-1, pid);
	if (pid < 0)
		EXPECT_EQ(ENOMEM, saved);
}

TEST_HARNESS_MAIN
