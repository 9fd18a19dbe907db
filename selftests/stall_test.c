// SPDX-License-Identifier: GPL-2.0
/*
 * A teardown that does not come to its end: the module names who holds it, and
 * why, in the kernel log and in debugfs; and says when it is over.
 *
 * For each reason there is a scene that builds it, on a stage: a process with a
 * box of its own. All stages are built at once, in one load of the module with
 * stall_secs=1, so that there is but one wait for the reports. The module is
 * loaded from PIDNS_GUARD_KO.
 */
#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <linux/reboot.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>

#include "pidns_fuse.h"
#include "pidns_module.h"

/* As the module has it: how many holders it names in the log, and in debugfs. */
#define IN_LOG		8
#define NAMED		16

#define MANY		40
#define LEVELS		3
/* Deeper than the module names holders. */
#define DEEP_LEVELS	(NAMED + 4)
#define MEMORY		(64 << 20)
/* How many stages are being built at the same time. */
#define BUILDERS	6

/* What is to be told of one holder. */
struct told {
	pid_t pid, inside;
	unsigned int pidns;
	char comm[16];
	char state;
	const char *reason;
	pid_t blocker;
	char blocker_comm[16];
	char blocker_state;
	char blocker_function[64];
	unsigned int blocker_init_of;
	char function[64];
	char cgroup[64];
	char text[256];
	const char *look;	/* where to look, which only people are told */
};

/* Shared with the tests. */
struct stage {
	int go[2], said[2];	/* orders, and what became of them */
	pid_t init;
	char init_comm[16];
	int levels;
	unsigned int pidns[DEEP_LEVELS];
	pid_t inits[DEEP_LEVELS];
	int holders, nr;	/* how many there are, and of how many it is known */
	struct told told[NAMED];
	const char *ending;	/* what is told of the end of init */
	const char *how;
	int code;
	bool dying;		/* a thread of init lives */
	int level;		/* of the first namespace */
	bool late;		/* seen some time after it had begun */
	unsigned long long from;	/* in the kernel log */
	bool built;
	bool lacking;		/* the machine has not what it takes */
	int connection;
	pid_t other;		/* one more to be known */
};

struct scene {
	const char *name;
	int (*build)(struct box *b);
	/* Ends what holds the teardown, as far as box_wait_init() does not. */
	int (*end)(struct box *b);
};

/* In the process that is a stage, and in those below it. */
static const struct scene *scene;
static struct stage *me;

/* Gives the caller a name that tells who it is: blocker, init, member. */
static void be(char who)
{
	char comm[64];

	if (!strcmp(scene->name, "names"))
		/* whatever one may write to /proc/PID/comm */
		snprintf(comm, sizeof(comm), "%c\"\\\n\x01\x7f\xc3\xa9 x\t}',", who);
	else
		snprintf(comm, sizeof(comm), "%c_%s", who, scene->name);
	prctl(PR_SET_NAME, comm);
}

static void comm_of(pid_t pid, char comm[16])
{
	char path[64], buf[32] = "";

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (read_file(path, buf, sizeof(buf)) > 0)
		buf[strlen(buf) - 1] = 0;
	snprintf(comm, 16, "%s", buf);
}

/* A name as the module shows it in a line of text. */
static const char *shown(const char *comm)
{
	static char buf[4][64];
	static int next;
	char *p = buf[++next % 4];

	for (*p = 0; *comm; comm++)
		if (strchr("\"\\", *comm) || *comm < ' ' || *comm > '~')
			p += sprintf(p, "\\x%02x", (unsigned char)*comm);
		else
			p += sprintf(p, "%c", *comm);
	return buf[next % 4];
}

static struct told *tell_in(unsigned int pidns, pid_t pid, pid_t inside, char state,
			    const char *reason)
{
	struct told *t = &me->told[me->nr++];

	me->holders++;
	t->pid = pid;
	t->inside = inside;
	t->pidns = pidns;
	t->state = state;
	t->reason = reason;
	comm_of(pid, t->comm);
	return t;
}

/* Notes what is to be told of a holder. Members have PIDs from 2 on. */
static struct told *tell(struct box *b, pid_t pid, pid_t inside, char state, const char *reason)
{
	return tell_in(ns_number(b->nsfd), pid, inside, state, reason);
}

/* Where a task sleeps. */
static int function_of(pid_t pid, bool (*wanted)(const char *function), char function[64])
{
	char path[64], buf[4096], *p;

	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	if (read_file(path, buf, sizeof(buf)) <= 0)
		return -1;
	for (p = strstr(buf, "] "); p; p = strstr(p, "] ")) {
		p += 2;
		if (sscanf(p, "%63[^+]", function) == 1 && (!wanted || wanted(function)))
			return 0;
	}
	return -1;
}

/* Of one that is asleep, in a sleep that a signal ends. */
static void blame(struct told *t, const char *text, pid_t blocker)
{
	t->blocker = blocker;
	t->blocker_state = 'S';
	comm_of(blocker, t->blocker_comm);
	snprintf(t->text, sizeof(t->text), "%s %s (pid %d)", text, shown(t->blocker_comm), blocker);
}

/* Of one that no signal reaches, and what is told of it. */
static void blame_as(struct told *t, const char *text, pid_t blocker, char state, const char *at)
{
	blame(t, text, blocker);
	t->blocker_state = state;
	snprintf(t->text, sizeof(t->text), "%s %s (pid %d, %s)", text, shown(t->blocker_comm),
		 blocker, at);
}

static int blame_in_d(struct told *t, const char *text, pid_t blocker)
{
	char at[128];

	if (function_of(blocker, NULL, t->blocker_function))
		return -1;
	snprintf(at, sizeof(at), "D in %s()", t->blocker_function);
	blame_as(t, text, blocker, 'D', at);
	return 0;
}

static struct told *tell_unreaped(struct box *b, pid_t pid, pid_t inside, pid_t parent)
{
	struct told *t = tell(b, pid, inside, 'Z', "unreaped");

	blame(t, "zombie, not reaped by its parent", parent);
	return t;
}

static bool is_of_fuse(const char *function)
{
	return !strncmp(function, "fuse_", 5) || !strncmp(function, "__fuse_", 7) ||
	       !strcmp(function, "request_wait_answer");
}

static int tell_fuse(struct told *t)
{
	if (function_of(t->pid, is_of_fuse, t->function))
		return -1;
	snprintf(t->text, sizeof(t->text), "waits for a FUSE server in %s()", t->function);
	t->look = "; its connection is one whose /sys/fs/fuse/connections/N/waiting is not 0";
	return 0;
}

/* Nothing but looking tells when a task has come to its rest. */
static int settle(pid_t pid, char state)
{
	long long end = now_ms() + patience_ms;

	while (task_state(pid) != state) {
		if (now_ms() > end)
			return -1;
		sched_yield();
	}
	return 0;
}

/* It may have been in D elsewhere before, for a moment. */
static int settle_in_fuse(pid_t pid)
{
	long long end = now_ms() + patience_ms;
	char function[64];

	while (task_state(pid) != 'D' || function_of(pid, is_of_fuse, function)) {
		if (now_ms() > end)
			return -1;
		sched_yield();
	}
	return 0;
}

/* Notes where it sleeps, once that has been the same for a while. */
static int settle_function(struct told *t)
{
	long long end = now_ms() + patience_ms;
	char was[64] = "";

	for (;;) {
		if (task_state(t->pid) == 'D' && !function_of(t->pid, NULL, t->function) &&
		    !strcmp(was, t->function))
			return 0;
		if (now_ms() > end)
			return -1;
		memcpy(was, t->function, sizeof(was));
		usleep(LOOK_MS * 1000);
	}
}

/* Who plays in the namespace: init, and a member if there is one. */
struct cast {
	void (*member)(struct box *b);
	int mnt;
};

static void init_with(struct box *b, void *arg)
{
	struct cast *cast = arg;

	be('i');
	if (cast->mnt >= 0 && setns(cast->mnt, CLONE_NEWNS))
		_exit(1);
	if (cast->member && !fork()) {
		be('m');
		cast->member(b);
		forever();
	}
	announce(b, READY);
	forever();
}

static int start(struct box *b, void (*member)(struct box *b), int mnt)
{
	struct cast cast = { .member = member, .mnt = mnt };

	return box_spawn(b, 0, init_with, &cast) || box_collect(b, member ? 2 : 1) ? -1 : 0;
}

static int kill_init(struct box *b)
{
	return kill(b->init, SIGKILL);
}

static void stays(struct box *b)
{
	announce(b, "member");
}

static void exits(struct box *b)
{
	be('m');
	announce(b, READY);
	_exit(0);
}

/* A zombie in the namespace @nsfd whose parent, the caller, does not reap it. */
static pid_t leave_zombie(struct box *b, int nsfd)
{
	int own = b->nsfd;
	pid_t pid;

	b->nsfd = nsfd;
	pid = box_inject(b, "zombie", exits);
	b->nsfd = own;
	return pid > 0 && readable(b->m[b->nr - 1].fd, patience_ms) ? pid : -1;
}

/* zap_pid_ns_processes() waits until all numbers have been given back. */
static int build_unreaped(struct box *b)
{
	pid_t pid;

	if (start(b, NULL, -1))
		return -1;
	pid = leave_zombie(b, b->nsfd);
	if (pid < 0)
		return -1;
	tell_unreaped(b, pid, 2, getpid());
	return kill_init(b);
}

