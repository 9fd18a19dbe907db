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
//! [`adoption`] finishes what was dying before the module came, and takes a last look when it goes.
//! Before that comes the [`trial`]: whether the kernel is one that all of this may be done on.
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
//! kernel has, on [`hooks`], the ways to be called by it, and on [`params`], what it has been told;
//! [`published`], [`racy`], [`preemption`], [`limit`] and [`text`] are tools; [`compat`] is for kernels
//! that differ, and `rust/arch.h` for machines that do.
//!
//! Enforcement keeps no state about any namespace: whether it is dead is read off the namespace
//! itself, each time it matters. The ledger decides nothing.

use kernel::prelude::*;

use crate::{
    ledger::Ledger,
    params::Params,
    published::Publication, //
};

mod adoption;
mod compat;
mod counters;
mod debugfs;
mod event;
mod guard;
mod holder;
mod hooks;
mod ledger;
mod limit;
mod params;
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
mod trial;

module! {
    type: PidnsGuard,
    name: "pidns_guard",
    authors: ["The pidns_guard authors"],
    description: "Guards, empties and explains dying PID namespaces",
    license: "GPL",
}

/// The loaded module. Its fields are dropped from the first to the last.
struct PidnsGuard {
    _guard: Option<guard::Guard>,
    _stragglers: Option<straggler::Stragglers>,
    _reaper: reaper::Reaper,
    _last_look: Option<adoption::LastLook>,
    _teardowns: teardown::Teardowns,
    _stalls: stall::Stalls,
    _files: debugfs::Files,
    _ledger: Publication<Ledger>,
    _farewell: counters::Farewell,
}

impl kernel::Module for PidnsGuard {
    /// Says why it fails, if it does. What the memory was wanted for is of no use to anybody; all
    /// else is said where it is met.
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Self::load().inspect_err(|err| {
            if *err == ENOMEM {
                pr_err!("out of memory: not loaded\n");
            }
        })
    }
}

impl PidnsGuard {
    /// Sets up one hook after the other, and lets them act when all are there. Where one fails, or
    /// the trial, those before it are dropped again.
    fn load() -> Result<Self> {
        let &Params {
            guard,
            kill,
            early,
            stall_secs,
            ledger_size,
        } = params::get();

        hooks::twin::look_out(debugfs::DIR)?;

        let (ledger, publication) = ledger::open(ledger_size as usize)?;
        let files = debugfs::Files::new(ledger.clone());
        let stalls = stall::Stalls::new(ledger, stall_secs)?;
        let teardowns = teardown::Teardowns::new()?;
        let reaper = reaper::Reaper::new(kill)?;
        let stragglers = kill.then(straggler::Stragglers::new).transpose()?;
        let guard = guard.then(guard::Guard::new).transpose()?;

        trial::pass()?;
        let last_look = adoption::adopt(kill);
        files.show();
        // From now on it looks from time to time.
        stall::expect();

        pr_info!(
            "loaded: guard {}, kill {}, early {}\n",
            on_off(guard.is_some()),
            on_off(kill),
            on_off(early)
        );

        Ok(Self {
            _guard: guard,
            _stragglers: stragglers,
            _reaper: reaper,
            _last_look: last_look,
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
