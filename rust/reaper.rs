// SPDX-License-Identifier: GPL-2.0

//! I2, the reaper kill: when its init dies, everything in a PID namespace is killed.
//!
//! The kernel does so too, in `zap_pid_ns_processes()`, but only after init has given up its
//! memory, files and sockets, and never if init gets stuck on that way. The kill here comes first.

use kernel::{
    prelude::*,
    task::CurrentTask, //
};

use crate::{
    counters::COUNTERS,
    hooks::tracepoint::{
        OnExit,
        Probe,
        SchedProcessExit, //
    },
    pidns::Pidns, //
};

/// Kills what a dying init leaves behind, for as long as the value lives.
pub(crate) struct Reaper {
    _exits: Probe<SchedProcessExit<Exits>>,
}

impl Reaper {
    /// Sets up the kill. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Probe::register`].
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            _exits: Probe::register()?,
        })
    }
}

struct Exits;

impl OnExit for Exits {
    /// The last thread of an init is gone: kill all others.
    ///
    /// `atomic_dec_and_test(&signal->live)` in `do_exit()` is a full barrier between the death and
    /// the walk. [`straggler`](crate::straggler) has the other one, between the attachment of a
    /// child and its look at the death: a child is seen by the walk, or sees the death, or both.
    fn on_exit(task: &CurrentTask, group_dead: bool) {
        if !group_dead {
            return;
        }

        if let Some(ns) = Pidns::reaped_by(task) {
            kill_members(ns);
        }
    }
}

/// Kills every process of a PID namespace but its init, and those of the namespaces below.
fn kill_members(ns: Pidns<'_>) {
    let mut killed = 0;

    ns.for_each_member(|process| killed += i64::from(process.kill()));
    COUNTERS.processes_killed.add(killed);
}
