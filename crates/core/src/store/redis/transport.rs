//! Groups in a Redis that is reached through a client of the user's own: the same commands as `link` sends, given to a
//! `ClientTransport` instead of a socket.
//!
//! `names`, `list` and `reply` write and read the protocol; nothing here does. `opening` opens a link, `completions`
//! keeps the pending calls. When the subscription ends the link goes down with it: the next link subscribes again.

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use self::commands::{read, tell};
use self::completions::Completions;
use super::about::Loading;
use super::task::Task;
use crate::config::Options;
use crate::lease::SessionId;
use crate::protocol::Outgoing;
use crate::store::{Connecting, Link, LinkEvent, Store};
use crate::sync::lock;
use crate::transport::{SharedTransport, TransportEvent, TransportLink};

mod commands;
mod completions;
mod opening;

/// Groups in the Redis of a client transport.
pub struct TransportStore {
    transport: SharedTransport,
    options: Arc<Options>,
    loading: Arc<Loading>,
}

impl TransportStore {
    /// A store over this transport; sends nothing yet. The options' place isn't used.
    pub fn new(transport: SharedTransport, options: Options) -> Self {
        Self { transport, options: Arc::new(options), loading: Arc::default() }
    }
}

impl Store for TransportStore {
    fn connect(&self, session: SessionId, events: UnboundedSender<LinkEvent>) -> Connecting {
        let (transport, options) = (self.transport.clone(), Arc::clone(&self.options));
        let loading = Arc::clone(&self.loading);
        Box::pin(async move {
            let (link, info) = opening::open(&transport, &options, &loading, session, events).await?;
            Ok((Box::new(link) as Box<dyn Link>, info))
        })
    }

    fn address(&self) -> String {
        self.transport.address()
    }
}

/// The store's [`Link`] over a transport's link.
struct StoreLink {
    transport: Box<dyn TransportLink>,
    completions: Arc<Mutex<Completions>>,
    _pump: Task,
}

impl StoreLink {
    /// A link that has been opened; `listens` says whether its subscription is confirmed.
    fn start(
        transport: Box<dyn TransportLink>,
        reports: UnboundedReceiver<TransportEvent>,
        completions: Completions,
        listens: bool,
        events: UnboundedSender<LinkEvent>,
    ) -> Self {
        let completions = Arc::new(Mutex::new(completions));
        let pump = Task::spawn(pump(Arc::clone(&completions), reports, listens, events));
        Self { transport, completions, _pump: pump }
    }
}

impl Link for StoreLink {
    fn send(&mut self, requests: Vec<Outgoing>) {
        let commands = lock(&self.completions).commands(requests);
        self.transport.send(commands);
    }
}

async fn pump(
    completions: Arc<Mutex<Completions>>,
    mut reports: UnboundedReceiver<TransportEvent>,
    listens: bool,
    events: UnboundedSender<LinkEvent>,
) {
    let down = loop {
        match reports.recv().await {
            Some(TransportEvent::Answers(bytes)) => match read(&bytes) {
                Ok(answers) => lock(&completions).answer(answers, &events),
                Err(error) => break error.to_string(),
            },
            Some(TransportEvent::Push(payload)) => lock(&completions).receive(&payload, &events),
            Some(TransportEvent::NotSubscribed(why)) if listens => {
                break format!("the subscription has ended: {why}");
            }
            // The subscription was confirmed too late: the session polls, and still accepts pushes.
            Some(TransportEvent::Ready | TransportEvent::Subscribed | TransportEvent::NotSubscribed(_)) => {}
            Some(TransportEvent::Down(why) | TransportEvent::Ended(why)) => break why,
            None => break "the client's thread has ended".into(),
        }
    };
    tell(&events, LinkEvent::Down(down));
}
