// SPDX-License-Identifier: GPL-2.0
/*
 * P8, the kernel's memory in use, in bytes, without and with the module:
 *
 *   bench_memory ROUNDS NAMESPACES
 *
 * at rest, with so many PID namespaces of one process each ("living"), and when
 * all of these have died at once and nobody has reaped their inits ("dead").
 */
#include <sys/mman.h>

#include "pidns_bench.h"

static long long field(const char *text, const char *name)
{
	const char *p = strstr(text, name);

	return p ? atoll(p + strlen(name)) << 10 : 0;
}

/* What is neither free nor could be given back at once. */
static long long used(void)
{
	char text[8192];

	/* Let what is on its way be freed. */
	usleep(300000);
	sync();
	if (write_at(AT_FDCWD, "/proc/sys/vm/drop_caches", "3"))
		give_up("drop_caches");
	usleep(300000);
	read_file("/proc/meminfo", text, sizeof(text));
	return field(text, "MemTotal:") - field(text, "MemFree:") - field(text, "\nCached:") -
	       field(text, "Buffers:") - field(text, "SReclaimable:");
}

/* Makes a namespace; its init is a child of the caller. */
static pid_t make_ns(int self)
{
	pid_t pid;

	if (unshare(CLONE_NEWPID))
		give_up("unshare");
	pid = fork();
	if (!pid)
		forever();
	if (pid < 0 || setns(self, CLONE_NEWPID))
		give_up("init");
	return pid;
}

static void measure(const void *arg)
{
	long i, n = *(const long *)arg;
	pid_t *inits = calloc(n, sizeof(*inits));
	int self = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);

	report("P8", "idle", 0, used());
	for (i = 0; i < n; i++)
		inits[i] = make_ns(self);
	report("P8", "living", n, used());
	for (i = 0; i < n; i++)
		kill(inits[i], SIGKILL);
	for (i = 0; i < n; i++) {
		siginfo_t info;

		/* Dead, and not reaped. */
		if (waitid(P_PID, inits[i], &info, WEXITED | WNOWAIT))
			give_up("waitid");
	}
	report("P8", "dead", n, used());
	for (i = 0; i < n; i++)
		reap(inits[i]);
	close(self);
	free(inits);
}

/* What the kernel says that the module itself takes, code and data. */
static void measure_module(void)
{
	char text[8192], *p;

	set_module(true);
	read_file("/proc/modules", text, sizeof(text));
	p = strstr(text, "pidns_guard ");
	if (!p)
		give_up("/proc/modules");
	report("P8", "module", 0, atoll(p + strlen("pidns_guard ")));
	set_module(false);
}

int main(int argc, char **argv)
{
	long n;

	if (argc != 3) {
		fprintf(stderr, "usage: %s ROUNDS NAMESPACES\n", argv[0]);
		return 2;
	}
	rounds = atoi(argv[1]);
	n = atol(argv[2]);
	measure_module();
	alternate(measure, &n);
	return 0;
}