static int build_many(struct box *b)
{
	pid_t pid;
	int i;

	if (start(b, NULL, -1))
		return -1;
	for (i = 0; i < MANY; i++) {
		pid = leave_zombie(b, b->nsfd);
		if (pid < 0)
			return -1;
		if (i < NAMED)
			tell_unreaped(b, pid, i + 2, getpid());
	}
	me->holders = MANY;
	return kill_init(b);
}

/* A parent that is itself stopped, and could not reap if it wanted to. */
static int build_parent_stopped(struct box *b)
{
	int fd = -1, status;
	pid_t parent;

	if (start(b, NULL, -1))
		return -1;
	parent = fork_into(b->out, 0, &fd);
	if (!parent) {
		be('c');
		if (enter(b->nsfd))
			_exit(1);
		if (!fork_into(b->in, 0, &fd)) {
			be('m');
			announce(b, "zombie");
			_exit(0);
		}
		raise(SIGSTOP);
		_exit(1);
	}
	if (parent < 0 || box_collect(b, 1) || !readable(b->m[0].fd, patience_ms) ||
	    waitpid(parent, &status, WUNTRACED) != parent || !WIFSTOPPED(status))
		return -1;
	close(fd);
	me->other = parent;
	blame_as(tell(b, b->m[0].pid, 2, 'Z', "unreaped"), "zombie, not reaped by its parent",
		 parent, 'T', "stopped");
	return kill_init(b);
}

static int end_parent_stopped(struct box *b)
{
	kill(me->other, SIGKILL);
	/* Then the zombie is ours: we are the subreaper of its parent. */
	b->m[0].ours = true;
	return waitpid(me->other, NULL, 0) == me->other ? 0 : -1;
}

/* The same, for the parent of init: zap_pid_ns_processes() is over. */
static int build_init_unreaped(struct box *b)
{
	if (start(b, stays, -1))
		return -1;
	tell_unreaped(b, b->init, 1, getpid());
	return kill_init(b);
}

/* wait_task_zombie() in kernel/exit.c: the tracer first. */
static int build_traced(struct box *b)
{
	if (start(b, stays, -1) || ptrace(PTRACE_SEIZE, b->m[0].pid, NULL, NULL))
		return -1;
	blame(tell(b, b->m[0].pid, 2, 'Z', "traced"), "zombie, held by its tracer", getpid());
	return kill_init(b);
}

static int end_traced(struct box *b)
{
	b->m[0].ours = true;
	return 0;
}

static void *thread_stays(void *arg)
{
	forever();
	return arg;
}

static void has_thread(struct box *b)
{
	pthread_t t;

	pthread_create(&t, NULL, thread_stays, NULL);
	stays(b);
}

static pid_t other_thread(pid_t pid)
{
	struct dirent *d;
	char path[64];
	pid_t tid = -1;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir)))
		if (d->d_name[0] != '.' && atoi(d->d_name) != pid)
			tid = atoi(d->d_name);
	if (dir)
		closedir(dir);
	return tid;
}

/* A thread that its tracer holds keeps the leader (delay_group_leader()). */
static int build_thread_traced(struct box *b)
{
	if (start(b, has_thread, -1))
		return -1;
	me->other = other_thread(b->m[0].pid);
	if (ptrace(PTRACE_SEIZE, me->other, NULL, NULL))
		return -1;
	blame(tell(b, me->other, 2, 'Z', "traced"), "zombie, held by its tracer", getpid());
	return kill_init(b);
}

static int end_thread_traced(struct box *b __maybe_unused)
{
	return waitpid(me->other, NULL, __WALL) == me->other ? 0 : -1;
}

/* PTRACE_EVENT_EXIT in do_exit(): a stop that SIGKILL does not end. */
static int build_ptrace_stop(struct box *b)
{
	pid_t pid;

	if (start(b, stays, -1))
		return -1;
	pid = b->m[0].pid;
	if (ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACEEXIT))
		return -1;
	blame(tell(b, pid, 2, 't', "ptrace_stop"), "stopped at its exit by its tracer", getpid());
	return kill_init(b) || settle(pid, 't') ? -1 : 0;
}

static int end_ptrace_stop(struct box *b)
{
	return ptrace(PTRACE_DETACH, b->m[0].pid, NULL, NULL);
}

/* The number of the FUSE file system that the caller sees. */
static int connection(void)
{
	struct stat st;

	return stat(FUSE_DIR, &st) ? -1 : (int)minor(st.st_dev);
}

/* Not through the page cache, where one who is killed does not wait. */
static void reads(struct box *b)
{
	static char page[FUSE_LENGTH] __attribute__((aligned(FUSE_LENGTH)));
	int fd = open(FUSE_FILE, O_RDONLY | O_DIRECT);

	me->connection = connection();
	stays(b);
	if (read(fd, page, sizeof(page)) < 0)
		_exit(1);
}

/* A member gets stuck on a FUSE server outside, which is @silent about that. */
static int start_over_fuse(struct box *b, __u32 silent, void (*member)(struct box *b))
{
	int mnt;

	fuse_silent = silent;
	mnt = fuse_outside(b);
	/* The last one says that the request has come. */
	if (mnt < 0 || start(b, member, mnt) || box_collect(b, 1))
		return -1;
	close(mnt);
	return 0;
}

/* request_wait_answer() in fs/fuse/dev.c: one that the server has got is waited for. */
static int build_fuse(struct box *b)
{
	struct told *t;

	if (start_over_fuse(b, FUSE_READ, reads))
		return -1;
	t = tell(b, b->m[0].pid, 2, 'D', "fuse");
	return kill_init(b) || settle_in_fuse(t->pid) || tell_fuse(t) ? -1 : 0;
}

static int end_by_abort(struct box *b __maybe_unused)
{
	const char *dir = "/sys/fs/fuse/connections";
	char name[32];
	int at, ret;

	snprintf(name, sizeof(name), "%d/abort", me->connection);
	at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		return -1;
	ret = write_at(at, name, "1");
	close(at);
	return ret;
}

static int end_by_answer(struct box *b)
{
	order(b, 'a');
	return 0;
}

static void *thread_reads(void *arg)
{
	be('t');
	reads(arg);
	return NULL;
}

static void thread_is_stuck(struct box *b)
{
	pthread_t t;

	pthread_create(&t, NULL, thread_reads, b);
}

/* Of several threads the one that is stuck is named. */
static int build_thread_fuse(struct box *b)
{
	struct told *t;

	if (start_over_fuse(b, FUSE_READ, thread_is_stuck))
		return -1;
	t = tell(b, other_thread(b->m[0].pid), 2, 'D', "fuse");
	return kill_init(b) || settle_in_fuse(t->pid) || tell_fuse(t) ? -1 : 0;
}

static void stats(struct box *b)
{
	struct stat st;

	stays(b);
	if (stat(FUSE_FILE, &st))
		_exit(1);
}

/* No file is open. */
static int build_fuse_stat(struct box *b)
{
	struct told *t;

	if (start_over_fuse(b, FUSE_LOOKUP, stats))
		return -1;
	t = tell(b, b->m[0].pid, 2, 'D', "fuse");
	return kill_init(b) || settle_in_fuse(t->pid) || tell_fuse(t) ? -1 : 0;
}

static int other_mnt = -1;

static void reads_second(struct box *b)
{
	if (open(FUSE_FILE, O_RDONLY) < 0 || setns(other_mnt, CLONE_NEWNS))
		_exit(1);
	reads(b);
}

/* Two are open, and one of them is well. */
static int build_fuse_two(struct box *b)
{
	struct told *t;

	other_mnt = fuse_outside(b);
	if (other_mnt < 0 || start_over_fuse(b, FUSE_READ, reads_second))
		return -1;
	close(other_mnt);
	t = tell(b, b->m[0].pid, 2, 'D', "fuse");
	return kill_init(b) || settle_in_fuse(t->pid) || tell_fuse(t) ? -1 : 0;
}

static void opens(struct box *b)
{
	if (open(FUSE_FILE, O_RDONLY) < 0)
		_exit(1);
	stays(b);
}

/* fuse_flush() when the file is closed: on the way out, in exit_files(). */
static int build_fuse_flush(struct box *b)
{
	struct told *t;
	int mnt;

	fuse_silent = FUSE_FLUSH;
	mnt = fuse_outside(b);
	if (mnt < 0 || start(b, opens, mnt))
		return -1;
	close(mnt);
	t = tell(b, b->m[0].pid, 2, 'D', "fuse");
	/* The flush comes with the kill. */
	return kill_init(b) || box_collect(b, 1) || settle_in_fuse(t->pid) || tell_fuse(t) ? -1 : 0;
}

/*
 * fdget_pos() in fs/file.c waits for the lock of the position that a file has
 * for all who share it: held by one outside, who waits for a FUSE server.
 */
static int build_lock(struct box *b)
{
	int mnt, file, fd = -1, go[2];
	struct told *t;
	pid_t reader;
	char c;

	mnt = fuse_outside(b);
	if (mnt < 0 || start(b, NULL, -1) || pipe2(go, O_CLOEXEC))
		return -1;
	reader = fork_into(b->out, 0, &fd);
	if (!reader) {
		be('c');
		if (setns(mnt, CLONE_NEWNS))
			_exit(1);
		file = open(FUSE_FILE, O_RDONLY);
		if (file < 0 || enter(b->nsfd))
			_exit(1);
		if (!fork_into(b->in, 0, &fd)) {
			be('m');
			stays(b);
			if (read(go[0], &c, 1) == 1 && read(file, &c, 1) < 0)
				_exit(1);
			forever();
		}
		if (read(file, &c, 1) < 0)
			_exit(1);
		while (wait(NULL) > 0)
			;
		_exit(0);
	}
	/* The member is there, and the read of the other one has come. */
	if (reader < 0 || box_collect(b, 2) || write(go[1], "x", 1) != 1)
		return -1;
	close(fd);
	close(mnt);
	t = tell(b, b->m[0].pid, 2, 'D', "uninterruptible");
	if (settle_function(t))
		return -1;
	snprintf(t->text, sizeof(t->text), "in uninterruptible sleep in %s()", t->function);
	return kill_init(b);
}

