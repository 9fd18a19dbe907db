// SPDX-License-Identifier: GPL-2.0

//! The place of one teardown in the ledger, and who may write there.
//!
//! A place is used again and again. Whoever writes holds a [`Lease`] of the teardown that the place
//! belongs to, and a place with a lease on it is not given to another teardown: what comes late is
//! lost, and never counts for somebody else. The fields are private to this file, so there is no
//! way around a lease.

use kernel::{
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Relaxed,
        Release, //
    },
    task::Pid, //
};

use super::{
    now,
    Init,
    Record,
    Seen, //
};
use crate::{
    compat,
    explain::text::{
        Comm,
        Ending, //
    },
    view::{
        pid_namespace::Pidns,
        process::ProcessId, //
    }, //
};

/// How many bits of [`Entry::owner`] count the leases: a task holds one at most, there are no more
/// than `PID_MAX_LIMIT` tasks, which is `1 << 22`, and interrupts add one for each CPU.
const LEASE_BITS: u32 = 23;

/// One minute, in nanoseconds.
const MINUTE: i64 = 60_000_000_000;

/// The place of one teardown.
///
/// A teardown is known by its serial number, which is never used twice. A reader who finds the same
/// serial number before and after has read what belongs to that teardown.
pub(super) struct Entry {
    /// The serial number, and in the lowest [`LEASE_BITS`] the number of leases; 0 if the place was
    /// never used, negative while it is filled.
    owner: Atomic<i64>,

    // Written when the place is filled, and not after that.
    pidns: Atomic<u32>,
    level: Atomic<u32>,
    init_pid: Atomic<Pid>,
    init_started: Atomic<u64>,
    init_comm: [Atomic<u64>; 2],
    init_parent: Atomic<Pid>,
    before_load: Atomic<bool>,
    at_least: Atomic<bool>,
    began: Atomic<i64>,

    // Written under a lease.
    ending: Atomic<i32>,
    reboot: Atomic<bool>,
    died_at: Atomic<i64>,
    walked_at: Atomic<i64>,
    killed_at: Atomic<i64>,
    empty_at: Atomic<i64>,
    left_at: Atomic<i64>,
    killed: Atomic<u32>,
    stragglers: Atomic<u32>,
    refused: Atomic<u32>,
    /// How many refused forks a line in the log has accounted for.
    refused_said: Atomic<u32>,
    /// When the next line about a refused fork is due.
    refusal_due: Atomic<i64>,
    reports: Atomic<u32>,
    /// At what age the next report is due.
    next_report: Atomic<i64>,
    /// Whether a report is out and the line about the end is not.
    end_owed: Atomic<bool>,
    /// The running holder that the watch has an eye on, and the CPU time it had used then.
    runner: Atomic<Pid>,
    runner_cpu: Atomic<u64>,
}

impl Entry {
    pub(super) fn new() -> Self {
        Self {
            owner: Atomic::new(0),
            pidns: Atomic::new(0),
            level: Atomic::new(0),
            init_pid: Atomic::new(0),
            init_started: Atomic::new(0),
            init_comm: [Atomic::new(0), Atomic::new(0)],
            init_parent: Atomic::new(0),
            before_load: Atomic::new(false),
            at_least: Atomic::new(false),
            began: Atomic::new(0),
            ending: Atomic::new(0),
            reboot: Atomic::new(false),
            died_at: Atomic::new(0),
            walked_at: Atomic::new(0),
            killed_at: Atomic::new(0),
            empty_at: Atomic::new(0),
            left_at: Atomic::new(0),
            killed: Atomic::new(0),
            stragglers: Atomic::new(0),
            refused: Atomic::new(0),
            refused_said: Atomic::new(0),
            refusal_due: Atomic::new(0),
            reports: Atomic::new(0),
            next_report: Atomic::new(0),
            end_owed: Atomic::new(false),
            runner: Atomic::new(0),
            runner_cpu: Atomic::new(0),
        }
    }

