// SPDX-License-Identifier: GPL-2.0

//! A caller of `fork()` who is refused learns `ENOMEM`, which says nothing. The log says why.

use kernel::prelude::*;

use crate::{
    counters::COUNTERS,
    ledger::{
        self,
        Record, //
    },
    limit::Limit,
    pidns::Pidns,
    text::{
        Line,
        Span, //
    },
    thread::Thread,
    trace, //
};

/// The lines about all namespaces together: ten at once, and then one a second.
static LINES: Limit = Limit::new(10, 1_000_000_000);

/// Notes, and if it is time says, that the caller was refused a PID in a namespace.
///
/// Called by the one who is refused, under RCU. Does not sleep: `printk()` may be called from
/// anywhere. It may have the caller write to a slow console, and RCU wait for that; so there is a
/// limit for all namespaces together.
pub(crate) fn note(ns: Pidns<'_>) {
    let dead = ns.dead();

    COUNTERS.forks_refused.add(1);
    trace::fork_refused(ns, dead);

    let Some(dead) = dead else {
        return;
    };
    ledger::with(|ledger| match ledger.of(dead) {
        Some(teardown) => {
            if teardown.refused() && LINES.lets_pass() {
                say(ns, dead, teardown.record(), teardown.refused_since());
            }
        }
        // It was dead and gone before the module came, or the ledger has had no room for it.
        None => {
            if LINES.lets_pass() {
                say(ns, dead, None, 1);
            }
        }
    });
}

/// Says who was refused, and why. `refused` counts this one and those not spoken of.
fn say(ns: Pidns<'_>, dead: Pidns<'_>, record: Option<Record>, refused: u32) {
    let current = current!();
    let caller = Thread::of(current);
    let below = if ns.inum() == dead.inum() {
        Line::<48>::EMPTY
    } else {
        Line::from_fmt(fmt!(" below {} (level {})", dead.inum(), dead.level()))
    };
    let since = match &record {
        Some(record) if !record.init.before_load => {
            Line::<72>::from_fmt(fmt!("for {}", Span(record.age())))
        }
        Some(_) => Line::from_fmt(fmt!("since before pidns_guard was loaded")),
        None => Line::from_fmt(fmt!(
            "since before pidns_guard was loaded, or its ledger had no room"
        )),
    };
    let init = match &record {
        Some(Record { init, .. }) => Line::<128>::from_fmt(fmt!(
            ": its init {} (pid {}) {}",
            init.comm,
            init.id.pid,
            init.ending
        )),
        None => Line::EMPTY,
    };
    let others = if refused > 1 {
        Line::<48>::from_fmt(fmt!(" ({} refused since the last line)", refused))
    } else {
        Line::EMPTY
    };

    pr_warn!(
        "fork refused: {} (pid {}) forks into pid namespace {} (level {}){}, dead {}{}; use \
         \"unshare --fork\", or setns() back{}\n",
        caller.comm(),
        caller.pid(),
        ns.inum(),
        ns.level(),
        below,
        since,
        init,
        others
    );
}
