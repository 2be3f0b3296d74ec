//! What a link has to send and what it waits for: requests in, pipelines out, replies to events.
//!
//! Nothing here waits; whoever has something to send, or is woken by a reply, calls it under the link's lock.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::unconstrained;

use crate::protocol::{CallError, Outgoing, Reply};
use crate::store::LinkEvent;
use crate::store::redis::bundle::{Bundle, Calls, Together, acquires};
use crate::store::redis::library::Found;
use crate::store::redis::names::Names;

use crate::store::redis::doubt::Doubt;
use crate::store::redis::{list, reply};

/// A pipeline that touches so many slots or waiters goes out: its replies come together, and while one pipeline's are
/// worked on here, Redis works on the next.
const MAX_ITEMS: usize = 64;

/// Most pipelines on their way. Fewer than the connection's own queue takes, so that sending one never waits.
pub(super) const MAX_PIPELINES: usize = 32;

/// The pipelines of one connection.
pub(super) struct Pipelines {
    stage: Stage,
    events: UnboundedSender<LinkEvent>,
    names: Names,
    doubt: Doubt,
    /// What came before the connection was taken over.
    early: Vec<LinkEvent>,
    waiting: VecDeque<Waiting>,
    in_flight: VecDeque<InFlight>,
    /// Which calls may go as one command.
    together: Together,
    /// The task that is woken by replies.
    pump: Option<Waker>,
}

/// A request to be sent, and whether the server is told first that it's asked in another's place (`ASKING`).
struct Waiting {
    request: Outgoing,
    asking: bool,
}

enum Stage {
    Opening,
    Open(MultiplexedConnection),
    Closed,
}

/// One pipeline that was sent.
struct InFlight {
    /// The library is loaded before.
    loads: bool,
    bundles: Vec<Bundle>,
    /// How many replies there will be.
    expected: usize,
    /// The values, if they came before anybody asked for them.
    early: Option<RedisResult<Vec<Value>>>,
    values: Pin<Box<dyn Future<Output = RedisResult<Vec<Value>>> + Send>>,
}

impl Pipelines {
    pub(super) fn new(names: Names, events: UnboundedSender<LinkEvent>, doubt: Doubt) -> Self {
        Self {
            stage: Stage::Opening,
            events,
            names,
            doubt,
            early: Vec::new(),
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            together: Together { groups: false, needs: true },
            pump: None,
        }
    }

    pub(super) fn open(&mut self, connection: MultiplexedConnection, library: Found, together: bool) -> bool {
        self.names.found(library);
        self.together.groups = together;
        let opening = matches!(self.stage, Stage::Opening);
        if opening {
            self.stage = Stage::Open(connection);
            std::mem::take(&mut self.early).into_iter().for_each(|event| self.emit(event));
        }
        opening
    }

    pub(super) fn submit(&mut self, requests: Vec<Outgoing>, asking: bool) {
        if matches!(self.stage, Stage::Open(_)) {
            self.waiting.extend(requests.into_iter().map(|request| Waiting { request, asking }));
            // Without a pump yet, its first turn sends them.
            self.advance_on_pump();
        }
    }

