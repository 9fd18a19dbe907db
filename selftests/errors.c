// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel answers to those who want to be born into a PID namespace, or
 * to get there: each call, in each state that the namespace may be in, by each
 * kind of caller. One line per cell:
 *
 *	cell STATE CALLER CALL RESULT
 *
 * RESULT is "ok", the name of an errno, or "killed" where the caller did not
 * live to make the call. It is no test by itself: scripts/error_table.py compares the
 * tables of a kernel without and with the module.
 *
 *	errors [STATE...]
 */
#include <linux/capability.h>
#include <linux/const.h>
#include <linux/futex.h>
#include <sys/ioctl.h>

#include "pidns_fuse.h"

#ifndef CLONE_AUTOREAP
#define CLONE_AUTOREAP		_BITULL(34)
#define CLONE_NNP		_BITULL(35)
#define CLONE_PIDFD_AUTOKILL	_BITULL(36)
#endif

/* MAX_PID_NS_LEVEL of the kernel: the root namespace is level 0. */
#define DEEPEST		32
/* What pid_max of a namespace begins with (PID_MAX_LIMIT). */
#define PID_LIMIT	0x400000
/* The lowest that it can be set to (pid_max_min). */
#define PID_MAX_LEAST	301
/* Low enough to be free in any namespace but the root one. */
#define FREE_ABOVE	250
/* Said where the caller could not get ready: no call here fails so. */
#define NOT_READY	EXDEV

enum caller { ROOT, NOBODY, OWNER, RESTORER, MEMBER, CALLERS };

static const char * const callers[CALLERS] = {
	"root",		/* of the root user namespace */
	"nobody",	/* has no capability anywhere */
	"owner",	/* root of the user namespace that owns the PID namespace */
	"restorer",	/* has CAP_CHECKPOINT_RESTORE, and not CAP_SYS_ADMIN */
	"member",	/* lives in the PID namespace */
};

/* All that a caller has to know. */
struct place {
	struct box *b;
	enum caller caller;
	int only;	/* the one call to make, or -1 */
	int (*make)(struct place *p);	/* each call makes a namespace of its own */
	int nsfd;	/* the namespace, or -1 for the caller's own */
	int userfd;	/* the user namespace that owns it */
	int initfd;	/* pidfd of its init */
	int rootfd;	/* the root PID namespace */
	int level;	/* of the namespace */
	pid_t free;	/* a PID that is free in it */
	pid_t root_free, root_max;
	int good, full, gone;	/* cgroups */
};

/* The server's number in its namespace, and that of the zombie. */
enum { INIT = 1, SERVER, TAKEN };
/* PIDs to ask for that depend on the namespace. */
enum { FREE = -100, LAST, MAX };

struct call {
	const char *name;
	int (*fn)(const struct call *call, struct place *p);
	__u64 flags;
	int callers;	/* the set of those who make it */
	bool apart;	/* by a process of its own, as it changes the caller */
	pid_t tid[3];
	size_t size;
	int detail;
};

/* Ends a child that was born and reaps it: 0, or the errno of the failure. */
static int undo(long pid)
{
	int error = pid < 0 ? errno : 0;

	if (!pid)
		_exit(0);
	if (pid > 0)
		waitpid(pid, NULL, __WALL);
	return error;
}

static int result(int ret)
{
	return ret < 0 ? errno : 0;
}

/* --- The calls: fork and its kin */

static int do_fork(const struct call *call __maybe_unused, struct place *p __maybe_unused)
{
#ifdef __NR_fork
	return undo(syscall(__NR_fork));
#else
	return undo(syscall(__NR_clone, SIGCHLD, 0, 0, 0, 0));
#endif
}

static int do_vfork(const struct call *call __maybe_unused, struct place *p __maybe_unused)
{
	pid_t pid = vfork();

	if (!pid)
		_exit(0);
	return undo(pid);
}

static int do_clone(const struct call *call, struct place *p __maybe_unused)
{
	return undo(syscall(__NR_clone, call->flags, NULL, NULL, NULL, NULL));
}

static int at_once(void *arg __maybe_unused)
{
	return 0;
}

/* With memory in common, and thus on a stack of its own. */
static int do_clone_vm(const struct call *call, struct place *p __maybe_unused)
{
	static char stack[1 << 16] __attribute__((aligned(16)));
	int pid = clone(at_once, stack + sizeof(stack), call->flags, NULL);

	/* Nobody waits for a thread: it goes with the caller, at the latest. */
	return call->flags & CLONE_THREAD ? result(pid) : undo(pid);
}

