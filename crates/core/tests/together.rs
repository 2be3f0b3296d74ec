//! Calls for several groups that go as one command, against real servers: that they do, what becomes of them where a
//! server doesn't take the keys of several groups at once, and that they survive what lone calls survive.

mod common;

use std::sync::Arc;

use common::cluster::RedisCluster;
use common::load::Load;
use common::peer::{Peer, key, limit};
use common::server::{RedisServer, forget_library, has_functions, library_commands};
use concurrency_limit::config::Options;
use concurrency_limit::lease::Key;
use concurrency_limit::limiter::Limiter;
use concurrency_limit::protocol::{
    Acquired, Answers, Ask, CallError, CallId, Outgoing, Renew, Reply, Target, Verb,
};
use concurrency_limit::store::LinkEvent;
use concurrency_limit::store::redis::RedisStore;

const GROUPS: u64 = 40;

fn store(url: String) -> RedisStore {
    RedisStore::new(Options::new(url)).expect("a good address")
}

fn groups() -> Vec<Key> {
    (0..GROUPS).map(|number| key(&format!("k{number}"))).collect()
}

/// One call for each group, all in one turn.
async fn ask_each(
    peer: &mut Peer,
    groups: &[Key],
    verb: impl Fn(&Peer) -> Verb,
) -> Vec<Result<Reply, CallError>> {
    let asked: Vec<_> = groups.iter().map(|group| peer.request(group, verb(peer))).collect();
    let (ids, requests): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
    peer.link.send(requests);
    let mut replies = Vec::new();
    for id in ids {
        replies.push(peer.reply(id).await);
    }
    replies
}

fn acquire(peer: &Peer) -> Verb {
    Verb::Acquire(vec![Ask { id: peer.id(1), terms: Arc::new(limit(1)), wait: true }])
}

fn release(peer: &Peer) -> Verb {
    Verb::Release(vec![Target::Lease(peer.id(1))])
}

fn is_granted(reply: &Result<Reply, CallError>) -> bool {
    matches!(reply, Ok(Reply { answers: Answers::Acquire(all), .. }) if matches!(all[..], [Acquired::Granted(_)]))
}

fn is_released(reply: &Result<Reply, CallError>) -> bool {
    matches!(reply, Ok(Reply { answers: Answers::Release(all), .. }) if all[..] == [true])
}

#[tokio::test]
async fn one_turns_calls_for_several_groups_are_few_commands() {
    let server = RedisServer::start(&[]);
    let mut peer = Peer::connect(&store(server.url(""))).await;
    let before = library_commands(&server);
    assert!(ask_each(&mut peer, &groups(), acquire).await.iter().all(is_granted));
    assert!(ask_each(&mut peer, &groups(), release).await.iter().all(is_released));
    let commands = library_commands(&server) - before;
    assert!(commands <= 2 * GROUPS.div_ceil(16), "{commands}");
}

#[tokio::test]
async fn all_that_a_turn_asks_of_its_groups_is_one_command() {
    let server = RedisServer::start(&[]);
    let mut peer = Peer::connect(&store(server.url(""))).await;
    let few = &groups()[..16];
    assert!(ask_each(&mut peer, few, acquire).await.iter().all(is_granted));
    let before = library_commands(&server);
    let verbs = [
        release(&peer),
        Verb::Acquire(vec![Ask { id: peer.id(2), terms: Arc::new(limit(1)), wait: true }]),
        Verb::Renew(Renew::default()),
    ];
    let mut numbers = Vec::new();
    for group in few {
        for verb in &verbs {
            let (number, request) = peer.request(group, verb.clone());
            numbers.push((number, request));
        }
    }
    // One verb after the other, of all groups each.
    let many = verbs.len();
    let order = (0..many).flat_map(|verb| (0..few.len()).map(move |group| group * many + verb));
    let order: Vec<(CallId, Outgoing)> = order.map(|at| numbers[at].clone()).collect();
    peer.link.send(order.iter().map(|(_, request)| request.clone()).collect());
    for (place, (number, _)) in order.iter().enumerate() {
        let reply = match peer.event().await {
            Some(LinkEvent::Reply { id, result }) if id == *number => result,
            other => panic!("not the reply to what was asked as number {place}: {other:?}"),
        };
        match place / few.len() {
            0 => assert!(is_released(&reply), "{reply:?}"),
            1 => assert!(is_granted(&reply), "{reply:?}"),
            _ => assert!(reply.is_ok(), "{reply:?}"),
        }
    }
    // Scripts don't ask for something new with the rest.
    let commands = if has_functions(&server) { 1 } else { 3 };
    assert_eq!(library_commands(&server) - before, commands);
}

