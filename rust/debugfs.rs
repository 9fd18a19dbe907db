// SPDX-License-Identifier: GPL-2.0

//! What the module knows, in `/sys/kernel/debug/pidns_guard`.
//!
//! All of them are root's, with mode 0400. `counters` holds numbers. `teardowns`, for people, and
//! `teardowns.json`, for programs, tell of processes in all namespaces: to open them takes
//! `CAP_SYS_ADMIN` in the initial user namespace as well.

use kernel::{
    fmt,
    page::PAGE_SHIFT,
    prelude::*,
    str::CStr,
    sync::Arc, //
};

use crate::{
    counters::COUNTERS,
    holder::{
        Holder,
        Holders,
        Reason, //
    },
    hooks::file::{
        Dir,
        OnRead, //
    },
    ledger::{
        Ledger,
        Record, //
    },
    params,
    text::{
        json,
        Line,
        Span, //
    }, //
};

/// Where they are, in debugfs.
pub(crate) const DIR: &CStr = c"pidns_guard";

/// The files, for as long as the value lives. Without debugfs there are none, and that is no
/// error.
pub(crate) struct Files {
    dir: Dir<Ledger>,
}

impl Files {
    /// Makes a place for the files, which another copy of the module sees. May sleep.
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        Self {
            dir: Dir::new(DIR, ledger),
        }
    }

    /// Makes the files. May sleep.
    ///
    /// To be called when nothing fails any more: a module that does not come to be is not kept by
    /// those who have one of them open.
    pub(crate) fn show(&self) {
        self.dir.add::<Numbers>();
        self.dir.add::<ForPeople>();
        self.dir.add::<ForPrograms>();
    }
}

struct Numbers;

impl OnRead<Ledger> for Numbers {
    const NAME: &'static CStr = c"counters";
    const ADMIN_ONLY: bool = false;

    fn show(_: &Ledger, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        COUNTERS.write_lines(f)
    }
}

struct ForPeople;

impl OnRead<Ledger> for ForPeople {
    const NAME: &'static CStr = c"teardowns";
    const ADMIN_ONLY: bool = true;

    fn show(ledger: &Ledger, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for_people(ledger, f)
    }
}

struct ForPrograms;

impl OnRead<Ledger> for ForPrograms {
    const NAME: &'static CStr = c"teardowns.json";
    const ADMIN_ONLY: bool = true;

    fn show(ledger: &Ledger, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for_programs(ledger, f)
    }
}

/// How far a teardown has come.
fn state(record: &Record) -> &'static str {
    if record.left_at.is_none() && record.reports > 0 {
        "stuck"
    } else if record.empty_at.is_some() {
        "gone"
    } else if record.killed_at.is_none() && params::get().kill {
        "killing"
    } else {
        "waiting"
    }
}

