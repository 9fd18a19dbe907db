// SPDX-License-Identifier: GPL-2.0
/*
 * The other side of I1 and I2: what an init goes through and lives on. Neither
 * it nor a member is touched, and its namespace takes forks as before.
 */
#include <setjmp.h>
#include <sys/time.h>

#include "pidns_test.h"

/* What happens to init; false when that is not what was meant to happen. */
typedef bool (*act_fn)(struct box *b);

struct act {
	act_fn fn;
	bool by_member;
};

/* The order to act, and one for init to show that it lives. */
#define ACT	'x'
#define ANSWER	'a'

static void report(struct box *b, bool good)
{
	announce(b, good ? READY : "went wrong");
}

/* An init that answers with a new child. */
static void answers(struct box *b)
{
	for (;;) {
		await_order(b);
		member(b, "late child");
	}
}

static void init_acts(struct box *b, void *arg)
{
	const struct act *act = arg;
	int poke[2];
	char c;

	if (pipe2(poke, O_CLOEXEC))
		_exit(95);
	member(b, "member");
	if (!fork()) {
		announce(b, "actor");
		if (read(poke[0], &c, 1) == 1)
			report(b, act->fn(b));
		forever();
	}
	announce(b, READY);
	while (await_order(b) != ACT)
		member(b, "late child");
	if (!act->by_member)
		report(b, act->fn(b));
	else if (write(poke[1], "x", 1) != 1)
		_exit(94);
	answers(b);
}

/* All that a process of the namespace can send to its init. */
static bool kill_with_all(struct box *b __maybe_unused)
{
	int sig, sent = 0;

	for (sig = 1; sig <= 64; sig++)
		sent += !kill(1, sig);
	return sent == 64;
}

static bool send_otherwise(struct box *b __maybe_unused)
{
	static const int sigs[] = { SIGKILL, SIGSTOP, SIGTERM, SIGSEGV };
	int pidfd = sys_pidfd_open(1);
	unsigned int i, sent = 0;

	for (i = 0; i < ARRAY_SIZE(sigs); i++) {
		siginfo_t si = { .si_signo = sigs[i], .si_code = SI_QUEUE };

		sent += !syscall(__NR_tgkill, 1, 1, sigs[i]);
		sent += !syscall(__NR_tkill, 1, sigs[i]);
		sent += !syscall(__NR_rt_sigqueueinfo, 1, sigs[i], &si);
		sent += !syscall(__NR_rt_tgsigqueueinfo, 1, 1, sigs[i], &si);
		sent += !sys_pidfd_signal(pidfd, sigs[i]);
	}
	return sent == 5 * ARRAY_SIZE(sigs);
}

/* To all but init and the sender. */
static bool kill_everyone(struct box *b __maybe_unused)
{
	return !kill(-1, SIGKILL);
}

/* A file that says SIGKILL when something can be read. */
static bool by_file(struct box *b __maybe_unused)
{
	int p[2];

	return !pipe2(p, O_CLOEXEC) &&
		!fcntl(p[0], F_SETOWN, 1) && !fcntl(p[0], F_SETSIG, SIGKILL) &&
		!fcntl(p[0], F_SETFL, O_ASYNC) && write(p[1], "x", 1) == 1;
}

static bool by_child(struct box *b __maybe_unused)
{
	struct clone_args args = { .exit_signal = SIGKILL };
	pid_t pid = syscall(__NR_clone3, &args, sizeof(args));

	if (!pid)
		_exit(0);
	return pid > 0 && waitpid(pid, NULL, __WALL) == pid;
}

static bool by_broken_pipe(struct box *b __maybe_unused)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) || close(p[0]))
		return false;
	return write(p[1], "x", 1) == -1 && errno == EPIPE;
}

static bool by_alarm(struct box *b __maybe_unused)
{
	struct itimerval it = { .it_value.tv_usec = 1000 };

	if (setitimer(ITIMER_REAL, &it, NULL))
		return false;
	while (it.it_value.tv_usec)
		getitimer(ITIMER_REAL, &it);
	return true;
}

static bool by_timer(struct box *b __maybe_unused)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
	struct itimerspec it = { .it_value.tv_nsec = 1000000 };
	timer_t t;

	if (timer_create(CLOCK_MONOTONIC, &ev, &t) || timer_settime(t, 0, &it, NULL))
		return false;
	while (it.it_value.tv_nsec)
		timer_gettime(t, &it);
	return true;
}

