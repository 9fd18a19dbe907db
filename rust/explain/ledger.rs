// SPDX-License-Identifier: GPL-2.0

//! The ledger: what is known of each teardown, in memory that is allocated once, at load.
//!
//! Those who write it are in the middle of a death or of a fork. An entry is made of atomics, and a
//! reader who comes across one in the making leaves it out. Only who makes an entry takes a lock:
//! an init at its death, and whoever looks for inits that are dying; no fork does. An entry holds no
//! reference to anything: a namespace is known by its inode number, its init by its PID and the
//! time at which it was started.

use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SpinLock, //
    },
    task::Pid,
    time::{
        ClockSource,
        Monotonic, //
    }, //
};

use crate::{
    explain::text::{
        Comm,
        Ending, //
    },
    params,
    view::{
        pid_namespace::Pidns,
        process::{
            Process,
            ProcessId, //
        },
        rcu_static::{
            Publication,
            RcuStatic, //
        }, //
    }, //
};

use self::{
    entry::{
        Entry,
        Lease, //
    },
    index::{
        Index,
        Missing, //
    }, //
};

mod entry;
mod index;

/// The module's one ledger, for those who are called by the kernel.
static LEDGER: RcuStatic<Ledger> = RcuStatic::new();

/// Makes the ledger, with room for `size` teardowns. May sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn open(size: usize) -> Result<(Arc<Ledger>, Publication<Ledger>)> {
    let ledger = Ledger::new(size)?;
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

/// How a teardown came to be noted.
#[derive(Clone, Copy)]
pub(crate) enum Seen {
    /// By the last thread of its init, at its death.
    AtDeath,
    /// By a look at all inits, when the module was loaded.
    AtLoad,
    /// By a later look: it began some time before.
    Late,
}

/// What is known of the teardowns.
///
/// A teardown with many members looks here once for each of them, and one of many small ones for
/// each death: what is asked for has to be found, or found to be absent, without a look at all
/// entries.
#[pin_data]
pub(crate) struct Ledger {
    entries: KVVec<Entry>,
    /// The entries by the inode number of their namespace.
    by_number: Index,
    /// The entries by the PID of their init.
    by_init: Index,
    /// Taken by who makes an entry, so that a death has but one. Never in an interrupt.
    #[pin]
    making: SpinLock<()>,
    /// The number of the newest entry.
    serials: Atomic<i64>,
    /// How many entries are not finished.
    unfinished: Atomic<i64>,
    /// How many teardowns the last look has found that have no entry.
    not_shown: Atomic<usize>,
}

