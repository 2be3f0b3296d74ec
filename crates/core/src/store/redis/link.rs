//! An open link: pipelines out, and one queue of events in, in the order of the wire.
//!
//! The client library hands pushes to a callback and replies to futures. Both end here under one lock: before a push is
//! queued, the replies that arrived before it are; so the queue is the wire's order. It doesn't time out, retry or
//! reconnect: what has no reply when the connection ends stays unclear, and [`LinkEvent::Down`] says so once.

mod pipelines;

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};

use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc::UnboundedSender;

use self::pipelines::{MAX_PIPELINES, Pipelines};
use super::doubt::Doubt;
use super::library::Found;
use super::names::Names;
use super::task::Task;
use crate::protocol::{Outgoing, Push};
use crate::store::{Link, LinkEvent};
use crate::sync::lock;

/// The connection's own queue, in pipelines; the handshake and a probe use it too.
pub(super) const CONNECTION_QUEUE: usize = MAX_PIPELINES + 8;

/// What a link and the tasks that serve it share.
pub(super) struct Flow(Mutex<Pipelines>);

impl Flow {
    /// A flow whose connection is still being opened; it raises `doubt` when a reply gives reason to.
    pub(super) fn new(names: Names, events: UnboundedSender<LinkEvent>, doubt: Doubt) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Pipelines::new(names, events, doubt))))
    }

    fn lock(&self) -> MutexGuard<'_, Pipelines> {
        lock(&self.0)
    }

    /// Takes over an opened connection to a server that has the `library`; false if it was lost meanwhile. `together`
    /// says whether the server is known to have the keys of all groups in one place.
    pub(super) fn open(&self, connection: MultiplexedConnection, library: Found, together: bool) -> bool {
        self.lock().open(connection, library, together)
    }

    /// The session was told something, now. Whoever calls this has read all that came before on the same connection.
    pub(super) fn push(&self, push: Push) {
        let mut pipelines = self.lock();
        // Replies that arrived before this push must come before it in the queue, too.
        pipelines.advance_on_pump();
        pipelines.emit(LinkEvent::Push(push));
    }

    /// Pushes end, calls go on.
    pub(super) fn push_lost(&self) {
        self.lock().emit(LinkEvent::PushLost);
    }

    /// The connection has ended. Replies that arrived before that still count.
    pub(super) fn down(&self, reason: &str) {
        let mut pipelines = self.lock();
        pipelines.advance_on_pump();
        pipelines.down(reason);
    }

    /// Ends everything without a word.
    pub(super) fn close(&self) {
        self.lock().close();
    }
}

/// The [`Link`] to a Redis server.
pub(super) struct RedisLink {
    flow: Arc<Flow>,
    _pump: Task,
    _tasks: Vec<Task>,
}

impl RedisLink {
    /// Sets an opened flow going; `tasks` drive its connections and end with it.
    pub(super) fn start(flow: Arc<Flow>, tasks: Vec<Task>) -> Self {
        let pump = Task::spawn({
            let flow = Arc::clone(&flow);
            async move { poll_fn(|context| flow.lock().poll(context)).await }
        });
        Self { flow, _pump: pump, _tasks: tasks }
    }
}

impl RedisLink {
    /// Sends a request that belongs to another server, which said to ask this one.
    pub(super) fn send_asking(&mut self, request: Outgoing) {
        self.flow.lock().submit(vec![request], true);
    }
}

impl Link for RedisLink {
    fn send(&mut self, requests: Vec<Outgoing>) {
        self.flow.lock().submit(requests, false);
    }
}

impl Drop for RedisLink {
    fn drop(&mut self) {
        self.flow.close();
    }
}
