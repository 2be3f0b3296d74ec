//! The options, checked once: where Redis is, and what a request asks for.
//!
//! Every bound is stated here and nowhere else in the core; a bad value is a [`Error::Config`] that names the option,
//! what was given and what is expected, before anything is asked of Redis. `limit` is a request, `place` where Redis
//! is, `parts` and `url` are two ways to say it, `tls` how it's protected, `asked` what is found out only when it's
//! needed.

mod asked;
mod limit;
mod node;
mod parts;
mod place;
mod secret;
mod tls;
mod url;

use std::time::Duration;

use crate::error::Error;
use crate::lease::Identity;

pub use self::asked::{Answer, Asked, Credential, NatMap};
pub use self::limit::LimitConfig;
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

#[cfg(test)]
mod tests {
    use super::*;

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
