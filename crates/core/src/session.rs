//! One process's side of all its groups: what it holds, what it waits for, what it has asked and not heard about yet.
//!
//! Pure: no I/O, no clock, no thread. What happens comes in through `submit`, `release`, `cancel`, … and `handle_*`,
//! with the moment as an argument; what is to be done comes out of [`Session::poll_output`] and
//! [`Session::poll_deadline`]. Who may hold is not decided here: that is `group`'s. Kept here: R10 (the local verdict),
//! R12 (unclear outcomes), R20 (confirming), R21 (the safety poll), R23 (leaving), R28 (renewing together), R29 (asking
//! again), R30 (settling).
//!
//! `state` is a record of owners, each with private fields: `groups` has the groups by key, and a group state owns its
//! requests; `queries` has the admin queries. What all groups share is `context`: the `connection`, the pending
//! `calls`, the `timers`, the `clients` and the `registry` of requests by name. `input` and `output` are the nouns that
//! the session exchanges with its driver, and the events come in through `requests`, `replies` and `link`.
//! A file imports only from those below it: `tests/floors.rs` has the order.

mod calls;
mod clients;
mod connection;
mod context;
mod group_state;
mod groups;
mod histogram;
mod ids;
mod input;
mod jitter;
mod link;
mod output;
mod queries;
mod registry;
mod replies;
mod requests;
mod state;
#[cfg(test)]
mod tests;
mod timers;

pub use self::histogram::Histogram;
pub use self::input::{AdminQuery, ClientId, Holding, Request, Settings, Tag};
pub use self::output::{AdminAnswer, Check, Event, Granted, Kept, Output, Stats};
pub use self::state::Session;
