//! One session's way to its store: a link, or one that is being opened.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::lease::SessionId;
use crate::protocol::Outgoing;
use crate::store::{ConnectError, Connecting, Link, LinkEvent, LinkInfo, Store};

pub(super) struct Leg {
    store: Arc<dyn Store>,
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
        Self { store, wire: None, requests: Vec::new() }
    }

    pub(super) fn connect(&mut self, session: SessionId) {
        let (sender, events) = unbounded_channel();
        let end = End::Opening(self.store.connect(session, sender));
        self.wire = Some(Wire { events, end });
    }

    pub(super) fn disconnect(&mut self) {
        self.wire = None;
    }

    pub(super) fn gather(&mut self, request: Outgoing) {
        self.requests.push(request);
    }

    /// Sends what was gathered, as one.
    pub(super) fn send(&mut self) {
        let requests = std::mem::take(&mut self.requests);
        if let Some(Wire { end: End::Open(link), .. }) = &mut self.wire
            && !requests.is_empty()
        {
            link.send(requests);
        }
    }

    /// Waits for what comes next.
    pub(super) async fn news(&mut self) -> News {
        let opened = match &mut self.wire {
            None => pending().await,
            Some(Wire { end: End::Opening(opening), .. }) => opening.await,
            Some(Wire { events, .. }) => {
                let ended = || LinkEvent::Down("the connection's task has ended".into());
                return News::Heard(events.recv().await.unwrap_or_else(ended));
            }
        };
        match opened {
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
        }
    }

    /// What lies ready, if anything does.
    pub(super) fn ready(&mut self) -> Option<LinkEvent> {
        self.wire.as_mut()?.events.try_recv().ok()
    }
}
