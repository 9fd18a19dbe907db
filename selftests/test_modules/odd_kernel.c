// SPDX-License-Identifier: GPL-2.0
/*
 * Makes of the kernel one that pidns_guard does not know, for those processes that
 * it tries its hooks on: any that a kernel thread forks and that has no memory of
 * its own. All others are left alone. With odd=
 *
 *	fork	sched_process_fork seems to fire before the child has its PID
 *	woken	or after it has been woken
 *	exit	sched_process_exit seems to fire before signal->live is 0
 *	files	or after the process has given up its files
 *	kill_pid	does nothing, and says that it has
 *	find_ge_pid	finds nobody
 *	__task_pid_nr_ns	finds no number
 *	arm_kprobe	has no memory, for any insmod
 */

#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <asm/linkage.h>

static char *odd = "";
module_param(odd, charp, 0444);

static bool is_tried(struct task_struct *task)
{
	return !(task->flags & PF_KTHREAD) && !task->mm &&
	       (task->real_parent->flags & PF_WQ_WORKER);
}

/* What is hidden, from the first probe on a tracepoint to the last. */
static struct pid *pid;
static struct files_struct *files;
static unsigned int state;

static void before_fork(void *data, struct task_struct *parent, struct task_struct *child)
{
	if (!is_tried(child))
		return;
	pid = child->thread_pid;
	state = child->__state;
	if (!strcmp(odd, "fork"))
		WRITE_ONCE(child->thread_pid, NULL);
	else
		WRITE_ONCE(child->__state, TASK_RUNNING);
}

static void after_fork(void *data, struct task_struct *parent, struct task_struct *child)
{
	if (!is_tried(child))
		return;
	WRITE_ONCE(child->thread_pid, pid);
	WRITE_ONCE(child->__state, state);
}

static void before_exit(void *data, struct task_struct *task, bool group_dead)
{
	if (!is_tried(task))
		return;
	files = task->files;
	if (!strcmp(odd, "exit"))
		atomic_inc(&task->signal->live);
	else
		WRITE_ONCE(task->files, NULL);
}

static void after_exit(void *data, struct task_struct *task, bool group_dead)
{
	if (!is_tried(task))
		return;
	WRITE_ONCE(task->files, files);
	if (!strcmp(odd, "exit"))
		atomic_dec(&task->signal->live);
}

static const char *wanted;
static struct tracepoint *tracepoint;
static void *before, *after;

static void look_at(struct tracepoint *tp, void *data)
{
	if (!strcmp(tp->name, wanted))
		tracepoint = tp;
}

static int surround(void)
{
	int err;

	for_each_kernel_tracepoint(look_at, NULL);
	if (!tracepoint)
		return -ENOENT;
	err = tracepoint_probe_register_prio(tracepoint, before, NULL, INT_MAX);
	if (err)
		return err;
	err = tracepoint_probe_register_prio(tracepoint, after, NULL, INT_MIN);
	if (err)
		tracepoint_probe_unregister(tracepoint, before, NULL);
	return err;
}

static __naked void return_at_once(void)
{
#if defined(CONFIG_X86_64)
	asm volatile(ASM_ENDBR ASM_RET);
#elif defined(CONFIG_ARM64)
	asm volatile("hint 34\n\t" /* bti c */
		     "ret");
#endif
}

/* One of those who calls it gets 0, which is also NULL, or ENOMEM. */
static int skip(struct kprobe *kp, struct pt_regs *regs)
{
	bool arms = !strcmp(odd, "arm_kprobe");

	if (arms ? strcmp(current->comm, "insmod") : !is_tried(current))
		return 0;
	regs_set_return_value(regs, arms ? -ENOMEM : 0);
	instruction_pointer_set(regs, (unsigned long)return_at_once);
	return 1;
}
NOKPROBE_SYMBOL(skip);

static struct kprobe probe = {
	.pre_handler = skip,
};

static int __init odd_kernel_init(void)
{
	if (!strcmp(odd, "fork") || !strcmp(odd, "woken")) {
		wanted = "sched_process_fork";
		before = before_fork;
		after = after_fork;
		return surround();
	}
	if (!strcmp(odd, "exit") || !strcmp(odd, "files")) {
		wanted = "sched_process_exit";
		before = before_exit;
		after = after_exit;
		return surround();
	}
	probe.symbol_name = odd;
	return register_kprobe(&probe);
}

static void __exit odd_kernel_exit(void)
{
	if (!tracepoint) {
		unregister_kprobe(&probe);
		return;
	}
	tracepoint_probe_unregister(tracepoint, before, NULL);
	tracepoint_probe_unregister(tracepoint, after, NULL);
	tracepoint_synchronize_unregister();
}

module_init(odd_kernel_init);
module_exit(odd_kernel_exit);

MODULE_DESCRIPTION("A kernel that does something else than pidns_guard knows");
MODULE_AUTHOR("The pidns_guard authors");
MODULE_LICENSE("GPL");
