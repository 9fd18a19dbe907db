// SPDX-License-Identifier: GPL-2.0
/*
 * Between the blow and the death: an init that is killed and held on its way, by
 * a tracer, by a thread that waits for a FUSE daemon, or by its own core dump.
 * As long as one thread has not left signal->live nothing may happen to the
 * namespace; then all of it goes.
 */
#include "pidns_fuse.h"

#define MEMBERS		2

FIXTURE(dying) {
	struct box box;
};

FIXTURE_SETUP(dying)
{
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(dying)
{
	EXPECT_EQ(0, fuse_box_close(&self->box));
}

static void init_waits(struct box *b, void *arg __maybe_unused)
{
	member(b, "member");
	member(b, "member");
	announce(b, READY);
	forever();
}

static int start(struct box *b)
{
	return box_spawn(b, 0, init_waits, NULL) || box_collect(b, MEMBERS + 1) ? -1 : 0;
}

/* Waits until a thread is in a state that no event tells of. */
static bool comes_to_state(pid_t pid, char state)
{
	long long end = now_ms() + patience_ms;

	while (task_state(pid) != state) {
		if (now_ms() > end)
			return false;
		sched_yield();
	}
	return true;
}

/* Neither I1 nor I2: the members live, and one more can be born. */
static bool undisturbed(struct box *b)
{
	int i;

	if (box_inject(b, "injected", NULL) < 0 || readable(b->initfd, 0))
		return false;
	for (i = 0; i < b->nr; i++)
		if (!lives_on(b->m[i].pid))
			return false;
	return true;
}

/* I2, at last. */
static bool all_gone(struct box *b)
{
	return !box_wait_init(b) && !box_left(b);
}

/*
 * A tracer holds init at its exit: ptrace_event() in do_exit() (kernel/exit.c)
 * comes before signal->live is left.
 */
TEST_F_TIMEOUT(dying, held_by_tracer_outside, TEST_SECONDS)
{
	struct box *b = &self->box;
	int status = 0;

	ASSERT_EQ(0, start(b));
	ASSERT_EQ(0, ptrace(PTRACE_SEIZE, b->init, NULL, PTRACE_O_TRACEEXIT));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(b->init, waitpid(b->init, &status, __WALL));
	ASSERT_EQ(SIGTRAP | PTRACE_EVENT_EXIT << 8, status >> 8);
	EXPECT_TRUE(undisturbed(b));
	ASSERT_EQ(0, ptrace(PTRACE_DETACH, b->init, NULL, NULL));
	EXPECT_TRUE(all_gone(b));
	EXPECT_EQ(SIGKILL, b->status);
}

/* Traces @pid until there is an order, and lets go; or is killed before. */
static void trace(struct box *b, pid_t pid, long options)
{
	if (ptrace(PTRACE_SEIZE, pid, NULL, options))
		_exit(95);
	announce(b, "tracer");
	await_order(b);
	ptrace(PTRACE_CONT, pid, NULL, NULL);
	forever();
}

static void init_traced(struct box *b, void *arg)
{
	if (!fork())
		trace(b, 1, *(long *)arg);
	init_waits(b, NULL);
}

/* The tracer is a member itself, and goes with the others when it lets go. */
TEST_F_TIMEOUT(dying, held_by_tracer_inside, TEST_SECONDS)
{
	long options = PTRACE_O_TRACEEXIT;
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, init_traced, &options));
	ASSERT_EQ(0, box_collect(b, MEMBERS + 2));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_TRUE(comes_to_state(b->init, 't'));
	EXPECT_TRUE(undisturbed(b));
	order(b, 'c');
	EXPECT_TRUE(all_gone(b));
	EXPECT_EQ(SIGKILL, b->status);
}

static void stop_init(struct box *b __maybe_unused)
{
	if (ptrace(PTRACE_SEIZE, 1, NULL, NULL) || ptrace(PTRACE_INTERRUPT, 1, NULL, NULL) ||
	    waitpid(1, NULL, __WALL) != 1)
		_exit(95);
}

