//! Asks the members of a cluster for its map: one after the other until one answers, and not too often.
//!
//! Each question has a short connection of its own. It is asked when the map may be wrong, and only then.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use redis::AsyncConnectionConfig;
use tokio::time::Instant;

use super::Cluster;
use super::map::Topology;
use crate::config::{Node, Options};
use crate::error::Error;
use crate::moment::Moment;
use crate::store::ConnectError;
use crate::store::redis::attempts::Attempts;
use crate::store::redis::connection;
use crate::store::redis::login::Speech;
use crate::store::redis::reply;
use crate::store::redis::server::{Connected, Who};

/// The shortest time from one question to the next, and the longest while an answer isn't good enough.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_millis(800);

type Asking = Pin<Box<dyn Future<Output = Result<Topology, String>> + Send>>;

/// When the members are asked, and the question under way.
#[derive(Default)]
pub(super) struct Survey {
    asking: Option<Asking>,
    asked_at: Moment,
    wanted: bool,
    not_before: Moment,
    in_vain: u32,
}

impl Survey {
    /// The map may be wrong.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    pub(super) fn due(&self, now: Moment) -> bool {
        self.wanted && self.asking.is_none() && self.not_before <= now
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        (self.wanted && self.asking.is_none()).then_some(self.not_before)
    }

    pub(super) fn begin(&mut self, now: Moment, cluster: Arc<Cluster>, candidates: Vec<Node>) {
        self.wanted = false;
        self.asked_at = now;
        let limit = cluster.options.connect_timeout / 2;
        self.asking = Some(Box::pin(async move {
            ask_all(&cluster, candidates, limit).await.map_err(|error| error.message)
        }));
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Topology, String>> {
        match &mut self.asking {
            Some(asking) => asking.as_mut().poll(context),
            None => Poll::Pending,
        }
    }

    /// The question is answered; when it was asked. The next one waits longer if requests are `stuck` nevertheless.
    pub(super) fn finish(&mut self, now: Moment, stuck: bool) -> Moment {
        self.asking = None;
        self.in_vain = if stuck { self.in_vain.saturating_add(1) } else { 0 };
        let wait = (SHORTEST * 2u32.saturating_pow(self.in_vain.min(10))).min(LONGEST);
        // Not at the same time as other processes that lost the same member.
        let share = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
        self.not_before = now + wait.mul_f64(0.75 + 0.5 * share);
        self.asked_at
    }
}

/// Asks them one after the other until one answers; its members are remembered.
pub(super) async fn ask_all(
    cluster: &Arc<Cluster>,
    candidates: Vec<Node>,
    limit: Duration,
) -> Result<Topology, ConnectError> {
    let until = Instant::now() + limit;
    let server = cluster.server(&cluster.nodes[0], None).map_err(unusable)?;
    let who = Arc::new(connection::who(&server, limit).await?);
    let begin = |at: usize| {
        let (cluster, who, at) = (Arc::clone(cluster), Arc::clone(&who), candidates[at].clone());
        async move { ask(&cluster, &who, &at).await }
    };
    let attempts = Attempts::new(&Options { max_connections: None, ..cluster.options.clone() }, 0);
    let first =
        attempts.first(until.saturating_duration_since(Instant::now()), candidates.len(), begin).await;
    let (at, topology) = first.map_err(|error| {
        let message = format!("cannot connect to {}: no answer within {limit:?}", cluster.options.place);
        error.unwrap_or(ConnectError::silent(message))
    })?;
    cluster.remember(&candidates[at], &topology);
    Ok(topology)
}

fn unusable(error: Error) -> ConnectError {
    ConnectError::unusable(error.to_string())
}

async fn ask(cluster: &Cluster, who: &Who, at: &Node) -> Result<Topology, ConnectError> {
    let server = cluster.server(at, cluster.announcer(at).as_ref()).map_err(unusable)?;
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let answer = async {
        let Connected { mut connection, driver: _driver, .. } =
            server.connect(who, Speech::Resp2, config).await?;
        reply::checked(connection.send_packed_command(redis::cmd("CLUSTER").arg("SLOTS")).await?)
    };
    let answer = answer.await.map_err(|error| connection::refused(&server, &error))?;
    let topology = Topology::read(answer, at).ok_or_else(|| {
        let message = format!("{at} doesn't answer CLUSTER SLOTS as a member of a cluster does");
        ConnectError { fatal: true, ..ConnectError::refused(message) }
    })?;
    if topology.ranges.is_empty() {
        let message = format!("cannot connect to {at}: its cluster serves no hash slot");
        return Err(ConnectError::refused(message));
    }
    Ok(topology)
}
