// SPDX-License-Identifier: GPL-2.0
/*
 * After the death: forks are refused for as long as anyone can reach the
 * namespace, however and however late; and all of it is given back when nobody
 * can.
 *
 * The object itself is counted where it is made and where it is freed
 * (create_pid_namespace() and delayed_free_pidns() in kernel/pid_namespace.c),
 * and each PID holds its namespace: while there is one of either, the count of
 * the user namespace says so, and its limit can be felt.
 */
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "pidns_ways.h"

#ifndef NS_GET_PID_FROM_PIDNS
#define NS_GET_PID_FROM_PIDNS	_IOR(NSIO, 0x6, int)
#define NS_GET_TGID_FROM_PIDNS	_IOR(NSIO, 0x7, int)
#define NS_GET_PID_IN_PIDNS	_IOR(NSIO, 0x8, int)
#define NS_GET_TGID_IN_PIDNS	_IOR(NSIO, 0x9, int)
#endif
#ifndef NS_GET_ID
#define NS_GET_ID		_IOR(NSIO, 13, __u64)
#endif
#ifndef __NR_listns
#define __NR_listns		470
#endif
#define NOBODY			65534

/* Into a user namespace, with a count of PID namespaces of its own. */
static int own_count(void)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return -1;
	return write_at(AT_FDCWD, "/proc/self/uid_map", "0 0 1") ||
	       write_at(AT_FDCWD, "/proc/self/setgroups", "deny") ||
	       write_at(AT_FDCWD, "/proc/self/gid_map", "0 0 1");
}

/* From now on there may be so many there. */
static int limit_namespaces(int n)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", n);
	return write_at(AT_FDCWD, "/proc/sys/user/max_pid_namespaces", text);
}

/*
 * Makes one more. What is not needed any more goes some time later, so that
 * ENOSPC is no answer yet if there is room @due.
 */
static pid_t new_namespace(bool due)
{
	long long end = now_ms() + patience_ms;
	pid_t init;

	do {
		init = fork_with(CLONE_NEWPID);
	} while (due && init < 0 && errno == ENOSPC && now_ms() < end && !sched_yield());
	return init;
}

/* Ways to hold on to a namespace, each the only one that is left. */
struct holder {
	int fd, sock[2];
	pid_t keeper;
	int keeperfd;
	char path[32];
};

FIXTURE(held) {
	struct box box;
	struct holder holder;
};

FIXTURE_VARIANT(held) {
	int (*hold)(struct box *b, struct holder *h);
	int (*reach)(struct holder *h);	/* an fd, in whoever wants to go in */
	void (*drop)(struct holder *h);
	void (*init)(struct box *b, void *arg);
	int count;	/* how many namespaces there are, if not 1 */
	bool unborn;	/* what is held has no init yet */
};

static void drop_fd(struct holder *h)
{
	close(h->fd);
}

static void drop_keeper(struct holder *h)
{
	kill(h->keeper, SIGKILL);
	waitpid(h->keeper, NULL, 0);
	close(h->keeperfd);
}

static int hold_fd(struct box *b, struct holder *h)
{
	h->fd = dup(b->nsfd);
	return h->fd;
}

static int reach_fd(struct holder *h)
{
	return dup(h->fd);
}

FIXTURE_VARIANT_ADD(held, by_fd) {
	.hold = hold_fd, .reach = reach_fd, .drop = drop_fd,
};

/* A mount of its file. */
static int hold_mount(struct box *b, struct holder *h)
{
	char file[64];

	snprintf(h->path, sizeof(h->path), "/tmp/pidns_test.XXXXXX");
	h->fd = mkstemp(h->path);
	close(h->fd);
	snprintf(file, sizeof(file), "/proc/%d/ns/pid", b->init);
	return h->fd < 0 ? -1 : mount(file, h->path, NULL, MS_BIND, NULL);
}

static int reach_mount(struct holder *h)
{
	return open(h->path, O_RDONLY | O_CLOEXEC);
}

static void drop_mount(struct holder *h)
{
	umount(h->path);
	unlink(h->path);
}

