//! One session's task: it takes in what clients want and what the link brings, asks the session what there is to do,
//! and does it.
//!
//! It decides nothing. The order matters in one place: time is told before anything else, so that whoever lost a lease
//! while the process stood still hears it before anybody gets a new one (R10).

use std::collections::HashMap;
use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, Sleep, sleep};

use super::leg::{Leg, News};
use super::replicas::{Checked, Checks};
use super::{Command, Inbox, REGISTRY, Shared, Sink, Wish, lock};
use crate::config::Options;
use crate::fallback::{Sessions, Side};
use crate::moment::Moment;
use crate::session::{ClientId, Event, Output};
use crate::store::LinkEvent;

/// A wall clock that gets ahead by less is being corrected, not set.
const LEAST_JUMP: Duration = Duration::from_millis(500);

/// Events taken off a link before clients are served again.
const MOST_EVENTS: usize = 256;

/// The clients of a session, known outside its task so that they can be told if it dies.
pub(super) type Sinks = Mutex<HashMap<ClientId, Arc<dyn Sink>>>;

pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    pub(super) options: Options,
    pub(super) sessions: Sessions,
    pub(super) redis: Leg,
    /// Where the fallback has its groups, if there is one.
    pub(super) local: Option<Leg>,
    pub(super) checks: Option<Checks>,
    pub(super) sinks: Arc<Sinks>,
    pub(super) told: HashMap<ClientId, Vec<Event>>,
    pub(super) wall: WallClock,
}

/// Wakes the task at the sessions' deadline or before it. Setting it earlier costs a system call, so one that rings too
/// early is left as it is: under load the deadline goes to and fro with every call.
struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// What the runtime's timers can't tell apart.
    const TICK: Duration = Duration::from_millis(1);

    /// The longest sleep. A machine that was suspended wakes with the rest of it still to come, since the runtime's
    /// clock stood still, and what has ended meanwhile is told no later than this.
    const LONGEST: Duration = Duration::from_secs(1);

    async fn ring(&mut self, deadline: Option<Moment>) {
        let Some(deadline) = deadline else { return pending().await };
        // The runtime's clock doesn't count suspended time and ours does, so what it was set to before says nothing.
        let at = Instant::now() + deadline.saturating_since(Moment::now()).min(Self::LONGEST);
        if self.0.is_elapsed() || self.0.deadline() > at + Self::TICK {
            self.0.as_mut().reset(at);
        }
        self.0.as_mut().await;
    }
}

/// How far the wall clock is ahead of ours. A machine that was stopped as a whole (a thaw, a migration) may find that
/// our clock stood still while the wall clock, set anew, did not.
#[derive(Default)]
pub(super) struct WallClock {
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

enum Woken {
    Wanted,
    News(Side, News),
    Checked(Checked),
    Due,
}

impl Driver {
    pub(super) async fn run(mut self) {
        let mut alarm = Alarm(Box::pin(sleep(Duration::ZERO)));
        loop {
            let now = self.tell_time();
            self.take_wishes(now);
            self.act(now);
            if self.finish() {
                return;
            }
            match self.wait(&mut alarm).await {
                Woken::Wanted | Woken::Due => {}
                Woken::News(side, news) => self.hear(side, news),
                Woken::Checked(checked) => self.checked(checked),
            }
        }
    }

    /// Tells the sessions what time it is, before they hear anything else; now.
    fn tell_time(&mut self) -> Moment {
        let now = Moment::now();
        if let Some(length) = self.wall.jump(now) {
            self.sessions.handle_jump(now, length);
        }
        self.sessions.handle_timeout(now);
        now
    }

    fn take_wishes(&mut self, now: Moment) {
        let Inbox { joined, wishes } = std::mem::take(&mut *lock(&self.shared.inbox));
        if !joined.is_empty() {
            lock(&self.sinks).extend(joined);
        }
        for (client, wish) in wishes {
            match wish {
                Wish::Command(Command::Submit(request)) => self.sessions.submit(now, request),
                Wish::Command(Command::Release(tag)) => self.sessions.release(now, client, tag),
                Wish::Command(Command::Cancel(tag)) => self.sessions.cancel(now, client, tag),
                Wish::Command(Command::Ask(tag, question)) => self.sessions.ask(now, client, tag, question),
                Wish::Command(Command::Watch(timeout)) => self.sessions.watch(now, client, timeout),
                Wish::Command(Command::Beat) => self.sessions.beat(now, client),
                Wish::Close { tag, release } => self.sessions.close(now, client, tag, release),
            }
        }
    }

