// SPDX-License-Identifier: GPL-2.0
/*
 * I2, the reaper kill, by what a member is doing: stopped, frozen, deaf, asleep,
 * busy. Init dies by SIGKILL, and when it has been reaped nothing of its namespace
 * is left.
 */
#include <linux/aio_abi.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "pidns_member.h"

/* The number that a listener of seccomp has in the process it listens to. */
#define LISTENER	100

FIXTURE(state) {
	struct box box;
};

FIXTURE_SETUP(state)
{
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(state)
{
	struct box *b = &self->box;

	/* state.frozen_below has one cgroup more. */
	if (!faccessat(b->in, "below", F_OK, 0)) {
		long long end = now_ms() + patience_ms;

		write_at(b->in, "cgroup.kill", "1");
		while (unlinkat(b->in, "below", AT_REMOVEDIR) && errno == EBUSY &&
		       now_ms() < end)
			reap_some();
	}
	EXPECT_EQ(0, box_close(b));
}

static void deaf(void)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t all;
	int sig;

	for (sig = 1; sig < 65; sig++)
		sigaction(sig, &ignore, NULL);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
}

static void stopped_threads(struct box *b, const char *what)
{
	int i;

	deaf();
	for (i = 0; i < 3; i++)
		if (start_thread(thread_forever, NULL))
			_exit(1);
	announce(b, what);
	kill(getpid(), SIGSTOP);
	forever();
}

/*
 * I2 for a group of threads that SIGSTOP has stopped and that blocks and ignores
 * all there is: complete_signal() in kernel/signal.c wakes each of them.
 */
TEST_F_TIMEOUT(state, stopped_group, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_start_one(b, "stopped", stopped_threads, 0));
	ASSERT_EQ(0, wait_state(box_find(b, "stopped")->pid, 'T'));
	EXPECT_EQ(0, box_fall(b));
}

/*
 * I2 where all is frozen, init too, and one of them twice: by its own cgroup and
 * by that above. cgroup_freezing() and get_signal(): a fatal signal comes first.
 */
TEST_F_TIMEOUT(state, frozen_below, TEST_SECONDS)
{
	struct box *b = &self->box;
	int below;

	ASSERT_EQ(0, box_start_plain(b));
	ASSERT_GT(box_inject(b, "frozen once", NULL), 0);
	ASSERT_EQ(0, mkdirat(b->in, "below", 0755));
	below = openat(b->in, "below", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ASSERT_GE(below, 0);
	ASSERT_EQ(0, cgroup_move(b->m[0].pid, below));
	ASSERT_EQ(0, cgroup_freeze(below));
	ASSERT_EQ(0, cgroup_freeze(b->in));
	close(below);
	EXPECT_EQ(0, box_fall(b));
}

static void no_sigqueue(struct box *b, const char *what)
{
	union sigval value = {};
	struct rlimit none = {};
	sigset_t all;

	/* Signals that are queued count for the user, and root has some. */
	if (setresuid(SOMEBODY, SOMEBODY, SOMEBODY) || setrlimit(RLIMIT_SIGPENDING, &none))
		_exit(1);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	if (!sigqueue(getpid(), SIGRTMIN, value) || errno != EAGAIN)
		_exit(2);
	announce(b, what);
	forever();
}

/*
 * I2 for one that no signal can be queued for: SIGKILL needs no room
 * (__send_signal_locked() in kernel/signal.c).
 */
TEST_F_TIMEOUT(state, no_sigqueue, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_start_one(b, "no sigqueue", no_sigqueue, 0));
	EXPECT_EQ(0, box_fall(b));
}

static void on_futex(int unused __maybe_unused)
{
	static int word;

	syscall(__NR_futex, &word, 0 /* FUTEX_WAIT */, 0, NULL, NULL, 0);
}

static void on_fd(int fd)
{
	char c[512];

	if (read(fd, c, sizeof(c)))
		forever();
}

static void on_pipe(int unused __maybe_unused)
{
	int fd[2];

	if (!pipe(fd))
		on_fd(fd[0]);
}

static void on_full_pipe(int unused __maybe_unused)
{
	char page[4096] = "";
	int fd[2];

	if (!pipe(fd))
		while (write(fd[1], page, sizeof(page)) > 0)
			;
}

static void on_epoll(int unused __maybe_unused)
{
	struct epoll_event event;

	epoll_wait(epoll_create1(0), &event, 1, -1);
}

