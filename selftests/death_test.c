// SPDX-License-Identifier: GPL-2.0
/*
 * I2, the reaper kill: however init dies, when waitpid(init) returns nothing of
 * its namespace is left; and init's own wait status is what it has always been.
 * What kinds of members there are is the matter of member_test.c.
 */
#include <linux/elf.h>
#include <sys/reboot.h>

#include "pidns_test.h"

#define NR_FAMILY	10

static void no_core(void)
{
	struct rlimit none = {};

	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static void *thread_waits(void *arg)
{
	forever();
	return arg;
}

/* A family of members in all states, children of the calling init. */
static void family(struct box *b)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	pthread_t t;
	sigset_t all;
	int sig, status;
	pid_t pid;

	member(b, "child");

	if (!fork()) {
		member(b, "grandchild");
		announce(b, "parent");
		forever();
	}

	/* Its parent exits, so that it becomes init's. */
	pid = fork();
	if (!pid) {
		member(b, "orphan");
		_exit(0);
	}
	waitpid(pid, NULL, 0);

	if (!fork()) {
		setsid();
		announce(b, "other session");
		forever();
	}

	if (!fork()) {
		setpgid(0, 0);
		announce(b, "other pgrp");
		forever();
	}

	/* A daemon: an orphan in a session that it does not lead. */
	pid = fork();
	if (!pid) {
		setsid();
		member(b, "daemon");
		_exit(0);
	}
	waitpid(pid, NULL, 0);

	pid = fork();
	if (!pid) {
		announce(b, "stopped");
		kill(getpid(), SIGSTOP);
		forever();
	}
	waitpid(pid, &status, WUNTRACED);

	if (!fork()) {
		for (sig = 1; sig < 65; sig++)
			sigaction(sig, &ignore, NULL);
		sigfillset(&all);
		sigprocmask(SIG_BLOCK, &all, NULL);
		announce(b, "ignores all");
		forever();
	}

	if (!fork()) {
		for (sig = 0; sig < 3; sig++)
			pthread_create(&t, NULL, thread_waits, NULL);
		announce(b, "threads");
		forever();
	}
}

enum way {
	BY_EXIT, BY_THREAD, BY_SIGKILL, BY_SIGSEGV, BY_EXEC,
	BY_RESTART, BY_POWEROFF, BY_MEMBER,
	BY_EXIT_0, BY_EXIT_255, BY_SIGBUS, BY_SIGFPE, BY_SIGILL, BY_ABORT,
	BY_IGNORED_FAULT, BY_STACK, BY_BAD_EXEC, BY_THREAD_EXEC,
	BY_SECCOMP_PROCESS, BY_SECCOMP_ONLY, BY_SECCOMP_LAST, BY_LAST_FAULT,
	WHILE_STOPPED, WHILE_TRACED, WHILE_FROZEN, WHILE_ALL_FROZEN,
};

FIXTURE(death) {
	struct box box;
};

FIXTURE_VARIANT(death) {
	enum way way;
	int status;
};

/* The wait statuses are those of an unpatched kernel. */
FIXTURE_VARIANT_ADD(death, exit) {
	.way = BY_EXIT, .status = 7 << 8,
};

FIXTURE_VARIANT_ADD(death, thread_exit_group) {
	.way = BY_THREAD, .status = 9 << 8,
};

FIXTURE_VARIANT_ADD(death, sigkill) {
	.way = BY_SIGKILL, .status = SIGKILL,
};

FIXTURE_VARIANT_ADD(death, sigsegv) {
	.way = BY_SIGSEGV, .status = SIGSEGV,
};

FIXTURE_VARIANT_ADD(death, exec) {
	.way = BY_EXEC, .status = 11 << 8,
};

FIXTURE_VARIANT_ADD(death, reboot_restart) {
	.way = BY_RESTART, .status = SIGHUP,
};

FIXTURE_VARIANT_ADD(death, reboot_poweroff) {
	.way = BY_POWEROFF, .status = SIGINT,
};

FIXTURE_VARIANT_ADD(death, reboot_by_member) {
	.way = BY_MEMBER, .status = SIGHUP,
};

FIXTURE_VARIANT_ADD(death, exit_0) {
	.way = BY_EXIT_0, .status = 0,
};

FIXTURE_VARIANT_ADD(death, exit_255) {
	.way = BY_EXIT_255, .status = 255 << 8,
};

FIXTURE_VARIANT_ADD(death, sigbus) {
	.way = BY_SIGBUS, .status = SIGBUS,
};

FIXTURE_VARIANT_ADD(death, sigfpe) {
	.way = BY_SIGFPE, .status = SIGFPE,
};

FIXTURE_VARIANT_ADD(death, sigill) {
	.way = BY_SIGILL, .status = SIGILL,
};

/* Its own SIGABRT is nothing to an init; the trap that abort() ends in is. */
FIXTURE_VARIANT_ADD(death, abort) {
#ifdef __aarch64__
	.way = BY_ABORT, .status = SIGTRAP,
#else
	.way = BY_ABORT, .status = SIGSEGV,
#endif
};

