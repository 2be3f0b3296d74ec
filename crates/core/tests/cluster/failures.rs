//! Hash slots that move and members that fail, while limiters are used.

use std::process::Command;

use concurrency_limit::config::LimitConfig;
use concurrency_limit::lease::Key;
use concurrency_limit::limiter::Limiter;

use super::limiter;
use crate::common::cluster::RedisCluster;
use crate::common::load::{Ended, Load};
use crate::common::{BOUND, until};

/// Two limiters under load, with a group on each member.
struct Loaded {
    limiters: [Limiter; 2],
    groups: Vec<(Key, usize)>,
    load: Load,
}

impl Loaded {
    fn start(cluster: &RedisCluster) -> Self {
        let limiters = [limiter(cluster, "a"), limiter(cluster, "b")];
        let groups = cluster.key_on_each();
        let load = Load::start(&limiters, &groups);
        Self { limiters, groups, load }
    }

    /// Ends the load: no session has connected again, and nothing is held or waits.
    async fn end(self) -> Ended {
        let ended = self.load.end().await;
        assert_eq!(reconnects(&self.limiters).await, 0);
        Load::nothing_is_left(&self.limiters[0], &self.groups).await;
        ended
    }
}

async fn reconnects(limiters: &[Limiter]) -> u64 {
    let mut sum = 0;
    for limiter in limiters {
        sum += limiter.stats().await.expect("counters").reconnects;
    }
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_slot_moves_under_load_and_nobody_notices() {
    let cluster = RedisCluster::start(3, 0);
    let loaded = Loaded::start(&cluster);
    let (load, groups) = (&loaded.load, &loaded.groups);
    load.until_done(50).await;
    let (key, from) = &groups[0];
    let (slot, to) = (cluster.hash_slot(key), groups[1].1);
    // There and back again.
    for (from, to) in [(*from, to), (to, *from)] {
        cluster.begin_to_move(slot, from, to);
        load.until_done(20).await;
        cluster.move_keys(slot, from, to);
        cluster.end_move(slot, from, to);
        load.until_done_everywhere(20).await;
    }
    let ended = loaded.end().await;
    assert_eq!((ended.errors, ended.lost, ended.most), (vec![], 0, vec![Load::LIMIT; 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_master_dies_the_other_groups_go_on_and_its_own_do_after_the_promotion() {
    let mut cluster = RedisCluster::start(3, 1);
    let loaded = Loaded::start(&cluster);
    let (load, groups) = (&loaded.load, &loaded.groups);
    load.until_done_everywhere(50).await;
    let (key, dead) = &groups[0];
    let (slot, other) = (cluster.hash_slot(key), groups[1].1);
    cluster.members[*dead].kill();
    load.until_done_at(1, 100).await;
    load.until_done_at(2, 100).await;
    until("a replica has been promoted", || {
        cluster.owner_by(other, slot).is_some_and(|owner| owner != *dead)
    })
    .await;
    load.until_done_everywhere(50).await;
    let ended = loaded.end().await;
    assert_eq!(ended.errors, Vec::<String>::new());
    // What the replica hadn't got yet when its master died may be granted again: never where nobody died.
    assert_eq!(ended.most[1..], [Load::LIMIT; 2]);
    println!("beside the dead master's holders: {} of {}", ended.most[0], Load::LIMIT);
    assert!(ended.most[0] <= 2 * Load::LIMIT);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_one_member_are_cut_under_load_and_nothing_is_lost_or_granted_twice() {
    let cluster = RedisCluster::start(3, 0);
    let loaded = Loaded::start(&cluster);
    let (load, groups) = (&loaded.load, &loaded.groups);
    for _ in 0..20 {
        load.until_done_everywhere(20).await;
        // Without RESP3 they would be of the normal kind.
        let _: i64 = cluster.members[groups[0].1].run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    }
    load.until_done_everywhere(20).await;
    let ended = loaded.end().await;
    assert_eq!((ended.errors, ended.lost, ended.most), (vec![], 0, vec![Load::LIMIT; 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_master_hangs_the_other_groups_go_on_and_its_own_do_after_the_promotion() {
    let cluster = RedisCluster::start(3, 1);
    let loaded = Loaded::start(&cluster);
    let (load, groups) = (&loaded.load, &loaded.groups);
    load.until_done_everywhere(50).await;
    let (key, hung) = &groups[0];
    let (slot, other) = (cluster.hash_slot(key), groups[1].1);
    let signal = |name: &str| {
        let pid = cluster.members[*hung].pid().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill").success());
    };
    signal("-STOP");
    load.until_done_at(1, 100).await;
    until("a replica has been promoted", || {
        cluster.owner_by(other, slot).is_some_and(|owner| owner != *hung)
    })
    .await;
    load.until_done_everywhere(50).await;
    signal("-CONT");
    load.until_done_everywhere(50).await;
    let ended = loaded.end().await;
    assert_eq!((ended.errors, &ended.most[1..]), (vec![], &[Load::LIMIT; 2][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_came_back_empty_is_asked_for_nothing_new_until_holders_are_in_again() {
    let mut cluster = RedisCluster::start(3, 0);
    let (holder, newcomer) = (limiter(&cluster, "a"), limiter(&cluster, "b"));
    let groups = cluster.key_on_each();
    let (key, member) = &groups[0];
    let one = LimitConfig::new(key.as_str(), 1);
    let lease = holder.acquire(&one).await.expect("the slot");
    // A link to another member, so that the whole isn't down.
    let elsewhere = LimitConfig::new(groups[1].0.as_str(), 1);
    for limiter in [&holder, &newcomer] {
        limiter.acquire(&elsewhere).await.expect("the slot").release().await;
    }
    cluster.members[*member].restart();
    let waiting = tokio::spawn({
        let (newcomer, one) = (newcomer.clone(), one.clone());
        async move { newcomer.acquire(&one).await }
    });
    let again = async {
        loop {
            let picture = newcomer.status(key.as_str()).await;
            if picture.is_ok_and(|picture| (picture.held, picture.waiting) == (1, 1)) {
                return;
            }
        }
    };
    tokio::time::timeout(BOUND, again).await.expect("one holds and one waits");
    let holders = newcomer.status(key.as_str()).await.expect("a picture").holders;
    assert_eq!((holders[0].id, holders[0].token), (lease.id(), lease.fencing_token()));
    assert!(!lease.is_lost() && !waiting.is_finished());
    assert!(lease.release().await);
    let next = waiting.await.expect("no panic").expect("its turn");
    assert!(next.release().await);
    assert_eq!(reconnects(&[holder, newcomer]).await, 0);
}
