// SPDX-License-Identifier: GPL-2.0
/*
 * What Rust cannot call by itself: macros and static inline functions that
 * have no helper in the kernel's rust/helpers/, and struct kretprobe, which the
 * kernel's bindings do not know; the parameters, for those of the kernel's
 * module! say less and show nothing in sysfs; and files in debugfs, for those of
 * the kernel crate have no owner. No decision is taken here.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/capability.h>
#include <linux/cgroup.h>
#include <linux/dcache.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/ftrace.h>
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/moduleparam.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/preempt.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/seq_file.h>
#include <linux/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <linux/uaccess.h>
#include <trace/events/sched.h>

#include "arch.h"
#include "helpers.h"

#define CREATE_TRACE_POINTS
#define CREATE_RUST_TRACE_POINTS
#include "trace.h"

/*
 * What is hooked goes by its name, and nobody else would see that a kernel passes
 * it something else: for such a one the module does not build. (dup_mmap() is
 * declared to the kernel's mm/ only, and none of its arguments is looked at.)
 */
static_assert(__same_type(alloc_pid, struct pid *(struct pid_namespace *, pid_t *, size_t)));
static_assert(__same_type(zap_pid_ns_processes, void (struct pid_namespace *)));

static void __maybe_unused
tracepoints_pass(void (*exited)(void *data, struct task_struct *task, bool group_dead),
		 void (*forked)(void *data, struct task_struct *parent, struct task_struct *child),
		 void (*waited)(void *data, struct pid *pid),
		 void (*freed)(void *data, struct task_struct *task))
{
	check_trace_callback_type_sched_process_exit(exited);
	check_trace_callback_type_sched_process_fork(forked);
	check_trace_callback_type_sched_process_wait(waited);
	check_trace_callback_type_sched_process_free(freed);
}

/* What they are when nobody says otherwise. load_module() sets them before init. */
struct pidns_guard_params pidns_guard_params __ro_after_init = {
	.guard = true,
	.kill = true,
	.early = true,
	.stall_secs = 10,
	.ledger_size = 256,
};

/*
 * Says in one line what is wrong with a parameter, and what would be right: the
 * kernel goes on to tell the first half only. (Whatever was given, ERANGE would
 * be "Numerical result out of range", of which insmod does not tell.)
 */
#define refuse(val, kp, wants, ...) ({						\
	const char *__val = (val) ?: "";					\
	pr_err("%s=%*pE: wants " wants ": not loaded\n", (kp)->name,		\
	       (int)strnlen(__val, 64), __val, ##__VA_ARGS__);			\
	-EINVAL;								\
})

static int set_switch(const char *val, const struct kernel_param *kp)
{
	return param_set_bool(val, kp) ?
		refuse(val, kp, "1, y or on, or else 0, n or off") : 0;
}

static int set_number(const char *val, const struct kernel_param *kp,
		      unsigned int min, unsigned int max)
{
	return param_set_uint_minmax(val, kp, min, max) ?
		refuse(val, kp, "a number from %u to %u", min, max) : 0;
}

static int set_stall_secs(const char *val, const struct kernel_param *kp)
{
	return set_number(val, kp, 0, UINT_MAX);
}

static int set_ledger_size(const char *val, const struct kernel_param *kp)
{
	return set_number(val, kp, 1, PIDNS_GUARD_MAX_LEDGER_SIZE);
}

/* Without a value too they come to be set here, and not to an error of parse_one(). */
static const struct kernel_param_ops switch_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = set_switch,
	.get = param_get_bool,
};

static const struct kernel_param_ops stall_secs_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = set_stall_secs,
	.get = param_get_uint,
};

static const struct kernel_param_ops ledger_size_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = set_ledger_size,
	.get = param_get_uint,
};

module_param_cb(guard, &switch_ops, &pidns_guard_params.guard, 0444);
__MODULE_PARM_TYPE(guard, "bool");
MODULE_PARM_DESC(guard,
		 "Refuse PIDs in a namespace whose init is dead (default: on)");

module_param_cb(kill, &switch_ops, &pidns_guard_params.kill, 0444);
__MODULE_PARM_TYPE(kill, "bool");
MODULE_PARM_DESC(kill,
		 "Kill everything in a namespace when its init dies (default: on)");

module_param_cb(early, &switch_ops, &pidns_guard_params.early, 0444);
__MODULE_PARM_TYPE(early, "bool");
MODULE_PARM_DESC(early,
		 "Do both at the death of init, not when it enters zap_pid_ns_processes() (default: on)");

module_param_cb(stall_secs, &stall_secs_ops, &pidns_guard_params.stall_secs, 0444);
__MODULE_PARM_TYPE(stall_secs, "uint");
MODULE_PARM_DESC(stall_secs,
		 "Log a teardown that lasts longer than this many seconds; 0: do not log (default: 10)");

