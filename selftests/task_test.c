// SPDX-License-Identifier: GPL-2.0
/*
 * I2, the reaper kill, by what a member is made of: how many threads, which of
 * them, which PIDs, what the kernel runs on its behalf, and what it shares with
 * init. Init dies by SIGKILL, and when it has been reaped nothing of its
 * namespace is left.
 */
#include <linux/aio_abi.h>
#include <linux/vhost.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "pidns_member.h"
#include "pidns_uring.h"

#define THREADS		1000
#define PROCESSES	260

FIXTURE(task) {
	struct box box;
};

FIXTURE_SETUP(task)
{
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(task)
{
	EXPECT_EQ(0, box_close(&self->box));
}

static void many_threads(struct box *b, const char *what)
{
	int i;

	for (i = 0; i < THREADS; i++)
		if (start_thread(thread_forever, NULL))
			_exit(1);
	announce(b, what);
	forever();
}

/*
 * I2 for a process of very many threads, and for one with a PID after theirs. Each
 * thread has one too, and all have to be gone: pid_allocated in
 * zap_pid_ns_processes().
 */
TEST_F_TIMEOUT(task, many_threads, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_start_one(b, "many threads", many_threads, 0));
	ASSERT_GT(box_inject(b, "after them", NULL), 0);
	EXPECT_EQ(0, box_fall(b));
}

static void init_of_many(struct box *b, void *arg __maybe_unused)
{
	int i;

	for (i = 0; i < PROCESSES; i++)
		if (!fork())
			forever();
	announce(b, READY);
	forever();
}

/* I2 for a namespace of very many processes: PIDs are looked at in slices. */
TEST_F_TIMEOUT(task, many_processes, TEST_SECONDS)
{
	struct box *b = &self->box;
	pid_t pids[PROCESSES + 1];
	int i;

	ASSERT_EQ(0, box_spawn(b, 0, init_of_many, NULL));
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(PROCESSES + 1, cgroup_procs(b->in, pids, PROCESSES + 1));
	ASSERT_EQ(0, box_fall(b));
	for (i = 0; i < PROCESSES + 1; i++)
		EXPECT_EQ(-1, kill(pids[i], 0));
}

/* PIDs with much room between them; 32768 is the least that pid_max can be. */
static const pid_t far_apart[] = { 130, 4711, 20000, 32767 };

static void init_of_sparse(struct box *b, void *arg __maybe_unused)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(far_apart); i++) {
		struct clone_args args = {
			.exit_signal = SIGCHLD,
			.set_tid = (uintptr_t)&far_apart[i],
			.set_tid_size = 1,
		};

		if (!syscall(__NR_clone3, &args, sizeof(args))) {
			announce(b, getpid() == far_apart[i] ? "far apart" : READY);
			forever();
		}
	}
	announce(b, READY);
	forever();
}

/* I2 for PIDs that are far apart: idr_get_next() in find_ge_pid(), kernel/pid.c. */
TEST_F_TIMEOUT(task, sparse_pids, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, init_of_sparse, NULL));
	ASSERT_EQ(0, box_collect(b, ARRAY_SIZE(far_apart) + 1));
	ASSERT_EQ((int)ARRAY_SIZE(far_apart), b->nr);
	EXPECT_EQ(0, box_fall(b));
}

static void leader_leaves(struct box *b, const char *what)
{
	announce(b, what);
	if (start_thread(thread_forever, NULL) || start_thread(thread_forever, NULL))
		_exit(1);
	syscall(SYS_exit, 0);
}

/*
 * I2 for one whose leader is a zombie while other threads live: what pid_task()
 * finds takes no signal, complete_signal() in kernel/signal.c looks further.
 */
TEST_F_TIMEOUT(task, leader_gone, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_start_one(b, "leader gone", leader_leaves, 0));
	ASSERT_EQ(0, wait_state(box_find(b, "leader gone")->pid, 'Z'));
	EXPECT_EQ(0, box_fall(b));
}

#define FIFO	"/tmp/pidns_test.fifo"

static void opens_by_worker(struct box *b, const char *what)
{
	struct uring u;

	if (uring_open(&u, 0) || uring_open_file(&u, FIFO))
		_exit(1);
	announce(b, what);
	forever();
}

/*
 * I2 for a thread of the kernel's that is blocked in I/O for a member. It has a
 * PID in the namespace: create_io_thread() in kernel/fork.c.
 */
TEST_F_TIMEOUT(task, io_worker, TEST_SECONDS)
{
	struct box *b = &self->box;
	int ret;

	unlink(FIFO);
	ASSERT_EQ(0, mkfifo(FIFO, 0600));
	ret = box_start_one(b, "io_uring worker", opens_by_worker, 0) ||
	      wait_sleep(box_find(b, "io_uring worker")->pid, "io_wq_submit_work");
	unlink(FIFO);
	ASSERT_EQ(0, ret);
	EXPECT_EQ(0, box_fall(b));
}

static void polls_by_thread(struct box *b, const char *what)
{
	struct uring u;

	if (uring_open(&u, IORING_SETUP_SQPOLL))
		_exit(1);
	announce(b, what);
	forever();
}

/* I2 for one that looks for work in user memory: io_sq_thread(), io_uring/sqpoll.c. */
TEST_F_TIMEOUT(task, io_poller, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_start_one(b, "io_uring poller", polls_by_thread, 0));
	ASSERT_EQ(0, wait_sleep(box_find(b, "io_uring poller")->pid, "io_sq_thread"));
	EXPECT_EQ(0, box_fall(b));
}

