//! The limiter for Rust programs: [`Limiter::acquire`] waits for a [`Lease`], dropping the lease gives it back.
//!
//! A thin async layer over `driver`; no rule is here. A future that is dropped leaves the line.

mod completions;

use std::sync::Arc;

use tokio::sync::watch;

use self::completions::{Awaited, Completions, Standing};
use crate::config::{LimitConfig, Options};
use crate::driver::{Client, Command, Sink};
use crate::error::{Error, Loss};
use crate::lease::{FencingToken, Key, LeaseId, Slot};
use crate::moment::{Moment, whole_ms};
use crate::protocol::{Picture, Target, Terms};
use crate::session::{AdminAnswer, AdminQuery, Granted, Request, Stats, Tag};

/// A limiter: caps how many leases of a key are held at once, across all processes that use the same Redis.
///
/// Clones, and limiters with the same options, share one connection.
#[derive(Clone)]
pub struct Limiter {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    completions: Arc<Completions>,
    address: String,
}

impl Limiter {
    /// A limiter with default options for this address; see [`Options`]. Connects when it is first used.
    pub fn new(url: impl Into<String>) -> Result<Self, Error> {
        Self::with_options(&Options::new(url))
    }

    /// A limiter with these options.
    pub fn with_options(options: &Options) -> Result<Self, Error> {
        let completions = Arc::<Completions>::default();
        let options = options.resolved()?;
        let client = Client::open(&options, Arc::clone(&completions) as Arc<dyn Sink>)?;
        Ok(Self { inner: Arc::new(Inner { client, completions, address: options.place.to_string() }) })
    }

    /// Waits for a lease, up to `limit_timeout`.
    pub async fn acquire(&self, config: &LimitConfig) -> Result<Lease, Error> {
        let key = config.check()?;
        let Inner { client, completions, .. } = &*self.inner;
        let (tag, answer) = completions.expect(Awaited::Acquire);
        if !client.send([Command::Submit(request(client, tag, &key, config))]) {
            completions.take(tag);
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
        match self.ask(AdminQuery::Status(checked(key)?)).await? {
            AdminAnswer::Status(picture) => Ok(picture),
            _ => Err(self.confused()),
        }
    }

    /// Reaps ended leases now; how many.
    pub async fn clean(&self, key: &str) -> Result<u64, Error> {
        match self.ask(AdminQuery::Clean(checked(key)?)).await? {
            AdminAnswer::Cleaned(reaped) => Ok(reaped),
            _ => Err(self.confused()),
        }
    }

    /// Releases a lease by its id or its holder's name, whoever holds it; whether it was held.
    pub async fn release(&self, key: &str, target: Target) -> Result<bool, Error> {
        match self.ask(AdminQuery::Release(checked(key)?, target)).await? {
            AdminAnswer::Released(was_held) => Ok(was_held),
            _ => Err(self.confused()),
        }
    }

    /// The counters since this process's session began.
    pub async fn stats(&self) -> Result<Stats, Error> {
        match self.ask(AdminQuery::Stats).await? {
            AdminAnswer::Stats(stats) => Ok(*stats),
            _ => Err(self.confused()),
        }
    }

    /// Gives everything back and ends the limiter; what waits fails with [`Error::Closed`].
    pub async fn close(&self) {
        let Inner { client, completions, .. } = &*self.inner;
        let (tag, done) = completions.expect(Awaited::Close);
        if client.close(tag, true) {
            let _ = done.await;
        }
    }

    async fn ask(&self, question: AdminQuery) -> Result<AdminAnswer, Error> {
        let Inner { client, completions, .. } = &*self.inner;
        let (tag, answer) = completions.expect(Awaited::Ask);
        if !client.send([Command::Ask(tag, question)]) {
            completions.take(tag);
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
        let Inner { client, completions, .. } = &*self.limiter.inner;
        let answer = completions.expect_release(self.tag);
        if !client.send([Command::Release(self.tag)]) {
            completions.take(self.tag);
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
            self.limiter.inner.completions.forget(self.tag);
            self.limiter.inner.client.send([Command::Cancel(self.tag)]);
        }
    }
}

fn checked(key: &str) -> Result<Key, Error> {
    LimitConfig::new(key, 1).check()
}

fn request(client: &Client, tag: Tag, key: &Key, config: &LimitConfig) -> Request {
    let lease_ms = whole_ms(config.limit_expire);
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
        keep: config.limit_keep,
    }
}
