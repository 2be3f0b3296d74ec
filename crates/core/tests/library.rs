//! How a server comes to have the library, and what becomes of calls where it hasn't, or may not have it: flushed
//! functions, other versions beside it, rights, a full memory, a promoted replica, a new master of a cluster.

mod common;

use std::sync::Arc;

use common::cluster::RedisCluster;
use common::peer::{Peer, key, limit};
use common::server::{RedisServer, forget_library, has_functions};
use common::until;
use concurrency_limit::config::Options;
use concurrency_limit::protocol::{Acquired, Answers, Ask, CallError, Page, Target, Verb};
use concurrency_limit::store::LinkEvent;
use concurrency_limit::store::redis::library::{self, Way};
use concurrency_limit::store::redis::{ClusterStore, RedisStore};

fn store(url: String) -> RedisStore {
    RedisStore::new(Options::new(url)).expect("a good address")
}

/// How often the server has run each command.
fn ran(server: &RedisServer, command: &str) -> u64 {
    let stats: String = server.run(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |rest| rest.split(',').next().expect("a number").parse().expect("a number"))
}

fn ask(peer: &Peer, number: u64) -> Verb {
    Verb::Acquire(vec![Ask { id: peer.id(number), terms: Arc::new(limit(1)), wait: true }])
}

fn give(peer: &Peer, number: u64) -> Verb {
    Verb::Release(vec![Target::Lease(peer.id(number))])
}

/// Takes and gives back a slot.
async fn pair(peer: &mut Peer, number: u64) {
    let group = key("paired");
    peer.granted(&group, number, &Arc::new(limit(1))).await;
    let answers = peer.answer(&group, give(peer, number)).await.answers;
    assert_eq!(answers, Answers::Release(vec![true]));
}

#[tokio::test]
async fn a_server_that_has_functions_runs_them_and_another_one_scripts() {
    let server = RedisServer::start(&[]);
    // The first session loads the library, the second finds it there.
    for _ in 0..2 {
        let mut peer = Peer::connect(&store(server.url(""))).await;
        let before = ["fcall", "evalsha", "eval"].map(|command| ran(&server, command));
        pair(&mut peer, 1).await;
        let after = ["fcall", "evalsha", "eval"].map(|command| ran(&server, command));
        let expected = if has_functions(&server) { [2, 0, 0] } else { [0, 2, 0] };
        assert_eq!([0, 1, 2].map(|at| after[at] - before[at]), expected);
    }
}

#[tokio::test]
async fn a_flushed_library_costs_one_call_and_heals() {
    let server = RedisServer::start(&[]);
    let mut peer = Peer::connect(&store(server.url(""))).await;
    let group = key("flushed");
    peer.granted(&group, 1, &Arc::new(limit(1))).await;
    forget_library(&server);
    let refused = peer.call(&group, give(&peer, 1)).await;
    assert!(matches!(refused, Err(CallError::NotExecuted(_))), "{refused:?}");
    peer.answer(&group, give(&peer, 1)).await;
    pair(&mut peer, 2).await;
}

#[tokio::test]
async fn the_data_of_a_server_may_be_flushed_without_the_library() {
    let server = RedisServer::start(&[]);
    let mut peer = Peer::connect(&store(server.url(""))).await;
    let _: String = server.run(&["FLUSHALL"]);
    pair(&mut peer, 1).await;
}

#[tokio::test]
async fn where_functions_are_not_allowed_the_same_text_is_a_script_and_where_that_is_not_it_goes_along() {
    let server = RedisServer::start(&[]);
    let rights = ["on", ">pw", "~*", "&*", "+@all"];
    for (number, (denied, command)) in [
        (&["-function", "-fcall"][..], "evalsha"),
        (&["-function|load"], "evalsha"),
        (&["-function", "-fcall", "-script"], "eval"),
        (&["-function", "-fcall", "-evalsha"], "eval"),
    ]
    .into_iter()
    .enumerate()
    {
        if !has_functions(&server) && denied.contains(&"-function|load") {
            continue;
        }
        let denied: Vec<&str> =
            denied.iter().copied().filter(|right| has_functions(&server) || !right.contains("f")).collect();
        forget_library(&server);
        let user = format!("user{number}");
        let _: String = server.run(&[&["ACL", "SETUSER", &user], &rights[..], &denied].concat());
        let mut peer = Peer::connect(&store(server.url(&format!("{user}:pw@")))).await;
        let before = ran(&server, command);
        pair(&mut peer, 1).await;
        assert_eq!(ran(&server, command) - before, 2, "{denied:?}");
    }
}

