//! A Redis client of the user's own: what the limiter needs from it, and how its answers come back.
//!
//! An embedder implements [`ClientTransport`] over the client; `store/redis/transport` uses it. There is no protocol
//! and no rule here. An implementation keeps the order of a store (`store`): it sends the commands for one group in the
//! order in which it got them, and reports answers in the order in which they arrive.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A client that sends commands for the limiter.
pub trait ClientTransport: Send + Sync + 'static {
    /// Its server, for errors and events; never with a password.
    fn address(&self) -> String;

    /// Whether the server is a cluster.
    fn is_cluster(&self) -> bool;

    /// Opens a link. [`TransportEvent::Ready`] says that commands can be sent; nothing is sent before.
    fn open(&self, events: EventSender) -> Box<dyn TransportLink>;
}

/// One link over a client. Dropping it closes it and its subscription; the client itself stays open.
pub trait TransportLink: Send + 'static {
    /// Sends commands, in order, without waiting. Each is answered in [`TransportEvent::Answers`], unless the link goes
    /// down.
    fn send(&mut self, commands: Vec<RedisCommand>);

    /// Subscribes to a channel, over another connection than the client's: [`TransportEvent::Subscribed`] or
    /// [`TransportEvent::NotSubscribed`] follows.
    fn subscribe(&mut self, channel: String);
}

/// A command to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisCommand {
    /// Comes back with the answer.
    pub number: u64,
    /// Which server gets it.
    pub to: Destination,
    /// The name and the arguments. All are text: only answers have binary names.
    pub words: Vec<String>,
}

/// Which server gets a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The one that has the command's keys.
    Keys,
    /// Every primary; the answer is a list with one answer each, without those that can't be reached.
    All,
    /// The primary with this place in that list.
    One(usize),
}

/// What a link reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportEvent {
    /// Commands can be sent.
    Ready,
    /// Answers in RESP: one list in which each answer follows the number of its command.
    Answers(Vec<u8>),
    /// The subscription is confirmed.
    Subscribed,
    /// There is no subscription, or it has ended, and why.
    NotSubscribed(String),
    /// A message of the channel.
    Push(Vec<u8>),
    /// The client has lost its connection, and why. The outcome of every unanswered command is unclear. The last event.
    Down(String),
    /// The client was closed for good, and how that was noticed. The last event.
    Ended(String),
}

/// Where a link reports its events, in order.
#[derive(Debug, Clone)]
pub struct EventSender(UnboundedSender<TransportEvent>);

impl EventSender {
    /// A sender, and where its events arrive.
    pub fn new() -> (Self, UnboundedReceiver<TransportEvent>) {
        let (sender, events) = unbounded_channel();
        (Self(sender), events)
    }

    /// Reports an event. It is lost when the link was dropped.
    pub fn send(&self, event: TransportEvent) {
        let _ = self.0.send(event);
    }
}

/// A transport as an option. Two are equal if they are the same object.
#[derive(Clone)]
pub struct SharedTransport(Arc<dyn ClientTransport>);

impl SharedTransport {
    /// This transport.
    pub fn new(transport: impl ClientTransport) -> Self {
        Self(Arc::new(transport))
    }

    fn place(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }
}

impl std::ops::Deref for SharedTransport {
    type Target = dyn ClientTransport;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl PartialEq for SharedTransport {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for SharedTransport {}

impl Hash for SharedTransport {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place().hash(state);
    }
}

impl fmt::Debug for SharedTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedTransport({})", self.address())
    }
}
