//! One group in a real redis-server, asked through the library with a time that the test says.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use concurrency_limit::lease::{Epoch, Key, LeaseId, SessionId, Ticket};
use concurrency_limit::protocol::{
    Acquired, Answers, Ask, Call, CallError, Caller, Grant, Page, Picture, ReconcileItem, Reconciled, Reply,
    Target, Terms, Verb,
};
use concurrency_limit::store::redis::library::{Layout, Way, rehearsal};
use concurrency_limit::store::redis::{keys::GroupKeys, reply};

use super::server::Server;

pub struct Rig {
    pub server: Server,
    pub way: Way,
    pub key: Key,
    pub keys: GroupKeys,
    pub now_us: u64,
    pub fresh: u64,
}

pub fn id(session: u64, number: u64) -> LeaseId {
    LeaseId { session: SessionId(session), number }
}

pub fn terms(limit: u32) -> Terms {
    Terms {
        limit,
        weight: 1,
        priority: 0,
        lease_ms: 10_000,
        claim_ms: 5_000,
        max_waiting: None,
        holder: None,
        label: None,
    }
}

impl Rig {
    /// One for each way in which the server runs the library, one after the other.
    pub fn each() -> impl Iterator<Item = Self> {
        let ways = Server::start().ways(rehearsal::load);
        ways.into_iter().map(|way| Self { way, ..Self::start() })
    }

    /// The library is run in the way that costs the server least.
    pub fn start() -> Self {
        let (mut server, key) = (Server::start(), Key::new("k").expect("a key"));
        let way = server.ways(rehearsal::load)[0];
        let keys = GroupKeys::new("cl", &key);
        Self { server, way, key, keys, now_us: Self::clock(), fresh: 1 }
    }

    /// What the server's own clock shows.
    pub fn clock() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_micros() as u64
    }

    /// From here on the group of this key.
    pub fn turn_to(&mut self, key: &Key) {
        self.key = key.clone();
        self.keys = GroupKeys::new("cl", key);
    }

    fn ask(&mut self, session: u64, calls: &[Call]) -> redis::RedisResult<redis::Value> {
        let caller = Caller {
            session: SessionId(session),
            connection: 1,
            listens: true,
            settling: false,
            keep_alive_ms: 30_000,
        };
        let layout = Layout { prefix: "cl".to_owned(), cluster: false };
        let cmd = rehearsal::command(&layout, &caller, calls, Epoch(self.fresh), self.way, self.now_us, &[]);
        cmd.query(&mut self.server.connection)
    }

    pub fn try_call(&mut self, session: u64, verb: Verb) -> Result<Reply, CallError> {
        let call = Call::new(self.key.clone(), verb);
        self.try_call_together(session, &[call]).remove(0)
    }

    /// Several calls in one command, those of a group one after the other.
    pub fn try_call_together(&mut self, session: u64, calls: &[Call]) -> Vec<Result<Reply, CallError>> {
        match self.ask(session, calls) {
            Ok(value) => reply::parse_each(calls, value),
            Err(error) => calls.iter().map(|_| Err(reply::call_error(&error))).collect(),
        }
    }

    pub fn call_together(&mut self, session: u64, calls: &[Call]) -> Vec<Reply> {
        self.try_call_together(session, calls).into_iter().map(|reply| reply.expect("a reply")).collect()
    }

    pub fn call(&mut self, session: u64, verb: Verb) -> Reply {
        self.try_call(session, verb).expect("a reply")
    }

    pub fn try_acquire(&mut self, id: LeaseId, limit: u32, wait: bool) -> Result<Acquired, CallError> {
        let ask = Ask { id, terms: Arc::new(terms(limit)), wait };
        let Answers::Acquire(mut all) = self.try_call(id.session.0, Verb::Acquire(vec![ask]))?.answers else {
            panic!("another verb's answer");
        };
        Ok(all.remove(0))
    }

    pub fn acquire(&mut self, id: LeaseId, limit: u32) -> Grant {
        match self.try_acquire(id, limit, false) {
            Ok(Acquired::Granted(grant)) => grant,
            other => panic!("{other:?}"),
        }
    }

    pub fn wait(&mut self, id: LeaseId, limit: u32) -> Ticket {
        match self.try_acquire(id, limit, true) {
            Ok(Acquired::Queued { ticket, .. }) => ticket,
            other => panic!("{other:?}"),
        }
    }

    pub fn hold(&mut self, count: u64, limit: u32) {
        let terms = Arc::new(terms(limit));
        for from in (1..=count).step_by(200) {
            let asks = (from..=count.min(from + 199)).map(|n| Ask {
                id: id(1, n),
                terms: terms.clone(),
                wait: false,
            });
            let reply = self.call(1, Verb::Acquire(asks.collect()));
            let Answers::Acquire(all) = reply.answers else { panic!("another verb's answer") };
            assert!(all.iter().all(|one| matches!(one, Acquired::Granted(_))));
        }
    }

    pub fn release(&mut self, id: LeaseId) -> Reply {
        self.call(id.session.0, Verb::Release(vec![Target::Lease(id)]))
    }

    pub fn reconcile(&mut self, session: u64, items: Vec<ReconcileItem>) -> Vec<Reconciled> {
        match self.call(session, Verb::Reconcile { items, own_from: None }).answers {
            Answers::Reconcile { reconciled, .. } => reconciled,
            other => panic!("{other:?}"),
        }
    }

    pub fn lose(&mut self, key: &str) {
        assert_eq!(self.server.ask::<u64>(&["DEL", key]), 1, "{key} was there");
    }

    pub fn pass(&mut self, ms: u64) {
        self.now_us += ms * 1_000;
    }

    pub fn clean_through(&mut self) {
        for _ in 0..10_000 {
            if !self.call(9, Verb::Clean).again {
                return;
            }
        }
        panic!("clean doesn't come to an end");
    }

    /// Slots held as the group counts them, those of ended leases included.
    pub fn held(&mut self) -> u64 {
        let group = self.keys.group.clone();
        let state: String = self.server.ask(&["HGET", &group, "state"]);
        state.split(' ').nth(2).and_then(|held| held.parse().ok()).expect("a number")
    }

    pub fn inspect(&mut self) -> Picture {
        match self.call(9, Verb::Inspect(Page::default())).answers {
            Answers::Inspect(picture) => picture,
            other => panic!("{other:?}"),
        }
    }
}
