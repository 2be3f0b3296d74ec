//! Small worlds, every schedule: two or three sessions, one or two slots, a few deeds and one fault, in every order.
//!
//! Sessions and the group are the real ones. A schedule is a list of choices: which call is carried out next, who hears
//! next, who acts, when time goes on, when the fault strikes. Depth first, from the start along each list (sessions can't
//! be copied); states that were seen are not gone on from. After the last choice everything comes to its end in a fixed
//! order, and nothing may be left. What connects does so at once; that is the simulation's to vary.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use concurrency_limit::group::{Group, Receivers};
use concurrency_limit::lease::{Epoch, FencingToken, Key, LeaseId, SessionId, Slot};
use concurrency_limit::moment::Moment;
use concurrency_limit::protocol::{Call, CallError, Caller, Push, Reply, Terms};
use concurrency_limit::session::{ClientId, Event, Output, Request, Session, Settings, Tag};

const CLIENT: ClientId = ClientId(1);
const TAG: Tag = 1;
const LEASE: Duration = Duration::from_secs(3);

/// What one user does, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// Acquires, and releases when it's granted.
    Use,
    /// Acquires, and doesn't want it any more.
    Cancel,
    /// Acquires for half a second at most, and releases when it's granted.
    Hurry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Cut,
    LostPush,
    Crash,
}

/// A small world: its users and what goes wrong once.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    limit: u32,
    plans: &'static [Plan],
    fault: Option<Fault>,
    /// How many choices are free.
    depth: usize,
}

/// One of the things that may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The server carries out what came first on this connection.
    Serve(usize, usize),
    /// The session hears what came first.
    Hear(usize),
    /// The user goes on with its plan.
    Act(usize),
    /// Time goes on to the next deadline.
    Wait,
    Strike(usize),
}

#[derive(Debug)]
enum Up {
    Call(u64, Caller, Call),
    Hangup,
}

#[derive(Debug)]
enum Down {
    Reply(u64, Result<Reply, CallError>),
    Push(Push),
}

#[derive(Debug, Default)]
struct Link {
    up: VecDeque<Up>,
    down: VecDeque<Down>,
    /// The server believes in it.
    served: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Idle,
    Asked,
    Inside,
    Done,
}

#[derive(Debug)]
struct Peer {
    session: Session,
    links: Vec<Link>,
    connected: bool,
    alive: bool,
    plan: Plan,
    stage: Stage,
    answered: bool,
}

#[derive(Debug)]
struct Lease {
    peer: usize,
    slots: Vec<Slot>,
    deadline: Moment,
}

struct World {
    now: Moment,
    limit: u32,
    group: Group,
    peers: Vec<Peer>,
    fault: Option<Fault>,
    faultless: bool,
    inside: Vec<Lease>,
    /// The last token of each slot.
    last: Vec<FencingToken>,
    line: Vec<LeaseId>,
}

impl World {
    fn new(scenario: &Scenario) -> Self {
        let peer = |(number, plan): (usize, &Plan)| {
            let settings = Settings {
                id: SessionId(number as u64 + 1),
                address: "small".into(),
                command_timeout: Duration::from_secs(1),
                connect_timeout: Duration::from_secs(10),
                settle: Duration::from_secs(2),
                impatient: false,
            };
            Peer {
                session: Session::new(settings),
                links: Vec::new(),
                connected: false,
                alive: true,
                plan: *plan,
                stage: Stage::Idle,
                answered: false,
            }
        };
        Self {
            now: Moment::at(Duration::from_secs(1_000)),
            limit: scenario.limit,
            group: Group::default(),
            peers: scenario.plans.iter().enumerate().map(peer).collect(),
            fault: scenario.fault,
            faultless: scenario.fault.is_none(),
            inside: Vec::new(),
            last: vec![FencingToken(0); scenario.limit as usize + 1],
            line: Vec::new(),
        }
    }

