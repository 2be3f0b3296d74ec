//! A grant counts only when enough replicas have it (`min_replicas`): what stands between a session and a client for that.
//!
//! The session isn't told. A grant that it tells is withheld until the store has found enough replicas; then the client
//! gets it, or it's given back, and the request is asked again under the same tag while its time lasts. One check serves
//! all grants that were told before it began. Exactly one event ends each request, as without this (R12).
//!
//! Locks: the inbox's first, then a client's own state; never the other way round.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;

use super::{Command, Shared, Sink, Wish, lock};
use crate::error::Error;
use crate::lease::FencingToken;
use crate::moment::Moment;
use crate::session::{ClientId, Event, Granted, Request, Tag};
use crate::store::{Replicas, Store};

/// How many grants one check may serve.
const MOST: usize = 10_000;

/// How long to wait after a check that failed, so that a lost connection isn't asked in a circle.
const PAUSE: Duration = Duration::from_millis(100);

/// A grant to be checked.
pub(super) struct Job {
    confirming: Arc<Confirming>,
    tag: Tag,
    /// A request that was asked again in the meantime has another.
    token: FencingToken,
}

/// One client's requests, and how far each is.
pub(super) struct Confirming {
    client: ClientId,
    shared: Arc<Shared>,
    sink: Arc<dyn Sink>,
    address: String,
    jobs: UnboundedSender<Job>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: HashMap<Tag, Record>,
    closed: bool,
}

struct Record {
    request: Request,
    asked_at: Moment,
    stage: Stage,
}

enum Stage {
    /// The session has it.
    Asked,
    /// Granted; the client doesn't know.
    Withheld { lease: Granted },
    /// Being given back, and why; without a reason when the client cancelled it.
    Returning(Option<String>),
}

/// What becomes of an event that the session told.
enum Heard {
    Tell(Event),
    Check(Tag, FencingToken),
    Send(Command),
    Nothing,
}

/// The sink that the session tells.
struct Guard(Arc<Confirming>);

/// Starts checking for a session whose store has replicas to ask.
pub(super) fn start(store: &dyn Store) -> Option<UnboundedSender<Job>> {
    let replicas = store.replicas()?;
    let (jobs, waiting) = unbounded_channel();
    super::runtime().spawn(check(replicas, waiting));
    Some(jobs)
}

/// Checks until no client is left that could ask.
async fn check(mut replicas: Box<dyn Replicas>, mut jobs: UnboundedReceiver<Job>) {
    let mut batch = Vec::new();
    while jobs.recv_many(&mut batch, MOST).await > 0 {
        let result = replicas.have_all().await;
        if result.is_err() {
            sleep(PAUSE).await;
        }
        for Job { confirming, tag, token } in batch.drain(..) {
            confirming.checked(tag, token, &result);
        }
    }
}

impl Confirming {
    /// For a client that takes its seat now; `jobs` is from [`start`].
    pub(super) fn new(
        client: ClientId,
        shared: Arc<Shared>,
        sink: Arc<dyn Sink>,
        address: String,
        jobs: UnboundedSender<Job>,
    ) -> Arc<Self> {
        Arc::new(Self { client, shared, sink, address, jobs, state: Mutex::default() })
    }

    /// What the session is to tell instead of the client's sink.
    pub(super) fn guard(self: &Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(Guard(Arc::clone(self)))
    }

    /// Takes note of a command, and gives back what the session is to do. Called under the inbox's lock.
    pub(super) fn route(&self, command: Command) -> Option<Command> {
        let mut state = lock(&self.state);
        match command {
            Command::Submit(request) => {
                let (tag, asked_at) = (request.tag, Moment::now());
                state.records.insert(tag, Record { request: request.clone(), asked_at, stage: Stage::Asked });
                Some(Command::Submit(request))
            }
            Command::Cancel(tag) | Command::Release(tag) => {
                let Some(record) = state.records.get_mut(&tag) else { return Some(command) };
                match std::mem::replace(&mut record.stage, Stage::Returning(None)) {
                    Stage::Withheld { .. } => Some(Command::Release(tag)),
                    Stage::Returning(_) => None,
                    Stage::Asked => {
                        record.stage = Stage::Asked;
                        Some(command)
                    }
                }
            }
            other => Some(other),
        }
    }

    /// The client ends; which grants it never heard of, those that are being given back included, as their release may
    /// come too late to be sent. Called under the inbox's lock.
    pub(super) fn close(&self) -> Vec<Tag> {
        let mut state = lock(&self.state);
        state.closed = true;
        let mut unheard = Vec::new();
        for (tag, record) in &mut state.records {
            match record.stage {
                Stage::Asked => continue,
                Stage::Withheld { .. } => {
                    record.stage = Stage::Returning(Some("the limiter is closed".into()))
                }
                Stage::Returning(_) => {}
            }
            unheard.push(*tag);
        }
        unheard
    }

