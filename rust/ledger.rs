// SPDX-License-Identifier: GPL-2.0

//! The ledger: what is known of each teardown, in memory that is allocated once, at load.
//!
//! Those who write it are in the middle of a death or of a fork. So nothing here waits: there is
//! no lock, an entry is made of atomics, and a reader who comes across one in the making leaves
//! it out. An entry holds no reference to anything: a namespace is known by its inode number,
//! its init by its PID and the time at which it was started.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        Arc, //
    },
    task::Pid,
    time::{
        ClockSource,
        Monotonic, //
    }, //
};

use crate::{
    compat,
    pidns::Pidns,
    process::{
        Process,
        ProcessId, //
    },
    published::{
        Publication,
        Published, //
    },
    text::{
        Comm,
        Ending, //
    }, //
};

/// The module's one ledger, for those who are called by the kernel.
static LEDGER: Published<Ledger> = Published::new();

/// Makes the ledger, with room for `size` teardowns. May sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn open(size: usize) -> Result<(Arc<Ledger>, Publication<Ledger>)> {
    let ledger = Arc::new(Ledger::new(size)?, GFP_KERNEL)?;
    let publication = LEDGER.publish(ledger.clone());

    Ok((ledger, publication))
}

/// Does something with the ledger. `f` must not sleep.
pub(crate) fn with<R>(f: impl FnOnce(&Ledger) -> R) -> Option<R> {
    LEDGER.with(f)
}

/// The time as the ledger has it: nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) fn now() -> i64 {
    Monotonic::ktime_get()
}

/// What is known of the teardowns.
///
/// A teardown with many members looks here once for each of them, and one of many small ones for
/// each death: what is asked for has to be found, or found to be absent, without a look at all
/// entries.
pub(crate) struct Ledger {
    entries: KVVec<Entry>,
    /// Where to find a namespace, by its inode number.
    by_number: Hints,
    /// Where to find an init, by its PID.
    by_init: Hints,
    /// The inits that are still there.
    inits: Presence,
    /// The number of the newest entry.
    serials: Atomic<i64>,
    /// How many entries are not finished.
    unfinished: Atomic<i64>,
    /// Teardowns that no room was found for.
    unrecorded: Atomic<i64>,
}

impl Ledger {
    fn new(size: usize) -> Result<Self> {
        let mut entries = KVVec::with_capacity(size, GFP_KERNEL)?;

        for _ in 0..size {
            entries.push(Entry::new(), GFP_KERNEL)?;
        }
        Ok(Self {
            entries,
            by_number: Hints::new()?,
            by_init: Hints::new()?,
            inits: Presence::new()?,
            serials: Atomic::new(0),
            unfinished: Atomic::new(0),
            unrecorded: Atomic::new(0),
        })
    }

    /// Notes that a namespace has lost its init. The oldest finished entry gives way; where there
    /// is none, nothing is noted but that.
    pub(crate) fn begin(&self, ns: Pidns<'_>, init: &Init) -> Option<Teardown<'_>> {
        if let Some(known) = self.of_init(init.id) {
            return Some(known);
        }

        let serial = self.serials.fetch_add(1, Relaxed) + 1;
        let Some((slot, entry)) = self.claim(serial) else {
            // The inode number may have been that of another namespace, which is not this one.
            for teardown in self.of_number(ns.inum()) {
                teardown.entry.pidns.store(0, Relaxed);
            }
            self.unrecorded.add(1, Relaxed);
            return None;
        };

        self.unfinished.add(1, Relaxed);
        self.inits.add(init.id.pid, 1);
        entry.fill(serial, ns, init);
        self.by_number.set(ns.inum(), slot);
        self.by_init.set(init.id.pid as u32, slot);
        Some(Teardown { entry, serial })
    }

    /// Takes the oldest finished entry, or one never used, away from the readers.
    fn claim(&self, serial: i64) -> Option<(usize, &Entry)> {
        let size = self.entries.len();
        let next = (serial as usize).checked_rem(size)?;

        // As a rule they are finished in turn.
        if let Some(entry) = self.entries.get(next) {
            let oldest = (serial - size as i64).max(0);
            if entry.finished() == Some(oldest) && entry.claim(oldest, serial) {
                return Some((next, entry));
            }
        }

        loop {
            let (was, slot, entry) = self
                .entries
                .iter()
                .enumerate()
                .filter_map(|(slot, entry)| Some((entry.finished()?, slot, entry)))
                .min_by_key(|&(was, ..)| was)?;

            // Of those who came for it at the same time, one gets it.
            if entry.claim(was, serial) {
                return Some((slot, entry));
            }
        }
    }

    /// All entries that have been made and not given way.
    pub(crate) fn teardowns(&self) -> impl Iterator<Item = Teardown<'_>> {
        self.entries.iter().filter_map(Teardown::at)
    }

