// SPDX-License-Identifier: GPL-2.0
/*
 * I1, the allocation guard: once init is dead, no PID is allocated in its
 * namespace, nor in any below it; the caller gets ENOMEM.
 */
#include <spawn.h>

#include "pidns_ways.h"

FIXTURE(guard) {
	struct box box;
};

FIXTURE_SETUP(guard)
{
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(guard)
{
	leave();
	EXPECT_EQ(0, box_close(&self->box));
}

/*
 * The other side of I1: while init lives nothing is refused, however the
 * namespace was made. alloc_pid() in kernel/pid.c.
 */
TEST_F(guard, alive_forks)
{
	pid_t init, pid;
	int life[2], i;
	char c;

	ASSERT_EQ(0, pipe2(life, O_CLOEXEC));
	ASSERT_EQ(0, unshare(CLONE_NEWPID));
	init = fork();
	ASSERT_GE(init, 0);
	if (!init)
		_exit(read(life[0], &c, 1) == 1 ? 7 : 8);
	for (i = 0; i < 8; i++) {
		pid = undo(fork());
		ASSERT_GT(pid, 0);
	}
	pid = vfork();
	if (!pid)
		_exit(0);
	ASSERT_GT(pid, 0);
	EXPECT_EQ(pid, waitpid(pid, &i, 0));
	EXPECT_EQ(1, write(life[1], "x", 1));
	EXPECT_EQ(init, waitpid(init, &i, 0));
	EXPECT_EQ(7, WEXITSTATUS(i));
	close(life[0]);
	close(life[1]);
}

/* I1 after unshare + fork; alloc_pid() sees PIDNS_ADDING gone (kernel/pid.c). */
TEST_F(guard, fork_after_death)
{
	ASSERT_EQ(0, caller_of_dead_ns());
	ASSERT_EQ(-1, undo(fork()));
	EXPECT_EQ(ENOMEM, errno);
}

/* I1 holds for good, not just once: PIDNS_ADDING never comes back. */
TEST_F(guard, fork_again_and_again)
{
	int i, refused = 0;

	ASSERT_EQ(0, caller_of_dead_ns());
	for (i = 0; i < 50; i++)
		refused += undo(fork()) == -1 && errno == ENOMEM;
	EXPECT_EQ(50, refused);
}

/* I1 for vfork: kernel_clone() and copy_process() in kernel/fork.c. */
TEST_F(guard, vfork_after_death)
{
	pid_t pid;

	ASSERT_EQ(0, caller_of_dead_ns());
	pid = vfork();
	if (!pid)
		_exit(0);
	ASSERT_EQ(-1, undo(pid));
	EXPECT_EQ(ENOMEM, errno);
}

/* I1 for clone3: kernel_clone() and copy_process() in kernel/fork.c. */
TEST_F(guard, clone3_after_death)
{
	int fd = -1;

	ASSERT_EQ(0, caller_of_dead_ns());
	ASSERT_EQ(-1, undo(fork_into(self->box.out, 0, &fd)));
	EXPECT_EQ(ENOMEM, errno);
}

/* I1 for clone3 that asks for a certain PID: the set_tid part of alloc_pid(). */
TEST_F(guard, set_tid_after_death)
{
	pid_t tid = 42;

	ASSERT_EQ(0, caller_of_dead_ns());
	ASSERT_EQ(-1, undo(fork_as(&tid, 1)));
	EXPECT_EQ(ENOMEM, errno);
}

/*
 * The death of the namespace is what alloc_pid() looks at last: what is wrong
 * with the call itself is said as ever ("we need to preserve other error
 * conditions"). Here init is a zombie, and so has PID 1.
 */
TEST_F(guard, set_tid_errors_stay)
{
	static const struct {
		const char *what;
		size_t size;
		pid_t tid[3];
		int error;
	} calls[] = {
		{ "too many levels", 3, { 42, 42, 42 }, EINVAL },
		{ "PID 0", 1, { 0 }, EINVAL },
		{ "negative PID", 1, { -1 }, EINVAL },
		{ "beyond any PID", 1, { 1 << 23 }, EINVAL },
		{ "beyond any PID, above", 2, { 42, 1 << 23 }, EINVAL },
		{ "taken", 1, { 1 }, EEXIST },
		{ "taken, above", 2, { 42, 1 }, EEXIST },
	};
	unsigned int i;
	pid_t init;

	init = zombie_init();
	ASSERT_GT(init, 0);

	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		EXPECT_EQ(-1, undo(fork_as(calls[i].tid, calls[i].size)));
		EXPECT_EQ(calls[i].error, errno) {
			TH_LOG("%s", calls[i].what);
		}
	}
	EXPECT_EQ(init, waitpid(init, NULL, 0));
}

