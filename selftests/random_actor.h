/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The actors of a random program: processes and threads that do what they are
 * told, through a page that all of a worker's processes share.
 *
 * They are made to cost little. Most share the memory and the files of their
 * worker (CLONE_VM, CLONE_FILES), which makes a fork four times cheaper and hands
 * the pidfd of a child to the worker as it is born. So they may use nothing of
 * the C library that has a state, errno included: system calls are made here.
 *
 * Nobody waits for a while. An actor waits for an order on a futex; the worker
 * waits for the answer, or for the end of the actor, on an eventfd and a pidfd.
 */
#ifndef __RANDOM_ACTOR_H
#define __RANDOM_ACTOR_H

#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "pidns_test.h"

#define MAX_TASKS	40
#define MAX_NS		24
#define DIRECTOR	MAX_TASKS	/* the worker itself, as one of them */
#define STACK		8192

#ifndef __aligned
#define __aligned(n)	__attribute__((aligned(n)))
#endif

/* Where all of them see the shared memory, also after an exec. */
#define STAGE_ADDRESS	((void *)0x100000000000UL)
/* The argument that makes the program an actor. */
#define ACTOR_ARGUMENT	"--actor"

enum order {
	DO_SPAWN = 1,
	DO_STORM,
	DO_UNSHARE,
	DO_SETNS,
	DO_EXEC,
	DO_WAIT,
	DO_WAIT_PID,
	DO_SEIZE,
	DO_INTERRUPT,
	DO_RESUME,
	DO_DETACH,
	DO_SIGNAL,
	DO_EXIT,
	DO_EXIT_THREAD,
	DO_FAULT,
};

/* What an actor finds wrong in a storm of forks, in slot.wrong. */
enum wrong {
	WRONG_STATUS = 1,	/* a child that was to exit with a code has another status */
	WRONG_WAIT,		/* there is no child to wait for */
	WRONG_REVIVAL,		/* refused, and then not refused */
};

/* One actor: its orders, its answers, its stacks. */
struct slot {
	atomic_int posted;	/* a futex: goes up with each order */
	atomic_int done;	/* the last one that was carried out */
	atomic_int born;	/* it has run */
	atomic_int here;	/* a futex: it has not come far in do_exit() */
	enum order order;
	__u64 flags;
	int child, exit_signal;
	int fd;			/* a pidfd or a namespace */
	int cgroup;		/* a directory: that of the child, if not that of its parent */
	int arg, count;
	int births;		/* the namespace that children are born in */
	bool asks;		/* it shall find out its PID in the root namespace */
	long result;		/* or -errno */
	int status, wrong, refused;
	int pidfd;		/* of itself, as its parent got it */
	int pid;		/* in the namespace of the parent */
	int outer;		/* in the root namespace */
	unsigned char stack[STACK] __aligned(16);
	unsigned char storm_stack[STACK] __aligned(16);
};

/* What a worker and its actors share. */
struct stage {
	int bell;		/* an eventfd: somebody has answered */
	int memory, program;	/* files: this, and what to exec */
	atomic_int dead[MAX_NS];	/* waitpid(init) has returned, or could */
	atomic_int late;	/* how many ran for the first time after that */
	struct slot slot[MAX_TASKS + 1];
};

#define stage ((struct stage *)STAGE_ADDRESS)

#if defined(__x86_64__)

static inline long raw6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	register long r9 asm("r9") = f;
	long ret;

	asm volatile("syscall"
		     : "=a"(ret)
		     : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		     : "rcx", "r11", "memory");
	return ret;
}

/* clone3() whose child runs @fn on a stack of its own, and does not return. */
static inline long raw_clone(struct clone_args *args, void (*fn)(long arg), long arg)
{
	register void (*start)(long arg) asm("r12") = fn;
	register long with asm("r13") = arg;
	long ret;

	asm volatile("syscall\n\t"
		     "testq %%rax, %%rax\n\t"
		     "jnz 1f\n\t"
		     "xorl %%ebp, %%ebp\n\t"
		     "movq %[with], %%rdi\n\t"
		     "call *%[start]\n\t"
		     "ud2\n\t"
		     "1:"
		     : "=a"(ret)
		     : "0"((long)__NR_clone3), "D"(args), "S"(sizeof(*args)),
		       [start] "r"(start), [with] "r"(with)
		     : "rcx", "r11", "memory");
	return ret;
}

#elif defined(__aarch64__)

static inline long raw6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 asm("x8") = nr;
	register long x0 asm("x0") = a;
	register long x1 asm("x1") = b;
	register long x2 asm("x2") = c;
	register long x3 asm("x3") = d;
	register long x4 asm("x4") = e;
	register long x5 asm("x5") = f;

	asm volatile("svc #0"
		     : "+r"(x0)
		     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
		     : "memory");
	return x0;
}

