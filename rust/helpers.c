// SPDX-License-Identifier: GPL-2.0
/*
 * What Rust cannot call by itself: macros and static inline functions that
 * have no helper in the kernel's rust/helpers/, and struct kretprobe, which the
 * kernel's bindings do not know. No decision is taken here.
 */

#include <linux/err.h>
#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>

#include "helpers.h"

notrace unsigned long
pidns_guard_ftrace_get_argument(struct ftrace_regs *fregs, unsigned int n)
{
	return ftrace_regs_get_argument(fregs, n);
}

notrace void
pidns_guard_ftrace_set_instruction_pointer(struct ftrace_regs *fregs,
					   unsigned long ip)
{
	ftrace_regs_set_instruction_pointer(fregs, ip);
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
	if (err) {
		kfree(probe);
		return ERR_PTR(err);
	}

	return probe;
}

void pidns_guard_retprobe_unregister(struct pidns_guard_retprobe *probe)
{
	unregister_kretprobe(&probe->rp);
	kfree(probe);
}
