//! Leases that another session holds, and that count in this one's store, too.
//!
//! They come in as leases come back that a group has lost: by reconcile, with their slots.

use std::sync::Arc;
use std::time::Duration;

use super::acquisition::{Acquisition, Held, State};
use super::{ClientId, Request, Session, Tag};
use crate::lease::{Epoch, FencingToken, Key, Slot};
use crate::moment::Moment;
use crate::protocol::Terms;

/// A lease that somebody was told of and believes in.
#[derive(Debug, Clone)]
pub struct Holding {
    /// Whose it is.
    pub name: (ClientId, Tag),
    /// What was asked for.
    pub terms: Arc<Terms>,
    /// Its slots.
    pub slots: Vec<Slot>,
}

impl Session {
    /// What is held in this group.
    pub fn holdings(&self, key: &Key) -> Vec<Holding> {
        let Some(line) = self.line_of.get(key) else { return Vec::new() };
        let mut numbers: Vec<u64> = self.line(*line).held.iter().copied().collect();
        numbers.sort_unstable();
        let holding = |number: u64| {
            let acquisition = self.acquisitions.get(&number).filter(|a| !a.wanted)?;
            let State::Held(held) = &acquisition.state else { return None };
            Some(Holding {
                name: (acquisition.client, acquisition.tag),
                terms: Arc::clone(&acquisition.terms),
                slots: held.slots.clone(),
            })
        };
        numbers.into_iter().filter_map(holding).collect()
    }

    /// The lease counts here, too, until it's released under this name. Nobody of this session is told of it first; if
    /// its slots aren't free here it's lost here, and nowhere else.
    pub fn enter(&mut self, now: Moment, client: ClientId, tag: Tag, key: &Key, holding: Holding) {
        let number = self.next_number;
        self.next_number += 1;
        let line = self.line_for(key);
        let request = Request {
            client,
            tag,
            key: key.clone(),
            terms: (*holding.terms).clone(),
            timeout: None,
            interval: Duration::ZERO,
            renew: true,
            hold: None,
        };
        let mut acquisition = Acquisition::new(now, line, request);
        let valid_until = now + acquisition.lease();
        acquisition.wanted = false;
        // Below every token of this store: whoever has one of the slots here keeps it.
        let (token, epoch) = (FencingToken(0), Epoch(0));
        acquisition.state = State::Held(Held {
            since: now,
            slots: holding.slots,
            token,
            epoch,
            end_at_ms: u64::MAX,
            valid_until,
            renew_at: None,
            renewing: false,
            confirmed: true,
            ends_by: None,
        });
        self.by_tag.insert((client, tag), number);
        self.acquisitions.insert(number, acquisition);
        let side = self.line_mut(line);
        side.members += 1;
        side.held.insert(number);
        side.unsettled.push(number);
        self.wake_for_lease(line, valid_until);
        self.soil(line);
    }
}