    /// Does what the sessions have to do.
    fn act(&mut self, now: Moment) {
        while let Some((side, output)) = self.sessions.poll_output(now) {
            match output {
                Output::Event(event) => self.book(event),
                Output::Send(outgoing) => self.leg(side).gather(outgoing),
                Output::Check(check) => {
                    if let Some(checks) = &self.checks {
                        checks.ask(check);
                    }
                }
                Output::Connect => {
                    let session = self.sessions.side(side).id();
                    self.leg(side).connect(session);
                }
                Output::Disconnect => self.leg(side).disconnect(),
            }
        }
        self.redis.send();
        self.local.iter_mut().for_each(Leg::send);
        let sinks = lock(&self.sinks);
        for (client, events) in self.told.iter_mut().filter(|(_, events)| !events.is_empty()) {
            if let Some(sink) = sinks.get(client) {
                sink.tell(events);
            }
            events.clear();
        }
    }

    fn leg(&mut self, side: Side) -> &mut Leg {
        match (side, &mut self.local) {
            (Side::Local, Some(local)) => local,
            (Side::Local | Side::Redis, _) => &mut self.redis,
        }
    }

    fn book(&mut self, event: Event) {
        match event.client() {
            Some(client) => self.told.entry(client).or_default().push(event),
            None => {
                for client in lock(&self.sinks).keys() {
                    self.told.entry(*client).or_default().push(event.clone());
                }
            }
        }
    }

    /// Lets go of clients that are closed; true when none is left and the session may end.
    fn finish(&mut self) -> bool {
        let closed = self.sessions.take_closed();
        if closed.is_empty() {
            return false;
        }
        let mut registry = lock(&REGISTRY);
        let sessions = registry.get_or_insert_default();
        for client in closed {
            self.told.remove(&client);
            lock(&self.sinks).remove(&client);
            if let Some(entry) = sessions.get_mut(&self.options) {
                entry.clients -= 1;
            }
        }
        // Under the registry's lock: nobody can join between this look and the removal.
        let last = sessions.get(&self.options).is_some_and(|entry| entry.clients == 0);
        if last {
            sessions.remove(&self.options);
        }
        last
    }

    async fn wait(&mut self, alarm: &mut Alarm) -> Woken {
        let deadline = self.sessions.poll_deadline();
        let local = async {
            match &mut self.local {
                Some(local) => local.news().await,
                None => pending().await,
            }
        };
        let checked = async {
            match &mut self.checks {
                Some(checks) => checks.result().await,
                None => pending().await,
            }
        };
        tokio::select! {
            news = self.redis.news() => Woken::News(Side::Redis, news),
            news = local => Woken::News(Side::Local, news),
            Some(checked) = checked => Woken::Checked(checked),
            () = self.shared.wake.notified() => Woken::Wanted,
            () = alarm.ring(deadline) => Woken::Due,
        }
    }

    fn checked(&mut self, (checks, result): Checked) {
        let now = self.tell_time();
        let session = self.sessions.side(Side::Redis);
        checks.into_iter().for_each(|check| session.handle_checked(now, check, &result));
    }

    fn hear(&mut self, side: Side, news: News) {
        let now = self.tell_time();
        let session = self.sessions.side(side);
        match news {
            News::Opened(info) => {
                session.handle_connected(now, info.listens, info.uptime);
                info.warnings.into_iter().for_each(|warning| self.book(Event::Warning(warning)));
            }
            News::Failed(error) if error.answered => {
                session.handle_connect_refused(now, error.message, error.fatal);
            }
            News::Failed(error) => session.handle_connect_failed(now, error.message, error.fatal),
            News::Heard(event) => self.take_events(now, side, event),
        }
    }

    /// An event, and what else lies ready.
    fn take_events(&mut self, now: Moment, side: Side, first: LinkEvent) {
        let mut next = Some(first);
        let mut left = MOST_EVENTS;
        while let Some(event) = next.take() {
            let session = self.sessions.side(side);
            match event {
                LinkEvent::Reply { id, result } => session.handle_reply(now, id, result),
                LinkEvent::Keys { id, result } => session.handle_keys(now, id, result),
                LinkEvent::Push(push) => session.handle_push(now, push),
                LinkEvent::PushLost => session.handle_push_lost(now),
                LinkEvent::Cut(part, reason) => session.handle_cut(now, |key| part.has(key), reason),
                LinkEvent::Down(reason) => {
                    session.handle_down(now, reason);
                    return self.leg(side).disconnect();
                }
            }
            left -= 1;
            if left > 0 {
                next = self.leg(side).ready();
            }
        }
    }
}
