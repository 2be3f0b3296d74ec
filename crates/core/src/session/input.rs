//! What a session is told: its options, and what its clients ask of it.
//!
//! Values only. [`super::Session`] decides what comes of them; the options have been checked where they were given.

use std::time::Duration;

use crate::lease::{Key, SessionId};
use crate::protocol::Terms;

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
    /// Whether a grant is told only when enough replicas have it ([`super::Output::Check`]).
    pub checked: bool,
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
    /// How often to look where push isn't to be had.
    pub interval: Duration,
    /// Whether the lease is renewed.
    pub renew: bool,
    /// The longest hold.
    pub hold: Option<Duration>,
}
