//! Walks every schedule of a small world, depth first, and says which one fails.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use super::scenario::{Scenario, Step};
use super::world::World;

/// Walks all schedules of a scenario; how many there are, and how many states.
pub struct Explorer {
    scenario: Scenario,
    seen: HashSet<u64>,
    schedules: u64,
    /// Slots that went on without a call, in all of them.
    passed: u64,
}

impl Explorer {
    /// How many slots were passed.
    pub fn explore(scenario: Scenario) -> u64 {
        let started = Instant::now();
        let mut explorer = Self { scenario, seen: HashSet::new(), schedules: 0, passed: 0 };
        let mut open = vec![Vec::new()];
        while let Some(mut choices) = open.pop() {
            let follow = AssertUnwindSafe(|| explorer.follow(&mut choices, &mut open));
            if let Err(complaint) = catch_unwind(follow) {
                eprintln!("{scenario:?} fails with {choices:?}");
                resume_unwind(complaint);
            }
        }
        println!(
            "{:?}, limit {}, {:?}: {} schedules, {} states, {} passed, {:?}",
            scenario.plans,
            scenario.limit,
            scenario.fault,
            explorer.schedules,
            explorer.seen.len(),
            explorer.passed,
            started.elapsed()
        );
        explorer.passed
    }

    /// Goes along the choices, then on by always taking the first; what else could be chosen there stays open.
    fn follow(&mut self, choices: &mut Vec<Step>, open: &mut Vec<Vec<Step>>) {
        let mut world = World::new(&self.scenario);
        choices.iter().for_each(|step| world.take(*step));
        while choices.len() < self.scenario.depth {
            if !self.seen.insert(world.fingerprint()) {
                return;
            }
            let mut next = world.steps();
            next.extend(world.strikes());
            if next.len() < 3 {
                next.push(Step::Wait);
            }
            for other in next.drain(1..) {
                let mut branch = choices.clone();
                branch.push(other);
                open.push(branch);
            }
            choices.push(next[0]);
            world.take(next[0]);
        }
        self.schedules += 1;
        world.come_to_an_end();
        self.passed += world.without_a_call();
    }
}
