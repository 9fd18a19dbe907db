// SPDX-License-Identifier: GPL-2.0
/*
 * How a PID namespace goes, without and with the module:
 *
 *   bench_teardown ROUNDS outlive MB...    P3: how long a member outlives an init
 *                                          that has so much memory
 *   bench_teardown ROUNDS time TREE...     P4: from SIGKILL to the end of waitpid()
 *   bench_teardown ROUNDS settled TREE...  the same, and until RCU has freed all of it
 *   bench_teardown ROUNDS walk TREE...     P6: of that, what the module's walk takes
 *   bench_teardown ROUNDS bystander TREE...
 *                                          P5: what forks outside wait meanwhile
 *   bench_teardown ROUNDS against N...     P9: init killed, cgroup.kill, a loop of
 *                                          SIGKILLs, while members fork
 *
 * TREE is KIND,MEMBERS[,LEVELS[,MB of init[,MB of each member]]], KIND one of
 * processes, light (processes that share the memory of init) and threads.
 *
 * "settled", "walk" and "bystander" are for one CPU whose clock counts
 * instructions: in wall time they would measure what else the machine does.
 */
#include <sys/mman.h>

#include "pidns_bench.h"

enum kind { PROCESSES, LIGHT, THREADS };

struct tree {
	const char *name;
	enum kind kind;
	int members, levels, mb_of_init, mb_of_member;
	bool beats;	/* the member shows that it lives */
	bool undisturbed;	/* nobody takes the CPU from init as it dies */
	int forkers;	/* more members, each of which forks the next and ends */
};

/* What all have in common. */
static struct {
	atomic_int ready;
	atomic_bool failed;
	atomic_llong beat;
	atomic_bool stop;
	atomic_int samples;
} *shared;

/* One page of stack is enough to sleep on. */
#define STACK	4096

/* The CPU whenever it wants one, as on a machine with more of them. */
static void come_first(int priority)
{
	struct sched_param param = { .sched_priority = priority };

	if (sched_setscheduler(0, SCHED_FIFO, &param))
		give_up("SCHED_FIFO");
}

static int be_member(void *arg)
{
	const struct tree *tree = arg;

	if (tree->mb_of_member)
		populate(tree->mb_of_member);
	atomic_fetch_add(&shared->ready, 1);
	while (tree->beats)
		atomic_store(&shared->beat, now_ns());
	forever();
}

static void fork_on(void)
{
	for (;;) {
		pid_t pid = fork();

		if (pid > 0)
			_exit(0);
	}
}

/* The one who waits for all of them would wait for ever. */
static void __noreturn give_up_tree(const char *what)
{
	fprintf(stderr, "%s: %m\n", what);
	atomic_store(&shared->failed, true);
	_exit(1);
}

