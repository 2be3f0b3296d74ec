//! Client transports that JavaScript provides: commands go there as JSON, one wake a batch; events come back as bytes.
//!
//! It parses no answer and knows no client library: `lib/transport.js` is the other side; the core's
//! `store/redis/transport` makes the commands and reads the answers. A link whose environment has ended sends nothing,
//! and the session is told that it's down.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use concurrency_limit::transport::{
    self, ClientTransport, Destination, EventSender, RedisCommand, TransportLink,
};
use napi::Status;
use napi::bindgen_prelude::{FnArgs, Function, Result};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};

use crate::codes::{TransportEvent, TransportOrder};
use crate::sync::lock;

/// What JavaScript is asked to do: the client, the link, a [`TransportOrder`] and its text.
pub(crate) type Ordered = FnArgs<(u32, u32, u32, String)>;

type Order = ThreadsafeFunction<Ordered, (), Ordered, Status, false, true>;

/// The links over client transports of one environment.
pub(crate) struct TransportLinks {
    /// None after the last link that was open when the port ended.
    order: Mutex<Option<Order>>,
    is_ending: AtomicBool,
    senders: Mutex<HashMap<u32, EventSender>>,
    last_link: AtomicU32,
}

/// A client of the environment.
pub(crate) struct JsTransport {
    pub(crate) number: u32,
    pub(crate) address: String,
    pub(crate) is_cluster: bool,
    pub(crate) links: Arc<TransportLinks>,
}

/// One link over it.
struct JsLink {
    client: u32,
    link: u32,
    links: Arc<TransportLinks>,
}

impl TransportLinks {
    /// Calls `order` for each order. It never keeps the process alive.
    pub(crate) fn new(order: Function<'_, Ordered, ()>) -> Result<Arc<Self>> {
        let order = order.build_threadsafe_function().weak::<true>().build()?;
        Ok(Arc::new(Self {
            order: Mutex::new(Some(order)),
            is_ending: AtomicBool::new(false),
            senders: Mutex::default(),
            last_link: AtomicU32::new(0),
        }))
    }

    /// An event from JavaScript, by its number there.
    pub(crate) fn tell(&self, link: u32, event: u32, bytes: &[u8]) {
        let text = || String::from_utf8_lossy(bytes).into_owned();
        let event = match TransportEvent::of(event) {
            Some(TransportEvent::Ready) => transport::TransportEvent::Ready,
            Some(TransportEvent::Answers) => transport::TransportEvent::Answers(bytes.to_vec()),
            Some(TransportEvent::Subscribed) => transport::TransportEvent::Subscribed,
            Some(TransportEvent::NotSubscribed) => transport::TransportEvent::NotSubscribed(text()),
            Some(TransportEvent::Push) => transport::TransportEvent::Push(bytes.to_vec()),
            Some(TransportEvent::Down) => transport::TransportEvent::Down(text()),
            Some(TransportEvent::Ended) | None => transport::TransportEvent::Ended(text()),
        };
        if let Some(sender) = self.senders().get(&link) {
            sender.send(event);
        }
    }

    fn order(&self, client: u32, link: u32, order: TransportOrder, text: String) {
        let ordered = (client, link, order as u32, text).into();
        let order = lock(&self.order);
        let status = order.as_ref().map(|order| order.call(ordered, ThreadsafeFunctionCallMode::NonBlocking));
        drop(order);
        // Without its sender the core's receiver closes: the session learns that the link is down.
        if status != Some(Status::Ok) {
            self.senders().remove(&link);
        }
    }

    /// The port has no client any more: JavaScript isn't called again after the last open link was closed.
    pub(crate) fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
        self.end_if_last();
    }

    fn end_if_last(&self) {
        if self.is_ending.load(Ordering::SeqCst) && self.senders().is_empty() {
            lock(&self.order).take();
        }
    }

    fn senders(&self) -> MutexGuard<'_, HashMap<u32, EventSender>> {
        lock(&self.senders)
    }
}

impl ClientTransport for JsTransport {
    fn address(&self) -> String {
        self.address.clone()
    }

    fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    fn open(&self, events: EventSender) -> Box<dyn TransportLink> {
        let (client, links) = (self.number, Arc::clone(&self.links));
        let link = links.last_link.fetch_add(1, Ordering::Relaxed) + 1;
        links.senders().insert(link, events);
        links.order(client, link, TransportOrder::Open, String::new());
        Box::new(JsLink { client, link, links })
    }
}

impl TransportLink for JsLink {
    fn send(&mut self, commands: Vec<RedisCommand>) {
        let rows = commands.into_iter().map(|RedisCommand { number, to, words }| {
            let to = match to {
                Destination::Keys => -1,
                Destination::All => -2,
                Destination::One(server) => server as i64,
            };
            (number, to, words)
        });
        let rows: Vec<(u64, i64, Vec<String>)> = rows.collect();
        let text = serde_json::to_string(&rows).unwrap_or_default();
        self.links.order(self.client, self.link, TransportOrder::Send, text);
    }

    fn subscribe(&mut self, channel: String) {
        self.links.order(self.client, self.link, TransportOrder::Subscribe, channel);
    }
}

impl Drop for JsLink {
    fn drop(&mut self) {
        self.links.senders().remove(&self.link);
        self.links.order(self.client, self.link, TransportOrder::Close, String::new());
        self.links.end_if_last();
    }
}