enum { PLAIN, SHORT, LONG, NULL_ARGS, BAD_SIGNAL, BAD_CGROUP, HUGE_CGROUP, NO_CGROUP, FULL_CGROUP,
	GONE_CGROUP, GOOD_CGROUP, BAD_PIDFD, SAME_PIDFD, BAD_PIDFD_FULL_CGROUP, NULL_TID, NO_SIZE,
	BAD_TID, EACH_LEVEL, ONE_MORE_LEVEL, NPROC, NEW_TWICE, THEN_FORK,
	THERE, BACK, UP, BY_INIT, BY_SELF, BY_MOUNT };

static int do_clone3(const struct call *call, struct place *p)
{
	struct {
		struct clone_args args;
		__u64 more;
	} a = { .args = { .flags = call->flags } };
	size_t size = sizeof(a.args);
	pid_t tid[DEEPEST + 2];
	struct rlimit none = {};
	int fd = -1;
	size_t i;

	if (!(call->flags & (CLONE_PARENT | CLONE_THREAD | CLONE_AUTOREAP)))
		a.args.exit_signal = SIGCHLD;
	a.args.set_tid_size = call->size;
	switch (call->detail) {
	case EACH_LEVEL:
		a.args.set_tid_size = p->level + 1;
		break;
	case ONE_MORE_LEVEL:
		a.args.set_tid_size = p->level + 2;
		break;
	}
	for (i = 0; i < ARRAY_SIZE(tid); i++) {
		bool root = i == (size_t)p->level;

		tid[i] = i < call->size && i < ARRAY_SIZE(call->tid) ? call->tid[i] : FREE;
		if (tid[i] == FREE)
			tid[i] = root ? p->root_free : i ? FREE_ABOVE : p->free;
		else if (tid[i] == LAST)
			tid[i] = root ? p->root_free : PID_LIMIT - 1;
		else if (tid[i] == MAX)
			tid[i] = root ? p->root_max : PID_LIMIT;
	}
	if (a.args.set_tid_size || call->detail == NO_SIZE)
		a.args.set_tid = (uintptr_t)tid;

	switch (call->detail) {
	case SHORT:
		size = CLONE_ARGS_SIZE_VER0 - 1;
		break;
	case LONG:
		a.more = 1;
		size = sizeof(a);
		break;
	case BAD_SIGNAL:
		a.args.exit_signal = 0xff;
		break;
	case BAD_CGROUP:
		a.args.cgroup = 999;
		break;
	case HUGE_CGROUP:
		a.args.cgroup = -1;
		break;
	case NO_CGROUP:
		a.args.cgroup = p->rootfd;
		break;
	case GOOD_CGROUP:
		a.args.cgroup = p->good;
		break;
	case FULL_CGROUP:
	case BAD_PIDFD_FULL_CGROUP:
		a.args.cgroup = p->full;
		break;
	case GONE_CGROUP:
		a.args.cgroup = p->gone;
		break;
	case NULL_TID:
		a.args.set_tid = 0;
		break;
	case BAD_TID:
		a.args.set_tid = 8;
		break;
	case NPROC:
		if (setrlimit(RLIMIT_NPROC, &none))
			return NOT_READY;
		break;
	}
	if (call->flags & CLONE_PIDFD)
		a.args.pidfd = (uintptr_t)&fd;
	if (call->detail == BAD_PIDFD || call->detail == BAD_PIDFD_FULL_CGROUP)
		a.args.pidfd = 8;
	if (call->detail == SAME_PIDFD)
		a.args.parent_tid = a.args.pidfd;

	return undo(syscall(__NR_clone3, call->detail == NULL_ARGS ? NULL : &a, size));
}

/* --- The calls: unshare and setns */

static int do_unshare(const struct call *call, struct place *p __maybe_unused)
{
	int error = result(unshare(call->flags));

	if (!error && call->detail == NEW_TWICE)
		error = result(unshare(call->flags));
	if (!error && call->detail == THEN_FORK)
		error = undo(fork());
	return error;
}

static int do_setns(const struct call *call, struct place *p)
{
	char path[64];
	int fd = -1;

	switch (call->detail) {
	case THERE:
		fd = p->nsfd;
		break;
	case BACK:
		fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
		break;
	case UP:
		fd = p->rootfd;
		break;
	case BY_INIT:
		fd = p->initfd;
		break;
	case BY_SELF:
		fd = sys_pidfd_open(getpid());
		break;
	case BY_MOUNT:
		/* Where the caller's children would be born now, once more. */
		snprintf(path, sizeof(path), "/proc/%d/ns/pid_for_children", outer_pid());
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return errno;
		break;
	}
	return result(setns(fd, call->flags));
}

#define SOME	(_BITUL(ROOT) | _BITUL(MEMBER))
#define ALL	(_BITUL(CALLERS) - 1)
/* Those whom the capabilities make a difference to. */
#define RIGHTS	(ALL & ~_BITUL(RESTORER))

