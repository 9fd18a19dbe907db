// SPDX-License-Identifier: GPL-2.0
/*
 * I2 and I3 under load: forks from inside, and from outside through setns,
 * while init dies. PIDNS_STORM_ROUNDS sets the number of rounds.
 */
#include "pidns_storm.h"

#define ROUNDS		10
#define STORM_SECONDS	900

FIXTURE(storm) {
	struct box box;
	struct storm *s;
};

FIXTURE_VARIANT(storm) {
	int where;
};

FIXTURE_VARIANT_ADD(storm, inside) {
	.where = STORM_INSIDE,
};

FIXTURE_VARIANT_ADD(storm, outside) {
	.where = STORM_OUTSIDE,
};

FIXTURE_VARIANT_ADD(storm, both) {
	.where = STORM_INSIDE | STORM_OUTSIDE,
};

FIXTURE_SETUP(storm)
{
	self->s = storm_new();
	ASSERT_NE(NULL, self->s);
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(storm)
{
	atomic_store(&self->s->stop, 1);
	EXPECT_EQ(0, box_close(&self->box));
}

/*
 * I3: a fork that is past alloc_pid() when init dies is stopped by the second
 * check in copy_process(), kernel/fork.c, or its child is killed before it runs.
 * I2: zap_pid_ns_processes() waits for all that have a number.
 */
TEST_F_TIMEOUT(storm, nothing_survives, STORM_SECONDS)
{
	const char *env = getenv("PIDNS_STORM_ROUNDS");
	int rounds = env && *env ? atoi(env) : ROUNDS;
	unsigned int seed = 12345;
	int i, born = 0;

	for (i = 0; i < rounds; i++) {
		seed = seed * 1103515245 + 12345;
		ASSERT_EQ(0, storm_round(&self->box, self->s, variant->where,
					 10 + seed / 65536 % 90, -1))
			TH_LOG("in round %d of %d", i + 1, rounds);
		born += atomic_load(&self->s->born);
		ASSERT_EQ(0, box_close(&self->box));
		ASSERT_EQ(0, box_open(&self->box));
	}
	TH_LOG("%d rounds, %d processes born", rounds, born);
}

TEST_HARNESS_MAIN
