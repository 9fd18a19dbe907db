// SPDX-License-Identifier: GPL-2.0
/*
 * Every way into a PID namespace: as long as init lives it is open, and when
 * init is dead whoever takes it gets ENOMEM, and nothing of the fork is left.
 */
#include <linux/io_uring.h>
#include <semaphore.h>
#include <spawn.h>
#include <sys/ioctl.h>

#include "pidns_ways.h"

#ifndef CLONE_AUTOREAP
#define CLONE_AUTOREAP	0x400000000ULL
#define CLONE_NNP	0x800000000ULL
#endif
#ifndef PIDFD_GET_PID_NAMESPACE
#define PIDFD_GET_PID_NAMESPACE			_IO(0xff, 5)
#define PIDFD_GET_PID_FOR_CHILDREN_NAMESPACE	_IO(0xff, 6)
#endif

#define NOBODY	65534

/* Doors: what can be opened as a file of the namespace. */
struct door {
	pid_t keeper;	/* outside, its children would be born in there */
	int keeperfd;
	struct file_handle *handle;
};

FIXTURE(door) {
	struct box box;
	struct door door;
};

FIXTURE_VARIANT(door) {
	int (*open)(struct box *b, struct door *d);
	int reaped;	/* why it cannot be opened any more when init is reaped */
};

/* Of init, alive or zombie. */
static int open_of_init(struct box *b, struct door *d __maybe_unused)
{
	return open_pidns(b->init);
}

FIXTURE_VARIANT_ADD(door, file_of_init) {
	.open = open_of_init, .reaped = ENOENT,
};

static int open_by_pidfd(struct box *b __maybe_unused, struct door *d)
{
	return ioctl(d->keeperfd, PIDFD_GET_PID_FOR_CHILDREN_NAMESPACE, 0);
}

FIXTURE_VARIANT_ADD(door, pidfd_of_keeper) {
	.open = open_by_pidfd,
};

/* Any file of nsfs stands for the file system. */
static int open_by_handle(struct box *b __maybe_unused, struct door *d)
{
	int nsfs = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	int fd = open_by_handle_at(nsfs, d->handle, O_RDONLY | O_CLOEXEC);

	close(nsfs);
	return fd;
}

FIXTURE_VARIANT_ADD(door, file_handle) {
	.open = open_by_handle,
};

FIXTURE_SETUP(door)
{
	struct door *d = &self->door;
	struct box *b = &self->box;
	int mount;

	ASSERT_EQ(0, box_open(b));
	ASSERT_EQ(0, box_start(b));
	d->keeper = box_keeper(b, -1, &d->keeperfd);
	ASSERT_GT(d->keeper, 0);
	d->handle = malloc(sizeof(*d->handle) + MAX_HANDLE_SZ);
	ASSERT_NE(NULL, d->handle);
	d->handle->handle_bytes = MAX_HANDLE_SZ;
	if (variant->open == open_by_handle &&
	    name_to_handle_at(b->nsfd, "", d->handle, &mount, AT_EMPTY_PATH))
		SKIP(return, "this kernel has no handles of namespaces");
	close(b->nsfd);
	b->nsfd = -1;
}

FIXTURE_TEARDOWN(door)
{
	close(self->door.keeperfd);
	free(self->door.handle);
	EXPECT_EQ(0, box_close(&self->box));
}

/*
 * I1 behind each door, whether init is a zombie or reaped. pidns_install()
 * (kernel/pid_namespace.c) lets one in, alloc_pid() (kernel/pid.c) refuses.
 */
TEST_F_TIMEOUT(door, shuts, TEST_SECONDS)
{
	struct door *d = &self->door;
	struct box *b = &self->box;
	int fd;

	fd = variant->open(b, d);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, in_child(b, visit_fd, &fd));
	close(fd);
	ASSERT_EQ(0, box_zombie_init(b));
	fd = variant->open(b, d);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(ENOMEM, in_child(b, visit_fd, &fd));
	close(fd);
	ASSERT_EQ(0, box_wait_init(b));
	fd = variant->open(b, d);
	if (variant->reaped) {
		EXPECT_EQ(-1, fd);
		EXPECT_EQ(variant->reaped, errno);
		return;
	}
	ASSERT_GE(fd, 0);
	EXPECT_EQ(ENOMEM, in_child(b, visit_fd, &fd));
	close(fd);
}

/* Calls: with what a fork may be done. */
typedef pid_t (*call_fn)(struct box *b);

FIXTURE(call) {
	struct box box;
	pid_t *made;	/* the child, as its maker sees it */
};

FIXTURE_VARIANT(call) {
	call_fn call;
	bool sibling;	/* the child is its maker's parent's */
	bool recent;	/* a kernel may not know it */
};

static char clone_stack[64 * 1024] __attribute__((aligned(16)));

static int clone_child(void *arg __maybe_unused)
{
	return 0;
}

/* Whoever shares its memory with the child gives it a stack. */
static pid_t clone_vm(__u64 flags, int *pidfd)
{
	return clone(clone_child, clone_stack + sizeof(clone_stack),
		     CLONE_VM | flags | SIGCHLD, NULL, pidfd, NULL, NULL);
}

