// SPDX-License-Identifier: GPL-2.0

//! Probes on the scheduler's tracepoints.
//!
//! Until the self-test of all hooks has passed, what a probe sees goes to the self-test, and not to
//! the handler. (Not so `sched_process_free`, which the self-test does not look at: it only tells the
//! ledger, in which nothing is before that.)
//!
//! C header: [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h)

use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    str::CStr,
    task::CurrentTask, //
};

use crate::{
    compat,
    self_test,
    view::{
        cref::{
            read_once,
            CRef, //
        },
        process::{
            Process,
            ProcessId, //
        },
        thread::Thread, //
    }, //
};

unsafe extern "C" {
    // It does no more than to wait.
    safe fn pidns_guard_tracepoint_synchronize_unregister();
}

/// A tracepoint, and the function to call when it fires.
///
/// # Safety
///
/// [`probe`](Self::probe) must return a function whose prototype is `void (void *data, ...)`, with
/// the `TP_PROTO` of the tracepoint [`NAME`](Self::NAME) in the place of the dots, and which may be
/// called from wherever the kernel fires it.
pub(crate) unsafe trait Event {
    /// The name of the tracepoint.
    const NAME: &'static CStr;

    /// The function to call when it fires.
    fn probe() -> *mut c_void;
}

/// What to do when a process exits.
pub(crate) trait OnExit {
    /// Called in the context of the last thread of a thread group, from `do_exit()`, after its
    /// decrement of `signal->live`, a full barrier, has taken that to 0; since 7.2 before
    /// `exit_mm()`. It may sleep, but is in nobody's interest.
    fn on_exit(task: &CurrentTask);
}

/// What to do when a task has been forked.
pub(crate) trait OnFork {
    /// Called in the context of the parent, from `kernel_clone()`, when the child is attached to
    /// its PIDs and before it is woken for the first time. Must not sleep.
    ///
    /// `child` is `None` for a thread of a thread group that was there before.
    fn on_fork(child: Option<Process<'_>>);
}

/// What to do when a task waits for its children.
pub(crate) trait OnWait {
    /// Called in the context of the task that waits, from `do_wait()`, before it looks at its
    /// children for the first time. It may sleep, but is in nobody's interest.
    fn on_wait(task: &CurrentTask);
}

/// What to do when a task is no more.
pub(crate) trait OnFree {
    /// Called a grace period after a task has been reaped, in the context of an RCU callback. Must
    /// not sleep.
    ///
    /// `process` names it if it was the leader of its thread group, and nobody otherwise.
    fn on_free(process: ProcessId);
}

/// The tracepoint `sched_process_exit`.
pub(crate) struct SchedProcessExit<H>(PhantomData<H>);

impl<H: OnExit> SchedProcessExit<H> {
    extern "C" fn fired(_: *mut c_void, _: *mut bindings::task_struct, group_dead: bool) {
        if !group_dead {
            return;
        }
        if self_test::passed() {
            H::on_exit(current!());
        } else {
            self_test::exited(current!());
        }
    }
}

// SAFETY: `TP_PROTO(struct task_struct *p, bool group_dead)`, see
// `include/trace/events/sched.h`. It fires in `do_exit()` only, where `p` is current.
unsafe impl<H: OnExit> Event for SchedProcessExit<H> {
    const NAME: &'static CStr = c"sched_process_exit";

    fn probe() -> *mut c_void {
        Self::fired as *mut c_void
    }
}

/// The tracepoint `sched_process_fork`.
pub(crate) struct SchedProcessFork<H>(PhantomData<H>);

impl<H: OnFork> SchedProcessFork<H> {
    /// # Safety
    ///
    /// To be called by the tracepoint only.
    unsafe extern "C" fn fired(
        _: *mut c_void,
        _: *mut bindings::task_struct,
        child: *mut bindings::task_struct,
    ) {
        // SAFETY: `kernel_clone()` passes the child that it has not woken yet, and that is not
        // released before it has run.
        let child = Process::led_by(unsafe { Thread::from_raw(child) });

        if self_test::passed() {
            H::on_fork(child);
        } else {
            self_test::forked(child);
        }
    }
}

// SAFETY: `TP_PROTO(struct task_struct *parent, struct task_struct *child)`, see
// `include/trace/events/sched.h`. It fires in `kernel_clone()` only.
unsafe impl<H: OnFork> Event for SchedProcessFork<H> {
    const NAME: &'static CStr = c"sched_process_fork";

    fn probe() -> *mut c_void {
        Self::fired as *mut c_void
    }
}

/// The tracepoint `sched_process_wait`.
pub(crate) struct SchedProcessWait<H>(PhantomData<H>);

impl<H: OnWait> SchedProcessWait<H> {
    extern "C" fn fired(_: *mut c_void, _: *mut bindings::pid) {
        if self_test::passed() {
            H::on_wait(current!());
        } else {
            self_test::waited();
        }
    }
}

// SAFETY: `TP_PROTO(struct pid *pid)`, see `include/trace/events/sched.h`. It fires in `do_wait()`
// only, whose callers are tasks that wait for children of their own.
unsafe impl<H: OnWait> Event for SchedProcessWait<H> {
    const NAME: &'static CStr = c"sched_process_wait";