#define CLONE3(_name, _callers, ...) \
	{ .name = "fork." _name, .fn = do_clone3, .callers = _callers, __VA_ARGS__ }
#define SET_TID(_name, ...) \
	CLONE3("set_tid." _name, ALL, __VA_ARGS__)
#define UNSHARE(_name, _callers, ...) \
	{ .name = "unshare." _name, .fn = do_unshare, .callers = _callers, .apart = true, \
	  __VA_ARGS__ }
#define SETNS(_name, _flags, _detail) \
	{ .name = "setns." _name, .fn = do_setns, .callers = RIGHTS, .apart = true, \
	  .flags = _flags, .detail = _detail }

static const struct call calls[] = {
	{ .name = "fork.fork", .fn = do_fork, .callers = RIGHTS },
	{ .name = "fork.vfork", .fn = do_vfork, .callers = SOME },
	{ .name = "fork.clone", .fn = do_clone, .callers = SOME, .flags = SIGCHLD },
	{ .name = "fork.clone_newpid", .fn = do_clone, .callers = RIGHTS,
	  .flags = CLONE_NEWPID | SIGCHLD },
	{ .name = "fork.clone_parent", .fn = do_clone, .callers = SOME, .apart = true,
	  .flags = CLONE_PARENT | SIGCHLD },
	{ .name = "fork.clone_vm", .fn = do_clone_vm, .callers = SOME,
	  .flags = CLONE_VM | SIGCHLD },
	{ .name = "fork.thread", .fn = do_clone_vm, .callers = SOME, .apart = true,
	  .flags = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD },
	{ .name = "fork.thread_alone", .fn = do_clone, .callers = SOME, .flags = CLONE_THREAD },

	CLONE3("clone3", RIGHTS),
	CLONE3("short_args", SOME, .detail = SHORT),
	CLONE3("long_args", SOME, .detail = LONG),
	CLONE3("null_args", SOME, .detail = NULL_ARGS),
	CLONE3("bad_signal", SOME, .detail = BAD_SIGNAL),
	CLONE3("unknown_flag", SOME, .flags = _BITULL(60)),
	CLONE3("newpid", RIGHTS, .flags = CLONE_NEWPID),
	CLONE3("newpid_thread", SOME,
	       .flags = CLONE_NEWPID | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM),
	CLONE3("newpid_parent", SOME, .flags = CLONE_NEWPID | CLONE_PARENT, .apart = true),
	CLONE3("newuser", RIGHTS, .flags = CLONE_NEWUSER),
	CLONE3("newuser_newpid", RIGHTS, .flags = CLONE_NEWUSER | CLONE_NEWPID),
	CLONE3("autoreap", SOME, .flags = CLONE_AUTOREAP),
	CLONE3("autokill", RIGHTS, .flags = CLONE_AUTOREAP | CLONE_PIDFD | CLONE_PIDFD_AUTOKILL),
	CLONE3("nproc", RIGHTS, .detail = NPROC, .apart = true),
	CLONE3("nproc_set_tid_zero", RIGHTS, .detail = NPROC, .apart = true,
	       .tid = { 0 }, .size = 1),
	CLONE3("pidfd", SOME, .flags = CLONE_PIDFD),
	CLONE3("pidfd_bad_pointer", SOME, .flags = CLONE_PIDFD, .detail = BAD_PIDFD),
	CLONE3("pidfd_same_pointer", SOME, .flags = CLONE_PIDFD | CLONE_PARENT_SETTID,
	       .detail = SAME_PIDFD),
	CLONE3("cgroup", RIGHTS, .flags = CLONE_INTO_CGROUP, .detail = GOOD_CGROUP),
	CLONE3("cgroup_bad_fd", SOME, .flags = CLONE_INTO_CGROUP, .detail = BAD_CGROUP),
	CLONE3("cgroup_huge_fd", SOME, .flags = CLONE_INTO_CGROUP, .detail = HUGE_CGROUP),
	CLONE3("cgroup_other_fd", SOME, .flags = CLONE_INTO_CGROUP, .detail = NO_CGROUP),
	CLONE3("cgroup_full", SOME, .flags = CLONE_INTO_CGROUP, .detail = FULL_CGROUP),
	CLONE3("cgroup_gone", SOME, .flags = CLONE_INTO_CGROUP, .detail = GONE_CGROUP),
	CLONE3("cgroup_full_bad_pidfd", SOME, .flags = CLONE_INTO_CGROUP | CLONE_PIDFD,
	       .detail = BAD_PIDFD_FULL_CGROUP),
	CLONE3("cgroup_full_taken", SOME, .flags = CLONE_INTO_CGROUP, .detail = FULL_CGROUP,
	       .tid = { TAKEN }, .size = 1),

	SET_TID("free", .tid = { FREE }, .size = 1),
	SET_TID("last", .tid = { LAST }, .size = 1),
	SET_TID("one", .tid = { 1 }, .size = 1),
	SET_TID("taken", .tid = { TAKEN }, .size = 1),
	SET_TID("zero", .tid = { 0 }, .size = 1),
	SET_TID("negative", .tid = { -1 }, .size = 1),
	SET_TID("pid_max", .tid = { MAX }, .size = 1),
	SET_TID("beyond", .tid = { INT32_MAX }, .size = 1),
	SET_TID("two_free", .tid = { FREE, FREE }, .size = 2),
	SET_TID("one_free", .tid = { 1, FREE }, .size = 2),
	SET_TID("free_zero", .tid = { FREE, 0 }, .size = 2),
	SET_TID("free_pid_max", .tid = { FREE, MAX }, .size = 2),
	SET_TID("free_one", .tid = { FREE, 1 }, .size = 2),
	SET_TID("one_one", .tid = { 1, 1 }, .size = 2),
	SET_TID("taken_free", .tid = { TAKEN, FREE }, .size = 2),
	SET_TID("taken_zero", .tid = { TAKEN, 0 }, .size = 2),
	SET_TID("taken_one", .tid = { TAKEN, 1 }, .size = 2),
	SET_TID("zero_one", .tid = { 0, 1 }, .size = 2),
	SET_TID("free_free_one", .tid = { FREE, FREE, 1 }, .size = 3),
	SET_TID("free_free_zero", .tid = { FREE, FREE, 0 }, .size = 3),
	SET_TID("each_level", .detail = EACH_LEVEL),
	SET_TID("one_level_more", .detail = ONE_MORE_LEVEL),
	SET_TID("32_levels", .tid = { FREE, FREE, FREE }, .size = DEEPEST),
	SET_TID("33_levels", .tid = { FREE, FREE, FREE }, .size = DEEPEST + 1),
	SET_TID("null", .size = 1, .detail = NULL_TID),
	SET_TID("no_size", .detail = NO_SIZE),
	SET_TID("bad_pointer", .size = 1, .detail = BAD_TID),
	SET_TID("newpid_one", .flags = CLONE_NEWPID, .tid = { 1 }, .size = 1),
	SET_TID("newpid_free", .flags = CLONE_NEWPID, .tid = { FREE }, .size = 1),

	UNSHARE("newpid", RIGHTS, .flags = CLONE_NEWPID),
	UNSHARE("newpid_twice", RIGHTS, .flags = CLONE_NEWPID, .detail = NEW_TWICE),
	UNSHARE("newpid_fork", RIGHTS, .flags = CLONE_NEWPID, .detail = THEN_FORK),
	UNSHARE("newuser_newpid", RIGHTS, .flags = CLONE_NEWUSER | CLONE_NEWPID),
	UNSHARE("newns", RIGHTS, .flags = CLONE_NEWNS),
	UNSHARE("newns_fork", RIGHTS, .flags = CLONE_NEWNS, .detail = THEN_FORK),
	UNSHARE("thread_vm", SOME, .flags = CLONE_THREAD | CLONE_VM),
	UNSHARE("sighand", SOME, .flags = CLONE_SIGHAND),
	UNSHARE("files", SOME, .flags = CLONE_FILES),
	UNSHARE("unknown", SOME, .flags = CLONE_PARENT),

	SETNS("there", CLONE_NEWPID, THERE),
	SETNS("back", CLONE_NEWPID, BACK),
	SETNS("up", CLONE_NEWPID, UP),
	SETNS("other_type", CLONE_NEWNET, THERE),
	SETNS("by_init", CLONE_NEWPID, BY_INIT),
	SETNS("by_self", CLONE_NEWPID, BY_SELF),
	SETNS("by_mount", CLONE_NEWPID, BY_MOUNT),
};

