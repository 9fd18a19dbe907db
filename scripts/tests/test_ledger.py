# SPDX-License-Identifier: GPL-2.0
"""What the ledger says: states, the exit status, and what it has no room for."""

import contextlib
import errno
import io
import unittest
import unittest.mock

import fake


class Stuck(fake.Test):
    def once(self, *lines, as_json=False):
        self.write_ledger(*lines)
        with contextlib.redirect_stdout(io.StringIO()) as output:
            status = self.tool.once(self.tool.LEDGER, as_json)
        return status, output.getvalue()

    def test_none(self):
        status, output = self.once(fake.teardown(fake.holder("running")))
        self.assertEqual(status, 0)
        self.assertIn("0 stuck, 1 dying", output)

    def test_by_the_module(self):
        status, output = self.once(fake.teardown(fake.holder("asleep"), state="stuck"))
        self.assertEqual(status, 1)
        self.assertIn("1 stuck, 0 dying", output)

    def test_not_shown(self):
        """Case 09c: one that has no room in the ledger may be stuck."""
        for as_json in (False, True):
            status, output = self.once(fake.teardown(left_us=9, state="gone"), {"not_shown": 3}, as_json=as_json)
            self.assertEqual(status, 1)
            self.assertIn('{"not_shown": 3}' if as_json else "3 teardowns have no room in the ledger", output)
        self.assertIn("ledger_size", self.view(fake.teardown(), {"not_shown": 1}))

    def test_all_shown(self):
        self.assertNotIn("not shown", self.view(fake.teardown()))

    def test_stall_secs_0(self):
        """Case 08z: without reports, a teardown is stuck by its age."""
        old = fake.teardown(fake.holder("asleep"), age_us=11000000)
        young = fake.teardown(fake.holder("asleep"), age_us=9000000)
        busy = fake.teardown(fake.holder("running"), age_us=11000000)
        over = fake.teardown(age_us=11000000, left_us=5, state="gone")
        self.load_module(stall_secs=0)
        self.assertEqual([self.once(entry)[0] for entry in (old, young, busy, over)], [1, 0, 0, 0])
        self.assertIn('"state": "stuck"', self.once(old, as_json=True)[1])
        self.load_module(stall_secs=30)
        self.assertEqual(self.once(old)[0], 0)

    def test_of_elsewhere(self):
        """A copy of a ledger says nothing about the parameters of this machine."""
        self.write_ledger(fake.teardown(fake.holder("asleep"), age_us=11000000))
        self.load_module(stall_secs=0)
        place, self.tool.LEDGER = self.tool.LEDGER, "/elsewhere"
        self.assertFalse(self.tool.Ledger.read(place).is_any_stuck())


class Read(fake.Test):
    def test_an_old_module(self):
        """Fields that an old module does not have."""
        old = fake.teardown(fake.holder("unreaped", {"pid": 1241, "comm": "parent"}))
        for name in ("at_least", "died_us"):
            del old[name]
        for name in ("cpu_ms", "syscall"):
            del old["holders"][0][name]
        old["holders"][0]["fuse_connection"] = None
        entry, = self.read(old).teardowns
        self.assertFalse(entry.is_dying)
        self.assertIn("not reaped by its parent parent (pid 1241)", self.view(old))

    def test_error(self):
        with self.assertRaisesRegex(self.tool.Trouble, "ENOMEM.*try again"):
            self.read(fake.teardown(), {"error": "ENOMEM"})

    def test_nonsense(self):
        with self.assertRaisesRegex(self.tool.Trouble, "does not understand"):
            self.read({"pidns": 1})

    def test_eperm(self):
        """The module checks at open()."""
        self.tool.may_look = lambda: True
        refused = unittest.mock.patch("builtins.open", side_effect=PermissionError(errno.EPERM, "no"))
        with refused, self.assertRaisesRegex(self.tool.Trouble, "only root"):
            self.read()

    def test_no_capability(self):
        self.process("self", status={"CapEff": "0000000000000000"})
        with self.assertRaisesRegex(self.tool.Trouble, "only root"):
            self.read(fake.teardown())


class Words(fake.Test):
    def ending(self, **fields):
        return self.tool.ending(self.tool.Teardown(fake.teardown(**fields)))

    def test_endings(self):
        self.assertEqual(self.ending(), "was killed by SIGKILL")
        self.assertEqual(self.ending(how="exited", code=3), "exited with 3")
        self.assertEqual(self.ending(how="killed", code=11, core=True), "was killed by SIGSEGV (core dumped)")

    def test_reboot(self):
        """Case 08."""
        self.assertEqual(self.ending(how="reboot", code=2), "was ended by reboot(): power off or halt")
        self.assertEqual(self.ending(how="reboot", code=1), "was ended by reboot(): restart")

    def test_dying(self):
        self.assertEqual(self.ending(died_us=None), "was told to die (SIGKILL), and has not ended")
        self.assertEqual(self.ending(died_us=None, how="exited", code=3), "called exit(3), and has not ended")
        self.assertIn("by reboot(): restart, and has not ended", self.ending(died_us=None, how="reboot", code=1))

    def test_dying_row(self):
        init = fake.holder("uninterruptible", pid=1230, pid_inside=1, state="D", function="percpu_rwsem_wait")
        for state in ("dying", "stuck"):
            text = self.view(fake.teardown(init, state=state, died_us=None))
            self.assertRegex(text, rf"(?m)^{state} .*app \(pid 1230\) was told to die \(SIGKILL\), and has not ended")
            self.assertIn("in uninterruptible sleep in percpu_rwsem_wait()", text)

    def test_at_least(self):
        late = fake.teardown(at_least=True, age_us=17000000)
        self.assertIn(" >17s ", self.view(late))
        self.assertEqual(self.tool.ago(self.tool.Teardown(late)), "at least 17s ago")
        self.assertEqual(self.tool.ago(self.tool.Teardown(fake.teardown())), "3.0s ago")

    def test_text_is_not_parsed(self):
        """What the module says in prose is for people: facts come from fields."""
        for reason in self.tool.REASONS:
            described = self.tool.describe(self.tool.holder_of_json(fake.holder(reason, fake.blocker())))
            self.assertNotIn("to end it", described)
        newer = self.tool.holder_of_json(fake.holder("of a newer module", text="a; to end it: b"))
        self.assertIn("a; to end it: b", self.tool.describe(newer))

    def test_alike(self):
        """Holders of one blocker are one group; others are not."""
        raw = [fake.holder("unreaped", fake.blocker(), pid=pid) for pid in (5, 6, 7)]
        raw += [fake.holder("aio", pid=8), fake.holder("aio", pid=9)]
        groups = self.tool.alike([self.tool.holder_of_json(each) for each in raw])
        self.assertEqual([(each.pid, more) for each, more in groups], [(5, 2), (8, 0), (9, 0)])


class Quoted(fake.Test):
    def test_words(self):
        for text, expected in (
            ("/sys/fs/cgroup/freezer/a-b_c.scope", "/sys/fs/cgroup/freezer/a-b_c.scope"),
            ("/a b", "'/a b'"),
            ("/it's;rm", "'/it'\\''s;rm'"),
            ("/\xc3\xa9\n", "$'/\\303\\251\\012'"),
        ):
            self.assertEqual(self.tool.quoted(text), expected)


if __name__ == "__main__":
    unittest.main()
