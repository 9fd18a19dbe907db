// SPDX-License-Identifier: GPL-2.0

//! Adoption: what was dying, or should have died, before the module was loaded; and a last look at
//! the same when it goes.
//!
//! Whether a namespace is dead is derived from the namespace itself, so one look at every process
//! in the system is enough.

use kernel::prelude::*;

use crate::{
    compat,
    counters::COUNTERS,
    ledger::{
        self,
        Init, //
    },
    pidns::{
        Pidns,
        CHILD_REAPER, //
    },
    stall, //
};

/// Notes what is dying, and with `kill` finishes it. May sleep. What is returned is to be dropped
/// when the hooks are gone.
///
/// To be called once the hooks act: what they do not see, because it came before, is seen here.
pub(crate) fn adopt(kill: bool) -> Option<LastLook> {
    // Whoever was just passing one of the tracepoints may still have done so without our probe, as
    // where somebody else has one there (`tracepoint_add_func()`), or have found that it does not
    // act. A child that it had attached has to be seen now: that is done under `tasklist_lock`, and
    // so by an RCU reader. Who attaches one later, or dies later, finds that the hooks do act.
    compat::synchronize_rcu();

    note();
    kill.then(|| {
        kill_doomed();
        LastLook
    })
}

/// Finishes, when it is dropped, what the reaper's watch has begun and left to others.
///
/// The walk of an init that dies below another dead one is left to that one's init
/// (`reaper::kill_members()`), which may not have come to the tracepoint yet when the watch ends.
/// And a child that was attached while the walk passed by is left to the straggler hook, which is
/// gone by then.
pub(crate) struct LastLook;

impl Drop for LastLook {
    fn drop(&mut self) {
        // As in `adopt()`. Who is attached later is none of the module's business any more.
        compat::synchronize_rcu();
        kill_doomed();
    }
}

/// Notes the inits that are dead and have not been reaped.
fn note() {
    Pidns::root().for_each_member(|process| {
        let ns = process.pidns();

        if process.nr_in(ns) == CHILD_REAPER && ns.is_dead_itself() {
            ledger::with(|ledger| {
                ledger.begin(ns, &Init::new(ns, process, true));
            });
            stall::expect();
        }
    });
}

/// Kills every process that lives in a doomed PID namespace.
fn kill_doomed() {
    let mut killed = 0;

    Pidns::root().for_each_member(|process| {
        if process.pidns().is_doomed() {
            killed += i64::from(process.kill());
        }
    });
    ledger::with(|ledger| {
        for teardown in ledger.unfinished() {
            teardown.killed(0);
        }
    });

    if killed > 0 {
        COUNTERS.processes_killed.add(killed);
        pr_info!("found in dead namespaces, and killed: {killed}\n");
    }
}
