/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of the allocation guard share: forks that may be refused, and
 * those who try them.
 *
 * On a kernel without a guard a fork into a dead namespace succeeds. Whoever
 * provokes it lets that child exit, and reaps it, before anything else: with
 * two processes in a namespace whose init has been reaped, such a kernel
 * follows a dangling pointer.
 */
#ifndef __PIDNS_WAYS_H
#define __PIDNS_WAYS_H

#include "pidns_test.h"

/* What no test expects as an errno: it could not be tried. */
#define NOT_TRIED	200

/* Ends and reaps a child that should not have been; keeps errno. */
static inline pid_t undo(pid_t pid)
{
	int saved = errno;

	if (!pid)
		_exit(0);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	errno = saved;
	return pid;
}

/* What comes of a fork: 0, or its errno. */
static inline int outcome(pid_t pid)
{
	return undo(pid) > 0 ? 0 : errno;
}

static inline pid_t sys_clone3(struct clone_args *args)
{
	return syscall(__NR_clone3, args, sizeof(*args));
}

static inline pid_t fork_with(__u64 flags)
{
	struct clone_args args = { .flags = flags, .exit_signal = SIGCHLD };

	return sys_clone3(&args);
}

/* A fork that asks for certain PIDs, on one level and those above it. */
static inline pid_t fork_as(const pid_t *tid, size_t levels)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)tid,
		.set_tid_size = levels,
	};

	return sys_clone3(&args);
}

/* unshare, fork, and init exits: a zombie that its parent has not waited for. */
static inline pid_t zombie_init(void)
{
	siginfo_t si = {};
	pid_t init;

	if (unshare(CLONE_NEWPID))
		return -1;
	init = fork();
	if (!init)
		_exit(0);
	return init > 0 && !waitid(P_PID, init, &si, WEXITED | WNOWAIT) ? init : -1;
}

/* And reaped: what the caller forks next is to be refused. */
static inline int caller_of_dead_ns(void)
{
	pid_t init = zombie_init();

	return init > 0 && waitpid(init, NULL, 0) == init ? 0 : -1;
}

/*
 * The life of the namespace that the caller's children are born in and that has
 * no init yet. Returns what comes of a fork when it is over.
 */
static inline int live_and_die(void)
{
	int life[2], status = -1, alive;
	pid_t init;
	char c;

	if (pipe2(life, O_CLOEXEC))
		return NOT_TRIED;
	init = fork();
	if (!init) {
		close(life[1]);
		_exit(getpid() == 1 && !read(life[0], &c, 1) ? 0 : 1);
	}
	close(life[0]);
	alive = init > 0 ? outcome(fork()) : errno;
	close(life[1]);
	if (alive || waitpid(init, &status, 0) != init || status) {
		fprintf(stderr, "# while init lives: %s, its status: %x\n",
			strerror(alive), status);
		return NOT_TRIED;
	}
	return outcome(fork());
}

static inline void init_waits(struct box *b, void *arg __maybe_unused)
{
	announce(b, READY);
	forever();
}

/* A namespace that holds its init and nothing else. */
static inline int box_start(struct box *b)
{
	return box_spawn(b, 0, init_waits, NULL) || box_collect(b, 1) ? -1 : 0;
}

static inline int box_kill_init(struct box *b)
{
	if (kill(b->init, SIGKILL))
		return -1;
	return box_wait_init(b);
}

/* Not for an init that has members: it may wait for them for ever. */
static inline int box_zombie_init(struct box *b)
{
	siginfo_t si;

	if (kill(b->init, SIGKILL))
		return -1;
	return waitid(P_PID, b->init, &si, WEXITED | WNOWAIT);
}

/*
 * For an init that works in rounds, and announces each: however slow the
 * machine is, it is not to be in one of them for long.
 */
static inline int box_wait_rounds(struct box *b)
{
	struct pollfd p[2] = {
		{ .fd = b->join[0], .events = POLLIN },
		{ .fd = b->initfd, .events = POLLIN },
	};
	struct announcement a;

	while (poll(p, 2, patience_ms) > 0 && !p[1].revents)
		if (read(b->join[0], &a, sizeof(a)) != sizeof(a))
			return -1;
	return box_wait_init(b);
}

/* What @fn returns in a child of the caller's; 255 if it does not come to that. */
static inline int in_child(struct box *b, int (*fn)(struct box *b, void *arg),
			   void *arg)
{
	int status, fd = -1;
	pid_t pid;

	pid = fork_into(b->out, 0, &fd);
	if (!pid)
		_exit(fn(b, arg));
	close(fd);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 255;
	return WEXITSTATUS(status);
}

/* What comes of a fork into the namespace @arg points to the fd of. */
static inline int visit_fd(struct box *b __maybe_unused, void *arg)
{
	return enter(*(int *)arg) ? NOT_TRIED : outcome(fork());
}

/* And into that of the box. */
static inline int visit(struct box *b)
{
	return in_child(b, visit_fd, &b->nsfd);
}

/*
 * One outside that could fork into the namespace and does not, or who only
 * keeps an fd of it, which is then @fd in there. Nothing else of the namespace
 * stays open in it.
 */
static inline pid_t box_keeper(struct box *b, int fd, int *pidfd)
{
	pid_t pid = fork_into(b->out, 0, pidfd);

	if (!pid) {
		if (fd < 0 ? enter(b->nsfd) : dup2(b->nsfd, fd) < 0)
			_exit(1);
		close(b->nsfd);
		close(b->initfd);
		announce(b, READY);
		forever();
	}
	return pid > 0 && !box_collect(b, 1) ? pid : -1;
}

static inline int open_children(pid_t pid, pid_t tid)
{
	char path[80];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/ns/pid_for_children", pid, tid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

#endif /* __PIDNS_WAYS_H */
