// SPDX-License-Identifier: GPL-2.0
/*
 * Each allocation of the module's load, of its unload and of its files fails in
 * turn. A load then fails with ENOMEM and leaves nothing behind, or goes well, and
 * the module does its work; an unload goes well; and a file never says that there
 * is nothing where there is something.
 *
 * The n-th of the task itself is made to fail, by /proc/thread-self/fail-nth
 * (should_fail_ex() in lib/fault-inject.c), with n from 1 until none is left to
 * fail. Allocations of slabs and of pages are counted apart: a slab that needs
 * a page, or none as there is room in one, would shift the count.
 *
 * PIDNS_FAULTS=START/STEP sets where to begin and how many to leave out.
 */
#include "pidns_module.h"

#define FAULT_SECONDS	3600
#define PRESSURE_SECONDS	600
#define SLAB		"/sys/kernel/debug/failslab/"
#define PAGES		"/sys/kernel/debug/fail_page_alloc/"

FIXTURE(faults) {
	struct box box;
	int nth;		/* our /proc/thread-self/fail-nth */
	unsigned int start, step;
};

FIXTURE_VARIANT(faults) {
	bool pages;
};

FIXTURE_VARIANT_ADD(faults, slab) {
	.pages = false,
};

FIXTURE_VARIANT_ADD(faults, pages) {
	.pages = true,
};

/* What is no fault of the module's is spared: test_modules/spare_faults.c. */
static int spare(void)
{
	const char *dir = getenv("PIDNS_GUARD_TEST_MODULES") ?: "test_modules";
	char path[400];

	if (!access("/sys/module/spare_faults", F_OK))
		return 0;
	snprintf(path, sizeof(path), "%s/spare_faults.ko", dir);
	return load_from(path, "");
}

/* Only allocations of one kind are counted, and of those all. */
static int choose(bool pages)
{
	/* No cache has the flag that it then takes to fail. */
	return write_at(AT_FDCWD, SLAB "cache-filter", pages ? "Y" : "N") ||
		write_at(AT_FDCWD, SLAB "ignore-gfp-wait", "N") ||
		write_at(AT_FDCWD, PAGES "ignore-gfp-wait", "N") ||
		write_at(AT_FDCWD, PAGES "ignore-gfp-highmem", "N") ||
		write_at(AT_FDCWD, PAGES "min-order", pages ? "0" : "100") ? -1 : 0;
}

FIXTURE_SETUP(faults)
{
	const char *env = getenv("PIDNS_FAULTS") ?: "1/97";

	if (!ko_path())
		SKIP(return, "no PIDNS_GUARD_KO");
	self->nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (self->nth < 0 || access(SLAB, F_OK) || access(PAGES, F_OK))
		SKIP(return, "the kernel injects no faults");
	ASSERT_TRUE(sscanf(env, "%u/%u", &self->start, &self->step) == 2);
	ASSERT_GT(self->start, 0U);
	ASSERT_GT(self->step, 0U);
	/* There are fewer pages. */
	if (variant->pages)
		self->step = 1 + self->step / 8;
	ASSERT_EQ(0, spare());
	ASSERT_EQ(0, box_open(&self->box));
	ASSERT_EQ(0, choose(variant->pages));
	if (module_loaded())
		ASSERT_EQ(0, unload());
}

FIXTURE_TEARDOWN(faults)
{
	if (!self->step)
		return;
	EXPECT_EQ(0, box_close(&self->box));
	if (module_loaded())
		EXPECT_EQ(0, unload());
	syscall(__NR_delete_module, "spare_faults", O_NONBLOCK);
}

/* From now on the @n-th allocation of the caller fails; with 0, none. */
static void arm(int nth, unsigned int n)
{
	char buf[16];
	int len = snprintf(buf, sizeof(buf), "%u", n);

	if (pwrite(nth, buf, len, 0) != len)
		fprintf(stderr, "# fail-nth: %m\n");
}

/* Whether it has failed; from now on none does. */
static bool failed(int nth)
{
	char buf[16] = "";
	int saved = errno;
	bool has;

	has = pread(nth, buf, sizeof(buf) - 1, 0) > 0 && !atoi(buf);
	arm(nth, 0);
	errno = saved;
	return has;
}

/* Memory that is taken from all others. */
struct pressure {
	void *eaten;
	size_t size;
};

