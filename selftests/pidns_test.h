/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the selftests of pidns_guard share.
 *
 * A "box" holds one PID namespace under test: its init, the members that
 * announced themselves, and two cgroups, "in" for everything that lives in the
 * namespace and "out" for helpers that work on it from outside. Whatever a test
 * does, box_close() kills both from outside and reaps what there is to reap, so
 * that a namespace which nobody tears down does not disturb the next test.
 *
 * Nothing here sleeps to let something happen: tests wait on pipes and pidfds.
 * A wait for the end of an init has a long deadline, because a guest may be
 * emulated and slow; but when it is certain that the end will not come, the
 * wait gives up early, see box_doomed().
 */
#ifndef __PIDNS_TEST_H
#define __PIDNS_TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"

/* A test may take this long, in seconds, before the harness gives it up. */
#define TEST_SECONDS	240
/*
 * What must happen has this long to happen, in milliseconds. A test that knows the
 * pace of its machine may ask for more, and so may the environment: see
 * patience_asked_for().
 */
static int patience_ms = 20000;
/* How often a wait looks whether it is in vain, and how often it must find so. */
#define LOOK_MS		50
#define LOOKS		4
/* With the module loaded nobody is in a hurry to call it a failure. */
#define PATIENT_LOOKS	100

#define MAX_MEMBERS	80
#define READY		"ready"

struct member {
	pid_t pid;	/* as the test process sees it */
	int fd;		/* pidfd */
	bool ours;	/* a child of the test process: it has to reap it */
	char what[32];
};

struct announcement {
	pid_t pid;
	char what[32];
};

struct box {
	char dir[128];	/* cgroup of it all */
	int in, out;	/* cgroup directories */
	int join[2];	/* members announce themselves here */
	int go[2];	/* orders for init */
	int nsfd;	/* the namespace, once init is there */
	pid_t init;
	int initfd;
	int status;	/* of init, once reaped */
	bool reaped;
	bool impatient;	/* look for a wait in vain even with the module loaded */
	bool hopeful;	/* never look: the module may come at any time */
	int nr;
	struct member m[MAX_MEMBERS];
};

/* PIDNS_PATIENCE is how many times as much of it is to be had. */
static inline void __attribute__((constructor)) patience_asked_for(void)
{
	const char *times = getenv("PIDNS_PATIENCE");

	if (times && atoi(times) > 0)
		patience_ms *= atoi(times);
}

static inline long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static inline bool module_loaded(void)
{
	return !access("/sys/module/pidns_guard", F_OK);
}

static inline int sys_pidfd_open(pid_t pid)
{
	return syscall(__NR_pidfd_open, pid, 0);
}

static inline int sys_pidfd_signal(int pidfd, int sig)
{
	return syscall(__NR_pidfd_send_signal, pidfd, sig, NULL, 0);
}

/* Dies of SIGILL. What the compiler has for it is SIGTRAP on arm64. */
static inline void __noreturn illegal_instruction(void)
{
	for (;;) {
#ifdef __aarch64__
		asm volatile("udf #0");
#else
		__builtin_trap();
#endif
	}
}

static inline void __noreturn forever(void)
{
	for (;;)
		pause();
}

/*
 * The number of the calling process in the namespace that /proc was mounted
 * in, which is that of the test process.
 */
static inline pid_t outer_pid(void)
{
	char buf[32] = "";

	if (readlink("/proc/self", buf, sizeof(buf) - 1) <= 0)
		return -1;
	return atoi(buf);
}

static inline bool readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) > 0;
}

/* Reads one byte; false when there is none within the deadline. */
static inline bool read_byte(int fd, char *c)
{
	return readable(fd, patience_ms) && read(fd, c, 1) == 1;
}

static inline ssize_t read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t done = 0, n;

	buf[0] = 0;
	if (fd < 0)
		return -1;
	while ((size_t)done < size - 1) {
		n = read(fd, buf + done, size - 1 - done);
		if (n <= 0)
			break;
		done += n;
	}
	close(fd);
	buf[done] = 0;
	return done;
}

