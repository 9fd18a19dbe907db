// SPDX-License-Identifier: GPL-2.0

//! The kernel's state, as it is read under RCU: one of the two edges at which `unsafe` is allowed.
//!
//! - [`pid_namespace`]: PID namespaces and the PIDs in them;
//! - [`process`] and [`thread`]: thread groups and their tasks;
//! - [`cref`]: fields that other CPUs write to;
//! - [`rcu_static`]: a value for callbacks, which are handed nothing;
//! - [`preempt`]: stretches without preemption.

pub(crate) mod cref;
pub(crate) mod pid_namespace;
pub(crate) mod preempt;
pub(crate) mod process;
pub(crate) mod rcu_static;
pub(crate) mod thread;
