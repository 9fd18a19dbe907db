// SPDX-License-Identifier: GPL-2.0
/*
 * A short share of the random programs, for every run of the selftests. How to
 * run more of them: `make random`.
 *
 * PIDNS_RANDOM_SECONDS says for how long, and PIDNS_RANDOM_SEED from where on.
 */
#include "pidns_test.h"

#define SECONDS		"10"
/* It may take as long to make a program that fails short. */
#define RANDOM_SECONDS	240

FIXTURE(random) {};

FIXTURE_SETUP(random) {}

FIXTURE_TEARDOWN(random) {}

/*
 * All of the promises, and pid_namespaces(7): nothing is alive in a dead
 * namespace, nothing refused in a living one, nobody outside is touched, each
 * wait status is right, nobody is left.
 */
TEST_F_TIMEOUT(random, programs, RANDOM_SECONDS)
{
	const char *seconds = getenv("PIDNS_RANDOM_SECONDS");
	const char *seed = getenv("PIDNS_RANDOM_SEED");
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* What it says is no TAP. */
		dup2(2, 1);
		execl("./random", "random", "--count", "1000000", "--seed", seed ?: "1",
		      "--seconds", seconds ?: SECONDS, "--workers", "4", NULL);
		_exit(2);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (status == 2 << 8)
		TH_LOG("selftests/random could not be run");
	EXPECT_EQ(0, status);
}

TEST_HARNESS_MAIN
