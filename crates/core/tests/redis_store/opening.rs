//! Links that are opened with credentials, or not opened at all.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use concurrency_limit::config::{Asked, Credential, Options, Parts, Place};
use concurrency_limit::store::ConnectError;
use concurrency_limit::store::redis::RedisStore;

use super::store;
use crate::common::gate::Gate;
use crate::common::peer::Peer;
use crate::common::server::{RedisServer, free_port};
use crate::common::{self, until};

async fn refusal(store: &RedisStore) -> ConnectError {
    match Peer::try_connect(store).await {
        Ok(_) => panic!("a link was opened"),
        Err(error) => error,
    }
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
