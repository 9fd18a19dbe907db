// SPDX-License-Identifier: GPL-2.0

//! I1, the allocation guard: nobody gets a PID in a dead namespace, nor in one below it.
//!
//! `copy_process()` asks `alloc_pid()` for a PID in the namespace that the caller's children are
//! born in, no matter whether it came there by `unshare()`, `setns()` or birth. A call that asks
//! for one in a doomed namespace is answered here instead, with the `ENOMEM` that
//! `pid_namespaces(7)` documents; or with the error that `alloc_pid()` would have found first.
//!
//! Most callers are answered earlier still, before their memory has been copied for nothing.

use kernel::{
    prelude::*,
    task::Pid, //
};

use crate::{
    explain::event,
    hooks::{
        alloc_pid::{
            AllocPid,
            OnAllocPid, //
        },
        dup_mmap::DupMmap,
        ftrace::RedirectHooks, //
    },
    view::pid_namespace::Pidns, //
};

/// Refuses PIDs for as long as the value lives.
pub(crate) struct Guard {
    _requests: Pin<KBox<RedirectHooks<AllocPid<Requests>, DupMmap<Requests>>>>,
}

impl Guard {
    /// Sets up the guard. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`RedirectHooks::register`].
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            _requests: KBox::pin_init(RedirectHooks::register(), GFP_KERNEL)?,
        })
    }
}

struct Requests;

impl OnAllocPid for Requests {
    #[inline]
    fn is_refused(ns: Pidns<'_>) -> bool {
        ns.is_doomed()
    }

    fn refuse(ns: Pidns<'_>, set_tid: &[Pid]) -> Error {
        if let Err(err) = ns.check_request(set_tid) {
            return err;
        }

        event::refusal(ns);
        ENOMEM
    }
}
