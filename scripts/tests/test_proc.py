# SPDX-License-Identifier: GPL-2.0
"""What /proc alone tells, in the terms of the module."""

import unittest
import unittest.mock

import fake

DYING = "pid:[4026532201]"


class Holder(fake.Test):
    def reason(self, **facts):
        self.killed(1242, comm="member", pidns=DYING, **facts)
        return self.holder_by_proc(1242)

    def test_uninterruptible(self):
        """Case 06: it was killed, and has not noticed."""
        seen = self.reason(state="D", functions=("bio_await", "blkdev_direct_IO", "vfs_write"))
        self.assertEqual(seen.reason, "uninterruptible")
        self.assertEqual(self.tool.phrase(seen), "in uninterruptible sleep in bio_await()")
        self.assertNotIn("kill", self.advice(seen))

    def test_ways_to_be_killed(self):
        facts = {"state": "D", "functions": ("bio_await",)}
        for killed in (
            {"pending": "0000000000000100"}, {"flags": 0x4}, {"flags": 0x400}, {"functions": ("bio_await", "do_exit")},
            {"status": {"ShdPnd": "0000000000000100"}.items()},
        ):
            with self.subTest(**killed):
                self.process(1242, pidns=DYING, **{**facts, **killed})
                self.assertEqual(self.holder_by_proc(1242).reason, "uninterruptible")
        self.process(1242, pidns=DYING, **facts)
        self.assertEqual(self.holder_by_proc(1242).reason, "alive")
        self.assertNotIn("kill -9", self.advice(self.holder_by_proc(1242)))

    def test_stopped_at_its_exit(self):
        """Case 03: by the tracer that is named."""
        self.process(1240, comm="tracer")
        seen = self.reason(state="t", tracer=1240, functions=("ptrace_stop", "ptrace_notify", "do_exit"))
        self.assertEqual((seen.reason, seen.blocker), ("ptrace_stop", (1240, "tracer")))
        text = self.advice(seen)
        self.assertIn("detach", text)
        self.assertIn("kill -9 1240", text)
        self.assertNotIn("1242/stack", text)

    def test_fuse_on_all_kernels(self):
        for functions in (
            ("request_wait_answer", "__fuse_request_send", "fuse_simple_request"),
            ("fuse_wait_answer", "fuse_lookup_name"), ("__fuse_simple_request", "fuse_flush"),
            ("folio_wait_bit_common", "fuse_writepages"),
        ):
            self.assertEqual(self.reason(state="D", functions=functions).reason, "fuse")

    def test_others(self):
        self.file("proc/sys/kernel/core_pattern", "core\n")
        for state, functions, reason in (
            ("D", ("exit_aio", "mmput", "do_exit"), "aio"),
            ("S", ("anon_pipe_write", "dump_emit", "vfs_coredump", "get_signal"), "core_dump"),
            ("D", ("percpu_rwsem_wait", "do_coredump", "get_signal"), "core_dump"),
            ("R", (), "running"),
            ("S", ("io_uring_cancel_generic", "do_exit"), "asleep"),
        ):
            with self.subTest(functions=functions):
                self.assertEqual(self.reason(state=state, functions=functions).reason, reason)

    def test_running_has_its_cpu_time(self):
        ticks = self.tool.os.sysconf("SC_CLK_TCK")
        self.assertEqual(self.reason(state="R", cpu_ticks=7 * ticks).cpu_ms, 7000)

    def test_nested(self):
        self.killed(1242, functions=("zap_pid_ns_processes", "do_exit"), pidns=DYING)
        self.assertEqual(self.holder_by_proc(1242, inside=1).reason, "nested")
        self.assertEqual(self.holder_by_proc(1242, inside=7).reason, "asleep")

    def test_all_threads(self):
        """The leader is a zombie, and a thread is what holds it."""
        self.file("proc/sys/kernel/core_pattern", "core\n")
        self.killed(1242, comm="member", threads=[
            (1242, {"state": "Z", "mnt": None}),
            (1243, {"state": "S", "functions": ("futex_wait", "do_exit")}),
            (1244, {"state": "D", "functions": ("request_wait_answer", "fuse_flush")}),
        ])
        seen = self.holder_by_proc(1242)
        self.assertEqual((seen.pid, seen.reason), (1244, "fuse"))

    def test_a_thread_of_a_process_that_lives(self):
        """The main thread has left, and the process goes on."""
        self.process(1242, threads=[(1242, {"state": "Z", "mnt": None}), (1243, {"state": "S"})])
        self.assertFalse(self.tool.Process(1242).is_told_to_die())
        self.assertEqual(self.holder_by_proc(1242).reason, "alive")

    def test_zombies(self):
        self.process(1241)
        self.process(1242, state="Z", parent=1241, mnt=None, pidns=DYING)
        seen = self.holder_by_proc(1242)
        self.assertEqual((seen.reason, seen.blocker), ("unreaped", (1241, "parent")))
        self.process(1240, comm="tracer")
        self.process(1242, state="Z", parent=1241, tracer=1240, mnt=None, pidns=DYING)
        seen = self.holder_by_proc(1242)
        self.assertEqual((seen.reason, seen.blocker), ("traced", (1240, "tracer")))

    def test_no_parent_to_be_seen(self):
        self.process(1242, state="Z", parent=0, mnt=None)
        seen = self.holder_by_proc(1242)
        self.assertEqual(self.tool.phrase(seen), "zombie, its parent is not visible from here")
        self.assertTrue(self.advice(seen))


