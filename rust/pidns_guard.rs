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
//! [`adoption`] finishes what was dying before the module came. [`counters`] tells what has been
//! done.
//!
//! All of that is safe code. It stands on [`pidns`], a view of namespaces and processes, and on
//! [`hooks`], the ways to be called by the kernel.
//!
//! No state is kept about any namespace: whether it is dead is read off the namespace itself,
//! each time it matters.

use kernel::prelude::*;

mod adoption;
mod counters;
mod guard;
mod hooks;
mod pidns;
mod reaper;
mod straggler;
mod teardown;

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
    },
}

/// The loaded module. Its fields are dropped from the first to the last.
struct PidnsGuard {
    _guard: Option<guard::Guard>,
    _reaper: Option<reaper::Reaper>,
    _stragglers: Option<straggler::Stragglers>,
    _teardowns: teardown::Teardowns,
    _debugfs: counters::DebugFs,
    _farewell: counters::Farewell,
}

impl kernel::Module for PidnsGuard {
    /// Sets up one hook after the other. Where one fails, those before it are dropped again.
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let guard = module_parameters::guard.value();
        let kill = module_parameters::kill.value();
        let death = pidns::Death::configured();

        let debugfs = counters::DebugFs::new()?;
        let teardowns = teardown::Teardowns::new()?;
        let stragglers = kill.then(straggler::Stragglers::new).transpose()?;
        let reaper = kill.then(|| reaper::Reaper::new(death)).transpose()?;
        let guard = guard.then(guard::Guard::new).transpose()?;

        if kill {
            adoption::adopt();
        }

        pr_info!(
            "loaded: guard {}, kill {}, early {}\n",
            on_off(guard.is_some()),
            on_off(kill),
            on_off(module_parameters::early.value())
        );

        Ok(Self {
            _guard: guard,
            _reaper: reaper,
            _stragglers: stragglers,
            _teardowns: teardowns,
            _debugfs: debugfs,
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
