// SPDX-License-Identifier: GPL-2.0
/*
 * Parameters of the module: what is wrong with one is said in one line, with what
 * would be right, and nothing is left of a module that did not load.
 *
 * The kernel finds them in parse_args() (kernel/params.c), before the module's
 * init is called.
 */
#include "pidns_module.h"

#define SWITCH	"1, y or on, or else 0, n or off"
#define SECS	"a number from 0 to 4294967295"
#define SIZE	"a number from 1 to 4096"

FIXTURE(params) {
	struct kmsg k;
};

FIXTURE_SETUP(params)
{
	if (!ko_path())
		SKIP(return, "no PIDNS_GUARD_KO");
	if (module_loaded())
		ASSERT_EQ(0, unload());
	ASSERT_EQ(0, kmsg_open(&self->k, 0));
}

FIXTURE_TEARDOWN(params)
{
	if (!ko_path())
		return;
	close(self->k.fd);
	if (module_loaded())
		EXPECT_EQ(0, unload());
}

/* Whether the log has one line about what did not load, and that is @want. */
static bool said_once(struct kmsg *k, const char *want)
{
	static const char end[] = ": not loaded";
	char line[KMSG_LINE];
	bool said = false;
	int others = 0;

	while (kmsg_next(k, line, 0)) {
		size_t len = strlen(line);

		if (len < sizeof(end) || strcmp(line + len - sizeof(end) + 1, end))
			continue;
		line[len - sizeof(end) + 1] = 0;
		if (!said && !strcmp(line, want)) {
			said = true;
			continue;
		}
		fprintf(stderr, "# said: %s\n", line);
		others++;
	}
	if (!said)
		fprintf(stderr, "# not said: %s\n", want);
	return said && !others;
}

static const struct {
	const char *given, *said;
} bad[] = {
	/* No bool, as kstrtobool() has it, which looks at the first letters. */
	{ "guard=banana",	"guard=banana: wants " SWITCH },
	{ "kill=2",		"kill=2: wants " SWITCH },
	{ "kill=-1",		"kill=-1: wants " SWITCH },
	{ "early=",		"early=: wants " SWITCH },
	{ "early=o",		"early=o: wants " SWITCH },
	{ "guard=\"a b\tc\"",	"guard=a b\\tc: wants " SWITCH },
	/* No number at all */
	{ "stall_secs=soon",	"stall_secs=soon: wants " SECS },
	{ "stall_secs=",	"stall_secs=: wants " SECS },
	{ "stall_secs",		"stall_secs=: wants " SECS },
	{ "stall_secs=1.5",	"stall_secs=1.5: wants " SECS },
	{ "stall_secs=10s",	"stall_secs=10s: wants " SECS },
	{ "ledger_size=0x",	"ledger_size=0x: wants " SIZE },
	{ "ledger_size=on",	"ledger_size=on: wants " SIZE },
	/* One beyond its bounds, on either side, or those of all numbers */
	{ "stall_secs=-1",	"stall_secs=-1: wants " SECS },
	{ "stall_secs=4294967296", "stall_secs=4294967296: wants " SECS },
	{ "ledger_size=0",	"ledger_size=0: wants " SIZE },
	{ "ledger_size=-1",	"ledger_size=-1: wants " SIZE },
	{ "ledger_size=4097",	"ledger_size=4097: wants " SIZE },
	{ "ledger_size=99999999999999999999",
		"ledger_size=99999999999999999999: wants " SIZE },
	/* What is right does not make up for it, wherever it is. */
	{ "kill=1 guard=x",	"guard=x: wants " SWITCH },
	{ "guard=x kill=1",	"guard=x: wants " SWITCH },
	{ "guard=x guard=1",	"guard=x: wants " SWITCH },
	{ "ledger_size=1 ledger_size=0", "ledger_size=0: wants " SIZE },
};

/* Of insmod, EINVAL is "Invalid parameters". */
TEST_F_TIMEOUT(params, refused, TEST_SECONDS)
{
	size_t i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ret = load(bad[i].given);
		EXPECT_EQ(-1, ret) {
			TH_LOG("loaded with %s", bad[i].given);
			ASSERT_EQ(0, unload());
			continue;
		}
		EXPECT_EQ(EINVAL, errno)
			TH_LOG("with %.80s", bad[i].given);
		EXPECT_TRUE(said_once(&self->k, bad[i].said));
		EXPECT_TRUE(nothing_left());
	}
	/* And the next one finds nothing in its way. */
	EXPECT_EQ(0, load(""));
}

/* Of one that is too long for a line the beginning is shown, and all that would be right. */
TEST_F_TIMEOUT(params, overlong, TEST_SECONDS)
{
	static const struct {
		const char *name, *wants;
	} of[] = {
		{ "guard", SWITCH },
		{ "ledger_size", SIZE },
	};
	char given[4000], said[128];
	size_t i;
	int n;

	for (i = 0; i < ARRAY_SIZE(of); i++) {
		n = snprintf(given, sizeof(given), "%s=", of[i].name);
		memset(given + n, 'x', sizeof(given) - n - 1);
		given[sizeof(given) - 1] = 0;
		snprintf(said, sizeof(said), "%.*s: wants %s", n + 64, given, of[i].wants);
		EXPECT_EQ(-1, load(given));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_TRUE(said_once(&self->k, said));
		EXPECT_TRUE(nothing_left());
	}
}

