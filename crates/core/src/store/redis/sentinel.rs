//! Asks sentinels where the master is, one after another over short connections.
//!
//! The one whose word proved true last is asked first, so that a dead one costs its share of the time once. What they say
//! may be out of date: whoever connects must see for itself that it's the master, and say so.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, ProtocolVersion, RedisError, RedisResult};
use tokio::time::timeout;

use super::address;
use super::link::Task;
use super::tls::Secure;
use crate::config::{Access, Node};

/// Sentinels that watch one master.
pub(super) struct Sentinels {
    name: String,
    nodes: Vec<Node>,
    access: Access,
    secure: Option<Secure>,
    /// How long each of them may take.
    share: Duration,
    asked_first: AtomicUsize,
    answered: AtomicUsize,
}

impl Sentinels {
    /// All of them together, and the server after them, have `limit` time.
    pub(super) fn new(
        name: String,
        nodes: Vec<Node>,
        access: Access,
        secure: Option<Secure>,
        limit: Duration,
    ) -> Self {
        let share = limit / (nodes.len() as u32 + 1);
        let (asked_first, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { name, nodes, access, secure, share, asked_first, answered }
    }

    /// Where the master is.
    pub(super) async fn master(&self) -> RedisResult<Node> {
        let first = self.asked_first.load(Ordering::Relaxed) % self.nodes.len();
        let mut refusals = Vec::new();
        for offset in 0..self.nodes.len() {
            let at = (first + offset) % self.nodes.len();
            let node = &self.nodes[at];
            match timeout(self.share, self.ask(node)).await {
                Ok(Ok(Some(master))) => {
                    // Unless its word proves true, the next one is asked first, which may know more.
                    self.answered.store(at, Ordering::Relaxed);
                    self.asked_first.store(at + 1, Ordering::Relaxed);
                    return Ok(master);
                }
                Ok(Ok(None)) => refusals.push(format!("{node} doesn't know {:?}", self.name)),
                Ok(Err(error)) => refusals.push(format!("{node}: {error}")),
                Err(_) => refusals.push(format!("{node}: no answer within {:?}", self.share)),
            }
        }
        // Not an error of input or output: that would be taken for a server that hangs up on RESP3.
        let kind = ErrorKind::MasterNameNotFoundBySentinel;
        Err(RedisError::from((kind, "no sentinel says where the master is", refusals.join(", "))))
    }

    /// Whom the last answer named is the master: that sentinel is asked first again.
    pub(super) fn believe(&self) {
        self.asked_first.store(self.answered.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    async fn ask(&self, node: &Node) -> RedisResult<Option<Node>> {
        let socket = address::open_tcp(node, self.secure.as_ref()).await?;
        let login = address::login(&self.access, 0, ProtocolVersion::RESP2);
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (mut connection, driver) = MultiplexedConnection::new_with_config(&login, socket, config).await?;
        let _driver = Task::spawn(driver);
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        let answer: Option<(String, u16)> = question.query_async(&mut connection).await?;
        Ok(answer.map(|(host, port)| Node { host, port }))
    }
}
