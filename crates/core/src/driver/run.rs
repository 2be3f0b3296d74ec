//! One session's task: it takes in what clients want and what the link brings, asks the session what there is to do, and
//! does it.
//!
//! It decides nothing. The order matters in one place: time is told before anything else, so that whoever lost a lease
//! while the process stood still hears it before anybody gets a new one (R10).

use std::collections::HashMap;
use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, Sleep, sleep};

use super::{Command, Inbox, REGISTRY, Shared, Sink, Wish, lock};
use crate::config::Options;
use crate::moment::Moment;
use crate::session::{ClientId, Event, Output, Session};
use crate::store::{ConnectError, Connecting, Link, LinkEvent, LinkInfo, Request, Store};

/// A wall clock that gets ahead by less is being corrected, not set.
const LEAST_JUMP: Duration = Duration::from_millis(500);

/// Events taken off a link before clients are served again.
const MOST_EVENTS: usize = 256;

/// The clients of a session, known outside its task so that they can be told if it dies.
pub(super) type Sinks = Mutex<HashMap<ClientId, Arc<dyn Sink>>>;

pub(super) struct Driver {
    shared: Arc<Shared>,
    options: Options,
    session: Session,
    store: Arc<dyn Store>,
    link: Option<Wire>,
    sinks: Arc<Sinks>,
    told: HashMap<ClientId, Vec<Event>>,
    wall: WallClock,
}

/// Wakes the task at the session's deadline or before it. Setting it earlier costs a system call, so one that rings too
/// early is left as it is: under load the deadline goes to and fro with every call.
struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// What the runtime's timers can't tell apart.
    const TICK: Duration = Duration::from_millis(1);

    async fn ring(&mut self, deadline: Option<Moment>) {
        let Some(deadline) = deadline else { return pending().await };
        // The runtime's clock doesn't count suspended time and ours does, so what it was set to before says nothing.
        let at = Instant::now() + deadline.saturating_since(Moment::now());
        if self.0.is_elapsed() || self.0.deadline() > at + Self::TICK {
            self.0.as_mut().reset(at);
        }
        self.0.as_mut().await;
    }
}

/// How far the wall clock is ahead of ours. A machine that was stopped as a whole (a thaw, a migration) may find that our
/// clock stood still while the wall clock, set anew, did not.
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

/// A link, or one that is being opened.
struct Wire {
    events: UnboundedReceiver<LinkEvent>,
    end: End,
}

enum End {
    Opening(Connecting),
    Open(Box<dyn Link>),
}

