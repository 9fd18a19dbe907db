// SPDX-License-Identifier: GPL-2.0

//! The policy: what happens to a PID namespace whose init is dead.
//!
//! - [`reaper`]: the last thread of init exits, and every other process in the namespace is killed;
//! - [`straggler`]: a child that was being forked at that moment is killed before it runs;
//! - [`guard`]: no PID is allocated there any more;
//! - [`adoption`]: the same for what was dying before the module was loaded, and for what no hook
//!   tells of.
//!
//! The policy keeps no state about any namespace. Whether a namespace is dead is read off the
//! namespace each time it matters.

#![forbid(unsafe_code)]

pub(crate) mod adoption;
pub(crate) mod guard;
pub(crate) mod reaper;
pub(crate) mod straggler;
