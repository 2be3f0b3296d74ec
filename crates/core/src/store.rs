//! Where groups live, as the driver sees it: a store to connect to, and a link that takes calls and gives events.
//!
//! A store keeps no rule and remembers no call: it doesn't retry, reorder or reconnect, which `session` does. It must
//! keep the order in each group: calls are executed in the order in which they were sent, replies arrive in that order,
//! and a push that was published before a call was executed arrives before that call's reply, if the protocol can do it
//! (RESP3 can).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::lease::{Key, SessionId};
use crate::protocol::{CallError, CallId, Outgoing, Push, Reply};

mod glob;
pub mod memory;
pub mod redis;

/// A place where groups live.
pub trait Store: Send + Sync + 'static {
    /// Opens a link for `session`; its events go to `events`. Bounded in time by the store's own options.
    fn connect(&self, session: SessionId, events: UnboundedSender<LinkEvent>) -> Connecting;

    /// Its address, for errors and events; never with a password.
    fn address(&self) -> String;

    /// Whether a link opens at once, and carries out calls while they are being sent, without I/O and without a
    /// runtime.
    fn is_embedded(&self) -> bool {
        false
    }

    /// What the present attempt to connect waits for, if that is more than the address; never with a password.
    fn waits_for(&self) -> Option<String> {
        None
    }

    /// What checks whether enough replicas have the written data, if the options ask for that.
    fn replicas(&self) -> Option<Box<dyn Replicas>> {
        None
    }
}

/// Checks whether enough replicas have the written data.
pub trait Replicas: Send {
    /// Whether they have all that was written before this call; the error's text says why not.
    fn have_all(&mut self) -> Checking<'_>;
}

/// A check under way.
pub type Checking<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// A link being opened.
pub type Connecting = Pin<Box<dyn Future<Output = Result<(Box<dyn Link>, LinkInfo), ConnectError>> + Send>>;

/// An open link. Dropping it closes it; calls without a reply then stay unclear.
pub trait Link: Send {
    /// Sends requests, in order, without waiting. Never blocks; a dead link reports [`LinkEvent::Down`] once.
    fn send(&mut self, requests: Vec<Outgoing>);
}

/// What a link reports.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkEvent {
    /// The answer to [`Outgoing::Call`].
    Reply {
        /// What it answers.
        id: CallId,
        /// What came of it.
        result: Result<Reply, CallError>,
    },
    /// The answer to [`Outgoing::Keys`]: keys and the next cursor (`"0"` after the last page).
    Keys {
        /// What it answers.
        id: CallId,
        /// What came of it.
        result: Result<(Vec<Key>, String), CallError>,
    },
    /// A push for the session.
    Push(Push),
    /// Pushes don't reach this link any more; calls still do.
    PushLost,
    /// A part of the link is down, and why. The outcome of unanswered calls to its groups is unclear, and later replies
    /// to them are ignored. The link takes new calls to these groups; other groups aren't affected.
    Cut(Part, String),
    /// The link is down, and why. The last event.
    Down(String),
}

/// The groups that share a part of a link.
#[derive(Clone)]
pub struct Part(Arc<dyn Fn(&Key) -> bool + Send + Sync>);

impl Part {
    /// The part of the groups for which this is true.
    pub fn new(has: impl Fn(&Key) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(has))
    }

    /// Whether the group is among them.
    pub fn has(&self, key: &Key) -> bool {
        (self.0)(key)
    }
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Part")
    }
}

/// What a fresh link knows of its other end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkInfo {
    /// Whether the subscription to the session's channel is confirmed.
    pub listens: bool,
    /// How long the server runs at least; `None` where asking isn't permitted (R30).
    pub uptime: Option<Duration>,
    /// What an operator should know of it.
    pub warnings: Vec<String>,
}

/// Why a link couldn't be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    /// For people; without password.
    pub message: String,
    /// Trying again won't help: wrong password, wrong database, an address that can't be.
    pub fatal: bool,
    /// The message has the words of a server that refused. Otherwise nothing answered.
    pub answered: bool,
    /// What an operator should hear of at once, since it's tried again and those who wait go on waiting.
    pub warning: Option<String>,
}

impl ConnectError {
    /// Nothing answered; trying again may help.
    pub(crate) fn silent(message: String) -> Self {
        Self { message, fatal: false, answered: false, warning: None }
    }

    /// The options can't be used, as is found out only now.
    pub(crate) fn unusable(message: String) -> Self {
        Self { fatal: true, ..Self::silent(message) }
    }

    /// A server answered, and refused; trying again may help.
    pub(crate) fn refused(message: String) -> Self {
        Self { answered: true, ..Self::silent(message) }
    }
}
