// SPDX-License-Identifier: GPL-2.0

//! A teardown that does not come to its end is reported, with the one who could change that.
//!
//! init waits in `TASK_IDLE`, out of the sight of the hung-task detector, and would do so for ever
//! without a word.
//!
//! No hook tells of an init that was told to die and does not: the fatal signal may come to a task
//! that does not look at it, and there is no event on its way before `sched_process_exit`. Nor does
//! one of an init that is stuck right before that. So a look at all inits is taken from time to
//! time. It costs some 200 instructions for each process in the system, and is taken so rarely that
//! this is no more than a thousandth of a CPU.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::Msecs, //
};

use crate::{
    enforce::adoption,
    explain::{
        holder::{
            Holders,
            Reason, //
        },
        ledger::{
            now,
            Ledger,
            Record,
            Teardown, //
        },
        ratelimit::RateLimit,
        text::{
            Count,
            Line,
            Span, //
        }, //
    },
    hooks::{
        delayed_work::{
            DelayedWork,
            OnDelay, //
        },
        trace, //
    },
    view::rcu_static::{
        Publication,
        RcuStatic, //
    }, //
};

const SECOND: i64 = 1_000_000_000;

/// How often it is looked, while there is something to look at.
const EVERY: Msecs = 1000;

/// How often it is looked for what no hook tells of, at the most rarely, in seconds.
const LOOK_SECS: u32 = 5;

/// After how long a teardown counts as stuck if the log is not wanted, in seconds.
const QUIET_SECS: u32 = 10;

/// How many holders of each are named in the log.
const HOLDERS: usize = 8;

/// How much CPU time, in nanoseconds, a task may use for each page that it has to give back before
/// it is no longer taken for busy with that: a hundred times of what it takes.
const PAGE_TIME: u64 = 20_000;

/// The reports on all teardowns together: thirty-two at once, and then four a second.
static REPORTS: RateLimit = RateLimit::new(250_000_000, 32);

static WATCH: RcuStatic<DelayedWork<Watch>> = RcuStatic::new();

/// Looks after the teardowns for as long as the value lives.
pub(crate) struct Stalls {
    _watch: Publication<DelayedWork<Watch>>,
}

impl Stalls {
    /// Sets up the watch over those that last longer than `secs`; if that is 0 it does not write to
    /// the log. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(ledger: Arc<Ledger>, secs: u32) -> Result<Self> {
        let after = if secs == 0 { QUIET_SECS } else { secs };
        let watch = Arc::pin_init(
            DelayedWork::new(Watch {
                ledger,
                is_quiet: secs == 0,
                after: i64::from(after) * SECOND,
                look_every: i64::from((after / 2).clamp(1, LOOK_SECS)) * SECOND,
                next_look: Atomic::new(0),
            }),
            GFP_KERNEL,
        )?;

        Ok(Self {
            _watch: WATCH.publish(watch),
        })
    }
}

/// There is something to look after, a teardown or what no hook tells of.
pub(crate) fn expect() {
    WATCH.with(|watch| watch.set(EVERY));
}

struct Watch {
    ledger: Arc<Ledger>,
    is_quiet: bool,
    /// How long a teardown may take, in nanoseconds.
    after: i64,
    /// How often it is looked for what no hook tells of, in nanoseconds.
    look_every: i64,
    /// When that is due.
    next_look: Atomic<i64>,
}

impl OnDelay for Watch {
    fn on_delay(&self) -> Option<Msecs> {
        for teardown in self.ledger.teardowns() {
            teardown.once_over(|record| self.tell_end(&record));
        }
        self.look();

        // Those that nobody has heard of yet come first.
        let due = [false, true].into_iter().flat_map(|again| {
            self.ledger.unfinished().filter(move |teardown| {
                teardown.was_reported() == again && teardown.is_report_due(self.after)
            })
        });
        for teardown in due.take_while(|_| REPORTS.is_open()) {
            self.report(teardown);
        }

        let is_any_awaited = self
            .ledger
            .teardowns()
            .any(|teardown| teardown.is_awaited());
        Some(if is_any_awaited {
            EVERY
        } else {
            (self.next_look.load(Relaxed) - now()).max(0) as Msecs / 1_000_000 + 1
        })
    }
}

impl Watch {
    /// Looks for what no hook tells of, if that is due. What the ledger has no room for is looked
    /// for each time, for it may have room now.
    fn look(&self) {
        let began = now();
        if began < self.next_look.load(Relaxed) && self.ledger.not_shown() == 0 {
            return;
        }

        adoption::look_again();
        let took = now() - began;
        self.next_look.store(
            began + self.look_every.max(took.saturating_mul(1000)),
            Relaxed,
        );
    }

    /// Reports one that is stuck. One that is busy is left alone.
    fn report(&self, teardown: Teardown<'_>) {
        let Some(record) = teardown.record() else {
            return;
        };
        let Ok(holders) = Holders::of(&record) else {
            // There will be memory another time.
            return;
        };
        if self.is_busy(teardown, &record, &holders) || !REPORTS.lets_pass() {
            return;
        }

        if !self.is_quiet {
            tell(&record, &holders);
        }
        trace::stuck(&record, holders.count(), holders.named.first());
        teardown.reported(record.age());
    }

    /// Whether all who hold it are on their way out by themselves.
    ///
    /// A task that gives back its memory, and one that goes round in the kernel for ever, look
    /// alike; but the one is through after some time. One that was there a moment ago is no reason
    /// to worry either.
    fn is_busy(&self, teardown: Teardown<'_>, record: &Record, holders: &Holders) -> bool {
        if !holders.are_busy() {
            return false;
        }
        // It gets no CPU, or something is wrong with what is looked at here.
        if record.age() >= 12 * self.after {
            return false;
        }

        let Some((pid, running)) = holders.named.first().and_then(|holder| {
            let Reason::Running(running) = &holder.reason else {
                return None;
            };
            Some((holder.pid, running))
        }) else {
            return true;
        };
        let patience = (2 * self.after as u64).max(running.pages as u64 * PAGE_TIME);

        teardown.runs(pid, running.cpu) < patience
    }

    fn tell_end(&self, record: &Record) {
        if self.is_quiet {
            return;
        }

        pr_info!(
            "teardown of pid namespace {} (level {}) ended after {}{}\n",
            record.pidns,
            record.level,
            at_least(record),
            Span(record.age())
        );
    }
}

/// Writes a report to the log.
fn tell(record: &Record, holders: &Holders) {
    let ending = if record.died_at.is_some() {
        Line::<64>::from_fmt(fmt!("{}", record.init.ending))
    } else {
        Line::from_fmt(fmt!("{} and has not died", record.init.ending.pending()))
    };

    pr_warn!(
        "teardown of pid namespace {} (level {}) stuck for {}{}: init {} (pid {}) {}, held by {}\n",
        record.pidns,
        record.level,
        at_least(record),
        Span(record.age()),
        record.init.comm,
        record.init.id.pid,
        ending,
        Count(holders.count(), "task")
    );
    for holder in holders.named.iter().take(HOLDERS) {
        pr_warn!("  {}\n", holder);
    }
    if holders.count() > HOLDERS {
        pr_warn!("  and {} more\n", holders.count() - HOLDERS);
    }
}

/// What comes before a time that is the shortest possible.
fn at_least(record: &Record) -> &'static str {
    if record.at_least {
        "at least "
    } else {
        ""
    }
}
