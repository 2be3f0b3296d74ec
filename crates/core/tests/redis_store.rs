//! The Redis store against real servers: opening a link (`opening`), the order of its events, its end, and servers that
//! lack something (`lacking`).
//!
//! What the calls mean is tested by `conformance` and the agreement tests.

mod common;
#[path = "redis_store/lacking.rs"]
mod lacking;
#[path = "redis_store/opening.rs"]
mod opening;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::gate::Gate;
use common::peer::{Peer, key, limit};
use common::server::RedisServer;
use common::until;
use concurrency_limit::config::Options;
use concurrency_limit::lease::Key;
use concurrency_limit::protocol::{Acquired, Ask, CallError, Renew, Target, Verb};
use concurrency_limit::store::redis::RedisStore;
use concurrency_limit::store::{LinkEvent, Store};

fn store(url: String) -> RedisStore {
    named_store(url, None)
}

fn named_store(url: String, client_name: Option<&str>) -> RedisStore {
    RedisStore::new(Options {
        connect_timeout: Duration::from_secs(5),
        client_name: client_name.map(str::to_owned),
        ..Options::new(url)
    })
    .expect("a good address")
}

/// Two peers, the first holding the only slot, the second in line behind it.
async fn holder_and_waiter(holder: &dyn Store, waiter: &dyn Store, key: &Key) -> (Peer, Peer) {
    let (mut first, mut second) = (Peer::connect(holder).await, Peer::connect(waiter).await);
    let terms = Arc::new(limit(1));
    first.granted(key, 1, &terms).await;
    let acquired = second.acquire(key, 1, &terms).await;
    assert!(matches!(acquired, Acquired::Queued { .. }), "{acquired:?}");
    (first, second)
}

/// Whether calls and pushes reach both ends.
async fn assert_hands_off(store: &RedisStore, pushes: bool) {
    let group = key(if pushes { "pushed" } else { "looked for" });
    let (mut first, mut second) = holder_and_waiter(store, store, &group).await;
    assert_eq!(second.info.listens, pushes);
    first.answer(&group, Verb::Release(vec![Target::Lease(first.id(1))])).await;
    if pushes {
        let push = second.push().await;
        assert_eq!(push.key, group);
        assert_eq!(push.news.grants().iter().map(|grant| grant.id).collect::<Vec<_>>(), [second.id(1)]);
    } else {
        let held = second.acquire(&group, 1, &Arc::new(limit(1))).await;
        assert!(matches!(held, Acquired::Granted(_)), "{held:?}");
    }
}

#[tokio::test]
async fn a_hand_off_is_pushed_to_the_other_link() {
    let server = RedisServer::start(&[]);
    assert_hands_off(&store(server.url("")), true).await;
}

#[tokio::test]
async fn events_come_in_the_order_of_the_wire() {
    let server = RedisServer::start(&[]);
    let gate = Gate::before(server.port()).await;
    let group = key("ordered");
    let mut first = Peer::connect(&store(server.url(""))).await;
    first.granted(&group, 1, &Arc::new(limit(1))).await;
    let mut second = Peer::connect(&store(gate.url())).await;

    // Reply, push and reply lie ready together when the gate opens.
    gate.shut();
    let waits = Ask { id: second.id(1), terms: Arc::new(limit(1)), wait: true };
    let (joins, join) = second.request(&group, Verb::Acquire(vec![waits]));
    second.link.send(vec![join]);
    until("in line", || server.run::<i64>(&["EXISTS", "cl:{ordered}:queue"]) == 1).await;
    first.answer(&group, Verb::Release(vec![Target::Lease(first.id(1))])).await;
    let elsewhere = Ask { id: second.id(2), terms: Arc::new(limit(1)), wait: true };
    let (asks, ask) = second.request(&key("elsewhere"), Verb::Acquire(vec![elsewhere]));
    second.link.send(vec![ask]);
    until("granted", || server.run::<i64>(&["EXISTS", "cl:{elsewhere}"]) == 1).await;
    gate.open();

    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(match second.event().await {
            Some(LinkEvent::Reply { id, result: Ok(_) }) => Some(id),
            Some(LinkEvent::Push(_)) => None,
            other => panic!("neither a reply nor a push: {other:?}"),
        });
    }
    assert_eq!(order, [Some(joins), None, Some(asks)]);
}

#[tokio::test]
async fn a_link_that_the_server_does_not_know_any_more_ends_and_the_next_one_logs_in() {
    let server = RedisServer::start(&["--requirepass", "pw"]);
    let gate = Gate::before(server.port()).await;
    let store = store(gate.url().replace("redis://", "redis://:pw@"));
    let (group, terms) = (key("known"), Arc::new(limit(1)));
    let mut first = Peer::connect(&store).await;
    first.granted(&group, 1, &terms).await;
    gate.reset();
    let client = redis::Client::open(server.url(":pw@")).expect("the server's address");
    let mut admin = client.get_connection().expect("a connection for the test itself");
    let mut stats = || -> String {
        redis::cmd("INFO").arg("commandstats").query(&mut admin).expect("what the server has run")
    };
    until("reset", || stats().contains("cmdstat_reset:")).await;
    let (_, release) = first.request(&group, Verb::Release(vec![Target::Lease(first.id(1))]));
    first.link.send(vec![release]);
    let event = first.event().await;
    assert!(matches!(event, Some(LinkEvent::Down(_))), "{event:?}");
    drop(first);
    Peer::connect(&store).await.granted(&key("anew"), 1, &terms).await;
}

