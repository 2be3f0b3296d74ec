//! The options, checked once: where Redis is, and what a request asks for.
//!
//! Every bound is stated here and nowhere else in the core; a bad value is a [`Error::Config`] that names the option,
//! what was given and what is expected, before anything is asked of Redis. `place` is where Redis is, `parts` and `url`
//! are two ways to say it, `tls` how it's protected, `asked` what is found out only when it's needed.

mod asked;
mod node;
mod parts;
mod place;
mod secret;
mod tls;
mod url;

use std::time::Duration;

use crate::error::Error;
use crate::lease::{Identity, Key};

pub use self::asked::{Answer, Asked, Credential, NatMap};
pub use self::node::Node;
pub use self::parts::{Parts, SentinelParts};
pub use self::place::{Access, Address, Place};
pub use self::secret::Secret;
pub use self::tls::{Roots, Tls};

/// How to reach Redis, and how long things may take.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Options {
    /// Where groups live.
    pub place: Place,
    /// Where members of a cluster and primaries that sentinels name are really reached. Default: as they are announced.
    pub nat_map: Option<NatMap>,
    /// How long opening a connection may take. Default 10 s.
    pub connect_timeout: Duration,
    /// How long an answer may take. Default 1 s.
    pub command_timeout: Duration,
    /// `CLIENT SETNAME`. Default none.
    pub client_name: Option<String>,
    /// Which process the groups are told of, for `status`. Default: they're told nothing.
    pub identity: Option<Identity>,
    /// What the names of all keys and channels begin with. Default `cl`.
    pub key_prefix: String,
    /// How long after its start a server is asked for nothing new. Default 2 s; zero switches it off.
    pub settle: Duration,
    /// What becomes of requests while Redis can't be reached. Default: they're rejected.
    pub on_unavailable: OnUnavailable,
    /// A grant counts only when so many replicas have it. Default 0: when the primary has it.
    pub min_replicas: u32,
    /// How long to wait for those replicas. Default 1 s.
    pub replica_timeout: Duration,
    /// How many connections may be open at once. Default: as many as are needed, at most two or three.
    pub max_connections: Option<u32>,
}

/// What becomes of requests while Redis can't be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnUnavailable {
    /// They fail as unavailable.
    Reject,
    /// They're let in without a limit, for so long after the first of them.
    Allow(Duration),
    /// They're limited within this process alone, for so long after the first of them.
    Local(Duration),
}

impl Options {
    /// The defaults, for this URL: `redis://[user:password@]host[:port][/db]`, `rediss://`, `unix://`,
    /// `redis+sentinel://`, `redis+cluster://`, or `memory:` for the embedded store of this process.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            place: Place::Url(Secret::new(url)),
            nat_map: None,
            connect_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(1),
            client_name: None,
            identity: None,
            key_prefix: "cl".into(),
            settle: Duration::from_secs(2),
            on_unavailable: OnUnavailable::Reject,
            min_replicas: 0,
            replica_timeout: Duration::from_secs(1),
            max_connections: None,
        }
    }

    /// The same options with the URL parsed, after a check that they fit together.
    pub fn resolved(&self) -> Result<Self, Error> {
        let resolved = Self { place: self.place.resolved()?, ..self.clone() };
        resolved.check()?;
        Ok(resolved)
    }

    fn check(&self) -> Result<(), Error> {
        let prefix = &self.key_prefix;
        if prefix.is_empty() || prefix.len() > 128 || prefix.contains(['{', '}']) {
            return Err(Error::config("keyPrefix", format!("{prefix:?}"), "1 to 128 bytes without braces"));
        }
        if self.connect_timeout.is_zero() {
            return Err(Error::config("connectTimeout", "0", "more than 0"));
        }
        if self.command_timeout.is_zero() {
            return Err(Error::config("commandTimeout", "0", "more than 0"));
        }
        if matches!(self.place, Place::Client(_)) {
            let ours = [
                ("clientName", self.client_name.is_some()),
                ("maxConnections", self.max_connections.is_some()),
            ];
            if let Some((option, _)) = ours.into_iter().find(|(_, given)| *given) {
                return Err(Error::config(
                    option,
                    format!("{option} beside a client"),
                    "nothing: the client has it",
                ));
            }
        }
        if self.replica_timeout.is_zero() {
            return Err(Error::config("replicaTimeout", "0", "more than 0"));
        }
        let announces = matches!(self.place, Place::Sentinel { .. } | Place::Cluster { .. });
        if self.nat_map.is_some() && !announces {
            let expected = "nothing but with a cluster or Sentinel: other servers announce no addresses";
            return Err(Error::config("natMap", format!("natMap beside {}", self.place), expected));
        }
        let has_replicas = matches!(self.place, Place::Server { .. } | Place::Sentinel { .. });
        if self.min_replicas > 0 && !has_replicas {
            return Err(Error::config(
                "minReplicas",
                self.min_replicas,
                "0 but with a server of its own or Sentinel",
            ));
        }
        // Waiting for replicas blocks a connection, which must not be the one for calls.
        let least = if self.min_replicas > 0 { 2 } else { 1 };
        if let Some(most) = self.max_connections.filter(|most| *most < least) {
            return Err(Error::config("maxConnections", most, &format!("at least {least}")));
        }
        Ok(())
    }
}

