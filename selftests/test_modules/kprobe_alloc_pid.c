// SPDX-License-Identifier: GPL-2.0
/*
 * A kprobe with a post_handler on alloc_pid(). It changes nothing, but such a kprobe
 * may redirect the function (kprobe_ipmodify_ops in kernel/kprobes.c), and so it
 * excludes all others that may.
 */

#include <linux/kprobes.h>
#include <linux/module.h>

static void do_nothing(struct kprobe *kp, struct pt_regs *regs, unsigned long flags)
{
}
NOKPROBE_SYMBOL(do_nothing);

static struct kprobe probe = {
	.symbol_name = "alloc_pid",
	.post_handler = do_nothing,
};

static int __init kprobe_alloc_pid_init(void)
{
	return register_kprobe(&probe);
}

static void __exit kprobe_alloc_pid_exit(void)
{
	unregister_kprobe(&probe);
}

module_init(kprobe_alloc_pid_init);
module_exit(kprobe_alloc_pid_exit);

MODULE_DESCRIPTION("A kprobe with a post_handler on alloc_pid()");
MODULE_AUTHOR("The pidns_guard authors");
MODULE_LICENSE("GPL");