#[tokio::test]
async fn replies_come_in_the_order_of_the_calls_however_many() {
    let server = RedisServer::start(&[]);
    let mut peer = Peer::connect(&store(server.url(""))).await;
    let mut ids = Vec::new();
    for batch in 0..100 {
        let mut requests = Vec::new();
        for item in 0..batch * 3 {
            let (id, request) = peer.request(&key(&format!("k{}", item % 7)), Verb::Clean);
            ids.push(id);
            requests.push(request);
        }
        peer.link.send(requests);
    }
    for id in ids {
        match peer.event().await {
            Some(LinkEvent::Reply { id: of, result: Ok(_) }) => assert_eq!(of, id),
            other => panic!("not a reply: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_reply_that_takes_long_is_waited_for() {
    let server = RedisServer::start(&[]);
    let mut peer = Peer::connect(&store(server.url(""))).await;
    let _: String = server.run(&["CLIENT", "PAUSE", "1200", "ALL"]);
    let started = Instant::now();
    peer.granted(&key("slow"), 1, &Arc::new(limit(1))).await;
    assert!(started.elapsed() > Duration::from_secs(1));
}

#[tokio::test]
async fn a_killed_connection_is_down_once_and_nothing_follows() {
    for (options, kind) in [(&[][..], "pubsub"), (&["--rename-command", "SUBSCRIBE", ""][..], "normal")] {
        let server = RedisServer::start(options);
        let mut peer = Peer::connect(&store(server.url(""))).await;
        let killed: i64 = server.run(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]);
        assert!(killed > 0);
        assert!(matches!(peer.event().await, Some(LinkEvent::Down(_))));
        let (_, late) = peer.request(&key("late"), Verb::Clean);
        peer.link.send(vec![late]);
        assert_eq!(peer.close().await, []);
    }
}

#[tokio::test]
async fn a_server_that_dies_leaves_calls_unanswered_and_the_link_down() {
    let mut server = RedisServer::start(&[]);
    let mut peer = Peer::connect(&store(server.url(""))).await;
    server.kill();
    let (_, call) = peer.request(&key("late"), Verb::Clean);
    peer.link.send(vec![call]);
    assert!(matches!(peer.event().await, Some(LinkEvent::Down(_))));
    assert_eq!(peer.close().await, []);
}

#[tokio::test]
async fn a_key_of_another_type_is_unusable_and_untouched() {
    let server = RedisServer::start(&[]);
    let mut peer = Peer::connect(&store(server.url(""))).await;
    let _: String = server.run(&["SET", "cl:{taken}", "precious"]);
    let ask = Ask { id: peer.id(1), terms: Arc::new(limit(1)), wait: true };
    let answer = peer.call(&key("taken"), Verb::Acquire(vec![ask])).await;
    assert!(matches!(answer, Err(CallError::Unusable(_))), "{answer:?}");
    assert_eq!(server.run::<String>(&["GET", "cl:{taken}"]), "precious");
    // The calls beside it aren't harmed.
    peer.answer(&key("free"), Verb::Renew(Renew::default())).await;
}

#[tokio::test]
async fn groups_are_listed_by_the_keys_that_users_gave() {
    let server = RedisServer::start(&[]);
    let store = store(server.url(""));
    let names = ["plain", "}", "%", "%7D", "{a}", "a}b%c", "with spaces", "🔒", "[x]", "*", "a:b", "\\"];
    let mut all: Vec<_> = names.iter().map(|name| key(name)).collect();
    all.sort();
    let (mut first, mut second) = (Peer::connect(&store).await, Peer::connect(&store).await);
    for name in &all {
        first.granted(name, 1, &Arc::new(limit(1))).await;
        second.acquire(name, 1, &Arc::new(limit(1))).await;
    }
    // Neither of these is a group.
    let _: i64 = server.run(&["HSET", "cl:other", "a", "b"]);
    let _: String = server.run(&["SET", "cl:{text}", "a"]);
    assert_eq!(first.keys("*").await, all);
    for (pattern, expected) in [
        ("plain", &["plain"][..]),
        ("?", &["%", "*", "\\", "}"]),
        ("[%}]", &["%", "}"]),
        (r"\*", &["*"]),
        ("a*", &["a:b", "a}b%c"]),
        ("a}b%c", &["a}b%c"]),
        ("{*}", &["{a}"]),
        ("nothing", &[]),
    ] {
        let found = first.keys(pattern).await;
        assert_eq!(found.iter().map(Key::as_str).collect::<Vec<_>>(), expected, "{pattern}");
    }
}

#[tokio::test]
async fn a_dropped_link_closes_its_connections_and_leaves_no_task() {
    for options in [&[][..], &["--rename-command", "HELLO", ""]] {
        let server = RedisServer::start(options);
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        let store = named_store(server.url(""), Some("limiter"));
        let peer = Peer::connect(&store).await;
        assert!(tasks() > before);
        assert!(server.run::<String>(&["CLIENT", "LIST"]).contains("name=limiter"));
        assert_eq!(peer.close().await, []);
        until("no task is left", || tasks() == before).await;
        until("only the asking connection is left", || {
            server.run::<String>(&["CLIENT", "LIST"]).lines().count() == 1
        })
        .await;
    }
}
