// SPDX-License-Identifier: GPL-2.0
/*
 * I2 when the OOM killer of a memory cgroup takes init, and not when it takes
 * somebody else.
 */
#include "pidns_test.h"

#define MEMBERS		4
/* What the namespace may have on top of what it starts with, in bytes. */
#define ROOM		0x800000

#define PRINTK		"/proc/sys/kernel/printk"

FIXTURE(oom) {
	struct box box;
	bool enabled;	/* we did it */
	char printk[64];
};

FIXTURE_VARIANT(oom) {
	bool init_eats, init_is_victim;
	bool group;		/* memory.oom.group */
	bool init_lives;
};

/* oom_kill_process() in mm/oom_kill.c */
FIXTURE_VARIANT_ADD(oom, init_eats) {
	.init_eats = true, .init_is_victim = true,
};

FIXTURE_VARIANT_ADD(oom, member_eats) {
	.init_is_victim = true,
};

/* All of the cgroup is killed, but for one: oom_kill_memcg_member(). */
FIXTURE_VARIANT_ADD(oom, group) {
	.group = true,
};

FIXTURE_VARIANT_ADD(oom, member_is_victim) {
	.init_lives = true,
};

FIXTURE_SETUP(oom)
{
	char buf[256];

	ASSERT_EQ(0, box_open(&self->box));
	/* A report of two pages takes its time on a serial console. */
	ASSERT_GT(read_file(PRINTK, self->printk, sizeof(self->printk)), 0);
	ASSERT_EQ(0, write_at(AT_FDCWD, PRINTK, "4"));
	ASSERT_GE(chdir(self->box.dir), 0);
	read_file("../cgroup.subtree_control", buf, sizeof(buf));
	self->enabled = !strstr(buf, "memory");
	if (write_at(AT_FDCWD, "../cgroup.subtree_control", "+memory") ||
	    write_at(AT_FDCWD, "cgroup.subtree_control", "+memory"))
		SKIP(return, "no memory controller");
}

FIXTURE_TEARDOWN(oom)
{
	EXPECT_EQ(0, chdir("/"));
	EXPECT_EQ(0, box_close(&self->box));
	EXPECT_EQ(0, write_at(AT_FDCWD, PRINTK, self->printk));
	if (self->enabled) {
		EXPECT_EQ(0, chdir(cgroup_root()));
		write_at(AT_FDCWD, "cgroup.subtree_control", "-memory");
	}
}

static void eat(void)
{
	const size_t bite = 0x10000;

	for (;;)
		memset(malloc(bite), 1, bite);
}

/* Who is to be killed, whoever has the most; children inherit it. */
static void be(const char *score)
{
	if (write_at(AT_FDCWD, "/proc/self/oom_score_adj", score))
		_exit(95);
}

#define VICTIM		"1000"
#define NO_VICTIM	"-900"
#define EXEMPT		"-1000"

struct roles {
	bool init_eats, init_is_victim;
};

static void init_of_eaters(struct box *b, void *arg)
{
	struct roles *roles = arg;
	int i;

	be(EXEMPT);
	member(b, "exempt");
	be(NO_VICTIM);
	for (i = 2; i < MEMBERS; i++)
		member(b, "member");
	if (!fork()) {
		if (!roles->init_is_victim)
			be(VICTIM);
		announce(b, "eater");
		if (!roles->init_eats)
			await_order(b);
		else
			forever();
		eat();
	}
	if (roles->init_is_victim)
		be(VICTIM);
	announce(b, READY);
	if (roles->init_eats)
		await_order(b);
	else
		forever();
	eat();
}

/* There is little room from now on. */
static bool limit(struct box *b, bool group)
{
	char path[160], buf[64];

	snprintf(path, sizeof(path), "%s/in/memory.current", b->dir);
	if (read_file(path, buf, sizeof(buf)) <= 0)
		return false;
	snprintf(buf, sizeof(buf), "%lld", atoll(buf) + ROOM);
	return !write_at(b->in, "memory.max", buf) &&
		!write_at(b->in, "memory.oom.group", group ? "1" : "0");
}

/* I2 or not, as do_exit() in kernel/exit.c is come to or not. */
TEST_F_TIMEOUT(oom, killed, TEST_SECONDS)
{
	struct roles roles = { variant->init_eats, variant->init_is_victim };
	struct member *eater = NULL;
	struct box *b = &self->box;
	int i;

	ASSERT_EQ(0, box_spawn(b, 0, init_of_eaters, &roles));
	ASSERT_EQ(0, box_collect(b, MEMBERS + 1));
	for (i = 0; i < MEMBERS; i++)
		if (!strcmp(b->m[i].what, "eater"))
			eater = &b->m[i];
	ASSERT_NE(NULL, eater);
	ASSERT_TRUE(limit(b, variant->group));
	order(b, 'e');

	if (!variant->init_lives) {
		ASSERT_EQ(0, box_wait_init(b));
		EXPECT_EQ(SIGKILL, b->status);
		EXPECT_EQ(0, box_left(b));
		return;
	}
	ASSERT_TRUE(readable(eater->fd, PATIENCE_MS));
	EXPECT_EQ(MEMBERS - 1, box_alive(b));
	for (i = 0; i < MEMBERS; i++)
		if (&b->m[i] != eater)
			EXPECT_TRUE(lives_on(b->m[i].pid));
	EXPECT_TRUE(lives_on(b->init));
}

TEST_HARNESS_MAIN