#[tokio::test]
async fn whoever_loses_the_right_to_functions_goes_on_with_scripts() {
    let server = RedisServer::start(&[]);
    let _: String = server.run(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all"]);
    let mut peer = Peer::connect(&store(server.url("app:pw@"))).await;
    pair(&mut peer, 1).await;
    if !has_functions(&server) {
        return;
    }
    let _: String = server.run(&["ACL", "SETUSER", "app", "-fcall"]);
    let refused = peer.call(&key("paired"), ask(&peer, 2)).await;
    assert!(matches!(refused, Err(CallError::NotExecuted(_))), "{refused:?}");
    pair(&mut peer, 2).await;
    let _: String = server.run(&["ACL", "SETUSER", "app", "-evalsha"]);
    let refused = peer.call(&key("paired"), ask(&peer, 3)).await;
    assert!(matches!(refused, Err(CallError::NotExecuted(_))), "{refused:?}");
    pair(&mut peer, 3).await;
    let _: String = server.run(&["ACL", "SETUSER", "app", "-eval"]);
    let refused = peer.call(&key("paired"), ask(&peer, 4)).await;
    assert!(matches!(refused, Err(CallError::Denied(_))), "{refused:?}");
}

#[tokio::test]
async fn libraries_of_other_versions_stay_and_run_beside_it() {
    let server = RedisServer::start(&[]);
    if !has_functions(&server) {
        return;
    }
    let other = "#!lua name=concurrency_limit_0\n\
                 redis.register_function('concurrency_limit_0', function() return 'other' end)";
    let _: String = server.run(&["FUNCTION", "LOAD", other]);
    let mut peer = Peer::connect(&store(server.url(""))).await;
    pair(&mut peer, 1).await;
    assert_eq!(server.run::<String>(&["FCALL", "concurrency_limit_0", "0"]), "other");
    assert_eq!(server.run::<Vec<redis::Value>>(&["FUNCTION", "LIST"]).len(), 2);
    // Loaded by another client meanwhile.
    let load = library::load(Way::Function).expect("a command");
    let words: Vec<Vec<u8>> = load
        .args_iter()
        .filter_map(|word| match word {
            redis::Arg::Simple(word) => Some(word.to_vec()),
            _ => None,
        })
        .collect();
    let text = String::from_utf8(words[2].clone()).expect("a text");
    let _: String = server.run(&["FUNCTION", "DELETE", library::name()]);
    let _: String = server.run(&["FUNCTION", "LOAD", &text]);
    pair(&mut peer, 2).await;
}

#[tokio::test]
async fn when_memory_is_full_releases_go_on_although_they_were_asked_with_requests() {
    let server = RedisServer::start(&[]);
    let mut peer = Peer::connect(&store(server.url(""))).await;
    let groups: Vec<_> = (0..6).map(|number| key(&format!("k{number}"))).collect();
    for group in &groups {
        peer.granted(group, 1, &Arc::new(limit(2))).await;
    }
    let limit: String = server.run::<Vec<String>>(&["CONFIG", "GET", "maxmemory"]).remove(1);
    let _: String = server.run(&["CONFIG", "SET", "maxmemory", "1"]);
    // Of half of the groups both are asked.
    let mut asked = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        asked.push((true, peer.request(group, give(&peer, 1))));
        if number % 2 == 0 {
            asked.push((false, peer.request(group, ask(&peer, 2))));
        }
    }
    peer.link.send(asked.iter().map(|(_, (_, request))| request.clone()).collect());
    for (gives_back, (number, _)) in &asked {
        let reply = peer.reply(*number).await;
        match gives_back {
            true => assert_eq!(reply.expect("goes on").answers, Answers::Release(vec![true])),
            false => assert!(matches!(reply, Err(CallError::OutOfMemory(_))), "{reply:?}"),
        }
    }
    for group in &groups {
        let picture = peer.answer(group, Verb::Inspect(Page::default())).await.answers;
        assert!(matches!(&picture, Answers::Inspect(picture) if picture.held == 0), "{picture:?}");
    }
    let _: String = server.run(&["CONFIG", "SET", "maxmemory", &limit]);
    pair(&mut peer, 3).await;
}

#[tokio::test]
async fn a_library_that_is_lost_when_memory_is_full_is_done_without() {
    let server = RedisServer::start(&[]);
    let mut peer = Peer::connect(&store(server.url(""))).await;
    let group = key("full");
    peer.granted(&group, 1, &Arc::new(limit(1))).await;
    let _: String = server.run(&["CONFIG", "SET", "maxmemory", "1"]);
    forget_library(&server);
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(peer.call(&group, give(&peer, 1)).await);
    }
    assert!(
        answers.iter().any(|answer| {
            answer.as_ref().is_ok_and(|reply| reply.answers == Answers::Release(vec![true]))
        }),
        "{answers:?}"
    );
    // Nor does a session that is new have it.
    let mut other = Peer::connect(&store(server.url(""))).await;
    let refused = other.call(&group, ask(&other, 1)).await;
    assert!(matches!(refused, Err(CallError::OutOfMemory(_))), "{refused:?}");
}