    fn probe() -> *mut c_void {
        Self::fired as *mut c_void
    }
}

/// The tracepoint `sched_process_free`.
pub(crate) struct SchedProcessFree<H>(PhantomData<H>);

impl<H: OnFree> SchedProcessFree<H> {
    /// # Safety
    ///
    /// To be called by the tracepoint only.
    unsafe extern "C" fn fired(_: *mut c_void, task: *mut bindings::task_struct) {
        // SAFETY: `delayed_put_task_struct()` drops its reference to the task after this.
        let task = unsafe { CRef::new(task) };

        H::on_free(ProcessId {
            pid: read_once!(task, pid),
            started: read_once!(task, start_time),
        });
    }
}

// SAFETY: `TP_PROTO(struct task_struct *p)`, see `include/trace/events/sched.h`. It fires in
// `delayed_put_task_struct()` only.
unsafe impl<H: OnFree> Event for SchedProcessFree<H> {
    const NAME: &'static CStr = c"sched_process_free";

    fn probe() -> *mut c_void {
        Self::fired as *mut c_void
    }
}

/// A probe on a tracepoint, for as long as the value lives.
///
/// # Invariants
///
/// `tracepoint` is one of vmlinux's own, and `E::probe()` is registered on it.
pub(crate) struct Probe<E: Event> {
    tracepoint: NonNull<bindings::tracepoint>,
    _event: PhantomData<E>,
}

// SAFETY: The kernel's own tracepoints never go away, and a probe may be unregistered by any task.
unsafe impl<E: Event> Send for Probe<E> {}
// SAFETY: Nothing can be done with a shared reference to a `Probe`.
unsafe impl<E: Event> Sync for Probe<E> {}

impl<E: Event> Probe<E> {
    /// Registers the probe. May sleep.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if the kernel has no such tracepoint, otherwise what
    /// `tracepoint_probe_register()` says.
    pub(crate) fn register() -> Result<Self> {
        let tracepoint = find(E::NAME)
            .ok_or_else(compat::eopnotsupp)
            .inspect_err(|_| {
                pr_err!("this kernel has no tracepoint {}: not loaded\n", E::NAME);
            })?;

        // SAFETY: `tracepoint` is one of vmlinux's, which never go away, and by the contract of
        // `Event` the probe fits it.
        to_result(unsafe {
            bindings::tracepoint_probe_register(tracepoint.as_ptr(), E::probe(), ptr::null_mut())
        })
        .inspect_err(|err| {
            if *err != ENOMEM {
                pr_err!(
                    "cannot probe the tracepoint {}: {:?}: not loaded\n",
                    E::NAME,
                    err
                );
            }
        })?;

        // INVARIANT: Registered just now.
        Ok(Self {
            tracepoint,
            _event: PhantomData,
        })
    }
}

impl<E: Event> Drop for Probe<E> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant this very probe is registered there.
        unsafe {
            bindings::tracepoint_probe_unregister(
                self.tracepoint.as_ptr(),
                E::probe(),
                ptr::null_mut(),
            );
        }

        // From here on it is not called any more, and what is still inside it holds
        // `tracepoint_srcu` (`__DECLARE_TRACE()`).
        pidns_guard_tracepoint_synchronize_unregister();
    }
}

/// Looks for one of vmlinux's tracepoints.
fn find(name: &CStr) -> Option<NonNull<bindings::tracepoint>> {
    struct Search<'a> {
        name: &'a CStr,
        found: Option<NonNull<bindings::tracepoint>>,
    }

    /// # Safety
    ///
    /// `tracepoint` must be valid, and `search` must point to a [`Search`] that nobody else uses.
    unsafe extern "C" fn look_at(tracepoint: *mut bindings::tracepoint, search: *mut c_void) {
        // SAFETY: By this function's contract.
        let search = unsafe { &mut *search.cast::<Search<'_>>() };
        // SAFETY: By this function's contract. The name of a tracepoint is a string literal
        // (`__DEFINE_TRACE_EXT()`).
        let name = unsafe { CStr::from_char_ptr((*tracepoint).name) };

        if name == search.name {
            search.found = NonNull::new(tracepoint);
        }
    }

    let mut search = Search { name, found: None };
    // SAFETY: vmlinux's own tracepoints are valid for ever. `look_at()` is called with `search`
    // before this returns, and not later.
    unsafe {
        bindings::for_each_kernel_tracepoint(Some(look_at), (&raw mut search).cast());
    }
    search.found
}
