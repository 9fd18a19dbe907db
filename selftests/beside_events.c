// SPDX-License-Identifier: GPL-2.0
/*
 * Holds perf events or BPF programs on the hooks of the module, for beside.sh:
 *
 *   beside_events perf|bpf
 *
 * Says "ready" when all are in place. Then answers each line on stdin with one
 * that names those that have counted something since the last one, and ends with
 * the last line. Exits with 4, which is "skipped", where the kernel has no such
 * thing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SKIP		4
#define MAX_CPUS	64
#define KPROBE_RETURN	1	/* a bit of attr.config */

enum how { TRACEPOINT, SOFTWARE, KPROBE, KRETPROBE, RAW_TRACEPOINT, KPROBE_MULTI };

struct event {
	const char *name;
	enum how how;
	const char *on;
	int fd[MAX_CPUS];	/* of perf events, one for each CPU; or of a program */
	int nr;
	unsigned long long count;
};

static struct event perf_events[] = {
	{ .name = "exit-tracepoint", .how = TRACEPOINT, .on = "sched_process_exit" },
	{ .name = "fork-tracepoint", .how = TRACEPOINT, .on = "sched_process_fork" },
	{ .name = "context-switches", .how = SOFTWARE },
	{ .name = "alloc_pid-kprobe", .how = KPROBE, .on = "alloc_pid" },
	{ .name = "zap-kretprobe", .how = KRETPROBE, .on = "zap_pid_ns_processes" },
	{ }
};

static struct event bpf_programs[] = {
	{ .name = "exit-raw-tracepoint", .how = RAW_TRACEPOINT, .on = "sched_process_exit" },
	{ .name = "fork-raw-tracepoint", .how = RAW_TRACEPOINT, .on = "sched_process_fork" },
	{ .name = "exit-tracepoint", .how = TRACEPOINT, .on = "sched_process_exit" },
	{ .name = "fork-tracepoint", .how = TRACEPOINT, .on = "sched_process_fork" },
	{ .name = "alloc_pid-kprobe", .how = KPROBE, .on = "alloc_pid" },
	{ .name = "zap-kretprobe", .how = KRETPROBE, .on = "zap_pid_ns_processes" },
	{ .name = "alloc_pid-fprobe", .how = KPROBE_MULTI, .on = "alloc_pid" },
	{ }
};

static void fail(const char *what, const char *on)
{
	int status = errno == ENOSYS || errno == EOPNOTSUPP || errno == ENOENT ? SKIP : 1;

	printf("%s%s%s: %m\n", what, on ? " " : "", on ?: "");
	exit(status);
}

static int sys_bpf(enum bpf_cmd cmd, union bpf_attr *attr)
{
	return syscall(__NR_bpf, cmd, attr, sizeof(*attr));
}

/* The number in a file of the kernel's. */
static unsigned long long number_in(const char *dir, const char *name, const char *file)
{
	char path[200], buf[32] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/%s/%s", dir, name, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, buf, sizeof(buf) - 1) <= 0)
		fail(path, NULL);
	close(fd);
	return strtoull(buf, NULL, 10);
}

static int open_perf(struct event *e, int cpu)
{
	struct perf_event_attr attr = { .size = sizeof(attr) };
	int fd;

	switch (e->how) {
	case TRACEPOINT:
		attr.type = PERF_TYPE_TRACEPOINT;
		attr.config = number_in("/sys/kernel/tracing/events/sched", e->on, "id");
		break;
	case KRETPROBE:
		attr.config = KPROBE_RETURN;
		__attribute__((fallthrough));
	case KPROBE:
		attr.type = number_in("/sys/bus/event_source/devices", "kprobe", "type");
		attr.kprobe_func = (uintptr_t)e->on;
		break;
	default:
		attr.type = PERF_TYPE_SOFTWARE;
		attr.config = PERF_COUNT_SW_CONTEXT_SWITCHES;
	}
	fd = syscall(__NR_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		fail("perf_event_open", e->name);
	return fd;
}

/* "return 0": that it has run is counted by the kernel. */
static int load(enum bpf_prog_type type, enum bpf_attach_type attach)
{
	static const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = type,
		.expected_attach_type = attach,
		.insns = (uintptr_t)insns,
		.insn_cnt = 2,
		.license = (uintptr_t)"GPL",
	};
	int fd = sys_bpf(BPF_PROG_LOAD, &attr);

	if (fd < 0)
		fail("BPF_PROG_LOAD", NULL);
	return fd;
}

