//! A Redis Cluster of a test's own: masters with or without a replica each, on free ports, ended when dropped.
//!
//! Moves a hash slot as an operator would, says who is master of what, and knows nothing of the limiter but the hash
//! tag.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{env, thread};

use concurrency_limit::lease::Key;
use concurrency_limit::store::redis::keys::hash_tag;

use super::BOUND;
use super::server::RedisServer;

/// How long a member is silent before the others take it for dead.
const NODE_TIMEOUT_MS: &str = "1000";

/// A running cluster.
pub struct RedisCluster {
    pub members: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts one of so many masters, with so many replicas each, and waits until it serves.
    pub fn start(masters: usize, replicas: usize) -> Self {
        let options = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            NODE_TIMEOUT_MS,
            "--cluster-require-full-coverage",
            "no",
            "--repl-diskless-sync-delay",
            "0",
        ];
        let count = masters * (1 + replicas);
        let start = |_| loop {
            if let Some(server) = RedisServer::start_on(free_member_port(), &options) {
                return server;
            }
        };
        let cluster = Self { members: (0..count).map(start).collect() };
        if masters == 1 {
            let slots: Vec<String> = (0..16_384).map(|slot: u16| slot.to_string()).collect();
            let words = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str));
            let _: String = cluster.members[0].run(&words.collect::<Vec<_>>());
        } else {
            cluster.join(replicas);
        }
        cluster.wait_until("every member knows all", |cluster| {
            cluster.members.iter().all(|member| {
                member.run::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
                    && cluster.masters_by(member).len() == masters
                    && (replicas == 0 || cluster.is_replicated(member))
                    && has_settled(member)
            })
        });
        cluster
    }

    fn join(&self, replicas: usize) {
        let status = Command::new(env::var_os("REDIS_CLI").unwrap_or_else(|| "redis-cli".into()))
            .args(["--cluster", "create"])
            .args(self.addresses())
            .args(["--cluster-replicas", &replicas.to_string(), "--cluster-yes"])
            .stdout(Stdio::null())
            .status();
        assert!(status.expect("redis-cli isn't installed").success(), "the cluster can't be created");
    }

    /// A master has a replica that keeps up, a replica its master.
    fn is_replicated(&self, member: &RedisServer) -> bool {
        let info: String = member.run(&["INFO", "replication"]);
        info.contains("state=online") || info.contains("master_link_status:up")
    }

    /// `host:port` of every member.
    pub fn addresses(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("127.0.0.1:{}", member.port())).collect()
    }

    /// The URL that names every member.
    pub fn url(&self) -> String {
        format!("redis+cluster://{}", self.addresses().join(","))
    }

    fn wait_until(&self, what: &str, state: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !state(self) {
            assert!(started.elapsed() < 2 * BOUND, "{what}: not in time");
            thread::yield_now();
        }
    }

    /// What this member says of the masters: port, and the ranges of hash slots.
    fn masters_by(&self, member: &RedisServer) -> Vec<(u16, Vec<(u16, u16)>)> {
        let nodes: String = member.run(&["CLUSTER", "NODES"]);
        let master = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let slots: Vec<_> = words.get(8..)?.iter().filter_map(|range| parse_range(range)).collect();
            let alive = words[2].contains("master") && !words[2].contains("fail") && !slots.is_empty();
            let port = words[1].split(['@', ',']).next()?.rsplit_once(':')?.1.parse().ok()?;
            alive.then_some((port, slots))
        };
        nodes.lines().filter_map(master).collect()
    }

    /// The place in `members` of the master that has this hash slot, as this member says.
    pub fn owner_by(&self, asked: usize, slot: u16) -> Option<usize> {
        let masters = self.masters_by(&self.members[asked]);
        let has = |slots: &[(u16, u16)]| slots.iter().any(|(first, last)| (*first..=*last).contains(&slot));
        let (port, _) = masters.into_iter().find(|(_, slots)| has(slots))?;
        self.members.iter().position(|member| member.port() == port)
    }

    /// The place in `members` of the master that has the key's group.
    pub fn owner(&self, key: &Key) -> usize {
        self.owner_by(0, self.hash_slot(key)).expect("somebody has it")
    }

    /// The hash slot of the key's group.
    pub fn hash_slot(&self, key: &Key) -> u16 {
        self.members[0].run(&["CLUSTER", "KEYSLOT", &hash_tag(key)])
    }

    /// A key for each master, with the master's place.
    pub fn key_on_each(&self) -> Vec<(Key, usize)> {
        let mut found: Vec<(Key, usize)> = Vec::new();
        let masters = self.masters_by(&self.members[0]).len();
        for number in 0.. {
            let key = Key::new(format!("group {number}")).expect("a key");
            let owner = self.owner(&key);
            if found.iter().all(|(_, other)| *other != owner) {
                found.push((key, owner));
            }
            if found.len() == masters {
                break;
            }
        }
        found
    }

    /// The id of a member.
    pub fn id(&self, member: usize) -> String {
        self.members[member].run(&["CLUSTER", "MYID"])
    }

    /// Declares the hash slot to be on its way from one master to another.
    pub fn begin_to_move(&self, slot: u16, from: usize, to: usize) {
        let slot = slot.to_string();
        let _: String = self.members[to].run(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)]);
        let _: String = self.members[from].run(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)]);
    }

    /// Moves the keys of the hash slot that are there now.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize) {
        loop {
            let keys: Vec<String> =
                self.members[from].run(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "100"]);
            if keys.is_empty() {
                return;
            }
            let port = self.members[to].port().to_string();
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            words.extend(keys.iter().map(String::as_str));
            let _: String = self.members[from].run(&words);
        }
    }

    /// The hash slot is the other master's from now on.
    pub fn end_move(&self, slot: u16, from: usize, to: usize) {
        let (slot, new) = (slot.to_string(), self.id(to));
        for member in [to, from] {
            let _: String = self.members[member].run(&["CLUSTER", "SETSLOT", &slot, "NODE", &new]);
        }
    }
}

/// Whether it has surely been up for as long as a store's default wants before it asks for anything new.
fn has_settled(member: &RedisServer) -> bool {
    let info: String = member.run(&["INFO", "server"]);
    let seconds = info.lines().find_map(|line| line.strip_prefix("uptime_in_seconds:"));
    seconds.is_some_and(|seconds| seconds.trim().parse().is_ok_and(|seconds: u32| seconds >= 3))
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// A free port whose port of the cluster bus, 10,000 higher, is free too.
fn free_member_port() -> u16 {
    loop {
        let port =
            20_000 + u16::try_from(getrandom::u32().expect("a random number") % 10_000).expect("small");
        if [port, port + 10_000].iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
            return port;
        }
    }
}
