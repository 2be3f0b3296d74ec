//! A cluster's link at work: each call goes to the member that has its group's hash slot (`route`), and what members
//! say comes up.
//!
//! It keeps no rule and asks nothing again that a member may have carried out. What surely wasn't (a redirection, a
//! member that isn't reached yet) goes where it belongs, within the time that an answer may take; after that the
//! session hears that it wasn't (R29). A member that fails is a cut: its groups are reconciled (R12), the others
//! don't notice. A member that has just started is asked for nothing new (R30).

mod route;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::map::{HashSlots, SlotMap, Topology, hash_slot};
use super::member::{Member, News, Opened, Sent};
use super::survey::Survey;
use super::{Cluster, pages};
use crate::config::Node;
use crate::lease::SessionId;
use crate::moment::Moment;
use crate::protocol::{CallError, Outgoing, Push};
use crate::store::{LinkEvent, Part};

/// The longest wait between two attempts to open a member's link.
const LONGEST_BACKOFF: Duration = Duration::from_millis(500);

/// A request that has been held back for so long is a sign that the map is wrong.
const HELD_TOO_LONG: Duration = Duration::from_millis(200);

/// Events taken off one member before the others have their turn.
const MOST_EVENTS: usize = 256;

/// The cluster's link, run by a task of its own.
pub(super) struct Router {
    cluster: Arc<Cluster>,
    session: SessionId,
    members: Vec<Member>,
    map: SlotMap,
    /// When the map was asked for.
    mapped_at: Moment,
    survey: Survey,
    /// Requests without a member that could take them, oldest first.
    held_back: VecDeque<Sent>,
    orders: UnboundedReceiver<Vec<Outgoing>>,
    events: UnboundedSender<LinkEvent>,
    listens: bool,
    /// The member that is looked at first.
    turn: usize,
}

enum Woken {
    Ordered(Option<Vec<Outgoing>>),
    News(usize, News),
    Surveyed(Result<Topology, String>),
    Due,
}

