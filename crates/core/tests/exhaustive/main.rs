//! Small worlds, every schedule: two or three sessions, one or two slots, a few deeds and one fault, in every order.
//!
//! Sessions and the group are the real ones. A schedule is a list of choices: which call is carried out next, who hears
//! next, who acts, when time goes on, when the fault strikes. Depth first, from the start along each list (sessions
//! can't be copied); states that were seen are not gone on from. After the last choice everything comes to its end in a
//! fixed order, and nothing may be left. What connects does so at once; that is the simulation's to vary.

mod explorer;
mod scenario;
mod world;

use explorer::Explorer;
use scenario::{Fault, Plan, Scenario};

/// Two users, or three, and how many choices are free where nothing goes wrong and where something does.
fn all(plans: &'static [Plan], limit: u32, depth: usize, faults: &[Option<Fault>]) -> u64 {
    let explore = |fault: &Option<Fault>| Explorer::explore(Scenario { limit, plans, fault: *fault, depth });
    faults.iter().map(explore).sum()
}

const ALL: &[Option<Fault>] = &[None, Some(Fault::Cut), Some(Fault::LostPush), Some(Fault::Crash)];

#[test]
fn two_who_share_one_slot() {
    all(&[Plan::Use, Plan::Use], 1, 12, ALL);
}

#[test]
fn one_who_cancels_beside_one_who_waits() {
    all(&[Plan::Cancel, Plan::Use], 1, 12, ALL);
}

#[test]
fn one_whose_time_is_over_beside_one_who_holds() {
    all(&[Plan::Use, Plan::Hurry], 1, 12, ALL);
}

#[test]
fn three_who_share_one_slot() {
    all(&[Plan::Use, Plan::Cancel, Plan::Use], 1, 9, ALL);
}

/// The crowd's process gets the note; the other one ends it, or comes too late for it.
#[test]
fn a_crowd_in_one_process_beside_one_who_comes() {
    assert!(all(&[Plan::Crowd, Plan::Use], 1, 12, ALL) > 0);
    assert!(all(&[Plan::Crowd, Plan::Hurry], 1, 12, ALL) > 0);
}

#[test]
fn two_crowds() {
    assert!(all(&[Plan::Crowd, Plan::Crowd], 1, 11, ALL) > 0);
}

/// The other one takes the slot before it's kept, gets what is kept, or finds it in use again.
#[test]
fn one_who_keeps_its_slot_beside_one_who_comes() {
    assert!(all(&[Plan::Keep, Plan::Use], 1, 11, ALL) > 0);
    assert!(all(&[Plan::Keep, Plan::Try], 1, 11, ALL) > 0);
}

#[test]
fn two_who_keep_their_slots() {
    assert!(all(&[Plan::Keep, Plan::Keep], 1, 10, ALL) > 0);
}

#[test]
fn three_who_share_two_slots() {
    all(&[Plan::Use, Plan::Hurry, Plan::Cancel], 2, 9, ALL);
}