/* clone3() whose child runs @fn on a stack of its own, and does not return. */
static inline long raw_clone(struct clone_args *args, void (*fn)(long arg), long arg)
{
	register long x8 asm("x8") = __NR_clone3;
	register long x0 asm("x0") = (long)args;
	register long x1 asm("x1") = sizeof(*args);
	register void (*start)(long arg) asm("x19") = fn;
	register long with asm("x20") = arg;

	asm volatile("svc #0\n\t"
		     "cbnz x0, 1f\n\t"
		     "mov x29, xzr\n\t"
		     "mov x0, %[with]\n\t"
		     "blr %[start]\n\t"
		     "brk #1\n\t"
		     "1:"
		     : "+r"(x0)
		     : "r"(x8), "r"(x1), [start] "r"(start), [with] "r"(with)
		     : "memory");
	return x0;
}

#else
#error "random_actor.h makes system calls on x86-64 and arm64 only"
#endif

static inline long raw5(long nr, long a, long b, long c, long d, long e)
{
	return raw6(nr, a, b, c, d, e, 0);
}

static inline long raw3(long nr, long a, long b, long c)
{
	return raw6(nr, a, b, c, 0, 0, 0);
}

static inline void __noreturn raw_exit(int code)
{
	for (;;)
		raw3(__NR_exit_group, code, 0, 0);
}

static inline void ring(void)
{
	__u64 one = 1;

	raw3(__NR_write, stage->bell, (long)&one, sizeof(one));
}

/* As a wait status, for one child; or -errno. */
static inline long raw_wait(int type, int id, int options, int *status)
{
	siginfo_t si;
	long ret;

	si.si_pid = 0;
	do {
		ret = raw5(__NR_waitid, type, id, (long)&si, options | __WALL, 0);
	} while (ret == -EINTR);
	if (ret)
		return ret;
	if (!si.si_pid)
		return -EAGAIN;
	if (si.si_code == CLD_EXITED)
		*status = si.si_status << 8;
	else
		*status = si.si_status | (si.si_code == CLD_DUMPED ? 0x80 : 0);
	return 0;
}

/* The first thing that anybody born does. */
static inline void look_at_birth(int ns)
{
	if (atomic_load(&stage->dead[ns]))
		atomic_fetch_add(&stage->late, 1);
}

static void act(long nr);

static inline long do_spawn(struct slot *s)
{
	struct slot *child = &stage->slot[s->child];
	struct clone_args args = {
		.flags = s->flags | (s->flags & CLONE_THREAD ? 0 : CLONE_PIDFD),
		.pidfd = (uintptr_t)&child->pidfd,
		.exit_signal = s->exit_signal,
		.stack = (uintptr_t)child->stack,
		.stack_size = sizeof(child->stack),
		/* For the case that somebody dies before the answer. */
		.parent_tid = (uintptr_t)&child->pid,
		.child_tid = (uintptr_t)&child->here,
		.cgroup = s->cgroup,
	};

	args.flags |= CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
	if (s->cgroup)
		args.flags |= CLONE_INTO_CGROUP;
	return raw_clone(&args, act, s->child);
}

/* A child of a storm: it exits with a code that tells who it was. */
static inline void storm_child(long arg)
{
	struct slot *s = &stage->slot[arg & 0xff];

	look_at_birth(s->births);
	if (s->flags & CLONE_THREAD)
		raw3(__NR_exit, 0, 0, 0);
	raw_exit(arg >> 8);
}

/*
 * Forks @count times, and twice more once it has been refused: what is dead
 * stays dead. The answer is how many were born; s->refused is the errno.
 */
static inline long do_storm(struct slot *s)
{
	int i, refused = 0, status = 0, code;
	long pid, born = 0;

	s->refused = 0;
	s->wrong = 0;
	for (i = 0; i < s->count; i++) {
		struct clone_args args = {
			.flags = s->flags,
			.exit_signal = s->exit_signal,
			.stack = (uintptr_t)s->storm_stack,
			.stack_size = sizeof(s->storm_stack),
		};

		code = i & 0x7f;
		/* Halfway the worker is told, in case something is to happen then. */
		if (i == s->arg)
			ring();
		pid = raw_clone(&args, storm_child, (s - stage->slot) | code << 8);
		if (pid < 0) {
			s->refused = -pid;
			if (++refused == 3)
				break;
			continue;
		}
		born++;
		if (refused)
			s->wrong = WRONG_REVIVAL;
		pid = raw_wait(P_PID, pid, WEXITED, &status);
		if (pid) {
			s->wrong = WRONG_WAIT;
			break;
		}
		/* SIGKILL is judged by those who know who is dead. */
		if (status == SIGKILL)
			s->status++;
		else if (status != code << 8)
			s->wrong = WRONG_STATUS;
	}
	return born;
}