static inline int write_at(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = write(fd, text, strlen(text));
	close(fd);
	return n < 0 ? -1 : 0;
}

/*
 * The letter in /proc/PID/stat, or 0 when there is no such task. Not for a task
 * that may hang in exit_aio(), see below.
 */
static inline char task_state(pid_t pid)
{
	char path[64], buf[512], *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (read_file(path, buf, sizeof(buf)) <= 0)
		return 0;
	p = strrchr(buf, ')');
	return p && p[1] == ' ' ? p[2] : 0;
}

/*
 * Whether any thread of @pid sleeps somewhere below the kernel function @fn.
 *
 * Nothing is read that borrows the memory of the task, as stat and status do:
 * who gives back the last reference has to tear it down, and would be the one
 * to get stuck in exit_aio() in the place of the task it looks at.
 */
static inline bool sleeps_in(pid_t pid, const char *fn)
{
	char path[300], buf[4096], want[64];
	struct dirent *d;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return false;
	snprintf(want, sizeof(want), "] %s+", fn);
	while (!found && (d = readdir(dir))) {
		if (d->d_name[0] == '.')
			continue;
		/* "0" for one that runs, or would if there were a CPU for it */
		snprintf(path, sizeof(path), "/proc/%d/task/%s/wchan", pid, d->d_name);
		if (read_file(path, buf, sizeof(buf)) <= 0 || !strcmp(buf, "0"))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/stack", pid, d->d_name);
		if (read_file(path, buf, sizeof(buf)) > 0 && strstr(buf, want))
			found = true;
	}
	closedir(dir);
	return found;
}

/*
 * Whether @pid lives on as if nothing had happened: asleep or stopped, no
 * SIGKILL pending, not on its way out.
 */
static inline bool left_alone(pid_t pid)
{
	char path[64], buf[4096], *p;
	unsigned long long kill_bit = 1ULL << (SIGKILL - 1);

	if (!strchr("STt", task_state(pid) ?: 'X') || sleeps_in(pid, "do_exit"))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (read_file(path, buf, sizeof(buf)) <= 0)
		return false;
	p = strstr(buf, "\nSigPnd:");
	if (!p || (strtoull(p + 8, NULL, 16) & kill_bit))
		return false;
	p = strstr(buf, "\nShdPnd:");
	return p && !(strtoull(p + 8, NULL, 16) & kill_bit);
}

/* Whether it comes to rest like that; it may still be on its way to sleep. */
static inline bool lives_on(pid_t pid)
{
	long long end = now_ms() + patience_ms;

	while (!left_alone(pid)) {
		if (now_ms() > end)
			return false;
		sched_yield();
	}
	return true;
}

/* Fills @pids with the processes of a cgroup; returns how many there are. */
static inline int cgroup_procs(int dir, pid_t *pids, int max)
{
	int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	int n = 0;

	if (!f)
		return -1;
	while (n < max && fscanf(f, "%d", &pids[n]) == 1)
		n++;
	fclose(f);
	return n;
}

/*
 * Kills all that is in a cgroup, and below it. Before Linux 7.3 cgroup.kill sends
 * its signal to no thread but the leader, and if that has exited, to nobody.
 */
static inline void cgroup_kill(int dir)
{
	pid_t pids[256];
	int i, n;

	write_at(dir, "cgroup.kill", "1");
	n = cgroup_procs(dir, pids, 256);
	for (i = 0; i < n; i++)
		if (pids[i] > 0)
			kill(pids[i], SIGKILL);
}

