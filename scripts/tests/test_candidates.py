# SPDX-License-Identifier: GPL-2.0
"""FUSE, AIO, devices and the freezer: what is not proven is a candidate, and nothing is lost for it."""

import unittest

import fake

MEMBER = "mnt:[4026532250]"


class Fuse(fake.Test):
    def setUp(self):
        super().setUp()
        self.fusectl()
        self.killed(
            1242, comm="member", state="D", functions=("request_wait_answer",), mnt=MEMBER, pidns="pid:[4026532201]",
        )
        self.raw = fake.holder("fuse", state="D", function="request_wait_answer")

    def hung(self, waiting=1, **more):
        self.mount("0:45", "/tmp/hung", of=["self", 1242], mount_id=45, **more)
        self.connection(45, waiting)

    def decoy(self, waiting=0, of=("self", 1242)):
        self.mount("0:44", "/tmp/decoy", of=list(of), mount_id=44)
        self.connection(44, waiting)

    def open_decoy(self):
        """The file of the innocent mount that the member has open."""
        for path in ("proc/1242", "proc/1242/task/1242"):
            self.link(f"{path}/fd/3", "/tmp/decoy/file")
            self.file(f"{path}/fdinfo/3", "pos:\t0\nmnt_id:\t44\n")

    def test_14b(self):
        """It hangs in open() on one mount, with a file of an innocent one open."""
        self.hung()
        self.decoy()
        self.open_decoy()
        self.raw["fuse_connection"] = 44  # what an older module guesses
        text = self.advice(self.raw)
        self.assertNotIn("decoy", text)
        self.assertNotIn("44", text)
        self.assertIn(f"echo 1 > {self.sys}/fs/fuse/connections/45/abort", text)
        self.assertIn("all users of /tmp/hung get errors", text)

    def test_14b_innocent_is_busy(self):
        """Then neither is proven: both are named, and no abort can be pasted."""
        self.hung()
        self.decoy(waiting=3)
        self.open_decoy()
        text = self.advice(self.raw)
        self.assertIn("it is one of these 2; which one is not known", text)
        self.assertIn("FUSE connection 45 at /tmp/hung, 1 request waiting", text)
        self.assertIn("FUSE connection 44 at /tmp/decoy, 3 requests waiting", text)
        self.assertIn("the holder has a file of it open", text)
        self.assertNotIn("echo 1", text)

    def test_out_of_reach(self):
        """A connection that the member has not mounted comes last, and is still named."""
        self.decoy(waiting=1, of=["self"])
        self.hung()
        *_, first, second, _, _ = self.steps(self.raw)
        self.assertIn("/tmp/hung", first)
        self.assertNotIn("less likely", first)
        self.assertIn("/tmp/decoy", second)
        self.assertIn("less likely", second)

    def test_one_that_passes_by(self):
        """A request that is answered meanwhile is not of one that hangs."""
        self.hung()
        self.decoy(waiting=1)
        self.tool.time.sleep = lambda _: self.connection(44, 0)
        self.assertIn("connections/45/abort", self.advice(self.raw))

    def test_none(self):
        self.hung(waiting=0)
        text = self.advice(self.raw)
        self.assertIn("look again", text)
        self.assertNotIn("abort", text)

    def test_not_mounted(self):
        (self.proc / "self/mountinfo").unlink()
        text = self.advice(self.raw)
        self.assertIn("mount -t fusectl none /sys/fs/fuse/connections", text)
        self.assertNotIn("abort", text)

    def test_virtiofs(self):
        self.mount("0:45", "/", "virtiofs", of=["self", 1242])
        self.connection(45, 1)
        text = self.advice(self.raw)
        self.assertIn("virtiofs", text)
        self.assertIn("Do not abort", text)
        self.assertNotIn("echo 1", text)

    def test_root(self):
        self.mount("0:45", "/", of=["self", 1242])
        self.connection(45, 1)
        self.assertNotIn("echo 1", self.advice(self.raw))

    def test_lazily_unmounted(self):
        self.connection(45, 1)
        text = self.advice(self.raw)
        self.assertIn("not mounted anywhere", text)
        self.assertIn("connections/45/abort", text)

    def test_fuseblk(self):
        """The number of a connection is the device number, of a block device too."""
        self.mount("8:1", "/mnt/ntfs", "fuseblk", of=["self", 1242])
        self.connection(8 << 20 | 1, 1)
        self.assertIn("at /mnt/ntfs", self.advice(self.raw))

    def test_cuse(self):
        """A CUSE device hangs in the same functions: with one that waits, none is proven."""
        self.hung()
        self.file("sys/class/cuse/cuse0/waiting", "1\n")
        text = self.advice(self.raw)
        self.assertIn("CUSE device cuse0", text)
        self.assertNotIn("echo 1", text)

    def server(self, **facts):
        fds = {5: ("/dev/fuse", "pos:\t0\nfuse_connection:\t45\n")}.items()
        self.process(900, comm="sshfs", fds=fds, **facts)

    def test_server(self):
        self.hung()
        self.server()
        text = self.advice(self.raw)
        self.assertIn("server sshfs (pid 900)", text)
        self.assertIn("if the server does not answer, abort", text)
        self.assertNotIn("kill", text)

    def test_stopped_server(self):
        self.hung()
        self.server(state="T")
        self.assertIn("kill -CONT 900", self.advice(self.raw))

    def test_its_own_server(self):
        """Case 02."""
        self.hung()
        self.server(pidns="pid:[4026532201]")
        text = self.advice(self.raw)
        self.assertIn("same dying container", text)
        self.assertIn("connections/45/abort", text)

    def test_its_server_has_gone(self):
        """Case 02, later: no process serves it any more. That is likely, and still no proof."""
        self.decoy(waiting=1)
        self.process(901, comm="decoyd", fds={5: ("/dev/fuse", "fuse_connection:\t44\n")}.items())
        self.hung()
        *_, first, second, _, _ = self.steps(self.raw)
        self.assertIn("/tmp/hung, 1 request waiting, which no process serves", first)
        self.assertIn("server decoyd (pid 901)", second)
        self.assertNotIn("echo 1", self.advice(self.raw))
        # Below the root PID namespace others may serve it.
        self.link("proc/self/ns/pid", "pid:[4026532999]")
        self.assertNotIn("no process serves:", self.advice(self.raw))

    def test_server_without_a_main_thread(self):
        self.hung()
        fds = {5: ("/dev/fuse", "pos:\t0\nfuse_connection:\t45\n")}.items()
        self.process(900, comm="sshfs", threads=[(900, {"state": "Z", "mnt": None}), (901, {"fds": fds})])
        self.assertIn("server sshfs (pid 900)", self.advice(self.raw))

    def test_after_its_mounts_are_gone(self):
        """Late in its exit it has no mount namespace: another process of the container has."""
        for path in ("1242", "1242/task/1242"):
            (self.proc / path / "ns/mnt").unlink()
        self.process(1250, mnt=MEMBER, pidns="pid:[4026532201]")
        self.mount("0:45", "/inside", of=[1250])
        self.connection(45, 1)
        self.assertIn("at /inside", self.advice(self.raw))

    def test_another_thread_has_the_mounts(self):
        threads = [(1242, {"state": "Z", "mnt": None}), (1243, {"mnt": MEMBER})]
        self.proc.joinpath("1242/ns/mnt").unlink()
        self.proc.joinpath("1242/task/1242/ns/mnt").unlink()
        self.process(1242, comm="member", threads=threads, pidns="pid:[4026532201]")
        self.mount("0:45", "/inside", of=[1243])
        self.connection(45, 1)
        self.assertIn("at /inside", self.advice(self.raw))

    def test_of_elsewhere(self):
        self.hung()
        text = self.advice(self.raw, here=False)
        self.assertNotIn("/tmp/hung", text)
        self.assertNotIn("echo 1", text)


