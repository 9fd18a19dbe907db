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

static __naked void trampoline(void)
{
	asm volatile(ASM_ENDBR
		     "lock incq %c0(%%rip)\n\t"
		     ASM_RET : : "i" (&calls));
}

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
