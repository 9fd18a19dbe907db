// SPDX-License-Identifier: GPL-2.0
/*
 * Has a function that is called alloc_pid, too, and says who answers it. What it
 * is called with looks like a dead PID namespace.
 */

#include <linux/compiler.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/pid_namespace.h>
#include <linux/sysfs.h>

/* Another name for the compiler, which knows that of the kernel. */
noinline struct pid *own_alloc_pid(struct pid_namespace *ns, pid_t *set_tid,
				   size_t set_tid_size) asm("alloc_pid");

noinline struct pid *own_alloc_pid(struct pid_namespace *ns, pid_t *set_tid,
				   size_t set_tid_size)
{
	long err = ns->level && !set_tid && !set_tid_size ? -EUCLEAN : -EINVAL;

	/* It is called, with all of its arguments: nobody can know what it returns. */
	OPTIMIZER_HIDE_VAR(err);
	return ERR_PTR(err);
}

static struct pid_namespace dead = {
	.level = 1,
	.parent = &init_pid_ns,
	.user_ns = &init_user_ns,
};

static int ask(char *answer, const struct kernel_param *param)
{
	long err = PTR_ERR(own_alloc_pid(&dead, NULL, 0));

	return sysfs_emit(answer, "%s\n", err == -EUCLEAN ? "own" : "another");
}

static const struct kernel_param_ops ops = {
	.get = ask,
};
module_param_cb(answer, &ops, NULL, 0444);

MODULE_DESCRIPTION("A function of the same name as alloc_pid()");
MODULE_AUTHOR("The pidns_guard authors");
MODULE_LICENSE("GPL");
