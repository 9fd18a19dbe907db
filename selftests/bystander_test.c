// SPDX-License-Identifier: GPL-2.0
/*
 * The other side of I2: nobody outside of the namespace is touched, however much
 * it has to do with it. Each test has the namespace fall, by SIGKILL to its init,
 * and finds those beside it alive and at work.
 */
#include <sys/file.h>
#include <sys/socket.h>

#include "pidns_member.h"
#include "pidns_uring.h"

FIXTURE(bystander) {
	struct box box;
	struct box out;	/* those outside: in the cgroup "out", with a pipe of their own */
};

FIXTURE_SETUP(bystander)
{
	struct box *b = &self->box, *out = &self->out;

	ASSERT_EQ(0, box_open(b));
	*out = *b;
	out->in = b->out;
	ASSERT_EQ(0, pipe2(out->join, O_CLOEXEC));
	ASSERT_EQ(0, pipe2(out->go, O_CLOEXEC));
}

FIXTURE_TEARDOWN(bystander)
{
	leave();
	EXPECT_EQ(0, box_close(&self->box));
}

/* How many of those outside are not as they were, asleep and unhurt. */
static int nr_hurt(struct box *out)
{
	int i, n = 0;

	for (i = 0; i < out->nr; i++)
		if (readable(out->m[i].fd, 0) || !lives_on(out->m[i].pid)) {
			fprintf(stderr, "# hurt: %s\n", out->m[i].what);
			n++;
		}
	return n;
}

/* A process outside that runs @fn, which says READY when it has done its part. */
static pid_t outsider(struct box *b, struct box *out, const char *what,
		      void (*fn)(struct box *b, struct box *out))
{
	int fd = -1;
	pid_t pid;

	pid = fork_into(out->in, 0, &fd);
	if (!pid) {
		/* no zombies: its children are reaped as they die */
		signal(SIGCHLD, SIG_IGN);
		fn(b, out);
		announce(out, READY);
		forever();
	}
	if (pid < 0 || box_add(out, pid, fd, what, true) || box_collect(out, 1))
		return -1;
	return pid;
}

/* Has those who wait for orders do what they do, and say that it is done. */
static int ask(struct box *out)
{
	order(out, 'x');
	return box_collect(out, 1);
}

/* For one who is asked: waits for the order, and answers if all is @well. */
static void answer(struct box *out, bool well)
{
	if (well)
		announce(out, READY);
	forever();
}

static pid_t fork_inside(struct box *b)
{
	pid_t pid = -1;

	if (!enter(b->nsfd)) {
		pid = fork();
		if (pid)
			leave();
	}
	return pid;
}

static bool takes_fork(struct box *b)
{
	pid_t pid = fork_inside(b);

	if (!pid)
		_exit(0);
	return pid > 0 && waitpid(pid, NULL, 0) == pid;
}

static void init_with_inner(struct box *b, void *arg __maybe_unused)
{
	member(b, "member");
	if (unshare(CLONE_NEWPID))
		_exit(1);
	if (!fork()) {
		announce(b, "inner init");
		member(b, "inner member");
		forever();
	}
	announce(b, READY);
	forever();
}

/*
 * A namespace beside it, and one below that: those who are neither below nor in
 * it have no PID there (alloc_pid() in kernel/pid.c), though the same number.
 */
TEST_F_TIMEOUT(bystander, relatives, TEST_SECONDS)
{
	struct box *b = &self->box, *out = &self->out;

	ASSERT_EQ(0, box_spawn(b, 0, init_with_inner, NULL));
	ASSERT_EQ(0, box_spawn(out, 0, init_with_inner, NULL));
	ASSERT_EQ(0, box_collect(b, 4));
	ASSERT_EQ(0, box_collect(out, 4));
	ASSERT_EQ(0, box_fall(b));
	EXPECT_EQ(0, nr_hurt(out));
	EXPECT_FALSE(readable(out->initfd, 0));
	EXPECT_TRUE(takes_fork(out));
}

static void leads_session(struct box *b, struct box *out)
{
	setsid();
	if (!fork()) {
		announce(out, "same group");
		forever();
	}
	if (!fork_inside(b)) {
		announce(b, "same group");
		forever();
	}
}

/*
 * Those in one session, process group and cgroup with a member: kill_pid() goes
 * by PIDTYPE_TGID, and not by what else hangs on a PID (kernel/signal.c).
 */
TEST_F_TIMEOUT(bystander, same_group, TEST_SECONDS)
{
	struct box *b = &self->box, *out = &self->out;

	ASSERT_EQ(0, box_start_plain(b));
	ASSERT_GT(outsider(b, out, "session leader", leads_session), 0);
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(0, box_collect(out, 1));
	ASSERT_EQ(0, box_fall(b));
	EXPECT_EQ(0, nr_hurt(out));
}