    /// Those whose init is still there.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = Teardown<'_>> {
        let any = self.unfinished.load(Relaxed) > 0;

        self.teardowns()
            .take_while(move |_| any)
            .filter(|teardown| teardown.entry.left_at.load(Relaxed) == 0)
    }

    fn of_number(&self, pidns: u32) -> impl Iterator<Item = Teardown<'_>> {
        self.teardowns()
            .filter(move |teardown| teardown.entry.pidns.load(Relaxed) == pidns)
    }

    /// The teardown of a namespace.
    pub(crate) fn of(&self, ns: Pidns<'_>) -> Option<Teardown<'_>> {
        let number = ns.inum();

        // A hint leads to the last one with such a number, and to none but that.
        self.hinted(&self.by_number, number)
            .filter(|teardown| teardown.entry.pidns.load(Relaxed) == number)
            .or_else(|| {
                self.of_number(number)
                    .max_by_key(|teardown| teardown.serial)
            })
    }

    /// The teardown that a process has caused with its death, until it has been reaped.
    pub(crate) fn of_init(&self, init: ProcessId) -> Option<Teardown<'_>> {
        if !self.inits.may_contain(init.pid) {
            return None;
        }

        self.hinted(&self.by_init, init.pid as u32)
            .filter(|teardown| teardown.is_of(init))
            .or_else(|| self.unfinished().find(|teardown| teardown.is_of(init)))
    }

    /// The teardown that a hint leads to.
    fn hinted(&self, hints: &Hints, key: u32) -> Option<Teardown<'_>> {
        self.entries.get(hints.get(key)).and_then(Teardown::at)
    }

    /// Notes that init itself has been reaped, and is no more.
    pub(crate) fn leaves(&self, init: ProcessId) {
        if let Some(teardown) = self.of_init(init) {
            // Where its return from zap was not seen, because it was there before the module.
            teardown.emptied();
            teardown.entry.left_at.store(now(), Release);
            self.inits.add(init.pid, -1);
            self.unfinished.add(-1, Relaxed);
        }
    }

    /// All there is to know, newest first. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn records(&self) -> Result<KVVec<Record>> {
        let mut records = KVVec::with_capacity(self.entries.len(), GFP_KERNEL)?;

        for record in self.teardowns().filter_map(|teardown| teardown.record()) {
            records.push(record, GFP_KERNEL)?;
        }
        records.sort_unstable_by_key(|record| -record.serial);
        Ok(records)
    }

    /// How many teardowns no room was found for.
    pub(crate) fn unrecorded(&self) -> i64 {
        self.unrecorded.load(Relaxed)
    }
}

/// A teardown as it stands in the ledger.
#[derive(Clone, Copy)]
pub(crate) struct Teardown<'a> {
    entry: &'a Entry,
    serial: i64,
}

impl<'a> Teardown<'a> {
    /// What an entry says, if it says anything.
    fn at(entry: &'a Entry) -> Option<Self> {
        let serial = entry.serial.load(Acquire);

        (serial > 0).then_some(Self { entry, serial })
    }

    /// Whether `init` caused it, and is still there.
    fn is_of(self, init: ProcessId) -> bool {
        self.entry.init_pid.load(Relaxed) == init.pid
            && self.entry.init_started.load(Relaxed) == init.started
            && self.entry.left_at.load(Relaxed) == 0
    }

