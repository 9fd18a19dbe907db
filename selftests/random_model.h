/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The operations of a random program, and a model of the world that they act
 * on: who lives where, who is whose parent and tracer, who can move, who is
 * dead. It holds the rules of pid_namespaces(7), wait(2), ptrace(2) and of the
 * freezer, as far as the oracle needs them, and nothing of the module's.
 *
 * Programs are written against it, so that their operations do something; and
 * while they run it tells what must come of each.
 */
#ifndef __RANDOM_MODEL_H
#define __RANDOM_MODEL_H

#include "random_actor.h"

#define MAX_OPS		48
#define MAX_LEVEL	6
#define GROUPS		2	/* cgroups that processes are moved between */
#define NONE		255

enum kind {
	SPAWN,		/* a process makes another */
	THREAD,
	UNSHARE,
	SETNS,
	FILES,		/* files of its own, with all that is open by now */
	EXEC,
	STORM,
	WAIT,
	TRACE,
	INTERRUPT,
	RESUME,
	DETACH,
	EXIT,
	EXIT_THREAD,
	FAULT,
	KILL,
	STOP,
	CONT,
	FREEZE,
	THAW,
	MOVE,
	ICE,		/* the freezer of cgroup v1, which lets nobody die */
	MELT,
	INSMOD,
	RMMOD,
	KINDS,
};

/* In op.how */
#define OF_MEMORY	0x01	/* shares the memory of its parent */
#define OF_FILES	0x02	/* ... and the files */
#define IN_VFORK	0x04
#define IN_NEW		0x08	/* in a namespace of its own */
#define AS_SIBLING	0x10	/* CLONE_PARENT */
#define UNSIGNALLED	0x20	/* its end sends no signal */
#define BY_PIDFD	0x40	/* setns() by way of its init */
#define WITH_TRACER	0x80	/* PTRACE_O_EXITKILL */

/* Tasks, namespaces and groups go by numbers that do not depend on what came before. */
struct op {
	__u8 kind;
	__u8 by, on;		/* tasks; a process goes by the task that it began with */
	__u8 make, ns;	/* a new task, a namespace or a group */
	__u8 how, code;
	bool with_next;		/* at the same time as the next one */
};

struct program {
	unsigned long long seed;
	int nr;
	struct op op[MAX_OPS];
};

enum life { UNBORN, ALIVE, ZOMBIE, GONE };

struct task {
	bool made, alive;
	__u8 proc;
	__u8 children;	/* the namespace that its children are born in */
	int split;		/* when its files parted from the worker's; -1: they are the same */
};

struct proc {
	enum life life;
	__u8 ns, parent, leader;
	__u8 named_in;	/* the namespace in which slot.pid is its number */
	__u8 tracer, vforker;	/* a task that waits for its exec or exit */
	__u8 group;
	bool unsure;		/* born in a race with a death: it may not be there, or trace */
	bool stopped, trapped, exitkill, iced;
	bool leader_left;
	int leader_status, status;
	int fd, birth;
};

struct ns {
	enum life life;
	__u8 parent, init, level;
	bool settled;		/* its end has been seen */
	int fd, birth;
};

struct world {
	bool live;		/* it is not only imagined */
	bool loaded;		/* by the program's own reckoning */
	bool unsettled;		/* somebody has died, and the end is to be seen */
	bool frozen[GROUPS], ice;
	int clock;		/* the same for all that happens at the same time */
	struct task task[MAX_TASKS + 1];
	struct proc proc[MAX_TASKS + 1];
	struct ns ns[MAX_NS];
};

