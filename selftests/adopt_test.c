// SPDX-License-Identifier: GPL-2.0
/*
 * The module comes late, goes, and comes again: namespaces that were dying or
 * dead before it are finished and guarded by it, its parameters do what they
 * say, and it may be loaded and unloaded while namespaces come and go.
 *
 * Without PIDNS_GUARD_KO nothing is loaded, and the same is asked of the kernel
 * alone.
 */
#include <sys/sendfile.h>
#include <sys/time.h>

#include "pidns_module.h"
#include "pidns_storm.h"

#define LOAD_ROUNDS	5
#define LOAD_SECONDS	900

/* Loads the module if there is one to load. */
static int arrive(void)
{
	return ko_path() ? load("") : 0;
}

FIXTURE(adopt) {
	struct box box;
};

/* Each test begins and ends without the module; main() sees to the rest. */
FIXTURE_SETUP(adopt)
{
	if (module_loaded() && !ko_path())
		SKIP(return, "the module is loaded, and no PIDNS_GUARD_KO");
	if (module_loaded())
		ASSERT_EQ(0, unload());
	ASSERT_EQ(0, box_open(&self->box));
	/* As it may arrive while a test waits, no wait is in vain before it has. */
	self->box.hopeful = ko_path();
}

FIXTURE_TEARDOWN(adopt)
{
	leave();
	EXPECT_EQ(0, box_close(&self->box));
	if (module_loaded())
		EXPECT_EQ(0, unload());
}

static void init_three(struct box *b, void *arg __maybe_unused)
{
	member(b, "one");
	member(b, "two");
	member(b, "three");
	announce(b, READY);
	await_order(b);
	_exit(7);
}

static int start_three(struct box *b)
{
	return box_spawn(b, 0, init_three, NULL) || box_collect(b, 4) ? -1 : 0;
}

/* Forks into @nsfd; 0 when that works, or the errno. */
static int try_fork(int nsfd)
{
	int ret;
	pid_t pid;

	if (enter(nsfd))
		return -1;
	pid = fork();
	if (!pid)
		_exit(0);
	ret = pid < 0 ? errno : 0;
	leave();
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return ret;
}

/* Whether the kernel alone refuses forks into a dead namespace. */
static bool kernel_guards(void)
{
	pid_t pid = -1;
	int nsfd = -1, ret, go[2];
	char c;

	if (pipe2(go, O_CLOEXEC))
		return false;
	if (!unshare(CLONE_NEWPID)) {
		pid = fork();
		if (!pid)
			_exit(read(go[0], &c, 1));
		nsfd = open_pidns(pid);
		if (write(go[1], "x", 1) != 1)
			return false;
		waitpid(pid, NULL, 0);
	}
	close(go[0]);
	close(go[1]);
	leave();
	ret = try_fork(nsfd);
	close(nsfd);
	return ret == ENOMEM;
}

/*
 * I2 for an init that sits in zap_pid_ns_processes() (kernel/pid_namespace.c)
 * with living members when the module comes.
 */
TEST_F_TIMEOUT(adopt, hanging_finished, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, start_three(b));
	order(b, 'x');
	ASSERT_EQ(0, box_wait_zap(b));
	ASSERT_EQ(0, arrive());
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
	EXPECT_EQ(7 << 8, b->status);
}

static void init_over_inner(struct box *b, void *arg __maybe_unused)
{
	member(b, "outer member");
	if (unshare(CLONE_NEWPID))
		_exit(1);
	if (!fork()) {
		announce(b, "inner init");
		member(b, "inner member");
		forever();
	}
	announce(b, READY);
	forever();
}

/* I2 for a hanging namespace with another one below it. */
TEST_F_TIMEOUT(adopt, hanging_nested_finished, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, init_over_inner, NULL));
	ASSERT_EQ(0, box_collect(b, 4));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_wait_zap(b));
	ASSERT_EQ(0, arrive());
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
}

