// SPDX-License-Identifier: GPL-2.0
/*
 * Storms without end: namespaces die, one by one and many at once, while the
 * module comes and goes, a CPU comes and goes, and tracers are switched on and
 * off on the functions that the module hooks.
 *
 * All of that is done once, before the first test, by processes of their own; the
 * tests below judge what has been seen, one promise each:
 *
 *   runner     loads and unloads, again and again
 *   churners   one storm after the other, each with its own check
 *   disturber  CPU 1 and the tracers, one step at a time, with the runner
 *   living     a tree of namespaces in which nobody may be refused or killed
 *
 * and the test program itself watches that each of them gets on.
 *
 * The runner waits for a storm that is in full swing; its init is killed at a random
 * moment of the load, or of the unload. A round is one of each, and counts if that
 * came off in both, and if a fork into the dead was refused by what was loaded.
 *
 * PIDNS_SOAK_ROUNDS is how often to load and unload, PIDNS_SOAK_MINUTES how long
 * to go on at least; without both it is a few seconds. PIDNS_SOAK_MANY is how many
 * namespaces die at once, now and then. PIDNS_SOAK_SWITCHES is what to switch on
 * and off, a bit for each of enum disturbance, to find out which of them matters.
 * Without PIDNS_GUARD_KO nothing is loaded, and the same is asked of the kernel
 * alone.
 */
#include <limits.h>

#include "pidns_module.h"
#include "pidns_storm.h"

#define SHORT_MS	9000
#define SHORT_MANY	120
#define LONG_MANY	2000
#define SLOW_MANY	240
#define FEW		16
#define SLOW_FEW	8
/* Every so many storms of that kind it is many, and not few. */
#define MANY_EVERY	40
/* Into how many of them a fork is tried when they are dead. */
#define PROBES		48
/* One in so many storms is over while the module is at rest. */
#define REST_EVERY	2
#define SLOW_REST_EVERY	8
/* One in so many looks for survivors in /proc, where that takes as long as it lives. */
#define SLOW_SCAN_EVERY	8

/*
 * In the time of so many forks one thing is done, whatever else goes on; and an
 * actor that has not got on for that of so many hangs. Both have a minimum.
 */
#define PATIENCE_FORKS	2000
#define HANG_FORKS	10000
#define SHORT_HANG_MS	60000
#define LONG_HANG_MS	300000
#define PROGRESS_MS	10000

/*
 * What may be gone after the end, against what was there after the warm-up, in
 * kB: half of it came and went by itself. Of a ledger that is never given back a
 * hundred rounds leave so much.
 */
#define MEMORY_KB	16384
/* And what KASAN keeps for a while: QUARANTINE_FRACTION, mm/kasan/quarantine.c. */
#define KASAN_KEEPS	32
/* RCU gives back late. */
#define SETTLE_MS	20000

#define CPU1		"/sys/devices/system/cpu/cpu1/online"
#define TRACING		"/sys/kernel/tracing/"

#define CHURNERS	2

enum kind { INSIDE, OUTSIDE, BOTH, NESTED, MANY, KINDS };

static const char * const kind_name[KINDS] = {
	"inside", "outside", "both", "nested", "many",
};

static const int kind_where[KINDS] = {
	[INSIDE] = STORM_INSIDE,
	[OUTSIDE] = STORM_OUTSIDE,
	[BOTH] = STORM_INSIDE | STORM_OUTSIDE,
	[NESTED] = STORM_INSIDE | STORM_NESTED,
};

enum actor { RUNNER, CHURNER, DISTURBER = CHURNER + CHURNERS, LIVING, ACTORS };

static const char * const actor_name[ACTORS] = {
	"runner", "first churner", "second churner", "disturber", "living",
};

/* What a round is spent with. */
enum phase { STORMING, UNLOADING, RIPENING, LOADING, PHASES };

enum disturbance { FUNCTION, GRAPH, KPROBES, HOTPLUG, DISTURBANCES };

static const char * const disturbance_name[DISTURBANCES] = {
	"function tracer", "function_graph tracer", "kprobes", "CPU 1",
};

struct act {
	atomic_llong beat;	/* when it last got on; 0 if it is not there */
	char doing[64];
};

/* Shared by all, and read by the tests. */
struct soak {
	/*
	 * Even while the module is there and stays, odd from before it goes
	 * until it is back. Without a module to load it stays 0.
	 */
	atomic_int epoch;
	atomic_bool early;	/* it was loaded to be the first to kill */
	atomic_llong known[4];	/* refusals, of an epoch */
	atomic_bool stop;
	/*
	 * Where the module is: 0 modulo 4 while it is there, 1 as it goes, 2 while
	 * it is away, 3 as it comes.
	 */
	atomic_int turn;
	atomic_int ripe;	/* storms whose init may die at any moment */
	atomic_int dying;	/* those whose init was killed, until they are over */
	int wanted[2];		/* a byte if one of them is to die in this turn */
	atomic_int struck;	/* the last turn in which one was killed */
	int lasts[4];		/* ms, that such a turn can be relied on to last */
	int steps[2];		/* a byte for each step of the disturber */
	struct act act[ACTORS];