static int attach(struct event *e)
{
	union bpf_attr attr = { 0 };
	int prog, event;

	switch (e->how) {
	case RAW_TRACEPOINT:
		prog = load(BPF_PROG_TYPE_RAW_TRACEPOINT, 0);
		attr.raw_tracepoint.name = (uintptr_t)e->on;
		attr.raw_tracepoint.prog_fd = prog;
		if (sys_bpf(BPF_RAW_TRACEPOINT_OPEN, &attr) < 0)
			fail("BPF_RAW_TRACEPOINT_OPEN", e->on);
		break;
	case KPROBE_MULTI:
		prog = load(BPF_PROG_TYPE_KPROBE, BPF_TRACE_KPROBE_MULTI);
		attr.link_create.prog_fd = prog;
		attr.link_create.attach_type = BPF_TRACE_KPROBE_MULTI;
		attr.link_create.kprobe_multi.cnt = 1;
		attr.link_create.kprobe_multi.syms = (uintptr_t)&e->on;
		if (sys_bpf(BPF_LINK_CREATE, &attr) < 0)
			fail("BPF_LINK_CREATE", e->on);
		break;
	default:
		prog = load(e->how == TRACEPOINT ? BPF_PROG_TYPE_TRACEPOINT :
						   BPF_PROG_TYPE_KPROBE, 0);
		/* On one CPU, and run on all: it belongs to the hook and not to the event. */
		event = open_perf(e, 0);
		if (ioctl(event, PERF_EVENT_IOC_SET_BPF, prog))
			fail("PERF_EVENT_IOC_SET_BPF", e->name);
	}
	return prog;
}

static unsigned long long runs(int prog)
{
	struct bpf_prog_info info = { 0 };
	union bpf_attr attr = {
		.info.bpf_fd = prog,
		.info.info_len = sizeof(info),
		.info.info = (uintptr_t)&info,
	};

	if (sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr))
		fail("BPF_OBJ_GET_INFO_BY_FD", NULL);
	return info.run_cnt;
}

static unsigned long long events(const struct event *e)
{
	unsigned long long sum = 0, value;
	int i;

	for (i = 0; i < e->nr; i++) {
		if (read(e->fd[i], &value, sizeof(value)) != sizeof(value))
			fail("read", e->name);
		sum += value;
	}
	return sum;
}

int main(int argc, char **argv)
{
	bool bpf = argc == 2 && !strcmp(argv[1], "bpf");
	struct event *all = bpf ? bpf_programs : perf_events, *e;
	union bpf_attr stats = { .enable_stats.type = BPF_STATS_RUN_TIME };
	int cpus = bpf ? 1 : sysconf(_SC_NPROCESSORS_ONLN);
	char line[16];

	if (!bpf && (argc != 2 || strcmp(argv[1], "perf"))) {
		fprintf(stderr, "usage: %s perf|bpf\n", argv[0]);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (bpf && sys_bpf(BPF_ENABLE_STATS, &stats) < 0)
		fail("BPF_ENABLE_STATS", NULL);
	for (e = all; e->name; e++)
		for (; e->nr < cpus && e->nr < MAX_CPUS; e->nr++)
			e->fd[e->nr] = bpf ? attach(e) : open_perf(e, e->nr);
	printf("ready\n");
	while (fgets(line, sizeof(line), stdin)) {
		for (e = all; e->name; e++) {
			unsigned long long now = bpf ? runs(e->fd[0]) : events(e);

			if (now > e->count)
				printf("%s ", e->name);
			e->count = now;
		}
		printf("\n");
	}
	return 0;
}
