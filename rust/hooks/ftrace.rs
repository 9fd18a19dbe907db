// SPDX-License-Identifier: GPL-2.0

//! A hook on the entry of a kernel function, to answer some of its calls.
//!
//! It is what a livepatch stands on: an `ftrace_ops` with `FTRACE_OPS_FL_IPMODIFY` may change the
//! address at which the call goes on. Only the calls that are not to take place are sent to this
//! module. All others never enter it: what they do next may sleep for as long as it likes.
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

use crate::compat;

// `struct ftrace_regs` has no fields that anybody may know; only pointers to it are passed on.
#[expect(improper_ctypes)]
extern "C" {
    fn pidns_guard_ftrace_get_argument(fregs: *mut bindings::ftrace_regs, n: c_uint) -> c_ulong;
    fn pidns_guard_ftrace_set_instruction_pointer(fregs: *mut bindings::ftrace_regs, ip: c_ulong);
    fn pidns_guard_find_function(function: *const c_char, address: *mut c_ulong) -> c_int;
    fn pidns_guard_ftrace_is_off(address: c_ulong) -> bool;
}

/// A function of the kernel, and the function that takes its place in some calls.
///
/// # Safety
///
/// [`stand_in`](Self::stand_in) must return a function with the prototype of the kernel's
/// [`FUNCTION`](Self::FUNCTION), which takes RCU before all else and releases it last: that is how
/// it is waited for, once the hook is gone, by whoever is to unload the module.
pub(crate) unsafe trait Redirect {
    /// The name of the kernel's function.
    const FUNCTION: &'static CStr;

    /// Decides whether the stand-in answers this call.
    ///
    /// Called at the entry of the function, in the context of the caller. Must not sleep.
    fn wanted(arguments: Arguments<'_, Self>) -> bool;

    /// The function that answers in the place of the kernel's.
    fn stand_in() -> *const c_void;
}

/// The arguments of a call to `R::FUNCTION` that is about to begin.
///
/// # Invariants
///
/// The registers are those of such a call, and valid for `'a`.
pub(crate) struct Arguments<'a, R: ?Sized>(
    *mut bindings::ftrace_regs,
    PhantomData<(&'a (), *const R)>,
);

impl<R: ?Sized> Arguments<'_, R> {
    /// The argument at `n`, counted from 0; fewer than six are to be had.
    #[inline]
    pub(crate) fn get(&self, n: c_uint) -> c_ulong {
        // SAFETY: By the type's invariant.
        unsafe { pidns_guard_ftrace_get_argument(self.0, n) }
    }
}

/// Hooks that answer some calls of `R::FUNCTION` and of `S::FUNCTION`, for as long as the value
/// lives.
///
/// Two at a time, for what is waited for when they are gone takes long.
#[pin_data]
pub(crate) struct RedirectHooks<R: Redirect, S: Redirect> {
    #[pin]
    first: Ops,
    #[pin]
    second: Ops,
    /// Goes last.
    _way_out: StandInDrain,
    _redirects: PhantomData<(R, S)>,
}

impl<R: Redirect, S: Redirect> RedirectHooks<R, S> {
    /// Registers the hooks. May sleep.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if the kernel has no such function that could be hooked, `EBUSY` if another
    /// `ftrace_ops` with `FTRACE_OPS_FL_IPMODIFY` is on it (a livepatch, a kprobe with a
    /// `post_handler`) or if `kernel.ftrace_enabled` is 0, `ENODEV` if ftrace has shut itself down,
    /// otherwise what `register_ftrace_function()` returns.
    pub(crate) fn register() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // The first that is made here is the last that is dropped again, should one fail.
            _way_out: StandInDrain,
            first <- Ops::register::<R>(),
            second <- Ops::register::<S>(),
            _redirects: PhantomData,
        }? Error)
    }
}

/// # Safety
///
/// To be called by ftrace only, at the entry of `R::FUNCTION`, with `FTRACE_OPS_FL_IPMODIFY`.
unsafe extern "C" fn entered<R: Redirect>(
    _ip: c_ulong,
    _parent_ip: c_ulong,
    _ops: *mut bindings::ftrace_ops,
    fregs: *mut bindings::ftrace_regs,
) {
    // INVARIANT: ftrace passes registers that are valid until this returns, and by this
    // function's contract they are those of such a call.
    if R::wanted(Arguments(fregs, PhantomData)) {
        // SAFETY: By the contract of `Redirect` the stand-in takes the same arguments and
        // returns the same type, and at the entry of a function nothing else has been done.
        // `FTRACE_OPS_FL_IPMODIFY` allows to change the address.
        unsafe {
            pidns_guard_ftrace_set_instruction_pointer(fregs, R::stand_in() as c_ulong);
        }
    }
}

/// Waits, when it is dropped, until nobody is in a stand-in whose hook is gone.
struct StandInDrain;

impl Drop for StandInDrain {
    fn drop(&mut self) {
        // Nobody comes in any more, see `Ops::drop()`, and who has come in has slept since, or is
        // outside. Inside one may sleep: on `PREEMPT_RT` a spin lock is waited for off the run
        // queue, and `rcu_tasks_is_holdout()` takes such a task for one outside. But by the contract
        // of `Redirect` it is under RCU there, and not before it, and that is waited for first. Who
        // is then left is on the way out, where nobody sleeps.
        compat::synchronize_rcu();
        // SAFETY: It does no more than to wait.
        unsafe { bindings::synchronize_rcu_tasks() };
    }
}

