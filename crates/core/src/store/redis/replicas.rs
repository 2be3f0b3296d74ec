//! Whether replicas have the written data: `WAIT`, on a connection of its own because it blocks.
//!
//! `WAIT` concerns what its own connection has written. So a publication without receivers is sent before it, which the
//! replicas get after all earlier data; without it, the answer for a connection that never wrote is yes at once. (Up to
//! 7.0 a `PING` would do.) The server must be the one of the newest link: after a failover, replicas of another server
//! prove nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, Pipeline, RedisError, RedisResult};
use tokio::time::timeout;

use super::about::About;
use super::attempts::Attempts;
use super::keys;
use super::login::Speech;
use super::server::{Connected, Server, Who};
use super::task::Task;
use crate::moment::whole_ms;
use crate::store::{Checking, Replicas};

/// Asks one server about its replicas.
pub(super) struct Wait {
    server: Arc<Server>,
    line: Option<Line>,
}

struct Line {
    connection: MultiplexedConnection,
    run_id: Option<String>,
    _driver: Task,
}

impl Wait {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self { server, line: None }
    }

    async fn count(&mut self) -> RedisResult<u32> {
        let options = &self.server.options;
        let line = match &mut self.line {
            Some(line) => line,
            none => none.insert(connect(&self.server).await?),
        };
        let moved = || RedisError::from((ErrorKind::Io, "the primary has changed"));
        if !self.server.is_met(line.run_id.as_deref()) {
            return Err(moved());
        }
        let mut question = Pipeline::new();
        let channel = format!("{}replicas", keys::channel_prefix(&options.key_prefix));
        question.cmd("PUBLISH").arg(channel).arg("").ignore();
        question.cmd("WAIT").arg(options.min_replicas).arg(whole_ms(options.replica_timeout).max(1));
        let bound = options.replica_timeout + options.command_timeout;
        let answer = question.query_async::<(u32,)>(&mut line.connection);
        let (count,) = tokio::select! {
            biased;
            // It answers for a server that isn't asked any more.
            () = self.server.met_another(line.run_id.as_deref()) => return Err(moved()),
            answer = timeout(bound, answer) => answer.map_err(|_| silent(bound))??,
        };
        if self.server.is_met(line.run_id.as_deref()) { Ok(count) } else { Err(moved()) }
    }
}

async fn connect(server: &Arc<Server>) -> RedisResult<Line> {
    let bound = server.options.connect_timeout;
    let unknown = |why| RedisError::from((ErrorKind::AuthenticationFailed, "no credentials", why));
    let who = timeout(bound, server.who()).await.map_err(|_| silent(bound))?;
    let who = Arc::new(who.map_err(unknown)?);
    let begin = |_| {
        let (server, who) = (Arc::clone(server), Arc::clone(&who));
        async move { open(&server, &who).await }
    };
    let first = Attempts::new(&server.options, 1).first(bound, 1, begin).await;
    first.map(|(_, line)| line).map_err(|error| error.unwrap_or_else(|| silent(bound)))
}

async fn open(server: &Arc<Server>, who: &Who) -> RedisResult<Line> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let Connected { mut connection, driver, .. } = server.connect(who, Speech::Resp2, config).await?;
    let mut greeting = Pipeline::new();
    About::ask(&mut greeting);
    if let Some(name) = &server.options.client_name {
        greeting.cmd("CLIENT").arg("SETNAME").arg(name);
    }
    let replies = connection.send_packed_commands(&greeting, 0, greeting.len()).await?;
    let about = About::read(replies.into_iter().take(About::QUESTIONS).map(Ok));
    let run_id = about.unwrap_or_default().run_id;
    // The connection ends with its driver: nothing is kept to a server that isn't the primary any more.
    let (server, met) = (Arc::clone(server), run_id.clone());
    let driver = Task::spawn(async move {
        let _driver = driver;
        server.met_another(met.as_deref()).await;
    });
    Ok(Line { connection, run_id, _driver: driver })
}

fn silent(bound: Duration) -> RedisError {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {bound:?}")).into()
}

impl Replicas for Wait {
    fn have_all(&mut self) -> Checking<'_> {
        Box::pin(async move {
            let need = self.server.options.min_replicas;
            let kept = self.line.is_some();
            let mut found = self.count().await;
            // It may have ended while nobody asked, or lead to a server that isn't the primary any more.
            if kept && found.as_ref().is_err_and(RedisError::is_connection_dropped) {
                self.line = None;
                found = self.count().await;
            }
            if !matches!(found, Ok(count) if count >= need) {
                self.server.doubt.raise();
            }
            match found {
                Ok(count) if count >= need => Ok(()),
                Ok(count) => {
                    let limit = self.server.options.replica_timeout;
                    Err(format!("only {count} of {need} replicas had the grant within {limit:?}"))
                }
                Err(error) => {
                    self.line = None;
                    Err(format!("the replicas can't be asked for the grant: {error}"))
                }
            }
        })
    }
}