/* I2 for one that is below a living one: not only the topmost are looked at. */
TEST_F_TIMEOUT(adopt, hanging_inner_finished, TEST_SECONDS)
{
	struct box *b = &self->box;
	struct member *inner = NULL, *m = NULL;
	int i, looks = 0;
	long long end;

	ASSERT_EQ(0, box_spawn(b, 0, init_over_inner, NULL));
	ASSERT_EQ(0, box_collect(b, 4));
	for (i = 0; i < b->nr; i++) {
		if (!strcmp(b->m[i].what, "inner init"))
			inner = &b->m[i];
		if (!strcmp(b->m[i].what, "inner member"))
			m = &b->m[i];
	}
	ASSERT_NE(NULL, inner);
	ASSERT_NE(NULL, m);
	ASSERT_EQ(0, sys_pidfd_signal(inner->fd, SIGKILL));
	for (end = now_ms() + patience_ms; !readable(inner->fd, 0) &&
	     !sleeps_in(inner->pid, "zap_pid_ns_processes"); sched_yield())
		ASSERT_LT(now_ms(), end);
	ASSERT_EQ(0, arrive());
	for (end = now_ms() + patience_ms; !readable(inner->fd, LOOK_MS);) {
		ASSERT_LT(now_ms(), end);
		if (ko_path())
			continue;
		looks = left_alone(m->pid) ? looks + 1 : 0;
		ASSERT_NE(LOOKS, looks) TH_LOG("the inner init waits for ever");
	}
	EXPECT_TRUE(readable(m->fd, 0));
	EXPECT_FALSE(readable(b->initfd, 0));
}

/* I2 for a namespace that lived when the module came, and dies after. */
TEST_F_TIMEOUT(adopt, older_finished, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, start_three(b));
	ASSERT_EQ(0, arrive());
	order(b, 'x');
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
}

/* Nothing of a living namespace is touched when the module comes. */
TEST_F(adopt, older_lives_on)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, start_three(b));
	ASSERT_EQ(0, arrive());
	ASSERT_GT(box_inject(b, "injected", NULL), 0);
	EXPECT_EQ(4, box_alive(b));
	EXPECT_FALSE(readable(b->initfd, 0));
}

/* I1 for a namespace that was dead and reaped before the module came. */
TEST_F_TIMEOUT(adopt, dead_refused, TEST_SECONDS)
{
	struct box *b = &self->box;
	int i;

	ASSERT_EQ(0, start_three(b));
	for (i = 0; i < b->nr; i++)
		sys_pidfd_signal(b->m[i].fd, SIGKILL);
	order(b, 'x');
	ASSERT_EQ(0, box_wait_init(b));
	ASSERT_EQ(0, arrive());
	EXPECT_EQ(ENOMEM, try_fork(b->nsfd));
}

static void exit_at_once(struct box *b)
{
	announce(b, READY);
	_exit(0);
}

/* I1 for one that is still dying: a zombie that is ours to reap holds it. */
TEST_F_TIMEOUT(adopt, dying_refused, TEST_SECONDS)
{
	struct box *b = &self->box;
	int i;

	ASSERT_EQ(0, start_three(b));
	ASSERT_GT(box_inject(b, "zombie", exit_at_once), 0);
	for (i = 0; i < b->nr; i++)
		sys_pidfd_signal(b->m[i].fd, SIGKILL);
	order(b, 'x');
	ASSERT_EQ(0, box_wait_zap(b));
	ASSERT_FALSE(readable(b->initfd, 0));
	ASSERT_EQ(0, arrive());
	EXPECT_EQ(ENOMEM, try_fork(b->nsfd));
	EXPECT_EQ(0, box_wait_init(b));
}

/*
 * kill=0: the module signals nobody, so that members die only where the kernel
 * itself kills them.
 */
TEST_F_TIMEOUT(adopt, kill_off, TEST_SECONDS)
{
	struct box *b = &self->box;
	struct counters c;
	bool guards;

	if (!ko_path())
		SKIP(return, "no PIDNS_GUARD_KO");
	guards = kernel_guards();
	ASSERT_EQ(0, load("kill=0"));
	b->impatient = true;
	ASSERT_EQ(0, start_three(b));
	order(b, 'x');
	EXPECT_EQ(guards ? 0 : -1, box_wait_init(b));
	ASSERT_EQ(0, read_counters(&c));
	EXPECT_EQ(0, c.killed);
	EXPECT_EQ(0, c.stragglers);
	/* The other half is on. */
	if (!b->reaped)
		EXPECT_EQ(ENOMEM, try_fork(b->nsfd));
}

/*
 * guard=0: the module refuses nothing, so that forks are refused only where the
 * kernel itself does.
 */
