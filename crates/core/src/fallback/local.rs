//! The second session, with what the first one may hand over to it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::Fallback;
use super::holders::Holders;
use crate::error::Error;
use crate::lease::Key;
use crate::moment::Moment;
use crate::session::{ClientId, Event, Output, Request, Session, Tag};

/// The limit of a request that is let in without one.
pub(super) const NO_LIMIT: u32 = 1_000_000;

/// A request of a client.
pub(super) type Name = (ClientId, Tag);

#[derive(Debug)]
pub(super) struct Local {
    session: Session,
    lifts_limit: bool,
    bound: Duration,
    /// Requests that the first session has, and may fail as out of reach.
    asked: HashMap<Name, Asked>,
    /// Requests that are served here.
    here: HashMap<Name, Served>,
    /// Those of them that wait until the holders have been entered.
    held_back: VecDeque<Name>,
    /// Those of them that go back to the first session, once the second has let go of them.
    returning: HashSet<Name>,
    /// Since when requests have needed this.
    since: Option<Moment>,
    /// The first session has a connection.
    connected: bool,
    /// The leases of Redis that count here, too.
    holders: Holders,
    /// Clients that end, and which of the two sessions have told it: the first with the tag to tell.
    closing: HashMap<ClientId, (Option<Tag>, bool)>,
    events: VecDeque<Event>,
}

/// A request that the first session has.
#[derive(Debug)]
pub(super) struct Asked {
    at: Moment,
    pub(super) request: Request,
    /// Its client doesn't want it any more, though the first session may have failed it before it heard so.
    pub(super) cancelled: bool,
}

/// A request that is served here.
#[derive(Debug)]
struct Served {
    asked: Asked,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    HeldBack,
    Asked,
    Granted,
}

impl Local {
    pub(super) fn new(fallback: Fallback) -> Self {
        Self {
            session: Session::new(fallback.settings),
            lifts_limit: fallback.lifts_limit,
            bound: fallback.bound,
            asked: HashMap::new(),
            here: HashMap::new(),
            held_back: VecDeque::new(),
            returning: HashSet::new(),
            since: None,
            connected: false,
            holders: Holders::default(),
            closing: HashMap::new(),
            events: VecDeque::new(),
        }
    }

    pub(super) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    pub(super) fn poll_output(&mut self, now: Moment) -> Option<Output> {
        self.events.pop_front().map(Output::Event).or_else(|| self.session.poll_output(now))
    }

    pub(super) fn poll_deadline(&self) -> Option<Moment> {
        self.session.poll_deadline()
    }

    /// The first session is asked.
    pub(super) fn note(&mut self, now: Moment, request: &Request) {
        let asked = Asked { at: now, request: request.clone(), cancelled: false };
        self.asked.insert((request.client, request.tag), asked);
    }

    /// The first session is asked again; what is left of the request's time.
    pub(super) fn note_again(&mut self, now: Moment, asked: Asked) -> Request {
        let request = asked.handed_over(now);
        self.asked.insert((request.client, request.tag), asked);
        request
    }

    /// The first session has answered.
    pub(super) fn forget(&mut self, name: Name) -> Option<Asked> {
        self.asked.remove(&name)
    }

    /// Gives a lease back; false if the request isn't served here.
    pub(super) fn release(&mut self, now: Moment, name: Name) -> bool {
        match self.here.get(&name).map(|served| served.stage) {
            Some(Stage::HeldBack) => return self.cancel(name),
            Some(Stage::Asked | Stage::Granted) => self.session.release(now, name.0, name.1),
            None => return false,
        }
        true
    }

    /// Cancels a request; false if it isn't served here.
    pub(super) fn cancel(&mut self, name: Name) -> bool {
        match self.here.remove(&name).map(|served| served.stage) {
            Some(Stage::HeldBack) => self.fail(name, None),
            Some(Stage::Asked | Stage::Granted) => self.session.cancel(name.0, name.1),
            None => return false,
        }
        true
    }

    fn fail(&mut self, (client, tag): Name, error: Option<Error>) {
        self.events.push_back(Event::Failed { client, tag, error });
    }

    /// A request served here is over; what is to be asked of the first session instead.
    pub(super) fn served(&mut self, name: Name) -> Option<Asked> {
        let served = self.here.remove(&name)?;
        self.returning.remove(&name).then_some(served.asked)
    }

    /// A request served here is granted; how long it waited.
    pub(super) fn granted(&mut self, now: Moment, name: Name) -> Duration {
        let Some(served) = self.here.get_mut(&name) else { return Duration::ZERO };
        served.stage = Stage::Granted;
        served.asked.waited(now)
    }

