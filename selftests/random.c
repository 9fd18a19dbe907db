// SPDX-License-Identifier: GPL-2.0
/*
 * Writes random programs that do with PID namespaces whatever can be done, runs
 * them, and checks after each step that the kernel keeps its promises: nothing
 * is alive in a dead namespace, nothing is refused in a living one, nobody
 * outside is touched, every wait status is right, and nobody is left.
 *
 * A program depends on its seed only. One that fails is made as short as it can
 * be, and shown.
 *
 * random_actor.h has those who act, random_model.h what may be done and what has
 * to come of it, random_run.h the runs and the oracle, random_write.h the author.
 */
#include <getopt.h>

#include "random_write.h"

#define MAX_WORKERS	16
/* How often a shorter program may succeed before it is held to be good. */
#define ATTEMPTS	3
/* How long it may be made shorter, in seconds. */
#define SHORTEN_SECS	60
/* After how many programs the neighbour is asked to fork. */
#define NEIGHBOURLY	8
/* A worker that has not finished a program for so long is stuck, in seconds. */
#define STUCK_SECS	200

struct options {
	unsigned long long seed;
	unsigned long count;
	int workers, seconds;
	bool verbose, reload, dry;
};

/* What the workers share with their parent. */
struct tally {
	atomic_ulong next, programs, done, skipped;
	atomic_int objections, stop;
	atomic_ullong current[MAX_WORKERS];
};

/* Somebody in a namespace that has nothing to do with any of this. */
struct neighbour {
	pid_t pid;
	int ask, answer;
};

static struct options options = { .seed = 1, .count = 100, .workers = 2 };
static struct tally *tally;
static char home[200];
static int ice_root = -1;

static void usage(void)
{
	puts("random [OPTION...]\n"
	     "\n"
	     "  --seed N      the first program (1); the next one is N + 1\n"
	     "  --count N     how many (100)\n"
	     "  --seconds N   no more than fit into this time\n"
	     "  --workers N   how many at the same time (2)\n"
	     "  --reload      insmod and rmmod in the middle; implies one worker\n"
	     "  --verbose     print each program before it runs\n"
	     "  --dry         and do not run it\n"
	     "\n"
	     "As root. Exit status: 0 if all went well, 1 if not, 2 if it could not be tried.");
}

/* --- The neighbour */

static void live_next_door(int ask, int answer)
{
	int status;
	char c;

	while (read(ask, &c, 1) == 1) {
		pid_t pid = fork();

		if (!pid)
			_exit(7);
		c = pid < 0 ? errno : 0;
		if (pid > 0 && (waitpid(pid, &status, 0) != pid || status != 7 << 8))
			c = EINVAL;
		if (write(answer, &c, 1) != 1)
			_exit(1);
	}
	_exit(3);
}

static int neighbour_arrives(struct neighbour *n)
{
	int ask[2], answer[2], status;
	struct clone_args args = { .flags = CLONE_NEWPID, .exit_signal = SIGCHLD };

	if (pipe(ask) || pipe(answer))
		return -1;
	n->pid = syscall(__NR_clone3, &args, sizeof(args));
	if (!n->pid) {
		pid_t pid = fork();

		/* Nobody but the worker and its parent holds the other ends. */
		if (dup2(ask[0], 0) || dup2(answer[1], 1) != 1)
			_exit(1);
		close_range(3, ~0U, 0);
		if (!pid)
			live_next_door(0, 1);
		close(0);
		_exit(waitpid(pid, &status, 0) == pid && status == 3 << 8 ? 5 : 1);
	}
	close(ask[0]);
	close(answer[1]);
	n->ask = ask[1];
	n->answer = answer[0];
	return n->pid < 0 ? -1 : 0;
}

static void visit_neighbour(struct run *r, struct neighbour *n)
{
	char c = 'f';

	if (write(n->ask, &c, 1) != 1 || !readable(n->answer, r->patience_ms) ||
	    read(n->answer, &c, 1) != 1)
		object(r, "a neighbour in a namespace of its own does not live any more");
	else if (c)
		object(r, "a neighbour in a namespace of its own cannot fork: %s", strerror(c));
}

