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
    explain::event,
    hooks::tracepoint::{
        OnExit,
        OnWait,
        Probe,
        SchedProcessExit,
        SchedProcessWait, //
    },
    params,
    view::{
        pid_namespace::{
            Death,
            Pidns, //
        },
        process::{
            self,
            Process, //
        }, //
    }, //
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
    /// the walk. [`straggler`](crate::enforce::straggler) has the other one, between the attachment of a
    /// child and its look at the death: a child is seen by the walk, or sees the death, or both.
    fn on_exit(task: &CurrentTask) {
        let Some(ns) = Pidns::reaped_by(task) else {
            return;
        };
        if let Some(init) = Process::of(task) {
            event::death(ns, init);
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
        if let Some(ns) = Pidns::reaped_by(init).filter(|ns| ns.is_zapped()) {
            // `disable_pid_allocation()` is no full barrier between the death and the walk.
            compat::smp_mb();
            kill_members(ns);
        }
    }
}

/// Kills the members of a namespace whose init is dead and has not come to do so: between its last
/// `live--` and the tracepoint it may have to wait for its own memory (`acct_collect()`), for the
/// audit daemon (`audit_free()`), or for a timer of its own.
///
/// To be called some time after the death. Should init come to it meanwhile, both do the same.
pub(crate) fn kill_late(ns: Pidns<'_>) {
    if params::get().kill && matches!(Death::configured(), Death::OfLastThread) {
        kill_members(ns);
    }
}

/// Kills every process of a PID namespace but its init, and those of the namespaces below.
///
/// If a walk through a namespace above has begun there is nothing to do: all of them are members
/// there too. Those who were attached before that walk began are killed by it, and those who were
/// attached later, the namespace above being dead, by [`straggler`](crate::enforce::straggler).
fn kill_members(ns: Pidns<'_>) {
    let mut killed = 0;
    let is_left_to_other = ns
        .above()
        .any(|above| above.is_dead_itself() && event::is_walked(above));

    event::walk(ns);
    if !is_left_to_other {
        ns.for_each_member(|process| killed += i64::from(process.kill()));
    }
    event::kill(ns, killed);
}
