//! The bridge that one JS environment sees: rows go down in batches, completions lie ready until they are drained.
//!
//! What the process can answer by itself comes back in the call that asks. Other completions the core's thread writes
//! into the outbox and wakes JS once for many (`wake_flag`). A port whose environment ends without a word, or that is
//! dropped, closes its clients, which gives back what they hold.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::ptr;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use concurrency_limit::config::Asked;
use concurrency_limit::driver::{Client, Command, Sink};
use concurrency_limit::error::Error as CoreError;
use concurrency_limit::moment::Moment;
use concurrency_limit::session::{ClientId, Event};
use concurrency_limit::transport::SharedTransport;
use napi::bindgen_prelude::{Float64ArraySlice, Function, Result};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{CleanupEnvHook, Env, Error, Status};
use napi_derive::napi;

use crate::lengths::{length, ms_at};
use crate::options::{ConnectionOptions, core_options};
use crate::questions::{Question, Questions};
use crate::rows::{Outbox, Reader, Row};
use crate::tally::Tally;
use crate::transport::{JsTransport, Ordered, TransportLinks};
use crate::wake_flag::WakeFlag;

/// How long a port whose environment ends without a word waits for what it gives back.
const LAST_WAIT_MS: f64 = 200.0;

/// What a buffer of completions begins with: the local clock in milliseconds, and 1 if more lies ready.
const HEAD: usize = 2;

thread_local! {
    /// The port that needs no wake for what it's told on this thread just now.
    static ATTENTIVE: Cell<*const Shared> = const { Cell::new(ptr::null()) };
}

type Wake = ThreadsafeFunction<(), (), (), Status, false, true>;

/// The bridge of one JS environment.
#[napi]
pub struct Port {
    shared: Arc<Shared>,
    open: Open,
    at_end: Option<CleanupEnvHook<Open>>,
    forgotten: HashMap<u32, Tally>,
    last_client: u32,
    texts: Vec<Arc<str>>,
    links: Arc<TransportLinks>,
    transports: HashMap<u32, SharedTransport>,
    last_transport: u32,
    questions: Arc<Questions>,
    functions: HashMap<u32, Asked>,
}

/// The clients of a port, for whoever notices first that its environment ends. Only the thread of JS has it.
#[derive(Clone)]
struct Open {
    clients: Rc<RefCell<HashMap<u32, Client>>>,
    shared: Arc<Shared>,
    is_over: Rc<Cell<bool>>,
}

struct Shared {
    outbox: Mutex<Outbox>,
    /// Local deadlines of leases that were renewed, by client and request.
    renewed: Mutex<HashMap<(u32, u64), Moment>>,
    /// Clients that have ended since the last drain.
    ended: Mutex<Vec<u32>>,
    /// Clients that haven't ended and can while JS stands still, and word of each that does.
    open: Mutex<HashSet<u32>>,
    ends: Condvar,
    /// None after the port's end.
    wake: Mutex<Option<Wake>>,
    wake_flag: WakeFlag,
}

/// Where the core tells one client of a port.
struct ClientSink {
    client: u32,
    shared: Arc<Shared>,
}

#[napi]
impl Port {
    /// A port that calls `wake` when completions are ready, `order` for each order to a client transport, and `ask` for
    /// each question to a function. It never keeps the process alive.
    #[napi(constructor)]
    pub fn new(
        env: Env,
        wake: Function<'_, (), ()>,
        order: Function<'_, Ordered, ()>,
        ask: Function<'_, Question, ()>,
    ) -> Result<Self> {
        let wake = wake.build_threadsafe_function().weak::<true>().build()?;
        let shared = Shared {
            outbox: Mutex::default(),
            renewed: Mutex::default(),
            ended: Mutex::default(),
            open: Mutex::default(),
            ends: Condvar::new(),
            wake: Mutex::new(Some(wake)),
            wake_flag: WakeFlag::new(),
        };
        let shared = Arc::new(shared);
        let open = Open { clients: Rc::default(), shared: Arc::clone(&shared), is_over: Rc::default() };
        // A worker thread isn't told that its process exits, nor any thread of Deno that an error ends it; and where
        // finalizers run, they may run later than this, or never.
        let at_end = env.add_env_cleanup_hook(open.clone(), |open| open.end(LAST_WAIT_MS))?;
        Ok(Self {
            shared,
            open,
            at_end: Some(at_end),
            forgotten: HashMap::new(),
            last_client: 0,
            texts: Vec::new(),
            links: TransportLinks::new(order)?,
            transports: HashMap::new(),
            last_transport: 0,
            questions: Questions::new(ask)?,
            functions: HashMap::new(),
        })
    }

