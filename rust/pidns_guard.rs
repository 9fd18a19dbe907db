// SPDX-License-Identifier: GPL-2.0

//! pidns_guard: what happens to a PID namespace when its init dies.
//!
//! A teardown, in the order in which it passes through the module:
//!
//! - [`reaper`]: the last thread of init exits, and everything else in the namespace is killed;
//! - [`straggler`]: a child that was being forked at that moment is killed before it runs;
//! - [`guard`]: from now on nobody gets a PID there any more;
//! - [`teardown`]: init is alone, and leaves.
//!
//! [`adoption`] finishes what was dying before the module came.
//!
//! How it is explained:
//!
//! - [`ledger`]: what is known of each teardown;
//! - [`refusal`]: why a fork was refused;
//! - [`stall`]: a teardown that does not come to its end, with its [`holder`]s and their reasons;
//! - [`debugfs`] and [`trace`]: all of that at any moment, and as it happens; [`counters`] for
//!   those who want no more than numbers.
//!
//! All of that is safe code. It stands on [`pidns`], [`process`] and [`thread`], a view of what the
//! kernel has, and on [`hooks`], the ways to be called by it; [`published`], [`racy`], [`limit`] and
//! [`text`] are tools.
//!
//! Enforcement keeps no state about any namespace: whether it is dead is read off the namespace
//! itself, each time it matters. The ledger decides nothing.

use kernel::prelude::*;

use crate::{
    ledger::Ledger,
    published::Publication, //
};

mod adoption;
mod counters;
mod debugfs;
mod guard;
mod holder;
mod hooks;
mod ledger;
mod limit;
mod pidns;
mod preemption;
mod process;
mod published;
mod racy;
mod reaper;
mod refusal;
mod stall;
mod straggler;
mod teardown;
mod text;
mod thread;
mod trace;

module! {
    type: PidnsGuard,
    name: "pidns_guard",
    authors: ["The pidns_guard authors"],
    description: "Guards, empties and explains dying PID namespaces",
    license: "GPL",
    params: {
        guard: bool {
            default: true,
            description: "Refuse PIDs in a namespace whose init is dead (default: on)",
        },
        kill: bool {
            default: true,
            description: "Kill everything in a namespace when its init dies (default: on)",
        },
        early: bool {
            default: true,
            description: "Do so at once, not in the kernel's own order (default: on)",
        },
        stall_secs: u32 {
            default: 10,
            description: "Report a teardown that lasts longer, in seconds; 0: never (default: 10)",
        },
        ledger_size: u32 {
            default: 256,
            description: "Teardowns to remember, 1 to 4096 (default: 256)",
        },
    },
}

/// The loaded module. Its fields are dropped from the first to the last.
struct PidnsGuard {
    _guard: Option<guard::Guard>,
    _stragglers: Option<straggler::Stragglers>,
    _reaper: reaper::Reaper,
    _teardowns: teardown::Teardowns,
    _stalls: Option<stall::Stalls>,
    _files: debugfs::Files,
    _ledger: Publication<Ledger>,
    _farewell: counters::Farewell,
}

impl kernel::Module for PidnsGuard {
    /// Sets up one hook after the other. Where one fails, those before it are dropped again.
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let guard = module_parameters::guard.value();
        let kill = module_parameters::kill.value();
        let stall_secs = module_parameters::stall_secs.value();

        let (ledger, publication) = ledger::open(module_parameters::ledger_size.value() as usize)?;
        let files = debugfs::Files::new(&ledger)?;
        let stalls = (stall_secs > 0)
            .then(|| stall::Stalls::new(ledger, stall_secs))
            .transpose()?;
        let teardowns = teardown::Teardowns::new()?;
        let reaper = reaper::Reaper::new(kill)?;
        let stragglers = kill.then(straggler::Stragglers::new).transpose()?;
        let guard = guard.then(guard::Guard::new).transpose()?;

        adoption::adopt(kill);

        pr_info!(
            "loaded: guard {}, kill {}, early {}\n",
            on_off(guard.is_some()),
            on_off(kill),
            on_off(module_parameters::early.value())
        );

        Ok(Self {
            _guard: guard,
            _stragglers: stragglers,
            _reaper: reaper,
            _teardowns: teardowns,
            _stalls: stalls,
            _files: files,
            _ledger: publication,
            _farewell: counters::Farewell,
        })
    }
}

fn on_off(on: bool) -> &'static str {
    if on {
        "on"
    } else {
        "off"
    }
}
