//! A session's connection to its store: a link, or one that is being opened.

use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinHandle, unconstrained};

use crate::lease::SessionId;
use crate::protocol::Outgoing;
use crate::store::{ConnectError, Connecting, Link, LinkEvent, LinkInfo, Store};

pub(super) struct StoreConnection {
    store: Arc<dyn Store>,
    embedded: bool,
    attempt: Option<Attempt>,
    /// What is to be sent together.
    requests: Vec<Outgoing>,
}

struct Attempt {
    events: UnboundedReceiver<LinkEvent>,
    link: LinkState,
}

enum LinkState {
    Opening(Connecting),
    Open(Box<dyn Link>),
}

/// What a store reports.
pub(super) enum StoreEvent {
    Opened(LinkInfo),
    Failed(ConnectError),
    Link(LinkEvent),
}

impl StoreConnection {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { embedded: store.is_embedded(), store, attempt: None, requests: Vec::new() }
    }

    /// Whether the store carries out calls on the calling thread.
    pub(super) fn is_embedded(&self) -> bool {
        self.embedded
    }

    pub(super) fn connect(&mut self, session: SessionId) {
        let (sender, events) = unbounded_channel();
        let connecting = self.store.connect(session, sender);
        // A handshake takes too long for a thread that has the session's lock.
        let opening = if self.is_embedded() { connecting } else { elsewhere(connecting) };
        self.attempt = Some(Attempt { events, link: LinkState::Opening(opening) });
    }

    /// What the attempt to connect that is under way waits for.
    pub(super) fn waits_for(&self) -> Option<String> {
        self.store.waits_for()
    }

    pub(super) fn disconnect(&mut self) {
        self.attempt = None;
    }

    pub(super) fn gather(&mut self, request: Outgoing) {
        self.requests.push(request);
    }

    /// Whether something waits to be sent.
    pub(super) fn has_gathered(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Sends what was gathered, together.
    pub(super) fn send(&mut self) {
        if self.requests.is_empty() {
            return;
        }
        let requests = std::mem::take(&mut self.requests);
        if let Some(Attempt { link: LinkState::Open(link), .. }) = &mut self.attempt {
            link.send(requests);
        }
    }

    /// The next event.
    pub(super) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<StoreEvent> {
        let opened = match &mut self.attempt {
            None => return Poll::Pending,
            Some(Attempt { link: LinkState::Opening(opening), .. }) => opening.as_mut().poll(context),
            Some(Attempt { events, .. }) => {
                // Unconstrained: this thread may run a task of the user's, whose budget must not be used up here.
                let next = pin!(unconstrained(events.recv()));
                let ended = || LinkEvent::Down("the connection's task has ended".into());
                return next.poll(context).map(|event| StoreEvent::Link(event.unwrap_or_else(ended)));
            }
        };
        opened.map(|opened| match opened {
            Ok((link, info)) => {
                if let Some(attempt) = &mut self.attempt {
                    attempt.link = LinkState::Open(link);
                }
                StoreEvent::Opened(info)
            }
            Err(error) => {
                self.attempt = None;
                StoreEvent::Failed(error)
            }
        })
    }
}

/// Connects in a task of its own, which ends when this is dropped.
fn elsewhere(connecting: Connecting) -> Connecting {
    struct Task<T>(JoinHandle<T>);

    impl<T> Drop for Task<T> {
        fn drop(&mut self) {
            self.0.abort();
        }
    }

    let mut task = Task(super::runtime().spawn(connecting));
    Box::pin(async move {
        match (&mut task.0).await {
            Ok(opened) => opened,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            // The process ends.
            Err(error) => Err(ConnectError::unusable(error.to_string())),
        }
    })
}
