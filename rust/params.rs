// SPDX-License-Identifier: GPL-2.0

//! What the module has been told at load, by its parameters.
//!
//! They are on the C side, in `rust/shim/helpers.c`: those of `module!` are not to be seen in sysfs, do
//! not say what would have been right, and answer one that is given twice with `EEXIST`, which
//! modprobe takes for "it is loaded already".

use kernel::prelude::*;

/// All of them. What each means is in its description, for `modinfo`.
#[repr(C)]
pub(crate) struct Params {
    pub(crate) guard: bool,
    pub(crate) kill: bool,
    pub(crate) early: bool,
    /// In seconds; 0 for never.
    pub(crate) stall_secs: c_uint,
    /// At least 1.
    pub(crate) ledger_size: c_uint,
}

unsafe extern "C" {
    // A `struct pidns_guard_params`, see `rust/shim/helpers.h`, which has this layout. `load_module()`
    // writes it, by `parse_args()` and with values that are valid for their types, before it calls
    // `init`, and nobody does after that: in sysfs it is read-only.
    safe static pidns_guard_params: Params;
}

/// What the module has been told.
#[inline]
pub(crate) fn get() -> &'static Params {
    &pidns_guard_params
}
