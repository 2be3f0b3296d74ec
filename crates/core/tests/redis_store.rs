//! The Redis store against real servers: opening a link, the order of its events, its end, and what it makes of a
//! server that can do less.
//!
//! What the calls mean is not tested here: `conformance` and the agreement tests hold that.

mod common;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::gate::Gate;
use common::peer::{Peer, key, limit};
use common::server::{RedisServer, free_port};
use common::until;
use concurrency_limit::config::{Asked, Credential, Options, Parts, Place};
use concurrency_limit::lease::Key;
use concurrency_limit::protocol::{Acquired, Ask, CallError, Renew, Target, Verb};
use concurrency_limit::store::redis::RedisStore;
use concurrency_limit::store::{ConnectError, LinkEvent, Store};

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

async fn refusal(store: &RedisStore) -> ConnectError {
    match Peer::try_connect(store).await {
        Ok(_) => panic!("a link was opened"),
        Err(error) => error,
    }
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
async fn a_user_without_channels_is_served_without_pushes() {
    let server = RedisServer::start(&[]);
    let _: String = server.run(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "resetchannels", "+@all"]);
    assert_hands_off(&store(server.url("app:pw@")), false).await;
}

#[tokio::test]
async fn a_user_without_dangerous_commands_is_served_without_uptime() {
    let server = RedisServer::start(&[]);
    let rights = ["on", ">pw", "~*", "&*", "+@all", "-@dangerous", "-client"];
    let _: String = server.run(&[&["ACL", "SETUSER", "app"], &rights[..]].concat());
    let store = named_store(server.url("app:pw@"), Some("limiter"));
    assert_eq!(Peer::connect(&store).await.info.uptime, None);
    assert_hands_off(&store, true).await;
}

#[tokio::test]
async fn the_uptime_is_told() {
    let server = RedisServer::start(&[]);
    let peer = Peer::connect(&store(server.url(""))).await;
    assert!(peer.info.uptime.is_some_and(|uptime| uptime < common::BOUND));
}

#[tokio::test]
async fn without_hello_pushes_come_on_a_second_connection() {
    let server = RedisServer::start(&["--rename-command", "HELLO", ""]);
    assert_hands_off(&store(server.url("")), true).await;
    let _: String = server.run(&["ACL", "SETUSER", "mute", "on", ">pw", "~*", "resetchannels", "+@all"]);
    assert_hands_off(&store(server.url("mute:pw@")), false).await;
}

#[tokio::test]
async fn without_room_for_a_second_connection_pushes_are_gone_without() {
    let server = RedisServer::start(&["--rename-command", "HELLO", ""]);
    let most = |most| {
        let options = Options { max_connections: Some(most), ..Options::new(server.url("")) };
        RedisStore::new(options).expect("good options")
    };
    assert_hands_off(&most(1), false).await;
    assert_hands_off(&most(2), true).await;
}

