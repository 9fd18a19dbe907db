/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For tests that load the module themselves, with parameters of their own, and
 * for those that read what it tells.
 *
 * PIDNS_GUARD_KO is the path of the module.
 */
#ifndef __PIDNS_MODULE_H
#define __PIDNS_MODULE_H

#include <stdarg.h>

#include "pidns_json.h"
#include "pidns_test.h"

#define GUARD_DIR	"/sys/kernel/debug/pidns_guard"
#define TRACEFS		"/sys/kernel/tracing"

static inline const char *ko_path(void)
{
	const char *ko = getenv("PIDNS_GUARD_KO");

	return ko && *ko ? ko : NULL;
}

static inline int load_from(const char *ko, const char *params)
{
	int fd, ret, saved;

	fd = open(ko, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "# %s: %m\n", ko);
		return -1;
	}
	ret = syscall(__NR_finit_module, fd, params, 0);
	saved = errno;
	close(fd);
	errno = saved;
	return ret;
}

static inline int load(const char *params)
{
	return load_from(ko_path(), params);
}

static inline int unload(void)
{
	int tries = 1000, ret;

	/* Whoever has one of its files open is reading it, and soon through. */
	while ((ret = syscall(__NR_delete_module, "pidns_guard", O_NONBLOCK)) &&
	       errno == EWOULDBLOCK && --tries)
		usleep(1000);
	return ret;
}

/* Loads it anew, with other parameters. */
static inline int reload(const char *params)
{
	if (module_loaded() && unload())
		return -1;
	return load(params);
}

static inline void restore_module(void)
{
	if (!module_loaded() && load(""))
		fprintf(stderr, "# the module could not be loaded again: %m\n");
}

/*
 * For main(): when the tests are over the module is there again, if it was. The
 * harness ends by exit(), its children by _exit().
 */
static inline void restore_module_at_exit(void)
{
	if (module_loaded() && ko_path())
		atexit(restore_module);
}

/* Whether a line of a file has @what in it. */
static inline bool file_mentions(const char *path, const char *what)
{
	FILE *f = fopen(path, "re");
	bool found = false;
	char line[1024];

	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, what);
	if (f)
		fclose(f);
	return found;
}

static inline long long mem_available_kb(void)
{
	char buf[4096], *p;

	if (read_file("/proc/meminfo", buf, sizeof(buf)) <= 0)
		return 0;
	p = strstr(buf, "MemAvailable:");
	return p ? atoll(p + 13) : 0;
}

/* Nothing of the module is in the kernel; what there is, is named. */
static inline bool nothing_left(void)
{
	static const char * const paths[] = {
		"/sys/module/pidns_guard", GUARD_DIR, TRACEFS "/events/pidns_guard",
	};
	static const char * const files[][2] = {
		{ TRACEFS "/enabled_functions", "pidns_guard" },
		{ TRACEFS "/enabled_functions", "zap_pid_ns_processes" },
		{ "/sys/kernel/debug/kprobes/list", "zap_pid_ns_processes" },
		{ "/proc/kallsyms", "[pidns_guard]" },
	};
	bool nothing = true;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(paths); i++) {
		if (access(paths[i], F_OK))
			continue;
		fprintf(stderr, "# left: %s\n", paths[i]);
		nothing = false;
	}
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		if (!file_mentions(files[i][0], files[i][1]))
			continue;
		fprintf(stderr, "# left: %s in %s\n", files[i][1], files[i][0]);
		nothing = false;
	}
	return nothing;
}

/* What the module says in the kernel log, from a certain place on. */
struct kmsg {
	int fd;
	unsigned long long from;	/* sequence number */
};

#define KMSG_LINE	1024

/*
 * The next line of the module's, without its prefix; false if there is none
 * within @ms.
 */
