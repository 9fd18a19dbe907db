// SPDX-License-Identifier: GPL-2.0
/*
 * I2, the reaper kill, by who a member is: whose tracee, whose child, and whose
 * altogether. Init dies by SIGKILL, and when it has been reaped nothing of its
 * namespace is left.
 *
 * What a member is doing is the matter of state_test.c, what it is made of that
 * of task_test.c; those that cannot go at once are in held_test.c.
 */
#include "pidns_member.h"

#ifndef CLONE_AUTOREAP
#define CLONE_AUTOREAP		0x400000000ULL
#endif
#ifndef CLONE_PIDFD_AUTOKILL
#define CLONE_PIDFD_AUTOKILL	0x1000000000ULL
#endif

FIXTURE(member) {
	struct box box;
};

FIXTURE_SETUP(member)
{
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(member)
{
	EXPECT_EQ(0, box_close(&self->box));
}

/*
 * Tracers and tracees.
 */

static pid_t stopped_by_caller(pid_t pid)
{
	int status;

	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) ||
	    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL))
		return -1;
	return waitpid(pid, &status, __WALL);
}

/* A child of the caller that announces itself, and is then stopped by it. */
static void traced_member(struct box *b, const char *what)
{
	int there[2];
	pid_t pid;
	char c;

	if (pipe2(there, O_CLOEXEC))
		_exit(1);
	pid = fork();
	if (!pid) {
		announce(b, what);
		if (write(there[1], "x", 1) == 1)
			forever();
		_exit(1);
	}
	if (read(there[0], &c, 1) != 1 || stopped_by_caller(pid) != pid)
		_exit(1);
}

static void tracer_inside(struct box *b, const char *what)
{
	traced_member(b, "traced inside");
	announce(b, what);
	forever();
}

/* I2 for two that hold each other: one stopped by the other, its tracer. */
TEST_F_TIMEOUT(member, traced_inside, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_start_one(b, "tracer inside", tracer_inside, 1));
	EXPECT_EQ(0, box_fall(b));
}

/*
 * I2 for one that a tracer outside has stopped. SIGKILL gets it out of the stop
 * (ptrace_signal_wake_up() in kernel/signal.c). Its zombie is the tracer's to
 * reap, and zap_pid_ns_processes() waits for that.
 */
TEST_F_TIMEOUT(member, traced_outside, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_start_plain(b));
	ASSERT_EQ(b->m[0].pid, stopped_by_caller(b->m[0].pid));
	b->m[0].ours = true;
	EXPECT_EQ(0, box_fall(b));
}

static void init_that_traces(struct box *b, void *arg __maybe_unused)
{
	traced_member(b, "traced by init");
	announce(b, READY);
	forever();
}

/*
 * I2 for one that init itself has stopped as its tracer. It is let go before
 * zap_pid_ns_processes() is come to (exit_ptrace() in forget_original_parent(),
 * kernel/exit.c), and runs.
 */
TEST_F_TIMEOUT(member, traced_by_init, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, init_that_traces, NULL));
	ASSERT_EQ(0, box_collect(b, 2));
	EXPECT_EQ(0, box_fall(b));
}

static void tracer_of_init(struct box *b, const char *what)
{
	if (ptrace(PTRACE_SEIZE, 1, NULL, NULL))
		_exit(1);
	announce(b, what);
	forever();
}

/*
 * I2 for init's own tracer: were it alive when init is a zombie, it would have
 * to reap it before the parent can (wait_consider_task() in kernel/exit.c).
 */
TEST_F_TIMEOUT(member, tracer_of_init, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_start_one(b, "tracer of init", tracer_of_init, 0));
	EXPECT_EQ(0, box_fall(b));
}

/* I2 for one that is frozen: a frozen cgroup lets the killed go. */
TEST_F_TIMEOUT(member, frozen, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_start_plain(b));
	ASSERT_EQ(0, cgroup_move(b->m[0].pid, b->out));
	ASSERT_EQ(0, cgroup_freeze(b->out));
	/* A second one, not frozen, by which one can tell that nobody kills. */
	ASSERT_GT(box_inject(b, "not frozen", NULL), 0);
	EXPECT_EQ(0, box_fall(b));
}

static void in_vfork(struct box *b, const char *what)
{
	announce(b, what);
	if (!vfork()) {
		announce(b, "vforked");
		forever();
	}
}

/* I2 for one that waits in vfork() for its child, which is killed as well. */
TEST_F_TIMEOUT(member, in_vfork, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_start_one(b, "in vfork", in_vfork, 1));
	EXPECT_EQ(0, box_fall(b));
}

