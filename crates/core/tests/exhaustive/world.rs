//! A small world: real sessions, a real group, and what is under way between them. One step at a time.
//!
//! Chooses nothing: it says what may happen next and does as it's told. What mustn't happen, `verdict` sees.

mod peer;
mod verdict;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use concurrency_limit::group::{Group, Receivers};
use concurrency_limit::lease::{Epoch, FencingToken, Key, LeaseId, SessionId, Slot, Ticket};
use concurrency_limit::moment::Moment;
use concurrency_limit::protocol::{Outgoing, Push, Terms};
use concurrency_limit::session::{ClientId, Output, Request, Tag};

use self::peer::{Down, Link, Peer, Stage, Up};
use super::scenario::{Fault, Plan, Scenario, Step};

const CLIENT: ClientId = ClientId(1);
const LEASE: Duration = Duration::from_secs(3);

#[derive(Debug)]
struct Lease {
    peer: usize,
    tag: Tag,
    slots: Vec<Slot>,
    deadline: Moment,
}

pub struct World {
    now: Moment,
    limit: u32,
    group: Group,
    peers: Vec<Peer>,
    fault: Option<Fault>,
    faultless: bool,
    inside: Vec<Lease>,
    /// The last token of each slot.
    last: Vec<FencingToken>,
    /// Who waits in the group, by place.
    line: Vec<(Ticket, LeaseId)>,
}

impl World {
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            now: Moment::at(Duration::from_secs(1_000)),
            limit: scenario.limit,
            group: Group::default(),
            peers: (1..).zip(scenario.plans).map(|(id, plan)| Peer::new(SessionId(id), *plan)).collect(),
            fault: scenario.fault,
            faultless: scenario.fault.is_none(),
            inside: Vec::new(),
            last: vec![FencingToken(0); scenario.limit as usize + 1],
            line: Vec::new(),
        }
    }

    /// All that may happen next, but for time in a world where something else can.
    pub fn steps(&self) -> Vec<Step> {
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
            if peer.alive && peer.next_deed().is_some() {
                steps.push(Step::Act(number));
            }
        }
        steps
    }

    pub fn strikes(&self) -> Vec<Step> {
        let may = |(_, peer): &(usize, &Peer)| match self.fault {
            None => false,
            Some(Fault::Cut) => peer.alive && peer.connected,
            Some(Fault::Crash) => peer.alive && !peer.is_done(),
            Some(Fault::LostPush) => {
                let next = peer.links.last().and_then(|link| link.down.front());
                matches!(next, Some(Down::Push(_)))
            }
        };
        self.peers.iter().enumerate().filter(may).map(|(number, _)| Step::Strike(number)).collect()
    }

    pub fn take(&mut self, step: Step) {
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
        let Up::Call(id, caller, call) = up else {
            self.peers[peer].links[link].served = false;
            return;
        };
        let now_us = 1_700_000_000_000_000 + self.now.since_start().as_micros() as u64;
        let mut told = Vec::new();
        let peers = &self.peers;
        let result = self.group.call(now_us, Epoch(7), &caller, &call.verb, &mut |session, epoch, news| {
            let of = peers.iter().position(|peer| peer.session.id() == session);
            let to = of.and_then(|of| Some((of, peers[of].links.iter().rposition(|link| link.served)?)));
            let Some(to) = to else { return Receivers::Nobody };
            told.push((to, Push { key: call.key.clone(), epoch, news }));
            Receivers::Somebody
        });
        for ((of, link), push) in told {
            self.peers[of].links[link].down.push_back(Down::Push(push));
        }
        self.peers[peer].links[link].down.push_back(Down::Reply(id, result));
        self.watch_line();
    }

    fn hear(&mut self, peer: usize) {
        let now = self.now;
        let it = &mut self.peers[peer];
        match it.links.last_mut().and_then(|link| link.down.pop_front()) {
            Some(Down::Reply(id, result)) => it.session.handle_reply(now, id, result),
            Some(Down::Push(push)) => it.session.handle_push(now, push),
            None => {}
        }
    }

    fn act(&mut self, peer: usize) {
        let (now, limit) = (self.now, self.limit);
        let it = &mut self.peers[peer];
        let Some(tag) = it.next_deed() else { return };
        let at = tag as usize;
        match (it.stages[at], it.plan) {
            (Stage::Idle, plan) => {
                it.stages[at] = Stage::Asked;
                it.session.submit(now, request(limit, plan, tag));
            }
            (Stage::Asked, Plan::Cancel) => {
                it.stages[at] = Stage::Done;
                it.session.cancel(CLIENT, tag);
            }
            (Stage::Inside, plan) => {
                it.stages[at] = Stage::Done;
                self.inside.retain(|lease| (lease.peer, lease.tag) != (peer, tag));
                match plan {
                    Plan::Cancel => it.session.cancel(CLIENT, tag),
                    _ => it.session.release(now, CLIENT, tag),
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
                Output::Send(Outgoing::Call { id, caller, call }) => {
                    if let Some(link) = it.links.last_mut() {
                        link.up.push_back(Up::Call(id, caller, call));
                    }
                }
                Output::Event(event) => self.tell(peer, event),
                Output::Send(Outgoing::Keys { .. }) | Output::Check(_) => {
                    unreachable!("nobody asks for keys here")
                }
            }
        }
    }

    /// Everything goes on in a fixed order until nothing is left to do.
    pub fn come_to_an_end(&mut self) {
        for _ in 0..2_000 {
            let step = self.steps().first().copied();
            let done = self.peers.iter().all(|p| !p.alive || (p.is_done() && p.session.idle()));
            match step {
                Some(step) => self.take(step),
                None if done => return self.check_end(),
                None => self.take(Step::Wait),
            }
        }
        panic!("never done: {:#?}", self.peers);
    }

    /// How many slots went on without a call: passed, or kept.
    pub fn without_a_call(&self) -> u64 {
        let stats = self.peers.iter().map(|peer| peer.session.stats());
        stats.map(|stats| stats.passed + stats.kept.reused).sum()
    }

    /// Everything that matters for what follows. (Maps in another order look like another state: that costs time only.)
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let group = format!("{:?}", self.group);
        let rest = format!("{:?} {:?} {:?} {:?}", self.peers, self.inside, self.fault, self.line);
        (self.now, group, rest, &self.last).hash(&mut hasher);
        hasher.finish()
    }
}

fn request(limit: u32, plan: Plan, tag: Tag) -> Request {
    let lease_ms = LEASE.as_millis() as u64;
    Request {
        client: CLIENT,
        tag,
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
        timeout: match plan {
            Plan::Hurry => Some(Duration::from_millis(500)),
            Plan::Try => Some(Duration::ZERO),
            _ => None,
        },
        interval: Duration::from_millis(100),
        renew: true,
        hold: None,
        keep: if plan == Plan::Keep { LEASE / 3 } else { Duration::ZERO },
    }
}