#[tokio::test]
async fn a_second_connection_that_dies_alone_takes_only_the_pushes_with_it() {
    let server = RedisServer::start(&["--rename-command", "HELLO", ""]);
    let mut peer = Peer::connect(&store(server.url(""))).await;
    assert!(peer.info.listens);
    let killed: i64 = server.run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    assert_eq!(killed, 1);
    assert_eq!(peer.event().await, Some(LinkEvent::PushLost));
    peer.granted(&key("still"), 1, &Arc::new(limit(1))).await;
    // Idle, the connection for calls dies without a word: the next call finds out.
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let _: i64 = server.run(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    until("the connection has ended", || tasks() < before).await;
    let (_, call) = peer.request(&key("late"), Verb::Clean);
    peer.link.send(vec![call]);
    assert!(matches!(peer.event().await, Some(LinkEvent::Down(_))));
    assert_eq!(peer.close().await, []);
}

#[tokio::test]
async fn without_hello_the_death_of_an_idle_server_is_noticed() {
    let mut server = RedisServer::start(&["--rename-command", "HELLO", ""]);
    let mut peer = Peer::connect(&store(server.url(""))).await;
    server.kill();
    assert_eq!(peer.event().await, Some(LinkEvent::PushLost));
    assert!(matches!(peer.event().await, Some(LinkEvent::Down(_))));
    assert_eq!(peer.close().await, []);
}

#[tokio::test]
async fn a_refused_login_is_fatal_and_tells_no_password() {
    for options in
        [&["--requirepass", "right"][..], &["--requirepass", "right", "--rename-command", "HELLO", ""]]
    {
        let server = RedisServer::start(options);
        for credentials in [":hunter2@", "nobody:hunter2@", ""] {
            let error = refusal(&store(server.url(credentials))).await;
            assert!(error.fatal, "{error}");
            assert!(error.message.contains("password"), "{error}");
            assert!(!error.message.contains("hunter2"), "{error}");
        }
        Peer::connect(&store(server.url(":right@"))).await;
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_fatal() {
    let server = RedisServer::start(&["--databases", "2"]);
    Peer::connect(&store(format!("{}/1", server.url("")))).await;
    let error = refusal(&store(format!("{}/2", server.url("")))).await;
    assert!(error.fatal && error.message.contains("DB index"), "{error}");
}

#[tokio::test]
async fn a_server_without_room_is_worth_another_try() {
    let server = RedisServer::start(&["--maxclients", "1"]);
    let client = redis::Client::open(server.url("")).expect("the server's address");
    let mut taken = None;
    until("the only connection is taken", || {
        taken = client.get_connection().ok();
        taken.is_some()
    })
    .await;
    let error = refusal(&store(server.url(""))).await;
    assert!(!error.fatal, "{error}");
}

#[tokio::test]
async fn a_server_that_is_loading_is_worth_another_try() {
    let filled = RedisServer::start(&["--rdbcompression", "no"]);
    let fill = "for i = 1, 6000 do redis.call('SET', i, string.rep('x', 2000)) end";
    let _: redis::Value = filled.run(&["EVAL", fill, "0"]);
    let _: String = filled.run(&["SAVE"]);
    let directory = filled.directory().to_str().expect("a name in UTF-8");
    // It looks at its connections every 2 MB, which is about once a second, until it's told to hurry.
    let server = RedisServer::start(&["--dir", directory, "--key-load-delay", "1000"]);
    let store = store(server.url(""));
    let error = refusal(&store).await;
    assert!(!error.fatal && error.message.contains("LOADING"), "{error}");
    let _: String = server.run(&["CONFIG", "SET", "key-load-delay", "0"]);
    let opened =
        tokio::time::timeout(common::BOUND, async { while Peer::try_connect(&store).await.is_err() {} });
    opened.await.expect("loaded within the bound");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_refused_at_once() {
    let port = free_port();
    let started = Instant::now();
    let error = refusal(&store(format!("redis://127.0.0.1:{port}/3"))).await;
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(!error.fatal && error.message.contains("refused"), "{error}");
    assert!(error.message.contains(&format!("redis://127.0.0.1:{port}/3")), "{error}");
}

#[tokio::test]
async fn a_port_that_never_answers_is_given_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("redis://{}", silent.local_addr().expect("its address"));
    let options = Options { connect_timeout: Duration::from_millis(100), ..Options::new(url) };
    let started = Instant::now();
    let error = refusal(&RedisStore::new(options).expect("a good address")).await;
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(!error.fatal && error.message.contains("no answer within 100ms"), "{error}");
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

#[tokio::test]
async fn an_abandoned_connect_leaves_nothing() {
    let server = RedisServer::start(&[]);
    let gate = Gate::before(server.port()).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    gate.shut();
    let store = store(gate.url());
    tokio::select! {
        biased;
        connected = Peer::try_connect(&store) => panic!("connected through a shut gate: {:?}", connected.err()),
        () = until("half-way", || server.run::<String>(&["CLIENT", "LIST"]).contains("lib-name=")
            || server.run::<String>(&["CLIENT", "LIST"]).lines().count() > 1) => {}
    }
    until("no task is left", || tasks() == before).await;
}

#[tokio::test]
async fn credentials_are_asked_for_whenever_a_link_opens() {
    let server = RedisServer::start(&[]);
    server.run::<()>(&["CONFIG", "SET", "requirepass", "first"]);
    let asked = Arc::new(AtomicUsize::new(0));
    let password = {
        let asked = Arc::clone(&asked);
        Asked::new(move |_| {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            async move { if number == 1 { Err("no token now".to_owned()) } else { Ok("first".to_owned()) } }
        })
    };
    let parts = Parts { password: Some(Credential::Asked(password)), ..Parts::default() };
    let place =
        Place::read(Some(&format!("redis://127.0.0.1:{}", server.port())), parts).expect("a good place");
    let store = RedisStore::new(Options { place, ..Options::new("memory:") }).expect("good options");
    drop(Peer::connect(&store).await);
    let failed = refusal(&store).await;
    assert!(failed.message.contains("password couldn't be asked for: no token now"), "{failed}");
    assert_eq!(
        (failed.fatal, failed.answered, &failed.warning),
        (false, false, &Some(failed.message.clone()))
    );
    drop(Peer::connect(&store).await);
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}
