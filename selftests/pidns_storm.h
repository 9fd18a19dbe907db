/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A storm of forks in a namespace whose init dies in the middle of it.
 *
 * Every process of a round holds the write end of one pipe, "life": when it is
 * at its end, none of them is left, not even one that nobody knows of. Each
 * looks at a flag as the first thing it does: who finds it set has begun to run
 * after waitpid(init) had returned.
 */
#ifndef __PIDNS_STORM_H
#define __PIDNS_STORM_H

#include "pidns_test.h"

#define STORM_INSIDE	1
#define STORM_OUTSIDE	2
#define STORM_NESTED	4	/* inside, on each of NEST levels */

#define STORMERS	3
#define NEST		4
#define INJECTORS	2
/* How many children of a stormer stay, and how many may be in flight. */
#define MAX_IDLE	6
#define MAX_FLIGHT	16

struct storm {
	atomic_int dead;	/* waitpid(init) has returned */
	atomic_int late;	/* how many began to run after that */
	atomic_int stop;	/* for the helpers outside */
	atomic_int born;
	atomic_int refused;	/* helpers that came to an ENOMEM */
	int calm;		/* after so many births they fork slower; 0: never */
	int pause_ms;		/* by that */
	int births[2];		/* a byte for each birth, as long as it is read */
	int life[2];
	bool hasty;		/* nobody looks for survivors in /proc */
	void (*kill)(struct box *b);	/* what kills init, where it is not to be at once */
	void (*zombie)(struct box *b);	/* called when init has died, before it is reaped */
};

static inline struct storm *storm_new(void)
{
	struct storm *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return s == MAP_FAILED ? NULL : s;
}

/* The first thing that a newborn does. */
static inline void storm_born(struct storm *s)
{
	if (atomic_load(&s->dead))
		atomic_fetch_add(&s->late, 1);
	atomic_fetch_add(&s->born, 1);
	if (write(s->births[1], "b", 1) < 0)
		return;
}

/* A bare fork: nothing of the C library runs before the child does. */
static inline pid_t storm_fork(int cgroup)
{
	struct clone_args args = {
		.flags = cgroup < 0 ? 0 : CLONE_INTO_CGROUP,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup < 0 ? 0 : cgroup,
	};

	return syscall(__NR_clone3, &args, sizeof(args));
}

/*
 * Forks for ever: children that exit, that leave orphans (with @orphans), that
 * stay.
 */
static inline void storm_forks(struct storm *s, int cgroup, bool outside, bool orphans)
{
	int i, idle = 0, flight = 0;
	pid_t pid;

	for (i = 0;; i++) {
		bool stay = i % 8 == 3 && idle < MAX_IDLE;

		if (outside && atomic_load(&s->stop))
			return;
		if (s->calm && atomic_load(&s->born) > s->calm)
			poll(NULL, 0, s->pause_ms);
		pid = storm_fork(cgroup);
		if (!pid) {
			storm_born(s);
			if (orphans && i % 4 == 1 && !storm_fork(-1)) {
				storm_born(s);
				if (i % 16 == 1)
					pause();
			}
			if (stay)
				forever();
			_exit(0);
		}
		if (pid < 0 && outside && errno == ENOMEM) {
			atomic_fetch_add(&s->refused, 1);
			return;
		}
		if (pid < 0) {
			sched_yield();
			continue;
		}
		if (stay)
			idle++;
		else
			flight++;
		while (flight && waitpid(-1, NULL, flight < MAX_FLIGHT ? WNOHANG : 0) > 0)
			flight--;
	}
}

static inline void storm_init(struct box *b __maybe_unused, void *arg)
{
	struct storm *s = arg;
	int i;

	for (i = 0; i < STORMERS; i++) {
		if (!storm_fork(-1)) {
			storm_born(s);
			storm_forks(s, -1, false, true);
		}
	}
	/* An init that reaps what comes to it. */
	for (;;)
		if (waitpid(-1, NULL, 0) < 0)
			pause();
}

/* A stormer on this level, and the next level below it. */
static inline void nested_init(struct box *b __maybe_unused, void *arg)
{
	struct storm *s = arg;
	int level = 0;

	do {
		if (!storm_fork(-1)) {
			storm_born(s);
			storm_forks(s, -1, false, true);
		}
	} while (++level < NEST && !unshare(CLONE_NEWPID) && !storm_fork(-1));
	for (;;)
		if (waitpid(-1, NULL, 0) < 0)
			pause();
}

