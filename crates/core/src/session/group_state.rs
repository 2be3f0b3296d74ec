//! The session's side of one group: its requests, what is to be asked next, and the safety poll.
//!
//! `state` is a record of five owners whose fields are their own: `members` (the requests and the sets that they are
//! in), `flow` (what may be sent now), `poll`, `introduced` (whether the group knows who the session is) and `sole`
//! (the note, by which requests wait inside and slots stay idle). The other files are what happens to them, each
//! using those before it: `requests` is one request's life and `leases` one lease's, `slots` and `passing` what goes on
//! without a call, `send` makes calls, `failure` reads errors, `outcomes` reads one answer and `answer` a whole
//! reply or push, `upkeep` is what time does, and `recover` what a lost connection leaves behind.

mod answer;
mod failure;
mod flow;
mod introduced;
mod leases;
mod members;
mod outcomes;
mod passing;
mod poll;
mod recover;
mod requests;
mod send;
mod slots;
mod sole;
mod state;
mod upkeep;

pub(super) use self::members::{Acquisition, State};
pub(super) use self::state::GroupState;
