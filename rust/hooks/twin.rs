// SPDX-License-Identifier: GPL-2.0

//! Whether another copy of this module is there already, of whatever version and under whatever
//! name: the kernel itself refuses one of the same name only.
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)

use core::ptr;
use kernel::{
    bindings,
    prelude::*,
    str::CStr, //
};

/// Complains if somebody else has the directory `name` in debugfs. May sleep.
///
/// Where debugfs is off, nobody has it: another copy is then met at the first function that it
/// redirects, too.
///
/// # Errors
///
/// `EBUSY` if it is there.
pub(crate) fn look_out(name: &CStr) -> Result {
    // SAFETY: The name is a string, and without a parent the root of debugfs is meant.
    let dir = unsafe { bindings::debugfs_lookup(name.as_char_ptr(), ptr::null_mut()) };

    if dir.is_null() {
        return Ok(());
    }
    // SAFETY: `debugfs_lookup()` has taken a reference, which nobody else puts.
    unsafe { bindings::dput(dir) };

    pr_err!("another pidns_guard is loaded, under a name of its own, see lsmod: not loaded\n");
    Err(EBUSY)
}