FIXTURE_VARIANT_ADD(held, by_mount) {
	.hold = hold_mount, .reach = reach_mount, .drop = drop_mount,
};

/* Somebody whose children would be born there. */
static int hold_children(struct box *b, struct holder *h)
{
	h->keeper = box_keeper(b, -1, &h->keeperfd);
	return h->keeper;
}

static int reach_children(struct holder *h)
{
	return open_children(h->keeper, h->keeper);
}

FIXTURE_VARIANT_ADD(held, by_children) {
	.hold = hold_children, .reach = reach_children, .drop = drop_keeper,
};

/* The same for one thread only, and not for its process. */
static void *thread_keeps(void *arg)
{
	struct box *b = arg;

	if (enter(b->nsfd))
		_exit(1);
	close(b->nsfd);
	close(b->initfd);
	announce(b, READY);
	forever();
	return NULL;
}

static int hold_thread(struct box *b, struct holder *h)
{
	pthread_t t;

	h->keeper = fork_into(b->out, 0, &h->keeperfd);
	if (!h->keeper) {
		if (pthread_create(&t, NULL, thread_keeps, b))
			_exit(1);
		forever();
	}
	return box_collect(b, 1);
}

static int reach_thread(struct holder *h)
{
	struct dirent *d;
	char path[64];
	pid_t tid = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", h->keeper);
	dir = opendir(path);
	while (dir && (d = readdir(dir)))
		if (atoi(d->d_name) > 0 && atoi(d->d_name) != h->keeper)
			tid = atoi(d->d_name);
	closedir(dir);
	return open_children(h->keeper, tid);
}

FIXTURE_VARIANT_ADD(held, by_thread) {
	.hold = hold_thread, .reach = reach_thread, .drop = drop_keeper,
};

/* An open file of somebody else's. */
#define KEPT_FD	100

static int hold_others_fd(struct box *b, struct holder *h)
{
	h->keeper = box_keeper(b, KEPT_FD, &h->keeperfd);
	return h->keeper;
}

static int reach_others_fd(struct holder *h)
{
	return syscall(__NR_pidfd_getfd, h->keeperfd, KEPT_FD, 0);
}

FIXTURE_VARIANT_ADD(held, by_others_fd) {
	.hold = hold_others_fd, .reach = reach_others_fd, .drop = drop_keeper,
};

/* A message that nobody has received. */
union message {
	char buf[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static void message_init(struct msghdr *msg, struct iovec *iov, union message *u)
{
	static char byte;

	*iov = (struct iovec){ .iov_base = &byte, .iov_len = 1 };
	*msg = (struct msghdr){
		.msg_iov = iov, .msg_iovlen = 1,
		.msg_control = u->buf, .msg_controllen = sizeof(u->buf),
	};
}

static int send_fd(int sock, int fd)
{
	union message u = {};
	struct msghdr msg;
	struct iovec iov;

	message_init(&msg, &iov, &u);
	*CMSG_FIRSTHDR(&msg) = (struct cmsghdr){
		.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
		.cmsg_len = CMSG_LEN(sizeof(int)),
	};
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &fd, sizeof(fd));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -1;
}

static int hold_message(struct box *b, struct holder *h)
{
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, h->sock))
		return -1;
	return send_fd(h->sock[0], b->nsfd);
}

/* And sends it on its way again. */
static int reach_message(struct holder *h)
{
	union message u = {};
	struct msghdr msg;
	struct iovec iov;
	int fd;

	message_init(&msg, &iov, &u);
	if (recvmsg(h->sock[1], &msg, MSG_DONTWAIT) != 1 || !CMSG_FIRSTHDR(&msg))
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return send_fd(h->sock[0], fd) ? -1 : fd;
}

static void drop_message(struct holder *h)
{
	close(h->sock[0]);
	close(h->sock[1]);
}

FIXTURE_VARIANT_ADD(held, by_message) {
	.hold = hold_message, .reach = reach_message, .drop = drop_message,
};

