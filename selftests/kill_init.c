// SPDX-License-Identifier: GPL-2.0
/*
 * Ends the global init, on which the kernel panics: "Attempted to kill init!".
 * For a boot of its own; not one of the tests that run_tests runs.
 *
 * No signal does it, init ignores what it has no handler for, SIGKILL included.
 * But a tracer can make it call exit_group() in place of its next system call.
 */
#include <errno.h>
#include <linux/ptrace.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PTRACE_SET_SYSCALL_INFO
#define PTRACE_SET_SYSCALL_INFO 0x4212
#endif

#define STATUS	42

static long trace(long request, long addr, void *data)
{
	return syscall(SYS_ptrace, request, 1, addr, data);
}

static int fail(const char *what)
{
	fprintf(stderr, "kill_init: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	struct ptrace_syscall_info info;
	int status;

	if (argc != 2 || strcmp(argv[1], "--panic-this-machine")) {
		fprintf(stderr, "usage: %s --panic-this-machine\n", argv[0]);
		return 2;
	}
	if (trace(PTRACE_SEIZE, 0, (void *)PTRACE_O_TRACESYSGOOD))
		return fail("PTRACE_SEIZE");
	if (trace(PTRACE_INTERRUPT, 0, NULL))
		return fail("PTRACE_INTERRUPT");
	for (;;) {
		if (waitpid(1, &status, __WALL) != 1 || !WIFSTOPPED(status))
			return fail("waitpid");
		if (trace(PTRACE_GET_SYSCALL_INFO, sizeof(info), &info) < 0)
			return fail("PTRACE_GET_SYSCALL_INFO");
		if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
			break;
		if (trace(PTRACE_SYSCALL, 0, NULL))
			return fail("PTRACE_SYSCALL");
	}
	info.entry.nr = SYS_exit_group;
	info.entry.args[0] = STATUS;
	if (trace(PTRACE_SET_SYSCALL_INFO, sizeof(info), &info))
		return fail("PTRACE_SET_SYSCALL_INFO");
	if (trace(PTRACE_CONT, 0, NULL))
		return fail("PTRACE_CONT");
	/* The kernel panics before this returns. */
	waitpid(1, &status, __WALL);
	fprintf(stderr, "kill_init: init ended with status 0x%x, and no panic\n", status);
	return 1;
}