/* More than one is wrong: each has its line. */
TEST_F_TIMEOUT(params, refused_together, TEST_SECONDS)
{
	char line[KMSG_LINE];
	int lines = 0;

	ASSERT_EQ(-1, load("guard=x stall_secs=y ledger_size=0 early=0"));
	EXPECT_EQ(EINVAL, errno);
	while (kmsg_next(&self->k, line, 0))
		lines += !!strstr(line, ": not loaded");
	EXPECT_EQ(3, lines);
	EXPECT_TRUE(nothing_left());
}

struct values {
	const char *guard, *kill, *early, *stall_secs, *ledger_size;
};

static const struct {
	const char *given;
	struct values are;
} good[] = {
	{ "",				{ "Y", "Y", "Y", "10", "256" } },
	{ "guard=0 kill=n early=off",	{ "N", "N", "N", "10", "256" } },
	{ "guard=1 kill=Yes early=ON",	{ "Y", "Y", "Y", "10", "256" } },
	{ "guard kill=N early",		{ "Y", "N", "Y", "10", "256" } },
	{ "stall_secs=0 ledger_size=1",	{ "Y", "Y", "Y", "0", "1" } },
	{ "stall_secs=4294967295 ledger_size=4096",
					{ "Y", "Y", "Y", "4294967295", "4096" } },
	{ "stall_secs=0x10 ledger_size=0x20", { "Y", "Y", "Y", "16", "32" } },
	{ "stall-secs=3",		{ "Y", "Y", "Y", "3", "256" } },
	/* Of two, the last one counts: EEXIST would be "loaded already" to modprobe. */
	{ "guard=1 guard=0",		{ "N", "Y", "Y", "10", "256" } },
	{ "ledger_size=7 kill=0 ledger_size=8 kill=1", { "Y", "Y", "Y", "10", "8" } },
	/* What the kernel does not know it lets pass: unknown_module_param_cb(). */
	{ "guards=0 ledger_size=9",	{ "Y", "Y", "Y", "10", "9" } },
};

static bool is(const char *name, const char *want)
{
	char path[80], value[64];
	struct stat st;

	snprintf(path, sizeof(path), "/sys/module/pidns_guard/parameters/%s", name);
	if (read_file(path, value, sizeof(value)) <= 0 || stat(path, &st)) {
		fprintf(stderr, "# %s: %m\n", path);
		return false;
	}
	value[strcspn(value, "\n")] = 0;
	if (strcmp(value, want))
		fprintf(stderr, "# %s=%s, expected: %s\n", name, value, want);
	/* They are read at load: to write one would change nothing. */
	if (st.st_mode != (S_IFREG | 0444))
		fprintf(stderr, "# %s: mode %o\n", path, st.st_mode);
	return !strcmp(value, want) && st.st_mode == (S_IFREG | 0444);
}

TEST_F_TIMEOUT(params, taken, TEST_SECONDS)
{
	char want[64], line[KMSG_LINE];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		const struct values *v = &good[i].are;

		ASSERT_EQ(0, load(good[i].given))
			TH_LOG("%s: %s", good[i].given, strerror(errno));
		EXPECT_TRUE(is("guard", v->guard));
		EXPECT_TRUE(is("kill", v->kill));
		EXPECT_TRUE(is("early", v->early));
		EXPECT_TRUE(is("stall_secs", v->stall_secs));
		EXPECT_TRUE(is("ledger_size", v->ledger_size));
		/* What it goes by is what it shows. */
		snprintf(want, sizeof(want), "loaded: guard %s, kill %s, early %s",
			 *v->guard == 'Y' ? "on" : "off", *v->kill == 'Y' ? "on" : "off",
			 *v->early == 'Y' ? "on" : "off");
		EXPECT_TRUE(kmsg_wait(&self->k, want, line));
		ASSERT_EQ(0, unload());
	}
}

/* One with a slip of the pen in its name is the only one nobody refuses, but it is told. */
TEST_F_TIMEOUT(params, unknown, TEST_SECONDS)
{
	char line[KMSG_LINE];

	ASSERT_EQ(0, load("gaurd=0"));
	EXPECT_TRUE(kmsg_wait(&self->k, "unknown parameter 'gaurd' ignored", line));
	EXPECT_TRUE(is("guard", "Y"));
}

/* By the kernel, which has a name for that, and before the module is asked. */
TEST_F_TIMEOUT(params, loaded_twice, TEST_SECONDS)
{
	ASSERT_EQ(0, load("ledger_size=5"));
	EXPECT_EQ(-1, load("ledger_size=6"));
	EXPECT_EQ(EEXIST, errno);
	EXPECT_TRUE(is("ledger_size", "5"));
	EXPECT_EQ(0, access(GUARD_DIR "/counters", F_OK));
}

int main(int argc, char **argv)
{
	restore_module_at_exit();
	return test_harness_run(argc, argv);
}