/// An `ftrace_ops`, registered for as long as the value lives.
///
/// # Invariants
///
/// `ops` is registered with ftrace, and filtered to one function.
#[pin_data(PinnedDrop)]
struct Ops {
    #[pin]
    ops: Opaque<bindings::ftrace_ops>,
}

// SAFETY: An `ftrace_ops` may be unregistered by any task.
unsafe impl Send for Ops {}
// SAFETY: Nothing can be done with a shared reference to an `Ops`.
unsafe impl Sync for Ops {}

impl Ops {
    fn register<R: Redirect>() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // INVARIANT: `attach()` filters and registers it.
            ops <- Opaque::try_ffi_init(|ops: *mut bindings::ftrace_ops| {
                let initial = bindings::ftrace_ops {
                    func: Some(entered::<R>),
                    // Only one at a time may send calls elsewhere. While it is registered,
                    // `kernel.ftrace_enabled` cannot be set to 0, which up to Linux 7.2 would
                    // switch the hook off without a word. Not `FTRACE_OPS_FL_RECURSION`, which
                    // costs each call as much again: no callback here comes to the one function
                    // it is called for.
                    flags: (bindings::FTRACE_OPS_FL_IPMODIFY | bindings::FTRACE_OPS_FL_PERMANENT)
                        as c_ulong,
                    ..pin_init::zeroed()
                };

                // SAFETY: `ops` points to memory for an `ftrace_ops`, which nobody else knows of
                // yet and which stays where it is until `drop()`. What is written there is what C
                // code starts with: its callback, for the entry of this very function, the flag
                // which that wants, and zeroes.
                unsafe {
                    ops.write(initial);
                    Self::attach(ops, R::FUNCTION)
                }
            }),
        }? Error)
    }

    /// # Safety
    ///
    /// `ops` must be initialised, not registered, and stay where it is once it is. Its callback
    /// must be one that ftrace may call at the entry of `function`.
    unsafe fn attach(ops: *mut bindings::ftrace_ops, function: &CStr) -> Result {
        let mut address = 0;

        // SAFETY: The name is a string, and the address has its place.
        to_result(unsafe { pidns_guard_find_function(function.as_char_ptr(), &mut address) })
            .and_then(|()| {
                // SAFETY: By this function's contract. 1 is to begin with an empty filter.
                to_result(unsafe { bindings::ftrace_set_filter_ip(ops, address, 0, 1) })
            })
            // There is none, says kprobes; there is none that could be hooked, says ftrace.
            .map_err(|err| match err {
                ENOENT | EINVAL => compat::eopnotsupp(),
                err => err,
            })
            .and_then(|()| {
                // SAFETY: By this function's contract, and filtered to that function: without a
                // filter it would be called for every function there is.
                to_result(unsafe { bindings::register_ftrace_function(ops) }).inspect_err(|_| {
                    // It was among the hooks before it was found that it may not be
                    // (`ftrace_startup()`), and nobody has waited for those who have met it there
                    // (`__ftrace_ops_list_func()`). They look at its filter, for which no function
                    // at all would be every one.
                    compat::synchronize_rcu();
                })
            })
            .inspect_err(|err| {
                // SAFETY: Not registered, so nobody uses the filter, or does any more.
                unsafe { bindings::ftrace_free_filter(ops) };
                explain(function, address, *err);
            })
    }
}

#[pinned_drop]
impl PinnedDrop for Ops {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type's invariant it is registered. When the first call returns, the
        // callback is not running and will not run again, and nobody is on the way from it to the
        // stand-in any more: `ftrace_shutdown()` has waited with `synchronize_rcu_tasks()`, which
        // waits until every task has slept, or gone to user space. (Only an ftrace that has shut
        // itself down, `ftrace_kill()`, waits for nothing; it has warned, and nobody can undo it.)
        //
        // That says nothing of who is inside the stand-in, see `StandInDrain`; they use nothing of this.
        unsafe {
            bindings::unregister_ftrace_function(self.ops.get());
            bindings::ftrace_free_filter(self.ops.get());
        }
    }
}

/// Logs in one line why there is no hook, unless it is for lack of memory.
fn explain(function: &CStr, address: c_ulong, err: Error) {
    if err == ENOMEM {
        return;
    }
    if err == EBUSY {
        // SAFETY: Only `register_ftrace_function()` fails with that: the address is that of a
        // function which ftrace knows.
        if unsafe { pidns_guard_ftrace_is_off(address) } {
            pr_err!("ftrace is off, turn it on with sysctl kernel.ftrace_enabled=1: not loaded\n");
        } else {
            pr_err!(
                "{}() is redirected by a livepatch, a kprobe with a post_handler or another \
                 pidns_guard, see its line in /sys/kernel/tracing/enabled_functions: not loaded\n",
                function
            );
        }
    } else if err == compat::eopnotsupp() {
        pr_err!("this kernel has no {}() to hook: not loaded\n", function);
    } else if err == ENODEV {
        pr_err!("ftrace has switched itself off after an error, see above: not loaded\n");
    } else {
        pr_err!("cannot hook {}(): {:?}: not loaded\n", function, err);
    }
}
