//! Arrivals: who came when, by the truth of virtual time, and who may be served before whom (R35, R38).
//!
//! Where a process serves itself, the server's line doesn't show the order. So each grant for the key that processes
//! have to themselves in turn is held against those who wait: of its own process nobody may have come before it,
//! unless pushes get lost, and of
//! others only those may be overtaken who joined the server's line after it came, or so shortly before that its process
//! hadn't heard of them.

use std::collections::HashMap;
use std::time::Duration;

use concurrency_limit::group::WaiterSnapshot;
use concurrency_limit::lease::{Key, LeaseId};
use concurrency_limit::moment::Moment;
use concurrency_limit::protocol::{Acquired, Answers, Call, CallError, Reply, Verb};

use crate::faults::{Fault, Faults};
use crate::users::{ALONE, Wanted};
use crate::world::World;

#[derive(Debug)]
pub(crate) struct Arrivals {
    /// When somebody joined the server's line.
    joined: HashMap<LeaseId, Moment>,
    /// How late a process may hear that others wait; nothing is judged where that isn't bounded.
    news: Option<Duration>,
    pub(crate) judged: u64,
}

impl Arrivals {
    pub(crate) fn new(faults: &Faults) -> Self {
        let only = |may: &[Fault]| Fault::ALL.iter().all(|fault| may.contains(fault) || !faults.has(*fault));
        let news = if only(&[Fault::DoublePushes]) {
            Some(Duration::from_millis(10))
        } else if only(&[Fault::DoublePushes, Fault::LostPushes]) {
            // The next confirmation says it, or the note isn't confirmed any more.
            Some(Duration::from_millis(1_020))
        } else {
            None
        };
        Self { joined: HashMap::new(), news, judged: 0 }
    }

    /// A call was carried out.
    pub(crate) fn hear(&mut self, now: Moment, call: &Call, result: &Result<Reply, CallError>) {
        let Ok(Reply { answers: Answers::Acquire(answers), .. }) = result else { return };
        let ids: Vec<LeaseId> = match &call.verb {
            Verb::Acquire(asks) => asks.iter().map(|ask| ask.id).collect(),
            Verb::Join(join) => join.items.iter().map(|ask| ask.id).collect(),
            _ => return,
        };
        for (id, answer) in ids.into_iter().zip(answers) {
            if let Acquired::Queued { .. } = answer {
                self.joined.entry(id).or_insert(now);
            }
        }
    }
}

impl World {
    /// Nobody keeps a slot for long that somebody else waits for (R39).
    pub(crate) fn judge_keeping(&mut self) {
        let Some(news) = self.arrivals.news else { return };
        let Some(group) = self.server.groups.get(&Key::new(ALONE).expect("a key")) else { return };
        let waiters = group.snapshot(self.server_us()).waiters;
        let since = |id: LeaseId| self.arrivals.joined.get(&id).copied();
        let lives = |id: LeaseId| self.processes.iter().any(|it| it.id() == id.session && it.awake());
        let waits = |waiter: &WaiterSnapshot| since(waiter.id).is_some_and(|since| since + news < self.now);
        let Some(waiter) = waiters.into_iter().find(|it| waits(it) && lives(it.id)) else { return };
        for process in self.processes.iter_mut().filter(|process| process.alive) {
            let kept = process.session().stats().kept.now;
            assert!(kept == 0, "{kept} slots are kept by {:?} though {waiter:?} waits", process.id());
        }
    }

    /// A request was granted: nobody else should have been.
    pub(crate) fn judge_arrival(&mut self, process: usize, wanted: &Wanted) {
        let Some(news) = self.arrivals.news.filter(|_| wanted.key.as_str() == ALONE) else { return };
        let it = &self.processes[process];
        // A lost push may hold up who is granted by it.
        let in_order = news < Duration::from_millis(100);
        for other in it.open.values().filter(|other| in_order && other.key == wanted.key) {
            let waits = other.timeout != Some(Duration::ZERO);
            // Where slots are kept, an earlier one may be on its way to the server and back (R39).
            let on_its_way = self.keeps && self.now <= other.asked_at + news;
            let before = waits && !on_its_way && other.asked_at < wanted.asked_at;
            assert!(!before, "{wanted:?} was served before {other:?} of its own process");
        }
        let id = it.id();
        let Some(group) = self.server.groups.get(&Key::new(ALONE).expect("a key")) else { return };
        let picture = group.snapshot(self.server_us());
        for waiter in picture.waiters.iter().filter(|waiter| waiter.id.session != id) {
            let lives = self.processes.iter().any(|it| it.id() == waiter.id.session && it.awake());
            let Some(joined) = self.arrivals.joined.get(&waiter.id).filter(|_| lives) else { continue };
            self.arrivals.judged += 1;
            assert!(
                wanted.asked_at <= *joined + news,
                "{wanted:?} overtook {waiter:?}, which waits since {joined:?}, at {:?}",
                self.now
            );
        }
    }
}
