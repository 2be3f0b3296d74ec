//! The cluster store on a real Redis Cluster: every group is somewhere, whatever becomes of the members.

mod common;
#[path = "cluster/failures.rs"]
mod failures;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::cluster::RedisCluster;
use common::peer::{Peer, key, limit};
use common::server::{RedisServer, free_port};
use common::{BOUND, until};
use concurrency_limit::config::{LimitConfig, Options};
use concurrency_limit::lease::Key;
use concurrency_limit::limiter::Limiter;
use concurrency_limit::protocol::{Acquired, Answers, CallError, Page, Renew, Reply, Target, Terms, Verb};
use concurrency_limit::store::LinkEvent;
use concurrency_limit::store::redis::ClusterStore;

fn store(cluster: &RedisCluster) -> ClusterStore {
    ClusterStore::new(Options::new(cluster.url())).expect("a good address")
}

/// A limiter with a session of its own, and answers in half a second or not at all.
fn limiter(cluster: &RedisCluster, name: &str) -> Limiter {
    let command_timeout = Duration::from_millis(500);
    let options =
        Options { client_name: Some(name.to_owned()), command_timeout, ..Options::new(cluster.url()) };
    Limiter::with_options(&options).expect("good options")
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_all_names_are_limited_listed_and_cleared_on_whatever_member_they_are() {
    let cluster = RedisCluster::start(3, 0);
    let limiter = limiter(&cluster, "a");
    let odd = ["}", "{", "{}", "{a}", "a}b{c}%", "%7D", "🔒", "with spaces"].map(str::to_owned);
    let names: BTreeSet<String> = odd.into_iter().chain((0..40).map(|number| format!("k{number}"))).collect();
    let owners: BTreeSet<usize> = names.iter().map(|name| cluster.owner(&key(name))).collect();
    assert_eq!(owners.len(), 3);
    let mut leases = Vec::new();
    for name in &names {
        leases.push(limiter.acquire(&LimitConfig::new(name.as_str(), 1)).await.expect("a slot"));
        assert!(limiter.try_acquire(&LimitConfig::new(name.as_str(), 1)).await.expect("an answer").is_none());
        assert_eq!(limiter.status(name).await.expect("a picture").held, 1);
    }
    let mut peer = Peer::connect(&store(&cluster)).await;
    let listed: BTreeSet<String> = peer.keys("*").await.iter().map(|key| key.as_str().to_owned()).collect();
    assert_eq!(listed, names);
    assert_eq!(peer.keys("k1?").await.len(), 10);
    for (name, lease) in names.iter().zip(leases) {
        assert!(limiter.release(name, Target::Lease(lease.id())).await.expect("an answer"));
        assert_eq!(limiter.clean(name).await.expect("an answer"), 0);
        assert!(!lease.release().await, "it was gone");
    }
    limiter.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_is_told_once_by_whatever_member_has_its_group() {
    let cluster = RedisCluster::start(3, 0);
    let store = store(&cluster);
    let (mut holder, mut waiter) = (Peer::connect(&store).await, Peer::connect(&store).await);
    assert!(waiter.info.listens);
    let terms = Arc::new(limit(1));
    let groups = cluster.key_on_each();
    for (number, (key, _)) in (1..).zip(&groups) {
        holder.granted(key, number, &terms).await;
        let queued = waiter.acquire(key, number, &terms).await;
        assert!(matches!(queued, Acquired::Queued { .. }), "{queued:?}");
    }
    for (number, (key, _)) in (1..).zip(&groups) {
        let id = holder.id(number);
        holder.answer(key, Verb::Release(vec![Target::Lease(id)])).await;
        let push = waiter.push().await;
        assert_eq!((&push.key, push.news.grants()[0].id), (key, waiter.id(number)));
    }
    // What every other member passes on comes to the same connections, before the answer to a later call.
    for (key, _) in &groups {
        waiter.answer(key, Verb::Renew(Renew::default())).await;
    }
    assert_eq!(waiter.close().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_this_member_delivers_to_nobody_takes_nothing_back() {
    let cluster = RedisCluster::start(3, 0);
    let store = store(&cluster);
    let (mut holder, mut waiter) = (Peer::connect(&store).await, Peer::connect(&store).await);
    let (key, terms) = (key("k"), Arc::new(limit(1)));
    let grant = holder.granted(&key, 1, &terms).await;
    waiter.acquire(&key, 1, &terms).await;
    let id = waiter.id(1);
    let owner = &cluster.members[cluster.owner(&key)];
    waiter.close().await;
    until("the member has one listener left", || {
        owner.run::<Vec<String>>(&["PUBSUB", "CHANNELS"]).len() == 1
    })
    .await;
    holder.answer(&key, Verb::Release(vec![Target::Lease(grant.id)])).await;
    let Answers::Inspect(picture) = holder.answer(&key, Verb::Inspect(Page::default())).await.answers else {
        panic!("a picture")
    };
    // Somebody may have heard it at another member: the claim window bounds what that costs.
    assert_eq!(picture.holders.iter().map(|holder| holder.id).collect::<Vec<_>>(), [id]);
    assert!(picture.holders[0].ends_in_ms <= 5_000);
}

/// Makes the call until it's carried out, as a session does.
async fn insist(peer: &mut Peer, key: &Key, verb: Verb) -> (Reply, u32) {
    let insisting = async {
        let mut refusals = 0;
        loop {
            match peer.call(key, verb.clone()).await {
                Ok(reply) => return (reply, refusals),
                Err(CallError::NotExecutedThere { .. }) => refusals += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    tokio::time::timeout(BOUND, insisting).await.expect("carried out within the bound")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_follows_its_group_to_where_it_is_while_the_hash_slot_moves() {
    let cluster = RedisCluster::start(3, 0);
    let mut peer = Peer::connect(&store(&cluster)).await;
    let key = key("k");
    let (slot, from) = (cluster.hash_slot(&key), cluster.owner(&key));
    let to = (from + 1) % 3;
    // A group with all of its keys: holders, a gap below the highest slot, and a heavy waiter.
    let one = Arc::new(limit(3));
    for number in 1..=3 {
        peer.granted(&key, number, &one).await;
    }
    let heavy = Arc::new(Terms { weight: 3, ..limit(3) });
    peer.acquire(&key, 4, &heavy).await;
    let releases = |peer: &Peer, number| Verb::Release(vec![Target::Lease(peer.id(number))]);
    let release = releases(&peer, 1);
    peer.answer(&key, release).await;
    let keys_at = |member: usize| -> u32 {
        cluster.members[member].run(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()])
    };
    assert_eq!(keys_at(from), 4);

    cluster.begin_to_move(slot, from, to);
    let release = releases(&peer, 2);
    peer.answer(&key, release).await;
    cluster.move_keys(slot, from, to);
    assert_eq!((keys_at(from), keys_at(to)), (0, 4));
    // ASK: refused until there is a link to the other member.
    let release = releases(&peer, 3);
    let (reply, _) = insist(&mut peer, &key, release).await;
    assert_eq!(reply.answers, Answers::Release(vec![true]));
    assert_eq!(reply.handed.iter().map(|grant| grant.id).collect::<Vec<_>>(), [peer.id(4)]);
    assert_eq!((keys_at(from), cluster.owner(&key)), (0, from));
    cluster.end_move(slot, from, to);
    // MOVED: sent on without a word.
    let release = releases(&peer, 4);
    let reply = peer.answer(&key, release).await;
    assert_eq!(reply.answers, Answers::Release(vec![true]));
    assert_eq!(peer.close().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_its_last_member_the_link_is_down() {
    let mut cluster = RedisCluster::start(1, 0);
    let mut peer = Peer::connect(&store(&cluster)).await;
    peer.answer(&key("k"), Verb::Renew(Renew::default())).await;
    cluster.members[0].kill();
    assert!(matches!(peer.event().await, Some(LinkEvent::Down(_))));
    assert_eq!(peer.event().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_cluster_is_refused_in_words() {
    let refusal = async |nodes: String| {
        let options = Options {
            connect_timeout: Duration::from_secs(2),
            ..Options::new(format!("redis+cluster://{nodes}"))
        };
        Peer::try_connect(&ClusterStore::new(options).expect("a good address")).await.err().expect("refused")
    };
    let server = RedisServer::start(&[]);
    let error = refusal(format!("127.0.0.1:{}", server.port())).await;
    assert!(error.fatal && error.message.contains("cluster support disabled"), "{error}");
    let error = refusal(format!("127.0.0.1:{},127.0.0.1:{}", free_port(), free_port())).await;
    assert!(!error.fatal && error.message.contains("refused"), "{error}");
    let error = ClusterStore::new(Options::new("redis://h")).err().expect("refused");
    assert!(error.to_string().contains("cluster"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_living_seed_is_enough() {
    let cluster = RedisCluster::start(3, 0);
    let url = format!("redis+cluster://127.0.0.1:{},127.0.0.1:{}", free_port(), cluster.members[2].port());
    let mut peer = Peer::connect(&ClusterStore::new(Options::new(url)).expect("a good address")).await;
    for (number, (key, _)) in (1..).zip(cluster.key_on_each()) {
        peer.granted(&key, number, &Arc::new(limit(1))).await;
    }
    assert_eq!(peer.close().await, []);
}
