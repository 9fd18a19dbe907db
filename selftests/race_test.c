// SPDX-License-Identifier: GPL-2.0
/*
 * I2 and I3 when death comes at a bad moment: in the middle of what init does
 * itself, at two levels in whatever order, and to hundreds at once.
 * PIDNS_RACE_ROUNDS sets the number of rounds.
 */
#include "pidns_test.h"

#define ROUNDS		6
#define MAX_BEATS	30
#define RACE_SECONDS	900

static int rounds(void)
{
	const char *env = getenv("PIDNS_RACE_ROUNDS");

	return env && *env ? atoi(env) : ROUNDS;
}

/* A number below @below, the same ones each time. */
static int spread(int below)
{
	static unsigned int seed = 2718;

	seed = seed * 1103515245 + 12345;
	return seed / 65536 % below;
}

static void spin(int turns)
{
	while (turns-- > 0)
		__asm__ __volatile__("" ::: "memory");
}

/*
 * Who lives writes a beat now and then, and holds the end of a pipe: when that
 * is at its end none of them is left, not even one that nobody knows of.
 */
static int beats[2], life[2];

static void beat(void)
{
	if (write(beats[1], "b", 1) < 0)
		return;
}

static void end_of(pid_t pid)
{
	if (!pid) {
		beat();
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, __WALL);
}

static void forks(void)
{
	for (;;)
		end_of(fork());
}

static void vforks(void)
{
	pid_t pid;

	for (;;) {
		pid = vfork();
		if (!pid) {
			beat();
			_exit(0);
		}
		end_of(pid);
	}
}

static void *thread_beats(void *arg)
{
	beat();
	return arg;
}

static void makes_threads(void)
{
	pthread_t t;

	for (;;)
		if (!pthread_create(&t, NULL, thread_beats, NULL))
			pthread_join(t, NULL);
}

static void *thread_forks(void *arg)
{
	forks();
	return arg;
}

/* Init ends by itself, with a thread in the middle of a fork. */
static struct box *exiting;

static void forks_and_exits(void)
{
	pthread_t t;

	pthread_create(&t, NULL, thread_forks, NULL);
	await_order(exiting);
	_exit(0);
}

/* Each of its children is the init of another namespace, and takes two along. */
static void makes_namespaces(void)
{
	struct clone_args args = { .flags = CLONE_NEWPID, .exit_signal = SIGCHLD };
	pid_t pid;

	for (;;) {
		pid = syscall(__NR_clone3, &args, sizeof(args));
		if (!pid && (!fork() || !fork()))
			forever();
		end_of(pid);
	}
}

static void *thread_execs(void *arg)
{
	char end[16];

	snprintf(end, sizeof(end), "%d", beats[1]);
	execl("/proc/self/exe", "race_test", "--again", end, NULL);
	return arg;
}

/* What it becomes does the same in main(), for ever. */
static void execs(void)
{
	pthread_t t;
	int i;

	beat();
	for (i = 0; i < 3; i++)
		pthread_create(&t, NULL, i < 2 ? thread_forks : thread_execs, NULL);
	forever();
}

/* From here on members do it, and init waits. */
static void unshares(void)
{
	pid_t pid;

	for (;;) {
		pid = fork();
		if (!pid && !unshare(CLONE_NEWPID))
			end_of(fork());
		if (!pid)
			_exit(0);
		end_of(pid);
	}
}

/* Between its own namespace and one below, whose init is its child. */
static void enters(void)
{
	int own = open("/proc/self/ns/pid", O_RDONLY), below;

	if (unshare(CLONE_NEWPID))
		_exit(95);
	if (!fork())
		forever();
	below = open("/proc/self/ns/pid_for_children", O_RDONLY);
	for (;;) {
		enter(own);
		end_of(fork());
		enter(below);
		end_of(fork());
	}
}

FIXTURE(race) {
	struct box box;
};

FIXTURE_VARIANT(race) {
	void (*run)(void);
	bool by_member;
	bool exits;
	int beats;	/* not more than these, or else MAX_BEATS */
};

