// SPDX-License-Identifier: GPL-2.0

//! I3, no straggler: a child that passed the guard just before the death does not live.
//!
//! A fork may be past `alloc_pid()` when init dies, and be attached to its PIDs only after the
//! [`reaper`](crate::enforce::reaper) has passed by. It is met here, before it runs its first instruction.

use kernel::prelude::*;

use crate::{
    compat,
    explain::event,
    hooks::tracepoint::{
        OnFork,
        Probe,
        SchedProcessFork, //
    },
    view::process::Process, //
};

/// Kills stragglers for as long as the value lives.
pub(crate) struct Stragglers {
    _forks: Probe<SchedProcessFork<Forks>>,
}

impl Stragglers {
    /// Sets up the watch. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Probe::register`].
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            _forks: Probe::register()?,
        })
    }
}

struct Forks;

impl OnFork for Forks {
    /// A child is attached and does not run yet: if its namespace has died meanwhile, it never
    /// will.
    ///
    /// A thread is no straggler. Its group was there before and the reaper has killed all of it,
    /// or will; `copy_process()` adds no thread to a group that has SIGKILL pending. The same goes
    /// for those that the kernel makes for a process, and that do not come by here:
    /// `create_io_thread()` and `vhost_task_create()` make threads of its group.
    fn on_fork(child: Option<Process<'_>>) {
        // The root namespace is never dead, and the barrier has its price.
        let Some(child) = child.filter(|child| !child.pidns().is_root()) else {
            return;
        };

        // Pairs with the barrier of `atomic_dec_and_test()`, see `reaper`.
        compat::smp_mb();

        if let Some(dead) = child.pidns().dead().filter(|_| child.kill()) {
            event::straggler(dead, child);
        }
    }
}