    /// The kill is out, and `processes` have got it.
    pub(crate) fn killed(self, processes: i64) {
        self.entry.killed.add(self.serial, processes);
        mark(&self.entry.killed_at);
    }

    /// A child was killed before it ran.
    pub(crate) fn straggled(self) {
        self.entry.stragglers.add(self.serial, 1);
    }

    /// No member is left.
    pub(crate) fn emptied(self) {
        mark(&self.entry.empty_at);
    }

    /// A fork was refused. Returns whether it is time to say so: the first one is, and then one a
    /// minute.
    pub(crate) fn refused(self) -> bool {
        const MINUTE: i64 = 60_000_000_000;

        let (due, now) = (self.entry.refusal_due.load(Relaxed), now());
        self.entry.refused.add(self.serial, 1);

        // Of those who come at the same time, one says it.
        now >= due
            && self
                .entry
                .refusal_due
                .cmpxchg(due, now + MINUTE, Relaxed)
                .is_ok()
    }

    /// How many forks were refused since this was last asked.
    pub(crate) fn refused_since(self) -> u32 {
        let refused = self.entry.refused.get(self.serial);
        let said = self.entry.refused_said.replace(self.serial, refused);

        refused.saturating_sub(said)
    }

    /// Whether it is time to report it as stuck: `after` nanoseconds after it began, and then at
    /// intervals that double.
    pub(crate) fn is_report_due(self, after: i64) -> bool {
        let age = now() - self.entry.began.load(Relaxed);

        age >= after.max(self.entry.next_report.load(Relaxed))
    }

    /// It has been reported, at the age of `age` nanoseconds.
    pub(crate) fn reported(self, age: i64) {
        self.entry.next_report.store(age.saturating_mul(2), Relaxed);
        self.entry.reports.add(self.serial, 1);
        self.entry.end_owed.store(1, Relaxed);
    }

    /// Whether it was reported as stuck.
    pub(crate) fn was_reported(self) -> bool {
        self.entry.reports.get(self.serial) > 0
    }

    /// Whether there is something to come: its end, or a word about it.
    pub(crate) fn is_awaited(self) -> bool {
        self.entry.left_at.load(Acquire) == 0 || self.entry.end_owed.load(Acquire) != 0
    }

    /// Calls `say` once when one that was reported has come to its end.
    pub(crate) fn once_over(self, say: impl FnOnce(Record)) {
        let owed = &self.entry.end_owed;

        if owed.load(Relaxed) != 0 && self.entry.left_at.load(Acquire) != 0 {
            if let Some(record) = self.record() {
                say(record);
            }
            // From here on it may give way.
            owed.store(0, Release);
        }
    }

    /// All that is known; `None` if it has given way meanwhile.
    pub(crate) fn record(self) -> Option<Record> {
        let Self { entry, serial } = self;
        let at = |time: &Atomic<i64>| Some(time.load(Relaxed)).filter(|&time| time != 0);

        let record = Record {
            serial,
            pidns: entry.number.load(Relaxed),
            level: entry.level.load(Relaxed),
            init: Init {
                id: ProcessId {
                    pid: entry.init_pid.load(Relaxed),
                    started: entry.init_started.load(Relaxed),
                },
                comm: Comm::from_words(entry.init_comm.each_ref().map(|word| word.load(Relaxed))),
                ending: Ending(entry.ending.load(Relaxed)),
                before_load: entry.before_load.load(Relaxed),
            },
            began: entry.began.load(Relaxed),
            killed_at: at(&entry.killed_at),
            empty_at: at(&entry.empty_at),
            left_at: at(&entry.left_at),
            killed: entry.killed.get(serial),
            stragglers: entry.stragglers.get(serial),
            refused: entry.refused.get(serial),
            reports: entry.reports.get(serial),
        };

        // What was read was read before it gave way, if it still has not. Pairs with the barrier
        // in `Entry::fill()`.
        compat::smp_rmb();
        (entry.serial.load(Relaxed) == serial).then_some(record)
    }
}

/// What is known of an init that has died.
pub(crate) struct Init {
    pub(crate) id: ProcessId,
    pub(crate) comm: Comm,
    pub(crate) ending: Ending,
    /// Whether it had died when the module came.
    pub(crate) before_load: bool,
}