static inline void world_begin(struct world *w)
{
	int i;

	memset(w, 0, sizeof(*w));
	w->loaded = true;
	for (i = 0; i < MAX_TASKS; i++) {
		w->proc[i].fd = -1;
		w->proc[i].tracer = NONE;
		w->proc[i].vforker = NONE;
	}
	for (i = 0; i < MAX_NS; i++) {
		w->ns[i].fd = -1;
		w->ns[i].init = NONE;
	}
	w->ns[0].life = ALIVE;
	w->proc[DIRECTOR] = (struct proc){
		.life = ALIVE, .parent = NONE, .leader = DIRECTOR, .tracer = NONE,
		.vforker = NONE, .fd = -1,
	};
	w->task[DIRECTOR] = (struct task){
		.made = true, .alive = true, .proc = DIRECTOR, .split = -1,
	};
}

/* --- What is so */

static inline struct proc *proc_of(struct world *w, int task)
{
	return &w->proc[w->task[task].proc];
}

static inline bool is_init(const struct world *w, int proc)
{
	return proc != DIRECTOR && w->ns[w->proc[proc].ns].init == proc;
}

/* Whether @ns is @above, or below it. */
static inline bool is_within(const struct world *w, int ns, int above)
{
	while (ns != above && ns)
		ns = w->ns[ns].parent;
	return ns == above;
}

static inline bool is_dead(const struct world *w, int ns)
{
	for (; ns; ns = w->ns[ns].parent)
		if (w->ns[ns].life >= ZOMBIE)
			return true;
	return false;
}

static inline bool is_process(const struct world *w, int proc)
{
	return proc < MAX_TASKS && w->task[proc].made && w->task[proc].proc == proc;
}

static inline bool lives(const struct world *w, int proc)
{
	return is_process(w, proc) && w->proc[proc].life == ALIVE;
}

static inline bool leader_lives(const struct world *w, int proc)
{
	return lives(w, proc) && w->task[w->proc[proc].leader].alive;
}

/* Whether it can carry out an order. */
static inline bool can_act(const struct world *w, int task)
{
	const struct proc *p = &w->proc[w->task[task].proc];
	int i;

	if (task == DIRECTOR)
		return true;
	if (task > MAX_TASKS || !w->task[task].alive || p->stopped ||
	    w->frozen[p->group] || (p->iced && w->ice) || (p->trapped && p->leader == task))
		return false;
	for (i = 0; i < MAX_TASKS; i++)
		if (lives(w, i) && w->proc[i].vforker == task)
			return false;
	return true;
}

static inline int acting_task(const struct world *w, int proc)
{
	int i;

	if (proc == DIRECTOR)
		return DIRECTOR;
	for (i = 0; i < MAX_TASKS; i++)
		if (w->task[i].alive && w->task[i].proc == proc && can_act(w, i))
			return i;
	return NONE;
}

static inline int threads_alive(const struct world *w, int proc)
{
	int i, n = 0;

	for (i = 0; i < MAX_TASKS; i++)
		n += w->task[i].alive && w->task[i].proc == proc;
	return n;
}

/* Whether a descriptor that was opened at @birth is there for @task too. */
static inline bool has_open(const struct world *w, int task, int birth)
{
	return w->task[task].split < 0 || birth < w->task[task].split;
}

static inline bool has_number(const struct world *w, int task, int proc)
{
	return has_open(w, task, w->proc[proc].birth) &&
	       is_within(w, w->proc[proc].ns, w->proc[w->task[task].proc].ns);
}

/* Whether @task has a way to name @proc in a waitid(). */
static inline bool can_name(const struct world *w, int task, int proc)
{
	return task == DIRECTOR || has_number(w, task, proc) ||
	       w->proc[proc].named_in == w->proc[w->task[task].proc].ns;
}

/* Whether @task may wait for @proc: as its tracer, or as its parent if there is none. */
static inline bool may_wait(struct world *w, int task, int proc)
{
	const struct proc *p = &w->proc[proc];

	if (p->tracer != NONE)
		return w->task[p->tracer].proc == w->task[task].proc;
	return p->parent == w->task[task].proc;
}

/* --- What becomes so */

static inline void proc_dies(struct world *w, int proc, int status);

