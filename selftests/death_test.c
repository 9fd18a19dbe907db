// SPDX-License-Identifier: GPL-2.0
/*
 * I2, the reaper kill: however init dies, when waitpid(init) returns nothing of
 * its namespace is left, whatever state a member was in; and init's own wait
 * status is what it has always been.
 */
#include <sys/reboot.h>

#include "pidns_test.h"

#define NR_FAMILY	10

static void no_core(void)
{
	struct rlimit none = {};

	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static void *thread_waits(void *arg)
{
	forever();
	return arg;
}

/* A family of members in all states, children of the calling init. */
static void family(struct box *b)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	pthread_t t;
	sigset_t all;
	int sig, status;
	pid_t pid;

	member(b, "child");

	if (!fork()) {
		member(b, "grandchild");
		announce(b, "parent");
		forever();
	}

	/* Its parent exits, so that it becomes init's. */
	pid = fork();
	if (!pid) {
		member(b, "orphan");
		_exit(0);
	}
	waitpid(pid, NULL, 0);

	if (!fork()) {
		setsid();
		announce(b, "other session");
		forever();
	}

	if (!fork()) {
		setpgid(0, 0);
		announce(b, "other pgrp");
		forever();
	}

	/* A daemon: an orphan in a session that it does not lead. */
	pid = fork();
	if (!pid) {
		setsid();
		member(b, "daemon");
		_exit(0);
	}
	waitpid(pid, NULL, 0);

	pid = fork();
	if (!pid) {
		announce(b, "stopped");
		kill(getpid(), SIGSTOP);
		forever();
	}
	waitpid(pid, &status, WUNTRACED);

	if (!fork()) {
		for (sig = 1; sig < 65; sig++)
			sigaction(sig, &ignore, NULL);
		sigfillset(&all);
		sigprocmask(SIG_BLOCK, &all, NULL);
		announce(b, "ignores all");
		forever();
	}

	if (!fork()) {
		for (sig = 0; sig < 3; sig++)
			pthread_create(&t, NULL, thread_waits, NULL);
		announce(b, "threads");
		forever();
	}
}

enum way {
	BY_EXIT, BY_THREAD, BY_SIGKILL, BY_SIGSEGV, BY_EXEC,
	BY_RESTART, BY_POWEROFF, BY_MEMBER,
};

FIXTURE(death) {
	struct box box;
};

FIXTURE_VARIANT(death) {
	enum way way;
	int status;
};

/* The wait statuses are those of an unpatched kernel. */
FIXTURE_VARIANT_ADD(death, exit) {
	.way = BY_EXIT, .status = 7 << 8,
};

FIXTURE_VARIANT_ADD(death, thread_exit_group) {
	.way = BY_THREAD, .status = 9 << 8,
};

FIXTURE_VARIANT_ADD(death, sigkill) {
	.way = BY_SIGKILL, .status = SIGKILL,
};

FIXTURE_VARIANT_ADD(death, sigsegv) {
	.way = BY_SIGSEGV, .status = SIGSEGV,
};

FIXTURE_VARIANT_ADD(death, exec) {
	.way = BY_EXEC, .status = 11 << 8,
};

FIXTURE_VARIANT_ADD(death, reboot_restart) {
	.way = BY_RESTART, .status = SIGHUP,
};

FIXTURE_VARIANT_ADD(death, reboot_poweroff) {
	.way = BY_POWEROFF, .status = SIGINT,
};

FIXTURE_VARIANT_ADD(death, reboot_by_member) {
	.way = BY_MEMBER, .status = SIGHUP,
};

FIXTURE_SETUP(death)
{
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(death)
{
	EXPECT_EQ(0, box_close(&self->box));
}

static void *thread_exits(void *arg)
{
	syscall(SYS_exit_group, 9);
	return arg;
}

/* reboot(2), and only ever inside of a namespace. */
static void reboot_inside(int how)
{
	if (outer_pid() != getpid())
		reboot(how);
	_exit(96);
}

static void init_dies(struct box *b, void *arg)
{
	enum way way = *(const enum way *)arg;
	char * const argv[] = { "death_test", "--exit-with", "11", NULL };
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t t;

	no_core();
	family(b);
	if (way == BY_MEMBER && !fork()) {
		announce(b, "reboots");
		await_order(b);
		reboot_inside(RB_AUTOBOOT);
	} else if (way == BY_MEMBER) {
		announce(b, READY);
		forever();
	}
	announce(b, READY);
	await_order(b);
	switch (way) {
	case BY_EXIT:
		_exit(7);
	case BY_THREAD:
		pthread_create(&t, NULL, thread_exits, NULL);
		break;
	case BY_SIGSEGV:
		/* a fault, not a signal that somebody sends */
		munmap(page, 4096);
		__atomic_store_n(page, 1, __ATOMIC_SEQ_CST);
		break;
	case BY_EXEC:
		execv("/proc/self/exe", argv);
		break;
	case BY_RESTART:
		reboot_inside(RB_AUTOBOOT);
		break;
	case BY_POWEROFF:
		reboot_inside(RB_POWER_OFF);
		break;
	default:
		break;
	}
	forever();
}

static int die(struct box *b, enum way way)
{
	int members = NR_FAMILY + (way == BY_MEMBER);

	if (box_spawn(b, 0, init_dies, &way) || box_collect(b, members + 1))
		return -1;
	if (b->nr != members || box_alive(b) != members)
		return -1;
	if (way == BY_SIGKILL)
		return kill(b->init, SIGKILL);
	order(b, 'x');
	return 0;
}

/*
 * I2 for the whole family. do_exit() and find_child_reaper() in kernel/exit.c
 * come to zap_pid_ns_processes() in kernel/pid_namespace.c, whatever the way.
 */
TEST_F_TIMEOUT(death, all_gone, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, die(b, variant->way));
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
}

