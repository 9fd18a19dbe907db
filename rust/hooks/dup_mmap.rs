// SPDX-License-Identifier: GPL-2.0

//! The same answer as in [`alloc_pid`](super::alloc_pid), before the caller's memory is copied.
//!
//! `copy_process()` asks for a PID when all else is done, and whoever is refused then has had its
//! page tables copied for nothing: that takes as long as it has memory. By the time of
//! `dup_mmap()`, which copies them, the caller has passed every check of its own (limits, signals,
//! the security module). It may fail before it has done anything: it does where the caller has
//! been killed meanwhile. Threads and `vfork()` do not come here.
//!
//! C source: [`kernel/fork.c`](srctree/kernel/fork.c) and [`mm/mmap.c`](srctree/mm/mmap.c)

use core::marker::PhantomData;
use kernel::{
    bindings,
    prelude::*,
    str::CStr,
    sync::rcu,
    task::CurrentTask, //
};

use super::{
    alloc_pid::{
        Gated,
        OnAllocPid, //
    },
    ftrace::{
        Arguments,
        Redirect, //
    }, //
};
use crate::view::{
    cref::CRef, //
    pid_namespace::Pidns,
};

unsafe extern "C" {
    // It reads the registers on the caller's own stack, whatever is in them.
    safe fn pidns_guard_fork_flags(flags: &mut c_ulong) -> bool;
}

/// The flags of a `fork()` that from here on comes to `alloc_pid()`, or fails with `ENOMEM` before
/// that.
///
/// With any other there is a check in between that could have something else to say.
const PLAIN: c_ulong = (bindings::CSIGNAL
    | bindings::CLONE_CHILD_CLEARTID
    | bindings::CLONE_CHILD_SETTID
    | bindings::CLONE_FILES
    | bindings::CLONE_FS
    | bindings::CLONE_PARENT
    | bindings::CLONE_PARENT_SETTID
    | bindings::CLONE_PIDFD
    | bindings::CLONE_PTRACE
    | bindings::CLONE_SYSVSEM
    | bindings::CLONE_UNTRACED
    | bindings::CLONE_VFORK) as c_ulong;

/// The function `dup_mmap()`.
pub(crate) struct DupMmap<H>(PhantomData<H>);

// SAFETY: `stand_in()` returns a function with the prototype of `dup_mmap()`, see `mm/internal.h`.
// RCU is the first that it takes and the last that it releases. It returns an error and has done
// nothing, as `dup_mmap()` itself has where it cannot have the lock of the memory.
unsafe impl<H: OnAllocPid> Redirect for DupMmap<H> {
    const FUNCTION: &'static CStr = c"dup_mmap";

    #[inline]
    fn wanted(_: Arguments<'_, Self>) -> bool {
        let caller = current!();
        let Some((ns, time_ns_changes)) = of_child(caller) else {
            return false;
        };

        // `copy_namespaces()` wants a privilege of those who change their time namespace, and
        // `copy_mm()` makes an `ENOMEM` of every error.
        Gated::<H>::is_refused(ns)
            && !time_ns_changes
            && is_plain()
            && ns.check_request(&[]).is_ok()
    }

    fn stand_in() -> *const c_void {
        Self::answer as *const c_void
    }
}

impl<H: OnAllocPid> DupMmap<H> {
    /// Stands in for `dup_mmap()`.
    extern "C" fn answer(_: *mut bindings::mm_struct, _: *mut bindings::mm_struct) -> c_int {
        let _rcu = rcu::read_lock();

        of_child(current!())
            .map_or(ENOMEM, |(ns, _)| Gated::<H>::refuse(ns, &[]))
            .to_errno()
    }
}

/// The PID namespace that a child of the caller is to be born in, and whether its time namespace
/// is to be another than the caller's; `None` if the caller has given up its namespaces, as who
/// exits.
#[inline]
fn of_child(task: &CurrentTask) -> Option<(Pidns<'_>, bool)> {
    // SAFETY: It is the caller's own, who alone changes it (`switch_task_namespaces()`,
    // `exit_nsproxy_namespaces()`), in system calls of which nobody is here; and it holds a
    // reference to each of the namespaces. One that is there does not change, but for those of the
    // children, which the caller alone changes too.
    unsafe {
        let nsproxy = (*task.as_ptr()).nsproxy;
        if nsproxy.is_null() {
            return None;
        }
        Some((
            Pidns::new(CRef::new((*nsproxy).pid_ns_for_children)),
            (*nsproxy).time_ns != (*nsproxy).time_ns_for_children,
        ))
    }
}

/// Whether the caller is in a `fork()`, or in a `clone()` that asks for no more.
fn is_plain() -> bool {
    let mut flags = 0;

    pidns_guard_fork_flags(&mut flags) && flags & !PLAIN == 0
}
