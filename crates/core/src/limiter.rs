//! The limiter for Rust programs: [`Limiter::acquire`] waits for a [`Lease`], dropping the lease gives it back.
//!
//! A thin async face of `driver`; no rule lives here. A future that is dropped leaves the line.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

use crate::config::{LimitConfig, Options};
use crate::driver::{Client, Command, Sink};
use crate::error::{Error, Loss};
use crate::lease::{FencingToken, Key, LeaseId, Slot};
use crate::moment::Moment;
use crate::protocol::{Picture, Target, Terms};
use crate::session::{Answer, Event, Granted, Question, Request, Stats, Tag};

/// A limiter: caps how many leases of a key are held at once, across all processes that use the same Redis.
///
/// Clones, and limiters with the same options, share one connection.
#[derive(Clone)]
pub struct Limiter {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    desk: Arc<Desk>,
    address: String,
}

/// Where what the core tells is picked up.
#[derive(Default)]
struct Desk {
    next: AtomicU64,
    open: Mutex<HashMap<Tag, Slip>>,
    held: Mutex<HashMap<Tag, watch::Sender<Standing>>>,
}

enum Slip {
    Acquire(oneshot::Sender<Result<(Granted, watch::Receiver<Standing>), Error>>),
    Release(oneshot::Sender<bool>),
    Ask(oneshot::Sender<Result<Answer, Error>>),
    Close(oneshot::Sender<()>),
}

/// How a lease stands by the local clock.
#[derive(Debug, Clone, Copy)]
struct Standing {
    deadline: Moment,
    lost: Option<Loss>,
}

impl Limiter {
    /// A limiter with default options for this address; see [`Options`]. Connects when it is first used.
    pub fn new(url: impl Into<String>) -> Result<Self, Error> {
        Self::with_options(&Options::new(url))
    }

    /// A limiter with these options.
    pub fn with_options(options: &Options) -> Result<Self, Error> {
        let desk = Arc::new(Desk { next: AtomicU64::new(1), ..Desk::default() });
        let options = options.resolved()?;
        let client = Client::open(&options, Arc::clone(&desk) as Arc<dyn Sink>)?;
        Ok(Self { inner: Arc::new(Inner { client, desk, address: options.place.to_string() }) })
    }

    /// Waits for a lease, up to `limit_timeout`.
    pub async fn acquire(&self, config: &LimitConfig) -> Result<Lease, Error> {
        let key = config.check()?;
        let Inner { client, desk, .. } = &*self.inner;
        let (tag, answer) = desk.slip(Slip::Acquire);
        if !client.send([Command::Submit(request(client, tag, &key, config))]) {
            desk.take(tag);
            return Err(Error::Closed);
        }
        let mut guard = CancelOnDrop { limiter: self, tag, armed: true };
        let answer = answer.await;
        guard.armed = false;
        let (granted, standing) = answer.unwrap_or(Err(Error::Closed))?;
        Ok(Lease { limiter: self.clone(), key, tag, granted, standing, released: false })
    }