	/* seen */
	atomic_llong ended;	/* storms */
	atomic_llong namespaces, forks, at_once;
	atomic_llong storms[KINDS], survived[KINDS];
	atomic_llong refused, not_refused;
	atomic_llong living_forks, living_wrong;
	atomic_llong switched[DISTURBANCES], unseen[DISTURBANCES];
	atomic_llong loads, all_loads;	/* those of a whole round, and all */
	atomic_llong implausible;
	bool absent[DISTURBANCES];
	int rounds;		/* of load and unload, asked for */
	long long memory_before, memory_after, memory_allowed;
	long long lines, lines_allowed;
	int left;
	bool ran, failed_to_load, hung, namespaces_kept;
	atomic_int given, taken;	/* steps of the disturber */
	int begun, missed;	/* rounds, and those of them that do not count */
	long long spent[PHASES];	/* ms */
	int fork_ms;		/* what a fork, an exit and a wait take here, at rest */
};

static struct soak *soak;

/* A debug kernel, where fewer forks have to do. */
static bool is_slow(void)
{
	return soak->fork_ms > 8;
}

/* Adds to @phase what has passed since @from, and begins anew. */
static void spend(enum phase phase, long long *from)
{
	long long now = now_ms();

	soak->spent[phase] += now - *from;
	*from = now;
}

static void getting_on(enum actor who, const char *what)
{
	struct act *a = &soak->act[who];

	snprintf(a->doing, sizeof(a->doing), "%s", what);
	atomic_store(&a->beat, now_ms());
}

static void nap(int ms)
{
	poll(NULL, 0, ms);
}

/* For files of the kernel, where O_TRUNC is to forget what was there. */
static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	ssize_t n = 0;

	if (fd < 0)
		return -1;
	/* Some take one word at a time. */
	while (*text && (n = write(fd, text, strlen(text))) > 0)
		text += n;
	close(fd);
	return n < 0 ? -1 : 0;
}

/*
 * Whether the module has been there all the time since @epoch, or, where none is
 * loaded and unloaded, nothing has changed.
 */
static bool still(int epoch)
{
	return !(epoch & 1) && atomic_load(&soak->epoch) == epoch;
}

static atomic_llong *known_in(int epoch)
{
	return &soak->known[epoch / 2 % 4];
}

static void implausible(const char *what, long long counted, const char *how, long long bound)
{
	fprintf(stderr, "# soak: %s: counted %lld, and it is %s %lld\n", what, counted, how, bound);
	atomic_fetch_add(&soak->implausible, 1);
}

static void bounds(const char *what, long long counted, long long least, long long most)
{
	if (counted < least)
		implausible(what, counted, "at least", least);
	if (counted > most)
		implausible(what, counted, "at most", most);
}

/* --- Deaths */

/* Of the storm that the churner at hand is at. */
static enum actor me;
static bool at_rest, is_dying;
static int moment;

/* Waits until the module comes or goes, and then for a part of the time that takes. */
static void await_moment(void)
{
	bool wanted = false;
	char c;

	/* There is no rest while the module is not there. */
	if (!at_rest || atomic_load(&soak->turn) % 4) {
		atomic_fetch_add(&soak->ripe, 1);
		while (!atomic_load(&soak->stop) && !wanted) {
			getting_on(me, "is ripe");
			wanted = readable(soak->wanted[0], 1000) &&
				 read(soak->wanted[0], &c, 1) == 1;
		}
		atomic_fetch_sub(&soak->ripe, 1);
	}
	moment = atomic_load(&soak->turn);
	if (wanted)
		nap(rand() % (soak->lasts[moment % 4] / 2 + 1));
	getting_on(me, "inits die");
}

/* An init was killed: it counts if that was in the middle. */
static void moment_is_over(void)
{
	atomic_fetch_add(&soak->dying, 1);
	is_dying = true;
	if (moment & 1 && atomic_load(&soak->turn) == moment)
		atomic_store(&soak->struck, moment);
}

/* Forks into dead namespaces, whose inits are zombies yet. */
static void probe(const int *ns, int n)
{
	int i, epoch;
	pid_t pid;

	/* Who dies as the module comes is guarded by it. */
	while (moment % 4 == 3 && atomic_load(&soak->epoch) & 1 && !atomic_load(&soak->stop))
		nap(2 * soak->fork_ms);
	for (i = 0; i < n; i++) {
		epoch = atomic_load(&soak->epoch);
		if (enter(ns[i]))
			break;
		pid = fork();
		if (!pid)
			_exit(0);
		if (pid > 0)
			waitpid(pid, NULL, 0);
		if (pid < 0 && errno == ENOMEM && still(epoch)) {
			atomic_fetch_add(known_in(epoch), 1);
			atomic_fetch_add(&soak->refused, 1);
		} else if (still(epoch)) {
			atomic_fetch_add(&soak->not_refused, 1);
		}
	}
	leave();
}

static void kill_at_moment(struct box *b)
{
	await_moment();
	kill(b->init, SIGKILL);
	moment_is_over();
}

static void probe_box(struct box *b)
{
	probe(&b->nsfd, 1);
}

/* --- Many at once */

/* Two levels with an init each, and a member between: they end with the pipe. */
static void one_of_many(struct storm *s, const int *go)
{
	pid_t pid;
	char c;

	close(go[1]);
	storm_born(s);
	if (!storm_fork(-1)) {
		storm_born(s);
		forever();
	}
	if (unshare(CLONE_NEWPID))
		_exit(1);
	pid = storm_fork(-1);
	if (!pid)
		storm_born(s);
	_exit(read(go[0], &c, 1));
}

static bool await_births(struct storm *s, int n)
{
	char c[256];
	int got;

	while (n > 0) {
		if (!readable(s->births[0], patience_ms))
			return false;
		got = read(s->births[0], c, n < 256 ? n : 256);
		n -= got > 0 ? got : 0;
		getting_on(me, "many are born");
	}
	return true;
}

