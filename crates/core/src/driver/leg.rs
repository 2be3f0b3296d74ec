//! One session's way to its store: a link, or one that is being opened.

use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinHandle, unconstrained};

use crate::lease::SessionId;
use crate::protocol::Outgoing;
use crate::store::{ConnectError, Connecting, Link, LinkEvent, LinkInfo, Store};

pub(super) struct Leg {
    store: Arc<dyn Store>,
    embedded: bool,
    wire: Option<Wire>,
    /// What is to be sent, gathered.
    requests: Vec<Outgoing>,
}

struct Wire {
    events: UnboundedReceiver<LinkEvent>,
    end: End,
}

enum End {
    Opening(Connecting),
    Open(Box<dyn Link>),
}

/// What comes of a link.
pub(super) enum News {
    Opened(LinkInfo),
    Failed(ConnectError),
    Heard(LinkEvent),
}

impl Leg {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { embedded: store.is_embedded(), store, wire: None, requests: Vec::new() }
    }

    /// Whether the store does what it's asked on the thread that asks.
    pub(super) fn is_embedded(&self) -> bool {
        self.embedded
    }

    pub(super) fn connect(&mut self, session: SessionId) {
        let (sender, events) = unbounded_channel();
        let connecting = self.store.connect(session, sender);
        // A handshake is no work for whoever has the session's lock.
        let opening = if self.is_embedded() { connecting } else { elsewhere(connecting) };
        self.wire = Some(Wire { events, end: End::Opening(opening) });
    }

    /// What the attempt to connect that is under way waits for.
    pub(super) fn waits_for(&self) -> Option<String> {
        self.store.waits_for()
    }

    pub(super) fn disconnect(&mut self) {
        self.wire = None;
    }

    pub(super) fn gather(&mut self, request: Outgoing) {
        self.requests.push(request);
    }

    /// Whether something waits to be sent.
    pub(super) fn has_gathered(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Sends what was gathered, as one.
    pub(super) fn send(&mut self) {
        if self.requests.is_empty() {
            return;
        }
        let requests = std::mem::take(&mut self.requests);
        if let Some(Wire { end: End::Open(link), .. }) = &mut self.wire {
            link.send(requests);
        }
    }

    /// Sends what was gathered on this thread, which may be any, if the link likes that better.
    pub(super) fn send_here(&mut self) {
        if let Some(Wire { end: End::Open(link), .. }) = &mut self.wire
            && !self.requests.is_empty()
        {
            link.send_here(&mut self.requests);
        }
    }

    /// What comes next.
    pub(super) fn poll_news(&mut self, context: &mut Context<'_>) -> Poll<News> {
        let opened = match &mut self.wire {
            None => return Poll::Pending,
            Some(Wire { end: End::Opening(opening), .. }) => opening.as_mut().poll(context),
            Some(Wire { events, .. }) => {
                // The budget would be that of whatever task of the user's this thread runs.
                let next = pin!(unconstrained(events.recv()));
                let ended = || LinkEvent::Down("the connection's task has ended".into());
                return next.poll(context).map(|event| News::Heard(event.unwrap_or_else(ended)));
            }
        };
        opened.map(|opened| match opened {
            Ok((link, info)) => {
                if let Some(wire) = &mut self.wire {
                    wire.end = End::Open(link);
                }
                News::Opened(info)
            }
            Err(error) => {
                self.wire = None;
                News::Failed(error)
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