/* --- The callers */

struct answer {
	int call;
	int error;
};

static void say(int fd, int call, int error)
{
	struct answer a = { .call = call, .error = error };

	if (write(fd, &a, sizeof(a)) != sizeof(a))
		_exit(96);
}

static int set_caps(__u64 caps)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = caps, .permitted = caps },
		{ .effective = caps >> 32, .permitted = caps >> 32 },
	};

	return syscall(__NR_capset, &header, data);
}

/* The caller goes to the namespace, or makes one. */
static void go_there(struct place *p)
{
	int ret = 0;

	if (p->caller == MEMBER)
		return;
	if (p->caller == OWNER)
		ret = p->userfd < 0 ? unshare(CLONE_NEWUSER) : setns(p->userfd, CLONE_NEWUSER);
	if (!ret && p->make)
		ret = p->make(p);
	else if (!ret && p->nsfd >= 0)
		ret = enter(p->nsfd);
	if (!ret && p->caller == NOBODY)
		ret = setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534);
	if (!ret && p->caller == RESTORER)
		ret = set_caps(_BITULL(CAP_CHECKPOINT_RESTORE));
	if (ret) {
		fprintf(stderr, "# a %s does not get there: %m\n", callers[p->caller]);
		_exit(95);
	}
}

static bool made_by(const struct call *call, const struct place *p)
{
	return (call->callers & _BITUL(p->caller)) && (p->only < 0 || p->only == call - calls);
}