#[tokio::test]
async fn a_replica_shows_groups_and_once_promoted_takes_calls() {
    let master = RedisServer::start(&[]);
    let replica = RedisServer::start(&["--repl-diskless-sync-delay", "0"]);
    let port = master.port().to_string();
    let _: String = replica.run(&["REPLICAOF", "127.0.0.1", &port]);
    until("in step", || replica.run::<String>(&["INFO", "replication"]).contains("master_link_status:up"))
        .await;
    let (mut at_master, mut at_replica) =
        (Peer::connect(&store(master.url(""))).await, Peer::connect(&store(replica.url(""))).await);
    let group = key("replicated");
    at_master.granted(&group, 1, &Arc::new(limit(1))).await;
    until("the grant is there", || replica.run::<i64>(&["EXISTS", "cl:{replicated}"]) == 1).await;
    let refused = at_replica.call(&group, ask(&at_replica, 1)).await;
    assert!(matches!(refused, Err(CallError::NotExecuted(_))), "{refused:?}");
    if has_functions(&replica) {
        let picture = at_replica.answer(&group, Verb::Inspect(Page::default())).await.answers;
        assert!(matches!(&picture, Answers::Inspect(picture) if picture.held == 1), "{picture:?}");
    }
    let _: String = replica.run(&["REPLICAOF", "NO", "ONE"]);
    let queued = at_replica.acquire(&group, 1, &Arc::new(limit(1))).await;
    assert!(matches!(queued, Acquired::Queued { .. }), "{queued:?}");
}

/// Once a request has been carried out, which the server refused before, the next calls are functions.
async fn assert_comes_to_functions(peer: &mut Peer, server: &RedisServer) {
    let runs = || ["fcall", "evalsha"].map(|command| ran(server, command));
    let mut before = runs();
    pair(peer, 1).await;
    let mut after = runs();
    assert_eq!([0, 1].map(|at| after[at] - before[at]), [0, 2], "the library wasn't there yet");
    before = after;
    pair(peer, 2).await;
    after = runs();
    assert_eq!([0, 1].map(|at| after[at] - before[at]), [2, 0]);
}

#[tokio::test]
async fn a_link_that_was_opened_while_memory_was_full_comes_to_functions() {
    let server = RedisServer::start(&[]);
    if !has_functions(&server) {
        return;
    }
    let limit: String = server.run::<Vec<String>>(&["CONFIG", "GET", "maxmemory"]).remove(1);
    let _: String = server.run(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut peer = Peer::connect(&store(server.url(""))).await;
    let refused = peer.call(&key("paired"), ask(&peer, 1)).await;
    assert!(matches!(refused, Err(CallError::OutOfMemory(_))), "{refused:?}");
    let _: String = server.run(&["CONFIG", "SET", "maxmemory", &limit]);
    assert_comes_to_functions(&mut peer, &server).await;
}

#[tokio::test]
async fn a_link_that_was_opened_to_a_replica_comes_to_functions_once_that_is_promoted() {
    let (master, replica) =
        (RedisServer::start(&["--repl-diskless-sync-delay", "0"]), RedisServer::start(&[]));
    if !has_functions(&replica) {
        return;
    }
    let _: String = replica.run(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    until("in step", || replica.run::<String>(&["INFO", "replication"]).contains("master_link_status:up"))
        .await;
    let mut peer = Peer::connect(&store(replica.url(""))).await;
    let refused = peer.call(&key("paired"), ask(&peer, 1)).await;
    assert!(matches!(refused, Err(CallError::NotExecuted(_))), "{refused:?}");
    let _: String = replica.run(&["REPLICAOF", "NO", "ONE"]);
    assert_comes_to_functions(&mut peer, &replica).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_member_of_a_cluster_gets_it_when_it_is_needed_there() {
    let cluster = RedisCluster::start(3, 0);
    let options = Options::new(cluster.url());
    let mut peer = Peer::connect(&ClusterStore::new(options).expect("a good address")).await;
    let groups = cluster.key_on_each();
    for round in 0..2 {
        for (number, (group, _)) in (1..).zip(&groups) {
            let number = round * 10 + number;
            peer.granted(group, number, &Arc::new(limit(1))).await;
            peer.answer(group, give(&peer, number)).await;
        }
        if round == 0 {
            cluster.members.iter().for_each(forget_library);
            // The first call to each finds out.
            for (group, _) in &groups {
                let found = peer.call(group, Verb::Clean).await;
                assert!(found.is_err(), "{found:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_turn_asks_of_one_group_is_one_command_in_a_cluster_too() {
    let cluster = RedisCluster::start(3, 0);
    let options = Options::new(cluster.url());
    let mut peer = Peer::connect(&ClusterStore::new(options).expect("a good address")).await;
    let groups = cluster.key_on_each();
    for (group, _) in &groups {
        peer.granted(group, 1, &Arc::new(limit(1))).await;
    }
    let commands = || cluster.members.iter().map(common::server::library_commands).sum::<u64>();
    let before = commands();
    let mut asked = Vec::new();
    for verb in [give(&peer, 1), ask(&peer, 2)] {
        for (group, _) in &groups {
            asked.push(peer.request(group, verb.clone()));
        }
    }
    peer.link.send(asked.iter().map(|(_, request)| request.clone()).collect());
    for (number, _) in &asked {
        peer.reply(*number).await.expect("carried out");
    }
    let each = if has_functions(&cluster.members[0]) { 1 } else { 2 };
    assert_eq!(commands() - before, each * groups.len() as u64);
    assert!(!peer.close().await.iter().any(|event| matches!(event, LinkEvent::Cut(..) | LinkEvent::Down(_))));
}