    /// Opens a client; its number. An option that can't be used throws `ERR_CONFIG`, option, given and expected, a line
    /// each.
    #[napi(catch_unwind)]
    pub fn open(&mut self, options: ConnectionOptions) -> Result<u32> {
        let stall_timeout = options.stall_timeout_ms.map(length);
        let transport = options.client.and_then(|number| self.transports.get(&number).cloned());
        let is_over_transport = transport.is_some();
        let questions = &self.questions;
        let mut function =
            |number: u32| self.functions.entry(number).or_insert_with(|| questions.function(number)).clone();
        let options = core_options(options, transport, &mut function).map_err(config_error)?;
        let number = self.last_client + 1;
        let sink = ClientSink { client: number, shared: Arc::clone(&self.shared) };
        let client = Client::open(&options, Arc::new(sink)).map_err(config_error)?;
        client.send(stall_timeout.map(Command::Watch));
        // What goes through JS can't be given back while JS waits for it.
        if !is_over_transport {
            lock(&self.shared.open).insert(number);
        }
        self.last_client = number;
        self.forgotten.insert(number, Tally::of(client.session()));
        self.open.clients.borrow_mut().insert(number, client);
        Ok(number)
    }

    /// A number that stands for a text in the rows that follow.
    #[napi(catch_unwind)]
    pub fn intern(&mut self, text: String) -> u32 {
        self.texts.push(text.into());
        self.texts.len() as u32
    }

    /// Forgets all texts; their numbers begin anew.
    #[napi(catch_unwind)]
    pub fn forget_texts(&mut self) {
        self.texts.clear();
    }

    /// Takes the first `length` numbers of `rows` as requests; then as `drain`. Whoever gives no room for answers has
    /// to drain later, without being woken for that.
    #[napi(catch_unwind)]
    #[allow(unsafe_code)]
    pub fn submit(&mut self, rows: &[f64], length: u32, mut answers: Float64ArraySlice<'_>) -> u32 {
        self.shared.without_wake(|| self.take_rows(&rows[..rows.len().min(length as usize)]));
        // SAFETY: the buffer is JS's and another than that of `rows`, and JS stands in this call.
        self.read(unsafe { answers.as_mut() })
    }

    /// Fills `out` with whole rows of completions, behind the local clock and whether more lies ready; how much of it
    /// is filled. 0 when nothing lies ready.
    #[napi(catch_unwind)]
    #[allow(unsafe_code)]
    pub fn drain(&mut self, mut out: Float64ArraySlice<'_>) -> u32 {
        // SAFETY: the buffer is JS's, and JS stands in this call; nobody else looks at it meanwhile.
        self.read(unsafe { out.as_mut() })
    }

    /// The text of a completion, once.
    #[napi(catch_unwind)]
    pub fn take_text(&self, id: u32) -> String {
        lock(&self.shared.outbox).take_text(id)
    }

    /// The local clock, in milliseconds; it counts suspended time.
    #[napi(catch_unwind)]
    pub fn now(&self) -> f64 {
        ms_at(Moment::now())
    }

    /// The local deadline that renewals gave a lease, in milliseconds on that clock; 0 when it was never renewed, is
    /// lost or gone.
    #[napi(catch_unwind)]
    pub fn deadline(&self, client: u32, number: f64) -> f64 {
        lock(&self.shared.renewed).get(&(client, number as u64)).map_or(0.0, |deadline| ms_at(*deadline))
    }

    /// What the client's lease ids begin with.
    #[napi(catch_unwind)]
    pub fn session_text(&self, client: u32) -> String {
        let clients = self.open.clients.borrow();
        clients.get(&client).map(|client| client.session().to_string()).unwrap_or_default()
    }

    /// A lease of the client was forgotten.
    #[napi(catch_unwind)]
    pub fn forgot(&self, client: u32) {
        if let Some(forgotten) = self.forgotten.get(&client) {
            forgotten.add();
        }
    }

    /// How many leases of the client's session were forgotten.
    #[napi(catch_unwind)]
    pub fn forgotten(&self, client: u32) -> f64 {
        self.forgotten.get(&client).map_or(0, Tally::count) as f64
    }

    /// Adds a client transport; its number.
    #[napi(catch_unwind)]
    pub fn add_transport(&mut self, address: String, is_cluster: bool) -> u32 {
        self.last_transport += 1;
        let (number, links) = (self.last_transport, Arc::clone(&self.links));
        let transport = JsTransport { number, address, is_cluster, links };
        self.transports.insert(number, SharedTransport::new(transport));
        number
    }

    /// Removes a client transport.
    #[napi(catch_unwind)]
    pub fn remove_transport(&mut self, number: u32) {
        self.transports.remove(&number);
    }

    /// Forgets a function that isn't asked any more.
    #[napi(catch_unwind)]
    pub fn forget_function(&mut self, number: u32) {
        self.functions.remove(&number);
    }

    /// What a function answers to a question: the text, or why there is none.
    #[napi(catch_unwind)]
    pub fn answer(&self, question: u32, is_known: bool, text: String) {
        self.questions.answer(question, is_known, text);
    }

    /// An event of a link over a client transport.
    #[napi(catch_unwind)]
    pub fn transport_event(&self, link: u32, event: u32, bytes: &[u8]) {
        self.links.tell(link, event, bytes);
    }

