// SPDX-License-Identifier: GPL-2.0
/*
 * A loop in the kernel that no signal ends, for those who write "s" to
 * /sys/kernel/debug/pidns_test_spin. It ends for all of them when "x" is written.
 */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

static atomic_t stops = ATOMIC_INIT(0);
static struct dentry *file;

static ssize_t spin_write(struct file *file, const char __user *buf, size_t size, loff_t *pos)
{
	int seen = atomic_read(&stops);
	char c;

	if (get_user(c, buf))
		return -EFAULT;
	if (c == 'x')
		atomic_inc(&stops);
	else
		while (atomic_read(&stops) == seen)
			cond_resched();
	return size;
}

static const struct file_operations spin_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = spin_write,
};

static int __init spin_init(void)
{
	file = debugfs_create_file("pidns_test_spin", 0200, NULL, NULL, &spin_fops);
	return PTR_ERR_OR_ZERO(file);
}

static void __exit spin_exit(void)
{
	atomic_inc(&stops);
	debugfs_remove(file);
}

module_init(spin_init);
module_exit(spin_exit);
MODULE_DESCRIPTION("A task that spins in the kernel");
MODULE_LICENSE("GPL");
