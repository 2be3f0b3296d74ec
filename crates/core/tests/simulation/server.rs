//! The server: real groups, the connections that it serves, and its bad days.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use concurrency_limit::group::{Group, Receivers};
use concurrency_limit::lease::{Epoch, Key, SessionId};
use concurrency_limit::moment::Moment;
use concurrency_limit::protocol::{Call, CallError, CallId, Caller, Push, Reply, Verb};

use crate::faults::Fault;
use crate::network::{LinkId, Message, Turn, Way};
use crate::world::World;

/// So long after its start it refuses nothing. Left out is an empty server that refuses through its whole settling
/// time, so that nobody can re-enter: R30 counts that time from when it answers.
const YOUTH: Duration = Duration::from_secs(4);

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) groups: HashMap<Key, Group>,
    /// What a replica has that lags behind.
    copy: HashMap<Key, Group>,
    links: BTreeMap<LinkId, Line>,
    started_at: Moment,
    /// Since when nothing has been wrong with it.
    pub(crate) steady_since: Moment,
    state: State,
    refuses: bool,
    full: bool,
    /// What arrives while it stands still.
    mail: Vec<Message>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    Down,
    StandsStill,
    Hidden,
}

/// A connection that it serves: whose, to which part of it, and whether pushes go there.
#[derive(Debug)]
struct Line {
    session: SessionId,
    part: usize,
    listens: bool,
}

impl Server {
    pub(crate) fn new(now: Moment) -> Self {
        Self {
            groups: HashMap::new(),
            copy: HashMap::new(),
            links: BTreeMap::new(),
            started_at: Moment::default(),
            steady_since: now,
            state: State::Up,
            refuses: false,
            full: false,
            mail: Vec::new(),
        }
    }

    pub(crate) fn is_steady(&self) -> bool {
        self.state == State::Up && !self.refuses && !self.full
    }

    pub(crate) fn serves(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }

    /// Why it doesn't carry out this call today, if so: a full memory refuses what begins by writing more (R25).
    fn refusal(&self, now: Moment, verb: &Verb) -> Option<CallError> {
        if now < self.started_at + YOUTH {
            return None;
        }
        if self.refuses {
            return Some(CallError::NotExecuted("LOADING Redis is loading the dataset in memory".into()));
        }
        let adds = matches!(verb, Verb::Acquire(_) | Verb::Reconcile { .. });
        (self.full && adds).then(|| CallError::OutOfMemory("OOM command not allowed".into()))
    }
}

impl World {
    pub(crate) fn serve(&mut self, message: Message) {
        if self.server.state == State::StandsStill {
            return self.server.mail.push(message);
        }
        match message {
            Message::Knock { link, part } => self.welcome(link, part),
            Message::Call { link, id, caller, call } if self.server.serves(link) => {
                self.carry_out(link, id, caller, call);
            }
            Message::Hangup { link } => {
                self.server.links.remove(&link);
            }
            _ => {}
        }
    }

    fn welcome(&mut self, link: LinkId, part: usize) {
        let at = self.now + self.dice.ms(0, 3);
        if matches!(self.server.state, State::Down | State::Hidden) {
            return self.network.post(at, Message::Refusal { link });
        }
        let listens = !(self.faults.has(Fault::Deafness) && self.dice.one_in(2));
        let session = self.processes[self.owner[&link]].id();
        self.server.links.insert(link, Line { session, part, listens });
        let uptime = Some(self.now.saturating_since(self.server.started_at));
        self.network.post_in_order(link, Way::ToProcess, at, Message::Welcome { link, listens, uptime });
    }

    /// Pushes go over this connection no more.
    pub(crate) fn deafen(&mut self, link: LinkId) {
        if let Some(line) = self.server.links.get_mut(&link) {
            line.listens = false;
            let at = self.now + self.dice.ms(0, 3);
            self.network.post_in_order(link, Way::ToProcess, at, Message::PushLost { link });
        }
    }

    fn carry_out(&mut self, link: LinkId, id: CallId, caller: Caller, call: Call) {
        let mut told = Vec::new();
        let result = match self.server.refusal(self.now, &call.verb) {
            Some(refusal) => Err(refusal),
            None => self.ask_group(&caller, &call, &mut told),
        };
        self.arrivals.hear(self.now, &call, &result);
        let pushes: Vec<_> = told.iter().map(|(_, push)| push).collect();
        for (name, token) in self.ledger.hear(&caller, &call, &result, &pushes) {
            self.audit.take_over(&call.key, &name, token);
        }
        for (to, push) in told.into_iter().filter_map(|(to, push)| Some((to?, push))) {
            self.send_push(to, push);
        }
        let at = self.now + self.dice.ms(0, 3);
        self.network.post_in_order(link, Way::ToProcess, at, Message::Reply { link, id, result });
    }

