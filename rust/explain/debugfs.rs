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
    enforce::adoption,
    explain::{
        counters::COUNTERS,
        holder::{
            Holder,
            Holders,
            Reason, //
        },
        ledger::{
            Ledger,
            Record, //
        },
        text::{
            json,
            Line,
            Span, //
        }, //
    },
    hooks::file::{
        Dir,
        OnRead, //
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
        self.dir.add::<CounterFile>();
        self.dir.add::<TextTable>();
        self.dir.add::<JsonLines>();
    }
}

struct CounterFile;

impl OnRead<Ledger> for CounterFile {
    const NAME: &'static CStr = c"counters";
    const ADMIN_ONLY: bool = false;

    fn show(_: &Ledger, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        COUNTERS.write_lines(f)
    }
}

struct TextTable;

impl OnRead<Ledger> for TextTable {
    const NAME: &'static CStr = c"teardowns";
    const ADMIN_ONLY: bool = true;

    fn show(ledger: &Ledger, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_table(ledger, f)
    }
}

struct JsonLines;

impl OnRead<Ledger> for JsonLines {
    const NAME: &'static CStr = c"teardowns.json";
    const ADMIN_ONLY: bool = true;

    fn show(ledger: &Ledger, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_json(ledger, f)
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
    // What no hook tells of is here too, and up to date.
    adoption::look_again();

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
fn write_table(ledger: &Ledger, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
            record.state(),
            Line::<24>::from_fmt(fmt!("{} ago", Span(record.since_begin()))),
            after(record, record.killed_at),
            after(record, record.empty_at),
            after(record, record.left_at),
            record.killed,
            record.stragglers,
            record.refused,
            record.init.comm,
            record.init.id.pid,
            if record.died_at.is_some() {
                Line::<96>::from_fmt(fmt!("{}", record.init.ending))
            } else {
                Line::from_fmt(fmt!("{} and has not died", record.init.ending.pending()))
            },
            if record.before_load {
                ", before the module was loaded"
            } else if record.at_least {
                ", some time before it was seen"
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

    match ledger.not_shown() {
        0 => Ok(()),
        teardowns => f.write_fmt(fmt!(
            "{} more that are not over have no room here: load with a larger ledger_size\n",
            teardowns
        )),
    }
}

/// One JSON object on each line; the last may be one that tells of an error.
fn write_json(ledger: &Ledger, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let no_memory = "{\"error\":\"ENOMEM\"}\n";

    for_each(ledger, f, no_memory, |f, record, holders| {
        f.write_fmt(fmt!(
            "{{\"pidns\":{},\"level\":{},\"state\":\"{}\",\
             \"init\":{{\"pid\":{},\"comm\":\"{}\",\"how\":\"{}\",\"code\":{},\"core\":{}}},\
             \"before_load\":{},\"at_least\":{},\"age_us\":{},\"died_us\":{},\"kill_us\":{},\"empty_us\":{},\"left_us\":{},\
             \"killed\":{},\"stragglers\":{},\"forks_refused\":{},\"holders\":[",
            record.pidns,
            record.level,
            record.state(),
            record.init.id.pid,
            record.init.comm.json(),
            record.init.ending.how(),
            record
                .init
                .ending
                .signal()
                .unwrap_or_else(|| record.init.ending.exit_code()),
            record.init.ending.dumped_core(),
            record.before_load,
            record.at_least,
            record.since_begin() / 1000,
            OrNull(record.died_at.map(|time| (time - record.began) / 1000)),
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
            write_holder_json(holder, f)?;
        }
        f.write_fmt(fmt!("],\"more_holders\":{}}}\n", more))
    })?;

    match ledger.not_shown() {
        0 => Ok(()),
        teardowns => f.write_fmt(fmt!("{{\"not_shown\":{}}}\n", teardowns)),
    }
}

fn write_holder_json(holder: &Holder, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let reason = &holder.reason;

    f.write_fmt(fmt!(
        "{{\"pid\":{},\"pid_inside\":{},\"pidns\":{},\"comm\":\"{}\",\"state\":\"{}\",\
         \"reason\":\"{}\",\"blocker\":",
        holder.pid,
        holder.inside,
        holder.pidns,
        holder.comm.json(),
        holder.state,
        reason.name()
    ))?;
    match reason.blocker() {
        Some(blocker) => f.write_fmt(fmt!(
            "{{\"pid\":{},\"comm\":\"{}\",\"state\":\"{}\",\"function\":{},\"init_of\":{}}}",
            blocker.pid,
            blocker.comm.json(),
            blocker.state,
            OrNull(blocker.function.as_ref().map(Quoted)),
            OrNull(blocker.init_of)
        ))?,
        None => f.write_str("null")?,
    }

    let cgroup = match reason {
        Reason::Frozen(path) => Some(path.as_bytes()),
        _ => None,
    };
    let running = match reason {
        Reason::Running(running) => Some(running),
        _ => None,
    };
    let text = Line::<256>::from_fmt(fmt!("{}", reason));
    f.write_fmt(fmt!(
        ",\"function\":{},\"syscall\":{},\"cgroup\":{},\"memory_kb\":{},\"cpu_ms\":{},\"text\":\"{}\"}}",
        OrNull(reason.function().map(Quoted)),
        OrNull(running.and_then(|running| running.syscall)),
        OrNull(cgroup.map(Quoted)),
        OrNull(running.map(|running| running.pages << (PAGE_SHIFT - 10))),
        OrNull(running.map(|running| running.cpu / 1_000_000)),
        json(text.as_bytes())
    ))?;
    Ok(())
}

/// Text as a JSON string.
struct Quoted<T>(T);

impl<T: AsRef<[u8]>> fmt::Display for Quoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("\"{}\"", json(self.0.as_ref())))
    }
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
