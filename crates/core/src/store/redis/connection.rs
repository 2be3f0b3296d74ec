//! Opening a link: connect, log in, and one round trip that names the client, looks for the scripts, subscribes and
//! asks what server it is.
//!
//! Attempts overlap until one is done (`attempts`); beyond that it doesn't try again: the session does. What may be
//! missing without harm is missing without a word (R22, R30): RESP3 gives way to RESP2 with a second connection for
//! pushes, that to no pushes at all, and no rights for INFO to no uptime.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, SendError};
use redis::{
    AsyncConnectionConfig, ErrorKind, Pipeline, ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult,
    ServerErrorKind, Value,
};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::about::About;
use super::attempts::Attempts;
use super::link::{CONNECTION_QUEUE, Flow, RedisLink};
use super::names::Names;
use super::overheard::HUNG_UP;
use super::scripts::Layout;
use super::server::{Connected, Server};
use super::{keys, push};
use crate::lease::SessionId;
use crate::moment::Moment;
use crate::store::{ConnectError, LinkEvent, LinkInfo};

/// What one round trip told about the server.
struct Greeting {
    about: About,
    /// Whether pushes come on this connection; an error says why not.
    subscribed: RedisResult<()>,
}

/// A connection that was greeted, with the flow that its pushes go into.
struct Greeted {
    connected: Connected,
    flow: Arc<Flow>,
    greeting: Greeting,
}

/// Opens a link within the options' connect time-out.
pub(super) async fn open(
    server: Arc<Server>,
    session: SessionId,
    events: UnboundedSender<LinkEvent>,
) -> Result<(RedisLink, LinkInfo), ConnectError> {
    let limit = server.options.connect_timeout;
    let opened = open_any(&[server], session, events, limit).await?;
    Ok((opened.1, opened.2))
}

/// Opens a link to one of these servers, whose options are the same; which.
pub(super) async fn open_any(
    servers: &[Arc<Server>],
    session: SessionId,
    events: UnboundedSender<LinkEvent>,
    limit: Duration,
) -> Result<(usize, RedisLink, LinkInfo), ConnectError> {
    let until = Instant::now() + limit;
    let attempts = Attempts::new(&servers[0].options, others(&servers[0]));
    let begin = |at: usize| {
        let (server, events) = (Arc::clone(&servers[at]), events.clone());
        async move {
            let greeted = greeted(&server, session, events).await;
            greeted.map_err(|error| {
                server.loading.note(&error);
                refusal(&server.address, &error)
            })
        }
    };
    let first = attempts.first(limit, servers.len(), begin).await;
    let (at, greeted) = first.map_err(|error| error.unwrap_or_else(|| silent(&servers[0], limit)))?;
    let server = &servers[at];
    let opened = tokio::time::timeout_at(until, start(server, session, greeted)).await;
    match opened {
        Ok(Ok((link, info))) => Ok((at, link, info)),
        Ok(Err(error)) => Err(refusal(&server.address, &error)),
        Err(_) => Err(silent(server, limit)),
    }
}

fn silent(server: &Server, limit: Duration) -> ConnectError {
    let message = format!("cannot connect to {}: no answer within {limit:?}", server.address);
    ConnectError { message, fatal: false, answered: false }
}

/// One attempt. What its connection is told isn't passed on before it's the one that counts.
async fn greeted(
    server: &Server,
    session: SessionId,
    events: UnboundedSender<LinkEvent>,
) -> RedisResult<Greeted> {
    let no_seed = |error: getrandom::Error| RedisError::from(std::io::Error::other(error.to_string()));
    let seed = getrandom::u64().map_err(no_seed)?;
    let prefix = server.options.key_prefix.clone();
    let names = Names::new(Layout { prefix, cluster: server.cluster }, seed);
    let flow = Flow::new(names, events, server.doubt.clone());
    let channel = keys::channel(&server.options.key_prefix, session);
    let (mut connected, resp3) = connect(server, &flow).await?;
    let greeting = greet(&mut connected.connection, server, resp3.then_some(&channel)).await?;
    Ok(Greeted { connected, flow, greeting })
}