/*
 * By their families: who is whose child, and who reaps whom.
 */

static void orphan_of_subreaper(struct box *b, const char *what)
{
	pid_t me = getpid();

	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (!fork()) {
		if (fork())
			_exit(0);
		while (getppid() != me)
			sched_yield();
		setsid();
		announce(b, "orphan");
		forever();
	}
	wait(NULL);
	announce(b, what);
	forever();
}

/* I2 for a subreaper and the orphan that came to it: find_new_reaper(), exit.c. */
TEST_F_TIMEOUT(member, subreaper, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_start_one(b, "subreaper", orphan_of_subreaper, 1));
	EXPECT_EQ(0, box_fall(b));
}

/* I2 for an orphan twice over, whose subreaper died before init. */
TEST_F_TIMEOUT(member, subreaper_gone, TEST_SECONDS)
{
	struct box *b = &self->box;
	struct member *m;

	ASSERT_EQ(0, box_start_one(b, "subreaper", orphan_of_subreaper, 1));
	m = box_find(b, "subreaper");
	ASSERT_EQ(0, sys_pidfd_signal(m->fd, SIGKILL));
	ASSERT_TRUE(readable(m->fd, patience_ms));
	EXPECT_EQ(0, box_fall(b));
}

#define ZOMBIES	5

static void parent_of_zombies(struct box *b, const char *what)
{
	siginfo_t si;
	int i;

	for (i = 0; i < ZOMBIES; i++)
		if (!fork()) {
			announce(b, "zombie");
			_exit(0);
		}
	for (i = 0; i < ZOMBIES; i++)
		waitid(P_ALL, 0, &si, WEXITED | WNOWAIT);
	announce(b, what);
	kill(getpid(), SIGSTOP);
}

/*
 * I2 for the zombies of one that never reaps, and is stopped: they come to init,
 * which ignores SIGCHLD by then (reparent_leader() in kernel/exit.c).
 */
TEST_F_TIMEOUT(member, parent_of_zombies, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_start_one(b, "parent", parent_of_zombies, ZOMBIES));
	ASSERT_EQ(0, wait_state(box_find(b, "parent")->pid, 'T'));
	EXPECT_EQ(0, box_fall(b));
}

static void brings_sibling(struct box *b)
{
	pid_t pid = clone_flags(CLONE_PARENT, 0);

	if (pid < 0)
		_exit(1);
	if (!pid) {
		announce(b, "sibling");
		forever();
	}
}

static void init_with_siblings(struct box *b, void *arg __maybe_unused)
{
	/* init's own sibling would be outside */
	if (clone_flags(CLONE_PARENT, 0) >= 0 || errno != EINVAL)
		_exit(1);
	if (!fork()) {
		brings_sibling(b);
		announce(b, "child of init");
		forever();
	}
	announce(b, READY);
	forever();
}

/*
 * I2 for siblings: CLONE_PARENT makes a child of init, or of a process outside
 * where the caller is one; init itself is refused it. copy_process() in fork.c.
 */
TEST_F_TIMEOUT(member, siblings, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, init_with_siblings, NULL));
	ASSERT_EQ(0, box_collect(b, 3));
	ASSERT_GT(box_inject(b, "child of ours", brings_sibling), 0);
	/* box_inject() has read one of the two announcements */
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(4, b->nr);
	/* the last one: its parent is that of the injected */
	b->m[3].ours = true;
	EXPECT_EQ(0, box_fall(b));
}

static void init_of_clones(struct box *b, void *arg __maybe_unused)
{
	static const int signals[] = { 0, SIGUSR1, SIGKILL };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(signals); i++)
		if (!clone_flags(0, signals[i])) {
			announce(b, "clone");
			forever();
		}
	announce(b, READY);
	forever();
}

/*
 * I2 for children that send another signal than SIGCHLD when they die, or none:
 * wait() does not see them, kernel_wait4(__WALL) in zap_pid_ns_processes() does.
 */
TEST_F_TIMEOUT(member, other_exit_signal, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, init_of_clones, NULL));
	ASSERT_EQ(0, box_collect(b, 4));
	EXPECT_EQ(0, box_fall(b));
}

/*
 * I2 for one put in from outside by setns + fork. Its parent is outside and has
 * to reap it; zap_pid_ns_processes() waits for that in its last loop.
 */
