#!/usr/bin/env -S python3 -IS
# SPDX-License-Identifier: GPL-2.0
"""Runs a command on a terminal of its own, as top.sh wants to see pidns-top.

usage: top_terminal.py COMMAND...

It has to draw, again when the terminal changes its size, always within it,
end on q with status 0, and leave the terminal as it found it; in colors, and
once more without. Says what did not come true, and exits 1.
"""

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time

PATIENCE = 60
ENTER, LEAVE = "\033[?1049h", "\033[?1049l"
FRAME = "\033[H"


class Terminal:
    def __init__(self, command, environment, rows, columns):
        self.master, slave = pty.openpty()
        self.slave = slave
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.said = ""
        self.pid = os.fork()
        if not self.pid:
            os.login_tty(slave)
            os.execvpe(command[0], command, dict(os.environ, **environment))

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, what, true):
        """Reads until it is true of all that was said."""
        end = time.monotonic() + PATIENCE
        while not true():
            if not select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
                sys.exit(f"{what}: did not come: {self.said!r}")
            self.said += os.read(self.master, 65536).decode()

    def frames(self):
        """What was drawn, one list of lines for each time; the last may be in the making."""
        return [re.sub(r"\033\[[0-9;?]*[A-Za-z]", "", frame).split("\r\n") for frame in self.said.split(FRAME)[1:]]

    def drawn(self):
        """How often it was drawn to the end."""
        return self.said.count("\033[J")


def must(what, true):
    if not true:
        sys.exit(f"{what}: not so")


def run(command, environment):
    rows, columns = 24, 100
    terminal = Terminal(command, environment, rows, columns)
    terminal.until("two frames", lambda: terminal.drawn() >= 2)
    must("it has the screen to itself", terminal.said.startswith(ENTER))
    must("keys come one by one", not termios.tcgetattr(terminal.slave)[3] & termios.ICANON)
    full = terminal.frames()[0]
    must("it says its name", full[0].startswith("pidns-top"))
    must("within the width", all(len(line) <= columns for line in full))
    must("colors unless NO_COLOR", ("\033[1m" in terminal.said) != ("NO_COLOR" in environment))

    rows, columns = 5, 30
    seen = terminal.drawn()
    terminal.resize(rows, columns)
    # One may have been under way.
    terminal.until("two more frames", lambda: terminal.drawn() >= seen + 2)
    small = terminal.frames()[terminal.drawn() - 1]
    must("within the new width", all(len(line) <= columns for line in small))
    must("within the new height", len(small) <= rows)
    must("it fills what there is", len(small) == min(rows, len(full)))

    os.write(terminal.master, b"q")
    terminal.until("the end", lambda: LEAVE in terminal.said)
    must("status 0", os.waitpid(terminal.pid, 0)[1] == 0)
    must("the terminal is as it was", termios.tcgetattr(terminal.slave) == terminal.before)
    must("the cursor is back", terminal.said.rindex("\033[?25h") > terminal.said.rindex("\033[?25l"))


if __name__ == "__main__":
    run(sys.argv[1:], {"TERM": "xterm"})
    run(sys.argv[1:], {"TERM": "xterm", "NO_COLOR": "1"})