TEST_F_TIMEOUT(adopt, guard_off, TEST_SECONDS)
{
	struct box *b = &self->box;
	struct counters c;
	bool guards;

	if (!ko_path())
		SKIP(return, "no PIDNS_GUARD_KO");
	guards = kernel_guards();
	ASSERT_EQ(0, load("guard=0"));
	ASSERT_EQ(0, start_three(b));
	order(b, 'x');
	/* The other half is on. */
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
	EXPECT_EQ(guards ? ENOMEM : 0, try_fork(b->nsfd));
	ASSERT_EQ(0, read_counters(&c));
	EXPECT_EQ(0, c.refused);
}

/* A value that is no bool: nothing is loaded. */
TEST_F(adopt, bad_parameter)
{
	if (!ko_path())
		SKIP(return, "no PIDNS_GUARD_KO");
	EXPECT_EQ(-1, load("guard=banana"));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_FALSE(module_loaded());
}

/* It loads once. */
TEST_F(adopt, second_load)
{
	if (!ko_path())
		SKIP(return, "no PIDNS_GUARD_KO");
	ASSERT_EQ(0, load(""));
	EXPECT_EQ(-1, load(""));
	EXPECT_EQ(EEXIST, errno);
	EXPECT_TRUE(module_loaded());
}

static void hear(int signal)
{
	(void)signal;
}

/* In a place where a read is not interrupted by a signal, as it may be elsewhere. */
static int copy_of_module(char *path, size_t size)
{
	int from = open(ko_path(), O_RDONLY | O_CLOEXEC), to = memfd_create("ko", 0);
	ssize_t n;

	snprintf(path, size, "/proc/self/fd/%d", to);
	while (from >= 0 && to >= 0 && (n = sendfile(to, from, NULL, 1 << 20)) > 0)
		;
	return from < 0 || to < 0 || n || close(from) ? -1 : 0;
}

/* An init of a container, who may have no process more, and has signals coming. */
static void init_in_distress(struct box *b, void *arg)
{
	struct itimerval often = { { 0, 500 }, { 0, 500 } }, never = {};
	struct sigaction heard = { .sa_handler = hear };
	struct rlimit none = {};
	sigset_t term;
	int ret;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &term, NULL) || kill(getpid(), SIGTERM) ||
	    sigaction(SIGALRM, &heard, NULL) || setrlimit(RLIMIT_NPROC, &none))
		_exit(97);
	announce(b, READY);
	await_order(b);
	if (setitimer(ITIMER_REAL, &often, NULL))
		_exit(96);
	ret = load_from(arg, "");
	if (setitimer(ITIMER_REAL, &never, NULL) || ret)
		_exit(95);
	announce(b, READY);
	await_order(b);
	_exit(0);
}

/*
 * The processes that it tries its hooks on (rust/self_test.rs) are not those of whoever
 * loads it, and need nothing of theirs. Nothing is said of them, nothing is counted,
 * and none is left.
 */
TEST_F_TIMEOUT(adopt, loaded_in_distress, TEST_SECONDS)
{
	char ko[64], line[KMSG_LINE];
	struct box *b = &self->box;
	struct counters c;
	struct kmsg k;

	if (!ko_path())
		SKIP(return, "no PIDNS_GUARD_KO");
	if (write_at(b->in, "../../cgroup.subtree_control", "+pids"))
		SKIP(return, "no controller of PIDs in cgroup v2");
	ASSERT_EQ(0, write_at(b->in, "../cgroup.subtree_control", "+pids"));
	ASSERT_EQ(0, copy_of_module(ko, sizeof(ko)));
	/* Of the first one in its life the kernel says that it is tainted. */
	ASSERT_EQ(0, load(""));
	ASSERT_EQ(0, unload());
	ASSERT_EQ(0, kmsg_open(&k, 0));
	ASSERT_EQ(0, box_spawn(b, 0, init_in_distress, ko));
	ASSERT_EQ(0, box_collect(b, 1));
	ASSERT_EQ(0, write_at(b->in, "pids.max", "0"));
	order(b, 'x');
	ASSERT_EQ(0, box_collect(b, 1));

	ASSERT_TRUE(kmsg_next(&k, line, 0));
	EXPECT_STREQ("loaded: guard on, kill on, early on", line);
	EXPECT_FALSE(kmsg_next(&k, line, 0))
		TH_LOG("%s", line);
	ASSERT_EQ(0, read_counters(&c));
	EXPECT_EQ(0, c.killed + c.stragglers + c.refused + c.torn_down);
	order(b, 'x');
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, b->status);
}

