//! Lease ids in the order of their text, `<session>-<number>`: Redis orders members of equal score so.
//!
//! In that order `9` comes after `10`, unlike in the derived order of [`LeaseId`]. No text is made to compare.

use std::cmp::Ordering;

use crate::lease::LeaseId;

/// A lease id that is ordered as its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByText(pub(super) LeaseId);

impl Ord for ByText {
    fn cmp(&self, other: &Self) -> Ordering {
        // The session's text has a fixed width, so its order is that of the number.
        let sessions = self.0.session.cmp(&other.0.session);
        sessions.then_with(|| digits_in_order(self.0.number, other.0.number))
    }
}

impl PartialOrd for ByText {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn digits_in_order(one: u64, two: u64) -> Ordering {
    let (length, other) = (one.checked_ilog10().unwrap_or(0), two.checked_ilog10().unwrap_or(0));
    let widest = length.max(other);
    let widened = |number: u64, length: u32| u128::from(number) * 10u128.pow(widest - length);
    if length == other {
        one.cmp(&two)
    } else {
        widened(one, length).cmp(&widened(two, other)).then(length.cmp(&other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::SessionId;

    #[test]
    fn ids_are_ordered_as_their_texts() {
        let numbers = [0, 1, 9, 10, 11, 19, 100, 101, 190, 1900, 999_999, u64::MAX, u64::MAX / 10];
        let ids = |session| numbers.map(|number| LeaseId { session: SessionId(session), number });
        let all: Vec<LeaseId> = [ids(1), ids(0xabc)].concat();
        for one in &all {
            for two in &all {
                assert_eq!(
                    ByText(*one).cmp(&ByText(*two)),
                    one.to_string().cmp(&two.to_string()),
                    "{one} {two}"
                );
            }
        }
    }
}