/* It ignores and blocks SIGSEGV: force_sig_info_to_task() in kernel/signal.c. */
FIXTURE_VARIANT_ADD(death, ignored_fault) {
	.way = BY_IGNORED_FAULT, .status = SIGSEGV,
};

FIXTURE_VARIANT_ADD(death, stack_overflow) {
	.way = BY_STACK, .status = SIGSEGV,
};

/* An exec that fails behind the point of no return: bprm_execve() in fs/exec.c. */
FIXTURE_VARIANT_ADD(death, bad_exec) {
	.way = BY_BAD_EXEC, .status = SIGSEGV,
};

/* The thread becomes the leader first: de_thread() in fs/exec.c. */
FIXTURE_VARIANT_ADD(death, thread_exec) {
	.way = BY_THREAD_EXEC, .status = 11 << 8,
};

FIXTURE_VARIANT_ADD(death, seccomp_process) {
	.way = BY_SECCOMP_PROCESS, .status = SIGSYS,
};

/* The only thread is killed: as good as the process, __seccomp_filter(). */
FIXTURE_VARIANT_ADD(death, seccomp_only_thread) {
	.way = BY_SECCOMP_ONLY, .status = SIGSYS,
};

/* These two when the leader is a zombie. */
FIXTURE_VARIANT_ADD(death, seccomp_last_thread) {
	.way = BY_SECCOMP_LAST, .status = SIGSYS,
};

FIXTURE_VARIANT_ADD(death, fault_of_last_thread) {
	.way = BY_LAST_FAULT, .status = SIGSEGV,
};

/* These by SIGKILL from outside. */
FIXTURE_VARIANT_ADD(death, stopped) {
	.way = WHILE_STOPPED, .status = SIGKILL,
};

FIXTURE_VARIANT_ADD(death, traced) {
	.way = WHILE_TRACED, .status = SIGKILL,
};

FIXTURE_VARIANT_ADD(death, frozen) {
	.way = WHILE_FROZEN, .status = SIGKILL,
};

FIXTURE_VARIANT_ADD(death, all_frozen) {
	.way = WHILE_ALL_FROZEN, .status = SIGKILL,
};

FIXTURE_SETUP(death)
{
#ifdef __aarch64__
	if (variant->way == BY_SIGFPE)
		SKIP(return, "a division by zero is 0 here");
#endif
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(death)
{
	EXPECT_EQ(0, box_close(&self->box));
}

static void *thread_exits(void *arg)
{
	syscall(SYS_exit_group, 9);
	return arg;
}

/* A fault, not a signal that somebody sends. */
static void fault(void)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(page, 4096);
	__atomic_store_n(page, 1, __ATOMIC_SEQ_CST);
}

static void ignore_and_fault(void)
{
	sigset_t segv;

	signal(SIGSEGV, SIG_IGN);
	sigemptyset(&segv);
	sigaddset(&segv, SIGSEGV);
	sigprocmask(SIG_BLOCK, &segv, NULL);
	fault();
}

/* What is mapped of a file ends before the page does that is touched. */
static void fault_beyond_file(void)
{
	int fd = memfd_create("empty", 0);
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	__atomic_store_n(page, 1, __ATOMIC_SEQ_CST);
}

