//! Finds the primary by asking sentinels.
//!
//! All of them are asked at once over short connections when a link opens, and `watch` asks them repeatedly while it is
//! open. `word` is a question and its answer; `belief` decides when the answers differ. Answers may be out of date, so
//! after connecting it is checked that the server is the primary.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, RedisResult};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use self::belief::Belief;
use self::word::Word;
use super::address;
use super::attempts::Attempts;
use super::login::{self, Login, Speech};
use super::task::Task;
use super::tls::Secure;
use crate::config::{Access, Node, Options};
use crate::moment::Moment;
use crate::sync::lock;

mod belief;
pub(super) mod watch;
mod word;

/// Sentinels that watch one primary.
pub(super) struct Sentinels {
    name: String,
    nodes: Vec<Node>,
    access: Access,
    secure: Option<Secure>,
    /// How long each of them may take to be connected to and to answer.
    share: Duration,
    attempts: Attempts,
    belief: Mutex<Belief>,
}

impl Sentinels {
    /// Those of these names and rights.
    pub(super) fn new(
        name: String,
        nodes: Vec<Node>,
        access: Access,
        secure: Option<Secure>,
        options: &Options,
    ) -> Self {
        let share = options.connect_timeout / 2;
        let attempts = Attempts::new(&Options { max_connections: None, ..options.clone() }, 0);
        let belief = Mutex::new(Belief::new(nodes.len()));
        Self { name, nodes, access, secure, share, attempts, belief }
    }

    /// Where the primary is, and the sentinels that say so. The others are waited for only as long as they might know
    /// more.
    pub(super) async fn primary(self: &Arc<Self>, login: &Login) -> RedisResult<(Node, String)> {
        let mut asked = JoinSet::new();
        for at in 0..self.nodes.len() {
            let (this, login) = (Arc::clone(self), login.clone());
            asked.spawn(async move { (at, timeout(this.share, this.ask(&this.nodes[at], &login)).await) });
        }
        let (mut words, mut who, mut refusals, mut until) = (Vec::new(), Vec::new(), Vec::new(), None);
        while !self.belief().is_plain(&words) {
            let answer = tokio::select! {
                Some(Ok(answer)) = asked.join_next() => answer,
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => break,
                else => break,
            };
            let node = &self.nodes[answer.0];
            match answer.1 {
                Ok(Ok(Some(word))) => {
                    who.push((word.at.clone(), node));
                    words.push(word);
                    until.get_or_insert_with(|| Instant::now() + self.attempts.pace() / 2);
                }
                Ok(Ok(None)) => refusals.push(format!("{node} doesn't know {:?}", self.name)),
                Ok(Err(error)) => refusals.push(format!("{node}: {error}")),
                Err(_) => refusals.push(format!("{node}: no answer within {:?}", self.share)),
            }
        }
        let believed = self.belief().judge(Moment::now(), &words);
        // Not an error of input or output: that would be taken for a server that hangs up on RESP3.
        let unknown = |what, why| RedisError::from((ErrorKind::MasterNameNotFoundBySentinel, what, why));
        match (believed, words.first()) {
            (Some(word), _) => {
                let say_so = who.iter().filter(|(at, _)| *at == word.at);
                let names: Vec<String> = say_so.map(|(_, node)| node.to_string()).collect();
                Ok((word.at, format!("the sentinels {}", names.join(", "))))
            }
            (None, Some(word)) => {
                let why = format!("{} is what they still say", word.at);
                Err(unknown("the sentinels that answer know less than is known already", why))
            }
            (None, None) => Err(unknown("no sentinel says where the master is", refusals.join(", "))),
        }
    }

    /// Whether it's still believed that the primary is there.
    pub(super) fn still_name(&self, at: &Node) -> bool {
        self.belief().known().is_some_and(|known| known == at)
    }

    async fn ask(&self, node: &Node, login: &Login) -> RedisResult<Option<Word>> {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (mut connection, _driver) = self.connect(node, login, Speech::Resp2, config).await?;
        word::ask(&mut connection, &self.name).await
    }

    /// The credentials for them.
    async fn login(&self) -> RedisResult<Login> {
        let unknown = |why| RedisError::from((ErrorKind::AuthenticationFailed, "no credentials", why));
        Login::of(&self.access, &login::SENTINEL).await.map_err(unknown)
    }

    async fn connect(
        &self,
        node: &Node,
        login: &Login,
        speech: Speech,
        config: AsyncConnectionConfig,
    ) -> RedisResult<(MultiplexedConnection, Task)> {
        let socket = address::open_tcp(node, self.secure.as_ref()).await?;
        let login = login.with(0, speech);
        let (connection, driver) = MultiplexedConnection::new_with_config(&login, socket, config).await?;
        Ok((connection, Task::spawn(driver)))
    }

    fn belief(&self) -> MutexGuard<'_, Belief> {
        lock(&self.belief)
    }
}
