//! What one client is to be told, in order, whatever threads come to tell it.
//!
//! Events are put in under the session's lock, so they lie in the order in which they happened. They are told outside
//! of it, by one thread at a time: whoever finds another at it leaves that to the other. `tests/interleavings.rs` runs
//! this file through every interleaving.

use std::sync::Arc;

use super::{Event, Sink};
use crate::sync::{Mutex, MutexGuard, PoisonError};

pub(super) struct Outbox {
    sink: Arc<dyn Sink>,
    pile: Mutex<Pile>,
}

#[derive(Default)]
struct Pile {
    events: Vec<Event>,
    /// Why nothing follows, if nothing does.
    end: Option<String>,
    /// A thread tells the client.
    told: bool,
}

impl Outbox {
    pub(super) fn new(sink: Arc<dyn Sink>) -> Self {
        Self { sink, pile: Mutex::new(Pile::default()) }
    }

    /// Takes all `events`. To be called under the session's lock.
    pub(super) fn put(&self, events: &mut Vec<Event>) {
        self.pile().events.append(events);
    }

    /// The session has ended by a fault. To be called under its lock.
    pub(super) fn end(&self, message: &str) {
        self.pile().end = Some(message.to_owned());
    }

    /// Tells the client all events. Not to be called under the session's lock: the client may ask for something at
    /// once.
    pub(super) fn tell(&self) {
        let mut events = Vec::new();
        {
            let mut pile = self.pile();
            if std::mem::replace(&mut pile.told, true) {
                return;
            }
            std::mem::swap(&mut pile.events, &mut events);
        }
        let guard = Telling(self);
        loop {
            if !events.is_empty() {
                self.sink.tell(&mut events);
                events.clear();
            }
            let mut pile = self.pile();
            if !pile.events.is_empty() {
                std::mem::swap(&mut pile.events, &mut events);
                continue;
            }
            let Some(message) = pile.end.take() else {
                pile.told = false;
                // Its room for the next.
                pile.events = events;
                return std::mem::forget(guard);
            };
            drop(pile);
            self.sink.broken(&message);
        }
    }

    fn pile(&self) -> MutexGuard<'_, Pile> {
        self.pile.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who tells, until it has: a panic of who is told must not leave the rest untold.
struct Telling<'a>(&'a Outbox);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.0.pile().told = false;
    }
}