static void divide_by_zero(void)
{
	int one = 1, zero = 0;

	__atomic_store_n(&one, __atomic_load_n(&one, __ATOMIC_SEQ_CST) /
			 __atomic_load_n(&zero, __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST);
}

static void overflow_stack(void)
{
	struct rlimit small = { .rlim_cur = 0x40000, .rlim_max = 0x40000 };

	setrlimit(RLIMIT_STACK, &small);
	for (;;)
		__atomic_store_n((char *)__builtin_alloca(4096), 1, __ATOMIC_SEQ_CST);
}

/* A program of one segment, at an address that no program has. */
static void exec_bad(void)
{
	char * const argv[] = { "bad", NULL };
	struct {
		struct elf64_hdr head;
		struct elf64_phdr load;
	} elf;
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int fd = memfd_create("bad", 0);

	if (read(self, &elf.head, sizeof(elf.head)) != sizeof(elf.head))
		_exit(95);
	elf.head.e_type = ET_EXEC;
	elf.head.e_phoff = sizeof(elf.head);
	elf.head.e_phnum = 1;
	elf.load = (struct elf64_phdr){
		.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_align = 4096,
		.p_vaddr = 0x8000000000000000, .p_filesz = 4096, .p_memsz = 4096,
	};
	if (write(fd, &elf, sizeof(elf)) == sizeof(elf))
		syscall(__NR_execveat, fd, "", argv, NULL, AT_EMPTY_PATH);
	_exit(94);
}

static void exec_exit(void)
{
	char * const argv[] = { "death_test", "--exit-with", "11", NULL };

	execv("/proc/self/exe", argv);
}

static void *thread_execs(void *arg)
{
	exec_exit();
	return arg;
}

/* When the leader is a zombie, and no thread but this is left. */
static void *last_thread_dies(void *arg)
{
	while (task_state(outer_pid()) != 'Z')
		sched_yield();
	if (*(const enum way *)arg == BY_LAST_FAULT)
		fault();
	killed_by_seccomp(SECCOMP_RET_KILL_THREAD);
	return arg;
}

/* reboot(2), and only ever inside of a namespace. */
static void reboot_inside(int how)
{
	if (outer_pid() != getpid())
		reboot(how);
	_exit(96);
}

static void init_dies(struct box *b, void *arg)
{
	enum way way = *(const enum way *)arg;
	pthread_t t;

	no_core();
	family(b);
	if (way == BY_MEMBER && !fork()) {
		announce(b, "reboots");
		await_order(b);
		reboot_inside(RB_AUTOBOOT);
	} else if (way == BY_MEMBER) {
		announce(b, READY);
		forever();
	}
	announce(b, READY);
	await_order(b);
	switch (way) {
	case BY_EXIT:
		_exit(7);
	case BY_THREAD:
		pthread_create(&t, NULL, thread_exits, NULL);
		break;
	case BY_SIGSEGV:
		fault();
		break;
	case BY_EXEC:
		exec_exit();
		break;
	case BY_RESTART:
		reboot_inside(RB_AUTOBOOT);
		break;
	case BY_POWEROFF:
		reboot_inside(RB_POWER_OFF);
		break;
	case BY_EXIT_0:
		_exit(0);
	case BY_EXIT_255:
		_exit(-1);
	case BY_SIGBUS:
		fault_beyond_file();
		break;
	case BY_SIGFPE:
		divide_by_zero();
		break;
	case BY_SIGILL:
		illegal_instruction();
	case BY_ABORT:
		abort();
	case BY_IGNORED_FAULT:
		ignore_and_fault();
		break;
	case BY_STACK:
		overflow_stack();
		break;
	case BY_BAD_EXEC:
		exec_bad();
		break;
	case BY_THREAD_EXEC:
		pthread_create(&t, NULL, thread_execs, NULL);
		break;
	case BY_SECCOMP_PROCESS:
		killed_by_seccomp(SECCOMP_RET_KILL_PROCESS);
		break;
	case BY_SECCOMP_ONLY:
		killed_by_seccomp(SECCOMP_RET_KILL_THREAD);
		break;
	case BY_SECCOMP_LAST:
	case BY_LAST_FAULT:
		pthread_create(&t, NULL, last_thread_dies, arg);
		syscall(SYS_exit, 4);
		break;
	default:
		break;
	}
	forever();
}

/* SIGKILL from outside, for an init that does not run. */
static int kill_inactive(struct box *b, enum way way)
{
	int status;

	switch (way) {
	case WHILE_STOPPED:
		if (kill(b->init, SIGSTOP) || waitpid(b->init, &status, WUNTRACED) != b->init ||
		    !WIFSTOPPED(status))
			return -1;
		break;
	case WHILE_TRACED:
		if (ptrace(PTRACE_SEIZE, b->init, NULL, NULL) ||
		    ptrace(PTRACE_INTERRUPT, b->init, NULL, NULL) ||
		    waitpid(b->init, &status, 0) != b->init || !WIFSTOPPED(status))
			return -1;
		break;
	default:
		if (box_freeze(b, way == WHILE_FROZEN ? b->init : 0))
			return -1;
	}
	return kill(b->init, SIGKILL);
}

static int die(struct box *b, enum way way)
{
	int members = NR_FAMILY + (way == BY_MEMBER);

	if (box_spawn(b, 0, init_dies, &way) || box_collect(b, members + 1))
		return -1;
	if (b->nr != members || box_alive(b) != members)
		return -1;
	if (way == BY_SIGKILL)
		return kill(b->init, SIGKILL);
	if (way >= WHILE_STOPPED)
		return kill_inactive(b, way);
	order(b, 'x');
	return 0;
}

/*
 * I2 for the whole family. do_exit() and find_child_reaper() in kernel/exit.c
 * come to zap_pid_ns_processes() in kernel/pid_namespace.c, whatever the way.
 */
TEST_F_TIMEOUT(death, all_gone, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, die(b, variant->way));
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
}

/*
 * I2 changes nothing in what the parent of init is told: group_exit_code, see
 * do_group_exit() in kernel/exit.c, zap_pid_ns_processes() and reboot_pid_ns()
 * in kernel/pid_namespace.c. The test kills the members itself, as somewhere
 * nobody else does: this is about the status only.
 */
TEST_F_TIMEOUT(death, status, TEST_SECONDS)
{
	struct box *b = &self->box;
	int i;

	ASSERT_EQ(0, die(b, variant->way));
	ASSERT_EQ(0, box_wait_zap(b));
	for (i = 0; i < b->nr; i++)
		sys_pidfd_signal(b->m[i].fd, SIGKILL);
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(variant->status, b->status);
}

int main(int argc, char **argv)
{
	/* What an init becomes that execs a program which exits. */
	if (argc == 3 && !strcmp(argv[1], "--exit-with"))
		_exit(atoi(argv[2]));
	return test_harness_run(argc, argv);
}
