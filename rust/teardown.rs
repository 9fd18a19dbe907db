// SPDX-License-Identifier: GPL-2.0

//! The end of a teardown: init returns from `zap_pid_ns_processes()`, and is alone.

use kernel::{
    prelude::*,
    str::CStr, //
};

use crate::{
    counters::COUNTERS,
    hooks::retprobe::{
        OnReturn,
        ReturnProbe, //
    }, //
};

/// Counts teardowns for as long as the value lives.
pub(crate) struct Teardowns {
    _returns: ReturnProbe<ZapPidNsProcesses>,
}

impl Teardowns {
    /// Sets up the watch. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`ReturnProbe::register`].
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            _returns: ReturnProbe::register()?,
        })
    }
}

struct ZapPidNsProcesses;

impl OnReturn for ZapPidNsProcesses {
    const FUNCTION: &'static CStr = c"zap_pid_ns_processes";

    /// Teardowns at the same time, some of them stuck for ever; about 100 bytes each.
    const MAX_ACTIVE: c_int = 1024;

    fn on_return() {
        COUNTERS.namespaces_torn_down.add(1);
    }
}
