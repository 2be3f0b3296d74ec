//! What clients ask of a session, and what time does to it.

use std::time::Duration;

use super::group_state::State;
use super::input::{AdminQuery, ClientId, Holding, Request, Tag};
use super::output::{AdminAnswer, Event};
use super::state::Session;
use super::timers::Timer;
use crate::error::Error;
use crate::lease::Key;
use crate::moment::Moment;

impl Session {
    /// Asks for a lease.
    pub fn submit(&mut self, now: Moment, request: Request) {
        let connection = &self.cx.connection;
        let try_once = request.timeout == Some(Duration::ZERO);
        if (try_once && connection.settling(now)) || (self.cx.settings.impatient && connection.out_of_reach())
        {
            self.cx.stats.refused += 1;
            let error = Some(connection.why_unavailable(now, &self.cx.settings));
            return self.cx.tell(Event::Failed { client: request.client, tag: request.tag, error });
        }
        let index = self.groups.open(&request.key);
        self.with_group(now, index, |group, cx| group.submit(cx, now, request));
    }

    /// Gives a lease back. A request that isn't granted yet is cancelled.
    pub fn release(&mut self, now: Moment, client: ClientId, tag: Tag) {
        let found = self.cx.registry.find(client, tag);
        let request = found.and_then(|(index, id)| Some((index, id, self.groups.get(index).request(id)?)));
        let Some((index, id, acquisition)) = request else {
            return self.cx.tell(Event::Released { client, tag, was_held: false });
        };
        if acquisition.wanted {
            return self.cancel(client, tag);
        }
        let was_held = match acquisition.state() {
            State::Held(held) => {
                self.cx.stats.holds.record(now.saturating_since(held.since));
                now < held.valid_until
            }
            State::Lost => false,
            _ => return,
        };
        // A lease that is lost by the local clock is told at once: Redis's answer can't make it true again (R10).
        if !was_held {
            self.cx.tell(Event::Released { client, tag, was_held: false });
        }
        let answer_by = was_held.then(|| now + self.cx.settings.command_timeout);
        self.with_group(now, index, |group, cx| group.pass_or_give_back(cx, now, id, answer_by));
    }

    /// The client doesn't want the request any more. Exactly one event ends each request: if the grant was told
    /// already, that one stands and the lease is given back silently.
    pub fn cancel(&mut self, client: ClientId, tag: Tag) {
        let Some((index, id)) = self.cx.registry.find(client, tag) else { return };
        let group = self.groups.get_mut(index);
        let Some(acquisition) = group.request(id) else { return };
        if acquisition.wanted {
            self.cx.stats.aborted += 1;
            group.unwant(&mut self.cx, id, None);
        } else if matches!(acquisition.state(), State::Held(_) | State::Lost) {
            group.give_back(id, None);
        }
        self.groups.mark_dirty(index);
    }

    /// From now on the client's leases are renewed only while it was heard of within `timeout`.
    pub fn watch(&mut self, now: Moment, client: ClientId, timeout: Duration) {
        self.cx.clients.watch(now, client, timeout);
    }

    /// A watched client lives.
    pub fn beat(&mut self, now: Moment, client: ClientId) {
        self.cx.clients.beat(now, client);
    }

    /// Ends a client: what waits fails as closed, what is held is given back (or left to its end), then the event
    /// follows.
    pub fn close(&mut self, now: Moment, client: ClientId, tag: Tag, release: bool) {
        self.cx.registry.forget_ended(now);
        for (id, index) in self.groups.requests(|_, a| a.client == client) {
            self.with_group(now, index, |group, cx| match group.request(id) {
                Some(acquisition) if acquisition.wanted => group.unwant(cx, id, Some(Error::Closed)),
                _ => group.let_go(cx, now, id, release),
            });
        }
        self.queries.close(&mut self.cx, client);
        let left = self.groups.requests(|_, a| a.client == client).len() as u64;
        self.cx.clients.close(client, tag, left, now + self.cx.settings.command_timeout);
        self.finish_closings(None);
    }

    /// The clients whose end has been told since the last call.
    pub fn take_closed(&mut self) -> Vec<ClientId> {
        self.cx.clients.take_closed()
    }

    /// Asks an admin query.
    pub fn ask(&mut self, now: Moment, client: ClientId, tag: Tag, query: AdminQuery) {
        if query == AdminQuery::Stats {
            let answer = Ok(AdminAnswer::Stats(Box::new(self.stats())));
            return self.cx.tell(Event::Answered { client, tag, answer });
        }
        let until = now + self.cx.settings.connect_timeout + self.cx.settings.command_timeout;
        self.queries.add(client, tag, query, until);
    }

    /// What is held in this group.
    pub fn holdings(&self, key: &Key) -> Vec<Holding> {
        self.groups.find(key).map(|index| self.groups.get(index).holdings()).unwrap_or_default()
    }

    /// The lease of another session counts here, too, until it's released under this name. Nobody of this session is
    /// told of it first; if its slots aren't free here it's lost here, and nowhere else.
    pub fn enter(&mut self, now: Moment, client: ClientId, tag: Tag, key: &Key, holding: Holding) {
        let index = self.groups.open(key);
        self.with_group(now, index, |group, cx| group.enter(cx, now, (client, tag), holding));
    }

    /// Time has passed: does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Moment) {
        while let Some(timer) = self.cx.timers.pop_due(now) {
            match timer {
                Timer::Request(id, index) => {
                    self.with_group(now, index, |group, cx| group.handle_request_timer(cx, now, id));
                }
                Timer::Group(index) => {
                    self.groups.get_mut(index).handle_timer(&mut self.cx, now);
                    self.groups.mark_dirty(index);
                }
            }
        }
        self.finish_closings(Some(now));
        self.queries.handle_timeouts(&mut self.cx, now);
        self.handle_connection_timeout(now);
    }

    /// The wall clock has got ahead of ours by `length` at once: our clock may have stopped for that long. Everything
    /// that was computed from when a call was sent is older by so much, and what is held counts only if Redis confirms
    /// it now (R10).
    pub fn handle_jump(&mut self, now: Moment, length: Duration) {
        self.cx.calls.age(length);
        let bound = now + self.cx.settings.command_timeout;
        for index in self.groups.indices(|_| true) {
            self.with_group(now, index, |group, cx| group.age(cx, now, length, bound));
        }
    }

    /// Tells the clients that are at their end, and at `now` those whose time is over.
    fn finish_closings(&mut self, now: Option<Moment>) {
        for ended in self.cx.clients.take_ended(now) {
            let unanswered = self.groups.requests(|_, a| a.client == ended.client);
            for (_, index) in unanswered {
                self.groups.get_mut(index).answer_releases_of(&mut self.cx, ended.client);
            }
            self.cx.tell(Event::Closed { client: ended.client, tag: ended.tag });
        }
    }
}