static bool squeeze(struct pressure *p, long long leave_kb)
{
	p->size = (mem_available_kb() - leave_kb) * 1024;
	p->eaten = mmap(NULL, p->size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	/* Nor is each child to take as much for its page tables. */
	if (p->eaten != MAP_FAILED && !madvise(p->eaten, p->size, MADV_DONTFORK))
		return true;
	p->size = 0;
	return false;
}

static void relieve(struct pressure *p)
{
	if (p->size)
		munmap(p->eaten, p->size);
	p->size = 0;
}

/* What came of a look at the module's work. */
enum work { WORKS, NO_MEMORY, BROKEN, NOT_REFUSED, NOT_KILLED, HANGS };

static const char * const work_names[] = {
	[WORKS] = "it works",
	[NO_MEMORY] = "there is no memory to look at it",
	[BROKEN] = "it cannot be looked at",
	[NOT_REFUSED] = "the fork was not refused by it",
	[NOT_KILLED] = "the member was not killed by it",
	[HANGS] = "who looks at it comes to no end",
};

static enum work cannot(void)
{
	return errno == ENOMEM ? NO_MEMORY : BROKEN;
}

static enum work see_it_work(void)
{
	int status = 0;
	pid_t pid;

	if (unshare(CLONE_NEWPID))
		return cannot();
	pid = fork();
	if (!pid) {
		pid = fork();
		if (!pid)
			forever();
		_exit(pid > 0 ? WORKS : cannot());
	}
	if (pid < 0)
		return cannot();
	/* It goes when its member has gone. */
	if (waitpid(pid, &status, 0) != pid || status)
		return WIFEXITED(status) ? WEXITSTATUS(status) : BROKEN;
	pid = fork();
	if (!pid)
		_exit(0);
	return pid < 0 && errno == ENOMEM ? WORKS : NOT_REFUSED;
}

/* Who waits for memory goes on when there is some again. */
static enum work look_at_work(struct box *b, struct pressure *p)
{
	int status, fd = -1;
	bool ended;
	pid_t pid;

	pid = fork_into(b->out, 0, &fd);
	if (!pid)
		_exit(see_it_work());
	if (pid < 0)
		return cannot();
	ended = readable(fd, patience_ms);
	if (!ended && p) {
		relieve(p);
		ended = readable(fd, patience_ms);
	}
	if (!ended) {
		show_stacks(b->out);
		kill(pid, SIGKILL);
	}
	close(fd);
	if (waitpid(pid, &status, 0) != pid || !ended)
		return HANGS;
	return WIFEXITED(status) ? WEXITSTATUS(status) : BROKEN;
}

/*
 * Loaded with a fault or without, the module refuses, and kills what is there. Where
 * memory is short, who looks at that may lack it too, and then looks again.
 */
static bool does_its_work(struct box *b, struct pressure *p)
{
	struct counters before, now;
	enum work found;
	bool counts;

	/* There may have been no memory for them, which is no reason not to load. */
	counts = !read_counters(&before);
	found = look_at_work(b, p);
	if (found == WORKS && counts) {
		if (read_counters(&now))
			found = NO_MEMORY;
		else if (now.killed == before.killed)
			found = NOT_KILLED;
		else if (now.refused == before.refused)
			found = p ? NO_MEMORY : NOT_REFUSED;
	}
	if (found == NO_MEMORY && p) {
		relieve(p);
		return does_its_work(b, NULL);
	}
	if (found != WORKS)
		fprintf(stderr, "# %s\n", work_names[found]);
	return found == WORKS;
}

/* Whether it said so: the kernel does not, where it has not come to call the module. */
static bool said_why(struct kmsg *k)
{
	char line[KMSG_LINE];
	bool said = false;

	while (kmsg_next(k, line, 0))
		said |= !strcmp(line, "out of memory: not loaded");
	return said;
}

/* I1 and I2, or no module at all: load_module() in kernel/module/main.c. */
TEST_F_TIMEOUT(faults, each_allocation_of_load, FAULT_SECONDS)
{
	int refused = 0, by_module = 0, works = 0, ret, ko;
	struct kmsg k;
	unsigned int n;
	bool fault = true;

	ko = open(ko_path(), O_RDONLY | O_CLOEXEC);
	ASSERT_GE(ko, 0);
	ASSERT_EQ(0, kmsg_open(&k, 0));
	for (n = self->start; fault; n += self->step) {
		arm(self->nth, n);
		ret = syscall(__NR_finit_module, ko, "", 0);
		fault = failed(self->nth);
		if (ret) {
			EXPECT_EQ(ENOMEM, errno)
				TH_LOG("allocation %u: %s", n, strerror(errno));
			EXPECT_TRUE(fault);
			refused++;
			by_module += said_why(&k);
		} else {
			EXPECT_TRUE(does_its_work(&self->box, NULL))
				TH_LOG("allocation %u", n);
			ASSERT_EQ(0, unload());
			works += fault;
			EXPECT_FALSE(said_why(&k));
		}
		ASSERT_TRUE(nothing_left())
			TH_LOG("allocation %u", n);
	}
	if (refused + works)
		TH_LOG("%u allocations; of %d that failed, %d kept it from loading, %d in its init",
		       n - self->step, refused + works, refused, by_module);
	else
		TH_LOG("nothing left to fail from allocation %u on", self->start);
	/* It cannot do without the first, but perhaps without all from a later one on. */
	if (self->start == 1)
		EXPECT_GT(refused, 0);
}

/* Whoever has no memory can still unload it: free_module() in kernel/module/main.c. */
TEST_F_TIMEOUT(faults, each_allocation_of_unload, FAULT_SECONDS)
{
	bool fault = true;
	unsigned int n;
	int ret;

	/* There are few. */
	for (n = 1; fault; n += 1 + self->step / 20) {
		ASSERT_EQ(0, load(""));
		arm(self->nth, n);
		ret = unload();
		fault = failed(self->nth);
		ASSERT_EQ(0, ret)
			TH_LOG("allocation %u: %s", n, strerror(errno));
		ASSERT_TRUE(nothing_left())
			TH_LOG("allocation %u", n);
	}
	TH_LOG("%u allocations", n - 1);
}

static void init_of_traced(struct box *b, void *arg)
{
	(void)arg;
	member(b, "traced");
	announce(b, READY);
	forever();
}

/* All that the file has, or -1; each_allocation_of_files() makes it fail. */
static ssize_t read_faulty(int nth, unsigned int n, const char *path, char *buf, size_t size,
			   bool *fault)
{
	ssize_t got = -1, done = 0;
	int fd;

	buf[0] = 0;
	arm(nth, n);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && (got = read(fd, buf + done, size - 1 - done)) > 0)
		done += got;
	*fault = failed(nth);
	if (fd >= 0)
		close(fd);
	buf[done] = 0;
	return got < 0 ? -1 : done;
}