impl Ledger {
    fn new(size: usize) -> Result<Arc<Self>> {
        let mut entries = KVVec::with_capacity(size, GFP_KERNEL)?;

        for _ in 0..size {
            entries.push(Entry::new(), GFP_KERNEL)?;
        }

        let (by_number, by_init) = (Index::new(size)?, Index::new(size)?);
        Arc::pin_init(
            pin_init!(Self {
                entries,
                by_number,
                by_init,
                making <- new_spinlock!((), "pidns_guard_ledger"),
                serials: Atomic::new(0),
                unfinished: Atomic::new(0),
                not_shown: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    /// Notes that a namespace loses its init, or with `is_dead` that it has lost it. The oldest
    /// finished entry gives way; if there is none, nothing is noted.
    ///
    /// Called by init itself, or under RCU with `init` found in the same read-side critical
    /// section: what notes that init has been reaped comes later then. Takes a spin lock.
    pub(crate) fn begin(
        &self,
        ns: Pidns<'_>,
        init: &Init,
        seen: Seen,
        is_dead: bool,
    ) -> Option<Teardown<'_>> {
        let _making = self.making.lock();

        if let Some(known) = self.of_init(init.id) {
            if is_dead {
                known.died(init.ending);
            }
            return Some(known);
        }

        let serial = self.serials.load(Relaxed) + 1;
        let Some((slot, making)) = self.claim(serial) else {
            // The inode number may have been that of another namespace, which is not this one.
            while let Ok(slot) = self.by_number.find(ns.inum(), |slot| {
                self.at(slot)
                    .is_some_and(|teardown| teardown.is_of_number(ns.inum()))
            }) {
                self.by_number.remove(ns.inum(), slot);
            }
            return None;
        };

        self.serials.store(serial, Relaxed);
        self.unfinished.add(1, Relaxed);
        let (number, pid) = making.old_keys();
        self.by_number.remove(number, slot);
        self.by_init.remove(pid as u32, slot);
        making.fill(ns, init, seen, is_dead);
        self.by_number.add(ns.inum(), slot);
        self.by_init.add(init.id.pid as u32, slot);
        self.at(slot)
    }

    /// Takes the oldest finished entry, or one never used, away from the readers.
    fn claim(&self, serial: i64) -> Option<(usize, entry::Making<'_>)> {
        let size = self.entries.len();
        if self.unfinished.load(Relaxed) >= size as i64 {
            return None;
        }
        let next = (serial as usize).checked_rem(size)?;

        // As a rule they are finished in turn.
        if let Some(entry) = self.entries.get(next) {
            let oldest = (serial - size as i64).max(0);
            if entry.finished() == Some(oldest) {
                if let Some(making) = entry.claim(oldest, serial) {
                    return Some((next, making));
                }
            }
        }

        // One that somebody is just writing to is passed over: who comes next may have it.
        let (was, slot) = self
            .entries
            .iter()
            .enumerate()
            .filter_map(|(slot, entry)| Some((entry.finished()?, slot)))
            .min()?;

        Some((slot, self.entries.get(slot)?.claim(was, serial)?))
    }

    fn at(&self, slot: usize) -> Option<Teardown<'_>> {
        Teardown::at(self.entries.get(slot)?)
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
            .filter(|teardown| teardown.is_unfinished())
    }

    /// The teardown of a namespace: the youngest one with its inode number.
    pub(crate) fn of(&self, ns: Pidns<'_>) -> Option<Teardown<'_>> {
        let number = ns.inum();

        self.find(&self.by_number, number, |teardown| {
            teardown.is_of_number(number)
        })
    }

    /// The teardown of a process that is the init in question, until it has been reaped.
    pub(crate) fn of_init(&self, init: ProcessId) -> Option<Teardown<'_>> {
        if self.unfinished.load(Relaxed) == 0 {
            return None;
        }

        self.find(&self.by_init, init.pid as u32, |teardown| {
            teardown.is_of(init)
        })
    }

    /// The youngest teardown with the key for which `wanted` is true.
    fn find(
        &self,
        index: &Index,
        key: u32,
        wanted: impl Fn(Teardown<'_>) -> bool,
    ) -> Option<Teardown<'_>> {
        let is_wanted = |slot| self.at(slot).is_some_and(&wanted);

        match index.find(key, is_wanted) {
            Ok(slot) => self.at(slot).filter(|&teardown| wanted(teardown)),
            Err(Missing::Surely) => None,
            Err(Missing::Perhaps) => self
                .teardowns()
                .filter(|&teardown| wanted(teardown))
                .max_by_key(|teardown| teardown.serial),
        }
    }

    /// Notes that init itself has been reaped, and is no more.
    pub(crate) fn leaves(&self, init: ProcessId) {
        if self.of_init(init).is_some_and(Teardown::left) {
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

    /// How many teardowns that are not over the last look has found without an entry.
    pub(crate) fn not_shown(&self) -> usize {
        self.not_shown.load(Relaxed)
    }

    /// Notes how many those are.
    pub(crate) fn set_not_shown(&self, teardowns: usize) {
        self.not_shown.store(teardowns, Relaxed);
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
        let serial = entry.serial()?;

        Some(Self { entry, serial })
    }

    /// Whether `init` causes it, and is still there.
    fn is_of(self, init: ProcessId) -> bool {
        self.entry.is_of(self.serial, init)
    }

    fn is_of_number(self, number: u32) -> bool {
        self.entry.is_of_number(self.serial, number)
    }

    /// Whether its init is still there, reaped or not.
    fn is_unfinished(self) -> bool {
        self.entry.is_unfinished(self.serial)
    }

    /// Writes, if the entry has not given way.
    fn write<R>(self, write: impl FnOnce(&Lease<'a>) -> R) -> Option<R> {
        self.entry.lease(self.serial).map(|lease| write(&lease))
    }

    /// Whether the last thread of init has died.
    pub(crate) fn is_dead(self) -> bool {
        self.entry.is_dead(self.serial)
    }

    /// The last thread of init has died.
    fn died(self, ending: Ending) {
        self.write(|lease| lease.died(ending));
    }

    /// A walk through the members begins.
    pub(crate) fn walks(self) {
        self.write(|lease| lease.walks());
    }

    /// Whether a walk through the members has begun.
    pub(crate) fn is_walked(self) -> bool {
        self.entry.is_walked(self.serial)
    }

    /// The kill is out, and `processes` more have got it.
    pub(crate) fn killed(self, processes: i64) {
        self.write(|lease| lease.killed(u32::try_from(processes).unwrap_or(u32::MAX)));
    }

    /// A child was killed before it ran.
    pub(crate) fn straggled(self) {
        self.write(|lease| lease.straggled());
    }

    /// No member is left.
    pub(crate) fn emptied(self) {
        self.write(|lease| lease.emptied());
    }

    /// init has been reaped. Returns whether that was not known yet.
    fn left(self) -> bool {
        self.write(|lease| lease.left()).unwrap_or(false)
    }

    /// A fork was refused. Returns whether it is time to say so: the first one is, and then one a
    /// minute.
    pub(crate) fn refused(self) -> bool {
        self.write(|lease| lease.refused()).unwrap_or(false)
    }

    /// How many forks were refused since this was last asked.
    pub(crate) fn refused_since(self) -> u32 {
        self.write(|lease| lease.refused_since()).unwrap_or(0)
    }

    /// Whether it is time to report it as stuck: `after` nanoseconds after it began, and then at
    /// intervals that double.
    pub(crate) fn is_report_due(self, after: i64) -> bool {
        self.entry.is_report_due(self.serial, after)
    }

    /// It has been reported, at the age of `age` nanoseconds.
    pub(crate) fn reported(self, age: i64) {
        self.write(|lease| lease.reported(age));
    }

    /// Whether it was reported as stuck.
    pub(crate) fn was_reported(self) -> bool {
        self.entry.is_reported(self.serial)
    }

    /// Whether there is something to come: its end, or a word about it.
    pub(crate) fn is_awaited(self) -> bool {
        self.entry.is_awaited(self.serial)
    }

    /// How much CPU time a holder that runs has used since the watch has had an eye on it; `cpu` is
    /// what it has used in all. For the watch only.
    pub(crate) fn runs(self, holder: Pid, cpu: u64) -> u64 {
        self.write(|lease| lease.runs(holder, cpu)).unwrap_or(0)
    }

    /// Calls `say` once when one that was reported has come to its end. For the watch only.
    pub(crate) fn once_over(self, say: impl FnOnce(Record)) {
        if !self.entry.is_end_due(self.serial) {
            return;
        }

        if let Some(record) = self.record() {
            say(record);
        }
        // From here on it may give way.
        self.write(|lease| lease.end_told());
    }

    /// All that is known; `None` if it has given way meanwhile.
    pub(crate) fn record(self) -> Option<Record> {
        self.entry.record(self.serial)
    }
}

/// What is known of an init that is dying or dead.
pub(crate) struct Init {
    pub(crate) id: ProcessId,
    pub(crate) comm: Comm,
    /// The process that was its parent, in the root namespace.
    pub(crate) parent: Pid,
    pub(crate) ending: Ending,
}

impl Init {
    /// The init of `ns`, which is dying or dead.
    pub(crate) fn new(ns: Pidns<'_>, process: Process<'_>) -> Self {
        Self {
            id: process.id(),
            comm: process.leader().comm(),
            parent: process.parent_pid(),
            // What `zap_pid_ns_processes()` will make of it in the end.
            ending: match ns.reboot_ending() {
                Some(code) => Ending::new(code, true),
                None => Ending::new(process.exit_code(), false),
            },
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
    /// Whether init was dead when the module was loaded.
    pub(crate) before_load: bool,
    /// Whether it had begun some time before it was seen, so that it has lasted longer than this
    /// record says.
    pub(crate) at_least: bool,
    /// When the last thread of init died, or it was first seen to be dying.
    pub(crate) began: i64,
    /// When the last thread of init had died.
    pub(crate) died_at: Option<i64>,
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

    /// How far it has come, for people and for programs.
    pub(crate) fn state(&self) -> &'static str {
        if self.left_at.is_none() && self.reports > 0 {
            "stuck"
        } else if self.empty_at.is_some() {
            "gone"
        } else if self.died_at.is_none() {
            "dying"
        } else if self.killed_at.is_none() && params::get().kill {
            "killing"
        } else {
            "waiting"
        }
    }

    /// How long it has lasted, or did.
    pub(crate) fn age(&self) -> i64 {
        self.left_at.unwrap_or_else(now) - self.began
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
        note(ledger, pid, true)
    }

    fn note(ledger: &Ledger, pid: Pid, is_dead: bool) -> Option<Teardown<'_>> {
        let init = Init {
            id: init(pid),
            comm: Comm::EMPTY,
            parent: 0,
            ending: Ending::new(9, false),
        };

        ledger.begin(Pidns::root(), &init, Seen::AtDeath, is_dead)
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
        Ok(())
    }

    #[test]
    fn an_unfinished_one_never_does() -> Result {
        let ledger = Ledger::new(2)?;

        begin(&ledger, 1);
        begin(&ledger, 2);
        assert!(begin(&ledger, 3).is_none());
        assert_eq!(&pids(&ledger)?[..], &[2, 1]);
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
    fn whatever_comes_late_is_lost() -> Result {
        let ledger = Ledger::new(1)?;
        let old = begin(&ledger, 1).ok_or(ENOSPC)?;

        ledger.leaves(init(1));
        let new = begin(&ledger, 2).ok_or(ENOSPC)?;
        old.walks();
        old.killed(1);
        old.straggled();
        old.emptied();
        old.reported(3_600_000_000_000);
        assert!(!old.left());
        assert!(!old.refused());

        let record = new.record().ok_or(ENOSPC)?;
        assert!(!new.is_walked());
        assert!(record.killed_at.is_none() && record.empty_at.is_none());
        assert!(record.left_at.is_none());
        assert_eq!(record.stragglers, 0);
        assert_eq!(record.reports, 0);
        assert!(new.is_report_due(0));
        assert!(new.refused());
        // Nobody has told of an end that is owed.
        ledger.leaves(init(2));
        assert!(!new.is_awaited());
        Ok(())
    }

    #[test]
    fn who_writes_keeps_the_place() -> Result {
        let ledger = Ledger::new(1)?;
        let old = begin(&ledger, 1).ok_or(ENOSPC)?;

        ledger.leaves(init(1));
        old.write(|_| assert!(begin(&ledger, 2).is_none()));
        assert!(begin(&ledger, 2).is_some());
        Ok(())
    }

    #[test]
    fn one_that_is_dying_dies_in_the_same_entry() -> Result {
        let ledger = Ledger::new(2)?;
        let dying = note(&ledger, 1, false).ok_or(ENOSPC)?;

        assert!(dying.record().ok_or(ENOSPC)?.died_at.is_none());
        begin(&ledger, 1);
        assert!(dying.record().ok_or(ENOSPC)?.died_at.is_some());
        assert_eq!(&pids(&ledger)?[..], &[1]);
        Ok(())
    }

    #[test]
    fn inits_with_alike_numbers_are_told_apart() -> Result {
        let ledger = Ledger::new(4)?;

        for pid in [5, 9, 13, 17] {
            begin(&ledger, pid);
        }
        ledger.leaves(init(13));
        assert!(ledger.of_init(init(13)).is_none());
        for pid in [5, 9, 17] {
            assert!(ledger.of_init(init(pid)).is_some());
        }
        assert!(ledger.of_init(ProcessId { pid: 5, started: 2 }).is_none());
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
