// SPDX-License-Identifier: GPL-2.0
/*
 * I2, whoever init's parent is: one that does not want to know, that knows in
 * its own way, that has gone, that never was its maker, or that shares its
 * memory. Each is told what it has always been told.
 */
#include "pidns_test.h"

/* What the parent saw; in shared memory. */
struct seen {
	pid_t pid, reaped;
	int status, error;
	bool sigchld, sigusr1;
	bool early;	/* something was there to reap before the death */
};

enum death {
	INIT_KILLED, PARENT_KILLED, MAKER_ORDERED,
};

FIXTURE(parent) {
	struct box box;
	struct seen *seen;
	pid_t neighbour;
};

FIXTURE_VARIANT(parent) {
	/* The maker of init, which may then be its parent or not. */
	void (*maker)(struct box *b, struct seen *seen);
	int flags;		/* with which the maker itself is made */
	enum death death;
	bool leaves;		/* it exits before init is killed */
	bool ours;		/* init is, or becomes, a child of the test */
	int error;		/* of waitpid(), if there is no status */
	bool sigchld, sigusr1;	/* what the parent gets */
};

static void init_kin(struct box *b)
{
	if (write_at(b->in, "cgroup.procs", "0"))
		_exit(95);
	member(b, "member");
	member(b, "member");
	announce(b, "init");
	forever();
}

static pid_t make_init(struct box *b, __u64 flags, int exit_signal)
{
	struct clone_args args = {
		.flags = flags | CLONE_NEWPID, .exit_signal = exit_signal,
	};
	pid_t pid = syscall(__NR_clone3, &args, sizeof(args));

	if (!pid)
		init_kin(b);
	return pid;
}

static void wait_for(struct seen *seen, pid_t pid, int options)
{
	sigset_t pending;

	seen->pid = pid;
	seen->reaped = waitpid(pid, &seen->status, options);
	seen->error = errno;
	sigpending(&pending);
	seen->sigchld = sigismember(&pending, SIGCHLD);
	seen->sigusr1 = sigismember(&pending, SIGUSR1);
}

static void ordinary(struct box *b, struct seen *seen)
{
	wait_for(seen, make_init(b, 0, SIGCHLD), 0);
}

static void ignores_sigchld(struct box *b, struct seen *seen)
{
	signal(SIGCHLD, SIG_IGN);
	wait_for(seen, make_init(b, 0, SIGCHLD), 0);
}

static void wants_no_zombies(struct box *b, struct seen *seen)
{
	struct sigaction sa = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT };

	sigaction(SIGCHLD, &sa, NULL);
	wait_for(seen, make_init(b, 0, SIGCHLD), 0);
}

static void does_not_reap(struct box *b, struct seen *seen)
{
	siginfo_t si;

	seen->pid = make_init(b, 0, SIGCHLD);
	waitid(P_PID, seen->pid, &si, WEXITED | WNOWAIT);
	wait_for(seen, seen->pid, 0);
}

/* A wait for one that sends no SIGCHLD is a wait for nobody without __WCLONE. */
static void signalled(struct box *b, struct seen *seen, int exit_signal)
{
	pid_t pid = make_init(b, 0, exit_signal);

	seen->early = waitpid(pid, NULL, WNOHANG) != -1 || errno != ECHILD;
	wait_for(seen, pid, __WCLONE);
}

static void gets_no_signal(struct box *b, struct seen *seen)
{
	signalled(b, seen, 0);
}

static void gets_sigusr1(struct box *b, struct seen *seen)
{
	signalled(b, seen, SIGUSR1);
}

static void leaves(struct box *b, struct seen *seen __maybe_unused)
{
	if (unshare(CLONE_NEWPID))
		_exit(93);
	if (!fork())
		init_kin(b);
}

static void makes_sibling(struct box *b, struct seen *seen __maybe_unused)
{
	make_init(b, CLONE_PARENT, 0);
}

static pid_t make_bound_init(struct box *b)
{
	pid_t pid;

	if (unshare(CLONE_NEWPID))
		_exit(93);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		init_kin(b);
	}
	return pid;
}

static void takes_it_along(struct box *b, struct seen *seen __maybe_unused)
{
	make_bound_init(b);
	forever();
}

static struct box *threads_box;

static void *thread_makes_init(void *arg)
{
	struct seen *seen = arg;

	seen->pid = make_bound_init(threads_box);
	await_order(threads_box);
	return NULL;
}

/* The thread that made it is its parent, and not the process. */
static void thread_takes_it_along(struct box *b, struct seen *seen)
{
	pthread_t t;

	threads_box = b;
	pthread_create(&t, NULL, thread_makes_init, seen);
	pthread_join(t, NULL);
	wait_for(seen, seen->pid, 0);
}

static int init_on_stack(void *arg)
{
	init_kin(arg);
	return 92;
}

static void shares(struct box *b, struct seen *seen, int flags)
{
	static char stack[0x10000] __attribute__((aligned(16)));

	wait_for(seen, clone(init_on_stack, stack + sizeof(stack),
			     CLONE_NEWPID | CLONE_VM | flags | SIGCHLD, b), 0);
}

static void shares_memory(struct box *b, struct seen *seen)
{
	shares(b, seen, 0);
}

static void waits_in_vfork(struct box *b, struct seen *seen)
{
	shares(b, seen, CLONE_VFORK);
}

/* From a namespace above, of which it is the init. */
static void kills_as_ancestor(struct box *b, struct seen *seen)
{
	pid_t pid = make_init(b, 0, SIGCHLD);

	await_order(b);
	if (!kill(pid, SIGKILL))
		wait_for(seen, pid, 0);
}

FIXTURE_VARIANT_ADD(parent, ordinary) {
	.maker = ordinary, .sigchld = true,
};