    /// A turn of the pump, which lives as long as the link.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.pump.as_ref().is_some_and(|pump| pump.will_wake(context.waker())) {
            self.pump = Some(context.waker().clone());
        }
        self.advance(context);
        if matches!(self.stage, Stage::Closed) { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(super) fn emit(&mut self, event: LinkEvent) {
        match self.stage {
            // Another connection may still be taken instead of this one.
            Stage::Opening => self.early.push(event),
            // Whoever dropped the receiver drops the link next.
            Stage::Open(_) => drop(self.events.send(event)),
            Stage::Closed => {}
        }
    }

    pub(super) fn down(&mut self, reason: &str) {
        if matches!(self.stage, Stage::Open(_)) {
            self.emit(LinkEvent::Down(reason.to_owned()));
        }
        self.close();
    }

    pub(super) fn close(&mut self) {
        // The last clones of the connection go here, and its socket with them.
        self.stage = Stage::Closed;
        self.waiting.clear();
        self.in_flight.clear();
        if let Some(pump) = self.pump.take() {
            pump.wake();
        }
    }

    fn send_waiting(&mut self, context: &mut Context<'_>) {
        while !self.waiting.is_empty() && self.in_flight.len() < MAX_PIPELINES {
            let Stage::Open(connection) = &self.stage else { return };
            let connection = connection.clone();
            let pipeline = self.next_pipeline(connection, context);
            self.in_flight.push_back(pipeline);
        }
    }

    fn next_pipeline(
        &mut self,
        mut connection: MultiplexedConnection,
        context: &mut Context<'_>,
    ) -> InFlight {
        let mut pipeline = Pipeline::new();
        let load = self.names.load();
        let loads = load.is_some();
        if let Some(load) = load {
            pipeline.add_command(load);
        }
        let bundles = self.next_bundles();
        for bundle in &bundles {
            match bundle {
                Bundle::Calls(calls) => {
                    if calls.asking {
                        pipeline.cmd("ASKING");
                    }
                    pipeline.add_command(self.names.call(&calls.caller, &calls.calls));
                }
                Bundle::Keys { pattern, cursor, .. } => {
                    pipeline.add_command(list::command(self.names.prefix(), pattern, cursor));
                }
            }
        }
        let expected = pipeline.len();
        // Outside the runtime's budget: a reply that is there must be seen, or a push would overtake it.
        let mut values =
            Box::pin(unconstrained(
                async move { connection.send_packed_commands(&pipeline, 0, expected).await },
            ));
        // The first turn puts the pipeline into the connection's queue, which keeps pipelines in order.
        let early = match values.as_mut().poll(context) {
            Poll::Ready(values) => Some(values),
            Poll::Pending => None,
        };
        InFlight { loads, bundles, expected, early, values }
    }

    /// What goes into the next pipeline, in commands.
    fn next_bundles(&mut self) -> Vec<Bundle> {
        let (mut bundles, mut items, mut place) = (Vec::new(), 0, 0);
        let needs = self.together.needs && self.names.is_refused_whole();
        let together = Together { needs, ..self.together };
        while items < MAX_ITEMS
            && let Some(Waiting { request, asking }) = self.waiting.pop_front()
        {
            items += match &request {
                Outgoing::Call { call, .. } => call.verb.items().max(1),
                Outgoing::Keys { .. } => 1,
            };
            Bundle::put(&mut bundles, (place, request), asking, together);
            place += 1;
        }
        bundles
    }

    pub(super) fn advance_on_pump(&mut self) {
        if let Some(pump) = self.pump.clone() {
            self.advance(&mut Context::from_waker(&pump));
        }
    }

    /// Sends what has room, and queues every reply that is there, oldest first.
    fn advance(&mut self, context: &mut Context<'_>) {
        loop {
            self.send_waiting(context);
            let Some(front) = self.in_flight.front_mut() else { return };
            let values = match front.early.take() {
                Some(values) => values,
                None => match front.values.as_mut().poll(context) {
                    Poll::Ready(values) => values,
                    Poll::Pending => return,
                },
            };
            let Some(done) = self.in_flight.pop_front() else { return };
            match values {
                Ok(values) if values.len() == done.expected => {
                    self.answer(done.loads, done.bundles, values.into_iter().map(reply::checked));
                }
                // Which reply belongs to which call isn't known any more.
                Ok(_) => return self.down("the server's replies don't match the calls"),
                Err(error) => return self.down(&error.to_string()),
            }
        }
    }

    /// The replies to one pipeline, as many as its commands, as events in the order in which was asked.
    fn answer(
        &mut self,
        loads: bool,
        bundles: Vec<Bundle>,
        mut values: impl Iterator<Item = RedisResult<Value>>,
    ) {
        if loads && let Some(value) = values.next() {
            self.names.loaded(value);
        }
        let (mut events, mut again) = (Vec::new(), Vec::new());
        for bundle in bundles {
            match bundle {
                Bundle::Calls(calls) => {
                    // If asking in another's place is refused, so is the call after it.
                    let Some(value) = values.nth(usize::from(calls.asking)) else { continue };
                    self.answer_calls(calls, value, &mut events, &mut again);
                }
                Bundle::Keys { place, id, pattern, .. } => {
                    let Some(value) = values.next() else { continue };
                    let value = value.map_err(|error| self.names.call_error(&error));
                    let result = value.and_then(|value| list::page(self.names.prefix(), &pattern, value));
                    events.push((place, LinkEvent::Keys { id, result }));
                }
            }
        }
        events.sort_by_key(|(place, _)| *place);
        events.into_iter().for_each(|(_, event)| self.emit(event));
        for waiting in again.into_iter().rev() {
            self.waiting.push_front(waiting);
        }
    }

    fn answer_calls(
        &mut self,
        bundle: Calls,
        value: RedisResult<Value>,
        events: &mut Vec<(usize, LinkEvent)>,
        again: &mut Vec<Waiting>,
    ) {
        let several = bundle.of_several_groups();
        let apart = value.as_ref().is_err_and(|error| several && is_about_keys(error));
        let results = match value {
            Ok(value) => reply::parse_each(&bundle.calls, value),
            Err(error) => vec![Err(self.names.call_error(&error)); bundle.calls.len()],
        };
        let apart = apart && !matches!(results[..], [Err(CallError::NotExecuted(_)), ..]);
        // The server doesn't take these keys in one command, and has carried out nothing: from now on each group goes
        // alone. Once in a connection's life, later calls of the same groups may so be carried out before these; a
        // session has no two calls under way that would mind.
        self.together.groups &= !apart;
        let acquiring = bundle.acquires();
        if acquiring {
            self.together.needs = !results.iter().any(is_for_memory);
        }
        let Calls { caller, calls, asked, asking, .. } = bundle;
        for ((call, (place, id)), result) in calls.into_iter().zip(asked).zip(results) {
            // What gives back is refused with what asks for something new, and goes again without that (R25).
            if apart || (acquiring && !acquires(&call) && is_for_memory(&result)) {
                again.push(Waiting { request: Outgoing::Call { id, caller, call }, asking });
                continue;
            }
            if matches!(&result, Err(CallError::NotExecuted(words)) if words.contains("NOREPLICAS")) {
                self.doubt.raise();
            }
            events.push((place, LinkEvent::Reply { id, result }));
        }
    }
}

fn is_for_memory(result: &Result<Reply, CallError>) -> bool {
    matches!(result, Err(CallError::OutOfMemory(_)))
}

/// Whether the server refused the keys of a command, and might have taken some of them alone.
fn is_about_keys(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(ServerErrorKind::CrossSlot | ServerErrorKind::NoPerm))
}