    /// The teardown that the place belongs to; `None` if there is none, or one is being filled in.
    pub(super) fn serial(&self) -> Option<i64> {
        let serial = self.owner.load(Acquire) >> LEASE_BITS;

        (serial > 0).then_some(serial)
    }

    /// Whether the place still belongs to that teardown. To be called after reading: what was read
    /// before belongs to it then.
    fn is_still(&self, serial: i64) -> bool {
        // Pairs with the barrier in `Making::fill()`.
        compat::smp_rmb();
        self.owner.load(Relaxed) >> LEASE_BITS == serial
    }

    /// Whether the teardown `serial` is here, belongs to that init, and is not over.
    pub(super) fn is_of(&self, serial: i64, init: ProcessId) -> bool {
        self.init_pid.load(Relaxed) == init.pid
            && self.init_started.load(Relaxed) == init.started
            && self.left_at.load(Relaxed) == 0
            && self.is_still(serial)
    }

    /// Whether the teardown `serial` is here and belongs to the namespace with that inode number.
    pub(super) fn is_of_number(&self, serial: i64, pidns: u32) -> bool {
        self.pidns.load(Relaxed) == pidns && self.is_still(serial)
    }

    /// Whether init is still there, reaped or not.
    pub(super) fn is_unfinished(&self, serial: i64) -> bool {
        self.left_at.load(Acquire) == 0 && self.is_still(serial)
    }

    /// Whether there is something to come: the end, or the line about it.
    pub(super) fn is_awaited(&self, serial: i64) -> bool {
        (self.left_at.load(Acquire) == 0 || self.end_owed.load(Acquire)) && self.is_still(serial)
    }

    /// Whether the last thread of init has died.
    pub(super) fn is_dead(&self, serial: i64) -> bool {
        self.died_at.load(Acquire) != 0 && self.is_still(serial)
    }

    /// Whether a walk through the members has begun.
    pub(super) fn is_walked(&self, serial: i64) -> bool {
        self.walked_at.load(Acquire) != 0 && self.is_still(serial)
    }

    /// Whether a report is out.
    pub(super) fn is_reported(&self, serial: i64) -> bool {
        self.reports.load(Relaxed) > 0 && self.is_still(serial)
    }

    /// Whether the line about the end is due.
    pub(super) fn is_end_due(&self, serial: i64) -> bool {
        self.end_owed.load(Acquire) && self.left_at.load(Acquire) != 0 && self.is_still(serial)
    }

    /// Whether a report is due: at the age of `after` nanoseconds, and then at intervals that
    /// double.
    pub(super) fn is_report_due(&self, serial: i64, after: i64) -> bool {
        let age = now() - self.began.load(Relaxed);

        age >= after.max(self.next_report.load(Relaxed)) && self.is_still(serial)
    }

    /// All that is known of the teardown `serial`; `None` if the place belongs to another one.
    pub(super) fn record(&self, serial: i64) -> Option<Record> {
        let at = |time: &Atomic<i64>| Some(time.load(Relaxed)).filter(|&time| time != 0);
        let record = Record {
            serial,
            pidns: self.pidns.load(Relaxed),
            level: self.level.load(Relaxed),
            init: Init {
                id: ProcessId {
                    pid: self.init_pid.load(Relaxed),
                    started: self.init_started.load(Relaxed),
                },
                comm: Comm::from_words(self.init_comm.each_ref().map(|word| word.load(Relaxed))),
                parent: self.init_parent.load(Relaxed),
                ending: Ending::new(self.ending.load(Relaxed), self.reboot.load(Relaxed)),
            },
            before_load: self.before_load.load(Relaxed),
            at_least: self.at_least.load(Relaxed),
            began: self.began.load(Relaxed),
            died_at: at(&self.died_at),
            killed_at: at(&self.killed_at),
            empty_at: at(&self.empty_at),
            left_at: at(&self.left_at),
            killed: self.killed.load(Relaxed),
            stragglers: self.stragglers.load(Relaxed),
            refused: self.refused.load(Relaxed),
            reports: self.reports.load(Relaxed),
        };

        self.is_still(serial).then_some(record)
    }