module_param_cb(ledger_size, &ledger_size_ops, &pidns_guard_params.ledger_size, 0444);
__MODULE_PARM_TYPE(ledger_size, "uint");
MODULE_PARM_DESC(ledger_size,
		 "Number of teardowns to remember, 1 to "
		 __stringify(PIDNS_GUARD_MAX_LEDGER_SIZE) " (default: 256)");

notrace unsigned long
pidns_guard_ftrace_get_argument(struct ftrace_regs *fregs, unsigned int n)
{
	return arch_get_argument(fregs, n);
}

notrace void
pidns_guard_ftrace_set_instruction_pointer(struct ftrace_regs *fregs,
					   unsigned long ip)
{
	arch_set_instruction_pointer(fregs, ip);
}

/*
 * Where the kernel's own function of that name begins. ftrace by itself goes by
 * the name only, and would take that of a module, too.
 */
int pidns_guard_find_function(const char *function, unsigned long *address)
{
	/* Never armed: it is to learn the address, for the symbol is not exported. */
	struct kprobe probe = {
		.symbol_name = function,
		.flags = KPROBE_FLAG_DISABLED,
	};
	char name[KSYM_SYMBOL_LEN];
	int err;

	err = register_kprobe(&probe);
	if (err)
		return err;
	unregister_kprobe(&probe);

	/* Those of modules are found if vmlinux has none, and have a name behind them. */
	sprint_symbol_no_offset(name, (unsigned long)probe.addr);
	if (strcmp(name, function))
		return -ENOENT;

	*address = (unsigned long)probe.addr;
	return 0;
}

static notrace void do_nothing(unsigned long ip, unsigned long parent_ip,
			       struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
}

/*
 * Whether kernel.ftrace_enabled is 0, which Linux 7.3 does not allow any more. The
 * variable is not exported, but FTRACE_OPS_FL_PERMANENT is refused then, with the
 * EBUSY that FTRACE_OPS_FL_IPMODIFY gets for other reasons. @address is that of a
 * function that ftrace knows.
 */
bool pidns_guard_ftrace_is_off(unsigned long address)
{
	static struct ftrace_ops ops = {
		.func = do_nothing,
		.flags = FTRACE_OPS_FL_PERMANENT,
	};
	int err;

	err = ftrace_set_filter_ip(&ops, address, 0, 1);
	if (!err)
		err = register_ftrace_function(&ops);
	if (!err)
		unregister_ftrace_function(&ops);
	ftrace_free_filter(&ops);

	return err == -EBUSY;
}

/*
 * The flags of the fork() or clone() that the caller is in, and false if it is in
 * clone3(), whose are in its memory.
 */
notrace bool pidns_guard_fork_flags(unsigned long *flags)
{
	return arch_fork_flags(current, current_pt_regs(), flags);
}

void pidns_guard_tracepoint_synchronize_unregister(void)
{
	tracepoint_synchronize_unregister();
}

/*
 * A return probe. A kretprobe and not an fprobe: an fprobe with an exit
 * handler turns the function graph tracer on, and every fork in the system
 * then allocates a shadow stack (ftrace_graph_init_task()).
 */
struct pidns_guard_retprobe {
	struct kretprobe rp;
	void (*returned)(void);
};

static int pidns_guard_retprobe_handler(struct kretprobe_instance *ri,
					struct pt_regs *regs)
{
	struct kretprobe *rp = get_kretprobe(ri);

	if (rp)
		container_of(rp, struct pidns_guard_retprobe, rp)->returned();
	return 0;
}

struct pidns_guard_retprobe *
pidns_guard_retprobe_register(const char *function, int maxactive,
			      void (*returned)(void))
{
	struct pidns_guard_retprobe *probe;
	int err;

	probe = kzalloc_obj(*probe);
	if (!probe)
		return ERR_PTR(-ENOMEM);

	probe->rp.kp.symbol_name = function;
	probe->rp.handler = pidns_guard_retprobe_handler;
	probe->rp.maxactive = maxactive;
	probe->returned = returned;

	err = register_kretprobe(&probe->rp);
	/*
	 * Linux 7.3 does not return what arming has failed with, for lack of memory as a
	 * rule: the probe is gone again then (__register_kprobe()), and not valid. One
	 * that is there is enabled already, and this does nothing.
	 */
	if (!err && enable_kretprobe(&probe->rp)) {
		unregister_kretprobe(&probe->rp);
		err = -ENOMEM;
	}
	if (err) {
		kfree(probe);
		return ERR_PTR(err);
	}

	return probe;
}

/* As in the "missed" of kprobe_profile (trace_kprobe_missed()). */
unsigned long pidns_guard_retprobe_missed(const struct pidns_guard_retprobe *probe)
{
	return READ_ONCE(probe->rp.kp.nmissed) + READ_ONCE(probe->rp.nmissed);
}

/*
 * A probe that there is no memory to disarm, unregister_kretprobe() leaves where it
 * is, and it would run in what is freed here. Said to be disabled it is not found
 * again: all that is left then is a function in ftrace's filter for kprobes, which
 * does nothing there.
 */