    /// All that may happen next, but for time in a world where something else can.
    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (number, peer) in self.peers.iter().enumerate() {
            for (link, it) in peer.links.iter().enumerate() {
                if !it.up.is_empty() {
                    steps.push(Step::Serve(number, link));
                }
            }
            if peer.alive && peer.connected && peer.links.last().is_some_and(|link| !link.down.is_empty()) {
                steps.push(Step::Hear(number));
            }
            if peer.alive && self.may_act(peer) {
                steps.push(Step::Act(number));
            }
        }
        steps
    }

    fn strikes(&self) -> Vec<Step> {
        let may = |(_, peer): &(usize, &Peer)| match self.fault {
            None => false,
            Some(Fault::Cut) => peer.alive && peer.connected,
            Some(Fault::Crash) => peer.alive && peer.stage != Stage::Done,
            Some(Fault::LostPush) => {
                let next = peer.links.last().and_then(|link| link.down.front());
                matches!(next, Some(Down::Push(_)))
            }
        };
        self.peers.iter().enumerate().filter(may).map(|(number, _)| Step::Strike(number)).collect()
    }

    fn may_act(&self, peer: &Peer) -> bool {
        match peer.stage {
            Stage::Idle => true,
            Stage::Asked => peer.plan == Plan::Cancel,
            Stage::Inside => true,
            Stage::Done => false,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Serve(peer, link) => self.serve(peer, link),
            Step::Hear(peer) => self.hear(peer),
            Step::Act(peer) => self.act(peer),
            Step::Wait => self.wait(),
            Step::Strike(peer) => self.strike(peer),
        }
        for peer in 0..self.peers.len() {
            self.pump(peer);
        }
    }

    fn serve(&mut self, peer: usize, link: usize) {
        let Some(up) = self.peers[peer].links[link].up.pop_front() else { return };
        let Up::Call(number, caller, call) = up else {
            self.peers[peer].links[link].served = false;
            return;
        };
        let now_us = 1_700_000_000_000_000 + self.now.since_start().as_micros() as u64;
        let mut told = Vec::new();
        let peers = &self.peers;
        let result = self.group.call(now_us, Epoch(7), &caller, &call.verb, &mut |session, epoch, grants| {
            let of = peers.iter().position(|peer| peer.session.id() == session);
            let ear = of.and_then(|of| Some((of, peers[of].links.iter().rposition(|link| link.served)?)));
            let Some(ear) = ear else { return Receivers::Nobody };
            told.push((ear, Push { key: call.key.clone(), epoch, grants: grants.to_vec() }));
            Receivers::Somebody
        });
        for ((of, ear), push) in told {
            self.peers[of].links[ear].down.push_back(Down::Push(push));
        }
        self.peers[peer].links[link].down.push_back(Down::Reply(number, result));
        self.watch_line();
    }

    /// Who has joined, in order; who is granted out of it must have been the first (R4).
    fn watch_line(&mut self) {
        let picture = self.group.snapshot(0);
        if self.faultless {
            let granted = |id: &LeaseId| picture.leases.iter().any(|lease| lease.id == *id);
            let waits = |id: &LeaseId| picture.waiters.iter().any(|waiter| waiter.id == *id);
            let first_waiting = self.line.iter().position(waits).unwrap_or(usize::MAX);
            let last_granted = self.line.iter().rposition(granted);
            assert!(last_granted.is_none_or(|at| at < first_waiting), "out of order: {picture:?}");
        }
        self.line.retain(|id| picture.waiters.iter().any(|waiter| waiter.id == *id));
        for waiter in &picture.waiters {
            if !self.line.contains(&waiter.id) {
                self.line.push(waiter.id);
            }
        }
    }

    fn hear(&mut self, peer: usize) {
        let now = self.now;
        let it = &mut self.peers[peer];
        match it.links.last_mut().and_then(|link| link.down.pop_front()) {
            Some(Down::Reply(number, result)) => it.session.handle_reply(now, number, result),
            Some(Down::Push(push)) => it.session.handle_push(now, push),
            None => {}
        }
    }

    fn act(&mut self, peer: usize) {
        let (now, limit) = (self.now, self.limit);
        let it = &mut self.peers[peer];
        match (it.stage, it.plan) {
            (Stage::Idle, plan) => {
                it.stage = Stage::Asked;
                it.session.submit(now, request(limit, plan));
            }
            (Stage::Asked, Plan::Cancel) => {
                it.stage = Stage::Done;
                it.session.cancel(CLIENT, TAG);
            }
            (Stage::Inside, plan) => {
                it.stage = Stage::Done;
                self.inside.retain(|lease| lease.peer != peer);
                match plan {
                    Plan::Cancel => it.session.cancel(CLIENT, TAG),
                    Plan::Use | Plan::Hurry => it.session.release(now, CLIENT, TAG),
                }
            }
            (Stage::Asked | Stage::Done, _) => {}
        }
    }

    fn wait(&mut self) {
        let alive = self.peers.iter().filter(|peer| peer.alive);
        let Some(at) = alive.filter_map(|peer| peer.session.poll_deadline()).min() else { return };
        self.now = self.now.max(at);
        for peer in self.peers.iter_mut().filter(|peer| peer.alive) {
            if peer.session.poll_deadline().is_some_and(|at| at <= self.now) {
                peer.session.handle_timeout(self.now);
            }
        }
    }

    fn strike(&mut self, peer: usize) {
        let it = &mut self.peers[peer];
        match self.fault.take() {
            Some(Fault::Cut) => {
                it.break_link();
                it.connected = false;
                it.session.handle_down(self.now, "cut".into());
            }
            Some(Fault::Crash) => {
                it.break_link();
                it.alive = false;
                self.inside.retain(|lease| lease.peer != peer);
            }
            Some(Fault::LostPush) => {
                if let Some(link) = it.links.last_mut() {
                    link.down.pop_front();
                }
            }
            None => {}
        }
    }

    fn pump(&mut self, peer: usize) {
        while self.peers[peer].alive
            && let Some(output) = self.peers[peer].session.poll_output(self.now)
        {
            let it = &mut self.peers[peer];
            match output {
                Output::Connect => {
                    it.links.push(Link { served: true, ..Link::default() });
                    it.connected = true;
                    it.session.handle_connected(self.now, true, Some(Duration::from_secs(1_000)));
                }
                Output::Disconnect => {
                    it.break_link();
                    it.connected = false;
                }
                Output::Call { number, caller, call } => {
                    if let Some(link) = it.links.last_mut() {
                        link.up.push_back(Up::Call(number, caller, call));
                    }
                }
                Output::Event(event) => self.tell(peer, event),
                Output::Keys { .. } => unreachable!("nobody asks for keys here"),
            }
        }
    }

    fn tell(&mut self, peer: usize, event: Event) {
        let now = self.now;
        let it = &mut self.peers[peer];
        match event {
            Event::Granted { lease, .. } => {
                assert!(!std::mem::replace(&mut it.answered, true), "a second answer");
                assert_ne!(it.stage, Stage::Done, "granted after it was cancelled");
                it.stage = Stage::Inside;
                self.inside.retain(|other| now < other.deadline);
                let shared = |slot| self.inside.iter().any(|other| other.slots.contains(slot));
                assert!(!lease.slots.iter().any(shared), "two have a slot: {lease:?} {:?}", self.inside);
                assert!(self.inside.len() < self.limit as usize, "too many inside: {:?}", self.inside);
                for slot in &lease.slots {
                    let last = std::mem::replace(&mut self.last[*slot as usize], lease.token);
                    assert!(lease.token > last, "a token that doesn't grow: {lease:?}");
                }
                self.inside.push(Lease { peer, slots: lease.slots, deadline: lease.deadline });
            }
            Event::Failed { error, .. } => {
                assert!(!std::mem::replace(&mut it.answered, true), "a second answer");
                let may = it.plan != Plan::Use && (error.is_some() == (it.plan == Plan::Hurry));
                assert!(may, "{:?} failed: {error:?}", it.plan);
                it.stage = Stage::Done;
            }
            Event::Lost { .. } => self.inside.retain(|lease| lease.peer != peer),
            Event::Renewed { deadline, .. } => {
                for lease in self.inside.iter_mut().filter(|lease| lease.peer == peer) {
                    lease.deadline = deadline;
                }
            }
            _ => {}
        }
    }

    /// Everything goes on in a fixed order until nothing is left to do.
    fn come_to_an_end(&mut self) {
        for _ in 0..2_000 {
            let step = self.steps().first().copied();
            let done = self.peers.iter().all(|p| !p.alive || (p.stage == Stage::Done && p.session.idle()));
            match step {
                Some(step) => self.take(step),
                None if done => return self.settle_accounts(),
                None => self.take(Step::Wait),
            }
        }
        panic!("never done: {:#?}", self.peers);
    }

    fn settle_accounts(&self) {
        let picture = self.group.snapshot(0);
        let lives =
            |id: &LeaseId| self.peers.iter().any(|peer| peer.alive && peer.session.id() == id.session);
        let holds = picture.leases.iter().find(|lease| lives(&lease.id));
        assert!(holds.is_none(), "a ghost holds: {holds:?}");
        let waits = picture.waiters.iter().find(|waiter| lives(&waiter.id));
        assert!(waits.is_none(), "a ghost waits: {waits:?}");
        assert!(self.peers.iter().all(|peer| !peer.alive || peer.answered), "somebody heard nothing");
    }

    /// Everything that matters for what follows. (Maps in another order look like another state: that costs time only.)
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let group = format!("{:?}", self.group);
        let rest = format!("{:?} {:?} {:?} {:?}", self.peers, self.inside, self.fault, self.line);
        (self.now, group, rest, &self.last).hash(&mut hasher);
        hasher.finish()
    }
}

