//! The state behind a session's lock: the session itself, its connections to stores, and its clients.
//!
//! It decides nothing. The order matters in two places. The sessions are told the time first, so that a lease that
//! ended while the process stood still is lost before anybody gets a new one (R10). And events enter the outboxes
//! before the lock is released, so that they stay in order.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::Command;
use super::alert::Alert;
use super::clients::Clients;
use super::outbox::Outbox;
use super::replicas::{Checked, Checks};
use super::store_connection::{StoreConnection, StoreEvent};
use super::wall_clock::WallClock;
use crate::error::Error;
use crate::fallback::{Sessions, Side};
use crate::moment::Moment;
use crate::session::{ClientId, Event, Output};
use crate::store::{ConnectError, LinkEvent};

/// The most events that are read from one store in a row.
const MOST_EVENTS: usize = 64;

/// An embedded store's answers may lead to new calls. After so many rounds on the caller's thread the task goes on.
const MOST_ROUNDS: usize = 64;

/// The resolution of the runtime's timers.
const TICK: Duration = Duration::from_millis(1);

/// The longest sleep. The runtime's clock stands still while a machine is suspended, so the rest of a sleep follows
/// when it resumes: what has ended meanwhile is told no later than this.
const LONGEST: Duration = Duration::from_secs(1);

pub(super) struct DriverState {
    sessions: Sessions,
    redis: StoreConnection,
    /// The fallback's store, if there is a fallback.
    local: Option<StoreConnection>,
    checks: Option<Checks>,
    pub(super) clients: Clients,
    wall: WallClock,
    /// When the task wakes by itself.
    alarm_at: Option<Moment>,
    /// The task has something to do.
    owed: bool,
    /// The session has ended: nothing is done here any more.
    over: bool,
}

