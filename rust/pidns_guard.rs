// SPDX-License-Identifier: GPL-2.0

//! pidns_guard: what happens to a PID namespace when its init dies.
//!
//! The rooms:
//!
//! - [`enforce`]: the policy. [`enforce::reaper`] kills what a dead init leaves behind,
//!   [`enforce::straggler`] what was being forked at that moment, [`enforce::guard`] refuses PIDs
//!   from then on, and [`enforce::adoption`] finishes what no hook tells of;
//! - [`explain`]: what is known of each teardown, and how it is told;
//! - [`hooks`]: the ways to be called by the kernel, and to call it;
//! - [`view`]: the kernel's state under RCU;
//! - `shim/`: what only C can do;
//! - [`params`]: the parameters; [`self_test`]: a test of all hooks before they act; [`compat`]: what
//!   differs between the series of kernels.
//!
//! `enforce` and `explain` are safe code, by the compiler's word: all `unsafe` is in `hooks`, `view`
//! and the few lines around the parameters and the differences between kernels.

use kernel::prelude::*;

use crate::{
    enforce::{
        adoption,
        guard,
        reaper,
        straggler, //
    },
    explain::{
        counters,
        debugfs,
        ledger::{
            self,
            Ledger, //
        },
        stall,
        teardown, //
    },
    params::Params,
    view::rcu_static::Publication, //
};

mod compat;
mod enforce;
mod explain;
mod hooks;
mod params;
mod self_test;
mod view;

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
    _final_sweep: Option<adoption::FinalSweep>,
    _teardowns: teardown::Teardowns,
    _stalls: stall::Stalls,
    _files: debugfs::Files,
    _ledger: Publication<Ledger>,
    _unload_message: counters::UnloadMessage,
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
    /// the self-test, those before it are dropped again.
    fn load() -> Result<Self> {
        let &Params {
            guard,
            kill,
            early,
            stall_secs,
            ledger_size,
        } = params::get();

        hooks::second_copy::refuse_second_copy(debugfs::DIR)?;

        let (ledger, publication) = ledger::open(ledger_size as usize)?;
        let files = debugfs::Files::new(ledger.clone());
        let stalls = stall::Stalls::new(ledger, stall_secs)?;
        let teardowns = teardown::Teardowns::new()?;
        let reaper = reaper::Reaper::new(kill)?;
        let stragglers = kill.then(straggler::Stragglers::new).transpose()?;
        let guard = guard.then(guard::Guard::new).transpose()?;

        self_test::run()?;
        let final_sweep = adoption::adopt(kill);
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
            _final_sweep: final_sweep,
            _teardowns: teardowns,
            _stalls: stalls,
            _files: files,
            _ledger: publication,
            _unload_message: counters::UnloadMessage,
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
