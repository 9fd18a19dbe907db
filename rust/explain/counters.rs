// SPDX-License-Identifier: GPL-2.0

//! What the module has done so far: in debugfs at any time, in the kernel log at the end.

use kernel::{
    fmt,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

use crate::explain::teardown;

/// The module's one set of counters.
pub(crate) static COUNTERS: Counters = Counters {
    namespaces_torn_down: Counter::new(),
    processes_killed: Counter::new(),
    forks_refused: Counter::new(),
    stragglers_killed: Counter::new(),
};

/// A number of events since the module was loaded.
pub(crate) struct Counter(Atomic<i64>);

impl Counter {
    const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Counts `events` more. May be called from any context.
    pub(crate) fn add(&self, events: i64) {
        self.0.add(events, Relaxed);
    }

    fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// What is counted.
pub(crate) struct Counters {
    /// Namespaces whose init has returned from `zap_pid_ns_processes()`, having entered it while
    /// the module was loaded.
    pub(crate) namespaces_torn_down: Counter,
    /// Processes that were sent SIGKILL because the init of their namespace, or of one above, was
    /// dead, and that were not exiting by themselves. Stragglers are not among them.
    pub(crate) processes_killed: Counter,
    /// Calls of `alloc_pid()` that were answered with `ENOMEM`.
    pub(crate) forks_refused: Counter,
    /// Children that were killed before they ran.
    pub(crate) stragglers_killed: Counter,
}

/// The counters as a person reads them in the kernel log.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "namespaces torn down: {}, processes killed: {}, forks refused: {}, stragglers killed: {}",
            self.namespaces_torn_down.get(),
            self.processes_killed.get(),
            self.forks_refused.get(),
            self.stragglers_killed.get(),
        )
    }
}

impl Counters {
    /// Writes the counters as a program reads them: a name and a number on each line.
    pub(crate) fn write_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "namespaces_torn_down {}",
            self.namespaces_torn_down.get()
        )?;
        writeln!(f, "processes_killed {}", self.processes_killed.get())?;
        writeln!(f, "forks_refused {}", self.forks_refused.get())?;
        writeln!(f, "stragglers_killed {}", self.stragglers_killed.get())?;
        writeln!(f, "teardown_ends_missed {}", teardown::missed())
    }
}

/// Prints the counters when it is dropped.
pub(crate) struct UnloadMessage;

impl Drop for UnloadMessage {
    fn drop(&mut self) {
        pr_info!("unloaded; {}\n", COUNTERS);
    }
}
