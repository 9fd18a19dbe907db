/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A FUSE file system of one file whose daemon does not answer a read before it
 * is told to: a way to stop a task at a certain place in the kernel for as long
 * as one likes. Over the bare protocol of linux/fuse.h, in a mount namespace of
 * its own.
 */
#ifndef __PIDNS_FUSE_H
#define __PIDNS_FUSE_H

#include <linux/aio_abi.h>
#include <linux/fuse.h>
#include <sys/uio.h>

#include "pidns_test.h"

#define FUSE_DIR	"/tmp/fuse"
#define FUSE_FILE	FUSE_DIR "/file"
#define FUSE_SIZE	0x100000
#define FUSE_LENGTH	4096

/* The request that a daemon does not answer by itself. */
static __u32 fuse_silent = FUSE_READ;

static inline void fuse_reply(int fd, __u64 unique, int error, void *data, size_t size)
{
	struct fuse_out_header out = {
		.len = sizeof(out) + size, .error = error, .unique = unique,
	};
	struct iovec iov[2] = {
		{ .iov_base = &out, .iov_len = sizeof(out) },
		{ .iov_base = data, .iov_len = size },
	};

	if (writev(fd, iov, size ? 2 : 1) < 0)
		_exit(95);
}

static inline struct fuse_attr fuse_attr_of(__u64 node)
{
	struct fuse_attr attr = {
		.ino = node, .nlink = 1, .blksize = 4096,
		.mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644,
		.size = node == FUSE_ROOT_ID ? 0 : FUSE_SIZE,
	};

	return attr;
}

/*
 * Serves until it is killed. When an unlink has come, or what else it is to be
 * silent about, it says READY, and answers as soon as it gets an order.
 */
static inline void fuse_serve(struct box *b, int fd)
{
	static char buf[FUSE_MIN_READ_BUFFER + 4096], zeros[FUSE_SIZE];
	struct fuse_in_header *in = (void *)buf;
	struct fuse_init_in *init_in = (void *)(in + 1);
	struct fuse_read_in *read_in = (void *)(in + 1);
	struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION, .max_write = 4096,
		.max_background = 16, .congestion_threshold = 12,
		/* FUSE_ASYNC_DIO: or else io_submit() waits for the read itself */
		.flags = FUSE_ASYNC_READ | FUSE_ASYNC_DIO,
	};
	struct fuse_entry_out entry = { .nodeid = 2, .entry_valid = 60, .attr_valid = 60 };
	struct fuse_attr_out attr = { .attr_valid = 60 };
	/* Whoever closes the file is to wait for its daemon only where that is the test. */
	struct fuse_open_out opened = {
		.open_flags = fuse_silent == FUSE_FLUSH ? 0 : FOPEN_NOFLUSH,
	};

	for (;;) {
		if (read(fd, buf, sizeof(buf)) < (ssize_t)sizeof(*in)) {
			if (errno == EINTR || errno == ENOENT)
				continue;
			_exit(94);
		}
		if (in->opcode == fuse_silent || in->opcode == FUSE_UNLINK) {
			announce(b, READY);
			await_order(b);
		}
		switch (in->opcode) {
		case FUSE_INIT:
			init.minor = init_in->minor < FUSE_KERNEL_MINOR_VERSION ?
				     init_in->minor : FUSE_KERNEL_MINOR_VERSION;
			fuse_reply(fd, in->unique, 0, &init, sizeof(init));
			break;
		case FUSE_LOOKUP:
			entry.attr = fuse_attr_of(2);
			fuse_reply(fd, in->unique, 0, &entry, sizeof(entry));
			break;
		case FUSE_GETATTR:
			attr.attr = fuse_attr_of(in->nodeid);
			fuse_reply(fd, in->unique, 0, &attr, sizeof(attr));
			break;
		case FUSE_OPEN:
			fuse_reply(fd, in->unique, 0, &opened, sizeof(opened));
			break;
		case FUSE_READ:
			fuse_reply(fd, in->unique, 0, zeros, read_in->size);
			break;
		case FUSE_UNLINK:
			fuse_reply(fd, in->unique, -EROFS, NULL, 0);
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			break;
		default:
			fuse_reply(fd, in->unique, -EOPNOTSUPP, NULL, 0);
		}
	}
}

/*
 * Mounts the file system, to be served by the caller alone. The mount goes with
 * the mount namespace, which must not be that of the test.
 */
static inline int fuse_mount(void)
{
	char options[128];
	int fd;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/tmp", "tmpfs", 0, NULL) || mkdir(FUSE_DIR, 0755))
		return -1;
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	if (fd < 0 || mount("pidns_test", FUSE_DIR, "fuse", MS_NOSUID | MS_NODEV, options)) {
		fprintf(stderr, "# fuse: %m\n");
		return -1;
	}
	return fd;
}

/* The caller gets a read of the file, opened with O_DIRECT, in flight (AIO). */
static inline void fuse_submit(int fd)
{
	aio_context_t ctx = 0;
	struct iocb cb = { .aio_lio_opcode = IOCB_CMD_PREAD, .aio_nbytes = FUSE_LENGTH };
	struct iocb *list = &cb;
	void *data;

	cb.aio_fildes = fd;
	if (fd < 0 || posix_memalign(&data, 4096, FUSE_LENGTH))
		_exit(91);
	cb.aio_buf = (uintptr_t)data;
	if (syscall(__NR_io_setup, 1, &ctx) || syscall(__NR_io_submit, ctx, 1, &list) != 1) {
		fprintf(stderr, "# aio: %m\n");
		_exit(90);
	}
}

static inline void fuse_submit_read(void)
{
	fuse_submit(open(FUSE_FILE, O_RDONLY | O_DIRECT));
}

/*
 * Starts a daemon outside of the box's namespace. Returns its mount namespace,
 * for those who want to see the file.
 */
static inline int fuse_outside(struct box *b)
{
	char path[64];
	int fd = -1, mnt;
	pid_t pid;

	pid = fork_into(b->out, CLONE_NEWNS, &fd);
	if (pid < 0)
		return -1;
	if (!pid) {
		fd = fuse_mount();
		if (fd < 0)
			_exit(93);
		announce(b, READY);
		fuse_serve(b, fd);
	}
	close(fd);
	if (box_collect(b, 1))
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	mnt = open(path, O_RDONLY | O_CLOEXEC);
	return mnt;
}

/* Ends all FUSE connections, should one have outlived its daemon. */
static inline void fuse_abort(void)
{
	const char *dir = "/sys/fs/fuse/connections";
	struct dirent *d;
	char path[300];
	DIR *list;
	int at;

	mount("fusectl", dir, "fusectl", 0, NULL);
	list = opendir(dir);
	while (list && (d = readdir(list))) {
		if (d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, d->d_name);
		at = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (at < 0)
			continue;
		write_at(at, "abort", "1");
		close(at);
	}
	if (list)
		closedir(list);
}

/* The daemon's death ends what waits for it; if need be, by force. */
static inline int fuse_box_close(struct box *b)
{
	long long end = now_ms() + patience_ms / 2;

	box_untrace(b);
	cgroup_kill(b->out);
	cgroup_kill(b->in);
	while (!b->reaped && reap_some() && !readable(b->initfd, LOOK_MS))
		if (now_ms() > end)
			break;
	if (now_ms() > end)
		fuse_abort();
	return box_close(b);
}

#endif /* __PIDNS_FUSE_H */
