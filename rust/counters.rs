// SPDX-License-Identifier: GPL-2.0

//! What the module has done so far, in debugfs and, at its end, in the kernel log.

use kernel::{
    debugfs::{
        Dir,
        File, //
    },
    fmt,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// The module's one set of counters.
pub(crate) static COUNTERS: Counters = Counters::new();

/// Counts since the module was loaded.
pub(crate) struct Counters {
    /// Namespaces whose init has returned from `zap_pid_ns_processes()`.
    pub(crate) namespaces_torn_down: Atomic<i64>,
    /// Processes that were sent SIGKILL because the init of their namespace, or of one above, was
    /// dead, and that were not exiting by themselves. Stragglers are not among them.
    pub(crate) processes_killed: Atomic<i64>,
    /// Calls of `alloc_pid()` that were answered with `ENOMEM`.
    pub(crate) forks_refused: Atomic<i64>,
    /// Children that were killed before they ran.
    pub(crate) stragglers_killed: Atomic<i64>,
}

impl Counters {
    const fn new() -> Self {
        Self {
            namespaces_torn_down: Atomic::new(0),
            processes_killed: Atomic::new(0),
            forks_refused: Atomic::new(0),
            stragglers_killed: Atomic::new(0),
        }
    }

    /// The names and values, in the order in which they are shown.
    fn all(&self) -> [(&'static str, i64); 4] {
        [
            (
                "namespaces_torn_down",
                self.namespaces_torn_down.load(Relaxed),
            ),
            ("processes_killed", self.processes_killed.load(Relaxed)),
            ("forks_refused", self.forks_refused.load(Relaxed)),
            ("stragglers_killed", self.stragglers_killed.load(Relaxed)),
        ]
    }
}

/// The counters as one reads them in the kernel log.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} namespaces torn down, {} processes killed, {} forks refused, {} stragglers killed",
            self.namespaces_torn_down.load(Relaxed),
            self.processes_killed.load(Relaxed),
            self.forks_refused.load(Relaxed),
            self.stragglers_killed.load(Relaxed),
        )
    }
}

/// `/sys/kernel/debug/pidns_guard/counters`, for as long as the value lives.
///
/// A name and a value on each line. Without debugfs there is no file, and that is no error.
pub(crate) struct DebugFs {
    _counters: Pin<KBox<File<&'static Counters>>>,
}

impl DebugFs {
    /// Makes the file. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        let dir = Dir::new(c"pidns_guard");
        let counters = dir.read_callback_file(c"counters", &COUNTERS, &|counters, f| {
            counters
                .all()
                .iter()
                .try_for_each(|(name, value)| writeln!(f, "{name} {value}"))
        });

        Ok(Self {
            _counters: KBox::pin_init(counters, GFP_KERNEL)?,
        })
    }
}

/// Prints the counters when it is dropped.
pub(crate) struct Farewell;

impl Drop for Farewell {
    fn drop(&mut self) {
        pr_info!("unloaded: {}\n", COUNTERS);
    }
}
