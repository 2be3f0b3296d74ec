//! What a session's lock guards: the session itself, its links to stores, and its clients.
//!
//! It decides nothing. The order matters in two places: time is told before anything else, so that whoever lost a lease
//! while the process stood still hears it before anybody gets a new one (R10); and events enter the outboxes before the
//! lock is let go, so that none overtakes another.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Command;
use super::leg::{Leg, News};
use super::outbox::Outbox;
use super::replicas::{Checked, Checks};
use crate::alert::Alert;
use crate::error::Error;
use crate::fallback::{Sessions, Side};
use crate::moment::Moment;
use crate::session::{ClientId, Event, Output};
use crate::store::{ConnectError, LinkEvent};

/// A wall clock that gets ahead by less is being corrected, not set.
const LEAST_JUMP: Duration = Duration::from_millis(500);

/// Events taken off a link before others have their turn.
const MOST_EVENTS: usize = 64;

/// How often what an embedded store brings leads to more for it before the task goes on with that.
const MOST_ROUNDS: usize = 64;

/// What the runtime's timers can't tell apart.
const TICK: Duration = Duration::from_millis(1);

/// The longest sleep. A machine that was suspended wakes with the rest of it still to come, since the runtime's clock
/// stood still, and what has ended meanwhile is told no later than this.
const LONGEST: Duration = Duration::from_secs(1);

pub(super) struct Desk {
    sessions: Sessions,
    redis: Leg,
    /// Where the fallback has its groups, if there is one.
    local: Option<Leg>,
    checks: Option<Checks>,
    clients: HashMap<ClientId, Client>,
    /// Clients with something in `told`.
    fresh: Vec<ClientId>,
    wall: WallClock,
    /// When the task wakes by itself.
    alarm_at: Option<Moment>,
    /// The task has something to do.
    owed: bool,
    /// The session has ended: nothing is done here any more.
    over: bool,
}

struct Client {
    outbox: Arc<Outbox>,
    /// What it is told when the lock is let go.
    told: Vec<Event>,
    /// Its end is told, and nothing after that.
    over: bool,
}

impl Client {
    /// Tells it; true for the first of several.
    fn tell(&mut self, event: Event) -> bool {
        if self.over {
            return false;
        }
        self.over = matches!(event, Event::Closed { .. });
        self.told.push(event);
        self.told.len() == 1
    }
}

/// How far the wall clock is ahead of ours. A machine that was stopped as a whole (a thaw, a migration) may find that
/// our clock stood still while the wall clock, set anew, did not.
#[derive(Default)]
struct WallClock {
    ahead: Option<Duration>,
}

impl WallClock {
    /// How far it has jumped ahead since the last look, if that can't be the usual correction.
    fn jump(&mut self, now: Moment) -> Option<Duration> {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let ahead = wall.saturating_sub(now.since_start());
        let before = self.ahead.replace(ahead)?;
        Some(ahead.saturating_sub(before)).filter(|jump| *jump >= LEAST_JUMP)
    }
}

impl Desk {
    pub(super) fn new(sessions: Sessions, redis: Leg, local: Option<Leg>, checks: Option<Checks>) -> Self {
        Self {
            sessions,
            redis,
            local,
            checks,
            clients: HashMap::new(),
            fresh: Vec::new(),
            wall: WallClock::default(),
            alarm_at: None,
            owed: false,
            over: false,
        }
    }

