/* SPDX-License-Identifier: GPL-2.0 */
/* As much of io_uring as it takes to have its threads work for a process. */
#ifndef __PIDNS_URING_H
#define __PIDNS_URING_H

#include <linux/io_uring.h>
#include <sys/mman.h>

#include "pidns_test.h"

struct uring {
	int fd;
	struct io_uring_params p;
	char *rings;
	struct io_uring_sqe *sqes;
};

static inline int uring_open(struct uring *u, unsigned int flags)
{
	size_t size;

	u->p = (struct io_uring_params){ .flags = flags, .sq_thread_idle = 1 };
	u->fd = syscall(__NR_io_uring_setup, 4, &u->p);
	if (u->fd < 0)
		return -1;
	size = u->p.cq_off.cqes + u->p.cq_entries * sizeof(struct io_uring_cqe);
	u->rings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			u->fd, IORING_OFF_SQ_RING);
	u->sqes = mmap(NULL, u->p.sq_entries * sizeof(*u->sqes), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_POPULATE, u->fd, IORING_OFF_SQES);
	return u->rings == MAP_FAILED || (void *)u->sqes == MAP_FAILED ? -1 : 0;
}

static inline atomic_uint *uring_at(struct uring *u, unsigned int offset)
{
	return (void *)(u->rings + offset);
}

/*
 * Has a thread of the kernel's open @path for the caller. Of a FIFO that nobody
 * writes to it does not come back: no file is there yet that one could poll.
 */
static inline int uring_open_file(struct uring *u, const char *path)
{
	unsigned int tail = *uring_at(u, u->p.sq_off.tail);
	unsigned int slot = tail & *uring_at(u, u->p.sq_off.ring_mask);

	u->sqes[slot] = (struct io_uring_sqe){
		.opcode = IORING_OP_OPENAT, .flags = IOSQE_ASYNC,
		.fd = AT_FDCWD, .addr = (uintptr_t)path, .open_flags = O_RDONLY,
	};
	uring_at(u, u->p.sq_off.array)[slot] = slot;
	atomic_store(uring_at(u, u->p.sq_off.tail), tail + 1);
	return syscall(__NR_io_uring_enter, u->fd, 1, 0, 0, NULL, 0) == 1 ? 0 : -1;
}

/* The result of the oldest request; waits for it. */
static inline int uring_result(struct uring *u)
{
	atomic_uint *head = uring_at(u, u->p.cq_off.head);
	struct io_uring_cqe *cqes = (void *)(u->rings + u->p.cq_off.cqes);
	unsigned int slot = *head & *uring_at(u, u->p.cq_off.ring_mask);
	int res;

	if (!readable(u->fd, patience_ms))
		return -ETIME;
	res = cqes[slot].res;
	atomic_fetch_add(head, 1);
	return res;
}

#endif /* __PIDNS_URING_H */
