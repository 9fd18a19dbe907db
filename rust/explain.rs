// SPDX-License-Identifier: GPL-2.0

//! The explanation: what is known of each teardown, and how it is told.
//!
//! - [`event`]: one function for each thing that happens; it tells the counters, the trace, the
//!   ledger and the watch;
//! - [`ledger`]: what is known of each teardown;
//! - [`teardown`]: the end of a teardown;
//! - [`refusal`]: why a fork was refused;
//! - [`stall`]: a teardown that does not end, with its [`holder`]s and their reasons;
//! - [`debugfs`] and [`counters`]: all of that in files;
//! - [`ratelimit`] and [`text`]: how often, and how, it is written.
//!
//! Nothing here decides what happens to a namespace.

#![forbid(unsafe_code)]

pub(crate) mod counters;
pub(crate) mod debugfs;
pub(crate) mod event;
pub(crate) mod holder;
pub(crate) mod ledger;
pub(crate) mod ratelimit;
pub(crate) mod refusal;
pub(crate) mod stall;
pub(crate) mod teardown;
pub(crate) mod text;
