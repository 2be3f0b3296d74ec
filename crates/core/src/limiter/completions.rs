//! The completion table: who waits for which answer, and how each lease stands by the local clock.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{oneshot, watch};

use crate::driver::Sink;
use crate::error::{Error, Loss};
use crate::moment::Moment;
use crate::session::{AdminAnswer, Event, Granted, Tag};
use crate::sync::lock;

/// Who waits for which answer, and how each lease stands.
#[derive(Default)]
pub(super) struct Completions {
    last_tag: AtomicU64,
    open: Mutex<HashMap<Tag, Awaited>>,
    held: Mutex<HashMap<Tag, watch::Sender<Standing>>>,
}

pub(super) enum Awaited {
    Acquire(oneshot::Sender<Result<(Granted, watch::Receiver<Standing>), Error>>),
    Release(oneshot::Sender<bool>),
    Ask(oneshot::Sender<Result<AdminAnswer, Error>>),
    Close(oneshot::Sender<()>),
}

/// How a lease stands by the local clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) deadline: Moment,
    pub(super) lost: Option<Loss>,
}

impl Completions {
    /// A new tag, and where the answer arrives that is awaited under it.
    pub(super) fn expect<T>(
        &self,
        kind: impl FnOnce(oneshot::Sender<T>) -> Awaited,
    ) -> (Tag, oneshot::Receiver<T>) {
        let tag = self.last_tag.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, receiver) = oneshot::channel();
        lock(&self.open).insert(tag, kind(sender));
        (tag, receiver)
    }

    /// Where the answer to the release of this lease arrives.
    pub(super) fn expect_release(&self, tag: Tag) -> oneshot::Receiver<bool> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.open).insert(tag, Awaited::Release(sender));
        receiver
    }

    /// The request was left, and nobody hears of it any more.
    pub(super) fn forget(&self, tag: Tag) {
        lock(&self.open).remove(&tag);
        lock(&self.held).remove(&tag);
    }

    pub(super) fn take(&self, tag: Tag) -> Option<Awaited> {
        lock(&self.open).remove(&tag)
    }

    fn hand_over(&self, event: Event) {
        match event {
            Event::Granted { tag, lease, .. } => {
                let (sender, receiver) = watch::channel(Standing { deadline: lease.deadline, lost: None });
                // Who stopped waiting has cancelled or is about to: the core gives the lease back.
                if let Some(Awaited::Acquire(waiter)) = self.take(tag) {
                    lock(&self.held).insert(tag, sender);
                    let _ = waiter.send(Ok((lease, receiver)));
                }
            }
            Event::Failed { tag, error, .. } => {
                if let Some(Awaited::Acquire(sender)) = self.take(tag) {
                    let _ = sender.send(Err(error.unwrap_or(Error::Closed)));
                }
            }
            Event::Released { tag, was_held, .. } => {
                lock(&self.held).remove(&tag);
                if let Some(Awaited::Release(sender)) = self.take(tag) {
                    let _ = sender.send(was_held);
                }
            }
            Event::Lost { tag, why, .. } => {
                if let Some(standing) = lock(&self.held).get(&tag) {
                    standing.send_modify(|standing| standing.lost = Some(why));
                }
            }
            Event::Renewed { tag, deadline, .. } => {
                if let Some(standing) = lock(&self.held).get(&tag) {
                    standing.send_modify(|standing| standing.deadline = deadline);
                }
            }
            Event::Answered { tag, answer, .. } => {
                if let Some(Awaited::Ask(sender)) = self.take(tag) {
                    let _ = sender.send(answer);
                }
            }
            Event::Closed { tag, .. } => {
                // Nobody hears of these leases any more; who waits for a loss finds its channel closed.
                lock(&self.held).clear();
                if let Some(Awaited::Close(sender)) = self.take(tag) {
                    let _ = sender.send(());
                }
            }
            Event::Connecting
            | Event::Connected
            | Event::ConnectFailed(_)
            | Event::Reconnected
            | Event::Disconnected(_)
            | Event::PushUnavailable
            | Event::Warning(_) => {}
        }
    }
}

impl Sink for Completions {
    fn tell(&self, events: &mut Vec<Event>) {
        events.drain(..).for_each(|event| self.hand_over(event));
    }

    fn broken(&self, _message: &str) {
        // Whoever waits finds its channel closed.
        lock(&self.open).clear();
        lock(&self.held).clear();
    }
}