class Aio(fake.Test):
    def setUp(self):
        super().setUp()
        self.fusectl()
        self.killed(1242, comm="member", state="D", functions=("exit_aio", "mmput"), mnt=MEMBER)
        self.raw = fake.holder("aio", state="D", function="exit_aio")

    def test_device_and_idle_fuse(self):
        """AIO on a block device, with an idle FUSE file open: FUSE is not named."""
        self.mount("0:44", "/tmp/decoy", of=["self", 1242])
        self.connection(44, 0)
        self.file("sys/block/sda/inflight", "       1        2\n")
        self.file("sys/block/sdb/inflight", "       0        0\n")
        text = self.advice(self.raw)
        self.assertIn("candidate: block device sda, 3 I/O in flight", text)
        self.assertNotIn("sdb", text)
        self.assertNotIn("decoy", text)

    def test_fuse_is_a_candidate(self):
        """Even the only one: what waits there may be of another process."""
        self.mount("0:45", "/tmp/hung", of=["self", 1242])
        self.connection(45, 1)
        text = self.advice(self.raw)
        self.assertIn("candidate: FUSE connection 45 at /tmp/hung", text)
        self.assertNotIn("abort", text)

    def test_suspended(self):
        """Case 07."""
        self.file("sys/block/dm-0/inflight", "0 0\n")
        self.file("sys/block/dm-0/dev", "253:0\n")
        self.file("sys/block/dm-0/dm/suspended", "1\n")
        self.file("sys/block/dm-0/dm/name", "slow\n")
        self.mount("253:0", "/srv", "ext4", "/dev/mapper/slow", of=["self", 1242])
        text = self.advice(self.raw)
        self.assertIn("device slow (dm-0) is suspended, mounted at /srv", text)
        self.assertIn("dmsetup resume slow", text)

    def test_by_an_old_module(self):
        """It guesses a FUSE connection, or calls it uninterruptible."""
        for reason in ("fuse", "uninterruptible"):
            raw = fake.holder(reason, state="D", function="exit_aio", fuse_connection=44)
            self.assertEqual(self.tool.holder_of_json(raw).reason, "aio")
            self.assertNotIn("abort", self.advice(raw))

    def test_none(self):
        self.assertIn("look again", self.advice(self.raw))