    fn ask_group(
        &mut self,
        caller: &Caller,
        call: &Call,
        told: &mut Vec<(Option<LinkId>, Push)>,
    ) -> Result<Reply, CallError> {
        let now_us = self.server_us();
        let fresh = Epoch(self.dice.any());
        let (part, cluster) = (self.part(&call.key), self.is_cluster());
        let group = self.server.groups.entry(call.key.clone()).or_default();
        let links = &self.server.links;
        let result =
            self.mutant.call(group, now_us, fresh, caller, &call.verb, &mut |session, epoch, news| {
                let hears = |line: &Line| line.listens && line.session == session && line.part == part;
                let to = links.iter().filter(|(_, line)| hears(line)).map(|(link, _)| *link).max();
                // In a cluster nobody knows whether a push is heard, and what it grants stands.
                if cluster || to.is_some() {
                    told.push((to, Push { key: call.key.clone(), epoch, news }));
                }
                match to {
                    _ if cluster => Receivers::Unknown,
                    Some(_) => Receivers::Somebody,
                    None => Receivers::Nobody,
                }
            });
        if let (Ok(_), Some(introduction)) = (&result, &call.introduction) {
            group.introduce(now_us, caller.session, introduction);
        }
        result
    }

    fn send_push(&mut self, to: LinkId, push: Push) {
        if self.faults.has(Fault::LostPushes) && !self.calm && self.dice.one_in(3) {
            return self.mutant.push_was_lost(&push);
        }
        let way = if self.faults.has(Fault::LatePushes) { Way::Aside } else { Way::ToProcess };
        let twice = self.faults.has(Fault::DoublePushes) && self.dice.one_in(3);
        for _ in 0..=u8::from(twice) {
            let at = self.now + self.push_delay();
            self.network.post_in_order(to, way, at, Message::Push { link: to, push: push.clone() });
        }
    }

    pub(crate) fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::Stops { empty } => self.stop_server(empty),
            Turn::Starts => self.start_server(),
            Turn::Refuses { length } => {
                self.server.refuses = true;
                self.network.post(self.now + length, Message::Server(Turn::Obeys));
            }
            Turn::Obeys => {
                self.server.refuses = false;
                self.plan_refusals();
            }
            Turn::IsFull { length } => {
                self.server.full = true;
                self.network.post(self.now + length, Message::Server(Turn::HasRoom));
            }
            Turn::HasRoom => {
                self.server.full = false;
                self.plan_full_memory();
            }
            Turn::Hides { length } => {
                self.hide_server();
                self.network.post(self.now + length, Message::Server(Turn::Appears));
            }
            Turn::Appears => {
                if self.server.state == State::Hidden {
                    self.server.state = State::Up;
                }
                self.plan_outage();
            }
            Turn::IsCopied { length } => {
                self.server.copy = self.server.groups.clone();
                self.network.post(self.now + length, Message::Server(Turn::GoesBack));
                return;
            }
            Turn::GoesBack => {
                self.go_back();
                self.plan_rollback();
            }
        }
        self.server.steady_since = self.now;
    }

    /// The replica takes over, without what was written last.
    fn go_back(&mut self) {
        if self.server.state == State::Up && self.server.started_at + YOUTH < self.now {
            self.server.groups = std::mem::take(&mut self.server.copy);
            self.lose_links();
            self.audit.go_back(self.server_us());
            self.ledger.go_back();
        }
    }

    /// It is gone for a while and comes back without its memory, or it only stands still.
    fn stop_server(&mut self, empty: bool) {
        if empty {
            self.server.state = State::Down;
            self.server.groups.clear();
            self.lose_links();
        } else {
            self.server.state = State::StandsStill;
        }
        let at = self.now + self.dice.ms(50, 9_000);
        self.network.post(at, Message::Server(Turn::Starts));
    }

    /// Nobody reaches it for a while; what is under way to it is lost.
    fn hide_server(&mut self) {
        if self.server.state == State::Up {
            self.server.state = State::Hidden;
            self.lose_links();
        }
    }

    fn lose_links(&mut self) {
        for (link, _) in std::mem::take(&mut self.server.links) {
            let at = self.now + self.dice.ms(0, 3);
            self.network.post_in_order(link, Way::ToProcess, at, Message::Down { link });
        }
    }

    fn start_server(&mut self) {
        if self.server.state == State::Down {
            self.server.started_at = self.now;
        }
        self.server.state = State::Up;
        for message in std::mem::take(&mut self.server.mail) {
            self.serve(message);
        }
        self.plan_stop();
    }
}