    /// Redis is back: who waits here goes back to it. Called when the second session has nothing more to say, so that
    /// all its grants have been heard of.
    pub(super) fn send_back(&mut self, connected: bool) -> bool {
        if std::mem::replace(&mut self.connected, connected) || !connected {
            return false;
        }
        self.reached();
        self.held_back.clear();
        let waits = |(name, served): (&Name, &Served)| (served.stage != Stage::Granted).then_some(*name);
        let mut waiting: Vec<Name> = self.here.iter().filter_map(waits).collect();
        waiting.sort_unstable_by_key(|name| (self.here[name].asked.at, *name));
        for name in &waiting {
            self.returning.insert(*name);
            match self.here[name].stage {
                Stage::HeldBack => self.fail(*name, None),
                Stage::Asked | Stage::Granted => self.session.cancel(name.0, name.1),
            }
        }
        !waiting.is_empty()
    }

    /// The client doesn't want what the first session has for it.
    pub(super) fn unwant(&mut self, now: Moment, name: Name) {
        if let Some(asked) = self.asked.get_mut(&name) {
            asked.cancelled = true;
        }
        self.leave(now, name);
    }

    /// Redis is reached, or was until now: the bound counts from the next request that needs this.
    pub(super) fn reached(&mut self) {
        self.since = None;
        self.holders.forget_groups();
    }

    /// Whether a request that comes now is served here: not for ever, and not for a client that ends.
    pub(super) fn may_serve(&mut self, now: Moment, client: ClientId) -> bool {
        let over = self.since.is_some_and(|since| now.saturating_since(since) >= self.bound);
        !over && !self.closing.contains_key(&client)
    }

    /// Serves the request; the warning that goes with the first.
    pub(super) fn take_over(&mut self, now: Moment, asked: Asked) -> Option<Event> {
        let first = self.since.is_none();
        self.since.get_or_insert(now);
        let name = (asked.request.client, asked.request.tag);
        self.here.insert(name, Served { asked, stage: Stage::HeldBack });
        self.held_back.push_back(name);
        self.go_on(now);
        let how =
            if self.lifts_limit { "let in without a limit" } else { "limited within this process alone" };
        first.then(|| {
            Event::Warning(format!("Redis is not available: requests are {how} for {:?}", self.bound))
        })
    }

    /// Asks the second session for those who were held back, once it knows of all holders.
    fn go_on(&mut self, now: Moment) {
        while self.holders.all_entered()
            && let Some(name) = self.held_back.pop_front()
        {
            let Some(served) = self.here.get_mut(&name) else { continue };
            served.stage = Stage::Asked;
            let mut request = served.asked.handed_over(now);
            if self.lifts_limit {
                request.terms.limit = NO_LIMIT;
            }
            self.session.submit(now, request);
        }
    }

    /// What the first session holds counts here, too: in this process the limit is held (but for `lifts_limit`).
    pub(super) fn enter_holders(&mut self, now: Moment, key: &Key, redis: &Session) {
        if !self.lifts_limit {
            self.holders.enter_all(now, key, redis, &mut self.session);
        }
    }

    /// The first session holds more in this group than before.
    pub(super) fn grows(&mut self, key: &Key) {
        self.holders.grow(key);
    }

    /// A holder's lease was entered, or renewed, or is gone from here.
    pub(super) fn is_entered(&mut self, now: Moment, tag: Tag) {
        self.holders.answered(tag);
        self.go_on(now);
    }

    /// A holder's lease has no place here.
    pub(super) fn enter_elsewhere(&mut self, now: Moment, tag: Tag) {
        self.holders.enter_elsewhere(now, tag, &mut self.session);
        self.go_on(now);
    }

    /// A lease of Redis is over: it doesn't count here any more.
    pub(super) fn leave(&mut self, now: Moment, name: Name) {
        self.holders.leave(now, name, &mut self.session);
    }

    /// The client ends.
    pub(super) fn close(&mut self, now: Moment, client: ClientId, release: bool) {
        self.closing.insert(client, (None, false));
        let held_back: Vec<Name> =
            self.held_back.iter().filter(|(owner, _)| *owner == client).copied().collect();
        for name in held_back {
            if self.here.remove(&name).is_some() {
                self.fail(name, Some(Error::Closed));
            }
        }
        self.session.close(now, client, Tag::MAX, release);
        // What that frees is for those who stay.
        self.holders.leave_all_of(now, client, &mut self.session);
    }

    /// One of the two sessions has told a client's end, the first one with this tag; the tag, when both have.
    pub(super) fn closed(&mut self, client: ClientId, tag: Option<Tag>) -> Option<Tag> {
        let (first, second) = self.closing.entry(client).or_default();
        match tag {
            Some(tag) => *first = Some(tag),
            None => *second = true,
        }
        let both = first.filter(|_| *second);
        if both.is_some() {
            self.closing.remove(&client);
            self.here.retain(|(owner, _), _| *owner != client);
        }
        both
    }

    pub(super) fn idle(&self) -> bool {
        self.session.idle() && self.asked.is_empty() && self.here.is_empty()
    }
}

impl Asked {
    pub(super) fn waited(&self, now: Moment) -> Duration {
        now.saturating_since(self.at)
    }

    /// The request as the other session gets it: its time-out is what is left of its time.
    fn handed_over(&self, now: Moment) -> Request {
        let left = |timeout: Duration| timeout.saturating_sub(self.waited(now));
        Request { timeout: self.request.timeout.map(left), ..self.request.clone() }
    }
}