impl Peer {
    /// What was sent may still be carried out; what was to come is lost.
    fn break_link(&mut self) {
        if let Some(link) = self.links.last_mut().filter(|_| self.connected) {
            link.down.clear();
            link.up.push_back(Up::Hangup);
        }
    }
}

fn request(limit: u32, plan: Plan) -> Request {
    let lease_ms = LEASE.as_millis() as u64;
    Request {
        client: CLIENT,
        tag: TAG,
        key: Key::new("k").expect("a key"),
        terms: Terms {
            limit,
            weight: 1,
            priority: 0,
            lease_ms,
            claim_ms: lease_ms,
            max_waiting: None,
            holder: None,
            label: None,
        },
        timeout: (plan == Plan::Hurry).then_some(Duration::from_millis(500)),
        interval: Duration::from_millis(100),
        renew: true,
        hold: None,
    }
}

/// Walks all schedules of a scenario; how many there are, and how many states.
struct Explorer {
    scenario: Scenario,
    seen: HashSet<u64>,
    schedules: u64,
}

impl Explorer {
    fn explore(scenario: Scenario) {
        let started = Instant::now();
        let mut explorer = Self { scenario, seen: HashSet::new(), schedules: 0 };
        let mut open = vec![Vec::new()];
        while let Some(mut choices) = open.pop() {
            let follow = AssertUnwindSafe(|| explorer.follow(&mut choices, &mut open));
            if let Err(complaint) = catch_unwind(follow) {
                eprintln!("{scenario:?} fails with {choices:?}");
                resume_unwind(complaint);
            }
        }
        println!(
            "{:?}, limit {}, {:?}: {} schedules, {} states, {:?}",
            scenario.plans,
            scenario.limit,
            scenario.fault,
            explorer.schedules,
            explorer.seen.len(),
            started.elapsed()
        );
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
    }
}

/// Two users, or three, and how many choices are free where nothing goes wrong and where something does.
fn all(plans: &'static [Plan], limit: u32, depth: usize, faults: &[Option<Fault>]) {
    for fault in faults {
        Explorer::explore(Scenario { limit, plans, fault: *fault, depth });
    }
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

#[test]
fn three_who_share_two_slots() {
    all(&[Plan::Use, Plan::Hurry, Plan::Cancel], 2, 9, ALL);
}