static void on_poll(int unused __maybe_unused)
{
	poll(NULL, 0, -1);
}

static void on_clock(int unused __maybe_unused)
{
	struct timespec ts = { .tv_sec = 10000 };

	nanosleep(&ts, NULL);
}

static void on_timer(int unused __maybe_unused)
{
	struct itimerspec ts = { .it_value.tv_sec = 10000 };
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);

	timerfd_settime(fd, 0, &ts, NULL);
	on_fd(fd);
}

static void on_signal(int unused __maybe_unused)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigwaitinfo(&set, NULL);
}

static void on_signalfd(int unused __maybe_unused)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	on_fd(signalfd(-1, &set, 0));
}

static void on_pause(int unused __maybe_unused)
{
	pause();
}

static void on_eventfd(int unused __maybe_unused)
{
	on_fd(eventfd(0, 0));
}

static void on_inotify(int unused __maybe_unused)
{
	on_fd(inotify_init1(0));
}

static void on_accept(int unused __maybe_unused)
{
	struct sockaddr_un_any {
		sa_family_t family;
	} any = { .family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (!bind(fd, (void *)&any, sizeof(any)) && !listen(fd, 1))
		accept(fd, NULL, NULL);
}

/* The test holds a lock on the file. */
static void on_flock(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	flock(open(path, O_RDWR), LOCK_EX);
}

static void on_semaphore(int unused __maybe_unused)
{
	struct sembuf op = { .sem_op = -1 };

	if (!unshare(CLONE_NEWIPC))
		semop(semget(IPC_PRIVATE, 1, 0600), &op, 1);
}

static void on_message(int unused __maybe_unused)
{
	struct {
		long type;
		char text[8];
	} msg;

	if (!unshare(CLONE_NEWIPC))
		msgrcv(msgget(IPC_PRIVATE, 0600), &msg, sizeof(msg.text), 0, 0);
}

static void on_aio(int unused __maybe_unused)
{
	struct io_event event;
	aio_context_t ctx = 0;

	syscall(__NR_io_setup, 1, &ctx);
	syscall(__NR_io_getevents, ctx, 1, 1, &event, NULL);
}

static void on_child(int unused __maybe_unused)
{
	if (!fork())
		forever();
	wait(NULL);
}

static const struct {
	const char *what;
	void (*sleep)(int fd);
} sleeps[] = {
	{ "futex", on_futex }, { "pipe", on_pipe }, { "full pipe", on_full_pipe },
	{ "epoll", on_epoll }, { "poll", on_poll }, { "nanosleep", on_clock },
	{ "timerfd", on_timer }, { "sigwaitinfo", on_signal },
	{ "signalfd", on_signalfd }, { "pause", on_pause }, { "eventfd", on_eventfd },
	{ "inotify", on_inotify }, { "accept", on_accept }, { "flock", on_flock },
	{ "semop", on_semaphore }, { "msgrcv", on_message },
	{ "io_getevents", on_aio }, { "wait", on_child },
};

static void init_of_sleepers(struct box *b, void *arg)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sleeps); i++)
		if (!fork()) {
			deaf();
			announce(b, sleeps[i].what);
			sleeps[i].sleep(*(int *)arg);
			_exit(1);
		}
	announce(b, READY);
	forever();
}

/*
 * I2 for all who sleep in a system call that a signal interrupts, with all
 * signals blocked and ignored: signal_wake_up() in kernel/signal.c.
 */
TEST_F_TIMEOUT(state, asleep, TEST_SECONDS)
{
	struct box *b = &self->box;
	int i, fd;

	fd = memfd_create("lock", 0);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, flock(fd, LOCK_EX));
	ASSERT_EQ(0, box_spawn(b, 0, init_of_sleepers, &fd));
	ASSERT_EQ(0, box_collect(b, ARRAY_SIZE(sleeps) + 1));
	for (i = 0; i < b->nr; i++)
		EXPECT_TRUE(lives_on(b->m[i].pid)) TH_LOG("%s", b->m[i].what);
	EXPECT_EQ(0, box_fall(b));
	close(fd);
}

