//! What serves while Redis is out of reach, if the user prefers that to errors: a second session with an embedded
//! store, with the limit lifted or in force for this process alone, and only for a bounded time (`onUnavailable`).
//!
//! Pure, like the two sessions in it: what a client says goes to the one that has its request, and what the first
//! session fails as out of reach the second is asked, under the same tag. Exactly one event ends each request, as
//! without this. "Full" never comes here, nor what a Redis that answers refuses.

mod holders;
mod local;

use std::time::Duration;

use self::holders::HOLDERS;
use self::local::Local;
use crate::error::Error;
use crate::moment::Moment;
use crate::session::{AdminQuery, ClientId, Event, Output, Request, Session, Settings, Tag};

/// One of the two sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one with the store that the options name.
    Redis,
    /// The one with the embedded store.
    Local,
}

/// How requests are served while Redis is out of reach.
#[derive(Debug, Clone)]
pub struct Fallback {
    /// Of the second session.
    pub settings: Settings,
    /// Everybody is let in, whatever the limit.
    pub lifts_limit: bool,
    /// For how long, from the first request that needs it until Redis is reached again.
    pub bound: Duration,
}

/// The session of a process, and the second one if there is a fallback.
#[derive(Debug)]
pub struct Sessions {
    redis: Session,
    local: Option<Local>,
    closed: Vec<ClientId>,
}

impl Sessions {
    /// Sessions that have done nothing yet.
    pub fn new(settings: Settings, fallback: Option<Fallback>) -> Self {
        Self { redis: Session::new(settings), local: fallback.map(Local::new), closed: Vec::new() }
    }

    /// One of them; the second is there only with a fallback.
    pub fn side(&mut self, side: Side) -> &mut Session {
        match (side, &mut self.local) {
            (Side::Local, Some(local)) => local.session(),
            (Side::Local | Side::Redis, _) => &mut self.redis,
        }
    }

    /// Asks for a lease.
    pub fn submit(&mut self, now: Moment, request: Request) {
        if let Some(local) = &mut self.local {
            local.note(now, &request);
        }
        self.redis.submit(now, request);
    }

    /// Gives a lease back. A request that isn't granted yet is cancelled.
    pub fn release(&mut self, now: Moment, client: ClientId, tag: Tag) {
        if let Some(local) = self.local.as_mut() {
            if local.release(now, (client, tag)) {
                return;
            }
            local.unwant(now, (client, tag));
        }
        self.redis.release(now, client, tag);
    }

    /// The client doesn't want the request any more.
    pub fn cancel(&mut self, now: Moment, client: ClientId, tag: Tag) {
        if let Some(local) = self.local.as_mut() {
            if local.cancel((client, tag)) {
                return;
            }
            local.unwant(now, (client, tag));
        }
        self.redis.cancel(client, tag);
    }

    /// Asks a question, of Redis.
    pub fn ask(&mut self, now: Moment, client: ClientId, tag: Tag, question: AdminQuery) {
        self.redis.ask(now, client, tag, question);
    }

    /// From now on the client's leases are renewed only while it was heard of within `timeout`.
    pub fn watch(&mut self, now: Moment, client: ClientId, timeout: Duration) {
        self.both(|session| session.watch(now, client, timeout));
    }

    /// A watched client lives.
    pub fn beat(&mut self, now: Moment, client: ClientId) {
        self.both(|session| session.beat(now, client));
    }

    /// Ends a client: what waits fails as closed, what is held is given back (or left to its end), then the event
    /// follows.
    pub fn close(&mut self, now: Moment, client: ClientId, tag: Tag, release: bool) {
        if let Some(local) = &mut self.local {
            local.close(now, client, release);
        }
        self.redis.close(now, client, tag, release);
    }

    /// The clients whose end has been told since the last call.
    pub fn take_closed(&mut self) -> Vec<ClientId> {
        std::mem::take(&mut self.closed)
    }

