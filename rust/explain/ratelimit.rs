// SPDX-License-Identifier: GPL-2.0

//! A bound on how often something is said, for those who may neither wait nor lock.

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

use crate::explain::ledger::now;

/// Lets `burst` pass at once, and then one each `interval` nanoseconds.
pub(crate) struct RateLimit {
    interval: i64,
    burst: i64,
    /// When all that has passed would have passed, had it come one by one.
    paid_until: Atomic<i64>,
}

impl RateLimit {
    pub(crate) const fn new(interval: i64, burst: i64) -> Self {
        Self {
            interval,
            burst,
            paid_until: Atomic::new(0),
        }
    }

    /// Whether one might pass now.
    pub(crate) fn is_open(&self) -> bool {
        let now = now();

        self.paid_until.load(Relaxed).max(now) + self.interval - now <= self.burst * self.interval
    }

    /// Whether one may pass. May be called from any context but NMI.
    pub(crate) fn lets_pass(&self) -> bool {
        self.lets_pass_at(now())
    }

    fn lets_pass_at(&self, now: i64) -> bool {
        let was = self.paid_until.load(Relaxed);
        let paid_until = was.max(now) + self.interval;

        // Of those who come at the same time, one passes.
        paid_until - now <= self.burst * self.interval
            && self.paid_until.cmpxchg(was, paid_until, Relaxed).is_ok()
    }
}

#[kunit_tests(pidns_guard_ratelimit)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_by_one() {
        let limit = RateLimit::new(100, 3);
        let start = 1_000_000;

        for _ in 0..3 {
            assert!(limit.lets_pass_at(start));
        }
        assert!(!limit.lets_pass_at(start));
        assert!(!limit.lets_pass_at(start + 99));
        assert!(limit.lets_pass_at(start + 100));
        assert!(!limit.lets_pass_at(start + 100));
    }
}