/// Makes a link of it, with a second connection for pushes where it needs one.
async fn start(
    server: &Arc<Server>,
    session: SessionId,
    Greeted { connected, flow, greeting }: Greeted,
) -> RedisResult<(RedisLink, LinkInfo)> {
    let Connected { connection, driver, at } = connected;
    let channel = keys::channel(&server.options.key_prefix, session);
    let push = match &greeting.subscribed {
        Ok(()) => None,
        Err(error) if is_forbidden(error) => None,
        Err(_) if !has_room_for_pushes(server) => None,
        Err(_) => push::subscribe(server, &at, &channel, &flow, connection.clone()).await,
    };
    let listens = greeting.subscribed.is_ok() || push.is_some();
    // Where pushes come on the connection of the calls, no proxy spreads keys over servers behind it.
    if !flow.open(connection, greeting.subscribed.is_ok() && !server.cluster) {
        return Err((ErrorKind::Io, "the connection was lost during the handshake").into());
    }
    let About { uptime, run_id, warnings } = greeting.about;
    server.met(run_id);
    let uptime = server.loading.bound(Moment::now(), uptime);
    let tasks = push.into_iter().chain([driver]).chain(server.watch(&at, &flow)).collect();
    Ok((RedisLink::start(flow, tasks), LinkInfo { listens, uptime, warnings }))
}

/// How many connections there may be beside the one for calls and the one for pushes.
fn others(server: &Server) -> u32 {
    u32::from(server.options.min_replicas > 0)
}

/// Whether one more connection may be opened for pushes alone.
fn has_room_for_pushes(server: &Server) -> bool {
    server.options.max_connections.is_none_or(|most| most > others(server) + 1)
}

/// The connection for calls, and whether it speaks RESP3.
async fn connect(server: &Server, flow: &Arc<Flow>) -> RedisResult<(Connected, bool)> {
    // No time-out of the library's own: a call that was given up silently would hide that its outcome is unclear.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(CONNECTION_QUEUE);
    let with_push = config.clone().set_push_sender(push_sender(server, flow));
    match server.connect(ProtocolVersion::RESP3, with_push).await {
        Err(error) if knows_no_resp3(&error) => {
            Ok((server.connect(ProtocolVersion::RESP2, config).await?, false))
        }
        connected => connected.map(|connected| (connected, true)),
    }
}

/// What the connection calls for everything that isn't a reply, in the order of the wire.
fn push_sender(
    server: &Server,
    flow: &Arc<Flow>,
) -> impl Fn(PushInfo) -> Result<(), SendError> + Send + Sync + 'static + use<> {
    let (flow, prefix) = (Arc::clone(flow), server.options.key_prefix.clone());
    move |info| {
        match (info.kind, info.data.as_slice()) {
            (PushKind::Message, [_, Value::BulkString(payload)]) => push::arrived(&flow, &prefix, payload),
            (PushKind::Disconnection, _) => flow.down("the connection was closed"),
            _ => {}
        }
        Ok(())
    }
}

async fn greet(
    connection: &mut MultiplexedConnection,
    server: &Server,
    channel: Option<&String>,
) -> RedisResult<Greeting> {
    let mut pipeline = Pipeline::new();
    if let Some(name) = &server.options.client_name {
        pipeline.cmd("CLIENT").arg("SETNAME").arg(name);
    }
    let names = pipeline.len();
    Names::ask_for_scripts(&mut pipeline);
    About::ask(&mut pipeline);
    // In RESP3 the confirmation takes the place of a reply.
    if let Some(channel) = channel {
        pipeline.cmd("SUBSCRIBE").arg(channel);
    }
    let replies = connection.send_packed_commands(&pipeline, 0, pipeline.len()).await?;
    let mut replies = replies.into_iter().map(checked);
    for named in replies.by_ref().take(names) {
        named.map(drop).or_else(|error| if is_forbidden(&error) { Ok(()) } else { Err(error) })?;
    }
    let loaded = has_scripts(replies.next())?;
    let about = About::read(replies.by_ref().take(About::QUESTIONS)).map_err(unfit)?;
    let subscribed = match replies.next() {
        Some(Ok(Value::Push { .. })) => Ok(()),
        Some(Err(error)) => Err(error),
        _ => Err((ErrorKind::RESP3NotSupported, "no pushes on this connection").into()),
    };
    if !loaded {
        load_scripts(connection).await?;
    }
    Ok(Greeting { about, subscribed })
}

