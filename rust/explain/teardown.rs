// SPDX-License-Identifier: GPL-2.0

//! The end of a teardown: init returns from `zap_pid_ns_processes()`, and is alone; then its
//! parent reaps it, and nothing is left.

use kernel::{
    prelude::*,
    str::CStr,
    sync::Arc, //
};

use crate::{
    explain::event,
    hooks::{
        retprobe::{
            OnReturn,
            ReturnProbe, //
        },
        tracepoint::{
            OnFree,
            Probe,
            SchedProcessFree, //
        }, //
    },
    view::{
        pid_namespace::Pidns,
        process::ProcessId,
        rcu_static::{
            Publication,
            RcuStatic, //
        }, //
    }, //
};

/// The probe, for those who want to know how much it has missed.
static RETURNS: RcuStatic<ReturnProbe<ZapPidNsProcesses>> = RcuStatic::new();

/// How many inits have entered `zap_pid_ns_processes()` and will not be seen to return, or were not:
/// [`MAX_ACTIVE`](OnReturn::MAX_ACTIVE) others were inside.
pub(crate) fn missed() -> usize {
    RETURNS.with(ReturnProbe::missed).unwrap_or(0)
}

/// Notes the ends of teardowns for as long as the value lives.
pub(crate) struct Teardowns {
    _returns: Publication<ReturnProbe<ZapPidNsProcesses>>,
    _frees: Probe<SchedProcessFree<Frees>>,
}

impl Teardowns {
    /// Sets up the watch. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`ReturnProbe::register`] and of [`Probe::register`].
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            _returns: RETURNS.publish(Arc::new(ReturnProbe::register()?, GFP_KERNEL)?),
            _frees: Probe::register()?,
        })
    }
}

struct ZapPidNsProcesses;

impl OnReturn for ZapPidNsProcesses {
    const FUNCTION: &'static CStr = c"zap_pid_ns_processes";

    /// Teardowns at the same time, some of them stuck for ever; about 100 bytes each.
    const MAX_ACTIVE: c_int = 1024;

    fn on_return() {
        if let Some(ns) = Pidns::reaped_by(current!()) {
            event::emptied(ns);
        }
    }
}

struct Frees;

impl OnFree for Frees {
    fn on_free(process: ProcessId) {
        event::freed(process);
    }
}