class Init(fake.Test):
    """Whether an init is dead, told to die, or alive."""

    def init(self, *threads, **facts):
        threads = [(1230 + n, thread) for n, thread in enumerate(threads)]
        self.process(1230, comm="app", threads=threads or None, **facts)
        init = self.tool.Process(1230)
        return init.is_told_to_die(), init.is_dead()

    def test_alive(self):
        self.assertEqual(self.init(), (False, False))

    def test_told(self):
        self.assertEqual(self.init(state="D", pending="0000000000000100", functions=("bio_await",)), (True, False))

    def test_at_its_exit(self):
        """Stopped, or with io_uring in flight: a thread of it still lives."""
        for function in ("ptrace_stop", "io_uring_cancel_generic", "coredump_task_exit"):
            self.assertEqual(self.init(state="t", functions=(function, "do_exit")), (True, False))

    def test_dead(self):
        self.assertEqual(self.init(functions=("zap_pid_ns_processes", "do_exit")), (True, True))
        self.assertEqual(self.init(state="Z", mnt=None), (True, True))

    def test_leader_gone(self):
        """Case 05."""
        gone = {"state": "Z", "mnt": None}
        self.assertEqual(self.init(gone, {}), (False, False))
        self.assertEqual(self.init(gone, {"functions": ("zap_pid_ns_processes", "do_exit")}), (True, True))


    def test_ending(self):
        """The exit code is set late."""
        for functions, how in ((("exit_aio", "mmput", "do_exit"), "exited"), (("acct_collect", "do_exit"), None)):
            self.process(1230, functions=functions)
            self.assertEqual(self.tool.Process(1230).ending()[0], how)