/* Without the capability, choosing a PID is EPERM before it is ENOMEM. */
TEST_F(guard, set_tid_needs_capability)
{
	pid_t tid = 42;

	ASSERT_EQ(0, caller_of_dead_ns());
	ASSERT_EQ(0, seteuid(65534));
	EXPECT_EQ(-1, undo(fork_as(&tid, 1)));
	EXPECT_EQ(EPERM, errno);
	ASSERT_EQ(0, seteuid(0));
}

/* I1 for posix_spawn, which is a clone with CLONE_VM | CLONE_VFORK. */
TEST_F(guard, spawn_after_death)
{
	char * const argv[] = { "true", NULL };
	pid_t pid = -1;
	int ret;

	ASSERT_EQ(0, caller_of_dead_ns());
	ret = posix_spawn(&pid, "/bin/true", NULL, NULL, argv, NULL);
	if (!ret)
		waitpid(pid, NULL, 0);
	EXPECT_EQ(ENOMEM, ret);
}

static void *thread_nop(void *arg)
{
	return arg;
}

/*
 * Threads stay where their process is: a thread of a caller whose children go
 * to a dead namespace is refused as EINVAL before any PID is asked for, on any
 * kernel. copy_process() in kernel/fork.c.
 */
TEST_F(guard, thread_of_caller)
{
	pthread_t t;

	ASSERT_EQ(0, caller_of_dead_ns());
	EXPECT_EQ(EINVAL, pthread_create(&t, NULL, thread_nop, NULL));
}

/*
 * I1 from the death on, not from the reaping on: init is a zombie that its
 * parent has not waited for. zap_pid_ns_processes() disables the allocation.
 */
TEST_F(guard, fork_beside_zombie)
{
	pid_t init, pid;

	init = zombie_init();
	ASSERT_GT(init, 0);
	pid = undo(fork());
	EXPECT_EQ(-1, pid);
	if (pid < 0)
		EXPECT_EQ(ENOMEM, errno);
	EXPECT_EQ(init, waitpid(init, NULL, 0));
}

static void exit_at_once(struct box *b)
{
	announce(b, READY);
	_exit(0);
}

/*
 * I1 while init still waits in zap_pid_ns_processes(): it does so for a zombie
 * whose parent, outside, has not reaped it yet.
 */
TEST_F(guard, fork_while_dying)
{
	struct box *b = &self->box;
	pid_t zombie, pid;

	ASSERT_EQ(0, box_spawn(b, 0, init_waits, NULL));
	ASSERT_EQ(0, box_collect(b, 1));
	zombie = box_inject(b, "zombie", exit_at_once);
	ASSERT_GT(zombie, 0);
	ASSERT_TRUE(readable(b->m[0].fd, patience_ms));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_wait_zap(b));
	ASSERT_FALSE(readable(b->initfd, 0));
	ASSERT_EQ(0, enter(b->nsfd));
	pid = undo(fork());
	EXPECT_EQ(-1, pid);
	if (pid < 0)
		EXPECT_EQ(ENOMEM, errno);
	EXPECT_EQ(0, leave());
	EXPECT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
}

/* I1 by setns: pidns_install() lets one in, alloc_pid() then refuses. */
TEST_F(guard, setns_after_death)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, init_waits, NULL));
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(0, box_kill_init(b));
	ASSERT_EQ(0, enter(b->nsfd));
	ASSERT_EQ(-1, undo(fork()));
	EXPECT_EQ(ENOMEM, errno);
}

struct inner {
	bool unborn;
};