/* --- A program from its beginning to its end */

/* Everybody goes: those outside, and inits, who take the others with them. */
static void epilogue(struct run *r, unsigned long long seed)
{
	struct world *w = &r->w;
	siginfo_t si;
	int i, nr, level;

	if (!w->loaded && load(""))
		object(r, "insmod: %m");
	w->loaded = true;
	melt(r);
	for (nr = 0; nr < MAX_TASKS; nr++) {
		i = seed & 1 ? nr : MAX_TASKS - 1 - nr;
		level = w->ns[w->proc[i].ns].level;
		if (lives(w, i) && level <= is_init(w, i))
			kill_from_above(r, i);
	}
	settle(r);
	for (i = 0; i < MAX_TASKS && !objected(r); i++)
		while (is_process(w, i) && w->proc[i].life == ZOMBIE && !objected(r))
			if (!release(r, i))
				object(r, "there is nobody to wait for t%d", i);
	if (objected(r))
		return;
	for (i = 0; i < MAX_TASKS; i++)
		if (is_process(w, i) && w->proc[i].fd >= 0)
			judge_exit_code(r, i);
	judge_world(r, true);
	if (!waitid(P_ALL, 0, &si, WEXITED | WNOHANG | __WALL))
		object(r, "a child is left that nobody knows of (pid %d)", si.si_pid);
}

static void group_path(char *path, size_t size, int worker, int group)
{
	snprintf(path, size, "%s/%d.%d", home, worker, group);
}

static void ice_name(char *name, size_t size, int worker)
{
	snprintf(name, size, "%s.%d", strrchr(home, '/') + 1, worker);
}

/* A cgroup that nothing has happened in yet. */
static int open_group(struct run *r, int group)
{
	char path[300];

	group_path(path, sizeof(path), r->worker, group);
	rmdir(path);
	if (mkdir(path, 0755))
		return -1;
	r->group[group] = open(path, O_RDONLY | O_DIRECTORY);
	r->procs[group] = openat(r->group[group], "cgroup.procs", O_RDONLY);
	return r->group[group] < 0 || r->procs[group] < 0 ? -1 : 0;
}

/* However it went: nothing of it stays. */
static int clear_up(struct run *r)
{
	int g, ret = 0;

	r->w.ice = true;
	melt(r);
	for (g = 0; g < GROUPS; g++)
		write_at(r->group[g], "cgroup.freeze", "0");
	/* cgroup.kill alone does not kill a process whose leader has left. */
	for (g = 0; objected(r) && g < MAX_TASKS; g++)
		if (r->w.proc[g].fd >= 0)
			sys_pidfd_signal(r->w.proc[g].fd, SIGKILL);
	close_range(r->first_fd, ~0U, 0);
	if (!objected(r))
		return 0;
	for (g = 0; g < GROUPS; g++)
		write_at(r->group[g], "cgroup.kill", "1");
	while (waitpid(-1, NULL, __WALL) > 0)
		;
	/* Whoever is born into a group that was killed once may be killed, too. */
	for (g = 0; g < GROUPS; g++) {
		close(r->group[g]);
		close(r->procs[g]);
		if (open_group(r, g))
			ret = -1;
	}
	return ret;
}

/* Whether the oracle objects. */
static bool run_program(struct run *r, const struct program *p)
{
	int i;

	*r->objection = 0;
	world_begin(&r->w);
	r->w.live = true;
	r->w.ns[0].fd = r->first_fd - 1;
	for (i = 0; i < MAX_NS; i++)
		atomic_store(&stage->dead[i], 0);
	atomic_store(&stage->late, 0);
	for (i = 0; i < p->nr && !objected(r);)
		i += perform(r, p, i);
	if (!objected(r))
		epilogue(r, p->seed);
	if (clear_up(r)) {
		fprintf(stderr, "random: worker %d: %m\n", r->worker);
		_exit(2);
	}
	return objected(r);
}

