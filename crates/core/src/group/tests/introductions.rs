//! Who sessions are, as a group tells people (R40).

use super::*;
use crate::lease::Identity;
use crate::protocol::Introduction;

impl World {
    fn introduce(&mut self, number: u64, keep_ms: u64) {
        let identity = Arc::new(Identity::new(Some("web-1"), number as u32, None));
        self.group.introduce(self.now_us, session(number), &Introduction { identity, keep_ms });
    }

    /// The process ids of holders and waiters, as far as they are known.
    fn pids(&mut self) -> (Vec<Option<u32>>, Vec<Option<u32>>) {
        let pid = |identity: &Option<Arc<Identity>>| identity.as_ref().map(|identity| identity.pid());
        let picture = self.inspect(Page::default());
        let holders = picture.holders.iter().map(|holder| pid(&holder.identity)).collect();
        (holders, picture.waiters.iter().map(|waiter| pid(&waiter.identity)).collect())
    }
}

#[test]
fn r40_holders_and_waiters_are_shown_with_their_process() {
    let mut world = world();
    world.acquire(id(1, 1), terms(2));
    world.acquire(id(2, 1), terms(2));
    world.acquire(id(1, 2), terms(2));
    world.introduce(1, 10_000);
    assert_eq!(world.pids(), (vec![Some(1), None], vec![Some(1)]));
}

#[test]
fn r40_an_introduction_is_shown_until_its_end_and_then_forgotten() {
    let mut world = world();
    world.acquire(id(1, 1), terms(1));
    world.introduce(1, 10_000);
    world.now_us += 9_999_000;
    assert_eq!(world.pids().0, [Some(1)]);
    world.now_us += 1_000;
    assert_eq!(world.pids().0, [None]);
    world.introduce(2, 10_000);
    let snapshot = world.snapshot();
    assert_eq!(snapshot.introductions.iter().map(|(session, ..)| session.0).collect::<Vec<_>>(), [2]);
}

#[test]
fn r40_a_group_without_state_is_told_nothing() {
    let mut world = world();
    world.introduce(1, 10_000);
    assert_eq!(world.snapshot(), Snapshot::default());
}
