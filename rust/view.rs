// SPDX-License-Identifier: GPL-2.0

//! The kernel's state, as it is read under RCU: one of the two edges at which `unsafe` is allowed.
//!
//! - [`pidns`]: PID namespaces and the PIDs in them;
//! - [`process`] and [`thread`]: thread groups and their tasks;
//! - [`racy`]: fields that other CPUs write to;
//! - [`published`]: a value for callbacks, which are handed nothing;
//! - [`preemption`]: stretches without preemption.

pub(crate) mod pidns;
pub(crate) mod preemption;
pub(crate) mod process;
pub(crate) mod published;
pub(crate) mod racy;
pub(crate) mod thread;