static void make_members(const struct tree *tree)
{
	int i, flags = CLONE_VM | SIGCHLD;
	char *stacks = NULL;

	/* They are those of one member. */
	if (tree->kind == THREADS && fork())
		return;
	if (tree->kind == THREADS)
		flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			CLONE_SYSVSEM;
	if (tree->kind != PROCESSES) {
		stacks = mmap(NULL, (size_t)tree->members * STACK, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (stacks == MAP_FAILED)
			give_up_tree("mmap");
	}
	for (i = 0; i < tree->members; i++) {
		pid_t pid;

		if (stacks) {
			char *top = stacks + (size_t)(i + 1) * STACK;

			pid = clone(be_member, top, flags, (void *)tree);
		} else {
			pid = fork();
			if (!pid)
				be_member((void *)tree);
		}
		if (pid < 0)
			give_up_tree("a member");
	}
	for (i = 0; i < tree->forkers; i++)
		if (!fork())
			fork_on();
	if (tree->kind == THREADS)
		forever();
}

/* Who was init of the level above goes on here as init of the next. */
static void __noreturn be_init(const struct tree *tree, int levels)
{
	if (tree->forkers)
		signal(SIGCHLD, SIG_IGN);
	if (levels > 1) {
		if (unshare(CLONE_NEWPID))
			give_up_tree("unshare");
		if (!fork())
			be_init(tree, levels - 1);
	} else {
		make_members(tree);
	}
	/* After the forks, which would have copied it. */
	if (levels == tree->levels && tree->mb_of_init)
		populate(tree->mb_of_init);
	if (levels == tree->levels && tree->undisturbed)
		come_first(1);
	atomic_fetch_add(&shared->ready, 1);
	forever();
}

/* Returns when all are there. */
static pid_t make_tree(const struct tree *tree)
{
	int all = tree->members + tree->levels, self;
	pid_t pid;

	atomic_store(&shared->ready, 0);
	self = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	if (self < 0 || unshare(CLONE_NEWPID))
		give_up("unshare");
	pid = fork();
	if (!pid)
		be_init(tree, tree->levels);
	if (pid < 0 || setns(self, CLONE_NEWPID))
		give_up("init");
	close(self);
	while (atomic_load(&shared->ready) < all) {
		if (atomic_load(&shared->failed))
			exit(1);
		usleep(2000);
	}
	/* Let the last ones fall asleep. */
	usleep(20000);
	return pid;
}

/* From SIGKILL to the end of waitpid(). */
static long long kill_tree(pid_t init)
{
	long long start = now_ns();

	kill(init, SIGKILL);
	reap(init);
	return now_ns() - start;
}

/*
 * To load the module is to patch the kernel. The first that comes by then pays for
 * that, on an emulator dearly, as it translates the code anew.
 */
static void warm_up_teardown(void)
{
	struct tree tree = { .kind = PROCESSES, .members = 20, .levels = 1 };
	int i;

	for (i = 0; i < 2; i++)
		kill_tree(make_tree(&tree));
}

static void measure_outlive(const void *arg)
{
	struct tree tree = {
		.kind = PROCESSES, .members = 1, .levels = 1, .beats = true,
		.mb_of_init = *(const long *)arg,
	};
	pid_t init = make_tree(&tree);
	long long start = now_ns(), lived;

	kill_tree(init);
	/* The last beat can be one before the kill. */
	lived = atomic_load(&shared->beat) - start;
	report("P3", "member", tree.mb_of_init, lived > 0 ? lived : 0);
}

/* What the ledger says of the latest teardown, in microseconds. */
static long ledger_us(const char *field)
{
	char text[4096], want[32], *p;

	snprintf(want, sizeof(want), "\"%s\":", field);
	read_file(GUARD_DIR "/teardowns.json", text, sizeof(text));
	p = strstr(text, want);
	if (!p)
		give_up("no teardown in the ledger");
	return atol(p + strlen(want));
}

static void measure_time(const void *arg)
{
	const struct tree *tree = arg;
	/* Small ones are soon over: several, for a steadier figure. */
	int i, times = tree->members > 20 || tree->mb_of_init ? 1 : 10;
	long long sum = 0;

	for (i = 0; i < times; i++)
		sum += kill_tree(make_tree(tree));
	report("P4", tree->name, tree->members, sum / times);
}

/*
 * What RCU has to free is freed before waitpid() returns, or after it: this comes
 * to its end when all of it is.
 */
static void measure_settled(const void *arg)
{
	const struct tree *tree = arg;
	pid_t init = make_tree(tree);
	long long start = now_ns(), waited = kill_tree(init);

	if (write_at(AT_FDCWD, "/sys/module/rcutree/parameters/do_rcu_barrier", "1"))
		give_up("rcu_barrier");
	report("waited", tree->name, tree->members, waited);
	report("settled", tree->name, tree->members, now_ns() - start);
}

static void measure_walk(const void *arg)
{
	struct tree tree = *(const struct tree *)arg;
	/* The ledger counts in microseconds. */
	int i, times = tree.members > 200 ? 1 : 20;
	long long sum = 0;

	if (!module_loaded())
		return;
	tree.undisturbed = true;
	for (i = 0; i < times; i++) {
		kill_tree(make_tree(&tree));
		sum += ledger_us("kill_us") * 1000;
	}
	report("P6", tree.name, tree.members, sum / times);
}

#define SAMPLES	100000
/* From one fork of the bystander to the time at which the next is due. */
#define PAUSE_NS	200000

/* Each fork of the bystander: when it was due, and how long after that it was done. */
static struct {
	long long due, took;
} *samples;

static void sleep_until(long long ns)
{
	struct timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

/* What it waits for are locks, and those who do not let go of the CPU. */
static void stand_by(void)
{
	int n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	come_first(2);
	for (n = 0; n < SAMPLES && !atomic_load(&shared->stop); n++) {
		pid_t pid;

		samples[n].due = now_ns() + PAUSE_NS;
		sleep_until(samples[n].due);
		pid = fork();
		if (!pid)
			_exit(0);
		samples[n].took = now_ns() - samples[n].due;
		reap(pid);
		atomic_store(&shared->samples, n + 1);
	}
	_exit(0);
}

static int compare(const void *a, const void *b)
{
	long long x = *(const long long *)a, y = *(const long long *)b;

	return (x > y) - (x < y);
}

static void measure_bystander(const void *arg)
{
	static long long took[SAMPLES];
	const struct tree *tree = arg;
	long long start, end;
	pid_t init, bystander;
	int i, all, n = 0;

	init = make_tree(tree);
	atomic_store(&shared->stop, false);
	atomic_store(&shared->samples, 0);
	bystander = fork();
	if (!bystander)
		stand_by();
	while (atomic_load(&shared->samples) < 20)
		usleep(1000);
	start = now_ns();
	kill_tree(init);
	end = now_ns();
	atomic_store(&shared->stop, true);
	reap(bystander);

	all = atomic_load(&shared->samples);
	for (i = 0; i < all; i++)
		if (samples[i].due < end && samples[i].due + samples[i].took > start)
			took[n++] = samples[i].took;
	if (!n)
		give_up("a bystander that does not fork");
	qsort(took, n, sizeof(took[0]), compare);
	report("P5", "p50", tree->members, took[n / 2]);
	report("P5", "p99.9", tree->members, took[(long)n * 999 / 1000]);
	report("P5", "longest", tree->members, took[n - 1]);
	report("P5", "forks", tree->members, n);
}

#define CGROUP	"/sys/fs/cgroup/bench"

static bool inhabited(void)
{
	char text[256];

	read_file(CGROUP "/cgroup.events", text, sizeof(text));
	return strstr(text, "populated 1");
}

static void kill_all_in_loop(void)
{
	static char text[1 << 20];

	while (inhabited()) {
		char *p = text, *end;

		read_file(CGROUP "/cgroup.procs", text, sizeof(text));
		for (;; p = end) {
			pid_t pid = strtol(p, &end, 10);

			if (end == p)
				break;
			/* 0 is one that was reaped just then, and for kill() it is us. */
			if (pid > 0)
				kill(pid, SIGKILL);
		}
	}
}

static void measure_against(const char *way, const struct tree *tree)
{
	long long start;
	pid_t init;

	if (mkdir(CGROUP, 0755) && errno != EEXIST)
		give_up("mkdir " CGROUP);
	if (write_at(AT_FDCWD, CGROUP "/cgroup.procs", "0"))
		give_up("join " CGROUP);
	init = make_tree(tree);
	if (write_at(AT_FDCWD, "/sys/fs/cgroup/cgroup.procs", "0"))
		give_up("leave " CGROUP);

	start = now_ns();
	if (!strcmp(way, "cgroup.kill"))
		write_at(AT_FDCWD, CGROUP "/cgroup.kill", "1");
	else if (!strcmp(way, "loop"))
		kill_all_in_loop();
	else
		kill(init, SIGKILL);
	reap(init);
	while (inhabited())
		usleep(100);
	report_as(way, "P9", "gone", tree->members, now_ns() - start);
	if (rmdir(CGROUP))
		give_up("rmdir " CGROUP);
}

static void measure_against_all(const void *arg)
{
	struct tree tree = {
		.kind = PROCESSES, .members = *(const long *)arg, .levels = 1, .forkers = 8,
	};

	if (module_loaded()) {
		measure_against("module", &tree);
	} else {
		measure_against("stock", &tree);
		measure_against("cgroup.kill", &tree);
		measure_against("loop", &tree);
	}
}

static struct tree parse(const char *text)
{
	static const char * const kinds[] = { "processes", "light", "threads" };
	struct tree tree = { .name = text, .members = 1, .levels = 1 };
	size_t i;

	for (i = 0; i < LENGTH(kinds); i++)
		if (!strncmp(text, kinds[i], strlen(kinds[i])))
			break;
	if (i == LENGTH(kinds) ||
	    sscanf(text + strlen(kinds[i]), ",%d,%d,%d,%d", &tree.members, &tree.levels,
		   &tree.mb_of_init, &tree.mb_of_member) < 1) {
		fprintf(stderr, "no tree: %s\n", text);
		exit(2);
	}
	tree.kind = i;
	return tree;
}

static void *share(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		give_up("mmap");
	return p;
}

/* What is measured in each round, without and with: all of it. */
struct todo {
	void (*measure)(const void *arg);
	struct tree trees[16];
	long values[16];
	bool of_trees;
	int n;
};

static void measure_all(const void *arg)
{
	const struct todo *todo = arg;
	int i;

	for (i = 0; i < todo->n; i++)
		todo->measure(todo->of_trees ? (const void *)&todo->trees[i] :
					       (const void *)&todo->values[i]);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*measure)(const void *arg);
		bool of_trees;
	} jobs[] = {
		{ "outlive", measure_outlive, false }, { "against", measure_against_all, false },
		{ "time", measure_time, true }, { "walk", measure_walk, true },
		{ "bystander", measure_bystander, true }, { "settled", measure_settled, true },
	};
	static struct todo todo;
	size_t job = 0;

	while (argc > 3 && job < LENGTH(jobs) && strcmp(argv[2], jobs[job].name))
		job++;
	if (argc < 4 || argc > 3 + (int)LENGTH(todo.trees) || job == LENGTH(jobs)) {
		fprintf(stderr, "usage: %s ROUNDS JOB WHAT..., see its source\n", argv[0]);
		return 2;
	}
	rounds = atoi(argv[1]);
	warm_up = warm_up_teardown;
	shared = share(sizeof(*shared));
	samples = share(SAMPLES * sizeof(*samples));
	todo.measure = jobs[job].measure;
	todo.of_trees = jobs[job].of_trees;
	for (; todo.n < argc - 3; todo.n++) {
		if (todo.of_trees)
			todo.trees[todo.n] = parse(argv[todo.n + 3]);
		else
			todo.values[todo.n] = atol(argv[todo.n + 3]);
	}
	alternate(measure_all, &todo);
	return 0;
}
