// SPDX-License-Identifier: GPL-2.0

//! A say in `alloc_pid()`: which calls are not to take place, and what they return.
//!
//! C source: [`kernel/pid.c`](srctree/kernel/pid.c)

use core::marker::PhantomData;
use kernel::{
    bindings,
    prelude::*,
    str::CStr,
    sync::rcu,
    task::Pid, //
};

use super::ftrace::{
    Arguments,
    Redirect, //
};
use crate::{
    self_test,
    view::{
        cref::CRef, //
        pid_namespace::Pidns,
    }, //
};

/// What to do when somebody asks for a PID.
pub(crate) trait OnAllocPid {
    /// Decides whether the call is refused. Must not sleep.
    fn is_refused(ns: Pidns<'_>) -> bool;

    /// What the refused caller gets. `set_tid` are the PIDs that it asks for, if any: one for `ns`,
    /// one for its parent, and so on.
    ///
    /// Called in the context of the caller of `fork()`, under RCU. Must not sleep.
    fn refuse(ns: Pidns<'_>, set_tid: &[Pid]) -> Error;
}

/// A handler behind the gate of the self-test: until that has passed, each call is the self-test's.
pub(super) struct Gated<H>(PhantomData<H>);

impl<H: OnAllocPid> OnAllocPid for Gated<H> {
    #[inline]
    fn is_refused(ns: Pidns<'_>) -> bool {
        if self_test::passed() {
            H::is_refused(ns)
        } else {
            self_test::asked(ns)
        }
    }

    fn refuse(ns: Pidns<'_>, set_tid: &[Pid]) -> Error {
        if self_test::passed() {
            H::refuse(ns, set_tid)
        } else {
            self_test::refused(ns, set_tid)
        }
    }
}

/// The function `alloc_pid()`.
pub(crate) struct AllocPid<H>(PhantomData<H>);

// SAFETY: `stand_in()` returns a function with the prototype of `alloc_pid()`, see
// `include/linux/pid.h`. RCU is the first that it takes and the last that it releases.
unsafe impl<H: OnAllocPid> Redirect for AllocPid<H> {
    const FUNCTION: &'static CStr = c"alloc_pid";

    #[inline]
    fn wanted(arguments: Arguments<'_, Self>) -> bool {
        let ns = arguments.get(0) as *mut bindings::pid_namespace;

        // SAFETY: The first argument of `alloc_pid()`, of the type that `rust/shim/helpers.c` asserts, is
        // the namespace that `copy_process()` found in the new task's `nsproxy`, which holds a
        // reference to it.
        Gated::<H>::is_refused(Pidns::new(unsafe { CRef::new(ns) }))
    }

    fn stand_in() -> *const c_void {
        Self::answer as *const c_void
    }
}

impl<H: OnAllocPid> AllocPid<H> {
    /// Stands in for `alloc_pid()`.
    ///
    /// # Safety
    ///
    /// To be called as `alloc_pid()` is: `ns` must be valid, and `set_tid` must point to
    /// `set_tid_size` PIDs if there are any, to which nobody writes meanwhile (`clone3()` has them
    /// on its stack).
    unsafe extern "C" fn answer(
        ns: *mut bindings::pid_namespace,
        set_tid: *mut bindings::pid_t,
        set_tid_size: usize,
    ) -> *mut bindings::pid {
        let _rcu = rcu::read_lock();
        let set_tid = match set_tid_size {
            0 => &[],
            // SAFETY: By this function's contract.
            size => unsafe { core::slice::from_raw_parts(set_tid, size) },
        };

        // SAFETY: As above.
        Gated::<H>::refuse(Pidns::new(unsafe { CRef::new(ns) }), set_tid).to_ptr()
    }
}