impl Router {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        session: SessionId,
        orders: UnboundedReceiver<Vec<Outgoing>>,
        events: UnboundedSender<LinkEvent>,
    ) -> Self {
        Self {
            cluster,
            session,
            members: Vec::new(),
            map: SlotMap::new(),
            mapped_at: Moment::default(),
            survey: Survey::default(),
            held_back: VecDeque::new(),
            orders,
            events,
            listens: true,
            turn: 0,
        }
    }

    /// The member at this address, as somebody says, known from now on.
    fn member(&mut self, at: &Node, announced_by: &Node) -> usize {
        if let Some(known) = self.members.iter().position(|member| member.at == *at) {
            self.members[known].announced_by = announced_by.clone();
            return known;
        }
        self.members.push(Member::new(at.clone(), announced_by.clone()));
        self.members.len() - 1
    }

    /// Starts with a member whose link is open already.
    pub(super) fn begin(&mut self, topology: Topology, asked_at: Moment, first: &Node, opened: Opened) {
        let told_by = topology.told_by.clone();
        self.adopt(topology, asked_at);
        self.listens = opened.info.listens;
        let first = self.member(first, &told_by);
        self.opened(Moment::now(), first, opened);
    }

    /// Works until the link is dropped, or is of no use any more.
    pub(super) async fn run(mut self) {
        loop {
            let now = Moment::now();
            if !self.tend(now) {
                return;
            }
            self.members.iter_mut().for_each(Member::flush);
            let woken = self.wait(now).await;
            let now = Moment::now();
            let goes_on = match woken {
                Woken::Ordered(None) => false,
                Woken::Ordered(Some(requests)) => self.take_orders(now, requests),
                Woken::News(from, news) => self.hear(now, from, news),
                Woken::Surveyed(result) => self.surveyed(now, result),
                Woken::Due => true,
            };
            if !goes_on {
                return;
            }
        }
    }

    async fn wait(&mut self, now: Moment) -> Woken {
        let deadline = self.deadline(now);
        let due = async {
            match deadline {
                Some(at) => tokio::time::sleep(at.saturating_since(now)).await,
                None => std::future::pending().await,
            }
        };
        let Self { orders, members, survey, turn, .. } = self;
        tokio::select! {
            orders = orders.recv() => Woken::Ordered(orders),
            (from, news) = poll_fn(|context| poll_members(members, turn, context)) => Woken::News(from, news),
            result = poll_fn(|context| survey.poll(context)) => Woken::Surveyed(result),
            () = due => Woken::Due,
        }
    }

    fn deadline(&self, now: Moment) -> Option<Moment> {
        let patience = self.cluster.patience();
        let members = self.members.iter().filter_map(|member| member.deadline(patience));
        let held = self.held_back.front().map(|sent| sent.asked_at);
        let expiry = held.map(|at| at + patience);
        let doubt = held.map(|at| at + HELD_TOO_LONG).filter(|at| *at > now);
        members.chain([expiry, doubt, self.survey.deadline()].into_iter().flatten()).min()
    }

    /// What time brings; false when the link is of no use any more.
    fn tend(&mut self, now: Moment) -> bool {
        let patience = self.cluster.patience();
        let mut again = false;
        for member in 0..self.members.len() {
            let overdue = self.members[member].is_overdue(now, patience);
            if overdue && !self.cut(member, &format!("no answer for {patience:?}")) {
                return false;
            }
            again |= self.members[member].may_be_tried_again(now);
        }
        while self.held_back.front().is_some_and(|sent| sent.asked_at + patience <= now)
            && let Some(sent) = self.held_back.pop_front()
        {
            let (why, answered) = self.why_not_routed(&sent);
            self.refuse(sent, why, answered);
        }
        if self.held_back.front().is_some_and(|sent| sent.asked_at + HELD_TOO_LONG <= now) {
            self.survey.want();
        }
        if self.survey.due(now) {
            self.survey.begin(now, Arc::clone(&self.cluster), self.candidates());
        }
        if again {
            self.route_held_back(now);
        }
        true
    }

    /// Whom to ask about the cluster: members that answer first, those that it was begun with last.
    fn candidates(&self) -> Vec<Node> {
        let mut listed: Vec<&Member> = self.members.iter().filter(|member| member.listed).collect();
        listed.sort_by_key(|member| (!member.is_open(), getrandom::u32().unwrap_or_default()));
        let mut candidates: Vec<Node> = listed.into_iter().map(|member| member.at.clone()).collect();
        for node in self.cluster.candidates() {
            if !candidates.contains(&node) {
                candidates.push(node);
            }
        }
        candidates
    }

    fn emit(&self, event: LinkEvent) {
        // Whoever dropped the receiver drops the link next.
        let _ = self.events.send(event);
    }

    /// News of a member, and what else of it lies ready.
    fn hear(&mut self, now: Moment, from: usize, news: News) -> bool {
        let mut event = match news {
            News::Opened(Ok(opened)) => {
                self.opened(now, from, opened);
                None
            }
            News::Opened(Err(error)) => {
                self.members[from].back_off(now, LONGEST_BACKOFF);
                self.members[from].refusal = Some(error);
                self.survey.want();
                None
            }
            News::Event(event) => Some(event),
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

    fn opened(&mut self, now: Moment, member: usize, opened: Opened) {
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

    /// Every member passes on what is published at any other. Only the one that has the group counts: there it comes in
    /// order with the group's replies, and once.
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

    /// A member's link is gone. What it hadn't answered stays unclear, and the session reconciles its groups; with
    /// the last link the whole is gone.
    fn cut(&mut self, member: usize, reason: &str) -> bool {
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

    fn surveyed(&mut self, now: Moment, result: Result<Topology, String>) -> bool {
        let asked_at = self.survey.finish(now, !self.held_back.is_empty());
        match result {
            Ok(topology) => {
                self.adopt(topology, asked_at);
                self.route_held_back(now);
                for member in 0..self.members.len() {
                    if !self.map.has_any(member) {
                        self.members[member].close_idle();
                    }
                }
            }
            Err(_) => self.survey.want(),
        }
        true
    }

    /// Believes what a member said about the cluster.
    fn adopt(&mut self, topology: Topology, asked_at: Moment) {
        self.mapped_at = asked_at;
        self.map = SlotMap::new();
        for member in &mut self.members {
            member.listed = false;
        }
        for (first, last, master) in topology.ranges {
            let member = self.member(&master, &topology.told_by);
            self.members[member].listed = true;
            self.map.give(first, last, member);
        }
        for replica in topology.replicas {
            let member = self.member(&replica, &topology.told_by);
            self.members[member].listed = true;
        }
    }
}

fn concerns(slots: &HashSlots, request: &Outgoing) -> bool {
    matches!(request, Outgoing::Call { call, .. } if slots.has(hash_slot(&call.key)))
}

/// The first news of any member, beginning with another one each time.
fn poll_members(members: &mut [Member], turn: &mut usize, context: &mut Context<'_>) -> Poll<(usize, News)> {
    let many = members.len();
    for step in 0..many {
        let member = (*turn + step) % many;
        if let Poll::Ready(news) = members[member].poll(context) {
            *turn = member + 1;
            return Poll::Ready((member, news));
        }
    }
    Poll::Pending
}