/*
 * I2 changes nothing in what the parent of init is told: group_exit_code, see
 * do_group_exit() in kernel/exit.c, zap_pid_ns_processes() and reboot_pid_ns()
 * in kernel/pid_namespace.c. Where nobody kills the members, the test does, as
 * this is about the status only.
 */
TEST_F_TIMEOUT(death, status, TEST_SECONDS)
{
	struct box *b = &self->box;
	int i;

	ASSERT_EQ(0, die(b, variant->way));
	if (box_wait_init(b)) {
		for (i = 0; i < b->nr; i++)
			sys_pidfd_signal(b->m[i].fd, SIGKILL);
		ASSERT_EQ(0, box_wait_init(b));
	}
	EXPECT_EQ(variant->status, b->status);
}

/* Members in states that need their own set-up; init dies by SIGKILL. */
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

static void init_one(struct box *b, void *arg)
{
	int status, there[2];
	pid_t tracee;
	char c;

	switch (*(const char *)arg) {
	case 'm':
		member(b, "member");
		break;
	case 't':
		if (pipe(there))
			_exit(1);
		tracee = fork();
		if (!tracee) {
			announce(b, "traced inside");
			if (write(there[1], "x", 1) == 1)
				forever();
			_exit(1);
		}
		if (!fork()) {
			if (read(there[0], &c, 1) != 1)
				_exit(1);
			ptrace(PTRACE_SEIZE, tracee, NULL, NULL);
			ptrace(PTRACE_INTERRUPT, tracee, NULL, NULL);
			waitpid(tracee, &status, __WALL);
			announce(b, "tracer inside");
			forever();
		}
		break;
	case 'v':
		if (!fork()) {
			announce(b, "in vfork");
			if (!vfork()) {
				announce(b, "vforked");
				forever();
			}
		}
		break;
	default:
		break;
	}
	announce(b, READY);
	forever();
}

/* I2 for two that hold each other: one stopped by the other, its tracer. */
TEST_F_TIMEOUT(member, traced_inside, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, init_one, "t"));
	ASSERT_EQ(0, box_collect(b, 3));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
}

/*
 * I2 for one that a tracer outside has stopped. SIGKILL gets it out of the stop
 * (ptrace_signal_wake_up() in kernel/signal.c). Its zombie is the tracer's to
 * reap, and zap_pid_ns_processes() waits for that.
 */
TEST_F_TIMEOUT(member, traced_outside, TEST_SECONDS)
{
	struct box *b = &self->box;
	int status;

	ASSERT_EQ(0, box_spawn(b, 0, init_one, "m"));
	ASSERT_EQ(0, box_collect(b, 2));
	ASSERT_EQ(0, ptrace(PTRACE_SEIZE, b->m[0].pid, NULL, NULL));
	ASSERT_EQ(0, ptrace(PTRACE_INTERRUPT, b->m[0].pid, NULL, NULL));
	ASSERT_EQ(b->m[0].pid, waitpid(b->m[0].pid, &status, __WALL));
	b->m[0].ours = true;
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
}

/* I2 for one that is frozen: a frozen cgroup lets the killed go. */
TEST_F_TIMEOUT(member, frozen, TEST_SECONDS)
{
	long long end = now_ms() + PATIENCE_MS;
	struct box *b = &self->box;
	char buf[64] = "";
	pid_t pid;
	int fd;

	ASSERT_EQ(0, box_spawn(b, 0, init_one, "m"));
	ASSERT_EQ(0, box_collect(b, 2));
	snprintf(buf, sizeof(buf), "%d", b->m[0].pid);
	ASSERT_EQ(0, write_at(b->out, "cgroup.procs", buf));
	ASSERT_EQ(0, write_at(b->out, "cgroup.freeze", "1"));
	do {
		ASSERT_LT(now_ms(), end);
		fd = openat(b->out, "cgroup.events", O_RDONLY | O_CLOEXEC);
		ASSERT_GE(fd, 0);
		memset(buf, 0, sizeof(buf));
		EXPECT_GT(read(fd, buf, sizeof(buf) - 1), 0);
		close(fd);
	} while (!strstr(buf, "frozen 1"));
	/* A second one, not frozen, by which one can tell that nobody kills. */
	pid = box_inject(b, "not frozen", NULL);
	ASSERT_GT(pid, 0);
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
}

/* I2 for one that waits in vfork() for its child, which is killed as well. */
TEST_F_TIMEOUT(member, in_vfork, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, init_one, "v"));
	ASSERT_EQ(0, box_collect(b, 3));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
}

/*
 * I2 for one put in from outside by setns + fork. Its parent is outside and has
 * to reap it; zap_pid_ns_processes() waits for that in its last loop.
 */
TEST_F_TIMEOUT(member, injected, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, init_one, "-"));
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_GT(box_inject(b, "injected", NULL), 0);
	ASSERT_EQ(1, box_alive(b));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
}

static void grow(struct box *b)
{
	member(b, "grown");
}

/* I2 for what the injected one has brought forth inside. */
TEST_F_TIMEOUT(member, injected_child, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, init_one, "-"));
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_GT(box_inject(b, "injected", grow), 0);
	/* box_inject() has read one of the two announcements */
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(2, box_alive(b));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
}

int main(int argc, char **argv)
{
	/* What an init becomes that execs a program which exits. */
	if (argc == 3 && !strcmp(argv[1], "--exit-with"))
		_exit(atoi(argv[2]));
	return test_harness_run(argc, argv);
}