#[tokio::test]
async fn a_waiter_of_another_link_is_told_by_each_of_the_groups() {
    let server = RedisServer::start(&[]);
    let store = store(server.url(""));
    let (mut first, mut second) = (Peer::connect(&store).await, Peer::connect(&store).await);
    ask_each(&mut first, &groups(), acquire).await;
    assert!(!ask_each(&mut second, &groups(), acquire).await.iter().any(is_granted));
    assert!(ask_each(&mut first, &groups(), release).await.iter().all(is_released));
    for group in groups() {
        let push = second.push().await;
        assert_eq!((push.key, push.news.grants().len()), (group, 1));
    }
}

#[tokio::test]
async fn a_group_that_is_no_group_fails_alone() {
    let server = RedisServer::start(&[]);
    let _: String = server.run(&["SET", "cl:{k3}", "mine"]);
    let mut peer = Peer::connect(&store(server.url(""))).await;
    assert!(is_granted(&peer.call(&key("k5"), acquire(&peer)).await));
    let _: String = server.run(&["SET", "cl:{k5}:ends", "mine"]);
    for (number, reply) in ask_each(&mut peer, &groups(), release).await.iter().enumerate() {
        match number {
            3 | 5 => assert!(matches!(reply, Err(CallError::Unusable(_))), "{number}: {reply:?}"),
            _ => assert!(reply.is_ok(), "{number}: {reply:?}"),
        }
    }
}

#[tokio::test]
async fn a_user_who_may_not_use_all_of_the_keys_is_served_with_the_others() {
    let server = RedisServer::start(&[]);
    let rights = ["on", ">pw", "~cl:{k1*", "&*", "+@all"];
    let _: String = server.run(&[&["ACL", "SETUSER", "app"], &rights[..]].concat());
    let mut peer = Peer::connect(&store(server.url("app:pw@"))).await;
    for (group, reply) in groups().iter().zip(ask_each(&mut peer, &groups(), acquire).await) {
        match group.as_str().starts_with("k1") {
            true => assert!(is_granted(&reply), "{group:?}: {reply:?}"),
            false => assert!(matches!(reply, Err(CallError::Denied(_))), "{group:?}: {reply:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_takes_the_keys_of_one_group_only_gets_them_one_by_one() {
    let cluster = RedisCluster::start(1, 0);
    let mut peer = Peer::connect(&store(cluster.members[0].url(""))).await;
    let before = library_commands(&cluster.members[0]);
    assert!(ask_each(&mut peer, &groups(), acquire).await.iter().all(is_granted));
    assert!(ask_each(&mut peer, &groups(), release).await.iter().all(is_released));
    assert_eq!(library_commands(&cluster.members[0]) - before, 2 * GROUPS);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_the_library_go_under_load_on_many_groups_and_nothing_is_lost_or_granted_twice() {
    let server = RedisServer::start(&[]);
    let limiters = ["a", "b"].map(|name| {
        let options = Options { client_name: Some(name.to_owned()), ..Options::new(server.url("")) };
        Limiter::with_options(&options).expect("good options")
    });
    let groups: Vec<(Key, usize)> = groups().into_iter().map(|key| (key, 0)).collect();
    let load = Load::start(&limiters, &groups);
    for round in 0..10 {
        load.until_done(1_000).await;
        // Without RESP3 they would be of the normal kind.
        let _: i64 = server.run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        if round % 3 == 0 {
            forget_library(&server);
        }
    }
    load.until_done_everywhere(1).await;
    let ended = load.end().await;
    assert_eq!((ended.errors, ended.lost), (vec![], 0));
    assert!(ended.most.iter().all(|most| *most <= Load::LIMIT), "{:?}", ended.most);
    Load::nothing_is_left(&limiters[0], &groups).await;
}
