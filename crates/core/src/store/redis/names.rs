//! A store's names on the wire: which commands and which channel stand for a call, a session, a script.
//!
//! Lays out no byte itself: `scripts` and `keys` do.

use redis::{Cmd, Pipeline};

use super::scripts::{self, Layout};
use crate::lease::Epoch;
use crate::protocol::{Call, Caller};

/// What a link needs to say a call.
pub(super) struct Names {
    layout: Layout,
    epochs: Epochs,
}

impl Names {
    pub(super) fn new(layout: Layout, seed: u64) -> Self {
        Self { layout, epochs: Epochs(seed) }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.layout.prefix
    }

    /// Whether the groups are spread over the members of a cluster.
    pub(super) fn of_cluster(&self) -> bool {
        self.layout.cluster
    }

    /// The command that makes these calls, which go together.
    pub(super) fn call(&mut self, caller: &Caller, calls: &[Call]) -> Cmd {
        scripts::command(&self.layout, caller, calls, self.epochs.next())
    }

    /// Adds the question which of the scripts the server has.
    pub(super) fn ask_for_scripts(pipeline: &mut Pipeline) {
        let hashes: Vec<&str> = scripts::telling_hashes().collect();
        pipeline.cmd("SCRIPT").arg("EXISTS").arg(hashes);
    }

    /// Adds the loading of every script.
    pub(super) fn load_scripts(pipeline: &mut Pipeline) {
        for text in scripts::texts() {
            pipeline.cmd("SCRIPT").arg("LOAD").arg(text);
        }
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