    /// Never waits in line: `None` when the group is full.
    pub async fn try_acquire(&self, config: &LimitConfig) -> Result<Option<Lease>, Error> {
        let once = LimitConfig { limit_timeout: Some(std::time::Duration::ZERO), ..config.clone() };
        match self.acquire(&once).await {
            Ok(lease) => Ok(Some(lease)),
            Err(Error::LimitExceeded { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Who holds and who waits.
    pub async fn status(&self, key: &str) -> Result<Picture, Error> {
        match self.ask(Question::Status(checked(key)?)).await? {
            Answer::Status(picture) => Ok(picture),
            _ => Err(self.confused()),
        }
    }

    /// Reaps ended leases now; how many.
    pub async fn clean(&self, key: &str) -> Result<u64, Error> {
        match self.ask(Question::Clean(checked(key)?)).await? {
            Answer::Cleaned(reaped) => Ok(reaped),
            _ => Err(self.confused()),
        }
    }

    /// Releases a lease by its id or its holder's name, whoever holds it; whether it was held.
    pub async fn release(&self, key: &str, target: Target) -> Result<bool, Error> {
        match self.ask(Question::Release(checked(key)?, target)).await? {
            Answer::Released(was_held) => Ok(was_held),
            _ => Err(self.confused()),
        }
    }

    /// The counters since this process's session began.
    pub async fn stats(&self) -> Result<Stats, Error> {
        match self.ask(Question::Stats).await? {
            Answer::Stats(stats) => Ok(*stats),
            _ => Err(self.confused()),
        }
    }

    /// Gives everything back and ends the limiter; what waits fails with [`Error::Closed`].
    pub async fn close(&self) {
        let Inner { client, desk, .. } = &*self.inner;
        let (tag, done) = desk.slip(Slip::Close);
        if client.close(tag, true) {
            let _ = done.await;
        }
    }

    async fn ask(&self, question: Question) -> Result<Answer, Error> {
        let Inner { client, desk, .. } = &*self.inner;
        let (tag, answer) = desk.slip(Slip::Ask);
        if !client.send([Command::Ask(tag, question)]) {
            desk.take(tag);
            return Err(Error::Closed);
        }
        answer.await.unwrap_or(Err(Error::Closed))
    }

    fn confused(&self) -> Error {
        Error::Unavailable {
            address: self.inner.address.clone(),
            cause: "another question was answered".into(),
            reached: true,
            answered: true,
        }
    }
}

/// A held slot (or several). Dropping it gives it back; [`Lease::release`] also says whether it was still held.
pub struct Lease {
    limiter: Limiter,
    key: Key,
    tag: Tag,
    granted: Granted,
    standing: watch::Receiver<Standing>,
    released: bool,
}

impl Lease {
    /// The group.
    pub fn key(&self) -> &str {
        self.key.as_str()
    }

    /// The (lowest) slot: 1 to the limit, unique among those who hold now.
    pub fn slot(&self) -> Slot {
        self.granted.slots[0]
    }

    /// All slots, ascending; as many as the weight.
    pub fn slots(&self) -> &[Slot] {
        &self.granted.slots
    }

    /// Grows with every grant of the group: whoever is handed a lower one than before holds an old lease.
    pub fn fencing_token(&self) -> FencingToken {
        self.granted.token
    }

    /// Its id in Redis.
    pub fn id(&self) -> LeaseId {
        self.granted.id
    }

    /// How long the request took.
    pub fn waited(&self) -> std::time::Duration {
        self.granted.waited
    }

    /// Granted without Redis, which couldn't be reached: see [`Options::on_unavailable`].
    pub fn stood_in(&self) -> bool {
        self.granted.stood_in
    }

    /// Whether it's lost, computed now.
    pub fn is_lost(&self) -> bool {
        let standing = *self.standing.borrow();
        let closed = self.standing.has_changed().is_err();
        closed || standing.lost.is_some() || Moment::now() >= standing.deadline
    }

    /// Waits until the lease is lost, and says how.
    pub async fn lost(&self) -> Loss {
        let mut standing = self.standing.clone();
        match standing.wait_for(|standing| standing.lost.is_some()).await {
            Ok(standing) => standing.lost.unwrap_or(Loss::Expired),
            Err(_) => Loss::Expired,
        }
    }

    /// Gives it back; false if it was already gone, or if Redis couldn't confirm in time.
    pub async fn release(mut self) -> bool {
        let lost = self.is_lost();
        self.released = true;
        let Inner { client, desk, .. } = &*self.limiter.inner;
        let (sender, answer) = oneshot::channel();
        lock(&desk.open).insert(self.tag, Slip::Release(sender));
        if !client.send([Command::Release(self.tag)]) {
            desk.take(self.tag);
            return false;
        }
        answer.await.unwrap_or(false) && !lost
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.released {
            self.limiter.inner.client.send([Command::Release(self.tag)]);
        }
    }
}

struct CancelOnDrop<'a> {
    limiter: &'a Limiter,
    tag: Tag,
    armed: bool,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            lock(&self.limiter.inner.desk.open).remove(&self.tag);
            lock(&self.limiter.inner.desk.held).remove(&self.tag);
            self.limiter.inner.client.send([Command::Cancel(self.tag)]);
        }
    }
}

impl Desk {
    fn slip<T>(&self, kind: impl FnOnce(oneshot::Sender<T>) -> Slip) -> (Tag, oneshot::Receiver<T>) {
        let tag = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        lock(&self.open).insert(tag, kind(sender));
        (tag, receiver)
    }