static inline void task_dies(struct world *w, int task)
{
	int i;

	w->task[task].alive = false;
	if (w->proc[w->task[task].proc].leader == task)
		w->proc[w->task[task].proc].vforker = NONE;
	for (i = 0; i < MAX_TASKS; i++) {
		if (!is_process(w, i))
			continue;
		if (w->proc[i].vforker == task)
			w->proc[i].vforker = NONE;
		if (w->proc[i].tracer != task)
			continue;
		w->proc[i].tracer = NONE;
		w->proc[i].trapped = false;
		if (w->proc[i].exitkill && lives(w, i))
			proc_dies(w, i, SIGKILL);
	}
}

static inline void ns_dies(struct world *w, int ns)
{
	int i;

	w->ns[ns].life = ZOMBIE;
	for (i = 0; i < MAX_TASKS; i++)
		if (lives(w, i) && is_within(w, w->proc[i].ns, ns))
			proc_dies(w, i, SIGKILL);
}

static inline void proc_dies(struct world *w, int proc, int status)
{
	struct proc *p = &w->proc[proc];
	int i;

	if (p->life != ALIVE)
		return;
	p->life = ZOMBIE;
	p->status = status;
	p->trapped = false;
	w->unsettled = true;
	for (i = 0; i < MAX_TASKS; i++)
		if (w->task[i].alive && w->task[i].proc == proc)
			task_dies(w, i);
	for (i = 0; i < MAX_TASKS; i++)
		if (is_process(w, i) && w->proc[i].parent == proc)
			w->proc[i].parent = is_init(w, proc) ? NONE : p->ns ?
					    w->ns[p->ns].init : DIRECTOR;
	if (is_init(w, proc))
		ns_dies(w, p->ns);
}

static inline void ns_begins(struct world *w, int ns, int parent)
{
	w->ns[ns].parent = parent;
	w->ns[ns].level = w->ns[parent].level + 1;
}

/* Whether a fork by @task is to be refused. */
static inline bool is_refused(const struct world *w, int task)
{
	return is_dead(w, w->task[task].children);
}

static inline void spawn(struct world *w, const struct op *op)
{
	struct task *by = &w->task[op->by], *t = &w->task[op->make];
	struct proc *p = &w->proc[op->make], *from = proc_of(w, op->by);
	int ns = by->children;

	if (is_refused(w, op->by))
		return;
	if (op->how & IN_NEW) {
		ns_begins(w, op->ns, ns);
		ns = op->ns;
	}
	t->made = true;
	t->alive = true;
	t->proc = op->make;
	t->children = ns;
	t->split = op->how & OF_FILES || by->split >= 0 ? by->split : w->clock;
	p->life = ALIVE;
	p->ns = ns;
	p->leader = op->make;
	p->parent = op->how & AS_SIBLING ? from->parent : by->proc;
	p->named_in = from->ns;
	p->vforker = op->how & IN_VFORK ? op->by : NONE;
	p->group = from->group;
	p->iced = from->iced;
	p->birth = w->clock;
	if (w->ns[ns].life == UNBORN) {
		w->ns[ns].life = ALIVE;
		w->ns[ns].init = op->make;
		w->ns[ns].birth = w->clock;
	}
}

/* It was not to be, after all. */
static inline void never_born(struct world *w, int task)
{
	struct proc *p = &w->proc[task];

	p->life = GONE;
	w->task[task].alive = false;
	if (w->ns[p->ns].init == task && w->ns[p->ns].life == ALIVE) {
		w->ns[p->ns].life = UNBORN;
		w->ns[p->ns].init = NONE;
	}
}

static inline void exit_thread(struct world *w, const struct op *op)
{
	int proc = w->task[op->by].proc, status = op->code << 8;
	struct proc *p = &w->proc[proc];

	if (p->leader == op->by) {
		p->leader_left = true;
		p->leader_status = status;
	}
	if (threads_alive(w, proc) > 1)
		task_dies(w, op->by);
	else
		proc_dies(w, proc, status);
}

