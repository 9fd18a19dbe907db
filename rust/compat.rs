// SPDX-License-Identifier: GPL-2.0

//! What the `kernel` crates of the series that the module is made for do not have in common.
//!
//! Linux 7.2 has barriers of other names than 7.3, fewer errors, and no `synchronize_rcu()`: both
//! have what these are made of, which is asked for here. What is hooked is the same in C, or the
//! module does not build (`rust/shim/helpers.c`). When 7.2 is left behind this file goes.
//!
//! C headers: [`include/asm-generic/barrier.h`](srctree/include/asm-generic/barrier.h) and
//! [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use kernel::{
    bindings,
    prelude::*, //
};

/// `EOPNOTSUPP`.
pub(crate) fn eopnotsupp() -> Error {
    Error::from_errno(-(bindings::EOPNOTSUPP as c_int))
}

/// A full memory barrier between CPUs: `kernel::sync::barrier::smp_mb(Full)` of 7.3.
#[inline]
pub(crate) fn smp_mb() {
    // SAFETY: It orders what the caller does, in whatever context, and touches no memory itself
    // (`rust/helpers/barrier.c`).
    unsafe { bindings::smp_mb() };
}

/// A barrier between reads of memory that other CPUs write to: `smp_mb(Read)` of 7.3.
#[inline]
pub(crate) fn smp_rmb() {
    // SAFETY: It orders what the caller does, in whatever context, and touches no memory itself
    // (`rust/helpers/barrier.c`).
    unsafe { bindings::smp_rmb() };
}

/// A barrier between writes to memory that other CPUs read: `smp_mb(Write)` of 7.3.
#[inline]
pub(crate) fn smp_wmb() {
    // SAFETY: It orders what the caller does, in whatever context, and touches no memory itself
    // (`rust/helpers/barrier.c`).
    unsafe { bindings::smp_wmb() };
}

/// Waits for all who are under RCU now. Sleeps.
pub(crate) fn synchronize_rcu() {
    // SAFETY: It takes nothing, and waits (`kernel/rcu/tree.c`). A caller who must not sleep, or is
    // under RCU, would be complained of or wait for ever, which breaks nobody's memory.
    unsafe { bindings::synchronize_rcu() };
}
