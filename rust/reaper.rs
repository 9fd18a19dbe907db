// SPDX-License-Identifier: GPL-2.0

//! I2, the reaper kill: when its init dies, everything in a PID namespace is killed.
//!
//! The kernel does so too, in `zap_pid_ns_processes()`, but only after init has given up its
//! memory, files and sockets, and never if init gets stuck on that way. The kill here comes
//! first, unless the kernel's own order is asked for.

use kernel::{
    prelude::*,
    task::CurrentTask, //
};

use crate::{
    compat,
    counters::COUNTERS,
    hooks::tracepoint::{
        OnExit,
        OnWait,
        Probe,
        SchedProcessExit,
        SchedProcessWait, //
    },
    ledger::{
        self,
        Init, //
    },
    params,
    pidns::{
        Death,
        Pidns, //
    },
    process::{
        self,
        Process, //
    },
    stall,
    trace,
    trial, //
};

/// Notes the deaths of inits, and kills what they leave behind, for as long as the value lives.
pub(crate) struct Reaper {
    /// Who dies.
    _exits: Probe<SchedProcessExit<Exits>>,
    /// Who waits for its members, where the kernel's own order is asked for.
    _waits: Option<Probe<SchedProcessWait<Waits>>>,
}

impl Reaper {
    /// Sets up the watch, and with `kill` the kill. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Probe::register`].
    pub(crate) fn new(kill: bool) -> Result<Self> {
        let late = kill && matches!(Death::configured(), Death::InZap);

        Ok(Self {
            _waits: late.then(Probe::register).transpose()?,
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
    fn on_exit(task: &CurrentTask) {
        if !trial::is_over() {
            trial::exited(task);
            return;
        }

        let Some(ns) = Pidns::reaped_by(task) else {
            return;
        };
        if let Some(init) = Process::of(task) {
            note_death(ns, init);
        }
        if params::get().kill && matches!(Death::configured(), Death::OfLastThread) {
            // As in `zap_pid_ns_processes()`, which otherwise has to reap them one by one.
            process::ignore_children(task);
            kill_members(ns);
        }
    }
}

struct Waits;

impl OnWait for Waits {
    /// `zap_pid_ns_processes()` comes here, through `kernel_wait4()`, for the first time right
    /// after its own kill, and then for as long as init has children.
    ///
    /// Not the entry of `zap_pid_ns_processes()`: there `PIDNS_ADDING` is still set, and a child
    /// that is attached behind the walk would not see the death.
    fn on_wait(init: &CurrentTask) {
        if !trial::is_over() {
            trial::waited();
            return;
        }

        if let Some(ns) = Pidns::reaped_by(init).filter(|ns| ns.is_zapped()) {
            // `disable_pid_allocation()` is no full barrier between the death and the walk.
            compat::smp_mb();
            kill_members(ns);
        }
    }
}

/// Opens the ledger's entry.
fn note_death(ns: Pidns<'_>, init: Process<'_>) {
    let init = Init::new(ns, init, false);

    trace::teardown_begin(ns, &init);
    ledger::with(|ledger| {
        ledger.begin(ns, &init);
    });
    stall::expect();
}

/// Kills every process of a PID namespace but its init, and those of the namespaces below.
///
/// Where a namespace above is dead as well there is nothing to do: all of them are members there
/// too, and have been killed or will be, by the walk of that one's init, or by adoption. Should the
/// module go before that init comes to its walk, the last look is taken in its place.
fn kill_members(ns: Pidns<'_>) {
    let mut killed = 0;

    if !ns.is_below_dead() {
        ns.for_each_member(|process| killed += i64::from(process.kill()));
    }

    COUNTERS.processes_killed.add(killed);
    trace::kill(ns, killed);
    ledger::with(|ledger| {
        if let Some(teardown) = ledger.of(ns) {
            teardown.killed(killed);
        }
    });
}