/// Calls `show` for each teardown, newest first, and with those who hold it if it is not over.
///
/// Where there is no memory for that, the file ends with `no_memory`: what it lacks must not look
/// like what is not there, and `seq_print!` has no way to fail.
fn for_each(
    ledger: &Ledger,
    f: &mut fmt::Formatter<'_>,
    no_memory: &str,
    mut show: impl FnMut(&mut fmt::Formatter<'_>, &Record, Option<Holders>) -> fmt::Result,
) -> fmt::Result {
    let Ok(records) = ledger.records() else {
        return f.write_str(no_memory);
    };

    for record in records {
        let holders = match record.left_at {
            Some(_) => None,
            None => match Holders::of(&record) {
                Ok(holders) => Some(holders),
                Err(_) => return f.write_str(no_memory),
            },
        };
        show(f, &record, holders)?;
    }
    Ok(())
}

/// One row for each teardown, and below it one for each who holds it.
fn for_people(ledger: &Ledger, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let after = |record: &Record, time: Option<i64>| match time {
        Some(time) => Line::<24>::from_fmt(fmt!("{}", Span(time - record.began))),
        None => Line::from_fmt(fmt!("-")),
    };

    f.write_str(
        "     PIDNS LEVEL STATE          BEGAN         KILL        EMPTY         LEFT \
         KILLED STRAGGLERS REFUSED INIT\n",
    )?;
    let no_memory = "out of memory: no more is known\n";
    for_each(ledger, f, no_memory, |f, record, holders| {
        f.write_fmt(fmt!(
            "{:>10} {:>5} {:<7} {:>12} {:>12} {:>12} {:>12} {:>6} {:>10} {:>7} {} (pid {}) {}{}\n",
            record.pidns,
            record.level,
            state(record),
            Line::<24>::from_fmt(fmt!("{} ago", Span(record.since_begin()))),
            after(record, record.killed_at),
            after(record, record.empty_at),
            after(record, record.left_at),
            record.killed,
            record.stragglers,
            record.refused,
            record.init.comm,
            record.init.id.pid,
            record.init.ending,
            if record.init.before_load {
                ", before the module came"
            } else {
                ""
            }
        ))?;

        let Some(holders) = holders else {
            return Ok(());
        };
        for holder in &holders.named {
            f.write_fmt(fmt!("{:>10} {}\n", "", holder))?;
        }
        if holders.more > 0 {
            f.write_fmt(fmt!("{:>10} and {} more\n", "", holders.more))?;
        }
        Ok(())
    })?;

    match ledger.unrecorded() {
        0 => Ok(()),
        lost => f.write_fmt(fmt!("{} more had no room here, see ledger_size\n", lost)),
    }
}

/// One JSON object on each line; the last may be one that tells of an error.
fn for_programs(ledger: &Ledger, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let no_memory = "{\"error\":\"ENOMEM\"}\n";

    for_each(ledger, f, no_memory, |f, record, holders| {
        f.write_fmt(fmt!(
            "{{\"pidns\":{},\"level\":{},\"state\":\"{}\",\
             \"init\":{{\"pid\":{},\"comm\":\"{}\",\"how\":\"{}\",\"code\":{},\"core\":{}}},\
             \"before_load\":{},\"age_us\":{},\"kill_us\":{},\"empty_us\":{},\"left_us\":{},\
             \"killed\":{},\"stragglers\":{},\"forks_refused\":{},\"holders\":[",
            record.pidns,
            record.level,
            state(record),
            record.init.id.pid,
            record.init.comm.json(),
            match record.init.ending.signal() {
                Some(_) => "killed",
                None => "exited",
            },
            record
                .init
                .ending
                .signal()
                .unwrap_or_else(|| record.init.ending.exit_code()),
            record.init.ending.dumped_core(),
            record.init.before_load,
            record.since_begin() / 1000,
            OrNull(record.killed_at.map(|time| (time - record.began) / 1000)),
            OrNull(record.empty_at.map(|time| (time - record.began) / 1000)),
            OrNull(record.left_at.map(|time| (time - record.began) / 1000)),
            record.killed,
            record.stragglers,
            record.refused
        ))?;

        let more = holders.as_ref().map_or(0, |holders| holders.more);
        for (index, holder) in holders
            .iter()
            .flat_map(|holders| &holders.named)
            .enumerate()
        {
            f.write_str(if index > 0 { "," } else { "" })?;
            holder_for_programs(holder, f)?;
        }
        f.write_fmt(fmt!("],\"more_holders\":{}}}\n", more))
    })
}

fn holder_for_programs(holder: &Holder, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let reason = &holder.reason;

    f.write_fmt(fmt!(
        "{{\"pid\":{},\"pid_inside\":{},\"pidns\":{},\"comm\":\"{}\",\"state\":\"{}\",\
         \"reason\":\"{}\",\"culprit\":",
        holder.pid,
        holder.inside,
        holder.pidns,
        holder.comm.json(),
        holder.state,
        reason.name()
    ))?;
    match reason.culprit() {
        Some(culprit) => f.write_fmt(fmt!(
            "{{\"pid\":{},\"comm\":\"{}\"}}",
            culprit.pid,
            culprit.comm.json()
        ))?,
        None => f.write_str("null")?,
    }

    f.write_str(",\"function\":")?;
    match reason.function() {
        Some(function) => f.write_fmt(fmt!("\"{}\"", json(function.as_bytes())))?,
        None => f.write_str("null")?,
    }

    f.write_str(",\"cgroup\":")?;
    match reason {
        Reason::Frozen(path) => f.write_fmt(fmt!("\"{}\"", json(path.as_bytes())))?,
        _ => f.write_str("null")?,
    }

    let connection = match reason {
        Reason::Fuse(_, connection) => *connection,
        _ => None,
    };
    let memory = match reason {
        Reason::Running(pages) => Some(pages << (PAGE_SHIFT - 10)),
        _ => None,
    };
    let text = Line::<256>::from_fmt(fmt!("{}", reason));
    f.write_fmt(fmt!(
        ",\"fuse_connection\":{},\"memory_kb\":{},\"text\":\"{}\"}}",
        OrNull(connection),
        OrNull(memory),
        json(text.as_bytes())
    ))?;
    Ok(())
}

/// A value, or the word that JSON has for none.
struct OrNull<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for OrNull<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("null"),
        }
    }
}