/* A namespace below, which has never had a process, and its NS_GET_PARENT. */
static void init_over_unborn(struct box *b, void *arg __maybe_unused)
{
	if (!fork()) {
		if (unshare(CLONE_NEWPID))
			_exit(1);
		announce(b, "maker");
		forever();
	}
	announce(b, READY);
	forever();
}

static int hold_below(struct box *b, struct holder *h)
{
	struct member *maker = &b->m[0];

	h->fd = open_children(maker->pid, maker->pid);
	if (h->fd < 0 || sys_pidfd_signal(maker->fd, SIGKILL) ||
	    !readable(maker->fd, patience_ms))
		return -1;
	close(maker->fd);
	b->nr = 0;
	return 0;
}

static int reach_parent(struct holder *h)
{
	return ioctl(h->fd, NS_GET_PARENT);
}

FIXTURE_VARIANT_ADD(held, by_one_below) {
	.hold = hold_below, .reach = reach_parent, .drop = drop_fd,
	.init = init_over_unborn, .count = 2,
};

/* And that one too is no place to be born in. */
FIXTURE_VARIANT_ADD(held, as_one_below) {
	.hold = hold_below, .reach = reach_fd, .drop = drop_fd,
	.init = init_over_unborn, .count = 2, .unborn = true,
};

FIXTURE_SETUP(held)
{
	struct holder *h = &self->holder;
	struct box *b = &self->box;

	ASSERT_EQ(0, box_open(b));
	ASSERT_EQ(0, own_count());
	ASSERT_EQ(0, box_spawn(b, 0, variant->init ?: init_waits, NULL));
	ASSERT_EQ(0, box_collect(b, variant->count ?: 1));
	ASSERT_GE(variant->hold(b, h), 0);
	ASSERT_EQ(0, limit_namespaces(variant->count ?: 1));
	close(b->nsfd);
	b->nsfd = -1;
}

FIXTURE_TEARDOWN(held)
{
	if (*self->holder.path)
		drop_mount(&self->holder);
	EXPECT_EQ(0, box_close(&self->box));
}

/* Init dies, and is reaped and forgotten: its pidfd holds the namespace too. */
static int box_end(struct box *b)
{
	if (box_kill_init(b))
		return -1;
	close(b->initfd);
	b->initfd = -1;
	return 0;
}

struct reach {
	int (*reach)(struct holder *h);
	struct holder *holder;
};

static int visit_held(struct box *b, void *arg)
{
	struct reach *r = arg;
	int fd = r->reach(r->holder);

	return fd < 0 ? NOT_TRIED : visit_fd(b, &fd);
}

/*
 * I1 for as long as the namespace can be reached: PIDNS_ADDING is never set
 * again in pid_allocated, whatever holds the object.
 */
TEST_F_TIMEOUT(held, refuses, TEST_SECONDS)
{
	struct reach r = { .reach = variant->reach, .holder = &self->holder };
	struct box *b = &self->box;

	/* (An unborn one would get its init by that.) */
	if (!variant->unborn)
		ASSERT_EQ(0, in_child(b, visit_held, &r));
	ASSERT_EQ(0, box_end(b));
	EXPECT_EQ(ENOMEM, in_child(b, visit_held, &r));
	variant->drop(&self->holder);
}

/*
 * The object is counted until the last one lets go of it, and then no more:
 * put_pid_ns(), and destroy_pid_namespace_work() for those above.
 */
TEST_F_TIMEOUT(held, given_back, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_end(b));
	EXPECT_EQ(ENOSPC, outcome(new_namespace(false)));
	variant->drop(&self->holder);
	EXPECT_EQ(0, outcome(new_namespace(true)));
}

FIXTURE(after) {
	struct box box;
};

FIXTURE_SETUP(after)
{
	ASSERT_EQ(0, box_open(&self->box));
}

FIXTURE_TEARDOWN(after)
{
	leave();
	EXPECT_EQ(0, box_close(&self->box));
}

