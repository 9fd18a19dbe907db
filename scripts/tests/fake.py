# SPDX-License-Identifier: GPL-2.0
"""A made-up machine for the tests of pidns-top: its /proc, its /sys and its ledger."""

import importlib.machinery
import importlib.util
import json
import os
import pathlib
import shutil
import sys
import tempfile
import unittest

TOOL = pathlib.Path(os.environ.get("PIDNS_TOP") or pathlib.Path(__file__).resolve().parents[1] / "pidns-top")
OURS = "pid:[4026531836]"


def load():
    """The tool as a module; a new one each time, as tests set its constants."""
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("pidns_top", str(TOOL))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("pidns_top", loader))
    loader.exec_module(module)
    return module


def holder(reason, blocker=None, pid=1242, **fields):
    """A holder as the module writes it."""
    return {
        "pid": pid, "pid_inside": 5, "pidns": 4026532201, "comm": "member", "state": "Z", "reason": reason,
        "blocker": blocker, "function": None, "syscall": None, "cgroup": None, "memory_kb": None, "cpu_ms": None,
        "text": "; to end it: text of the module, which nobody may parse", **fields,
    }


def blocker(pid=1241, comm="parent", state="S", function=None, init_of=None):
    return {"pid": pid, "comm": comm, "state": state, "function": function, "init_of": init_of}


def teardown(*holders, **fields):
    """A teardown as the module writes it; fields of the init are those that it has."""
    init = {"pid": 1230, "comm": "app", "how": "killed", "code": 9, "core": False}
    init.update((name, fields.pop(name)) for name in list(fields) if name in init)
    return {
        "pidns": 4026532201, "level": 1, "state": "waiting", "init": init, "before_load": False, "at_least": False,
        "age_us": 3000000, "died_us": 100, "kill_us": 200, "empty_us": None, "left_us": None, "killed": 1,
        "stragglers": 0, "forks_refused": 0, "holders": list(holders), "more_holders": 0, **fields,
    }


class Test(unittest.TestCase):
    """Has the tool in self.tool, with nothing but made-up files below self.root."""

    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        self.proc, self.sys, self.ledger = (self.root / name for name in ("proc", "sys", "ledger"))
        for directory in (self.proc, self.sys, self.ledger):
            directory.mkdir()
        self.tool = load()
        self.tool.PROC, self.tool.SYS = str(self.proc), str(self.sys)
        self.tool.LEDGER = str(self.ledger)
        self.tool.time.sleep, sleep = lambda _: None, self.tool.time.sleep
        self.addCleanup(setattr, self.tool.time, "sleep", sleep)
        self.mounts = []
        self.process("self", comm="pidns-top", status={"CapEff": "000001ffffffffff"})
        self.link("proc/self/ns/user", "user:[4026531837]")
        self.link("proc/self/ns/pid", OURS)
        self.load_module()

    # What the machine has.

    def file(self, path, text):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("latin-1"))

    def link(self, path, target):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            path.unlink()
        path.symlink_to(target)

    def process(self, pid, comm="parent", threads=None, **facts):
        """A process; each of its threads is a pair of TID and what differs from the others."""
        if pid != "self":
            for tid, differs in threads or [(pid, {})]:
                self.task(f"proc/{pid}/task/{tid}", tid, comm, **{**facts, **differs})
                if tid == pid:
                    self.task(f"proc/{pid}", tid, comm, **{**facts, **differs})
                elif not (self.proc / str(tid)).exists():
                    self.task(f"proc/{tid}", tid, comm, **{**facts, **differs})
        else:
            self.task("proc/self", 4242, comm, **facts)

    def task(
        self, path, tid, comm, state="S", parent=1, tracer=0, flags=0, pending="0000000000000000", functions=(),
        pidns=OURS, nspid=None, mnt="mnt:[4026531841]", cgroup=None, cpu_ticks=0, fds=(), status=(), **more,
    ):
        fields = [state, parent, 0, 0, 0, 0, flags, 0, 0, 0, 0, cpu_ticks, 0] + [0] * 40
        self.file(f"{path}/stat", f"{tid} ({comm}) {' '.join(map(str, fields))}\n")
        self.file(f"{path}/comm", f"{comm}\n")
        lines = {
            "Name": comm, "State": f"{state} (state)", "PPid": parent, "TracerPid": tracer,
            "NSpid": "\t".join(map(str, nspid or [tid])), "SigPnd": pending, "ShdPnd": "0000000000000000",
            **dict(status),
        }
        self.file(f"{path}/status", "".join(f"{name}:\t{value}\n" for name, value in lines.items()))
        self.file(f"{path}/stack", "".join(f"[<0>] {function}+0x12/0x340\n" for function in functions))
        self.file(f"{path}/wchan", functions[0] if functions else "0")
        self.file(f"{path}/cgroup", cgroup or "0::/\n")
        self.link(f"{path}/ns/pid", pidns)
        if mnt:
            self.link(f"{path}/ns/mnt", mnt)
        else:
            (self.root / path / "ns/mnt").unlink(missing_ok=True)
        for fd, (target, info) in dict(fds).items():
            self.link(f"{path}/fd/{fd}", target)
            self.file(f"{path}/fdinfo/{fd}", info)

    def killed(self, pid, **facts):
        self.process(pid, pending="0000000000000100", **facts)

    def mount(self, dev, point, fstype="fuse", source="none", root="/", options="rw", of="self", mount_id=None):
        """A mount in the namespace of a process, or of all that are given."""
        for pid in of if isinstance(of, list) else [of]:
            path = self.proc / str(pid) / "mountinfo"
            before = path.read_text() if path.exists() else ""
            mount_id = mount_id or 20 + len(before.splitlines())
            line = f"{mount_id} 1 {dev} {root} {point} rw,relatime - {fstype} {source} {options}\n"
            self.file(f"proc/{pid}/mountinfo", before + line)

    def fusectl(self):
        self.mount("0:33", f"{self.sys}/fs/fuse/connections", "fusectl")

    def connection(self, number, waiting):
        self.file(f"sys/fs/fuse/connections/{number}/waiting", f"{waiting}\n")

    def load_module(self, stall_secs=30):
        self.file("sys/module/pidns_guard/parameters/stall_secs", f"{stall_secs}\n")

    def write_ledger(self, *lines):
        self.file("ledger/teardowns.json", "".join(json.dumps(line) + "\n" for line in lines))
        self.file("ledger/counters", "namespaces_torn_down 1\nteardown_ends_missed 0\n")

    # What the tool makes of it.

    def read(self, *lines):
        if lines:
            self.write_ledger(*lines)
        return self.tool.Ledger.read(self.tool.LEDGER)

    def steps(self, raw, here=True, dying=()):
        """The advice about a holder, one text each."""
        made = self.tool.holder_of_json(raw) if isinstance(raw, dict) else raw
        return self.tool.lines_of(self.tool.advice(made, self.tool.Machine(here, dying)))

    def advice(self, raw, **options):
        return "\n".join(self.steps(raw, **options))

    def view(self, *lines):
        return "\n".join(self.tool.view(self.read(*lines)).rendered(color=False))

    def holder_by_proc(self, pid, inside=5):
        return self.tool.Machine().holder_of(self.tool.Process(pid), inside)
