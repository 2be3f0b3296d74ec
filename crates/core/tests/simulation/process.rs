//! A process: a real session, its connection, and what its users have been told.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use concurrency_limit::fallback::{Fallback, Sessions, Side};
use concurrency_limit::lease::{Identity, LeaseId, SessionId};
use concurrency_limit::moment::Moment;
use concurrency_limit::protocol::{Call, Outgoing, Verb};
use concurrency_limit::session::{Check, ClientId, Output, Session, Settings, Tag};

use crate::faults::{Fault, Faults};
use crate::link::Link;
use crate::local::LocalStore;
use crate::network::{Deed, LinkId, Message, Way};
use crate::users::Wanted;
use crate::world::World;

const USERS: u64 = 8;

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) sessions: Sessions,
    /// What its fallback has, if it has one.
    pub(crate) local: LocalStore,
    pub(crate) link: Link,
    id: SessionId,
    pub(crate) alive: bool,
    pub(crate) died_at: Moment,
    pub(crate) suspended: bool,
    /// When it last went on after it was suspended.
    pub(crate) resumed_at: Moment,
    /// Since when nothing has been wrong with it or its connection.
    pub(crate) steady_since: Moment,
    pub(crate) next_tag: Tag,
    /// The client that is closed now and then; the other one, 1, stays.
    pub(crate) guest: ClientId,
    /// When its connection was last made.
    pub(crate) linked_at: Moment,
    /// Requests that wait for their one answer.
    pub(crate) open: HashMap<Tag, Wanted>,
    pub(crate) held: HashMap<Tag, (ClientId, LeaseId)>,
    /// Releases, questions and closings that wait for their one answer.
    pub(crate) releasing: HashSet<Tag>,
    pub(crate) asked: HashSet<Tag>,
    pub(crate) closing: HashSet<Tag>,
    wake_at: Option<Moment>,
    /// What arrived while it was suspended.
    mail: Vec<Message>,
}

impl Process {
    fn new(id: SessionId, now: Moment, faults: &Faults) -> Self {
        let outages = faults.has(Fault::Outages);
        let settings = Settings {
            id,
            address: "sim".into(),
            command_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(10),
            settle: Duration::from_secs(2),
            impatient: outages,
            identity: Some(Arc::new(Identity::new(Some("host"), id.0 as u32, None))),
            checked: faults.has(Fault::FewReplicas),
        };
        let fallback = outages.then(|| Fallback {
            settings: Settings { id: SessionId(!id.0), impatient: false, checked: false, ..settings.clone() },
            lifts_limit: false,
            bound: Duration::from_secs(60),
        });
        Self {
            sessions: Sessions::new(settings, fallback),
            local: LocalStore::default(),
            link: Link::default(),
            id,
            alive: true,
            died_at: now,
            suspended: false,
            resumed_at: Moment::default(),
            steady_since: now,
            next_tag: 1,
            guest: ClientId(2),
            linked_at: now,
            open: HashMap::new(),
            held: HashMap::new(),
            releasing: HashSet::new(),
            asked: HashSet::new(),
            closing: HashSet::new(),
            wake_at: None,
            mail: Vec::new(),
        }
    }

    pub(crate) fn tag(&mut self) -> Tag {
        self.next_tag += 1;
        self.next_tag
    }

    pub(crate) fn awake(&self) -> bool {
        self.alive && !self.suspended
    }

    /// Its session with the server.
    pub(crate) fn session(&mut self) -> &mut Session {
        self.sessions.side(Side::Redis)
    }

    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    fn tell_time(&mut self, now: Moment) {
        self.sessions.handle_timeout(now);
    }

    /// Nobody has waited for longer than its own time.
    pub(crate) fn must_have_answered(&self, now: Moment) {
        let late =
            self.open.values().find(|wanted| wanted.due_at(self.resumed_at).is_some_and(|due| due < now));
        assert!(late.is_none(), "{} never answered {late:?} at {now:?}: {:#?}", self.id, self.sessions);
    }

