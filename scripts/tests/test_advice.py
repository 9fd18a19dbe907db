# SPDX-License-Identifier: GPL-2.0
"""The advice: there is some for every holder and every blocker, and none that harms."""

import itertools
import unittest

import fake

# What ends a process, or takes a file system away.
HARMFUL = ("kill ", "abort", "umount", "reboot")


def commands(steps):
    return [step.command for step in steps if step.command]


class Complete(fake.Test):
    def blockers(self):
        """One blocker of each kind, by its facts."""
        freeze = self.tool.Freeze(2, "/c", True, ["/sys/fs/cgroup/c"])
        facts = {
            "frozen": {"freeze": freeze}, "traced_stop": {"tracer": 77},
            "uninterruptible": {"functions": ("bio_await",)},
            "container_init": {"init_of": 4026532300, "processes": 12}, "zombie_leader": {"threads": (1244, 1245)},
        }
        for kind in self.tool.KINDS:
            yield self.tool.Blocker(1241, "p{ar}ent", kind, **facts.get(kind, {}))

    def test_the_tables(self):
        """No reason and no kind without an entry, and no entry that is for nothing."""
        self.assertEqual(set(self.tool.BY_REASON), set(self.tool.REASONS))
        self.assertEqual(set(self.tool.BY_KIND), set(self.tool.KINDS))
        self.assertEqual(set(self.tool.BY_WAIT), set(self.tool.WAITS))
        self.assertEqual(set(self.tool.DUTIES), set(self.tool.WITHOUT))
        self.assertEqual(set(self.tool.PHRASES), set(self.tool.REASONS))

    def test_each_reason_and_kind(self):
        for reason, blocker, here in itertools.product(self.tool.DUTIES, self.blockers(), (True, False)):
            with self.subTest(reason=reason, kind=blocker.kind, here=here):
                made = self.tool.holder_of_json(fake.holder(reason, fake.blocker()))
                steps = self.tool.for_blocker(made, blocker, self.tool.Machine(here))
                self.assertTrue(steps)
                for step in steps:
                    self.assertTrue(step.text.strip())
                    self.assertNotRegex(step.text + (step.command or ""), r"\{(pid|blocker)|None|\(\)\)")
                    self.assertNotIn("kill -9 1241" if reason == "group" else "nothing", step.command or "")
                kills = [command for command in commands(steps) if "kill" in command and "CONT" not in command]
                if reason == "group" or blocker.kind not in ("running", "sleeping", "zombie_leader"):
                    self.assertEqual(kills, [])
                if reason != "group":
                    self.assertTrue(any("p{ar}ent (pid 1241)" in step.text for step in steps))

    def test_each_reason(self):
        """By the module, with an old one, and on another machine."""
        for reason, blocker, here in itertools.product(
            self.tool.REASONS, (None, {"pid": 1241, "comm": "parent"}, fake.blocker()), (True, False),
        ):
            for function in (None, "percpu_rwsem_wait", "bio_await", "nfs_wait", "mutex_lock", "exit_aio", "odd"):
                with self.subTest(reason=reason, blocker=blocker, here=here, function=function):
                    text = self.advice(fake.holder(reason, blocker, function=function, state="D"), here=here)
                    self.assertTrue(text.strip())
                    self.assertNotIn("try kill", text)
                    self.assertNotIn("kill -9 1242", text)

    def test_of_a_newer_module(self):
        text = self.advice(fake.holder("of a newer module"))
        self.assertIn("/proc/1242/stack", text)
        self.assertNotIn("kill", text)