    fn take(&self, tag: Tag) -> Option<Slip> {
        lock(&self.open).remove(&tag)
    }

    fn hand_over(&self, event: Event) {
        match event {
            Event::Granted { tag, lease, .. } => {
                let (sender, receiver) = watch::channel(Standing { deadline: lease.deadline, lost: None });
                // Who stopped waiting has cancelled or is about to: the core gives the lease back.
                if let Some(Slip::Acquire(slip)) = self.take(tag) {
                    lock(&self.held).insert(tag, sender);
                    let _ = slip.send(Ok((lease, receiver)));
                }
            }
            Event::Failed { tag, error, .. } => {
                if let Some(Slip::Acquire(slip)) = self.take(tag) {
                    let _ = slip.send(Err(error.unwrap_or(Error::Closed)));
                }
            }
            Event::Released { tag, was_held, .. } => {
                lock(&self.held).remove(&tag);
                if let Some(Slip::Release(slip)) = self.take(tag) {
                    let _ = slip.send(was_held);
                }
            }
            Event::Lost { tag, why, .. } => {
                if let Some(standing) = lock(&self.held).get(&tag) {
                    standing.send_modify(|standing| standing.lost = Some(why));
                }
            }
            Event::Renewed { tag, deadline, .. } => {
                if let Some(standing) = lock(&self.held).get(&tag) {
                    standing.send_modify(|standing| standing.deadline = deadline);
                }
            }
            Event::Answered { tag, answer, .. } => {
                if let Some(Slip::Ask(slip)) = self.take(tag) {
                    let _ = slip.send(answer);
                }
            }
            Event::Closed { tag, .. } => {
                // Nobody hears of these leases any more; who waits for a loss finds its channel closed.
                lock(&self.held).clear();
                if let Some(Slip::Close(slip)) = self.take(tag) {
                    let _ = slip.send(());
                }
            }
            Event::Disconnected(_) | Event::Reconnected | Event::PushUnavailable | Event::Warning(_) => {}
        }
    }
}

impl Sink for Desk {
    fn tell(&self, events: &mut Vec<Event>) {
        events.drain(..).for_each(|event| self.hand_over(event));
    }

    fn broken(&self, _message: &str) {
        // Whoever waits finds its channel closed.
        lock(&self.open).clear();
        lock(&self.held).clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn checked(key: &str) -> Result<Key, Error> {
    LimitConfig::new(key, 1).check()
}

fn request(client: &Client, tag: Tag, key: &Key, config: &LimitConfig) -> Request {
    let lease_ms = config.limit_expire.as_millis() as u64;
    Request {
        client: client.id(),
        tag,
        key: key.clone(),
        terms: Terms {
            limit: config.limit,
            weight: config.weight,
            priority: config.priority,
            lease_ms,
            claim_ms: lease_ms,
            max_waiting: config.max_waiting,
            holder: config.holder.as_deref().map(Arc::from),
            label: config.label.as_deref().map(Arc::from),
        },
        timeout: config.limit_timeout,
        interval: config.limit_interval,
        renew: config.renew,
        hold: config.limit_hold,
    }
}
