// SPDX-License-Identifier: GPL-2.0
/*
 * What the module tells of refused forks and of teardowns that are over: in the
 * kernel log, in its ledger, and by its trace events. Those that are not over
 * are in stall_test.c.
 *
 * For long: PIDNS_FLOOD_FORKS=100000 PIDNS_FLOOD_NAMESPACES=10000 .
 */
#include <linux/capability.h>

#include "pidns_json.h"
#include "pidns_module.h"
#include "pidns_ways.h"

#define FLOOD_SECONDS	1800

FIXTURE(explain) {
	struct box box;
	struct kmsg k;
};

FIXTURE_SETUP(explain)
{
	if (!ko_path())
		SKIP(return, "no PIDNS_GUARD_KO");
	ASSERT_EQ(0, box_open(&self->box));
	ASSERT_EQ(0, reload("ledger_size=4 stall_secs=0"));
	ASSERT_EQ(0, kmsg_open(&self->k, 0));
}

FIXTURE_TEARDOWN(explain)
{
	if (!ko_path())
		return;
	close(self->k.fd);
	EXPECT_EQ(0, box_close(&self->box));
}

static void init_exits(struct box *b, void *arg)
{
	prctl(PR_SET_NAME, "e_init");
	announce(b, READY);
	if (await_order(b) == 'x')
		_exit((intptr_t)arg);
	forever();
}

static int start(struct box *b)
{
	return box_spawn(b, 0, init_exits, (void *)3) || box_collect(b, 1) ? -1 : 0;
}

/* Forks into a namespace, by a process with a name of its own; @pid gets it. */
static int fork_by(int nsfd, int times, pid_t *pid)
{
	int status, i;

	*pid = fork();
	if (!*pid) {
		prctl(PR_SET_NAME, "e_\033forker");
		if (enter(nsfd))
			_exit(NOT_TRIED);
		for (i = 0; i < times; i++)
			if (outcome(fork()) != ENOMEM)
				_exit(1);
		_exit(0);
	}
	return waitpid(*pid, &status, 0) == *pid ? status : -1;
}

/* What the line advises a caller that has come by setns(), or by unshare(). */
#define ENTERED	"it has entered a namespace that is dead: enter another one, or setns() back"
#define UNSHARED	"use \"unshare --fork\", or setns() back"

/* The line of a caller that could not fork into @nsfd, below @dead or in it. */
static bool is_told(struct kmsg *k, pid_t caller, int nsfd, int level, const char *below,
		    pid_t init, const char *how, const char *advice)
{
	char want[KMSG_LINE], line[KMSG_LINE];

	snprintf(want, sizeof(want),
		 "fork refused: e_\\x1bforker (pid %d) forks into pid namespace %u (level %d)%s, dead for ",
		 caller, ns_number(nsfd), level, below);
	if (!kmsg_wait(k, want, line))
		return false;
	snprintf(want, sizeof(want),
		 ": its init e_init (pid %d) %s; %s", init, how, advice);
	if (strstr(line, want))
		return true;
	fprintf(stderr, "# said: %s\n# expected: %s\n", line, want);
	return false;
}

/* Who was refused, where, and how its init had ended: alloc_pid() says ENOMEM. */
TEST_F_TIMEOUT(explain, exited, TEST_SECONDS)
{
	struct box *b = &self->box;
	pid_t caller;

	ASSERT_EQ(0, start(b));
	order(b, 'x');
	ASSERT_EQ(0, box_wait_init(b));
	ASSERT_EQ(0, fork_by(b->nsfd, 1, &caller));
	EXPECT_TRUE(is_told(&self->k, caller, b->nsfd, 1, "", b->init, "exited with 3", ENTERED));
}

/* The same of one that was killed, and has not been reaped. */
TEST_F_TIMEOUT(explain, killed, TEST_SECONDS)
{
	struct box *b = &self->box;
	pid_t caller;

	ASSERT_EQ(0, start(b));
	ASSERT_EQ(0, box_zombie_init(b));
	ASSERT_EQ(0, fork_by(b->nsfd, 1, &caller));
	EXPECT_TRUE(is_told(&self->k, caller, b->nsfd, 1, "", b->init, "was killed by SIGKILL",
			    ENTERED));
}

