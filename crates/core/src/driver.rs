//! Moves calls, replies, pushes and time between sessions and their stores.
//!
//! No rule of the limiter is here. A session and what belongs to it are behind a lock (`state`). A caller takes the
//! lock on its own thread, so what the process can answer by itself crosses no thread. One thread for the whole process
//! does the rest, with a task for each session (`task`): sending, reading from servers, timers. `clients` and `outbox`
//! keep what clients are to be told, `alert` is what an embedded store wakes, `store_connection` the connection to one
//! store, `replicas` finds out whether replicas have a grant, `wall_clock` whether the machine was stopped. Clients
//! with the same resolved options share a session and its connection, also across threads.
//!
//! Locks are taken in this order: the registry, a session's state, a client's outbox. Clients are told and tasks are
//! woken without the first two.

mod alert;
mod clients;
mod outbox;
mod replicas;
mod state;
mod store_connection;
mod task;
#[cfg(test)]
mod tests;
mod wall_clock;

use std::collections::HashMap;
use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::runtime;

use self::outbox::Outbox;
use self::replicas::Checks;
use self::state::DriverState;
use self::store_connection::StoreConnection;
use self::task::Shared;
use crate::config::{OnUnavailable, Options, Place};
use crate::error::Error;
use crate::fallback::{Fallback, Sessions};
use crate::lease::SessionId;
use crate::session::{AdminQuery, ClientId, Event, Request, Settings, Tag};
use crate::store::Store;
use crate::store::memory::MemoryStore;
use crate::store::redis::{ClusterStore, RedisStore, TransportStore};
use crate::sync::lock;

/// Receives a client's events: on the core's thread or on one that calls the client, one call at a time and in order.
/// Must not block.
pub trait Sink: Send + Sync + 'static {
    /// Events, in order. The callee drains the vector.
    fn tell(&self, events: &mut Vec<Event>);

    /// The session has ended by a bug in this program: no event follows.
    fn broken(&self, message: &str);
}

/// What a client wants of its session.
#[derive(Debug)]
pub enum Command {
    /// A lease.
    Submit(Request),
    /// A lease given back.
    Release(Tag),
    /// A request no longer wanted.
    Cancel(Tag),
    /// An answer.
    Ask(Tag, AdminQuery),
    /// From now on the client's leases are renewed only while it sends a command at least that often.
    Watch(Duration),
    /// A sign of life.
    Beat,
    /// Ends the client: see [`Client::close`]. Commands after it are ignored.
    Close {
        /// Comes back in [`Event::Closed`].
        tag: Tag,
        /// Whether what is held is given back, or left to its end.
        release: bool,
    },
}

/// One user of the limiter. Dropping it closes it.
pub struct Client {
    id: ClientId,
    shared: Arc<Shared>,
    closed: AtomicBool,
}

/// A running session, and how many clients it has.
struct Entry {
    shared: Arc<Shared>,
    clients: usize,
}

/// The process's sessions by their options.
static REGISTRY: Mutex<Option<HashMap<Options, Entry>>> = Mutex::new(None);

static NEXT_CLIENT: AtomicU64 = AtomicU64::new(1);

impl Client {
    /// A client for these options; connects when it first asks for something.
    pub fn open(options: &Options, sink: Arc<dyn Sink>) -> Result<Self, Error> {
        let options = &options.resolved()?;
        let store = store_for(options)?;
        Ok(Self::enter(options, store, sink))
    }

    fn enter(options: &Options, store: Arc<dyn Store>, sink: Arc<dyn Sink>) -> Self {
        let id = ClientId(NEXT_CLIENT.fetch_add(1, Ordering::Relaxed));
        let mut registry = lock(&REGISTRY);
        let sessions = registry.get_or_insert_default();
        let shared = match sessions.get_mut(options) {
            Some(entry) => {
                entry.clients += 1;
                Arc::clone(&entry.shared)
            }
            None => {
                let shared = start(options, store);
                sessions.insert(options.clone(), Entry { shared: Arc::clone(&shared), clients: 1 });
                shared
            }
        };
        // Under the registry's lock: so the session can't end before the client has joined it.
        shared.join(id, Arc::new(Outbox::new(sink)));
        Self { id, shared, closed: AtomicBool::new(false) }
    }

    /// The client's id, for the requests that it submits.
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// The session whose id its leases' ids begin with.
    pub fn session(&self) -> SessionId {
        self.shared.session
    }