/* With this call's own exit signal, and a pidfd if it is asked for. */
static pid_t clone3_plain(__u64 flags, int exit_signal)
{
	int pidfd = -1;
	struct clone_args args = {
		.flags = flags,
		.exit_signal = exit_signal,
		.pidfd = (uintptr_t)&pidfd,
	};
	pid_t pid = sys_clone3(&args);

	if (!pid)
		_exit(0);
	return pid;
}

static pid_t call_parent(struct box *b __maybe_unused)
{
	return clone3_plain(CLONE_PARENT, 0);
}

FIXTURE_VARIANT_ADD(call, parent) {
	.call = call_parent, .sibling = true,
};

static pid_t call_no_signal(struct box *b __maybe_unused)
{
	return clone3_plain(0, 0);
}

FIXTURE_VARIANT_ADD(call, no_signal) {
	.call = call_no_signal,
};

static pid_t call_vm(struct box *b __maybe_unused)
{
	return clone_vm(0, NULL);
}

FIXTURE_VARIANT_ADD(call, vm) {
	.call = call_vm,
};

/* As pidfd_spawn() does it. */
static pid_t call_vm_vfork_pidfd(struct box *b __maybe_unused)
{
	int pidfd = -1;

	return clone_vm(CLONE_VFORK | CLONE_PIDFD, &pidfd);
}

FIXTURE_VARIANT_ADD(call, vm_vfork_pidfd) {
	.call = call_vm_vfork_pidfd,
};

/* All that a thread shares, and yet a process. */
static pid_t call_shares_all(struct box *b __maybe_unused)
{
	return clone_vm(CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_SYSVSEM |
			CLONE_IO, NULL);
}

FIXTURE_VARIANT_ADD(call, shares_all) {
	.call = call_shares_all,
};

static pid_t call_spawn(struct box *b __maybe_unused)
{
	char * const argv[] = { "true", NULL };
	pid_t pid;

	errno = posix_spawn(&pid, "/bin/true", NULL, NULL, argv, NULL);
	return errno ? -1 : pid;
}

FIXTURE_VARIANT_ADD(call, spawn) {
	.call = call_spawn,
};

static pid_t call_into_cgroup(struct box *b)
{
	int pidfd = -1;
	pid_t pid = fork_into(b->in, 0, &pidfd);

	if (!pid)
		_exit(0);
	return pid;
}

FIXTURE_VARIANT_ADD(call, into_cgroup) {
	.call = call_into_cgroup,
};

/* Nobody waits for such a child: it is gone when it has exited. */
static pid_t call_autoreap(struct box *b __maybe_unused)
{
	return clone3_plain(CLONE_PIDFD | CLONE_AUTOREAP | CLONE_NNP, 0);
}

FIXTURE_VARIANT_ADD(call, autoreap) {
	.call = call_autoreap, .recent = true,
};

static pid_t call_new_namespaces(struct box *b __maybe_unused)
{
	return clone3_plain(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |
			    CLONE_NEWNET | CLONE_NEWCGROUP, SIGCHLD);
}

FIXTURE_VARIANT_ADD(call, new_namespaces) {
	.call = call_new_namespaces,
};

static pid_t call_new_user(struct box *b __maybe_unused)
{
	return clone3_plain(CLONE_NEWUSER, SIGCHLD);
}

FIXTURE_VARIANT_ADD(call, new_user) {
	.call = call_new_user,
};

/* A number of its own on two levels: the upper one was free a moment ago. */
static pid_t call_chosen_pids(struct box *b __maybe_unused)
{
	pid_t tid[2] = { 77 };
	pid_t pid;

	if (leave())
		return -1;
	tid[1] = undo(fork());
	if (enter(b->nsfd))
		return -1;
	pid = fork_as(tid, 2);
	if (!pid)
		_exit(getpid() != 77);
	return pid;
}

FIXTURE_VARIANT_ADD(call, chosen_pids) {
	.call = call_chosen_pids,
};

FIXTURE_SETUP(call)
{
	self->made = mmap(NULL, sizeof(*self->made), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->made);
	ASSERT_EQ(0, box_open(&self->box));
	ASSERT_EQ(0, box_start(&self->box));
}

FIXTURE_TEARDOWN(call)
{
	EXPECT_EQ(0, box_close(&self->box));
}

struct order {
	call_fn call;
	pid_t *made;
};

/* In a process of its own, which goes into the namespace and calls. */
static int make_call(struct box *b, void *arg)
{
	struct order *o = arg;
	int status = 0;
	pid_t pid;

	if (enter(b->nsfd))
		return NOT_TRIED;
	pid = o->call(b);
	if (pid < 0)
		return errno;
	*o->made = pid;
	/* Where there is nothing to wait for, its child is not its to reap. */
	if (waitpid(pid, &status, __WALL) < 0 && errno != ECHILD)
		return NOT_TRIED;
	return status ? NOT_TRIED : 0;
}

/*
 * I1 whatever the call: kernel_clone() (kernel/fork.c) is behind all of them,
 * and copy_process() asks alloc_pid() before it looks at most of the flags.
 */
