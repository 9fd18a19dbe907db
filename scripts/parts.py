# SPDX-License-Identifier: GPL-2.0
"""Long runs in parts, each of which is noted as soon as it is over.

A part is a command whose last line is `N passed, N failed, N skipped`; one that
has no such line is one test, by its exit status.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pidns_guard"
TOTALS = re.compile(r"^(?:of these .*: )?(\d+) passed, (\d+) failed, (\d+) skipped$")


@dataclass(frozen=True)
class Part:
    """One command, in a shell's words."""

    name: str
    command: str
    minutes: int  # what it takes on 2 cores without KVM, roughly
    what: str
    also: str = ""  # the name of a part of this part, counted in a line that begins with "of these"


def source_state():
    """The commit, with a mark if the files are not those of it; '' where this is no repository."""
    done = subprocess.run(
        ["git", "-c", f"safe.directory={REPO}", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False,
    )
    return done.stdout.strip()


def span(seconds):
    """In words."""
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {int(seconds) % 60:02} s"


def add_arguments(parser):
    """What all runs of this kind are asked."""
    parser.add_argument("--list", action="store_true", help="what there is, and what it takes; runs nothing")
    parser.add_argument("--status", action="store_true", help="what the parts came to when they were run last; runs nothing")
    parser.add_argument("--only", metavar="PART", action="append", help="only this part (more than once: these)")
    parser.add_argument("--continue", dest="resume", action="store_true", help="leave out what has passed with this very source")


class Run:
    """The parts that are asked for, and what has come of them, this time or the last."""

    def __init__(self, name, parts, parser, args):
        self.name = name
        self.logs = CACHE / "logs" / name
        self.file = CACHE / f"{name}.json"
        names = [part.name for part in parts]
        unknown = set(args.only or []) - set(names)
        if unknown:
            parser.error(f"no such part: {', '.join(sorted(unknown))} (known: {', '.join(names)})")
        self.parts = [part for part in parts if not args.only or part.name in args.only]

    def list(self):
        """Prints what there is."""
        width = max(len(part.name) for part in self.parts) + 2
        for part in self.parts:
            print(f"{part.name:<{width}}{part.minutes:>4} min  {part.what}\n{'':<{width + 10}}{part.command}")
        print(f"{'all':<{width}}{sum(part.minutes for part in self.parts):>4} min  on 2 cores without KVM, kernels not counted")

    def notes(self):
        """What the parts came to when they were run last."""
        try:
            return json.loads(self.file.read_text())
        except (OSError, ValueError):
            return {}

    def note(self, name, result):
        """Whole or not at all: this may be killed at any moment."""
        known = self.notes()
        known[name] = result
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(known, indent=1) + "\n")
        new.replace(self.file)

    def all(self, resume):
        """Runs them; those that have passed with this very source not again, to resume."""
        self.logs.mkdir(parents=True, exist_ok=True)
        state, known, results = source_state(), self.notes(), {}
        for part in self.parts:
            old = known.get(part.name)
            whole = old and old["state"] == state and state and not state.endswith("-dirty")
            if resume and whole and not old["failed"] and old["command"] == part.command:
                results[part.name] = old
                if part.also in known:
                    results[part.also] = known[part.also]
            else:
                results |= self.one(part, state)
        return results

    def one(self, part, state):
        """Runs it with its output in a log; returns its results, which have been noted."""
        log, start, last, of_these = self.logs / f"{part.name.replace('/', '-')}.log", time.monotonic(), "", ""
        print(f"==== {part.name}: {part.command} (about {part.minutes} min, output in {log})", flush=True)
        with log.open("w") as out, subprocess.Popen(
            # A group of its own, for all of it is to end with this; and with this killed outright too.
            ["setpriv", "--pdeathsig", "TERM", *shlex.split(part.command)],
            cwd=REPO, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True,
        ) as child:

            def end(number, _frame):
                os.killpg(child.pid, signal.SIGTERM)
                try:
                    child.wait(20)
                except subprocess.TimeoutExpired:
                    os.killpg(child.pid, signal.SIGKILL)
                print(f"\n{self.name}: interrupted in {part.name}; what is done is noted, see --status", file=sys.stderr)
                os._exit(128 + number)

            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, end)
            said = start
            for line in child.stdout:
                out.write(line)
                out.flush()
                if TOTALS.match(line.strip()):
                    last, of_these = line.strip(), last
                if time.monotonic() - said > 60:
                    said = time.monotonic()
                    print(f"  {span(said - start)}: {line.strip()[:150]}", flush=True)
        found = TOTALS.match(last)
        passed, failed, skipped = map(int, found.groups()) if found else (0, 0, 0)
        if child.returncode and not failed:
            failed = 1
        if not found and not failed:
            passed = 1
        result = {
            "passed": passed, "failed": failed, "skipped": skipped, "seconds": round(time.monotonic() - start),
            "when": time.strftime("%Y-%m-%d %H:%M"), "state": state, "command": part.command,
        }
        results = {part.name: result}
        if part.also and of_these.startswith("of these "):
            results[part.also] = result | dict(zip(("passed", "failed", "skipped"), map(int, TOTALS.match(of_these).groups())))
        for name, counts in results.items():
            self.note(name, counts)
        print(f"  {passed} passed, {failed} failed, {skipped} skipped in {span(result['seconds'])}", flush=True)
        return results