/// What a request asks for. Every member but `key` and `limit` has a default.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitConfig {
    /// The group: 1 to 512 bytes.
    pub key: String,
    /// How many slots of the group may be held at once: 1 to 1,000,000.
    pub limit: u32,
    /// How long to wait in line. Default 10 s; zero tries once, `None` waits for ever.
    pub limit_timeout: Option<Duration>,
    /// How often to poll where pushes don't arrive: 10 ms to an hour. Default 0.1 s.
    pub limit_interval: Duration,
    /// The lease: how long a crashed holder's slot stays taken. 0.1 s to 7 days, default 60 s.
    pub limit_expire: Duration,
    /// Slots taken in one grant: 1 to 1,000, at most the limit. Default 1.
    pub weight: u32,
    /// −10 to 10, higher goes first. Default 0.
    pub priority: i8,
    /// Refuse when that many already wait. Default: no bound.
    pub max_waiting: Option<u64>,
    /// Whether the lease is renewed while it's held. Default: it is.
    pub renew: bool,
    /// The longest hold, at least 0.1 s. Default: no bound.
    pub limit_hold: Option<Duration>,
    /// For how long the slot stays with this process after its release, for its next request, as long as nobody else
    /// asks: up to 60 s and a third of `limit_expire`. Default zero: it doesn't.
    pub limit_keep: Duration,
    /// A name of the holder's own, 1 to 256 bytes: who acquires it again takes over.
    pub holder: Option<String>,
    /// Shown by `status`, up to 128 bytes.
    pub label: Option<String>,
}

impl LimitConfig {
    /// The defaults, for this key and limit.
    pub fn new(key: impl Into<String>, limit: u32) -> Self {
        Self {
            key: key.into(),
            limit,
            limit_timeout: Some(Duration::from_secs(10)),
            limit_interval: Duration::from_millis(100),
            limit_expire: Duration::from_secs(60),
            weight: 1,
            priority: 0,
            max_waiting: None,
            renew: true,
            limit_hold: None,
            limit_keep: Duration::ZERO,
            holder: None,
            label: None,
        }
    }

    /// The key, after a check of every member.
    pub fn check(&self) -> Result<Key, Error> {
        let seconds = |length: Duration| format!("{} s", length.as_secs_f64());
        let key = Key::new(self.key.as_str())
            .ok_or_else(|| Error::config("key", format!("{} bytes", self.key.len()), "1 to 512 bytes"))?;
        if !(1..=1_000_000).contains(&self.limit) {
            return Err(Error::config("limit", self.limit, "1 to 1000000"));
        }
        if self.weight == 0 || self.weight > self.limit.min(1_000) {
            return Err(Error::config("weight", self.weight, "1 to 1000, at most the limit"));
        }
        if !(-10..=10).contains(&self.priority) {
            return Err(Error::config("priority", self.priority, "-10 to 10"));
        }
        if !(Duration::from_millis(10)..=Duration::from_secs(3_600)).contains(&self.limit_interval) {
            return Err(Error::config("limitInterval", seconds(self.limit_interval), "0.01 to 3600 s"));
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(7 * 86_400)).contains(&self.limit_expire) {
            return Err(Error::config("limitExpire", seconds(self.limit_expire), "0.1 to 604800 s"));
        }
        if let Some(hold) = self.limit_hold.filter(|hold| *hold < Duration::from_millis(100)) {
            return Err(Error::config("limitHold", seconds(hold), "at least 0.1 s"));
        }
        self.check_keep()?;
        if let Some(holder) = self.holder.as_ref().filter(|name| name.is_empty() || name.len() > 256) {
            return Err(Error::config("holder", format!("{} bytes", holder.len()), "1 to 256 bytes"));
        }
        if let Some(label) = self.label.as_ref().filter(|label| label.len() > 128) {
            return Err(Error::config("label", format!("{} bytes", label.len()), "at most 128 bytes"));
        }
        Ok(key)
    }