static void follows_member(struct box *b, struct box *out)
{
	int there[2];
	pid_t pid;
	char c;

	setsid();
	if (pipe2(there, O_CLOEXEC))
		_exit(1);
	pid = fork_inside(b);
	if (!pid) {
		setpgid(0, 0);
		announce(b, "group leader");
		if (write(there[1], "x", 1) == 1)
			forever();
		_exit(1);
	}
	if (read(there[0], &c, 1) != 1)
		_exit(1);
	if (!fork()) {
		if (setpgid(0, pid))
			_exit(1);
		announce(out, "follower");
		await_order(out);
		answer(out, !setpgid(0, 0));
	}
}

/*
 * One in a process group that a member leads: it holds the member's PID, which is
 * no process's any more, and on every kernel init waits until it lets go of it
 * (__change_pid() in kernel/pid.c frees a PID that nothing hangs on).
 */
TEST_F_TIMEOUT(bystander, in_members_group, TEST_SECONDS)
{
	struct box *b = &self->box, *out = &self->out;

	ASSERT_EQ(0, box_start_plain(b));
	ASSERT_GT(outsider(b, out, "parent of both", follows_member), 0);
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(0, box_collect(out, 1));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_wait_death(b, box_find(b, "plain")));
	ASSERT_EQ(0, box_wait_death(b, box_find(b, "group leader")));
	ASSERT_EQ(0, box_wait_zap(b));
	EXPECT_FALSE(readable(b->initfd, 0));
	EXPECT_EQ(0, nr_hurt(out));
	ASSERT_EQ(0, ask(out));
	EXPECT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
	EXPECT_EQ(0, nr_hurt(out));
}

static void serves_inside(struct box *b, struct box *out)
{
	pid_t pid;

	if (enter(b->nsfd))
		_exit(1);
	if (!fork()) {
		announce(b, "its child");
		forever();
	}
	announce(out, READY);
	await_order(out);
	/* It is where it was, and its next child would not be. */
	pid = fork();
	if (!pid)
		_exit(0);
	if (pid > 0 || errno != ENOMEM || leave())
		_exit(2);
	pid = fork();
	if (!pid)
		_exit(0);
	answer(out, pid > 0);
}

/*
 * One whose children are members and who is not: pid_ns_for_children is not the
 * namespace of a process (task_active_pid_ns() in kernel/pid.c).
 */
TEST_F_TIMEOUT(bystander, for_children_only, TEST_SECONDS)
{
	struct box *b = &self->box, *out = &self->out;

	ASSERT_EQ(0, box_start_plain(b));
	ASSERT_GT(outsider(b, out, "parent", serves_inside), 0);
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(0, box_fall(b));
	EXPECT_EQ(0, nr_hurt(out));
	EXPECT_EQ(0, ask(out));
}

static void vforks_inside(struct box *b, struct box *out)
{
	announce(out, "in vfork");
	if (enter(b->nsfd))
		_exit(1);
	if (!vfork()) {
		announce(b, "vforked");
		forever();
	}
}

/*
 * One that waits in vfork() for a member: it gets on, as the member is gone
 * (complete_vfork_done() in kernel/fork.c).
 */
TEST_F_TIMEOUT(bystander, in_vfork, TEST_SECONDS)
{
	struct box *b = &self->box, *out = &self->out;
	int fd = -1;
	pid_t pid;

	ASSERT_EQ(0, box_start_plain(b));
	pid = fork_into(out->in, 0, &fd);
	ASSERT_GE(pid, 0);
	if (!pid) {
		signal(SIGCHLD, SIG_IGN);
		vforks_inside(b, out);
		answer(out, true);
	}
	close(fd);
	ASSERT_EQ(0, box_collect(out, 1));
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(0, box_fall(b));
	ASSERT_EQ(0, box_collect(out, 1));
	EXPECT_EQ(0, nr_hurt(out));
}

static const int shares[] = {
	CLONE_VM, CLONE_VM | CLONE_SIGHAND, CLONE_FILES | CLONE_FS | CLONE_IO,
};

static int share;	/* the flags of the next one */

static int sharer(void *arg)
{
	announce(arg, "sharer");
	forever();
	return 0;
}

static void shares_with_member(struct box *b, struct box *out)
{
	static char stack[16384];
	void *page;
	int fd;

	if (enter(b->nsfd) || clone(sharer, stack + sizeof(stack), share | SIGCHLD, b) < 0 ||
	    leave())
		_exit(1);
	announce(out, READY);
	await_order(out);
	/* What was shared is still there, and can still be changed. */
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fd = dup(STDERR_FILENO);
	memset(page, 1, 4096);
	answer(out, fd >= 0 && !close(fd));
}

/*
 * Those who share memory, and more, with a member without being threads of it: a
 * fatal signal is for one thread group (complete_signal() in kernel/signal.c).
 */
TEST_F_TIMEOUT(bystander, shares_with_member, TEST_SECONDS)
{
	struct box *b = &self->box, *out = &self->out;
	unsigned int i;

	ASSERT_EQ(0, box_start_plain(b));
	for (i = 0; i < ARRAY_SIZE(shares); i++) {
		share = shares[i];
		ASSERT_GT(outsider(b, out, "sharer outside", shares_with_member), 0);
	}
	ASSERT_EQ(0, box_collect(b, ARRAY_SIZE(shares)));
	ASSERT_EQ(0, box_fall(b));
	EXPECT_EQ(0, nr_hurt(out));
	for (i = 0; i < ARRAY_SIZE(shares); i++)
		EXPECT_EQ(0, ask(out));
}