/* Any other stop ends with SIGKILL: ptrace_signal_wake_up(), linux/sched/signal.h. */
TEST_F_TIMEOUT(dying, stopped_by_tracer_inside, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, start(b));
	ASSERT_GT(box_inject(b, "tracer", stop_init), 0);
	ASSERT_EQ('t', task_state(b->init));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	EXPECT_TRUE(all_gone(b));
	EXPECT_EQ(SIGKILL, b->status);
}

/*
 * The end of a tracer is the end of init: exit_ptrace() in kernel/ptrace.c sends
 * what even the tracer that is a member could not.
 */
TEST_F_TIMEOUT(dying, tracer_inside_dies, TEST_SECONDS)
{
	long options = PTRACE_O_EXITKILL;
	struct box *b = &self->box;
	int i;

	ASSERT_EQ(0, box_spawn(b, 0, init_traced, &options));
	ASSERT_EQ(0, box_collect(b, MEMBERS + 2));
	for (i = 0; i < b->nr; i++)
		if (!strcmp(b->m[i].what, "tracer"))
			ASSERT_EQ(0, sys_pidfd_signal(b->m[i].fd, SIGKILL));
	EXPECT_TRUE(all_gone(b));
	EXPECT_EQ(SIGKILL, b->status);
}

/* Starts a tracer outside, which is not the parent of init. */
static pid_t tracer_outside(struct box *b, long options, int *fd)
{
	pid_t pid = fork_into(b->out, 0, fd);

	if (!pid)
		trace(b, b->init, options);
	if (pid < 0 || box_collect(b, 1))
		return -1;
	b->nr--;
	return pid;
}

TEST_F_TIMEOUT(dying, tracer_outside_dies, TEST_SECONDS)
{
	struct box *b = &self->box;
	pid_t tracer;
	int fd;

	ASSERT_EQ(0, start(b));
	tracer = tracer_outside(b, PTRACE_O_EXITKILL, &fd);
	ASSERT_GT(tracer, 0);
	ASSERT_EQ(0, kill(tracer, SIGKILL));
	EXPECT_TRUE(all_gone(b));
	EXPECT_EQ(SIGKILL, b->status);
	close(fd);
}

/*
 * I2 is done when init is a zombie, even if that is the tracer's for now: the
 * parent has to wait until the tracer lets go, wait_consider_task() in
 * kernel/exit.c.
 */
TEST_F_TIMEOUT(dying, zombie_of_tracer, TEST_SECONDS)
{
	struct box *b = &self->box;
	pid_t tracer;
	int fd;

	ASSERT_EQ(0, start(b));
	tracer = tracer_outside(b, 0, &fd);
	ASSERT_GT(tracer, 0);
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_wait_exit(b));
	EXPECT_EQ(0, box_left(b));
	EXPECT_EQ(0, waitpid(b->init, &b->status, WNOHANG));
	ASSERT_EQ(0, kill(tracer, SIGKILL));
	EXPECT_TRUE(all_gone(b));
	EXPECT_EQ(SIGKILL, b->status);
	close(fd);
}

/* The limit of one resource, and how to come to it. */
struct limit {
	int resource, policy;
	struct rlimit rlimit;
};

static void init_burns(struct box *b, void *arg)
{
	struct sched_param param = { .sched_priority = 1 };
	struct limit *limit = arg;

	member(b, "member");
	member(b, "member");
	announce(b, READY);
	await_order(b);
	if (setrlimit(limit->resource, &limit->rlimit) ||
	    (limit->policy == SCHED_FIFO && sched_setscheduler(0, SCHED_FIFO, &param)))
		_exit(90);
	for (;;)
		;
}

static bool burns_out(struct box *b, struct limit *limit)
{
	if (box_spawn(b, 0, init_burns, limit) || box_collect(b, MEMBERS + 1))
		return false;
	order(b, 'x');
	return all_gone(b);
}

/* I2 at the hard limit of CPU time: check_process_timers(), posix-cpu-timers.c. */
TEST_F_TIMEOUT(dying, out_of_cpu_time, TEST_SECONDS)
{
	struct limit limit = { RLIMIT_CPU, SCHED_OTHER, { 1, 1 } };

	EXPECT_TRUE(burns_out(&self->box, &limit));
	EXPECT_EQ(SIGKILL, self->box.status);
}