    /// Only plain slots can be kept: any request with the same limit and lease is served from them.
    fn check_keep(&self) -> Result<(), Error> {
        let given = || format!("{} s", self.limit_keep.as_secs_f64());
        let longest = Duration::from_secs(60).min(self.limit_expire / 3);
        if self.limit_keep > longest {
            let expected =
                format!("0 to {} s, a third of limitExpire and 60 s at most", longest.as_secs_f64());
            return Err(Error::config("limitKeep", given(), &expected));
        }
        let plain = self.weight == 1 && self.priority == 0 && self.holder.is_none();
        if self.limit_keep > Duration::ZERO && !(plain && self.renew && self.limit_hold.is_none()) {
            let expected = "0 with a weight, a priority, a holder, a limitHold, or without renew";
            return Err(Error::config("limitKeep", given(), expected));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(change: impl FnOnce(&mut LimitConfig)) -> &'static str {
        let mut config = LimitConfig::new("k", 10);
        change(&mut config);
        match config.check() {
            Err(Error::Config { option, .. }) => option,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_bound_names_its_option() {
        assert_eq!(rejected(|c| c.key = String::new()), "key");
        assert_eq!(rejected(|c| c.key = "k".repeat(513)), "key");
        assert_eq!(rejected(|c| c.limit = 0), "limit");
        assert_eq!(rejected(|c| c.limit = 1_000_001), "limit");
        assert_eq!(rejected(|c| c.weight = 0), "weight");
        assert_eq!(rejected(|c| c.weight = 11), "weight");
        assert_eq!(rejected(|c| c.priority = 11), "priority");
        assert_eq!(rejected(|c| c.limit_interval = Duration::ZERO), "limitInterval");
        assert_eq!(rejected(|c| c.limit_expire = Duration::from_millis(99)), "limitExpire");
        assert_eq!(rejected(|c| c.limit_hold = Some(Duration::ZERO)), "limitHold");
        let second = Duration::from_secs(1);
        assert_eq!(rejected(|c| c.limit_keep = 61 * second), "limitKeep");
        assert_eq!(rejected(|c| (c.limit_keep, c.limit_expire) = (second, 2 * second)), "limitKeep");
        assert_eq!(rejected(|c| (c.limit_keep, c.weight) = (second, 2)), "limitKeep");
        assert_eq!(rejected(|c| c.holder = Some(String::new())), "holder");
        assert_eq!(rejected(|c| c.label = Some("l".repeat(129))), "label");
        assert!(LimitConfig::new("k", 1).check().is_ok());
    }

    #[test]
    fn a_prefix_with_braces_would_move_the_hash_tag_and_is_refused() {
        let options = Options { key_prefix: "a{b}".into(), ..Options::new("memory:") };
        assert!(matches!(options.resolved(), Err(Error::Config { option: "keyPrefix", .. })));
    }

    #[test]
    fn replicas_need_a_connection_more_and_a_server_that_has_some() {
        let refused = |options: Options| match options.resolved() {
            Err(Error::Config { option, .. }) => option,
            other => panic!("{other:?}"),
        };
        let redis = || Options::new("redis://h");
        assert_eq!(refused(Options { max_connections: Some(0), ..redis() }), "maxConnections");
        assert_eq!(
            refused(Options { max_connections: Some(1), min_replicas: 1, ..redis() }),
            "maxConnections"
        );
        assert_eq!(refused(Options { replica_timeout: Duration::ZERO, ..redis() }), "replicaTimeout");
        assert_eq!(refused(Options { min_replicas: 1, ..Options::new("memory:") }), "minReplicas");
        assert!(Options { max_connections: Some(2), min_replicas: 1, ..redis() }.resolved().is_ok());
    }
}
