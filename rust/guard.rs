// SPDX-License-Identifier: GPL-2.0

//! I1, the allocation guard: nobody gets a PID in a dead namespace, nor in one below it.
//!
//! `copy_process()` asks `alloc_pid()` for a PID in the namespace that the caller's children are
//! born in, no matter whether it came there by `unshare()`, `setns()` or birth. A call that asks
//! for one in a doomed namespace is answered here instead, with the `ENOMEM` that
//! `pid_namespaces(7)` documents; or with the error that `alloc_pid()` would have found first.

use kernel::{
    bindings,
    prelude::*,
    str::CStr, //
};

use crate::{
    counters::COUNTERS,
    hooks::ftrace::{
        Redirect,
        RedirectHook, //
    },
    pidns::Pidns, //
};

/// Refuses PIDs for as long as the value lives.
pub(crate) struct Guard {
    _alloc_pid: Pin<KBox<RedirectHook<AllocPid>>>,
}

impl Guard {
    /// Sets up the guard. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`RedirectHook::register`].
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            _alloc_pid: KBox::pin_init(RedirectHook::register(), GFP_KERNEL)?,
        })
    }
}

struct AllocPid;

// SAFETY: `refuse()` has the prototype of `alloc_pid()`, see `include/linux/pid.h`, and does not
// sleep.
unsafe impl Redirect for AllocPid {
    const FUNCTION: &'static CStr = c"alloc_pid";

    #[inline]
    unsafe fn wanted(ns: c_ulong) -> bool {
        // SAFETY: The first argument of `alloc_pid()` is the namespace that `copy_process()` found
        // in the new task's `nsproxy`, which holds a reference to it.
        unsafe { Pidns::from_raw(ns as *const bindings::pid_namespace) }.is_doomed()
    }

    fn stand_in() -> *const c_void {
        refuse as *const c_void
    }
}

/// Stands in for `alloc_pid()` in a doomed namespace.
///
/// Runs in the context of the caller of `fork()`, with nothing held.
///
/// # Safety
///
/// To be called as `alloc_pid()` is: `ns` must be valid, and `set_tid` must point to
/// `set_tid_size` PIDs if there are any.
unsafe extern "C" fn refuse(
    ns: *mut bindings::pid_namespace,
    set_tid: *mut bindings::pid_t,
    set_tid_size: usize,
) -> *mut bindings::pid {
    let set_tid = match set_tid_size {
        0 => &[],
        // SAFETY: By this function's contract.
        size => unsafe { core::slice::from_raw_parts(set_tid, size) },
    };

    // SAFETY: By this function's contract.
    if let Err(err) = unsafe { Pidns::from_raw(ns) }.check_set_tid(set_tid) {
        return err.to_ptr();
    }

    COUNTERS.forks_refused.add(1);
    ENOMEM.to_ptr()
}