/* Lets a process of its own make the call. */
static void make_call_apart(struct place *p, int i, int fd)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		go_there(p);
		say(fd, i, calls[i].fn(&calls[i], p));
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || WEXITSTATUS(status))
		_exit(94);
	/* Those born by CLONE_PARENT are ours too. */
	while (waitpid(-1, NULL, __WALL) > 0)
		;
}

/* Makes all the calls, and says what came of them. */
static void make_calls(struct place *p, int fd)
{
	bool apart[ARRAY_SIZE(calls)];
	size_t i;

	/* First those, as later on no child may be born to where they start. */
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		apart[i] = calls[i].apart || p->make;
		if (apart[i] && made_by(&calls[i], p))
			make_call_apart(p, i, fd);
	}
	if (!p->make)
		go_there(p);
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		if (!apart[i] && made_by(&calls[i], p))
			say(fd, i, calls[i].fn(&calls[i], p));
}

/* --- The states */

enum hold { ALIVE, EXITING, LEADER_GONE, EARLY, DYING, ZOMBIE, DEAD };

struct state {
	const char *name;
	enum hold hold;		/* how far init is */
	int depth;		/* levels below the root that have an init */
	bool above;		/* it is the outermost that dies, not the innermost */
	bool unborn;		/* the namespace is one without init, below them all */
	bool full;		/* the outermost has run out of PIDs */
	int callers;
	int (*make)(struct place *p);
	bool brief;		/* made anew for each call, and so for a few only */
};

/* What the inits need to know beside that. */
struct plan {
	const struct state *state;
	struct place *p;
	int file;	/* on the FUSE file system */
	int ask[2];	/* to the server: make the calls */
	int answers[2];
	pid_t inner;	/* the innermost init and its namespace */
	int server;	/* pidfd */
};

static bool has_server(const struct state *state)
{
	return state->callers & _BITUL(MEMBER);
}

/* A member that makes the calls when it is told to, as a caller of its own. */
static void serve(struct plan *plan)
{
	struct place p = *plan->p;
	char c;

	announce(p.b, "server");
	if (read(plan->ask[0], &c, 1) != 1)
		_exit(93);
	p.caller = MEMBER;
	p.initfd = sys_pidfd_open(INIT);
	p.nsfd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	make_calls(&p, plan->answers[1]);
	_exit(0);
}

/* Makes a namespace without init, and stays until it is told to go. */
static void serve_unborn(struct plan *plan)
{
	if (unshare(CLONE_NEWPID))
		_exit(92);
	announce(plan->p->b, "unborn");
	forever();
}

static void *stay(void *arg)
{
	announce(arg, READY);
	forever();
	return NULL;
}

static void write_sysctl(const char *path, int value)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", value);
	if (write_at(AT_FDCWD, path, text)) {
		fprintf(stderr, "# %s: %m\n", path);
		_exit(91);
	}
}

/* All the inits, each of which makes the next, and the innermost the others. */
static void inits(struct box *b, void *arg)
{
	struct plan *plan = arg;
	const struct state *state = plan->state;
	pthread_t thread;
	int level = 1;

	while (level < state->depth) {
		/* The inner one is reaped, if it comes to that. */
		signal(SIGCHLD, state->hold == DEAD ? SIG_IGN : SIG_DFL);
		if (unshare(CLONE_NEWPID))
			_exit(90);
		if (fork())
			break;
		level++;
	}
	if (level == state->depth) {
		if (has_server(state) && !fork())
			serve(plan);
		if (state->unborn && !fork())
			serve_unborn(plan);
	}
	if (level == 1 && state->full)
		write_sysctl("/proc/sys/kernel/pid_max", PID_MAX_LEAST);
	if (level == 1 && state->hold == EARLY)
		fuse_submit(plan->file);
	if (level == state->depth && state->hold == LEADER_GONE) {
		pthread_create(&thread, NULL, stay, b);
		syscall(__NR_exit, 0);
	}
	announce(b, level == state->depth ? "inner" : READY);
	if (level == 1 && state->full) {
		await_order(b);
		/* The last of all has been given out: none below RESERVED_PIDS. */
		write_sysctl("/proc/sys/kernel/ns_last_pid", PID_MAX_LEAST - 1);
		announce(b, READY);
	}
	forever();
}