/*
 * The freezer of cgroup v1, which is not that of v2. The task is in "inner", and it
 * is the one above that is frozen.
 */
static int freezer = -1;

static void freezer_path(char path[128], const char *below)
{
	snprintf(path, 128, "/tmp/pidns_freezer.%d%s", getpid(), below);
}

static int freeze(pid_t pid)
{
	long long end = now_ms() + patience_ms;
	char dir[128], path[128], buf[32];

	freezer_path(dir, "");
	if (mkdir(dir, 0755) || mount("freezer", dir, "cgroup", 0, "freezer"))
		return -1;
	snprintf(buf, sizeof(buf), "/pidns_test.%d", getpid());
	freezer_path(path, buf);
	if (mkdir(path, 0755))
		return -1;
	freezer = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(buf, sizeof(buf), "%d", pid);
	if (freezer < 0 || mkdirat(freezer, "inner", 0755) ||
	    write_at(freezer, "inner/cgroup.procs", buf) ||
	    write_at(freezer, "freezer.state", "FROZEN"))
		return -1;
	strncat(path, "/freezer.state", sizeof(path) - strlen(path) - 1);
	do {
		if (read_file(path, buf, sizeof(buf)) < 0 || now_ms() > end)
			return -1;
	} while (strcmp(buf, "FROZEN\n"));
	return 0;
}

static void tell_frozen(struct told *t)
{
	snprintf(t->cgroup, sizeof(t->cgroup), "/pidns_test.%d/inner", getpid());
	snprintf(t->text, sizeof(t->text),
		 "frozen by the cgroup v1 freezer, by its own cgroup %s or one above that",
		 t->cgroup);
	t->look = "; thaw the one whose freezer.self_freezing is 1";
}

static int end_frozen(struct box *b)
{
	long long end = now_ms() + patience_ms;
	char dir[128], path[128], name[32];

	freezer_path(dir, "");
	snprintf(name, sizeof(name), "/pidns_test.%d", getpid());
	freezer_path(path, name);
	if (write_at(freezer, "freezer.state", "THAWED") || box_wait_init(b))
		return -1;
	while (unlinkat(freezer, "inner", AT_REMOVEDIR) || rmdir(path))
		if ((errno != EBUSY && errno != ENOTEMPTY && errno != ENOENT) || now_ms() > end)
			return -1;
	close(freezer);
	return umount(dir) || rmdir(dir) ? -1 : 0;
}

/* __refrigerator() in kernel/freezer.c is left when thawed, and not before. */
static int build_frozen(struct box *b)
{
	if (start(b, stays, -1) || freeze(b->m[0].pid))
		return -1;
	tell_frozen(tell(b, b->m[0].pid, 2, 'D', "frozen"));
	return kill_init(b);
}

static void dumps(struct box *b)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_CORE, &all);
	/* An init and its members are dumpable, if the one above was. */
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	stays(b);
	raise(SIGABRT);
}

/* vfs_coredump() in fs/coredump.c opens the file of the core. */
static int build_core_dump(struct box *b)
{
	struct told *t;

	if (start_over_fuse(b, FUSE_LOOKUP, dumps))
		return -1;
	t = tell(b, b->m[0].pid, 2, 'D', "core_dump");
	if (kill_init(b) || settle_function(t))
		return -1;
	snprintf(t->text, sizeof(t->text), "dumping core in %s()", t->function);
	return 0;
}

/*
 * Then it unlinks the file and looks for it again, see coredump_file(). It has been
 * killed and gives each of that up, unless the server was so fast as to have got it.
 */
static int end_core_dump(struct box *b)
{
	int i;

	for (i = 0; i < 3; i++)
		order(b, 'a');
	return 0;
}

/* Inits below inits, down to that of the lowest level. */
static void init_chain(struct box *b, void *arg)
{
	int levels = *(int *)arg;

	be('i');
	for (;;) {
		announce(b, "init");
		if (!--levels || unshare(CLONE_NEWPID) || fork())
			break;
	}
	forever();
}

/*
 * The inits below wait too, in the same place; but it is the one at the bottom
 * that has to be reaped, and only from outside.
 */
static int build_levels(struct box *b, int levels)
{
	int i, nsfd = -1;
	pid_t pid;

	if (box_spawn(b, 0, init_chain, &levels) || box_collect(b, levels))
		return -1;
	me->levels = levels;
	for (i = 0; i < levels; i++) {
		if (nsfd >= 0)
			close(nsfd);
		nsfd = open_pidns(b->m[i].pid);
		me->pidns[i] = ns_number(nsfd);
		me->inits[i] = b->m[i].pid;
	}
	pid = leave_zombie(b, nsfd);
	if (pid < 0)
		return -1;
	blame(tell_in(ns_number(nsfd), pid, 2, 'Z', "unreaped"),
	      "zombie, not reaped by its parent", getpid());
	close(nsfd);
	return kill_init(b);
}

static int build_nested(struct box *b)
{
	return build_levels(b, LEVELS);
}

static int build_deep(struct box *b)
{
	return build_levels(b, DEEP_LEVELS);
}

static void init_submits(struct box *b, void *arg)
{
	be('i');
	if (setns(*(int *)arg, CLONE_NEWNS))
		_exit(1);
	me->connection = connection();
	fuse_submit_read();
	announce(b, READY);
	forever();
}

static int await_stack(pid_t pid, const char *function)
{
	long long end = now_ms() + patience_ms;

	while (!sleeps_in(pid, function)) {
		if (now_ms() > end)
			return -1;
		sched_yield();
	}
	return 0;
}

/*
 * exit_aio() in fs/aio.c, before zap_pid_ns_processes(); see wedge_test.c. On what
 * the I/O is cannot be seen.
 */
static int build_init_stuck(struct box *b)
{
	int mnt = fuse_outside(b);
	struct told *t;

	if (mnt < 0 || box_spawn(b, 0, init_submits, &mnt) || box_collect(b, 2))
		return -1;
	close(mnt);
	t = tell(b, b->init, 1, 'D', "aio");
	snprintf(t->function, sizeof(t->function), "exit_aio");
	snprintf(t->text, sizeof(t->text), "waits for its asynchronous I/O in exit_aio()");
	return kill_init(b) || await_stack(b->init, "exit_aio") ? -1 : 0;
}

/* --- An init that is told to die, and does not: as long as it lives nobody is killed. */

static void is_dying(const char *ending, int code)
{
	me->dying = true;
	me->late = true;
	me->ending = ending;
	me->code = code;
}

static void init_reads(struct box *b, void *arg)
{
	static char page[FUSE_LENGTH] __attribute__((aligned(FUSE_LENGTH)));
	int fd;

	be('i');
	if (setns(*(int *)arg, CLONE_NEWNS))
		_exit(1);
	fd = open(FUSE_FILE, O_RDONLY | O_DIRECT);
	me->connection = connection();
	if (!fork()) {
		be('m');
		stays(b);
		forever();
	}
	announce(b, READY);
	if (read(fd, page, sizeof(page)) < 0)
		_exit(1);
}

static int build_dying_fuse(struct box *b)
{
	int mnt = fuse_outside(b);
	struct told *t;

	/* The third says that the request has come. */
	if (mnt < 0 || box_spawn(b, 0, init_reads, &mnt) || box_collect(b, 3))
		return -1;
	close(mnt);
	is_dying("was told to die by SIGKILL", SIGKILL);
	t = tell(b, b->init, 1, 'D', "fuse");
	return kill_init(b) || settle_in_fuse(t->pid) || tell_fuse(t) ? -1 : 0;
}

static int build_dying_frozen(struct box *b)
{
	if (start(b, stays, -1) || freeze(b->init))
		return -1;
	is_dying("was told to die by SIGKILL", SIGKILL);
	tell_frozen(tell(b, b->init, 1, 'D', "frozen"));
	return kill_init(b);
}

/* Held by the tracer at PTRACE_EVENT_EXIT, of which it has not yet counted itself out. */
static int build_dying_stop(struct box *b)
{
	if (start(b, stays, -1) || ptrace(PTRACE_SEIZE, b->init, NULL, PTRACE_O_TRACEEXIT))
		return -1;
	is_dying("was told to die by SIGKILL", SIGKILL);
	blame(tell(b, b->init, 1, 't', "ptrace_stop"), "stopped at its exit by its tracer",
	      getpid());
	return kill_init(b) || settle(b->init, 't') ? -1 : 0;
}

static int end_dying_stop(struct box *b)
{
	return ptrace(PTRACE_DETACH, b->init, NULL, NULL);
}

static void init_dumps(struct box *b, void *arg)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	be('i');
	if (setns(*(int *)arg, CLONE_NEWNS) || setrlimit(RLIMIT_CORE, &all) ||
	    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
		_exit(1);
	announce(b, READY);
	illegal_instruction();
}