TEST_F_TIMEOUT(call, refused, TEST_SECONDS)
{
	struct order o = { .call = variant->call, .made = self->made };
	struct box *b = &self->box;
	int ret, status = -1;

	ret = in_child(b, make_call, &o);
	if (ret == EINVAL && variant->recent)
		SKIP(return, "this kernel does not know the flags");
	ASSERT_EQ(0, ret);
	if (variant->sibling) {
		ASSERT_EQ(*o.made, waitpid(*o.made, &status, __WALL));
		ASSERT_EQ(0, status);
	}
	ASSERT_EQ(0, box_zombie_init(b));
	ASSERT_EQ(ENOMEM, in_child(b, make_call, &o));
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(ENOMEM, in_child(b, make_call, &o));
}

/* Ways that are like no other. */
FIXTURE(way_in) {
	struct box box;
};

FIXTURE_SETUP(way_in)
{
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(way_in)
{
	leave();
	EXPECT_EQ(0, box_close(&self->box));
}

/*
 * I1 for one that went in while init lived, by its pidfd, and forks when it is
 * dead. By then the pidfd leads nowhere: validate_nsset() in kernel/nsproxy.c
 * wants a task that has not given up its namespaces.
 */
TEST_F_TIMEOUT(way_in, entered_before_death, TEST_SECONDS)
{
	struct box *b = &self->box;
	int i;

	ASSERT_EQ(0, box_start(b));
	ASSERT_EQ(0, setns(b->initfd, CLONE_NEWPID));
	ASSERT_EQ(0, outcome(fork()));
	ASSERT_EQ(0, box_zombie_init(b));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(ENOMEM, outcome(fork()));
		EXPECT_EQ(-1, setns(b->initfd, CLONE_NEWPID));
		EXPECT_EQ(ESRCH, errno);
		/* It is still where it was. */
		EXPECT_EQ(ENOMEM, outcome(fork()));
		if (!i)
			ASSERT_EQ(0, box_wait_init(b));
	}
}

static void init_with_member(struct box *b, void *arg __maybe_unused)
{
	member(b, "member");
	forever();
}

static int visit_pidfd(struct box *b __maybe_unused, void *arg)
{
	if (setns(*(int *)arg, CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC))
		return NOT_TRIED;
	return outcome(fork());
}

/*
 * I1 by the pidfd of a member that has not given up its namespaces: a tracer
 * stops it on its way out (ptrace_event() in do_exit(), kernel/exit.c).
 * validate_nsset() takes the PID namespace of the task, and so does
 * pidfd_ioctl() in fs/pidfs.c.
 */
TEST_F_TIMEOUT(way_in, pidfd_of_held_member, TEST_SECONDS)
{
	struct box *b = &self->box;
	struct member *m = &b->m[0];
	int fd;

	ASSERT_EQ(0, box_spawn(b, CLONE_NEWUTS | CLONE_NEWIPC, init_with_member, NULL));
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(0, in_child(b, visit_pidfd, &m->fd));
	ASSERT_EQ(0, ptrace(PTRACE_SEIZE, m->pid, NULL, PTRACE_O_TRACEEXIT));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_wait_zap(b));
	ASSERT_FALSE(readable(m->fd, 0));
	ASSERT_EQ(ENOMEM, in_child(b, visit_pidfd, &m->fd));
	fd = ioctl(m->fd, PIDFD_GET_PID_NAMESPACE, 0);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(ENOMEM, in_child(b, visit_fd, &fd));
	close(fd);
}

static void init_of_two(struct box *b, void *arg __maybe_unused)
{
	if (unshare(CLONE_NEWPID))
		_exit(1);
	member(b, "inner init");
	forever();
}

/*
 * I1 from two levels up: what is dead is the lowest namespace, and the one
 * between goes on. alloc_pid() goes through all levels, from below.
 */
TEST_F_TIMEOUT(way_in, from_two_levels_up, TEST_SECONDS)
{
	struct box *b = &self->box;
	int inner;

	ASSERT_EQ(0, box_spawn(b, 0, init_of_two, NULL));
	ASSERT_EQ(0, box_collect(b, 1));
	inner = open_pidns(b->m[0].pid);
	ASSERT_GE(inner, 0);
	ASSERT_EQ(0, in_child(b, visit_fd, &inner));
	ASSERT_EQ(0, visit(b));
	ASSERT_EQ(0, sys_pidfd_signal(b->m[0].fd, SIGKILL));
	ASSERT_TRUE(readable(b->m[0].fd, patience_ms));
	ASSERT_EQ(ENOMEM, in_child(b, visit_fd, &inner));
	EXPECT_EQ(0, visit(b));
	EXPECT_FALSE(readable(b->initfd, 0));
	close(inner);
}

/*
 * From below the root: the one whose children go astray is in a namespace
 * itself, and does not suffer from what it has made.
 */
static int serve(void)
{
	int ret;

	if (unshare(CLONE_NEWPID))
		return NOT_TRIED;
	ret = live_and_die();
	if (leave() || outcome(fork()))
		return NOT_TRIED;
	return ret;
}

static void init_serves(struct box *b __maybe_unused, void *arg __maybe_unused)
{
	_exit(serve());
}

