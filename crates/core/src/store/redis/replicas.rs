//! Whether replicas have what was written: `WAIT`, on a connection of its own because it blocks.
//!
//! `WAIT` speaks for what its own connection has written. The publication before it, which nobody hears, is written to the
//! replicas after all that came before; without it, a connection that never wrote would be told yes at once. (A `PING` did
//! for that up to 7.0.) And it must be the server that the newest link leads to: after a failover, another one's replicas
//! prove nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, Pipeline, ProtocolVersion, RedisError, RedisResult};
use tokio::time::timeout;

use super::about::About;
use super::keys;
use super::link::Task;
use super::server::Server;
use crate::store::{Checking, Replicas};

/// Asks one server for its replicas.
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
        question.cmd("WAIT").arg(options.min_replicas).arg(options.replica_timeout.as_millis().max(1) as u64);
        let bound = options.replica_timeout + options.command_timeout;
        let answer = question.query_async::<(u32,)>(&mut line.connection);
        let (count,) = timeout(bound, answer).await.map_err(|_| silent(bound))??;
        if self.server.is_met(line.run_id.as_deref()) { Ok(count) } else { Err(moved()) }
    }
}

async fn connect(server: &Server) -> RedisResult<Line> {
    let bound = server.options.connect_timeout;
    let opening = async {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (mut connection, driver) = server.connect(ProtocolVersion::RESP2, config).await?;
        let mut greeting = Pipeline::new();
        About::ask(&mut greeting);
        if let Some(name) = &server.options.client_name {
            greeting.cmd("CLIENT").arg("SETNAME").arg(name);
        }
        let replies = connection.send_packed_commands(&greeting, 0, greeting.len()).await?;
        let about = About::read(replies.into_iter().take(About::QUESTIONS).map(Ok));
        let run_id = about.unwrap_or_default().run_id;
        Ok(Line { connection, run_id, _driver: driver })
    };
    timeout(bound, opening).await.map_err(|_| silent(bound))?
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
