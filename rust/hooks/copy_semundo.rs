// SPDX-License-Identifier: GPL-2.0

//! The same answer as in [`alloc_pid`](super::alloc_pid), before the caller's memory is copied.
//!
//! `copy_process()` asks for a PID when all else is done, and whoever is refused then has had its
//! page tables copied for nothing: that takes as long as it has memory. `copy_semundo()` is the
//! last function that it calls before it copies anything of size, and may fail. By then the caller
//! has passed every check of its own (limits, signals, the security module).
//!
//! C source: [`kernel/fork.c`](srctree/kernel/fork.c) and [`ipc/sem.c`](srctree/ipc/sem.c)

use core::marker::PhantomData;
use kernel::{
    bindings,
    prelude::*,
    str::CStr,
    sync::rcu, //
};

use super::{
    alloc_pid::OnAllocPid,
    ftrace::{
        Arguments,
        Redirect, //
    }, //
};
use crate::pidns::Pidns;

extern "C" {
    fn pidns_guard_in_clone3() -> bool;
}

/// The flags of a `fork()` that comes to `alloc_pid()`, or fails with `ENOMEM` before that.
///
/// With any other there is a check in between that could have something else to say, or nothing of
/// size to be copied (`CLONE_VM`).
const PLAIN: u32 = bindings::CLONE_CHILD_CLEARTID
    | bindings::CLONE_CHILD_SETTID
    | bindings::CLONE_PARENT_SETTID
    | bindings::CLONE_PARENT
    | bindings::CLONE_PIDFD
    | bindings::CLONE_PTRACE
    | bindings::CLONE_UNTRACED
    | bindings::CLONE_VFORK;

/// The function `copy_semundo()`.
pub(crate) struct CopySemundo<H>(PhantomData<H>);

// SAFETY: `stand_in()` returns a function with the prototype of `copy_semundo()`, see
// `include/linux/sem.h`. All that it does it does under RCU, where nothing sleeps. It returns an
// error, on which `copy_process()` does not look at what the function would have set.
unsafe impl<H: OnAllocPid> Redirect for CopySemundo<H> {
    const FUNCTION: &'static CStr = c"copy_semundo";

    #[inline]
    unsafe fn wanted(arguments: Arguments<'_>) -> bool {
        if arguments.get(0) & !(PLAIN as c_ulong) != 0 {
            return false;
        }

        // SAFETY: `copy_process()` passes the new task, which at this point still has the
        // namespaces of its parent, the caller; who forks has not given them up.
        let (ns, time_ns_changes) = unsafe {
            let task = arguments.get(1) as *const bindings::task_struct;
            let nsproxy = (*task).nsproxy;
            (
                Pidns::from_raw((*nsproxy).pid_ns_for_children),
                (*nsproxy).time_ns != (*nsproxy).time_ns_for_children,
            )
        };

        // `copy_namespaces()` wants a privilege of those who change their time namespace, and
        // `clone3()` may ask for certain PIDs, which is not seen here.
        H::is_refused(ns) && !time_ns_changes && !in_clone3()
    }

    fn stand_in() -> *const c_void {
        Self::answer as *const c_void
    }
}

impl<H: OnAllocPid> CopySemundo<H> {
    /// Stands in for `copy_semundo()`.
    ///
    /// # Safety
    ///
    /// To be called as `copy_semundo()` is, by `copy_process()`.
    unsafe extern "C" fn answer(_flags: u64, task: *mut bindings::task_struct) -> c_int {
        let _rcu = rcu::read_lock();

        // SAFETY: As in `wanted()`.
        let ns = unsafe { Pidns::from_raw((*(*task).nsproxy).pid_ns_for_children) };

        H::refuse(ns, &[]).to_errno()
    }
}

/// Whether the caller is, or may be, in `clone3()`.
fn in_clone3() -> bool {
    // SAFETY: It has no requirements in a task that user space has called from; and any other has
    // no namespace but the root's, or forks with `CLONE_VM`.
    unsafe { pidns_guard_in_clone3() }
}
