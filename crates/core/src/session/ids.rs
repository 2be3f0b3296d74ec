//! Typed numbers of what a session keeps, and maps that are keyed by them.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// One request of the session and the lease that comes of it: the number in its lease id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct AcquisitionId(pub(super) u64);

/// The place of a group state in the session's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct GroupIndex(pub(super) usize);

/// One admin query of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct QueryId(pub(super) u64);

pub(super) type IdMap<Id, Value> = HashMap<Id, Value, BuildHasherDefault<IdHasher>>;
pub(super) type IdSet<Id> = HashSet<Id, BuildHasherDefault<IdHasher>>;

/// Hashes numbers that this program counts up itself. Nobody else chooses them, so no keyed hash is needed.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(26) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
