//! The link to one member of a cluster: opened when it's first needed, closed when it doesn't answer, opened again.
//!
//! A member is a server like any other: calls go over one connection that is also subscribed, so a member's pushes come
//! in order with its replies. `router` knows which calls belong to it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::Cluster;
use crate::config::Node;
use crate::error::Error;
use crate::lease::SessionId;
use crate::moment::Moment;
use crate::protocol::{CallId, Outgoing};
use crate::store::redis::connection;
use crate::store::redis::link::RedisLink;
use crate::store::{ConnectError, Link, LinkEvent, LinkInfo};

/// The first wait between two attempts to open a member's link.
const BACKOFF: Duration = Duration::from_millis(25);

/// An answer isn't late before the data in the socket could be read: a process that was frozen finds its answers there.
const GRACE: Duration = Duration::from_millis(25);

/// A request that has no answer yet.
pub(super) struct Sent {
    pub(super) request: Outgoing,
    /// When the session asked.
    pub(super) asked_at: Moment,
    /// When it was sent to the present member.
    pub(super) sent_at: Moment,
    /// How often it was sent on.
    pub(super) redirections: u8,
}

impl Sent {
    fn id(&self) -> CallId {
        match self.request {
            Outgoing::Call { id, .. } | Outgoing::Keys { id, .. } => id,
        }
    }
}

/// A member's link being opened.
type Opening = Pin<Box<dyn Future<Output = Result<Opened, ConnectError>> + Send>>;

/// A link to a member, and its events.
pub(super) struct Opened {
    pub(super) link: RedisLink,
    pub(super) info: LinkInfo,
    events: UnboundedReceiver<LinkEvent>,
}

/// Opens a link to one of the members at these announced addresses; its place among them.
pub(super) async fn open_any(
    cluster: &Cluster,
    nodes: &[Node],
    announced_by: &Node,
    session: SessionId,
    limit: Duration,
) -> Result<(usize, Opened), ConnectError> {
    let unusable = |error: Error| ConnectError::unusable(error.to_string());
    let server = |at: &Node| cluster.server(at, Some(announced_by)).map(Arc::new);
    let servers = nodes.iter().map(server).collect::<Result<Vec<_>, _>>();
    let (sender, events) = unbounded_channel();
    let servers = servers.map_err(unusable)?;
    let (at, link, info) = connection::open_any(&servers, session, sender, limit).await?;
    Ok((at, Opened { link, info, events }))
}

async fn open(
    cluster: Arc<Cluster>,
    at: Node,
    announced_by: Node,
    session: SessionId,
) -> Result<Opened, ConnectError> {
    let limit = cluster.options.connect_timeout;
    open_any(&cluster, &[at], &announced_by, session, limit).await.map(|(_, opened)| opened)
}

enum LinkState {
    /// Not needed so far, or not to be tried again before this moment.
    Closed(Option<Moment>),
    Opening(Opening),
    Open {
        link: RedisLink,
        events: UnboundedReceiver<LinkEvent>,
    },
}

/// One member of the cluster.
pub(super) struct Member {
    pub(super) at: Node,
    /// The node that announced it last.
    pub(super) announced_by: Node,
    /// It is in the cluster's last answer.
    pub(super) listed: bool,
    /// Its settling time (R30): it has just started.
    settles_until: Option<Moment>,
    link: LinkState,
    failures: u32,
    /// Why it couldn't be opened the last time.
    pub(super) refusal: Option<ConnectError>,
    was_open: bool,
    outgoing: Vec<Outgoing>,
    in_flight: VecDeque<Sent>,
    overdue_since: Option<Moment>,
}

/// What a member reports.
pub(super) enum MemberEvent {
    Opened(Result<Opened, ConnectError>),
    Event(LinkEvent),
}

impl Member {
    pub(super) fn new(at: Node, announced_by: Node) -> Self {
        Self {
            at,
            announced_by,
            listed: false,
            settles_until: None,
            link: LinkState::Closed(None),
            failures: 0,
            refusal: None,
            was_open: false,
            outgoing: Vec::new(),
            in_flight: VecDeque::new(),
            overdue_since: None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.link, LinkState::Open { .. })
    }

    /// Whether it has just started.
    pub(super) fn settles(&self, now: Moment) -> bool {
        self.settles_until.is_some_and(|until| now < until)
    }

    /// It has just started, if `until` is still to come.
    pub(super) fn settle(&mut self, until: Moment, now: Moment) {
        self.settles_until = Some(until).filter(|until| now < *until);
    }

    /// It doesn't answer normally yet: it's `loading`, or its cluster is `down` and it hasn't answered since it
    /// started.
    pub(super) fn settle_longer(&mut self, loading: bool, down: bool, until: Moment) {
        if loading || (down && self.settles_until.is_some()) {
            self.settles_until = Some(until);
        }
    }