static inline void calm_init(struct box *b __maybe_unused,
			     void *arg __maybe_unused)
{
	for (;;)
		if (waitpid(-1, NULL, 0) < 0)
			pause();
}

/* Whether a process of the namespace @ino is to be seen in /proc. */
static inline int storm_scan(ino_t ino)
{
	DIR *dir = opendir("/proc");
	struct dirent *d;
	struct stat st;
	char path[300];
	int found = 0;

	if (!dir)
		return -1;
	while ((d = readdir(dir))) {
		if (d->d_name[0] < '0' || d->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/ns/pid", d->d_name);
		if (!stat(path, &st) && st.st_ino == ino) {
			fprintf(stderr, "# survivor: pid %s, state %c\n", d->d_name,
				task_state(atoi(d->d_name)) ?: '?');
			found++;
		}
	}
	closedir(dir);
	return found;
}

/*
 * One round: a namespace is born, storms, and loses its init after @births
 * births. 0 when nothing of it survived and nothing came late. @log, when not
 * negative, gets a 'k' before init is killed and a 'd' when all is well.
 *
 * Where the module may be away, so may every guard there is, and a helper outside
 * forks into the namespace of a zombie. Such a child has no reaper: it leaves no
 * orphans, and init is not reaped before it is gone.
 */
static inline int storm_round(struct box *b, struct storm *s, int where, int births, int log)
{
	void (*init)(struct box *b, void *arg) = where & STORM_NESTED ? nested_init :
						 where & STORM_INSIDE ? storm_init : calm_init;
	bool unguarded = b->hopeful && where & STORM_OUTSIDE;
	int helper[INJECTORS], i, n, ret = 0;
	struct stat st;
	char c[64];

	atomic_store(&s->dead, 0);
	atomic_store(&s->late, 0);
	atomic_store(&s->stop, 0);
	atomic_store(&s->born, 0);
	if (pipe2(s->births, O_CLOEXEC | O_NONBLOCK) || pipe2(s->life, O_CLOEXEC))
		return -1;
	if (box_spawn(b, 0, init, s) || fstat(b->nsfd, &st))
		return -1;
	for (i = 0; i < INJECTORS && where & STORM_OUTSIDE; i++) {
		pid_t pid = fork_into(b->out, 0, &helper[i]);

		if (!pid) {
			if (enter(b->nsfd))
				_exit(1);
			storm_forks(s, b->in, true, !unguarded);
			/* Its children that stay must not be without a reaper. */
			while (waitpid(-1, NULL, 0) > 0)
				;
			_exit(0);
		}
		if (pid < 0 || box_add(b, pid, helper[i], "helper", true))
			return -1;
	}
	close(s->life[1]);
	while (births > 0) {
		if (!readable(s->births[0], patience_ms)) {
			fprintf(stderr, "# no births\n");
			return -1;
		}
		n = read(s->births[0], c, births < 64 ? births : 64);
		births -= n > 0 ? n : 0;
	}
	if (log >= 0 && write(log, "k", 1) != 1)
		return -1;
	if (s->kill)
		s->kill(b);
	else
		kill(b->init, SIGKILL);
	if (box_wait_exit(b))
		return -1;
	if (s->zombie)
		s->zombie(b);
	if (!unguarded && box_wait_init(b))
		return -1;
	atomic_store(&s->dead, !unguarded);
	atomic_store(&s->stop, 1);
	for (i = 0; i < b->nr; i++) {
		if (!readable(b->m[i].fd, patience_ms)) {
			fprintf(stderr, "# a helper does not end\n");
			return -1;
		}
	}
	box_reap_ours(b);
	/* The end of the pipe, or somebody still holds it. */
	if (!readable(s->life[0], patience_ms) || read(s->life[0], c, 1)) {
		fprintf(stderr, "# somebody of the namespace is left\n");
		ret = -1;
	}
	if (unguarded && (ret || box_wait_init(b)))
		ret = -1;
	if (!s->hasty && storm_scan(st.st_ino))
		ret = -1;
	if (atomic_load(&s->late)) {
		fprintf(stderr, "# %d began to run after waitpid(init)\n",
			atomic_load(&s->late));
		ret = -1;
	}
	close(s->life[0]);
	close(s->births[0]);
	close(s->births[1]);
	if (!ret && log >= 0 && write(log, "d", 1) != 1)
		return -1;
	return ret;
}

#endif /* __PIDNS_STORM_H */