static inline long do_exec(struct slot *s)
{
	static const char digits[] = "0123456789";
	long nr = s - stage->slot;
	char number[3] = { digits[nr / 10], digits[nr % 10], 0 };
	char memory[4] = {
		digits[stage->memory / 100 % 10], digits[stage->memory / 10 % 10],
		digits[stage->memory % 10], 0
	};
	char * const argv[] = { "random", ACTOR_ARGUMENT, memory, number, NULL };

	return raw5(__NR_execveat, stage->program, (long)"", (long)argv, (long)&argv[4],
		    AT_EMPTY_PATH);
}

/* Its own number of the process that @pidfd is of, or -errno. */
static inline long number_of(int pidfd)
{
	struct {
		__u64 mask, cgroup;
		__u32 pid, rest[11];
	} info = { .mask = 1 };
	long ret = raw3(__NR_ioctl, pidfd, _IOWR(0xff, 11, info), (long)&info);

	return ret ?: info.pid;
}

static inline long do_trace(struct slot *s)
{
	long pid = number_of(s->fd), ret;

	if (pid < 0)
		return pid;
	switch (s->order) {
	case DO_SEIZE:
		return raw6(__NR_ptrace, PTRACE_SEIZE, pid, 0, s->arg, 0, 0);
	case DO_RESUME:
		return raw6(__NR_ptrace, PTRACE_CONT, pid, 0, 0, 0, 0);
	case DO_INTERRUPT:
	case DO_DETACH:
		/* It has to be stopped, and to be known to be. */
		if (!s->count) {
			ret = raw6(__NR_ptrace, PTRACE_INTERRUPT, pid, 0, 0, 0, 0);
			if (!ret)
				ret = raw_wait(P_PIDFD, s->fd, WSTOPPED, &s->status);
			if (ret || s->order == DO_INTERRUPT)
				return ret;
		}
		return raw6(__NR_ptrace, PTRACE_DETACH, pid, 0, 0, 0, 0);
	default:
		return -EINVAL;
	}
}

static inline long carry_out(struct slot *s)
{
	switch (s->order) {
	case DO_SPAWN:
		return do_spawn(s);
	case DO_STORM:
		return do_storm(s);
	case DO_UNSHARE:
		return raw3(__NR_unshare, s->flags, 0, 0);
	case DO_SETNS:
		return raw3(__NR_setns, s->fd, CLONE_NEWPID, 0);
	case DO_EXEC:
		return do_exec(s);
	case DO_WAIT:
		return raw_wait(P_PIDFD, s->fd, WEXITED | s->arg, &s->status);
	case DO_WAIT_PID:
		return raw_wait(P_PID, s->fd, WEXITED | s->arg, &s->status);
	case DO_SIGNAL:
		return raw5(__NR_pidfd_send_signal, s->fd, s->arg, 0, 0, 0);
	case DO_EXIT:
		raw_exit(s->arg);
	case DO_EXIT_THREAD:
		raw3(__NR_exit, s->arg, 0, 0);
		return -EINVAL;
	case DO_FAULT:
		illegal_instruction();
	default:
		return do_trace(s);
	}
}

/* Orders, until one of them is the last. */
static inline void __noreturn obey(struct slot *s, int seen)
{
	for (;;) {
		int posted = atomic_load(&s->posted);

		if (posted == seen) {
			raw5(__NR_futex, (long)&s->posted, FUTEX_WAIT, seen, 0, 0);
			continue;
		}
		seen = posted;
		s->result = carry_out(s);
		atomic_store(&s->done, seen);
		ring();
	}
}

static void __maybe_unused act(long nr)
{
	struct slot *s = &stage->slot[nr];

	look_at_birth(s->births);
	if (s->asks) {
		char link[16] = "";
		int i;

		raw6(__NR_readlinkat, AT_FDCWD, (long)"/proc/self", (long)link,
		     sizeof(link) - 1, 0, 0);
		s->outer = 0;
		for (i = 0; link[i]; i++)
			s->outer = s->outer * 10 + link[i] - '0';
	}
	atomic_store(&s->born, 1);
	ring();
	obey(s, 0);
}

/* The program as an actor, after an exec: back on the stage. */
static inline int act_again(int memory, int nr)
{
	struct slot *s;

	if (mmap(STAGE_ADDRESS, sizeof(*stage), PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED_NOREPLACE, memory, 0) == MAP_FAILED)
		return 1;
	s = &stage->slot[nr];
	s->result = 0;
	atomic_store(&s->here, 1);
	raw3(__NR_set_tid_address, (long)&s->here, 0, 0);
	atomic_store(&s->done, atomic_load(&s->posted));
	ring();
	obey(s, atomic_load(&s->posted));
}

#endif /* __RANDOM_ACTOR_H */