static pid_t target;	/* whom holds_fds() gets hold of */

static void holds_fds(struct box *b, const char *what)
{
	static const char * const names[] = {
		"", "ns/pid", "ns/user", "ns/net", "ns/uts", "ns/ipc", "ns/mnt", "ns/cgroup",
	};
	char path[64];
	unsigned int i;

	/* The first is a directory, which serves as a pidfd. */
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", target, names[i]);
		if (open(path, O_RDONLY) < 0)
			_exit(1);
	}
	announce(b, what);
	forever();
}

/*
 * Those whose namespaces a member holds, and themselves, by file descriptors: it
 * lets go of them, and no more. put_pid_ns() in kernel/pid_namespace.c.
 */
TEST_F_TIMEOUT(bystander, held_by_fd, TEST_SECONDS)
{
	struct box *b = &self->box, *out = &self->out;

	ASSERT_EQ(0, box_spawn(out, CLONE_NEWUTS | CLONE_NEWIPC, init_with_inner, NULL));
	ASSERT_EQ(0, box_collect(out, 4));
	target = out->init;
	ASSERT_EQ(0, box_start_one(b, "holder", holds_fds, 0));
	ASSERT_EQ(0, box_fall(b));
	EXPECT_EQ(0, nr_hurt(out));
	EXPECT_TRUE(takes_fork(out));
}

#define FIFO	"/tmp/pidns_test.fifo"

static void lends_ring(struct box *b, struct box *out)
{
	struct uring ring;
	bool ended, works;

	if (uring_open(&ring, 0))
		_exit(1);
	if (!fork_inside(b)) {
		if (uring_open_file(&ring, FIFO))
			_exit(1);
		announce(b, "borrower");
		forever();
	}
	announce(out, READY);
	await_order(out);
	/* The member's request has come to an end, and one's own succeeds. */
	ended = uring_result(&ring) < 0;
	works = !uring_open_file(&ring, "/dev/null") && uring_result(&ring) >= 0;
	answer(out, ended && works);
}

/*
 * One whose io_uring a member uses, with a thread that is the member's: the ring
 * stays in order (io_uring_cancel_generic() in io_uring/cancel.c).
 */
TEST_F_TIMEOUT(bystander, lends_ring, TEST_SECONDS)
{
	struct box *b = &self->box, *out = &self->out;
	int ret;

	unlink(FIFO);
	ASSERT_EQ(0, mkfifo(FIFO, 0600));
	ret = box_start_plain(b) || outsider(b, out, "lender", lends_ring) < 0 ||
	      box_collect(b, 1) || wait_sleep(box_find(b, "borrower")->pid, "io_wq_submit_work");
	unlink(FIFO);
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, box_fall(b));
	EXPECT_EQ(0, ask(out));
	EXPECT_EQ(0, nr_hurt(out));
}

/* What a member has, and others wait for. */
static struct {
	pthread_mutex_t *mutex;
	int pipe[2], sock[2], lock;
} belongings;

static void holds_things(struct box *b, const char *what)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", belongings.lock);
	fd = open(path, O_RDWR);
	if (flock(fd, LOCK_EX) || pthread_mutex_lock(belongings.mutex))
		_exit(1);
	announce(b, what);
	forever();
}

/*
 * Those who wait for what a member holds: when init has been reaped it has all
 * been given up (exit_files(), exit_task_work(), exit_robust_list() come before
 * the zombie in do_exit(), kernel/exit.c).
 */
TEST_F_TIMEOUT(bystander, gets_things_back, TEST_SECONDS)
{
	struct box *b = &self->box;
	pthread_mutexattr_t attr;
	char c;

	belongings.mutex = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)belongings.mutex);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	ASSERT_EQ(0, pthread_mutex_init(belongings.mutex, &attr));
	ASSERT_EQ(0, pipe2(belongings.pipe, O_NONBLOCK));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, belongings.sock));
	belongings.lock = memfd_create("lock", 0);
	ASSERT_GE(belongings.lock, 0);

	ASSERT_EQ(0, box_start_one(b, "holder", holds_things, 0));
	close(belongings.pipe[1]);
	close(belongings.sock[1]);
	/* All is taken. */
	ASSERT_EQ(EBUSY, pthread_mutex_trylock(belongings.mutex));
	ASSERT_EQ(-1, flock(belongings.lock, LOCK_EX | LOCK_NB));
	ASSERT_EQ(-1, read(belongings.pipe[0], &c, 1));
	ASSERT_EQ(-1, read(belongings.sock[0], &c, 1));

	ASSERT_EQ(0, box_fall(b));
	EXPECT_EQ(EOWNERDEAD, pthread_mutex_trylock(belongings.mutex));
	EXPECT_EQ(0, flock(belongings.lock, LOCK_EX | LOCK_NB));
	EXPECT_EQ(0, read(belongings.pipe[0], &c, 1));
	EXPECT_EQ(0, read(belongings.sock[0], &c, 1));
}

TEST_HARNESS_MAIN
