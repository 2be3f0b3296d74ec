//! What a link has to send and what it waits for: requests in, pipelines out, replies to events.
//!
//! Nothing here waits; whoever has something to send, or is woken by a reply, calls it under the link's lock.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult, ServerErrorKind, Value};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::unconstrained;

use crate::protocol::{CallError, Outgoing};
use crate::store::LinkEvent;
use crate::store::redis::bundle::Bundle;
use crate::store::redis::names::Names;
use crate::store::redis::sentinel::watch::Doubt;
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
    /// Scripts were found missing: load them before the next call.
    scripts_missing: bool,
    /// Whether calls for several groups may go as one command.
    together: bool,
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
    bundles: Vec<Bundle>,
    /// Replies that come before those of the bundles.
    skip: usize,
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
            scripts_missing: false,
            together: false,
            pump: None,
        }
    }

    pub(super) fn open(&mut self, connection: MultiplexedConnection, together: bool) -> bool {
        self.together = together;
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
        if std::mem::take(&mut self.scripts_missing) {
            Names::load_scripts(&mut pipeline);
        }
        let skip = pipeline.len();
        let bundles = self.next_bundles();
        for bundle in &bundles {
            pipeline.add_command(match bundle {
                Bundle::Calls { caller, calls, .. } => self.names.call(caller, calls),
                Bundle::Keys { pattern, cursor, .. } => list::command(self.names.prefix(), pattern, cursor),
                Bundle::Asking => redis::cmd("ASKING"),
            });
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
        InFlight { bundles, skip, early, values }
    }

    /// What goes into the next pipeline, in commands.
    fn next_bundles(&mut self) -> Vec<Bundle> {
        let (mut bundles, mut items) = (Vec::new(), 0);
        while items < MAX_ITEMS
            && let Some(Waiting { request, asking }) = self.waiting.pop_front()
        {
            items += match &request {
                Outgoing::Call { call, .. } => call.verb.items().max(1),
                Outgoing::Keys { .. } => 1,
            };
            if asking {
                bundles.push(Bundle::Asking);
            }
            match self.together {
                true => Bundle::put(&mut bundles, request),
                false => bundles.push(request.into()),
            }
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
                Ok(values) if values.len() == done.skip + done.bundles.len() => {
                    for (bundle, value) in done.bundles.into_iter().zip(values.into_iter().skip(done.skip)) {
                        self.answer(bundle, value);
                    }
                }
                // Which reply belongs to which call isn't known any more.
                Ok(_) => return self.down("the server's replies don't match the calls"),
                Err(error) => return self.down(&error.to_string()),
            }
        }
    }

    fn answer(&mut self, bundle: Bundle, value: Value) {
        let value = match value {
            Value::ServerError(error) => {
                self.scripts_missing |= error.kind() == Some(ServerErrorKind::NoScript);
                if let (Bundle::Calls { calls, .. }, Some(kind)) = (&bundle, error.kind())
                    && calls.len() > 1
                    && is_about_keys(kind)
                {
                    return self.send_apart(bundle);
                }
                let error = reply::call_error(&error.into());
                Err(if self.names.of_cluster() { error } else { reply::outside_a_cluster(error) })
            }
            value => Ok(value),
        };
        match bundle {
            // If it was refused, so is the call after it.
            Bundle::Asking => {}
            Bundle::Calls { ids, calls, .. } => {
                let results = match value {
                    Ok(value) if calls.len() == 1 => vec![reply::parse(&calls[0].verb, value)],
                    Ok(value) => reply::parse_each(&calls, value),
                    Err(error) => vec![Err(error); calls.len()],
                };
                for (id, result) in ids.into_iter().zip(results) {
                    if matches!(&result, Err(CallError::NotExecuted(words)) if words.contains("NOREPLICAS")) {
                        self.doubt.raise();
                    }
                    self.emit(LinkEvent::Reply { id, result });
                }
            }
            Bundle::Keys { id, pattern, .. } => {
                let result = value.and_then(|value| list::page(self.names.prefix(), &pattern, value));
                self.emit(LinkEvent::Keys { id, result });
            }
        }
    }

    /// The server doesn't take these keys in one command, and has carried out nothing: from now on each call goes
    /// alone. Once in a connection's life, later calls of the same groups may so be carried out before these; a session
    /// has no two calls under way that would mind.
    fn send_apart(&mut self, bundle: Bundle) {
        let Bundle::Calls { caller, ids, calls } = bundle else { return };
        self.together = false;
        for (id, call) in ids.into_iter().zip(calls).rev() {
            self.waiting.push_front(Waiting { request: Outgoing::Call { id, caller, call }, asking: false });
        }
    }
}

/// Whether the server refused the keys of a command, and might have taken some of them alone.
fn is_about_keys(kind: ServerErrorKind) -> bool {
    matches!(kind, ServerErrorKind::CrossSlot | ServerErrorKind::NoPerm)
}
