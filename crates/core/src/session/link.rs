//! The connection comes and goes: what that means for requests, leases and queries.

use std::time::Duration;

use super::calls::About;
use super::group_state::{Acquisition, State};
use super::groups::IDLE_FOR;
use super::output::{Event, Output};
use super::state::Session;
use crate::error::Error;
use crate::lease::Key;
use crate::moment::Moment;

impl Session {
    /// The connection is up. `uptime` is the server's, where it may be asked.
    pub fn handle_connected(&mut self, now: Moment, listens: bool, uptime: Option<Duration>) {
        let settle = self.cx.settings.settle;
        let again = self.cx.connection.opened(now, settle, listens, uptime);
        if again {
            self.cx.stats.reconnects += 1;
            self.cx.tell(Event::Reconnected);
        } else {
            self.cx.tell(Event::Connected);
        }
        if !listens {
            self.cx.tell(Event::PushUnavailable);
        }
        self.reconcile_groups(|_| true, again);
        if self.cx.connection.settling(now) {
            let unasked = |a: &Acquisition| a.tries_once() && matches!(a.state(), State::Pending);
            let error = self.cx.connection.why_unavailable(now, &self.cx.settings);
            self.refuse_all(now, unasked, &error);
        }
    }

    /// The connection couldn't be opened. `fatal`: trying again won't help those who ask.
    pub fn handle_connect_failed(&mut self, now: Moment, message: String, fatal: bool) {
        self.take_failed_connect(now, message, fatal, false);
    }

    /// The server answered, and refused the connection: its words are in the message. `fatal` as above.
    pub fn handle_connect_refused(&mut self, now: Moment, message: String, fatal: bool) {
        self.take_failed_connect(now, message, fatal, true);
    }

    fn take_failed_connect(&mut self, now: Moment, message: String, fatal: bool, answered: bool) {
        let settle = self.cx.settings.settle;
        self.cx.tell(Event::ConnectFailed(message.clone()));
        self.cx.connection.failed(now, settle, message, answered, &mut self.cx.jitter);
        let error = self.cx.connection.why_unavailable(now, &self.cx.settings);
        let all = fatal || self.cx.settings.impatient;
        self.refuse_all(now, |a| all || a.tries_once(), &error);
        self.queries.fail_all(&mut self.cx, &error);
        self.forget_ended_traces(now);
    }

    /// The connection is lost, and why.
    pub fn handle_down(&mut self, now: Moment, reason: String) {
        if !self.cx.connection.up() {
            return;
        }
        let settle = self.cx.settings.settle;
        self.cx.connection.lost(now, settle, reason.clone(), &mut self.cx.jitter);
        if self.groups.any_recent(now) {
            self.cx.connection.reopen_until(now + IDLE_FOR);
        }
        self.lose_calls(now, |_| true);
        self.cx.tell(Event::Disconnected(reason));
    }

    /// A part of the connection is lost, and why. The groups there are reconciled over what counts as the next
    /// connection of the session (R12): what is still pending there is unclear, and comes too late afterwards. The
    /// other groups go on.
    pub fn handle_cut(&mut self, now: Moment, concerns: impl Fn(&Key) -> bool, reason: String) {
        if !self.cx.connection.up() {
            return;
        }
        self.cx.connection.renumber();
        self.lose_calls(now, &concerns);
        self.reconcile_groups(concerns, true);
        self.cx.tell(Event::Warning(reason));
    }

    /// Pushes don't arrive any more, though calls do.
    pub fn handle_push_lost(&mut self, now: Moment) {
        if self.cx.connection.stop_listening() {
            self.cx.tell(Event::PushUnavailable);
            for index in self.groups.indices(|_| true) {
                self.with_group(now, index, |group, _| group.poll_now(now));
            }
        }
    }

    pub(super) fn handle_connection_timeout(&mut self, now: Moment) {
        if self.cx.connection.has_settled(now) {
            self.groups.indices(|_| true).into_iter().for_each(|index| self.groups.mark_dirty(index));
        }
        let timeout = self.cx.settings.command_timeout;
        if self.cx.connection.is_too_slow(now, &self.cx.settings) {
            let error = self.cx.settings.unavailable(format!("no connection for {timeout:?}"));
            self.refuse_all(now, |_| true, &error);
        }
        if self.cx.connection.is_dead(now, timeout, self.cx.calls.oldest_sent_at()) {
            let cause = format!("no answer for {timeout:?}");
            self.drop_connection(now, cause.clone());
            // Their one try has had its time; a lost connection alone would have left them another.
            let all = self.cx.settings.impatient;
            let error = self.cx.settings.unavailable(cause);
            self.refuse_all(now, |a| all || a.tries_once(), &error);
        }
    }

    fn drop_connection(&mut self, now: Moment, reason: String) {
        self.cx.output(Output::Disconnect);
        self.handle_down(now, reason);
    }

    /// The server has become a replica: the present primary may be found under the same address.
    pub(super) fn look_for_the_primary(&mut self, now: Moment, words: &str) {
        if self.cx.connection.up() {
            self.drop_connection(now, format!("the server is a read-only replica: {words}"));
            self.cx.connection.look_for_the_primary(now, &mut self.cx.jitter);
        }
    }

    /// The pending calls to these groups won't be answered; whoever waits for Redis there gets a timer.
    fn lose_calls(&mut self, now: Moment, concerns: impl Fn(&Key) -> bool) {
        let (groups, queries) = (&self.groups, &self.queries);
        let all_lost = !self.cx.connection.up();
        let lost = self.cx.calls.lose(|about| {
            let key = match about {
                About::Query(id) => queries.get(*id).and_then(|query| query.key()),
                About::Group(index, _) => Some(groups.get(*index).key()),
            };
            all_lost || key.is_some_and(&concerns)
        });
        for about in lost {
            match about {
                About::Query(id) => self.queries.lose(&mut self.cx, id),
                About::Group(index, items) => self.groups.get_mut(index).lose_call(items),
            }
        }
        for index in self.groups.indices(|group| concerns(group.key())) {
            self.with_group(now, index, |group, cx| group.lose_calls(cx, now));
        }
        for (id, index) in self.groups.requests(|group, a| a.waits_for_redis() && concerns(group.key())) {
            self.groups.get_mut(index).arm(&mut self.cx, now, id);
        }
    }

    fn reconcile_groups(&mut self, concerns: impl Fn(&Key) -> bool, own: bool) {
        for index in self.groups.indices(|group| concerns(group.key())) {
            self.groups.get_mut(index).reconcile_all(own);
            self.groups.mark_dirty(index);
        }
    }

    /// These requests fail, if anybody waits for them.
    fn refuse_all(&mut self, now: Moment, which: impl Fn(&Acquisition) -> bool, error: &Error) {
        for (id, index) in self.groups.requests(|_, a| a.wanted && which(a)) {
            self.with_group(now, index, |group, cx| group.fail(cx, id, error.clone()));
        }
    }

    /// What isn't wanted and has ended in Redis since the connection was lost needs no connection any more.
    fn forget_ended_traces(&mut self, now: Moment) {
        let down_since = self.cx.connection.down_since();
        for (id, index) in self.groups.requests(|_, a| a.is_ended_trace(now, down_since)) {
            self.with_group(now, index, |group, cx| group.end_release(cx, id, false));
        }
    }
}
