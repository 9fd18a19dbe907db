// SPDX-License-Identifier: GPL-2.0

//! Files in debugfs, to be read.
//!
//! Those of the kernel crate belong to nobody. Whoever has one of them open may keep it for as long
//! as he likes: when he closes it the kernel looks up in its `file_operations` what to do
//! (`full_proxy_release()`), and these are in the module, which may be gone by then. These here
//! belong to the module, which stays as long as one of them is open.
//!
//! C headers: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h) and
//! [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)

use core::marker::PhantomData;
use kernel::{
    bindings,
    fmt,
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    },
    str::CStr,
    sync::Arc, //
};

// Depending on the configuration, some of what the pointers lead to is empty in C.
#[allow(improper_ctypes)]
extern "C" {
    fn pidns_guard_debugfs_dir(name: *const c_char) -> *mut bindings::dentry;
    fn pidns_guard_debugfs_file(
        name: *const c_char,
        dir: *mut bindings::dentry,
        admin_only: bool,
        show: unsafe extern "C" fn(*mut bindings::seq_file, *mut c_void) -> c_int,
        data: *mut c_void,
    );
    fn pidns_guard_debugfs_remove(dir: *mut bindings::dentry);
}

/// What a file shows.
pub(crate) trait OnRead<T> {
    /// The name of the file.
    const NAME: &'static CStr;

    /// Whether `open()` fails with `EPERM` if the caller does not have `CAP_SYS_ADMIN` in the initial
    /// user namespace. The mode of the file, 0400 for root, counts besides.
    ///
    /// The opener's credentials decide. A descriptor can be read by whoever it is passed to.
    const ADMIN_ONLY: bool;

    /// Called in the context of the one who reads. May sleep, but who drops the [`Dir`] waits.
    fn show(of: &T, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// A directory in debugfs, for as long as the value lives.
///
/// # Invariants
///
/// `dir` came from `debugfs_create_dir()`, and is an error or was not removed. The data of each file
/// in it is that of `of`.
pub(crate) struct Dir<T: Send + Sync + 'static> {
    dir: *mut bindings::dentry,
    of: Arc<T>,
}

// SAFETY: A directory may be filled and removed by any task.
unsafe impl<T: Send + Sync> Send for Dir<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for Dir<T> {}

impl<T: Send + Sync> Dir<T> {
    /// Makes a directory for files that show something of `of`. May sleep.
    ///
    /// Nobody learns of it if there can be none.
    pub(crate) fn new(name: &CStr, of: Arc<T>) -> Self {
        // SAFETY: The name is a string, which `d_alloc()` copies.
        let dir = unsafe { pidns_guard_debugfs_dir(name.as_char_ptr()) };

        // INVARIANT: Made just now, and it has no files.
        Self { dir, of }
    }

    /// Adds a file. May sleep.
    pub(crate) fn add<F: OnRead<T>>(&self) {
        // INVARIANT: Its data is that of `of`.
        // SAFETY: The name is a string. By the type's invariant the directory is there, or is an
        // error, with which nothing is done (`debugfs_start_creating()`). `show()` may be called
        // with that data until the file is removed, which `drop()` does before `of` goes.
        unsafe {
            pidns_guard_debugfs_file(
                F::NAME.as_char_ptr(),
                self.dir,
                F::ADMIN_ONLY,
                show::<T, F>,
                Arc::as_ptr(&self.of).cast_mut().cast(),
            )
        };
    }
}

impl<T: Send + Sync> Drop for Dir<T> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant. It takes the files with it, waits for those who are
        // reading (`__debugfs_file_removed()`), and lets nobody begin any more: of a file that is
        // gone `debugfs_file_get()` says so.
        unsafe { pidns_guard_debugfs_remove(self.dir) };
    }
}

/// # Safety
///
/// To be called by `seq_read()` only, for a file whose data is a `T` that stays meanwhile.
unsafe extern "C" fn show<T: Sync, F: OnRead<T>>(
    seq: *mut bindings::seq_file,
    _: *mut c_void,
) -> c_int {
    // SAFETY: By this function's contract, and `single_open()` has put the data there. `seq_read()`
    // holds the lock of the `seq_file`.
    let (of, seq) = unsafe { (&*(*seq).private.cast::<T>(), SeqFile::from_raw(seq)) };
    let shown: Shown<'_, T, F> = Shown(of, PhantomData);

    seq_print!(seq, "{}", shown);
    0
}

/// What `F` shows of a `T`.
struct Shown<'a, T, F>(&'a T, PhantomData<F>);

impl<T, F: OnRead<T>> fmt::Display for Shown<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        F::show(self.0, f)
    }
}