/* Uses up PIDs; false if there is none to be had. */
static bool use_pids(int n)
{
	pid_t pid;

	while (n--) {
		pid = vfork();
		if (!pid)
			_exit(0);
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			return false;
	}
	return true;
}

/* With 20 numbers (RESERVED_PIDS is 300), so that each is used again, and again. */
static void init_of_few(struct box *b, void *arg __maybe_unused)
{
	int dead, i;

	if (write_at(AT_FDCWD, "/proc/sys/kernel/pid_max", "320") ||
	    write_at(AT_FDCWD, "/proc/sys/kernel/ns_last_pid", "299") ||
	    caller_of_dead_ns())
		_exit(NOT_TRIED);
	dead = open_children(outer_pid(), outer_pid());
	if (dead < 0)
		_exit(NOT_TRIED);
	for (i = 0; i < 10; i++) {
		if (outcome(fork()) != ENOMEM)
			_exit(1);
		if (leave() || !use_pids(50) || enter(dead))
			_exit(2);
		announce(b, READY);
	}
	_exit(0);
}

/* I1 however late: 500 processes later, which had the same 20 numbers. */
TEST_F_TIMEOUT(after, long_after, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, box_spawn(b, 0, init_of_few, NULL));
	ASSERT_EQ(0, box_wait_rounds(b));
	EXPECT_EQ(0, b->status);
}

/*
 * I1 goes by the namespace, not by the number of its init: the number, and then
 * some, belongs to the living init of another one. Forks into that one work.
 */
TEST_F_TIMEOUT(after, number_of_init_reused, TEST_SECONDS)
{
	struct box *b = &self->box;
	pid_t tid[2] = { 1 }, heir;
	int heirs;
	struct clone_args args = {
		.flags = CLONE_NEWPID,
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)tid,
		.set_tid_size = 2,
	};

	ASSERT_EQ(0, box_start(b));
	tid[1] = b->init;
	ASSERT_EQ(0, box_kill_init(b));
	heir = sys_clone3(&args);
	if (!heir)
		forever();
	ASSERT_EQ(tid[1], heir);
	heirs = open_pidns(heir);
	EXPECT_EQ(ENOMEM, visit(b));
	EXPECT_EQ(0, in_child(b, visit_fd, &heirs));
	close(heirs);
	EXPECT_EQ(0, kill(heir, SIGKILL));
	EXPECT_EQ(heir, waitpid(heir, NULL, 0));
}

#define NR_MEMBERS	8

static void init_of_many(struct box *b, void *arg)
{
	int i;

	if (arg && setresuid(NOBODY, NOBODY, NOBODY))
		_exit(1);
	for (i = 0; i < NR_MEMBERS; i++)
		member(b, "member");
	announce(b, READY);
	forever();
}

/*
 * When init is reaped, the numbers of all are free above: each has been through
 * free_pid(), or zap_pid_ns_processes() would not have returned.
 */
TEST_F_TIMEOUT(after, numbers_given_back, TEST_SECONDS)
{
	struct box *b = &self->box;
	int i;

	ASSERT_EQ(0, box_spawn(b, 0, init_of_many, NULL));
	ASSERT_EQ(0, box_collect(b, NR_MEMBERS + 1));
	ASSERT_EQ(0, box_kill_init(b));
	EXPECT_EQ(0, outcome(fork_as(&b->init, 1)));
	for (i = 0; i < b->nr; i++)
		EXPECT_EQ(0, outcome(fork_as(&b->m[i].pid, 1)));
}

static int fork_as_nobody(struct box *b __maybe_unused, void *arg __maybe_unused)
{
	struct rlimit two = { .rlim_cur = 2, .rlim_max = 2 };

	if (setrlimit(RLIMIT_NPROC, &two) || setresuid(NOBODY, NOBODY, NOBODY))
		return NOT_TRIED;
	return outcome(fork());
}