/*
 * ... and of that without a pause, check_thread_timers(). The SIGXCPU before it,
 * at the soft limit, is nothing to an init: get_signal().
 */
TEST_F_TIMEOUT(dying, out_of_realtime, TEST_SECONDS)
{
	struct limit limit = { RLIMIT_RTTIME, SCHED_FIFO, { 1, 50000 } };

	EXPECT_TRUE(burns_out(&self->box, &limit));
	EXPECT_EQ(SIGKILL, self->box.status);
}

static struct box *threads_box;

static void *thread_vforks(void *arg)
{
	if (!vfork()) {
		announce(threads_box, "vforked");
		forever();
	}
	return arg;
}

static void init_vforks(struct box *b, void *arg __maybe_unused)
{
	pthread_t t;

	threads_box = b;
	pthread_create(&t, NULL, thread_vforks, NULL);
	init_waits(b, NULL);
}

/*
 * I2 while a thread of init waits for a child that it shares the memory with:
 * wait_for_vfork_done() in kernel/fork.c takes SIGKILL.
 */
TEST_F_TIMEOUT(dying, thread_in_vfork, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, init_vforks, NULL));
	ASSERT_EQ(0, box_collect(b, MEMBERS + 2));
	ASSERT_EQ(MEMBERS + 1, box_alive(b));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	EXPECT_TRUE(all_gone(b));
	EXPECT_EQ(SIGKILL, b->status);
}

/* Held by a FUSE daemon outside. */
FIXTURE(stuck) {
	struct box box;
	int mnt;	/* where its file is to be seen */
	atomic_int *ran;
};

FIXTURE_SETUP(stuck)
{
	if (access("/dev/fuse", F_OK))
		SKIP(return, "no /dev/fuse");
	self->ran = mmap(NULL, sizeof(*self->ran), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->ran);
	ASSERT_EQ(0, box_open(&self->box));
	self->mnt = fuse_outside(&self->box);
	ASSERT_GE(self->mnt, 0);
}

FIXTURE_TEARDOWN(stuck)
{
	EXPECT_EQ(0, fuse_box_close(&self->box));
}

/* It has to be asked for in a thread, and then waits in the D state. */
static void *thread_reads(void *arg)
{
	int fd = open(FUSE_FILE, O_RDONLY | O_DIRECT);
	void *data;

	if (fd < 0 || posix_memalign(&data, 4096, FUSE_LENGTH) ||
	    pread(fd, data, FUSE_LENGTH, 0) < 0)
		_exit(91);
	return arg;
}

static void *thread_waits(void *arg)
{
	forever();
	return arg;
}

struct reading {
	int mnt;
	bool leader;	/* it is the leader that reads */
};

static void init_reads(struct box *b, void *arg)
{
	struct reading *reading = arg;
	pthread_t t;

	if (setns(reading->mnt, CLONE_NEWNS))
		_exit(92);
	member(b, "member");
	member(b, "member");
	announce(b, READY);
	pthread_create(&t, NULL, reading->leader ? thread_waits : thread_reads, NULL);
	(reading->leader ? thread_reads : thread_waits)(NULL);
}

/* An init that is killed, but for the thread that reads. */
static bool gets_stuck(struct box *b, struct reading *reading)
{
	/* The last to be heard of is the daemon, who has got the read. */
	if (box_spawn(b, 0, init_reads, reading) || box_collect(b, MEMBERS + 2))
		return false;
	return !kill(b->init, SIGKILL) && comes_to_state(b->init, reading->leader ? 'D' : 'Z');
}

/*
 * Neither I1 nor I2 while a thread waits for what no signal ends:
 * request_wait_answer() in fs/fuse/dev.c. The leader is a zombie meanwhile, and
 * find_child_reaper() in kernel/exit.c finds the thread.
 */
TEST_F_TIMEOUT(stuck, in_a_thread, TEST_SECONDS)
{
	struct reading reading = { self->mnt, false };
	struct box *b = &self->box;

	ASSERT_TRUE(gets_stuck(b, &reading));
	EXPECT_TRUE(undisturbed(b));
	order(b, 'a');
	EXPECT_TRUE(all_gone(b));
	EXPECT_EQ(SIGKILL, b->status);
}

