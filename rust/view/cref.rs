// SPDX-License-Identifier: GPL-2.0

//! The kernel's own structures, whose fields others write to at the same time.
//!
//! C code reads such a field with `READ_ONCE()`. Here [`read_once!`] does: the one argument that it
//! needs is that the structure is still there, and that is made once, by whoever makes a [`CRef`].

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

/// A structure that stays for `'a`, and that others write to.
///
/// # Invariants
///
/// The pointer is that of a structure which is initialised, and not freed for `'a`.
pub(crate) struct CRef<'a, T>(NonNull<T>, PhantomData<&'a T>);

impl<T> Clone for CRef<'_, T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for CRef<'_, T> {}

impl<T> CRef<'_, T> {
    /// # Safety
    ///
    /// `structure` must point to one that is initialised, and not freed for the lifetime of what is
    /// returned.
    #[inline]
    pub(crate) unsafe fn new(structure: *mut T) -> Self {
        // INVARIANT: By this function's contract.
        // SAFETY: As above; so it is not null.
        Self(unsafe { NonNull::new_unchecked(structure) }, PhantomData)
    }

    /// For functions of the kernel's.
    #[inline]
    pub(crate) fn as_ptr(self) -> *mut T {
        self.0.as_ptr()
    }
}

/// Reads a field of a [`CRef`] structure once: a number, or a pointer that may lead anywhere.
macro_rules! read_once {
    ($structure:expr, $($field:ident).+) => {{
        let structure: $crate::view::cref::CRef<'_, _> = $structure;

        // SAFETY: By the invariant of `CRef` the structure is there, and so is its field, aligned
        // as C has it: none of them is packed. Whoever writes to it writes a whole number or
        // pointer (`AtomicType` lets nothing else be read), and any is a valid one. That of C's
        // stores those are whole too that are not marked, the kernel takes for granted itself
        // (`CONFIG_KCSAN_ASSUME_PLAIN_WRITES_ATOMIC`).
        let field = unsafe {
            ::kernel::sync::atomic::Atomic::from_ptr(&raw mut (*structure.as_ptr()).$($field).+)
        };
        field.load(::kernel::sync::atomic::Relaxed)
    }};
}
pub(crate) use read_once;
