// SPDX-License-Identifier: GPL-2.0

//! Finds the entries with a key, without a look at all entries.

use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    }, //
};

use crate::compat;

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// How often a search is repeated that somebody has disturbed.
const TRIES: usize = 4;

/// Slots in chains, one chain for all keys with the same remainder. Anybody may read at any time;
/// those who write take turns, by a lock that is not in here.
pub(super) struct Index {
    heads: KVVec<Atomic<u32>>,
    /// What comes behind each slot.
    next: KVVec<Atomic<u32>>,
    /// Odd while a chain is being changed.
    changes: Atomic<u32>,
}

impl Index {
    /// For the slots below `size`. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(size: usize) -> Result<Self> {
        Ok(Self {
            heads: chains(size.next_power_of_two())?,
            next: chains(size)?,
            changes: Atomic::new(0),
        })
    }

    fn head(&self, key: u32) -> &Atomic<u32> {
        // There is a power of two of them.
        &self.heads[key as usize & (self.heads.len() - 1)]
    }

    /// Adds a slot, which comes before those that have the same key. To be called by one at a time.
    pub(super) fn add(&self, key: u32, slot: usize) {
        self.change(|| {
            let head = self.head(key);

            self.next[slot].store(head.load(Relaxed), Relaxed);
            head.store(slot as u32, Release);
        });
    }

    /// Takes a slot out, if it is there. To be called by one at a time.
    pub(super) fn remove(&self, key: u32, slot: usize) {
        self.change(|| {
            let mut link = self.head(key);

            loop {
                let here = link.load(Relaxed);
                let Some(next) = self.next.get(here as usize) else {
                    return;
                };
                if here as usize == slot {
                    link.store(next.load(Relaxed), Release);
                    return;
                }
                link = next;
            }
        });
    }

    fn change(&self, change: impl FnOnce()) {
        let changes = self.changes.load(Relaxed);

        self.changes.store(changes.wrapping_add(1), Relaxed);
        compat::smp_wmb();
        change();
        self.changes.store(changes.wrapping_add(2), Release);
    }

    /// The first slot with the key for which `wanted` is true, the newest first; or else
    /// [`Missing`].
    ///
    /// `wanted` is also asked about slots with another key.
    pub(super) fn find(&self, key: u32, wanted: impl Fn(usize) -> bool) -> Result<usize, Missing> {
        for _ in 0..TRIES {
            let changes = self.changes.load(Acquire);
            let mut slot = self.head(key).load(Acquire);

            // A reader that is led from one chain into another is not to run in circles.
            for _ in 0..self.next.len() {
                let Some(next) = self.next.get(slot as usize) else {
                    break;
                };
                if wanted(slot as usize) {
                    return Ok(slot as usize);
                }
                slot = next.load(Acquire);
            }

            compat::smp_rmb();
            if changes % 2 == 0 && self.changes.load(Relaxed) == changes {
                return Err(Missing::Surely);
            }
        }
        Err(Missing::Perhaps)
    }
}

/// What a search says that has found nothing.
#[derive(Debug, PartialEq)]
pub(super) enum Missing {
    /// There is none.
    Surely,
    /// The chains were changed again and again: only a look at all slots can tell.
    Perhaps,
}

fn chains(size: usize) -> Result<KVVec<Atomic<u32>>> {
    let mut chains = KVVec::with_capacity(size, GFP_KERNEL)?;

    for _ in 0..size {
        chains.push(Atomic::new(NONE), GFP_KERNEL)?;
    }
    Ok(chains)
}

#[kunit_tests(pidns_guard_index)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_found_first() -> Result {
        let index = Index::new(4)?;

        index.add(7, 0);
        index.add(7, 1);
        index.add(3, 2);
        assert_eq!(index.find(7, |slot| slot != 2), Ok(1));
        assert_eq!(index.find(7, |slot| slot == 0), Ok(0));
        assert_eq!(index.find(3, |slot| slot == 2), Ok(2));
        assert_eq!(index.find(2, |_| true), Err(Missing::Surely));
        Ok(())
    }

    #[test]
    fn what_is_taken_out_is_gone() -> Result {
        let index = Index::new(4)?;

        for slot in 0..4 {
            index.add(8, slot);
        }
        index.remove(8, 2);
        index.remove(8, 0);
        index.remove(8, 0);
        assert_eq!(index.find(8, |slot| slot == 2), Err(Missing::Surely));
        assert_eq!(index.find(8, |slot| slot == 0), Err(Missing::Surely));
        assert_eq!(index.find(8, |slot| slot == 1), Ok(1));
        assert_eq!(index.find(8, |_| true), Ok(3));
        Ok(())
    }

    #[test]
    fn a_search_that_is_disturbed_does_not_say_no() -> Result {
        let index = Index::new(2)?;

        let found = index.find(1, |_| true);
        assert_eq!(found, Err(Missing::Surely));
        index.add(1, 0);
        // Each look finds that something has changed since it began.
        let found = index.find(1, |_| {
            index.add(0, 1);
            index.remove(0, 1);
            false
        });
        assert_eq!(found, Err(Missing::Perhaps));
        Ok(())
    }
}