class ByState(fake.Test):
    """Advice about the parent of a zombie, by what /proc and the ledger have of the parent."""

    def about(self, known=True, reason="unreaped", here=True, dying=(), **facts):
        if facts or here:
            self.process(1241, **facts)
        blocker = fake.blocker(state=facts.get("state", "S")) if known else {"pid": 1241, "comm": "parent"}
        return self.advice(fake.holder(reason, blocker), here=here, dying=dying)

    def assert_harmless(self, text):
        for word in HARMFUL:
            self.assertNotIn(f": {word}", text)

    def test_sleeping(self):
        for known in (True, False):
            text = self.about(known)
            self.assertIn("have parent (pid 1241) reap pid 1242", text)
            self.assertIn("This ends parent (pid 1241): kill 1241", text)

    def test_running(self):
        self.assertIn(": kill 1241", self.about(state="R"))

    def test_uninterruptible(self):
        """Case 01: no signal helps."""
        for known in (True, False):
            text = self.about(known, state="D", functions=("percpu_rwsem_wait", "__percpu_down_read", "vfs_write"))
            self.assertIn("uninterruptible sleep in percpu_rwsem_wait()", text)
            self.assertIn("no signal helps", text)
            self.assertIn("frozen file system", text)
            self.assertNotIn(": kill", text)

    def test_uninterruptible_for_a_moment(self):
        """A process that waits for a disk now and then is not stuck."""
        self.tool.time.sleep = lambda _: self.process(1241, state="S")
        self.assertIn(": kill 1241", self.about(state="D", functions=("io_schedule",)))

    def test_uninterruptible_by_the_ledger(self):
        text = self.advice(fake.holder("unreaped", fake.blocker(state="D", function="bio_await")), here=False)
        self.assertIn("uninterruptible sleep in bio_await()", text)
        self.assertNotIn(": kill", text)

    def test_frozen_file_system(self):
        """The mounts that may be frozen are candidates; none is named as the one."""
        self.mount("252:1", "/data", "ext4", "/dev/vdb1", of=["self", 1241], mount_id=41)
        self.mount("252:2", "/other", "ext4", "/dev/vdc1", of=["self", 1241], mount_id=42)
        self.mount("252:3", "/ro", "ext4", "/dev/vdd1", of=["self", 1241], options="ro")
        fds = {3: ("/data/f", "pos:\t0\nmnt_id:\t41\n")}.items()
        text = self.about(state="D", functions=("percpu_rwsem_wait", "vfs_write"), fds=fds)
        self.assertIn("candidate: /data (it has a file open there)", text)
        self.assertIn("candidate: /other", text)
        self.assertNotIn("/ro", text)
        self.assertIn("fsfreeze -u MOUNT", text)

    def test_a_lock_of_forks_is_no_freeze(self):
        text = self.about(state="D", functions=("percpu_rwsem_wait", "__percpu_down_read", "exit_signals", "do_exit"))
        self.assertNotIn("fsfreeze", text)

    def test_stopped(self):
        text = self.about(state="T")
        self.assertIn("kill -CONT 1241", text)
        self.assert_harmless(text.replace(": kill -CONT 1241", ""))

    def test_idle_by_the_ledger(self):
        """An init that waits for its members: no kernel thread, and not to be killed."""
        text = self.advice(fake.holder("unreaped", fake.blocker(state="I")), here=False)
        self.assertNotIn("kernel thread", text)
        self.assertNotIn(": kill", text)

    def test_stopped_by_the_ledger(self):
        text = self.advice(fake.holder("unreaped", fake.blocker(state="T")), here=False)
        self.assertIn("kill -CONT 1241", text)

    def test_stopped_by_its_tracer(self):
        text = self.about(state="t", tracer=99)
        self.assertIn("stopped by its tracer (pid 99)", text)
        self.assert_harmless(text)

    def test_container_init(self):
        """Case 09: to end it would end a container that lives."""
        pidns = "pid:[4026532300]"
        for pid in (6001, 6002):
            self.process(pid, pidns=pidns)
        text = self.about(known=False, pidns=pidns, nspid=[1241, 1])
        self.assertIn("the init of pid namespace 4026532300, which lives", text)
        self.assertIn("whole container (3 processes)", text)
        self.assertIn("have parent (pid 1241) reap pid 1242", text)
        self.assert_harmless(text)

    def test_container_init_by_the_ledger(self):
        self.process(1241)
        for here in (True, False):
            text = self.advice(fake.holder("unreaped", fake.blocker(init_of=4026532300)), here=here)
            self.assertIn("the init of pid namespace 4026532300, which lives", text)
            self.assert_harmless(text)

    def test_stopped_container_init(self):
        """What keeps it from its work comes first, and ends nothing."""
        text = self.about(state="T", pidns="pid:[4026532300]", nspid=[1241, 1])
        self.assertIn("kill -CONT 1241", text)

    def test_system_init(self):
        self.process(1, comm="systemd")
        for reason in ("unreaped", "traced", "ptrace_stop", "group"):
            text = self.advice(fake.holder(reason, fake.blocker(pid=1, comm="systemd")))
            self.assertIn("PID 1 of this system", text)
            self.assertNotIn(": kill", text)

    def test_kernel_thread(self):
        text = self.about(flags=0x200000)
        self.assertIn("kernel thread", text)
        self.assert_harmless(text)

    def test_dying(self):
        """One that is told to die itself: no signal adds to that."""
        self.killed(1241)
        text = self.advice(fake.holder("unreaped", fake.blocker()))
        self.assertIn("pidns-top --explain 1241", text)
        self.assert_harmless(text)

    def test_member_of_a_dying_namespace(self):
        text = self.about(dying=[4026532400], pidns="pid:[4026532400]")
        self.assertIn("in a container that dies", text)
        self.assert_harmless(text)

    def test_zombie_leader(self):
        self.process(1241, threads=[(1241, {"state": "Z"}), (1244, {})])
        text = self.advice(fake.holder("unreaped", fake.blocker(state="Z")))
        self.assertIn("the main thread of parent (pid 1241) has ended, others live (1244)", text)

    def test_thread_of_a_zombie_leader(self):
        self.process(1241, threads=[(1241, {"state": "Z"}), (1244, {"state": "D", "functions": ("bio_await",)})])
        text = self.advice(fake.holder("unreaped", fake.blocker(state="Z")))
        self.assertIn("uninterruptible sleep in bio_await()", text)
        self.assertNotIn(": kill", text)

    def test_gone(self):
        self.assertIn("has ended: look again", self.advice(fake.holder("unreaped", fake.blocker())))

    def test_name_of_a_thread(self):
        """The ledger has the name of the thread that is the parent."""
        self.process(1241, comm="java", threads=[(1241, {"state": "T"}), (1244, {"state": "T"})])
        self.file("proc/1241/task/1244/comm", "parent\n")
        self.assertIn("CONT", self.advice(fake.holder("unreaped", fake.blocker())))

    def test_its_pid_is_another_process_now(self):
        """The state of another process is not taken for that of the blocker."""
        self.process(1241, comm="other", state="T")
        self.assertNotIn("CONT", self.advice(fake.holder("unreaped", fake.blocker())))

    def test_frozen_v2(self):
        self.mount("0:27", "/sys/fs/cgroup", "cgroup2")
        self.file("v2/a/cgroup.freeze", "1\n")
        self.mount("0:27", f"{self.root}/v2", "cgroup2")
        self.file("v2/a/b/cgroup.freeze", "0\n")
        text = self.about(cgroup="0::/a/b\n")
        self.assertIn(f"echo 0 > {self.root}/v2/a/cgroup.freeze", text)
        self.assertNotIn("/a/b/", text)
        self.assertNotIn(": kill", text)

    def test_frozen_v1(self):
        self.mount("0:28", f"{self.root}/v1", "cgroup", options="rw,freezer")
        self.file("v1/a/freezer.self_freezing", "1\n")
        text = self.about(state="D", functions=("__refrigerator",), cgroup="3:freezer:/a\n0::/\n")
        self.assertIn(f"echo THAWED > {self.root}/v1/a/freezer.state", text)
        self.assertNotIn(": kill", text)

    def test_tracer(self):
        """Case 03."""
        for reason in ("traced", "ptrace_stop"):
            text = self.about(reason=reason)
            self.assertIn("pid 1242", text)
            self.assertIn("then releases all that it traces. This ends parent (pid 1241): kill -9 1241", text)
        self.assertIn("detach", self.about(reason="ptrace_stop"))

    def test_on_another_machine(self):
        """The state of a process of the same PID here says nothing."""
        self.process(1241, state="T")
        raw = fake.holder("unreaped", {"pid": 1241, "comm": "parent"})
        text = self.advice(raw, here=False)
        self.assertNotIn("CONT", text)
        self.assertNotIn(": kill", text)