static void owns_vhost(struct box *b, const char *what)
{
	int fd = open("/dev/vhost-vsock", O_RDWR);

	if (fd < 0 || ioctl(fd, VHOST_SET_OWNER))
		_exit(1);
	announce(b, what);
	forever();
}

/* I2 for the thread that serves a virtual device: kernel/vhost_task.c. */
TEST_F_TIMEOUT(task, vhost_worker, TEST_SECONDS)
{
	struct box *b = &self->box;

	if (access("/dev/vhost-vsock", F_OK))
		SKIP(return, "no /dev/vhost-vsock");
	ASSERT_EQ(0, box_start_one(b, "vhost worker", owns_vhost, 0));
	ASSERT_EQ(0, wait_sleep(box_find(b, "vhost worker")->pid, "vhost_task_fn"));
	EXPECT_EQ(0, box_fall(b));
}

static void polls_by_aio(struct box *b, const char *what)
{
	struct iocb cb = { .aio_lio_opcode = IOCB_CMD_POLL, .aio_buf = POLLIN };
	struct iocb *list = &cb;
	aio_context_t ctx = 0;

	cb.aio_fildes = eventfd(0, 0);
	if (syscall(__NR_io_setup, 1, &ctx) || syscall(__NR_io_submit, ctx, 1, &list) != 1)
		_exit(1);
	announce(b, what);
	forever();
}

/* I2 for one with AIO in flight, which exit_aio() in fs/aio.c has to cancel. */
TEST_F_TIMEOUT(task, aio_in_flight, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_start_one(b, "AIO", polls_by_aio, 0));
	EXPECT_EQ(0, box_fall(b));
}

static const int shares[] = {
	CLONE_FILES, CLONE_FS, CLONE_IO, CLONE_SYSVSEM, CLONE_VM, CLONE_VM | CLONE_SIGHAND,
	CLONE_VM | CLONE_SIGHAND | CLONE_FILES | CLONE_FS | CLONE_IO | CLONE_SYSVSEM,
};

static int sharer(void *arg)
{
	announce(arg, "sharer");
	forever();
	return 0;
}

static void init_that_shares(struct box *b, void *arg __maybe_unused)
{
	static char stacks[ARRAY_SIZE(shares)][16384];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(shares); i++)
		if (clone(sharer, stacks[i] + sizeof(stacks[i]), shares[i] | SIGCHLD, b) < 0)
			_exit(1);
	announce(b, READY);
	forever();
}

/*
 * I2 for those who share with init what it gives up before it comes to
 * zap_pid_ns_processes(): exit_mm() and exit_files() leave it to them.
 */
TEST_F_TIMEOUT(task, shares_with_init, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, init_that_shares, NULL));
	ASSERT_EQ(0, box_collect(b, ARRAY_SIZE(shares) + 1));
	EXPECT_EQ(0, box_fall(b));
}

/*
 * I2 for those who exec one program after the other: PIDs stay, and pass from
 * one thread to the other where it is not the leader who does it (de_thread() in
 * fs/exec.c, exchange_tids() in kernel/pid.c).
 */
#define EXECS	8

FIXTURE(exec) {
	struct box box;
	int rounds[2];
};

FIXTURE_VARIANT(exec) {
	char *by;
};

FIXTURE_VARIANT_ADD(exec, leader) { .by = "leader" };
FIXTURE_VARIANT_ADD(exec, thread) { .by = "thread" };

FIXTURE_SETUP(exec)
{
	ASSERT_EQ(0, box_open(&self->box));
	/* It goes through exec, and who writes does not wait. */
	ASSERT_EQ(0, pipe2(self->rounds, O_NONBLOCK));
}

FIXTURE_TEARDOWN(exec)
{
	EXPECT_EQ(0, box_close(&self->box));
}

static char *exec_args[] = { "task_test", "--exec", NULL, NULL, NULL };

static void *exec_again(void *arg)
{
	execv("/proc/self/exe", exec_args);
	_exit(1);
	return arg;
}

/* What main() is for them: @by says who is to exec, @fd where to count. */
static void exec_round(char *by, char *fd)
{
	exec_args[2] = by;
	exec_args[3] = fd;
	if (write(atoi(fd), "x", 1) < 0 && errno != EAGAIN)
		_exit(1);
	if (!strcmp(by, "leader"))
		exec_again(NULL);
	start_thread(thread_forever, NULL);
	start_thread(exec_again, NULL);
	forever();
}

static void exec_from_now_on(struct box *b, const char *what)
{
	announce(b, what);
	exec_again(NULL);
}

TEST_F_TIMEOUT(exec, all_gone, TEST_SECONDS)
{
	static const struct kind kinds[] = {
		{ "exec", exec_from_now_on, 0 }, { "exec", exec_from_now_on, 0 }, {}
	};
	struct box *b = &self->box;
	char fd[16], c;
	int i;

	snprintf(fd, sizeof(fd), "%d", self->rounds[1]);
	exec_args[2] = variant->by;
	exec_args[3] = fd;
	ASSERT_EQ(0, box_start(b, kinds));
	for (i = 0; i < EXECS; i++)
		ASSERT_TRUE(read_byte(self->rounds[0], &c));
	EXPECT_EQ(0, box_fall(b));
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "--exec"))
		exec_round(argv[2], argv[3]);
	return test_harness_run(argc, argv);
}