void pidns_guard_retprobe_unregister(struct pidns_guard_retprobe *probe)
{
	if (disable_kretprobe(&probe->rp))
		probe->rp.kp.flags |= KPROBE_FLAG_DISABLED;
	unregister_kretprobe(&probe->rp);
	kfree(probe);
}

/* A file has its show() for aux: what single_open() is to be told. */
static int pidns_guard_file_open(struct inode *inode, struct file *file)
{
	return single_open(file, debugfs_get_aux(file), inode->i_private);
}

/* Whoever has it open then may read it: what counts is who has opened it. */
static int pidns_guard_admin_file_open(struct inode *inode, struct file *file)
{
	return capable(CAP_SYS_ADMIN) ? pidns_guard_file_open(inode, file) : -EPERM;
}

#define FILE_OPS(__open)				\
{							\
	.owner = THIS_MODULE,				\
	.open = __open,					\
	.read = seq_read,				\
	.llseek = seq_lseek,				\
	.release = single_release,			\
}

static const struct file_operations pidns_guard_file_ops = FILE_OPS(pidns_guard_file_open);
static const struct file_operations pidns_guard_admin_file_ops =
	FILE_OPS(pidns_guard_admin_file_open);

bool pidns_guard_debugfs_has(const char *name)
{
	struct dentry *dentry = debugfs_lookup(name, NULL);

	if (IS_ERR_OR_NULL(dentry))
		return false;

	dput(dentry);
	return true;
}

struct dentry *pidns_guard_debugfs_dir(const char *name)
{
	return debugfs_create_dir(name, NULL);
}

void pidns_guard_debugfs_file(const char *name, struct dentry *dir, bool admin_only,
			      int (*show)(struct seq_file *seq, void *v), void *data)
{
	debugfs_create_file_aux(name, 0400, dir, data, show,
				admin_only ? &pidns_guard_admin_file_ops : &pidns_guard_file_ops);
}

void pidns_guard_debugfs_remove(struct dentry *dir)
{
	debugfs_remove(dir);
}

void pidns_guard_preempt_disable(void)
{
	if (!IS_ENABLED(CONFIG_PREEMPT_RT))
		preempt_disable();
}

void pidns_guard_preempt_enable(void)
{
	if (!IS_ENABLED(CONFIG_PREEMPT_RT))
		preempt_enable();
}

/*
 * Lets the caller's process, whose threads have all come to do_exit(), ignore
 * SIGCHLD, unless it shares its handlers with another process.
 *
 * Each thread has taken one of sighand->count before it is one of nr_threads
 * (copy_sighand(), copy_process()), and gives it back after it is none any more
 * (__exit_signal()), which is under siglock: so without another process the two are
 * equal, or the count is too high for a moment, and nothing is done. It cannot come
 * to be shared any more, as that takes a thread that forks.
 *
 * zap_pid_ns_processes() does not ask, and sets SIG_IGN for the other process, too:
 * that is as without this module, and it is left to that.
 */
void pidns_guard_ignore_sigchld(void)
{
	struct sighand_struct *sighand = current->sighand;
	bool shared;

	spin_lock_irq(&sighand->siglock);
	shared = refcount_read(&sighand->count) > current->signal->nr_threads;
	spin_unlock_irq(&sighand->siglock);

	/* SIG_IGN is not the address of a function, as Rust would have it. */
	if (!shared)
		disallow_signal(SIGCHLD);
}

/*
 * The number of the system call that @task is in; negative if it is in none, or
 * nothing is known of it.
 *
 * A task that dies gives up its stack, which may go without a grace period: by way
 * of the cache, should another task fail to get it charged to its cgroup
 * (alloc_thread_stack_node()). try_get_task_stack() would keep it, but modules do
 * not have put_task_stack(). So it is read as something that may not be there. Should
 * it be another task's by now, the number is that one's.
 */
int pidns_guard_syscall(struct task_struct *task)
{
	struct pt_regs regs;

	/* Threads of io_uring and vhost have registers that their maker had. */
	if (READ_ONCE(task->flags) & (PF_KTHREAD | PF_USER_WORKER))
		return -1;
	if (copy_from_kernel_nofault(&regs, task_pt_regs(task), sizeof(regs)))
		return -1;

	return arch_syscall(task, &regs);
}

/*
 * The cgroup of @task in the hierarchy of the freezer, which is one of cgroup
 * v1. Called under RCU, until whose release all that this leads to stays: the css_set
 * (put_css_set_locked()), the css and then its cgroup (css_release_work_fn(), by
 * queue_rcu_work()), also that of a hierarchy that is unmounted
 * (cgroup_free_root()), and the kernfs node, its name and those above
 * (kernfs_put()).
 */
int pidns_guard_freezer_path(struct task_struct *task, char *path, size_t size)
{
#ifdef CONFIG_CGROUP_FREEZER
	return cgroup_path(task_css(task, freezer_cgrp_id)->cgroup, path, size);
#else
	return -EOPNOTSUPP;
#endif
}
