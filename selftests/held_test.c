// SPDX-License-Identifier: GPL-2.0
/*
 * I2 for members that cannot go at once: held by a tracer, by a FUSE daemon that
 * does not answer, by those who take their core. They are killed with all the
 * others; init waits for them, on every kernel, and ends its wait when they are
 * let go.
 */
#include "pidns_fuse.h"
#include "pidns_member.h"

static struct member *killed_beside(struct box *b)
{
	return box_find(b, "plain");
}

/*
 * Kills init, and waits until the one who can go at once has died, and init has
 * come to wait for the other.
 */
static int kill_init_behind(struct box *b)
{
	if (kill(b->init, SIGKILL) || box_wait_death(b, killed_beside(b)) || box_wait_zap(b))
		return -1;
	return readable(b->initfd, 0) ? -1 : 0;
}

/* The holder has let go: init's wait ends, and nothing is left. */
static int let_go(struct box *b)
{
	if (box_wait_init(b))
		return -1;
	return box_left(b);
}

/*
 * By a tracer outside, a process of its own that does no more than hold.
 */
enum stop {
	FOR_EVENT,	/* of its own accord */
	FOR_SYSCALL,	/* on the way into a system call */
	FOR_SIGNAL,	/* by SIGSTOP, and listening */
	FOR_EXIT,	/* not before it is killed */
};

FIXTURE(stop) {
	struct box box;
};

FIXTURE_VARIANT(stop) {
	long options;
	enum stop stop;
	char order;	/* for the member, when it is traced */
	bool dies_at_once;
};

/* In exec, past the point of no return. */
FIXTURE_VARIANT_ADD(stop, exec) {
	.options = PTRACE_O_TRACEEXEC, .stop = FOR_EVENT, .order = 'e', .dies_at_once = true,
};

/* In fork, with a child that is stopped before its first instruction. */
FIXTURE_VARIANT_ADD(stop, fork) {
	.options = PTRACE_O_TRACEFORK, .stop = FOR_EVENT, .order = 'f', .dies_at_once = true,
};

FIXTURE_VARIANT_ADD(stop, syscall) {
	.stop = FOR_SYSCALL, .dies_at_once = true,
};

FIXTURE_VARIANT_ADD(stop, listening) {
	.stop = FOR_SIGNAL, .dies_at_once = true,
};

/* On its way out already when init dies: SIGKILL is no news. */
FIXTURE_VARIANT_ADD(stop, exiting) {
	.options = PTRACE_O_TRACEEXIT, .stop = FOR_EVENT, .order = 'x',
};

/* Killed, and stopped once more by that. */
FIXTURE_VARIANT_ADD(stop, killed) {
	.options = PTRACE_O_TRACEEXIT, .stop = FOR_EXIT,
};

FIXTURE_SETUP(stop)
{
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(stop)
{
	EXPECT_EQ(0, box_close(&self->box));
}

static void takes_orders(struct box *b, const char *what)
{
	char * const argv[] = { "held_test", "--forever", NULL };

	announce(b, what);
	switch (await_order(b)) {
	case 'e':
		execv("/proc/self/exe", argv);
		break;
	case 'f':
		fork();
		break;
	case 'x':
		_exit(0);
	}
	forever();
}

static void hold(struct box *b, pid_t pid, long options, enum stop stop)
{
	int status;

	if (ptrace(PTRACE_SEIZE, pid, NULL, options))
		_exit(1);
	announce(b, READY);
	switch (stop) {
	case FOR_SYSCALL:
		if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) ||
		    waitpid(pid, &status, 0) != pid ||
		    ptrace(PTRACE_SYSCALL, pid, NULL, NULL))
			_exit(2);
		break;
	case FOR_SIGNAL:
		/* First for the signal, then for the group. */
		if (kill(pid, SIGSTOP) || waitpid(pid, &status, 0) != pid ||
		    ptrace(PTRACE_CONT, pid, NULL, SIGSTOP))
			_exit(2);
		break;
	default:
		break;
	}
	if (stop != FOR_EXIT && waitpid(pid, &status, 0) != pid)
		_exit(3);
	if (stop == FOR_SIGNAL && ptrace(PTRACE_LISTEN, pid, NULL, NULL))
		_exit(4);
	announce(b, READY);
	forever();
}