    /// It carried out a call.
    pub(super) fn answered_normally(&mut self, now: Moment) {
        self.settles_until = self.settles_until.filter(|until| now < *until);
    }

    /// Begins to open the link, if it may be tried.
    pub(super) fn want(&mut self, cluster: &Arc<Cluster>, session: SessionId) {
        if let LinkState::Closed(None) = self.link {
            let opening = open(Arc::clone(cluster), self.at.clone(), self.announced_by.clone(), session);
            self.link = LinkState::Opening(Box::pin(opening));
        }
    }

    /// Whether from now on it may be tried again.
    pub(super) fn may_be_tried_again(&mut self, now: Moment) -> bool {
        let due = matches!(self.link, LinkState::Closed(Some(until)) if until <= now);
        if due {
            self.link = LinkState::Closed(None);
        }
        due
    }

    /// Takes over an opened link; its server's information.
    pub(super) fn take(&mut self, Opened { link, info, events }: Opened) -> LinkInfo {
        self.link = LinkState::Open { link, events };
        self.failures = 0;
        self.refusal = None;
        let first = !std::mem::replace(&mut self.was_open, true);
        // Without INFO, a member that had a link before counts as one that has just started (R30).
        LinkInfo { uptime: info.uptime.or(first.then_some(Duration::MAX)), ..info }
    }

    /// Sends a request with the others of this turn. The link is open.
    pub(super) fn send(&mut self, wire_request: Outgoing, sent: Sent) {
        self.outgoing.push(wire_request);
        self.in_flight.push_back(sent);
    }

    /// Sends a request that another member redirected to this one, after `ASKING`. The link is open.
    pub(super) fn send_asking(&mut self, sent: Sent) {
        self.flush();
        if let LinkState::Open { link, .. } = &mut self.link {
            link.send_asking(sent.request.clone());
        }
        self.in_flight.push_back(sent);
    }

    pub(super) fn flush(&mut self) {
        if let LinkState::Open { link, .. } = &mut self.link
            && !self.outgoing.is_empty()
        {
            link.send(std::mem::take(&mut self.outgoing));
        }
    }

    /// This request was answered. Answers mostly come in the order of sending.
    pub(super) fn answered(&mut self, id: CallId) -> Option<Sent> {
        self.overdue_since = None;
        let at = self.in_flight.iter().position(|sent| sent.id() == id)?;
        self.in_flight.remove(at)
    }

    /// Closes the link; the unanswered requests.
    pub(super) fn close(&mut self) -> VecDeque<Sent> {
        self.link = LinkState::Closed(None);
        self.overdue_since = None;
        self.settles_until = None;
        self.outgoing.clear();
        std::mem::take(&mut self.in_flight)
    }

    /// Closes a link that isn't needed.
    pub(super) fn close_idle(&mut self) {
        if self.is_open() && self.in_flight.is_empty() {
            self.close();
        }
    }

    /// The link couldn't be opened: sets when it may be tried again.
    pub(super) fn back_off(&mut self, now: Moment, longest: Duration) {
        self.failures += 1;
        let wait = (BACKOFF * 2u32.saturating_pow(self.failures.min(10) - 1)).min(longest);
        self.link = LinkState::Closed(Some(now + wait));
    }

    /// The next event.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<MemberEvent> {
        match &mut self.link {
            LinkState::Closed(_) => Poll::Pending,
            LinkState::Opening(opening) => opening.as_mut().poll(context).map(MemberEvent::Opened),
            LinkState::Open { events, .. } => events.poll_recv(context).map(|event| {
                MemberEvent::Event(
                    event.unwrap_or_else(|| LinkEvent::Down("the connection's task has ended".into())),
                )
            }),
        }
    }

    /// One more event, if one is ready.
    pub(super) fn try_event(&mut self) -> Option<LinkEvent> {
        match &mut self.link {
            LinkState::Open { events, .. } => events.try_recv().ok(),
            _ => None,
        }
    }

    /// When something is due: another try, or a call of [`Self::is_overdue`].
    pub(super) fn deadline(&self, patience: Duration) -> Option<Moment> {
        let next_try = match self.link {
            LinkState::Closed(until) => until,
            _ => None,
        };
        let overdue = self.overdue_since.map(|since| since + GRACE);
        overdue.or_else(|| self.in_flight.front().map(|sent| sent.sent_at + patience)).or(next_try)
    }

    /// Whether an answer is missing for too long.
    pub(super) fn is_overdue(&mut self, now: Moment, patience: Duration) -> bool {
        let late = self.in_flight.front().is_some_and(|sent| sent.sent_at + patience <= now);
        let since = late.then(|| self.overdue_since.unwrap_or(now));
        self.overdue_since = since;
        since.is_some_and(|since| since + GRACE <= now)
    }
}
