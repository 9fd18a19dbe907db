// SPDX-License-Identifier: GPL-2.0

//! The module's trace events, as `perf`, `trace-cmd` and `bpftrace` know them: `pidns_guard:pidns_guard_*`.
//!
//! One that is off is a jump that is not taken.
//!
//! C header: `rust/shim/trace.h`

use core::marker::PhantomData;
use kernel::{
    bindings,
    prelude::*,
    str::CStr, //
};

use crate::{
    explain::{
        holder::Holder,
        ledger::{
            Init,
            Record,
            Teardown, //
        },
        text::Comm, //
    },
    view::{
        pid_namespace::Pidns,
        process::Process, //
    }, //
};

/// A string that C code reads up to its end, which is a 0.
#[repr(transparent)]
struct Text<'a>(*const c_char, PhantomData<&'a CStr>);

impl<'a> From<&'a CStr> for Text<'a> {
    fn from(text: &'a CStr) -> Self {
        Self(text.as_char_ptr(), PhantomData)
    }
}

/// What the kernel's `declare_trace!` does, for events that are not in its bindings.
macro_rules! declare_events {
    ($(fn $name:ident($($arg:ident: $type:ty),* $(,)?);)*) => {
        kernel::macros::paste! {
            // Depending on the configuration, some of a tracepoint is empty in C.
            #[allow(improper_ctypes)]
            unsafe extern "C" {
                $(
                    static [<__tracepoint_pidns_guard_ $name>]: bindings::tracepoint;
                    // It takes numbers, `TASK_COMM_LEN` bytes of a name, and strings.
                    safe fn [<rust_do_trace_pidns_guard_ $name>]($($arg: $type),*);
                )*
            }

            $(
                #[inline(always)]
                fn [<fire_ $name>]($($arg: $type),*) {
                    // SAFETY: It is the static key of a tracepoint that C code has defined.
                    let is_on = unsafe {
                        kernel::jump_label::static_branch_unlikely!(
                            [<__tracepoint_pidns_guard_ $name>],
                            bindings::tracepoint,
                            key
                        )
                    };

                    if is_on {
                        [<rust_do_trace_pidns_guard_ $name>]($($arg),*);
                    }
                }
            )*
        }
    };
}

declare_events! {
    fn teardown_begin(
        pidns: u32, level: u32, init_pid: i32, init_comm: &Comm, ending: i32,
    );
    fn kill(pidns: u32, level: u32, processes: u32);
    fn fork_refused(pidns: u32, level: u32, dead_pidns: u32);
    fn straggler(pidns: u32, level: u32, pid: i32, comm: &Comm);
    fn stuck(
        pidns: u32, level: u32, age_ns: u64, holders: u32, pid: i32, comm: &Comm,
        reason: Text<'_>,
    );
    fn teardown_end(
        pidns: u32, level: u32, duration_ns: u64, killed: u32, stragglers: u32, refused: u32,
    );
}

/// The last thread of an init has died.
#[inline]
pub(crate) fn teardown_begin(ns: Pidns<'_>, init: &Init) {
    fire_teardown_begin(
        ns.inum(),
        ns.level() as u32,
        init.id.pid,
        &init.comm,
        init.ending.code(),
    );
}

/// The kill is out.
#[inline]
pub(crate) fn kill(ns: Pidns<'_>, processes: i64) {
    fire_kill(ns.inum(), ns.level() as u32, processes as u32);
}

/// The caller got no PID in `ns`.
#[inline]
pub(crate) fn fork_refused(ns: Pidns<'_>, dead: Option<Pidns<'_>>) {
    let dead = dead.map_or(0, |dead| dead.inum());

    fire_fork_refused(ns.inum(), ns.level() as u32, dead);
}

/// A child was killed before it ran.
#[inline]
pub(crate) fn straggler(child: Process<'_>) {
    let (ns, leader) = (child.pidns(), child.leader());

    fire_straggler(ns.inum(), ns.level() as u32, leader.pid(), &leader.comm());
}

/// A teardown is held by `holders` tasks, of which `first` is one.
#[inline]
pub(crate) fn stuck(record: &Record, holders: usize, first: Option<&Holder>) {
    let (pid, comm) = first.map_or((0, Comm::EMPTY), |holder| (holder.pid, holder.comm));
    let reason: &CStr = first.map_or(c"", |holder| holder.reason.name());

    fire_stuck(
        record.pidns,
        record.level,
        record.age() as u64,
        holders as u32,
        pid,
        &comm,
        reason.into(),
    );
}

/// No member is left.
#[inline]
pub(crate) fn teardown_end(teardown: Teardown<'_>) {
    let Some(record) = teardown.record() else {
        return;
    };

    fire_teardown_end(
        record.pidns,
        record.level,
        record.age() as u64,
        record.killed,
        record.stragglers,
        record.refused,
    );
}
