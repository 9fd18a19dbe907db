// SPDX-License-Identifier: GPL-2.0
/*
 * A livepatch of alloc_pid() that changes nothing: whoever comes second to
 * redirect the function is told that it is taken.
 */

#include <linux/kprobes.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/pid.h>

static struct pid *(*alloc_pid_body)(struct pid_namespace *ns, pid_t *set_tid,
				     size_t set_tid_size);

/* Behind the call to ftrace, which would lead back here. */
#ifdef CONFIG_ARM64
/* bti c, mov, bl. What comes next is paciasp, where a branch may land too. */
#define TO_BODY	((IS_ENABLED(CONFIG_ARM64_BTI_KERNEL) ? 3 : 2) * MCOUNT_INSN_SIZE)
#else
#define TO_BODY	MCOUNT_INSN_SIZE
#endif

static struct pid *livepatch_alloc_pid(struct pid_namespace *ns, pid_t *set_tid,
				       size_t set_tid_size)
{
	return alloc_pid_body(ns, set_tid, set_tid_size);
}

static struct klp_func funcs[] = {
	{
		.old_name = "alloc_pid",
		.new_func = livepatch_alloc_pid,
	}, { }
};

static struct klp_object objs[] = {
	{ .funcs = funcs }, { }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

static int __init livepatch_alloc_pid_init(void)
{
	struct kprobe kp = { .symbol_name = "alloc_pid" };
	int err;

	/* Only to learn the address: the symbol is not exported. */
	err = register_kprobe(&kp);
	if (err)
		return err;
	unregister_kprobe(&kp);

	alloc_pid_body = (void *)kp.addr + TO_BODY;

	return klp_enable_patch(&patch);
}

static void __exit livepatch_alloc_pid_exit(void)
{
}

module_init(livepatch_alloc_pid_init);
module_exit(livepatch_alloc_pid_exit);

MODULE_DESCRIPTION("A livepatch of alloc_pid() that changes nothing");
MODULE_AUTHOR("The pidns_guard authors");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
