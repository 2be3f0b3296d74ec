//! How many leases of a session were forgotten: garbage-collected in JavaScript without a release. Limiters that share
//! a session share the count, also across threads. In Rust no lease is forgotten: dropping one gives it back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use concurrency_limit::lease::SessionId;

/// The sessions' counts, each for as long as a client of it is open.
static COUNTS: Mutex<Option<HashMap<SessionId, Weak<AtomicU64>>>> = Mutex::new(None);

/// One session's count.
#[derive(Clone)]
pub(crate) struct Tally(Arc<AtomicU64>);

impl Tally {
    /// The count of this session.
    pub(crate) fn of(session: SessionId) -> Self {
        let mut counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = counts.get_or_insert_default();
        if let Some(count) = counts.get(&session).and_then(Weak::upgrade) {
            return Self(count);
        }
        counts.retain(|_, count| count.strong_count() > 0);
        let count = Arc::default();
        counts.insert(session, Arc::downgrade(&count));
        Self(count)
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_a_session_share_its_count_and_it_ends_with_the_last() {
        let (one, two) = (Tally::of(SessionId(1)), Tally::of(SessionId(1)));
        one.add();
        Tally::of(SessionId(2)).add();
        assert_eq!((one.count(), two.count()), (1, 1));
        drop(one);
        two.add();
        assert_eq!(Tally::of(SessionId(1)).count(), 2);
        drop(two);
        assert_eq!(Tally::of(SessionId(1)).count(), 0);
    }
}