/* --- A failing program, made short */

static long long enough;	/* when to be content with what it is */

static bool still_fails(struct run *r, const struct program *p)
{
	int i;

	for (i = 0; i < ATTEMPTS && now_ms() < enough; i++)
		if (run_program(r, p))
			return true;
	return false;
}

/* Leaves out operations, many at first, then one by one. */
static void leave_out(struct run *r, struct program *p)
{
	int chunk, from;

	for (chunk = p->nr / 2; chunk; chunk = chunk > 1 ? chunk / 2 : 0) {
		for (from = p->nr - chunk; from >= 0; from -= chunk) {
			struct program shorter = *p;

			memmove(&shorter.op[from], &p->op[from + chunk],
				(p->nr - from - chunk) * sizeof(p->op[0]));
			shorter.nr -= chunk;
			/* The one before goes with the one behind only if that did. */
			if (from)
				shorter.op[from - 1].with_next &= p->op[from + chunk - 1].with_next;
			if (still_fails(r, &shorter))
				*p = shorter;
			if (from > p->nr - chunk)
				from = p->nr;
		}
	}
}

/* Makes what is left as plain as can be. */
static void make_plain(struct run *r, struct program *p)
{
	static const __u8 with[] = { AS_SIBLING, IN_VFORK, UNSIGNALLED, WITH_TRACER, BY_PIDFD };
	size_t i, j;

	for (i = 0; i < (size_t)p->nr; i++) {
		struct program plain = *p;
		struct op *op = &plain.op[i];

		op->with_next = false;
		if (p->op[i].with_next && still_fails(r, &plain))
			*p = plain;
		for (j = 0; j < ARRAY_SIZE(with); j++) {
			plain = *p;
			op->how &= ~with[j];
			if (p->op[i].how & with[j] && still_fails(r, &plain))
				*p = plain;
		}
		plain = *p;
		if (op->kind == SPAWN) {
			op->how |= OF_MEMORY | OF_FILES;
			if (op->how != p->op[i].how && still_fails(r, &plain))
				*p = plain;
		}
	}
}

static void report(struct run *r, struct program *p)
{
	struct program whole = *p;
	char first[sizeof(r->objection)];
	int before;

	/* What has failed once is soon seen to fail again. */
	r->patience_ms = patience_ms / 4;
	r->patient = LOOKS;
	enough = now_ms() + SHORTEN_SECS * 1000LL;
	memcpy(first, r->objection, sizeof(first));
	printf("random: seed %llu: %s\n", p->seed, first);
	fflush(stdout);
	do {
		before = p->nr;
		leave_out(r, p);
		make_plain(r, p);
	} while (p->nr < before);
	enough += SHORTEN_SECS * 1000LL;
	if (still_fails(r, p)) {
		printf("random: seed %llu, from %d operations to %d:\n", p->seed, whole.nr, p->nr);
		print_program(p);
		printf("  -> %s\n", r->objection);
	} else {
		printf("random: seed %llu, which does not fail each time:\n", p->seed);
		print_program(&whole);
		printf("  -> %s\n", first);
	}
	printf("random: to see it again: selftests/random --seed %llu --count 1%s\n", whole.seed,
	       options.reload ? " --reload" : "");
	fflush(stdout);
}

/* --- Workers */

static int set_stage(void)
{
	int memory = memfd_create("stage", 0);

	if (memory < 0 || ftruncate(memory, sizeof(*stage)) ||
	    mmap(STAGE_ADDRESS, sizeof(*stage), PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED_NOREPLACE, memory, 0) == MAP_FAILED)
		return -1;
	stage->memory = memory;
	stage->program = open("/proc/self/exe", O_RDONLY);
	stage->bell = eventfd(0, EFD_NONBLOCK);
	return stage->program < 0 || stage->bell < 0 ? -1 : 0;
}

