// SPDX-License-Identifier: GPL-2.0

//! A probe on the return of a function that may sleep for ever.
//!
//! The return goes through a trampoline of the kernel's own (rethook): a task that is asleep
//! inside the function keeps nothing of this module on its stack, and the module can be unloaded
//! at any moment.
//!
//! C header: [`include/linux/kprobes.h`](srctree/include/linux/kprobes.h)

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::from_err_ptr,
    prelude::*,
    str::CStr,
    types::Opaque, //
};

use crate::compat;

extern "C" {
    fn pidns_guard_retprobe_register(
        function: *const c_char,
        maxactive: c_int,
        returned: extern "C" fn(),
    ) -> *mut Opaque<()>;
    fn pidns_guard_retprobe_missed(probe: *mut Opaque<()>) -> c_ulong;
    fn pidns_guard_retprobe_unregister(probe: *mut Opaque<()>);
}

/// What to do when a function has returned.
pub(crate) trait OnReturn {
    /// The name of the function.
    const FUNCTION: &'static CStr;

    /// How many tasks may be inside the function at the same time and still be seen to return.
    const MAX_ACTIVE: c_int;

    /// Called in the context of the task that returns, with preemption off.
    fn on_return();
}

/// A return probe, for as long as the value lives.
///
/// # Invariants
///
/// `probe` came from `pidns_guard_retprobe_register()` and is registered.
pub(crate) struct ReturnProbe<H: OnReturn> {
    probe: NonNull<Opaque<()>>,
    _handler: PhantomData<H>,
}

// SAFETY: A probe may be unregistered by any task.
unsafe impl<H: OnReturn> Send for ReturnProbe<H> {}
// SAFETY: With a shared reference to a `ReturnProbe` numbers are read, which any task may do.
unsafe impl<H: OnReturn> Sync for ReturnProbe<H> {}

impl<H: OnReturn> ReturnProbe<H> {
    extern "C" fn returned() {
        H::on_return();
    }

    /// Registers the probe. May sleep.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if the kernel has no such function, otherwise what `register_kretprobe()` says.
    pub(crate) fn register() -> Result<Self> {
        // SAFETY: The name is a string literal and outlives the probe; so does the function, since
        // the probe is unregistered in `drop()`.
        let probe = from_err_ptr(unsafe {
            pidns_guard_retprobe_register(H::FUNCTION.as_char_ptr(), H::MAX_ACTIVE, Self::returned)
        })
        .and_then(|probe| NonNull::new(probe).ok_or(ENOMEM))
        .map_err(|err| match err {
            ENOENT => compat::eopnotsupp(),
            err => err,
        })
        .inspect_err(|err| explain(H::FUNCTION, *err))?;

        // INVARIANT: Registered just now.
        Ok(Self {
            probe,
            _handler: PhantomData,
        })
    }

    /// How many calls of the function have been missed since the probe was registered, and so were
    /// or will not be seen to return: [`MAX_ACTIVE`](OnReturn::MAX_ACTIVE) tasks were inside, or the
    /// call came in the middle of another kprobe's handler.
    ///
    /// May be called from any context. Calls that are missed on two CPUs at the same time may count
    /// as one, as in `/sys/kernel/tracing/kprobe_profile`.
    pub(crate) fn missed(&self) -> usize {
        // SAFETY: By the type's invariant it is registered. The numbers are read once each.
        unsafe { pidns_guard_retprobe_missed(self.probe.as_ptr()) as usize }
    }
}

impl<H: OnReturn> Drop for ReturnProbe<H> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant it is registered. `unregister_kretprobe()` takes the
        // handler away (`rethook_stop()`) and waits with `synchronize_rcu()` for those that are
        // running, which is without preemption (`rethook_trampoline_handler()`). A task that is
        // still inside the function then returns through the kernel's trampoline, and finds none.
        unsafe { pidns_guard_retprobe_unregister(self.probe.as_ptr()) };
    }
}

/// Says in one line why there is no probe, unless it is for lack of memory.
fn explain(function: &CStr, err: Error) {
    if err == ENOMEM {
        return;
    }
    if err == compat::eopnotsupp() {
        pr_err!("this kernel has no {}() to probe: not loaded\n", function);
    } else {
        pr_err!(
            "cannot probe the return of {}(): {:?}: not loaded\n",
            function,
            err
        );
    }
}