impl Init {
    /// The init of `ns`, which has died.
    pub(crate) fn new(ns: Pidns<'_>, process: Process<'_>, before_load: bool) -> Self {
        Self {
            id: process.id(),
            comm: process.leader().comm(),
            // What `zap_pid_ns_processes()` will make of it in the end.
            ending: Ending(ns.reboot_ending().unwrap_or_else(|| process.exit_code())),
            before_load,
        }
    }
}

/// All that is known of a teardown. Times are those of [`now()`], `None` for what has not come.
pub(crate) struct Record {
    /// Counts the teardowns.
    pub(crate) serial: i64,
    /// The inode number of the namespace.
    pub(crate) pidns: u32,
    pub(crate) level: u32,
    pub(crate) init: Init,
    /// When its last thread died; or when the module came, if it was dead already.
    pub(crate) began: i64,
    /// When the kill was out.
    pub(crate) killed_at: Option<i64>,
    /// When no member was left.
    pub(crate) empty_at: Option<i64>,
    /// When init had been reaped.
    pub(crate) left_at: Option<i64>,
    /// Processes killed.
    pub(crate) killed: u32,
    pub(crate) stragglers: u32,
    /// Forks refused.
    pub(crate) refused: u32,
    /// How often it was reported as stuck.
    pub(crate) reports: u32,
}

impl Record {
    /// How long ago it began.
    pub(crate) fn since_begin(&self) -> i64 {
        now() - self.began
    }

    /// How long it has lasted, or did.
    pub(crate) fn age(&self) -> i64 {
        self.left_at.unwrap_or_else(now) - self.began
    }
}

/// The place of one teardown.
///
/// `serial` is the number of the teardown; 0 if there was none yet, negative while it is filled.
/// Who holds a number and finds it unchanged afterwards has read what belongs to it. Once
/// `left_at` is set, and no `end_owed`, the place may be claimed for another teardown.
struct Entry {
    serial: Atomic<i64>,
    /// The inode number of the namespace; 0 once it is that of a younger one without an entry.
    pidns: Atomic<u32>,
    /// The same, for readers: as it was.
    number: Atomic<u32>,
    level: Atomic<u32>,
    init_pid: Atomic<Pid>,
    init_started: Atomic<u64>,
    init_comm: [Atomic<u64>; 2],
    ending: Atomic<i32>,
    before_load: Atomic<bool>,
    began: Atomic<i64>,
    killed_at: Atomic<i64>,
    empty_at: Atomic<i64>,
    left_at: Atomic<i64>,
    killed: Tally,
    stragglers: Tally,
    refused: Tally,
    /// How many of them a line in the log has accounted for.
    refused_said: Tally,
    refusal_due: Atomic<i64>,
    reports: Tally,
    /// At what age it is to be reported again.
    next_report: Atomic<i64>,
    /// Whether it was reported, and its end was not.
    end_owed: Atomic<u32>,
}

impl Entry {
    fn new() -> Self {
        Self {
            serial: Atomic::new(0),
            pidns: Atomic::new(0),
            number: Atomic::new(0),
            level: Atomic::new(0),
            init_pid: Atomic::new(0),
            init_started: Atomic::new(0),
            init_comm: [Atomic::new(0), Atomic::new(0)],
            ending: Atomic::new(0),
            before_load: Atomic::new(false),
            began: Atomic::new(0),
            killed_at: Atomic::new(0),
            empty_at: Atomic::new(0),
            left_at: Atomic::new(0),
            killed: Tally::new(),
            stragglers: Tally::new(),
            refused: Tally::new(),
            refused_said: Tally::new(),
            refusal_due: Atomic::new(0),
            reports: Tally::new(),
            next_report: Atomic::new(0),
            end_owed: Atomic::new(0),
        }
    }

    /// The number of its teardown if that is finished, and may give way; 0 if there was none.
    fn finished(&self) -> Option<i64> {
        let serial = self.serial.load(Acquire);
        let is_over = || self.left_at.load(Acquire) != 0 && self.end_owed.load(Acquire) == 0;

        (serial == 0 || serial > 0 && is_over()).then_some(serial)
    }

