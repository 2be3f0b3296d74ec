//! The leases that the first session has from Redis, as the second one counts them: with their slots where these are
//! free, else with others.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::local::{NO_LIMIT, Name};
use crate::lease::Key;
use crate::moment::Moment;
use crate::protocol::Terms;
use crate::session::{ClientId, Holding, Request, Session, Tag};

/// Whose these leases are in the second session.
pub(super) const HOLDERS: ClientId = ClientId(0);

#[derive(Debug, Default)]
pub(super) struct Holders {
    entered: HashMap<Name, Entered>,
    /// The groups all of whose holders are.
    groups: HashSet<Key>,
    /// Those whose entry isn't answered yet.
    entering: HashSet<Tag>,
    last_tag: Tag,
}

/// A lease of Redis that counts here, too, and the tag that it has there.
#[derive(Debug)]
struct Entered {
    tag: Tag,
    key: Key,
    holding: Holding,
}

impl Holders {
    /// Nobody's entry is unanswered.
    pub(super) fn all_entered(&self) -> bool {
        self.entering.is_empty()
    }

    pub(super) fn answered(&mut self, tag: Tag) {
        self.entering.remove(&tag);
    }

    /// Redis may hold more in this group than before.
    pub(super) fn grow(&mut self, key: &Key) {
        self.groups.remove(key);
    }

    /// The same of all groups.
    pub(super) fn forget_groups(&mut self) {
        self.groups.clear();
    }

    pub(super) fn enter_all(&mut self, now: Moment, key: &Key, redis: &Session, local: &mut Session) {
        if !self.groups.insert(key.clone()) {
            return;
        }
        for mut holding in redis.holdings(key) {
            // It's inside already, whatever its limit and who comes first here; and its name is Redis's to know.
            let terms = Arc::make_mut(&mut holding.terms);
            (terms.limit, terms.holder) = (NO_LIMIT, None);
            let Entry::Vacant(entry) = self.entered.entry(holding.name) else { continue };
            self.last_tag += 1;
            let tag = self.last_tag;
            self.entering.insert(tag);
            local.enter(now, HOLDERS, tag, key, holding.clone());
            entry.insert(Entered { tag, key: key.clone(), holding });
        }
    }

    /// Its slots were somebody else's, who was let in during an outage before: others count for it.
    pub(super) fn enter_elsewhere(&mut self, now: Moment, tag: Tag, local: &mut Session) {
        self.answered(tag);
        local.release(now, HOLDERS, tag);
        if let Some(entered) = self.entered.values_mut().find(|entered| entered.tag == tag) {
            self.last_tag += 1;
            entered.tag = self.last_tag;
            local.submit(now, entered.request());
        }
    }

    pub(super) fn leave(&mut self, now: Moment, name: Name, local: &mut Session) {
        if let Some(Entered { tag, .. }) = self.entered.remove(&name) {
            local.release(now, HOLDERS, tag);
        }
    }

    pub(super) fn leave_all_of(&mut self, now: Moment, client: ClientId, local: &mut Session) {
        let of_client = |(owner, _): &&Name| *owner == client;
        let mut theirs: Vec<Name> = self.entered.keys().filter(of_client).copied().collect();
        theirs.sort_unstable();
        theirs.into_iter().for_each(|name| self.leave(now, name, local));
    }
}

impl Entered {
    /// Asks for as much as the lease has, wherever it is.
    fn request(&self) -> Request {
        Request {
            client: HOLDERS,
            tag: self.tag,
            key: self.key.clone(),
            terms: Terms { max_waiting: None, ..(*self.holding.terms).clone() },
            timeout: Some(Duration::ZERO),
            interval: Duration::ZERO,
            renew: true,
            hold: None,
            keep: Duration::ZERO,
        }
    }
}
