// SPDX-License-Identifier: GPL-2.0

//! Stretches in which the scheduler does not take the CPU away.
//!
//! C header: [`include/linux/preempt.h`](srctree/include/linux/preempt.h)

use kernel::types::NotThreadSafe;

unsafe extern "C" {
    // It may be called from any context, and nests.
    safe fn pidns_guard_preempt_disable();
    fn pidns_guard_preempt_enable();
}

/// No preemption as long as the value lives; but on `PREEMPT_RT`, whose locks may sleep.
///
/// # Invariants
///
/// The task that made it has called `preempt_disable()` for it.
#[must_use = "it ends at once if it is not kept"]
pub(crate) struct Disabled(NotThreadSafe);

/// Keeps the CPU for the caller.
pub(crate) fn disable() -> Disabled {
    pidns_guard_preempt_disable();

    // INVARIANT: Called just now.
    Disabled(NotThreadSafe)
}

impl Drop for Disabled {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant, and the value has not left the task.
        unsafe { pidns_guard_preempt_enable() };
    }
}