/*
 * Half of @n inits die at the same time, and half of them with their outer
 * namespace. 0 if nothing is left of them.
 */
static int many_round(struct box *b, struct storm *s, int n)
{
	int pairs = n / 2, made, probes = 0, ret = -1, i, epoch, status, wrong = 0;
	int patience = patience_ms;
	pid_t *pids = calloc(pairs, sizeof(*pids));
	int ns[PROBES], go[2];
	struct counters before, after;
	bool counted;
	char c;

	if (!pids || pipe2(s->births, O_CLOEXEC | O_NONBLOCK) ||
	    pipe2(s->life, O_CLOEXEC) || pipe2(go, O_CLOEXEC))
		return -1;
	patience_ms += 50 * soak->fork_ms * n;
	atomic_store(&s->dead, 0);
	atomic_store(&s->born, 0);
	for (made = 0; made < pairs; made++) {
		int fd;

		pids[made] = fork_into(b->in, CLONE_NEWPID, &fd);
		if (pids[made] < 0) {
			fprintf(stderr, "# %d of %d namespaces: %m\n", made, pairs);
			break;
		}
		if (!pids[made])
			one_of_many(s, go);
		if (made < PROBES)
			ns[probes++] = open_pidns(pids[made]);
		if (made)
			close(fd);
		else
			b->initfd = fd;
	}
	/* One of them is watched as all inits are. */
	b->init = pids[0];
	b->reaped = false;
	close(s->life[1]);
	close(go[0]);
	if (!await_births(s, 3 * made)) {
		fprintf(stderr, "# not all of %d came to life\n", made);
		goto out;
	}
	await_moment();
	epoch = atomic_load(&soak->epoch);
	counted = !read_counters(&before);
	close(go[1]);
	go[1] = -1;
	moment_is_over();
	if (!box_wait_exit(b)) {
		probe(ns, 1);
		moment = 0;
		/* All of them have gone, not only the first. */
		if (readable(s->life[0], patience_ms) && !read(s->life[0], &c, 1))
			ret = 0;
	}
	for (i = 0; !ret && i < made; i++) {
		siginfo_t info;

		ret = waitid(P_PID, pids[i], &info, WEXITED | WNOWAIT);
	}
	/* The first look was before the last time that it came, or is of now. */
	if (!ret && counted && !read_counters(&after) && still(epoch)) {
		if (atomic_load(&soak->early))
			bounds("processes_killed", after.killed - before.killed, made, LLONG_MAX);
		/* No more than that are seen to return at the same time. */
		if (n < 1000)
			bounds("namespaces_torn_down", after.torn_down - before.torn_down,
			       2 * made, LLONG_MAX);
	}
	if (ret)
		fprintf(stderr, "# of %d namespaces that died at once something is left\n",
			2 * made);
	probe(ns, probes);
	for (i = 0; !ret && i < made; i++) {
		waitpid(pids[i], &status, 0);
		wrong += status != 0;
	}
	if (!ret) {
		b->reaped = true;
		if (wrong) {
			fprintf(stderr, "# %d inits did not end as they did\n", wrong);
			ret = -1;
		}
	}
	if (2 * made > atomic_load(&soak->at_once))
		atomic_store(&soak->at_once, 2 * made);
out:
	patience_ms = patience;
	atomic_fetch_add(&soak->namespaces, 2 * made);
	if (go[1] >= 0)
		close(go[1]);
	for (i = 0; i < probes; i++)
		close(ns[i]);
	close(s->life[0]);
	close(s->births[0]);
	close(s->births[1]);
	free(pids);
	return ret;
}

/* --- The actors */

static void churn(enum actor who, int many)
{
	int rest_every = is_slow() ? SLOW_REST_EVERY : REST_EVERY;
	int few = is_slow() ? SLOW_FEW : FEW;
	struct storm *s = storm_new();
	int i, n = 0, ret, births;
	struct box b;

	me = who;
	srand(4711 * who);
	for (i = who; !atomic_load(&soak->stop); i++) {
		enum kind kind = i % KINDS;

		getting_on(who, kind_name[kind]);
		/* One that has survived is enough, and takes long to find. */
		if (atomic_load(&soak->survived[kind])) {
			nap(10);
			continue;
		}
		if (!s || box_open(&b))
			_exit(2);
		b.hopeful = ko_path();
		/* The first has nobody to wait for: nothing is loaded and unloaded yet. */
		at_rest = !ko_path() || (i - who) % rest_every == 0;
		births = is_slow() ? 5 + rand() % 6 : 10 + rand() % 40;
		/* Who waits, for the module or for its moment, is not to eat all there is. */
		s->calm = births + (is_slow() ? 2 : 5);
		s->pause_ms = (is_slow() ? 40 : 10) * soak->fork_ms;
		s->hasty = is_slow() && i % SLOW_SCAN_EVERY;
		s->kill = kill_at_moment;
		s->zombie = probe_box;
		if (kind == MANY)
			ret = many_round(&b, s, many && n++ % MANY_EVERY == 0 ? many : few);
		else
			ret = storm_round(&b, s, kind_where[kind], births, -1);
		atomic_fetch_add(&soak->forks, atomic_load(&s->born));
		if (kind != MANY)
			atomic_fetch_add(&soak->namespaces, kind == NESTED ? NEST : 1);
		if (box_close(&b) || ret) {
			fprintf(stderr, "# soak: storm %d of the %s (%s)\n", i,
				actor_name[who], kind_name[kind]);
			atomic_fetch_add(&soak->survived[kind], 1);
		}
		atomic_fetch_sub(&soak->dying, is_dying);
		is_dying = false;
		atomic_fetch_add(&soak->storms[kind], 1);
		atomic_fetch_add(&soak->ended, 1);
	}
	_exit(0);
}

