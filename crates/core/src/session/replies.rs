//! Replies, pushes and checks come in: they go to the group or the query that they are about.

use std::time::Duration;

use super::calls::About;
use super::ids::{AcquisitionId, QueryId};
use super::input::AdminQuery;
use super::output::{AdminAnswer, Check, Output};
use super::state::Session;
use crate::lease::Key;
use crate::moment::Moment;
use crate::protocol::{Call, CallError, CallId, Outgoing, Push, Reply, Target};

impl Session {
    /// A call is answered. A group's answers come in the order of its calls, and all of them nearly so.
    pub fn handle_reply(&mut self, now: Moment, id: CallId, result: Result<Reply, CallError>) {
        self.cx.connection.heard();
        let Some(call) = self.cx.calls.finish(id) else { return };
        let (index, items) = match call.about {
            About::Query(id) => return self.take_query_reply(now, call.sent_at, id, result),
            About::Group(index, items) => (index, items),
        };
        match result {
            Ok(reply) => {
                if reply.push_refused {
                    self.handle_push_lost(now);
                }
                self.with_group(now, index, |group, cx| {
                    group.take_reply(cx, now, call.sent_at, items, reply)
                });
            }
            Err(error) => {
                let words =
                    if let CallError::NotExecuted(words) = &error { Some(words.clone()) } else { None };
                self.with_group(now, index, |group, cx| group.take_error(cx, now, items, error));
                let words = words.unwrap_or_default();
                if words.contains("READONLY") {
                    self.look_for_the_primary(now, &words);
                }
                if words.contains("LOADING") {
                    self.cx.connection.restart_settling(now, self.cx.settings.settle);
                }
            }
        }
    }

    /// The session was told of grants.
    pub fn handle_push(&mut self, now: Moment, push: Push) {
        self.cx.connection.heard();
        let index = self.groups.open(&push.key);
        self.with_group(now, index, |group, cx| group.take_push(cx, now, push));
    }

    /// Whether enough replicas have a grant is found out; the error says in words why they haven't.
    pub fn handle_checked(&mut self, now: Moment, check: Check, result: &Result<(), String>) {
        if let Some(index) = self.cx.registry.group_of_check(AcquisitionId(check.id.number)) {
            self.with_group(now, index, |group, cx| group.handle_checked(cx, now, check, result));
        }
    }

    /// A page of keys came.
    pub fn handle_keys(&mut self, now: Moment, id: CallId, result: Result<(Vec<Key>, String), CallError>) {
        self.cx.connection.heard();
        let Some(call) = self.cx.calls.finish(id) else { return };
        let About::Query(id) = call.about else { return };
        match result {
            Ok((keys, cursor)) => {
                self.queries.finish(&mut self.cx, id, Ok(AdminAnswer::Keys { keys, cursor }));
            }
            Err(error) => self.queries.refuse(&mut self.cx, now, id, error),
        }
    }

    fn take_query_reply(
        &mut self,
        now: Moment,
        sent_at: Moment,
        id: QueryId,
        result: Result<Reply, CallError>,
    ) {
        let reply = match result {
            Ok(reply) => reply,
            Err(error) => return self.queries.refuse(&mut self.cx, now, id, error),
        };
        let gone = match self.queries.get(id) {
            Some(AdminQuery::Release(_, Target::Lease(id) | Target::Grant(id, _))) => Some(*id),
            _ => None,
        };
        let key = match self.queries.get(id) {
            Some(AdminQuery::Release(key, _) | AdminQuery::Clean(key)) => Some(key.clone()),
            _ => None,
        };
        let shown = match self.queries.get(id) {
            Some(AdminQuery::Status(key)) => self.groups.find(key),
            _ => None,
        };
        let Some(mut answer) = self.queries.take(id, reply.answers, reply.again, reply.now_ms) else {
            return;
        };
        if let (AdminAnswer::Status(picture), Some(index)) = (&mut answer, shown) {
            self.groups.get(index).show_inside(&self.cx, now, picture);
        }
        if let Some(index) = key.and_then(|key| self.groups.find(&key)) {
            let found = (reply.again, reply.epoch, reply.handed);
            let gone = gone.filter(|_| answer == AdminAnswer::Released(true));
            self.with_group(now, index, |group, cx| {
                group.take_side_effects(cx, now, sent_at, found);
                if let Some(id) = gone {
                    group.take_gone(cx, now, id);
                }
            });
        }
        self.queries.finish(&mut self.cx, id, Ok(answer));
    }

    /// Sends the admin queries that wait for it.
    pub(super) fn send_queries(&mut self, now: Moment) {
        if !self.cx.connection.up() {
            return;
        }
        while let Some((id, query, verb)) = self.queries.next_unsent(now) {
            match (query, verb) {
                (AdminQuery::Keys { pattern, cursor }, _) => {
                    let (pattern, cursor) = (pattern.clone(), cursor.clone());
                    let id = self.cx.calls.start(now, About::Query(id));
                    self.cx.output(Output::Send(Outgoing::Keys { id, pattern, cursor }));
                }
                (query, Some(verb)) => {
                    let Some(key) = query.key().cloned() else { continue };
                    self.cx.call(now, Duration::ZERO, Call::new(key, verb), About::Query(id));
                }
                _ => {}
            }
        }
    }
}
