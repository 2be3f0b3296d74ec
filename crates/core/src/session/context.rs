//! What all groups of a session share: its options, its connection, its tables, and where it puts what is to be done.

use std::collections::VecDeque;
use std::time::Duration;

use super::calls::{About, PendingCalls};
use super::clients::Clients;
use super::connection::Connection;
use super::ids::AcquisitionId;
use super::input::Settings;
use super::jitter::Jitter;
use super::output::{Event, Output, Stats};
use super::registry::Registry;
use super::timers::Timers;
use crate::lease::LeaseId;
use crate::moment::{Moment, whole_ms};
use crate::protocol::{Call, Caller, Outgoing};

#[derive(Debug)]
pub(super) struct Context {
    pub(super) settings: Settings,
    pub(super) connection: Connection,
    pub(super) calls: PendingCalls,
    pub(super) registry: Registry,
    pub(super) clients: Clients,
    pub(super) timers: Timers,
    pub(super) jitter: Jitter,
    /// The counters, without those that are counted from the tables.
    pub(super) stats: Stats,
    outputs: VecDeque<Output>,
}

impl Context {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            jitter: Jitter::new(settings.id.0),
            settings,
            connection: Connection::default(),
            calls: PendingCalls::default(),
            registry: Registry::default(),
            clients: Clients::default(),
            timers: Timers::default(),
            stats: Stats::default(),
            outputs: VecDeque::new(),
        }
    }

    pub(super) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.output(Output::Event(event));
    }

    pub(super) fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    pub(super) fn lease_id(&self, id: AcquisitionId) -> LeaseId {
        LeaseId { session: self.settings.id, number: id.0 }
    }

    /// Sends a call; the session's waiters stay in line for `keep_alive` without another one.
    pub(super) fn call(&mut self, now: Moment, keep_alive: Duration, call: Call, about: About) {
        let id = self.calls.start(now, about);
        let caller = Caller {
            session: self.settings.id,
            connection: self.connection.number(),
            listens: self.connection.listens(),
            settling: self.connection.settling(now),
            keep_alive_ms: whole_ms(keep_alive),
        };
        self.output(Output::Send(Outgoing::Call { id, caller, call }));
    }
}