static int setting(const char *name, int otherwise)
{
	const char *env = getenv(name);

	return env && *env ? atoi(env) : otherwise;
}

/* Whether it was asked for more than a few seconds. */
static bool is_long(void)
{
	return setting("PIDNS_SOAK_MINUTES", 0) || setting("PIDNS_SOAK_ROUNDS", 0);
}

static void tracer_off(void)
{
	write_text(TRACING "current_tracer", "nop");
	write_text(TRACING "set_ftrace_filter", "");
}

static int tracer_on(const char *tracer)
{
	return write_text(TRACING "set_ftrace_filter",
			  "alloc_pid dup_mmap copy_process zap_pid_ns_processes") ||
	       write_text(TRACING "current_tracer", tracer);
}

static int kprobes_on(void)
{
	return write_text(TRACING "kprobe_events",
			  "p:soak/alloc alloc_pid\n"
			  "p:soak/zap zap_pid_ns_processes\n"
			  "r:soak/zapped zap_pid_ns_processes\n"
			  "r:soak/copied copy_process\n") ||
	       write_text(TRACING "events/soak/enable", "1");
}

static void kprobes_off(void)
{
	write_text(TRACING "events/soak/enable", "0");
	write_text(TRACING "kprobe_events", "");
}

/* Whether a fork is seen by what is switched on; forgotten then. */
static bool traced(void)
{
	char buf[8192];
	bool seen;
	pid_t pid;

	pid = fork();
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	seen = read_file(TRACING "trace", buf, sizeof(buf)) > 0 &&
	       (strstr(buf, "alloc") || strstr(buf, "zap") || strstr(buf, "copy"));
	write_text(TRACING "trace", "");
	return seen;
}

static int switch_on(enum disturbance what)
{
	switch (what) {
	case FUNCTION:
		return tracer_on("function");
	case GRAPH:
		return tracer_on("function_graph");
	case KPROBES:
		return kprobes_on();
	default:
		return write_text(CPU1, "0");
	}
}

static bool switch_off(enum disturbance what)
{
	char buf[8];
	bool seen;

	switch (what) {
	case FUNCTION:
	case GRAPH:
		seen = traced();
		tracer_off();
		return seen;
	case KPROBES:
		seen = traced();
		kprobes_off();
		return seen;
	default:
		seen = read_file(CPU1, buf, sizeof(buf)) > 0 && *buf == '0';
		return !write_text(CPU1, "1") && seen;
	}
}

static bool there(enum disturbance what)
{
	if (!(setting("PIDNS_SOAK_SWITCHES", ~0) >> what & 1))
		return false;
	return !access(what == HOTPLUG ? CPU1 :
		       what == KPROBES ? TRACING "kprobe_events" : TRACING "current_tracer", W_OK);
}

/* Of the few who have to get on, whatever crowd wants to run. */
static void before_all_others(void)
{
	if (setpriority(PRIO_PROCESS, 0, -20))
		fprintf(stderr, "# soak: nice: %m\n");
}

/* One after the other on and off, a step for each byte. */
static void disturb(void)
{
	enum disturbance what = 0;
	bool on = false;
	char text[64], c;

	before_all_others();
	for (;;) {
		getting_on(DISTURBER, "waits for its turn");
		if (!readable(soak->steps[0], 1000))
			continue;
		if (read(soak->steps[0], &c, 1) != 1 || c == 'x')
			break;
		atomic_fetch_add(&soak->taken, 1);
		snprintf(text, sizeof(text), "%s %s", disturbance_name[what], on ? "off" : "on");
		getting_on(DISTURBER, text);
		if (!there(what)) {
			soak->absent[what] = true;
		} else if (!on) {
			on = true;
			atomic_fetch_add(&soak->switched[what], 1);
			if (switch_on(what)) {
				fprintf(stderr, "# soak: %s: %m\n", text);
				atomic_fetch_add(&soak->unseen[what], 1);
			}
			continue;
		} else if (!switch_off(what)) {
			fprintf(stderr, "# soak: %s: not in effect\n", text);
			atomic_fetch_add(&soak->unseen[what], 1);
		}
		on = false;
		what = (what + 1) % DISTURBANCES;
	}
	if (on)
		switch_off(what);
	_exit(0);
}

/*
 * A namespace, or several below each other, that lives all the time: each forks
 * now and then, and has a child that stays. Ends with the pipe, by 0 if nobody
 * was refused and nobody killed.
 */
static int live(int level, int alive)
{
	int status, wrong = 0;
	pid_t child, below = 0, idle;
	char c;

	idle = storm_fork(-1);
	if (!idle)
		_exit(read(alive, &c, 1));
	if (level < 3) {
		if (unshare(CLONE_NEWPID))
			return 1;
		below = storm_fork(-1);
		if (!below)
			_exit(live(level + 1, alive));
		if (leave())
			return 1;
	}
	while (!readable(alive, (is_slow() ? 100 : 25) * soak->fork_ms)) {
		child = storm_fork(-1);
		if (!child)
			_exit(42);
		wrong += child < 0 || waitpid(child, &status, 0) != child || status != 42 << 8;
		atomic_fetch_add(&soak->living_forks, 1);
		getting_on(LIVING, "forks");
	}
	wrong += waitpid(idle, &status, 0) != idle || status;
	if (level < 3)
		wrong += waitpid(below, &status, 0) != below || status;
	atomic_fetch_add(&soak->living_wrong, wrong);
	return wrong > 0;
}