/* Says where a task is; a help to whoever reads of a failure. */
static inline void show_stack(pid_t pid)
{
	char path[64], buf[4096], comm[32], *line, *save;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (read_file(path, comm, sizeof(comm)) <= 0)
		return;
	comm[strcspn(comm, "\n")] = 0;
	fprintf(stderr, "#   %s (pid %d, %c)\n", comm, pid, task_state(pid) ?: '?');
	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	if (read_file(path, buf, sizeof(buf)) <= 0)
		return;
	for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		fprintf(stderr, "#     %s\n", line);
}

static inline void show_stacks(int cgroup)
{
	pid_t pids[64];
	int i, n = cgroup_procs(cgroup, pids, 64);

	for (i = 0; i < n; i++)
		show_stack(pids[i]);
}

static inline const char *cgroup_root(void)
{
	static const char * const roots[] = {
		"/sys/fs/cgroup", "/sys/fs/cgroup/unified",
	};
	struct statfs st;
	size_t i;

	for (i = 0; i < 2; i++)
		if (!statfs(roots[i], &st) && st.f_type == CGROUP2_SUPER_MAGIC)
			return roots[i];
	if (!mount("cgroup2", roots[0], "cgroup2", 0, NULL))
		return roots[0];
	return NULL;
}

/* Kills what a test that was cut off has left behind. */
static inline void sweep(const char *root)
{
	DIR *dir = opendir(root);
	static const char * const parts[] = { "in/frozen", "in", "out", "." };
	struct dirent *d;
	char path[400];
	int fd, part;
	size_t i;

	if (!dir)
		return;
	while ((d = readdir(dir))) {
		if (strncmp(d->d_name, "pidns_test.", 11) ||
		    !kill(atoi(d->d_name + 11), 0))
			continue;
		snprintf(path, sizeof(path), "%s/%s", root, d->d_name);
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			continue;
		for (i = 0; i < ARRAY_SIZE(parts); i++) {
			part = openat(fd, parts[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (part < 0)
				continue;
			cgroup_kill(part);
			close(part);
			unlinkat(fd, parts[i], AT_REMOVEDIR);
		}
		close(fd);
		rmdir(path);
	}
	closedir(dir);
}

static inline int box_open(struct box *b)
{
	const char *root = cgroup_root();
	char path[160];
	int fd;

	memset(b, 0, sizeof(*b));
	b->in = -1;
	b->out = -1;
	b->nsfd = -1;
	b->initfd = -1;
	b->reaped = true;
	if (!root) {
		fprintf(stderr, "# no cgroup v2\n");
		return -1;
	}
	sweep(root);
	/* What loses its parent outside of the namespace comes to us. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
		return -1;
	snprintf(b->dir, sizeof(b->dir), "%s/pidns_test.%d", root, getpid());
	if (mkdir(b->dir, 0755)) {
		fprintf(stderr, "# %s: %m\n", b->dir);
		return -1;
	}
	for (fd = 0; fd < 2; fd++) {
		snprintf(path, sizeof(path), "%s/%s", b->dir, fd ? "out" : "in");
		if (mkdir(path, 0755))
			return -1;
		*(fd ? &b->out : &b->in) = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (b->in < 0 || b->out < 0)
		return -1;
	if (pipe2(b->join, O_CLOEXEC) || pipe2(b->go, O_CLOEXEC))
		return -1;
	return 0;
}

/* fork() with flags of clone3(), into a cgroup; the pidfd goes to @pidfd. */
static inline pid_t fork_into(int cgroup, __u64 flags, int *pidfd)
{
	struct clone_args args = {
		.flags = flags | CLONE_INTO_CGROUP | CLONE_PIDFD,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup,
		.pidfd = (uintptr_t)pidfd,
	};

	return syscall(__NR_clone3, &args, sizeof(args));
}

static inline int open_pidns(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Starts the namespace with @fn as its init. */
static inline int box_spawn(struct box *b, __u64 flags,
			    void (*fn)(struct box *b, void *arg), void *arg)
{
	b->init = fork_into(b->in, CLONE_NEWPID | flags, &b->initfd);
	if (b->init < 0) {
		fprintf(stderr, "# clone3(CLONE_NEWPID): %m\n");
		return -1;
	}
	if (!b->init) {
		fn(b, arg);
		_exit(99);
	}
	b->reaped = false;
	b->nsfd = open_pidns(b->init);
	return b->nsfd < 0 ? -1 : 0;
}

/* Said by a member: here I am. */
static inline void announce(struct box *b, const char *what)
{
	struct announcement a = { .pid = outer_pid() };

	snprintf(a.what, sizeof(a.what), "%s", what);
	if (write(b->join[1], &a, sizeof(a)) != sizeof(a))
		_exit(98);
}

/* A plain member: a child of the caller that announces itself and stays. */
static inline pid_t member(struct box *b, const char *what)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	announce(b, what);
	forever();
}

/* What seccomp does to the calling thread: SECCOMP_RET_KILL_THREAD or _PROCESS. */
static inline void killed_by_seccomp(unsigned int action)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = 4, .filter = filter };

	if (!syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
		syscall(__NR_getppid);
}

/* An init or member that waits for an order from the test. */
static inline char await_order(struct box *b)
{
	char c = 0;

	while (read(b->go[0], &c, 1) < 0 && errno == EINTR)
		;
	return c;
}

static inline void order(struct box *b, char c)
{
	if (write(b->go[1], &c, 1) != 1)
		fprintf(stderr, "# pipe of orders: %m\n");
}

static inline int box_add(struct box *b, pid_t pid, int fd, const char *what, bool ours)
{
	struct member *m = &b->m[b->nr];

	if (b->nr == MAX_MEMBERS)
		return -1;
	m->pid = pid;
	m->fd = fd >= 0 ? fd : sys_pidfd_open(pid);
	m->ours = ours;
	snprintf(m->what, sizeof(m->what), "%s", what);
	if (m->fd < 0) {
		fprintf(stderr, "# pidfd_open(%d) for %s: %m\n", pid, what);
		return -1;
	}
	b->nr++;
	return 0;
}

/* Reads @n announcements; one that says READY is not a member. */
static inline int box_collect(struct box *b, int n)
{
	struct announcement a;

	while (n--) {
		if (!readable(b->join[0], patience_ms) ||
		    read(b->join[0], &a, sizeof(a)) != sizeof(a)) {
			fprintf(stderr, "# %d announcements did not come\n", n + 1);
			return -1;
		}
		if (!strcmp(a.what, READY))
			continue;
		if (box_add(b, a.pid, -1, a.what, false))
			return -1;
	}
	return 0;
}

/* The caller's next children are born into the namespace @nsfd. */
static inline int enter(int nsfd)
{
	return setns(nsfd, CLONE_NEWPID);
}

/* ... or where the caller itself is. */
static inline int leave(void)
{
	int fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -1;
	ret = setns(fd, CLONE_NEWPID);
	close(fd);
	return ret;
}

/* Puts a child of the caller into the namespace from outside, by setns+fork. */
static inline pid_t box_inject(struct box *b, const char *what,
			       void (*fn)(struct box *b))
{
	int fd = -1;
	pid_t pid;

	if (enter(b->nsfd))
		return -1;
	pid = fork_into(b->in, 0, &fd);
	if (!pid) {
		if (fn)
			fn(b);
		announce(b, READY);
		forever();
	}
	leave();
	if (pid > 0 && (box_add(b, pid, fd, what, true) || box_collect(b, 1)))
		return -1;
	return pid;
}

/*
 * Whether the end of the namespace will never come: init sleeps where it waits
 * for others, and one of those others lives on undisturbed. The kernel's own
 * kill loop comes before the sleep in zap_pid_ns_processes(), and before
 * exit_aio() nothing in the kernel kills the members.
 */
static inline bool box_doomed(struct box *b)
{
	pid_t pids[256];
	int i, n;

	if (!sleeps_in(b->init, "zap_pid_ns_processes") &&
	    !sleeps_in(b->init, "exit_aio"))
		return false;
	n = cgroup_procs(b->in, pids, 256);
	for (i = 0; i < n; i++)
		if (pids[i] != b->init && left_alone(pids[i]))
			return true;
	return false;
}

static inline void box_reap_ours(struct box *b)
{
	int i, status;

	for (i = 0; i < b->nr; i++)
		if (b->m[i].ours && waitpid(b->m[i].pid, &status, WNOHANG) == b->m[i].pid)
			b->m[i].ours = false;
}

/* Waits for one of init's pidfd and of members that we have to reap. */
static inline bool box_poll(struct box *b, int ms)
{
	struct pollfd p[MAX_MEMBERS + 1] = {
		{ .fd = b->initfd, .events = POLLIN },
	};
	int i, n = 1;

	for (i = 0; i < b->nr; i++)
		if (b->m[i].ours)
			p[n++] = (struct pollfd){ .fd = b->m[i].fd, .events = POLLIN };
	poll(p, n, ms);
	return p[0].revents;
}

/*
 * Waits until init is gone. -1 when it does not go, which is as soon as that is
 * certain, or else after the deadline.
 */
static inline int box_wait_exit(struct box *b)
{
	long long end = now_ms() + patience_ms;
	int looks = 0;

	while (!box_poll(b, LOOK_MS)) {
		box_reap_ours(b);
		if (!b->hopeful || b->impatient) {
			looks = box_doomed(b) ? looks + 1 : 0;
			if (looks >= (b->impatient || !module_loaded() ? LOOKS : PATIENT_LOOKS)) {
				fprintf(stderr, "# init waits for ever for living members\n");
				return -1;
			}
		}
		if (now_ms() > end) {
			fprintf(stderr, "# init is not gone after %d s\n",
				patience_ms / 1000);
			return -1;
		}
	}
	return 0;
}

/* And reaps it. */
static inline int box_wait_init(struct box *b)
{
	if (box_wait_exit(b) || waitpid(b->init, &b->status, 0) != b->init)
		return -1;
	b->reaped = true;
	return 0;
}

/* How many members are left, zombies included: none may be. */
static inline int box_left(struct box *b)
{
	int i, left = 0;

	for (i = 0; i < b->nr; i++) {
		if (sys_pidfd_signal(b->m[i].fd, 0) && errno == ESRCH)
			continue;
		fprintf(stderr, "# left: %s, pid %d, state %c\n", b->m[i].what,
			b->m[i].pid, task_state(b->m[i].pid) ?: '?');
		left++;
	}
	return left;
}

/* How many members have not died (a zombie has). */
static inline int box_alive(struct box *b)
{
	int i, alive = 0;

	for (i = 0; i < b->nr; i++)
		alive += !readable(b->m[i].fd, 0);
	return alive;
}

/*
 * Waits until init has come to where it waits for its members, or is gone.
 * Nothing tells this but looking.
 */
static inline int box_wait_zap(struct box *b)
{
	long long end = now_ms() + patience_ms;

	while (!readable(b->initfd, 0) && !sleeps_in(b->init, "zap_pid_ns_processes")) {
		if (now_ms() > end)
			return -1;
		sched_yield();
	}
	return 0;
}

static inline bool cgroup_populated(int dir)
{
	char buf[256];
	int fd = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n < 0)
		return false;
	buf[n] = 0;
	return strstr(buf, "populated 1");
}

/*
 * Freezes one process, in a cgroup of its own below "in"; or with @pid 0 all
 * that is in "in".
 */
static inline int box_freeze(struct box *b, pid_t pid)
{
	long long end = now_ms() + patience_ms;
	char path[160], buf[256];

	snprintf(buf, sizeof(buf), "%d", pid);
	if (pid && (mkdirat(b->in, "frozen", 0755) ||
		    write_at(b->in, "frozen/cgroup.procs", buf)))
		return -1;
	if (write_at(b->in, pid ? "frozen/cgroup.freeze" : "cgroup.freeze", "1"))
		return -1;
	snprintf(path, sizeof(path), "%s/in/%scgroup.events", b->dir, pid ? "frozen/" : "");
	while (read_file(path, buf, sizeof(buf)) > 0 && !strstr(buf, "frozen 1")) {
		if (now_ms() > end)
			return -1;
		sched_yield();
	}
	return 0;
}

/* Reaps whatever can be reaped; false when there is no child any more. */
static inline bool reap_some(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0)
		if (WIFSTOPPED(status))
			ptrace(PTRACE_CONT, pid, NULL, NULL);
	return !(pid < 0 && errno == ECHILD);
}

