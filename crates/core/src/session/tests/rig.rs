//! A session, a group and a hand that carries calls between them when the test says so.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::group::{Group, Receivers};
use crate::lease::{Epoch, Key, LeaseId, SessionId};
use crate::moment::Moment;
use crate::protocol::{
    Ask, Call, CallError, CallId, Caller, NoteAsk, Outgoing, Push, Reply, Target, Terms, Verb,
};
use crate::session::{Check, ClientId, Event, Granted, Output, Request, Session, Settings, Tag};

pub(super) const CLIENT: ClientId = ClientId(1);
pub(super) const LIMIT: u32 = 2;

pub(super) fn s(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A request for one slot of two, with a lease of 6 s.
pub(super) fn request(tag: Tag) -> Request {
    let terms = Terms {
        limit: LIMIT,
        weight: 1,
        priority: 0,
        lease_ms: 6_000,
        claim_ms: 6_000,
        max_waiting: None,
        holder: None,
        label: None,
    };
    let key = Key::new("k").expect("a key");
    Request {
        client: CLIENT,
        tag,
        key,
        terms,
        timeout: Some(s(10.0)),
        interval: s(0.1),
        renew: true,
        hold: None,
        keep: Duration::ZERO,
    }
}

pub(super) fn trying_once(tag: Tag) -> Request {
    Request { timeout: Some(Duration::ZERO), ..request(tag) }
}

pub(super) struct Sent {
    pub(super) id: CallId,
    pub(super) caller: Caller,
    pub(super) call: Call,
}

pub(super) struct Rig {
    pub(super) session: Session,
    pub(super) now: Moment,
    /// Calls that wait to be carried out.
    pub(super) sent: Vec<Sent>,
    pub(super) events: Vec<Event>,
    /// What was told of attempts to connect.
    pub(super) attempts: Vec<Event>,
    pub(super) connects: usize,
    pub(super) disconnects: usize,
    /// Pushes that wait to be brought.
    pub(super) pushes: Vec<Push>,
    /// Grants to be checked.
    pub(super) checks: Vec<Check>,
    pub(super) group: Group,
    /// The epoch that a group gets when it's made.
    pub(super) fresh: Epoch,
    others: u64,
}

impl Rig {
    /// A session whose connection isn't open yet.
    pub(super) fn offline() -> Self {
        Self::with(|_| {})
    }

    /// The same, with other settings.
    pub(super) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            id: SessionId(1),
            address: "redis://test".into(),
            command_timeout: s(1.0),
            connect_timeout: s(10.0),
            settle: s(2.0),
            impatient: false,
            identity: None,
            checked: false,
        };
        change(&mut settings);
        Self {
            session: Session::new(settings),
            now: Moment::at(s(1_000.0)),
            sent: Vec::new(),
            events: Vec::new(),
            attempts: Vec::new(),
            connects: 0,
            disconnects: 0,
            pushes: Vec::new(),
            checks: Vec::new(),
            group: Group::default(),
            fresh: Epoch(7),
            others: 0,
        }
    }

    /// A session whose grants are told when replicas have them, with an open connection.
    pub(super) fn checked() -> Self {
        let mut rig = Self::with(|settings| settings.checked = true);
        rig.submit(request(9));
        rig.connect(Some(s(3_600.0)));
        rig.cancel(9);
        rig.live(s(0.1));
        rig.checks.clear();
        rig.events.clear();
        rig
    }

    /// What was to be checked is found on enough replicas, or isn't.
    pub(super) fn check(&mut self, result: Result<(), &str>) {
        for check in std::mem::take(&mut self.checks) {
            self.session.handle_checked(self.now, check, &result.map_err(str::to_owned));
        }
        self.pump();
    }

    /// A session with an open connection and one lease, tag 0.
    pub(super) fn online() -> Self {
        let mut rig = Self::offline();
        rig.session.submit(rig.now, request(0));
        rig.pump();
        rig.connect(Some(s(3_600.0)));
        rig.exchange();
        rig.granted(0);
        rig
    }

    pub(super) fn connect(&mut self, uptime: Option<Duration>) {
        self.session.handle_connected(self.now, true, uptime);
        self.pump();
    }

    pub(super) fn submit(&mut self, request: Request) {
        self.session.submit(self.now, request);
        self.pump();
    }

    pub(super) fn release(&mut self, tag: Tag) {
        self.session.release(self.now, CLIENT, tag);
        self.pump();
    }

    pub(super) fn cancel(&mut self, tag: Tag) {
        self.session.cancel(CLIENT, tag);
        self.pump();
    }

    /// Lets the session say what it wants.
    pub(super) fn pump(&mut self) {
        while let Some(output) = self.session.poll_output(self.now) {
            match output {
                Output::Event(event) => match event {
                    Event::Connecting | Event::Connected | Event::ConnectFailed(_) => {
                        self.attempts.push(event)
                    }
                    event => self.events.push(event),
                },
                Output::Connect => self.connects += 1,
                Output::Disconnect => self.disconnects += 1,
                Output::Send(Outgoing::Call { id, caller, call }) => {
                    self.sent.push(Sent { id, caller, call })
                }
                Output::Check(check) => self.checks.push(check),
                Output::Send(Outgoing::Keys { .. }) => {}
            }
        }
    }

    /// Time passes, each deadline of the session at its moment; nothing is carried out.
    pub(super) fn pass(&mut self, length: Duration) {
        let end = self.now + length;
        while let Some(at) = self.session.poll_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now);
            self.pump();
        }
        self.now = end;
    }

    /// Time passes, and each call is carried out and answered at once; how many there were.
    pub(super) fn live(&mut self, length: Duration) -> usize {
        let end = self.now + length;
        let mut calls = self.exchange();
        while let Some(at) = self.session.poll_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now);
            self.pump();
            calls += self.exchange();
        }
        self.now = end;
        calls
    }

    /// Carries out and answers what was sent, until nothing is left; how many calls.
    pub(super) fn exchange(&mut self) -> usize {
        let mut calls = 0;
        while !self.sent.is_empty() {
            for sent in std::mem::take(&mut self.sent) {
                self.carry_out(sent);
                calls += 1;
            }
            self.bring_pushes();
        }
        calls
    }

    pub(super) fn carry_out(&mut self, sent: Sent) {
        let result = self.call(&sent.caller, &sent.call.verb);
        self.session.handle_reply(self.now, sent.id, result);
        self.pump();
    }

    /// The call that was sent first comes back with an error, and wasn't carried out.
    pub(super) fn refuse(&mut self, error: CallError) {
        let sent = self.sent.remove(0);
        self.session.handle_reply(self.now, sent.id, Err(error));
        self.pump();
    }

    /// The connection is lost; no answer comes any more.
    pub(super) fn cut(&mut self) {
        self.session.handle_down(self.now, "cut".into());
        self.pump();
    }

    fn now_us(&self) -> u64 {
        1_700_000_000_000_000 + self.now.since_start().as_micros() as u64
    }

    pub(super) fn call(&mut self, caller: &Caller, verb: &Verb) -> Result<Reply, CallError> {
        let (now_us, own) = (self.now_us(), self.session.id());
        let pushes = &mut self.pushes;
        self.group.call(now_us, self.fresh, caller, verb, &mut |session, epoch, news| {
            if session == own {
                let key = Key::new("k").expect("a key");
                pushes.push(Push { key, epoch, news });
            }
            Receivers::Somebody
        })
    }

    /// Another process fills a slot; its lease id.
    pub(super) fn other_holds(&mut self) -> LeaseId {
        self.others += 1;
        let id = LeaseId { session: SessionId(2), number: self.others };
        let terms = Arc::new(Terms { lease_ms: 600_000, claim_ms: 5_000, ..request(0).terms });
        let verb = Verb::Acquire(vec![Ask { id, terms, wait: false }]);
        self.call(&other(), &verb).expect("carried out");
        id
    }

    /// Another process keeps both slots: it has had them, and has the note.
    pub(super) fn other_keeps(&mut self) {
        for _ in 0..LIMIT {
            self.other_holds();
        }
        let ask = NoteAsk { limit: LIMIT, number: None, keeps: true };
        self.call(&other(), &Verb::Note(ask)).expect("carried out");
    }

    /// It gives all back.
    pub(super) fn other_gives_back(&mut self) {
        let ids = (1..=self.others).map(|number| LeaseId { session: SessionId(2), number });
        let targets = ids.map(Target::Lease).collect();
        self.call(&other(), &Verb::Release(targets)).expect("carried out");
    }

    /// A process that died left so many waiters in line.
    pub(super) fn dead_waiters(&mut self, many: u64) {
        let dead = Caller { session: SessionId(3), keep_alive_ms: 1, listens: false, ..other() };
        for number in 1..=many {
            let id = LeaseId { session: dead.session, number };
            let ask = Ask { id, terms: Arc::new(request(0).terms), wait: true };
            self.call(&dead, &Verb::Acquire(vec![ask])).expect("carried out");
        }
    }

    /// Somebody asks for a slot under this id, and waits.
    pub(super) fn other_asks_for(&mut self, id: LeaseId) {
        let ask = Ask { id, terms: Arc::new(request(0).terms), wait: true };
        let caller = Caller { session: id.session, ..other() };
        self.call(&caller, &Verb::Acquire(vec![ask])).expect("carried out");
    }

    /// The other process gives its slot back; a push to this session may lie ready then.
    pub(super) fn other_releases(&mut self, id: LeaseId) {
        self.call(&other(), &Verb::Release(vec![Target::Lease(id)])).expect("carried out");
    }

    pub(super) fn bring_pushes(&mut self) {
        for push in std::mem::take(&mut self.pushes) {
            self.session.handle_push(self.now, push);
        }
        self.pump();
    }

    pub(super) fn take_event(&mut self, which: impl Fn(&Event) -> bool) -> Option<Event> {
        let at = self.events.iter().position(which)?;
        Some(self.events.remove(at))
    }

    /// The grant that was told for this tag.
    pub(super) fn granted(&mut self, tag: Tag) -> Granted {
        match self.take_event(|event| matches!(event, Event::Granted { tag: t, .. } if *t == tag)) {
            Some(Event::Granted { lease, .. }) => lease,
            _ => panic!("{tag} isn't granted: {:?}", self.events),
        }
    }

    /// The failure that was told for this tag.
    pub(super) fn failed(&mut self, tag: Tag) -> Option<Error> {
        match self.take_event(|event| matches!(event, Event::Failed { tag: t, .. } if *t == tag)) {
            Some(Event::Failed { error, .. }) => error,
            _ => panic!("{tag} hasn't failed: {:?}", self.events),
        }
    }

    /// The answer that a release of this tag got.
    pub(super) fn released(&mut self, tag: Tag) -> bool {
        match self.take_event(|event| matches!(event, Event::Released { tag: t, .. } if *t == tag)) {
            Some(Event::Released { was_held, .. }) => was_held,
            _ => panic!("{tag} isn't released: {:?}", self.events),
        }
    }

    pub(super) fn held(&self) -> u64 {
        self.group.snapshot(self.now_us()).held
    }
}

fn other() -> Caller {
    Caller { session: SessionId(2), connection: 1, listens: true, settling: false, keep_alive_ms: 600_000 }
}