    /// Carries out commands, in order. What the process can answer by itself is told before this returns, unless
    /// another thread is telling this client something at the moment. False when the client is closed: then nothing is
    /// answered.
    pub fn send(&self, commands: impl IntoIterator<Item = Command>) -> bool {
        self.shared.take_in(self.id, || {
            // Under the lock: a command after the close would never be answered.
            let open = !self.closed.load(Ordering::Relaxed);
            open.then(|| commands.into_iter().filter(|command| self.admits(command)))
        })
    }

    /// Closes the client: waiting requests fail as closed, leases are given back or left to their end, and
    /// [`Event::Closed`] with this tag is its last event. False if it was closed before.
    pub fn close(&self, tag: Tag, release: bool) -> bool {
        self.send([Command::Close { tag, release }])
    }

    /// Whether the client is open. A close ends that.
    fn admits(&self, command: &Command) -> bool {
        match command {
            Command::Close { .. } => !self.closed.swap(true, Ordering::Relaxed),
            _ => !self.closed.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close(Tag::MAX, true);
    }
}

fn store_for(options: &Options) -> Result<Arc<dyn Store>, Error> {
    match &options.place {
        Place::Memory(name) => Ok(Arc::new(MemoryStore::shared(name))),
        Place::Cluster { .. } => Ok(Arc::new(ClusterStore::new(options.clone())?)),
        Place::Client(client) => Ok(Arc::new(TransportStore::new(client.clone(), options.clone()))),
        Place::Url(_) | Place::Server { .. } | Place::Sentinel { .. } => {
            Ok(Arc::new(RedisStore::new(options.clone())?))
        }
    }
}

fn start(options: &Options, store: Arc<dyn Store>) -> Arc<Shared> {
    let settings = settings(options, &*store);
    let session = settings.id;
    let checks = Checks::start(&*store);
    let settings = Settings { checked: checks.is_some(), ..settings };
    let (fallback, local) = fallback(options).unzip();
    let sessions = Sessions::new(settings, fallback);
    let (redis, local) = (StoreConnection::new(store), local.map(StoreConnection::new));
    let state = DriverState::new(sessions, redis, local, checks);
    let shared = Shared::new(session, options.clone(), state);
    runtime().spawn(task::run(Arc::clone(&shared)));
    shared
}

/// Counts clients of a session that have ended; whether the session is over now.
fn leave(shared: &Shared, many: usize) -> bool {
    let mut registry = lock(&REGISTRY);
    let sessions = registry.get_or_insert_default();
    let Some(entry) = sessions.get_mut(&shared.options) else { return false };
    if !std::ptr::eq(&*entry.shared, shared) {
        return false;
    }
    entry.clients = entry.clients.saturating_sub(many);
    let last = entry.clients == 0;
    if last {
        sessions.remove(&shared.options);
        // Under the registry's lock: nobody joins a session that ends.
        shared.end();
    }
    last
}

fn settings(options: &Options, store: &dyn Store) -> Settings {
    Settings {
        id: SessionId(getrandom::u64().expect("the system has a source of random numbers")),
        address: store.address(),
        command_timeout: options.command_timeout,
        connect_timeout: options.connect_timeout,
        settle: options.settle,
        impatient: options.on_unavailable != OnUnavailable::Reject,
        identity: options.identity.clone().map(Arc::new),
        checked: false,
    }
}

/// The fallback that the options ask for, with its store. All limiters of a process for the same server share that
/// store.
fn fallback(options: &Options) -> Option<(Fallback, Arc<dyn Store>)> {
    let (lifts_limit, bound) = match options.on_unavailable {
        OnUnavailable::Reject => return None,
        OnUnavailable::Allow(bound) => (true, bound),
        OnUnavailable::Local(bound) => (false, bound),
    };
    let mut hasher = DefaultHasher::new();
    (&options.place, &options.key_prefix, lifts_limit).hash(&mut hasher);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::shared(&format!("fallback-{:016x}", hasher.finish())));
    let settings = Settings { impatient: false, ..settings(options, &*store) };
    Some((Fallback { settings, lifts_limit, bound }, store))
}

/// The process's one runtime, on a thread of its own.
fn runtime() -> &'static runtime::Handle {
    static RUNTIME: OnceLock<runtime::Handle> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new().name("concurrency-limit".into());
        thread.spawn(move || runtime.block_on(pending::<()>())).expect("a thread can be started");
        handle
    })
}