static void member_serves(struct box *b __maybe_unused, void *arg __maybe_unused)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(serve());
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		_exit(NOT_TRIED);
	_exit(WEXITSTATUS(status));
}

/* I1 for an init whose children go elsewhere, as it does for anyone. */
TEST_F_TIMEOUT(way_in, from_an_init, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, init_serves, NULL));
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(ENOMEM, WEXITSTATUS(b->status));
}

/* I1 for a member of a living namespace. */
TEST_F_TIMEOUT(way_in, from_a_member, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, member_serves, NULL));
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(ENOMEM, WEXITSTATUS(b->status));
}

/*
 * I1 is about where one's children go now: a dead namespace and a living one
 * in turn, by the same caller (switch_task_namespaces() in kernel/nsproxy.c).
 */
TEST_F_TIMEOUT(way_in, back_and_forth, TEST_SECONDS)
{
	struct box *b = &self->box;
	int dead, i;

	ASSERT_EQ(0, caller_of_dead_ns());
	dead = open_children(getpid(), getpid());
	ASSERT_GE(dead, 0);
	ASSERT_EQ(0, leave());
	ASSERT_EQ(0, box_start(b));
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, enter(b->nsfd));
		ASSERT_EQ(0, outcome(fork()));
		ASSERT_EQ(0, enter(dead));
		ASSERT_EQ(ENOMEM, outcome(fork()));
	}
	close(dead);
}

/* Has a namespace to have children in, and has none. */
static void unborn_maker(struct box *b)
{
	if (unshare(CLONE_NEWPID))
		_exit(1);
	announce(b, "maker");
	forever();
}

/*
 * A namespace that never had an init is not dead, though nobody is left of
 * those who made it: only an fd of it. It lives and dies as any other
 * (child_reaper in copy_process(), kernel/fork.c).
 */
TEST_F_TIMEOUT(way_in, never_had_an_init, TEST_SECONDS)
{
	struct box *b = &self->box;
	int fd = -1, nsfd;
	pid_t maker;

	maker = fork_into(b->out, 0, &fd);
	ASSERT_GE(maker, 0);
	if (!maker)
		unborn_maker(b);
	ASSERT_EQ(0, box_collect(b, 1));
	nsfd = open_children(maker, maker);
	if (nsfd < 0)
		SKIP(return, "this kernel does not open a namespace without init");
	ASSERT_EQ(0, kill(maker, SIGKILL));
	ASSERT_EQ(maker, waitpid(maker, NULL, 0));
	close(fd);
	ASSERT_EQ(0, enter(nsfd));
	EXPECT_EQ(ENOMEM, live_and_die());
	close(nsfd);
}

static void init_over_unborn(struct box *b, void *arg __maybe_unused)
{
	if (!fork())
		unborn_maker(b);
	forever();
}

/*
 * I1 below a dead namespace, in one that has no init: what is wrong with the
 * PIDs that are asked for comes first there too, and the first must be 1.
 */
TEST_F_TIMEOUT(way_in, choose_in_unborn_below_dead, TEST_SECONDS)
{
	const struct {
		size_t levels;
		pid_t tid[3];
		int error;
	} calls[] = {
		{ 1, { 42 }, EINVAL },
		{ 2, { 42, 42 }, EINVAL },
		{ 3, { 1, 42, 1 }, EEXIST },
		{ 1, { 1 }, ENOMEM },
		{ 2, { 1, 42 }, ENOMEM },
		/* The number of the dead init is free again. */
		{ 2, { 1, 1 }, ENOMEM },
	};
	struct box *b = &self->box;
	unsigned int i;
	int nsfd;

	ASSERT_EQ(0, box_spawn(b, 0, init_over_unborn, NULL));
	ASSERT_EQ(0, box_collect(b, 1));
	nsfd = open_children(b->m[0].pid, b->m[0].pid);
	if (nsfd < 0)
		SKIP(return, "this kernel does not open a namespace without init");
	ASSERT_EQ(0, kill(b->m[0].pid, SIGKILL));
	ASSERT_TRUE(readable(b->m[0].fd, patience_ms));
	ASSERT_EQ(0, box_kill_init(b));
	ASSERT_EQ(0, enter(nsfd));
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		ASSERT_EQ(calls[i].error, outcome(fork_as(calls[i].tid, calls[i].levels))) {
			TH_LOG("call %u", i);
		}
	}
	close(nsfd);
}

static void *thread_nop(void *arg)
{
	return arg;
}

static int try_thread(void)
{
	pthread_t t;
	int ret = pthread_create(&t, NULL, thread_nop, NULL);

	return ret ?: pthread_join(t, NULL);
}

/*
 * What a caller whose children are born elsewhere may not do, it may not do
 * whether they can still be born there or not: copy_pid_ns() and copy_process()
 * refuse it a PID namespace or a thread before a PID is asked for.
 */
