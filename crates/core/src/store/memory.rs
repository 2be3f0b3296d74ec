//! The embedded store: groups in this process, behind one lock.
//!
//! All links of one store, and of its clones, have the same groups, which only this process sees. The rules are in
//! `group`. Calls are carried out on the thread that sends them; a link's replies and pushes keep their order, because
//! both are queued under the lock (R17). A dropped link has no receivers (R18).

use std::collections::HashMap;
use std::future::ready;
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::UnboundedSender;

use super::{Connecting, Link, LinkEvent, LinkInfo, Store};
use crate::lease::SessionId;
use crate::moment::Moment;
use crate::protocol::Outgoing;
use crate::sync::lock;

mod groups;

use groups::Groups;

/// A clock of the store: µs since 1970, never going back.
pub type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// Groups in one process.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    world: Mutex<World>,
}

#[derive(Default)]
struct World {
    groups: Groups,
    listeners: HashMap<SessionId, Listener>,
    links: u64,
}

/// Where a session's pushes go: the events of its newest link.
struct Listener {
    link: u64,
    events: UnboundedSender<LinkEvent>,
}

impl MemoryStore {
    /// An empty store of its own.
    pub fn new() -> Self {
        Self::with_clock(unix_clock())
    }

    /// An empty store with this clock.
    pub fn with_clock(clock: Clock) -> Self {
        Self { shared: Arc::new(Shared { clock, world: Mutex::default() }) }
    }

    /// The store of this name. It exists as long as it is referenced in the process.
    pub fn shared(name: &str) -> Self {
        static STORES: LazyLock<Mutex<HashMap<String, Weak<Shared>>>> = LazyLock::new(Mutex::default);
        let mut stores = lock(&STORES);
        if let Some(shared) = stores.get(name).and_then(Weak::upgrade) {
            return Self { shared };
        }
        stores.retain(|_, shared| shared.strong_count() > 0);
        let store = Self::new();
        stores.insert(name.to_owned(), Arc::downgrade(&store.shared));
        store
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    fn connect(&self, session: SessionId, events: UnboundedSender<LinkEvent>) -> Connecting {
        let shared = self.shared.clone();
        let number = {
            let mut world = lock(&shared.world);
            world.links += 1;
            let link = world.links;
            world.listeners.insert(session, Listener { link, events: events.clone() });
            link
        };
        // A store in this process can't have lost leases, so there is no settling time (R30).
        let info = LinkInfo { listens: true, uptime: Some(Duration::MAX), ..LinkInfo::default() };
        let link: Box<dyn Link> = Box::new(MemoryLink { shared, session, number, events });
        Box::pin(ready(Ok((link, info))))
    }

    fn address(&self) -> String {
        "memory:".to_owned()
    }

    fn is_embedded(&self) -> bool {
        true
    }
}

struct MemoryLink {
    shared: Arc<Shared>,
    session: SessionId,
    number: u64,
    events: UnboundedSender<LinkEvent>,
}

impl Link for MemoryLink {
    fn send(&mut self, requests: Vec<Outgoing>) {
        let mut world = lock(&self.shared.world);
        for request in requests {
            let event = match request {
                Outgoing::Call { id, caller, call } => {
                    let World { groups, listeners, .. } = &mut *world;
                    let now_us = (self.shared.clock)();
                    let result = groups.call(now_us, &caller, &call, |session, push| {
                        let listener = listeners.get(&session);
                        listener.is_some_and(|listener| listener.events.send(LinkEvent::Push(push)).is_ok())
                    });
                    LinkEvent::Reply { id, result }
                }
                Outgoing::Keys { id, pattern, cursor } => {
                    let result = Ok(world.groups.keys((self.shared.clock)(), &pattern, &cursor));
                    LinkEvent::Keys { id, result }
                }
            };
            // Under the lock: a push for this link that another call makes from now on must come after this reply.
            // The receiver may be gone already.
            let _ = self.events.send(event);
        }
    }
}

impl Drop for MemoryLink {
    fn drop(&mut self) {
        let mut world = lock(&self.shared.world);
        // Unless a later link of the session has replaced it.
        if world.listeners.get(&self.session).is_some_and(|listener| listener.link == self.number) {
            world.listeners.remove(&self.session);
        }
    }
}

/// The wall clock at the start, continued by a clock that never goes back.
fn unix_clock() -> Clock {
    let start = Moment::now();
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Box::new(move || (unix + Moment::now().saturating_since(start)).as_micros() as u64)
}

#[cfg(test)]
mod tests;