/*
 * The classic, "unshare --pid" without "--fork": the first child of the caller was the
 * init, and the caller is told what it should have done.
 */
TEST_F_TIMEOUT(explain, unshared, TEST_SECONDS)
{
	char want[KMSG_LINE], line[KMSG_LINE];
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		if (unshare(CLONE_NEWPID))
			_exit(NOT_TRIED);
		pid = fork();
		if (!pid)
			_exit(3);
		if (waitpid(pid, NULL, 0) != pid)
			_exit(NOT_TRIED);
		_exit(outcome(fork()) == ENOMEM ? 0 : 1);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	snprintf(want, sizeof(want), "fork refused: explain_test (pid %d) ", pid);
	ASSERT_TRUE(kmsg_wait(&self->k, want, line));
	EXPECT_NE(NULL, strstr(line, " exited with 3; " UNSHARED));
}

static void init_with_unborn(struct box *b, void *arg __maybe_unused)
{
	prctl(PR_SET_NAME, "e_init");
	if (!fork()) {
		if (unshare(CLONE_NEWPID))
			_exit(1);
		announce(b, "owner");
		forever();
	}
	forever();
}

/* And of one above: it is that one that is dead. */
TEST_F_TIMEOUT(explain, below_dead, TEST_SECONDS)
{
	char path[64], below[64];
	struct box *b = &self->box;
	pid_t caller;
	int nsfd;

	ASSERT_EQ(0, box_spawn(b, 0, init_with_unborn, NULL));
	ASSERT_EQ(0, box_collect(b, 1));
	snprintf(path, sizeof(path), "/proc/%d/ns/pid_for_children", b->m[0].pid);
	nsfd = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_GE(nsfd, 0);
	ASSERT_EQ(0, box_kill_init(b));
	ASSERT_EQ(0, fork_by(nsfd, 1, &caller));
	snprintf(below, sizeof(below), " below %u (level 1)", ns_number(b->nsfd));
	EXPECT_TRUE(is_told(&self->k, caller, nsfd, 2, below, b->init, "was killed by SIGKILL",
			    ENTERED));
	close(nsfd);
}

/* The first is told, the others are counted. */
TEST_F_TIMEOUT(explain, one_line_and_all_counted, TEST_SECONDS)
{
	struct box *b = &self->box;
	const char *line;
	char *ledger;
	pid_t caller;

	ASSERT_EQ(0, start(b));
	ASSERT_EQ(0, box_kill_init(b));
	ASSERT_EQ(0, fork_by(b->nsfd, 1000, &caller));
	EXPECT_EQ(1, kmsg_count(&self->k, "fork refused:"));
	ledger = read_ledger();
	line = ledger_line(ledger, ns_number(b->nsfd), b->init);
	ASSERT_NE(NULL, line);
	EXPECT_EQ(1000, json_number(line, "forks_refused"));
	free(ledger);
}

/* What is known of a teardown, in its order. */
TEST_F_TIMEOUT(explain, times, TEST_SECONDS)
{
	struct box *b = &self->box;
	long long kill_us, empty_us, left_us;
	const char *line;
	char *ledger;

	ASSERT_EQ(0, start(b));
	ASSERT_GT(box_inject(b, "member", NULL), 0);
	ASSERT_EQ(0, box_kill_init(b));
	ASSERT_TRUE(ledger_wait_left(ns_number(b->nsfd), b->init));
	ledger = read_ledger();
	line = ledger_line(ledger, ns_number(b->nsfd), b->init);
	ASSERT_NE(NULL, line);
	kill_us = json_number(line, "kill_us");
	empty_us = json_number(line, "empty_us");
	left_us = json_number(line, "left_us");
	EXPECT_GE(kill_us, 0);
	EXPECT_GE(empty_us, kill_us);
	EXPECT_GE(left_us, empty_us);
	EXPECT_GE(json_number(line, "age_us"), left_us);
	EXPECT_EQ(1, json_number(line, "killed"));
	EXPECT_TRUE(json_is(line, "level", "1"));
	EXPECT_TRUE(json_says(line, "state", "gone"));
	EXPECT_TRUE(json_is(line, "before_load", "false"));
	EXPECT_TRUE(json_says(json_member(line, "init"), "how", "killed"));
	EXPECT_TRUE(json_is(json_member(line, "init"), "code", "%d", SIGKILL));
	free(ledger);
}