    /// Takes it away from the readers, if it is still the finished one with that number.
    fn claim(&self, was: i64, serial: i64) -> bool {
        self.serial.cmpxchg(was, -serial, Relaxed).is_ok()
    }

    /// Fills an entry that was claimed, and shows it to the readers.
    fn fill(&self, serial: i64, ns: Pidns<'_>, init: &Init) {
        // Who reads any of the new has to see that the old number is gone.
        compat::smp_wmb();

        self.pidns.store(ns.inum(), Relaxed);
        self.number.store(ns.inum(), Relaxed);
        self.level.store(ns.level() as u32, Relaxed);
        self.init_pid.store(init.id.pid, Relaxed);
        self.init_started.store(init.id.started, Relaxed);
        for (place, word) in self.init_comm.iter().zip(init.comm.to_words()) {
            place.store(word, Relaxed);
        }
        self.ending.store(init.ending.0, Relaxed);
        self.before_load.store(init.before_load, Relaxed);
        self.began.store(now(), Relaxed);
        for time in [&self.killed_at, &self.empty_at, &self.left_at] {
            time.store(0, Relaxed);
        }
        self.refusal_due.store(0, Relaxed);
        self.next_report.store(0, Relaxed);
        for tally in [
            &self.killed,
            &self.stragglers,
            &self.refused,
            &self.refused_said,
            &self.reports,
        ] {
            tally.reset(serial);
        }

        self.serial.store(serial, Release);
    }
}

/// How many hints of a kind there are.
const HINTS: usize = 256;

/// Where the newest entry is whose key has the same remainder. Whoever follows a hint has to look
/// whether it leads to what was sought.
struct Hints(KVVec<Atomic<u32>>);

impl Hints {
    fn new() -> Result<Self> {
        let mut slots = KVVec::with_capacity(HINTS, GFP_KERNEL)?;

        for _ in 0..HINTS {
            slots.push(Atomic::new(0), GFP_KERNEL)?;
        }
        Ok(Self(slots))
    }

    fn set(&self, key: u32, slot: usize) {
        self.0[key as usize % HINTS].store(slot as u32, Relaxed);
    }

    fn get(&self, key: u32) -> usize {
        self.0[key as usize % HINTS].load(Relaxed) as usize
    }
}

/// Tells of most processes that they are not in a set.
struct Presence(KVVec<Atomic<i32>>);

impl Presence {
    fn new() -> Result<Self> {
        let mut counts = KVVec::with_capacity(HINTS, GFP_KERNEL)?;

        for _ in 0..HINTS {
            counts.push(Atomic::new(0), GFP_KERNEL)?;
        }
        Ok(Self(counts))
    }

    fn add(&self, pid: Pid, times: i32) {
        self.0[pid as usize % HINTS].add(times, Relaxed);
    }

    fn may_contain(&self, pid: Pid) -> bool {
        self.0[pid as usize % HINTS].load(Relaxed) > 0
    }
}

/// Notes the time, unless one is there.
fn mark(time: &Atomic<i64>) {
    let _ = time.cmpxchg(0, now(), Relaxed);
}

/// A number of events that belong to one teardown: what comes late, when the entry has gone to
/// another one, does not count. In the upper half the number of the teardown.
struct Tally(Atomic<u64>);

impl Tally {
    fn new() -> Self {
        Self(Atomic::new(0))
    }

    fn owner(serial: i64) -> u64 {
        (serial as u64) << 32
    }

    fn reset(&self, serial: i64) {
        self.0.store(Self::owner(serial), Relaxed);
    }

    fn add(&self, serial: i64, events: i64) {
        let _ = self.update(serial, |count| {
            count.saturating_add(u32::try_from(events).unwrap_or(u32::MAX))
        });
    }

    /// Sets it, and returns what it was.
    fn replace(&self, serial: i64, new: u32) -> u32 {
        self.update(serial, |_| new).unwrap_or(new)
    }

    fn get(&self, serial: i64) -> u32 {
        let tally = self.0.load(Relaxed);

        // To a reader whose entry has given way it does not matter: the record is left out.
        if tally & !u64::from(u32::MAX) == Self::owner(serial) {
            tally as u32
        } else {
            0
        }
    }

