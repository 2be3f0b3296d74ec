//! A client of Redis that somebody else owns: what the limiter asks of it, and how it is told what comes back.
//!
//! No protocol and no rule is here, and nothing is carried: an embedder implements [`Carrier`] over the client that its
//! user brings, `store/redis/relay` speaks through it. What a carrier owes is the order of a store (`store`): commands
//! for one group are sent in the order in which they were given, and answers are told in the order in which they come.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A client that carries commands.
pub trait Carrier: Send + Sync + 'static {
    /// Where it leads, for errors and events: never with a password.
    fn address(&self) -> String;

    /// Whether that is a cluster.
    fn is_cluster(&self) -> bool;

    /// Begins a link. As soon as commands can be sent at once the ear hears [`Word::Ready`]; nothing is sent before.
    fn open(&self, ear: Ear) -> Box<dyn Carriage>;
}

/// One link over a carrier. Dropping it ends it, its subscription included; the client itself stays open.
pub trait Carriage: Send + 'static {
    /// Sends commands, in order, without waiting. Each is answered in [`Word::Answers`], unless the link goes down.
    fn carry(&mut self, errands: Vec<Errand>);

    /// Subscribes to a channel, apart from the client's own connection: [`Word::Listens`] or [`Word::Deaf`] follows.
    fn listen(&mut self, channel: String);
}

/// A command on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// Comes back with the answer.
    pub number: u64,
    /// Which server gets it.
    pub to: To,
    /// The command's words. Every one is a text: binary names exist in the protocol's answers only.
    pub words: Vec<String>,
}

/// Which server gets a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// The one that has the command's keys.
    Keys,
    /// Every primary; the answer is a list with one answer each, without those that can't be reached.
    All,
    /// The primary with this place in that list.
    One(usize),
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// Commands can be sent.
    Ready,
    /// Answers in RESP: one list of numbers of errands, each followed by its answer.
    Answers(Vec<u8>),
    /// The subscription is confirmed.
    Listens,
    /// There is no subscription, or no longer one, and why.
    Deaf(String),
    /// What was published to the channel.
    Push(Vec<u8>),
    /// The client has lost its connection, and why; what has no answer yet stays unclear. Nothing follows.
    Down(String),
    /// The client was closed for good, and by what sign. Nothing follows.
    Ended(String),
}

/// Where a carriage tells what comes back, in order.
#[derive(Debug, Clone)]
pub struct Ear(UnboundedSender<Word>);

impl Ear {
    /// An ear, and where its words arrive.
    pub fn new() -> (Self, UnboundedReceiver<Word>) {
        let (sender, words) = unbounded_channel();
        (Self(sender), words)
    }

    /// Tells. Words to a link that was dropped are lost.
    pub fn hear(&self, word: Word) {
        let _ = self.0.send(word);
    }
}

/// A carrier as one of the options: two are the same if they are one and the same carrier.
#[derive(Clone)]
pub struct Carried(Arc<dyn Carrier>);

impl Carried {
    /// This carrier.
    pub fn new(carrier: impl Carrier) -> Self {
        Self(Arc::new(carrier))
    }

    fn place(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }
}

impl std::ops::Deref for Carried {
    type Target = dyn Carrier;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl PartialEq for Carried {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Carried {}

impl Hash for Carried {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place().hash(state);
    }
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Carried({})", self.address())
    }
}
