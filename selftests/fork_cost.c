// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to make a process and to see it end, some PID namespaces down:
 *
 *   fork_cost LEVELS    prints two numbers, nanoseconds for vfork and for fork
 *
 * For scripts/bench, which runs it in one boot without and with the module.
 */
#include <sched.h>
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

static long long cost_of_vfork(int rounds)
{
	long long start = now_ns();
	pid_t pid;
	int i;

	for (i = 0; i < rounds; i++) {
		pid = vfork();
		if (!pid)
			_exit(0);
		wait_for(pid);
	}
	return (now_ns() - start) / rounds;
}

static long long cost_of_fork(int rounds)
{
	long long start = now_ns();
	pid_t pid;
	int i;

	for (i = 0; i < rounds; i++) {
		pid = fork();
		if (!pid)
			_exit(0);
		wait_for(pid);
	}
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
	cost_of_vfork(WARM_UP);
	cost_of_fork(WARM_UP);
	of_vfork = cost_of_vfork(ROUNDS);
	printf("%lld %lld\n", of_vfork, cost_of_fork(ROUNDS));
	return 0;
}
