//! The bridge of one JavaScript environment: it takes rows of requests, and keeps completions until they are drained.
//!
//! What the process can answer by itself comes back in the call that asks. Other completions are written by the core's
//! thread (`shared`), which wakes JavaScript once for many. When the environment ends without closing the port, or the
//! port is dropped, its clients are closed, which gives back what they hold.

mod clients;
mod shared;

use std::collections::HashMap;
use std::sync::Arc;

use concurrency_limit::config::Asked;
use concurrency_limit::driver::{Client, Command};
use concurrency_limit::error::Error as CoreError;
use concurrency_limit::moment::Moment;
use concurrency_limit::session::ClientId;
use concurrency_limit::transport::SharedTransport;
use napi::bindgen_prelude::{Float64ArraySlice, Function, Result};
use napi::{CleanupEnvHook, Env, Error, Status};
use napi_derive::napi;

use self::clients::{OpenClients, send};
use self::shared::{ClientSink, Shared};
use crate::lengths::{length, ms_at};
use crate::options::{ConnectionOptions, core_options};
use crate::questions::{Question, Questions};
use crate::rows::{Request, Requests};
use crate::sync::lock;
use crate::tally::Tally;
use crate::transport::{JsTransport, Ordered, TransportLinks};

/// How long a port waits for its releases when its environment ends without closing it.
const LAST_WAIT_MS: f64 = 200.0;

/// A buffer of completions begins with the local clock in milliseconds, and 1 if more are ready.
const HEAD: usize = 2;

/// The bridge of one JS environment.
#[napi]
pub struct Port {
    shared: Arc<Shared>,
    open: OpenClients,
    at_end: Option<CleanupEnvHook<OpenClients>>,
    forgotten: HashMap<u32, Tally>,
    last_client: u32,
    texts: Vec<Arc<str>>,
    links: Arc<TransportLinks>,
    transports: HashMap<u32, SharedTransport>,
    last_transport: u32,
    questions: Arc<Questions>,
    functions: HashMap<u32, Asked>,
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
        let shared = Arc::new(Shared::new(wake)?);
        let open = OpenClients::new(Arc::clone(&shared));
        // A worker thread isn't told that its process exits, and no thread of Deno is told that an error ends it.
        // Finalizers run later than this hook, or never.
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

    /// Opens a client; its number. An invalid option throws `ERR_CONFIG`, option, given and expected, one line each.
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
        // A release over a client transport needs the JavaScript thread, so that thread can't wait for it.
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

    /// Takes the first `length` numbers of `rows` as requests; then as `drain`. With no room for answers, the caller
    /// has to drain later: it isn't woken for them.
    #[napi(catch_unwind)]
    #[allow(unsafe_code)]
    pub fn submit(&mut self, rows: &[f64], length: u32, mut answers: Float64ArraySlice<'_>) -> u32 {
        self.shared.without_wake(|| self.take_rows(&rows[..rows.len().min(length as usize)]));
        // SAFETY: the buffer belongs to JavaScript, which waits in this call, and isn't the one of `rows`.
        self.read(unsafe { answers.as_mut() })
    }

    /// Fills `out` with the local clock, whether more are ready, and whole rows of completions; how much of it is
    /// filled. 0 when none are ready.
    #[napi(catch_unwind)]
    #[allow(unsafe_code)]
    pub fn drain(&mut self, mut out: Float64ArraySlice<'_>) -> u32 {
        // SAFETY: the buffer belongs to JavaScript, which waits in this call; nothing else uses it meanwhile.
        self.read(unsafe { out.as_mut() })
    }

    /// The text of a completion, once.
    #[napi(catch_unwind)]
    pub fn take_text(&self, id: u32) -> String {
        lock(&self.shared.completions).take_text(id)
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

    /// Removes a function that isn't called any more.
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

    /// Gives back all leases of this port, and waits `wait_ms` at most for that.
    #[napi(catch_unwind)]
    pub fn exit(&self, wait_ms: f64) {
        self.open.end(wait_ms);
    }

    /// To be called when no client is open any more. JavaScript is never called again, and the port keeps no handle,
    /// except links over client transports, which end when the core drops them.
    #[napi(catch_unwind)]
    pub fn end(&mut self, env: Env) -> Result<()> {
        self.open.forget();
        lock(&self.shared.wake).take();
        self.links.end();
        self.questions.end();
        self.at_end.take().map_or(Ok(()), |hook| env.remove_env_cleanup_hook(hook))
    }
}

impl Drop for Port {
    // It may be collected without being closed: a test runner dropped a sandbox with an open limiter.
    fn drop(&mut self) {
        self.open.end(LAST_WAIT_MS);
    }
}

impl Port {
    fn take_rows(&self, rows: &[f64]) {
        let text = |id: usize| self.texts.get(id.checked_sub(1)?).cloned();
        // Requests of a client that has ended are refused below, so any id will do.
        let clients = self.open.clients.borrow();
        let id = |client: u32| clients.get(&client).map_or(ClientId(0), Client::id);
        let mut requests = Requests { rows, text: &text, client: &id };
        let mut batch = Vec::new();
        let mut of = 0;
        while let Some(Request { client, tag, command }) = requests.next() {
            if client != of {
                send(&clients, of, &mut batch);
                of = client;
            }
            if !clients.contains_key(&client) {
                lock(&self.shared.completions).refuse(client, tag, &command);
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
        // First, in every read: JavaScript may have been woken while it couldn't read, and completions from now on have
        // to wake it again.
        self.shared.wake_flag.clear();
        let mut completions = lock(&self.shared.completions);
        let length = completions.drain(rows);
        head.copy_from_slice(&[ms_at(Moment::now()), f64::from(u8::from(!completions.is_empty()))]);
        if length == 0 { 0 } else { (HEAD + length) as u32 }
    }
}

fn config_error(error: CoreError) -> Error {
    let message = match error {
        CoreError::Config { option, given, expected } => format!("ERR_CONFIG\n{option}\n{given}\n{expected}"),
        other => other.to_string(),
    };
    Error::new(Status::InvalidArg, message)
}