/* Where no process can be started to try them on, the hooks are not let loose untried. */
TEST_F_TIMEOUT(adopt, no_process_to_try_on, TEST_SECONDS)
{
	static const char max[] = "/proc/sys/kernel/threads-max";
	char was[32], line[KMSG_LINE];
	struct kmsg k;
	int ret, err;

	if (!ko_path())
		SKIP(return, "no PIDNS_GUARD_KO");
	ASSERT_EQ(0, kmsg_open(&k, 0));
	ASSERT_GT(read_file(max, was, sizeof(was)), 0);
	/* There are more: data_race(nr_threads >= max_threads) in kernel/fork.c. */
	ASSERT_EQ(0, write_at(AT_FDCWD, max, "20"));
	ret = load("");
	err = errno;
	ASSERT_EQ(0, write_at(AT_FDCWD, max, was));
	EXPECT_EQ(-1, ret);
	EXPECT_EQ(EAGAIN, err);
	ASSERT_TRUE(kmsg_next(&k, line, 0));
	EXPECT_STREQ("cannot start a process for the self-test: EAGAIN: not loaded", line);
	EXPECT_FALSE(kmsg_next(&k, line, 0))
		TH_LOG("%s", line);
	EXPECT_TRUE(nothing_left());
	EXPECT_EQ(0, load(""));
}

/* When it has gone, the kernel is as it was. */
TEST_F(adopt, gone_without_trace)
{
	bool guards;

	if (!ko_path())
		SKIP(return, "no PIDNS_GUARD_KO");
	guards = kernel_guards();
	ASSERT_EQ(0, load(""));
	EXPECT_TRUE(kernel_guards());
	ASSERT_EQ(0, unload());
	EXPECT_EQ(guards, kernel_guards());
	EXPECT_EQ(-1, access("/sys/kernel/debug/pidns_guard", F_OK));
}

/* One storm after the other, until told to stop. */
static void churn(struct storm *s, atomic_int *stop, int log)
{
	unsigned int seed = 4711;
	struct box b;

	while (!atomic_load(stop)) {
		if (box_open(&b))
			_exit(2);
		b.hopeful = ko_path();
		seed = seed * 1103515245 + 12345;
		if (storm_round(&b, s, STORM_INSIDE, 10 + seed / 65536 % 60, log)) {
			box_close(&b);
			_exit(1);
		}
		if (box_close(&b))
			_exit(3);
	}
	_exit(0);
}

/*
 * Reads the log of churn(). First what is old: then @what has to come @n times.
 * An init that was killed ('k') and has not been seen to go ('d') counts as one
 * that is dying, however old. False when nothing comes.
 */
static bool churned(int log, char what, int n)
{
	char c = 0;

	while (readable(log, 0) && read(log, &c, 1) == 1)
		;
	if (what == 'k' && c == 'k')
		return true;
	while (n) {
		if (!readable(log, 2 * patience_ms) || read(log, &c, 1) != 1)
			return false;
		n -= c == what;
	}
	return true;
}

/*
 * I2 and I3 while the module comes and goes: each namespace that begins to die
 * is finished, if not while it was away, then when it is back.
 */
