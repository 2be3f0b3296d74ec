//! The session as a record of its owners, and what its driver polls.

use super::context::Context;
use super::group_state::GroupState;
use super::groups::Groups;
use super::ids::GroupIndex;
use super::input::Settings;
use super::output::{Event, Output, Stats};
use super::queries::Queries;
use crate::lease::SessionId;
use crate::moment::Moment;

/// The session.
#[derive(Debug)]
pub struct Session {
    pub(super) groups: Groups,
    pub(super) queries: Queries,
    pub(super) cx: Context,
}

impl Session {
    /// A session that has done nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self { groups: Groups::default(), queries: Queries::default(), cx: Context::new(settings) }
    }

    /// Its id.
    pub fn id(&self) -> SessionId {
        self.cx.settings.id
    }

    /// Whether it has a connection.
    pub fn connected(&self) -> bool {
        self.cx.connection.up()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats { calls: self.cx.calls.sent(), ..self.cx.stats };
        for group in self.groups.iter() {
            let (held, waiting) = group.counts();
            stats.held += held;
            stats.waiting += waiting;
            stats.kept.now += group.idle_count();
        }
        stats
    }

    /// The next thing to do, if there is one.
    pub fn poll_output(&mut self, now: Moment) -> Option<Output> {
        self.poll(now, true)
    }

    /// As [`Session::poll_output`], but requests and releases go on gathering: the later calls are made of them, the
    /// fewer they are.
    pub fn poll_without_calls(&mut self, now: Moment) -> Option<Output> {
        self.poll(now, false)
    }

    /// Whether [`Session::poll_output`] would make calls of what [`Session::poll_without_calls`] has left.
    pub fn has_gathered(&self) -> bool {
        self.groups.any_dirty()
    }

    fn poll(&mut self, now: Moment, calls: bool) -> Option<Output> {
        loop {
            if let Some(output) = self.cx.next_output() {
                return Some(output);
            }
            if self.cx.connection.wants_opening(now, self.needs_connection()) {
                self.cx.connection.open(now);
                self.cx.tell(Event::Connecting);
                return Some(Output::Connect);
            }
            // Queries go last: what was released before them counts in their answers.
            let cx = &self.cx;
            if let Some(index) = self.groups.next_dirty(|group| calls || !group.has_gathered(cx)) {
                self.groups.get_mut(index).flush(&mut self.cx, now);
                self.groups.prune(now, index, &mut self.cx.timers);
                continue;
            }
            if calls {
                self.send_queries(now);
            }
            if !self.cx.has_outputs() {
                return None;
            }
        }
    }

    /// When `handle_timeout` wants to be called next.
    pub fn poll_deadline(&self) -> Option<Moment> {
        let Context { settings, connection, calls, clients, timers, .. } = &self.cx;
        let connection_due = connection.deadline(settings, self.needs_connection(), calls.oldest_sent_at());
        [timers.next(), clients.deadline(), connection_due, self.queries.deadline(connection.up())]
            .into_iter()
            .flatten()
            .min()
    }

    /// Nothing is held, asked or waited for: the connection isn't needed.
    pub fn idle(&self) -> bool {
        self.cx.registry.is_empty() && self.queries.is_empty() && !self.cx.has_outputs()
    }

    /// Somebody waits for Redis, or was turned away and would like to know when it's back.
    pub(super) fn needs_connection(&self) -> bool {
        let asked = !(self.cx.registry.is_empty() && self.queries.is_empty());
        asked || (self.cx.settings.impatient && self.cx.connection.out_of_reach())
    }

    /// Does something to a group, and what follows for its timer and its calls.
    pub(super) fn with_group<T>(
        &mut self,
        now: Moment,
        index: GroupIndex,
        act: impl FnOnce(&mut GroupState, &mut Context) -> T,
    ) -> T {
        let group = self.groups.get_mut(index);
        let result = act(group, &mut self.cx);
        group.schedule(&mut self.cx, now);
        self.groups.mark_dirty(index);
        result
    }
}
