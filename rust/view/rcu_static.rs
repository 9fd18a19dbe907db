// SPDX-License-Identifier: GPL-2.0

//! A value for those who are called by the kernel and are handed nothing to know it by.

use core::ptr;
use kernel::{
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        rcu,
        Arc, //
    }, //
};

use crate::compat;

/// A place where a value is to be found while it is published.
///
/// # Invariants
///
/// The pointer is null, or that of an [`Arc`] which the [`Publication`] owns.
pub(crate) struct RcuStatic<T>(Atomic<*mut T>);

impl<T: Send + Sync> RcuStatic<T> {
    pub(crate) const fn new() -> Self {
        // INVARIANT: It is null.
        Self(Atomic::new(ptr::null_mut()))
    }

    /// Lets `value` be found here until what is returned is dropped.
    pub(crate) fn publish(&'static self, value: Arc<T>) -> Publication<T> {
        // INVARIANT: `value` moves into the publication, whose drop takes the pointer back first.
        self.0.store(Arc::as_ptr(&value).cast_mut(), Release);
        Publication {
            place: self,
            _value: value,
        }
    }

    /// Does something with the value, if there is one. `f` runs under RCU and must not sleep.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R> {
        let _rcu = rcu::read_lock();
        let value = self.0.load(Acquire);

        // SAFETY: By the type's invariant it is null or valid; and it stays so until RCU is
        // released, which `Publication::drop()` waits for.
        unsafe { value.as_ref() }.map(f)
    }
}

/// Keeps a value published.
pub(crate) struct Publication<T: Send + Sync + 'static> {
    place: &'static RcuStatic<T>,
    _value: Arc<T>,
}

impl<T: Send + Sync> Drop for Publication<T> {
    fn drop(&mut self) {
        // The value itself goes after that, as the field it is.
        self.place.0.store(ptr::null_mut(), Release);
        compat::synchronize_rcu();
    }
}