    /// Gives everything back that this port holds, and waits for it, `wait_ms` at most.
    #[napi(catch_unwind)]
    pub fn exit(&self, wait_ms: f64) {
        self.open.end(wait_ms);
    }

    /// To be called when no client is open any more: then JS is never called again, and nothing of the port keeps a
    /// handle, except links over client transports, which end when the core drops them.
    #[napi(catch_unwind)]
    pub fn end(&mut self, env: Env) -> Result<()> {
        self.open.is_over.set(true);
        lock(&self.shared.wake).take();
        self.links.end();
        self.questions.end();
        self.at_end.take().map_or(Ok(()), |hook| env.remove_env_cleanup_hook(hook))
    }
}

impl Drop for Port {
    // Collected without a word: a sandbox of a test runner was dropped with a limiter open.
    fn drop(&mut self) {
        self.open.end(LAST_WAIT_MS);
    }
}

impl Open {
    fn end(&self, wait_ms: f64) {
        if self.is_over.replace(true) {
            return;
        }
        self.shared.without_wake(|| {
            self.clients.borrow().values().for_each(|client| {
                client.close(0, true);
            });
        });
        let open = lock(&self.shared.open);
        // Whether they all ended or the time did: the process goes on ending.
        drop(self.shared.ends.wait_timeout_while(open, length(wait_ms), |open| !open.is_empty()));
    }
}

impl Port {
    fn take_rows(&self, rows: &[f64]) {
        let text = |id: usize| self.texts.get(id.checked_sub(1)?).cloned();
        // A client that has ended is refused below, whatever id its request carries.
        let clients = self.open.clients.borrow();
        let id = |client: u32| clients.get(&client).map_or(ClientId(0), Client::id);
        let mut reader = Reader { rows, text: &text, client: &id };
        let mut batch = Vec::new();
        let mut of = 0;
        while let Some(Row { client, tag, command }) = reader.next() {
            if client != of {
                send(&clients, of, &mut batch);
                of = client;
            }
            if !clients.contains_key(&client) {
                lock(&self.shared.outbox).refuse(client, tag, &command);
                continue;
            }
            batch.push(command);
        }
        send(&clients, of, &mut batch);
    }

    fn read(&mut self, out: &mut [f64]) -> u32 {
        for client in lock(&self.shared.ended).drain(..) {
            self.open.clients.borrow_mut().remove(&client);
            self.forgotten.remove(&client);
        }
        let Some((head, rows)) = out.split_at_mut_checked(HEAD) else { return 0 };
        // First, and whoever reads: JS may have been woken while it couldn't read, and a completion that comes in from
        // here on wakes again.
        self.shared.wake_flag.clear();
        let mut outbox = lock(&self.shared.outbox);
        let length = outbox.drain(rows);
        head.copy_from_slice(&[ms_at(Moment::now()), f64::from(u8::from(!outbox.is_empty()))]);
        if length == 0 { 0 } else { (HEAD + length) as u32 }
    }
}

fn send(clients: &HashMap<u32, Client>, client: u32, batch: &mut Vec<Command>) {
    let commands = batch.drain(..);
    if let Some(client) = clients.get(&client) {
        client.send(commands);
    }
}

impl Shared {
    /// Does something on JS's thread, which reads afterwards what it is told meanwhile on this thread, or never.
    fn without_wake(&self, work: impl FnOnce()) {
        let before = ATTENTIVE.replace(self);
        work();
        ATTENTIVE.set(before);
    }

    fn wake(&self) {
        if ptr::eq(ATTENTIVE.get(), self) || !self.wake_flag.set() {
            return;
        }
        if let Some(wake) = &*lock(&self.wake) {
            wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    fn end(&self, client: u32) {
        lock(&self.ended).push(client);
        lock(&self.open).remove(&client);
        self.ends.notify_all();
    }
}

impl Sink for ClientSink {
    fn tell(&self, events: &mut Vec<Event>) {
        let mut outbox = lock(&self.shared.outbox);
        for event in events.drain(..) {
            match &event {
                Event::Renewed { tag, deadline, .. } => {
                    lock(&self.shared.renewed).insert((self.client, *tag), *deadline);
                    continue;
                }
                Event::Released { tag, .. } | Event::Lost { tag, .. } => {
                    lock(&self.shared.renewed).remove(&(self.client, *tag));
                }
                Event::Closed { .. } => {
                    lock(&self.shared.renewed).retain(|(client, _), _| *client != self.client);
                    self.shared.end(self.client);
                }
                _ => {}
            }
            outbox.write(self.client, event);
        }
        drop(outbox);
        self.shared.wake();
    }

    fn broken(&self, message: &str) {
        lock(&self.shared.outbox).broken(self.client, message);
        self.shared.end(self.client);
        self.shared.wake();
    }
}

/// A panic elsewhere leaves these whole: each is changed by single calls.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config_error(error: CoreError) -> Error {
    let message = match error {
        CoreError::Config { option, given, expected } => format!("ERR_CONFIG\n{option}\n{given}\n{expected}"),
        other => other.to_string(),
    };
    Error::new(Status::InvalidArg, message)
}