    /// Everybody has had an answer and nothing is left.
    pub(crate) fn must_be_done(&self) {
        let id = self.id;
        assert!(self.open.is_empty(), "{id} still waits: {:?} {:#?}", self.open, self.sessions);
        assert!(self.held.is_empty(), "{id} still holds: {:?}", self.held);
        assert!(self.releasing.is_empty(), "{id} heard nothing of a release: {:?}", self.releasing);
        assert!(self.asked.is_empty(), "{id} heard no answer: {:?}", self.asked);
        assert!(self.closing.is_empty(), "{id} heard no end: {:?}", self.closing);
        assert!(self.sessions.idle(), "{id} isn't idle: {:#?}", self.sessions);
    }
}

impl World {
    pub(crate) fn start_process(&mut self) {
        let process = self.processes.len();
        let id = SessionId(self.dice.any());
        self.processes.push(Process::new(id, self.now, &self.faults));
        for _ in 0..USERS {
            let at = self.now + self.dice.ms(0, 500);
            self.network.post(at, Message::Deed { process, deed: Deed::Acquire });
        }
        self.plan_process_faults(process);
        self.plan_oddities(process);
    }

    pub(crate) fn hear(&mut self, process: usize, link: LinkId, message: Message) {
        let now = self.now;
        let it = &mut self.processes[process];
        if !it.alive || !it.link.has(link) {
            return;
        }
        if it.suspended {
            return it.mail.push(message);
        }
        it.tell_time(now);
        if !matches!(message, Message::Reply { .. } | Message::Push { .. }) {
            it.steady_since = now;
        }
        if matches!(message, Message::Welcome { .. }) {
            it.linked_at = now;
        }
        match message {
            Message::Welcome { listens, uptime, .. } => match it.link.welcome(link) {
                true => it.session().handle_connected(now, listens, uptime),
                false if !listens => it.session().handle_push_lost(now),
                false => {}
            },
            Message::Refusal { .. } => {
                match it.link.stands() {
                    true => it.session().handle_down(now, "refused".into()),
                    false => it.session().handle_connect_failed(now, "refused".into(), false),
                }
                self.hang_up(process, Some(link));
            }
            Message::Reply { id, result, .. } => it.session().handle_reply(now, id, result),
            Message::Push { push, .. } => it.session().handle_push(now, push),
            Message::PushLost { .. } => it.session().handle_push_lost(now),
            Message::Down { .. } => {
                it.session().handle_down(now, "cut".into());
                self.hang_up(process, Some(link));
            }
            Message::Cut { .. } => self.replace_strand(process, link),
            _ => {}
        }
        self.pump(process);
    }

    pub(crate) fn act(&mut self, process: usize, deed: Deed) {
        let by_users = matches!(
            deed,
            Deed::Acquire | Deed::Release { .. } | Deed::Cancel { .. } | Deed::Ask | Deed::Close
        );
        let now = self.now;
        let it = &mut self.processes[process];
        if !it.alive {
            return;
        }
        if it.suspended && !matches!(deed, Deed::Resume | Deed::Crash) {
            return it.mail.push(Message::Deed { process, deed });
        }
        match deed {
            Deed::Acquire => self.acquire(process),
            Deed::Release { tag } => self.release(process, tag),
            Deed::Cancel { tag } => {
                if let Some(wanted) = it.open.get(&tag) {
                    it.sessions.cancel(now, wanted.client, tag);
                }
            }
            Deed::Checked { check, result } => it.session().handle_checked(now, check, &result),
            Deed::Ask => self.ask(process),
            Deed::Close => self.close(process),
            Deed::Wake => {
                it.wake_at = it.wake_at.filter(|at| *at > now);
                it.tell_time(now);
            }
            Deed::Crash => return self.crash(process),
            Deed::Cut => {
                self.cut(process);
                self.plan_cut(process);
            }
            Deed::CutPart => {
                self.cut_part(process);
                self.plan_part_cut(process);
            }
            Deed::Deafen => {
                if let Some(link) = it.link.first() {
                    self.deafen(link);
                }
                self.plan_deafness(process);
            }
            Deed::Suspend { length } => {
                it.suspended = true;
                return self.network.post(now + length, Message::Deed { process, deed: Deed::Resume });
            }
            Deed::Resume => self.resume(process),
        }
        if by_users { self.pump_on_their_thread(process) } else { self.pump(process) }
    }