static int cannot(void)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SQPOLL };

	if (!unshare(CLONE_NEWPID) || errno != EINVAL)
		return 1;
	if (!unshare(CLONE_NEWUSER | CLONE_NEWPID) || errno != EINVAL)
		return 2;
	if (outcome(fork_with(CLONE_NEWPID)) != EINVAL)
		return 3;
	if (outcome(fork_with(CLONE_NEWPID | CLONE_NEWUSER)) != EINVAL)
		return 4;
	/* Its thread in the kernel is one of the caller's. */
	if (syscall(__NR_io_uring_setup, 1, &params) >= 0 || errno != EINVAL)
		return 5;
	if (try_thread() != EINVAL)
		return 6;
	/* But it may do this. */
	return unshare(CLONE_NEWUTS) ? 7 : 0;
}

TEST_F_TIMEOUT(way_in, same_limits_alive_and_dead, TEST_SECONDS)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SQPOLL };
	struct box *b = &self->box;

	ASSERT_GE(syscall(__NR_io_uring_setup, 1, &params), 0);
	ASSERT_EQ(0, box_start(b));
	ASSERT_EQ(0, enter(b->nsfd));
	EXPECT_EQ(0, cannot());
	ASSERT_EQ(0, box_zombie_init(b));
	EXPECT_EQ(0, cannot());
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, cannot());
}

/* Threads: where children are born is each thread's own business. */
struct thread {
	sem_t go, done;
	int refused, left, thread;
};

static void *thread_serves(void *arg)
{
	struct thread *t = arg;

	t->refused = unshare(CLONE_NEWPID) ? NOT_TRIED : live_and_die();
	sem_post(&t->done);
	sem_wait(&t->go);
	t->left = leave() ?: outcome(fork());
	t->thread = try_thread();
	return NULL;
}

/*
 * I1 for a thread that did the unshare(), and not for its siblings: nsproxy is
 * one per task. They make threads and processes as ever; and so does the first
 * one when it has come back.
 */
TEST_F_TIMEOUT(way_in, one_thread_of_many, TEST_SECONDS)
{
	struct thread t = {};
	pthread_t id;

	sem_init(&t.go, 0, 0);
	sem_init(&t.done, 0, 0);
	ASSERT_EQ(0, pthread_create(&id, NULL, thread_serves, &t));
	sem_wait(&t.done);
	EXPECT_EQ(ENOMEM, t.refused);
	EXPECT_EQ(0, outcome(fork()));
	EXPECT_EQ(0, try_thread());
	sem_post(&t.go);
	ASSERT_EQ(0, pthread_join(id, NULL));
	EXPECT_EQ(0, t.left);
	EXPECT_EQ(0, t.thread);
}

/* A namespace whose first fork failed is not dead. */
FIXTURE(first_fork) {
	struct box box;
};

FIXTURE_VARIANT(first_fork) {
	pid_t (*fork)(struct box *b);
	int error;
};

/* Refused by a cgroup, after it has got its PID. */
static pid_t fork_over_pids_max(struct box *b)
{
	int fd = -1;

	return fork_into(b->in, 0, &fd);
}

FIXTURE_VARIANT_ADD(first_fork, pids_max) {
	.fork = fork_over_pids_max, .error = EAGAIN,
};

static pid_t fork_into_no_cgroup(struct box *b)
{
	int fd = -1;

	return fork_into(b->join[0], 0, &fd);
}

FIXTURE_VARIANT_ADD(first_fork, bad_cgroup) {
	.fork = fork_into_no_cgroup, .error = EBADF,
};

static pid_t fork_bad_pidfd(struct box *b)
{
	return fork_into(b->out, 0, (void *)8);
}

FIXTURE_VARIANT_ADD(first_fork, bad_pidfd) {
	.fork = fork_bad_pidfd, .error = EFAULT,
};

/* The first one has to be 1. */
static pid_t fork_as_other(struct box *b __maybe_unused)
{
	pid_t tid = 42;

	return fork_as(&tid, 1);
}

FIXTURE_VARIANT_ADD(first_fork, other_pid) {
	.fork = fork_as_other, .error = EINVAL,
};

static pid_t fork_as_taken(struct box *b __maybe_unused)
{
	pid_t tid[2] = { 1, getpid() };

	return fork_as(tid, 2);
}

FIXTURE_VARIANT_ADD(first_fork, taken_above) {
	.fork = fork_as_taken, .error = EEXIST,
};

/* As somebody who may have no process at all. */
static pid_t fork_over_nproc(struct box *b __maybe_unused)
{
	struct rlimit old, none = {};
	pid_t pid = -1;
	int saved;

	if (getrlimit(RLIMIT_NPROC, &old) || setrlimit(RLIMIT_NPROC, &none) ||
	    setresuid(NOBODY, NOBODY, 0))
		return -1;
	pid = undo(fork());
	saved = errno;
	if (seteuid(0) || setresuid(0, 0, 0) || setrlimit(RLIMIT_NPROC, &old))
		return -1;
	errno = saved;
	return pid;
}

FIXTURE_VARIANT_ADD(first_fork, nproc) {
	.fork = fork_over_nproc, .error = EAGAIN,
};

/* Lets the controller "pids" work in the cgroups of the box. */
static int box_count_pids(struct box *b)
{
	int dir = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int ret = write_at(dir, "../cgroup.subtree_control", "+pids") ||
		  write_at(dir, "cgroup.subtree_control", "+pids");

	close(dir);
	return ret ? -1 : 0;
}

