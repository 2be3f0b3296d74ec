//! The world: virtual time, one server, a few processes, and whatever is under way between them.
//!
//! Here is only what moves time. `server` and `process` are the two ends, `users` what people want, `faults` what goes
//! wrong; `audit`, `ledger` and `patience` watch.

use std::collections::HashMap;
use std::time::Duration;

use concurrency_limit::moment::Moment;

use crate::arrivals::Arrivals;
use crate::audit::Audit;
use crate::dice::Dice;
use crate::faults::Faults;
use crate::ledger::Ledger;
use crate::mutants::{Mutant, Mutation};
use crate::network::{LinkId, Message, Network};
use crate::patience::Patience;
use crate::process::Process;
use crate::server::Server;
use crate::trace;

const PROCESSES: usize = 4;

/// How often somebody looks around.
const INSPECTION: Duration = Duration::from_millis(500);

pub(crate) struct World {
    pub(crate) now: Moment,
    pub(crate) dice: Dice,
    pub(crate) faults: Faults,
    /// No more faults and no new requests.
    pub(crate) calm: bool,
    pub(crate) network: Network,
    pub(crate) server: Server,
    pub(crate) processes: Vec<Process>,
    pub(crate) owner: HashMap<LinkId, usize>,
    pub(crate) next_link: LinkId,
    pub(crate) audit: Audit,
    pub(crate) ledger: Ledger,
    pub(crate) patience: Patience,
    pub(crate) arrivals: Arrivals,
    /// Of the key that processes have to themselves in turn.
    pub(crate) limit_alone: u32,
    /// Its slots are kept after their release.
    pub(crate) keeps: bool,
    pub(crate) mutant: Mutant,
    pub(crate) traced: bool,
    inspected_at: Moment,
}

impl World {
    pub(crate) fn new(seed: u64, faults: &Faults, mutation: Option<Mutation>) -> Self {
        let now = Moment::at(Duration::from_secs(1_000));
        let mut world = Self {
            now,
            dice: Dice::new(seed),
            faults: faults.clone(),
            calm: false,
            network: Network::default(),
            server: Server::new(now),
            processes: Vec::new(),
            owner: HashMap::new(),
            next_link: 1,
            audit: Audit::default(),
            ledger: Ledger::new(faults.leave_order()),
            patience: Patience::default(),
            arrivals: Arrivals::new(faults),
            limit_alone: 1 + (seed % 2) as u32,
            keeps: seed.is_multiple_of(3),
            mutant: Mutant::new(mutation),
            traced: false,
            inspected_at: now,
        };
        (0..PROCESSES).for_each(|_| world.start_process());
        world.plan_server_faults();
        world
    }

    /// Says every event, from now on.
    pub(crate) fn trace(&mut self) {
        self.traced = true;
    }

    pub(crate) fn run(&mut self, length: Duration) {
        let end = self.now + length;
        while let Some(at) = self.network.next_at().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            if self.now >= self.inspected_at + INSPECTION {
                self.inspected_at = self.now;
                self.inspect();
            }
            let message = self.network.take().expect("it was there");
            self.deliver(message);
        }
        self.now = end;
    }

    /// No more faults and no new requests: everything that is open must come to its end.
    pub(crate) fn calm_down(&mut self, length: Duration) {
        self.calm = true;
        self.run(length);
    }

    /// At the end nothing may be left anywhere.
    pub(crate) fn must_be_clear(&self) {
        for process in self.processes.iter().filter(|process| process.alive) {
            process.must_be_done();
        }
        for (key, group) in &self.server.groups {
            let snapshot = group.snapshot(self.server_us());
            let now_ms = self.server_us() / 1_000;
            let live: Vec<_> = snapshot.leases.iter().filter(|lease| lease.end_at_ms > now_ms).collect();
            assert!(live.is_empty(), "ghosts hold {key:?}: {live:?}");
            // Waiters of crashed processes leave when they are reached, or with the group; those of living ones are
            // ghosts.
            let living = |id| self.processes.iter().any(|p| p.alive && p.id() == id);
            let ghosts: Vec<_> = snapshot.waiters.iter().filter(|waiter| living(waiter.id.session)).collect();
            assert!(ghosts.is_empty(), "ghosts wait for {key:?}: {ghosts:?}");
        }
        self.local_stores_are_empty();
        assert!(self.audit.granted > 20, "hardly anybody was served: {}", self.audit.granted);
    }

    /// How many slots went on without a call: passed, and kept.
    pub(crate) fn without_a_call(&mut self) -> (u64, u64) {
        let stats = self.processes.iter_mut().map(|process| process.session().stats());
        stats.fold((0, 0), |(passed, reused), stats| (passed + stats.passed, reused + stats.kept.reused))
    }

    pub(crate) fn server_us(&self) -> u64 {
        self.server_us_at(self.now)
    }

    pub(crate) fn server_us_at(&self, moment: Moment) -> u64 {
        1_700_000_000_000_000 + moment.since_start().as_micros() as u64
    }

    pub(crate) fn say(&self, who: &str, what: &str) {
        say(self.now, who, what);
    }

    pub(crate) fn deliver(&mut self, message: Message) {
        if self.traced
            && let Some((who, what)) = trace::describe(&message, &self.owner)
        {
            self.say(&who, &what);
        }
        match message {
            Message::Knock { .. } | Message::Call { .. } | Message::Hangup { .. } => self.serve(message),
            Message::Server(turn) => self.turn(turn),
            Message::Deed { process, deed } => self.act(process, deed),
            Message::Welcome { link, .. }
            | Message::Refusal { link }
            | Message::Reply { link, .. }
            | Message::Push { link, .. }
            | Message::PushLost { link }
            | Message::Down { link }
            | Message::Cut { link } => self.hear(self.owner[&link], link, message),
        }
    }
}

/// One line of what is told of a world.
pub(crate) fn say(now: Moment, who: &str, what: &str) {
    eprintln!("{:>12.6}  {who:<9} {what}", now.since_start().as_secs_f64());
}
