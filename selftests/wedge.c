// SPDX-License-Identifier: GPL-2.0
/*
 * The situation of wedge_test.c by itself, to look at: to be run as the init of
 * a PID namespace, with a mount namespace of its own. Says on stdout when the
 * read is in flight and the daemon hangs, and waits for its end.
 */
#include "pidns_fuse.h"

int main(void)
{
	struct box b = {};
	struct announcement from_daemon;
	int mounted[2], fd;
	char c;

	if (pipe2(b.join, O_CLOEXEC) || pipe2(b.go, O_CLOEXEC) || pipe2(mounted, O_CLOEXEC))
		return 1;
	if (!fork()) {
		prctl(PR_SET_NAME, "fuse_daemon");
		fd = fuse_mount();
		if (fd < 0)
			return 1;
		if (write(mounted[1], "x", 1) == 1)
			fuse_serve(&b, fd);
		return 1;
	}
	if (read(mounted[0], &c, 1) != 1)
		return 1;
	fuse_submit_read();
	if (read(b.join[0], &from_daemon, sizeof(from_daemon)) != sizeof(from_daemon))
		return 1;
	puts("in flight");
	fflush(stdout);
	forever();
}