TEST_F_TIMEOUT(adopt, load_storm, LOAD_SECONDS)
{
	const char *env = getenv("PIDNS_LOAD_ROUNDS");
	int rounds = env && *env ? atoi(env) : LOAD_ROUNDS;
	int log[2], fd = -1, i, status = -1, done = 0;
	struct storm *s = storm_new();
	atomic_int *stop = mmap(NULL, sizeof(*stop), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	ASSERT_NE(NULL, s);
	ASSERT_NE(MAP_FAILED, stop);
	ASSERT_EQ(0, pipe2(log, O_CLOEXEC));
	/* The storms are in boxes of their own. */
	pid = fork_into(self->box.out, 0, &fd);
	ASSERT_GE(pid, 0);
	if (!pid)
		churn(s, stop, log[1]);
	close(log[1]);
	for (i = 0; i < rounds; i++) {
		/* Gone: an init dies, and nobody may be there to see to it. */
		if (!churned(log[0], 'k', 1) || arrive())
			break;
		/* There: the one that hung, and another from birth to death. */
		if (!churned(log[0], 'd', 2))
			break;
		if (module_loaded() && unload())
			break;
		done++;
	}
	EXPECT_EQ(rounds, done);
	atomic_store(stop, 1);
	if (!module_loaded())
		EXPECT_EQ(0, arrive());
	EXPECT_TRUE(readable(fd, 3 * patience_ms));
	kill(pid, SIGKILL);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	close(fd);
	close(log[0]);
	/* If it failed, a box of its may be left. */
	sweep(cgroup_root());
}

/* How many processes kill inits at the same time, and how many inits each of them. */
#define KILLERS		4
#define DEATHS_PER_LOAD	600

/* An init after the other dies, until told to stop. */
static void kill_inits(int cgroup, atomic_int *stop, atomic_int *deaths)
{
	while (!atomic_load(stop) && atomic_fetch_add(deaths, 1) < KILLERS * DEATHS_PER_LOAD) {
		int fd = -1;
		pid_t pid = fork_into(cgroup, CLONE_NEWPID, &fd);

		if (!pid)
			_exit(0);
		if (pid < 0 || waitpid(pid, NULL, 0) != pid || close(fd))
			_exit(1);
	}
	_exit(0);
}

/* Whether all in the ledger are known to have left, a grace period after they were reaped. */
static bool ledger_all_left(void)
{
	long long end = now_ms() + patience_ms;
	const char *line;
	char *ledger;
	int missing;

	do {
		ledger = read_ledger();
		missing = ledger ? 0 : -1;
		for (line = ledger; line && *line; line = strchr(line, '\n') + 1)
			missing += json_is(line, "left_us", "null");
		free(ledger);
	} while (missing > 0 && now_ms() < end && !usleep(LOOK_MS * 1000));
	return !missing;
}

/* How many in the ledger have the same init as an older one there. */
static int ledger_duplicates(void)
{
	char *ledger = read_ledger();
	const char *line, *older;
	int n = 0;

	if (!ledger)
		return -1;
	for (line = ledger; *line; line = strchr(line, '\n') + 1) {
		long long init = json_number(json_member(line, "init"), "pid");

		for (older = strchr(line, '\n') + 1; *older; older = strchr(older, '\n') + 1) {
			if (json_number(json_member(older, "init"), "pid") != init)
				continue;
			fprintf(stderr, "# twice: %.*s\n", (int)strcspn(line, "\n"), line);
			fprintf(stderr, "# and:   %.*s\n", (int)strcspn(older, "\n"), older);
			n++;
		}
	}
	free(ledger);
	return n;
}

/*
 * An init that dies as the module is loaded is noted by itself, and by the look at
 * all inits: its death is in the ledger once nevertheless, and comes to its end.
 */
TEST_F_TIMEOUT(adopt, death_noted_once, LOAD_SECONDS)
{
	const char *env = getenv("PIDNS_LOAD_ROUNDS");
	int rounds = env && *env ? atoi(env) : LOAD_ROUNDS;
	atomic_int *stop = mmap(NULL, 2 * sizeof(*stop), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	atomic_int *deaths = stop + 1;
	int i, n, status;
	pid_t killer[KILLERS];

	if (!ko_path())
		SKIP(return, "no PIDNS_GUARD_KO");
	ASSERT_NE(MAP_FAILED, stop);
	for (i = 0; i < rounds; i++) {
		atomic_store(stop, 0);
		atomic_store(deaths, 0);
		for (n = 0; n < KILLERS; n++) {
			killer[n] = fork();
			ASSERT_GE(killer[n], 0);
			if (!killer[n])
				kill_inits(self->box.out, stop, deaths);
		}
		/* It has room for all of them. */
		EXPECT_EQ(0, load("ledger_size=4096"));
		atomic_store(stop, 1);
		for (n = 0; n < KILLERS; n++) {
			EXPECT_EQ(killer[n], waitpid(killer[n], &status, 0));
			EXPECT_EQ(0, status);
		}
		EXPECT_TRUE(ledger_all_left())
			TH_LOG("round %d: one has not left", i);
		EXPECT_EQ(0, ledger_duplicates());
		ASSERT_EQ(0, unload());
	}
}

int main(int argc, char **argv)
{
	restore_module_at_exit();
	return test_harness_run(argc, argv);
}
