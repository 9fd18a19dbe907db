// SPDX-License-Identifier: GPL-2.0
/*
 * I2 goes down: the death of an init takes every namespace below its own, to
 * the deepest that the kernel allows, and none above.
 */
#include "pidns_test.h"

/* MAX_PID_NS_LEVEL in include/linux/pid_namespace.h */
#define LEVELS	32
#define MIDDLE	16

FIXTURE(nested) {
	struct box box;
};

/*
 * The inits, from the outermost on: each has one plain member and the next
 * level's init, and reports when it has reaped that.
 */
static void chain(struct box *b, void *arg __maybe_unused)
{
	char what[32];
	int depth;
	pid_t pid;

	for (depth = 1;; depth++) {
		member(b, "member");
		if (unshare(CLONE_NEWPID)) {
			announce(b, depth == LEVELS && errno == ENOSPC ?
				 "deepest" : "not deepest");
			forever();
		}
		pid = fork();
		if (pid)
			break;
		snprintf(what, sizeof(what), "init %d", depth + 1);
		announce(b, what);
	}
	waitpid(pid, NULL, 0);
	announce(b, READY);
	forever();
}

FIXTURE_SETUP(nested)
{
	struct box *b = &self->box;
	int i, deepest = 0;

	ASSERT_EQ(0, box_open(b));
	ASSERT_EQ(0, box_spawn(b, 0, chain, NULL));
	/* 32 members, 31 inits below the outermost, and the deepest's report */
	ASSERT_EQ(0, box_collect(b, 2 * LEVELS));
	for (i = 0; i < b->nr; i++)
		deepest += !strcmp(b->m[i].what, "deepest");
	ASSERT_EQ(1, deepest);
	ASSERT_EQ(2 * LEVELS, box_alive(b));
}

FIXTURE_TEARDOWN(nested)
{
	EXPECT_EQ(0, box_close(&self->box));
}

static struct member *find(struct box *b, const char *what)
{
	int i;

	for (i = 0; i < b->nr; i++)
		if (!strcmp(b->m[i].what, what))
			return &b->m[i];
	return NULL;
}

/*
 * I2 for all 32 levels. zap_pid_ns_processes() sees every task below, as each
 * has a number in the outermost namespace too (alloc_pid() in kernel/pid.c).
 */
TEST_F_TIMEOUT(nested, outermost_takes_all, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, box_left(b));
}

/* Which level's namespace a member belongs to: how many numbers it has. */
static int level_of(struct member *m)
{
	char path[64], buf[4096], *p;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", m->pid);
	if (read_file(path, buf, sizeof(buf)) <= 0)
		return -1;
	p = strstr(buf, "\nNSpid:");
	if (!p)
		return -1;
	for (p++; *p && *p != '\n'; p++)
		n += *p == '\t';
	return n - 1;
}

/*
 * I2 from the middle downwards: what waitpid() in the level above sees. The
 * members above live; they are looked at in the next test.
 */
TEST_F_TIMEOUT(nested, middle_takes_inner, TEST_SECONDS)
{
	struct box *b = &self->box;
	struct member *middle = find(b, "init 16");
	struct member inner[MAX_MEMBERS];
	int i, nr = 0, looks = 0;
	long long end;

	ASSERT_NE(NULL, middle);
	for (i = 0; i < b->nr; i++)
		if (level_of(&b->m[i]) >= MIDDLE)
			inner[nr++] = b->m[i];
	/* 17 levels: a member and an init each, the deepest init twice */
	ASSERT_EQ(2 * (LEVELS - MIDDLE + 1) + 1, nr);
	ASSERT_EQ(0, sys_pidfd_signal(middle->fd, SIGKILL));
	/* Its parent says so when it has reaped it. */
	for (end = now_ms() + patience_ms; !readable(b->join[0], LOOK_MS);) {
		ASSERT_LT(now_ms(), end);
		if (module_loaded())
			continue;
		looks = sleeps_in(middle->pid, "zap_pid_ns_processes") &&
			left_alone(inner[nr - 1].pid) ? looks + 1 : 0;
		ASSERT_NE(LOOKS, looks) TH_LOG("an init waits for ever");
	}
	for (i = 0; i < nr; i++)
		EXPECT_EQ(-1, sys_pidfd_signal(inner[i].fd, 0));
}

/* I2 stays below: nothing above the dead init is touched. */
TEST_F_TIMEOUT(nested, middle_spares_outer, TEST_SECONDS)
{
	struct box *b = &self->box;
	struct member *middle = find(b, "init 16");
	struct member outer[MAX_MEMBERS];
	int i, nr = 0;

	ASSERT_NE(NULL, middle);
	for (i = 0; i < b->nr; i++)
		if (level_of(&b->m[i]) < MIDDLE)
			outer[nr++] = b->m[i];
	/* 15 levels with a member each, and 14 inits: not the outermost */
	ASSERT_EQ(2 * (MIDDLE - 1) - 1, nr);
	/* Its members first, so that it goes even where nobody kills them. */
	for (i = 0; i < b->nr; i++)
		if (level_of(&b->m[i]) >= MIDDLE && &b->m[i] != middle)
			sys_pidfd_signal(b->m[i].fd, SIGKILL);
	ASSERT_EQ(0, sys_pidfd_signal(middle->fd, SIGKILL));
	ASSERT_TRUE(readable(middle->fd, patience_ms));
	ASSERT_EQ(0, box_collect(b, 1));
	for (i = 0; i < nr; i++)
		EXPECT_FALSE(readable(outer[i].fd, 0));
	EXPECT_FALSE(readable(b->initfd, 0));
}

TEST_HARNESS_MAIN