/*
 * SIGKILL ends each stop but the one of a task that is exiting (ptrace_stop() in
 * kernel/signal.c), and the zombie is the tracer's until the tracer dies
 * (exit_ptrace() in kernel/ptrace.c).
 */
TEST_F_TIMEOUT(stop, goes_with_tracer, TEST_SECONDS)
{
	struct box *b = &self->box;
	struct member *held;
	int tracer = -1;
	pid_t pid;

	ASSERT_EQ(0, box_start_one(b, "held", takes_orders, 0));
	held = box_find(b, "held");
	pid = fork_into(b->out, 0, &tracer);
	ASSERT_GE(pid, 0);
	if (!pid)
		hold(b, held->pid, variant->options, variant->stop);
	ASSERT_EQ(0, box_collect(b, 1));
	if (variant->order)
		order(b, variant->order);
	ASSERT_EQ(0, box_collect(b, 1));

	ASSERT_EQ(0, kill_init_behind(b));
	if (variant->dies_at_once) {
		EXPECT_EQ(0, box_wait_death(b, held));
	} else {
		EXPECT_EQ(0, wait_state(held->pid, 't'));
		EXPECT_FALSE(readable(held->fd, 0));
	}
	EXPECT_FALSE(readable(b->initfd, 0));
	ASSERT_EQ(0, sys_pidfd_signal(tracer, SIGKILL));
	EXPECT_EQ(0, let_go(b));
	close(tracer);
}

/*
 * By a FUSE daemon outside, and in other ways.
 */
FIXTURE(held) {
	struct box box;
	int mnt;
};