FIXTURE_SETUP(first_fork)
{
	ASSERT_EQ(0, box_open(&self->box));
	ASSERT_EQ(0, box_count_pids(&self->box));
	ASSERT_EQ(0, write_at(self->box.in, "pids.max", "0"));
}

FIXTURE_TEARDOWN(first_fork)
{
	leave();
	EXPECT_EQ(0, box_close(&self->box));
}

/*
 * No child_reaper was set, or the PID was given back: alloc_pid() begins anew
 * ("For the case when the previous attempt to create init failed"). The next
 * fork makes the init; with its death the namespace is dead, and not before.
 */
TEST_F_TIMEOUT(first_fork, repeated, TEST_SECONDS)
{
	struct box *b = &self->box;
	int i;

	ASSERT_EQ(0, unshare(CLONE_NEWPID));
	for (i = 0; i < 3; i++)
		ASSERT_EQ(variant->error, outcome(variant->fork(b)));
	EXPECT_EQ(ENOMEM, live_and_die());
}

/* Without any privilege but in a user namespace of its own. */
FIXTURE(unprivileged) {
	struct box box;
};

FIXTURE_SETUP(unprivileged)
{
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(unprivileged)
{
	EXPECT_EQ(0, box_close(&self->box));
}

static int drop_privileges(void)
{
	return setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY);
}

static int unprivileged_serves(struct box *b __maybe_unused, void *arg __maybe_unused)
{
	if (drop_privileges() || unshare(CLONE_NEWUSER | CLONE_NEWPID))
		return NOT_TRIED;
	return live_and_die();
}

/* I1 does not depend on who owns the namespace: create_pid_namespace(). */
TEST_F_TIMEOUT(unprivileged, unshare, TEST_SECONDS)
{
	EXPECT_EQ(ENOMEM, in_child(&self->box, unprivileged_serves, NULL));
}

struct owned {
	size_t levels;	/* for how many to choose a PID */
	int alive;	/* what comes of a fork while init lives */
};

static int visit_owned(struct owned *o, int user, int pid)
{
	const pid_t tid[] = { 77, 77 };
	int status = -1;
	pid_t visitor = fork();

	if (!visitor) {
		if (setns(user, CLONE_NEWUSER) || enter(pid))
			_exit(NOT_TRIED);
		_exit(outcome(fork_as(o->levels ? tid : NULL, o->levels)));
	}
	waitpid(visitor, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : NOT_TRIED;
}

static int open_ns(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Nobody, with a user namespace and a PID namespace that it goes into. */
static int owner(struct box *b __maybe_unused, void *arg)
{
	struct owned *o = arg;
	int life[2], user, nsfd;
	pid_t init;
	char c;

	/* Dumpable, or the files in /proc would be root's. */
	if (drop_privileges() || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) ||
	    pipe2(life, O_CLOEXEC))
		return NOT_TRIED;
	init = fork_with(CLONE_NEWUSER | CLONE_NEWPID);
	if (!init) {
		close(life[1]);
		_exit(read(life[0], &c, 1));
	}
	user = open_ns(init, "user");
	nsfd = open_ns(init, "pid");
	if (visit_owned(o, user, nsfd) != o->alive)
		return NOT_TRIED;
	close(life[1]);
	if (waitpid(init, NULL, 0) != init)
		return NOT_TRIED;
	return visit_owned(o, user, nsfd);
}

/* I1 by setns of its owner, who is nobody outside. */
TEST_F_TIMEOUT(unprivileged, setns, TEST_SECONDS)
{
	struct owned plain = { .levels = 0 };

	EXPECT_EQ(ENOMEM, in_child(&self->box, owner, &plain));
}

/*
 * Its owner may choose PIDs in it and not above, dead or alive:
 * checkpoint_restore_ns_capable() in alloc_pid(), for each level.
 */
TEST_F_TIMEOUT(unprivileged, choose_pids, TEST_SECONDS)
{
	struct owned inside = { .levels = 1 };
	struct owned above = { .levels = 2, .alive = EPERM };

	EXPECT_EQ(ENOMEM, in_child(&self->box, owner, &inside));
	EXPECT_EQ(EPERM, in_child(&self->box, owner, &above));
}

/* What a refused fork leaves behind: nothing. */
FIXTURE(refused) {
	struct box box;
};

FIXTURE_SETUP(refused)
{
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(refused)
{
	leave();
	EXPECT_EQ(0, box_close(&self->box));
}

/* How many of @n forks are refused with ENOMEM, up to the first that is not. */
static int refusals(int n)
{
	int i = 0;

	while (i < n && outcome(fork()) == ENOMEM)
		i++;
	return i;
}

/* Errors that copy_process() finds before it asks for a PID stay what they are. */
TEST_F_TIMEOUT(refused, errors_before, TEST_SECONDS)
{
	static const struct {
		__u64 flags;
		int signal, error;
	} calls[] = {
		{ CLONE_THREAD, 0, EINVAL },
		{ CLONE_SIGHAND, SIGCHLD, EINVAL },
		{ CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, 0, EINVAL },
		{ CLONE_NEWNS | CLONE_FS, SIGCHLD, EINVAL },
		{ CLONE_NEWUSER | CLONE_FS, SIGCHLD, EINVAL },
		{ CLONE_NEWPID, SIGCHLD, EINVAL },
		{ CLONE_NEWIPC | CLONE_SYSVSEM, SIGCHLD, EINVAL },
		{ CLONE_PARENT, SIGCHLD, EINVAL },
		{ 0, 65, EINVAL },
	};
	unsigned int i;

	ASSERT_EQ(0, caller_of_dead_ns());
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		struct clone_args args = {
			.flags = calls[i].flags,
			.exit_signal = calls[i].signal,
		};

		EXPECT_EQ(calls[i].error, outcome(sys_clone3(&args))) {
			TH_LOG("flags %llx", (unsigned long long)args.flags);
		}
	}
	EXPECT_EQ(EAGAIN, outcome(fork_over_nproc(&self->box)));
	ASSERT_EQ(0, seteuid(NOBODY));
	EXPECT_EQ(EPERM, outcome(fork_with(CLONE_NEWUTS)));
	ASSERT_EQ(0, seteuid(0));
}

/* And those that it would find after it are not come to: it is ENOMEM. */
TEST_F_TIMEOUT(refused, errors_after, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_count_pids(b));
	ASSERT_EQ(0, write_at(b->in, "pids.max", "0"));
	ASSERT_EQ(0, caller_of_dead_ns());
	EXPECT_EQ(ENOMEM, outcome(fork_bad_pidfd(b)));
	EXPECT_EQ(ENOMEM, outcome(fork_into_no_cgroup(b)));
	EXPECT_EQ(ENOMEM, outcome(fork_over_pids_max(b)));
}

