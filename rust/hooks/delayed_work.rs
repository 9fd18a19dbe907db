// SPDX-License-Identifier: GPL-2.0

//! A function that is called later, in a kernel thread.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use kernel::{
    bindings,
    prelude::*,
    sync::{
        static_lock_class,
        Arc, //
    },
    time::{
        msecs_to_jiffies,
        Msecs, //
    },
    types::Opaque, //
};

/// What to do when the alarm goes off.
pub(crate) trait OnDelay: Send + Sync {
    /// Called in process context. May sleep, but not for long: who drops the [`DelayedWork`] waits.
    ///
    /// Returns in how many milliseconds it wants to be called again, if it does.
    fn on_delay(&self) -> Option<Msecs>;
}

/// An alarm that can be set for as long as the value lives.
///
/// The work is not in here: while an alarm is dropped, with exclusive access to it, the function
/// may still be running, and shares what it looks at.
///
/// # Invariants
///
/// No other [`Arc`] leads to the work.
pub(crate) struct DelayedWork<T: OnDelay> {
    shared: Arc<Work<T>>,
}

/// The work and its handler. Nobody has exclusive access to it before it is dropped.
///
/// # Invariants
///
/// `work` is initialised, with [`Self::ring()`] for its function, and it is not queued when the
/// value is dropped, nor is the function running.
#[pin_data]
struct Work<T: OnDelay> {
    #[pin]
    work: Opaque<bindings::delayed_work>,
    handler: T,
}

// SAFETY: Delayed work may be queued and cancelled by any task, and so may the handler be used.
unsafe impl<T: OnDelay> Send for Work<T> {}
// SAFETY: As above.
unsafe impl<T: OnDelay> Sync for Work<T> {}

impl<T: OnDelay> DelayedWork<T> {
    /// Makes an alarm, which is not set. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(handler: T) -> impl Init<Self, Error> {
        // INVARIANT: It has been made just now.
        try_init!(Self {
            shared: Arc::pin_init(Work::new(handler), GFP_KERNEL)?,
        }? Error)
    }

    /// Sets the alarm, unless it is set. May be called from any context but NMI.
    pub(crate) fn set(&self, after: Msecs) {
        self.shared.queue(after);
    }
}

impl<T: OnDelay> Drop for DelayedWork<T> {
    fn drop(&mut self) {
        // SAFETY: By the invariant of `Work`. It waits until the function has returned, and nobody
        // can queue it again, the function itself included (`clear_pending_if_disabled()`); a work
        // is not touched any more once its function has returned (`process_one_work()`).
        //
        // The work itself is dropped after that, as by the type's invariant this is the last
        // reference to it.
        unsafe { bindings::disable_delayed_work_sync(self.shared.work.get()) };
    }
}

impl<T: OnDelay> Work<T> {
    fn new(handler: T) -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: As said there. Nobody queues it but by its `DelayedWork`, whose drop ends that.
            work <- Opaque::ffi_init(|work: *mut bindings::delayed_work| {
                // SAFETY: The place is valid, and stays where it is until it is dropped. The timer
                // is that of delayed work, and irqsafe as it wants to be. No more than that does
                // `INIT_DELAYED_WORK()`: all else `__queue_delayed_work()` sets itself.
                unsafe {
                    bindings::init_work_with_key(
                        &raw mut (*work).work,
                        Some(Self::ring),
                        false,
                        c"pidns_guard_delayed_work".as_char_ptr(),
                        static_lock_class!().as_ptr(),
                    );
                    bindings::timer_init_key(
                        &raw mut (*work).timer,
                        Some(bindings::delayed_work_timer_fn),
                        bindings::TIMER_IRQSAFE,
                        c"pidns_guard_delayed_work_timer".as_char_ptr(),
                        static_lock_class!().as_ptr(),
                    );
                }
            }),
            handler,
        })
    }

    fn queue(&self, after: Msecs) {
        // SAFETY: By the type's invariant; the queue is one of the kernel's own.
        unsafe {
            bindings::queue_delayed_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                bindings::system_dfl_wq,
                self.work.get(),
                msecs_to_jiffies(after),
            )
        };
    }

    /// # Safety
    ///
    /// To be called as the function of [`Self::work`] only.
    unsafe extern "C" fn ring(work: *mut bindings::work_struct) {
        // SAFETY: By this function's contract, which makes it the `work` of a `Work` that has not
        // been dropped, and to which nobody has exclusive access: `DelayedWork::drop()` waits for this to
        // return, and only then does the `Work` go.
        let this = unsafe {
            let work = kernel::container_of!(work, bindings::delayed_work, work);
            &*kernel::container_of!(work.cast::<Opaque<bindings::delayed_work>>(), Self, work)
        };

        if let Some(after) = this.handler.on_delay() {
            this.queue(after);
        }
    }
}
