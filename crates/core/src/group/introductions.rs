//! The introductions of a group's sessions (R40). Nothing depends on them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::lease::{Identity, SessionId};
use crate::protocol::Introduction;

#[derive(Debug, Clone, Default)]
pub(super) struct Introductions {
    /// Each with the end until which it is kept.
    identities: HashMap<SessionId, (u64, Arc<Identity>)>,
    /// The same by end.
    ends: BTreeSet<(u64, SessionId)>,
}

impl Introductions {
    /// Keeps an introduction; those that have ended are removed.
    pub(super) fn add(&mut self, now_ms: u64, session: SessionId, said: &Introduction) {
        while let Some((_, passed)) = self.ends.first().copied().filter(|(end_ms, _)| *end_ms <= now_ms) {
            self.remove(passed);
        }
        self.remove(session);
        let end_ms = now_ms.saturating_add(said.keep_ms);
        self.identities.insert(session, (end_ms, Arc::clone(&said.identity)));
        self.ends.insert((end_ms, session));
    }

    pub(super) fn of(&self, now_ms: u64, session: SessionId) -> Option<&Arc<Identity>> {
        self.identities.get(&session).filter(|(end_ms, _)| *end_ms > now_ms).map(|(_, identity)| identity)
    }

    /// Those that haven't ended, by session.
    pub(super) fn all(&self, now_ms: u64) -> Vec<(SessionId, u64, Arc<Identity>)> {
        let lasting = |(end_ms, _): &&(u64, SessionId)| *end_ms > now_ms;
        let mut all: Vec<_> = (self.ends.iter().filter(lasting))
            .map(|(end_ms, session)| (*session, *end_ms, Arc::clone(&self.identities[session].1)))
            .collect();
        all.sort_by_key(|(session, ..)| *session);
        all
    }

    fn remove(&mut self, session: SessionId) {
        if let Some((end_ms, _)) = self.identities.remove(&session) {
            self.ends.remove(&(end_ms, session));
        }
    }
}