FIXTURE_SETUP(held)
{
	if (access("/dev/fuse", F_OK))
		SKIP(return, "no /dev/fuse");
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(held)
{
	EXPECT_EQ(0, fuse_box_close(&self->box));
}

/* The mount namespace of the daemon, for members to enter. */
static int fuse_mnt;

/* Sleeps until the daemon answers, whatever signal comes. */
static void *read_file_of_daemon(void *arg)
{
	void *data;
	int fd;

	fd = open(FUSE_FILE, O_RDONLY | O_DIRECT);
	if (fd < 0 || posix_memalign(&data, 4096, FUSE_LENGTH))
		_exit(1);
	if (read(fd, data, FUSE_LENGTH) < 0)
		_exit(2);
	return arg;
}

static void reads(struct box *b, const char *what)
{
	if (setns(fuse_mnt, CLONE_NEWNS))
		_exit(1);
	announce(b, what);
	read_file_of_daemon(NULL);
	/* Not to be reached by one who is killed. */
	announce(b, "woken");
	forever();
}

/*
 * I2 for one in uninterruptible sleep: it dies when it wakes, before it is back
 * from its system call. fuse_direct_IO() in fs/fuse/file.c waits for the answer.
 */
TEST_F_TIMEOUT(held, in_read, TEST_SECONDS)
{
	struct box *b = &self->box;

	fuse_mnt = fuse_outside(b);
	ASSERT_GE(fuse_mnt, 0);
	/* and the daemon says that it has got the read */
	ASSERT_EQ(0, box_start_one(b, "reader", reads, 1));
	ASSERT_EQ(0, wait_state(box_find(b, "reader")->pid, 'D'));
	ASSERT_EQ(0, kill_init_behind(b));
	EXPECT_EQ('D', task_state(box_find(b, "reader")->pid));
	order(b, 'a');
	EXPECT_EQ(0, let_go(b));
	EXPECT_FALSE(readable(b->join[0], 0));
}

static void execs_beside_reader(struct box *b, const char *what)
{
	char * const argv[] = { "held_test", "--forever", NULL };
	pthread_t t;

	if (setns(fuse_mnt, CLONE_NEWNS) ||
	    pthread_create(&t, NULL, read_file_of_daemon, NULL) ||
	    wait_sleep(outer_pid(), "fuse_direct_IO"))
		_exit(1);
	announce(b, what);
	execv("/proc/self/exe", argv);
	_exit(2);
}

/*
 * I2 for one that waits in exec for a thread of its own to go, and for that
 * thread: the first is killable (de_thread() in fs/exec.c), the other is not.
 */
TEST_F_TIMEOUT(held, in_de_thread, TEST_SECONDS)
{
	struct box *b = &self->box;

	fuse_mnt = fuse_outside(b);
	ASSERT_GE(fuse_mnt, 0);
	ASSERT_EQ(0, box_start_one(b, "execs", execs_beside_reader, 1));
	ASSERT_EQ(0, wait_sleep(box_find(b, "execs")->pid, "begin_new_exec"));
	ASSERT_EQ(0, kill_init_behind(b));
	order(b, 'a');
	EXPECT_EQ(0, let_go(b));
}

static void exits_slowly(struct box *b, const char *what)
{
	if (setns(fuse_mnt, CLONE_NEWNS))
		_exit(1);
	announce(b, what);
	fuse_submit_read();
	_exit(0);
}

/*
 * I2 beside one that has died before init and is not done with it: no signal can
 * be of use to it (signal->live is 0), and init waits. exit_aio() in fs/aio.c.
 */
TEST_F_TIMEOUT(held, in_exit, TEST_SECONDS)
{
	struct box *b = &self->box;

	fuse_mnt = fuse_outside(b);
	ASSERT_GE(fuse_mnt, 0);
	ASSERT_EQ(0, box_start_one(b, "exits", exits_slowly, 1));
	ASSERT_EQ(0, wait_sleep(box_find(b, "exits")->pid, "exit_aio"));
	ASSERT_EQ(0, kill_init_behind(b));
	EXPECT_FALSE(readable(box_find(b, "exits")->fd, 0));
	order(b, 'a');
	EXPECT_EQ(0, let_go(b));
}

static void inner_init(struct box *b, const char *what)
{
	if (unshare(CLONE_NEWPID))
		_exit(1);
	if (!fork()) {
		announce(b, "inner init");
		forever();
	}
	announce(b, what);
	forever();
}

static void exit_at_once(struct box *b)
{
	announce(b, READY);
	_exit(0);
}

/*
 * I2 beside a nested init that is dead and still waits, for a zombie of ours:
 * zap_pid_ns_processes() within zap_pid_ns_processes(). Both end with the zombie.
 */
TEST_F_TIMEOUT(held, behind_inner_init, TEST_SECONDS)
{
	struct box *b = &self->box, inner = *b;
	pid_t zombie;

	ASSERT_EQ(0, box_start_one(b, "its parent", inner_init, 1));
	inner.init = box_find(b, "inner init")->pid;
	inner.initfd = box_find(b, "inner init")->fd;
	inner.nsfd = open_pidns(inner.init);
	ASSERT_GE(inner.nsfd, 0);
	zombie = box_inject(&inner, "zombie", exit_at_once);
	ASSERT_GT(zombie, 0);
	close(inner.nsfd);
	ASSERT_TRUE(readable(inner.m[0].fd, patience_ms));
	ASSERT_EQ(0, sys_pidfd_signal(inner.initfd, SIGKILL));
	ASSERT_EQ(0, box_wait_zap(&inner));

	ASSERT_EQ(0, kill_init_behind(b));
	EXPECT_FALSE(readable(inner.initfd, 0));
	ASSERT_EQ(zombie, waitpid(zombie, NULL, 0));
	EXPECT_EQ(0, let_go(b));
	EXPECT_EQ(-1, sys_pidfd_signal(inner.m[0].fd, 0));
	close(inner.m[0].fd);
}

/*
 * By those who take their core. A process that dumps core is exiting for all the
 * world to see, and may be at it for ever; only SIGKILL comes through
 * (prepare_signal() in kernel/signal.c).
 */
#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"
#define CORE_PIPE_LIMIT	"/proc/sys/kernel/core_pipe_limit"
/* A name without blanks, as the real one may have some; 127 bytes in all. */
#define CORE_HANDLER	"/tmp/pidns_test.core"

FIXTURE(core) {
	struct box box;
	char pattern[128], limit[16];
};

FIXTURE_VARIANT(core) {
	bool handler_reads;	/* and then stays, and the dumper waits for it */
	int threads;		/* besides the one that dumps */
	const char *sleeps_in;
};

FIXTURE_VARIANT_ADD(core, full_pipe) {
	.sleeps_in = "anon_pipe_write",
};

FIXTURE_VARIANT_ADD(core, full_pipe_threads) {
	.threads = 3, .sleeps_in = "anon_pipe_write",
};

FIXTURE_VARIANT_ADD(core, slow_handler) {
	/*
	 * In wait_for_dump_helpers(), which gcc makes part of this: once the handler
	 * has come to the end of the pipe there is no other sleep left in it.
	 */
	.handler_reads = true, .sleeps_in = "vfs_coredump",
};

FIXTURE_SETUP(core)
{
	char exe[256] = "";

	ASSERT_EQ(0, box_open(&self->box));
	ASSERT_GT(read_file(CORE_PATTERN, self->pattern, sizeof(self->pattern)), 0);
	ASSERT_GT(read_file(CORE_PIPE_LIMIT, self->limit, sizeof(self->limit)), 0);
	unlink(CORE_HANDLER);
	ASSERT_GT(readlink("/proc/self/exe", exe, sizeof(exe) - 1), 0);
	ASSERT_EQ(0, symlink(exe, CORE_HANDLER));
}

FIXTURE_TEARDOWN(core)
{
	write_at(AT_FDCWD, CORE_PATTERN, self->pattern);
	write_at(AT_FDCWD, CORE_PIPE_LIMIT, self->limit);
	unlink(CORE_HANDLER);
	EXPECT_EQ(0, box_close(&self->box));
}

/* What the kernel starts, in the root namespace; @dir is its cgroup to be. */
static void core_handler(const char *dir, bool reads)
{
	char buf[4096];
	int cgroup;

	while (reads && read(STDIN_FILENO, buf, sizeof(buf)) > 0)
		;
	cgroup = open(dir, O_RDONLY | O_DIRECTORY);
	if (cgroup < 0 || write_at(cgroup, "cgroup.procs", "0"))
		_exit(1);
	forever();
}

static int nr_threads;

static void dumps_core(struct box *b, const char *what)
{
	/* more than fits into a pipe */
	size_t size = 1 << 20;
	void *memory = malloc(size);
	int i;

	if (!memory)
		_exit(1);
	memset(memory, 1, size);
	for (i = 0; i < nr_threads; i++)
		if (start_thread(thread_forever, NULL))
			_exit(1);
	announce(b, what);
	abort();
}

TEST_F_TIMEOUT(core, dump_ends, TEST_SECONDS)
{
	struct box *b = &self->box;
	long long end = now_ms() + patience_ms;
	char pattern[256];

	snprintf(pattern, sizeof(pattern), "|" CORE_HANDLER " --%s %s/out",
		 variant->handler_reads ? "read-core" : "have-core", b->dir);
	ASSERT_GT(128UL, strlen(pattern));
	ASSERT_EQ(0, write_at(AT_FDCWD, CORE_PATTERN, pattern));
	ASSERT_EQ(0, write_at(AT_FDCWD, CORE_PIPE_LIMIT, variant->handler_reads ? "1" : "0"));
	nr_threads = variant->threads;
	ASSERT_EQ(0, box_start_one(b, "dumper", dumps_core, 0));
	while (!cgroup_populated(b->out))
		ASSERT_LT(now_ms(), end);
	ASSERT_EQ(0, wait_sleep(box_find(b, "dumper")->pid, variant->sleeps_in));
	ASSERT_EQ(0, box_fall(b));
	/* The handler is not one of them. */
	EXPECT_TRUE(cgroup_populated(b->out));
}

int main(int argc, char **argv)
{
	/* What a member becomes that execs, and what the kernel starts. */
	if (argc == 2 && !strcmp(argv[1], "--forever"))
		forever();
	if (argc == 3 && !strcmp(argv[1], "--read-core"))
		core_handler(argv[2], true);
	if (argc == 3 && !strcmp(argv[1], "--have-core"))
		core_handler(argv[2], false);
	return test_harness_run(argc, argv);
}