/* And none of them is counted for its user: release_task() in kernel/exit.c. */
TEST_F_TIMEOUT(after, processes_given_back, TEST_SECONDS)
{
	struct box *b = &self->box;

	ASSERT_EQ(0, in_child(b, fork_as_nobody, NULL));
	ASSERT_EQ(0, box_spawn(b, 0, init_of_many, "nobody"));
	ASSERT_EQ(0, box_collect(b, NR_MEMBERS + 1));
	ASSERT_EQ(EAGAIN, in_child(b, fork_as_nobody, NULL));
	ASSERT_EQ(0, box_kill_init(b));
	EXPECT_EQ(0, in_child(b, fork_as_nobody, NULL));
}

/* What a caller becomes that execs: it forks when it is told. */
static int fork_on_order(int in, int out)
{
	char c;
	int ret;

	while (read(in, &c, 1) == 1) {
		ret = outcome(fork());
		if (write(out, &ret, sizeof(ret)) != sizeof(ret))
			return 1;
	}
	return 0;
}

static int order_fork(int to, int from)
{
	int ret;

	if (write(to, "x", 1) != 1 || read(from, &ret, sizeof(ret)) != sizeof(ret))
		return NOT_TRIED;
	return ret;
}

/* I1 for one that went in and became another program: nsproxy survives exec. */
TEST_F_TIMEOUT(after, kept_across_exec, TEST_SECONDS)
{
	char in[16], out[16], * const argv[] = { "after_test", "--fork", in, out, NULL };
	struct box *b = &self->box;
	int to[2], from[2], fd = -1;
	pid_t pid;

	ASSERT_EQ(0, box_start(b));
	ASSERT_EQ(0, pipe(to));
	ASSERT_EQ(0, pipe(from));
	pid = fork_into(b->out, 0, &fd);
	ASSERT_GE(pid, 0);
	if (!pid) {
		snprintf(in, sizeof(in), "%d", to[0]);
		snprintf(out, sizeof(out), "%d", from[1]);
		close(to[1]);
		if (!enter(b->nsfd))
			execv("/proc/self/exe", argv);
		_exit(1);
	}
	close(to[0]);
	close(from[1]);
	EXPECT_EQ(0, order_fork(to[1], from[0]));
	ASSERT_EQ(0, box_kill_init(b));
	EXPECT_EQ(ENOMEM, order_fork(to[1], from[0]));
	close(to[1]);
	EXPECT_EQ(pid, waitpid(pid, NULL, 0));
	close(from[0]);
	close(fd);
}

#define NR_DEAD		20
#define NR_BETWEEN	6

/* Inits that fork once, and exit when they are told. */
static void init_forks(struct box *b)
{
	int ret = outcome(fork());

	announce(b, READY);
	await_order(b);
	_exit(ret);
}

/*
 * I1 for each of many that died, and for none of the many that came after:
 * nothing is remembered of a namespace but in itself.
 */
TEST_F_TIMEOUT(after, many_dead_many_new, TEST_SECONDS)
{
	int dead[NR_DEAD], i, fd, status;
	struct box *b = &self->box;
	pid_t init;

	for (i = 0; i < NR_DEAD * NR_BETWEEN; i++) {
		init = fork_into(b->in, CLONE_NEWPID, &fd);
		if (!init)
			init_forks(b);
		ASSERT_GT(init, 0);
		close(fd);
		ASSERT_EQ(0, box_collect(b, 1));
		if (i % NR_BETWEEN == 0)
			dead[i / NR_BETWEEN] = open_pidns(init);
		order(b, 'x');
		ASSERT_EQ(init, waitpid(init, &status, 0));
		ASSERT_EQ(0, status);
	}
	for (i = 0; i < NR_DEAD; i++) {
		ASSERT_EQ(ENOMEM, in_child(b, visit_fd, &dead[i]));
		close(dead[i]);
	}
}

/*
 * I1 for one namespace after the other, each of which can only be made when the
 * one before has been freed, and so in its place: a new one is not taken for
 * the dead one.
 */
