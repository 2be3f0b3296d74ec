//! All groups of an embedded store by key, and forgetting those that have expired (R8).
//!
//! Expired groups go a few per call, in turn: no call looks at all of them. Only listing the keys does.

use std::collections::{HashMap, VecDeque};

use crate::group::{Group, Receivers};
use crate::lease::{Epoch, Key, SessionId};
use crate::protocol::{Call, CallError, Caller, Introduction, Push, Reply, Verb};
use crate::store::glob;

/// How many groups a call looks at, to see whether they have expired: as each call makes at most one, 2 keep up.
const LOOKS_PER_CALL: usize = 2;

/// Most keys in one page of the list.
const KEYS_PER_PAGE: usize = 1_000;

/// The groups.
#[derive(Default)]
pub(super) struct Groups {
    by_key: HashMap<Key, Group>,
    /// Every key of `by_key` once; the front is looked at next.
    turns: VecDeque<Key>,
}

impl Groups {
    /// Carries out one call. `push` tells a session of its grants and says whether it could.
    pub(super) fn call(
        &mut self,
        now_us: u64,
        caller: &Caller,
        Call { key, verb, introduction }: &Call,
        mut push: impl FnMut(SessionId, Push) -> bool,
    ) -> Result<Reply, CallError> {
        self.forget_expired(now_us);
        let mut publish = |session, epoch, news| {
            let received = push(session, Push { key: key.clone(), epoch, news });
            if received { Receivers::Somebody } else { Receivers::Nobody }
        };
        if let Some(group) = self.by_key.get_mut(key) {
            if has_expired(group, now_us) {
                *group = Group::default();
            }
            // The epoch is only drawn for a call that may need one: it makes the state, or finds that it has gone back.
            let needs_one = group.expires_at_ms().is_none() || matches!(verb, Verb::Reconcile { .. });
            let fresh = if needs_one { draw_epoch()? } else { Epoch(0) };
            let result = group.call(now_us, fresh, caller, verb, &mut publish);
            introduce(group, now_us, caller, introduction.as_ref().filter(|_| result.is_ok()));
            return result;
        }
        let mut group = Group::default();
        let result = group.call(now_us, draw_epoch()?, caller, verb, &mut publish);
        introduce(&mut group, now_us, caller, introduction.as_ref().filter(|_| result.is_ok()));
        if group.expires_at_ms().is_some() {
            self.by_key.insert(key.clone(), group);
            self.turns.push_back(key.clone());
        }
        result
    }

    /// One page of the keys that match, and where the next page begins.
    pub(super) fn keys(&self, now_us: u64, pattern: &str, cursor: &str) -> (Vec<Key>, String) {
        let after = cursor.strip_prefix('>').unwrap_or("");
        let alive = self.by_key.iter().filter(|(_, group)| {
            group.expires_at_ms().is_some_and(|expires_at_ms| expires_at_ms > now_us / 1_000)
        });
        let matching = alive
            .map(|(key, _)| key)
            .filter(|key| key.as_str() > after && glob::matches(pattern.as_bytes(), key.as_str().as_bytes()));
        let mut keys: Vec<&Key> = matching.collect();
        let more = keys.len() > KEYS_PER_PAGE;
        if more {
            keys.select_nth_unstable(KEYS_PER_PAGE);
            keys.truncate(KEYS_PER_PAGE);
        }
        keys.sort_unstable();
        let next = keys.last().filter(|_| more).map(|last| format!(">{}", last.as_str()));
        (keys.into_iter().cloned().collect(), next.unwrap_or_else(|| "0".to_owned()))
    }

    fn forget_expired(&mut self, now_us: u64) {
        for _ in 0..LOOKS_PER_CALL.min(self.turns.len()) {
            let Some(key) = self.turns.pop_front() else { return };
            if self.by_key.get(&key).is_some_and(|group| !has_expired(group, now_us)) {
                self.turns.push_back(key);
            } else {
                self.by_key.remove(&key);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.by_key.len(), self.turns.len());
        self.by_key.len()
    }
}

fn introduce(group: &mut Group, now_us: u64, caller: &Caller, said: Option<&Introduction>) {
    if let Some(said) = said {
        group.introduce(now_us, caller.session, said);
    }
}

fn has_expired(group: &Group, now_us: u64) -> bool {
    group.expires_at_ms().is_none_or(|expires_at_ms| expires_at_ms <= now_us / 1_000)
}

fn draw_epoch() -> Result<Epoch, CallError> {
    let drawn = getrandom::u64().map(Epoch);
    drawn.map_err(|error| CallError::NotExecuted(format!("the system gives no random numbers: {error}")))
}