static inline bool kmsg_next(struct kmsg *k, char *line, int ms)
{
	static const char prefix[] = "pidns_guard: ";
	long long end = now_ms() + ms;
	unsigned long long seq;
	char buf[8192], *p;
	ssize_t n;

	for (;;) {
		n = read(k->fd, buf, sizeof(buf) - 1);
		if (n < 0 && errno == EPIPE)
			continue;
		if (n < 0) {
			int left = end - now_ms();

			if (errno != EAGAIN || left <= 0 || !readable(k->fd, left))
				return false;
			continue;
		}
		/* priority,sequence,time,flags;text, and what is no text is \xNN */
		buf[n] = 0;
		p = strchr(buf, ';');
		if (!p || sscanf(buf, "%*u,%llu", &seq) != 1 || seq < k->from)
			continue;
		k->from = seq + 1;
		if (strncmp(++p, prefix, sizeof(prefix) - 1))
			continue;
		p += sizeof(prefix) - 1;
		for (n = 0; *p && *p != '\n' && n < KMSG_LINE - 1; n++) {
			unsigned int byte;

			if (sscanf(p, "\\x%2x", &byte) == 1) {
				line[n] = byte;
				p += 4;
			} else {
				line[n] = *p++;
			}
		}
		line[n] = 0;
		return true;
	}
}

/* Opens the log at its end, or at a place where another one was. */
static inline int kmsg_open(struct kmsg *k, unsigned long long from)
{
	char line[KMSG_LINE];

	k->fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	k->from = from;
	if (k->fd < 0)
		return -1;
	while (!from && kmsg_next(k, line, 0))
		;
	return 0;
}

/* Waits for a line that begins with @want. */
static inline bool kmsg_wait(struct kmsg *k, const char *want, char *line)
{
	long long end = now_ms() + patience_ms;

	while (kmsg_next(k, line, end - now_ms()))
		if (!strncmp(line, want, strlen(want)))
			return true;
	fprintf(stderr, "# not in the kernel log: %s\n", want);
	return false;
}

/* How many lines come that begin with @want, up to now. */
static inline int kmsg_count(struct kmsg *k, const char *want)
{
	char line[KMSG_LINE];
	int n = 0;

	while (kmsg_next(k, line, 0))
		n += !strncmp(line, want, strlen(want));
	return n;
}

/* The whole of a file of the module's in debugfs; to be freed. */
static inline char *guard_file(const char *name)
{
	size_t size = 4096, done = 0;
	char path[64], *text;
	ssize_t n;
	int fd;

	if (access(GUARD_DIR, F_OK))
		mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	snprintf(path, sizeof(path), "%s/%s", GUARD_DIR, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	text = fd < 0 ? NULL : malloc(size);
	while (text && (n = read(fd, text + done, size - done - 1)) > 0) {
		done += n;
		if (done == size - 1) {
			size *= 2;
			text = realloc(text, size);
		}
	}
	if (text)
		text[done] = 0;
	if (fd >= 0)
		close(fd);
	return text;
}

/*
 * teardowns.json: one line for each teardown, newest first. NULL if any of it
 * is no JSON.
 */
static inline char *read_ledger(void)
{
	char *text = guard_file("teardowns.json"), *line, *end;

	for (line = text; line && *line; line = end + 1) {
		end = strchr(line, '\n');
		if (!end || json_end(line) != end) {
			fprintf(stderr, "# no JSON: %.*s\n", end ? (int)(end - line) : 80, line);
			free(text);
			return NULL;
		}
	}
	return text;
}

/* The line of the namespace @pidns whose init was @init; NULL if there is none. */
static inline const char *ledger_line(const char *ledger, unsigned int pidns, pid_t init)
{
	const char *line;

	for (line = ledger; line && *line; line = strchr(line, '\n') + 1)
		if (json_is(line, "pidns", "%u", pidns) &&
		    json_is(json_member(line, "init"), "pid", "%d", init))
			return line;
	return NULL;
}

/* How many teardowns it has. */
static inline int ledger_lines(const char *ledger)
{
	int n = 0;

	while (ledger && *ledger) {
		ledger = strchr(ledger, '\n') + 1;
		n++;
	}
	return n;
}

/*
 * Waits until init has been reaped as the ledger sees it, which is a grace
 * period after that.
 */
static inline bool ledger_wait_left(unsigned int pidns, pid_t init)
{
	long long end = now_ms() + patience_ms;
	bool found, left;
	char *ledger;

	do {
		const char *line;

		ledger = read_ledger();
		line = ledger_line(ledger, pidns, init);
		found = line;
		left = line && !json_is(line, "left_us", "null");
		free(ledger);
	} while (found && !left && now_ms() < end);
	return left;
}

static inline unsigned int ns_number(int nsfd)
{
	struct stat st;

	return fstat(nsfd, &st) ? 0 : st.st_ino;
}

#endif /* __PIDNS_MODULE_H */