static int find(struct box *b, const char *what)
{
	int i;

	for (i = 0; i < b->nr; i++)
		if (!strcmp(b->m[i].what, what))
			return i;
	return -1;
}

/* A child of ours in @nsfd that dies and is not reaped, with a PID or any. */
static int leave_zombie(struct box *b, int nsfd, pid_t tid)
{
	struct clone_args args = {
		.flags = CLONE_PIDFD,
		.exit_signal = SIGCHLD,
		.set_tid = tid ? (uintptr_t)&tid : 0,
		.set_tid_size = !!tid,
	};
	int fd = -1;
	pid_t pid;

	args.pidfd = (uintptr_t)&fd;
	if (enter(nsfd))
		return -1;
	pid = syscall(__NR_clone3, &args, sizeof(args));
	if (!pid)
		_exit(0);
	if (leave() || pid < 0 || box_add(b, pid, fd, "zombie", true))
		return -1;
	return readable(fd, patience_ms) ? 0 : -1;
}

static bool wait_in(pid_t pid, const char *fn)
{
	long long end = now_ms() + patience_ms;

	/* Nothing but looking tells that it is there. */
	while (!sleeps_in(pid, fn)) {
		if (now_ms() > end)
			return false;
		sched_yield();
	}
	return true;
}

/* An init below one that dies either lives on or comes to its own end. */
static bool settles(pid_t pid)
{
	long long end = now_ms() + patience_ms;

	while (!left_alone(pid) && !sleeps_in(pid, "exit_aio") &&
	       !sleeps_in(pid, "zap_pid_ns_processes")) {
		if (now_ms() > end)
			return false;
		sched_yield();
	}
	return true;
}

static bool wait_gone(int pidfd)
{
	long long end = now_ms() + patience_ms;

	while (!sys_pidfd_signal(pidfd, 0) || errno != ESRCH) {
		if (now_ms() > end)
			return false;
		sched_yield();
	}
	return true;
}

/* Brings the init that is to die to where it is to be. */
static int bring(struct plan *plan)
{
	const struct state *state = plan->state;
	struct box *b = plan->p->b;
	pid_t victim = state->above ? b->init : plan->inner;
	int fd = victim == b->init ? b->initfd : plan->p->initfd;
	siginfo_t si;
	int status;

	if (state->hold == ALIVE)
		return 0;
	if (state->hold == LEADER_GONE) {
		long long end = now_ms() + patience_ms;

		while (task_state(victim) != 'Z')
			if (now_ms() > end)
				return -1;
		return 0;
	}
	if (state->hold == EXITING &&
	    ptrace(PTRACE_SEIZE, victim, NULL, PTRACE_O_TRACEEXIT))
		return -1;
	/* One that lives below a dying one, and is told to die, stays that long. */
	if (state->above && state->hold == DYING && !state->unborn &&
	    ptrace(PTRACE_SEIZE, plan->inner, NULL, PTRACE_O_TRACEEXIT))
		return -1;
	if (kill(victim, SIGKILL))
		return -1;
	switch (state->hold) {
	case EXITING:
		return waitpid(victim, &status, __WALL) == victim && WIFSTOPPED(status) ? 0 : -1;
	case EARLY:
		return wait_in(victim, "exit_aio") && settles(plan->inner) ? 0 : -1;
	case DYING:
		return wait_in(victim, "zap_pid_ns_processes") ? 0 : -1;
	case ZOMBIE:
		return waitid(P_PIDFD, fd, &si, WEXITED | WNOWAIT);
	default:
		return victim == b->init ? box_wait_init(b) : wait_gone(fd) ? 0 : -1;
	}
}

static int open_cgroups(struct box *b, struct place *p)
{
	int dir = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0 || write_at(dir, "../cgroup.subtree_control", "+pids") ||
	    write_at(dir, "cgroup.subtree_control", "+pids") ||
	    mkdirat(dir, "full", 0755) || mkdirat(dir, "gone", 0755)) {
		fprintf(stderr, "# %s: %m\n", b->dir);
		return -1;
	}
	p->good = b->out;
	p->full = openat(dir, "full", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p->gone = openat(dir, "gone", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->full < 0 || p->gone < 0 || write_at(p->full, "pids.max", "0") ||
	    unlinkat(dir, "gone", AT_REMOVEDIR))
		return -1;
	close(dir);
	return 0;
}

