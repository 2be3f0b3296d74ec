//! The clients of a session, and the events that each of them is to be told when the session's lock is released.

use std::collections::HashMap;
use std::sync::Arc;

use super::outbox::Outbox;
use crate::session::{ClientId, Event};

#[derive(Default)]
pub(super) struct Clients {
    clients: HashMap<ClientId, Client>,
    /// Clients with something in `told`.
    fresh: Vec<ClientId>,
}

struct Client {
    outbox: Arc<Outbox>,
    /// What it is to be told.
    told: Vec<Event>,
    /// Its end is in `told`, and nothing is told after that.
    over: bool,
}

impl Client {
    /// Adds an event; true for the first one.
    fn tell(&mut self, event: Event) -> bool {
        if self.over {
            return false;
        }
        self.over = matches!(event, Event::Closed { .. });
        self.told.push(event);
        self.told.len() == 1
    }
}

impl Clients {
    pub(super) fn join(&mut self, client: ClientId, outbox: Arc<Outbox>) {
        self.clients.insert(client, Client { outbox, told: Vec::new(), over: false });
    }

    /// Tells the client that the event names, or all of them.
    pub(super) fn tell(&mut self, event: Event) {
        match event.client() {
            Some(client) => {
                if self.clients.get_mut(&client).is_some_and(|known| known.tell(event)) {
                    self.fresh.push(client);
                }
            }
            None => {
                for (client, known) in &mut self.clients {
                    if known.tell(event.clone()) {
                        self.fresh.push(*client);
                    }
                }
            }
        }
    }

    /// Moves the events into the clients' outboxes. They are returned: their clients are told without the lock.
    pub(super) fn post(&mut self) -> Vec<Arc<Outbox>> {
        let mut outboxes = Vec::new();
        for client in self.fresh.drain(..) {
            let Some(Client { outbox, told, over }) = self.clients.get_mut(&client) else { continue };
            outbox.put(told);
            outboxes.push(Arc::clone(outbox));
            if *over {
                self.clients.remove(&client);
            }
        }
        outboxes
    }

    /// Removes all clients; their outboxes.
    pub(super) fn end(&mut self) -> Vec<Arc<Outbox>> {
        self.fresh.clear();
        self.clients.drain().map(|(_, client)| client.outbox).collect()
    }
}