TEST_F_TIMEOUT(after, in_the_place_of_the_dead, TEST_SECONDS)
{
	struct box *b = &self->box;
	int i, nsfd;
	pid_t init;

	ASSERT_EQ(0, own_count());
	ASSERT_EQ(0, limit_namespaces(1));
	for (i = 0; i < 25; i++) {
		init = new_namespace(true);
		if (!init)
			init_forks(b);
		ASSERT_GT(init, 0);
		ASSERT_EQ(0, box_collect(b, 1));
		nsfd = open_pidns(init);
		ASSERT_EQ(0, in_child(b, visit_fd, &nsfd));
		order(b, 'x');
		ASSERT_EQ(init, waitpid(init, NULL, 0));
		ASSERT_EQ(ENOMEM, in_child(b, visit_fd, &nsfd));
		close(nsfd);
	}
}

/*
 * The pidfd of an init that has been reaped holds its PID, and that the
 * namespace (put_pid() in kernel/pid.c), which then counts. One that was made
 * later and died shows when whatever was due has been given back.
 */
TEST_F_TIMEOUT(after, counts_while_a_pidfd_is_open, TEST_SECONDS)
{
	struct box *b = &self->box;
	pid_t other;

	ASSERT_EQ(0, own_count());
	ASSERT_EQ(0, limit_namespaces(2));
	ASSERT_EQ(0, box_start(b));
	ASSERT_EQ(0, box_kill_init(b));
	close(b->nsfd);
	b->nsfd = -1;
	ASSERT_EQ(0, outcome(new_namespace(false)));
	ASSERT_EQ(0, outcome(new_namespace(true)));
	other = new_namespace(true);
	if (!other) {
		close(b->initfd);
		forever();
	}
	ASSERT_GT(other, 0);
	EXPECT_EQ(ENOSPC, outcome(new_namespace(false)));
	close(b->initfd);
	b->initfd = -1;
	EXPECT_EQ(0, outcome(new_namespace(true)));
	EXPECT_EQ(0, kill(other, SIGKILL));
	EXPECT_EQ(other, waitpid(other, NULL, 0));
}

static ino_t inode_of(int fd)
{
	struct stat st;

	return fd < 0 || fstat(fd, &st) ? 0 : st.st_ino;
}

static ino_t inode_at(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_ino;
}

/* The inode of what an ioctl opens. */
static ino_t inode_by(int fd, unsigned long request)
{
	int other = ioctl(fd, request);
	ino_t ino = inode_of(other);

	close(other);
	return ino;
}

static int translate(int nsfd, unsigned long request, pid_t pid)
{
	int ret = ioctl(nsfd, request, pid);

	return ret < 0 ? -errno : ret;
}

/*
 * The file of a dead namespace answers as on any kernel (ns_ioctl() in
 * fs/nsfs.c): whose it is and what is above it as ever, and who is who as long
 * as init is a zombie.
 */
TEST_F_TIMEOUT(after, ioctls_answer, TEST_SECONDS)
{
	struct box *b = &self->box;
	__u64 id = 0, now = 1;
	char link[64] = "";
	ino_t ino;
	int stage;

	ASSERT_EQ(0, box_start(b));
	ino = inode_of(b->nsfd);
	ASSERT_EQ(0, ioctl(b->nsfd, NS_GET_ID, &id));
	for (stage = 0; stage < 3; stage++) {
		pid_t inside = stage < 2 ? 1 : -ESRCH;
		pid_t outside = stage < 2 ? b->init : -ESRCH;

		EXPECT_EQ(CLONE_NEWPID, ioctl(b->nsfd, NS_GET_NSTYPE));
		EXPECT_EQ(inode_at("/proc/self/ns/pid"), inode_by(b->nsfd, NS_GET_PARENT));
		EXPECT_EQ(inode_at("/proc/self/ns/user"), inode_by(b->nsfd, NS_GET_USERNS));
		EXPECT_EQ(0, ioctl(b->nsfd, NS_GET_ID, &now));
		EXPECT_EQ(id, now);
		EXPECT_EQ(ino, inode_of(b->nsfd));
		EXPECT_EQ(outside, translate(b->nsfd, NS_GET_PID_FROM_PIDNS, 1));
		EXPECT_EQ(outside, translate(b->nsfd, NS_GET_TGID_FROM_PIDNS, 1));
		EXPECT_EQ(inside, translate(b->nsfd, NS_GET_PID_IN_PIDNS, b->init));
		EXPECT_EQ(inside, translate(b->nsfd, NS_GET_TGID_IN_PIDNS, b->init));
		EXPECT_EQ(-ESRCH, translate(b->nsfd, NS_GET_PID_FROM_PIDNS, 2));
		EXPECT_EQ(-ESRCH, translate(b->nsfd, NS_GET_PID_IN_PIDNS, getpid()));
		/* One can still go there, and see where one is. */
		EXPECT_EQ(0, enter(b->nsfd));
		EXPECT_GT(readlink("/proc/self/ns/pid_for_children", link,
				   sizeof(link) - 1), 0);
		EXPECT_EQ(ino, strtoul(link + strlen("pid:["), NULL, 10));
		EXPECT_EQ(0, leave());
		if (stage < 2)
			ASSERT_EQ(0, stage ? box_wait_init(b) : box_zombie_init(b));
	}
}

