/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Writes random programs, and writes them down for people. A program depends on
 * its seed and on nothing else.
 */
#ifndef __RANDOM_WRITE_H
#define __RANDOM_WRITE_H

#include "random_run.h"

static inline __u32 draw(unsigned long long *state)
{
	unsigned long long z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return (z ^ z >> 31) >> 16;
}

static inline int draw_below(unsigned long long *state, int n)
{
	return draw(state) % n;
}

static inline bool one_in(unsigned long long *state, int n)
{
	return !draw_below(state, n);
}

/* How often each is tried. Whether it is taken depends on whether it fits. */
static const int weights[KINDS] = {
	[SPAWN] = 34, [THREAD] = 8, [UNSHARE] = 8, [SETNS] = 14, [FILES] = 1, [EXEC] = 2,
	[STORM] = 7, [WAIT] = 8, [TRACE] = 8, [INTERRUPT] = 4, [RESUME] = 2, [DETACH] = 1,
	[EXIT] = 4, [EXIT_THREAD] = 4, [FAULT] = 1, [KILL] = 9, [STOP] = 4, [CONT] = 2,
	[FREEZE] = 1, [THAW] = 2, [MOVE] = 2, [ICE] = 1, [MELT] = 2,
};

static inline int draw_kind(unsigned long long *state)
{
	int i, sum = 0;

	for (i = 0; i < KINDS; i++)
		sum += weights[i];
	sum = draw_below(state, sum);
	for (i = 0; sum >= weights[i]; i++)
		sum -= weights[i];
	return i;
}

static inline int draw_task(const struct world *w, unsigned long long *state)
{
	int i, n = 0, found = DIRECTOR;

	for (i = 0; i < MAX_TASKS; i++)
		if (w->task[i].alive && one_in(state, ++n))
			found = i;
	return found;
}

static inline int draw_proc(const struct world *w, unsigned long long *state)
{
	int i, n = 0, found = DIRECTOR;

	for (i = 0; i < MAX_TASKS; i++)
		if (is_process(w, i) && w->proc[i].life != GONE && one_in(state, ++n))
			found = i;
	return found;
}

static inline int draw_ns(const struct world *w, unsigned long long *state)
{
	int i, n = 0, found = 0;

	for (i = 0; i < MAX_NS; i++)
		if (w->ns[i].life && one_in(state, ++n))
			found = i;
	return found;
}

/* One of those that live deepest down. */
static inline int draw_deep_task(const struct world *w, unsigned long long *state)
{
	int i, n = 0, found = DIRECTOR, level, deepest = 0;

	for (i = 0; i < MAX_TASKS; i++) {
		level = w->ns[w->proc[w->task[i].proc].ns].level;
		if (!w->task[i].alive || level < deepest)
			continue;
		n = level > deepest ? 1 : n + 1;
		deepest = level;
		if (one_in(state, n))
			found = i;
	}
	return found;
}

/* A fork of this or that kind; most are of the cheap one. */
static inline int draw_how(unsigned long long *state)
{
	int how = OF_MEMORY | OF_FILES;

	if (one_in(state, 8))
		how &= ~OF_MEMORY;
	if (one_in(state, 10))
		how &= ~OF_FILES;
	if (one_in(state, 8))
		how |= IN_VFORK;
	if (one_in(state, 4))
		how |= IN_NEW;
	if (one_in(state, 10))
		how |= AS_SIBLING;
	if (one_in(state, 8))
		how |= UNSIGNALLED;
	return how;
}

static inline int next_task(const struct world *w)
{
	int i = MAX_TASKS;

	while (i && !w->task[i - 1].made)
		i--;
	return i;
}

static inline int next_ns(const struct world *w)
{
	int i = MAX_NS;

	while (i > 1 && !w->ns[i - 1].level)
		i--;
	return i;
}

static inline struct op draw_op(const struct world *w, unsigned long long *state, int kind)
{
	struct op op = { .kind = kind, .by = draw_task(w, state), .on = DIRECTOR,
			 .make = DIRECTOR };

	switch (op.kind) {
	case SPAWN:
		if (one_in(state, 6))
			op.by = DIRECTOR;
		op.make = next_task(w);
		op.ns = next_ns(w);
		op.how = draw_how(state);
		if (one_in(state, 5)) {
			op.by = draw_deep_task(w, state);
			op.how |= IN_NEW;
		}
		break;
	case THREAD:
		op.make = next_task(w);
		break;
	case UNSHARE:
		op.ns = next_ns(w);
		break;
	case SETNS:
		op.ns = draw_ns(w, state);
		op.how = one_in(state, 3) ? BY_PIDFD : 0;
		break;
	case STORM:
		op.how = draw_how(state) & ~AS_SIBLING;
		op.code = 2 + draw_below(state, 6);
		break;
	case WAIT:
		op.on = draw_proc(w, state);
		if (one_in(state, 3))
			op.by = DIRECTOR;
		break;
	case TRACE:
		op.how = one_in(state, 3) ? WITH_TRACER : 0;
		op.on = draw_proc(w, state);
		break;
	case EXIT:
	case EXIT_THREAD:
		op.code = 1 + draw_below(state, 99);
		break;
	case KILL:
		op.on = draw_proc(w, state);
		if (one_in(state, 2))
			op.by = DIRECTOR;
		break;
	case FREEZE:
	case THAW:
		op.ns = draw_below(state, GROUPS);
		op.by = DIRECTOR;
		break;
	case INTERRUPT:
	case RESUME:
	case DETACH:
		op.on = draw_proc(w, state);
		break;
	case MELT:
	case INSMOD:
	case RMMOD:
		op.by = DIRECTOR;
		break;
	default:
		op.by = DIRECTOR;
		op.on = draw_proc(w, state);
		op.ns = draw_below(state, GROUPS);
	}
	if (op.kind >= INTERRUPT && op.kind <= DETACH)
		op.by = w->proc[op.on].tracer != NONE ? w->proc[op.on].tracer : DIRECTOR;
	return op;
}

