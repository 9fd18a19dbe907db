/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Runs a random program, and judges it: by what the calls return, by pidfds,
 * waitid() and cgroup.procs, against the model.
 *
 * The same code writes programs, in a world that is only imagined.
 */
#ifndef __RANDOM_RUN_H
#define __RANDOM_RUN_H

#include <stdarg.h>

#include "pidns_module.h"
#include "random_model.h"

/* A worker: where its programs run, and what it knows of the one that does. */
struct run {
	struct world w;
	char objection[400];
	int worker;
	int group[GROUPS], procs[GROUPS];	/* directories; cgroup.procs */
	int ice;		/* a directory of the freezer of cgroup v1, or -1 */
	int first_fd;		/* from here on, what a program has opened */
	int patience_ms;	/* what must happen has this long to happen */
	int patient;		/* looks before a wait is given up as in vain */
	unsigned long done, skipped;
};

static inline void object(struct run *r, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Only the first one counts: the rest may follow from it. */
static inline void object(struct run *r, const char *format, ...)
{
	va_list args;

	if (*r->objection)
		return;
	va_start(args, format);
	vsnprintf(r->objection, sizeof(r->objection), format, args);
	va_end(args);
}

static inline bool objected(const struct run *r)
{
	return *r->objection;
}

/* --- Orders and answers */

static inline struct slot *post(int task, enum order order)
{
	struct slot *s = &stage->slot[task];

	s->order = order;
	s->status = 0;
	return s;
}

/* Sends an order that post() has begun. */
static inline void send_order(struct run *r, int task)
{
	struct slot *s = &stage->slot[task];

	s->births = r->w.task[task].children;
	if (task == DIRECTOR) {
		s->result = carry_out(s);
		atomic_store(&s->done, atomic_fetch_add(&s->posted, 1) + 1);
		return;
	}
	atomic_fetch_add(&s->posted, 1);
	raw5(__NR_futex, (long)&s->posted, FUTEX_WAKE, 1, 0, 0);
}

static inline bool answered(int task)
{
	return atomic_load(&stage->slot[task].done) == atomic_load(&stage->slot[task].posted);
}

/* The number of a process in the root namespace, or -errno. */
static inline long outer_number(struct run *r, int proc)
{
	return r->w.proc[proc].fd < 0 ? -ESRCH : number_of(r->w.proc[proc].fd);
}

static inline short ended(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0 ? p.revents : 0;
}

/* Waits until somebody rings, or the process ends; false after @ms. */
static inline bool await_ring(int fd, int ms)
{
	struct pollfd p[2] = {
		{ .fd = stage->bell, .events = POLLIN },
		{ .fd = fd, .events = POLLIN },
	};
	__u64 n;

	if (poll(p, 2, ms) <= 0)
		return false;
	if (p[0].revents && read(stage->bell, &n, sizeof(n)) < 0)
		return true;
	return true;
}

/*
 * Whether @task answers: false if its process ends before that; or if it is a
 * dying init that sleeps until others have gone, which may wait for us.
 */
static inline bool await_answer(struct run *r, int task, int born)
{
	int proc = r->w.task[task].proc, fd = r->w.proc[proc].fd;
	long long end = now_ms() + r->patience_ms;
	bool doomed = !lives(&r->w, proc) && is_init(&r->w, proc);

	while (!answered(task)) {
		if (born != NONE && atomic_load(&stage->slot[born].born))
			return true;
		if (ended(fd))
			return answered(task);
		if (await_ring(fd, doomed ? LOOK_MS / 10 : LOOK_MS))
			continue;
		if (doomed && sleeps_in(outer_number(r, proc), "zap_pid_ns_processes"))
			return answered(task);
		if (now_ms() > end) {
			object(r, "t%d does not come to an end with what it was told", task);
			return false;
		}
	}
	return true;
}

static inline bool await_birth(struct run *r, int task)
{
	long long end = now_ms() + r->patience_ms;
	int fd = r->w.proc[r->w.task[task].proc].fd;

	while (!atomic_load(&stage->slot[task].born)) {
		if (ended(fd)) {
			object(r, "t%d has died, and nobody has killed it", task);
			return false;
		}
		if (!await_ring(fd, LOOK_MS) && now_ms() > end) {
			object(r, "t%d was born and does not run", task);
			return false;
		}
	}
	return true;
}

/*
 * Waits for the end of a thread that others outlive: which of them is the last
 * decides on the status of the process.
 */
static inline void await_exit(struct run *r, int task)
{
	struct timespec look = { .tv_nsec = LOOK_MS * 1000000L };
	long long end = now_ms() + r->patience_ms;
	struct slot *s = &stage->slot[task];

	while (atomic_load(&s->here)) {
		raw5(__NR_futex, (long)&s->here, FUTEX_WAIT, 1, (long)&look, 0);
		if (now_ms() > end) {
			object(r, "thread t%d does not end", task);
			return;
		}
	}
}

/* The topmost namespace above @proc, or its own, that is dead. */
static inline int dead_ns_of(const struct world *w, int proc)
{
	int ns, dead = 0;

	for (ns = w->proc[proc].ns; ns; ns = w->ns[ns].parent)
		if (w->ns[ns].life >= ZOMBIE)
			dead = ns;
	return dead;
}

/*
 * Waits for @event of the pidfd of @proc; in vain if it lives on undisturbed.
 * With @or_doomed it is enough to see that it does not: an init may have to wait
 * for others.
 */
static inline bool await_end(struct run *r, int proc, short event, bool or_doomed)
{
	struct pollfd p = { .fd = r->w.proc[proc].fd, .events = event & POLLIN };
	long long end = now_ms() + r->patience_ms;
	long pid = 0;
	int looks = 0;

	while (poll(&p, 1, LOOK_MS) <= 0 || !(p.revents & event)) {
		if (pid <= 0)
			pid = outer_number(r, proc);
		looks = pid > 0 && left_alone(pid) ? looks + 1 : 0;
		if (!looks && or_doomed)
			return true;
		if (looks >= r->patient && dead_ns_of(&r->w, proc)) {
			int dead = dead_ns_of(&r->w, proc);

			object(r, "t%d lives on in n%d; init t%d of n%d is dead", proc,
			       r->w.proc[proc].ns, r->w.ns[dead].init, dead);
			return false;
		}
		if (looks >= r->patient || now_ms() > end) {
			object(r, "t%d does not %s", proc, event == POLLIN ? "end" : "leave");
			return false;
		}
	}
	return true;
}

/* --- The oracle */

static inline const char *status_text(int status)
{
	static char text[2][32];
	static int turn;
	char *t = text[turn ^= 1];

	if (WIFEXITED(status))
		snprintf(t, sizeof(text[0]), "exit %d", WEXITSTATUS(status));
	else
		snprintf(t, sizeof(text[0]), "signal %d", WTERMSIG(status));
	return t;
}

/* @unsure: in a race with its death it may have been faster. */
static inline void judge_status(struct run *r, int proc, int status, const char *who)
{
	const struct proc *p = &r->w.proc[proc];

	if (status == p->status || (p->unsure && status == SIGKILL))
		return;
	/* A pidfd knows what became of the leader, waitid() of the process. */
	if (p->leader_left && status == p->leader_status)
		return;
	object(r, "%s says %s of t%d, which was to have %s", who, status_text(status), proc,
	       status_text(p->status));
}

/* What the pidfd of a process that was reaped remembers of its end. */
static inline void judge_exit_code(struct run *r, int proc)
{
	struct {
		__u64 mask, cgroup;
		__u32 ids[11];
		int exit_code;
	} info = { .mask = 1 << 3 };

	if (ioctl(r->w.proc[proc].fd, _IOWR(0xff, 11, info), &info) || !(info.mask & 1 << 3))
		object(r, "the pidfd of t%d does not know how it ended", proc);
	else
		judge_status(r, proc, info.exit_code, "its pidfd");
}

/* Who lives, lives; who is dead, is; and nothing is there that nobody knows of. */
static inline void judge_world(struct run *r, bool count)
{
	struct pollfd p[MAX_TASKS];
	int i, n = 0, whose[MAX_TASKS], alive[GROUPS] = {}, g;
	static const short wanted[] = {
		[ALIVE] = 0, [ZOMBIE] = POLLIN, [GONE] = POLLIN | POLLHUP,
	};
	static const char * const life[] = {
		[ALIVE] = "alive", [ZOMBIE] = "a zombie", [GONE] = "gone",
	};

	for (i = 0; i < MAX_TASKS; i++) {
		if (!is_process(&r->w, i) || r->w.proc[i].fd < 0)
			continue;
		whose[n] = i;
		p[n++] = (struct pollfd){ .fd = r->w.proc[i].fd, .events = POLLIN };
		alive[r->w.proc[i].group] += r->w.proc[i].life == ALIVE;
	}
	poll(p, n, 0);
	for (i = 0; i < n; i++) {
		enum life is = p[i].revents & POLLHUP ? GONE : p[i].revents ? ZOMBIE : ALIVE;

		if ((p[i].revents & (POLLIN | POLLHUP)) != wanted[r->w.proc[whose[i]].life])
			object(r, "t%d is %s and has to be %s", whose[i], life[is],
			       life[r->w.proc[whose[i]].life]);
	}
	if (atomic_load(&stage->late))
		object(r, "somebody was born in a namespace whose init could be reaped");
	for (g = 0; count && g < GROUPS; g++) {
		pid_t pid[64];
		char buf[1024], *s = buf;
		ssize_t got = pread(r->procs[g], buf, sizeof(buf) - 1, 0);

		buf[got > 0 ? got : 0] = 0;
		for (n = 0; n < 64 && *s; n++)
			pid[n] = strtol(s, &s, 10), s += *s == '\n';
		if (n != alive[g])
			object(r, "%d processes are there, and %d should be (pid %d last)", n,
			       alive[g], n ? pid[n - 1] : 0);
	}
}

/* --- Ends */

/* Waits for @proc by @task, its parent or its tracer. */
static inline void order_wait(struct run *r, int task, int proc, int options)
{
	struct proc *p = &r->w.proc[proc];
	struct slot *s;

	if (p->fd >= 0 && (task == DIRECTOR || has_number(&r->w, task, proc))) {
		s = post(task, DO_WAIT);
		s->fd = p->fd;
	} else {
		s = post(task, DO_WAIT_PID);
		s->fd = stage->slot[proc].pid;
	}
	s->arg = options;
	send_order(r, task);
}

static inline void judge_wait(struct run *r, int task, int proc, enum life life)
{
	struct slot *s = &stage->slot[task];
	struct proc *p = &r->w.proc[proc];

	if (life == ALIVE && s->result != -EAGAIN)
		object(r, "t%d is alive, and a wait for it says: %s", proc,
		       s->result ? strerror(-s->result) : status_text(s->status));
	if (life != ZOMBIE)
		return;
	if (s->result == -ECHILD && p->unsure)
		return;
	if (s->result)
		object(r, "t%d is a zombie, and a wait for it says: %s", proc,
		       strerror(-s->result));
	else
		judge_status(r, proc, s->status, "waitid()");
}

/* Lets go of whatever keeps @proc from moving. */
static inline void set_free(struct run *r, int proc)
{
	struct world *w = &r->w;
	struct proc *p = &w->proc[proc];

	if (p->stopped && w->live)
		sys_pidfd_signal(p->fd, SIGCONT);
	p->stopped = false;
	if (w->frozen[p->group] && w->live && write_at(r->group[p->group], "cgroup.freeze", "0"))
		object(r, "cgroup.freeze: %m");
	w->frozen[p->group] = false;
}

static inline void melt(struct run *r)
{
	if (r->w.ice && r->w.live && r->ice >= 0 &&
	    write_at(r->ice, "freezer.state", "THAWED"))
		object(r, "freezer.state: %m");
	r->w.ice = false;
}

/*
 * The worker has become the parent of one that it knows no number of: it waits
 * for all of its children that are nobody else.
 */
static inline void reap_strangers(struct run *r)
{
	char buf[1024], *s = buf;
	int i, status;
	long pid;

	read_file("/proc/thread-self/children", buf, sizeof(buf));
	while ((pid = strtol(s, &s, 10)) > 0) {
		for (i = 0; i < MAX_TASKS; i++)
			if (r->w.proc[i].fd >= 0 && outer_number(r, i) == pid)
				break;
		if (i == MAX_TASKS)
			raw_wait(P_PID, pid, WEXITED, &status);
	}
}

/* In the freezer of cgroup v1 nobody dies. */
static inline void melt_doomed(struct run *r)
{
	int i;

	for (i = 0; i < MAX_TASKS; i++)
		if (is_process(&r->w, i) && r->w.proc[i].life == ZOMBIE && r->w.proc[i].iced)
			melt(r);
}

static inline void kill_from_above(struct run *r, int proc)
{
	if (r->w.live)
		sys_pidfd_signal(r->w.proc[proc].fd, SIGKILL);
	proc_dies(&r->w, proc, SIGKILL);
}

/*
 * Somebody outside keeps a zombie of a namespace that dies: its tracer or its
 * parent. Has it wait for that one, or kills it if it cannot. False if nobody
 * does.
 */
static inline bool release(struct run *r, int proc)
{
	struct world *w = &r->w;
	struct proc *p = &w->proc[proc];
	int holder = p->tracer != NONE ? w->task[p->tracer].proc : p->parent;
	struct op op = { .kind = WAIT, .on = proc };

	if (holder == NONE || (holder != DIRECTOR && !lives(w, holder)))
		return false;
	if (acting_task(w, holder) == NONE)
		set_free(r, holder);
	op.by = acting_task(w, holder);
	if (op.by == NONE || !can_name(w, op.by, proc)) {
		kill_from_above(r, holder);
		return true;
	}
	if (w->live && p->fd < 0 && op.by == DIRECTOR) {
		reap_strangers(r);
	} else if (w->live && (p->fd >= 0 || stage->slot[proc].pid)) {
		order_wait(r, op.by, proc, 0);
		if (!await_answer(r, op.by, NONE))
			object(r, "t%d has died, and nobody has killed it", op.by);
		judge_wait(r, op.by, proc, ZOMBIE);
	}
	apply(w, &op);
	return true;
}

/*
 * Sees to the end of all that has died: each process is dead; and of a namespace
 * nothing is left when its init can be reaped.
 */
static inline void settle(struct run *r)
{
	struct world *w = &r->w;
	int i, nr, ns;

again:
	w->unsettled = false;
	melt_doomed(r);
	/* Inits last, who have to wait for others. */
	for (i = 0; w->live && i < MAX_TASKS; i++) {
		struct proc *p = &w->proc[i];

		if (is_process(w, i) && p->life == ZOMBIE && p->fd >= 0 &&
		    !await_end(r, i, POLLIN, is_init(w, i)))
			return;
	}
	/* An init ends when all others have been waited for. */
	for (nr = 0; nr < MAX_TASKS * (MAX_LEVEL + 2); nr++) {
		struct proc *p;

		i = nr % MAX_TASKS;
		p = &w->proc[i];
		if (!is_process(w, i) || p->life != ZOMBIE || !is_dead(w, p->ns))
			continue;
		if (is_init(w, i) && w->ns[p->ns].level != MAX_LEVEL + 1 - nr / MAX_TASKS)
			continue;
		/* The topmost init is for its own parent to reap, some day. */
		if (is_init(w, i) && !is_dead(w, w->ns[p->ns].parent))
			continue;
		while (p->life == ZOMBIE && !objected(r) && release(r, i))
			if (w->unsettled)
				goto again;
		if (objected(r))
			return;
		p->life = GONE;
		p->tracer = NONE;
	}
	for (ns = 1; ns < MAX_NS; ns++) {
		struct ns *n = &w->ns[ns];

		if (n->life != ZOMBIE || n->settled)
			continue;
		n->settled = true;
		if (!w->live || n->init == NONE || w->proc[n->init].fd < 0)
			continue;
		if (!await_end(r, n->init, POLLIN, false))
			return;
		for (i = 0; i < MAX_TASKS; i++) {
			struct proc *p = &w->proc[i];

			if (!is_process(w, i) || p->fd < 0 || i == n->init ||
			    !is_within(w, p->ns, ns))
				continue;
			if (!(ended(p->fd) & POLLHUP))
				object(r, "t%d of n%d is left, and its init t%d could be reaped", i,
				       ns, n->init);
			else
				judge_exit_code(r, i);
		}
		for (i = 0; i < MAX_NS; i++)
			if (w->ns[i].level && is_within(w, i, ns))
				atomic_store(&stage->dead[i], 1);
	}
	if (w->live)
		judge_world(r, true);
}

/* --- One operation after the other */

static inline __u64 clone_flags(int how)
{
	return (how & OF_MEMORY ? CLONE_VM : 0) | (how & OF_FILES ? CLONE_FILES : 0) |
	       (how & IN_VFORK ? CLONE_VFORK : 0) | (how & IN_NEW ? CLONE_NEWPID : 0) |
	       (how & AS_SIBLING ? CLONE_PARENT : 0);
}

static inline void start_birth(struct run *r, const struct op *op)
{
	struct slot *s = post(op->by, DO_SPAWN), *child = &stage->slot[op->make];

	atomic_store(&child->posted, 0);
	atomic_store(&child->done, 0);
	atomic_store(&child->born, 0);
	atomic_store(&child->here, 1);
	child->pid = 0;
	child->pidfd = -1;
	child->births = op->how & IN_NEW ? op->ns : r->w.task[op->by].children;
	child->asks = r->w.task[op->by].split >= 0 && op->kind == SPAWN;
	s->child = op->make;
	s->exit_signal = op->how & (UNSIGNALLED | AS_SIBLING) ? 0 : SIGCHLD;
	s->flags = clone_flags(op->how);
	s->cgroup = op->by == DIRECTOR ? r->group[0] : 0;
	if (op->kind == THREAD) {
		s->exit_signal = 0;
		s->flags = CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD |
			   CLONE_SYSVSEM;
	}
}

/* The part of an operation that makes it happen, and does not wait for it. */
static inline void start(struct run *r, const struct op *op)
{
	struct world *w = &r->w;
	struct proc *on = &w->proc[op->on];
	struct slot *s;
	char number[16];

	switch (op->kind) {
	case SPAWN:
	case THREAD:
		start_birth(r, op);
		break;
	case UNSHARE:
	case FILES:
		s = post(op->by, DO_UNSHARE);
		s->flags = op->kind == FILES ? CLONE_FILES : CLONE_NEWPID;
		break;
	case SETNS:
		s = post(op->by, DO_SETNS);
		s->fd = op->how & BY_PIDFD ? w->proc[w->ns[op->ns].init].fd : w->ns[op->ns].fd;
		break;
	case EXEC:
		post(op->by, DO_EXEC);
		break;
	case STORM:
		s = post(op->by, DO_STORM);
		s->flags = clone_flags(op->how & ~AS_SIBLING);
		s->exit_signal = op->how & UNSIGNALLED ? 0 : SIGCHLD;
		s->count = op->code;
		s->arg = op->with_next ? op->code / 2 : -1;
		break;
	case WAIT:
		order_wait(r, op->by, op->on, on->life == ALIVE || on->unsure ? WNOHANG : 0);
		return;
	case TRACE:
	case INTERRUPT:
	case RESUME:
	case DETACH:
		s = post(op->by, op->kind == TRACE ? DO_SEIZE :
				 op->kind == INTERRUPT ? DO_INTERRUPT :
				 op->kind == RESUME ? DO_RESUME : DO_DETACH);
		s->fd = on->fd;
		s->arg = op->how & WITH_TRACER ? PTRACE_O_EXITKILL : 0;
		s->count = on->trapped;
		break;
	case EXIT:
	case EXIT_THREAD:
		s = post(op->by, op->kind == EXIT ? DO_EXIT : DO_EXIT_THREAD);
		s->arg = op->code;
		break;
	case FAULT:
		post(op->by, DO_FAULT);
		break;
	case KILL:
	case STOP:
	case CONT:
		s = post(op->by, DO_SIGNAL);
		s->fd = on->fd;
		s->arg = op->kind == KILL ? SIGKILL : op->kind == STOP ? SIGSTOP : SIGCONT;
		break;
	case FREEZE:
	case THAW:
		if (write_at(r->group[op->ns], "cgroup.freeze", op->kind == FREEZE ? "1" : "0"))
			object(r, "cgroup.freeze: %m");
		return;
	case MOVE:
	case ICE:
		snprintf(number, sizeof(number), "%ld", outer_number(r, op->on));
		if (op->kind == MOVE && write_at(r->group[op->ns], "cgroup.procs", number) &&
		    errno != ESRCH)
			object(r, "cgroup.procs: %m");
		if (op->kind == ICE && r->ice >= 0 &&
		    ((write_at(r->ice, "cgroup.procs", number) && errno != ESRCH) ||
		     write_at(r->ice, "freezer.state", "FROZEN")))
			object(r, "freezer.state: %m");
		return;
	case MELT:
		if (r->ice >= 0)
			write_at(r->ice, "freezer.state", "THAWED");
		return;
	case INSMOD:
	case RMMOD:
		if (op->kind == INSMOD ? load("") : unload())
			object(r, "%s: %m", op->kind == INSMOD ? "insmod" : "rmmod");
		return;
	}
	send_order(r, op->by);
}

/* Takes note of a child that an actor has made. */
static inline void note_birth(struct run *r, const struct op *op)
{
	struct slot *child = &stage->slot[op->make];
	struct proc *p = &r->w.proc[op->make];
	struct ns *n = &r->w.ns[p->ns];

	p->fd = child->pidfd;
	if (child->asks)
		p->fd = child->born && child->outer ? sys_pidfd_open(child->outer) : -1;
	if (p->fd < 0 || n->init != op->make || n->fd >= 0)
		return;
	n->fd = ioctl(p->fd, _IO(0xff, 5), 0);
	if (n->fd < 0 && lives(&r->w, op->make))
		object(r, "the pidfd of t%d does not know its namespace: %m", op->make);
}

static inline void judge_refusal(struct run *r, const struct op *op, bool refused, long result)
{
	if (refused && result >= 0)
		object(r, "t%d has forked into n%d, which is dead", op->by,
		       r->w.task[op->by].children);
	else if (refused && result != -ENOMEM)
		object(r, "a fork of t%d into the dead n%d says %s, not ENOMEM", op->by,
		       r->w.task[op->by].children, strerror(-result));
	else if (!refused && result < 0)
		object(r, "a fork of t%d into n%d, which is alive, says %s", op->by,
		       r->w.task[op->by].children, strerror(-result));
}

/*
 * A storm. @race: its namespace has died meanwhile, if @children is not the one
 * in which all of them live.
 */
static inline void judge_storm(struct run *r, const struct op *op, bool refused, bool race)
{
	static const char * const wrong[] = {
		[WRONG_STATUS] = "has a wait status that is not its own",
		[WRONG_WAIT] = "cannot be waited for",
		[WRONG_REVIVAL] = "was born after another had been refused",
	};
	struct slot *s = &stage->slot[op->by];

	if (s->wrong)
		object(r, "a child of t%d %s", op->by, wrong[s->wrong]);
	if (race && (!s->refused || s->refused == ENOMEM))
		return;
	if (s->status && !refused)
		object(r, "a child of t%d was killed in n%d, which is alive", op->by,
		       r->w.task[op->by].children);
	judge_refusal(r, op, refused, s->refused ? -s->refused : s->result);
}

/* An actor has gone without an answer. */
static inline void judge_silence(struct run *r, int task)
{
	if (lives(&r->w, r->w.task[task].proc))
		object(r, "t%d has died, and nobody has killed it", task);
}

/* Waits for the answer, and judges it by the world as it was before. */
static inline void finish(struct run *r, const struct op *op, const struct world *before)
{
	struct slot *s = &stage->slot[op->by];
	bool refused = is_refused(before, op->by), answer;

	switch (op->kind) {
	case SPAWN:
		answer = await_answer(r, op->by, op->how & IN_VFORK ? op->make : NONE);
		if (objected(r))
			return;
		if (!answer)
			judge_silence(r, op->by);
		if (answered(op->by))
			judge_refusal(r, op, refused, s->result);
		if (objected(r) || refused)
			return;
		/* One with files of its own tells who it is as it runs. */
		if (stage->slot[op->make].asks)
			await_birth(r, op->make);
		note_birth(r, op);
		if (!objected(r))
			await_birth(r, op->make);
		return;
	case EXIT_THREAD:
		if (lives(&r->w, r->w.task[op->by].proc))
			await_exit(r, op->by);
		return;
	case EXIT:
	case FAULT:
		return;
	case STORM:
		if (await_answer(r, op->by, NONE))
			judge_storm(r, op, refused, false);
		else
			judge_silence(r, op->by);
		return;
	case FREEZE:
	case THAW:
	case MOVE:
	case ICE:
	case MELT:
	case INSMOD:
	case RMMOD:
		return;
	}
	if (!await_answer(r, op->by, NONE)) {
		judge_silence(r, op->by);
		return;
	}
	if (op->kind == WAIT)
		judge_wait(r, op->by, op->on, before->proc[op->on].life);
	else if (s->result < 0)
		object(r, "t%d is told: %s", op->by, strerror(-s->result));
	else if (op->kind == THREAD)
		await_birth(r, op->make);
}

/* The same for one that ran beside a death which it was part of. */
static inline void finish_race(struct run *r, const struct op *op, const struct world *before)
{
	struct world *w = &r->w;
	struct slot *s = &stage->slot[op->by];
	struct proc *p = &w->proc[op->make];
	bool answer;

	/* Those that are not of actors are done. */
	if (op->kind >= EXIT) {
		if (op->kind <= FAULT)
			proc_of(w, op->by)->unsure = true;
		return;
	}
	answer = await_answer(r, op->by, NONE);
	if (objected(r))
		return;
	if (!answer)
		judge_silence(r, op->by);
	switch (op->kind) {
	case SPAWN:
		if (is_refused(before, op->by)) {
			if (answer)
				judge_refusal(r, op, true, s->result);
			return;
		}
		p->unsure = true;
		if (stage->slot[op->make].pid) {
			if (stage->slot[op->make].asks && p->life == ALIVE)
				await_birth(r, op->make);
			note_birth(r, op);
		} else {
			never_born(w, op->make);
		}
		if (answer && s->result < 0 && s->result != -ENOMEM)
			judge_refusal(r, op, true, s->result);
		return;
	case STORM:
		if (answer)
			judge_storm(r, op, is_refused(before, op->by), true);
		return;
	case SETNS:
		/* A pidfd of one that is dead leads nowhere. */
		if (answer && s->result < 0)
			w->task[op->by].children = before->task[op->by].children;
		return;
	case TRACE:
		w->proc[op->on].unsure = true;
		return;
	default:
		return;
	}
}

/* Whether @op has to do with somebody who is dead now, and was not before. */
static inline bool is_part_of_death(const struct world *w, const struct world *before,
				    const struct op *op)
{
	int proc = w->task[op->by].proc;

	if (op->by != DIRECTOR && w->proc[proc].life != before->proc[proc].life)
		return true;
	if (op->on != DIRECTOR && w->proc[op->on].life != before->proc[op->on].life)
		return true;
	if (op->kind == SETNS && op->how & BY_PIDFD && !leader_lives(w, w->ns[op->ns].init))
		return true;
	return is_dead(w, before->task[op->by].children) !=
	       is_dead(before, before->task[op->by].children) ||
	       (op->kind == SETNS && is_dead(w, op->ns) != is_dead(before, op->ns));
}

/* Whether @op is fit to begin at the same time as the @n others. */
static inline bool is_apart(struct run *r, const struct op **ops, int n, const struct op *op)
{
	/* Whether it was quick enough to be waited for, nobody knows. */
	if ((n || op->with_next) && op->kind == WAIT && r->w.proc[op->on].life == ALIVE)
		return false;
	while (n--) {
		const struct op *o = ops[n];

		if (op->by != DIRECTOR && (op->by == o->by || r->w.task[op->by].proc == o->on))
			return false;
		if (op->kind == KILL || op->on == DIRECTOR)
			continue;
		if (op->on == o->on || (o->by != DIRECTOR && r->w.task[o->by].proc == op->on))
			return false;
	}
	return true;
}

/* Whether @op wants what a race has kept from coming to be. */
static inline bool is_lost(struct run *r, const struct op *op)
{
	return r->w.live && op->kind == SETNS && !(op->how & BY_PIDFD) && r->w.ns[op->ns].fd < 0;
}

/*
 * Carries out the operations from @nr on, one or those that go together, and
 * returns how many. Those that are not fit are left out.
 */
static inline int perform(struct run *r, const struct program *p, int nr)
{
	const struct op *ops[4];
	struct world before = r->w;
	int i, n = 0, end = nr;

	do {
		const struct op *op = &p->op[end];

		if (is_ready(&r->w, op) && is_apart(r, ops, n, op) && !is_lost(r, op))
			ops[n++] = op;
		else
			r->skipped++;
	} while (p->op[end++].with_next && end < p->nr && end - nr < 4);
	r->done += n;
	r->w.clock++;

	for (i = 0; r->w.live && i < n; i++)
		start(r, ops[i]);
	for (i = 0; i < n; i++)
		apply(&r->w, ops[i]);
	if (r->w.unsettled)
		melt_doomed(r);
	for (i = 0; r->w.live && i < n && !objected(r); i++) {
		if (n > 1 && is_part_of_death(&r->w, &before, ops[i]))
			finish_race(r, ops[i], &before);
		else
			finish(r, ops[i], &before);
	}
	if (r->w.unsettled && r->w.loaded && !objected(r))
		settle(r);
	else if (r->w.live && !objected(r) && !r->w.unsettled)
		judge_world(r, false);
	return end - nr;
}

#endif /* __RANDOM_RUN_H */