/* One teardown is held: whoever asks for it learns of that, or that he does not. */
TEST_F_TIMEOUT(faults, each_allocation_of_files, FAULT_SECONDS)
{
	static const struct {
		const char *name, *good, *bad;
	} files[] = {
		{ "counters", "stragglers_killed ", NULL },
		{ "teardowns", "held by its tracer", "out of memory: no more is known\n" },
		{ "teardowns.json", "\"reason\":\"traced\"", "{\"error\":\"ENOMEM\"}\n" },
	};
	char path[80], buf[16384];
	struct box *b = &self->box;
	unsigned int n;
	size_t i;

	ASSERT_EQ(0, load("stall_secs=0"));
	ASSERT_EQ(0, box_spawn(b, 0, init_of_traced, NULL));
	ASSERT_EQ(0, box_collect(b, 2));
	ASSERT_EQ(0, ptrace(PTRACE_SEIZE, b->m[0].pid, NULL, NULL));
	ASSERT_EQ(0, kill(b->init, SIGKILL));
	ASSERT_EQ(0, box_wait_zap(b));
	ASSERT_TRUE(readable(b->m[0].fd, patience_ms));

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		int whole = 0, said = 0, errors = 0;
		bool fault = true;

		snprintf(path, sizeof(path), GUARD_DIR "/%s", files[i].name);
		for (n = 1; fault; n++) {
			ssize_t ret = read_faulty(self->nth, n, path, buf, sizeof(buf), &fault);

			if (ret < 0) {
				EXPECT_EQ(ENOMEM, errno)
					TH_LOG("%s, allocation %u: %s", path, n, strerror(errno));
				EXPECT_TRUE(fault);
				errors++;
			} else if (strstr(buf, files[i].good)) {
				whole++;
			} else {
				said++;
				EXPECT_TRUE(fault && files[i].bad && strstr(buf, files[i].bad))
					TH_LOG("%s, allocation %u: %s", path, n, buf);
			}
		}
		TH_LOG("%s: %d errors, %d times it said so, %d times it was whole",
		       files[i].name, errors, said, whole);
		if (!variant->pages && files[i].bad)
			EXPECT_GT(said, 0);
	}
}

