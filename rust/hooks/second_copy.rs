// SPDX-License-Identifier: GPL-2.0

//! Whether another copy of this module is there already, of whatever version and under whatever
//! name: the kernel itself refuses one of the same name only.
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)

use kernel::{
    prelude::*,
    str::CStr, //
};

extern "C" {
    fn pidns_guard_debugfs_has(name: *const c_char) -> bool;
}

/// Complains if somebody else has the directory `name` in debugfs. May sleep.
///
/// Where debugfs is off, nobody has it: another copy is then met at the first function that it
/// redirects, too.
///
/// # Errors
///
/// `EBUSY` if it is there.
pub(crate) fn refuse_second_copy(name: &CStr) -> Result {
    // SAFETY: The name is a string.
    if !unsafe { pidns_guard_debugfs_has(name.as_char_ptr()) } {
        return Ok(());
    }

    pr_err!("another pidns_guard is loaded under another name (see lsmod): not loaded\n");
    Err(EBUSY)
}
