//! Clients that JS brings: commands go up to it as JSON, one wake a batch; what comes back is told in words of bytes.
//!
//! Parses no reply and knows no client: `lib/relay.js` is the other side, the core's `store/redis/relay` gives the
//! commands and reads the answers. A link whose environment has ended carries nothing, and the session hears of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use concurrency_limit::carrier::{self, Carriage, Carrier, Ear, Errand, To};
use napi::Status;
use napi::bindgen_prelude::{FnArgs, Function, Result};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};

use crate::codes::{Order, Word};

/// What JS is told: the client, the link, an order and its text.
pub(crate) type Ordered = FnArgs<(u32, u32, u32, String)>;

type Carry = ThreadsafeFunction<Ordered, (), Ordered, Status, false, true>;

/// The links of one environment.
pub(crate) struct Relays {
    /// None after the last link that was open at the port's end.
    carry: Mutex<Option<Carry>>,
    is_ending: AtomicBool,
    ears: Mutex<HashMap<u32, Ear>>,
    last_link: AtomicU32,
}

/// A client of the environment's.
pub(crate) struct Brought {
    pub(crate) number: u32,
    pub(crate) address: String,
    pub(crate) is_cluster: bool,
    pub(crate) relays: Arc<Relays>,
}

/// One link over it.
struct Ride {
    client: u32,
    link: u32,
    relays: Arc<Relays>,
}

impl Relays {
    /// Calls `carry` for each order. It never keeps the process alive.
    pub(crate) fn new(carry: Function<'_, Ordered, ()>) -> Result<Arc<Self>> {
        let carry = carry.build_threadsafe_function().weak::<true>().build()?;
        Ok(Arc::new(Self {
            carry: Mutex::new(Some(carry)),
            is_ending: AtomicBool::new(false),
            ears: Mutex::default(),
            last_link: AtomicU32::new(0),
        }))
    }

    /// A word from JS, by its number there.
    pub(crate) fn tell(&self, link: u32, word: u32, bytes: &[u8]) {
        let text = || String::from_utf8_lossy(bytes).into_owned();
        let word = match Word::of(word) {
            Some(Word::Ready) => carrier::Word::Ready,
            Some(Word::Answers) => carrier::Word::Answers(bytes.to_vec()),
            Some(Word::Listens) => carrier::Word::Listens,
            Some(Word::Deaf) => carrier::Word::Deaf(text()),
            Some(Word::Push) => carrier::Word::Push(bytes.to_vec()),
            Some(Word::Down) => carrier::Word::Down(text()),
            Some(Word::Ended) | None => carrier::Word::Ended(text()),
        };
        if let Some(ear) = self.ears().get(&link) {
            ear.hear(word);
        }
    }

    fn order(&self, client: u32, link: u32, order: Order, text: String) {
        let order = (client, link, order as u32, text).into();
        let carry = lock(&self.carry);
        let status = carry.as_ref().map(|carry| carry.call(order, ThreadsafeFunctionCallMode::NonBlocking));
        drop(carry);
        // Without an ear the core's end of the link closes, and its session goes on without one.
        if status != Some(Status::Ok) {
            self.ears().remove(&link);
        }
    }

    /// The port has no client any more: JS isn't called again once the links that still stand are closed.
    pub(crate) fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
        self.end_if_last();
    }

    fn end_if_last(&self) {
        if self.is_ending.load(Ordering::SeqCst) && self.ears().is_empty() {
            lock(&self.carry).take();
        }
    }

    fn ears(&self) -> MutexGuard<'_, HashMap<u32, Ear>> {
        lock(&self.ears)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Carrier for Brought {
    fn address(&self) -> String {
        self.address.clone()
    }

    fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    fn open(&self, ear: Ear) -> Box<dyn Carriage> {
        let (client, relays) = (self.number, Arc::clone(&self.relays));
        let link = relays.last_link.fetch_add(1, Ordering::Relaxed) + 1;
        relays.ears().insert(link, ear);
        relays.order(client, link, Order::Open, String::new());
        Box::new(Ride { client, link, relays })
    }
}

impl Carriage for Ride {
    fn carry(&mut self, errands: Vec<Errand>) {
        let rows = errands.into_iter().map(|Errand { number, to, words }| {
            let to = match to {
                To::Keys => -1,
                To::All => -2,
                To::One(server) => server as i64,
            };
            (number, to, words)
        });
        let rows: Vec<(u64, i64, Vec<String>)> = rows.collect();
        let text = serde_json::to_string(&rows).unwrap_or_default();
        self.relays.order(self.client, self.link, Order::Carry, text);
    }

    fn listen(&mut self, channel: String) {
        self.relays.order(self.client, self.link, Order::Listen, channel);
    }
}

impl Drop for Ride {
    fn drop(&mut self) {
        self.relays.ears().remove(&self.link);
        self.relays.order(self.client, self.link, Order::Close, String::new());
        self.relays.end_if_last();
    }
}