static int make_state(struct plan *plan)
{
	const struct state *state = plan->state;
	struct place *p = plan->p;
	struct box *b = p->b;
	char path[64], number[32];
	int mnt, i, expected;

	p->nsfd = -1;
	p->userfd = -1;
	p->initfd = -1;
	p->make = state->make;
	p->rootfd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	p->level = state->depth + state->unborn;
	p->free = state->full ? FREE_ABOVE : 1 << 20;
	if (read_file("/proc/sys/kernel/pid_max", number, sizeof(number)) <= 0)
		return -1;
	p->root_max = atoi(number);
	for (p->root_free = p->root_max - 1; !kill(p->root_free, 0); p->root_free--)
		;
	if (open_cgroups(b, p))
		return -1;
	if (!state->depth) {
		p->initfd = sys_pidfd_open(INIT);
		return 0;
	}

	expected = state->depth + has_server(state) + state->unborn;
	if (state->hold == EARLY) {
		mnt = fuse_outside(b);
		/* Where the file is; init cannot go there, as it owns nothing there. */
		if (mnt < 0 || setns(mnt, CLONE_NEWNS))
			return -1;
		plan->file = open(FUSE_FILE, O_RDONLY | O_DIRECT);
		if (plan->file < 0)
			return -1;
		expected++;
	}
	if (pipe2(plan->ask, O_CLOEXEC) || pipe2(plan->answers, O_CLOEXEC) ||
	    box_spawn(b, CLONE_NEWUSER, inits, plan) || box_collect(b, expected))
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", b->init);
	p->userfd = open(path, O_RDONLY | O_CLOEXEC);
	i = find(b, "server");
	plan->server = i < 0 ? -1 : b->m[i].fd;
	i = find(b, "inner");
	plan->inner = i < 0 ? b->init : b->m[i].pid;
	p->initfd = i < 0 ? b->initfd : b->m[i].fd;
	p->nsfd = open_pidns(plan->inner);
	/* The second to be born, or the third; but then there is no server. */
	for (i = SERVER; i <= TAKEN && state->hold != ZOMBIE && state->hold != DEAD; i++)
		if ((i == TAKEN || !has_server(state)) && leave_zombie(b, p->nsfd, 0))
			return -1;
	if (state->unborn) {
		i = find(b, "unborn");
		snprintf(path, sizeof(path), "/proc/%d/ns/pid_for_children", b->m[i].pid);
		p->nsfd = open(path, O_RDONLY | O_CLOEXEC);
		if (kill(b->m[i].pid, SIGKILL) || !readable(b->m[i].fd, patience_ms))
			return -1;
	}
	if (state->full) {
		if (leave_zombie(b, b->nsfd, PID_MAX_LEAST - 1))
			return -1;
		order(b, 'x');
		if (box_collect(b, 1))
			return -1;
	}
	if (p->nsfd < 0 || p->userfd < 0)
		return -1;
	return bring(plan);
}

static int unmake_state(struct plan *plan)
{
	struct box *b = plan->p->b;

	if (plan->inner)
		ptrace(PTRACE_DETACH, plan->inner, NULL, NULL);
	unlinkat(plan->p->full, "../full", AT_REMOVEDIR);
	return plan->state->hold == EARLY ? fuse_box_close(b) : box_close(b);
}

/* A namespace that the caller itself makes, and that has no init. */
static int make_unborn(struct place *p)
{
	if (unshare(CLONE_NEWPID))
		return -1;
	p->nsfd = open("/proc/self/ns/pid_for_children", O_RDONLY | O_CLOEXEC);
	return p->nsfd < 0 ? -1 : 0;
}

/* The same, after a first fork that failed when it had its PID. */
static int make_unborn_again(struct place *p)
{
	struct clone_args args = {
		.flags = CLONE_PIDFD, .exit_signal = SIGCHLD, .pidfd = 8,
	};

	if (make_unborn(p))
		return -1;
	return undo(syscall(__NR_clone3, &args, sizeof(args))) == EFAULT ? 0 : -1;
}

#define OUTSIDE	(ALL & ~_BITUL(MEMBER))
#define JUST_ROOT	_BITUL(ROOT)

static const struct state states[] = {
	{ "root", .callers = OUTSIDE & ~_BITUL(OWNER) },
	{ "unborn", .callers = OUTSIDE, .make = make_unborn },
	{ "unborn_again", .callers = JUST_ROOT, .make = make_unborn_again },
	{ "alive", ALIVE, 1, .callers = ALL },
	{ "exiting", EXITING, 1, .callers = SOME },
	{ "leader_gone", LEADER_GONE, 1, .callers = SOME },
	{ "full", ALIVE, 1, .full = true, .callers = JUST_ROOT },
	{ "alive_nested", ALIVE, 2, .callers = ALL },
	{ "alive_deepest", ALIVE, DEEPEST, .callers = SOME },
	{ "alive_below_full", ALIVE, 2, .full = true, .callers = JUST_ROOT },

	{ "early", EARLY, 1, .callers = ALL },
	{ "below_early", EARLY, 2, .above = true, .callers = SOME },
	{ "unborn_below_early", EARLY, 1, .above = true, .unborn = true, .callers = JUST_ROOT,
	  .brief = true },

	{ "dying", DYING, 1, .callers = ALL },
	{ "dying_full", DYING, 1, .full = true, .callers = JUST_ROOT },
	{ "dying_nested", DYING, 2, .callers = ALL },
	{ "dying_deepest", DYING, DEEPEST, .callers = SOME },
	{ "dying_below_full", DYING, 2, .full = true, .callers = JUST_ROOT },
	{ "below_dying", DYING, 2, .above = true, .callers = SOME },
	{ "zombie", ZOMBIE, 1, .callers = OUTSIDE },
	{ "dead", DEAD, 1, .callers = OUTSIDE },
	{ "dead_nested", DEAD, 2, .callers = OUTSIDE },
	{ "unborn_below_dead", DEAD, 1, .above = true, .unborn = true, .callers = OUTSIDE },
};

