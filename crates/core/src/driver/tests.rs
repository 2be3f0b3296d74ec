use std::sync::atomic::AtomicUsize;
use std::sync::{Barrier, Condvar};
use std::thread::{scope, spawn};
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use super::*;
use crate::lease::Key;
use crate::protocol::{Outgoing, Terms, Verb};
use crate::store::{Connecting, Link, LinkEvent, LinkInfo};

const PATIENCE: Duration = Duration::from_secs(20);

/// What a client has heard.
#[derive(Default)]
struct Heard {
    events: Mutex<Vec<Event>>,
    broken: Mutex<Option<String>>,
    news: Condvar,
}

impl Sink for Heard {
    fn tell(&self, events: &mut Vec<Event>) {
        lock(&self.events).append(events);
        self.news.notify_all();
    }

    fn broken(&self, message: &str) {
        *lock(&self.broken) = Some(message.to_owned());
        self.news.notify_all();
    }
}

impl Heard {
    /// Waits until an event is there, and takes it and all before it.
    fn until(&self, is_it: impl Fn(&Event) -> bool) {
        let events = lock(&self.events);
        let missing = |events: &mut Vec<Event>| !events.iter().any(&is_it);
        let (mut events, waited) = self.news.wait_timeout_while(events, PATIENCE, missing).unwrap();
        assert!(!waited.timed_out(), "{events:?}");
        let at = events.iter().position(&is_it).unwrap();
        events.drain(..=at);
    }
}

/// Options of which no other test has a session.
fn options(name: &str) -> Options {
    Options { key_prefix: format!("driver-{name}"), ..Options::new("memory:") }
}

fn open(options: &Options, store: Arc<dyn Store>) -> (Client, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    (Client::enter(options, store, Arc::clone(&heard) as Arc<dyn Sink>), heard)
}

fn submit(client: &Client, tag: Tag, limit: u32) -> Command {
    let terms = Terms {
        limit,
        weight: 1,
        priority: 0,
        lease_ms: 60_000,
        claim_ms: 60_000,
        max_waiting: None,
        holder: None,
        label: None,
    };
    Command::Submit(Request {
        client: client.id(),
        tag,
        key: Key::new("k").unwrap(),
        terms,
        timeout: Some(PATIENCE),
        interval: Duration::from_secs(1),
        renew: true,
        hold: None,
        keep: Duration::ZERO,
    })
}

/// A link that can be told to come to grief: a panic at the next call, or its end.
struct Frail {
    events: Mutex<Option<UnboundedSender<LinkEvent>>>,
    panics: bool,
}

struct FrailLink {
    panics: bool,
}

impl Store for Frail {
    fn connect(&self, _session: SessionId, events: UnboundedSender<LinkEvent>) -> Connecting {
        *lock(&self.events) = Some(events);
        let link: Box<dyn Link> = Box::new(FrailLink { panics: self.panics });
        let info = LinkInfo { listens: true, uptime: Some(Duration::MAX), ..LinkInfo::default() };
        Box::pin(std::future::ready(Ok((link, info))))
    }

    fn address(&self) -> String {
        "frail".into()
    }

    fn is_embedded(&self) -> bool {
        true
    }
}

impl Link for FrailLink {
    fn send(&mut self, _requests: Vec<Outgoing>) {
        assert!(!self.panics, "the link breaks");
    }
}

#[test]
fn what_the_process_can_answer_by_itself_is_told_in_the_call() {
    let (client, heard) = open(&options("call"), Arc::new(MemoryStore::new()));
    client.send([submit(&client, 1, 1), submit(&client, 2, 1)]);
    let told = std::mem::take(&mut *lock(&heard.events));
    let granted = matches!(told[..], [Event::Connecting, Event::Connected, Event::Granted { tag: 1, .. }]);
    assert!(granted, "{told:?}");
    client.send([Command::Release(1)]);
    let told = std::mem::take(&mut *lock(&heard.events));
    let handed_on = matches!(told[..], [Event::Granted { tag: 2, .. }, Event::Released { tag: 1, .. }]);
    assert!(handed_on, "{told:?}");
    assert!(client.close(9, true));
    assert!(matches!(lock(&heard.events).last(), Some(Event::Closed { tag: 9, .. })));
    assert!(!client.send([submit(&client, 3, 1)]));
}

#[test]
fn another_session_s_release_wakes_who_waits_here() {
    let store = MemoryStore::new();
    let (one, one_heard) = open(&options("release"), Arc::new(store.clone()));
    let (other, other_heard) = open(&options("waits"), Arc::new(store));
    assert_ne!(one.session(), other.session());
    one.send([submit(&one, 1, 1)]);
    one_heard.until(|event| matches!(event, Event::Granted { .. }));
    other.send([submit(&other, 1, 1)]);
    one.send([Command::Release(1)]);
    other_heard.until(|event| matches!(event, Event::Granted { .. }));
}

