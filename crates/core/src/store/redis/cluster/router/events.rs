//! What members report: replies, pushes, links that open or go down.

use super::super::map::{HashSlots, hash_slot};
use super::super::member::{Member, MemberEvent, Opened, Sent};
use super::super::pages;
use super::{LONGEST_BACKOFF, Router};
use crate::moment::Moment;
use crate::protocol::{CallError, Outgoing, Push};
use crate::store::{LinkEvent, Part};

/// The most events that are read from one member in a row.
const MOST_EVENTS: usize = 256;

impl Router {
    /// Handles an event of a member, and its other events that are ready. False when the link is of no use any more.
    pub(super) fn handle(&mut self, now: Moment, from: usize, event: MemberEvent) -> bool {
        let mut event = match event {
            MemberEvent::Opened(Ok(opened)) => {
                self.opened(now, from, opened);
                None
            }
            MemberEvent::Opened(Err(error)) => {
                self.members[from].back_off(now, LONGEST_BACKOFF);
                self.members[from].refusal = Some(error);
                self.survey.want();
                None
            }
            MemberEvent::Event(event) => Some(event),
        };
        let mut left = MOST_EVENTS;
        while let Some(one) = event.take() {
            match one {
                answer @ (LinkEvent::Reply { id, .. } | LinkEvent::Keys { id, .. }) => {
                    match self.members[from].answered(id) {
                        Some(sent) => self.answered(now, from, sent, answer),
                        None => return self.cut(from, "the server's replies don't match the calls"),
                    }
                }
                LinkEvent::Push(push) => self.pushed(from, push),
                LinkEvent::PushLost => self.push_lost(),
                LinkEvent::Down(reason) => return self.cut(from, &reason),
                LinkEvent::Cut(..) => {}
            }
            left -= 1;
            if left > 0 {
                event = self.members[from].try_event();
            }
        }
        true
    }

    pub(super) fn opened(&mut self, now: Moment, member: usize, opened: Opened) {
        let info = self.members[member].take(opened);
        let left = self.cluster.options.settle.saturating_sub(info.uptime.unwrap_or_default());
        self.members[member].settle(now + left, now);
        if !info.listens {
            self.push_lost();
        }
        self.route_held_back(now);
    }

    fn push_lost(&mut self) {
        if std::mem::take(&mut self.listens) {
            self.emit(LinkEvent::PushLost);
        }
    }

    /// Every member gets every publication. The copy from the member that has the group is used: it comes in order with
    /// the group's replies.
    fn pushed(&self, from: usize, push: Push) {
        if self.map.owner(hash_slot(&push.key)) == Some(from) {
            self.emit(LinkEvent::Push(push));
        }
    }

    fn answered(&mut self, now: Moment, from: usize, sent: Sent, answer: LinkEvent) {
        match answer {
            LinkEvent::Reply { result: Err(CallError::NotExecuted(words)), .. } => {
                self.not_executed(now, from, sent, &words);
            }
            LinkEvent::Keys { id, result: Ok((keys, cursor)) } => {
                let cursor = pages::next(&cursor, from, &self.members, |member| self.map.has_any(member));
                self.emit(LinkEvent::Keys { id, result: Ok((keys, cursor)) });
            }
            answer => {
                self.members[from].answered_normally(now);
                self.emit(answer);
            }
        }
    }

    /// A member's link is down. The outcome of its unanswered calls is unclear, and the session reconciles its groups.
    /// With the last link the cluster's link is down.
    pub(super) fn cut(&mut self, member: usize, reason: &str) -> bool {
        let mut slots = self.map.of(member);
        for sent in self.members[member].close() {
            match &sent.request {
                Outgoing::Call { call, .. } => slots.add(hash_slot(&call.key)),
                Outgoing::Keys { .. } => self.refuse(sent, reason.to_owned(), false),
            }
        }
        self.survey.want();
        let reason = format!("{} of the cluster: {reason}", self.members[member].at);
        if !self.members.iter().any(Member::is_open) {
            self.emit(LinkEvent::Down(reason));
            return false;
        }
        if !slots.is_empty() {
            self.held_back.retain(|sent| !concerns(&slots, &sent.request));
            self.emit(LinkEvent::Cut(Part::new(move |key| slots.has(hash_slot(key))), reason));
        }
        true
    }
}

fn concerns(slots: &HashSlots, request: &Outgoing) -> bool {
    matches!(request, Outgoing::Call { call, .. } if slots.has(hash_slot(&call.key)))
}
