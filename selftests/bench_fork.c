// SPDX-License-Identifier: GPL-2.0
/*
 * What the module costs those who fork, and what a refused fork costs, without
 * and with the module:
 *
 *   bench_fork ROUNDS fork|vfork|thread LEVELS...   P1, P2: made and ended, so
 *                                                   many namespaces down
 *   bench_fork ROUNDS refused MB...                 P7: a caller with MB of memory
 *
 * To be run where the clock counts instructions, see pidns_bench.h.
 */
#include <sys/mman.h>

#include "pidns_bench.h"

#define BATCHES	9
#define TIMES	150

static void make_process(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	reap(pid);
}

/* A function of its own: what is around a vfork() may be lost in the child. */
static void make_vfork(void)
{
	pid_t pid = vfork();

	if (!pid)
		_exit(0);
	reap(pid);
}

static void *end(void *arg)
{
	return arg;
}

static void make_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, end, NULL) || pthread_join(thread, NULL))
		give_up("pthread_create");
}

static int compare(const void *a, const void *b)
{
	long long x = *(const long long *)a, y = *(const long long *)b;

	return (x > y) - (x < y);
}

/*
 * What one costs: the lower quartile of some batches, as the clock also counts
 * what else the kernel does meanwhile.
 */
static long long cost_of(void (*make)(void))
{
	long long cost[BATCHES], start;
	int i, batch;

	for (batch = 0; batch < BATCHES; batch++) {
		start = now_ns();
		for (i = 0; i < TIMES; i++)
			make();
		cost[batch] = (now_ns() - start) / TIMES;
	}
	qsort(cost, BATCHES, sizeof(cost[0]), compare);
	return cost[BATCHES / 4];
}

struct job {
	const char *name;
	void (*make)(void);
	long value;
};

static void measure_cost(const void *arg)
{
	const struct job *job = arg;

	report(job->value ? "P2" : "P1", job->name, job->value, cost_of(job->make));
}

/* Goes on in a namespace that is so many levels down. */
static void descend(long levels)
{
	pid_t pid;

	while (levels-- > 0) {
		if (unshare(CLONE_NEWPID))
			give_up("unshare");
		pid = fork();
		if (pid) {
			reap(pid);
			exit(0);
		}
	}
}

static void measure_refused(const void *arg)
{
	const struct job *job = arg;
	const int times = 5;
	long long start;
	pid_t pid;
	int i;

	start = now_ns();
	for (i = 0; i < times; i++) {
		pid = fork();
		if (!pid)
			_exit(1);
		if (pid > 0 || errno != ENOMEM)
			give_up("a fork that should have been refused");
	}
	report("P7", "fork", job->value, (now_ns() - start) / times);
}

static void enter_dead_ns(void)
{
	if (unshare(CLONE_NEWPID))
		give_up("unshare");
	make_process();
}

static void run(const struct job *job)
{
	if (job->make) {
		descend(job->value);
		/* For the first time it needs memory that is there afterwards. */
		cost_of(job->make);
		alternate(measure_cost, job);
		return;
	}
	if (job->value)
		populate(job->value);
	enter_dead_ns();
	alternate(measure_refused, job);
}

int main(int argc, char **argv)
{
	static struct job jobs[] = {
		{ .name = "fork", .make = make_process },
		{ .name = "vfork", .make = make_vfork },
		{ .name = "thread", .make = make_thread },
		{ .name = "refused" },
	};
	struct job *job = jobs;
	int i, status;
	pid_t pid;

	while (argc > 3 && job < jobs + LENGTH(jobs) && strcmp(argv[2], job->name))
		job++;
	if (argc < 4 || job == jobs + LENGTH(jobs)) {
		fprintf(stderr, "usage: %s ROUNDS fork|vfork|thread|refused VALUE...\n", argv[0]);
		return 2;
	}
	rounds = atoi(argv[1]);
	for (i = 3; i < argc; i++) {
		job->value = atol(argv[i]);
		pid = fork();
		if (!pid) {
			run(job);
			exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status)
			return 1;
	}
	return 0;
}