/* A namespace that lives and dies; its init's PID. */
static pid_t pass_by(void)
{
	pid_t init = fork_with(CLONE_NEWPID);

	if (!init)
		_exit(0);
	return init > 0 && waitpid(init, NULL, 0) == init ? init : -1;
}

/* The newest are kept, and shown first; one that is not over is never lost. */
TEST_F_TIMEOUT(explain, ledger_keeps_unfinished, TEST_SECONDS)
{
	struct box *b = &self->box;
	long long end = now_ms() + patience_ms;
	pid_t last = -1, init;
	char *ledger;
	int i, lines;

	ASSERT_EQ(0, start(b));
	ASSERT_EQ(0, box_zombie_init(b));
	for (i = 0; i < 10; i++) {
		last = pass_by();
		ASSERT_GT(last, 0);
	}
	/* Until they have left, the ledger may have had no room for the next. */
	do {
		init = pass_by();
		ledger = read_ledger();
		ASSERT_NE(NULL, ledger);
		lines = ledger_lines(ledger);
		if (json_is(json_member(ledger, "init"), "pid", "%d", init) || now_ms() > end)
			break;
		free(ledger);
	} while (true);
	EXPECT_EQ(4, lines);
	EXPECT_TRUE(json_is(json_member(ledger, "init"), "pid", "%d", init));
	EXPECT_NE(NULL, ledger_line(ledger, ns_number(b->nsfd), b->init));
	free(ledger);
}

/*
 * Somebody can keep every place in the ledger, with inits that are not reaped. What
 * it has no room for is counted, and guarded and killed as ever.
 */
TEST_F_TIMEOUT(explain, full_ledger_enforces, TEST_SECONDS)
{
	struct box *b = &self->box;
	char line[KMSG_LINE];
	pid_t holder[2], caller;
	siginfo_t si;
	char *text;
	int i;

	ASSERT_EQ(0, reload("ledger_size=1 stall_secs=0"));
	/* One that has the only place, and one without. */
	for (i = 0; i < 2; i++) {
		holder[i] = fork_with(CLONE_NEWPID);
		if (!holder[i])
			_exit(0);
		ASSERT_GT(holder[i], 0);
		ASSERT_EQ(0, waitid(P_PID, holder[i], &si, WEXITED | WNOWAIT));
	}
	ASSERT_EQ(0, start(b));
	ASSERT_GT(box_inject(b, "member", NULL), 0);
	EXPECT_EQ(0, box_kill_init(b));
	EXPECT_EQ(0, box_left(b));
	EXPECT_EQ(0, fork_by(b->nsfd, 1, &caller));
	ASSERT_TRUE(kmsg_wait(&self->k, "fork refused: ", line));
	EXPECT_NE(NULL, strstr(line, ", dead for a time that is not known; setns() to a "));
	text = guard_file("teardowns");
	ASSERT_NE(NULL, text);
	EXPECT_NE(NULL, strstr(text, "\n1 more that are not over have no room here"));
	free(text);
	for (i = 0; i < 2; i++)
		ASSERT_EQ(holder[i], waitpid(holder[i], NULL, 0));
}

/* Sizes that make no sense: an error, and nothing is left. */
TEST_F(explain, bad_sizes)
{
	static const char * const bad[] = {
		"ledger_size=0", "ledger_size=4097", "ledger_size=-1", "stall_secs=x",
	};
	size_t i;

	ASSERT_EQ(0, unload());
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		EXPECT_EQ(-1, load(bad[i]));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_FALSE(module_loaded());
		EXPECT_NE(0, access(GUARD_DIR, F_OK));
	}
	EXPECT_EQ(3, kmsg_count(&self->k, "ledger_size="));
	ASSERT_EQ(0, load("ledger_size=4096"));
}