static void init_with_inner(struct box *b, void *arg)
{
	struct inner *inner = arg;
	pid_t pid;

	if (inner->unborn) {
		pid = fork();
		if (!pid) {
			if (unshare(CLONE_NEWPID))
				_exit(1);
			announce(b, "unborn's maker");
			forever();
		}
	} else {
		if (unshare(CLONE_NEWPID))
			_exit(1);
		pid = member(b, "inner init");
	}
	forever();
}

/*
 * I1 for what lies below: the outer init is dead, the inner one is still there
 * and could take children. It is held where a tracer stops it on its way out,
 * before it leaves signal->live (ptrace_event() in do_exit(), kernel/exit.c).
 * alloc_pid() in kernel/pid.c goes through all the levels.
 */
TEST_F_TIMEOUT(guard, inner_still_there, TEST_SECONDS)
{
	struct box *b = &self->box;
	struct inner inner = { .unborn = false };
	pid_t held, pid;
	int nsfd, error;

	ASSERT_EQ(0, box_spawn(b, 0, init_with_inner, &inner));
	ASSERT_EQ(0, box_collect(b, 1));
	held = b->m[0].pid;
	nsfd = open_pidns(held);
	ASSERT_GE(nsfd, 0);
	ASSERT_EQ(0, ptrace(PTRACE_SEIZE, held, NULL, PTRACE_O_TRACEEXIT));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_wait_zap(b));
	ASSERT_FALSE(readable(b->initfd, 0));
	/* It is there: nobody has seen it die, though it may be in its stop. */
	ASSERT_FALSE(readable(b->m[0].fd, 0));
	ASSERT_NE('Z', task_state(held));
	ASSERT_EQ(0, enter(nsfd));
	pid = undo(fork());
	error = errno;
	EXPECT_EQ(0, leave());
	EXPECT_EQ(-1, pid);
	if (pid < 0)
		EXPECT_EQ(ENOMEM, error);
	close(nsfd);
}

/*
 * I1 for a namespace that has no init yet, below a dead one: its first fork
 * would make one. alloc_pid() again, and there is no child_reaper to ask.
 */
TEST_F(guard, unborn_below_dead)
{
	struct box *b = &self->box;
	struct inner inner = { .unborn = true };
	char path[64];
	int nsfd;

	ASSERT_EQ(0, box_spawn(b, 0, init_with_inner, &inner));
	ASSERT_EQ(0, box_collect(b, 1));
	snprintf(path, sizeof(path), "/proc/%d/ns/pid_for_children", b->m[0].pid);
	nsfd = open(path, O_RDONLY | O_CLOEXEC);
	if (nsfd < 0)
		SKIP(return, "this kernel does not open a namespace without init");
	/* The member is put out of the way: this test is about the guard. */
	ASSERT_EQ(0, kill(b->m[0].pid, SIGKILL));
	ASSERT_TRUE(readable(b->m[0].fd, patience_ms));
	ASSERT_EQ(0, box_kill_init(b));
	ASSERT_EQ(0, enter(nsfd));
	ASSERT_EQ(-1, undo(fork()));
	EXPECT_EQ(ENOMEM, errno);
	close(nsfd);
}

/*
 * The other side of I1: one dead namespace does not spoil the caller for the
 * next. unshare() and setns() give it new namespaces (kernel/nsproxy.c).
 */
TEST_F(guard, serve_in_turn)
{
	pid_t pid;
	int i;

	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, caller_of_dead_ns());
		ASSERT_EQ(0, leave());
		pid = undo(fork());
		ASSERT_GT(pid, 0);
	}
}

/* I1 for each of several dead namespaces that one caller served in turn. */
TEST_F(guard, refused_in_turn)
{
	int i;

	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, caller_of_dead_ns());
		ASSERT_EQ(-1, undo(fork()));
		EXPECT_EQ(ENOMEM, errno);
		ASSERT_EQ(0, leave());
	}
}

/* I1 is about one namespace: a living one next to a dead one takes forks. */
TEST_F(guard, neighbour_lives)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, caller_of_dead_ns());
	ASSERT_EQ(0, leave());
	ASSERT_EQ(0, box_spawn(b, 0, init_waits, NULL));
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_GT(box_inject(b, "injected", NULL), 0);
	EXPECT_EQ(1, box_alive(b));
}

TEST_HARNESS_MAIN