static inline void exec(struct world *w, const struct op *op)
{
	int i, proc = w->task[op->by].proc;
	struct proc *p = &w->proc[proc];

	for (i = 0; i < MAX_TASKS; i++)
		if (i != op->by && w->task[i].alive && w->task[i].proc == proc)
			task_dies(w, i);
	p->leader = op->by;
	p->leader_left = false;
	p->vforker = NONE;
	w->task[op->by].split = 0;
}

static inline bool kill_has_effect(const struct world *w, const struct op *op)
{
	return op->by == DIRECTOR || !is_init(w, op->on) ||
	       w->proc[w->task[op->by].proc].ns != w->proc[op->on].ns;
}

static inline void waited(struct world *w, const struct op *op)
{
	struct proc *p = &w->proc[op->on];

	if (p->life != ZOMBIE)
		return;
	if (p->tracer != NONE && p->parent != w->task[op->by].proc)
		p->tracer = NONE;
	else
		p->life = GONE;
}

/* What comes of an operation that is_ready(). */
static inline void apply(struct world *w, const struct op *op)
{
	struct task *t = &w->task[op->by];
	struct proc *on = &w->proc[op->on];

	switch (op->kind) {
	case SPAWN:
		spawn(w, op);
		break;
	case THREAD:
		w->task[op->make] = *t;
		w->task[op->make].children = proc_of(w, op->by)->ns;
		break;
	case UNSHARE:
		ns_begins(w, op->ns, t->children);
		t->children = op->ns;
		break;
	case SETNS:
		t->children = op->ns;
		break;
	case FILES:
		t->split = w->clock;
		break;
	case EXEC:
		exec(w, op);
		break;
	case WAIT:
		waited(w, op);
		break;
	case TRACE:
		on->tracer = op->by;
		on->exitkill = op->how & WITH_TRACER;
		break;
	case INTERRUPT:
		on->trapped = true;
		break;
	case DETACH:
		on->tracer = NONE;
		on->trapped = false;
		break;
	case RESUME:
		on->trapped = false;
		break;
	case EXIT:
		proc_dies(w, t->proc, op->code << 8);
		break;
	case EXIT_THREAD:
		exit_thread(w, op);
		break;
	case FAULT:
		proc_dies(w, t->proc, SIGILL);
		break;
	case KILL:
		if (kill_has_effect(w, op))
			proc_dies(w, op->on, SIGKILL);
		break;
	case STOP:
	case CONT:
		on->stopped = op->kind == STOP;
		break;
	case FREEZE:
	case THAW:
		w->frozen[op->ns] = op->kind == FREEZE;
		break;
	case MOVE:
		on->group = op->ns;
		break;
	case ICE:
		on->iced = true;
		w->ice = true;
		break;
	case MELT:
		w->ice = false;
		break;
	case INSMOD:
	case RMMOD:
		w->loaded = op->kind == INSMOD;
		break;
	}
}

/* --- What can be done */

static inline bool may_spawn(struct world *w, const struct op *op)
{
	const struct task *t = &w->task[op->by];
	int proc = t->proc;

	if (w->task[op->make].made || op->make >= MAX_TASKS)
		return false;
	if (op->how & IN_NEW && (t->children != w->proc[proc].ns ||
				 w->ns[t->children].level >= MAX_LEVEL || w->ns[op->ns].level))
		return false;
	if (op->how & AS_SIBLING && (proc == DIRECTOR || is_init(w, proc) || t->split >= 0))
		return false;
	/* The worker must not wait, and its children are born into a group. */
	return proc != DIRECTOR || !(op->how & IN_VFORK || w->frozen[0]);
}

