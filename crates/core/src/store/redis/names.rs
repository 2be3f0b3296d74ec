//! The commands for calls, and the channel of a session, under a store's prefix. `library` and `keys` make the bytes.

use redis::{Cmd, RedisError, RedisResult, Value};

use super::library::{self, Found, Layout, Way};
use super::reply;
use crate::lease::Epoch;
use crate::protocol::{Call, CallError, Caller, Reply};

/// What a link needs to send calls.
pub(super) struct Names {
    layout: Layout,
    epochs: Epochs,
    library: Found,
}

impl Names {
    pub(super) fn new(layout: Layout, seed: u64) -> Self {
        Self { layout, epochs: Epochs(seed), library: Found::UNASKED }
    }

    /// How the server was found to run the library.
    pub(super) fn found(&mut self, library: Found) {
        self.library = library;
    }

    pub(super) fn prefix(&self) -> &str {
        &self.layout.prefix
    }

    /// Whether the groups are spread over the members of a cluster.
    pub(super) fn of_cluster(&self) -> bool {
        self.layout.cluster
    }

    /// Whether a command that asks for something new is refused as a whole when memory is full. As a script it isn't,
    /// once anything has been written in one of its groups.
    pub(super) fn is_refused_whole(&self) -> bool {
        self.library.way == Way::Function
    }

    /// The command that makes these calls, those of one group one after the other.
    pub(super) fn call(&mut self, caller: &Caller, calls: &[Call]) -> Cmd {
        library::command(&self.layout, caller, calls, self.epochs.next(), self.library.way)
    }

    /// The command to send before the next call, if the library is missing.
    pub(super) fn load(&mut self) -> Option<(Way, Cmd)> {
        self.library.load()
    }

    /// The reply to [`Self::load`]; if it was refused, the next call says so.
    pub(super) fn loaded(&mut self, way: Way, reply: RedisResult<Value>) {
        let _ = self.library.answered(way, reply);
    }

    /// The result of each call of a command, from its reply.
    pub(super) fn results(
        &mut self,
        calls: &[Call],
        reply: RedisResult<Value>,
    ) -> Vec<Result<Reply, CallError>> {
        let results = match reply {
            Ok(value) => reply::parse_each(calls, value),
            Err(error) => vec![Err(self.call_error(&error)); calls.len()],
        };
        let has_written =
            |(call, result): (&Call, &Result<_, _>)| call.verb.asks_for_more() && result.is_ok();
        if calls.iter().zip(&results).any(has_written) {
            self.library.has_written();
        }
        results
    }

    /// What it means that a call was refused. For the way in which it was asked: that will be another one, or the
    /// library be loaded before the next call.
    pub(super) fn call_error(&mut self, error: &RedisError) -> CallError {
        if self.library.is_told_by(error) {
            let (code, detail) = (error.code().unwrap_or_default(), error.detail().unwrap_or_default());
            return CallError::NotExecuted(format!("{code} {detail}"));
        }
        let error = reply::call_error(error);
        if self.of_cluster() { error } else { reply::outside_a_cluster(error) }
    }
}

/// Random epochs from one random seed: a call that may make a group's state brings one, and most don't use it, so that
/// asking the system's generator each time would be waste. (A splitmix64 sequence: no repetition in 2⁶⁴ steps.)
struct Epochs(u64);

impl Epochs {
    fn next(&mut self) -> Epoch {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Epoch(mixed ^ (mixed >> 31))
    }
}