    /// The number of its teardown if that is over and may give way; 0 if there was none.
    pub(super) fn finished(&self) -> Option<i64> {
        let serial = self.owner.load(Acquire) >> LEASE_BITS;

        (serial == 0 || serial > 0 && self.is_over()).then_some(serial)
    }

    fn is_over(&self) -> bool {
        self.left_at.load(Acquire) != 0 && !self.end_owed.load(Acquire)
    }

    /// Takes the place away from the finished teardown `was`, to be filled for `serial`.
    ///
    /// `None` if somebody holds a lease of it, or has found something to do for it meanwhile.
    pub(super) fn claim(&self, was: i64, serial: i64) -> Option<Making<'_>> {
        self.owner
            .cmpxchg(was << LEASE_BITS, -(serial << LEASE_BITS), Full)
            .ok()?;

        // A report may have come between the caller's look and this.
        if was != 0 && !self.is_over() {
            self.owner.store(was << LEASE_BITS, Release);
            return None;
        }
        Some(Making {
            entry: self,
            serial,
        })
    }

    /// Leave to write, if the place belongs to the teardown `serial`.
    pub(super) fn lease(&self, serial: i64) -> Option<Lease<'_>> {
        let mut was = self.owner.load(Relaxed);

        loop {
            if was >> LEASE_BITS != serial {
                return None;
            }
            match self.owner.cmpxchg(was, was + 1, Acquire) {
                Ok(_) => return Some(Lease(self)),
                Err(now) => was = now,
            }
        }
    }
}

/// A place that is out of the readers' sight, for a new teardown. It comes into sight filled.
pub(super) struct Making<'a> {
    entry: &'a Entry,
    serial: i64,
}

impl Making<'_> {
    /// What the place was found by, to be taken out of the indices: inode number and PID.
    pub(super) fn old_keys(&self) -> (u32, Pid) {
        (
            self.entry.pidns.load(Relaxed),
            self.entry.init_pid.load(Relaxed),
        )
    }

    /// Fills the place, and shows it to the readers.
    pub(super) fn fill(self, ns: Pidns<'_>, init: &Init, seen: Seen, is_dead: bool) {
        let Self { entry, serial } = self;
        let now = now();

        // Who reads any of the new has to see that the old number is gone.
        compat::smp_wmb();

        entry.pidns.store(ns.inum(), Relaxed);
        entry.level.store(ns.level() as u32, Relaxed);
        entry.init_pid.store(init.id.pid, Relaxed);
        entry.init_started.store(init.id.started, Relaxed);
        for (place, word) in entry.init_comm.iter().zip(init.comm.to_words()) {
            place.store(word, Relaxed);
        }
        entry.init_parent.store(init.parent, Relaxed);
        entry
            .before_load
            .store(is_dead && matches!(seen, Seen::AtLoad), Relaxed);
        entry
            .at_least
            .store(!matches!(seen, Seen::AtDeath), Relaxed);
        entry.began.store(now, Relaxed);

        entry.ending.store(init.ending.code(), Relaxed);
        entry.reboot.store(init.ending.is_reboot(), Relaxed);
        entry.died_at.store(if is_dead { now } else { 0 }, Relaxed);
        for time in [
            &entry.walked_at,
            &entry.killed_at,
            &entry.empty_at,
            &entry.left_at,
            &entry.refusal_due,
            &entry.next_report,
        ] {
            time.store(0, Relaxed);
        }
        for count in [
            &entry.killed,
            &entry.stragglers,
            &entry.refused,
            &entry.refused_said,
            &entry.reports,
        ] {
            count.store(0, Relaxed);
        }
        entry.end_owed.store(false, Relaxed);
        entry.runner.store(0, Relaxed);

        entry.owner.store(serial << LEASE_BITS, Release);
    }
}