enum Woken {
    Wanted,
    Opened(Result<(Box<dyn Link>, LinkInfo), ConnectError>),
    Heard(LinkEvent),
    Due,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        options: Options,
        session: Session,
        store: Arc<dyn Store>,
        sinks: Arc<Sinks>,
    ) -> Self {
        Self {
            shared,
            options,
            session,
            store,
            link: None,
            sinks,
            told: HashMap::new(),
            wall: WallClock::default(),
        }
    }

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
                Woken::Opened(result) => self.opened(result),
                Woken::Heard(event) => self.heard(event),
            }
        }
    }

    /// Tells the session what time it is, before it hears anything else; now.
    fn tell_time(&mut self) -> Moment {
        let now = Moment::now();
        if let Some(length) = self.wall.jump(now) {
            self.session.handle_jump(now, length);
        }
        if self.session.poll_deadline().is_some_and(|at| at <= now) {
            self.session.handle_timeout(now);
        }
        now
    }

    fn take_wishes(&mut self, now: Moment) {
        let Inbox { joined, wishes } = std::mem::take(&mut *lock(&self.shared.inbox));
        if !joined.is_empty() {
            lock(&self.sinks).extend(joined);
        }
        for (client, wish) in wishes {
            match wish {
                Wish::Command(Command::Submit(request)) => self.session.submit(now, request),
                Wish::Command(Command::Release(tag)) => self.session.release(now, client, tag),
                Wish::Command(Command::Cancel(tag)) => self.session.cancel(client, tag),
                Wish::Command(Command::Ask(tag, question)) => self.session.ask(now, client, tag, question),
                Wish::Command(Command::Watch(timeout)) => self.session.watch(now, client, timeout),
                Wish::Command(Command::Beat) => self.session.beat(now, client),
                Wish::Close { tag, release } => self.session.close(now, client, tag, release),
            }
        }
    }

    /// Does what the session has to do.
    fn act(&mut self, now: Moment) {
        let mut requests = Vec::new();
        while let Some(output) = self.session.poll_output(now) {
            match output {
                Output::Event(event) => self.book(event),
                Output::Call { number, caller, call } => {
                    requests.push(Request::Call { number, caller, call });
                }
                Output::Keys { number, pattern, cursor } => {
                    requests.push(Request::Keys { number, pattern, cursor });
                }
                Output::Connect => {
                    let (sender, events) = unbounded_channel();
                    let end = End::Opening(self.store.connect(self.session.id(), sender));
                    self.link = Some(Wire { events, end });
                }
                Output::Disconnect => self.link = None,
            }
        }
        if let Some(Wire { end: End::Open(link), .. }) = &mut self.link
            && !requests.is_empty()
        {
            link.send(requests);
        }
        let sinks = lock(&self.sinks);
        for (client, events) in self.told.iter_mut().filter(|(_, events)| !events.is_empty()) {
            if let Some(sink) = sinks.get(client) {
                sink.tell(events);
            }
            events.clear();
        }
    }

    fn book(&mut self, event: Event) {
        let client = match &event {
            Event::Granted { client, .. }
            | Event::Failed { client, .. }
            | Event::Released { client, .. }
            | Event::Lost { client, .. }
            | Event::Renewed { client, .. }
            | Event::Answered { client, .. }
            | Event::Closed { client, .. } => *client,
            Event::Disconnected(_) | Event::Reconnected | Event::PushUnavailable | Event::Warning(_) => {
                for client in lock(&self.sinks).keys() {
                    self.told.entry(*client).or_default().push(event.clone());
                }
                return;
            }
        };
        self.told.entry(client).or_default().push(event);
    }

    /// Lets go of clients that are closed; true when none is left and the session may end.
    fn finish(&mut self) -> bool {
        let closed = self.session.take_closed();
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
        let deadline = self.session.poll_deadline();
        let wire = async {
            match &mut self.link {
                None => pending().await,
                Some(Wire { end: End::Opening(opening), .. }) => Woken::Opened(opening.await),
                Some(Wire { events, .. }) => match events.recv().await {
                    Some(event) => Woken::Heard(event),
                    None => Woken::Heard(LinkEvent::Down("the connection's task has ended".into())),
                },
            }
        };
        tokio::select! {
            woken = wire => woken,
            () = self.shared.wake.notified() => Woken::Wanted,
            () = alarm.ring(deadline) => Woken::Due,
        }
    }

    fn opened(&mut self, result: Result<(Box<dyn Link>, LinkInfo), ConnectError>) {
        let now = self.tell_time();
        match result {
            Ok((link, info)) => {
                if let Some(wire) = &mut self.link {
                    wire.end = End::Open(link);
                }
                self.session.handle_connected(now, info.listens, info.uptime);
                info.warnings.into_iter().for_each(|warning| self.book(Event::Warning(warning)));
            }
            Err(error) => {
                self.link = None;
                self.session.handle_connect_failed(now, error.message, error.fatal);
            }
        }
    }

    /// An event, and what else lies ready.
    fn heard(&mut self, first: LinkEvent) {
        let now = self.tell_time();
        let mut next = Some(first);
        let mut left = MOST_EVENTS;
        while let Some(event) = next.take() {
            match event {
                LinkEvent::Reply { number, result } => self.session.handle_reply(now, number, result),
                LinkEvent::Keys { number, result } => self.session.handle_keys(now, number, result),
                LinkEvent::Push(push) => self.session.handle_push(now, push),
                LinkEvent::PushLost => self.session.handle_push_lost(now),
                LinkEvent::Cut(part, reason) => self.session.handle_cut(now, |key| part.has(key), reason),
                LinkEvent::Down(reason) => {
                    self.link = None;
                    self.session.handle_down(now, reason);
                    return;
                }
            }
            left -= 1;
            if left > 0
                && let Some(wire) = &mut self.link
            {
                next = wire.events.try_recv().ok();
            }
        }
    }
}