static bool some_survived(void)
{
	int i;

	for (i = 0; i < KINDS; i++)
		if (atomic_load(&soak->survived[i]))
			return true;
	return false;
}

/* Where something survives there is no use in going on, when each has been tried. */
static bool no_use(void)
{
	int i;

	for (i = 0; !ko_path() && i < KINDS; i++)
		if (!atomic_load(&soak->storms[i]))
			return false;
	return some_survived();
}

/*
 * A step for the disturber, if it is not behind. On a debug kernel each takes a
 * second, and in the long run one in every other round has to do.
 */
static void step(void)
{
	int given = atomic_load(&soak->given);

	if (given > atomic_load(&soak->taken) + 1)
		return;
	if (is_slow() && is_long() && given > soak->begun / 2)
		return;
	atomic_fetch_add(&soak->given, 1);
	if (write(soak->steps[1], "s", 1) < 0)
		return;
}

/*
 * The counters against what is known of this epoch, and of all. A storm that is
 * not over has not told how much it forked.
 */
static void check_counters(void)
{
	long long refused = atomic_load(known_in(atomic_load(&soak->epoch))), forks, spaces;
	struct counters c;

	if (read_counters(&c)) {
		implausible("files read", 0, "exactly", 1);
		return;
	}
	forks = atomic_load(&soak->forks) + 2 * CHURNERS * (3 * LONG_MANY);
	spaces = atomic_load(&soak->namespaces) + CHURNERS * LONG_MANY;
	bounds("processes_killed", c.killed, 0, forks);
	bounds("namespaces_torn_down", c.torn_down, 0, spaces);
	bounds("forks_refused", c.refused, refused, LLONG_MAX);
	bounds("stragglers_killed", c.stragglers, 0, forks);
}

/* The module begins to come or go: one storm is to lose its init meanwhile. */
static void turn_begins(const char *what)
{
	getting_on(RUNNER, what);
	atomic_fetch_add(&soak->turn, 1);
	if (write(soak->wanted[1], "w", 1) < 0)
		return;
}

/* Whether it has. */
static bool turn_ends(long long from)
{
	int turn = atomic_load(&soak->turn), *lasts = &soak->lasts[turn % 4];
	int ms = now_ms() - from;
	char c;

	*lasts = *lasts && *lasts < ms ? (*lasts + ms) / 2 : ms;
	atomic_store(&soak->turn, turn + 1);
	/* Nobody was quick enough. */
	if (read(soak->wanted[0], &c, 1) == 1)
		return false;
	return atomic_load(&soak->struck) == turn;
}

/* -1 if it does not go, otherwise whether an init died with that. */
static int away(void)
{
	long long from = now_ms();
	int ret;

	atomic_fetch_add(&soak->epoch, 1);
	turn_begins("unloads the module");
	ret = unload();
	if (ret) {
		fprintf(stderr, "# soak: unload: %m\n");
		soak->failed_to_load = true;
	}
	return turn_ends(from) && !ret ? 1 : ret;
}

/* The same for its return. */
static int back(int round)
{
	/* The last of these is what the kernel alone does, and no ledger is as large. */
	static const char * const params[] = {
		"", "ledger_size=4096", "stall_secs=0", "early=0 ledger_size=1",
	};
	const char *p = params[round % 4];
	int next = atomic_load(&soak->epoch) + 1;
	long long from = now_ms();
	bool struck;

	turn_begins("loads the module");
	if (load(p)) {
		fprintf(stderr, "# soak: load with \"%s\": %m\n", p);
		soak->failed_to_load = true;
		turn_ends(from);
		return -1;
	}
	struck = turn_ends(from);
	atomic_fetch_add(&soak->all_loads, 1);
	atomic_store(&soak->early, !strstr(p, "early=0"));
	atomic_store(known_in(next), 0);
	atomic_store(&soak->epoch, next);
	return struck;
}

/*
 * Waits for a storm that has nothing to wait for but this. Without the module there
 * may be none: what is dying may have to wait for the module itself.
 */
static bool await_ripe(bool away)
{
	getting_on(RUNNER, "waits for a storm");
	while (!atomic_load(&soak->ripe) &&
	       !(away && atomic_load(&soak->dying) == CHURNERS)) {
		nap(2 * soak->fork_ms);
		step();
		if (no_use())
			return false;
	}
	return true;
}

/* Waits until somebody is refused by what has been loaded. */
static bool await_refusal(void)
{
	atomic_llong *known = known_in(atomic_load(&soak->epoch));

	getting_on(RUNNER, "waits for a refusal");
	while (!atomic_load(known)) {
		nap(2 * soak->fork_ms);
		step();
		if (no_use() || atomic_load(&soak->not_refused))
			return false;
	}
	return true;
}

/* Without a module: just storms. */
static bool await_storms(void)
{
	long long over = atomic_load(&soak->ended) + CHURNERS;

	getting_on(RUNNER, "waits for storms to be over");
	while (atomic_load(&soak->ended) < over) {
		nap(2 * soak->fork_ms);
		step();
		if (no_use())
			return false;
	}
	return true;
}

