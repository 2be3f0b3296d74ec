//! What a port shares with the threads that tell it completions: the rows themselves, and how JavaScript is woken.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ptr;
use std::sync::{Arc, Condvar, Mutex};

use concurrency_limit::driver::Sink;
use concurrency_limit::moment::Moment;
use concurrency_limit::session::Event;
use napi::Status;
use napi::bindgen_prelude::{Function, Result};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};

use crate::rows::Completions;
use crate::sync::lock;
use crate::wake_flag::WakeFlag;

thread_local! {
    /// The port that needs no wake at the moment for what it is told on this thread.
    static NEEDS_NO_WAKE: Cell<*const Shared> = const { Cell::new(ptr::null()) };
}

type Wake = ThreadsafeFunction<(), (), (), Status, false, true>;

/// What the threads that tell completions share with the JavaScript thread.
pub(super) struct Shared {
    pub(super) completions: Mutex<Completions>,
    /// Local deadlines of leases that were renewed, by client and request.
    pub(super) renewed: Mutex<HashMap<(u32, u64), Moment>>,
    /// Clients that have ended since the last drain.
    pub(super) ended: Mutex<Vec<u32>>,
    /// Clients that can end while the JavaScript thread waits, and haven't yet; `ends` is notified of each that does.
    pub(super) open: Mutex<HashSet<u32>>,
    pub(super) ends: Condvar,
    /// None after the port's end.
    pub(super) wake: Mutex<Option<Wake>>,
    pub(super) wake_flag: WakeFlag,
}

/// Where the core tells one client of a port.
pub(super) struct ClientSink {
    pub(super) client: u32,
    pub(super) shared: Arc<Shared>,
}

impl Shared {
    /// Calls `wake` when completions are ready. It never keeps the process alive.
    pub(super) fn new(wake: Function<'_, (), ()>) -> Result<Self> {
        let wake = wake.build_threadsafe_function().weak::<true>().build()?;
        Ok(Self {
            completions: Mutex::default(),
            renewed: Mutex::default(),
            ended: Mutex::default(),
            open: Mutex::default(),
            ends: Condvar::new(),
            wake: Mutex::new(Some(wake)),
            wake_flag: WakeFlag::new(),
        })
    }

    /// Runs `work` on the JavaScript thread, which reads completions afterwards anyway (or never again): those that are
    /// told meanwhile on this thread need no wake.
    pub(super) fn without_wake(&self, work: impl FnOnce()) {
        let before = NEEDS_NO_WAKE.replace(self);
        work();
        NEEDS_NO_WAKE.set(before);
    }

    fn wake(&self) {
        if ptr::eq(NEEDS_NO_WAKE.get(), self) || !self.wake_flag.set() {
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
        let mut completions = lock(&self.shared.completions);
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
            completions.write(self.client, event);
        }
        drop(completions);
        self.shared.wake();
    }

    fn broken(&self, message: &str) {
        lock(&self.shared.completions).broken(self.client, message);
        self.shared.end(self.client);
        self.shared.wake();
    }
}