#[test]
fn threads_that_share_a_session_are_told_everything_once_and_in_order() {
    const THREADS: usize = 4;
    const ROUNDS: Tag = 300;
    let options = options("threads");
    let inside = AtomicUsize::new(0);
    scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let (client, heard) = open(&options, Arc::new(MemoryStore::shared("driver-threads")));
                for tag in 1..=ROUNDS {
                    client.send([submit(&client, tag, 2)]);
                    heard.until(|event| matches!(event, Event::Granted { tag: told, .. } if *told == tag));
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < 2);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    client.send([Command::Release(tag)]);
                    heard.until(|event| {
                        matches!(event, Event::Released { tag: told, was_held: true, .. } if *told == tag)
                    });
                }
                client.close(0, true);
                heard.until(|event| matches!(event, Event::Closed { .. }));
                assert_eq!(*lock(&heard.events), []);
            });
        }
    });
}

#[test]
fn nothing_is_told_after_closed() {
    let store = Arc::new(Frail { events: Mutex::default(), panics: false });
    let options = options("closed");
    let (gone, gone_heard) = open(&options, Arc::clone(&store) as Arc<dyn Store>);
    let (stays, stays_heard) = open(&options, Arc::clone(&store) as Arc<dyn Store>);
    assert_eq!(gone.session(), stays.session());
    stays.send([submit(&stays, 1, 1)]);
    gone.close(7, true);
    gone_heard.until(|event| matches!(event, Event::Closed { tag: 7, .. }));
    // What everybody hears, from a thread that is nobody's.
    let events = lock(&store.events).clone().unwrap();
    assert!(spawn(move || events.send(LinkEvent::Down("gone".into())).is_ok()).join().unwrap());
    stays_heard.until(|event| matches!(event, Event::Disconnected(_)));
    assert_eq!(*lock(&gone_heard.events), []);
}

#[test]
fn nothing_that_comes_after_a_close_is_done() {
    let (client, heard) = open(&options("after-close"), Arc::new(MemoryStore::new()));
    let close = Command::Close { tag: 9, release: true };
    assert!(client.send([submit(&client, 1, 1), close, submit(&client, 2, 1)]));
    heard.until(|event| matches!(event, Event::Closed { tag: 9, .. }));
    assert_eq!(*lock(&heard.events), []);
    assert!(!client.send([submit(&client, 3, 1)]));
    assert!(!client.close(9, true));
}

#[test]
fn a_panic_under_the_lock_ends_the_session_and_its_clients_hear_of_it() {
    let options = options("panic");
    let store = Arc::new(Frail { events: Mutex::default(), panics: true });
    let (one, one_heard) = open(&options, Arc::clone(&store) as Arc<dyn Store>);
    let (other, other_heard) = open(&options, store);
    one.send([submit(&one, 1, 1)]);
    for heard in [one_heard, other_heard] {
        assert_eq!(lock(&heard.broken).as_deref(), Some("the link breaks"));
    }
    assert!(!other.send([submit(&other, 1, 1)]));
    // Whoever comes now has another session.
    let (late, late_heard) = open(&options, Arc::new(MemoryStore::new()));
    late.send([submit(&late, 1, 1)]);
    late_heard.until(|event| matches!(event, Event::Granted { .. }));
}

/// A server that is far away: what it's asked, by each sending.
#[derive(Clone, Default)]
struct Far(Arc<Mutex<Vec<Vec<Outgoing>>>>);

impl Store for Far {
    fn connect(&self, _session: SessionId, events: UnboundedSender<LinkEvent>) -> Connecting {
        let link: Box<dyn Link> = Box::new(FarLink { asked: Arc::clone(&self.0), _events: events });
        let info = LinkInfo { listens: true, uptime: Some(Duration::MAX), ..LinkInfo::default() };
        Box::pin(std::future::ready(Ok((link, info))))
    }

    fn address(&self) -> String {
        "far".into()
    }
}

struct FarLink {
    asked: Arc<Mutex<Vec<Vec<Outgoing>>>>,
    _events: UnboundedSender<LinkEvent>,
}

impl Link for FarLink {
    fn send(&mut self, requests: Vec<Outgoing>) {
        lock(&self.asked).push(requests);
    }
}

/// Does `work` while the core's thread does nothing.
fn while_the_core_is_busy(work: impl FnOnce()) {
    let (stands, goes_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let gates = (Arc::clone(&stands), Arc::clone(&goes_on));
    runtime().spawn(async move {
        gates.0.wait();
        gates.1.wait();
    });
    stands.wait();
    work();
    goes_on.wait();
}

#[test]
fn what_a_server_is_asked_gathers_until_the_core_s_thread_sends_it() {
    let far = Far::default();
    let (client, heard) = open(&options("gathers"), Arc::new(far.clone()));
    client.send([submit(&client, 1, 5)]);
    heard.until(|event| matches!(event, Event::Connected));
    let sent = || lock(&far.0).len();
    let since = Instant::now();
    while sent() == 0 {
        assert!(since.elapsed() < PATIENCE, "the first request was never sent");
        std::thread::yield_now();
    }
    while_the_core_is_busy(|| {
        for tag in 2..=4 {
            client.send([submit(&client, tag, 5)]);
        }
        assert_eq!(sent(), 1);
    });
    while sent() < 2 {
        assert!(since.elapsed() < PATIENCE, "the rest was never sent");
        std::thread::yield_now();
    }
    let asked = lock(&far.0).pop().unwrap();
    let [Outgoing::Call { call, .. }] = &asked[..] else { panic!("{asked:?}") };
    assert!(matches!(&call.verb, Verb::Acquire(asks) if asks.len() == 3), "{call:?}");
}