    fn update(&self, serial: i64, new: impl Fn(u32) -> u32) -> Option<u32> {
        let owner = Self::owner(serial);
        let mut was = self.0.load(Relaxed);

        loop {
            let count = was as u32;
            if was & !u64::from(u32::MAX) != owner {
                return None;
            }
            match self.0.cmpxchg(was, owner | u64::from(new(count)), Relaxed) {
                Ok(_) => return Some(count),
                Err(now) => was = now,
            }
        }
    }
}

#[kunit_tests(pidns_guard_ledger)]
mod tests {
    use super::*;

    fn init(pid: Pid) -> ProcessId {
        ProcessId { pid, started: 1 }
    }

    /// All in one namespace, which does not die of it.
    fn begin(ledger: &Ledger, pid: Pid) -> Option<Teardown<'_>> {
        ledger.begin(
            Pidns::root(),
            &Init {
                id: init(pid),
                comm: Comm::EMPTY,
                ending: Ending(9),
                before_load: false,
            },
        )
    }

    fn pids(ledger: &Ledger) -> Result<KVVec<Pid>> {
        let mut pids = KVVec::new();

        for record in &ledger.records()? {
            pids.push(record.init.id.pid, GFP_KERNEL)?;
        }
        Ok(pids)
    }

    #[test]
    fn the_oldest_finished_gives_way() -> Result {
        let ledger = Ledger::new(3)?;

        for pid in 1..=3 {
            begin(&ledger, pid);
        }
        ledger.leaves(init(3));
        ledger.leaves(init(2));
        begin(&ledger, 4);

        assert_eq!(&pids(&ledger)?[..], &[4, 3, 1]);
        assert_eq!(ledger.unrecorded(), 0);
        Ok(())
    }

    #[test]
    fn an_unfinished_one_never_does() -> Result {
        let ledger = Ledger::new(2)?;

        begin(&ledger, 1);
        begin(&ledger, 2);
        assert!(begin(&ledger, 3).is_none());
        assert_eq!(&pids(&ledger)?[..], &[2, 1]);
        assert_eq!(ledger.unrecorded(), 1);
        Ok(())
    }

    #[test]
    fn one_whose_end_was_not_told_stays() -> Result {
        let ledger = Ledger::new(1)?;
        let mut told = 0;

        begin(&ledger, 1).ok_or(ENOSPC)?.reported(1);
        ledger.leaves(init(1));
        assert!(begin(&ledger, 2).is_none());

        for teardown in ledger.teardowns() {
            teardown.once_over(|_| told += 1);
            teardown.once_over(|_| told += 1);
        }
        assert_eq!(told, 1);
        assert!(begin(&ledger, 2).is_some());
        Ok(())
    }

    #[test]
    fn a_death_is_noted_once() -> Result {
        let ledger = Ledger::new(2)?;

        begin(&ledger, 1);
        begin(&ledger, 1);
        assert_eq!(&pids(&ledger)?[..], &[1]);
        Ok(())
    }

    #[test]
    fn what_comes_late_counts_for_nobody() -> Result {
        let ledger = Ledger::new(1)?;
        let old = begin(&ledger, 1).ok_or(ENOSPC)?;

        old.refused();
        assert_eq!(old.refused_since(), 1);
        ledger.leaves(init(1));
        let new = begin(&ledger, 2).ok_or(ENOSPC)?;
        old.refused();
        old.killed(7);
        assert!(old.record().is_none());
        assert_eq!(new.record().ok_or(ENOSPC)?.refused, 0);
        assert_eq!(new.record().ok_or(ENOSPC)?.killed, 0);
        Ok(())
    }

    #[test]
    fn reports_come_at_growing_intervals() -> Result {
        let ledger = Ledger::new(1)?;
        let teardown = begin(&ledger, 1).ok_or(ENOSPC)?;

        assert!(teardown.is_report_due(0));
        assert!(!teardown.is_report_due(3_600_000_000_000));
        teardown.reported(3_600_000_000_000);
        assert!(!teardown.is_report_due(0));
        Ok(())
    }
}