/* What is blocked is queued, whoever sent it. */
static bool after_unblocking(struct box *b __maybe_unused)
{
	sigset_t all, pending;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	kill(getpid(), SIGTERM);
	kill(getpid(), SIGQUIT);
	sigpending(&pending);
	sigprocmask(SIG_UNBLOCK, &all, NULL);
	return sigismember(&pending, SIGTERM) && sigismember(&pending, SIGQUIT);
}

static sigjmp_buf recovery;

static void recover(int sig)
{
	siglongjmp(recovery, sig);
}

static bool by_handled_fault(struct box *b __maybe_unused)
{
	char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	signal(SIGSEGV, recover);
	if (!sigsetjmp(recovery, 1)) {
		__atomic_store_n(page, 1, __ATOMIC_SEQ_CST);
		return false;
	}
	/* Its own signals are as harmless as before. */
	signal(SIGSEGV, SIG_DFL);
	return !kill(getpid(), SIGSEGV) && !kill(getpid(), SIGKILL);
}

static void *thread_waits(void *arg)
{
	forever();
	return arg;
}

static void *thread_is_killed(void *arg)
{
	killed_by_seccomp(SECCOMP_RET_KILL_THREAD);
	forever();
	return arg;
}

static bool loses_thread(struct box *b __maybe_unused)
{
	pthread_t t;

	return !pthread_create(&t, NULL, thread_is_killed, NULL) && !pthread_join(t, NULL);
}

/* What it becomes goes on in main(). */
static bool execs(struct box *b)
{
	char join[16], go[16];

	snprintf(join, sizeof(join), "%d", dup(b->join[1]));
	snprintf(go, sizeof(go), "%d", dup(b->go[0]));
	execl("/proc/self/exe", "immune_test", "--init", join, go, NULL);
	return false;
}

static bool execs_over_threads(struct box *b)
{
	pthread_t t;
	int i;

	for (i = 0; i < 3; i++)
		pthread_create(&t, NULL, thread_waits, NULL);
	return execs(b);
}

static void *thread_execs(void *arg)
{
	execs(arg);
	return arg;
}

/* The thread becomes the leader, and the new child reaper. */
static bool thread_takes_over(struct box *b)
{
	pthread_t t;
	int i;

	for (i = 0; i < 3; i++)
		pthread_create(&t, NULL, i ? thread_waits : thread_execs, b);
	forever();
	return false;
}

FIXTURE(immune) {
	struct box box;
};

FIXTURE_VARIANT(immune) {
	struct act act;
	int victims;	/* members that die of it, all the same */
};

/* From a member: force is false in send_signal_locked(), kernel/signal.c. */
FIXTURE_VARIANT_ADD(immune, member_kills) {
	.act = { kill_with_all, true },
};

FIXTURE_VARIANT_ADD(immune, member_sends) {
	.act = { send_otherwise, true },
};

FIXTURE_VARIANT_ADD(immune, member_kills_all) {
	.act = { kill_everyone, true }, .victims = 1,
};

FIXTURE_VARIANT_ADD(immune, member_writes) {
	.act = { by_file, true },
};

/* From itself. */
FIXTURE_VARIANT_ADD(immune, own_kill) {
	.act = { kill_with_all, false },
};

FIXTURE_VARIANT_ADD(immune, own_file) {
	.act = { by_file, false },
};

FIXTURE_VARIANT_ADD(immune, own_pipe) {
	.act = { by_broken_pipe, false },
};

FIXTURE_VARIANT_ADD(immune, own_timer) {
	.act = { by_timer, false },
};

/* do_notify_parent() in kernel/signal.c */
FIXTURE_VARIANT_ADD(immune, exit_signal_of_child) {
	.act = { by_child, false },
};

/* The kernel sends, but not what an init must take: sig_task_ignored(). */
FIXTURE_VARIANT_ADD(immune, own_alarm) {
	.act = { by_alarm, false },
};

/* Not ignored when it is sent, but when it is delivered: get_signal(). */
FIXTURE_VARIANT_ADD(immune, blocked_first) {
	.act = { after_unblocking, false },
};

/* SIGNAL_UNKILLABLE stays: force_sig_info_to_task() in kernel/signal.c. */
FIXTURE_VARIANT_ADD(immune, handled_fault) {
	.act = { by_handled_fault, false },
};

/* One thread is killed, not the process: __seccomp_filter(), kernel/seccomp.c. */
FIXTURE_VARIANT_ADD(immune, seccomp_kills_thread) {
	.act = { loses_thread, false },
};

