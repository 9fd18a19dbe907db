/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of members share: an init with one member of each of several
 * kinds, and its fall.
 */
#ifndef __PIDNS_MEMBER_H
#define __PIDNS_MEMBER_H

#include "pidns_test.h"

/* A uid that is not root's. */
#define SOMEBODY	1234

/* A kind of member. */
struct kind {
	const char *what;
	/* What it does: it announces itself, and does not return. */
	void (*live)(struct box *b, const char *what);
	int also;	/* announcements besides its own */
};

/*
 * The init of the kinds in @arg, and of a plain member: by that one box_doomed()
 * can tell that nobody kills, whatever state the others are in.
 */
static inline void init_of(struct box *b, void *arg)
{
	const struct kind *k;

	member(b, "plain");
	for (k = arg; k->what; k++)
		if (!fork()) {
			k->live(b, k->what);
			_exit(89);
		}
	announce(b, READY);
	forever();
}

/* Starts an init of @kinds, and waits for all that are to announce themselves. */
static inline int box_start(struct box *b, const struct kind *kinds)
{
	const struct kind *k;
	int n = 1;

	for (k = kinds; k->what; k++)
		n += 1 + k->also;
	return box_spawn(b, 0, init_of, (void *)kinds) || box_collect(b, n + 1) ? -1 : 0;
}

static inline int box_start_one(struct box *b, const char *what,
				void (*live)(struct box *b, const char *what), int also)
{
	const struct kind kinds[] = { { what, live, also }, {} };

	return box_start(b, kinds);
}

/* None but the plain one, which is then b->m[0]. */
static inline int box_start_plain(struct box *b)
{
	const struct kind none = {};

	return box_start(b, &none);
}

static inline struct member *box_find(struct box *b, const char *what)
{
	int i;

	for (i = 0; i < b->nr; i++)
		if (!strcmp(b->m[i].what, what))
			return &b->m[i];
	return NULL;
}

/* Init is killed: -1 when it does not go, or else how many members are left. */
static inline int box_fall(struct box *b)
{
	if (kill(b->init, SIGKILL) || box_wait_init(b))
		return -1;
	if (b->status != SIGKILL) {
		fprintf(stderr, "# init's status is 0x%x\n", b->status);
		return -1;
	}
	return box_left(b);
}

/*
 * Waits until @m has died, be it only a zombie, whether init goes or not. -1 when
 * it does not die, which is as soon as that is certain.
 */
static inline int box_wait_death(struct box *b, struct member *m)
{
	long long end = now_ms() + patience_ms;
	int looks = 0;

	while (!readable(m->fd, LOOK_MS)) {
		looks = !module_loaded() && box_doomed(b) ? looks + 1 : 0;
		if (looks == LOOKS || now_ms() > end) {
			fprintf(stderr, "# %s does not die\n", m->what);
			return -1;
		}
	}
	return 0;
}

/* Waits until a task is in @state; nothing but looking tells of it. */
static inline int wait_state(pid_t pid, char state)
{
	long long end = now_ms() + patience_ms;

	while (task_state(pid) != state) {
		if (now_ms() > end) {
			fprintf(stderr, "# pid %d is not in state %c\n", pid, state);
			return -1;
		}
		sched_yield();
	}
	return 0;
}

/* The same for one that is to sleep below the kernel function @fn. */
static inline int wait_sleep(pid_t pid, const char *fn)
{
	long long end = now_ms() + patience_ms;

	while (!sleeps_in(pid, fn)) {
		if (now_ms() > end) {
			fprintf(stderr, "# pid %d does not come to sleep in %s()\n", pid, fn);
			return -1;
		}
		sched_yield();
	}
	return 0;
}

/* clone3() that asks for no more than some flags. */
static inline pid_t clone_flags(unsigned long long flags, int exit_signal)
{
	struct clone_args args = { .flags = flags, .exit_signal = exit_signal };

	return syscall(__NR_clone3, &args, sizeof(args));
}

static inline void *thread_forever(void *arg)
{
	forever();
	return arg;
}

/* A thread with a small stack, as there may be many. */
static inline int start_thread(void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 16384);
	return pthread_create(&t, &attr, fn, arg);
}

/* Freezes a cgroup and all below it, and waits until they are. */
static inline int cgroup_freeze(int dir)
{
	long long end = now_ms() + patience_ms;
	char buf[64];
	ssize_t n;
	int fd;

	if (write_at(dir, "cgroup.freeze", "1"))
		return -1;
	do {
		fd = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC);
		n = read(fd, buf, sizeof(buf) - 1);
		close(fd);
		buf[n > 0 ? n : 0] = 0;
		if (strstr(buf, "frozen 1"))
			return 0;
	} while (now_ms() < end);
	return -1;
}

static inline int cgroup_move(pid_t pid, int dir)
{
	char buf[16];

	snprintf(buf, sizeof(buf), "%d", pid);
	return write_at(dir, "cgroup.procs", buf);
}

#endif /* __PIDNS_MEMBER_H */
