# SPDX-License-Identifier: GPL-2.0
"""Compares what selftests/errors printed without and with the module.

The kernel as it is, without the module, is the reference: whatever else runs must
give the same answer in each cell, but for those of selftests/error_exceptions.
There each line is an obligation: what it names must differ, and as it says.

For scripts/four-ways, where each state of a namespace is one test.
"""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

EXCEPTIONS = Path(__file__).resolve().parent.parent / "selftests/error_exceptions"
PROGRAM = "errors"
# Few, or the reason is lost in the details.
SHOWN = 12

CELL = re.compile(r"^cell (\S+) (\S+) (\S+) (\S+)$")
TROUBLE = re.compile(r"^# (\S+): incomplete$")


@dataclass(frozen=True)
class Exception_:
    """One line of selftests/error_exceptions: what differs, and how."""

    where: tuple  # patterns for state, caller, call
    kernel: str  # the kernel's answer
    module: str  # the module's

    def covers(self, cell, kernel):
        matches = all(fnmatchcase(part, pattern) for part, pattern in zip(cell, self.where))
        return matches and self.kernel in ("*", kernel)

    def __str__(self):
        return " ".join([*self.where, self.kernel, self.module])


def exceptions():
    found = []
    for number, line in enumerate(EXCEPTIONS.read_text().splitlines(), 1):
        words = line.split("#")[0].split()
        if words and len(words) != 5:
            raise ValueError(f"{EXCEPTIONS.name}:{number}: {line!r}: wants: STATE CALLER CALL KERNEL MODULE")
        if words:
            found.append(Exception_(tuple(words[:3]), *words[3:]))
    return found


def parse(lines):
    """The table of one run, {(state, caller, call): answer}, and the states that it did not finish."""
    cells, incomplete = {}, set()
    for line in lines:
        if match := CELL.match(line):
            cells[match.groups()[:3]] = match[4]
        elif match := TROUBLE.match(line):
            incomplete.add(match[1])
    return cells, incomplete


def compare(reference, table, excepted):
    """What is wrong with a table, {state: [line]}."""
    wrong = {}

    def complain(cell, text):
        wrong.setdefault(cell[0], []).append(f"{' '.join(cell[1:])}: {text}")

    for cell in dict.fromkeys([*reference, *table]):
        kernel, answer = reference.get(cell, "no cell"), table.get(cell, "no cell")
        lines = [line for line in excepted if line.covers(cell, kernel)]
        if lines and answer == kernel:
            complain(cell, f"{answer} like the kernel, and is to differ: {lines[0]}")
        elif lines and answer not in [line.module for line in lines]:
            complain(cell, f"{answer}, and neither like the kernel nor: {lines[0]}")
        elif not lines and answer != kernel:
            complain(cell, f"{answer}, and {kernel} by the kernel alone")
    return wrong


def judge(outputs, reference, has_exceptions):
    """For each way {state: [what is wrong]}, of {way: lines of output}."""
    tables = {way: parse(lines) for way, lines in outputs.items()}
    cells = tables[reference][0]
    states = dict.fromkeys(cell[0] for table, _ in tables.values() for cell in table)
    states |= dict.fromkeys(sorted({state for _, incomplete in tables.values() for state in incomplete}))
    excepted = exceptions()
    results = {}
    for way, (table, incomplete) in tables.items():
        wrong = compare(cells, table, excepted if has_exceptions(way) else [])
        for state in incomplete:
            wrong.setdefault(state, []).append("incomplete, see the log")
        results[way] = {state: shorten(wrong.get(state, [])) for state in states}
    # One that covers nothing says something that is not so.
    for line in excepted:
        if not any(line.covers(cell, kernel) for cell, kernel in cells.items()):
            results[reference][f"exception:{line}".replace(" ", ":")] = ["names no cell: take it out"]
    return results


def shorten(lines):
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], f"... and {more} more"] if more > 0 else lines