/* copy_process() in kernel/fork.c, in the process that dies: nothing is held up. */
FIXTURE_VARIANT_ADD(race, forks) {
	.run = forks,
};

FIXTURE_VARIANT_ADD(race, vforks) {
	.run = vforks,
};

FIXTURE_VARIANT_ADD(race, makes_threads) {
	.run = makes_threads,
};

FIXTURE_VARIANT_ADD(race, forks_and_exits) {
	.run = forks_and_exits, .exits = true,
};

FIXTURE_VARIANT_ADD(race, makes_namespaces) {
	.run = makes_namespaces, .beats = 1,
};

/* de_thread() in fs/exec.c: the leader and the reaper change. */
FIXTURE_VARIANT_ADD(race, execs) {
	.run = execs,
};

/* create_pid_namespace() and pidns_install() in kernel/pid_namespace.c */
FIXTURE_VARIANT_ADD(race, member_unshares) {
	.run = unshares, .by_member = true,
};

FIXTURE_VARIANT_ADD(race, member_enters) {
	.run = enters, .by_member = true,
};

FIXTURE_SETUP(race)
{
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(race)
{
	EXPECT_EQ(0, box_close(&self->box));
}

struct runner {
	void (*run)(void);
	bool by_member;
};

static void init_runs(struct box *b, void *arg)
{
	struct runner *runner = arg;

	exiting = b;
	member(b, "member");
	if (!runner->by_member || !fork())
		runner->run();
	forever();
}

/* Kills init after @nr beats, or has it exit. */
static bool one_round(struct box *b, struct runner *runner, bool exits, int nr)
{
	char c[64];
	int n;

	/* An exec does not close them. */
	if (pipe2(beats, O_NONBLOCK) || pipe(life) || box_spawn(b, 0, init_runs, runner) ||
	    box_collect(b, 1))
		return false;
	close(life[1]);
	for (; nr > 0; nr -= n) {
		if (!readable(beats[0], patience_ms)) {
			fprintf(stderr, "# %d beats did not come\n", nr);
			return false;
		}
		n = read(beats[0], c, nr < 64 ? nr : 64);
	}
	spin(spread(20000));
	if (exits)
		order(b, 'x');
	else
		kill(b->init, SIGKILL);
	if (box_wait_init(b))
		return false;
	if (b->status != (exits ? 0 : SIGKILL)) {
		fprintf(stderr, "# init ended with %x\n", b->status);
		return false;
	}
	/* The end of the pipe, or somebody still holds it. */
	n = readable(life[0], patience_ms) ? read(life[0], c, 1) : -1;
	if (n)
		fprintf(stderr, "# somebody lives on\n");
	close(life[0]);
	close(beats[0]);
	close(beats[1]);
	return !n && !box_left(b);
}

/* I2 and I3: whatever is in the middle of being made does not outlive init. */
TEST_F_TIMEOUT(race, nothing_survives, RACE_SECONDS)
{
	struct runner runner = { variant->run, variant->by_member };
	struct box *b = &self->box;
	int i;

	for (i = 0; i < rounds(); i++) {
		ASSERT_TRUE(one_round(b, &runner, variant->exits,
				      1 + spread(variant->beats ?: MAX_BEATS)))
			TH_LOG("in round %d of %d", i + 1, rounds());
		ASSERT_EQ(0, box_close(b));
		ASSERT_EQ(0, box_open(b));
	}
}

/* An init that has just been born, or not quite. */
FIXTURE(newborn) {
	struct box box;
};

FIXTURE_SETUP(newborn)
{
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(newborn)
{
	leave();
	EXPECT_EQ(0, box_close(&self->box));
}

static pid_t fork_to_stay(struct box *b, int *fd)
{
	pid_t pid = fork_into(b->in, 0, fd);

	if (!pid)
		forever();
	return pid;
}

/*
 * I1 and I2 for one that is killed at birth, while a second process is born: it
 * is refused, or goes along. alloc_pid() and copy_process().
 */
TEST_F_TIMEOUT(newborn, killed_at_once, RACE_SECONDS)
{
	struct box *b = &self->box;
	int i, fd, error;
	pid_t pid;

	for (i = 0; i < rounds(); i++) {
		ASSERT_EQ(0, unshare(CLONE_NEWPID));
		b->init = fork_to_stay(b, &b->initfd);
		ASSERT_GT(b->init, 0);
		b->reaped = false;
		spin(spread(5000));
		ASSERT_EQ(0, sys_pidfd_signal(b->initfd, SIGKILL));
		pid = fork_to_stay(b, &fd);
		ASSERT_TRUE(pid > 0 || errno == ENOMEM);
		if (pid > 0)
			ASSERT_EQ(0, box_add(b, pid, fd, "second", true));
		ASSERT_EQ(0, box_wait_init(b));
		EXPECT_EQ(SIGKILL, b->status);
		EXPECT_EQ(0, box_left(b));

		pid = fork_to_stay(b, &fd);
		error = errno;
		if (pid > 0)
			ASSERT_EQ(0, box_add(b, pid, fd, "third", true));
		ASSERT_EQ(-1, pid);
		EXPECT_EQ(ENOMEM, error);
		ASSERT_EQ(0, leave());
		ASSERT_EQ(0, box_close(b));
		ASSERT_EQ(0, box_open(b));
	}
}

/*
 * Neither I1 nor I2: the fork that would have made init fails when it has its
 * PID, and there is no init to have died. free_pid() leaves PIDNS_ADDING, and
 * the next one is init (kernel/pid.c).
 */
TEST_F(newborn, second_attempt)
{
	struct box *b = &self->box;
	int fd, no_cgroup;

	no_cgroup = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ASSERT_GE(no_cgroup, 0);
	ASSERT_EQ(0, unshare(CLONE_NEWPID));
	ASSERT_EQ(-1, fork_into(no_cgroup, 0, &fd));
	ASSERT_EQ(EBADF, errno);
	b->init = fork_into(b->in, 0, &b->initfd);
	ASSERT_GE(b->init, 0);
	if (!b->init) {
		if (getpid() == 1)
			member(b, "member");
		forever();
	}
	b->reaped = false;
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_GT(fork_to_stay(b, &fd), 0);
	EXPECT_EQ(1, box_alive(b));
	EXPECT_FALSE(readable(fd, 0));
	EXPECT_FALSE(readable(b->initfd, 0));
	close(fd);
	close(no_cgroup);
}

/* Two levels that die in whatever order. */
FIXTURE(levels) {
	struct box box;
	struct member *inner;	/* the inner init; its parent is an outer member */
};

static void init_over_inner(struct box *b, void *arg __maybe_unused)
{
	member(b, "outer member");
	if (!fork()) {
		if (unshare(CLONE_NEWPID))
			_exit(95);
		if (!fork()) {
			member(b, "inner member");
			member(b, "inner member");
			announce(b, "inner init");
			forever();
		}
		announce(b, "between");
	}
	forever();
}

static struct member *start_levels(struct box *b)
{
	struct member *inner = NULL;
	int i;

	if (box_spawn(b, 0, init_over_inner, NULL) || box_collect(b, 5))
		return NULL;
	for (i = 0; i < b->nr; i++)
		if (!strcmp(b->m[i].what, "inner init"))
			inner = &b->m[i];
	return inner;
}

FIXTURE_SETUP(levels)
{
	ASSERT_EQ(0, box_open(&self->box));
	self->inner = start_levels(&self->box);
	ASSERT_NE(NULL, self->inner);
}

FIXTURE_TEARDOWN(levels)
{
	leave();
	EXPECT_EQ(0, box_close(&self->box));
}

/* Waits until no more than @nr are alive, or it is certain that this will not be. */
static bool others_go(struct box *b, int nr)
{
	long long end = now_ms() + patience_ms;
	int looks = 0;

	while (box_alive(b) > nr) {
		looks = !module_loaded() && box_doomed(b) ? looks + 1 : 0;
		if (looks == LOOKS || now_ms() > end)
			return false;
		box_poll(b, LOOK_MS);
	}
	return true;
}

/*
 * I2 from the bottom up: the inner init waits already, for a zombie whose parent
 * outside does not reap it, when the outer one dies. zap_pid_ns_processes().
 */
TEST_F_TIMEOUT(levels, bottom_first, TEST_SECONDS)
{
	long long end = now_ms() + patience_ms;
	struct box *b = &self->box;
	int nsfd, fd = -1;
	pid_t zombie;

	nsfd = open_pidns(self->inner->pid);
	ASSERT_GE(nsfd, 0);
	ASSERT_EQ(0, enter(nsfd));
	zombie = fork_into(b->in, 0, &fd);
	if (!zombie)
		_exit(0);
	ASSERT_EQ(0, leave());
	ASSERT_GT(zombie, 0);
	ASSERT_TRUE(readable(fd, patience_ms));
	ASSERT_EQ(0, sys_pidfd_signal(self->inner->fd, SIGKILL));
	while (!sleeps_in(self->inner->pid, "zap_pid_ns_processes")) {
		ASSERT_LT(now_ms(), end);
		sched_yield();
	}
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_TRUE(others_go(b, 1));
	EXPECT_FALSE(readable(self->inner->fd, 0));
	EXPECT_FALSE(readable(b->initfd, 0));
	ASSERT_EQ(0, box_add(b, zombie, fd, "zombie", true));
	EXPECT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
	close(nsfd);
}

/*
 * I2 from the top down: the inner init is killed because the outer one is dead,
 * and held at its exit by a tracer. Its members are below the outer one too, and
 * do not wait for it.
 */
TEST_F_TIMEOUT(levels, top_first, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, ptrace(PTRACE_SEIZE, self->inner->pid, NULL, PTRACE_O_TRACEEXIT));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_TRUE(others_go(b, 1));
	EXPECT_FALSE(readable(self->inner->fd, 0));
	EXPECT_FALSE(readable(b->initfd, 0));
	ASSERT_EQ(self->inner->pid, waitpid(self->inner->pid, NULL, __WALL));
	ASSERT_EQ(0, ptrace(PTRACE_DETACH, self->inner->pid, NULL, NULL));
	EXPECT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
}

/* I2 for both at the same moment, one from each of two processes. */
TEST_F_TIMEOUT(levels, at_once, RACE_SECONDS)
{
	struct box *b = &self->box;
	atomic_int *now = mmap(NULL, sizeof(*now), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int i, turns, fd;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, now);
	for (i = 0; i < rounds(); i++) {
		turns = spread(20000) - 10000;
		atomic_store(now, 0);
		pid = fork_into(b->out, 0, &fd);
		ASSERT_GE(pid, 0);
		if (!pid) {
			atomic_store(now, 1);
			while (atomic_load(now) != 2)
				sched_yield();
			spin(turns);
			_exit(sys_pidfd_signal(self->inner->fd, SIGKILL) && errno != ESRCH);
		}
		close(fd);
		while (atomic_load(now) != 1)
			sched_yield();
		atomic_store(now, 2);
		spin(-turns);
		ASSERT_EQ(0, kill(b->init, SIGKILL));
		ASSERT_EQ(0, box_wait_init(b)) {
			TH_LOG("in round %d of %d", i + 1, rounds());
		}
		EXPECT_EQ(0, box_left(b));
		ASSERT_EQ(0, box_close(b));
		ASSERT_EQ(0, box_open(b));
		self->inner = start_levels(b);
		ASSERT_NE(NULL, self->inner);
	}
}

/* Hundreds of namespaces that die at once. */
#define EACH		3

FIXTURE(many) {
	struct box box;
	pid_t maker;
};

enum end {
	CGROUP_KILLED, MAKER_KILLED, EXIT,
};

FIXTURE_VARIANT(many) {
	enum end end;
	int inits;
};

/* Of these all members are killed too: it is the crowd that counts. */
FIXTURE_VARIANT_ADD(many, cgroup_killed) {
	.end = CGROUP_KILLED, .inits = 60,
};

/* By PR_SET_PDEATHSIG: forget_original_parent() in kernel/exit.c. */
FIXTURE_VARIANT_ADD(many, maker_killed) {
	.end = MAKER_KILLED, .inits = 300,
};

FIXTURE_VARIANT_ADD(many, exit) {
	.end = EXIT, .inits = 60,
};

/* Each waits for the end of the pipe of orders, as do none of its members. */
static void one_of_many(struct box *b, bool last)
{
	int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	close(b->go[1]);
	for (i = 0; i < EACH; i++) {
		if (!fork()) {
			close(b->go[0]);
			if (last)
				announce(b, "member");
			beat();
			forever();
		}
	}
	if (last)
		announce(b, "init");
	await_order(b);
	_exit(0);
}

static void make_many(struct box *b, int inits)
{
	int i, fd;

	signal(SIGCHLD, SIG_IGN);
	close(b->go[1]);
	for (i = 1; i <= inits; i++) {
		if (!fork_into(b->in, CLONE_NEWPID, &fd))
			one_of_many(b, i == inits);
		close(fd);
	}
	forever();
}

FIXTURE_SETUP(many)
{
	struct box *b = &self->box;
	int fd, n, left;
	char c[64];

	ASSERT_EQ(0, box_open(b));
	ASSERT_EQ(0, pipe2(beats, O_CLOEXEC));
	self->maker = fork_into(b->out, 0, &fd);
	ASSERT_GE(self->maker, 0);
	if (!self->maker)
		make_many(b, variant->inits);
	close(fd);
	for (left = variant->inits * EACH; left > 0; left -= n) {
		ASSERT_TRUE(readable(beats[0], patience_ms));
		n = read(beats[0], c, left < 64 ? left : 64);
		ASSERT_GT(n, 0);
	}
	ASSERT_EQ(0, box_collect(b, EACH + 1));
}

FIXTURE_TEARDOWN(many)
{
	EXPECT_EQ(0, box_close(&self->box));
}

/* Whether one waits for ever: those that live may be in other namespaces. */
static bool doomed(struct member *init, struct member *its_member)
{
	return !module_loaded() && sleeps_in(init->pid, "zap_pid_ns_processes") &&
		left_alone(its_member->pid);
}

/* I2 for all of them. */
TEST_F_TIMEOUT(many, all_gone, RACE_SECONDS)
{
	struct member *last = NULL, *its = NULL;
	long long end = now_ms() + 2 * patience_ms;
	struct box *b = &self->box;
	int i, looks = 0;

	for (i = 0; i < b->nr; i++)
		*(strcmp(b->m[i].what, "init") ? &its : &last) = &b->m[i];
	ASSERT_NE(NULL, last);
	ASSERT_NE(NULL, its);
	if (variant->end == CGROUP_KILLED)
		ASSERT_EQ(0, write_at(b->in, "cgroup.kill", "1"));
	if (variant->end == MAKER_KILLED)
		ASSERT_EQ(0, kill(self->maker, SIGKILL));
	if (variant->end == EXIT) {
		close(b->go[1]);
		b->go[1] = -1;
	}
	while (!readable(last->fd, LOOK_MS)) {
		looks = doomed(last, its) ? looks + 1 : 0;
		ASSERT_NE(LOOKS, looks) TH_LOG("an init waits for ever");
		ASSERT_LT(now_ms(), end);
	}
	/* Those whose maker is gone are ours. */
	while (cgroup_populated(b->in)) {
		reap_some();
		readable(b->join[0], LOOK_MS);
		ASSERT_LT(now_ms(), end);
	}
	if (variant->end == MAKER_KILLED)
		while (reap_some())
			ASSERT_LT(now_ms(), end);
	EXPECT_EQ(0, box_left(b));
}

int main(int argc, char **argv)
{
	/* What an init has become that execs. */
	if (argc == 3 && !strcmp(argv[1], "--again")) {
		beats[1] = atoi(argv[2]);
		execs();
	}
	return test_harness_run(argc, argv);
}
