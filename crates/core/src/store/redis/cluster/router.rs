//! The task of a cluster's link: it sends each call to the member that has its group's hash slot (`route`), and passes
//! on what members report (`events`).
//!
//! It keeps no rule and never sends a call again that a member may have carried out. A call that surely wasn't carried
//! out (a redirection, a member that isn't reached yet) is sent on, within the time that an answer may take; after that
//! the session is told so (R29). When a member fails, only its groups are reconciled (R12). A member that has just
//! started is asked for nothing new (R30).

mod events;
mod route;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::Cluster;
use super::map::{SlotMap, Topology};
use super::member::{Member, MemberEvent, Opened, Sent};
use super::survey::Survey;
use crate::config::Node;
use crate::lease::SessionId;
use crate::moment::Moment;
use crate::protocol::Outgoing;
use crate::store::LinkEvent;

/// The longest wait between two attempts to open a member's link.
const LONGEST_BACKOFF: Duration = Duration::from_millis(500);

/// When a request was held back for so long, the map may be wrong.
const HELD_TOO_LONG: Duration = Duration::from_millis(200);

/// A cluster's link, which a task runs.
pub(super) struct Router {
    cluster: Arc<Cluster>,
    session: SessionId,
    members: Vec<Member>,
    map: SlotMap,
    /// When the map was asked for.
    mapped_at: Moment,
    survey: Survey,
    /// Requests that no member can take now, oldest first.
    held_back: VecDeque<Sent>,
    orders: UnboundedReceiver<Vec<Outgoing>>,
    events: UnboundedSender<LinkEvent>,
    listens: bool,
    /// The member that is polled first.
    turn: usize,
}

enum Woken {
    Ordered(Option<Vec<Outgoing>>),
    Member(usize, MemberEvent),
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

    /// The member at this address, which somebody announced; it is added if it's new.
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

    /// Runs until the link is dropped, or is of no use any more.
    pub(super) async fn run(mut self) {
        loop {
            let now = Moment::now();
            if !self.handle_timeout(now) {
                return;
            }
            self.members.iter_mut().for_each(Member::flush);
            let woken = self.wait(now).await;
            let now = Moment::now();
            let goes_on = match woken {
                Woken::Ordered(None) => false,
                Woken::Ordered(Some(requests)) => self.take_orders(now, requests),
                Woken::Member(from, event) => self.handle(now, from, event),
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
            (from, event) = poll_fn(|context| poll_members(members, turn, context)) => Woken::Member(from, event),
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

    /// Does what is due; false when the link is of no use any more.
    fn handle_timeout(&mut self, now: Moment) -> bool {
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

    /// The nodes to ask about the cluster: first members with an open link, last the nodes of the options.
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
        // When the receiver was dropped, the link is dropped next.
        let _ = self.events.send(event);
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

    /// Takes over what a member said about the cluster.
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

/// The next event of any member; each time another member comes first.
fn poll_members(
    members: &mut [Member],
    turn: &mut usize,
    context: &mut Context<'_>,
) -> Poll<(usize, MemberEvent)> {
    let many = members.len();
    for step in 0..many {
        let member = (*turn + step) % many;
        if let Poll::Ready(event) = members[member].poll(context) {
            *turn = member + 1;
            return Poll::Ready((member, event));
        }
    }
    Poll::Pending
}