TEST_F_TIMEOUT(stuck, in_the_leader, TEST_SECONDS)
{
	struct reading reading = { self->mnt, true };
	struct box *b = &self->box;

	ASSERT_TRUE(gets_stuck(b, &reading));
	EXPECT_TRUE(undisturbed(b));
	order(b, 'a');
	EXPECT_TRUE(all_gone(b));
	EXPECT_EQ(SIGKILL, b->status);
}

struct forking {
	int mnt;
	atomic_int *ran;
};

static void init_forks(struct box *b, void *arg)
{
	struct clone_args args = { .flags = CLONE_PIDFD, .exit_signal = SIGCHLD };
	struct forking *forking = arg;
	void *page = MAP_FAILED;
	int fd = -1;

	if (!setns(forking->mnt, CLONE_NEWNS))
		fd = open(FUSE_FILE, O_RDONLY);
	if (fd >= 0)
		page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (page == MAP_FAILED)
		_exit(92);
	args.pidfd = (uintptr_t)page;
	member(b, "member");
	member(b, "member");
	announce(b, READY);
	if (!syscall(__NR_clone3, &args, sizeof(args)))
		atomic_store(forking->ran, 1);
	forever();
}

/*
 * I3 for a fork of init itself, that has its PID when init is killed and goes on
 * when the daemon answers: copy_process() in kernel/fork.c looks for SIGKILL
 * once more, and there is no child.
 */
TEST_F_TIMEOUT(stuck, in_its_own_fork, TEST_SECONDS)
{
	struct forking forking = { self->mnt, self->ran };
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, init_forks, &forking));
	ASSERT_EQ(0, box_collect(b, MEMBERS + 2));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_TRUE(comes_to_state(b->init, 'D'));
	EXPECT_TRUE(undisturbed(b));
	order(b, 'a');
	EXPECT_TRUE(all_gone(b));
	EXPECT_EQ(SIGKILL, b->status);
	EXPECT_EQ(0, atomic_load(self->ran));
}

#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"
#define CORE_LIMIT	"/proc/sys/kernel/core_pipe_limit"
#define CORE_FILE	"/tmp/pidns_test.core"
/* More than a pipe takes. */
#define CORE_SIZE	0x100000

/* Dumping core. */
FIXTURE(core) {
	struct box box;
	char pattern[256], limit[32];
	int mnt;
};

FIXTURE_VARIANT(core) {
	const char *file;	/* or else to a program */
	bool fuse;		/* the file is the daemon's */
	bool waited;		/* the program is waited for, and reads at once */
	bool killed;		/* SIGKILL comes in the middle of it */
	int status;
};

FIXTURE_VARIANT_ADD(core, to_file) {
	.file = CORE_FILE, .status = SIGILL | 0x80,
};

/* Until the program reads: anon_pipe_write() in fs/pipe.c. */
FIXTURE_VARIANT_ADD(core, to_program) {
	.status = SIGILL | 0x80,
};

/* It is given up then: dump_interrupted(), and complete_signal() for the status. */
FIXTURE_VARIANT_ADD(core, to_program_killed) {
	.killed = true, .status = SIGKILL,
};

/* Until the program is at its end: wait_for_dump_helpers() in fs/coredump.c. */
FIXTURE_VARIANT_ADD(core, to_program_waited) {
	.waited = true, .status = SIGILL | 0x80,
};

FIXTURE_VARIANT_ADD(core, to_program_waited_killed) {
	.waited = true, .killed = true, .status = SIGKILL,
};

/* SIGKILL comes, and does not help: request_wait_answer() in fs/fuse/dev.c. */
FIXTURE_VARIANT_ADD(core, to_fuse_killed) {
	.file = FUSE_FILE, .fuse = true, .killed = true, .status = SIGKILL,
};

static int write_file(const char *path, const char *text)
{
	return write_at(AT_FDCWD, path, text);
}

