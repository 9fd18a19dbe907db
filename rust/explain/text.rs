// SPDX-License-Identifier: GPL-2.0

//! How things are told: names that come from userspace, times, ways to die.

use kernel::{
    bindings,
    fmt::{
        self,
        Write, //
    },
    prelude::*, //
};

/// The name that a task has given itself: up to 15 bytes of anything.
///
/// Shown so that it cannot do harm on a terminal, in a log or in JSON.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Comm([u8; Comm::LEN]);

impl Comm {
    const LEN: usize = bindings::TASK_COMM_LEN as usize;

    pub(crate) const EMPTY: Self = Self([0; Self::LEN]);

    pub(crate) fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The name as numbers.
    pub(crate) fn to_words(self) -> [u64; 2] {
        let half = |from| core::array::from_fn(|i| self.0[from + i]);

        [u64::from_ne_bytes(half(0)), u64::from_ne_bytes(half(8))]
    }

    pub(crate) fn from_words(words: [u64; 2]) -> Self {
        Self(core::array::from_fn(|i| words[i / 8].to_ne_bytes()[i % 8]))
    }

    fn bytes(&self) -> impl Iterator<Item = u8> + Clone + '_ {
        self.0.iter().copied().take_while(|&byte| byte != 0)
    }

    /// The name as the inside of a JSON string.
    pub(crate) fn json(&self) -> impl fmt::Display + '_ {
        Escaped(self.bytes(), "\\u00")
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Escaped(self.bytes(), "\\x"), f)
    }
}

/// Text that may hold anything, so that it cannot do harm.
pub(crate) fn plain(text: &[u8]) -> impl fmt::Display + '_ {
    Escaped(text.iter().copied(), "\\x")
}

/// The inside of a JSON string.
pub(crate) fn json(text: &[u8]) -> impl fmt::Display + '_ {
    Escaped(text.iter().copied(), "\\u00")
}

/// Bytes, with a prefix and two hexadecimal digits in the place of those that could do harm.
struct Escaped<I>(I, &'static str);

impl<I: Iterator<Item = u8> + Clone> fmt::Display for Escaped<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.clone() {
            match byte {
                b'"' | b'\\' | 0..b' ' | 0x7f.. => {
                    f.write_str(self.1)?;
                    write!(f, "{byte:02x}")?;
                }
                _ => f.write_char(byte.into())?,
            }
        }
        Ok(())
    }
}

/// A length of time in nanoseconds, as a person reads it.
#[derive(Clone, Copy)]
pub(crate) struct Span(pub(crate) i64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const US: i64 = 1_000;
        const MS: i64 = 1_000 * US;
        const SECOND: i64 = 1_000 * MS;
        const MINUTE: i64 = 60 * SECOND;
        const HOUR: i64 = 60 * MINUTE;

        let ns = self.0.max(0);
        match ns {
            0..MS => write!(f, "{} us", ns / US),
            MS..SECOND => write!(f, "{}.{} ms", ns / MS, ns % MS / (100 * US)),
            SECOND..MINUTE => write!(f, "{}.{} s", ns / SECOND, ns % SECOND / (100 * MS)),
            MINUTE..HOUR => write!(f, "{} min {} s", ns / MINUTE, ns % MINUTE / SECOND),
            _ => write!(f, "{} h {} min", ns / HOUR, ns % HOUR / MINUTE),
        }
    }
}

/// A number of things, in the singular or in the plural.
pub(crate) struct Count(pub(crate) usize, pub(crate) &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, thing) = self;

        write!(f, "{number} {thing}{}", if *number == 1 { "" } else { "s" })
    }
}

/// How an init ends: a status as `wait()` encodes it, and whether `reboot()` has made it.
#[derive(Clone, Copy)]
pub(crate) struct Ending {
    code: i32,
    reboot: bool,
}

impl Ending {
    /// The names of signals, from 1 on.
    const NAMES: [&'static str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];

    pub(crate) fn new(code: i32, reboot: bool) -> Self {
        Self { code, reboot }
    }

    /// As `wait()` encodes it.
    pub(crate) fn code(self) -> i32 {
        self.code
    }

    /// Whether a process in the namespace has called `reboot()`. The kernel makes SIGHUP of a
    /// restart, and SIGINT of a halt or of a power-off (`reboot_pid_ns()`).
    pub(crate) fn is_reboot(self) -> bool {
        self.reboot
    }

    /// The signal that killed it, if one did.
    pub(crate) fn signal(self) -> Option<i32> {
        let signal = self.code & 0x7f;

        (signal != 0).then_some(signal)
    }

    /// What it has passed to `exit()`, if no signal has killed it.
    pub(crate) fn exit_code(self) -> i32 {
        self.code >> 8 & 0xff
    }

    /// Whether there is a core dump.
    pub(crate) fn dumped_core(self) -> bool {
        self.code & 0x80 != 0
    }

    /// The word for programs.
    pub(crate) fn how(self) -> &'static str {
        match self.signal() {
            _ if self.reboot => "reboot",
            Some(_) => "killed",
            None => "exited",
        }
    }

    /// Of one that has not ended yet: "was sent SIGKILL", "has called exit(1)".
    pub(crate) fn pending(self) -> impl fmt::Display {
        Pending(self)
    }

