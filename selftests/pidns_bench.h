/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the benchmarks share: the module in alternation, in one boot, and a line
 * of JSON for each figure, which scripts/bench makes tables and pictures of:
 *
 *   {"figure":"P1","case":"fork","x":0,"way":"with","round":3,"value":234567}
 *
 * Values are nanoseconds unless the figure has it otherwise. On an emulator whose
 * clock counts instructions a nanosecond is one of them.
 *
 * PIDNS_GUARD_KO is the path of the module.
 */
#ifndef __PIDNS_BENCH_H
#define __PIDNS_BENCH_H

#include "pidns_module.h"

#define LENGTH(a)	(sizeof(a) / sizeof((a)[0]))

static int rounds = 10;
static int this_round;
/* What is done before each measurement, if anything. */
static void (*warm_up)(void);

static inline void give_up(const char *what)
{
	fprintf(stderr, "%s: %m\n", what);
	exit(1);
}

static inline long long now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static inline void report_as(const char *way, const char *figure, const char *what,
			     long x, long long value)
{
	printf("{\"figure\":\"%s\",\"case\":\"%s\",\"x\":%ld,\"way\":\"%s\",", figure, what, x,
	       way);
	printf("\"round\":%d,\"value\":%lld}\n", this_round, value);
	fflush(stdout);
}

static inline void report(const char *figure, const char *what, long x, long long value)
{
	report_as(module_loaded() ? "with" : "without", figure, what, x, value);
}

static inline void set_module(bool wanted)
{
	if (wanted == module_loaded())
		return;
	if (wanted ? load(getenv("PIDNS_BENCH_PARAMS") ?: "") : unload())
		give_up(wanted ? "cannot load the module" : "cannot unload the module");
	/* What the kernel still has to do about that is not to be measured. */
	usleep(100000);
}

static inline void measure_once(bool with, void (*measure)(const void *), const void *arg)
{
	set_module(with);
	if (warm_up)
		warm_up();
	measure(arg);
}

/* Calls @measure without, with, without, with... as often as there are rounds. */
static inline void alternate(void (*measure)(const void *), const void *arg)
{
	for (this_round = 1; this_round <= rounds; this_round++) {
		measure_once(false, measure, arg);
		measure_once(true, measure, arg);
	}
	set_module(false);
}

/* Memory that is there, and not only promised. */
static inline void *populate(size_t mb)
{
	void *p = mmap(NULL, mb << 20, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		give_up("mmap");
	return p;
}

static inline void reap(pid_t pid)
{
	if (pid < 0 || waitpid(pid, NULL, __WALL) != pid)
		give_up("fork");
}

#endif /* __PIDNS_BENCH_H */