    /// What a check found for a grant.
    fn checked(&self, tag: Tag, token: FencingToken, result: &Result<(), String>) {
        let now = Moment::now();
        let mut state = lock(&self.state);
        let Some(record) = state.records.get_mut(&tag) else { return };
        let Stage::Withheld { lease } = &mut record.stage else { return };
        match result {
            _ if lease.token != token => {}
            Ok(()) if now < lease.deadline => {
                // The session knows only of the last time that it was asked.
                lease.waited = now.saturating_since(record.asked_at);
                let event = Event::Granted { client: self.client, tag, lease: lease.clone() };
                state.records.remove(&tag);
                drop(state);
                self.sink.tell(&mut vec![event]);
            }
            // The session is about to say that it's lost.
            Ok(()) => {}
            Err(cause) => {
                record.stage = Stage::Returning(Some(cause.clone()));
                drop(state);
                self.send(Command::Release(tag));
            }
        }
    }

    /// To the session, past `route`. What comes after the close, nobody would answer.
    fn send(&self, command: Command) {
        let mut inbox = lock(&self.shared.inbox);
        if !lock(&self.state).closed {
            inbox.wishes.push((self.client, Wish::Command(command)));
            self.shared.wake.notify_one();
        }
    }

    fn hear(&self, state: &mut State, event: Event) -> Heard {
        let tag = match &event {
            Event::Granted { tag, .. }
            | Event::Failed { tag, .. }
            | Event::Released { tag, .. }
            | Event::Lost { tag, .. }
            | Event::Renewed { tag, .. } => *tag,
            _ => return Heard::Tell(event),
        };
        let Some(record) = state.records.get_mut(&tag) else { return Heard::Tell(event) };
        match (event, &mut record.stage) {
            (Event::Granted { lease, .. }, stage) => {
                let token = lease.token;
                *stage = Stage::Withheld { lease };
                Heard::Check(tag, token)
            }
            (Event::Renewed { deadline, .. }, Stage::Withheld { lease }) => {
                lease.deadline = deadline;
                Heard::Nothing
            }
            (Event::Lost { why, .. }, stage @ Stage::Withheld { .. }) => {
                *stage = Stage::Returning(Some(format!("lost before enough replicas had it: {why}")));
                Heard::Send(Command::Release(tag))
            }
            (Event::Released { .. }, Stage::Returning(cause)) => {
                let cause = cause.take();
                self.go_on(state, tag, cause)
            }
            (event @ Event::Failed { .. }, _) => {
                state.records.remove(&tag);
                Heard::Tell(event)
            }
            _ => Heard::Nothing,
        }
    }

    /// The grant is given back: the request is asked again if it has time left, or it's over.
    fn go_on(&self, state: &mut State, tag: Tag, cause: Option<String>) -> Heard {
        let Some(record) = state.records.get_mut(&tag) else { return Heard::Nothing };
        let mut request = record.request.clone();
        let waited = Moment::now().saturating_since(record.asked_at);
        request.timeout = request.timeout.map(|timeout| timeout.saturating_sub(waited));
        let error = match cause {
            None => None,
            Some(_) if state.closed => Some(Error::Closed),
            Some(_) if request.timeout != Some(Duration::ZERO) => {
                record.stage = Stage::Asked;
                return Heard::Send(Command::Submit(request));
            }
            Some(cause) => Some(Error::Unavailable { address: self.address.clone(), cause }),
        };
        state.records.remove(&tag);
        Heard::Tell(Event::Failed { client: self.client, tag, error })
    }
}

impl Guard {
    /// The client is closed: what it never heard of, or what is being given back, ends before that.
    fn close(&self, state: &mut State, told: &mut Vec<Event>) {
        let client = self.0.client;
        let left = state.records.drain().map(|(tag, record)| {
            let cancelled = matches!(record.stage, Stage::Returning(None));
            Event::Failed { client, tag, error: (!cancelled).then_some(Error::Closed) }
        });
        told.extend(left);
    }
}

impl Sink for Guard {
    fn tell(&self, events: &mut Vec<Event>) {
        let confirming = &self.0;
        let (mut told, mut commands, mut checks) = (Vec::new(), Vec::new(), Vec::new());
        let mut state = lock(&confirming.state);
        for event in events.drain(..) {
            if matches!(event, Event::Closed { .. }) {
                self.close(&mut state, &mut told);
            }
            match confirming.hear(&mut state, event) {
                Heard::Tell(event) => told.push(event),
                Heard::Check(tag, token) => checks.push((tag, token)),
                Heard::Send(command) => commands.push(command),
                Heard::Nothing => {}
            }
        }
        drop(state);
        for (tag, token) in checks {
            // The checking task lives as long as there is anybody who sends to it.
            let _ = confirming.jobs.send(Job { confirming: Arc::clone(confirming), tag, token });
        }
        commands.into_iter().for_each(|command| confirming.send(command));
        if !told.is_empty() {
            confirming.sink.tell(&mut told);
        }
    }

    fn broken(&self, message: &str) {
        self.0.sink.broken(message);
    }
}
