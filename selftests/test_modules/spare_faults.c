// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps /proc/PID/fail-nth from failing what the kernel takes for impossible: it
 * warns when there is no memory in these functions, whoever it is that calls them,
 * and goes on. What is allocated in them is not counted.
 *
 * (CONFIG_FAULT_INJECTION_STACKTRACE_FILTER spares one place, and here are more.)
 */

#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/sched.h>

static int set_aside(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	*(unsigned int *)ri->data = current->fail_nth;
	current->fail_nth = 0;
	return 0;
}
NOKPROBE_SYMBOL(set_aside);

static int put_back(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	current->fail_nth = *(unsigned int *)ri->data;
	return 0;
}
NOKPROBE_SYMBOL(put_back);

#define SPARED(function) {				\
	.kp.symbol_name	= function,			\
	.entry_handler	= set_aside,			\
	.handler	= put_back,			\
	.data_size	= sizeof(unsigned int),		\
}

static struct kretprobe spared[] = {
	/* kernel/static_call_inline.c: "Failed to allocate memory for static calls" */
	SPARED("static_call_module_notify"),
	/* kernel/jump_label.c: "Failed to allocate memory: jump_label may not work properly." */
	SPARED("jump_label_module_notify"),
	/* mm/kmemleak.c: a message under a lock that a console takes, to which lockdep objects */
	SPARED("kmemleak_scan_area"),
	/* kernel/trace/fprobe.c: WARN_ON() of the list of functions that go with a module */
	SPARED("fprobe_module_callback"),
	/* kernel/trace/trace_events.c: WARN_ON_ONCE() of the fields of a module's trace events */
	SPARED("event_define_fields"),
	/* kernel/kprobes.c: "Failed to arm kprobe-ftrace at ...", or to disarm */
	SPARED("arm_kprobe_ftrace"),
	SPARED("arm_kprobe"),
	SPARED("disarm_kprobe_ftrace"),
};

static void spare_faults_exit(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(spared); i++)
		if (spared[i].kp.addr)
			unregister_kretprobe(&spared[i]);
}
module_exit(spare_faults_exit);

/* A function that this kernel does not have, or has in another one, is left out. */
static int __init spare_faults_init(void)
{
	int i, err;

	for (i = 0; i < ARRAY_SIZE(spared); i++) {
		err = register_kretprobe(&spared[i]);
		pr_info("spare_faults: %s: %d\n", spared[i].kp.symbol_name, err);
		if (err)
			spared[i].kp.addr = NULL;
	}
	return 0;
}
module_init(spare_faults_init);

MODULE_DESCRIPTION("Spares what warns without memory from injected faults");
MODULE_AUTHOR("The pidns_guard authors");
MODULE_LICENSE("GPL");