class Group(fake.Test):
    def test_innocent(self):
        """A process outside that lives: nothing has to be killed."""
        for state in ("S", "R", "T", "D"):
            self.process(1242, comm="member", state=state)
            text = self.advice(fake.holder("group", fake.blocker(pid=1242, comm="member", state=state), state=state))
            self.assertIn("Nothing has to be killed", text)
            self.assertNotIn("kill -9", text)
            self.assertNotIn(": kill 1242", text)
        self.process(1242, comm="member")
        self.assertIn("setsid", self.advice(fake.holder("group", fake.blocker(pid=1242, comm="member"))))


class Running(fake.Test):
    def test_for_long(self):
        """Case 11."""
        raw = fake.holder("running", state="R", cpu_ms=93000, memory_kb=2048)
        text = self.advice(raw)
        self.assertIn("CPU time so far: 1m33s", text)
        self.assertIn("/proc/sysrq-trigger", text)
        self.assertIn("CPU time 1m33s, 2 MB to give back", self.tool.describe(self.tool.holder_of_json(raw)))


class Forks(fake.Test):
    def text(self, *args):
        return "\n".join(self.tool.lines_of(self.tool.fork_advice(*args)))

    def test_unshare(self):
        text = self.text(True, False)
        self.assertIn("unshare --pid --fork", text)
        self.assertNotIn("nsenter", text)

    def test_nsenter(self):
        text = self.text(False, False)
        self.assertNotIn("unshare", text)
        self.assertIn("enter one that lives", text)

    def test_not_known(self):
        text = self.text(None, False)
        self.assertIn("if it has called unshare", text)
        self.assertIn("if it has entered a container", text)

    def test_stopped_nsenter(self):
        """One that keeps a zombie gets no hint that may not be about it."""
        self.assertEqual(self.text(None, True), "")
        self.assertEqual(self.text(False, True), "")