/*
 * One round: the module goes, and an init dies in the middle of that; it comes back,
 * and another does; and who forks into what that one left is refused.
 */
static bool one_round(int round)
{
	long long from = now_ms();
	int went, came;

	soak->begun++;
	if (!ko_path())
		return await_storms();
	if (!await_ripe(false))
		return false;
	check_counters();
	spend(STORMING, &from);
	went = away();
	if (went < 0)
		return false;
	spend(UNLOADING, &from);
	step();
	if (!await_ripe(true))
		return false;
	spend(RIPENING, &from);
	came = back(round);
	if (came < 0)
		return false;
	spend(LOADING, &from);
	if (came && !await_refusal())
		return false;
	spend(STORMING, &from);
	if (went && came)
		atomic_fetch_add(&soak->loads, 1);
	else
		soak->missed++;
	return true;
}

/* A slow machine may come to the last of them in a later round only. */
static bool all_seen(void)
{
	int i;

	for (i = 0; i < KINDS; i++)
		if (!atomic_load(&soak->storms[i]))
			return false;
	for (i = 0; i < DISTURBANCES; i++)
		if (!soak->absent[i] && !atomic_load(&soak->switched[i]))
			return false;
	return true;
}

/* Whether there is to be another round: some do not count, and some see little. */
static bool lacks(int rounds, int done)
{
	if (done < rounds)
		return true;
	if (done >= 2 * (rounds + DISTURBANCES))
		return false;
	return !all_seen() || (ko_path() && atomic_load(&soak->loads) < rounds);
}

/* Everything at once, for so long. False if it did not come to its end. */
static bool session(struct box *b, int rounds, long long ms, int many)
{
	pid_t pids[ACTORS], living;
	int fd[ACTORS], alive[2], i, status, livingfd;
	long long end = now_ms() + ms;
	bool good = true;
	char c;

	atomic_store(&soak->stop, false);
	if (pipe2(alive, O_CLOEXEC))
		return false;
	living = fork_into(b->in, CLONE_NEWPID, &livingfd);
	if (!living) {
		close(alive[1]);
		_exit(live(1, alive[0]));
	}
	for (i = CHURNER; i <= DISTURBER; i++) {
		pids[i] = fork_into(b->out, 0, &fd[i]);
		if (!pids[i]) {
			close(alive[1]);
			if (i == DISTURBER)
				disturb();
			churn(i, i == CHURNER ? many : 0);
		}
		if (pids[i] < 0)
			return false;
	}
	before_all_others();
	/* The first that die, die with the module; and some of them are asked. */
	while (!atomic_load(&soak->refused) && !no_use())
		nap(2 * soak->fork_ms);
	atomic_store(&soak->loads, 0);
	for (i = 0; good && (now_ms() < end || lacks(rounds, i)); i++)
		good = one_round(i);

	atomic_store(&soak->stop, true);
	if (write(soak->steps[1], "x", 1) != 1)
		good = false;
	getting_on(RUNNER, "waits for the last storms");
	for (i = CHURNER; i <= DISTURBER; i++) {
		if (waitpid(pids[i], &status, 0) != pids[i] || status) {
			fprintf(stderr, "# soak: %s ended with %x\n", actor_name[i], status);
			good = false;
		}
		close(fd[i]);
		atomic_store(&soak->act[i].beat, 0);
	}
	while (readable(soak->steps[0], 0) && read(soak->steps[0], &c, 1) == 1)
		;
	atomic_store(&soak->given, atomic_load(&soak->taken));
	getting_on(RUNNER, "waits for those who live");
	close(alive[1]);
	close(alive[0]);
	if (waitpid(living, &status, 0) != living || status)
		atomic_fetch_add(&soak->living_wrong, 1);
	atomic_store(&soak->act[LIVING].beat, 0);
	close(livingfd);
	return good;
}

/* --- What is left */

static long long field(const char *name)
{
	char buf[8192], *p;

	if (read_file("/proc/meminfo", buf, sizeof(buf)) <= 0)
		return -1;
	p = strstr(buf, name);
	return p ? atoll(p + strlen(name)) : -1;
}

static long long memory(void)
{
	write_text("/proc/sys/vm/drop_caches", "3");
	return field("MemAvailable:");
}