static int prepare(struct run *r, int worker)
{
	sigset_t all;
	int i;

	memset(r, 0, sizeof(*r));
	r->worker = worker;
	if (set_stage() || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
		return -1;
	for (i = 0; i < GROUPS; i++) {
		if (open_group(r, i))
			return -1;
	}
	r->ice = -1;
	if (ice_root >= 0) {
		char name[32];

		ice_name(name, sizeof(name), worker);
		mkdirat(ice_root, name, 0755);
		r->ice = openat(ice_root, name, O_RDONLY | O_DIRECTORY);
	}
	/* Who is traced would stop for each signal that comes. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	r->patience_ms = module_loaded() ? 3 * patience_ms : patience_ms / 2;
	r->patient = module_loaded() ? PATIENT_LOOKS : LOOKS;
	/* The last one before those that a program opens. */
	r->first_fd = open("/proc/self/ns/pid", O_RDONLY) + 1;
	return r->first_fd > 0 ? 0 : -1;
}

static void __noreturn work(int worker, struct neighbour *n)
{
	long long end = now_ms() + options.seconds * 1000LL;
	static struct run r;
	unsigned long nr;
	struct program p;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (prepare(&r, worker)) {
		fprintf(stderr, "random: worker %d: %m\n", worker);
		_exit(2);
	}
	while (!atomic_load(&tally->stop) && (!options.seconds || now_ms() < end)) {
		nr = atomic_fetch_add(&tally->next, 1);
		if (nr >= options.count)
			break;
		write_program(&p, options.seed + nr, options.reload);
		atomic_store(&tally->current[worker], p.seed);
		if (options.verbose || options.dry) {
			printf("random: seed %llu\n", p.seed);
			print_program(&p);
			fflush(stdout);
		}
		if (options.dry)
			continue;
		r.done = 0;
		r.skipped = 0;
		run_program(&r, &p);
		atomic_fetch_add(&tally->done, r.done);
		atomic_fetch_add(&tally->skipped, r.skipped);
		if (!objected(&r) && !(nr % NEIGHBOURLY))
			visit_neighbour(&r, n);
		atomic_fetch_add(&tally->programs, 1);
		if (objected(&r)) {
			if (!atomic_exchange(&tally->stop, 1))
				report(&r, &p);
			atomic_fetch_add(&tally->objections, 1);
			break;
		}
	}
	_exit(0);
}

/* The freezer of cgroup v1, where there is one. */
static int find_ice(void)
{
	static const char * const places[] = {
		"/sys/fs/cgroup/freezer", "/dev/shm/freezer",
	};

	if (!access(places[0], F_OK))
		return open(places[0], O_RDONLY | O_DIRECTORY);
	if (mkdir(places[1], 0755) || mount("none", places[1], "cgroup", 0, "freezer"))
		return -1;
	return open(places[1], O_RDONLY | O_DIRECTORY);
}

static int make_home(void)
{
	const char *root = cgroup_root();

	if (!root)
		return -1;
	snprintf(home, sizeof(home), "%s/pidns_random.XXXXXX", root);
	return mkdtemp(home) ? 0 : -1;
}

static void leave_home(void)
{
	char path[300];
	int i, g;

	for (i = 0; i < options.workers; i++) {
		for (g = 0; g < GROUPS; g++) {
			group_path(path, sizeof(path), i, g);
			rmdir(path);
		}
		ice_name(path, sizeof(path), i);
		if (ice_root >= 0)
			unlinkat(ice_root, path, AT_REMOVEDIR);
	}
	if (rmdir(home))
		fprintf(stderr, "random: %s: %m\n", home);
}

/* Waits for the workers, and says how far they are. */
static int watch(pid_t *workers, long long begin)
{
	unsigned long programs, last = 0;
	long long said = begin, moved = begin;
	int i, left = options.workers, status, ret = 0;

	while (left) {
		pid_t pid = waitpid(-1, &status, WNOHANG);

		for (i = 0; pid > 0 && i < options.workers; i++) {
			if (workers[i] != pid)
				continue;
			left--;
			workers[i] = 0;
			if (status) {
				fprintf(stderr, "random: worker %d ended with %#x at seed %llu\n",
					i, status, atomic_load(&tally->current[i]));
				ret = 2;
			}
		}
		if (pid > 0)
			continue;
		usleep(20000);
		programs = atomic_load(&tally->programs);
		if (programs != last)
			moved = now_ms();
		last = programs;
		if (now_ms() - said >= 5000) {
			said = now_ms();
			printf("random: %lu programs, %.1f a second\n", programs,
			       programs * 1000.0 / (said - begin));
			fflush(stdout);
		}
		if (now_ms() - moved > STUCK_SECS * 1000LL && !atomic_load(&tally->stop)) {
			for (i = 0; i < options.workers; i++)
				fprintf(stderr, "random: stuck at seed %llu\n",
					atomic_load(&tally->current[i]));
			return 2;
		}
	}
	return ret;
}

static int parse(int argc, char **argv)
{
	static const struct option names[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "count", required_argument, NULL, 'c' },
		{ "seconds", required_argument, NULL, 't' },
		{ "workers", required_argument, NULL, 'w' },
		{ "reload", no_argument, NULL, 'r' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "dry", no_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 's':
			options.seed = strtoull(optarg, NULL, 0);
			break;
		case 'c':
			options.count = strtoul(optarg, NULL, 0);
			break;
		case 't':
			options.seconds = atoi(optarg);
			break;
		case 'w':
			options.workers = atoi(optarg);
			break;
		case 'r':
			options.reload = true;
			break;
		case 'v':
			options.verbose = true;
			break;
		case 'd':
			options.dry = true;
			break;
		default:
			usage();
			exit(c == 'h' ? 0 : 2);
		}
	}
	if (options.reload || options.verbose || options.dry)
		options.workers = 1;
	return optind < argc || options.workers < 1 || options.workers > MAX_WORKERS ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct neighbour neighbour[MAX_WORKERS] = {};
	pid_t workers[MAX_WORKERS];
	unsigned long done, skipped;
	struct rlimit none = {};
	int i, ret, status;
	long long begin;

	if (argc == 4 && !strcmp(argv[1], ACTOR_ARGUMENT))
		return act_again(atoi(argv[2]), atoi(argv[3]));
	if (parse(argc, argv)) {
		usage();
		return 2;
	}
	tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	setrlimit(RLIMIT_CORE, &none);
	ice_root = find_ice();
	if (tally == MAP_FAILED || make_home()) {
		fprintf(stderr, "random: it cannot be tried: %m\n");
		return 2;
	}
	begin = now_ms();
	for (i = 0; i < options.workers; i++) {
		if (neighbour_arrives(&neighbour[i])) {
			fprintf(stderr, "random: a neighbour: %m\n");
			return 2;
		}
		workers[i] = fork();
		if (!workers[i])
			work(i, &neighbour[i]);
	}
	ret = watch(workers, begin);
	for (i = 0; i < options.workers; i++) {
		close(neighbour[i].ask);
		if (ret)
			kill(neighbour[i].pid, SIGKILL);
		if (waitpid(neighbour[i].pid, &status, 0) != neighbour[i].pid ||
		    (!ret && status != 5 << 8)) {
			printf("random: a neighbour ended with %#x\n", status);
			ret = 1;
		}
	}
	leave_home();
	done = atomic_load(&tally->done);
	skipped = atomic_load(&tally->skipped);
	printf("random: %lu programs in %.1f s, %.1f a second, %d objections; ",
	       atomic_load(&tally->programs), (now_ms() - begin) / 1000.0,
	       atomic_load(&tally->programs) * 1000.0 / (now_ms() - begin + 1),
	       atomic_load(&tally->objections));
	printf("%lu operations, %lu%% of them carried out\n", done + skipped,
	       done + skipped ? done * 100 / (done + skipped) : 100);
	return ret ?: atomic_load(&tally->objections) > 0;
}
