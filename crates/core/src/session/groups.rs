//! The table of group states: by key and by index, those that have something to ask, and those that are idle.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::group_state::{Acquisition, GroupState};
use super::ids::{AcquisitionId, GroupIndex};
use super::timers::Timers;
use crate::lease::Key;
use crate::moment::Moment;

/// How many groups are remembered in which nothing is left, and for how long. A replica that is promoted without the
/// last writes may still show leases and waiters of this session there.
const IDLE_GROUPS: usize = 256;
pub(super) const IDLE_FOR: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Groups {
    places: Vec<Option<Place>>,
    free: Vec<GroupIndex>,
    by_key: HashMap<Key, GroupIndex>,
    /// They may have something to ask.
    dirty: VecDeque<GroupIndex>,
    idle: VecDeque<GroupIndex>,
}

#[derive(Debug)]
struct Place {
    group: GroupState,
    dirty: bool,
    idle_since: Option<Moment>,
    /// It's among the idle ones, or was when it was last looked at.
    listed_as_idle: bool,
}

impl Groups {
    pub(super) fn find(&self, key: &Key) -> Option<GroupIndex> {
        self.by_key.get(key).copied()
    }

    /// The group of this key; a new one is made if there is none.
    pub(super) fn open(&mut self, key: &Key) -> GroupIndex {
        if let Some(index) = self.find(key) {
            return index;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            GroupIndex(self.places.len() - 1)
        });
        let group = GroupState::new(key.clone(), index);
        self.places[index.0] = Some(Place { group, dirty: false, idle_since: None, listed_as_idle: false });
        self.by_key.insert(key.clone(), index);
        index
    }

    /// A group stays as long as it has a request, a pending call or a timer.
    pub(super) fn get(&self, index: GroupIndex) -> &GroupState {
        &self.places[index.0].as_ref().expect("a group stays as long as it is in use").group
    }

    pub(super) fn get_mut(&mut self, index: GroupIndex) -> &mut GroupState {
        &mut self.place(index).group
    }

    fn place(&mut self, index: GroupIndex) -> &mut Place {
        self.places[index.0].as_mut().expect("a group stays as long as it is in use")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &GroupState> {
        self.places.iter().flatten().map(|place| &place.group)
    }

    /// The groups that are there now.
    pub(super) fn indices(&self, of: impl Fn(&GroupState) -> bool) -> Vec<GroupIndex> {
        let there = |(index, place): (usize, &Option<Place>)| {
            place.as_ref().filter(|place| of(&place.group)).map(|_| GroupIndex(index))
        };
        self.places.iter().enumerate().filter_map(there).collect()
    }

    /// Requests of all groups, oldest first.
    pub(super) fn requests(
        &self,
        of: impl Fn(&GroupState, &Acquisition) -> bool,
    ) -> Vec<(AcquisitionId, GroupIndex)> {
        let mut found = Vec::new();
        for (index, place) in self.places.iter().enumerate() {
            let Some(Place { group, .. }) = place else { continue };
            let these = group.requests().filter(|(_, acquisition)| of(group, acquisition));
            found.extend(these.map(|(id, _)| (id, GroupIndex(index))));
        }
        found.sort_unstable();
        found
    }

    /// The group may have something to ask.
    pub(super) fn mark_dirty(&mut self, index: GroupIndex) {
        if !std::mem::replace(&mut self.place(index).dirty, true) {
            self.dirty.push_back(index);
        }
    }

    /// The next group that may have something to ask, if it's such a one.
    pub(super) fn next_dirty(&mut self, is_such: impl FnOnce(&GroupState) -> bool) -> Option<GroupIndex> {
        let index = *self.dirty.front().filter(|index| is_such(self.get(**index)))?;
        self.dirty.pop_front();
        self.place(index).dirty = false;
        Some(index)
    }

    /// Whether there is a group that may have something to ask.
    pub(super) fn any_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Notes whether anything is left in the group, and drops those that have been idle for long.
    pub(super) fn prune(&mut self, now: Moment, index: GroupIndex, timers: &mut Timers) {
        let place = self.place(index);
        if place.dirty || !place.group.is_idle() {
            place.idle_since = None;
            return;
        }
        place.idle_since = Some(now);
        place.group.stop_timer(timers);
        if !std::mem::replace(&mut place.listed_as_idle, true) {
            self.idle.push_back(index);
        }
        self.drop_idle(now);
    }

    fn drop_idle(&mut self, now: Moment) {
        while let Some(index) = self.idle.front().copied() {
            let many = self.idle.len() > IDLE_GROUPS;
            let place = self.place(index);
            let over = place.idle_since.is_none_or(|since| since + IDLE_FOR <= now);
            if !many && !over {
                return;
            }
            place.listed_as_idle = false;
            let unused = place.idle_since.is_some() && !place.dirty && place.group.is_idle();
            self.idle.pop_front();
            if unused && let Some(place) = self.places[index.0].take() {
                self.by_key.remove(place.group.key());
                self.free.push(index);
            }
        }
    }

    /// A group is in use, or was until just now.
    pub(super) fn any_recent(&self, now: Moment) -> bool {
        let recent = |place: &Place| place.idle_since.is_none_or(|since| now < since + IDLE_FOR);
        self.places.iter().flatten().any(recent)
    }
}
