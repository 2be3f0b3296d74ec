//! Servers and users that lack something: channels, rights, HELLO, a second connection.

use std::sync::Arc;

use concurrency_limit::config::Options;
use concurrency_limit::protocol::Verb;
use concurrency_limit::store::LinkEvent;
use concurrency_limit::store::redis::RedisStore;

use super::{assert_hands_off, named_store, store};
use crate::common::peer::{Peer, key, limit};
use crate::common::server::RedisServer;
use crate::common::{self, until};

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
async fn without_room_for_a_second_connection_there_are_no_pushes() {
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