/*
 * No process is counted: dec_rlimit_ucounts() in copy_process(). If one were,
 * it would soon be EAGAIN.
 */
TEST_F_TIMEOUT(refused, not_counted_for_user, TEST_SECONDS)
{
	struct rlimit old, two = { .rlim_cur = 2, .rlim_max = 2 };
	int n, alive;

	ASSERT_EQ(0, caller_of_dead_ns());
	ASSERT_EQ(0, getrlimit(RLIMIT_NPROC, &old));
	ASSERT_EQ(0, setrlimit(RLIMIT_NPROC, &two));
	ASSERT_EQ(0, setresuid(NOBODY, NOBODY, 0));
	n = refusals(1000);
	ASSERT_EQ(0, seteuid(0));
	ASSERT_EQ(0, leave());
	ASSERT_EQ(0, seteuid(NOBODY));
	alive = outcome(fork());
	ASSERT_EQ(0, seteuid(0));
	ASSERT_EQ(0, setresuid(0, 0, 0));
	ASSERT_EQ(0, setrlimit(RLIMIT_NPROC, &old));
	EXPECT_EQ(1000, n);
	EXPECT_EQ(0, alive);
}

static int pids_current(struct box *b)
{
	char path[160], buf[32];

	snprintf(path, sizeof(path), "%s/out/pids.current", b->dir);
	return read_file(path, buf, sizeof(buf)) > 0 ? atoi(buf) : -1;
}

static int refused_in_cgroup(struct box *b, void *arg __maybe_unused)
{
	if (caller_of_dead_ns() || pids_current(b) != 1)
		return NOT_TRIED;
	if (refusals(200) != 200)
		return 1;
	if (pids_current(b) != 1)
		return 2;
	return leave() || outcome(fork()) ? 3 : 0;
}

/* Nor in a cgroup: cgroup_can_fork() comes after alloc_pid(). */
TEST_F_TIMEOUT(refused, not_counted_in_cgroup, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_count_pids(b));
	ASSERT_EQ(0, write_at(b->out, "pids.max", "2"));
	EXPECT_EQ(0, in_child(b, refused_in_cgroup, NULL));
}

/* With so few numbers that a leak of them would soon be EAGAIN. */
static void init_of_few(struct box *b, void *arg __maybe_unused)
{
	int i;

	if (write_at(AT_FDCWD, "/proc/sys/kernel/pid_max", "320") || caller_of_dead_ns())
		_exit(NOT_TRIED);
	for (i = 0; i < 8; i++) {
		if (refusals(50) != 50)
			_exit(1);
		announce(b, READY);
	}
	_exit(leave() || outcome(fork()) ? 2 : 0);
}

/* No number is kept in the namespaces above: out_free in alloc_pid(). */
TEST_F_TIMEOUT(refused, no_number_kept, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, init_of_few, NULL));
	ASSERT_EQ(0, box_wait_rounds(b));
	EXPECT_EQ(0, b->status);
}

static int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

/*
 * No pidfd, no number in memory: copy_process() and kernel_clone() store them
 * when there is a PID.
 */
