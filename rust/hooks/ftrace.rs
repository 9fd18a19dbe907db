// SPDX-License-Identifier: GPL-2.0

//! A hook that sends some calls of a kernel function to a function of this module.
//!
//! This is what a livepatch stands on: an `ftrace_ops` with `FTRACE_OPS_FL_IPMODIFY` may change
//! the address at which the call goes on. Only the calls that are not to take place are sent
//! here. All others never enter the module: what they do next may sleep for as long as it likes.
//!
//! C header: [`include/linux/ftrace.h`](srctree/include/linux/ftrace.h)

use core::marker::PhantomData;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    str::CStr,
    types::Opaque, //
};

// `struct ftrace_regs` has no fields that anybody may know; only pointers to it are passed on.
#[expect(improper_ctypes)]
extern "C" {
    fn pidns_guard_ftrace_get_argument(fregs: *mut bindings::ftrace_regs, n: c_uint) -> c_ulong;
    fn pidns_guard_ftrace_set_instruction_pointer(fregs: *mut bindings::ftrace_regs, ip: c_ulong);
}

/// A function of the kernel, and the function that takes its place in some calls.
///
/// # Safety
///
/// [`stand_in`](Self::stand_in) must return a function with the prototype of the kernel's
/// [`FUNCTION`](Self::FUNCTION) which does not sleep: once the hook is gone, nothing but
/// `synchronize_rcu_tasks()` waits for those who are inside it.
pub(crate) unsafe trait Redirect {
    /// The name of the kernel's function.
    const FUNCTION: &'static CStr;

    /// Decides whether the stand-in answers this call.
    ///
    /// Called at the entry of the function, with preemption off.
    ///
    /// # Safety
    ///
    /// `first_argument` must be the first argument of a call to [`FUNCTION`](Self::FUNCTION) that
    /// is about to begin.
    unsafe fn wanted(first_argument: c_ulong) -> bool;

    /// The function that answers in the place of the kernel's.
    fn stand_in() -> *const c_void;
}

/// A hook on the kernel's function `R::FUNCTION`, for as long as the value lives.
///
/// # Invariants
///
/// `ops` is registered with ftrace, and filtered to `R::FUNCTION`.
#[pin_data(PinnedDrop)]
pub(crate) struct Hook<R: Redirect> {
    #[pin]
    ops: Opaque<bindings::ftrace_ops>,
    _redirect: PhantomData<R>,
}

// SAFETY: An `ftrace_ops` may be unregistered by any task.
unsafe impl<R: Redirect> Send for Hook<R> {}
// SAFETY: Nothing can be done with a shared reference to a `Hook`.
unsafe impl<R: Redirect> Sync for Hook<R> {}

impl<R: Redirect> Hook<R> {
    /// # Safety
    ///
    /// To be called by ftrace only, at the entry of `R::FUNCTION`.
    unsafe extern "C" fn entered(
        _ip: c_ulong,
        _parent_ip: c_ulong,
        _ops: *mut bindings::ftrace_ops,
        fregs: *mut bindings::ftrace_regs,
    ) {
        // SAFETY: ftrace passes the registers of the call that is about to begin, which by this
        // function's contract is one of `R::FUNCTION`.
        let wanted = unsafe { R::wanted(pidns_guard_ftrace_get_argument(fregs, 0)) };

        if wanted {
            // SAFETY: By the contract of `Redirect` the stand-in takes the same arguments and
            // returns the same type, and at the entry of a function nothing else has been done.
            // `FTRACE_OPS_FL_IPMODIFY` allows to change the address.
            unsafe {
                pidns_guard_ftrace_set_instruction_pointer(fregs, R::stand_in() as c_ulong);
            }
        }
    }

    /// Registers the hook. May sleep.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if the kernel has no such function that could be hooked, `EBUSY` if somebody
    /// else redirects it (a livepatch), otherwise what `register_ftrace_function()` says.
    pub(crate) fn register() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            ops <- Opaque::try_ffi_init(|ops: *mut bindings::ftrace_ops| {
                // SAFETY: `ops` points to memory for an `ftrace_ops`, which stays where it is
                // until `drop()`. A zeroed one is what C code starts with.
                unsafe { ops.write(pin_init::zeroed()) };
                // SAFETY: As above, and nobody else knows of it yet.
                unsafe {
                    (*ops).func = Some(Self::entered);
                    (*ops).flags = (
                        // May send a call elsewhere; only one at a time may do so.
                        bindings::FTRACE_OPS_FL_IPMODIFY
                            // ftrace sees to it that `entered()` does not call itself.
                            | bindings::FTRACE_OPS_FL_RECURSION
                    ) as c_ulong;
                }
                // SAFETY: `ops` was initialised above.
                unsafe { Self::attach(ops) }
            }),
            // INVARIANT: `attach()` filtered and registered it.
            _redirect: PhantomData,
        }? Error)
    }

    /// # Safety
    ///
    /// `ops` must be initialised and not registered.
    unsafe fn attach(ops: *mut bindings::ftrace_ops) -> Result {
        let name = R::FUNCTION.to_bytes();

        // SAFETY: By this function's contract. The name is only read, despite its type.
        to_result(unsafe {
            bindings::ftrace_set_filter(ops, name.as_ptr().cast_mut(), name.len() as i32, 1)
        })
        // `ftrace_set_hash()` says EINVAL where nothing matched.
        .map_err(|err| if err == EINVAL { EOPNOTSUPP } else { err })
        .and_then(|()| {
            // SAFETY: By this function's contract, and filtered: without a filter an ops with
            // `FTRACE_OPS_FL_IPMODIFY` would be refused.
            to_result(unsafe { bindings::register_ftrace_function(ops) })
        })
        .inspect_err(|err| {
            // SAFETY: Not registered, so nobody uses the filter.
            unsafe { bindings::ftrace_free_filter(ops) };
            explain(R::FUNCTION, *err);
        })
    }
}

#[pinned_drop]
impl<R: Redirect> PinnedDrop for Hook<R> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type's invariant it is registered. When the first call returns,
        // `entered()` is not running and will not run again. Who it sent to the stand-in may have
        // been preempted on the way or inside; by the contract of `Redirect` the stand-in does not
        // sleep, so that `synchronize_rcu_tasks()`, which waits until every task has slept or gone
        // to user space, waits for all of them.
        unsafe {
            bindings::unregister_ftrace_function(self.ops.get());
            bindings::synchronize_rcu_tasks();
            bindings::ftrace_free_filter(self.ops.get());
        }
    }
}

/// Says in one line why there is no hook.
fn explain(function: &CStr, err: Error) {
    if err == EBUSY {
        pr_err!(
            "{}() is taken by a livepatch, see /sys/kernel/livepatch: not loaded\n",
            function
        );
    } else if err == EOPNOTSUPP {
        pr_err!("this kernel has no {}() to hook: not loaded\n", function);
    } else {
        pr_err!("cannot hook {}(): {:?}: not loaded\n", function, err);
    }
}
