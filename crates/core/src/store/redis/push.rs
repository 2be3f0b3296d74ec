//! Pushes, and the second connection for them where the server has no RESP3.
//!
//! With a second connection pushes and replies aren't in order. When only this connection ends, the link reports that
//! and goes on without pushes.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use redis::RedisResult;
use redis::aio::{MultiplexedConnection, PubSubStream};
use tokio::time::timeout;

use super::attempts::Attempts;
use super::link::Flow;
use super::reply;
use super::server::{Reached, Server, Who};
use super::task::Task;

/// A publication arrived. One that can't be read is ignored: the safety poll finds what it told (R21).
pub(super) fn arrived(flow: &Flow, prefix: &str, payload: &[u8]) {
    if let Some(push) = reply::push(prefix, payload) {
        flow.push(push);
    }
}

/// Subscribes over a second connection to the server of the first one, if that succeeds in time. The task ends with it.
pub(super) async fn subscribe(
    server: &Arc<Server>,
    who: &Arc<Who>,
    reached: &Reached,
    channel: &str,
    flow: &Arc<Flow>,
    calls: MultiplexedConnection,
) -> Option<Task> {
    let limit = server.options.command_timeout;
    let attempts = Attempts::new(&server.options, 1 + u32::from(server.options.min_replicas > 0));
    let begin = |_| {
        let (server, who, reached) = (Arc::clone(server), Arc::clone(who), reached.clone());
        let channel = channel.to_owned();
        async move { subscribed(&server, &who, &reached, &channel).await }
    };
    let (_, messages) = attempts.first(limit, 1, begin).await.ok()?;
    let (flow, prefix) = (Arc::clone(flow), server.options.key_prefix.clone());
    Some(Task::spawn(async move {
        let mut messages = pin!(messages);
        while let Some(message) = poll_fn(|context| messages.as_mut().poll_next(context)).await {
            arrived(&flow, &prefix, message.get_payload_bytes());
        }
        flow.push_lost();
        probe(&flow, calls, limit).await;
    }))
}

async fn subscribed(
    server: &Server,
    who: &Who,
    reached: &Reached,
    channel: &str,
) -> RedisResult<PubSubStream> {
    let mut subscription = server.subscriber(who, reached).await?;
    subscription.subscribe(channel).await?;
    Ok(subscription.into_on_message())
}

/// Whether the connection for calls has died too. While it's idle, nothing reports that in RESP2.
async fn probe(flow: &Flow, mut calls: MultiplexedConnection, limit: Duration) {
    let ping = redis::cmd("PING");
    let answer = timeout(limit, calls.send_packed_command(&ping)).await;
    match answer {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => flow.down(&error.to_string()),
        Err(_) => flow.down(&format!("no answer within {limit:?} after the push connection was lost")),
    }
}