    pub(super) fn join(&mut self, client: ClientId, outbox: Arc<Outbox>) {
        self.clients.insert(client, Client { outbox, told: Vec::new(), over: false });
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Ends the session; who is still to be told so.
    pub(super) fn end(&mut self) -> Vec<Arc<Outbox>> {
        self.over = true;
        self.redis.disconnect();
        self.local.iter_mut().for_each(Leg::disconnect);
        self.checks = None;
        self.fresh.clear();
        self.clients.drain().map(|(_, client)| client.outbox).collect()
    }

    /// Tells the sessions what time it is, before they hear anything else; now.
    pub(super) fn tell_time(&mut self) -> Moment {
        let now = Moment::now();
        if let Some(length) = self.wall.jump(now) {
            self.sessions.handle_jump(now, length);
        }
        self.sessions.handle_timeout(now);
        now
    }

    pub(super) fn take(&mut self, now: Moment, client: ClientId, command: Command) {
        match command {
            Command::Submit(request) => self.sessions.submit(now, request),
            Command::Release(tag) => self.sessions.release(now, client, tag),
            Command::Cancel(tag) => self.sessions.cancel(now, client, tag),
            Command::Ask(tag, question) => self.sessions.ask(now, client, tag, question),
            Command::Watch(timeout) => self.sessions.watch(now, client, timeout),
            Command::Beat => self.sessions.beat(now, client),
            Command::Close { tag, release } => self.sessions.close(now, client, tag, release),
        }
    }

    /// Whatever a client says is a sign of life.
    pub(super) fn beat(&mut self, now: Moment, client: ClientId) {
        self.sessions.beat(now, client);
    }

    /// Takes in what came from servers and from checks, which only the task hears.
    pub(super) fn hear_far(&mut self, now: Moment, context: &mut Context<'_>) {
        self.hear_legs(now, false, context);
        while let Some(Poll::Ready(checked)) = self.checks.as_mut().map(|checks| checks.poll_result(context))
        {
            self.checked(now, checked);
        }
    }

    /// Does what the sessions have to do, and what follows from that at once. With an embedded store `alert` is what
    /// that wakes, by `waker`.
    pub(super) fn act(&mut self, now: Moment, alert: &Alert, waker: &Waker) {
        let near = self.redis.is_embedded() || self.local.as_ref().is_some_and(Leg::is_embedded);
        if !near {
            return self.carry_out(now);
        }
        alert.look();
        for _ in 0..MOST_ROUNDS {
            self.carry_out(now);
            alert.look();
            if self.hear_legs(now, true, &mut Context::from_waker(waker)) == 0 {
                self.owed |= alert.leave();
                return;
            }
        }
        self.owed = true;
    }

    /// Sends to a server far away what is better sent on this thread; the rest is the task's.
    pub(super) fn send_here(&mut self) {
        self.redis.send_here();
    }

    /// Sends to servers far away what is left.
    pub(super) fn send_far(&mut self) {
        self.redis.send();
        self.local.iter_mut().for_each(Leg::send);
    }

    /// Puts what clients are told into their outboxes: those to be seen to once the lock is let go.
    pub(super) fn post(&mut self) -> Vec<Arc<Outbox>> {
        let mut outboxes = Vec::new();
        for client in self.fresh.drain(..) {
            let Some(Client { outbox, told, over }) = self.clients.get_mut(&client) else { continue };
            outbox.put(told);
            outboxes.push(Arc::clone(outbox));
            if *over {
                self.clients.remove(&client);
            }
        }
        outboxes
    }

    /// Whether the task has to be woken: something is to be sent, or is due before it wakes by itself.
    pub(super) fn owes(&mut self, now: Moment) -> bool {
        let due = self.sessions.poll_deadline();
        // An alarm that should have rung was stopped along with the machine.
        let late = due.is_some_and(|due| self.alarm_at.is_none_or(|at| due + TICK < at || at <= now));
        let far = |leg: &Leg| leg.has_gathered() && !leg.is_embedded();
        std::mem::take(&mut self.owed) || late || far(&self.redis) || self.local.as_ref().is_some_and(far)
    }

    /// For how long the task's alarm is to be set, if it has to be set anew. Setting it costs a system call, so one
    /// that rings too early is left as it is: under load the deadline goes to and fro with every call.
    pub(super) fn alarm(&mut self, now: Moment) -> Option<Duration> {
        let length = self.sessions.poll_deadline()?.saturating_since(now).min(LONGEST);
        let set = self.alarm_at.is_some_and(|at| now < at && at <= now + length + TICK);
        (!set).then(|| {
            self.alarm_at = Some(now + length);
            length
        })
    }

    /// The alarm has rung.
    pub(super) fn rung(&mut self) {
        self.alarm_at = None;
    }

    /// How many clients have ended since the last call.
    pub(super) fn take_closed(&mut self) -> usize {
        self.sessions.take_closed().len()
    }

    fn carry_out(&mut self, now: Moment) {
        while let Some((side, output)) = self.sessions.poll_output(now) {
            match output {
                Output::Event(event) => {
                    let event = self.explained(event);
                    self.book(event);
                }
                Output::Send(outgoing) => self.leg(side).gather(outgoing),
                Output::Check(check) => {
                    if let Some(checks) = &self.checks {
                        checks.ask(check);
                    }
                }
                Output::Connect => {
                    let session = self.sessions.side(side).id();
                    self.leg(side).connect(session);
                    self.owed |= !self.leg(side).is_embedded();
                }
                Output::Disconnect => self.leg(side).disconnect(),
            }
        }
        for leg in [Some(&mut self.redis), self.local.as_mut()].into_iter().flatten() {
            if leg.is_embedded() {
                leg.send();
            }
        }
    }

    fn leg(&mut self, side: Side) -> &mut Leg {
        match (side, &mut self.local) {
            (Side::Local, Some(local)) => local,
            (Side::Local | Side::Redis, _) => &mut self.redis,
        }
    }

    /// While a link is being opened only the store knows what that waits for.
    fn explained(&self, mut event: Event) -> Event {
        if let Event::Failed { error: Some(error), .. } | Event::Answered { answer: Err(error), .. } =
            &mut event
            && let Error::Unavailable { cause, answered: false, .. } = error
            && let Some(what) = self.redis.waits_for()
            && !cause.contains(&what)
        {
            *cause = format!("{cause}; what doesn't answer is {what}");
        }
        event
    }

    fn book(&mut self, event: Event) {
        match event.client() {
            Some(client) => {
                if self.clients.get_mut(&client).is_some_and(|known| known.tell(event)) {
                    self.fresh.push(client);
                }
            }
            None => {
                for (client, known) in &mut self.clients {
                    if known.tell(event.clone()) {
                        self.fresh.push(*client);
                    }
                }
            }
        }
    }

    fn checked(&mut self, now: Moment, (checks, result): Checked) {
        let session = self.sessions.side(Side::Redis);
        checks.into_iter().for_each(|check| session.handle_checked(now, check, &result));
    }

    /// Takes in what came from embedded stores, or from the others; how much it was.
    fn hear_legs(&mut self, now: Moment, embedded: bool, context: &mut Context<'_>) -> usize {
        let mut heard = 0;
        if self.redis.is_embedded() == embedded {
            heard += self.hear_leg(now, Side::Redis, context);
        }
        if self.local.as_ref().is_some_and(|leg| leg.is_embedded() == embedded) {
            heard += self.hear_leg(now, Side::Local, context);
        }
        heard
    }

    /// Takes in what came from one store, some of it where there is very much; how much it was.
    fn hear_leg(&mut self, now: Moment, side: Side, context: &mut Context<'_>) -> usize {
        for heard in 0..MOST_EVENTS {
            match self.leg(side).poll_news(context) {
                Poll::Ready(news) => self.hear(now, side, news),
                Poll::Pending => return heard,
            }
        }
        context.waker().wake_by_ref();
        MOST_EVENTS
    }

    fn hear(&mut self, now: Moment, side: Side, news: News) {
        let session = self.sessions.side(side);
        match news {
            News::Opened(info) => {
                session.handle_connected(now, info.listens, info.uptime);
                info.warnings.into_iter().for_each(|warning| self.book(Event::Warning(warning)));
            }
            News::Failed(ConnectError { message, fatal, answered, warning }) => {
                match answered {
                    true => session.handle_connect_refused(now, message, fatal),
                    false => session.handle_connect_failed(now, message, fatal),
                }
                warning.into_iter().for_each(|warning| self.book(Event::Warning(warning)));
            }
            News::Heard(LinkEvent::Reply { id, result }) => session.handle_reply(now, id, result),
            News::Heard(LinkEvent::Keys { id, result }) => session.handle_keys(now, id, result),
            News::Heard(LinkEvent::Push(push)) => session.handle_push(now, push),
            News::Heard(LinkEvent::PushLost) => session.handle_push_lost(now),
            News::Heard(LinkEvent::Cut(part, reason)) => {
                session.handle_cut(now, |key| part.has(key), reason);
            }
            News::Heard(LinkEvent::Down(reason)) => {
                session.handle_down(now, reason);
                self.leg(side).disconnect();
            }
        }
    }
}
