//! The record of a group's owners.

use super::flow::Flow;
use super::introduced::Introduced;
use super::members::{Acquisition, Members};
use super::poll::SafetyPoll;
use super::sole::Sole;
use crate::lease::Key;
use crate::moment::Moment;
use crate::session::ids::{AcquisitionId, GroupIndex};

#[derive(Debug)]
pub(in crate::session) struct GroupState {
    pub(super) key: Key,
    pub(super) index: GroupIndex,
    pub(super) members: Members,
    pub(super) flow: Flow,
    pub(super) poll: SafetyPoll,
    pub(super) introduced: Introduced,
    pub(super) sole: Sole,
    /// Redis's clock, as the last reply said it.
    pub(super) heard_ms: u64,
    /// When the group's timer is due.
    pub(super) timer: Option<Moment>,
}

impl GroupState {
    pub(in crate::session) fn new(key: Key, index: GroupIndex) -> Self {
        Self {
            key,
            index,
            members: Members::default(),
            flow: Flow::default(),
            poll: SafetyPoll::default(),
            introduced: Introduced::default(),
            sole: Sole::default(),
            heard_ms: 0,
            timer: None,
        }
    }

    pub(in crate::session) fn key(&self) -> &Key {
        &self.key
    }

    pub(in crate::session) fn request(&self, id: AcquisitionId) -> Option<&Acquisition> {
        self.members.get(id)
    }

    pub(in crate::session) fn requests(&self) -> impl Iterator<Item = (AcquisitionId, &Acquisition)> {
        self.members.iter()
    }

    /// How many leases are held, and how many requests wait.
    pub(in crate::session) fn counts(&self) -> (u64, u64) {
        let waiting =
            self.members.waiting_count() + self.members.pending_count() + self.members.inside_count();
        (self.members.held_count() as u64, waiting as u64)
    }

    /// How many slots nobody holds.
    pub(in crate::session) fn idle_count(&self) -> u64 {
        self.members.idle_count() as u64
    }

    /// Nothing is to be done here any more, nor to be heard.
    pub(in crate::session) fn is_idle(&self) -> bool {
        self.members.is_empty() && !self.flow.in_use()
    }
}