/* Threads die, init does not: de_thread() in fs/exec.c. */
FIXTURE_VARIANT_ADD(immune, exec) {
	.act = { execs, false },
};

FIXTURE_VARIANT_ADD(immune, exec_over_threads) {
	.act = { execs_over_threads, false },
};

FIXTURE_VARIANT_ADD(immune, exec_by_thread) {
	.act = { thread_takes_over, false },
};

FIXTURE_SETUP(immune)
{
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(immune)
{
	EXPECT_EQ(0, box_close(&self->box));
}

static int start(struct box *b, struct act *act)
{
	return box_spawn(b, 0, init_acts, act) || box_collect(b, 3) || b->nr != 2 ? -1 : 0;
}

/* Whether init lives, and takes a fork; as many members as this do too. */
static bool all_well(struct box *b, int members)
{
	long long end = now_ms() + patience_ms;

	order(b, ANSWER);
	if (box_collect(b, 1))
		return false;
	/* Who is to die may still be at it. */
	while (box_alive(b) > members + 1 && now_ms() < end)
		sched_yield();
	return box_alive(b) == members + 1 && !readable(b->initfd, 0);
}

/* Not I2, and not I1: what decides it is named with each of the variants. */
TEST_F_TIMEOUT(immune, lives, TEST_SECONDS)
{
	struct act act = variant->act;
	struct box *b = &self->box;

	ASSERT_EQ(0, start(b, &act));
	order(b, ACT);
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(2, b->nr) {
		TH_LOG("%s: %m", b->m[2].what);
	}
	EXPECT_TRUE(all_well(b, 2 - variant->victims));
}

/* What comes from outside. */
FIXTURE(outside) {
	struct box box;
};

FIXTURE_SETUP(outside)
{
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(outside)
{
	EXPECT_EQ(0, box_close(&self->box));
}

static struct box *handlers_box;

static void handler(int sig __maybe_unused)
{
	announce(handlers_box, READY);
}

static bool set_handler(struct box *b)
{
	handlers_box = b;
	return signal(SIGTERM, handler) != SIG_ERR && !kill(getpid(), SIGTERM);
}

/*
 * Not I2: of what an ancestor sends, only SIGKILL and SIGSTOP are forced upon
 * an init that has no handler. sig_task_ignored() in kernel/signal.c.
 */
TEST_F_TIMEOUT(outside, signals_ignored, TEST_SECONDS)
{
	struct box *b = &self->box;
	struct act none = {};
	int sig;

	ASSERT_EQ(0, start(b, &none));
	for (sig = 1; sig <= 64; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			EXPECT_EQ(0, kill(b->init, sig));
	EXPECT_TRUE(all_well(b, 2));
}

/* With a handler they come through, from inside and from outside: get_signal(). */
TEST_F_TIMEOUT(outside, handler_runs, TEST_SECONDS)
{
	struct act act = { set_handler, false };
	struct box *b = &self->box;

	ASSERT_EQ(0, start(b, &act));
	order(b, ACT);
	ASSERT_EQ(0, box_collect(b, 2));
	ASSERT_EQ(0, kill(b->init, SIGTERM));
	ASSERT_EQ(0, box_collect(b, 1));
	EXPECT_TRUE(all_well(b, 2));
}

/* SIGSTOP from outside stops init and nothing else: do_signal_stop(). */
TEST_F_TIMEOUT(outside, stopped_and_continued, TEST_SECONDS)
{
	struct box *b = &self->box;
	struct act none = {};
	int status = 0;

	ASSERT_EQ(0, start(b, &none));
	ASSERT_EQ(0, kill(b->init, SIGSTOP));
	ASSERT_EQ(b->init, waitpid(b->init, &status, WUNTRACED));
	EXPECT_TRUE(WIFSTOPPED(status));
	ASSERT_GT(box_inject(b, "injected", NULL), 0);
	EXPECT_TRUE(lives_on(b->m[0].pid));
	ASSERT_EQ(0, kill(b->init, SIGCONT));
	ASSERT_EQ(b->init, waitpid(b->init, &status, WCONTINUED));
	EXPECT_TRUE(all_well(b, 3));
}

int main(int argc, char **argv)
{
	struct box b = {};

	/* What an init has become that execs. */
	if (argc == 4 && !strcmp(argv[1], "--init")) {
		b.join[1] = atoi(argv[2]);
		b.go[0] = atoi(argv[3]);
		report(&b, getpid() == 1);
		answers(&b);
	}
	return test_harness_run(argc, argv);
}