/* What was dead before is in the ledger, with how it ended. */
TEST_F_TIMEOUT(explain, dead_before_load, TEST_SECONDS)
{
	struct box *b = &self->box;
	char line[KMSG_LINE];
	const char *entry;
	char *ledger;
	pid_t caller;

	ASSERT_EQ(0, unload());
	ASSERT_EQ(0, start(b));
	ASSERT_EQ(0, box_zombie_init(b));
	ASSERT_EQ(0, load("stall_secs=0"));
	ledger = read_ledger();
	entry = ledger_line(ledger, ns_number(b->nsfd), b->init);
	ASSERT_NE(NULL, entry);
	EXPECT_TRUE(json_is(entry, "before_load", "true"));
	EXPECT_TRUE(json_is(json_member(entry, "init"), "code", "%d", SIGKILL));
	free(ledger);
	ASSERT_EQ(0, fork_by(b->nsfd, 1, &caller));
	ASSERT_TRUE(kmsg_wait(&self->k, "fork refused: ", line));
	EXPECT_NE(NULL, strstr(line,
			       ", dead since before pidns_guard was loaded: its init e_init"));
	ASSERT_EQ(b->init, waitpid(b->init, NULL, 0));
	b->reaped = true;
	EXPECT_TRUE(ledger_wait_left(ns_number(b->nsfd), b->init));
}

/* open() of a file of the module's: a descriptor, or the negated error. */
static int open_guard_file(const char *name)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", GUARD_DIR, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Whether the caller may not open the files, although they are root's, as it is. */
static bool may_open_none(void)
{
	return open_guard_file("counters") >= 0 &&
	       open_guard_file("teardowns") == -EPERM &&
	       open_guard_file("teardowns.json") == -EPERM;
}

/* Whether all that are open can be read, and tell of the init. */
static bool reads(const int *fds, int n)
{
	char buf[8192];
	ssize_t size;
	int i;

	for (i = 0; i < n; i++) {
		size = pread(fds[i], buf, sizeof(buf) - 1, 0);
		if (size <= 0)
			return false;
		buf[size] = 0;
		if (!strstr(buf, "e_init"))
			return false;
	}
	return true;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = {};

	return syscall(__NR_capset, &header, none);
}

static int own_user_ns(void)
{
	return unshare(CLONE_NEWUSER);
}

/*
 * Processes of all namespaces are nothing for somebody without CAP_SYS_ADMIN, nor
 * for one who has it in a user namespace of its own. What has been opened with it may
 * be handed on: full_proxy_open_regular() in fs/debugfs/file.c comes by once.
 */
TEST_F_TIMEOUT(explain, only_for_administrators, TEST_SECONDS)
{
	static int (* const lose[])(void) = { drop_capabilities, own_user_ns };
	struct box *b = &self->box;
	int status, fds[2];
	size_t i;
	pid_t pid;

	ASSERT_EQ(0, start(b));
	ASSERT_EQ(0, box_kill_init(b));
	fds[0] = open_guard_file("teardowns");
	ASSERT_GE(fds[0], 0);
	fds[1] = open_guard_file("teardowns.json");
	ASSERT_GE(fds[1], 0);
	EXPECT_TRUE(reads(fds, 2));
	for (i = 0; i < ARRAY_SIZE(lose); i++) {
		pid = fork();
		if (!pid)
			_exit(lose[i]() ? 4 : (may_open_none() ? 0 : 1) + (reads(fds, 2) ? 0 : 2));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
	}
	close(fds[0]);
	close(fds[1]);
}

static bool traced(const char *trace, const char *event, const char *fields)
{
	char want[256];

	snprintf(want, sizeof(want), ": %s: %s", event, fields);
	if (strstr(trace, want))
		return true;
	fprintf(stderr, "# not in the trace: %s\n", want);
	return false;
}