/* What is worth to be in flight when somebody dies. */
static inline bool fits_race(int kind)
{
	return kind == SPAWN || kind == THREAD || kind == UNSHARE || kind == SETNS ||
	       kind == FILES || kind == EXEC || kind == STORM || kind == TRACE || kind == MOVE;
}

/* Draws one that fits; false if there is none. */
static inline bool draw_fitting(struct run *r, const struct program *p, int first,
				unsigned long long *state, struct op *op, bool race)
{
	const struct op *others[MAX_OPS];
	int i, try;

	for (i = first; i < p->nr; i++)
		others[i - first] = &p->op[i];
	for (try = 0; try < 200; try++) {
		*op = draw_op(&r->w, state, draw_kind(state));
		op->with_next = race;
		if (race && !fits_race(op->kind))
			continue;
		/* Those that make something would make the same. */
		for (i = first; i < p->nr; i++) {
			op->make += p->op[i].make != DIRECTOR && op->make != DIRECTOR;
			op->ns += op->how & IN_NEW || op->kind == UNSHARE ? 1 : 0;
		}
		if (op->ns < MAX_NS && is_ready(&r->w, op) &&
		    is_apart(r, others, p->nr - first, op))
			return true;
	}
	return false;
}

/* A death: of an init, if there is one that can be made to die. */
static inline bool draw_death(struct run *r, const struct program *p, int first,
			      unsigned long long *state, struct op *op)
{
	static const __u8 kinds[] = { KILL, KILL, KILL, EXIT, EXIT, FAULT, EXIT_THREAD };
	const struct op *others[MAX_OPS];
	int i, try, ns;

	for (i = first; i < p->nr; i++)
		others[i - first] = &p->op[i];
	for (try = 0; try < 30; try++) {
		ns = draw_ns(&r->w, state);
		if (!ns || r->w.ns[ns].life != ALIVE)
			continue;
		*op = draw_op(&r->w, state, kinds[draw_below(state, ARRAY_SIZE(kinds))]);
		if (op->kind == KILL)
			op->on = r->w.ns[ns].init;
		else
			op->by = acting_task(&r->w, r->w.ns[ns].init);
		if (op->by != NONE && is_ready(&r->w, op) &&
		    is_apart(r, others, p->nr - first, op))
			return true;
	}
	return false;
}

/* insmod or rmmod, whichever is due, perhaps in the middle of something. */
static inline void write_reload(struct run *r, struct program *p, unsigned long long *state)
{
	int first = p->nr;
	struct op op;

	if (one_in(state, 2) && (r->w.loaded || !r->w.unsettled)) {
		if (one_in(state, 2) ? draw_fitting(r, p, first, state, &op, true) :
				       draw_death(r, p, first, state, &op)) {
			op.with_next = true;
			/* Without a guard nothing is sure of a fork beside a death. */
			if (op.by != DIRECTOR && (op.kind == STORM || op.kind >= EXIT))
				p->op[p->nr++] = op;
		}
	}
	p->op[p->nr++] = draw_op(&r->w, state, r->w.loaded ? RMMOD : INSMOD);
	perform(r, p, first);
}