class CoreDump(fake.Test):
    def pattern(self, text):
        self.file("proc/sys/kernel/core_pattern", text + "\n")

    def dump(self, **fields):
        return self.advice(fake.holder("core_dump", **{"state": "S", **fields}))

    def test_into_a_file(self):
        """Case 13f: there is no program to end."""
        self.pattern("/tmp/fs/core.%P")
        text = self.dump(state="D", function="percpu_rwsem_wait")
        self.assertIn("into a file, /tmp/fs/core.%P", text)
        self.assertIn("frozen file system", text)
        self.assertNotIn("program", text)
        self.assertNotIn("kill", text)

    def test_into_a_program(self):
        self.pattern("|/usr/lib/systemd/systemd-coredump %P")
        self.assertIn("/usr/lib/systemd/systemd-coredump", self.dump())
        self.assertNotIn("kill", self.dump())

    def handlers(self, *pids, **facts):
        self.file("proc/2/task/2/children", " ".join(map(str, (3,) + pids)))
        self.process(3, comm="kworker")
        for pid in pids:
            self.process(pid, comm="handler", fds={0: ("pipe:[77]", "")}.items(), **facts)

    def test_into_one_that_runs(self):
        self.pattern("|/handler")
        self.handlers(700)
        self.assertIn("end handler (pid 700). The dump is lost: kill 700", self.dump())

    def test_into_one_that_is_stopped(self):
        self.pattern("|/handler")
        self.handlers(700, state="T")
        self.assertIn("kill -CONT 700", self.dump())

    def test_into_one_of_several(self):
        self.pattern("|/handler")
        self.handlers(700, 701)
        self.assertIn("one of handler (pid 700), handler (pid 701); which one is not known", self.dump())
        self.assertNotIn("kill", self.dump())

    def test_into_a_socket(self):
        self.pattern("@/run/core.sock")
        self.assertIn("/run/core.sock", self.dump())


if __name__ == "__main__":
    unittest.main()