FIXTURE(faults_pressure) {
	struct box box;
	struct pressure pressure;
};

FIXTURE_SETUP(faults_pressure)
{
	if (!ko_path())
		SKIP(return, "no PIDNS_GUARD_KO");
	/* What is eaten up here, those who come next may still lack. */
	if (!getenv("PIDNS_PRESSURE"))
		SKIP(return, "set PIDNS_PRESSURE=1, in a guest of its own");
	ASSERT_EQ(0, box_open(&self->box));
	if (module_loaded())
		ASSERT_EQ(0, unload());
}

FIXTURE_TEARDOWN(faults_pressure)
{
	if (!ko_path() || !getenv("PIDNS_PRESSURE"))
		return;
	relieve(&self->pressure);
	EXPECT_EQ(0, box_close(&self->box));
	if (module_loaded())
		EXPECT_EQ(0, unload());
}

/* Whether it is there or not, it is so in one piece. */
static bool all_or_nothing(struct box *b, struct pressure *p)
{
	bool good;

	if (!module_loaded())
		return nothing_left();
	good = does_its_work(b, p);
	return !unload() && nothing_left() && good;
}

/* Memory is short for all: what there is has to be taken from caches. */
TEST_F_TIMEOUT(faults_pressure, of_all, PRESSURE_SECONDS)
{
	/*
	 * A load takes 3 MB, and on a debug kernel many times as much, which also
	 * keeps back what is freed. Without any to be had the OOM killer would come.
	 */
	bool debug = !access("/sys/kernel/debug/kmemleak", F_OK);
	long long leave_kb = (debug ? 256 : 10) * 1024;
	struct pressure *p = &self->pressure;
	int i, loaded = 0, relieved = 0;

	for (i = 0; i < 5; i++) {
		if (!p->size)
			ASSERT_TRUE(squeeze(p, leave_kb));
		if (load("ledger_size=4096"))
			EXPECT_EQ(ENOMEM, errno);
		loaded += module_loaded();
		ASSERT_TRUE(all_or_nothing(&self->box, p));
		relieved += !p->size;
	}
	TH_LOG("%d of %d loaded, with %lld kB available; to see %d at work took more",
	       loaded, i, leave_kb, relieved);
}

/* Memory is short for the one who loads it: he is killed in the middle, or he is not. */
TEST_F_TIMEOUT(faults_pressure, of_loader, PRESSURE_SECONDS)
{
	int i, status, killed = 0, loaded = 0, dir = self->box.in;
	char room[16], enabled[256];

	ASSERT_EQ(0, fchdir(self->box.out));
	read_file("../../cgroup.subtree_control", enabled, sizeof(enabled));
	if (write_at(AT_FDCWD, "../../cgroup.subtree_control", "+memory") ||
	    write_at(AT_FDCWD, "../cgroup.subtree_control", "+memory"))
		SKIP(return, "no memory controller");
	for (i = 0; i < 16; i++) {
		pid_t pid;

		snprintf(room, sizeof(room), "%d", 4096 * i);
		ASSERT_EQ(0, write_at(dir, "memory.max", room));
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid) {
			write_at(dir, "cgroup.procs", "0");
			_exit(load("") ? 1 : 0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		killed += WIFSIGNALED(status);
		loaded += module_loaded();
		ASSERT_TRUE(all_or_nothing(&self->box, NULL))
			TH_LOG("room for %s bytes", room);
	}
	TH_LOG("%d loaders killed, %d of %d loaded", killed, loaded, i);
	EXPECT_EQ(0, chdir("/"));
	if (!strstr(enabled, "memory"))
		write_at(AT_FDCWD, "/sys/fs/cgroup/cgroup.subtree_control", "-memory");
}

int main(int argc, char **argv)
{
	restore_module_at_exit();
	return test_harness_run(argc, argv);
}