FIXTURE_SETUP(core)
{
	struct box *b = &self->box;
	char pattern[128];

	if (variant->fuse && access("/dev/fuse", F_OK))
		SKIP(return, "no /dev/fuse");
	ASSERT_EQ(0, box_open(b));
	self->mnt = -1;
	if (variant->fuse) {
		self->mnt = fuse_outside(b);
		ASSERT_GE(self->mnt, 0);
	}
	ASSERT_GT(read_file(CORE_PATTERN, self->pattern, sizeof(self->pattern)), 0);
	ASSERT_GT(read_file(CORE_LIMIT, self->limit, sizeof(self->limit)), 0);
	snprintf(pattern, sizeof(pattern), "|/proc/%d/exe --dump %d %d %d %d",
		 getpid(), getpid(), b->join[1], b->go[0], variant->waited);
	ASSERT_EQ(0, write_file(CORE_PATTERN, variant->file ?: pattern));
	ASSERT_EQ(0, write_file(CORE_LIMIT, variant->waited ? "100" : "0"));
}

FIXTURE_TEARDOWN(core)
{
	EXPECT_EQ(0, write_file(CORE_PATTERN, self->pattern));
	EXPECT_EQ(0, write_file(CORE_LIMIT, self->limit));
	unlink(CORE_FILE);
	EXPECT_EQ(0, fuse_box_close(&self->box));
}

static int reopen(int pid, int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	return open(path, flags);
}

static void read_core(void)
{
	static char buf[0x10000];

	while (read(STDIN_FILENO, buf, sizeof(buf)) > 0)
		;
}

/* The program: the kernel starts it, so it comes to the test's pipes by /proc. */
static void take_dump(char **argv)
{
	int pid = atoi(argv[0]);
	struct box b = {};

	b.join[1] = reopen(pid, atoi(argv[1]), O_WRONLY);
	b.go[0] = reopen(pid, atoi(argv[2]), O_RDONLY);
	if (atoi(argv[3]))
		read_core();
	announce(&b, READY);
	await_order(&b);
	read_core();
	_exit(0);
}

static void *thread_traps(void *arg)
{
	memset(malloc(CORE_SIZE), 1, CORE_SIZE);
	illegal_instruction();
	return arg;
}

static void init_dumps(struct box *b, void *arg)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	int mnt = *(int *)arg;
	pthread_t t;

	if (setrlimit(RLIMIT_CORE, &all) || (mnt >= 0 && setns(mnt, CLONE_NEWNS)))
		_exit(92);
	member(b, "member");
	member(b, "member");
	announce(b, READY);
	await_order(b);
	/* The leader where its state is to be seen, or else another thread. */
	pthread_create(&t, NULL, mnt < 0 ? thread_traps : thread_waits, NULL);
	(mnt < 0 ? thread_waits : thread_traps)(NULL);
}

/*
 * Neither I1 nor I2 while a core is written: vfs_coredump() comes before
 * do_group_exit() in get_signal(), and holds all threads (kernel/signal.c).
 */
TEST_F_TIMEOUT(core, all_gone, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, init_dumps, &self->mnt));
	ASSERT_EQ(0, box_collect(b, MEMBERS + 1));
	order(b, 'x');
	if (!variant->file || variant->fuse) {
		/* The program or the daemon says that it has come to it. */
		ASSERT_EQ(0, box_collect(b, 1));
		EXPECT_TRUE(undisturbed(b));
	}
	if (variant->killed)
		ASSERT_EQ(0, kill(b->init, SIGKILL));
	if (variant->fuse) {
		ASSERT_TRUE(comes_to_state(b->init, 'D'));
		EXPECT_TRUE(undisturbed(b));
	}
	if (variant->fuse || !variant->killed)
		order(b, 'a');
	EXPECT_TRUE(all_gone(b));
	EXPECT_EQ(variant->status, b->status);
	EXPECT_EQ(variant->file && !variant->fuse ? 0 : -1, access(CORE_FILE, F_OK));
	/* So that the program ends, if it still waits. */
	order(b, 'a');
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "--dump"))
		take_dump(argv + 2);
	return test_harness_run(argc, argv);
}