/// Loads them; only the first session after a server's start has to, and thousands that reconnect don't.
async fn load_scripts(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let mut pipeline = Pipeline::new();
    Names::load_scripts(&mut pipeline);
    let replies = connection.send_packed_commands(&pipeline, 0, pipeline.len()).await?;
    replies.into_iter().try_for_each(|reply| checked(reply).map(drop))
}

pub(super) fn has_scripts(reply: Option<RedisResult<Value>>) -> RedisResult<bool> {
    match reply {
        Some(Err(error)) if !is_forbidden(&error) => Err(error),
        Some(Ok(Value::Array(known))) => Ok(known.iter().all(|known| *known == Value::Int(1))),
        _ => Ok(false),
    }
}

pub(super) fn checked(value: Value) -> RedisResult<Value> {
    match value {
        Value::ServerError(error) => Err(error.into()),
        value => Ok(value),
    }
}

pub(super) fn unfit(message: String) -> RedisError {
    (ErrorKind::InvalidClientConfig, "the server can't be used", message).into()
}

/// Whether the server, or something in front of it, can't do `HELLO 3`: it says so, or it hangs up.
fn knows_no_resp3(error: &RedisError) -> bool {
    let hung_up = error.is_connection_dropped() && !error.is_connection_refusal();
    let detail = error.detail().unwrap_or_default().to_ascii_lowercase();
    let refused = is_forbidden(error) || detail.starts_with("unknown command");
    hung_up
        || error.kind() == ErrorKind::RESP3NotSupported
        || error.code() == Some("NOPROTO")
        || (refused && detail.contains("hello"))
}

fn is_forbidden(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
}

/// Which errors without a code of their own come from the address or the options, and would come again.
fn is_our_fault(detail: &str) -> bool {
    ["DB index", "SELECT", "AUTH", "no password", "Client names", "unknown command", "cluster support"]
        .iter()
        .any(|sign| detail.contains(sign))
}

/// Whether one end doesn't accept who the other says it is.
fn is_about_certificates(text: &str) -> bool {
    ["invalid peer certificate", "received fatal alert", "no name that a certificate"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// Says in words for people why there is no link, and whether it's worth trying again.
pub(super) fn refusal(address: &str, error: &RedisError) -> ConnectError {
    // An "unknown command" goes on with the arguments, which may be a password.
    let detail = error.detail().unwrap_or_default().split(", with args").next().unwrap_or_default();
    let (why, fatal) = match (error.kind(), error.code()) {
        (_, Some(code @ "WRONGPASS")) => {
            (format!("the user name or password was refused: {code} {detail}"), true)
        }
        (ErrorKind::AuthenticationFailed, _) => ("the user name or password was refused".to_owned(), true),
        (ErrorKind::InvalidClientConfig, _) => (detail.to_owned(), true),
        (_, Some(code @ "NOAUTH")) => (format!("the server wants a password: {code} {detail}"), true),
        (_, Some(code @ ("NOPERM" | "DENIED"))) => (format!("{code} {detail}"), true),
        (_, Some("ERR")) => (detail.to_owned(), is_our_fault(detail)),
        (_, Some(code)) => (format!("{code} {detail}"), false),
        _ => (error.to_string(), is_about_certificates(&error.to_string())),
    };
    let answered = error.code().is_some()
        || error.to_string().contains(HUNG_UP)
        || matches!(error.kind(), ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig);
    ConnectError { message: format!("cannot connect to {address}: {why}"), fatal, answered }
}