static int build_dying_core(struct box *b)
{
	struct told *t;
	int mnt;

	fuse_silent = FUSE_LOOKUP;
	mnt = fuse_outside(b);
	if (mnt < 0 || box_spawn(b, 0, init_dumps, &mnt) || box_collect(b, 2))
		return -1;
	close(mnt);
	is_dying("was told to die by SIGKILL", SIGKILL);
	t = tell(b, b->init, 1, 'D', "core_dump");
	if (kill_init(b) || settle_function(t))
		return -1;
	snprintf(t->text, sizeof(t->text), "dumping core in %s()", t->function);
	return 0;
}

/* A loop in the kernel that no signal ends, of a module of the tests'. */
#define SPIN_DIR	"/sys/kernel/debug/pidns_test_spin"
#define SPIN		SPIN_DIR "/write"

/* Waits until a task has come to the loop: from there on no signal ends it. */
static int settle_in_loop(void)
{
	long long end = now_ms() + patience_ms;
	char tasks[32];

	do {
		if (read_file(SPIN_DIR "/tasks", tasks, sizeof(tasks)) <= 0 || now_ms() > end)
			return -1;
	} while (!atoi(tasks));
	return 0;
}

static void init_spins(struct box *b, void *arg)
{
	int fd = open(SPIN, O_WRONLY);

	be('i');
	if (fd < 0)
		_exit(1);
	announce(b, READY);
	if (write(fd, arg, 1) != 1)
		_exit(1);
	forever();
}

static void spins(struct box *b)
{
	int fd = open(SPIN, O_WRONLY);

	if (fd < 0)
		_exit(1);
	stays(b);
	if (write(fd, "s", 1) != 1)
		_exit(1);
}

static int build_dying_spin(struct box *b)
{
	if (box_spawn(b, 0, init_spins, "s") || box_collect(b, 1) || settle_in_loop())
		return -1;
	is_dying("was told to die by SIGKILL", SIGKILL);
	tell(b, b->init, 1, 'R', "running");
	return kill_init(b);
}

static int build_spin(struct box *b)
{
	if (start(b, spins, -1) || settle_in_loop())
		return -1;
	tell(b, b->m[0].pid, 2, 'R', "running");
	return kill_init(b);
}

