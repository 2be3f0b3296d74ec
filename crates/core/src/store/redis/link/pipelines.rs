//! The pipelines of a link: it makes them from requests, sends them, and reads their replies (`replies`).
//!
//! Nothing here waits. It is called under the link's lock, to send something or after a reply has arrived.

mod replies;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult, Value};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::unconstrained;

use crate::protocol::Outgoing;
use crate::store::LinkEvent;
use crate::store::redis::bundle::{Bundle, Together};
use crate::store::redis::doubt::Doubt;
use crate::store::redis::library::{Found, Way};
use crate::store::redis::names::Names;
use crate::store::redis::{list, reply};

/// A pipeline with so many items is sent. The replies of a pipeline arrive together; while this process handles them,
/// Redis carries out the next pipeline.
const MAX_ITEMS: usize = 64;

/// The most unanswered pipelines: fewer than the connection's queue takes, so that sending never waits.
pub(super) const MAX_PIPELINES: usize = 32;

/// The pipelines of one connection.
pub(super) struct Pipelines {
    stage: Stage,
    events: UnboundedSender<LinkEvent>,
    names: Names,
    doubt: Doubt,
    /// Events from before `open`.
    early: Vec<LinkEvent>,
    waiting: VecDeque<Waiting>,
    in_flight: VecDeque<InFlight>,
    /// Which calls may go as one command.
    together: Together,
    /// The task that is woken by replies.
    pump: Option<Waker>,
}

/// A request to be sent, and whether `ASKING` goes before it.
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
    /// Its first command loads the library, to be run in this way.
    loads: Option<Way>,
    bundles: Vec<Bundle>,
    /// How many replies there will be.
    expected: usize,
    /// The values, if the first poll gave them.
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
            // When the receiver was dropped, the link is dropped next.
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
        // This drops the last clones of the connection, which closes its socket.
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
        let loads = self.names.load().map(|(way, load)| {
            pipeline.add_command(load);
            way
        });
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
        // Outside the runtime's budget: a reply that has arrived must be read, or a push would overtake it.
        let mut values =
            Box::pin(unconstrained(
                async move { connection.send_packed_commands(&pipeline, 0, expected).await },
            ));
        // The first poll puts the pipeline into the connection's queue, which keeps pipelines in order.
        let early = match values.as_mut().poll(context) {
            Poll::Ready(values) => Some(values),
            Poll::Pending => None,
        };
        InFlight { loads, bundles, expected, early, values }
    }

    /// The commands of the next pipeline.
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

    /// Sends as many pipelines as it may, and handles all replies that have arrived, oldest first.
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
                    match values.iter().find_map(reply::logged_out) {
                        // The session settles what this leaves unclear, and the next link logs in.
                        Some(why) => return self.down(&why),
                        None => self.answer(done.loads, done.bundles, values.into_iter().map(reply::checked)),
                    }
                }
                // The replies can't be assigned to the calls any more.
                Ok(_) => return self.down("the server's replies don't match the calls"),
                Err(error) => return self.down(&error.to_string()),
            }
        }
    }
}