class Explain(fake.Test):
    """What is written about a process in a teardown."""

    def explainer(self, pid):
        explainer = object.__new__(self.tool.Explainer)
        explainer.ledger, explainer.target = None, None
        explainer.home = unittest.mock.Mock(inside=lambda pid: 7)
        explainer.machine, explainer.page = self.tool.Machine(), self.tool.Page()
        explainer.process = self.tool.Process(pid)
        return explainer

    def in_teardown(self, pid, raw):
        explainer = self.explainer(pid)
        explainer.in_teardown(self.tool.Teardown(raw))
        return "\n".join(explainer.page.rendered(color=False))

    def test_init_waits_for_others(self):
        self.process(1230, comm="app", pidns=DYING)
        text = self.in_teardown(1230, fake.teardown(fake.holder("asleep")))
        self.assertIn("dead, and waits for the others in it", text)

    def test_init_holds_itself(self):
        """Case 07."""
        self.process(1230, comm="app", pidns=DYING, state="D", functions=("exit_aio", "do_exit"))
        init = fake.holder("aio", pid=1230, pid_inside=1, comm="app", state="D", function="exit_aio")
        text = self.in_teardown(1230, fake.teardown(init))
        self.assertNotIn("waits for the others", text)
        self.assertIn("holds up its own teardown", text)
        self.assertIn("asynchronous I/O in exit_aio()", text)

    def test_a_thread_of_init_holds_it(self):
        self.process(1230, comm="app", threads=[(1230, {"state": "Z"}), (1231, {"state": "D"})])
        thread = fake.holder("uninterruptible", pid=1231, pid_inside=None, state="D")
        text = self.in_teardown(1230, fake.teardown(thread))
        self.assertIn("holds up its own teardown", text)

    def test_dying_init(self):
        self.process(1230, comm="app", pidns=DYING, state="D")
        init = fake.holder("uninterruptible", pid=1230, pid_inside=1, comm="app", state="D", function="bio_await")
        text = self.in_teardown(1230, fake.teardown(init, state="dying", died_us=None))
        self.assertIn("app (pid 1230): the init of pid namespace 4026532201, told to die, and has not ended", text)
        self.assertIn("was told to die (SIGKILL) 3.0s ago, and has not ended", text)
        self.assertIn("uninterruptible sleep in bio_await()", text)
        self.assertNotIn("dead, and waits", text)

    def test_member_of_a_dying_init(self):
        self.process(1242, comm="member", pidns=DYING)
        init = fake.holder("uninterruptible", pid=1230, pid_inside=1, comm="app", state="D", function="bio_await")
        text = self.in_teardown(1242, fake.teardown(init, state="dying", died_us=None))
        self.assertIn("whose init is told to die, and has not ended", text)
        self.assertNotIn("kill -9", text)

    def test_member_of_an_init_that_holds_itself(self):
        """Case 07: the members are not to blame."""
        self.process(1242, comm="member", pidns=DYING)
        init = fake.holder("aio", pid=1230, pid_inside=1, comm="app", state="D", function="exit_aio")
        others = [fake.holder("alive", pid=pid, state="S") for pid in (1242, 1243)]
        text = self.in_teardown(1242, fake.teardown(init, *others))
        self.assertIn("whose init is dead", text)
        self.assertNotIn("member (pid 1242): holds up", text)
        self.assertIn("nothing has killed it (and 1 more like it)", text)
        self.assertNotIn("kill -9", text)

    def test_deadlock(self):
        """Case 03: the tracer waits for init, and holds the tracee."""
        self.process(1240, comm="tracer")
        self.process(1230, comm="app", pidns=DYING, tracer=1240)
        self.process(1242, comm="member", state="Z", parent=1230, tracer=1240, pidns=DYING, mnt=None)
        raw = fake.teardown(fake.holder("traced", fake.blocker(pid=1240, comm="tracer")))
        explainer = self.explainer(1240)
        explainer.held_by = lambda: [(self.tool.Teardown(raw), self.tool.Teardown(raw).holders)]
        self.assertTrue(explainer.at_fault())
        text = "\n".join(explainer.page.rendered(color=False))
        self.assertIn("keeps pid namespace 4026532201 from ending", text)
        self.assertIn("deadlock", text)
        self.assertIn("kill -9 1240", text)

    def test_tracees(self):
        self.process(1240, comm="tracer")
        self.process(1242, comm="member", state="t", tracer=1240, pidns=DYING, functions=("ptrace_stop", "do_exit"))
        self.process(1243, comm="other", state="t", tracer=99, pidns=DYING, functions=("ptrace_stop", "do_exit"))
        self.link("proc/self/ns/pid", fake.OURS)
        self.assertEqual([process.pid for process in self.explainer(1240).tracees()], [1242])

    def test_whose_child_init_was(self):
        self.process(1240)
        self.process(1230, parent=1240, state="Z", mnt=None)
        self.process(1231, parent=5, state="Z", mnt=None)
        explainer = self.explainer(1240)
        self.assertTrue(explainer.was_its_child(self.tool.Process(1230)))
        self.assertFalse(explainer.was_its_child(self.tool.Process(1231)))
        self.assertIsNone(explainer.was_its_child(None))


if __name__ == "__main__":
    unittest.main()
