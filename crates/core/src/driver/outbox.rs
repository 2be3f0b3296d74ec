//! The events that one client is to be told, in order, by any thread.
//!
//! Events are added under the session's lock, so they are in the order in which they happened. They are told without
//! it, by one thread at a time: a thread that finds another one telling leaves its events to that one.
//! `tests/interleavings.rs` runs this file through every interleaving.

use std::sync::Arc;

use super::{Event, Sink};
use crate::sync::{Mutex, MutexGuard, PoisonError};

pub(super) struct Outbox {
    sink: Arc<dyn Sink>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    events: Vec<Event>,
    /// Why no event follows, if that is so.
    end: Option<String>,
    /// A thread is telling the client.
    is_telling: bool,
}

impl Outbox {
    pub(super) fn new(sink: Arc<dyn Sink>) -> Self {
        Self { sink, queue: Mutex::new(Queue::default()) }
    }

    /// Takes all `events`. To be called under the session's lock.
    pub(super) fn put(&self, events: &mut Vec<Event>) {
        self.queue().events.append(events);
    }

    /// The session has ended by a bug. To be called under its lock.
    pub(super) fn end(&self, message: &str) {
        self.queue().end = Some(message.to_owned());
    }

    /// Tells the client all events. Not to be called under the session's lock: the client may send
    /// commands at once.
    pub(super) fn tell(&self) {
        let mut events = Vec::new();
        {
            let mut queue = self.queue();
            if std::mem::replace(&mut queue.is_telling, true) {
                return;
            }
            std::mem::swap(&mut queue.events, &mut events);
        }
        let guard = Telling(self);
        loop {
            if !events.is_empty() {
                self.sink.tell(&mut events);
                events.clear();
            }
            let mut queue = self.queue();
            if !queue.events.is_empty() {
                std::mem::swap(&mut queue.events, &mut events);
                continue;
            }
            let Some(message) = queue.end.take() else {
                queue.is_telling = false;
                // The buffer is reused.
                queue.events = events;
                return std::mem::forget(guard);
            };
            drop(queue);
            self.sink.broken(&message);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held while telling: after a panic in the sink another thread can tell the rest.
struct Telling<'a>(&'a Outbox);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.0.queue().is_telling = false;
    }
}
