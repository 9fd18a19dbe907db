// SPDX-License-Identifier: GPL-2.0

//! The module's hold on the kernel: ways to be called, each undone when it is dropped.
//!
//! This is the edge. What is above it (the guard, the reaper, the straggler hook, the teardown
//! count) gives a name and a safe function, and never sees a raw pointer. Each hook, once
//! dropped, waits until nobody is inside the module through it any more, so that the module may be
//! unloaded right after.

pub(crate) mod alloc_pid;
pub(crate) mod delayed_work;
pub(crate) mod dup_mmap;
pub(crate) mod file;
pub(crate) mod ftrace;
pub(crate) mod retprobe;
pub(crate) mod second_copy;
pub(crate) mod trace;
pub(crate) mod tracepoint;
pub(crate) mod umh;
