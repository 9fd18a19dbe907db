// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to make a process and to see it end, some PID namespaces down:
 *
 *   fork_cost LEVELS    prints two numbers, nanoseconds for vfork and for fork
 *
 * For scripts/bench, which runs it in one boot without and with the module.
 */
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP	200
#define ROUNDS	2000

static long long now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void wait_for(pid_t pid)
{
	if (pid < 0 || waitpid(pid, NULL, 0) != pid) {
		perror("fork_cost");
		exit(1);
	}
}

/* A function of its own: what is around a vfork() may be lost in the child. */
static void live_and_die(bool with_vfork)
{
	pid_t pid = with_vfork ? vfork() : fork();

	if (!pid)
		_exit(0);
	wait_for(pid);
}

static long long cost(bool with_vfork, int rounds)
{
	long long start = now_ns();
	int i;

	for (i = 0; i < rounds; i++)
		live_and_die(with_vfork);
	return (now_ns() - start) / rounds;
}

int main(int argc, char **argv)
{
	int levels = argc == 2 ? atoi(argv[1]) : 0;
	long long of_vfork;
	pid_t pid;

	while (levels-- > 0) {
		if (unshare(CLONE_NEWPID)) {
			perror("unshare");
			return 1;
		}
		pid = fork();
		if (pid) {
			wait_for(pid);
			return 0;
		}
	}
	cost(true, WARM_UP);
	cost(false, WARM_UP);
	of_vfork = cost(true, ROUNDS);
	printf("%lld %lld\n", of_vfork, cost(false, ROUNDS));
	return 0;
}