/* Processes in other namespaces than ours. */
static int elsewhere(void)
{
	struct stat own, st;
	struct dirent *d;
	char path[300];
	int n = 0;
	DIR *dir;

	dir = opendir("/proc");
	if (!dir || stat("/proc/self/ns/pid", &own))
		return -1;
	while ((d = readdir(dir))) {
		if (d->d_name[0] < '0' || d->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/ns/pid", d->d_name);
		n += !stat(path, &st) && st.st_ino != own.st_ino;
	}
	closedir(dir);
	return n;
}

/*
 * Whether all namespaces are given back: if there may be no more than a few, is
 * there room for one?
 */
static bool room_for_one(void)
{
	static const char file[] = "/proc/sys/user/max_pid_namespaces";
	long long end = now_ms() + SETTLE_MS;
	int status;
	char was[32];
	bool room;
	pid_t pid;

	if (read_file(file, was, sizeof(was)) <= 0)
		return true;
	write_text(file, "40");
	do {
		nap(50);
		pid = fork();
		if (!pid)
			_exit(unshare(CLONE_NEWPID) != 0);
		room = pid > 0 && waitpid(pid, &status, 0) == pid && !status;
	} while (!room && now_ms() < end);
	write_text(file, was);
	return room;
}

/* In ms, and at least 2. */
static int time_of_fork(void)
{
	long long start = now_ms();
	pid_t pid;
	int i;

	for (i = 0; i < 16; i++) {
		pid = fork();
		if (!pid)
			_exit(0);
		waitpid(pid, NULL, 0);
	}
	return 2 + (now_ms() - start) / 16;
}

static void run(struct box *b)
{
	long long end, ms = is_long() ? setting("PIDNS_SOAK_MINUTES", 0) * 60000LL : SHORT_MS;
	int before = elsewhere(), many;

	many = setting("PIDNS_SOAK_MANY",
		       !is_long() ? SHORT_MANY : is_slow() ? SLOW_MANY : LONG_MANY);
	soak->rounds = setting("PIDNS_SOAK_ROUNDS", 1);
	soak->memory_allowed = MEMORY_KB;
	if (file_mentions("/proc/kallsyms", " kasan_quarantine_reduce"))
		soak->memory_allowed += field("MemTotal:") / KASAN_KEEPS;
	if (ko_path() && reload("")) {
		fprintf(stderr, "# soak: the first load: %m\n");
		soak->failed_to_load = true;
		return;
	}
	atomic_store(&soak->early, ko_path());
	soak->ran = session(b, is_long() ? 2 * DISTURBANCES : 2, 0, many);
	getting_on(RUNNER, "looks at the memory");
	nap(500);
	soak->memory_before = memory();
	if (soak->ran)
		soak->ran = session(b, soak->rounds, ms, many);
	getting_on(RUNNER, "looks at what is left");
	end = now_ms() + SETTLE_MS;
	do {
		nap(200);
		soak->left = elsewhere() - before;
		soak->memory_after = memory();
	} while ((soak->left || soak->memory_after + soak->memory_allowed < soak->memory_before) &&
		 now_ms() < end);
	soak->namespaces_kept = !room_for_one();
}

/* --- The watch */

/* Whether somebody hangs; it is said who, and where all of them are. */
static bool hangs(struct box *b)
{
	long long patience = is_long() ? LONG_HANG_MS : SHORT_HANG_MS;
	int i;

	if (patience < HANG_FORKS * soak->fork_ms)
		patience = HANG_FORKS * soak->fork_ms;

	for (i = 0; i < ACTORS; i++) {
		long long beat = atomic_load(&soak->act[i].beat);

		if (beat && now_ms() - beat > patience)
			break;
	}
	if (i == ACTORS)
		return false;
	fprintf(stderr, "# soak: %s has not got on for %lld s: %s\n", actor_name[i],
		patience / 1000, soak->act[i].doing);
	show_stacks(b->out);
	return true;
}

static void progress(const char *what, long long ms)
{
	long long spaces = atomic_load(&soak->namespaces);
	long long forks = atomic_load(&soak->forks) + atomic_load(&soak->living_forks);
	long long loads = atomic_load(&soak->loads);
	double s = ms / 1000.0;

	fprintf(stderr, "# soak: %s%.0f s: %lld rounds of load and unload (%.2f/s), %lld storms, ",
		what, s, loads, loads / s, (long long)atomic_load(&soak->ended));
	fprintf(stderr, "%lld namespaces (%.1f/s), %lld forks (%.0f/s), ", spaces, spaces / s,
		forks, forks / s);
	fprintf(stderr, "CPU 1 off %lld times, tracers on %lld times\n",
		(long long)atomic_load(&soak->switched[HOTPLUG]),
		(long long)(atomic_load(&soak->switched[FUNCTION]) +
			    atomic_load(&soak->switched[GRAPH]) +
			    atomic_load(&soak->switched[KPROBES])));
}

static void count_lines(struct kmsg *k)
{
	char line[KMSG_LINE];

	while (kmsg_next(k, line, 0))
		soak->lines++;
}

static int run_and_watch(void)
{
	long long start = now_ms(), said = start, s, n;
	struct kmsg k;
	struct box b;
	int fd, status;
	pid_t pid;

	soak = mmap(NULL, sizeof(*soak), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (soak == MAP_FAILED || pipe2(soak->steps, O_CLOEXEC) ||
	    pipe2(soak->wanted, O_CLOEXEC | O_NONBLOCK) || box_open(&b) || kmsg_open(&k, 0))
		return -1;
	soak->fork_ms = time_of_fork();
	if (patience_ms < PATIENCE_FORKS * soak->fork_ms)
		patience_ms = PATIENCE_FORKS * soak->fork_ms;
	pid = fork_into(b.out, 0, &fd);
	if (!pid) {
		run(&b);
		_exit(0);
	}
	while (pid > 0 && !readable(fd, 500)) {
		count_lines(&k);
		if (now_ms() - said >= PROGRESS_MS) {
			said = now_ms();
			progress("", said - start);
		}
		soak->hung = hangs(&b);
		if (soak->hung)
			break;
	}
	if (pid < 0 || soak->hung || waitpid(pid, &status, 0) != pid || status)
		soak->ran = false;
	if (!access(CPU1, W_OK))
		write_text(CPU1, "1");
	count_lines(&k);
	close(k.fd);
	close(fd);
	progress("in all, ", now_ms() - start);
	s = (now_ms() - start) / 1000 + 1;
	n = atomic_load(&soak->all_loads);
	/*
	 * Each load may say so, what it has found, that it goes, and why ten
	 * forks were refused; and then there is one refusal a second.
	 */
	soak->lines_allowed = 13 * (n + 1) + s;
	fprintf(stderr, "# soak: memory %+lld kB, %lld lines in the log (%lld are allowed), ",
		soak->memory_after - soak->memory_before, soak->lines, soak->lines_allowed);
	fprintf(stderr, "%lld namespaces died at once\n", (long long)atomic_load(&soak->at_once));
	if (n)
		fprintf(stderr,
			"# soak: ms of a fork: %d, and of a round: storms %lld, unload %lld, ",
			soak->fork_ms, soak->spent[STORMING] / n, soak->spent[UNLOADING] / n);
	if (n)
		fprintf(stderr, "next storm %lld, load %lld; %d rounds do not count\n",
			soak->spent[RIPENING] / n, soak->spent[LOADING] / n, soak->missed);
	if (box_close(&b))
		soak->left++;
	sweep(cgroup_root());
	return 0;
}

/* --- What is judged, when all is over */

FIXTURE(soak_storm) {};
FIXTURE_SETUP(soak_storm) { ASSERT_NE(NULL, soak); }
FIXTURE_TEARDOWN(soak_storm) {}

FIXTURE_VARIANT(soak_storm) {
	enum kind kind;
};

FIXTURE_VARIANT_ADD(soak_storm, inside) { .kind = INSIDE };
FIXTURE_VARIANT_ADD(soak_storm, outside) { .kind = OUTSIDE };
FIXTURE_VARIANT_ADD(soak_storm, both) { .kind = BOTH };
FIXTURE_VARIANT_ADD(soak_storm, nested) { .kind = NESTED };
FIXTURE_VARIANT_ADD(soak_storm, many) { .kind = MANY };

/*
 * I2 and I3: zap_pid_ns_processes() waits for all that have a number. What died
 * while the module was away is finished when it is back.
 */
TEST_F(soak_storm, nothing_survives)
{
	EXPECT_LT(0, atomic_load(&soak->storms[variant->kind]));
	EXPECT_EQ(0, atomic_load(&soak->survived[variant->kind]));
}

FIXTURE(soak_switch) {};
FIXTURE_SETUP(soak_switch) { ASSERT_NE(NULL, soak); }
FIXTURE_TEARDOWN(soak_switch) {}

FIXTURE_VARIANT(soak_switch) {
	enum disturbance what;
};

FIXTURE_VARIANT_ADD(soak_switch, function) { .what = FUNCTION };
FIXTURE_VARIANT_ADD(soak_switch, graph) { .what = GRAPH };
FIXTURE_VARIANT_ADD(soak_switch, kprobes) { .what = KPROBES };
FIXTURE_VARIANT_ADD(soak_switch, hotplug) { .what = HOTPLUG };

/* A tracer sees what it is on, whoever else is on it, comes and goes. */
TEST_F(soak_switch, on_and_off)
{
	if (soak->absent[variant->what])
		SKIP(return, "this kernel has none");
	if (!atomic_load(&soak->switched[variant->what]) && some_survived())
		SKIP(return, "the storms were over before");
	EXPECT_LT(0, atomic_load(&soak->switched[variant->what]));
	EXPECT_EQ(0, atomic_load(&soak->unseen[variant->what]));
}

FIXTURE(soak) {};
FIXTURE_SETUP(soak) { ASSERT_NE(NULL, soak); }
FIXTURE_TEARDOWN(soak) {}

/* I1: alloc_pid() has nothing for a dead namespace. */
TEST_F(soak, the_dead_refuse)
{
	EXPECT_LT(0, atomic_load(&soak->refused));
	EXPECT_EQ(0, atomic_load(&soak->not_refused));
}

/* As long as init lives, its namespace and those below are as ever. */
TEST_F(soak, the_living_are_untouched)
{
	if (!atomic_load(&soak->living_forks) && some_survived())
		SKIP(return, "the storms were over before");
	EXPECT_LT(0, atomic_load(&soak->living_forks));
	EXPECT_EQ(0, atomic_load(&soak->living_wrong));
}

/* Not even who nobody knows of. */
TEST_F(soak, nobody_is_left)
{
	EXPECT_EQ(0, soak->left);
}

/* put_pid_ns(): nobody keeps a reference for good. */
TEST_F(soak, namespaces_are_given_back)
{
	EXPECT_FALSE(soak->namespaces_kept);
}

TEST_F(soak, module_comes_and_goes)
{
	if (!ko_path())
		SKIP(return, "no PIDNS_GUARD_KO");
	EXPECT_FALSE(soak->failed_to_load);
	EXPECT_TRUE(soak->ran);
	EXPECT_LE(soak->rounds, atomic_load(&soak->loads));
}

TEST_F(soak, counters_are_plausible)
{
	if (!module_loaded() && !ko_path())
		SKIP(return, "the module is not loaded");
	EXPECT_EQ(0, atomic_load(&soak->implausible));
}

TEST_F(soak, memory_is_back)
{
	EXPECT_LT(0, soak->memory_after);
	EXPECT_LT(soak->memory_before - soak->memory_allowed, soak->memory_after);
}

TEST_F(soak, log_is_not_flooded)
{
	EXPECT_LE(soak->lines, soak->lines_allowed);
}

TEST_F(soak, nobody_hangs)
{
	EXPECT_FALSE(soak->hung);
}

int main(int argc, char **argv)
{
	restore_module_at_exit();
	/* Not where the tests are only listed. */
	if (argc < 2 || strcmp(argv[1], "-l"))
		if (run_and_watch())
			soak = NULL;
	return test_harness_run(argc, argv);
}
