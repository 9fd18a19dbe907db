// SPDX-License-Identifier: GPL-2.0
/*
 * A loop in the kernel that no signal ends, for a task that writes "s" to
 * /sys/kernel/debug/pidns_test_spin/write. It ends for all tasks when "x" is written.
 * The file "tasks" has the number of tasks in the loop.
 */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

static atomic_t stops = ATOMIC_INIT(0);
static atomic_t tasks = ATOMIC_INIT(0);
static struct dentry *dir;

static ssize_t spin_write(struct file *file, const char __user *buf, size_t size, loff_t *pos)
{
	int seen = atomic_read(&stops);
	char c;

	if (get_user(c, buf))
		return -EFAULT;
	if (c == 'x') {
		atomic_inc(&stops);
		return size;
	}

	atomic_inc(&tasks);
	while (atomic_read(&stops) == seen)
		cond_resched();
	atomic_dec(&tasks);
	return size;
}

static const struct file_operations spin_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = spin_write,
};

static int __init spin_init(void)
{
	dir = debugfs_create_dir("pidns_test_spin", NULL);
	if (IS_ERR(dir))
		return PTR_ERR(dir);
	debugfs_create_file("write", 0200, dir, NULL, &spin_fops);
	debugfs_create_atomic_t("tasks", 0400, dir, &tasks);
	return 0;
}

static void __exit spin_exit(void)
{
	atomic_inc(&stops);
	debugfs_remove(dir);
}

module_init(spin_init);
module_exit(spin_exit);
MODULE_DESCRIPTION("A task that spins in the kernel");
MODULE_LICENSE("GPL");