static inline bool may_trace(struct world *w, const struct op *op)
{
	const struct proc *on = &w->proc[op->on];
	int up;

	if (!leader_lives(w, op->on) || on->tracer != NONE || on->stopped || w->ice ||
	    w->task[op->by].proc == op->on || !has_number(w, op->by, op->on))
		return false;
	/* Not in a circle. */
	for (up = op->by; up != NONE; up = proc_of(w, up)->tracer)
		if (w->task[up].proc == op->on)
			return false;
	return true;
}

/* Whether it would do something, and nothing that the oracle cannot judge. */
static inline bool is_ready(struct world *w, const struct op *op)
{
	const struct task *t = &w->task[op->by];
	struct proc *from = proc_of(w, op->by), *on = &w->proc[op->on];

	/* Without the module nothing is promised: nothing but its return is sure. */
	if (w->unsettled && !w->loaded && op->kind != INSMOD)
		return false;
	if (!w->loaded && (op->kind == SPAWN || op->kind == STORM) && is_refused(w, op->by))
		return false;
	switch (op->kind) {
	case SPAWN:
		return can_act(w, op->by) && may_spawn(w, op);
	case MOVE:
		return leader_lives(w, op->on) && on->group != op->ns;
	case STOP:
		return lives(w, op->on) && !on->stopped && on->tracer == NONE;
	case CONT:
		return lives(w, op->on) && on->stopped;
	case ICE:
		return leader_lives(w, op->on) && !(on->iced && w->ice) && on->tracer == NONE;
	case MELT:
		return w->ice;
	case FREEZE:
	case THAW:
		return w->frozen[op->ns] == (op->kind == THAW);
	case INSMOD:
	case RMMOD:
		return w->loaded == (op->kind == RMMOD);
	case KILL:
		return lives(w, op->on) && can_act(w, op->by) && t->proc != op->on &&
		       (op->by == DIRECTOR || has_number(w, op->by, op->on));
	case WAIT:
		return is_process(w, op->on) && on->life != GONE && can_act(w, op->by) &&
		       may_wait(w, op->by, op->on) && can_name(w, op->by, op->on);
	}
	/* The rest is done by an actor itself. */
	if (op->by == DIRECTOR || !can_act(w, op->by))
		return false;
	switch (op->kind) {
	case THREAD:
		return !w->task[op->make].made && op->make < MAX_TASKS &&
		       t->children == from->ns;
	case UNSHARE:
		return t->children == from->ns && w->ns[from->ns].level < MAX_LEVEL &&
		       !w->ns[op->ns].level;
	case SETNS:
		if (op->ns == t->children || !w->ns[op->ns].life ||
		    !has_open(w, op->by, w->ns[op->ns].birth))
			return false;
		/* A pidfd is that of the leader. */
		if (op->how & BY_PIDFD && (!op->ns || !leader_lives(w, w->ns[op->ns].init)))
			return false;
		return is_within(w, op->ns, from->ns);
	case FILES:
		return t->split < 0;
	case EXEC:
		return from->tracer == NONE || threads_alive(w, t->proc) == 1;
	case STORM:
		/* Not where its first child would be an init. */
		if (op->how & IN_NEW)
			return t->children == from->ns && w->ns[from->ns].level < MAX_LEVEL;
		return is_refused(w, op->by) || w->ns[t->children].life == ALIVE;
	case TRACE:
		return may_trace(w, op);
	case INTERRUPT:
	case RESUME:
	case DETACH:
		if (!lives(w, op->on) || on->tracer != op->by || !has_number(w, op->by, op->on))
			return false;
		/* It stops in user space only, which it has to come to. */
		return on->trapped ? op->kind != INTERRUPT :
				     op->kind != RESUME && can_act(w, on->leader);
	case EXIT:
		return true;
	case FAULT:
		/* Who is traced would stop for it. */
	case EXIT_THREAD:
		return from->tracer == NONE;
	default:
		return false;
	}
}

#endif /* __RANDOM_MODEL_H */