class Freezer(fake.Test):
    def freezer(self, root="/"):
        """Case 04b: /outer is frozen itself, /outer/inner below it by that."""
        point = f"{self.root}/fz"
        self.mount("0:50", point, "cgroup", root=root, options="rw,freezer")
        for path, frozen in (("outer", 1), ("outer/inner", 0)):
            path = f"/{path}"
            inside = self.tool.below(path, root)
            if inside is not None:
                self.file(f"fz{inside}/freezer.self_freezing", f"{frozen}\n")
        return point

    def frozen(self, cgroup="/outer/inner", **options):
        self.killed(
            1242, comm="member", state="D", functions=("__refrigerator",), cgroup=f"5:freezer:{cgroup}\n0::/\n",
        )
        return self.advice(fake.holder("frozen", state="D", cgroup=cgroup), **options)

    def test_04b(self):
        point = self.freezer()
        text = self.frozen()
        self.assertIn(f"echo THAWED > {point}/outer/freezer.state", text)
        self.assertNotIn("inner", text)

    def test_both(self):
        point = self.freezer()
        self.file("fz/outer/inner/freezer.self_freezing", "1\n")
        text = self.frozen()
        self.assertIn(f"{point}/outer/freezer.state", text)
        self.assertIn(f"{point}/outer/inner/freezer.state", text)

    def test_mount_of_a_part(self):
        """The mount shows /outer as its root."""
        point = self.freezer(root="/outer")
        self.assertIn(f"echo THAWED > {point}/freezer.state", self.frozen())

    def test_mount_of_another_part(self):
        self.freezer(root="/elsewhere")
        text = self.frozen()
        self.assertIn("freezer:/outer/inner, or one above it", text)
        self.assertIn("mount -t cgroup -o freezer", text)

    def test_not_mounted(self):
        self.assertIn("mount -t cgroup -o freezer", self.frozen())

    def test_quoted(self):
        self.mount("0:50", f"{self.root}/a\\040b", "cgroup", options="rw,freezer")
        self.file("a b/outer/freezer.self_freezing", "1\n")
        self.assertIn(f"echo THAWED > '{self.root}/a b/outer/freezer.state'", self.frozen())

    def test_thawed_meanwhile(self):
        self.freezer()
        self.file("fz/outer/freezer.self_freezing", "0\n")
        self.assertIn("look again", self.frozen())

    def test_suspend(self):
        self.assertIn("suspends or hibernates", self.frozen(cgroup="/"))

    def test_of_elsewhere(self):
        self.freezer()
        text = self.frozen(here=False)
        self.assertIn("freezer:/outer/inner, or one above it", text)
        self.assertNotIn("echo", text)

    def test_by_proc_alone(self):
        point = self.freezer()
        self.frozen()
        seen = self.holder_by_proc(1242)
        self.assertEqual((seen.reason, seen.cgroup), ("frozen", "/outer/inner"))
        self.assertIn(f"echo THAWED > {point}/outer/freezer.state", self.advice(seen))


if __name__ == "__main__":
    unittest.main()
