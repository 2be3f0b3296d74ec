//! Which request is meant: by the name that its client gave it, and whether an id in Redis is one that was left there.

use super::ids::{AcquisitionId, GroupIndex, IdMap};
use super::input::{ClientId, Tag};
use crate::moment::Moment;

#[derive(Debug, Default)]
pub(super) struct Registry {
    by_name: IdMap<(ClientId, Tag), (GroupIndex, AcquisitionId)>,
    /// Leases that were left to their ends when their client was closed, and when they have ended at the latest.
    left_to_end: IdMap<AcquisitionId, Moment>,
    /// Requests whose grants are checked on the replicas.
    checked: IdMap<AcquisitionId, GroupIndex>,
    registered: u64,
    ended: u64,
}

impl Registry {
    /// Gives a request its id. A later request of the same name takes the name over.
    pub(super) fn register(&mut self, client: ClientId, tag: Tag, group: GroupIndex) -> AcquisitionId {
        self.registered += 1;
        let id = AcquisitionId(self.registered);
        self.by_name.insert((client, tag), (group, id));
        id
    }

    pub(super) fn find(&self, client: ClientId, tag: Tag) -> Option<(GroupIndex, AcquisitionId)> {
        self.by_name.get(&(client, tag)).copied()
    }

    /// The request is over. Its name may be a later request's by now.
    pub(super) fn forget(&mut self, client: ClientId, tag: Tag, id: AcquisitionId) {
        self.ended += 1;
        self.checked.remove(&id);
        if self.find(client, tag).is_some_and(|(_, named)| named == id) {
            self.by_name.remove(&(client, tag));
        }
    }

    /// A request goes on under the id of another, whose lease it has got.
    pub(super) fn rename(&mut self, client: ClientId, tag: Tag, group: GroupIndex, id: AcquisitionId) {
        self.by_name.insert((client, tag), (group, id));
    }

    /// A grant of the request is checked on the replicas.
    pub(super) fn expect_check(&mut self, id: AcquisitionId, group: GroupIndex) {
        self.checked.insert(id, group);
    }

    pub(super) fn group_of_check(&self, id: AcquisitionId) -> Option<GroupIndex> {
        self.checked.get(&id).copied()
    }

    /// No request is left.
    pub(super) fn is_empty(&self) -> bool {
        self.ended == self.registered
    }

    pub(super) fn leave_to_end(&mut self, id: AcquisitionId, until: Moment) {
        self.left_to_end.insert(id, until);
    }

    pub(super) fn is_left_to_end(&self, id: AcquisitionId) -> bool {
        self.left_to_end.contains_key(&id)
    }

    pub(super) fn forget_ended(&mut self, now: Moment) {
        self.left_to_end.retain(|_, until| *until > now);
    }
}
