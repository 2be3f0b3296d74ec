//! What can go wrong, as few kinds as a caller has answers to; each says what to do now.

use std::time::Duration;

use crate::lease::{Key, Slot};

/// An error of the limiter.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The group was full until the request's time was over. Come back later, or with a longer time.
    #[error("{key:?} is full: {held} of {limit} held, {waiting} waiting, waited {waited:?}")]
    LimitExceeded {
        /// The group.
        key: Key,
        /// The request's limit.
        limit: u32,
        /// How long it waited.
        waited: Duration,
        /// Slots held.
        held: u64,
        /// Requests in line.
        waiting: u64,
        /// Until the earliest lease ends.
        retry_after: Option<Duration>,
    },
    /// `max_waiting` requests already wait. Shed the load.
    #[error("{key:?} has {waiting} requests in line, {max_waiting} may wait")]
    QueueFull {
        /// The group.
        key: Key,
        /// The request's bound.
        max_waiting: u64,
        /// Requests in line.
        waiting: u64,
    },
    /// The lease ended before it was released. Stop the work that it covered.
    #[error("the lease of slot {slot} of {key:?} was lost: {why}")]
    LeaseLost {
        /// The group.
        key: Key,
        /// Its (lowest) slot.
        slot: Slot,
        /// How that came.
        why: Loss,
    },
    /// Redis gave no answer within the request's own time. The state there settles by itself.
    #[error("{address} is not available: {cause}")]
    Unavailable {
        /// Where, without password.
        address: String,
        /// What was seen.
        cause: String,
        /// The connection stood: Redis refused, for instance without memory, or without the rights.
        reached: bool,
        /// The cause is what a server said, or what came of its answers. Otherwise nothing answered.
        answered: bool,
    },
    /// An option can't be used. Mend the program.
    #[error("{option}: {}", what_is_wrong(.given, .expected))]
    Config {
        /// Which option.
        option: &'static str,
        /// What it was.
        given: String,
        /// What it may be.
        expected: String,
    },
    /// The limiter is closed.
    #[error("the limiter is closed")]
    Closed,
    /// The group's keys hold something else, or an answer can't be understood. Look at Redis.
    #[error("{key:?}: {message}")]
    Protocol {
        /// The group.
        key: Key,
        /// What was seen.
        message: String,
    },
}

/// Stands for a URL that can't be used, in which there may be a password. What is expected is then a whole sentence
/// that says what is wrong.
pub(crate) const UNREPEATED: &str = "a url that can't be used";

impl Error {
    /// An option that can't be used.
    pub(crate) fn config(option: &'static str, given: impl ToString, expected: &str) -> Self {
        Self::Config { option, given: given.to_string(), expected: expected.into() }
    }
}

fn what_is_wrong(given: &str, expected: &str) -> String {
    if given == UNREPEATED { expected.to_owned() } else { format!("got {given}, expected {expected}") }
}

/// How a lease came to be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loss {
    /// No renewal was confirmed in time, by the local clock.
    Expired,
    /// Redis doesn't have it any more: released by someone else, or the state was lost and it couldn't re-enter.
    Gone,
    /// Its holder name was acquired again elsewhere.
    TakenOver,
    /// It was held for as long as it may be.
    HeldTooLong,
    /// It isn't renewed, by the caller's choice, and its time is over.
    NotRenewed,
    /// Its client showed no sign of life for longer than it had allowed itself.
    Stalled,
}

impl Loss {
    /// For people and for the `why` of the Node API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "no renewal was confirmed in time",
            Self::Gone => "Redis no longer has it",
            Self::TakenOver => "taken over",
            Self::HeldTooLong => "held for longer than limitHold",
            Self::NotRenewed => "its time is over and it is not renewed",
            Self::Stalled => "the event loop stood still for longer than stallTimeout",
        }
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
