// SPDX-License-Identifier: GPL-2.0
/*
 * I2 when the OOM killer of a memory cgroup takes init, and not when it takes
 * somebody else; once, and again and again.
 *
 * For long: PIDNS_OOM_ROUNDS=100 .
 */
#include "pidns_test.h"

#define MEMBERS		4
/* What the namespace may have on top of what it starts with, in bytes. */
#define ROOM		0x800000

#define PRINTK		"/proc/sys/kernel/printk"
#define OOM_SECONDS	900

/* A box whose memory is counted. */
struct place {
	struct box box;
	bool open;
	bool enabled;	/* we did it */
	char printk[64];
};

/* 1 if there is no memory controller. */
static int place_open(struct place *p)
{
	char buf[256];

	p->open = !box_open(&p->box);
	/* A report of two pages takes its time on a serial console. */
	if (!p->open || read_file(PRINTK, p->printk, sizeof(p->printk)) <= 0 ||
	    write_at(AT_FDCWD, PRINTK, "4") || chdir(p->box.dir))
		return -1;
	read_file("../cgroup.subtree_control", buf, sizeof(buf));
	p->enabled = !strstr(buf, "memory");
	return write_at(AT_FDCWD, "../cgroup.subtree_control", "+memory") ||
		write_at(AT_FDCWD, "cgroup.subtree_control", "+memory");
}

static int place_close(struct place *p)
{
	if (!p->open)
		return 0;
	p->open = false;
	if (chdir("/") || box_close(&p->box) || write_at(AT_FDCWD, PRINTK, p->printk))
		return -1;
	if (p->enabled && !chdir(cgroup_root()))
		write_at(AT_FDCWD, "cgroup.subtree_control", "-memory");
	return 0;
}

FIXTURE(oom) {
	struct place place;
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
	int ret = place_open(&self->place);

	ASSERT_GE(ret, 0);
	if (ret)
		SKIP(return, "no memory controller");
}

FIXTURE_TEARDOWN(oom)
{
	EXPECT_EQ(0, place_close(&self->place));
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
	struct box *b = &self->place.box;
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
	ASSERT_TRUE(readable(eater->fd, patience_ms));
	EXPECT_EQ(MEMBERS - 1, box_alive(b));
	for (i = 0; i < MEMBERS; i++)
		if (&b->m[i] != eater)
			EXPECT_TRUE(lives_on(b->m[i].pid));
	EXPECT_TRUE(lives_on(b->init));
}

FIXTURE(oom_again) {
	struct place place;
	int rounds;
};

FIXTURE_SETUP(oom_again)
{
	int ret = place_open(&self->place);

	self->rounds = atoi(getenv("PIDNS_OOM_ROUNDS") ?: "5");
	ASSERT_GT(self->rounds, 0);
	ASSERT_GE(ret, 0);
	if (ret)
		SKIP(return, "no memory controller");
}

FIXTURE_TEARDOWN(oom_again)
{
	EXPECT_EQ(0, place_close(&self->place));
}

/* I2, as often as an init is taken. */
TEST_F_TIMEOUT(oom_again, init, OOM_SECONDS)
{
	struct roles roles = { .init_eats = true, .init_is_victim = true };
	struct box *b = &self->place.box;
	int i;

	for (i = 0; i < self->rounds; i++) {
		ASSERT_EQ(0, box_spawn(b, 0, init_of_eaters, &roles));
		ASSERT_EQ(0, box_collect(b, MEMBERS + 1));
		ASSERT_TRUE(limit(b, i % 2));
		order(b, 'e');
		ASSERT_EQ(0, box_wait_init(b));
		EXPECT_EQ(SIGKILL, b->status);
		EXPECT_EQ(0, box_left(b));
		ASSERT_EQ(0, place_close(&self->place));
		ASSERT_EQ(0, place_open(&self->place));
	}
}

/* Whoever is taken, another one comes. */
static void init_of_successors(struct box *b, void *arg)
{
	int i, status, rounds = *(int *)arg;

	be(NO_VICTIM);
	member(b, "member");
	announce(b, READY);
	await_order(b);
	for (i = 0; i < rounds; i++) {
		pid_t pid = fork();

		if (!pid) {
			be(VICTIM);
			eat();
		}
		if (waitpid(pid, &status, 0) != pid || status != SIGKILL)
			_exit(94);
	}
	announce(b, READY);
	await_order(b);
	_exit(0);
}

/* No I2, as often as somebody else is taken: it is init that counts. */
TEST_F_TIMEOUT(oom_again, member, OOM_SECONDS)
{
	struct box *b = &self->place.box;

	ASSERT_EQ(0, box_spawn(b, 0, init_of_successors, &self->rounds));
	ASSERT_EQ(0, box_collect(b, 2));
	ASSERT_TRUE(limit(b, false));
	order(b, 'e');
	ASSERT_EQ(0, box_collect(b, 1));
	EXPECT_TRUE(lives_on(b->m[0].pid));
	EXPECT_TRUE(lives_on(b->init));
	order(b, 'x');
	ASSERT_EQ(0, box_wait_init(b));
	EXPECT_EQ(0, b->status);
	EXPECT_EQ(0, box_left(b));
}

/* Below init is another one, which is taken, and has members of its own. */
static void init_of_inner(struct box *b, void *arg)
{
	int i, status, rounds = *(int *)arg;

	be(NO_VICTIM);
	member(b, "outer member");
	announce(b, READY);
	for (i = 0; i < rounds; i++) {
		pid_t pid;

		if (unshare(CLONE_NEWPID))
			_exit(94);
		pid = fork();
		if (!pid) {
			member(b, "inner member");
			be(VICTIM);
			await_order(b);
			eat();
		}
		if (waitpid(pid, &status, 0) != pid || status != SIGKILL || leave())
			_exit(93);
	}
	announce(b, READY);
	forever();
}

/* I2 below, and only there: what lives above an init that is taken lives on. */
TEST_F_TIMEOUT(oom_again, inner_init, OOM_SECONDS)
{
	int rounds = self->rounds < MAX_MEMBERS - 2 ? self->rounds : MAX_MEMBERS - 2;
	struct box *b = &self->place.box;
	int i, outer;

	ASSERT_EQ(0, box_spawn(b, 0, init_of_inner, &rounds));
	ASSERT_EQ(0, box_collect(b, 3));
	ASSERT_TRUE(limit(b, false));
	outer = strcmp(b->m[0].what, "outer member") ? 1 : 0;
	for (i = 0; i < rounds; i++) {
		order(b, 'e');
		ASSERT_TRUE(readable(b->m[i ? 1 + i : !outer].fd, patience_ms));
		/* The next one, or the end. */
		ASSERT_EQ(0, box_collect(b, 1));
	}
	EXPECT_EQ(1, box_alive(b));
	EXPECT_TRUE(lives_on(b->m[outer].pid));
	EXPECT_TRUE(lives_on(b->init));
}

TEST_HARNESS_MAIN
