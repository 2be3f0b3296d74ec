//! A process of the small world: its session, its links, and what its requests have come to.

use std::collections::VecDeque;
use std::time::Duration;

use concurrency_limit::lease::SessionId;
use concurrency_limit::protocol::{Call, CallError, CallId, Caller, Push, Reply};
use concurrency_limit::session::{Session, Settings, Tag};

use crate::scenario::Plan;

#[derive(Debug)]
pub(super) enum Up {
    Call(CallId, Caller, Call),
    Hangup,
}

#[derive(Debug)]
pub(super) enum Down {
    Reply(CallId, Result<Reply, CallError>),
    Push(Push),
}

#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) up: VecDeque<Up>,
    pub(super) down: VecDeque<Down>,
    /// The server believes in it.
    pub(super) served: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Idle,
    Asked,
    Inside,
    Done,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) session: Session,
    pub(super) links: Vec<Link>,
    pub(super) connected: bool,
    pub(super) alive: bool,
    pub(super) plan: Plan,
    /// Of each request, the first is tag 0.
    pub(super) stages: Vec<Stage>,
    pub(super) answered: Vec<bool>,
}

impl Peer {
    pub(super) fn new(id: SessionId, plan: Plan) -> Self {
        let settings = Settings {
            id,
            address: "small".into(),
            command_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(10),
            settle: Duration::from_secs(2),
            impatient: false,
            identity: None,
            checked: false,
        };
        Self {
            session: Session::new(settings),
            links: Vec::new(),
            connected: false,
            alive: true,
            plan,
            stages: vec![Stage::Idle; plan.requests() as usize],
            answered: vec![false; plan.requests() as usize],
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.stages.iter().all(|stage| *stage == Stage::Done)
    }

    /// What was sent may still be carried out; what was to come is lost.
    pub(super) fn break_link(&mut self) {
        if let Some(link) = self.links.last_mut().filter(|_| self.connected) {
            link.down.clear();
            link.up.push_back(Up::Hangup);
        }
    }

    /// The request that does something next. A crowd asks first, then the first of it goes; who keeps its slot goes
    /// before it asks again.
    pub(super) fn next_deed(&self) -> Option<Tag> {
        let first = |stage: Stage| self.stages.iter().position(|other| *other == stage).map(|at| at as Tag);
        let cancels = first(Stage::Asked).filter(|_| self.plan == Plan::Cancel);
        match self.plan {
            Plan::Keep if first(Stage::Asked).is_some() => None,
            Plan::Keep => first(Stage::Inside).or_else(|| first(Stage::Idle)),
            _ => first(Stage::Idle).or_else(|| first(Stage::Inside)).or(cancels),
        }
    }
}