/* Whether listns() names the PID namespace @id. */
static bool listed(__u64 id)
{
	struct {
		__u32 size, spare;
		__u64 ns_id;
		__u32 ns_type, spare2;
		__u64 user_ns_id;
	} req = { .size = sizeof(req), .ns_id = id - 1, .ns_type = CLONE_NEWPID };
	__u64 found = 0;

	return syscall(__NR_listns, &req, &found, 1, 0) == 1 && found == id;
}

/* A dead namespace is listed as long as it can be reached: kernel/nstree.c. */
TEST_F_TIMEOUT(after, listed_while_reachable, TEST_SECONDS)
{
	long long end = now_ms() + patience_ms;
	struct box *b = &self->box;
	__u64 id = 0;

	if (syscall(__NR_listns, NULL, NULL, 0, 0) && errno == ENOSYS)
		SKIP(return, "this kernel has no listns()");
	ASSERT_EQ(0, box_start(b));
	ASSERT_EQ(0, ioctl(b->nsfd, NS_GET_ID, &id));
	EXPECT_TRUE(listed(id));
	ASSERT_EQ(0, box_kill_init(b));
	EXPECT_TRUE(listed(id));
	close(b->nsfd);
	b->nsfd = -1;
	while (listed(id) && now_ms() < end)
		sched_yield();
	EXPECT_FALSE(listed(id));
}

#define NR_CALLERS	4

/* Forks 200 times, up to the first that is not refused. */
static void caller(struct box *b)
{
	int i, ret = ENOMEM;

	if (enter(b->nsfd))
		_exit(NOT_TRIED);
	announce(b, READY);
	await_order(b);
	for (i = 0; i < 200 && ret == ENOMEM; i++)
		ret = outcome(fork());
	_exit(ret);
}

/*
 * I1 for several at once: one must not let the other in ("If two or more tasks
 * from parent namespace try to inject a child", alloc_pid() in kernel/pid.c).
 */
TEST_F_TIMEOUT(after, several_at_once, TEST_SECONDS)
{
	struct box *b = &self->box;
	int i, fd, status = -1;
	pid_t pid[NR_CALLERS];

	ASSERT_EQ(0, box_start(b));
	for (i = 0; i < NR_CALLERS; i++) {
		pid[i] = fork_into(b->out, 0, &fd);
		if (!pid[i])
			caller(b);
		ASSERT_GT(pid[i], 0);
		close(fd);
	}
	ASSERT_EQ(0, box_collect(b, NR_CALLERS));
	ASSERT_EQ(0, box_kill_init(b));
	for (i = 0; i < NR_CALLERS; i++)
		order(b, 'x');
	for (i = 0; i < NR_CALLERS; i++) {
		EXPECT_EQ(pid[i], waitpid(pid[i], &status, 0));
		EXPECT_EQ(ENOMEM << 8, status);
	}
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "--fork"))
		_exit(fork_on_order(atoi(argv[2]), atoi(argv[3])));
	return test_harness_run(argc, argv);
}
