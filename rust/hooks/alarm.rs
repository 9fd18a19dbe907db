// SPDX-License-Identifier: GPL-2.0

//! A function that is called later, in a kernel thread.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use kernel::{
    bindings,
    prelude::*,
    sync::static_lock_class,
    time::{
        msecs_to_jiffies,
        Msecs, //
    },
    types::Opaque, //
};

/// What to do when the alarm goes off.
pub(crate) trait OnAlarm: Send + Sync {
    /// Called in process context. May sleep, but not for long: who drops the [`Alarm`] waits.
    ///
    /// Returns in how many milliseconds it wants to be called again, if it does.
    fn on_alarm(&self) -> Option<Msecs>;
}

/// An alarm that can be set for as long as the value lives.
///
/// # Invariants
///
/// `work` is initialised, with [`Self::ring()`] for its function.
#[pin_data(PinnedDrop)]
pub(crate) struct Alarm<T: OnAlarm> {
    #[pin]
    work: Opaque<bindings::delayed_work>,
    handler: T,
}

// SAFETY: Delayed work may be queued and cancelled by any task.
unsafe impl<T: OnAlarm> Send for Alarm<T> {}
// SAFETY: As above.
unsafe impl<T: OnAlarm> Sync for Alarm<T> {}

impl<T: OnAlarm> Alarm<T> {
    /// Makes an alarm, which is not set.
    pub(crate) fn new(handler: T) -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: As said there.
            work <- Opaque::ffi_init(|work: *mut bindings::delayed_work| {
                // SAFETY: The place is valid, and stays where it is until `drop()`. The timer is
                // that of delayed work, and irqsafe as it wants to be. No more than that does
                // `INIT_DELAYED_WORK()`: all else `__queue_delayed_work()` sets itself.
                unsafe {
                    bindings::init_work_with_key(
                        &raw mut (*work).work,
                        Some(Self::ring),
                        false,
                        c"pidns_guard_alarm".as_char_ptr(),
                        static_lock_class!().as_ptr(),
                    );
                    bindings::timer_init_key(
                        &raw mut (*work).timer,
                        Some(bindings::delayed_work_timer_fn),
                        bindings::TIMER_IRQSAFE,
                        c"pidns_guard_alarm_timer".as_char_ptr(),
                        static_lock_class!().as_ptr(),
                    );
                }
            }),
            handler,
        })
    }

    /// Sets the alarm, unless it is set. May be called from any context but NMI.
    pub(crate) fn set(&self, after: Msecs) {
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
        // SAFETY: By this function's contract, which makes it the `work` of an `Alarm` that has
        // not been dropped: `drop()` waits for this to return.
        let this = unsafe {
            let work = kernel::container_of!(work, bindings::delayed_work, work);
            &*kernel::container_of!(work.cast::<Opaque<bindings::delayed_work>>(), Self, work)
        };

        if let Some(after) = this.handler.on_alarm() {
            this.set(after);
        }
    }
}

#[pinned_drop]
impl<T: OnAlarm> PinnedDrop for Alarm<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type's invariant. It waits until the function has returned, and nobody
        // can queue it again, the function itself included (`clear_pending_if_disabled()`); a work
        // is not touched any more once its function has returned (`process_one_work()`).
        unsafe { bindings::disable_delayed_work_sync(self.work.get()) };
    }
}
