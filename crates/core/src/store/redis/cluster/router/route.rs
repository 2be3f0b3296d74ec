//! Sends a request to the member that has its group's hash slot, on to the one that this member names, or back to the
//! session as surely not carried out.
//!
//! It doesn't wait, and reads no events.

use super::super::map::{Redirection, hash_slot};
use super::super::member::Sent;
use super::super::pages;
use super::Router;
use crate::moment::Moment;
use crate::protocol::{CallError, Outgoing, Verb};
use crate::store::LinkEvent;

/// After so many redirections the session is told that the request wasn't carried out.
const MOST_REDIRECTIONS: u8 = 4;

impl Router {
    pub(super) fn take_orders(&mut self, now: Moment, requests: Vec<Outgoing>) -> bool {
        for request in requests {
            self.route(now, Sent { request, asked_at: now, sent_at: now, redirections: 0 });
        }
        true
    }

    /// Sends a request to its member, or holds it back until a member can take it.
    fn route(&mut self, now: Moment, sent: Sent) {
        match &sent.request {
            Outgoing::Call { call, .. } => match self.map.owner(hash_slot(&call.key)) {
                Some(owner) => self.send(now, owner, sent),
                None => {
                    self.survey.want();
                    self.hold_back(sent);
                }
            },
            // The list of groups comes from the masters of now, so the map is refreshed first.
            Outgoing::Keys { cursor, .. } if pages::is_first(cursor) && sent.asked_at >= self.mapped_at => {
                self.survey.want();
                self.hold_back(sent);
            }
            Outgoing::Keys { cursor, .. } => {
                match pages::owner(cursor, &self.members, |member| self.map.has_any(member)) {
                    Some(owner) => self.send(now, owner, sent),
                    None => self.emit_keys_end(&sent.request),
                }
            }
        }
    }

    fn emit_keys_end(&self, request: &Outgoing) {
        if let Outgoing::Keys { id, .. } = request {
            self.emit(LinkEvent::Keys { id: *id, result: Ok((Vec::new(), "0".into())) });
        }
    }

    fn send(&mut self, now: Moment, to: usize, mut sent: Sent) {
        let member = &mut self.members[to];
        if !member.is_open() {
            member.want(&self.cluster, self.session);
            return self.hold_back(sent);
        }
        sent.sent_at = now;
        let mut request = sent.request.clone();
        if member.settles(now) {
            match &mut request {
                Outgoing::Call { call, .. } if matches!(call.verb, Verb::Acquire(_)) => {
                    let why = format!("{} has just started and settles", member.at);
                    return self.refuse(sent, why, true);
                }
                Outgoing::Call { caller, .. } => caller.settling = true,
                Outgoing::Keys { .. } => {}
            }
        }
        if let Outgoing::Keys { cursor, .. } = &mut request {
            *cursor = pages::of_member(cursor, &member.at);
        }
        member.send(request, sent);
    }

    /// In the order in which the session asked, so that the calls of a group stay in order.
    fn hold_back(&mut self, sent: Sent) {
        let at = self.held_back.partition_point(|held| held.asked_at <= sent.asked_at);
        self.held_back.insert(at, sent);
    }

    pub(super) fn route_held_back(&mut self, now: Moment) {
        for sent in std::mem::take(&mut self.held_back) {
            self.route(now, sent);
        }
    }

    /// Why no member took a request that was held back, and whether the group's member answered.
    pub(super) fn why_not_routed(&self, sent: &Sent) -> (String, bool) {
        let owner = match &sent.request {
            Outgoing::Call { call, .. } => self.map.owner(hash_slot(&call.key)),
            Outgoing::Keys { .. } => None,
        };
        let Some(owner) = owner.map(|owner| &self.members[owner]) else {
            return ("the member of the cluster that has it isn't known".into(), false);
        };
        match &owner.refusal {
            Some(refusal) => (refusal.message.clone(), refusal.answered),
            None => {
                let (at, by) = (&owner.at, &owner.announced_by);
                let hint = "if it is reached under another address, give that as natMap";
                (
                    format!(
                        "no answer from {at} (announced by {by}), the member of the cluster that has it; {hint}"
                    ),
                    false,
                )
            }
        }
    }

    /// Tells the session that the request surely wasn't carried out.
    pub(super) fn refuse(&self, sent: Sent, why: String, answered: bool) {
        let error = CallError::NotExecutedThere { why, answered };
        self.emit(match sent.request {
            Outgoing::Call { id, .. } => LinkEvent::Reply { id, result: Err(error) },
            Outgoing::Keys { id, .. } => LinkEvent::Keys { id, result: Err(error) },
        });
    }

    pub(super) fn not_executed(&mut self, now: Moment, from: usize, mut sent: Sent, words: &str) {
        let at = &self.members[from].at;
        if let Some(Redirection { once, slot, to }) = Redirection::read(words, at) {
            let at = at.clone();
            let to = self.member(&to, &at);
            if !once {
                self.map.give(slot, slot, to);
                self.survey.want();
                self.route_held_back(now);
            }
            sent.redirections += 1;
            if sent.redirections > MOST_REDIRECTIONS || sent.asked_at + self.cluster.patience() <= now {
                return self.refuse(sent, words.to_owned(), true);
            }
            if !once {
                return self.route(now, sent);
            }
            if !self.members[to].is_open() {
                self.members[to].want(&self.cluster, self.session);
                return self.refuse(sent, words.to_owned(), true);
            }
            sent.sent_at = now;
            return self.members[to].send_asking(sent);
        }
        let loading = words.contains("LOADING");
        let down = words.contains("CLUSTERDOWN") || words.contains("MASTERDOWN");
        // Its settling time counts from when it answers normally.
        self.members[from].settle_longer(loading, down, now + self.cluster.options.settle);
        // A MOVED without an address, too: the member doesn't have the slot, and doesn't know who has.
        if down || words.contains("READONLY") || words.contains("MOVED") {
            self.survey.want();
        }
        self.refuse(sent, format!("{} says: {words}", self.members[from].at), true);
    }
}
