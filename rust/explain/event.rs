// SPDX-License-Identifier: GPL-2.0

//! What happens to a namespace, told once: each event has one function here, which tells the
//! counters, the trace, the ledger and the watch, so that they cannot say different things.

use kernel::sync::rcu;

use crate::{
    explain::{
        counters::COUNTERS,
        ledger::{
            self,
            Init,
            Seen,
            Teardown, //
        },
        refusal,
        stall, //
    },
    hooks::trace,
    view::{
        pid_namespace::Pidns,
        process::{
            Process,
            ProcessId, //
        }, //
    }, //
};

/// The last thread of `init` has died. Called by that thread.
pub(crate) fn death(ns: Pidns<'_>, init: Process<'_>) {
    let init = Init::new(ns, init);

    trace::teardown_begin(ns, &init);
    ledger::with(|ledger| {
        ledger.begin(ns, &init, Seen::AtDeath, true);
    });
    stall::expect();
}

/// A look has found an init that is dead, or is told to die and has not. Returns whether it is in
/// the ledger.
///
/// Called with RCU held since before `init` was found.
pub(crate) fn found<'rcu>(
    ns: Pidns<'_>,
    init: Process<'rcu>,
    seen: Seen,
    rcu: &'rcu rcu::Guard,
) -> bool {
    let init_is_dead = !init.is_alive();
    // It gives up its memory behind its walk. At load there has been none.
    let is_past_walk =
        init_is_dead && matches!(seen, Seen::Late) && (ns.is_zapped() || !init.has_memory(rcu));
    let init = Init::new(ns, init);

    // Of any other death init itself tells, before or after this.
    if init_is_dead && matches!(seen, Seen::AtLoad) {
        trace::teardown_begin(ns, &init);
    }
    let is_noted = ledger::with(|ledger| {
        let teardown = ledger.begin(ns, &init, seen, init_is_dead)?;
        if is_past_walk {
            teardown.killed(0);
        }
        Some(())
    });

    stall::expect();
    is_noted.flatten().is_some()
}

/// A walk through the members of a dead namespace begins.
pub(crate) fn walk(ns: Pidns<'_>) {
    with_teardown(ns, |teardown| teardown.walks());
}

/// Whether a walk through the members of a dead namespace is known to have begun.
///
/// `false` is no proof of the contrary: the ledger may have had no room.
pub(crate) fn is_walked(ns: Pidns<'_>) -> bool {
    // On its way to `zap_pid_ns_processes()` init has passed by the walk, or adoption has come after
    // that.
    ns.is_zapped() || with_teardown(ns, |teardown| teardown.is_walked()).unwrap_or(false)
}

/// The walk is over: all have been sent SIGKILL, `processes` of them because of this.
pub(crate) fn kill(ns: Pidns<'_>, processes: i64) {
    COUNTERS.processes_killed.add(processes);
    trace::kill(ns, processes);
    with_teardown(ns, |teardown| teardown.killed(processes));
}

/// A child of the dead namespace `dead`, or of one below it, was killed before it ran.
pub(crate) fn straggler(dead: Pidns<'_>, child: Process<'_>) {
    COUNTERS.stragglers_killed.add(1);
    trace::straggler(child);
    with_teardown(dead, |teardown| teardown.straggled());
}

/// The caller was refused a PID in `ns`. Called under RCU; does not sleep.
pub(crate) fn refusal(ns: Pidns<'_>) {
    let dead = ns.dead();

    COUNTERS.forks_refused.add(1);
    trace::fork_refused(ns, dead);
    if let Some(dead) = dead {
        refusal::tell(ns, dead);
    }
}

/// init returns from `zap_pid_ns_processes()`: no member is left.
pub(crate) fn emptied(ns: Pidns<'_>) {
    COUNTERS.namespaces_torn_down.add(1);
    with_teardown(ns, |teardown| {
        teardown.emptied();
        trace::teardown_end(teardown);
    });
}

/// A process has been reaped, and is no more.
pub(crate) fn freed(process: ProcessId) {
    ledger::with(|ledger| ledger.leaves(process));
}

/// Does something with the ledger's entry of a dead namespace, if it has one. `f` must not sleep.
pub(crate) fn with_teardown<R>(ns: Pidns<'_>, f: impl FnOnce(Teardown<'_>) -> R) -> Option<R> {
    ledger::with(|ledger| {
        let rcu = rcu::read_lock();
        // An inode number may have been that of another namespace, which has an entry yet. So as
        // long as init can be found, it goes by that.
        let teardown = match ns.init(&rcu) {
            Some(init) => ledger.of_init(init.id()),
            None => ledger.of(ns),
        };
        teardown.map(f)
    })?
}
