// SPDX-License-Identifier: GPL-2.0

//! Adoption: what was dying, or should have died, before the module was loaded; and a last look at
//! the same when it goes. A look finds also what no hook tells of: an init that is told to die and
//! does not, one that is stuck on its way to the hook, and one that the ledger had no room for.
//!
//! Whether a namespace is dead is derived from the namespace itself, so one look at every process
//! in the system is enough.

use kernel::prelude::*;

use crate::{
    compat,
    enforce::reaper,
    explain::{
        counters::COUNTERS,
        event,
        ledger::{
            self,
            Seen, //
        }, //
    },
    view::pid_namespace::{
        Held,
        Pidns, //
    }, //
};

/// How many namespaces are finished by one look that the ledger has no room for.
const LATE: usize = 16;

/// Notes what is dying, and with `kill` finishes it. May sleep. What is returned is to be dropped
/// when the hooks are gone.
///
/// To be called once the hooks act: what they do not see, because it came before, is seen here.
pub(crate) fn adopt(kill: bool) -> Option<FinalSweep> {
    // Whoever was just passing one of the tracepoints may still have done so without our probe, as
    // where somebody else has one there (`tracepoint_add_func()`), or have found that it does not
    // act. A child that it had attached has to be seen now: that is done under `tasklist_lock`, and
    // so by an RCU reader. Who attaches one later, or dies later, finds that the hooks do act.
    compat::synchronize_rcu();

    look(Seen::AtLoad, |_| ());
    kill.then(|| {
        kill_doomed();
        FinalSweep
    })
}

/// Finishes, when it is dropped, what the reaper's watch has begun and left to others.
///
/// An init may be dead and not have come to the tracepoint when the watch ends. And a child that
/// was attached while the walk passed by is left to the straggler hook, which is gone by then.
pub(crate) struct FinalSweep;

impl Drop for FinalSweep {
    fn drop(&mut self) {
        // As in `adopt()`. Who is attached later is none of the module's business any more.
        compat::synchronize_rcu();
        kill_doomed();
    }
}

/// Brings the ledger up to date, and finishes what no hook has. Takes time for each process in the
/// system; may sleep.
pub(crate) fn look_again() {
    // As a rule there is none. Where there is no memory for it, it is done another time.
    let mut late = KVec::with_capacity(LATE, GFP_KERNEL).unwrap_or_default();

    look(Seen::Late, |ns| {
        let _ = late.push_within_capacity(ns);
    });
    for ns in &late {
        reaper::kill_late(ns.ns());
    }
}

/// Notes the inits that are dead and have not been reaped, and those that are told to die. Calls
/// `unkilled` for each namespace whose members nobody has killed yet, as far as can be seen.
fn look(seen: Seen, mut unkilled: impl FnMut(Held)) {
    let mut not_shown = 0;

    Pidns::root().for_each_pid(|pid, rcu| {
        if !pid.is_of_init() {
            return 1;
        }
        let Some(init) = pid.process(rcu).filter(|init| init.is_exiting()) else {
            return 1;
        };
        let ns = init.pidns();

        not_shown += usize::from(!event::found(ns, init, seen, rcu));
        // It gives up its memory behind the tracepoint, and so behind its walk.
        if !init.is_alive() && init.has_memory(rcu) && !event::is_walked(ns) {
            unkilled(init.hold_pidns());
        }
        1
    });
    ledger::with(|ledger| ledger.set_not_shown(not_shown));
}

/// Kills every process that lives in a doomed PID namespace.
fn kill_doomed() {
    let mut killed = 0;

    ledger::with(|ledger| {
        for teardown in ledger.unfinished().filter(|teardown| teardown.is_dead()) {
            teardown.walks();
        }
    });
    Pidns::root().for_each_member(|process| {
        if process.pidns().is_doomed() {
            killed += i64::from(process.kill());
        }
    });
    ledger::with(|ledger| {
        for teardown in ledger.unfinished().filter(|teardown| teardown.is_walked()) {
            teardown.killed(0);
        }
    });

    if killed > 0 {
        COUNTERS.processes_killed.add(killed);
        pr_info!("processes found in dead pid namespaces, and killed: {killed}\n");
    }
}
