// SPDX-License-Identifier: GPL-2.0
/*
 * Calls a trampoline of its own at the entry of alloc_pid(), as the fentry of a
 * BPF program does, and says how often that was. It tolerates somebody who
 * redirects the function: it returns to wherever the call goes on.
 */

#include <linux/compiler.h>
#include <linux/ftrace.h>
#include <linux/linkage.h>
#include <linux/module.h>

static unsigned long calls;
module_param(calls, ulong, 0644);

#if defined(CONFIG_X86_64)
static __naked void trampoline(void)
{
	asm volatile(ASM_ENDBR
		     "lock incq %c0(%%rip)\n\t"
		     ASM_RET : : "i" (&calls));
}
#elif defined(CONFIG_ARM64)
/* The caller's return address is in x9, where the call goes on in x30; bti c first. */
static __naked void trampoline(void)
{
	asm volatile("hint 34\n\t"
		     "adrp x10, %c0\n\t"
		     "add x10, x10, :lo12:%c0\n\t"
		     "1: ldxr x11, [x10]\n\t"
		     "add x11, x11, #1\n\t"
		     "stxr w12, x11, [x10]\n\t"
		     "cbnz w12, 1b\n\t"
		     "mov x10, x30\n\t"
		     "mov x30, x9\n\t"
		     "ret x10" : : "i" (&calls));
}
#endif

static int shares(struct ftrace_ops *ops, unsigned long ip, enum ftrace_ops_cmd cmd)
{
	return 0;
}

static struct ftrace_ops ops = {
	.ops_func = shares,
};

static int __init direct_alloc_pid_init(void)
{
	char name[] = "alloc_pid";
	int err;

	err = ftrace_set_filter(&ops, name, sizeof(name) - 1, 1);
	if (err)
		return err;
	err = register_ftrace_direct(&ops, (unsigned long)trampoline);
	if (err)
		ftrace_free_filter(&ops);
	return err;
}

static void __exit direct_alloc_pid_exit(void)
{
	unregister_ftrace_direct(&ops, (unsigned long)trampoline, true);
}

module_init(direct_alloc_pid_init);
module_exit(direct_alloc_pid_exit);

MODULE_DESCRIPTION("A trampoline at the entry of alloc_pid(), as of BPF");
MODULE_AUTHOR("The pidns_guard authors");
MODULE_LICENSE("GPL");