/* --- The table */

static void print_cell(const struct state *state, enum caller caller, int call, const char *what)
{
	printf("cell %s %s %s %s\n", state->name, callers[caller], calls[call].name, what);
}

static const char *error_name(int error)
{
	return error ? strerrorname_np(error) : "ok";
}

/* Lets one kind of caller make the calls, and prints what it says. */
static int fill(struct plan *plan, enum caller caller)
{
	bool answered[ARRAY_SIZE(calls)] = {};
	struct place *p = plan->p;
	struct answer a;
	siginfo_t si = {};
	bool ended;
	pid_t pid = 0;
	size_t i;
	int fd = -1;

	p->caller = caller;
	if (caller == MEMBER) {
		fd = plan->server;
		if (write(plan->ask[1], "x", 1) != 1)
			return -1;
	} else {
		pid = fork_into(p->b->out, 0, &fd);
		if (!pid) {
			make_calls(p, plan->answers[1]);
			_exit(0);
		}
		if (pid < 0)
			return -1;
	}
	do {
		struct pollfd poll_fds[] = {
			{ .fd = plan->answers[0], .events = POLLIN },
			{ .fd = fd, .events = POLLIN },
		};

		if (poll(poll_fds, 2, patience_ms) <= 0) {
			fprintf(stderr, "# %s: a %s does not answer\n", plan->state->name,
				callers[caller]);
			return -1;
		}
		/* What it has said it said before it ended. */
		ended = poll_fds[1].revents;
		while (readable(plan->answers[0], 0) &&
		       read(plan->answers[0], &a, sizeof(a)) == sizeof(a)) {
			answered[a.call] = true;
			print_cell(plan->state, caller, a.call, error_name(a.error));
		}
	} while (!ended);
	if (pid && (waitid(P_PID, pid, &si, WEXITED) || si.si_status)) {
		fprintf(stderr, "# %s: a %s came to a bad end\n", plan->state->name,
			callers[caller]);
		return -1;
	}
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		if (!answered[i] && made_by(&calls[i], p))
			print_cell(plan->state, caller, i, "killed");
	return 0;
}

/* One state, with all callers; in a process of its own. */
static int keep(const struct state *state, int only)
{
	struct box box;
	struct place p = { .b = &box, .only = only };
	struct plan plan = { .state = state, .p = &p };
	enum caller caller;
	int ret;

	if (box_open(&box))
		return 1;
	ret = make_state(&plan);
	if (ret)
		fprintf(stderr, "# %s: could not be made\n", state->name);
	else if (!state->depth)
		ret = pipe2(plan.answers, O_CLOEXEC);
	for (caller = 0; caller < CALLERS && !ret; caller++)
		if (state->callers & _BITUL(caller))
			ret = fill(&plan, caller);
	if (unmake_state(&plan))
		ret = -1;
	return ret ? 1 : 0;
}

static int run(const struct state *state, int only)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		status = keep(state, only);
		fflush(stdout);
		_exit(status);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status) {
		fprintf(stderr, "# %s: incomplete\n", state->name);
		return 1;
	}
	return 0;
}

static bool is_brief(const struct call *call)
{
	static const char * const names[] = {
		"fork.fork", "fork.clone_vm", "fork.clone3", "fork.pidfd_bad_pointer",
		"fork.set_tid.free", "fork.set_tid.one", "fork.set_tid.one_one",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(call->name, names[i]))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	size_t i, j;
	int ret = 0, k;

	/* A line is written when it is whole, whoever writes it. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 0; i < ARRAY_SIZE(states); i++) {
		const struct state *state = &states[i];

		for (k = 1; k < argc && strcmp(argv[k], state->name); k++)
			;
		if (argc > 1 && k == argc)
			continue;
		if (!state->brief) {
			ret |= run(state, -1);
			continue;
		}
		for (j = 0; j < ARRAY_SIZE(calls); j++)
			if (is_brief(&calls[j]))
				ret |= run(state, j);
	}
	return ret;
}