    fn fmt_signal(signal: i32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.get(signal as usize - 1) {
            Some(name) => write!(f, "SIG{name}"),
            None => write!(f, "signal {signal}"),
        }
    }

    fn reboot_command(self) -> &'static str {
        match self.signal() {
            Some(signal) if signal == bindings::SIGHUP as i32 => "restart",
            _ => "power off or halt",
        }
    }
}

/// "exited with 1", "was killed by SIGKILL": to be put behind a name.
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reboot {
            return write!(f, "was ended by reboot() ({})", self.reboot_command());
        }
        let Some(signal) = self.signal() else {
            return write!(f, "exited with {}", self.exit_code());
        };

        f.write_str("was killed by ")?;
        Self::fmt_signal(signal, f)?;
        if self.dumped_core() {
            f.write_str(" (core dumped)")?;
        }
        Ok(())
    }
}

struct Pending(Ending);

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(ending) = self;

        if ending.reboot {
            return write!(
                f,
                "was told to die by reboot() ({})",
                ending.reboot_command()
            );
        }
        match ending.signal() {
            Some(signal) => {
                f.write_str("was told to die by ")?;
                Ending::fmt_signal(signal, f)
            }
            None => write!(f, "has called exit({})", ending.exit_code()),
        }
    }
}

/// A line or a field in the making, in a fixed memory; what does not fit is left out.
pub(crate) struct Line<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Line<N> {
    pub(crate) const EMPTY: Self = Self {
        bytes: [0; N],
        len: 0,
    };

    pub(crate) fn from_fmt(args: fmt::Arguments<'_>) -> Self {
        let mut line = Self::EMPTY;

        // It fails when the line is full.
        let _ = line.write_fmt(args);
        line
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl<const N: usize> Write for Line<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Everything shown is ASCII, so no character is cut in two.
        let room = &mut self.bytes[self.len..];
        let len = text.len().min(room.len());

        room[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.len += len;
        if len == text.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

/// As a string, so that it can be aligned.
impl<const N: usize> fmt::Display for Line<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(core::str::from_utf8(self.as_bytes()).unwrap_or("?"))
    }
}

#[kunit_tests(pidns_guard_text)]
mod tests {
    use super::*;

    fn shown(what: impl fmt::Display) -> Line<96> {
        Line::from_fmt(fmt!("{}", what))
    }

    fn comm(name: &[u8]) -> Comm {
        let mut bytes = [0; Comm::LEN];

        bytes[..name.len()].copy_from_slice(name);
        Comm::new(bytes)
    }

    #[test]
    fn names_do_no_harm() {
        assert_eq!(shown(comm(b"kworker/0:1")).as_bytes(), b"kworker/0:1");
        assert_eq!(
            shown(comm(b"a b\x1b[2J\n\"\\\xff")).as_bytes(),
            b"a b\\x1b[2J\\x0a\\x22\\x5c\\xff"
        );
        assert_eq!(
            shown(comm(b"\x7f\"\n").json()).as_bytes(),
            b"\\u007f\\u0022\\u000a"
        );
        assert_eq!(shown(comm(b"")).as_bytes(), b"");
    }

    #[test]
    fn names_survive_as_numbers() {
        let name = comm(b"0123456789abcde");

        assert_eq!(Comm::from_words(name.to_words()).0, name.0);
    }

    #[test]
    fn spans_are_read_by_people() {
        assert_eq!(shown(Span(-1)).as_bytes(), b"0 us");
        assert_eq!(shown(Span(999_999)).as_bytes(), b"999 us");
        assert_eq!(shown(Span(1_250_000)).as_bytes(), b"1.2 ms");
        assert_eq!(shown(Span(12_345_678_901)).as_bytes(), b"12.3 s");
        assert_eq!(shown(Span(3_599_000_000_000)).as_bytes(), b"59 min 59 s");
        assert_eq!(shown(Span(7_500_000_000_000)).as_bytes(), b"2 h 5 min");
    }

    #[test]
    fn endings_are_those_of_wait() {
        let ending = |code| Ending::new(code, false);

        assert_eq!(shown(ending(3 << 8)).as_bytes(), b"exited with 3");
        assert_eq!(shown(ending(9)).as_bytes(), b"was killed by SIGKILL");
        assert_eq!(
            shown(ending(11 | 0x80)).as_bytes(),
            b"was killed by SIGSEGV (core dumped)"
        );
        assert_eq!(shown(ending(35)).as_bytes(), b"was killed by signal 35");
        assert_eq!(
            shown(ending(9).pending()).as_bytes(),
            b"was told to die by SIGKILL"
        );
        assert_eq!(
            shown(ending(1 << 8).pending()).as_bytes(),
            b"has called exit(1)"
        );
    }

    #[test]
    fn a_reboot_is_no_signal() {
        assert_eq!(
            shown(Ending::new(2, true)).as_bytes(),
            b"was ended by reboot() (power off or halt)"
        );
        assert_eq!(
            shown(Ending::new(1, true).pending()).as_bytes(),
            b"was told to die by reboot() (restart)"
        );
    }

    #[test]
    fn lines_end_where_there_is_no_room() {
        let line = Line::<4>::from_fmt(fmt!("{}", 123456));

        assert_eq!(line.as_bytes(), b"1234");
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(shown(Count(1, "task")).as_bytes(), b"1 task");
        assert_eq!(shown(Count(0, "task")).as_bytes(), b"0 tasks");
    }
}
