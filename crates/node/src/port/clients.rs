//! The open clients of a port.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use concurrency_limit::driver::{Client, Command};

use super::shared::Shared;
use crate::lengths::length;
use crate::sync::lock;

/// The clients of a port, shared by all that may notice the environment's end. Only the JavaScript thread has it.
#[derive(Clone)]
pub(super) struct OpenClients {
    pub(super) clients: Rc<RefCell<HashMap<u32, Client>>>,
    shared: Arc<Shared>,
    is_over: Rc<Cell<bool>>,
}

impl OpenClients {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { clients: Rc::default(), shared, is_over: Rc::default() }
    }

    /// Closes all clients, once, and waits `wait_ms` at most for their ends.
    pub(super) fn end(&self, wait_ms: f64) {
        if self.is_over.replace(true) {
            return;
        }
        self.shared.without_wake(|| {
            self.clients.borrow().values().for_each(|client| {
                client.close(0, true);
            });
        });
        let open = lock(&self.shared.open);
        // When all have ended or the time is over, the process's end goes on.
        drop(self.shared.ends.wait_timeout_while(open, length(wait_ms), |open| !open.is_empty()));
    }

    /// The port was ended: there is nothing to close any more.
    pub(super) fn forget(&self) {
        self.is_over.set(true);
    }
}

/// Sends a batch of commands and empties it.
pub(super) fn send(clients: &HashMap<u32, Client>, client: u32, batch: &mut Vec<Command>) {
    let commands = batch.drain(..);
    if let Some(client) = clients.get(&client) {
        client.send(commands);
    }
}