TEST_F_TIMEOUT(refused, nothing_stored, TEST_SECONDS)
{
	int pidfd = -77, parent = -78, child = -79, before, next;
	struct clone_args args = {
		.flags = CLONE_PIDFD | CLONE_PARENT_SETTID |
			 CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,
		.exit_signal = SIGCHLD,
		.pidfd = (uintptr_t)&pidfd,
		.parent_tid = (uintptr_t)&parent,
		.child_tid = (uintptr_t)&child,
	};

	ASSERT_EQ(0, caller_of_dead_ns());
	next = dup(0);
	close(next);
	before = open_fds();
	ASSERT_EQ(ENOMEM, outcome(sys_clone3(&args)));
	EXPECT_EQ(-77, pidfd);
	EXPECT_EQ(-78, parent);
	EXPECT_EQ(-79, child);
	EXPECT_EQ(before, open_fds());
	EXPECT_EQ(next, dup(0));
	close(next);
}

static atomic_int signals, deaths;

static void count_signal(int sig)
{
	atomic_fetch_add(sig == SIGCHLD ? &deaths : &signals, 1);
}

/* Signals the whole group, which is what a fork in progress puts off. */
static void send_signals(struct box *b, int n)
{
	signal(SIGRTMIN, SIG_IGN);
	announce(b, READY);
	await_order(b);
	while (n--)
		if (kill(0, SIGRTMIN))
			_exit(1);
	_exit(0);
}

/*
 * No signal is lost or made up: "multiprocess" in copy_process(), which is left
 * at fork_out. And there is nothing to wait for.
 */
TEST_F_TIMEOUT(refused, signals_as_ever, TEST_SECONDS)
{
	struct sigaction act = { .sa_handler = count_signal, .sa_flags = SA_RESTART };
	const int n = 200;
	struct box *b = &self->box;
	long long end = now_ms() + 3 * patience_ms;
	int fd = -1, forks = 0, refused = 0, status = -1;
	sigset_t before = {}, after = {};
	pid_t sender;

	/* The harness is in the group too. */
	ASSERT_EQ(0, setpgid(0, 0));
	ASSERT_EQ(0, sigaction(SIGRTMIN, &act, NULL));
	sender = fork_into(b->out, 0, &fd);
	if (!sender)
		send_signals(b, n);
	ASSERT_GT(sender, 0);
	close(fd);
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(0, caller_of_dead_ns());
	ASSERT_EQ(0, sigprocmask(SIG_SETMASK, NULL, &before));
	order(b, 'x');
	do {
		forks++;
		refused += outcome(fork()) == ENOMEM;
	} while (refused == forks && atomic_load(&signals) < n && now_ms() < end);
	EXPECT_EQ(forks, refused);
	EXPECT_EQ(sender, waitpid(sender, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(n, atomic_load(&signals));

	ASSERT_EQ(0, sigaction(SIGCHLD, &act, NULL));
	EXPECT_EQ(100, refusals(100));
	EXPECT_EQ(0, atomic_load(&deaths));
	EXPECT_EQ(n, atomic_load(&signals));
	ASSERT_EQ(0, sigprocmask(SIG_SETMASK, NULL, &after));
	EXPECT_EQ(0, memcmp(&before, &after, sizeof(before)));
	EXPECT_EQ(-1, waitpid(-1, &status, __WALL | WNOHANG));
	EXPECT_EQ(ECHILD, errno);
}

static void forks_traced(struct box *b)
{
	pid_t pid;

	if (caller_of_dead_ns())
		_exit(NOT_TRIED);
	announce(b, READY);
	await_order(b);
	if (outcome(fork()) != ENOMEM || outcome(fork_with(0)) != ENOMEM)
		_exit(1);
	pid = vfork();
	if (!pid)
		_exit(0);
	_exit(outcome(pid));
}

/* A tracer is told of forks, and not of attempts: kernel_clone(). */
TEST_F_TIMEOUT(refused, tracer_not_told, TEST_SECONDS)
{
	struct box *b = &self->box;
	int fd = -1, status = -1;
	pid_t pid;

	pid = fork_into(b->out, 0, &fd);
	if (!pid)
		forks_traced(b);
	ASSERT_GT(pid, 0);
	close(fd);
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(0, ptrace(PTRACE_SEIZE, pid, NULL,
			    PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
			    PTRACE_O_TRACECLONE | PTRACE_O_TRACEVFORKDONE));
	order(b, 'x');
	ASSERT_EQ(pid, waitpid(pid, &status, __WALL));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(ENOMEM, WEXITSTATUS(status));
}

static int refused_with_namespaces(struct box *b __maybe_unused, void *arg __maybe_unused)
{
	int i;

	if (unshare(CLONE_NEWUSER) || caller_of_dead_ns() ||
	    write_at(AT_FDCWD, "/proc/sys/user/max_uts_namespaces", "1"))
		return NOT_TRIED;
	for (i = 0; i < 50; i++)
		if (outcome(fork_with(CLONE_NEWUTS)) != ENOMEM)
			return 1;
	/* One may be had, and one only. */
	return unshare(CLONE_NEWUTS) ? 2 : unshare(CLONE_NEWUTS) ? 0 : 3;
}

/* What copy_namespaces() has made by then is given back, with its count. */
TEST_F_TIMEOUT(refused, no_namespace_kept, TEST_SECONDS)
{
	EXPECT_EQ(0, in_child(&self->box, refused_with_namespaces, NULL));
}

TEST_HARNESS_MAIN