    /// Time has passed: does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.both(|session| {
            if session.poll_deadline().is_some_and(|at| at <= now) {
                session.handle_timeout(now);
            }
        });
    }

    /// The wall clock has got ahead of ours by `length` at once.
    pub fn handle_jump(&mut self, now: Moment, length: Duration) {
        self.both(|session| session.handle_jump(now, length));
    }

    /// When `handle_timeout` wants to be called next.
    pub fn poll_deadline(&self) -> Option<Moment> {
        let local = self.local.as_ref().and_then(Local::poll_deadline);
        self.redis.poll_deadline().into_iter().chain(local).min()
    }

    /// The next thing to do, if there is one, and on which side.
    pub fn poll_output(&mut self, now: Moment) -> Option<(Side, Output)> {
        self.poll(now, Session::poll_output)
    }

    /// As [`Sessions::poll_output`], but what is to be asked of the first session's store goes on gathering.
    pub fn poll_without_calls(&mut self, now: Moment) -> Option<(Side, Output)> {
        self.poll(now, Session::poll_without_calls)
    }

    /// Whether [`Sessions::poll_output`] would make calls of what [`Sessions::poll_without_calls`] has left.
    pub fn has_gathered(&self) -> bool {
        self.redis.has_gathered()
    }

    fn poll(
        &mut self,
        now: Moment,
        poll_redis: fn(&mut Session, Moment) -> Option<Output>,
    ) -> Option<(Side, Output)> {
        loop {
            if let Some(output) = poll_redis(&mut self.redis, now) {
                match self.hear_redis(now, output) {
                    Some(output) => return Some((Side::Redis, output)),
                    None => continue,
                }
            }
            let local = self.local.as_mut()?;
            match local.poll_output(now) {
                Some(output) => {
                    if let Some(output) = self.hear_local(now, output) {
                        return Some((Side::Local, output));
                    }
                }
                None if local.send_back(self.redis.connected()) => {}
                None => return None,
            }
        }
    }

    /// Nothing is held, asked or waited for.
    pub fn idle(&self) -> bool {
        self.redis.idle() && self.local.as_ref().is_none_or(Local::idle)
    }

    fn both(&mut self, mut to_do: impl FnMut(&mut Session)) {
        to_do(&mut self.redis);
        if let Some(local) = &mut self.local {
            to_do(local.session());
        }
    }

    /// What is to be done of what the first session says; nothing if the second is asked instead.
    fn hear_redis(&mut self, now: Moment, output: Output) -> Option<Output> {
        let Output::Event(mut event) = output else { return Some(output) };
        let Some(local) = &mut self.local else { return Some(Output::Event(self.told(event))) };
        match &mut event {
            Event::Granted { client, tag, lease } => {
                if let Some(asked) = local.forget((*client, *tag)) {
                    lease.waited = asked.waited(now);
                    local.grows(&asked.request.key);
                }
            }
            Event::Failed { client, tag, error } => {
                let (client, tag) = (*client, *tag);
                let out_of_reach = matches!(error, Some(Error::Unavailable { reached: false, .. }));
                match local.forget((client, tag)).filter(|_| out_of_reach) {
                    Some(asked) if asked.cancelled => {
                        return Some(Output::Event(Event::Failed { client, tag, error: None }));
                    }
                    Some(asked) if local.may_serve(now, client) => {
                        local.enter_holders(now, &asked.request.key, &self.redis);
                        return local.take_over(now, asked).map(Output::Event);
                    }
                    _ => {}
                }
            }
            Event::Released { client, tag, .. } | Event::Lost { client, tag, .. } => {
                local.leave(now, (*client, *tag));
            }
            Event::Disconnected(_) | Event::Reconnected => local.reached(),
            Event::Closed { client, tag } => {
                local.closed(*client, Some(*tag))?;
            }
            _ => {}
        }
        Some(Output::Event(self.told(event)))
    }

    /// What is to be done of what the second session says.
    fn hear_local(&mut self, now: Moment, output: Output) -> Option<Output> {
        let Output::Event(mut event) = output else { return Some(output) };
        let local = self.local.as_mut()?;
        match &mut event {
            Event::Granted { client, tag, lease } => {
                lease.stood_in = true;
                lease.waited = local.granted(now, (*client, *tag));
            }
            Event::Released { client: HOLDERS, tag, .. } => local.is_entered(now, *tag),
            Event::Failed { client, tag, .. } | Event::Released { client, tag, .. } => {
                if let Some(asked) = local.served((*client, *tag)) {
                    let request = local.note_again(now, asked);
                    self.redis.submit(now, request);
                    return None;
                }
            }
            Event::Lost { client: HOLDERS, tag, .. } => local.enter_elsewhere(now, *tag),
            Event::Renewed { client: HOLDERS, tag, .. } => local.is_entered(now, *tag),
            Event::Lost { .. } | Event::Renewed { .. } => {}
            Event::Closed { client, tag } => *tag = local.closed(*client, None)?,
            // What the whole process is told, the first session tells.
            _ => return None,
        }
        (event.client() != Some(HOLDERS)).then(|| Output::Event(self.told(event)))
    }

    fn told(&mut self, event: Event) -> Event {
        if let Event::Closed { client, .. } = &event {
            self.closed.push(*client);
        }
        event
    }
}