    /// Time first: whoever lost a lease meanwhile is told before anything else is heard (R10).
    fn resume(&mut self, process: usize) {
        let it = &mut self.processes[process];
        it.suspended = false;
        it.resumed_at = self.now;
        it.steady_since = self.now;
        it.tell_time(self.now);
        self.pump(process);
        for message in std::mem::take(&mut self.processes[process].mail) {
            self.deliver(message);
        }
        self.plan_suspend(process);
    }

    fn crash(&mut self, process: usize) {
        if self.calm {
            return;
        }
        self.cut(process);
        self.processes[process].alive = false;
        self.processes[process].died_at = self.now;
        self.audit.bury(process);
        self.start_process();
    }

    /// Does what the process's session has to do.
    pub(crate) fn pump(&mut self, process: usize) {
        self.pump_by(process, Sessions::poll_output);
    }

    /// The same on the thread of one of its users: what is to be asked gathers until the core's thread has a turn.
    fn pump_on_their_thread(&mut self, process: usize) {
        self.pump_by(process, Sessions::poll_without_calls);
        if self.processes[process].sessions.has_gathered() {
            let at = self.now + self.dice.ms(0, 1);
            self.network.post(at, Message::Deed { process, deed: Deed::Wake });
        }
    }

    fn pump_by(&mut self, process: usize, poll: fn(&mut Sessions, Moment) -> Option<(Side, Output)>) {
        while let Some((side, output)) = poll(&mut self.processes[process].sessions, self.now) {
            match output {
                Output::Event(event) => self.tell(process, event),
                output if side == Side::Local => self.serve_locally(process, output),
                Output::Check(check) => self.check(process, check),
                Output::Connect => self.connect(process),
                Output::Disconnect => {
                    self.processes[process].steady_since = self.now;
                    self.hang_up(process, None);
                }
                Output::Send(Outgoing::Call { id, caller, call }) => {
                    let Some(link) = self.processes[process].link.strand_to(&call.key) else { continue };
                    check_batch(&call);
                    let at = self.now + self.dice.ms(0, 3);
                    let message = Message::Call { link, id, caller, call };
                    self.network.post_in_order(link, Way::ToServer, at, message);
                }
                Output::Send(Outgoing::Keys { .. }) => unreachable!("nobody asks for keys here"),
            }
        }
        self.processes[process].sessions.take_closed();
        self.plan_wake(process);
    }

    /// Replicas are asked whether they have a grant; on some days too few of them say so.
    fn check(&mut self, process: usize, check: Check) {
        let fails = self.faults.has(Fault::FewReplicas) && !self.calm && self.dice.one_in(3);
        let result = if fails { Err("too few".into()) } else { Ok(()) };
        let at = self.now + self.dice.ms(0, 200);
        self.network.post(at, Message::Deed { process, deed: Deed::Checked { check, result } });
    }

    fn plan_wake(&mut self, process: usize) {
        let it = &mut self.processes[process];
        if let Some(at) = it.sessions.poll_deadline()
            && it.wake_at.is_none_or(|planned| at < planned || planned < self.now)
        {
            let at = at.max(self.now);
            it.wake_at = Some(at);
            self.network.post(at, Message::Deed { process, deed: Deed::Wake });
        }
    }
}

/// No call touches more than the protocol allows (R26).
fn check_batch(call: &Call) {
    let many = match &call.verb {
        Verb::Acquire(items) => items.len(),
        Verb::Release(items) => items.len(),
        Verb::Leave(items) => items.len(),
        Verb::Reconcile { items, .. } => items.len(),
        Verb::Renew(renew) => renew.leases.len() + renew.waiters.len(),
        Verb::Join(join) => join.items.len(),
        Verb::Inspect(_) | Verb::Clean | Verb::Note(_) => 0,
    };
    assert!(many <= 200, "{many} items in a call");
}