impl DriverState {
    pub(super) fn new(
        sessions: Sessions,
        redis: StoreConnection,
        local: Option<StoreConnection>,
        checks: Option<Checks>,
    ) -> Self {
        Self {
            sessions,
            redis,
            local,
            checks,
            clients: Clients::default(),
            wall: WallClock::default(),
            alarm_at: None,
            owed: false,
            over: false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Ends the session; who is still to be told so.
    pub(super) fn end(&mut self) -> Vec<Arc<Outbox>> {
        self.over = true;
        self.redis.disconnect();
        self.local.iter_mut().for_each(StoreConnection::disconnect);
        self.checks = None;
        self.clients.end()
    }

    /// Tells the sessions the time, before anything else; returns it.
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

    /// Every command of a client shows that it is alive.
    pub(super) fn beat(&mut self, now: Moment, client: ClientId) {
        self.sessions.beat(now, client);
    }

    /// Handles what came from servers and from replica checks. Only the task calls this.
    pub(super) fn handle_remote(&mut self, now: Moment, context: &mut Context<'_>) {
        self.handle_events(now, false, context);
        while let Some(Poll::Ready(checked)) = self.checks.as_mut().map(|checks| checks.poll_result(context))
        {
            self.checked(now, checked);
        }
    }

    /// Carries out the sessions' outputs, and those that follow at once from an embedded store's answers. Such a store
    /// wakes `alert`, by `waker`. Requests to a server go on gathering, unless this `sends`.
    pub(super) fn act(&mut self, now: Moment, sends: bool, alert: &Alert, waker: &Waker) {
        let calls = sends || self.redis.is_embedded();
        let has_embedded =
            self.redis.is_embedded() || self.local.as_ref().is_some_and(StoreConnection::is_embedded);
        if !has_embedded {
            return self.carry_out(now, calls);
        }
        alert.look();
        for _ in 0..MOST_ROUNDS {
            self.carry_out(now, calls);
            alert.look();
            if self.handle_events(now, true, &mut Context::from_waker(waker)) == 0 {
                self.owed |= alert.leave();
                return;
            }
        }
        self.owed = true;
    }

    /// Sends what was gathered to the servers. Only the task calls this.
    pub(super) fn send_remote(&mut self) {
        self.redis.send();
        self.local.iter_mut().for_each(StoreConnection::send);
    }

    /// Whether the task has to be woken: something is to be sent, or is due before it wakes by itself.
    pub(super) fn owes(&mut self, now: Moment) -> bool {
        let due = self.sessions.poll_deadline();
        // An alarm that should have rung was stopped along with the machine.
        let late = due.is_some_and(|due| self.alarm_at.is_none_or(|at| due + TICK < at || at <= now));
        let unsent = |to: &StoreConnection| to.has_gathered() && !to.is_embedded();
        std::mem::take(&mut self.owed)
            || late
            || self.sessions.has_gathered()
            || unsent(&self.redis)
            || self.local.as_ref().is_some_and(unsent)
    }

    /// How long until the task's alarm, if it has to be set again. Setting it costs a system call, and under load the
    /// deadline changes with every call, so an alarm that is too early isn't changed.
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

    fn carry_out(&mut self, now: Moment, calls: bool) {
        let next = if calls { Sessions::poll_output } else { Sessions::poll_without_calls };
        while let Some((side, output)) = next(&mut self.sessions, now) {
            match output {
                Output::Event(event) => {
                    let event = self.explained(event);
                    self.clients.tell(event);
                }
                Output::Send(outgoing) => self.connection(side).gather(outgoing),
                Output::Check(check) => {
                    if let Some(checks) = &self.checks {
                        checks.ask(check);
                    }
                }
                Output::Connect => {
                    let session = self.sessions.side(side).id();
                    self.connection(side).connect(session);
                    self.owed |= !self.connection(side).is_embedded();
                }
                Output::Disconnect => self.connection(side).disconnect(),
            }
        }
        for connection in [Some(&mut self.redis), self.local.as_mut()].into_iter().flatten() {
            if connection.is_embedded() {
                connection.send();
            }
        }
    }

    fn connection(&mut self, side: Side) -> &mut StoreConnection {
        match (side, &mut self.local) {
            (Side::Local, Some(local)) => local,
            (Side::Local | Side::Redis, _) => &mut self.redis,
        }
    }

    /// Adds what the opening of a link waits for, which only the store knows.
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

    fn checked(&mut self, now: Moment, (checks, result): Checked) {
        let session = self.sessions.side(Side::Redis);
        checks.into_iter().for_each(|check| session.handle_checked(now, check, &result));
    }

    /// Handles what came from embedded stores, or from the others; how many events.
    fn handle_events(&mut self, now: Moment, embedded: bool, context: &mut Context<'_>) -> usize {
        let mut handled = 0;
        if self.redis.is_embedded() == embedded {
            handled += self.handle_store(now, Side::Redis, context);
        }
        if self.local.as_ref().is_some_and(|local| local.is_embedded() == embedded) {
            handled += self.handle_store(now, Side::Local, context);
        }
        handled
    }

    /// Handles what came from one store, up to a bound; how many events.
    fn handle_store(&mut self, now: Moment, side: Side, context: &mut Context<'_>) -> usize {
        for handled in 0..MOST_EVENTS {
            match self.connection(side).poll_event(context) {
                Poll::Ready(event) => self.handle(now, side, event),
                Poll::Pending => return handled,
            }
        }
        context.waker().wake_by_ref();
        MOST_EVENTS
    }

    fn handle(&mut self, now: Moment, side: Side, event: StoreEvent) {
        let session = self.sessions.side(side);
        match event {
            StoreEvent::Opened(info) => {
                session.handle_connected(now, info.listens, info.uptime);
                info.warnings.into_iter().for_each(|warning| self.clients.tell(Event::Warning(warning)));
            }
            StoreEvent::Failed(ConnectError { message, fatal, answered, warning }) => {
                match answered {
                    true => session.handle_connect_refused(now, message, fatal),
                    false => session.handle_connect_failed(now, message, fatal),
                }
                warning.into_iter().for_each(|warning| self.clients.tell(Event::Warning(warning)));
            }
            StoreEvent::Link(LinkEvent::Reply { id, result }) => session.handle_reply(now, id, result),
            StoreEvent::Link(LinkEvent::Keys { id, result }) => session.handle_keys(now, id, result),
            StoreEvent::Link(LinkEvent::Push(push)) => session.handle_push(now, push),
            StoreEvent::Link(LinkEvent::PushLost) => session.handle_push_lost(now),
            StoreEvent::Link(LinkEvent::Cut(part, reason)) => {
                session.handle_cut(now, |key| part.has(key), reason);
            }
            StoreEvent::Link(LinkEvent::Down(reason)) => {
                session.handle_down(now, reason);
                self.connection(side).disconnect();
            }
        }
    }
}
