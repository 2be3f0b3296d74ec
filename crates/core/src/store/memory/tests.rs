//! The embedded store through its links, as the driver sees it. Time is an argument here too.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::lease::{Key, LeaseId};
use crate::protocol::{Acquired, Answers, Ask, Call, CallId, Caller, Outgoing, Reply, Target, Terms, Verb};

const HOUR_US: u64 = 3_600_000_000;

struct Client {
    session: SessionId,
    link: Box<dyn Link>,
    events: UnboundedReceiver<LinkEvent>,
}

fn connect(store: &MemoryStore, number: u64) -> Client {
    let (sender, events) = unbounded_channel();
    let session = SessionId(number);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (link, info) = runtime.block_on(store.connect(session, sender)).unwrap();
    assert_eq!(info, LinkInfo { listens: true, uptime: Some(Duration::MAX), ..LinkInfo::default() });
    Client { session, link, events }
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn id(session: u64, number: u64) -> LeaseId {
    LeaseId { session: SessionId(session), number }
}

fn acquire(id: LeaseId) -> Verb {
    let terms = Terms {
        limit: 1,
        weight: 1,
        priority: 0,
        lease_ms: 60_000,
        claim_ms: 5_000,
        max_waiting: None,
        holder: None,
        label: None,
    };
    Verb::Acquire(vec![Ask { id, terms: Arc::new(terms), wait: true }])
}

fn release(id: LeaseId) -> Verb {
    Verb::Release(vec![Target::Lease(id)])
}

impl Client {
    fn send(&mut self, calls: Vec<(&str, Verb)>) {
        let caller = Caller {
            session: self.session,
            connection: 1,
            listens: true,
            settling: false,
            keep_alive_ms: 10_000,
        };
        let calls = calls.into_iter().enumerate().map(|(number, (text, verb))| Outgoing::Call {
            id: CallId(number as u64),
            caller,
            call: Call::new(key(text), verb),
        });
        self.link.send(calls.collect());
    }

    fn next(&mut self) -> LinkEvent {
        self.events.try_recv().expect("an event lies ready")
    }

    fn call(&mut self, text: &str, verb: Verb) -> Reply {
        self.send(vec![(text, verb)]);
        match self.next() {
            LinkEvent::Reply { id: CallId(0), result } => result.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn granted(&mut self, text: &str, id: LeaseId) -> bool {
        match self.call(text, acquire(id)).answers {
            Answers::Acquire(answers) => matches!(answers[0], Acquired::Granted(_)),
            other => panic!("{other:?}"),
        }
    }

    fn keys(&mut self, pattern: &str, cursor: &str) -> (Vec<String>, String) {
        self.link.send(vec![Outgoing::Keys {
            id: CallId(5),
            pattern: pattern.into(),
            cursor: cursor.into(),
        }]);
        match self.next() {
            LinkEvent::Keys { id: CallId(5), result: Ok((keys, next)) } => {
                (keys.iter().map(|key| key.as_str().to_owned()).collect(), next)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn store_with_clock() -> (MemoryStore, Arc<AtomicU64>) {
    let time = Arc::new(AtomicU64::new(1_700_000_000_000_000));
    let read = time.clone();
    (MemoryStore::with_clock(Box::new(move || read.load(Ordering::Relaxed))), time)
}

#[test]
fn clones_and_links_share_the_groups_and_another_store_does_not() {
    let store = MemoryStore::new();
    let (mut one, mut two) = (connect(&store, 1), connect(&store.clone(), 2));
    assert!(one.granted("k", id(1, 1)));
    assert!(!two.granted("k", id(2, 1)));
    assert!(two.granted("other", id(2, 2)));
    assert!(connect(&MemoryStore::new(), 3).granted("k", id(3, 1)));
}

#[test]
fn a_store_has_one_name_in_the_process_as_long_as_somebody_has_it() {
    let first = MemoryStore::shared("of this test");
    assert!(connect(&first, 1).granted("k", id(1, 1)));
    assert!(!connect(&MemoryStore::shared("of this test"), 2).granted("k", id(2, 1)));
    assert!(connect(&MemoryStore::shared("another of this test"), 2).granted("k", id(2, 1)));
    drop(first);
    assert!(connect(&MemoryStore::shared("of this test"), 3).granted("k", id(3, 1)));
}

#[test]
fn a_hand_off_is_pushed_into_the_other_link_with_key_and_epoch() {
    let store = MemoryStore::new();
    let (mut one, mut two) = (connect(&store, 1), connect(&store, 2));
    one.granted("k", id(1, 1));
    two.granted("k", id(2, 1));
    let epoch = one.call("k", release(id(1, 1))).epoch;
    match two.next() {
        LinkEvent::Push(push) => {
            assert_eq!((push.key, push.epoch), (key("k"), epoch));
            assert_eq!(
                (push.news.grants()[0].id, push.news.grants()[0].slots.as_slice()),
                (id(2, 1), &[1][..])
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn replies_come_in_the_order_of_the_calls_and_a_push_before_the_replies_to_later_calls() {
    let store = MemoryStore::new();
    let (mut one, mut two) = (connect(&store, 1), connect(&store, 2));
    one.granted("k", id(1, 1));
    two.send(vec![("k", acquire(id(2, 1))), ("other", acquire(id(2, 2))), ("k", Verb::Clean)]);
    one.call("k", release(id(1, 1)));
    two.send(vec![("k", Verb::Clean)]);
    for expected in [Some(0), Some(1), Some(2), None, Some(0)] {
        let number = match two.next() {
            LinkEvent::Reply { id, .. } => Some(id.0),
            LinkEvent::Push(_) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(number, expected);
    }
}

#[test]
fn a_dropped_link_has_no_receivers_and_its_place_in_line_goes_on() {
    let store = MemoryStore::new();
    let (mut one, mut two, mut three) = (connect(&store, 1), connect(&store, 2), connect(&store, 3));
    one.granted("k", id(1, 1));
    two.granted("k", id(2, 1));
    three.granted("k", id(3, 1));
    drop(two);
    one.call("k", release(id(1, 1)));
    assert!(matches!(three.next(), LinkEvent::Push(push) if push.news.grants()[0].id == id(3, 1)));
}

#[test]
fn a_sessions_later_link_gets_its_pushes_when_the_earlier_one_is_dropped_after() {
    let store = MemoryStore::new();
    let (mut one, mut two) = (connect(&store, 1), connect(&store, 2));
    one.granted("k", id(1, 1));
    two.granted("k", id(2, 1));
    let mut again = connect(&store, 2);
    drop(two);
    one.call("k", release(id(1, 1)));
    assert!(matches!(again.next(), LinkEvent::Push(_)));
}

#[test]
fn expired_groups_are_forgotten_a_few_per_call_and_never_answer() {
    let (store, time) = store_with_clock();
    let mut client = connect(&store, 1);
    let mut epoch = None;
    for number in 0..100 {
        epoch = Some(client.call(&format!("k{number}"), acquire(id(1, number))).epoch);
    }
    time.fetch_add(HOUR_US, Ordering::Relaxed);
    assert_eq!(client.keys("*", "0"), (vec![], "0".to_owned()));
    assert_ne!(Some(client.call("k99", acquire(id(1, 200))).epoch), epoch);
    for _ in 0..60 {
        client.call("k99", Verb::Clean);
    }
    assert_eq!(lock(&store.shared.world).groups.len(), 1);
    assert_eq!(client.keys("*", "0").0, ["k99"]);
}

#[test]
fn a_call_that_finds_no_group_makes_none() {
    let store = MemoryStore::new();
    let mut client = connect(&store, 1);
    client.call("k", release(id(1, 1)));
    client.call("k", Verb::Clean);
    assert_eq!(client.keys("*", "0").0, [""; 0]);
}

#[test]
fn keys_come_in_pages_and_by_pattern() {
    let store = MemoryStore::new();
    let mut client = connect(&store, 1);
    let names: Vec<String> = (0..2_345).map(|number| format!("user:{number:04}")).collect();
    for (number, name) in names.iter().enumerate() {
        client.call(name, acquire(id(1, number as u64)));
    }
    client.call("odd {}*%\n", acquire(id(1, 9_999)));
    let (mut all, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let (keys, next) = client.keys("user:*", &cursor);
        assert!(keys.len() <= 1_000);
        all.extend(keys);
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(all, names);
    assert_eq!(client.keys("odd*\\**", "0"), (vec!["odd {}*%\n".to_owned()], "0".to_owned()));
}

#[test]
fn the_clock_starts_at_the_wall_clock_and_never_goes_back() {
    let clock = unix_clock();
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let first = clock();
    assert!(first.abs_diff(wall) < 5_000_000);
    assert!(clock() >= first);
}
