//! Opening a link: connect, log in, and one round trip that names the client, looks for the library, subscribes and
//! asks what server it is.
//!
//! Attempts overlap until one is done (`attempts`); beyond that it doesn't try again: the session does. What may be
//! missing without harm is missing without a word (R22, R30): RESP3 gives way to RESP2 with a second connection for
//! pushes, that to no pushes at all, and no rights for INFO to no uptime. What a refusal means is `refusal`'s.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, SendError};
use redis::{AsyncConnectionConfig, ErrorKind, Pipeline, PushInfo, PushKind, RedisError, RedisResult, Value};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use self::refusal::{is_dispensable, is_forbidden, is_hang_up, may_lack_resp3, silent};
pub(super) use self::refusal::{refusal, refused, unfit};
use super::about::About;
use super::attempts::Attempts;
use super::library::{Found, Layout};
use super::link::{CONNECTION_QUEUE, Flow, RedisLink};
use super::login::Speech;
use super::names::Names;
use super::reply::checked;
use super::server::{Connected, Server, Who};
use super::{keys, push};
use crate::lease::SessionId;
use crate::moment::Moment;
use crate::store::{ConnectError, LinkEvent, LinkInfo};

mod refusal;

/// What one round trip told about the server.
struct Greeting {
    about: About,
    /// How it runs the library, which it has.
    library: Found,
    /// Whether pushes come on this connection; an error says why not.
    subscribed: RedisResult<()>,
}

impl Greeting {
    /// Of a server that isn't asked anything, since it hangs up.
    fn none() -> Self {
        let why = "no pushes on this connection";
        let warning =
            "it hangs up on a greeting with INFO, so nothing is known of its uptime, version and memory";
        let about = About { warnings: vec![warning.to_owned()], ..About::default() };
        let subscribed = Err((ErrorKind::RESP3NotSupported, why).into());
        Self { about, library: Found::UNASKED, subscribed }
    }
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
    let who = Arc::new(who(&servers[0], limit).await?);
    let attempts = Attempts::new(&servers[0].options, others(&servers[0]));
    let begin = |at: usize| {
        let (server, who, events) = (Arc::clone(&servers[at]), Arc::clone(&who), events.clone());
        async move {
            let greeted = greeted(&server, &who, session, events).await;
            greeted.map_err(|error| refused(&server, &error))
        }
    };
    let left = until.saturating_duration_since(Instant::now());
    let first = attempts.first(left, servers.len(), begin).await;
    let (at, greeted) = first.map_err(|error| error.unwrap_or_else(|| silent(&servers[0], limit)))?;
    let server = &servers[at];
    let opened = tokio::time::timeout_at(until, start(server, &who, session, greeted)).await;
    match opened {
        Ok(Ok((link, info))) => {
            server.progress.connected();
            Ok((at, link, info))
        }
        Ok(Err(error)) => Err(refused(server, &error)),
        Err(_) => Err(silent(server, limit)),
    }
}

/// Who we are to these servers. Where it's asked for in vain, that is tried again like the rest.
pub(super) async fn who(server: &Server, limit: Duration) -> Result<Who, ConnectError> {
    let who = tokio::time::timeout(limit, server.who()).await;
    let why = match who {
        Ok(Ok(who)) => return Ok(who),
        Ok(Err(why)) => why,
        Err(_) => format!("the user name or password that is asked for didn't come within {limit:?}"),
    };
    let message = format!("cannot connect to {}: {why}", server.address);
    let warning = server.progress.news(&message);
    Err(ConnectError { warning, ..ConnectError::silent(message) })
}

/// One attempt. What its connection is told isn't passed on before it's the one that counts.
async fn greeted(
    server: &Server,
    who: &Who,
    session: SessionId,
    events: UnboundedSender<LinkEvent>,
) -> RedisResult<Greeted> {
    let no_seed = |error: getrandom::Error| RedisError::from(std::io::Error::other(error.to_string()));
    let seed = getrandom::u64().map_err(no_seed)?;
    let prefix = server.options.key_prefix.clone();
    let names = Names::new(Layout { prefix, cluster: server.cluster }, seed);
    let flow = Flow::new(names, events, server.doubt.clone());
    let channel = keys::channel(&server.options.key_prefix, session);
    let bare = server.is_bare();
    let (mut connected, resp3) = connect(server, who, &flow, bare).await?;
    let greeting = match bare {
        true => Greeting::none(),
        false => {
            let greeting = greet(&mut connected.connection, server, resp3.then_some(&channel)).await;
            let greeting = greeting.map_err(|error| connected.first.explain(error, server.is_secure()));
            greeting.inspect_err(|error| {
                if is_hang_up(error) {
                    server.note_hang_up()
                }
            })?
        }
    };
    server.note_greeting();
    Ok(Greeted { connected, flow, greeting })
}

