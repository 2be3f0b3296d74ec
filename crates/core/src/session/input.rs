//! What a session is told: its options, and what its clients ask of it.
//!
//! Values only. [`super::Session`] decides what comes of them; the options have been checked where they were given.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::lease::{Identity, Key, SessionId, Slot};
use crate::protocol::{Target, Terms};

/// One user of a session, for instance one `Limiter` object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// What the client calls one of its requests; unique within the client.
pub type Tag = u64;

/// What a session must know of its options.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its id.
    pub id: SessionId,
    /// Where the groups are, for errors; without password.
    pub address: String,
    /// How long an answer may take.
    pub command_timeout: Duration,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long after its start a server is asked for nothing new (R30).
    pub settle: Duration,
    /// Whether requests rather fail than wait for a connection: there is a fallback then.
    pub impatient: bool,
    /// What it tells the groups of its process (R40).
    pub identity: Option<Arc<Identity>>,
    /// Whether a grant is told only when enough replicas have it ([`super::Output::Check`]).
    pub checked: bool,
}

impl Settings {
    /// Redis gives no answer.
    pub(super) fn unavailable(&self, cause: impl Into<String>) -> Error {
        self.failure(cause, false, false)
    }

    /// Redis answers, but refuses.
    pub(super) fn refused(&self, cause: impl Into<String>) -> Error {
        self.failure(cause, true, true)
    }

    pub(super) fn failure(&self, cause: impl Into<String>, reached: bool, answered: bool) -> Error {
        Error::Unavailable { address: self.address.clone(), cause: cause.into(), reached, answered }
    }
}

/// A request for a lease.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose.
    pub client: ClientId,
    /// What the client calls it.
    pub tag: Tag,
    /// The group.
    pub key: Key,
    /// The terms; `claim_ms` is set by the session.
    pub terms: Terms,
    /// How long to wait in line; zero tries once, `None` waits for ever.
    pub timeout: Option<Duration>,
    /// How often to poll where pushes don't arrive.
    pub interval: Duration,
    /// Whether the lease is renewed.
    pub renew: bool,
    /// The longest hold.
    pub hold: Option<Duration>,
    /// For how long its slot stays with the session after its release, if nobody else asks; zero for not at all (R39).
    pub keep: Duration,
}

/// A lease that its holder was told of, for another session to count.
#[derive(Debug, Clone)]
pub struct Holding {
    /// Whose it is.
    pub name: (ClientId, Tag),
    /// What was asked for.
    pub terms: Arc<Terms>,
    /// Its slots.
    pub slots: Vec<Slot>,
}

/// What people and operators ask: who holds and waits, which groups exist, clean up, release by name.
#[derive(Debug, Clone, PartialEq)]
pub enum AdminQuery {
    /// Who holds and who waits, all pages.
    Status(Key),
    /// Reap now; how many leases were reaped.
    Clean(Key),
    /// Release a lease by its id or its holder's name, whoever holds it.
    Release(Key, Target),
    /// The counters.
    Stats,
    /// One page of the groups that exist.
    Keys {
        /// A glob over the keys.
        pattern: String,
        /// `"0"` to begin with.
        cursor: String,
    },
}

impl AdminQuery {
    /// The group that it is about.
    pub(super) fn key(&self) -> Option<&Key> {
        match self {
            Self::Status(key) | Self::Clean(key) | Self::Release(key, _) => Some(key),
            Self::Keys { .. } | Self::Stats => None,
        }
    }
}
