// SPDX-License-Identifier: GPL-2.0

//! A process of the module's own, which lives for a moment and never comes to user space.
//!
//! It is forked by the kernel's user mode helper, in a kernel thread: what whoever loads the module
//! is short of, or has been told by a signal, is of no consequence, nor in which namespaces or
//! cgroup that is. There is no program: what is called before one would be executed says no.
//!
//! To make a PID namespace for it there is no way. All that does (`copy_pid_ns()`, `ksys_unshare()`,
//! `kernel_clone()`) is the kernel's own, and the address of such a function is of no use: where
//! indirect branches are tracked, the kernel has made sure at boot that who calls it by that dies
//! (`apply_seal_endbr()`).
//!
//! C header: [`include/linux/umh.h`](srctree/include/linux/umh.h)

use core::ptr;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    str::CStr,
    task::CurrentTask, //
};

/// What the process does.
pub(crate) trait Life {
    /// Called in its context, and all that there is to its life. May sleep.
    fn live(me: &CurrentTask);

    /// Called before what its [`Parent`] was told by is given back, and may come to tell another.
    fn forget_parent();
}

/// What tells the kernel thread that forks the process from all other tasks: the address of the
/// work that it is at. It does so until [`Life::forget_parent()`].
///
/// # Invariants
///
/// It is not 0.
pub(crate) struct Parent(usize);

impl Parent {
    /// What the caller is working at, if it is a kernel thread that works.
    pub(crate) fn current() -> Option<Self> {
        // SAFETY: `current_wq_worker()` in `kernel/workqueue_internal.h`, which it goes by, may be
        // called in any context, and looks at the caller's own task only.
        let work = unsafe { bindings::current_work() };

        if work.is_null() {
            return None;
        }
        // INVARIANT: It is not null.
        Some(Self(work as usize))
    }

    /// As a number, which is not 0.
    pub(crate) fn get(self) -> usize {
        self.0
    }
}

/// Lets a process be born, live and die, and waits for that; `tell` is called before, and told by
/// what to know its parent. Returns how it ended, as `wait()` encodes it. Sleeps.
///
/// # Errors
///
/// `ENOMEM`; what `fork()` has to say; `EBUSY` where no process is to be started, because the
/// system goes to sleep.
pub(crate) fn run<L: Life>(tell: impl FnOnce(Parent)) -> Result<i32> {
    // SAFETY: What it is given `call_usermodehelper_setup()` in `kernel/umh.c` keeps and does not
    // look at. The path is static; the two null pointers are for `kernel_execve()`, to which
    // `call_usermodehelper_exec_async()` does not come, as `live()` returns an error. Both
    // functions are of the types that they are called by.
    let info = unsafe {
        bindings::call_usermodehelper_setup(
            NO_PROGRAM.as_char_ptr(),
            ptr::null_mut(),
            ptr::null_mut(),
            bindings::GFP_KERNEL,
            Some(live::<L>),
            Some(forget_parent::<L>),
            ptr::null_mut(),
        )
    };
    if info.is_null() {
        return Err(ENOMEM);
    }

    // SAFETY: It has been made just now, and nobody else knows of it. Where all helpers are to be
    // one program (`CONFIG_STATIC_USERMODEHELPER`), or none, `call_usermodehelper_setup()` has put
    // that there instead, which is static as well: nobody is to free it.
    let work = unsafe {
        (*info).path = NO_PROGRAM.as_char_ptr();
        &raw const (*info).work
    };
    // INVARIANT: It is within what has been allocated.
    tell(Parent(work as usize));

    // SAFETY: It has come from `call_usermodehelper_setup()`, and is not touched again, as this
    // frees it. Without `UMH_KILLABLE` no signal lets `call_usermodehelper_exec()` in `kernel/umh.c`
    // come back before the process is gone (`call_usermodehelper_exec_sync()` waits for it, in a
    // thread that ignores all signals): nobody is left in `live()`. And it is this call itself that
    // frees it, so nobody is left in `forget_parent()`.
    let ended =
        unsafe { bindings::call_usermodehelper_exec(info, bindings::UMH_WAIT_PROC as c_int) };

    match ended {
        // It exited with 0, and its last word stands.
        NOTHING_DONE => Ok(0),
        ended => to_result(ended).map(|()| ended),
    }
}

/// Nobody looks for it.
const NO_PROGRAM: &CStr = c"none";

/// An error that nobody else comes back with.
const NOTHING_DONE: c_int = -(bindings::ENOTNAM as c_int);

/// Called by `call_usermodehelper_exec_async()`, in the new process. Its error keeps that from
/// executing anything: it exits instead.
extern "C" fn live<L: Life>(_: *mut bindings::subprocess_info, _: *mut bindings::cred) -> c_int {
    L::live(current!());
    NOTHING_DONE
}

/// Called by `call_usermodehelper_freeinfo()`, right before it frees the work.
extern "C" fn forget_parent<L: Life>(_: *mut bindings::subprocess_info) {
    L::forget_parent();
}