TEST_F_TIMEOUT(member, injected, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_start_plain(b));
	ASSERT_GT(box_inject(b, "injected", NULL), 0);
	EXPECT_EQ(0, box_fall(b));
}

static void grow(struct box *b)
{
	member(b, "grown");
}

/* I2 for what the injected one has brought forth inside. */
TEST_F_TIMEOUT(member, injected_child, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_start_plain(b));
	ASSERT_GT(box_inject(b, "injected", grow), 0);
	/* box_inject() has read one of the two announcements */
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(3, box_alive(b));
	EXPECT_EQ(0, box_fall(b));
}

/*
 * I2 for injected ones that nobody has to reap (CLONE_AUTOREAP), and that go with
 * the last pidfd (CLONE_PIDFD_AUTOKILL), which stays: do_notify_parent() in
 * kernel/signal.c and pidfs_file_release() in fs/pidfs.c.
 */
TEST_F_TIMEOUT(member, autoreaped, TEST_SECONDS)
{
	static const unsigned long long flags[] = { 0, CLONE_PIDFD_AUTOKILL };
	struct box *b = &self->box;
	pid_t pid;
	int i, fd;

	ASSERT_EQ(0, box_start_plain(b));
	for (i = 0; i < 2; i++) {
		struct clone_args args = {
			.flags = CLONE_INTO_CGROUP | CLONE_PIDFD | CLONE_AUTOREAP | flags[i],
			.cgroup = b->in,
			.pidfd = (uintptr_t)&fd,
		};

		ASSERT_EQ(0, enter(b->nsfd));
		pid = syscall(__NR_clone3, &args, sizeof(args));
		if (!pid)
			forever();
		if (pid < 0 && errno == EINVAL)
			SKIP(return, "this kernel has no CLONE_AUTOREAP");
		ASSERT_GT(pid, 0);
		ASSERT_EQ(0, leave());
		ASSERT_EQ(0, box_add(b, pid, fd, "autoreaped", false));
	}
	EXPECT_EQ(0, box_fall(b));
}

/*
 * I2 whoever a member belongs to. The kill is the kernel's (SEND_SIG_PRIV in
 * zap_pid_ns_processes()), so that check_kill_permission() has no say in it.
 */
FIXTURE(owner) {
	struct box box;
};

FIXTURE_VARIANT(owner) {
	unsigned long long flags;	/* of init's clone3() */
	void (*init_becomes)(void);
	void (*member_becomes)(void);
	void (*injected_becomes)(struct box *b);
};

static void become_somebody(void)
{
	if (setresgid(SOMEBODY, SOMEBODY, SOMEBODY) ||
	    setresuid(SOMEBODY, SOMEBODY, SOMEBODY) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		_exit(1);
}

static void become_root_elsewhere(void)
{
	if (unshare(CLONE_NEWUSER))
		_exit(1);
}

/* One that has given up root, and is not dumpable. */
FIXTURE_VARIANT_ADD(owner, other_uid) {
	.member_becomes = become_somebody,
};

/* An init that could not kill it by itself. */
FIXTURE_VARIANT_ADD(owner, lesser_init) {
	.init_becomes = become_somebody,
};

/* One in a user namespace below init's. */
FIXTURE_VARIANT_ADD(owner, userns_below) {
	.member_becomes = become_root_elsewhere,
};

static void become_somebody_above(struct box *b __maybe_unused)
{
	become_somebody();
}

/* An init in a user namespace of its own; the injected is in that above. */
FIXTURE_VARIANT_ADD(owner, userns_above) {
	.flags = CLONE_NEWUSER, .injected_becomes = become_somebody_above,
};

FIXTURE_SETUP(owner)
{
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(owner)
{
	EXPECT_EQ(0, box_close(&self->box));
}

struct owners {
	void (*init)(void);
	void (*member)(void);
};

static void init_owned(struct box *b, void *arg)
{
	struct owners *become = arg;

	if (!fork()) {
		if (become->member)
			become->member();
		announce(b, "member");
		forever();
	}
	if (become->init)
		become->init();
	announce(b, READY);
	forever();
}

TEST_F_TIMEOUT(owner, all_gone, TEST_SECONDS)
{
	struct owners become = { variant->init_becomes, variant->member_becomes };
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, variant->flags, init_owned, &become));
	ASSERT_EQ(0, box_collect(b, 2));
	ASSERT_GT(box_inject(b, "injected", variant->injected_becomes), 0);
	EXPECT_EQ(0, box_fall(b));
}

TEST_HARNESS_MAIN
