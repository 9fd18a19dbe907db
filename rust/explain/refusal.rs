// SPDX-License-Identifier: GPL-2.0

//! A caller of `fork()` who is refused learns `ENOMEM`, which says nothing. The log says why.

use kernel::{
    prelude::*,
    sync::rcu,
    task::{
        CurrentTask,
        Pid, //
    }, //
};

use crate::{
    explain::{
        event,
        ledger::{
            Init,
            Record, //
        },
        ratelimit::RateLimit,
        text::{
            Line,
            Span, //
        }, //
    },
    view::{
        pid_namespace::Pidns,
        thread::Thread, //
    }, //
};

/// The lines about all namespaces together: ten at once, and then one a second.
static LINES: RateLimit = RateLimit::new(1_000_000_000, 10);

/// Says, if it is time, that the caller was refused a PID in `ns`, because `dead` is dead.
///
/// Called by the one who is refused, under RCU. Does not sleep: `printk()` may be called from
/// anywhere. It may have the caller write to a slow console, and RCU wait for that; so there is a
/// limit for all namespaces together.
pub(crate) fn tell(ns: Pidns<'_>, dead: Pidns<'_>) {
    let noted = event::with_teardown(dead, |teardown| {
        if teardown.refused() && LINES.lets_pass() {
            say(ns, dead, teardown.record(), teardown.refused_since());
        }
    });

    // It was dead and gone before the module came, has only just died, or the ledger had no room.
    if noted.is_none() && LINES.lets_pass() {
        say(ns, dead, None, 1);
    }
}

/// Says who was refused, and why. `refused` counts this one and those not spoken of.
fn say(ns: Pidns<'_>, dead: Pidns<'_>, record: Option<Record>, refused: u32) {
    let rcu = rcu::read_lock();
    let current = current!();
    let caller = Thread::of(current);
    let below = if ns.inum() == dead.inum() {
        Line::<48>::EMPTY
    } else {
        Line::from_fmt(fmt!(" below {} (level {})", dead.inum(), dead.level()))
    };
    let since = match &record {
        Some(record) if record.before_load => {
            Line::<72>::from_fmt(fmt!("since before pidns_guard was loaded"))
        }
        Some(record) => Line::from_fmt(fmt!(
            "for {}{}",
            if record.at_least { "at least " } else { "" },
            Span(record.age())
        )),
        None => Line::from_fmt(fmt!("for a time that is not known")),
    };
    // Without an entry it can be asked itself, as long as it is there.
    let seen = match &record {
        Some(_) => None,
        None => dead.init(&rcu).map(|init| Init::new(dead, init)),
    };
    let init = match record.as_ref().map(|record| &record.init).or(seen.as_ref()) {
        Some(init) => Line::<128>::from_fmt(fmt!(
            ": its init {} (pid {}) {}",
            init.comm,
            init.id.pid,
            init.ending
        )),
        None => Line::EMPTY,
    };
    let parent = record.as_ref().map(|record| record.init.parent);
    let others = if refused > 1 {
        Line::<48>::from_fmt(fmt!(" ({} refused since the last line)", refused))
    } else {
        Line::EMPTY
    };

    pr_warn!(
        "fork refused: {} (pid {}) forks into pid namespace {} (level {}){}, dead {}{}{}{}\n",
        caller.comm(),
        caller.pid(),
        ns.inum(),
        ns.level(),
        below,
        since,
        init,
        remedy(ns, current, parent),
        others
    );
}

/// What the caller can do, to be put behind what has happened to it. `parent` is the process that
/// was the parent of the dead init, if that is known.
fn remedy(ns: Pidns<'_>, caller: &CurrentTask, parent: Option<Pid>) -> &'static str {
    let is_member = Pidns::of(caller).is_some_and(|home| home.is(ns));

    match parent {
        // Its own end is on its way.
        _ if is_member => "",
        // The init was the first child that it had after its `unshare()`.
        Some(parent) if parent == Thread::of(caller).tgid() => {
            "; use \"unshare --fork\", or setns() back"
        }
        Some(_) => "; it has entered a namespace that is dead: enter another one, or setns() back",
        None => "; setns() to a living one",
    }
}
