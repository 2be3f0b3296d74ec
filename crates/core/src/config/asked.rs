//! What isn't given once but asked of the embedding program whenever it's needed: credentials that run out, and
//! addresses that only it can translate.
//!
//! Waits for nothing itself: whoever asks bounds the time.

use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;

use super::node::{Node, SERVER_PORT};
use super::secret::Secret;

/// An answer that is on its way; the error says in words for people why there is none, and has no secret in it.
pub type Answer = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// A question to the embedding program. Two are the same if they are clones of one.
#[derive(Clone)]
pub struct Asked(Arc<dyn Fn(String) -> Answer + Send + Sync>);

impl Asked {
    /// Calls `ask` each time the answer is needed.
    pub fn new<A>(ask: impl Fn(String) -> A + Send + Sync + 'static) -> Self
    where
        A: Future<Output = Result<String, String>> + Send + 'static,
    {
        Self(Arc::new(move |about| Box::pin(ask(about))))
    }

    /// Asks now.
    pub fn ask(&self, about: impl Into<String>) -> Answer {
        (self.0)(about.into())
    }

    fn place(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }
}

impl PartialEq for Asked {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Asked {}

impl Hash for Asked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place().hash(state);
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asked")
    }
}

/// A user name or a password.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// Always this one.
    Given(Secret),
    /// Asked for at every connect, as a token that runs out; what it's asked about is empty.
    Asked(Asked),
}

impl From<&str> for Credential {
    fn from(text: &str) -> Self {
        Self::Given(Secret::new(text))
    }
}

impl From<String> for Credential {
    fn from(text: String) -> Self {
        Self::Given(Secret::new(text))
    }
}

/// Where members of a cluster and primaries are really reached, by the addresses that servers and sentinels announce.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NatMap {
    /// Announced addresses and the real ones. What isn't in it is reached as announced.
    Table(Vec<(Node, Node)>),
    /// Asked about `host:port`, it answers with `host:port`.
    Asked(Asked),
}

impl NatMap {
    /// A table of `host:port` to `host:port`; the error says what is wrong with which.
    pub fn table<T: AsRef<str>>(rows: impl IntoIterator<Item = (T, T)>) -> Result<Self, String> {
        let read = |text: &str| {
            Node::read_bare(text, SERVER_PORT).map_err(|wrong| format!("{text:?}, in which the {wrong}"))
        };
        let rows = rows.into_iter().map(|(from, to)| Ok((read(from.as_ref())?, read(to.as_ref())?)));
        rows.collect::<Result<Vec<_>, String>>().map(Self::Table)
    }

    /// Where an announced address is really reached.
    pub async fn reach(&self, announced: &Node) -> Result<Node, String> {
        match self {
            Self::Table(rows) => {
                let row =
                    rows.iter().find(|(from, _)| from.port == announced.port && is_host(from, announced));
                Ok(row.map_or(announced, |(_, to)| to).clone())
            }
            Self::Asked(asked) => {
                let answer = asked.ask(announced.to_string()).await?;
                Node::read_bare(&answer, announced.port).map_err(|wrong| format!("its {wrong}"))
            }
        }
    }
}

/// Names don't differ by the size of their letters, nor do IPv6 addresses.
fn is_host(one: &Node, other: &Node) -> bool {
    one.host.eq_ignore_ascii_case(&other.host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_however_it_is_spelt() {
        let map =
            NatMap::table([("10.0.0.1:6379", "h:1"), ("::1:7", "[::2]:8"), ("[fe80::A]:7", "v6:9")]).unwrap();
        let NatMap::Table(rows) = &map else { panic!("no table") };
        let reach = |host: &str, port| {
            let announced = Node { host: host.into(), port };
            let row = rows.iter().find(|(from, _)| from.port == port && is_host(from, &announced));
            row.map(|(_, to)| to.to_string())
        };
        assert_eq!(reach("10.0.0.1", 6379).as_deref(), Some("h:1"));
        assert_eq!(reach("::1", 7).as_deref(), Some("[::2]:8"));
        assert_eq!(reach("fe80::a", 7).as_deref(), Some("v6:9"));
        assert_eq!(reach("10.0.0.1", 6380), None);
    }

    #[test]
    fn a_row_that_cannot_be_read_is_named() {
        for (from, to) in [("10.0.0.1:0", "h:1"), ("10.0.0.1:1", "h:x"), ("", "h:1"), ("h:1", "[::1")] {
            let wrong = NatMap::table([(from, to)]).unwrap_err();
            assert!(wrong.contains("port") || wrong.contains("host"), "{wrong}");
        }
    }
}