/// Makes a link of it, with a second connection for pushes where it needs one.
async fn start(
    server: &Arc<Server>,
    who: &Arc<Who>,
    session: SessionId,
    Greeted { connected, flow, greeting }: Greeted,
) -> RedisResult<(RedisLink, LinkInfo)> {
    let Connected { connection, driver, at, reached, .. } = connected;
    let channel = keys::channel(&server.options.key_prefix, session);
    let push = match &greeting.subscribed {
        Ok(()) => None,
        Err(error) if is_forbidden(error) => None,
        Err(_) if !has_room_for_pushes(server) => None,
        Err(_) => push::subscribe(server, who, &reached, &channel, &flow, connection.clone()).await,
    };
    let listens = greeting.subscribed.is_ok() || push.is_some();
    // Where pushes come on the connection of the calls, no proxy spreads keys over servers behind it.
    if !flow.open(connection, greeting.library, greeting.subscribed.is_ok() && !server.cluster) {
        return Err((ErrorKind::Io, "the connection was lost during the handshake").into());
    }
    let About { uptime, run_id, warnings, .. } = greeting.about;
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

/// The connection for calls, and whether it speaks RESP3. What isn't taken is left out, as far as nothing but the
/// reason for a refusal speaks against it.
async fn connect(server: &Server, who: &Who, flow: &Arc<Flow>, bare: bool) -> RedisResult<(Connected, bool)> {
    // No time-out of the library's own: a call that was given up silently would hide that its outcome is unclear.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(CONNECTION_QUEUE);
    let with_push = config.clone().set_push_sender(push_sender(server, flow));
    if bare {
        return Ok((server.connect(who, Speech::Bare, config).await?, false));
    }
    let first = match server.connect(who, Speech::Resp3, with_push).await {
        Ok(connected) => return Ok((connected, true)),
        Err(error) if may_lack_resp3(&error) => error,
        Err(error) => return Err(error),
    };
    match server.connect(who, Speech::Resp2, config.clone()).await {
        Err(error) if is_hang_up(&first) && is_hang_up(&error) => {
            Ok((server.connect(who, Speech::Bare, config).await?, false))
        }
        connected => Ok((connected?, false)),
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
    Found::ask(&mut pipeline);
    About::ask(&mut pipeline);
    // In RESP3 the confirmation takes the place of a reply.
    if let Some(channel) = channel {
        pipeline.cmd("SUBSCRIBE").arg(channel);
    }
    let replies = connection.send_packed_commands(&pipeline, 0, pipeline.len()).await?;
    let mut replies = replies.into_iter().map(checked);
    for named in replies.by_ref().take(names) {
        named.map(drop).or_else(|error| if is_dispensable(&error) { Ok(()) } else { Err(error) })?;
    }
    let mut library = Found::read(replies.by_ref().take(Found::QUESTIONS))?;
    let about = About::read(replies.by_ref().take(About::QUESTIONS)).map_err(unfit)?;
    let subscribed = match replies.next() {
        Some(Ok(Value::Push { .. })) => Ok(()),
        Some(Err(error)) => Err(error),
        _ => Err((ErrorKind::RESP3NotSupported, "no pushes on this connection").into()),
    };
    if let Some(version) = &about.doubted {
        prove(connection, server, version).await?;
    }
    // Only the first session after a server's start has to; thousands that reconnect don't.
    while let Some((way, load)) = library.load() {
        library.answered(way, connection.send_packed_command(&load).await.and_then(checked))?;
    }
    Ok(Greeting { about, library, subscribed })
}

/// What the library needs and old servers lack: writing after asking for the time. A version alone says nothing of
/// servers that only count like Redis.
async fn prove(connection: &mut MultiplexedConnection, server: &Server, version: &str) -> RedisResult<()> {
    const PROOF: &str = "redis.call('TIME') if KEYS[1] then redis.call('UNLINK', KEYS[1]) end return 1";
    let mut proof = redis::cmd("EVAL");
    match server.cluster {
        true => proof.arg(PROOF).arg(0),
        false => proof.arg(PROOF).arg(1).arg(format!("{}:proof", server.options.key_prefix)),
    };
    match checked(connection.send_packed_command(&proof).await?) {
        Err(error) if !is_dispensable(&error) => {
            Err(unfit(format!("Redis {version} is too old: 6.2 or newer is needed ({error})")))
        }
        _ => Ok(()),
    }
}