/* All that happens, as trace events with typed fields (trace_event_raw_event_*()). */
TEST_F_TIMEOUT(explain, trace_events, TEST_SECONDS)
{
	struct box *b = &self->box;
	static char trace[1 << 16];
	unsigned int ns;
	char want[128];
	pid_t caller;

	if (access(TRACEFS "/events", F_OK))
		mount("tracefs", TRACEFS, "tracefs", 0, NULL);
	ASSERT_EQ(0, write_at(AT_FDCWD, TRACEFS "/events/pidns_guard/enable", "1"));
	ASSERT_EQ(0, start(b));
	ASSERT_GT(box_inject(b, "member", NULL), 0);
	ns = ns_number(b->nsfd);
	ASSERT_EQ(0, box_kill_init(b));
	ASSERT_EQ(0, fork_by(b->nsfd, 1, &caller));
	ASSERT_EQ(0, write_at(AT_FDCWD, TRACEFS "/events/pidns_guard/enable", "0"));
	ASSERT_GT(read_file(TRACEFS "/trace", trace, sizeof(trace)), 0);
	snprintf(want, sizeof(want), "pidns=%u level=1 init_pid=%d init_comm=e_init ending=0x9",
		 ns, b->init);
	EXPECT_TRUE(traced(trace, "pidns_guard_teardown_begin", want));
	snprintf(want, sizeof(want), "pidns=%u level=1 processes=1", ns);
	EXPECT_TRUE(traced(trace, "pidns_guard_kill", want));
	snprintf(want, sizeof(want), "pidns=%u level=1 duration_ns=", ns);
	EXPECT_TRUE(traced(trace, "pidns_guard_teardown_end", want));
	snprintf(want, sizeof(want), "pidns=%u level=1 dead_pidns=%u", ns, ns);
	EXPECT_TRUE(traced(trace, "pidns_guard_fork_refused", want));
	EXPECT_EQ(0, access(TRACEFS "/events/pidns_guard/pidns_guard_straggler/format", R_OK));
	EXPECT_EQ(0, access(TRACEFS "/events/pidns_guard/pidns_guard_stuck/format", R_OK));
	write_at(AT_FDCWD, TRACEFS "/trace", "");
}

static long from_env(const char *name, long otherwise)
{
	const char *value = getenv(name);

	return value ? atol(value) : otherwise;
}

/*
 * Refused forks and dying namespaces, as fast as they come: the log gets a
 * bounded number of lines and memory stays as it is (refuse(), rust/enforce/guard.rs).
 */
TEST_F_TIMEOUT(explain, flood, FLOOD_SECONDS)
{
	long forks = from_env("PIDNS_FLOOD_FORKS", 2000), tasks = forks < 10000 ? 50 : 1000;
	long namespaces = from_env("PIDNS_FLOOD_NAMESPACES", 200), i;
	long long start_ms = now_ms(), before, after;
	struct box *b = &self->box;
	struct counters was, is;
	int status, lines, bad = 0;
	pid_t caller;

	ASSERT_EQ(0, reload(""));
	ASSERT_EQ(0, start(b));
	ASSERT_EQ(0, box_kill_init(b));
	before = mem_available_kb();
	ASSERT_EQ(0, read_counters(&was));
	for (i = 0; i < tasks; i++)
		if (!fork())
			_exit(fork_by(b->nsfd, forks / tasks, &caller));
	while (wait(&status) > 0)
		bad += status != 0;
	EXPECT_EQ(0, bad);
	ASSERT_EQ(0, read_counters(&is));
	EXPECT_EQ(forks / tasks * tasks, is.refused - was.refused);
	for (i = 0; i < namespaces; i++) {
		/* Each with a fork that is refused, and would have a line. */
		ASSERT_EQ(0, caller_of_dead_ns());
		EXPECT_EQ(ENOMEM, outcome(fork()));
		ASSERT_EQ(0, leave());
	}
	after = mem_available_kb();
	lines = kmsg_count(&self->k, "fork refused:");
	/* Ten at once, and one a second. */
	EXPECT_LE(lines, 10 + (now_ms() - start_ms) / 1000 + 1);
	EXPECT_GE(lines, 1);
	TH_LOG("%ld forks refused, %ld tasks, %ld namespaces: %d lines in %lld s, %+lld kB free",
	       forks, tasks, namespaces, lines, (now_ms() - start_ms) / 1000, after - before);
	/* What a kernel keeps for later differs by more than all of the ledger. */
	EXPECT_GT(after, before - 64 * 1024);
}

int main(int argc, char **argv)
{
	restore_module_at_exit();
	return test_harness_run(argc, argv);
}