/* Lets go of members that a test has stopped as their tracer. */
static inline void box_untrace(struct box *b)
{
	int i;

	for (i = 0; i < b->nr; i++)
		ptrace(PTRACE_DETACH, b->m[i].pid, NULL, NULL);
}

/*
 * Kills everything from outside, in an order that is safe even on a kernel
 * without a guard: helpers that may still fork into the namespace first, while
 * its init is at least a zombie. Returns 0 when nothing is left.
 */
static inline int box_close(struct box *b)
{
	long long end = now_ms() + patience_ms;
	int i, status, ret = 0;

	if (b->in < 0 || b->out < 0)
		return -1;
	box_untrace(b);
	cgroup_kill(b->out);
	while (cgroup_populated(b->out) && now_ms() < end)
		sched_yield();
	cgroup_kill(b->in);
	if (!b->reaped)
		kill(b->init, SIGKILL);
	while (reap_some() && now_ms() < end)
		if (!b->reaped && readable(b->initfd, LOOK_MS) &&
		    waitpid(b->init, &status, WNOHANG) == b->init)
			b->reaped = true;
	while (cgroup_populated(b->in) && now_ms() < end)
		sched_yield();
	while (unlinkat(b->in, "frozen", AT_REMOVEDIR) && errno == EBUSY && now_ms() < end)
		sched_yield();
	while (unlinkat(b->in, "../in", AT_REMOVEDIR) && errno == EBUSY && now_ms() < end)
		sched_yield();
	while (unlinkat(b->out, "../out", AT_REMOVEDIR) && errno == EBUSY && now_ms() < end)
		sched_yield();
	if (rmdir(b->dir)) {
		fprintf(stderr, "# clean-up: %s: %m\n", b->dir);
		ret = -1;
	}
	close(b->in);
	close(b->out);
	b->in = -1;
	b->out = -1;
	for (i = 0; i < b->nr; i++)
		close(b->m[i].fd);
	for (i = 0; i < 2; i++) {
		close(b->join[i]);
		close(b->go[i]);
	}
	if (b->nsfd >= 0)
		close(b->nsfd);
	if (b->initfd >= 0)
		close(b->initfd);
	return ret;
}

/* The counters of the module, in debugfs. */
struct counters {
	long long torn_down, killed, refused, stragglers;
};

static inline int read_counters(struct counters *c)
{
	char buf[1024], name[64];
	long long value;
	char *p = buf;
	int used, seen = 0;

	if (access("/sys/kernel/debug/pidns_guard", F_OK))
		mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	if (read_file("/sys/kernel/debug/pidns_guard/counters", buf, sizeof(buf)) < 0)
		return -1;
	for (; sscanf(p, "%63s %lld%n", name, &value, &used) == 2; p += used) {
		seen++;
		if (!strcmp(name, "namespaces_torn_down"))
			c->torn_down = value;
		else if (!strcmp(name, "processes_killed"))
			c->killed = value;
		else if (!strcmp(name, "forks_refused"))
			c->refused = value;
		else if (!strcmp(name, "stragglers_killed"))
			c->stragglers = value;
		else
			seen--;
	}
	return seen == 4 ? 0 : -1;
}

#endif /* __PIDNS_TEST_H */