/// Leave to write into a place, which belongs to the same teardown until this is dropped.
///
/// Whoever holds one must not sleep.
///
/// # Invariants
///
/// It is counted in [`Entry::owner`].
pub(super) struct Lease<'a>(&'a Entry);

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        // By the type's invariant there is one to be taken off. What was written under it comes
        // before the claim of another teardown.
        self.0.owner.fetch_add(-1, Release);
    }
}

impl Lease<'_> {
    /// The last thread of init has died. Returns whether that was not known yet.
    pub(super) fn died(&self, ending: Ending) -> bool {
        if !mark(&self.0.died_at) {
            return false;
        }

        self.0.ending.store(ending.code(), Relaxed);
        self.0.reboot.store(ending.is_reboot(), Relaxed);
        true
    }

    /// A walk through the members begins.
    pub(super) fn walks(&self) {
        mark(&self.0.walked_at);
    }

    /// The kill is out, and `processes` more have got it.
    pub(super) fn killed(&self, processes: u32) {
        add(&self.0.killed, processes);
        mark(&self.0.killed_at);
    }

    /// A child was killed before it ran.
    pub(super) fn straggled(&self) {
        add(&self.0.stragglers, 1);
    }

    /// No member is left.
    pub(super) fn emptied(&self) {
        mark(&self.0.empty_at);
    }

    /// init has been reaped. Returns whether that was not known yet.
    pub(super) fn left(&self) -> bool {
        // If its return from zap_pid_ns_processes() was not seen.
        mark(&self.0.empty_at);
        mark(&self.0.left_at)
    }

    /// A fork was refused. Returns whether a line about it is due: at the first one, and then once
    /// a minute.
    pub(super) fn refused(&self) -> bool {
        let (due, now) = (self.0.refusal_due.load(Relaxed), now());
        add(&self.0.refused, 1);

        // Of those who come at the same time, one says it.
        now >= due
            && self
                .0
                .refusal_due
                .cmpxchg(due, now + MINUTE, Relaxed)
                .is_ok()
    }

    /// How many forks were refused since this was last asked.
    pub(super) fn refused_since(&self) -> u32 {
        let refused = self.0.refused.load(Relaxed);
        let said = self.0.refused_said.xchg(refused, Relaxed);

        refused.saturating_sub(said)
    }

    /// A report is out, at the age of `age` nanoseconds.
    pub(super) fn reported(&self, age: i64) {
        self.0.next_report.store(age.saturating_mul(2), Relaxed);
        add(&self.0.reports, 1);
        self.0.end_owed.store(true, Relaxed);
    }

    /// The line about the end is out: the place may be given to another teardown.
    pub(super) fn end_told(&self) {
        self.0.end_owed.store(false, Release);
    }

    /// How much CPU time a holder has used since it was first seen to run, in nanoseconds; `cpu` is
    /// what it has used in all. One holder is followed at a time.
    pub(super) fn runs(&self, holder: Pid, cpu: u64) -> u64 {
        // Only the watch calls this, and the watch is never at two places at once.
        if self.0.runner.xchg(holder, Relaxed) != holder {
            self.0.runner_cpu.store(cpu, Relaxed);
        }
        cpu.saturating_sub(self.0.runner_cpu.load(Relaxed))
    }
}

/// Notes the time, unless one is there. Returns whether there was none.
fn mark(time: &Atomic<i64>) -> bool {
    time.cmpxchg(0, now(), Full).is_ok()
}

/// Adds to a number that stays at its end if it comes there.
fn add(count: &Atomic<u32>, more: u32) {
    let mut was = count.load(Relaxed);

    while let Err(now) = count.cmpxchg(was, was.saturating_add(more), Relaxed) {
        was = now;
    }
}
