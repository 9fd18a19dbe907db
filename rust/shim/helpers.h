/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The Rust side declares the same functions by hand, each beside its only
 * user in rust/hooks/.
 */
#ifndef _PIDNS_GUARD_HELPERS_H
#define _PIDNS_GUARD_HELPERS_H

#include <linux/types.h>

struct dentry;
struct ftrace_regs;
struct pidns_guard_retprobe;
struct seq_file;
struct task_struct;

#define PIDNS_GUARD_MAX_LEDGER_SIZE	4096

/* The parameters. Once the module has been loaded they do not change. */
struct pidns_guard_params {
	bool guard, kill, early;
	unsigned int stall_secs, ledger_size;
};

extern struct pidns_guard_params pidns_guard_params;

unsigned long pidns_guard_ftrace_get_argument(struct ftrace_regs *fregs,
					      unsigned int n);
void pidns_guard_ftrace_set_instruction_pointer(struct ftrace_regs *fregs,
						unsigned long ip);

int pidns_guard_find_function(const char *function, unsigned long *address);

bool pidns_guard_ftrace_is_off(unsigned long address);

bool pidns_guard_fork_flags(unsigned long *flags);

void pidns_guard_tracepoint_synchronize_unregister(void);

struct pidns_guard_retprobe *
pidns_guard_retprobe_register(const char *function, int maxactive,
			      void (*returned)(void));
unsigned long pidns_guard_retprobe_missed(const struct pidns_guard_retprobe *probe);
void pidns_guard_retprobe_unregister(struct pidns_guard_retprobe *probe);

bool pidns_guard_debugfs_has(const char *name);
struct dentry *pidns_guard_debugfs_dir(const char *name);
void pidns_guard_debugfs_file(const char *name, struct dentry *dir, bool admin_only,
			      int (*show)(struct seq_file *seq, void *v), void *data);
void pidns_guard_debugfs_remove(struct dentry *dir);

void pidns_guard_preempt_disable(void);
void pidns_guard_preempt_enable(void);

void pidns_guard_ignore_sigchld(void);

int pidns_guard_syscall(struct task_struct *task);
int pidns_guard_freezer_path(struct task_struct *task, char *path, size_t size);

#endif /* _PIDNS_GUARD_HELPERS_H */
