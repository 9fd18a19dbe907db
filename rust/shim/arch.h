/* SPDX-License-Identifier: GPL-2.0 */
/*
 * All that depends on the architecture: the arguments of a call that ftrace may
 * send elsewhere, how to send it there, how a program says that it forks, and which
 * system call a task is in. An architecture that is not here takes
 *
 * - DYNAMIC_FTRACE_WITH_ARGS whose callbacks may change where the call goes on,
 *   as a livepatch does: the first argument is looked at, and the stand-in gets
 *   all of them as they were, by the ordinary calling convention;
 * - the numbers of its system calls that fork, and where clone() has its flags,
 *   with those of the other word size if it runs such programs;
 * - the name by which audit knows its 64-bit programs;
 *
 * and its name in Kbuild.
 */
#ifndef _PIDNS_GUARD_ARCH_H
#define _PIDNS_GUARD_ARCH_H

#include <linux/ftrace.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/wordpart.h>
#include <uapi/linux/audit.h>
#include <asm/syscall.h>
#include <asm/unistd.h>

#ifdef CONFIG_X86_64
#define ARCH_AUDIT	AUDIT_ARCH_X86_64
#else
#define ARCH_AUDIT	AUDIT_ARCH_AARCH64
#endif

#if !defined(CONFIG_X86_64) && !defined(CONFIG_ARM64)
#error "pidns_guard is for x86-64 and arm64: the head of this file says what another one takes"
#endif

/*
 * ftrace_caller saves each that is in a register: on x86-64 di, si, dx, cx, r8 and
 * r9 (save_mcount_regs), on arm64 x0 to x7 (struct __arch_ftrace_regs).
 */
static __always_inline unsigned long
arch_get_argument(struct ftrace_regs *fregs, unsigned int n)
{
	return ftrace_regs_get_argument(fregs, n);
}

/* On both ftrace_caller goes there by a return, and so needs no ENDBR or BTI there. */
static __always_inline void
arch_set_instruction_pointer(struct ftrace_regs *fregs, unsigned long ip)
{
	ftrace_regs_set_instruction_pointer(fregs, ip);
}

/*
 * The flags, if that is fork() or clone(); arm64 has no fork(). 32-bit programs
 * have numbers of their own: none of theirs that forks is one of these.
 */
static __always_inline bool
arch_fork_flags(struct task_struct *task, struct pt_regs *regs, unsigned long *flags)
{
	unsigned long args[6];

	switch (syscall_get_nr(task, regs)) {
	case __NR_clone:
		syscall_get_arguments(task, regs, args);
		*flags = lower_32_bits(args[0]);
		return true;
#ifdef __NR_fork
	case __NR_fork:
		*flags = 0;
		return true;
#endif
	default:
		return false;
	}
}

/*
 * The number of the system call that @task entered the kernel with, of those of a
 * 64-bit program; negative for all else.
 */
static __always_inline int
arch_syscall(struct task_struct *task, struct pt_regs *regs)
{
	return syscall_get_arch(task) == ARCH_AUDIT ? syscall_get_nr(task, regs) : -1;
}

#endif /* _PIDNS_GUARD_ARCH_H */
