//! The session's clients: which of them must show that they live, and which are ending.

use std::collections::HashMap;
use std::time::Duration;

use super::input::{ClientId, Tag};
use crate::moment::Moment;

#[derive(Debug, Default)]
pub(super) struct Clients {
    /// Clients whose leases are renewed only while they are heard of: when last, and how long that counts.
    watched: HashMap<ClientId, (Moment, Duration)>,
    closing: Vec<Closing>,
    /// Clients whose end has been told.
    closed: Vec<ClientId>,
}

/// A client that is ending.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) client: ClientId,
    pub(super) tag: Tag,
    /// How many of its requests are not over yet.
    left: u64,
    until: Moment,
}

impl Clients {
    pub(super) fn watch(&mut self, now: Moment, client: ClientId, timeout: Duration) {
        self.watched.insert(client, (now, timeout));
    }

    pub(super) fn beat(&mut self, now: Moment, client: ClientId) {
        if let Some((heard_at, _)) = self.watched.get_mut(&client) {
            *heard_at = now;
        }
    }

    /// The client is watched and wasn't heard of for too long: its leases are left to their end.
    pub(super) fn stalled(&self, now: Moment, client: ClientId) -> bool {
        self.watched.get(&client).is_some_and(|(heard_at, timeout)| *heard_at + *timeout <= now)
    }

    /// For how long the client needn't be heard of, if it's watched.
    pub(super) fn stall_timeout(&self, client: ClientId) -> Option<Duration> {
        self.watched.get(&client).map(|(_, timeout)| *timeout)
    }

    /// The client ends as soon as its last request is over, and at `until` at the latest.
    pub(super) fn close(&mut self, client: ClientId, tag: Tag, left: u64, until: Moment) {
        self.watched.remove(&client);
        self.closing.push(Closing { client, tag, left, until });
    }

    /// One request of a client is over.
    pub(super) fn one_less(&mut self, client: ClientId) {
        for closing in self.closing.iter_mut().filter(|closing| closing.client == client) {
            closing.left -= 1;
        }
    }

    /// Takes out the clients that are at their end; with `now` also those whose time is over.
    pub(super) fn take_ended(&mut self, now: Option<Moment>) -> Vec<Closing> {
        let ended = |closing: &mut Closing| closing.left == 0 || now.is_some_and(|now| closing.until <= now);
        let ended: Vec<Closing> = self.closing.extract_if(.., ended).collect();
        self.closed.extend(ended.iter().map(|closing| closing.client));
        ended
    }

    pub(super) fn take_closed(&mut self) -> Vec<ClientId> {
        std::mem::take(&mut self.closed)
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.closing.iter().map(|closing| closing.until).min()
    }
}
