// SPDX-License-Identifier: GPL-2.0

//! A teardown that does not come to its end is reported, with the one who could change that.
//!
//! init waits in `TASK_IDLE`, out of the sight of the hung-task detector, and would do so for ever
//! without a word.

use kernel::{
    prelude::*,
    sync::Arc,
    time::Msecs, //
};

use crate::{
    holder::Holders,
    hooks::alarm::{
        Alarm,
        OnAlarm, //
    },
    ledger::{
        Ledger,
        Teardown, //
    },
    limit::Limit,
    published::{
        Publication,
        Published, //
    },
    text::{
        Count,
        Span, //
    },
    trace, //
};

/// How often it is looked, while there is something to look at.
const EVERY: Msecs = 1000;

/// How many holders of each are named in the log.
const HOLDERS: usize = 8;

/// The reports on all teardowns together: thirty-two at once, and then four a second.
static REPORTS: Limit = Limit::new(32, 250_000_000);

static WATCH: Published<Alarm<Watch>> = Published::new();

/// Looks after the teardowns for as long as the value lives.
pub(crate) struct Stalls {
    _watch: Publication<Alarm<Watch>>,
}

impl Stalls {
    /// Sets up the watch over those that last longer than `secs`. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(ledger: Arc<Ledger>, secs: u32) -> Result<Self> {
        let watch = Arc::pin_init(
            Alarm::new(Watch {
                ledger,
                after: i64::from(secs) * 1_000_000_000,
            }),
            GFP_KERNEL,
        )?;

        Ok(Self {
            _watch: WATCH.publish(watch),
        })
    }
}

/// A teardown has begun: look after it.
pub(crate) fn expect() {
    WATCH.with(|watch| watch.set(EVERY));
}

struct Watch {
    ledger: Arc<Ledger>,
    /// How long a teardown may take, in nanoseconds.
    after: i64,
}

impl OnAlarm for Watch {
    fn on_alarm(&self) -> Option<Msecs> {
        for teardown in self.ledger.teardowns() {
            teardown.once_over(|record| {
                pr_info!(
                    "teardown of pid namespace {} (level {}) ended after {}\n",
                    record.pidns,
                    record.level,
                    Span(record.age())
                );
            });
        }

        // Those that nobody has heard of yet come first.
        let due = [false, true].into_iter().flat_map(|again| {
            self.ledger.unfinished().filter(move |teardown| {
                teardown.was_reported() == again && teardown.is_report_due(self.after)
            })
        });
        for teardown in due.take_while(|_| REPORTS.is_open()) {
            report(teardown);
        }

        self.ledger
            .teardowns()
            .any(|teardown| teardown.is_awaited())
            .then_some(EVERY)
    }
}

/// Reports one that is stuck. One that is busy is left alone.
fn report(teardown: Teardown<'_>) {
    let Some(record) = teardown.record() else {
        return;
    };
    let Ok(holders) = Holders::of(&record) else {
        // There will be memory another time.
        return;
    };
    // Those on their way, and those that were there a moment ago, are no reason to worry.
    if holders.are_busy() || !REPORTS.lets_pass() {
        return;
    }

    pr_warn!(
        "teardown of pid namespace {} (level {}) stuck for {}: init {} (pid {}) {}, held by {}\n",
        record.pidns,
        record.level,
        Span(record.age()),
        record.init.comm,
        record.init.id.pid,
        record.init.ending,
        Count(holders.count(), "task")
    );
    for holder in holders.named.iter().take(HOLDERS) {
        pr_warn!("  {}\n", holder);
    }
    if holders.count() > HOLDERS {
        pr_warn!("  and {} more\n", holders.count() - HOLDERS);
    }

    trace::stuck(&record, holders.count(), holders.named.first());
    teardown.reported(record.age());
}