static int end_spin(struct box *b __maybe_unused)
{
	int fd = open(SPIN, O_WRONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -1;
	ret = write(fd, "x", 1) == 1 ? 0 : -1;
	close(fd);
	return ret;
}

/* --- Dead, and not yet at the hook: acct_collect() wants mmap_lock for reading. */

/* Shares the memory of its parent, and holds the lock of that while a page is written back. */
static int holds_mmap_lock(void *arg)
{
	struct box *b = arg;
	char *page;
	int fd;

	be('m');
	fd = open(FUSE_FILE, O_RDWR);
	page = mmap(NULL, FUSE_LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		_exit(1);
	*page = 1;
	me->connection = connection();
	announce(b, "member");
	/* fuse_vma_close(), see vms_clean_up_area() in mm/vma.c */
	mmap(page, FUSE_LENGTH, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	_exit(0);
}

static void init_shares_memory(struct box *b, void *arg)
{
	static char stack[16384] __attribute__((aligned(16)));

	be('i');
	if (setns(*(int *)arg, CLONE_NEWNS))
		_exit(1);
	if (!fork()) {
		be('b');
		announce(b, "bystander");
		forever();
	}
	if (clone(holds_mmap_lock, stack + sizeof(stack), CLONE_VM | SIGCHLD, b) < 0)
		_exit(1);
	announce(b, READY);
	forever();
}

static int build_acct(struct box *b)
{
	pid_t member, bystander;
	struct told *t;
	int mnt, i;

	fuse_silent = FUSE_WRITE;
	mnt = fuse_outside(b);
	/* init, two members, and the server that has got the page */
	if (mnt < 0 || box_spawn(b, 0, init_shares_memory, &mnt) || box_collect(b, 4))
		return -1;
	close(mnt);
	for (i = 0; strcmp(b->m[i].what, "member"); i++)
		if (i == b->nr - 1)
			return -1;
	member = b->m[i].pid;
	if (settle_in_fuse(member) || kill_init(b) || await_stack(b->init, "acct_collect"))
		return -1;
	me->late = true;
	t = tell(b, b->init, 1, 'D', "uninterruptible");
	if (function_of(t->pid, NULL, t->function))
		return -1;
	snprintf(t->text, sizeof(t->text), "in uninterruptible sleep in %s()", t->function);
	/* What dies by the kill is init's to reap, which is not yet told to ignore it. */
	bystander = b->m[!i].pid;
	t = tell(b, bystander, 2, 'Z', "unreaped");
	if (blame_in_d(t, "zombie, not reaped by its parent", b->init))
		return -1;
	t = tell(b, member, 3, 'D', "fuse");
	return tell_fuse(t);
}

/* --- How it ends, and by whom it is held */

static void calls_reboot(struct box *b)
{
	announce(b, "member");
	syscall(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		LINUX_REBOOT_CMD_POWER_OFF, NULL);
	_exit(1);
}

/* Only the zombie that the caller leaves holds it, as with build_unreaped(). */
static int build_reboot(struct box *b)
{
	pid_t pid;

	if (start(b, NULL, -1))
		return -1;
	pid = leave_zombie(b, b->nsfd);
	if (pid < 0)
		return -1;
	tell_unreaped(b, pid, 2, getpid());
	me->ending = "was ended by reboot() (power off or halt)";
	me->how = "reboot";
	me->code = SIGINT;
	/* A child of the caller's, which goes by itself. */
	if (box_inject(b, "member", calls_reboot) < 0)
		return -1;
	return waitpid(b->m[b->nr - 1].pid, NULL, 0) < 0 ? -1 : 0;
}

struct parent {
	struct box *b;
	int nsfd, mnt;
};

/* Leaves a zombie in the namespace and does not reap it; with a mount, as it is in D. */
static void __noreturn is_bad_parent(struct parent *p)
{
	static char page[FUSE_LENGTH] __attribute__((aligned(FUSE_LENGTH)));
	int fd = -1, in = -1;

	be('c');
	if (p->mnt >= 0) {
		if (setns(p->mnt, CLONE_NEWNS))
			_exit(1);
		fd = open(FUSE_FILE, O_RDONLY | O_DIRECT);
	}
	if (setns(p->nsfd, CLONE_NEWPID))
		_exit(1);
	if (!fork_into(p->b->in, 0, &in)) {
		be('m');
		announce(p->b, "zombie");
		_exit(0);
	}
	if (fd >= 0 && read(fd, page, sizeof(page)) < 0)
		_exit(1);
	forever();
}

static int build_parent_in_d(struct box *b)
{
	struct parent p = { .b = b };
	pid_t parent;
	int fd = -1;

	p.mnt = fuse_outside(b);
	if (p.mnt < 0 || start(b, NULL, -1))
		return -1;
	p.nsfd = b->nsfd;
	parent = fork_into(b->out, 0, &fd);
	if (!parent)
		is_bad_parent(&p);
	/* The zombie, and the server that has got the read. */
	if (parent < 0 || box_collect(b, 2))
		return -1;
	me->other = parent;
	close(fd);
	close(p.mnt);
	/* No signal wakes one that has been killed, and whose request the server has got. */
	if (!readable(b->m[0].fd, patience_ms) || kill(me->other, SIGKILL) ||
	    settle_in_fuse(me->other))
		return -1;
	return blame_in_d(tell(b, b->m[0].pid, 2, 'Z', "unreaped"),
			  "zombie, not reaped by its parent", me->other) || kill_init(b) ? -1 : 0;
}

static int end_parent_in_d(struct box *b)
{
	if (me->other <= 0)
		return -1;
	/* Then the zombie is ours: we are the subreaper of its parent. */
	b->m[0].ours = true;
	order(b, 'a');
	return waitpid(me->other, NULL, 0) == me->other ? 0 : -1;
}

/*
 * The parent is the init of a namespace that lives: whoever ends it ends that, too.
 * So the one that dies is below it, and has another init.
 */
static void init_is_parent(struct box *b, void *arg __maybe_unused)
{
	struct parent p = { .b = b, .mnt = -1 };
	pid_t inner = fork_into(b->in, CLONE_NEWPID, &p.nsfd);

	if (!inner) {
		be('i');
		announce(b, "inner");
		forever();
	}
	if (inner < 0)
		_exit(1);
	/* The descriptor of a process serves setns(), too. */
	is_bad_parent(&p);
}

static int build_parent_init(struct box *b)
{
	struct told *t;
	int inner, nsfd;
	char at[64];

	if (box_spawn(b, 0, init_is_parent, NULL) || box_collect(b, 2))
		return -1;
	inner = strcmp(b->m[0].what, "inner") ? 1 : 0;
	nsfd = open_pidns(b->m[inner].pid);
	if (nsfd < 0 || !readable(b->m[!inner].fd, patience_ms))
		return -1;
	me->level = 2;
	me->levels = 1;
	me->init = b->m[inner].pid;
	me->inits[0] = me->init;
	me->pidns[0] = ns_number(nsfd);
	t = tell_in(me->pidns[0], b->m[!inner].pid, 2, 'Z', "unreaped");
	snprintf(at, sizeof(at), "init of living pid namespace %u", ns_number(b->nsfd));
	blame_as(t, "zombie, not reaped by its parent", b->init, 'S', at);
	t->blocker_init_of = ns_number(b->nsfd);
	close(nsfd);
	return kill(me->init, SIGKILL);
}

/* --- Devices and file systems: on Debian's kernels there may be none of these. */

#define DISK		"/tmp/disk"
#define DISK_FILE	DISK "/file"
#define DM_NAME		"pidns_test"
static char dm_device[32];

static bool lacks(const char *path)
{
	me->lacking = access(path, F_OK);
	return me->lacking;
}

static void writes(struct box *b)
{
	int fd = open(DISK_FILE, O_WRONLY | O_CREAT, 0600);

	if (fd < 0)
		_exit(1);
	stays(b);
	await_order(b);
	if (write(fd, "x", 1) != 1)
		_exit(1);
}

static int frozen_disk = -1;

/* sb_start_write() in a file system that is frozen: fsfreeze -f */
static int build_frozen_fs(struct box *b)
{
	struct told *t;

	if (lacks("/dev/ram0") || unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/tmp", "tmpfs", 0, NULL) || mkdir(DISK, 0755) ||
	    system("mke2fs -q -F /dev/ram0 4096 >/dev/null 2>&1") ||
	    mount("/dev/ram0", DISK, "ext2", 0, NULL))
		return -1;
	frozen_disk = open(DISK, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (start(b, writes, -1) || ioctl(frozen_disk, FIFREEZE, 0))
		return -1;
	order(b, 'w');
	t = tell(b, b->m[0].pid, 2, 'D', "uninterruptible");
	if (await_stack(t->pid, "percpu_rwsem_wait") || function_of(t->pid, NULL, t->function))
		return -1;
	snprintf(t->text, sizeof(t->text), "in uninterruptible sleep in %s()", t->function);
	return kill_init(b);
}

static int end_frozen_fs(struct box *b __maybe_unused)
{
	return ioctl(frozen_disk, FITHAW, 0);
}

/* One of device mapper's ioctls on the one device, with a table of one line if there is @table. */
static int dm(unsigned long request, unsigned int flags, const char *table, dev_t *dev)
{
	struct {
		struct dm_ioctl io;
		struct dm_target_spec target;
		char table[64];
	} args = {
		.io = {
			.version = { DM_VERSION_MAJOR, 0, 0 },
			.data_size = sizeof(args),
			.data_start = offsetof(typeof(args), target),
			.flags = flags,
			.target_count = table ? 1 : 0,
			.name = DM_NAME,
		},
		.target = { .length = 8192, .target_type = "linear" },
	};
	int fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC), ret;

	if (fd < 0)
		return -1;
	if (table)
		snprintf(args.table, sizeof(args.table), "%s", table);
	ret = ioctl(fd, request, &args);
	close(fd);
	if (!ret && dev)
		*dev = args.io.dev;
	return ret;
}

static void writes_directly(struct box *b)
{
	static char page[4096] __attribute__((aligned(4096)));
	int fd = open(dm_device, O_WRONLY | O_DIRECT);

	if (fd < 0)
		_exit(1);
	stays(b);
	await_order(b);
	if (write(fd, page, sizeof(page)) < 0)
		_exit(1);
}

/* An O_DIRECT write to a device that is suspended: dmsetup suspend */
static int build_suspended(struct box *b)
{
	struct told *t;
	dev_t dev = 0;

	if (lacks("/dev/mapper/control") || lacks("/dev/ram1"))
		return -1;
	if (dm(DM_DEV_CREATE, 0, NULL, &dev) ||
	    dm(DM_TABLE_LOAD, 0, "/dev/ram1 0", NULL) || dm(DM_DEV_SUSPEND, 0, NULL, NULL))
		return -1;
	snprintf(dm_device, sizeof(dm_device), "/dev/dm-%u", minor(dev));
	if (start(b, writes_directly, -1) || dm(DM_DEV_SUSPEND, DM_SUSPEND_FLAG, NULL, NULL))
		return -1;
	order(b, 'w');
	t = tell(b, b->m[0].pid, 2, 'D', "uninterruptible");
	if (settle_function(t) || kill_init(b))
		return -1;
	snprintf(t->text, sizeof(t->text), "in uninterruptible sleep in %s()", t->function);
	return 0;
}

static int end_suspended(struct box *b)
{
	/* Not suspended: that is how device mapper resumes one. */
	if (dm(DM_DEV_SUSPEND, 0, NULL, NULL) || box_wait_init(b))
		return -1;
	return dm(DM_DEV_REMOVE, 0, NULL, NULL);
}

static void init_of_two(struct box *b, void *arg)
{
	pid_t tracee;

	be('i');
	if (setns(*(int *)arg, CLONE_NEWNS))
		_exit(1);
	tracee = member(b, "tracee");
	if (!fork()) {
		be('c');
		if (ptrace(PTRACE_SEIZE, tracee, NULL, NULL))
			_exit(1);
		reads(b);
		forever();
	}
	announce(b, READY);
	forever();
}

/* A tracer inside goes, and lets go; unless it is stuck itself. */
static int build_tracer_stuck(struct box *b)
{
	int mnt = fuse_outside(b), first;

	if (mnt < 0 || box_spawn(b, 0, init_of_two, &mnt) || box_collect(b, 4))
		return -1;
	close(mnt);
	/* They announce themselves in any order. */
	first = strcmp(b->m[0].what, "tracee") ? 1 : 0;
	if (kill_init(b) || settle_in_fuse(b->m[!first].pid) ||
	    blame_in_d(tell(b, b->m[first].pid, 2, 'Z', "traced"), "zombie, held by its tracer",
		       b->m[!first].pid))
		return -1;
	return tell_fuse(tell(b, b->m[!first].pid, 3, 'D', "fuse"));
}

static void leads_group(struct box *b)
{
	be('m');
	setpgid(0, 0);
	announce(b, READY);
	_exit(0);
}

/*
 * A number of the namespace that is in use outside, as that of a process group
 * (__change_pid() in kernel/pid.c). No process holds the teardown.
 */
static int build_group(struct box *b)
{
	struct told *t;
	pid_t pid;

	if (start(b, NULL, -1))
		return -1;
	pid = box_inject(b, "leader", leads_group);
	if (pid < 0 || setpgid(0, pid) || !readable(b->m[0].fd, patience_ms))
		return -1;
	box_reap_ours(b);
	t = tell(b, getpid(), 2, 'S', "group");
	blame(t, "", getpid());
	snprintf(t->text, sizeof(t->text),
		 "outside, in the process group of a member that is gone");
	return kill_init(b);
}

static int end_group(struct box *b __maybe_unused)
{
	return setpgid(0, 0);
}

/* As if for the last time: nobody reaps it, and it is looked at to the end. */
static int build_alive(struct box *b)
{
	struct told *t;

	if (start(b, stays, -1))
		return -1;
	t = tell(b, b->m[0].pid, 2, 'S', "alive");
	snprintf(t->text, sizeof(t->text), "nothing has killed it");
	return kill_init(b);
}

static int end_alive(struct box *b)
{
	return kill(b->m[0].pid, SIGKILL);
}

/* One that would go if it were let: it has much to give back, and little time. */
static int idle_cpu(void)
{
	cpu_set_t set;
	int cpu = 0;

	if (sched_getaffinity(0, sizeof(set), &set))
		return -1;
	while (!CPU_ISSET(cpu, &set))
		cpu++;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

static void is_slow(struct box *b)
{
	struct sched_param param = {};
	char *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (memory == MAP_FAILED || idle_cpu() || sched_setscheduler(0, SCHED_IDLE, &param))
		_exit(1);
	stays(b);
}

static int build_running(struct box *b)
{
	if (start(b, is_slow, -1))
		return -1;
	tell(b, b->m[0].pid, 2, 'R', "running");
	return kill_init(b);
}

enum {
	UNREAPED, MANY_UNREAPED, PARENT_STOPPED, INIT_UNREAPED, NAMES, TRACED, THREAD_TRACED,
	TRACER_STUCK, PTRACE_STOP, FUSE, THREAD_FUSE, FUSE_STAT, FUSE_TWO, FUSE_FLUSHED, LOCK,
	FROZEN, CORE_DUMP, NESTED, INIT_STUCK, GROUP, REBOOT, PARENT_IN_D, PARENT_INIT, ACCT,
	FROZEN_FS, SUSPENDED, DYING_FUSE, DYING_FROZEN, DYING_STOP, DYING_CORE, AGAIN,
	/* those that want the module loaded otherwise, or to themselves */
	ALIVE, DEEP, RUNNING, SPINNING, DYING_SPIN, SCENES,
};

static const struct scene scenes[] = {
	[UNREAPED] = { "unreaped", build_unreaped, NULL },
	[MANY_UNREAPED] = { "many", build_many, NULL },
	[PARENT_STOPPED] = { "stopped", build_parent_stopped, end_parent_stopped },
	[INIT_UNREAPED] = { "initzombie", build_init_unreaped, NULL },
	[NAMES] = { "names", build_unreaped, NULL },
	[TRACED] = { "traced", build_traced, end_traced },
	[THREAD_TRACED] = { "thread_traced", build_thread_traced, end_thread_traced },
	[TRACER_STUCK] = { "tracer_stuck", build_tracer_stuck, end_by_abort },
	[PTRACE_STOP] = { "ptrace_stop", build_ptrace_stop, end_ptrace_stop },
	[FUSE] = { "fuse", build_fuse, end_by_abort },
	[THREAD_FUSE] = { "thread_fuse", build_thread_fuse, end_by_abort },
	[FUSE_STAT] = { "fuse_stat", build_fuse_stat, end_by_answer },
	[FUSE_TWO] = { "fuse_two", build_fuse_two, end_by_answer },
	[FUSE_FLUSHED] = { "fuse_flush", build_fuse_flush, end_by_answer },
	[LOCK] = { "lock", build_lock, end_by_answer },
	[FROZEN] = { "frozen", build_frozen, end_frozen },
	[CORE_DUMP] = { "core_dump", build_core_dump, end_core_dump },
	[NESTED] = { "nested", build_nested, NULL },
	[INIT_STUCK] = { "init_stuck", build_init_stuck, end_by_abort },
	[GROUP] = { "group", build_group, end_group },
	[REBOOT] = { "reboot", build_reboot, NULL },
	[PARENT_IN_D] = { "parent_in_d", build_parent_in_d, end_parent_in_d },
	[PARENT_INIT] = { "parent_init", build_parent_init, kill_init },
	[ACCT] = { "acct", build_acct, end_by_abort },
	[FROZEN_FS] = { "frozen_fs", build_frozen_fs, end_frozen_fs },
	[SUSPENDED] = { "suspended", build_suspended, end_suspended },
	[DYING_FUSE] = { "dying_fuse", build_dying_fuse, end_by_abort },
	[DYING_FROZEN] = { "dying_frozen", build_dying_frozen, end_frozen },
	[DYING_STOP] = { "dying_stop", build_dying_stop, end_dying_stop },
	[DYING_CORE] = { "dying_core", build_dying_core, end_core_dump },
	[AGAIN] = { "again", build_unreaped, NULL },
	[ALIVE] = { "alive", build_alive, end_alive },
	[DEEP] = { "deep", build_deep, NULL },
	[RUNNING] = { "running", build_running, NULL },
	[SPINNING] = { "spinning", build_spin, end_spin },
	[DYING_SPIN] = { "dying_spin", build_dying_spin, end_spin },
};

/* The stages that are built at once, and what those have to share who build. */
static struct stage *stages;
static int builders[2];

static void say(char c)
{
	if (write(me->said[1], &c, 1) != 1)
		_exit(1);
}

/* A stage: builds its scene, keeps it until told to end it, and says how it went. */
static void play(void)
{
	struct box b;
	bool ok;
	char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	be('c');
	if (read(builders[0], &c, 1) != 1 || box_open(&b))
		_exit(1);
	/* Whether anybody kills is not the question here. */
	b.hopeful = true;
	ok = !scene->build(&b);
	if (!ok && !me->lacking)
		fprintf(stderr, "# %s: not built: %m\n", scene->name);
	if (!me->init)
		me->init = b.init;
	if (!me->level)
		me->level = 1;
	if (!me->ending) {
		me->ending = "was killed by SIGKILL";
		me->code = SIGKILL;
	}
	comm_of(me->init, me->init_comm);
	if (!me->levels) {
		me->levels = 1;
		me->pidns[0] = ns_number(b.nsfd);
		me->inits[0] = b.init;
	}
	if (write(builders[1], "b", 1) != 1)
		_exit(1);
	say(ok ? 'b' : 'n');
	if (read(me->go[0], &c, 1) != 1)
		_exit(1);
	ok = (me->lacking || !(scene->end && scene->end(&b))) && (b.reaped || !box_wait_init(&b));
	say(ok ? 'e' : 'n');
	/* No word of this before the tests have seen what they want to see. */
	if (read(me->go[0], &c, 1) != 1)
		_exit(1);
	say(box_close(&b) ? 'n' : 'c');
	_exit(0);
}

static int raise_stage(struct stage *s, int nr)
{
	pid_t pid;

	if (pipe2(s->go, O_CLOEXEC) || pipe2(s->said, O_CLOEXEC))
		return -1;
	pid = fork();
	if (!pid) {
		scene = &scenes[nr];
		me = s;
		play();
	}
	return pid < 0 ? -1 : 0;
}

static struct stage *new_stages(int nr, unsigned long long from)
{
	struct stage *s = mmap(NULL, nr * sizeof(*s), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int i;

	if (s == MAP_FAILED || pipe2(builders, O_CLOEXEC))
		return NULL;
	for (i = 0; i < BUILDERS; i++)
		if (write(builders[1], "b", 1) != 1)
			return NULL;
	for (i = 0; i < nr; i++)
		s[i].from = from;
	return s;
}

/* Waits for what a stage says of what it was told to do. */
static bool stage_says(struct stage *s, char want)
{
	char c = 0;

	/* Others may have to be built first. */
	return readable(s->said[0], 3 * patience_ms) && read(s->said[0], &c, 1) == 1 && c == want;
}

static bool stage_does(struct stage *s, char want)
{
	return write(s->go[1], "x", 1) == 1 && stage_says(s, want);
}

static void holder_line(const struct told *t, char line[KMSG_LINE])
{
	snprintf(line, KMSG_LINE, "  %s (pid %d, %d in %u, %c): %s%s", shown(t->comm), t->pid,
		 t->inside, t->pidns, t->state, t->text, t->look ?: "");
}

static void header_start(const struct stage *s, const char *what, char line[KMSG_LINE])
{
	snprintf(line, KMSG_LINE, "teardown of pid namespace %u (level %d) %s %s", s->pidns[0],
		 s->level, what, s->late ? "at least " : "");
}

/* Of one that runs how long it has done so is told, which changes. */
static bool is_told(const struct told *t, const char *line)
{
	char want[KMSG_LINE];

	holder_line(t, want);
	if (strcmp(t->reason, "running"))
		return !strcmp(line, want);
	return !strncmp(line, want, strlen(want)) && strstr(line, "): running") &&
	       strstr(line, ", has used ") && strstr(line, " of CPU time");
}

/*
 * Waits for a report with all the holders as they should be. The first one may
 * have come in the middle of the building.
 */
static bool is_reported(struct stage *s)
{
	long long end = now_ms() + patience_ms;
	char line[KMSG_LINE], want[KMSG_LINE], header[KMSG_LINE], tail[KMSG_LINE], was[KMSG_LINE];
	int in_log = s->holders < IN_LOG ? s->holders : IN_LOG, i = -1;
	int lines = in_log + (s->holders > IN_LOG);	/* which counts the rest */
	struct kmsg k;

	if (kmsg_open(&k, s->from))
		return false;
	header_start(s, "stuck for", header);
	snprintf(tail, sizeof(tail), ": init %s (pid %d) %s%s, held by %d task%s",
		 shown(s->init_comm), s->init, s->ending, s->dying ? " and has not died" : "",
		 s->holders, s->holders == 1 ? "" : "s");
	snprintf(was, sizeof(was), "nothing");
	do {
		if (!kmsg_next(&k, line, end - now_ms()))
			break;
		if (!strncmp(line, "  ", 2) && i >= 0) {
			snprintf(want, sizeof(want), "  and %d more", s->holders - IN_LOG);
			if (i < in_log ? !is_told(&s->told[i], line) : !!strcmp(line, want)) {
				snprintf(was, sizeof(was), "%s", line);
				i = -1;
			} else {
				i++;
			}
		} else if (!strncmp(line, "teardown", 8)) {
			i = -1;
			if (!strncmp(line, header, strlen(header))) {
				if (strstr(line, tail))
					i = 0;
				else
					snprintf(was, sizeof(was), "%s", line);
			}
		}
	} while (i < lines);
	close(k.fd);
	if (i == lines)
		return true;
	fprintf(stderr, "# in the log: %s\n", was);
	for (i = 0; i < in_log && i < s->nr; i++) {
		holder_line(&s->told[i], want);
		fprintf(stderr, "# expected:   %s\n", want);
	}
	return false;
}

/* Whether a member is that string, or null where it is empty. */
static bool says_or_null(const char *object, const char *name, const char *want)
{
	return *want ? json_says(object, name, want) : json_is(object, name, "null");
}

static bool blocker_is(const char *blocker, const struct told *t)
{
	if (!t->blocker)
		return !strncmp(blocker, "null", 4);
	return json_is(blocker, "pid", "%d", t->blocker) &&
	       json_says(blocker, "comm", t->blocker_comm) &&
	       json_is(blocker, "state", "\"%c\"", t->blocker_state) &&
	       (!*t->blocker_function || json_says(blocker, "function", t->blocker_function)) &&
	       (t->blocker_init_of ? json_is(blocker, "init_of", "%u", t->blocker_init_of) :
				     json_is(blocker, "init_of", "null"));
}

/* One that runs has numbers that change, and perhaps a place where it was interrupted. */
static bool running_is(const char *holder, const struct told *t)
{
	if (!strcmp(t->reason, "running"))
		return json_number(holder, "cpu_ms") >= 0 && json_number(holder, "memory_kb") >= 0;
	return json_is(holder, "cpu_ms", "null") && json_is(holder, "memory_kb", "null") &&
	       json_is(holder, "syscall", "null") && json_says(holder, "text", t->text) &&
	       says_or_null(holder, "function", t->function);
}

static bool holder_is(const char *holder, const struct told *t)
{
	return holder && json_is(holder, "pid", "%d", t->pid) &&
	       json_is(holder, "pid_inside", "%d", t->inside) &&
	       json_is(holder, "pidns", "%u", t->pidns) && json_says(holder, "comm", t->comm) &&
	       json_is(holder, "state", "\"%c\"", t->state) &&
	       json_says(holder, "reason", t->reason) &&
	       blocker_is(json_member(holder, "blocker"), t) &&
	       says_or_null(holder, "cgroup", t->cgroup) && running_is(holder, t);
}

/* When the kill was out, and init dead: not while a thread of init lives. */
static bool times_are(const struct stage *s, const char *line)
{
	if (s->dying)
		return json_is(line, "died_us", "null") && json_is(line, "kill_us", "null");
	return json_number(line, "died_us") >= 0 && json_number(line, "kill_us") >= 0 &&
	       json_number(line, "age_us") >= json_number(line, "kill_us");
}

/* Whether the line of teardowns.json says of level @i what it should. */
static bool line_is(const struct stage *s, int i, const char *line, const char *state)
{
	const char *init = json_member(line, "init"), *holders = json_member(line, "holders");
	int named = s->holders < NAMED ? s->holders : NAMED, n;

	if (!json_is(line, "level", "%d", s->level + i) || !json_says(line, "state", state) ||
	    !json_says(init, "comm", s->init_comm) || !json_says(init, "how", s->how ?: "killed") ||
	    !json_is(init, "code", "%d", s->code) || !json_is(init, "core", "false") ||
	    !json_is(line, "before_load", "false") || !json_is(line, "left_us", "null") ||
	    !json_is(line, "at_least", s->late ? "true" : "false") || !times_are(s, line) ||
	    !json_is(line, "stragglers", "0") || !json_is(line, "forks_refused", "0") ||
	    json_length(holders) != named ||
	    !json_is(line, "more_holders", "%d", s->holders - named))
		return false;
	for (n = 0; n < s->nr; n++)
		if (!holder_is(json_element(holders, n), &s->told[n]))
			return false;
	return true;
}

static void complain(const char *what, const char *line)
{
	fprintf(stderr, "# %s: %.*s\n", what, line ? (int)strcspn(line, "\n") : 4,
		line ?: "none");
}

/* Whether debugfs has all of it, for each namespace that the scene has. */
static bool is_in_ledger(struct stage *s, const char *state)
{
	long long end = now_ms() + patience_ms;
	char row[KMSG_LINE];
	const char *line;
	char *text;
	int i, n;

	for (i = 0; i < s->levels; i++) {
		/* That it was reported is noted when the report is out. */
		for (;;) {
			text = read_ledger();
			line = ledger_line(text, s->pidns[i], s->inits[i]);
			if (!line || line_is(s, i, line, state) || now_ms() > end)
				break;
			free(text);
		}
		if (!line || !line_is(s, i, line, state)) {
			complain("teardowns.json", line);
			free(text);
			return false;
		}
		free(text);
	}
	text = guard_file("teardowns");
	for (n = 0; text && n < s->nr; n++) {
		holder_line(&s->told[n], row);
		if (!strstr(text, row + 1)) {
			complain("teardowns lacks", row);
			break;
		}
	}
	free(text);
	return n == s->nr;
}

/* Whether the ledger has it as over, with times that are possible. */
static bool is_over(struct stage *s)
{
	long long killed, empty, left, age;
	char *text = NULL;
	const char *line;
	bool ok = true;
	int i;

	for (i = 0; ok && i < s->levels; i++) {
		if (!ledger_wait_left(s->pidns[i], s->inits[i]))
			return false;
		text = read_ledger();
		line = ledger_line(text, s->pidns[i], s->inits[i]);
		killed = json_number(line, "kill_us");
		empty = json_number(line, "empty_us");
		left = json_number(line, "left_us");
		age = json_number(line, "age_us");
		ok = json_says(line, "state", "gone") && killed >= 0 && killed <= empty &&
		     empty <= left && left <= age && json_is(line, "holders", "[]") &&
		     json_is(line, "more_holders", "0");
		if (!ok)
			complain("teardowns.json, over", line);
		free(text);
	}
	return ok;
}

/*
 * Those that are built at once. Where there is no module, nobody tells anything.
 */
FIXTURE(stall) {
	struct stage *s;
	bool ended;
};

FIXTURE_VARIANT(stall) {
	int scene;
};

FIXTURE_VARIANT_ADD(stall, unreaped) {
	.scene = UNREAPED,
};

FIXTURE_VARIANT_ADD(stall, many) {
	.scene = MANY_UNREAPED,
};

FIXTURE_VARIANT_ADD(stall, parent_stopped) {
	.scene = PARENT_STOPPED,
};

FIXTURE_VARIANT_ADD(stall, init_unreaped) {
	.scene = INIT_UNREAPED,
};

FIXTURE_VARIANT_ADD(stall, names) {
	.scene = NAMES,
};

FIXTURE_VARIANT_ADD(stall, traced) {
	.scene = TRACED,
};

FIXTURE_VARIANT_ADD(stall, thread_traced) {
	.scene = THREAD_TRACED,
};

FIXTURE_VARIANT_ADD(stall, tracer_stuck) {
	.scene = TRACER_STUCK,
};

FIXTURE_VARIANT_ADD(stall, ptrace_stop) {
	.scene = PTRACE_STOP,
};

FIXTURE_VARIANT_ADD(stall, fuse) {
	.scene = FUSE,
};

FIXTURE_VARIANT_ADD(stall, thread_fuse) {
	.scene = THREAD_FUSE,
};

FIXTURE_VARIANT_ADD(stall, fuse_stat) {
	.scene = FUSE_STAT,
};

FIXTURE_VARIANT_ADD(stall, fuse_two) {
	.scene = FUSE_TWO,
};

FIXTURE_VARIANT_ADD(stall, fuse_flush) {
	.scene = FUSE_FLUSHED,
};

FIXTURE_VARIANT_ADD(stall, lock) {
	.scene = LOCK,
};

FIXTURE_VARIANT_ADD(stall, frozen) {
	.scene = FROZEN,
};

FIXTURE_VARIANT_ADD(stall, core_dump) {
	.scene = CORE_DUMP,
};

FIXTURE_VARIANT_ADD(stall, nested) {
	.scene = NESTED,
};

FIXTURE_VARIANT_ADD(stall, init_stuck) {
	.scene = INIT_STUCK,
};

FIXTURE_VARIANT_ADD(stall, group) {
	.scene = GROUP,
};

FIXTURE_VARIANT_ADD(stall, reboot) {
	.scene = REBOOT,
};

FIXTURE_VARIANT_ADD(stall, parent_in_d) {
	.scene = PARENT_IN_D,
};

FIXTURE_VARIANT_ADD(stall, parent_init) {
	.scene = PARENT_INIT,
};

FIXTURE_VARIANT_ADD(stall, acct) {
	.scene = ACCT,
};

FIXTURE_VARIANT_ADD(stall, frozen_fs) {
	.scene = FROZEN_FS,
};

FIXTURE_VARIANT_ADD(stall, suspended) {
	.scene = SUSPENDED,
};

FIXTURE_VARIANT_ADD(stall, dying_fuse) {
	.scene = DYING_FUSE,
};

FIXTURE_VARIANT_ADD(stall, dying_frozen) {
	.scene = DYING_FROZEN,
};

FIXTURE_VARIANT_ADD(stall, dying_stop) {
	.scene = DYING_STOP,
};

FIXTURE_VARIANT_ADD(stall, dying_core) {
	.scene = DYING_CORE,
};

FIXTURE_VARIANT_ADD(stall, again) {
	.scene = AGAIN,
};

FIXTURE_SETUP(stall)
{
	if (!ko_path())
		SKIP(return, "no PIDNS_GUARD_KO");
	ASSERT_NE(NULL, stages);
	self->s = &stages[variant->scene];
}

FIXTURE_TEARDOWN(stall)
{
	/* However it went, the others want to be alone. */
	if (!self->ended)
		stage_does(self->s, 'e');
	EXPECT_TRUE(stage_does(self->s, 'c'));
}

static bool is_reported_thrice(struct stage *s)
{
	char line[KMSG_LINE], stuck[KMSG_LINE];
	bool all = true;
	struct kmsg k;
	int i;

	if (kmsg_open(&k, s->from))
		return false;
	header_start(s, "stuck for", stuck);
	for (i = 0; all && i < 3; i++)
		all = kmsg_wait(&k, stuck, line);
	close(k.fd);
	return all;
}

/*
 * Who holds it, why, and who could change that, all to the letter; and it ends
 * when that is changed.
 */
TEST_F_TIMEOUT(stall, told, TEST_SECONDS)
{
	struct stage *s = self->s;

	if (s->lacking)
		SKIP(return, "no such device here");
	ASSERT_TRUE(s->built);
	EXPECT_TRUE(is_reported(s));
	EXPECT_TRUE(is_in_ledger(s, "stuck"));
	EXPECT_TRUE(variant->scene != AGAIN || is_reported_thrice(s));
	self->ended = stage_does(s, 'e');
	ASSERT_TRUE(self->ended);
	EXPECT_TRUE(is_over(s));
}

/* For those that come after, with a module of their own. */
FIXTURE(stall_alone) {
	struct stage *s;
	int nr;
};

FIXTURE_SETUP(stall_alone)
{
	if (!ko_path())
		SKIP(return, "no PIDNS_GUARD_KO");
	self->s = new_stages(5, 0);
	ASSERT_NE(NULL, self->s);
}

FIXTURE_TEARDOWN(stall_alone)
{
	int i;

	for (i = 0; i < self->nr; i++) {
		EXPECT_TRUE(stage_does(&self->s[i], 'e'));
		EXPECT_TRUE(stage_does(&self->s[i], 'c'));
	}
}

/* How long it has lasted, in a report. */
static bool seconds(const char *line, double *s)
{
	const char *p = strstr(line, " stuck for ");
	int minutes;

	if (!p)
		return false;
	p += strlen(" stuck for ");
	if (!strncmp(p, "at least ", 9))
		p += 9;
	if (sscanf(p, "%d min %lf s", &minutes, s) == 2) {
		*s += 60 * minutes;
		return true;
	}
	return sscanf(p, "%lf s", s) == 1;
}

/*
 * What was reported of the stages of the fixture above: each at growing
 * intervals, then its end, once, and then nothing.
 */
TEST_F_TIMEOUT(stall_alone, intervals_and_ends, TEST_SECONDS)
{
	char line[KMSG_LINE], stuck[KMSG_LINE], ended[KMSG_LINE];
	double last, now;
	int i, reports, ends;
	struct kmsg k;

	for (i = 0; i < ALIVE; i++) {
		if (stages[i].lacking)
			continue;
		ASSERT_EQ(0, kmsg_open(&k, stages[i].from));
		header_start(&stages[i], "stuck for", stuck);
		header_start(&stages[i], "ended after", ended);
		EXPECT_TRUE(kmsg_wait(&k, ended, line));
		close(k.fd);
	}
	for (i = 0; i < ALIVE; i++) {
		if (stages[i].lacking)
			continue;
		ASSERT_EQ(0, kmsg_open(&k, stages[i].from));
		header_start(&stages[i], "stuck for", stuck);
		header_start(&stages[i], "ended after", ended);
		reports = 0;
		ends = 0;
		last = 0.5;
		while (kmsg_next(&k, line, 0)) {
			if (!strncmp(line, stuck, strlen(stuck))) {
				reports++;
				EXPECT_EQ(0, ends);
				ASSERT_TRUE(seconds(line, &now));
				/* They are cut to tenths, from a minute on to seconds. */
				EXPECT_GE(now + (now >= 60), 2 * last);
				last = now;
			}
			ends += !strncmp(line, ended, strlen(ended));
		}
		EXPECT_EQ(1, ends);
		EXPECT_LE(i == AGAIN ? 3 : 1, reports) {
			TH_LOG("%s: %d reports", scenes[i].name, reports);
		}
		close(k.fd);
	}
}

/* Loads the module anew, and builds a scene. */
static struct stage *play_alone(struct __test_metadata *_metadata, struct stage *stages_alone,
				int *count, int nr)
{
	struct stage *s = &stages_alone[*count];
	struct kmsg k;

	/* Numbers of namespaces are used again, and others have just come to their end. */
	if (kmsg_open(&k, 0))
		return NULL;
	s->from = k.from;
	close(k.fd);
	if (raise_stage(s, nr))
		return NULL;
	++*count;
	s->built = stage_says(s, 'b');
	EXPECT_TRUE(s->built);
	return s->built ? s : NULL;
}

static int load_spin(void)
{
	char path[512];
	char *slash;
	ssize_t n = readlink("/proc/self/exe", path, 400);
	const char *dir = getenv("PIDNS_GUARD_TEST_MODULES");

	if (!access(SPIN, F_OK))
		return 0;
	if (n <= 0)
		return -1;
	path[n] = 0;
	slash = strrchr(path, '/');
	if (dir && *dir)
		snprintf(path, sizeof(path), "%s/spin.ko", dir);
	else
		snprintf(slash, 32, "/test_modules/spin.ko");
	if (access(GUARD_DIR, F_OK))
		mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	return load_from(path, "");
}

/* Whether nothing is reported of a stage for some time. */
static bool is_left_alone(struct stage *s, int ms)
{
	char line[KMSG_LINE], stuck[KMSG_LINE];
	long long end = now_ms() + ms;
	struct kmsg k;
	bool alone = true;

	if (kmsg_open(&k, s->from))
		return false;
	snprintf(stuck, sizeof(stuck), "teardown of pid namespace %u ", s->pidns[0]);
	while (alone && now_ms() < end)
		if (kmsg_next(&k, line, end - now_ms()))
			alone = strncmp(line, stuck, strlen(stuck));
	if (!alone)
		fprintf(stderr, "# in the log: %s\n", line);
	close(k.fd);
	return alone;
}

/* kill=0: the kernel kills too, unless it is bare. */
TEST_F_TIMEOUT(stall_alone, alive, TEST_SECONDS)
{
	struct utsname name;
	struct stage *s;

	if (uname(&name) || !strstr(name.version, "bare"))
		SKIP(return, "this kernel kills by itself");
	ASSERT_EQ(0, reload("stall_secs=1 kill=0"));
	s = play_alone(_metadata, self->s, &self->nr, ALIVE);
	ASSERT_NE(NULL, s);
	EXPECT_TRUE(is_reported(s));
}

/* Builds a scene by itself, and looks for what is told of it. */
static void told_alone(struct __test_metadata *_metadata, struct stage *stages_alone, int *count,
		       int nr)
{
	struct stage *s;

	ASSERT_EQ(0, reload("stall_secs=1"));
	s = play_alone(_metadata, stages_alone, count, nr);
	ASSERT_NE(NULL, s);
	EXPECT_TRUE(is_reported(s));
	EXPECT_TRUE(is_in_ledger(s, "stuck"));
}

/* More inits wait than are named; but they are not the ones to turn to. */
TEST_F_TIMEOUT(stall_alone, deep, TEST_SECONDS)
{
	told_alone(_metadata, self->s, &self->nr, DEEP);
}

/* Keeps a CPU from all who are less important. */
static void keep_cpu(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (idle_cpu())
		_exit(1);
	for (;;)
		;
}

/* One that only needs time is on its way, and nobody's fault. */
TEST_F_TIMEOUT(stall_alone, running, TEST_SECONDS)
{
	struct stage *s;
	pid_t pid;

	ASSERT_EQ(0, reload("stall_secs=1"));
	pid = fork();
	if (!pid)
		keep_cpu();
	s = play_alone(_metadata, self->s, &self->nr, RUNNING);
	EXPECT_TRUE(!s || is_left_alone(s, 4000));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ASSERT_NE(NULL, s);
}

/* A task that spins in the kernel looks alike, but for the CPU time that it uses. */
TEST_F_TIMEOUT(stall_alone, spinning, TEST_SECONDS)
{
	ASSERT_EQ(0, load_spin());
	told_alone(_metadata, self->s, &self->nr, SPINNING);
}

TEST_F_TIMEOUT(stall_alone, dying_spinning, TEST_SECONDS)
{
	ASSERT_EQ(0, load_spin());
	told_alone(_metadata, self->s, &self->nr, DYING_SPIN);
}

/* stall_secs=0 keeps the report out of the log, and not out of the files. */
TEST_F_TIMEOUT(stall_alone, not_in_the_log, TEST_SECONDS)
{
	long long end = now_ms() + patience_ms;
	struct stage *s;
	bool stuck = false;
	const char *line;
	char *text;

	ASSERT_EQ(0, reload("stall_secs=0"));
	s = play_alone(_metadata, self->s, &self->nr, UNREAPED);
	ASSERT_NE(NULL, s);
	/* After ten seconds. */
	while (!stuck && now_ms() < end) {
		text = read_ledger();
		line = ledger_line(text, s->pidns[0], s->inits[0]);
		stuck = line && json_says(line, "state", "stuck");
		free(text);
		usleep(100000);
	}
	EXPECT_TRUE(stuck);
	EXPECT_TRUE(is_left_alone(s, 1500));
}

/* How many teardowns the ledger says it does not show. */
static long long not_shown(void)
{
	char *text = read_ledger();
	long long n = 0;
	char *line;

	for (line = text; line && *line; line = strchr(line, '\n') + 1)
		if (json_member(line, "not_shown"))
			n = json_number(line, "not_shown");
	free(text);
	return n;
}

/* One that begins while the ledger is full is told as soon as there is room. */
TEST_F_TIMEOUT(stall_alone, full_ledger, TEST_SECONDS)
{
	long long end;
	struct stage *first, *second;

	ASSERT_EQ(0, reload("stall_secs=1 ledger_size=1"));
	first = play_alone(_metadata, self->s, &self->nr, UNREAPED);
	ASSERT_NE(NULL, first);
	second = play_alone(_metadata, self->s, &self->nr, FUSE);
	ASSERT_NE(NULL, second);
	EXPECT_TRUE(is_reported(first));
	EXPECT_EQ(1, not_shown());
	EXPECT_TRUE(is_left_alone(second, 1500));

	ASSERT_TRUE(stage_does(first, 'e'));
	second->late = true;
	EXPECT_TRUE(is_reported(second));
	EXPECT_TRUE(is_in_ledger(second, "stuck"));
	for (end = now_ms() + patience_ms; not_shown() && now_ms() < end;)
		usleep(100000);
	EXPECT_EQ(0, not_shown());
	EXPECT_TRUE(stage_does(first, 'c'));
	/* The fixture ends the second only. */
	self->s[0] = *second;
	self->nr = 1;
}

/* Where cores go, for all who are built at once. */
static int cores_to(const char *pattern, char before[256])
{
	int at = open("/proc/sys/kernel", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret = -1;

	if (at < 0)
		return -1;
	if (!before || read_file("/proc/sys/kernel/core_pattern", before, 256) > 0)
		ret = write_at(at, "core_pattern", pattern);
	close(at);
	return ret;
}

/* All that is to be there at once. */
static int build_all(void)
{
	char pattern[256];
	struct kmsg k;
	int i;

	if (kmsg_open(&k, 0) || reload("stall_secs=1") || cores_to(FUSE_DIR "/core", pattern))
		return -1;
	stages = new_stages(ALIVE, k.from);
	close(k.fd);
	for (i = 0; stages && i < ALIVE; i++)
		if (raise_stage(&stages[i], i))
			return -1;
	/* So that each namespace has a number of its own. */
	for (i = 0; stages && i < ALIVE; i++)
		stages[i].built = stage_says(&stages[i], 'b');
	return cores_to(pattern, NULL) || !stages ? -1 : 0;
}

int main(int argc, char **argv)
{
	if (ko_path()) {
		restore_module_at_exit();
		if (build_all())
			return 1;
	}
	return test_harness_run(argc, argv);
}