static inline void write_program(struct program *p, unsigned long long seed, bool reload)
{
	unsigned long long state = seed * 0x2545f4914f6cdd1dULL + 1;
	struct run r = { .patient = 1 };
	int first, race, deep = 0, want = 3 + draw_below(&state, 10);
	struct op op;

	memset(p, 0, sizeof(*p));
	p->seed = seed;
	if (one_in(&state, 10))
		want += draw_below(&state, 25);
	world_begin(&r.w);
	/* There is no program without a namespace. */
	p->op[p->nr++] = (struct op){
		.kind = SPAWN, .by = DIRECTOR, .on = DIRECTOR, .ns = 1,
		.how = (draw_how(&state) | IN_NEW) & ~(IN_VFORK | AS_SIBLING),
	};
	perform(&r, p, 0);
	/* Some begin far down. */
	if (one_in(&state, 4))
		deep = 1 + draw_below(&state, MAX_LEVEL - 1);
	for (want += deep; deep && p->nr <= deep; perform(&r, p, p->nr - 1)) {
		op = draw_op(&r.w, &state, SPAWN);
		op.by = draw_deep_task(&r.w, &state);
		op.how = (op.how | IN_NEW) & ~AS_SIBLING;
		p->op[p->nr++] = op;
	}
	while (p->nr < want) {
		first = p->nr;
		if (reload && (one_in(&state, 5) || (r.w.unsettled && !r.w.loaded))) {
			write_reload(&r, p, &state);
			continue;
		}
		if (one_in(&state, 4)) {
			for (race = draw_below(&state, 3); race > 0; race--)
				if (draw_fitting(&r, p, first, &state, &op, true))
					p->op[p->nr++] = op;
			if (draw_death(&r, p, first, &state, &op))
				p->op[p->nr++] = op;
			else if (p->nr > first)
				p->op[p->nr - 1].with_next = false;
		} else if (draw_fitting(&r, p, first, &state, &op, false)) {
			p->op[p->nr++] = op;
		} else {
			break;
		}
		if (p->nr > first)
			perform(&r, p, first);
	}
}

/* --- For people */

static inline const char *task_text(int task)
{
	static char text[4][8];
	static int turn;
	char *t = text[turn = (turn + 1) % 4];

	if (task == DIRECTOR)
		return "outside";
	snprintf(t, sizeof(text[0]), "t%d", task);
	return t;
}

static inline void print_fork(const struct op *op)
{
	printf("(%s%s%s%s%s)", op->how & OF_MEMORY ? "CLONE_VM" : "a copy of its memory",
	       op->how & OF_FILES ? "" : ", files of its own",
	       op->how & IN_VFORK ? ", CLONE_VFORK" : "",
	       op->how & AS_SIBLING ? ", CLONE_PARENT" : "",
	       op->how & UNSIGNALLED ? ", no SIGCHLD" : "");
}

static inline void print_op(const struct op *op)
{
	const char *by = task_text(op->by), *on = task_text(op->on);

	switch (op->kind) {
	case SPAWN:
		printf("%s forks t%d ", by, op->make);
		if (op->how & IN_NEW)
			printf("into a new namespace n%d ", op->ns);
		print_fork(op);
		break;
	case THREAD:
		printf("%s makes a thread t%d", by, op->make);
		break;
	case UNSHARE:
		printf("%s unshares: its children will be born in a new namespace n%d", by, op->ns);
		break;
	case SETNS:
		printf("%s enters n%d%s", by, op->ns,
		       op->how & BY_PIDFD ? " by a pidfd of its init" : "");
		break;
	case FILES:
		printf("%s unshares its files", by);
		break;
	case EXEC:
		printf("%s execs", by);
		break;
	case STORM:
		printf("%s forks %d times %s", by, op->code,
		       op->how & IN_NEW ? "into new namespaces " : "");
		print_fork(op);
		break;
	case WAIT:
		printf("%s waits for %s", by, on);
		break;
	case TRACE:
		printf("%s traces %s%s", by, on,
		       op->how & WITH_TRACER ? " (PTRACE_O_EXITKILL)" : "");
		break;
	case INTERRUPT:
		printf("%s stops %s as its tracer", by, on);
		break;
	case RESUME:
		printf("%s lets %s go on as its tracer", by, on);
		break;
	case DETACH:
		printf("%s does not trace %s any more", by, on);
		break;
	case EXIT:
		printf("%s exits with %d, and all its threads", by, op->code);
		break;
	case EXIT_THREAD:
		printf("thread %s exits with %d", by, op->code);
		break;
	case FAULT:
		printf("%s dies of SIGILL", by);
		break;
	case KILL:
		printf("%s kills %s", by, on);
		break;
	case STOP:
	case CONT:
		printf("%s gets %s", on, op->kind == STOP ? "SIGSTOP" : "SIGCONT");
		break;
	case FREEZE:
	case THAW:
		printf("cgroup %d is %s", op->ns, op->kind == FREEZE ? "frozen" : "thawed");
		break;
	case MOVE:
		printf("%s is moved to cgroup %d", on, op->ns);
		break;
	case ICE:
		printf("%s is frozen by the freezer of cgroup v1", on);
		break;
	case MELT:
		printf("the freezer of cgroup v1 is thawed");
		break;
	case INSMOD:
	case RMMOD:
		printf("%s", op->kind == INSMOD ? "insmod" : "rmmod");
		break;
	}
}

static inline void print_program(const struct program *p)
{
	int i;

	for (i = 0; i < p->nr; i++) {
		printf("  %2d. ", i + 1);
		print_op(&p->op[i]);
		printf("%s\n", p->op[i].with_next && i + 1 < p->nr ? ", and at the same time" : "");
	}
	printf("  at last each topmost init and all that live outside are killed\n");
}

#endif /* __RANDOM_WRITE_H */