/* All of them want the same CPU, and hardly all get it. */
static void spin(struct box *b, const char *what, int policy, int priority)
{
	struct sched_param param = { .sched_priority = priority };
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &cpus);
	announce(b, what);
	if (sched_setscheduler(0, policy, &param) || sched_setaffinity(0, sizeof(cpus), &cpus))
		_exit(1);
	for (;;)
		;
}

static void spin_fifo(struct box *b, const char *what)
{
	deaf();
	spin(b, what, SCHED_FIFO, 1);
}

static void spin_rr(struct box *b, const char *what)
{
	spin(b, what, SCHED_RR, 2);
}

static void spin_idle(struct box *b, const char *what)
{
	spin(b, what, SCHED_IDLE, 0);
}

static void spin_nice(struct box *b, const char *what)
{
	if (setpriority(PRIO_PROCESS, 0, 19))
		_exit(1);
	spin(b, what, SCHED_BATCH, 0);
}

/*
 * I2 for those who never sleep, and for those whom they keep from running: who
 * is killed in user mode leaves it at the next interrupt (kick_process() in
 * kernel/sched/core.c).
 */
TEST_F_TIMEOUT(state, busy, TEST_SECONDS)
{
	static const struct kind kinds[] = {
		{ "SCHED_IDLE", spin_idle, 0 }, { "nice 19", spin_nice, 0 },
		{ "SCHED_RR", spin_rr, 0 }, { "SCHED_FIFO", spin_fifo, 0 }, {}
	};
	long long end = now_ms() + patience_ms;
	struct box *b = &self->box;

	ASSERT_EQ(0, box_start(b, kinds));
	while (sched_getscheduler(box_find(b, "SCHED_FIFO")->pid) != SCHED_FIFO ||
	       sched_getscheduler(box_find(b, "SCHED_RR")->pid) != SCHED_RR)
		ASSERT_LT(now_ms(), end);
	EXPECT_EQ(0, box_fall(b));
}

static void asks_to_fork(struct box *b, const char *what)
{
	pid_t pid;

	announce(b, what);
	await_order(b);
	pid = fork();
	if (pid < 0 && errno == EAGAIN)
		announce(b, READY);
	forever();
}

/*
 * I2 in a cgroup that is full: the kill needs no new task. pids_can_fork() in
 * kernel/cgroup/pids.c.
 */
TEST_F_TIMEOUT(state, in_full_cgroup, TEST_SECONDS)
{
	struct box *b = &self->box;
	int root;

	root = open(cgroup_root(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ASSERT_GE(root, 0);
	if (write_at(root, "cgroup.subtree_control", "+pids"))
		SKIP(return, "no controller of PIDs in cgroup v2");
	close(root);
	ASSERT_EQ(0, write_at(b->in, "../cgroup.subtree_control", "+pids"));
	ASSERT_EQ(0, box_start_one(b, "asks to fork", asks_to_fork, 0));
	ASSERT_EQ(0, write_at(b->in, "pids.max", "0"));
	order(b, 'f');
	ASSERT_EQ(0, box_collect(b, 1));
	EXPECT_EQ(0, box_fall(b));
}

static void in_notified_call(struct box *b, const char *what)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_getpgid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = ARRAY_SIZE(code), .filter = code };
	int fd;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	fd = syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
		     SECCOMP_FILTER_FLAG_NEW_LISTENER |
		     SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &prog);
	if (fd < 0 || dup2(fd, LISTENER) != LISTENER)
		_exit(1);
	close(fd);
	announce(b, what);
	getpgid(0);
	forever();
}

/*
 * I2 for one in a system call that a supervisor outside has got and does not
 * answer: seccomp_do_user_notification() in kernel/seccomp.c waits, killable. The
 * supervisor is told.
 */
TEST_F_TIMEOUT(state, in_notified_call, TEST_SECONDS)
{
	struct seccomp_notif call = {};
	struct box *b = &self->box;
	int fd;

	ASSERT_EQ(0, box_start_one(b, "notified", in_notified_call, 0));
	fd = syscall(__NR_pidfd_getfd, box_find(b, "notified")->fd, LISTENER, 0);
	ASSERT_GE(fd, 0);
	ASSERT_TRUE(readable(fd, patience_ms));
	ASSERT_EQ(0, ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &call));
	ASSERT_EQ(__NR_getpgid, call.data.nr);
	EXPECT_EQ(0, box_fall(b));
	EXPECT_EQ(-1, ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &call.id));
	close(fd);
}

TEST_HARNESS_MAIN
