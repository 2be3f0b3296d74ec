//! A session's end of a link, as bare as it gets: sends calls, waits for their answers, keeps what else came.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use concurrency_limit::lease::{Key, LeaseId, SessionId};
use concurrency_limit::protocol::{
    Acquired, Answers, Ask, Call, CallError, CallId, Caller, Grant, Outgoing, Push, Reply, Terms, Verb,
};
use concurrency_limit::store::{ConnectError, Link, LinkEvent, LinkInfo, Store};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use super::BOUND;

/// One session with an open link.
pub struct Peer {
    pub session: SessionId,
    pub info: LinkInfo,
    pub caller: Caller,
    pub link: Box<dyn Link>,
    events: UnboundedReceiver<LinkEvent>,
    /// Events that came while something else was waited for.
    kept: VecDeque<LinkEvent>,
    calls: u64,
}

impl Peer {
    /// Connects as a new session.
    pub async fn connect(store: &dyn Store) -> Self {
        Self::try_connect(store).await.expect("a link")
    }

    /// Connects as a new session, or says why not.
    pub async fn try_connect(store: &dyn Store) -> Result<Self, ConnectError> {
        static SESSIONS: AtomicU64 = AtomicU64::new(1);
        let session = SessionId(SESSIONS.fetch_add(1, Ordering::Relaxed));
        let (sender, events) = unbounded_channel();
        let (link, info) = store.connect(session, sender).await?;
        let caller =
            Caller { session, connection: 1, listens: info.listens, settling: false, keep_alive_ms: 60_000 };
        Ok(Self { session, info, caller, link, events, kept: VecDeque::new(), calls: 0 })
    }

    /// The id of this session's acquisition `number`.
    pub fn id(&self, number: u64) -> LeaseId {
        LeaseId { session: self.session, number }
    }

    /// A number for a request, not used before.
    pub fn call_id(&mut self) -> CallId {
        self.calls += 1;
        CallId(self.calls)
    }

    /// A call as a request; its id is said too.
    pub fn request(&mut self, key: &Key, verb: Verb) -> (CallId, Outgoing) {
        let id = self.call_id();
        (id, Outgoing::Call { id, caller: self.caller, call: Call::new(key.clone(), verb) })
    }

    /// Makes one call and waits for its answer.
    pub async fn call(&mut self, key: &Key, verb: Verb) -> Result<Reply, CallError> {
        let (id, request) = self.request(key, verb);
        self.link.send(vec![request]);
        self.reply(id).await
    }

    /// Makes one call that must be carried out.
    pub async fn answer(&mut self, key: &Key, verb: Verb) -> Reply {
        self.call(key, verb).await.expect("the call is carried out")
    }

    /// Asks for one grant, and waits in line if it must.
    pub async fn acquire(&mut self, key: &Key, number: u64, terms: &Arc<Terms>) -> Acquired {
        let ask = Ask { id: self.id(number), terms: Arc::clone(terms), wait: true };
        match self.answer(key, Verb::Acquire(vec![ask])).await.answers {
            Answers::Acquire(mut acquired) if acquired.len() == 1 => acquired.remove(0),
            other => panic!("not the answer to one acquire: {other:?}"),
        }
    }

    /// Asks for one grant that must be had at once.
    pub async fn granted(&mut self, key: &Key, number: u64, terms: &Arc<Terms>) -> Grant {
        match self.acquire(key, number, terms).await {
            Acquired::Granted(grant) => grant,
            other => panic!("not granted: {other:?}"),
        }
    }

    /// Waits for the answer to this request.
    pub async fn reply(&mut self, id: CallId) -> Result<Reply, CallError> {
        self.wait_for(|event| match event {
            LinkEvent::Reply { id: of, result } if *of == id => Some(result.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for the next push.
    pub async fn push(&mut self) -> Push {
        self.wait_for(|event| match event {
            LinkEvent::Push(push) => Some(push.clone()),
            _ => None,
        })
        .await
    }

    /// Asks for all existing groups, page by page.
    pub async fn keys(&mut self, pattern: &str) -> Vec<Key> {
        let (mut found, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let id = self.call_id();
            self.link.send(vec![Outgoing::Keys { id, pattern: pattern.to_owned(), cursor }]);
            let page = self.wait_for(|event| match event {
                LinkEvent::Keys { id: of, result } if *of == id => Some(result.clone()),
                _ => None,
            });
            let (keys, next) = page.await.expect("a page of keys");
            found.extend(keys);
            cursor = next;
            if cursor == "0" {
                found.sort();
                found.dedup();
                return found;
            }
        }
    }

    /// The next event, whatever it is; `None` when none can follow.
    pub async fn event(&mut self) -> Option<LinkEvent> {
        match self.kept.pop_front() {
            Some(event) => Some(event),
            None => timeout(BOUND, self.events.recv()).await.expect("an event within the bound"),
        }
    }

    /// Drops the link and waits until nothing can follow; what came before that and wasn't waited for is returned.
    pub async fn close(self) -> Vec<LinkEvent> {
        let Self { link, mut events, kept, .. } = self;
        drop(link);
        let mut rest = Vec::from(kept);
        while let Some(event) = timeout(BOUND, events.recv()).await.expect("the end within the bound") {
            rest.push(event);
        }
        rest
    }

    /// Takes the first event that `wanted` says something of, and keeps the others in their order.
    async fn wait_for<T>(&mut self, wanted: impl Fn(&LinkEvent) -> Option<T>) -> T {
        if let Some((at, found)) =
            self.kept.iter().enumerate().find_map(|(at, event)| Some((at, wanted(event)?)))
        {
            self.kept.remove(at);
            return found;
        }
        loop {
            let event = timeout(BOUND, self.events.recv()).await.expect("an event within the bound");
            let event = event.expect("the link lives");
            if let Some(found) = wanted(&event) {
                return found;
            }
            self.kept.push_back(event);
        }
    }
}

/// A user's key.
pub fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

/// Terms with this limit, and nothing special.
pub fn limit(limit: u32) -> Terms {
    Terms {
        limit,
        weight: 1,
        priority: 0,
        lease_ms: 60_000,
        claim_ms: 5_000,
        max_waiting: None,
        holder: None,
        label: None,
    }
}
