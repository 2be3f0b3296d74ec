//! Which slots of a group are free, and taking the smallest of them (R2).
//!
//! The gaps below the highest slot in use are kept as ranges; everything above it is free. So a lease that re-enters
//! with slot 1,000,000 makes one range. Leases and limits aren't known here.

use std::collections::BTreeMap;

use crate::lease::Slot;

/// The slots of one lease, ascending, at least one. Most leases have one, which needs no allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Taken {
    One(Slot),
    Many(Box<[Slot]>),
}

impl Taken {
    pub(super) fn as_slice(&self) -> &[Slot] {
        match self {
            Self::One(slot) => std::slice::from_ref(slot),
            Self::Many(slots) => slots,
        }
    }

    pub(super) fn weight(&self) -> u32 {
        self.as_slice().len() as u32
    }

    pub(super) fn lowest(&self) -> Slot {
        self.as_slice()[0]
    }

    pub(super) fn highest(&self) -> Slot {
        let slots = self.as_slice();
        slots[slots.len() - 1]
    }
}

/// The free slots of a group.
#[derive(Debug, Clone, Default)]
pub(super) struct FreeSlots {
    /// The highest slot in use; 0 when none is.
    top: Slot,
    /// Free ranges below `top`, lowest to highest; no two touch, none touches `top` from below without a slot between.
    gaps: BTreeMap<Slot, Slot>,
}

impl FreeSlots {
    /// Takes the `weight` smallest free slots.
    pub(super) fn take(&mut self, weight: u32) -> Taken {
        if weight == 1 {
            Taken::One(self.take_one())
        } else {
            Taken::Many((0..weight).map(|_| self.take_one()).collect())
        }
    }

    /// Takes exactly these slots, or none: they must be ascending, above 0 and all free.
    pub(super) fn take_just(&mut self, slots: &[Slot]) -> Option<Taken> {
        let ascending = slots.first().is_some_and(|first| *first > 0) && slots.is_sorted_by(|a, b| a < b);
        if !ascending || !slots.iter().all(|slot| self.is_free(*slot)) {
            return None;
        }
        for slot in slots {
            self.take_this(*slot);
        }
        Some(if let [slot] = slots { Taken::One(*slot) } else { Taken::Many(slots.into()) })
    }

    /// Makes these slots free again.
    pub(super) fn give_back(&mut self, taken: &Taken) {
        for slot in taken.as_slice() {
            self.give_back_one(*slot);
        }
    }

    pub(super) fn is_free(&self, slot: Slot) -> bool {
        slot > self.top || self.gap_around(slot).is_some()
    }

    fn gap_around(&self, slot: Slot) -> Option<(Slot, Slot)> {
        let (lowest, highest) = self.gaps.range(..=slot).next_back()?;
        (slot <= *highest).then_some((*lowest, *highest))
    }

    fn take_one(&mut self) -> Slot {
        let Some((lowest, highest)) = self.gaps.pop_first() else {
            self.top += 1;
            return self.top;
        };
        if lowest < highest {
            self.gaps.insert(lowest + 1, highest);
        }
        lowest
    }

    fn take_this(&mut self, slot: Slot) {
        if let Some((lowest, highest)) = self.gap_around(slot) {
            self.gaps.remove(&lowest);
            if lowest < slot {
                self.gaps.insert(lowest, slot - 1);
            }
            if slot < highest {
                self.gaps.insert(slot + 1, highest);
            }
        } else {
            if slot - self.top > 1 {
                self.gaps.insert(self.top + 1, slot - 1);
            }
            self.top = slot;
        }
    }

    fn give_back_one(&mut self, slot: Slot) {
        let below = self.gaps.range(..slot).next_back().filter(|(_, highest)| **highest + 1 == slot);
        let lowest = below.map_or(slot, |(lowest, _)| *lowest);
        if slot == self.top {
            self.gaps.remove(&lowest);
            self.top = lowest - 1;
        } else {
            let highest = self.gaps.remove(&(slot + 1)).unwrap_or(slot);
            self.gaps.insert(lowest, highest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    #[test]
    fn slot_one_million_makes_one_range() {
        let mut free = FreeSlots::default();
        let taken = free.take_just(&[1_000_000]).unwrap();
        assert_eq!(free.gaps.len(), 1);
        assert_eq!(free.take(2).as_slice(), [1, 2]);
        free.give_back(&taken);
        assert_eq!((free.top, free.gaps.len()), (2, 0));
    }

    #[test]
    fn slots_that_are_taken_doubled_or_zero_are_not_taken_again() {
        let mut free = FreeSlots::default();
        free.take(3);
        for bad in [&[3, 4][..], &[5, 5], &[7, 6], &[0], &[]] {
            assert_eq!(free.take_just(bad), None, "{bad:?}");
        }
        assert_eq!(free.take(1), Taken::One(4));
    }

    proptest! {
        #[test]
        fn the_smallest_free_slots_are_taken_first(steps in prop::collection::vec((0u8..3, 0u32..40), 1..200)) {
            let (mut free, mut used, mut held) = (FreeSlots::default(), BTreeSet::new(), Vec::new());
            for (kind, number) in steps {
                match kind {
                    0 => {
                        let weight = number % 4 + 1;
                        let expected: Vec<Slot> = (1..).filter(|s| !used.contains(s)).take(weight as usize).collect();
                        let taken = free.take(weight);
                        prop_assert_eq!(taken.as_slice(), expected);
                        held.push(taken);
                    }
                    1 => {
                        let slots = [number + 1, number + 3];
                        let expected = slots.iter().all(|slot| !used.contains(slot));
                        let taken = free.take_just(&slots);
                        prop_assert_eq!(taken.is_some(), expected);
                        held.extend(taken);
                    }
                    _ if held.is_empty() => {}
                    _ => free.give_back(&held.swap_remove(number as usize % held.len())),
                }
                used = held.iter().flat_map(|taken| taken.as_slice().iter().copied()).collect();
                prop_assert_eq!(free.top, used.last().copied().unwrap_or(0));
            }
        }
    }
}