/* EXIT_DEAD at once: do_notify_parent() in kernel/signal.c. */
FIXTURE_VARIANT_ADD(parent, ignores_sigchld) {
	.maker = ignores_sigchld, .error = ECHILD,
};

FIXTURE_VARIANT_ADD(parent, no_zombies) {
	.maker = wants_no_zombies, .error = ECHILD, .sigchld = true,
};

FIXTURE_VARIANT_ADD(parent, looks_first) {
	.maker = does_not_reap, .sigchld = true,
};

FIXTURE_VARIANT_ADD(parent, gets_no_signal) {
	.maker = gets_no_signal,
};

FIXTURE_VARIANT_ADD(parent, gets_sigusr1) {
	.maker = gets_sigusr1, .sigusr1 = true,
};

/* To a subreaper: find_new_reaper() in kernel/exit.c. */
FIXTURE_VARIANT_ADD(parent, gone) {
	.maker = leaves, .leaves = true, .ours = true,
};

FIXTURE_VARIANT_ADD(parent, global_init) {
	.maker = leaves, .leaves = true,
};

FIXTURE_VARIANT_ADD(parent, of_the_maker) {
	.maker = makes_sibling, .leaves = true, .ours = true,
};

/* PR_SET_PDEATHSIG: forget_original_parent() in kernel/exit.c. */
FIXTURE_VARIANT_ADD(parent, takes_it_along) {
	.maker = takes_it_along, .death = PARENT_KILLED, .ours = true,
};

FIXTURE_VARIANT_ADD(parent, thread_takes_it_along) {
	.maker = thread_takes_it_along, .death = MAKER_ORDERED, .sigchld = true,
};

FIXTURE_VARIANT_ADD(parent, shares_memory) {
	.maker = shares_memory, .sigchld = true,
};

/* It goes on when init has left the memory, mm_release() in kernel/fork.c. */
FIXTURE_VARIANT_ADD(parent, in_vfork) {
	.maker = waits_in_vfork, .sigchld = true,
};

FIXTURE_VARIANT_ADD(parent, in_namespace_above) {
	.maker = kills_as_ancestor, .flags = CLONE_NEWPID, .death = MAKER_ORDERED,
	.sigchld = true,
};

FIXTURE_SETUP(parent)
{
	int fd;

	self->seen = mmap(NULL, sizeof(*self->seen), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->seen);
	ASSERT_EQ(0, box_open(&self->box));
	/* The init of another namespace, that this is no matter of. */
	self->neighbour = fork_into(self->box.out, CLONE_NEWPID, &fd);
	ASSERT_GE(self->neighbour, 0);
	if (!self->neighbour)
		forever();
	close(fd);
}

FIXTURE_TEARDOWN(parent)
{
	/* First, as the maker may wait for what it has there. */
	cgroup_kill(self->box.in);
	EXPECT_EQ(0, box_close(&self->box));
}

/* The one that has announced itself as init is no member. */
static int find_init(struct box *b)
{
	int i;

	for (i = 0; i < b->nr; i++) {
		if (strcmp(b->m[i].what, "init"))
			continue;
		b->init = b->m[i].pid;
		b->initfd = b->m[i].fd;
		b->m[i] = b->m[--b->nr];
		return 0;
	}
	return -1;
}

/* I2, and the wait status: exit_notify() and wait_task_zombie() in kernel/exit.c. */
TEST_F_TIMEOUT(parent, all_gone, TEST_SECONDS)
{
	struct seen *seen = self->seen;
	struct box *b = &self->box;
	int makerfd = -1, status = -1;
	sigset_t block;
	pid_t maker;

	if (variant->leaves && !variant->ours)
		ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0));
	maker = fork_into(b->out, variant->flags, &makerfd);
	ASSERT_GE(maker, 0);
	if (!maker) {
		sigemptyset(&block);
		sigaddset(&block, SIGCHLD);
		sigaddset(&block, SIGUSR1);
		sigprocmask(SIG_BLOCK, &block, NULL);
		variant->maker(b, seen);
		_exit(7);
	}
	ASSERT_EQ(0, box_collect(b, 3));
	ASSERT_EQ(0, find_init(b));
	ASSERT_EQ(2, box_alive(b));
	if (variant->leaves) {
		ASSERT_EQ(maker, waitpid(maker, &status, 0));
		ASSERT_EQ(7 << 8, status);
		ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	}

	if (variant->death == MAKER_ORDERED)
		order(b, 'x');
	else
		ASSERT_EQ(0, kill(variant->death == INIT_KILLED ? b->init : maker, SIGKILL));
	ASSERT_EQ(0, box_wait_exit(b));
	EXPECT_EQ(0, box_left(b));

	if (variant->ours) {
		EXPECT_EQ(b->init, waitpid(b->init, &status, 0));
		EXPECT_EQ(SIGKILL, status);
	} else if (!variant->leaves) {
		ASSERT_TRUE(readable(makerfd, patience_ms));
		EXPECT_EQ(maker, waitpid(maker, &status, 0));
		EXPECT_EQ(7 << 8, status);
		EXPECT_FALSE(seen->early);
		EXPECT_EQ(variant->error ? -1 : seen->pid, seen->reaped);
		EXPECT_EQ(variant->error, seen->reaped < 0 ? seen->error : 0);
		EXPECT_EQ(variant->error ? 0 : SIGKILL, seen->status);
		EXPECT_EQ(variant->sigchld, seen->sigchld);
		EXPECT_EQ(variant->sigusr1, seen->sigusr1);
	}
	EXPECT_EQ(-1, waitpid(b->init, NULL, WNOHANG | __WALL));
	EXPECT_TRUE(lives_on(self->neighbour));
	close(makerfd);
}

TEST_HARNESS_MAIN
